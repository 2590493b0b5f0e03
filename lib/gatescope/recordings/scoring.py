"""Scores of many clips: features encoded once, then scored under any number of interventions."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64
from torch import Tensor

from gatescope.models import GestureNetwork
from gatescope.recordings.record import intervene

BATCH_SIZE = 16  # clips

Clips = Float[Tensor, "clips channel time height width"]
Features = Float[Tensor, "clips step features rows columns"]
Logits = Float[np.ndarray, "*any classes"]
Change = Callable[[Tensor], Tensor] | Tensor  # as `intervene` takes it


@torch.inference_mode()
def encode_all(network: GestureNetwork, x: Clips) -> Features:
    """Return the features that Res3D computes for many clips, a batch at a time."""
    return torch.cat([network.encode(part) for part in x.split(BATCH_SIZE)])


@torch.inference_mode()
def score_all(
    network: GestureNetwork, features: Features, changes: Mapping[str, Change] | None = None
) -> Float32[np.ndarray, "clips classes"]:
    """Return the logits of many clips from their features, under the interventions `changes`.

    A tensor among them has the clips' axis first and is split into the same batches.
    """
    logits = []
    for start in range(0, len(features), BATCH_SIZE):
        part = slice(start, start + BATCH_SIZE)
        own = {name: change[part] if isinstance(change, Tensor) else change for name, change in (changes or {}).items()}
        with intervene(network, own):
            logits.append(network.score(features[part]))
    return torch.cat(logits).numpy()


def divergence(before: Logits, after: Logits) -> Float64[np.ndarray, "*any"]:
    """Return the Kullback-Leibler divergence of the class probabilities after an intervention from those before, nats.

    It is 0 where nothing changed and grows where a class that was likely no longer is.
    """
    from scipy.special import log_softmax

    p, q = (log_softmax(logits.astype(np.float64), axis=-1) for logits in (before, after))
    return np.maximum((np.exp(p) * (p - q)).sum(-1), 0)
