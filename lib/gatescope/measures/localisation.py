"""Measures of maps over positions: their spread, their place, and their agreement with the hand.

Maps are never negative (take the magnitude of a signed quantity); their last two axes are rows and columns. A mask
holds the part of each position that is covered, 0 to 1, as `Sample.hand_on` returns it. Where the hand is not in view a
measure is NaN, and `estimate` leaves it out.
"""

import numpy as np
from jaxtyping import Bool, Float

from gatescope.measures.estimates import known_mean

Maps = Float[np.ndarray, "*#any rows columns"]
Mask = Float[np.ndarray, "*#any rows columns"] | Bool[np.ndarray, "*#any rows columns"]
Values = Float[np.ndarray, "..."] | np.float64  # one for each map; of a single map a number
StepMaps = Float[np.ndarray, "#clips step rows columns"]
StepMasks = Float[np.ndarray, "clips step rows columns"]
OfClips = Float[np.ndarray, " clips"]

TOLERANCE = 15 / 224  # of the frame's side: the pointing game's 15 px in frames of 224
EVEN = 1e-6  # a map whose relative variation is less varies by rounding


def shares(maps: Maps) -> Maps:
    """Return each map divided by its sum; NaN for a map of zeros. Raises ValueError for a negative value."""
    maps = np.asarray(maps, np.float64)
    if (maps < 0).any():
        raise ValueError(f"maps must not be negative; got a value of {np.nanmin(maps):g}: take np.abs of the maps")
    total = maps.sum((-2, -1), keepdims=True)
    return np.divide(maps, total, out=np.full_like(maps, np.nan), where=total > 0)


def entropy(maps: Maps) -> Values:
    """Return each map's entropy, nats: 0 for a single position, log(rows x columns) for an even spread."""
    parts = shares(maps)
    return -(parts * np.log(np.where(parts > 0, parts, 1))).sum((-2, -1))


def area(mask: Mask) -> Values:
    """Return the part of the frame that a mask covers, 0 to 1; NaN where it covers nothing."""
    covered = np.asarray(mask, np.float64).mean((-2, -1))
    return np.where(covered > 0, covered, np.nan)


def energy(maps: Maps, mask: Mask) -> Values:
    """Return the part of each map's sum that lies on the mask: the energy-based pointing game (Wang et al. 2020).

    An even map has the energy `area(mask)`. No map exceeds the mask's most covered position. NaN where the mask or the
    map is empty.
    """
    found = (shares(maps) * mask).sum((-2, -1))
    return np.where(np.isnan(area(mask)), np.nan, found)


def enrichment(energy: Float[np.ndarray, "*any step"], area: Float[np.ndarray, "*#any step"]) -> Values:
    """Return the energy on the mask relative to that of an even spread, over all steps of a clip.

    The mean energy over the mean area of the steps where both are known. A mean of quotients would weight a step with
    one fingertip in view more than one with the whole hand. NaN where there is no such step.
    """
    known = ~(np.isnan(energy) | np.isnan(area))
    on, under = (np.where(known, values, 0).sum(-1) for values in (energy, area))
    return np.divide(on, under, out=np.full_like(on, np.nan), where=under > 0)


def peaks(maps: Maps) -> Maps:
    """Return maps with all energy on each map's highest position, or in equal parts on several that are equally high.

    The `energy` of peaks is the pointing game; with a tolerance it takes the mask of `widen`.
    """
    parts = shares(maps)
    return shares((parts == parts.max((-2, -1), keepdims=True)).astype(np.float64))


def widen(masks: Bool[np.ndarray, "*any size size"]) -> Bool[np.ndarray, "*any size size"]:
    """Return masks dilated by the pointing game's tolerance; an empty mask stays empty."""
    from scipy.ndimage import distance_transform_edt

    flat = masks.reshape(-1, *masks.shape[-2:])
    reach = TOLERANCE * masks.shape[-1]
    near = [distance_transform_edt(~mask) <= reach if mask.any() else mask for mask in flat]
    return np.array(near, bool).reshape(masks.shape)


def centre(maps: Maps) -> Float[np.ndarray, "*any 2"]:
    """Return each map's centre of mass (row, column): (0, 0) upper left corner, (1, 1) lower right; NaN if empty."""
    parts = shares(maps)
    rows, columns = ((np.arange(size) + 0.5) / size for size in parts.shape[-2:])
    return np.stack([(parts.sum(-1) * rows).sum(-1), (parts.sum(-2) * columns).sum(-1)], axis=-1)


def correlation(
    first: Float[np.ndarray, "clips *any rows columns"], second: Float[np.ndarray, "clips *any rows columns"]
) -> OfClips:
    """Return Pearson's correlation over positions of two sets of maps, -1 to 1, as the mean over a clip's maps.

    Maps that are constant up to rounding are left out; NaN where all are.
    """
    apart, sizes = [], []
    for maps in (np.float64(first), np.float64(second)):
        apart.append(maps - maps.mean((-2, -1), keepdims=True))
        size, whole = (np.sqrt((each**2).sum((-2, -1))) for each in (apart[-1], maps))
        sizes.append(np.where(size > EVEN * whole, size, np.nan))
    found = (apart[0] * apart[1]).sum((-2, -1)) / (sizes[0] * sizes[1])
    return known_mean(found.reshape(len(found), -1))


