"""Skinned surfaces of the upper body: each part meshed once, bent by the skeleton."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float32, Int32, UInt8
from skimage.measure import marching_cubes

from rendered_people import body, shapes
from rendered_people.shapes import Field

# The parts a pixel can show; the hand mask is the pixels of HAND.
HAND, BODY, HEAD, HAIR = range(4)
# The hand begins this far above (towards the fingers) the wrist joint's own cross-section, mm.
HAND_STARTS_MM = -6.0


@dataclass(frozen=True)
class Mesh:
    """A surface in the modelling pose with up to four bones a vertex."""

    vertices: Float32[np.ndarray, "vertices 3"]  # mm
    normals: Float32[np.ndarray, "vertices 3"]
    texture_points: Float32[np.ndarray, "vertices 3"]  # where a vertex reads its part's texture, mm
    triangles: Int32[np.ndarray, "triangles 3"]
    parts: UInt8[np.ndarray, " triangles"]
    bones: Int32[np.ndarray, "vertices 4"]
    weights: Float32[np.ndarray, "vertices 4"]


@lru_cache(maxsize=64)
def template(kind: str, detail: int) -> Mesh:
    """Return the mesh of `hand`, `torso-f`, `standing-f`, `head-f` (or `-m`), `hair-<style>`; detail is 0, 1 or 2."""
    name, _, variant = kind.partition("-")
    orientations, origins = body.rest_frames(body.Build())
    frame, origin = np.eye(3), np.zeros(3)
    if name == "hand":
        bounds, voxel = ([-85, -80, -45], [120, 215, 60]), (10.5, 6.5, 5.0)[detail]
        field, segments, spread_mm, part = shapes.hand(), _hand_segments(), 5.0, HAND
        bone = body.BONES.index("right_hand")
        frame, origin = orientations[bone], origins[bone]
    elif name in ("torso", "standing"):
        shape, bottom = (shapes.torso, -640) if name == "torso" else (shapes.standing, -1400)
        bounds, voxel = ([-720, bottom, -190], [720, 175, 190]), (46.0, 26.0, 18.0)[detail]
        field, segments, spread_mm, part = shape(variant == "f"), _torso_segments(), 22.0, BODY
    else:
        bounds, voxel = ([-150, -180, -160], [150, 270, 150]), (21.0, 11.0, 8.0)[detail]
        field = shapes.head(variant == "f") if name == "head" else shapes.hair(variant)
        segments, spread_mm, part = [("head", [0, 40, 0], [0, 120, 0], 60)], 10.0, HEAD if name == "head" else HAIR
        origin = origins[body.BONES.index("head")]
    vertices, normals, triangles = surface(field, bounds, voxel)
    bones, weights = weigh(vertices, segments, body.BONES, spread_mm)
    mesh = Mesh(
        vertices=(vertices @ frame.T + origin).astype(np.float32),
        normals=(normals @ frame.T).astype(np.float32),
        texture_points=np.column_stack([vertices[:, :2], normals[:, 2]]).astype(np.float32),
        triangles=triangles.astype(np.int32),
        parts=np.full(len(triangles), part, np.uint8),
        bones=bones,
        weights=weights,
    )
    return _cut_off(mesh, vertices[:, 1] < HAND_STARTS_MM) if name == "hand" else mesh


def join(parts: list[Mesh]) -> Mesh:
    """Join the vertices and triangles of all parts into one mesh, in their order."""
    starts = np.cumsum([0] + [len(part.vertices) for part in parts[:-1]])
    columns = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("vertices", "normals", "texture_points", "parts", "bones", "weights")
    }
    triangles = np.concatenate([part.triangles + np.int32(start) for part, start in zip(parts, starts, strict=True)])
    return Mesh(triangles=triangles, **columns)


def _cut_off(hand: Mesh, is_wrist: np.ndarray) -> Mesh:
    """Make the hand's wrist part of the arm: skin or sleeve, by the body's texture."""
    of_wrist = is_wrist[hand.triangles].all(1)
    # Vertices at the border read two textures, so the wrist gets copies.
    used, renumbered = np.unique(hand.triangles[of_wrist], return_inverse=True)
    triangles = hand.triangles.copy()
    triangles[of_wrist] = len(hand.vertices) + renumbered.reshape(-1, 3)
    in_body = np.column_stack([hand.vertices[used, :2], hand.normals[used, 2]])
    return Mesh(
        vertices=np.concatenate([hand.vertices, hand.vertices[used]]),
        normals=np.concatenate([hand.normals, hand.normals[used]]),
        texture_points=np.concatenate([hand.texture_points, in_body]),
        triangles=triangles,
        parts=np.where(of_wrist, BODY, HAND).astype(np.uint8),
        bones=np.concatenate([hand.bones, hand.bones[used]]),
        weights=np.concatenate([hand.weights, hand.weights[used]]),
    )


def surface(field: Field, bounds, voxel: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return vertices, outward normals and triangles (outside seen counter-clockwise) of the field's zero level."""
    low, high = np.asarray(bounds, float)
    axes = [np.arange(a, b + voxel, voxel) for a, b in zip(low, high, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    values = field(grid.reshape(-1, 3)).reshape(grid.shape[:3])
    vertices, triangles, _, _ = marching_cubes(values, 0.0, gradient_direction="ascent", allow_degenerate=False)
    vertices = vertices * voxel + low
    steps = np.eye(3) * (0.3 * voxel)
    gradient = np.stack([field(vertices + step) - field(vertices - step) for step in steps], axis=-1)
    normals = gradient / np.maximum(np.linalg.norm(gradient, axis=1, keepdims=True), 1e-9)
    corners = vertices[triangles]
    facing = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    if (facing * normals[triangles[:, 0]]).sum() < 0:
        triangles = triangles[:, ::-1]
    return vertices, normals, triangles


def weigh(
    vertices: np.ndarray, segments: list, names: tuple[str, ...], spread_mm: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the four nearest bones of each vertex and their weights, which fall with distance."""
    distance = np.full((len(vertices), len(names)), np.inf)
    for name, a, b, radius in segments:
        bone = names.index(name)
        distance[:, bone] = np.minimum(distance[:, bone], shapes.cone(a, b, radius, radius)(vertices))
    weight = np.exp(-(distance - distance.min(1, keepdims=True)) / spread_mm)
    bones = np.argsort(-weight, axis=1)[:, :4]
    weights = np.take_along_axis(weight, bones, axis=1)
    weights[weights < 0.02] = 0
    return bones.astype(np.int32), (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def _hand_segments() -> list:
    joints = body.REFERENCE_HAND
    segments = [("right_forearm", [0, -200, 0], [0, -22, 0], 26)]
    for number, finger in enumerate(body.FINGERS):
        chain = joints[1 + 4 * number : 5 + 4 * number]
        segments += [(f"{finger}_{k}", chain[k], chain[k + 1], 10) for k in range(3)]
        if finger != "thumb":
            segments.append(("right_hand", joints[0] + [0, 12, 0], chain[0] - [0, 12, 0], 12))
    return segments


def _torso_segments() -> list:
    shoulder, upper, fore = body.SHOULDER, body.UPPER_ARM_MM, body.FOREARM_MM
    elbow = shoulder + upper * body.REST_ARM
    wrist = elbow + fore * body.REST_ARM
    segments = [
        ("torso", body.PELVIS - [0, 150, 0], [0, -90, -10], 120),
        ("neck", [0, 45, -8], body.NECK_TOP, 52),
    ]
    segments.append(("head", body.NECK_TOP + [0, 25, 0], body.NECK_TOP + [0, 90, 0], 50))
    for name, side in (("right", 1.0), ("left", -1.0)):
        mirror = np.array([side, 1, 1])
        segments.append(("torso", np.array([0, -50, -12.0]), shoulder * mirror * [0.62, 1, 1], 56))
        segments.append((f"{name}_upper_arm", (shoulder + 30 * body.REST_ARM) * mirror, elbow * mirror, 46))
        segments.append((f"{name}_forearm", elbow * mirror, wrist * mirror, 36))
    return segments
