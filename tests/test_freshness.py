"""A notebook is stale when something that decides it has changed, and only then."""

import re
import shutil

import nbformat
import pytest

from gatescope.atlas.freshness import inputs_digest
from gatescope.files import library_files
from gatescope.paths import LIBRARY, NOTEBOOKS
from throwaway import FINISH, write_notebook

COMMITTED = sorted(NOTEBOOKS.glob("*.ipynb"))


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A copy of the library to edit, as the digests see it."""
    copy = tmp_path / "lib"
    for path in library_files():
        target = copy / path.relative_to(LIBRARY)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    monkeypatch.setattr("gatescope.dependencies.LIBRARY", copy)
    monkeypatch.setattr("gatescope.files.LIBRARY", copy)
    return copy


def stale_after(*edited):
    """The committed notebooks that a change of each file makes stale, one file after the other."""
    before = {path: inputs_digest(path, {}) for path in COMMITTED}
    for file in edited:
        append(file)
        after = {path: inputs_digest(path, {}) for path in COMMITTED}
        yield {path for path in COMMITTED if after[path] != before[path]}
        before = after


def append(path):
    path.write_text(path.read_text() + "\n")


@pytest.mark.slow
def test_an_edited_file_makes_the_notebooks_stale_that_use_it_and_no_other(library):
    code = {
        path: [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
        for path in COMMITTED
    }
    asks = re.compile(r"^from gatescope\.pictures import .*\bscores\b", re.MULTILINE)
    asking = {path for path, cells in code.items() if asks.search("\n".join(cells))}
    assert 0 < len(asking) < len(COMMITTED)
    wanted = {
        "pictures/scores.py": asking,
        "atlas/figures.py": set(COMMITTED),
        "pictures/style.mplstyle": set(COMMITTED),
        "atlas/site.py": set(),
        "atlas/site_template/site.css": set(),
    }
    assert list(stale_after(*(library / "gatescope" / name for name in wanted))) == list(wanted.values())


def test_each_parameter_counts_by_name_and_value(tmp_path):
    path = write_notebook(tmp_path, "07_line", FINISH)
    asked = [{}, {"height": 2.0}, {"height": 3.0}, {"clip": "no file"}, {"height": 2.0, "clip": "no file"}]
    assert len({inputs_digest(path, given) for given in asked}) == len(asked)
    assert inputs_digest(path, {"clip": "a", "height": 2.0}) == inputs_digest(path, {"height": 2.0, "clip": "a"})


def test_what_a_parameter_names_counts_by_what_it_holds(tmp_path):
    path = write_notebook(tmp_path, "07_line", FINISH)
    clip = tmp_path / "clip"
    clip.mkdir()
    (clip / "1.jpg").write_bytes(b"one")
    (clip / "2.jpg").write_bytes(b"two")

    def digests():
        given = ({"clip": "clip"}, {"clip": str(clip)}, {"clip": str(clip / "1.jpg")}, {"clips": ["none", "clip"]})
        return [inputs_digest(path, each) for each in given]

    before = digests()
    assert digests() == before
    (clip / "1.jpg").write_bytes(b"0ne")
    after = digests()
    assert not set(after) & set(before)
    (clip / "3.jpg").write_bytes(b"three")
    assert [one == other for one, other in zip(digests(), after, strict=True)] == [False, False, True, False]


def test_what_is_read_with_a_file_counts_too(tmp_path):
    path = write_notebook(tmp_path, "07_line", FINISH)
    for name in ("a.mp4", "b.mp4", "n.safetensors", "n.json", "notes.txt"):
        (tmp_path / name).write_text("one")
    (tmp_path / "clips.csv").write_text("path,label\na.mp4,up\n../else.mp4,down\n")

    def digests():
        return [inputs_digest(path, {"clips": name}) for name in ("clips.csv", "n.safetensors", "notes.txt")]

    before = digests()
    (tmp_path / "b.mp4").write_text("two")
    assert digests() == before
    (tmp_path / "a.mp4").write_text("two")
    (tmp_path / "n.json").write_text("two")
    assert [one == other for one, other in zip(digests(), before, strict=True)] == [False, False, True]


def test_a_readers_clip_counts_anew_once_hands_can_be_found_and_nothing_else_does(tmp_path, monkeypatch):
    path = write_notebook(tmp_path, "07_line", FINISH)
    (tmp_path / "a.mp4").write_text("one")

    def digests(there):
        monkeypatch.setattr("gatescope.loaders.hands.networks.has_networks", lambda: there)
        return [inputs_digest(path, given) for given in ({"clips": ["a.mp4"]}, {"clip": "no file"}, {})]

    assert [one == other for one, other in zip(digests(False), digests(True), strict=True)] == [False, True, True]


@pytest.mark.parametrize("text", ["", ".", "..", "/", "a\0b", "n" * 300, "~no such person/clip"])
def test_a_parameter_that_names_no_file_is_only_a_text(tmp_path, text):
    path = write_notebook(tmp_path, "07_line", FINISH)
    before = inputs_digest(path, {"clip": text})
    (tmp_path / "build" / "rebuilt").mkdir(parents=True)
    (tmp_path / "build" / "rebuilt" / "07_line.json").write_text("{}")
    assert inputs_digest(path, {"clip": text}) == before


@pytest.mark.parametrize("cell", ["files = !ls", "from gatescope.nowhere import f"])
def test_a_cell_whose_imports_cannot_be_followed_counts_on_the_whole_library(tmp_path, library, cell):
    path = write_notebook(tmp_path, "07_line", cell, FINISH)
    before = inputs_digest(path, {})
    append(library / "gatescope/atlas/site.py")
    assert inputs_digest(path, {}) != before
