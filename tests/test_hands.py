"""Hands are found where they are; files that are not the two networks are never opened."""

import dataclasses
import hashlib
import math
import subprocess
import sys
import zipfile

import cv2
import numpy as np
import pytest

from gatescope.__main__ import main
from gatescope.loaders import Clip, MeasuredHands, SyntheticGestures, as_seen, read_clip, with_hands
from gatescope.loaders.hands import HandNetworksError, fetch_networks, has_networks, networks
from gatescope.loaders.hands.masks import hand_mask
from gatescope.loaders.hands.measuring import _fill, measure_hands
from gatescope.loaders.hands.palms import _decode, _one_each, anchors
from gatescope.loaders.hands.regions import FINGERS, Region, region_of_joints, region_of_palm
from gatescope.loaders.hands.tracking import MAX_HANDS, HandTracker
from gatescope.paths import HANDS

needs_networks = pytest.mark.skipif(
    not has_networks(), reason="the hand networks are not in data/hands: `gatescope hands fetch`"
)


def spread_hand(centre=(100.0, 120.0), palm=40.0, angle=0.0):
    """Joints of an open hand that points up, turned clockwise by `angle`."""
    joints = np.zeros((21, 2))
    for number, finger in enumerate(FINGERS):
        spread = math.radians((-55, -22, 0, 20, 40)[number])
        reach = palm * (0.45, 1.0, 1.0, 0.95, 0.85)[number]
        for place, joint in enumerate(finger):
            length = reach + palm * 0.28 * place
            joints[joint] = length * math.sin(spread), -length * math.cos(spread)
    cos, sin = math.cos(angle), math.sin(angle)
    return (joints @ np.array([[cos, sin], [-sin, cos]]) + centre).astype(np.float32)


def drawn_hand(joints, size=(240, 200), palm=40.0):
    """A skin-coloured hand over a noisy blue room, and its true mask."""
    rng = np.random.default_rng(0)
    frame = np.clip(rng.normal((70, 90, 130), 12, (*size, 3)), 0, 255).astype(np.uint8)
    true = np.zeros(size, np.uint8)
    cv2.fillConvexPoly(true, cv2.convexHull(joints[[0, 1, 5, 9, 13, 17]].astype(np.int32)), 255)
    for finger in FINGERS:
        cv2.polylines(true, [joints[[0, *finger] if finger[0] == 1 else list(finger)].astype(np.int32)], False, 255, 13)
    skin = np.clip(rng.normal((205, 150, 120), 8, (*size, 3)), 0, 255).astype(np.uint8)
    frame[true > 0] = skin[true > 0]
    return frame, true > 0


# --- geometry


