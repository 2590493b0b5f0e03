"""Trainings kept in a folder: finished ones are read, others go on; one's own clips; the command line."""

import json
import re
import shutil
from functools import partial

import numpy as np
import pytest
import torch

from clip_files import some_frames, write_jpegs, write_video
from small_training import noisy_clips, weights_of


@pytest.fixture(scope="module")
def runs():
    from gatescope.trainings import runs

    return runs


@pytest.fixture(scope="module")
def start():
    from gatescope.models import NetworkConfig

    return NetworkConfig.small("a", num_classes=3, width=1 / 64, size=6, num_frames=4)


@pytest.fixture(scope="module")
def go(runs, start):
    def go(folder, stop_after=None, start=start, data=None, **settings):
        """The rows, without their times."""
        from gatescope.trainings.recipes import TrainConfig
        from gatescope.trainings.train import Training

        training = Training(
            start=start,
            train_clips=noisy_clips(),
            valid_clips=noisy_clips(9),
            config=TrainConfig(**{"epochs": 3, "batch_size": 8, **settings}),
            data=data or {"noise": 0.5},
        )
        rows = []
        for row in runs.run(training, folder):
            rows.append({**vars(row), "seconds": None})
            if len(rows) == stop_after:
                break
        return rows

    return go


@pytest.fixture(scope="module")
def once_finished(go, tmp_path_factory):
    """A finished training, for `finished` only."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    return folder, go(folder)


@pytest.fixture
def finished(once_finished, tmp_path):
    """A finished training, in `tmp_path / "run"`."""
    folder, rows = once_finished
    return shutil.copytree(folder, tmp_path / "run"), rows


@pytest.mark.slow
def test_a_finished_training_leaves_all_that_a_reader_needs(runs, finished):
    from gatescope.models import GestureNetwork
    from gatescope.trainings.evaluation import evaluate, load_predictions

    folder, rows = finished
    names = {path.name for path in folder.iterdir()} - {".lock"}
    assert names == {"network.safetensors", "network.json", "rows.json", "predictions.npz"}
    network = GestureNetwork.load(folder / "network.safetensors")
    predictions = load_predictions(folder / "predictions.npz")
    assert list(predictions) == ["clips", "shuffled", "single", "reversed"]
    for name, found in predictions.items():
        again = evaluate(network, noisy_clips(9), transform=None if name == "clips" else name)
        np.testing.assert_allclose(found.logits, again.logits, rtol=1e-4, atol=1e-5)
        assert network.card["metrics"][name]["top1"] == found.accuracy().value
    assert network.card["data"] == {"noise": 0.5, "start": {"seed": 0}}
    assert network.card["seed"] == 0
    assert network.card["training"]["recipe"] == "adamw"
    assert [{**row, "seconds": None} for row in json.loads((folder / "rows.json").read_text())] == rows


def test_a_finished_training_is_not_run_again(go, finished):
    folder, rows = finished
    before = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()}
    assert go(folder) == rows
    assert {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()} == before


@pytest.mark.slow
def test_a_stopped_training_goes_on_to_the_same_files(go, finished, tmp_path):
    folder, rows = finished
    assert len(go(tmp_path / "other", stop_after=1)) == 1
    assert go(tmp_path / "other") == rows
    for name in ("network.safetensors", "predictions.npz"):
        assert (tmp_path / "other" / name).read_bytes() == (folder / name).read_bytes()


@pytest.mark.slow
def test_a_training_killed_before_its_card_is_finished_by_the_next(go, finished, tmp_path):
    """All rows are there and so are the weights, but not the card: what is written last."""
    folder, rows = finished
    go(tmp_path / "other", stop_after=3)
    shutil.copy(folder / "network.safetensors", tmp_path / "other")
    shutil.copy(folder / "rows.json", tmp_path / "other")
    assert go(tmp_path / "other") == rows
    assert (tmp_path / "other" / "network.json").exists()


def test_another_training_finished_in_the_folder_is_refused(go, finished):
    folder, _ = finished
    with pytest.raises(ValueError, match="another training, finished: config.seed is 1 here and 0"):
        go(folder, seed=1)
    with pytest.raises(ValueError, match="data.noise is 0.7 here"):
        go(folder, data={"noise": 0.7})


@pytest.mark.parametrize("name", ["network.safetensors", "rows.json", "predictions.npz"])
def test_a_finished_training_that_is_damaged_is_refused(go, finished, name):
    folder, _ = finished
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=name):
        go(folder)


@pytest.mark.slow
def test_a_network_of_ones_own_is_where_a_training_can_begin_and_stays_as_it_was(runs, go, start, tmp_path):
    from gatescope.models import GestureNetwork

    torch.manual_seed(7)
    network = GestureNetwork(start)
    before = weights_of(network)
    go(tmp_path / "run", start=network)
    assert weights_of(network) == before
    assert "weights_sha256" in json.loads((tmp_path / "run" / "network.json").read_text())["data"]["start"]
    torch.manual_seed(8)
    with pytest.raises(ValueError, match="data.start.weights_sha256"):
        go(tmp_path / "run", start=GestureNetwork(start))


@pytest.mark.slow
def test_seeds_draw_other_weights_and_leave_the_callers_random_numbers(go, tmp_path):
    before = torch.get_rng_state()
    go(tmp_path / "0")
    go(tmp_path / "1", seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    weights = [(tmp_path / seed / "network.safetensors").read_bytes() for seed in "01"]
    assert weights[0] != weights[1]


@pytest.fixture
def own_clips(tmp_path):
    """Two classes of one's own: video files and folders of frames, and a file that is hidden."""
    folder = tmp_path / "own"
    for kind in ("wave", "clap"):
        for number in range(3):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            write_video(folder / kind / f"{number}.mp4", some_frames(5, 32, 32, seed=number))
        write_jpegs(folder / kind / "frames", some_frames(5, 32, 32, seed=9))
    (folder / "clap" / ".DS_Store").write_text("no clip")
    (folder / ".hidden").mkdir()
    return folder


