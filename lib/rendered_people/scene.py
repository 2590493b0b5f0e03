"""Scene: camera, light, sensor, the wall behind and a passer-by."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float32, Int

from rendered_people import raster
from rendered_people.person import Person, random_person
from rendered_people.textures import linear


@dataclass(frozen=True, kw_only=True)
class Camera:
    """A pinhole camera; rows of `axes` are the image's right, down and away directions in scene axes."""

    position: Float32[np.ndarray, "3"]  # mm
    axes: Float32[np.ndarray, "3 3"]
    focal: float  # focal length over image height
    shift: tuple[float, float] = (0.0, 0.0)  # of the lens: moves the picture right and down, over image height

    def to_camera(self, points: np.ndarray) -> np.ndarray:
        """Return points (..., 3) in camera axes: x right, y down, z away, mm."""
        return (points - self.position) @ self.axes.T

    def project(
        self,
        points: Float32[np.ndarray, "time points 3"],
        size: int,
        chosen: Int[np.ndarray, " chosen"] | None = None,
        screen: Float32[np.ndarray, "time points 3"] | None = None,
    ) -> Float32[np.ndarray, "time points 3"]:
        """Project points, or only the chosen, to x px, y px and depth mm in a square image of `size` px."""
        chosen = np.arange(points.shape[1]) if chosen is None else chosen
        screen = np.empty_like(points) if screen is None else screen
        focal_px, centre_px = np.float32(self.focal * size), np.float32(size / 2)
        # Oblique axes: what is away by z mm appears shifted by the same part of the image at every z.
        axes = self.axes + np.outer([*self.shift, 0.0], self.axes[2] / self.focal).astype(np.float32)
        raster.project(points, chosen, self.position, axes, focal_px, centre_px, screen)
        return screen


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Everything about a clip that is neither the performer nor the gesture."""

    camera: Camera
    light: Float32[np.ndarray, "3"]  # unit vector towards the key light
    light_colour: Float32[np.ndarray, "3"]  # linear
    sky: Float32[np.ndarray, "3"]  # ambient light from above, linear
    ground: Float32[np.ndarray, "3"]  # ambient light from below, linear
    wall_distance: float  # mm from the camera
    brightness: float  # mean linear level the camera's automatic exposure aims at
    shutter_s: float  # 0 freezes motion
    read_noise: float  # grey levels
    shot_noise: float  # grey levels at full brightness
    flicker: float  # relative amplitude of the light over time
    clutter: float  # 0 bare wall - 1 crowded
    passer_by: Person | None
    path: Float32[np.ndarray, "2 3"]  # where the passer-by starts, mm, and walks, mm/s


def random_scene(rng: np.random.Generator, difficulty: float) -> Scene:
    """Draw a scene; `difficulty` 0 is a clean studio, 1 a dim, crowded room and a poor camera."""
    hard = float(difficulty)
    distance = rng.uniform(860, 1120)
    target = np.array([rng.normal(-20, 10 + 30 * hard), rng.uniform(20, 60) + rng.normal(0, 20 * hard), 60.0])
    yaw, pitch = rng.normal(0, 0.03 + 0.13 * hard), rng.normal(0.02, 0.02 + 0.07 * hard)
    roll = rng.normal(0, 0.035 * hard)
    away = -np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
    right = np.cross(away, [np.sin(roll), np.cos(roll), 0.0])
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(away, right), away])
    camera = Camera(
        position=(target - distance * away).astype(np.float32),
        axes=axes.astype(np.float32),
        focal=float(distance / rng.uniform(520, 560 + 120 * hard)),
    )
    side, height = rng.uniform(-0.7, 0.7) * (0.5 + hard), rng.uniform(0.35, 1.0)
    light = np.array([side, height, rng.uniform(0.55, 1.0)])
    warmth = rng.normal(0, 0.06 + 0.1 * hard)
    tint = np.array([1 + warmth, 1.0, 1 - warmth])
    key = rng.uniform(0.75, 1.15)
    ambient = rng.uniform(0.3, 0.5) * (1.15 - 0.4 * hard * rng.random())
    walks = rng.random() < 0.45 * hard
    heading = rng.choice([-1.0, 1.0])
    return Scene(
        camera=camera,
        light=(light / np.linalg.norm(light)).astype(np.float32),
        light_colour=(key * tint).astype(np.float32),
        sky=(ambient * np.array([1 - warmth / 2, 1.0, 1 + warmth / 2])).astype(np.float32),
        ground=(ambient * rng.uniform(0.45, 0.7) * tint).astype(np.float32),
        wall_distance=float(distance + rng.uniform(1500, 2400)),
        brightness=float(rng.uniform(0.22, 0.3) * (1 - 0.55 * hard * rng.random())),
        shutter_s=float(rng.uniform(1 / 120, 1 / 60 + hard / 40)),
        read_noise=float(0.3 + hard * rng.uniform(0.5, 5.0)),
        shot_noise=float(0.5 + hard * rng.uniform(0.5, 6.0)),
        flicker=float(0.05 * hard * rng.random() ** 2),
        clutter=float(hard * rng.uniform(0.4, 1.0)),
        passer_by=random_person(rng) if walks else None,
        path=np.array(
            [
                [-heading * rng.uniform(300, 1100), rng.uniform(-60, 60), -rng.uniform(700, 1300)],
                [heading * rng.uniform(250, 750), 0, 0],
            ],
            np.float32,
        ),
    )


def backdrop(scene: Scene, size: int, rng: np.random.Generator) -> Float32[np.ndarray, "size size 3"]:
    """Paint the wall as the camera sees it, out of focus, in linear light."""
    # Painted on a fixed canvas, so that a clip shows the same room at every size.
    canvas = 160
    y, x = np.mgrid[0:canvas, 0:canvas].astype(np.float32) / canvas
    wall = _paint_colour(rng, 0.25, 0.8)
    slope = rng.normal(0, 0.25, 2)
    image = wall * (1 + slope[0] * (x - 0.5) + slope[1] * (y - 0.5))[..., None]
    grain = cv2.resize(rng.standard_normal((9, 9)).astype(np.float32), (canvas, canvas), interpolation=cv2.INTER_CUBIC)
    image = np.ascontiguousarray(image * (1 + 0.08 * scene.clutter * grain[..., None]), np.float32)
    for _ in range(round(9 * scene.clutter)):
        _FURNITURE[rng.integers(len(_FURNITURE))](image, rng)
    focus = rng.uniform(1.0, 3.5)
    image = cv2.GaussianBlur(image, (0, 0), focus)
    image = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if size < canvas else cv2.INTER_CUBIC)
    level = scene.light_colour * 0.55 + 0.5 * (scene.sky + scene.ground)
    return np.maximum(linear(np.clip(image, 0.02, 1.2)) * level, 0).astype(np.float32)


def _paint_colour(rng: np.random.Generator, low: float, high: float) -> np.ndarray:
    hue, saturation = rng.random(), 0.6 * rng.beta(1.2, 2.5)
    colour = np.clip(np.abs((hue * 6 + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1)
    return rng.uniform(low, high) * (1 - saturation * (1 - colour))


def _place(rng: np.random.Generator, image: np.ndarray, low: float, high: float) -> tuple[int, int, int, int]:
    size = image.shape[0]
    width, height = (rng.uniform(low, high, 2) * size).astype(int)
    left, top = rng.integers(-width // 3, size - width // 2), rng.integers(-height // 3, size - height // 2)
    return int(left), int(top), int(left + width), int(top + height)


def _box(image: np.ndarray, corners: tuple[int, int, int, int], colour: np.ndarray) -> None:
    left, top, right, bottom = corners
    cv2.rectangle(image, (left, top), (right, bottom), colour.tolist(), -1)


def _picture(image: np.ndarray, rng: np.random.Generator) -> None:
    left, top, right, bottom = _place(rng, image, 0.12, 0.32)
    _box(image, (left, top, right, bottom), _paint_colour(rng, 0.05, 0.4))
    _box(image, (left + 3, top + 3, right - 3, bottom - 3), _paint_colour(rng, 0.3, 0.95))
    centre = (int(rng.integers(left, right)), int(rng.integers(top, bottom)))
    cv2.circle(image, centre, int((right - left) // 4), _paint_colour(rng, 0.2, 0.9).tolist(), -1)


def _window(image: np.ndarray, rng: np.random.Generator) -> None:
    left, top, right, bottom = _place(rng, image, 0.25, 0.5)
    _box(image, (left, top, right, bottom), np.array([1.05, 1.08, 1.12]) * rng.uniform(0.8, 1.05))
    bar = _paint_colour(rng, 0.5, 0.9)
    _box(image, ((left + right) // 2 - 2, top, (left + right) // 2 + 2, bottom), bar)
    _box(image, (left, (top + bottom) // 2 - 2, right, (top + bottom) // 2 + 2), bar)


def _shelf(image: np.ndarray, rng: np.random.Generator) -> None:
    left, top, right, bottom = _place(rng, image, 0.25, 0.5)
    _box(image, (left, top, right, bottom), _paint_colour(rng, 0.1, 0.4))
    for row in range(top + 2, bottom - 8, 22):
        at = left + 2
        while at < right - 3:
            thick = int(rng.integers(3, 8))
            _box(
                image,
                (at, row + int(rng.integers(0, 7)), at + thick - 1, row + 18),
                _paint_colour(rng, 0.15, 0.9),
            )
            at += thick


def _curtain(image: np.ndarray, rng: np.random.Generator) -> None:
    left, _, right, _ = _place(rng, image, 0.15, 0.35)
    colour = _paint_colour(rng, 0.25, 0.85)
    for at in range(left, right):
        fold = 0.8 + 0.2 * np.sin(at * 0.7 + np.sin(at * 0.23) * 2)
        _box(image, (at, -1, at, image.shape[0]), colour * fold)


def _plant(image: np.ndarray, rng: np.random.Generator) -> None:
    size = image.shape[0]
    root = (rng.integers(0, size), rng.integers(size // 3, size))
    for _ in range(14):
        angle, length = rng.uniform(-2.9, -0.2), rng.uniform(0.08, 0.26) * size
        tip = (int(root[0] + length * np.cos(angle)), int(root[1] + length * np.sin(angle)))
        colour = np.array([0.25, 0.5, 0.22]) * rng.uniform(0.5, 1.2)
        cv2.line(image, (int(root[0]), int(root[1])), tip, colour.tolist(), int(rng.integers(3, 7)))


def _lamp(image: np.ndarray, rng: np.random.Generator) -> None:
    left, top, right, bottom = _place(rng, image, 0.08, 0.2)
    _box(image, (left, top, right, bottom), np.array([1.15, 1.0, 0.75]))


_FURNITURE = (_picture, _picture, _window, _shelf, _curtain, _plant, _lamp)
