"""What is put in a gate's place to take something from it, and what is said of a network that went on without."""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from jaxtyping import Float, Float64
from scipy.special import log_softmax
from torch import Tensor

REPLACEMENTS = (
    "space mean",
    "shared map",
    "shuffled",
    "shifted",
    "time mean",
    "channel mean",
    "another clip's",
    "constant",
)

Step = Float[Tensor, "clip channel *space"]
Steps = Float[Tensor, "clip time channel *space"]
Change = Callable[[Tensor], Tensor] | Tensor


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


def shift_level(seed: int = 0) -> Callable[[Step], Step]:
    """A change that moves a gate's level up or down at random and leaves its map, but for what is cut off at 0 and 1.

    The control of `space_mean`: each channel moves, for each clip and step anew, until as much has changed, in mean
    squares, as where its map is taken away. As `shuffle_space` it is for one pass.
    """
    rng = torch.Generator().manual_seed(seed)

    def shift(gate: Step) -> Step:
        values = gate.flatten(2)
        sign = torch.randint(0, 2, (*gate.shape[:2], 1), generator=rng).to(gate) * 2 - 1
        wanted = values.var(2, unbiased=False, keepdim=True)
        # Moved by 1, all of a channel is 0 or 1, and more has changed than its variance.
        little, much = torch.zeros_like(wanted), torch.ones_like(wanted)
        for _ in range(14):
            middle = (little + much) / 2
            enough = ((values + sign * middle).clamp(0, 1) - values).square().mean(2, keepdim=True) >= wanted
            little, much = torch.where(enough, little, middle), torch.where(enough, middle, much)
        return (values + sign * much).clamp(0, 1).view_as(gate)

    return shift


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


def replacements(recorded: Steps) -> dict[str, Change]:
    """What is put in a gate's place, by its name in REPLACEMENTS, as `intervene` takes it; for one pass over the clips.

    `space mean`, `shared map`, `shuffled` (in space), `shifted` (in level) and `channel mean` are made of the gate as
    it comes, which has heard of what they changed at earlier steps. `time mean`, `another clip's` and `constant` are of
    `recorded`, a pass that nobody disturbed. A pooled gate has no space to take away, one step no time, and one clip
    has no other.
    """
    changes: dict[str, Change] = {"channel mean": channel_mean, "constant": constant(recorded)}
    if recorded.ndim == 5:
        changes |= {"space mean": space_mean, "shared map": without_own_map(recorded)}
        changes |= {"shuffled": shuffle_space(), "shifted": shift_level()}
    if recorded.shape[1] > 1:
        changes["time mean"] = time_mean(recorded)
    if len(recorded) > 1:
        changes["another clip's"] = recorded.roll(1, 0)
    return {name: changes[name] for name in REPLACEMENTS if name in changes}


def every_replacement(recorded: Mapping[str, Steps]) -> Iterator[tuple[str, str, dict[str, Change]]]:
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


def attention_replacements(
    recorded: Float[Tensor, "clip time channel rows columns"],
    mask: Float[np.ndarray, "clip time rows columns"] | None,
    *,
    peak: bool,
) -> dict[str, Change]:
    """What is put in the place of an attention map, by name: `uniform`, `shuffled` and, where it is known, `hand`.

    `uniform` looks everywhere alike, `hand` at the mask and nowhere else, or everywhere at a step without one. As the
    map in whose place they stand, each has its `peak` at 1 (in a gate, Eq. 22) or else a sum of 1 (on X, Eq. 18).
    """
    maps = {"uniform": torch.ones_like(recorded)}
    if mask is not None:
        own = torch.from_numpy(mask).to(recorded)[:, :, None].expand_as(recorded)
        maps["hand"] = torch.where(own.sum((-2, -1), keepdim=True) > 0, own, maps["uniform"])
    one = torch.amax if peak else torch.sum
    changes: dict[str, Change] = {name: found / one(found, (-2, -1), keepdim=True) for name, found in maps.items()}
    return changes | {"shuffled": shuffle_space()}


def divergence(
    before: Float[np.ndarray, "*any classes"], after: Float[np.ndarray, "*any classes"]
) -> Float64[np.ndarray, "*any"]:
    """How far the class probabilities moved: Kullback and Leibler's divergence of those after from those before, nats.

    It is 0 where nothing changed, and grows where a class that was likely is so no more.
    """
    p, q = (log_softmax(logits.astype(np.float64), axis=-1) for logits in (before, after))
    return np.maximum((np.exp(p) * (p - q)).sum(-1), 0)


def verdict(value: float, low: float, high: float, margin: float, num_answers: int) -> str:
    """What a change of accuracy, in points, and its interval say: is what was taken away needed?

    `yes` where all of the interval lies below 0, however little, `in the way` where all of it lies above. `no` where
    no loss as large as `margin` lies in it, and none would go unseen: what changes one in a hundred answers is seen in
    none of 300 once in twenty times (the rule of three), and then the interval is a point. Else `?`.
    """
    if high < 0:
        return "yes"
    if low > 0:
        return "in the way"
    return "no" if low > -margin and 300 / num_answers < margin else "?"
