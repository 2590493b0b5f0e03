"""Pack a clip's recording for the scrubber: maps in 8 bits with their limits, frames, hand, gates and scores."""

import base64
import io
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from gatescope.loaders import Clip
from gatescope.pictures.quantities import QUANTITIES, Quantity, describe, place_of

COLOURS = ("viridis", "magma", "cividis", "gray", "RdBu_r")  # the last for signed values
LEVELS = 255  # steps of 8 bits from the lowest to the highest value of a plane
_FAR = 1e30  # sums of fewer than 1e8 values below it stay in the range of 32 bits
NUM_CLASSES = 6  # with a curve of scores, as many as there are colours
GATE_UNITS = [QUANTITIES[name].unit for name in ("r", "i", "f", "o", "update")]  # their values are parts, 0 to 1

_VALUES = ("maps", "strips")  # of a group

Maps = Float[np.ndarray, "step channel rows columns"]
Channels = Float[np.ndarray, "step channel"]


@dataclass
class Group:
    """Quantities that are shown together and share the chosen channel: those of one layer, or others of a variant."""

    title: str
    # Numbers of channels may differ: attention has one map.
    maps: dict[str, Float[np.ndarray, "step _ _ _"]] = field(default_factory=dict)
    strips: dict[str, Float[np.ndarray, "step _"]] = field(default_factory=dict)
    orders: dict[str, Float[np.ndarray, " _"]] = field(default_factory=dict)  # values that rank channels
    scores: Float[np.ndarray, "step classes"] | None = None  # probabilities
    link: str = ""  # groups with the same link share the chosen channel
    about: dict[str, Quantity] = field(default_factory=dict)  # descriptions of maps that are no hook points
    meanings: Mapping[str, str] | None = None  # what a value is, "" if unknown; None where all are our hook points

    @property
    def num_channels(self) -> int:
        """Number of channels of the maps; 1 without maps."""
        return max((maps.shape[1] for maps in self.maps.values()), default=1)

    def meaning(self, name: str) -> str | None:
        """Return what a value is; None where its name says it."""
        return None if self.meanings is None else self.meanings.get(name, "")

    def in_order(self, what: str) -> list[tuple[str, np.ndarray]]:
        """Return the `maps` or `strips` in the order in which a step computes them, by name."""
        return sorted(getattr(self, what).items(), key=lambda item: place_of(item[0], self.meaning(item[0])))

    def ranked(self) -> list[tuple[str, list[int]]]:
        """Return each order by its name, as channels from first to last."""
        by_size = [(name, np.argsort(-values, kind="stable").tolist()) for name, values in self.orders.items()]
        return [*by_size, ("index", list(range(self.num_channels)))]


@dataclass(frozen=True)
class Packed:
    """A header for JSON, and the bytes that its offsets point into."""

    header: dict[str, Any]
    data: bytes

    def deflated(self) -> str:
        """Return the bytes as text: differences of neighbours, deflated, in base64; scrubber.js decodes it."""
        plain = np.frombuffer(self.data, np.uint8)
        return base64.b64encode(zlib.compress(np.diff(plain, prepend=np.uint8(0)).tobytes(), 9)).decode()


