"""Measure the hands of a clip with the two networks, fill short gaps, make their mask, and keep what was found."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from gatescope.files import atomic_write, warn_not_kept
from gatescope.formats.arrays import read_arrays
from gatescope.loaders.hands.masks import hand_mask
from gatescope.loaders.hands.measured import LONGEST_GAP_S, MeasuredHands
from gatescope.loaders.hands.networks import made_by
from gatescope.loaders.hands.regions import NUM_JOINTS, region_of_joints
from gatescope.loaders.hands.tracking import MAX_HANDS, track
from gatescope.paths import CACHE, HANDS

if TYPE_CHECKING:
    from gatescope.loaders.clip import Clip

_VERSION = 3  # of what is kept in the cache


def measure_hands(
    frames: UInt8[np.ndarray, "time height width 3"],
    fps: float,
    folder: Path = HANDS,
    report: Callable[[int], None] = lambda step: None,
    every: int = 1,
) -> MeasuredHands:
    """Find and follow the hands of a clip; `report` gets the number of steps done, of 2 T - 1, and may raise.

    Only every `every`-th frame and the last are looked at, T in all; the others are gaps, filled as any. Raises
    HandNetworksError if the networks are not in `folder`.
    """
    joints = np.full((len(frames), MAX_HANDS, NUM_JOINTS, 2), np.nan, np.float32)
    confidence = np.zeros((len(frames), MAX_HANDS), np.float32)
    looked = np.unique([*range(0, len(frames), every), len(frames) - 1])
    for t, hands in zip(looked, track(frames if every == 1 else frames[looked], folder, report), strict=True):
        for place, hand in enumerate(hands):
            if hand is not None:
                joints[t, place], confidence[t, place] = hand.joints, hand.confidence
    filled = _fill(joints, int(LONGEST_GAP_S * fps))
    return MeasuredHands(joints, confidence, filled)


def with_hands(
    clip: "Clip", folder: Path = HANDS, cache: Path = CACHE / "hands", report: Callable[[int], None] = lambda step: None
) -> "Clip":
    """Return the clip with its mask or, if it has none, with measured hands and their mask; joints too, if it has none.

    What is measured is kept in `cache` by the content of the frames; an entry that is damaged is measured again.
    The mask is the union of the hands found. Raises HandNetworksError if the networks are not in `folder`.
    """
    if clip.hand_mask is not None:
        return clip
    path = Path(cache) / f"{_key(clip)}.npz"
    kept = _load(path, clip.frames.shape)
    if kept is None:
        hands = measure_hands(clip.frames, clip.fps, folder, report)
        mask = np.stack(
            [
                hand_mask(frame, each[known])
                for frame, each, known in zip(clip.frames, hands.joints, hands.found, strict=True)
            ]
        )
        try:
            with atomic_write(path) as temporary:
                # A zip archive checks each of its parts by a CRC.
                np.savez_compressed(temporary, mask=np.packbits(mask), **vars(hands))
        except OSError as error:
            # What was measured is right; only the next reader has to wait for it again.
            warn_not_kept(Path(cache), error)
    else:
        hands, mask = kept
    if clip.joints_2d is None and clip.joints_3d is None:  # joints of another body would not fit these
        clip = replace(clip, joints_2d=hands.joints.reshape(len(mask), -1, 2))
    return replace(clip, hands=hands, hand_mask=mask)


def _fill(joints: Float32[np.ndarray, "time hands 21 2"], longest: int) -> Bool[np.ndarray, "time hands"]:
    """Fill gaps of up to `longest` frames in place, on straight lines; return where."""
    filled = np.zeros(joints.shape[:2], bool)
    for place in range(joints.shape[1]):
        known = np.flatnonzero(np.isfinite(joints[:, place, 0, 0]))
        for before, after in zip(known[:-1], known[1:], strict=True):
            ends = [region_of_joints(joints[t, place]) for t in (before, after)]
            near = np.linalg.norm(ends[0].centre - ends[1].centre) < max(ends[0].side, ends[1].side)
            # Far apart it may be another hand.
            if 1 < after - before <= longest + 1 and near:
                share = (np.arange(before + 1, after) - before)[:, None, None] / np.float32(after - before)
                joints[before + 1 : after, place] = (1 - share) * joints[before, place] + share * joints[after, place]
                filled[before + 1 : after, place] = True
    return filled


def _key(clip: "Clip") -> str:
    key = hashlib.sha256(f"{_VERSION} {made_by()} {clip.frames.shape} {clip.fps}".encode())
    key.update(np.ascontiguousarray(clip.frames))
    return key.hexdigest()


def _load(path: Path, shape: tuple[int, ...]) -> tuple[MeasuredHands, Bool[np.ndarray, "time height width"]] | None:
    try:
        kept = read_arrays(path)
        hands = MeasuredHands(kept["joints"], kept["confidence"], kept["filled"])
        mask = np.unpackbits(kept["mask"], count=int(np.prod(shape[:3]))).reshape(shape[:3]).astype(bool)
    except (OSError, ValueError, LookupError):
        return None
    return (hands, mask) if hands.joints.shape == (shape[0], MAX_HANDS, NUM_JOINTS, 2) else None
