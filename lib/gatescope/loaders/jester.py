"""JesterClips: Jester, or any set in its layouts."""

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

from gatescope.loaders.clip import Clip
from gatescope.loaders.errors import ListError, MissingClipError
from gatescope.loaders.layouts import (
    SPLITS,
    Row,
    find_files,
    find_holder,
    folders_below,
    name_indices,
    read_table,
    spelled,
    split_named,
)
from gatescope.loaders.lists import ClipList, Entry, read_entries
from gatescope.loaders.packed import Pack
from gatescope.loaders.sampling import Choose
from rendered_people.labels import JESTER_LABELS

JESTER_FPS = 12.0
OBTAIN = "see data/jester/README.md for how to obtain it"
_FRAMES = "20bn-jester-v1"
_LABELS = ("jester-v1-labels.csv", *spelled(["labels.csv"]))


class JesterClips(ClipList):
    """Jester's clips, or any set in its layout: `20bn-jester-v1/<id>/00001.jpg ...` and `jester-v1-*.csv`.

    It is read as it is handed round, too: lists with a header, commas, quotes or spaces; `Train.csv` and
    `Train/<id>/`; lists and frames in a sub-folder (`labels`, `20bn-jester-v1/20bn-jester-v1`), or the clips directly
    in the root; frames numbered from 0; or packed by `gatescope pack`. `layout` says what was found.

    A label's index is its line in the labels file or, if there is none, its place in `JESTER_LABELS`. A contradiction
    between labels and list raises even if not strict, since then no index can be trusted. Frame numbers must run from
    0 or 1 without a gap; if not strict, a clip with gaps (a widespread copy has them) keeps the frames it has and the
    gap is reported. A test list may have labels. `outside=True` also reads clips that lie outside the root, behind
    links. See `ClipList` for `strict` and `skipped`.
    """

    def __init__(self, root: str | Path, split: str = "train", *, strict: bool = True, outside: bool = False):
        self.root, self.split = Path(root), split_named(split)
        folders = _folders(self.root)
        labels = find_files(folders, _LABELS)
        self.labels = name_indices(labels[0], OBTAIN) if labels else JESTER_LABELS
        index = {name: label for label, name in enumerate(self.labels)}
        lists = jester_lists(self.root, self.split)
        if not lists:
            raise MissingClipError(f"is missing; {OBTAIN}", path=self.root / f"jester-v1-{SPLITS[self.split][0]}.csv")
        self.list = lists[0]
        unknown = {}

        def parse(row: Row) -> Entry:
            form = "id" if self.split == "test" else "id;label name"
            if not re.fullmatch("[0-9]+", row.path or "") or (self.split != "test" and not row.label):
                raise ListError(f"must be '{form}'; got {row.shown}", path=self.list, line=row.line)
            label = index.get(row.label) if row.label else None
            if row.label and label is None:
                unknown[row.line] = row.label
                raise ListError(f"{row.label!r} is none of the {len(index)} labels", path=self.list, line=row.line)
            # The name from the labels, which all entries then share.
            name = None if label is None else self.labels[label]
            return Entry(folder=self.frames, file=row.path, line=row.line, label=label, name=name)

        rows = list(read_table(self.list, OBTAIN))
        pack = Pack.at(self.root)
        self.frames = self._frames_folder(folders, [row.path for row in rows if row.path], pack)
        entries, skipped = read_entries(self.list, rows, parse, obtain=OBTAIN, strict=strict)
        unused = set(self.labels) - {entry.name for entry in entries}
        if unknown and unused:
            line, name = next(iter(unknown.items()))
            reason = f"{name!r} is no label while no clip has {sorted(unused)[0]!r}: list or labels file is damaged, "
            raise ListError(f"{reason}so no label's index can be trusted; fetch both again", path=self.list, line=line)
        super().__init__(entries, skipped, strict=strict, within=None if outside else self.root, pack=pack)

    @property
    def layout(self) -> str:
        """What was found where, in one phrase."""
        frames = self.frames.relative_to(self.root).as_posix()
        below = "" if frames == "." else f"{frames}/"
        packed = "" if self._pack is None else ", packed"
        return f"Jester, listed in {self.list.relative_to(self.root).as_posix()}, frames in {below}<id>/{packed}"

    def packed_name(self, entry: Entry) -> str:
        """Return a clip's name in a pack."""
        return f"{self.split}/{entry.file}"

    def packed_lists(self, entries: Sequence[Entry]) -> dict[str, str]:
        """Return the lists of a pack that holds these clips, as texts by their file names."""
        text = io.StringIO()
        rows = csv.writer(text, delimiter=";", lineterminator="\n")
        has_labels = any(entry.name for entry in entries)
        rows.writerows([entry.file, entry.name or ""][: 1 + has_labels] for entry in entries)
        return {
            _LABELS[0]: "".join(f"{name}\n" for name in self.labels),
            f"jester-v1-{SPLITS[self.split][0]}.csv": text.getvalue(),
        }

    def _frames_folder(self, folders: list[Path], ids: list[str], pack: Pack | None) -> Path:
        if pack is not None:
            return self.root / self.split
        above = dict.fromkeys([self.root, self.list.parent])
        preferred = [folder / _FRAMES / _FRAMES for folder in above] + [folder / _FRAMES for folder in above]
        preferred += [folder / name for folder in above for name in spelled(SPLITS[self.split])]
        found = find_holder(folders, ids, preferred, listed=self.list)
        # Where no clip is, the layout that the data set's makers chose is missed.
        return self.root / _FRAMES if found == preferred[0] and not found.exists() else found

    def read(self, entry: Entry, choose: Choose | None = None) -> Clip:
        """Return the clip of an entry, or as `sampled`; raise ClipError if its content is bad."""
        return self._read_numbered(entry, JESTER_FPS, choose)


def jester_lists(root: Path, split: str) -> list[Path]:
    """Return the lists of a split below a root in one of Jester's layouts, the likeliest first."""
    folders = _folders(root)
    names = [*(f"jester-v1-{name}.csv" for name in SPLITS[split]), *spelled(f"{name}.csv" for name in SPLITS[split])]
    found = find_files(folders, names)
    # Others keep tables of paths in files of such names.
    return [path for path in found if _begins_with_ids(path)]


def _begins_with_ids(path: Path) -> bool:
    row = next(iter(read_table(path, OBTAIN)), None)
    return path.name.startswith("jester") or (row is not None and (row.path or "").isdecimal())


def _folders(root: Path) -> list[Path]:
    try:
        return folders_below(root)
    except MissingClipError:
        return [root]
