"""render_counterfactuals: the clip of `render_gesture` with one thing changed and every random number kept."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Float32, UInt8
from scipy.spatial.transform import Rotation

from rendered_people import body, mesh
from rendered_people.changes import REGIONS, Change
from rendered_people.drawing import Actors, Images, develop, expose
from rendered_people.labels import MODALITIES
from rendered_people.person import Person
from rendered_people.render import ARM, HANGING, LIGHT_MAP, Staged, cast, painted, stage
from rendered_people.textures import TEXELS, linear

_PASSER_BY, _THING = 4, 8  # the first part of the one, the part of the other
_HAND = body.BONES.index("right_hand")
# Half the length, width and thickness of a flat hand, and its middle from the wrist, in the hand's axes, mm.
_THING_HALF, _THING_MIDDLE = np.array([45.0, 95.0, 26.0]), np.array([0.0, 90.0, 0.0])


@dataclass(frozen=True)
class Shown:
    """A counterfactual clip, and what each of its pixels shows."""

    images: Images
    regions: UInt8[np.ndarray, "time size size"]  # places in `REGIONS`
    fps: float


def render_counterfactuals(
    person: Person,
    label: int,
    rngs: Sequence[np.random.Generator],
    changes: Sequence[Change],
    *,
    size: int = 112,
    num_frames: int = 16,
    difficulty: float = 0.5,
) -> list[Shown]:
    """Render the clip that `render_gesture` makes of the same arguments, once with each change.

    Movement, scene, clothes, wall, flicker, noise and the camera's exposure are those of the unchanged clip. But for a
    shifted view, pixels that neither the arm, its shadow nor the distractor touches are the same bytes. Masks, depth,
    flow and joints are exact for what is shown.
    """
    motion, place, paint = rngs
    staged = stage(label, motion, place, num_frames, difficulty)
    looks, wall = painted(person, staged.scene, size, paint)
    before = Actors(**cast(person, staged.scene, staged.performance, staged.times, size), **looks, light_map=LIGHT_MAP)
    unchanged = expose(before, staged.scene, wall, deepcopy(paint), flow=True)
    metered = float(unchanged.light.mean())
    shown = []
    for change in changes:
        scene, actors, behind, rng = staged.scene, before, wall, deepcopy(paint)
        if change.kind == "view shifted":
            scene = replace(scene, camera=replace(scene.camera, shift=tuple(each / size for each in change.shift_px)))
            behind = _moved(wall, change.shift_px)
        elif change.kind != "none":
            actors = _acting(person, staged, change, looks, size)
        seen = expose(actors, scene, behind, rng, flow=True)
        images = develop(seen, actors, scene, rng, MODALITIES, metered=metered)
        shown.append(Shown(images, _regions(actors.mesh)[seen.covering], staged.fps))
    return shown


def _acting(person: Person, staged: Staged, change: Change, looks: dict[str, np.ndarray], size: int) -> Actors:
    """Return the actors of a change in what the arm does."""
    performance, thing = _performance(person.build, staged, change, size), None
    if change.kind == "distractor":
        path = body.pose(person.build, staged.performance).bones[:, [_HAND]]
        path[:, 0, :, 3] += _aside(staged, path[:, 0] @ [*body.rest_frames(person.build)[1][_HAND], 1], change, size)
        thing, looks = (_thing(person.build), path), looks | _with_thing(person, looks)
    acting = cast(person, staged.scene, performance, staged.times, size, thing)
    return Actors(**acting, **looks, light_map=LIGHT_MAP)


def _aside(
    staged: Staged, wrist: Float[np.ndarray, "times 3"], change: Change, size: int
) -> Float[np.ndarray, "times 3"]:
    """Return the way from the wrist's places to those seen `shift_px` further right and down, equally far away, mm."""
    camera = staged.scene.camera
    depth = camera.to_camera(wrist)[:, 2:]
    return np.asarray(change.shift_px) / (camera.focal * size) * depth @ camera.axes[:2].astype(float)


