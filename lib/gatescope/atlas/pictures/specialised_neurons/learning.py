"""Draw learning on two levels: courses over a training, and the steps of upstream-downstream learning."""

from collections.abc import Callable, Mapping

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase

from gatescope.pictures.intervals import Curves, Looks, curve_panels

Ends = tuple[tuple[float, float], tuple[float, float]]  # two points, or the limits of two axes


def courses(fig: FigureBase, found: Curves, looks: Looks) -> list[Axes]:
    """Draw found[quantity][variant] over epochs: a panel for each quantity, the mean over seeds and each seed thin.

    `looks` are the line properties of each variant; the legend gives its number of seeds.
    """
    axes, lines = curve_panels(fig, found, looks, "epoch", num_rows=2, sharey=False)
    axes[0].xaxis.get_major_locator().set_params(integer=True)  # which all panels share
    seeds = {variant: len(curves) for variants in found.values() for variant, curves in variants.items()}
    labels = [f"{variant}, {seeds[variant]} seed{'s' * (seeds[variant] > 1)}" for variant in lines]
    fig.legend(lines.values(), labels, loc="outside lower center", ncols=len(lines))
    return axes


def steps_on_plane(
    ax: Axes, loss: Callable[..., np.ndarray], steps: Mapping[str, Ends], looks: Looks, limits: Ends
) -> list[Artist]:
    """Draw steps between points (u, d) of the plane of two parameters as arrows, over contours of loss(u, d).

    `limits` are those of u and of d; `looks` the arrow properties of each step.
    """
    u, d = np.meshgrid(*(np.linspace(*ends, 101) for ends in limits))
    lines = ax.contour(u, d, loss(u, d), 9, colors="#bbbbbb", linewidths=0.7)
    drawn: list[Artist] = [lines, *ax.clabel(lines, fontsize=7, fmt="%.3g")]
    for name, (start, end) in steps.items():
        arrow = {"arrowstyle": "-|>", "shrinkA": 0, "shrinkB": 0, "linewidth": 1.6} | dict(looks[name])
        drawn.append(ax.annotate("", end, start, arrowprops=arrow))
        middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
        upright = abs(end[1] - start[1]) * np.ptp(limits[0]) > abs(end[0] - start[0]) * np.ptp(limits[1])
        shift, ha, va = ((5, 0), "left", "center") if upright else ((0, 4), "center", "bottom")
        note = {"xytext": shift, "textcoords": "offset points", "ha": ha, "va": va, "fontsize": 8}
        note |= {"bbox": {"color": "white", "pad": 0.5}}
        drawn.append(ax.annotate(name, middle, color=looks[name]["color"], **note))
    ax.set(xlim=limits[0], ylim=limits[1], xlabel="u, upstream", ylabel="d, downstream")
    return drawn
