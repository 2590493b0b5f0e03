"""The permutation families: what each class shows, and that three of them are the same frames."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from gatescope.loaders import CONFUSABLE, JESTER_LABELS, PermutationFamilies
from gatescope.loaders.families import FAMILIES, FAMILY_OF, TEMPORAL

TEMPORAL_CLASSES = [label for label in range(12) if TEMPORAL[FAMILY_OF[label]]]


@pytest.fixture(scope="module")
def clips():
    return PermutationFamilies("train", 120)


@pytest.fixture(scope="module")
def clean():
    return PermutationFamilies("train", 0, noise=0.0)


def multiset(clip):
    return sorted(frame.tobytes() for frame in clip)


def place_of(frame):
    return np.argwhere(frame > 0.5).min(0)


def test_three_classes_of_a_temporal_family_are_the_same_frames_to_the_bit(clips):
    for index in range(30):
        for first in (6, 9):
            forward, backward, interleaved = (clips.clip(index, first + variant) for variant in range(3))
            assert len(set(multiset(forward))) == 8
            assert multiset(forward) == multiset(backward) == multiset(interleaved)
            np.testing.assert_array_equal(backward, forward[::-1])
            np.testing.assert_array_equal(interleaved, forward[[0, 4, 1, 5, 2, 6, 3, 7]])


def test_what_does_not_see_the_order_is_right_for_one_in_three(clips):
    """Whatever it makes of the frames: it answers alike for all three, and one of them is true."""
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(256, 20)), rng.normal(size=(20, 12))
    right = 0
    for index in range(40):
        for label in TEMPORAL_CLASSES:
            frames = np.stack([np.frombuffer(frame, np.float32) for frame in multiset(clips.clip(index, label))])
            scores = (np.tanh(frames @ first).max(0) @ second).reshape(4, 3)
            right += int(scores[FAMILY_OF[label]].argmax()) == label % 3
    assert right == 40 * len(TEMPORAL_CLASSES) // 3


def test_the_label_draws_nothing_else(clips, clean):
    for index, label in enumerate(clips.labels.tolist()):
        np.testing.assert_array_equal(clips.x[index, 0].numpy(), clips.clip(index, label))
    for one, other in [(0, 2), (3, 4), (0, 5), (2, 6)]:
        noise = [clips.clip(7, label) - clean.clip(7, label) for label in (one, other)]
        np.testing.assert_allclose(*noise, atol=1e-6)


@pytest.mark.parametrize("num_frames", [3, 4, 7, 8, 9])
def test_every_three_frames_rise_fall_or_turn(num_frames):
    clips = PermutationFamilies("test", 0, num_frames=num_frames, noise=0.0)
    for variant, turns in enumerate([{(1, 1)}, {(-1, -1)}, {(1, -1), (-1, 1)}]):
        brightness = clips.clip(0, 9 + variant).max((1, 2))
        right = [int(frame.max(0).argmax()) for frame in clips.clip(0, 6 + variant)]
        for values in (brightness, right):
            steps = np.sign(np.diff(values)).astype(int)
            assert set(zip(steps, steps[1:], strict=False)) <= turns


def test_frames_of_a_temporal_family_differ_and_of_the_others_do_not(clean):
    for label in range(12):
        frames = clean.clip(3, label)
        if TEMPORAL[FAMILY_OF[label]]:
            assert len(set(multiset(frames))) == 8
        else:
            assert (frames == frames[0]).all()


def test_static_classes_differ_by_where_the_same_number_of_pixels_is_missing(clean):
    bars = [clean.clip(5, label)[0] for label in range(3)]
    whole = np.maximum.reduce(bars)
    assert whole.sum() == 3 * 11
    missing = [np.argwhere(whole - bar) for bar in bars]
    assert [len(pixels) for pixels in missing] == [6, 6, 6]
    assert np.diff([pixels[:, 0].mean() for pixels in missing]).tolist() == [3, 3]  # up, mid, down
    up, right, down = (clean.clip(5, label)[0] for label in range(3, 6))
    ring = np.maximum.reduce([up, right, down])
    centre = np.argwhere(ring).mean(0)
    gaps = [np.argwhere(ring - one).mean(0) - centre for one in (up, right, down)]
    assert gaps[0][0] < -3 and gaps[1][1] > 3 and gaps[2][0] > 3
    np.testing.assert_allclose([gaps[0][1], gaps[1][0], gaps[2][1]], 0, atol=1e-9)
    assert up.sum() == right.sum() == down.sum() < ring.sum()


@pytest.mark.parametrize("size", [12, 16, 24, 31])
@pytest.mark.parametrize("label", range(12))
def test_a_shape_keeps_its_place_which_is_random_and_inside(label, size):
    clips = PermutationFamilies("valid", 0, size=size, noise=0.0)
    places, masses = set(), []
    for index in range(40):
        frames = clips.clip(index, label)
        masses.append(frames.max(0).sum())
        if FAMILIES[FAMILY_OF[label]] != "sweep":
            shown = [tuple(place_of(frame)) for frame in frames if (frame > 0.5).any()]
            assert len(set(shown)) == 1
        places.add(tuple(place_of(frames.max(0))))
    assert len(places) > 6
    # None is cut off by the border; a blob loses its faint skirt.
    np.testing.assert_allclose(masses, max(masses), rtol=0.06)


def test_noise_is_fresh_in_every_frame_and_of_the_size_asked_for(clips, clean):
    noise = np.stack([clips.clip(index, 0) - clean.clip(index, 0) for index in range(30)])
    assert noise.std() == pytest.approx(0.15, rel=0.02)
    assert noise.mean() == pytest.approx(0, abs=0.003)
    flat = noise.reshape(240, -1)
    correlations = np.corrcoef(flat)[~np.eye(240, dtype=bool)]
    assert abs(correlations).max() < 0.35
    assert abs(clips.x.mean()) < 0.2 and clips.x.abs().max() < 2


def test_labels_are_balanced_and_shuffled(clips):
    assert np.bincount(clips.labels).tolist() == [10] * 12
    for start in range(0, 120, 12):
        assert sorted(clips.labels[start : start + 12]) == list(range(12))
    assert len({tuple(clips.labels[start : start + 12]) for start in range(0, 120, 12)}) == 10


def test_a_clip_depends_on_split_seed_and_index_alone(clips):
    few = PermutationFamilies("train", 17)
    assert len(few) == 17
    for index in range(17):
        assert few[index][1] == clips[index][1]
        torch.testing.assert_close(few[index][0], clips[index][0], rtol=0, atol=0)
    assert torch.equal(clips[-1][0], clips[119][0]) and clips[-1][1] == clips[119][1]


def test_splits_and_seeds_have_nothing_in_common(clips):
    frames = set(multiset(clips.x.flatten(0, 2).numpy()))
    assert len(frames) == 120 * 8
    for other in (
        PermutationFamilies("valid", 120),
        PermutationFamilies("test", 120),
        PermutationFamilies("train", 120, 1),
    ):
        assert not frames & set(multiset(other.x.flatten(0, 2).numpy()))
        assert (other.labels != clips.labels).any()


def test_names_say_family_and_class(clips):
    assert clips.names[0] == "notched bar: notch up" and clips.names[11] == "ramp: interleaved"
    assert len(set(clips.names)) == 12
    assert [name.split(":")[0] for name in clips.names] == [FAMILIES[family] for family in FAMILY_OF]
    assert [FAMILIES[family] for family in range(4) if TEMPORAL[family]] == ["sweep", "ramp"]


def test_no_clip_at_all(clean):
    assert len(clean) == 0 and clean.x.shape == (0, 1, 8, 16, 16)
    with pytest.raises(IndexError, match="index 0 is out of bounds"):
        clean[0]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_loader_gives_what_the_data_set_holds(clips, num_workers):
    x, labels = next(iter(DataLoader(clips, batch_size=120, num_workers=num_workers)))
    assert torch.equal(x, clips.x) and x.dtype == torch.float32
    assert labels.tolist() == clips.labels.tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"split": "testing"}, "train, valid, test; got 'testing'"),
        ({"num_clips": -1}, "num_clips >= 0.*got -1"),
        ({"seed": -1}, "seed >= 0"),
        ({"size": 11}, "size >= 12"),
        ({"num_frames": 2}, "num_frames >= 3"),
        ({"noise": -0.1}, "noise >= 0"),
        ({"noise": float("nan")}, "noise >= 0"),
    ],
)
def test_arguments_out_of_range_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        PermutationFamilies(**{"split": "train", "num_clips": 1} | change)


def test_confusable_gestures_are_twenty_in_six_families():
    labels = [label for family in CONFUSABLE.values() for label in family]
    assert len(labels) == len(set(labels)) == 20
    assert set(labels) == set(range(20))
    words = {
        "zoom": "Zooming",
        "sideways": ("Left", "Right"),
        "up and down": ("Up", "Down"),
        "push and pull": ("Push", "Pull"),
        "roll": "Rolling",
        "turn": "Turning",
    }
    assert list(CONFUSABLE) == list(words)
    for family, members in CONFUSABLE.items():
        for label in members:
            name = JESTER_LABELS[label]
            assert name.startswith(words[family]) or name.endswith(words[family])


def test_more_clips_than_memory_holds_are_refused():
    with pytest.raises(ValueError, match=r"1,000,000 clips of 8 frames of 16 px exceed 2 GiB"):
        PermutationFamilies("train", 1_000_000)
