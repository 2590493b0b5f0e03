"""Stepper: the equations of one recurrent layer on one clip, step by step, with the numbers behind every pixel."""

import io
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import matplotlib as mpl
import matplotlib.style
import numpy as np
import torch
from jaxtyping import Float
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from gatescope.loaders import Clip
from gatescope.loaders.limits import is_whole
from gatescope.models import CELLS, RecurrentLayer
from gatescope.models.convolutions import SeparableConv2d
from gatescope.pictures.elements import bundle, element_html
from gatescope.pictures.equations import picture_equations, step_equations
from gatescope.pictures.packing import Packed, jpeg
from gatescope.recordings import record

PARTS = "ifog"  # gates and candidate, in the order of Eqs. 1 to 4
COLOURS = ("viridis", "RdBu_r")  # of gates, of signed values
SATURATED = 6.0  # beyond, the sigmoid is within 0.003 of 0 or 1, and tanh within 0.00002 of its ends

Maps = Float[np.ndarray, "step rows columns"]  # rows and columns are 1 where one value holds for all positions
Taps = Float[np.ndarray, "step tap rows columns"]


class Stepper:
    """Eqs. 1 to 6 of ConvLSTM or 8 to 15 of (a) with maps for symbols, at every step of a clip.

    A term that is chosen is shown large. Of the pixel that is pointed at it says what its number is made of: the
    kernel's window, its sum, the activation. As a cell's last line it shows itself; without scripts it is a picture of
    one step.
    """

    def __init__(
        self,
        layer: RecurrentLayer,
        x: Float[Tensor, "clip step channel rows columns"],
        clip: Clip,
        *,
        channel: int | None = None,
        step: int | None = None,
        title: str = "",
    ):
        """Compute every term for one `channel`; without it the one whose gates and candidate vary most over space.

        `x` is the layer's input for `clip`. Without `step` that with most of the hand is shown first, or the middle.

        Raises ValueError for a layer that is neither ConvLSTM nor (a) with the paper's conventions, for several clips,
        a channel or step that is not there, an input that is not finite, or if the frames do not divide into the steps.
        """
        if layer.cell not in (CELLS["convlstm"], CELLS["a"]) or layer.conventions.constant_gate_kernels:
            raise ValueError("a stepper shows ConvLSTM or (a), with the conventions of the paper")
        if len(x) != 1 or len(clip.frames) % x.shape[1]:
            raise ValueError(
                f"needed the input of one clip, whose {len(clip.frames)} frames divide into its steps; got {len(x)} "
                f"clips of {x.shape[1]} steps"
            )
        self.clip, self.title, self.pooled = clip, title, layer.cell == CELLS["a"]
        self.num_steps = x.shape[1]
        for name, chosen, count in (("channel", channel, layer.hidden_channels), ("step", step, self.num_steps)):
            if chosen is not None and not (is_whole(chosen) and 0 <= chosen < count):
                raise ValueError(f"{name} must be 0 to {count - 1}, or None; got {chosen!r}")
        if not torch.isfinite(x).all():
            raise ValueError("the layer's input holds values that are not finite")
        self.first = _fullest(clip, self.num_steps) if step is None else step
        self.all_channels = terms_of(layer, x)
        spread = sum(self.all_channels[name].std((2, 3)).mean(0) for name in PARTS)
        self.channel = int(spread.argmax()) if channel is None else channel
        self.taps, self.biases = taps_of(layer, x, self.all_channels["h_before"], self.channel)

    @cached_property
    def terms(self) -> dict[str, Maps]:
        """Every term of the equations at every step, for the channel shown."""
        one = {name: maps[:, self.channel] for name, maps in self.all_channels.items() if name != "x"}
        products = {"kept": one["f"] * one["c_before"], "written": one["i"] * one["g"], "tanh": np.tanh(one["c"])}
        return one | products

    def packed(self) -> Packed:
        """Pack maps and contributions in 16 bits, with what the page says about them."""
        data = io.BytesIO()
        every = len(self.clip.frames) // self.num_steps
        pictures = [jpeg(frame) for frame in self.clip.frames[every - 1 :: every]]
        places = np.arange(256)
        palettes = {name: mpl.colormaps[name](places, bytes=True)[:, :3].tobytes() for name in COLOURS}
        reach = _reaches(self.terms)
        header = {
            "title": self.title,
            "steps": self.num_steps,
            "first": self.first,
            "channel": self.channel,
            "framesPerStep": every,
            "pooled": self.pooled,
            "frames": [[_add(data, picture), len(picture)] for picture in pictures],
            "colours": {name: _add(data, palette) for name, palette in palettes.items()},
            "terms": {name: _packed(data, maps) | {"scale": reach[name]} for name, maps in self.terms.items()},
            "taps": {name: _packed(data, maps) for name, maps in self.taps.items()},
            "biases": self.biases,
        }
        return Packed(header, data.getvalue())

    def html(self) -> str:
        """Return HTML that needs no other file; where scripts are removed the picture of one step remains."""
        packed = self.packed()
        return element_html("stepper", packed.header, packed.deflated(), self.still, self.alt)

    @property
    def alt(self) -> str:
        """Description in words."""
        numbers = "10 to 15" if self.pooled else "1 to 6"
        title = self.title or "A clip"
        return f"{title}: equations {numbers} with maps for symbols, channel {self.channel}, {self.num_steps} steps."

    @cached_property
    def still(self) -> bytes:
        """Equations of the first step shown, as PNG."""
        q = {name: maps[self.first] for name, maps in self.all_channels.items()}
        last = (self.first + 1) * len(self.clip.frames) // self.num_steps - 1
        with mpl.style.context("gatescope.pictures.style"):
            fig = Figure(figsize=(9.4, 7.4), dpi=80)
            picture_equations(fig, step_equations(q, self.channel, self.clip.frames[last]))
            canvas = FigureCanvasAgg(fig)
            canvas.draw()
            buffer = io.BytesIO()
            # A palette is enough for two colour scales, and a third of the bytes.
            Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3]).quantize(256).save(buffer, "PNG")
        return buffer.getvalue()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict, dict]:
        return bundle(self.html(), self.still, self.alt)


