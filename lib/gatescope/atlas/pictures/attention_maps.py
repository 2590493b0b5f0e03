"""Draw effects of attention: intervals for every control, curves over time steps for every seed."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase

from gatescope.pictures.intervals import (
    Colours,
    Curves,
    Interval,
    Looks,
    curve_panels,
    interval_rows,
    label_ends,
    name_rows,
)

OTHERS = "#777777"


def interval_grid(
    fig: FigureBase,
    found: Mapping[str, Mapping[str, Mapping[str, Interval]]],
    colours: Mapping[str, Colours],
    references: Mapping[str, float],
) -> list[Axes]:
    """Draw found[group][measure][name]: a row of panels for each group, a column with one axis for each measure.

    `colours` are each group's own, others are grey; `references` are values at chance, drawn as a line.
    """
    columns = list(next(iter(found.values())))
    axes = fig.subplots(len(found), len(columns), sharex="col", sharey=True, squeeze=False)
    for line, (group, measures) in zip(axes, found.items(), strict=True):
        for ax, (measure, rows) in zip(line, measures.items(), strict=True):
            if measure in references:
                ax.axvline(references[measure], color="#999999", linewidth=0.8, linestyle="--")
            looks = {name: {"color": colours.get(group, {}).get(name, OTHERS)} for name in rows}
            interval_rows(ax, {name: {name: interval} for name, interval in rows.items()}, looks)
        line[0].set_title(group, fontweight="bold")
    for ax, measure in zip(axes[-1], columns, strict=True):
        ax.set_xlabel(measure)
    return list(axes.flat)


def interval_panels(
    fig: FigureBase, found: Mapping[str, Mapping[str, Interval]], colours: Mapping[str, Colours], reference: float
) -> list[Axes]:
    """Draw found[group][name], one measure: a panel for each group side by side, with a line at the `reference`.

    `colours` are each group's own, others are grey.
    """
    axes = fig.subplots(1, len(found), sharex=True, sharey=True, squeeze=False)[0]
    for ax, (group, rows) in zip(axes, found.items(), strict=True):
        ax.axvline(reference, color="#999999", linewidth=0.8, linestyle="--")
        looks = {name: {"color": colours.get(group, {}).get(name, OTHERS), "markersize": 5} for name in rows}
        interval_rows(ax, {name: {name: interval} for name, interval in rows.items()}, looks)
        ax.set_title(group)
    return list(axes)


def step_panels(fig: FigureBase, values: Curves, looks: Looks, *, log: bool = False) -> list[Axes]:
    """Draw values[group][name] over time steps, from 1, the mean over seeds and each seed thin: panels of groups.

    Names stand at the ends of their curves in the last panel.
    """
    axes, lines = curve_panels(fig, values, looks, "time step")
    if log:
        axes[0].set_yscale("log")
    means = {line.get_label(): line for line in axes[-1].get_lines() if line.get_label() in lines}
    label_ends(axes[-1], means)
    return axes


def part_dots(ax: Axes, values: Mapping[str, Mapping[str, Float[np.ndarray, " _"]]], looks: Looks) -> list[Artist]:
    """Draw values[name][part] on a logarithmic axis: a row for each part, names a little apart, a mark a seed."""
    parts = list(next(iter(values.values())))
    drawn: list[Artist] = []
    for number, (name, own) in enumerate(values.items()):
        shift = 0.6 * ((number + 0.5) / len(values) - 0.5)
        at = np.concatenate([np.full(len(own[part]), row + shift) for row, part in enumerate(parts)])
        drawn += ax.plot(np.concatenate([own[part] for part in parts]), at, linestyle="none", label=name, **looks[name])
    ax.set_xscale("log")
    name_rows(ax, parts)
    return drawn
