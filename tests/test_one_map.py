"""One map of many channels: each rule does what it says."""

import numpy as np
import pytest
import torch

from gatescope.recordings.one_map import RULES, correlation, one_map


@pytest.fixture
def state():
    rng = torch.Generator().manual_seed(0)
    return torch.randn(2, 3, 5, 4, 6, generator=rng)


def test_the_authors_rule_takes_the_largest_sum_of_each_step(state):
    state[:] = 0
    state[0, 0, 3] = 0.1
    state[0, 1, 2, 0, 0] = 1.0
    state[0, 2] = -1.0
    state[0, 2, 4, 1, 1] = -0.5
    maps, channels = one_map(state, "sum")
    assert channels[0].tolist() == [3, 2, 4]
    assert np.array_equal(maps[0, 2], state[0, 2, 4])


def test_mean_and_maximum_are_of_sizes_and_choose_no_channel(state):
    for rule, numpy in (("mean", np.mean), ("max", np.max)):
        maps, channels = one_map(state, rule)
        assert channels is None
        np.testing.assert_allclose(maps, numpy(np.abs(state.numpy()), axis=2), rtol=1e-6)


def test_the_gradients_rule_takes_the_channel_that_a_linear_score_would_lose_most_by(state):
    weights = torch.randn(5, generator=torch.Generator().manual_seed(1))
    gradient = weights[:, None, None].expand_as(state)
    maps, channels = one_map(state, "gradient", gradient)
    for clip, step in np.ndindex(2, 3):
        lost = [float(weights[k] * state[clip, step, k].sum()) for k in range(5)]
        assert channels[clip, step] == np.argmax(lost)
        assert np.array_equal(maps[clip, step], state[clip, step, channels[clip, step]])


def test_a_rule_that_cannot_be_followed_is_an_error(state):
    with pytest.raises(LookupError, match=", ".join(RULES)):
        one_map(state, "median")
    with pytest.raises(ValueError, match="needs the gradient"):
        one_map(state, "gradient")


def test_correlation_is_numpys_and_none_for_an_even_map():
    rng = np.random.default_rng(0)
    first, second = rng.random((2, 3, 4, 5)), rng.random((2, 3, 4, 5))
    found = correlation(first, second)
    for place in np.ndindex(2, 3):
        assert found[place] == pytest.approx(np.corrcoef(first[place].ravel(), second[place].ravel())[0, 1])
    even = np.full((4, 5), 0.1, np.float32)
    assert np.isnan(correlation(even, first[0, 0].astype(np.float32)))
    assert correlation(first[0, 0], -2 * first[0, 0] + 1) == pytest.approx(-1)
