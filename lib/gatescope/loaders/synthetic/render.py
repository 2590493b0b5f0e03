"""From a person, a scene and a performance to frames, depth, hand mask, flow and joints."""

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from gatescope.loaders.synthetic import body, mesh, raster
from gatescope.loaders.synthetic.person import Person
from gatescope.loaders.synthetic.scene import Scene, backdrop
from gatescope.loaders.synthetic.textures import TEXTURE_BOXES, textures

# Four samples a pixel, on a turned grid; each is also a moment of the shutter's opening. The fifth, at the pixel's
# centre and the frame's own time, gives mask, depth and flow.
SAMPLES_PX = np.array([(-0.375, -0.125), (0.125, -0.375), (0.375, 0.125), (-0.125, 0.375), (0, 0)], np.float32)
CENTRE = 4
SAMPLES_SHUTTER = np.array([-0.375, 0.125, 0.375, -0.125])
GLOSS = np.array([0.10, 0.02, 0.10, 0.12] * 2, np.float32)  # hand, body, head, hair; the performer's, a passer-by's
DETAIL_FROM_PX = (80, 160)  # larger images get finer meshes
_ARM = range(body.BONES.index("right_upper_arm"), body.BONES.index("little_2") + 1)
LIGHT_MAP_CELL_MM, LIGHT_MAP_HALF_MM, LIGHT_MAP_FAR_MM = 9.0, 432.0, 1500.0
SHADOW_LIFT_MM = 9.0


@dataclass(frozen=True)
class Images:
    """What the camera records of one clip; what was not asked for is None."""

    frames: UInt8[np.ndarray, "time size size 3"]
    hand_mask: Bool[np.ndarray, "time size size"] | None
    depth: Float32[np.ndarray, "time size size"] | None  # mm
    flow: Float32[np.ndarray, "time-1 size size 2"] | None  # px/frame
    joints_2d: Float32[np.ndarray, "time joints 2"]  # px
    joints_3d: Float32[np.ndarray, "time joints 3"]  # mm, camera axes


def shutter_times(
    frame_times: Float[np.ndarray, " time"], shutter_s: float, rng: np.random.Generator
) -> Float[np.ndarray, " times"]:
    """The moments to pose: every frame's own, then the four of each frame's exposure.

    Frame by frame the four samples are taken in time order or against it, at random: with one order for all, blur to
    the left would differ from blur to the right, and a single frame would tell where the hand is going.
    """
    order = rng.choice([-1.0, 1.0], len(frame_times))
    exposure = frame_times[:, None] + shutter_s * order[:, None] * SAMPLES_SHUTTER
    return np.concatenate([frame_times, exposure.ravel()])


