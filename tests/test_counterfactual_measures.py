"""Measures of counterfactual clips against loops, and on maps whose answer is known."""

import numpy as np
import pytest
import torch


@pytest.fixture(scope="module")
def measures():
    from gatescope.measures import counterfactuals

    return counterfactuals


@pytest.fixture(scope="module")
def network():
    from gatescope.models import GestureNetwork, NetworkConfig

    torch.manual_seed(0)
    return GestureNetwork(NetworkConfig.small("b", num_classes=3)).eval()


def test_spread_is_the_mean_of_channels_of_equal_weight(measures):
    values = torch.randn(2, 3, 4, 5, 6)
    values[0, 0, 1] = 0  # a channel of zeros counts as even
    found = measures.spread(values)
    for clip in range(2):
        for step in range(3):
            parts = []
            for channel in range(4):
                size = np.abs(values[clip, step, channel].numpy().astype(np.float64))
                parts.append(size / size.sum() if size.any() else np.full((5, 6), 1 / 30))
            np.testing.assert_allclose(found[clip, step], np.mean(parts, axis=0), atol=1e-7)


def test_an_even_map_has_a_ratio_of_one_everywhere(measures):
    masks = np.zeros((1, 4, 8, 8), bool)
    masks[:, :, 2:5, 3:7] = True
    mask = measures.covered(masks, (2, 4, 4))
    even, on_it = np.full((1, 2, 4, 4), 1 / 16), mask / mask.sum((-2, -1), keepdims=True)
    np.testing.assert_allclose(measures.on_mask(even, mask), 1)
    assert measures.on_mask(on_it, mask)[0] > 2
    np.testing.assert_allclose(measures.ratio(np.array([2.0, 0.0, np.nan]), np.ones(3)), [np.log(2), np.nan, np.nan])


def test_quotients_are_those_of_the_clips_and_regions_they_name(measures):
    rng = np.random.default_rng(0)
    clips = {name for pair in measures.QUOTIENTS.values() for lies in pair for name in lies[:2]}
    maps = {name: rng.random((3, 2, 4, 4)) for name in clips}
    masks = {(name, region): rng.random((3, 2, 4, 4)) for name in clips for region in ("hand", "distractor")}
    found = measures.quotients(maps, masks)
    assert list(found) == list(measures.QUOTIENTS)
    shares = []
    for name, mask in (("own clip", "own clip"), ("hand removed", "own clip")):
        each = []
        for clip in range(3):
            on, under = 0.0, 0.0
            for step in range(2):
                hand, own = masks[mask, "hand"][clip, step], maps[name][clip, step]
                on += (own * hand).sum() / own.sum()
                under += hand.mean()
            each.append(on / under)
        shares.append(np.array(each))
    np.testing.assert_allclose(found["moving hand / empty place"], np.log(shares[0] / shares[1]))
    with pytest.raises(KeyError):
        measures.quotients(maps, masks, ["hand / moon"])


@pytest.mark.slow
def test_quotients_of_networks_have_a_row_for_each(measures, network):
    from gatescope.loaders import SyntheticGestures, to_batch
    from gatescope.loaders.rendered import counterfactuals
    from rendered_people import Change

    clips = SyntheticGestures("test", 2, network.config.size, difficulty=0.0, classes=[0, 1, 2])
    changes = {measures.FROZEN: Change("frozen"), measures.REMOVED: Change("removed")}
    made = [counterfactuals(clips, index, list(changes.values())) for index in range(2)]
    shown = {name: [each[k] for each in made] for k, name in enumerate(changes)}
    name = "still hand / empty place"
    found = measures.quotients_of([network, network], shown, ["features", "layer2.h"], [name])
    assert found["layer2.h"][name].shape == (2, 2)
    maps = {}
    for what, own in shown.items():
        x = torch.cat([to_batch(one.clip, **network.config.input) for one in own])
        maps[what] = measures.spreads(network, x, ["features"])[0]["features"]
    hand = measures.covered(np.stack([one.region("hand") for one in shown[measures.FROZEN]]), maps[what].shape[1:])
    expected = measures.quotients(maps, {(measures.FROZEN, "hand"): hand}, [name])[name]
    np.testing.assert_array_equal(found["features"][name], [expected, expected])


