"""Jester's 27 gestures as motion programs: a `Performance` at any times, all random numbers drawn beforehand.

Gestures that differ only in direction (swiping left and right, pushing and pulling, ...) share one program. One of the
two runs it backwards in time, everything included, so that frames without their order cannot separate the two.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from jaxtyping import Float

from rendered_people.body import Performance
from rendered_people.everyday import nothing, other
from rendered_people.labels import JESTER_LABELS
from rendered_people.motion import (
    FINGER_HIGH,
    FINGER_LOW,
    Hand,
    bump,
    keep_in_reach,
    keep_wrist_natural,
    minimum_jerk,
    turn,
    wander,
)
from rendered_people.programs import Take, across, away, downwards, drumming, held, opening, rolling, shaking, turning

_Program = Callable[[Take], Hand]
_HAND_SWIPE, _FINGER_SLIDE = (155.0, 190.0), (85.0, 115.0)  # half the way, mm
_across_hand = partial(across, shape="flat", half_way=_HAND_SWIPE, centre_x=-5.0)
_across_two = partial(across, shape="two", half_way=_FINGER_SLIDE, centre_x=-45.0)
_down_hand = partial(downwards, shape="flat", half_way=(120.0, 150.0), centre_y=-40.0)
_down_two = partial(downwards, shape="two", half_way=_FINGER_SLIDE, centre_y=-45.0)
_away_hand, _away_two = partial(away, shape="flat"), partial(away, shape="two")
_opening_hand = partial(opening, closed=("fist", "bunch"), opened="spread")
_opening_two = partial(opening, closed=("pinch",), opened="gap")
_thumb_up = partial(held, shapes=("thumb",), fingers=(0.8, 0.15, 0.6), palm=(0.6, 0.0, -0.8), swivel=0.2, height=-75.0)
_thumb_down = partial(held, shapes=("thumb",), fingers=(0.8, 0.0, 0.6), palm=(-0.6, 0.1, 0.8), swivel=1.0, height=-15.0)
_stop = partial(
    held,
    shapes=("flat", "closed", "spread"),
    fingers=(0.0, 1.0, 0.1),
    palm=(0.25, 0.0, 1.0),
    swivel=0.55,
    height=-65.0,
)

# The program of each gesture, and whether it runs backwards.
PROGRAMS: dict[str, tuple[_Program, bool]] = {
    "Swiping Left": (_across_hand, False),
    "Swiping Right": (_across_hand, True),
    "Swiping Down": (_down_hand, False),
    "Swiping Up": (_down_hand, True),
    "Pushing Hand Away": (_away_hand, False),
    "Pulling Hand In": (_away_hand, True),
    "Sliding Two Fingers Left": (_across_two, False),
    "Sliding Two Fingers Right": (_across_two, True),
    "Sliding Two Fingers Down": (_down_two, False),
    "Sliding Two Fingers Up": (_down_two, True),
    "Pushing Two Fingers Away": (_away_two, False),
    "Pulling Two Fingers In": (_away_two, True),
    "Rolling Hand Forward": (rolling, False),
    "Rolling Hand Backward": (rolling, True),
    "Turning Hand Clockwise": (turning, False),
    "Turning Hand Counterclockwise": (turning, True),
    "Zooming In With Full Hand": (_opening_hand, False),
    "Zooming Out With Full Hand": (_opening_hand, True),
    "Zooming In With Two Fingers": (_opening_two, False),
    "Zooming Out With Two Fingers": (_opening_two, True),
    "Thumb Up": (_thumb_up, False),
    "Thumb Down": (_thumb_down, False),
    "Shaking Hand": (shaking, False),
    "Stop Sign": (_stop, False),
    "Drumming Fingers": (drumming, False),
    "No gesture": (nothing, False),
    "Doing other things": (other, False),
}


def _blinks(t: np.ndarray, duration_s: float, rng: np.random.Generator) -> Float[np.ndarray, " time"]:
    """Return the closing of the lids over time; about one blink in three seconds."""
    closed = np.zeros_like(t)
    for at, length, happens in zip(
        rng.uniform(0, duration_s, 3), rng.uniform(0.18, 0.28, 3), rng.random(3) < duration_s / 9, strict=True
    ):
        closed = np.maximum(closed, happens * bump(t, at - length / 2, at + length / 2))
    return closed


def _trunk(take: Take, wrist: Float[np.ndarray, "time 3"]) -> Float[np.ndarray, "time 3"]:
    """Return the trunk's rotation: breathing, swaying, and following the arm a little."""
    t, rng = take.t, take.rng
    sway = wander(t, rng, (0.004, 0.004, 0.004), 0.12)
    breath = rng.uniform(0.003, 0.006) * np.sin(2 * np.pi * rng.uniform(0.22, 0.34) * t + rng.uniform(0, 2 * np.pi))
    lifted = minimum_jerk((wrist[:, 1] + 430) / 330)
    follow = rng.uniform(0.2, 1.0)
    sway[:, 0] += breath + follow * 0.05 * (wrist[:, 2] - 130) / 300
    sway[:, 1] += follow * (0.04 * lifted + 0.06 * (wrist[:, 0] + 165) / 300)
    sway[:, 2] += follow * 0.015 * lifted
    return rng.normal(0, (0.03, 0.03, 0.015)) + sway


