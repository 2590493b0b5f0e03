"""Movements of the gesturing hand: one motion program for each kind of gesture."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from rendered_people.motion import SHAPES, Hand, Vector, blend, bump, hand_frame, plateau, turn

Span = tuple[float, float]  # start and end, s
PHASE = 0.25  # of the clip: the most by which a gesture comes earlier or later


@dataclass(frozen=True)
class Take:
    """One clip to be performed: its times, its random numbers, and this person's way of moving."""

    t: Float[np.ndarray, " time"]  # s
    duration_s: float
    rng: np.random.Generator
    amplitude: float  # ratio
    offset: Float[np.ndarray, "3"]  # of the place gestures are made at, mm
    tilt: Float[np.ndarray, "3 3"]  # of the palm
    deviation: Float[np.ndarray, "5 4"]  # of this person's finger angles, rad

    def key(
        self,
        wrist: Vector,
        fingers: Vector,
        palm: Vector,
        shape: str,
        swivel: float,
    ) -> Hand:
        """Return a key pose from the wrist's position, the directions of fingers and palm, and the shape's name."""
        return Hand(
            wrist=np.asarray(wrist, dtype=float) + self.offset,
            palm=self.tilt @ hand_frame(fingers, palm),
            fingers=SHAPES[shape] + self.deviation,
            swivel=np.array(swivel + self.rng.normal(0, 0.06)),
        )

    def rest(self) -> Hand:
        """Return the hand on the lap, below the picture."""
        return Hand(
            wrist=self.rng.normal((-165, -430, 150), (20, 12, 15)),
            palm=turn(self.rng.normal(0, 0.12, 3)) @ hand_frame((0.25, -0.2, 0.95), (0.25, -0.95, -0.2)),
            fingers=SHAPES["relaxed"] + self.deviation,
            swivel=np.array(self.rng.uniform(0.0, 0.25)),
        )

    def schedule(self, stroke_s: Span, num_strokes: int = 1) -> list[Span]:
        """Return the spans of the rise, each stroke and each return between them, and the fall.

        Beginning and end of a clip follow the same distribution, so that it can also run backwards. The whole is
        shifted within the clip, whose ends may cut off much of the rise or of the fall but nothing of a stroke:
        otherwise the time at which the hand comes into view would separate the two gestures of a pair.
        """
        parts = [self.rng.uniform(0.55, 0.8)]
        for k in range(2 * num_strokes - 1):
            parts.append(self.rng.uniform(*stroke_s) * (1.25 if k % 2 else 1.0))
        parts.append(self.rng.uniform(0.55, 0.8))
        lengths = np.array(parts)
        # Negative pauses: two reaches overlap, and the hand cuts the corner.
        pauses = self.rng.uniform(-0.08, 0.1, len(parts) - 1)
        filled = self.duration_s * self.rng.uniform(0.85, 1.12)
        scale = min(1.35, filled / (lengths.sum() + pauses.sum()))
        lengths, pauses = scale * lengths, scale * pauses
        spare = self.duration_s - lengths.sum() - pauses.sum()
        starts = np.cumsum([0.0, *(lengths[:-1] + pauses)])
        # The largest shifts that leave every stroke inside.
        earliest, latest = -starts[1], self.duration_s - starts[-1]
        middle, reach = spare / 2, (latest - earliest) / 2 - 0.02 * self.duration_s
        starts += middle + self.rng.uniform(-1, 1) * min(reach, PHASE * self.duration_s)
        return list(zip(starts, starts + lengths, strict=True))


def _travel(take: Take, start: Hand, end: Hand, stroke_s: Span, arc: Vector, repeats: float = 0.0) -> Hand:
    """Move from rest to `start`, stroke to `end`, and return; `repeats` is the probability of a second stroke."""
    t, rng = take.t, take.rng
    again = rng.random() < repeats and take.duration_s > 2.8
    around = (take.rest(), take.rest())
    spans = take.schedule(stroke_s, 2 if again else 1)
    hand = blend(t, [around[0], *[start, end] * (2 if again else 1), around[1]], spans)
    wrist = hand.wrist
    for span in (spans[0], spans[-1]):
        wrist = wrist + bump(t, *span)[:, None] * rng.normal((-25, 0, -10), (20, 10, 25))
    bend = np.zeros((len(t), 3))
    for k, (begin, finish) in enumerate(spans[1:-1]):
        if k % 2:  # the way back, nearer to the body
            wrist = wrist + bump(t, begin, finish)[:, None] * np.array([0.0, -25.0, -70.0])
            continue
        wrist = wrist + bump(t, begin, finish)[:, None] * (np.asarray(arc) * rng.uniform(0.3, 1.5))
        # Winding up before and running on after, a few percent of the stroke.
        for at, past in ((begin, -1.0), (finish, 1.0)):
            swing = bump(t, at - 0.25, at + 0.25) * rng.uniform(0.0, 0.06) * past
            wrist = wrist + swing[:, None] * (end.wrist - start.wrist)
        # The wrist lags or leads.
        bend = bend + bump(t, begin, finish)[:, None] * rng.normal(0, 0.12, 3)
    return replace(hand, wrist=wrist, palm=turn(bend) @ hand.palm)


