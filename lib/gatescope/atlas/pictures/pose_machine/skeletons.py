"""Draw skeletons as lines: in a view, against the truth in two views, and over time.

Poses are in mm from the pelvis, in camera axes: x right, y down, z away. Limbs are coloured by the person's own sides,
so that a mirrored pose shows; the truth is grey and lies behind.
"""

from collections.abc import Mapping
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
# Near those of the rendered suit; the green is dark: a red-green blind reader sees a lighter one as the truth's grey.
COLOURS = dict(zip(PARTS, ("#D55E00", "#00573A", "#1F77C8"), strict=True))
TRUTH = "#b0b0b0"
SHADE = "#ececec"  # behind frames in which the body is hidden
VIEWS = {"from the camera": (0, 1), "from its right": (2, 1)}  # the axes that lie across and upright
SCALE_MM = 500
MARGIN_MM = 60  # around the skeletons


def strokes(pose: Pose, part: str) -> Float[np.ndarray, "points 3"]:
    """Return the bones of one of PARTS as a line: two ends of each, then NaN for a gap."""
    joints = list(PARTS[part])
    ends = np.stack([pose[[PARENTS[joint] for joint in joints]], pose[joints]], axis=1)
    return np.pad(ends, ((0, 0), (0, 1), (0, 0)), constant_values=np.nan).reshape(-1, 3)


def skeleton(ax: Axes, pose: Pose, view: str, *, across: float = 0.0, **line) -> list[Line2D]:
    """Draw a line for each of PARTS, in its colour unless `line` gives one, moved by `across` mm in one of VIEWS."""
    drawn = []
    for part, colour in COLOURS.items():
        points = strokes(pose, part)[:, VIEWS[view]]
        looks = {"color": colour, "linewidth": 1.8, "solid_capstyle": "round"} | line
        drawn += ax.plot(points[:, 0] + across, points[:, 1], **looks)
    return drawn


def _scale_bar(ax: Axes) -> None:
    """Draw a labelled line of SCALE_MM in the axes' lower left corner."""
    left, bottom = ax.get_xlim()[0], ax.get_ylim()[0]
    ax.plot([left, left + SCALE_MM], [bottom, bottom], color="black", linewidth=1.2, clip_on=False)
    ax.annotate(f"{SCALE_MM} mm", (left, bottom), (0, -3), textcoords="offset points", va="top", size=7)


def against_truth(fig: FigureBase, truth: Pose, predicted: Mapping[str, Pose]) -> list[Axes]:
    """Draw a row for each of VIEWS and a column for each prediction, over the truth in grey.

    All have the same scale. The second view shows errors in depth.
    """
    axes = fig.subplots(len(VIEWS), len(predicted), squeeze=False)
    together = np.stack([truth, *predicted.values()])
    for row, view in zip(axes, VIEWS, strict=True):
        for ax, pose in zip(row, predicted.values(), strict=True):
            skeleton(ax, truth, view, color=TRUTH, linewidth=3.2)
            skeleton(ax, pose, view)
            frame_to(ax, together, view)
        row[0].set_ylabel(view)
        _scale_bar(row[0])
    for ax, name in zip(axes[0], predicted, strict=True):
        ax.set_title(name, loc="center")
    return list(axes.flat)


def over_time(
    fig: FigureBase,
    frames: UInt8[np.ndarray, "time size size 3"],
    truth: Poses,
    predicted: Mapping[str, Poses],
    *,
    hidden: Bool[np.ndarray, " time"],
) -> list[Axes]:
    """Draw frames side by side, and below each, in a row for every prediction and view, its pose over the truth.

    All rows have the same scale. Poses of a `hidden` body have a shade behind them.
    """
    together = np.stack([truth, *predicted.values()])
    across, upright = (list(axes) for axes in zip(*VIEWS.values(), strict=True))
    step = 2 * float(np.abs(together[..., across]).max()) + MARGIN_MM  # the pelvis is in the middle
    heights = [float(np.ptp(together[..., axis])) + 2 * MARGIN_MM for axis in upright] * len(predicted)
    axes = fig.subplots(1 + len(heights), 1, height_ratios=[step, *heights])
    side = step - MARGIN_MM / 2
    for t, frame in enumerate(frames):
        axes[0].imshow(frame, extent=(t * step, t * step + side, side, 0))
    bare(axes[0])
    axes[0].set(xlim=(0, len(frames) * step), ylim=(step, 0))
    for ax, (name, view) in zip(axes[1:], product(predicted, VIEWS), strict=True):
        for t, pose in enumerate(predicted[name]):
            if hidden[t]:
                ax.axvspan(t * step, (t + 1) * step, color=SHADE, zorder=0, linewidth=0)
            skeleton(ax, truth[t], view, across=(t + 0.5) * step, color=TRUTH, linewidth=2.2)
            skeleton(ax, pose, view, across=(t + 0.5) * step, linewidth=1.2)
        frame_to(ax, together, view)
        ax.set_xlim(0, len(frames) * step)
        ax.set_ylabel(f"{name},\n{view}", rotation=0, ha="right", va="center")
    _scale_bar(axes[-1])
    return list(axes)


def frame_to(ax: Axes, poses: Float[np.ndarray, "*any 17 3"], view: str) -> None:
    """Set limits that hold all these poses in the view, at one scale, without ticks or frame."""
    low, high = (end(poses[..., VIEWS[view]].reshape(-1, 2), axis=0) for end in (np.min, np.max))
    bare(ax)
    ylim = high[1] + MARGIN_MM, low[1] - MARGIN_MM  # y points down
    ax.set(xlim=(low[0] - MARGIN_MM, high[0] + MARGIN_MM), ylim=ylim, aspect="equal")


def limb_legend(fig: FigureBase) -> Artist:
    """Draw the legend of limbs and truth below a figure."""
    handles = [Line2D([], [], color=colour, linewidth=1.8) for colour in COLOURS.values()]
    handles.append(Line2D([], [], color=TRUTH, linewidth=3.2))
    return fig.legend(handles, [*PARTS, "truth"], loc="outside lower center", ncols=4)
