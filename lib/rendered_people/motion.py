"""Building blocks of gestures: movement profiles, hand shapes, limits of the wrist, idle wandering."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from rendered_people.body import FOREARM_MM, SHOULDER, UPPER_ARM_MM, bend_arm, cross

Vector = Sequence[float] | Float[np.ndarray, "3"]


@dataclass(frozen=True, kw_only=True)
class Hand:
    """The hand at one key pose or at many times; fields as in `Performance`."""

    wrist: Float[np.ndarray, "*time 3"]  # mm
    palm: Float[np.ndarray, "*time 3 3"]
    fingers: Float[np.ndarray, "*time 5 4"]  # rad
    swivel: Float[np.ndarray, "*time"]  # rad


def minimum_jerk(s: np.ndarray) -> np.ndarray:
    """Return the progress of a reach, 0 to 1, at the fraction `s` of its time (Flash and Hogan 1985)."""
    s = np.clip(s, 0.0, 1.0)
    return s**3 * (10 - 15 * s + 6 * s**2)


def bump(t: np.ndarray, start_s: float, end_s: float) -> np.ndarray:
    """Return a smooth rise from 0 at the start to 1 halfway and back to 0 at the end."""
    s = np.clip((t - start_s) / (end_s - start_s), 0.0, 1.0)
    return 64 * (s * (1 - s)) ** 3


def plateau(t: np.ndarray, start_s: float, end_s: float, ramp_s: float) -> np.ndarray:
    """Return 1 between start and end, with ramps of `ramp_s`, and 0 outside."""
    return minimum_jerk((t - start_s) / ramp_s) * minimum_jerk((end_s - t) / ramp_s)


def wander(
    t: Float[np.ndarray, " time"], rng: np.random.Generator, amplitude: Sequence[float], slowest_hz: float
) -> Float[np.ndarray, "time channels"]:
    """Return random smooth movement of every channel: three sines within two octaves, random in phase."""
    channels = len(amplitude)
    rates = slowest_hz * 4.0 ** rng.uniform(0, 1, (3, channels))
    phases = rng.uniform(0, 2 * np.pi, (3, channels))
    waves = np.sin(2 * np.pi * rates * t[:, None, None] + phases)
    return np.asarray(amplitude) * waves.sum(1) / np.sqrt(1.5)


def turn(rotvec: Float[np.ndarray, "*time 3"]) -> Float[np.ndarray, "*time 3 3"]:
    """Return the rotation matrices of rotation vectors (Rodrigues)."""
    squared = (rotvec * rotvec).sum(-1)[..., None, None]
    # Avoids division by zero; the rotation is negligible there.
    angle = np.sqrt(np.maximum(squared, 1e-16))
    skew = np.zeros((*rotvec.shape, 3))
    skew[..., 2, 1], skew[..., 0, 2], skew[..., 1, 0] = rotvec[..., 0], rotvec[..., 1], rotvec[..., 2]
    skew = skew - np.swapaxes(skew, -1, -2)
    return np.eye(3) + np.sin(angle) / angle * skew + (1 - np.cos(angle)) / angle**2 * (skew @ skew)


def hand_frame(fingers: Vector, palm: Vector) -> Float[np.ndarray, "3 3"]:
    """Return the hand's orientation: its fingers point as given, its palm faces as nearly as possible as given."""
    y = np.asarray(fingers, dtype=float)
    y = y / np.linalg.norm(y)
    z = np.asarray(palm, dtype=float)
    z = z - (z @ y) * y
    z = z / np.linalg.norm(z)
    return np.stack([cross(y, z), y, z], axis=-1)


