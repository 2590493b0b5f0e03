"""Groups of frames and what is compared between them, against loops and SciPy."""

import numpy as np
import pytest
from scipy import stats

from gatescope.measures.estimates import simultaneous
from gatescope.measures.hand_errors import _COLUMNS, HandErrors
from gatescope.measures.hand_groups import TONES, frame_groups, of_groups, of_people, row_measures, tones_compared
from rendered_people.labels import CONFUSABLE


@pytest.fixture
def rows():
    """Twelve people, five frames each, two of them without a hand in view."""
    rng = np.random.default_rng(0)
    person = np.repeat(np.arange(12), 5)
    count = person.size
    columns = {name: np.zeros(count) for name in _COLUMNS} | {"mask": np.zeros((count, 1))}
    columns |= {"person": person, "clip": person, "label": person % 9, "difficulty": 0.1 + 0.4 * (person % 2)}
    columns |= {"tone": np.array([60, 60, 60, 45, 45, 45, 45, 15, 15, 15, -50, -50])[person]}
    columns |= {"side": rng.uniform(5, 90, count), "speed": rng.uniform(0, 30, count)}
    columns |= {
        "found": rng.random(count) < 0.8,
        "overlap": rng.uniform(0, 1, count),
        "joints": rng.uniform(0, 9, count),
    }
    columns["side"][[3, 17]] = 0
    columns["speed"][4::5] = np.nan
    return HandErrors(**{name: np.asarray(columns[name]).astype(dtype) for name, dtype in _COLUMNS.items()})


def test_each_visible_frame_is_in_one_group_of_a_kind_and_those_without_a_hand_in_none(rows):
    groups = frame_groups(rows)
    for kind, own in groups.items():
        together = np.sum(list(own.values()), axis=0)
        known = np.isfinite(rows.speed) if kind == "speed" else np.ones(len(rows.side), bool)
        assert np.array_equal(together, (rows.side > 0) & known), kind
    assert set(groups["skin"]) == {"very light", "light", "tan", "dark"} < set(TONES)
    for k in np.flatnonzero(groups["gesture"]["sideways"]):
        assert rows.label[k] in CONFUSABLE["sideways"]


def test_a_mean_is_over_the_frames_of_a_group_where_the_measure_is_known(rows):
    means, groups = of_groups(rows), frame_groups(rows)
    assert "dark" in groups["skin"] and "dark" not in means["found"]["skin"]  # two people
    for name in means["found"]["skin"]:
        chosen = groups["skin"][name]
        values = [float(rows.overlap[k]) for k in np.flatnonzero(chosen) if rows.found[k]]
        assert means["overlap"]["skin"][name].value == pytest.approx(np.mean(values))
        assert means["found"]["skin"][name].value == pytest.approx(rows.found[chosen].mean())


def test_tones_are_compared_by_their_people_and_intervals_hold_together(rows):
    found = tones_compared(rows)
    # Two people are dark, too few; three measures of two parts are left.
    assert len(found) == 6 and {skin for skin, _ in found} == {"very light to intermediate", "tan and brown"}
    values, visible = row_measures(rows)["overlap"], rows.side > 0
    inside = (rows.person >= 7) & (rows.person < 10)
    own, others = (list(of_people(values, each & visible, rows).values()) for each in (inside, ~inside))
    test = stats.ttest_ind(own, others, equal_var=False)
    interval = test.confidence_interval(simultaneous(6))
    one = found["tan and brown", "overlap"]
    assert one.value == pytest.approx(np.mean(own) - np.mean(others))
    assert (one.low, one.high) == pytest.approx((interval.low, interval.high))
