"""Means and differences over seeds and clips, with Student's t intervals that count both as drawn at random."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float, Int

Values = Float[np.ndarray, "_ clips"] | Bool[np.ndarray, "_ clips"]  # rows are seeds
# Dimensions of their own, as `estimate` has a better message than the shape checker.
Others = Float[np.ndarray, "_ other_clips"] | Bool[np.ndarray, "_ other_clips"]
People = Int[np.ndarray, " numbered_clips"]
Interval = tuple[float, float, float]  # a value and the lower and upper end of its interval


class Estimate(tuple):
    """Interval that knows its standard error and degrees of freedom: (value, low, high) at a level.

    Without any spread to measure, as of one clip and one seed, the ends are NaN.
    """

    error: float  # standard error
    freedom: float  # degrees of freedom of Student's t
    level: float
    whole: float | None  # of a proportion: the value if all were right, 1 or 100

    def __new__(
        cls, value: float, error: float, freedom: float, level: float = 0.95, whole: float | None = None
    ) -> "Estimate":
        """Make the interval value +- t(freedom) error at `level`; of a proportion it is made on the logit scale."""
        from scipy.special import expit, logit, stdtrit  # slow to import

        half = error * float(stdtrit(freedom, (1 + level) / 2)) if error > 0 else error
        if whole is not None and 0 < value < whole:
            part = value / whole
            ends = whole * expit(logit(part) + np.array([-half, half]) / (whole * part * (1 - part)))
        else:
            ends = value - half, value + half
        made = super().__new__(cls, (float(value), float(ends[0]), float(ends[1])))
        made.error, made.freedom, made.level, made.whole = float(error), float(freedom), level, whole
        return made

    value = property(lambda self: self[0])
    low = property(lambda self: self[1])
    high = property(lambda self: self[2])

    def at(self, level: float) -> "Estimate":
        """Return the same estimate with its interval at another level."""
        return Estimate(self.value, self.error, self.freedom, level, self.whole)

    def times(self, factor: float) -> "Estimate":
        """Return the estimate in another unit, as 100 times for points."""
        whole = None if self.whole is None else self.whole * factor
        return Estimate(self.value * factor, self.error * abs(factor), self.freedom, self.level, whole)

    def __getnewargs__(self) -> tuple:
        return self.value, self.error, self.freedom, self.level, self.whole


@dataclass(frozen=True)
class Factor:
    """What a mean over clips has beyond `even`, on the true hand relative to the measured one."""

    value: float
    error: float  # standard error
    freedom: float  # degrees of freedom of the error
    even: float = 0.0

    def of_mean(self, found: Estimate) -> Estimate:
        """Return a mean on measured hands as one on true hands, with an interval that includes the masks' error."""
        return self._times(found, self.even)

    def of_difference(self, found: Estimate) -> Estimate:
        """Return a difference of two such means on the same hands, from which `even` cancels."""
        return self._times(found, 0.0)

    def _times(self, found: Estimate, even: float) -> Estimate:
        if self.value == 1 and self.error == 0:  # of true hands
            return found
        beyond = found.value - even
        # Of one clip and one network the spread is not known: the masks' error is all that can be told.
        own, of_masks = (self.value * np.nan_to_num(found.error)) ** 2, (beyond * self.error) ** 2
        sources = ((own, found.freedom), (of_masks, self.freedom))
        spread = sum(each**2 / freedom for each, freedom in sources if each > 0)
        variance = own + of_masks
        freedom = variance**2 / spread if spread > 0 else np.inf
        return Estimate(even + self.value * beyond, np.sqrt(variance), freedom, found.level)


EXACT = Factor(1.0, 0.0, np.inf)


