"""Variance of gates: its exact decomposition, and the share of it that the hand explains."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor, nn

from gatescope.recordings.record import record

AXES = ("clip", "time", "channel", "space")
PARTS = ("channel", "time", "clip", "shared map", "clip's map")
NUM_BINS = 40  # from 0 to 1

Gate = Float[np.ndarray, "clip time channel *space"]  # without space a pooled gate
MapGate = Float[np.ndarray, "clip time channel rows columns"]
Mask = Float[np.ndarray, "clip time rows columns"]  # the part of each position that the hand covers
Levels = Float64[np.ndarray, "clip time channel"]


@torch.inference_mode()
def record_gates(
    network: nn.Module, features: Float[Tensor, "clip time features rows columns"]
) -> dict[str, Float[Tensor, "clip time channel *space"]]:
    """Return the gates of both layers, `layer1.i` and so on, for clips given as the features of `encode`."""
    with record(network, "layer?.[ifo]") as recording:
        network.score(features)
    return dict(recording)


def variance_terms(gate: Gate) -> dict[tuple[str, ...], float]:
    """Return what each set of AXES contributes to a gate's variance: main effects and interactions.

    Analysis of variance of a full table with one value in each cell. The effect of a set of axes is the mean over all
    other axes, less the effects of its subsets. Effects are orthogonal: their mean squares, which are returned, add up
    to the population variance.
    """
    values = gate.astype(np.float64).reshape(*gate.shape[:3], -1)
    means = {AXES: values}
    for count in (3, 2, 1):
        for kept in combinations(AXES, count):
            larger = next(axes for axes in means if len(axes) == count + 1 and set(kept) < set(axes))
            (lost,) = set(larger) - set(kept)
            means[kept] = means[larger].mean(AXES.index(lost), keepdims=True)
    terms: dict[tuple[str, ...], float] = {}
    for kept in sorted(means, key=len):
        inside = sum(term for axes, term in terms.items() if set(axes) < set(kept))
        terms[kept] = float(means[kept].var()) - inside
    return terms


def part_of(axes: tuple[str, ...]) -> str:
    """Return the one of PARTS that a term of `variance_terms` belongs to.

    The first three are constant over positions, all that a pooled gate has: each channel's level, its course in time
    that all clips share, and the clip's own remainder. The last two are maps, shared by all clips or the clip's own.
    """
    if "space" in axes:
        return "clip's map" if "clip" in axes else "shared map"
    return "clip" if "clip" in axes else "time" if "time" in axes else "channel"


def variance_parts(terms: Mapping[tuple[str, ...], float]) -> dict[str, float]:
    """Return the share of each of PARTS in the variance, together 1; NaN for a constant gate."""
    total = sum(terms.values())
    parts = {part: sum(term for axes, term in terms.items() if part_of(axes) == part) for part in PARTS}
    return {part: value / total if total > 0 else float("nan") for part, value in parts.items()}


def explained_by(gate: MapGate, mask: Mask) -> Float64[np.ndarray, " clip"]:
    """Return for each clip the share (0 to 1) of a gate's variance over positions that a mask explains.

    R squared of a linear regression on the mask with its own slope and intercept for every step and channel: explained
    over total sum of squares, both summed over steps and channels. Steps at which the mask is constant are left out;
    NaN where no step is left.
    """
    gate, mask = (values.reshape(*values.shape[:-2], -1).astype(np.float64) for values in (gate, mask))
    gate, mask = (values - values.mean(-1, keepdims=True) for values in (gate, mask))
    of_mask = (mask**2).sum(-1)
    known = of_mask > 1e-12
    together = np.einsum("ktcp,ktp->ktc", gate, mask) ** 2 / np.where(known, of_mask, 1)[..., None]
    explained = np.where(known[..., None], together, 0).sum((1, 2))
    total = np.where(known[..., None], (gate**2).sum(-1), 0).sum((1, 2))
    return np.divide(explained, total, out=np.full(len(gate), np.nan), where=total > 1e-12)


def on_and_off(gate: MapGate, mask: Mask) -> tuple[Levels, Levels]:
    """Return the mean of a gate on the mask and off it, positions weighted by their covered part.

    NaN on a mask that is empty at that step, and off one that fills the frame.
    """
    found = []
    for share in (mask, 1 - mask):
        share = share.astype(np.float64)
        weight = share.sum((-2, -1))[..., None]
        total = np.einsum("ktcyx,ktyx->ktc", gate, share)
        found.append(np.divide(total, weight, out=np.full_like(total, np.nan), where=weight > 0))
    return found[0], found[1]


@dataclass(frozen=True, kw_only=True, eq=False)
class Summary:
    """Statistics of one gate of one network over many clips; the last four are None without maps or masks."""

    counts: Int[np.ndarray, " bins"]  # of its values, in NUM_BINS bins from 0 to 1
    channels: Float[np.ndarray, "channel 4"]  # mean, 5 % and 95 % quantile, share of the variance that lies in space
    deviation: float  # of all values
    terms: Mapping[tuple[str, ...], float]  # of variance_terms
    explained: Float[np.ndarray, " clip"] | None  # of its variance over positions, by the clip's own mask
    explained_by_other: Float[np.ndarray, " clip"] | None  # by the mask of the clip before it, of another class
    on: Float[np.ndarray, "clip time"] | None  # the mean over channels on the hand
    off: Float[np.ndarray, "clip time"] | None


def summarise(gate: Gate, hand: Mask | None = None) -> Summary:
    """Return the Summary of a recorded gate; with a single clip `explained_by_other` is None."""
    maps = gate.ndim == 5 and hand is not None
    on, off = (levels.mean(-1) for levels in on_and_off(gate, hand)) if maps else (None, None)
    by_channel = np.moveaxis(gate, 2, 0)
    flat = by_channel.reshape(len(by_channel), -1)
    in_space = gate.reshape(*gate.shape[:3], -1).var(-1, dtype=np.float64).mean((0, 1))
    share = np.divide(in_space, flat.var(1, dtype=np.float64), out=np.zeros_like(in_space), where=flat.std(1) > 1e-6)
    return Summary(
        counts=np.histogram(gate, NUM_BINS, (0, 1))[0],
        channels=np.stack([flat.mean(1), *np.quantile(flat, (0.05, 0.95), axis=1), share], axis=1),
        deviation=float(gate.std(dtype=np.float64)),
        terms=variance_terms(gate),
        explained=explained_by(gate, hand) if maps else None,
        explained_by_other=explained_by(gate, np.roll(hand, 1, axis=0)) if maps and len(gate) > 1 else None,
        on=on,
        off=off,
    )
