"""SyntheticGestures: the 27 gestures of Jester, performed by rendered people, with the truth in every pixel."""

from collections.abc import Collection
from functools import lru_cache
from operator import index as whole

import numpy as np
from torch.utils.data import Dataset

from gatescope.loaders.clip import Clip
from rendered_people.labels import JESTER_LABELS, MODALITIES

SPLITS = ("train", "valid", "test")
NUM_PEOPLE = {"train": 240, "valid": 60, "test": 60}
MAX_SIZE = 2048  # px
# One stream of random numbers for each thing a clip is made of, so that one can change without the others.
_PERSON, _LABEL, _CAST, _MOTION, _SCENE, _PAINT = range(6)


class SyntheticGestures(Dataset):
    """Rendered clips of the 27 gestures, none of them from a recording.

    Clip i is a function of (seed, split, i, size, num_frames, difficulty, classes) alone; nobody appears in two splits.
    A clip lasts 2.2 to 3.4 s, whatever its number of frames; below 12 frames rolling and shaking move too far from one
    to the next for their direction to be told. Masks, depth, flow and joints are exact, of the moment each frame's
    exposure is centred on. `modalities` names which of `hand_mask`, `depth` and `flow` are rendered: fewer take less
    time.

    `classes`, by their place in `JESTER_LABELS`, leaves the others out. A clip's label is its class's place among those
    chosen, in Jester's order, from 0 without a gap as a network needs it; `names[label]` is its name. Every
    `len(classes)` clips, 27 where nothing is chosen, hold each label once.
    """

    KIND = "gestures"

    def __init__(
        self,
        split: str = "train",
        num_clips: int = 2700,
        size: int = 56,
        seed: int = 0,
        *,
        num_frames: int = 16,
        difficulty: float = 0.5,
        modalities: Collection[str] = MODALITIES,
        classes: Collection[int] | None = None,
    ):
        if split not in SPLITS:
            raise ValueError(f"split must be one of {', '.join(SPLITS)}; got {split!r}")
        if num_clips < 0 or not 8 <= size <= MAX_SIZE or num_frames < 1 or seed < 0:
            raise ValueError(
                f"needed num_clips >= 0, size 8 to {MAX_SIZE} px, num_frames >= 1 and seed >= 0; "
                f"got {num_clips}, {size}, {num_frames} and {seed}"
            )
        if not 0 <= difficulty <= 1:
            raise ValueError(f"difficulty must lie between 0 (clean) and 1 (cluttered); got {difficulty}")
        if isinstance(modalities, str):
            raise ValueError(f"modalities must be a collection of names; got {modalities!r}, perhaps for one name")
        if unknown := set(modalities) - set(MODALITIES):
            raise ValueError(f"modalities must be among {', '.join(MODALITIES)}; got {', '.join(sorted(unknown))}")
        self.split = split
        self.num_clips, self.size = whole(num_clips), whole(size)
        self.seed, self.num_frames = whole(seed), whole(num_frames)
        self.difficulty = float(difficulty)
        self.modalities = tuple(name for name in MODALITIES if name in modalities)
        self.classes = tuple(range(len(JESTER_LABELS))) if classes is None else tuple(sorted(map(whole, classes)))
        if not self.classes or not set(self.classes) <= set(range(len(JESTER_LABELS))):
            raise ValueError(f"classes must be some of the labels 0 to {len(JESTER_LABELS) - 1}; got {self.classes}")
        if len(set(self.classes)) < len(self.classes):
            raise ValueError(f"classes must name each label once; got {self.classes}")
        self.names = tuple(JESTER_LABELS[label] for label in self.classes)

    def __len__(self) -> int:
        return self.num_clips

    def __getitem__(self, index: int) -> Clip:
        if not -self.num_clips <= index < self.num_clips:
            raise IndexError(f"clip {index} of {self.num_clips} {self.split} clips")
        return self.clip(whole(index) % self.num_clips)

    def determined_by(self) -> dict:
        """All but code that determines the clips, as JSON holds it."""
        names = ("split", "seed", "size", "num_frames", "difficulty", "modalities", "classes")
        return {"labels": JESTER_LABELS} | {name: getattr(self, name) for name in names}

    def label(self, index: int) -> int:
        """The label of clip `index`, its class's 0-based place in `names`, known without rendering it."""
        block, place = divmod(index, len(self.names))
        return int(self._stream(_LABEL, block).permutation(len(self.names))[place])

    def clip(self, index: int) -> Clip:
        """Render clip `index` of the endless sequence of which the data set is the beginning."""
        from rendered_people.render import render_gesture  # Numba and SciPy take 0.5 s to import

        label = self.label(index)
        performer = int(self._stream(_CAST, index).integers(NUM_PEOPLE[self.split]))
        images, fps = render_gesture(
            _person(self.seed, SPLITS.index(self.split), performer),
            self.classes[label],
            [self._stream(purpose, index) for purpose in (_MOTION, _SCENE, _PAINT)],
            size=self.size,
            num_frames=self.num_frames,
            difficulty=self.difficulty,
            modalities=self.modalities,
        )
        return Clip(
            fps=fps,
            source=(
                f"synthetic gestures: {self.split} clip {index}, seed {self.seed}, {self.size} px, "
                f"{self.num_frames} frames, difficulty {self.difficulty:g}{self._choice()}"
            ),
            label=label,
            name=self.names[label],
            **vars(images),
        )

    def _choice(self) -> str:
        return "" if len(self.classes) == len(JESTER_LABELS) else f", classes {' '.join(map(str, self.classes))}"

    def _stream(self, purpose: int, number: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, SPLITS.index(self.split), purpose, number])


@lru_cache(maxsize=512)
def _person(seed: int, split: int, number: int):
    from rendered_people.person import random_person

    return random_person(np.random.default_rng([seed, split, _PERSON, number]))
