"""Animated WebP, which FFmpeg does not decode: its pictures by Pillow, their times by its blocks."""

from collections.abc import Iterator
from itertools import accumulate, islice
from pathlib import Path

import numpy as np
from PIL import Image

from gatescope.loaders.clip import DEFAULT_FPS, Clip
from gatescope.loaders.completeness import missing_part
from gatescope.loaders.errors import DamagedClipError, OversizedClipError
from gatescope.loaders.frames import opened_picture
from gatescope.loaders.limits import MAX_FRAMES, MAX_PICTURE_BYTES, check_count, fitted_size
from gatescope.loaders.sampling import sample_frames, varying_times


def read_webp(path: Path, num_frames: int | None = None, size: int | None = None) -> Clip:
    """Return the clip in an animated WebP; see `read_clip`. Transparent parts show the colour that they hide.

    A damaged one is not read in part. Raises DamagedClipError if bytes are missing, a picture does not decode, or
    there is only one; OversizedClipError as for a video.
    """
    if path.stat().st_size > MAX_PICTURE_BYTES:
        raise OversizedClipError(f"exceeds {MAX_PICTURE_BYTES >> 20} MiB; give it as a video", path=path)
    if missing := missing_part(path):
        raise DamagedClipError(f"the animation is cut off: {missing}; fetch it again or leave it out", path=path)
    durations_ms = list(islice(_durations(path.read_bytes()), MAX_FRAMES + 1))
    count = len(durations_ms)
    if not count:
        raise DamagedClipError("is one picture, no clip; give a video, or the folder that holds the frames", path=path)
    check_count(count, path)
    times = [ms / 1000 for ms in accumulate(durations_ms[:-1], initial=0)]
    varying = varying_times(times)
    chosen = range(count)
    if num_frames is not None and num_frames <= count:
        chosen = sample_frames(count, num_frames, times_s=varying)
    with opened_picture(path, moves=True) as image:
        check_count(count, path, *image.size)
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


def _durations(content: bytes) -> Iterator[int]:
    """Yield how long each picture of an animation is shown, ms; nothing of a WebP that does not move."""
    place = 12
    # Some blocks hold no picture: a profile, or a text.
    for _ in range(2 * MAX_FRAMES):
        if place + 8 > len(content):
            return
        if content[place : place + 4] == b"ANMF":
            yield int.from_bytes(content[place + 20 : place + 23], "little")
        size = int.from_bytes(content[place + 4 : place + 8], "little")
        place += 8 + size + size % 2
