"""The articulated upper body: from proportions to bone transforms and joints, for all time steps at once.

Scene axes: origin at the base of the neck, x to the performer's left, y up, z towards the camera; millimetres and
radians. The right hand gestures. In the hand's own frame the fingers point along +y, the palm faces +z and the thumb
lies on the +x side.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

FINGERS = ("thumb", "index", "middle", "ring", "little")
_KNUCKLES = {finger: ("mcp", "pip", "dip", "tip") for finger in FINGERS} | {"thumb": ("cmc", "mcp", "ip", "tip")}
HAND_JOINTS = ("wrist", *(f"{finger}_{knuckle}" for finger in FINGERS for knuckle in _KNUCKLES[finger]))
BODY_JOINTS = ("right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "neck", "head")
JOINTS = HAND_JOINTS + BODY_JOINTS

# Adult averages: hand length 19 cm, upper arm 28 cm, forearm 25 cm, shoulders (joint to joint) 35 cm apart.
REFERENCE_HAND = np.array(
    [
        [0, 0, 0],
        [24, 20, 8], [52, 50, 16], [72, 78, 20], [86, 101, 20],
        [25, 89, 0], [31, 132, 0], [34, 157, 0], [36, 178, 0],
        [3, 93, 0], [4, 140, 0], [4, 168, 0], [4, 191, 0],
        [-17, 87, 0], [-21, 130, 0], [-23, 156, 0], [-24, 178, 0],
        [-35, 77, -1], [-44, 109, -1], [-48, 128, -1], [-51, 147, -1],
    ],
    dtype=float,
)  # fmt: skip
UPPER_ARM_MM, FOREARM_MM = 280.0, 250.0
SHOULDER = np.array([-172.0, -38.0, -12.0])  # the right one
NECK_TOP = np.array([0.0, 88.0, 8.0])  # where the head turns
PELVIS = np.array([0.0, -520.0, 0.0])  # where the torso leans
HEAD_CENTRE = np.array([0.0, 95.0, 12.0])  # from the top of the neck
# In the modelling pose the arms hang 45 degrees from the body, palms to the front.
REST_ARM = np.array([-1.0, -1.0, 0.0]) / np.sqrt(2)

BONES = (
    "torso", "neck", "head", "right_upper_arm", "right_forearm", "right_hand",
    *(f"{finger}_{k}" for finger in FINGERS for k in range(3)), "left_upper_arm", "left_forearm",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Build:
    """One person's proportions, each a ratio to the reference adult."""

    stature: float = 1.0
    shoulder_width: float = 1.0
    girth: float = 1.0
    arm_length: float = 1.0
    arm_thickness: float = 1.0
    hand_size: float = 1.0
    finger_length: float = 1.0
    finger_thickness: float = 1.0
    head_size: float = 1.0
    head_width: float = 1.0
    neck_length: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Performance:
    """The body's state at each time: position, orientation and bending of the hand, lean of trunk and head.

    Hand positions are for the reference adult, relative to the base of the neck; `pose` fits them to a build. Rows of
    `fingers` are thumb, index, middle, ring, little. For the four fingers the columns are knuckle (mcp) flexion, spread
    (mcp abduction towards the thumb), middle (pip) and end (dip) flexion; for the thumb: palmar abduction (out of the
    palm's plane), adduction (towards the index finger), mcp and ip flexion. Zero is the open hand of `REFERENCE_HAND`.
    """

    wrist: Float[np.ndarray, "time 3"]  # mm
    palm: Float[np.ndarray, "time 3 3"]  # columns: thumb side, fingers, palm normal, in scene axes
    fingers: Float[np.ndarray, "time 5 4"]  # rad
    trunk: Float[np.ndarray, "time 3"]  # rotation vector of the torso about the pelvis, rad
    head: Float[np.ndarray, "time 3"]  # rotation vector of the head on the trunk, rad
    blink: Float[np.ndarray, " time"]  # 0 eyes open, 1 closed
    elbow_swivel: Float[np.ndarray, " time"]  # rad; 0 elbow down, positive: lifted outwards


@dataclass(frozen=True)
class Pose:
    """Bones and joints at each time step, in scene axes, mm."""

    bones: Float[np.ndarray, "time bones 3 4"]  # from the build's modelling pose to the scene
    joints: Float[np.ndarray, "time joints 3"]


def hand_rest(build: Build) -> Float[np.ndarray, "21 3"]:
    """Return the 21 hand joints of a build in the hand's own frame, mm."""
    joints = REFERENCE_HAND * build.hand_size
    for finger in range(5):
        chain = joints[1 + 4 * finger : 5 + 4 * finger]
        chain[1:] = chain[0] + (chain[1:] - chain[0]) * build.finger_length
    return joints


