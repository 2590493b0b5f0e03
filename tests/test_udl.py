"""Upstream-downstream learning: its forms against each other and against slow twins, what it changes and what not."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gatescope.models import DSTSConfig, GestureNetwork, NetworkConfig, SpecialisedNetwork
from gatescope.models.dsts import upstream_names
from gatescope.udl import FORMS, UpstreamDownstream, toy_trajectory

RATE = 0.3


class Gated(nn.Module):
    """Two layers with a gate for each value between them; `draw` is what is drawn of the gates, if anything."""

    def __init__(self, draw=None, norm=False):
        super().__init__()
        self.first, self.second = nn.Linear(4, 5), nn.Linear(5, 3)
        self.gates = nn.Parameter(torch.randn(5))
        self.norm = nn.BatchNorm1d(5) if norm else None
        self.draw = draw

    def forward(self, x):
        hidden = self.first(x).tanh()
        hidden = hidden if self.norm is None else self.norm(hidden)
        g = self.gates if self.draw is None else self.gates + torch.randn(len(x), 5, dtype=x.dtype, device=x.device)
        soft = g.sigmoid()
        gate = (g > 0) + soft - soft.detach() if self.draw == "hard" else soft
        return self.second(hidden * gate)


def gated(**settings):
    torch.manual_seed(0)
    return Gated(**settings).double()


def batches(*shape, num_classes=3, seed=0):
    """A batch to train on and one to look ahead with: x, target, x_valid, target_valid."""
    generator = torch.Generator().manual_seed(seed)
    return [
        values
        for _ in range(2)
        for values in (
            torch.randn(*shape, generator=generator, dtype=torch.float64),
            torch.randint(num_classes, shape[:1], generator=generator),
        )
    ]


def udl_of(model, upstream=("gates",), loss=F.cross_entropy, rate=RATE, **settings):
    return UpstreamDownstream(model, loss, upstream, rate=rate, **settings)


def hyper_gradient(model, data, upstream=("gates",), seed=0, **settings):
    """All upstream gradients in a row, under the noise of a seed; zero for what has none."""
    udl = udl_of(model, upstream, **settings)
    torch.manual_seed(seed)
    udl.upstream_gradients(*data)
    return torch.cat(
        [(torch.zeros_like(w) if w.grad is None else w.grad).flatten() for w in udl.upstream.values()]
    ).clone()


def direct_gradient(model, data, rate=RATE):
    """That of the loss at a simulated step's end by the gates, everything else held."""
    x, target, x_valid, target_valid = data
    there = copy.deepcopy(model)
    weights = [weight for name, weight in there.named_parameters() if name != "gates"]
    slopes = torch.autograd.grad(F.cross_entropy(there(x), target), weights)
    with torch.no_grad():
        for weight, slope in zip(weights, slopes, strict=True):
            weight -= rate * slope
    return torch.autograd.grad(F.cross_entropy(there(x_valid), target_valid), there.gates)[0]


def relative(found, expected):
    return float((found - expected).norm() / expected.norm())


def everything(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first | second)


# The toy


def test_the_toy_goes_where_the_closed_form_says():
    toy = toy_trajectory(0.7, -0.2, 1.5, 0.1)
    assert float(toy.ahead) == pytest.approx(-0.11, abs=1e-15)
    assert float(toy.upstream) == pytest.approx(0.7161, abs=1e-15)
    assert float(toy.downstream) == pytest.approx(-0.10839, abs=1e-15)


def test_the_toy_covers_a_grid_at_once():
    u, d = np.meshgrid(np.linspace(-1, 2, 4), np.linspace(-2, 1, 3))
    c, a = 1.5, 0.2
    toy = toy_trajectory(u, d, c, a)
    ahead = (1 - a) * d + a * u
    moved = u - a**2 * (ahead - c)
    expected = ahead, moved, d - a * (d - moved), (d - u) ** 2 / 2, (ahead - c) ** 2 / 2
    found = toy.ahead, toy.upstream, toy.downstream, toy.loss, toy.valid_loss
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-14)


