"""read_clip: a Clip from a video file, a folder of frames or an array."""

import re
import struct
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Shaped
from PIL import Image

from gatescope.loaders.clip import Clip, depth_to_grey
from gatescope.loaders.errors import (
    ClipAccessError,
    ClipError,
    DamagedClipError,
    MissingClipError,
    OversizedClipError,
    access_errors,
)
from gatescope.loaders.packed import PackedFrame
from gatescope.loaders.video import MAX_CLIP_BYTES, MAX_FRAME_PIXELS, VIDEO_SUFFIXES, read_video

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
DEFAULT_FPS = 12.0  # Jester's, for frames without a rate of their own

# All that Pillow raises over a damaged JPEG or PNG.
_IMAGE_ERRORS = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, struct.error, zlib.error)


def read_clip(path: str | Path | Shaped[np.ndarray, "..."], depth_unit_mm: float | None = None) -> Clip:
    """Read a clip from a video file, a folder of frames, or an array.

    Video: mkv, webm, mp4, mov, avi or gif; `read_video` says which damage is noticed. Folder: jpg and png files,
    ordered by the last number in each name (2 before 10); other and hidden files are ignored, gaps in the numbers
    allowed. 16-bit grey PNGs are depth; 0 is no reading. Array: uint8 (T, H, W, 3) in RGB or (T, H, W) in grey;
    uint16 (T, H, W) is depth, as in a folder. Folders and arrays get `DEFAULT_FPS`;
    `dataclasses.replace(clip, fps=30)` gives another. `depth_unit_mm` is the millimetres
    per unit of a 16-bit frame (1 for Kinect, 0.125 for Intel's SR305).

    Raises a ClipError that names the file: missing, damaged, not accessible, too large, depth without its unit or a
    unit without depth. Raises ValueError if an array has another shape or type.
    """
    if isinstance(path, np.ndarray):
        return _clip_from(path, "array", depth_unit_mm)
    path = Path(path)
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
    except OSError as error:
        raise ClipAccessError(f"cannot be accessed ({error.strerror}); check the path", path=path) from error
    if is_folder:
        return _clip_from(read_frames(list(numbered_frames(path).values())), str(path), depth_unit_mm)
    if not is_file:
        raise MissingClipError("is missing, or is neither a file nor a folder; check the path", path=path)
    if path.suffix.lower() not in VIDEO_SUFFIXES:
        reason = f"is no video by its name; give one of {', '.join(VIDEO_SUFFIXES)}, or a folder of frames"
        raise DamagedClipError(reason, path=path)
    if depth_unit_mm is not None:
        raise ClipError("depth_unit_mm is for 16-bit frames; this is a video: leave it out", path=path)
    with access_errors(path), path.open("rb"):
        frames, fps = read_video(path)
    return Clip(frames=frames, fps=fps or DEFAULT_FPS, source=str(path))


def numbered_frames(folder: Path) -> dict[int, Path]:
    """Return the frame files of a folder by the last number in their names, in that order; at least one.

    Raises ClipError if the folder is missing, not accessible or without frames, or a frame has no number of its own.
    """
    with access_errors(folder, missing="is no folder of frames; check the path"):
        files = [
            file for file in folder.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".")
        ]
    numbered: dict[int, Path] = {}
    for file in files:
        numbers = re.findall(r"\d+", file.stem, re.ASCII)
        if not numbers:
            raise DamagedClipError("the frame has no number in its name; rename or move it", path=file)
        other = numbered.setdefault(int(numbers[-1]), file)
        if other is not file:
            raise DamagedClipError(f"has the same number as {other.name}; keep one of the two", path=file)
    if not numbered:
        raise MissingClipError(f"the folder holds no frame ({', '.join(IMAGE_SUFFIXES)})", path=folder)
    return dict(sorted(numbered.items()))


def read_frames(files: Sequence[Path | PackedFrame]) -> Shaped[np.ndarray, "time ..."]:
    """Decode and stack image files: (T, H, W, 3) uint8, or (T, H, W) uint16 if they are 16-bit grey.

    Raises a ClipError that names the file: missing, damaged, too large, or unlike the first in size or depth.
    """
    frames = []
    for file in files:
        frame = _read_image(file)
        if frames and (frame.shape, frame.dtype) != (frames[0].shape, frames[0].dtype):
            reason = f"is {frame.shape} {frame.dtype}, {files[0].name} {frames[0].shape} {frames[0].dtype}"
            raise DamagedClipError(reason, path=file)
        frames.append(frame)
        if frame.nbytes * len(files) > MAX_CLIP_BYTES:
            reason = f"{len(files)} frames like this exceed {MAX_CLIP_BYTES >> 20} MiB; give fewer or smaller"
            raise OversizedClipError(reason, path=file)
    return np.stack(frames)


def _read_image(file: Path | PackedFrame) -> Shaped[np.ndarray, "height width ..."]:
    try:
        if not file.is_file():
            raise MissingClipError("the frame is missing or no file; fetch the clip again", path=file)
        with warnings.catch_warnings():
            # Pillow warns from 89 million pixels on; far smaller pictures are refused here, before decoding.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with _opened(file) as image:
                if image.width * image.height > MAX_FRAME_PIXELS:
                    raise Image.DecompressionBombError(f"{image.width} x {image.height}")
                if image.format == "JPEG":
                    return np.asarray(image.convert("RGB"))
                image.verify()  # checks PNG's checksums, which decoding does not; the image must be reopened
        with _opened(file) as image:
            deep = image.mode.startswith("I")
            return np.asarray(image, dtype=np.uint16) if deep else np.asarray(image.convert("RGB"))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        reason = f"the picture exceeds {MAX_FRAME_PIXELS} pixels ({error}); scale it down"
        raise OversizedClipError(reason, path=file) from error
    except ClipError:
        raise
    except PermissionError as error:
        raise ClipAccessError("the frame may not be read; ask for access to it", path=file) from error
    except _IMAGE_ERRORS as error:
        raise DamagedClipError(f"the picture does not decode ({error}); fetch it again", path=file) from error


def _opened(file: Path | PackedFrame) -> Image.Image:
    return Image.open(file if isinstance(file, Path) else file.open(), formats=("JPEG", "PNG"))


def _clip_from(frames: Shaped[np.ndarray, "..."], source: str, depth_unit_mm: float | None) -> Clip:
    if frames.dtype == np.uint16 and frames.ndim == 3:
        if depth_unit_mm is None or not depth_unit_mm > 0:
            raise ClipError(
                "holds 16-bit depth: give depth_unit_mm, the millimetres per unit (1 for Kinect, 0.125 for "
                f"Intel's SR305); got {depth_unit_mm}",
                path=source,
            )
        depth = frames.astype(np.float32) * np.float32(depth_unit_mm)
        grey = np.repeat(depth_to_grey(depth)[..., None], 3, axis=-1)
        return Clip(frames=grey, depth=depth, fps=DEFAULT_FPS, source=source)
    if depth_unit_mm is not None:
        reason = f"depth_unit_mm is for 16-bit frames; these are {frames.shape} {frames.dtype}: leave it out"
        raise ClipError(reason, path=source)
    if frames.dtype == np.uint8 and frames.ndim == 3:
        if frames.shape[2] in (3, 4):
            raise ValueError(f"an array of {frames.shape} reads as one colour frame; give (time, height, width, 3)")
        frames = np.repeat(frames[..., None], 3, axis=-1)
    return Clip(frames=frames, fps=DEFAULT_FPS, source=source)