def _performance(build: body.Build, staged: Staged, change: Change, size: int) -> body.Performance:
    """Return the performance of an arm that is frozen, removed or shifted; trunk, head and lids move as before."""
    before = staged.performance
    if change.kind == "removed":
        kept = {name: getattr(before, name) for name in ("trunk", "head", "blink")}
        times = len(before.wrist)
        return body.Performance(
            **{name: np.repeat(each, times, 0) for name, each in vars(HANGING).items() if name not in kept}, **kept
        )
    wrist = body.pose(build, before).joints[:, 0]
    if change.kind == "hand shifted":
        return replace(before, wrist=_reaching(build, before.trunk, wrist + _aside(staged, wrist, change, size)))
    middle = len(staged.times) // 5 // 2  # the first fifth of the times are the frames' own
    trunk = Rotation.from_rotvec(before.trunk).as_matrix()
    palm = trunk[middle] @ before.palm[middle]
    return replace(
        before,
        wrist=_reaching(build, before.trunk, np.broadcast_to(wrist[middle], wrist.shape)),
        palm=np.swapaxes(trunk, 1, 2) @ palm,
        fingers=np.broadcast_to(before.fingers[middle], before.fingers.shape),
        elbow_swivel=np.broadcast_to(before.elbow_swivel[middle], before.elbow_swivel.shape),
    )


def _reaching(
    build: body.Build, trunk: Float[np.ndarray, "time 3"], wrist: Float[np.ndarray, "time 3"]
) -> Float[np.ndarray, "time 3"]:
    """Return the field `wrist` of a performance with which `body.pose` brings the wrist to these places, mm."""
    pelvis = body.PELVIS * build.stature
    upright = pelvis + Rotation.from_rotvec(trunk).inv().apply(wrist - pelvis)
    shoulder = body.rest_frames(build)[1][body.BONES.index("right_upper_arm")]
    return body.SHOULDER + (upright - shoulder) / (build.arm_length * build.stature)


def _moved(wall: Float32[np.ndarray, "size size 3"], shift_px: tuple[int, int]) -> Float32[np.ndarray, "size size 3"]:
    """Return the wall moved right and down, mirrored where it ends."""
    right, down = shift_px
    margin = max(abs(right), abs(down))
    padded = np.pad(wall, ((margin, margin), (margin, margin), (0, 0)), mode="reflect")
    size = len(wall)
    return np.ascontiguousarray(padded[margin - down : margin - down + size, margin - right : margin - right + size])


@lru_cache(maxsize=1)
def _ellipsoid() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    def distance(points: np.ndarray) -> np.ndarray:
        return (np.linalg.norm((points - _THING_MIDDLE) / _THING_HALF, axis=1) - 1) * _THING_HALF.min()

    room = 1.3 * _THING_HALF
    return mesh.surface(distance, (_THING_MIDDLE - room, _THING_MIDDLE + room), 9.0)


def _thing(build: body.Build) -> mesh.Mesh:
    """Return the distractor where the hand is in the build's modelling pose, on bone 0."""
    vertices, normals, triangles = _ellipsoid()
    orientation, origin = (each[_HAND] for each in body.rest_frames(build))
    num = len(vertices)
    return mesh.Mesh(
        vertices=(vertices * build.hand_size @ orientation.T + origin).astype(np.float32),
        normals=(normals @ orientation.T).astype(np.float32),
        texture_points=np.zeros((num, 3), np.float32),
        triangles=triangles.astype(np.int32),
        parts=np.full(len(triangles), _THING, np.uint8),
        bones=np.zeros((num, 4), np.int32),
        weights=np.tile(np.array([1, 0, 0, 0], np.float32), (num, 1)),
    )


def _with_thing(person: Person, looks: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return wardrobe and boxes with the distractor's paint as part `_THING`: as bright as the skin, and of no skin."""
    wardrobe, boxes = looks["wardrobe"], looks["boxes"]
    paint = np.zeros((_THING + 1, 2, TEXELS, TEXELS, 3), np.float32)
    paint[: len(wardrobe)] = wardrobe
    paint[_THING] = linear(person.skin[::-1])
    return {"wardrobe": paint, "boxes": np.concatenate([boxes, boxes[:1]])}


def _regions(surface: mesh.Mesh) -> UInt8[np.ndarray, " _"]:
    """Return the region of each triangle, as a place in `REGIONS`; the last stands for no triangle."""
    of_arm = ((surface.bones[:, 0] >= ARM.start) & (surface.bones[:, 0] < ARM.stop))[surface.triangles].all(1)
    of_body = np.where(of_arm, REGIONS.index("arm"), REGIONS.index("trunk"))
    regions = np.select(
        [surface.parts == mesh.HAND, surface.parts == mesh.BODY, surface.parts < _PASSER_BY, surface.parts < _THING],
        [REGIONS.index("hand"), of_body, REGIONS.index("head"), REGIONS.index("passer-by")],
        REGIONS.index("distractor"),
    )
    return np.append(regions, REGIONS.index("wall")).astype(np.uint8)
