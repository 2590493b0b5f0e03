"""Files made to take memory or time, or to be trusted: each is refused with one sentence, and takes neither."""

import json
import os
import pickle
import socket
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from gatescope.files import read_bytes, regular_file, sha256_of
from gatescope.formats.arrays import read_arrays
from gatescope.formats.facts import read_card, read_json, read_toml
from gatescope.loaders import Human36M, IsoGDClips, JesterClips, read_bvh, read_clip
from gatescope.models import GestureNetwork, load_keras_weights
from gatescope.models.checkpoints import checkpoint
from gatescope.models.plain import made_by
from hostile_files import npy, write_all

TESTS = Path(__file__).resolve().parent
LIBRARY, CONVERT = TESTS.parent / "lib", TESTS.parent / "data" / "human36m" / "convert.py"
MOST_MIB = 150  # that memory may grow over one file


def run(script, *arguments):
    """The lines that a script prints, which has a minute."""
    environment = os.environ | {"PYTHONPATH": str(LIBRARY), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *script, *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()


@pytest.mark.slow
def test_no_file_takes_more_memory_than_it_has_or_is_believed(tmp_path):
    write_all(tmp_path, TESTS / "reference" / "gated_weights.h5")
    wanted = {f"{path.parent.name} {path.stem}" for path in tmp_path.glob("*/*")}
    found = {name: rest for name, *rest in map(json.loads, run([TESTS / "hostile_files.py"], tmp_path))}
    assert found.keys() == wanted and len(wanted) > 45
    for name, (raised, said, grown_mib) in found.items():
        folder, file = name.split(maxsplit=1)
        assert raised in ("ValueError", "OversizedArraysError", "DamagedArraysError") and grown_mib < MOST_MIB, (
            name,
            raised,
            said,
            grown_mib,
        )
        assert str(tmp_path / folder / file) in said and len(said) < 1000, (name, said)


READERS = {
    "json": read_json,
    "toml": read_toml,
    "card": read_card,
    "bytes": lambda path: read_bytes(path, 10),
    "digest": sha256_of,
    "arrays": read_arrays,
    "weights": lambda path: GestureNetwork.load(f"{path}.safetensors"),
    "checkpoint": lambda path: checkpoint(str(path)),
    "keras": load_keras_weights,
    "factory": lambda path: made_by(f"{path}.py:make"),
    "bvh": read_bvh,
    "clip": read_clip,
    "video": lambda path: read_clip(f"{path}.mp4"),
    "poses": lambda path: Human36M(path, "test"),
    "jester": JesterClips,
    "isogd": IsoGDClips,
}
FILES = (
    "poses.npz",
    "jester-v1-train.csv",
    "valid_rgb_list.txt",
    "valid_list.txt",
)  # that readers look for in a folder


def pipe(path):
    os.mkfifo(path)


def unix_socket(path):
    here = os.getcwd()
    os.chdir(path.parent)  # a socket's path may have 108 bytes
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def device(path):
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("special", [pipe, unix_socket, device])
@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path, reader, special):
    """A test that hangs here has found a reader which opens whatever has a name."""
    path = tmp_path / "special"
    for suffix in (".safetensors", ".json", ".mp4", ".py"):
        special(path.with_suffix(suffix))
    if reader in ("poses", "jester", "isogd"):
        path.mkdir()
        for name in FILES:
            special(path / name)
    else:
        special(path)
    with pytest.raises(OSError) as raised:
        READERS[reader](path)
    assert "special" in str(raised.value) and len(str(raised.value)) < 1000


ODD = {
    "NUL": "a\0b",
    "too long": "n" * 300,
    "far too long": "/".join(["n" * 200] * 30),
    "circle": "circle",
    "half a surrogate": "a\ud800b",
    "no text": os.fsdecode(b"a\xff\xfeb"),
    "below a file": "file/below",
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("reader", READERS)
def test_a_path_that_nothing_can_have_is_missing(tmp_path, reader, odd):
    for suffix in ("", ".safetensors", ".mp4", ".py"):
        (tmp_path / f"circle{suffix}").symlink_to(f"circle{suffix}")
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError) as raised:
        READERS[reader](tmp_path / ODD[odd])
    assert len(str(raised.value).encode(errors="backslashreplace")) < 10_000


def test_a_file_with_a_name_that_is_no_text_is_read(tmp_path):
    path = tmp_path / os.fsdecode(b"\xff.json")
    path.write_text("{}")
    assert read_json(path) == {}
    with pytest.raises(ValueError) as raised:
        read_clip(path)
    str(raised.value).encode()


