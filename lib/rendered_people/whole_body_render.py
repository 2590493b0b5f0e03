"""render_body: from a person and the motion of 17 joints to frames, depth, flow and joints of a whole body."""

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from rendered_people import whole_body
from rendered_people.body_motion import BodyMotion
from rendered_people.drawing import Actors, Images, LightMap, detail_of, draw
from rendered_people.person import Person
from rendered_people.scene import Camera, Scene, backdrop, random_scene
from rendered_people.textures import TEXTURE_BOXES, head_textures

MOST_YAW = 1.2  # rad, between the direction the body faces at mid-clip and the camera
VIEW_MM = 2400.0  # side of the square seen at the pelvis's depth
MARGIN = 1.08  # of a view that had to be widened, for hands and feet
DISTANCE_MM = (3600.0, 5200.0)  # from the camera to the pelvis
DIFFICULTY = 0.5  # of light, backdrop and sensor, as the gestures have it by default
LIGHT_MAP = LightMap(centre=(0.0, 0.0, 0.0), half=1152.0, cell=24.0, far=3000.0)
_BOXES = np.concatenate([[whole_body.SUIT_BOX] * 2, TEXTURE_BOXES[2:]])


def render_body(
    person: Person,
    motion: BodyMotion,
    rngs: Sequence[np.random.Generator],
    *,
    size: int = 112,
    modalities: Collection[str] = (),
) -> Images:
    """Render a person in a marked suit moving as `motion` does, one image per frame of it.

    The camera stands within `MOST_YAW` of the direction the body faces at mid-clip and follows the pelvis, which is
    always at the image's centre and at one distance. It sees a square of `VIEW_MM` there, or more if needed.

    Args:
        person: gives build, head and hair.
        motion: 17 joints in the world, of a recording or of `gait`.
        rngs: two generators, one for the scene, one for paint and sensor noise: `np.random.default_rng(0).spawn(2)`.
        size: side of the square images, px.
        modalities: which of `hand_mask`, `depth` and `flow` are rendered as well; the suit's gloves count as no hand.
    """
    rng, paint = rngs
    turn = rng.uniform(-MOST_YAW, MOST_YAW) - motion.yaw[len(motion.joints) // 2]
    joints = _turned_about_pelvis(motion.joints, turn)
    scene = _scene(rng, joints)
    suit = whole_body.suit_texture(paint)
    head_and_hair, closed_eyes = head_textures(person, paint)
    actors = Actors(
        mesh=whole_body.suit_and_head(person.female, person.hair_style, detail_of(size)),
        num_passer_by=0,
        num_moving=0,
        moving=np.zeros(0, np.int64),
        transforms=whole_body.transforms(joints, person),
        joints=joints,
        wardrobe=np.concatenate([[suit, suit], head_and_hair]),  # the suit has gloves
        boxes=_BOXES,
        closed_eyes=closed_eyes,
        blinking=np.zeros(len(joints), bool),
        light_map=LIGHT_MAP,
    )
    return draw(actors, scene, backdrop(scene, size, paint), paint, modalities)


def _turned_about_pelvis(joints: np.ndarray, turn: float) -> np.ndarray:
    """Move the pelvis to the origin in every frame and turn the body about y."""
    cosine, sine = np.cos(turn), np.sin(turn)
    about_y = np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])
    return ((joints - joints[:, :1]).astype(float) @ about_y.T).astype(np.float32)


def _scene(rng: np.random.Generator, joints: np.ndarray) -> Scene:
    """Draw a scene for a whole body: light, wall and sensor as for gestures, the camera further away."""
    scene, distance = random_scene(rng, DIFFICULTY), rng.uniform(*DISTANCE_MM)
    pitch = rng.uniform(-0.05, 0.2)  # mostly seen from a little above
    cosine, sine = np.cos(pitch), np.sin(pitch)
    axes = np.array([[1, 0, 0], [0, -cosine, sine], [0, -sine, -cosine]], np.float32)
    camera = Camera(position=(-distance * axes[2]).astype(np.float32), axes=axes, focal=1.0)
    # Half the side of the square that just holds every joint.
    seen = camera.to_camera(joints)
    reach = float(np.abs(seen[..., :2] / seen[..., 2:]).max()) * distance
    view = max(VIEW_MM, 2 * MARGIN * reach)
    camera = replace(camera, focal=float(distance / view))
    return replace(scene, camera=camera, passer_by=None, wall_distance=distance + rng.uniform(1500, 2400))