def render(
    person: Person,
    scene: Scene,
    performance: body.Performance,
    times: Float[np.ndarray, " times"],
    size: int,
    rng: np.random.Generator,
    modalities: Collection[str],
) -> Images:
    """The images of a performance given at `shutter_times`; `rng` paints clothes and wall and makes the noise."""
    num_frames = len(times) // 5
    wardrobe, closed_eyes = textures(person, rng)
    faces = (wardrobe[mesh.HEAD, 0].copy(), closed_eyes)
    wall = backdrop(scene, size, rng)
    if scene.passer_by:
        wardrobe = np.concatenate([wardrobe, textures(scene.passer_by, rng)[0]])
    motion = _Motion(person, scene, performance, times, size)
    surface, views = motion.mesh, _Views(len(SAMPLES_PX), size)
    to_light_map = _to_light_map(scene.light)
    boxes = np.concatenate([TEXTURE_BOXES, TEXTURE_BOXES])
    frames = np.zeros((num_frames, size, size, 3), np.float32)
    flicker = 1 + scene.flicker * rng.standard_normal(num_frames).astype(np.float32)
    outputs = {
        "hand_mask": np.empty((num_frames, size, size), bool),
        "depth": np.empty((num_frames, size, size), np.float32),
        "flow": np.empty((num_frames - 1, size, size, 2), np.float32),
    }
    of_hand = np.append(surface.parts == mesh.HAND, False)  # the last stands for no triangle
    for t in range(num_frames):
        wardrobe[mesh.HEAD, 0] = faces[int(performance.blink[t] > 0.5)]
        light_map = _light_map(motion, t, to_light_map)
        motion.expose(t, views)
        for k in range(4):
            raster.shade(
                frames[t], wall, views.covering[k], views.corner_weights[k], surface.triangles, surface.parts,
                motion.exposed[k], motion.exposed_normals[k], surface.texture_points, wardrobe,
                boxes, GLOSS, scene.camera.position, scene.light, scene.light_colour * flicker[t], scene.sky,
                scene.ground, to_light_map, light_map, np.float32(SHADOW_LIFT_MM),
            )  # fmt: skip
        outputs["hand_mask"][t] = of_hand[views.covering[CENTRE]]
        outputs["depth"][t] = np.minimum(views.depth[CENTRE], scene.wall_distance)
        if "flow" in modalities and t + 1 < num_frames:
            raster.displacement(
                views.covering[CENTRE], views.corner_weights[CENTRE], surface.triangles, motion.screen[t + 1],
                outputs["flow"][t],
            )  # fmt: skip
    return Images(
        frames=_develop(frames / 4, scene, rng),
        joints_2d=scene.camera.project(motion.joints, size)[..., :2],
        joints_3d=scene.camera.to_camera(motion.joints),
        **{name: array if name in modalities else None for name, array in outputs.items()},
    )


class _Views:
    """What each sample of a pixel sees; drawn anew for every picture."""

    def __init__(self, num_samples: int, size: int):
        self.depth = np.empty((num_samples, size, size), np.float32)
        self.covering = np.empty((num_samples, size, size), np.int32)
        self.corner_weights = np.empty((num_samples, size, size, 2), np.float32)

    def clear(self) -> None:
        self.depth.fill(np.inf)
        self.covering.fill(raster.NOTHING)


class _Motion:
    """The clip's surface, posed at every frame and, gesturing arm and passer-by, at every moment of each exposure.

    The performer's trunk and head stand still while the shutter is open: they move a fifth of a pixel at most.
    """

    def __init__(self, person: Person, scene: Scene, performance: body.Performance, times: np.ndarray, size: int):
        num_frames = len(times) // 5
        detail = sum(size >= limit for limit in DETAIL_FROM_PX)
        pose = body.pose(person.build, performance)
        parts, transforms = _dressed(person, detail), [pose.bones]
        num_performer = sum(len(part.triangles) for part in parts)
        if scene.passer_by:
            parts += _dressed_passer_by(scene.passer_by)
            transforms.append(_walk(scene, times))
        transforms = np.concatenate(transforms, axis=1).astype(np.float32)
        joined = _join(parts)
        arm = (joined.bones >= _ARM.start) & (joined.bones < _ARM.stop)
        passer_by = joined.bones >= len(body.BONES)
        moving = ((joined.weights > 0) & (arm | passer_by)).any(1)
        moves = moving[joined.triangles].any(1)
        moving[joined.triangles[moves]] = True  # whole triangles
        # Triangles in the order passer-by, arm, rest of the performer.
        of_performer = np.arange(len(moves)) < num_performer
        order = np.argsort(np.where(of_performer, 1 + ~moves, 0), kind="stable")
        self.mesh = replace(joined, triangles=joined.triangles[order], parts=joined.parts[order])
        self.num_moving, self.num_passer_by = int(moves.sum()), int((~of_performer).sum())
        self.joints = pose.joints[:num_frames].astype(np.float32)

        self._transforms, self._some = transforms, np.flatnonzero(moving)
        self._skin = (self.mesh.vertices, self.mesh.normals, self.mesh.bones, self.mesh.weights)
        self._camera, self._size = scene.camera, size
        self.posed = np.empty((num_frames, len(moving), 3), np.float32)
        self.normals = np.empty_like(self.posed)
        raster.skin(*self._skin, np.arange(len(moving)), transforms[:num_frames], self.posed, self.normals)
        self.screen = scene.camera.project(self.posed, size)
        # The four moments of one frame's exposure.
        self.exposed, self.exposed_normals = np.empty((2, 4, len(moving), 3), np.float32)
        self._exposed_screen = np.empty_like(self.exposed)

    def expose(self, t: int, views: _Views) -> None:
        """Pose frame t's exposure and draw it as each sample of a pixel sees it."""
        self.exposed[:], self.exposed_normals[:] = self.posed[t], self.normals[t]
        moments = slice(len(self.posed) + 4 * t, len(self.posed) + 4 * t + 4)
        raster.skin(*self._skin, self._some, self._transforms[moments], self.exposed, self.exposed_normals)
        self._camera.project(self.exposed, self._size, self._some, self._exposed_screen)
        triangles = self.mesh.triangles
        buffers = (views.depth, views.covering, views.corner_weights)
        views.clear()
        raster.rasterise(self.screen[t], triangles, self.num_moving, len(triangles), SAMPLES_PX, *buffers)
        for k in range(len(SAMPLES_PX)):
            screen = self.screen[t] if k == CENTRE else self._exposed_screen[k]
            one = (buffer[k : k + 1] for buffer in buffers)
            raster.rasterise(screen, triangles, 0, self.num_moving, SAMPLES_PX[k : k + 1], *one)


