"""A file is either the old one or the whole new one, also when its writer is killed."""

import os
import signal
import subprocess
import sys
import time

import pytest

from gatescope.files import atomic_write, sha256_of, sha256_of_files

SIZE = 4_000_000
WRITER = """
import itertools, sys
from pathlib import Path
from gatescope.files import atomic_write
path = Path(sys.argv[1])
print("ready", flush=True)
for turn in itertools.count():
    with atomic_write(path) as temporary, open(temporary, "wb") as file:
        for _ in range(40):
            file.write(bytes([turn % 256]) * 100_000)
            file.flush()
    print("written", flush=True)
"""


@pytest.mark.slow
def test_forty_kills_during_a_write_never_leave_half_a_file(tmp_path):
    path = tmp_path / "weights.bin"
    with atomic_write(path) as temporary:
        temporary.write_bytes(b"\0" * SIZE)
    seen = set()
    for kill in range(40):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE)
        assert writer.stdout.readline() == b"ready\n"
        for _ in range(kill % 3):  # on a busy machine a time alone would end before the first write
            assert writer.stdout.readline() == b"written\n"
        time.sleep(0.001 + 0.0021 * kill)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        content = path.read_bytes()
        assert len(content) == SIZE
        assert len(set(content)) == 1
        seen.add(content[0])
    # The kills did fall among writes, some of which were whole.
    assert len(seen) > 1
    assert len(list(tmp_path.iterdir())) > 1


def test_a_block_that_raises_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "card.json"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="no"), atomic_write(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError("no")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["card.json"]


def test_a_written_file_is_whole_and_its_folder_is_made(tmp_path):
    path = tmp_path / "new" / "card.json"
    with atomic_write(path) as temporary:
        temporary.write_text("whole")
    assert path.read_text() == "whole"


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_who_may_read_a_written_file_is_the_umasks_to_say(tmp_path, umask):
    before = os.umask(umask)
    try:
        with atomic_write(tmp_path / "weights.bin") as temporary:
            temporary.write_bytes(b"1")
    finally:
        os.umask(before)
    assert (tmp_path / "weights.bin").stat().st_mode & 0o777 == 0o666 & ~umask


def test_one_checksum_of_many_files_knows_their_names_and_not_their_order(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_text("one")
    second.write_text("two")
    digest = sha256_of_files([first, second], tmp_path)
    assert digest == sha256_of_files([second, first], tmp_path)
    assert sha256_of(first) != sha256_of(second)
    first.rename(tmp_path / "c")
    assert digest != sha256_of_files([tmp_path / "c", second], tmp_path)
