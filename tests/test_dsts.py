"""Specialised neurons: how they are chosen, what their gates and operators do, who learns and who is left alone."""

import copy
import json
import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from scipy.stats import norm as normal
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

from gatescope.files import sha256_of
from gatescope.loaders import PermutationFamilies
from gatescope.models import DSTSConfig, GestureNetwork, NetworkConfig, SpecialisedNetwork
from gatescope.models.dsts import upstream_names
from gatescope.models.dsts_parts import (
    MaskedBatchNorm,
    gumbel_softmax,
    one_hot,
    pulses_of,
    saturating_sigmoid,
    semhash,
    soft_half,
    straight_through,
)
from gatescope.recordings import count_parameters, hook_points, intervene, record
from gatescope.trainings.neurons import Specialisation
from gatescope.trainings.recipes import TrainConfig, make_optimizer
from gatescope.trainings.udl import FORMS, UpstreamDownstream
from slow_dsts import slow_network, slow_pulse

TINY = {"num_classes": 3, "num_neurons": 3, "channels": 4, "num_positions": 48}
TIGHT = {"rtol": 1e-11, "atol": 1e-12}
SATURATED = math.log(11)  # the saturating sigmoid is 0 up to its negative, and 1 from there on


def tiny_network(*, seed=0, **settings):
    """A network of a few weights, all of them random, in float64; its gates are far enough from 0 to tell apart."""
    torch.manual_seed(seed)
    network = SpecialisedNetwork(DSTSConfig(**{**TINY, **settings})).double()
    with torch.no_grad():
        for name, values in [*network.named_parameters(), *network.named_buffers()]:
            part = name.rpartition(".")[2]
            if part == "gates":
                values.normal_()
            elif part == "running_var" or (part == "weight" and "norm" in name):
                values.uniform_(0.5, 1.5)
            elif part in ("running_mean", "bias"):
                values.normal_(std=0.3)
    return network.eval()


def some_clips(batch=5, channels=1, time=3, size=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, channels, time, size, size, generator=generator, dtype=torch.float64)


def some_features(batch=5, **settings):
    return some_clips(batch, channels=4, size=4, **settings).relu()


def seeded(network, *args, seed=0, **settings):
    """What the network gives under the noise of a seed."""
    torch.manual_seed(seed)
    return network(*args, **settings)


