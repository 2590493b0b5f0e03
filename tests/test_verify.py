"""What a clean clone rebuilds is held against what was committed, and a departure is never green."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from gatescope.atlas.manifest import load_manifest, manifest_text
from gatescope.atlas.rebuild import rebuild
from gatescope.atlas.verify import VERIFIED, Row, Verified, keep, load_verified, table
from throwaway import DRAW, FINISH, write_notebook

REPOSITORY = Path(__file__).resolve().parent.parent
GIT = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
SOME = Verified(
    commit="0123456789abcdef",
    python="3.11.7",
    torch="2.13.0",
    seconds=1620,
    rows={"07_line": Row(figures=2, numbers=5, departures=[], files=5, same_files=4, seconds=61)},
    others=[],
)


def commit(tree):
    for words in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--allow-empty", "-m", "all"]):
        subprocess.run([*GIT, *words], cwd=tree, check=True)


@pytest.fixture
def tree(tmp_path):
    """A repository with the library and a small notebook that was run; a number and a second notebook are spoilt."""
    for name in ("Snakefile", "profiles.toml", "requirements.lock", "pyproject.toml", ".gitignore"):
        shutil.copy(REPOSITORY / name, tmp_path)
    shutil.copytree(REPOSITORY / "lib", tmp_path / "lib", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    (tmp_path / "data" / "trainings").mkdir(parents=True)
    rebuild(write_notebook(tmp_path, "07_line", DRAW, FINISH))
    manifest = tmp_path / "figures" / "manifest.json"
    figures = load_manifest(manifest)
    figures["07-line"]["numbers"]["steps"]["value"] = 3
    manifest.write_text(manifest_text(figures), "utf-8")
    write_notebook(tmp_path, "08_line", FINISH, kernelspec={"name": "python3", "display_name": "Python 3"})
    for words in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "all"]):
        subprocess.run([*GIT, *words], cwd=tmp_path, check=True)
    return tmp_path


@pytest.mark.slow
def test_a_departure_and_a_notebook_that_does_not_run_are_told_and_nothing_is_kept(tree):
    (tree / "notebooks" / "08_line.ipynb").unlink()  # not committed, and so nothing to the clone
    env = os.environ | {"PYTHONPATH": str(tree / "lib")}
    done = subprocess.run(
        [sys.executable, "-m", "gatescope", "verify"], cwd=tree, env=env, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "without 1 files changed since: notebooks/08_line.ipynb" in done.stdout
    assert "07-line: 'steps' was 3 (exact), is 2 (exact)" in done.stderr
    assert "08_line: the notebook did not come to its end" in done.stderr
    assert "| 07_line | 1 | 1 | 1 departures | 3 of 3 |" in done.stdout
    assert "| 08_line | 0 | 0 | 1 departures | 0 of 1 | 0 |" in done.stdout
    assert not (tree / VERIFIED).exists()
    assert not list((tree / "build").glob("verify-*"))


def test_a_record_is_read_as_it_was_kept(tmp_path):
    (tmp_path / "figures").mkdir()
    keep(SOME, tmp_path)
    assert load_verified(tmp_path / VERIFIED) == SOME


def test_readme_shows_the_table_that_a_run_wrote():
    readme, kept = (REPOSITORY / "README.md").read_text("utf-8"), REPOSITORY / VERIFIED
    shown = re.findall(r"^Commit .*\n\n\| notebook \| figures \|(?:.*\n)+?(?=\n)", readme, re.MULTILINE)
    assert [each.strip() for each in shown] == ([table(load_verified(kept))] if kept.exists() else [])


def test_a_table_tells_departures_and_files_of_other_bytes():
    assert "| 07_line | 2 | 5 | all | 4 of 5 | 61 |" in table(SOME)
    row = replace(SOME.rows["07_line"], departures=["07-line: 'steps' was 3 (exact), is 2 (exact)"])
    found = replace(SOME, rows={"07_line": row}, others=["x"])
    assert "| 1 departures |" in table(found) and len(found.departures) == 2
