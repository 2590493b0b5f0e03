"""Two sets of conventions: those of the paper's equations, and those of the authors' released code."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

# Grey levels per channel that the authors subtract from 8-bit frames, by data set and modality.
MEANS: dict[tuple[str, str], tuple[float, float, float]] = {
    ("jester", "rgb"): (114.0, 109.0, 104.0),
    ("jester", "flow"): (128.0, 128.0, 128.0),
    ("isogd", "rgb"): (112.0, 112.0, 112.0),
    ("isogd", "depth"): (127.0, 127.0, 127.0),
    ("isogd", "flow"): (128.0, 128.0, 128.0),
}


def hard_sigmoid(x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Return Keras' piecewise linear sigmoid, clip(0.2 x + 0.5, 0, 1); torch's own has slope 1/6."""
    return (0.2 * x + 0.5).clamp(0, 1)


@dataclass(frozen=True, kw_only=True)
class Conventions:
    """The choices in which the authors' code departs from the paper's equations, or settles what they leave open."""

    gate_activation: Callable[[Tensor], Tensor]
    constant_gate_kernels: bool  # kernels of pooled gates start at 1 / channels, so all channels' gates start equal
    one_sided_padding: bool  # at stride 2, TensorFlow's "same" pads an even size at its end only
    batch_norm_eps: float
    batch_norm_momentum: float  # as torch has it: the part of the running statistics that one batch replaces
    top_activation: Callable[[Tensor], Tensor]  # after each batch norm of the MobileNet top
    top_bias: bool  # in the top's separable convolutions, though the batch norm that follows subtracts it


CONVENTIONS: dict[str, Conventions] = {
    "paper": Conventions(
        gate_activation=torch.sigmoid,
        constant_gate_kernels=False,
        one_sided_padding=False,
        batch_norm_eps=1e-5,
        batch_norm_momentum=0.1,
        top_activation=F.relu,
        top_bias=False,
    ),
    "authors": Conventions(
        gate_activation=hard_sigmoid,
        constant_gate_kernels=True,
        one_sided_padding=True,
        batch_norm_eps=1e-3,
        batch_norm_momentum=0.01,
        top_activation=F.relu6,
        top_bias=True,
    ),
}
