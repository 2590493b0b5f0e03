"""Arrays from an .npz file of any origin: no pickle is opened, and sizes are checked before anything is read."""

import io
import math
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from gatescope.files import regular_file

MOST_BYTES = 1 << 28  # of all arrays that are read, unless the reader says otherwise
_PIECE_BYTES = 1 << 20  # read at once, at most: also the list of members, twenty thousand of them
_KINDS = "biuf"  # of numbers and truth values; others can hold pickles or text
# All that zipfile and NumPy raise over a damaged file.
_DAMAGE = (OSError, ValueError, EOFError, LookupError, RuntimeError, OverflowError, MemoryError, SyntaxError)
_DAMAGE += (TypeError, UserWarning, zipfile.BadZipFile, zlib.error, tokenize.TokenError)


class OversizedArraysError(ValueError):
    """Arrays beyond the limit, refused before their memory is allocated."""


def read_arrays(
    path: str | Path, wanted: Callable[[str], bool] = lambda name: True, *, most_bytes: int = MOST_BYTES
) -> dict[str, np.ndarray]:
    """Read the arrays of an .npz file that are `wanted` by their names, `most_bytes` together at most.

    Arrays hold numbers or truth values, as `np.savez` and `np.savez_compressed` write them, and the checksum of each is
    verified.

    Raises OSError without such a file, OversizedArraysError for one that says it holds more, ValueError for a file that
    is damaged or holds anything else.
    """
    path = regular_file(path)
    try:
        # NumPy's own notes on a header that it can hardly read are damage here.
        with warnings.catch_warnings(), _InPieces(path) as file, zipfile.ZipFile(file) as archive:
            warnings.simplefilter("error", UserWarning)
            members = [member for member in archive.infolist() if wanted(member.filename.removesuffix(".npy"))]
            if (size := sum(member.file_size for member in members)) > most_bytes:
                raise OversizedArraysError(
                    f"{path} says that it holds {size:,} bytes; at most {most_bytes:,} are read of such a file"
                )
            return {member.filename.removesuffix(".npy"): _read_member(archive, member) for member in members}
    except OversizedArraysError:
        raise
    except _DAMAGE as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path} is not a whole .npz file of numbers ({reason})") from error


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    # Other methods can ask for gigabytes before the first byte.
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or not member.filename.endswith(".npy"):
        raise ValueError(f"{member.filename} is no array, stored or deflated")
    with archive.open(member) as stream:
        # Only in this version is a header's length limited.
        if np.lib.format.read_magic(stream) != (1, 0):
            raise ValueError(f"{member.filename} is not in version 1.0 of NumPy's format")
        shape, by_columns, dtype = np.lib.format.read_array_header_1_0(stream)
        size = math.prod(shape) * dtype.itemsize
        if dtype.kind not in _KINDS or min(shape, default=0) < 0 or size != member.file_size - stream.tell():
            raise ValueError(f"{member.filename} of {member.file_size} bytes says that it is {shape} {dtype}")
        content = np.empty(size, np.uint8)
        _fill(stream, content)
        array = content.view(dtype)
        return array.reshape(shape[::-1]).T if by_columns else array.reshape(shape)


def _fill(stream: zipfile.ZipExtFile, content: np.ndarray) -> None:
    place = 0
    # One read more than the bytes need: at the end the checksum is verified.
    while piece := stream.read(_PIECE_BYTES):
        content[place : place + len(piece)] = np.frombuffer(piece, np.uint8)
        place += len(piece)
    if place != len(content):
        raise EOFError(f"{len(content)} bytes are promised, {place} are there")


class _InPieces(io.FileIO):
    """A file that is read in pieces: zipfile would read a list of members of any length at once."""

    def read(self, size: int = -1) -> bytes:
        if size > _PIECE_BYTES:
            raise ValueError(f"a list of members longer than {_PIECE_BYTES:,} bytes")
        return super().read(size)
