"""Optical flow of any clip, estimated by OpenCV and kept in a checksummed cache."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from gatescope.files import atomic_write, regular_file, warn_not_kept
from gatescope.loaders.clip import Clip
from gatescope.paths import CACHE

ALGORITHM = "DIS medium"
_DIGEST_BYTES = hashlib.sha256().digest_size
_MIN_SIDE_PX = 16  # below it OpenCV 5 refuses frames or crashes on them


def optical_flow(
    frames: UInt8[np.ndarray, "time height width 3"],
) -> Float32[np.ndarray, "time-1 height width 2"]:
    """Estimate flow between consecutive frames in px/frame, x then y: what is at p in frame t is at p + flow in t+1.

    By OpenCV's DIS, medium preset. On rendered clips whose hand moves 6 px per frame its end-point error on the hand
    is 3 to 5 px. Rendered clips carry their exact flow; use this for recordings.
    """
    if min(frames.shape[1:3]) < _MIN_SIDE_PX:
        raise ValueError(f"flow needs frames of {_MIN_SIDE_PX} px or more a side; got {frames.shape[1:3]}")
    import cv2  # takes 0.15 s, and most clips need no estimate

    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    flow = np.empty((len(grey) - 1, *frames.shape[1:3], 2), np.float32)
    estimator = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    for t in range(len(flow)):
        flow[t] = estimator.calc(grey[t], grey[t + 1], None)
    return flow


def with_flow(clip: Clip, folder: Path = CACHE / "flow") -> Clip:
    """Return the clip with its own flow or, if it has none, the estimate, which is kept in `folder`.

    An entry's key is the hash of the frames, the algorithm and OpenCV's version. An entry whose checksum is wrong is
    computed again and replaced. Processes may share the folder. Entries are never removed; each takes 8 bytes per
    pixel and frame.
    """
    if clip.flow is not None:
        return clip
    import cv2

    key = hashlib.sha256(f"{ALGORITHM} {cv2.__version__} {clip.frames.shape}".encode())
    key.update(np.ascontiguousarray(clip.frames))
    path = Path(folder) / f"{key.hexdigest()}.flow"
    time, height, width, _ = clip.frames.shape
    flow = _load(path, (time - 1, height, width, 2))
    if flow is None:
        flow = optical_flow(clip.frames)
        payload = flow.astype("<f4", copy=False)
        try:
            with atomic_write(path) as temporary, open(temporary, "wb") as file:
                file.write(hashlib.sha256(payload).digest())
                file.write(payload)
        except OSError as error:
            # The flow is right; only the next reader has to wait for it again.
            warn_not_kept(Path(folder), error)
    return replace(clip, flow=flow)


def _load(path: Path, shape: tuple[int, int, int, int]) -> Float32[np.ndarray, "time height width 2"] | None:
    flow = np.empty(shape, "<f4")
    try:
        with open(regular_file(path), "rb") as file:
            digest, num_bytes = file.read(_DIGEST_BYTES), file.readinto(flow.data.cast("B"))
            if num_bytes < flow.nbytes or file.read(1):
                return None
    except OSError:
        return None
    return flow if hashlib.sha256(flow).digest() == digest else None
