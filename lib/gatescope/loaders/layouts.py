"""Where the files of a data set lie, and what its lists say, however it was packed when it was handed round."""

import csv
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gatescope.loaders.errors import DamagedClipError, ListError, access_errors

SPLITS = {
    "train": ("train", "training"),
    "valid": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing"),
}
MAX_LINE = 1 << 14  # characters; a line of a list holds a path or two
_MANY_FOLDERS = 100
_HEADERS = {
    "path": (
        "path",
        "filepath",
        "file",
        "filename",
        "video",
        "clip",
        "video_path",
        "video_id",
        "clip_id",
        "id",
        "name",
    ),
    "label": ("label", "label_name", "class", "class_name", "gesture", "category", "target"),
    "split": ("split", "set", "subset", "part"),
}

# A label with its index before or behind it.
_INDEXED = re.compile(r'([0-9]{1,6})\s*[;,\t]\s*"?([^;,\t]+?)"?|"?([^;,\t]+?)"?\s*[;,\t]\s*([0-9]{1,6})')


def split_named(split: str) -> str:
    """Return train, valid or test for any of the split's usual names; raise ValueError for another."""
    found = [name for name, aliases in SPLITS.items() if str(split).lower() in aliases]
    if not found:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}; got {split!r}")
    return found[0]


def spelled(names: Iterable[str]) -> list[str]:
    """Return each name as it is, and with a capital."""
    return [each for name in names for each in (name, name.capitalize())]


def folders_below(root: Path) -> list[Path]:
    """Return a folder, its sub-folders and theirs; without hidden ones, and without clips, which numbers name.

    Of very many sub-folders none is among them: they are clips of other names.

    Raises ClipError if the folder is missing or may not be listed.
    """
    with access_errors(root, missing="is no folder; check the path"):
        children = _sub_folders(root)
    if len(children) > _MANY_FOLDERS:
        return [root]
    found = [root, *children]
    for child in children:
        try:
            found += _sub_folders(child)
        except OSError:
            continue  # nothing in it can be read then, and whatever lacks is told by name
    return found


def _sub_folders(folder: Path) -> list[Path]:
    with os.scandir(folder) as children:
        named = [each.name for each in children if not re.fullmatch(r"\..*|[\d_-]+", each.name) and each.is_dir()]
    return [folder / name for name in sorted(named)]


def find_files(folders: Iterable[Path], names: Iterable[str]) -> list[Path]:
    """Return the files that have one of these names, in the order of the folders, then of the names."""
    names = list(names)
    return [folder / name for folder in folders for name in names if (folder / name).is_file()]


