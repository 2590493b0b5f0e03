"""How long a state remembers: closed forms, and slow twins that run the whole layer."""

import math
import statistics
from itertools import product

import numpy as np
import pytest
import torch

from gatescope.loaders import Clip, to_batch
from gatescope.measures.memory import fading, freeze_after, half_life, reach, shuffle_after, stop_after
from gatescope.models import CELLS, GestureNetwork, NetworkConfig, RecurrentLayer
from gatescope.recordings import record


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(0)


def layer_of(cell):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return RecurrentLayer(cell, 3, 4).double()


def test_a_constant_gate_has_the_half_life_of_its_power():
    f = torch.full((2, 5, 1, 3, 3), 0.5**0.25)
    assert half_life(f).item() == pytest.approx(4)
    assert half_life(f[..., 0, 0]).item() == pytest.approx(4)


def test_open_and_shut_gates_have_infinite_and_no_half_life():
    f = torch.stack([torch.ones(1, 4), torch.zeros(1, 4)], dim=2)
    assert half_life(f).tolist() == [math.inf, 0.0]


def test_gates_that_vary_count_by_their_product_and_the_first_step_does_not():
    f = torch.tensor([0.001, 0.2, 0.9, 0.6]).reshape(1, 4, 1)
    left = 0.2 * 0.9 * 0.6
    assert 0.5 ** (3 / half_life(f).item()) == pytest.approx(left)


def test_the_half_life_is_the_median_over_clips_and_places_each_with_steps_of_its_own(rng):
    """In loops."""
    f = torch.rand(3, 5, 2, 2, 4, generator=rng, dtype=torch.float64)
    for channel, found in enumerate(half_life(f).tolist()):
        lives = []
        for clip, row, column in product(range(3), range(2), range(4)):
            left = math.prod(f[clip, step, channel, row, column].item() for step in range(1, 5)) ** (1 / 4)
            lives.append(math.log(2) / -math.log(left))
        assert found == pytest.approx(statistics.median(lives))


def test_a_gate_that_underflows_once_takes_the_memory_of_its_own_place_only():
    f = torch.full((2, 4, 2, 3, 3), 0.5**0.25)
    f[1, 2, 0, 0, 0] = 0
    assert half_life(f).tolist() == pytest.approx([4, 4])
    assert half_life(f[1:, ..., :1, :1]).tolist() == pytest.approx([0, 4])


def test_places_that_keep_and_places_that_forget_are_not_one_rate():
    f = torch.full((1, 3, 1, 3, 3), 0.5**0.25)
    f[..., 0, :] = 1e-9
    assert half_life(f).item() == pytest.approx(4)


def test_as_many_open_as_shut_places_are_open_at_the_median():
    f = torch.stack([torch.ones(3), torch.zeros(3)], 1)[None, ..., None].movedim(2, 3)  # two places of one channel
    assert half_life(f.unsqueeze(-1)).tolist() == [math.inf]


def test_one_step_has_no_half_life():
    with pytest.raises(ValueError, match="two steps"):
        half_life(torch.rand(2, 1, 3))


def test_frozen_features_repeat_the_last_that_was_kept(rng):
    features = torch.randn(2, 4, 1, 3, 2, generator=rng)
    frozen = freeze_after(features, 2)
    assert torch.equal(frozen[:, :2], features[:, :2])
    assert torch.equal(frozen[:, 2], features[:, 1]) and torch.equal(frozen[:, 3], features[:, 1])
    assert torch.equal(freeze_after(features, 4), features)


def test_shuffled_features_are_the_same_after_the_kept_in_another_order_for_each_clip(rng):
    features = torch.arange(8.0).repeat(20, 1).reshape(20, 8, 1, 1, 1)
    shuffled = shuffle_after(features, 3, rng).squeeze()
    assert torch.equal(shuffled[:, :3], torch.arange(3.0).repeat(20, 1))
    assert torch.equal(shuffled.sort(1).values, features.squeeze())
    assert len(shuffled.unique(dim=0)) > 10
    assert torch.equal(shuffle_after(features, 8, rng), features)


@pytest.mark.parametrize("num_kept", [0, 5])
def test_no_step_or_too_many_cannot_be_kept(num_kept, rng):
    features = torch.zeros(1, 4, 1, 2, 2)
    for change in (lambda: freeze_after(features, num_kept), lambda: shuffle_after(features, num_kept, rng)):
        with pytest.raises(ValueError, match="from 1 to the 4 steps"):
            change()


@pytest.mark.parametrize("clip_mean", [0.0, 0.75])
def test_a_stopped_clip_is_what_the_loader_makes_of_the_frames_seen(clip_mean):
    frames = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
    facts = {"size": 8, "mean": (114.0, 109.0, 104.0), "clip_mean": clip_mean}

    def batch(frames):
        return to_batch(Clip(frames=frames, fps=12.0, source="made", label=None), num_frames=len(frames), **facts)

    stopped = stop_after(batch(frames), 4, clip_mean)
    seen = batch(frames[:4])
    torch.testing.assert_close(stopped[:, :, :4], seen, atol=1e-3, rtol=0)
    for later in (4, 5):
        assert torch.equal(stopped[:, :, later], stopped[:, :, 3])
    torch.testing.assert_close(stop_after(batch(frames), 6, clip_mean), batch(frames), atol=1e-3, rtol=0)


