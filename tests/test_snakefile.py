"""What has not changed is not run again, and what was killed is."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from throwaway import DRAW, FINISH, content_of, write_notebook

REPOSITORY = Path(__file__).resolve().parent.parent
FLAGS = ["--nolock", "--rerun-incomplete", "--rerun-triggers", "mtime"]  # as in the Makefile
pytestmark = pytest.mark.slow


def plant(tree):
    """Two notebooks that were never run; only the first knows `height`, only the second `width`."""
    for name in ("Snakefile", "profiles.toml"):
        shutil.copy(REPOSITORY / name, tree)
    write_notebook(tree, "07_line", DRAW, FINISH)
    second = write_notebook(tree, "08_line", DRAW, "print('clip is', clip)", FINISH)
    second.write_text(second.read_text().replace("height", "width"))
    return tree


@pytest.fixture
def tree(tmp_path):
    """A tree with two notebooks that were never run."""
    return plant(tmp_path)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The same tree, once made; for `clone` only."""
    tree = plant(tmp_path_factory.mktemp("made"))
    assert make(tree)[0] == ["07_line", "08_line"]
    return tree


@pytest.fixture
def clone(made, tmp_path):
    """The tree that was made, as a clone would have it: the same content, every date new."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True, copy_function=shutil.copyfile)
    return tmp_path


def start(tree, *arguments):
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *FLAGS, *arguments]
    return subprocess.Popen(
        command,
        cwd=tree,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def make(tree, *arguments, fails=False):
    """The notebooks that ran, in order of their names, and all that was printed."""
    run = start(tree, *arguments)
    printed, _ = run.communicate()
    assert bool(run.returncode) is fails, printed
    return sorted(name for name in ("07_line", "08_line") if f"{name}.ipynb: 1 figures" in printed), printed


def test_only_what_changed_is_run_again(clone):
    before = content_of(clone)
    ran, printed = make(clone)
    assert (ran, content_of(clone)) == ([], before)
    assert "Nothing to be done" in printed
    (clone / "figures" / "08-line.png").unlink()
    assert make(clone)[0] == ["08_line"]
    assert content_of(clone) == before
    path = clone / "notebooks" / "07_line.ipynb"
    path.write_text(path.read_text().replace("What is this?", "What is that?"))
    assert make(clone)[0] == ["07_line"]


def test_a_parameter_reaches_the_notebooks_that_have_it(clone):
    before = content_of(clone)
    assert make(clone, "--config", "width=2.5")[0] == ["08_line"]
    assert "width = 2.5" in (clone / "notebooks" / "08_line.ipynb").read_text()
    assert make(clone)[0] == ["08_line"]
    assert content_of(clone) == before


def test_a_clips_name_is_read_by_neither_make_nor_a_shell_nor_yaml(tmp_path):
    name = """`touch ran` $(touch ran) $(shell touch ran) it's $5 {y} #2: "x"\\.mkv"""
    installed = Path(sys.prefix, "installed")
    if not installed.exists():
        pytest.skip("make would install anew: this environment was not made by it")
    tree = tmp_path / "a {y} checkout"
    tree.mkdir()
    plant(tree)
    for file in ("Makefile", "requirements.lock", "requirements.hashes", "pyproject.toml"):
        shutil.copy(REPOSITORY / file, tree)
        os.utime(tree / file, (0, 0))
    (tree / name).touch()
    command = ["make", "figures", f"clip={name}", f"VENV={sys.prefix}", "CORES=1"]
    run = subprocess.run(command, cwd=tree, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert not (tree / "ran").exists()
    said = json.loads((tree / "notebooks" / "08_line.ipynb").read_text())["cells"][-2]["outputs"][0]["text"]
    assert "".join(said).strip() == f"clip is {tree / name}"


HOSTILE = ["x; touch ran", "$(touch ran)", "$(shell touch ran)", "`touch ran`", "../../notebooks", "x' \"y", "#"]


@pytest.mark.parametrize("value", HOSTILE)
def test_no_value_of_make_is_read_by_make_or_a_shell_or_removes_anything(tmp_path, value):
    """Without an environment that make installed: it need not come to running a notebook."""
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    for name in ("snakemake", "python", "ruff"):
        tool = tmp_path / "venv" / "bin" / name
        tool.write_text(f'#!/bin/sh\nprintf "%s\\n" {name} "$@" >> ran-with\n')
        tool.chmod(0o755)
    for file in ("Makefile", "requirements.lock", "requirements.hashes", "pyproject.toml"):
        shutil.copy(REPOSITORY / file, tmp_path)
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "venv" / "installed").touch()
    runs = tmp_path / "build" / "runs" / "ci"
    runs.mkdir(parents=True)
    settings = [
        ("figures", "PROFILE"),
        ("figures", "CORES"),
        ("figures", "FORCE"),
        ("sweep", "CORES"),
        ("test", "CORES"),
    ]
    for target, name in settings:
        given = ["FORCE=1"] if name == "PROFILE" else []
        command = ["make", target, "VENV=venv", *given, f"{name}={value}", "clip="]
        subprocess.run(command, cwd=tmp_path, capture_output=True)
        assert not (tmp_path / "ran").exists(), (target, name)
        assert runs.exists() is (name != "FORCE") and (tmp_path / "notebooks").exists(), (target, name)
        runs.mkdir(exist_ok=True)
    asked = (tmp_path / "ran-with").read_text().splitlines()
    assert asked.count(value) == 3  # CORES, as it was written


