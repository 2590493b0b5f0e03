"""Gates as they vary, as they follow the hand, and as they matter: variance in parts, replacements, main effects."""

from collections.abc import Callable, Iterator, Mapping
from itertools import combinations, product

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64
from scipy.special import log_softmax
from scipy.stats import t
from torch import Tensor, nn

from gatescope.models.cells import GATE_KINDS
from gatescope.recordings.record import record

AXES = ("clip", "time", "channel", "space")
PARTS = ("channel", "time", "clip", "shared map", "clip's map")
REPLACEMENTS = ("space mean", "shared map", "shuffled", "time mean", "channel mean", "constant")
ROWS = {"_".join(kinds): kinds for kinds in product(GATE_KINDS, repeat=3)}  # of STUDY_CELLS: the kinds of i, f and o

Gate = Float[np.ndarray, "clip time channel *space"]  # without space a pooled gate
Step = Float[Tensor, "clip channel *space"]
Steps = Float[Tensor, "clip time channel *space"]
Interval = tuple[float, float, float]  # a value, and the ends of its interval


@torch.inference_mode()
def record_gates(network: nn.Module, features: Float[Tensor, "clip time features rows columns"]) -> dict[str, Steps]:
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


def space_mean(gate: Step) -> Step:
    """Each channel's mean over all positions, at every position: what a pooled gate could be."""
    return gate.flatten(2).mean(2).view(*gate.shape[:2], *[1] * (gate.ndim - 2)).expand_as(gate)


def channel_mean(gate: Step) -> Step:
    """Each position's mean over all channels, in every channel."""
    return gate.mean(1, keepdim=True).expand_as(gate)


def shuffle_space(seed: int = 0) -> Callable[[Step], Step]:
    """A change that puts a gate's positions in another order: one for all channels, its own for each clip and step.

    Every change of one `seed` begins with the same orders, so that gates shuffled together stay together; it is for
    one pass over the clips.
    """
    rng = torch.Generator().manual_seed(seed)

    def shuffle(gate: Step) -> Step:
        values = gate.flatten(2)
        order = torch.rand(len(values), 1, values.shape[2], generator=rng).argsort(2).to(values.device)
        return values.gather(2, order.expand_as(values)).view_as(gate)

    return shuffle


def time_mean(recorded: Steps) -> Steps:
    """Each clip's mean over its steps, at every step."""
    return recorded.mean(1, keepdim=True).expand_as(recorded)


def constant(recorded: Steps) -> Steps:
    """One number for each channel: its mean over all clips, steps and positions."""
    axes = [axis for axis in range(recorded.ndim) if axis != 2]
    return recorded.mean(axes, keepdim=True).expand_as(recorded)


def without_own_map(recorded: Steps) -> Callable[[Step], Step]:
    """A change that keeps of a gate its mean over positions and, about it, the map that all clips and steps share.

    What is lost is how a clip's map differs from the others'. The sum is cut off at 0 and 1.
    """
    shared = (recorded - recorded.mean((-2, -1), keepdim=True)).mean((0, 1))
    return lambda gate: (space_mean(gate) + shared).clamp(0, 1)


def replacements(recorded: Steps) -> dict[str, Callable[[Step], Step] | Steps]:
    """What is put in a gate's place, by its name in REPLACEMENTS, as `intervene` takes it; for one pass over the clips.

    `space mean`, `shared map`, `shuffled` (in space) and `channel mean` are made of the gate as it comes, which has
    heard of what they changed at earlier steps. `time mean` and `constant` are means of `recorded`, a pass that nobody
    disturbed. A pooled gate has no space to take away, and one step no time.
    """
    changes: dict[str, Callable[[Step], Step] | Steps] = {}
    if recorded.ndim == 5:
        changes |= {"space mean": space_mean, "shared map": without_own_map(recorded), "shuffled": shuffle_space()}
    if recorded.shape[1] > 1:
        changes["time mean"] = time_mean(recorded)
    return changes | {"channel mean": channel_mean, "constant": constant(recorded)}


