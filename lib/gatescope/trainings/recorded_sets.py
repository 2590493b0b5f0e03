"""The recorded sets that a description may name: their clips for training and validation, and what their lists say."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sized
from pathlib import Path
from typing import Any

from gatescope.loaders import IsoGDClips, JesterClips
from gatescope.loaders.datasets import RecordedClips
from gatescope.loaders.errors import ListError

RECORDED = {"jester": JesterClips, "isogd": IsoGDClips}
SPLITS = ("train", "valid")


def recorded_splits(*, set: str, root: str | Path, **settings: Any) -> dict[str, RecordedClips]:
    """Return a recorded set's clips by split; what an incomplete copy lacks is left out.

    `set` is one of RECORDED. Raises ClipError if it is not at its root, its lists cannot be read, or a training on it
    would lack something.
    """
    if not isinstance(outside := settings.get("outside", False), bool):
        raise ValueError(f"outside must be true or false, which lets links lead out of the root; got {outside!r}")
    found = {split: RECORDED[set](root, split, **settings, strict=False) for split in SPLITS}
    if obstacles := [reason for split, clips in found.items() for reason in lacking(split, clips)]:
        raise ListError("; ".join(obstacles), path=root)
    return found


def lacking(split: str | None, clips: Sized) -> list[str]:
    """Return what a training needs and the clips of this split lack; None is the name of clips without splits."""
    if not len(clips):
        return [f"there is no clip for {split}, which a training needs"]
    counts = Counter(entry.label for entry in clips.entries)
    if missing := counts.pop(None, 0):
        where = f" for {split}" if split else ""
        return [f"{missing:,} clips{where} have no label; give each one, or leave them out"]
    if split in (None, "train") and len(counts) < 2:
        return [f"there are clips of {len(counts)} class; a training needs two or more"]
    return []


def lists_digest(splits: Mapping[str, RecordedClips]) -> str:
    """Return a hash of the clips in each split with their labels, the same wherever they lie, packed or not."""
    digest = hashlib.sha256()
    for split, clips in splits.items():
        digest.update(f"{split} of {' '.join(map(repr, clips.labels))}\n".encode())
        digest.update("".join(f"{entry.file} {entry.label}\n" for entry in clips.entries).encode())
    return digest.hexdigest()


def described_lists(clips: Mapping[str, Any]) -> str | None:
    """Return the `lists_digest` of the set in a table `clips` of a description; None if it is none, or not here."""
    if clips.get("set") not in RECORDED:
        return None
    try:
        return lists_digest(recorded_splits(**clips))
    except (OSError, ValueError, TypeError):  # a training of it says what is wrong
        return None
