"""The authors' weights, Keras layers in an HDF5 file, as a GestureNetwork: by name, never by position."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Tensor

from gatescope.models.backbone import RES3D_UNITS, STEM_CHANNELS, TOP_BLOCKS
from gatescope.models.cards import check_fit
from gatescope.models.cells import CELLS
from gatescope.models.config import NetworkConfig
from gatescope.models.conventions import MEANS
from gatescope.models.network import GestureNetwork

Weights = Mapping[str, np.ndarray]  # of one Keras layer, by the names it gave them
State = dict[str, Tensor]

FIRST_LAYERS = {"gatedclstm2d_1": "a", "axclstm2d_1": "b", "aiclstm2d_1": "c", "aoclstm2d_1": "d"}
SECOND_LAYERS = ("gatedclstm2d_2", "gclstm2d_2")  # (a) in every network of theirs
BATCH_NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


def load_keras_weights(
    path: str | Path, dataset: str = "isogd", modality: str = "rgb", num_frames: int = 32
) -> GestureNetwork:
    """The network whose weights the authors' code saved at `path`, in its evaluation mode.

    Any of their four networks, gated or with attention, at any width: cells, width and classes are read from the
    file, and the conventions are theirs. What it does not hold, the mean to subtract and the number of frames, are
    those of `dataset` and `modality`, and `num_frames`.

    Raises:
        FileNotFoundError: if there is no such file.
        LookupError: if no mean is known for that data set and modality.
        ValueError: if it is not such a file, not whole, or another network's; it says what is amiss.
    """
    path = Path(path)
    if (dataset, modality) not in MEANS:
        known = ", ".join(" ".join(pair) for pair in MEANS)
        raise LookupError(f"no mean is known for {dataset} {modality}; there are those of {known}")
    layers = read_layers(path)
    first = _one_of(FIRST_LAYERS, layers, path)
    second = _one_of(SECOND_LAYERS, layers, path)
    found: State = {}
    for layer, place, convert in places(first, second):
        try:
            state = convert(layers.pop(layer, {}))
        except ValueError as error:
            raise ValueError(f"{path} is not a network of the authors': layer {layer}: {error}") from None
        found |= {f"{place}.{name}": tensor for name, tensor in state.items()}
    if left := [layer for layer, weights in layers.items() if weights]:
        raise ValueError(f"{path} is not a network of the authors': theirs have no layer {', '.join(left)}")
    stem, head = found["res3d.stem.weight"], found["head.weight"]
    config = NetworkConfig(
        cells=(FIRST_LAYERS[first], "a"),
        num_classes=len(head),
        width=len(stem) / STEM_CHANNELS,
        in_channels=stem.shape[1],
        conventions="authors",
        num_frames=num_frames,
        mean=MEANS[dataset, modality],
        modality=modality,
    )
    network = GestureNetwork(config)
    # What they do not keep: how many batches each norm has seen, which a fixed momentum does not ask.
    state = {name: tensor for name, tensor in network.state_dict().items() if name.endswith("num_batches_tracked")}
    check_fit(path, found | state, network.state_dict())
    network.load_state_dict(found | state)
    return network.eval()


def read_layers(path: Path) -> dict[str, dict[str, np.ndarray]]:
    """The weights in a Keras HDF5 file by layer and name, whatever order it lists them in.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not a Keras weight file, or not whole.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; see data/isogd/README.md for how to obtain the authors' weights")
    try:
        with h5py.File(path, "r") as file:
            root = file.get("model_weights", file)  # where Keras saved a whole model
            return {
                layer: {
                    _last(name): np.asarray(root[layer][name], np.float32) for name in _names(root[layer], "weight")
                }
                for layer in _names(root, "layer")
            }
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not a whole Keras weight file (HDF5 with layer_names): {error}") from None


def recurrent_state(cell: str, weights: Weights) -> State:
    """The state dict of a RecurrentLayer with this row of CELLS, from the authors' layer or Keras' own ConvLSTM2D.

    Raises:
        ValueError: if a weight is missing, of another shape than the cell needs, or has no place in it.
    """
    named = _Named(weights)
    if cell == "convlstm":
        parts = ["gates.i", "gates.f", "candidate", "gates.o"]
        state = _split(_kernel(named["kernel"]), parts, "input_to_state.weight")
        state |= _split(_kernel(named["recurrent_kernel"]), parts, "state_to_state.weight")
        state |= _split(_vector(named["bias"]), parts, "input_to_state.bias")
        return _complete(weights, state)
    row = CELLS[cell]
    pooled = [f"gates.{name}" for name, kind in row.gates.items() if kind == "pooled"]
    scored = [f"gates.{name}" for name, kind in row.gates.items() if kind == "attention"]
    # One after the other along the last axis: the candidate, what is scored and, of the recurrent kernels, the scores.
    parts = ["candidate", *(["attention"] if row.input_attention else []), *scored]
    of_input = [f"{part}.input_to_state" for part in parts]
    of_state = [f"{part}.state_to_state" for part in parts] + [f"{gate}.score" for gate in scored]
    state = _split_separable(named, "", of_input) | _split_separable(named, "recurrent_", of_state)
    state |= _split(_vector(named["bias"]), of_input, "pointwise.bias")
    state |= _split(_kernel(named["gate_kernel"])[:, :, 0, 0], pooled, "input_to_state.weight")
    state |= _split(_kernel(named["recurrent_gate_kernel"])[:, :, 0, 0], pooled, "state_to_state.weight")
    state |= _split(_vector(named["gate_bias"]), pooled, "input_to_state.bias")
    if row.input_attention:
        state["attention.score.weight"] = _kernel(named["attention_weight"])
    return _complete(weights, state)


