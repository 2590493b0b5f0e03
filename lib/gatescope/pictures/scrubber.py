"""Scrubber: step through the frames, maps, gates and scores of one clip, in a notebook or as a page."""

import html
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.style
import numpy as np
import torch
from jaxtyping import Float
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from gatescope.files import atomic_write
from gatescope.loaders import Clip, to_batch
from gatescope.loaders.clip import as_seen
from gatescope.models import GestureNetwork, class_names
from gatescope.pictures.elements import bundle, element_html
from gatescope.pictures.maps import Limits, film, frames_of_steps
from gatescope.pictures.packing import Group, Packed, pack
from gatescope.pictures.quantities import QUANTITIES
from gatescope.recordings import Watched, watch

MAX_VALUES = 1 << 26  # of one quantity, in all channels and steps
MAX_DATA = 1_000_000  # characters; with a film strip and the code an output stays below 1.5 MB
RANKING = ("h", "hidden", "c")  # channels of a layer are ranked by the first of these that was recorded
Recorded = Mapping[str, Tensor | np.ndarray]


class Scrubber:
    """One clip and recordings of it, step by step.

    As a cell's last line it shows itself: interactive where scripts may run, a film strip elsewhere.
    """

    def __init__(
        self,
        seen: Recorded | Watched | Mapping[str, Watched | Recorded],
        clip: Clip | None = None,
        *,
        maps: Mapping[str, Float[np.ndarray, "step _ _"]] | None = None,
        meanings: Mapping[str, str] | None = None,
        grid: tuple[int, int] | None = None,
        classes: Sequence[str] = (),
        num_channels: int = 16,
        title: str = "",
    ):
        """Pack recordings of one clip: `seen` is one of `record` or of `watch`, or several of these by variant.

        Values are (1, time, channel, rows, columns), (1, time, channel), or (1, time, token, channel) with the `grid`
        of rows and columns that tokens stand in; tensors or NumPy arrays. Those of `watch` also have class scores over
        time, named by `classes`, and channels ordered by the class's gradient. Variants stand one below the other,
        `maps` beside them; without a clip, as of a sequence of features, there are no frames. At most `num_channels` of
        a layer are kept, the first of every order, and fewer where an output would exceed MAX_DATA.

        A recording knows what its values are where the model does, or `find_gates`; of other values `meanings` says
        it, by the names of `QUANTITIES`. What is not known has its own name as title.

        Raises ValueError for a recording of several clips, or one that does not fit the clip.
        """
        if not isinstance(seen, Watched | Mapping):
            raise TypeError(f"a scrubber shows what `record` or `watch` returned; got {type(seen).__name__}")
        if isinstance(seen, Watched) or all(isinstance(value, Tensor | np.ndarray) for value in seen.values()):
            seen = {"": seen}
        self.clip, self.classes, self.title = clip, classes, title
        self.groups: list[Group] = []
        for variant, each in seen.items():
            known = dict(getattr(each, "meanings", {})) | dict(meanings or {})
            watched = replace(each, meanings=known) if isinstance(each, Watched) else Watched(each, meanings=known)
            self.groups += groups_of(variant, watched, grid)
        if maps:
            self.groups.append(Group("beside the recording", {name: each[:, None] for name, each in maps.items()}))
        self.packed = self._pack(num_channels)

    @classmethod
    def of(cls, network: GestureNetwork, clip: Clip, *patterns: str, **settings: Any) -> "Scrubber":
        """Run a network on a clip and show the hook points that match `patterns`, all of them without any.

        `settings` are those of Scrubber; classes carry the names on the network's card unless given.

        Raises LookupError if a pattern matches no hook point; ValueError for a network in training mode, whose running
        statistics would change, or a clip that does not have the network's modality.
        """
        if network.training:
            raise ValueError("a scrubber shows a network in eval mode; call network.eval()")
        config = network.config
        x = to_batch(clip, **config.input).to(next(network.parameters()).device)
        watched = watch(network, x, *patterns)
        named = {"classes": class_names(network)} | settings
        return cls(watched, as_seen(clip, config.num_frames, config.size), **named)

    def _pack(self, num_channels: int) -> Packed:
        """Pack as many channels as fit in MAX_DATA."""
        while True:
            packed = pack(self.groups, self.clip, num_channels=num_channels, title=self.title, classes=self.classes)
            if num_channels == 1 or len(packed.deflated()) <= MAX_DATA:
                return packed
            num_channels = num_channels * 3 // 4

    def html(self) -> str:
        """Return HTML that needs no other file; where scripts are removed the film strip remains."""
        return element_html("scrubber", self.packed.header, self.packed.deflated(), self.still, self.alt)

    def to_html(self, path: Path | str) -> None:
        """Write a page that needs no other file and no network."""
        title = html.escape(self.title or "gatescope")
        with atomic_write(Path(path)) as temporary:
            temporary.write_text(
                '<!DOCTYPE html>\n<html lang="en">\n<meta charset="utf-8">\n'
                '<meta name="viewport" content="width=device-width">\n'
                '<meta name="color-scheme" content="light dark">\n'
                f"<title>{title}</title>\n<body>\n<main>\n{self.html()}\n</main>\n</body>\n</html>\n",
                "utf-8",
            )

    @property
    def alt(self) -> str:
        """Description in words."""
        return in_words(self.packed.header)

    @cached_property
    def still(self) -> bytes:
        """Film strip as PNG."""
        return film_strip(self.groups, self.packed.header, self.clip)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict, dict]:
        return bundle(self.html(), self.still, self.alt)


