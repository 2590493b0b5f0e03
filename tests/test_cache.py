"""Rendered clips on disk: the same bytes back, whatever happens to the files or to those who write them."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import DataLoader

LIBRARY = Path(__file__).resolve().parent.parent / "lib"


@pytest.fixture(scope="module")
def gestures():
    from gatescope.loaders.rendered import SyntheticGestures

    return SyntheticGestures("train", 40, 16, seed=3, num_frames=3)


@pytest.fixture(scope="module")
def cached_type():
    from gatescope.loaders.cache import CachedClips

    return CachedClips


def same(a, b) -> bool:
    parts = ("frames", "hand_mask", "depth", "flow", "joints_2d", "joints_3d")
    return (a.fps, a.source, a.label, a.name) == (b.fps, b.source, b.label, b.name) and all(
        np.array_equal(getattr(a, part), getattr(b, part)) for part in parts
    )


@pytest.mark.slow
def test_the_cache_gives_back_what_is_rendered(gestures, cached_type, tmp_path):
    cached = cached_type(gestures, tmp_path)
    counts = list(cached.fill())
    assert counts[-1] == 40 and counts[0] in (13, 27)
    assert list(cached.fill()) == []
    again = cached_type(gestures, tmp_path)
    assert len(again) == 40 and isinstance(again[0].frames.base, np.memmap)
    for index in (0, 26, 27, 39, -1):
        assert same(again[index], gestures[index])
    with pytest.raises(IndexError, match="clip 40 of 40"):
        again[40]


@pytest.mark.slow
def test_without_filling_a_clip_is_rendered_when_asked_for(gestures, cached_type, tmp_path):
    assert same(cached_type(gestures, tmp_path)[30], gestures[30])


@pytest.mark.slow
def test_a_damaged_array_is_found_and_mended(gestures, cached_type, tmp_path):
    cached = cached_type(gestures, tmp_path)
    clip = cached[5]
    stored = next(cached.folder.glob("*-frames.npy"))
    data = bytearray(stored.read_bytes())
    data[len(data) // 2] ^= 1
    for content in (data, data[: len(data) // 2], b""):
        stored.write_bytes(content)
        assert same(cached_type(gestures, tmp_path)[5], clip)
    stored.unlink()
    assert same(cached_type(gestures, tmp_path)[5], clip)


@pytest.mark.slow
def test_no_flipped_bit_of_a_card_is_believed(gestures, cached_type, tmp_path):
    cached = cached_type(gestures, tmp_path)
    clip = cached[5]
    stored = next(cached.folder.glob("*.json"))
    whole = stored.read_bytes()
    rng = np.random.default_rng(0)
    for place, bit in zip(rng.integers(len(whole), size=200), rng.integers(8, size=200), strict=True):
        data = bytearray(whole)
        data[place] ^= 1 << bit
        stored.write_bytes(data)
        assert cached_type(gestures, tmp_path)._open(0) is None
    for content in (b"", b"[]", b"null", whole[:-70], whole[: len(whole) // 2]):
        stored.write_bytes(content)
        assert cached_type(gestures, tmp_path)._open(0) is None
    assert same(cached_type(gestures, tmp_path)[5], clip) and stored.read_bytes() == whole


@pytest.mark.slow
def test_what_a_killed_writer_left_is_neither_read_nor_kept(gestures, cached_type, tmp_path):
    cached = cached_type(gestures, tmp_path)
    cached[0]
    cached._card(0).unlink()
    half = cached.folder / ".00000-frames.npy.abcdef.npy"
    half.write_bytes(b"half")
    again = cached_type(gestures, tmp_path)
    assert again._open(0) is None
    assert same(again[0], gestures[0]) and not half.exists()


def test_another_renderer_has_another_folder(gestures, cached_type, tmp_path, monkeypatch):
    from gatescope.loaders import cache

    before = cached_type(gestures, tmp_path).folder
    now = cache._renderer(type(gestures).__module__)
    for changed in ([*now[:-1], 28], ["other code", *now[1:]]):
        monkeypatch.setattr(cache, "_renderer", lambda module, changed=changed: changed)
        assert cached_type(gestures, tmp_path).folder != before
        monkeypatch.undo()


def test_a_class_of_ones_own_is_cached_as_the_one_it_extends(gestures, cached_type, tmp_path):
    own = type("Mine", (type(gestures),), {"__module__": "__main__"})("train", 40, 16, seed=3, num_frames=3)
    assert cached_type(own, tmp_path).folder == cached_type(gestures, tmp_path).folder


@pytest.mark.parametrize(
    "change", [{"seed": 4}, {"size": 17}, {"difficulty": 0.6}, {"modalities": ("flow",)}, {"classes": (0, 1)}]
)
def test_whatever_determines_the_pixels_determines_the_folder(gestures, cached_type, tmp_path, change):
    default = {"split": "train", "num_clips": 40, "size": 16, "seed": 3, "num_frames": 3}
    other = type(gestures)(**default | change)
    assert cached_type(other, tmp_path).folder != cached_type(gestures, tmp_path).folder
    for same in ({"num_clips": 4}, {"classes": range(27)}):
        again = type(gestures)(**default | same)
        assert cached_type(again, tmp_path).folder == cached_type(gestures, tmp_path).folder


@pytest.fixture(scope="module")
def walk():
    from rendered_people.gaits import gait

    return gait(np.random.default_rng(0), num_frames=20, fps=12.5)


@pytest.mark.slow
def test_whole_bodies_are_kept_too(walk, cached_type, tmp_path):
    from gatescope.loaders import BodyClips

    for motions in (None, [walk]):
        bodies = BodyClips("train", 3, 8, num_frames=2, motions=motions)
        cached_type(bodies, tmp_path)[1]
        again = cached_type(bodies, tmp_path)
        assert again._open(0) is not None and again[2].depth is None
        assert all(same(again[index], bodies[index]) for index in range(3))


@pytest.mark.parametrize("change", [{"seed": 1}, {"size": 9}, {"num_frames": 3}, {"fps": 10.0}, {"motions": None}])
def test_whatever_determines_a_body_determines_the_folder(walk, cached_type, tmp_path, change):
    from gatescope.loaders import BodyClips

    default = {"split": "train", "num_clips": 3, "size": 8, "num_frames": 2, "motions": [walk]}
    folder = cached_type(BodyClips(**default), tmp_path).folder
    assert cached_type(BodyClips(**default | change), tmp_path).folder != folder
    moved = replace(walk, joints=walk.joints + np.float32(1))
    assert cached_type(BodyClips(**default | {"motions": [moved]}), tmp_path).folder != folder
    assert cached_type(BodyClips(**default | {"num_clips": 30}), tmp_path).folder == folder


@pytest.mark.slow
def test_a_worker_that_starts_afresh_reads_the_same_clips(gestures, cached_type, tmp_path):
    cached = cached_type(gestures, tmp_path)
    list(cached.fill())
    loader = DataLoader(cached, batch_size=None, num_workers=1, multiprocessing_context="spawn")
    for index, clip in enumerate(loader):
        assert same(clip, gestures[index])


# Forked, since they would take most of their time to import the library.
FILLING = """
import json, sys, time
from multiprocessing import get_context
from gatescope.loaders.cache import CachedClips
from gatescope.loaders.rendered import SyntheticGestures

