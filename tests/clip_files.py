"""Small clips written to files in every form the loaders read, for tests."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image


def some_frames(num_frames=10, height=48, width=64, seed=0):
    """RGB frames of a bright square that moves over a gradient: smooth, so that codecs keep it."""
    rows, columns = np.mgrid[0:height, 0:width]
    frames = np.empty((num_frames, height, width, 3), np.uint8)
    for t in range(num_frames):
        base = 60 + 60 * rows / height + 40 * columns / width
        square = 90 * ((abs(rows - height / 2) < 8) & (abs(columns - 8 - 4 * t - seed % 5) < 8))
        frames[t] = np.stack([base + square, base, base[::-1]], axis=-1)
    return frames


def write_video(path: Path, frames: np.ndarray, codec: str = "libx264", fps: int = 10, format=None) -> Path:
    """A video file, the container by the path's suffix."""
    with av.open(str(path), "w", format=format) as container:
        stream = container.add_stream(codec, rate=fps)
        stream.width, stream.height = frames.shape[2], frames.shape[1]
        stream.pix_fmt = {"gif": "rgb8", "mjpeg": "yuvj420p"}.get(codec, "yuv420p")
        stream.time_base = Fraction(1, fps)
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


def write_jpegs(folder: Path, frames: np.ndarray, digits: int = 5) -> Path:
    """A folder of frames 00001.jpg ..."""
    folder.mkdir(parents=True)
    for number, frame in enumerate(frames, start=1):
        Image.fromarray(frame).save(folder / f"{number:0{digits}d}.jpg", quality=95)
    return folder


def write_depth(folder: Path, depth: np.ndarray, step: int = 1) -> Path:
    """A folder of 16-bit PNGs 0.png, <step>.png ..."""
    folder.mkdir(parents=True)
    for number, frame in enumerate(depth):
        Image.fromarray(frame.astype(np.uint16)).save(folder / f"{step * number}.png")
    return folder


def write_jester(root: Path, labels=("wave", "clap", "point"), num_clips=6, split="train") -> Path:
    """A root in Jester's layout; clip i has label (i - 1) % len(labels)."""
    lines = []
    for number in range(1, num_clips + 1):
        write_jpegs(root / "20bn-jester-v1" / str(number), some_frames(6, seed=number))
        lines.append(f"{number};{labels[(number - 1) % len(labels)]}")
    (root / "jester-v1-labels.csv").write_text("\n".join(labels) + "\n")
    (root / f"jester-v1-{split}.csv").write_text("\n".join(lines) + "\n")
    return root


def write_isogd(root: Path, num_clips=3, split="train") -> Path:
    """A root in IsoGD's distributed layout; clip i has label i in the list, i - 1 as index."""
    folder = root / split / "001"
    folder.mkdir(parents=True)
    lines = []
    for number in range(1, num_clips + 1):
        colour = some_frames(6, seed=number)
        names = [f"{split}/001/{kind}_{number:05d}.avi" for kind in "MK"]
        write_video(root / names[0], colour, "mpeg4")
        write_video(root / names[1], np.repeat(colour[..., :1], 3, axis=-1), "mpeg4")
        lines.append(f"{names[0]} {names[1]} {number}")
    (root / f"{split}_list.txt").write_text("\n".join(lines) + "\n")
    return root
