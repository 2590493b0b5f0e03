"""Region: a turned square of a frame, from which the landmark network takes its picture of one hand."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, UInt8

NUM_JOINTS = 21
WRIST, INDEX, MIDDLE, RING, LITTLE = 0, 5, 9, 13, 17  # the fingers' first joints
FINGERS = tuple(range(1 + 4 * finger, 5 + 4 * finger) for finger in range(5))  # thumb first, from palm to tip
# The joints that fix a hand's place in the next frame: fingertips would make it jump.
_STEADY = (0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18)


@dataclass(frozen=True)
class Region:
    """A square of `side` px around `centre` (x, y; px), turned by `angle` (radians, clockwise) from upright."""

    centre: Float[np.ndarray, "2"]
    side: float
    angle: float

    def crop(self, frame: UInt8[np.ndarray, "height width 3"], size: int) -> UInt8[np.ndarray, "size size 3"]:
        """Return the region upright, `size` px wide; what lies outside the frame repeats its edge."""
        import cv2

        return cv2.warpAffine(
            frame,
            self._to_frame(size),
            (size, size),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )

    def to_frame(self, points: Float[np.ndarray, "points 2"], size: int) -> Float32[np.ndarray, "points 2"]:
        """Convert points of the crop, px of `size`, to px of the frame, whose first pixel's centre is (0.5, 0.5)."""
        matrix = self._to_frame(size)
        return (points @ matrix[:, :2].T + matrix[:, 2] + 0.5).astype(np.float32)

    def _to_frame(self, size: int) -> Float[np.ndarray, "2 3"]:
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        turn = np.array([[cos, -sin], [sin, cos]]) * self.side / size
        return np.column_stack([turn, self.centre - turn @ np.full(2, size / 2)])

    def overlaps(self, other: "Region") -> bool:
        """Tell whether two regions show one hand: their centres are nearer than a third of the smaller side."""
        return float(np.linalg.norm(self.centre - other.centre)) < min(self.side, other.side) / 3


def region_of_palm(
    box: Float[np.ndarray, "4"], wrist: Float[np.ndarray, "2"], middle: Float[np.ndarray, "2"]
) -> Region:
    """Return the region of a whole hand from its palm's box (left, top, right, bottom) and two of its key points.

    2.6 times the palm, moved by half of it towards the fingers.
    """
    angle = _upright(middle - wrist)
    long = float(max(box[2] - box[0], box[3] - box[1]))
    centre = (box[:2] + box[2:]) / 2 + _towards_fingers(angle) * 0.5 * (box[3] - box[1])
    return Region(centre, 2.6 * long, angle)


def region_of_joints(joints: Float[np.ndarray, "21 2"]) -> Region:
    """Return the region for the next frame from this frame's joints: twice the box of its steady joints, turned.

    Moved by a tenth towards the fingers.
    """
    knuckles = (joints[INDEX] + joints[RING]) / 2
    angle = _upright((knuckles + joints[MIDDLE]) / 2 - joints[WRIST])
    cos, sin = np.cos(angle), np.sin(angle)
    upright = joints[list(_STEADY)] @ np.array([[cos, -sin], [sin, cos]])
    low, high = upright.min(0), upright.max(0)
    centre = np.array([[cos, -sin], [sin, cos]]) @ ((low + high) / 2)
    centre = centre + _towards_fingers(angle) * 0.1 * (high[1] - low[1])
    return Region(centre, 2.0 * float(max(high - low)), angle)


def _upright(direction: Float[np.ndarray, "2"]) -> float:
    """Return by how much a hand that points along `direction` (x right, y down) is turned clockwise from upright."""
    return float(np.arctan2(direction[0], -direction[1]))


def _towards_fingers(angle: float) -> Float[np.ndarray, "2"]:
    return np.array([np.sin(angle), -np.cos(angle)])
