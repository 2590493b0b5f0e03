"""Recordings name what really happened, and neither they nor interventions leave anything behind."""

import copy
import itertools
import weakref

import pytest
import torch
from torch import nn

from gatescope.models import CELLS, RecurrentLayer
from gatescope.models.hooks import HookPoint
from gatescope.recordings import hook_points, intervene, record

EQUATION_NAMES = {
    "convlstm": "i f o g c h",
    "a": "x_pooled h_pooled i f o g c h",
    "b": "z attention x_attended x_pooled h_pooled i f o g c h",
    "c": "z attention x_pooled h_pooled i f o g c h",
    "d": "z attention x_pooled h_pooled i f o g c h",
}


class TwoLayers(nn.Module):
    """Two cells and a point with a time axis of its own, as a network has them."""

    def __init__(self, cell):
        super().__init__()
        torch.manual_seed(1)
        self.layer1, self.layer2 = RecurrentLayer(cell, 3, 4), RecurrentLayer("a", 4, 5)
        self.hooks = nn.ModuleDict({"features": HookPoint(time_axis=1)})

    def forward(self, x):
        return self.layer2(self.layer1(self.hooks["features"](x))).mean((1, 3, 4))


@pytest.fixture
def x():
    return torch.randn(2, 4, 3, 6, 5, generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=CELLS)
def network(request):
    return TwoLayers(request.param)


def leftovers(network):
    points = hook_points(network).values()
    lists = [held for point in points for held in (point.readers, point.replacements, point.graphs)]
    hooks = [
        held
        for module in network.modules()
        for held in (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks)
    ]
    return [held for held in lists + hooks if held]


@pytest.mark.parametrize("cell", CELLS)
def test_every_quantity_of_the_equations_has_its_name(cell, x):
    layer = RecurrentLayer(cell, 3, 4)
    with record(layer) as recording:
        layer(x)
    assert list(recording) == EQUATION_NAMES[cell].split()
    maps = {"g", "c", "h"} | {name for name in "ifo" if getattr(CELLS[cell], name) != "pooled"}
    for name in recording:
        channels = {"x_attended": 3, "x_pooled": 3}.get(name, 1 if cell == "b" and name in ("z", "attention") else 4)
        pooled = name.endswith("_pooled") or (name in "ifo" and name not in maps)
        assert recording[name].shape == (2, 4, channels) + (() if pooled else (6, 5)), name


def test_recording_changes_no_bit(network, x):
    for grad in (False, True):
        with torch.set_grad_enabled(grad):
            plain = network(x)
            with record(network):
                recorded = network(x)
            assert torch.equal(plain, recorded)
            assert torch.equal(plain, network(x))
    with record(network, gradients=True):
        torch.testing.assert_close(network(x), plain, rtol=1e-6, atol=1e-7)


def test_recording_in_training_changes_no_gradient(network, x):
    def gradients():
        network.zero_grad()
        network(x).square().sum().backward()
        return [parameter.grad.clone() for parameter in network.parameters()]

    plain = gradients()
    with record(network):
        recorded = gradients()
    assert all(torch.equal(one, other) for one, other in zip(plain, recorded, strict=True))


def test_the_layer_returns_what_was_recorded_as_h(network, x):
    with record(network, "layer1.h", "features") as recording:
        hidden = network.layer1(network.hooks["features"](x))
    assert torch.equal(recording["layer1.h"], hidden)
    assert torch.equal(recording["features"], x)


def test_one_frame_keeps_its_time_axis(network, x):
    with record(network) as recording:
        network(x[:, :1])
    assert {values.shape[1] for values in recording.values()} == {1}
    assert {values.shape[0] for values in recording.values()} == {2}


