"""Measures of counterfactual clips: on which of two things a map lies, and whether maps move with the picture."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor

from gatescope.loaders import to_batch
from gatescope.loaders.clip import over_steps
from gatescope.loaders.rendered import Counterfactual
from gatescope.measures.estimates import Estimate
from gatescope.measures.localisation import area, correlation, energy, enrichment
from gatescope.measures.verdicts import judge_difference
from gatescope.models import GestureNetwork
from gatescope.recordings import record

Maps = Float[np.ndarray, "clips step rows columns"]
Channels = Float[np.ndarray, "clips step channel rows columns"]
Masks = Bool[np.ndarray, "clips time size size"]
OfClips = Float[np.ndarray, " clips"]

BATCH_SIZE = 27  # clips

OWN, FROZEN, REMOVED = "own clip", "hand frozen", "hand removed"
ON_PATH, ASIDE = "distractor on its path", "distractor aside"
# Each an E/A over an E/A: the clip whose map is taken, and the clip and the region of the mask that is laid over it.
QUOTIENTS = {
    "moving hand / empty place": ((OWN, OWN, "hand"), (REMOVED, OWN, "hand")),
    "still hand / empty place": ((FROZEN, FROZEN, "hand"), (REMOVED, FROZEN, "hand")),
    "distractor / empty place": ((ASIDE, ASIDE, "distractor"), (FROZEN, ASIDE, "distractor")),
    "distractor / still hand": ((ASIDE, ASIDE, "distractor"), (ASIDE, ASIDE, "hand")),
    "moving hand / distractor": ((OWN, OWN, "hand"), (ON_PATH, ON_PATH, "distractor")),
}
SOURCE = tuple(QUOTIENTS)[1:4]  # by which `judge_source` decides


def quantities(network: GestureNetwork) -> list[str]:
    """Return the hook points with maps: Res3D's features, and the first layer's attention, gates and hidden state.

    Pooled gates have no maps and are left out. An attention gate is named once, as the gate.
    """
    cell = network.layer1.cell
    gates = [f"layer1.{name}" for name, kind in cell.gates.items() if kind != "pooled"]
    return ["features", *["layer1.attention"] * cell.input_attention, *gates, "layer1.h"]


@torch.inference_mode()
def spreads(
    network: GestureNetwork, x: Float32[Tensor, "clips 3 time size size"], names: Iterable[str] | None = None
) -> tuple[dict[str, Maps], Float[np.ndarray, "clips classes"]]:
    """Return the `spread` of each of these hook points, by default a network's `quantities`, and its logits."""
    found: dict[str, list[Maps]] = {name: [] for name in names or quantities(network)}
    logits = []
    for part in x.split(BATCH_SIZE):
        with record(network, *found) as recording:
            logits.append(network(part).numpy())
        for name, each in found.items():
            each.append(spread(recording[name]))
    return {name: np.concatenate(each) for name, each in found.items()}, np.concatenate(logits)


def spread(values: Float[Tensor, "clips step channel rows columns"]) -> Maps:
    """Return the mean over channels of each channel's magnitude divided by its sum over positions.

    A channel without any magnitude counts as even.
    """
    size = values.abs()
    total = size.sum((-2, -1), keepdim=True)
    even = 1 / (size.shape[-2] * size.shape[-1])
    parts = torch.where(total > 0, size / total.clamp(min=torch.finfo(size.dtype).tiny), even)
    return parts.mean(2).double().numpy()


def covered(masks: Masks, maps: tuple[int, int, int]) -> Maps:
    """Return the part of each position that a mask covers over a step's frames; `maps` is (steps, rows, columns)."""
    return over_steps(masks.astype(np.float32), maps)


def on_mask(maps: Maps, mask: Maps) -> OfClips:
    """Return E/A of each clip: the energy of its maps on a mask relative to that of an even map; see `enrichment`."""
    return enrichment(energy(maps, mask), area(mask))


def ratio(first: OfClips, second: OfClips) -> OfClips:
    """Return the logarithm of a quotient of two E/A; NaN where either is zero or unknown."""
    known = (first > 0) & (second > 0)
    return np.where(known, np.log(np.where(known, first, 1)) - np.log(np.where(known, second, 1)), np.nan)


def quotients(
    maps: Mapping[str, Maps], masks: Mapping[tuple[str, str], Maps], names: Iterable[str] = tuple(QUOTIENTS)
) -> dict[str, OfClips]:
    """Return the logarithms of `QUOTIENTS` of maps by clip, with masks by clip and region, as `covered` gives them."""

    def lies(clip: str, where: str, region: str) -> OfClips:
        return on_mask(maps[clip], masks[where, region])

    return {name: ratio(lies(*QUOTIENTS[name][0]), lies(*QUOTIENTS[name][1])) for name in names}


