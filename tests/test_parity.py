"""What our cells and networks compute is what the authors' own code computed; each likely mistake would show."""

import json
from dataclasses import replace
from functools import cache
from itertools import combinations
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from gatescope.models import CELLS, GestureNetwork, NetworkConfig, RecurrentLayer, load_keras_weights
from gatescope.models.conventions import CONVENTIONS
from gatescope.models.keras_weights import places, recurrent_state
from gatescope.recordings import record

REFERENCE = Path(__file__).resolve().parent / "reference"
TYPES = {"plain": "convlstm", "a_gated": "a", "b_attenx": "b", "c_atteni": "c", "d_atteno": "d"}
KERAS_PARTS = ("gates.i", "gates.f", "candidate", "gates.o")
ACTIVATIONS = {"sigmoid": "paper", "hard_sigmoid": "authors"}
LAYERS = [(kind, activation) for kind in TYPES for activation in ACTIVATIONS]
# The module whose output each array holds, and how far float32 may lie from it.
STAGES = {"res3d": 1e-4, "clstm_1": 5e-5, "clstm_2": 5e-5, "mobilenet": 5e-4}
MODULES = {"res3d": "res3d", "clstm_1": "layer1", "clstm_2": "layer2", "mobilenet": "mobilenet"}


def state_of(cell, weights):
    """The state dict of a layer: of the authors' cells as the library reads it, of Keras' own ConvLSTM2D by hand."""
    if cell != "convlstm":
        return recurrent_state(cell, weights)
    state = {}
    for theirs, ours in (("kernel", "input_to_state.weight"), ("recurrent_kernel", "state_to_state.weight")):
        kernels = torch.from_numpy(np.moveaxis(weights[theirs], (-1, -2), (0, 1)).copy()).chunk(4)
        state |= {f"{part}.{ours}": kernel for part, kernel in zip(KERAS_PARTS, kernels, strict=True)}
    biases = torch.from_numpy(weights["bias"]).chunk(4)
    return state | {f"{part}.input_to_state.bias": bias for part, bias in zip(KERAS_PARTS, biases, strict=True)}


def layer_of(kind, activation, dtype=torch.float64):
    """A layer with the reference's weights, its input, and the reference's arrays."""
    arrays = np.load(REFERENCE / f"layer_{kind}_8x8_{activation}.npz")
    weights = {name.removeprefix("w/"): arrays[name] for name in arrays.files if name.startswith("w/")}
    in_channels, hidden = arrays["x"].shape[-1], arrays["h"].shape[-1]
    layer = RecurrentLayer(TYPES[kind], in_channels, hidden, conventions=ACTIVATIONS[activation])
    layer.load_state_dict(state_of(TYPES[kind], weights))
    x = torch.from_numpy(arrays["x"]).permute(0, 1, 4, 2, 3)
    return layer.to(dtype), x.to(dtype), arrays


def channels_last(values):
    """Ours as theirs: channels at the end; a pooled gate with a height and a width of 1."""
    values = values.detach().cpu().numpy()
    return np.moveaxis(values, 2, -1) if values.ndim == 5 else values[:, :, None, None]


@cache
def the_clip():
    arrays = np.load(REFERENCE / "input.npz")
    frames = arrays["frames_uint8"].astype(np.float32) - arrays["mean"].astype(np.float32)
    return torch.from_numpy(np.moveaxis(frames, -1, 0).copy())[None]


def outputs_of(network, x):
    """The output of every module by its name, channels last, and the logits."""
    outputs, hooks = {}, []
    for name, module in network.named_modules():
        hooks.append(module.register_forward_hook(lambda _, args, y, name=name: outputs.__setitem__(name, y)))
    with torch.no_grad():
        logits = network(x)
    for hook in hooks:
        hook.remove()
    # Recurrent layers have their channels third, everything else second.
    moved = {name: y.movedim(2 if name in ("layer1", "layer2") else 1, -1).numpy() for name, y in outputs.items()}
    return moved, logits.numpy()


