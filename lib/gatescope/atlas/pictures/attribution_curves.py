"""Draw attributions: shares of steps and gates, removal of pixels, randomised weights."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.artist import Artist
from matplotlib.axes import Axes

from gatescope.pictures.intervals import Colours, Interval, band, mean_and_each

GATE_COLOURS = {"i": "#0072B2", "f": "#56B4E9", "o": "#009E73", "g": "#D55E00"}


def share_bars(ax: Axes, shares: Mapping[str, Float[np.ndarray, " step"]]) -> list[Artist]:
    """Draw stacked bars of each gate's share at each step, from 1, negative ones downwards; a ring is the sum."""
    drawn: list[Artist] = []
    total = np.zeros(len(next(iter(shares.values()))))
    above, below = total.copy(), total.copy()
    steps = np.arange(1, len(total) + 1)
    for name, values in shares.items():
        base = np.where(values > 0, above, below)
        drawn += ax.bar(steps, values, bottom=base, color=GATE_COLOURS[name], width=0.75, label=name)
        above, below, total = above + values.clip(0), below + values.clip(max=0), total + values
    drawn += ax.plot(steps, total, "o", color="black", markerfacecolor="white", markersize=3.5, label="sum")
    drawn.append(ax.axhline(0, color="black", linewidth=0.6))
    ax.set_xticks(steps)
    return drawn


def removal_curves(
    ax: Axes, parts: Sequence[float], curves: Mapping[str, Float[np.ndarray, "seeds clips parts"]], colours: Colours
) -> list[Artist]:
    """Draw the class's probability over the part removed: the mean over clips and networks, each network thin.

    The horizontal axis is a square root: most changes happen where little is removed.
    """
    drawn: list[Artist] = []
    for name, found in curves.items():
        drawn += mean_and_each(ax, parts, found.mean(1), color=colours[name], marker="o", markersize=3, label=name)
    # The axis also asks for roots slightly below 0.
    ax.set_xscale("function", functions=(lambda values: np.sqrt(np.clip(values, 0, None)), np.square))
    ax.set(xlim=(0, parts[-1]), ylim=(0, 1))
    ax.set_xticks(parts, [f"{100 * part:g}" for part in parts])
    return drawn


def spoilt_curves(
    ax: Axes, stages: Sequence[str], correlations: Mapping[str, Sequence[Interval]], colours: Colours
) -> list[Artist]:
    """Draw the rank correlation with the trained network's maps over randomised parts, in the band of its intervals."""
    drawn: list[Artist] = [ax.axhline(0, color="#999999", linewidth=0.8)]
    places = np.arange(len(stages))
    for name, found in correlations.items():
        drawn += band(ax, places, found, color=colours[name], marker="o", label=name)
    ax.set_xticks(places, stages)
    ax.set(ylim=(-1.05, 1.05), ylabel="rank correlation")
    return drawn


def not_returned(ax: Axes, num_missing: int, width: float, height: float, words: str) -> list[Artist]:
    """Cover a strip's first `num_missing` pictures, each `width` wide, with `words`."""
    right = num_missing * width
    cover = ax.fill_between([-0.5, right - 2], -0.5, height - 0.5, color="#eeeeee", linewidth=0, zorder=5)
    return [cover, ax.text(right / 2, height / 2, words, ha="center", va="center", color="#555555", zorder=6)]
