"""The hand in a clip that a reader brought: measured for the frames that a network gets, and said how surely."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from gatescope.loaders import Clip, MeasuredHands
from gatescope.loaders.clip import as_seen
from gatescope.loaders.hands import has_networks
from gatescope.loaders.hands.masks import hand_mask
from gatescope.loaders.hands.measuring import measure_hands
from gatescope.loaders.sampling import sample_frames

RATE = 15  # frames/s that are looked at; twice as many take twice as long
FETCH = "No hand is outlined: `gatescope hands fetch` obtains the two networks that find it."


def is_measurable(clip: Clip) -> bool:
    """Return whether the hand networks can look for the hand of a clip: in colour, and not known already."""
    return has_networks() and clip.hand_mask is None and clip.depth is None


def hands_of(clip: Clip, report: Callable[[str], None]) -> MeasuredHands:
    """Return the hands of a clip, looked for RATE times a second and filled in between; nothing is kept on a disk.

    Raises HandNetworksError if the networks are other files than they should be, and what `report` raises.
    """
    every = max(round(clip.fps / RATE), 1)
    num_steps = 2 * len(clip.frames) // every + 2

    def heard(step: int) -> None:
        report(f"Looking for the hand: {step * 10 // num_steps * 10} %.")

    return measure_hands(clip.frames, clip.fps, report=heard, every=every)


def seen_with(clip: Clip, hands: MeasuredHands, num_frames: int, size: int) -> Clip:
    """Return what `as_seen` returns, with the mask of measured hands; without one where it shows none."""
    chosen = sample_frames(len(clip.frames), num_frames, times_s=clip.times_s)
    masks = [hand_mask(clip.frames[t], hands.joints[t, hands.found[t]]) for t in chosen]
    own = Clip(frames=clip.frames[chosen], fps=clip.fps, source=clip.source, hand_mask=np.stack(masks))
    mask = as_seen(own, num_frames, size).hand_mask
    if not mask.any():
        return as_seen(clip, num_frames, size)
    at = hands.seen(chosen, clip.frames.shape[1:3], size)
    return replace(as_seen(clip, num_frames, size), hand_mask=mask, hands=at)


def said(hands: MeasuredHands) -> str:
    """Return in words where hands were found."""
    share = hands.found.any(1).mean()
    return f"Measured hand: outlined in {share:.0%} of the frames." if share else "Measured hand: none was found."
