"""Pictures of what reaches back through time: what is drawn is what was given."""

import numpy as np
import pytest
from matplotlib.figure import Figure


@pytest.fixture
def forgetting():
    from gatescope.atlas.pictures import why_lstm as forgetting

    return forgetting


@pytest.fixture
def ax():
    return Figure().add_subplot()


def test_a_bar_for_each_copy_and_two_for_all(forgetting, ax):
    bars = forgetting.gradient_bars(ax, np.array([0.5, 0.2, 12.0]), total=13.0, of_sum=9.5)
    assert [bar.get_height() for bar in bars] == [0.5, 0.2, 12.0, 13.0, 9.5]
    assert [label.get_text() for label in ax.get_xticklabels()][:3] == ["$t$", "$t-1$", "$t-2$"]
    assert [note.get_text() for note in ax.texts] == ["0.5", "0.2", "12", "13", "9.5"]


def test_a_lag_curve_is_the_mean_in_a_band_of_the_seeds(forgetting, ax):
    seeds = np.stack([np.arange(4.0) * k for k in range(11)])
    line, filled = forgetting.lag_curve(ax, seeds, color="red")
    np.testing.assert_allclose(line.get_ydata(), seeds.mean(0))
    corners = filled.get_paths()[0].vertices
    at_3 = corners[corners[:, 0] == 3][:, 1]
    np.testing.assert_allclose([at_3.min(), at_3.max()], [1.5, 28.5])


def test_one_seed_has_a_band_without_width(forgetting, ax):
    line, filled = forgetting.lag_curve(ax, np.array([[0.0, -1.0, -2.0]]))
    assert line.get_ydata().tolist() == [0, -1, -2]
    assert filled.get_datalim(ax.transData).height == 2


def test_a_heat_map_has_lags_upwards_and_limits_of_its_own(forgetting, ax):
    mesh = forgetting.gradients_over_training(ax, [0, 10, 20], np.arange(-12.0, 0).reshape(3, 4), -6)
    assert mesh.get_clim() == (-6, 0)
    assert np.asarray(mesh.get_array())[:, 0].tolist() == [-12, -11, -10, -9]
    assert ax.get_ylim() == (-0.5, 3.5)


@pytest.mark.parametrize(("signed", "limits"), [(False, (0, 1)), (True, (-4, 4))])
def test_units_stand_in_order_from_the_top(forgetting, ax, signed, limits):
    values = np.array([[1.0, 2.0, 3.0], [0.5, -4.0, 0.0]])
    shown = forgetting.units_over_time(ax, values, [2, 0, 1], signed=signed)
    assert np.asarray(shown.get_array()).tolist() == [[3, 0], [1, 0.5], [2, -4]]
    assert shown.get_clim() == limits
