"""Drawing: from skinned surfaces and a scene to light, and from light to frames, with all that is exact."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int, Int32, UInt8

from rendered_people import mesh, raster
from rendered_people.scene import Scene

# Four samples per pixel, on a rotated grid; each is also one time of the exposure. The fifth, at the pixel's centre and
# the frame's own time, gives mask, depth and flow.
SAMPLES_PX = np.array([(-0.375, -0.125), (0.125, -0.375), (0.375, 0.125), (-0.125, 0.375), (0, 0)], np.float32)
CENTRE = 4
# Hand, body, head, hair: the performer's, then a passer-by's; last an object's.
GLOSS = np.array([0.10, 0.02, 0.10, 0.12] * 2 + [0.10], np.float32)
DETAIL_FROM_PX = (80, 160)  # larger images get finer meshes


def detail_of(size: int) -> int:
    """Return the level of detail of the meshes for images of `size` px: 0, 1 or 2."""
    return sum(size >= limit for limit in DETAIL_FROM_PX)


@dataclass(frozen=True)
class LightMap:
    """The cube in which surfaces cast shadows: depths along the light, in square cells."""

    centre: tuple[float, float, float]  # mm, scene axes
    half: float  # mm, of its side
    cell: float  # mm; also the distance from a surface at which its light is looked up
    far: float = 1500.0  # mm, from the light's plane to the centre

    @property
    def num_cells(self) -> int:
        """Number of cells along one side."""
        return int(2 * self.half / self.cell)

    def axes(self, light: Float32[np.ndarray, "3"]) -> Float32[np.ndarray, "3 4"]:
        """Return rows that give a point's column, row and depth in the key light's depth map."""
        right = np.cross([0.0, 1.0, 0.0], light)
        right /= np.linalg.norm(right)
        axes = np.stack([right, np.cross(right, light), -light])
        axes[:2] /= self.cell
        middle = self.half / self.cell
        shift = np.array([middle, middle, self.far]) - axes @ np.array(self.centre)
        return np.column_stack([axes, shift]).astype(np.float32)


@dataclass(frozen=True)
class Images:
    """All that the camera records of one clip; modalities that were not requested are None."""

    frames: UInt8[np.ndarray, "time size size 3"]
    hand_mask: Bool[np.ndarray, "time size size"] | None
    depth: Float32[np.ndarray, "time size size"] | None  # mm
    flow: Float32[np.ndarray, "time-1 size size 2"] | None  # px/frame
    joints_2d: Float32[np.ndarray, "time joints 2"]  # px
    joints_3d: Float32[np.ndarray, "time joints 3"]  # mm, camera axes


@dataclass(frozen=True)
class Actors:
    """The people drawn: a surface, its motion, and its paint.

    Triangles come in the order passer-by, what else moves while the shutter is open, the rest.
    """

    mesh: mesh.Mesh
    num_passer_by: int  # triangles, which cast no shadow
    num_moving: int  # triangles that move while the shutter is open, the passer-by's among them
    moving: Int[np.ndarray, " moving"]  # the vertices of those
    transforms: Float32[np.ndarray, "times bones 3 4"]  # every frame's, then, if any move, each exposure's four
    joints: Float32[np.ndarray, "time joints 3"]  # mm, scene axes
    wardrobe: Float32[np.ndarray, "parts sides=2 texels texels 3"]  # linear; the face is painted over as its eyes close
    boxes: Float32[np.ndarray, "boxes 4"]  # what each part's texture covers, as in `TEXTURE_BOXES`
    closed_eyes: Float32[np.ndarray, "texels texels 3"]  # the face's other paint
    blinking: Bool[np.ndarray, " time"]
    light_map: LightMap


@dataclass(frozen=True)
class Exposed:
    """The light that reaches the sensor, and what is exact for the centres of its pixels."""

    light: Float32[np.ndarray, "time size size 3"]  # linear
    covering: Int32[np.ndarray, "time size size"]  # the triangle seen, or `raster.NOTHING`
    depth: Float32[np.ndarray, "time size size"]  # mm
    flow: Float32[np.ndarray, "time-1 size size 2"] | None  # px/frame


def draw(
    actors: Actors,
    scene: Scene,
    wall: Float32[np.ndarray, "size size 3"],
    rng: np.random.Generator,
    modalities: Collection[str],
) -> Images:
    """Draw the actors before a wall, one image per entry of `blinking`; `rng` makes the noise."""
    exposed = expose(actors, scene, wall, rng, flow="flow" in modalities)
    return develop(exposed, actors, scene, rng, modalities)


def expose(
    actors: Actors, scene: Scene, wall: Float32[np.ndarray, "size size 3"], rng: np.random.Generator, *, flow: bool
) -> Exposed:
    """Return what the camera sees of the actors before a wall; `rng` makes the light flicker."""
    num_frames, size = len(actors.blinking), len(wall)
    wardrobe, surface = actors.wardrobe.copy(), actors.mesh
    faces = (wardrobe[mesh.HEAD, 0].copy(), actors.closed_eyes)
    motion, views = _Motion(actors, scene, size), _Views(len(SAMPLES_PX), size)
    to_light_map = actors.light_map.axes(scene.light)
    light = np.zeros((num_frames, size, size, 3), np.float32)
    flicker = 1 + scene.flicker * rng.standard_normal(num_frames).astype(np.float32)
    covering = np.empty((num_frames, size, size), np.int32)
    depth = np.empty((num_frames, size, size), np.float32)
    moved = np.empty((num_frames - 1, size, size, 2), np.float32)
    for t in range(num_frames):
        wardrobe[mesh.HEAD, 0] = faces[int(actors.blinking[t])]
        shadows = motion.seen_by_the_light(t, to_light_map)
        motion.expose(t, views)
        for k in range(4):
            raster.shade(
                light[t], wall, views.covering[k], views.corner_weights[k], surface.triangles, surface.parts,
                motion.exposed[k], motion.exposed_normals[k], surface.texture_points, wardrobe,
                actors.boxes, GLOSS, scene.camera.position, scene.light, scene.light_colour * flicker[t], scene.sky,
                scene.ground, to_light_map, shadows, np.float32(actors.light_map.cell),
            )  # fmt: skip
        covering[t] = views.covering[CENTRE]
        depth[t] = np.minimum(views.depth[CENTRE], scene.wall_distance)
        if flow and t + 1 < num_frames:
            raster.displacement(
                views.covering[CENTRE], views.corner_weights[CENTRE], surface.triangles, motion.screen[t + 1], moved[t]
            )
    return Exposed(light / 4, covering, depth, moved if flow else None)


def develop(
    exposed: Exposed,
    actors: Actors,
    scene: Scene,
    rng: np.random.Generator,
    modalities: Collection[str],
    *,
    metered: float | None = None,
) -> Images:
    """Return the images of an exposure; `rng` makes the noise.

    The camera sets itself to the mean light `metered`, by default that of the exposure.
    """
    of_hand = np.append(actors.mesh.parts == mesh.HAND, False)  # the last stands for no triangle
    truth = {"hand_mask": of_hand[exposed.covering], "depth": exposed.depth, "flow": exposed.flow}
    mean_light = float(exposed.light.mean()) if metered is None else metered
    return Images(
        frames=_develop(exposed.light, mean_light, scene, rng),
        joints_2d=scene.camera.project(actors.joints, len(exposed.light[0]))[..., :2],
        joints_3d=scene.camera.to_camera(actors.joints),
        **{name: array if name in modalities else None for name, array in truth.items()},
    )


class _Views:
    """Depth, triangle and corner weights of each sample of a pixel; drawn anew for every picture."""

    def __init__(self, num_samples: int, size: int):
        self.depth = np.empty((num_samples, size, size), np.float32)
        self.covering = np.empty((num_samples, size, size), np.int32)
        self.corner_weights = np.empty((num_samples, size, size, 2), np.float32)

    def clear(self) -> None:
        self.depth.fill(np.inf)
        self.covering.fill(raster.NOTHING)


class _Motion:
    """The clip's surface, posed at every frame and, where it moves, at every sample of each exposure."""

    def __init__(self, actors: Actors, scene: Scene, size: int):
        self._actors, self._camera, self._size = actors, scene.camera, size
        self._skin = (actors.mesh.vertices, actors.mesh.normals, actors.mesh.bones, actors.mesh.weights)
        num_frames, num_vertices = len(actors.blinking), len(actors.mesh.vertices)
        self.posed = np.empty((num_frames, num_vertices, 3), np.float32)
        self.normals = np.empty_like(self.posed)
        raster.skin(*self._skin, np.arange(num_vertices), actors.transforms[:num_frames], self.posed, self.normals)
        self.screen = scene.camera.project(self.posed, size)
        # The four samples of one frame's exposure.
        self.exposed, self.exposed_normals = np.empty((2, 4, num_vertices, 3), np.float32)
        self._exposed_screen = np.empty_like(self.exposed)

    def expose(self, t: int, views: _Views) -> None:
        """Pose frame t's exposure and draw it as each sample of a pixel sees it."""
        moving, num_moving = self._actors.moving, self._actors.num_moving
        self.exposed[:], self.exposed_normals[:] = self.posed[t], self.normals[t]
        triangles = self._actors.mesh.triangles
        buffers = (views.depth, views.covering, views.corner_weights)
        views.clear()
        raster.rasterise(self.screen[t], triangles, num_moving, len(triangles), SAMPLES_PX, *buffers)
        moments = slice(len(self.posed) + 4 * t, len(self.posed) + 4 * t + 4)
        raster.skin(*self._skin, moving, self._actors.transforms[moments], self.exposed, self.exposed_normals)
        self._camera.project(self.exposed, self._size, moving, self._exposed_screen)
        for k in range(len(SAMPLES_PX)):
            screen = self.screen[t] if k == CENTRE else self._exposed_screen[k]
            one = (buffer[k : k + 1] for buffer in buffers)
            raster.rasterise(screen, triangles, 0, num_moving, SAMPLES_PX[k : k + 1], *one)

    def seen_by_the_light(self, t: int, to_light_map: np.ndarray) -> Float32[np.ndarray, "cells cells"]:
        """Return the depth along the light of the performer's nearest surface in each cell."""
        view = _Views(1, self._actors.light_map.num_cells)
        view.clear()
        cells = self.posed[t] @ to_light_map[:, :3].T + to_light_map[:, 3]
        buffers = (view.depth, view.covering, view.corner_weights)
        triangles = self._actors.mesh.triangles
        first = self._actors.num_passer_by
        raster.rasterise(cells, triangles, first, len(triangles), SAMPLES_PX[CENTRE:], *buffers)
        return view.depth[0]


def _develop(
    light: np.ndarray, mean_light: float, scene: Scene, rng: np.random.Generator
) -> UInt8[np.ndarray, "time size size 3"]:
    """Convert light to 8-bit frames: automatic exposure, a soft shoulder, gamma 2 and the sensor's noise."""
    signal = light * np.float32(scene.brightness / max(mean_light, 1e-6))
    # Bright parts roll off instead of clipping.
    signal *= (1 + signal * np.float32(0.25)) / (1 + signal) * np.float32(1.6)
    levels = np.sqrt(np.clip(signal, 0, 1, out=signal), out=signal)
    noise = rng.standard_normal(levels.shape, np.float32)
    noise *= np.float32(scene.read_noise) + np.float32(scene.shot_noise) * levels
    noise += levels * np.float32(255)
    return np.clip(np.rint(noise, out=noise), 0, 255, out=noise).astype(np.uint8)