def test_patterns_choose_and_unknown_names_list_what_there_is(network, x):
    with record(network, "layer1.[ifo]", "*.c") as recording:
        network(x)
    assert set(recording) == {"layer1.i", "layer1.f", "layer1.o", "layer1.c", "layer2.c"}
    with pytest.raises(LookupError, match=r"no hook point matches 'layer1.w'; there are .*layer1.i, .*layer2.h"):
        record(network, "*.c", "layer1.w").__enter__()
    with pytest.raises(LookupError, match="layer1.w"):
        intervene(network, {"layer1.c": torch.zeros_like, "layer1.w": torch.zeros_like}).__enter__()
    with pytest.raises(LookupError, match=r"layer1.g was not recorded; this recording holds .*layer1.i"):
        recording["layer1.g"]
    assert not leftovers(network)


def test_nothing_recorded_yet_says_what_to_do(network):
    with record(network) as recording, pytest.raises(LookupError, match="run the network inside"):
        recording["layer1.c"]
    assert "layer1.c" in recording and "layer1.w" not in recording


def test_a_second_pass_begins_the_recording_anew(network, x):
    with record(network) as recording:
        network(x)
        first = recording["layer1.c"].clone()
        network(2 * x[:, :3])
    with record(network) as alone:
        network(2 * x[:, :3])
    assert recording["layer1.c"].shape[1] == 3 and first.shape[1] == 4
    assert all(torch.equal(recording[name], alone[name]) for name in recording)


@pytest.mark.slow
def test_values_read_before_a_second_pass_stay_and_those_read_after_it_are_its_own(network, x):
    other = 2 * x.flip(1)
    for gradients in (False, True):
        with record(network, gradients=gradients) as recording:
            network(x)
            first = dict(recording)
            kept = {name: values.clone() for name, values in first.items()}
            score = network(other).square().sum()
        with record(network, gradients=gradients) as alone:
            again = network(other).square().sum()
        for name in recording:
            assert torch.equal(first[name], kept[name]), name
            assert torch.equal(recording[name], alone[name]) and not torch.equal(recording[name], first[name]), name
            if gradients:
                assert torch.equal(recording.gradient(name, score), alone.gradient(name, again)), name


def test_a_layer_that_runs_alone_replaces_its_own_values_only(network, x):
    with record(network) as recording:
        network(x)
        before = dict(recording)
        network.layer1(3 * x[:, :2])
    with record(network.layer1) as alone:
        network.layer1(3 * x[:, :2])
    assert all(torch.equal(recording[f"layer1.{name}"], alone[name]) for name in alone)
    others = [name for name in recording if not name.startswith("layer1.")]
    assert others and all(torch.equal(recording[name], before[name]) for name in others)


def test_no_hook_survives_an_exception(network, x):
    blocks = record(network, gradients=True), intervene(network, {"layer1.c": torch.zeros_like})
    with pytest.raises(RuntimeError, match="mine"), blocks[0], blocks[1]:
        network(x)
        raise RuntimeError("mine")
    assert not leftovers(network)

    def fail(value):
        raise RuntimeError("inside the network")

    plain = network(x)
    with pytest.raises(RuntimeError, match="inside"), record(network), intervene(network, {"*.o": fail}):
        network(x)
    assert not leftovers(network)
    assert torch.equal(network(x), plain)


def test_blocks_end_in_any_order(network, x):
    plain = network(x)
    outer, inner = record(network, "layer1.c"), record(network, "layer1.c")
    first, second = outer.__enter__(), inner.__enter__()
    outer.__exit__(None, None, None)
    network(x)
    with pytest.raises(LookupError):
        first["layer1.c"]
    assert second["layer1.c"].shape[1] == 4
    inner.__exit__(None, None, None)
    assert not leftovers(network)
    assert torch.equal(network(x), plain)


def test_two_networks_do_not_hear_each_other(x):
    one, other = TwoLayers("a"), TwoLayers("c")
    twin = copy.deepcopy(one)
    with record(one) as first, record(other) as second, intervene(one, {"layer1.f": torch.zeros_like}):
        changed, unchanged = one(x), other(x)
        same = twin(x)
    assert not first["layer1.f"].any() and second["layer1.f"].any()
    assert torch.equal(unchanged, other(x)) and torch.equal(same, one(x)) and not torch.equal(changed, same)


