"""read_bvh: motion capture from BVH files, as positions of all joints or of the 17 joints of the pose machine."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64

from gatescope.files import regular_file
from gatescope.loaders.bvh import BvhFile, BvhJoint
from gatescope.loaders.errors import OversizedClipError, access_errors
from gatescope.loaders.limits import MAX_CLIP_BYTES
from rendered_people.body_motion import BodyMotion, with_steady_bones
from rendered_people.skeleton import JOINT_NAMES

CMU_UNIT_MM = 25.4 / 0.45  # unit of the CMU database's files, by its own FAQ: inches, scaled by 0.45
_PLAUSIBLE_MM = (700, 2600)  # ankle to crown, from a small child to the tallest person
_STEP_VALUES = 1 << 17  # joints times frames whose rotations are held at a time

# Names of the 17 joints in both conversions of the CMU database; the first name that a file has is taken. "Head end"
# is the End Site of Head. Left and right are the person's own in both.
_TRUNK = {"pelvis": ("Hips",), "thorax": ("Neck1", "Neck"), "neck": ("Head",), "head": ("Head end",)}
_DIALECTS = (
    # For MotionBuilder. Its LeftShoulder is the clavicle.
    {"hip": "UpLeg", "knee": "Leg", "ankle": "Foot", "spine": "Spine"}
    | {"shoulder": "Arm", "elbow": "ForeArm", "wrist": "Hand"},
    # For 3ds Max. Its LeftShoulder is where the upper arm begins; the clavicle is LeftCollar.
    {"hip": "Hip", "knee": "Knee", "ankle": "Ankle", "spine": "Chest"}
    | {"shoulder": "Shoulder", "elbow": "Elbow", "wrist": "Wrist"},
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Mocap:
    """A recorded motion: the position of every joint of a hierarchy in every frame.

    World axes are the file's, by convention y up and right-handed. End Sites are joints too: "Head end" is Head's.
    """

    names: tuple[str, ...]
    parents: tuple[int, ...]  # of each joint, before it in the list; a root is its own
    joints: Float32[np.ndarray, "time joints 3"]  # mm
    fps: float  # frames per second
    source: str  # the file's path

    def body(self) -> BodyMotion:
        """Return the 17 joints of `JOINT_NAMES`, each the nearest match of the file's joints to Human3.6M's.

        In the CMU conversions: pelvis is Hips; spine the first joint above it that moves (Spine or Chest); thorax
        the base of the neck, between the shoulders (Neck1, or Neck if there is none); neck the base of the skull
        (Head), which Human3.6M places nearer to the nose; head the crown (the End Site of Head). Hips, knees, ankles,
        shoulders, elbows and wrists are the joints themselves.

        Further joints lie between spine, thorax and shoulders, so these bones would change their length. Each gets
        its mean length (`with_steady_bones`), which moves the arms of CMU's subject 131 by 5 mm on average.

        Raises LookupError if the joint names are those of neither conversion, ValueError if the body has no person's
        size, so that the unit must be wrong.
        """
        places = {name: place for place, name in enumerate(self.names)}
        missing = []
        for dialect in _DIALECTS:
            wanted = [_names_of(joint, dialect) for joint in JOINT_NAMES]
            found = [next((name for name in names if name in places), None) for names in wanted]
            if None not in found:
                break
            missing.append([names[-1] for names, name in zip(wanted, found, strict=True) if name is None])
        else:
            fewest = min(missing, key=len)
            raise LookupError(
                f"{self.source} has no joint {', '.join(fewest)}; the names of the CMU conversions are needed "
                f"(LeftUpLeg, LeftArm ... or LeftHip, LeftShoulder ...), it has {', '.join(self.names)[:2000]}"
            )
        joints = with_steady_bones(self.joints[:, [places[name] for name in found]])
        # The length of the bones from ankle to crown, which does not depend on the pose.
        ways = [("right ankle", "right knee", "right hip"), ("pelvis", "spine", "thorax", "neck", "head")]
        chains = [[JOINT_NAMES.index(name) for name in way] for way in ways]
        height = float(sum(np.linalg.norm(np.diff(joints[0, chain], axis=0), axis=1).sum() for chain in chains))
        if not _PLAUSIBLE_MM[0] <= height <= _PLAUSIBLE_MM[1]:
            raise ValueError(
                f"{self.source}: the body would be {height / 1000:.3g} m from ankle to crown. A BVH file does not say "
                f"its unit: give read_bvh the right unit_mm ({CMU_UNIT_MM:.2f} for CMU's files, 10 for cm, 25.4 for "
                "inches, 1000 for m)"
            )
        return BodyMotion(joints=joints, fps=self.fps, source=self.source)


def read_bvh(path: str | Path, *, unit_mm: float = CMU_UNIT_MM) -> Mocap:
    """Read the motion in a BVH file: any hierarchy, any order and number of channels.

    A position channel replaces that coordinate of the joint's offset, as most programs write it; the original
    description is silent on joints that have both. Rotation channels are degrees, applied in the file's order, each
    about an axis that the ones before have turned. `unit_mm` is the millimetres per unit of length, which the format
    does not state; by default that of the CMU database's conversions.

    Raises a ClipError that names file and line: missing, not accessible, malformed, too large.
    """
    path = Path(path)
    if not (math.isfinite(unit_mm) and 0 < unit_mm <= 1e6):
        raise ValueError(f"unit_mm must be the millimetres per unit, above 0; got {unit_mm}")
    with access_errors(path), regular_file(path).open("rb") as file:
        bvh = BvhFile(file, path)
        shape = (bvh.num_frames, len(bvh.joints), 3)
        if 4 * math.prod(shape) > MAX_CLIP_BYTES:
            reason = f"{shape[0]} frames of {shape[1]} joints exceed {MAX_CLIP_BYTES >> 20} MiB; cut the file"
            raise OversizedClipError(reason, path=path)
        joints, start = np.empty(shape, np.float32), 0
        for rows in bvh.rows():
            forward_kinematics(bvh.joints, rows, out=joints[start : start + len(rows)])
            start += len(rows)
    joints *= np.float32(unit_mm)
    return Mocap(
        names=tuple(joint.name for joint in bvh.joints),
        parents=tuple(joint.parent for joint in bvh.joints),
        joints=joints,
        fps=1 / bvh.frame_time_s,
        source=str(path),
    )


def forward_kinematics(
    joints: Sequence[BvhJoint],
    rows: Float64[np.ndarray, "time channels"],
    out: Float32[np.ndarray, "time joints 3"],
) -> None:
    r"""Fill `out` with the positions of the joints in the world, in the file's unit, from rows of channel values.

    For joint j with parent i, whose frame is rotated by R_i and located at p_i:
    $$p_j = p_i + R_i \, l_j \quad (1) \qquad R_j = R_i \, Q_1 Q_2 \dots \quad (2)$$
    where l_j is the offset, or the position channels in its place, and Q_k the rotation of the k-th rotation channel.
    """
    step = max(1, _STEP_VALUES // len(joints))
    for start in range(0, len(rows), step):
        _place(joints, rows[start : start + step], out[start : start + step])


def _place(joints, rows, out):
    turned = np.empty((len(joints), 3, 3, len(rows)))  # joint, world axis, own axis, time
    placed = np.empty((len(joints), 3, len(rows)))
    values = iter(rows.T)
    for number, joint in enumerate(joints):
        local = np.repeat(np.asarray(joint.offset)[:, None], len(rows), axis=1)
        turn = turned[number]
        turn[:] = np.eye(3)[..., None] if joint.parent == number else turned[joint.parent]
        rotations = []
        for kind, axis in joint.channels:
            if kind == "position":
                local[axis] = next(values)
            else:
                rotations.append((axis, np.radians(next(values))))
        if joint.parent == number:
            placed[number] = local
        else:
            placed[number] = placed[joint.parent] + np.einsum("rct,ct->rt", turned[joint.parent], local)  # (1)
        for axis, angle in rotations:
            cosine, sine = np.cos(angle), np.sin(angle)
            first, second = turn[:, (axis + 1) % 3].copy(), turn[:, (axis + 2) % 3].copy()
            turn[:, (axis + 1) % 3] = cosine * first + sine * second  # (2)
            turn[:, (axis + 2) % 3] = cosine * second - sine * first  # (2)
        out[:, number] = placed[number].T


def _names_of(joint: str, dialect: dict[str, str]) -> tuple[str, ...]:
    """Return the names that one of the 17 joints may have in a file, the preferred one first."""
    side, _, part = joint.rpartition(" ")
    return (side.title() + dialect[part],) if part in dialect else _TRUNK[joint]
