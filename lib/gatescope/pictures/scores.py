"""Draw scores of networks: curves over training, accuracies with intervals, confusion matrices."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D

from gatescope.pictures.intervals import Colours, band, label_ends
from gatescope.pictures.plots import matrix

MARKERS = "os<D^v"
TOLD = 0.05  # part of a class that is written into its tile


def learning_curve(ax: Axes, scores: Float[np.ndarray, "seeds epochs"], **line) -> list[Artist]:
    """Draw the mean over seeds after each epoch, from 1, in a band from the worst seed to the best."""
    curve = np.stack([scores.mean(0), scores.min(0), scores.max(0)], axis=1)
    return band(ax, np.arange(1, len(curve) + 1), curve, **line)


def learning_curves(
    ax: Axes, curves: Mapping[str, Float[np.ndarray, "seeds epochs 2"]], colours: Colours
) -> list[Artist]:
    """Draw each name's validation (solid, named at its end) and training scores (dotted) in one panel."""
    lines = {}
    for name, own in curves.items():
        ax.plot(np.arange(1, own.shape[1] + 1), own[..., 1].mean(0), color=colours[name], linestyle=":", linewidth=1.0)
        lines[name] = learning_curve(ax, own[..., 0], color=colours[name])[0]
    ax.set(xlabel="epoch", ylabel="accuracy (dotted: training clips)", ylim=(0, 1))
    ax.xaxis.get_major_locator().set_params(integer=True)
    return [*lines.values(), *label_ends(ax, lines)]


def accuracy_chart(
    ax: Axes, scores: Mapping[str, Mapping[str, Float[np.ndarray, "seeds 3"]]], colours: Colours, chance: float
) -> list[Artist]:
    """Draw every seed's value and interval for each name and each condition that it has; the first one is filled."""
    conditions = list(dict.fromkeys(condition for found in scores.values() for condition in found))
    width = 0.8 / len(conditions)
    drawn: list[Artist] = [ax.axhline(chance, color="#999999", linewidth=0.8, linestyle="--")]
    handles = []
    for number, (condition, marker) in enumerate(zip(conditions, MARKERS, strict=False)):
        filled = None if number == 0 else "white"
        for place, (name, found) in enumerate(scores.items()):
            value, low, high = found.get(condition, np.empty((0, 3))).T
            at = place + (number - (len(conditions) - 1) / 2) * width
            at = at + (np.arange(len(value)) - (len(value) - 1) / 2) * width / (len(value) + 1)
            looks = {"color": colours[name], "markerfacecolor": filled or colours[name], "markersize": 5}
            bars = ax.errorbar(at, value, (value - low, high - value), marker=marker, linestyle="none", **looks)
            drawn += bars.get_children()
        grey = {"color": "#555555", "markerfacecolor": filled or "#555555"}
        handles.append(Line2D([], [], marker=marker, linestyle="none", **grey))
    ax.set_xticks(range(len(scores)), list(scores))
    ax.set(ylim=(0, 1), ylabel="accuracy")
    ax.legend([*handles, drawn[0]], [*conditions, "chance"], loc="upper left", bbox_to_anchor=(1, 1))
    return drawn


def confusion(ax: Axes, counts: Int[np.ndarray, "classes classes"], names: Sequence[str]) -> AxesImage:
    """Draw the answers (column) for clips of each class (row), as parts of the row, with those from TOLD on in percent.

    `names` stand at the rows; columns are in the same order.
    """
    parts = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    told = {"text": lambda part: f"{100 * part:.0f}" if part >= TOLD else "", "black_above": 0.6}
    shown = matrix(ax, parts, names, (), vmin=0, vmax=1, aspect="equal", **told)
    ax.set_xlabel("taken for, in the same order")
    return shown
