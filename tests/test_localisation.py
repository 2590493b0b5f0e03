"""Measures of maps against closed forms and plain loops."""

import math

import numpy as np
import pytest

from gatescope.measures import localisation


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def delta(row, column, shape=(4, 6)):
    maps = np.zeros(shape)
    maps[row, column] = 3.0
    return maps


def pointing(maps, mask):
    """The pointing game, as `on_hand` plays it."""
    return localisation.energy(localisation.peaks(maps), mask)


def test_an_even_map_has_the_logarithm_of_its_positions_as_entropy_and_a_delta_none():
    assert localisation.entropy(np.full((4, 6), 0.2)) == pytest.approx(math.log(24))
    assert localisation.entropy(delta(1, 2)) == 0
    two = delta(0, 0) + delta(3, 5)
    assert localisation.entropy(two) == pytest.approx(math.log(2))


def test_entropy_is_that_of_the_sum_over_positions(rng):
    maps = rng.random((2, 3, 4, 5))
    found = localisation.entropy(maps)
    for place in np.ndindex(2, 3):
        parts = [value / maps[place].sum() for row in maps[place] for value in row]
        assert found[place] == pytest.approx(-sum(part * math.log(part) for part in parts))


def test_no_measure_changes_with_the_scale_of_a_map(rng):
    maps, mask = rng.random((5, 4, 6)), rng.random((5, 4, 6))
    np.testing.assert_allclose(localisation.energy(1e-6 * maps, mask), localisation.energy(maps, mask))
    for measure in (localisation.entropy, localisation.centre, localisation.shares, localisation.peaks):
        np.testing.assert_allclose(measure(1e-6 * maps), measure(maps))


def test_a_mask_has_all_of_its_own_energy_and_an_even_map_what_its_area_is(rng):
    mask = rng.random((7, 8, 8)) < 0.3
    assert localisation.energy(mask.astype(float), mask) == pytest.approx(np.ones(7))
    even, parts = np.ones((7, 8, 8)), rng.random((7, 8, 8))
    for some in (mask, parts):
        np.testing.assert_allclose(localisation.energy(even, some), localisation.area(some))
        np.testing.assert_allclose(pointing(even, some), localisation.area(some))


def test_energy_on_parts_of_positions_is_that_of_the_pixels_they_stand_for(rng):
    """A map that is constant within a position, on a mask of pixels: what the soft mask is to mean."""
    maps, pixels = rng.random((3, 4)), rng.random((12, 16)) < 0.2
    large = maps.repeat(4, 0).repeat(4, 1)
    parts = pixels.reshape(3, 4, 4, 4).mean((1, 3))
    assert localisation.energy(maps, parts) == pytest.approx(localisation.energy(large, pixels))
    assert localisation.area(parts) == pytest.approx(localisation.area(pixels))


def test_energy_is_linear_so_the_mean_mask_tells_the_mean_over_masks(rng):
    maps, masks = rng.random((4, 6)), rng.random((9, 4, 6))
    assert localisation.energy(maps, masks.mean(0)) == pytest.approx(localisation.energy(maps[None], masks).mean())


def test_enrichment_counts_a_step_by_the_area_in_view():
    energy = np.array([[0.5, 0.02, np.nan], [np.nan] * 3])
    area = np.array([[0.25, 0.01, np.nan], [np.nan] * 3])
    found = localisation.enrichment(energy, area)
    assert found[0] == pytest.approx(2) and np.isnan(found[1])
    # Six times on a fingertip, and never on the whole hand.
    assert localisation.enrichment(np.array([0.06, 0.0]), np.array([0.01, 0.29])) == pytest.approx(0.2)


def test_the_highest_position_points():
    mask = np.zeros((4, 6))
    mask[1, 2], mask[3, 3] = 1, 0.25
    assert pointing(delta(1, 2), mask) == 1
    assert pointing(delta(0, 0), mask) == 0
    assert pointing(delta(3, 3), mask) == 0.25
    assert pointing(delta(1, 2) + delta(0, 0), mask) == 0.5
    lower = delta(1, 2) + np.full((4, 6), 2.9)
    assert pointing(lower, mask) == 1


def test_a_wider_mask_has_what_is_no_further_than_15_px_in_frames_of_224():
    mask = np.zeros((2, 56, 56), bool)
    mask[0, 20, 30] = True
    wide = localisation.widen(mask)
    rows, columns = np.mgrid[:56, :56]
    assert np.array_equal(wide[0], 4 * np.hypot(rows - 20, columns - 30) <= 15)
    assert not wide[1].any()


