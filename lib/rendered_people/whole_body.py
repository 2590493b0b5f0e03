"""A whole body in a marked suit: one surface, bent and stretched to its 17 joints.

Scene axes and the body's own: x to the person's left, y up, z to their front; mm.
"""

from functools import lru_cache

import numpy as np
from jaxtyping import Float, Float32

from rendered_people import mesh, shapes
from rendered_people.body import NECK_TOP, cross
from rendered_people.mesh import Mesh
from rendered_people.person import Person
from rendered_people.skeleton import JOINT_NAMES
from rendered_people.textures import TEXELS, linear

# The modelling pose, of an adult: arms 45 degrees from the body, legs a little apart. Here the right limbs; the left
# ones are their mirror image.
_MIDDLE = {
    "pelvis": (0, 0, 0), "spine": (0, 233, 0), "thorax": (0, 490, 0), "neck": (0, 611, 6), "head": (0, 726, 6),
}  # fmt: skip
_RIGHT = {
    "hip": (-132, 0, 0), "knee": (-168, -442, 0), "ankle": (-186, -895, -10),
    "shoulder": (-145, 448, 0), "elbow": (-342, 251, 0), "wrist": (-520, 73, 0),
}  # fmt: skip
REST = np.array(
    [
        _MIDDLE.get(name) or np.multiply(_RIGHT[name.split()[1]], (1 if name.startswith("right") else -1, 1, 1))
        for name in JOINT_NAMES
    ],
    dtype=float,
)
_AT = dict(zip(JOINT_NAMES, REST, strict=True))
# Bones and the joints they run between; hands and feet are part of forearms and shins.
_SPANS = {
    "hips": ("pelvis", "spine"), "chest": ("spine", "thorax"),
    "neck": ("thorax", "neck"),
    "right thigh": ("right hip", "right knee"), "left thigh": ("left hip", "left knee"),
    "right upper arm": ("right shoulder", "right elbow"), "left upper arm": ("left shoulder", "left elbow"),
    "head": ("neck", "head"),
    "right shin": ("right knee", "right ankle"), "left shin": ("left knee", "left ankle"),
    "right forearm": ("right elbow", "right wrist"), "left forearm": ("left elbow", "left wrist"),
}  # fmt: skip
BONES = tuple(_SPANS)
_STARTS, _ENDS = (np.array([JOINT_NAMES.index(span[k]) for span in _SPANS.values()]) for k in (0, 1))
_HANG_FROM = np.array([0, 0, 1, 0, 0, 1, 1, 2, 3, 4, 5, 6])  # each bone's parent; hips and chest have none
_TRUNK, _LEVELS = slice(0, 2), (slice(2, 7), slice(7, 12))  # the trunk, and bones whose parents come before them
_REST_MM = np.linalg.norm(REST[_ENDS] - REST[_STARTS], axis=-1, keepdims=True)
_REST_ALONG = (REST[_ENDS] - REST[_STARTS]) / _REST_MM
_REST_WIDTHS_MM = np.array([2 * abs(_RIGHT[joint][0]) for joint in ("hip", "shoulder")])
VOXELS_MM = (42.0, 26.0, 18.0)  # by the detail of `drawing.detail_of`
SUIT_BOX = np.array([-680.0, -1020.0, 1360.0, 1640.0], np.float32)  # left, bottom, width, height of its texture, mm
_GLOVE_MM, _TOE_MM = 105.0, 150.0


@lru_cache(maxsize=64)
def suit_and_head(female: bool, hair_style: str, detail: int) -> Mesh:
    """Return the reference adult's surface in the modelling pose, of the parts `mesh.BODY`, `HEAD` and `HAIR`."""
    kinds = ["head-f" if female else "head-m"] + [f"hair-{hair_style}"] * (hair_style != "none")
    return mesh.join([_suit(detail), *(_on_neck(mesh.template(kind, detail)) for kind in kinds)])


@lru_cache(maxsize=3)
def _suit(detail: int) -> Mesh:
    vertices, normals, triangles = mesh.surface(_field(), ([-680, -1020, -160], [680, 640, 200]), VOXELS_MM[detail])
    bones, weights = mesh.weigh(vertices, _segments(), BONES, 22.0)
    return Mesh(
        vertices=vertices.astype(np.float32),
        normals=normals.astype(np.float32),
        texture_points=np.column_stack([vertices[:, :2], normals[:, 2]]).astype(np.float32),
        triangles=triangles.astype(np.int32),
        parts=np.full(len(triangles), mesh.BODY, np.uint8),
        bones=bones,
        weights=weights,
    )


