"""Verdicts: statements that an interval supports, chosen by the numbers so that prose cannot drift from them."""

from collections.abc import Mapping

import numpy as np

from gatescope.measures.estimates import EXACT, Estimate, Factor, Interval, People, Values, estimate


def in_words(found: Interval, unit: str = "points", digits: int = 1) -> str:
    """Return a difference with its interval as text: +1.2 points [-0.3, +2.7]."""
    value, low, high = found
    if np.isnan(low):
        return f"{value:+.{digits}f} {unit} [spread unknown]"
    return f"{value:+.{digits}f} {unit} [{low:+.{digits}f}, {high:+.{digits}f}]"


def judge_difference(found: Estimate, margin: float) -> str:
    """Return `equivalent`, `lower`, `higher` or `undecided` for a difference, where less than `margin` is small.

    `equivalent`: two one-sided tests exclude a difference of the margin or more, even where the interval excludes zero.
    At a level of 95 % each test has 5 %, so that the 90 % interval must lie within the margin (Schuirmann 1987).
    `lower`, `higher`: the interval excludes zero. `undecided`: neither, or no spread to judge by.
    """
    if not found.error > 0:
        return "undecided"  # nothing varied: a point does not say how far it may be off
    _, inner_low, inner_high = found.at(2 * found.level - 1)
    if -margin < inner_low and inner_high < margin:
        return "equivalent"
    if found.high < 0:
        return "lower"
    return "higher" if found.low > 0 else "undecided"


def tell_apart(found: Interval, first: str, second: str, num_seeds: int) -> str:
    """Return a sentence that says whether the accuracies of `first` and `second` differ, with their difference."""
    _, low, high = found
    if low > 0 or high < 0:
        return f"{first} is {'more' if low > 0 else 'less'} accurate than {second}: {in_words(found)}."
    seeds = "one seed" if num_seeds == 1 else f"{num_seeds} seeds"
    return f"{first} against {second}: {in_words(found)}. The interval includes zero: {seeds} cannot tell them apart."


def judge_need(change: Estimate, margin: float, num_clips: int) -> str:
    """Return `needed`, `harmful`, `not needed` or `undecided` for what an ablation took away.

    `change` is the change of accuracy in points. `needed`: the whole interval lies below zero, `harmful`: above it.
    `not needed`: a one-sided test excludes a loss of `margin`, even where the interval excludes zero, and `num_clips`
    are enough to have seen such a loss. By the rule of three a change in 1 % of the clips appears in none of 300 with a
    probability of 5 %, and then the interval is a point.
    """
    enough = 300 / num_clips < margin
    if enough and judge_difference(change, margin) == "equivalent":
        return "not needed"
    if change.high < 0:
        return "needed"
    if change.low > 0:
        return "harmful"
    excluded = change.at(2 * change.level - 1).low > -margin
    return "not needed" if excluded and enough else "undecided"


def minus_controls(
    own: Values,
    controls: Mapping[str, Values],
    *,
    level: float = 0.95,
    people: People | None = None,
    factor: Factor = EXACT,
) -> dict[str, Estimate]:
    """Return the difference of `own` from each control, with its interval.

    Differences are taken seed by seed and clip by clip where a control has as many seeds, or one row for all. `people`
    are as in `estimate`; `factor` is that of the hands by which all were measured.
    """
    found = {}
    for name, control in controls.items():
        paired = len(control) in (1, len(own))
        sides = (np.subtract(own, control, dtype=np.float64),) if paired else (own, control)
        found[name] = factor.of_difference(estimate(*sides, level=level, people=people))
    return found


def above_controls(
    own: Values, controls: Mapping[str, Values], people: People | None = None, factor: Factor = EXACT
) -> str:
    """Return `above every control` where `own` is above each, else the controls that it is not above.

    Above: the 95 % interval of the difference is above zero. All of them must hold, so that no correction is needed.
    """
    found = minus_controls(own, controls, people=people, factor=factor)
    missed = [name for name, more in found.items() if not more.low > 0]
    return f"not above {' or '.join(missed)}" if missed else "above every control"


def judge_following(more: Mapping[str, Mapping[str, Estimate]], motion: str) -> str:
    """Return what maps do towards the hand, decided by all measures and not by one: words that continue a sentence.

    more[measure][control] is what the maps have over each control; `motion` names the control that is motion alone. The
    maps *follow* the hand where all measures are above all controls; they *lean* towards it by a measure that is above
    all controls but motion, which may then explain it. They *do not* follow it where motion is above them by every
    measure. Else nothing is shown. `lean` and `follow` each need several intervals at once, so that within a verdict
    they need no correction.
    """
    leaning = [
        measure
        for measure, found in more.items()
        if all(each.low > 0 for control, each in found.items() if control != motion)
    ]
    over_motion = [found[motion].low > 0 for found in more.values()]
    if len(leaning) == len(more) and all(over_motion):
        return "follows the hand"
    words = "is not shown to lean towards the hand"
    if leaning:
        alone = "" if len(leaning) == len(more) else f" by {' and '.join(leaning)} alone"
        words = f"leans towards the hand{alone}"
    beaten = all(found[motion].high < 0 for found in more.values())
    return f"{words} and {'does not follow it' if beaten else 'is not shown to follow it'}"


def power(difference: float, sd_of_seeds: float, num_seeds: int, level: float = 0.95) -> float:
    """Return the probability, 0 to 1, that two groups of `num_seeds` trainings are told apart.

    `difference` is the true one and `sd_of_seeds` the standard deviation of a training's accuracy on the clips, in the
    same unit. A two-sided t-test of independent seeds; raises ValueError below two seeds, which have no spread.
    """
    from scipy.stats import nct, t  # slow to import

    if num_seeds < 2:
        raise ValueError(f"needed two seeds or more, as one has no spread; got {num_seeds}")
    freedom = 2 * (num_seeds - 1)
    apart = abs(difference) / (sd_of_seeds * np.sqrt(2 / num_seeds))
    least = t.ppf((1 + level) / 2, freedom)
    # Far from zero SciPy gives NaN where the one is 1 and the other 0.
    right, wrong = nct.sf(least, freedom, apart), nct.cdf(-least, freedom, apart)
    return float(np.nan_to_num(right, nan=1.0) + np.nan_to_num(wrong))


def seeds_needed(difference: float, sd_of_seeds: float, wanted: float = 0.8, level: float = 0.95) -> int:
    """Return the least number of seeds in each of two groups with which the `power` is at least `wanted`.

    1,000 stands for 1,000 or more, which a difference near zero needs.
    """
    counts = (seeds for seeds in range(2, 1000) if power(difference, sd_of_seeds, seeds, level) >= wanted)
    return next(counts, 1000)
