"""Replacements of gates and attention: ablations that remove one property, as changes for `intervene`."""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from gatescope.recordings.scoring import Change

REPLACEMENTS = (
    "space mean",
    "shared map",
    "shuffled",
    "shifted",
    "time mean",
    "shifted in time",
    "channel mean",
    "another clip's",
    "constant",
)

Step = Float[Tensor, "clip channel *space"]
Steps = Float[Tensor, "clip time channel *space"]
Maps = Float[Tensor, "clip time channel rows columns"]


def space_mean(gate: Step) -> Step:
    """Return each channel's mean over all positions, at every position, as in a pooled gate."""
    return gate.flatten(2).mean(2).view(*gate.shape[:2], *[1] * (gate.ndim - 2)).expand_as(gate)


def channel_mean(gate: Step) -> Step:
    """Return each position's mean over all channels, in every channel."""
    return gate.mean(1, keepdim=True).expand_as(gate)


def shuffle_space() -> Callable[[Step], Step]:
    """Return a change that permutes a gate's positions: the same for all channels, drawn for each clip and step.

    All changes draw the same permutations in turn, so that gates shuffled together stay aligned. For one pass over the
    clips.
    """
    rng = torch.Generator().manual_seed(0)

    def shuffle(gate: Step) -> Step:
        values = gate.flatten(2)
        order = torch.rand(len(values), 1, values.shape[2], generator=rng).argsort(2).to(values.device)
        return values.gather(2, order.expand_as(values)).view_as(gate)

    return shuffle


def shift_level() -> Callable[[Step], Step]:
    """Return a change that shifts a gate's level up or down at random and keeps its map, clamped to 0 to 1.

    The control of `space_mean`: for each clip, step and channel the shift has the same mean squared change as removing
    the map. For one pass over the clips.
    """
    rng = torch.Generator().manual_seed(0)

    def shift(gate: Step) -> Step:
        values = gate.flatten(2)
        return _shifted(values, values.var(2, unbiased=False, keepdim=True), rng).view_as(gate)

    return shift


def shift_in_time(recorded: Steps) -> Steps:
    """Return a gate whose level is shifted up or down at random at each step, and keeps its map, clamped to 0 to 1.

    The control of `time_mean`: at every step the shift has the mean squared change that removing the course in time
    makes, averaged over the clip's steps.
    """
    values = recorded.flatten(3) if recorded.ndim == 5 else recorded[..., None]
    wanted = (values - time_mean(values)).square().mean((1, 3), keepdim=True).expand(*values.shape[:3], 1)
    return _shifted(values, wanted, torch.Generator().manual_seed(0)).view_as(recorded)


def _shifted(
    values: Float[Tensor, "*any position"], wanted: Float[Tensor, "*any 1"], rng: torch.Generator
) -> Float[Tensor, "*any position"]:
    """Shift values of 0 to 1, all positions alike, until the mean squared change over positions is as wanted.

    The direction is drawn, and turned where 0 or 1 is too near. At most 1/4 can be wanted.
    """

    def change(by: Tensor) -> Tensor:
        return ((values + by).clamp(0, 1) - values).square().mean(-1, keepdim=True)

    sign = torch.randint(0, 2, wanted.shape, generator=rng).to(values) * 2 - 1
    # One of both directions always is enough, as v^2 + (1 - v)^2 is 1/2 or more.
    sign = torch.where(change(sign) >= wanted, sign, -sign)
    little, much = torch.zeros_like(wanted), torch.ones_like(wanted)
    for _ in range(14):  # bisection
        middle = (little + much) / 2
        enough = change(sign * middle) >= wanted
        little, much = torch.where(enough, little, middle), torch.where(enough, middle, much)
    return (values + sign * much).clamp(0, 1)


def time_mean(recorded: Steps) -> Steps:
    """Return each clip's mean over its steps, at every step."""
    return recorded.mean(1, keepdim=True).expand_as(recorded)


def constant(recorded: Steps) -> Steps:
    """Return each channel's mean over all clips, steps and positions, everywhere."""
    axes = [axis for axis in range(recorded.ndim) if axis != 2]
    return recorded.mean(axes, keepdim=True).expand_as(recorded)


def another_clips(recorded: Steps) -> Steps:
    """Return for each clip the values of the clip before it, for the first those of the last.

    Raises ValueError for a single clip, which has no other.
    """
    if len(recorded) < 2:
        raise ValueError("another clip's values need two clips or more, got 1: record several in one batch")
    return recorded.roll(1, 0)


def without_own_map(recorded: Steps) -> Callable[[Step], Step]:
    """Return a change to a gate's mean over positions plus the mean map of all clips and steps, clamped to 0 to 1.

    It removes the difference of a clip's map from the others'.
    """
    shared = (recorded - recorded.mean((-2, -1), keepdim=True)).mean((0, 1))
    return lambda gate: (space_mean(gate) + shared).clamp(0, 1)


