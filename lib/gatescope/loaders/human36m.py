"""Human36M: clips of Human3.6M's videos, cropped to the subject, with the 17 joints in camera axes."""

import math
import operator
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64
from PIL import Image
from scipy.spatial.transform import Rotation
from torch.utils.data import Dataset

from gatescope.loaders.clip import Clip
from gatescope.loaders.errors import DamagedClipError, MissingClipError
from gatescope.loaders.lists import as_skipped, read_lines
from gatescope.loaders.object_arrays import PickledArray, read_object_array
from gatescope.loaders.video import read_video_frames
from rendered_people.skeleton import PARENTS

SPLITS = {"train": ("S1", "S5", "S6", "S7", "S8"), "test": ("S9", "S11")}
CAMERAS = ("54138969", "55011271", "58860488", "60457274")  # in the order of every list of them
FPS = 50.0
MARGIN = 1.15  # of the crop around the outermost joint: hands, feet and crown reach beyond theirs
MOST_APART = 1 / 200  # between the 2D poses and ours, as a part of the focal length: lenses are known to 1 / 1000
_NUM_SUBJECTS = 11
_MOST_M, _MOST_PX = 100.0, 4096.0  # coordinates beyond are a fault of the files
_RECORDED = 32  # joints; of these, the 17 of `rendered_people.skeleton`, in its order:
_KEPT = (0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27)
_WORLD, _PIXELS, _METADATA = "data_3d_h36m.npz", "data_2d_h36m_gt.npz", "metadata.xml"
_OBTAIN = "see data/human36m/README.md for how to obtain it"
# Actions have one name in the poses' files and, for some subjects, another in the videos'.
_VIDEO_NAMES = {"Photo": "TakingPhoto", "WalkDog": "WalkingDog"}


@dataclass(frozen=True)
class Camera:
    """Where one of the four cameras stood for one subject, and how it sees."""

    rotation: Float64[np.ndarray, "3 3"]  # from world to camera axes
    position: Float64[np.ndarray, "3"]  # mm, in the world
    focal_px: Float64[np.ndarray, "2"]
    centre_px: Float64[np.ndarray, "2"]
    lens: Float64[np.ndarray, "3"]  # by how much it magnifies with the 2nd, 4th and 6th power of the distance

    def see(self, joints: Float32[np.ndarray, "*batch 3"]) -> Float32[np.ndarray, "*batch 3"]:
        """Joints in the world, mm, in this camera's axes: x right, y down, z away from it."""
        return ((joints - self.position) @ self.rotation.T).astype(np.float32)

    def show(self, joints: Float32[np.ndarray, "*batch 3"]) -> Float32[np.ndarray, "*batch 2"]:
        """Where its pictures show joints given in its axes, px, but for what its lens shifts sideways: a pixel."""
        places = joints[..., :2] / np.maximum(joints[..., 2:], 1)
        squared = (places**2).sum(axis=-1, keepdims=True)
        magnified = 1 + self.lens[0] * squared + self.lens[1] * squared**2 + self.lens[2] * squared**3
        return (places * magnified * self.focal_px + self.centre_px).astype(np.float32)


@dataclass(frozen=True)
class Recording:
    """One performance before one camera."""

    video: Path
    action: str
    camera: Camera
    world: Float32[np.ndarray, "time 17 3"]  # mm, shared by the four cameras
    pixels: Float32[np.ndarray, "time 17 2"]