def _palm_to_camera(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return fingers and palm directions of an upright hand, its palm to the camera and somewhat to the left."""
    yaw = rng.uniform(-0.25, 0.85)
    fingers = np.array([rng.normal(0, 0.1), 1.0, rng.uniform(0.0, 0.35)])
    return fingers, np.array([np.sin(yaw), -0.2, np.cos(yaw)])


def across(take: Take, shape: str, half_way: Span, centre_x: float) -> Hand:
    """Move to the performer's left."""
    rng = take.rng
    fingers, palm = _palm_to_camera(rng)
    middle = np.array([centre_x + rng.normal(0, 15), rng.normal(-70, 15), rng.uniform(250, 330)])
    half = rng.uniform(*half_way) * take.amplitude
    lean = rng.uniform(0.1, 0.5)  # the forearm swings about the elbow
    ends = []
    for side in (-1.0, 1.0):
        end = take.key(middle + [side * half, 0, 0], fingers + [side * lean, 0, 0], palm, shape, 0.5)
        ends.append(replace(end, wrist=end.wrist + rng.normal(0, (0, 14, 14))))
    return _travel(take, *ends, (0.6, 0.95), (0, 12, 35), repeats=0.12)


def downwards(take: Take, shape: str, half_way: Span, centre_y: float) -> Hand:
    """Move downwards."""
    rng = take.rng
    fingers, palm = _palm_to_camera(rng)
    fingers = fingers + [rng.uniform(0.0, 0.7), 0, 0]
    middle = np.array([rng.normal(-70, 22), centre_y + rng.normal(0, 15), rng.uniform(250, 320)])
    half = rng.uniform(*half_way) * take.amplitude
    lean = rng.uniform(0.1, 0.4)  # bent back above, forwards below
    ends = []
    for side in (1.0, -1.0):
        end = take.key(middle + [0, side * half, 0], fingers - [0, 0, side * lean], palm, shape, 0.5)
        ends.append(replace(end, wrist=end.wrist + rng.normal(0, (14, 0, 14))))
    return _travel(take, *ends, (0.6, 0.95), (-8, 0, 35), repeats=0.12)


def away(take: Take, shape: str) -> Hand:
    """Move from the chest to the camera."""
    rng = take.rng
    fingers, palm = _palm_to_camera(rng)
    near = np.array([rng.normal(-90, 25), rng.normal(-65, 15), rng.uniform(165, 195)])
    way = np.array([rng.normal(20, 15), rng.normal(25, 15), rng.uniform(200, 245) * take.amplitude])
    ends = [take.key(at, fingers, palm, shape, 0.5) for at in (near, near + way)]
    return _travel(take, *ends, (0.6, 0.95), (0, 8, 0), repeats=0.12)


def turning(take: Take) -> Hand:
    """Turn clockwise for the performer: about the forearm, from palm down to palm up."""
    rng = take.rng
    place = np.array([rng.normal(-80, 25), rng.normal(-80, 15), rng.uniform(270, 330)])
    shape = rng.choice(["flat", "spread", "claw"])
    axis = np.array([rng.uniform(0.1, 0.3), rng.uniform(0.25, 0.5), 1.0])
    axis = axis / np.linalg.norm(axis)
    first = take.key(place, (0.0, 0.9, 0.75), (0.0, -0.6, 0.9), shape, 0.35)
    angle, before = rng.uniform(1.9, 2.5) * min(take.amplitude, 1.1), rng.uniform(0.55, 0.85)
    ends = [
        replace(
            first, palm=turn((share * angle - before) * axis) @ first.palm, swivel=np.asarray(first.swivel + swivel)
        )
        for share, swivel in ((0.0, 0.3), (1.0, -0.3))
    ]
    shift = rng.normal(0, 12, 3)
    ends[1] = replace(ends[1], wrist=ends[1].wrist + shift)
    return _travel(take, *ends, (0.75, 1.1), (0, 0, 8))


def opening(take: Take, closed: Sequence[str], opened: str) -> Hand:
    """Open the fingers."""
    rng = take.rng
    fingers, palm = _palm_to_camera(rng)
    place = np.array([rng.normal(-75, 25), rng.normal(-75, 15), rng.uniform(270, 330)])
    first, last = (take.key(place, fingers, palm, shape, 0.5) for shape in (rng.choice(closed), opened))
    last = replace(last, wrist=last.wrist + rng.normal(0, 12, 3))
    return _travel(take, first, last, (0.6, 0.95), (0, 0, 6), repeats=0.15)


def held(
    take: Take,
    shapes: Sequence[str],
    fingers: Vector,
    palm: Vector,
    swivel: float,
    height: float,
) -> Hand:
    """Show the hand and hold it."""
    rng = take.rng
    place = np.array([rng.normal(-80, 28), height + rng.normal(0, 15), rng.uniform(270, 350)])
    first = take.key(place, np.asarray(fingers) + rng.normal(0, 0.1, 3), palm, rng.choice(shapes), swivel)
    last = replace(first, wrist=first.wrist + rng.normal(0, 7, 3))
    return _travel(take, first, last, (0.9, 1.5), (0, 0, 0))


def _oscillating(take: Take, place: Hand, stroke_s: Span) -> tuple[Hand, Span]:
    """Hold the hand at one place; return it and the span in which it may move there."""
    spans = take.schedule(stroke_s)
    drift = replace(place, wrist=place.wrist + take.rng.normal(0, 8, 3))
    return blend(take.t, [take.rest(), place, drift, take.rest()], spans), spans[1]


def rolling(take: Take) -> Hand:
    """Roll forwards: the forearm lies across the chest, the hand goes over the top to the camera."""
    rng = take.rng
    centre = np.array([rng.normal(-65, 20), rng.normal(-70, 15), rng.uniform(250, 300)])
    shape = rng.choice(["flat", "closed", "relaxed"])
    place = take.key(centre, (0.9, rng.uniform(0.1, 0.5), rng.uniform(0.0, 0.4)), (0.1, -0.35, -0.9), shape, 0.6)
    hand, (start, end) = _oscillating(take, place, (1.15, 1.6))
    # At most a third of a turn per frame at 16 frames a clip, or the direction could not be told.
    turns = rng.uniform(1.4, 2.15) * (end - start) / 1.4
    angle = rng.uniform(0, 2 * np.pi) + 2 * np.pi * turns * (take.t - start) / (end - start)
    radius = rng.uniform(48, 68) * take.amplitude * plateau(take.t, start - 0.15, end + 0.15, 0.35)
    circle = np.stack([np.zeros_like(angle), np.cos(angle), np.sin(angle)], axis=-1)
    nod = rng.normal(0, 0.2) * np.cos(angle + rng.uniform(0, 2 * np.pi)) * radius / 60
    bend = np.stack([nod, 0 * nod, 0 * nod], axis=-1)
    return replace(hand, wrist=hand.wrist + radius[:, None] * circle, palm=turn(bend) @ hand.palm)


def shaking(take: Take) -> Hand:
    """Wave from side to side."""
    rng = take.rng
    fingers, palm = _palm_to_camera(rng)
    place = np.array([rng.normal(-75, 25), rng.normal(-75, 15), rng.uniform(270, 330)])
    place = take.key(place, fingers, palm, rng.choice(["flat", "spread", "relaxed"]), 0.55)
    hand, (start, end) = _oscillating(take, place, (1.15, 1.6))
    angle = rng.uniform(0, 2 * np.pi) + 2 * np.pi * rng.uniform(1.7, 2.6) * take.t
    size = take.amplitude * plateau(take.t, start - 0.15, end + 0.15, 0.35)
    sway = rng.uniform(25, 55) * size * np.sin(angle)
    bend = np.zeros((len(take.t), 3))
    bend[:, 2] = -rng.uniform(0.2, 0.4) * size * np.sin(angle - rng.normal(0, 0.5))
    bend[:, 1] = rng.normal(0, 0.1) * size * np.sin(angle)
    return replace(hand, wrist=hand.wrist + sway[:, None] * [1.0, 0.0, 0.1], palm=turn(bend) @ hand.palm)


def drumming(take: Take) -> Hand:
    """Tap with the fingers in the air, one after the other."""
    rng = take.rng
    place = np.array([rng.normal(-80, 25), rng.normal(-65, 15), rng.uniform(260, 330)])
    fingers = (rng.uniform(-0.1, 0.5), rng.uniform(0.3, 0.9), 0.8)
    place = take.key(place, fingers, (0.0, -0.8, 0.6), rng.choice(["relaxed", "flat"]), 0.45)
    hand, (start, end) = _oscillating(take, place, (1.15, 1.6))
    lags = rng.choice([-1.0, 1.0]) * rng.uniform(0.7, 1.1) * np.array([0.6, 0, 1, 2, 3])
    angle = 2 * np.pi * rng.uniform(1.5, 2.2) * take.t[:, None] + rng.uniform(0, 2 * np.pi) + lags
    size = rng.uniform(0.32, 0.45) * take.amplitude * plateau(take.t, start - 0.15, end + 0.15, 0.3)
    tap = size[:, None] * (1 + np.sin(angle))
    tap[:, 0] *= 0.35
    bent = hand.fingers.copy()
    bent[:, 1:, 0] += tap[:, 1:] - 0.2 * size[:, None]
    bent[:, :, 2] += 0.5 * tap
    bent[:, 1:, 3] += 0.3 * tap[:, 1:]
    return replace(hand, fingers=bent)