def find_holder(folders: Sequence[Path], names: Sequence[str], preferred: Sequence[Path], *, listed: Path) -> Path:
    """Return the folder below which files of these relative names lie: of a few, spread over all.

    The preferred ones are taken before the others, in their order. Where none holds any it is the first preferred.
    Raises ListError if two others hold as many: which of them `listed` means is not known then.
    """
    some = names[:: max(len(names) // 50, 1)]
    for folder in preferred:
        if any(os.path.lexists(folder / name) for name in some):
            return folder
    counts = {folder: sum(os.path.lexists(folder / name) for name in some) for folder in folders}
    best = [folder for folder, count in counts.items() if count == max(counts.values()) > 0]
    if len(best) > 1:
        raise ListError(f"{best[0]} and {best[1]} both hold its clips; move one of the two out of the way", path=listed)
    return best[0] if best else preferred[0]


def read_lines(path: Path, obtain: str) -> Iterator[str]:
    """Yield the lines of a text file without surrounding white space; bytes that are not UTF-8 become U+FFFD.

    A file may begin with a byte order mark, also UTF-16's. Raises a ClipError if it is missing, no file, may not be
    read, or a line is longer than MAX_LINE; `obtain` says where to get it.
    """
    with access_errors(path, missing=f"is missing; {obtain}"):
        if path.exists() and not path.is_file():
            raise DamagedClipError("is no file, but a list was expected here; check the path", path=path)
        with path.open("rb") as file:
            wide = file.read(2) in (b"\xff\xfe", b"\xfe\xff")
        with path.open(encoding="utf-16" if wide else "utf-8-sig", errors="replace") as file:
            # Not splitlines: it also breaks at control characters, which would shift all following line numbers.
            number = 0
            while text := file.readline(MAX_LINE + 1):
                number += 1
                if len(text) > MAX_LINE:
                    reason = f"is longer than {MAX_LINE} characters, which no list is; {obtain}"
                    raise ListError(reason, path=path, line=number)
                yield text.strip(" \t\n")


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One line of a table of clips."""

    line: int  # from 1
    text: str  # as it stands there
    path: str | None  # None in a line that is not as the others
    label: str | None  # None where the table has no such column; empty where the cell is
    split: str | None  # the same

    @property
    def shown(self) -> str:
        """The line for an error's message, quoted, not longer than a screen's."""
        return repr(self.text if len(self.text) < 200 else f"{self.text[:200]}...")


def read_table(path: Path, obtain: str) -> Iterator[Row]:
    """Yield the rows of a table of path and label, with or without a header, with ; a tab or , between.

    Quotes around a cell and spaces beside it are taken off, blank lines passed over. Without a header the first column
    is the path and the second, if there is one, the label.

    Raises ListError for a header that has one of these columns twice, or that stands below another line.
    """
    columns, separator = None, None
    for number, text in enumerate(read_lines(path, obtain), start=1):
        if not text:
            continue
        if separator is None:
            separator = next((each for each in ";\t," if each in text), ";")
        try:
            (cells,) = csv.reader([text], delimiter=separator, skipinitialspace=True, strict=True)
        except csv.Error:
            yield Row(line=number, text=text, path=None, label=None, split=None)
            continue
        cells = [cell.strip() for cell in cells]
        if columns is None:
            header = [cell.lower() for cell in cells]
            places = {
                kind: next((header.index(name) for name in names if name in header), None)
                for kind, names in _HEADERS.items()
            }
            width = len(cells)
            if places["path"] is not None:
                read = [header[place] for place in places.values() if place is not None]
                if twice := [name for name in read if header.count(name) > 1]:
                    reason = f"has two columns {twice[0]}, and one of them would not be read; remove it"
                    raise ListError(reason, path=path, line=number)
                columns = places
                continue
            columns = {"path": 0, "label": 1 if width > 1 else None, "split": None}
            if width > 2:
                reason = f"has {width} columns and no header; write one above, as path{separator}label"
                raise ListError(reason, path=path, line=number)
        elif all(any(cell.lower() in _HEADERS[kind] for cell in cells) for kind in ("path", "label")):
            reason = f"is a header below other lines, no clip; remove it, or what is above: {text[:80]!r}"
            raise ListError(reason, path=path, line=number)
        fits = len(cells) == width
        found = {kind: cells[place] if fits and place is not None else None for kind, place in columns.items()}
        yield Row(line=number, text=text, **found)


def name_indices(path: Path, obtain: str) -> tuple[str, ...]:
    """Return the names in a file of labels: one a line, or each with its index, from 0 or 1, before or behind it.

    Raises ListError if a line is blank, no text, a header above names without indices, or repeats another, or the
    indices are not consecutive: every label would be in doubt.
    """
    lines = list(read_lines(path, obtain))
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise ListError(f"names no label; {obtain}", path=path)
    names = [re.sub(r'^"(.*)"$', r"\1", line) for line in lines]
    indexed = [_INDEXED.fullmatch(line) for line in lines]
    first = 1 if indexed[0] is None and indexed[1:] else 0  # a header has no index
    if len(lines) > 1 and all(indexed[first:]):
        found = {int(match[1] or match[4]): match[2] or match[3] for match in indexed[first:]}
        if sorted(found) != list(range(min(found), min(found) + len(lines) - first)) or min(found) > 1:
            raise ListError(f"its indices are not 0, 1, 2 and so on, each once; {obtain}", path=path)
        names = [found[index] for index in sorted(found)]
        lines = names
    elif names[0].lower() in _HEADERS["label"] and len(names) > 1:
        reason = (
            f"is {names[0]!r}, a header by its look, which would be label 0; remove it, or give each line its index"
        )
        raise ListError(reason, path=path, line=1)
    counts = Counter(names)
    for number, name in enumerate(names, start=1):
        if not name or not name.isprintable() or "\ufffd" in name:
            raise ListError(f"must be a label's name; got {name!r}; fetch the file again", path=path, line=number)
        if counts[name] > 1 and name in names[: number - 1]:
            raise ListError(f"{name!r} is there twice; fetch the file again", path=path, line=number)
    return tuple(names)