def noise_of(config, batch, seed=0, *, route=None):
    """What a network in training draws under a seed, layer by layer."""
    torch.manual_seed(seed)
    drawn = []
    for _ in range(config.num_layers):
        layer = {"gumbel": np.zeros((batch, config.num_neurons)), "gates": None, "soft": np.zeros(batch, bool)}
        if route is None and config.router in ("learned", "soft"):
            exponential = torch.empty(batch, config.num_neurons, dtype=torch.float64).exponential_()
            layer["gumbel"] = -np.log(exponential.numpy())
        if config.gates == "learned" and config.semhash == "sigmoid":
            layer["gates"] = np.zeros((batch, config.channels))
        elif config.gates == "learned":
            layer["gates"] = torch.randn(batch, config.channels, dtype=torch.float64).numpy()
            if config.semhash == "half":
                layer["soft"] = (torch.randperm(batch) < batch // 2).numpy()
        drawn.append(layer)
    return drawn


def forced(*numbers):
    """A change of `choice` to these neurons in turn, with the gradient of the network's own."""

    def change(choice):
        wanted = one_hot(torch.tensor(numbers).repeat(len(choice))[: len(choice)], choice)
        return choice + (wanted - choice).detach()

    return change


def of_neuron(network, number, layer=1):
    """All tensors of a neuron by their names, as they stand now."""
    prefix = f"dsts.layer{layer}.neurons.{number}."
    state = network.state_dict()
    return {name.removeprefix(prefix): state[name].clone() for name in state if name.startswith(prefix)}


def trained(network):
    """Names of all parameters that the last loss gave a gradient other than zero."""
    return {name for name, weight in network.named_parameters() if weight.grad is not None and weight.grad.any()}


# Pulses


@pytest.mark.parametrize("mean", [True, False])
def test_a_pulse_is_what_its_convolution_comes_to(mean):
    x, scoring = some_clips(2, channels=4, size=3), torch.randn(3, 5, 4, 1, 1, 1, dtype=torch.float64)
    found = pulses_of(scoring, x, mean=mean)
    slow = [[slow_pulse(kernel.numpy(), clip.numpy(), mean) for kernel in scoring] for clip in x]
    np.testing.assert_allclose(found, slow, rtol=1e-12, atol=1e-12)
    fast = torch.stack([F.conv3d(x, kernel).sum((1, 2, 3, 4)) for kernel in scoring], 1)
    torch.testing.assert_close(found, fast / (5 * 27 if mean else 1), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("settings", [{}, {"centre": False}, {"centre": False, "pulse": "sum"}], ids=str)
def test_pulses_do_not_see_where_or_when(settings):
    layer, x = tiny_network(backbone="none", **settings).dsts.layer1, some_features(time=4)
    pulses = layer.pulses(x)
    for axis in (2, 3, 4):
        torch.testing.assert_close(layer.pulses(x[..., torch.randperm(4)].transpose(axis, 4)), pulses, **TIGHT)
    shuffled = x.flatten(2)[..., torch.randperm(64)].unflatten(2, x.shape[2:])
    torch.testing.assert_close(layer.pulses(shuffled), pulses, **TIGHT)


def test_pulses_are_linear_and_centred_ones_up_to_a_constant():
    x, y = some_features(), some_features(seed=1)
    plain, centred = (tiny_network(backbone="none", centre=centre).dsts.layer1 for centre in (False, True))
    torch.testing.assert_close(plain.pulses(2 * x - 3 * y), 2 * plain.pulses(x) - 3 * plain.pulses(y), **TIGHT)
    offset = centred.pulses(torch.zeros_like(x))
    torch.testing.assert_close(
        centred.pulses(2 * x - 3 * y) - offset,
        2 * (centred.pulses(x) - offset) - 3 * (centred.pulses(y) - offset),
        **TIGHT,
    )


@pytest.mark.parametrize("settings", [{}, {"centre": False}, {"centre": False, "pulse": "sum"}], ids=str)
def test_pulses_begin_with_a_spread_near_one(settings):
    """With more the Gumbel noise, of standard deviation 1.28, would decide nothing."""
    torch.manual_seed(0)
    network = SpecialisedNetwork(DSTSConfig(num_classes=3, num_neurons=64, backbone="none", **settings))
    pulses = network.train().dsts.layer1.pulses(torch.randn(64, 16, 8, 8, 8).relu())
    assert 0.1 < pulses.std(1).mean() < 3


# Choice


@pytest.mark.parametrize("tau", [0.1, 1.0, 5.0])
def test_neurons_are_drawn_as_softmax_says_at_every_temperature(tau):
    pulses, num_draws = torch.tensor([0.5, -1.0, 2.0, 0.0]), 40_000
    torch.manual_seed(0)
    drawn = gumbel_softmax(pulses.expand(num_draws, -1), tau)
    torch.testing.assert_close(drawn.sum(1), torch.ones(num_draws))
    counts, chances = drawn.argmax(1).bincount(minlength=4), pulses.softmax(0)
    sigma = (num_draws * chances * (1 - chances)).sqrt()
    assert ((counts - num_draws * chances).abs() < 4 * sigma).all()


def test_the_temperature_changes_no_draw():
    chosen = []
    for tau in (0.1, 1.0, 5.0):
        network = tiny_network(tau=tau).train()
        with torch.no_grad(), record(network, "*.choice") as recording:
            seeded(network, some_clips())
        chosen.append(recording["dsts.layer1.choice"])
    assert torch.equal(chosen[0], chosen[1]) and torch.equal(chosen[1], chosen[2])


def test_a_draw_is_one_hot_with_the_gradient_of_the_soft_one():
    tau, pulses = 0.7, torch.randn(6, 4, dtype=torch.float64)
    soft = seeded(gumbel_softmax, pulses, tau)

    def choose(pulses):
        y = seeded(gumbel_softmax, pulses, tau)
        return straight_through(one_hot(y.argmax(1), y), y)

    choice = choose(pulses)
    assert torch.equal(choice, F.one_hot(soft.argmax(1), 4).double())
    assert (choice.sum(1) == 1).all()
    jacobian = torch.autograd.functional.jacobian(lambda pulses: choose(pulses).sum(0), pulses)
    for n in range(6):
        for i in range(4):
            for j in range(4):
                expected = soft[n, i] * (float(i == j) - soft[n, j]) / tau
                assert float(jacobian[i, n, j]) == pytest.approx(float(expected), rel=1e-12)


def test_scoring_kernels_learn_what_every_neuron_would_have_made_of_a_clip():
    """Down the soft draw to the pulse, whose derivative by any row of the kernel is the mean of the features."""
    network, x = tiny_network(backbone="none", centre=False, tau=0.7).train(), some_features()
    with record(network, "*.pulses", "*.choice", "*.z_s", "*.z_t", gradients=True) as recording:
        loss = seeded(network, x).square().sum()
    by_choice = recording.gradient("dsts.layer1.choice", loss)[:, 0]
    loss.backward()
    layer, w = network.dsts.layer1, network.head.weight
    # a_i acts on a logit as what the neuron makes of the clip, all of its neurons, chosen or not.
    z = (recording["dsts.layer1.z_s"] + recording["dsts.layer1.z_t"]).transpose(1, 2).chunk(3)
    each = torch.stack([neuron.fuse(maps).mean((2, 3, 4)) @ w.T for neuron, maps in zip(layer.neurons, z, strict=True)])
    torch.testing.assert_close(by_choice, (each * 2 * seeded(network, x)).sum(2).T.detach(), **TIGHT)
    assert by_choice.ne(0).all()
    y = (
        (recording["dsts.layer1.pulses"][:, 0] + torch.from_numpy(noise_of(network.config, 5)[0]["gumbel"]))
        .div(0.7)
        .softmax(1)
    )
    by_pulse = y * (by_choice - (by_choice * y).sum(1, keepdim=True)) / 0.7
    for neuron, gradient in zip(layer.neurons, by_pulse.T, strict=True):
        expected = (gradient[:, None] * x.mean((2, 3, 4))).sum(0) / 4
        torch.testing.assert_close(neuron.scoring.grad.flatten(1), expected.expand(4, 4), **TIGHT)


@pytest.mark.parametrize("settings", [{}, {"router": "soft"}, {"router": "all"}, {"semhash": "sigmoid"}], ids=str)
def test_evaluation_takes_the_greatest_pulse_and_draws_nothing(settings):
    network, x = tiny_network(num_layers=2, **settings), some_clips()
    torch.manual_seed(3)
    before = torch.get_rng_state()
    with torch.no_grad(), record(network) as recording:
        first = network(x)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(network(x), first)
    for layer in ("layer1", "layer2"):
        pulses, choice = (recording[f"dsts.{layer}.{name}"][:, 0] for name in ("pulses", "choice"))
        if "router" not in settings:
            assert torch.equal(choice, F.one_hot(pulses.argmax(1), 3).double())
        else:
            expected = pulses.softmax(1) if settings["router"] == "soft" else torch.full((5, 3), 1 / 3).double()
            torch.testing.assert_close(choice, expected)


def test_equal_pulses_still_choose_one_neuron():
    network = tiny_network()
    for neuron in network.dsts.layer1.neurons:
        nn.init.zeros_(neuron.scoring)
    with torch.no_grad(), record(network, "*.choice") as recording:
        assert network(some_clips()).isfinite().all()
    assert (recording["dsts.layer1.choice"].sum(2) == 1).all()


def test_a_random_router_takes_every_neuron_alike():
    network = tiny_network(router="random")
    with torch.no_grad(), record(network, "*.choice") as recording:
        seeded(network, some_clips(3000, time=1, size=1))
    counts = recording["dsts.layer1.choice"].sum((0, 1))
    assert ((counts - 1000).abs() < 4 * math.sqrt(3000 * 2 / 9)).all()


@pytest.mark.parametrize("training", [False, True])
def test_a_router_that_is_given_its_routes_takes_them(training):
    network, x, route = tiny_network(router="given").train(training), some_clips(), torch.tensor([2, 0, 2, 1, 0])
    with record(network, "*.choice") as recording:
        network(x, route)
    assert torch.equal(recording["dsts.layer1.choice"][:, 0], F.one_hot(route, 3).double())
    with pytest.raises(ValueError, match="router is given: name a neuron for every clip"):
        network(x)


# Gates


def test_the_saturating_sigmoid_has_its_closed_forms():
    x = torch.linspace(-6, 6, 1001, dtype=torch.float64, requires_grad=True)
    alpha = saturating_sigmoid(x)
    (slope,) = torch.autograd.grad(alpha.sum(), x)
    assert round(SATURATED, 4) == 2.3979
    beyond = x.detach().abs() > SATURATED
    assert torch.equal(alpha[beyond], (x[beyond] > 0).double()) and (slope[beyond] == 0).all()
    inside = 1.2 * torch.exp(-x) / (1 + torch.exp(-x)) ** 2
    torch.testing.assert_close(slope[~beyond], inside[~beyond].detach(), rtol=1e-12, atol=0)
    ends = saturating_sigmoid(torch.tensor([-SATURATED, 0, SATURATED], dtype=torch.float64))
    torch.testing.assert_close(ends, torch.tensor([0, 0.5, 1], dtype=torch.float64), rtol=0, atol=1e-15)
    assert float(slope[500]) == pytest.approx(0.3, rel=1e-12)
    torch.testing.assert_close(alpha.flip(0), 1 - alpha, rtol=0, atol=1e-15)


@pytest.mark.parametrize(("g", "dead"), [(0.0, 0.0165), (1.0, 0.081), (-1.0, 0.081), (0.5, None), (4.0, None)])
def test_noisy_gates_have_the_chances_of_a_normal_distribution(g, dead):
    num_draws = 40_000
    torch.manual_seed(0)
    logits = torch.full((num_draws, 1), g, requires_grad=True)
    noise = torch.randn(num_draws, 1)
    hard, soft = (semhash(logits, noise, torch.full((num_draws,), kind)) for kind in (False, True))
    assert ((hard == 0) | (hard == 1)).all() and ((soft >= 0) & (soft <= 1)).all()
    # A gate has no gradient where its noise takes it into the flat parts.
    flat = 1 - (normal.cdf(SATURATED - g) - normal.cdf(-SATURATED - g))
    assert dead is None or flat == pytest.approx(dead, abs=5e-4)
    slopes = [torch.autograd.grad(b.sum(), logits)[0] for b in (hard, soft)]
    assert torch.equal(*slopes)
    assert torch.equal(slopes[0] == 0, (g + noise).abs() > SATURATED)
    for found, chance in ((hard.detach().mean(), normal.cdf(g)), ((slopes[0] == 0).float().mean(), flat)):
        assert abs(float(found) - chance) < 4 * math.sqrt(chance * (1 - chance) / num_draws)
    soft = soft.detach()
    assert g != 0 or abs(float(soft.mean()) - 0.5) < 4 * float(soft.std()) / math.sqrt(num_draws)


def test_each_clip_has_gates_of_its_kind():
    logits, noise = torch.randn(6, 4, dtype=torch.float64), torch.randn(6, 4, dtype=torch.float64)
    soft = torch.tensor([True, False, False, True, False, True])
    found = semhash(logits, noise, soft)
    assert torch.equal(found[soft], saturating_sigmoid((logits + noise)[soft]))
    assert torch.equal(found[~soft], ((logits + noise)[~soft] > 0).double())


@pytest.mark.parametrize("num_clips", [2, 3, 5, 32])
def test_exactly_half_of_a_batch_is_soft_and_another_half_each_time(num_clips):
    torch.manual_seed(0)
    drawn = torch.stack([soft_half(num_clips, torch.device("cpu")) for _ in range(200)])
    assert (drawn.sum(1) == num_clips // 2).all()
    chance = num_clips // 2 / num_clips
    assert ((drawn.float().mean(0) - chance).abs() < 4.5 * math.sqrt(chance * (1 - chance) / 200)).all()


def test_a_clip_alone_is_soft_by_a_coin():
    torch.manual_seed(0)
    drawn = torch.cat([soft_half(1, torch.device("cpu")) for _ in range(1000)])
    assert abs(int(drawn.sum()) - 500) < 4 * math.sqrt(250)


def test_gates_at_exactly_zero_are_spatial_in_evaluation():
    network = tiny_network(num_neurons=1)
    with torch.no_grad():
        network.dsts.layer1.neurons[0].gates.copy_(torch.tensor([0.0, 1e-9, -1e-9, -0.0]))
        with record(network, "*.gates") as recording:
            network(some_clips(1))
    assert recording["dsts.layer1.gates"].flatten().tolist() == [0, 1, 0, 0]


@pytest.mark.parametrize("semhash", ["half", "hard", "soft", "sigmoid"])
@pytest.mark.parametrize("training", [False, True])
def test_the_two_parts_of_the_features_add_up_to_them(semhash, training):
    network, x = tiny_network(semhash=semhash).train(training), some_clips()
    with torch.no_grad(), record(network) as recording:
        seeded(network, x)
    x_s, x_t, features, b = (recording[name] for name in ("dsts.layer1.x_s", "dsts.layer1.x_t", "features", GATES))
    num_visits = 15 if training else 5
    assert x_s.shape == x_t.shape == (num_visits, 3, 4, 4, 4) and b.shape == (num_visits, 1, 4)
    features = features.repeat(num_visits // 5, 1, 1, 1, 1)
    torch.testing.assert_close(x_s + x_t, features, rtol=1e-14, atol=0)
    torch.testing.assert_close(x_t, b[..., None, None] * features, rtol=1e-14, atol=0)
    hard = torch.isin(b, torch.tensor([0.0, 1.0]))
    assert hard.all() == (semhash == "hard" or (not training and semhash != "sigmoid"))


GATES = "dsts.layer1.gates"


def test_a_hard_gate_is_a_convolution_of_its_own_channels_alone():
    network, x = tiny_network(num_neurons=1), some_clips()
    neuron = network.dsts.layer1.neurons[0]
    with torch.no_grad(), record(network) as recording:
        network(x)
        features, temporal = recording["features"].transpose(1, 2), neuron.gates > 0
        assert 0 < temporal.sum() < 4
        for name, kernel, norm, own, pads in (
            ("z_s", neuron.spatial, neuron.norm_s, ~temporal, (0, 1, 1)),
            ("z_t", neuron.temporal, neuron.norm_t, temporal, (1, 0, 0)),
        ):
            maps = F.conv3d(features[:, own], kernel[:, own], padding=pads)
            found = recording[f"dsts.layer1.{name}"].transpose(1, 2)
            torch.testing.assert_close(found, norm(maps).relu(), **TIGHT)


def gated_by(number, **settings):
    """A network whose gates are learned, and all far beyond where noise could turn them."""
    network = tiny_network(num_layers=2, backbone="none", **settings)
    with torch.no_grad():
        for layer in network.dsts.layers:
            for neuron in layer.neurons:
                neuron.gates.fill_(number)
    return network


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("kind", ["spatial", "temporal"])
def test_gates_of_one_kind_make_a_network_blind_to_the_other(kind, training):
    """In order of frames, or of positions; what a neuron makes of them moves with them."""
    network, x = gated_by(-100.0 if kind == "spatial" else 100.0).train(training), some_features(time=6)
    fixed = tiny_network(num_layers=2, backbone="none", gates=kind).train(training)
    fixed.load_state_dict(network.state_dict())
    num_classes = network.head.out_features
    order, places = torch.randperm(6), torch.randperm(16)

    def move(maps):
        return maps[:, :, order] if kind == "spatial" else maps.flatten(3)[..., places].unflatten(3, (4, 4))

    def move_other(maps):
        return maps.flatten(3)[..., places].unflatten(3, (4, 4)) if kind == "spatial" else maps[:, :, order]

    with torch.no_grad():
        found = seeded(network.dsts, x)
        torch.testing.assert_close(seeded(network.dsts, move(x)), move(found), **TIGHT)
        assert (seeded(network.dsts, move_other(x)) - move_other(found)).abs().max() > 1e-3
        logits = seeded(network, x)
        torch.testing.assert_close(seeded(network, move(x)), logits, **TIGHT)
    seeded(network, x).square().sum().backward()
    idle = "temporal" if kind == "spatial" else "spatial"
    for layer in network.dsts.layers:
        for neuron in layer.neurons:
            gradient = getattr(neuron, idle).grad
            assert gradient is None or (gradient == 0).all()
    assert any(name.endswith(kind) for name in trained(network))
    assert logits.shape == (5, num_classes)
    fixed_found = seeded(fixed.dsts, x)
    # In training the same noise is drawn in the first layer alone.
    if not training:
        torch.testing.assert_close(fixed_found, found, rtol=0, atol=0)


def test_both_operators_see_all_channels_where_there_are_no_gates():
    network = tiny_network(gates="both")
    with torch.no_grad(), record(network, "features", "*.x_?", "*.gates") as recording:
        network(some_clips())
    assert torch.equal(recording["dsts.layer1.x_s"], recording["features"])
    assert torch.equal(recording["dsts.layer1.x_t"], recording["features"])
    with pytest.raises(LookupError, match="nothing has passed dsts.layer1.gates"):
        recording["dsts.layer1.gates"]


# The whole, against its slow twin


SETTINGS = [
    {},
    {"num_layers": 2, "pulse": "sum"},
    {"centre": False, "num_layers": 2},
    {"centre": False, "pulse": "sum", "semhash": "hard"},
    {"router": "soft", "semhash": "soft", "tau": 0.5},
    {"router": "all", "semhash": "sigmoid"},
    {"gates": "spatial"},
    {"gates": "temporal", "backbone": "none"},
    {"gates": "both", "num_neurons": 1},
    {"gates": "conv3d", "num_neurons": 2},
    {"router": "given", "num_layers": 2},
]


@pytest.mark.slow
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("training", [False, True])
def test_the_network_is_its_equations(settings, training):
    network = tiny_network(**settings).train(training)
    config, state = network.config, copy.deepcopy(network.state_dict())
    x = some_clips(4, size=6) if config.backbone == "small" else some_features(4)
    route = torch.tensor([2, 0, 0, 1]) if config.router == "given" else None
    noise = noise_of(config, 4, route=route) if training else None
    with torch.no_grad(), record(network) as recording:
        found = seeded(network, x, route)
    logits, layers, after = slow_network(state, config, x, noise, route)
    np.testing.assert_allclose(found, logits, **TIGHT)
    for name, values in after.items():
        np.testing.assert_allclose(network.state_dict()[name], values, **TIGHT, err_msg=name)
    assert len(after) == sum("running" in name for name in state)
    for number, quantities in enumerate(layers, 1):
        passed = {name: recording[f"dsts.layer{number}.{name}"] for name in ("pulses", "choice", "z_s")}
        np.testing.assert_allclose(passed["pulses"][:, 0], quantities["pulses"], **TIGHT)
        np.testing.assert_allclose(passed["choice"][:, 0], quantities["choice"], **TIGHT)
        maps = np.stack([quantities["z_s", i] for i in range(config.num_neurons)])
        if len(passed["z_s"]) == 4:
            maps = maps[quantities["choice"].argmax(1), range(4)]
        np.testing.assert_allclose(passed["z_s"].transpose(1, 2).flatten(), maps.ravel(), **TIGHT)


def test_one_neuron_is_a_block_written_by_hand():
    network, x = tiny_network(num_neurons=1), some_clips()
    neuron = network.dsts.layer1.neurons[0]
    features = network.backbone(x)
    b = (neuron.gates > 0).double().view(-1, 1, 1, 1)
    z = 0
    for part, kernel, norm, pads in (
        ((1 - b) * features, neuron.spatial, neuron.norm_s, (0, 1, 1)),
        (b * features, neuron.temporal, neuron.norm_t, (1, 0, 0)),
    ):
        statistics = norm.running_mean, norm.running_var, norm.weight, norm.bias
        z = z + F.batch_norm(F.conv3d(part, kernel, padding=pads), *statistics).relu()
    by_hand = network.head((features + F.conv3d(z, neuron.fusion)).mean((2, 3, 4)))
    torch.testing.assert_close(network(x), by_hand, **TIGHT)


@pytest.mark.parametrize("training", [False, True])
def test_with_one_neuron_the_router_has_nothing_to_do(training):
    x, found = some_clips(), []
    for router in ("learned", "soft", "random", "all", "given"):
        network = tiny_network(num_neurons=1, router=router, gates="both").train(training)
        found.append(network(x, torch.zeros(5, dtype=torch.int64) if router == "given" else None))
        torch.testing.assert_close(found[-1], found[0], rtol=1e-14, atol=0)
        found[-1].square().sum().backward()
        gradient = network.dsts.layer1.neurons[0].scoring.grad
        assert gradient is None or (gradient == 0).all()
        assert (gradient is not None) == (router == "soft" or (training and router == "learned"))


@pytest.mark.parametrize("training", [False, True])
def test_neurons_that_fuse_to_nothing_leave_the_backbone_and_the_head(training):
    network, x = tiny_network(num_layers=2).train(training), some_clips()
    for neuron in network.dsts.layer2.neurons:
        nn.init.zeros_(neuron.fusion)
    with torch.no_grad():
        features = network.backbone(x)
        assert torch.equal(network.dsts(features), features)
        assert torch.equal(network(x), network.head(network.backbone(x).mean((2, 3, 4))))


# Dense and sparse


def take_path(network, path):
    """Let every layer take this path, whatever its router and mode."""
    for layer in network.dsts.layers:
        layer.dense = layer.sparse = getattr(type(layer), path).__get__(layer)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("settings", [{}, {"num_layers": 2, "semhash": "soft"}, {"gates": "conv3d"}], ids=str)
def test_dense_and_sparse_are_the_same(settings, training):
    dense, x = tiny_network(**settings).train(training), some_clips(7)
    sparse = copy.deepcopy(dense)
    take_path(dense, "dense")
    take_path(sparse, "sparse")
    for seed in range(3):
        pair = [seeded(network, x, seed=seed) for network in (dense, sparse)]
        torch.testing.assert_close(*pair, rtol=1e-13, atol=1e-14)
    for name, values in dense.state_dict().items():
        torch.testing.assert_close(sparse.state_dict()[name], values, rtol=1e-13, atol=1e-14)
    # What the last neurons learn is the same as well; what is learnt of the choice, and before it, is not.
    for loss in pair:
        loss.square().sum().backward()
    for (name, weight), other in zip(
        dense.dsts.layers[-1].named_parameters(), sparse.dsts.layers[-1].parameters(), strict=True
    ):
        if weight.grad is not None and "scoring" not in name:
            # Sparse, a neuron that serves no clip has no gradient where dense it is zero.
            expected = torch.zeros_like(weight) if other.grad is None else other.grad
            torch.testing.assert_close(weight.grad, expected, rtol=1e-9, atol=1e-11)


def test_evaluation_runs_the_chosen_neurons_alone_and_training_runs_all():
    network, x = tiny_network(), some_clips()
    ran = []
    for number, neuron in enumerate(network.dsts.layer1.neurons):
        neuron.norm_s.register_forward_hook(lambda _, args, y, number=number: ran.append((number, len(y))))
    with torch.no_grad(), record(network, "*.choice") as recording:
        network(x)
        chosen = recording["dsts.layer1.choice"].sum((0, 1)).int().tolist()
        assert ran == [(number, count) for number, count in enumerate(chosen) if count]
        ran.clear()
        network.train()(x)
        assert ran == [(0, 5), (1, 5), (2, 5)]
        ran.clear()
        network(x, torch.tensor([1, 1, 1, 1, 1]))
        assert ran == [(1, 5)]


def test_what_is_not_a_number_stays_in_its_clip():
    network, x = tiny_network(), some_clips()
    x[1, 0, 2, 3, 3] = np.nan
    for path in ("dense", "sparse"):
        take_path(network, path)
        finite = network(x).isfinite()
        assert finite[[0, 2, 3, 4]].all() and not finite[1].any()


# Masked norms


def test_a_masked_norm_is_the_norm_of_the_clips_that_count():
    torch.manual_seed(0)
    masked, plain = MaskedBatchNorm(4).double(), nn.BatchNorm3d(4).double()
    with torch.no_grad():
        masked.weight.uniform_(0.5, 2)
        masked.bias.normal_()
    plain.load_state_dict({**masked.state_dict(), "num_batches_tracked": torch.tensor(0)})
    x, counts = some_features(), torch.tensor([True, False, True, True, False])
    for _ in range(2):
        found, expected = masked(x, counts), plain(x[counts])
        torch.testing.assert_close(found[counts], expected, **TIGHT)
        for name in ("running_mean", "running_var"):
            torch.testing.assert_close(getattr(masked, name), getattr(plain, name), **TIGHT)
    before = copy.deepcopy(masked.state_dict())
    other = x.clone()
    other[~counts] *= 100
    again = copy.deepcopy(masked)(other, counts)
    assert torch.equal(again[counts], found[counts])
    # The others are normalised by the same numbers.
    scale = masked.weight / (x[counts].var((0, 2, 3, 4), correction=0) + 1e-5).sqrt()
    shifted = (x - x[counts].mean((0, 2, 3, 4)).view(-1, 1, 1, 1)) * scale.view(-1, 1, 1, 1)
    torch.testing.assert_close(found, shifted + masked.bias.view(-1, 1, 1, 1), **TIGHT)
    torch.testing.assert_close(masked.eval()(x), plain.eval()(x), **TIGHT)
    assert all(torch.equal(before[name], value) for name, value in masked.state_dict().items())


@pytest.mark.parametrize(
    ("shape", "counts"), [((3, 4, 2, 3, 3), [False] * 3), ((3, 4, 1, 1, 1), [True, False, False]), ((1, 4), None)]
)
def test_without_a_variance_the_running_statistics_stand_in_and_stay(shape, counts):
    norm = tiny_network().dsts.layer1.neurons[0].norm_s.train()
    before, x = copy.deepcopy(norm.state_dict()), torch.randn(shape, dtype=torch.float64, requires_grad=True)
    found = norm(x, None if counts is None else torch.tensor(counts))
    assert all(torch.equal(before[name], value) for name, value in norm.state_dict().items())
    assert torch.equal(found, norm.eval()(x))
    found.square().sum().backward()
    assert x.grad.isfinite().all()


def test_a_masked_norm_can_be_derived_twice():
    norm, counts = MaskedBatchNorm(2).double(), torch.tensor([True, False, True])
    x = torch.randn(3, 2, 2, 1, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: norm(x, counts), x)
    assert torch.autograd.gradgradcheck(lambda x: norm(x, counts), x)


def test_neurons_keep_statistics_of_their_own_clips_alone():
    network, x = tiny_network().train(), some_clips(6)
    before = [of_neuron(network, number) for number in range(3)]
    with intervene(network, {"dsts.layer1.choice": forced(0, 0, 1)}), record(network, "*.x_s") as recording:
        seeded(network, x)
    neuron = network.dsts.layer1.neurons[0]
    own = recording["dsts.layer1.x_s"].transpose(1, 2)[[0, 1, 3, 4]]
    maps = F.conv3d(own, neuron.spatial, padding=(0, 1, 1))
    expected = 0.9 * before[0]["norm_s.running_mean"] + 0.1 * maps.mean((0, 2, 3, 4))
    torch.testing.assert_close(neuron.norm_s.running_mean, expected.detach(), **TIGHT)
    changed = [
        {name for name, value in of_neuron(network, i).items() if not torch.equal(value, before[i][name])}
        for i in range(3)
    ]
    running = {f"{norm}.running_{what}" for norm in ("norm_s", "norm_t") for what in ("mean", "var")}
    assert changed == [running, running, set()]


# Who learns


def optimizers(network):
    """Of training, and one that adds momentum and decay even to gradients of zero."""
    yield make_optimizer(network, TrainConfig(rate=1e-2, weight_decay=0.1))
    yield torch.optim.SGD(network.parameters(), 1e-2, momentum=0.9, weight_decay=0.1)


APART = {"rate": 0.1, "form": "hessian"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", [0, 1], ids=["adamw", "sgd"])
@pytest.mark.parametrize(("router", "apart"), [("learned", None), ("learned", APART), ("given", None)])
def test_neurons_that_serve_nobody_are_left_as_they_are(router, apart, kind):
    """Scoring kernels are the exception: dense, they learn what their neuron would have made of others' clips."""
    torch.manual_seed(0)
    network = SpecialisedNetwork(DSTSConfig(**{**TINY, "num_neurons": 4, "router": router, "num_classes": 4}))
    fabric = Fabric(accelerator="cpu", devices=1)
    module, optimizer = fabric.setup(network, list(optimizers(network))[kind])
    task = Specialisation(range(4), PermutationFamilies("train", 1), apart)

    def learn(*neurons):
        x, target = some_clips(8).float(), torch.tensor(neurons).repeat(8)[:8]
        with intervene(network, {"dsts.layer1.choice": forced(*neurons)} if router == "learned" else {}):
            for _ in task.steps(fabric, module.train(), x, target):
                optimizer.step()
                optimizer.zero_grad()

    start = [of_neuron(network, number) for number in range(4)]
    learn(0, 1, 2, 3)
    before = [of_neuron(network, number) for number in range(4)]
    for number in range(4):
        moved = {name for name, value in before[number].items() if not torch.equal(value, start[number][name])}
        assert moved == set(before[number]) - ({"scoring"} if router == "given" else set())
    for _ in range(3):
        learn(0, 1)
    after = [of_neuron(network, number) for number in range(4)]
    for number in range(4):
        moved = {name for name, value in after[number].items() if not torch.equal(value, before[number][name])}
        everything = set(after[number]) - ({"scoring"} if router == "given" else set())
        left = {"scoring"} if router == "learned" else set()
        assert moved == (everything if number < 2 else left)


def test_neurons_learn_from_none_but_their_own_clips():
    """What a neuron gets from a batch is what it gets from its own clips by themselves."""
    network, x = tiny_network(backbone="none", gates="both", router="given"), some_features(6)
    route, gradients = torch.tensor([0, 1, 1, 0, 2, 1]), []
    for own in (torch.arange(6), (route == 1).nonzero().squeeze(1)):
        network.zero_grad()
        network.train()(x[own], route[own]).square().sum().backward()
        gradients.append([weight.grad.clone() for weight in list(network.dsts.layer1.neurons[1].parameters())[2:]])
    assert len(gradients[0]) == 7
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, **TIGHT)


def frozen(layer, x, names, seed=0):
    """A layer as a function of its features and weights, under the same noise each time."""

    def function(x, *weights):
        torch.manual_seed(seed)
        return functional_call(layer, dict(zip(names, weights, strict=True)), (x,))

    return function, (x.requires_grad_(), *(weight for _, weight in layer.named_parameters()))


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, {"centre": False, "pulse": "sum"}], ids=str)
def test_in_its_soft_mode_a_layer_has_the_derivatives_of_its_function(settings):
    network = tiny_network(channels=2, num_neurons=2, router="soft", semhash="soft", num_positions=8, **settings)
    layer = network.dsts.layer1.train()
    names = [name for name, _ in layer.named_parameters()]
    function, inputs = frozen(layer, some_clips(3, channels=2, time=2, size=2), names)
    assert torch.autograd.gradcheck(function, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(function, inputs, fast_mode=True)
    found = torch.autograd.grad(function(*inputs).square().sum(), inputs)
    assert all(gradient.any() for gradient in found)


@pytest.mark.slow
def test_the_forms_of_upstream_downstream_learning_agree_on_soft_neurons():
    """Whatever takes the simulated step: in the soft mode there is no choice that a difference could miss."""
    network = tiny_network(router="soft", semhash="soft", num_layers=2).train()
    x, target = some_clips(8), torch.arange(8) % 3
    found = []
    for form in FORMS:
        udl = UpstreamDownstream(network, F.cross_entropy, upstream_names(network), rate=0.05, form=form)
        torch.manual_seed(0)
        udl.upstream_gradients(x[:4], target[:4], x[4:], target[4:])
        found.append({name: weight.grad for name, weight in udl.upstream.items()})
        assert set(found[-1]) == {name for name, _ in network.named_parameters() if name.endswith(("scoring", "gates"))}
    for name, expected in found[0].items():
        size = float(expected.norm())
        assert size > 0
        assert float((found[1][name] - expected).norm()) < 1e-12 * max(size, 1e-3)
        assert float((found[2][name] - expected).norm()) < 1e-6 * max(size, 1e-3)


def test_upstream_is_what_decides_and_downstream_is_the_rest():
    network = tiny_network(num_layers=2)
    upstream = upstream_names(network)
    assert len(upstream) == 2 * 3 * 2
    assert upstream[:2] == ["dsts.layer1.neurons.0.scoring", "dsts.layer1.neurons.0.gates"]
    sizes = dict(network.named_parameters())
    assert sum(sizes[name].numel() for name in upstream) == 2 * 3 * (4**2 + 4)


# Sizes


@pytest.mark.parametrize("channels", [1, 4, 16, 256])
def test_neurons_have_the_counted_parameters(channels):
    for gates, count in (("learned", 14 * channels**2 + 5 * channels), ("conv3d", 29 * channels**2 + 3 * channels)):
        with torch.device("meta"):
            network = SpecialisedNetwork(
                DSTSConfig(num_classes=3, channels=channels, gates=gates, num_neurons=2, num_layers=2)
            )
        neuron = network.dsts.layer1.neurons[0]
        assert count_parameters(neuron, biases=True) == count
        assert count_parameters(network.dsts, biases=True) == 4 * count
        operators = [kernel for kernel in (neuron.spatial, neuron.temporal) if kernel is not None]
        assert sum(kernel.numel() for kernel in operators) == (27 if gates == "conv3d" else 12) * channels**2


# Hook points


def test_every_quantity_of_every_layer_has_its_name():
    quantities = ("pulses", "choice", "gates", "x_s", "x_t", "z_s", "z_t")
    names = {f"dsts.layer{number}.{name}" for number in (1, 2) for name in quantities}
    assert set(hook_points(tiny_network(num_layers=2))) == {"features", *names}


@pytest.mark.parametrize("training", [False, True])
def test_recordings_have_a_time_axis_and_change_nothing(training):
    network, x = tiny_network(num_layers=2).train(training), some_clips()
    with torch.no_grad():
        plain = seeded(copy.deepcopy(network), x)
        with record(network) as recording:
            assert torch.equal(seeded(network, x), plain)
    num_visits = 15 if training else 5
    assert recording["features"].shape == (5, 3, 4, 4, 4)
    for number in (1, 2):
        layer = f"dsts.layer{number}"
        assert recording[f"{layer}.pulses"].shape == recording[f"{layer}.choice"].shape == (5, 1, 3)
        assert recording[f"{layer}.gates"].shape == (num_visits, 1, 4)
        for name in ("x_s", "x_t", "z_s", "z_t"):
            assert recording[f"{layer}.{name}"].shape == (num_visits, 3, 4, 4, 4)
    if not training:
        # Sparse, a visit is its clip's, in the clips' order.
        chosen = recording["dsts.layer1.choice"].argmax(2).flatten()
        gates = network.dsts.layer1.gate_logits()[chosen] > 0
        assert torch.equal(recording["dsts.layer1.gates"][:, 0], gates.double())


def test_a_choice_that_is_replaced_is_who_serves():
    network, x = tiny_network(), some_clips()
    with torch.no_grad(), record(network, "*.gates") as recording:
        for number in range(3):
            route = torch.full((5,), number)
            wanted = network(x, route)
            with intervene(network, {"dsts.layer1.choice": lambda a, route=route: one_hot(route, a)}):
                assert torch.equal(network(x), wanted)
            assert torch.equal(
                recording[GATES][:, 0], (network.dsts.layer1.neurons[number].gates > 0).double().expand(5, -1)
            )
        with record(network, "*.choice") as before:
            plain = network(x)
        with intervene(network, {"dsts.layer1.choice": before["dsts.layer1.choice"]}):
            assert torch.equal(network(x), plain)
        one_clip = network(x, torch.tensor([0, 1, 2, 0, 1]))
        with intervene(network, {"dsts.layer1.choice": lambda a: one_hot(torch.tensor([2, 1, 2, 0, 1]), a)}):
            changed = network(x)
        assert torch.equal(changed[1:], one_clip[1:]) and not torch.equal(changed[0], one_clip[0])


def test_gates_that_are_replaced_are_what_the_channels_go_by():
    network, x = tiny_network(), some_clips()
    spatial = tiny_network(gates="spatial")
    spatial.load_state_dict(network.state_dict())
    with torch.no_grad(), record(network, "*.x_t", "*.z_s") as recording:
        plain = network(x)
        before = recording["dsts.layer1.z_s"]
        with intervene(network, {GATES: torch.zeros_like}):
            assert torch.equal(network(x), spatial(x))
            assert not torch.equal(network(x), plain)
            assert (recording["dsts.layer1.x_t"] == 0).all()
            assert not torch.equal(recording["dsts.layer1.z_s"], before)


def test_maps_that_are_replaced_are_what_is_fused():
    network, x = tiny_network(), some_clips()
    with torch.no_grad(), intervene(network, {"dsts.layer1.z_?": torch.zeros_like}):
        alone = network.head(network.backbone(x).mean((2, 3, 4)))
        assert torch.equal(network(x), alone)


# Edges


@pytest.mark.parametrize("shape", [(1, 1, 3, 8, 8), (4, 1, 1, 8, 8), (4, 1, 3, 1, 1), (1, 1, 1, 1, 1), (2, 1, 2, 7, 3)])
@pytest.mark.parametrize("settings", [{}, {"gates": "conv3d"}, {"num_neurons": 8}], ids=str)
def test_any_clip_is_taken(shape, settings):
    network, x = tiny_network(**settings), torch.randn(shape, dtype=torch.float64)
    assert network(x).shape == (shape[0], 3) and network(x).isfinite().all()
    if shape != (1, 1, 1, 1, 1):  # of which the backbone's batch norm has no variance
        network.train()
        for _ in range(4):
            loss = network(x).square().sum()
            loss.backward()
        assert loss.isfinite() and all(values.isfinite().all() for values in network.state_dict().values())
        assert all(weight.grad is None or weight.grad.isfinite().all() for weight in network.parameters())


def test_one_clip_of_one_position_trains_where_features_are_given():
    network = tiny_network(backbone="none").train()
    before = copy.deepcopy(network.state_dict())
    network(some_features(1, time=1)[..., :1, :1]).square().sum().backward()
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(weight.grad is None or weight.grad.isfinite().all() for weight in network.parameters())


def test_a_clip_gives_alike_alone_and_in_a_batch():
    network, x = tiny_network(num_layers=2), some_clips()
    torch.testing.assert_close(network(x)[1:2], network(x[1:2]), **TIGHT)


@pytest.mark.parametrize(
    ("x", "backbone"),
    [
        (torch.zeros(2, 3, 4, 8, 8), "small"),
        (torch.zeros(0, 1, 4, 8, 8), "small"),
        (torch.zeros(2, 1, 0, 8, 8), "small"),
        (torch.zeros(2, 5, 4, 8, 8), "none"),
        (torch.zeros(2, 5, 4, 8, 8).long(), "none"),
    ],
    ids=str,
)
def test_clips_of_another_shape_are_refused_with_it(x, backbone, shapes_unchecked):
    says = r"needed \(batch, [14], time, height, width\) floats, one clip or more; got \(\d, \d, \d, 8, 8\).*transpose"
    with pytest.raises(ValueError, match=says):
        tiny_network(backbone=backbone)(x if x.dtype == torch.int64 else x.double())


@pytest.mark.parametrize("route", [[0], [0, 1], [0, 1, 2, 0, 1, 2], [0, 1, 2, 0, 3], [0, 1, 2, 0, -1]], ids=str)
def test_routes_that_do_not_fit_the_clips_are_refused(route, shapes_unchecked):
    """A route of one clip would otherwise be that of all where nothing else needs its length."""
    network = tiny_network(gates="both")
    with pytest.raises(ValueError, match=r"route must name a neuron, 0 to 2, for each of 5 clips; got \["):
        network(some_clips(), torch.tensor(route))


def test_float32_and_bfloat16_stay_with_float64():
    network, x = tiny_network(num_layers=2), some_clips()
    route = torch.tensor([0, 1, 2, 0, 1])
    with torch.no_grad():
        double = network(x, route)
        network.float()
        single = network(x.float(), route)
        with torch.autocast("cpu", torch.bfloat16):
            half = network(x.float(), route)
    scale = double.abs().max()
    assert (single - double).abs().max() < 1e-5 * scale
    assert (half - double).abs().max() < 3e-2 * scale


def test_training_in_bfloat16_keeps_its_statistics_in_float32():
    network = tiny_network(num_layers=2).float().train()
    with torch.autocast("cpu", torch.bfloat16):
        loss = F.cross_entropy(network(some_clips().float()), torch.arange(5) % 3)
    loss.backward()
    assert loss.isfinite() and all(
        values.dtype == torch.float32 for values in network.state_dict().values() if values.ndim
    )
    assert "dsts.layer1.neurons.0.scoring" in trained(network)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda network: pickle.loads(pickle.dumps(network))])
def test_copies_are_networks_of_their_own(copied):
    network, x = tiny_network(num_layers=2), some_clips()
    with record(network, "*.pulses") as recording:
        other = copied(network)
        other(x)
        with pytest.raises(LookupError, match="nothing has passed"):
            recording["dsts.layer1.pulses"]
    assert torch.equal(other(x), network(x))
    with torch.no_grad():
        other.dsts.layer1.neurons[0].gates.neg_()
        other.dsts.layer2.neurons[0].fusion.zero_()
    assert not torch.equal(other.dsts.layer1.neurons[0].gates, network.dsts.layer1.neurons[0].gates)
    assert network.dsts.layer2.neurons[0].fusion.any()


# Configs and files


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"backbone": "res3d"}, LookupError, "no backbone 'res3d'; there are small, none"),
        ({"router": "top2"}, LookupError, "no router 'top2'; there are learned, soft, random, all, given"),
        ({"gates": "none"}, LookupError, "no gates 'none'; there are learned, spatial, temporal, both, conv3d"),
        ({"semhash": "st"}, LookupError, "no semhash 'st'; there are half, hard, soft, sigmoid"),
        ({"pulse": "max"}, LookupError, "no pulse 'max'; there are mean, sum"),
        ({"num_neurons": 0}, ValueError, r"(?s)num_neurons\n.*greater than or equal to 1 .*input_value=0"),
        ({"num_layers": -1}, ValueError, r"(?s)num_layers\n.*greater than or equal to 1 .*input_value=-1"),
        ({"channels": 0}, ValueError, r"(?s)channels\n.*greater than or equal to 1 .*input_value=0"),
        ({"num_classes": 0}, ValueError, r"(?s)num_classes\n.*greater than or equal to 1 .*input_value=0"),
        ({"num_positions": 0}, ValueError, r"(?s)num_positions\n.*greater than or equal to 1 .*input_value=0"),
        ({"tau": 0.0}, ValueError, r"(?s)tau\n.*greater than 0 .*input_value=0.0"),
        ({"tau": math.inf}, ValueError, r"(?s)tau\n.*finite number"),
        ({"tau": math.nan}, ValueError, r"(?s)tau\n.*finite number"),
    ],
)
def test_what_no_network_can_have_is_refused(changes, error, says):
    with pytest.raises(error, match=says):
        replace(DSTSConfig(num_classes=3), **changes)


