"""Upload: a reader's files on their way from the browser, in a folder that goes when they have been read."""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from tempfile import TemporaryDirectory
from typing import Any

from gatescope.loaders import ClipError

MAX_BYTES = 200_000_000  # of all files together


class Upload:
    """Files whose names and sizes are known, filled piece by piece.

    Raises ClipError for more than MAX_BYTES, or a name that is none of a file's.
    """

    def __init__(self, files: Sequence[Mapping[str, Any]]):
        self.missing = sum(int(file["size"]) for file in files)  # bytes
        self.size = self.missing
        if not files:
            raise ClipError("no file came: drop a video, or pictures")
        if self.size > MAX_BYTES:
            raise ClipError(
                f"{self.size / 1e6:,.0f} MB came, and at most {MAX_BYTES // 1_000_000} MB can: cut or shrink the clip, "
                "or choose its path on the kernel's machine instead"
            )
        # What a browser calls a name may lead elsewhere.
        names = [PureWindowsPath(PurePosixPath(str(file["name"])).name).name for file in files]
        for name in names:
            if name in ("", ".", "..") or "\0" in name or len(name.encode("utf-8", "replace")) > 200:
                raise ClipError("the file's name is no name, or longer than 200 letters: rename it")
        if len(set(names)) < len(names):
            raise ClipError("two files of one name came: rename one of them")
        self._folder = TemporaryDirectory(prefix="clip-", ignore_cleanup_errors=True)
        self.files = [Path(self._folder.name) / name for name in names]
        for file in self.files:
            file.touch()

    def take(self, place: int, piece: bytes | memoryview) -> None:
        """The next bytes of a file, and none that were not announced."""
        self.missing -= len(piece)
        if self.missing < 0:
            raise ClipError("more bytes came than the files have: drop them again")
        with open(self.files[place], "ab") as file:
            file.write(piece)

    def remove(self) -> None:
        """Remove the files, wherever they are on their way."""
        self._folder.cleanup()


def shown(name: str) -> str:
    """A name from outside as part of a line: nothing unprintable, and its direction of writing ends where it does."""
    return f"\u2068{''.join(letter if letter.isprintable() else ' ' for letter in name)}\u2069"