@lru_cache(maxsize=512)
def rest_frames(build: Build) -> tuple[Float[np.ndarray, "bones 3 3"], Float[np.ndarray, "bones 3"]]:
    """Return orientation (columns) and origin of every bone in the modelling pose.

    The y axis of an arm bone points from the elbow to the shoulder end's opposite, that is, along the limb; finger
    bones bend about x, spread about z.
    """
    orientations = np.tile(np.eye(3), (len(BONES), 1, 1))
    origins = np.zeros((len(BONES), 3))
    neck_top = NECK_TOP * [1, build.neck_length, 1] * build.stature
    shoulder = SHOULDER * [build.shoulder_width, 1, 1] * build.stature
    index = {name: k for k, name in enumerate(BONES)}
    origins[index["torso"]] = PELVIS * build.stature
    origins[index["head"]] = neck_top
    upper, fore = _arm_lengths(build)
    right = _limb_frame(REST_ARM, np.array([0.0, 0.0, 1.0]))
    elbow = shoulder + upper * REST_ARM
    wrist = elbow + fore * REST_ARM
    for name, origin in (("upper_arm", shoulder), ("forearm", elbow), ("hand", wrist)):
        orientations[index[f"right_{name}"]] = right
        origins[index[f"right_{name}"]] = origin
    mirror = np.diag([-1.0, 1.0, 1.0])
    for name, origin in (("upper_arm", shoulder), ("forearm", elbow)):
        orientations[index[f"left_{name}"]] = mirror @ right @ mirror
        origins[index[f"left_{name}"]] = mirror @ origin
    joints = hand_rest(build)
    for finger in range(5):
        frame = _finger_frame(joints, finger)
        for k in range(3):
            bone = index[f"{FINGERS[finger]}_{k}"]
            orientations[bone] = right @ frame
            origins[bone] = wrist + right @ joints[1 + 4 * finger + k]
    return orientations, origins


def pose(build: Build, performance: Performance) -> Pose:
    """Pose a build as the performance says; the wrist is pulled in if the arm does not reach."""
    num_times = len(performance.wrist)
    orientation, origin = rest_frames(build)
    bone_rotation = np.tile(orientation, (num_times, 1, 1, 1))
    bone_origin = np.tile(origin, (num_times, 1, 1))
    index = {name: k for k, name in enumerate(BONES)}

    trunk = Rotation.from_rotvec(performance.trunk).as_matrix()
    pelvis = PELVIS * build.stature

    def lean(points: np.ndarray) -> np.ndarray:
        return pelvis + np.einsum("tij,tj->ti", trunk, np.broadcast_to(points, (num_times, 3)) - pelvis)

    head = trunk @ Rotation.from_rotvec(performance.head).as_matrix()
    bone_rotation[:, index["torso"]] = trunk
    bone_rotation[:, index["neck"]] = trunk @ Rotation.from_rotvec(performance.head / 2).as_matrix()
    bone_rotation[:, index["head"]] = head
    bone_origin[:, index["neck"]] = lean(np.zeros(3))
    bone_origin[:, index["head"]] = lean(origin[index["head"]])

    upper, fore = _arm_lengths(build)
    shoulder = lean(origin[index["right_upper_arm"]])
    reach = (performance.wrist - SHOULDER) * (upper + fore) / (UPPER_ARM_MM + FOREARM_MM)
    wanted = lean(origin[index["right_upper_arm"]] + reach)
    elbow, wrist = bend_arm(shoulder, wanted, upper, fore, performance.elbow_swivel)
    palm = trunk @ performance.palm
    bone_rotation[:, index["right_upper_arm"]] = _limb_frame(elbow - shoulder, _bend_axis(shoulder, elbow, wrist))
    bone_rotation[:, index["right_forearm"]] = _limb_frame(wrist - elbow, palm[..., 2])
    bone_rotation[:, index["right_hand"]] = palm
    bone_origin[:, index["right_upper_arm"]] = shoulder
    bone_origin[:, index["right_forearm"]] = elbow
    bone_origin[:, index["right_hand"]] = wrist

    # The other arm hangs at rest, out of the picture.
    left = lean(origin[index["left_upper_arm"]])
    hanging = np.einsum("tij,j->ti", trunk, np.array([0.16, -0.98, 0.1]))
    left_elbow = left + upper * hanging
    for name, at in (("left_upper_arm", left), ("left_forearm", left_elbow)):
        bone_rotation[:, index[name]] = _limb_frame(hanging, trunk[..., 2])
        bone_origin[:, index[name]] = at

    hand = hand_rest(build)
    joints = np.empty((num_times, len(JOINTS), 3))
    joints[:, 0] = wrist
    frames, points = _bend(hand, performance.fingers)
    world = wrist[:, None, None] + np.einsum("tij,tfkj->tfki", palm, points)
    fingers = slice(index["thumb_0"], index["little_2"] + 1)
    bone_rotation[:, fingers] = (palm[:, None, None] @ frames).reshape(num_times, 15, 3, 3)
    bone_origin[:, fingers] = world[:, :, :3].reshape(num_times, 15, 3)
    joints[:, 1:21] = world.reshape(num_times, 20, 3)
    head_point = bone_origin[:, index["head"]] + head @ (HEAD_CENTRE * build.stature * build.head_size)
    joints[:, 21:] = np.stack([elbow, shoulder, left, left_elbow, lean(np.zeros(3)), head_point], axis=1)

    motion = bone_rotation @ np.swapaxes(orientation, -1, -2)
    shift = bone_origin - np.einsum("tbij,bj->tbi", motion, origin)
    return Pose(np.concatenate([motion, shift[..., None]], axis=-1), joints)