def test_a_regular_file_behind_links_is_one_and_a_folder_is_none(tmp_path):
    (tmp_path / "file").write_text("all")
    (tmp_path / "link").symlink_to("file")
    assert regular_file(tmp_path / "link").read_text() == "all"
    with pytest.raises(IsADirectoryError):
        regular_file(tmp_path)
    with pytest.raises(ValueError, match="link holds more than 2 bytes"):
        read_bytes(tmp_path / "link", 2)
    assert read_bytes(tmp_path / "link", 3) == b"all"


def test_arrays_come_back_as_numpy_wrote_them(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {
        "float": rng.normal(size=(3, 4, 5)),
        "by columns": np.asfortranarray(rng.normal(size=(3, 4))).astype(np.float16, order="F"),
        "big-endian": rng.integers(0, 9, (2, 3)).astype(">i4"),
        "truth": rng.random(7) > 0.5,
        "number": np.float32(3.5),
        "empty": np.zeros((0, 5), np.uint8),
        "a/b": np.arange(3),
    }
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "a.npz", **arrays)
        found = read_arrays(tmp_path / "a.npz")
        assert found.keys() == arrays.keys()
        for name, array in arrays.items():
            assert found[name].dtype == array.dtype and np.array_equal(found[name], array), name
            assert found[name].flags.writeable
    assert list(read_arrays(tmp_path / "a.npz", lambda name: name == "truth")) == ["truth"]


@pytest.mark.slow
def test_no_flipped_byte_of_an_array_is_believed(tmp_path, shapes_unchecked):
    path, rng = tmp_path / "a.npz", np.random.default_rng(0)
    np.savez(path, a=np.arange(100.0), b=np.arange(5))
    whole = path.read_bytes()
    for place in rng.integers(0, len(whole), 400).tolist():
        path.write_bytes(whole[:place] + bytes([whole[place] ^ rng.integers(1, 256)]) + whole[place + 1 :])
        try:
            found = read_arrays(path)
        except ValueError:
            continue
        for name, array in found.items():
            wanted = {"a": np.arange(100.0), "b": np.arange(5)}.get(name)
            assert wanted is None or np.array_equal(array, wanted)  # what is not guarded are names and dates


def in_pickle(*opcodes: bytes) -> bytes:
    """An array like VideoPose3D's `positions_3d`, whose one object is made by these opcodes of its pickle."""
    before, after = pickle.dumps(np.array(0, object), protocol=3).split(b"K\x00a")  # a zero, put into a list
    return npy("()", before + b"".join(opcodes) + b"a" + after, "|O")


def name(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text)) + text.encode()


MALICE = {
    "a table of a billion places": in_pickle(b"Nr", struct.pack("<I", 0x10000000)),
    "tuples as keys": in_pickle(b"}N\x85", 60 * b"q\x64h\x64\x86", b"Ns"),
    "copied tuples as keys": in_pickle(b"}N\x85", 60 * b"2\x86", b"Ns"),
    "a command": in_pickle(b"cposix\nsystem\n", name("touch made"), b"\x85R"),
    "a function of NumPy's": in_pickle(b"cnumpy\nones\n", b"J\xff\xff\xff\x7f\x85R"),
    "a large array": in_pickle(b"cnumpy\nndarray\n", b"J\xff\xff\xff\x7f\x85R"),
    "promised bytes": in_pickle(b"\x8e" + struct.pack("<Q", 1 << 40)),
    "cut off": in_pickle(b"}")[:-20],
    "a number": in_pickle(b"K\x01"),
    "keys that are numbers": in_pickle(b"}K\x01K\x02s"),
    "a dictionary for an array": in_pickle(b"}", name("S9"), b"}", name("Eating"), b"}ss"),
    "another subject": in_pickle(b"}", name("S12"), b"}s"),
}


@pytest.mark.parametrize("kind", MALICE)
def test_pickles_of_poses_run_nothing_and_take_nothing(tmp_path, kind):
    numbers = " ".join(map(str, np.linspace(0.1, 1, 300)))
    (tmp_path / "metadata.xml").write_text(f"<w0>[{numbers}]</w0>")
    for name, key in (("data_3d_h36m", "positions_3d"), ("data_2d_h36m_gt", "positions_2d")):
        with zipfile.ZipFile(tmp_path / f"{name}.npz", "w") as archive:
            archive.writestr(f"{key}.npy", MALICE[kind])
    limited = (
        "import resource, runpy, sys\n"
        "import numpy\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 31, 1 << 31))\n"
        "sys.argv = sys.argv[1:]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    command = [sys.executable, "-I", "-c", limited, CONVERT, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, done.stderr
    assert not (tmp_path / "made").exists() and not (tmp_path / "poses.npz").exists()
