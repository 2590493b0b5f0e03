"""The kept trainings of notebook 11 decide what it says, and a few of them would say otherwise."""

import numpy as np
import pytest

from gatescope.measures.estimates import differences, estimate
from gatescope.measures.verdicts import judge_difference
from gatescope.paths import EVIDENCE
from gatescope.trainings.evidence import read_answers


def right(folder: str) -> np.ndarray:
    """100 or 0 for each training and clip."""
    answers, _ = read_answers(EVIDENCE / folder)
    return 100.0 * np.stack([answers.right(seed) for seed in answers.predicted])


@pytest.fixture(scope="module")
def recalled() -> dict[str, np.ndarray]:
    return {name: right(f"recall/{name}") for name in ("rnn", "bias_0", "bias_1", "bias_chrono")}


def test_four_trainings_order_rnn_and_lstm_otherwise_than_all_and_neither_order_is_decided(recalled):
    few = estimate(recalled["rnn"][:4], recalled["bias_1"][:4])
    every = estimate(recalled["rnn"], recalled["bias_1"])
    assert len(recalled["rnn"]) == 32 and few.value > 0 > every.value
    assert judge_difference(few, 5) == judge_difference(every, 5) == "undecided"


def test_the_forget_gates_bias_decides_whether_the_first_symbol_is_recalled(recalled):
    found = differences(recalled)
    verdicts = {pair: judge_difference(each, 5) for pair, each in found.items()}
    assert verdicts["rnn", "bias_0"] == "higher"
    assert {name: verdicts[name, "bias_chrono"] for name in ("rnn", "bias_0", "bias_1")} == dict.fromkeys(
        ("rnn", "bias_0", "bias_1"), "lower"
    )


def test_pixels_out_of_place_cost_the_convolutions_alone():
    loss = {
        name: judge_difference(estimate(right(f"blobs/{name}_shuffled"), right(f"blobs/{name}_in_place")), 10)
        for name in ("fc_lstm", "convlstm_mean", "convlstm_every_position")
    }
    assert loss == {"fc_lstm": "equivalent", "convlstm_mean": "lower", "convlstm_every_position": "lower"}