class Human36M(Dataset):
    """Clips of Human3.6M: training subjects 1, 5, 6, 7 and 8, test subjects 9 and 11, each before four cameras.

    Clips of `num_frames` frames lie one behind the other without overlap; between two frames of a clip are `every`
    frames of the video, 25 as the authors of the pose machine sub-sampled theirs, 4 for 12.5 frames per second. What
    is left of a performance at its end belongs to no clip. `joints_3d` are in the axes of the camera, `joints_2d` in
    pixels of the crop.

    The crop is a square about the pelvis, of one size for all frames of a clip, so that no joint is outside it; it
    is resized to `size` pixels, and black where it reaches beyond the video. A clip's name is its action.

    `root` holds `data_3d_h36m.npz` and `data_2d_h36m_gt.npz`, as VideoPose3D's script makes them, `metadata.xml`,
    which comes with Human3.6M's own code and describes the cameras, and `S1/Videos/Directions 1.54138969.mp4` and so
    on. `strict=False` leaves out the recordings whose video is missing and lists them in `skipped`.

    Raises:
        ClipError: one of its kinds, naming the file: missing, damaged, or not fitting the others.
        ValueError: if an argument is out of range.
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
        if split not in SPLITS:
            raise ValueError(f"split must be one of {', '.join(SPLITS)}; got {split!r}")
        if min(size, num_frames, every) < 1:
            raise ValueError(f"size, num_frames and every must be 1 or more; got {size}, {num_frames} and {every}")
        self.root, self.size, self.num_frames, self.every = Path(root), size, num_frames, every
        self.skipped: list[tuple[str, str]] = []
        present = []
        for recording in _recordings(self.root, SPLITS[split]):
            if os.path.exists(recording.video):
                present.append(recording)
                continue
            error = MissingClipError(f"the video is missing; {_OBTAIN}", path=recording.video)
            if strict:
                raise error
            self.skipped.append(as_skipped(error))
        reach = (num_frames - 1) * every
        self._clips = [
            (recording, start)
            for recording in present
            for start in range(0, len(recording.world) - reach, num_frames * every)
        ]

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, index: int) -> Clip:
        recording, start = self._clips[operator.index(index)]
        numbers = range(start, start + self.num_frames * self.every, self.every)
        frames = read_video_frames(recording.video, numbers, FPS)
        pixels = recording.pixels[list(numbers)]
        side = crop_side(pixels)
        # The files do not say whether a pixel's centre or corner is its place; half a pixel of a thousand.
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
            joints_3d=recording.camera.see(recording.world[list(numbers)]),
        )


def crop_side(pixels: Float32[np.ndarray, "time 17 2"]) -> int:
    """The side, px, of the square about the pelvis that holds every joint of every frame, with a margin."""
    return max(2, math.ceil(2 * MARGIN * float(np.abs(pixels - pixels[:, :1]).max())))


def read_cameras(path: Path) -> dict[tuple[str, str], Camera]:
    """The camera of each subject and serial number, from the `metadata.xml` that Human3.6M's own code brings.

    Its element w0 holds 300 numbers: for each camera and each of 11 subjects three angles (rad, about x, y and z)
    and a place (mm), then for each camera focal lengths, centre, and three round and two sideways terms of its lens.

    Raises:
        ClipError: if the file is missing, or w0 is.
    """
    found = re.search(r"<w0>\s*\[([^\]<]*)\]\s*</w0>", "\n".join(read_lines(path, _OBTAIN)))
    try:
        numbers = np.array([float(word) for word in found[1].split()] if found else [])
    except ValueError:
        numbers = np.array([])
    stands = len(CAMERAS) * _NUM_SUBJECTS * 6
    if numbers.size != stands + len(CAMERAS) * 9 or not np.isfinite(numbers).all():
        raise DamagedClipError(f"has no element w0 of 300 numbers, which describe the cameras; {_OBTAIN}", path=path)
    outside = numbers[:stands].reshape(len(CAMERAS), _NUM_SUBJECTS, 6)
    inside = numbers[stands:].reshape(len(CAMERAS), 9)
    return {
        (f"S{subject + 1}", name): Camera(
            Rotation.from_euler("XYZ", outside[number, subject, :3]).as_matrix(),
            outside[number, subject, 3:],
            inside[number, :2],
            inside[number, 2:4],
            inside[number, 4:7],
        )
        for number, name in enumerate(CAMERAS)
        for subject in range(_NUM_SUBJECTS)
    }


def _recordings(root: Path, subjects: tuple[str, ...]) -> Iterator[Recording]:
    """Every performance of the subjects before every camera, whether its video is there or not."""
    cameras = read_cameras(root / _METADATA)
    in_world = read_object_array(root / _WORLD, "positions_3d", obtain=_OBTAIN)
    in_pixels = read_object_array(root / _PIXELS, "positions_2d", obtain=_OBTAIN)
    for subject in subjects:
        actions = _inside(in_world, (subject,), dict, root / _WORLD)
        for action in sorted(map(str, actions)):
            if not re.fullmatch(r"\w+( \d+)?", action):  # it becomes part of a path
                raise DamagedClipError(f"{action[:40]!r} is no name of an action; {_OBTAIN}", path=root / _WORLD)
            array = _inside(actions, (action,), PickledArray, root / _WORLD)
            world = _numbers(array, (_RECORDED, 3), _MOST_M, action, root / _WORLD)[:, list(_KEPT)] * np.float32(1000)
            views = _inside(in_pixels, (subject, action), list, root / _PIXELS)
            if len(views) != len(CAMERAS):
                reason = f"{subject} {action} has {len(views)} views where {len(CAMERAS)} cameras were"
                raise DamagedClipError(reason, path=root / _PIXELS)
            for name, view in zip(CAMERAS, views, strict=True):
                pixels = _numbers(view, (len(PARENTS), 2), _MOST_PX, action, root / _PIXELS)
                if len(pixels) != len(world):
                    reason = f"{subject} {action} has {len(pixels)} poses in 2D and {len(world)} in 3D"
                    raise DamagedClipError(reason, path=root / _PIXELS)
                recording = Recording(
                    _video(root, subject, action, name), action, cameras[subject, name], world, pixels
                )
                _check(recording, root / _PIXELS)
                yield recording


def _video(root: Path, subject: str, action: str, camera: str) -> Path:
    """The video under the name that it has, or, where neither name is there, would have."""
    kind, space, take = action.partition(" ")
    names = (action, _VIDEO_NAMES.get(kind, kind) + space + take)
    paths = [root / subject / "Videos" / f"{name}.{camera}.mp4" for name in names]
    return next(filter(os.path.exists, paths), paths[0])


def _inside(content: dict, keys: tuple[str, ...], kind: type, path: Path) -> Any:
    for place, key in enumerate(keys, start=1):
        content = content.get(key)
        wanted = kind if place == len(keys) else dict
        if not isinstance(content, wanted):
            raise DamagedClipError(f"holds no {' '.join(keys)} as VideoPose3D writes it; {_OBTAIN}", path=path)
    return content


def _numbers(
    array: Any, axes: tuple[int, int], most: float, action: str, path: Path
) -> Float32[np.ndarray, "time _ _"]:
    try:
        values = array.values()
    except (AttributeError, ValueError) as error:
        raise DamagedClipError(f"{action} {error}; {_OBTAIN}", path=path) from error
    if values.ndim != 3 or values.shape[1:] != axes:
        raise DamagedClipError(f"{action} must be (time, {axes[0]}, {axes[1]}); got {values.shape}", path=path)
    if not (np.abs(values) <= most).all():
        raise DamagedClipError(f"{action} holds a value that is no number of at most {most:.0f}", path=path)
    return values


def _check(recording: Recording, path: Path) -> None:
    """Raise where 3D, 2D and camera are not of one performance, told by the first frame."""
    shown = recording.camera.show(recording.camera.see(recording.world[:1]))
    apart = float(np.linalg.norm(shown - recording.pixels[:1], axis=-1).max(initial=0))
    if apart > MOST_APART * recording.camera.focal_px.max():
        raise DamagedClipError(
            f"{recording.video.name}: 2D poses lie {apart:.1f} px from where {_METADATA} sees the 3D ones; "
            "take all three files from one copy of the data set",
            path=path,
        )
