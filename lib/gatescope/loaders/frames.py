"""Read the pictures of a folder, in the order of their names, into one array."""

import os
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Shaped
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from gatescope.loaders.errors import (
    ClipAccessError,
    ClipError,
    DamagedClipError,
    MissingClipError,
    OversizedClipError,
    access_errors,
)
from gatescope.loaders.frame_order import numbered
from gatescope.loaders.limits import (
    MAX_CLIP_BYTES,
    MAX_FRAME_PIXELS,
    MAX_PICTURE_BYTES,
    MAX_SCANS,
    check_count,
    check_frame,
    fitted_size,
)

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF")
_SUBFILE_TYPE = 254  # a tag of TIFF
_DEPTH_BYTES = 12  # of a pixel at the peak: as read, in mm, sorted for its percentiles, in grey

# All that Pillow raises over a damaged picture.
_IMAGE_ERRORS = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, struct.error, zlib.error)


@runtime_checkable
class Picture(Protocol):
    """A file with a picture, on disk or in a pack."""

    name: str

    def is_file(self) -> bool:
        """Whether it is there."""

    def open(self, mode: str) -> BinaryIO:
        """Return it opened."""


def numbered_frames(folder: Path) -> dict[int, Path]:
    """Return the frame files of a folder, at least one, by their numbers and in that order: see `numbered`.

    Raises ClipError if the folder is missing, not accessible or without frames, or the names give no one order.
    """
    with access_errors(folder, missing="is no folder of frames; check the path"):
        files = [
            file for file in folder.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".")
        ]
    if not files:
        raise MissingClipError(f"the folder holds no frame ({', '.join(IMAGE_SUFFIXES)})", path=folder)
    return numbered(files)


def read_frames(
    files: Sequence[Picture],
    size: int | None = None,
    faults: list[DamagedClipError] | None = None,
    chosen: Sequence[int] | None = None,
) -> Shaped[np.ndarray, "time ..."]:
    """Decode image files into one array: (T, H, W, 3) uint8, or (T, H, W) uint16 if they are 16-bit grey.

    Turned and mirrored as their EXIF orientation says. Colour is scaled to `fitted_size`; depth keeps its size. With a
    list for `faults`, damaged files are left out and their errors put there. With `chosen` come the frames of these
    numbers, ascending, at the size that they have among all; no other file is opened.

    Raises a ClipError that names the file: missing, damaged, too large, or unlike the first in size or depth.
    """
    check_count(len(files), str(files[0]))
    taken, places = np.unique(range(len(files)) if chosen is None else chosen, return_inverse=True)
    frames, first, count = np.empty(0, np.uint8), None, 0
    for file in [files[number] for number in taken]:
        try:
            frame, own = _read_image(file, len(files), size)
            if first is None:
                frames, first = np.empty((len(taken), *frame.shape), frame.dtype), (own, frame.dtype)
            elif (own, frame.dtype) != first:
                reason = f"is {own} {frame.dtype}, {files[taken[0]].name} {first[0]} {first[1]}"
                raise DamagedClipError(reason, path=str(file))
        except DamagedClipError as error:
            if faults is None:
                raise
            faults.append(error)
            continue
        frames[count] = frame
        count += 1
    if not count:
        raise DamagedClipError(f"none of {len(files)} frames decodes; fetch them again", path=str(files[0]))
    return frames[:count] if chosen is None or count < len(taken) else frames[places]


def picture_size(file: Picture) -> tuple[int, int]:
    """Return the height and width that a picture is shown at."""
    with opened_picture(file) as image:
        return image.size if _is_turned(image) else image.size[::-1]


def _read_image(
    file: Picture, num_frames: int, size: int | None
) -> tuple[Shaped[np.ndarray, "height width ..."], tuple[int, int]]:
    """Return a picture at the size that so many are read at, and the height and width that it is shown at."""
    with opened_picture(file) as image:
        if image.format != "PNG":
            return _decoded(image, file, num_frames, size)
        image.verify()  # its checksums, which decoding does not check; the image must be reopened
    with opened_picture(file) as image:
        return _decoded(image, file, num_frames, size)