def _head(take: Take, wrist: Float[np.ndarray, "time 3"]) -> Float[np.ndarray, "time 3"]:
    """Return the head's rotation: small movements, some glances at the hand."""
    t, rng = take.t, take.rng
    nod = rng.normal(0, (0.05, 0.07, 0.03)) + wander(t, rng, (0.012, 0.02, 0.01), 0.15)
    attention = rng.uniform(0, 0.3) * minimum_jerk((wrist[:, 1] + 400) / 300)
    nod[:, 0] += attention * (120 - wrist[:, 1]) / 500
    nod[:, 1] += attention * wrist[:, 0] / 450
    return nod


def _tremble(take: Take, hand: Hand) -> Hand:
    """Add involuntary movement to the hand: slow drift and the physiological tremor of 8 to 11 Hz."""
    t, rng = take.t, take.rng
    drift = wander(t, rng, (2.5, 2.5, 2.5), 0.3)
    tremor = rng.uniform(0.1, 0.4) * np.sin(
        2 * np.pi * rng.uniform(8, 11, 3) * t[:, None] + rng.uniform(0, 2 * np.pi, 3)
    )
    # Tendons couple the fingers: one wave for all, another for each.
    waves = wander(t, rng, (0.02, *[0.015] * 5), 0.4)
    stir = (waves[:, :1] + waves[:, 1:])[:, :, None] * [0.6, 0.2, 1.0, 0.6]
    fingers = np.clip(hand.fingers + stir, FINGER_LOW, FINGER_HIGH)
    return replace(hand, wrist=keep_in_reach(hand.wrist + drift + tremor), fingers=fingers)


def perform(label: int, times: Float[np.ndarray, " time"], duration_s: float, rng: np.random.Generator) -> Performance:
    """Perform the gesture `label` at any times of a clip of `duration_s`, in any order, as one person on one day would.

    Each value depends on its own time only; all randomness comes from `rng`. Meant for clips of 2.2 to 3.4 s.

    Raises:
        ValueError: if `label` is none of the 27 gestures.
    """
    if not 0 <= label < len(JESTER_LABELS):
        raise ValueError(f"label must be 0 to {len(JESTER_LABELS) - 1}, a place in JESTER_LABELS; got {label}")
    program, backwards = PROGRAMS[JESTER_LABELS[label]]
    t = np.asarray(times, dtype=float)
    take = Take(
        t=duration_s - t if backwards else t,
        duration_s=duration_s,
        rng=rng,
        amplitude=rng.uniform(0.88, 1.12),
        offset=rng.uniform(-1, 1, 3) * np.array([30.0, 28.0, 24.0]),
        tilt=turn(rng.normal(0, (0.1, 0.12, 0.08))),
        deviation=rng.normal(0, 0.04, (5, 4)) + rng.normal(0, 0.04) * np.array([0.0, 0.0, 1.0, 0.6]),
    )
    hand = _tremble(take, program(take))
    return Performance(
        wrist=hand.wrist,
        palm=keep_wrist_natural(hand),
        fingers=hand.fingers,
        trunk=_trunk(take, hand.wrist),
        head=_head(take, hand.wrist),
        blink=_blinks(take.t, duration_s, rng),
        elbow_swivel=hand.swivel,
    )
