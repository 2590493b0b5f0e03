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
    """Yield a new folder in `parent` whose name begins so; it goes when the block ends.

    Folders of runs that were killed go first: a process holds the lock beside its folder for as long as it lives.
    """
    for lock in parent.iterdir():
        if re.fullmatch(rf"\.{re.escape(prefix)}[0-9a-f]{{8}}\.lock", lock.name):
            with suppress(Timeout), FileLock(lock, timeout=0):
                shutil.rmtree(parent / lock.stem[1:], ignore_errors=True)
                lock.unlink(missing_ok=True)
    name = prefix + secrets.token_hex(4)
    lock = parent / f".{name}.lock"
    with FileLock(lock):
        try:
            (parent / name).mkdir()
            yield parent / name
        finally:
            shutil.rmtree(parent / name, ignore_errors=True)
            lock.unlink(missing_ok=True)
