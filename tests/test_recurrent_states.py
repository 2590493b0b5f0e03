"""What states hold: each rule makes the map it says, and c is compared with h in closed form."""

import numpy as np
import pytest
import torch

from gatescope.measures.localisation import correlation
from gatescope.measures.recurrent_states import RULES, one_map, record_states, shown_of_cell
from gatescope.models import GestureNetwork, NetworkConfig
from gatescope.recordings import intervene, record
from gatescope.recordings.scoring import BATCH_SIZE


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


def test_correlation_is_numpys_and_none_for_even_maps():
    rng = np.random.default_rng(0)
    first, second = rng.random((2, 1, 4, 5)), rng.random((2, 1, 4, 5))
    for clip, found in enumerate(correlation(first, second)):
        assert found == pytest.approx(np.corrcoef(first[clip].ravel(), second[clip].ravel())[0, 1])
    assert correlation(first, -2 * first + 1) == pytest.approx(-1)
    even = np.full((1, 3, 4, 5), 0.1, np.float32)
    assert np.isnan(correlation(even, rng.random((1, 3, 4, 5)).astype(np.float32))).all()


def test_the_correlation_of_many_maps_is_the_mean_of_theirs_but_even_ones():
    rng = np.random.default_rng(0)
    first, second = rng.random((2, 1, 3, 2, 4, 5))
    first[0, 1, 1] = 0.3
    theirs = [
        np.corrcoef(first[0, step, channel].ravel(), second[0, step, channel].ravel())[0, 1]
        for step, channel in np.ndindex(3, 2)
        if (step, channel) != (1, 1)
    ]
    assert correlation(first, second) == pytest.approx(np.mean(theirs))


def test_what_h_shows_of_c_in_closed_form():
    c = torch.tensor([0.5, -2.0, 0.5, 2.0]).reshape(1, 1, 1, 2, 2)
    found = shown_of_cell(c, 0.25 * c.tanh())
    assert found["saturated"] == pytest.approx(0.5)
    assert found["after tanh"] == pytest.approx((np.tanh(0.5) + np.tanh(2)) / 2.5)
    assert found["after gate"] == pytest.approx(found["after tanh"] / 4)
    assert 0.9 < found["same place"] < 1
    assert found["counting"] == 1


def test_a_cell_counts_where_its_large_values_are_whole_numbers():
    c = torch.tensor([[0.5, 1.0, 2.04, -3.05, 2.3, -1.6], [0.1, 0.2, 0.3, -0.4, 1.0, 1.49]]).reshape(2, 1, 1, 2, 3)
    assert shown_of_cell(c, c.tanh())["counting"] == pytest.approx([0.5, np.nan], nan_ok=True)


@pytest.mark.parametrize(
    ("value", "counts"), [(1.49, np.nan), (-1.49, np.nan), (1.51, 0), (1.89, 0), (1.91, 1), (-2.09, 1), (-2.11, 0)]
)
def test_values_count_beyond_1_5_and_within_a_tenth_of_a_whole_number(value, counts):
    c = torch.full((1, 1, 1, 2, 2), value)
    assert shown_of_cell(c, c.tanh())["counting"] == pytest.approx(counts, nan_ok=True)


def test_recorded_states_are_those_of_one_pass_with_the_gradient_of_each_clips_own_class():
    config = NetworkConfig.small("d", num_classes=3, width=1 / 32, size=32)
    torch.manual_seed(0)
    network = GestureNetwork(config).eval().double()
    # Of the biases' size, the rounding of a logit would hide how little an untrained network's top passes on.
    torch.nn.init.zeros_(network.head.bias)
    features = torch.randn(BATCH_SIZE + 1, 3, *network.encode(torch.zeros(1, 3, 2, 32, 32).double()).shape[2:]).double()
    with torch.inference_mode():
        as_encoded = features.clone()
    found = record_states(network, as_encoded)
    with record(network, "layer1.h", "layer1.o") as rec, torch.no_grad():
        logits = network.score(features)
    torch.testing.assert_close(found["h"], rec["layer1.h"])
    torch.testing.assert_close(found["o"], rec["layer1.o"])
    step = 1e-4
    for clip in (0, BATCH_SIZE):
        own = found["gradient"][clip]
        at = np.unravel_index(int(own.abs().argmax()), own.shape)
        # The last step alone: what comes before acts on later ones too, which are held as they were recorded.
        at = (2, *at[1:])
        change = torch.zeros_like(rec["layer1.h"])
        change[clip][at] = step
        with intervene(network, {"layer1.h": rec["layer1.h"] + change}), torch.no_grad():
            changed = network.score(features)
        slope = (changed - logits)[clip, logits[clip].argmax()] / step
        assert own[at] == pytest.approx(float(slope), rel=1e-3)
