"""Animated WebP, which FFmpeg does not decode: its pictures by Pillow, their times by its blocks."""

from itertools import accumulate
from pathlib import Path

import numpy as np
from PIL import Image

from gatescope.loaders.clip import DEFAULT_FPS, Clip
from gatescope.loaders.completeness import missing_part
from gatescope.loaders.errors import DamagedClipError
from gatescope.loaders.frames import opened_picture
from gatescope.loaders.limits import check_count, fitted_size
from gatescope.loaders.sampling import sample_frames, varying_times


def read_webp(path: Path, num_frames: int | None = None, size: int | None = None) -> Clip:
    """Return the clip in an animated WebP; see `read_clip`. Transparent parts show the colour that they hide.

    A damaged one is not read in part. Raises DamagedClipError if bytes are missing, a picture does not decode, or
    there is only one; OversizedClipError as for a video.
    """
    if missing := missing_part(path):
        raise DamagedClipError(f"the animation is cut off: {missing}; fetch it again or leave it out", path=path)
    durations_ms = _durations(path)
    count = len(durations_ms)
    if not count:
        raise DamagedClipError("is one picture, no clip; give a video, or the folder that holds the frames", path=path)
    check_count(count, path)
    times = [ms / 1000 for ms in accumulate(durations_ms[:-1], initial=0)]
    varying = varying_times(times)
    chosen = range(count)
    if num_frames is not None and num_frames <= count:
        chosen = sample_frames(count, num_frames, times_s=varying)
    with opened_picture(path) as image:
        width, height = fitted_size(*image.size, len(set(chosen)), size, path)
        own = image.size[::-1]
        frames = np.empty((len(chosen), height, width, 3), np.uint8)
        for place, number in enumerate(chosen):
            image.seek(number)
            picture = image.convert("RGB")
            if picture.size != (width, height):
                picture = picture.resize((width, height), Image.Resampling.BILINEAR)
            frames[place] = picture
    fps = 1000 * count / sum(durations_ms) if any(durations_ms) else DEFAULT_FPS
    return Clip(
        frames=frames,
        fps=fps * len(chosen) / count,
        source=str(path),
        times_s=varying if len(chosen) == count else None,
        source_size=None if (height, width) == own else own,
    )


def _durations(path: Path) -> list[int]:
    """Return how long each picture of an animation is shown, ms; none of a WebP that does not move."""
    content, place, durations = path.read_bytes(), 12, []
    while place + 8 <= len(content):
        if content[place : place + 4] == b"ANMF":
            durations.append(int.from_bytes(content[place + 20 : place + 23], "little"))
        size = int.from_bytes(content[place + 4 : place + 8], "little")
        place += 8 + size + size % 2
    return durations
