"""A clip from what is in memory already, or in an .npy file: arrays, tensors, lists of pictures."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Shaped

from gatescope.formats.arrays import DamagedArraysError, read_array
from gatescope.loaders.clip import DEFAULT_FPS, Clip, depth_to_grey
from gatescope.loaders.errors import ClipError, DamagedClipError, OversizedClipError, access_errors
from gatescope.loaders.limits import MAX_CLIP_BYTES, is_number

_MOST_BYTES = 12  # of a value at the peak: depth as read, in mm, sorted for its percentiles, in grey
_MOST_MM = 1e6  # of a unit of depth
_FORMS = "give uint8 (T, H, W, 3), (T, 3, H, W) or (T, H, W), or uint16 (T, H, W) for depth"


def as_array(frames: Any) -> Shaped[np.ndarray, "..."]:
    """Return frames in memory as one array: of an array, a tensor on any device, or a sequence of pictures.

    Raises ValueError for anything else, masked values, or if a sequence is empty, or its members are paths or of
    several shapes.
    """
    if isinstance(frames, torch.Tensor):
        try:
            frames = frames.detach().cpu()
            # NumPy has no bfloat16; floats are refused later, by name.
            return (frames.float() if frames.is_floating_point() else frames).numpy()
        except (TypeError, RuntimeError) as error:  # sparse, quantised, or without values
            raise ValueError(f"a tensor of frames must be a plain one, uint8; got {frames.dtype}: {error}") from error
    if np.ma.is_masked(frames):
        raise ValueError("frames are masked, and a clip's have no mask: give them filled, as by frames.filled(0)")
    if hasattr(frames, "__array__"):
        return np.asarray(frames)
    if not isinstance(frames, Sequence) or isinstance(frames, bytes | bytearray | memoryview):
        got = type(frames).__name__
        raise ValueError(f"a clip is read from a path, an array, a tensor or a list of pictures; got {got}")
    pictures = [as_array(each) if hasattr(each, "__array__") else each for each in frames]
    if not pictures or any(isinstance(each, str | bytes | Path) for each in pictures):
        got = f"{type(pictures[0]).__name__} first" if pictures else "none"
        raise ValueError(f"a sequence must hold pictures, (H, W, 3) uint8 each; got {got}; VideoClips takes paths")
    try:
        arrays = [np.asarray(each) for each in pictures]
    except ValueError as error:
        raise ValueError(f"a sequence must hold pictures, (H, W, 3) uint8 each; one is none: {error}") from error
    if len({(each.shape, each.dtype) for each in arrays}) > 1:
        other = next(each for each in arrays if (each.shape, each.dtype) != (arrays[0].shape, arrays[0].dtype))
        shown = f"{arrays[0].shape} {arrays[0].dtype} and {other.shape} {other.dtype}"
        raise ValueError(f"a sequence's pictures must be of one shape and type; got {shown}")
    return np.stack(arrays)


def clip_from(frames: Shaped[np.ndarray, "..."], source: str, depth_unit_mm: Any, notes: tuple[str, ...] = ()) -> Clip:
    """Return a clip of frames in grey, colour or 16-bit depth; an alpha channel is dropped.

    Raises ClipError for depth without its unit or a unit without depth, ValueError for another shape or type.
    """
    frames = frames.astype(frames.dtype.newbyteorder("="), copy=False)
    if frames.dtype == np.uint16 and frames.ndim == 3:
        if not is_number(depth_unit_mm) or not 0 < depth_unit_mm < _MOST_MM:
            raise ClipError(
                "holds 16-bit depth: give depth_unit_mm, the millimetres per unit (1 for Kinect, 0.125 for "
                f"Intel's SR305); got {depth_unit_mm}",
                path=source,
            )
        depth = frames.astype(np.float32)
        depth *= np.float32(depth_unit_mm)
        grey = np.repeat(depth_to_grey(depth)[..., None], 3, axis=-1)
        return Clip(frames=grey, depth=depth, fps=DEFAULT_FPS, source=source, notes=notes)
    if depth_unit_mm is not None:
        reason = f"depth_unit_mm is for 16-bit frames; these are {frames.shape} {frames.dtype}: leave it out"
        raise ClipError(reason, path=source)
    _check_type(frames.shape, frames.dtype)
    if frames.ndim == 4 and frames.shape[1] in (1, 3, 4) and frames.shape[3] not in (1, 3, 4):
        frames = np.moveaxis(frames, 1, 3)
    if frames.ndim == 3:
        if frames.shape[2] in (3, 4):
            raise ValueError(f"an array of {frames.shape} reads as one colour frame; give (time, height, width, 3)")
        frames = frames[..., None]
    if frames.ndim != 4 or frames.shape[3] not in (1, 3, 4) or frames.dtype != np.uint8:
        raise ValueError(f"{_FORMS}; got {frames.shape} {frames.dtype}")
    frames = np.repeat(frames, 3, axis=3) if frames.shape[3] == 1 else np.ascontiguousarray(frames[..., :3])
    return Clip(frames=frames, fps=DEFAULT_FPS, source=source, notes=notes)


def read_npy(path: Path) -> Shaped[np.ndarray, "..."]:
    """Return the array in an .npy file; its declared shape and type are checked before it is read."""

    def check(shape: tuple[int, ...], dtype: np.dtype) -> None:
        if math.prod(shape) * _MOST_BYTES > MAX_CLIP_BYTES:
            reason = f"an array of {shape} exceeds {MAX_CLIP_BYTES >> 20} MiB; cut it, or give it smaller"
            raise OversizedClipError(reason, path=path)
        _check_type(shape, dtype)

    try:
        with access_errors(path):
            return read_array(path, check)
    except DamagedArraysError as error:
        raise DamagedClipError(f"holds no array that can be read ({error}); save it again", path=path) from error


def _check_type(shape: tuple[int, ...], dtype: np.dtype) -> None:
    if np.issubdtype(dtype, np.floating):
        help = "convert values of 0 to 1 by (255 * x).round().clip(0, 255) and to uint8"
        raise ValueError(f"frames must be uint8; got {shape} {dtype}: {help}")
    if dtype.newbyteorder("=") not in (np.uint8, np.uint16):
        raise ValueError(f"{_FORMS}; got {shape} {dtype}")
