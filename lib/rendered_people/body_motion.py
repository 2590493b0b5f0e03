"""BodyMotion: the motion of a body of 17 joints through the world, and its resampling to another frame rate."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32, Float64

from rendered_people.skeleton import JOINT_NAMES, PARENTS

_LEFT_HIP, _RIGHT_HIP = JOINT_NAMES.index("left hip"), JOINT_NAMES.index("right hip")
_LEFT_SHOULDER, _RIGHT_SHOULDER = JOINT_NAMES.index("left shoulder"), JOINT_NAMES.index("right shoulder")


@dataclass(frozen=True, kw_only=True, eq=False)
class BodyMotion:
    """A moving body: the 17 joints of `rendered_people.skeleton` in the world, in mm.

    World axes: y up, right-handed (x cross y is z). Left and right are the person's own. Raises ValueError if
    `joints` has no frame, another shape or type, or a value that is not finite, or `fps` is not positive.
    """

    joints: Float32[np.ndarray, "time 17 3"]  # mm
    fps: float  # frames per second
    source: str  # a path, or the parameters it was made from

    def __post_init__(self):
        shape, dtype = self.joints.shape, self.joints.dtype
        if len(shape) != 3 or shape[0] == 0 or shape[1:] != (len(PARENTS), 3) or dtype != np.float32:
            raise ValueError(
                f"joints must be (time, {len(PARENTS)}, 3) float32, at least one frame; got {shape} {dtype}"
            )
        if not np.isfinite(self.joints).all():
            raise ValueError(f"joints must be finite, in mm; {self.source} holds values that are not")
        if not (math.isfinite(self.fps) and self.fps > 0):
            raise ValueError(f"fps must be a positive number of frames per second; got {self.fps}")

    @property
    def yaw(self) -> Float64[np.ndarray, " time"]:
        """Direction that the body faces in each frame, in rad about the world's y: 0 along z, growing towards x.

        Forward is perpendicular to the line across hips and shoulders. 0 if that line is upright, as in a cartwheel.
        """
        joints = self.joints.astype(np.float64)
        across = joints[:, _LEFT_HIP] - joints[:, _RIGHT_HIP] + joints[:, _LEFT_SHOULDER] - joints[:, _RIGHT_SHOULDER]
        return np.arctan2(-across[:, 2], across[:, 0])  # forward, left cross up, is (-z, 0, x) of `across`

    def resampled(self, fps: float) -> "BodyMotion":
        """Return the motion at another frame rate, from its first frame on; see `resample_joints`."""
        return replace(self, joints=resample_joints(self.joints, PARENTS, self.fps, fps), fps=fps)


def with_steady_bones(joints: Float32[np.ndarray, "time 17 3"]) -> Float32[np.ndarray, "time 17 3"]:
    """Give every bone its mean length over the motion, in its own direction; the pelvis stays."""
    bones = joints.astype(np.float64)
    bones[:, 1:] -= joints[:, PARENTS[1:]]
    lengths = np.linalg.norm(bones[:, 1:], axis=-1, keepdims=True)
    bones[:, 1:] *= lengths.mean(axis=0) / np.maximum(lengths, 1e-9)
    for joint in range(1, len(PARENTS)):
        bones[:, joint] += bones[:, PARENTS[joint]]
    return bones.astype(np.float32)


def resample_joints(
    joints: Float32[np.ndarray, "time joints 3"], parents: Sequence[int], fps: float, new_fps: float
) -> Float32[np.ndarray, "new_time joints 3"]:
    """Return joints at the times 0, 1 / new_fps ... up to the last frame, interpolated bone by bone.

    Interpolated positions would shorten every bone that rotates. Here a bone rotates between two frames along the
    shortest arc at constant speed, so that a constant length stays constant; lengths that change, and the path of a
    root, are interpolated linearly. There is no smoothing: frequencies above half of `new_fps` are aliased.
    Parents come before their children; a root is its own.

    Raises:
        ValueError: if `new_fps` is not positive.
    """
    if not (math.isfinite(new_fps) and new_fps > 0):
        raise ValueError(f"fps must be a positive number of frames per second; got {new_fps}")
    parents = np.asarray(parents)
    roots = parents == np.arange(len(parents))
    last = len(joints) - 1
    # The tolerance keeps a last frame that rounding puts slightly too late.
    places = np.arange(int(last * new_fps / fps + 1e-6) + 1) * (fps / new_fps)
    before = places.astype(np.int64).clip(0, max(last - 1, 0))
    parts = (places - before)[:, None, None].clip(0, 1)
    bones = joints.astype(np.float64)
    bones[:, ~roots] -= joints[:, parents[~roots]]
    first, second = bones[before], bones[np.minimum(before + 1, last)]
    between = (1 - parts) * first + parts * second
    between[:, ~roots] = _turned(first[:, ~roots], second[:, ~roots], parts)
    for joint in np.flatnonzero(~roots):
        between[:, joint] += between[:, parents[joint]]
    return between.astype(np.float32)


def _turned(
    first: Float64[np.ndarray, "time bones 3"],
    second: Float64[np.ndarray, "time bones 3"],
    parts: Float64[np.ndarray, "time 1 1"],
) -> Float64[np.ndarray, "time bones 3"]:
    """Rotate bones along the arc from the first to the second direction; opposite ones switch at the middle."""
    lengths = [np.linalg.norm(bones, axis=-1, keepdims=True) for bones in (first, second)]
    start, end = (bones / np.maximum(length, 1e-9) for bones, length in zip((first, second), lengths, strict=True))
    # A bone without length has no direction of its own.
    start, end = np.where(lengths[0] > 1e-9, start, end), np.where(lengths[1] > 1e-9, end, start)
    angle = np.arctan2(
        np.linalg.norm(np.cross(start, end), axis=-1, keepdims=True), (start * end).sum(-1, keepdims=True)
    )
    # If the sine vanishes, the arc has no length or no direction: the nearer of the two is taken.
    on_arc = np.sin(angle) > 1e-9
    sine = np.where(on_arc, np.sin(angle), 1)
    weights = np.where(on_arc, np.sin((1 - parts) * angle) / sine, parts < 0.5)
    other_weights = np.where(on_arc, np.sin(parts * angle) / sine, parts >= 0.5)
    return (weights * start + other_weights * end) * ((1 - parts) * lengths[0] + parts * lengths[1])