def test_several_channels_agree_with_the_hand_as_the_mean_of_what_each_does(rng):
    maps, hand = rng.random((3, 5, 4, 6, 7)), rng.random((3, 5, 6, 7)) * (rng.random((3, 5, 6, 7)) < 0.2)
    near = np.minimum(1, 2 * hand)
    found = localisation.on_hand(localisation.shares(maps).mean(2), localisation.peaks(maps).mean(2), hand, near)
    each = [
        localisation.on_hand(localisation.shares(one), localisation.peaks(one), hand, near)
        for one in np.moveaxis(maps, 2, 0)
    ]
    for name in ("energy", "enrichment", "pointing", "pointing, near"):
        np.testing.assert_allclose(found[name], np.mean([one[name] for one in each], axis=0), err_msg=name)
    assert found["area"] == pytest.approx(hand.mean((1, 2, 3)))


def test_a_map_that_is_the_hand_agrees_with_it_wholly(rng):
    hand = np.zeros((1, 6, 8, 8))
    for step in range(5):
        hand[0, step, step + 1 : step + 3, 2:4] = 1
    found = localisation.on_hand(localisation.shares(hand), localisation.peaks(hand), hand, hand)
    wanted = {"energy": 1, "area": 1 / 16, "enrichment": 16, "pointing": 1, "pointing, near": 1}
    assert {name: value[0] for name, value in found.items()} == pytest.approx(
        wanted | {"distance": 0, "correlation": 1}
    )
    even = np.ones((1, 6, 8, 8))
    found = localisation.on_hand(localisation.shares(even), localisation.peaks(even), hand, hand)
    assert found["enrichment"] == pytest.approx(1) and np.isnan(found["correlation"])
    expected = np.mean([np.hypot(0.5 - (step + 2) / 8, 0.5 - 3 / 8) for step in range(5)])
    assert found["distance"] == pytest.approx(expected)  # the sixth step, without a hand, does not count


def test_the_best_channel_is_chosen_on_the_clips_it_is_not_measured_on(rng):
    """Channel 1 is the hand in the even clips and channel 2 in the odd ones: each half is measured with the other's."""
    hand = np.zeros((6, 2, 5, 5))
    hand[np.arange(6), :, [0, 1, 2, 3, 4, 0], [1, 3, 0, 2, 4, 2]] = 1
    maps = np.ones((6, 2, 3, 5, 5))
    maps[::2, :, 1], maps[1::2, :, 2] = hand[::2] + 1e-3, hand[1::2] + 1e-3
    found = localisation.against_hands(maps, hand, hand)
    np.testing.assert_allclose(found["its best channel"]["enrichment"], 1, atol=1e-9)
    maps[:, :, 0] = hand + 1e-3
    found = localisation.against_hands(maps, hand, hand)
    assert (found["its best channel"]["enrichment"] > 20).all()
    assert found["its best channel"]["pointing"] == pytest.approx(np.ones(6))
    best = localisation.on_hands(maps[:, :, 0], hand)
    for name in ("enrichment", "pointing"):
        elsewhere = found["best channel, another's hand"][name]
        np.testing.assert_allclose(elsewhere, best[name]["another clip's hand"])
    assert (elsewhere < 0.5).all() and np.isnan(found["best channel, another's hand"]["distance"]).all()


def test_another_clips_hand_is_every_other_clips_in_turn(rng):
    maps, hand = rng.random((4, 3, 2, 5, 6)), rng.random((4, 3, 5, 6))
    found = localisation.against_hands(maps, hand, hand)["another clip's hand"]
    parts, tops = localisation.shares(maps).mean(2), localisation.peaks(maps).mean(2)
    for clip in range(4):
        others = [
            localisation.on_hand(parts[[clip]], tops[[clip]], hand[[other]], hand[[other]])
            for other in range(4)
            if other != clip
        ]
        for name, values in found.items():
            assert values[clip] == pytest.approx(np.mean([other[name] for other in others])), name


