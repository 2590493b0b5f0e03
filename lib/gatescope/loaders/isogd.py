"""IsoGDClips: ChaLearn IsoGD, as videos or as decoded frames."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import islice
from pathlib import Path

from gatescope.loaders.clip import MODALITIES, Clip
from gatescope.loaders.errors import ListError, MissingClipError, check_one_of
from gatescope.loaders.flow import with_flow
from gatescope.loaders.layouts import Row, find_files, find_holder, folders_below, read_lines, split_named
from gatescope.loaders.lists import ClipList, Entry, read_entries
from gatescope.loaders.packed import Pack
from gatescope.loaders.reading import read_clip
from gatescope.loaders.sampling import Choose

ISOGD_NUM_CLASSES = 249
ISOGD_FPS = 10.0  # of the recordings; the decoded frames do not state it
OBTAIN = "see data/isogd/README.md for how to obtain it"
_COUNT = r"(\d{1,9})"


class IsoGDClips(ClipList):
    """ChaLearn IsoGD's clips, as distributed or as frames decoded by the authors' recipe.

    As distributed: `<split>_list.txt` with lines `train/001/M_00001.avi train/001/K_00001.avi 26`, labels 1 to 249;
    in a test list 0 or nothing means no label, and so in a validation list that has no label at all, as those of the
    challenge's first phase. Decoded: `<split>_rgb_list.txt` and `<split>_depth_list.txt` with lines `folder framecount
    label`, labels 0 to 248, frames `%06d.jpg` from 1 or 0. If both are present, the decoded form is read. The label
    index is 0 to 248. Lists and clips may lie one or two folders below the root (`IsoGD_phase_1`), the lists may have
    tabs, backslashes and Windows' line ends. `layout` says what was found.

    What a list names lies below the root, or is refused; with `outside=True`, absolute paths lead anywhere. Modality
    "depth" gives the grey pictures of the depth recording as frames; the data hold no millimetres. Modality "flow"
    gives the RGB clip with flow estimated by OpenCV and kept in the cache (`with_flow`). See `ClipList` for `strict`
    and `skipped`.
    """

    labels = tuple(str(label) for label in range(1, ISOGD_NUM_CLASSES + 1))  # the classes have numbers for names

    def __init__(
        self,
        root: str | Path,
        split: str = "valid",
        modality: str = "rgb",
        *,
        strict: bool = True,
        outside: bool = False,
    ):
        self.root, self.split, self.modality = Path(root), split_named(split), modality
        check_one_of("modality", modality, MODALITIES)
        lists = isogd_lists(self.root, self.split, modality)
        if not lists:
            raise MissingClipError(f"is missing; {OBTAIN}", path=self.root / f"{self.split}_list.txt")
        self.list, self.decoded = lists[0]
        self._leads_anywhere, self._shared = outside, cache(Path)
        rows = list(_rows(self.list))
        if pack := Pack.at(self.root):
            self.base = self.root
        else:
            names = [row.text.split(" ")[0] for row in rows]
            above = [self.list.parent, self.root]
            self.base = find_holder(folders_below(self.root), names, above, listed=self.list)
        parse = self._parse_decoded if self.decoded else self._parse_distributed
        entries, skipped = read_entries(self.list, rows, parse, obtain=OBTAIN, strict=strict)
        super().__init__(entries, skipped, strict=strict, within=None if outside else self.root, pack=pack)
        del self._shared  # only while the list is read
        bare = [entry for entry in entries if entry.label is None]
        if self.split == "valid" and len(bare) < len(entries):
            for entry in bare:
                reason = "has no label though other lines do; fetch the list again"
                self._fault(ListError(reason, path=self.list, line=entry.line))
            self.entries = [entry for entry in self.entries if entry.label is not None]

    @property
    def layout(self) -> str:
        """What was found where, in one phrase."""
        listed = self.list.relative_to(self.root).as_posix()
        form = "decoded frames" if self.decoded else "videos"
        packed = "" if self._pack is None else ", packed"
        return f"IsoGD, {form} listed in {listed}{packed}"

    def packed_name(self, entry: Entry) -> str:
        """Return a clip's name in a pack; raise ValueError if it lies outside the root."""
        return entry.path.relative_to(self.root).as_posix()

    def packed_lists(self, entries: Sequence[Entry]) -> dict[str, str]:
        """Return the list of a pack that holds these clips, as a text by its file name."""
        lines = [f"{self.packed_name(entry)} {entry.num_frames} {entry.label}\n" for entry in entries]
        return {self.list.name: "".join(lines)}

    def _parse_distributed(self, row: Row) -> Entry:
        match = re.fullmatch(rf"(\S+/)M_(\d+)\.avi +(\S+/)K_(\d+)\.avi(?: +{_COUNT})?", row.text, re.ASCII)
        if not match or match[1] != match[3] or match[2] != match[4]:
            reason = f"must be 'folder/M_n.avi folder/K_n.avi label' with one folder and one n; got {row.shown}"
            raise ListError(reason, path=self.list, line=row.line)
        number, kind = int(match[5] or 0), "K" if self.modality == "depth" else "M"
        label = None if number == 0 and self.split != "train" else self._label(number, 1, row)
        return self._entry(f"{match[1]}{kind}_{match[2]}.avi", row, label)

    def _parse_decoded(self, row: Row) -> Entry:
        match = re.fullmatch(rf"(\S+) +{_COUNT} +{_COUNT}", row.text, re.ASCII)
        if not match or int(match[2]) == 0:
            reason = f"must be 'folder framecount label' with one frame or more; got {row.shown}"
            raise ListError(reason, path=self.list, line=row.line)
        return self._entry(match[1], row, self._label(int(match[3]), 0, row), int(match[2]))

    def _entry(self, name: str, row: Row, label: int | None, num_frames: int | None = None) -> Entry:
        path = self.base / name
        if ".." in path.parts and not self._leads_anywhere:
            reason = f"{name!r} leads out of the data set; move the clip, or pass outside=True if you trust the list"
            raise ListError(reason, path=self.list, line=row.line)
        return Entry(
            folder=self._shared(path.parent),
            file=path.name,
            line=row.line,
            label=label,
            name=None if label is None else self.labels[label],
            num_frames=num_frames,
        )

    def _label(self, number: int, first: int, row: Row) -> int:
        last = first + ISOGD_NUM_CLASSES - 1
        if not first <= number <= last:
            raise ListError(f"the label must be {first} to {last}; got {row.shown}", path=self.list, line=row.line)
        return number - first

    def read(self, entry: Entry, choose: Choose | None = None) -> Clip:
        """Return the clip of an entry, or as `sampled`; raise ClipError if its content is bad."""
        if self.modality == "flow":
            choose = None  # which is between neighbours
        if self.decoded:
            clip = self._read_numbered(entry, ISOGD_FPS, choose)
        else:
            clip = replace(read_clip(entry.path, choose=choose), label=entry.label, name=entry.name)
        return with_flow(clip) if self.modality == "flow" else clip


def isogd_lists(root: Path, split: str, modality: str = "rgb") -> list[tuple[Path, bool]]:
    """Return the lists of a split below a root, and whether they name decoded frames; the likeliest first.

    Of several lists of videos, as of two phases of the challenge, those that begin with a label come first.
    """
    try:
        folders = folders_below(root)
    except MissingClipError:
        return []
    decoded = find_files(folders, [f"{split}_{'depth' if modality == 'depth' else 'rgb'}_list.txt"])
    videos = [path for path in find_files(folders, [f"{split}_list.txt", f"{split}.txt"]) if _names_videos(path)]
    videos.sort(key=lambda path: not any(re.search(r"\.avi +0*[1-9]\d*$", row.text) for row in islice(_rows(path), 1)))
    return [*((path, True) for path in decoded), *((path, False) for path in videos)]


def _rows(path: Path) -> Iterator[Row]:
    """The lines of a list that are not blank, with / and single spaces."""
    for number, text in enumerate(read_lines(path, OBTAIN), start=1):
        if plain := re.sub(r"[ \t]+", " ", text.replace("\\", "/")):
            yield Row(line=number, text=plain, path=None, label=None, split=None)


def _names_videos(path: Path) -> bool:
    return path.name.endswith("_list.txt") or any(".avi" in row.text for row in islice(_rows(path), 1))
