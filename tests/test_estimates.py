"""Means, differences and their intervals against loops, closed forms and simulated truth."""

import pickle

import numpy as np
import pytest
from scipy import stats

from gatescope.measures import differences, estimate
from gatescope.measures.estimates import Estimate, simultaneous


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def slow_estimate(values, people):
    """Variance components of a full table of seeds x people, by their mean squares, in loops."""
    people_there = sorted(set(people))
    num_seeds, num_people, grand = len(values), len(people_there), values.mean()
    table = [[np.mean([row[c] for c in range(len(people)) if people[c] == p]) for p in people_there] for row in values]
    seed_means = [np.mean(row) for row in table]
    person_means = [np.mean([row[p] for row in table]) for p in range(num_people)]
    of_seeds = num_people * sum((m - grand) ** 2 for m in seed_means) / (num_seeds - 1)
    of_people = num_seeds * sum((m - grand) ** 2 for m in person_means) / (num_people - 1)
    rest = 0.0
    for s in range(num_seeds):
        for p in range(num_people):
            rest += (table[s][p] - seed_means[s] - person_means[p] + grand) ** 2
    freedom = (num_seeds - 1) * (num_people - 1)
    rest /= freedom
    seeds, persons = max(of_seeds - rest, 0), max(of_people - rest, 0)
    cells = num_seeds * num_people
    variance = (seeds + persons + rest) / cells
    squares = rest**2 / freedom
    squares += of_seeds**2 / (num_seeds - 1) if seeds else 0
    squares += of_people**2 / (num_people - 1) if persons else 0
    freedom = (seeds + persons + rest) ** 2 / squares
    half = stats.t.ppf(0.975, freedom) * np.sqrt(variance)
    return grand, grand - half, grand + half


def test_the_estimate_agrees_with_mean_squares_in_loops(rng):
    people = np.repeat([4, 7, 1, 9, 2], 3)
    for spread in (0.0, 0.5, 3.0):
        values = spread * rng.standard_normal((3, 1)) + rng.standard_normal((3, 15))
        assert estimate(values, people=people) == pytest.approx(slow_estimate(values, people))
        assert estimate(values) == pytest.approx(slow_estimate(values, range(15)))


def test_the_estimate_is_the_mean_of_what_is_known():
    values = np.array([[1.0, 2, np.nan], [3, np.nan, np.nan]])
    mean, low, high = estimate(values)
    assert mean == pytest.approx(2) and low < 2 < high
    assert np.isnan(estimate(np.full((2, 3), np.nan))).all()


def test_one_clip_of_one_seed_has_no_interval():
    value, low, high = estimate(np.array([[0.25]]))
    assert value == 0.25 and np.isnan([low, high]).all()


def test_clips_of_one_seed_are_a_sample_of_students_t(rng):
    values = rng.standard_normal((1, 12))
    wanted = stats.ttest_1samp(values[0], 0).confidence_interval(0.9)
    assert estimate(values, level=0.9)[1:] == pytest.approx((wanted.low, wanted.high))


def test_seeds_on_one_clip_are_a_sample_of_students_t(rng):
    values, others = rng.standard_normal((5, 1)), rng.standard_normal((4, 1))
    wanted = stats.ttest_1samp(values[:, 0], 0).confidence_interval(0.95)
    assert estimate(values)[1:] == pytest.approx((wanted.low, wanted.high))
    wanted = stats.ttest_ind(values[:, 0], others[:, 0], equal_var=False).confidence_interval(0.95)
    assert estimate(values, others)[1:] == pytest.approx((wanted.low, wanted.high))


def test_where_seeds_differ_most_the_interval_is_students_t_over_seeds(rng):
    values = np.array([[0.0], [1.0], [2.0]]) + rng.standard_normal((3, 500)) * 1e-6
    found = estimate(values)
    assert found.freedom == pytest.approx(2, rel=1e-3)
    assert found.error == pytest.approx(1 / np.sqrt(3), rel=1e-3)


def test_of_the_same_clips_it_is_the_difference_that_counts(rng):
    """Clips differ far more than the two do: drawn together, that cancels."""
    clips = 10 * rng.standard_normal((1, 50))
    first, second = clips + 1 + 0.1 * rng.standard_normal((2, 50)), clips + 0.1 * rng.standard_normal((3, 50))
    mean, low, high = estimate(first, second)
    assert mean == pytest.approx(first.mean() - second.mean())
    assert 0.8 < low < mean < high < 1.2
    assert estimate(second, first)[0] == pytest.approx(-mean)


def test_clips_of_the_same_few_people_say_less_than_clips_of_many(rng):
    values = np.repeat(rng.standard_normal((1, 10)), 20, axis=1)
    people = np.repeat(np.arange(10), 20)
    assert estimate(values, people=people).error == pytest.approx(estimate(values[:, ::20]).error)
    assert estimate(values, people=people).error > 3 * estimate(values).error


def test_a_proportion_stays_within_its_bounds_and_is_about_symmetric_in_the_middle(rng):
    near = np.array([[True] * 19 + [False]])
    value, low, high = estimate(near)
    assert value == 0.95 and 0 < low < 0.9 and high < 1
    assert estimate(near).times(100) == pytest.approx((95.0, 100 * low, 100 * high))
    assert estimate(near).at(0.8).high < high
    middle = rng.random((1, 2000)) < 0.5
    wanted = stats.binomtest(int(middle.sum()), 2000).proportion_ci(method="wilson")
    assert estimate(middle)[1:] == pytest.approx((wanted.low, wanted.high), abs=1e-3)


@pytest.mark.parametrize("sign", [1, -1])
def test_differences_that_happen_to_be_zero_or_one_number_are_no_proportion(sign):
    gained = np.zeros((1, 100))
    gained[0, 0] = sign * 100
    value, low, high = estimate(gained)
    assert value == sign and low < 0 < high
    assert value - low == pytest.approx(high - value)


def test_another_number_of_clips_is_refused():
    with pytest.raises(ValueError, match=r"the same 3 clips; got minus \(2, 4\), people"):
        estimate(np.zeros((2, 3)), np.zeros((2, 4)))
    with pytest.raises(ValueError, match="the same 3 clips"):
        estimate(np.zeros((2, 3)), people=np.arange(2))


def test_an_estimate_can_be_asked_at_another_level_and_unit_and_survives_a_pickle():
    found = Estimate(0.02, 0.01, 10)
    value, low, high = found.times(100)
    assert (value, high - low) == (pytest.approx(2), pytest.approx(2 * stats.t.ppf(0.975, 10)))
    assert found.at(0.9).high == pytest.approx(0.02 + 0.01 * stats.t.ppf(0.95, 10))
    again = pickle.loads(pickle.dumps(found))
    assert again == found and again.freedom == 10


def test_all_pairs_are_compared_at_a_level_that_holds_for_all(rng):
    right = {name: rng.random((2, 200)) < 0.5 for name in "abc"}
    found = differences(right)
    assert list(found) == [("a", "b"), ("a", "c"), ("b", "c")]
    assert found["a", "c"] == estimate(right["a"], right["c"], level=1 - 0.05 / 3)
    assert simultaneous(1) == 0.95 and simultaneous(10) == pytest.approx(0.995)
