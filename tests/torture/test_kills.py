"""SIGKILL at random moments and disks that fill up: nothing is lost, and what comes out at last is the same."""

import json
import os
import random
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest
from jobs import JOBS, Jobs

from site_trees import executed, picture, plotly, write_tree
from throwaway import DRAW, FINISH, write_notebook

ALL_KILLS, FEW_KILLS = 30, 2
ALL_DISKS, FEW_DISKS = 10, 1
BRIEF = ("training",)  # a rebuild takes seconds, and is killed in tests/test_publish.py and test_snakefile.py
WRITES = {"rebuild": ("notebooks/07_line.ipynb", "figures"), "training": ("run",), "site": ("out",)}
# What a reader may have beside what is written, by its place in the tree.
OWN = (
    "README.md",
    "notebooks/08_mine.ipynb",
    "notebooks/.07_line.ipynb.swp",
    "figures/mine.png",
    "figures/.07-line.png.swp",
)
OWN_BESIDE = {"rebuild": (), "training": ("run/notes.txt",), "site": ("out/notes.txt",)}


def plant(job: str, tree: Path) -> Path:
    """A tree in which the job was never done."""
    if job == "site":
        write_tree(
            tree,
            **{f"0{n}_page": executed(f"# 0{n} · Page\n\n**Is it?**", picture("noise"), [plotly("G")]) for n in (0, 1)},
        )
    else:
        tree.mkdir(exist_ok=True)
        write_notebook(tree, "07_line", DRAW, "print(('x' * 80 + '\\n') * 500)", FINISH)
    return tree


def edit(job: str, tree: Path, word: str) -> dict[Path, str]:
    """Write what a reader might, between two runs."""
    own = {tree / name: f"mine, {word}" for name in (*OWN, *OWN_BESIDE[job]) if job != "site" or "ipynb" not in name}
    for path, content in own.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    return own


def made(job: str, tree: Path) -> dict[str, bytes]:
    """What the job left in the tree, without times and the cache."""
    found = {}
    for path in tree.rglob("*"):
        name = path.relative_to(tree).as_posix()
        if path.is_file() and name.startswith(WRITES[job]) and name not in (*OWN, *OWN_BESIDE[job]):
            found[name] = path.read_bytes()
    for name in found.keys() & {"run/rows.json", "run/network.json"}:
        found[name] = json.dumps(_untimed(json.loads(found[name]))).encode()
    return found


def _untimed(content):
    if isinstance(content, list):
        return [_untimed(each) for each in content]
    if isinstance(content, dict):
        return {
            name: _untimed(each) for name, each in content.items() if name not in {"seconds", "files", "facts_sha256"}
        }
    return content


def leftovers(tree: Path) -> list[str]:
    """Folders and files of runs that ended long ago."""
    known = {"rebuilt", "tree.lock"}
    return [path.name for path in (tree / "build").glob("*") if path.name not in known]


@pytest.fixture(scope="module")
def jobs(request, tmp_path_factory):
    """A job's name, the process that does it, and what it makes undisturbed."""
    tree = plant(request.param, tmp_path_factory.mktemp("undisturbed") / "tree")
    process = Jobs(request.param, tree)
    yield request.param, process, made(request.param, tree)
    process.close()


def kill(jobs, tree, num_kills):
    job, process, wanted = jobs
    plant(job, tree)
    rng = random.Random(num_kills)
    ended = 0
    for number in range(num_kills):
        if job == "training" and ended:  # a finished one is only read
            shutil.rmtree(tree / "run")
        own = edit(job, tree, f"after {number} kills")
        ended = process.run(tree, kill_after_s=rng.uniform(0, process.seconds)) == ""
        assert {path: path.read_text() for path in own} == own
    own = edit(job, tree, "at last")
    assert process.run(tree) == ""
    assert {path: path.read_text() for path in own} == own
    assert made(job, tree) == wanted
    assert leftovers(tree) == []


@pytest.mark.slow
@pytest.mark.parametrize("jobs", BRIEF, indirect=True)
def test_what_was_killed_twice_ends_as_if_it_was_not(jobs, tmp_path):
    kill(jobs, tmp_path / "tree", FEW_KILLS)


@pytest.mark.torture
@pytest.mark.parametrize("jobs", JOBS, indirect=True)
def test_what_was_killed_thirty_times_ends_as_if_it_was_not(jobs, tmp_path):
    kill(jobs, tmp_path / "tree", ALL_KILLS)


@contextmanager
def disk(folder: Path, size: int):
    """A disk of that many bytes, mounted on a folder; yields what changes its size."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small disk can be mounted only by root")
    try:
        yield lambda size: subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def used(folder: Path) -> int:
    found = os.statvfs(folder)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


def fill(jobs, tmp_path, num_disks):
    job, process, wanted = jobs
    with disk(tmp_path / "large", 1 << 28):
        tree = plant(job, tmp_path / "large" / "tree")
        edit(job, tree, "before")
        before = used(tree)
        assert process.run(tree) == ""
        after = used(tree)
    full = 0
    for number in range(num_disks):
        size = before + (after - before) * (2 * number + 1) // (2 * num_disks)
        with disk(tmp_path / f"disk{number}", 1 << 28) as resize:
            tree = plant(job, tmp_path / f"disk{number}" / "tree")
            own = edit(job, tree, "before")
            before_run = made(job, tree)
            resize(max(size, used(tree)))
            error = process.run(tree)
            full += bool(error)
            assert not error or "No space left" in error or "Errno 28" in error, error
            assert {path: path.read_text() for path in own} == own
            if job != "training" and error:  # which keeps the epochs that it has
                assert made(job, tree) == before_run
            resize(1 << 28)
            assert process.run(tree) == ""
            assert made(job, tree) == wanted
            assert {path: path.read_text() for path in own} == own
            assert leftovers(tree) == []
    assert full


@pytest.mark.slow
@pytest.mark.parametrize("jobs", BRIEF, indirect=True)
def test_a_disk_that_fills_up_loses_nothing(jobs, tmp_path):
    fill(jobs, tmp_path, FEW_DISKS)


@pytest.mark.torture
@pytest.mark.parametrize("jobs", JOBS, indirect=True)
def test_a_disk_that_fills_up_at_ten_points_loses_nothing(jobs, tmp_path):
    fill(jobs, tmp_path, ALL_DISKS)
