import numpy as np
import pytest
from scipy import stats

from gatescope.measures.estimates import Estimate, estimate
from gatescope.measures.verdicts import (
    above_controls,
    in_words,
    judge_difference,
    judge_following,
    judge_need,
    minus_controls,
    power,
    seeds_needed,
    tell_apart,
)

T95 = stats.t.ppf(0.975, 20)


def between(low, high):
    """The estimate with this 95 % interval, of twenty degrees of freedom."""
    return Estimate((low + high) / 2, (high - low) / 2 / T95, 20)


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (-1.0, 1.0, "equivalent"),
        (-2.5, -0.5, "equivalent"),  # an effect, and a small one
        (-3.1, 0.1, "equivalent"),  # two tests at 5 % take the 90 % interval
        (-6.0, -2.0, "lower"),
        (2.0, 6.0, "higher"),
        (-5.0, 1.0, "undecided"),
        (-3.6, 1.0, "undecided"),
        (np.nan, np.nan, "undecided"),
        (0.0, 0.0, "undecided"),  # nothing varied
    ],
)
def test_an_interval_says_no_more_than_it_can(low, high, words):
    assert judge_difference(between(low, high), margin=3.0) == words


def test_equivalence_is_two_one_sided_tests():
    rng = np.random.default_rng(0)
    for _ in range(20):
        values = rng.normal(1.5, 2, 9)
        found = Estimate(values.mean(), stats.sem(values), 8)
        below = stats.ttest_1samp(values, 3, alternative="less").pvalue
        above = stats.ttest_1samp(values, -3, alternative="greater").pvalue
        assert (judge_difference(found, 3.0) == "equivalent") == (max(below, above) < 0.05)


def test_a_difference_is_written_with_its_sign_and_interval():
    assert in_words((1.25, -0.34, 2.0)) == "+1.2 points [-0.3, +2.0]"
    assert in_words((0.1234, 0.1, 0.2), "nats", 2) == "+0.12 nats [+0.10, +0.20]"
    assert in_words((1.0, np.nan, np.nan)) == "+1.0 points [spread unknown]"


def test_two_cells_are_told_apart_where_the_interval_excludes_zero():
    assert tell_apart((2.0, 0.5, 3.5), "(a)", "ConvLSTM", 3) == (
        "(a) is more accurate than ConvLSTM: +2.0 points [+0.5, +3.5]."
    )
    assert tell_apart((-2.0, -3.5, -0.5), "(a)", "ConvLSTM", 3).startswith("(a) is less accurate than ConvLSTM")
    assert tell_apart((1.0, -1.0, 3.0), "(a)", "ConvLSTM", 3) == (
        "(a) against ConvLSTM: +1.0 points [-1.0, +3.0]. The interval includes zero: 3 seeds cannot tell them apart."
    )
    assert tell_apart((0.0, 0.0, 0.0), "(a)", "(b)", 1).endswith("zero: one seed cannot tell them apart.")


@pytest.mark.parametrize(
    ("low", "high", "num_clips", "said"),
    [
        (-30, -10, 100, "needed"),
        (-4, 4, 100, "not needed"),
        (0, 0, 59, "undecided"),  # 5 % may change and not be seen in 59
        (-8, 4, 1000, "undecided"),
        (6, 9, 100, "harmful"),
        (-3, -1, 100, "not needed"),  # a loss, and a small one
        (-3, -1, 50, "needed"),  # fifty clips cannot tell that it is small
    ],
)
def test_the_interval_and_the_number_of_clips_decide_and_not_the_value(low, high, num_clips, said):
    assert judge_need(between(low, high), margin=5, num_clips=num_clips) == said


