"""How far clips lie from the training clips of a network, in its features."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

NEAREST = 3  # training clips whose mean distance counts


def mean_features(features: Float[Tensor, "clips step features rows columns"]) -> Float[Tensor, "clips features"]:
    """Return the means of Res3D's features over steps and positions."""
    return features.mean((1, 3, 4))


def distances(
    clips: Float[Tensor, "clips features"], training: Float[Tensor, "training features"]
) -> Float[np.ndarray, " clips"]:
    """Return how far mean features lie from those of training clips, in standard deviations of the latter.

    A distance is the mean Euclidean one to the NEAREST nearest training clips. It tells what is unlike from what is
    alike in these features, and not whether a network understands it.
    """
    scale = training.std(0).clamp(min=1e-6)
    away = torch.cdist(clips / scale, training / scale)
    return away.topk(min(NEAREST, away.shape[1]), largest=False).values.mean(1).numpy()
