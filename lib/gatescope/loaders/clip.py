"""Clip: the frames of one recording and what else is known of them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, UInt8


@dataclass(frozen=True, kw_only=True, eq=False)
class Clip:
    """One recording in memory.

    Left, right and clockwise are the performer's; the camera is not mirrored. Camera axes: x right, y down, z away
    from the camera.
    """

    frames: UInt8[np.ndarray, "time height width 3"]  # RGB; a depth-only clip shows its depth in grey
    fps: float  # frames per second
    source: str  # where it came from: a path, or the parameters it was rendered from
    label: int | None = None  # 0-based class index
    name: str | None = None  # the class's name
    depth: Float32[np.ndarray, "time height width"] | None = None  # mm; 0 where there is no reading
    hand_mask: Bool[np.ndarray, "time height width"] | None = None  # pixels showing the gesturing hand
    flow: Float32[np.ndarray, "time-1 height width 2"] | None = None  # px/frame, x then y: p in t is p + flow in t+1
    joints_2d: Float32[np.ndarray, "time joints 2"] | None = None  # px
    joints_3d: Float32[np.ndarray, "time joints 3"] | None = None  # mm, camera axes
