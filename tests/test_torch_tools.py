"""What PyTorch's own tools do to layers and networks: types, export, tracing, functorch, wrappers, state dicts."""

import copy

import pytest
import torch
from torch import nn
from torch.ao.quantization import quantize_dynamic
from torch.export import Dim, export
from torch.nn.utils import parametrize, prune

from gatescope.models import (
    CELLS,
    LSTM,
    RNN,
    DSTSConfig,
    GestureNetwork,
    NetworkConfig,
    PeepholeConvLSTM,
    RecurrentLayer,
    SpecialisedNetwork,
    cells,
    checkpoint,
)

OTHERS = ("b_rescaled", "separable", "a_of_x", "convlstm_of_x", "min_conv", "gru")
FREE = ({0: Dim("clips", min=1, max=64), 1: Dim("steps", min=1, max=100)},)
MAPS, ROWS = (2, 3, 4, 6, 5), (2, 3, 4)
LAYERS = {
    **{name: (lambda name=name: RecurrentLayer(name, 4, 5), MAPS) for name in (*CELLS, *OTHERS)},
    "rnn": (lambda: RNN(4, 5), ROWS),
    "lstm": (lambda: LSTM(4, 5), ROWS),
    "peephole": (lambda: PeepholeConvLSTM(4, 5, 3, 3, peepholes=True), MAPS),
}


def network(cell="a"):
    torch.manual_seed(0)
    return GestureNetwork(NetworkConfig.small(cell, num_classes=3)).eval()


def layer_and_input(name):
    torch.manual_seed(0)
    make, shape = LAYERS[name]
    return make(), torch.randn(shape)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", ["b", "c", "min_conv", "rnn", "lstm"])
def test_a_layer_in_16_bits_stays_near_float32(name, dtype):
    layer, x = layer_and_input(name)
    expected = layer(x)
    narrow = copy.deepcopy(layer).to(dtype)
    found, state = narrow(x.to(dtype), return_state=True)
    assert found.dtype == dtype and narrow(x.to(dtype), state).dtype == dtype
    torch.testing.assert_close(found.float(), expected, rtol=0, atol=0.03 * expected.abs().max().item())
    found.float().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in narrow.parameters() if parameter.grad is not None)
    with torch.autocast("cpu", dtype):
        mixed = layer(x)
    torch.testing.assert_close(mixed, expected, rtol=0, atol=0.03 * expected.abs().max().item(), check_dtype=False)


@pytest.mark.parametrize("cell", ["a", "b", "c"])
def test_a_network_in_bfloat16_runs(cell):
    net, x = network(cell), torch.randn(1, 3, 4, 32, 32)
    expected = net(x)
    found = net.bfloat16()(x.bfloat16())
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, rtol=0, atol=0.05 * expected.abs().max().item())


def test_states_do_not_stall_in_16_bits():
    """What a memory gains at each step here is less than half the last digit of its own size."""
    layer = RecurrentLayer("min_conv", 1, 1, kernel_size=1).bfloat16()
    with torch.no_grad():
        for name, weight in layer.named_parameters():
            weight.fill_({"gates.i.input_to_state.bias": -6, "gates.f.input_to_state.bias": 6}.get(name, 0))
        layer.candidate.input_to_state.bias.fill_(1)
    _, (_, c) = layer(torch.zeros(1, 400, 1, 1, 1, dtype=torch.bfloat16), return_state=True)
    assert c.dtype == torch.float32 and c.item() == pytest.approx(1 - (1 - 1 / (1 + torch.e**6)) ** 400, rel=0.1)


