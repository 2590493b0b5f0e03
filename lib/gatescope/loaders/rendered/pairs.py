"""GesturePairs: two gestures one after another, the same frames in either order."""

from collections.abc import Collection
from dataclasses import fields
from itertools import permutations
from operator import index as whole

import numpy as np

from gatescope.loaders.clip import Clip
from gatescope.loaders.rendered.clips import MOTION, PAINT, SCENE, PerformedClips
from rendered_people.labels import JESTER_LABELS

FOUR: tuple[int, ...] = (0, 2, 4, 12)  # swiping left and down, pushing away, rolling: told apart in many frames
EXACT = ("hand_mask", "depth")
_ALL = range(len(JESTER_LABELS))


class GesturePairs(PerformedClips):
    """Rendered clips in which one person makes two different gestures of `gestures`, one after the other.

    A class is an ordered pair: of four gestures there are twelve. The clip of (A, B) and that of (B, A) with the same
    index are the same frames, noise and light included, with the halves exchanged: only the order at a distance of
    half a clip tells the two apart, and the mean of a clip's frames does not. The hand rests, out of the picture,
    before, between and after. A model without memory, whose features are of single frames, is right for one in two of
    the clips whose gestures it knows.

    Clip i is a function of (seed, split, i, size, num_frames, difficulty, gestures) alone. The people are those of
    `SyntheticGestures` with the same seed; nobody appears in two splits. Every `len(names)` clips hold each label once.
    Masks, depth and joints are exact; there is no flow, since frames on either side of the middle are of two moments.

    Raises ValueError if an argument is out of range.
    """

    KIND = "pairs"

    def __init__(
        self,
        split: str = "train",
        num_clips: int = 2400,
        size: int = 48,
        seed: int = 0,
        *,
        num_frames: int = 32,
        difficulty: float = 0.0,
        modalities: Collection[str] = EXACT,
        gestures: Collection[int] = FOUR,
    ):
        super().__init__(split, num_clips, size, seed, num_frames)
        if num_frames % 2 or not 0 <= difficulty <= 1:
            raise ValueError(
                f"needed an even num_frames, half for each gesture, and a difficulty of 0 to 1; "
                f"got {num_frames} and {difficulty}"
            )
        if isinstance(modalities, str) or (unknown := set(modalities) - set(EXACT)):
            wrong = modalities if isinstance(modalities, str) else ", ".join(sorted(unknown))
            raise ValueError(f"modalities must be a collection of {' and '.join(EXACT)}; got {wrong}")
        self.gestures = tuple(map(whole, gestures))
        if len(set(self.gestures)) < max(2, len(self.gestures)) or not set(self.gestures) <= set(_ALL):
            raise ValueError(f"gestures must be two or more different labels of 0 to {_ALL[-1]}; got {self.gestures}")
        self.difficulty = float(difficulty)
        self.modalities = tuple(name for name in EXACT if name in modalities)
        self.pairs = tuple(permutations(self.gestures, 2))
        self.names = tuple(f"{JESTER_LABELS[first]}, {JESTER_LABELS[second]}" for first, second in self.pairs)

    def determined_by(self) -> dict:
        """Return all parameters that determine the clips, for JSON."""
        names = ("split", "seed", "size", "num_frames", "difficulty", "modalities", "gestures")
        return {"labels": JESTER_LABELS} | {name: getattr(self, name) for name in names}

    def exchanged(self, label: int) -> int:
        """Return the label of the same two gestures in the other order."""
        return self.pairs.index(self.pairs[label][::-1])

    def clip(self, index: int, label: int | None = None) -> Clip:
        """Render clip `index` as it is, or as it would be with another label."""
        from rendered_people.sequence import render_sequence  # Numba and SciPy take 0.5 s to import

        label = self.label(index) if label is None else label
        pair = self.pairs[label]
        images, fps = render_sequence(
            self.person(index),
            sorted(pair),
            self._stream(MOTION, index).spawn(2),
            [self._stream(purpose, index) for purpose in (SCENE, PAINT)],
            size=self.size,
            num_frames=self.num_frames,
            difficulty=self.difficulty,
            modalities=self.modalities,
        )
        # Rendered in one order for both labels, so that each frame's noise goes with it.
        shift = 0 if pair[0] < pair[1] else self.num_frames // 2
        values = {field.name: getattr(images, field.name) for field in fields(images)}
        source = (
            f"synthetic gesture pairs: {self.split} clip {index}, seed {self.seed}, {self.size} px, "
            f"{self.num_frames} frames, difficulty {self.difficulty:g}, gestures {' '.join(map(str, self.gestures))}"
        )
        return Clip(
            fps=fps,
            source=source,
            label=label,
            name=self.names[label],
            **{name: None if value is None else np.roll(value, shift, axis=0) for name, value in values.items()},
        )
