"""counterfactual: a rendered clip with one thing changed, and what each of its pixels shows."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, UInt8

from gatescope.loaders.clip import Clip
from gatescope.loaders.rendered.gestures import SyntheticGestures

MOVES = 0.5  # px per frame; what is faster is said to move


@dataclass(frozen=True, eq=False)
class Counterfactual:
    """A clip with one change, and what each of its pixels shows."""

    clip: Clip  # with mask, depth, flow and joints of what is shown
    regions: UInt8[np.ndarray, "time size size"]  # places in `rendered_people.counterfactual.REGIONS`

    def region(self, *names: str) -> Bool[np.ndarray, "time size size"]:
        """Return the pixels that show any of these regions. Raises ValueError for an unknown name."""
        from rendered_people.counterfactual import REGIONS

        return np.isin(self.regions, [REGIONS.index(name) for name in names])

    @property
    def moving(self) -> Bool[np.ndarray, "time size size"]:
        """Pixels that show what moves by more than `MOVES` until the next frame; the last frame repeats the one before."""
        moving = np.hypot(self.clip.flow[..., 0], self.clip.flow[..., 1]) > MOVES
        return np.concatenate([moving, moving[-1:]])


def counterfactual(
    clips: SyntheticGestures, index: int, change: str, shift_px: tuple[int, int] = (0, 0)
) -> Counterfactual:
    """Render clip `index` of `clips` with one change, every random number kept: see `render_counterfactual`.

    `change` is `none`, `view shifted` or `hand shifted` (both by `shift_px`, right and down), `frozen`, `removed` or
    `distractor`. All modalities are rendered. The label remains that of the unchanged clip.

    Raises ValueError for another change.
    """
    from rendered_people.counterfactual import render_counterfactual  # Numba and SciPy take 0.5 s to import

    shown = render_counterfactual(
        *clips.ingredients(index),
        change,
        shift_px=shift_px,
        size=clips.size,
        num_frames=clips.num_frames,
        difficulty=clips.difficulty,
    )
    clip = clips.as_clip(index, shown.images, shown.fps)
    return Counterfactual(replace(clip, source=f"{clip.source}, {change}"), shown.regions)
