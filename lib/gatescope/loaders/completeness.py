"""Whether a file is whole: what its container's own lengths promise against the bytes that are there."""

import mmap
from collections.abc import Callable
from pathlib import Path

_EBML, _SEGMENT, _CLUSTER = (bytes.fromhex(name) for name in ("1a45dfa3", "18538067", "1f43b675"))
# Those, what stands in a segment and in a cluster, and filling and checksums between.
_EBML_BLOCKS = {_EBML, _SEGMENT, _CLUSTER} | {
    bytes.fromhex(name)
    for name in ["114d9b74", "1549a966", "1654ae6b", "1043a770", "1c53bb6b", "1941a469", "1254c367", "5854"]
    + ["e7", "a3", "a0", "a7", "ab", "af", "ec", "bf"]
}
_MOST_BLOCKS = 1 << 20  # of the longest clip there are far fewer
# Boxes that a file of ISO 14496-12 may begin with.
_FIRST_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"styp", b"pnot")


def missing_part(path: Path) -> str | None:
    """Return what is missing of a file by the lengths that its own blocks state, None where nothing is.

    Known are Matroska, WebM, MP4, MOV, 3GP, AVI, WebP, GIF, PNG, Ogg, FLV and ASF. Other containers promise nothing,
    nor do these where they were written to a pipe, but for the block that a cut goes through.
    """
    if not path.stat().st_size:
        return "it is empty"
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for begins, check in _CHECKS:
            if begins(content):
                try:
                    return check(content)
                except IndexError:
                    return "its last block is not complete"
    return None


def _beyond(end: int, content: mmap.mmap) -> str | None:
    return f"it promises {end} bytes and holds {len(content)}" if end > len(content) else None


def _boxes(content: mmap.mmap) -> str | None:
    place = 0
    while place + 8 <= len(content):
        size = int.from_bytes(content[place : place + 4], "big")
        if size == 1:
            size = int.from_bytes(content[place + 8 : place + 16], "big")
        if size < 8:  # 0 is a box up to the file's end; less is what some writers leave behind the last box
            return None
        place += size
    return _beyond(place, content)


def _riff(content: mmap.mmap) -> str | None:
    place = 0
    while content[place : place + 4] == b"RIFF":
        size = int.from_bytes(content[place + 4 : place + 8], "little")
        if size in (0, 0xFFFFFFFF):  # written to a pipe
            return None
        place += 8 + size
    # Some writers count these eight bytes as well, or one that fills up an odd chunk and that they do not write.
    return _beyond(place - 8, content)


def _ebml(content: mmap.mmap) -> str | None:
    """Walk over the blocks; those of a segment or cluster without a length follow as if they stood beside it."""
    place, num_blocks = 0, 0
    while place < len(content):
        num_blocks += 1
        if num_blocks > _MOST_BLOCKS:
            return f"it has more than {_MOST_BLOCKS:,} blocks, which no clip has"
        identifier = content[place : place + 9 - content[place].bit_length()]
        place += len(identifier)
        if identifier not in _EBML_BLOCKS:
            if not any(content[place - len(identifier) :]):
                return None
            return f"byte {place - len(identifier)} begins no block"
        width = 9 - content[place].bit_length() if place < len(content) else 1
        size = int.from_bytes(content[place : place + width], "big") & ~(1 << 7 * width)
        place += width
        unknown = size == (1 << 7 * width) - 1
        if identifier == _SEGMENT and not unknown and place + size > len(content):
            return _beyond(place + size, content)
        if identifier != _SEGMENT and not (unknown and identifier == _CLUSTER):
            place += size
    return _beyond(place, content)


def _gif(content: mmap.mmap) -> str | None:
    """Walk over the blocks; a closing byte may be missing. FFmpeg skips to the next block it knows without a word."""
    place, num_images = 13 + _colour_table(content[10]), 0
    while place < len(content) and content[place] != 0x3B:  # the closing byte
        if content[place] == 0x2C:  # an image
            num_images += 1
            place += 11 + _colour_table(content[place + 9])
        elif content[place] == 0x21:  # an extension
            place += 2
        elif num_images and not any(content[place:]):
            return None
        else:
            return f"byte {place} begins no block"
        while content[place]:
            place += 1 + content[place]
        place += 1
    return None if num_images else "it holds no image"


def _png(content: mmap.mmap) -> str | None:
    place = 8
    while place + 8 <= len(content) and content[place + 4 : place + 8] != b"IEND":
        place += 12 + int.from_bytes(content[place : place + 4], "big")
    return _beyond(place + 12, content)


def _ogg(content: mmap.mmap) -> str | None:
    place = 0
    while content[place : place + 4] == b"OggS":
        if place + 27 > len(content):
            return _beyond(place + 27, content)
        segments = content[place + 27 : place + 27 + content[place + 26]]
        place += 27 + content[place + 26] + sum(segments)
    return _beyond(place, content)


def _flv(content: mmap.mmap) -> str | None:
    place = int.from_bytes(content[5:9], "big") + 4
    while place + 11 <= len(content):
        place += 15 + int.from_bytes(content[place + 1 : place + 4], "big")
    if place < len(content):
        return _beyond(place + 11, content)
    return _beyond(place - 4, content)  # the last tag's length, repeated behind it, may be missing


def _asf(content: mmap.mmap) -> str | None:
    place = content.find(bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365"), 0, 1 << 16)  # file properties
    if place < 0 or content[place + 88] & 1:  # a broadcast
        return None
    return _beyond(int.from_bytes(content[place + 40 : place + 48], "little"), content)


def _colour_table(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _starts(magic: bytes) -> Callable[[mmap.mmap], bool]:
    return lambda content: content[: len(magic)] == magic


_CHECKS: tuple[tuple[Callable[[mmap.mmap], bool], Callable[[mmap.mmap], str | None]], ...] = (
    (_starts(_EBML), _ebml),
    (lambda content: content[4:8] in _FIRST_BOXES, _boxes),
    (_starts(b"RIFF"), _riff),
    (_starts(b"GIF8"), _gif),
    (_starts(b"\x89PNG"), _png),
    (_starts(b"OggS"), _ogg),
    (_starts(b"FLV"), _flv),
    (_starts(bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")), _asf),
)