def test_clips_of_ones_own_are_labelled_by_their_folders_and_every_fifth_is_held_out(runs, own_clips):
    names, train, valid = runs.labelled_clips(own_clips)
    assert names == ["clap", "wave"]
    assert [(path.name, label) for path, label in valid] == [("0.mp4", 0), ("0.mp4", 1)]
    assert [(path.name, label) for path, label in train[:3]] == [("1.mp4", 0), ("2.mp4", 0), ("frames", 0)]


def test_clips_of_ones_own_that_are_split_already_stay_so(runs, own_clips):
    for name in ("train", "test"):
        shutil.copytree(own_clips, own_clips.parent / "split" / name)
    shutil.rmtree(own_clips.parent / "split" / "test" / "wave" / "frames")
    names, train, valid = runs.labelled_clips(own_clips.parent / "split")
    assert (names, len(train), len(valid)) == (["clap", "wave"], 8, 7)
    assert {path.parts[-3] for path, _ in train} == {"train"} and {path.parts[-3] for path, _ in valid} == {"test"}
    table = own_clips / "clips.csv"
    table.write_text("".join(f"wave/{n}.mp4,wave\nclap/{n}.mp4,clap\n" for n in range(3)))
    names, train, valid = runs.labelled_clips(table)
    assert (names, len(train), len(valid)) == (["clap", "wave"], 4, 2)
    shutil.rmtree(own_clips.parent / "split" / "train")
    with pytest.raises(ValueError, match="has no clips for train; it has those for test"):
        runs.labelled_clips(own_clips.parent / "split")


def test_a_folder_that_is_not_sorted_into_classes_is_refused(runs, own_clips):
    with pytest.raises(FileNotFoundError, match="one sub-folder of clips per class"):
        runs.labelled_clips(own_clips / "none")
    with pytest.raises(ValueError, match="two classes"):
        runs.labelled_clips(own_clips / "wave")
    (own_clips / "point").mkdir()
    with pytest.raises(ValueError, match="point: holds no clip though folders beside it do"):
        runs.labelled_clips(own_clips)


@pytest.mark.slow
def test_a_checkpoint_is_fine_tuned_on_ones_own_clips(runs, finished, own_clips, tmp_path):
    from gatescope.loaders import read_clip, to_batch
    from gatescope.models import GestureNetwork
    from gatescope.trainings.recipes import TrainConfig

    checkpoint = finished[0] / "network.safetensors"
    config = TrainConfig(epochs=2, batch_size=4, rate=1e-6)
    rows = list(runs.fine_tune(checkpoint, own_clips, tmp_path / "mine", config))
    assert len(rows) == 2
    before = GestureNetwork.load(checkpoint)
    network = GestureNetwork.load(tmp_path / "mine" / "network.safetensors")
    assert network.config.num_classes == 2
    assert network.card["data"]["names"] == ["clap", "wave"]
    assert network.card["data"]["before"]["data"] == before.card["data"]
    assert str(own_clips) not in json.dumps(network.card)
    # At so low a rate all but the head is what it was.
    kernel = "layer1.candidate.input_to_state.pointwise.weight"
    torch.testing.assert_close(network.state_dict()[kernel], before.state_dict()[kernel], atol=1e-4, rtol=0)
    clip = to_batch(read_clip(own_clips / "wave" / "0.mp4"), **network.config.input)
    assert network(clip).shape == (1, 2)


