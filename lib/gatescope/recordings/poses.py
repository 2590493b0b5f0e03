"""How far predicted poses are from the true ones, mm, and which frames a pose comes from.

Poses are (..., joint, axis). Whatever comes before, be it clips, stages or frames, stays: errors by joint, frame or
stage are means over the other axes, and between the poses of two stages they are what the later stage changed.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from gatescope.models.pose import RPSM

Poses = Float[np.ndarray, "*#any joint 3"]
Errors = Float[np.ndarray, "..."] | np.floating  # mm, one for each pose; of a single pose a number


def joint_errors(predicted: Poses, truth: Poses) -> Float[np.ndarray, "*any joint"]:
    """The distance of each joint from its true place, mm, when both pelvises lie on each other."""
    difference = (predicted - predicted[..., :1, :]) - (truth - truth[..., :1, :])
    return np.linalg.norm(difference, axis=-1)


def mpjpe(predicted: Poses, truth: Poses, *, root: bool = True) -> Errors:
    """The mean of each pose's joint errors, mm.

    With `root`, as the authors' evaluation has it, the pelvis counts, whose error is 0: without it the mean over the
    16 joints that move is 17/16 of that.
    """
    return joint_errors(predicted, truth)[..., 0 if root else 1 :].mean(-1)


def pa_mpjpe(predicted: Poses, truth: Poses) -> Errors:
    """The mean distance of a pose's joints from their true places, mm, after the best similarity: PA-MPJPE."""
    return np.linalg.norm(aligned(predicted, truth) - truth, axis=-1).mean(-1)


def aligned(predicted: Poses, truth: Poses) -> Float[np.ndarray, "*any joint 3"]:
    r"""Each predicted pose, turned, scaled and moved so that it lies best on the true one; never mirrored.

    Of all similarities it has the least sum of squared distances, though maybe not of distances (Umeyama 1991). With
    the joints of a pose in rows, $P_0$ and $G_0$ less their means:

    (1) $U S V^T = \mathrm{svd}(P_0^T G_0)$

    (2) $D = \mathrm{diag}(1, 1, \det U V^T)$, which forbids a mirror image

    (3) $R = U D V^T$, and $s = \mathrm{tr}(S D) / \|P_0\|^2$

    (4) $s P_0 R$, moved to the mean of G

    A pose in one point lies on that mean. NaN where a pose is not finite.
    """
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
    return np.where(finite, scale[..., None, None] * (p @ rotation) + centre, np.nan)  # (4)


def influence(network: RPSM, x: Float[Tensor, "1 time channel height width"]) -> Float[Tensor, "time time"]:
    """How strongly each frame's pose (row) depends on each frame's pixels (column).

    The Frobenius norm of the last stage's poses, mm, derived by the frame, mm per full range of a pixel. It is 0 above
    the diagonal, since no pose sees what comes later; without recurrence it is 0 below it as well.
    """
    num_frames = x.shape[1]
    with torch.enable_grad():
        # A copy of the clip for each coordinate: one backward pass derives all coordinates of a frame.
        copies = x.detach().expand(3 * len(network.pose_mean), -1, -1, -1, -1).clone().requires_grad_()
        poses = network.poses(copies)[:, -1].flatten(2)
        rows = []
        for t in range(num_frames):
            own = poses[:, t].diagonal().sum()
            (gradient,) = torch.autograd.grad(own, copies, retain_graph=t + 1 < num_frames)
            rows.append(gradient.square().sum((0, 2, 3, 4)).sqrt())
    return torch.stack(rows)
