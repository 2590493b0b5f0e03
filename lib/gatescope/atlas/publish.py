"""Transactions on files: all of them change together or, after an error or a kill, none."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from gatescope.files import atomic_write, put_in_place, sha256_of


def publish(files: Mapping[Path, Path | None], undo: Path) -> None:
    """Copy each new file to its target, or remove the target where the new file is None: all or nothing.

    Old targets are first copied to the folder `undo`, and a list of them is written last. An error takes every step
    back before it is raised; after a kill, `recover(undo)` does. One caller at a time.
    """
    recover(undo)
    try:
        for step, (target, new) in zip(_keep(files, undo), files.items(), strict=True):
            if new is None:
                target.unlink(missing_ok=True)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                half = target.with_name(Path(step["half"]).name)
                shutil.copyfile(new, half)
                put_in_place(half, target)
    except BaseException:
        recover(undo)
        raise
    # Once the list is gone, nothing is taken back: the new files stand.
    (undo / "list.json").unlink()
    shutil.rmtree(undo)


def recover(undo: Path) -> None:
    """Undo a publish that was killed; does nothing after one that ended.

    A target that is neither the old file nor the new one was changed since by somebody else, and stays.
    """
    listed = undo / "list.json"
    if listed.exists():
        for step in json.loads(listed.read_text("utf-8")):
            # By names, not by what they lead to: the folder above `undo` may be a link to another disk.
            target, half = (Path(os.path.normpath(undo / step[name])) for name in ("target", "half"))
            half.unlink(missing_ok=True)
            if _digest(target) != step["new"]:
                continue  # not yet written, put back by a recovery that was killed, or changed since
            if step["kept"] is None:
                target.unlink(missing_ok=True)
            elif (undo / step["kept"]).exists():
                # A rename needs no space, so a full disk cannot stop it.
                os.replace(undo / step["kept"], target)
        listed.unlink()
    shutil.rmtree(undo, ignore_errors=True)


def _keep(files: Mapping[Path, Path | None], undo: Path) -> list[dict[str, Any]]:
    """Copy the old targets; write and return the steps, with names relative to `undo`: a tree may be copied."""
    undo.mkdir(parents=True)
    token, steps = uuid4().hex, []
    for index, (target, new) in enumerate(files.items()):
        kept = str(index) if target.exists() else None
        if kept is not None:
            with atomic_write(undo / kept) as temporary:
                shutil.copyfile(target, temporary)
        steps.append(
            {
                "target": os.path.relpath(target, undo),
                "half": os.path.relpath(target.with_name(f".{target.name}.{token}"), undo),
                "kept": kept,
                "new": None if new is None else _digest(new),
            }
        )
    with atomic_write(undo / "list.json") as temporary:
        temporary.write_text(json.dumps(steps), "utf-8")
    return steps


def _digest(path: Path) -> str | None:
    return sha256_of(path) if path.exists() else None
