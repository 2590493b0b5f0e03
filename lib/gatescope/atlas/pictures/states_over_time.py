"""Draw states over time: panels side by side, half-lives, densities."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase

from gatescope.pictures.intervals import Interval, interval_rows, legend_of_panels

UNTRAINED = {"color": "#777777"}
HAND_LINES = {"an even map": {"color": "#999999", "linestyle": "--"}, "frame difference": {"color": "#D55E00"}}


def panels(fig: FigureBase, colours: Mapping[str, str]) -> dict[str, Axes]:
    """Return a panel for each name side by side, titled in its colour, with the same axes."""
    axes = fig.subplots(1, len(colours), sharex=True, sharey=True, squeeze=False)[0]
    for ax, (name, colour) in zip(axes, colours.items(), strict=True):
        ax.set_title(name, color=colour)
    return dict(zip(colours, axes, strict=True))


def hand_panels(
    fig: FigureBase,
    found: Mapping[str, Mapping[str, Mapping[str, Mapping[str, Interval]]]],
    lines: Mapping[str, Mapping[str, float]],
    colours: Mapping[str, str],
) -> list[Axes]:
    """Draw found[measure][name][row][kind]: panels of names, and below them those of the next measure.

    Of a row's kinds the first is filled, one named `untrained` is grey and others are hollow. lines[measure] are values
    of HAND_LINES, drawn through every panel.
    """
    axes = fig.subplots(len(found), len(colours), sharex="row", sharey=True, squeeze=False)
    for line, (measure, names) in zip(axes, found.items(), strict=True):
        for ax, (name, colour) in zip(line, colours.items(), strict=True):
            kinds = dict.fromkeys(kind for row in names[name].values() for kind in row)
            looks = {kind: {"color": colour, "markerfacecolor": "white"} for kind in kinds}
            looks[next(iter(kinds))] = {"color": colour}
            interval_rows(ax, names[name], looks | {"untrained": UNTRAINED})
            for where, look in HAND_LINES.items():
                ax.axvline(lines[measure][where], linewidth=0.8, zorder=0, label=where, **look)
            ax.set_xlabel(measure)
    for ax, (name, colour) in zip(axes[0], colours.items(), strict=True):
        ax.set_title(name, color=colour)
    legend_of_panels(axes[0])
    return list(axes.flat)


def half_lives(
    ax: Axes, found: Mapping[str, Mapping[str, Float[np.ndarray, "seeds channels"]]], colours: Mapping[str, str]
) -> list[Artist]:
    """Draw found[name][kind], in steps, on a logarithmic axis: a dot for each channel and a bar at the median.

    The first kind has the name's colour; values beyond the axis are drawn at its ends.
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
    ax.set_yticks([1 / 16, 1 / 4, 1, 4, 16], ["≤ 1/16", "1/4", "1", "4", "≥ 16"])
    ax.set(ylim=(limits[0] * 0.8, limits[1] * 1.25), xlim=(-0.6, len(found) - 0.4))
    ax.set_xticks(range(len(found)), list(found))
    return drawn


def density(ax: Axes, edges: Float[np.ndarray, " edges"], values: Float[np.ndarray, " bins"], **line) -> list[Artist]:
    """Draw the outline of a histogram on a logarithmic axis; an empty bin leaves a gap."""
    ax.set_yscale("log")
    return [ax.stairs(np.where(values > 0, values, np.nan), edges, **{"linewidth": 1.4} | line)]
