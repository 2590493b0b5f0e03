"""Pictures of what a pose machine does: where it errs, what its poses depend on, what it costs."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.image import AxesImage

from gatescope.atlas.pictures.pose_machine.skeletons import SHADE
from gatescope.pictures.intervals import name_rows
from gatescope.pictures.plots import bare
from rendered_people.skeleton import JOINT_NAMES

DECADES = 4  # of influence that colours tell apart


def shade_hidden(ax: Axes, hidden: Bool[np.ndarray, " time"]) -> list[Artist]:
    """A shade over each run of frames, counted from 1, in which something hides the body."""
    edges = np.flatnonzero(np.diff(np.pad(hidden.astype(int), 1)))
    spans = zip(edges[::2], edges[1::2], strict=True)
    return [ax.axvspan(start + 0.5, end + 0.5, color=SHADE, zorder=0, linewidth=0) for start, end in spans]


def joint_courses(
    ax: Axes,
    truth: Float[np.ndarray, " time"],
    predicted: Mapping[str, Float[np.ndarray, " time"]],
    looks: Mapping[str, Mapping[str, object]],
    hidden: Bool[np.ndarray, " time"],
) -> list[Artist]:
    """One coordinate of one joint over frames, mm: the truth thick in grey, each prediction with its looks."""
    times = np.arange(1, len(truth) + 1)
    drawn = shade_hidden(ax, hidden)
    drawn += ax.plot(times, truth, color="#b0b0b0", linewidth=4, label="truth", solid_capstyle="round")
    for name, course in predicted.items():
        drawn += ax.plot(times, course, **{"label": name, "marker": "o", "markersize": 3} | dict(looks[name]))
    ax.set(xlabel="frame", xlim=(0.5, len(truth) + 0.5), xticks=times)
    return drawn


def joint_map(ax: Axes, errors: Float[np.ndarray, "columns 17"], columns: Sequence[str]) -> AxesImage:
    """The error of each joint but the pelvis, which is at 0 by definition: worst on top, a column for each network.

    In mm, in numbers and in colours that begin at 0.
    """
    moving = 1 + np.argsort(-errors[:, 1:].mean(0), kind="stable")
    shown = ax.imshow(errors[:, moving].T, cmap="magma", vmin=0, aspect="auto")
    for (row, column), value in np.ndenumerate(errors[:, moving].T):
        bright = value > errors[:, 1:].max() / 2
        ax.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=7, color="black" if bright else "white")
    bare(ax)
    ax.set_xticks(range(len(columns)), columns)
    ax.set_yticks(range(len(moving)), [JOINT_NAMES[joint] for joint in moving])
    ax.tick_params(length=0)
    return shown


def influence_map(ax: Axes, influence: Float[np.ndarray, "time time"]) -> AxesImage:
    """How much the pose of each frame (row) depends on each frame's pixels (column), as parts of the largest.

    Colours are logarithmic, over four powers of ten; what is exactly 0 is left white.
    """
    part = influence / influence.max()
    scale = LogNorm(10.0**-DECADES, 1)
    shown = ax.imshow(np.where(part > 0, part.clip(scale.vmin), np.nan), cmap="viridis", norm=scale)
    ticks = range(len(influence))
    ax.set_xticks(ticks, [t + 1 for t in ticks])
    ax.set_yticks(ticks, [t + 1 for t in ticks])
    ax.set(xlabel="pixels of frame", ylabel="pose of frame")
    ax.tick_params(length=0)
    return shown


def stacked_counts(
    ax: Axes, counts: Mapping[str, Mapping[str, int]], colours: Mapping[str, str], unit: float = 1e6
) -> list[Artist]:
    """A bar for each name, of its parts one after another, their sum at its end; in units of `unit`."""
    drawn: list[Artist] = []
    for place, parts in enumerate(counts.values()):
        before = 0.0
        for part, count in parts.items():
            drawn += ax.barh(place, count / unit, left=before, color=colours[part], height=0.7, label=part)
            before += count / unit
        drawn.append(ax.text(before, place, f" {sum(parts.values()):,}", va="center", fontsize=8))
    name_rows(ax, list(counts))
    return drawn
