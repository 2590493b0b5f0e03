"""Human36M: clips of Human3.6M's videos, cropped to the subject, with the 17 joints in camera axes."""

import math
import operator
import os
import re
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64
from PIL import Image
from torch.utils.data import Dataset

from gatescope.loaders.clip import Clip
from gatescope.loaders.errors import ClipError, DamagedClipError, MissingClipError, OversizedClipError, access_errors
from gatescope.loaders.lists import as_skipped, read_lines
from gatescope.loaders.video import read_video_frames
from rendered_people.skeleton import PARENTS

SPLITS = {"train": ("S1", "S5", "S6", "S7", "S8"), "test": ("S9", "S11")}
CAMERAS = ("54138969", "55011271", "58860488", "60457274")  # serial numbers, in the order of all files
FPS = 50.0
MARGIN = 1.15  # of the crop around the outermost joint: hands, feet and crown reach beyond their joints
MOST_APART = 1 / 200  # between the 2D poses and ours, in focal lengths: lenses are known to 1 / 1000
_NUM_SUBJECTS = 11
_MOST_MM, _MOST_PX = 100_000.0, 4096.0  # larger coordinates are a fault of the files
_MOST_BYTES = 1 << 31  # of poses; those of all subjects take 400 MB
_POSES, _METADATA = "poses.npz", "metadata.xml"
# All that zipfile and NumPy raise over a damaged npz file.
_UNREADABLE = (OSError, ValueError, EOFError, LookupError, RuntimeError, OverflowError, MemoryError, SyntaxError)
_UNREADABLE += (TypeError, zipfile.BadZipFile, zlib.error, tokenize.TokenError)
_OBTAIN = "see data/human36m/README.md for how to obtain it"
# Actions have one name in the poses' files and, for some subjects, another in the videos'.
_VIDEO_NAMES = {"Photo": "TakingPhoto", "WalkDog": "WalkingDog"}


@dataclass(frozen=True)
class Camera:
    """Position and optics of one of the four cameras, for one subject."""

    rotation: Float64[np.ndarray, "3 3"]  # from world to camera axes
    position: Float64[np.ndarray, "3"]  # mm, in the world
    focal_px: Float64[np.ndarray, "2"]
    centre_px: Float64[np.ndarray, "2"]
    lens: Float64[np.ndarray, "3"]  # radial distortion: factors of the 2nd, 4th and 6th power of the distance

    def to_camera(self, joints: Float32[np.ndarray, "*batch 3"]) -> Float32[np.ndarray, "*batch 3"]:
        """Return joints in the world, mm, in this camera's axes: x right, y down, z away from it."""
        return ((joints - self.position) @ self.rotation.T).astype(np.float32)

    def project(self, joints: Float32[np.ndarray, "*batch 3"]) -> Float32[np.ndarray, "*batch 2"]:
        """Return the pixels of joints in camera axes, without the lens's tangential distortion (about 1 px)."""
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

    Clips of `num_frames` frames follow each other without overlap and take every `every`-th frame of the video: 25 as
    the authors of the pose machine, 4 for 12.5 frames per second. The rest at a performance's end is not used.
    `joints_3d` are in camera axes, `joints_2d` in pixels of the crop.

    The crop is a square about the pelvis that holds every joint, of one size for all frames of a clip, resized to
    `size` pixels and black outside the video. A clip's name is its action.

    `root` holds `poses.npz`, which `data/human36m/convert.py` makes from VideoPose3D's files, `metadata.xml`, which
    comes with Human3.6M's own code and describes the cameras, and `S1/Videos/Directions 1.54138969.mp4` and so on.
    `strict=False` leaves out the recordings whose video is missing and lists them in `skipped`.

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
            joints_3d=recording.camera.to_camera(recording.world[list(numbers)]),
        )


def crop_side(pixels: Float32[np.ndarray, "time 17 2"]) -> int:
    """Return the side, px, of the square about the pelvis that holds every joint of every frame, with a margin."""
    return max(2, math.ceil(2 * MARGIN * float(np.abs(pixels - pixels[:, :1]).max())))


