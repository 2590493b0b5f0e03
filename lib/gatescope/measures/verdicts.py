"""Verdicts: statements that an interval supports, chosen by the numbers so that prose cannot drift from them."""

from collections.abc import Mapping

from gatescope.measures.estimates import Interval


def in_words(found: Interval, unit: str = "points", digits: int = 1) -> str:
    """Return a difference with its interval as text: +1.2 points [-0.3, +2.7]."""
    value, low, high = found
    return f"{value:+.{digits}f} {unit} [{low:+.{digits}f}, {high:+.{digits}f}]"


def judge_difference(found: Interval, margin: float) -> str:
    """Return `equivalent`, `lower`, `higher` or `undecided` for a difference, where less than `margin` is small.

    `equivalent`: the whole interval is nearer to zero than the margin, even where it excludes zero. `lower`, `higher`:
    it excludes zero. `undecided`: it includes zero and a difference of the margin or more.
    """
    _, low, high = found
    if -margin < low and high < margin:
        return "equivalent"
    if high < 0:
        return "lower"
    return "higher" if low > 0 else "undecided"


def tell_apart(found: Interval, first: str, second: str, num_seeds: int) -> str:
    """Return a sentence that says whether the accuracies of `first` and `second` differ, with their difference."""
    _, low, high = found
    if low > 0 or high < 0:
        return f"{first} is {'more' if low > 0 else 'less'} accurate than {second}: {in_words(found)}."
    seeds = "one seed" if num_seeds == 1 else f"{num_seeds} seeds"
    return f"{first} against {second}: {in_words(found)}. The interval includes zero: {seeds} cannot tell them apart."


def judge_need(change: Interval, margin: float, num_answers: int) -> str:
    """Return `needed`, `harmful`, `not needed` or `undecided` for what an ablation took away.

    `change` is the change of accuracy in points. `needed`: the whole interval lies below zero, `harmful`: above it.
    `not needed`: the interval excludes a loss of `margin`, and `num_answers` are enough to have seen such a loss. By
    the rule of three a change in 1 % of the answers appears in none of 300 with a probability of 5 %, and then the
    interval is a point.
    """
    _, low, high = change
    if high < 0:
        return "needed"
    if low > 0:
        return "harmful"
    return "not needed" if low > -margin and 300 / num_answers < margin else "undecided"


def above_controls(found: Interval, controls: Mapping[str, Interval]) -> str:
    """Return `above every control` where the whole interval is above each control's, else the controls it is not."""
    missed = [name for name, control in controls.items() if not found[1] > control[2]]
    return f"not above {' or '.join(missed)}" if missed else "above every control"
