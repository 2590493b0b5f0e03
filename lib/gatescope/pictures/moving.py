"""Moving pictures: a figure that is drawn anew for each moment, for pages without a kernel and without scripts."""

import base64
import html
import io
from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Bool, Float, UInt8
from matplotlib.figure import Figure
from PIL import Image

from gatescope.pictures.maps import limits_of
from gatescope.pictures.plots import bare, outline

QUALITY = 50  # of WebP, up to 100


def moving(fig: Figure, draw: Callable[[int], object], num_moments: int, fps: float) -> bytes:
    """Return an animated WebP without end: `draw(t)` changes the figure to what it shows at moment t.

    Raises ValueError where `draw` changes the size of the picture.
    """
    pictures = []
    for moment in range(num_moments):
        draw(moment)
        buffer = io.BytesIO()
        fig.savefig(buffer, format="png", dpi="figure")
        pictures.append(Image.open(buffer).convert("RGB"))
    if len(sizes := {picture.size for picture in pictures}) != 1:
        raise ValueError(f"a moving picture needs one moment at least, all of one size; got sizes {sorted(sizes)}")
    made = io.BytesIO()
    times = {"duration": round(1000 / fps), "loop": 0}
    pictures[0].save(made, "WEBP", save_all=True, append_images=pictures[1:], quality=QUALITY, **times)
    return made.getvalue()


def stepping(
    fig: Figure,
    frames: UInt8[np.ndarray, "step height width 3"],
    maps: Mapping[str, Float[np.ndarray, "step _ _"]],
    scores: Mapping[str, Float[np.ndarray, " step"]],
    hand: Bool[np.ndarray, "step height width"] | None = None,
) -> Callable[[int], None]:
    """Draw a frame, maps and scores side by side, by their titles; return a function that shows step t, from 0.

    Limits of a map hold for all steps. `hand` is outlined on the frame and on every map.
    """
    axes = fig.subplots(1, len(maps) + 2, width_ratios=[1] * (len(maps) + 1) + [1.5])
    height, width = frames.shape[1:3]
    drawn = [(axes[0].imshow(frames[0]), frames, "white")]
    for ax, each in zip(axes[1:], maps.values(), strict=False):
        low, high = limits_of(each)
        looks = {"cmap": "RdBu_r" if low < 0 else "viridis", "vmin": low, "vmax": high}
        picture = ax.imshow(each[0], extent=(-0.5, width - 0.5, height - 0.5, -0.5), **looks)
        drawn.append((picture, each, "black" if low < 0 else "white"))
    for ax, title in zip(axes, ("frame", *maps), strict=False):
        bare(ax)
        ax.set_title(title, loc="center")
    steps = np.arange(1, len(frames) + 1)
    curves = [axes[-1].plot([], [], label=title)[0] for title in scores]
    axes[-1].set(xlim=(1, len(frames)), ylim=(0, 1), xlabel="step", title="score")
    fig.legend(handles=curves, loc="outside lower right", ncols=len(curves))
    outlines = []

    def show(t: int) -> None:
        while outlines:
            outlines.pop().remove()
        for picture, values, colour in drawn:
            picture.set_data(values[t])
            if hand is not None:
                outlines.extend(outline(picture.axes, hand[t], colors=colour))
        for curve, values in zip(curves, scores.values(), strict=True):
            curve.set_data(steps[: t + 1], values[: t + 1])

    return show


def moving_html(webp: bytes, still: bytes, kind: str, alt: str, width_px: int) -> str:
    """Return HTML of a moving picture; who asked the system for less motion sees `still`, a picture of type `kind`."""
    data, fixed = (base64.b64encode(each).decode() for each in (webp, still))
    return (
        f'<picture><source media="print, (prefers-reduced-motion: reduce)" srcset="data:{kind};base64,{fixed}">'
        f'<img alt="{html.escape(alt)}" src="data:image/webp;base64,{data}" width="{width_px}"></picture>'
    )
