"""What an interval says to a statement: words chosen by numbers, so that prose cannot drift from them."""

from collections.abc import Mapping

Interval = tuple[float, float, float]  # a value, and the ends of its interval


def in_words(found: Interval, unit: str = "points", digits: int = 1) -> str:
    """A difference with its interval: +1.2 points [-0.3, +2.7]."""
    value, low, high = found
    return f"{value:+.{digits}f} {unit} [{low:+.{digits}f}, {high:+.{digits}f}]"


def how_much(found: Interval, margin: float) -> str:
    """`little`, `less`, `more` or `unclear`: what is known of a difference of which `margin` would count as much.

    `little` where all of the interval is nearer to zero than the margin, even if zero is outside of it: there may be an
    effect, but a small one. `less` and `more` where it is on one side of zero and not little. `unclear` where it holds
    both zero and a difference that would count: these data say neither that there is one nor that there is none.
    """
    _, low, high = found
    if -margin < low and high < margin:
        return "little"
    if high < 0:
        return "less"
    return "more" if low > 0 else "unclear"


def above_all(found: Interval, controls: Mapping[str, Interval]) -> str:
    """`above every control` where all of an interval is above all of each control's, else which it does not pass."""
    missed = [name for name, control in controls.items() if not found[1] > control[2]]
    return f"not above {' or '.join(missed)}" if missed else "above every control"
