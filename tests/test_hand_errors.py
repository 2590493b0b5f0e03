"""Errors of measured hands are those of explicit loops over pixels; what is kept is what was measured."""

import dataclasses
import importlib.util
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from gatescope.formats.facts import read_card
from gatescope.loaders import MeasuredHands, SyntheticGestures, VideoClips
from gatescope.loaders.hands import has_networks
from gatescope.loaders.hands.masks import hand_mask
from gatescope.measures import hand_errors
from gatescope.measures.hand_errors import (
    HandErrors,
    errors_of,
    keep_errors,
    keep_recordings,
    measure_recordings,
    read_errors,
    typology_angle,
)

SCRIPT = Path(__file__).resolve().parent.parent / "data" / "evidence" / "hands" / "agreement.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("agreement", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def clip():
    return SyntheticGestures("test", 1, 96, num_frames=8, difficulty=0.3, modalities=("hand_mask", "flow"))[0]


def hands_of(clip, shift=(0.0, 0.0)):
    """The true joints, moved by `shift` px, where a hand is in view; in the first such frame a second, far-off hand."""
    joints = np.full((len(clip.frames), 2, 21, 2), np.nan, np.float32)
    visible = clip.hand_mask.any((1, 2))
    joints[visible, 0] = clip.joints_2d[visible, :21] + np.float32(shift)
    first = int(visible.argmax())
    joints[first, 1] = clip.joints_2d[first, :21] - clip.joints_2d[first, :21].mean(0) + (12.0, 84.0)
    found = np.isfinite(joints[..., 0, 0])
    return MeasuredHands(joints, found.astype(np.float32), np.zeros(found.shape, bool)), first


def test_every_column_is_an_explicit_loop(clip):
    hands, first = hands_of(clip, (2.0, -1.0))
    rows = errors_of(clip, hands)
    for t in range(len(clip.frames)):
        true = clip.hand_mask[t]
        union = np.zeros_like(true)
        for place in range(2):
            if np.isfinite(hands.joints[t, place]).all():
                union |= hand_mask(clip.frames[t], [hands.joints[t, place]])
        assert rows["side"][t] == pytest.approx(float(np.sqrt(sum(true.ravel().tolist()))))
        assert rows["found"][t] == any(a and b for a, b in zip(true.ravel(), union.ravel(), strict=True))
        if not true.any():
            assert np.isnan(rows["overlap"][t]) and np.isnan(rows["area"][t])
            continue
        shared = sum(bool(a and b) for a, b in zip(true.ravel(), union.ravel(), strict=True))
        either = sum(bool(a or b) for a, b in zip(true.ravel(), union.ravel(), strict=True))
        assert rows["overlap"][t] == pytest.approx(shared / either)
        if rows["found"][t]:
            assert rows["joints"][t] == pytest.approx(np.hypot(2.0, 1.0), abs=1e-3)
        if t:
            change = np.abs(clip.frames[t].astype(float) - clip.frames[t - 1]).mean(-1)
            assert rows["energy"][t] == pytest.approx(change[true].sum() / change.sum())
            assert rows["measured_energy"][t] == pytest.approx(change[union].sum() / change.sum())
            blocks = [each.astype(float).reshape(16, 6, 16, 6).mean((1, 3)).ravel() for each in (change, true, union)]
            top = blocks[0].argmax()
            assert rows["pointing"][t] == pytest.approx(blocks[1][top], abs=1e-5)
            assert rows["measured_pointing"][t] == pytest.approx(blocks[2][top], abs=1e-5)
            for name, mask in zip(("explained", "measured_explained"), blocks[1:], strict=True):
                assert rows[name][t] == pytest.approx(np.corrcoef(blocks[0], mask)[0, 1] ** 2, abs=1e-4)
        assert rows["area"][t] == pytest.approx(true.mean()) and rows["measured_area"][t] == pytest.approx(union.mean())
    assert rows["elsewhere"].tolist() == [t == first for t in range(len(clip.frames))]
    assert rows["found"].any() and np.nanmean(rows["overlap"]) > 0.4


def test_without_any_hand_nothing_is_found_and_nothing_compared(clip):
    none = MeasuredHands(
        np.full((len(clip.frames), 2, 21, 2), np.nan, np.float32),
        np.zeros((len(clip.frames), 2), np.float32),
        np.zeros((len(clip.frames), 2), bool),
    )
    rows = errors_of(clip, none)
    assert not rows["found"].any() and not rows["elsewhere"].any()
    for name in ("overlap", "joints", "measured_energy", "measured_area", "measured_pointing"):
        assert np.isnan(rows[name]).all()


