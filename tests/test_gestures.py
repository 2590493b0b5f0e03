"""The rendered gestures mean what their names say, move as bodies can, and need their frames in order."""

from dataclasses import fields

import numpy as np
import pytest
import torch
from torch import nn

from rendered_people.body import JOINTS, Build, Performance, pose
from rendered_people.gestures import perform
from rendered_people.labels import JESTER_LABELS
from rendered_people.motion import FINGER_HIGH, FINGER_LOW, turn

NUM_LABELS = len(JESTER_LABELS)
DURATION_S = 2.6  # short enough that no stroke is repeated
PAIRS = [
    ("Swiping Left", "Swiping Right"),
    ("Swiping Down", "Swiping Up"),
    ("Pushing Hand Away", "Pulling Hand In"),
    ("Sliding Two Fingers Left", "Sliding Two Fingers Right"),
    ("Sliding Two Fingers Down", "Sliding Two Fingers Up"),
    ("Pushing Two Fingers Away", "Pulling Two Fingers In"),
    ("Rolling Hand Forward", "Rolling Hand Backward"),
    ("Turning Hand Clockwise", "Turning Hand Counterclockwise"),
    ("Zooming In With Full Hand", "Zooming Out With Full Hand"),
    ("Zooming In With Two Fingers", "Zooming Out With Two Fingers"),
]
SEEDS = range(5)


def arrays(performance: Performance) -> dict[str, np.ndarray]:
    return {field.name: getattr(performance, field.name) for field in fields(performance)}


def act(name: str, seed: int, times: np.ndarray, duration_s: float = DURATION_S) -> Performance:
    return perform(JESTER_LABELS.index(name), times, duration_s, np.random.default_rng(seed))


def raised(name: str, seed: int, below_top_mm: float = 90.0) -> dict[str, np.ndarray]:
    """Joints by name at 60 Hz while the wrist is not far below its highest, and the palm's normal there."""
    performance = act(name, seed, np.arange(0, DURATION_S, 1 / 60))
    joints = pose(Build(), performance).joints
    up = joints[:, 0, 1] > joints[:, 0, 1].max() - below_top_mm
    named = dict(zip(JOINTS, np.moveaxis(joints[up], 1, 0), strict=True))
    return named | {"normal": performance.palm[up, :, 2]}


def tips(joints: dict[str, np.ndarray], *names: str) -> np.ndarray:
    return np.stack([joints[f"{name}_tip"] for name in names], axis=1)


# A function of time


@pytest.mark.parametrize("label", range(NUM_LABELS))
def test_a_time_gives_the_same_whatever_else_is_asked(label):
    times = np.linspace(-0.05, DURATION_S + 0.05, 41)
    order = np.random.default_rng(0).permutation(41)
    whole = arrays(perform(label, times, DURATION_S, np.random.default_rng(7)))
    shuffled = arrays(perform(label, times[order], DURATION_S, np.random.default_rng(7)))
    alone = arrays(perform(label, times[20:21], DURATION_S, np.random.default_rng(7)))
    for name, values in whole.items():
        np.testing.assert_allclose(shuffled[name], values[order], atol=1e-9, err_msg=name)
        np.testing.assert_allclose(alone[name], values[20:21], atol=1e-9, err_msg=name)


@pytest.mark.parametrize("label", range(NUM_LABELS))
def test_one_seed_is_one_performance(label):
    times = np.linspace(0, DURATION_S, 16)
    first, again, other = (arrays(perform(label, times, DURATION_S, np.random.default_rng(seed))) for seed in (3, 3, 4))
    assert all(first[name].tobytes() == again[name].tobytes() for name in first)
    assert not np.allclose(first["wrist"], other["wrist"])