def blend(t: Float[np.ndarray, " time"], keys: Sequence[Hand], spans: Sequence[tuple[float, float]]) -> Hand:
    """Move the hand from key to key, reach k within `spans[k]`; reaches that overlap are blended."""
    progress = np.stack([minimum_jerk((t - start) / (end - start)) for start, end in spans])

    def travel(values: list[np.ndarray]) -> np.ndarray:
        return values[0] + np.tensordot(progress, np.diff(np.stack(values), axis=0), axes=(0, 0))

    palms = np.stack([key.palm for key in keys])
    turns = Rotation.from_matrix(np.swapaxes(palms[:-1], 1, 2) @ palms[1:]).as_rotvec()
    palm = palms[0]
    for share, rotvec in zip(progress, turns, strict=True):
        palm = palm @ turn(share[:, None] * rotvec)
    return Hand(
        wrist=travel([key.wrist for key in keys]),
        palm=palm,
        fingers=travel([key.fingers for key in keys]),
        swivel=travel([key.swivel for key in keys]),
    )


def _soft(value: np.ndarray, low: float, high: float, knee: float) -> np.ndarray:
    """Limit the value smoothly; it is unchanged in the inner fraction `knee` of the range."""
    centre, half = (low + high) / 2, (high - low) / 2
    x = (value - centre) / half
    over = np.maximum(np.abs(x) - knee, 0.0) / (1 - knee)
    return centre + half * np.where(over > 0, np.sign(x) * (knee + (1 - knee) * np.tanh(over)), x)


def keep_in_reach(wrist: Float[np.ndarray, "time 3"]) -> Float[np.ndarray, "time 3"]:
    """Limit wrist positions smoothly to the reach of the reference arm, which stays slightly bent."""
    offset = wrist - SHOULDER
    distance = np.linalg.norm(offset, axis=-1, keepdims=True)
    longest = 0.97 * (UPPER_ARM_MM + FOREARM_MM)
    return SHOULDER + offset * _soft(distance, -longest, longest, 0.8) / distance


def keep_wrist_natural(hand: Hand) -> Float[np.ndarray, "time 3 3"]:
    """Limit the palm's orientation to the anatomical range of forearm and wrist."""
    shoulder = np.broadcast_to(SHOULDER, hand.wrist.shape)
    elbow, wrist = bend_arm(shoulder, hand.wrist, UPPER_ARM_MM, FOREARM_MM, hand.swivel)
    forearm = (wrist - elbow) / FOREARM_MM
    upper = (elbow - shoulder) / UPPER_ARM_MM
    # Forearm rotation: 0 with the palm to the shoulder, minus half a turn facing away, full pronation. Taken
    # from the hand's thumb side, which stays across the forearm however the wrist bends.
    palm_in = (upper * forearm).sum(-1, keepdims=True) * forearm - upper
    thumb_in = cross(forearm, palm_in)
    thumb = hand.palm[:, :, 0]
    rotation = np.arctan2(-(thumb * palm_in).sum(-1), (thumb * thumb_in).sum(-1))
    # The branch cut lies opposite to the middle of the range.
    rotation = np.where(rotation > 1.6, rotation - 2 * np.pi, rotation)
    excess = _soft(rotation, -3.05, 0.25, 0.8) - rotation
    palm = turn(excess[:, None] * forearm) @ hand.palm

    seen = np.einsum("tji,tj->ti", palm, forearm)  # the forearm in the hand's frame
    # Extension 72 degrees, flexion 75; deviation to the thumb 24, to the little finger 40.
    back = _soft(np.arctan2(seen[:, 2], seen[:, 1]), -1.31, 1.26, 0.6)
    aside = _soft(np.arctan2(seen[:, 0], np.hypot(seen[:, 1], seen[:, 2])), -0.42, 0.70, 0.6)
    allowed = np.stack([np.sin(aside), np.cos(aside) * np.cos(back), np.cos(aside) * np.sin(back)], axis=-1)
    axis = cross(allowed, seen)
    sine = np.linalg.norm(axis, axis=-1)
    angle = np.arctan2(sine, (allowed * seen).sum(-1))
    return palm @ turn(axis * (angle / np.maximum(sine, 1e-12))[:, None])


