"""Intervals on measured hands include the error of their masks: against simulated truth, and where nothing is known."""

import numpy as np
import pytest

from gatescope.measures import estimate
from gatescope.measures.estimates import EXACT, Estimate, Factor
from gatescope.measures.mask_factors import draw_factor, mask_factor
from gatescope.measures.verdicts import above_controls, minus_controls


def simulated(rng, num_people, each, bias=1.25, of_person=0.05, of_clip=0.2):
    """Return what a measure has on true and on measured hands, of people who differ in how far it is off."""
    people = np.repeat(np.arange(num_people), each)
    true = rng.lognormal(0.7, 0.3, people.size)
    off = bias * np.exp(of_person * rng.normal(size=num_people)[people] + of_clip * rng.normal(size=people.size))
    return true, true / off, people


def test_an_exact_hand_changes_nothing():
    found = Estimate(0.9, 0.1, 5.0, 0.99, 1.0)
    assert EXACT.of_mean(found) is found and EXACT.of_difference(found) is found


def test_the_factor_is_the_quotient_of_means_and_ignores_what_is_not_known():
    true, measured = np.array([3.0, 2.0, np.nan, 2.5]), np.array([2.0, 1.5, 4.0, np.nan])
    known = draw_factor(true, measured, np.array([0, 1, 0, 1]), 400, even=1.0)
    # Two people with one clip each: (2 + 1) / (1 + 0.5) where both are drawn, and 2 for either alone.
    assert known.value == pytest.approx(2.0) and known.error == pytest.approx(0, abs=1e-9)
    assert known.freedom == 1 and known.even == 1
    with pytest.raises(ValueError, match="at least 2 people"):
        draw_factor(true, measured, np.zeros(4, int), 4)


def test_fewer_clips_are_less_sure():
    true, measured, people = simulated(np.random.default_rng(1), 12, 10)
    one, few, many = (draw_factor(true, measured, people, num_clips) for num_clips in (1, 5, 100))
    assert one.error > 1.5 * few.error > 1.5 * many.error > 0
    assert many.value == pytest.approx(true.mean() / measured.mean(), rel=0.03)


def test_where_the_measured_hand_shows_nothing_the_interval_says_nothing():
    true, measured = np.full(40, 0.5), np.where(np.arange(40) % 2, 0.5, 0.0)
    factor = draw_factor(true, measured, np.arange(40) % 8, 1)
    found = factor.of_mean(Estimate(0.4, 0.05, 10.0))
    assert found.low < 0 and found.high > 1


def test_an_interval_holds_both_errors_and_even_stays_even():
    factor = Factor(1.2, 0.1, 20.0, even=1.0)
    found = factor.of_mean(Estimate(3.0, 0.3, 8.0, 0.9))
    assert found.value == pytest.approx(1 + 1.2 * 2) and found.level == 0.9
    assert found.error == pytest.approx(np.hypot(1.2 * 0.3, 2 * 0.1))
    assert 8 < found.freedom < 28
    assert factor.of_mean(estimate(np.ones((2, 9))))[:] == (1.0, 1.0, 1.0)
    assert factor.of_difference(Estimate(0.5, 0.1, 8.0)).value == pytest.approx(0.6)
    alone = factor.of_mean(estimate(np.array([[3.0]])))
    assert alone.error == pytest.approx(0.2) and alone.low < alone.value < alone.high
    assert np.isnan(factor.of_mean(estimate(np.full((2, 3), np.nan)))).all()


def test_intervals_cover_the_true_mean_where_those_without_the_factor_do_not():
    covered, naive = [], []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        known_true, known_measured, people = simulated(rng, 14, 4)
        factor = draw_factor(known_true, known_measured, people, 12)
        true, measured, _ = simulated(rng, 12, 1)
        found = estimate(measured[None])
        covered.append(factor.of_mean(found).low < np.exp(0.7 + 0.3**2 / 2) < factor.of_mean(found).high)
        naive.append(found.low < np.exp(0.7 + 0.3**2 / 2) < found.high)
    assert np.mean(covered) > 0.93
    assert np.mean(naive) < 0.7


def test_differences_from_controls_take_the_factor():
    rng = np.random.default_rng(0)
    own, control = 1.5 + 0.2 * rng.normal(size=(3, 20)), np.ones((1, 20))
    exact = minus_controls(own, {"even": control})["even"]
    factor = Factor(1.3, 0.05, 30.0, even=1.0)
    found = minus_controls(own, {"even": control}, factor=factor)["even"]
    assert found.value == pytest.approx(1.3 * exact.value)
    assert found.error == pytest.approx(np.hypot(1.3 * exact.error, 0.05 * exact.value))
    assert above_controls(own, {"even": control}, factor=factor) == "above every control"
    assert above_controls(own, {"even": control}, factor=Factor(1.3, 5.0, 30.0)) == "not above even"


def test_what_is_kept_gives_a_factor_for_each_measure(tmp_path):
    for measure in ("enrichment", "pointing", "explained"):
        factor = mask_factor(measure, 54)
        assert 0.7 < factor.value < 1.6 and 0 < factor.error < 0.3 and factor.freedom > 5
    with pytest.raises(FileNotFoundError, match="gatescope hands measure"):
        mask_factor("pointing", 54, tmp_path)