def _dressed(person: Person, detail: int, kinds: tuple[str, ...] = ("hand", "torso")) -> list[mesh.Mesh]:
    """A person's meshes, fitted from the reference adult to their build."""
    sex = "f" if person.female else "m"
    kinds = [kind if kind == "hand" else f"{kind}-{sex}" for kind in (*kinds, "head")]
    kinds += [f"hair-{person.hair_style}"] * (person.hair_style != "none")
    fit = _fit(person.build)
    fitted = []
    for part in (mesh.template(kind, detail) for kind in kinds):
        vertices, normals = np.empty((2, 1, *part.vertices.shape), np.float32)
        everything = np.arange(len(part.vertices))
        raster.skin(part.vertices, part.normals, part.bones, part.weights, everything, fit, vertices, normals)
        fitted.append(replace(part, vertices=vertices[0], normals=normals[0]))
    return fitted


def _dressed_passer_by(person: Person) -> list[mesh.Mesh]:
    """A standing person, far enough away for the coarsest meshes; parts and bones follow the performer's."""
    return [
        replace(part, parts=part.parts + np.uint8(4), bones=part.bones + np.int32(len(body.BONES)))
        for part in _dressed(person, detail=0, kinds=("standing",))
    ]


def _fit(build: body.Build) -> Float32[np.ndarray, "1 bones 3 4"]:
    """Bone by bone, the stretch from the reference adult's modelling pose to a build's."""
    reference, reference_origin = body.rest_frames(body.Build())
    orientation, origin = body.rest_frames(build)
    stretch = np.ones((len(body.BONES), 3))
    for k, name in enumerate(body.BONES):
        if name in ("torso", "neck"):
            stretch[k] = build.shoulder_width * build.stature, build.stature, build.girth * build.stature
        elif name == "head":
            stretch[k] = build.head_size * np.array([build.head_width, 1, 1]) * build.stature
        elif name.endswith("arm"):
            stretch[k] = build.arm_thickness, build.arm_length * build.stature, build.arm_thickness
        elif name == "right_hand":
            stretch[k] = build.hand_size
        else:
            thickness = build.hand_size * build.finger_thickness
            stretch[k] = thickness, build.hand_size * build.finger_length, thickness
    linear = orientation @ (stretch[:, :, None] * np.swapaxes(reference, -1, -2))
    shift = origin - np.einsum("bij,bj->bi", linear, reference_origin)
    return np.concatenate([linear, shift[..., None]], axis=-1)[None].astype(np.float32)


