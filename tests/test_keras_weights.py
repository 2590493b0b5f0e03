"""A file that is not the authors' network, or not all of it, is refused with what is amiss."""

import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from gatescope.models import load_keras_weights
from gatescope.models.conventions import MEANS
from gatescope.models.keras_weights import recurrent_state

GATED = Path(__file__).resolve().parent / "reference" / "gated_weights.h5"


@pytest.fixture
def copy(tmp_path):
    """A copy of the gated network's weights, to be spoilt."""
    return Path(shutil.copy(GATED, tmp_path / "weights.h5"))


def change(path, layer, weight, array):
    """Put `array` in a weight's place; None takes the weight out."""
    with h5py.File(path, "r+") as file:
        group, name = file[layer], f"{layer}/{weight}:0"
        names = [other for other in group.attrs["weight_names"] if other.decode() != name]
        if name in group:
            del group[name]
        if array is not None:
            group[name] = array
            names.append(name.encode())
        group.attrs["weight_names"] = np.array(names)


def rename_layer(path, old, new):
    with h5py.File(path, "r+") as file:
        file.attrs["layer_names"] = np.array(
            [new.encode() if name.decode() == old else name for name in file.attrs["layer_names"]]
        )
        file.move(old, new)


def test_what_the_file_holds_is_read_from_it_and_the_rest_from_the_arguments():
    network = load_keras_weights(GATED, dataset="isogd", modality="depth", num_frames=24)
    config = network.config
    assert (config.cells, config.num_classes, config.width) == (("a", "a"), 27, 1 / 16)
    assert config.input == {
        "num_frames": 24,
        "size": 112,
        "mean": MEANS["isogd", "depth"],
        "modality": "depth",
        "clip_mean": 0.0,
    }
    assert config.conventions == "authors" and not network.training


def test_unless_told_otherwise_it_is_isogd_in_colour():
    assert load_keras_weights(GATED).config.input["mean"] == MEANS["isogd", "rgb"]
    assert load_keras_weights(str(GATED)).config.num_frames == 32


def test_a_loaded_network_can_be_saved_as_ours(tmp_path):
    network = load_keras_weights(GATED)
    card = network.save(tmp_path / "gated.safetensors", data="IsoGD")
    assert type(network).load(tmp_path / "gated.safetensors").config == network.config
    assert card["config"]["conventions"] == "authors"


def test_a_whole_model_saved_by_keras_holds_the_same_weights(copy):
    with h5py.File(copy, "r+") as file:
        weights = file.create_group("model_weights")
        for name in list(file):
            if name != "model_weights":
                file.move(name, f"model_weights/{name}")
        weights.attrs["layer_names"] = file.attrs["layer_names"]
        del file.attrs["layer_names"]
    ours, same = load_keras_weights(GATED).state_dict(), load_keras_weights(copy).state_dict()
    assert all(tensor.equal(same[name]) for name, tensor in ours.items())


def test_names_as_text_serve_as_well_as_bytes(copy):
    with h5py.File(copy, "r+") as file:
        for group, attribute in [(file, "layer_names"), *((file[layer], "weight_names") for layer in file)]:
            group.attrs[attribute] = [name.decode() for name in group.attrs[attribute]]
    assert load_keras_weights(copy).head.weight.equal(load_keras_weights(GATED).head.weight)


def test_a_missing_file_says_where_to_get_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.h5 is missing; see data/isogd/README\.md"):
        load_keras_weights(tmp_path / "none.h5")


def test_an_unknown_mean_lists_those_that_are_known():
    with pytest.raises(LookupError, match="no mean is known for jester depth; there are those of jester rgb, "):
        load_keras_weights(GATED, dataset="jester", modality="depth")


@pytest.mark.parametrize("content", [b"", b"these are not weights\n", b"\x89HDF\r\n\x1a\n"])
def test_a_file_that_is_no_hdf5_is_refused(tmp_path, content):
    path = tmp_path / "weights.h5"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"weights\.h5 is not a whole Keras weight file"):
        load_keras_weights(path)


@pytest.mark.parametrize("part", [0.01, 0.3, 0.9, 0.999])
def test_a_file_that_was_cut_off_is_refused(copy, part):
    whole = copy.read_bytes()
    copy.write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(ValueError, match="is not a whole Keras weight file"):
        load_keras_weights(copy)


def test_hdf5_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "other.h5"
    with h5py.File(path, "w") as file:
        file["measurements"] = np.arange(3)
    with pytest.raises(ValueError, match="is not a whole Keras weight file.*layer_names"):
        load_keras_weights(path)


def test_another_keras_network_is_refused_with_its_layers(tmp_path):
    path = tmp_path / "other.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = np.array([b"dense_1"])
        file.create_group("dense_1").attrs["weight_names"] = np.array([b"dense_1/kernel:0"])
        file["dense_1/dense_1/kernel:0"] = np.zeros((2, 3), np.float32)
    with pytest.raises(ValueError, match=r"needed one of the layers gatedclstm2d_1, .*; got dense_1"):
        load_keras_weights(path)


