"""read_clip: a Clip from a video, a folder of frames, or frames in memory."""

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jaxtyping import Shaped
from numpy import ndarray
from torch import Tensor

from gatescope.loaders.animation import read_webp
from gatescope.loaders.arrays import as_array, clip_from, read_npy
from gatescope.loaders.clip import Clip
from gatescope.loaders.errors import ClipAccessError, ClipError, MissingClipError, access_errors
from gatescope.loaders.frame_order import order_note
from gatescope.loaders.frames import numbered_frames, picture_size, read_frames
from gatescope.loaders.limits import is_whole
from gatescope.loaders.sampling import Choose, sample_frames
from gatescope.loaders.video import read_video


def read_clip(
    path: str | Path | Shaped[ndarray, "..."] | Tensor | Sequence[Any],
    depth_unit_mm: float | None = None,
    *,
    num_frames: int | None = None,
    size: int | None = None,
    strict: bool = True,
    choose: Choose | None = None,
) -> Clip:
    """Read a clip from a video file, a folder of frames, an .npy file, or frames in memory.

    Video: whatever FFmpeg opens and holds its own frames, and animated WebP; the content decides, not the name.
    `read_video` says which damage is noticed. Folder: jpg, png, bmp, webp and tif files, in the order of `numbered`
    (2 before 10); other and hidden files are ignored, gaps in the numbers allowed, a file of several pictures refused.
    16-bit grey pictures are depth; 0 is no reading. All are turned and mirrored as a viewer shows them. In memory: an
    array, a tensor or a list of pictures, uint8 (T, H, W, 3) or (T, 3, H, W) in RGB or RGBA, (T, H, W) in grey; uint16
    (T, H, W) is depth.
    Folders and arrays get `DEFAULT_FPS`; `dataclasses.replace(clip, fps=30)` gives another. `depth_unit_mm` is the
    millimetres per unit of a 16-bit frame (1 for Kinect, 0.125 for Intel's SR305).

    Of a file only what is asked for is kept: `num_frames`, taken by `sample_frames` as at test time, at a short side of
    `size` px, never enlarged, scaled while decoding. Without `size`, frames that exceed 256 MiB together are scaled to
    fit (`fitted_size`); `Clip.source_size` is then their size in the file. `choose`, in place of `num_frames`, takes
    the numbers that it returns, and each frame as it is among all; animations and arrays come whole.

    `strict=False` returns what decodes of a damaged file; `Clip.notes` say what is damaged.

    Raises a ClipError that names the file: missing, damaged, not accessible, too large, depth without its unit or a
    unit without depth. Raises ValueError for a URL, an empty path, anything else that is no clip,
    masked frames, or those of another shape or type.
    """
    for asked in (num_frames, size):
        if asked is not None and not (is_whole(asked) and asked >= 1):
            raise ValueError(f"num_frames and size must be whole numbers, 1 or more; got {num_frames} and {size}")
    if not isinstance(path, str | os.PathLike):
        return _from_array(as_array(path), "array", depth_unit_mm, num_frames, size)
    if path == "":
        raise ValueError("the path is empty; name a video file or a folder of frames")
    if isinstance(path, str) and re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", path):
        raise ValueError(f"{path} is an address, no path; fetch it first: curl --location --output clip.mp4 '{path}'")
    path = Path(os.path.expanduser(path))
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
    except OSError as error:
        raise ClipAccessError(f"cannot be accessed ({error.strerror}); check the path", path=path) from error
    if is_folder:
        return _read_folder(path, depth_unit_mm, num_frames, size, strict, choose)
    if not is_file:
        raise MissingClipError("is missing, or is neither a file nor a folder; check the path", path=path)
    with access_errors(path), path.open("rb") as file:
        head = file.read(12)
    if head.startswith(b"\x93NUMPY"):
        return _from_array(read_npy(path), str(path), depth_unit_mm, num_frames, size)
    if depth_unit_mm is not None:
        raise ClipError("depth_unit_mm is for 16-bit frames; this is a video: leave it out", path=path)
    with access_errors(path):
        if head[:4] == b"RIFF" and head[8:] == b"WEBP":
            return read_webp(path, num_frames, size)
        return read_video(path, num_frames, size, strict, choose)


def _read_folder(
    folder: Path,
    depth_unit_mm: float | None,
    num_frames: int | None,
    size: int | None,
    strict: bool,
    choose: Choose | None,
) -> Clip:
    numbered = numbered_frames(folder)
    files, note, faults = list(numbered.values()), order_note(numbered), None if strict else []
    every = 1.0
    if num_frames is not None and num_frames <= len(files):
        every = len(files) / num_frames
        files = [files[number] for number in sample_frames(len(files), num_frames)]
    chosen = range(len(files)) if choose is None else choose(len(files), None)
    frames = read_frames(files, size, faults, None if choose is None else chosen)
    notes = [note] if note else []
    damaged = {fault.path: f"{Path(fault.path).name}: {fault.reason}" for fault in faults or ()}
    if damaged:
        some = "; ".join(list(damaged.values())[:3])
        notes.append(f"damaged, {len(damaged)} of {len(files)} frames are left out: {some}")
    clip = clip_from(frames, str(folder), depth_unit_mm, notes=tuple(notes))
    own = picture_size(next(files[number] for number in chosen if str(files[number]) not in damaged))
    return replace(clip, fps=clip.fps / every, source_size=None if frames.shape[1:3] == own else own)


def _from_array(
    frames: Shaped[ndarray, "..."], source: str, depth_unit_mm: float | None, num_frames: int | None, size: int | None
) -> Clip:
    if num_frames is not None or size is not None:
        raise ValueError(
            "num_frames and size are for pictures and videos; as_seen(clip, num_frames, size) samples others"
        )
    return clip_from(frames, source, depth_unit_mm)
