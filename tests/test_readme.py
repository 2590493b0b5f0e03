"""The README's first screen agrees with the figures' numbers and with the files of the repository."""

import re
import tomllib
from pathlib import Path

import nbformat
import pytest

from gatescope.atlas.manifest import load_manifest
from gatescope.paths import MANIFEST
from gatescope.recordings import PUBLISHED_MULTIPLY_ADDS

REPOSITORY = Path(__file__).resolve().parent.parent
README = (REPOSITORY / "README.md").read_text()
FIRST_SCREEN = "\n".join(README.splitlines()[:42])


def finding(notebook):
    """Return the finding that links to a notebook, in one line."""
    (found,) = [each for each in re.split(r"\n(?=- |\n)", FIRST_SCREEN) if f"notebooks/{notebook}.ipynb" in each]
    return " ".join(found.split())


def number(figure, name):
    entry = load_manifest(MANIFEST)[figure]
    return entry["notebook"], entry["numbers"][name]["value"]


ENRICHMENT = r"put ([\d.]+), ([\d.]+) and ([\d.]+) times .* puts ([\d.]+) times .* a map, ([\d.]+) times"
ENRICHED = [("06-hand", f"({cell}), E/A, attention") for cell in "bcd"]
ENRICHED += [("06-hand", f"(b), E/A, {what}") for what in ("frame difference", "the hand itself")]
MAPS = r"costs a trained ConvLSTM ([\d.]+) points .* has ([\d.]+) points \*more\*"
CHANGES = [("09-interventions", "ConvLSTM without the gates' maps"), ("09-differences", "(a) minus ConvLSTM")]


@pytest.mark.parametrize(("words", "sources", "signs"), [(ENRICHMENT, ENRICHED, (1,) * 5), (MAPS, CHANGES, (-1, 1))])
def test_a_finding_gives_the_numbers_of_the_figures(words, sources, signs):
    for place, (source, sign) in enumerate(zip(sources, signs, strict=True), 1):
        notebook, value = number(*source)
        claimed = re.search(words, finding(notebook)).group(place)
        digits = len(claimed.partition(".")[2])
        assert claimed == f"{sign * value:.{digits}f}", source


@pytest.mark.parametrize("measure", ["E/A", "pointing game"])
def test_frame_difference_lies_on_the_hand_more_than_attention_and_the_hand_most(measure):
    assert "does not follow the hand" in finding("06_attention_maps")
    for cell in "bcd":
        names = ("attention", "frame difference", "the hand itself")
        attention, motion, ceiling = (number("06-hand", f"({cell}), {measure}, {name}")[1] for name in names)
        assert attention < motion < ceiling


def test_the_difference_that_is_not_shown_has_an_interval_around_zero():
    assert "interval of this difference includes zero" in finding("09_against_the_paper")
    notebook, value = number("09-differences", "(a) minus ConvLSTM")
    text = str(nbformat.read(REPOSITORY / "notebooks" / f"{notebook}.ipynb", as_version=4).cells)
    low, high = re.search(rf"{re.escape(f'{value:+.1f}')} points \[([+-][\d.]+), ([+-][\d.]+)\]", text).groups()
    assert float(low) < 0 < float(high)


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
