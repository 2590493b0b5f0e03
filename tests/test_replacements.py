import statistics
from itertools import chain

import numpy as np
import pytest
import torch

from gatescope.measures.gate_variance import record_gates
from gatescope.models import Cell, GestureNetwork, NetworkConfig
from gatescope.recordings import intervene, record
from gatescope.recordings.replacements import (
    REPLACEMENTS,
    attention_replacements,
    channel_mean,
    constant,
    every_replacement,
    replacements,
    shift_in_time,
    shift_level,
    shuffle_space,
    space_mean,
    time_mean,
    with_level_of,
    without_own_map,
)
from gatescope.recordings.scoring import divergence

MIXED = Cell(i="conv", f="pooled", o="attention", candidate="separable")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def network():
    """A small network of that cell in both layers, with weights large enough for gates that differ."""

    def make(cell):
        config = NetworkConfig(cells=(cell, cell), num_classes=3, width=1 / 64, size=32)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            made = GestureNetwork(config).eval()
            with torch.no_grad():
                for parameter in chain(made.layer1.parameters(), made.layer2.parameters()):
                    parameter.normal_(0, 0.5)
        return made

    return make


@pytest.fixture
def features():
    """Of three clips: five steps of maps of 4 x 6 in the four channels of that network."""
    return torch.randn(3, 5, 4, 4, 6, generator=torch.Generator().manual_seed(1))


def test_means_take_away_what_they_are_called_after(rng):
    gate = torch.from_numpy(rng.random((3, 4, 5, 6)))
    assert space_mean(gate)[1, 2, 3, 4] == pytest.approx(gate[1, 2].mean())
    assert channel_mean(gate)[1, 2, 3, 4] == pytest.approx(gate[1, :, 3, 4].mean())
    recorded = torch.from_numpy(rng.random((2, 3, 4, 5, 6)))
    assert time_mean(recorded)[1, 2, 3, 4, 5] == pytest.approx(recorded[1, :, 3, 4, 5].mean())
    assert constant(recorded)[1, 2, 3, 4, 5] == pytest.approx(recorded[:, :, 3].mean())
    shared = (recorded - recorded.mean((-2, -1), keepdim=True)).mean((0, 1))
    assert torch.allclose(without_own_map(recorded)(gate), (space_mean(gate) + shared).clamp(0, 1))
    for change in (time_mean, constant):
        assert change(recorded).shape == recorded.shape


def test_one_clip_at_one_step_is_its_own_shared_map(rng):
    recorded = torch.from_numpy(rng.random((1, 1, 4, 5, 6)))
    assert torch.allclose(without_own_map(recorded)(recorded[:, 0]), recorded[:, 0])


def test_means_of_pooled_gates(rng):
    recorded = torch.from_numpy(rng.random((2, 3, 4)))
    assert torch.equal(time_mean(recorded)[:, 0], recorded.mean(1))
    assert torch.equal(constant(recorded)[1, 2], recorded.mean((0, 1)))
    assert channel_mean(recorded[:, 0])[1, 2] == pytest.approx(recorded[1, 0].mean())


def test_shuffling_moves_positions_of_all_channels_together_and_anew_for_each_clip_and_step():
    gate = torch.arange(60.0).reshape(1, 3, 4, 5).repeat(2, 1, 1, 1)
    change = shuffle_space()
    steps = [change(gate), change(gate)]
    orders = [clip[0].flatten() for step in steps for clip in step]
    assert all(sorted(order.tolist()) == list(range(20)) for order in orders)
    assert len({tuple(order.tolist()) for order in orders}) == 4
    for clip, order in zip((clip for step in steps for clip in step), orders, strict=True):
        assert torch.equal(clip.flatten(1), order + torch.tensor([0.0, 20.0, 40.0])[:, None])
    assert torch.equal(shuffle_space()(gate), steps[0])


@pytest.mark.parametrize(("low", "high"), [(0.45, 0.55), (0.0, 1.0), (0.9, 1.0)])
def test_shifting_changes_as_much_as_the_space_mean_also_where_it_is_cut_off(rng, low, high):
    gate = torch.from_numpy(rng.uniform(low, high, (2, 3, 4, 5)))
    gate[0, 0] = torch.tensor([0.0, 1.0, 1.0, 0.0]).double()[:, None]
    gate[1, 1] = high
    change = shift_level()
    shifted = change(gate)
    taken = (gate - space_mean(gate)).square().mean((2, 3))
    assert torch.allclose((shifted - gate).square().mean((2, 3)), taken, atol=1e-3)
    assert shifted.min() >= 0 and shifted.max() <= 1
    assert torch.allclose(shifted[1, 1], gate[1, 1], atol=1e-3)
    order = gate[1, 2].flatten().argsort()
    assert (shifted[1, 2].flatten()[order].diff() >= 0).all()
    assert torch.equal(shift_level()(gate), shifted)
    assert not torch.equal(change(gate), shifted)