def test_pooled_gates_of_large_maps_do_not_overflow_float16():
    layer = RecurrentLayer("a", 1, 1).half()
    assert layer(torch.full((1, 2, 1, 40, 40), 100.0).half()).isfinite().all()


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")  # torch.func uses it
@pytest.mark.parametrize("slow_mkl", [False, True])
@pytest.mark.parametrize("name", ["a", "b", "lstm"])
def test_vmap_jvp_and_gradients_of_each_clip(name, slow_mkl, monkeypatch, shapes_unchecked):
    monkeypatch.setattr(cells, "mkl_is_slow", lambda: slow_mkl)
    layer, x = layer_and_input(name)
    layer, x = layer.double(), x.double()
    together = torch.func.vmap(lambda clip: layer(clip[None])[0])(x)
    torch.testing.assert_close(together, layer(x))
    direction = torch.randn_like(x)
    _, along = torch.func.jvp(layer, (x,), (direction,))
    step = 1e-6 * direction
    torch.testing.assert_close(along, (layer(x + step) - layer(x - step)) / 2e-6, rtol=1e-5, atol=1e-7)
    weights = dict(layer.named_parameters())

    def score(weights, clip):
        return torch.func.functional_call(layer, weights, clip[None]).square().sum()

    by_clip = torch.func.vmap(torch.func.grad(score), (None, 0))(weights, x)
    layer(x).square().sum().backward()
    for key, weight in weights.items():
        if weight.grad is not None:
            torch.testing.assert_close(by_clip[key].sum(0), weight.grad)
    # In float32 the quick tanh is taken, where there is one.
    layer, x = layer.float(), x.float()
    torch.testing.assert_close(
        torch.func.jvp(layer, (x,), (direction.float(),))[1], along.float(), rtol=1e-2, atol=1e-4
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")  # of torch about itself
@pytest.mark.parametrize("name", ["b", "lstm"])
def test_an_exported_layer_takes_any_number_of_clips_and_steps(name, shapes_unchecked):
    layer, x = layer_and_input(name)
    for sizes in [(2, 4), (3, 5)] if name == "lstm" else []:  # torch keeps what it compiles for sizes that are fixed
        other = torch.randn(*sizes, *x.shape[2:])
        torch.testing.assert_close(export(layer, (other,)).module()(other), layer(other))
    exported = export(layer, (x,), dynamic_shapes=FREE).module()
    for sizes in ((2, 3), (5, 3), (1, 7)):
        other = torch.randn(*sizes, *x.shape[2:])
        torch.testing.assert_close(exported(other), layer(other))


ROUTERS = {"learned": {}, "given": {"router": "given", "gates": "conv3d"}}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")  # of torch about itself
@pytest.mark.parametrize("router", ROUTERS)
def test_specialised_neurons_are_exported_and_run_under_vmap(router, shapes_unchecked):
    torch.manual_seed(0)
    net = SpecialisedNetwork(DSTSConfig(num_classes=3, num_layers=2, channels=4, **ROUTERS[router])).eval()

    def clips_of(num_clips):
        clips = torch.randn(num_clips, 1, 5, 12, 12)
        return (clips, torch.randint(4, (num_clips,))) if router == "given" else (clips,)

    given = clips_of(6)
    one = torch.func.vmap(lambda *clip: net(*(part[None] for part in clip))[0])(*given)
    torch.testing.assert_close(one, net(*given))
    exported = export(net, given, dynamic_shapes=tuple({0: Dim("clips", min=1, max=64)} for _ in given)).module()
    for num_clips in (6, 1, 9):
        other = clips_of(num_clips)
        torch.testing.assert_close(exported(*other), net(*other))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")  # of torch
@pytest.mark.parametrize("kind", ["network", "b"])
def test_onnx_gives_the_same_for_any_number_of_clips_and_steps(kind, tmp_path, shapes_unchecked):
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason=f"{package} is not among the dependencies: python -m pip install {package}")
    from onnxruntime import InferenceSession

    if kind == "network":
        module, shape, time = GestureNetwork.load(checkpoint("a-0")).eval(), (2, 3, 8, 32, 32), 2
    else:
        module, shape, time = *layer_and_input(kind)[:1], MAPS, 1
    free = ({0: Dim("clips", min=1, max=64), time: Dim("steps", min=2, max=100)},)
    with torch.no_grad():
        torch.onnx.export(
            module, (torch.randn(shape),), tmp_path / "it.onnx", dynamo=True, dynamic_shapes=free, verbose=False
        )
    session = InferenceSession(tmp_path / "it.onnx")
    for clips, steps in ((2, shape[time]), (5, 12), (1, 7)):
        x = torch.randn(*(clips if axis == 0 else steps if axis == time else size for axis, size in enumerate(shape)))
        (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        torch.testing.assert_close(torch.from_numpy(found), module(x).detach(), rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:torch.quantize_per_tensor:UserWarning")  # of itself
@pytest.mark.parametrize("name", ["network", "a", "b", "lstm"])
def test_a_quantised_module_stays_near(name):
    if name == "network":
        module, x = GestureNetwork.load(checkpoint("a-0")).eval(), torch.randn(2, 3, 8, 32, 32)
    else:
        module, x = layer_and_input(name)
    narrow = quantize_dynamic(module, {nn.Linear}, dtype=torch.qint8)
    assert any("quantized" in type(part).__module__ for part in narrow.modules())
    found, expected = narrow(x), module(x)
    assert not torch.equal(found, expected)
    torch.testing.assert_close(found, expected, rtol=0, atol=0.03 * expected.abs().max().item())


@pytest.mark.parametrize("name", ["a", "min_conv", "rnn", "lstm", "peephole"])
@pytest.mark.filterwarnings("ignore:`torch.jit.trace:DeprecationWarning")
def test_a_traced_layer_is_refused(name):
    layer, x = layer_and_input(name)
    with pytest.raises(RuntimeError, match="number of steps and be wrong of others.*torch.export.export"):
        torch.jit.trace(layer, x)


class LoRA(nn.Module):
    """A layer beside which a second one learns, as people write it; it has no attribute `weight`."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.delta, self.calls = inner, copy.deepcopy(inner), 0

    def forward(self, x):
        self.calls += 1
        return self.inner(x) + 0.1 * self.delta(x)


def parts(module):
    return {name: part for name, part in module.named_modules() if isinstance(part, nn.Linear | nn.Conv2d | nn.Conv3d)}


@pytest.mark.parametrize("name", ["b", "gru", "lstm"])
def test_every_part_of_a_layer_runs_as_a_module(name):
    layer, x = layer_and_input(name)
    expected, fired = layer(x), []
    for place, part in parts(layer).items():
        part.register_forward_hook(lambda *_, place=place: fired.append(place))
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=0)
    assert set(fired) == set(parts(layer))
    for place in parts(layer):
        changed, other = copy.deepcopy(layer), copy.deepcopy(layer).to(memory_format=torch.contiguous_format)
        wrapper = LoRA(changed.get_submodule(place))
        changed.set_submodule(place, wrapper)
        assert not torch.equal(changed(x), expected) and wrapper.calls > 0
        prune.l1_unstructured(other.get_submodule(place), "weight", amount=0.9)
        assert not torch.equal(other(x), expected)
        assert not torch.isnan(other(x)).any()


def test_a_parametrized_and_a_wrapped_network_differ_as_they_should():
    net, x = network(), torch.randn(1, 3, 4, 32, 32)

    class Doubled(nn.Module):
        def forward(self, weight):
            return 2 * weight

    doubled, by_hand = copy.deepcopy(net), copy.deepcopy(net)
    for place in parts(net):
        parametrize.register_parametrization(doubled.get_submodule(place), "weight", Doubled())
        by_hand.get_submodule(place).weight.data.mul_(2)
    torch.testing.assert_close(doubled(x), by_hand(x))
    other = net.with_classes(5)
    other.head = LoRA(other.head)
    assert other.with_classes(7)(x).shape == (1, 7)


def test_weights_of_a_wrapped_network_are_loaded():
    net, x = network(), torch.randn(1, 3, 4, 32, 32)
    for changed in (
        lambda name: f"module.{name}",
        lambda name: f"_orig_mod.module.{name}",
        lambda name: name.replace("layer1.", "layer1._orig_mod."),
    ):
        torch.manual_seed(1)
        other = GestureNetwork(net.config).eval()
        other.load_state_dict({changed(name): value for name, value in net.state_dict().items()})
        torch.testing.assert_close(other(x), net(x), rtol=0, atol=0)


def test_weights_that_do_not_fit_are_told_in_one_sentence():
    net = network()
    state = net.state_dict()
    wrong = {
        "is missing, and": {},
        "head.bias is missing, and 0 more": {name: value for name, value in state.items() if name != "head.bias"},
        "model.epoch is unknown": {**state, "model.epoch": torch.zeros(1)},
        r"head.bias is \\(9,\\), not \\(3,\\)": {**state, "head.bias": torch.zeros(9)},
    }
    for said, given in wrong.items():
        with pytest.raises(ValueError, match=said.replace("\\\\", "\\")) as caught:
            net.load_state_dict(given)
        assert len(str(caught.value)) < 300
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
