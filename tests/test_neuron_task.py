"""A training of specialised neurons from its description to what is kept, stopped and gone on with, and judged."""

import copy
import json
import math
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from gatescope.measures.specialisation import effective_neurons, mutual_information
from gatescope.paths import CACHE

TINY = {
    "task": "neurons",
    "clips": {"num_train": 12, "num_valid": 14, "size": 12, "num_frames": 3},
    "network": {"channels": 4, "num_neurons": 3, "num_positions": 108},
    "training": {"epochs": 2, "batch_size": 6, "precision": "32-true"},
    "variants": {
        "default": {},
        "layers_2": {"network": {"num_layers": 2}},
        "given": {"network": {"router": "given"}},
        "random": {"network": {"router": "random"}},
        "sum": {"network": {"centre": False, "pulse": "sum"}},
        "short": {"clips": {"num_frames": 4}, "training": {"epochs": 1}},
        "udl": {"apart": {"variant": "udl", "rate": 0.05}},
    },
}
REPOSITORY = Path(__file__).resolve().parent.parent
NEURONS, TRAININGS = REPOSITORY / "data" / "neurons", REPOSITORY / "data" / "trainings"
DESCRIPTIONS = {
    path.stem: tomllib.loads(path.read_text())
    for path in sorted(TRAININGS.glob("*.toml"))
    if 'task = "neurons"' in path.read_text()
}


def described(variant="default", seed=0, description=TINY, cache=CACHE):
    from gatescope.trainings.descriptions import described_run

    return described_run(description, variant=variant, seed=seed, cache=cache)


def trained(folder, variant="default", **settings):
    """The rows of the training in `folder`, and what it left."""
    from gatescope.models import SpecialisedNetwork
    from gatescope.trainings.neurons import RESULTS, NeuronResults
    from gatescope.trainings.runs import run

    rows = list(run(described(variant, **settings), folder))
    return rows, SpecialisedNetwork.load(folder / "network.safetensors"), NeuronResults.load(folder / RESULTS)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "layers_2-0"
    return folder, *trained(folder, "layers_2")


def random_network(seed=0, **settings):
    """A network whose norms have seen nothing, in evaluation; clips of noise, and their labels."""
    from gatescope.models import DSTSConfig, SpecialisedNetwork

    torch.manual_seed(seed)
    config = {"num_classes": 3, "channels": 4, "num_neurons": 3, "num_positions": 48, **settings}
    clips = TensorDataset(torch.randn(9, 1, 3, 8, 8), torch.arange(9) % 3)
    return SpecialisedNetwork(DSTSConfig(**config)).eval(), clips


# Trainings