def transforms(joints: Float[np.ndarray, "time 17 3"], person: Person) -> Float32[np.ndarray, "time bones 3 4"]:
    """Return every bone's transform from the modelling pose to the given joints, for any proportions of the skeleton.

    Hips and chest face as the lines across hips and shoulders. Every other bone rotates by the shortest way from its
    rest direction relative to its parent. A bone is stretched to its length; its thickness follows the
    size of the whole body and the build.
    """
    starts = joints[:, _STARTS].astype(float)
    along = joints[:, _ENDS] - starts
    length = np.sqrt((along * along).sum(-1, keepdims=True))
    along /= np.maximum(length, 1e-6)
    left, right = (
        joints[:, [JOINT_NAMES.index(f"{side} {joint}") for joint in ("hip", "shoulder")]] for side in ("left", "right")
    )
    turn = np.empty((*along.shape, 3))
    turn[:, _TRUNK] = _facing(along[:, _TRUNK], left - right)
    for level in _LEVELS:
        above = turn[:, _HANG_FROM[level]]
        turn[:, level] = _shortest_turn((above @ _REST_ALONG[level, :, None])[..., 0], along[:, level]) @ above

    size, build = length.sum(1).mean() / _REST_MM.sum(), person.build
    thick = np.array([build.arm_thickness if "arm" in bone else build.girth for bone in BONES])
    thick[BONES.index("head")] = build.head_size
    thick *= size
    wide = np.tile(thick, (len(joints), 1))
    wide[:, BONES.index("head")] *= build.head_width
    wide[:, _TRUNK] = np.linalg.norm(left - right, axis=-1) / _REST_WIDTHS_MM
    lengthwise = _REST_ALONG[:, :, None] * _REST_ALONG[:, None]
    stretch = thick[:, None, None] * np.eye(3) + (length / _REST_MM - thick[:, None])[..., None] * lengthwise
    stretch[..., 0, 0] += wide - thick  # where it differs, the bone stands upright in the modelling pose
    linear_part = turn @ stretch
    shift = starts - (linear_part @ REST[_STARTS, :, None])[..., 0]
    return np.concatenate([linear_part, shift[..., None]], axis=-1).astype(np.float32)


def suit_texture(rng: np.random.Generator) -> Float32[np.ndarray, "sides=2 texels texels 3"]:
    """Paint the marked suit, linear albedo: right limbs red, left limbs green, trunk blue, in random shades."""
    shades = np.array([[0.82, 0.14, 0.12], [0.14, 0.68, 0.18], [0.16, 0.24, 0.8]]) + rng.uniform(-0.08, 0.1, (3, 3))
    image = np.clip(shades[_limbs()] * rng.uniform(0.85, 1.1, 3)[_limbs(), None], 0, 1)
    return np.repeat(linear(image).astype(np.float32)[None], 2, axis=0)


@lru_cache(maxsize=1)
def _limbs() -> np.ndarray:
    """Return the part of each texel of the suit: 0 a right limb, 1 a left limb, 2 the trunk."""
    left, bottom, width, height = SUIT_BOX
    middle = (np.arange(TEXELS) + 0.5) / TEXELS
    x, y = np.meshgrid(left + width * middle, bottom + height * (1 - middle))
    points = np.column_stack([x.ravel(), y.ravel(), np.zeros(x.size)])
    trunk = shapes.blend(
        [shapes.cone([0, 20, 0], [0, 400, 0], 110, 120), shapes.cone([0, 400, 0], [0, 650, 0], 120, 60)], 1.0
    )
    distances = [shapes.blend(_limb_bones(side), 1.0)(points) for side in ("right", "left")]
    return np.argmin([*distances, trunk(points)], axis=0).reshape(x.shape)


def _limb_bones(side: str) -> list[shapes.Field]:
    ends = {
        joint: _AT[f"{side} {joint}"] * [1, 1, 0] for joint in ("hip", "knee", "ankle", "shoulder", "elbow", "wrist")
    }
    hand = ends["wrist"] + (ends["wrist"] - ends["elbow"]) * 0.5
    foot = ends["ankle"] - [0, 90, 0]
    return [
        shapes.cone(ends["hip"] - [0, 40, 0], ends["knee"], 60, 60), shapes.cone(ends["knee"], foot, 60, 60),
        shapes.cone(ends["shoulder"], ends["elbow"], 40, 40), shapes.cone(ends["elbow"], hand, 40, 40),
    ]  # fmt: skip


