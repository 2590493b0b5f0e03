"""The hand in a clip that a reader brought: measured for the frames that a network gets, and said how surely."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from gatescope.loaders import Clip, MeasuredHands
from gatescope.loaders.clip import as_seen, crop_and_resize
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
    seen, masks = as_seen(clip, num_frames, size), {}
    chosen = sample_frames(len(clip.frames), num_frames, times_s=clip.times_s)
    for t in set(chosen):  # a short clip repeats its end
        own = hand_mask(clip.frames[t], hands.joints[t, hands.found[t]])
        grey = np.repeat(own[None, ..., None].astype(np.uint8) * 255, 3, axis=-1)
        masks[t] = crop_and_resize(grey, size)[0, ..., 0] > 127
    mask = np.stack([masks[t] for t in chosen])
    if not mask.any():
        return seen
    return replace(seen, hand_mask=mask, hands=hands.seen(chosen, clip.frames.shape[1:3], size))


def said(hands: MeasuredHands, seen: Clip) -> str:
    """Return in words where hands were found, given the clip as `seen_with` returns it."""
    share = hands.found.any(1).mean()
    if not share:
        return "Measured hand: none was found."
    if seen.hand_mask is None:
        return f"Measured hand: found in {share:.0%} of the frames, beside the part that the network gets."
    return f"Measured hand: outlined in {share:.0%} of the frames."
