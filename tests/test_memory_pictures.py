"""Pictures of what states hold and for how long: what is drawn is what was given."""

import numpy as np
import pytest
from matplotlib.figure import Figure


@pytest.fixture
def memory():
    from gatescope.atlas.pictures import states_over_time as memory

    return memory


@pytest.fixture
def ax():
    return Figure().add_subplot()


def test_panels_stand_side_by_side_and_share_their_axes(memory):
    axes = memory.panels(Figure(), {"(a)": "red", "(b)": "blue"})
    axes["(a)"].set(xlim=(0, 3), ylim=(1, 2))
    assert axes["(b)"].get_xlim() == (0, 3) and axes["(b)"].get_ylim() == (1, 2)
    assert [ax.get_title() or ax.get_title(loc="left") for ax in axes.values()] == ["(a)", "(b)"]


def test_hand_panels_stand_below_each_other_with_each_measures_own_lines(memory):
    row = {"its own hand": (2.0, 1.0, 3.0), "another's": (1.5, 1.0, 2.0), "untrained": (1.0, 0.5, 1.5)}
    found = {measure: {"(a)": {"sum": row}, "(b)": {"sum": row}} for measure in ("E/A", "pointing")}
    lines = {"E/A": {"an even map": 1.0, "frame difference": 4.0}}
    lines["pointing"] = {"an even map": 0.1, "frame difference": 0.4}
    axes = memory.hand_panels(Figure(), found, lines, {"(a)": "red", "(b)": "blue"})
    assert [ax.get_xlabel() for ax in axes] == ["E/A", "E/A", "pointing", "pointing"]
    assert [ax.get_title() or ax.get_title(loc="left") for ax in axes] == ["(a)", "(b)", "", ""]
    places = [[line.get_xdata()[0] for line in ax.lines if len(line.get_xdata()) == 2] for ax in axes]
    assert places == [[1.0, 4.0]] * 2 + [[0.1, 0.4]] * 2
    marks = {bars.get_label(): bars.lines[0] for bars in axes[1].containers}
    assert marks["its own hand"].get_markerfacecolor() == "blue" and marks["another's"].get_markerfacecolor() == "white"
    assert marks["untrained"].get_color() == memory.UNTRAINED["color"]
    assert axes[1].get_legend() and not axes[0].get_legend()


def test_half_lives_beyond_the_axis_stand_at_its_ends(memory, ax):
    values = np.array([[0.0, 1.0, 2.0, np.inf]])
    dots, median = memory.half_lives(ax, {"(a)": {"trained": values}}, {"(a)": "red"})
    assert dots.get_ydata().tolist() == [1 / 16, 1.0, 2.0, 16.0]
    assert median.get_segments()[0][:, 1].tolist() == [1.5, 1.5]
    low, high = ax.get_ylim()
    assert low < 1 / 16 and high > 16


def test_an_empty_bin_leaves_a_gap_in_a_density(memory, ax):
    (outline,) = memory.density(ax, np.array([0.0, 1.0, 2.0, 3.0]), np.array([0.5, 0.0, 0.5]))
    assert np.isnan(outline.get_data().values).tolist() == [False, True, False]
    assert ax.get_yscale() == "log"
