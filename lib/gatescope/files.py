"""Files that survive: atomic writes and checksums, used by everything that writes."""

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gatescope.paths import LIBRARY

CODE = (".py", ".js", ".css", ".mplstyle", ".j2")
PACKAGES = ("gatescope", "rendered_people")


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` to write to; it takes the place of `path` when the block ends well.

    The data reach the disk before the name does, so that a reader, also after a crash, finds either the old
    file or the whole new one. If the block raises, the temporary file is removed and `path` stays as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        # mkstemp gives 0600; a tracked file should be as readable as any other.
        temporary.chmod(0o644)
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_files(paths: Iterable[Path], relative_to: Path) -> str:
    """One SHA-256 over many files' relative names and bytes, whatever order they come in."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(f"{path.relative_to(relative_to).as_posix()}\0{sha256_of(path)}\n".encode())
    return digest.hexdigest()


def library_files() -> list[Path]:
    """Every file of the library's code, sorted."""
    return sorted(path for package in PACKAGES for path in (LIBRARY / package).rglob("*") if path.suffix in CODE)


def code_digest() -> str:
    """A hash of the whole library's code; a commit's would change with every commit."""
    return sha256_of_files(library_files(), LIBRARY)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
