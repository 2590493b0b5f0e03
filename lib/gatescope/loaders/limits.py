"""What a clip may take: pixels of a frame, frames, bytes in memory; and the size at which its frames fit."""

import math
from pathlib import Path

import numpy as np

from gatescope.loaders.errors import OversizedClipError

MAX_FRAME_PIXELS = 1 << 24  # 4096 x 4096
MAX_SIDE = 1 << 12  # px, of frames that a network takes
MAX_PICTURE_BYTES = 1 << 28  # of a picture's file, which may be read whole
MAX_VIDEO_BYTES = 3 << 29  # of a video's file, which is read whole to count its frames: 20 minutes of 10 Mbit/s
MAX_SCANS = 100  # of a JPEG, each of which takes the time of a whole picture; ten are usual
MAX_FRAMES = 1 << 15  # 18 minutes at 30 frames a second
MAX_DECODED = 1 << 35  # pixels of a video's frames, taken or not: 4K for a minute at 60 a second, 1080p for 9 at 30
MAX_CLIP_BYTES = 1 << 31  # in memory at the peak, where frames keep their size
FITTED_BYTES = 1 << 28  # of the frames of a clip that is scaled while it is read
_SMALLEST_SIDE = 112  # px of the short side below which frames are not scaled unless asked to: what networks take


def is_whole(number: object) -> bool:
    """Return whether a value is an integer, Python's or NumPy's, and no truth value."""
    return isinstance(number, int | np.integer) and not isinstance(number, bool)


def is_number(number: object) -> bool:
    """Return whether a value is a finite real number, Python's or NumPy's, and no truth value."""
    if isinstance(number, int):
        return not isinstance(number, bool) and abs(number) < 1 << 1000  # the rest may be no float
    return isinstance(number, float | np.integer | np.floating) and bool(np.isfinite(number))


def check_input(num_frames: int, size: int) -> None:
    """Raise ValueError unless so many frames of `size` px are a whole number of each, and fit as a network's input."""
    for name, number, most in (("num_frames", num_frames, MAX_FRAMES), ("size", size, MAX_SIDE)):
        if not (is_whole(number) and 1 <= number <= most):
            raise ValueError(f"{name} must be a whole number from 1 to {most:,}; got {number!r}")
    if num_frames * size**2 * 12 > MAX_CLIP_BYTES:  # three channels of float32
        raise ValueError(f"{num_frames} frames of {size} px exceed {MAX_CLIP_BYTES >> 30} GiB; take fewer or smaller")


def check_frame(width: int, height: int, path: Path | str) -> None:
    """Raise OversizedClipError if a frame of this declared size has more than MAX_FRAME_PIXELS."""
    if width * height > MAX_FRAME_PIXELS:
        reason = f"a frame of {width} x {height} exceeds {MAX_FRAME_PIXELS} pixels; scale it down"
        raise OversizedClipError(reason, path=path)


def check_count(num_frames: int, path: Path | str, width: int = 0, height: int = 0) -> None:
    """Raise OversizedClipError for more than MAX_FRAMES frames, or MAX_DECODED pixels in frames of this size."""
    if num_frames > MAX_FRAMES:
        raise OversizedClipError(f"holds more than {MAX_FRAMES} frames; cut it to one gesture", path=path)
    if num_frames * width * height > MAX_DECODED:
        most = MAX_DECODED // (width * height)
        reason = f"holds more than {most} frames of {width} x {height}; cut it to one gesture, or scale it down"
        raise OversizedClipError(reason, path=path)


def fitted_size(width: int, height: int, num_frames: int, size: int | None, path: Path | str) -> tuple[int, int]:
    """Return the width and height to read `num_frames` at: the short side `size` px, or all that fits, never enlarged.

    Without `size`, frames of more than FITTED_BYTES together are scaled to fit, at least 112 px of the short side.
    Raises OversizedClipError if a frame, their number or the whole is too large.
    """
    check_frame(width, height, path)
    check_count(num_frames, path)
    short = min(width, height)
    room = math.sqrt(FITTED_BYTES / (3 * width * height * num_frames))
    scale = min(1.0, room if size is None else size / short)
    if scale > room or (size is None and short * scale < min(short, _SMALLEST_SIDE)):
        raise OversizedClipError(
            f"{num_frames} frames of {width} x {height} exceed {FITTED_BYTES >> 20} MiB even when scaled; cut the "
            "clip, or ask for fewer or smaller ones, e.g. read_clip(path, num_frames=16, size=112)",
            path=path,
        )
    return max(1, round(width * scale)), max(1, round(height * scale))
