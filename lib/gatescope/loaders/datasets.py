"""The clips at a path, whatever they are: a data set, a folder, a table, or one recording."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from gatescope.loaders.folders import TABLE_SUFFIXES, VideoClips, find_clips
from gatescope.loaders.isogd import IsoGDClips, isogd_lists
from gatescope.loaders.jester import JesterClips, jester_lists
from gatescope.loaders.layouts import SPLITS
from gatescope.paths import ROOT

RecordedClips = JesterClips | IsoGDClips | VideoClips


def parts_at(path: Path, **settings: Any) -> dict[str | None, Callable[[], RecordedClips]]:
    """Return for each split at a path what opens it, with these settings; None is the name of clips without splits.

    Raises ClipError if there is no clip.
    """
    if path.is_dir():
        for kind, lists in ((JesterClips, jester_lists), (IsoGDClips, isogd_lists)):
            if found := {split: partial(kind, path, split, **settings) for split in SPLITS if lists(path, split)}:
                return found
    elif path.suffix.lower() not in TABLE_SUFFIXES:
        return {None: partial(VideoClips, [path])}
    there = {split for split, _ in find_clips(path, strict=False)[0]}
    return {split: partial(VideoClips, path, split=split, **settings) for split in (*SPLITS, None) if split in there}


def recorded(clips: str | Path) -> RecordedClips:
    """Open the clips at a path: the root of Jester or IsoGD, a video, a folder of frames, a table or a folder of them.

    A relative path begins at the top of the repository. Of a set with splits, those for validation are taken if there
    are any. Of several clips, unusable ones are left out.

    Raises ValueError for an empty path, FileNotFoundError if it does not exist, ClipError if it holds no clip.
    """
    if clips == "":
        raise ValueError("the path is empty; name a video, a folder of frames or videos, or a data set")
    path = ROOT / os.path.expanduser(clips)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; name a video, a folder of frames or videos, or a data set")
    parts = parts_at(path, strict=False)
    return parts.get("valid", next(iter(parts.values())))()
