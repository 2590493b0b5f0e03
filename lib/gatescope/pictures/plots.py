"""Draw clips, gates, tables and matrices: functions take axes and data, and return what they drew."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import hsv_to_rgb
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

GAP_PX = 2  # white between the pictures of a strip


def film_strip(ax: Axes, frames: UInt8[np.ndarray, "time height width 3"], title: str = "") -> list[Artist]:
    """Draw frames side by side, the earliest on the left; `title` stands to their left."""
    drawn: list[Artist] = [ax.imshow(side_by_side(frames, GAP_PX, 255)[:, :-GAP_PX], interpolation="antialiased")]
    bare(ax)
    if title:
        drawn.append(ax.set_ylabel(title, rotation=0, ha="right", va="center"))
    return drawn


def side_by_side(pictures: np.ndarray, gap: int, blank: float) -> np.ndarray:
    """Return pictures in one row, each with `gap` columns of `blank` to its right; the first axis is time."""
    widths = [(0, 0), (0, 0), (0, gap), (0, 0)][: pictures.ndim]
    return np.concatenate(np.pad(pictures, widths, constant_values=blank), axis=1)


def pick_frames(frames: np.ndarray, count: int) -> np.ndarray:
    """Return `count` of the frames, evenly spaced from the first to the last."""
    return frames[np.linspace(0, len(frames) - 1, count).round().astype(int)]


def outline(ax: Axes, mask: Bool[np.ndarray, "height width"], **line) -> list[Artist]:
    """Draw the border of a mask, between its pixels and those outside."""
    if not mask.any():
        return []
    return [ax.contour(mask.astype(float), levels=[0.5], **{"colors": "white", "linewidths": 1.2} | line)]


def flow_colours(flow: Float[np.ndarray, "*any 2"], fastest: float) -> Float[np.ndarray, "*any 3"]:
    """Return colours of flow: hue is direction, saturation is speed, full from `fastest` px/frame; rest is white."""
    hue = (np.arctan2(flow[..., 1], flow[..., 0]) / (2 * np.pi)) % 1.0
    speed = np.clip(np.hypot(flow[..., 0], flow[..., 1]) / fastest, 0, 1)
    return hsv_to_rgb(np.stack([hue, speed, 1 - 0.25 * speed], axis=-1))


def _flow_key(ax: Axes, fastest: float) -> None:
    """Draw the wheel that shows the colour of each direction and speed."""
    y, x = np.mgrid[-1:1:101j, -1:1:101j]
    wheel = flow_colours(np.stack([x, y], axis=-1) * fastest, fastest)
    wheel[np.hypot(x, y) > 1] = 1.0
    ax.imshow(wheel, extent=(-1, 1, 1, -1))
    bare(ax)
    ax.set(xlim=(-1.4, 1.4), ylim=(2.1, -1.1))
    ax.text(0, 1.15, f"rim: {fastest:.0f}\npx/frame", ha="center", va="top", fontsize=8)


def modalities(
    fig: Figure,
    times: Int[np.ndarray, " picked"],
    chains: Sequence[Sequence[int]],
    *,
    frames: UInt8[np.ndarray, "time size size 3"],
    depth: Float[np.ndarray, "time size size"],
    hand_mask: Bool[np.ndarray, "time size size"],
    flow: Float[np.ndarray, "time-1 size size 2"],
    joints_2d: Float[np.ndarray, "time joints 2"],
    fps: float,
) -> list[Axes]:
    """Draw colour, depth, hand, flow and joints of a clip: a row each, a column for each of `times`.

    Depth is in mm, near bright, pixels without a reading white; joints are in px, joined along each of the `chains`.
    """
    axes = fig.subplots(5, len(times) + 1, width_ratios=[1] * len(times) + [0.7])
    near, far = np.percentile(depth, (0.5, 99.5))
    fastest = max(1.0, float(np.percentile(np.hypot(flow[..., 0], flow[..., 1]), 99)))
    for column, t in zip(axes[:, :-1].T, times, strict=True):
        for row in (0, 2, 4):
            film_strip(column[row], frames[t][None])
        column[0].set_title(f"{t / fps:.1f} s", loc="center")
        shown = column[1].imshow(np.where(depth[t] > 0, depth[t], np.nan), cmap="magma_r", vmin=near, vmax=far)
        outline(column[2], hand_mask[t])
        column[3].imshow(flow_colours(flow[t], fastest))
        for chain in chains:
            line = joints_2d[t, list(chain)] - 0.5  # imshow puts the centre of the first pixel at 0
            column[4].plot(*line.T, "o-", color="#D55E00", markersize=1.6, linewidth=1.0)
        column[4].set(xlim=column[0].get_xlim(), ylim=column[0].get_ylim())  # cut off what leaves the frame
        bare(column[1])
        bare(column[3])
    for row, name in enumerate(("colour", "depth", "hand", "flow", "joints")):
        axes[row, 0].set_ylabel(name, rotation=0, ha="right", va="center")
        axes[row, -1].set_axis_off()
    fig.colorbar(shown, ax=axes[1, -1], fraction=0.8, aspect=6, label="mm")
    axes[3, -1].set_axis_on()
    _flow_key(axes[3, -1], fastest)
    return list(axes.flat)


def spread_map(ax: Axes, share: Float[np.ndarray, "height width"]) -> AxesImage:
    """Draw the hand's share of each place over many clips, as a multiple of an even spread's share."""
    shown = ax.imshow(share / share.mean(), cmap="magma", vmin=0)
    bare(ax)
    ax.set_xlabel("where the hand is")
    ax.figure.colorbar(shown, ax=ax, label="× an even spread")
    return shown


def sampling_diagram(
    ax: Axes, num_frames: int, centre: Sequence[int], jittered: Sequence[Sequence[int]]
) -> list[Artist]:
    """Mark the frames of a clip that a network sees: squares in testing, dots in several draws of training."""
    tile = {"facecolor": "#eeeeee", "edgecolor": "white"}
    drawn: list[Artist] = [ax.add_patch(Rectangle((n - 0.5, -0.35), 1, 0.7, **tile)) for n in range(num_frames)]
    drawn += [ax.axvline(frame, color="#cccccc", linewidth=0.8, zorder=0) for frame in centre]
    drawn += ax.plot(centre, np.zeros(len(centre)), "s", color="#000000", markersize=4)
    for row, frames in enumerate(jittered, start=1):
        drawn += ax.plot(frames, np.full(len(frames), row), "o", color="#0072B2", markersize=3)
    ax.set_yticks(range(len(jittered) + 1), ["test"] + [f"train, draw {k}" for k in range(1, len(jittered) + 1)])
    ax.invert_yaxis()
    ax.set(xlim=(-0.7, num_frames - 0.3), xlabel="frame of the clip (from 0)")
    ax.spines[["left", "bottom"]].set_visible(False)
    ax.tick_params(length=0)
    return drawn


def paths_over_time(
    ax: Axes, times: Float[np.ndarray, "clips time"], values: Float[np.ndarray, "clips time"], colour: str, label: str
) -> list[Artist]:
    """Draw a thin line for each clip and a thick, labelled one for their median between the median start and end."""
    drawn: list[Artist] = list(ax.plot(times.T, values.T, color=colour, alpha=0.2, linewidth=0.6))
    grid = np.linspace(np.median(times[:, 0]), np.median(times[:, -1]), 60)
    known = [np.interp(grid, t, v, left=np.nan, right=np.nan) for t, v in zip(times, values, strict=True)]
    drawn += ax.plot(grid, np.nanmedian(known, axis=0), color=colour, linewidth=2.2, label=label)
    return drawn


def gate_spread(
    ax: Axes, gate: Float[np.ndarray, "channel height width"], colour: str, chosen: int | None = None
) -> list[Artist]:
    """Draw for each channel of a gate the range of 90 % of its positions and their mean; ring the `chosen` one's."""
    channels = np.arange(len(gate))
    low, high = np.quantile(gate, (0.05, 0.95), axis=(1, 2))
    means = gate.mean((1, 2))
    drawn: list[Artist] = [ax.vlines(channels, low, high, color=colour, alpha=0.45, linewidth=4)]
    drawn += ax.plot(channels, means, "o", color=colour, markersize=4)
    if chosen is not None:
        drawn += ax.plot(chosen, means[chosen], "o", color="black", markersize=9, markerfacecolor="none")
    ax.set(ylim=(0, 1), xlabel="channel")
    return drawn