def _join(parts: list[mesh.Mesh]) -> mesh.Mesh:
    starts = np.cumsum([0] + [len(part.vertices) for part in parts[:-1]])
    columns = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("vertices", "normals", "texture_points", "parts", "bones", "weights")
    }
    triangles = np.concatenate([part.triangles + np.int32(start) for part, start in zip(parts, starts, strict=True)])
    return mesh.Mesh(triangles=triangles, **columns)


def _walk(scene: Scene, times: np.ndarray) -> np.ndarray:
    """Bone transforms of someone walking past with hanging arms, (times, bones, 3, 4)."""
    still = body.Performance(
        wrist=np.array([[-215.0, -560.0, 30.0]]),
        palm=np.array([[[0.0, 0.0, 1.0], [0.0, -1.0, 0.0], [1.0, 0.0, 0.0]]]),
        fingers=np.zeros((1, 5, 4)),
        trunk=np.zeros((1, 3)),
        head=np.zeros((1, 3)),
        blink=np.zeros(1),
        elbow_swivel=np.zeros(1),
    )
    bones = body.pose(scene.passer_by.build, still).bones[0]
    # Turned half to where they walk.
    turn = 0.9 * np.sign(scene.path[1, 0])
    heading = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]])
    place = scene.path[0] + times[:, None] * scene.path[1]
    place[:, 1] += 14 * np.abs(np.sin(2 * np.pi * 0.9 * times))  # the bob of a stride, mm
    walking = np.tile(heading @ bones, (len(times), 1, 1, 1))
    walking[..., 3] += place[:, None]
    return walking


def _to_light_map(light: np.ndarray) -> Float32[np.ndarray, "3 4"]:
    """Rows that give a point's column, row and depth in the key light's depth map."""
    right = np.cross([0.0, 1.0, 0.0], light)
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(right, light), -light])
    axes[:2] /= LIGHT_MAP_CELL_MM
    middle = LIGHT_MAP_HALF_MM / LIGHT_MAP_CELL_MM
    shift = np.array([middle, middle, LIGHT_MAP_FAR_MM]) - axes @ np.array([0.0, -20.0, 120.0])
    return np.column_stack([axes, shift]).astype(np.float32)


def _light_map(motion: _Motion, t: int, to_light_map: np.ndarray) -> Float32[np.ndarray, "cells cells"]:
    """Depth along the light of the performer's nearest surface in each cell."""
    view = _Views(1, int(2 * LIGHT_MAP_HALF_MM / LIGHT_MAP_CELL_MM))
    view.clear()
    cells = motion.posed[t] @ to_light_map[:, :3].T + to_light_map[:, 3]
    buffers = (view.depth, view.covering, view.corner_weights)
    triangles = motion.mesh.triangles
    raster.rasterise(cells, triangles, motion.num_passer_by, len(triangles), SAMPLES_PX[CENTRE:], *buffers)
    return view.depth[0]


def _develop(light: np.ndarray, scene: Scene, rng: np.random.Generator) -> UInt8[np.ndarray, "time size size 3"]:
    """8-bit frames: automatic exposure, a soft shoulder, gamma 2 and the sensor's noise."""
    signal = light * np.float32(scene.brightness / max(float(light.mean()), 1e-6))
    # Bright parts roll off instead of clipping.
    signal *= (1 + signal * np.float32(0.25)) / (1 + signal) * np.float32(1.6)
    levels = np.sqrt(np.clip(signal, 0, 1, out=signal), out=signal)
    noise = rng.standard_normal(levels.shape, np.float32)
    noise *= np.float32(scene.read_noise) + np.float32(scene.shot_noise) * levels
    noise += levels * np.float32(255)
    return np.clip(np.rint(noise, out=noise), 0, 255, out=noise).astype(np.uint8)
