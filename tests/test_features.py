"""Features of a frozen network: those that encoding gives, computed once, and never half there."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from gatescope.loaders import CachedClips, SyntheticGestures, to_batch
from gatescope.models import GestureNetwork, NetworkConfig
from gatescope.trainings import features
from gatescope.trainings.features import FrozenFeatures

FACTS = {"size": 24, "num_frames": 4, "difficulty": 0.0, "modalities": (), "classes": (0, 1, 12)}
SETTINGS = {"num_classes": 3, "width": 1 / 32, "size": 24, "num_frames": 4, "clip_mean": 0.5}


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(features, "BATCH_SIZE", 4)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    clips = CachedClips(SyntheticGestures("train", 5, **FACTS), tmp_path_factory.mktemp("clips"))
    list(clips.fill())
    return clips


def untrained(seed=0, **settings):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return GestureNetwork(NetworkConfig.small("a", **SETTINGS | settings)).eval()


@pytest.fixture(scope="module")
def network():
    return untrained()


@pytest.fixture
def filled(network, clips, tmp_path):
    frozen = FrozenFeatures(network, clips, folder=tmp_path)
    list(frozen.fill())
    return frozen


def left_in(folder):
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def refuses_to_encode():
    network = untrained()

    def encode(x):
        raise AssertionError("encoded again")

    network.encode = encode
    return network


@pytest.mark.slow
def test_features_are_means_of_what_encoding_gives(filled, network, clips):
    assert len(filled) == 5
    for index in (0, 3, 4, -1):
        x, label = filled[index]
        clip = clips[index]
        with torch.inference_mode():
            maps = network.encode(to_batch(clip, **network.config.input))[0].double().numpy()
        steps, channels, rows, columns = maps.shape
        wanted = np.zeros((channels, steps, rows // 2, columns // 2))
        for step, channel, row, column in np.ndindex(*maps.shape):
            wanted[channel, step, row // 2, column // 2] += maps[step, channel, row, column] / 4
        assert wanted.std() > 0.01 and x.dtype == torch.float32 and x.shape == wanted.shape
        np.testing.assert_allclose(x.numpy(), wanted, rtol=2**-10, atol=1e-6)
        assert label == clip.label and type(label) is int
    assert {label for _, label in filled} == {0, 1, 2}


def test_a_pool_of_one_keeps_every_place(network, clips, tmp_path):
    x, _ = FrozenFeatures(network, clips, pool=1, folder=tmp_path)[3]
    with torch.inference_mode():
        maps = network.encode(to_batch(clips[3], **network.config.input))[0].transpose(0, 1)
    torch.testing.assert_close(x, maps.clone(), rtol=2**-10, atol=1e-6)


def test_filling_tells_how_far_it_is_and_happens_once(network, clips, tmp_path):
    first = FrozenFeatures(network, clips, folder=tmp_path)
    assert not first.path.exists()
    assert list(first.fill()) == [4, 5]
    assert list(first.fill()) == []
    again = FrozenFeatures(refuses_to_encode(), clips, folder=tmp_path)
    assert list(again.fill()) == []
    assert again._features.dtype == torch.float16
    for index in range(5):
        assert torch.equal(again[index][0], first[index][0])


@pytest.mark.slow
def test_damaged_features_are_computed_again(filled, network, clips, tmp_path):
    card = filled.path.with_suffix(".json")
    right = filled.path.read_bytes(), card.read_bytes()
    flipped = bytearray(right[0])
    flipped[len(flipped) // 2] ^= 1
    cases = [
        (bytes(flipped), right[1]),
        (right[0][:-100], right[1]),
        (b"", right[1]),
        (right[0], b""),
        (right[0], b"\xff"),
    ]
    for array, checksum in cases:
        filled.path.write_bytes(array)
        card.write_bytes(checksum)
        assert list(FrozenFeatures(network, clips, folder=tmp_path).fill()) == [4, 5]
        assert (filled.path.read_bytes(), card.read_bytes()) == right
    for missing in (filled.path, card):
        missing.unlink()
        assert list(FrozenFeatures(network, clips, folder=tmp_path).fill()) == [4, 5]


def test_an_interrupted_writer_leaves_nothing(network, clips, tmp_path, monkeypatch):
    frozen = FrozenFeatures(network, clips, folder=tmp_path)
    filling = frozen.fill()
    assert next(filling) == 4
    filling.close()
    assert left_in(tmp_path) == []

    def full(path, content):
        path.write_text("half")
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.warns(
            UserWarning, match=r"nothing more is kept in .* \(no space left on device\): it stays in memory"
        ):
            assert list(frozen.fill()) == [4, 5]
    assert left_in(tmp_path) == [] and frozen[0][0].isfinite().all()
    frozen = FrozenFeatures(network, clips, folder=tmp_path)
    killed = tmp_path / f".{frozen.path.name}.abcdef.safetensors"
    killed.write_bytes(b"half")
    assert list(frozen.fill()) == [4, 5]
    assert left_in(tmp_path) == [f"{frozen.path.stem}.json", frozen.path.name]


def test_a_second_process_waits_and_reads(filled, clips, tmp_path, monkeypatch):
    """As it finds the file only once it has the lock."""
    late = FrozenFeatures(refuses_to_encode(), clips, folder=tmp_path)
    answers = iter([None, late._open()])
    monkeypatch.setattr(late, "_open", lambda: next(answers))
    assert torch.equal(late[4][0], filled[4][0])


def test_workers_read_the_same(filled):
    batches = list(DataLoader(filled, batch_size=2, num_workers=2))
    assert torch.equal(torch.cat([x for x, _ in batches]), torch.stack([x for x, _ in filled]))
    assert torch.cat([labels for _, labels in batches]).tolist() == [filled.clips.label(index) for index in range(5)]


@pytest.mark.slow
def test_whatever_determines_the_features_determines_the_file(network, clips, tmp_path, monkeypatch):
    path = FrozenFeatures(network, clips, folder=tmp_path).path
    assert FrozenFeatures(untrained(), clips, folder=tmp_path).path == path
    fewer = CachedClips(SyntheticGestures("train", 4, **FACTS), clips.folder.parent)
    other = CachedClips(SyntheticGestures("train", 5, **FACTS | {"seed": 1}), clips.folder.parent)
    others = [
        FrozenFeatures(untrained(1), clips, folder=tmp_path),
        FrozenFeatures(untrained(clip_mean=0.25), clips, folder=tmp_path),
        FrozenFeatures(untrained(conventions="authors"), clips, folder=tmp_path),
        FrozenFeatures(network, clips, pool=1, folder=tmp_path),
        FrozenFeatures(network, fewer, folder=tmp_path),
        FrozenFeatures(network, other, folder=tmp_path),
    ]
    monkeypatch.setattr(features, "digest_of", lambda modules: "other code")
    others.append(FrozenFeatures(network, clips, folder=tmp_path))
    assert len({path, *(each.path for each in others)}) == 8


def test_weights_behind_res3d_have_no_part_in_it(network, clips, tmp_path):
    changed = untrained()
    with torch.no_grad():
        changed.head.weight += 1
        next(changed.layer1.parameters()).zero_()
    assert FrozenFeatures(changed, clips, folder=tmp_path).path == FrozenFeatures(network, clips, folder=tmp_path).path


def test_what_cannot_be_kept_is_refused(network, clips, tmp_path):
    with pytest.raises(ValueError, match="maps of 6 x 6 do not divide by a pool of 4"):
        list(FrozenFeatures(network, clips, pool=4, folder=tmp_path).fill())
    with pytest.raises(ValueError, match="pool >= 1; got 5 and 0"):
        FrozenFeatures(network, clips, pool=0, folder=tmp_path)
    none = CachedClips(SyntheticGestures("train", 0, **FACTS), tmp_path)
    with pytest.raises(ValueError, match="one clip or more"):
        FrozenFeatures(network, none, folder=tmp_path)
    with pytest.raises(ValueError, match="network.eval()"):
        FrozenFeatures(untrained().train(), clips, folder=tmp_path)
    loud = untrained()
    for parameter in loud.res3d.parameters():
        parameter.data *= 100
    with pytest.raises(ValueError, match="16 bits hold 65504"):
        list(FrozenFeatures(loud, clips, folder=tmp_path).fill())
    assert left_in(tmp_path) == []


def test_a_clip_that_is_not_there(filled):
    with pytest.raises(IndexError, match="clip 5 of 5"):
        filled[5]
