"""Files that promise what they do not hold, and `python hostile_files.py FOLDER`, which reads all of them.

It reads in a process of its own, whose address space may grow by 1 GiB at most and which has no time to hang, and
prints for each file what was raised and by how many MiB the memory grew.
"""

import io
import json
import resource
import struct
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np

GIB = 1 << 30
BOMB = 300 << 20  # bytes that a small file becomes where nobody looks


def npy(shape: str, content: bytes = b"", dtype: str = "<f4") -> bytes:
    """An array whose header says what it is told to."""
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + content


def npz(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method, compresslevel=1) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def npz_files() -> dict[str, bytes]:
    """By name, npz files that ask for memory, time or trust."""
    memo = b"\x80\x04" + b"Nr" + struct.pack("<I", 0x10000000) + b"."  # LONG_BINPUT: a table of that many places
    bomb = npy(f"({BOMB // 4},)", bytes(BOMB))
    whole = npz({"a.npy": npy("(4,)", bytes(16))}, zipfile.ZIP_STORED)
    place, promised = whole.rindex(b"PK\x01\x02"), bytearray(whole)
    promised[place + 24 : place + 28] = struct.pack("<I", 0xFFFFFFF0)
    return {
        "bomb": npz({"a.npy": bomb}),
        "three bombs": npz({f"{name}.npy": bomb[: BOMB // 3] for name in "abc"}),
        "promised shape": npz({"a.npy": npy("(1000000000,)")}),
        "overflowing shape": npz({"a.npy": npy("(1000000000, 1000000000, 1000000000)")}),
        "negative shape": npz({"a.npy": npy("(-1,)", bytes(4))}),
        "no size": npz({"a.npy": npy(f"(0, {10**30})")}),
        "promised size": bytes(promised),
        "pickle": npz({"a.npy": npy("(1,)", memo, "|O")}),
        "pickle alone": memo,
        "long header": npz({"a.npy": b"\x93NUMPY\x02\x00" + struct.pack("<I", GIB) + b" " * (BOMB // 4)}),
        "nested header": npz({"a.npy": npy("(" * 5000 + ")" * 5000)}),
        "text": npz({"a.npy": npy("(1,)", bytes(4), "<U1")}),
        "no array": npz({"a.txt": b"text"}),
        "lzma": npz({"a.npy": npy("(4,)", bytes(16))}, zipfile.ZIP_LZMA),
        "members": members(whole, 200_000),
        "zip of nothing": b"PK\x05\x06",
        "cut off": whole[:100],
    }


def members(whole: bytes, count: int) -> bytes:
    """The same zip file with its one member listed very often."""
    start, end = whole.rindex(b"PK\x01\x02"), whole.rindex(b"PK\x05\x06")
    listed = whole[start:end] * count
    last = bytearray(whole[end:])
    last[8:16] = struct.pack("<HHI", 65535, 65535, len(listed))
    return whole[:start] + listed + bytes(last)


def json_files() -> dict[str, bytes]:
    """By name, cards that ask for memory or time, or hold what a number of 64 bits cannot."""
    return {
        "deep": b"[" * 10_000_000,
        "deep objects": b'{"a":' * 500_000,
        "long": b'{"a": "' + bytes(200) * 200_000 + b'"}',
        "digits": b'{"seed": ' + b"9" * 1_000_000 + b"}",
        "int64": b'{"seed": 9223372036854775808}',
        "NaN": b'{"top1": NaN}',
        "infinity": b'{"top1": -Infinity}',
        "1e999": b'{"top1": 1e999}',
        "latin-1": b'{"name": "\xe9"}',
        "list": b"[1]",
        "nothing": b"",
    }


def weight_files() -> dict[str, bytes]:
    """By name, safetensors files that ask for more than they hold."""
    return {
        "promised header": struct.pack("<Q", 1 << 60) + b"{}",
        "long header": struct.pack("<Q", 50_000_000) + b" " * 50_000_000,
        "promised tensor": tensors({"a": {"dtype": "F32", "shape": [GIB], "data_offsets": [0, 4 * GIB]}}),
        "unknown type": tensors({"a": {"dtype": "F3", "shape": [1], "data_offsets": [0, 1]}}) + b"\0",
        "type of 8 bits": tensors({"a": {"dtype": "F8_E4M3", "shape": [1], "data_offsets": [0, 1]}}) + b"\0",
        "nothing": b"",
    }


def tensors(header: dict) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text


def write_all(folder: Path, whole_keras: Path) -> None:
    """Write every file below `folder`, in a folder for each reader."""
    for reader, files in (("npz", npz_files()), ("json", json_files()), ("weights", weight_files())):
        (folder / reader).mkdir(parents=True)
        for name, content in files.items():
            (folder / reader / name).write_bytes(content)
    (folder / "keras").mkdir()
    write_keras(folder / "keras", whole_keras)


def write_keras(folder: Path, whole: Path) -> None:
    """Write Keras files of which one data set is not what it should be, by name."""
    import h5py

    layer, name = "Classes", "Classes/kernel:0"
    outside = folder.parent / "secret"
    outside.write_bytes(bytes(range(256)) * 1000)
    shape = (64, 27)

    def external(group):
        group.create_dataset(name, shape, "f4", external=[(str(outside), 0, h5py.h5f.UNLIMITED)])

    def virtual(group):
        layout = h5py.VirtualLayout(shape, "f4")
        layout[:] = h5py.VirtualSource(str(whole), f"{layer}/{name}", shape)
        group.create_virtual_dataset(name, layout)

    def link_outside(group):
        group[name] = h5py.ExternalLink(str(whole), f"/{layer}/{name}")

    def link_inside(group):
        group[name] = h5py.SoftLink("/Conv3D_1/Conv3D_1/kernel:0")

    def link_to_its_group(group):
        del group["Classes"]
        group["Classes"] = h5py.ExternalLink(str(whole), f"/{layer}/Classes")

    def promised(group):
        group.create_dataset(name, (1_000_000_000,), "f4")

    def promised_chunks(group):
        group.create_dataset(name, (1_000_000_000,), "f4", chunks=(1_000_000,))

    def large_chunk(group):
        data = group.create_dataset(name, (1,), "f4", maxshape=(None,), chunks=(BOMB // 4,), compression="gzip")
        data.id.write_direct_chunk((0,), zlib.compress(bytes(BOMB), 1))

    def deflated(group):
        data = group.create_dataset(name, (4,), "f4", chunks=(4,), compression="gzip")
        data.id.write_direct_chunk((0,), zlib.compress(bytes(BOMB), 1))

    def integers(group):
        group[name] = np.zeros(shape, np.int32)

    def text(group):
        group[name] = "text"

    def a_group(group):
        group.create_group(name)

    def nan(group):
        group[name] = np.full(shape, np.nan, np.float32)

    def too_large(group):
        group[name] = np.full(shape, 1e300)

    def null(group):
        group[name] = h5py.Empty("f4")

    def again(group):
        group[name] = np.zeros(shape, np.float32)
        group.attrs["weight_names"] = np.array([name.encode()] * 3000)

    changes = [external, virtual, link_outside, link_inside, link_to_its_group, promised, promised_chunks]
    for change in [*changes, large_chunk, deflated, integers, text, a_group, nan, too_large, null, again]:
        path = folder / change.__name__
        path.write_bytes(whole.read_bytes())
        with h5py.File(path, "r+") as file:
            del file[layer][name]
            change(file[layer])


def read(path: Path) -> None:
    """Read a file with the reader that its folder names."""
    from gatescope.files import sha256_of
    from gatescope.formats.arrays import read_arrays
    from gatescope.formats.facts import read_card, write_card
    from gatescope.models import GestureNetwork, NetworkConfig, load_keras_weights

    match path.parent.name:
        case "npz":
            read_arrays(path)
        case "json":
            read_card(path)
        case "weights":
            config = NetworkConfig.small("a", num_classes=3).to_json()
            own = path.with_suffix(".safetensors")
            path.rename(own)
            write_card(own.with_suffix(".json"), {"config": config, "weights_sha256": sha256_of(own)})
            GestureNetwork.load(own)
        case "keras":
            load_keras_weights(path)


def main(folder: Path) -> None:
    """Read all, under the limit."""
    import h5py  # noqa: F401, loaded before the limit: its libraries take memory of their own

    import gatescope.models

    gatescope.models.NetworkConfig.small("a", num_classes=3)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + GIB,) * 2)
    for path in sorted(folder.glob("*/*")):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            read(path)
            raised = "nothing", ""
        except BaseException as error:
            raised = type(error).__name__, str(error)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        print(json.dumps([f"{path.parent.name} {path.stem}", *raised, grown]), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