def quotients_of(
    networks: Sequence[GestureNetwork],
    shown: Mapping[str, Sequence[Counterfactual]],
    points: Iterable[str],
    names: Iterable[str] = SOURCE,
) -> dict[str, dict[str, Float[np.ndarray, "networks clips"]]]:
    """Return the logarithms of these `QUOTIENTS` by hook point, for networks of one size of maps.

    `shown` holds the same clips under each change that the quotients compare, by its name.
    """
    points, names, masks = tuple(points), tuple(names), {}
    rows: dict[str, list[dict[str, OfClips]]] = {point: [] for point in points}
    for network in networks:
        maps = {}
        for clip, own in shown.items():
            x = torch.cat([to_batch(one.clip, **network.config.input) for one in own])
            maps[clip], _ = spreads(network, x, points)
            for region in ("hand", "distractor"):
                seen = np.stack([one.region(region) for one in own])
                masks[clip, region] = covered(seen, maps[clip][points[0]].shape[1:])
        for point, found in rows.items():
            found.append(quotients({clip: own[point] for clip, own in maps.items()}, masks, names))
    return {point: {name: np.stack([row[name] for row in found]) for name in names} for point, found in rows.items()}


def judge_source(still: Estimate, thing: Estimate, over: Estimate, margin: float) -> str:
    """Return what a map follows, from logarithms of quotients of E/A.

    `still` is that of a still hand and its empty place, `thing` that of a moving thing and its empty place, `over` that
    of the moving thing and a still hand in one clip. `follows motion`: the last two are above 0, and the first is
    equivalent to 0 within `margin`. `follows the hand`: the first is above 0, and the last below or
    equivalent to 0. `avoids motion`: the last two are below 0. Else `undecided`.
    """
    trace = judge_difference(still, margin)
    if thing.low > 0 and over.low > 0 and trace == "equivalent":
        return "follows motion"
    if trace == "higher" and (over.high < 0 or judge_difference(over, margin) == "equivalent"):
        return "follows the hand"
    return "avoids motion" if thing.high < 0 and over.high < 0 else "undecided"


def moved(maps: Channels, columns: float) -> Channels:
    """Return maps moved right by a number of columns, whole or not, by linear interpolation; NaN moves in from outside.

    The first columns, which would come from beyond the left edge, are NaN.
    """
    whole = int(np.floor(columns))
    part = columns - whole
    padded = np.pad(maps, [(0, 0)] * (maps.ndim - 1) + [(whole + 1, 0)], constant_values=np.nan)
    width = maps.shape[-1]
    here, before = padded[..., 1 : 1 + width], padded[..., :width]
    return here if part == 0 else (1 - part) * here + part * before


def equivariance(before: Channels, after: Channels, columns: float, margin: int = 2) -> dict[str, OfClips]:
    """Compare the maps of clips whose view was moved right by `columns` columns with the moved maps of the same clips.

    `correlation` over positions, -1 to 1, is the mean over steps and channels; `error` is the root of the squared
    difference relative to the variation of the moved maps over positions: 0 for maps that move with the picture, 1 for
    maps known no better than by their mean. `unmoved` is the correlation with the maps where they were. All leave out
    `margin` positions at each edge, and the columns whose content was out of view.

    Raises ValueError if nothing is left.
    """
    rows, width = before.shape[-2:]
    first = margin + int(np.ceil(columns))
    if first >= width - margin or 2 * margin >= rows:
        raise ValueError(f"maps of {rows} x {width} have no interior after {columns} columns and a margin of {margin}")
    inside = (..., slice(margin, rows - margin), slice(first, width - margin))
    expected, found, still = moved(before, columns)[inside], after[inside], before[inside]
    variation = expected - expected.mean((-2, -1), keepdims=True)
    axes = tuple(range(1, before.ndim))
    error = np.sqrt(((found - expected) ** 2).sum(axes) / np.maximum((variation**2).sum(axes), 1e-300))
    return {"correlation": correlation(found, expected), "error": error, "unmoved": correlation(found, still)}


@torch.inference_mode()
def equivariances(
    network: GestureNetwork,
    own: Float32[Tensor, "clips 3 time size size"],
    views: Mapping[int, Float32[Tensor, "clips 3 time size size"]],
) -> dict[str, dict[int, dict[str, OfClips]]]:
    """Return `equivariance` by quantity and shift; `views` are the clips `own` seen so many px further right."""
    names = quantities(network)
    with record(network, *names) as recording:
        network(own)
        before = {name: recording[name].double().numpy() for name in names}
        found: dict[str, dict[int, dict[str, OfClips]]] = {name: {} for name in names}
        for shift, x in views.items():
            network(x)
            for name in names:
                columns = shift * before[name].shape[-1] / own.shape[-1]
                found[name][shift] = equivariance(before[name], recording[name].double().numpy(), columns)
    return found
