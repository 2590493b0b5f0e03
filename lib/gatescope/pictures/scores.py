"""Draw scores of networks: curves over training, accuracies with intervals, confusion matrices."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D

from gatescope.pictures.intervals import Colours, band
from gatescope.pictures.plots import matrix

MARKERS = "os<D^v"


def learning_curve(ax: Axes, scores: Float[np.ndarray, "seeds epochs"], **line) -> list[Artist]:
    """Draw the mean over seeds after each epoch, from 1, in a band from the worst seed to the best."""
    curve = np.stack([scores.mean(0), scores.min(0), scores.max(0)], axis=1)
    return band(ax, np.arange(1, len(curve) + 1), curve, **line)


def learning_panels(
    fig: FigureBase, curves: Mapping[str, Float[np.ndarray, "seeds epochs 2"]], colours: Colours
) -> list[Axes]:
    """Draw a panel for each name: validation (solid) and training scores (dotted), the others' validation in grey."""
    axes = fig.subplots(1, len(curves), sharex=True, sharey=True)
    for ax, (name, own) in zip(axes, curves.items(), strict=True):
        for other in curves.values():
            ax.plot(np.arange(1, other.shape[1] + 1), other[..., 0].mean(0), color="#cccccc", linewidth=0.8)
        learning_curve(ax, own[..., 1], color=colours[name], linestyle=":", linewidth=1.0)
        learning_curve(ax, own[..., 0], color=colours[name])
        ax.set(xlabel="epoch", ylim=(0, 1))
        ax.set_title(name, color=colours[name])
    axes[0].set_ylabel("accuracy")
    return list(axes)


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


def confusion(ax: Axes, counts: Int[np.ndarray, "classes classes"], names: Sequence[str] = ()) -> AxesImage:
    """Draw the answers (column) for clips of each class (row), as parts of the row; `names` stand at the rows."""
    parts = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    return matrix(ax, parts, names, (), vmin=0, vmax=1, aspect="equal")


def confusion_panels(
    fig: FigureBase, counts: Mapping[str, Int[np.ndarray, "classes classes"]], names: Sequence[str]
) -> list[Axes]:
    """Draw the confusion of all networks together, large and with the classes' names, and beside it one for each."""
    columns = -(-len(counts) // 2)
    grid = fig.add_gridspec(2, 2 + columns)
    large = fig.add_subplot(grid[:, :2])
    shown = confusion(large, sum(counts.values()), names)
    large.tick_params(labelsize=7 if len(names) < 20 else 5.5)
    large.set(title="all together", xlabel="taken for, in the same order")
    small = [fig.add_subplot(grid[place // columns, 2 + place % columns]) for place in range(len(counts))]
    for ax, (name, own) in zip(small, counts.items(), strict=True):
        confusion(ax, own)
        ax.set_title(name)
    fig.colorbar(shown, ax=small, label="part of the class", shrink=0.8)
    return [large, *small]
