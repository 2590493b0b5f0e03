"""Gates as they vary: their values, their variance in exact parts, and how much of it goes with the hand."""

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
Shares = Float[np.ndarray, "clip time rows columns"]  # of each position, how much of it the hand covers


@torch.inference_mode()
def record_gates(
    network: nn.Module, features: Float[Tensor, "clip time features rows columns"]
) -> dict[str, Float[Tensor, "clip time channel *space"]]:
    """The gates of both layers for clips as `encode` gives them, as `layer1.i` and so on."""
    with record(network, "layer?.[ifo]") as recording:
        network.score(features)
    return dict(recording)


def variance_terms(gate: Gate) -> dict[tuple[str, ...], float]:
    """The variance of a gate as the sum of what each set of AXES contributes: main effects and interactions.

    The analysis of variance of a full table with one value in each cell. The effect of a set of axes is the mean over
    all others, less the effects of every smaller set inside it; effects are orthogonal, so their mean squares, which
    come back, add up to the population variance.
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
    """The one of PARTS that a term of `variance_terms` belongs to.

    The first three are the same at every position, and all that a pooled gate can have: each channel's own level, how
    the levels change over time alike in all clips, and what is left for the clip. The others are maps: alike in all
    clips, or the clip's own.
    """
    if "space" in axes:
        return "clip's map" if "clip" in axes else "shared map"
    return "clip" if "clip" in axes else "time" if "time" in axes else "channel"


def variance_parts(terms: Mapping[tuple[str, ...], float]) -> dict[str, float]:
    """The share of each of PARTS in the variance, 0 to 1 and together 1; not numbers for a gate that is constant."""
    total = sum(terms.values())
    parts = {part: sum(term for axes, term in terms.items() if part_of(axes) == part) for part in PARTS}
    return {part: value / total if total > 0 else float("nan") for part, value in parts.items()}


def explained_by(
    gate: Float[np.ndarray, "clip time channel rows columns"], mask: Float[np.ndarray, "clip time rows columns"]
) -> Float64[np.ndarray, " clip"]:
    """Of each clip, the part (0 to 1) of a gate's variance over positions that a mask explains.

    It is the R squared of a straight line in the mask's share of a position, with a slope and a level of its own for
    every step and channel: the squares that the lines explain over all squares, both summed over steps and channels.
    Steps at which the mask is the same everywhere count in neither. Not a number where nothing is left.
    """
    gate, mask = (_about_mean(values.reshape(*values.shape[:-2], -1)) for values in (gate, mask))
    of_mask = (mask**2).sum(-1)
    known = of_mask > 1e-12
    together = np.einsum("ktcp,ktp->ktc", gate, mask) ** 2 / np.where(known, of_mask, 1)[..., None]
    explained = np.where(known[..., None], together, 0).sum((1, 2))
    total = np.where(known[..., None], (gate**2).sum(-1), 0).sum((1, 2))
    return np.divide(explained, total, out=np.full(len(gate), np.nan), where=total > 1e-12)


def _about_mean(values: np.ndarray) -> np.ndarray:
    values = values.astype(np.float64)
    return values - values.mean(-1, keepdims=True)


def on_and_off(
    gate: Float[np.ndarray, "clip time channel rows columns"], mask: Float[np.ndarray, "clip time rows columns"]
) -> tuple[Float64[np.ndarray, "clip time channel"], Float64[np.ndarray, "clip time channel"]]:
    """The mean of a gate on the mask and off it, each position weighted by its share; not numbers where there is none.

    At a step without a mask there is no mean on it, at one that it fills none off it.
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
    """What is kept of one gate of one network over many clips; the last four are None without maps or masks."""

    counts: Int[np.ndarray, " bins"]  # of its values, in NUM_BINS bins from 0 to 1
    channels: Float[np.ndarray, "channel 4"]  # mean, 5 % and 95 % quantile, share of the variance that lies in space
    deviation: float  # of all values
    terms: Mapping[tuple[str, ...], float]  # of variance_terms
    explained: Float[np.ndarray, " clip"] | None  # of its variance over positions, by the clip's own mask
    explained_by_other: Float[np.ndarray, " clip"] | None  # by the mask of the clip before it, of another class
    on: Float[np.ndarray, "clip time"] | None  # the mean over channels on the hand
    off: Float[np.ndarray, "clip time"] | None


def summarise(gate: Gate, hand: Shares | None = None) -> Summary:
    """The Summary of a gate as it was recorded; without a second clip there is no other's mask."""
    maps = gate.ndim == 5 and hand is not None
    on, off = on_and_off(gate, hand) if maps else (None, None)
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
        on=None if on is None else on.mean(-1),
        off=None if off is None else off.mean(-1),
    )
