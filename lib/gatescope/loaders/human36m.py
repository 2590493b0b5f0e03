"""Human36M: clips of Human3.6M's videos, cropped to the subject, with the 17 joints in camera axes."""

import math
import operator
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64
from PIL import Image
from torch.utils.data import Dataset

from gatescope.formats.arrays import OversizedArraysError, read_arrays
from gatescope.loaders.clip import Clip
from gatescope.loaders.errors import (
    ClipError,
    DamagedClipError,
    MissingClipError,
    OversizedClipError,
    access_errors,
    check_one_of,
)
from gatescope.loaders.limits import check_input, is_whole
from gatescope.loaders.lists import as_skipped
from gatescope.loaders.video import read_video_frames
from rendered_people.skeleton import PARENTS

SPLITS = {"train": ("S1", "S5", "S6", "S7", "S8"), "test": ("S9", "S11")}
CAMERAS = ("54138969", "55011271", "58860488", "60457274")  # serial numbers, in the order of all files
FPS = 50.0
MARGIN = 1.15  # of the crop around the outermost joint: hands, feet and crown reach beyond their joints
_MOST_MM, _MOST_PX = 100_000.0, 4096.0  # larger coordinates are a fault of the file
_ROTATION_ERROR = 1e-3  # of the products of a rotation's rows
_MOST_BYTES = 1 << 30  # of poses; those of all subjects take 400 MB
_OBTAIN = "see data/human36m/README.md for how to obtain it"
# Actions have one name in the poses' files and, for some subjects, another in the videos'.
_VIDEO_NAMES = {"Photo": "TakingPhoto", "WalkDog": "WalkingDog"}


@dataclass(frozen=True)
class Recording:
    """One performance before one camera."""

    video: Path
    action: str
    camera: Float64[np.ndarray, "4 3"]  # three rows that rotate from world to camera axes, and its position, mm
    world: Float32[np.ndarray, "time 17 3"]  # mm, shared by the four cameras
    pixels: Float32[np.ndarray, "time 17 2"]