def check_network(weights, tensors):
    """Every stage and every layer within the reference's tolerances, and in float64 within 1e-12."""
    network = load_keras_weights(weights, num_frames=16)
    outputs, logits = outputs_of(network, the_clip())
    first, second = (name for name in tensors["layer_names"] if name.endswith(("clstm2d_1", "clstm2d_2")))
    for layer, place, _ in places(first, second):
        # The first that departs is the one at fault.
        flat = outputs[place].ravel()
        sample, spread = tensors[f"sample/{layer}"], tensors[f"stat/{layer}"][1]
        ours = flat[:: max(1, flat.size // 61)][: len(sample)]
        np.testing.assert_allclose(ours, sample, rtol=0, atol=1e-4 * max(1, spread), err_msg=layer)
        stat = [flat.mean(dtype=np.float64), flat.std(dtype=np.float64), flat.min(), flat.max()]
        np.testing.assert_allclose(stat, tensors[f"stat/{layer}"], rtol=0, atol=2e-4 * max(1, spread), err_msg=layer)
    for name, tolerance in STAGES.items():
        theirs = tensors[name]
        np.testing.assert_allclose(outputs[MODULES[name]], theirs, rtol=0, atol=tolerance, err_msg=name)
    pooled = outputs["mobilenet"].mean((0, 1, 2))
    np.testing.assert_allclose(pooled, tensors["pooled"].ravel(), rtol=0, atol=3e-5)
    np.testing.assert_allclose(logits, tensors["logits"], rtol=0, atol=3e-5)
    np.testing.assert_allclose(F.softmax(torch.from_numpy(logits), 1), tensors["softmax"], rtol=0, atol=3e-6)
    outputs, logits = outputs_of(network.double(), the_clip().double())
    pooled = outputs["mobilenet"].mean((0, 1, 2))
    np.testing.assert_allclose(pooled, tensors["pooled_f64"].ravel(), rtol=0, atol=1e-12)
    np.testing.assert_allclose(logits, tensors["logits_f64"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(F.softmax(torch.from_numpy(logits), 1), tensors["softmax_f64"], rtol=0, atol=1e-12)


@pytest.mark.parametrize(("kind", "activation"), LAYERS)
def test_layers_are_the_authors_in_float64(kind, activation):
    layer, x, arrays = layer_of(kind, activation)
    with torch.no_grad(), record(layer) as recording:
        h = layer(x)
    np.testing.assert_allclose(channels_last(h), arrays["h"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(channels_last(recording["c"]), arrays["c"], rtol=0, atol=1e-12)


@pytest.mark.parametrize(("kind", "activation"), LAYERS)
def test_layers_and_all_within_them_are_the_authors_in_float32(kind, activation):
    layer, x, arrays = layer_of(kind, activation, torch.float32)
    with torch.no_grad(), record(layer) as recording:
        h = layer(x)
    np.testing.assert_allclose(channels_last(h), arrays["h"], rtol=0, atol=1e-6)
    ours = {"c": "c", "g": "g", "gate_i": "i", "gate_f": "f", "gate_o": "o"}
    for name, quantity in ours.items():
        values = channels_last(recording[quantity])
        np.testing.assert_allclose(values, arrays[name], rtol=0, atol=1e-6, err_msg=name)
    if kind == "b_attenx":
        attention = np.broadcast_to(channels_last(recording["attention"]), arrays["attention"].shape)
        np.testing.assert_allclose(attention, arrays["attention"], rtol=0, atol=1e-6)


@pytest.mark.slow
def test_the_gated_network_is_the_authors():
    check_network(REFERENCE / "gated_weights.h5", np.load(REFERENCE / "gated_tensors.npz"))


@pytest.mark.slow
@pytest.mark.parametrize("tag", ["attenx", "atteni", "atteno"])
def test_the_networks_with_attention_are_the_authors(shared, tag):
    folder = shared / "reference" / "nets_div16"
    check_network(folder / f"{tag}_weights.h5", np.load(folder / f"{tag}_tensors.npz"))


@pytest.mark.slow
def test_a_file_that_lists_beta_before_gamma_gives_the_same_network(tmp_path):
    path = tmp_path / "beta_first.h5"
    path.write_bytes((REFERENCE / "gated_weights.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        norms = [layer for layer in file if layer.startswith("BatchNorm")]
        for layer in norms:
            gamma, beta, *moving = file[layer].attrs["weight_names"]
            assert gamma.endswith(b"gamma:0") and beta.endswith(b"beta:0")
            file[layer].attrs["weight_names"] = np.array([beta, gamma, *moving])
    assert len(norms) == 25
    ours, same = load_keras_weights(REFERENCE / "gated_weights.h5").state_dict(), load_keras_weights(path).state_dict()
    assert all(torch.equal(tensor, same[name]) for name, tensor in ours.items())


@pytest.mark.slow
def test_the_authors_file_with_beta_before_gamma_gives_the_same_network(shared):
    folder = shared / "reference" / "nets_div16"
    ours = load_keras_weights(folder / "gated_weights.h5").state_dict()
    same = load_keras_weights(folder / "gated_weights_beta_first.h5").state_dict()
    assert all(torch.equal(tensor, same[name]) for name, tensor in ours.items())


def with_authors(monkeypatch, **changes):
    monkeypatch.setitem(CONVENTIONS, "authors", replace(CONVENTIONS["authors"], **changes))


def drop_top_biases(network):
    for block in network.mobilenet.blocks.values():
        block.conv.pointwise.bias.data.zero_()


def read_gates_as_f_i_o(network):
    for layer in (network.layer1, network.layer2):
        i, f = (layer.gates[name].state_dict() for name in "if")
        i, f = ({name: tensor.clone() for name, tensor in gate.items()} for gate in (i, f))
        layer.gates["i"].load_state_dict(f)
        layer.gates["f"].load_state_dict(i)


# The mistake, how it is made before and after the network is, and the error of the logits it is known to give.
MISTAKES = {
    "symmetric padding at stride 2": ({"one_sided_padding": False}, None, 0.69),
    "sigmoid in the first layer": ({}, lambda net: setattr(net.layer1, "conventions", CONVENTIONS["paper"]), 0.23),
    "torch's hardsigmoid": ({"gate_activation": F.hardsigmoid}, None, 0.24),
    "batch norm's eps 1e-5": ({"batch_norm_eps": 1e-5}, None, 0.09),
    "ReLU for ReLU6": ({"top_activation": F.relu}, None, 0.82),
    "no bias in the separable convolutions": ({}, drop_top_biases, 2.5),
    "gates in the order f, i, o": ({}, read_gates_as_f_i_o, 0.40),
}


@pytest.mark.slow
@pytest.mark.parametrize(("changes", "spoil", "known"), MISTAKES.values(), ids=MISTAKES)
def test_a_likely_mistake_breaks_parity(monkeypatch, changes, spoil, known):
    with_authors(monkeypatch, **changes)
    network = load_keras_weights(REFERENCE / "gated_weights.h5", num_frames=16)
    if spoil:
        spoil(network)
    _, logits = outputs_of(network, the_clip())
    error = abs(logits - np.load(REFERENCE / "gated_tensors.npz")["logits"]).max()
    assert 0.9 * known < error < 1.1 * known


@pytest.mark.slow
def test_a_network_without_the_separable_biases_cannot_take_the_authors_weights(monkeypatch):
    with_authors(monkeypatch, top_bias=False)
    with pytest.raises(ValueError, match=r"1a\.conv\.pointwise\.bias is \(16,\) in the file, missing in"):
        load_keras_weights(REFERENCE / "gated_weights.h5")


@pytest.mark.parametrize("kind", TYPES)
def test_two_gates_of_a_kind_confused_break_the_parity_of_any_layer(kind):
    kinds = CELLS[TYPES[kind]].gates
    pairs = [(one, other) for one, other in combinations("ifo", 2) if kinds[one] == kinds[other]]
    assert pairs
    for one, other in pairs:
        layer, x, arrays = layer_of(kind, "sigmoid")
        first, second = ({k: v.clone() for k, v in layer.gates[name].state_dict().items()} for name in (one, other))
        layer.gates[one].load_state_dict(second)
        layer.gates[other].load_state_dict(first)
        with torch.no_grad():
            assert abs(channels_last(layer(x)) - arrays["h"]).max() > 1e-3


@pytest.mark.parametrize("kind", TYPES)
def test_the_two_sigmoids_differ_as_the_reference_says(kind):
    layer, x, arrays = layer_of(kind, "hard_sigmoid")
    layer.conventions = CONVENTIONS["paper"]
    with torch.no_grad():
        error = abs(channels_last(layer(x)) - arrays["h"]).max()
    assert 1e-3 < error < 0.2


@pytest.mark.parametrize(("tag", "cell"), [("gated", "a"), ("attenx", "b"), ("atteni", "c"), ("atteno", "d")])
def test_full_width_networks_have_the_authors_shapes_and_counts(shared, tag, cell):
    layout = json.loads((shared / "reference" / "weight_layout_full_width.json").read_text())[tag]
    # Weights without numbers: their shapes are all that counts.
    theirs = {
        layer: {name.split("/")[1].removesuffix(":0"): np.broadcast_to(np.float32(0), shape) for name, shape in weights}
        for layer, weights in layout["layers"]
        if weights
    }
    config = NetworkConfig.paper(cell, num_classes=249, num_frames=32, conventions="authors")
    with torch.device("meta"):
        network = GestureNetwork(config)
    ours = {name: tensor for name, tensor in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    first, second = layout["parameters_clstm"]
    taken = {}
    for layer, place, convert in places(first, second):
        taken |= {f"{place}.{name}": tensor.shape for name, tensor in convert(theirs.pop(layer)).items()}
    assert taken == {name: tensor.shape for name, tensor in ours.items()} and not theirs
    assert sum(tensor.numel() for tensor in ours.values()) == layout["parameters_all"]
    assert sum(parameter.numel() for parameter in network.parameters()) == layout["parameters_trainable"]
    for layer, count in zip((network.layer1, network.layer2), layout["parameters_clstm"].values(), strict=True):
        assert sum(parameter.numel() for parameter in layer.parameters()) == count


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        ("convlstm", "ConvLSTM2D"),
        ("a", "GatedConvLSTM2D"),
        ("b", "AttenXConvLSTM2D"),
        ("c", "AttenIConvLSTM2D"),
        ("d", "AttenOConvLSTM2D"),
    ],
)
def test_gate_kernels_and_biases_start_as_the_authors_do(shared, cell, name):
    """Those the authors' layers hold constant: all that goes into a pooled gate, and every bias."""
    table = json.loads((shared / "reference" / "initialisation.json").read_text())["layers"][name]
    start = RecurrentLayer(cell, 128, 128 if cell == "b" else 256, conventions="authors").state_dict()
    if cell == "convlstm":
        biases = torch.cat([tensor for name, tensor in start.items() if name.endswith("bias")])
        _, mean, std, *_ = table["bias:0"]
        assert (start["gates.f.input_to_state.bias"] == 1).all()
        assert (biases.mean().item(), biases.std(correction=0).item()) == pytest.approx((mean, std))
        return
    constant = {"bias:0", "gate_kernel:0", "recurrent_gate_kernel:0", "gate_bias:0"}
    assert {key for key, (_, _, std, *_) in table.items() if std == 0} == constant
    theirs = state_of(
        cell, {key.removesuffix(":0"): np.full(shape, mean, np.float32) for key, (shape, mean, *_) in table.items()}
    )
    pooled = [f"gates.{gate}." for gate, kind in CELLS[cell].gates.items() if kind == "pooled"]
    compared = [key for key in theirs if key.endswith("bias") or key.startswith(tuple(pooled))]
    assert len(compared) >= 3 * len(pooled)
    for key in compared:
        assert torch.equal(start[key], theirs[key]), key
