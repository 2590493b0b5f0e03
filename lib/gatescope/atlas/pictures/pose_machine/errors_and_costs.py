"""Draw a pose machine's errors by joint, the frames its poses depend on, and its parameters."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.image import AxesImage

from gatescope.atlas.pictures.pose_machine.skeletons import SHADE
from gatescope.pictures.intervals import Looks, name_rows
from gatescope.pictures.plots import matrix
from rendered_people.skeleton import JOINT_NAMES

Course = Float[np.ndarray, " time"]
DECADES = 4  # of influence in the colour scale


def shade_hidden(ax: Axes, hidden: Bool[np.ndarray, " time"]) -> list[Artist]:
    """Shade each run of frames, counted from 1, in which the body is hidden."""
    edges = np.flatnonzero(np.diff(np.pad(hidden.astype(int), 1)))
    return [ax.axvspan(*ends, color=SHADE, zorder=0, linewidth=0) for ends in edges.reshape(-1, 2) + 0.5]


def joint_courses(
    ax: Axes, truth: Course, predicted: Mapping[str, Course], looks: Looks, hidden: Bool[np.ndarray, " time"]
) -> list[Artist]:
    """Draw one coordinate of a joint over frames, mm: the truth thick in grey, each prediction with its looks."""
    times = np.arange(1, len(truth) + 1)
    drawn = shade_hidden(ax, hidden)
    drawn += ax.plot(times, truth, color="#b0b0b0", linewidth=4, label="truth", solid_capstyle="round")
    for name, course in predicted.items():
        drawn += ax.plot(times, course, **{"label": name, "marker": "o", "markersize": 3} | dict(looks[name]))
    ax.set(xlabel="frame", xlim=(0.5, len(truth) + 0.5), xticks=times)
    return drawn


def joint_map(ax: Axes, errors: Float[np.ndarray, "columns 17"], columns: Sequence[str]) -> AxesImage:
    """Draw each joint's error in mm, the worst on top, a column for each network; the pelvis, always 0, is left out."""
    moving = 1 + np.argsort(-errors[:, 1:].mean(0), kind="stable")
    names = [JOINT_NAMES[joint] for joint in moving]
    half = errors[:, 1:].max() / 2
    return matrix(ax, errors[:, moving].T, names, columns, text="{:.0f}".format, black_above=half, cmap="magma", vmin=0)


def influence_map(ax: Axes, influence: Float[np.ndarray, "time time"]) -> AxesImage:
    """Draw the dependence of each frame's pose (row) on each frame's pixels (column), relative to the largest.

    Colours are logarithmic, over four powers of ten; exact zeros are white.
    """
    part = influence / influence.max()
    scale = LogNorm(10.0**-DECADES, 1)
    values = np.where(part > 0, part.clip(scale.vmin), np.nan)
    frames = range(1, len(influence) + 1)
    ax.set(xlabel="pixels of frame", ylabel="pose of frame")
    return matrix(ax, values, frames, frames, cmap="viridis", norm=scale, aspect="equal")


def stacked_counts(
    ax: Axes, counts: Mapping[str, Mapping[str, int]], colours: Mapping[str, str], unit: float = 1e6
) -> list[Artist]:
    """Draw a bar for each name, stacked from its parts in units of `unit`, with their sum at its end."""
    drawn: list[Artist] = []
    for place, parts in enumerate(counts.values()):
        before = 0.0
        for part, count in parts.items():
            drawn += ax.barh(place, count / unit, left=before, color=colours[part], height=0.7, label=part)
            before += count / unit
        drawn.append(ax.text(before, place, f" {sum(parts.values()):,}", va="center", fontsize=8))
    name_rows(ax, list(counts))
    return drawn