def test_shifting_leaves_a_map_that_is_not_cut_off_as_it_is(rng):
    gate = torch.from_numpy(rng.uniform(0.45, 0.55, (2, 3, 4, 5)))
    shifted = shift_level()(gate)
    assert torch.allclose(shifted - space_mean(shifted), gate - space_mean(gate))
    up = (shifted > gate).flatten(2).all(2)
    down = (shifted < gate).flatten(2).all(2)
    assert (up | down).all() and up.any() and down.any()


@pytest.mark.parametrize("space", [(4, 5), ()], ids=["maps", "pooled"])
@pytest.mark.parametrize(("low", "high"), [(0.4, 0.6), (0.0, 1.0), (0.9, 1.0)])
def test_shifting_in_time_changes_as_much_as_the_time_mean_also_where_it_is_cut_off(rng, low, high, space):
    gate = torch.from_numpy(rng.uniform(low, high, (2, 6, 3, *space)))
    gate[0, :, 0] = torch.tensor([0.0, 1.0, 1.0, 0.0, 1.0, 0.0]).double().view(-1, *[1] * len(space))
    shifted = shift_in_time(gate)
    places = list(np.ndindex(*space))
    for clip, channel in np.ndindex(2, 3):
        own = {place: gate[(clip, slice(None), channel, *place)].tolist() for place in places}
        wanted = np.mean([(value - np.mean(steps)) ** 2 for steps in own.values() for value in steps])
        for step in range(6):
            found = [shifted[(clip, step, channel, *place)].item() - own[place][step] for place in places]
            assert np.mean(np.square(found)) == pytest.approx(wanted, abs=1e-3)
    assert shifted.min() >= 0 and shifted.max() <= 1
    if space and low == 0.4:
        maps = [each[1] - each[1].mean((-2, -1), keepdim=True) for each in (shifted, gate)]
        torch.testing.assert_close(*maps)


def test_a_pooled_gate_has_no_space_to_take_away_one_step_no_time_and_one_clip_no_other(rng):
    maps, values = torch.from_numpy(rng.random((2, 3, 4, 5, 6))), torch.from_numpy(rng.random((2, 3, 4)))
    assert tuple(replacements(maps)) == REPLACEMENTS
    assert set(replacements(values)) == {"time mean", "shifted in time", "channel mean", "another clip's", "constant"}
    assert {"time mean", "shifted in time"}.isdisjoint(replacements(maps[:, :1]))
    assert "another clip's" not in replacements(maps[:1])


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["convlstm", "a", MIXED], ids=["convlstm", "a", "mixed"])
def test_a_gate_in_its_own_place_changes_no_bit(network, features, cell):
    network = network(cell)
    with torch.inference_mode():
        before = network.score(features)
        for gate, own in record_gates(network, features).items():
            for change in (own, lambda value: value):
                with intervene(network, {gate: change}):
                    assert torch.equal(network.score(features), before)


@pytest.mark.slow
def test_what_varies_no_more_cannot_be_taken_away_again(network, features):
    """Of a constant gate every mean is that gate; only its mean over channels is another."""
    network = network(MIXED)
    for gate, own in record_gates(network, features).items():
        with record(network, "layer2.h") as recording, intervene(network, {gate: constant(own)}), torch.no_grad():
            network.score(features)
            before = recording["layer2.h"]
            for name, change in replacements(constant(own)).items():
                with intervene(network, {gate: change}):
                    network.score(features)
                same = torch.allclose(recording["layer2.h"], before, atol=1e-3)
                assert same == (name != "channel mean"), (gate, name)


def test_every_gate_is_replaced_alone_and_then_all_together(network, features):
    recorded = record_gates(network(MIXED), features)
    assert {gate: values.ndim for gate, values in recorded.items()} == {
        f"layer{layer}.{gate}": dimensions for layer in (1, 2) for gate, dimensions in (("i", 5), ("f", 3), ("o", 5))
    }
    found = {(gate, name): changes for gate, name, changes in every_replacement(recorded)}
    assert len(found) == 4 * 9 + 2 * 5 + 9
    assert torch.equal(found["layer2.f", "another clip's"]["layer2.f"][2], recorded["layer2.f"][1])
    assert set(found["all", "space mean"]) == {"layer1.i", "layer1.o", "layer2.i", "layer2.o"}
    assert set(found["all", "constant"]) == set(recorded)
    assert set(found["layer2.f", "time mean"]) == {"layer2.f"}


