"""Pictures of what states hold and for how long: estimates side by side, curves with bands, half-lives, densities."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase

Interval = tuple[float, float, float]  # a value and the ends of its interval
UNTRAINED = {"color": "#777777"}


def panels(fig: FigureBase, colours: Mapping[str, str]) -> dict[str, Axes]:
    """A panel for each name side by side, in its colour and with the same axes."""
    axes = fig.subplots(1, len(colours), sharex=True, sharey=True, squeeze=False)[0]
    for ax, (name, colour) in zip(axes, colours.items(), strict=True):
        ax.set_title(name, color=colour)
    return dict(zip(colours, axes, strict=True))


def estimates(
    ax: Axes, found: Mapping[str, Mapping[str, Interval]], looks: Mapping[str, Mapping[str, object]]
) -> list[Artist]:
    """A row for each name, from the top, and in it one below the other the intervals of its conditions.

    As found[name][condition]; `looks` are each condition's line properties, its `color` among them.
    """
    drawn: list[Artist] = []
    for row, conditions in enumerate(found.values()):
        for number, (condition, (value, low, high)) in enumerate(conditions.items()):
            y = row + 0.5 * ((number + 0.5) / len(conditions) - 0.5)
            look = dict(looks[condition])
            drawn += ax.plot([low, high], [y, y], color=look["color"], linewidth=1.4)
            drawn += ax.plot(value, y, "o", markersize=4, label=condition if row == 0 else None, **look)
    ax.set_yticks(range(len(found)), list(found))
    ax.set_ylim(len(found) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)
    return drawn


def band(ax: Axes, x: Sequence[float], curve: Sequence[Interval], **line) -> list[Artist]:
    """A line through values with a band from end to end of their intervals."""
    value, low, high = np.array(curve).T
    drawn: list[Artist] = list(ax.plot(x, value, **line))
    drawn.append(ax.fill_between(x, low, high, color=drawn[0].get_color(), alpha=0.2, linewidth=0))
    return drawn


def half_lives(
    ax: Axes, found: Mapping[str, Mapping[str, Float[np.ndarray, "seeds channels"]]], colours: Mapping[str, str]
) -> list[Artist]:
    """For each name a column of dots for every kind, the first in its colour: one a channel, a bar at the median.

    found[name][kind], in steps, on a logarithmic axis; what lies beyond it stands at its ends.
    """
    rng = np.random.default_rng(0)
    drawn: list[Artist] = []
    limits = 1 / 16, 16
    for place, (name, kinds) in enumerate(found.items()):
        for number, values in enumerate(kinds.values()):
            at = place + 0.36 * (number - (len(kinds) - 1) / 2)
            shown = np.clip(values.ravel(), *limits)
            colour = colours[name] if number == 0 else UNTRAINED["color"]
            x = at + rng.uniform(-0.12, 0.12, shown.size)
            drawn += ax.plot(x, shown, "o", color=colour, markersize=2.4, alpha=0.5, markeredgewidth=0)
            drawn.append(ax.hlines(np.median(shown), at - 0.16, at + 0.16, color="black", linewidth=1.6))
    ax.set_yscale("log", base=2)
    ticks = [2.0**power for power in range(-4, 5, 2)]
    ax.set_yticks(ticks, ["≤ 1/16", "1/4", "1", "4", "≥ 16"])
    ax.set(ylim=(limits[0] * 0.8, limits[1] * 1.25), xlim=(-0.6, len(found) - 0.4))
    ax.set_xticks(range(len(found)), list(found))
    return drawn


def density(ax: Axes, edges: Float[np.ndarray, " edges"], values: Float[np.ndarray, " bins"], **line) -> list[Artist]:
    """The outline of a histogram on a logarithmic axis; an empty bin leaves a gap."""
    drawn = [ax.stairs(np.where(values > 0, values, np.nan), edges, **{"linewidth": 1.4} | line)]
    ax.set_yscale("log")
    return list(drawn)