def replacements(recorded: Steps) -> dict[str, Change]:
    """Return the replacements of a gate by their names in REPLACEMENTS, for one pass over the clips.

    `space mean`, `shared map`, `shuffled` (in space), `shifted` (in level) and `channel mean` are computed from the
    live gate, which already reflects the intervention at earlier steps. `time mean`, its control `shifted in time`,
    `another clip's` and `constant` are computed from `recorded`, a pass without intervention. Those in space need maps,
    those in time two steps, `another clip's` two clips.
    """
    changes: dict[str, Change] = {"channel mean": channel_mean, "constant": constant(recorded)}
    if recorded.ndim == 5:
        changes |= {"space mean": space_mean, "shared map": without_own_map(recorded)}
        changes |= {"shuffled": shuffle_space(), "shifted": shift_level()}
    if recorded.shape[1] > 1:
        changes |= {"time mean": time_mean(recorded), "shifted in time": shift_in_time(recorded)}
    if len(recorded) > 1:
        changes["another clip's"] = another_clips(recorded)
    return {name: changes[name] for name in REPLACEMENTS if name in changes}


def replacement(name: str, recorded: Steps, by: str) -> Change:
    """Return the replacement called `by` of the gate called `name`, see `replacements`.

    Raises LookupError where the gate has none of that name, such as a mean over space of a gate without a map.
    """
    found = replacements(recorded)
    if by not in found:
        raise LookupError(f"{name} has no replacement {by}; it can be replaced by {', '.join(found)}")
    return found[by]


def every_replacement(recorded: Mapping[str, Steps]) -> Iterator[tuple[str, str, dict[str, Change]]]:
    """Yield (gate or `all`, replacement, changes) for each gate alone, then for all gates together."""
    for gate, values in recorded.items():
        for name, change in replacements(values).items():
            yield gate, name, {gate: change}
    # Built again, as a shuffle is for one pass.
    found = {gate: replacements(values) for gate, values in recorded.items()}
    for name in REPLACEMENTS:
        together = {gate: changes[name] for gate, changes in found.items() if name in changes}
        if len(together) > 1:
            yield "all", name, together


def attention_replacements(
    recorded: Maps, mask: Float[np.ndarray, "clip time rows columns"] | None, *, peak: bool
) -> dict[str, Change]:
    """Return the replacements of an attention map by name, from a pass without intervention and the hand's `mask`.

    `uniform` is the map's own mean of each clip, step and channel, and `shuffled` its own values at other positions.
    `hand` is the mask `with_level_of` the map, and `another clip's hand` the mask of the clip before treated alike;
    they need a mask, and two clips. These four change where a map is high; its level stays, up to the clamping of
    `with_level_of`. `all open` changes the level alone: 1 everywhere. It needs a map with a `peak` of 1 (gate
    attention, Eq. 22), and not a sum of 1 (input attention, Eq. 18).
    """
    uniform = recorded.mean((-2, -1), keepdim=True).expand_as(recorded)
    changes: dict[str, Change] = {"uniform": uniform, "shuffled": shuffle_space()}
    if mask is not None:
        changes["hand"] = with_level_of(recorded, mask, peak=peak)
        if len(mask) > 1:
            changes["another clip's hand"] = with_level_of(recorded, np.roll(mask, 1, 0), peak=peak)
    return changes | ({"all open": torch.ones_like(recorded)} if peak else {})


def with_level_of(recorded: Maps, mask: Float[np.ndarray, "clip time rows columns"], *, peak: bool) -> Maps:
    """Return the mask with the mean and standard deviation over positions that the map has, in all channels.

    Where a value would leave the range of the map it is clamped: to 0 and 1 for a map with a `peak` of 1, or to 0 for
    one with a sum of 1, which is then scaled to a sum of 1 again. Clamping makes the spread smaller and moves the mean
    of a peaked map; small hands of high maps are cut at 1, which lowers it. A mask that is the same everywhere, such as
    that of a hand out of view, gives the map's mean.
    """
    axes = (-2, -1)
    place = torch.from_numpy(mask).to(recorded)[:, :, None]
    place = place - place.mean(axes, keepdim=True)
    size = place.square().mean(axes, keepdim=True).sqrt()
    place = torch.where(size > 1e-6, place / size.clamp(min=1e-6), 0.0)  # below: the rounding of an even mask
    spread, mean = torch.std_mean(recorded, axes, correction=0, keepdim=True)
    maps = (mean + spread * place).clamp(0, 1)
    return maps if peak else maps / maps.sum(axes, keepdim=True)
