"""By what a measure on a measured hand is to be multiplied to be that on the true one, as rendered people tell it."""

from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from gatescope.measures.estimates import Factor, known_mean
from gatescope.measures.hand_errors import KEPT, HandErrors, read_errors
from gatescope.measures.localisation import enrichment

# What a map has that has nothing to do with the hand, by any mask.
EVEN = {"enrichment": 1.0, "pointing": 0.0, "explained": 0.0}
_COLUMNS = {"enrichment": ("energy", "area")}
NUM_DRAWS = 1000
LEAST = 1e-3  # in place of nothing on the measured hand: such a quotient then says nothing


def of_clips(rows: HandErrors, measure: str, prefix: str = "") -> Float[np.ndarray, " clips"]:
    """Return a measure of EVEN of each clip's change from frame to frame, on the true mask or the `measured_` one.

    Each is over the frames that have that mask, as it would be without the other. NaN for a clip without such a frame.
    """
    columns = [np.float64(getattr(rows, prefix + name)) for name in _COLUMNS.get(measure, (measure,))]
    take = enrichment if measure == "enrichment" else known_mean
    return np.array([take(*(each[rows.clip == clip] for each in columns)) for clip in range(rows.clip.max() + 1)])


def draw_factor(
    true: Float[np.ndarray, " clips"],
    measured: Float[np.ndarray, " clips"],
    people: Int[np.ndarray, " clips"],
    num_clips: int,
    even: float = 0.0,
) -> Factor:
    """Return the factor of a mean over `num_clips`, from clips on which a measure is known on both hands.

    People are drawn with replacement, then `num_clips` clips of theirs: the quotient of the two means varies with how
    far a clip is off and with how little is known of what all share. Its median and the middle 68 % count, since the
    quotient of few clips may be anything. NaN is left out; raises ValueError with fewer than two people.
    """
    known = np.isfinite(true) & np.isfinite(measured)
    pairs, person = np.stack([true, measured], axis=1)[known] - even, np.unique(people[known], return_inverse=True)[1]
    num_people = len(set(person.tolist()))
    if num_people < 2:
        raise ValueError(f"needed measured clips of at least 2 people; got {num_people}")
    rng = np.random.default_rng(0)
    weights = rng.multinomial(num_people, np.full(num_people, 1 / num_people), NUM_DRAWS)[:, person]
    ends = weights.cumsum(1) / weights.sum(1, keepdims=True)
    chosen = (ends[:, None] < rng.random((NUM_DRAWS, num_clips, 1))).sum(-1)
    on_true, on_measured = pairs[chosen].mean(1).T
    quotients = on_true / np.where(on_measured == 0, LEAST, on_measured)
    low, middle, high = np.quantile(quotients, (0.16, 0.5, 0.84))
    return Factor(float(middle), float(high - low) / 2, num_people - 1, even)


@lru_cache
def mask_factor(measure: str, num_clips: int, folder: Path = KEPT) -> Factor:
    """Return the factor of a measure of EVEN on measured masks, for a mean over `num_clips`.

    Raises FileNotFoundError if `folder` holds no measured errors.
    """
    rows, _ = read_errors(folder)
    people = rows.person[np.unique(rows.clip, return_index=True)[1]].astype(int)
    return draw_factor(of_clips(rows, measure), of_clips(rows, measure, "measured_"), people, num_clips, EVEN[measure])
