"""A table of the cells, and the weights of their parts; `recurrent.py` has the equations that use them."""

from itertools import product
from typing import Literal, get_args

import torch
from jaxtyping import Float
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from gatescope.models.config_fields import STRICT
from gatescope.models.convolutions import Conv2d, SeparableConv2d, mkl_is_slow

Maps = Float[Tensor, "batch channel height width"]

Gate = Literal["conv", "pooled", "attention", "separable"]
GATE_KINDS: tuple[Gate, ...] = get_args(Gate)[:3]  # those of Zhang et al. 2018, of which STUDY_CELLS has every choice


@dataclass(frozen=True, config=STRICT)
class Cell:
    """Row of a table of cells: the kind of each gate and of the candidate, what sees the state, attention on X."""

    i: Gate | None  # None: what f does not keep, 1 - f, as in a GRU
    f: Gate
    o: Gate | None  # None: H = C
    candidate: Literal["conv", "separable"]
    input_attention: bool = False
    rescaled: bool = False  # attention on X times H W: its mean is 1, not its sum. Ours, not the paper's
    sees_state: Literal["all", "candidate", "none"] = "all"  # parts that have a term W_h of H; the others see X alone
    minimal: bool = False  # i and f divided by their sum, a candidate without tanh: minLSTM, Feng et al. 2024
    reset: Gate | None = None  # a gate r on the candidate's W_h of H, as in a GRU

    def __post_init__(self):
        if self.rescaled and not self.input_attention:
            raise ValueError("only attention on X can be rescaled; set input_attention as well")
        if self.sees_state != "all" and self.input_attention:
            raise ValueError(f"attention on X sees the state; got input_attention and sees_state={self.sees_state!r}")
        if self.sees_state == "none" and self.reset:
            raise ValueError("a reset gate needs a candidate that sees the state; got sees_state='none'")
        if self.minimal and (self.i != self.f or self.f == "attention"):
            raise ValueError(f"a minimal cell needs i and f of one kind with a sigmoid; got {self.i!r} and {self.f!r}")

    @property
    def gates(self) -> dict[str, str]:
        """The kind of each gate that has weights."""
        kinds = {"i": self.i, "f": self.f, "o": self.o, "r": self.reset}
        return {name: kind for name, kind in kinds.items() if kind}

    @property
    def is_linear(self) -> bool:
        """True where nothing sees the state: C_t is then linear in C_{t-1}, and all steps can be computed at once."""
        return self.sees_state == "none"

    @property
    def attentions(self) -> dict[str, str]:
        """Suffix of the hook points of each part that makes an attention map; empty where there is only one."""
        owners = ["x"] * self.input_attention + [name for name, kind in self.gates.items() if kind == "attention"]
        return {owner: "" if len(owners) == 1 or owner == "x" else f"_{owner}" for owner in owners}

    @property
    def quantities(self) -> list[str]:
        """Names of a layer's hook points, in the order in which a step passes them."""
        maps = [f"{name}{ending}" for ending in self.attentions.values() for name in ("z", "attention")]
        attended = ["x_attended"] if self.input_attention else []
        pooled = ["x_pooled", "h_pooled"] if "pooled" in self.gates.values() else []
        if self.sees_state != "all":
            pooled = pooled[:1]
        gates = [name for name in "rifo" if name in self.gates or name == "i"]
        return [*maps, *attended, *pooled, *gates, "g", "c", "h"]


# Pooled gates (a), input attention (b), input-gate attention (c), output-gate attention (d).
CELLS: dict[str, Cell] = {
    "convlstm": Cell("conv", "conv", "conv", "conv"),
    "a": Cell("pooled", "pooled", "pooled", "separable"),
    "b": Cell("pooled", "pooled", "pooled", "separable", input_attention=True),
    "c": Cell("attention", "pooled", "pooled", "separable"),
    "d": Cell("pooled", "pooled", "attention", "separable"),
}

# For study: (b) without its small input, and every choice of gates with the separable candidate, named by the kinds of
# i, f and o; three of those are (a), (c) and (d). A row of your own goes here too.
STUDY_CELLS: dict[str, Cell] = {
    "b_rescaled": Cell("pooled", "pooled", "pooled", "separable", input_attention=True, rescaled=True),
    **{"_".join(kinds): Cell(*kinds, "separable") for kinds in product(GATE_KINDS, repeat=3)},
    # Depthwise separable convolutions everywhere, one of the replacements of Zhu et al. 2020.
    "separable": Cell("separable", "separable", "separable", "separable"),
    # (a) and ConvLSTM in which the gates, or the candidate as well, see X alone.
    "a_gates_of_x": Cell("pooled", "pooled", "pooled", "separable", sees_state="candidate"),
    "a_of_x": Cell("pooled", "pooled", "pooled", "separable", sees_state="none"),
    "convlstm_of_x": Cell("conv", "conv", "conv", "conv", sees_state="none"),
    # MinConvLSTM of Horuz et al. 2025, and the same with separable convolutions.
    "min_conv": Cell("conv", "conv", None, "conv", sees_state="none", minimal=True),
    "min_separable": Cell("separable", "separable", None, "separable", sees_state="none", minimal=True),
    # ConvGRU of Ballas et al. 2016, with r after the convolution as torch's GRU has it: f is the update gate.
    "gru": Cell(None, "conv", None, "conv", reset="conv"),
}


