"""Reading of a reader's clip: dropped files or a path, 16-bit depth too, without waiting for a decoder."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from threading import Thread
from time import monotonic
from typing import TypeVar

from PIL import Image

from gatescope.explorer.upload import printable
from gatescope.loaders import Clip, ClipError, read_clip
from gatescope.loaders.frames import IMAGE_SUFFIXES, numbered_frames

PATIENCE_S = 0.2  # between two reports on a clip that is being read

Result = TypeVar("Result")


def read_dropped(files: Sequence[Path]) -> Clip:
    """Read the clip in a video, or in pictures in a folder of their own; its source is the file's name.

    Raises ClipError with the name that the reader knows, not the temporary path.
    """
    first, folder = files[0], files[0].parent
    pictures = all(file.suffix.lower() in IMAGE_SUFFIXES for file in files) and not is_animation(first)
    name = f"{len(files)} pictures" if pictures else first.name
    if len(files) > 1 and not pictures:
        raise ClipError(f"{len(files)} files arrived: drop one video, or the pictures that make up one clip")
    try:
        if pictures and is_depth(folder):
            return replace(read_depth(folder), source=name)
        return replace(read_clip(folder if pictures else first), source=name)
    except ClipError as error:
        where = Path(error.path or folder)
        reason = error.reason.replace(f"{folder}/", "").replace(str(folder), name)
        raise ClipError(f"{printable(name if where == folder else where.name)}: {printable(reason)}") from None


def is_animation(file: Path) -> bool:
    """Return whether a file is a picture that moves, as APNG and animated WebP do."""
    try:
        with Image.open(file) as image:
            return getattr(image, "is_animated", False)
    except OSError:
        return False


def is_depth(folder: Path) -> bool:
    """Return whether a folder holds 16-bit frames, by its first one; False for whatever is no folder of frames."""
    try:
        with Image.open(next(iter(numbered_frames(folder).values()))) as image:
            return image.mode.startswith("I")
    except (ClipError, OSError):
        return False


def read_depth(folder: Path) -> Clip:
    """Read a folder of 16-bit frames with a unit of 1 mm: in another unit the clip's depth is a multiple."""
    return read_clip(folder, depth_unit_mm=1.0)


def waited_for(work: Callable[[], Result], report: Callable[[str], None]) -> Result:
    """Return what `work` returns, and report while it goes on: the report may raise, and nobody waits any longer.

    A decoder cannot be interrupted. It ends in a thread of its own, and what it returns then is dropped.
    """
    done: Future = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except Exception as error:  # raised again where it is waited for
            done.set_exception(error)

    begun = monotonic()
    Thread(target=run, name="decoding", daemon=True).start()
    while True:
        try:
            return done.result(PATIENCE_S)
        except TimeoutError:
            if done.done():
                raise
            report(f"reading the clip for {monotonic() - begun:.0f} s")
