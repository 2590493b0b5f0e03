"""unrolled: torch's fused recurrent layers and cells step by step, with the same weights, so that gates can be read."""

from collections.abc import Sequence
from copy import deepcopy

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from gatescope.models.hooks import HookPoint

Row = Float[Tensor, "batch _"]
States = tuple[Row, ...]  # h, and c of an LSTM

POINTS = {
    "LSTM": {name: name for name in "ifogch"},
    "GRU": {"r": "r", "z": "update", "n": "new", "h": "hidden"},
    "RNN_TANH": {"h": "hidden"},
    "RNN_RELU": {"h": "hidden"},
}  # and what each of them is
CELLS = {nn.LSTMCell: "LSTM", nn.GRUCell: "GRU"}


FUSED = (nn.LSTM, nn.GRU, nn.RNN, nn.LSTMCell, nn.GRUCell, nn.RNNCell)


def unrolled(model: nn.Module) -> nn.Module:
    """Return a module that computes what a recurrent layer does, with the same parameters, and has its gates as points.

    An nn.LSTM, nn.GRU or nn.RNN computes all its steps in one kernel, which hides them. This one takes the same
    arguments and returns the same values, up to rounding; what one learns the other knows, as they share parameters.
    `layer1.f` is the forget gate of the first layer, `layer1_reverse.f` that of the backward direction, in the order of
    the frames. An nn.LSTMCell, nn.GRUCell or nn.RNNCell is one step. Of a model it is a copy, with the same parameters
    too, in which every such layer is unrolled; the model stays as it is. Example:

        model = unrolled(model)
        with record(model, "lstm.layer1.*") as recording:
            model(x)

    Raises TypeError for a model without such a layer.
    """
    if type(model) in FUSED:  # not a subclass, whose forward pass may be another
        return _opened(model)
    places = [name for name, module in model.named_modules(remove_duplicate=False) if type(module) in FUSED]
    if not places:
        raise TypeError(
            f"unrolled takes nn.LSTM, nn.GRU, nn.RNN, a cell of these or a model that has one; "
            f"got {type(model).__name__}, which has none"
        )
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    copied = deepcopy(model, shared)
    layers = {name: copied.get_submodule(name) for name in places}
    steps = {layer: _opened(layer) for layer in layers.values()}  # one for a layer that stands at several places
    for name, layer in layers.items():
        copied.set_submodule(name, steps[layer])
    return copied


def _opened(layer: nn.Module) -> "UnrolledLayer | UnrolledCell":
    own = dict(layer.named_parameters(recurse=False))
    if missing := [name for name in dir(layer) if name.startswith("weight_") and name not in own and "_l" in name]:
        raise TypeError(f"{', '.join(missing)} is computed from other weights, as by weight norm: remove that first")
    return UnrolledLayer(layer) if isinstance(layer, nn.RNNBase) else UnrolledCell(layer)


class UnrolledLayer(nn.Module):
    """An nn.LSTM, nn.GRU or nn.RNN step by step; see `unrolled`.

    Beyond the end of a packed sequence recorded values are those of empty input; outputs and last states have none.
    """

    def __init__(self, layer: nn.RNNBase):
        super().__init__()
        self.kind, self.bias, self.batch_first = layer.mode, layer.bias, layer.batch_first
        self.num_layers, self.hidden_size, self.proj_size = layer.num_layers, layer.hidden_size, layer.proj_size
        self.input_size, self.dropout, self.bidirectional = layer.input_size, layer.dropout, layer.bidirectional
        self.directions = ["", "_reverse"] if layer.bidirectional else [""]
        for name, parameter in layer.named_parameters():
            self.register_parameter(name, parameter)
        for number in range(1, self.num_layers + 1):
            for direction in self.directions:
                self.add_module(f"layer{number}{direction}", _Direction(self.kind, backward=bool(direction)))
        self.train(layer.training)

    def flatten_parameters(self) -> None:
        """Do nothing: weights need not lie together here."""

    def forward(
        self, x: Tensor | PackedSequence, hx: Tensor | Sequence[Tensor] | None = None
    ) -> tuple[Tensor | PackedSequence, Tensor | tuple[Tensor, Tensor]]:
        """Return the hidden states of every step and the last states, as the fused layer does.

        Raises ValueError if the states given are not of these layers and this batch.
        """
        packed, lengths = (x, None) if isinstance(x, PackedSequence) else (None, None)
        if packed is not None:
            x, lengths = pad_packed_sequence(packed)
        alone = x.ndim == 2
        if alone:
            x = x[:, None]
        elif self.batch_first and packed is None:
            x = x.transpose(0, 1)
        given = () if hx is None else ((hx,) if isinstance(hx, Tensor) else tuple(hx))
        if alone:
            given = tuple(state[:, None] for state in given)
        zeros, count = self._zeros(x), self.num_layers * len(self.directions)
        for state, zero in zip(given, zeros, strict=True) if given else ():
            if state.shape != (count, *zero.shape):
                raise ValueError(f"a state must be {(count, *zero.shape)}; got {tuple(state.shape)}")
        last: list[States] = []
        for number in range(self.num_layers):
            if number and self.dropout and self.training:
                x = F.dropout(x, self.dropout)
            outputs = []
            for direction in self.directions:
                place = len(last)
                start = tuple(state[place] for state in given) or zeros
                step = getattr(self, f"layer{number + 1}{direction}")
                output, ended = step(x, start, self._weights(number, direction), lengths)
                outputs.append(output)
                last.append(ended)
            x = torch.cat(outputs, 2)
        states = tuple(torch.stack(each) for each in zip(*last, strict=True))
        if alone:
            x, states = x[:, 0], tuple(state[:, 0] for state in states)
        elif packed is not None:
            x = pack_padded_sequence(x, lengths, enforce_sorted=packed.sorted_indices is None)
        elif self.batch_first:
            x = x.transpose(0, 1)
        return x, states if len(states) > 1 else states[0]

    def _zeros(self, x: Float[Tensor, "time batch _"]) -> States:
        sizes = [self.proj_size or self.hidden_size] + [self.hidden_size] * (self.kind == "LSTM")
        return tuple(x.new_zeros(x.shape[1], size) for size in sizes)

    def _weights(self, number: int, direction: str) -> dict[str, Tensor | None]:
        ending = f"l{number}{direction}"
        return {name: getattr(self, f"{name}_{ending}", None) for name in _WEIGHTS}


_WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")


class _Direction(nn.Module):
    """One direction of one layer over time, with the hook points of its cell."""

    def __init__(self, kind: str, *, backward: bool):
        super().__init__()
        self.kind, self.backward = kind, backward
        self.roles = tuple(POINTS[kind])
        points = {name: HookPoint(backward=backward, meaning=each) for name, each in POINTS[kind].items()}
        self.hooks = nn.ModuleDict(points)

    def forward(
        self,
        x: Float[Tensor, "time batch _"],
        states: States,
        weights: dict[str, Tensor | None],
        lengths: Tensor | None,
    ) -> tuple[Float[Tensor, "time batch _"], States]:
        """Return the hidden state after every step and the last states."""
        order = range(len(x) - 1, -1, -1) if self.backward else range(len(x))
        outputs: list[Tensor] = [x] * len(x)
        for t in order:
            following = step(self.kind, x[t], states, weights, self.hooks)
            if lengths is not None:
                going = (t < lengths).to(x.device)[:, None]
                following = tuple(torch.where(going, new, old) for new, old in zip(following, states, strict=True))
            states = following
            outputs[t] = states[0] if lengths is None else torch.where(going, states[0], 0.0)
        return torch.stack(outputs), states


class UnrolledCell(nn.Module):
    """An nn.LSTMCell, nn.GRUCell or nn.RNNCell in plain operations; see `unrolled`."""

    def __init__(self, cell: nn.RNNCellBase):
        super().__init__()
        plain = f"RNN_{getattr(cell, 'nonlinearity', 'tanh').upper()}"
        self.kind, self.hidden_size = CELLS.get(type(cell), plain), cell.hidden_size
        for name, parameter in cell.named_parameters():
            self.register_parameter(name, parameter)
        self.roles = tuple(POINTS[self.kind])
        self.hooks = nn.ModuleDict({name: HookPoint(meaning=each) for name, each in POINTS[self.kind].items()})
        self.train(cell.training)

    def forward(self, x: Tensor, hx: Tensor | tuple[Tensor, Tensor] | None = None) -> Tensor | tuple[Tensor, Tensor]:
        """Return the next hidden state, and of an LSTM the next cell state too."""
        alone = x.ndim == 1
        rows = x[None] if alone else x
        count = 2 if self.kind == "LSTM" else 1
        states = (rows.new_zeros(len(rows), self.hidden_size),) * count if hx is None else hx
        states = states if isinstance(states, tuple) else (states,)
        if alone and hx is not None:
            states = tuple(state[None] for state in states)
        weights = {name: getattr(self, name, None) for name in _WEIGHTS}
        states = step(self.kind, rows, states, weights, self.hooks)
        if alone:
            states = tuple(state[0] for state in states)
        return states if count == 2 else states[0]


def step(kind: str, x: Row, states: States, weights: dict[str, Tensor | None], points: nn.ModuleDict) -> States:
    """Return the states after one time step, of which every quantity has passed its hook point."""
    h = states[0]
    of_x = F.linear(x, weights["weight_ih"], weights["bias_ih"])
    of_h = F.linear(h, weights["weight_hh"], weights["bias_hh"])
    if kind == "LSTM":
        i, f, g, o = (of_x + of_h).chunk(4, 1)
        i, f, o = (points[name](gate.sigmoid()) for name, gate in zip("ifo", (i, f, o), strict=True))
        g = points["g"](g.tanh())
        c = points["c"](f * states[1] + i * g)
        h = o * c.tanh()
        if weights["weight_hr"] is not None:
            h = F.linear(h, weights["weight_hr"])
        return points["h"](h), c
    if kind == "GRU":
        (xr, xz, xn), (hr, hz, hn) = of_x.chunk(3, 1), of_h.chunk(3, 1)
        r, z = points["r"]((xr + hr).sigmoid()), points["z"]((xz + hz).sigmoid())
        n = points["n"]((xn + r * hn).tanh())
        return (points["h"]((1 - z) * n + z * h),)
    total = of_x + of_h
    return (points["h"](total.tanh() if kind == "RNN_TANH" else total.relu()),)
