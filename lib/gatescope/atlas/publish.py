"""Transactions on files: all of them change together or, after an error or a kill, none."""

import glob
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from gatescope.files import atomic_write


def publish(files: Mapping[Path, Path | None], undo: Path) -> None:
    """Copy each new file to its target, or remove the target where the new file is None: all or nothing.

    Old targets are first copied to the folder `undo`, and a list of them is written last. An error takes every step
    back before it is raised; after a kill, `recover(undo)` does. One caller at a time.
    """
    recover(undo)
    try:
        _keep(files, undo)
        for target, new in files.items():
            if new is None:
                target.unlink(missing_ok=True)
            else:
                with atomic_write(target) as temporary:
                    shutil.copyfile(new, temporary)
    except BaseException:
        recover(undo)
        raise
    # Once the list is gone, nothing is taken back: the new files stand.
    (undo / "list.json").unlink()
    shutil.rmtree(undo)


def recover(undo: Path) -> None:
    """Undo a publish that was killed; does nothing after one that ended."""
    listed = undo / "list.json"
    if listed.exists():
        for name, kept in json.loads(listed.read_text()).items():
            target = Path(name)
            for half_written in target.parent.glob(f".{glob.escape(target.name)}.*"):
                half_written.unlink()
            if kept is None:
                target.unlink(missing_ok=True)
            elif (undo / kept).exists():  # else a recovery that was killed has put it back
                # A rename needs no space, so a full disk cannot stop it.
                os.replace(undo / kept, target)
        listed.unlink()
    shutil.rmtree(undo, ignore_errors=True)


def _keep(files: Mapping[Path, Path | None], undo: Path) -> None:
    undo.mkdir(parents=True)
    kept: dict[str, str | None] = {}
    for index, target in enumerate(files):
        kept[str(target)] = str(index) if target.exists() else None
        if target.exists():
            with atomic_write(undo / str(index)) as temporary:
                shutil.copyfile(target, temporary)
    with atomic_write(undo / "list.json") as temporary:
        temporary.write_text(json.dumps(kept))
