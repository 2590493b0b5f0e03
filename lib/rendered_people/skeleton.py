"""The 17 joints that Human3.6M evaluates and how they hang together, which loaders, models and pictures share."""

import numpy as np
from jaxtyping import Float

# Left and right are the person's own.
JOINT_NAMES = (
    "pelvis",
    "right hip", "right knee", "right ankle",
    "left hip", "left knee", "left ankle",
    "spine", "thorax", "neck", "head",
    "left shoulder", "left elbow", "left wrist",
    "right shoulder", "right elbow", "right wrist",
)  # fmt: skip
PARENTS = (0, 0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15)  # of each joint; the pelvis is its own
RIGHT = (1, 2, 3, 14, 15, 16)
LEFT = (4, 5, 6, 11, 12, 13)


def limb_lengths(poses: Float[np.ndarray, "*any 17 3"]) -> Float[np.ndarray, "*any 17"]:
    """The distance of each joint from its parent, in the unit of the poses; 0 for the pelvis."""
    return np.linalg.norm(poses - poses[..., PARENTS, :], axis=-1)


def with_limb_lengths(
    poses: Float[np.ndarray, "*#any 17 3"], lengths: Float[np.ndarray, "*#any 17"]
) -> Float[np.ndarray, "*#any 17 3"]:
    """The poses with limbs of these lengths, each in its direction; the pelvis stays where it is.

    With the mean lengths of the training poses these are the labels that Lin et al. 2017 trained with. A limb without
    a length has no direction either, and keeps 0.
    """
    limbs, found = poses - poses[..., PARENTS, :], limb_lengths(poses)
    limbs = limbs * np.divide(lengths, found, out=np.zeros_like(found), where=found > 0)[..., None]
    scaled = poses.copy()
    for joint in range(1, len(PARENTS)):  # parents come before their children
        scaled[..., joint, :] = scaled[..., PARENTS[joint], :] + limbs[..., joint, :]
    return scaled
