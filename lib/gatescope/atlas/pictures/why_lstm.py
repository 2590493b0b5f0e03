"""Draw gradients through time, by step, by lag and over a training, and units over steps."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.image import AxesImage

from gatescope.pictures.intervals import band


def gradient_bars(ax: Axes, norms: Float[np.ndarray, " lag"], *, total: float, of_sum: float) -> list[Artist]:
    """Draw a bar for the gradient of each step's copy of W, the last step first, then two for all copies.

    `total` is the sum of the norms of all copies, drawn or not; `of_sum` is the norm of their sum.
    """
    lags = np.arange(len(norms))
    drawn: list[Artist] = list(ax.bar(lags, norms, 0.7, color="#0072B2"))
    ends = len(norms) + np.array([0.4, 1.4])
    drawn += ax.bar(ends, [total, of_sum], 0.7, color=["#999999", "black"])
    for at, value in zip([*lags, *ends], [*norms, total, of_sum], strict=True):
        note = f"{value:.2g}" if value < 10 else f"{value:.0f}"
        ax.annotate(note, (at, value), (0, 2), textcoords="offset points", ha="center", fontsize=8)
    names = ["$t$", *(f"$t-{lag}$" for lag in lags[1:])]
    ax.set_xticks([*lags, *ends], [*names, "sum of\nnorms", "norm of\nthe sum"])
    ax.tick_params(axis="x", length=0)
    return drawn


def lag_curve(ax: Axes, log10: Float[np.ndarray, "seeds lag"], **line) -> list[Artist]:
    """Draw the mean over seeds of a logarithm by lag, in a band that holds 90 % of the seeds."""
    curve = np.stack([log10.mean(0), *np.quantile(log10, (0.05, 0.95), axis=0)], axis=1)
    return band(ax, np.arange(len(curve)), curve, **line)


def gradients_over_training(
    ax: Axes, iterations: Sequence[int], log10: Float[np.ndarray, "points lag"], lowest: float
) -> QuadMesh:
    """Draw the logarithm, from `lowest` to 0, of the gradient that arrives at each lag over a training."""
    looks = {"cmap": "magma", "vmin": lowest, "vmax": 0, "shading": "nearest"}
    shown = ax.pcolormesh(iterations, np.arange(log10.shape[1]), log10.T, **looks)
    ax.set_ylim(-0.5, log10.shape[1] - 0.5)
    shown.set_rasterized(True)
    return shown


def units_over_time(
    ax: Axes, values: Float[np.ndarray, "time unit"], order: Sequence[int] | np.ndarray, *, signed: bool = False
) -> AxesImage:
    """Draw a row for each unit, in `order` from the top, a column for each step; from 0 to 1, or symmetric about 0."""
    far = float(np.abs(values).max())
    looks = {"cmap": "RdBu_r", "vmin": -far, "vmax": far} if signed else {"cmap": "viridis", "vmin": 0.0, "vmax": 1.0}
    ax.set_yticks([])
    return ax.imshow(values.T[np.asarray(order)], aspect="auto", **looks)
