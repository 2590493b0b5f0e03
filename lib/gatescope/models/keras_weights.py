"""The authors' weights, Keras layers in an HDF5 file, as a GestureNetwork; layers are matched by name."""

import math
import mmap
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gatescope.files import regular_file
from gatescope.models.backbone import RES3D_UNITS, STEM_CHANNELS, TOP_BLOCKS
from gatescope.models.cards import check_fit, state_without_values
from gatescope.models.cells import CELLS
from gatescope.models.config import NetworkConfig
from gatescope.models.conventions import MEANS
from gatescope.models.network import GestureNetwork

MAX_BYTES = 1 << 29  # of a file; that of the paper's network has 50 MB
_MAX_NAMES_BYTES = 1 << 20  # of a list of names
Weights = Mapping[str, np.ndarray]  # of one Keras layer, by name
State = dict[str, Tensor]

FIRST_LAYERS = {"gatedclstm2d_1": "a", "axclstm2d_1": "b", "aiclstm2d_1": "c", "aoclstm2d_1": "d"}
SECOND_LAYERS = ("gatedclstm2d_2", "gclstm2d_2")  # pooled gates (a) in all their networks
# Names of a layer's weights there and here.
CONVOLUTION = {"kernel": "weight"}
DENSE = {"kernel": "weight", "bias": "bias"}
BATCH_NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


def load_keras_weights(
    path: str | Path, dataset: str = "isogd", modality: str = "rgb", num_frames: int = 32
) -> GestureNetwork:
    """Return the network whose weights the authors' code saved at `path`, in eval mode.

    The file may hold any of their four networks, at any width: pooled gates (a), input attention (b), input-gate
    attention (c) or output-gate attention (d). Cells, width and classes are read from it, and the conventions are
    theirs. It does not hold the mean to subtract, which follows from `dataset` and `modality`, or the number of frames.

    Raises FileNotFoundError without such a file, LookupError without a known mean for that data set and modality, and
    ValueError if the file is damaged, incomplete, or another network's; the message says where.
    """
    path = Path(path)
    if (dataset, modality) not in MEANS:
        known = ", ".join(" ".join(pair) for pair in MEANS)
        raise LookupError(f"no mean is known for {dataset} {modality}; there are those of {known}")
    layers = read_layers(path)
    first, second = (_one_of(names, layers, path) for names in (FIRST_LAYERS, SECOND_LAYERS))
    found: State = {}
    for layer, place, convert in places(first, second):
        try:
            state = convert(_Named(layers.pop(layer, {})))
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
    try:
        wanted = state_without_values(GestureNetwork, config)
    except (TypeError, RuntimeError) as error:
        raise ValueError(f"{path} is not a network of the authors': {error}") from None
    # Their files lack the number of batches that each norm has seen, which a fixed momentum does not use.
    counts = {name: torch.zeros((), dtype=each.dtype) for name, each in wanted.items() if each.dtype == torch.int64}
    check_fit(path, found | counts, wanted)
    network = GestureNetwork(config)
    network.load_state_dict(found | counts)
    return network.eval()


def read_layers(path: Path) -> dict[str, dict[str, np.ndarray]]:
    """Return the weights in a Keras HDF5 file, by layer and name.

    Only what the file itself holds is read: no link, external storage, virtual data set or filter is followed.

    Raises FileNotFoundError without such a file, ValueError if it is not a whole Keras weight file.
    """
    import h5py  # here, because few who import the package need it

    try:
        size = regular_file(path).stat().st_size
    except (FileNotFoundError, IsADirectoryError) as error:
        reason = f"{path} is missing; see data/isogd/README.md for how to obtain the authors' weights"
        raise FileNotFoundError(reason) from error
    if size > MAX_BYTES:
        raise ValueError(f"{path} has {size:,} bytes; weights of at most {MAX_BYTES:,} are read")
    try:
        with h5py.File(path, "r") as file:
            root = _inside(file, "model_weights") if "model_weights" in file else file  # of a whole model
            layers: dict[str, dict[str, np.ndarray]] = {}
            longest = _longest_text(path)
            for layer in _names(root, "layer", longest):
                group = _inside(root, layer)
                layers[layer] = {}
                for name in _names(group, "weight", longest):
                    weights = _inside(group, name)
                    size -= _num_bytes(weights)
                    if size < 0:
                        raise ValueError(f"{layer}: its weights say that they are larger than the file")
                    short = name.rpartition("/")[2].removesuffix(":0")  # `BatchNorm_1_0/gamma:0` is `gamma`
                    if short in layers[layer]:
                        raise ValueError(f"{layer} has two weights {short}, and one of them is another's")
                    layers[layer][short] = _values(weights)
            return layers
    except (OSError, RuntimeError, LookupError, ValueError, TypeError, AttributeError, MemoryError) as error:
        raise ValueError(
            f"{path} is not a whole Keras weight file (HDF5 with layer_names): {str(error)[:400]}"
        ) from None


