"""Draw the routing of clips to neurons: pulses, their margins, pooled features, and the flow through layers."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.image import AxesImage
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path
from scipy.special import softmax

from gatescope.atlas.pictures.specialised_neurons.neurons import neuron_names
from gatescope.pictures.plots import bare, matrix

# Up to four neurons share no colour with families or with spatial and temporal.
NEURON_COLOURS = ("#009E73", "#CC79A7", "#000000", "#999999", "#F0E442", "#E69F00", "#56B4E9", "#0072B2")
Clips = Int[np.ndarray, " clips"]  # a number for each
NODE_WIDTH, GAP = 0.06, 0.03  # of a flow's nodes: part of the distance between stages, and of the height


def pulse_matrix(ax: Axes, pulses: Float[np.ndarray, "clips neuron"], chosen: Clips) -> tuple[AxesImage, Artist]:
    """Draw each neuron's pulse (row) for each clip (column), less the clip's mean, which cancels in the softmax.

    A dot marks the neuron that serves the clip. Colours are symmetric about 0 and end at the 98 % quantile.
    """
    above = pulses - pulses.mean(1, keepdims=True)
    reach = float(np.quantile(np.abs(above), 0.98)) or 1.0
    names = neuron_names(pulses.shape[1])
    shown = matrix(ax, above.T, names, (), cmap="RdBu_r", vmin=-reach, vmax=reach, interpolation="none")
    (dots,) = ax.plot(np.arange(len(chosen)), chosen, "o", color="black", markersize=0.9, markeredgewidth=0)
    dots.set_rasterized(True)
    return shown, dots


def softmax_margins(ax: Axes, pulses: Float[np.ndarray, "clips neuron"]) -> list[Artist]:
    """Draw the softmax probability of each clip's likeliest neuron less that of the next, 0 to 1; 1 for one neuron."""
    chances = np.sort(softmax(pulses, axis=1), axis=1)
    margins = chances[:, -1] - (chances[:, -2] if chances.shape[1] > 1 else 0)
    drawn: list[Artist] = list(ax.plot(margins, ".", color="#555555", markersize=2))
    ax.set(xlim=(-0.5, len(margins) - 0.5), ylim=(0, 1.02), yticks=(0, 0.5, 1))
    return drawn


def mark_groups(ax: Axes, groups: Sequence[str]) -> list[Artist]:
    """Draw lines between groups of columns and write each group's name below; a group's columns stand together."""
    kinds = list(dict.fromkeys(groups))
    ends = np.cumsum([groups.count(kind) for kind in kinds])
    starts = np.concatenate([[0], ends[:-1]])
    ax.set_xticks((starts + ends - 1) / 2, kinds)
    ax.tick_params(axis="x", length=0)
    return [ax.axvline(end - 0.5, color="black", linewidth=0.8) for end in ends[:-1]]


def principal_plane(
    ax: Axes, features: Float[np.ndarray, "clips channel"], members: Clips, looks: Mapping[str, str]
) -> list[PathCollection]:
    """Draw clips on the first two principal components of their features, in their groups' colours.

    `looks` has each group's name and colour, in the order of the numbers in `members`.
    """
    centred = features - features.mean(0)
    _, sizes, axes = np.linalg.svd(np.float64(centred), full_matrices=False)
    # The sign of a component is arbitrary: its largest weight is made positive.
    axes = axes * np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(1)])[:, None]
    plane = centred @ axes[:2].T
    drawn = []
    for group, (name, colour) in enumerate(looks.items()):
        own = plane[members == group]
        if len(own):
            drawn.append(ax.scatter(*own.T, s=9, color=colour, alpha=0.6, linewidth=0, label=name))
    parts = 100 * sizes**2 / (sizes**2).sum()
    labels = {"xlabel": f"first direction, {parts[0]:.0f} % of the variance", "ylabel": f"second, {parts[1]:.0f} %"}
    ax.set(xticks=(), yticks=(), **labels)
    return drawn


def flow(ax: Axes, stages: Mapping[str, tuple[Clips, Sequence[str]]], colours: Sequence[str]) -> list[Artist]:
    """Draw the flow of clips through stages from left to right, ribbons as wide as their part of the clips.

    A stage holds each clip's node and the nodes' names; nodes without clips are left out. A ribbon has the colour of
    its node in the first stage.
    """
    bare(ax)
    places = [_node_places(members, len(names)) for members, names in stages.values()]
    drawn: list[Artist] = []
    nodes = [members for members, _ in stages.values()]
    for x, (left, right) in enumerate(pairwise(nodes)):
        for start, end, height, colour in _ribbons(left, right, nodes[0], places[x], places[x + 1]):
            shape = _ribbon(x + NODE_WIDTH / 2, x + 1 - NODE_WIDTH / 2, start, end, height)
            drawn.append(ax.add_patch(PathPatch(shape, facecolor=colours[colour], alpha=0.6, linewidth=0)))
    box = {"color": "#333333", "linewidth": 0}
    for x, ((title, (members, names)), bottoms) in enumerate(zip(stages.items(), places, strict=True)):
        for node in np.unique(members):
            part = (members == node).mean()
            drawn.append(ax.add_patch(Rectangle((x - NODE_WIDTH / 2, bottoms[node]), NODE_WIDTH, part, **box)))
            sign, ha = (-1, "right") if x == 0 else (1, "left")
            place = x + sign * 0.7 * NODE_WIDTH, bottoms[node] + part / 2
            ax.text(*place, f"{names[node]}, {part:.0%}", ha=ha, va="center", fontsize=8)
        ax.text(x, -0.04, title, ha="center", va="bottom")
    ax.set(xlim=(-0.55, len(stages) - 0.45), ylim=(1 + GAP * max(map(len, places)), -0.12))
    return drawn


def _node_places(members: Clips, num_nodes: int) -> Float[np.ndarray, " nodes"]:
    """Return where each node begins, from the top, with gaps between nodes that have clips."""
    parts = np.bincount(members, minlength=num_nodes) / len(members)
    return np.concatenate([[0], np.cumsum(parts + GAP * (parts > 0))[:-1]])


def _ribbons(
    left: Clips, right: Clips, origin: Clips, left_places: np.ndarray, right_places: np.ndarray
) -> list[tuple[float, float, float, int]]:
    """Return start, end, height and origin of each group of clips with the same two nodes and origin."""
    kinds, counts = np.unique(np.stack([left, right, origin], 1), axis=0, return_counts=True)
    heights = counts / len(left)
    starts, ends = np.empty(len(kinds)), np.empty(len(kinds))
    for places, own, other, found in ((left_places, 0, 1, starts), (right_places, 1, 0, ends)):
        taken = places.copy()
        for each in np.lexsort((kinds[:, 2], kinds[:, other], kinds[:, own])):
            found[each] = taken[kinds[each, own]]
            taken[kinds[each, own]] += heights[each]
    return [(*each, int(kind[2])) for *each, kind in zip(starts, ends, heights, kinds, strict=True)]


def _ribbon(x_left: float, x_right: float, y_left: float, y_right: float, height: float) -> Path:
    """Return the area between two curves that are level at both ends."""
    middle = (x_left + x_right) / 2
    above = [(x_left, y_left), (middle, y_left), (middle, y_right), (x_right, y_right)]
    below = [(x, y + height) for x, y in reversed(above)]
    curve = [Path.CURVE4] * 3
    return Path([*above, *below, above[0]], [Path.MOVETO, *curve, Path.LINETO, *curve, Path.CLOSEPOLY])