def test_what_is_kept_is_read_and_a_damaged_file_is_refused(clip, tmp_path):
    hands, _ = hands_of(clip)
    facts = {"clip": 0, "person": 3, "label": clip.label, "difficulty": 0.3, "tone": 12.5}
    columns = errors_of(clip, hands) | {name: np.full(len(clip.frames), value) for name, value in facts.items()}
    rows = HandErrors(**{name: columns[name].astype(dtype) for name, dtype in hand_errors._COLUMNS.items()})
    keep_errors([rows, rows], tmp_path, size=96)
    found, card = read_errors(tmp_path)
    assert card["size"] == 96 and len(card["networks"]) == 2
    assert card["litert"] == metadata.version("ai-edge-litert")
    for name in hand_errors._COLUMNS:
        assert np.array_equal(
            getattr(found, name), np.concatenate([getattr(rows, name)] * 2), equal_nan=name not in ("mask",)
        )
    t = int(np.flatnonzero(found.found)[0])
    assert np.array_equal(found.mask_of(t, 96), hand_mask(clip.frames[t], hands.joints[t, hands.found[t]]))
    whole = (tmp_path / "rows.npz").read_bytes()
    (tmp_path / "rows.npz").write_bytes(whole[:-1])
    with pytest.raises(ValueError, match="is damaged"):
        read_errors(tmp_path)
    with pytest.raises(FileNotFoundError, match="gatescope hands measure"):
        read_errors(tmp_path / "none")


def test_the_typology_angle_orders_skin_from_light_to_dark():
    # sRGB (229, 194, 172): L* 80.8, b* 15.9
    light = typology_angle(np.array([229, 194, 172]) / 255)
    assert light == pytest.approx(np.degrees(np.arctan((80.8 - 50) / 15.9)), abs=1.5)
    brown, dark = (typology_angle(np.array(skin) / 255) for skin in ((180, 126, 88), (62, 40, 31)))
    assert light > brown > dark and dark < -30


@pytest.mark.skipif(not has_networks(), reason="the hand networks are not in data/hands: `gatescope hands fetch`")
def test_of_recordings_numbers_are_kept_and_nothing_else(tmp_path, shared):
    clips = VideoClips([shared / "realdata/intel_asl/asl_gestures/no.mkv"])
    clip = dataclasses.replace(clips[0], frames=clips[0].frames[:6], times_s=None)
    black = dataclasses.replace(clip, frames=np.zeros_like(clip.frames), name="black")
    found = dict(measure_recordings([clip, black]))
    assert set(found) == {"no", "black"}
    assert found["no"]["found"] > 0.5 and found["no"]["frames"] == 6 and found["no"]["size"] == [640, 480]
    assert found["black"]["found"] == 0 and found["black"]["step"] is None
    keep_recordings(found, "asl_gestures", tmp_path)
    assert read_card(tmp_path / "recorded.json")["clips"] == found
    assert [path.name for path in tmp_path.iterdir()] == ["recorded.json"]


def test_agreement_with_another_program_is_counted_frame_by_frame(script):
    rng = np.random.default_rng(0)
    ours, theirs = (np.full((6, places, 21, 2), np.nan, np.float32) for places in (2, 4))
    hand = rng.uniform(0, 100, (21, 2)).astype(np.float32)
    hand[0], hand[9] = (50, 90), (50, 50)  # a palm of 40 px
    ours[0, 1], theirs[0, 2] = hand, hand + (3, 4)  # 5 px
    theirs[0, 0] = hand + 200
    ours[1, 0], ours[1, 1], theirs[1, 0] = hand + 300, hand, hand + (0, 10)  # 10 px
    ours[2, 0], theirs[2, 1] = hand, hand + (120, 160)  # 200 px: another hand
    ours[3, 0], theirs[4, 3] = hand, hand
    found = script.agreement(ours, theirs)
    assert {name: found[name] for name in ("frames", "both", "atlas", "mediapipe", "neither")} == {
        "frames": 6,
        "both": 3,
        "atlas": 1,
        "mediapipe": 1,
        "neither": 1,
    }
    assert found["px"] == pytest.approx(10, rel=1e-4) and found["palms"] == pytest.approx(10 / 40, rel=1e-4)
    assert found["other"] == pytest.approx(1 / 3)
    none = script.agreement(ours[3:], theirs[3:])
    assert (none["both"], none["px"], none["palms"], none["other"]) == (0, None, None, None)


def test_an_interpreter_without_the_other_program_is_told(script):
    with pytest.raises(ValueError, match="must be able to run mediapipe"):
        script.found_by_mediapipe(np.zeros((1, 8, 8, 3), np.uint8), sys.executable)