def every_replacement(recorded: Mapping[str, Steps]) -> Iterator[tuple[str, str, dict]]:
    """Each replacement of each gate alone, then of all gates together, as (gate or `all`, replacement, changes)."""
    for gate, values in recorded.items():
        for name, change in replacements(values).items():
            yield gate, name, {gate: change}
    # Made anew: a shuffle is for one pass.
    found = {gate: replacements(values) for gate, values in recorded.items()}
    for name in REPLACEMENTS:
        together = {gate: changes[name] for gate, changes in found.items() if name in changes}
        if len(together) > 1:
            yield "all", name, together


def oracle(mask: Float[np.ndarray, "clip time rows columns"], peak: bool) -> Float[Tensor, "clip time 1 rows columns"]:
    """Attention that looks at the mask and nowhere else: with its peak at 1 as in a gate, or else a sum of 1.

    At a step without a mask it looks everywhere alike.
    """
    maps = torch.from_numpy(mask).float()[:, :, None]
    empty = maps.sum((-2, -1), keepdim=True) == 0
    maps = torch.where(empty, 1.0, maps)
    return maps / (maps.amax((-2, -1), keepdim=True) if peak else maps.sum((-2, -1), keepdim=True))


def divergence(
    before: Float[np.ndarray, "clip classes"], after: Float[np.ndarray, "clip classes"]
) -> Float64[np.ndarray, " clip"]:
    """How far each clip's class probabilities moved: Kullback and Leibler's divergence of those after, nats.

    It is 0 where nothing changed, and grows where a class that was likely is so no more.
    """
    p, q = (log_softmax(logits.astype(np.float64), axis=1) for logits in (before, after))
    return np.maximum((np.exp(p) * (p - q)).sum(1), 0)


def verdict(change: Interval, margin: float) -> str:
    """What a change of accuracy and its interval say of what was taken away.

    `needed` where all of the interval lies below 0, however little, `in the way` where all of it lies above;
    `not needed` where no loss as large as `margin` lies in it; else `not told apart`.
    """
    _, low, high = change
    if high < 0:
        return "needed"
    if low > 0:
        return "in the way"
    return "not needed" if low > -margin else "not told apart"


def main_effects(right: Mapping[str, Bool[np.ndarray, " clip"]]) -> dict[tuple[str, str], Float64[np.ndarray, " clip"]]:
    """What each kind of each gate does, for each (gate, kind): the mean over all rows that have it, less that over all.

    `right` says of every row, by its name as in STUDY_CELLS, which clips it gets right. Raises ValueError unless every
    choice of kinds is there: of some alone, the means would differ in the other gates as well.
    """
    if set(right) != set(ROWS):
        raise ValueError(f"main effects need all {len(ROWS)} rows; {len(set(ROWS) - set(right))} are missing")
    every = np.mean(list(right.values()), axis=0)
    return {
        (gate, kind): np.mean([right[name] for name, kinds in ROWS.items() if kinds[place] == kind], axis=0) - every
        for place, gate in enumerate("ifo")
        for kind in GATE_KINDS
    }


def half_width(right: Mapping[str, Bool[np.ndarray, " clip"]], level: float = 0.95) -> float:
    """How far to either side a main effect's interval reaches, by what the main effects leave unexplained of the rows.

    Each row was trained once, by itself: that rest holds chance in training, and whatever gates do only together.
    Student's t for the contrast of 9 rows with all 27, 20 degrees of freedom.
    """
    effects = {key: values.mean() for key, values in main_effects(right).items()}
    accuracy = {name: values.mean() for name, values in right.items()}
    rest = [
        accuracy[name] - np.mean(list(accuracy.values())) - sum(effects[key] for key in zip("ifo", kinds, strict=True))
        for name, kinds in ROWS.items()
    ]
    freedom = len(rest) - 1 - 3 * (len(GATE_KINDS) - 1)
    of_rows = np.square(rest).sum() / freedom
    same = len(rest) / len(GATE_KINDS)
    return float(t.ppf((1 + level) / 2, freedom) * np.sqrt(of_rows * (1 / same - 1 / len(rest))))
