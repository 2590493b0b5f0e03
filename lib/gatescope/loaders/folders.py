"""VideoClips: videos and folders of frames as people keep them: listed, in a table, or in folders of classes."""

import operator
import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from gatescope.loaders.clip import Clip
from gatescope.loaders.errors import ListError, MissingClipError, access_errors
from gatescope.loaders.frames import IMAGE_SUFFIXES
from gatescope.loaders.layouts import SPLITS, Row, read_table, split_named
from gatescope.loaders.lists import ClipList, Entry, read_entries
from gatescope.loaders.reading import read_clip
from gatescope.loaders.sampling import Choose

# Names of videos that a folder may hold beside other files.
CLIP_SUFFIXES = (
    *(".3gp", ".avi", ".dv", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts"),
    *(".mxf", ".ogv", ".ts", ".webm", ".wmv"),
)
TABLE_SUFFIXES = (".csv", ".tsv", ".txt")
_OBTAIN = "write a table of path,label with a line for each clip"


class VideoClips(ClipList):
    """Video files and folders of frames, as `read_clip` takes them: by their paths, in a folder, or in a table.

    `paths` is a sequence of paths; or a folder of clips, with a sub-folder for each class or without, and folders
    `train`, `valid` and `test` above or below those or without; or a table, CSV, with columns for path, label and
    split, the latter two if they are known. Paths in a table are relative to it, and lead below its folder unless
    `outside`.

    `labels` belong to a sequence of paths: 0-based class indices, or names. Where classes have names, `clips.labels`
    holds them in the order of their indices, which is that of the names over all splits. `split` takes one split's
    clips, and must be given where there are several. `layout` says what was found. See `ClipList` for `strict`.

    Raises ValueError if labels are not as many as paths, negative, or a split must be chosen; ClipError if there is
    no clip, clips lie both beside and in the folders of classes, a class's name is no text or looks like another's, or
    all labels of a table are numbers but not all whole and from 0.
    """

    def __init__(
        self,
        paths: Sequence[str | Path] | str | Path,
        labels: Sequence[int | str] | None = None,
        *,
        split: str | None = None,
        strict: bool = True,
        outside: bool = False,
    ):
        self.labels: tuple[str, ...] = ()
        split = split and split_named(split)
        if not isinstance(paths, str | os.PathLike):
            given = [paths] if isinstance(paths, bytes) or not hasattr(paths, "__len__") else paths
            if wrong := [each for each in given if not isinstance(each, str | os.PathLike)]:
                raise ValueError(f"VideoClips takes a path, or a list of paths; got {type(wrong[0]).__name__}")
            if split is not None:
                raise ValueError("split is for a folder or a table; of a sequence, give the split's paths")
            self.layout = "paths"
            super().__init__(self._labelled(paths, labels), [], strict=strict)
            return self._check_names("paths")
        if labels is not None:
            raise ValueError(f"labels belong to a sequence of paths; got one path, {paths}: put it in a list")
        if paths == "":
            raise ValueError("the path is empty; name a folder of videos, or a table")
        path = Path(os.path.expanduser(paths))
        entries, skipped = find_clips(path, strict=strict)
        self.layout = "a folder of clips" if path.is_dir() else f"clips listed in {path.name}"
        splits = [part for part in SPLITS if any(part == of for of, _ in entries)]
        if splits and split is None:
            raise ValueError(f"{path} has the splits {', '.join(splits)}; name one, as split={splits[0]!r}")
        if split is not None and split not in splits:
            raise ListError(f"has no split {split}; it has {', '.join(splits) or 'none'}", path=path)
        self.labels = tuple(sorted({entry.name for _, entry in entries if entry.name is not None}))
        self.layout += f", {len(self.labels)} classes" if self.labels else ""
        index = {name: label for label, name in enumerate(self.labels)}
        entries = [
            replace(entry, label=index[entry.name]) if entry.name is not None else entry
            for part, entry in entries
            if part == split
        ]
        # What lies in a folder, the reader has put there; what a table names, perhaps another.
        within = None if outside or path.is_dir() else path.parent
        super().__init__(entries, skipped, strict=strict, within=within)
        self._check_names(path)

    def _check_names(self, path: object) -> None:
        # A folder may be called by bytes that are no text, which neither a card nor a page can hold.
        if bad := next((name for name in self.labels if not name or not name.isprintable()), None):
            raise ListError(f"the class's name {bad!a} is no text; rename it", path=path)
        seen: dict[str, str] = {}
        for name in self.labels:
            if (other := seen.setdefault(" ".join(unicodedata.normalize("NFC", name).split()), name)) is not name:
                reason = f"two classes look the same, {other!a} and {name!a}; write both in one way, or rename one"
                raise ListError(reason, path=path)

    def _labelled(self, paths: Sequence[str | Path], labels: Sequence[int | str] | None) -> list[Entry]:
        if labels is not None and len(labels) != len(paths):
            raise ValueError(f"labels must be as many as paths; got {len(labels)} for {len(paths)} paths")
        names: list[str | None] = [None] * len(paths)
        if labels is None:
            labels = names
        elif any(isinstance(label, str) for label in labels):
            if not all(isinstance(label, str) for label in labels):
                raise ValueError("labels must be all names, or all 0-based class indices; got both")
            self.labels, names = tuple(sorted(set(labels))), list(labels)
            labels = [self.labels.index(label) for label in labels]
        else:
            if wrong := [label for label in labels if isinstance(label, bool) or operator.index(label) < 0]:
                raise ValueError(f"labels must be 0-based class indices, or names; got {wrong[0]!r}")
            labels = [operator.index(label) for label in labels]
        return [
            Entry(folder=Path(path).parent, file=Path(path).name, line=line, label=label, name=name)
            for line, (path, label, name) in enumerate(zip(paths, labels, names, strict=True), start=1)
        ]

    def read(self, entry: Entry, choose: Choose | None = None) -> Clip:
        """Return the clip of an entry, or as `sampled`; raise ClipError if its content is bad."""
        return replace(read_clip(entry.path, choose=choose), label=entry.label, name=entry.name)


def find_clips(path: Path, *, strict: bool = True) -> tuple[list[tuple[str | None, Entry]], list[tuple[str, str]]]:
    """Return the split and the entry of every clip in a folder or a table, and the lines of the table left out.

    An entry has its class's name, or in a table without names its label.
    """
    if not path.is_dir():
        if path.suffix.lower() not in TABLE_SUFFIXES:
            raise ValueError(f"{path} is neither a folder nor a table of paths, .csv; a single video: put it in a list")
        return _table(path, strict)
    found = list(_clips_in(path))
    if not found:
        raise MissingClipError("holds no clip, neither a video nor a folder of frames; name another", path=path)
    shared = cache(Path)
    return [
        (part, Entry(folder=shared(clip.parent), file=clip.name, line=line, label=None, name=name))
        for line, (part, name, clip) in enumerate(found, start=1)
    ], []


def is_clip(path: Path) -> bool:
    """Return whether a path is a video by its name, or a folder with frames in it."""
    if path.is_dir():
        inside = _visible(path)
        return any(each.suffix.lower() in IMAGE_SUFFIXES for each in inside) and not any(map(_is_video, inside))
    return _is_video(path)


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in CLIP_SUFFIXES and path.is_file()


def _visible(folder: Path) -> list[Path]:
    with access_errors(folder):
        return sorted(each for each in folder.iterdir() if not each.name.startswith("."))


def _clips_in(folder: Path) -> Iterator[tuple[str | None, str | None, Path]]:
    """Yield the split, the class and the path of every clip in a folder, as far as it has splits and classes."""
    if is_clip(folder):
        yield None, None, folder
        return
    for part, inside in _by_split(folder):
        clips, others = _divided(inside)
        classes = {each: list(_inside_class(each)) for each in others}
        if any(classes.values()) and not all(classes.values()):
            empty = next(each for each, found in classes.items() if not found)
            raise ListError("holds no clip though folders beside it do; fill it, or move it away", path=empty)
        classes = {each: found for each, found in classes.items() if found}
        if clips and classes:
            reason = f"holds clips, as {clips[0].name}, beside folders of clips, as {next(iter(classes)).name}"
            raise ListError(f"{reason}; move either away", path=inside)
        yield from ((part, None, clip) for clip in clips)
        for each, found in classes.items():
            yield from ((part or below, each.name, clip) for below, clip in found)


def _by_split(folder: Path) -> list[tuple[str | None, Path]]:
    aliases = {alias: split for split, names in SPLITS.items() for alias in names}
    parts = [(aliases.get(each.name.lower()), each) for each in _visible(folder) if each.is_dir()]
    found = [(part, each) for part, each in parts if part is not None and not is_clip(each)]
    return found or [(None, folder)]


def _divided(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the clips in a folder and its other folders."""
    inside = _visible(folder)
    clips = [each for each in inside if is_clip(each)]
    return clips, [each for each in inside if each.is_dir() and each not in set(clips)]


def _inside_class(folder: Path) -> Iterator[tuple[str | None, Path]]:
    for part, inside in _by_split(folder):
        for clip in _divided(inside)[0]:
            yield part, clip


def _table(path: Path, strict: bool) -> tuple[list[tuple[str | None, Entry]], list[tuple[str, str]]]:
    rows = list(read_table(path, _OBTAIN))
    odd = [row for row in rows if row.label and not re.fullmatch(r"\d{1,9}", row.label, re.ASCII)]
    has_names = bool(odd)
    # As names they would be classes in the order of their texts, 10.0 before 2.0.
    if odd and all(map(_is_number, (row.label for row in rows if row.label))):
        reason = f"labels are names, or whole numbers from 0 as 7 is one; got {odd[0].shown}"
        raise ListError(reason, path=path, line=odd[0].line)
    shared = cache(Path)
    parts: dict[tuple[Path, str], str | None] = {}

    def parse(row: Row) -> Entry:
        if not row.path or row.label == "" or row.split == "":
            reason = f"must have as many cells as the others, none empty; got {row.shown}"
            raise ListError(reason, path=path, line=row.line)
        try:
            part = row.split and split_named(row.split)
        except ValueError as error:
            raise ListError(str(error), path=path, line=row.line) from error
        file = path.parent / os.path.expanduser(row.path.replace("\\", "/"))
        label = int(row.label) if row.label and not has_names else None
        name = row.label if has_names else None
        parts[shared(file.parent), file.name] = part
        return Entry(folder=shared(file.parent), file=file.name, line=row.line, label=label, name=name)

    entries, skipped = read_entries(path, rows, parse, obtain=_OBTAIN, strict=strict)
    return [(parts[entry.folder, entry.file], entry) for entry in entries], skipped


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
