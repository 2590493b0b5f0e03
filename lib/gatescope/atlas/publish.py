"""Transactions on files: all of them change together or, after an error or a kill, none."""

import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from gatescope.files import atomic_write, is_plain_name, put_in_place, sha256_of
from gatescope.formats.facts import read_json

LIST = "list.json"  # of the steps, in the folder `undo`


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
    (undo / LIST).unlink()
    shutil.rmtree(undo)


def recover(undo: Path) -> None:
    """Undo a publish that was killed; does nothing after one that ended.

    A target that is neither the old file nor the new one was changed since by somebody else, and stays.
    """
    for target, half, kept, new in listed_steps(undo):
        half.unlink(missing_ok=True)
        if _digest(target) != new:
            continue  # not yet written, put back by a recovery that was killed, or changed since
        if kept is None:
            target.unlink(missing_ok=True)
        elif (undo / kept).exists():
            # A rename needs no space, so a full disk cannot stop it.
            os.replace(undo / kept, target)
    (undo / LIST).unlink(missing_ok=True)
    shutil.rmtree(undo, ignore_errors=True)


def listed_steps(undo: Path) -> list[tuple[Path, Path, str | None, str | None]]:
    """Return the steps of a publish that was killed: target, half-written file, what was kept of it, the new hash.

    Raises ValueError, and nothing is touched, for a list that no publish wrote: a tree may come from others. Targets
    lie in the folder above that of `undo`.
    """
    if not (undo / LIST).exists():
        return []
    root, steps = Path(os.path.abspath(undo)).parent.parent, []
    try:
        for step in read_json(undo / LIST):
            # By names, not by what they lead to: the folder above `undo` may be a link to another disk.
            target, half = (Path(os.path.abspath(undo / step[name])) for name in ("target", "half"))
            token = half.name.removeprefix(f".{target.name}.")
            own = half.parent == target.parent and re.fullmatch("[0-9a-f]{32}", token) and "\0" not in step["target"]
            if not (own and target.is_relative_to(root) and (step["kept"] is None or is_plain_name(step["kept"]))):
                raise ValueError(f"it names {step['target']!r:.200}")
            steps.append((target, half, step["kept"], step["new"]))
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ValueError(
            f"{undo / LIST} is not what a killed run left ({error}); look at it, then remove {undo}"
        ) from None
    return steps


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
    with atomic_write(undo / LIST) as temporary:
        temporary.write_text(json.dumps(steps), "utf-8")
    return steps


def _digest(path: Path) -> str | None:
    return sha256_of(path) if path.exists() else None
