"""Two manifests agree when every number does, each by the tolerance of its kind."""

import subprocess
from copy import deepcopy
from dataclasses import asdict

import pytest
from matplotlib.figure import Figure
from PIL import Image

from gatescope.__main__ import main
from gatescope.atlas.figure_files import compare_files
from gatescope.atlas.manifest import (
    compare,
    computed,
    exact,
    load_manifest,
    manifest_text,
    measured,
    read_manifest,
    trained,
)
from gatescope.files import sha256_of
from gatescope.paths import FIGURES, MANIFEST, NOTEBOOKS


def entry(**numbers):
    return {
        "notebook": "05_forget",
        "parameters": {"size": 56},
        "seed": 0,
        "data": "rendered gestures, valid",
        "weights": {},
        "code": "abc",
        "alt": "a gate closes",
        "files": {"05-forget.png": "abc"},
        "numbers": {name.replace("_", " "): asdict(number) for name, number in numbers.items()},
    }


@pytest.mark.parametrize(
    ("before", "after", "agree"),
    [
        (exact(27), exact(27), True),
        (exact(27), exact(28), False),
        (computed(0.5), computed(0.50004), True),
        (computed(0.5), computed(0.50006), False),
        (computed(-2e6), computed(-2.0001e6), True),
        (computed(0.0), computed(9e-7), True),
        (computed(0.0), computed(2e-6), False),
        (trained(0.85), trained(0.75), True),
        (trained(0.85), trained(0.74), False),
        (measured(1.0), measured(99.0), True),
        (computed(0.5), trained(0.5), False),
    ],
)
def test_a_number_agrees_within_the_tolerance_of_its_kind(before, after, agree):
    assert before.agrees(after) is agree
    departures = compare({"05-forget": entry(shown=before)}, {"05-forget": entry(shown=after)})
    assert (departures == []) is agree
    assert all("05-forget" in departure and "shown" in departure for departure in departures)


def test_a_missing_or_new_figure_or_number_is_a_departure():
    committed = {"05-forget": entry(steps=exact(16)), "05-input": entry()}
    assert compare(committed, committed) == []
    assert compare(committed, {"05-input": entry()}) == ["05-forget: the figure was not rebuilt"]
    assert "05-output: the figure is new" in compare(committed, committed | {"05-output": entry()})[0]
    assert compare(committed, committed | {"05-forget": entry()}) == ["05-forget: the number 'steps' is missing"]
    assert compare(committed, committed | {"05-input": entry(steps=exact(1))}) == [
        "05-input: the number 'steps' is new"
    ]


@pytest.mark.parametrize(
    ("field", "value"),
    [("parameters", {"size": 112}), ("seed", 1), ("data", "Jester"), ("weights", {"a": "b"}), ("files", {})],
)
def test_a_figure_made_otherwise_is_a_departure(field, value):
    departures = compare({"05-forget": entry()}, {"05-forget": entry() | {field: value}})
    assert len(departures) == 1
    assert field in departures[0]


def test_an_alternative_text_agrees_by_its_words():
    before, after = (
        entry() | {"alt": f"Gate (a) closes from {value} to −0.5 in 16 steps."} for value in ("0.81", "1.2e-3")
    )
    assert compare({"05-forget": before}, {"05-forget": after}) == []
    for alt in ("", "Gate (b) closes from 0.81 to −0.5 in 16 steps.", "Gate (a) closes."):
        (departure,) = compare({"05-forget": before}, {"05-forget": before | {"alt": alt}})
        assert "alternative text" in departure and "closes from 0.81" in departure
    del after["alt"]
    assert "alternative text" in compare({"05-forget": before}, {"05-forget": after})[0]


def drawn(path, values, size=(3, 2)):
    """A figure in two formats; its entry."""
    fig = Figure(figsize=size)
    axes = fig.subplots()
    axes.plot(values)
    axes.set_ylabel("open, 0 to 1")
    for kind in ("png", "svg"):
        fig.savefig(path / f"05-forget.{kind}")
    return entry() | {"files": {f"05-forget.{kind}": sha256_of(path / f"05-forget.{kind}") for kind in ("png", "svg")}}


