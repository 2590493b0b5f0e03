"""Errors of clips and lists: each names the file, the line and what to do about it."""

import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gatescope.files import status


class ClipError(ValueError):
    """A clip or a list that cannot be used; `path` and `line` say where, `reason` says why.

    `path` is whatever names itself. The message is the only positional argument, so that the error can be pickled in a
    worker process.
    """

    def __init__(self, reason: str, *, path: object = None, line: int | None = None):
        # A name may hold bytes that are no text, and none of them could be printed.
        shown = str(path).encode(errors="backslashreplace").decode()
        where = "" if path is None else f"{shown}: " if line is None else f"{shown}, line {line}: "
        super().__init__(where + reason)
        self.reason, self.path, self.line = reason, path, line


class DamagedClipError(ClipError):
    """A file that is there but incomplete, damaged, or not what its name says."""


class OversizedClipError(ClipError):
    """A clip beyond the size limits; refused before its memory is allocated."""


class MissingClipError(ClipError, FileNotFoundError):
    """A missing file, folder or frame."""


class ClipAccessError(ClipError, PermissionError):
    """A file or folder without permission to read it."""


class ListError(ClipError):
    """A line of a list or of a labels file that cannot be parsed or contradicts another."""


def check_one_of(name: str, value: str, known: Iterable[str]) -> None:
    """Raise ValueError unless the value of the argument `name` is one of the known ones."""
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}; got {value!r}")


@contextmanager
def access_errors(path: Path, *, missing: str = "is missing; check the path") -> Iterator[None]:
    """Turn what the operating system raises when `path` is opened or listed into a ClipError that names it.

    Whoever opens a file takes its path through `gatescope.files.regular_file` first, inside this block.
    """
    try:
        status(path)
        yield
    except ClipError:
        raise
    except (FileNotFoundError, NotADirectoryError) as error:
        known = error.errno in (errno.ENOENT, errno.ENOTDIR)
        raise MissingClipError(missing if known else f"{error.strerror}; check the path", path=path) from error
    except PermissionError as error:
        raise ClipAccessError("may not be read; ask for access to it", path=path) from error
    except IsADirectoryError as error:
        raise DamagedClipError("is a folder where a file was expected; check the path", path=path) from error
    except OSError as error:
        raise ClipAccessError(f"cannot be read ({error.strerror or error}); check its disk", path=path) from error
