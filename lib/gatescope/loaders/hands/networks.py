"""The two hand networks: obtained once, checked by their hashes, opened by LiteRT."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from gatescope.files import atomic_write, read_bytes
from gatescope.paths import HANDS

WHEEL = "mediapipe==0.10.21"  # later wheels do not hold the files
# Any machine may open this wheel; it is never installed.
_PLATFORM = ("--python-version", "311", "--abi", "cp311", "--platform", "manylinux_2_28_x86_64")
_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # others can ask for gigabytes
_MOST_BYTES = 1 << 23  # more than any of its files that are unpacked here
NO_RUNTIME = (
    "Hands are found by LiteRT, which is not installed here: `pip install ai-edge-litert` brings it where Google "
    "publishes it, on Linux, Windows and Macs with Apple's processors."
)
LICENCE = "mediapipe-0.10.21.dist-info/LICENSE"
NOTICE = f"""Two networks of Google's MediaPipe, unchanged, from the wheel {WHEEL}: palm detection and hand landmarks.
Licence: Apache 2.0, in the file LICENSE. Source: https://pypi.org/project/mediapipe/0.10.21/
"""


@dataclass(frozen=True)
class NetworkFile:
    """A file that is accepted only byte for byte."""

    member: str  # in the wheel
    num_bytes: int
    sha256: str

    @property
    def name(self) -> str:
        """Its name below data/hands."""
        return Path(self.member).name


PALMS = NetworkFile(
    "mediapipe/modules/palm_detection/palm_detection_full.tflite",
    2_339_846,
    "1b14e9422c6ad006cde6581a46c8b90dd573c07ab7f3934b5589e7cea3f89a54",
)
LANDMARKS = NetworkFile(
    "mediapipe/modules/hand_landmark/hand_landmark_full.tflite",
    5_478_917,
    "11c272b891e1a99ab034208e23937a8008388cf11ed2a9d776ed3d01d0ba00e3",
)
FILES = (PALMS, LANDMARKS)
Network = Callable[[UInt8[np.ndarray, "side side 3"]], dict[str, Float32[np.ndarray, "..."]]]  # outputs by their names


class HandNetworksError(ValueError):
    """The two networks are missing, are not what they should be, or cannot be fetched."""


def has_networks(folder: Path = HANDS) -> bool:
    """Tell whether both files are there, and LiteRT; whether they are the right ones is told when they are opened."""
    return find_spec("ai_edge_litert") is not None and all((Path(folder) / file.name).is_file() for file in FILES)


def open_network(file: NetworkFile, folder: Path = HANDS) -> Network:
    """Open one of the two networks; one thread may use what is returned at a time.

    Raises HandNetworksError if LiteRT is not installed, the file is missing or its hash is another; no other file is
    ever parsed.
    """
    content = _checked(Path(folder) / file.name, file)
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise HandNetworksError(f"{NO_RUNTIME} ({error})") from error
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    (given,) = (each["index"] for each in interpreter.get_input_details())
    answers = {each["name"]: each["index"] for each in interpreter.get_output_details()}

    def network(picture: UInt8[np.ndarray, "side side 3"]) -> dict[str, Float32[np.ndarray, "..."]]:
        interpreter.set_tensor(given, picture[None] / np.float32(255))
        interpreter.invoke()
        return {name: interpreter.get_tensor(index) for name, index in answers.items()}

    return network


def made_by() -> dict[str, Any]:
    """Return what decides a measured hand beside the library's code: the networks' hashes, and versions.

    Raises HandNetworksError if LiteRT is not installed.
    """
    import cv2  # takes 0.15 s, and most clips need no hands

    try:
        litert = metadata.version("ai-edge-litert")
    except metadata.PackageNotFoundError as error:
        raise HandNetworksError(NO_RUNTIME) from error
    return {"networks": {file.name: file.sha256 for file in FILES}, "litert": litert, "opencv": cv2.__version__}


def fetch_networks(source: Path | None = None, folder: Path = HANDS) -> list[Path]:
    """Put the two networks, their licence and a notice below `folder`; return their paths.

    `source` is a wheel, or a folder that holds the files, or holds them where an unpacked wheel does; without one, pip
    downloads the wheel, 36 MB.
    Raises HandNetworksError if pip fails, or a file is missing or is another by its hash; `folder` is then as it was.
    """
    with tempfile.TemporaryDirectory() as name:
        found = Path(name)
        if source is None:
            source = _downloaded(found)
        source = Path(os.path.expanduser(source))
        if source.is_file():
            _unpack(source, found)
        elif source.is_dir():
            found = source
        else:
            raise HandNetworksError(f"{source} is neither a wheel nor a folder; name one that holds {FILES[0].name}")
        contents = {}
        for file in FILES:
            contents[file.name] = _checked(_within(found, file.member), file)
        if (licence := _within(found, LICENCE)).is_file():
            contents["LICENSE"] = read_bytes(licence, _MOST_BYTES)
        contents["NOTICE"] = NOTICE.encode()
        for name, content in contents.items():
            with atomic_write(Path(folder) / name) as path:
                path.write_bytes(content)
    return [Path(folder) / file.name for file in FILES]


def _within(folder: Path, member: str) -> Path:
    whole = folder / member
    return whole if whole.is_file() else folder / Path(member).name


def _downloaded(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", *_PLATFORM]
    done = subprocess.run([*command, "--dest", str(folder), WHEEL], capture_output=True, encoding="utf-8", check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        raise HandNetworksError(
            f"pip could not download {WHEEL}: {done.stderr.strip()[-300:]}\nDownload the wheel elsewhere and give its "
            "path: gatescope hands fetch WHEEL"
        )
    return wheels[0]


def _unpack(wheel: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive:
            for member in (*(file.member for file in FILES), LICENCE):
                info = archive.getinfo(member)
                if info.file_size > _MOST_BYTES or info.compress_type not in _PACKED:
                    raise ValueError(f"{member} has {info.file_size} bytes, or is packed in another way")
                with archive.open(info) as inside, open(folder / Path(member).name, "wb") as file:
                    shutil.copyfileobj(inside, file)
    # What zipfile raises over a damaged file, and over methods and passwords that it does not know.
    except (zipfile.BadZipFile, zlib.error, LookupError, OSError, EOFError, RuntimeError, ValueError) as error:
        raise HandNetworksError(f"{wheel} is not the wheel {WHEEL} ({error}); download it again") from error


def _checked(path: Path, file: NetworkFile) -> bytes:
    try:
        content = read_bytes(path, file.num_bytes)
    except OSError as error:
        raise HandNetworksError(
            f"{path} is missing ({error.strerror}); `gatescope hands fetch` obtains it, or takes a wheel's path"
        ) from error
    except ValueError:  # a longer file
        content = b""
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise HandNetworksError(
            f"{path} is another file than {WHEEL} holds (SHA-256 differs); remove it and run `gatescope hands fetch`"
        )
    return content
