"""Frames as a viewer shows them: a recording may state by how much it is turned and mirrored."""

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from jaxtyping import UInt8

# By the angle, counter-clockwise, that a frame is to be turned by.
_QUARTER_TURNS = (None, (0, -1, 0, 1, 0), (-1, 0, 0, 0, -1), (0, 1, 0, -1, 0))


def upright(
    picture: UInt8[np.ndarray, "height width 3"], matrix: tuple[int, ...] | None
) -> UInt8[np.ndarray, "shown_height shown_width 3"]:
    """Return a picture turned and mirrored by its display matrix (ISO 14496-12, 8.3.2), in steps of a quarter turn.

    The matrix sends right to (a, b) and down to (c, d). Turns by other angles are ignored, as browsers do.
    """
    if matrix is None:
        return picture
    a, b, _, c, d = matrix[:5]
    if max(abs(b), abs(c)) < 0.02 * max(abs(a), abs(d)):
        right, down = a, d
    elif max(abs(a), abs(d)) < 0.02 * max(abs(b), abs(c)):
        picture, right, down = picture.swapaxes(0, 1), c, b
    else:
        return picture
    return picture[:: -1 if down < 0 else 1, :: -1 if right < 0 else 1]


def display_matrix(path: Path, track: int, frame: av.VideoFrame) -> tuple[int, ...] | None:
    """Return the first five numbers of a video's display matrix, None if it has none.

    In MP4, MOV and 3GP that of the track; elsewhere as much as the frame's rotation tells, which no mirror image does.
    Not from the frame's side data: a worker that is forked after those were looked at crashes (PyAV 18.1).
    """
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for start, end in _boxes(content, 0, len(content), b"moov"):
            for begin, stop in _boxes(content, start, end, b"trak"):
                for place, last in _boxes(content, begin, stop, b"tkhd"):
                    if last - place < 84:
                        continue
                    wide = 12 * (content[place] == 1)  # times of 64 bits in version 1
                    number = 12 if not wide else 20
                    if int.from_bytes(content[place + number : place + number + 4], "big") == track:
                        return struct.unpack(">5i", content[place + 40 + wide : place + 60 + wide])
    return _QUARTER_TURNS[round(frame.rotation / 90) % 4]


def _boxes(content: mmap.mmap, place: int, end: int, kind: bytes) -> Iterator[tuple[int, int]]:
    """Yield where the contents of the boxes of one kind begin and end (ISO 14496-12, 4.2)."""
    while place + 8 <= end:
        size, head = int.from_bytes(content[place : place + 4], "big"), 8
        if size == 1:
            size, head = int.from_bytes(content[place + 8 : place + 16], "big"), 16
        if size < head:
            return
        if content[place + 4 : place + 8] == kind:
            yield place + head, min(place + size, end)
        place += size
