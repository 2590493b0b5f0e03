"""Packed data sets: the same frames bit for bit, never half a pack, and no change goes unseen."""

import json
import os
import pickle
import shutil
import signal
import tarfile
from functools import partial

import numpy as np
import pytest
from filelock import FileLock
from torch.utils.data import DataLoader

from clip_files import some_frames, write_isogd, write_jester, write_jpegs
from gatescope.loaders import ClipTensors, IsoGDClips, JesterClips
from gatescope.loaders.errors import ClipError, DamagedClipError
from gatescope.loaders.packing import pack

INPUT = {"num_frames": 4, "size": 24, "mean": (0, 0, 0)}


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr("gatescope.loaders.packing.CLIPS_PER_SHARD", 2)


@pytest.fixture
def root(tmp_path, small_shards):
    root = write_jester(tmp_path / "jester", num_clips=5)
    (root / "jester-v1-validation.csv").write_text("2;clap\n5;clap\n")
    return root


def packed(root, out):
    progress = list(pack(root, out))
    assert not progress or progress[-1][0] == progress[-1][1]
    return out


def same(clips, others):
    assert len(clips) == len(others) > 0
    for clip, other in zip(clips, others, strict=True):
        assert (clip.label, clip.name, clip.fps) == (other.label, other.name, other.fps)
        assert np.array_equal(clip.frames, other.frames)


def state(folder):
    return {path.name: (path.stat().st_ino, path.read_bytes()) for path in folder.iterdir() if path.name != ".lock"}


def test_a_packed_jester_is_read_by_the_same_class_bit_for_bit(root, tmp_path):
    (root / "20bn-jester-v1" / "2" / "00003.jpg").unlink()
    (root / "20bn-jester-v1" / "4" / "00002.jpg").write_bytes(b"no picture")
    out = packed(root, tmp_path / "packed")
    shutil.move(root, tmp_path / "away")
    for split, length in (("train", 5), ("valid", 2)):
        plain, clips = (JesterClips(each, split, strict=False) for each in (tmp_path / "away", out))
        assert clips.labels == plain.labels and clips.layout.endswith("packed") and len(clips) == length
        same(list(clips), list(plain))
        # What is wrong with a clip is told alike.
        assert [reason for _, reason in clips.skipped][:1] == [reason for _, reason in plain.skipped][:1]
        assert len(clips.skipped) == len(plain.skipped) == (2 if split == "train" else 1)
    with pytest.raises(DamagedClipError, match=r"0000\d.tar:train/4/00002.jpg"):
        JesterClips(out, strict=False)[3]
    with tarfile.open(out / "00000.tar") as shard:  # any program that reads tar files can read it
        names = shard.getnames()
    assert names[:2] == ["train/1/00001.jpg", "train/1/00002.jpg"] and len(names) == 11


def test_isogds_decoded_frames_are_packed_too(tmp_path, small_shards):
    lines = []
    for kind in ("rgb", "depth"):
        for number in range(1, 4):
            name = f"IsoGD_phase_1/valid_{kind}/{number:03d}"
            write_jpegs(tmp_path / "isogd" / name, some_frames(3 + number), digits=6)
            lines.append(f"{name} {3 + number} {number}")
        (tmp_path / "isogd" / f"valid_{kind}_list.txt").write_text("\n".join(lines[-3:]) + "\n")
    out = packed(tmp_path / "isogd", tmp_path / "packed")
    for modality in ("rgb", "depth"):
        same(list(IsoGDClips(out, "valid", modality)), list(IsoGDClips(tmp_path / "isogd", "valid", modality)))


def test_workers_and_other_processes_read_a_pack(root, tmp_path):
    tensors = ClipTensors(JesterClips(packed(root, tmp_path / "packed")), **INPUT)
    expected = [tensors[index][0] for index in range(5)]
    loaded = DataLoader(pickle.loads(pickle.dumps(tensors)), batch_size=None, num_workers=2, timeout=60)
    assert all((x == other).all() for (x, _), other in zip(loaded, expected, strict=True))


def test_packing_again_writes_nothing_and_a_change_only_its_shard(root, tmp_path):
    out = packed(root, tmp_path / "packed")
    before = state(out)
    packed(root, out)
    after = state(out)
    assert {name for name in before if before[name] != after[name]} <= {
        "pack.json",
        "jester-v1-labels.csv",
        "jester-v1-train.csv",
        "jester-v1-validation.csv",
    }
    assert {name: content for name, (_, content) in before.items()} == {name: c for name, (_, c) in after.items()}
    # Another picture under the same name, of the same number of bytes and as old as before.
    frame = root / "20bn-jester-v1" / "3" / "00001.jpg"
    content, times = bytearray(frame.read_bytes()), frame.stat()
    content[-20] ^= 1
    frame.write_bytes(content)
    os.utime(frame, ns=(times.st_atime_ns, times.st_mtime_ns))
    packed(root, out)
    changed = {name for name, (inode, _) in state(out).items() if inode != after[name][0]}
    assert {name for name in changed if name[0] == "0"} == {"00001.tar", "00001.npy"}
    same(list(JesterClips(out)), list(JesterClips(root)))