@pytest.mark.slow
@pytest.mark.parametrize("duration_s", [2.2, 3.4])
@pytest.mark.parametrize("label", range(NUM_LABELS))
def test_movement_is_smooth_and_bodily(label, duration_s):
    times = np.arange(-0.05, duration_s + 0.05, 1 / 240)
    for seed in SEEDS:
        performance = perform(label, times, duration_s, np.random.default_rng(seed))
        joints = pose(Build(), performance).joints
        assert np.isfinite(joints).all()
        velocity = np.diff(joints, axis=0) * 240 / 1000
        assert np.linalg.norm(velocity[:, 0], axis=-1).max() < 3.0  # m/s
        assert np.linalg.norm(velocity, axis=-1).max() < 6.0
        assert np.linalg.norm(np.diff(velocity[:, 0], axis=0) * 240, axis=-1).max() < 40.0  # m/s^2
        assert np.abs(np.diff(performance.fingers, axis=0)).max() * 240 < 15.0  # rad/s
        spin = np.swapaxes(performance.palm[:-1], 1, 2) @ performance.palm[1:]
        angle = np.arccos(np.clip((np.trace(spin, axis1=1, axis2=2) - 1) / 2, -1, 1))
        assert angle.max() * 240 < 20.0  # rad/s


@pytest.mark.slow
@pytest.mark.parametrize("label", range(NUM_LABELS))
def test_hand_stays_within_what_joints_allow(label):
    times = np.linspace(0, DURATION_S, 60)
    for seed in SEEDS:
        performance = perform(label, times, DURATION_S, np.random.default_rng(seed))
        gram = np.swapaxes(performance.palm, 1, 2) @ performance.palm
        np.testing.assert_allclose(gram, np.broadcast_to(np.eye(3), gram.shape), atol=1e-9)
        np.testing.assert_allclose(np.linalg.det(performance.palm), 1.0, atol=1e-9)
        assert (performance.fingers >= FINGER_LOW).all() and (performance.fingers <= FINGER_HIGH).all()
        assert (performance.blink >= 0).all() and (performance.blink <= 1).all()
        joints = dict(zip(JOINTS, np.moveaxis(pose(Build(), performance).joints, 1, 0), strict=True))
        forearm = joints["wrist"] - joints["right_elbow"]
        forearm /= np.linalg.norm(forearm, axis=-1, keepdims=True)
        bend = np.arccos((forearm * performance.palm[:, :, 1]).sum(-1))
        assert np.degrees(bend).max() < 85
        upper = joints["right_elbow"] - joints["right_shoulder"]
        upper /= np.linalg.norm(upper, axis=-1, keepdims=True)
        assert np.degrees(np.arccos((forearm * upper).sum(-1))).max() < 152  # the elbow's flexion


@pytest.mark.slow
@pytest.mark.parametrize("label", range(NUM_LABELS))
def test_hand_does_not_pass_through_the_head(label):
    times = np.linspace(0, DURATION_S, 40)
    for seed in SEEDS:
        joints = pose(Build(), perform(label, times, DURATION_S, np.random.default_rng(seed))).joints
        offset = joints[:, :21] - joints[:, [JOINTS.index("head")]]
        # The ellipsoid of the head, less the centimetre by which a touch may sink in.
        assert np.linalg.norm(offset / [65, 105, 85], axis=-1).min() > 1


def test_turn_is_the_rotation_of_its_vector():
    quarter = turn(np.array([[0.0, 0.0, np.pi / 2], [0.0, 0.0, 0.0]]))
    np.testing.assert_allclose(quarter[0] @ [1, 0, 0], [0, 1, 0], atol=1e-12)
    np.testing.assert_allclose(quarter[1], np.eye(3), atol=1e-12)


def test_unknown_label_is_refused():
    with pytest.raises(ValueError, match="label must be 0 to 26"):
        perform(27, np.zeros(1), 2.5, np.random.default_rng(0))


@pytest.mark.parametrize("forwards, backwards", PAIRS)
def test_opposite_gestures_are_each_other_in_reverse(forwards, backwards):
    times = np.linspace(0, DURATION_S, 16)
    for seed in SEEDS:
        first = arrays(act(forwards, seed, times))
        second = arrays(act(backwards, seed, DURATION_S - times))
        for name, values in first.items():
            np.testing.assert_allclose(second[name], values, atol=1e-9, err_msg=name)