def path_correlation(path: Float[np.ndarray, "*#any step 2"], other: Float[np.ndarray, "*#any step 2"]) -> Values:
    """Return the correlation in time of two paths, -1 to 1; it ignores their place and size.

    Both coordinates are pooled, so the direction with most movement decides. Steps where either is NaN are left out;
    NaN with fewer than three steps left, or where a path stands still.
    """
    path, other = np.broadcast_arrays(path, other)
    known = ~(np.isnan(path) | np.isnan(other)).any(-1, keepdims=True)
    paths = [np.where(known, one, np.nan) for one in (path, other)]
    first, second = (np.where(known, one - known_mean(one, axis=-2)[..., None, :], 0) for one in paths)
    sizes = np.sqrt((first**2).sum((-2, -1)) * (second**2).sum((-2, -1)))
    # A smaller product is the rounding of a path that stands still.
    moves = (sizes > 1e-12) & (known.sum((-2, -1)) >= 3)
    return np.divide((first * second).sum((-2, -1)), sizes, out=np.full_like(sizes, np.nan), where=moves)


def centre_blob(rows: int, columns: int, width: float = 0.25) -> Float[np.ndarray, "rows columns"]:
    """Return a Gaussian in the middle of the frame, of standard deviation `width` in parts of the frame's side."""
    down, across = (((np.arange(size) + 0.5) / size - 0.5) / width for size in (rows, columns))
    return np.exp(-(down[:, None] ** 2 + across**2) / 2)


def on_hand(parts: StepMaps, tops: StepMaps, hand: StepMasks, near: StepMasks) -> dict[str, OfClips]:
    """Return measures of agreement with the hand, a value a clip, over the steps with the hand in view.

    `parts` are the maps' `shares` and `tops` their `peaks`; for many channels pass the means over channels, which give
    the mean energy and pointing. `near` is the hand after `widen`. Distances are in parts of the frame's side.
    """
    under = area(hand)
    path, way = centre(parts), np.where(np.isnan(under)[..., None], np.nan, centre(hand))
    return {
        "energy": known_mean(energy(parts, hand)),
        "area": known_mean(under),
        "enrichment": enrichment(energy(parts, hand), under),
        "pointing": known_mean(energy(tops, hand)),
        "pointing, near": known_mean(np.where(np.isnan(under), np.nan, energy(tops, near))),
        "distance": known_mean(np.linalg.norm(path - way, axis=-1)),
        "correlation": path_correlation(path, way),
    }


def on_hands(maps: Float[np.ndarray, "#clips #step rows columns"], hand: StepMasks) -> dict[str, dict[str, OfClips]]:
    """Return `enrichment` and `pointing` of maps on `its own hand` and `another clip's hand`, the mean over all others.

    Maps may be the same for all clips. NaN for another's hand where there is no other clip.
    """
    under, own = area(hand), np.eye(len(hand), dtype=bool)
    found = {}
    for name, parts in (("enrichment", shares(maps)), ("pointing", peaks(maps))):
        # Of clips, hands and steps.
        parts = np.broadcast_to(parts, hand.shape)
        each = np.einsum("msrc,hsrc->mhs", parts, hand)
        each = np.where(np.isnan(under), np.nan, each)
        each = enrichment(each, under) if name == "enrichment" else known_mean(each)
        others = known_mean(np.where(own, np.nan, each))
        found[name] = {"its own hand": each.diagonal(), "another clip's hand": others}
    return found


def against_hands(
    maps: Float[np.ndarray, "clips step channel rows columns"], hand: StepMasks, near: StepMasks
) -> dict[str, dict[str, OfClips]]:
    """Return the measures of `on_hand` for `attention`, `its best channel`, and both of these on other clips' hands.

    `attention` is the mean over channels. The best channel is chosen by enrichment on the other half of the clips, so
    that the choice does not bias the measurement. `another clip's hand` is the mean of `attention` over all other
    clips' hands, and `best channel, another's hand` that of the best channel, enrichment and pointing alone. All but
    `attention` are NaN for a single clip.
    """
    parts, tops = shares(maps), peaks(maps)
    mean, clips = (parts.mean(2), tops.mean(2)), np.arange(len(maps))
    own = on_hand(*mean, hand, near)
    unknown = {name: np.full(len(maps), np.nan) for name in own}
    if len(maps) < 2:
        missing = ("its best channel", "another clip's hand", "best channel, another's hand")
        return {"attention": own} | dict.fromkeys(missing, unknown)
    each = enrichment(energy(parts, hand[:, :, None]).swapaxes(1, 2), area(hand)[:, None])
    of_even, of_odd = (np.nan_to_num(known_mean(each[clips % 2 == half], axis=0)).argmax() for half in (0, 1))
    best = np.where(clips % 2, of_even, of_odd)
    others = [on_hand(*mean, np.roll(hand, shift, axis=0), np.roll(near, shift, axis=0)) for shift in clips[1:]]
    return {
        "attention": own,
        "its best channel": on_hand(parts[clips, :, best], tops[clips, :, best], hand, near),
        "another clip's hand": {name: known_mean(np.stack([one[name] for one in others]), axis=0) for name in own},
        "best channel, another's hand": unknown
        | {name: each["another clip's hand"] for name, each in on_hands(maps[clips, :, best], hand).items()},
    }