@pytest.mark.parametrize("folder", ["", "a b", "-x", "it's", "a&b", "a;b", "`x`", "$(shell touch ran)", "a(b", "a:b"])
def test_an_environment_whose_name_a_shell_or_make_would_read_is_refused(tmp_path, folder):
    shutil.copy(REPOSITORY / "Makefile", tmp_path)
    run = subprocess.run(["make", "site", f"VENV={folder}"], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 2 and "make cannot follow" in run.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["Makefile"]


def test_a_notebook_that_is_none_is_refused_in_words(tree):
    (tree / "notebooks" / "07_line.ipynb").write_text("{")
    _, printed = make(tree, fails=True)
    assert "07_line.ipynb is no notebook of format 4" in printed


def test_an_unknown_parameter_or_profile_and_no_core_are_refused_with_what_there_is(clone):
    before = content_of(clone)
    _, printed = make(clone, "--config", "depth=2.5", fails=True)
    assert "no notebook has a parameter depth" in printed
    _, printed = make(clone, "--config", "profile=quick", fails=True)
    assert "no profile quick; there are ci, full, paper" in printed
    _, printed = make(clone, "--cores", "0", fails=True)
    assert "CORES must be 1 or more; got 0" in printed
    assert content_of(clone) == before


def test_a_failing_notebook_fails_the_run_and_the_others_stand(tree):
    path = write_notebook(tree, "08_line", "1 / 0", FINISH)
    source = path.read_bytes()
    ran, printed = make(tree, fails=True)
    assert ran == ["07_line"]
    assert "ZeroDivisionError" in printed
    assert path.read_bytes() == source
    assert not (tree / "figures" / "08-line.png").exists()


def test_a_killed_run_is_taken_up_again(tree):
    for name in ("07_line", "08_line"):
        write_notebook(tree, name, DRAW, "while not Path('../../go').exists(): time.sleep(0.1)", FINISH)
    before = content_of(tree)
    run = start(tree)
    while len(list((tree / "build").glob("0*"))) < 2:
        assert run.poll() is None
        time.sleep(0.1)
    # Its kernels have sessions of their own, and end when they find themselves alone.
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate()
    assert {name: content_of(tree)[name] for name in before} == before
    assert not (tree / "figures").exists()
    (tree / "go").touch()
    assert make(tree)[0] == ["07_line", "08_line"]


def test_a_list_of_profiles_of_a_gigabyte_is_told_and_not_read(tree):
    os.truncate(tree / "profiles.toml", 1 << 30)
    run = start(tree, "--dry-run")
    printed, _ = run.communicate()
    assert run.returncode and "profiles.toml holds more than 16,777,216 bytes" in printed


def test_the_sweep_makes_what_evidence_lacks_and_the_trainings_what_a_profile_lists(tmp_path):
    shutil.copy(REPOSITORY / "Snakefile", tmp_path)
    listed = 'isogd]\ncells = ["b"]\nseeds = 1\nmodalities = ["rgb", "depth"]\nstart = "jester"\n'
    (tmp_path / "profiles.toml").write_text(f"[small.trainings.{listed}")
    (tmp_path / "notebooks").mkdir()
    evidence = tmp_path / "data" / "evidence"
    evidence.mkdir(parents=True)
    shutil.copytree(REPOSITORY / "data" / "trainings", tmp_path / "data" / "trainings")
    (evidence / "sweep.toml").write_text(
        "[seeds]\na = 2\n[adapted]\nc = 1\n[memory.reach5-frames32-without]\nb_rescaled = 1\n"
    )
    (evidence / "seeds" / "a-0").mkdir(parents=True)
    (evidence / "seeds" / "a-0" / "card.json").touch()
    run = start(tmp_path, "--dry-run", "--printshellcmds", "sweep", "trainings", "--config", "profile=small")
    printed, _ = run.communicate()
    assert run.returncode == 0, printed
    commands = [line.partition("-m gatescope")[2] for line in printed.splitlines() if " -m gatescope" in line]
    begun = "--start build/runs/jester/b-0/network.safetensors --out build/runs/isogd/b-"
    weights = "build/runs/rows/{}/network.safetensors --out data/evidence/{}"
    assert sorted(commands) == [
        " adapt " + weights.format("c-0", "adapted/c-0"),
        " clips data/trainings/isogd.toml --processes 1",
        " clips data/trainings/jester.toml --processes 1",
        " clips data/trainings/rows.toml --processes 1",
        " score " + weights.format("a-1", "seeds/a-1"),
        f" train data/trainings/isogd.toml --cell b --seed 0 --modality depth {begun}depth-0",
        f" train data/trainings/isogd.toml --cell b --seed 0 {begun}0",
        " train data/trainings/jester.toml --cell b --seed 0 --out build/runs/jester/b-0",
        " train data/trainings/rows.toml --cell a --seed 1 --out build/runs/rows/a-1",
        " train data/trainings/rows.toml --cell c --seed 0 --out build/runs/rows/c-0",
        ".trainings.memory_need --cell b_rescaled --seed 0 --reach 5 --frames 32 --without",
    ]
