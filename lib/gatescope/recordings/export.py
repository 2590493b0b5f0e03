"""Export of recordings: arrays in a file, or labelled arrays of xarray."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gatescope.files import atomic_write

if TYPE_CHECKING:
    import xarray

# Dimensions of a value, by their number.
DIMENSIONS = {
    3: ("clip", "step", "channel"),
    4: ("clip", "step", "token", "channel"),
    5: ("clip", "step", "channel", "row", "column"),
}


def save_npz(recording: Mapping[str, Any], path: Path | str) -> None:
    """Write a recording's values to a compressed .npz file, an array for each name; `np.load(path)[name]` reads it."""
    with atomic_write(Path(path)) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        # Not by `np.savez`, for which a value may not be called `file`.
        for name, value in recording.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, _array(value), allow_pickle=False)


def to_xarray(recording: Mapping[str, Any]) -> "xarray.Dataset":
    """Return a recording as an xarray.Dataset whose arrays have named dimensions, with `meaning` as an attribute.

    Layers of different sizes have dimensions of their own: `channel of layer2`, where it is another number than before.
    Raises ImportError without xarray, which is not a dependency: `pip install xarray`.
    """
    try:
        import xarray
    except ImportError as error:
        raise ImportError("recordings become labelled arrays with xarray: pip install xarray") from error
    meanings = getattr(recording, "meanings", {})
    found, sizes = {}, {}
    for name, value in recording.items():
        array = _array(value)
        dimensions = []
        for dimension, size in zip(DIMENSIONS[array.ndim], array.shape, strict=True):
            same = sizes.setdefault(dimension, size) == size
            dimensions.append(dimension if same else f"{dimension} of {name.rpartition('.')[0] or name}")
        attributes = {"meaning": meanings[name]} if name in meanings else {}
        found[name] = xarray.DataArray(array, dims=dimensions, attrs=attributes)
    return xarray.Dataset(found)


def _array(value: Any) -> np.ndarray:
    if not isinstance(value, torch.Tensor):
        return np.asarray(value)
    value = value.detach().cpu()
    return (value.float() if value.dtype == torch.bfloat16 else value).numpy()  # NumPy has no bfloat16
