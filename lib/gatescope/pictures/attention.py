"""Pictures of what attention does: intervals for every control, a curve over time steps for every seed."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase

Interval = tuple[float, float, float]  # a value and the ends of its interval
OTHERS = "#777777"


def interval_rows(
    ax: Axes, found: Mapping[str, Interval], colours: Mapping[str, str], reference: float | None = None
) -> list[Artist]:
    """A row for each name, from the top: its value, and a bar from end to end of its interval.

    Names without a colour are grey; a value that is not a number leaves its row empty. The dashed line is at
    `reference`, what there would be by chance.
    """
    drawn: list[Artist] = []
    if reference is not None:
        drawn.append(ax.axvline(reference, color="#999999", linewidth=0.8, linestyle="--"))
    for row, (name, (value, low, high)) in enumerate(found.items()):
        colour = colours.get(name, OTHERS)
        drawn += ax.plot([low, high], [row, row], color=colour, linewidth=2.4, alpha=0.55, solid_capstyle="butt")
        drawn += ax.plot([value], [row], "o", color=colour, markersize=3.6)
    ax.set_yticks(range(len(found)), list(found))
    ax.set_ylim(len(found) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)
    return drawn


def interval_grid(
    fig: FigureBase,
    found: Mapping[str, Mapping[str, Mapping[str, Interval]]],
    colours: Mapping[str, Mapping[str, str]],
    references: Mapping[str, float],
) -> list[Axes]:
    """A row of panels for each group and a column for each measure, as found[group][measure][name].

    All panels of a column have the same axis. `colours` are each group's own; a measure among `references` has a line
    at what chance gives.
    """
    columns = list(next(iter(found.values())))
    axes = fig.subplots(len(found), len(columns), sharex="col", sharey=True, squeeze=False)
    for line, (group, measures) in zip(axes, found.items(), strict=True):
        for ax, (measure, rows) in zip(line, measures.items(), strict=True):
            interval_rows(ax, rows, colours.get(group, {}), references.get(measure))
        line[0].set_title(group, fontweight="bold")
    for ax, measure in zip(axes[-1], columns, strict=True):
        ax.set_xlabel(measure)
    return list(axes.flat)


def step_lines(ax: Axes, values: Float[np.ndarray, "seeds step"], **line) -> list[Artist]:
    """The mean over seeds at every time step, from 0, and where there are several a thin line for each."""
    steps = np.arange(values.shape[1])
    drawn: list[Artist] = list(ax.plot(steps, values.mean(0), **line))
    if len(values) > 1:
        thin = {"color": drawn[0].get_color(), "linestyle": line.get("linestyle", "-"), "linewidth": 0.6, "alpha": 0.6}
        drawn += ax.plot(steps, values.T, **thin)
    return drawn


def step_panels(
    fig: FigureBase,
    values: Mapping[str, Mapping[str, Float[np.ndarray, "_ step"]]],
    looks: Mapping[str, Mapping[str, object]],
    *,
    log: bool = False,
) -> list[Axes]:
    """A panel for each group of curves over time steps, as values[group][name]; all have the same axes.

    `looks` are the line properties of each name; the names stand beside the last panel.
    """
    axes = fig.subplots(1, len(values), sharex=True, sharey=True, squeeze=False)[0]
    handles = {}
    for ax, (group, curves) in zip(axes, values.items(), strict=True):
        for name, seeds in curves.items():
            handles.setdefault(name, step_lines(ax, seeds, **looks[name])[0])
        ax.set(title=group, xlabel="time step")
        if log:
            ax.set_yscale("log")
    axes[-1].legend(handles.values(), handles, loc="upper left", bbox_to_anchor=(1, 1))
    return list(axes)


def part_dots(
    ax: Axes, values: Mapping[str, Mapping[str, Float[np.ndarray, " _"]]], looks: Mapping[str, Mapping[str, object]]
) -> list[Artist]:
    """A row for each part, from the top, and in it a mark for every seed, as values[name][part]; a logarithmic axis.

    `looks` are the marks' properties of each name; the names of one row stand a little below each other.
    """
    parts = list(next(iter(values.values())))
    drawn: list[Artist] = []
    for number, (name, own) in enumerate(values.items()):
        shift = 0.6 * ((number + 0.5) / len(values) - 0.5)
        at = np.concatenate([np.full(len(own[part]), row + shift) for row, part in enumerate(parts)])
        drawn += ax.plot(np.concatenate([own[part] for part in parts]), at, linestyle="none", label=name, **looks[name])
    ax.set_xscale("log")
    ax.set_yticks(range(len(parts)), parts)
    ax.set_ylim(len(parts) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)
    return drawn