@torch.no_grad()
def terms_of(
    layer: RecurrentLayer, x: Float[Tensor, "1 step channel rows columns"]
) -> dict[str, Float[np.ndarray, "step _ _ _"]]:
    """Return the terms of every step: `x`, `h_before`, `c_before`, `i`, `f`, `o`, `g`, `c`, `h`, and before activation.

    Before the activation each gate and the candidate have two terms, the input's and the state's, as `x_i` and `h_i`.
    """
    with record(layer, *"ifogch") as recording:
        layer(x)
    found = {name: value[0] if value.ndim == 5 else value[0, :, :, None, None] for name, value in recording.items()}
    found["x"] = x[0]
    for state in "hc":
        found[f"{state}_before"] = torch.cat([torch.zeros_like(found[state][:1]), found[state][:-1]])
    for name, part in {**layer.gates, "g": layer.candidate}.items():
        pooled = isinstance(part.input_to_state, nn.Linear)
        for of, given, weights in (("x", "x", part.input_to_state), ("h", "h_before", part.state_to_state)):
            values = weights(found[given].mean((2, 3)) if pooled else found[given])  # (8) (9) where pooled
            found[f"{of}_{name}"] = values[:, :, None, None] if pooled else values
    return {name: value.double().numpy() for name, value in found.items()}


@torch.no_grad()
def taps_of(
    layer: RecurrentLayer,
    x: Float[Tensor, "1 step channel rows columns"],
    h_before: Float[np.ndarray, "step hidden rows columns"],
    channel: int,
) -> tuple[dict[str, Taps], dict[str, float]]:
    """Return what each place of a kernel adds to a channel of `x_i`, `h_i` and so on, and the biases by part.

    A contribution is summed over the input's channels; those of the nine places add up to the term without its bias.
    Pooled parts have none.
    """
    taps, biases = {}, {}
    for name, part in {**layer.gates, "g": layer.candidate}.items():
        own = part.input_to_state
        biases[name] = float((own.pointwise if isinstance(own, SeparableConv2d) else own).bias[channel])
        if isinstance(own, nn.Linear):
            continue
        given = {"x": (own, x[0]), "h": (part.state_to_state, torch.from_numpy(h_before).to(x))}
        for of, (weights, maps) in given.items():
            kernel = _kernel(weights)[channel]
            count = kernel[0].numel()
            # The nth filter holds the nth place of the kernel alone.
            single = torch.eye(count).to(kernel).view(count, 1, *kernel.shape[1:]) * kernel
            taps[f"{of}_{name}"] = F.conv2d(maps, single, padding=kernel.shape[-1] // 2).double().numpy()
    return taps, biases


def _kernel(weights: nn.Module) -> Float[Tensor, "out in rows columns"]:
    """Return a convolution's kernel; of a separable one that of the dense convolution it equals."""
    if isinstance(weights, SeparableConv2d):
        return weights.pointwise.weight * weights.depthwise.weight[:, 0]
    return weights.weight


def _fullest(clip: Clip, num_steps: int) -> int:
    """Return the step whose last frame has most of the hand; the middle one where no hand is known."""
    if clip.hand_mask is None or not clip.hand_mask.any():
        return num_steps // 2
    every = len(clip.frames) // num_steps
    return int(clip.hand_mask[every - 1 :: every].sum((1, 2)).argmax())


def _reaches(terms: Mapping[str, Maps]) -> dict[str, list[float]]:
    """Return the limits of each term's colours: 0 and 1 of a gate, else shared by terms that add up or compare.

    Two parts of a sum are drawn no farther than SATURATED, or an outlier would leave the rest white.
    """
    sums = [[f"x_{name}", f"h_{name}"] for name in PARTS]
    shared = [*sums, ["g"], ["c_before", "c", "kept", "written"], ["h_before", "h", "tanh"]]
    limits = {name: [0.0, 1.0] for name in "ifo"}
    for names in shared:
        reach = max(float(np.abs(terms[name]).max()) for name in names) or 1.0
        reach = min(reach, SATURATED) if names in sums else reach
        limits |= {name: [-reach, reach] for name in names}
    return limits


def _packed(data: io.BytesIO, maps: Float[np.ndarray, "step first *shape"]) -> dict[str, Any]:
    """Add values in 16 bits and return where they stand; the error is at most 1 / 65,534 of the largest."""
    reach = float(np.abs(maps).max()) or 1.0
    levels = np.rint(maps / reach * 32767).astype("<i2")
    return {"offset": _add(data, levels.tobytes()), "reach": reach, "shape": list(maps.shape[1:])}


def _add(data: io.BytesIO, piece: bytes) -> int:
    """Append bytes at an even place and return their offset."""
    data.write(b"\0" * (data.tell() % 2))
    data.write(piece)
    return data.tell() - len(piece)