def _arm_lengths(build: Build) -> tuple[float, float]:
    scale = build.arm_length * build.stature
    return UPPER_ARM_MM * scale, FOREARM_MM * scale


def cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return cross products along the last axis; faster than `np.cross`, which handles more cases."""
    ax, ay, az = a[..., 0], a[..., 1], a[..., 2]
    bx, by, bz = b[..., 0], b[..., 1], b[..., 2]
    return np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], axis=-1)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.sqrt((vectors * vectors).sum(-1, keepdims=True)), 1e-9)


def _limb_frame(along: np.ndarray, facing: np.ndarray) -> np.ndarray:
    """Return axes in columns: y along the limb, z as near to `facing` as possible."""
    y = _unit(along)
    z = _unit(facing - (facing * y).sum(-1, keepdims=True) * y)
    return np.stack([cross(y, z), y, z], axis=-1)


def _bend_axis(shoulder: np.ndarray, elbow: np.ndarray, wrist: np.ndarray) -> np.ndarray:
    """Return the direction that the inside of the elbow faces: where the forearm folds to."""
    upper = _unit(elbow - shoulder)
    fold = _unit(wrist - elbow)
    inside = fold - (fold * upper).sum(-1, keepdims=True) * upper
    # A straight arm has no fold: take the front.
    return inside + 1e-3 * np.array([0.0, 0.0, 1.0])


def bend_arm(
    shoulder: np.ndarray, wrist: np.ndarray, upper: float, fore: float, swivel: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return elbow and wrist of a two-bone arm; the elbow hangs down, turned outwards by `swivel`."""
    offset = wrist - shoulder
    distance = np.linalg.norm(offset, axis=-1, keepdims=True)
    direction = offset / np.maximum(distance, 1e-9)
    distance = np.clip(distance, abs(upper - fore) + 20.0, 0.985 * (upper + fore))
    wrist = shoulder + distance * direction
    along = (upper**2 - fore**2 + distance**2) / (2 * distance)
    radius = np.sqrt(np.maximum(upper**2 - along**2, 0.0))
    # The elbow hangs down, a little outwards and back.
    hang = np.array([-0.35, -1.0, -0.25])
    down = _unit(hang - (direction @ hang)[:, None] * direction)
    outward = cross(down, direction)
    side = np.cos(swivel)[:, None] * down + np.sin(swivel)[:, None] * outward
    return shoulder + along * direction + radius * side, wrist


def _finger_frame(joints: np.ndarray, finger: int) -> np.ndarray:
    """Return the rest orientation of a finger in the hand's frame: y along it, bending about x towards the palm."""
    base = 1 + 4 * finger
    # The thumb's flexion plane is turned: it folds across the palm.
    facing = np.array([-0.75, 0.1, 0.65]) if finger == 0 else np.array([0.0, 0.0, 1.0])
    return _limb_frame(joints[base + 3] - joints[base], facing)


def _about(axis: int, angle: np.ndarray) -> np.ndarray:
    """Return rotations about one coordinate axis."""
    matrices = np.zeros((*angle.shape, 3, 3))
    first, second = (axis + 1) % 3, (axis + 2) % 3
    matrices[..., axis, axis] = 1.0
    matrices[..., first, first] = matrices[..., second, second] = np.cos(angle)
    matrices[..., second, first] = np.sin(angle)
    matrices[..., first, second] = -matrices[..., second, first]
    return matrices


def _bend(
    hand: np.ndarray, angles: Float[np.ndarray, "time 5 4"]
) -> tuple[Float[np.ndarray, "time 5 3 3 3"], Float[np.ndarray, "time 5 4 3"]]:
    """Return frames of the three bones and the four joints of each bent finger, in the hand's frame."""
    rest = np.stack([_finger_frame(hand, finger) for finger in range(5)])
    chains = hand[1:].reshape(5, 4, 3)
    links = np.einsum("fji,fkj->fki", rest, np.diff(chains, axis=1))
    # Palmar abduction turns the thumb out of the palm's plane (about the hand's y axis), adduction within it.
    # Positive spread leans a finger towards the thumb, that is, turns clockwise about the palm's normal.
    aside, bends = -angles[..., 1], angles[..., [0, 2, 3]]
    aside[:, 0] *= -1
    bends[:, 0, 0] = 0.0
    out = np.zeros(angles.shape[:2])
    out[:, 0] = -angles[:, 0, 0]
    frame = _about(2, aside) @ _about(1, out) @ rest
    turns = _about(0, bends)
    frames, points = [], [np.broadcast_to(chains[:, 0], (len(angles), 5, 3))]
    for k in range(3):
        frame = frame @ turns[:, :, k]
        frames.append(frame)
        points.append(points[-1] + (frame @ links[:, k, :, None])[..., 0])
    return np.stack(frames, axis=2), np.stack(points, axis=2)
