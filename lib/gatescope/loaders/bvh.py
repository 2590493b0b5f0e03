"""BvhFile: the two sections of a BVH file, its hierarchy of joints and the rows of its motion."""

import codecs
import io
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import Float64

from gatescope.loaders.errors import DamagedClipError, OversizedClipError

LARGEST = 1e9  # a larger number is a fault of the file: no position and no angle of a body
MAX_JOINTS = 1024  # a body with fingers, toes and a face has a few hundred
MAX_PLACES = 1 << 25  # joints times frames: 75 joints for an hour at 120 frames a second
MAX_LINE_BYTES = 1 << 21
_BLOCK_BYTES = 1 << 23  # of motion read at a time
_LONGEST_FRAME_S = 3600.0
_MAX_CHANNELS = 9  # of one joint
_START_BYTES = 1 << 16  # that show how a file's lines end
_CONVERTED_BYTES = 1 << 26  # of a file that is converted first, in memory
_COMMENTS = ("#", "//")
_CHANNEL = re.compile("([xyz])(position|rotation|scale)", re.IGNORECASE | re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?", re.IGNORECASE | re.ASCII)


@dataclass
class BvhJoint:
    """A joint as the file declares it; an End Site is a joint without channels, named after its parent."""

    name: str
    parent: int  # index; a root's own
    offset: tuple[float, float, float] | None = None  # from the parent, in the file's unit
    channels: list[tuple[str, int]] = field(default_factory=list)  # ("position" | "rotation" | "scale", axis 0 to 2)


class BvhFile:
    """A BVH file opened for reading: first the joints, then the motion, each line of the file once.

    `joints` are in the file's order, parents before children. Keywords are case-insensitive, words are separated by
    any white space, names may hold spaces, lines that begin with # or // are comments, and UTF-16 and ends of lines of
    every kind are read. A name that is there before gets a number: "Hand (2)". The number of frames that the file
    declares decides nothing: tools that cut a motion leave an old one behind.
    Raises DamagedClipError with the line at fault, OversizedClipError beyond MAX_JOINTS or MAX_PLACES.
    """

    def __init__(self, file: BinaryIO, path: Path):
        self._file, self._path, self._line = _as_ascii_lines(file, path), path, 0
        self.joints: list[BvhJoint] = []
        self._names: set[str] = set()
        self._copies: dict[str, int] = {}  # of names that are there more than once
        self._read_hierarchy()
        self.num_channels = sum(len(joint.channels) for joint in self.joints)  # the numbers in a row of motion
        if not self.num_channels:
            raise self._damaged("the hierarchy declares no channel: nothing moves")
        self.declared_frames = self._read_declared_frames()
        self.frame_time_s = self._read_frame_time()

    def rows(self) -> Iterator[Float64[np.ndarray, "frames channels"]]:
        """Yield the motion in blocks of a few MiB, every row of it, or raise DamagedClipError with the line.

        A last row without its newline may have lost its end if there are fewer rows than declared: it is refused.
        """
        most, num_rows, rest = MAX_PLACES // len(self.joints), 0, b""
        while True:
            read = self._file.read(_BLOCK_BYTES)
            block = rest + read
            # An incomplete last line waits for the next block; the last line of the file may lack its newline.
            stop = block.rfind(b"\n") + 1 if read else len(block)
            block, rest = block[:stop], block[stop:]
            rows = self._rows_in(block, most - num_rows)
            num_rows += len(rows)
            if not read and len(rows) and num_rows < self.declared_frames:
                raise self._damaged(f"the file ends within frame {num_rows} of {self.declared_frames}; fetch it again")
            if len(rows):
                yield rows
            if not read:
                break
            if len(rest) > MAX_LINE_BYTES:
                raise self._too_long(self._line + 1)
        if not num_rows:
            raise self._damaged("the file ends before its first frame; fetch it again")

    def _rows_in(self, block: bytes, most: int) -> Float64[np.ndarray, "frames channels"]:
        """Return the rows in whole lines of text, at most so many."""
        if not block.strip():
            rows = np.empty((0, self.num_channels))
        else:
            try:
                rows = np.loadtxt(io.BytesIO(block), comments=None, ndmin=2, encoding="ascii")
            except ValueError:
                return self._rows_by_line(block, most)
            # The comparison with LARGEST also fails for NaN.
            if rows.shape[1] != self.num_channels or not (np.abs(rows) <= LARGEST).all():
                return self._rows_by_line(block, most)
            if len(rows) > most:
                raise self._too_many_frames()
        self._line += block.count(b"\n") + (not block.endswith(b"\n") and len(block) > 0)
        return rows

    def _rows_by_line(self, block: bytes, most: int) -> Float64[np.ndarray, "frames channels"]:
        """Return the same line by line: slow, but the first line at fault is named."""
        rows, filled = np.empty((min(most, len(block) // (2 * self.num_channels) + 1), self.num_channels)), 0
        for line in io.BytesIO(block):
            self._line += 1
            words = line.decode("ascii", errors="replace").split(maxsplit=self.num_channels)
            if not words or words[0].startswith(_COMMENTS):
                continue
            if filled == most:
                raise self._too_many_frames()
            row = [_number(word) for word in words[: self.num_channels]]
            for word, value in zip(words, row, strict=False):
                if math.isnan(value):
                    raise self._damaged(f"{word[:40]!r} is no number of at most {LARGEST:.0e}")
            if len(words) != self.num_channels:
                count = "more" if len(words) > self.num_channels else len(words)
                raise self._damaged(f"holds {count} numbers where the hierarchy declares {self.num_channels} channels")
            rows[filled] = row
            filled += 1
        return rows[:filled]

    def _read_hierarchy(self) -> None:
        words = self._words()
        first = next(words, "")
        if first.lower().lstrip("\ufeff") != "hierarchy":
            raise self._damaged(f"a BVH file begins with HIERARCHY; got {first[:40]!r}")
        open_joints: list[int] = []  # those whose braces are open, from the root down
        for word in words:
            keyword = word.lower()
            if keyword == "motion":
                break
            if keyword in ("root", "joint", "end", "endsite"):
                if (keyword == "root") == bool(open_joints):
                    raise self._damaged(f"{word} must stand {'outside' if open_joints else 'inside'} a joint's braces")
                open_joints.append(self._begin_joint(keyword, open_joints, words))
                continue
            if not open_joints:
                raise self._damaged(f"ROOT or MOTION was expected; got {word[:40]!r}")
            joint = self.joints[open_joints[-1]]
            if keyword == "offset":
                if joint.offset is not None:
                    raise self._damaged(f"{joint.name!r} has two OFFSETs; keep the right one")
                joint.offset = self._offset(words)
            elif keyword == "channels":
                joint.channels += self._channels(joint, words)
            elif keyword == "}":
                if joint.offset is None:
                    raise self._damaged(f"{joint.name!r} has no OFFSET; give it one")
                open_joints.pop()
            else:
                raise self._damaged(f"OFFSET, CHANNELS, JOINT, End Site or a brace was expected; got {word[:40]!r}")
        else:
            raise self._damaged("the file ends before its MOTION; fetch it again")
        if open_joints:
            raise self._damaged(f"MOTION begins while the braces of {self.joints[open_joints[-1]].name!r} are open")

    def _begin_joint(self, keyword: str, open_joints: list[int], words: Iterator[str]) -> int:
        """Add a joint to the list, read its opening brace, and return its index."""
        line, parts = self._line, []
        for word in words:
            if word == "{":
                break
            if self._line != line:
                raise self._damaged(f"an opening brace was expected; got {word[:40]!r}")
            parts.append(word)
        index = len(self.joints)
        parent = open_joints[-1] if open_joints else index
        if keyword in ("end", "endsite"):
            named, name = (
                [part.lower() for part in parts] == ["site"] * (keyword == "end"),
                f"{self.joints[parent].name} end",
            )
        else:
            named, name = bool(parts), " ".join(parts)
        if not named:
            wanted = "End Site" if keyword.startswith("end") else f"{keyword.upper()} and a name"
            raise self._damaged(f"{wanted} was expected; got {' '.join(parts)[:40]!r}", line)
        own = name
        while name in self._names:
            count = self._copies[own] = self._copies.get(own, 1) + 1
            name = f"{own} ({count})"
        if index == MAX_JOINTS:
            raise OversizedClipError(f"has more than {MAX_JOINTS} joints; cut it", path=self._path, line=line)
        self._names.add(name)
        self.joints.append(BvhJoint(name, parent))
        return index

    def _channels(self, joint: BvhJoint, words: Iterator[str]) -> list[tuple[str, int]]:
        count = next(words, "")
        digits = count.lstrip("0") or count[-1:]
        if not (digits.isascii() and digits.isdigit() and len(joint.channels) + int(digits[:9]) <= _MAX_CHANNELS):
            raise self._damaged(f"a joint has 0 to {_MAX_CHANNELS} channels, {joint.name!r} {count[:40]!r}")
        channels = []
        for _ in range(int(digits)):
            word = next(words, "")
            match = _CHANNEL.fullmatch(word)
            if not match:
                raise self._damaged(f"a channel such as Xposition or Zrotation was expected; got {word[:40]!r}")
            channels.append((match[2].lower(), "xyz".index(match[1].lower())))
        moved = [axis for kind, axis in joint.channels + channels if kind == "position"]
        if len(moved) != len(set(moved)):
            raise self._damaged(f"{joint.name!r} has two position channels of one axis")
        return channels

    def _offset(self, words: Iterator[str]) -> tuple[float, float, float]:
        offset = []
        for _ in range(3):
            word = next(words, "")
            offset.append(_number(word))
            if math.isnan(offset[-1]):
                raise self._damaged(f"OFFSET takes three numbers of at most {LARGEST:.0e}; got {word[:40]!r}")
        return tuple(offset)

    def _read_declared_frames(self) -> int:
        found = self._labelled("frames")
        if not (found.isascii() and found.isdigit() and len(found) < 19):
            raise self._damaged(f"'Frames: ' and their number was expected; got {found[:40]!r}")
        return int(found)

    def _read_frame_time(self) -> float:
        found = self._labelled("frame time")
        seconds = _number(found)
        if not 1e-6 <= seconds <= _LONGEST_FRAME_S:
            needed = "'Frame Time: ' and a millionth of a second or more and at most an hour was expected"
            raise self._damaged(f"{needed}; got {found[:40]!r}")
        return seconds

    def _labelled(self, label: str) -> str:
        """Return the value after the label on the next line that is not blank; empty if that line has another label."""
        for line in self._lines():
            if line:
                found = re.match(r"\s+".join(label.split()) + r"(\s*:|\s)\s*", line, re.IGNORECASE)
                return line[found.end() :] if found else ""
        return ""

    def _words(self) -> Iterator[str]:
        """Yield the words; `self._line` is the number of the line of the last one."""
        for line in self._lines():
            yield from line.replace("{", " { ").replace("}", " } ").split()

    def _lines(self) -> Iterator[str]:
        while content := self._file.readline(MAX_LINE_BYTES):
            self._line += 1
            if len(content) == MAX_LINE_BYTES:
                raise self._too_long(self._line)
            line = content.decode("utf-8", errors="replace").strip()
            yield "" if line.startswith(_COMMENTS) else line

    def _too_long(self, line: int) -> DamagedClipError:
        return self._damaged(f"is longer than {MAX_LINE_BYTES >> 20} MiB, as no line of a BVH file is", line)

    def _too_many_frames(self) -> OversizedClipError:
        most = MAX_PLACES // len(self.joints)
        return OversizedClipError(f"has more than {most} frames of {len(self.joints)} joints; cut it", path=self._path)

    def _damaged(self, reason: str, line: int | None = None) -> DamagedClipError:
        return DamagedClipError(reason, path=self._path, line=max(line or self._line, 1))


def _as_ascii_lines(file: BinaryIO, path: Path) -> io.BufferedIOBase:
    """Return a file whose lines end in a line feed, in bytes of which digits are ASCII; most files are that already."""
    start = file.read(_START_BYTES)
    utf_16 = start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    file.seek(0)
    if not utf_16 and (b"\n" in start or b"\r" not in start):
        return file
    content = file.read(_CONVERTED_BYTES + 1)
    if len(content) > _CONVERTED_BYTES:
        reason = f"is over {_CONVERTED_BYTES >> 20} MiB in UTF-16 or with CR line ends; save it as UTF-8 with LF"
        raise OversizedClipError(reason, path=path)
    if utf_16:
        content = content.decode("utf-16", errors="replace").encode()
    return io.BytesIO(content.replace(b"\r\n", b"\n").replace(b"\r", b"\n"))


def _number(word: str) -> float:
    """Return the number in a word, NaN if it is no decimal number of at most LARGEST."""
    value = float(word) if _NUMBER.fullmatch(word) else math.nan
    return value if abs(value) <= LARGEST else math.nan
