"""Pictures of attributions: shares of steps and gates, curves of removal, what is left when weights are lost."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.artist import Artist
from matplotlib.axes import Axes

GATE_COLOURS = {"i": "#0072B2", "f": "#56B4E9", "o": "#009E73", "g": "#D55E00"}


def share_bars(ax: Axes, shares: Mapping[str, Float[np.ndarray, " step"]]) -> list[Artist]:
    """Stacked bars of what passes each gate at each step, from 1, what is below 0 downwards; a ring is the sum."""
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


def interval_rows(
    ax: Axes, rows: Mapping[str, Mapping[str, tuple[float, float, float]]], colours: Mapping[str, str]
) -> list[Artist]:
    """A row for each name, with a value and its interval for each condition, above one another and named by colour."""
    drawn: list[Artist] = []
    conditions = list(dict.fromkeys(condition for found in rows.values() for condition in found))
    for number, condition in enumerate(conditions):
        at = [
            (place + 0.7 * ((number + 0.5) / len(conditions) - 0.5), *found[condition])
            for place, found in enumerate(rows.values())
            if condition in found and np.isfinite(found[condition][0])
        ]
        if not at:
            continue
        y, value, low, high = np.array(at).T
        bars = ax.errorbar(
            value,
            y,
            xerr=np.maximum((value - low, high - value), 0),
            fmt="o",
            color=colours[condition],
            markersize=4,
            linewidth=1.2,
            label=condition,
        )
        drawn += bars.get_children()
    ax.set_yticks(range(len(rows)), list(rows))
    ax.set_ylim(len(rows) - 0.5, -0.5)
    return drawn


def removal_curves(
    ax: Axes,
    parts: Sequence[float],
    curves: Mapping[str, Float[np.ndarray, "seeds clips parts"]],
    colours: Mapping[str, str],
) -> list[Artist]:
    """The class's probability over the part removed, the mean over clips and networks; a thin line each network.

    The horizontal axis is a square root: most happens where little is removed.
    """
    drawn: list[Artist] = []
    for name, found in curves.items():
        if len(found) > 1:
            drawn += ax.plot(parts, found.mean(1).T, color=colours[name], linewidth=0.5, alpha=0.5)
        drawn += ax.plot(parts, found.mean((0, 1)), "o-", color=colours[name], markersize=3, label=name)
    ax.set_xscale("function", functions=(_root, np.square))
    ax.set(xlim=(0, parts[-1]), ylim=(0, 1))
    ax.set_xticks(parts, [f"{100 * part:g}" for part in parts])
    return drawn


def spoilt_curves(
    ax: Axes,
    stages: Sequence[str],
    correlations: Mapping[str, Float[np.ndarray, "stages clips"]],
    colours: Mapping[str, str],
) -> list[Artist]:
    """Rank correlation with the trained network's maps as part after part loses its weights; a thin line a clip."""
    drawn: list[Artist] = [ax.axhline(0, color="#999999", linewidth=0.8)]
    places = np.arange(len(stages))
    for name, found in correlations.items():
        drawn += ax.plot(places, found, color=colours[name], linewidth=0.4, alpha=0.4)
        mean = np.ma.masked_invalid(found).mean(1).filled(np.nan)
        drawn += ax.plot(places, mean, "o-", color=colours[name], label=name)
    ax.set_xticks(places, stages)
    ax.set(ylim=(-1.05, 1.05), ylabel="rank correlation")
    return drawn


def not_returned(ax: Axes, num_missing: int, width: float, height: float, words: str) -> list[Artist]:
    """Say in a strip's first pictures, each `width` wide, that there is nothing."""
    right = num_missing * width
    drawn: list[Artist] = [
        ax.fill_between([-0.5, right - 2], -0.5, height - 0.5, color="#eeeeee", linewidth=0, zorder=5)
    ]
    drawn.append(ax.text(right / 2, height / 2, words, ha="center", va="center", color="#555555", zorder=6))
    return drawn


def _root(values: np.ndarray) -> np.ndarray:
    """The square root, for axes: they also ask for what is a little below 0."""
    return np.sqrt(np.clip(values, 0, None))