def test_what_one_gate_alone_has_is_not_taken_from_all_together():
    recorded = {"layer1.i": torch.rand(2, 3, 4, 5, 6), "layer1.f": torch.rand(2, 3, 4)}
    together = {name for gate, name, _ in every_replacement(recorded) if gate == "all"}
    assert together == {"time mean", "shifted in time", "channel mean", "another clip's", "constant"}


def maps_of(rng, shape, peak):
    """Random attention in float64 that peaks or sums at one, as Eq. 22 or Eq. 18 has it."""
    scores = torch.from_numpy(rng.normal(0, 0.5 if peak else 1.5, shape)).exp()
    return scores / (scores.amax((-2, -1), keepdim=True) if peak else scores.sum((-2, -1), keepdim=True))


def slow_hand(recorded, mask, peak):
    """The mask at the level of the map, one position at a time."""
    found = torch.zeros_like(recorded)
    for clip, step, channel in np.ndindex(*recorded.shape[:3]):
        own, place = recorded[clip, step, channel].flatten().tolist(), mask[clip, step].flatten().tolist()
        mean, share = statistics.mean(own), statistics.mean(place)
        spread, size = statistics.pstdev(own), statistics.pstdev(place)
        values = [mean + (spread * (each - share) / size if size > 0 else 0) for each in place]
        values = [min(max(value, 0), 1) for value in values]
        whole = 1 if peak else sum(values)
        found[clip, step, channel] = torch.tensor([value / whole for value in values]).view(recorded.shape[3:])
    return found


@pytest.mark.parametrize(("peak", "channels"), [(True, 3), (False, 1)])
def test_attention_is_put_elsewhere_at_the_level_it_has(rng, peak, channels):
    recorded, mask = maps_of(rng, (3, 2, channels, 4, 5), peak), rng.random((3, 2, 4, 5))
    mask[0, 1], mask[1, 0] = 0, 1  # out of view, and all there is
    found = attention_replacements(recorded, mask, peak=peak)
    for clip, step, channel in np.ndindex(3, 2, channels):
        assert found["uniform"][clip, step, channel].numpy() == pytest.approx(
            recorded[clip, step, channel].mean().item()
        )
    torch.testing.assert_close(found["hand"], slow_hand(recorded, mask, peak))
    torch.testing.assert_close(found["another clip's hand"], slow_hand(recorded, mask[[2, 0, 1]], peak))
    torch.testing.assert_close(found["hand"][0, 1], found["uniform"][0, 1])
    torch.testing.assert_close(found["hand"][1, 0], found["uniform"][1, 0])
    assert (found["hand"] >= 0).all() and (found["hand"] <= 1).all()
    if peak:
        assert (found["all open"] == 1).all()
    else:
        assert "all open" not in found
        torch.testing.assert_close(found["hand"].sum((-2, -1)), torch.ones(3, 2, 1, dtype=torch.float64))
    assert {"hand", "another clip's hand"}.isdisjoint(attention_replacements(recorded, None, peak=peak))
    assert "another clip's hand" not in attention_replacements(recorded[:1], mask[:1], peak=peak)


@pytest.mark.parametrize("peak", [True, False])
def test_what_is_not_clamped_keeps_mean_and_spread(rng, peak):
    recorded, mask = maps_of(rng, (2, 3, 1, 4, 5), peak), rng.random((2, 3, 4, 5))
    recorded = 0.9 * recorded.mean((-2, -1), keepdim=True) + 0.1 * recorded
    axes = (-2, -1)
    for found in (with_level_of(recorded, each, peak=peak) for each in (mask, np.roll(mask, 1, 0))):
        torch.testing.assert_close(found.mean(axes), recorded.mean(axes))
        torch.testing.assert_close(found.std(axes), recorded.std(axes))


def test_a_small_hand_of_a_high_map_is_clamped_which_lowers_its_mean():
    recorded = torch.full((1, 1, 1, 4, 4), 0.8)
    recorded[..., 0] = 0.4
    mask = np.zeros((1, 1, 4, 4), dtype=np.float32)
    mask[..., 1, 1] = 1
    found = with_level_of(recorded, mask, peak=True)
    assert found.max() == 1 == found[..., 1, 1].item()
    assert found.mean() < recorded.mean() - 0.01
    assert found.std() < recorded.std()


def test_the_divergence_is_kullback_and_leiblers(rng):
    before, after = rng.normal(size=(2, 3, 4)).astype(np.float32)
    p, q = (np.exp(each) / np.exp(each).sum(1, keepdims=True) for each in (before.astype(np.float64), after))
    assert divergence(before, after) == pytest.approx((p * np.log(p / q)).sum(1), rel=1e-5)
    assert (divergence(before, before) == 0).all()
    assert divergence(before, before + 5) == pytest.approx(0, abs=1e-6)
    assert np.isfinite(divergence(1000 * before, 1000 * after)).all()