def _decoded(
    image: Image.Image, file: Picture, num_frames: int, size: int | None
) -> tuple[Shaped[np.ndarray, "height width ..."], tuple[int, int]]:
    is_turned, is_deep = _is_turned(image), image.mode.startswith("I")
    own = image.size[::-1] if is_turned else image.size
    if image.mode == "F":
        raise DamagedClipError("holds floats; give pictures of 8 bits, or 16 for depth", path=str(file))
    if is_deep:
        if size is not None:
            raise ClipError("holds 16-bit depth, which is not scaled: leave size out", path=str(file))
        if image.width * image.height * num_frames * _DEPTH_BYTES > MAX_CLIP_BYTES:
            reason = f"{num_frames} frames of depth like this exceed {MAX_CLIP_BYTES >> 20} MiB; give fewer or smaller"
            raise OversizedClipError(reason, path=str(file))
        ImageOps.exif_transpose(image, in_place=True)
        values = np.asarray(image)
        if values.min() < 0 or values.max() > np.iinfo(np.uint16).max:
            raise DamagedClipError(f"depth must be 0 to 65535; got {values.min()} to {values.max()}", path=str(file))
        return values.astype(np.uint16), own[::-1]
    fitted = fitted_size(*own, num_frames, size, str(file))
    if fitted != own:
        image.draft("RGB", fitted[::-1] if is_turned else fitted)  # JPEG decodes at an eighth to a half in less time
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode == "P":
        image = image.convert("RGBA")  # Pillow warns of palettes with transparency
    picture = image.convert("RGB")
    if picture.size != fitted:
        picture = picture.resize(fitted, Image.Resampling.BILINEAR)
    return np.asarray(picture), own[::-1]


def _is_turned(image: Image.Image) -> bool:
    """Return whether EXIF says that width and height change places, which in TIFF they have done already."""
    return image.format != "TIFF" and image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)


@contextmanager
def opened_picture(file: Picture, *, moves: bool = False) -> Iterator[Image.Image]:
    """Open a picture of an allowed size; errors while it is open become ClipErrors that name it.

    It must be one picture, unless it `moves`.
    """
    try:
        if not file.is_file():
            raise MissingClipError("the frame is missing or no file; fetch the clip again", path=str(file))
        with warnings.catch_warnings(), file.open("rb") as content:
            # Pillow warns from 89 million pixels on; far smaller pictures are refused here, before decoding.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            # A viewer shows a picture whose tags cannot be read, and Pillow's note on them does not name it.
            warnings.filterwarnings("ignore", ".*(EXIF|Metadata)", UserWarning, r"PIL\.TiffImagePlugin")
            if content.seek(0, os.SEEK_END) > MAX_PICTURE_BYTES:
                reason = f"the file exceeds {MAX_PICTURE_BYTES >> 20} MiB; save the picture again"
                raise OversizedClipError(reason, path=str(file))
            content.seek(0)
            with Image.open(content, formats=_FORMATS) as image:
                check_frame(image.width, image.height, str(file))
                if image.info.get("progressive") and _num_scans(content) > MAX_SCANS:
                    reason = f"the picture has more than {MAX_SCANS} scans; save it again"
                    raise OversizedClipError(reason, path=str(file))
                if not moves and _holds_more(image):
                    reason = "holds more than one picture; give a file for each frame, or a video"
                    raise DamagedClipError(reason, path=str(file))
                yield image
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        reason = f"the picture exceeds {MAX_FRAME_PIXELS} pixels ({error}); scale it down"
        raise OversizedClipError(reason, path=str(file)) from error
    except ClipError:
        raise
    except PermissionError as error:
        raise ClipAccessError("the frame may not be read; ask for access to it", path=str(file)) from error
    except _IMAGE_ERRORS as error:
        reason = "it is no picture" if isinstance(error, UnidentifiedImageError) else error
        raise DamagedClipError(f"the picture does not decode ({reason}); fetch it again", path=str(file)) from error


def _holds_more(image: Image.Image) -> bool:
    """Return whether a file holds a second picture that is none of the first at another size."""
    if image.format != "TIFF":
        return image.format in ("PNG", "WEBP") and getattr(image, "is_animated", False)
    try:
        image.seek(1)
    except EOFError:
        return False
    is_reduced = image.tag_v2.get(_SUBFILE_TYPE, 0) & 1
    image.seek(0)
    return not is_reduced


def _num_scans(jpeg: BinaryIO) -> int:
    """Count a JPEG's scans, those of a small picture inside it too; leave the file where it stands."""
    place = jpeg.tell()
    jpeg.seek(0)
    count = jpeg.read().count(b"\xff\xda")  # which no data of a scan can hold
    jpeg.seek(place)
    return count