@pytest.mark.slow
@pytest.mark.parametrize("changed", ["1.mp4", "frames/00002.jpg"])
def test_other_contents_under_the_same_names_are_another_training(runs, finished, own_clips, tmp_path, changed):
    from gatescope.trainings.recipes import TrainConfig

    def tuned():
        config = TrainConfig(epochs=1, batch_size=4)
        return list(runs.fine_tune(finished[0] / "network.safetensors", own_clips, tmp_path / "mine", config))

    first = tuned()
    (own_clips / "clap" / ".hidden").write_text("of no clip")
    assert tuned() == first
    other = some_frames(5, 32, 32, seed=77)
    if changed.endswith("mp4"):
        write_video(own_clips / "wave" / changed, other)
    else:
        shutil.copy(write_jpegs(tmp_path / "other", other[::-1]) / "00001.jpg", own_clips / "wave" / changed)
    with pytest.raises(ValueError, match=r"another training, finished: data\.clips_sha256 is"):
        tuned()


@pytest.mark.parametrize("name", ["own", "own/mine", "own/wave/mine", "link/mine"])
def test_a_training_among_the_clips_that_it_learns_from_would_be_a_class_of_them(runs, own_clips, tmp_path, name):
    from gatescope.models import GestureNetwork, NetworkConfig

    config = NetworkConfig.small("a", num_classes=3, width=1 / 64, size=16, num_frames=4)
    GestureNetwork(config).save(tmp_path / "network.safetensors")
    (tmp_path / "link").symlink_to(own_clips)
    before = sorted(own_clips.rglob("*"))
    with pytest.raises(ValueError, match="lies in the clips' folder"):
        list(runs.fine_tune(tmp_path / "network.safetensors", own_clips, tmp_path / name))
    assert sorted(own_clips.rglob("*")) == before


def test_other_labels_in_a_table_are_another_training(runs, tmp_path):
    from gatescope.models import GestureNetwork, NetworkConfig
    from gatescope.trainings.recipes import TrainConfig

    config = NetworkConfig.small("a", num_classes=3, width=1 / 64, size=16, num_frames=4)
    GestureNetwork(config).save(tmp_path / "network.safetensors")
    for number in range(4):
        write_video(tmp_path / f"{number}.mp4", some_frames(4, 32, 32, seed=number))
    table = tmp_path / "clips.csv"

    def tuned(labels):
        rows = [f"{n}.mp4,{label},{'train' if n < 2 else 'valid'}" for n, label in enumerate(labels)]
        table.write_text("\n".join(["path,label,split", *rows]) + "\n")
        weights, config = tmp_path / "network.safetensors", TrainConfig(epochs=1, batch_size=2)
        return list(runs.fine_tune(weights, table, tmp_path / "mine", config))

    first = tuned("abab")
    assert tuned("abab") == first
    with pytest.raises(ValueError, match=r"another training, finished: data\.clips_sha256 is"):
        tuned("baab")


MISSING = ("training", "config", "data", "clips", "metrics", "files")


@pytest.mark.parametrize("missing", MISSING)
def test_a_folder_whose_card_lacks_a_fact_is_refused_with_its_name(go, finished, missing):
    from gatescope.formats.facts import read_card, write_card
    from gatescope.trainings.results import read_results

    folder, _ = finished
    card = read_card(folder / "network.json")
    write_card(folder / "network.json", {name: fact for name, fact in card.items() if name != missing})
    for weights in (True, False):
        with pytest.raises(ValueError, match=rf"network\.json lacks {missing}, which is needed"):
            read_results(folder, weights=weights)
    with pytest.raises(ValueError, match=rf"lacks {missing}"):
        go(folder)


@pytest.mark.parametrize("name", ["../../payload", "/etc/passwd", "..", ""])
def test_a_card_names_files_beside_it_alone(finished, tmp_path, name):
    from gatescope.formats.facts import read_card, write_card
    from gatescope.trainings.results import keep_run

    folder, _ = finished
    card = read_card(folder / "network.json")
    write_card(folder / "network.json", {**card, "files": {**card["files"], name: "0" * 64}})
    with pytest.raises(ValueError, match="files beside it by their names"):
        keep_run(folder, tmp_path / "a" / "b" / "kept")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("rows", ["[", "[1]", '[{"epoch": 1}]', '{"a": 1}', "[" * 100_000])
def test_rows_that_are_none_are_refused(finished, rows):
    from gatescope.trainings.results import read_rows

    (finished[0] / "rows.json").write_text(rows)
    with pytest.raises(ValueError, match=r"rows\.json"):
        read_rows(finished[0])


def test_a_clip_that_does_not_open_is_named(runs, finished, own_clips, tmp_path):
    from gatescope.loaders import ClipError

    (own_clips / "wave" / "notes.mp4").write_text("no clip")
    with pytest.raises(ClipError, match="notes.mp4"):
        list(runs.fine_tune(finished[0] / "network.safetensors", own_clips, tmp_path / "mine"))