def cell_named(name: str) -> Cell:
    """Return the row of CELLS or STUDY_CELLS of that name; raises LookupError for an unknown one."""
    cells = CELLS | STUDY_CELLS
    if name not in cells:
        raise LookupError(f"no cell {name!r}; there are {', '.join(cells)}, or a Cell of your own")
    return cells[name]


class ConvPart(nn.Module):
    """W_x * X + W_h * H + b, dense: a gate of Eqs. 1-3 or the candidate of Eq. 4 before its activation.

    This and the parts below see the input alone where `sees_state` is False: then there is no W_h.
    """

    def __init__(self, in_channels: int, hidden_channels: int, kernel_size: int, sees_state: bool = True):
        super().__init__()
        self.input_to_state = Conv2d(in_channels, hidden_channels, kernel_size)
        self.state_to_state = Conv2d(hidden_channels, hidden_channels, kernel_size, bias=False) if sees_state else None


class PooledPart(nn.Module):
    """W_x mean(X) + W_h mean(H) + b: a gate of Eqs. 10-12 before its activation, one value per channel."""

    def __init__(self, in_channels: int, hidden_channels: int, sees_state: bool = True):
        super().__init__()
        self.input_to_state = nn.Linear(in_channels, hidden_channels)
        self.state_to_state = nn.Linear(hidden_channels, hidden_channels, bias=False) if sees_state else None


class SeparablePart(nn.Module):
    """W_x * X + W_h * H + b, depthwise separable: the candidate of Eq. 13 or a gate before its activation."""

    def __init__(self, in_channels: int, hidden_channels: int, kernel_size: int, sees_state: bool = True):
        super().__init__()
        self.input_to_state = SeparableConv2d(in_channels, hidden_channels, kernel_size)
        self.state_to_state = None
        if sees_state:
            self.state_to_state = SeparableConv2d(hidden_channels, hidden_channels, kernel_size, bias=False)


class AttentionGate(SeparablePart):
    """A gate that is a map per channel with its maximum at 1, Eqs. 21-23."""

    def __init__(self, in_channels: int, hidden_channels: int, kernel_size: int, sees_state: bool = True):
        super().__init__(in_channels, hidden_channels, kernel_size, sees_state)
        # The text calls W_i a W x H kernel; Eq. 24 counts it as a separable K x K one, which it is here.
        self.score = SeparableConv2d(hidden_channels, hidden_channels, kernel_size, bias=False)


class InputAttention(SeparablePart):
    """One map over the input's positions that sums to 1, Eqs. 17-19."""

    def __init__(self, in_channels: int, hidden_channels: int, kernel_size: int):
        super().__init__(in_channels, hidden_channels, kernel_size)
        # The text gives W_z C_in input channels; its input has C_out, which is also what Eq. 20 counts.
        self.score = Conv2d(hidden_channels, 1, kernel_size, bias=False)


def autocast_type(tensor: Float[Tensor, "..."]) -> torch.dtype | None:
    """Return the type in which autocast gives the tensor to convolutions; None without autocast."""
    device = tensor.device.type
    on = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
    return torch.get_autocast_dtype(device) if on else None


def full(total: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Cast 16 bits, autocast's or the layer's, to float32: elementwise operations are no faster in 16 bits."""
    return total if total.dtype.itemsize >= 4 else total.float()


def quick_tanh(x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Return the hyperbolic tangent within 2e-7; in float32 as 2 sigmoid(2x) - 1 on CPUs where MKL is slow.

    There torch's sigmoid takes a sixth of its tanh's time. Results below 1e-3 lose relative precision.
    """
    quick = x.dtype == torch.float32 and x.is_cpu and not torch.compiler.is_exporting() and mkl_is_slow()
    return _QuickTanh.apply(x) if quick else x.tanh()


class _QuickTanh(torch.autograd.Function):
    # Autograd alone would keep three maps and pass back over each.
    generate_vmap_rule = True  # of vmap over any of the three below

    @staticmethod
    def forward(x):
        return (2 * x).sigmoid_().mul_(2).sub_(1)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(output)
        ctx.save_for_forward(output)

    @staticmethod
    def backward(ctx, d_y):
        return torch.ops.aten.tanh_backward(d_y, *ctx.saved_tensors)

    @staticmethod
    def jvp(ctx, d_x):
        (y,) = ctx.saved_tensors
        return d_x * (1 - y * y)


def average(x: Maps) -> Float[Tensor, "batch channel"]:
    """Return the mean of each channel over all positions, Eqs. 8 and 9.

    It is computed as a sum, whose gradient is a view of one value per channel; that of `mean` fills a map. The sum of a
    map may be beyond float16, which ends at 65504.
    """
    return x.sum((2, 3), dtype=torch.float32 if x.dtype == torch.float16 else None) / (x.shape[2] * x.shape[3])


def sum_to_one(z: Float[Tensor, "batch 1 height width"]) -> Float[Tensor, "batch 1 height width"]:
    """Return the softmax of `z` over all positions, Eq. 18."""
    return z.flatten(1).softmax(1).view_as(z)


def peak_at_one(z: Maps) -> Maps:
    """Return exp(z) over its maximum within each channel, Eq. 22; written as a quotient it overflows at z > 88.7."""
    return torch.exp(z - z.amax((2, 3), keepdim=True))