def read_cameras(path: Path) -> dict[tuple[str, str], Camera]:
    """Read the camera of each subject and serial number from the `metadata.xml` of Human3.6M's own code.

    Its element w0 holds 300 numbers: for each camera and each of 11 subjects three angles (rad, about x, y and z)
    and a position (mm), then for each camera focal lengths, centre, three radial and two tangential distortions.

    Raises:
        ClipError: if the file is missing, or w0 is.
    """
    from scipy.spatial.transform import Rotation  # takes 0.2 s to import

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
    """Yield every performance of the subjects before every camera, whether its video is there or not."""
    cameras, path = read_cameras(root / _METADATA), root / _POSES
    poses = _read_poses(path, subjects)
    for subject in subjects:
        actions = sorted({name.split("/")[1] for name in poses if name.startswith(f"{subject}/")})
        if not actions:
            raise DamagedClipError(f"holds no poses of {subject}; {_OBTAIN}", path=path)
        for action in actions:
            if not re.fullmatch(r"\w+( \d+)?", action):  # it becomes part of a path
                raise DamagedClipError(f"{action[:40]!r} is no name of an action; {_OBTAIN}", path=path)
            world, pixels = (poses.get(f"{subject}/{action}/{kind}", np.empty(0)) for kind in ("world", "pixels"))
            wanted = [(len(world), len(PARENTS), 3), (len(CAMERAS), len(world), len(PARENTS), 2)]
            if [world.shape, pixels.shape] != wanted or {world.dtype, pixels.dtype} != {np.dtype(np.float32)}:
                found = f"{world.shape} {world.dtype} and {pixels.shape} {pixels.dtype}"
                reason = (
                    f"{subject} {action}: world and pixels must be {wanted[0]} and {wanted[1]} float32; got {found}"
                )
                raise DamagedClipError(f"{reason}; convert it again, {_OBTAIN}", path=path)
            if not ((np.abs(world) <= _MOST_MM).all() and (np.abs(pixels) <= _MOST_PX).all()):
                reason = (
                    f"{subject} {action} holds a value that is no number of at most {_MOST_MM:g} mm, {_MOST_PX:g} px"
                )
                raise DamagedClipError(reason, path=path)
            for name, view in zip(CAMERAS, pixels, strict=True):
                video = _video(root, subject, action, name)
                recording = Recording(video, action, cameras[subject, name], world, view)
                _check_views(recording, path)
                yield recording


def _read_poses(path: Path, subjects: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Read the arrays of these subjects by their names, as `data/human36m/convert.py` writes them; no pickle."""
    try:
        # NumPy leaves a file that it opened itself open where it is no zip file.
        with access_errors(path, missing=f"is missing; {_OBTAIN}"), path.open("rb") as stream, np.load(stream) as file:
            if sum(member.file_size for member in file.zip.infolist()) > _MOST_BYTES:
                raise OversizedClipError(f"holds more than {_MOST_BYTES >> 20} MiB; {_OBTAIN}", path=path)
            return {name: np.atleast_1d(file[name]) for name in file.files if name.split("/")[0] in subjects}
    except ClipError:
        raise
    except _UNREADABLE as error:
        raise DamagedClipError(f"cannot be read ({error}); convert it again, {_OBTAIN}", path=path) from error


def _video(root: Path, subject: str, action: str, camera: str) -> Path:
    """Return the video under the name that it has or, where neither name is there, would have."""
    kind, space, take = action.partition(" ")
    names = (action, _VIDEO_NAMES.get(kind, kind) + space + take)
    paths = [root / subject / "Videos" / f"{name}.{camera}.mp4" for name in names]
    return next(filter(os.path.exists, paths), paths[0])


def _check_views(recording: Recording, path: Path) -> None:
    """Raise where 3D, 2D and camera are not of one performance, judged by the first frame."""
    shown = recording.camera.project(recording.camera.to_camera(recording.world[:1]))
    apart = float(np.linalg.norm(shown - recording.pixels[:1], axis=-1).max(initial=0))
    if apart > MOST_APART * recording.camera.focal_px.max():
        raise DamagedClipError(
            f"{recording.video.name}: 2D poses lie {apart:.1f} px from where {_METADATA} projects the 3D ones; "
            "take all three files from one copy of the data set",
            path=path,
        )
