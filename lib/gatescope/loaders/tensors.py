"""Clips as training examples: a torch Dataset whose items do not depend on the number of workers."""

from mmap import mmap
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor
from torch.utils.data import Dataset

from gatescope.loaders.clip import Clip, to_batch
from gatescope.loaders.lists import ClipList
from gatescope.loaders.sampling import sample_frames


@runtime_checkable
class Clips(Protocol):
    """Anything with a length that gives a Clip for an index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Clip: ...


def shared_number(value: int) -> Tensor:
    """Return a number that workers which outlive an epoch see change.

    Forked ones see this memory itself, and torch shares it with others when it is sent to them. A file in /dev/shm,
    which share_memory_ makes, may not be there, or be on a full disk, where nobody asked for a worker.
    """
    return torch.frombuffer(mmap(-1, 8), dtype=torch.int64).reshape(()).fill_(value)


class ClipTensors(Dataset):
    """Pairs of a clip's tensor (3, T, H, W), made by `to_batch` with the settings `input`, and its label.

    In training, frame jitter and crop depend on (seed, epoch, index) alone: the same with no worker or many, in any
    order. Clips are opened where they are read, so no decoder is passed to a worker; of recorded ones only the frames
    that are taken are kept, and of folders only those are opened. Nothing is flipped.
    """

    def __init__(self, clips: Clips, *, train: bool = False, seed: int = 0, **input: Any):
        self.clips, self.input = clips, input
        self.train, self.seed = train, seed
        self._epoch = shared_number(0)

    def set_epoch(self, epoch: int) -> None:
        """Let the next pass over the clips draw its own jitter and crops."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} is outside the {len(self)} clips")
        index %= len(self)
        rng = None
        if self.train:
            entropy = np.random.SeedSequence([self.seed, int(self._epoch), index])
            rng = np.random.RandomState(entropy.generate_state(4))
            begun = rng.get_state()

        def choose(num_frames: int, times_s: Float64[np.ndarray, " time"] | None) -> list[int]:
            if rng is not None:
                rng.set_state(begun)  # a video's frames are counted twice
            return sample_frames(num_frames, self.input["num_frames"], self.train, rng, times_s)

        # Where the frames are chosen already, to_batch takes all of them, and draws nothing but the crop.
        clip = self.clips.sampled(index, choose) if isinstance(self.clips, ClipList) else self.clips[index]
        if clip.label is None:
            raise ValueError(f"{clip.source} has no label; ClipTensors needs one, to_batch does not")
        return to_batch(clip, rng=rng, **self.input)[0], clip.label