@pytest.fixture
def command(capsys):
    from gatescope.__main__ import main

    def command(*arguments):
        status = main([str(argument) for argument in arguments])
        return status, *capsys.readouterr()

    return command


NUMBERS = {
    "train none.toml --cell a --out none": ("--seed", "--workers"),
    "clips none.toml": ("--processes",),
    "fine-tune none none --out none": ("--epochs", "--rate"),
    "verify": ("--cores",),
}


@pytest.mark.parametrize("asked", NUMBERS)
@pytest.mark.parametrize("value", ["-1", "many", "nan", "1e400", "9" * 30, "9" * 5000, ""])
def test_every_number_is_looked_at_before_anything_else_is(command, capsys, asked, value):
    """All at once, in one sentence: no file that is named exists."""
    with pytest.raises(SystemExit, match="2"):
        command(*asked.split(), *(f"{option}={value}" for option in NUMBERS[asked]))
    said = capsys.readouterr().err.splitlines()[-1]
    for option in NUMBERS[asked]:
        assert re.search(rf"{option} must be a (whole )?number from [^ ]+ to [^ ]+; got '?{value[:40]}", said)


@pytest.mark.slow
def test_the_command_line_trains_and_says_how_it_ended(command, tmp_path, monkeypatch):
    from gatescope.trainings import descriptions

    whole = descriptions.described_run
    here = partial(whole, cache=tmp_path / "cache")
    monkeypatch.setattr(descriptions, "described_run", here)
    (tmp_path / "run.toml").write_text(
        "[clips]\nnum_train = 12\nnum_valid = 6\nsize = 16\nclasses = [0, 1, 2]\n"
        "[network]\nsize = 16\nwidth = 0.015625\n[training]\nepochs = 2\n"
    )
    asked = ("train", tmp_path / "run.toml", "--cell", "a", "--seed", 1, "--out", tmp_path / "a-1")
    assert command("clips", tmp_path / "run.toml") == (0, "", "")
    assert len(list(tmp_path.glob("cache/*/*-frames.npy"))) == 2
    status, out, err = command(*asked)
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()] == ["clips", "shuffled", "single", "reversed"]
    assert len(err.splitlines()) == 1
    assert "epoch 2 of 2" in err
    assert command(*asked)[:2] == (0, out)
    status, out, err = command(*asked[:4], "--out", tmp_path / "a-1", "--seed", 0)
    assert (status, out) == (1, "")
    assert "another training" in err


def test_a_training_without_clips_is_refused_on_the_command_line(command, tmp_path):
    (tmp_path / "run.toml").write_text("[clips]\nnum_train = 0\nnum_valid = 0\nsize = 16\n[network]\n[training]\n")
    status, _, err = command("train", tmp_path / "run.toml", "--cell", "a", "--out", tmp_path / "a")
    assert status == 1
    assert "no clip to train on" in err


@pytest.mark.slow
def test_the_command_line_fine_tunes(command, finished, own_clips, tmp_path):
    asked = ("fine-tune", finished[0] / "network.safetensors", own_clips, "--out", tmp_path / "mine", "--epochs", 1)
    status, out, _ = command(*asked)
    assert status == 0
    assert "of 2)" in out


def test_a_mistake_on_the_command_line_is_named(command, tmp_path):
    (tmp_path / "run.toml").write_text("[clips]\nnum_train = 1\n")
    for name, says in (("run.toml", "tables clips"), ("none.toml", "No such file")):
        for asked in (("train", tmp_path / name, "--cell", "a", "--out", tmp_path / "a"), ("clips", tmp_path / name)):
            status, _, err = command(*asked)
            assert status == 1
            assert says in err
    asked = ("train", tmp_path / "run.toml", "--cell", "a", "--out", tmp_path / "a", "--modality", "depth")
    status, _, err = command(*asked)
    assert status == 1
    assert "no depth of None; there are jester rgb" in err
    status, _, err = command("fine-tune", tmp_path / "none.safetensors", tmp_path, "--out", tmp_path / "a")
    assert status == 1
    assert "none.safetensors" in err


def test_a_training_is_kept_in_no_clip_and_in_no_file(runs, finished, own_clips, tmp_path):
    """A clip's folder would change by it, and so the training that is to go on; a file can be no folder."""
    (tmp_path / "file").touch()
    clip = next(own_clips.glob("*/*"))
    for folder, says in (
        (clip, "lies in the clip"),
        (clip / "out", "lies in the clip"),
        (tmp_path / "file" / "out", "file is no"),
    ):
        with pytest.raises(ValueError, match=says):
            next(runs.fine_tune(finished[0] / "network.safetensors", own_clips, folder))
