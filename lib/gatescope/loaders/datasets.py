"""JesterClips, IsoGDClips, VideoClips: clips in the layouts that the data sets have on disk."""

import operator
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gatescope.loaders.clip import MODALITIES, Clip
from gatescope.loaders.errors import ListError, MissingClipError, check_one_of
from gatescope.loaders.flow import with_flow
from gatescope.loaders.frames import IMAGE_SUFFIXES
from gatescope.loaders.lists import ClipList, Entry, read_entries, read_lines
from gatescope.loaders.reading import read_clip
from gatescope.paths import ROOT
from rendered_people.labels import JESTER_LABELS

JESTER_FPS = 12.0
ISOGD_NUM_CLASSES = 249
ISOGD_FPS = 10.0  # of the recordings; the decoded frames do not state it
_JESTER_LISTS = {"train": "train", "valid": "validation", "test": "test"}
_JESTER_OBTAIN = "see data/jester/README.md for how to obtain it"
_ISOGD_OBTAIN = "see data/isogd/README.md for how to obtain it"


class JesterClips(ClipList):
    """Jester's clips, or any set in its layout: `20bn-jester-v1/<id>/00001.jpg ...` and `jester-v1-*.csv`.

    A label's index is its line in the root's `jester-v1-labels.csv` or, if that file is absent, its place in
    `JESTER_LABELS`. A contradiction between labels and list raises even if not strict, since then no index can be
    trusted. Frame numbers must run from 1 without a gap; if not strict, a clip with gaps (a widespread copy has them)
    keeps the frames it has and the gap is reported. See `ClipList` for `strict` and `skipped`.
    """

    def __init__(self, root: str | Path, split: str = "train", *, strict: bool = True):
        self.root = Path(root)
        check_one_of("split", split, _JESTER_LISTS)
        self.labels = read_labels(self.root / "jester-v1-labels.csv")
        index = {name: label for label, name in enumerate(self.labels)}
        path = self.root / f"jester-v1-{_JESTER_LISTS[split]}.csv"
        unknown = {}

        def parse(text: str, line: int) -> Entry:
            number, separator, name = text.partition(";")
            if not re.fullmatch("[0-9]+", number) or bool(separator) == (split == "test"):
                form = "id" if split == "test" else "id;label name"
                raise ListError(f"must be '{form}'; got {text!r}", path=path, line=line)
            if separator and name not in index:
                unknown[line] = name
                raise ListError(f"{name!r} is none of the {len(index)} labels", path=path, line=line)
            folder = self.root / "20bn-jester-v1" / number
            return Entry(path=folder, line=line, label=index.get(name), name=name or None)

        entries, skipped = read_entries(path, parse, obtain=_JESTER_OBTAIN, strict=strict)
        unused = set(self.labels) - {entry.name for entry in entries}
        if unknown and unused:
            line, name = next(iter(unknown.items()))
            reason = f"{name!r} is no label while no clip has {sorted(unused)[0]!r}: list or labels file is damaged, "
            raise ListError(f"{reason}so no label's index can be trusted; fetch both again", path=path, line=line)
        super().__init__(entries, skipped, strict=strict)

    def _read(self, entry: Entry) -> Clip:
        return self._read_numbered(entry, JESTER_FPS)


