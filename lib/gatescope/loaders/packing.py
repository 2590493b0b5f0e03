"""Packing: a data set's frames written into shards, resumed where it was stopped, with its lists beside them."""

import json
import re
import tarfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gatescope.files import LOCK, atomic_write, check_own, held, read_bytes, sha256_of, temporary_of
from gatescope.loaders.errors import ClipError, ListError, access_errors
from gatescope.loaders.isogd import IsoGDClips, isogd_lists
from gatescope.loaders.jester import JesterClips, jester_lists
from gatescope.loaders.layouts import SPLITS
from gatescope.loaders.lists import Entry, as_skipped
from gatescope.loaders.packed import BLOCK, CARD, MAX_CLIP_BYTES, index_file, read_index, row_type, shard_file

CLIPS_PER_SHARD = 1_000  # of Jester about 90 MB
# All that a pack's folder may hold, and what a writer that was killed leaves there.
_OWN = r"\d{5}\.(?:tar|npy)|pack\.json|jester-v1-\w+\.csv|\w+_(?:rgb|depth)_list\.txt"

FrameClips = JesterClips | IsoGDClips
Planned = tuple[FrameClips, Entry]


def pack(root: str | Path, out: str | Path, *, outside: bool = False) -> Iterator[tuple[int, int]]:
    """Write Jester or IsoGD's decoded frames, every split below `root`, into shards in `out`; yield (clips done, all).

    The frames' files are copied as they are, so that `JesterClips(out)` and `IsoGDClips(out)` give the same pixels.
    A shard and its index appear whole or not at all, and the card that makes `out` a pack comes last: where this was
    stopped it goes on. A shard is kept only if its bytes have their checksums and are not older than one of the
    clips' frames. Clips that are missing, or have no frames that can be told apart, are left out and listed in the
    card.

    Raises ClipError if there is nothing to pack, ValueError if `out` holds files of others, RuntimeError if another
    process packs there.
    """
    root, out = Path(root), Path(out)
    parts = _parts(root, outside)
    check_own(out, ())
    there = sorted(path.name for path in out.iterdir()) if out.exists() else []
    known = f"{_OWN}|{temporary_of(_OWN)}|{re.escape(LOCK)}"
    if foreign := [name for name in there if not re.fullmatch(known, name)]:
        raise ValueError(f"{out} holds {foreign[0]}, which no pack does; name a new folder")
    # A pack that was handed on may lack the lock.
    with held(out, () if CARD in there else there):
        yield from _write(parts, out)


def _parts(root: Path, outside: bool) -> list[FrameClips]:
    if (root / CARD).is_file():
        raise ListError("is a pack already; it is used as it is", path=root)
    found = [JesterClips(root, split, strict=False, outside=outside) for split in SPLITS if jester_lists(root, split)]
    for split in SPLITS:
        for modality in ("rgb", "depth"):
            lists = isogd_lists(root, split, modality)
            if lists and lists[0][1]:
                found.append(IsoGDClips(root, split, modality, strict=False, outside=outside))
    if not found:
        reason = "holds neither Jester nor IsoGD's decoded frames; clips that are videos are one file each already"
        raise ListError(reason, path=root)
    return found


