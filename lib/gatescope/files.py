"""Atomic writes, checksums, and the files of the library."""

import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gatescope.paths import LIBRARY

CODE = (".py", ".js", ".css", ".mplstyle", ".j2")
PACKAGES = ("gatescope", "rendered_people")


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary file beside `path`, which replaces `path` when the block ends without an error.

    The data reach the disk before the name does: a reader finds the old file or the whole new one, also after a crash.
    If the block raises, the temporary file is removed and `path` stays as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{path.suffix}")
    # Not tempfile's, which only its owner may read: who may is the umask's to say.
    temporary.touch(exist_ok=False)
    try:
        yield temporary
        put_in_place(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def put_in_place(temporary: Path, path: Path) -> None:
    """Rename a whole file to `path` beside it; the data reach the disk before the name does."""
    _sync(temporary)
    os.replace(temporary, path)
    _sync(path.parent)


def is_plain_name(name: object) -> bool:
    """Return True for the name of a file in some folder; False for one that leads out of it, or below it."""
    return isinstance(name, str) and name not in ("", ".", "..") and Path(name).name == name


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_files(paths: Iterable[Path], relative_to: Path) -> str:
    """Return one SHA-256 over many files' relative names and bytes, the same in any order."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(f"{path.relative_to(relative_to).as_posix()}\0{sha256_of(path)}\n".encode())
    return digest.hexdigest()


def library_files() -> list[Path]:
    """Return every file of the library's code, sorted."""
    return sorted(path for package in PACKAGES for path in (LIBRARY / package).rglob("*") if path.suffix in CODE)


def code_digest() -> str:
    """Return a hash of the whole library's code; unlike a commit's, it changes only with the code."""
    return sha256_of_files(library_files(), LIBRARY)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
