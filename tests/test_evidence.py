"""Answers on held-out people: kept, checked and computed once."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from gatescope.loaders import ClipTensors, SyntheticGestures
from gatescope.models import GestureNetwork, NetworkConfig
from gatescope.paths import CHECKPOINTS
from gatescope.trainings.evaluation import evaluate
from gatescope.trainings.evidence import (
    Answers,
    held_out,
    keep_answers,
    read_answers,
    score_held_out,
    seeds_right,
    used_and_needed,
)


@pytest.fixture
def answers():
    labels, people = np.array([0, 1, 2], np.uint8), np.array([5, 5, 9], np.int16)
    predicted = {"undisturbed": np.array([0, 1, 0], np.uint8), "space, adapted": np.array([2, 1, 2], np.uint8)}
    return Answers(labels, people, predicted)


def test_answers_come_back_with_their_facts(tmp_path, answers):
    written = keep_answers(tmp_path / "a-0", answers, num_clips=3, trained={"seed": 0})
    found, card = read_answers(tmp_path / "a-0")
    assert card == written and card["trained"] == {"seed": 0}
    assert found.people.tolist() == [5, 5, 9] and list(found.predicted) == list(answers.predicted)
    assert found.right("undisturbed").tolist() == [True, True, False]
    with pytest.raises(LookupError, match="no condition 'memory'; there are undisturbed, space, adapted"):
        found.right("memory")


def test_a_damaged_file_and_a_missing_one_are_told(tmp_path, answers):
    keep_answers(tmp_path / "a-0", answers)
    (tmp_path / "a-0" / "answers.npz").write_bytes(b"something else")
    with pytest.raises(ValueError, match="is damaged"):
        read_answers(tmp_path / "a-0")
    with pytest.raises(FileNotFoundError):
        read_answers(tmp_path / "b-0")


def test_seeds_are_rows_and_must_have_answered_the_same_clips(tmp_path, answers):
    for name in ("a-0", "a-1", "a_b-0"):
        keep_answers(tmp_path / name, answers)
    right, people = seeds_right(tmp_path, "space, adapted", ["a", "b", "a_b"])
    assert {cell: found.tolist() for cell, found in right.items()} == {
        "a": [[False, True, True]] * 2,
        "a_b": [[False, True, True]],
    }
    assert people.tolist() == answers.people.tolist()
    assert seeds_right(tmp_path, "undisturbed", ["c"])[0] == {}
    keep_answers(tmp_path / "a-1", Answers(answers.labels[::-1], answers.people, answers.predicted))
    with pytest.raises(ValueError, match="the trainings of a in .* answered other clips"):
        seeds_right(tmp_path, "undisturbed", ["a"])


def test_what_is_used_and_what_is_needed_are_told_apart(tmp_path):
    """Four clips; without the part one is right at once, and three after adaptation, when the control has all."""
    labels = np.zeros(4, np.uint8)
    right = {"undisturbed": 3, "space, before": 1, "nothing, adapted": 4, "space, adapted": 3}
    for seed in range(3):
        predicted = {name: (np.arange(4) >= count).astype(np.uint8) for name, count in right.items()}
        keep_answers(tmp_path / f"a-{seed}", Answers(labels, np.arange(4, dtype=np.int16), predicted))
    used, needed = used_and_needed(tmp_path, "a", "space")
    assert (used.value, needed.value) == (-50, -25)
    assert used_and_needed(tmp_path, "b", "space") is None
    with pytest.raises(LookupError, match="no condition 'memory, before'"):
        used_and_needed(tmp_path, "a", "memory")


@pytest.mark.slow
def test_the_test_people_are_scored_once(tmp_path):
    weights = CHECKPOINTS / "a-0" / "network.safetensors"
    network = GestureNetwork.load(weights)
    found = score_held_out(weights, tmp_path / "a-0", 5, tmp_path)
    clips = SyntheticGestures("test", 5, size=64, difficulty=0.1, modalities=())
    wanted = evaluate(network, ClipTensors(clips, **network.config.input))
    assert found.labels.tolist() == wanted.labels.tolist() == [clips.label(index) for index in range(5)]
    assert found.predicted["undisturbed"].tolist() == wanted.logits.argmax(1).tolist()
    assert found.people.tolist() == [clips.performer(index) for index in range(5)]
    again = score_held_out(weights, tmp_path / "a-0", 5, tmp_path)
    assert np.array_equal(again.predicted["undisturbed"], found.predicted["undisturbed"])
    with pytest.raises(ValueError, match="another num_clips; the test people are scored once"):
        score_held_out(weights, tmp_path / "a-0", 6, tmp_path)
    with pytest.raises(ValueError, match="another weights_sha256"):
        score_held_out(CHECKPOINTS / "a-1" / "network.safetensors", tmp_path / "a-0", 5, tmp_path)


def test_without_memory_the_logits_are_the_mean_of_steps_from_an_empty_state():
    weights = CHECKPOINTS / "a-0" / "network.safetensors"
    network = GestureNetwork.load(weights)
    without = GestureNetwork.load(weights, replace(network.config, memory=False))
    x = 50 * torch.randn(2, 3, 8, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        features = network.encode(x)
        expected = torch.stack([network.score(features[:, [step]]) for step in range(4)]).mean(0)
        torch.testing.assert_close(without(x), expected, rtol=1e-4, atol=1e-6)
        assert (network(x) - expected).abs().max() > 1e-2


def test_only_rendered_people_are_held_out():
    with pytest.raises(ValueError, match="must describe rendered gestures"):
        held_out(GestureNetwork(NetworkConfig.small("a", num_classes=3)), 5)


def described(clips):
    network = GestureNetwork(NetworkConfig.small("a", num_classes=3, width=1 / 64, size=16, num_frames=4))
    network.card = {"data": {"source": "rendered gestures", "clips": clips}}
    return network


def test_clips_are_held_out_as_long_as_those_that_were_learnt():
    clips = held_out(described({"size": 16, "num_train": 6, "num_valid": 3, "num_frames": 20}), 5)
    assert len(clips) == 5 and clips.clips.num_frames == 20


ODD_CLIPS = (5, "x", [1], None, {"more": 1}, {"split": "train"}, {"size": "a"}, {"classes": "ab"}, {"classes": 5})


@pytest.mark.parametrize("odd", ODD_CLIPS, ids=str)
def test_a_card_that_describes_no_clips_is_refused_in_words(odd):
    with pytest.raises(ValueError, match="describes no clips that can be rendered|must be|needed"):
        held_out(described({"size": 16} | odd if isinstance(odd, dict) else odd), 5)


def test_a_clip_with_another_label_has_its_own_performer():
    clips = SyntheticGestures("test", 40, 16, num_frames=1, modalities=())
    people = [clips.performer(index) for index in range(40)]
    assert set(people) <= set(range(60)) and len(set(people)) > 20
