"""A training's state survives whatever stops it, and nothing that is damaged is ever used."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from filelock import Timeout
from torch.utils.data import TensorDataset

from small_training import noisy_clips, tiny_network, weights_of

EPOCHS = 6


@pytest.fixture
def library():
    from gatescope.trainings import recipes, train
    from gatescope.trainings import saved_states as checkpoints

    class Library:
        load_state = staticmethod(checkpoints.load_state)
        save_state = staticmethod(checkpoints.save_state)
        first_difference = staticmethod(checkpoints.first_difference)
        TrainConfig = recipes.TrainConfig

        @staticmethod
        def train(folder, epochs=EPOCHS, stop_after=None, clips=None, seed=0, **settings):
            """Rows without their times, and the network; as a second process would, from a network of its own."""
            network, clips = tiny_network(), clips or noisy_clips()
            config = recipes.TrainConfig(epochs=epochs, batch_size=8, seed=seed, **settings)
            rows = []
            for row in train.fit(network, clips, clips, config, folder):
                rows.append({**vars(row), "seconds": None})
                if len(rows) == stop_after:
                    break
            return rows, network

    return Library


def flip_bit(path, place):
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= 16
    path.write_bytes(content)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{"recipe": "sgd"}, {"recipe": "adamw"}, {"transform": "shuffled"}])
def test_a_stopped_training_ends_as_one_that_was_not(library, tmp_path, settings):
    rows, network = library.train(None, **settings)
    library.train(tmp_path, stop_after=2, **settings)
    library.train(tmp_path, stop_after=5, **settings)
    resumed_rows, resumed = library.train(tmp_path, **settings)
    assert resumed_rows == rows
    assert weights_of(resumed) == weights_of(network)
    _, again = library.train(tmp_path, **settings)
    assert weights_of(again) == weights_of(network)


def test_where_weights_lie_in_memory_does_not_change_how_a_training_ends(library, tmp_path):
    """Weights in channels_last order, as fast convolutions want them, with an optimiser that goes along."""
    from gatescope.trainings.train import fit

    def train(folder, stop_after):
        network = tiny_network().to(memory_format=torch.channels_last_3d)
        for row in fit(network, noisy_clips(), None, library.TrainConfig(epochs=4, batch_size=8), folder):
            if row.epoch == stop_after:
                break
        return network

    whole = train(None, None)
    train(tmp_path, 2)
    assert weights_of(train(tmp_path, None)) == weights_of(whole)


def test_an_optimisers_state_comes_back_in_the_layout_of_its_weights(library):
    from gatescope.trainings.recipes import make_optimizer
    from gatescope.trainings.saved_states import pack, unpack

    def made():
        network = tiny_network().to(memory_format=torch.channels_last_3d)
        return network, make_optimizer(network, library.TrainConfig())

    network, optimizer = made()
    network(noisy_clips(4).tensors[0]).sum().backward()
    optimizer.step()
    on_disk = {name: tensor.detach().contiguous().clone() for name, tensor in pack(network, optimizer).items()}
    other, resumed = made()
    unpack(on_disk, other, resumed)
    for weight, same in zip(network.parameters(), other.parameters(), strict=True):
        for key, value in optimizer.state[weight].items():
            assert torch.equal(resumed.state[same][key], value)
            assert resumed.state[same][key].stride() == value.stride()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("part", "damage"),
    [
        *(("json", damage) for damage in ("truncated", "emptied", "flipped")),
        *(("safetensors", damage) for damage in ("truncated", "emptied", "flipped", "missing")),
    ],
)
def test_a_damaged_state_is_left_out_and_the_one_before_it_used(library, tmp_path, part, damage):
    rows, network = library.train(None)
    library.train(tmp_path, stop_after=4)
    path = tmp_path / f"epoch-00004.{part}"
    if damage == "missing":
        path.unlink()
    elif damage == "flipped":
        flip_bit(path, len(path.read_bytes()) // 2)
    else:
        path.write_bytes(path.read_bytes()[: len(path.read_bytes()) // 2 if damage == "truncated" else 0])
    with pytest.warns(UserWarning, match="damaged"):
        assert library.load_state(tmp_path)[1]["rows"][-1]["epoch"] == 3
    with pytest.warns(UserWarning, match="damaged"):
        resumed_rows, resumed = library.train(tmp_path)
    assert resumed_rows == rows
    assert weights_of(resumed) == weights_of(network)


def test_a_state_without_a_card_was_never_finished(library, tmp_path):
    library.train(tmp_path, stop_after=4)
    (tmp_path / "epoch-00004.json").unlink()
    assert library.load_state(tmp_path)[1]["rows"][-1]["epoch"] == 3


@pytest.mark.slow
def test_with_every_state_damaged_a_training_begins_anew(library, tmp_path):
    rows, _ = library.train(None)
    library.train(tmp_path, stop_after=4)
    for path in tmp_path.glob("*.safetensors"):
        flip_bit(path, -1)
    with pytest.warns(UserWarning, match="damaged"):
        resumed_rows, _ = library.train(tmp_path)
    assert resumed_rows == rows


def test_no_flipped_bit_passes(library, tmp_path):
    library.train(tmp_path, stop_after=1)
    for path in (tmp_path / "epoch-00001.json", tmp_path / "epoch-00001.safetensors"):
        whole = path.read_bytes()
        for place in range(0, len(whole), len(whole) // 60):
            flip_bit(path, place)
            with pytest.warns(UserWarning, match="damaged"):
                assert library.load_state(tmp_path) is None
            path.write_bytes(whole)
    assert library.load_state(tmp_path) is not None


def test_two_states_are_kept_and_what_a_killed_writer_left_goes(library, tmp_path):
    (tmp_path / ".epoch-00001.json.84f9d336.json").write_text("half")
    library.train(tmp_path, stop_after=4)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [".lock", *(f"epoch-0000{n}.{end}" for n in (3, 4) for end in ("json", "safetensors"))]


def test_a_state_names_no_machine(library, tmp_path):
    library.train(tmp_path, stop_after=2)
    text = (tmp_path / "epoch-00002.json").read_text()
    assert str(tmp_path) not in text
    assert "cpu:" not in text
    tensors, _ = library.load_state(tmp_path)
    assert all(tensor.device.type == "cpu" and tensor.is_contiguous() for tensor in tensors.values())


def test_a_training_goes_on_where_the_processor_knows_no_bfloat16(library, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    library.train(tmp_path, stop_after=2)
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    rows, _ = library.train(tmp_path)
    assert [row["precision"] for row in rows] == ["bf16-mixed"] * 2 + ["32-true"] * 4
    assert rows[-1]["loss"] < rows[0]["loss"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 1}, "config.seed is 1 here and 0"),
        ({"epochs": 9}, "config.epochs is 9 here and 6"),
        ({"rate": 0.1}, "config.rate is 0.1 here and 0.005"),
        ({"clips": noisy_clips(31)}, "clips.train is 31 here and 30"),
    ],
)
def test_another_training_is_refused_by_its_first_difference(library, tmp_path, change, named):
    library.train(tmp_path, stop_after=1)
    with pytest.raises(ValueError, match=named):
        library.train(tmp_path, **change)


def test_another_network_or_other_clips_are_refused(library, tmp_path):
    from gatescope.trainings.train import fit

    clips, config = noisy_clips(), library.TrainConfig(epochs=2)
    next(fit(tiny_network(), clips, None, config, tmp_path, data={"seed": 0}))
    with pytest.raises(ValueError, match="network.head.weight is '4 4' here and '3 4'"):
        next(fit(tiny_network(num_classes=4), clips, None, config, tmp_path, data={"seed": 0}))
    with pytest.raises(ValueError, match="data.seed is 1 here"):
        next(fit(tiny_network(), clips, None, config, tmp_path, data={"seed": 1}))


@pytest.mark.parametrize(
    ("wanted", "found", "named"),
    [
        ({"a": 1}, {"a": 1}, None),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}}, "a.b is [1, 2] here and [1, 3] in the saved one"),
        ({"a": 1, "b": 2}, {"a": 1}, "b is only in this training"),
        ({"a": 1}, {"a": 1, "b": 2}, "b is only in the saved one"),
        ({"a": 0}, {"a": {"b": 1}}, "a is 0 here and {'b': 1} in the saved one"),
    ],
)
def test_the_first_difference_is_named(library, wanted, found, named):
    assert library.first_difference(wanted, found) == named


def test_two_processes_do_not_train_in_one_folder(library, tmp_path):
    from gatescope.trainings.train import fit

    rows = fit(tiny_network(), noisy_clips(), None, library.TrainConfig(epochs=2), tmp_path)
    next(rows)
    with pytest.raises(RuntimeError, match="another process"):
        library.train(tmp_path)
    rows.close()
    assert len(list(fit(tiny_network(), noisy_clips(), None, library.TrainConfig(epochs=2), tmp_path))) == 2


def test_clips_that_wait_in_vain_are_not_taken_for_another_training(library, tmp_path):
    class Locked(TensorDataset):
        def __getitem__(self, index):
            raise Timeout("clips.lock")

    with pytest.raises(Timeout, match="clips.lock"):
        library.train(tmp_path, clips=Locked(*noisy_clips().tensors))


# One process imports torch, and its children are killed: at a random moment after a random number of epochs.
KILLER = """
import json, os, random, signal, sys, time
from pathlib import Path
from gatescope.trainings.saved_states import load_state
from gatescope.trainings.train import TrainConfig, fit
from small_training import noisy_clips, tiny_network

