"""Pairs of gestures: nothing but the order of the halves tells two labels apart."""

from collections import Counter

import numpy as np
import pytest

SIZE, FRAMES = 24, 16
ARRAYS = ("frames", "hand_mask", "depth", "joints_2d", "joints_3d")


@pytest.fixture(scope="module")
def pairs_type():
    from gatescope.loaders import GesturePairs

    return GesturePairs


@pytest.fixture(scope="module")
def clips(pairs_type):
    return pairs_type("valid", 24, SIZE, seed=2, num_frames=FRAMES)


@pytest.mark.slow
@pytest.mark.parametrize("index", [0, 1, 5])
def test_both_orders_are_the_same_frames_with_the_halves_exchanged(clips, index):
    clip = clips[index]
    other = clips.clip(index, clips.exchanged(clip.label))
    assert other.name == ", ".join(reversed(clip.name.split(", "))) != clip.name
    for name in ARRAYS:
        first, second = np.split(getattr(clip, name), 2)
        assert np.array_equal(getattr(other, name), np.concatenate([second, first])), name
        assert not np.array_equal(first, second)
    assert clip.flow is None and other.fps == clip.fps


@pytest.mark.slow
def test_the_hand_is_out_of_the_picture_where_the_halves_meet_and_at_both_ends(pairs_type):
    clips = pairs_type("train", 24, SIZE, num_frames=32, modalities=("hand_mask",))
    shown = np.stack([clips[index].hand_mask.any((1, 2)) for index in range(24)])
    # A step of the features that sees five frames never sees both hands.
    assert not shown[:, [0, 1, 14, 15, 16, 17, 30, 31]].any()
    for half in np.split(shown, 2, axis=1):
        assert (half.sum(1) >= 5).all()


@pytest.mark.slow
def test_the_hand_is_drawn_where_its_mask_says(pairs_type):
    """Each frame's exposure belongs to its own moment, in either half."""
    clip = pairs_type("train", 1, 48, num_frames=32)[0]
    difference = np.abs(clip.frames.astype(float) - clip.frames[0]).mean(-1)
    large = clip.hand_mask.sum((1, 2)) > 60
    assert large[:16].sum() > 4 and large[16:].sum() > 4
    for frame, mask in zip(difference[large], clip.hand_mask[large], strict=True):
        assert frame[mask].mean() > 3 * frame[~mask].mean()


def test_labels_are_balanced_and_name_ordered_pairs(clips, pairs_type):
    assert len(clips.names) == 12 and clips.names[0] == "Swiping Left, Swiping Down"
    for start in range(0, 48, 12):
        assert Counter(clips.label(index) for index in range(start, start + 12)) == dict.fromkeys(range(12), 1)
    assert all(clips.exchanged(clips.exchanged(label)) == label != clips.exchanged(label) for label in range(12))
    assert all(set(clips.pairs[label]) == set(clips.pairs[clips.exchanged(label)]) for label in range(12))
    assert pairs_type("train", 2, gestures=(3, 1)).names == ("Swiping Up, Swiping Right", "Swiping Right, Swiping Up")


def test_performers_are_spread_over_the_splits_people(pairs_type):
    from gatescope.loaders.rendered.clips import NUM_PEOPLE

    for split, num_people in NUM_PEOPLE.items():
        clips = pairs_type(split, 600)
        found = Counter(clips.performer(index) for index in range(600))
        assert set(found) <= set(range(num_people)) and len(found) > 0.85 * num_people


@pytest.mark.slow
def test_people_are_those_of_single_gestures_in_the_same_split(pairs_type, monkeypatch):
    from rendered_people import sequence

    people = {}

    def stand_in(person, *rest):
        people.setdefault(split, set()).add(tuple(np.append(person.skin, list(vars(person.build).values()))))
        raise InterruptedError

    monkeypatch.setattr(sequence, "render", stand_in)
    for split in ("train", "valid", "test"):
        clips = pairs_type(split, 40, 8, num_frames=2)
        for index in range(40):
            with pytest.raises(InterruptedError):
                clips[index]
    assert all(len(found) > 20 for found in people.values())
    assert not people["train"] & people["valid"] | people["train"] & people["test"] | people["valid"] & people["test"]


@pytest.mark.slow
def test_nobody_walks_past_even_in_a_crowded_room(pairs_type, monkeypatch):
    from rendered_people import sequence

    scenes, original = [], sequence.render
    monkeypatch.setattr(
        sequence, "render", lambda person, scene, *rest: scenes.append(scene) or original(person, scene, *rest)
    )
    crowded = pairs_type("train", 12, 8, num_frames=2, difficulty=1.0, modalities=())
    for index in range(12):
        crowded.clip(index)
    assert len(scenes) == 12 and all(scene.passer_by is None for scene in scenes)


@pytest.mark.slow
def test_a_clip_depends_on_its_index_and_not_on_what_else_is_rendered(pairs_type, clips):
    alone = pairs_type("valid", 400, SIZE, seed=2, num_frames=FRAMES, modalities=())[7]
    assert np.array_equal(alone.frames, clips[7].frames) and alone.hand_mask is None and alone.depth is None
    assert not np.array_equal(alone.frames, pairs_type("valid", 8, SIZE, seed=3, num_frames=FRAMES)[7].frames)


@pytest.mark.slow
def test_pairs_are_cached(pairs_type, tmp_path):
    from gatescope.loaders import CachedClips

    clips = pairs_type("train", 3, 8, num_frames=4, modalities=("hand_mask",))
    cached = CachedClips(clips, tmp_path)
    assert np.array_equal(cached[2].frames, clips[2].frames) and cached[2].name == clips[2].name
    assert cached.folder.name.startswith("pairs-")
    assert cached.folder != CachedClips(pairs_type("train", 3, 8, num_frames=4), tmp_path).folder


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"num_frames": 15}, "even num_frames.*15"),
        ({"difficulty": 1.5}, "difficulty.*1.5"),
        ({"modalities": ("flow",)}, "hand_mask and depth; got flow"),
        ({"modalities": "depth"}, "collection.*depth"),
        ({"gestures": (1,)}, r"two or more.*\(1,\)"),
        ({"gestures": (1, 1)}, r"different.*\(1, 1\)"),
        ({"gestures": (1, 27)}, r"0 to 26.*27"),
    ],
)
def test_what_cannot_be_rendered_is_refused(pairs_type, wrong, says):
    with pytest.raises(ValueError, match=says):
        pairs_type("train", 1, **wrong)
