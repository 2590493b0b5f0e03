"""Draw decisions by noise: draws of Gumbel-Softmax among three, and bits of Improved SemHash."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.artist import Artist
from matplotlib.axes import Axes

from gatescope.pictures.plots import bare

CORNERS = np.array([[0, 0], [1, 0], [0.5, np.sqrt(0.75)]])  # of the simplex, which has sides of length 1


def simplex(
    ax: Axes, draws: Float[np.ndarray, "draws 3"], colours: Sequence[str], chances: Float[np.ndarray, " 3"]
) -> list[Artist]:
    """Draw shares of three that sum to 1 as points of a triangle, in the colour of the largest share.

    Each corner is labelled with the frequency of its share being the largest, and in brackets its softmax probability.
    """
    winners = draws.argmax(1)
    drawn: list[Artist] = list(ax.plot(*CORNERS[[0, 1, 2, 0]].T, color="#777777", linewidth=0.8))
    for corner, colour in enumerate(colours):
        own = draws[winners == corner] @ CORNERS
        drawn.append(ax.scatter(*own.T, s=5, color=colour, alpha=0.4, linewidth=0, rasterized=True, clip_on=False))
        away = CORNERS[corner] - CORNERS.mean(0)
        x, y = CORNERS[corner] + 0.22 * away / np.hypot(*away)
        text = f"{(winners == corner).mean():.2f}\n({chances[corner]:.2f})"
        drawn.append(ax.text(x, y, text, ha="center", va="center", fontsize=8, color=colour))
    bare(ax)
    ax.set(xlim=(-0.33, 1.33), ylim=(-0.3, 1.2), aspect="equal")
    return drawn


def bit_histogram(
    ax: Axes, alpha: Float[np.ndarray, " draws"], beta: Float[np.ndarray, " draws"], chance: float, colour: str
) -> list[Artist]:
    """Draw a histogram of a gate's soft bits, alpha, and the frequencies of its hard bit, beta.

    Bars are parts of all draws: filled for alpha, in tenths; outlined for beta, at 0 and 1. A line marks the `chance`
    of beta being 1.
    """
    edges = np.linspace(0, 1, 11)
    parts, _ = np.histogram(alpha, edges)
    drawn: list[Artist] = list(ax.bar(edges[:-1] + 0.05, parts / len(alpha), 0.09, color=colour, alpha=0.6))
    ones = float(beta.mean())
    drawn += ax.bar((-0.12, 1.12), (1 - ones, ones), 0.12, fill=False, edgecolor="black", linewidth=1)
    drawn += ax.plot((1.03, 1.21), (chance, chance), color=colour, linewidth=2.5)
    ax.set(xlim=(-0.22, 1.25), ylim=(0, 1), xticks=(-0.12, 0.5, 1.12))
    ax.set_xticklabels(["$\\beta$\n0", "$\\alpha$\n0 to 1", "$\\beta$\n1"])
    ax.tick_params(axis="x", length=0)
    return drawn
