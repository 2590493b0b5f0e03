import statistics

import numpy as np
import pytest
import torch

from gatescope.loaders import Clip, MeasuredHands
from gatescope.loaders.clip import as_seen, over_steps
from gatescope.loaders.hands import has_networks
from gatescope.measures.estimates import EXACT
from gatescope.measures.sample import Sample, open_sample, rendered
from gatescope.models import GestureNetwork, NetworkConfig
from gatescope.models.checkpoints import by_cell, checkpoint, open_networks, untrained
from gatescope.recordings.scoring import encode_all, score_all

needs_networks = pytest.mark.skipif(
    not has_networks(), reason="the hand networks are not in data/hands: `gatescope hands fetch`"
)
FACTS = {"size": 32, "difficulty": 0.0, "classes": [0, 1, 12]}
NAMES = ["Swiping Left", "Swiping Right", "Rolling Hand Forward"]


def config(cell="a", **settings):
    return NetworkConfig.small(cell, num_classes=3, **{"width": 1 / 32, "size": 32, **settings})


def fresh(config, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return GestureNetwork(config).eval()


@pytest.fixture
def saved(tmp_path):
    """Where a network of that cell and seed was saved, with a card as trainings leave it."""

    def save(cell="a", seed=0, **settings):
        path = tmp_path / f"{cell}-{seed}.safetensors"
        clips = {"num_train": 9, "num_valid": 9, **FACTS}
        fresh(config(cell, **settings), seed).save(path, data={"names": NAMES, "clips": clips})
        return str(path)

    return save


def test_networks_are_opened_by_file_and_grouped_by_the_cell_under_study(saved):
    networks = open_networks([saved("a", 0), saved("a", 1), saved("convlstm", 0)])
    groups = by_cell(networks)
    assert {cell: len(group) for cell, group in groups.items()} == {"a": 2, "convlstm": 1}


def test_a_missing_checkpoint_is_named_with_what_there_is():
    with pytest.raises(FileNotFoundError, match="nowhere-0 is neither"):
        checkpoint("nowhere-0")


@pytest.mark.slow
def test_a_pattern_stands_for_every_seed_that_is_kept(tmp_path, monkeypatch):
    from gatescope.models import checkpoints

    monkeypatch.setattr(checkpoints, "CHECKPOINTS", tmp_path / "checkpoints")
    for name in ("a-0", "a-1", "a-shuffled-0", "b-0"):
        fresh(config(name[0])).save(tmp_path / "checkpoints" / name / "network.safetensors")
    assert list(open_networks(["b-?", "a-?"])) == ["b-0", "a-0", "a-1"]
    assert list(open_networks(["a-1"])) == ["a-1"]
    with pytest.raises(FileNotFoundError, match="a-0, a-1, a-shuffled-0, b-0"):
        open_networks(["c-?"])


def test_networks_of_different_input_do_not_stand_side_by_side(saved):
    with pytest.raises(ValueError, match="their input are"):
        open_networks([saved("a", 0), saved("a", 1, size=48)])


def test_no_checkpoint_is_an_error():
    with pytest.raises(ValueError, match="at least one"):
        open_networks([])


def test_an_untrained_twin_is_the_same_for_a_seed_and_another_for_the_next():
    x = 50 * torch.randn(2, 3, 4, 32, 32, generator=torch.Generator().manual_seed(0))
    weights = [untrained(config(), seed, x).head.weight for seed in (0, 0, 1)]
    assert torch.equal(weights[0], weights[1])
    assert torch.equal(weights[0], fresh(config()).head.weight)
    assert not torch.equal(weights[0], weights[2])


def test_the_norms_of_an_untrained_twin_know_the_clips():
    """In loops: the statistics of the first norm, over equal parts of the clips."""
    x = 50 * torch.randn(18, 3, 4, 32, 32, generator=torch.Generator().manual_seed(0)) + 10
    twin = untrained(config(), 0, x)
    with torch.no_grad():
        maps = twin.res3d.stem(x).double()
    means, variances = [], []
    for part in (maps[:9], maps[9:]):
        channels = [part[:, channel].flatten().tolist() for channel in range(maps.shape[1])]
        means.append([sum(values) / len(values) for values in channels])
        variances.append([statistics.variance(values) for values in channels])
    norm = twin.res3d.stem_norm
    np.testing.assert_allclose(norm.running_mean, np.mean(means, 0), rtol=1e-4)
    np.testing.assert_allclose(norm.running_var, np.mean(variances, 0), rtol=1e-4)
    assert not any(module.training for module in twin.modules())


@pytest.mark.parametrize("cell", ["convlstm", "a", "b", "c", "d"])
def test_an_untrained_twin_tells_clips_apart_as_dead_norms_do_not(cell):
    x = 50 * torch.randn(18, 3, 4, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        alive, dead = (network(x).std(0).mean() for network in (untrained(config(cell), 0, x), fresh(config(cell))))
    assert alive > 0.03
    assert dead < 1e-5


@pytest.mark.slow
def test_rendered_clips_come_with_labels_hands_and_exact_flow(saved, tmp_path):
    network = GestureNetwork.load(saved())
    sample = open_sample(network, num_clips=6, cache=tmp_path / "cache")
    assert sample.x.shape == (6, 3, 16, 32, 32)
    assert sorted(sample.labels) == [0, 0, 1, 1, 2, 2]
    assert sample.people.tolist() == [rendered(network, 6).performer(index) for index in range(6)]
    assert [NAMES[label] for label in sample.labels] == list(sample.names)
    assert sample.hand.shape == (6, 16, 32, 32)
    assert sample.hand.any((2, 3)).mean() > 0.5
    # The hand is what moves.
    assert sample.speed[sample.hand].mean() > 2 * sample.speed[~sample.hand].mean()
    assert sample.change[sample.hand].mean() > 2 * sample.change[~sample.hand].mean()
    assert "synthetic" in sample.title


def test_speed_is_that_of_a_frame_to_the_next_and_the_last_repeats_it():
    flow = np.zeros((3, 4, 4, 2), np.float32)
    flow[..., 0], flow[..., 1] = np.array([3, 6, 9])[:, None, None], np.array([4, 8, 12])[:, None, None]
    clip = a_clip(np.zeros((4, 4, 4, 3), np.uint8), flow=flow)
    sample = Sample(source="here", synthetic=True, x=torch.zeros(1, 3, 4, 4, 4), clips=(clip,), labels=None)
    assert sample.speed[0, :, 2, 1].tolist() == [5, 10, 15, 15]


@pytest.mark.slow
def test_recorded_clips_have_frames_alone(saved, shared, tmp_path):
    network = GestureNetwork.load(saved())
    for where in ("jester_layout", "jester_layout/20bn-jester-v1/1", "asl_gestures/no.mkv"):
        sample = open_sample(network, str(shared / "realdata/intel_asl" / where), 2, cache=tmp_path, hands=tmp_path)
        assert sample.x.shape[1:] == (3, 16, 32, 32)
        assert sample.labels is None and sample.hand is None and sample.people is None
        assert sample.speed.shape == sample.change.shape == sample.frames.shape[:4]
        with pytest.raises(ValueError, match="has no mask of the hand"):
            sample.hand_on((8, 4, 4))


@needs_networks
@pytest.mark.slow
def test_the_hand_of_a_recorded_clip_is_measured_and_said_to_be(saved, shared, tmp_path):
    network = GestureNetwork.load(saved())
    sample = open_sample(network, str(shared / "realdata/intel_asl/jester_layout"), 1, cache=tmp_path)
    assert sample.measured and sample.the_hand == "the measured hand"
    assert sample.hand.shape == (1, 16, 32, 32) and sample.hand.any((2, 3)).mean() > 0.5
    assert "Measured hand" in sample.hand_note and "1 of 1 clips" in sample.hand_note
    for measure in ("enrichment", "pointing", "explained"):
        assert sample.factor(measure).error > 0
    assert sample.factor("distance") is EXACT


def sample_of(*clips):
    x = torch.zeros(len(clips), 3, *clips[0].frames.shape[:3])
    return Sample(source="here", synthetic=False, x=x, clips=clips, labels=None)


def test_without_a_hand_a_reader_is_told_why_and_an_exact_one_needs_no_words():
    frames, nothing = np.zeros((4, 8, 8, 3), np.uint8), np.zeros((4, 8, 8), bool)
    hands = MeasuredHands(
        np.full((4, 2, 21, 2), np.nan, np.float32), np.zeros((4, 2), np.float32), np.zeros((4, 2), bool)
    )
    unknown = sample_of(a_clip(frames))
    empty = sample_of(a_clip(frames, hand_mask=nothing, hands=hands))
    for sample in (unknown, empty):
        assert sample.hand is None and not sample.measured and sample.factor("enrichment") is EXACT
        assert "here" in sample.hand_note and "Left out" in sample.hand_note
    known = sample_of(a_clip(frames, hand_mask=~nothing))
    assert known.hand_note == "" and known.the_hand == "the hand" and known.factor("enrichment") is EXACT


@pytest.mark.slow
def test_what_is_said_of_recorded_clips_holds_no_path_of_the_machine(saved, shared, tmp_path):
    network = GestureNetwork.load(saved())
    root = shared / "realdata/intel_asl"
    said = {
        ("jester_layout", 2): "2 clips of jester_layout",
        ("jester_layout", 1): "jester_layout/20bn-jester-v1/1",
        ("jester_layout/20bn-jester-v1/1", 2): "1",
        ("asl_gestures/no.mkv", 2): "no.mkv",
    }
    for (where, num_clips), words in said.items():
        assert open_sample(network, str(root / where), num_clips, cache=tmp_path, hands=tmp_path).source == words


@pytest.mark.slow
def test_clips_below_the_repository_are_named_from_there_on(saved, shared, tmp_path, monkeypatch):
    from gatescope import paths
    from gatescope.loaders import datasets
    from gatescope.measures import sample

    for module in (paths, datasets, sample):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "no.mkv").write_bytes((shared / "realdata/intel_asl/asl_gestures/no.mkv").read_bytes())
    network = GestureNetwork.load(saved())
    for where in ("data/no.mkv", "data/../data/no.mkv", str(tmp_path / "data/no.mkv"), "data"):
        assert open_sample(network, where, 1, tmp_path / "cache", hands=tmp_path).source == "data/no.mkv"


def a_clip(frames, **parts):
    return Clip(frames=frames, fps=24.0, source="here", label=2, name="Waving", **parts)


def test_a_clip_as_seen_has_the_frames_and_pixels_that_the_network_is_given():
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (32, 40, 60, 3)).astype(np.uint8)
    hand = np.zeros((32, 40, 60), bool)
    hand[:, 10:30, 20:50] = True
    flow = np.zeros((31, 40, 60, 2), np.float32)
    clip = a_clip(frames, hand_mask=hand, flow=flow)
    seen = as_seen(clip, 16, 20)
    assert (seen.source, seen.label, seen.name) == ("here", 2, "Waving")
    assert seen.frames.shape == (16, 20, 20, 3) and seen.hand_mask.shape == (16, 20, 20)
    assert seen.fps == 12  # half of the frames in the same time
    # The middle square of 40 px, half as large: the hand is at 10 to 30 px of it from the top and 10 to 40 across.
    assert seen.hand_mask[3, 5:15, 5:].all() and seen.hand_mask[3].sum() == 150
    assert seen.flow is None
    short = as_seen(a_clip(frames[:5]), 16, 20)
    assert short.fps == 24 and np.array_equal(short.frames[4], short.frames[15]) and short.hand_mask is None


