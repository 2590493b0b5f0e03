"""Movements of a hand that makes no gesture: none, or one of several everyday acts."""

from dataclasses import dataclass, replace

import numpy as np

from rendered_people.motion import Hand, blend, bump, plateau, turn
from rendered_people.programs import Take


def nothing(take: Take) -> Hand:
    """Keep the hand on the lap, sometimes a little higher."""
    rng = take.rng
    first, last = take.rest(), take.rest()
    if rng.random() < 0.25:
        lift = np.array([10.0, rng.uniform(60, 120), 30.0])
        first, last = (replace(key, wrist=key.wrist + lift) for key in (first, last))
    return blend(take.t, [first, last], [(0.0, take.duration_s)])


@dataclass(frozen=True, kw_only=True)
class _Act:
    """An everyday act in front of a camera."""

    wrist: tuple[float, float, float]  # mm
    fingers: tuple[float, float, float]
    palm: tuple[float, float, float]
    shape: str
    swivel: float = 0.3
    to: tuple[float, float, float] = (0.0, 0.0, 0.0)  # movement during the act, mm
    rub: tuple[float, float, float] = (0.0, 0.0, 0.0)  # to and fro, mm
    rub_hz: float = 2.5
    tip: tuple[float, float, float] = (0.0, 0.0, 0.0)  # rotation during the act, rad


_ACTS = (
    # Scratching the head.
    _Act(
        wrist=(-188, 112, 142),
        fingers=(0.4, 0.9, -0.25),
        palm=(0.8, -0.4, -0.4),
        shape="claw",
        swivel=0.6,
        rub=(4, 10, 8),
        rub_hz=3.5,
    ),
    # Rubbing the face.
    _Act(
        wrist=(-82, 22, 232),
        fingers=(0.25, 0.9, -0.3),
        palm=(0.3, -0.3, -0.9),
        shape="relaxed",
        rub=(3, 10, 2),
        rub_hz=1.6,
    ),
    # Adjusting glasses.
    _Act(
        wrist=(-138, 122, 222),
        fingers=(0.5, 0.75, -0.45),
        palm=(0.75, -0.3, -0.6),
        shape="pinch",
        swivel=0.5,
        to=(0, 12, -6),
    ),
    # Drinking.
    _Act(
        wrist=(-75, 50, 225),
        fingers=(0.85, 0.3, -0.2),
        palm=(0.3, 0.1, -0.95),
        shape="cup",
        swivel=0.5,
        to=(5, 20, -5),
        tip=(-0.5, 0.0, 0.0),
    ),
    # Stretching.
    _Act(
        wrist=(-225, 190, 130),
        fingers=(-0.2, 0.95, 0.1),
        palm=(0.8, 0.1, 0.5),
        shape="fist",
        swivel=0.5,
        to=(-10, 60, -10),
    ),
    # Smoothing the hair back.
    _Act(
        wrist=(-160, 105, 130),
        fingers=(0.2, 0.85, -0.35),
        palm=(0.9, -0.25, 0.0),
        shape="flat",
        swivel=0.5,
        to=(-10, 30, -30),
    ),
    # Pointing at something beside.
    _Act(
        wrist=(-125, -30, 260),
        fingers=(-0.6, 0.75, 0.25),
        palm=(0.5, 0.3, 0.8),
        shape="point",
        swivel=0.1,
        rub=(3, 3, 0),
        rub_hz=1.2,
    ),
    # The chin on the hand.
    _Act(
        wrist=(-55, -55, 150),
        fingers=(0.3, 0.75, 0.2),
        palm=(0.2, 0.35, -0.9),
        shape="fist",
        swivel=0.3,
        rub=(1, 2, 0),
        rub_hz=0.5,
    ),
    # Brushing off the other sleeve.
    _Act(
        wrist=(-60, -70, 225),
        fingers=(0.85, 0.3, -0.45),
        palm=(0.4, 0.1, -0.9),
        shape="relaxed",
        swivel=0.4,
        to=(25, -25, 0),
        rub=(3, 6, 0),
        rub_hz=2.0,
    ),
)


def other(take: Take) -> Hand:
    """Perform one of several everyday acts."""
    rng = take.rng
    act = _ACTS[rng.integers(len(_ACTS))]
    # Most acts touch the head or the chest, so a person's own offset counts less.
    near = replace(take, offset=take.offset * 0.25, tilt=np.eye(3))
    first = near.key(act.wrist, act.fingers, act.palm, act.shape, act.swivel)
    last = replace(first, wrist=first.wrist + np.array(act.to), palm=turn(np.array(act.tip)) @ first.palm)
    spans = take.schedule((0.9, 1.5))
    hand = blend(take.t, [take.rest(), first, last, take.rest()], spans)
    start, end = spans[1]
    angle = 2 * np.pi * act.rub_hz * rng.uniform(0.8, 1.2) * take.t + rng.uniform(0, 2 * np.pi)
    rub = (plateau(take.t, start - 0.1, end + 0.1, 0.3) * np.sin(angle))[:, None] * np.array(act.rub)
    # Round the chest and the chin, not through them.
    detour = sum(bump(take.t, *span) for span in (spans[0], spans[2]))[:, None] * [-40.0, 0.0, 110.0]
    return replace(hand, wrist=hand.wrist + rub + detour)
