"""RenderedClips and PerformedClips: the bases of the sets of rendered clips."""

from abc import ABC, abstractmethod
from functools import lru_cache
from operator import index as whole
from typing import TYPE_CHECKING

import numpy as np
from torch.utils.data import Dataset

from gatescope.loaders.clip import Clip
from gatescope.loaders.errors import check_one_of
from gatescope.loaders.limits import check_input, is_whole

if TYPE_CHECKING:
    from rendered_people.person import Person

SPLITS = ("train", "valid", "test")
MAX_SIZE = 2048  # px
NUM_PEOPLE = {"train": 240, "valid": 60, "test": 60}
# One stream of random numbers for each ingredient of a clip, so that one can change without the others.
PERSON, LABEL, CAST, MOTION, SCENE, PAINT = range(6)


class RenderedClips(Dataset, ABC):
    """Clips rendered on request; clip i depends on the set's parameters and i, not on `num_clips`."""

    KIND: str  # begins the name of the folder that keeps them

    def __init__(self, split: str, num_clips: int, size: int, seed: int, num_frames: int):
        check_one_of("split", split, SPLITS)
        numbers = num_clips, size, num_frames, seed
        if not (
            all(map(is_whole, numbers)) and num_clips >= 0 and 8 <= size <= MAX_SIZE and num_frames >= 1 and seed >= 0
        ):
            raise ValueError(
                f"needed num_clips >= 0, size 8 to {MAX_SIZE} px, num_frames >= 1 and seed >= 0, whole numbers all; "
                f"got {', '.join(map(repr, numbers))}"
            )
        check_input(num_frames, size)
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


class PerformedClips(RenderedClips):
    """Clips of gestures; the people of a seed are the same in every set, and nobody appears in two splits."""

    names: tuple[str, ...]  # of the classes; every `len(names)` clips hold each label once

    def label(self, index: int) -> int:
        """Return the label of clip `index`, its class's 0-based place in `names`, without rendering the clip."""
        block, place = divmod(index, len(self.names))
        return int(self._stream(LABEL, block).permutation(len(self.names))[place])

    def performer(self, index: int) -> int:
        """Return the number of the person who performs clip `index`, from 0 in each split."""
        return int(self._stream(CAST, index).integers(NUM_PEOPLE[self.split]))

    def person(self, index: int) -> "Person":
        """Return the person who performs clip `index`."""
        return _person(self.seed, SPLITS.index(self.split), self.performer(index))


@lru_cache(maxsize=512)
def _person(seed: int, split: int, number: int) -> "Person":
    from rendered_people.person import random_person  # Numba and SciPy take 0.5 s to import

    return random_person(np.random.default_rng([seed, split, PERSON, number]))