def places(first: str, second: str) -> Iterator[tuple[str, str, Callable[[Weights], State]]]:
    """Each layer of the authors, its place in a GestureNetwork, and what turns its weights into a state dict."""
    yield "Conv3D_1", "res3d.stem", _convolution
    yield "BatchNorm_1_0", "res3d.stem_norm", _batch_norm
    for unit in RES3D_UNITS:
        for part in "ab":
            yield f"Conv3D_{unit}_{part}", f"res3d.units.{unit}.conv_{part}", _convolution
            yield f"BatchNorm_{unit}_{part}", f"res3d.units.{unit}.norm_{part}", _batch_norm
        if unit.endswith("a"):
            yield f"Conv3D_{unit}_1", f"res3d.units.{unit}.shortcut.0", _convolution
            yield f"BatchNorm_{unit}_1", f"res3d.units.{unit}.shortcut.1", _batch_norm
    yield first, "layer1", partial(recurrent_state, FIRST_LAYERS[first])
    yield second, "layer2", partial(recurrent_state, "a")
    for block in TOP_BLOCKS:
        yield f"SeparableConv2D_{block}", f"mobilenet.blocks.{block}.conv", _separable
        yield f"BatchNorm_Conv2d_{block}", f"mobilenet.blocks.{block}.norm", _batch_norm
    yield "Classes", "head", _dense


def _convolution(weights: Weights) -> State:
    return _complete(weights, {"weight": _kernel(_Named(weights)["kernel"])})


def _separable(weights: Weights) -> State:
    named = _Named(weights)
    state = _split_separable(named, "", ["conv"])
    state = {name.removeprefix("conv."): tensor for name, tensor in state.items()}
    return _complete(weights, state | {"pointwise.bias": _vector(named["bias"])})


def _batch_norm(weights: Weights) -> State:
    named = _Named(weights)
    return _complete(weights, {ours: _vector(named[theirs]) for theirs, ours in BATCH_NORM.items()})


def _dense(weights: Weights) -> State:
    named = _Named(weights)
    return _complete(weights, {"weight": _kernel(named["kernel"]), "bias": _vector(named["bias"])})


class _Named(dict):
    """A layer's weights; asked for what is not there it says so."""

    def __missing__(self, name: str) -> np.ndarray:
        raise ValueError(f"no weight {name}; there are {', '.join(self) or 'none'}")


def _kernel(array: np.ndarray) -> Tensor:
    """A kernel (..., in, out) of Keras as (out, in, ...) of torch."""
    if array.ndim < 2:
        raise ValueError(f"a kernel has channels going in and out; got one of shape {array.shape}")
    return torch.from_numpy(np.moveaxis(array, (-1, -2), (0, 1)).copy())


def _vector(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array.copy())


def _split(tensor: Tensor, parts: list[str], weight: str) -> State:
    """As many equal pieces along the first axis as there are parts, each under its part's name."""
    if len(tensor) % len(parts):
        raise ValueError(f"{len(tensor)} channels cannot be divided among {', '.join(parts)}")
    pieces = tensor.chunk(len(parts))
    return {f"{part}.{weight}": piece.clone() for part, piece in zip(parts, pieces, strict=True)}


def _split_separable(named: _Named, prefix: str, parts: list[str]) -> State:
    depthwise = _split(_kernel(named[f"{prefix}depthwise_kernel"]), parts, "depthwise.weight")
    pointwise = _split(_kernel(named[f"{prefix}pointwise_kernel"]), parts, "pointwise.weight")
    # Keras counts a depthwise kernel's channels as going in, torch as coming out.
    return {name: kernel.transpose(0, 1).contiguous() for name, kernel in depthwise.items()} | pointwise


def _complete(weights: Weights, state: State) -> State:
    """The state, in which every number of the layer has its place."""
    found, taken = (sum(int(np.prod(array.shape)) for array in part.values()) for part in (weights, state))
    if found != taken:
        raise ValueError(f"holds {found} numbers in {', '.join(weights)}, of which the network has a place for {taken}")
    return state


def _one_of(names: Iterable[str], layers: Mapping[str, Weights], path: Path) -> str:
    present = [name for name in names if name in layers]
    if len(present) != 1:
        raise ValueError(
            f"{path} is not a network of the authors': needed one of the layers {', '.join(names)}; "
            f"got {', '.join(layers) or 'none at all'}"
        )
    return present[0]


def _names(group: h5py.Group, what: str) -> list[str]:
    """The names in a group's attribute, text or bytes as Keras' versions have it."""
    return [name.decode() if isinstance(name, bytes) else str(name) for name in group.attrs[f"{what}_names"]]


def _last(name: str) -> str:
    """`gamma` of `BatchNorm_1_0/gamma:0`."""
    return name.rpartition("/")[2].removesuffix(":0")