@pytest.mark.slow
def test_a_training_leaves_card_rows_and_what_the_neurons_did(finished):
    folder, rows, network, kept = finished
    assert sorted(path.name for path in folder.iterdir() if path.suffix in (".json", ".npz", ".safetensors")) == [
        "network.json",
        "network.safetensors",
        "neurons.npz",
        "rows.json",
    ]
    assert [row.epoch for row in rows] == [1, 2] and rows[1].step == 4
    clips = described("layers_2").valid_clips
    x, labels = torch.stack([clip for clip, _ in clips]), np.array([label for _, label in clips])
    with torch.no_grad():
        logits = network(x)
        np.testing.assert_array_equal(kept.predicted, logits.argmax(1))
        first = network.dsts.layer1
        features = network.backbone(x)
        pulses = torch.stack([first.pulses(features), network.dsts.layer2.pulses(first(features))])
    np.testing.assert_array_equal(kept.labels, labels)
    np.testing.assert_allclose(kept.pulses, pulses, rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(kept.chosen, pulses.argmax(2))
    gates = [[neuron.gates.detach().numpy() for neuron in layer.neurons] for layer in network.dsts.layers]
    np.testing.assert_allclose(kept.gates, gates, rtol=1e-3, atol=1e-4)
    assert kept.chosen.dtype == kept.labels.dtype == np.int64 and kept.pulses.dtype == np.float32

    metrics, right = network.card["metrics"], kept.predicted == labels
    family = labels // 3
    assert metrics["top1"] == kept.accuracy == pytest.approx(right.mean())
    assert metrics["by_family"] == pytest.approx([right[family == number].mean() for number in range(4)])
    assert metrics["class_mean"] == pytest.approx(np.mean([right[labels == c].mean() for c in range(12)]))
    assert metrics["loss"] == pytest.approx(float(torch.nn.functional.cross_entropy(logits, torch.tensor(labels))))
    assert metrics["effective_neurons"] == [effective_neurons(layer, 3) for layer in kept.chosen]
    assert metrics["nmi_family"] == [mutual_information(layer, family) for layer in kept.chosen]
    assert metrics["temporal_fraction"] == (np.array(gates) > 0).mean(2).tolist()
    assert metrics["clips"] == 14
    assert rows[-1].valid_accuracy == metrics["top1"] and rows[-1].valid_loss == pytest.approx(metrics["loss"])
    assert rows[-1].valid_effective_neurons == pytest.approx(np.mean(metrics["effective_neurons"]))
    assert rows[-1].valid_nmi == pytest.approx(np.mean(metrics["nmi_class"]))
    assert rows[-1].valid_gate_size == pytest.approx(np.abs(gates).mean(), rel=1e-6)
    assert rows[-1].score.startswith("valid ")


def test_a_finished_training_is_read_and_another_refused(finished):
    from gatescope.trainings.runs import run

    folder, rows, *_ = finished
    assert list(run(described("layers_2"), folder)) == rows
    for other in (described(), described("layers_2", seed=1)):
        with pytest.raises(ValueError, match="another training"):
            list(run(other, folder))


def without_times(rows):
    return [{name: value for name, value in vars(row).items() if name != "seconds"} for row in rows]


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["default", "udl", "given", "random"])
def test_a_training_that_was_stopped_ends_with_the_same_bits(tmp_path, variant):
    from gatescope.trainings.runs import run

    rows, network, _ = trained(tmp_path / "whole", variant)
    begun = run(described(variant), tmp_path / "stopped")
    next(begun)
    begun.close()
    torch.rand(7)  # The caller's random numbers are no part of it.
    again = trained(tmp_path / "stopped", variant)[0]
    assert without_times(again) == without_times(rows)
    for name in ("network.safetensors", "neurons.npz"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "stopped" / name).read_bytes()
    cards = [json.loads((tmp_path / name / "network.json").read_text()) for name in ("whole", "stopped")]
    assert cards[0]["metrics"] == cards[1]["metrics"]
    assert network.config == described(variant).start


@pytest.mark.slow
def test_apart_every_clip_is_learnt_from_once_and_all_parameters_move(tmp_path):
    from gatescope.models import SpecialisedNetwork

    arguments = described("udl")
    torch.manual_seed(0)
    before = SpecialisedNetwork(arguments.start).state_dict()
    rows, network, _ = trained(tmp_path, "udl")
    for row in rows:
        assert row.accuracy * 12 == pytest.approx(round(row.accuracy * 12)) and row.accuracy <= 1
    assert rows[0].loss == pytest.approx(math.log(12), abs=1)
    after = network.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert {"backbone.0.weight", "head.weight", "dsts.layer1.centre.running_mean"} <= moved
    assert any(name.endswith("scoring") for name in moved) and any(name.endswith("gates") for name in moved)


@pytest.mark.parametrize("recipe", ["sgd", "adamw"])
def test_a_neuron_that_served_no_clip_stays_as_it_is(recipe):
    """Momentum of an earlier step, in which it served, and weight decay would move it."""
    from lightning_fabric import Fabric

    from gatescope.trainings.neurons import Specialisation
    from gatescope.trainings.recipes import TrainConfig, make_optimizer

    network, clips = random_network(router="given")
    task, fabric = Specialisation(range(3), clips), Fabric(accelerator="cpu", devices=1)
    config = TrainConfig(recipe=recipe, rate=0.1, weight_decay=0.1)
    module, optimizer = fabric.setup(network.train(), make_optimizer(network, config))
    neurons, moved = network.dsts.layer1.neurons, []
    for label in (1, 0):
        before = [copy.deepcopy(neuron.state_dict()) for neuron in neurons]
        for _ in task.steps(fabric, module, clips.tensors[0], torch.full((9,), label)):
            optimizer.step()
            optimizer.zero_grad()
        states = zip(before, (neuron.state_dict() for neuron in neurons), strict=True)
        moved.append([any(not torch.equal(old[name], new[name]) for name in old) for old, new in states])
    assert moved == [[False, True, False], [True, False, False]]