def test_a_copy_of_a_network_is_not_heard(network, x):
    with record(network, gradients=True) as recording, intervene(network, {"layer1.f": torch.zeros_like}):
        network(x)
        copied = copy.deepcopy(network)
        copied(2 * x[:, :2])
    copied(2 * x[:, :2])
    assert not any(point.readers or point.replacements or point.graphs for point in hook_points(copied).values())
    with record(network) as alone, intervene(network, {"layer1.f": torch.zeros_like}):
        network(x)
    assert all(torch.equal(recording[name], alone[name]) for name in recording)
    with record(copied) as unchanged:
        copied(x)
    assert unchanged["layer1.f"].any()


def test_an_intervention_is_what_the_network_goes_on_with(network, x):
    with record(network) as recording, intervene(network, {"layer1.f": torch.zeros_like}):
        network(x)
    i, g, c = (recording[f"layer1.{name}"] for name in "igc")
    i = i if i.ndim == 5 else i[..., None, None]
    assert not recording["layer1.f"].any()
    torch.testing.assert_close(c, i * g)


@pytest.mark.slow
def test_whatever_is_replaced_by_itself_changes_nothing(network, x):
    plain = network(x)
    with record(network) as recording:
        network(x)
    for name in recording:
        for change in (torch.clone, recording[name]):
            with intervene(network, {name: change}):
                torch.testing.assert_close(network(x), plain, rtol=1e-6, atol=1e-7, msg=name)
    with intervene(network.double(), {"*": torch.clone}):
        replaced = network(x.double())
    torch.testing.assert_close(replaced, network(x.double()), rtol=1e-12, atol=1e-14)


@pytest.mark.slow
def test_every_point_acts_on_the_result(network, x):
    plain = network(x)
    for name in hook_points(network):
        with intervene(network, {name: lambda value: 0.5 * value + 0.1}):
            assert not torch.equal(network(x), plain), name


def test_a_tensor_replaces_step_by_step(network, x):
    with record(network, "layer1.g") as recording:
        network(x)
    backwards = recording["layer1.g"].flip(1)
    with record(network, "layer1.g") as again, intervene(network, {"layer1.g": backwards}):
        for _ in range(2):
            network(x)
            assert torch.equal(again["layer1.g"], backwards)
    with intervene(network, {"layer1.g": backwards[:, :3]}), pytest.raises(ValueError, match="has 3 steps"):
        network(x)


def test_a_replacement_sees_one_step_also_where_a_point_holds_them_all(network, x):
    seen = []

    def look(value):
        seen.append(value)
        return value

    with intervene(network, {"features": look}):
        network(x)
    assert torch.equal(torch.stack(seen, 1), x)


def test_a_point_may_hold_its_steps_along_another_axis(x):
    class ChannelsFirst(nn.Module):
        def __init__(self):
            super().__init__()
            self.hooks = nn.ModuleDict({"maps": HookPoint(time_axis=2)})

        def forward(self, x):
            return self.hooks["maps"](x)

    module, seen = ChannelsFirst(), []
    with record(module) as recording, intervene(module, {"maps": lambda value: seen.append(value) or value}):
        assert torch.equal(module(x.transpose(1, 2)), x.transpose(1, 2))
    assert torch.equal(recording["maps"], x) and torch.equal(torch.stack(seen, 1), x)


def test_a_point_outside_a_forward_pass_begins_anew_by_itself(network, x):
    """As where scores over time are asked for, which is no call of the network."""
    point = network.hooks["features"]
    with record(network, "features") as recording, intervene(network, {"features": 2 * x}):
        for _ in range(2):
            assert torch.equal(point(x), 2 * x)
            assert torch.equal(recording["features"], 2 * x)


def test_a_recording_without_gradients_keeps_no_graph(network, x):
    kept = []

    class Saved:
        def __init__(self, tensor):
            self.tensor = tensor.detach()
            kept.append(weakref.ref(self))

    def graph_is_held(**options):
        kept.clear()
        with (
            torch.autograd.graph.saved_tensors_hooks(Saved, lambda saved: saved.tensor),
            record(network, **options) as r,
        ):
            network(x)
        assert kept and len(r)
        return any(saved() is not None for saved in kept)

    assert not graph_is_held() and graph_is_held(gradients=True)


