"""render_gesture: from a person, a scene and a performance to frames, depth, hand mask, flow and joints."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Float32

from rendered_people import body, mesh, raster
from rendered_people.drawing import Actors, Images, LightMap, detail_of, draw
from rendered_people.gestures import perform
from rendered_people.labels import MODALITIES
from rendered_people.person import Person
from rendered_people.scene import Scene, backdrop, random_scene
from rendered_people.textures import TEXTURE_BOXES, textures

DURATION_S = (2.2, 3.4)  # of a gesture, shortest and longest
SAMPLES_SHUTTER = np.array([-0.375, 0.125, 0.375, -0.125])
LIGHT_MAP = LightMap(centre=(0.0, -20.0, 120.0), half=432.0, cell=9.0)
# An arm that hangs beside the body, at one time.
HANGING = body.Performance(
    wrist=np.array([[-215.0, -560.0, 30.0]]),
    palm=np.array([[[0.0, 0.0, 1.0], [0.0, -1.0, 0.0], [1.0, 0.0, 0.0]]]),
    fingers=np.zeros((1, 5, 4)),
    trunk=np.zeros((1, 3)),
    head=np.zeros((1, 3)),
    blink=np.zeros(1),
    elbow_swivel=np.zeros(1),
)
ARM = range(body.BONES.index("right_upper_arm"), body.BONES.index("little_2") + 1)


def render_gesture(
    person: Person,
    label: int,
    rngs: Sequence[np.random.Generator],
    *,
    size: int = 112,
    num_frames: int = 16,
    difficulty: float = 0.5,
    modalities: Collection[str] = MODALITIES,
) -> tuple[Images, float]:
    """Render a person making a gesture; return the images and their frames per second.

    Args:
        person: who performs, for example of `random_person`.
        label: the gesture's place in `JESTER_LABELS`.
        rngs: three generators, one each for the movement, the scene, and clothes with sensor noise, so that one can
            change without the others: `np.random.default_rng(0).spawn(3)`. The clip lasts 2.2 to 3.4 s.
        size: side of the square images, px.
        num_frames: frames, evenly spaced over the clip.
        difficulty: 0 a clean studio to 1 a dim, crowded room and a poor camera.
        modalities: which of `hand_mask`, `depth` and `flow` are rendered; fewer take less time.
    """
    motion, place, paint = rngs
    staged = stage(label, motion, place, num_frames, difficulty)
    images = render(person, staged.scene, staged.performance, staged.times, size, paint, modalities)
    return images, staged.fps


@dataclass(frozen=True)
class Staged:
    """A clip before anyone is painted: who stands where, and moves how."""

    scene: Scene
    performance: body.Performance  # at `times`
    times: Float[np.ndarray, " times"]  # s, see `shutter_times`
    fps: float


def stage(
    label: int, motion: np.random.Generator, place: np.random.Generator, num_frames: int, difficulty: float
) -> Staged:
    """Draw the movement and the scene of a clip; arguments as in `render_gesture`."""
    duration_s = motion.uniform(*DURATION_S)
    scene = random_scene(place, difficulty)
    frame_times = (np.arange(num_frames) + 0.5) * duration_s / num_frames
    times = shutter_times(frame_times, scene.shutter_s, place)
    return Staged(scene, perform(label, times, duration_s, motion), times, num_frames / duration_s)


def shutter_times(
    frame_times: Float[np.ndarray, " time"], shutter_s: float, rng: np.random.Generator
) -> Float[np.ndarray, " times"]:
    """Return the times to pose: every frame's own, then the four of each frame's exposure.

    In each frame the four samples run forwards or backwards in time, at random. With one order for all frames, blur to
    the left would differ from blur to the right, and a single frame would show the direction of movement.
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
    """Render a performance given at `shutter_times`; `rng` paints clothes and wall and makes the noise."""
    paint, wall = painted(person, scene, size, rng)
    actors = Actors(**cast(person, scene, performance, times, size), **paint, light_map=LIGHT_MAP)
    return draw(actors, scene, wall, rng, modalities)


