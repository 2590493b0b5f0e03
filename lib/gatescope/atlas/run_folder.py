"""The folder of a run: it goes when the run ends, and with the next run if it was killed."""

import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout


@contextmanager
def folder_of_a_run(parent: Path, prefix: str) -> Iterator[Path]:
    """Yield a new folder in `parent` whose name begins so; it goes when the block ends, and those of killed runs too.

    A process holds the lock beside its folder for as long as it lives.
    """
    _remove_dead(parent, prefix)
    folder = parent / (prefix + secrets.token_hex(4))
    try:
        with FileLock(_lock_of(folder)):
            folder.mkdir()
            yield folder
    finally:
        # What a killed run had started may have written for another second: this is the second try.
        _remove_dead(parent, prefix)


def _remove_dead(parent: Path, prefix: str) -> None:
    for lock in parent.iterdir():
        if not re.fullmatch(rf"\.{re.escape(prefix)}[0-9a-f]{{8}}\.lock", lock.name):
            continue
        folder = parent / lock.stem[1:]
        with suppress(Timeout), FileLock(lock, timeout=0):
            shutil.rmtree(folder, ignore_errors=True)
            if not folder.exists():
                lock.unlink(missing_ok=True)


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.lock")
