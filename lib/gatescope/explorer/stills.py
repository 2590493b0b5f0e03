"""Pictures beside the scrubber: a recorded clip as it is and as a network gets it, and thumbnails of clips."""

import base64
import html
import io

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from gatescope.loaders import Clip
from gatescope.loaders.clip import crop_corner, sample_frames
from gatescope.pictures.packing import jpeg

MAX_WIDTH, MAX_SEEN = 640, 320  # pixels of the page, of a clip and of what a network gets
LARGEST = 1280  # longest side of a frame that is sent, px; larger ones are made smaller, and the caption says so
SAMPLED = 32  # frames sent at most


def beside_original(clip: Clip, seen: Clip) -> str:
    """Return HTML with a clip at its own resolution, its crop outlined, beside the frames that a network gets.

    Both move at the clip's speed, and stand still for readers who asked their system for less motion.
    """
    height, width = clip.frames.shape[1:3]
    num_frames = len(clip.frames)
    chosen = sample_frames(num_frames, min(num_frames, SAMPLED), times_s=clip.times_s)
    scale = min(LARGEST / max(height, width), 1)
    size = round(scale * width), round(scale * height)
    own = np.stack([np.asarray(Image.fromarray(clip.frames[number]).resize(size)) for number in chosen])
    duration_s = num_frames / clip.fps
    side = min(height, width)
    top, left = crop_corner(height, width)
    crop = f"left:{left / width:.2%};top:{top / height:.2%};width:{side / width:.2%};height:{side / height:.2%}"
    shown = min(width, MAX_WIDTH)
    own_height, own_width = clip.source_size or (height, width)
    words = f"your clip, {own_width} × {own_height} px, {num_frames} frames in {duration_s:.1f} s"
    words += f", read at {width} × {height} px" if clip.source_size else ""
    words += f", shown at {size[0]} × {size[1]} px" if scale < 1 else ""
    if clip.depth is not None and (clip.depth > 0).any():
        near, far = np.percentile(clip.depth[clip.depth > 0], (1, 99))
        words += f", depth from {near:,.0f} to {far:,.0f} mm"
    words = "; ".join([words, *clip.notes])
    got, pixels = seen.frames.shape[:2]
    side_px = min(shown * side / width, MAX_SEEN)
    return (
        '<div style="display:flex;flex-wrap:wrap;gap:8px 16px;align-items:flex-end;margin-top:8px;line-height:1.3">'
        f'<figure style="margin:0;max-width:{shown}px"><div style="position:relative">'
        f"{_moving(own, duration_s, 'your clip', f'display:block;width:{shown}px;max-width:100%')}"
        f'<div style="position:absolute;box-sizing:border-box;border:2px dashed #fff;outline:1px solid #0008;{crop}">'
        f"</div></div><figcaption>{html.escape(words)}; the dashed square is what is cut out</figcaption></figure>"
        f'<figure style="margin:0;max-width:{side_px:.0f}px">'
        f"{_moving(seen.frames, duration_s, 'what the network gets', _seen_style(side_px))}"
        f"<figcaption>what the network gets: {got} frames of {pixels} × {pixels} px</figcaption></figure></div>"
    )


def thumbnail(clip: Clip, step: int, num_steps: int) -> bytes:
    """Return the frame at which a step of `num_steps` ends, as JPEG."""
    each = len(clip.frames) // num_steps
    return jpeg(clip.frames[(step + 1) * each - 1])


def courses_of(
    own: Float[np.ndarray, " step"], other: Float[np.ndarray, " step"], steps: tuple[int, int], names: tuple[str, str]
) -> str:
    """Return HTML with the course of a clip in blue above that of another in grey, each between its own extremes.

    The steps that were compared, the first and the last from 0, are shaded.
    """
    lines = [_line(course, colour) for course, colour in ((other, "#888888"), (own, "#0072B2"))]
    first, last = (100 * (step + end) / len(own) for step, end in zip(steps, (0, 1), strict=True))
    alt = f"course of a channel in {names[0]} (blue) and in {names[1]} (grey), {len(own)} steps"
    return (
        f'<svg role="img" aria-label="{html.escape(alt)}" viewBox="0 0 100 40" preserveAspectRatio="none" '
        'style="display:block;width:100%;height:48px">'
        f'<rect x="{first:.1f}" width="{last - first:.1f}" height="40" fill="currentColor" opacity=".08"/>'
        f"{''.join(lines)}</svg>"
    )


def _line(course: Float[np.ndarray, " step"], colour: str) -> str:
    low, high = float(course.min()), float(course.max())
    heights = 36 - 32 * (course - low) / (high - low or 1)
    points = " ".join(f"{100 * (step + 0.5) / len(course):.1f},{y:.1f}" for step, y in enumerate(heights))
    looks = f'fill="none" stroke="{colour}" stroke-width="2" vector-effect="non-scaling-stroke"'
    return f'<polyline points="{points}" {looks}/>'


def _seen_style(side_px: float) -> str:
    return f"display:block;width:{side_px:.0f}px;max-width:100%;image-rendering:pixelated"


def _moving(frames: UInt8[np.ndarray, "time height width 3"], duration_s: float, alt: str, style: str) -> str:
    """Return a moving picture that repeats, with its middle frame where motion is unwelcome."""
    buffer = io.BytesIO()
    first, *others = map(Image.fromarray, frames)
    each_ms = max(round(1000 * duration_s / len(frames)), 20)
    first.save(buffer, "WEBP", save_all=True, append_images=others, duration=each_ms, loop=0, quality=80, method=0)
    moving, still = (base64.b64encode(data).decode() for data in (buffer.getvalue(), jpeg(frames[len(frames) // 2])))
    return (
        f'<picture><source media="(prefers-reduced-motion: reduce)" srcset="data:image/jpeg;base64,{still}">'
        f'<img alt="{alt}, moving" src="data:image/webp;base64,{moving}" style="{style}"></picture>'
    )
