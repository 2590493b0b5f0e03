"""Answers on recordings: chance by explicit loops, gestures played backwards, crops that show a hand as wanted."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from clip_files import some_frames, write_video
from gatescope.loaders import MeasuredHands, SyntheticGestures
from gatescope.measures.transfer import above_chance, farther, played_backwards, read_said
from gatescope.models import GestureNetwork, NetworkConfig
from rendered_people.labels import JESTER_LABELS, MOTION_CLASSES

SCRIPT = Path(__file__).resolve().parent.parent / "data" / "evidence" / "transfer" / "measure.py"
NAMES = ["Swiping Left", "Swiping Right", "No gesture"]


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("measure", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "small" / "a-0" / "network.safetensors"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = GestureNetwork(NetworkConfig.small("a", num_classes=3, width=1 / 32, size=32))
    clips = {"num_train": 9, "num_valid": 3, "size": 32, "num_frames": 4, "difficulty": 0.5, "classes": [0, 1, 25]}
    network.save(path, data={"names": NAMES, "clips": clips}, seed=0, training={}, metrics={})
    return path


def test_agreement_is_that_of_a_clip_less_that_of_all_others():
    one, other = np.random.default_rng(0).integers(0, 3, (2, 12))
    for clip, found in enumerate(above_chance(one, other)):
        same = [one[clip] == other[each] for each in range(12) if each != clip]
        same += [one[each] == other[clip] for each in range(12) if each != clip]
        assert found == pytest.approx((one[clip] == other[clip]) - np.mean(same))


def test_answers_that_do_not_depend_on_the_clip_agree_as_by_chance():
    always, shares = np.zeros(20, int), np.arange(20) % 4
    assert above_chance(always, always).tolist() == [0] * 20
    assert above_chance(shares, shares).mean() == pytest.approx(1 - 4 / 19)  # four others of nineteen say the same
    every = [above_chance(shares, np.roll(shares, shift)).mean() for shift in range(20)]
    assert np.mean(every) == pytest.approx(0, abs=1e-12)
    with pytest.raises(ValueError, match="two clips or more, got 1"):
        above_chance(always[:1], always[:1])


def test_backwards_twice_is_the_gesture_itself():
    for names in (JESTER_LABELS, [JESTER_LABELS[label] for label in MOTION_CLASSES]):
        turned = played_backwards(names)
        assert turned[turned].tolist() == list(range(len(names)))
        told = {names[place]: names[other] for place, other in enumerate(turned)}
        assert told["Swiping Left"] == "Swiping Right" and told["Pulling Hand In"] == "Pushing Hand Away"
        assert told["Shaking Hand"] == "Shaking Hand" and told["No gesture"] == "No gesture"
    with pytest.raises(ValueError, match="Swiping Right"):
        played_backwards(["Swiping Left", "No gesture"])


def test_what_networks_say_of_a_folder_of_people_is_kept_with_who_is_in_each_clip(
    script, weights, tmp_path, monkeypatch
):
    # Nobody's hand is found: the networks that find hands are not in the repository.
    none = MeasuredHands(
        np.full((6, 2, 21, 2), np.nan, np.float32), np.zeros((6, 2), np.float32), np.zeros((6, 2), bool)
    )
    monkeypatch.setattr(script, "measure_hands", lambda frames, fps: none)
    monkeypatch.setattr(script, "CachedClips", lambda clips, cache: clips)  # it renders 27 at once
    for number, person in enumerate(["ann", "ann", "bob"]):
        (tmp_path / "clips" / person).mkdir(parents=True, exist_ok=True)
        write_video(tmp_path / "clips" / person / f"{number}.mkv", some_frames(6, seed=number))
    recordings = script.open_recordings(tmp_path / "clips")
    folder = script.keep(weights, recordings, tmp_path / "kept", num_test=6, cache=tmp_path / "cache")
    assert folder == tmp_path / "kept" / "small" / "a-0"
    said, card = read_said(folder)
    assert card["people"] == ["ann", "ann", "bob"] and card["recordings"] == ["0.mkv", "1.mkv", "2.mkv"]
    assert card["hands"] == [0.0] * 3 and said["away/cropped"].tolist() == said["away/recorded"].tolist()
    assert said["recorded/people"].tolist() == [0, 0, 1]
    network = GestureNetwork.load(weights)
    with torch.inference_mode():
        logits = network(script.as_input(network, [recordings[2][0]]))
    assert said["predicted/recorded"][2] == logits.argmax() and said["sure/recorded"][2] == pytest.approx(
        float(logits.softmax(1).max()), abs=1e-3
    )
    test = SyntheticGestures("test", 6, 32, num_frames=4, classes=(0, 1, 25), modalities=())
    assert said["rendered/labels"].tolist() == [test.label(index) for index in range(6)]
    assert said["rendered/people"].tolist() == [test.performer(index) for index in range(6)]
    assert set(said["away/rendered 0"]) != set(said["away/rendered 1"])
    nearer = [(said["away/rendered 0.5"] < away).mean() for away in said["away/recorded"]]
    assert farther(said, "recorded", "rendered 0.5").tolist() == nearer

    answers = folder / "answers.npz"
    answers.write_bytes(answers.read_bytes()[:-1] + b"?")
    with pytest.raises(ValueError, match="answers.npz is damaged"):
        read_said(folder)
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | {"people": ["eve"] * 3}))
    with pytest.raises(ValueError, match="was changed after it was written"):
        read_said(folder)
    with pytest.raises(FileNotFoundError, match="measure.py makes them"):
        read_said(tmp_path)


def test_a_script_without_its_arguments_says_what_it_takes(script):
    for arguments in ([], ["clips", "out", "weights", "54"]):
        with pytest.raises(SystemExit, match="CLIPS OUT 108"):
            next(script.main(arguments))


def test_a_crop_shows_the_hand_as_large_and_where_it_is_wanted(script):
    clip = SyntheticGestures("test", 1, 96, num_frames=12, difficulty=0.0, classes=(23,), modalities=())[0]
    joints = np.full((12, 2, 21, 2), np.nan, np.float32)
    joints[:, 1] = clip.joints_2d[:, :21]
    joints[:3] = np.nan
    found = script.framing(joints, 96)
    wanted = script.Framing(2 * found.palm, np.full(2, 0.5))
    crop = script.cropped(clip, joints, wanted)
    side = crop.frames.shape[1]
    assert crop.frames.shape == (12, side, side, 3) and side == 48
    rows, columns = np.nonzero((clip.frames[0, : 97 - side, : 97 - side] == crop.frames[0, 0, 0]).all(-1))
    corners = [
        (top, left)
        for top, left in zip(rows, columns, strict=True)
        if np.array_equal(clip.frames[:, top : top + side, left : left + side], crop.frames)
    ]
    assert len(corners) == 1
    again = script.framing(joints - np.float32(corners[0][::-1]), side)
    assert again.palm == pytest.approx(wanted.palm, rel=0.02)
    assert again.place == pytest.approx(wanted.place, abs=0.03)


def test_a_crop_stays_in_the_frame_and_without_a_hand_nothing_is_cropped(script):
    clip = SyntheticGestures("test", 1, 64, num_frames=4, modalities=())[0]
    none = np.full((4, 2, 21, 2), np.nan, np.float32)
    assert script.cropped(clip, none, script.Framing(0.2, np.full(2, 0.5))) is clip
    corner = none.copy()
    corner[:, 0] = np.linspace(0, 8, 42, dtype=np.float32).reshape(21, 2)
    for palm, side in ((0.001, 64), (0.5, None)):
        shape = script.cropped(clip, corner, script.Framing(palm, np.full(2, 0.9))).frames.shape
        assert shape[1] == shape[2] and shape[1] <= 64 and side in (None, shape[1])


def test_the_higher_of_two_hands_counts_while_it_is_up(script):
    joints = np.full((6, 2, 21, 2), np.nan, np.float32)
    heights = np.array([90, 80, 20, 22, 24, 90])
    joints[:, 0] = np.stack([np.full(6, 30), heights], 1)[:, None] + np.zeros((21, 1))
    joints[:, 1] = (60, 95)
    joints[:, :, 9, 0] += 5
    found = script.framing(joints, 100)
    assert found.palm == pytest.approx(0.05) and found.place == pytest.approx([0.3 + 5 / 2100, 0.22])
