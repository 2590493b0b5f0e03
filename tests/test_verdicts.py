import pytest

from gatescope.measures.verdicts import above_controls, in_words, judge_difference, judge_need, tell_apart


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ((0.0, -1.0, 1.0), "equivalent"),
        ((-1.5, -2.5, -0.5), "equivalent"),  # an effect, and a small one
        ((-4.0, -6.0, -2.0), "lower"),
        ((4.0, 2.0, 6.0), "higher"),
        ((-2.0, -5.0, 1.0), "undecided"),
        ((0.0, -3.0, 1.0), "undecided"),  # as large as the margin is not below it
        ((float("nan"),) * 3, "undecided"),
    ],
)
def test_an_interval_says_no_more_than_it_can(found, words):
    assert judge_difference(found, margin=3.0) == words


def test_a_difference_is_written_with_its_sign_and_interval():
    assert in_words((1.25, -0.34, 2.0)) == "+1.2 points [-0.3, +2.0]"
    assert in_words((0.1234, 0.1, 0.2), "nats", 2) == "+0.12 nats [+0.10, +0.20]"


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
    ("change", "num_answers", "said"),
    [
        ((-20, -30, -10), 100, "needed"),
        ((0, -4, 4), 100, "not needed"),
        ((0, 0, 0), 61, "not needed"),
        ((0, 0, 0), 59, "undecided"),  # 5 % may change and not be seen in 59
        ((-1, -6, 4), 1000, "undecided"),
        ((2, 1, 3), 100, "harmful"),
    ],
)
def test_the_interval_and_the_number_of_answers_decide_and_not_the_value(change, num_answers, said):
    assert judge_need(tuple(map(float, change)), margin=5, num_answers=num_answers) == said


def test_what_is_above_every_control_passes_the_whole_of_each():
    controls = {"untrained": (1.0, 0.8, 1.2), "the frames": (1.5, 1.3, 1.7)}
    assert above_controls((2.0, 1.8, 2.2), controls) == "above every control"
    assert above_controls((1.8, 1.6, 2.0), controls) == "not above the frames"
    assert above_controls((float("nan"),) * 3, controls) == "not above untrained or the frames"