@pytest.mark.parametrize("columns", [0.0, 0.25, 1.0, 2.5])
def test_moved_maps_are_interpolated_between_columns(measures, columns):
    maps = np.random.default_rng(0).normal(size=(1, 2, 1, 3, 9))
    found = measures.moved(maps, columns)
    for column in range(9):
        at = column - columns
        low = int(np.floor(at))
        if at < 0:
            assert np.isnan(found[..., column]).all()
            continue
        part = at - low
        expected = maps[..., low] if part == 0 else (1 - part) * maps[..., low] + part * maps[..., low + 1]
        np.testing.assert_allclose(found[..., column], expected)


@pytest.mark.parametrize("columns", [1.0, 2.0])
def test_maps_that_move_with_the_picture_are_equivariant(measures, columns):
    rng = np.random.default_rng(1)
    wide = rng.normal(size=(2, 3, 4, 10, 16))
    before, after = wide[..., 4:14], wide[..., 4 - int(columns) : 14 - int(columns)]
    found = measures.equivariance(before, after, columns)
    np.testing.assert_allclose(found["correlation"], 1)
    np.testing.assert_allclose(found["error"], 0, atol=1e-12)
    assert np.abs(found["unmoved"]).max() < 0.5
    other = measures.equivariance(before, rng.normal(size=before.shape), columns)
    assert np.abs(other["correlation"]).max() < 0.2 and (other["error"] > 1).all()


def test_the_error_is_relative_to_the_variation_over_positions(measures):
    rng = np.random.default_rng(2)
    before = rng.normal(size=(1, 1, 2, 9, 9))
    after = before + 0.1 * rng.normal(size=before.shape)
    found = measures.equivariance(before, after, 0.0, margin=2)["error"][0]
    squares = variation = 0.0
    for channel in range(2):
        expected, seen = (maps[0, 0, channel, 2:7, 2:7] for maps in (before, after))
        squares += ((seen - expected) ** 2).sum()
        variation += ((expected - expected.mean()) ** 2).sum()
    np.testing.assert_allclose(found, np.sqrt(squares / variation))


def test_no_interior_is_refused(measures):
    maps = np.zeros((1, 1, 1, 6, 6))
    with pytest.raises(ValueError, match="no interior after 3 columns and a margin of 2"):
        measures.equivariance(maps, maps, 3)


def test_a_network_gives_a_map_of_every_quantity(measures, network):
    names = measures.quantities(network)
    assert names == ["features", "layer1.attention", "layer1.h"]  # the gates of (b) are pooled
    x = 50 * torch.randn(3, 3, network.config.num_frames, network.config.size, network.config.size)
    maps, logits = measures.spreads(network, x)
    with torch.inference_mode():
        np.testing.assert_allclose(logits, network(x).numpy(), atol=1e-5)
    assert list(maps) == names
    for each in maps.values():
        np.testing.assert_allclose(each.sum((-2, -1)), 1, atol=1e-5)
    same = measures.equivariances(network, x, {0: x})
    assert set(same) == set(names)
    np.testing.assert_allclose(same["features"][0]["error"], 0, atol=1e-6)


@pytest.mark.parametrize(
    ("still", "thing", "over", "verdict"),
    [
        (0.0, 1.0, 1.0, "follows motion"),
        (0.0, 1.0, 0.0, "undecided"),
        (0.5, 1.0, 1.0, "undecided"),  # both
        (0.5, 0.0, -0.5, "follows the hand"),
        (0.5, 0.0, 0.0, "follows the hand"),
        (0.0, -1.0, -1.0, "avoids motion"),
        (0.0, 0.0, 0.0, "undecided"),
    ],
)
def test_a_verdict_needs_every_part_of_its_rule(measures, still, thing, over, verdict):
    from gatescope.measures.estimates import Estimate

    found = [Estimate(value, 0.02, 20.0) for value in (still, thing, over)]
    assert measures.judge_source(*found, margin=0.1) == verdict


def test_a_wide_interval_decides_nothing(measures):
    from gatescope.measures.estimates import Estimate

    wide = Estimate(1.0, 1.0, 2.0)
    assert measures.judge_source(Estimate(0.0, 0.01, 20.0), wide, wide, margin=0.1) == "undecided"
