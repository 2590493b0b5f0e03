"""Clips of bodies as examples, and a training on poses from its description to what is kept."""

import json
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

TINY = {
    "task": "poses",
    "clips": {"num_train": 6, "num_valid": 3, "size": 16, "num_frames": 4, "hidden": 0.5},
    "network": {"size": 16, "trunk": [4], "feature_channels": 4, "adaption_channels": 4, "adapted_features": 8,
                "hidden_features": 8, "num_stages": 2},
    "training": {"epochs": 2, "batch_size": 3, "precision": "32-true"},
    "variants": {"rpsm": {}, "per_frame": {"network": {"recurrent": False}}, "length_2": {"clips": {"length": 2}}},
}  # fmt: skip


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("bodies")


@pytest.fixture(scope="module")
def bodies(cache):
    from gatescope.loaders import BodyClips, CachedClips

    return CachedClips(BodyClips("valid", 3, 16, num_frames=4), cache)


def described(cache, variant="rpsm", seed=0, description=TINY):
    from gatescope.trainings.descriptions import described_run

    return described_run(description, variant=variant, seed=seed, cache=cache)


@pytest.fixture(scope="module")
def finished(cache, tmp_path_factory):
    from gatescope.trainings.runs import run

    folder = tmp_path_factory.mktemp("runs") / "rpsm-0"
    return folder, list(run(described(cache), folder))


@pytest.mark.slow
def test_poses_are_relative_to_the_pelvis_and_frames_within_a_half(bodies):
    from gatescope.loaders import PoseTensors

    x, poses = PoseTensors(bodies, hidden=0.0)[1]
    assert x.shape == (4, 3, 16, 16) and x.dtype == torch.float32
    np.testing.assert_allclose((x.permute(0, 2, 3, 1).numpy() + 0.5) * 255, bodies[1].frames, atol=1e-3)
    joints = bodies[1].joints_3d
    assert (poses[:, 0] == 0).all()
    np.testing.assert_array_equal(poses.numpy(), joints - joints[:, :1])


def test_the_board_hides_what_it_says_and_nothing_else(bodies):
    from gatescope.loaders.pose_tensors import BOARD, BOARD_GREY, PoseTensors

    tensors, clean = PoseTensors(bodies, hidden=0.5, seed=3), PoseTensors(bodies, hidden=0.0)
    some = 0
    for index in range(3):
        hidden = tensors.frames_hidden(index)
        grey = np.isclose(tensors[index][0].numpy(), BOARD_GREY / 255 - 0.5, atol=1e-6).all(1)
        differs = (tensors[index][0] != clean[index][0]).any(1).numpy()
        assert not differs[~hidden].any()
        assert (differs <= grey).all()
        assert (grey[hidden].sum((1, 2)) >= 0.5 * (BOARD * 16) ** 2).all()
        some += hidden.sum()
    assert 0 < some < 12
    assert not clean.frames_hidden(0).any()


def test_the_part_of_hidden_frames_and_their_spans_are_as_said():
    from gatescope.loaders import Clip, PoseTensors
    from gatescope.loaders.pose_tensors import SPAN

    clip = Clip(
        frames=np.zeros((4000, 8, 8, 3), np.uint8), joints_3d=np.zeros((4000, 17, 3), np.float32), fps=1.0, source=""
    )
    hidden = PoseTensors([clip], hidden=0.3).frames_hidden(0)
    assert abs(hidden.mean() - 0.3) < 0.04
    # A span ends with chance 1 / SPAN, and the next is hidden again with chance 0.3.
    ends = (hidden[:-1] & ~hidden[1:]).sum()
    assert abs(hidden.sum() / ends - SPAN / 0.7) < 0.6


def test_boards_and_starts_change_from_epoch_to_epoch_in_training_alone(bodies):
    from gatescope.loaders import PoseTensors

    train, valid = PoseTensors(bodies, length=2, train=True), PoseTensors(bodies, length=2)
    drawn = []
    for epoch in range(20):
        train.set_epoch(epoch)
        valid.set_epoch(epoch)
        drawn.append(train[0][1].numpy().tobytes())
        np.testing.assert_array_equal(valid[0][1], bodies[0].joints_3d[:2] - bodies[0].joints_3d[:2, :1])
    assert len(set(drawn)) == 3
    train.set_epoch(3)
    assert train[0][1].numpy().tobytes() == drawn[3]


@pytest.mark.parametrize("settings", [{"hidden": 1.0}, {"hidden": -0.1}, {"length": 5}, {"length": 0}])
def test_what_cannot_be_asked_is_refused(bodies, settings):
    from gatescope.loaders import PoseTensors

    with pytest.raises(ValueError, match="hidden|frames"):
        PoseTensors(bodies, **settings)[0]


def test_a_clip_with_other_joints_is_refused(bodies):
    from gatescope.loaders import PoseTensors

    with pytest.raises(ValueError, match="17 joints.*none"):
        PoseTensors([replace(bodies[0], joints_3d=None)])[0]