@pytest.mark.slow
def test_a_route_that_is_given_is_the_clips_family(tmp_path):
    _, network, kept = trained(tmp_path, "given")
    np.testing.assert_array_equal(kept.chosen[0], kept.labels // 3 % 3)
    assert network.card["metrics"]["nmi_family"][0] > 0.8


def test_pulses_that_16_bits_do_not_hold_are_kept_in_32(tmp_path):
    from gatescope.trainings.neurons import RESULTS, NeuronResults

    pulses = np.array([[[1e5, -3.0]]], np.float32)
    numbers = np.zeros((1, 1), np.int64)
    gates = np.zeros((1, 2, 3), np.float32)
    found = NeuronResults(labels=numbers[0], predicted=numbers[0], pulses=pulses, chosen=numbers, gates=gates)
    found.save(tmp_path / RESULTS)
    back = NeuronResults.load(tmp_path / RESULTS)
    np.testing.assert_array_equal(back.pulses, pulses)
    assert back.accuracy == 1 and back.chosen.dtype == np.int64


@pytest.mark.slow
def test_a_family_without_a_clip_has_no_accuracy(tmp_path):
    description = {**TINY, "clips": {**TINY["clips"], "num_valid": 2}}
    metrics = trained(tmp_path, description=description)[1].card["metrics"]
    assert None in metrics["by_family"] and any(value is not None for value in metrics["by_family"])


# Serving


@pytest.mark.parametrize("router", ["learned", "random", "all", "soft", "given"])
def test_serving_changes_nothing_and_gives_the_same_again(router):
    from gatescope.trainings.neurons import serve

    network, clips = random_network(router=router)
    network.train()
    state, random_numbers = copy.deepcopy(network.state_dict()), torch.get_rng_state()
    found, loss = serve(network, clips, range(3))
    again, loss_again = serve(network, clips, range(3))
    assert loss == loss_again
    for name, values in vars(found).items():
        np.testing.assert_array_equal(values, getattr(again, name))
    assert network.training and torch.equal(torch.get_rng_state(), random_numbers)
    assert all(torch.equal(state[name], values) for name, values in network.state_dict().items())
    assert not network.dsts.layer1.hooks["pulses"]._forward_hooks
    with pytest.raises(ValueError, match="no clip to evaluate"):
        serve(network, TensorDataset(torch.zeros(0, 1, 3, 8, 8), torch.zeros(0)), range(3))


@pytest.mark.slow
@pytest.mark.parametrize("router", ["learned", "given", "random"])
def test_norms_settle_to_the_statistics_of_what_they_see_in_evaluation(router):
    from gatescope.models.dsts_parts import MaskedBatchNorm
    from gatescope.recordings import record
    from gatescope.trainings.neurons import route_of, settle

    network, clips = random_network(router=router, num_layers=2)
    before, random_numbers = copy.deepcopy(network.state_dict()), torch.get_rng_state()
    settle(network.train(), clips, range(3))
    assert network.training and torch.equal(torch.get_rng_state(), random_numbers)
    norms = [module for module in network.modules() if isinstance(module, MaskedBatchNorm)]
    assert all(norm.momentum == 0.1 and not norm._forward_pre_hooks for norm in norms)
    changed = {name for name, values in network.state_dict().items() if not torch.equal(before[name], values)}
    assert changed and all("dsts" in name and "running" in name for name in changed)

    x, target = clips.tensors
    network.eval()
    torch.manual_seed(0)  # The draws of a router that is random.
    with torch.no_grad(), record(network) as recording:
        network(x, route_of(network, target, range(3)))
    layer = network.dsts.layer1
    pooled = recording["features"].mean((1, 3, 4))
    torch.testing.assert_close(layer.centre.running_mean, pooled.mean(0))
    torch.testing.assert_close(layer.centre.running_var, pooled.var(0))
    chosen = recording["dsts.layer1.choice"].argmax(2).flatten()
    served = set()
    for number, neuron in enumerate(layer.neurons):
        own = chosen == number
        if not own.any():
            assert not any(f"layer1.neurons.{number}." in name for name in changed)
            continue
        served.add(number)
        maps = recording["dsts.layer1.x_t"][own].transpose(1, 2)
        maps = torch.nn.functional.conv3d(maps, neuron.temporal, padding=(1, 0, 0))
        torch.testing.assert_close(neuron.norm_t.running_mean, maps.mean((0, 2, 3, 4)), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(neuron.norm_t.running_var, maps.transpose(0, 1).flatten(1).var(1))
    assert len(served) > 1
    state = copy.deepcopy(network.state_dict())
    settle(network, clips, range(3))
    assert not network.training
    for name, values in network.state_dict().items():
        torch.testing.assert_close(values, state[name], rtol=1e-4, atol=1e-5)


def test_norms_settle_to_means_over_batches():
    from gatescope.trainings.neurons import settle

    network, _ = random_network(num_neurons=1, gates="both", centre=True, channels=2, backbone="none")
    x = torch.randn(450, 2, 1, 2, 2)
    settle(network, TensorDataset(x, torch.zeros(450, dtype=torch.int64)), range(3))
    parts = x.mean((2, 3, 4)).split(200)
    centre = network.dsts.layer1.centre
    torch.testing.assert_close(centre.running_mean, torch.stack([part.mean(0) for part in parts]).mean(0))
    torch.testing.assert_close(centre.running_var, torch.stack([part.var(0) for part in parts]).mean(0))


@pytest.mark.slow
def test_what_a_training_leaves_has_settled(finished):
    from gatescope.models import SpecialisedNetwork
    from gatescope.trainings.neurons import settle

    folder, arguments = finished[0], described("layers_2")
    network = SpecialisedNetwork.load(folder / "network.safetensors")
    state = copy.deepcopy(network.state_dict())
    settle(network, arguments.train_clips, arguments.task.families)
    for name, values in network.state_dict().items():
        torch.testing.assert_close(values, state[name], rtol=1e-4, atol=1e-5)


# Descriptions


@pytest.mark.slow
def test_variants_change_what_they_name_alone():
    plain, short = described(seed=1), described("short", seed=1)
    assert short.train_clips[0][0].shape == (1, 4, 12, 12) and plain.train_clips[0][0].shape == (1, 3, 12, 12)
    assert short.start == plain.start and short.config.epochs == 1 and plain.config.epochs == 2
    assert described("sum").start.pulse == "sum" and described("udl").start == plain.start
    assert described("udl").task.apart == {"variant": "udl", "rate": 0.05} and plain.task.apart is None
    assert torch.equal(described(seed=0).valid_clips.x, plain.valid_clips.x)
    assert "synthetic" in plain.data["source"] and plain.data["variant"] == "default"
    assert plain.task.families == (0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3) and plain.start.num_classes == 12


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"variants": None}, ValueError, "variants"),
        ({"network": {"neurons": 4}}, ValueError, "neurons"),
        ({"network": {"router": "best"}}, LookupError, "no router 'best'"),
        ({"clips": {"num_train": 12, "num_valid": 12, "frames": 3}}, TypeError, "frames"),
        ({"training": {"epochs": 0}}, ValueError, "epochs"),
        ({"clips": {"num_train": 1, "num_valid": 1, "checkpoint": "nobody", "pool": 2}}, FileNotFoundError, "nobody"),
    ],
    ids=str,
)
def test_descriptions_that_cannot_be_are_refused(change, error, says):
    description = {name: value for name, value in {**TINY, **change}.items() if value is not None}
    with pytest.raises(error, match=says):
        described(description=description)
    with pytest.raises(LookupError, match="no variant 'both'; there are default"):
        described("both")


