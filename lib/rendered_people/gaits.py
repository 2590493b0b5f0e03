"""Procedural gaits: people of any size who walk, turn, lean, and sometimes raise or wave an arm."""

import numpy as np
from scipy.spatial.transform import Rotation

from rendered_people.body_motion import BodyMotion
from rendered_people.skeleton import JOINT_NAMES

# An adult's bones, mm.
HIP_MM, THIGH_MM, SHIN_MM = 132.0, 443.0, 454.0
SPINE_MM, CHEST_MM, NECK_MM, HEAD_MM = 233.0, 257.0, 121.0, 115.0
SHOULDER_MM, UPPER_ARM_MM, FOREARM_MM = 151.0, 279.0, 252.0
SHOULDER_DROP = 0.28  # rad, by which a shoulder lies below the thorax
ANKLE_MM = 80.0  # above the ground
RAISED = 0.3  # fraction of the arms that are held up instead of swinging
TURNING = 0.5  # fraction of the walks that are curved


def gait(rng: np.random.Generator, *, num_frames: int, fps: float) -> BodyMotion:
    """Return one person walking for `num_frames` frames, with bones of constant length, the lower foot on the ground.

    Hips swing as a sine, knees bend while their leg swings forward, arms move in antiphase to the legs with bent
    elbows. Size, speed, phase, amplitudes, lean, heading and what the arms do are random.

    Raises:
        ValueError: if there is no frame or `fps` is not positive.
    """
    if num_frames < 1 or not fps > 0:
        raise ValueError(f"needed at least one frame and a positive frame rate; got {num_frames} and {fps}")
    size = np.exp(0.05 * np.clip(rng.normal(), -2, 2))
    times = np.arange(num_frames) / fps  # s
    stride_hz, amplitude = rng.uniform(0.6, 1.4), rng.uniform(0.1, 0.65)
    phase = 2 * np.pi * (stride_hz * times + rng.random())
    turn = rng.uniform(-1, 1) if rng.random() < TURNING else 0.0  # rad/s
    heading = rng.uniform(-np.pi, np.pi) + turn * times
    twist = rng.uniform(0, 0.4) * amplitude * np.sin(phase)
    lean, sway = rng.uniform(-0.1, 0.35), rng.normal(0, 0.05) + rng.uniform(0, 0.08) * np.sin(phase)
    nod, tilt = rng.normal(0, 0.15), rng.normal(0, 0.08)
    hips = _turned(heading + twist, 0.3 * lean, -0.5 * sway)
    chest = _turned(heading - twist, lean, sway)
    bent_knee, lifted_foot = rng.uniform(0, 0.3), rng.uniform(0.6, 1.6) * amplitude
    arm_swing, bent_elbow = rng.uniform(0.4, 1.4) * amplitude, rng.uniform(0.1, 1.4)

    joints = {"pelvis": np.zeros((num_frames, 3))}
    joints["spine"] = SPINE_MM * _turned(heading, 0.5 * lean, 0.3 * sway)[..., 1]
    joints["thorax"] = joints["spine"] + CHEST_MM * chest[..., 1]
    joints["neck"] = joints["thorax"] + NECK_MM * _turned(heading, lean + nod, sway + tilt)[..., 1]
    joints["head"] = joints["neck"] + HEAD_MM * _turned(heading, 0.5 * lean + 1.5 * nod, sway + tilt)[..., 1]
    for side, outwards, start in (("right", -1.0, 0.0), ("left", 1.0, np.pi)):
        swing = np.sin(phase + start)
        thigh = 0.5 * bent_knee + amplitude * swing
        shin = thigh - bent_knee - lifted_foot * np.maximum(np.cos(phase + start), 0)
        hip = outwards * HIP_MM * hips[..., 0]
        leg = [(THIGH_MM, thigh, 0.04), (SHIN_MM, shin, 0.04)]
        _chain(joints, (f"{side} hip", f"{side} knee", f"{side} ankle"), hip, leg, hips, outwards)
        drop = np.array([outwards * np.cos(SHOULDER_DROP), -np.sin(SHOULDER_DROP), 0])
        shoulder = joints["thorax"] + SHOULDER_MM * chest @ drop
        if rng.random() < RAISED:
            upper, fore, up, fore_up = _raised_arm(rng, times)
        else:
            upper = 0.1 - arm_swing * swing
            fore = upper + bent_elbow + np.maximum(-0.5 * arm_swing * swing, 0)
            up = fore_up = rng.uniform(0.05, 0.3)
        arm = [(UPPER_ARM_MM, upper, up), (FOREARM_MM, fore, fore_up)]
        _chain(joints, (f"{side} shoulder", f"{side} elbow", f"{side} wrist"), shoulder, arm, chest, outwards)

    body = size * np.stack([joints[name] for name in JOINT_NAMES], axis=1)
    lowest = np.minimum(body[:, JOINT_NAMES.index("right ankle"), 1], body[:, JOINT_NAMES.index("left ankle"), 1])
    # Two steps a stride, each as long as the legs open.
    speed = 2 * stride_hz * 2 * np.sin(amplitude) * size * (THIGH_MM + SHIN_MM)  # mm/s
    path = np.cumsum(speed / fps * _turned(heading, 0, 0)[..., 2], axis=0)
    path[:, 1] = size * ANKLE_MM - lowest
    return BodyMotion(
        joints=(body + path[:, None]).astype(np.float32),
        fps=fps,
        source=f"procedural gait: {stride_hz:.2f} strides/s, hips +-{amplitude:.2f} rad, size {size:.2f}",
    )


def _turned(yaw, pitch, roll) -> np.ndarray:
    """Return axes (time, 3, 3) of a part of the body, in columns: its left, up and forward directions in the world."""
    angles = np.broadcast_arrays(yaw, pitch, roll)
    return Rotation.from_euler("YXZ", np.stack(angles, axis=-1)).as_matrix()


def _chain(joints: dict, names, start: np.ndarray, bones: list, axes: np.ndarray, outwards: float) -> None:
    """Add a limb's joints: each bone hangs, swung forward and lifted sideways by so many rad."""
    joints[names[0]] = end = start
    for name, (length, forward, aside) in zip(names[1:], bones, strict=True):
        forward, aside = np.broadcast_arrays(forward, aside)
        hanging = np.cos(aside)
        direction = [outwards * np.sin(aside), -hanging * np.cos(forward), hanging * np.sin(forward)]
        along = np.broadcast_to(np.stack(direction, axis=-1), (len(start), 3))
        joints[name] = end = end + length * np.einsum("tij,tj->ti", axes, along)


def _raised_arm(rng: np.random.Generator, times: np.ndarray) -> tuple:
    """Return the forward and sideways angles of upper arm and forearm of a raised arm; half of them wave."""
    wave = rng.uniform(0.2, 0.7) * np.sin(2 * np.pi * (rng.uniform(0.5, 2.0) * times + rng.random()))
    wave = wave if rng.random() < 0.5 else np.zeros(len(times))
    if rng.random() < 0.5:  # to the front
        forward = rng.uniform(0.7, 2.7) + 0.3 * wave
        return forward, forward + rng.uniform(0.0, 1.2) + 0.5 * wave, rng.uniform(0, 0.4), 0.7 * wave
    lifted = rng.uniform(0.7, 2.4) + 0.3 * wave  # to the side
    return 0.0, rng.uniform(0.0, 0.6), lifted, lifted + rng.uniform(0.0, 0.8) + wave