@pytest.mark.slow
def test_a_training_leaves_card_rows_and_errors(finished, cache):
    from gatescope.models import RPSM
    from gatescope.trainings.poses import RESULTS, PoseErrors, predict_poses

    folder, rows = finished
    assert [row.epoch for row in rows] == [1, 2] and rows[1].step == 4
    assert 0 < rows[1].valid_error_mm < 1000 and rows[1].score.endswith("mm")
    network = RPSM.load(folder / "network.safetensors")
    clips = described(cache).valid_clips
    found = predict_poses(network, clips)
    errors = np.linalg.norm(found.poses - found.truth[:, None], axis=-1)
    kept = PoseErrors.load(folder / RESULTS)
    np.testing.assert_allclose(kept.by_frame, errors.mean(-1), rtol=1e-3)
    np.testing.assert_allclose(kept.by_joint, errors.mean((0, 2)), rtol=1e-3, atol=1e-3)
    moved = np.linalg.norm(found.poses[:, 1] - found.poses[:, 0], axis=-1)
    np.testing.assert_allclose(kept.moved, [moved.mean()], rtol=2e-3)
    metrics = network.card["metrics"]
    assert metrics["mpjpe_mm"] == pytest.approx(errors[:, -1].mean(), rel=1e-4)
    assert metrics["mpjpe_by_stage_mm"] == pytest.approx(errors.mean((0, 2, 3)), rel=1e-4)
    assert metrics["mpjpe_without_root_mm"] == pytest.approx(errors[:, -1, :, 1:].mean(), rel=1e-4)
    assert rows[-1].valid_error_mm == pytest.approx(metrics["mpjpe_mm"], rel=1e-4)
    assert kept.hidden.shape == (3, 4) and kept.by_hidden.shape == (5, 3)
    assert kept.aligned.mean() < errors.mean()


def test_a_finished_training_is_read_and_another_refused(finished, cache):
    from gatescope.trainings.runs import run

    folder, rows = finished
    assert list(run(described(cache), folder)) == rows
    with pytest.raises(ValueError, match="another training"):
        list(run(described(cache, "per_frame"), folder))


@pytest.mark.slow
def test_a_training_that_was_stopped_ends_with_the_same_weights(finished, cache, tmp_path):
    from gatescope.trainings.runs import run

    rows = run(described(cache), tmp_path / "rpsm-0")
    next(rows)
    rows.close()
    assert len(list(run(described(cache), tmp_path / "rpsm-0"))) == 2
    weights = [(folder / "network.safetensors").read_bytes() for folder in (finished[0], tmp_path / "rpsm-0")]
    assert weights[0] == weights[1]


def test_results_are_kept_without_weights(finished, tmp_path):
    from gatescope.trainings.results import keep_run

    kept = keep_run(finished[0], tmp_path, weights=False)
    assert sorted(path.name for path in kept.iterdir()) == ["network.json", "poses.npz", "rows.json"]


def test_variants_change_what_they_name_alone(cache):
    short, plain = described(cache, "length_2", seed=1), described(cache, seed=1)
    assert short.train_clips[0][0].shape[0] == 2 and plain.train_clips[0][0].shape[0] == 4
    assert short.start == plain.start and described(cache, "per_frame").start.recurrent is False
    np.testing.assert_array_equal(described(cache, seed=0).valid_clips[0][0], plain.valid_clips[0][0])


def test_descriptions_that_say_too_little_are_refused(cache):
    with pytest.raises(LookupError, match="length_3.*rpsm"):
        described(cache, "length_3")
    with pytest.raises(ValueError, match="variants"):
        described(cache, description={name: TINY[name] for name in TINY if name != "variants"})


@pytest.mark.slow
def test_real_motion_takes_the_place_of_gaits(shared, cache, tmp_path):
    from gatescope.trainings.runs import run

    folder = shared / "realdata" / "cmu_bvh"
    files = {"train": [str(folder / "131_01.bvh"), str(folder / "131_02.bvh")], "valid": [str(folder / "131_03.bvh")]}
    arguments = described(cache, description={**TINY, "clips": {**TINY["clips"], **files}})
    assert arguments.data["source"] == "rendered motion capture"
    list(run(arguments, tmp_path / "cmu-0"))
    card = json.loads(Path(tmp_path / "cmu-0" / "network.json").read_text())
    assert 20 < card["metrics"]["mpjpe_mm"] < 600


REPOSITORY = Path(__file__).resolve().parent.parent
KEPT = sorted(card.parent for card in (REPOSITORY / "data" / "poses").rglob("network.json"))


def test_what_is_kept_of_poses_is_small():
    files = [path for path in (REPOSITORY / "data" / "poses").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 5_000_000


@pytest.mark.parametrize("folder", KEPT, ids=lambda folder: "-".join(folder.parts[-2:]))
def test_kept_results_are_those_of_the_description(folder):
    from gatescope.trainings.poses import RESULTS, PoseErrors, PoseRow
    from gatescope.trainings.results import read_card, read_rows

    card = read_card(folder, weights=(folder / "network.safetensors").exists())
    named = "poses_ablations.toml" if folder.parent.name == "ablations" else "poses.toml"
    description = tomllib.loads((REPOSITORY / "data" / "trainings" / named).read_text())
    variant = card["data"]["variant"]
    assert {name: card["data"][name] for name in ("clips", "network", "training")} == {
        name: description[name] for name in ("clips", "network", "training")
    }
    assert card["data"]["variants"][variant] == description["variants"][variant]
    assert folder.name == f"{variant}-{card['seed']}"
    assert "rendered people only" in card["data"]["warning"]
    errors = PoseErrors.load(folder / RESULTS)
    assert errors.by_frame[:, -1].mean() == pytest.approx(card["metrics"]["mpjpe_mm"], rel=1e-3)
    assert len(read_rows(folder, PoseRow)) == description["training"]["epochs"]
