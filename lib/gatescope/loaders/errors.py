"""What can be wrong with a clip or a list: every error names the file, the line and what to do about it."""

from pathlib import Path


class ClipError(ValueError):
    """A clip or a list that cannot be used; `path` and `line` say where, `reason` says why.

    One message as the only positional argument, so that it survives the way from a worker process.
    """

    def __init__(self, reason: str, *, path: Path | str | None = None, line: int | None = None):
        where = "" if path is None else f"{path}: " if line is None else f"{path}, line {line}: "
        super().__init__(where + reason)
        self.reason, self.path, self.line = reason, path, line


class DamagedClipError(ClipError):
    """A clip whose file is there but is not whole, or is not what its name says."""


class OversizedClipError(ClipError):
    """A clip too large to be decoded with care; refused before its memory is asked for."""


class MissingClipError(ClipError, FileNotFoundError):
    """A file, a folder or a frame that is not there."""


class ClipAccessError(ClipError, PermissionError):
    """A file or folder that is there and may not be read."""


class ListError(ClipError):
    """A line of a list or of a labels file that cannot be understood or believed."""
