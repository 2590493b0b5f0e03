"""The two recipes: their rates, their updates, and which weights shrink."""

import json
import math

import pytest
import torch
from torch import nn

# The authors' learning rates, as their own function gives them (TC 67-74, TA 57-64): (steps, step, rate).
AUTHORS_RATES = [
    (179380, 0, 0.001),
    (179380, 1, 0.0009999949877341364),
    (179380, 89690, 0.0005363508445368785),
    (179380, 179379, 1.0186710555266379e-06),
    (89680, 4484, 0.0009549304962398784),
    (89680, 85196, 6.839667824129455e-05),
    (1000, 10, 0.0009910044879294214),
    (1000, 250, 0.0007721176172168469),
]


@pytest.fixture
def recipes():
    from gatescope.trainings import recipes

    return recipes


def test_sgd_takes_the_authors_rate_at_every_step(recipes):
    config = recipes.TrainConfig(recipe="sgd")
    for num_steps, step, rate in AUTHORS_RATES:
        assert config.rate_at(step, num_steps) == pytest.approx(rate, rel=1e-12)


def test_every_one_of_the_authors_rates_is_reproduced(recipes, shared):
    config = recipes.TrainConfig(recipe="sgd")
    runs = json.loads((shared / "reference" / "learning_rate.json").read_text())["runs"]
    for run in runs:
        for step, rate in run["values"]:
            assert config.rate_at(step, run["decay_steps"]) == pytest.approx(rate, rel=1e-12)


@pytest.mark.parametrize("num_steps", [2, 10, 97])
def test_adamw_takes_the_rates_of_one_cycle(recipes, num_steps):
    config = recipes.TrainConfig(recipe="adamw", rate=0.02)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.02, total_steps=num_steps, pct_start=0.3, cycle_momentum=False
    )
    for step in range(num_steps):
        # torch puts the peak at the step before three tenths of them, we at three tenths of the way.
        expected = cycle.get_last_lr()[0]
        assert config.rate_at(step, num_steps) == pytest.approx(expected, abs=0.02 * 3 / num_steps)
        optimizer.step()
        cycle.step()
    assert config.rate_at(num_steps - 1, num_steps) == pytest.approx(0.02 / 250_000)
    assert config.rate_at(0, num_steps) == pytest.approx(0.02 / 25)


def test_one_cycle_rises_for_three_tenths_and_then_falls_along_half_cosines(recipes):
    """By the sine of the way that is gone, where the code has the cosine."""
    for done in (0.05, 0.15, 0.24, 0.26, 0.29):
        risen = math.sin(math.pi / 2 * done / 0.3) ** 2
        assert recipes.one_cycle(done, 2.0) == pytest.approx(0.08 + 1.92 * risen, rel=1e-12)
    for done in (0.3, 0.31, 0.65, 0.9, 1.0):
        fallen = math.sin(math.pi / 2 * (done - 0.3) / 0.7) ** 2
        assert recipes.one_cycle(done, 2.0) == pytest.approx(2 - (2 - 8e-6) * fallen, rel=1e-12)


def test_a_training_of_one_step_has_a_rate(recipes):
    for recipe in recipes.RECIPES:
        assert recipes.TrainConfig(recipe=recipe).rate_at(0, 1) > 0


def test_momentum_keeps_the_rate_inside_the_velocity(recipes):
    """By hand in float64, with a rate that changes; torch's own SGD ends elsewhere."""
    network = nn.Linear(1, 1, bias=False).double()
    other = nn.Linear(1, 1, bias=False).double()
    other.load_state_dict(network.state_dict())
    weight, velocity = network.weight.item(), 0.0
    optimizer = recipes.make_optimizer(network, recipes.TrainConfig(recipe="sgd"))
    torchs = torch.optim.SGD(other.parameters(), lr=1.0, momentum=0.9, weight_decay=1e-4)
    for step in range(20):
        rate = 0.1 / (1 + step)
        for rule, layer in ((optimizer, network), (torchs, other)):
            rule.param_groups[0]["lr"] = rate
            rule.zero_grad()
            (layer.weight - 3).square().sum().backward()
            rule.step()
        gradient = 2 * (weight - 3) + 1e-4 * weight
        velocity = 0.9 * velocity - rate * gradient
        weight += velocity
    assert network.weight.item() == pytest.approx(weight, rel=1e-12)
    assert other.weight.item() != pytest.approx(weight, rel=1e-3)


