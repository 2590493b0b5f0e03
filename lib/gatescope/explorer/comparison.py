"""Groups of a recording before and after an intervention, their difference, and the scores of both in one chart."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from gatescope.loaders import Clip
from gatescope.pictures.packing import LEVELS, Group, Maps, Packed, channel_bytes, pack
from gatescope.pictures.quantities import describe
from gatescope.pictures.scrubber import groups_of
from gatescope.recordings import Watched
from gatescope.recordings.scoring import Change

BEFORE, AFTER, CHANGE = "before", "after", "after − before"


@dataclass
class Paired(Group):
    """Group of a comparison: drawn on limits that hold for `beside` too, or of differences, which are signed."""

    beside: Group | None = None  # None for differences


@dataclass(frozen=True, eq=False)
class Shown:
    """One network on the clip, as it is and with the change that was asked for."""

    name: str
    before: Watched
    after: Watched | None
    offers: dict[str, dict[str, dict[str, Change]]]
    words: str


def compare(variant: str, before: Watched, after: Watched) -> list[Group]:
    """Return three groups for each layer, without scores: before, after, and after minus before.

    All have the channels in the order that they have before.
    """
    groups: list[Group] = []
    for one, other in zip(groups_of(variant, before), groups_of(variant, after), strict=True):
        first, second, change = (Paired(f"{one.title}, {when}") for when in (BEFORE, AFTER, CHANGE))
        first.beside, second.beside = second, first
        first.maps, first.strips, second.maps, second.strips = one.maps, one.strips, other.maps, other.strips
        for group in (first, second, change):
            group.orders, group.meanings = one.orders, one.meanings
        for what in ("maps", "strips"):
            for name, values in getattr(one, what).items():
                getattr(change, what)[name] = getattr(other, what)[name] - values
                known = describe(name, values.shape[1], one.meaning(name))
                help = f"{known.title} after the intervention minus the same before it."
                change.about[name] = known._replace(title=f"Δ {known.title}", help=help)
        groups += [first, second, change]
    return groups


def score_chart(
    before: Watched, after: Watched, classes: Sequence[str], numbers: Sequence[int], variant: str = ""
) -> tuple[Group, list[str]]:
    """Return a group with the probabilities of `numbers` before and after, and the names of its curves.

    What all other classes have together is the last pair, so that a chart holds all of the probability.
    """
    both = [(words, each.logits.softmax(-1).cpu().numpy()) for words, each in ((BEFORE, before), (AFTER, after))]
    columns, names = [], []
    for number in numbers:
        columns += [scores[:, number] for _, scores in both]
        names += [f"{_name(classes, number)}, {words}" for words, _ in both]
    if len(numbers) < both[0][1].shape[1]:
        columns += [1 - scores[:, list(numbers)].sum(1) for _, scores in both]
        names += [f"all others, {words}" for words, _ in both]
    title = " ".join(part for part in (variant, f"scores {BEFORE} and {AFTER}") if part)
    return Group(title, scores=np.stack(columns, 1)), names


def groups_of_all(shown: Sequence[Shown], classes: Sequence[str]) -> tuple[list[Group], Sequence[str]]:
    """Return groups of all networks, and the names of the curves in them."""
    changed = [each for each in shown if each.after is not None]
    groups: list[Group] = []
    numbers = answers_of(changed[0].before, changed[0].after) if changed else []
    curves = classes
    for each in shown:
        own = groups_of(each.name, each.before) if each.after is None else compare(each.name, each.before, each.after)
        for group in own:
            group.link = f"{each.name}, {next(iter(group.maps), '').partition('.')[0]}, {group.num_channels}"
            group.scores = None if changed else group.scores
        if changed:
            # An unchanged network's two curves of a class are one.
            chart, curves = score_chart(each.before, each.after or each.before, classes, numbers, each.name)
            own = [chart, *own]
        groups += own
    return groups, curves


def answers_of(*watched: Watched) -> list[int]:
    """Return the classes with the highest final scores, each once."""
    return list(dict.fromkeys(int(each.logits[-1].argmax()) for each in watched))


def pack_compared(groups: Sequence[Group], clip: Clip | None, **settings: Any) -> Packed:
    """Return what `pack` returns, with limits that hold before and after, differences about 0, and curves in pairs."""
    packed = pack(groups, clip, **settings)
    data = bytearray(packed.data)
    classes = settings.get("classes", ())
    for group, spec in zip(groups, packed.header["groups"], strict=True):
        if spec["scores"] and sorted(spec["scores"]["names"]) == sorted(classes):
            # All are shown, so in the order that they were given in and not by their height.
            spec["scores"]["names"] = list(classes)
            spec["scores"]["pairs"] = all(name.endswith((f", {BEFORE}", f", {AFTER}")) for name in classes)
            _write(data, spec["scores"]["offset"], group.scores.astype("<f4").tobytes())
        if not isinstance(group, Paired):
            continue
        for panel in (*spec["panels"], *spec["strips"]):
            panel["signed"] |= group.beside is None
        if group.beside is not None:
            for panel in spec["panels"]:
                one, other = (each.maps[panel["name"]] for each in (group, group.beside))
                planes = [*panel["planes"], *(plane for _, plane in panel["reduced"])]
                shown = zip(_planes(one, spec["channels"]), _planes(other, spec["channels"]), strict=True)
                for plane, pair in zip(planes, shown, strict=True):
                    _share(data, plane, *pair)
            for strip in spec["strips"]:
                _share(data, strip, *(each.strips[strip["name"]].T for each in (group, group.beside)))
    return replace(packed, data=bytes(data))


def channel_of(group: Group, names: Sequence[str], channel: int) -> bytes:
    """Return a channel of these maps as `channel_bytes` does, of a Paired group on limits that hold for both."""
    if not isinstance(group, Paired) or group.beside is None:
        return channel_bytes([group.maps[name] for name in names], channel)
    parts = []
    for name in names:
        one, other = (each.maps[name] for each in (group, group.beside))
        own, beside = (maps[:, min(channel, maps.shape[1] - 1)] for maps in (one, other))
        low, high = _limits(own, beside)
        parts += [np.array([low, high], "<f4").tobytes(), _levels(own, low, high).tobytes()]
    return b"".join(parts)


def _planes(maps: Maps, kept: Sequence[int]) -> list[Float[np.ndarray, "step rows columns"]]:
    """Return what `pack` keeps of a map, in its order."""
    if maps.shape[1] == 1:
        return [maps[:, 0]]
    return [*(maps[:, channel] for channel in kept), maps.mean(1), maps.max(1)]


def _share(data: bytearray, plane: dict[str, Any], own: np.ndarray, beside: np.ndarray) -> None:
    low, high = _limits(own, beside)
    plane.update(low=low, high=high)
    _write(data, plane["offset"], _levels(own, low, high).tobytes())


def _write(data: bytearray, offset: int, piece: bytes) -> None:
    data[offset : offset + len(piece)] = piece


def _limits(*values: np.ndarray) -> tuple[float, float]:
    found = [each[np.isfinite(each)] for each in values]
    found = [each for each in found if each.size]
    return min(map(float, map(np.min, found)), default=0.0), max(map(float, map(np.max, found)), default=0.0)


def _levels(values: np.ndarray, low: float, high: float) -> np.ndarray:
    if high == low:
        return np.zeros(values.shape, np.uint8)
    return np.rint((np.where(np.isfinite(values), values, low) - low) / (high - low) * LEVELS).astype(np.uint8)


def _name(classes: Sequence[str], number: int) -> str:
    return classes[number] if number < len(classes) else f"class {number}"
