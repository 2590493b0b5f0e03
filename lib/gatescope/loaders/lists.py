"""ClipList: clips named by a list, read when asked for, with a report of what was left out."""

import itertools
import operator
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
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
    access_errors,
)
from gatescope.loaders.frames import numbered_frames, read_frames


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One clip of a list."""

    path: Path  # a file or a folder of frames
    line: int  # in the list that names it, from 1
    label: int | None  # 0-based class index
    name: str | None = None  # the class's name
    num_frames: int | None = None  # where the list states it


class ClipList(ABC):
    """Clips named by a list file, decoded only when indexed or iterated over.

    `strict=True` raises a `ClipError` at the first fault: faults of the list and missing clips when the list is read
    (folders are listed, no clip is opened), faults of a clip's content when the clip is read. `strict=False` leaves
    faulty clips out and records them in `skipped`, pairs of (where, reason). Iterating skips a clip whose content is
    bad; indexing raises. `check` reads every clip once and drops the unusable ones; after it every index works. Call
    it before handing the clips to worker processes, which report faults to their own copy only.
    """

    def __init__(self, entries: list[Entry], skipped: list[tuple[str, str]], *, strict: bool):
        self.strict = strict
        self.skipped = skipped
        self._known = set(skipped)
        self.entries = _present(entries, self._fault)

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> Clip:
        return self._read(self.entries[operator.index(index)])

    def __iter__(self) -> Iterator[Clip]:
        return (clip for _, clip in self._usable())

    def check(self) -> list[tuple[str, str]]:
        """Read every clip, drop the unusable ones from the list, and return all that was skipped."""
        self.entries = [entry for entry, _ in self._usable()]
        return self.skipped

    def _usable(self) -> Iterator[tuple[Entry, Clip]]:
        for entry in list(self.entries):
            try:
                clip = self._read(entry)
            except ClipError as error:
                self._fault(error)
            else:
                yield entry, clip

    @abstractmethod
    def _read(self, entry: Entry) -> Clip: ...

    def _read_numbered(self, entry: Entry, fps: float) -> Clip:
        """Read a folder of colour frames numbered from 1, as many as the list states, if it states a number."""
        numbered = numbered_frames(entry.path)
        last = entry.num_frames or max(numbered)
        wanted = [file for number, file in numbered.items() if 1 <= number <= last]
        if missing := last - len(wanted):
            first = next(number for number in itertools.count(1) if number not in numbered)
            reason = f"{missing} of {last} frames are missing, the first is {first}; fetch the clip again"
            self._fault(MissingClipError(reason, path=entry.path))
        if surplus := len(numbered) - len(wanted):
            reason = f"holds {surplus} frames outside 1 to {last}; remove them or mend the list"
            self._fault(DamagedClipError(reason, path=entry.path))
        if not wanted:
            raise MissingClipError(f"holds no frame numbered 1 to {last}; fetch the clip again", path=entry.path)
        frames = read_frames(wanted)
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


def read_entries(
    path: Path, parse: Callable[[str, int], Entry], *, obtain: str, strict: bool
) -> tuple[list[Entry], list[tuple[str, str]]]:
    """Return the entries of a list file and, if not strict, the lines skipped. Blank lines are ignored.

    Raises ClipError if the file cannot be read, or (strict) `parse` refuses a line.
    """
    entries, skipped = [], []
    for number, text in enumerate(read_lines(path, obtain), start=1):
        if not text:
            continue
        try:
            if not text.isprintable() or "\ufffd" in text:
                raise ListError(f"holds bytes that are no text: {text!r}", path=path, line=number)
            entries.append(parse(text, number))
        except ListError as error:
            if strict:
                raise
            skipped.append(as_skipped(error))
    if not entries and not skipped:
        raise ListError(f"names no clip; {obtain}", path=path)
    lines: dict[Path, list[int]] = {}
    for entry in entries:
        lines.setdefault(entry.path, []).append(entry.line)
    # Of a clip named more than once, it is unknown which line is right.
    repeated = {clip: same for clip, same in lines.items() if len(same) > 1}
    for clip, same in repeated.items():
        reason = f"names {clip} also in line {', '.join(map(str, same[:-1]))}; keep the right one"
        error = ListError(reason, path=path, line=same[-1])
        if strict:
            raise error
        skipped.append(as_skipped(error))
    return [entry for entry in entries if entry.path not in repeated], skipped


def as_skipped(error: ClipError) -> tuple[str, str]:
    """Return the place and the reason, as `ClipList.skipped` holds them."""
    return str(error.path) if error.line is None else f"{error.path}, line {error.line}", error.reason


def read_lines(path: Path, obtain: str) -> list[str]:
    """Return the lines of a text file without surrounding spaces; bytes that are not UTF-8 become U+FFFD.

    Raises MissingClipError or ClipAccessError if it is missing or may not be read; `obtain` says where to get it.
    """
    with access_errors(path, missing=f"is missing; {obtain}"):
        content = path.read_bytes()
    # Not splitlines: it also breaks at control characters, which would shift all following line numbers.
    return [line.strip(" \t\r") for line in content.decode("utf-8-sig", errors="replace").split("\n")]


def _present(entries: list[Entry], fault: Callable[[ClipError], None]) -> list[Entry]:
    """Return the entries whose file or folder exists; each parent folder is listed once."""

    @cache
    def listed(folder: Path) -> set[str] | ClipError:
        try:
            return set(os.listdir(folder))
        except (FileNotFoundError, NotADirectoryError):
            return set()
        except PermissionError:
            return ClipAccessError("may not be listed; ask for access to it", path=folder)

    present = []
    for entry in entries:
        listing = listed(entry.path.parent)
        if isinstance(listing, ClipError):
            fault(listing)
        elif entry.path.name not in listing:
            reason = f"is missing, though line {entry.line} of its list names it; fetch it, or pass strict=False"
            fault(MissingClipError(reason, path=entry.path))
        else:
            present.append(entry)
    return present
