"""Pictures of how well networks do: curves over training, scores with intervals, confusions."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.image import AxesImage


def learning_curve(
    ax: Axes, scores: Float[np.ndarray, "seeds epochs"], colour: str, label: str = "", **line
) -> list[Artist]:
    """The mean over seeds after each epoch, from 1, a band from the worst to the best, and a label at the end."""
    epochs = np.arange(1, scores.shape[1] + 1)
    drawn: list[Artist] = list(ax.plot(epochs, scores.mean(0), color=colour, **line))
    if len(scores) > 1:
        drawn.append(ax.fill_between(epochs, scores.min(0), scores.max(0), color=colour, alpha=0.25, linewidth=0))
    if label:
        drawn.append(
            ax.annotate(
                label,
                (epochs[-1], scores[:, -1].mean()),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                color=colour,
                fontsize=8,
            )
        )
    return drawn


def scores_with_intervals(
    ax: Axes,
    x: float,
    scores: Float[np.ndarray, " seeds"],
    intervals: Float[np.ndarray, "seeds 2"],
    **marker,
) -> list[Artist]:
    """One marker a seed with its interval, side by side around `x`."""
    places = x + 0.05 * (np.arange(len(scores)) - (len(scores) - 1) / 2)
    lengths = np.abs(intervals.T - scores)
    looks = {"linestyle": "none", "elinewidth": 1.0, "markersize": 5} | marker
    return ax.errorbar(places, scores, lengths, **looks).get_children()


def confusion(ax: Axes, counts: Int[np.ndarray, "classes classes"], names: Sequence[str] = ()) -> AxesImage:
    """What the clips of each class (row) were taken for (column), as parts of the row; `names` stand at the rows."""
    parts = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    shown = ax.imshow(parts, cmap="viridis", vmin=0, vmax=1)
    ax.set_xticks([])
    ax.set_yticks(range(len(names)), names)
    ax.tick_params(length=0)
    ax.set_xlabel("taken for")
    return shown
