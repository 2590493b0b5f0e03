"""Upstream-downstream learning: its forms against each other and against slow twins, what it changes and what not."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gatescope.models import DSTSConfig, GestureNetwork, NetworkConfig, SpecialisedNetwork
from gatescope.models.dsts import upstream_names
from gatescope.trainings.udl import FORMS, VARIANTS, Passes, UpstreamDownstream

RATE = 0.3  # of the simulated step


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


# The toy of notebook 13


class TwoNumbers(nn.Module):
    """d - x u: a training loss of (d - u)^2 / 2 at x = 1, a validation loss of (d - c)^2 / 2 at x = 0."""

    def __init__(self, u, d):
        super().__init__()
        self.u, self.d = (nn.Parameter(torch.from_numpy(np.array(values, float))) for values in (u, d))

    def forward(self, x):
        return self.d - x * self.u


def iterated(u, d, c, rate):
    """u and d after one iteration with plain SGD, for every point of a grid; their summed loss keeps them apart."""
    model = TwoNumbers(u, d)
    udl = udl_of(model, ["u"], lambda output, target: ((output - target) ** 2 / 2).sum(), rate)
    one, zero = torch.tensor(1.0).double(), torch.tensor(0.0).double()
    udl.step((one, zero), (zero, zero + c), torch.optim.SGD(model.parameters(), lr=rate))
    return model.u.detach().numpy(), model.d.detach().numpy()


def test_the_toy_goes_where_the_closed_form_says():
    assert iterated(0.7, -0.2, 1.5, 0.1) == pytest.approx((0.7161, -0.10839), abs=1e-15)
    u, d = np.meshgrid(np.linspace(-1, 2, 4), np.linspace(-2, 1, 3))
    c, rate = 1.5, 0.2
    moved = u - rate**2 * ((1 - rate) * d + rate * u - c)
    for ours, theirs in zip(iterated(u, d, c, rate), (moved, d - rate * (d - moved)), strict=True):
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
        weights = {name: weight for name, weight in there.named_parameters() if name != "gates"}
        slopes = torch.autograd.grad(F.cross_entropy(there(x), target), list(weights.values()))
        ahead = {name: weights[name] - RATE * slope for name, slope in zip(weights, slopes, strict=True)}
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


def test_only_simulated_parameters_carry_it():
    model, data = gated(), batches(3, 4)
    parts = [
        hyper_gradient(model, data, simulated=names)
        for names in (["first.weight", "first.bias"], lambda name: name.startswith("second"))
    ]
    # In a straight line from d the parts add up; the second pass is at another place for each.
    assert relative(parts[0] + parts[1], hyper_gradient(model, data)) > 1e-3
    tiny = {"rate": 1e-9}
    parts = [hyper_gradient(model, data, simulated=[f"{n}.weight", f"{n}.bias"], **tiny) for n in ("first", "second")]
    assert relative(parts[0] + parts[1], hyper_gradient(model, data, **tiny)) < 1e-7


# What changes and what does not


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("variant", ["udl", "full", "first", "alternate"])
def test_the_upstream_step_changes_nothing_but_upstream_gradients(form, variant):
    model, data = gated(draw="hard", norm=True), batches(6, 4)
    model.second.bias.requires_grad_(False)
    before, held = everything(model), [weight.requires_grad for weight in model.parameters()]
    for weight in model.parameters():
        weight.grad = torch.ones_like(weight)  # left over from something else
    udl_of(model, form=form, variant=variant).upstream_gradients(*data)
    assert same(everything(model), before)
    assert [weight.requires_grad for weight in model.parameters()] == held
    assert [name for name, weight in model.named_parameters() if weight.grad is not None] == ["gates"]


def test_the_downstream_step_is_an_ordinary_pass():
    model, (x, target, *_) = gated(norm=True), batches(6, 4)
    model.second.bias.requires_grad_(False)
    other = copy.deepcopy(model)
    logits = other(x)
    F.cross_entropy(logits, target).backward()
    loss, output = udl_of(model).downstream_gradients(x, target)
    assert torch.equal(output, logits)
    assert loss == F.cross_entropy(logits, target)
    assert same(everything(model), everything(other))
    assert model.norm.num_batches_tracked == 1
    for (name, weight), expected in zip(model.named_parameters(), other.parameters(), strict=True):
        if name in ("gates", "second.bias"):
            assert weight.grad is None
        else:
            assert torch.equal(weight.grad, expected.grad)


def test_an_iteration_moves_both_halves_as_the_algorithm_says():
    """Written out with plain SGD: u first, then d from where it stood, with the new u."""
    model, data = gated(norm=True), batches(6, 4)
    x, target, *_ = data
    u_gradient = hyper_gradient(model, data, rate=0.2)
    expected = copy.deepcopy(model)
    with torch.no_grad():
        expected.gates -= 0.5 * u_gradient
    F.cross_entropy(expected(x), target).backward()
    with torch.no_grad():
        for name, weight in expected.named_parameters():
            if name != "gates":
                weight -= 0.5 * weight.grad
    udl_of(model, rate=0.2).step(data[:2], data[2:], torch.optim.SGD(model.parameters(), lr=0.5))
    for name, tensor in everything(expected).items():
        torch.testing.assert_close(model.state_dict()[name], tensor, rtol=1e-12, atol=1e-14)
    assert model.norm.num_batches_tracked == 1


def test_joint_training_takes_both_batches_at_once():
    model, data = gated(norm=True), batches(6, 4)
    x, target, x_valid, target_valid = data
    other = copy.deepcopy(model)
    F.cross_entropy(other(torch.cat([x, x_valid])), torch.cat([target, target_valid])).backward()
    udl = udl_of(model, variant="joint")
    ((loss, output),) = udl.steps(*data)
    assert output.shape == (12, 3)
    for weight, expected in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(weight.grad, expected.grad)
    assert same(everything(model), everything(other))
    with pytest.raises(ValueError, match="take its `steps`"):
        udl.upstream_gradients(*data)


@pytest.mark.parametrize(
    "make", [lambda w: torch.optim.Adam(w, weight_decay=0.1), lambda w: torch.optim.SGD(w, 0.1, 0.9)]
)
def test_optimisers_leave_the_held_half_alone(make):
    """Also once they have momentum, and with weight decay."""
    model, data = gated(), batches(6, 4)
    udl, optimizer = udl_of(model), make(model.parameters())
    for _ in range(3):
        for half, _ in zip((udl.upstream, udl.downstream), udl.steps(*data), strict=True):
            before = everything(model)
            states = copy.deepcopy(optimizer.state_dict()["state"])
            optimizer.step()
            optimizer.zero_grad()
            moved = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
            assert moved == set(half)
            for number, name in enumerate(name for name, _ in model.named_parameters()):
                if name not in half and number in states:
                    after = optimizer.state_dict()["state"][number]
                    assert all(
                        torch.equal(torch.as_tensor(after[k]), torch.as_tensor(v)) for k, v in states[number].items()
                    )


def test_upstream_finds_what_it_is_never_told():
    """The toy's training loss knows nothing of c; ordinary training moves u towards d."""
    u, d = 0.7, -0.2
    for _ in range(20):
        u, d = iterated(u, d, 1.5, 0.9)
    assert float(u) == pytest.approx(1.5, abs=1e-6)
    assert float(d) == pytest.approx(1.5, abs=1e-6)