# The hyper-gradient


def slow_hyper_gradient(model, data, rate):
    """Eqs. (1) and (2) of one flat vector of weights, by the whole Hessian of the training loss."""
    x, target, x_valid, target_valid = data
    flat = torch.cat(
        [w.detach().flatten() for w in (model.gates, *model.first.parameters(), *model.second.parameters())]
    )

    def loss(flat, x, target):
        gates, w1, b1, w2, b2 = flat.split([5, 20, 5, 15, 3])
        total = 0.0
        for clip, label in zip(x, target, strict=True):
            hidden = [torch.tanh(w1[4 * i : 4 * i + 4] @ clip + b1[i]) / (1 + torch.exp(-gates[i])) for i in range(5)]
            logits = [sum(w2[5 * k + i] * hidden[i] for i in range(5)) + b2[k] for k in range(3)]
            total = total - logits[label] + torch.log(sum(torch.exp(logit) for logit in logits))
        return total / len(x)

    flat.requires_grad_()
    (slope,) = torch.autograd.grad(loss(flat, x, target), flat, create_graph=True)
    # d2 l / dd du, a row for each weight of d.
    mixed = torch.stack([torch.autograd.grad(value, flat, retain_graph=True)[0][:5] for value in slope[5:]])
    ahead = torch.cat([flat[:5], flat[5:] - rate * slope[5:]]).detach().requires_grad_()  # (1)
    (nu,) = torch.autograd.grad(loss(ahead, x_valid, target_valid), ahead)
    return -rate * nu[5:] @ mixed, nu[:5]  # (4), and the direct term


def test_all_forms_are_what_the_whole_hessian_gives():
    model, data = gated(), batches(3, 4)
    indirect, direct = slow_hyper_gradient(model, data, RATE)
    for form, tolerance in zip(FORMS, (1e-12, 1e-12, 1e-6), strict=True):
        assert relative(hyper_gradient(model, data, form=form), indirect) < tolerance
        assert relative(hyper_gradient(model, data, form=form, variant="full"), indirect + direct) < tolerance


def test_it_is_the_finite_difference_of_what_the_look_ahead_reaches():
    """In a soft model; u where it stands in the second pass is held, so that it moves in the first alone."""
    model, data = gated(), batches(6, 4)
    x, target, x_valid, target_valid = data

    def reached(moved_gates):
        """The second loss as a function of u by way of the simulated step."""
        there = copy.deepcopy(model)
        there.gates.data.copy_(moved_gates)
        ahead = udl_of(there).look_ahead(x, target)
        return F.cross_entropy(torch.func.functional_call(model, ahead, (x_valid,)), target_valid)

    expected = torch.stack(
        [
            (reached(model.gates + 1e-5 * unit) - reached(model.gates - 1e-5 * unit)) / 2e-5
            for unit in torch.eye(5).double()
        ]
    ).detach()
    for form in FORMS:
        assert relative(hyper_gradient(model, data, form=form), expected) < 1e-7


def small_gesture_network():
    torch.manual_seed(0)
    config = NetworkConfig.small("c", num_classes=3, width=1 / 64, size=16, num_frames=4, stem_stride=4)
    return GestureNetwork(config).double()


def test_the_forms_agree_on_the_gesture_network():
    """Its batch norms and three kinds of gates included, with the recurrent layer's attention upstream."""
    model, data = small_gesture_network(), batches(2, 3, 4, 16, 16)
    found = [
        hyper_gradient(model, data, lambda name: name.startswith("layer1.gates.i"), form=form, rate=0.01)
        for form in FORMS
    ]
    assert found[0].norm() > 0
    assert relative(found[1], found[0]) < 1e-12
    assert relative(found[2], found[0]) < 1e-6


