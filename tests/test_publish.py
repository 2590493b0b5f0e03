"""Many files reach the tree together or not at all, whatever stops them on the way."""

import errno
import json
import random
import shutil
import signal
import subprocess
import sys

import pytest

import gatescope.atlas.publish as publishing
from gatescope.atlas.publish import publish, recover


def write_tree(folder, content, names):
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_text(content)


def read_tree(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


@pytest.fixture
def moves(tmp_path):
    """Two files replaced, one removed, one new."""
    write_tree(tmp_path / "tree", "old", ["a", "b", "gone"])
    write_tree(tmp_path / "stage", "new", ["a", "b", "c"])
    tree, stage = tmp_path / "tree", tmp_path / "stage"
    return {
        tree / "gone": None,
        tree / "a": stage / "a",
        tree / "b": stage / "b",
        tree / "c": stage / "c",
    }


def test_a_publish_that_ends_leaves_the_new_files_only(tmp_path, moves):
    publish(moves, tmp_path / "undo")
    assert read_tree(tmp_path / "tree") == {"a": "new", "b": "new", "c": "new"}
    assert not (tmp_path / "undo").exists()
    recover(tmp_path / "undo")
    assert read_tree(tmp_path / "tree") == {"a": "new", "b": "new", "c": "new"}


@pytest.mark.parametrize("step", range(6))
def test_a_disk_that_fills_up_at_any_step_leaves_the_tree_as_it_was(tmp_path, moves, monkeypatch, step):
    copies = []

    def copyfile(source, target):
        copies.append(target)
        if len(copies) == step + 1:
            target.write_text("ha")
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(source, target)

    real = shutil.copyfile
    monkeypatch.setattr(shutil, "copyfile", copyfile)
    with pytest.raises(OSError, match="No space"):
        publish(moves, tmp_path / "undo")
    assert read_tree(tmp_path / "tree") == {"a": "old", "b": "old", "gone": "old"}
    assert not (tmp_path / "undo").exists()
    assert len(copies) == step + 1


@pytest.fixture
def killed(tmp_path, moves, monkeypatch):
    """A publish that a kill stopped when two of four steps were done: the folder of what it kept."""

    def kill(temporary, path):
        if path.name == "b":
            raise KeyboardInterrupt
        real(temporary, path)

    real, undo = publishing.put_in_place, tmp_path / "undo"
    monkeypatch.setattr(publishing, "put_in_place", kill)
    monkeypatch.setattr(publishing, "recover", lambda undo: None)  # a kill gives no time for it
    with pytest.raises(KeyboardInterrupt):
        publish(moves, undo)
    monkeypatch.undo()
    return undo


def test_a_publish_takes_back_one_that_was_killed_before_it(tmp_path, moves, killed):
    tree = tmp_path / "tree"
    assert len(list(tree.glob(".b.*"))) == 1  # what it had written by half
    publish({tree / "b": moves[tree / "b"]}, killed)
    assert read_tree(tree) == {"a": "old", "b": "new", "gone": "old"}


def test_an_edit_after_the_kill_stays_and_so_do_files_of_others(tmp_path, killed):
    tree = tmp_path / "tree"
    write_tree(tree, "mine", ["a", ".b.swp", ".a.png"])
    (tree / "gone").write_text("written again")
    recover(killed)
    assert read_tree(tree) == {"a": "mine", "b": "old", "gone": "written again", ".b.swp": "mine", ".a.png": "mine"}


def test_a_copied_tree_recovers_itself_and_not_the_original(tmp_path, killed):
    copied = tmp_path / "elsewhere"
    shutil.copytree(tmp_path / "tree", copied / "tree")
    shutil.copytree(killed, copied / "undo")
    before = read_tree(tmp_path / "tree")
    recover(copied / "undo")
    assert read_tree(copied / "tree") == {"a": "old", "b": "old", "gone": "old"}
    assert read_tree(tmp_path / "tree") == before and before["a"] == "new"


def test_a_folder_that_is_a_link_to_another_disk_recovers_all_the_same(tmp_path, moves, monkeypatch):
    (tmp_path / "scratch" / "deep").mkdir(parents=True)
    (tmp_path / "build").symlink_to(tmp_path / "scratch" / "deep")
    real, undo = publishing.put_in_place, tmp_path / "build" / "undo"

    def kill(temporary, path):
        if path.name == "b":
            raise KeyboardInterrupt
        real(temporary, path)

    monkeypatch.setattr(publishing, "put_in_place", kill)
    monkeypatch.setattr(publishing, "recover", lambda undo: None)
    with pytest.raises(KeyboardInterrupt):
        publish(moves, undo)
    recover(undo)
    assert read_tree(tmp_path / "tree") == {"a": "old", "b": "old", "gone": "old"}


PUBLISHER = """
import json, sys
from pathlib import Path
from gatescope.atlas.publish import publish
files, undo = json.loads(sys.argv[1]), Path(sys.argv[2])
print("ready", flush=True)
publish({Path(target): Path(new) for target, new in files.items()}, undo)
"""


@pytest.mark.slow
def test_a_publisher_killed_at_any_time_is_undone_or_done(tmp_path):
    names = [f"{index:02d}" for index in range(12)]
    write_tree(tmp_path / "stage", "new" * 1000, names)
    files = {str(tmp_path / "tree" / name): str(tmp_path / "stage" / name) for name in names}
    rng = random.Random(0)
    torn = 0
    outcomes = set()
    for _ in range(30):
        write_tree(tmp_path / "tree", "old", names)
        command = [sys.executable, "-c", PUBLISHER, json.dumps(files), str(tmp_path / "undo")]
        publisher = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert publisher.stdout.readline() == b"ready\n"
        # Killed once so many files are new: on a busy machine a time would miss the writes.
        enough = rng.randrange(10)
        while (
            publisher.poll() is None and sum((tmp_path / "tree" / name).stat().st_size > 3 for name in names) < enough
        ):
            pass
        publisher.send_signal(signal.SIGKILL)
        publisher.wait()
        publisher.stdout.close()
        torn += len(set(read_tree(tmp_path / "tree").values())) > 1
        recover(tmp_path / "undo")
        after = read_tree(tmp_path / "tree")
        assert sorted(after) == names
        assert len(set(after.values())) == 1
        outcomes |= set(after.values())
    # The kills did fall among the writes.
    assert torn > 3
    assert "old" in outcomes
