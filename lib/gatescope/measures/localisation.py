"""Measures of maps over positions: how spread out, where, and whether on the hand.

Maps are never negative (of a signed quantity take its size); the last two axes are rows and columns, any others come
before. A mask holds the part of each position that is covered, 0 to 1, as `Sample.hand_on` gives it: a map has one
value a position, so a position covered by half counts by half. Where the hand is not in view a measure is NaN, and
`estimate` leaves it out.
"""

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import distance_transform_edt

from gatescope.measures.estimates import known_mean

Maps = Float[np.ndarray, "*#any rows columns"]
Mask = Float[np.ndarray, "*#any rows columns"] | Bool[np.ndarray, "*#any rows columns"]
Values = Float[np.ndarray, "..."] | np.float64  # one for each map; of a single map a number

TOLERANCE = 15 / 224  # of the frame's side: the pointing game's 15 px in frames of 224


def shares(maps: Maps) -> Maps:
    """Each map over its sum: the part of the whole that lies on each position; NaN where all of a map is 0.

    Raises ValueError for a negative value.
    """
    maps = np.asarray(maps, np.float64)
    if (maps < 0).any():
        raise ValueError(f"a measure needs maps that are never negative; got {np.nanmin(maps):g}: take np.abs of them")
    total = maps.sum((-2, -1), keepdims=True)
    return np.divide(maps, total, out=np.full_like(maps, np.nan), where=total > 0)


def entropy(maps: Maps) -> Values:
    """How spread out each map is, nats: 0 for a single position, log(rows x columns) for an even spread."""
    parts = shares(maps)
    return -(parts * np.log(np.where(parts > 0, parts, 1))).sum((-2, -1))


def area(mask: Mask) -> Values:
    """The part of the frame that a mask covers, 0 to 1; NaN where it covers nothing."""
    covered = np.asarray(mask, np.float64).mean((-2, -1))
    return np.where(covered > 0, covered, np.nan)


def energy(maps: Maps, mask: Mask) -> Values:
    """The part of each map's sum that lies on the mask: the energy-based pointing game (Wang et al. 2020).

    A mask of 0 and 1 has all of its own energy; one of parts has less, as no map of this grid could do better than
    its most covered position. NaN where the mask or the map is empty. To be read beside `area`: that is what an even
    spread has.
    """
    found = (shares(maps) * mask).sum((-2, -1))
    return np.where(np.isnan(area(mask)), np.nan, found)


def enrichment(energy: Float[np.ndarray, "*any step"], area: Float[np.ndarray, "*#any step"]) -> Values:
    """How many times more energy on the mask than an even spread would have, all steps of a clip together.

    The mean energy over the mean area, of the steps where both are known: were it the mean of their quotients, a step
    with one fingertip in view would count for more than one with the whole hand. NaN where there is no such step.
    """
    known = ~(np.isnan(energy) | np.isnan(area))
    on, under = (np.where(known, values, 0).sum(-1) for values in (energy, area))
    return np.divide(on, under, out=np.full_like(on, np.nan), where=under > 0)


def pointing(maps: Maps, mask: Mask) -> Values:
    """The part of the map's highest position that the mask covers, 0 or 1 for a mask of 0 and 1: the pointing game.

    Of several equally high positions the mean. With a tolerance it takes the mask of `widen`. NaN where the mask or
    the map is empty. The field averages it over classes.
    """
    return energy(peaks(maps), mask)


def peaks(maps: Maps) -> Maps:
    """Each map with all of it on its highest position, or in equal parts on several that are equally high."""
    parts = shares(maps)
    return shares((parts == parts.max((-2, -1), keepdims=True)).astype(np.float64))


def widen(
    masks: Bool[np.ndarray, "*any size size"], tolerance: float = TOLERANCE
) -> Bool[np.ndarray, "*any size size"]:
    """Masks with all that is no further from them than `tolerance`, in parts of the frame's side; none for none."""
    flat = masks.reshape(-1, *masks.shape[-2:])
    reach = tolerance * masks.shape[-1]
    near = [distance_transform_edt(~mask) <= reach if mask.any() else mask for mask in flat]
    return np.array(near, bool).reshape(masks.shape)


def centre(maps: Maps) -> Float[np.ndarray, "*any 2"]:
    """Each map's centre of mass, (row, column) in parts of the frame; NaN for an empty map.

    (0, 0) is the frame's upper left corner, (1, 1) its lower right.
    """
    parts = shares(maps)
    rows, columns = ((np.arange(size) + 0.5) / size for size in parts.shape[-2:])
    return np.stack([(parts.sum(-1) * rows).sum(-1), (parts.sum(-2) * columns).sum(-1)], axis=-1)


