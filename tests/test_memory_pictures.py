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