def test_a_missing_layer_is_named(copy):
    rename_layer(copy, "Conv3D_3a_b", "Conv3D_9z")
    with pytest.raises(ValueError, match="layer Conv3D_3a_b: no weight kernel; there are none"):
        load_keras_weights(copy)


def test_a_layer_too_many_is_named(copy):
    with h5py.File(copy, "r+") as file:
        file.attrs["layer_names"] = np.array([*file.attrs["layer_names"], b"Conv3D_5a_a"])
        file.copy("Conv3D_4b_a", "Conv3D_5a_a")
        file["Conv3D_5a_a"].attrs["weight_names"] = np.array([b"Conv3D_4b_a/kernel:0"])
    with pytest.raises(ValueError, match="theirs have no layer Conv3D_5a_a"):
        load_keras_weights(copy)


@pytest.mark.parametrize(
    ("layer", "weight", "array", "says"),
    [
        ("BatchNorm_2a_b", "gamma", None, "layer BatchNorm_2a_b: no weight gamma; there are beta, moving_mean"),
        ("gatedclstm2d_1", "gate_bias", None, "layer gatedclstm2d_1: no weight gate_bias; there are depthwise_kernel"),
        (
            "Conv3D_2b_a",
            "bias",
            np.zeros(4),
            "Conv3D_2b_a: holds 436 numbers in kernel, bias, .* a place for 432",
        ),
        (
            "gatedclstm2d_2",
            "bias",
            np.zeros(15),
            r"layer2\.candidate\.input_to_state\.pointwise\.bias is \(15,\) in",
        ),
        ("gatedclstm2d_2", "gate_bias", np.zeros(47), "gatedclstm2d_2: 47 channels cannot be divided among gates.i, "),
        (
            "Conv3D_4a_a",
            "kernel",
            np.zeros((3, 3, 3, 8, 15)),
            r"units\.4a\.conv_a\.weight is \(15, 8, 3, 3, 3\)",
        ),
        ("Classes", "kernel", np.zeros((65, 27)), r"head\.weight is \(27, 65\) in the file, \(27, 64\) in the network"),
        (
            "Classes",
            "kernel",
            np.zeros(27),
            "layer Classes: a kernel needs axes of input and output channels",
        ),
        ("Classes", "kernel", b"text", "is not a whole Keras weight file"),
    ],
)
def test_a_weight_that_is_not_the_networks_is_named(copy, layer, weight, array, says):
    change(copy, layer, weight, array)
    with pytest.raises(ValueError, match=says):
        load_keras_weights(copy)


def test_a_layer_of_another_cell_is_not_taken_for_this_one():
    arrays = np.load(GATED.parent / "layer_c_atteni_8x8_sigmoid.npz")
    weights = {name.removeprefix("w/"): arrays[name] for name in arrays.files if name.startswith("w/")}
    with pytest.raises(ValueError, match="cannot be divided among|numbers in"):
        recurrent_state("a", weights)


def another_of_its_name(file):
    group = file["Classes"]
    group["other/kernel:0"] = np.ones((64, 27), np.float32)
    group.attrs["weight_names"] = np.array([*group.attrs["weight_names"], b"other/kernel:0"])


def variance_below_0(file):
    file["BatchNorm_1_0/BatchNorm_1_0/moving_variance:0"][...] = -1


def names_that_are_numbers(file):
    file.attrs["layer_names"] = np.arange(3)


def a_name_of_nothing(file):
    file.attrs["layer_names"] = np.array([b"nothing"])


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (another_of_its_name, "Classes has two weights kernel"),
        (variance_below_0, "negative variance in res3d.stem_norm.running_var"),
        (names_that_are_numbers, r"layer_names must be a list of texts; it is \(3,\) int64"),
        (a_name_of_nothing, "nothing is missing"),
    ],
)
def test_what_would_give_another_network_is_refused(copy, spoil, says):
    with h5py.File(copy, "r+") as file:
        spoil(file)
    with pytest.raises(ValueError, match=says):
        load_keras_weights(copy)


def test_many_names_that_are_one_long_text_are_not_read(tmp_path):
    """Texts without a stated length are places in a heap: all may be the same, gigabytes of a small file."""
    path, num_names, long = tmp_path / "names.h5", 900, 50_000
    with h5py.File(path, "w") as file:
        for name, texts in {"long": ["A" * long], "layer_names": [f"C{n:05}" for n in range(num_names)]}.items():
            file.attrs.create(name, texts, dtype=h5py.string_dtype())
    content = bytearray(path.read_bytes())
    place = content.find(long.to_bytes(4, "little") + content.find(b"GCOL").to_bytes(8, "little"))
    one = bytes(content[place : place + 16])
    for heap in re.finditer(rb"GCOL", bytes(content)):
        of_name = (6).to_bytes(4, "little") + heap.start().to_bytes(8, "little")
        for found in re.finditer(re.escape(of_name), bytes(content)):
            content[found.start() : found.start() + 16] = one
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"may hold {num_names} texts of") as refused:
        load_keras_weights(path)
    assert len(str(refused.value)) < 1000
