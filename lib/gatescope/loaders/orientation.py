"""Frames as a viewer shows them: a recording may state by how much it is turned and mirrored."""

import struct

import av
import numpy as np
from av.sidedata.sidedata import Type
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


def display_matrix(frame: av.VideoFrame) -> tuple[int, ...] | None:
    """Return the nine numbers of a frame's display matrix, None if it has none.

    To be asked of one frame of a video: PyAV keeps a frame in memory once its side data are looked at.
    """
    try:
        data = frame.side_data.get(Type.DISPLAYMATRIX)
    except ValueError:  # PyAV does not know all kinds of side data, EXIF for one, and then gives none
        return _QUARTER_TURNS[round(frame.rotation / 90) % 4]
    return None if data is None else struct.unpack("=9i", bytes(data))
