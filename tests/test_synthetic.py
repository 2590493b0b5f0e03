"""The rendered gestures: what a clip depends on, and that its modalities tell one story."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

SIZE = 56


@pytest.fixture(scope="module")
def synthetic():
    from gatescope.loaders.rendered import gestures as dataset

    return dataset


@pytest.fixture(scope="module")
def renderer():
    """Where a gesture is put together: tests exchange what it calls."""
    from rendered_people import render

    return render


@pytest.fixture(scope="module")
def still_camera(synthetic, renderer):
    """Renders clips with noise, flicker and motion blur off."""

    def scene(*arguments):
        return replace(
            original(*arguments), shutter_s=0.0, read_noise=0.0, shot_noise=0.0, flicker=0.0, brightness=0.25
        )

    original = renderer.random_scene
    patch = pytest.MonkeyPatch()
    patch.setattr(renderer, "random_scene", scene)
    yield synthetic.SyntheticGestures
    patch.undo()


def digest(clip) -> str:
    import hashlib

    parts = (clip.frames, clip.depth, clip.hand_mask, clip.flow, clip.joints_2d, clip.joints_3d)
    return hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).hexdigest()


def test_every_modality_has_its_shape_and_type(synthetic):
    clip = synthetic.SyntheticGestures("valid", 3, SIZE)[1]
    assert clip.frames.shape == (16, SIZE, SIZE, 3) and clip.frames.dtype == np.uint8
    assert clip.depth.shape == clip.hand_mask.shape == (16, SIZE, SIZE)
    assert clip.flow.shape == (15, SIZE, SIZE, 2)
    assert clip.joints_2d.shape[:2] == clip.joints_3d.shape[:2] == (16, 27)
    assert clip.name == synthetic.JESTER_LABELS[clip.label]
    assert 16 / 3.4 <= clip.fps <= 16 / 2.2
    assert "synthetic" in clip.source


@pytest.mark.slow
@pytest.mark.parametrize("size", [8, 33, 100, 161])
def test_any_size_shows_the_same_performance(synthetic, size):
    small = synthetic.SyntheticGestures("train", 5, SIZE, num_frames=4)[4]
    other = synthetic.SyntheticGestures("train", 5, size, num_frames=4)[4]
    assert other.frames.shape[1:3] == (size, size)
    np.testing.assert_array_equal(small.joints_3d, other.joints_3d)
    np.testing.assert_allclose(small.joints_2d / SIZE, other.joints_2d / size, atol=1e-4)
    if size > SIZE:
        shrunk = np.stack([cv2.resize(f, (SIZE, SIZE), interpolation=cv2.INTER_AREA) for f in other.frames])
        assert np.abs(shrunk.astype(float) - small.frames).mean() < 12  # noise and coarser meshes


def test_one_frame_clip_has_no_flow(synthetic):
    clip = synthetic.SyntheticGestures("test", 1, SIZE, num_frames=1)[0]
    assert clip.frames.shape[0] == 1 and clip.flow.shape == (0, SIZE, SIZE, 2)


def test_a_clip_does_not_depend_on_how_many_there_are(synthetic):
    assert digest(synthetic.SyntheticGestures("train", 4, SIZE)[3]) == digest(
        synthetic.SyntheticGestures("train", 400, SIZE)[3]
    )


def test_leaving_modalities_out_changes_nothing_else(synthetic):
    every = synthetic.SyntheticGestures("train", 4, SIZE)[2]
    frames = synthetic.SyntheticGestures("train", 4, SIZE, modalities=())[2]
    np.testing.assert_array_equal(every.frames, frames.frames)
    assert frames.depth is frames.hand_mask is frames.flow is None


@pytest.mark.slow
def test_another_process_renders_the_same_bytes(synthetic):
    code = (
        "from gatescope.loaders.rendered import SyntheticGestures\n"
        "from test_synthetic import digest\n"
        "clips = SyntheticGestures('valid', 9, 56, seed=5)\n"
        "print(digest(clips[0]), digest(clips[8]))\n"
    )
    there = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parent
    )
    clips = synthetic.SyntheticGestures("valid", 9, 56, seed=5)
    assert there.stdout.split() == [digest(clips[0]), digest(clips[8])]


@pytest.mark.parametrize("change", [{"seed": 1}, {"split": "test"}, {"difficulty": 0.9}])
def test_each_parameter_changes_the_pixels(synthetic, change):
    default = {"split": "valid", "num_clips": 2, "size": SIZE}
    first = synthetic.SyntheticGestures(**default)[1]
    other = synthetic.SyntheticGestures(**default | change)[1]
    assert (first.frames != other.frames).mean() > 0.2


def test_every_block_holds_each_label_once(synthetic):
    clips = synthetic.SyntheticGestures("train", 81, SIZE)
    for block in range(3):
        assert sorted(clips.label(i) for i in range(27 * block, 27 * block + 27)) == list(range(27))
    assert [clips.label(i) for i in range(27)] != [clips.label(i) for i in range(27, 54)]


def test_chosen_classes_are_numbered_without_gaps_and_balanced(synthetic):
    clips = synthetic.SyntheticGestures("train", 25, 16, num_frames=1, modalities=(), classes=(25, 3, 14))
    assert clips.names == ("Swiping Up", "Turning Hand Clockwise", "No gesture")
    for block in range(8):
        assert sorted(clips.label(i) for i in range(3 * block, 3 * block + 3)) == [0, 1, 2]
    assert {(clip.label, clip.name) for clip in (clips[i] for i in range(3))} == set(enumerate(clips.names))
    assert clips[0].source.endswith("classes 3 14 25")


@pytest.mark.slow
def test_a_chosen_class_is_what_is_performed(synthetic, renderer, monkeypatch):
    """Told by the label that is really handed to the kinematics."""
    performed = []

    def noted(label, *rest):
        performed.append(label)
        return original(label, *rest)

    original = renderer.perform
    monkeypatch.setattr(renderer, "perform", noted)
    chosen = (0, 1, 2, 3, 4, 5, 12, 13, 14, 15, 22, 25)
    clips = synthetic.SyntheticGestures("train", 24, 16, num_frames=1, modalities=(), classes=chosen)
    names = [clips[i].name for i in range(24)]
    assert names == [synthetic.JESTER_LABELS[label] for label in performed]
    assert set(performed) == set(chosen)


def test_all_classes_by_name_are_the_clips_of_none(synthetic):
    every = synthetic.SyntheticGestures("train", 4, SIZE, num_frames=2, classes=range(27))[3]
    default = synthetic.SyntheticGestures("train", 4, SIZE, num_frames=2)[3]
    assert digest(every) == digest(default)
    assert (every.source, every.label, every.name) == (default.source, default.label, default.name)


@pytest.mark.slow
@pytest.mark.usefixtures("shapes_unchecked")
def test_nobody_appears_in_two_splits(synthetic, renderer, monkeypatch):
    """Told by who is really handed to the renderer."""

    class Handed(Exception):
        pass

    def stand_in(person, *rest):
        raise Handed(person)

    monkeypatch.setattr(renderer, "render", stand_in)
    people = {split: set() for split in ("train", "valid", "test")}
    for split, found in people.items():
        clips = synthetic.SyntheticGestures(split, 240, 8, num_frames=1)
        for index in range(240):
            with pytest.raises(Handed) as caught:
                clips[index]
            (person,) = caught.value.args
            found.add(tuple(np.append(person.skin, list(vars(person.build).values()))))
    assert len(people["train"]) > 100 and len(people["valid"]) > 50 and len(people["test"]) > 50
    assert not people["train"] & people["valid"] | people["train"] & people["test"] | people["valid"] & people["test"]


@pytest.mark.slow
def test_skin_is_redder_than_blue(synthetic):
    clips = synthetic.SyntheticGestures("train", 27, SIZE, difficulty=0.0, num_frames=3)
    hands = [clip.frames[clip.hand_mask].mean(0) for clip in clips if clip.hand_mask.any()]
    assert len(hands) > 10 and np.mean([red > blue for red, _, blue in hands]) > 0.9


def quieter(scene, **changes):
    return replace(scene, flicker=0.0, **changes)


@pytest.mark.parametrize("what", ["read_noise", "shutter_s"])
def test_noise_and_blur_are_in_the_pictures(synthetic, renderer, monkeypatch, what):
    scenes = renderer.random_scene
    shown = []
    for value in (0.0, {"read_noise": 6.0, "shutter_s": 0.05}[what]):
        still = {"read_noise": 0.0, "shot_noise": 0.0, "shutter_s": 0.0} | {what: value}
        monkeypatch.setattr(renderer, "random_scene", lambda *a, still=still: quieter(scenes(*a), **still))
        clips = synthetic.SyntheticGestures("train", 27, SIZE, num_frames=16)
        shown.append(next(clips[i] for i in range(27) if clips.label(i) == 0))
    sharp, other = shown
    changed = np.abs(sharp.frames.astype(float) - other.frames).mean(-1)
    if what == "read_noise":
        assert 3 < changed[:, :8, :8].mean() < 8  # the mean of a normal's size is 0.8 of its spread
    else:
        hand = sharp.hand_mask[:-1] & (np.hypot(*np.moveaxis(sharp.flow, -1, 0)) > 4)
        assert changed[:-1][hand].mean() > 3 and changed[:, :4, :4].mean() < 1


@pytest.mark.slow
def test_someone_walks_past_in_hard_clips_only(synthetic, renderer):
    def walkers(difficulty):
        clips = synthetic.SyntheticGestures("train", 60, SIZE, difficulty=difficulty)
        return sum(renderer.random_scene(clips._stream(4, i), difficulty).passer_by is not None for i in range(60))

    assert walkers(0.0) == 0 and 15 <= walkers(1.0) <= 40
    clips = synthetic.SyntheticGestures("train", 60, SIZE, difficulty=1.0, num_frames=6)
    index = next(i for i in range(60) if renderer.random_scene(clips._stream(4, i), 1.0).passer_by)
    behind = (clips[index].depth > 1350) & (clips[index].depth < clips[index].depth.max())
    assert behind.any()


def test_blur_does_not_tell_left_from_right(synthetic):
    """A single frame says along which line the hand moves, not which way: turn time round and the blur stays."""
    from rendered_people.drawing import SAMPLES_PX
    from rendered_people.render import SAMPLES_SHUTTER, shutter_times

    times = shutter_times(np.zeros(2000), 1.0, np.random.default_rng(0))[2000:].reshape(-1, 4)
    assert set(map(tuple, np.unique(times, axis=0))) == {tuple(SAMPLES_SHUTTER), tuple(-SAMPLES_SHUTTER)}
    drift = (times[:, :, None] * SAMPLES_PX[:4]).mean((0, 1))
    assert np.abs(drift).max() < 0.01 * np.abs(SAMPLES_PX).max()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"split": "validation"}, "train, valid, test"),
        ({"size": 4}, "size 8 to"),
        ({"difficulty": 1.5}, "between 0"),
        ({"modalities": ("depht",)}, "depht"),
        ({"modalities": "flow"}, "collection of names"),
        ({"num_frames": 0}, "num_frames >= 1"),
        ({"classes": (26, 27)}, "labels 0 to 26"),
        ({"classes": ()}, "labels 0 to 26"),
        ({"classes": (3, 3)}, "each label once"),
    ],
)
def test_wrong_arguments_are_refused_by_name(synthetic, arguments, told):
    with pytest.raises(ValueError, match=told):
        synthetic.SyntheticGestures(**arguments)


def test_an_index_beyond_the_end_is_refused(synthetic):
    with pytest.raises(IndexError, match="clip 5 of 5"):
        synthetic.SyntheticGestures("train", 5)[5]


@pytest.mark.slow
def test_difficulty_runs_from_a_bare_to_a_crowded_room(synthetic):
    def detail(difficulty):
        clips = synthetic.SyntheticGestures("train", 12, SIZE, num_frames=1, difficulty=difficulty)
        steps = []
        for clip in clips:
            wall = clip.depth[0] >= clip.depth.max()
            both = wall[:, 1:] & wall[:, :-1]
            steps.append(np.abs(np.diff(clip.frames[0].astype(float).mean(-1), axis=1))[both].mean())
        return np.mean(steps)

    bare, usual, crowded = detail(0.0), detail(0.5), detail(1.0)
    assert 3 * bare < usual and 1.2 * usual < crowded


@pytest.mark.slow
@pytest.mark.parametrize(("label", "axis", "sign"), [(0, 1, 1), (1, 1, -1), (2, 0, 1), (3, 0, -1)])
def test_swipes_go_where_the_performer_would_say(synthetic, label, axis, sign):
    """Left is the performer's: the image's right, as the camera does not mirror."""
    clips = synthetic.SyntheticGestures("train", 270, 40, difficulty=0.0, modalities=("hand_mask",))
    travelled = []
    for clip in (clips[i] for i in range(270) if clips.label(i) == label):
        seen = [t for t in range(16) if clip.hand_mask[t].sum() > 12]
        # While the hand travels it is fastest: the middle half of the frames that show it.
        middle = seen[len(seen) // 4 : len(seen) - len(seen) // 4]
        centres = [np.argwhere(clip.hand_mask[t]).mean(0)[axis] for t in middle]
        travelled.append(sign * (centres[-1] - centres[0]))
    # Some swipe twice, and are on their way back in the middle.
    assert np.median(travelled) > 4 and np.mean(np.array(travelled) > 0) >= 0.7


def sample(image, x, y):
    return cv2.remap(image, x, y, cv2.INTER_LINEAR, borderValue=np.nan)


def consistent(clip) -> dict[str, float]:
    """How well a clip's modalities agree, each as a number a test can bound."""
    size = clip.frames.shape[1]
    row, column = np.mgrid[0:size, 0:size].astype(np.float32)
    errors, still, tracked = [], [], 0
    for t in range(len(clip.flow)):
        to_x, to_y = column + clip.flow[t, ..., 0], row + clip.flow[t, ..., 1]
        inside = (to_x > 1) & (to_x < size - 2) & (to_y > 1) & (to_y < size - 2)
        # Not occluded, and away from edges, where one pixel shows two surfaces: the hand on both sides of the flow.
        core = cv2.erode(clip.hand_mask[t].astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        there = sample(
            cv2.erode(clip.hand_mask[t + 1].astype(np.uint8), np.ones((3, 3), np.uint8)).astype(np.float32), to_x, to_y
        )
        near = np.abs(sample(clip.depth[t + 1], to_x, to_y) - clip.depth[t]) < 60
        keep = core & (there > 0.99) & near & inside
        moved = keep & (np.abs(clip.flow[t]).max(-1) > 1.5)
        before, after = clip.frames[t].astype(np.float32), clip.frames[t + 1].astype(np.float32)
        errors += list(np.abs(sample(after, to_x, to_y) - before)[moved].mean(-1))
        still += list(np.abs(after - before)[moved].mean(-1))
        tracked += int(keep.sum())
    return {"error": np.median(errors) if errors else 0.0, "still": np.median(still) if still else 1.0, "px": tracked}


@pytest.mark.slow
def test_flow_depth_mask_and_joints_agree_on_100_clips(still_camera):
    size, followed, unmoved, on_hand, reached = 72, [], [], [], []
    inner = [joint for joint in range(5, 21) if joint % 4]  # not the tips, which are the skin itself
    # Forty frames, as a clip of Jester has: between sixteen the hand turns so far that its shading changes.
    clips = still_camera("train", 100, size, seed=7, num_frames=40, difficulty=0.3)
    for clip in clips:
        found = consistent(clip)
        followed.append(found["error"])
        unmoved.append(found["still"])
        assert not clip.flow[:, 0, 0].any() or clip.depth[0, 0, 0] < clip.depth.max()  # the wall stands still
        wrist_z = clip.joints_3d[:, 0, 2]
        # A pinhole: u - centre = f x / z, one focal length for all joints of a clip.
        x, z, u = clip.joints_3d[..., 0], clip.joints_3d[..., 2], clip.joints_2d[..., 0] - size / 2
        focal = (u * x / z).sum() / (x / z * (x / z)).sum()
        np.testing.assert_allclose(u, focal * x / z, atol=1e-2)
        for t in range(len(clip.frames)):
            if clip.hand_mask[t].any():
                assert np.abs(np.median(clip.depth[t][clip.hand_mask[t]]) - wrist_z[t]) < 160
            for (jx, jy), depth_mm in zip(clip.joints_2d[t, inner], clip.joints_3d[t, inner, 2], strict=True):
                if 1 <= jx < size - 1 and 1 <= jy < size - 1:
                    surface = clip.depth[t, int(jy), int(jx)]
                    # A joint lies under skin, so nothing is seen far behind it, unless a thin finger slips between
                    # the centres of two pixels.
                    reached.append(surface < depth_mm + 25)
                    if depth_mm - 25 < surface < depth_mm + 25:
                        on_hand.append(clip.hand_mask[t, int(jy), int(jx)])
    # Shading turns with the hand, so the colour of a followed point is near, not equal.
    assert np.median(followed) < 6 and np.median(unmoved) > 3 * np.median(followed)
    assert np.mean(reached) > 0.99 and np.mean(on_hand) > 0.97
