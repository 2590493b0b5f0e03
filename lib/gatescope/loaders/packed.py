"""Pack: the frames of many clips in a few files, for training where many small files starve a GPU."""

import io
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from gatescope.files import sha256_of
from gatescope.formats.arrays import DamagedArraysError, read_array
from gatescope.formats.facts import read_json
from gatescope.loaders.errors import DamagedClipError, access_errors

CARD = "pack.json"
BLOCK = tarfile.BLOCKSIZE
MAX_CLIP_BYTES = 1 << 28  # of the files of a clip's frames
_MAX_INDEX_BYTES = 1 << 26  # of a thousand clips 40 kB
_AGAIN = "; run gatescope pack again"


@dataclass(frozen=True)
class PackedFrame:
    """One frame's file, as bytes out of a shard."""

    name: str
    where: str
    content: bytes

    def is_file(self) -> bool:
        """Say yes: it stands in for a path."""
        return True

    def open(self, mode: str = "rb") -> io.BytesIO:
        """Return the bytes as an open file, which errors call by its place in the shard."""
        return _NamedBytes(self)

    def __str__(self) -> str:
        return self.where


class _NamedBytes(io.BytesIO):
    def __init__(self, frame: PackedFrame):
        super().__init__(frame.content)
        self._where = frame.where

    def __repr__(self) -> str:
        return repr(self._where)


class Pack:
    """Clips' frames in the shards of a folder: plain tar files, `<clip>/00001.jpg ...`, read by offset.

    A clip is read in one piece and its checksum compared. Nothing stays open, so that workers can share it; the
    index takes about 40 bytes a clip. `left_out` has by the name of each list what could not be packed, pairs of
    (where, reason).

    Raises DamagedClipError if a file is cut off or not the one that was packed, MissingClipError if one is missing.
    """

    def __init__(self, root: Path):
        self.root = root
        try:
            card = read_json(root / CARD)
            self.left_out = {
                str(name): [(str(where), str(reason)) for where, reason in faults]
                for name, faults in card["left_out"].items()
            }
            shards = [(int(facts["bytes"]), str(facts["index_sha256"])) for facts in card["shards"]]
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise DamagedClipError(f"is no card of a pack ({error}){_AGAIN}", path=root / CARD) from error
        indices = [self._index(number, *facts) for number, facts in enumerate(shards)]
        rows = np.concatenate(indices) if indices else np.zeros(0, row_type(1))
        order = np.argsort(rows["name"], kind="stable")
        self._rows = rows[order]
        self._shards = np.repeat(np.arange(len(indices)), [len(each) for each in indices])[order]

    @classmethod
    def at(cls, root: Path) -> "Pack | None":
        """Return the pack in a folder, or None if it holds none."""
        return cls(root) if (root / CARD).is_file() else None

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, path: Path) -> bool:
        return self._place(path) is not None

    def frames(self, path: Path) -> dict[int, PackedFrame]:
        """Return a clip's frames by their numbers.

        Raises DamagedClipError if its bytes are not those that were packed, LookupError if it is not there.
        """
        place = self._place(path)
        if place is None:
            raise LookupError(f"{path} is not in the pack")
        shard, row = shard_file(self.root, int(self._shards[place])), self._rows[place]
        with access_errors(shard, missing=f"is missing{_AGAIN}"), shard.open("rb") as file:
            file.seek(int(row["start"]))
            content = file.read(int(row["size"]))
        if zlib.crc32(content) != row["crc"]:
            raise DamagedClipError(f"{path.name} has changed in it{_AGAIN}", path=shard)
        try:
            frames = {int(Path(frame.name).stem): frame for frame in _members(shard, content)}
        except (tarfile.TarError, ValueError) as error:
            raise DamagedClipError(f"{path.name} is no clip in it ({error}){_AGAIN}", path=shard) from error
        if not frames:
            raise DamagedClipError(f"{path.name} has no frame in it{_AGAIN}", path=shard)
        return frames

    def _place(self, path: Path) -> int | None:
        name = path.relative_to(self.root).as_posix().encode()
        place = int(np.searchsorted(self._rows["name"], name))
        return place if place < len(self._rows) and self._rows["name"][place] == name else None

    def _index(self, number: int, num_bytes: int, digest: str) -> Shaped[np.ndarray, " clips"]:
        shard, index = shard_file(self.root, number), index_file(self.root, number)
        for file in (shard, index):
            if not file.is_file():
                raise DamagedClipError(f"is missing{_AGAIN}", path=file)
        rows = read_index(index)
        if shard.stat().st_size != num_bytes or sha256_of(index) != digest:
            raise DamagedClipError(f"is not as it was packed{_AGAIN}", path=shard)
        start, size = rows["start"], rows["size"]
        if not ((start >= 0) & (start <= num_bytes) & (size >= 0) & (size <= num_bytes - start)).all():
            raise DamagedClipError(f"names bytes that its shard does not have{_AGAIN}", path=index)
        if len(rows) and size.max() > MAX_CLIP_BYTES:
            raise DamagedClipError(f"holds a clip of more than {MAX_CLIP_BYTES >> 20} MiB", path=index)
        return rows


def row_type(longest_name: int) -> list[tuple[str, str]]:
    """Return the columns of an index: a clip's name, its bytes in the shard, and their CRC-32."""
    return [("name", f"S{longest_name}"), ("start", "<i8"), ("size", "<i8"), ("crc", "<u4")]


def shard_file(root: Path, number: int) -> Path:
    """Return the path of a shard."""
    return root / f"{number:05d}.tar"


def index_file(root: Path, number: int) -> Path:
    """Return the path of a shard's index, which is written after it."""
    return root / f"{number:05d}.npy"


def read_index(path: Path) -> Shaped[np.ndarray, " clips"]:
    """Return the rows of an index; raise DamagedClipError for any other file."""

    def check(shape: tuple[int, ...], dtype: np.dtype) -> None:
        if len(shape) != 1 or dtype != np.dtype(row_type(max(dtype.itemsize - 20, 1))):
            raise DamagedClipError(f"is no index of a shard{_AGAIN}", path=path)
        if shape[0] * dtype.itemsize > _MAX_INDEX_BYTES:
            raise DamagedClipError(f"is larger than {_MAX_INDEX_BYTES >> 20} MiB, which no shard's is", path=path)

    try:
        return read_array(path, check)
    except (OSError, DamagedArraysError) as error:
        raise DamagedClipError(f"is no index of a shard ({error}){_AGAIN}", path=path) from error


def _members(shard: Path, content: bytes) -> Iterator[PackedFrame]:
    offset = 0
    while offset < len(content):
        info = tarfile.TarInfo.frombuf(content[offset : offset + BLOCK], "utf-8", "strict")
        start = offset + BLOCK
        if not 0 <= info.size <= len(content) - start:
            raise ValueError(f"{info.name} is cut off")
        name = Path(info.name).name
        yield PackedFrame(name=name, where=f"{shard}:{info.name}", content=content[start : start + info.size])
        offset = start + -(-info.size // BLOCK) * BLOCK
