"""Clip: the frames of one recording with depth, mask, flow and joints where known, and its conversion to a batch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Float64, UInt8
from PIL import Image
from torch import Tensor

from gatescope.loaders.errors import check_one_of
from gatescope.loaders.hands.measured import MeasuredHands
from gatescope.loaders.limits import check_input, is_number, is_whole
from gatescope.loaders.sampling import sample_frames

MODALITIES = ("rgb", "depth", "flow")
DEFAULT_FPS = 12.0  # Jester's, for frames without a rate of their own
FULL_FLOW = 1 / 8  # flow that fills the 8-bit range, in short sides per frame
GREY_TOLERANCE = 8  # grey levels by which the channels of a compressed grey picture may differ

# Shape and dtype of a clip's optional parts, in terms of time T, height H, width W, joints J.
_PARTS = {
    "depth": ("T H W", np.float32),
    "hand_mask": ("T H W", np.bool_),
    "flow": ("T-1 H W 2", np.float32),
    "joints_2d": ("T J 2", np.float32),
    "joints_3d": ("T J 3", np.float32),
    "times_s": ("T", np.float64),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Clip:
    """One recording in memory.

    Left, right and clockwise are the performer's; the camera is not mirrored. Camera axes: x right, y down, z
    away from the camera. Raises ValueError if the parts do not fit each other, TypeError for what is no array.
    """

    frames: UInt8[np.ndarray, "time height width 3"]  # RGB; a depth-only clip shows its depth in grey
    fps: float  # frames per second
    source: str  # a path, or the parameters it was rendered from
    label: int | None = None  # 0-based class index
    name: str | None = None  # the class's name
    depth: Float32[np.ndarray, "time height width"] | None = None  # mm; 0 is no reading
    hand_mask: Bool[np.ndarray, "time height width"] | None = None  # pixels showing the gesturing hand
    flow: Float32[np.ndarray, "time-1 height width 2"] | None = None  # px/frame, x y: p in t, p + flow in t+1
    joints_2d: Float32[np.ndarray, "time joints 2"] | None = None  # px; the first pixel's centre is (0.5, 0.5)
    joints_3d: Float32[np.ndarray, "time joints 3"] | None = None  # mm, camera axes
    hands: MeasuredHands | None = None  # where `hand_mask` and `joints_2d` were measured: how surely
    times_s: Float64[np.ndarray, " time"] | None = None  # s from the first frame, ascending, where the rate varies
    source_size: tuple[int, int] | None = None  # height and width, px, in the file, where frames were scaled to fit
    notes: tuple[str, ...] = ()  # what is to be known of how it was read: the order of its frames, what is damaged

    def __post_init__(self):
        frames = self.frames
        for name in ("frames", *_PARTS):
            if not isinstance(part := getattr(self, name), np.ndarray) and (part is not None or name == "frames"):
                raise TypeError(f"{name} must be a NumPy array; got {type(part).__name__}: np.asarray makes one")
            if isinstance(part, np.ma.MaskedArray):
                raise TypeError(f"{name} is masked, and a clip's have no mask: give it filled, as by filled(0)")
        if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8 or frames.size == 0:
            raise ValueError(
                "frames must be (time, height, width, 3) uint8 with at least one frame; "
                f"got {frames.shape} {frames.dtype}"
            )
        if not (is_number(self.fps) and self.fps > 0):
            raise ValueError(f"fps must be a positive number of frames per second; got {self.fps}")
        if self.label is not None and not (is_whole(self.label) and self.label >= 0):
            raise ValueError(f"label must be a 0-based class index or None; got {self.label}")
        if self.hands is not None and (self.hand_mask is None or len(self.hands.joints) != len(frames)):
            raise ValueError(
                f"measured hands need a mask and one entry for each of {len(frames)} frames; "
                f"got {'no' if self.hand_mask is None else 'a'} mask and {len(self.hands.joints)} entries"
            )
        sizes = {"T": frames.shape[0], "T-1": frames.shape[0] - 1, "H": frames.shape[1], "W": frames.shape[2]}
        for name, (shape, dtype) in _PARTS.items():
            part = getattr(self, name)
            if part is None:
                continue
            axes = shape.split()
            if "J" in axes and part.ndim == 3:
                sizes.setdefault("J", part.shape[1])
            expected = tuple(int(axis) if axis.isdigit() else sizes.get(axis) for axis in axes)
            if part.shape != expected or part.dtype != dtype:
                raise ValueError(
                    f"{name} must be ({', '.join(axes)}) = {expected} {np.dtype(dtype).name}, since "
                    f"frames are {frames.shape}; got {part.shape} {part.dtype}"
                )
        if self.times_s is not None and not (np.isfinite(self.times_s).all() and (np.diff(self.times_s) >= 0).all()):
            raise ValueError(f"times_s must ascend, in s from the first frame; got {self.times_s}")

    @property
    def hand_source(self) -> str:
        """Where `hand_mask` comes from: "true" of a renderer, "measured" by the hand networks, or "none"."""
        return "none" if self.hand_mask is None else "true" if self.hands is None else "measured"

    @property
    def seconds(self) -> Float64[np.ndarray, " time"]:
        """When each frame is shown, s from the first: `times_s`, or frame k at k / fps."""
        return np.arange(len(self.frames)) / self.fps if self.times_s is None else self.times_s


def crop_corner(height: int, width: int, u: float | None = None) -> tuple[int, int]:
    """Return top and left of the square of the short side: centred, or in training at the fraction `u` in [0, 1).

    One `u` per clip serves both axes and every frame, as in the authors' code. Nothing is ever flipped.
    """
    side, place = min(height, width), 0.5 if u is None else u
    return int((height - side) * place), int((width - side) * place)


def crop_and_resize(
    frames: UInt8[np.ndarray, "time height width 3"], size: int, u: float | None = None
) -> UInt8[np.ndarray, "time size size 3"]:
    """Crop frames to the square at `crop_corner`, then resize them by Pillow's bilinear filter."""
    if frames.shape[1:3] == (size, size):
        return frames
    top, left = crop_corner(*frames.shape[1:3], u)
    side = min(frames.shape[1:3])
    box = (left, top, left + side, top + side)
    resized = (Image.fromarray(frame).crop(box).resize((size, size), Image.Resampling.BILINEAR) for frame in frames)
    return np.stack([np.asarray(frame) for frame in resized])


