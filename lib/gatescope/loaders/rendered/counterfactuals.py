"""counterfactuals: a rendered clip with one thing changed, and what each of its pixels shows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, UInt8

from gatescope.loaders.clip import Clip
from gatescope.loaders.rendered.gestures import SyntheticGestures
from rendered_people.changes import REGIONS, Change

MOVES = 0.5  # px per frame; what is faster is said to move


@dataclass(frozen=True, eq=False)
class Counterfactual:
    """A clip with one change, and what each of its pixels shows."""

    clip: Clip  # with mask, depth, flow and joints of what is shown
    regions: UInt8[np.ndarray, "time size size"]  # places in `rendered_people.changes.REGIONS`

    def region(self, *names: str) -> Bool[np.ndarray, "time size size"]:
        """Return the pixels that show any of these regions. Raises LookupError for an unknown name."""
        if unknown := set(names) - set(REGIONS):
            raise LookupError(f"no region {', '.join(sorted(unknown))}; there are {', '.join(REGIONS)}")
        return np.isin(self.regions, [REGIONS.index(name) for name in names])

    @property
    def moving(self) -> Bool[np.ndarray, "time size size"]:
        """Pixels of what moves by more than `MOVES` until the next frame; the last frame repeats the one before."""
        moving = np.hypot(self.clip.flow[..., 0], self.clip.flow[..., 1]) > MOVES
        return np.concatenate([moving, moving[-1:]])


def counterfactuals(clips: SyntheticGestures, index: int, changes: Sequence[Change]) -> list[Counterfactual]:
    """Render clip `index` of `clips` once with each change, every random number kept: see `render_counterfactuals`.

    All modalities are rendered. The label remains that of the unchanged clip.
    """
    from rendered_people.counterfactual import render_counterfactuals  # Numba and SciPy take 0.5 s to import

    sizes = {"size": clips.size, "num_frames": clips.num_frames, "difficulty": clips.difficulty}
    found = []
    for change, shown in zip(changes, render_counterfactuals(*clips.ingredients(index), changes, **sizes), strict=True):
        clip = clips.as_clip(index, shown.images, shown.fps)
        what = f"{change.kind} {change.shift_px}" if any(change.shift_px) else change.kind
        found.append(Counterfactual(replace(clip, source=f"{clip.source}, {what}"), shown.regions))
    return found
