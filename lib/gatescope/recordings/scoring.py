"""Many clips through a network: encoded once, scored under as many interventions as are asked for."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from gatescope.models import GestureNetwork
from gatescope.recordings.record import intervene

BATCH_SIZE = 16  # clips

Features = Float32[Tensor, "clips step features rows columns"]
Change = Callable[[Tensor], Tensor] | Tensor


@torch.inference_mode()
def encode_all(network: GestureNetwork, x: Float32[Tensor, "clips channel time height width"]) -> Features:
    """What Res3D makes of many clips, a few at a time."""
    return torch.cat([network.encode(part) for part in x.split(BATCH_SIZE)])


@torch.inference_mode()
def score_all(
    network: GestureNetwork, features: Features, changes: Mapping[str, Change] | None = None
) -> Float32[np.ndarray, "clips classes"]:
    """The logits of many clips from their features, under the interventions `changes`, which are as in `intervene`.

    A tensor among them has the clips' axis first and is cut as the clips are.
    """
    changes = changes or {}
    logits = []
    for start in range(0, len(features), BATCH_SIZE):
        part = slice(start, start + BATCH_SIZE)
        own = {name: change[part] if isinstance(change, Tensor) else change for name, change in changes.items()}
        with intervene(network, own):
            logits.append(network.score(features[part]))
    return torch.cat(logits).numpy()