def estimate(
    values: Values, minus: Others | None = None, *, level: float = 0.95, people: People | None = None
) -> Estimate:
    """Return the mean over seeds and clips, or its difference from the mean of `minus`, with its interval.

    Seeds and clips are crossed random effects: the variance of the mean is the sum of that between seeds, between
    clips and of their interaction, each estimated from its mean square and never below zero. The interval is Student's
    t, with Satterthwaite's degrees of freedom: where seeds differ most, these are about the number of seeds less one.
    `minus` holds other networks on the same clips, whose seeds may vary otherwise. For two conditions of the same
    networks pass their difference as `values`. `people` numbers the person in each clip: people are then the units that
    were drawn, and not clips. With one seed the interval covers the sampling of clips only. NaN is left out; the mean
    of nothing is NaN. The mean of a Bool array is a proportion, whose interval stays within its bounds.

    Raises ValueError for values of another form, or if `minus` or `people` has another number of clips.
    """
    if values.ndim != 2:
        raise ValueError(f"needed values (seeds, clips), one seed as values[None]; got {values.shape}")
    num_clips = values.shape[1]
    if any(other is not None and other.shape[-1] != num_clips for other in (minus, people)):
        raise ValueError(f"needed the same {num_clips} clips; got minus {np.shape(minus)}, people {np.shape(people)}")
    units = np.arange(num_clips) if people is None else np.unique(people, return_inverse=True)[1]
    means, tables = zip(*(_contributions(side, units) for side in (values, minus) if side is not None), strict=True)
    num_units = tables[0].shape[1]
    # Of each source of variance: the mean square, what of it is the source's own, and its degrees of freedom.
    sources, rest, spread = [], 0.0, 0.0
    for table in tables:
        num_seeds, of_seeds = len(table), table.sum(1, keepdims=True)
        if num_seeds == 1:
            continue
        between, freedom, own_rest = num_seeds / (num_seeds - 1) * (of_seeds**2).sum(), num_seeds - 1, 0.0
        if num_units > 1:
            left = table - of_seeds / num_units - table.mean(0)
            freedom_left = freedom * (num_units - 1)
            own_rest = num_seeds * num_units / freedom_left * (left**2).sum()
            spread += own_rest**2 / freedom_left
        rest += own_rest
        sources.append((between, between - own_rest, freedom))
    if num_units > 1:
        of_units = tables[0].sum(0) - (tables[1].sum(0) if minus is not None else 0)
        between = num_units / (num_units - 1) * (of_units**2).sum()
        sources.append((between, between - rest, num_units - 1))
    # A component below zero counts as zero, and its mean square then says nothing about the degrees of freedom.
    variance = rest + sum(max(component, 0.0) for _, component, _ in sources) if sources else np.nan
    spread += sum(square**2 / freedom for square, component, freedom in sources if component > 0)
    freedom = variance**2 / spread if spread > 0 else np.inf
    if minus is not None:
        return Estimate(means[0] - means[1], np.sqrt(variance), freedom, level)
    return Estimate(means[0], np.sqrt(variance), freedom, level, _whole(values))


def _whole(values: Values) -> float | None:
    """Return 1 for what is right or wrong; None for numbers, which may be differences that happen to be 0 or 1."""
    return 1.0 if values.dtype == bool else None


def _contributions(values: Values, units: Int[np.ndarray, " clips"]) -> tuple[float, Float[np.ndarray, "_ units"]]:
    """Return the mean of what is known, and what each seed and unit (clip or person) adds to its deviation."""
    known = ~np.isnan(values)
    values, total = values.astype(np.float64), known.sum()
    if not total:
        return float("nan"), np.full((len(values), units.max() + 1), np.nan)
    mean = values[known].mean()
    deviation = np.where(known, values - mean, 0) / total
    return float(mean), np.stack([np.bincount(units, row) for row in deviation])


def simultaneous(count: int, level: float = 0.95) -> float:
    """Return the level of each of `count` intervals that hold together at `level`, by Bonferroni."""
    return 1 - (1 - level) / max(count, 1)


def differences(right: Mapping[str, Values], people: People | None = None) -> dict[tuple[str, str], Estimate]:
    """Return the difference of every pair of networks, by their names, with intervals that hold together at 95 %."""
    pairs = list(combinations(right, 2))
    level = simultaneous(len(pairs))
    return {pair: estimate(right[pair[0]], right[pair[1]], level=level, people=people) for pair in pairs}


def known_mean(values: Float[np.ndarray, "..."], axis: int = -1) -> Float[np.ndarray, "..."]:
    """Return the mean of what is not NaN; unlike `np.nanmean` it gives NaN without a warning where nothing is."""
    known = ~np.isnan(values)
    count = known.sum(axis)
    return np.where(count > 0, np.where(known, values, 0).sum(axis) / np.maximum(count, 1), np.nan)
