"""Recordings small enough to send, in which every step, channel and cell differs, and what pixels must show of them."""

from pathlib import Path

import av
import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.colors import Normalize
from torch import Tensor

STEPS, CHANNELS, SIZE = 16, 8, 28
SIGNED = ("layer1.h", "layer1.c", "layer1.g")
NAMES = (*SIGNED, "layer1.i", "layer1.f", "layer1.o")
HOSTILE = "<script>window.ran = 1</script>\"'><img src=x onerror='window.ran = 1'>\u202egnp.</script>"


def make_recording(steps: int = STEPS, seed: int = 0, names: tuple[str, ...] = NAMES) -> dict[str, Tensor]:
    """Blobs that move over a little noise: states and candidates of either sign, gates between 0 and 1."""
    rng = np.random.default_rng(seed)
    rows = np.arange(SIZE)[:, None]
    recording = {}
    for name in names:
        y, x = rng.uniform(4, SIZE - 4, (2, CHANNELS, 1, 1))
        drift = rng.uniform(-0.6, 0.6, (CHANNELS, 1, 1))
        blobs = [np.exp(-((rows - y - drift * t) ** 2 + (rows.T - x + drift * t) ** 2) / 40) for t in range(steps)]
        values = np.stack(blobs) * rng.uniform(0.5, 1, (CHANNELS, 1, 1))
        values += rng.normal(0, 0.02, values.shape)
        values = 2 * values - 1 if name in SIGNED else values.clip(0, 1)
        recording[name] = torch.tensor(values[None], dtype=torch.float32)
    return recording


def known(recording: dict[str, Tensor]) -> dict[str, str]:
    """What the values of `make_recording` are, as a network's own hook points say it."""
    return {name: name.rpartition(".")[2] for name in recording if name in NAMES}


def make_clip(**parts):
    """Frames in which a square, the hand, walks over a slope of colours."""
    from gatescope.loaders import Clip

    slope = np.linspace(0, 200, 56).astype(np.uint8)
    frames = np.zeros((STEPS, 56, 56, 3), np.uint8)
    frames[..., 0], frames[..., 1] = slope, slope[:, None]
    hand = np.zeros((STEPS, 56, 56), bool)
    for t in range(STEPS):
        hand[t, 20:32, 2 * t : 2 * t + 12] = True
    frames[hand] = 255
    return Clip(**{"frames": frames, "fps": 12.0, "source": "a drawing", "name": "Swiping", "hand_mask": hand} | parts)


def coloured(plane: Tensor, step: int, name: str) -> np.ndarray:
    """A step of a map in matplotlib's colours, (rows, columns, 3), after its clip was put in 256 levels.

    Gates, which have no sign, between 0 and 1; other maps as far to either side of 0 as their clip goes,
    (step, rows, columns), in the colours for that.
    """
    values = plane.double().numpy()
    low, high = values.min(), values.max()
    values = low + np.rint((values[step] - low) / (high - low) * 255) * (high - low) / 255
    far = max(-low, high)
    norm, name = (Normalize(-far, far), "RdBu_r") if low < 0 else (Normalize(0, 1), name)
    return colormaps[name](norm(values), bytes=True)[..., :3].astype(int)


def camera_file(frames: np.ndarray, path: Path) -> Path:
    """Write frames (time, height, width, 3) as JPEG pictures one after another, as chromium's camera plays them."""
    with av.open(path, "w", "mjpeg") as written:
        stream = written.add_stream("mjpeg", rate=30)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuvj420p"
        for frame in frames:
            written.mux(stream.encode(av.VideoFrame.from_ndarray(frame).reformat(format="yuvj420p")))
        written.mux(stream.encode())
    return path


def camera_options(path: Path) -> tuple[str, str]:
    """Return what gives chromium a camera that sees this again and again."""
    return "--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={path}"