def _field() -> shapes.Field:
    """Return trunk, limbs with gloves and shoes, and the neck."""
    trunk = [
        shapes.ellipsoid([0, -10, -4], [178, 125, 112]),
        shapes.ellipsoid([0, 150, 0], [138, 200, 100]),
        shapes.ellipsoid([0, 335, -6], [150, 175, 108]),
        shapes.cone([-105, 432, -6], [105, 432, -6], 54, 54),
        shapes.cone([0, 440, -8], [0, 580, 0], 62, 52),
    ]
    limbs = []
    for side in (1.0, -1.0):
        hip, knee, ankle, shoulder, elbow, wrist = (np.multiply(at, (side, 1, 1)) for at in _RIGHT.values())
        down = (wrist - elbow) / np.linalg.norm(wrist - elbow)
        limbs += [
            shapes.cone(hip + (knee - hip) * 0.06, knee, 82, 58),
            shapes.cone(knee, ankle, 58, 40),
            shapes.cone(ankle - [0, 34, 26], ankle + [0, -46, _TOE_MM], 40, 32),
            shapes.cone(shoulder, elbow, 54, 42),
            shapes.cone(elbow, wrist, 42, 32),
            shapes.cone(wrist, wrist + _GLOVE_MM * down, 34, 32),
        ]
    return shapes.blend([shapes.blend(trunk, 50.0), *limbs], 30.0)


def _segments() -> list:
    """Return the segments that each bone moves, for `mesh.weigh`."""
    segments = [
        ("hips", [-60, 0, 0], [60, 0, 0], 110), ("hips", [0, 0, 0], [0, 130, 0], 110),
        ("chest", [0, 290, 0], [0, 430, 0], 120), ("chest", [-75, 440, 0], [75, 440, 0], 55),
        ("neck", _AT["thorax"] + [0, 30, 0], _AT["neck"], 52),
    ]  # fmt: skip
    for side in ("right", "left"):
        thigh, arm = _AT[f"{side} knee"] - _AT[f"{side} hip"], _AT[f"{side} elbow"] - _AT[f"{side} shoulder"]
        fore = _AT[f"{side} wrist"] - _AT[f"{side} elbow"]
        ankle = _AT[f"{side} ankle"]
        segments += [
            (f"{side} thigh", _AT[f"{side} hip"] + 0.12 * thigh, _AT[f"{side} knee"], 70),
            (f"{side} shin", _AT[f"{side} knee"], ankle, 48),
            (f"{side} shin", ankle, ankle + [0, -46, _TOE_MM], 40),
            (f"{side} upper arm", _AT[f"{side} shoulder"] + 0.1 * arm, _AT[f"{side} elbow"], 48),
            (f"{side} forearm", _AT[f"{side} elbow"], _AT[f"{side} wrist"] + 0.5 * fore, 38),
        ]
    return segments


def _on_neck(part: Mesh) -> Mesh:
    """Put a part of the gestures' head on this body: chin above the neck joint, moved by the head alone."""
    bones = np.full_like(part.bones, BONES.index("head"))
    place = (_AT["neck"] - [0, 33, 0] - NECK_TOP).astype(np.float32)
    return Mesh(**vars(part) | {"vertices": part.vertices + place, "bones": bones})


def _facing(up: np.ndarray, left: np.ndarray) -> np.ndarray:
    """Return axes (..., 3, 3) in columns: y along `up`, x as near to `left` as possible."""
    x = left - (left * up).sum(-1, keepdims=True) * up
    x /= np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-6)
    return np.stack([x, up, cross(x, up)], axis=-1)


def _shortest_turn(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the rotations (..., 3, 3) that take unit vectors a to b; inexact if they are opposite."""
    axis, cosine = cross(a, b), (a * b).sum(-1)[..., None, None]
    turn = cosine * np.eye(3) + axis[..., :, None] * axis[..., None, :] / np.maximum(1 + cosine, 1e-3)
    turn[..., [2, 0, 1], [1, 2, 0]] += axis
    turn[..., [1, 2, 0], [2, 0, 1]] -= axis
    return turn