def test_a_clip_that_is_given_whole_keeps_what_is_known_of_it():
    frames = np.zeros((16, 32, 32, 3), np.uint8)
    clip = a_clip(frames, flow=np.ones((15, 32, 32, 2), np.float32))
    assert as_seen(clip, 16, 32) is clip


def test_a_place_without_clips_is_an_error(saved, tmp_path):
    network = GestureNetwork.load(saved())
    with pytest.raises(FileNotFoundError, match="does not exist"):
        open_sample(network, str(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no clip"):
        open_sample(network, str(tmp_path / "empty"))


def test_pictures_become_means_over_a_steps_frames_and_a_positions_area():
    pictures = np.random.default_rng(0).random((2, 4, 6, 6)).astype(np.float32)
    means = over_steps(pictures, (2, 3, 2))
    assert means.shape == (2, 2, 3, 2)
    np.testing.assert_allclose(means[1, 0, 2, 1], pictures[1, :2, 4:, 3:].mean(), rtol=1e-6)
    with pytest.raises(ValueError, match="do not divide"):
        over_steps(pictures, (3, 3, 3))


def test_features_scored_are_the_logits_and_a_change_is_cut_as_the_clips_are():
    network = fresh(config(width=1 / 8))
    torch.manual_seed(0)
    x = 50 * torch.randn(18, 3, 4, 32, 32)  # grey levels
    features = encode_all(network, x)
    with torch.inference_mode():
        plain = torch.cat([network(part) for part in x.split(16)]).numpy()
    assert np.array_equal(score_all(network, features), plain)
    closed = torch.zeros(18, 2, 32)
    closed[17] = 1
    changed = score_all(network, features, {"layer2.o": closed})
    # An output gate at 0 shows nothing of any clip; the last clip's stands open.
    assert np.array_equal(changed[0], changed[16])
    assert not np.array_equal(changed[0], changed[17])
