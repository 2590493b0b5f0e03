"""Draw maps over time steps: a strip for each quantity below the frames."""

from collections.abc import Mapping, Sequence
from textwrap import fill

import numpy as np
from jaxtyping import Bool, Float, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from matplotlib.image import AxesImage

from gatescope.pictures.plots import GAP_PX, bare, film_strip, outline, side_by_side

Limits = tuple[float, float]


def limits_of(maps: Float[np.ndarray, "*any"]) -> Limits:
    """Return colour limits for all these maps: from 0 to the largest value, symmetric about 0 if any is negative."""
    largest = float(np.abs(maps).max())
    return (-largest if maps.min() < 0 else 0.0), largest or 1.0


def frames_of_steps(pictures: np.ndarray, num_steps: int) -> np.ndarray:
    """Return the last frame of each step; the first axis is time."""
    each = len(pictures) // num_steps
    return pictures[each - 1 :: each][:num_steps]


def map_strip(
    ax: Axes, maps: Float[np.ndarray, "step y x"], size: int, limits: Limits, title: str = "", notes: Sequence[str] = ()
) -> list[AxesImage]:
    """Draw maps of one quantity side by side, each as large as a frame of `size` px in `film_strip`.

    The limits hold for all steps; where the lower one is below 0 the colours diverge from white at 0. A step's note,
    such as its channel, stands below its map.
    """
    low, high = limits
    cmap = "RdBu_r" if low < 0 else "viridis"
    drawn = []
    for step, each in enumerate(maps):
        left = step * (size + GAP_PX) - 0.5
        extent = (left, left + size, size - 0.5, -0.5)
        drawn.append(ax.imshow(each, cmap=cmap, vmin=low, vmax=high, extent=extent))
    bare(ax)
    ax.set(xlim=(-0.5, left + size), ylim=(size - 0.5, -0.5))
    for step, note in enumerate(notes):
        ax.text((step + 0.5) * size + step * GAP_PX, size, note, fontsize=8, ha="center", va="top")
    if title:
        ax.set_ylabel(title, rotation=0, ha="right", va="center")
    return drawn


def strips(
    fig: FigureBase,
    frames: UInt8[np.ndarray, "step size size 3"],
    rows: Mapping[str, Float[np.ndarray, "step _ _"]],
    hand: Bool[np.ndarray, "step size size"] | None = None,
    limits: Mapping[str, Limits] | None = None,
    notes: Mapping[str, Sequence[str]] | None = None,
) -> list[Axes]:
    """Draw one frame per step on top, and below them a strip of maps with a colour bar for each row's title.

    A row's `limits` are those of its maps over all steps, unless given; its `notes` stand below. `hand` is outlined.
    """
    # A place for the bar beside the frames too, or they would not stand above their maps.
    axes, bars = fig.subplots(len(rows) + 1, 2, width_ratios=[70, 1]).T
    film_strip(axes[0], frames)
    bars[0].set_axis_off()
    for ax, beside, (title, maps) in zip(axes[1:], bars[1:], rows.items(), strict=True):
        low, high = (limits or {}).get(title) or limits_of(maps)
        shown = map_strip(ax, maps, frames.shape[1], (low, high), title, (notes or {}).get(title, ()))
        bar = fig.colorbar(shown[0], cax=beside, ticks=[low, high])
        bar.ax.set_yticklabels([f"{low:.2g}", f"{high:.2g}"], fontsize=8)
        bar.outline.set_visible(False)
    for ax in axes:
        ax.set_anchor("E")  # beside the bars, where the figure is wider than the strips are
        if hand is not None:
            colour = "white" if ax is axes[0] or ax.images[0].get_cmap().name == "viridis" else "black"
            outline(ax, side_by_side(hand, GAP_PX, False)[:, :-GAP_PX], colors=colour, linewidths=0.6)
    return list(axes)


def film(
    fig: FigureBase,
    frames: UInt8[np.ndarray, "step height width 3"] | None,
    rows: Mapping[str, Float[np.ndarray, "step _ _"]],
    limits: Mapping[str, Limits] | None = None,
) -> list[Axes]:
    """Draw what `strips` draws in a tenth of the time: one image per row, limits as text, no outline of the hand.

    Rows without `limits` have those of their maps.
    """
    first = 0 if frames is None else 1
    axes = fig.subplots(len(rows) + first, 1, gridspec_kw={"hspace": 0.08}, squeeze=False)[:, 0]
    fig.subplots_adjust(left=1.85 / fig.get_figwidth(), right=0.995, bottom=0.005, top=0.995)
    # A gap is a part of a picture's width, so that rows of any resolution align.
    if frames is not None:
        axes[0].imshow(side_by_side(frames, max(1, frames.shape[2] // 16), 255))
    for ax, (title, maps) in zip(axes[first:], rows.items(), strict=True):
        low, high = (limits or {}).get(title) or limits_of(maps)
        tiles = side_by_side(maps, max(1, maps.shape[2] // 16), np.nan)
        ax.imshow(tiles, cmap="RdBu_r" if low < 0 else "viridis", vmin=low, vmax=high)
        words = "\n".join(fill(line, 25) for line in (*title.splitlines(), f"{low:.2g} to {high:.2g}"))
        ax.set_ylabel(words, rotation=0, ha="right", va="center", fontsize=9)
    for ax in axes:
        ax.set_aspect("auto")
        bare(ax)
    return list(axes)
