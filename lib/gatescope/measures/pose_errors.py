"""Errors of predicted poses, mm.

Poses are (..., joint, axis); leading axes such as clips, stages or frames are kept.
"""

import numpy as np
from jaxtyping import Float
from torch import Tensor

Poses = Float[np.ndarray | Tensor, "*#any joint 3"]
PoseArrays = Float[np.ndarray, "*#any joint 3"]
Errors = Float[np.ndarray | Tensor, "*any"] | np.floating  # one for each pose; of a single pose a number


def joint_errors(predicted: Poses, truth: Poses) -> Float[np.ndarray | Tensor, "*any joint"]:
    """Return each joint's distance from its true place, mm, after both pelvises are moved to the origin."""
    difference = (predicted - predicted[..., :1, :]) - (truth - truth[..., :1, :])
    return (difference**2).sum(-1) ** 0.5


def mpjpe(predicted: Poses, truth: Poses) -> Errors:
    """Return each pose's mean joint error, mm; the pelvis counts with its error of 0, as in the authors' evaluation."""
    return joint_errors(predicted, truth).mean(-1)


def pa_mpjpe(predicted: PoseArrays, truth: PoseArrays) -> Errors:
    """Return each pose's mean joint error, mm, after the best similarity transform."""
    return np.linalg.norm(aligned(predicted, truth) - truth, axis=-1).mean(-1)


def aligned(predicted: PoseArrays, truth: PoseArrays) -> Float[np.ndarray, "*any joint 3"]:
    r"""Return each predicted pose after the similarity transform that brings it closest to the true one, unmirrored.

    Closest in the sum of squared distances, not of distances (Umeyama 1991). With the joints of a pose in rows, $P_0$
    and $G_0$ less their means:

    (1) $U S V^T = \mathrm{svd}(P_0^T G_0)$

    (2) $D = \mathrm{diag}(1, 1, \det U V^T)$, which forbids a mirror image

    (3) $R = U D V^T$, and $s = \mathrm{tr}(S D) / \|P_0\|^2$

    (4) $s P_0 R$, moved to the mean of G

    A pose with all joints in one point becomes that mean. NaN where a pose is not finite.
    """
    dtype = np.result_type(predicted, truth)
    predicted, truth = np.broadcast_arrays(predicted, truth)
    finite = np.isfinite(predicted).all((-2, -1), keepdims=True) & np.isfinite(truth).all((-2, -1), keepdims=True)
    p, g = (np.where(finite, poses, 0).astype(np.float64) for poses in (predicted, truth))
    centre = g.mean(-2, keepdims=True)
    p, g = p - p.mean(-2, keepdims=True), g - centre
    u, s, vt = np.linalg.svd(p.swapaxes(-2, -1) @ g)  # (1)
    d = np.ones_like(s)
    d[..., 2] = np.sign(np.linalg.det(u @ vt))  # (2)
    rotation = (u * d[..., None, :]) @ vt
    size = np.square(p).sum((-2, -1))
    scale = np.divide((s * d).sum(-1), size, out=np.zeros_like(size), where=size > 0)  # (3)
    best = scale[..., None, None] * (p @ rotation) + centre  # (4)
    return np.where(finite, best, np.nan).astype(dtype)
