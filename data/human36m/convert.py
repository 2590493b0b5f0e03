"""Convert the poses and cameras of Human3.6M once into `poses.npz`, plain arrays that `Human36M` reads.

    python data/human36m/convert.py path/to/human36m

Needs NumPy alone. The two files of VideoPose3D hold pickles, which can run any code where they are opened in the usual
way; here a pickle is read as plain data, and one that holds anything but names and arrays of numbers is refused.
"""

import math
import pickle
import re
import struct
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np

# The 17 joints that are evaluated, among the 32 recorded.
KEPT = (0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27)
NUM_CAMERAS, NUM_SUBJECTS = 4, 11
MOST_BYTES = 1 << 30  # of each pickle; those of all subjects have 300 MB
MOST_TEXT_BYTES = 1 << 24
# All that zipfile, NumPy and the unpickler raise over a damaged file.
DAMAGE = (ValueError, LookupError, TypeError, AttributeError, RuntimeError, EOFError, OverflowError, MemoryError)
DAMAGE += (SyntaxError, struct.error, zipfile.BadZipFile, zlib.error, pickle.UnpicklingError)
MOST_APART = 1 / 200  # between given and projected 2D poses, in focal lengths: lenses are known to 1 / 1000


def convert(root: Path) -> Path:
    """Write `poses.npz` below `root` and return its path.

    For each subject it holds `S1/cameras` (4, 4, 3): rows 0 to 2 of each camera rotate from world to camera axes, row 3
    is its position (mm, in the world); for each performance `S1/Eating/world` (time, 17, 3), mm, and `S1/Eating/pixels`
    (4, time, 17, 2), px.

    Raises:
        ValueError: if `metadata.xml` describes no cameras, or 3D poses, 2D poses and cameras do not fit each other.
    """
    outside, inside = read_cameras(root / "metadata.xml")
    in_world = read_pickled(root / "data_3d_h36m.npz", "positions_3d")
    in_pixels = read_pickled(root / "data_2d_h36m_gt.npz", "positions_2d")
    arrays = {}
    for subject, actions in in_world.items():
        if not re.fullmatch("S([1-9]|1[01])", subject):
            raise ValueError(f"{subject!r} is none of the subjects S1 to S{NUM_SUBJECTS}")
        own = outside[:, int(subject.removeprefix("S")) - 1]
        cameras = np.array([[*rotation(camera[:3]), camera[3:]] for camera in own])
        arrays[f"{subject}/cameras"] = cameras
        seen = as_dict(in_pixels.get(subject, {}), subject)
        for action, joints in as_dict(actions, subject).items():
            joints, views = as_array(joints, f"{subject} {action}"), seen.get(action, ())
            if not isinstance(views, list | tuple):
                raise ValueError(f"{subject} {action}: needed a list of 2D poses by camera; got {type(views).__name__}")
            views = [as_array(view, f"{subject} {action}") for view in views]
            found, wanted = [np.shape(view) for view in views], NUM_CAMERAS * [(*joints.shape[:1], len(KEPT), 2)]
            if not joints.size or joints.shape[1:] != (32, 3) or found != wanted:
                raise ValueError(
                    f"{subject} {action}: needed 3D poses (time, 32, 3) and 2D poses of 4 cameras (time, 17, 2), "
                    f"with a frame or more; got {joints.shape} and {found}; make both files from one copy"
                )
            world = joints[:, KEPT].astype(np.float32) * np.float32(1000)  # from m
            pixels = np.stack(views).astype(np.float32)
            for camera, lens, view in zip(cameras, inside, pixels, strict=True):
                apart = np.linalg.norm(project(world[0], camera, lens) - view[0], axis=-1).max()
                if not apart <= MOST_APART * lens[:2].max():
                    raise ValueError(
                        f"{subject} {action}: 2D poses are {apart:.1f} px from where metadata.xml projects the 3D "
                        "ones; take all three files from one copy of the data set"
                    )
            arrays[f"{subject}/{action}/world"], arrays[f"{subject}/{action}/pixels"] = world, pixels
    np.savez(root / "poses.npz", **arrays)
    return root / "poses.npz"


