"""Means, differences and their intervals against closed forms."""

import math

import numpy as np
import pytest

from gatescope.measures import differences, estimate


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_the_estimate_is_the_mean_of_what_is_known():
    values = np.array([[1.0, 2, np.nan], [3, np.nan, np.nan]])
    mean, low, high = estimate(values)
    assert mean == pytest.approx(2) and 1 <= low <= 2 <= high <= 3
    assert np.isnan(estimate(np.full((2, 3), np.nan))).all()
    assert estimate(np.array([[0.25]])) == pytest.approx((0.25, 0.25, 0.25))


@pytest.mark.slow
def test_an_interval_of_one_seed_is_about_that_of_the_mean(rng):
    values = rng.standard_normal((1, 400))
    mean, low, high = estimate(values)
    error = 1.96 * values.std() / 20
    assert (mean - low, high - mean) == (pytest.approx(error, rel=0.1), pytest.approx(error, rel=0.1))
    _, wide_low, wide_high = estimate(values, level=0.998)
    assert wide_low < low and wide_high > high


def test_seeds_that_disagree_make_an_interval_wide(rng):
    clips = rng.standard_normal((1, 200)) * 0.01
    _, low, high = estimate(clips + np.array([[0.0], [1.0], [2.0]]))
    assert low < 0.4 and high > 1.6


def test_of_the_same_clips_it_is_the_difference_that_counts(rng):
    """Clips differ far more than the two do: drawn together, that cancels."""
    clips = 10 * rng.standard_normal((1, 50))
    first, second = clips + 1 + 0.1 * rng.standard_normal((2, 50)), clips + 0.1 * rng.standard_normal((3, 50))
    mean, low, high = estimate(first, second)
    assert mean == pytest.approx(first.mean() - second.mean())
    assert 0.8 < low < mean < high < 1.2


@pytest.mark.slow
def test_a_difference_has_the_interval_of_its_paired_clips():
    """One seed each: the normal approximation of the mean of what one network has over the other, clip by clip."""
    rng = np.random.default_rng(0)
    first, second = rng.random((1, 900)) < 0.8, rng.random((1, 900)) < 0.7
    second[:, :600] = first[:, :600]
    value, low, high = estimate(first, second)
    each = first[0].astype(float) - second[0]
    assert value == pytest.approx(each.mean())
    half = 1.96 * each.std() / math.sqrt(900)
    assert (low, high) == pytest.approx((value - half, value + half), abs=0.15 * half)
    assert estimate(second, first)[0] == pytest.approx(-value)
    assert estimate(first, first) == (0.0, 0.0, 0.0)
    wider = estimate(first, second, level=0.995)
    assert wider[1] < low and wider[2] > high


@pytest.mark.slow
def test_a_difference_knows_that_seeds_differ():
    """Two seeds far apart: their spread, not that of the clips, makes the interval."""
    clips = np.arange(1000)
    first = np.stack([clips % 10 < 9, clips % 10 < 5])
    second = np.stack([clips % 10 < 7, clips % 10 < 7])
    value, low, high = estimate(first, second)
    assert value == pytest.approx(0)
    assert low == pytest.approx(-0.2, abs=0.05) and high == pytest.approx(0.2, abs=0.05)


def test_all_pairs_are_compared_at_a_level_that_holds_for_all():
    rng = np.random.default_rng(1)
    right = {name: rng.random((2, 200)) < 0.5 for name in "abc"}
    found = differences(right)
    assert list(found) == [("a", "b"), ("a", "c"), ("b", "c")]
    assert found["a", "c"] == estimate(right["a"], right["c"], level=1 - 0.05 / 3)