def test_what_is_above_every_control_is_so_clip_by_clip():
    """Clips differ more than the two do: marginal intervals overlap, paired differences do not."""
    rng = np.random.default_rng(0)
    clips = 2 + rng.standard_normal((1, 40))
    own = clips + 0.1 * rng.standard_normal((3, 40))
    controls = {"untrained": own - 0.3 + 0.05 * rng.standard_normal((3, 40)), "the frames": clips - 0.2}
    assert above_controls(own, controls) == "above every control"
    controls["another clip's hand"] = own + 0.05 * rng.standard_normal((3, 40))
    controls["two others"] = np.stack([clips[0] + 0.5, clips[0] + 0.6])
    assert above_controls(own, controls) == "not above another clip's hand or two others"
    assert above_controls(np.full((3, 40), np.nan), {"the frames": clips}) == "not above the frames"


def test_a_control_of_other_networks_is_not_paired():
    rng = np.random.default_rng(0)
    clips = 5 * rng.standard_normal((1, 40))
    own = clips + 1 + 0.1 * rng.standard_normal((3, 40))
    controls = {"itself": own, "other seeds": clips + 0.1 * rng.standard_normal((2, 40)), "the frames": clips}
    found = minus_controls(own, controls, level=0.99)
    assert found["itself"] == (0, 0, 0)
    assert found["other seeds"] == estimate(own, controls["other seeds"], level=0.99)
    assert found["the frames"] == estimate(own - clips, level=0.99)
    people = np.arange(40) // 2
    assert minus_controls(own, controls, people=people)["the frames"] == estimate(own - clips, people=people)


UP, DOWN, OPEN = between(0.5, 1.5), between(-1.5, -0.5), between(-1, 1)


@pytest.mark.parametrize(
    ("energy", "pointing", "words"),
    [
        ((UP, UP), (UP, UP), "follows the hand"),
        ((DOWN, UP), (DOWN, UP), "leans towards the hand and does not follow it"),
        ((OPEN, UP), (DOWN, UP), "leans towards the hand and is not shown to follow it"),
        ((UP, UP), (OPEN, UP), "leans towards the hand and is not shown to follow it"),
        ((DOWN, UP), (DOWN, OPEN), "leans towards the hand by E/A alone and does not follow it"),
        ((UP, UP), (DOWN, DOWN), "leans towards the hand by E/A alone and is not shown to follow it"),
        ((DOWN, OPEN), (DOWN, DOWN), "is not shown to lean towards the hand and does not follow it"),
        (
            (between(np.nan, np.nan),) * 2,
            (UP, UP),
            "leans towards the hand by pointing alone and is not shown to follow it",
        ),
    ],
)
def test_maps_follow_the_hand_where_both_measures_are_above_motion_and_every_other_control(energy, pointing, words):
    more = {
        measure: dict(zip(("frame difference", "untrained"), found, strict=True))
        for measure, found in (("E/A", energy), ("pointing", pointing))
    }
    assert judge_following(more, "frame difference") == words
    more["E/A"]["another clip's hand"] = OPEN
    assert "E/A" not in judge_following(more, "frame difference")


def test_power_is_the_share_of_simulated_trainings_that_are_told_apart():
    rng = np.random.default_rng(0)
    first, second = rng.normal(4, 1.93, (4000, 3)), rng.normal(0, 1.93, (4000, 3))
    found = stats.ttest_ind(first, second, axis=1).pvalue < 0.05
    assert power(4, 1.93, 3) == pytest.approx(found.mean(), abs=0.02)
    assert power(0, 1.93, 3) == pytest.approx(0.05)
    assert power(-4, 1.93, 3) == power(4, 1.93, 3)


def test_the_papers_four_points_need_five_seeds_and_nine_for_ten_pairs():
    """As computed for the standard deviation of fifteen trainings, 1.93 points."""
    assert power(4, 1.93, 3) == pytest.approx(0.49, abs=0.005)
    assert seeds_needed(4, 1.93) == 5
    assert seeds_needed(4, 1.93, level=1 - 0.05 / 10) == 9
    with pytest.raises(ValueError, match="two seeds or more"):
        power(4, 1.93, 1)


@pytest.mark.parametrize("difference", [20, 30, 100, 1e4])
def test_a_difference_of_many_deviations_is_found_for_certain(difference):
    assert power(difference, 4.2, 5, 0.998) == pytest.approx(1, abs=0.03)