def read_cameras(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read (4, 11, 6): each camera's three angles, rad, and position, mm, per subject; and (4, 9): its optics.

    The optics are two focal lengths and the centre, px, then three radial and two tangential distortions.
    """
    text = regular_file(path, MOST_TEXT_BYTES).read_text(encoding="utf-8")
    found = re.search(r"<w0>\s*\[([^\]<]*)\]\s*</w0>", text)
    numbers = np.array(found[1].split() if found else [], float)
    split = NUM_CAMERAS * NUM_SUBJECTS * 6
    if numbers.size != split + NUM_CAMERAS * 9:
        raise ValueError(f"{path} has no element w0 of 300 numbers; take it from Human3.6M's own code")
    return numbers[:split].reshape(NUM_CAMERAS, NUM_SUBJECTS, 6), numbers[split:].reshape(NUM_CAMERAS, 9)


def regular_file(path: Path, most: int) -> Path:
    """Return the path of a file of at most `most` bytes; a pipe or a device could be waited for without end."""
    size = path.stat().st_size
    if not path.is_file() or size > most:
        raise ValueError(f"{path} is no file of at most {most:,} bytes")
    return path


def read_pickled(path: Path, name: str) -> dict:
    """Return the dictionary that VideoPose3D's script saved under this name, its arrays as `Pickled`.

    Raises OSError without the file, ValueError for one that holds anything else or more than MOST_BYTES.
    """
    try:
        with zipfile.ZipFile(regular_file(path, MOST_BYTES)) as archive:
            if archive.getinfo(f"{name}.npy").file_size > MOST_BYTES:
                raise ValueError(f"{name} says that it is larger than {MOST_BYTES:,} bytes")
            with archive.open(f"{name}.npy") as stream:
                if np.lib.format.read_magic(stream) != (1, 0):
                    raise ValueError(f"{name} is in another version of NumPy's format than 1.0")
                np.lib.format.read_array_header_1_0(stream)
                return as_dict(PlainUnpickler(stream).load().values, name)
    except DAMAGE as error:
        raise ValueError(f"{path} cannot be read: {error}; make it again with VideoPose3D's script") from error


def as_dict(thing: object, what: str) -> dict:
    """Return a dictionary; raises ValueError for anything else."""
    if not isinstance(thing, dict):
        raise ValueError(f"{what}: needed a dictionary; got {type(thing).__name__}")
    return thing


def as_array(thing: object, what: str) -> np.ndarray:
    """Return the array that was pickled; raises ValueError for anything else."""
    if not isinstance(thing, Pickled) or not isinstance(thing.values, np.ndarray):
        raise ValueError(f"{what}: needed an array of numbers; got {type(thing).__name__}")
    return thing.values


class Pickled:
    """What stands for an array, or for its type, while a pickle is read; `values` are there when its state came."""

    def __init__(self, *arguments: object):
        self.arguments, self.values = arguments, None

    def __setstate__(self, state: tuple) -> None:
        if len(state) == 8:  # a type's: version, byte order and what structured types have
            self.values = np.dtype(str(state[1]).replace("|", "") + str(self.arguments[0]))
            return
        _, shape, kind, by_columns, content = state
        if kind.values.kind == "O" and shape in ((), (1,)) and len(content) == 1:
            self.values = content[0]
        elif kind.values.kind != "f" or math.prod(shape) * kind.values.itemsize != len(content):
            raise ValueError(f"{shape} {kind.values} is no array of floats, or not of this size")
        else:
            self.values = np.frombuffer(content, kind.values).reshape(shape, order="F" if by_columns else "C")


class PlainUnpickler(pickle._Unpickler):
    """Reads names, numbers, dictionaries, lists and NumPy's arrays; nothing that a pickle names is run.

    The one in Python, not in C: that one reserves gigabytes where a pickle of some bytes asks for it.
    """

    KNOWN = ("_reconstruct", "ndarray", "dtype", "encode")
    OPCODES = (
        "PROTO FRAME MARK STOP GLOBAL STACK_GLOBAL REDUCE BUILD EMPTY_DICT SETITEM SETITEMS EMPTY_LIST APPEND APPENDS "
        "EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 BININT BININT1 BININT2 LONG1 NONE NEWTRUE NEWFALSE BINUNICODE "
        "SHORT_BINUNICODE BINBYTES SHORT_BINBYTES BINBYTES8 BINPUT LONG_BINPUT BINGET LONG_BINGET MEMOIZE"
    )

    def find_class(self, module: str, name: str) -> type:
        """Return what stands for the parts of an array."""
        if module.split(".")[0] not in ("numpy", "_codecs") or name not in self.KNOWN:
            raise ValueError(f"it holds {module}.{name}, and only arrays of numbers are read")
        return Pickled if name != "encode" else lambda text, coding: text.encode("latin1")

    def load_items(self) -> None:
        """Put items into a dictionary by their names: other keys could take for ever to compare."""
        items = self.pop_mark()
        self.put(items)

    def load_item(self) -> None:
        """Put one item into a dictionary by its name."""
        value, name = self.stack.pop(), self.stack.pop()
        self.put([name, value])

    def put(self, items: list) -> None:
        """Put names and values, in turn, into the dictionary on top of the stack."""
        names = items[::2]
        if not all(isinstance(name, str) for name in names):
            raise ValueError("a dictionary has keys that are no names")
        self.stack[-1].update(zip(names, items[1::2], strict=True))

    dispatch = {
        getattr(pickle, name)[0]: pickle._Unpickler.dispatch[getattr(pickle, name)[0]] for name in OPCODES.split()
    }
    dispatch |= {pickle.SETITEM[0]: load_item, pickle.SETITEMS[0]: load_items}


def rotation(angles: np.ndarray) -> np.ndarray:
    """Return the product of the rotations about x, y and z by these angles (rad)."""
    product = np.eye(3)
    for axis, angle in enumerate(angles):
        first, second = (axis + 1) % 3, (axis + 2) % 3
        turn = np.eye(3)
        turn[first, first] = turn[second, second] = np.cos(angle)
        turn[second, first] = np.sin(angle)
        turn[first, second] = -turn[second, first]
        product = product @ turn
    return product


def project(world: np.ndarray, camera: np.ndarray, lens: np.ndarray) -> np.ndarray:
    """Return the pixels (joints, 2) of joints in the world, without the lens's tangential distortion (about 1 px)."""
    seen = (world - camera[3]) @ camera[:3].T
    places = seen[:, :2] / seen[:, 2:]
    squared = (places**2).sum(axis=-1, keepdims=True)
    return places * (1 + lens[4] * squared + lens[5] * squared**2 + lens[6] * squared**3) * lens[:2] + lens[2:4]


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        print(f"wrote {convert(Path(sys.argv[1]))}")
    except (OSError, ValueError) as error:
        sys.exit(str(error))