def test_on_hands_agrees_with_what_is_measured_hand_by_hand(rng):
    maps, hand = rng.random((4, 3, 5, 6)), rng.random((4, 3, 5, 6)) * (rng.random((4, 3, 5, 6)) < 0.4)
    hand[1, 2] = hand[3] = 0  # out of view for a step, and for a clip
    maps[0, 1] = 0
    found = localisation.on_hands(maps, hand)
    known = localisation.against_hands(maps[:, :, None], hand, hand)
    for name, each in found.items():
        np.testing.assert_allclose(each["its own hand"], known["attention"][name])
        np.testing.assert_allclose(each["another clip's hand"], known["another clip's hand"][name])
    even = localisation.on_hands(np.ones((1, 1, 5, 6)), hand)
    np.testing.assert_allclose(even["enrichment"]["its own hand"], [1, 1, 1, np.nan])
    alone = localisation.on_hands(maps[:1], hand[:1])["pointing"]
    assert np.isfinite(alone["its own hand"]).all() and np.isnan(alone["another clip's hand"]).all()


def test_one_clip_has_no_other(rng):
    maps, hand = rng.random((1, 3, 2, 5, 6)), rng.random((1, 3, 5, 6))
    found = localisation.against_hands(maps, hand, hand)
    assert np.isfinite(found["attention"]["enrichment"]).all()
    assert np.isnan(found["another clip's hand"]["enrichment"]).all()
    assert np.isnan(found["its best channel"]["pointing"]).all()


def test_the_centre_is_in_parts_of_the_frame():
    assert localisation.centre(np.ones((3, 7))) == pytest.approx([0.5, 0.5])
    assert localisation.centre(delta(0, 5, (4, 6))) == pytest.approx([1 / 8, 11 / 12])
    both = delta(0, 0, (2, 2)) + 3 * delta(1, 1, (2, 2))
    assert localisation.centre(both) == pytest.approx([5 / 8, 5 / 8])


def test_paths_that_differ_in_place_and_size_alone_correlate_fully(rng):
    path = rng.random((8, 2))
    assert localisation.path_correlation(path, 0.1 * path + 0.3) == pytest.approx(1)
    assert localisation.path_correlation(path, 1 - path) == pytest.approx(-1)
    turned = np.stack([-(path[:, 1] - path[:, 1].mean()), path[:, 0] - path[:, 0].mean()], -1)
    assert localisation.path_correlation(path, turned) == pytest.approx(0, abs=1e-12)


def test_along_one_line_the_correlation_is_pearsons(rng):
    first, second = rng.random((2, 5, 8))
    still = np.full((5, 8), 0.4)
    found = localisation.path_correlation(np.stack([first, still], -1), np.stack([second, still], -1))
    expected = [np.corrcoef(one, other)[0, 1] for one, other in zip(first, second, strict=True)]
    np.testing.assert_allclose(found, expected)


def test_unknown_steps_are_left_out_of_a_correlation(rng):
    path, other = rng.random((2, 8, 2))
    whole = localisation.path_correlation(path[2:], other[2:])
    other[:2] = np.nan
    assert localisation.path_correlation(path, other) == pytest.approx(whole)
    other[:6] = np.nan
    assert np.isnan(localisation.path_correlation(path, other))


def test_what_stands_still_correlates_with_nothing(rng):
    even = localisation.centre(rng.random((8, 1, 1)) * np.ones((8, 5, 7)))
    assert np.isnan(localisation.path_correlation(even, rng.random((8, 2))))


def test_where_there_is_nothing_a_measure_is_not_a_number(rng):
    maps, nothing = rng.random((4, 6)), np.zeros((4, 6))
    assert np.isnan(localisation.area(nothing))
    for measure in (localisation.energy, pointing):
        assert np.isnan(measure(maps, nothing)) and np.isnan(measure(nothing, maps))
    assert np.isnan(localisation.entropy(nothing)) and np.isnan(localisation.centre(nothing)).all()


def test_a_signed_map_is_refused():
    with pytest.raises(ValueError, match=r"not be negative; got a value of -3: take np\.abs"):
        localisation.entropy(-delta(0, 0))


def test_the_blob_is_a_gaussian_in_the_middle():
    blob = localisation.centre_blob(5, 9, width=0.2)
    assert blob.argmax() == 2 * 9 + 4 and blob.max() == 1
    assert blob[3, 4] == pytest.approx(math.exp(-0.5))  # a fifth of the frame away is one standard deviation
    assert localisation.centre(blob) == pytest.approx([0.5, 0.5])