def path_correlation(path: Float[np.ndarray, "*#any step 2"], other: Float[np.ndarray, "*#any step 2"]) -> Values:
    """The correlation in time of two paths, -1 to 1: 1 where one is the other in another place or size.

    Both coordinates count together, so it is the direction with most movement that decides. Steps where either is NaN
    are left out; NaN with fewer than three left, or where one of the two stands still.
    """
    path, other = np.broadcast_arrays(path, other)
    known = ~(np.isnan(path) | np.isnan(other)).any(-1, keepdims=True)
    count = known.sum(-2, keepdims=True)
    moved = []
    for one in (path, other):
        mean = np.where(known, one, 0).sum(-2, keepdims=True) / np.maximum(count, 1)
        moved.append(np.where(known, one - mean, 0))
    first, second = moved
    sizes = np.sqrt((first**2).sum((-2, -1)) * (second**2).sum((-2, -1)))
    # Below that, what is left of a path that stands still is rounding.
    moves = (sizes > 1e-12) & (count[..., 0, 0] >= 3)
    return np.divide((first * second).sum((-2, -1)), sizes, out=np.full_like(sizes, np.nan), where=moves)


def centre_blob(rows: int, columns: int, width: float = 0.25) -> Float[np.ndarray, "rows columns"]:
    """A Gaussian in the middle of the frame, `width` its standard deviation in parts of the frame's side."""
    down, across = (((np.arange(size) + 0.5) / size - 0.5) / width for size in (rows, columns))
    return np.exp(-(down[:, None] ** 2 + across**2) / 2)


def on_hand(
    parts: Float[np.ndarray, "#clips step rows columns"],
    tops: Float[np.ndarray, "#clips step rows columns"],
    hand: Float[np.ndarray, "clips step rows columns"],
    near: Float[np.ndarray, "clips step rows columns"],
) -> dict[str, Float[np.ndarray, " clips"]]:
    """How maps agree with the hand, a value a clip for each measure, over the steps with the hand in view.

    `parts` are the maps' `shares` and `tops` their `peaks`; of many channels give the means of both over channels,
    which is the mean over channels of what each channel's energy and pointing are. `near` is the hand as `widen` left
    it. Distances are in parts of the frame's side.
    """
    under = area(hand)
    path, way = centre(parts), np.where(np.isnan(under)[..., None], np.nan, centre(hand))
    return {
        "energy": known_mean(energy(parts, hand), axis=-1),
        "area": known_mean(under, axis=-1),
        "enrichment": enrichment(energy(parts, hand), under),
        "pointing": known_mean(energy(tops, hand), axis=-1),
        "pointing, near": known_mean(np.where(np.isnan(under), np.nan, energy(tops, near)), axis=-1),
        "distance": known_mean(np.linalg.norm(path - way, axis=-1), axis=-1),
        "correlation": path_correlation(path, way),
    }


def against_hands(
    maps: Float[np.ndarray, "clips step channel rows columns"],
    hand: Float[np.ndarray, "clips step rows columns"],
    near: Float[np.ndarray, "clips step rows columns"],
) -> dict[str, dict[str, Float[np.ndarray, " clips"]]]:
    """The measures of `on_hand` for maps of many channels: `attention`, `its best channel`, `another clip's hand`.

    The first is the mean over channels. The best channel has the highest enrichment on the clips that are not in this
    clip's half, or choosing it would be part of what is measured. The last is the mean over all other clips' hands.
    Of one clip there are no others: NaN.
    """
    parts, tops = shares(maps), peaks(maps)
    mean, clips = (parts.mean(2), tops.mean(2)), np.arange(len(maps))
    own = on_hand(*mean, hand, near)
    unknown = {name: np.full(len(maps), np.nan) for name in own}
    if len(maps) < 2:
        return {"attention": own, "its best channel": unknown, "another clip's hand": unknown}
    each = enrichment(energy(parts, hand[:, :, None]).swapaxes(1, 2), area(hand)[:, None])
    best = np.where(
        clips % 2, *(np.nan_to_num(known_mean(each[clips % 2 == half], axis=0)).argmax() for half in (0, 1))
    )
    shifted = ([np.roll(one, shift, axis=0) for one in (hand, near)] for shift in clips[1:])
    others = [on_hand(*mean, *one) for one in shifted]
    return {
        "attention": own,
        "its best channel": on_hand(parts[clips, :, best], tops[clips, :, best], hand, near),
        "another clip's hand": {name: known_mean(np.stack([one[name] for one in others]), axis=0) for name in own},
    }
