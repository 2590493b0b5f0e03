from itertools import chain, combinations, product

import numpy as np
import pytest
import torch

from gatescope.measures.gate_kinds import ROWS, half_width, main_effects
from gatescope.measures.gate_variance import (
    AXES,
    PARTS,
    explained_by,
    on_and_off,
    part_of,
    record_gates,
    summarise,
    variance_parts,
    variance_terms,
)
from gatescope.models import STUDY_CELLS, Cell, GestureNetwork, NetworkConfig
from gatescope.recordings import intervene, record
from gatescope.recordings.replacements import (
    REPLACEMENTS,
    attention_replacements,
    channel_mean,
    constant,
    every_replacement,
    replacements,
    shift_level,
    shuffle_space,
    space_mean,
    time_mean,
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


def slow_terms(values):
    """The same by the book: effects from the smallest set up, taken away from the table one after another."""
    rest = values.astype(np.float64)
    terms = {}
    for axes in chain.from_iterable(combinations(range(4), count) for count in range(5)):
        others = tuple(axis for axis in range(4) if axis not in axes)
        effect = rest.mean(others, keepdims=True)
        rest = rest - effect
        if axes:
            terms[tuple(AXES[axis] for axis in axes)] = float((effect**2).mean())
    assert np.abs(rest).max() < 1e-12
    return terms


@pytest.mark.parametrize("shape", [(3, 5, 4, 7), (1, 5, 4, 7), (2, 1, 3, 1), (1, 1, 1, 1)])
def test_the_variance_is_the_sum_of_fifteen_terms(rng, shape):
    values = rng.normal(size=shape) * rng.uniform(0.1, 3, size=shape[2])[:, None]
    found, slow = variance_terms(values), slow_terms(values)
    assert set(found) == set(slow)
    assert len(found) == 15
    assert found == pytest.approx(slow, abs=1e-12)
    assert sum(found.values()) == pytest.approx(values.var(), abs=1e-12)


def test_each_axis_of_its_own_is_a_main_effect():
    levels = [np.arange(n, dtype=np.float64) * scale for n, scale in ((2, 1), (3, 2), (4, 3), (5, 4))]
    values = np.add.outer(np.add.outer(np.add.outer(*levels[:2]), levels[2]), levels[3])
    found = variance_terms(values)
    for axis, level in zip(AXES, levels, strict=True):
        assert found.pop((axis,)) == pytest.approx(level.var())
    assert all(abs(term) < 1e-12 for term in found.values())


def test_maps_in_rows_and_columns_are_positions_and_a_pooled_gate_has_one(rng):
    gate = rng.random((2, 3, 4, 5, 6)).astype(np.float32)
    assert variance_terms(gate) == variance_terms(gate.reshape(2, 3, 4, 30))
    pooled = variance_terms(gate[..., 0, 0])
    assert all(abs(term) < 1e-12 for axes, term in pooled.items() if "space" in axes)


def test_parts_are_shares_and_each_is_what_it_is_called(rng):
    shape = {"channel": (1, 1, 4, 1), "time": (1, 3, 4, 1), "clip": (2, 3, 4, 1), "shared map": (1, 3, 4, 5)}
    for part, size in {**shape, "clip's map": (2, 3, 4, 5)}.items():
        made = rng.normal(size=size)
        for axis in range(4):  # nothing but the largest interaction is left
            if size[axis] > 1:
                made = made - made.mean(axis, keepdims=True)
        found = variance_parts(variance_terms(np.broadcast_to(made, (2, 3, 4, 5))))
        assert found == pytest.approx({name: float(name == part) for name in PARTS}, abs=1e-12)
    assert sum(variance_parts(variance_terms(rng.random((2, 3, 4, 5)))).values()) == pytest.approx(1)


def test_a_constant_gate_has_no_parts():
    assert all(np.isnan(share) for share in variance_parts(variance_terms(np.full((2, 3, 4, 5), 0.5))).values())


def test_every_term_belongs_to_one_part():
    assert {part_of(axes) for axes in variance_terms(np.zeros((1, 1, 1, 1)))} == set(PARTS)


def test_what_a_mask_explains_is_the_squared_correlation_weighted_by_variance(rng):
    gate, mask = rng.random((2, 3, 4, 5, 6)), rng.random((2, 3, 5, 6))
    mask[0, 1] = 0  # the hand is out of view
    for clip in range(2):
        explained = total = 0
        for step, channel in product(range(3), range(4)):
            if mask[clip, step].any():
                variance = gate[clip, step, channel].var()
                correlation = np.corrcoef(gate[clip, step, channel].ravel(), mask[clip, step].ravel())[0, 1]
                explained, total = explained + correlation**2 * variance, total + variance
        assert explained_by(gate, mask)[clip] == pytest.approx(explained / total)


def test_a_gate_that_is_the_mask_is_explained_wholly_and_one_without_space_or_mask_not_at_all(rng):
    mask = rng.random((3, 2, 4, 5))
    mask[2] = 0.25
    slopes = np.array([2.0, -0.5])[:, None, None]
    gate = 0.3 + slopes * mask[:, :, None]
    gate[1] = 0.5
    assert explained_by(gate, mask) == pytest.approx([1, np.nan, np.nan], nan_ok=True)


def test_on_and_off_are_means_weighted_by_the_share(rng):
    gate, mask = rng.random((1, 3, 2, 4, 5)), rng.random((1, 3, 4, 5))
    mask[0, 1], mask[0, 2] = 0, 1
    on, off = on_and_off(gate, mask)
    assert on[0, 0, 1] == pytest.approx(np.average(gate[0, 0, 1], weights=mask[0, 0]))
    assert off[0, 0, 1] == pytest.approx(np.average(gate[0, 0, 1], weights=1 - mask[0, 0]))
    assert np.isnan(on[0, 1]).all()
    assert off[0, 1] == pytest.approx(gate[0, 1].mean((-2, -1)))
    assert np.isnan(off[0, 2]).all()


def test_a_summary_keeps_what_figures_need(rng):
    gate, hand = rng.random((2, 3, 4, 5, 6)).astype(np.float32), rng.random((2, 3, 5, 6))
    gate[:, :, 1] = gate[:, :, 1, :1, :1]  # one channel is the same at every position
    gate[:, :, 2] = 0.5
    found = summarise(gate, hand)
    assert found.counts.sum() == gate.size
    assert found.counts[20] >= gate[:, :, 2].size  # 0.5 is the lower edge of the 21st of 40 bins
    assert found.channels[3, :3] == pytest.approx([gate[:, :, 3].mean(), *np.quantile(gate[:, :, 3], (0.05, 0.95))])
    assert found.channels[:, 3] == pytest.approx([found.channels[0, 3], 0, 0, found.channels[3, 3]], abs=1e-9)
    assert 0.8 < found.channels[0, 3] <= 1
    assert sum(found.terms.values()) == pytest.approx(found.deviation**2)
    assert found.explained_by_other == pytest.approx(explained_by(gate, hand[::-1]))
    assert found.on.shape == found.off.shape == (2, 3)
    pooled, alone = summarise(gate[..., 0, 0], hand), summarise(gate[:1], hand[:1])
    assert pooled.explained is None and pooled.on is None and (pooled.channels[:, 3] == 0).all()
    assert alone.explained is not None and alone.explained_by_other is None
    assert summarise(gate).explained is None


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


def test_a_pooled_gate_has_no_space_to_take_away_one_step_no_time_and_one_clip_no_other(rng):
    maps, values = torch.from_numpy(rng.random((2, 3, 4, 5, 6))), torch.from_numpy(rng.random((2, 3, 4)))
    assert tuple(replacements(maps)) == REPLACEMENTS
    assert set(replacements(values)) == {"time mean", "channel mean", "another clip's", "constant"}
    assert "time mean" not in replacements(maps[:, :1])
    assert "another clip's" not in replacements(maps[:1])


@pytest.mark.parametrize("cell", ["convlstm", "a", MIXED], ids=["convlstm", "a", "mixed"])
def test_a_gate_in_its_own_place_changes_no_bit(network, features, cell):
    network = network(cell)
    with torch.inference_mode():
        before = network.score(features)
        for gate, own in record_gates(network, features).items():
            for change in (own, lambda value: value):
                with intervene(network, {gate: change}):
                    assert torch.equal(network.score(features), before)


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
    assert len(found) == 4 * 8 + 2 * 4 + 8
    assert torch.equal(found["layer2.f", "another clip's"]["layer2.f"][2], recorded["layer2.f"][1])
    assert set(found["all", "space mean"]) == {"layer1.i", "layer1.o", "layer2.i", "layer2.o"}
    assert set(found["all", "constant"]) == set(recorded)
    assert set(found["layer2.f", "time mean"]) == {"layer2.f"}


def test_what_one_gate_alone_has_is_not_taken_from_all_together():
    recorded = {"layer1.i": torch.rand(2, 3, 4, 5, 6), "layer1.f": torch.rand(2, 3, 4)}
    together = {name for gate, name, _ in every_replacement(recorded) if gate == "all"}
    assert together == {"time mean", "channel mean", "another clip's", "constant"}


@pytest.mark.parametrize(("peak", "channels"), [(True, 3), (False, 1)])
def test_attention_is_replaced_by_maps_that_peak_or_sum_at_one_as_it_does(rng, peak, channels):
    mask = rng.random((2, 3, 4, 5)).astype(np.float32)
    mask[0, 1] = 0
    recorded = torch.rand(2, 3, channels, 4, 5)
    found = attention_replacements(recorded, mask, peak=peak)
    uniform, hand = found["uniform"], found["hand"]
    assert uniform.shape == hand.shape == recorded.shape
    for maps in (uniform, hand):
        size = maps.amax((-2, -1)) if peak else maps.sum((-2, -1))
        assert torch.allclose(size, torch.ones(2, 3, channels))
    assert torch.allclose(uniform, uniform[0, 0, 0, 0, 0])
    whole = mask[1, 2].max() if peak else mask[1, 2].sum()
    assert torch.allclose(hand[1, 2, 0] * whole, torch.from_numpy(mask[1, 2]))
    assert torch.equal(hand[0, 1], uniform[0, 1])
    assert set(attention_replacements(recorded, None, peak=peak)) == {"uniform", "shuffled"}


def test_the_divergence_is_kullback_and_leiblers(rng):
    before, after = rng.normal(size=(2, 3, 4)).astype(np.float32)
    p, q = (np.exp(each) / np.exp(each).sum(1, keepdims=True) for each in (before.astype(np.float64), after))
    assert divergence(before, after) == pytest.approx((p * np.log(p / q)).sum(1), rel=1e-5)
    assert (divergence(before, before) == 0).all()
    assert divergence(before, before + 5) == pytest.approx(0, abs=1e-6)
    assert np.isfinite(divergence(1000 * before, 1000 * after)).all()


def additive(level, effects):
    """Rows whose accuracy over 1000 clips is a sum: what each gate's kind adds."""
    return {
        name: np.arange(1000) < round(1000 * (level + sum(effects[key] for key in zip("ifo", kinds, strict=True))))
        for name, kinds in ROWS.items()
    }


EFFECTS = {
    ("i", "conv"): 0.1,
    ("i", "pooled"): -0.04,
    ("i", "attention"): -0.06,
    ("f", "conv"): 0.0,
    ("f", "pooled"): 0.0,
    ("f", "attention"): 0.0,
    ("o", "conv"): 0.02,
    ("o", "pooled"): -0.03,
    ("o", "attention"): 0.01,
}


def test_main_effects_of_a_sum_are_its_parts_and_leave_nothing():
    right = additive(0.5, EFFECTS)
    assert {key: values.mean() for key, values in main_effects(right).items()} == pytest.approx(EFFECTS)
    assert half_width(right) == pytest.approx(0, abs=1e-9)


def test_the_rest_of_the_rows_makes_the_interval_wide():
    """Against statsmodels' way of writing it: least squares with an indicator for each kind."""
    rng = np.random.default_rng(3)
    right = {name: rng.random(50) < 0.6 for name in ROWS}
    accuracy = np.array([values.mean() for values in right.values()])
    design = np.array(
        [[1, *(kinds[place] == kind for place in range(3) for kind in ("conv", "pooled"))] for kinds in ROWS.values()],
        float,
    )
    _, (squares,), _, _ = np.linalg.lstsq(design, accuracy, rcond=None)
    assert half_width(right) == pytest.approx(2.0859634 * np.sqrt(squares / 20 * (1 / 9 - 1 / 27)))


def test_main_effects_of_some_rows_are_none():
    right = additive(0.5, EFFECTS)
    right.pop("conv_conv_conv")
    with pytest.raises(ValueError, match="need all 27 rows; 1 are missing"):
        main_effects(right)


def test_the_rows_are_those_of_the_study():
    assert {name: tuple(STUDY_CELLS[name].gates.values()) for name in ROWS} == ROWS