# Limits of `Performance.fingers`, rad: the range of a relaxed adult hand.
FINGER_LOW = np.array([[-0.2, -0.85, -0.3, -0.4], *[[-0.35, -0.45, -0.1, -0.1]] * 4])
FINGER_HIGH = np.array([[1.3, 0.8, 1.15, 1.4], *[[1.65, 0.45, 1.9, 1.3]] * 4])


def _shape(
    thumb: Sequence[float], knuckle: Sequence[float], middle: Sequence[float], spread: Sequence[float]
) -> Float[np.ndarray, "5 4"]:
    # The end joints share a tendon with the middle ones and follow them.
    four = np.stack([knuckle, spread, middle, 0.6 * np.asarray(middle)], axis=-1)
    return np.concatenate([np.asarray(thumb)[None], four])


_STRAIGHT, _CURLED = (0.05, 0.05, 0.06, 0.08), (1.65, 1.7, 1.7, 1.65)
_FIST = ((1.35, 1.4, 1.45, 1.45), _CURLED, (0.0, 0.0, 0.03, 0.06))
# The thumb's own four angles, then knuckles, middle joints and spread from the index to the little finger.
SHAPES: dict[str, Float[np.ndarray, "5 4"]] = {
    "flat": _shape((0.1, 0.05, 0.0, 0.0), (0.04, 0.02, 0.03, 0.05), _STRAIGHT, (0.0, 0.0, 0.0, 0.0)),
    "closed": _shape((0.2, 0.3, 0.1, 0.1), (0.1, 0.1, 0.1, 0.12), _STRAIGHT, (-0.1, 0.0, 0.06, 0.12)),
    "relaxed": _shape((0.4, 0.15, 0.2, 0.25), (0.25, 0.32, 0.4, 0.45), (0.4, 0.5, 0.55, 0.55), (0.0,) * 4),
    "spread": _shape((0.2, -0.4, 0.0, -0.1), (0.0, 0.0, 0.0, 0.0), _STRAIGHT, (0.2, 0.05, -0.12, -0.3)),
    "claw": _shape((0.7, -0.2, 0.1, 0.4), (0.3, 0.32, 0.36, 0.4), (0.8, 0.85, 0.85, 0.8), (0.12, 0.03, -0.06, -0.18)),
    "fist": _shape((0.3, 0.3, 1.0, 0.75), *_FIST),
    "thumb": _shape((0.0, -0.5, -0.05, -0.15), *_FIST),
    "bunch": _shape((1.1, 0.35, 0.1, 0.15), (0.85, 0.85, 0.95, 1.05), (0.75, 0.8, 0.8, 0.85), (-0.1, 0.0, 0.1, 0.25)),
    "two": _shape((0.35, 0.42, 1.0, 0.55), (0.06, 0.04, 1.4, 1.4), (0.06, 0.05, 1.65, 1.6), (-0.04, 0.04, 0.0, 0.04)),
    "point": _shape((0.35, 0.4, 0.95, 0.55), (0.06, 1.3, 1.4, 1.4), (0.08, 1.6, 1.65, 1.6), (0.0, 0.0, 0.0, 0.04)),
    "pinch": _shape((0.95, 0.12, 0.05, 0.15), (0.75, 1.35, 1.4, 1.4), (0.8, 1.6, 1.65, 1.6), (0.0, 0.0, 0.0, 0.04)),
    "gap": _shape((0.45, -0.35, 0.0, 0.0), (0.15, 1.35, 1.4, 1.4), (0.25, 1.6, 1.65, 1.6), (0.05, 0.0, 0.0, 0.04)),
    "cup": _shape((1.1, 0.1, 0.1, 0.2), (0.65, 0.68, 0.7, 0.72), (0.75, 0.75, 0.75, 0.7), (0.06, 0.0, -0.03, -0.08)),
}
