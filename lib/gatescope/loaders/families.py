"""PermutationFamilies: twelve classes in four families, two visible in one frame, two only in the order of frames."""

from operator import index as whole

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor
from torch.utils.data import Dataset

from gatescope.loaders.errors import check_one_of
from gatescope.loaders.limits import MAX_CLIP_BYTES
from gatescope.loaders.rendered.clips import SPLITS

FAMILIES = ("notched bar", "open ring", "sweep", "ramp")
VARIANTS = (
    ("notch up", "notch mid", "notch down"),
    ("gap up", "gap right", "gap down"),
    *[("forward", "backward", "interleaved")] * 2,
)
FAMILY_OF = np.repeat(np.arange(4), 3)  # of each class
TEMPORAL = np.array([False, False, True, True])  # of each family
# In sixteenths of a picture's side, as all lengths below: how far a shape extends from its centre, up and sideways.
_REACH = np.array([(5.0, 1.0), (4.5, 4.5), (2.0, 6.5), (3.5, 3.5)])
_NOTCHES = (-3.0, 0.0, 3.0)  # down from the bar's middle
_GAPS = ((-1, 0), (0, 1), (1, 0))  # down and to the right
_SWEEP = 9.0
_BLOB = 1.3  # standard deviation
_LABEL, _FRAMES = range(2)  # streams of random numbers


class PermutationFamilies(Dataset):
    """Pairs of a clip (1, T, H, W), a shape of brightness 1 on 0 in white noise, and its label, 0 to 11.

    Each of the four `FAMILIES` has three classes. A bar with a notch and a ring with a gap stand still, and every
    frame shows the class. In the other two a blob sweeps to the right, or a disc brightens from 0 to 1, and the three
    classes are the same frames, noise included, in another order:

    - forward: 0 1 2 3 4 5 6 7
    - backward: 7 6 5 4 3 2 1 0
    - interleaved: the first half and the second half by turns, 0 4 1 5 2 6 3 7

    A model that ignores the order of frames is right for one in three of those. A temporal kernel of 3 frames can
    separate them anywhere in a clip: all its windows rise, all fall, or all turn. Shapes, sizes and orders are our
    choice.

    Noise and position, which is the same in all frames, depend on (split, seed, index) alone, not on the label or on
    `num_clips`. Every 12 clips hold each label once. `noise` is the standard deviation of each pixel's noise.

    Raises ValueError if an argument is out of range; the classes need at least 3 frames and 12 px.
    """

    def __init__(
        self, split: str, num_clips: int, seed: int = 0, *, size: int = 16, num_frames: int = 8, noise: float = 0.15
    ):
        check_one_of("split", split, SPLITS)
        if num_clips < 0 or seed < 0 or size < 12 or num_frames < 3 or not 0 <= noise < np.inf:
            raise ValueError(
                "needed num_clips >= 0, seed >= 0, size >= 12 px, num_frames >= 3 and noise >= 0; "
                f"got {num_clips}, {seed}, {size}, {num_frames} and {noise}"
            )
        if num_clips * num_frames * size**2 * 4 > MAX_CLIP_BYTES:
            raise ValueError(
                f"{num_clips:,} clips of {num_frames} frames of {size} px exceed {MAX_CLIP_BYTES >> 30} GiB; "
                "take fewer or smaller"
            )
        self.split, self.seed = split, whole(seed)
        self.size, self.num_frames, self.noise = whole(size), whole(num_frames), float(noise)
        self.names = tuple(f"{FAMILIES[f]}: {name}" for f, variants in enumerate(VARIANTS) for name in variants)
        self.labels = self._labels(whole(num_clips))
        self.x: Float32[Tensor, "clips 1 time height width"] = torch.empty(
            len(self.labels), 1, self.num_frames, self.size, self.size
        )
        for index, label in enumerate(self.labels.tolist()):
            self.x[index, 0] = torch.from_numpy(self.clip(index, label))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Float32[Tensor, "1 time height width"], int]:
        return self.x[index], int(self.labels[index])

    def clip(self, index: int, label: int) -> Float32[np.ndarray, "time height width"]:
        """Return the frames of clip `index` as they are, or would be, with this label."""
        family, variant = divmod(label, 3)
        rng = np.random.default_rng([self.seed, SPLITS.index(self.split), _FRAMES, index])
        margin = np.ceil(_REACH[family] * self.size / 16)
        place = margin + np.floor(rng.random(2) * (self.size - 2 * margin))  # px
        noise = rng.standard_normal((self.num_frames, self.size, self.size), dtype=np.float32)
        down, right = (np.arange(self.size) - place[:, None]) * 16 / self.size
        phase = np.linspace(0, 1, self.num_frames)[:, None, None]
        frames = (_picture(family, variant, down[:, None], right, phase) + self.noise * noise).astype(np.float32)
        return frames[_order(variant, self.num_frames)] if TEMPORAL[family] else frames

    def _labels(self, num_clips: int) -> Int64[np.ndarray, " clips"]:
        blocks = [
            np.random.default_rng([self.seed, SPLITS.index(self.split), _LABEL, block]).permutation(len(self.names))
            for block in range(-(-num_clips // len(self.names)))
        ]
        return np.concatenate([np.zeros(0, np.int64), *blocks])[:num_clips]


def _picture(
    family: int,
    variant: int,
    down: Float[np.ndarray, "height 1"],
    right: Float[np.ndarray, " width"],
    phase: Float[np.ndarray, "time 1 1"],
) -> np.ndarray:
    """Return the shape without noise from each pixel's distance to it; temporal families in forward order."""
    radius = np.hypot(down, right)
    match family:
        case 0:
            bar = (abs(down) <= 5) & (abs(right) <= 1)
            return bar & ~((abs(down - _NOTCHES[variant]) <= 1) & (right >= 0))
        case 1:
            to_gap = down * _GAPS[variant][0] + right * _GAPS[variant][1]
            return (radius >= 3) & (radius <= 4.5) & (to_gap < 0.75 * radius)
        case 2:
            return np.exp(-(down**2 + (right - _SWEEP * (phase - 0.5)) ** 2) / (2 * _BLOB**2))
        case _:
            return phase * (radius <= 3.5)


def _order(variant: int, num_frames: int) -> Int64[np.ndarray, " time"]:
    """Return the number of the frame shown at each time."""
    forward = np.arange(num_frames)
    if variant == 2:
        return np.argsort(forward % ((num_frames + 1) // 2), kind="stable")
    return forward[::-1] if variant else forward
