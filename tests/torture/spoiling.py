"""Ways to spoil a file: bytes, lengths and, where its form is known, what stands inside under right checksums."""

import io
import json
import re
import zipfile
import zlib
from collections.abc import Callable

import h5py
import numpy as np
from hypothesis import strategies as st

WORDS = [
    "",
    "0",
    "-1",
    "1e308",
    "-1e999",
    "nan",
    "9" * 5000,
    str(2**63),
    "\x00",
    "é\u202e",
    "../" * 9 + "etc/passwd",
    "{y}",
]
VALUES = [None, True, -1, 0, 2**70, 1e308, "", "x" * 300, [], {}, [[[[[[]]]]]], "../../x", "float64", [0], [10**9] * 3]
SHAPES = [(), (0,), (1,), (3, 0), (1, 1), (7, 5), (1, 1, 1, 1, 1), (2, 300)]
TYPES = ["<f4", "<f8", "<i8", "|u1", "<c8", "|S3", ">f2", "|b1"]

place = st.integers(0, 1 << 30)  # of which the remainder counts
OPERATIONS = st.one_of(
    st.tuples(st.just("bit"), place, st.integers(0, 7)),
    st.tuples(st.just("byte"), place, st.sampled_from([0, 1, 0x7F, 0x80, 0xFF])),
    st.tuples(
        st.just("number"), place, st.sampled_from([1, 2, 4, 8]), st.sampled_from([-1, 0, 1, 2**31 - 1, 2**31, 10**9])
    ),
    st.tuples(st.just("cut"), place),
    st.tuples(st.just("remove"), place, st.integers(1, 64)),
    st.tuples(st.just("repeat"), place, st.integers(1, 64), st.sampled_from([1, 2, 1000])),
    st.tuples(st.just("insert"), place, st.binary(min_size=1, max_size=8)),
    st.tuples(st.just("word"), place, st.sampled_from(WORDS)),
    st.tuples(st.just("line"), place, place),
    st.tuples(st.just("inside"), place, place, st.integers(0, len(VALUES) - 1)),
)


def spoilt(files: dict[str, bytes]) -> st.SearchStrategy[tuple[str, list[tuple]]]:
    """Return a strategy of a file's name and the operations that spoil it."""
    return st.tuples(st.sampled_from(sorted(files)), st.lists(OPERATIONS, min_size=1, max_size=4))


def spoil(name: str, data: bytes, operations: list[tuple]) -> bytes:
    """Return the file's bytes after all operations."""
    for kind, *how in operations:
        data = _OPERATIONS[kind](name, data, *how)
    return data


def _bit(_, data, where, bit):
    return _put(data, where, bytes([data[where % len(data)] ^ 1 << bit])) if data else data


def _byte(_, data, where, value):
    return _put(data, where, bytes([value]))


def _number(_, data, where, size, value):
    return _put(data, where, (value % 256**size).to_bytes(size, "little" if where % 2 else "big"))


def _cut(_, data, where):
    return data[: where % max(1, len(data))]


def _remove(_, data, where, size):
    start = where % max(1, len(data))
    return data[:start] + data[start + size :]


def _repeat(_, data, where, size, times):
    start = where % max(1, len(data))
    return data[:start] + data[start : start + size] * times + data[start:]


def _insert(_, data, where, more):
    start = where % max(1, len(data))
    return data[:start] + more + data[start:]


def _word(_, data, where, word):
    """Put a word in a number's or a name's place."""
    found = list(re.finditer(rb"[\w.+-]+", data[:100_000]))
    if not found:
        return data
    each = found[where % len(found)]
    return data[: each.start()] + word.encode() + data[each.end() :]


def _line(_, data, where, other):
    """Exchange two lines."""
    lines = data.split(b"\n")
    first, second = where % len(lines), other % len(lines)
    lines[first], lines[second] = lines[second], lines[first]
    return b"\n".join(lines)