EPOCHS, KILLS = 90, 10
root = Path(sys.argv[1])

def start(name):
    child = os.fork()
    if not child:
        status = 1
        try:
            clips = noisy_clips()
            for _ in fit(tiny_network(), clips, clips, TrainConfig(epochs=EPOCHS, batch_size=8), root / name):
                pass
            status = 0
        finally:
            os._exit(status)
    return child

def reached():
    return max((int(path.stem[6:]) for path in (root / "killed").glob("epoch-*.json")), default=0)

def has_halves():
    cards = {path.stem for path in (root / "killed").glob("epoch-*.json")}
    tensors = {path.stem for path in (root / "killed").glob("epoch-*.safetensors")}
    return bool(tensors - cards or list((root / "killed").glob(".epoch-*")))

begin = time.perf_counter()
assert os.waitpid(start("whole"), 0)[1] == 0
epoch_s = (time.perf_counter() - begin) / EPOCHS
rng, kills, halves = random.Random(0), [], 0
for number in range(KILLS):
    child, target = start("killed"), reached() + rng.randrange(6)
    while reached() < target and os.waitpid(child, os.WNOHANG) == (0, 0):
        time.sleep(epoch_s / 10)
    time.sleep(rng.uniform(0, 2 * epoch_s))
    # By chance alone few would fall among the writes: every other one waits for those.
    while number % 2 and not has_halves() and os.waitpid(child, os.WNOHANG) == (0, 0):
        pass
    os.kill(child, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    kills.append(reached())
    halves += has_halves()
assert os.waitpid(start("killed"), 0)[1] == 0
ends = {name: load_state(root / name) for name in ("whole", "killed")}
for _, facts in ends.values():
    facts.pop("facts_sha256")  # over the times too
    for row in facts["rows"]:
        row["seconds"] = 0
print(json.dumps({
    "epoch_s": epoch_s,
    "kills": kills,
    "halves": halves,
    "same_rows": ends["whole"][1] == ends["killed"][1],
    "same_tensors": {n: t.numpy().tobytes() for n, t in ends["whole"][0].items()}
    == {n: t.numpy().tobytes() for n, t in ends["killed"][0].items()},
    "num_tensors": len(ends["whole"][0]),
}))
"""


@pytest.mark.slow
def test_ten_kills_at_random_moments_change_no_bit_of_how_a_training_ends(tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", KILLER, str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent)},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["same_tensors"]
    assert found["same_rows"]
    assert found["num_tensors"] > 20
    # They fell all along the training, and some of them among the writes.
    assert len(set(found["kills"])) > 4
    assert found["halves"] > 0
