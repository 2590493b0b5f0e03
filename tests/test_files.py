"""A file is either the old one or the whole new one, also when its writer is killed."""

import os
import signal
import subprocess
import sys
import time

import pytest

from gatescope.files import atomic_write, files_in, sha256_of, sha256_of_contents, sha256_of_files

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


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002, 0o027])
def test_a_written_file_has_the_rights_that_the_umask_asks_for_and_its_folder_is_made(tmp_path, umask):
    path = tmp_path / "new" / "card.json"
    before = os.umask(umask)
    try:
        for content in ("whole", "anew"):
            with atomic_write(path) as temporary:
                assert temporary.stat().st_mode & 0o777 == 0o666 & ~umask  # at no time more
                temporary.write_text(content)
            assert path.read_text() == content
            assert path.stat().st_mode & 0o777 == 0o666 & ~umask
    finally:
        os.umask(before)


def test_one_checksum_of_many_files_knows_their_names_and_not_their_order(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_text("one")
    second.write_text("two")
    digest = sha256_of_files([first, second], tmp_path)
    assert digest == sha256_of_files([second, first], tmp_path)
    assert sha256_of(first) != sha256_of(second)
    first.rename(tmp_path / "c")
    assert digest != sha256_of_files([tmp_path / "c", second], tmp_path)


def test_contents_decide_and_names_inside_a_folder(tmp_path):
    clip = tmp_path / "clip"
    (clip / "below").mkdir(parents=True)
    (clip / "1.jpg").write_bytes(b"one")
    (clip / "below" / "2.jpg").write_bytes(b"two")
    seen = [sha256_of_contents(clip)]
    assert sha256_of_contents(clip / "1.jpg") != seen[0]
    for change in (
        lambda: (clip / "1.jpg").write_bytes(b"0ne"),
        lambda: (clip / "1.jpg").rename(clip / "3.jpg"),
        lambda: (clip / "4.jpg").touch(),
        lambda: (clip / "below" / "2.jpg").unlink(),
        lambda: (clip / os.fsdecode(b"\xff.jpg")).touch(),
    ):
        change()
        seen.append(sha256_of_contents(clip))
    assert len(set(seen)) == len(seen)
    (clip / ".DS_Store").write_text("written by a file manager")
    os.utime(clip / "3.jpg", (0, 0))
    clip.rename(tmp_path / "elsewhere")
    (tmp_path / "link").symlink_to("elsewhere")
    assert sha256_of_contents(tmp_path / "link") == sha256_of_contents(tmp_path / "elsewhere") == seen[-1]


def test_links_are_followed_and_circles_and_pipes_end(tmp_path):
    (tmp_path / "held").mkdir()
    (tmp_path / "held" / "1.jpg").write_bytes(b"one")
    clips = tmp_path / "clips"
    clips.mkdir()
    (clips / "a").symlink_to("../held")
    (clips / "again").symlink_to(".")
    (clips / "lost").symlink_to("nowhere")
    (clips / "circle").symlink_to("circle")
    os.mkfifo(clips / "pipe")
    assert files_in(clips) == [clips / "a" / "1.jpg"]