def _inside(name, data, where, other, value):
    """Spoil what a file holds, so that its form and its own checksums stay right."""
    suffix = name.rpartition(".")[2]
    if suffix not in _INSIDES:
        return _number(name, data, where, 4, other)
    try:
        return _INSIDES[suffix](data, where, other, value)
    except (
        ValueError,
        KeyError,
        OSError,
        RuntimeError,
        zipfile.BadZipFile,
        zlib.error,
        IndexError,
        ZeroDivisionError,
        RecursionError,
    ):
        return data  # spoilt already


def _in_json(data, where, other, value):
    tree = json.loads(data)
    places = []

    def collect(node):
        keys = node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
        for key in keys:
            places.append((node, key))
            collect(node[key])

    collect(tree)
    if not places or where % 17 == 0:
        return b"[" * 100_000 if where % 2 else json.dumps(VALUES[value]).encode()
    node, key = places[where % len(places)]
    if other % 3 == 0:
        del node[key]
    else:
        node[key] = VALUES[value]
    return json.dumps(tree).encode()


def _in_zip(data, where, other, value):
    with zipfile.ZipFile(io.BytesIO(data)) as old:
        members = {name: old.read(name) for name in old.namelist()}
    name = sorted(members)[where % len(members)]
    match other % 4:
        case 0:
            del members[name]
        case 1:
            members[name] = _npy(where, value)
        case 2:  # its header: declared sizes and types
            members[name] = _word("", members[name][:128], other, WORDS[value % len(WORDS)]) + members[name][128:]
        case _:
            members[name] = _number("", members[name], other, 4, where)
    new = io.BytesIO()
    with zipfile.ZipFile(new, "w", zipfile.ZIP_DEFLATED) as file:
        for each, content in members.items():
            file.writestr(each, content)
    return new.getvalue()


def _npy(where, value):
    file = io.BytesIO()
    np.save(file, np.zeros(SHAPES[where % len(SHAPES)], TYPES[value % len(TYPES)]))
    return file.getvalue()


def _in_png(data, where, other, value):
    chunks, at = [], 8
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        chunks.append([data[at + 4 : at + 8], data[at + 8 : at + 8 + size]])
        at += 12 + size
    chunk = chunks[where % len(chunks)]
    if chunk[0] == b"IDAT" and other % 2:
        chunk[1] = zlib.compress(_number("", zlib.decompress(chunk[1]), other, 2, where))
    else:
        chunk[1] = _number("", chunk[1], other, 4, (1, 4096, 60000, 2**31 - 1)[value % 4])
    parts = [
        len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big") for kind, body in chunks
    ]
    return data[:8] + b"".join(parts)


def _in_hdf5(data, where, other, value):
    copy = io.BytesIO(data)
    with h5py.File(copy, "r+") as file:
        names = []
        file.visit(names.append)
        name = sorted(names)[where % len(names)]
        match other % 6:
            case 0:
                del file[name]
            case 1:
                del file[name]
                file.create_dataset(name, data=np.zeros(SHAPES[where % len(SHAPES)], TYPES[value % len(TYPES)]))
            case 2:
                del file[name]
                file[name] = h5py.SoftLink("/" + sorted(names)[value % len(names)])
            case 3:
                del file[name]
                file[name] = h5py.ExternalLink("/etc/passwd", "/")
            case 4:
                del file[name]
                file.create_dataset(name, shape=(10**9,), dtype="<f4", chunks=(1000,))  # declared, not written
            case _:
                owner = file[name] if other % 4 else file
                for attribute in owner.attrs:
                    put = VALUES[value]
                    has_type = isinstance(put, str) or (isinstance(put, int) and abs(put) < 1 << 63)  # of HDF5
                    owner.attrs[attribute] = put if has_type else WORDS[5]
    return copy.getvalue()


def _put(data, where, value):
    start = where % max(1, len(data))
    return data[:start] + value + data[start + len(value) :]


_OPERATIONS: dict[str, Callable[..., bytes]] = {
    "bit": _bit,
    "byte": _byte,
    "number": _number,
    "cut": _cut,
    "remove": _remove,
    "repeat": _repeat,
    "insert": _insert,
    "word": _word,
    "line": _line,
    "inside": _inside,
}
_INSIDES = {"json": _in_json, "ipynb": _in_json, "npz": _in_zip, "png": _in_png, "h5": _in_hdf5}
