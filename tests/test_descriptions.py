"""Descriptions of trainings: rendered gestures, Jester, IsoGD, and weights to begin with."""

import json
import shutil

import pytest
import torch

from clip_files import write_isogd, write_jester
from throwaway import FINISH, write_notebook

DESCRIPTION = {
    "clips": {"num_train": 12, "num_valid": 6, "size": 16, "classes": [0, 1, 2], "difficulty": 0.0},
    "network": {"size": 16, "width": 1 / 64, "num_frames": 8},
    "training": {"epochs": 2, "batch_size": 4},
}


@pytest.fixture
def described_run():
    from gatescope.trainings.descriptions import described_run

    return described_run


@pytest.fixture
def run():
    from gatescope.trainings.runs import run

    return run


@pytest.mark.slow
def test_rendered_gestures_are_described_on_the_card(described_run, run, tmp_path):
    arguments = described_run(DESCRIPTION, cell="b", seed=3, cache=tmp_path / "cache")
    rows = list(run(arguments, tmp_path / "b-3"))
    assert len(rows) == 2
    card = json.loads((tmp_path / "b-3" / "network.json").read_text())
    assert card["config"]["cells"] == ["b", "a"]
    assert card["data"]["names"] == ["Swiping Left", "Swiping Right", "Swiping Down"]
    assert "rendered people only" in card["data"]["warning"]
    assert card["seed"] == 3
    assert card["clips"] == {"train": 12, "valid": 6, "shape": [3, 8, 16, 16]}


def test_gesture_pairs_are_described_too(described_run, tmp_path):
    clips = {"set": "pairs", "num_train": 24, "num_valid": 12, "size": 16, "num_frames": 8, "gestures": [5, 2, 3]}
    network = {**DESCRIPTION["network"], "reach": 5, "memory": False}
    training = described_run({**DESCRIPTION, "clips": clips, "network": network}, cell="d", seed=0, cache=tmp_path)
    assert training.data["names"][0] == "Pulling Hand In, Swiping Down" and len(training.data["names"]) == 6
    assert (len(training.train_clips), len(training.valid_clips)) == (24, 12)
    assert (training.start.num_classes, training.start.reach, training.start.memory) == (6, 5, False)
    assert training.data["source"] == "rendered gesture pairs" and "rendered people only" in training.data["warning"]


@pytest.mark.parametrize(
    ("table", "wrong", "error", "says"),
    [
        ("clips", {"size": 16}, ValueError, "num_train and num_valid"),
        ("clips", {"num_train": 1, "num_valid": 1, "sise": 1}, TypeError, "sise"),
        ("network", {"widht": 1}, ValueError, "widht"),
        ("training", {"recipe": "adam"}, ValueError, "adam"),
    ],
)
def test_a_description_with_a_mistake_names_it(described_run, tmp_path, table, wrong, error, says):
    with pytest.raises(error, match=says):
        described_run({**DESCRIPTION, table: wrong}, cell="a", seed=0, cache=tmp_path)
    with pytest.raises(ValueError, match="tables clips, network and training; got clips"):
        described_run({"clips": {}}, cell="a", seed=0, cache=tmp_path)


def jester(tmp_path):
    """A description of clips in Jester's layout."""
    root = write_jester(tmp_path / "jester")
    shutil.copy(root / "jester-v1-train.csv", root / "jester-v1-validation.csv")
    return {**DESCRIPTION, "clips": {"set": "jester", "root": str(root)}}


@pytest.mark.slow
def test_a_network_is_trained_on_jester_with_its_own_labels(described_run, run, tmp_path):
    description = jester(tmp_path)
    rows = list(run(described_run(description, cell="a", seed=0), tmp_path / "a-0"))
    assert len(rows) == 2
    card = json.loads((tmp_path / "a-0" / "network.json").read_text())
    assert card["data"]["names"] == ["wave", "clap", "point"]
    assert card["data"]["left_out"] == 0
    assert card["clips"] == {"train": 6, "valid": 6, "shape": [3, 8, 16, 16]}
    assert "warning" not in card["data"]
    # What a copy lacks is counted, and the rest is used.
    shutil.rmtree(tmp_path / "jester" / "20bn-jester-v1" / "2")
    arguments = described_run(description, cell="a", seed=0)
    assert (arguments.data["left_out"], len(arguments.train_clips)) == (2, 5)


def drop_the_last(path):
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")


def move_the_last_to_validation(path):
    other = path.with_name("jester-v1-validation.csv")
    other.write_text(f"{path.read_text().splitlines()[-1]}\n{other.read_text()}")
    drop_the_last(path)


LISTS = {
    "another label": ("train", lambda path: path.write_text(path.read_text().replace("wave", "clap"))),
    "another label of validation": (
        "validation",
        lambda path: path.write_text(path.read_text().replace("1;wave", "1;clap")),
    ),
    "a clip less": ("train", drop_the_last),
    "a clip in another split": ("train", move_the_last_to_validation),
    "labels in another order": ("labels", lambda path: path.write_text("clap\nwave\npoint\n")),
    "another name of a label": ("*", lambda path: path.write_text(path.read_text().replace("wave", "greet"))),
}


