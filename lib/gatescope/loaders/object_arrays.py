"""Nested dictionaries of arrays from the pickled object arrays in npz files, without trusting the pickle."""

import math
import pickle
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from gatescope.loaders.errors import (
    ClipAccessError,
    ClipError,
    DamagedClipError,
    MissingClipError,
    OversizedClipError,
)

MAX_MEMBER_BYTES = 1 << 31
_TYPES = {"f4": np.float32, "f8": np.float64}
# All that a pickle cut off or made up may raise on its way through the unpickler.
_PICKLE_ERRORS = (pickle.UnpicklingError, AttributeError, EOFError, ImportError, IndexError, KeyError, TypeError)
_PICKLE_ERRORS += (ValueError, OverflowError, MemoryError, UnicodeError, RecursionError)


class PickledArray:
    """What a pickle says of one array; NumPy sees none of it before `values` has looked at it."""

    def __init__(self, *_):
        self.state: tuple = ()

    def __setstate__(self, state):
        self.state = state if isinstance(state, tuple) else ()

    def values(self) -> Float32[np.ndarray, "..."]:
        """The array, of numbers only.

        Raises:
            ValueError: if what is pickled is no array of 32 or 64 bit numbers, or not whole.
        """
        try:
            _, shape, kind, by_columns, content = self.state
            dtype = np.dtype(_TYPES[kind.code]).newbyteorder(kind.byte_order)
            whole = isinstance(content, bytes) and all(type(size) is int and size >= 0 for size in shape)
            if not whole or len(content) != math.prod(shape) * dtype.itemsize:
                raise ValueError("sizes do not fit")
            values = np.frombuffer(content, dtype).reshape(shape, order="F" if by_columns else "C")
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError("holds what is no array of float32 or float64, or not all of it") from error
        with np.errstate(over="ignore", invalid="ignore"):  # beyond float32 is infinite, for the reader to refuse
            return values.astype(np.float32)


class _PickledType:
    """What a pickle says of an array's type."""

    def __init__(self, code: Any = "", *_):
        self.code, self.byte_order = code, "<"

    def __setstate__(self, state):
        self.byte_order = state[1]


# The names under which NumPy 1 and 2 pickle an array, each with what stands in for it: no code of theirs runs.
_STAND_INS = {
    ("numpy", "dtype"): _PickledType,
    ("numpy", "ndarray"): PickledArray,
    ("numpy.core.multiarray", "_reconstruct"): PickledArray,
    ("numpy._core.multiarray", "_reconstruct"): PickledArray,
}


class _NumbersOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> type:
        try:
            return _STAND_INS[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is no array of numbers") from None


def read_object_array(path: Path, member: str, *, obtain: str) -> dict:
    """The dictionary that `np.savez(path, member=dictionary)` wrote: dicts, lists, strings and `PickledArray`s.

    A pickle may run any code; of this one only arrays of numbers, dictionaries, lists, strings and numbers are
    made, all else is refused. `obtain` says where to get a missing file.

    Raises:
        ClipError: one of its kinds, naming the file: missing, not accessible, damaged, asking for more, too large.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if f"{member}.npy" not in archive.namelist():
                raise DamagedClipError(f"holds no {member}; make it again, {obtain}", path=path)
            size = archive.getinfo(f"{member}.npy").file_size
            if size > MAX_MEMBER_BYTES:
                raise OversizedClipError(f"{member} takes {size >> 20} MiB, more than is read", path=path)
            with archive.open(f"{member}.npy") as file:
                # An npy file of version 1: ten bytes, a header as long as the last two say, then the pickle.
                start = file.read(10)
                header = file.read(int.from_bytes(start[8:], "little"))
                if start[:8] != b"\x93NUMPY\x01\x00" or b"'|O'" not in header:
                    raise DamagedClipError(f"{member} holds no pickled dictionary; make it again, {obtain}", path=path)
                found = _NumbersOnly(file).load()
    except FileNotFoundError as error:
        raise MissingClipError(f"is missing; {obtain}", path=path) from error
    except PermissionError as error:
        raise ClipAccessError("may not be read; ask for access to it", path=path) from error
    except ClipError:
        raise
    except (*_PICKLE_ERRORS, OSError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise DamagedClipError(f"{member} cannot be read ({error}); make it again, {obtain}", path=path) from error
    # The dictionary is the one element of an array without axes.
    content = found.state[4] if isinstance(found, PickledArray) and len(found.state) == 5 else None
    if not (isinstance(content, list) and len(content) == 1 and isinstance(content[0], dict)):
        raise DamagedClipError(f"{member} holds no pickled dictionary; make it again, {obtain}", path=path)
    return content[0]