def test_a_clip_more_or_fewer_gives_the_pack_of_a_first_time(root, tmp_path):
    out = packed(root, tmp_path / "packed")
    shutil.rmtree(root / "20bn-jester-v1" / "1")
    shutil.rmtree(root / "20bn-jester-v1" / "5")
    packed(root, out)
    fresh = packed(root, tmp_path / "fresh")
    assert {name: content for name, (_, content) in state(out).items()} == {n: c for n, (_, c) in state(fresh).items()}
    for split, count in (("train", 2), ("valid", 1)):
        plain, clips = (JesterClips(each, split, strict=False) for each in (root, out))
        assert clips.skipped == plain.skipped and len(clips.skipped) == count


def packed_until(root, out, last):
    """Pack in a process that is killed at the first write to disk or renaming after the `last`; False if it ended."""
    process = os.fork()
    if process == 0:
        calls = 0
        for name in ("fsync", "replace"):

            def counted(real, *arguments):
                nonlocal calls
                calls += 1
                if calls > last:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*arguments)

            setattr(os, name, partial(counted, getattr(os, name)))
        list(pack(root, out))
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == -signal.SIGKILL


def test_packing_killed_anywhere_goes_on_and_half_a_pack_is_none(root, tmp_path):
    fresh = {name: content for name, (_, content) in state(packed(root, tmp_path / "fresh")).items()}
    last = 1
    while packed_until(root, out := tmp_path / f"killed after {last}", last):
        if not (out / "pack.json").exists():
            with pytest.raises(FileNotFoundError):
                JesterClips(out)[0]
        packed(root, out)
        assert {name: content for name, (_, content) in state(out).items()} == fresh
        last += 9
    assert last > 20


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(content)


def test_a_flipped_bit_is_noticed_when_the_clip_is_read(root, tmp_path):
    out = packed(root, tmp_path / "packed")
    for place in (700, 2000):
        flip(out / "00000.tar", place)
        with pytest.raises(DamagedClipError, match=r"00000.tar: 1 has changed in it; run gatescope pack again"):
            JesterClips(out)[0]
        flip(out / "00000.tar", place)
    JesterClips(out)[0]
    flip(out / "00000.tar", 2000)
    packed(root, out)
    same(list(JesterClips(out)), list(JesterClips(root)))


DAMAGES = {
    "a shard cut off": lambda out: os.truncate(out / "00001.tar", 3000),
    "a shard gone": lambda out: (out / "00001.tar").unlink(),
    "an index gone": lambda out: (out / "00000.npy").unlink(),
    "an index changed": lambda out: flip(out / "00000.npy", -3),
    "an index of another shard": lambda out: shutil.copy(out / "00001.npy", out / "00000.npy"),
    "a card cut off": lambda out: os.truncate(out / "pack.json", 100),
    "a card of other things": lambda out: (out / "pack.json").write_text('{"shards": [3], "left_out": []}'),
    "a card without end": lambda out: (out / "pack.json").write_text("[" * 100_000),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_pack_is_refused_and_packed_anew(root, tmp_path, damage):
    out = packed(root, tmp_path / "packed")
    DAMAGES[damage](out)
    with pytest.raises(ClipError, match="run gatescope pack again"):
        JesterClips(out, strict=False)
    packed(root, out)
    same(list(JesterClips(out)), list(JesterClips(root)))


def hostile(out, change):
    """A pack whose index says what another wrote, with a card to match."""
    from gatescope.files import sha256_of

    rows = np.load(out / "00000.npy")
    np.save(out / "00000.npy", change(rows))
    card = json.loads((out / "pack.json").read_text())
    card["shards"][0]["index_sha256"] = sha256_of(out / "00000.npy")
    (out / "pack.json").write_text(json.dumps(card))


def with_value(field, value):
    def change(rows):
        rows[field][0] = value
        return rows

    return change


@pytest.mark.parametrize(
    "change",
    [
        with_value("start", -1),
        with_value("size", -1),
        with_value("size", 1 << 40),
        with_value("start", (1 << 63) - 1),
        lambda rows: np.zeros(3),
        lambda rows: rows[None],
        lambda rows: np.array([{"a": 1}], dtype=object),
    ],
)
def test_an_index_made_to_harm_is_refused(root, tmp_path, change):
    out = packed(root, tmp_path / "packed")
    hostile(out, change)
    with pytest.raises(DamagedClipError):
        JesterClips(out)


def test_nothing_of_others_is_overwritten_and_what_is_no_set_of_frames_refused(root, tmp_path):
    with pytest.raises(ValueError, match="holds 20bn-jester-v1, which no pack does"):
        list(pack(root, root))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds notes.txt"):
        list(pack(root, tmp_path / "mine"))
    assert (tmp_path / "mine" / "notes.txt").read_text() == "mine"
    with pytest.raises(ClipError, match="one file each already"):
        list(pack(write_isogd(tmp_path / "isogd", num_clips=1), tmp_path / "out"))
    out = packed(root, tmp_path / "packed")
    with pytest.raises(ClipError, match="is a pack already"):
        list(pack(out, tmp_path / "again"))
    with FileLock(out / ".lock"), pytest.raises(RuntimeError, match="another process works in"):
        list(pack(root, out))