def test_anchors_are_those_of_an_explicit_loop():
    expected = []
    for stride, boxes in ((8, 2), (16, 6)):
        for row in range(192 // stride):
            for column in range(192 // stride):
                expected += [(stride * (column + 0.5), stride * (row + 0.5))] * boxes
    assert np.array_equal(anchors(), expected) and len(expected) == 2016


def test_decoding_is_an_explicit_loop():
    rng = np.random.default_rng(0)
    offsets, places = rng.normal(0, 20, (3, 18)), rng.uniform(0, 192, (3, 2))
    for box, place, decoded in zip(offsets, places, _decode(offsets, places), strict=True):
        for axis in range(2):
            middle = box[axis] + place[axis]
            assert decoded[0, axis] == pytest.approx(middle - box[2 + axis] / 2)
            assert decoded[1, axis] == pytest.approx(middle + box[2 + axis] / 2)
            for point in range(7):
                assert decoded[2 + point, axis] == pytest.approx(box[4 + 2 * point + axis] + place[axis])


def test_boxes_of_one_palm_are_averaged_by_score_and_those_apart_are_not():
    def box(x, y):
        return np.concatenate([[[x, y], [x + 20, y + 20]], np.full((7, 2), (x + 10, y + 10))]).astype(float)

    palms = _one_each(np.stack([box(0, 0), box(100, 50), box(4, 0)]), np.array([0.9, 0.95, 0.6]))
    assert len(palms) == 2 and np.allclose(palms[0], box(100, 50))
    assert np.allclose(palms[1], box(4 * 0.6 / 1.5, 0))


@pytest.mark.parametrize("angle", [0.0, 0.7, -2.5, math.pi])
def test_a_hand_is_upright_and_whole_in_its_region_however_it_is_turned(angle):
    joints = spread_hand(angle=angle)
    for region in (
        region_of_joints(joints),
        region_of_palm(
            np.concatenate([joints[[0, 1, 5, 9, 13, 17]].min(0), joints[[0, 5, 9, 13, 17]].max(0)]),
            joints[0],
            joints[9],
        ),
    ):
        assert math.cos(region.angle - angle) > 0.99
        size = 224
        frame_points = region.to_frame(np.array([[0.0, 0], [size, 0], [0, size], [size / 2, size / 2]]), size) - 0.5
        across, down = frame_points[1] - frame_points[0], frame_points[2] - frame_points[0]
        offsets = joints - frame_points[0]
        for axis in (across, down):
            share = offsets @ axis / (axis @ axis)
            assert share.min() > 0 and share.max() < 1


def test_a_crop_shows_a_point_of_the_frame_where_to_frame_says():
    frame = np.zeros((90, 120, 3), np.uint8)
    frame[30:33, 70:73] = 255  # around (71.5, 31.5)
    region = Region(np.array([64.0, 40.0]), 50.0, 0.6)
    crop = region.crop(frame, 100)[..., 0].astype(float)
    rows, columns = np.mgrid[0:100, 0:100]
    middle = np.array([[(columns * crop).sum(), (rows * crop).sum()]]) / crop.sum()
    assert np.allclose(region.to_frame(middle, 100), (71.5, 31.5), atol=0.3)


# --- masks and gaps


@pytest.mark.parametrize("angle", [0.0, 2.0])
def test_the_mask_is_the_hand_that_was_drawn(angle):
    joints = spread_hand(angle=angle)
    frame, true = drawn_hand(joints)
    mask = hand_mask(frame, [joints])
    assert (mask & true).sum() / (mask | true).sum() > 0.85
    assert np.array_equal(mask, hand_mask(frame, [joints]))  # whatever random numbers OpenCV has drawn meanwhile


@pytest.mark.parametrize("centre", [(-300.0, 50.0), (2.0, 3.0), (199.0, 239.0), (100.0, 1e6)])
def test_a_hand_at_the_edge_or_beside_the_frame_is_no_error(centre):
    frame = np.zeros((240, 200, 3), np.uint8)
    mask = hand_mask(frame, [spread_hand(centre)])
    assert mask.shape == (240, 200)
    assert not hand_mask(frame, []).any()


def test_short_gaps_are_filled_on_a_straight_line_and_long_or_far_ones_are_not():
    joints = np.full((12, 2, 21, 2), np.nan, np.float32)
    for t, x in ((0, 10), (3, 40), (8, 50), (9, 60)):
        joints[t, 0] = spread_hand((x, 50.0))
    for t, x in ((2, 10), (4, 900)):
        joints[t, 1] = spread_hand((x, 50.0))
    filled = _fill(joints, 2)
    assert np.flatnonzero(filled[:, 0]).tolist() == [1, 2] and not filled[:, 1].any()
    assert np.allclose(joints[1, 0], spread_hand((20, 50.0)), atol=1e-3)
    assert np.allclose(joints[2, 0], spread_hand((30, 50.0)), atol=1e-3)
    assert np.isnan(joints[4:8, 0]).all() and np.isnan(joints[3, 1]).all()


# --- what a clip says of its hand


def measured_clip(num_frames=4, size=(60, 80)):
    joints = np.full((num_frames, MAX_HANDS, 21, 2), np.nan, np.float32)
    joints[:, 0] = spread_hand((40.0, 40.0), 10.0)
    hands = MeasuredHands(joints, np.full((num_frames, 2), 0.5, np.float32), np.zeros((num_frames, 2), bool))
    frames = np.zeros((num_frames, *size, 3), np.uint8)
    return Clip(frames=frames, fps=10.0, source="test", hand_mask=np.zeros((num_frames, *size), bool), hands=hands)


def test_a_clip_says_where_its_mask_comes_from_and_keeps_it_as_a_network_sees_it():
    clip = measured_clip()
    assert clip.hand_source == "measured"
    seen = as_seen(clip, 2, 30)  # the middle 60 x 60 px, by half; frames 0 and 2
    assert seen.hand_source == "measured" and seen.hands.joints.shape == (2, 2, 21, 2)
    assert np.allclose(seen.hands.joints[0, 0, 0], ((40 - 10) / 2, 40 / 2))
    bare = dataclasses.replace(clip, hand_mask=None, hands=None)
    assert bare.hand_source == "none"
    assert dataclasses.replace(clip, hands=None).hand_source == "true"
    with pytest.raises(ValueError, match="one entry for each of 4 frames"):
        dataclasses.replace(clip, hands=measured_clip(3).hands)
    with pytest.raises(ValueError, match="got no mask"):
        dataclasses.replace(clip, hand_mask=None)


def test_a_clip_with_a_true_mask_keeps_it():
    clip = SyntheticGestures("test", 1, 32, num_frames=2)[0]
    assert with_hands(clip) is clip and clip.hand_source == "true"


# --- the files


def test_without_the_networks_one_sentence_says_how_to_get_them(tmp_path):
    clip = Clip(frames=np.zeros((1, 32, 32, 3), np.uint8), fps=10.0, source="test")
    assert not has_networks(tmp_path)
    with pytest.raises(HandNetworksError, match="gatescope hands fetch"):
        with_hands(clip, tmp_path, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_another_file_by_the_name_of_a_network_is_refused_before_it_is_parsed(tmp_path, monkeypatch):
    for file in networks.FILES:
        (tmp_path / file.name).write_bytes(b"\x1c\0\0\0TFL3" + b"\0" * (file.num_bytes - 8))
    monkeypatch.setattr("ai_edge_litert.interpreter.Interpreter", None)  # a call would fail otherwise
    with pytest.raises(HandNetworksError, match="SHA-256 differs"):
        HandTracker(tmp_path)


def test_without_litert_one_sentence_says_so_and_there_are_no_networks(tmp_path, monkeypatch):
    content = b"a network"
    file = networks.NetworkFile("a/b.tflite", len(content), hashlib.sha256(content).hexdigest())
    (tmp_path / file.name).write_bytes(content)
    monkeypatch.setattr(networks, "FILES", (file,))
    assert has_networks(tmp_path)
    for name in ("ai_edge_litert", "ai_edge_litert.interpreter"):
        monkeypatch.setitem(sys.modules, name, None)  # as if it were not installed
    assert not has_networks(tmp_path)
    with pytest.raises(HandNetworksError, match="pip install ai-edge-litert"):
        networks.open_network(file, tmp_path)

    def missing(name):
        raise networks.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(networks.metadata, "version", missing)
    clip = Clip(frames=np.zeros((1, 32, 32, 3), np.uint8), fps=10.0, source="test")
    with pytest.raises(HandNetworksError, match="pip install ai-edge-litert"):
        with_hands(clip, tmp_path, tmp_path / "cache")


def wheel(path, contents):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("kind", ["not a wheel", "without them", "others", "huge", "nowhere"])
def test_a_wrong_source_leaves_the_folder_as_it_was(kind, tmp_path):
    folder = tmp_path / "hands"
    path = tmp_path / "a.whl"
    others = {file.member: b"other" for file in networks.FILES} | {networks.LICENCE: b"licence"}
    if kind == "not a wheel":
        path.write_bytes(b"PK\x03\x04 no archive")
    elif kind == "without them":
        wheel(path, {"mediapipe/empty": b""})
    elif kind == "others":
        wheel(path, others)
    elif kind == "huge":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(networks.FILES[0].member, bytes(20_000_000))
    with pytest.raises(HandNetworksError):
        fetch_networks(path, folder)
    assert not folder.exists()


def test_the_right_files_are_taken_from_a_wheel_or_a_folder_with_their_licence(tmp_path, monkeypatch):
    contents = {"a/palm.tflite": b"palms", "b/c/landmarks.tflite": b"landmarks"}
    files = tuple(
        networks.NetworkFile(name, len(content), hashlib.sha256(content).hexdigest())
        for name, content in contents.items()
    )
    monkeypatch.setattr(networks, "FILES", files)
    source = wheel(tmp_path / "a.whl", contents | {networks.LICENCE: b"the licence"})
    from_wheel = fetch_networks(source, tmp_path / "one")
    with zipfile.ZipFile(source) as archive:
        archive.extractall(tmp_path / "unpacked")
    from_folder = fetch_networks(tmp_path / "unpacked", tmp_path / "two")
    for paths in (from_wheel, from_folder):
        assert [path.read_bytes() for path in paths] == list(contents.values())
        assert (paths[0].parent / "LICENSE").read_bytes() == b"the licence"
        assert "Apache 2.0" in (paths[0].parent / "NOTICE").read_text(encoding="utf-8")
    with pytest.raises(HandNetworksError, match="palm.tflite is missing"):  # a whole disk is not searched
        fetch_networks(tmp_path, tmp_path / "three")


def test_the_command_tells_a_wrong_source_and_names_it(tmp_path, capsys):
    assert main(["hands", "fetch", str(tmp_path / "none.whl")]) == 1
    assert "none.whl is neither a wheel nor a folder" in capsys.readouterr().err


def test_recordings_that_are_not_there_are_told(tmp_path, capsys):
    assert main(["hands", "measure", "--clips", str(tmp_path / "none")]) == 1
    assert "does not exist" in capsys.readouterr().err


def test_the_library_opens_neither_opencv_nor_litert_for_clips_without_hands():
    code = "import sys, gatescope.loaders; raise SystemExit(bool({'cv2', 'ai_edge_litert'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- with the networks


@pytest.fixture(scope="module")
def open_hand(request):
    """A real clip of a signer, every other frame of one second, with its measured hands."""
    clip = read_clip(request.getfixturevalue("shared") / "realdata/intel_asl/asl_gestures/no.mkv")
    return dataclasses.replace(clip, frames=clip.frames[20:40:2], fps=clip.fps / 2)


@needs_networks
def test_of_frames_that_are_left_out_joints_are_filled_between_those_looked_at():
    frame, _ = drawn_hand(spread_hand())
    for num_frames in (1, 2, 8, 9):
        steps = []
        hands = measure_hands(np.stack([frame] * num_frames), 30.0, report=steps.append, every=2)
        looked = sorted({*range(0, num_frames, 2), num_frames - 1})
        assert steps[-1] == 2 * len(looked) - 1
        assert not hands.filled[looked].any()
        assert (hands.found.any(1) == hands.found[0].any()).all()


@needs_networks
def test_a_real_hand_is_found_followed_and_kept(open_hand, tmp_path, monkeypatch):
    found = with_hands(open_hand, cache=tmp_path)
    assert found.hands.found.any(1).all() and found.hand_source == "measured"
    assert found.hands.confidence.max() > 0.9
    assert found.joints_2d.shape == (10, 42, 2)
    share = found.hand_mask.mean((1, 2))
    assert share.min() > 0.002 and share.max() < 0.1
    # Joints of the surest hand lie on the mask.
    t, place = np.unravel_index(found.hands.confidence.argmax(), found.hands.confidence.shape)
    x, y = found.hands.joints[t, place].astype(int).T
    assert found.hand_mask[t, y, x].mean() > 0.8

    monkeypatch.setattr("gatescope.loaders.hands.measuring.measure_hands", None)  # a call would fail
    again = with_hands(open_hand, cache=tmp_path)
    assert np.array_equal(again.hand_mask, found.hand_mask)
    assert np.array_equal(again.hands.joints, found.hands.joints, equal_nan=True)


@needs_networks
def test_a_clip_with_joints_of_its_own_keeps_them(open_hand, tmp_path):
    joints = np.zeros((1, 25, 3), np.float32)
    clip = dataclasses.replace(open_hand, frames=open_hand.frames[:1], joints_3d=joints)
    found = with_hands(clip, cache=tmp_path)
    assert found.joints_3d is joints and found.joints_2d is None and found.hand_source == "measured"


@needs_networks
def test_a_damaged_entry_of_the_cache_is_measured_again(open_hand, tmp_path):
    clip = dataclasses.replace(open_hand, frames=open_hand.frames[:1])
    found = with_hands(clip, cache=tmp_path)
    (entry,) = tmp_path.iterdir()
    whole = entry.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], whole[:200] + bytes([whole[200] ^ 1]) + whole[201:]):
        entry.write_bytes(damaged)
        assert np.array_equal(with_hands(clip, cache=tmp_path).hand_mask, found.hand_mask)
        assert len(entry.read_bytes()) == len(whole)


@needs_networks
@pytest.mark.parametrize("kind", ["black", "noise", "one pixel", "one row"])
def test_frames_without_hands_have_none(kind, tmp_path):
    rng = np.random.default_rng(0)
    frames = {
        "black": np.zeros((3, 120, 160, 3), np.uint8),
        "noise": rng.integers(0, 256, (3, 120, 160, 3), np.uint8),
        "one pixel": np.full((2, 1, 1, 3), 128, np.uint8),
        "one row": rng.integers(0, 256, (2, 1, 300, 3), np.uint8),
    }[kind]
    clip = with_hands(Clip(frames=frames, fps=10.0, source="test"), cache=tmp_path)
    assert not clip.hand_mask.any() and not clip.hands.found.any() and clip.hand_source == "measured"
    assert str(clip.hands).startswith(f"a hand in 0 of {len(frames)} frames")


@needs_networks
def test_one_frame_4k_portrait_and_three_hands(open_hand, tmp_path):
    frame = open_hand.frames[5]
    reference = measure_hands(frame[None], 10.0)
    large = cv2.resize(frame, None, fx=6, fy=6, interpolation=cv2.INTER_CUBIC)
    found = measure_hands(large[None], 10.0)
    both = reference.found[0] & found.found[0]
    assert both.any()
    assert np.abs(found.joints[0, both] / 6 - reference.joints[0, both]).max() < 12
    portrait = np.ascontiguousarray(frame[:, 120:440])
    assert measure_hands(portrait[None], 10.0).found.any()
    three = np.concatenate([frame[:, 80:360]] * 3, axis=1)
    assert measure_hands(three[None], 10.0).found.sum() == MAX_HANDS


@needs_networks
def test_whoever_waits_is_told_and_may_cancel(open_hand):
    steps = []

    def report(step):
        steps.append(step)
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_hands(open_hand.frames, open_hand.fps, HANDS, report)
    assert steps == [1, 2, 3]


def test_steadiness_counts_gaps_and_leaps():
    joints = np.full((8, MAX_HANDS, 21, 2), np.nan, np.float32)
    for t, x in ((1, 100.0), (2, 110.0), (5, 100.0), (6, 190.0)):
        joints[t, 0] = spread_hand((x, 120.0), 40.0)
    joints[6, 1] = spread_hand((300.0, 50.0), 40.0)
    hands = MeasuredHands(joints, np.zeros((8, 2), np.float32), np.zeros((8, 2), bool))
    found = hands.steadiness
    assert found["found"] == 4 / 8 and found["two"] == 1 / 8
    assert found["broken"] == pytest.approx(2 / 6)  # of the frames 1 to 6
    assert found["step"] == pytest.approx((10 / 40 + 90 / 40) / 2, rel=1e-3) and found["jumps"] == 0.5
    none = MeasuredHands(
        np.full((3, 2, 21, 2), np.nan, np.float32), np.zeros((3, 2), np.float32), np.zeros((3, 2), bool)
    )
    assert none.steadiness["found"] == 0 and np.isnan(none.steadiness["step"])
