"""Influence of each frame on each predicted pose."""

import torch
from jaxtyping import Float
from torch import Tensor

from gatescope.models.pose import RPSM


def influence(network: RPSM, x: Float[Tensor, "1 time channel height width"]) -> Float[Tensor, "time time"]:
    """Return how strongly each frame's pose (row) depends on each frame's pixels (column).

    The Frobenius norm of the derivative of the last stage's poses, mm per full range of a pixel. It is 0 above the
    diagonal, since no pose depends on later frames, and without recurrence below it as well.
    """
    num_frames = x.shape[1]
    with torch.enable_grad():
        # One copy of the clip per coordinate: a single backward pass gives the gradients of all coordinates.
        copies = x.detach().expand(3 * len(network.pose_mean), -1, -1, -1, -1).clone().requires_grad_()
        poses = network.poses(copies)[:, -1].flatten(2)
        rows = []
        for t in range(num_frames):
            own = poses[:, t].diagonal().sum()
            (gradient,) = torch.autograd.grad(own, copies, retain_graph=t + 1 < num_frames)
            rows.append(gradient.square().sum((0, 2, 3, 4)).sqrt())
    return torch.stack(rows)