def wide(values: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Return values in 64 bits if sums of them could leave the range of 16 or 32; beyond 1e200 as that."""
    largest = np.abs(values, where=np.isfinite(values), out=np.zeros_like(values)).max(initial=0)
    if values.dtype != np.float16 and largest < _FAR:
        return values
    values = values.astype(np.float64)
    return np.where(np.isfinite(values), values.clip(-1e200, 1e200), values)


def quantise(values: Float[np.ndarray, "*shape"]) -> tuple[UInt8[np.ndarray, "*shape"], float, float]:
    """Return values in 8 bits with the lowest and highest value; the error is at most (high - low) / 510.

    Values that are not finite become the lowest.
    """
    values = wide(values)
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros(values.shape, np.uint8), 0.0, 0.0
    low, high = (float(end(values[finite])) for end in (np.min, np.max))
    steps = np.zeros(values.shape) if high == low else (np.where(finite, values, low) - low) / (high - low) * LEVELS
    return np.rint(steps).astype(np.uint8), low, high


def channel_bytes(maps: Sequence[Float[np.ndarray, "_ _ _ _"]], channel: int) -> bytes:
    """Return one channel of several maps: for each its lowest and highest value as float32, then its planes.

    Maps are (step, channel, rows, columns) of any sizes; one with a single channel gives that one.
    """
    parts = []
    for each in maps:
        levels, low, high = quantise(each[:, min(channel, each.shape[1] - 1)])
        limits = np.clip([low, high], *(sign * np.finfo(np.float32).max for sign in (-1, 1)))
        parts += [limits.astype("<f4").tobytes(), levels.tobytes()]
    return b"".join(parts)


def pack(
    groups: Sequence[Group], clip: Clip | None, *, num_channels: int, title: str = "", classes: Sequence[str] = ()
) -> Packed:
    """Pack the first channels of every group by each of its orders, at most `num_channels`, with mean and maximum.

    Without a clip there are no frames, and panels have the shape of the first map.

    Raises ValueError if there is nothing to show, no channel is asked for, a map is empty, numbers of steps or classes
    differ, or frames do not divide into steps.
    """
    if num_channels < 1:
        raise ValueError(f"num_channels must be 1 or more; got {num_channels}")
    steps = {len(each) for group in groups for each in (*group.maps.values(), *group.strips.values())}
    if len(steps) != 1:
        raise ValueError(f"recordings of one clip with equally many steps are needed; got {sorted(steps) or 'none'}")
    for group in groups:
        for name, values in (*group.maps.items(), *group.strips.items()):
            if not np.issubdtype(values.dtype, np.floating):
                raise ValueError(f"{name} is {values.dtype}; maps of floats are needed")
            if not values.size:
                raise ValueError(f"{name} is empty: {values.shape}; a step, a channel and a place or more are needed")
    groups = [
        replace(group, **{what: {name: wide(each) for name, each in getattr(group, what).items()} for what in _VALUES})
        for group in groups
    ]
    (num_steps,) = steps
    if clip is None:
        shapes = [maps.shape[2:] for group in groups for maps in group.maps.values()] or [(1, 1)]
        (height, width), pictures, hand, each = shapes[0], [], None, 1
    else:
        each = _frames_of_step(clip, num_steps)
        height, width = clip.frames.shape[1:3]
        pictures = [jpeg(frame) for frame in clip.frames[each - 1 :: each]]
        hand = None if clip.hand_mask is None else np.packbits(clip.hand_mask[each - 1 :: each], bitorder="little")
    data, best = io.BytesIO(), _highest(groups, classes)
    places = np.arange(256)  # of a palette's colours, three bytes each
    palettes = {name: matplotlib.colormaps[name](places, bytes=True)[:, :3].tobytes() for name in COLOURS}
    header = {
        "title": title,
        "clip": "" if clip is None else ", ".join(filter(None, (clip.name, Path(clip.source).name))),
        "steps": num_steps,
        "framesPerStep": each,
        "fps": None if clip is None else clip.fps,
        "opens": _most_to_see(groups, clip, each),
        "width": width,
        "height": height,
        "colours": [[name, _add(data, palette)] for name, palette in palettes.items()],
        "frames": [[_add(data, picture), len(picture)] for picture in pictures],
        "hand": None if hand is None else _add(data, hand.tobytes()),
        "groups": [_group(data, group, num_channels, best) for group in groups],
    }
    return Packed(header, data.getvalue())


def _frames_of_step(clip: Clip, num_steps: int) -> int:
    """Return how many frames of a clip belong to each step."""
    num_frames = len(clip.frames)
    if num_frames % num_steps:
        need = "a clip as the network saw it (gatescope.loaders.as_seen) has a multiple of them"
        raise ValueError(f"{num_frames} frames do not divide into the recording's {num_steps} steps; {need}")
    return num_frames // num_steps


def _most_to_see(groups: Sequence[Group], clip: Clip | None, each: int) -> int:
    """Return the step with most of the hand in view; without a hand, that at which the picture changes most.

    Only steps with half the usual contrast count, of the frame and of the maps: a picture that a board covers changes
    too, and shows nothing.
    """
    if clip is not None and clip.hand_mask is not None and clip.hand_mask.any():
        return int(clip.hand_mask[each - 1 :: each].sum((1, 2)).argmax())
    frames = [] if clip is None else [_flat(clip.frames[each - 1 :: each])]
    maps = [_flat(maps) for group in groups for maps in group.maps.values()]
    shown = [*frames, *maps]
    if not shown or len(shown[0]) == 1:
        return 0
    changes = [np.abs(np.diff(values, axis=0)).mean(1) for values in frames or maps]
    change = sum(values / (values.mean() or 1) for values in changes)
    contrasts = [values.std(1) for values in shown]
    contrast = sum(values / (values.mean() or 1) for values in contrasts)
    change[contrast[1:] < np.median(contrast) / 2] = -1
    return 1 + int(change.argmax())


def _flat(values: np.ndarray) -> Float[np.ndarray, "step _"]:
    """Return values by step, in parts of the largest, so that none of their sums is too large."""
    flat = np.nan_to_num(values.reshape(len(values), -1), posinf=0, neginf=0)
    return flat / (np.abs(flat).max() or 1)


def _add(data: io.BytesIO, piece: bytes) -> int:
    """Append bytes and return their offset."""
    data.write(piece)
    return data.tell() - len(piece)


def _group(data: io.BytesIO, group: Group, num_channels: int, best: Mapping[int, str]) -> dict[str, Any]:
    ranked = group.ranked()
    in_turn = chain.from_iterable(zip(*(order for _, order in ranked[:-1] or ranked), strict=True))
    kept = sorted(list(dict.fromkeys(in_turn))[:num_channels])
    return {
        "title": group.title,
        "link": group.link,
        "numChannels": group.num_channels,
        "channels": kept,
        "orders": [list(each) for each in ranked],
        "panels": [_words(group, name, maps) | _map_panel(data, maps, kept) for name, maps in group.in_order("maps")],
        "strips": [_words(group, name, values) | _strip(data, values) for name, values in group.in_order("strips")],
        "scores": None if group.scores is None else _scores(data, group.scores, best),
    }


def _map_panel(data: io.BytesIO, maps: Maps, kept: Sequence[int]) -> dict[str, Any]:
    _, channels, rows, columns = maps.shape
    planes = [_plane(data, maps[:, channel]) for channel in ([0] if channels == 1 else kept)]
    with np.errstate(invalid="ignore"):  # opposite infinities have no mean, which is drawn as the lowest value
        mean = maps.mean(1)
    reduced = [] if channels == 1 else [["mean", _plane(data, mean)], ["max", _plane(data, maps.max(1))]]
    signed = bool((maps < 0).any())
    return {"rows": rows, "columns": columns, "signed": signed, "planes": planes, "reduced": reduced}


def _strip(data: io.BytesIO, values: Channels) -> dict[str, Any]:
    # Channels from top to bottom, steps from left to right.
    return {"signed": bool((values < 0).any()), "channels": values.shape[1], **_plane(data, values.T)}


def _highest(groups: Sequence[Group], names: Sequence[str]) -> dict[int, str]:
    """Return the classes with the highest probabilities at any step of any group: all groups show the same curves."""
    every = [group.scores.max(0) for group in groups if group.scores is not None]
    if len({len(each) for each in every}) > 1:
        raise ValueError("scores of networks with different numbers of classes do not compare; show each by itself")
    best = np.argsort(-np.max(every, 0), kind="stable")[:NUM_CLASSES].tolist() if every else []
    return {number: names[number] if number < len(names) else f"class {number}" for number in best}


def _scores(data: io.BytesIO, scores: Float[np.ndarray, "step classes"], best: Mapping[int, str]) -> dict[str, Any]:
    chosen = np.ascontiguousarray(scores[:, list(best)], "<f4")
    return {"names": list(best.values()), "offset": _add(data, chosen.tobytes())}


def _plane(data: io.BytesIO, values: Float[np.ndarray, "*shape"]) -> dict[str, Any]:
    levels, low, high = quantise(values)
    return {"offset": _add(data, levels.tobytes()), "low": low, "high": high}


def _words(group: Group, name: str, values: Float[np.ndarray, "step channel *space"]) -> dict[str, Any]:
    meaning = group.meaning(name)
    title, unit, text = group.about.get(name) or describe(name, values.shape[1], meaning)
    is_gate = unit in GATE_UNITS and not ((values < 0) | (values > 1)).any()
    limits = [0, 1] if is_gate else None
    place = place_of(name, meaning)
    return {"name": name, "title": title, "unit": unit, "help": text, "place": place, "range": limits}


def jpeg(frame: UInt8[np.ndarray, "height width 3"]) -> bytes:
    """Return a frame as JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "JPEG", quality=88)
    return buffer.getvalue()