# What the names mean, measured on the joints


def between(values: np.ndarray) -> np.ndarray:
    """Change from the first to the last moment."""
    return values[-1] - values[0]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "name, sign, least_mm",
    [
        ("Swiping Left", 1, 200),
        ("Swiping Right", -1, 200),
        ("Sliding Two Fingers Left", 1, 100),
        ("Sliding Two Fingers Right", -1, 100),
    ],
)
def test_swipes_cross_the_picture(name, sign, least_mm, seed):
    joints = raised(name, seed)
    assert sign * between(joints["wrist"])[0] > least_mm


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", ["Swiping", "Sliding Two Fingers"])
def test_down_begins_above_and_up_ends_there(kind, seed):
    for direction, early in (("Down", True), ("Up", False)):
        height = raised(f"{kind} {direction}", seed, below_top_mm=300.0)["wrist"][:, 1]
        assert (height.argmax() < len(height) / 2) == early
        rest = height[height.argmax() :] if early else height[: height.argmax() + 1]
        # The stroke itself: a long way made downwards (upwards) without turning back.
        assert abs(between(rest)) > 150


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", ["Hand", "Two Fingers"])
def test_pushing_nears_the_camera_and_pulling_leaves_it(kind, seed):
    for name, sign in ((f"Pushing {kind} Away", 1), (f"Pulling {kind} In", -1)):
        joints = raised(name, seed, below_top_mm=60.0)
        assert sign * between(joints["wrist"])[2] > 100
        assert np.median(joints["normal"][:, 2]) > 0.4  # the palm faces the camera in both


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("direction", ["Left", "Right", "Down", "Up"])
def test_two_fingers_are_two_fingers(direction, seed):
    joints = raised(f"Sliding Two Fingers {direction}", seed)
    reach = np.linalg.norm(tips(joints, "index", "middle", "ring", "little") - joints["wrist"][:, None], axis=-1)
    reach = np.median(reach, axis=0)
    assert reach[:2].min() > 160 and reach[2:].max() < 110
    whole = raised(f"Swiping {direction}", seed)
    whole_reach = np.linalg.norm(tips(whole, "ring", "little") - whole["wrist"][:, None], axis=-1)
    assert np.median(whole_reach) > 130


@pytest.mark.parametrize("seed", SEEDS)
def test_rolling_forward_goes_over_the_top_to_the_camera(seed):
    for name, sign in (("Rolling Hand Forward", 1), ("Rolling Hand Backward", -1)):
        wrist = raised(name, seed)["wrist"]
        y, z = (wrist - wrist.mean(0))[:-1, 1:].T
        dy, dz = np.diff(wrist, axis=0)[:, 1:].T
        turns = (y * dz - z * dy).sum() / (2 * np.pi * (y**2 + z**2).mean())
        assert sign * turns > 0.8


@pytest.mark.parametrize("seed", SEEDS)
def test_turning_clockwise_is_so_for_the_performer(seed):
    for name, sign in (("Turning Hand Clockwise", 1), ("Turning Hand Counterclockwise", -1)):
        joints = raised(name, seed)
        across = joints["index_mcp"] - joints["little_mcp"]
        # The performer looks along +z with x to the left: clockwise turns x towards y.
        angle = np.unwrap(np.arctan2(across[:, 1], across[:, 0]))
        assert sign * between(angle) > np.radians(50)


@pytest.mark.parametrize("seed", SEEDS)
def test_zooming_in_opens_and_zooming_out_closes(seed):
    for kind, fingers in (("Full Hand", ("index", "middle", "ring", "little")), ("Two Fingers", ("index",))):
        for name, sign in ((f"Zooming In With {kind}", 1), (f"Zooming Out With {kind}", -1)):
            joints = raised(name, seed)
            gap = np.linalg.norm(tips(joints, *fingers) - joints["thumb_tip"][:, None], axis=-1).mean(1)
            assert sign * between(gap) > 50
            if kind == "Two Fingers":
                assert gap.min() < 30