def test_a_config_goes_through_json_and_back():
    config = DSTSConfig(num_classes=5, num_layers=2, tau=0.5, centre=False)
    back = DSTSConfig.from_json(json.loads(json.dumps(config.to_json())))
    assert back == config and hash(back) == hash(config)
    values = config.to_json()
    del values["tau"]
    with pytest.raises(ValueError, match=r"lacks \['tau'\] and has \['depth'\] besides"):
        DSTSConfig.from_json({**values, "depth": 3})


@pytest.mark.parametrize("settings", [{}, {"num_layers": 2, "gates": "conv3d"}, {"backbone": "none"}], ids=str)
def test_a_network_comes_back_as_it_was(tmp_path, settings):
    path, network = tmp_path / "network.safetensors", tiny_network(**settings)
    x = some_features() if settings.get("backbone") == "none" else some_clips()
    card = network.save(path, data="permutation families", seed=3, metrics={"top1": 0.9})
    back = SpecialisedNetwork.load(path)
    assert back.config == network.config and not back.training
    assert torch.equal(back(x), network(x))
    assert back.card == card == json.loads(path.with_suffix(".json").read_text())
    assert (card["data"], card["seed"], card["metrics"]) == ("permutation families", 3, {"top1": 0.9})
    assert card["weights_sha256"] == sha256_of(path)


def test_files_of_something_else_are_refused(tmp_path):
    path = tmp_path / "network.safetensors"
    with pytest.raises(FileNotFoundError, match="the weights, is missing"):
        SpecialisedNetwork.load(path)
    GestureNetwork(NetworkConfig.small("a", num_classes=2, width=1 / 32)).save(path)
    with pytest.raises(ValueError, match="no config of such a network"):
        SpecialisedNetwork.load(path)
    network = tiny_network()
    network.config = replace(network.config, num_neurons=4)
    network.save(path)
    with pytest.raises(ValueError, match=r"dsts.layer1.neurons.3.scoring is missing in the file, \(4, 4, 1, 1, 1\) in"):
        SpecialisedNetwork.load(path)
