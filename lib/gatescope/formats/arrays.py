"""Arrays from files of any origin, .npz and .npy: no pickle is opened, and sizes are checked before all is read."""

import io
import math
import os
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


class DamagedArraysError(ValueError):
    """A file that does not hold whole arrays of the kind that is read."""


def read_arrays(
    path: str | Path, wanted: Callable[[str], bool] = lambda name: True, *, most_bytes: int = MOST_BYTES
) -> dict[str, np.ndarray]:
    """Read the arrays of an .npz file that are `wanted` by their names, `most_bytes` together at most.

    Arrays hold numbers or truth values, as `np.savez` and `np.savez_compressed` write them, and the checksum of each is
    verified.

    Raises OSError without such a file, OversizedArraysError for one that says it holds more, DamagedArraysError for a
    file that is damaged or holds anything else.
    """
    path = regular_file(path)
    with _damage_told(path, ".npz file of numbers"), _InPieces(path) as file, zipfile.ZipFile(file) as archive:
        members = [member for member in archive.infolist() if wanted(member.filename.removesuffix(".npy"))]
        if (size := sum(member.file_size for member in members)) > most_bytes:
            raise OversizedArraysError(
                f"{path} says that it holds {size:,} bytes; at most {most_bytes:,} are read of such a file"
            )
        return {member.filename.removesuffix(".npy"): _read_member(archive, member) for member in members}


def read_array(path: str | Path, check: Callable[[tuple[int, ...], np.dtype], None]) -> np.ndarray:
    """Read the array in an .npy file, once `check` has taken the shape and the type that it declares.

    Raises OSError without such a file, DamagedArraysError for one that is damaged, and whatever `check` raises.
    """
    path = regular_file(path)
    with path.open("rb") as file:
        with _damage_told(path, ".npy file"):
            header = _header(file, path.name, os.fstat(file.fileno()).st_size)
        check(header[0], header[2])
        with _damage_told(path, ".npy file"):
            return _content(file, *header)


@contextmanager
def _damage_told(path: Path, kind: str) -> Iterator[None]:
    try:
        # NumPy's own notes on a header that it can hardly read are damage here.
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            yield
    except OversizedArraysError:
        raise
    except _DAMAGE as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DamagedArraysError(f"{path} is not a whole {kind} ({reason})") from error


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    # Other methods can ask for gigabytes before the first byte.
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or not member.filename.endswith(".npy"):
        raise ValueError(f"{member.filename} is no array, stored or deflated")
    with archive.open(member) as stream:
        shape, by_columns, dtype = _header(stream, member.filename, member.file_size)
        if dtype.kind not in _KINDS:
            raise ValueError(f"{member.filename} holds {dtype}, no numbers")
        return _content(stream, shape, by_columns, dtype)


def _header(stream: io.BufferedIOBase, name: str, num_bytes: int) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Return shape, order and type of an array in so many bytes, header and all; the stream then stands behind it."""
    # Only in this version is a header's length limited.
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError(f"{name} is not in version 1.0 of NumPy's format")
    shape, by_columns, dtype = np.lib.format.read_array_header_1_0(stream)
    size = math.prod(shape) * dtype.itemsize
    if dtype.hasobject or min(shape, default=0) < 0 or size != num_bytes - stream.tell():
        raise ValueError(f"{name} of {num_bytes} bytes says that it is {shape} {dtype}")
    return shape, by_columns, dtype


def _content(stream: io.BufferedIOBase, shape: tuple[int, ...], by_columns: bool, dtype: np.dtype) -> np.ndarray:
    content = np.empty(math.prod(shape) * dtype.itemsize, np.uint8)
    _fill(stream, content)
    array = content.view(dtype)
    return array.reshape(shape[::-1]).T if by_columns else array.reshape(shape)


def _fill(stream: io.BufferedIOBase, content: np.ndarray) -> None:
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