@pytest.mark.parametrize("change", LISTS)
def test_what_the_lists_of_a_recorded_set_say_decides_a_training(described_run, tmp_path, change):
    """Under the same names, and so for its marks too: those of the training and of the notebooks that show it."""
    from gatescope.atlas.freshness import inputs_digest, is_stale

    description = jester(tmp_path)
    root = tmp_path / "jester"
    (root / "jester-v1-train.csv").write_text("4;wave\n5;clap\n6;point\n")
    (root / "jester-v1-validation.csv").write_text("1;wave\n2;clap\n3;point\n")
    notebook = write_notebook(tmp_path, "07_line", FINISH)
    named = tmp_path / "data" / "trainings" / "hands.toml"
    named.parent.mkdir(parents=True)
    for table, values in description.items():
        with named.open("a") as file:
            print(
                f"[{table}]", *(f"{name} = {json.dumps(value)}" for name, value in values.items()), sep="\n", file=file
            )
    folder = tmp_path / "a-0"
    folder.mkdir()

    def facts():
        return described_run(description, cell="a", seed=0).data

    before, shown = facts(), inputs_digest(notebook, {"training": "hands"})
    (folder / "network.json").write_text(json.dumps({"data": before}))
    assert not is_stale(folder, named) and inputs_digest(notebook, {"training": "hands"}) == shown
    assert "root" not in before["clips"]
    which, alter = LISTS[change]
    for path in root.glob(f"jester-v1-{which}.csv"):
        alter(path)
    assert facts() != before
    assert is_stale(folder, named) and inputs_digest(notebook, {"training": "hands"}) != shown


@pytest.mark.slow
def test_a_training_with_a_modality_and_a_root_of_its_own_is_stale_only_if_its_own_lists_changed(tmp_path):
    from gatescope.__main__ import main
    from gatescope.atlas.freshness import is_stale

    for name in ("described", "own"):
        for split in ("train", "valid"):
            write_isogd(tmp_path / name, 2 + (name == "own"), split)
    named, folder = tmp_path / "isogd.toml", tmp_path / "a-depth-0"
    named.write_text(
        f'[clips]\nset = "isogd"\nroot = {json.dumps(str(tmp_path / "described"))}\n[network]\nsize = 16\n'
        "width = 0.015625\nnum_frames = 2\n[training]\nepochs = 1\n"
    )
    asked = ["train", named, "--cell", "a", "--modality", "depth", "--root", tmp_path / "own", "--out", folder]
    assert main([str(each) for each in asked]) == 0
    assert not is_stale(folder, named, "depth")
    assert is_stale(folder, named) and is_stale(folder, named, "flow")
    lines = (tmp_path / "own" / "train_list.txt").read_text()
    (tmp_path / "own" / "train_list.txt").write_text(lines.replace(" 3\n", " 4\n"))
    assert is_stale(folder, named, "depth")
    shutil.rmtree(tmp_path / "own")  # a disk that is not there today
    assert not is_stale(folder, named, "depth")


def test_another_modality_of_a_recorded_set_comes_with_its_mean(described_run, tmp_path):
    from gatescope.models import MEANS
    from gatescope.trainings.descriptions import with_modality

    for split in ("train", "valid"):
        write_isogd(tmp_path / "isogd", split=split)
    description = {**DESCRIPTION, "clips": {"set": "isogd", "root": str(tmp_path / "isogd")}}
    training = described_run(with_modality(description, "depth"), cell="a", seed=0)
    assert (training.start.modality, training.start.mean) == ("depth", MEANS["isogd", "depth"])
    assert training.train_clips.clips.modality == "depth"
    assert description["clips"] == {"set": "isogd", "root": str(tmp_path / "isogd")}


@pytest.mark.slow
def test_isogd_goes_on_from_a_checkpoint_with_a_head_of_its_own(described_run, tmp_path):
    from gatescope.models import GestureNetwork, NetworkConfig

    for split in ("train", "valid"):
        write_isogd(tmp_path / "isogd", split=split)
    description = {**DESCRIPTION, "clips": {"set": "isogd", "root": str(tmp_path / "isogd"), "modality": "depth"}}
    description["network"] = {**DESCRIPTION["network"], "modality": "depth", "mean": [127.0, 127.0, 127.0]}
    before = GestureNetwork(NetworkConfig.small("a", num_classes=27, width=1 / 64, size=16))
    before.save(tmp_path / "network.safetensors")
    heads = []
    for _ in range(2):
        start = described_run(description, cell="a", seed=0, start=tmp_path / "network.safetensors").start
        assert torch.equal(start.res3d.stem.weight, before.res3d.stem.weight)
        assert start.head.out_features == 249
        assert (start.config.modality, start.config.mean) == ("depth", (127.0, 127.0, 127.0))
        heads.append(start.head.weight)
    assert torch.equal(*heads)
    with pytest.raises(ValueError, match="does not fit"):
        described_run(description, cell="convlstm", seed=0, start=tmp_path / "network.safetensors")


def test_an_unknown_set_or_a_missing_root_is_named(described_run, tmp_path):
    clips = {"set": "kinetics", "root": str(tmp_path)}
    with pytest.raises(LookupError, match="kinetics.*jester, isogd"):
        described_run({**DESCRIPTION, "clips": clips}, cell="a", seed=0)
    with pytest.raises(FileNotFoundError, match="data/jester/README.md"):
        described_run({**DESCRIPTION, "clips": {**clips, "set": "jester"}}, cell="a", seed=0)


@pytest.mark.parametrize("odd", ["no", "false", 1, []])
def test_only_the_truth_value_lets_links_lead_out_of_a_root(described_run, tmp_path, odd):
    description = jester(tmp_path)
    description["clips"]["outside"] = odd
    with pytest.raises(ValueError, match="outside must be true or false"):
        described_run(description, cell="a", seed=0)


def test_a_number_of_clips_that_is_none_is_named(described_run):
    tables = {"clips": {"num_train": 4, "num_valid": "4"}, "network": {}, "training": {}}
    with pytest.raises(ValueError, match="num_valid must be a whole number of clips; got '4'"):
        described_run(tables, cell="a", seed=0)
