"""Draw counterfactual clips, quotients of energies, and how maps move with a shifted view."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase

from gatescope.loaders.rendered import Counterfactual
from gatescope.pictures.intervals import Interval, Looks, interval_rows, mean_and_each
from gatescope.pictures.maps import frames_of_steps
from gatescope.pictures.plots import GAP_PX, film_strip, outline, side_by_side

EDGES = {"hand": "white", "distractor": "#F0E442"}
TICKS, FINE_TICKS = (0.03, 0.1, 0.3, 1, 3, 10, 30), (0.5, 0.7, 1, 1.4, 2)


def changed_strips(fig: FigureBase, shown: Mapping[str, Counterfactual], num_steps: int) -> list[Axes]:
    """Draw a film strip of each change, one frame a step, with the hand and the distractor outlined."""
    axes = fig.subplots(len(shown), 1, squeeze=False)[:, 0]
    for ax, (title, one) in zip(axes, shown.items(), strict=True):
        film_strip(ax, frames_of_steps(one.clip.frames, num_steps), title)
        for region, colour in EDGES.items():
            masks = frames_of_steps(one.region(region), num_steps)
            outline(ax, side_by_side(masks, GAP_PX, False)[:, :-GAP_PX], colors=colour, linewidths=0.8)
        ax.set_anchor("E")
    return list(axes)


def factor_panels(
    fig: FigureBase, found: Mapping[str, Mapping[str, Mapping[str, Interval]]], looks: Looks, xlabel: str
) -> list[Axes]:
    """Draw found[panel][row][name], intervals of logarithms, as factors on logarithmic axes with a line at 1.

    Ends beyond the axis, which is that of all values, are cut off there.
    """
    axes = fig.subplots(1, len(found), sharex=True, sharey=True, squeeze=False)[0]
    values = [each[0] for rows in found.values() for own in rows.values() for each in own.values()]
    widest = 1.9 * np.nanmax(np.abs(values))
    for ax, (title, rows) in zip(axes, found.items(), strict=True):
        ax.axvline(0, color="#999999", linewidth=0.8, linestyle="--")
        interval_rows(ax, rows, looks)
        ax.set(title=title, xlim=(-widest, widest), xlabel=xlabel)
        ticks = [tick for tick in (TICKS if widest > 1.2 else FINE_TICKS) if abs(np.log(tick)) < widest]
        ax.set_xticks(np.log(ticks), [f"{tick:g}" for tick in ticks])
    return list(axes)


def shift_panels(
    fig: FigureBase,
    curves: Mapping[str, Mapping[str, Float[np.ndarray, "_ shifts"]]],
    shifts_px: Sequence[int],
    looks: Looks,
) -> dict[str, Artist]:
    """Draw curves[panel][name] over the shift of the view, px: the mean, and each network thin; return the lines."""
    axes = fig.subplots(1, len(curves), sharex=True, squeeze=False)[0]
    lines: dict[str, Artist] = {}
    for ax, (title, own) in zip(axes, curves.items(), strict=True):
        for name, each in own.items():
            lines.setdefault(name, mean_and_each(ax, shifts_px, each, **looks[name])[0])
        ax.set(title=title, xlabel="shift of the view, px", xticks=shifts_px)
    return lines
