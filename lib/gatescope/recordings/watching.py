"""Recording, scores and gradients of one clip, for viewers, from one forward pass."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from gatescope.models import GestureNetwork
from gatescope.recordings.record import record


@dataclass(frozen=True)
class Watched:
    """Recording, scores and gradients of one clip."""

    recording: Mapping[str, Tensor]  # by hook point, as `record` returns it, for a batch of one
    logits: Float[Tensor, "step classes"] | None = None  # after every step
    gradients: Mapping[str, Tensor] = field(default_factory=dict)  # of the predicted class's score


def watch(network: GestureNetwork, x: Float[Tensor, "1 channel time height width"], *patterns: str) -> Watched:
    """Record the hook points that match `patterns` (without any, all), and the class scores after every step.

    Gradients are those of the finally predicted class's logit with respect to the hidden states recorded.

    Raises LookupError if a pattern matches no hook point.
    """
    with torch.inference_mode(False), torch.enable_grad(), record(network, *patterns, gradients=True) as recording:
        logits = network.scores_over_time(x)[0]
        hidden = [name for name in recording if name.endswith(".h")]
        gradients = {name: recording.gradient(name, logits[-1].max()) for name in hidden}
    return Watched(dict(recording), logits.detach(), gradients)
