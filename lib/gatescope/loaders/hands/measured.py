"""MeasuredHands: where the hand networks see hands in a clip, and how surely."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32

from gatescope.loaders.hands.regions import MIDDLE, WRIST

LONGEST_GAP_S = 0.25  # across which joints are filled in on a straight line


@dataclass(frozen=True, eq=False)
class MeasuredHands:
    """Up to two hands over the frames of a clip; a hand keeps its place while it is followed."""

    joints: Float32[np.ndarray, "time hands 21 2"]  # px; NaN where the hand is not found
    confidence: Float32[np.ndarray, "time hands"]  # 0 to 1, of the network; 0 where not found or filled
    filled: Bool[np.ndarray, "time hands"]  # joints interpolated across a gap of up to LONGEST_GAP_S

    @property
    def found(self) -> Bool[np.ndarray, "time hands"]:
        """Where joints are known, measured or filled in."""
        return np.isfinite(self.joints[..., 0, 0])

    @property
    def steadiness(self) -> dict[str, float]:
        """What can be said of a clip without knowing the truth.

        `found` and `two` are the shares of frames with a hand and with two; `broken` the share of frames without any
        between frames with one; `step` the median way of a hand's joints to the next frame, in lengths of its palm,
        and `jumps` the share of such steps beyond one palm.
        """
        any_hand = self.found.any(1)
        where = np.flatnonzero(any_hand)
        inside = any_hand[where[0] : where[-1] + 1] if where.size else any_hand[:0]
        palm = np.linalg.norm(self.joints[:-1, :, MIDDLE] - self.joints[:-1, :, WRIST], axis=-1)
        way = np.linalg.norm(np.diff(self.joints, axis=0), axis=-1).mean(-1) / palm
        way = way[np.isfinite(way)]
        return {
            "found": float(any_hand.mean()),
            "two": float(self.found.all(1).mean()),
            "broken": float(1 - inside.mean()) if inside.size else 0.0,
            "step": float(np.median(way)) if way.size else float("nan"),
            "jumps": float((way > 1).mean()) if way.size else float("nan"),
        }

    def seen(self, chosen: Sequence[int], shape: tuple[int, int], size: int) -> "MeasuredHands":
        """Return the hands of the frames of these numbers, cropped from (height, width) to a square of `size` px."""
        side = min(shape)
        corner = np.array([shape[1] - side, shape[0] - side]) // 2
        joints = ((self.joints[chosen] - corner) * (size / side)).astype(np.float32)
        return MeasuredHands(joints, self.confidence[chosen], self.filled[chosen])

    def __str__(self) -> str:
        frames = len(self.joints)
        counts = self.found.any(1).sum(), self.found.all(1).sum(), self.filled.any(1).sum()
        return f"a hand in {counts[0]} of {frames} frames, two in {counts[1]}; filled across a gap in {counts[2]}"