def test_evaluation_mode_works_and_keeps_the_statistics():
    model, data = gated(norm=True).eval(), batches(1, 4)
    before = everything(model)
    found = [hyper_gradient(model, data, form=form) for form in FORMS]
    assert found[0].norm() > 0
    assert relative(found[1], found[0]) < 1e-12
    assert relative(found[2], found[0]) < 1e-6
    udl_of(model).downstream_gradients(*data[:2])
    assert same(everything(model), before)


# Any model


class Probe(torch.autograd.Function):
    """An identity that counts how often it is passed, backward also through its own derivative."""

    @staticmethod
    def forward(ctx, x, counts, way):
        counts[way] += 1
        ctx.counts = counts
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return Probe.apply(gradient, ctx.counts, "backward"), None, None


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_stated_cost_is_what_an_iteration_takes(form, variant):
    class Probed(Gated):
        def forward(self, x):
            return Probe.apply(super().forward(x), counts, "forward")

    counts = {"forward": 0, "backward": 0}
    model = Probed().double()
    udl = udl_of(model, form=form, variant=variant)
    for _ in udl.steps(*batches(6, 4)):
        pass
    assert Passes(**counts) == udl.passes


class Shared(nn.Module):
    """Weights with two names in one module and in two, modules with two names, a parameter that nothing reaches."""

    def __init__(self):
        super().__init__()
        self.gates = nn.Parameter(torch.randn(4))
        self.first, self.second, self.head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)
        self.second.weight = self.first.weight
        self.body = self.head
        self.scale = self.shift = nn.Parameter(torch.randn(4))
        self.unused = nn.Parameter(torch.ones(2))
        self.norm = nn.BatchNorm1d(4)
        self.norms = nn.ModuleList([self.norm, self.norm])

    def forward(self, x):
        hidden = self.norms[1](self.second(self.norm(self.first(x).tanh())).tanh() * self.gates.sigmoid())
        return self.body(hidden * self.scale) + self.head(hidden**2 + self.shift)


def test_where_slopes_know_nothing_of_upstream_there_is_nothing_to_add():
    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.u, self.d = nn.Parameter(torch.ones(())), nn.Parameter(torch.ones(()))

        def forward(self, x):
            return x * (self.u + self.d)

    for form in FORMS:
        model = Sum()
        udl = udl_of(model, ["u"], loss=lambda output, target: output.mean(), form=form)
        udl.upstream_gradients(torch.ones(3), None, torch.ones(3), None)
        assert model.u.grad is None or model.u.grad == 0


