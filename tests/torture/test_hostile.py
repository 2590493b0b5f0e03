"""Small files made to fill memory or time: each is refused before that, by what it declares."""

import json
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from attacks import Worker
from PIL import Image
from readers import READERS

pytestmark = pytest.mark.torture


@pytest.fixture(scope="module")
def worker():
    worker = Worker()
    yield worker
    worker.close()


def fault_of(worker: Worker, name: str, folder: Path) -> object:
    found = worker.read(name, folder)
    return found.get("fault") or ("" if found["error"] else "was read")


def test_sixty_pictures_of_many_pixels(worker, tmp_path):
    (tmp_path / "clip").mkdir()
    picture = tmp_path / "clip" / "0.png"
    Image.fromarray(np.zeros((4096, 4096), np.uint16)).save(picture)
    for number in range(1, 60):
        (tmp_path / "clip" / f"{number}.png").write_bytes(picture.read_bytes())
    assert not fault_of(worker, "depth PNGs", tmp_path)


@pytest.mark.parametrize(("side", "num_frames"), [(4096, 42), (2, 200_000)])
def test_a_gif_of_large_or_of_many_frames(worker, tmp_path, side, num_frames):
    Image.new("P", (side, side)).save(tmp_path / "one.gif")
    whole = (tmp_path / "one.gif").read_bytes()
    head = 13 + (3 << (whole[10] & 7) + 1 if whole[10] & 0x80 else 0)
    (tmp_path / "clip.gif").write_bytes(whole[:head] + whole[head:-1] * num_frames + b";")
    found = worker.read("GIF", tmp_path)  # what fits may be read
    assert not found.get("fault")


@pytest.mark.parametrize("name", ["results", "answers", "Human3.6M"])
def test_an_npz_that_unpacks_to_a_gigabyte(worker, tmp_path, name):
    READERS[name].make(tmp_path)
    (path,) = tmp_path.glob("*.npz")
    with np.load(path) as file:
        arrays = dict(file)
    member = next(iter(arrays))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for each, array in arrays.items():
            with file.open(f"{each}.npy", "w", force_zip64=True) as stream:
                if each == member:
                    header = {"descr": "<f4", "fortran_order": False, "shape": (3 << 28,)}
                    np.lib.format.write_array_header_1_0(stream, header)
                    for _ in range(3 << 6):
                        stream.write(bytes(1 << 24))
                else:
                    np.save(stream, array)
    assert path.stat().st_size < 4e6
    assert not fault_of(worker, name, tmp_path)


def test_an_hdf5_file_that_declares_a_billion_values(worker, tmp_path):
    READERS["Keras HDF5"].make(tmp_path)
    with h5py.File(tmp_path / "gated_weights.h5", "r+") as file:
        layer = next(
            name for name in file if "weight_names" in file[name].attrs and len(file[name].attrs["weight_names"])
        )
        weight = file[layer].attrs["weight_names"][0]
        del file[layer][weight]
        file[layer].create_dataset(weight, shape=(10**9,), dtype="<f4", chunks=(1000,))
    assert not fault_of(worker, "Keras HDF5", tmp_path)


@pytest.mark.parametrize("how", ["external link", "soft link", "external storage"])
def test_an_hdf5_file_that_reads_elsewhere(worker, tmp_path, how):
    READERS["Keras HDF5"].make(tmp_path)
    with h5py.File(tmp_path / "gated_weights.h5", "r+") as file:
        layer = next(
            name for name in file if "weight_names" in file[name].attrs and len(file[name].attrs["weight_names"])
        )
        weight = file[layer].attrs["weight_names"][0]
        shape = file[layer][weight].shape
        (tmp_path / "elsewhere.bin").write_bytes(bytes(4 * int(np.prod(shape))))
        with h5py.File(tmp_path / "elsewhere.h5", "w") as other:
            other["weight"] = np.zeros(shape, "f4")
        del file[layer][weight]
        if how == "external link":
            file[layer][weight] = h5py.ExternalLink("elsewhere.h5", "weight")
        elif how == "soft link":
            file["aside"] = np.zeros(shape, "f4")
            file[layer][weight] = h5py.SoftLink("/aside")
        else:
            storage = [(str(tmp_path / "elsewhere.bin"), 0, h5py.h5f.UNLIMITED)]
            file[layer].create_dataset(weight, shape=shape, dtype="f4", external=storage)
    assert not fault_of(worker, "Keras HDF5", tmp_path)


def test_a_motion_of_thousands_of_joints(worker, tmp_path):
    parts = ["HIERARCHY", "ROOT Hips", "{", "OFFSET 0 0 0", "CHANNELS 3 Zrotation Xrotation Yrotation"]
    for number in range(4000):
        parts += [f"JOINT J{number}", "{", "OFFSET 0 1 0", "CHANNELS 3 Zrotation Xrotation Yrotation"]
    parts += ["}"] * 4001 + ["MOTION", "Frames: 50", "Frame Time: 0.01"] + [" ".join(["1"] * 3 * 4001)] * 50
    (tmp_path / "motion.bvh").write_text("\n".join(parts) + "\n")
    assert not worker.read("BVH", tmp_path).get("fault")


@pytest.mark.parametrize(("field", "value"), [("width", 1e308), ("width", -1), ("num_classes", 10**9), ("size", 10**7)])
def test_a_card_of_a_network_that_no_machine_holds(worker, tmp_path, field, value):
    READERS["weights and card"].make(tmp_path)
    card = json.loads((tmp_path / "network.json").read_text())
    card["config"][field] = value
    (tmp_path / "network.json").write_text(json.dumps(card))
    assert not fault_of(worker, "weights and card", tmp_path)


@pytest.mark.parametrize("change", [{"names": ["down", "up", "left"]}, {"metrics": {"top1": 0.9999}}])
def test_a_card_that_says_what_its_writer_did_not(worker, tmp_path, change):
    READERS["weights and card"].make(tmp_path)
    card = json.loads((tmp_path / "network.json").read_text())
    card["data" if "names" in change else "metrics"] = change.get("metrics", change)
    (tmp_path / "network.json").write_text(json.dumps(card))
    assert not fault_of(worker, "weights and card", tmp_path)
