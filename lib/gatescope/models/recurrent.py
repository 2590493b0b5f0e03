"""RecurrentLayer: a cell of the table, run over the time steps of a clip."""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gatescope.models.cells import (
    AttentionGate,
    Cell,
    ConvPart,
    InputAttention,
    PooledPart,
    SeparablePart,
    autocast_type,
    average,
    cell_named,
    full,
    quick_tanh,
    sum_to_one,
)
from gatescope.models.conventions import CONVENTIONS
from gatescope.models.convolutions import channels_innermost
from gatescope.models.gating import gate, gates_from, initialise, new_values, passed
from gatescope.models.hooks import HookPoint
from gatescope.models.rnn import check_input
from gatescope.models.scans import exported_loop, recurrence

Maps = Float[Tensor, "batch _ height width"]
Hidden = Float[Tensor, "batch time hidden height width"]
State = tuple[Maps, Maps]  # h and c
Given = Float[Tensor, "clips channels rows columns"]  # must be of the input's size: checked, with a better message

_GATES = {"conv": ConvPart, "attention": AttentionGate, "separable": SeparablePart}
_CANDIDATES = {"conv": ConvPart, "separable": SeparablePart}


class RecurrentLayer(nn.Module):
    r"""Cell run over time; returns the hidden states of every step.

    Zhang et al. 2018, with $*$ a convolution, $\circ$ an elementwise product and gates of three kinds:

    conv gate (1)-(3): $\sigma(W_x * X_t + W_h * H_{t-1} + b)$, a map per channel; `separable`: the same, as in (13)

    pooled gate (8)-(12): $\sigma(W_x \bar{X}_t + W_h \bar{H}_{t-1} + b)$, a value per channel

    attention gate (21)-(23): $Z_t = W * \tanh(W_x * X_t + W_h * H_{t-1} + b)$,
    $A_t = \exp Z_t / \max \exp Z_t$ within each channel

    candidate (4), (13): $G_t = \tanh(W_x * X_t + W_h * H_{t-1} + b)$, dense or separable

    cell state (5), (14): $C_t = f_t \circ C_{t-1} + i_t \circ G_t$

    hidden state (6), (15): $H_t = o_t \circ \tanh C_t$

    input attention (17)-(19), in place of $X_t$: $\tilde{X}_t = A_t \circ X_t$ with $A_t$ the softmax over
    positions of $Z_t = W_z * \tanh(W_x * X_t + W_h * H_{t-1} + b)$

    Other rows of the table, not the paper's:

    where a part does not see the state, its term $W_h$ is left out; without any, $C_t$ is linear in $C_{t-1}$

    minimal (M1), Feng et al. 2024: $f_t / (f_t + i_t)$ and $i_t / (f_t + i_t)$ in place of $f_t$ and $i_t$, and
    $G_t = W_x * X_t + b$ without tanh

    coupled (M2), as in a GRU: $i_t = 1 - f_t$ where there is no gate i

    reset (M3), as in a GRU: $r_t \circ (W_h * H_{t-1})$ in the candidate, with $r_t$ a gate

    open (M4): $H_t = C_t$ where there is no gate o

    `conventions` "authors" takes the hard sigmoid and constant gate kernels of the released code. Without `memory`
    every step starts from $H_{t-1} = C_{t-1} = 0$, as the first one does: a control, not the paper's.
    """

    def __init__(
        self,
        cell: str | Cell,
        in_channels: int,
        hidden_channels: int,
        kernel_size: int = 3,
        conventions: str = "paper",
        memory: bool = True,
    ):
        super().__init__()
        if conventions not in CONVENTIONS:
            raise LookupError(f"no conventions {conventions!r}; there are {', '.join(CONVENTIONS)}")
        if kernel_size % 2 == 0 or min(kernel_size, in_channels, hidden_channels) < 1:
            raise ValueError(
                "needed an odd kernel_size and at least one channel in and out; "
                f"got {kernel_size}, {in_channels} and {hidden_channels}"
            )
        self.cell = cell_named(cell) if isinstance(cell, str) else cell
        if self.cell.minimal and conventions != "paper":
            raise ValueError(f"both hard sigmoids of a minimal cell may be 0: needed 'paper'; got {conventions!r}")
        self.conventions, self.memory = CONVENTIONS[conventions], memory
        self.in_channels, self.hidden_channels, self.kernel_size = in_channels, hidden_channels, kernel_size
        sizes = (in_channels, hidden_channels, kernel_size)
        self.gates = nn.ModuleDict()
        for name, kind in self.cell.gates.items():
            make, own = (PooledPart, sizes[:2]) if kind == "pooled" else (_GATES[kind], sizes)
            self.gates[name] = make(*own, sees_state=self.cell.sees_state == "all")
        self.candidate = _CANDIDATES[self.cell.candidate](*sizes, sees_state=self.cell.sees_state != "none")
        self.attention = InputAttention(*sizes) if self.cell.input_attention else None
        # An attended input is 1 / (H W) of the input: small values, whose relative precision counts.
        self.tanh = torch.tanh if self.cell.input_attention else quick_tanh
        self.hooks = nn.ModuleDict({name: HookPoint() for name in self.cell.quantities})
        self.roles = tuple(name for name in "rifogch" if name in self.hooks)  # gates and states, for `find_gates`
        initialise(self)
        # Weights in the layout of the frames spare oneDNN a reordering. torch.nn.utils.prune cannot read it: call
        # layer.to(memory_format=torch.contiguous_format) before.
        self.to(memory_format=torch.channels_last)

    def extra_repr(self) -> str:
        """Return the row of the table, which the parts below do not show."""
        return f"{self.cell}"

    def forward(
        self,
        x: Float[Tensor, "batch time in height width"],
        state: tuple[Given, Given] | None = None,
        return_state: bool = False,
    ) -> Hidden | tuple[Hidden, State]:
        """Return H_t of every step, and with `return_state` the last (h, c).

        The clip may have any number of steps. `state` continues from another call; without it, or without `memory`, the
        state is zero. In 16 bits convolutions and H_t of every step are; gates and states are float32 within.
        Raises ValueError if `x` has other channels than the layer, no step, or does not fit `state`.
        """
        check_input(x, self.in_channels, self.hidden_channels, state or ())
        num_steps = x.shape[1]
        narrow = autocast_type(x)
        # Time-major, channels innermost in memory: a step is one block, in the layout that the convolutions take.
        frames = channels_innermost(x.to(narrow or x.dtype).transpose(0, 1).flatten(0, 1))
        h, c = (full(part) for part in state) if state else (None, None)
        if torch.compiler.is_exporting():
            output, h, c = self._exported(x.to(narrow or x.dtype), h, c)
        elif self._takes_all_steps(frames, num_steps):
            output, c = self._all_steps(frames, num_steps, c)
            h = output[:, -1]
        else:
            output, h, c = self._step_by_step(frames, num_steps, h, c)
        output = output if narrow else output.to(x.dtype)
        return (output, (h, c)) if return_state else output

    def _step_by_step(
        self, frames: Tensor, num_steps: int, h: Given | None, c: Given | None
    ) -> tuple[Hidden, Maps, Maps]:
        """Return H of every step and the last H and C, one step after the other."""
        # Attention on X depends on the state; without it the input's convolutions take all steps at once.
        attended = self.attention is not None
        if attended:
            from_input = self.attention.input_to_state(frames).chunk(num_steps)
        else:
            from_input = self._split(self._project(frames, num_steps, frames.dtype), num_steps)
        hidden = []
        for x_t, projected in zip(frames.chunk(num_steps), from_input, strict=True):
            if not self.memory:
                h, c = None, None
            if attended:
                projected = self._project(self._attend(x_t, projected, h), 1, x_t.dtype)
            h, c = self._step(projected, h, c)
            hidden.append(h.permute(0, 2, 3, 1))
        return torch.stack(hidden).permute(1, 0, 4, 2, 3), h, c

    def _exported(self, frames: Tensor, h: Given | None, c: Given | None) -> tuple[Hidden, Maps, Maps]:
        """Return what `_step_by_step` does as a graph for any number of steps; frames are (batch, time, in, ...)."""

        def step(x: Maps, *state: Maps | None) -> State:
            from_input = self._attend(x, self.attention.input_to_state(x), state[0]) if self.attention else x
            return self._step(self._project(from_input, 1, x.dtype), *state)

        if not self.memory:
            h, c = (values.unflatten(0, frames.shape[:2]) for values in step(frames.flatten(0, 1), None, None))
            return h, h[:, -1], c[:, -1]
        if h is None:
            batch, _, _, *space = frames.shape
            h, c = (full(frames).new_zeros(batch, self.hidden_channels, *space) for _ in "hc")
        output, (h, c) = exported_loop(step, (h, c), frames)
        return output, h, c

    def _attend(self, x: Maps, from_input: Maps, h: Maps | None) -> Maps:
        """Return X_t times its attention; `from_input` is W_x * X_t + b of the attention."""
        kind = from_input.dtype
        total = full(from_input if h is None else from_input + self.attention.state_to_state(h.to(kind)))
        z = self.hooks["z"](full(self.attention.score(quick_tanh(total).to(kind))))  # (17)
        attention = self.hooks["attention"](sum_to_one(z))  # (18)
        if self.cell.rescaled:
            attention = attention * (z.shape[2] * z.shape[3])
        return self.hooks["x_attended"](attention * x)  # (19)

    def _project(self, x: Maps, num_steps: int, kind: torch.dtype) -> dict[str, Tensor]:
        """Return W_x * X_t + b of each gate and the candidate, computed for all steps at once, in the type `kind`."""
        pooled = None
        if "x_pooled" in self.hooks:
            steps = average(x).chunk(num_steps) if num_steps > 1 else [average(x)]
            pooled = torch.cat([self.hooks["x_pooled"](step) for step in steps])  # (8)
        return {
            name: part.input_to_state((pooled if isinstance(part, PooledPart) else x).to(kind))
            for name, part in self._parts()
        }

    @staticmethod
    def _split(projected: dict[str, Tensor], num_steps: int) -> list[dict[str, Tensor]]:
        """Return what was computed for all steps at once step by step."""
        steps = zip(*(values.chunk(num_steps) for values in projected.values()), strict=True)
        return [dict(zip(projected, step, strict=True)) for step in steps]

    def _step(self, projected: dict[str, Tensor], h: Maps | None, c: Maps | None) -> State:
        """Return the next h and c from W_x * X_t + b of each part; without `h` and `c` the state is zero."""
        h_pooled, x_candidate = None, projected["candidate"]
        kind = x_candidate.dtype
        if "h_pooled" in self.hooks:
            h_pooled = x_candidate.new_zeros(x_candidate.shape[0], self.hidden_channels) if h is None else average(h)
            h_pooled = self.hooks["h_pooled"](h_pooled)  # (9)
        h = None if h is None else h.to(kind)
        totals = {}  # W_x * X_t + W_h * H_{t-1} + b
        for name, part in self._parts():
            own = h if h_pooled is None or not isinstance(part, PooledPart) else h_pooled.to(kind)
            r = gate(self, "r", totals["r"]) if name == "candidate" and self.cell.reset else None
            total = projected[name]
            if own is not None and part.state_to_state is not None:
                of_state = part.state_to_state(own)
                total = total + (of_state if r is None else r * of_state)  # (M3)
            totals[name] = total
        i, f, o = gates_from(self, totals)
        g = new_values(self, totals["candidate"])
        c = self.hooks["c"](i * g if c is None else torch.addcmul(f * c, i, g))  # (5) (14)
        return self.hooks["h"](c if o is None else o * self.tanh(c)), c  # (6) (15) (M4)

    def _takes_all_steps(self, frames: Maps, num_steps: int) -> bool:
        """Return True for a cell that is linear in C, where all steps at once are faster than one after the other."""
        # A replaced C acts on the next step's. Beyond 2 MB a step of the loop finds its maps in the CPU's cache.
        fits = not frames.is_cpu or frames.numel() <= 2**19
        linear = self.cell.is_linear and self.memory
        return linear and num_steps > 1 and fits and not self.hooks["c"].replacements

    def _all_steps(self, frames: Tensor, num_steps: int, c: Given | None) -> tuple[Hidden, Given]:
        """Return H of every step and the last C of a cell that is linear in C, with all steps at once."""
        totals = self._project(frames, num_steps, frames.dtype)
        i, f, o = gates_from(self, totals, num_steps)
        g = new_values(self, totals["candidate"], num_steps)
        f, written = (values.unflatten(0, (num_steps, -1)) for values in (f, i * g))
        c = passed(self, "c", recurrence(f, written, c).flatten(0, 1), num_steps)  # (5) (14)
        h = passed(self, "h", c if o is None else o * self.tanh(c), num_steps)  # (6) (15) (M4)
        return h.unflatten(0, (num_steps, -1)).transpose(0, 1), c.chunk(num_steps)[-1]

    def _parts(self) -> Iterator[tuple[str, nn.Module]]:
        yield from self.gates.items()
        yield "candidate", self.candidate
