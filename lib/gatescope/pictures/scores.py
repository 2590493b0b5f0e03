"""Pictures of how well networks do: curves over training, scores with intervals, confusions."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D

MARKERS = "os<D^v"


def learning_curve(ax: Axes, scores: Float[np.ndarray, "seeds epochs"], **line) -> list[Artist]:
    """The mean over seeds after each epoch, from 1, and where there are several, a band from the worst to the best."""
    epochs = np.arange(1, scores.shape[1] + 1)
    drawn: list[Artist] = list(ax.plot(epochs, scores.mean(0), **line))
    if len(scores) > 1:
        colour = drawn[0].get_color()
        drawn.append(ax.fill_between(epochs, scores.min(0), scores.max(0), color=colour, alpha=0.25, linewidth=0))
    return drawn


def learning_panels(
    fig: FigureBase, curves: Mapping[str, Float[np.ndarray, "seeds epochs 2"]], colours: Mapping[str, str]
) -> list[Axes]:
    """A panel for each name: its validation (solid) and training scores (dotted), the others' validation in grey."""
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
    ax: Axes,
    scores: Mapping[str, Mapping[str, Float[np.ndarray, "seeds 3"]]],
    colours: Mapping[str, str],
    chance: float,
) -> list[Artist]:
    """Value and interval's ends of every seed, side by side for each name and condition; the first condition is filled.

    A condition may be missing from a name.
    """
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
        handles.append(
            Line2D([], [], marker=marker, color="#555555", markerfacecolor=filled or "#555555", linestyle="none")
        )
    ax.set_xticks(range(len(scores)), list(scores))
    ax.set(ylim=(0, 1), ylabel="accuracy")
    ax.legend([*handles, drawn[0]], [*conditions, "chance"], loc="upper left", bbox_to_anchor=(1, 1))
    return drawn


def confusion(ax: Axes, counts: Int[np.ndarray, "classes classes"], names: Sequence[str] = ()) -> AxesImage:
    """What the clips of each class (row) were taken for (column), as parts of the row; `names` stand at the rows."""
    shown = ax.imshow(counts / np.maximum(counts.sum(1, keepdims=True), 1), vmin=0, vmax=1)
    ax.set_xticks([])
    ax.set_yticks(range(len(names)), names)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return shown


def confusion_panels(
    fig: FigureBase, counts: Mapping[str, Int[np.ndarray, "classes classes"]], names: Sequence[str]
) -> list[Axes]:
    """All networks together, large and with the classes' names; beside it a panel for each."""
    rows = 2
    columns = -(-len(counts) // rows)
    grid = fig.add_gridspec(rows, rows + columns)
    large = fig.add_subplot(grid[:, :rows])
    shown = confusion(large, sum(counts.values()), names)
    large.tick_params(labelsize=7 if len(names) < 20 else 5.5)
    large.set(title="all together", xlabel="taken for, in the same order")
    small = [fig.add_subplot(grid[place // columns, rows + place % columns]) for place in range(len(counts))]
    for ax, (name, own) in zip(small, counts.items(), strict=True):
        confusion(ax, own)
        ax.set_title(name)
    fig.colorbar(shown, ax=small, label="part of the class", shrink=0.8)
    return [large, *small]