@pytest.mark.parametrize("seed", SEEDS)
def test_thumbs_point_up_and_down(seed):
    for name, sign in (("Thumb Up", 1), ("Thumb Down", -1)):
        joints = raised(name, seed)
        height = np.median(joints["thumb_tip"][:, 1] - joints["wrist"][:, 1])
        others = tips(joints, "index", "middle", "ring", "little")[:, :, 1] - joints["wrist"][:, None, 1]
        assert sign * height > 60
        assert (sign * (height - np.median(others, axis=0))).min() > 0


def reversals(values: np.ndarray, least: float) -> int:
    """How often a curve turns back by at least `least`."""
    count, extreme, direction = 0, values[0], 0
    for value in values:
        if direction * (extreme - value) > least or (direction == 0 and abs(value - extreme) > least):
            count += direction != 0
            direction, extreme = (-direction or np.sign(value - extreme)), value
        elif direction * (value - extreme) > 0:
            extreme = value
    return count


@pytest.mark.parametrize("seed", SEEDS)
def test_shaking_goes_to_and_fro(seed):
    joints = raised("Shaking Hand", seed)
    assert reversals(joints["middle_tip"][:, 0], 30.0) >= 3
    for name in ("Swiping Left", "Stop Sign", "Zooming In With Full Hand"):
        assert reversals(raised(name, seed)["middle_tip"][:, 0], 30.0) <= 2


@pytest.mark.parametrize("seed", SEEDS)
def test_stop_sign_holds_an_open_palm_to_the_camera(seed):
    joints = raised("Stop Sign", seed)
    still = np.linalg.norm(np.diff(joints["wrist"], axis=0), axis=-1) * 60 < 120  # mm/s
    assert still.sum() > 0.6 * 60
    facing = joints["normal"][1:][still]
    assert np.median(facing[:, 2]) > 0.6
    reach = tips(joints, "index", "middle", "ring", "little") - joints["wrist"][:, None]
    assert np.median(np.linalg.norm(reach, axis=-1), axis=0).min() > 130


