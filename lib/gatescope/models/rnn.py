"""RNN, LSTM and PeepholeConvLSTM: the recurrences from which the gated cells of the study derive."""

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gatescope.models.hooks import HookPoint, refuse_tracing
from gatescope.models.scans import exported_loop

State = Float[Tensor, "rows features *around"]  # must fit the input: checked, with a better message
Hidden = Float[Tensor, "batch time hidden *space"]
ACTIVATIONS = {"tanh": torch.tanh, "identity": lambda x: x}


class RNN(nn.Module):
    r"""The plain recurrent layer (Elman 1990).

    (1) $\mathrm{net}_t = U x_t + W h_{t-1} + b$

    (2) $h_t = \tanh(\mathrm{net}_t)$, or the identity: a linear network, whose gradients are powers of W

    `U` is `input_to_state`, `W` is `state_to_state`; both start uniform in $\pm 1/\sqrt{hidden}$, as in `nn.RNN`.
    Hook points: `net` and `h`.
    """

    def __init__(self, in_features: int, hidden_features: int, *, activation: str = "tanh"):
        super().__init__()
        if activation not in ACTIVATIONS:
            raise LookupError(f"no activation {activation!r}; there are {', '.join(ACTIVATIONS)}")
        _check_sizes(in_features, hidden_features)
        self.in_features, self.hidden_features, self.activation = in_features, hidden_features, activation
        self.input_to_state = _Linear(in_features, hidden_features)
        self.state_to_state = nn.Linear(hidden_features, hidden_features, bias=False)
        self.roles = ("h",)  # of the hook points, for `find_gates`
        self.hooks = nn.ModuleDict({name: HookPoint() for name in ("net", "h")})
        _initialise(self, hidden_features)

    def forward(
        self, x: Float[Tensor, "batch time in"], state: State | None = None, return_state: bool = False
    ) -> Hidden | tuple[Hidden, State]:
        """Return h_t of every step, (batch, time, hidden), and with `return_state` also the last one by itself.

        Raises ValueError if `x` has other features than the layer, no step, or does not fit `state`.
        """
        wanted = check_input(x, self.in_features, self.hidden_features, () if state is None else (state,))
        h = x.new_zeros(wanted) if state is None else state
        output, (h,) = _over_time(self._step, (h,), self.input_to_state(x))
        return (output, h) if return_state else output

    def _step(self, projected: Tensor, h: Tensor) -> tuple[Tensor]:
        net = self.hooks["net"](projected + self.state_to_state(h))  # (1)
        return (self.hooks["h"](ACTIVATIONS[self.activation](net)),)  # (2)