def test_a_way_to_learn_apart_that_there_is_not_is_refused(tmp_path):
    from gatescope.trainings.runs import run

    description = {**TINY, "variants": {"default": {"apart": {"rate": 0.05, "variant": "best"}}}}
    with pytest.raises(LookupError, match="no 'best'; there are"):
        list(run(described(description=description), tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "variant"), [(name, variant) for name in DESCRIPTIONS for variant in DESCRIPTIONS[name]["variants"]]
)
def test_every_variant_that_is_described_builds_a_network(name, variant, monkeypatch):
    from gatescope.trainings import descriptions
    from gatescope.trainings.udl import UpstreamDownstream

    # Of frozen features their size alone is asked for here: to render and to encode clips takes long.
    features = torch.zeros(2, 64, 3, 8, 8)
    monkeypatch.setattr(descriptions, "FrozenFeatures", lambda *args, **settings: TensorDataset(features, features))
    description = copy.deepcopy(DESCRIPTIONS[name])
    description["clips"].update(num_train=2, num_valid=1)
    arguments = described(variant, description=description)
    network, task = arguments.task.begin(arguments.start, arguments.train_clips), arguments.task
    x, target = torch.stack([arguments.train_clips[n][0] for n in range(2)]), torch.tensor([0, 1])
    assert task.logits(network.eval(), x, target).shape == (2, len(arguments.data["names"]))
    assert len(task.families) == len(arguments.data["names"]) == arguments.start.num_classes
    if task.apart:
        UpstreamDownstream(network, torch.nn.functional.cross_entropy, lambda name: "gates" in name, **task.apart)


