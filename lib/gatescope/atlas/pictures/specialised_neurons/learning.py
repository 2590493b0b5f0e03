"""Draw learning on two levels: where trainings end, and the steps of upstream-downstream learning."""

from collections.abc import Callable, Mapping

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase

from gatescope.pictures.intervals import Colours, Curves, Looks, name_rows

Ends = tuple[tuple[float, float], tuple[float, float]]  # two points, or the limits of two axes


def ends(fig: FigureBase, found: Curves, colours: Colours) -> list[Axes]:
    """Draw found[quantity][variant] after the last epoch: a panel for each quantity, a row for each variant.

    A dot is a seed, the bar their mean; the rows' names give the number of seeds.
    """
    axes = fig.subplots(1, len(found), sharey=True, squeeze=False)[0]
    for ax, (quantity, variants) in zip(axes, found.items(), strict=True):
        for row, (variant, curves) in enumerate(variants.items()):
            last = curves[:, -1]
            ax.plot(last, np.full(len(last), row), "o", color=colours[variant], alpha=0.6, clip_on=False)
            ax.plot([last.mean()], [row], "|", color=colours[variant], markersize=16, markeredgewidth=2)
        ax.set_title(quantity)
    seeds = {variant: len(curves) for variant, curves in next(iter(found.values())).items()}
    name_rows(axes[0], [f"{variant}, {count} seed{'s' * (count > 1)}" for variant, count in seeds.items()])
    return list(axes)


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