def _write(parts: list[FrameClips], out: Path) -> Iterator[tuple[int, int]]:
    plan = [(clips, entry) for clips in parts for entry in clips.entries]
    longest = max((len(clips.packed_name(entry).encode()) for clips, entry in plan), default=1)
    packed: list[list[Entry]] = [[] for _ in parts]
    left_out = [list(clips.skipped) for clips in parts]
    shards = []
    for number, start in enumerate(range(0, len(plan), CLIPS_PER_SHARD)):
        for (clips, entry), fault in _shard(out, number, plan[start : start + CLIPS_PER_SHARD], longest):
            (packed if fault is None else left_out)[parts.index(clips)].append(fault or entry)
        shards.append(
            {"bytes": shard_file(out, number).stat().st_size, "index_sha256": sha256_of(index_file(out, number))}
        )
        yield min(start + CLIPS_PER_SHARD, len(plan)), len(plan)
    current = {file for number in range(len(shards)) for file in (shard_file(out, number), index_file(out, number))}
    for path in out.iterdir():
        # Of a pack of more clips, or of a writer that was killed.
        if re.match(r"\d", path.name) and path not in current or re.match(r"\.(?!lock$)", path.name):
            path.unlink()
    left_out_of = {}
    for clips, entries, faults in zip(parts, packed, left_out, strict=True):
        for name, text in clips.packed_lists(entries).items():
            with atomic_write(out / name) as temporary:
                temporary.write_text(text, encoding="utf-8")
        left_out_of[name] = faults  # the list is the last
    with atomic_write(out / CARD) as temporary:
        card = {"clips": sum(map(len, packed)), "shards": shards, "left_out": left_out_of}
        temporary.write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")


def _shard(out: Path, number: int, plan: list[Planned], longest: int) -> list[tuple[Planned, tuple[str, str] | None]]:
    """Write a shard of these clips unless it stands there; return each clip, and why it is not in it if it is not."""
    named, told = {}, []
    for clips, entry in plan:
        try:
            named[clips.packed_name(entry)] = clips.frames_of(entry)
            told.append(((clips, entry), None))
        except ClipError as error:
            told.append(((clips, entry), as_skipped(error)))
    if not _stands(out, number, named):
        (out / CARD).unlink(missing_ok=True)
        index_file(out, number).unlink(missing_ok=True)
        rows = np.zeros(len(named), row_type(longest))
        with atomic_write(shard_file(out, number)) as temporary, open(temporary, "wb") as file:
            for place, (name, frames) in enumerate(named.items()):
                content = _as_tar(name, frames)
                rows[place] = (name.encode(), file.tell(), len(content), zlib.crc32(content))
                file.write(content)
            file.write(bytes(2 * BLOCK))  # the end of a tar file
        with atomic_write(index_file(out, number)) as temporary, open(temporary, "wb") as file:
            np.save(file, rows)
    return told


def _as_tar(name: str, frames: dict[int, Path]) -> bytes:
    parts, room = [], MAX_CLIP_BYTES
    for number, path in frames.items():
        with access_errors(path):
            content = read_bytes(path, room - 2 * BLOCK)
        info = tarfile.TarInfo(f"{name}/{number:05d}{path.suffix.lower()}")
        info.size = len(content)
        room -= BLOCK + len(content) + -len(content) % BLOCK
        parts += [info.tobuf(tarfile.USTAR_FORMAT, "utf-8", "strict"), content, bytes(-len(content) % BLOCK)]
    return b"".join(parts)


def _stands(out: Path, number: int, named: dict[str, dict[int, Path]]) -> bool:
    """Whether a shard holds these clips, undamaged, and none of their frames is newer or of another size."""
    shard, index = shard_file(out, number), index_file(out, number)
    try:
        rows, written = read_index(index), shard.stat().st_mtime_ns
        # A shard from the future was written by a wrong clock, and may be older than what it holds.
        if written > time.time_ns() or rows["name"].tolist() != [name.encode() for name in named]:
            return False
        with shard.open("rb") as file:
            for row, frames in zip(rows, named.values(), strict=True):
                stats = [path.stat() for path in frames.values()]
                size = sum(BLOCK + stat.st_size + -stat.st_size % BLOCK for stat in stats)
                # The time of a change, which unlike that of a file's content is kept by no copy; of folders too, which
                # may have changed their names with each other.
                folders = {path.parent for path in frames.values()}
                changed = max(stat.st_ctime_ns for stat in [*stats, *(folder.lstat() for folder in folders)])
                if size != row["size"] or changed > written:
                    return False
                file.seek(int(row["start"]))
                if zlib.crc32(file.read(int(row["size"]))) != row["crc"]:
                    return False
            return file.read() == bytes(2 * BLOCK)
    except (OSError, ClipError):
        return False
