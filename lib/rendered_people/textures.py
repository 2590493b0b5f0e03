"""Textures of a person's surfaces: skin with its features, hair, and the clothes of one clip."""

from functools import lru_cache

import cv2
import numpy as np
from jaxtyping import Float32

from rendered_people import body, mesh
from rendered_people.person import Person

TEXELS = 96
# The region of the modelling pose each part's texture covers: left, bottom, width, height in mm.
TEXTURE_BOXES = np.array(
    [[-90, -92, 220, 308], [-560, -560, 1120, 735], [-95, -80, 190, 310], [-150, -180, 300, 450]], np.float32
)
PATTERNS = ("plain", "plain", "stripes", "pinstripes", "diagonal", "checks", "dots", "print", "raglan")
SLEEVES_MM = {"none": 45.0, "short": 165.0, "elbow": 270.0, "long": 600.0}  # from the shoulder along the arm


def linear(srgb: np.ndarray) -> np.ndarray:
    """Return light in proportion to energy from display levels 0-1 (gamma 2: near sRGB, and exact on every machine)."""
    return srgb * srgb


def textures(
    person: Person, rng: np.random.Generator
) -> tuple[Float32[np.ndarray, "parts=4 sides=2 texels texels 3"], Float32[np.ndarray, "texels texels 3"]]:
    """Paint the linear albedo of hand, body, head and hair, front and back, and the face again with its eyes closed.

    `rng` chooses the clothes.
    """
    clothed = _in_light([_hand(person, rng), _clothes(person, rng)])
    head_and_hair, closed_eyes = head_textures(person, rng)
    return np.concatenate([clothed, head_and_hair]), closed_eyes


def head_textures(
    person: Person, rng: np.random.Generator
) -> tuple[Float32[np.ndarray, "parts=2 sides=2 texels texels 3"], Float32[np.ndarray, "texels texels 3"]]:
    """Paint the linear albedo of head and hair alone, and the face with its eyes closed; `rng` draws the strands."""
    back, face, closed = _head(person)
    return _in_light([(face, back), _hair(person, rng)]), _in_light(closed)


def _in_light(paint) -> np.ndarray:
    return linear(np.clip(np.array(paint, np.float32), 0, 1))


def _blank(colour: np.ndarray) -> np.ndarray:
    canvas = np.empty((TEXELS, TEXELS, 3), np.float32)
    canvas[:] = colour
    return canvas