def test_no_later_frame_is_left_in_a_stopped_clip(rng):
    x = torch.randn(1, 3, 6, 4, 4, generator=rng)
    frames = x.clone()
    frames[:, :, 4:] += 100
    with_mean = [each - 0.75 * each.mean(2, keepdim=True) for each in (x, frames)]
    stopped = [stop_after(each, 4, 0.75) for each in with_mean]
    torch.testing.assert_close(*stopped, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("num_seen", "clip_mean", "match"), [(0, 0.0, "6 frames"), (7, 0.0, "6 f"), (3, 1.0, "below")])
def test_a_clip_that_cannot_be_stopped_is_an_error(num_seen, clip_mean, match):
    with pytest.raises(ValueError, match=match):
        stop_after(torch.zeros(1, 3, 6, 4, 4), num_seen, clip_mean)


def states(layer, features):
    with record(layer, "c", "f") as rec, torch.no_grad():
        layer(features)
    f = rec["f"]
    return rec["c"], f if f.ndim == 5 else f[..., None, None]


def slowly(layer, changed, reference, k):
    """What is left at the last step of the difference at step k, in plain loops; and what the gates alone leave."""
    c, _ = states(layer, changed)
    c_reference, f = states(layer, reference)
    measured, by_gates = [], []
    for clip in range(len(c)):
        apart = c[clip, k] - c_reference[clip, k]
        size = float((apart**2).sum() ** 0.5)
        measured.append(float(((c[clip, -1] - c_reference[clip, -1]) ** 2).sum() ** 0.5) / size)
        for later in range(k + 1, c.shape[1]):
            apart = f[clip, later] * apart
        by_gates.append(float((apart**2).sum() ** 0.5) / size)
    return measured, by_gates


@pytest.mark.parametrize("cell", CELLS)
def test_fading_is_that_of_whole_passes_through_the_layer(cell, rng):
    layer = layer_of(cell)
    features, others = torch.randn(2, 2, 4, 3, 5, 3, generator=rng, dtype=torch.float64)
    found = fading(layer, features, others)
    for k in range(4):
        own_past = torch.cat([features[:, : k + 1], others[:, k + 1 :]], 1)
        measured, by_gates = slowly(layer, own_past, others, k)
        np.testing.assert_allclose(found.measured[:, 3 - k], measured, rtol=1e-9)
        np.testing.assert_allclose(found.by_gates[:, 3 - k], by_gates, rtol=1e-9)
    assert found.measured[:, 0].tolist() == found.by_gates[:, 0].tolist() == [1, 1]


def test_gates_alone_are_all_there_is_where_nothing_returns_by_way_of_h(rng):
    layer = layer_of("a")
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            if "state_to_state" in name:
                parameter.zero_()
    found = fading(layer, *torch.randn(2, 3, 5, 3, 4, 4, generator=rng, dtype=torch.float64))
    torch.testing.assert_close(found.measured, found.by_gates)
    assert (found.measured[:, 1:] < 1).all()


def test_one_step_fades_not_at_all(rng):
    features, others = torch.randn(2, 1, 1, 3, 4, 4, generator=rng, dtype=torch.float64)
    assert fading(layer_of("a"), features, others).measured.tolist() == [[1.0]]


def test_of_no_difference_nothing_is_left_or_reached(rng):
    features = torch.randn(2, 3, 3, 4, 4, generator=rng, dtype=torch.float64)
    found = fading(layer_of("a"), features, features)
    assert found.measured.isnan().all() and found.by_gates.isnan().all()


def test_two_clips_must_be_alike():
    with pytest.raises(ValueError, match="features of equal shape"):
        fading(layer_of("a").float(), torch.zeros(2, 3, 3, 4, 4), torch.zeros(1, 3, 3, 4, 4))


@pytest.mark.slow
def test_the_reach_of_a_step_is_measured_towards_the_other_clip(rng):
    torch.manual_seed(0)
    network = GestureNetwork(NetworkConfig.small("c", num_classes=3, width=1 / 32, size=32)).eval().double()
    torch.nn.init.zeros_(network.head.bias)
    shape = network.encode(torch.zeros(1, 3, 2, 32, 32).double()).shape[2:]
    features, others = torch.randn(2, 17, 3, *shape, generator=rng, dtype=torch.float64)
    found = reach(network, features, others)
    changed = features.clone()
    changed[:, 1] = others[:, 1]
    with torch.no_grad():
        own, other, moved = (network.score(given) for given in (features, others, changed))
        cells = [states(network.layer1, given)[0][:, -1].flatten(1) for given in (features, others, changed)]
    torch.testing.assert_close(found.logits[:, 1], (moved - own).norm(dim=1) / (other - own).norm(dim=1))
    torch.testing.assert_close(found.cell[:, 1], (cells[2] - cells[0]).norm(dim=1) / (cells[1] - cells[0]).norm(dim=1))
    alone = reach(network, features[:, :1], others[:, :1])
    torch.testing.assert_close(alone.logits, torch.ones(17, 1).double())
    torch.testing.assert_close(alone.cell, torch.ones(17, 1).double())
