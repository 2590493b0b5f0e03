"""A network without each of its parts: answers at once and after adaptation, kept once, from where it was cut off."""

import numpy as np
import pytest
import torch

from gatescope.__main__ import main
from gatescope.loaders import SyntheticGestures
from gatescope.models import GestureNetwork, NetworkConfig
from gatescope.trainings import adaptation
from gatescope.trainings.adaptation import adapt
from gatescope.trainings.evidence import read_answers, seeds_right, used_and_needed

pytestmark = pytest.mark.slow
CLIPS = {"size": 16, "difficulty": 0.0, "classes": [0, 1, 12]}
FEW = {"num_train": 6, "num_test": 9}
PARTS = ("nothing", "space", "memory", "H")


@pytest.fixture(scope="module", autouse=True)
def few_parts():
    """Seconds less for each part left out."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adaptation, "parts_of", lambda network: PARTS)
        yield


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "b-3" / "network.safetensors"
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = GestureNetwork(NetworkConfig.small("b", num_classes=3, width=1 / 64, size=16))
    data = {"source": "rendered gestures", "clips": {"num_train": 6, "num_valid": 3, **CLIPS}}
    network.save(path, data=data, seed=3, training={"epochs": 0})
    return path


@pytest.fixture(scope="module")
def whole(weights, cache, tmp_path_factory):
    """The folder of a run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole") / "b-3"
    assert list(adapt(weights, folder, **FEW, cache=cache)) == list(PARTS)
    return folder


def test_there_areanswers_without_each_part_at_once_and_adapted(whole):
    answers, card = read_answers(whole)
    of_parts = [f"{part}, {when}" for part in PARTS[1:] for when in ("before", "adapted")]
    assert list(answers.predicted) == ["undisturbed", "nothing, adapted", *of_parts]
    clips = SyntheticGestures("test", 9, **CLIPS)
    assert answers.labels.tolist() == [clips.label(index) for index in range(9)]
    assert answers.people.tolist() == [clips.performer(index) for index in range(9)]
    assert all(len(found) == 9 and found.max() < 3 for found in answers.predicted.values())
    assert (card["num_train"], card["num_test"], card["adaptation"]["seed"]) == (6, 9, 3)
    assert card["trained"]["config"]["cells"] == ["b", "a"]
    assert sorted(path.name for path in whole.iterdir()) == ["answers.npz", "card.json"]
    right, _ = seeds_right(whole.parent, "memory, adapted", ["b"])
    assert right["b"].tolist() == [answers.right("memory, adapted").tolist()]
    used, needed = used_and_needed(whole.parent, "b", "space")
    change = answers.right("space, adapted").mean() - answers.right("nothing, adapted").mean()
    assert needed.value == pytest.approx(100 * change)


def test_undisturbed_answers_are_the_networks_own(whole, weights, cache):
    answers, _ = read_answers(whole)
    network = GestureNetwork.load(weights)
    test = adaptation.held_out(network, 9, cache)
    x = torch.stack([each for each, _ in adaptation.FrozenFeatures(network, test, pool=1, folder=cache)])
    with torch.no_grad():
        assert answers.predicted["undisturbed"].tolist() == network.score(x.transpose(1, 2)).argmax(1).tolist()


def test_a_run_that_was_cut_off_goes_on_and_ends_alike(whole, weights, cache, tmp_path, monkeypatch):
    for part in adapt(weights, tmp_path, **FEW, cache=cache):
        if part == "memory":
            break
    made = []
    monkeypatch.setattr(adaptation, "answers_without", _told(made, adaptation.answers_without))
    assert list(adapt(weights, tmp_path, **FEW, cache=cache)) == list(PARTS)
    assert made == ["H"]
    first, second = (read_answers(folder)[0].predicted for folder in (whole, tmp_path))
    assert list(first) == list(second)
    assert all(np.array_equal(found, second[name]) for name, found in first.items())


def _told(made, compute):
    def answers_without(part, *rest):
        made.append(part)
        return compute(part, *rest)

    return answers_without


def test_a_finished_one_is_only_read_and_another_refused(whole, weights, cache, monkeypatch):
    monkeypatch.setattr(adaptation, "fit", None)
    assert list(adapt(weights, whole, **FEW, cache=cache)) == list(PARTS)
    with pytest.raises(ValueError, match="holds answers with another num_train"):
        list(adapt(weights, whole, **FEW | {"num_train": 3}, cache=cache))


def test_a_network_of_other_clips_is_refused(tmp_path, cache):
    network = GestureNetwork(NetworkConfig.small("a", num_classes=3, width=1 / 64, size=16))
    network.save(tmp_path / "network.safetensors", data={"source": "clips of one's own"}, seed=0)
    with pytest.raises(ValueError, match="must describe rendered gestures"):
        list(adapt(tmp_path / "network.safetensors", tmp_path / "out", cache=cache))


def test_the_command_line_names_what_is_wrong(whole, weights, tmp_path, capsys):
    for asked, says in (
        ((weights, whole), "holds answers with another num_train"),
        ((tmp_path / "none.safetensors", tmp_path), "the weights, is missing"),
    ):
        assert main(["adapt", str(asked[0]), "--out", str(asked[1])]) == 1
        assert says in capsys.readouterr().err
