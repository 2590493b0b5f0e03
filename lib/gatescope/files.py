"""Files that can be read without waiting, atomic writes, checksums, and the files of the library."""

import errno
import hashlib
import os
import secrets
import stat
import warnings
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from gatescope.paths import LIBRARY

LOCK = ".lock"  # in a folder that a process of ours holds or held
CODE = (".py", ".js", ".css", ".mplstyle", ".j2")
PACKAGES = ("gatescope", "rendered_people")


def status(path: str | Path) -> os.stat_result:
    """Return the status of a file or folder, behind links.

    Raises FileNotFoundError where there is none, also for a path that nothing can have (a NUL in it, too long, links
    in a circle), and another OSError where it cannot be told.
    """
    try:
        return os.stat(path)
    except ValueError as error:
        raise FileNotFoundError(errno.EINVAL, f"is no path that a file can have ({error})", str(path)) from error
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENAMETOOLONG):
            raise FileNotFoundError(error.errno, error.strerror, str(path)) from error
        raise


def regular_file(path: str | Path) -> Path:
    """Return the path, if a regular file is there: a pipe, a socket or a device could be waited for without end.

    Raises FileNotFoundError for these too, IsADirectoryError for a folder, and what `status` raises.
    """
    mode = status(path).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise FileNotFoundError(errno.ENXIO, "is a pipe, a socket or a device, where a file is needed", str(path))
    return Path(path)


def read_bytes(path: str | Path, most: int) -> bytes:
    """Return the bytes of a regular file; raises what `regular_file` does, and ValueError for more than `most`."""
    with regular_file(path).open("rb") as file:
        if os.fstat(file.fileno()).st_size <= most and len(content := file.read()) <= most:
            return content
    raise ValueError(f"{path} holds more than {most:,} bytes, the most that is read of such a file")


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary file beside `path`, which replaces `path` when the block ends without an error.

    The data reach the disk before the name does: a reader finds the old file or the whole new one, also after a crash.
    If the block raises, the temporary file is removed and `path` stays as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{path.suffix}")
    # With the rights that the umask leaves, which a file made by `tempfile` would not have.
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666))
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


def check_own(folder: Path, names: Iterable[str]) -> None:
    """Raise ValueError if a folder in which no process of ours ever worked holds files of these names already.

    Also if it is or lies below what is no folder, and can be none.
    """
    there = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    if not there.is_dir():
        raise ValueError(f"{there} is no folder, and one is needed here; name another")
    if not (folder / LOCK).exists() and (found := [name for name in names if os.path.lexists(folder / name)]):
        raise ValueError(f"{folder} holds {found[0]}, which would be replaced or removed; name a new folder")


@contextmanager
def held(folder: Path, names: Iterable[str]) -> Iterator[None]:
    """Make a folder and hold it for one process within the block, which writes and removes files of these names.

    Raises ValueError as `check_own` does, RuntimeError if another process holds it.
    """
    from filelock import FileLock, Timeout  # the doctor reads files where no package is

    check_own(folder, names)
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:
            stack.enter_context(FileLock(folder / LOCK, timeout=0))
        except Timeout:
            raise RuntimeError(f"another process works in {folder}; wait for it or name another folder") from None
        yield


def temporary_of(name: str) -> str:
    """Return the expression that matches the names of the temporary files of `atomic_write` for files so called."""
    return rf"\.(?:{name})\.[0-9a-f]{{8}}(?:\.\w+)?"


def warn_not_kept(folder: Path, error: OSError) -> None:
    """Warn that what `folder` would have kept is in memory only."""
    lost = "it stays in memory and is made anew by the next process; make room there or name another folder"
    warnings.warn(f"nothing more is kept in {folder} ({error.strerror or error}): {lost}", stacklevel=3)


def is_plain_name(name: object) -> bool:
    """Return True for the name of a file in some folder; False for one that leads out of it, or below it."""
    return isinstance(name, str) and name not in ("", ".", "..") and Path(name).name == name


def sha256_of(path: str | Path) -> str:
    """Return the SHA-256 of a regular file's bytes, in hexadecimal."""
    with regular_file(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_contents(path: Path) -> str:
    """Return one SHA-256 of what a path holds: a file's bytes, or the names and bytes of all files in a folder."""
    return sha256_of_files(files_in(path), path)


def files_in(path: Path) -> list[Path]:
    """Return all regular files below a folder, sorted, also behind links, but no hidden ones; of a file itself.

    A folder that links lead to more than once counts once, or the way might never end.
    """
    found, seen, waiting = [], set(), [path]
    while waiting:
        here = waiting.pop()
        about = here.stat()
        if stat.S_ISREG(about.st_mode):
            found.append(here)
        elif stat.S_ISDIR(about.st_mode) and (about.st_dev, about.st_ino) not in seen:
            seen.add((about.st_dev, about.st_ino))
            # Links that lead nowhere hold nothing. In reverse order, so that the first name is the next.
            inside = sorted((each for each in here.iterdir() if each.exists()), reverse=True)
            waiting += [each for each in inside if not each.name.startswith(".")]
    return sorted(found)


def sha256_of_files(paths: Iterable[Path], relative_to: Path) -> str:
    """Return one SHA-256 over many files' relative names and bytes, the same in any order."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(os.fsencode(f"{path.relative_to(relative_to).as_posix()}\0{sha256_of(path)}\n"))
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