def fill(end):
    cached = CachedClips(SyntheticGestures("train", 162, 16, seed=3, num_frames=3), sys.argv[1])
    write, written = cached._write, []
    cached._write = lambda number, clips: (written.append(number), write(number, clips))
    for count in cached.fill():
        end.send(count)
    end.send(written)

def last_of(end):
    while not isinstance(said := end.recv(), list):
        pass
    return said

fork = get_context("fork")
ends = [fork.Pipe() for _ in range(3)]
workers = [fork.Process(target=fill, args=(end,)) for _, end in ends]
for worker in workers:
    worker.start()
ends[0][0].recv()
time.sleep(0.15)
workers[0].kill()
for worker in workers:
    worker.join()
print(json.dumps([[worker.exitcode for worker in workers], *(last_of(end) for end, _ in ends[1:])]))
"""


@pytest.mark.slow
def test_two_processes_filling_at_once_lose_nothing_even_if_one_is_killed(gestures, cached_type, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(LIBRARY)}
    command = [sys.executable, "-c", FILLING, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ended, first, second = json.loads(done.stdout)
    assert ended == [-signal.SIGKILL, 0, 0]
    # Nothing is rendered twice: whoever comes second waits, or begins elsewhere.
    assert not set(first) & set(second)
    whole = type(gestures)("train", 162, 16, seed=3, num_frames=3)
    cached = cached_type(whole, tmp_path)
    assert list(cached.fill()) == []
    for index in range(0, 162, 23):
        assert same(cached[index], whole[index])


@pytest.mark.slow
def test_a_closed_cache_costs_a_warning_and_not_the_clips(gestures, cached_type, tmp_path):
    (tmp_path / "file").write_text("in the way")
    cached = cached_type(gestures, tmp_path / "file")
    with pytest.warns(UserWarning, match=r"nothing more is kept in .*file/.* \(Not a directory\): it stays in memory"):
        assert list(cached.fill())[-1] == 40
    for index in (0, 26, 27, 39):
        assert same(cached[index], gestures[index])
    assert [*tmp_path.iterdir()] == [tmp_path / "file"]


@pytest.mark.slow
def test_a_full_disk_costs_a_warning_and_leaves_what_is_whole(tmp_path):
    """Files may have 2,000 bytes here: neither an array nor a network's features fit."""
    code = (
        "import resource, sys, warnings\n"
        "from pathlib import Path\n"
        "import numpy as np\n"
        "from gatescope.loaders import CachedClips, SyntheticGestures\n"
        "from gatescope.models import GestureNetwork, NetworkConfig\n"
        "from gatescope.trainings.features import FrozenFeatures\n"
        "warnings.simplefilter('error')\n"
        "warnings.filterwarnings('default', message='nothing more is kept')\n"
        "gestures = SyntheticGestures('train', 30, 16, num_frames=4, modalities=())\n"
        "gestures[0]\n"
        "cached = CachedClips(gestures, sys.argv[1])\n"
        "config = NetworkConfig.small('a', num_classes=3, width=1 / 64, size=16, num_frames=4)\n"
        "network = GestureNetwork(config).eval()\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        "found = [cached[index].frames for index in range(30)]\n"
        "features = FrozenFeatures(network, cached, pool=1, folder=Path(sys.argv[1]))\n"
        "assert [features[index][1] for index in range(30)] == [gestures.label(index) for index in range(30)]\n"
        "assert all(np.array_equal(frames, gestures[index].frames) for index, frames in enumerate(found))\n"
    )
    environment = os.environ | {"PYTHONPATH": str(LIBRARY), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("): it stays in memory") == 2
    # Locks and no half of a file.
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} == {".lock"}