def _texel_mm(part: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the mm coordinates of a part's texels, (1, texels) and (texels, 1)."""
    left, bottom, width, height = TEXTURE_BOXES[part]
    middle = (np.arange(TEXELS, dtype=np.float32) + np.float32(0.5)) / np.float32(TEXELS)
    return left + width * middle[None, :], bottom + height * (1 - middle[:, None])


def _cover(distance: np.ndarray, soft_mm: float, opacity: float = 1.0) -> np.ndarray:
    """Return the opacity of paint that covers negative `distance` (mm), with a soft edge; (texels, texels, 1)."""
    full = np.broadcast_to(distance, (TEXELS, TEXELS))
    return (np.clip(0.5 - full / soft_mm, 0, 1) * opacity).astype(np.float32)[..., None]


def _paint(canvas: np.ndarray, cover: np.ndarray, colour: np.ndarray) -> None:
    canvas += (np.asarray(colour, np.float32) - canvas) * cover


def _oval(
    x: np.ndarray, y: np.ndarray, centre_x: float, centre_y: float, radius_x: float, radius_y: float
) -> np.ndarray:
    return (np.sqrt(((x - centre_x) / radius_x) ** 2 + ((y - centre_y) / radius_y) ** 2) - 1) * min(radius_x, radius_y)


def _stroke(x: np.ndarray, y: np.ndarray, points, radius: float) -> np.ndarray:
    """Return the distance to a polyline less its radius."""
    nearest = np.full(np.broadcast(x, y).shape, np.inf, np.float32)
    for (ax, ay), (bx, by) in zip(points[:-1], points[1:], strict=True):
        dx, dy = bx - ax, by - ay
        along = np.clip(((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy), 0, 1)
        nearest = np.minimum(nearest, np.sqrt((x - ax - along * dx) ** 2 + (y - ay - along * dy) ** 2))
    return nearest - radius


def _grain(rng: np.random.Generator, blur: float) -> np.ndarray:
    """Return smooth noise of unit variance, (texels, texels, 1)."""
    noise = cv2.GaussianBlur(rng.standard_normal((TEXELS, TEXELS), np.float32), (0, 0), blur)
    return (noise / noise.std())[..., None]


@lru_cache(maxsize=1)
def _hand_covers() -> dict[str, np.ndarray]:
    """Return the covers of the lines of the palm, the knuckles and the nails, the same on every hand."""
    x, y = _texel_mm(mesh.HAND)
    lines = (
        [(-34, 60), (-8, 66), (14, 72), (26, 66)],
        [(-32, 50), (0, 52), (24, 70)],
        [(6, 18), (10, 44), (26, 62)],
    )
    creases = [_cover(_stroke(x, y, points, 0.6), 3.0, 0.6) for points in lines]
    knuckles, nails = [], []
    for finger in range(5):
        chain = body.REFERENCE_HAND[1 + 4 * finger : 5 + 4 * finger, :2]
        creases += [_cover(_oval(x, y, *joint, 7, 1.4), 2.5, 0.45) for joint in chain[1:3]]
        knuckles += [_cover(_oval(x, y, *joint, 6, 4), 4.0, 0.5) for joint in chain[1:3]]
        knuckles.append(_cover(_oval(x, y, *chain[0], 7, 7), 6.0, 0.4))
        direction = (chain[3] - chain[2]) / np.linalg.norm(chain[3] - chain[2])
        nails.append(_cover(_oval(x, y, *(chain[3] - 9 * direction), 4.6, 6.4), 2.0, 0.9))
    return {"creases": np.max(creases, 0), "knuckles": np.max(knuckles, 0), "nails": np.max(nails, 0)}


def _hand(person: Person, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Paint the palm, paler and creased, and the back, with knuckles and nails."""
    covers = _hand_covers()
    palm_colour = person.skin + (np.array([0.93, 0.74, 0.66]) - person.skin) * 0.32
    palm, back = _blank(palm_colour), _blank(person.skin)
    _paint(palm, covers["creases"], palm_colour * [0.78, 0.66, 0.62])
    _paint(back, covers["knuckles"], person.skin * [0.84, 0.78, 0.77])
    _paint(back, covers["nails"], person.skin * 0.5 + np.array([0.47, 0.36, 0.35]))
    mottle = 1 + 0.02 * _grain(rng, 2.0)
    return palm * mottle, back * mottle


@lru_cache(maxsize=1)
def _face_covers() -> dict[str, np.ndarray]:
    """Return the covers of the features of the face, in the modelling pose."""
    x, y = _texel_mm(mesh.HEAD)
    both = np.abs(x)
    eye = _oval(both, y, 31, 88, 13, 5.6)
    jaw = np.maximum(_oval(x, y, 0, 20, 58, 56), -_oval(x, y, 0, 62, 46, 30))
    moustache = _stroke(both, y, [(0, 47), (17, 43), (23, 32)], 2.5)
    brow = [(13, 108), (30, 113), (46, 107)]
    return {
        "hairline": _cover(168 - 0.004 * both**2 - y, 6.0),
        "nape": _cover(95 - y + 0 * x, 6.0),
        "cheeks": _cover(_oval(both, y, 38, 56, 20, 16), 14.0, 0.4),
        "sockets": _cover(_oval(both, y, 31, 89, 20, 12), 8.0, 0.35),
        "beard": np.maximum(_cover(np.maximum(jaw, y - 62), 8.0, 0.9), _cover(moustache, 5.0, 0.85)),
        "brows": _cover(_stroke(both, y, brow, 2.0), 2.5, 0.9),
        "thick brows": _cover(_stroke(both, y, brow, 2.9), 2.5, 0.9),
        "nostrils": _cover(_oval(both, y, 7, 56, 3.5, 2.2), 2.5, 0.9),
        "lips": _cover(_oval(x, y, 0, 32, 23, 7.5), 2.5, 0.95),
        "mouth": _cover(_stroke(x, y, [(-23, 32), (-6, 33), (6, 33), (23, 32)], 0.9), 2.0, 0.9),
        "whites": _cover(eye, 2.0),
        "irises": _cover(np.maximum(_oval(both, y, 31, 88.5, 6.6, 6.6), eye), 2.0),
        "pupils": _cover(_oval(both, y, 31, 88.5, 3.2, 3.2), 2.0),
        "lashes": _cover(_stroke(both, y, [(18, 89), (24, 93.5), (36, 94), (44, 90)], 1.2), 2.0, 0.95),
        "lids": _cover(_stroke(both, y, [(19, 86), (31, 83), (43, 87)], 1.0), 2.0, 0.95),
    }


def _head(person: Person) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Paint the back of the head, the face with open and with closed eyes."""
    covers = _face_covers()
    skin, hair = person.skin, person.hair
    dark = skin * [0.62, 0.5, 0.48]
    face, back = _blank(skin), _blank(skin)
    _paint(face, covers["cheeks"], skin * [1.04, 0.84, 0.82])
    _paint(face, covers["sockets"], dark)
    # Dark-haired people without hair keep a shaved shadow.
    scalp = np.float32(1.0 if person.hair_style != "none" else 0.75 if hair[0] < 0.5 else 0.0)
    _paint(face, covers["hairline"] * scalp, hair * 0.8)
    _paint(back, covers["nape"] * scalp, hair * 0.8)
    _paint(face, covers["beard"] * np.float32(person.beard), hair * 0.8)
    _paint(face, covers["thick brows" if person.thick_brows else "brows"], hair * 0.6)
    _paint(face, covers["nostrils"], dark * 0.6)
    natural = skin * [0.88, 0.61, 0.6]
    _paint(face, covers["lips"], natural + (np.array([0.72, 0.2, 0.22]) - natural) * 0.6 * person.lips)
    _paint(face, covers["mouth"], dark * 0.5)
    closed = face.copy()
    _paint(closed, covers["lids"], dark * 0.35)
    _paint(face, covers["whites"], np.array([0.74, 0.72, 0.7]))
    _paint(face, covers["irises"], person.iris)
    _paint(face, covers["pupils"], np.array([0.03, 0.03, 0.03]))
    _paint(face, covers["lashes"], dark * 0.2)
    return back, face, closed


def _hair(person: Person, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Paint strands: streaks along the hair."""
    streaks = cv2.GaussianBlur(rng.standard_normal((TEXELS, TEXELS), np.float32), (0, 0), sigmaX=0.8, sigmaY=9)
    strands = person.hair * (1 + 0.28 * (streaks / streaks.std())[..., None])
    return strands, strands


@lru_cache(maxsize=1)
def _clothes_mm() -> tuple[np.ndarray, ...]:
    """Return the coordinates of every texel across the trunk, along it or round the sleeve, and along the arm."""
    x, y = (np.ascontiguousarray(axis) for axis in np.broadcast_arrays(*_texel_mm(mesh.BODY)))
    beyond = np.abs(x) > 172
    along_arm = np.where(beyond, (np.abs(x) - 172 + np.maximum(-38 - y, 0)) * 0.7071, 0)
    # The cloth of a sleeve is turned with the arm, so stripes run round it.
    down = np.where(np.abs(x) > 190, (np.abs(x) - y) * 0.7071, -y)
    return x, y, down, along_arm


def _bars(at: np.ndarray, period: float) -> np.ndarray:
    """Return the distance to stripes two fifths of a period wide."""
    return np.abs(at % period - period / 2) - 0.2 * period


def _pattern(rng: np.random.Generator) -> np.ndarray:
    """Return the opacity of the cloth's second colour."""
    x, y, down, _ = _clothes_mm()
    name, period = PATTERNS[rng.integers(len(PATTERNS))], rng.uniform(46, 90)
    if name == "stripes":
        return _cover(_bars(down, period), 12.0)
    if name == "pinstripes":
        return _cover(np.abs(x % 52 - 26) - 6, 10.0, 0.7)
    if name == "diagonal":
        return _cover(_bars(x + y, period), 16.0)
    if name == "checks":
        return _cover(_bars(x, period), 12.0, 0.5) + _cover(_bars(down, period), 12.0, 0.5)
    if name == "dots":
        spacing = period * 0.8
        return _cover(_oval(x % spacing, down % spacing, spacing / 2, spacing / 2, spacing / 5, spacing / 5), 8.0)
    if name == "print":
        return _cover(_oval(x, y, 0, -190, rng.uniform(50, 95), rng.uniform(30, 80)), 8.0)
    if name == "raglan":
        return _cover(118 + 0.3 * (y + 38) - np.abs(x), 12.0)
    return np.zeros((TEXELS, TEXELS, 1), np.float32)


def _clothes(person: Person, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Paint shirt and bare skin of trunk, arms and neck, front and back."""
    x, y, _, along_arm = _clothes_mm()
    cloth = _cloth_colour(rng)
    front = _blank(cloth)
    _paint(front, _pattern(rng), _cloth_colour(rng))
    front *= 1 + 0.05 * _grain(rng, 5.0) + 0.02 * _grain(rng, 1.0)
    back = front.copy()
    odds = (0.12, 0.38, 0.12, 0.38) if person.female else (0.03, 0.47, 0.1, 0.4)
    sleeve = SLEEVES_MM[list(SLEEVES_MM)[rng.choice(4, p=odds)]]
    collar, depth = rng.uniform(46, 66), rng.choice([0.0, 30.0, 65.0], p=(0.55, 0.25, 0.2))
    neckline = _oval(x, y, 0, 36, collar + 16, collar)
    if depth:
        neckline = np.minimum(neckline, np.maximum((np.abs(x) * 1.4 - y - depth - 60) / 1.72, y - 60))
    hem = _cover(np.abs(along_arm - sleeve) - 6, 12.0, 0.5 if sleeve < 500 else 0.0)
    for side, opening in ((front, neckline), (back, _oval(x, y, 0, 66, collar + 10, collar))):
        opening = np.minimum(opening, 64 - y)  # the neck itself is bare
        _paint(side, _cover(np.abs(opening - 6) - 5, 12.0, 0.7), cloth * 0.72)
        _paint(side, hem, cloth * 0.6)
        _paint(side, _cover(np.minimum(opening, sleeve - along_arm), 16.0), person.skin)
    return front, back


def _cloth_colour(rng: np.random.Generator) -> np.ndarray:
    """Draw the colour of clothes: mostly muted greys, navies and whites, sometimes bright."""
    hue, saturation = rng.random(), rng.beta(1.1, 2.8)
    value = rng.uniform(0.12, 0.95)
    colour = np.clip(np.abs((hue * 6 + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1)
    return (value * (1 - saturation * (1 - colour))).astype(np.float32)