def test_straight_through_gates_have_one_hyper_gradient_under_the_same_noise():
    model, data = gated(draw="hard", norm=True), batches(6, 4)
    unrolled, product, difference = (hyper_gradient(model, data, form=form) for form in FORMS)
    assert unrolled.norm() > 0
    assert relative(product, unrolled) < 1e-12
    assert relative(difference, unrolled) < 1e-6
    assert relative(hyper_gradient(model, data, seed=1), unrolled) > 0.1


def test_a_difference_is_blind_to_hard_choices_that_hang_on_what_it_moves():
    """The neurons of a clip are chosen by the features that its backbone makes."""
    torch.manual_seed(0)
    model = SpecialisedNetwork(DSTSConfig(num_classes=3, num_neurons=2, channels=3)).double()
    data, names = batches(6, 1, 4, 6, 6), upstream_names(model)
    for simulated, agree in ((lambda name: not name.startswith("backbone"), True), (None, False)):
        unrolled, product, difference = (
            hyper_gradient(model, data, names, form=form, simulated=simulated) for form in FORMS
        )
        assert relative(product, unrolled) < 1e-12
        assert (relative(difference, unrolled) < 1e-6) == agree
        assert agree or relative(difference, unrolled) > 0.1


@pytest.mark.parametrize("form", FORMS)
def test_all_forms_leave_the_random_numbers_at_one_place(form):
    """So that what follows is drawn alike; the two passes of the difference see what the simulated step saw."""
    torch.manual_seed(3)
    udl_of(gated(draw="soft"), form="unrolled").upstream_gradients(*batches(6, 4))
    expected = torch.rand(1)
    torch.manual_seed(3)
    udl_of(gated(draw="soft"), form=form).upstream_gradients(*batches(6, 4))
    assert torch.equal(torch.rand(1), expected)


# Limits


def test_a_simulated_step_of_length_zero_moves_nothing_upstream():
    data = batches(6, 4)
    for form in FORMS:
        model = gated()
        assert hyper_gradient(model, data, rate=0.0, form=form).abs().max() == 0
        before = everything(model)
        torch.optim.SGD(model.parameters(), lr=0.5).step()
        assert same(everything(model), before)


def test_without_a_simulated_step_the_other_variants_alternate():
    model, data = gated(), batches(6, 4)
    expected = hyper_gradient(model, data, variant="alternate")
    x, target, x_valid, target_valid = data
    (ordinary,) = torch.autograd.grad(F.cross_entropy(model(x_valid), target_valid), model.gates)
    assert torch.equal(expected, ordinary)
    for variant in ("full", "first"):
        assert torch.equal(hyper_gradient(model, data, rate=0.0, variant=variant), expected)


@pytest.mark.parametrize("form", FORMS)
def test_what_the_held_copy_leaves_out_is_the_direct_term(form):
    model, data = gated(norm=True), batches(6, 4)
    held, attached = (hyper_gradient(model, data, form=form, variant=variant) for variant in ("udl", "full"))
    direct = direct_gradient(model, data)
    assert relative(attached - held, direct) < 1e-12
    assert relative(hyper_gradient(model, data, variant="first"), direct) < 1e-12
    assert held.norm() > 1e-3 * direct.norm()


def test_per_rate_the_hyper_gradient_has_a_finite_limit():
    model, data = gated(), batches(3, 4)
    # At rate 0 nothing has moved: what is left of (4) is the mixed derivative times the slope of the second loss.
    limit = slow_hyper_gradient(model, data, 1e-12)[0] / 1e-12
    found = [relative(hyper_gradient(model, data, rate=rate) / rate, limit) for rate in (1e-2, 1e-3, 1e-4)]
    assert found[2] < 1e-3
    # The way there is linear in the rate.
    assert found[0] / found[1] == pytest.approx(10, rel=0.1)
    assert found[1] / found[2] == pytest.approx(10, rel=0.1)
