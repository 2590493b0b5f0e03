"""Recording, scores and gradients of one clip, for viewers, from one forward pass."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gatescope.recordings.opening import Names
from gatescope.recordings.record import record
from gatescope.recordings.taps import arguments_of, as_found


@dataclass(frozen=True)
class Watched:
    """Recording, scores and gradients of one clip."""

    recording: Mapping[str, Any]  # tensors or arrays by name, as `record` returns it, for a batch of one
    logits: Float[Tensor, "step classes"] | None = None  # after every step
    gradients: Mapping[str, Tensor] = field(default_factory=dict)  # of the predicted class's score
    meanings: Mapping[str, str] = field(default_factory=dict)  # what a value is, where that is known


def watch(model: nn.Module, x: Any, *patterns: str | Names) -> Watched:
    """Record what matches `patterns` (without any, all hook points) while a model in eval mode sees one clip.

    `x` is the model's argument, or a tuple of all of them; model and `x` stay as they are. A model with
    `scores_over_time`, as ours, gives the class scores after every step. Gradients are those of the finally predicted
    class's score with respect to the hidden states recorded; without class scores, a row for the clip, there are none.
    Patterns and names are as in `record`.

    Raises LookupError if a pattern matches nothing.
    """
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        record(model, *patterns, gradients=True) as recording,
        as_found(model),
    ):
        given = arguments_of(x)
        logits = model.scores_over_time(*given)[0] if hasattr(model, "scores_over_time") else None
        scores = model(*given) if logits is None else logits[-1:]
        hidden = [name for name, meaning in recording.meanings.items() if meaning in ("h", "hidden")]
        gradients = {}
        if isinstance(scores, Tensor) and scores.ndim == 2 and len(scores) == 1 and scores.requires_grad:
            gradients = {name: recording.gradient(name, scores.max()) for name in hidden}
        values = dict(recording)  # before buffers are as they were
    return Watched(values, None if logits is None else logits.detach(), gradients, recording.meanings)