def depth_to_grey(depth: Float32[np.ndarray, "time height width"]) -> UInt8[np.ndarray, "time height width"]:
    """Convert depth to grey levels: 255 at the nearest, 1 at the farthest, 0 for no reading.

    Nearest and farthest are the 1st and 99th percentile of the whole clip's readings, so that a grey level means one
    distance in all frames of a clip. This is our choice; the scaling of the authors' training pictures is not known.
    """
    known = np.isfinite(depth) & (depth > 0)
    grey = np.zeros(depth.shape, np.uint8)
    if not known.any():
        return grey
    near, far = np.percentile(depth[known], (1, 99), overwrite_input=True)
    for frame, has_reading, levels in zip(depth, known, grey, strict=True):
        level = 1 + 254 * (far - frame[has_reading]) / max(far - near, 1.0)
        levels[has_reading] = level.clip(1, 255).round()
    return grey


def flow_to_picture(
    flow: Float32[np.ndarray, "time height width 2"],
) -> UInt8[np.ndarray, "time height width 3"]:
    """Convert flow to 8-bit pictures of x, y and length: 128 is rest, +-127 an eighth of the short side per frame.

    Relative to the frame's size, so that one motion gives one picture at any resolution. This is our choice; the
    mapping of the authors' flow pictures (mean 128) is not known.

    Raises ValueError for flow that is not finite.
    """
    if not np.isfinite(flow).all():
        raise ValueError("flow holds values that are not finite; with_flow(clip) estimates it anew")
    scaled = flow / (FULL_FLOW * min(flow.shape[1:3]))
    channels = np.concatenate([scaled, np.linalg.norm(scaled, axis=-1, keepdims=True)], axis=-1)
    return (128 + 127 * channels.clip(-1, 1)).round().astype(np.uint8)


