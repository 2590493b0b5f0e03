import pytest

from gatescope.measures.statements import above_all, how_much, in_words


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ((0.0, -1.0, 1.0), "little"),
        ((-1.5, -2.5, -0.5), "little"),  # an effect, and a small one
        ((-4.0, -6.0, -2.0), "less"),
        ((4.0, 2.0, 6.0), "more"),
        ((-2.0, -5.0, 1.0), "unclear"),
        ((0.0, -3.0, 1.0), "unclear"),  # as large as the margin is not below it
        ((float("nan"),) * 3, "unclear"),
    ],
)
def test_an_interval_says_no_more_than_it_can(found, words):
    assert how_much(found, margin=3.0) == words


def test_a_difference_is_written_with_its_sign_and_interval():
    assert in_words((1.25, -0.34, 2.0)) == "+1.2 points [-0.3, +2.0]"
    assert in_words((0.1234, 0.1, 0.2), "nats", 2) == "+0.12 nats [+0.10, +0.20]"


def test_what_is_above_every_control_passes_the_whole_of_each():
    controls = {"untrained": (1.0, 0.8, 1.2), "the frames": (1.5, 1.3, 1.7)}
    assert above_all((2.0, 1.8, 2.2), controls) == "above every control"
    assert above_all((1.8, 1.6, 2.0), controls) == "not above the frames"
    assert above_all((float("nan"),) * 3, controls) == "not above untrained or the frames"