class _Gated(nn.Module):
    r"""The six equations that LSTMs of vectors and of maps share.

    (1) $i_t = \sigma(W_{xi} x_t + W_{hi} h_{t-1} + w_{ci} \circ c_{t-1} + b_i)$

    (2) $f_t = \sigma(W_{xf} x_t + W_{hf} h_{t-1} + w_{cf} \circ c_{t-1} + b_f)$

    (3) $g_t = \tanh(W_{xc} x_t + W_{hc} h_{t-1} + b_c)$

    (4) $c_t = f_t \circ c_{t-1} + i_t \circ g_t$

    (5) $o_t = \sigma(W_{xo} x_t + W_{ho} h_{t-1} + w_{co} \circ c_t + b_o)$, which sees the new cell state

    (6) $h_t = o_t \circ \tanh c_t$

    The layers' `forward` takes `x`, (batch, time, in, ...), any number of steps. Given a `state` (h, c), it continues
    where another call ended; it starts from zeros otherwise. Hook points: `i f g c o h`.
    """

    input_to_state: nn.Module  # the four parts in torch's order, i f g o; it has the only bias
    state_to_state: nn.Module
    peepholes: nn.Parameter | None  # w_ci, w_cf, w_co, each as it multiplies c

    def __init__(self, num_in: int, num_hidden: int):
        super().__init__()
        _check_sizes(num_in, num_hidden)
        self.num_in, self.num_hidden = num_in, num_hidden
        self.roles = tuple("ifgcoh")
        self.hooks = nn.ModuleDict({name: HookPoint() for name in self.roles})

    def forward(
        self,
        x: Float[Tensor, "batch time in *space"],
        state: tuple[State, State] | None = None,
        return_state: bool = False,
    ) -> Hidden | tuple[Hidden, tuple[State, State]]:
        """Return h_t of every step, (batch, time, hidden, ...), and with `return_state` also the last (h, c).

        Raises ValueError if `x` has other features than the layer, no step, or does not fit `state`.
        """
        wanted = check_input(x, self.num_in, self.num_hidden, state or ())
        state = state or (x.new_zeros(wanted), x.new_zeros(wanted))
        # The input's part needs no state, so all steps are computed at once.
        output, state = _over_time(self._step, state, self.input_to_state(x.flatten(0, 1)).unflatten(0, x.shape[:2]))
        return (output, state) if return_state else output

    def _step(self, projected: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        sum_i, sum_f, sum_g, sum_o = (projected + self.state_to_state(h)).chunk(4, 1)
        w_i, w_f, w_o = (None,) * 3 if self.peepholes is None else self.peepholes.unbind()
        i = self.hooks["i"](_gate(sum_i, w_i, c))  # (1)
        f = self.hooks["f"](_gate(sum_f, w_f, c))  # (2)
        g = self.hooks["g"](sum_g.tanh())  # (3)
        c = self.hooks["c"](f * c + i * g)  # (4)
        o = self.hooks["o"](_gate(sum_o, w_o, c))  # (5)
        return self.hooks["h"](o * c.tanh()), c  # (6)


class LSTM(_Gated):
    """The fully connected LSTM with peepholes (Gers & Schmidhuber 2000; Graves 2013): equations (1) to (6) of vectors.

    Without `peepholes` it is `torch.nn.LSTM` with one bias instead of two. Weights and peepholes start uniform in
    +-1/sqrt(hidden) as there, biases at 0, that of the forget gate at `forget_bias`. With `in_features` 0 there is no
    input term: `x` then has no features and only gives the number of steps.
    """

    def __init__(self, in_features: int, hidden_features: int, *, peepholes: bool = True, forget_bias: float = 0.0):
        super().__init__(in_features, hidden_features)
        self.input_to_state = _Linear(in_features, 4 * hidden_features)
        self.state_to_state = nn.Linear(hidden_features, 4 * hidden_features, bias=False)
        self.peepholes = nn.Parameter(torch.empty(3, hidden_features)) if peepholes else None
        _initialise(self, hidden_features)
        nn.init.constant_(self.input_to_state.bias.chunk(4)[1], forget_bias)


class PeepholeConvLSTM(_Gated):
    """ConvLSTM as first published (Shi et al. 2015): equations (1) to (6) of maps, with convolutions as products.

    Its `peepholes` are one number per channel, which alone gives the parameter counts that the paper prints. Both
    kernels keep the size of the map, with zeros around it, or `circular`: then the map has no border, and must be as
    large as the kernels reach. With `in_channels` 0 there is no input term: `x` then has no channels and only gives
    the number of steps. Biases start at 0, that of the forget gate at `forget_bias`.
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        input_kernel: int,
        state_kernel: int,
        *,
        peepholes: bool = False,
        circular: bool = False,
        forget_bias: float = 0.0,
    ):
        super().__init__(in_channels, hidden_channels)
        if min(input_kernel, state_kernel) < 1 or not input_kernel % 2 == state_kernel % 2 == 1:
            raise ValueError(f"needed odd kernels, which have a centre; got {input_kernel} and {state_kernel}")
        make = partial(nn.Conv2d, out_channels=4 * hidden_channels, padding_mode="circular" if circular else "zeros")
        self.input_to_state = _Bias(4 * hidden_channels)
        if in_channels:
            self.input_to_state = make(in_channels, kernel_size=input_kernel, padding=input_kernel // 2)
        self.state_to_state = make(hidden_channels, kernel_size=state_kernel, padding=state_kernel // 2, bias=False)
        self.peepholes = nn.Parameter(torch.zeros(3, hidden_channels, 1, 1)) if peepholes else None
        nn.init.zeros_(self.input_to_state.bias)
        nn.init.constant_(self.input_to_state.bias.chunk(4)[1], forget_bias)


def chrono_forget_bias(longest: int) -> float:
    """Return ln(longest - 1), the bias at which a forget gate keeps e^-1 of the cell state over `longest` steps.

    Tallec & Ollivier 2018 draw a bias for each unit between 1 step and the longest; this one is for the longest. Raises
    ValueError for fewer than 2 steps.
    """
    if longest < 2:
        raise ValueError(f"a dependency lasts 2 steps or more; got {longest}")
    return math.log(longest - 1)


class _Linear(nn.Linear):
    """A Linear that may have no input, only a bias."""

    def reset_parameters(self) -> None:
        """Leave initialisation to the layer: torch's own warns of a weight without elements."""


class _Bias(nn.Module):
    """A convolution without input channels, of which only the bias remains."""

    def __init__(self, out_channels: int):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(self, x: Float[Tensor, "batch 0 height width"]) -> Float[Tensor, "batch out height width"]:
        return self.bias[:, None, None].expand(x.shape[0], -1, *x.shape[2:])


def _over_time(
    step: Callable[..., tuple[Tensor, ...]], state: tuple[Tensor, ...], x: Float[Tensor, "batch time ..."]
) -> tuple[Hidden, tuple[Tensor, ...]]:
    """Return the first part of the state after every step, and the last state."""
    if torch.compiler.is_exporting():
        return exported_loop(step, state, x)
    hidden = []
    for x_t in x.unbind(1):
        state = step(x_t, *state)
        hidden.append(state[0])
    return torch.stack(hidden, 1), state


def _gate(total: Tensor, peephole: Tensor | None, c: Tensor) -> Tensor:
    return torch.sigmoid(total if peephole is None else total + peephole * c)


@torch.no_grad()
def _initialise(layer: nn.Module, hidden_features: int) -> None:
    for name, parameter in layer.named_parameters():
        if name.endswith("bias"):
            parameter.zero_()
        elif parameter.numel():
            parameter.uniform_(-1 / math.sqrt(hidden_features), 1 / math.sqrt(hidden_features))


def _check_sizes(num_in: int, num_hidden: int) -> None:
    if num_in < 0 or num_hidden < 1:
        raise ValueError(f"needed at least one hidden unit and no negative input; got {num_hidden} and {num_in}")


def check_input(x: Tensor, num_in: int, num_hidden: int, state: Sequence[Tensor]) -> tuple[int, ...]:
    """Return the shape of a state for `x`; raises ValueError if a layer of these sizes cannot take `x` and `state`."""
    refuse_tracing()
    space = tuple(x.shape[3:])
    if x.shape[2] != num_in or any(size < 1 for size in (*x.shape[:2], *space)):
        names = "batch, time, {}" + (", height, width" if space else "")
        raise ValueError(f"x must be ({names.format(num_in)}), none of the others 0; got {tuple(x.shape)}")
    wanted = (x.shape[0], num_hidden, *space)
    for name, value in zip("hc", state, strict=False):
        if value.shape != wanted:
            raise ValueError(f"state {name} must be {wanted} for this x; got {tuple(value.shape)}")
    return wanted
