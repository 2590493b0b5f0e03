"""PoseTensors: clips of a whole body as training examples, frames and poses relative to the pelvis."""

import numpy as np
import torch
from jaxtyping import Bool, Float32
from torch import Tensor
from torch.utils.data import Dataset

from gatescope.loaders.tensors import Clips, shared_number

BOARD = 0.8  # side of the board, in sides of the image: little more than head or feet stays visible
REACH = 0.1  # distance of its centre from the image's, and so from the pelvis, at most, in sides of the image
BOARD_GREY = 128
SPAN = 3  # mean number of frames that it stays
_EVERY_EPOCH = 2**32 - 1  # in place of an epoch's number if nothing is drawn anew


class PoseTensors(Dataset):
    """Pairs of a clip's frames (T, 3, H, W), in [-0.5, 0.5], and its poses (T, 17, 3), mm from the pelvis.

    A grey board hides nearly all of the body in the fraction `hidden` of the frames, for `SPAN` frames on average. Its
    position depends on (seed, epoch, index) alone in training, else on (seed, index). `length` is the number of frames
    taken from each clip: from a random start in training, else the first. Poses are in camera axes (x right, y down, z
    away).
    """

    def __init__(
        self, clips: Clips, *, hidden: float = 0.5, length: int | None = None, train: bool = False, seed: int = 0
    ):
        if not 0 <= hidden < 1:
            raise ValueError(f"hidden must be the fraction of frames with a board, from 0 to below 1; got {hidden}")
        self.clips, self.hidden, self.length = clips, hidden, length
        self.train, self.seed = train, seed
        self._epoch = shared_number(_EVERY_EPOCH)

    def set_epoch(self, epoch: int) -> None:
        """Let the next pass over the clips draw its own boards and starts, in training."""
        if self.train:
            self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} is outside the {len(self)} clips")
        frames, poses, _ = self._draw(index % len(self))
        x = frames.astype(np.float32).transpose(0, 3, 1, 2) / 255 - np.float32(0.5)
        return torch.from_numpy(np.ascontiguousarray(x)), torch.from_numpy(poses)

    def frames_hidden(self, index: int) -> Bool[np.ndarray, " time"]:
        """Return True for the frames of clip `index` that show the board."""
        return self._draw(index)[2]

    def poses(self) -> Float32[np.ndarray, "frames 17 3"]:
        """Return the poses of every frame of every clip, mm from the pelvis, to compute a network's scale."""
        return np.concatenate([_poses(self.clips[index]) for index in range(len(self))])

    def _draw(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the frames taken, with the board drawn in, their poses, and which of them show the board."""
        clip = self.clips[index]
        rng = np.random.default_rng([self.seed, int(self._epoch), index])
        num_frames = len(clip.frames)
        length = num_frames if self.length is None else self.length
        if not 1 <= length <= num_frames:
            raise ValueError(f"length must be 1 to the {num_frames} frames of {clip.source}; got {length}")
        start = int(rng.integers(num_frames - length + 1)) if self.train else 0
        taken = slice(start, start + length)
        frames, poses = clip.frames[taken].copy(), _poses(clip)[taken]
        hidden = np.zeros(length, bool)
        side = round(BOARD * frames.shape[1])
        top = left = 0
        for t in range(length):
            if t > 0 and rng.random() < 1 - 1 / SPAN:
                hidden[t] = hidden[t - 1]
            else:
                hidden[t] = rng.random() < self.hidden
                centre = np.array(frames.shape[1:3]) * (0.5 + rng.uniform(-REACH, REACH, 2))
                top, left = (centre - side / 2).round().astype(int)
            if hidden[t]:
                frames[t, top : top + side, left : left + side] = BOARD_GREY
        return frames, poses, hidden


def _poses(clip) -> Float32[np.ndarray, "time 17 3"]:
    if clip.joints_3d is None or clip.joints_3d.shape[1] != 17:
        found = "none" if clip.joints_3d is None else f"{clip.joints_3d.shape[1]}"
        raise ValueError(f"{clip.source} must have the 17 joints of rendered_people.skeleton in joints_3d; got {found}")
    return clip.joints_3d - clip.joints_3d[:, :1]