class Human36M(Dataset):
    """Clips of Human3.6M: training subjects 1, 5, 6, 7 and 8, test subjects 9 and 11, each before four cameras.

    Clips of `num_frames` frames follow each other without overlap and take every `every`-th frame of the video: 25 as
    the authors of the pose machine, 4 for 12.5 frames per second. The rest at a performance's end is not used.
    `joints_3d` are in camera axes, `joints_2d` in pixels of the crop.

    The crop is a square about the pelvis that holds every joint, of one size for all frames of a clip, resized to
    `size` pixels and black outside the video. A clip's name is its action.

    `root` holds `poses.npz`, made by `data/human36m/convert.py`, and `S1/Videos/Directions 1.54138969.mp4` and so on.
    `strict=False` leaves out the recordings whose video is missing and lists them in `skipped`.

    Raises ClipError, naming the file that is missing, damaged or too large; ValueError if an argument is out of range.
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        size: int = 368,
        num_frames: int = 5,
        every: int = 25,
        strict: bool = True,
    ):
        check_one_of("split", split, SPLITS)
        check_input(num_frames, size)
        if not (is_whole(every) and every >= 1):
            raise ValueError(f"every must be a whole number, 1 or more; got {every!r}")
        self.root, self.size, self.num_frames, self.every = Path(root), size, num_frames, every
        self.skipped: list[tuple[str, str]] = []
        self._clips: list[tuple[Recording, int]] = []
        for recording in _recordings(self.root, SPLITS[split]):
            if os.path.isfile(recording.video):
                starts = range(0, len(recording.world) - (num_frames - 1) * every, num_frames * every)
                self._clips += [(recording, start) for start in starts]
                continue
            error = MissingClipError(f"the video is missing; {_OBTAIN}", path=recording.video)
            if strict:
                raise error
            self.skipped.append(as_skipped(error))

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, index: int) -> Clip:
        recording, start = self._clips[operator.index(index)]
        numbers = range(start, start + self.num_frames * self.every, self.every)
        frames = read_video_frames(recording.video, numbers, FPS)
        pixels, world, camera = recording.pixels[list(numbers)], recording.world[list(numbers)], recording.camera
        side = crop_side(pixels)
        # The files do not say whether coordinates mean a pixel's centre or corner: half a pixel of a thousand.
        corners = np.round(pixels[:, 0] - side / 2).astype(int)
        boxes = [(left, top, left + side, top + side) for left, top in corners.tolist()]
        crops = [
            Image.fromarray(frame).crop(box).resize((self.size, self.size), Image.Resampling.BILINEAR)
            for frame, box in zip(frames, boxes, strict=True)
        ]
        return Clip(
            frames=np.stack([np.asarray(crop) for crop in crops]),
            fps=FPS / self.every,
            source=f"{recording.video}, frames {start} to {numbers[-1]}",
            name=recording.action,
            joints_2d=((pixels - corners[:, None]) * (self.size / side)).astype(np.float32),
            joints_3d=((world - camera[3]) @ camera[:3].T).astype(np.float32),
        )


def crop_side(pixels: Float32[np.ndarray, "time 17 2"]) -> int:
    """Return the side, px, of the square about the pelvis that holds every joint of every frame, with a margin."""
    return max(2, math.ceil(2 * MARGIN * float(np.abs(pixels - pixels[:, :1]).max())))


def _recordings(root: Path, subjects: tuple[str, ...]) -> Iterator[Recording]:
    """Yield every performance of the subjects before every camera, whether its video is there or not."""
    path = root / "poses.npz"
    arrays = _read_poses(path, subjects)
    for subject in subjects:
        actions = {name.split("/")[1] for name in arrays if name.startswith(f"{subject}/")} - {"cameras"}
        if not actions:
            raise DamagedClipError(f"holds no poses of {subject}; {_OBTAIN}", path=path)
        for action in sorted(actions):
            if not re.fullmatch(r"\w+( \d+)?", action):  # it becomes part of a path
                raise DamagedClipError(f"{action[:40]!r} is no name of an action; {_OBTAIN}", path=path)
            names = (f"{subject}/cameras", f"{subject}/{action}/world", f"{subject}/{action}/pixels")
            cameras, world, pixels = parts = [np.atleast_1d(arrays.get(name, ())) for name in names]
            wanted = [(len(CAMERAS), 4, 3), (len(world), len(PARENTS), 3), (len(CAMERAS), len(world), len(PARENTS), 2)]
            found = [part.shape for part in parts]
            if found != wanted or [part.dtype for part in parts] != [np.float64, np.float32, np.float32]:
                shown = f"{', '.join(names)} must be float64, float32, float32 {wanted}; got {found}"
                raise DamagedClipError(f"{shown}; convert it again, {_OBTAIN}", path=path)
            for name, part, most in zip(names, parts, (_MOST_MM, _MOST_MM, _MOST_PX), strict=True):
                if not (np.abs(part) <= most).all():
                    raise DamagedClipError(f"{name} holds a value that is no number of at most {most:g}", path=path)
            turns = cameras[:, :3]
            if np.abs(turns @ turns.mT - np.eye(3)).max() > _ROTATION_ERROR or np.linalg.det(turns).min() < 0:
                raise DamagedClipError(f"{names[0]} holds no rotations; convert it again, {_OBTAIN}", path=path)
            for serial, camera, view in zip(CAMERAS, cameras, pixels, strict=True):
                yield Recording(_video(root, subject, action, serial), action, camera, world, view)


def _read_poses(path: Path, subjects: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Read the arrays of these subjects by their names, as `data/human36m/convert.py` writes them; no pickle."""
    try:
        with access_errors(path, missing=f"is missing; {_OBTAIN}"):
            return read_arrays(path, lambda name: name.split("/")[0] in subjects, most_bytes=_MOST_BYTES)
    except ClipError:
        raise
    except OversizedArraysError as error:
        raise OversizedClipError(f"{error}; {_OBTAIN}", path=path) from error
    except ValueError as error:
        raise DamagedClipError(f"cannot be read ({error}); convert it again, {_OBTAIN}", path=path) from error


def _video(root: Path, subject: str, action: str, camera: str) -> Path:
    """Return the video under the name that it has or, where neither name is there, would have."""
    kind, space, take = action.partition(" ")
    names = (action, _VIDEO_NAMES.get(kind, kind) + space + take)
    paths = [root / subject / "Videos" / f"{name}.{camera}.mp4" for name in names]
    return next(filter(os.path.isfile, paths), paths[0])