@pytest.mark.parametrize("seed", SEEDS)
def test_drumming_fingers_tap_one_after_the_other(seed):
    joints = raised("Drumming Fingers", seed)
    reach = np.linalg.norm(tips(joints, "index", "little") - joints["wrist"][:, None], axis=-1)
    assert reversals(reach[:, 0], 8.0) >= 3
    middle = slice(len(reach) // 5, -len(reach) // 5)
    assert np.corrcoef(reach[middle].T)[0, 1] < 0.8


@pytest.mark.parametrize("seed", SEEDS)
def test_no_gesture_sits_still_and_other_things_do_not(seed):
    times = np.linspace(0, DURATION_S, 60)
    wrist = pose(Build(), act("No gesture", seed, times)).joints[:, 0]
    assert wrist[:, 1].max() < -270 and np.ptp(wrist, axis=0).max() < 150
    assert pose(Build(), act("Doing other things", seed, times)).joints[:, 0, 1].max() > -150


# Order matters


def seen_at(name: str, num_clips: int) -> np.ndarray:
    """For each clip the middle of the frames in which a camera 1 m away, 58 cm high at the neck, sees the hand."""
    middles = []
    for seed in range(num_clips):
        rng = np.random.default_rng([seed, JESTER_LABELS.index(name)])
        duration_s = rng.uniform(2.2, 3.4)
        times = (np.arange(16) + 0.5) * duration_s / 16
        hand = pose(Build(), perform(JESTER_LABELS.index(name), times, duration_s, rng)).joints[:, :21]
        off_axis = np.abs(hand[..., :2] - [0.0, 40.0]) / (1000.0 - hand[..., 2:])
        seen = (off_axis < 0.29).all(-1).mean(1) > 0.3
        middles.append((seen * np.arange(16)).sum() / max(seen.sum(), 1))
    return np.array(middles)


@pytest.mark.slow
@pytest.mark.usefixtures("shapes_unchecked")
@pytest.mark.parametrize(("name", "reverse"), PAIRS)
def test_when_the_hand_is_in_view_does_not_tell_which_way_it_goes(name, reverse):
    """How often a clip of the one is seen later than a clip of the other; half would be chance, 0 or 1 a giveaway."""
    later = seen_at(name, 60)[:, None] > seen_at(reverse, 60)
    assert 0.3 < later.mean() < 0.7


def joint_clips(seed: int, num_clips: int) -> tuple[torch.Tensor, torch.Tensor]:
    """16 evenly spaced frames of all joints, relative to the neck, of people drawn from the seed."""
    rng = np.random.default_rng(seed)
    clips, labels = [], []
    for label in range(NUM_LABELS):
        for k in range(num_clips):
            if k % 5 == 0:
                build = Build(**{field.name: rng.uniform(0.9, 1.1) for field in fields(Build)})
            duration_s = rng.uniform(2.2, 3.4)
            performance = perform(label, (np.arange(16) + 0.5) * duration_s / 16, duration_s, rng)
            joints = pose(build, performance).joints
            clips.append((joints - joints[:, [JOINTS.index("neck")]]).reshape(16, -1).T)
            labels.append(label)
    return torch.tensor(np.stack(clips), dtype=torch.float32), torch.tensor(labels)


def arrange(clips: torch.Tensor, how: str, generator: torch.Generator) -> torch.Tensor:
    """The frames as they are, in random order, or one of the middle ten alone."""
    if how == "ordered":
        return clips
    if how == "shuffled":
        return torch.stack([clip[:, torch.randperm(16, generator=generator)] for clip in clips])
    frame = torch.randint(3, 13, (len(clips), 1, 1), generator=generator)
    return clips.gather(2, frame.expand(-1, clips.shape[1], 1))


def accuracy(train: tuple, test: tuple, how: str, num_epochs: int = 8) -> float:
    """Share of test clips named rightly by a small temporal network trained on frames arranged so."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    (clips, labels), (test_clips, test_labels) = train, test
    mean, deviation = clips.mean((0, 2), keepdim=True), clips.std((0, 2), keepdim=True) + 10
    clips, test_clips = (clips - mean) / deviation, (test_clips - mean) / deviation
    layers: list[nn.Module] = []
    for in_channels in (clips.shape[1], 64, 64):
        layers += [nn.Conv1d(in_channels, 64, 3, padding=1), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.1)]
    network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * (1 if how == "single" else 16), NUM_LABELS))
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=1e-2)
    num_batches = len(clips) // 64
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=num_epochs * num_batches)
    for _ in range(num_epochs):
        arranged = arrange(clips, how, generator)
        for batch in torch.randperm(len(clips), generator=generator)[: num_batches * 64].view(-1, 64):
            noise = 0.02 * torch.randn(arranged[batch].shape, generator=generator)
            loss = nn.functional.cross_entropy(network(arranged[batch] + noise), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rate.step()
    network.eval()
    with torch.no_grad():
        return (network(arrange(test_clips, how, generator)).argmax(1) == test_labels).float().mean().item()


@pytest.mark.slow
@pytest.mark.usefixtures("shapes_unchecked")
def test_gestures_are_told_apart_only_by_frames_in_order():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        train, test = joint_clips(1, 80), joint_clips(2, 20)
        scores = {how: accuracy(train, test, how) for how in ("ordered", "shuffled", "single")}
    finally:
        torch.set_num_threads(threads)
    assert scores["ordered"] >= 0.95, scores
    assert scores["shuffled"] <= 0.65, scores
    assert scores["single"] <= 0.65, scores
