"""Upload: files that a browser sends piece by piece, in a folder that is removed once they are read."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from tempfile import TemporaryDirectory
from typing import Any

from gatescope.loaders import ClipError
from gatescope.loaders.limits import MAX_FRAMES

MAX_BYTES = 200_000_000  # of all files together


class Upload:
    """Files of known names and sizes, filled piece by piece; `example_of` names the class that they are kept for.

    Raises ClipError for no file, more than MAX_BYTES, or unusable names.
    """

    def __init__(self, files: Sequence[Mapping[str, Any]], example_of: str | None = None):
        if not files:
            raise ClipError("no file arrived: drop a video, or pictures")
        if len(files) > MAX_FRAMES:
            raise ClipError(
                f"{len(files):,} files arrived, at most {MAX_FRAMES:,} make up a clip: cut it to one gesture"
            )
        self.example_of = example_of
        self.size = self.missing = sum(file["size"] for file in files)  # bytes
        if self.size > MAX_BYTES:
            help = "cut or shrink the clip, or give its path on the kernel's machine instead"
            limit = MAX_BYTES // 1_000_000
            raise ClipError(f"the files have {self.size / 1e6:,.0f} MB, the limit is {limit} MB: {help}")
        # A name from a browser may hold a path to elsewhere.
        names = [PureWindowsPath(PurePosixPath(str(file["name"])).name).name for file in files]
        for name in names:
            size = len(name.encode("utf-8", "surrogatepass"))
            if name in ("", ".", "..") or "\0" in name or size > 200 or re.search("[\ud800-\udfff]", name):
                raise ClipError("a file's name is empty, not allowed, or longer than 200 bytes: rename it")
        if len(set(names)) < len(names):
            raise ClipError("two files have the same name: rename one of them")
        self._folder = TemporaryDirectory(prefix="clip-", ignore_cleanup_errors=True)
        self.files = [Path(self._folder.name) / name for name in names]
        for file in self.files:
            file.touch()

    def take(self, place: int, piece: bytes | memoryview) -> None:
        """Append the next bytes of a file; raises ClipError for more bytes than were announced."""
        self.missing -= len(piece)
        if self.missing < 0:
            raise ClipError("more bytes arrived than the files have: drop them again")
        if place >= len(self.files):
            raise ClipError("a piece of an unknown file arrived: drop them again")
        with open(self.files[place], "ab") as file:
            file.write(piece)

    def remove(self) -> None:
        """Remove the files, complete or not."""
        self._folder.cleanup()


def printable(name: str) -> str:
    """Return a name for use in a line: no unprintable characters, its direction of writing isolated from the line's."""
    return f"\u2068{''.join(letter if letter.isprintable() else ' ' for letter in name)}\u2069"
