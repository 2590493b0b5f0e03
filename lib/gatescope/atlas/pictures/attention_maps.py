"""Pictures of what attention does: intervals for every control, a curve over time steps for every seed."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase

from gatescope.pictures.intervals import Interval, interval_rows, mean_and_each, name_rows

OTHERS = "#777777"


def interval_grid(
    fig: FigureBase,
    found: Mapping[str, Mapping[str, Mapping[str, Interval]]],
    colours: Mapping[str, Mapping[str, str]],
    references: Mapping[str, float],
) -> list[Axes]:
    """A row of panels for each group and a column for each measure, as found[group][measure][name].

    All panels of a column have the same axis. `colours` are each group's own; a measure among `references` has a line
    at what chance gives. Names without a colour are grey.
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


def step_panels(
    fig: FigureBase,
    values: Mapping[str, Mapping[str, Float[np.ndarray, "_ step"]]],
    looks: Mapping[str, Mapping[str, object]],
    *,
    log: bool = False,
) -> list[Axes]:
    """A panel for each group of curves over time steps, from 1, as values[group][name]; all have the same axes.

    Of several seeds each has a thin line beside the mean. `looks` are the line properties of each name; the names
    stand beside the last panel.
    """
    axes = fig.subplots(1, len(values), sharex=True, sharey=True, squeeze=False)[0]
    handles = {}
    for ax, (group, curves) in zip(axes, values.items(), strict=True):
        for name, seeds in curves.items():
            handles.setdefault(name, mean_and_each(ax, np.arange(seeds.shape[1]) + 1, seeds, **looks[name])[0])
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
    name_rows(ax, parts)
    return drawn
