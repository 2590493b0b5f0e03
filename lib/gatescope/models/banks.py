"""What the input alone gives to a gate or the candidate, and what the hidden state adds to it at each step.

A bank is made anew for every forward pass, with its weights in the type that autocast asks for.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from gatescope.models.cells import AttentionGate, ConvPart, InputAttention, PooledPart, SeparablePart

Maps = Float[Tensor, "batch _ height width"]
Values = Float[Tensor, "batch _"]


class ConvBank:
    """One part's dense convolutions."""

    def __init__(self, part: ConvPart):
        self.input_weight, self.state_weight = ready(part.input_to_state.weight), ready(part.state_to_state.weight)
        self.bias = ready(part.input_to_state.bias)

    def project(self, x: Maps) -> Maps:
        """W_x * X + b."""
        return F.conv2d(x, self.input_weight, self.bias, padding="same")

    def add_state(self, projected: Maps, h: Maps | None) -> Maps:
        """W_x * X + W_h * H + b; without `h` the state is zero."""
        return _full(projected if h is None else projected + F.conv2d(h, self.state_weight, padding="same"))


class PooledBank:
    """Fully connected layers from the pooled input and state to several gates as one layer."""

    def __init__(self, parts: Mapping[str, PooledPart]):
        self.names = tuple(parts)
        joined = list(parts.values())
        self.input_weight = ready(torch.cat([part.input_to_state.weight for part in joined]))
        self.state_weight = ready(torch.cat([part.state_to_state.weight for part in joined]))
        self.bias = ready(torch.cat([part.input_to_state.bias for part in joined]))

    def project(self, x_pooled: Values) -> Values:
        """W_x mean(X) + b of all parts."""
        return F.linear(x_pooled, self.input_weight, self.bias)

    def add_state(self, projected: Values, h_pooled: Values) -> dict[str, Values]:
        """W_x mean(X) + W_h mean(H) + b of each part."""
        projected = projected + F.linear(h_pooled, self.state_weight)
        return dict(zip(self.names, _full(projected).chunk(len(self.names), dim=1), strict=True))


class SeparableBank:
    """One part's depthwise separable convolutions."""

    def __init__(self, part: SeparablePart):
        given, own = part.input_to_state, part.state_to_state
        self.input_weights = ready(given.depthwise.weight), ready(given.pointwise.weight)
        self.state_weights = ready(own.depthwise.weight), ready(own.pointwise.weight)
        self.bias = ready(given.pointwise.bias)

    def project(self, x: Maps) -> Maps:
        """W_x * X + b."""
        return separable(x, *self.input_weights, self.bias)

    def add_state(self, projected: Maps, h: Maps | None) -> Maps:
        """W_x * X + W_h * H + b; without `h` the state is zero."""
        return _full(projected if h is None else projected + separable(h, *self.state_weights))


class AttentionBank(SeparableBank):
    """An attention's convolutions: to what it scores, and from there to its scores."""

    def __init__(self, part: AttentionGate | InputAttention):
        super().__init__(part)
        self.score_weights = [ready(weight) for weight in part.score.parameters()]

    def score(self, x: Maps) -> Maps:
        """Z: dense to one map for an input attention, separable to a map per channel for a gate's."""
        if len(self.score_weights) == 1:
            return _full(F.conv2d(x, *self.score_weights, padding="same"))
        return _full(separable(x, *self.score_weights))


def separable(
    x: Maps,
    depthwise: Float[Tensor, "in 1 rows columns"],
    pointwise: Float[Tensor, "out in 1 1"],
    bias: Float[Tensor, " out"] | None = None,
) -> Maps:
    """Each channel convolved by itself, then all of them mixed at every position."""
    return F.conv2d(F.conv2d(x, depthwise, padding="same", groups=x.shape[1]), pointwise, bias)


def ready(tensor: Tensor) -> Tensor:
    """In the type that autocast asks for, so that it has nothing to cast at each use."""
    device = tensor.device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        return tensor.to(torch.get_autocast_dtype(device))
    return tensor


def _full(total: Tensor) -> Tensor:
    """In float32 where autocast made it less: what follows is elementwise, and no faster in 16 bits."""
    return total if total.dtype.itemsize >= 4 else total.float()
