"""ClipList: clips named by a list, read when asked for, with a report of what was left out."""

import itertools
import operator
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from gatescope.loaders.clip import Clip
from gatescope.loaders.errors import (
    ClipAccessError,
    ClipError,
    DamagedClipError,
    ListError,
    MissingClipError,
)
from gatescope.loaders.frames import numbered_frames, read_frames
from gatescope.loaders.layouts import Row
from gatescope.loaders.packed import Pack, PackedFrame
from gatescope.loaders.sampling import Choose

_TRUST = "if you trust whom the data come from, pass outside=True"


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One clip of a list: about 200 bytes, since folder and class name are shared by many."""

    folder: Path
    file: str  # in the folder: a file, or itself a folder of frames
    line: int  # in the list that names it, from 1
    label: int | None  # 0-based class index
    name: str | None = None  # the class's name
    num_frames: int | None = None  # where the list states it

    @property
    def path(self) -> Path:
        """The clip's file, or its folder of frames."""
        return self.folder / self.file


class ClipList(ABC):
    """Clips named by a list file, decoded only when indexed or iterated over.

    `strict=True` raises a `ClipError` at the first fault: faults of the list and missing clips when the list is read
    (folders are listed, no clip is opened), faults of a clip's content when the clip is read. `strict=False` leaves
    faulty clips out and records them in `skipped`, pairs of (where, reason). Iterating skips a clip whose content is
    bad; indexing raises. `check` reads every clip once and drops the unusable ones; after it every index works. Call
    it before handing the clips to worker processes, which report faults to their own copy only.

    A list comes from others: whatever it names must lie below `within`, also behind links, unless that is None.
    """

    def __init__(
        self,
        entries: list[Entry],
        skipped: list[tuple[str, str]],
        *,
        strict: bool,
        within: Path | None = None,
        pack: Pack | None = None,
    ):
        self.strict = strict
        self.skipped = skipped if pack is None else [*skipped, *pack.left_out.get(self.list.name, [])]
        self._known = set(self.skipped)
        self._within = within and Path(os.path.realpath(within))
        self._pack = pack
        self.entries = self._present(entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> Clip:
        return self.read(self.entries[operator.index(index)])

    def sampled(self, index: int, choose: Choose) -> Clip:
        """Return a clip of the frames that `choose` takes, the others unopened where that can be; or all of them."""
        return self.read(self.entries[operator.index(index)], choose)

    def __iter__(self) -> Iterator[Clip]:
        return (clip for _, clip in self._usable())

    def check(self) -> list[tuple[str, str]]:
        """Read every clip, drop the unusable ones from the list, and return all that was skipped."""
        self.entries = [entry for entry, _ in self._usable()]
        return self.skipped

    def frames_of(self, entry: Entry) -> dict[int, Path] | dict[int, PackedFrame]:
        """Return the files of a folder of frames by their numbers, unread.

        Raises ClipError if there is none, one has no number of its own, or leads out of the data set.
        """
        if self._pack is not None:
            return self._pack.frames(entry.path)
        numbered = numbered_frames(entry.path)
        for file in numbered.values():
            if file.is_symlink() and self._leads_out(file):
                raise ListError(f"leads to a file outside {self._within}; {_TRUST}", path=file)
        return numbered

    def faults_of(self, entry: Entry, numbers: Iterable[int]) -> tuple[range, list[ClipError]]:
        """Return the numbers that the frames of a clip should have, from 0 or 1, and what is wrong with those it has.

        The last is the highest there is, unless the list states how many there are.
        """
        numbers = set(numbers)
        stated = entry.num_frames
        first = 0 if 0 in numbers and stated not in numbers else 1
        wanted = range(first, first + stated if stated else max(numbers) + 1)
        # A range may be of any length: names may hold dates, and lists any count.
        surplus, faults = sum(number not in wanted for number in numbers), []
        length = wanted.stop - wanted.start
        if missing := length - len(numbers) + surplus:
            lost = next(number for number in itertools.count(first) if number not in numbers)
            reason = f"{missing} of {length} frames are missing, the first is {lost}; fetch the clip again"
            faults.append(MissingClipError(reason, path=entry.path))
        if surplus:
            reason = f"holds {surplus} frames outside {first} to {wanted[-1]}; remove them or mend the list"
            faults.append(DamagedClipError(reason, path=entry.path))
        return wanted, faults

    def _usable(self) -> Iterator[tuple[Entry, Clip]]:
        for entry in list(self.entries):
            try:
                clip = self.read(entry)
            except ClipError as error:
                self._fault(error)
            else:
                yield entry, clip

    @abstractmethod
    def read(self, entry: Entry, choose: Choose | None = None) -> Clip:
        """Return the clip of an entry, or as `sampled`; raise ClipError if its content is bad."""

    def _read_numbered(self, entry: Entry, fps: float, choose: Choose | None) -> Clip:
        """Read a folder of colour frames numbered from 0 or 1, as many as the list states, if it states a number."""
        numbered = self.frames_of(entry)
        numbers, faults = self.faults_of(entry, numbered)
        for fault in faults:
            self._fault(fault)
        wanted = [file for number, file in numbered.items() if number in numbers]
        if not wanted:
            reason = f"holds no frame numbered {numbers[0]} to {numbers[-1]}; fetch the clip again"
            raise MissingClipError(reason, path=entry.path)
        frames = read_frames(wanted, chosen=choose and choose(len(wanted), None))
        if frames.ndim != 4:
            raise DamagedClipError("holds 16-bit pictures where colour ones were expected", path=entry.path)
        return Clip(frames=frames, fps=fps, source=str(entry.path), label=entry.label, name=entry.name)

    def _fault(self, error: ClipError) -> None:
        if self.strict:
            raise error
        fault = as_skipped(error)
        if fault not in self._known:
            self._known.add(fault)
            self.skipped.append(fault)

    def _present(self, entries: list[Entry]) -> list[Entry]:
        """Return the entries whose file or folder exists where it may; each parent folder is listed once."""

        @cache
        def listed(folder: Path) -> dict[str, bool] | ClipAccessError | None:
            try:
                if self._leads_out(folder):
                    return None
                with os.scandir(folder) as children:
                    return {child.name: child.is_symlink() for child in children}
            except (FileNotFoundError, NotADirectoryError):
                return {}
            except PermissionError:
                return ClipAccessError("may not be listed; ask for access to it", path=folder)
            except OSError as error:
                return ClipAccessError(f"cannot be listed ({error.strerror}); check the path", path=folder)

        present = []
        for entry in entries:
            if self._pack is not None:
                found, is_link = entry.path in self._pack, False
            elif isinstance(listing := listed(entry.folder), ClipAccessError):
                self._fault(listing)
                continue
            elif listing is None:
                found = is_link = True
            else:
                found, is_link = entry.file in listing, listing.get(entry.file)
            if not found:
                reason = f"is missing, though line {entry.line} of its list names it; fetch it, or pass strict=False"
                self._fault(MissingClipError(reason, path=entry.path))
            elif is_link and self._leads_out(entry.path):
                reason = f"lies outside {self._within}, though line {entry.line} of its list names it; {_TRUST}"
                self._fault(ListError(reason, path=entry.path))
            else:
                present.append(entry)
        return present

    def _leads_out(self, path: Path) -> bool:
        return self._within is not None and not Path(os.path.realpath(path)).is_relative_to(self._within)


def read_entries(
    path: Path, rows: Iterable[Row], parse: Callable[[Row], Entry], *, obtain: str, strict: bool
) -> tuple[list[Entry], list[tuple[str, str]]]:
    """Return the entries of a list's rows and, if not strict, the lines skipped.

    Raises ClipError if the file cannot be read, or (strict) `parse` refuses a line.
    """
    entries, skipped = [], []
    for row in rows:
        try:
            if not row.text.replace("\t", " ").isprintable() or "\ufffd" in row.text:
                raise ListError(f"holds bytes that are no text: {row.shown}", path=path, line=row.line)
            entries.append(parse(row))
        except ListError as error:
            if strict:
                raise
            skipped.append(as_skipped(error))
    if not entries and not skipped:
        raise ListError(f"names no clip; {obtain}", path=path)
    lines: dict[tuple[str, str], list[int]] = {}
    real = cache(os.path.realpath)  # one folder may have many names
    for entry in entries:
        lines.setdefault((real(entry.folder), entry.file), []).append(entry.line)
    # Of a clip named more than once, it is unknown which line is right.
    repeated = {clip: same for clip, same in lines.items() if len(same) > 1}
    for (folder, file), same in repeated.items():
        reason = f"names {Path(folder, file)} also in line {', '.join(map(str, same[:-1]))}; keep the right one"
        error = ListError(reason, path=path, line=same[-1])
        if strict:
            raise error
        skipped.append(as_skipped(error))
    return [entry for entry in entries if (real(entry.folder), entry.file) not in repeated], skipped


def as_skipped(error: ClipError) -> tuple[str, str]:
    """Return the place and the reason, as `ClipList.skipped` holds them."""
    return str(error.path) if error.line is None else f"{error.path}, line {error.line}", error.reason
