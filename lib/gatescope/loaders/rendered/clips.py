"""RenderedClips: the base of the sets of rendered clips."""

from abc import ABC, abstractmethod
from operator import index as whole

import numpy as np
from torch.utils.data import Dataset

from gatescope.loaders.clip import Clip
from gatescope.loaders.errors import check_one_of

SPLITS = ("train", "valid", "test")
MAX_SIZE = 2048  # px


class RenderedClips(Dataset, ABC):
    """Clips rendered on request; clip i depends on the set's parameters and i, not on `num_clips`."""

    KIND: str  # begins the name of the folder that keeps them

    def __init__(self, split: str, num_clips: int, size: int, seed: int, num_frames: int):
        check_one_of("split", split, SPLITS)
        if num_clips < 0 or not 8 <= size <= MAX_SIZE or num_frames < 1 or seed < 0:
            raise ValueError(
                f"needed num_clips >= 0, size 8 to {MAX_SIZE} px, num_frames >= 1 and seed >= 0; "
                f"got {num_clips}, {size}, {num_frames} and {seed}"
            )
        self.split, self.num_clips, self.size = split, whole(num_clips), whole(size)
        self.seed, self.num_frames = whole(seed), whole(num_frames)

    def __len__(self) -> int:
        return self.num_clips

    def __getitem__(self, index: int) -> Clip:
        if not -self.num_clips <= index < self.num_clips:
            raise IndexError(f"clip {index} of {self.num_clips} {self.split} clips")
        return self.clip(whole(index) % self.num_clips)

    @abstractmethod
    def clip(self, index: int) -> Clip:
        """Render clip `index` of the endless sequence of which the data set is the beginning."""

    @abstractmethod
    def determined_by(self) -> dict:
        """Return all parameters that determine the clips, for JSON."""

    def _stream(self, purpose: int, number: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, SPLITS.index(self.split), purpose, number])
