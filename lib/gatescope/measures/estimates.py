"""Means and differences over seeds and clips, with bootstrap intervals."""

from collections.abc import Mapping
from functools import lru_cache
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float

Values = Float[np.ndarray, "_ clips"] | Bool[np.ndarray, "_ clips"]  # rows are seeds
Interval = tuple[float, float, float]  # a value and the lower and upper end of its interval


def estimate(values: Values, minus: Values | None = None, *, level: float = 0.95, num_draws: int = 10_000) -> Interval:
    """Return the mean over seeds and clips, or its difference from the mean of `minus`, with its interval.

    The bootstrap draws clips, the same for both, and the seeds of each; with one seed the interval covers clip
    sampling only. For two conditions of the same networks pass their difference as `values`. NaN is left out; the mean
    of nothing is NaN.
    """
    rng = np.random.default_rng(0)
    clips = _drawn(values.shape[1], num_draws)
    mean, drawn = 0.0, np.zeros(num_draws)
    for sign, found in ((1, values), (-1, minus)):
        if found is None:
            continue
        seeds = rng.multinomial(len(found), np.full(len(found), 1 / len(found)), num_draws)
        known = ~np.isnan(found)
        totals = ((clips @ np.where(known, found, 0).T) * seeds).sum(1)
        counts = ((clips @ known.T) * seeds).sum(1)
        drawn += sign * np.divide(totals, counts, out=np.full(num_draws, np.nan), where=counts > 0)
        mean += sign * float(known_mean(found.astype(np.float64).ravel()))
    drawn = drawn[~np.isnan(drawn)]
    low, high = np.quantile(drawn, ((1 - level) / 2, (1 + level) / 2)) if len(drawn) else (np.nan, np.nan)
    return mean, float(low), float(high)


@lru_cache(maxsize=8)
def _drawn(num_clips: int, num_draws: int) -> Float[np.ndarray, "draws clips"]:
    """Return how often each clip occurs in each bootstrap draw; cached, as notebooks ask for the same ones often."""
    even = np.full(num_clips, 1 / num_clips)
    return np.random.default_rng(1).multinomial(num_clips, even, num_draws).astype(np.float64)


def differences(right: Mapping[str, Values]) -> dict[tuple[str, str], Interval]:
    """Return the difference of every pair of networks, by their names, with intervals that hold together at 95 %."""
    pairs = list(combinations(right, 2))
    level = 1 - 0.05 / max(len(pairs), 1)  # Bonferroni
    return {(first, second): estimate(right[first], right[second], level=level) for first, second in pairs}


def known_mean(values: Float[np.ndarray, "..."], axis: int = -1) -> Float[np.ndarray, "..."]:
    """Return the mean of what is not NaN; unlike `np.nanmean` it gives NaN without a warning where nothing is."""
    known = ~np.isnan(values)
    count = known.sum(axis)
    return np.where(count > 0, np.where(known, values, 0).sum(axis) / np.maximum(count, 1), np.nan)