def test_confusable_gestures_have_the_family_of_their_name(monkeypatch):
    from gatescope.loaders import CONFUSABLE
    from gatescope.trainings import descriptions
    from rendered_people.labels import JESTER_LABELS

    features = torch.zeros(2, 64, 3, 8, 8)
    monkeypatch.setattr(descriptions, "FrozenFeatures", lambda *args, **settings: TensorDataset(features, features))
    arguments = described(description=DESCRIPTIONS["fine_gestures"])
    words = {
        "zoom": ("Zooming",),
        "sideways": ("Left", "Right"),
        "up and down": ("Up", "Down"),
        "push and pull": ("Pushing", "Pulling"),
        "roll": ("Rolling",),
        "turn": ("Turning",),
    }
    names = arguments.data["names"]
    assert len(names) == 20 and set(names) <= set(JESTER_LABELS)
    for label, name in enumerate(names):
        family = list(CONFUSABLE)[arguments.task.families[label]]
        assert any(word in name.split() for word in words[family]), (name, family)


# What is kept

KEPT = sorted(card.parent for card in NEURONS.rglob("network.json"))


def test_what_is_kept_of_neurons_is_small():
    files = [path for path in NEURONS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 6_000_000


@pytest.mark.slow
@pytest.mark.parametrize("folder", KEPT, ids=lambda folder: "/".join(folder.parts[-2:]))
def test_kept_results_are_those_of_the_description(folder):
    from gatescope.models import DSTSConfig
    from gatescope.trainings.neurons import RESULTS, NeuronResults, NeuronRow
    from gatescope.trainings.results import read_card, read_rows

    card = read_card(folder, weights=(folder / "network.safetensors").exists())
    description, variant = DESCRIPTIONS[folder.parent.name], card["data"]["variant"]
    for name in ("clips", "network", "training"):
        assert card["data"][name] == description[name]
    varied = description["variants"][variant]
    assert card["data"]["variants"][variant] == varied
    assert folder.name == f"{variant}-{card['seed']}"
    config = DSTSConfig.from_json(card["config"])
    wanted = {**description["network"], **varied.get("network", {})}
    assert {name: card["config"][name] for name in wanted} == wanted
    assert "synthetic" in card["data"]["source"] or "rendered people only" in card["data"]["warning"]
    found, metrics = NeuronResults.load(folder / RESULTS), card["metrics"]
    num_layers, num_clips = config.num_layers, description["clips"]["num_valid"]
    assert found.pulses.shape == (num_layers, num_clips, config.num_neurons)
    assert found.chosen.shape == (num_layers, num_clips) and len(found.labels) == num_clips
    assert found.gates.shape == (num_layers, config.num_neurons, config.channels)
    assert found.accuracy == metrics["top1"] and found.labels.max() < config.num_classes
    assert metrics["effective_neurons"] == pytest.approx(
        [effective_neurons(layer, config.num_neurons) for layer in found.chosen]
    )
    if config.router == "learned":
        # Two pulses may be alike in 16 bits.
        best = np.take_along_axis(found.pulses, found.chosen[..., None], 2)[..., 0]
        np.testing.assert_allclose(best, found.pulses.max(2), rtol=1e-3, atol=1e-3)
    epochs = {**description["training"], **varied.get("training", {})}["epochs"]
    assert len(read_rows(folder, NeuronRow)) == epochs
