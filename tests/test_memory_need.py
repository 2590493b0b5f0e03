"""The experiment on gesture pairs, at the smallest size: what it keeps, and that nothing but the named part differs."""

from functools import partial

import pytest
import torch

DESCRIPTION = {
    "clips": {"set": "pairs", "num_train": 12, "num_valid": 12, "size": 16, "num_frames": 8, "gestures": [0, 2, 4]},
    "network": {"size": 16, "width": 1 / 32, "num_frames": 8, "reach": 5},
    "training": {"epochs": 1, "batch_size": 4},
}


@pytest.fixture(scope="module")
def need():
    from gatescope.trainings import memory_need

    return memory_need


@pytest.fixture(scope="module")
def training(need, tmp_path_factory):
    from gatescope.trainings.descriptions import described_run

    cache = tmp_path_factory.mktemp("cache")
    return described_run(need.setting(DESCRIPTION, reach=1, num_frames=4), cell="convlstm", seed=0, cache=cache)


def test_a_setting_changes_the_network_alone(need):
    changed = need.setting(DESCRIPTION, reach=41, num_frames=4, memory=False)
    assert changed["network"] == {**DESCRIPTION["network"], "reach": 41, "num_frames": 4, "memory": False}
    assert {name: changed[name] for name in ("clips", "training")} == {
        name: DESCRIPTION[name] for name in ("clips", "training")
    }
    assert DESCRIPTION["network"]["reach"] == 5


def test_a_run_is_named_by_all_that_tells_it_from_another(need):
    assert need.run_name("a", 2, reach=5, num_frames=32) == "reach5-frames32/a-2"
    assert need.run_name("a", 2, reach=5, num_frames=32, memory=False) == "reach5-frames32-without/a-2"


@pytest.mark.slow
def test_held_out_clips_are_of_the_test_people(need, tmp_path):
    clips = need.held_out_pairs(DESCRIPTION, 6, tmp_path)
    assert (clips.clips.split, len(clips), clips.clips.num_frames, clips.clips.modalities) == ("test", 6, 8, ())
    assert clips[0].frames.shape == (8, 16, 16, 3)


@pytest.mark.slow
def test_features_are_those_of_the_network_and_take_gradients(need, training):
    from gatescope.loaders import ClipTensors
    from gatescope.models import GestureNetwork

    torch.manual_seed(0)
    network = GestureNetwork(training.start).eval()
    clips = ClipTensors(training.valid_clips.clips, **network.config.input)
    features, label = need.encoded(network, clips)[3]
    x, given = clips[3]
    with torch.no_grad():
        torch.testing.assert_close(features, network.encode(x[None])[0].transpose(0, 1), rtol=1e-4, atol=1e-4)
    assert label == given and not features.is_inference()


@pytest.mark.slow
def test_the_command_keeps_answers_once(need, tmp_path, monkeypatch):
    from gatescope.trainings.evidence import read_answers, used_and_needed

    tables = {
        name: "\n".join(f"{key} = {value!r}" for key, value in each.items()) for name, each in DESCRIPTION.items()
    }
    (tmp_path / "pairs.toml").write_text("\n".join(f"[{name}]\n{text}" for name, text in tables.items()))
    for name, value in {"TRAININGS": tmp_path, "RUNS": tmp_path / "runs"}.items():
        monkeypatch.setattr(need, name, value)
    monkeypatch.setattr(need, "described_run", partial(need.described_run, cache=tmp_path / "cache"))
    monkeypatch.setattr(need, "held_out_pairs", partial(need.held_out_pairs, num_clips=12, cache=tmp_path / "cache"))
    arguments = ["--cell", "a", "--seed", "1", "--reach", "5", "--frames", "8", "--out", str(tmp_path / "kept")]
    need.main(arguments)
    answers, card = read_answers(tmp_path / "kept" / "reach5-frames8" / "a-1")
    # (a) has no gate that is a map: nothing to remove.
    parts = ["memory", "H from gates"]
    assert set(answers.predicted) == {"undisturbed", "nothing, adapted"} | {
        f"{part}, {when}" for part in parts for when in ("before", "adapted")
    }
    assert (card["parts"], card["seed"], card["reach"], card["memory"]) == (parts, 1, 5, True)
    assert sorted(answers.labels.tolist()) == sorted([*range(6)] * 2) and len(answers.people) == 12
    used, needed = used_and_needed(tmp_path / "kept" / "reach5-frames8", "a", "memory")
    assert -100 <= used.value <= 100 and -100 <= needed.value <= 100
    need.main([*arguments, "--without"])
    never, card = read_answers(tmp_path / "kept" / "reach5-frames8-without" / "a-1")
    assert list(never.predicted) == ["undisturbed"] and card["memory"] is False and card["parts"] == []
    monkeypatch.setattr(need, "described_run", None)
    need.main(arguments)  # already kept: nothing is trained