def to_batch(
    clip: Clip,
    *,
    num_frames: int,
    size: int,
    mean: Sequence[float],
    modality: str = "rgb",
    clip_mean: float = 0.0,
    rng: np.random.RandomState | None = None,
) -> Float32[Tensor, "1 3 time height width"]:
    """Return the clip as a network's input: sampled, cropped, resized to `size`, `mean` subtracted per channel.

    Depth and flow become three 8-bit channels first (`depth_to_grey`, `flow_to_picture`); frames that are grey
    pictures of depth already, as IsoGD's, are taken as they are. `MEANS` holds the authors' means. Values are grey
    levels, not scaled. With `rng`, frames are jittered and the crop is random, as in training; without it the result
    depends on the clip alone.

    `clip_mean`, from 0 to 1, is the fraction of each pixel's mean over the sampled frames that is subtracted after
    `mean`: 1 leaves only motion and removes held poses. The paper does not do this; its networks are large and
    trained for long, while small ones learn motion within minutes only this way.

    Raises ValueError if the modality is unknown, the clip does not have it, `clip_mean` is out of range, `mean` is not
    finite, or the input would be too large.
    """
    if not 0 <= clip_mean <= 1:
        raise ValueError(f"clip_mean must be a fraction, 0 to 1, of the clip's mean picture; got {clip_mean}")
    if len(mean) != 3:
        raise ValueError(f"mean must have one value for each of 3 channels; got {tuple(mean)}")
    if not np.isfinite(np.asarray(mean, np.float64)).all():
        raise ValueError(f"mean must be finite grey levels; got {tuple(mean)}")
    check_input(num_frames, size)
    pictures = _pictures(clip, modality)
    times_s = None if clip.times_s is None else clip.times_s[: len(pictures)]  # flow has one field less
    chosen = sample_frames(len(pictures), num_frames, train=rng is not None, rng=rng, times_s=times_s)
    u = None if rng is None else rng.random_sample()
    resized = crop_and_resize(pictures[chosen], size, u)
    # Channels first: NumPy is slow where the inner loop has only the 3 channels.
    values = resized.transpose(3, 0, 1, 2).astype(np.float32, order="C")
    values -= np.asarray(mean, dtype=np.float32)[:, None, None, None]
    # A departure from the paper, which subtracts only `mean`.
    if clip_mean:
        values -= np.float32(clip_mean) * values.mean(axis=1, keepdims=True)
    return torch.from_numpy(values)[None]


def _pictures(clip: Clip, modality: str) -> UInt8[np.ndarray, "time height width 3"]:
    check_one_of("modality", modality, MODALITIES)
    if modality == "rgb":
        return clip.frames
    if modality == "flow":
        if clip.flow is None or len(clip.flow) == 0:
            raise ValueError(f"{clip.source} has no flow; with_flow(clip) estimates it for two frames or more")
        return flow_to_picture(clip.flow)
    if clip.depth is not None:
        return np.repeat(depth_to_grey(clip.depth)[..., None], 3, axis=-1)
    if np.ptp(clip.frames, axis=-1).max() > GREY_TOLERANCE:
        raise ValueError(f"{clip.source} has no depth and its frames are in colour; give a depth recording")
    return clip.frames


def as_seen(clip: Clip, num_frames: int, size: int) -> Clip:
    """Return the frames that a network takes, `num_frames` of `size` px, cropped and resized as for its input.

    The hand mask is converted too, and how surely it was measured. Depth, joints and flow belong to the clip's own
    frames and pixels and are kept only if nothing has to be sampled or resized.
    """
    check_input(num_frames, size)
    chosen = sample_frames(len(clip.frames), num_frames, times_s=clip.times_s)
    if chosen == list(range(len(clip.frames))) and clip.frames.shape[1:3] == (size, size):
        return clip
    hand = None
    if clip.hand_mask is not None:
        grey = np.repeat(clip.hand_mask[chosen, ..., None].astype(np.uint8) * 255, 3, axis=-1)
        hand = crop_and_resize(grey, size)[..., 0] > 127
    return Clip(
        frames=crop_and_resize(clip.frames[chosen], size),
        fps=clip.fps * min(num_frames / len(clip.frames), 1),  # same duration; a short clip repeats its end
        source=clip.source,
        label=clip.label,
        name=clip.name,
        notes=clip.notes,
        hand_mask=hand,
        hands=None if clip.hands is None else clip.hands.seen(chosen, clip.frames.shape[1:3], size),
    )


def over_steps(
    pictures: Float[np.ndarray, "clips time height width"], maps: tuple[int, int, int]
) -> Float[np.ndarray, "clips step rows columns"]:
    """Average pictures over the frames and the area that each position of a step's map stands for.

    Raises ValueError if the frames do not divide evenly into steps.
    """
    steps, rows, columns = maps
    num_frames = pictures.shape[1]
    if num_frames % steps:
        raise ValueError(f"{num_frames} frames do not divide into {steps} steps")
    grouped = torch.from_numpy(pictures).unflatten(1, (steps, num_frames // steps)).mean(2)
    return torch.nn.functional.adaptive_avg_pool2d(grouped, (rows, columns)).numpy()
