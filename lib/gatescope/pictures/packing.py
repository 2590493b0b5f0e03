"""A clip's recording as bytes for the scrubber: maps in 8 bits with their limits, frames, hand, gates and scores."""

import base64
import io
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import matplotlib
import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image

from gatescope.pictures.quantities import Quantity, describe, place_of

COLOURS = ("viridis", "magma", "cividis", "gray", "RdBu_r")  # the last for what has a sign
LEVELS = 255  # steps of 8 bits from the lowest to the highest value of a plane
NUM_CLASSES = 5  # whose scores are drawn

Maps = Float[np.ndarray, "step channel rows columns"]
Channels = Float[np.ndarray, "step channel"]


@runtime_checkable
class Seen(Protocol):
    """A clip as the network saw it; loaders.Clip is one."""

    frames: UInt8[np.ndarray, "time height width 3"]
    hand_mask: Bool[np.ndarray, "time height width"] | None


@dataclass
class Group:
    """What is shown together and shares a choice of channel: of one layer, or what else belongs to a variant."""

    title: str
    maps: dict[str, Maps] = field(default_factory=dict)
    strips: dict[str, Channels] = field(default_factory=dict)
    orders: dict[str, Float[np.ndarray, " channel"]] = field(default_factory=dict)  # by which channels can be ranked
    scores: Float[np.ndarray, "step classes"] | None = None  # probabilities
    link: str = ""  # shared by groups of the same channels, which are then chosen together
    about: dict[str, Quantity] = field(default_factory=dict)  # words for what is no hook point of a layer

    @property
    def num_channels(self) -> int:
        """How many channels its maps have; 1 where they have none."""
        return max((maps.shape[1] for maps in self.maps.values()), default=1)

    def ranked(self) -> list[tuple[str, list[int]]]:
        """Every order of the channels by its name, from the first channel to the last."""
        by_size = [(name, np.argsort(-values, kind="stable").tolist()) for name, values in self.orders.items()]
        return [*by_size, ("index", list(range(self.num_channels)))]


@dataclass(frozen=True)
class Packed:
    """A header, which JSON can hold, and the bytes that its offsets are about."""

    header: dict[str, Any]
    data: bytes

    def deflated(self) -> str:
        """The bytes as text: differences of neighbours, deflated, in base64; scrubber.js undoes it."""
        plain = np.frombuffer(self.data, np.uint8)
        return base64.b64encode(zlib.compress(np.diff(plain, prepend=np.uint8(0)).tobytes(), 9)).decode()


class _Writer:
    """Bytes one after another, each piece known by where it begins."""

    def __init__(self):
        self.pieces: list[bytes] = []
        self.size = 0

    def add(self, piece: bytes) -> int:
        self.pieces.append(piece)
        self.size += len(piece)
        return self.size - len(piece)


def quantise(values: Float[np.ndarray, "*shape"]) -> tuple[UInt8[np.ndarray, "*shape"], float, float]:
    """Values in 8 bits, and the lowest and highest of them: off by at most half a step of (high - low) / 255.

    Values that are not finite, which no colour stands for, become the lowest.
    """
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros(values.shape, np.uint8), 0.0, 0.0
    low, high = (float(end(values[finite])) for end in (np.min, np.max))
    steps = np.zeros(values.shape) if high == low else (np.where(finite, values, low) - low) / (high - low) * LEVELS
    return np.rint(steps).astype(np.uint8), low, high


def channel_bytes(maps: Sequence[Float[np.ndarray, "_ _ _ _"]], channel: int) -> bytes:
    """One channel of several maps: of each its lowest and highest value as float32, then its planes.

    Maps are (step, channel, rows, columns), of any sizes; one that has a single channel gives that.
    """
    parts = []
    for each in maps:
        levels, low, high = quantise(each[:, min(channel, each.shape[1] - 1)])
        parts += [np.array([low, high], "<f4").tobytes(), levels.tobytes()]
    return b"".join(parts)