class IsoGDClips(ClipList):
    """ChaLearn IsoGD's clips, as distributed or as frames decoded by the authors' recipe.

    As distributed: `<split>_list.txt` with lines `train/001/M_00001.avi train/001/K_00001.avi 26`, labels 1 to 249;
    in a test list 0 or nothing means no label. Decoded: `<split>_rgb_list.txt` and `<split>_depth_list.txt` with lines
    `folder framecount label`, labels 0 to 248, folders relative to the root or absolute, frames `%06d.jpg` from 1. If
    both are present, the decoded form is read. The label index is 0 to 248.

    Modality "depth" gives the grey pictures of the depth recording as frames; the data hold no millimetres. Modality
    "flow" gives the RGB clip with flow estimated by OpenCV and kept in the cache (`with_flow`). See `ClipList` for
    `strict` and `skipped`.
    """

    def __init__(self, root: str | Path, split: str = "valid", modality: str = "rgb", *, strict: bool = True):
        self.root, self.split, self.modality = Path(root), split, modality
        check_one_of("split", split, ("train", "valid", "test"))
        check_one_of("modality", modality, MODALITIES)
        self._list = self.root / f"{split}_{'depth' if modality == 'depth' else 'rgb'}_list.txt"
        parse = self._parse_decoded
        if not os.path.exists(self._list):
            self._list, parse = self.root / f"{split}_list.txt", self._parse_distributed
        entries, skipped = read_entries(self._list, parse, obtain=_ISOGD_OBTAIN, strict=strict)
        super().__init__(entries, skipped, strict=strict)

    def _parse_distributed(self, text: str, line: int) -> Entry:
        match = re.fullmatch(r"(\S+/)M_(\d+)\.avi\s+(\S+/)K_(\d+)\.avi(?:\s+(\d+))?", text, re.ASCII)
        if not match or match[1] != match[3] or match[2] != match[4]:
            reason = f"must be 'folder/M_n.avi folder/K_n.avi label' with one folder and one n; got {text!r}"
            raise ListError(reason, path=self._list, line=line)
        number, kind = int(match[5] or 0), "K" if self.modality == "depth" else "M"
        path = self._inside(f"{match[1]}{kind}_{match[2]}.avi", line)
        has_label = number > 0 or self.split != "test"
        return Entry(path=path, line=line, label=self._label(number, 1, text, line) if has_label else None)

    def _parse_decoded(self, text: str, line: int) -> Entry:
        match = re.fullmatch(r"(\S+)\s+(\d+)\s+(\d+)", text, re.ASCII)
        if not match or int(match[2]) == 0:
            reason = f"must be 'folder framecount label' with one frame or more; got {text!r}"
            raise ListError(reason, path=self._list, line=line)
        path, label = self._inside(match[1], line), self._label(int(match[3]), 0, text, line)
        return Entry(path=path, line=line, label=label, num_frames=int(match[2]))

    def _inside(self, name: str, line: int) -> Path:
        if ".." in Path(name).parts:
            reason = f"{name!r} leads out of the data set; write it without '..'"
            raise ListError(reason, path=self._list, line=line)
        return self.root / name

    def _label(self, number: int, first: int, text: str, line: int) -> int:
        last = first + ISOGD_NUM_CLASSES - 1
        if not first <= number <= last:
            raise ListError(f"the label must be {first} to {last}; got {text!r}", path=self._list, line=line)
        return number - first

    def _read(self, entry: Entry) -> Clip:
        if entry.num_frames is None:
            clip = replace(read_clip(entry.path), label=entry.label)
        else:
            clip = self._read_numbered(entry, ISOGD_FPS)
        return with_flow(clip) if self.modality == "flow" else clip


class VideoClips(ClipList):
    """Video files and folders of frames anywhere, as `read_clip` takes them; see `ClipList` for `strict`.

    Raises ValueError if `labels` (0-based class indices) are not as many as `paths`, or negative.
    """

    def __init__(self, paths: Sequence[str | Path], labels: Sequence[int] | None = None, *, strict: bool = True):
        if isinstance(paths, str | Path):
            raise ValueError(f"paths must be a sequence of paths; got one, {paths}: put it in a list")
        labels = [None] * len(paths) if labels is None else [operator.index(label) for label in labels]
        if len(labels) != len(paths):
            raise ValueError(f"labels must be as many as paths; got {len(labels)} for {len(paths)} paths")
        if any(label is not None and label < 0 for label in labels):
            raise ValueError(f"labels must be 0-based class indices; got {min(labels)}")
        named = enumerate(zip(paths, labels, strict=True), start=1)
        entries = [Entry(path=Path(path), line=line, label=label) for line, (path, label) in named]
        super().__init__(entries, [], strict=strict)

    def _read(self, entry: Entry) -> Clip:
        return replace(read_clip(entry.path), label=entry.label)


def read_labels(path: Path) -> tuple[str, ...]:
    """Read the names in a labels file, a label's index being its line; `JESTER_LABELS` if the file is absent.

    Raises ListError if a line is blank, no text, or repeats another: every later index would be in doubt.
    """
    try:
        lines = read_lines(path, _JESTER_OBTAIN)
    except MissingClipError:
        return JESTER_LABELS
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise ListError(f"names no label; {_JESTER_OBTAIN}", path=path)
    for number, name in enumerate(lines, start=1):
        if not name.isprintable() or "\ufffd" in name or not name:
            reason = f"must be a label's name; got {name!r}; fetch the file again"
            raise ListError(reason, path=path, line=number)
        if name in lines[: number - 1]:
            raise ListError(f"{name!r} is there twice; fetch the file again", path=path, line=number)
    return tuple(lines)


def recorded(clips: str | Path) -> VideoClips | JesterClips | IsoGDClips:
    """Open the clips at a path: the root of Jester or IsoGD, a video, a folder of frames, or a folder of either.

    A relative path begins at the top of the repository. Of several clips, unusable ones are left out.

    Raises FileNotFoundError if the path does not exist.
    """
    path = ROOT / Path(clips).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; name a video, a folder of frames or videos, or a data set")
    if path.is_file():
        return VideoClips([path])
    if lists := sorted(path.glob("jester-v1-*.csv")):
        has_valid = (path / "jester-v1-validation.csv") in lists
        return JesterClips(path, "valid" if has_valid else "train", strict=False)
    if list(path.glob("valid_*list.txt")):
        return IsoGDClips(path, "valid", strict=False)
    inside = sorted(child for child in path.iterdir() if not child.name.startswith("."))
    frames = any(child.suffix.lower() in IMAGE_SUFFIXES for child in inside)
    return VideoClips([path] if frames else inside, strict=False)