def in_words(header: Mapping[str, Any]) -> str:
    """Return a description of a scrubber from its header."""
    names = dict.fromkeys(panel["title"] for group in header["groups"] for panel in group["panels"])
    shown = ", ".join(names) or "gates"
    frames = "frames, and " if header["frames"] else ""
    return f"{header['title'] or 'A clip'}: {frames}{shown}, over {header['steps']} steps."


def film_strip(groups: Sequence[Group], header: Mapping[str, Any], clip: Clip | None) -> bytes:
    """Return a PNG of the frames, and below them the first channel of every map; without both, of all vectors."""
    num_steps = header["steps"]
    rows, limits = {}, {}
    for group, spec in zip(groups, header["groups"], strict=True):
        first = next(channel for channel in spec["orders"][0][1] if channel in spec["channels"])
        for panel in spec["panels"]:
            maps = group.maps[panel["name"]]
            which = "" if maps.shape[1] == 1 else f", channel {first}"
            row = f"{group.title}\n{panel['title']}{which}"
            rows[row] = maps[:, min(first, maps.shape[1] - 1)]
            limits[row] = _limits_of(panel, spec["channels"].index(first) if maps.shape[1] > 1 else 0)
        if clip is None and not group.maps:
            titles = {panel["name"]: panel["title"] for panel in spec["strips"]}
            # A column for each step, a row for each channel.
            rows |= {f"{group.title}\n{titles[name]}": each[:, :, None] for name, each in group.strips.items()}
    with mpl.style.context("gatescope.pictures.style"):
        height = 0.85 * (len(rows) + (clip is not None))
        fig = Figure(figsize=(1.9 + 0.8 * num_steps, height), dpi=80, layout="none")
        film(fig, None if clip is None else frames_of_steps(clip.frames, num_steps), rows, limits)
        canvas = FigureCanvasAgg(fig)
        canvas.draw()
        buffer = io.BytesIO()
        # A palette is enough for maps and small frames, and a third of the bytes.
        Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3]).quantize(256).save(buffer, "PNG")
    return buffer.getvalue()


def _limits_of(panel: Mapping[str, Any], place: int) -> Limits:
    """Return the limits on which a scrubber opens: a gate's 0 and 1, else those of a plane, about 0 where signed."""
    if panel["range"]:
        return tuple(panel["range"])
    low, high = (panel["planes"][place][end] for end in ("low", "high"))
    reach = max(abs(low), abs(high))
    return (-reach, reach) if panel["signed"] else (low, high)


