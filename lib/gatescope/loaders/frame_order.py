"""In which order the pictures of a folder make a clip: by the part of their names that counts."""

import re
from collections.abc import Sequence
from pathlib import Path

from gatescope.loaders.errors import DamagedClipError

# What is no count: identifiers, of which each file may have one of its own.
_IDENTIFIER = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?<![0-9a-z])(?=\d*[a-f])[0-9a-f]{16,}", re.I)
_NUMBER = re.compile(r"(\d+)", re.ASCII)
# Between the numbers of a date and a time of day, as in 2021-06-05T12h30m45.250.
_JOINT = re.compile(r"[-_.:, ]+|[-_ ]*[THMSthms][-_ ]*")
_DATE_DIGITS = 6  # from which a number is a date or a clock's count

Key = tuple[float, ...]


def numbered(files: Sequence[Path]) -> dict[int, Path]:
    """Return the files by their numbers, ascending.

    The number is the one that differs, wherever in the names it stands, as in `00012_cam1` and `frame_004_of_014`.
    Of dates and times all numbers count, from left to right, and files are numbered from 1. Names that differ in more
    than their numbers are ordered by the number that all begin or end with.

    Raises DamagedClipError if a name holds no number, two hold the same, or two orders are possible.
    """
    names = {file: _NUMBER.split(_IDENTIFIER.sub("", file.stem)) for file in files}
    for file, parts in names.items():
        if len(parts) == 1:
            raise DamagedClipError("the frame has no number in its name; rename it by its place, or move it", path=file)
    candidates = _candidates(names)
    orders = [keys for keys in candidates if len(set(keys.values())) == len(files)]
    if not orders and len(candidates) == 1:
        seen: dict[Key, Path] = {}
        for file, key in candidates[0].items():
            if (other := seen.setdefault(key, file)) is not file:
                raise DamagedClipError(f"has the same number as {other.name}; keep one of the two", path=file)
    found = [sorted(files, key=keys.__getitem__) for keys in orders]
    if not orders or any(order != found[0] for order in found):
        reason = "the frames' names hold numbers that give more than one order; rename them 1, 2, 3 ..."
        raise DamagedClipError(reason, path=files[0])
    order, keys = found[0], orders[0]
    counts = [key[0] for key in map(keys.__getitem__, order) if len(key) == 1 and isinstance(key[0], int)]
    return dict(zip(counts if len(counts) == len(order) else range(1, len(order) + 1), order, strict=True))


def order_note(frames: dict[int, Path]) -> str | None:
    """Return how numbered frames were ordered, None if by the last number in their names."""
    if all(int(_NUMBER.findall(file.stem)[-1]) == number for number, file in frames.items()):
        return None
    first, *_, last = [file.name for file in frames.values()] * 2
    return f"frames stand in the order {first} ... {last}: by the numbers in their names that differ"


def _candidates(names: dict[Path, list[str]]) -> list[dict[Path, Key]]:
    """Return the keys that may order the names, which are split into texts and, between them, numbers."""
    if len({tuple(parts[::2]) for parts in names.values()}) > 1:
        ends = [number for number, text in ((1, 0), (-2, -1)) if len({parts[text] for parts in names.values()}) == 1]
        return [{file: (int(parts[number]),) for file, parts in names.items()} for number in ends or [-2]]
    some = next(iter(names.values()))
    places = range(1, len(some), 2)
    differing = [place for place in places if len({int(parts[place]) for parts in names.values()}) > 1] or [places[-1]]
    first, last = differing[0], differing[-1]
    chosen = [(place,) for place in differing]
    if _is_time(list(names.values()), first, last):
        chosen = [tuple(differing)]
    candidates = [{file: tuple(int(p[place]) for place in key) for file, p in names.items()} for key in chosen]
    # 3.5 is behind 3.25, and before it if the second number is a count.
    if last > 1 and some[last - 1] == "." and first >= last - 2:
        candidates.append({file: (float(f"{p[last - 2]}.{p[last]}"),) for file, p in names.items()})
    return candidates


def _is_time(names: list[list[str]], first: int, last: int) -> bool:
    """Return whether the numbers from `first` to `last` are parts of one date, time or decimal fraction."""
    texts = names[0]
    if first == last or not all(_JOINT.fullmatch(texts[place + 1]) for place in range(first, last, 2)):
        return False
    while first > 1 and _JOINT.fullmatch(texts[first - 1]):
        first -= 2
    numbers = [[parts[place] for parts in names] for place in range(first, last + 1, 2)]
    widths = [min(map(len, column)) for column in numbers]
    return texts[last - 1] == "." or max(widths) >= _DATE_DIGITS or (len(widths) > 2 and min(widths) > 1)