def test_a_replacement_of_another_shape_is_refused(network, x):
    words = r"what replaces layer1.c must be a tensor of \(2, 4, 6, 5\); got \(2, 2, 6, 5\)"
    with intervene(network, {"layer1.c": lambda value: value[:, :2]}), pytest.raises(ValueError, match=words):
        network(x)
    with intervene(network, {"layer1.c": lambda value: None}), pytest.raises(ValueError, match="tensor of .* got None"):
        network(x)


def test_an_inner_intervention_sees_what_the_outer_made(network, x):
    seen = []

    def keep(value):
        seen.append(value)
        return value

    with intervene(network, {"layer1.f": torch.ones_like}), intervene(network, {"layer1.f": keep}):
        network(x)
    assert len(seen) == 4 and all((value == 1).all() for value in seen)


@pytest.mark.slow
@pytest.mark.parametrize("trainable", [True, False])
def test_gradients_are_those_of_small_changes(network, x, trainable, shapes_unchecked):
    network, x = network.double().requires_grad_(trainable), x.double()
    weights = torch.randn(2, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    with record(network, gradients=True) as recording:
        score = (network(x) * weights).sum()
    for name, step in itertools.product(recording, (0, 3)):
        values = recording[name]
        direction = torch.zeros_like(values)
        direction[:, step] = torch.randn(values[:, step].shape, generator=torch.Generator().manual_seed(4)).double()
        expected = 0.0
        for sign in (1, -1):
            # The change is made at one step, and all later ones follow from it.
            nudges = iter((sign * 1e-6 * direction).unbind(1))
            with intervene(network, {name: lambda value, nudges=nudges: value + next(nudges)}), torch.no_grad():
                expected += sign * (network(x) * weights).sum() / 2e-6
        found = (recording.gradient(name, score) * direction).sum()
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-8, msg=f"{name} at step {step}")


def test_gradients_that_cannot_be_say_why(network, x):
    with record(network) as recording:
        score = network(x).sum()
    with pytest.raises(ValueError, match="gradients=True"):
        recording.gradient("layer1.c", score)
    with record(network, gradients=True) as recording, torch.no_grad():
        score = network(x).sum()
    with pytest.raises(ValueError, match="without no_grad"):
        recording.gradient("layer1.c", score)
    with record(network, "layer1.*", gradients=True) as recording:
        first, _ = network(x).sum(), network(x)
    with pytest.raises(ValueError, match="make it from the last forward pass"):
        recording.gradient("layer1.c", first)
    with pytest.raises(LookupError, match="layer2.c was not recorded; this recording holds .*layer1.c"):
        recording.gradient("layer2.c", first)


def test_what_a_score_does_not_depend_on_has_a_gradient_of_zero(network, x):
    cut = torch.zeros(2, 4, 4, 6, 5)
    with record(network, gradients=True) as recording, intervene(network, {"layer1.h": cut}):
        score = network(x).sum()
    assert recording.gradient("layer1.c", score).shape == (2, 4, 4, 6, 5)
    assert not recording.gradient("layer1.c", score).any() and recording.gradient("layer2.c", score).any()
    with record(network, gradients=True) as recording:
        first = network.layer1(x)[:, 0].sum()
    gradient = recording.gradient("layer1.c", first)
    assert gradient[:, 0].any() and not gradient[:, 1:].any()
    assert not any(values.requires_grad for values in (gradient, recording["layer1.c"]))


def test_a_recording_can_be_read_after_its_network_has_changed(network, x):
    with record(network) as recording:
        network(x)
    kept = {name: values.clone() for name, values in recording.items()}
    with record(network) as unread:
        network(x)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    network(x)
    assert all(torch.equal(unread[name], kept[name]) for name in kept)