def recurrent_state(cell: str, weights: Weights) -> State:
    """Return the state dict of a RecurrentLayer with this cell, (a) to (d), from the authors' layer.

    Raises ValueError if a weight is missing, of another shape than the cell needs, or not used by it.
    """
    named, row = _Named(weights), CELLS[cell]
    pooled = [f"gates.{name}" for name, kind in row.gates.items() if kind == "pooled"]
    scored = [f"gates.{name}" for name, kind in row.gates.items() if kind == "attention"]
    # Concatenated along the last axis: the candidate, the parts that are scored and, in recurrent kernels, the scores.
    parts = ["candidate", *(["attention"] if row.input_attention else []), *scored]
    of_input = [f"{part}.input_to_state" for part in parts]
    of_state = [f"{part}.state_to_state" for part in parts] + [f"{gate}.score" for gate in scored]
    state = _split_separable(named, "", of_input) | _split_separable(named, "recurrent_", of_state)
    state |= _split(torch.tensor(named["bias"]), of_input, "pointwise.bias")
    state |= _split(_of_one_place(named["gate_kernel"]), pooled, "input_to_state.weight")
    state |= _split(_of_one_place(named["recurrent_gate_kernel"]), pooled, "state_to_state.weight")
    state |= _split(torch.tensor(named["gate_bias"]), pooled, "input_to_state.bias")
    if row.input_attention:
        state["attention.score.weight"] = _kernel(named["attention_weight"])
    return _complete(weights, state)


def places(first: str, second: str) -> Iterator[tuple[str, str, Callable[[Weights], State]]]:
    """Yield each layer of the authors, its place in a GestureNetwork, and the function that makes its state dict."""
    convolution, batch_norm, dense = (partial(_renamed, names) for names in (CONVOLUTION, BATCH_NORM, DENSE))
    yield "Conv3D_1", "res3d.stem", convolution
    yield "BatchNorm_1_0", "res3d.stem_norm", batch_norm
    for unit in RES3D_UNITS:
        for part in "ab":
            yield f"Conv3D_{unit}_{part}", f"res3d.units.{unit}.conv_{part}", convolution
            yield f"BatchNorm_{unit}_{part}", f"res3d.units.{unit}.norm_{part}", batch_norm
        if unit.endswith("a"):
            yield f"Conv3D_{unit}_1", f"res3d.units.{unit}.shortcut.0", convolution
            yield f"BatchNorm_{unit}_1", f"res3d.units.{unit}.shortcut.1", batch_norm
    yield first, "layer1", partial(recurrent_state, FIRST_LAYERS[first])
    yield second, "layer2", partial(recurrent_state, "a")
    for block in TOP_BLOCKS:
        yield f"SeparableConv2D_{block}", f"mobilenet.blocks.{block}.conv", _separable
        yield f"BatchNorm_Conv2d_{block}", f"mobilenet.blocks.{block}.norm", batch_norm
    yield "Classes", "head", dense


def _renamed(names: Mapping[str, str], weights: Weights) -> State:
    make = {"kernel": _kernel}
    return _complete(weights, {ours: make.get(theirs, torch.tensor)(weights[theirs]) for theirs, ours in names.items()})


def _separable(weights: Weights) -> State:
    state = {name.removeprefix("."): kernel for name, kernel in _split_separable(weights, "", [""]).items()}
    return _complete(weights, state | {"pointwise.bias": torch.tensor(weights["bias"])})


class _Named(dict):
    """A layer's weights, which raise a ValueError with their names for one that is missing."""

    def __missing__(self, name: str) -> np.ndarray:
        raise ValueError(f"no weight {name}; there are {', '.join(self) or 'none'}")


def _kernel(array: np.ndarray) -> Tensor:
    """Return a kernel (..., in, out) of Keras as (out, in, ...) of torch."""
    if array.ndim < 2:
        raise ValueError(f"a kernel needs axes of input and output channels; got shape {array.shape}")
    return torch.from_numpy(np.moveaxis(array, (-1, -2), (0, 1)).copy())


def _of_one_place(array: np.ndarray) -> Tensor:
    """Return a kernel (1, 1, in, out) of Keras as (out, in) of torch."""
    if array.shape[:2] != (1, 1):
        raise ValueError(f"a pooled gate's kernel must be (1, 1, in, out); got shape {array.shape}")
    return _kernel(array[0, 0])


