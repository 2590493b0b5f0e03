"""Skeletons as lines: in a view, beside the truth in two views, and over time.

Poses are in mm from the pelvis, in camera axes: x right, y down, z away. Limbs have their colours from the person's own
sides, so that a mirrored guess is seen; what is true is grey and lies behind.
"""

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
from jaxtyping import Bool, Float, UInt8
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from matplotlib.lines import Line2D

from gatescope.pictures.plots import bare
from rendered_people.skeleton import LEFT, PARENTS, RIGHT

Pose = Float[np.ndarray, "17 3"]
Poses = Float[np.ndarray, "time 17 3"]

TRUNK = tuple(sorted(set(range(1, len(PARENTS))) - {*RIGHT, *LEFT}))
PARTS = {"right limbs": RIGHT, "left limbs": LEFT, "trunk and head": TRUNK}
COLOURS = dict(zip(PARTS, ("#D55E00", "#009E73", "#0072B2"), strict=True))  # near those of the rendered suit
TRUTH = "#b0b0b0"
SHADE = "#ececec"  # behind frames in which something hides the body
# The axes that lie across and upright: the camera's own view, that of somebody to its right, and from above.
VIEWS = {"front": (0, 1), "side": (2, 1), "above": (0, 2)}
IN_WORDS = {"front": "from the camera", "side": "from its right", "above": "from above"}
SCALE_MM = 500
MARGIN_MM = 60  # around what is drawn


def strokes(pose: Pose, part: str) -> Float[np.ndarray, "points 3"]:
    """The bones of one of PARTS as points to be joined: its two ends, then NaN, where the pen is lifted."""
    joints = list(PARTS[part])
    ends = np.stack([pose[[PARENTS[joint] for joint in joints]], pose[joints]], axis=1)
    return np.pad(ends, ((0, 0), (0, 1), (0, 0)), constant_values=np.nan).reshape(-1, 3)


def skeleton(ax: Axes, pose: Pose, view: str = "front", *, across: float = 0.0, **line) -> list[Line2D]:
    """One line for each of PARTS, in its colour unless `line` says otherwise, moved by `across` mm.

    `view` is one of VIEWS. The axis from the camera away points to the right from the side and up from above.
    """
    drawn = []
    for part, colour in COLOURS.items():
        points = strokes(pose, part)[:, VIEWS[view]]
        looks = {"color": colour, "linewidth": 1.8, "solid_capstyle": "round"} | line
        drawn += ax.plot(points[:, 0] + across, points[:, 1], **looks)
    return drawn


def scale_bar(ax: Axes, length: float = SCALE_MM) -> list[Artist]:
    """A line as long as `length` mm, and how long that is, in the axes' lower left corner."""
    left, bottom = ax.get_xlim()[0], ax.get_ylim()[0]
    drawn: list[Artist] = list(ax.plot([left, left + length], [bottom, bottom], color="black", linewidth=1.2))
    drawn[0].set_clip_on(False)
    drawn.append(ax.annotate(f"{length:g} mm", (left, bottom), (0, -3), textcoords="offset points", va="top", size=7))
    return drawn


def against_truth(
    fig: FigureBase, truth: Pose, predicted: Mapping[str, Pose], views: Sequence[str] = ("front", "side")
) -> list[Axes]:
    """A row for each view and a column for each prediction, the truth in grey behind it.

    All have the same scale; errors hide in the depth that the camera does not see, so there is more than one view.
    """
    axes = fig.subplots(len(views), len(predicted), squeeze=False)
    together = np.stack([truth, *predicted.values()])
    for row, view in zip(axes, views, strict=True):
        for ax, pose in zip(row, predicted.values(), strict=True):
            skeleton(ax, truth, view, color=TRUTH, linewidth=3.2)
            skeleton(ax, pose, view)
            frame_to(ax, together, view)
        row[0].set_ylabel(IN_WORDS[view])
        scale_bar(row[0])
    for ax, name in zip(axes[0], predicted, strict=True):
        ax.set_title(name, loc="center")
    return list(axes.flat)


def over_time(
    fig: FigureBase,
    frames: UInt8[np.ndarray, "time size size 3"],
    truth: Poses,
    predicted: Mapping[str, Poses],
    *,
    views: Sequence[str] = ("front", "side"),
    hidden: Bool[np.ndarray, " time"] | None = None,
) -> list[Axes]:
    """Frames side by side, and below each, in a row for every prediction and view, its pose before the truth.

    All rows have the same scale. Where the body is `hidden` there is a shade behind the poses.
    """
    together = np.stack([truth, *predicted.values()])
    across, upright = ([VIEWS[view][axis] for view in views] for axis in (0, 1))
    step = 2 * float(np.abs(together[..., across]).max()) + MARGIN_MM  # the pelvis is in the middle
    heights = [float(np.ptp(together[..., axis])) + 2 * MARGIN_MM for axis in upright] * len(predicted)
    axes = fig.subplots(1 + len(heights), 1, height_ratios=[step, *heights])
    side = step - MARGIN_MM / 2
    for t, frame in enumerate(frames):
        axes[0].imshow(frame, extent=(t * step, t * step + side, side, 0))
    bare(axes[0])
    axes[0].set(xlim=(0, len(frames) * step), ylim=(step, 0))
    for ax, (name, view) in zip(axes[1:], product(predicted, views), strict=True):
        for t, pose in enumerate(predicted[name]):
            if hidden is not None and hidden[t]:
                ax.axvspan(t * step, (t + 1) * step, color=SHADE, zorder=0, linewidth=0)
            skeleton(ax, truth[t], view, across=(t + 0.5) * step, color=TRUTH, linewidth=2.2)
            skeleton(ax, pose, view, across=(t + 0.5) * step, linewidth=1.2)
        frame_to(ax, together, view)
        ax.set_xlim(0, len(frames) * step)
        ax.set_ylabel(f"{name},\n{IN_WORDS[view]}", rotation=0, ha="right", va="center")
    scale_bar(axes[-1])
    return list(axes)


def frame_to(ax: Axes, poses: Float[np.ndarray, "*any 17 3"], view: str) -> None:
    """Limits that hold all these poses in the view, one mm as long across as upright, and nothing around it."""
    low, high = (end(poses[..., VIEWS[view]].reshape(-1, 2), axis=0) for end in (np.min, np.max))
    bare(ax)
    ax.set(xlim=(low[0] - MARGIN_MM, high[0] + MARGIN_MM), aspect="equal")
    bottom, top = high[1] + MARGIN_MM, low[1] - MARGIN_MM  # y points down
    ax.set_ylim((bottom, top) if VIEWS[view][1] == 1 else (top, bottom))


def limb_legend(fig: FigureBase, **place) -> Artist:
    """What the colours mean, for a figure of skeletons against the truth."""
    handles = [Line2D([], [], color=colour, linewidth=1.8) for colour in COLOURS.values()]
    handles.append(Line2D([], [], color=TRUTH, linewidth=3.2))
    return fig.legend(handles, [*PARTS, "truth"], **{"loc": "outside lower center", "ncols": 4} | place)
