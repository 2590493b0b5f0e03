"""Files of figures against the manifest that recorded them, and against what was committed under their names."""

import io
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import Image

from gatescope.files import sha256_of

BLOCK_PX = 8
# Between machines letters and lines move by parts of a pixel, and a curve of a network that was trained there by more.
# Pictures of two figures mostly stay below 0.4, and one that shows nothing has 0.
LEAST_LIKENESS = 0.5
SVG_SIZE = re.compile(rb"<svg[^>]*?\sviewBox=\"([^\"]*)\"")


def compare_files(rebuilt: Mapping[str, Mapping], folder: Path, committed: Callable[[str], bytes | None]) -> list[str]:
    """Return one sentence for each file of a figure in `folder` that is not what it should be.

    It must be there, as its figure's entry recorded it. Where `committed` returns other bytes for its name, both must
    have one size, and pictures be alike: the means of their blocks of 8 x 8 pixels correlate by LEAST_LIKENESS at
    least.
    """
    departures = []
    for name, entry in sorted(rebuilt.items()):
        for file, digest in sorted(entry["files"].items()):
            if not (folder / file).is_file():
                departures.append(f"{name}: {file} is missing")
            elif sha256_of(folder / file) != digest:
                departures.append(f"{name}: {file} is not the file that the manifest recorded")
            else:
                new, old = (folder / file).read_bytes(), committed(file)
                if old not in (None, new) and (what := _differs(Path(file).suffix, old, new)):
                    departures.append(f"{name}: {file} {what}")
    return departures


def _differs(suffix: str, old: bytes, new: bytes) -> str | None:
    if suffix == ".svg":
        sizes = [found[1].decode() if (found := SVG_SIZE.search(each)) else "unknown" for each in (old, new)]
        return f"had the size {sizes[0]}, has {sizes[1]}" if sizes[0] != sizes[1] else None
    try:
        before, after = _gray(old), _gray(new)
    except (OSError, Image.DecompressionBombError) as error:
        return f"cannot be compared with the committed one: {error}"
    if before.shape != after.shape:
        return f"had {before.shape[1]} x {before.shape[0]} pixels, has {after.shape[1]} x {after.shape[0]}"
    likeness = _likeness(before, after)
    return f"shows another picture: its likeness is {likeness:.2f}" if likeness < LEAST_LIKENESS else None


def _gray(picture: bytes) -> Float[np.ndarray, "height width"]:
    with Image.open(io.BytesIO(picture)) as image:
        return np.asarray(image.convert("L"), float)


def _likeness(before: Float[np.ndarray, "height width"], after: Float[np.ndarray, "height width"]) -> float:
    """Pearson's correlation of the means of blocks; 0 where one of the pictures has one tone only."""
    height, width = (size // BLOCK_PX * BLOCK_PX for size in before.shape)
    blocks = [
        each[:height, :width].reshape(height // BLOCK_PX, BLOCK_PX, -1, BLOCK_PX).mean((1, 3))
        for each in (before, after)
    ]
    first, second = (each - each.mean() for each in blocks)
    scale = np.sqrt((first**2).sum() * (second**2).sum())
    return float((first * second).sum() / scale) if scale else 0.0