def tile_table(ax: Axes, columns: Sequence[str], rows: Mapping[str, Sequence[tuple[str, str, str]]]) -> list[Rectangle]:
    """Draw a table of coloured tiles, each (word, note, colour), the note in small print below the word."""
    drawn = []
    for y, tiles in enumerate(rows.values()):
        for x, (word, note, colour) in enumerate(tiles):
            drawn.append(ax.add_patch(Rectangle((x, y), 0.96, 0.92, facecolor=colour, alpha=0.55)))
            ax.text(x + 0.48, y + (0.32 if note else 0.46), word, ha="center", va="center")
            ax.text(x + 0.48, y + 0.68, note, ha="center", va="center", fontsize=7)
    bare(ax)
    ax.set(xlim=(0, len(columns)), ylim=(len(rows), 0))
    ax.xaxis.tick_top()
    ax.set_xticks(np.arange(len(columns)) + 0.48, columns)
    ax.set_yticks(np.arange(len(rows)) + 0.46, rows)
    ax.tick_params(length=0, labelsize=9)
    return drawn


def matrix(
    ax: Axes,
    values: Float[np.ndarray, "row column"],
    rows: Sequence[object],
    columns: Sequence[object],
    *,
    text: Callable[[float], str] = lambda value: "",
    black_above: float = 0.0,
    **looks,
) -> AxesImage:
    """Draw a matrix in colours with its rows and columns named; `looks` are those of `imshow`.

    `text` gives what is written on a value: black where it is above `black_above`, white elsewhere.
    """
    shown = ax.imshow(values, **{"aspect": "auto"} | looks)
    for (row, column), value in np.ndenumerate(values):
        if written := text(value):
            colour = "black" if value > black_above else "white"
            ax.text(column, row, written, ha="center", va="center", fontsize=7, color=colour)
    bare(ax)
    ax.set_xticks(range(len(columns)), columns)
    ax.set_yticks(range(len(rows)), rows)
    ax.tick_params(length=0)
    return shown


def bare(ax: Axes) -> None:
    """Remove ticks and frame from axes that hold a picture."""
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
