"""Upstream-downstream learning of two numbers, whose three steps can be checked by hand."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor, nn

from gatescope.trainings.udl import UpstreamDownstream

Grid = Float64[np.ndarray, "*grid"]


class ToyIteration(NamedTuple):
    """Results of one iteration from every start of a grid."""

    ahead: Grid  # d after the simulated step
    upstream: Grid  # u after the iteration
    downstream: Grid  # d after the iteration
    valid_loss: Grid  # at u and the simulated d


class _TwoNumbers(nn.Module):
    def __init__(self, u: Tensor, d: Tensor):
        super().__init__()
        self.u, self.d = nn.Parameter(u), nn.Parameter(d)

    def forward(self, x: Tensor) -> Tensor:
        return self.d - x * self.u


def toy_iteration(u: float | np.ndarray, d: float | np.ndarray, c: float | np.ndarray, rate: float) -> ToyIteration:
    """Take one iteration of two numbers u and d, from one start or from every point of a grid (ours).

    The training loss is (d - u)^2 / 2, the validation loss (d - c)^2 / 2: d learns to equal u, and u has to find c,
    which the training loss does not contain. All steps are plain SGD at `rate`.
    """
    shape = np.broadcast_shapes(np.shape(u), np.shape(d), np.shape(c))
    u, d, c = (torch.from_numpy(np.broadcast_to(values, shape).astype(np.float64)) for values in (u, d, c))
    model = _TwoNumbers(u, d)
    # The points of a grid are independent: of the summed loss each has its own gradient.
    udl = UpstreamDownstream(model, lambda output, target: ((output - target) ** 2 / 2).sum(), ["u"], rate=rate)
    zero, one = d.new_tensor(0), d.new_tensor(1)
    ahead = udl.look_ahead(one, zero)["d"]
    for _ in udl.steps(one, zero, zero, c):
        with torch.no_grad():
            for weight in (weight for weight in model.parameters() if weight.grad is not None):
                weight -= rate * weight.grad
    found = ahead, model.u.detach(), model.d.detach(), (ahead - c) ** 2 / 2
    return ToyIteration(*(values.numpy() for values in found))