def test_a_file_of_a_figure_is_there_as_recorded_and_alike(tmp_path):
    folder, committed = tmp_path / "figures", tmp_path / "committed"
    folder.mkdir()
    committed.mkdir()
    drawn(committed, [0, 1, 0.5])

    def departures(figure):
        return compare_files({"05-forget": figure}, folder, lambda name: (committed / name).read_bytes())

    assert departures(drawn(folder, [0, 1, 0.5])) == []
    assert departures(drawn(folder, [0.01, 0.99, 0.52])) == []
    assert departures(drawn(folder, [0, 1, 0.5], size=(3, 2.5))) == [
        "05-forget: 05-forget.png had 300 x 200 pixels, has 300 x 250",
        "05-forget: 05-forget.svg had the size 0 0 216 144, has 0 0 216 180",
    ]
    figure = drawn(folder, [0, 1, 0.5])
    Image.new("RGB", (300, 200), "white").save(folder / "05-forget.png")
    (folder / "05-forget.svg").unlink()
    assert departures(figure) == [
        "05-forget: 05-forget.png is not the file that the manifest recorded",
        "05-forget: 05-forget.svg is missing",
    ]
    figure["files"] = {"05-forget.png": sha256_of(folder / "05-forget.png")}
    assert departures(figure) == ["05-forget: 05-forget.png shows another picture: its likeness is 0.00"]
    (folder / "05-forget.png").write_bytes(b"no picture")
    figure["files"] = {"05-forget.png": sha256_of(folder / "05-forget.png")}
    assert "cannot be compared" in departures(figure)[0]
    assert compare_files({"05-forget": figure}, folder, lambda name: None) == []


@pytest.mark.parametrize("text", ["half a fi", "[]", '{"figures": []}', '{"figures": {"a": 1}}', "[" * 100_000])
def test_what_is_no_manifest_is_refused_in_words(text):
    with pytest.raises(ValueError, match="not a manifest of figures.*make figures"):
        read_manifest(text)


def test_a_manifest_that_names_files_elsewhere_is_refused():
    for name in ("../README.md", "/etc/passwd", "a/b.png", ".."):
        with pytest.raises(ValueError, match="names files beside it"):
            read_manifest(manifest_text({"05-forget": entry() | {"files": {name: "abc"}}}))


def test_other_code_or_pixels_with_the_same_numbers_agree():
    other = entry() | {"code": "def", "files": {"05-forget.png": "def"}}
    assert compare({"05-forget": entry()}, {"05-forget": other}) == []


def test_numbers_that_cannot_be_what_they_say_are_refused():
    with pytest.raises(ValueError, match="fraction"):
        trained(84.2)
    with pytest.raises(ValueError, match="finite"):
        computed(float("nan"))


def test_what_is_stored_is_what_is_read(tmp_path):
    figures = {"05-forget": entry(steps=exact(16))}
    assert read_manifest(manifest_text(figures)) == figures
    assert load_manifest(tmp_path / "manifest.json") == {}


def test_the_command_compares_with_the_last_commit(tmp_path, monkeypatch, capsys):
    manifest = tmp_path / "figures" / "manifest.json"
    manifest.parent.mkdir()
    monkeypatch.setattr("gatescope.atlas.commands.ROOT", tmp_path)
    monkeypatch.setattr("gatescope.atlas.commands.MANIFEST", manifest)
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    assert main(["compare"]) == 1
    assert "no committed figures/manifest.json" in capsys.readouterr().err
    (tmp_path / ".git").rename(tmp_path / "git")
    assert main(["compare"]) == 1
    assert "fatal: not a git repository" in capsys.readouterr().err
    (tmp_path / "git").rename(tmp_path / ".git")
    figures = {"05-forget": entry(accuracy=trained(0.84), steps=exact(16))}
    (manifest.parent / "05-forget.png").write_bytes(b"a picture")
    figures["05-forget"]["files"] = {"05-forget.png": sha256_of(manifest.parent / "05-forget.png")}
    manifest.write_text(manifest_text(figures))
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "--quiet", "-m", "figures"], check=True)
    assert main(["compare"]) == 0
    with monkeypatch.context() as patch:  # as within a hook of another repository
        patch.setenv("GIT_DIR", str(tmp_path / "other"))
        assert main(["compare"]) == 0
        patch.setenv("PATH", str(tmp_path))
        assert main(["compare"]) == 1
        assert "git is not on the path" in capsys.readouterr().err
    rebuilt = deepcopy(figures)
    rebuilt["05-forget"]["numbers"]["accuracy"]["value"] = 0.5
    (manifest.parent / "05-forget.png").unlink()
    manifest.write_text(manifest_text(rebuilt))
    assert main(["compare"]) == 1
    said = capsys.readouterr().err
    assert "05-forget: 'accuracy' was 0.84 (trained), is 0.5 (trained)" in said
    assert "05-forget: 05-forget.png is missing" in said


def test_the_committed_figures_are_those_of_the_manifest():
    figures = load_manifest(MANIFEST).values()
    recorded = {name: digest for figure in figures for name, digest in figure["files"].items()}
    found = {
        path.name: sha256_of(path) for path in FIGURES.glob("*") if path.suffix in {".png", ".svg", ".webp", ".html"}
    }
    assert found == recorded, "make figures writes them anew"
    assert {figure["notebook"] for figure in figures} <= {path.stem for path in NOTEBOOKS.glob("*.ipynb")}