@pytest.mark.parametrize("recipe", ["sgd", "adamw"])
def test_kernels_shrink_and_nothing_else_does(recipes, recipe):
    network = nn.Sequential(nn.Conv2d(2, 2, 3), nn.BatchNorm2d(2), nn.Linear(2, 2))
    for weight in network.parameters():
        nn.init.ones_(weight)
        weight.grad = torch.zeros_like(weight)
    recipes.make_optimizer(network, recipes.TrainConfig(recipe=recipe)).step()
    shrunk = {name for name, weight in network.named_parameters() if (weight < 1).all()}
    assert shrunk == {"0.weight", "2.weight"}
    assert all((weight == 1).all() for name, weight in network.named_parameters() if name not in shrunk)


def test_a_weight_without_gradient_stays(recipes):
    network = nn.Linear(2, 2)
    before = network.weight.clone()
    recipes.make_optimizer(network, recipes.TrainConfig(recipe="sgd")).step()
    assert torch.equal(network.weight, before)


def test_gate_and_attention_kernels_of_every_cell_shrink_and_their_biases_do_not(recipes):
    from gatescope.models import CELLS, RecurrentLayer

    for cell in CELLS:
        layer = RecurrentLayer(cell, in_channels=2, hidden_channels=2)
        kernels, others = recipes.make_optimizer(layer, recipes.TrainConfig()).param_groups
        names = {id(weight): name for name, weight in layer.named_parameters()}
        assert {names[id(weight)].rpartition(".")[2] for weight in kernels["params"]} == {"weight"}
        assert {names[id(weight)].rpartition(".")[2] for weight in others["params"]} == {"bias"}
        assert kernels["weight_decay"] > 0
        assert others["weight_decay"] == 0


def test_a_recipe_gives_the_values_that_are_left_open(recipes):
    config = recipes.TrainConfig(recipe="sgd", weight_decay=0.0)
    assert (config.rate, config.weight_decay) == (1e-3, 0.0)
    assert recipes.TrainConfig().rate == 5e-3


@pytest.mark.parametrize(
    ("wrong", "error", "says"),
    [
        ({"recipe": "adam"}, ValueError, "'sgd' or 'adamw'"),
        ({"precision": "16"}, ValueError, "bf16-mixed"),
        ({"transform": "mirrored"}, ValueError, "'shuffled', 'single' or 'reversed'"),
        ({"epochs": 0}, ValueError, "epochs\n +Input should be greater than 0"),
        ({"batch_size": 0}, ValueError, "batch_size\n +Input should be greater than 0"),
        ({"seed": -1}, ValueError, "seed\n +Input should be greater than or equal to 0"),
        ({"rate": 0.0}, ValueError, "rate\n +Input should be greater than 0"),
        ({"rate": float("nan")}, ValueError, "rate\n +Input should be a finite number"),
        ({"rate": float("inf")}, ValueError, "rate\n +Input should be a finite number"),
        ({"weight_decay": float("inf")}, ValueError, "finite number"),
        ({"max_norm": 0.0}, ValueError, "max_norm\n +Input should be greater than 0"),
        ({"weight_decay": -1.0}, ValueError, "greater than or equal to 0"),
        ({"epoch": 3}, ValueError, "epoch\n +Unexpected keyword argument"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused(recipes, wrong, error, says):
    with pytest.raises(error, match=says):
        recipes.TrainConfig(**wrong)


@pytest.mark.parametrize("name", ["epochs", "batch_size", "seed"])
def test_a_float_from_a_file_is_no_whole_number(recipes, name):
    with pytest.raises(ValueError, match=rf"{name}\n +Input should be a valid integer"):
        recipes.TrainConfig(**{name: 2.0})


def test_bfloat16_is_taken_only_where_the_processor_has_it(recipes, monkeypatch):
    cpu = torch.device("cpu")
    for known, expected in (({}, "32-true"), ({"avx512_bf16": True}, "bf16-mixed"), ({"amx_bf16": True}, "bf16-mixed")):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda known=known: known)
        assert recipes.choose_precision("auto", cpu) == expected
    assert recipes.choose_precision("32-true", cpu) == "32-true"
