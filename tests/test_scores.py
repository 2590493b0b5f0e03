"""Pictures of how well networks do: what is drawn is what was given."""

import numpy as np
import pytest
from matplotlib.figure import Figure


@pytest.fixture
def ax():
    return Figure().add_subplot()


@pytest.fixture(scope="module")
def scores():
    from gatescope.pictures import scores

    return scores


def test_a_learning_curve_is_the_mean_over_seeds_and_a_band_around_it(scores, ax):
    line, band, label = scores.learning_curve(ax, np.array([[0.2, 0.6], [0.4, 0.8]]), "red", "(a)")
    assert line.get_xdata().tolist() == [1, 2]
    assert line.get_ydata() == pytest.approx([0.3, 0.7])
    heights = band.get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == pytest.approx((0.2, 0.8))
    assert (label.get_text(), label.xy) == ("(a)", (2, pytest.approx(0.7)))


def test_one_seed_has_no_band(scores, ax):
    assert len(scores.learning_curve(ax, np.array([[0.2, 0.6]]), "red")) == 1


def test_each_seed_has_its_marker_and_interval(scores, ax):
    found, intervals = np.array([0.5, 0.7]), np.array([[0.4, 0.8], [0.6, 0.75]])
    points, bars = scores.scores_with_intervals(ax, 3.0, found, intervals, marker="o", color="blue")
    assert points.get_ydata().tolist() == [0.5, 0.7]
    assert points.get_xdata().mean() == pytest.approx(3.0)
    ends = [segment[:, 1].tolist() for segment in bars.get_segments()]
    assert ends == [pytest.approx(pair) for pair in intervals]


def test_a_confusion_shows_parts_of_each_row_and_no_row_of_nothing_fails(scores, ax):
    shown = scores.confusion(ax, np.array([[3, 1, 0], [0, 5, 5], [0, 0, 0]]), ["left", "right", "none"])
    np.testing.assert_allclose(shown.get_array(), [[0.75, 0.25, 0], [0, 0.5, 0.5], [0, 0, 0]])
    assert shown.get_clim() == (0, 1)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["left", "right", "none"]