def _split(tensor: Tensor, parts: list[str], weight: str) -> State:
    """Split a tensor along its first axis into equal pieces, one for each part, by name."""
    if not tensor.ndim or len(tensor) % len(parts):
        raise ValueError(f"{len(tensor) if tensor.ndim else 'no'} channels cannot be divided among {', '.join(parts)}")
    return {f"{part}.{weight}": piece.clone() for part, piece in zip(parts, tensor.chunk(len(parts)), strict=True)}


def _split_separable(named: Weights, prefix: str, parts: list[str]) -> State:
    depthwise = _split(_kernel(named[f"{prefix}depthwise_kernel"]), parts, "depthwise.weight")
    pointwise = _split(_kernel(named[f"{prefix}pointwise_kernel"]), parts, "pointwise.weight")
    # A depthwise kernel's channels are input channels in Keras, output channels in torch.
    return {name: kernel.transpose(0, 1).contiguous() for name, kernel in depthwise.items()} | pointwise


def _complete(weights: Weights, state: State) -> State:
    """Return the state; raises ValueError unless it uses every number of the layer."""
    found, taken = (sum(int(np.prod(array.shape)) for array in part.values()) for part in (weights, state))
    if found != taken:
        raise ValueError(f"holds {found} numbers in {', '.join(weights)}, but the network has a place for {taken}")
    return state


def _one_of(names: Iterable[str], layers: Mapping[str, Weights], path: Path) -> str:
    present = [name for name in names if name in layers]
    if len(present) != 1:
        raise ValueError(
            f"{path} is not a network of the authors': needed one of the layers {', '.join(names)}; "
            f"got {', '.join(layers) or 'none at all'}"
        )
    return present[0]


def _inside(group: Any, name: str) -> Any:
    """Return the group or data set of this name in an HDF5 group; raises ValueError where links lead elsewhere."""
    import h5py

    for part in name.split("/"):
        if not isinstance(group, h5py.Group) or part not in group:
            raise ValueError(f"{name} is missing")
        if not isinstance(group.get(part, getlink=True), h5py.HardLink):
            raise ValueError(f"{name} is a link to another place, and links are not followed")
        group = group[part]
    return group


def _num_bytes(weights: Any) -> int:
    """Return the size of a data set's values; raises ValueError unless the file holds all of them as plain floats."""
    import h5py

    if not isinstance(weights, h5py.Dataset) or weights.dtype.kind != "f" or weights.dtype.itemsize > 8:
        raise ValueError(f"{weights.name} is no array of floats; it is {getattr(weights, 'dtype', 'a group')}")
    if weights.is_virtual or weights.external or weights.id.get_create_plist().get_nfilters():
        kept = "in other files" if weights.is_virtual or weights.external else "compressed (h5repack -f NONE undoes it)"
        raise ValueError(f"{weights.name} is kept {kept}; all must be in this file as it is")
    # Chunks may be larger than what they hold.
    size = max(math.prod(weights.shape), math.prod(weights.chunks or ())) * weights.dtype.itemsize
    if weights.id.get_storage_size() < size:
        raise ValueError(f"{weights.name} says that it is {weights.shape} {weights.dtype}, and the file holds less")
    return size


def _values(weights: Any) -> np.ndarray:
    with np.errstate(over="ignore"):  # told below
        values = np.asarray(weights[()], np.float32)
    if not np.isfinite(values).all():
        raise ValueError(f"{weights.name} holds a value that is not finite")
    return values


def _names(group: Any, what: str, longest: int) -> list[str]:
    """List the names in an HDF5 group's attribute, which are text or bytes depending on the version of Keras."""
    import h5py

    if f"{what}_names" not in group.attrs:
        raise ValueError(f"{group.name} has no {what}_names")
    about = group.attrs.get_id(f"{what}_names")
    text = h5py.check_string_dtype(about.dtype)
    if about.shape == (0,):
        return []
    if text is None or len(about.shape or ()) != 1:
        raise ValueError(f"{what}_names must be a list of texts; it is {about.shape} {about.dtype}")
    # Of texts that state no length, any number may be one and the same.
    if math.prod(about.shape) * (text.length or longest) > _MAX_NAMES_BYTES:
        raise ValueError(f"{what}_names may hold {about.shape[0]} texts of {text.length or longest:,} bytes")
    return [name.decode() if isinstance(name, bytes) else str(name) for name in group.attrs[f"{what}_names"]]


def _longest_text(path: Path) -> int:
    """Return the size of the largest heap of an HDF5 file, which no text without a stated length exceeds."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        heaps = re.finditer(rb"GCOL\x01\0\0\0(.{8})", content, re.DOTALL)
        return max((int.from_bytes(heap[1], "little") for heap in heaps), default=1)