def test_parameters_and_modules_with_two_names_are_replaced_wherever_they_stand():
    torch.manual_seed(0)
    model, data = Shared().double(), batches(6, 4)
    before, places = everything(model), [id(weight) for weight in model.parameters()]
    found = [hyper_gradient(model, data, form=form) for form in FORMS]
    assert [id(weight) for weight in model.parameters()] == places
    assert same(everything(model), before)
    assert model.unused.grad is None
    # By a copy of the model that takes the simulated step in place.
    x, target, x_valid, target_valid = data
    units = []
    for moved in (model.gates + 1e-5 * step for step in torch.cat([torch.eye(4), -torch.eye(4)]).double()):
        there = copy.deepcopy(model)
        there.gates.data.copy_(moved)
        weights = [weight for name, weight in there.named_parameters() if name not in ("gates", "unused")]
        slopes = torch.autograd.grad(F.cross_entropy(there(x), target), weights)
        with torch.no_grad():
            for weight, slope in zip(weights, slopes, strict=True):
                weight -= RATE * slope
            there.gates.copy_(model.gates)
            units.append(F.cross_entropy(there(x_valid), target_valid))
    expected = (torch.stack(units[:4]) - torch.stack(units[4:])) / 2e-5
    for gradient in found:
        assert relative(gradient, expected) < 1e-6
    assert set(udl_of(model, ["second.weight", "body.bias"]).upstream) == {"first.weight", "head.bias"}


def test_frozen_parameters_are_on_neither_side():
    model = gated()
    model.first.requires_grad_(False)
    udl = udl_of(model)
    assert set(udl.upstream | udl.downstream) == {"gates", "second.weight", "second.bias"}
    assert hyper_gradient(model, batches(6, 4)).norm() > 0
    model.gates.requires_grad_(False)
    with pytest.raises(LookupError, match=r"no parameter gates .* there are second.weight, second.bias"):
        udl_of(model)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"upstream": lambda name: False}, ValueError, "no parameter is upstream; there are gates, first.weight"),
        ({"upstream": []}, ValueError, "no parameter is upstream"),
        ({"upstream": lambda name: True}, ValueError, "no parameter is downstream"),
        ({"simulated": []}, ValueError, "no parameter is simulated"),
        ({"simulated": ["gates"]}, LookupError, "no parameter gates to choose; there are first.weight"),
        ({"upstream": ["gate", "gates"]}, LookupError, "no parameter gate to choose; there are gates"),
        ({"form": "exact"}, LookupError, "no 'exact'; there are unrolled, hessian, difference"),
        ({"variant": "darts"}, LookupError, "no 'darts'; there are udl, full"),
        ({"rate": -0.1}, ValueError, "rate must be 0 or more"),
        ({"rate": float("nan")}, ValueError, "rate must be 0 or more"),
    ],
)
def test_what_cannot_be_is_refused(settings, error, message):
    with pytest.raises(error, match=message):
        udl_of(gated(), **settings)


def test_a_loss_that_does_not_reach_the_simulated_step_is_refused():
    with pytest.raises(ValueError, match="reaches none of the simulated parameters unused"):
        udl_of(Shared().double(), simulated=["unused"]).upstream_gradients(*batches(6, 4))


@pytest.mark.parametrize("form", FORMS)
def test_a_gradient_that_is_not_finite_is_named(form):
    x, target, x_valid, target_valid = batches(6, 4)
    with pytest.raises(FloatingPointError, match="gradient of gates is not finite"):
        udl_of(gated(), form=form).upstream_gradients(x, target, x_valid * torch.inf, target_valid)
    with pytest.raises(FloatingPointError, match="gradient of gates is not finite"):
        udl_of(gated(), form=form).upstream_gradients(x * torch.nan, target, x_valid, target_valid)
    with pytest.raises(FloatingPointError, match="gradient of first.weight is not finite"):
        udl_of(gated(), form=form).downstream_gradients(x * torch.nan, target)
    with pytest.raises(FloatingPointError, match="loss is nan; give a batch of at least one"):
        udl_of(gated(), form=form).upstream_gradients(x, target, x_valid[:0], target_valid[:0])


@pytest.mark.parametrize("call", [1, 2, 3])
def test_an_error_in_the_middle_leaves_the_model_whole(call):
    class Failing(Gated):
        def forward(self, x):
            calls.append(1)
            if len(calls) == call:
                raise OSError("no more")
            return super().forward(x)

    calls, model = [], Failing(norm=True).double()
    before, places = everything(model), {name: id(weight) for name, weight in model.named_parameters()}
    with pytest.raises(OSError, match="no more"):
        udl_of(model, form="difference").upstream_gradients(*batches(6, 4))
    assert same(everything(model), before)
    assert {name: id(weight) for name, weight in model.named_parameters()} == places
    assert all(weight.requires_grad for weight in model.parameters())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_the_difference_sees_the_same_noise():
    model, data = gated(draw="soft").cuda(), [values.cuda() for values in batches(6, 4)]
    found = [hyper_gradient(model, data, form=form) for form in FORMS]
    assert relative(found[1], found[0]) < 1e-12
    assert relative(found[2], found[0]) < 1e-6