def pack(
    groups: Sequence[Group], clip: Seen, *, num_channels: int, title: str = "", classes: Sequence[str] = ()
) -> Packed:
    """The first channels of every group by each of its orders, at most `num_channels`, with mean and maximum of all.

    Raises:
        ValueError: if there is nothing to show, numbers of steps or classes differ, or the clip's frames do not divide
            into steps.
    """
    steps = {len(each) for group in groups for each in (*group.maps.values(), *group.strips.values())}
    if len(steps) != 1:
        raise ValueError(f"recordings of one clip with equally many steps are needed; got {sorted(steps) or 'none'}")
    (num_steps,) = steps
    num_frames, height, width = clip.frames.shape[:3]
    if num_frames % num_steps:
        raise ValueError(
            f"{num_frames} frames do not divide into the recording's {num_steps} steps; give the clip as the network "
            "saw it (gatescope.loaders.as_seen)"
        )
    writer, best = _Writer(), _highest(groups, classes)
    each = num_frames // num_steps
    header = {
        "title": title,
        "steps": num_steps,
        "framesPerStep": each,
        "width": width,
        "height": height,
        "colours": [[name, writer.add(_lookup(name))] for name in COLOURS],
        "frames": [_span(writer, _jpeg(frame)) for frame in clip.frames[each - 1 :: each]],
        "hand": None
        if clip.hand_mask is None
        else writer.add(np.packbits(clip.hand_mask[each - 1 :: each].reshape(-1), bitorder="little").tobytes()),
        "groups": [_group(writer, group, num_channels, best) for group in groups],
    }
    return Packed(header, b"".join(writer.pieces))


def _group(writer: _Writer, group: Group, num_channels: int, best: Mapping[int, str]) -> dict[str, Any]:
    ranked = group.ranked()
    kept = _first_of_each([order for _, order in ranked[:-1] or ranked], num_channels)
    return {
        "title": group.title,
        "link": group.link,
        "numChannels": group.num_channels,
        "channels": kept,
        "orders": [list(each) for each in ranked],
        "panels": [_words(group, name, maps) | _map_panel(writer, maps, kept) for name, maps in _in_order(group.maps)],
        "strips": [_words(group, name, values) | _strip(writer, values) for name, values in _in_order(group.strips)],
        "scores": None if group.scores is None else _scores(writer, group.scores, best),
    }


def _first_of_each(orders: Sequence[Sequence[int]], count: int) -> list[int]:
    """The first channels of all orders, taken in turns, until there are `count`."""
    found = dict.fromkeys(channel for tied in zip(*orders, strict=True) for channel in tied)
    return sorted(list(found)[:count])


def _map_panel(writer: _Writer, maps: Maps, kept: Sequence[int]) -> dict[str, Any]:
    single = maps.shape[1] == 1
    planes = [_plane(writer, maps[:, channel]) for channel in ([0] if single else kept)]
    reduced = [] if single else [["mean", _plane(writer, maps.mean(1))], ["max", _plane(writer, maps.max(1))]]
    return {
        "rows": maps.shape[2],
        "columns": maps.shape[3],
        "signed": bool(np.nanmin(maps) < 0),
        "planes": planes,
        "reduced": reduced,
    }


def _strip(writer: _Writer, values: Channels) -> dict[str, Any]:
    # Channels from top to bottom, steps from left to right.
    return {"signed": bool(values.min() < 0), "channels": values.shape[1], **_plane(writer, values.T)}


def _highest(groups: Sequence[Group], names: Sequence[str]) -> dict[int, str]:
    """The classes whose probabilities come highest at any step of any group, so that all have the same curves."""
    every = [group.scores.max(0) for group in groups if group.scores is not None]
    if len({len(each) for each in every}) > 1:
        raise ValueError("what tells other classes cannot be compared by scores; show it by itself")
    best = np.argsort(-np.max(every, 0), kind="stable")[:NUM_CLASSES].tolist() if every else []
    return {number: names[number] if number < len(names) else f"class {number}" for number in best}


def _scores(writer: _Writer, scores: Float[np.ndarray, "step classes"], best: Mapping[int, str]) -> dict[str, Any]:
    chosen = np.ascontiguousarray(scores[:, list(best)], "<f4")
    return {"names": list(best.values()), "offset": writer.add(chosen.tobytes())}


def _plane(writer: _Writer, values: Float[np.ndarray, "*shape"]) -> dict[str, Any]:
    levels, low, high = quantise(values)
    return {"offset": writer.add(levels.tobytes()), "low": low, "high": high}


def _words(group: Group, name: str, values: Float[np.ndarray, "step channel *space"]) -> dict[str, str]:
    title, unit, text = group.about.get(name) or describe(name, values.shape[1])
    return {"name": name, "title": title, "unit": unit, "help": text, "place": place_of(name)}


def _in_order(named: Mapping[str, np.ndarray]) -> list[tuple[str, np.ndarray]]:
    return sorted(named.items(), key=lambda item: place_of(item[0]))


def _lookup(name: str) -> bytes:
    """A colour map's 256 colours, three bytes each."""
    return matplotlib.colormaps[name](np.arange(256), bytes=True)[:, :3].tobytes()


def _jpeg(frame: UInt8[np.ndarray, "height width 3"]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def _span(writer: _Writer, piece: bytes) -> list[int]:
    return [writer.add(piece), len(piece)]