def painted(
    person: Person, scene: Scene, size: int, rng: np.random.Generator
) -> tuple[dict[str, np.ndarray], Float32[np.ndarray, "size size 3"]]:
    """Return the paint of `Actors` by field, and the wall."""
    wardrobe, closed_eyes = textures(person, rng)
    wall = backdrop(scene, size, rng)
    if scene.passer_by:
        wardrobe = np.concatenate([wardrobe, textures(scene.passer_by, rng)[0]])
    return {"wardrobe": wardrobe, "closed_eyes": closed_eyes, "boxes": np.concatenate([TEXTURE_BOXES] * 2)}, wall


def cast(
    person: Person,
    scene: Scene,
    performance: body.Performance,
    times: np.ndarray,
    size: int,
    thing: tuple[mesh.Mesh, Float[np.ndarray, "times 1 3 4"]] | None = None,
) -> dict:
    """Dress and pose performer and passer-by; return all fields of `Actors` but their paint and the light.

    A `thing`, its surface on bone 0 and that bone's transforms, moves beside them and casts no shadow. The performer's
    trunk and head stand still while the shutter is open: they move a fifth of a pixel at most.
    """
    num_frames = len(times) // 5
    pose = body.pose(person.build, performance)
    parts, transforms = _dressed(person, detail_of(size)), [pose.bones]
    num_performer = sum(len(part.triangles) for part in parts)
    if scene.passer_by:
        parts += _dressed_passer_by(scene.passer_by)
        transforms.append(_walk(scene, times))
    if thing:
        surface, path = thing
        num_bones = sum(each.shape[1] for each in transforms)
        parts.append(replace(surface, bones=surface.bones + np.int32(num_bones)))
        transforms.append(path)
    joined = mesh.join(parts)
    arm = (joined.bones >= ARM.start) & (joined.bones < ARM.stop)
    others = joined.bones >= len(body.BONES)
    moving = ((joined.weights > 0) & (arm | others)).any(1)
    moves = moving[joined.triangles].any(1)
    moving[joined.triangles[moves]] = True  # whole triangles
    # Triangles in the order passer-by and thing, arm, rest of the performer.
    of_performer = np.arange(len(moves)) < num_performer
    order = np.argsort(np.where(of_performer, 1 + ~moves, 0), kind="stable")
    return {
        "mesh": replace(joined, triangles=joined.triangles[order], parts=joined.parts[order]),
        "num_passer_by": int((~of_performer).sum()),  # and the thing
        "num_moving": int(moves.sum()),
        "moving": np.flatnonzero(moving),
        "transforms": np.concatenate(transforms, axis=1).astype(np.float32),
        "joints": pose.joints[:num_frames].astype(np.float32),
        "blinking": performance.blink[:num_frames] > 0.5,
    }


def _dressed(person: Person, detail: int, kinds: tuple[str, ...] = ("hand", "torso")) -> list[mesh.Mesh]:
    """Return a person's meshes, fitted from the reference adult to their build."""
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
    """Return the meshes of a standing person, far away and so coarse; parts and bones follow the performer's."""
    return [
        replace(part, parts=part.parts + np.uint8(4), bones=part.bones + np.int32(len(body.BONES)))
        for part in _dressed(person, detail=0, kinds=("standing",))
    ]


def _fit(build: body.Build) -> Float32[np.ndarray, "1 bones 3 4"]:
    """Return for each bone the map from the reference adult's modelling pose to a build's."""
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


def _walk(scene: Scene, times: np.ndarray) -> np.ndarray:
    """Return bone transforms of someone walking past with hanging arms, (times, bones, 3, 4)."""
    bones = body.pose(scene.passer_by.build, HANGING).bones[0]
    # Turned half to where they walk.
    turn = 0.9 * np.sign(scene.path[1, 0])
    heading = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]])
    place = scene.path[0] + times[:, None] * scene.path[1]
    place[:, 1] += 14 * np.abs(np.sin(2 * np.pi * 0.9 * times))  # the bob of a stride, mm
    walking = np.tile(heading @ bones, (len(times), 1, 1, 1))
    walking[..., 3] += place[:, None]
    return walking
