"""Draw the classes that neurons serve, the gates of their channels, and one against the other."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.image import AxesImage

from gatescope.pictures.plots import matrix

Parts = Float[np.ndarray, "seed neuron"]  # from 0 to 1
SPATIAL, TEMPORAL = "#0072B2", "#D55E00"
# Surer gates have stronger colours; a step between them, since in evaluation there is no half gate.
GATE_COLOURS = LinearSegmentedColormap.from_list(
    "spatial or temporal", [(0, SPATIAL), (0.5, "#dbe9f4"), (0.5, "#f8e1d3"), (1, TEMPORAL)]
)
ASIDE = 0.08  # from seed to seed within a column, whose width has no meaning


def neuron_names(num_neurons: int) -> list[str]:
    """Return `neuron 1` and so on, counted from 1 as layers are."""
    return [f"neuron {number}" for number in range(1, num_neurons + 1)]


def class_by_neuron(
    ax: Axes, counts: Int[np.ndarray, "class neuron"], names: Sequence[str], families: Sequence[str]
) -> AxesImage:
    """Draw the part of each class's clips that each neuron serves, in percent: a row for each class.

    Classes of one family stand together, in the order of the families' first classes; see `name_families`.
    """
    order, sorted_families = zip(*_in_families(families), strict=True)
    parts = (counts / np.maximum(counts.sum(1, keepdims=True), 1))[list(order)]
    shown = percent_table(ax, parts, [names[row] for row in order], range(1, counts.shape[1] + 1), least=0.005)
    for row, (family, following) in enumerate(pairwise(sorted_families)):
        if family != following:
            ax.axhline(row + 0.5, color="white", linewidth=3)
    return shown


def name_families(ax: Axes, families: Sequence[str]) -> list[Artist]:
    """Write the families' names to the right of a `class_by_neuron` matrix, each at the middle of its rows."""
    rows = [family for _, family in _in_families(families)]
    right = ax.get_xlim()[1] + 0.1
    return [
        ax.text(right, rows.index(family) + (rows.count(family) - 1) / 2, family, va="center", fontsize=8)
        for family in dict.fromkeys(rows)
    ]


def percent_table(
    ax: Axes, parts: Float[np.ndarray, "row column"], rows: Sequence[str], columns: Sequence[object], least: float = 0.0
) -> AxesImage:
    """Draw parts from 0 to 1, in colours and in percent; those below `least`, or unknown, have no number."""
    looks = {"black_above": 0.6, "vmin": 0, "vmax": 1}
    return matrix(ax, parts, rows, columns, text=lambda part: f"{100 * part:.0f}" if part >= least else "", **looks)


def _in_families(families: Sequence[str]) -> list[tuple[int, str]]:
    """Return the number and the family of each class, families together."""
    first = list(dict.fromkeys(families))
    return sorted(enumerate(families), key=lambda row: first.index(row[1]))


def gate_map(ax: Axes, chances: Float[np.ndarray, "neuron channel"]) -> AxesImage:
    """Draw the probability, Phi(g), that a channel is temporal in training: a row for each neuron.

    Above one half the channel is temporal in evaluation. Channels are ordered by their mean over neurons, the most
    spatial first.
    """
    order = np.argsort(chances.mean(0), kind="stable")
    names = neuron_names(len(chances))
    shown = matrix(ax, chances[:, order], names, order.tolist(), cmap=GATE_COLOURS, vmin=0, vmax=1)
    ax.tick_params(axis="x", labelsize=7)
    ax.set_xlabel("channel")
    for edge in range(1, len(chances)):
        ax.axhline(edge - 0.5, color="white", linewidth=3)
    return shown


def fraction_bars(ax: Axes, fractions: Float[np.ndarray, " neuron"]) -> list[Artist]:
    """Draw the part of each neuron's channels that is temporal, the rest spatial, for a place beside a gate map."""
    rows = range(len(fractions))
    drawn: list[Artist] = list(ax.barh(rows, fractions, 0.6, color=TEMPORAL))
    drawn += ax.barh(rows, 1 - fractions, 0.6, left=fractions, color=SPATIAL, alpha=0.25)
    for row, fraction in enumerate(fractions):
        ax.text(fraction + 0.03, row, f"{fraction:.2f}", va="center", fontsize=8)
    ax.set(xlim=(0, 1), ylim=(len(fractions) - 0.5, -0.5), yticks=(), xticks=(0, 0.5, 1))
    ax.spines["left"].set_visible(False)
    return drawn


def fraction_by_service(
    ax: Axes, shares: Parts, fractions: Parts, served: Int[np.ndarray, "seed neuron"]
) -> list[Artist]:
    """Draw the part of each neuron's channels that is temporal, in two columns: what families most of its clips are of.

    `shares` are the parts of its clips from temporal families. A mark's area is the number of clips, its colour the
    seed; a neuron without clips has no mark. A line joins a seed's two means, weighted by clips.
    """
    area = 320 / max(served.max(initial=0), 1)  # square points of the largest mark
    drawn: list[Artist] = []
    for seed, (share, fraction, count) in enumerate(zip(shares, fractions, served, strict=True)):
        sides = [(share <= 0.5) & (count > 0), (share > 0.5) & (count > 0)]
        aside = ASIDE * (seed - (len(shares) - 1) / 2)
        for column, own in enumerate(sides):
            looks = {"facecolor": f"C{seed}", "edgecolor": "white", "alpha": 0.75, "clip_on": False}
            drawn.append(ax.scatter(np.full(own.sum(), column + aside), fraction[own], area * count[own], **looks))
        if all(own.any() for own in sides):
            means = [np.average(fraction[own], weights=count[own]) for own in sides]
            drawn += ax.plot(np.arange(2) + aside, means, color=f"C{seed}", linewidth=1.2, label=f"seed {seed}")
    ax.set(xlim=(-0.5, 1.5), ylim=(0, 1), ylabel="part of its channels that are temporal")
    ax.set_xticks(
        (0, 1), ["neurons with most clips\nfrom other families", "neurons with most clips\nfrom temporal families"]
    )
    ax.tick_params(axis="x", length=0)
    return drawn