def groups_of(variant: str, watched: Watched, grid: tuple[int, int] | None = None) -> list[Group]:
    """Return a group for each layer with the orders of its channels; the last group has the class scores."""

    def layer_of(name: str) -> str:
        return name.rpartition(".")[0] if name in watched.meanings else name.partition(":")[0].partition("[")[0]

    values = {name: _of_one_clip(name, value, grid) for name, value in watched.recording.items()}
    groups = []
    for layer, names in groupby(sorted(values, key=layer_of), layer_of):
        # Maps with the layer's number of channels share the chosen channel; single maps stand with them.
        own = {name: values[name] for name in names}
        ranks = [name for rank in RANKING for name in own if watched.meanings.get(name) == rank]
        count = own[ranks[0]].shape[1] if ranks else None
        sizes = dict.fromkeys(value.shape[1] for value in own.values() if value.ndim == 4 and value.shape[1] > 1)
        for number, size in enumerate(sorted(sizes, key=lambda size: size != count) or [1]):
            where = layer.replace("layer", "layer ").replace("stage", "stage ").replace(".", ", ")
            title = " ".join(part for part in (variant, where) if part) or "recorded"
            group = Group(title if number == 0 else f"{title}, {size} channels", meanings=watched.meanings)
            for name, value in own.items():
                if value.ndim == 4 and value.shape[1] in (size, 1) and (number == 0 or value.shape[1] == size):
                    group.maps[name] = value
                elif value.ndim == 2 and number == 0:
                    group.strips[name] = value
            group.orders = _orders(group, watched.gradients)
            groups.append(group)
    if watched.logits is not None:
        groups[-1].scores = watched.logits.softmax(-1).cpu().numpy()
    return groups


def _orders(group: Group, gradients: Recorded) -> dict[str, Float[np.ndarray, " channel"]]:
    """Rank channels by how much all their maps vary, and by one map's sum, variance and loss of the class's score.

    The loss is to first order. A layer opens on the channel of which there is most to see: a gate that is always open
    may have the largest sum.
    """
    many = [name for name in group.maps if group.maps[name].shape[1] > 1]
    if not many:
        return {}
    ranks = [*RANKING, *QUANTITIES]
    first = min(many, key=lambda name: ranks.index(rank) if (rank := group.meaning(name)) in ranks else len(ranks))
    maps = group.maps[first]
    alike = [group.maps[name] for name in many if group.maps[name].shape[1] == maps.shape[1]]
    orders = {"all maps' change": sum(each.std((0, 2, 3)) / (each.std() or 1) for each in alike)}
    orders |= {"activation sum": maps.sum((0, 2, 3)), "variance": maps.var((0, 2, 3))}
    if first in gradients:
        orders["class gradient"] = (maps * _of_one_clip(first, gradients[first])).sum((0, 2, 3))
    return orders


def _of_one_clip(
    name: str, value: Tensor | np.ndarray, grid: tuple[int, int] | None = None
) -> Float[np.ndarray, "step channel *space"]:
    if not isinstance(name, str) or not isinstance(value, Tensor | np.ndarray):
        raise TypeError(f"a scrubber shows tensors or arrays by name; got {name!r:.80}: {type(value).__name__}")
    if value.ndim and len(value) != 1:
        raise ValueError(f"a scrubber shows one clip; {name} was recorded of {len(value)}: take one, as value[:1]")
    if math.prod(value.shape) > MAX_VALUES:
        raise ValueError(f"{name} holds {math.prod(value.shape):,} values; at most {MAX_VALUES:,} are shown: cut it")
    try:
        one = torch.as_tensor(value)[0].detach().float().cpu().numpy()
    except (TypeError, IndexError, RuntimeError) as error:  # no numbers, no axis, or a tensor without values
        raise ValueError(f"{name} holds no plain numbers to show ({error})") from None
    if one.ndim == 3 and grid is not None and one.shape[1] == grid[0] * grid[1]:
        return one.transpose(0, 2, 1).reshape(len(one), -1, *grid)
    if one.ndim not in (2, 4):
        raise ValueError(
            f"{name} has the shape {tuple(value.shape)}: needed (1, time, channel), (1, time, channel, rows, columns), "
            "or (1, time, token, channel) with a grid=(rows, columns) of as many tokens"
        )
    return one
