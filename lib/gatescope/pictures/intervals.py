"""Draw values with their spread: intervals in rows, a curve in a band, curves beside their mean, and their names."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import FigureBase
from matplotlib.legend import Legend
from matplotlib.legend_handler import HandlerTuple
from matplotlib.lines import Line2D
from matplotlib.patches import StepPatch
from matplotlib.text import Annotation

Interval = tuple[float, float, float]  # a value and the ends of its interval
Values = Sequence[float] | np.ndarray
Looks = Mapping[str, Mapping[str, object]]  # by name the properties of its lines and marks
Colours = Mapping[str, str]  # by name
Curves = Mapping[str, Mapping[str, Float[np.ndarray, "_ step"]]]  # by panel and name, a row for each seed


def interval_rows(ax: Axes, found: Mapping[str, Mapping[str, Interval]], looks: Looks) -> list[Artist]:
    """Draw found[row][name]: a row for each key, from the top, with its intervals below each other.

    A row may lack names; NaN is left out. `looks` are the properties of each name's marker and bar.
    """
    drawn: list[Artist] = []
    here = {row: [name for name, each in own.items() if np.isfinite(each[0])] for row, own in found.items()}
    most = max(map(len, here.values()))
    for name in dict.fromkeys(chain(*here.values())):
        rows = [(place, row) for place, (row, names) in enumerate(here.items()) if name in names]
        value, low, high = np.array([found[row][name] for _, row in rows]).T
        at = [place + (here[row].index(name) - (len(here[row]) - 1) / 2) * 0.66 / most for place, row in rows]
        error = np.maximum((value - low, high - value), 0)
        shape = {"marker": "o", "markersize": 3.5, "linestyle": "none", "label": name} | dict(looks[name])
        drawn += ax.errorbar(value, at, xerr=error, **shape).get_children()
    if most > 1:
        for place in range(len(found) - 1):
            ax.axhline(place + 0.5, color="#dddddd", linewidth=0.6, zorder=0)
    name_rows(ax, list(found))
    return drawn


def name_rows(ax: Axes, names: Sequence[str]) -> None:
    """Name the rows of a diagram, at 0, 1, ... from the top, without ticks."""
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)


def band(ax: Axes, x: Values, curve: Sequence[Interval] | np.ndarray, **line) -> list[Artist]:
    """Draw a line through values, with a band from end to end of their intervals."""
    value, low, high = np.array(curve).T
    drawn: list[Artist] = list(ax.plot(x, value, **line))
    drawn.append(ax.fill_between(x, low, high, color=drawn[0].get_color(), alpha=0.2, linewidth=0))
    return drawn


def mean_and_each(ax: Axes, x: Values, curves: Float[np.ndarray, "each points"], **line) -> list[Artist]:
    """Draw the mean of curves over `x`, NaN left out, and where there are several a thin line for each."""
    mean = np.ma.masked_invalid(curves).mean(0).filled(np.nan)
    drawn: list[Artist] = list(ax.plot(x, mean, **line))
    if len(curves) > 1:
        thin = {"color": drawn[0].get_color(), "linestyle": line.get("linestyle", "-"), "linewidth": 0.6, "alpha": 0.5}
        drawn += ax.plot(x, curves.T, **thin)
    return drawn


def label_ends(ax: Axes, lines: Mapping[str, Line2D], *, apart: float = 0.08) -> list[Annotation]:
    """Write each line's name beside its last point, in its colour, instead of a legend.

    Names keep a distance of `apart`, as a share of the panel's height; a thin line leads to one that had to move. To
    be called when scales and limits of y are set.
    """
    ax.autoscale_view()
    points = {name: np.array(line.get_xydata(), float) for name, line in lines.items()}
    ends = {name: own[np.isfinite(own[:, 1])][-1] for name, own in points.items()}
    to_axes = ax.transData - ax.transAxes
    height = {name: to_axes.transform(end)[1] for name, end in ends.items()}
    order = sorted(height, key=height.__getitem__)
    place = np.array([height[name] for name in order])
    for _ in range(100):  # push neighbours apart, both by half of what is missing
        missing = np.maximum(apart - np.diff(place), 0) / 2
        place += np.pad(missing, (1, 0)) - np.pad(missing, (0, 1))
    drawn = []
    for name, at in zip(order, place, strict=True):
        colour = lines[name].get_color()
        lead = {"arrowstyle": "-", "color": colour, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 1}
        where = {"xytext": (1.06, at), "textcoords": "axes fraction", "va": "center", "fontsize": 8}
        drawn.append(ax.annotate(name, ends[name], color=colour, arrowprops=lead, annotation_clip=False, **where))
    return drawn


def legend_of_panels(axes: Iterable[Axes], **where) -> Legend:
    """Draw one legend for panels on the last of them: a kind of line that differs in colour shows all its colours."""
    axes, found = list(axes), {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            if isinstance(handle, StepPatch):  # of which a tuple would show the last one alone
                handle = Line2D([], [], color=handle.get_edgecolor(), linewidth=handle.get_linewidth())
            found.setdefault(label, {}).setdefault(to_hex(_colour(handle)), handle)
    handles = [tuple(each.values()) if len(each) > 1 else next(iter(each.values())) for each in found.values()]
    several = {tuple: HandlerTuple(ndivide=None, pad=0.3)}
    looks = {"loc": "upper left", "bbox_to_anchor": (1, 1), "handlelength": 3} | where
    return axes[-1].legend(handles, list(found), handler_map=several, **looks)


def _colour(handle: Line2D | ErrorbarContainer) -> Any:
    """Return the colour of a line, or of the mark of an interval."""
    return (handle if isinstance(handle, Line2D) else handle[0]).get_color()


def curve_panels(
    fig: FigureBase, curves: Curves, looks: Looks, xlabel: str, *, num_rows: int = 1, sharey: bool = True
) -> tuple[list[Axes], dict[str, Artist]]:
    """Draw curves[panel][name] over steps, from 1, with the mean over seeds; return panels and a line of each name."""
    axes = fig.subplots(num_rows, -(-len(curves) // num_rows), sharex=True, sharey=sharey, squeeze=False)
    lines: dict[str, Artist] = {}
    for ax, (title, own) in zip(axes.flat, curves.items(), strict=False):
        for name, seeds in own.items():
            line = mean_and_each(ax, np.arange(seeds.shape[1]) + 1, seeds, **{"label": name} | dict(looks[name]))[0]
            lines.setdefault(name, line)
        ax.set_title(title)
    for ax in axes.flat[len(curves) :]:
        ax.set_axis_off()
    for ax in axes[-1]:
        ax.set_xlabel(xlabel)
    return list(axes.flat)[: len(curves)], lines
