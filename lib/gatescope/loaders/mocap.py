"""read_bvh: motion capture from BVH files, as positions of all joints or of the 17 joints of the pose machine."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64

from gatescope.files import regular_file
from gatescope.loaders.bvh import BvhFile, BvhJoint
from gatescope.loaders.errors import DamagedClipError, access_errors
from gatescope.loaders.limits import is_number
from gatescope.loaders.mocap_names import places_of
from rendered_people.body_motion import BodyMotion, with_steady_bones
from rendered_people.skeleton import JOINT_NAMES

CMU_UNIT_MM = 25.4 / 0.45  # unit of the CMU database's files, by its own FAQ: inches, scaled by 0.45
_PLAUSIBLE_MM = (700, 2600)  # ankle to crown, from a small child to the tallest person
_THORAX = JOINT_NAMES.index("thorax")
_SHOULDERS = tuple(JOINT_NAMES.index(f"{side} shoulder") for side in ("left", "right"))
_ENDS = ("head",), ("left ankle", "right ankle")
_STEP_VALUES = 1 << 17  # joints times frames whose rotations are held at a time
_STEP_FRAMES = 512  # at least, however many joints: each step loops over them

# Units that files are written in, by millimetres; that is taken which makes a body's height the nearest to 1.6 m.
UNITS_MM = {"CMU's unit": CMU_UNIT_MM, "cm": 10.0, "inches": 25.4, "m": 1000.0, "mm": 1.0}
_MEAN_HEIGHT_MM = 1600  # ankle to crown
_UPRIGHT = 0.8  # cosine; below it a body tells no axis, and y is taken
# What each axis has to become for y to be up: rows of the turned x, y and z by the file's.
_TURNS = {
    "x": ((0, -1, 0), (1, 0, 0), (0, 0, 1)),
    "y": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "z": ((1, 0, 0), (0, 0, 1), (0, -1, 0)),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Mocap:
    """A recorded motion: the position of every joint of a hierarchy in every frame.

    World axes are right-handed with y up: a file whose body stands along another axis, `up`, is turned. End Sites are
    joints too: "Head end" is Head's.
    """

    names: tuple[str, ...]
    parents: tuple[int, ...]  # of each joint, before it in the list; a root is its own
    joints: Float32[np.ndarray, "time joints 3"]  # mm
    fps: float  # frames per second
    source: str  # the file's path
    unit_mm: float  # millimetres per unit of the file, as given or as told from the body
    up: str  # the file's axis that is up: "x", "y", "z", or one with a "-"
    notes: tuple[str, ...] = ()  # what is to be known of how it was read: that it declares other frames than it holds

    def body(self) -> BodyMotion:
        """Return the 17 joints of `JOINT_NAMES`, each the nearest match of the file's joints to Human3.6M's.

        In the CMU conversions: pelvis is Hips; spine the first joint above it that moves (Spine or Chest); thorax
        the base of the neck, between the shoulders (Neck1, or Neck if there is none); neck the base of the skull
        (Head), which Human3.6M places nearer to the nose; head the crown (the End Site of Head). Hips, knees, ankles,
        shoulders, elbows and wrists are the joints themselves.

        Further joints lie between spine, thorax and shoulders, so these bones would change their length. Each gets
        its mean length (`with_steady_bones`), which moves the arms of CMU's subject 131 by 5 mm on average.

        Names of other tools stand in `JOINT_NAMES_OF`. Raises LookupError if the joint names are those of none,
        ValueError if the body has no person's size, so that the unit must be wrong.
        """
        try:
            joints = with_steady_bones(_body_joints(self.joints, self.names))
        except LookupError as error:
            raise LookupError(f"{self.source} has {error.args[0]}") from None
        height = _height(joints[0])
        if not _PLAUSIBLE_MM[0] <= height <= _PLAUSIBLE_MM[1]:
            raise ValueError(
                f"{self.source}: the body would be {height / 1000:.3g} m from ankle to crown. A BVH file does not say "
                f"its unit: give read_bvh the right unit_mm ({CMU_UNIT_MM:.2f} for CMU's files, 10 for cm, 25.4 for "
                "inches, 1000 for m)"
            )
        return BodyMotion(joints=joints, fps=self.fps, source=self.source)


def read_bvh(path: str | Path, *, unit_mm: float | None = None, up: str | None = None) -> Mocap:
    """Read the motion in a BVH file: any hierarchy, any order and number of channels.

    A position channel replaces that coordinate of the joint's offset, as most programs write it; the original
    description is silent on joints that have both. Rotation channels are degrees, applied in the file's order, each
    about an axis that the ones before have turned. Scale channels must be 1. The format states neither the unit of
    length nor the axis that is up. Both are told from the body, if the joints' names are known, and stand in the
    record: the unit, `unit_mm` in millimetres, from its height (else that of CMU's conversions), the axis, `up`, from
    where its head is above its feet (else y). Give them for a body that lies all the time.

    The frames are those that stand in the file; where it declares another number, the record's `notes` say so.

    Raises a ClipError that names file and line: missing, not accessible, malformed, too large.
    """
    path = Path(path)
    if unit_mm is not None and not (is_number(unit_mm) and 0 < unit_mm <= 1e6):
        raise ValueError(f"unit_mm must be the millimetres per unit, above 0; got {unit_mm}")
    if up is not None and str(up).removeprefix("-") not in _TURNS:
        raise ValueError(f"up must be x, y or z, or one of them with a minus; got {up!r}")
    with access_errors(path), regular_file(path).open("rb") as file:
        bvh = BvhFile(file, path)
        blocks = []
        channels = [kind for joint in bvh.joints for kind, _ in joint.channels]
        scales = [number for number, kind in enumerate(channels) if kind == "scale"]
        for rows in bvh.rows():
            if (rows[:, scales] != 1).any():
                raise DamagedClipError("scales a joint, which no bone does; export it without scale", path=path)
            blocks.append(np.empty((len(rows), len(bvh.joints), 3), np.float32))
            forward_kinematics(bvh.joints, rows, out=blocks[-1])
    joints = np.concatenate(blocks)
    names = tuple(joint.name for joint in bvh.joints)
    try:
        body = _body_joints(joints, names)
    except LookupError:
        body = None
    if unit_mm is None:
        unit_mm = CMU_UNIT_MM if body is None else told_unit(body)
    if up is None:
        up = "y" if body is None else told_axis(body)
    joints *= np.float32(unit_mm)
    if up != "y":
        turn = np.array(_TURNS[up[-1]], np.float32)
        # Upside down: half a turn about an axis that is level.
        joints = joints @ turn.T * np.float32([1, 1, 1] if up[0] != "-" else [1, -1, -1])
    fits = len(joints) == bvh.declared_frames
    return Mocap(
        names=names,
        parents=tuple(joint.parent for joint in bvh.joints),
        joints=joints,
        fps=1 / bvh.frame_time_s,
        source=str(path),
        unit_mm=unit_mm,
        up=up,
        notes=() if fits else (f"the file declares {bvh.declared_frames} frames and holds {len(joints)}",),
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
    step = max(_STEP_FRAMES, _STEP_VALUES // len(joints))
    for start in range(0, len(rows), step):
        _place(joints, rows[start : start + step], out[start : start + step])


def _place(joints, rows, out):
    turned = []  # of each joint: world axis, own axis, time
    placed = np.empty((len(joints), 3, len(rows)))
    values = iter(rows.T)
    for number, joint in enumerate(joints):
        local = np.repeat(np.asarray(joint.offset)[:, None], len(rows), axis=1)
        root = joint.parent == number
        turn = np.repeat(np.eye(3)[..., None], len(rows), axis=2) if root else turned[joint.parent]
        rotations = []
        for kind, axis in joint.channels:
            if kind == "position":
                local[axis] = next(values)
            elif kind == "scale":
                next(values)
            else:
                rotations.append((axis, np.radians(next(values))))
        if root:
            placed[number] = local
        else:
            placed[number] = placed[joint.parent] + np.einsum("rct,ct->rt", turn, local)  # (1)
        turn = turn.copy() if rotations and not root else turn
        for axis, angle in rotations:
            cosine, sine = np.cos(angle), np.sin(angle)
            first, second = turn[:, (axis + 1) % 3].copy(), turn[:, (axis + 2) % 3].copy()
            turn[:, (axis + 1) % 3] = cosine * first + sine * second  # (2)
            turn[:, (axis + 2) % 3] = cosine * second - sine * first  # (2)
        turned.append(turn)
        out[:, number] = placed[number].T


def _body_joints(
    joints: Float32[np.ndarray, "time joints 3"], names: Sequence[str]
) -> Float32[np.ndarray, "time 17 3"]:
    """Return the 17 joints; without a neck's base the thorax is the middle of the shoulders."""
    places = places_of(names)
    body = joints[:, [place or 0 for place in places]]
    if places[_THORAX] is None:
        body[:, _THORAX] = body[:, list(_SHOULDERS)].mean(1)
    return body


def _height(joints: Float32[np.ndarray, "17 3"]) -> float:
    """Return the length of the bones from ankle to crown, which does not depend on the pose."""
    ways = [("right ankle", "right knee", "right hip"), ("pelvis", "spine", "thorax", "neck", "head")]
    chains = [[JOINT_NAMES.index(name) for name in way] for way in ways]
    return float(sum(np.linalg.norm(np.diff(joints[chain], axis=0), axis=1).sum() for chain in chains))


def told_unit(body: Float32[np.ndarray, "time 17 3"]) -> float:
    """Return the millimetres per unit, of UNITS_MM, that make the body's height most like a person's."""
    height = max(_height(body[0]), 1e-9)
    return min(UNITS_MM.values(), key=lambda unit: abs(math.log(height * unit / _MEAN_HEIGHT_MM)))


def told_axis(body: Float32[np.ndarray, "time 17 3"]) -> str:
    """Return the axis, x, y or z with a sign where it points down, along which the body stands on average."""
    crown, ankles = (body[:, [JOINT_NAMES.index(name) for name in which]].mean(1) for which in _ENDS)
    along = crown - ankles
    mean = (along / np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)).mean(0)
    axis = int(np.abs(mean).argmax())
    if abs(mean[axis]) < _UPRIGHT or axis == 1:
        return "y"
    return "xyz"[axis] if mean[axis] > 0 else f"-{'xyz'[axis]}"
