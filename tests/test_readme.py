"""The README's first screen agrees with the figures' numbers and with the files of the repository."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from gatescope.atlas.manifest import load_manifest
from gatescope.paths import EVIDENCE, MANIFEST
from gatescope.recordings import PUBLISHED_MULTIPLY_ADDS

REPOSITORY = Path(__file__).resolve().parent.parent
README = (REPOSITORY / "README.md").read_text()
FIRST_SCREEN = "\n".join(README.splitlines()[:46])


def finding(notebook):
    """Return the finding that links to a notebook, in one line."""
    (found,) = [each for each in re.split(r"\n(?=- |\n)", FIRST_SCREEN) if f"notebooks/{notebook}.ipynb" in each]
    return " ".join(found.split())


def number(figure, name):
    entry = load_manifest(MANIFEST)[figure]
    return entry["notebook"], entry["numbers"][name]["value"]


THREE = r"([\d.]+), ([\d.]+) and ([\d.]+) times"
ENRICHMENT = rf"put {THREE} .* put {THREE} .* puts ([\d.]+) times .* a map, ([\d.]+) times"
LOOKED_AT = ("attention", "another clip's hand")
ENRICHED = [("06-hand", f"({cell}), E/A, {what}") for what in LOOKED_AT for cell in "bcd"]
ENRICHED += [("06-hand", f"(b), E/A, {what}") for what in ("frame difference", "the hand itself")]
USED = r"costs a trained ConvLSTM ([\d.]+) points .* without them, ([\d.]+) points stay lost"
MAPS = [("14-needs", f"{what}, ConvLSTM without space, points") for what in ("used", "needed")]
MEMORY = r"reaches (\d+) % after adaptation, with memory (\d+) %; where they see 41, (\d+) % and (\d+) %"
SEEN = [
    ("15-sweep", f"reach {reach}, {frames} frames, {what}, %")
    for reach, frames in ((5, 32), (41, 32))
    for what in ("removed and adapted", "with memory, adapted")
]


@pytest.mark.parametrize(("words", "sources", "sign"), [(ENRICHMENT, ENRICHED, 1), (USED, MAPS, -1), (MEMORY, SEEN, 1)])
def test_a_finding_gives_the_numbers_of_the_figures(words, sources, sign):
    for place, source in enumerate(sources, 1):
        notebook, value = number(*source)
        claimed = re.search(words, finding(notebook)).group(place)
        digits = len(claimed.partition(".")[2])
        assert claimed == f"{sign * value:.{digits}f}", source


def test_the_first_notebook_says_the_findings_as_the_readme_does():
    cells = json.loads((REPOSITORY / "notebooks/00_start_here.ipynb").read_text())["cells"]
    (found,) = ["".join(cell["source"]) for cell in cells if "findings" in cell["metadata"].get("tags", [])]
    said = re.findall(r"^- .+(?:\n  .+)*", found, re.MULTILINE)
    assert len(said) == 3
    for each in said:
        (notebook,) = re.findall(r"\((\w+)\.ipynb\)", each)
        assert " ".join(each.split()) == finding(notebook).replace("(notebooks/", "(").strip()


def test_the_first_screen_says_how_many_networks_a_finding_is_of():
    words = {"three": 3, "five": 5, "nine": 9}
    second, third = re.search(
        r"the second is of (\w+) networks, the third of (\w+)", " ".join(FIRST_SCREEN.split())
    ).groups()
    assert words[second] == len(list((EVIDENCE / "adapted").glob("convlstm-*")))
    assert words[third] == len(list((EVIDENCE / "memory" / "reach5-frames32").glob("a-*")))


@pytest.mark.parametrize("measure", ["E/A", "pointing game"])
def test_frame_difference_lies_on_the_hand_more_than_attention_and_the_hand_most(measure):
    assert "the difference of two frames finds it better" in finding("06_attention_maps")
    for cell in "bcd":
        names = ("attention", "frame difference", "the hand itself")
        attention, motion, ceiling = (number("06-hand", f"({cell}), {measure}, {name}")[1] for name in names)
        assert attention < motion < ceiling


def test_the_costs_are_counted_and_published():
    costs = {name: number("03-multiply-adds", f"multiply-adds of {name}")[1] for name in ("(a)", "ConvLSTM")}
    words = r"takes (\d+) million .* prints (\d+) million\. .* takes ([\d.]+) times .* the ([\d.]+) times"
    claimed = re.search(words, finding("03_five_cells")).groups()
    counted, printed = (
        costs["ConvLSTM"] / costs["(a)"],
        PUBLISHED_MULTIPLY_ADDS["convlstm"] / PUBLISHED_MULTIPLY_ADDS["a"],
    )
    millions = costs["(a)"] / 1e6, PUBLISHED_MULTIPLY_ADDS["a"] / 1e6
    assert claimed == (*(f"{each:.0f}" for each in millions), f"{counted:.1f}", f"{printed:.1f}")


def test_the_first_screen_shows_a_picture_and_what_is_quick_before_what_is_slow():
    assert re.search(r"!\[[^\]]+\]\(figures/[^)]+\)", FIRST_SCREEN)
    assert FIRST_SCREEN.index("\nmake lab ") < FIRST_SCREEN.index("\nmake figures ")


def test_the_badges_tell_the_truth():
    badges = re.findall(r"!\[([^\]]+)\]\(https://img\.shields\.io/badge/", README)
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    licence = (REPOSITORY / "LICENSE").read_text().partition(" License")[0]
    version = project["requires-python"].removeprefix(">=")
    assert badges == [f"Python {version} or later", f"Licence: {licence}"]
