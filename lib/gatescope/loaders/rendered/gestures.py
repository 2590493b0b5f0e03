"""SyntheticGestures: the 27 gestures of Jester, performed by rendered people, with exact truth for every pixel."""

from collections.abc import Collection
from operator import index as whole
from typing import TYPE_CHECKING

import numpy as np

from gatescope.loaders.clip import Clip
from gatescope.loaders.rendered.clips import MOTION, PAINT, SCENE, PerformedClips
from rendered_people.labels import JESTER_LABELS, MODALITIES

if TYPE_CHECKING:
    from rendered_people.drawing import Images
    from rendered_people.person import Person


class SyntheticGestures(PerformedClips):
    """Rendered clips of the 27 gestures, none of them from a recording.

    Clip i is a function of (seed, split, i, size, num_frames, difficulty, classes) alone; nobody appears in two splits.
    A clip lasts 2.2 to 3.4 s, whatever its number of frames; below 12 frames rolling and shaking move too far between
    frames for their direction to be visible. Masks, depth, flow and joints are exact for the centre of each frame's
    exposure. `modalities` names which of `hand_mask`, `depth` and `flow` are rendered: fewer take less time.

    `classes`, by their place in `JESTER_LABELS`, leaves the others out. A clip's label is its class's place among those
    chosen, in Jester's order, from 0 without a gap; `names[label]` is its name. Every `len(classes)` clips, by default
    27, hold each label once.
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
        super().__init__(split, num_clips, size, seed, num_frames)
        if not 0 <= difficulty <= 1:
            raise ValueError(f"difficulty must lie between 0 (clean) and 1 (cluttered); got {difficulty}")
        if isinstance(modalities, str):
            raise ValueError(f"modalities must be a collection of names; got {modalities!r}, perhaps for one name")
        if unknown := set(modalities) - set(MODALITIES):
            raise ValueError(f"modalities must be among {', '.join(MODALITIES)}; got {', '.join(sorted(unknown))}")
        self.difficulty = float(difficulty)
        self.modalities = tuple(name for name in MODALITIES if name in modalities)
        self.classes = tuple(range(len(JESTER_LABELS))) if classes is None else tuple(sorted(map(whole, classes)))
        if not self.classes or not set(self.classes) <= set(range(len(JESTER_LABELS))):
            raise ValueError(f"classes must be some of the labels 0 to {len(JESTER_LABELS) - 1}; got {self.classes}")
        if len(set(self.classes)) < len(self.classes):
            raise ValueError(f"classes must name each label once; got {self.classes}")
        self.names = tuple(JESTER_LABELS[label] for label in self.classes)

    def determined_by(self) -> dict:
        """Return all parameters that determine the clips, for JSON."""
        names = ("split", "seed", "size", "num_frames", "difficulty", "modalities", "classes")
        return {"labels": JESTER_LABELS} | {name: getattr(self, name) for name in names}

    def clip(self, index: int) -> Clip:
        """Render clip `index`."""
        from rendered_people.render import render_gesture  # Numba and SciPy take 0.5 s to import

        images, fps = render_gesture(
            *self.ingredients(index),
            size=self.size,
            num_frames=self.num_frames,
            difficulty=self.difficulty,
            modalities=self.modalities,
        )
        return self.as_clip(index, images, fps)

    def ingredients(self, index: int) -> tuple["Person", int, list[np.random.Generator]]:
        """Return what `render_gesture` makes clip `index` of: performer, gesture, random numbers."""
        return (
            self.person(index),
            self.classes[self.label(index)],
            [self._stream(purpose, index) for purpose in (MOTION, SCENE, PAINT)],
        )

    def as_clip(self, index: int, images: "Images", fps: float) -> Clip:
        """Return the images of clip `index` with its label and where they come from."""
        label = self.label(index)
        source = (
            f"synthetic gestures: {self.split} clip {index}, seed {self.seed}, {self.size} px, "
            f"{self.num_frames} frames, difficulty {self.difficulty:g}"
        )
        if len(self.classes) < len(JESTER_LABELS):
            source += f", classes {' '.join(map(str, self.classes))}"
        return Clip(fps=fps, source=source, label=label, name=self.names[label], **vars(images))
