"""The shapes of the body's parts: smooth unions of rounded bones, as signed distances in mm.

Hand and wrist stand in the hand's own frame, head and hair in the head's, trunk and arms in the modelling pose of the
reference adult (`body.rest_frames(Build())`).
"""

from collections.abc import Callable

import numpy as np

from rendered_people import body

Field = Callable[[np.ndarray], np.ndarray]  # (points, 3) mm -> (points,) signed distance, negative inside
HAIR_STYLES = ("none", "short", "side", "bob", "long", "bun", "curly")


def cone(a, b, radius_a: float, radius_b: float) -> Field:
    """Return a rounded bone: distance to the segment a-b, less a radius that tapers along it."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    ab = b - a

    def distance(points: np.ndarray) -> np.ndarray:
        along = np.clip((points - a) @ ab / max(ab @ ab, 1e-9), 0, 1)
        return np.linalg.norm(points - a - along[:, None] * ab, axis=1) - (radius_a + along * (radius_b - radius_a))

    return distance


def ellipsoid(centre, radii) -> Field:
    """Return an ellipsoid, to first order in the distance."""
    centre, radii = np.asarray(centre, float), np.asarray(radii, float)

    def distance(points: np.ndarray) -> np.ndarray:
        scaled = (points - centre) / radii
        norm = np.linalg.norm(scaled, axis=1)
        return norm * (norm - 1) / np.maximum(np.linalg.norm(scaled / radii, axis=1), 1e-9)

    return distance


def blend(parts: list[Field], radius: float) -> Field:
    """Return the union of parts, their seams filled over `radius` mm."""

    def distance(points: np.ndarray) -> np.ndarray:
        total = parts[0](points)
        for part in parts[1:]:
            total = _smooth_min(total, part(points), radius)
        return total

    return distance


def carve(solid: Field, tool: Field, radius: float) -> Field:
    """Return the solid without the tool, its edge rounded over `radius` mm."""
    return lambda points: -_smooth_min(-solid(points), tool(points), radius)


def _smooth_min(a: np.ndarray, b: np.ndarray, radius: float) -> np.ndarray:
    overlap = np.maximum(radius - np.abs(a - b), 0) / radius
    return np.minimum(a, b) - overlap**2 * radius / 4


def _both_sides(make: Callable[[float], Field]) -> list[Field]:
    return [make(-1.0), make(1.0)]


def _flattened(solid: Field, by: float) -> Field:
    """Press the solid flat from palm to back."""
    return lambda points: solid(points * [1.0, 1.0, by])


def _curled(solid: Field) -> Field:
    """Add bumps of the size of curls to the solid."""
    return lambda points: solid(points) + 5.0 * np.sin(points / 9.0).prod(1)


def hand() -> Field:
    """Return a right hand with a length of wrist, in the hand's own frame."""
    joints = body.REFERENCE_HAND
    radii = {
        "thumb": (12.0, 11.0, 10.0, 8.0),
        "index": (10.5, 9.2, 8.2, 6.8),
        "middle": (10.8, 9.4, 8.4, 7.0),
        "ring": (10.0, 8.8, 7.8, 6.6),
        "little": (9.0, 7.6, 6.8, 5.8),
    }
    fingers, palm = [], []
    for number, finger in enumerate(body.FINGERS):
        chain, r = joints[1 + 4 * number : 5 + 4 * number], radii[finger]
        tip = chain[3] - (chain[3] - chain[2]) * 0.22  # the last joint of the skeleton is the fingertip's skin
        ends = [*chain[:3], tip]
        fingers.append(blend([cone(ends[k], ends[k + 1], r[k], r[k + 1]) for k in range(3)], 4.0))
        if finger != "thumb":
            palm.append(cone([chain[0, 0] * 0.45, 6, 0], chain[0] + [0, -4, -1], 13.5, 11.5))
    palm.append(cone([14, 14, 7], joints[2], 17.0, 12.0))  # ball of the thumb
    palm.append(ellipsoid([-24, 32, 6], [13, 32, 13]))  # heel of the hand
    flat_wrist = ellipsoid([0, -8, 0], [29, 30, 19])
    wrist = _flattened(cone([0, -95, 0], [0, 0, 0], 30.0, 25.5), 1.3)
    return blend([blend([*palm, flat_wrist, wrist], 13.0), *fingers], 5.0)


def torso(female: bool) -> Field:
    """Return trunk, neck and both arms."""
    shoulder = body.SHOULDER
    chest = [
        ellipsoid([0, -180, -14], [138 if female else 156, 185, 92 if female else 104]),
        ellipsoid([0, -440, -6], [132 if female else 142, 210, 96]),
        cone(shoulder * [0.82, 1, 1] + [0, -14, 0], shoulder * [-0.82, 1, 1] + [0, -14, 0], 50, 50),
        *_both_sides(lambda s: cone([s * 20, 18, -26], [s * 140, -26, -16], 34, 40)),
        *_both_sides(lambda s: ellipsoid([s * 62, -150, 62], [58, 52, 42] if female else [72, 58, 28])),
    ]
    upper, fore = body.UPPER_ARM_MM, body.FOREARM_MM
    arms = []
    for side in (1.0, -1.0):
        mirror = np.array([side, 1, 1])
        elbow = shoulder + upper * body.REST_ARM
        wrist = elbow + fore * body.REST_ARM
        arms.append(cone(shoulder * mirror, elbow * mirror, 50 if female else 56, 39))
        # Ends inside the wrist that belongs to the hand's mesh, or it would come through the bent palm.
        arms.append(cone(elbow * mirror, (wrist - 50 * body.REST_ARM) * mirror, 40, 23))
    neck = cone([0, -30, -14], body.NECK_TOP + [0, 30, -6], 52 if female else 60, 46 if female else 54)
    return blend([blend(chest, 60.0), blend(arms, 12.0), neck], 26.0)


def standing(female: bool) -> Field:
    """Return trunk and arms of someone seen from afar: a coat to below the knees, closed hands."""
    wrist = body.SHOULDER + (body.UPPER_ARM_MM + body.FOREARM_MM) * body.REST_ARM
    knuckles = wrist + 75 * body.REST_ARM
    hands = [cone((wrist - 40 * body.REST_ARM) * [s, 1, 1], knuckles * [s, 1, 1], 26, 34) for s in (1, -1)]
    return blend([torso(female), cone([0, -480, -6], [0, -1250, -6], 140, 120), *hands], 26.0)


def head(female: bool) -> Field:
    """Return a head whose origin is the top of the neck; eyeballs stand in carved sockets."""
    jaw = 44.0 if female else 51.0
    skull = blend(
        [
            ellipsoid([0, 120, -4], [74, 84, 96]),
            ellipsoid([0, 70, 28], [60, 78, 66]),
            ellipsoid([0, 22, 36], [jaw, 36, 50]),
            ellipsoid([0, 3, 70], [16 if female else 20, 14, 15]),
            *_both_sides(lambda s: ellipsoid([s * 33, 60, 66], [24, 22, 22])),
            cone([-28, 106, 80], [28, 106, 80], 9, 9),
            cone([0, -60, -14], [0, 40, -10], 46, 44),
        ],
        24.0,
    )
    sockets = blend(_both_sides(lambda s: ellipsoid([s * 31, 88, 100], [17, 11, 14])), 1.0)
    features = [
        blend(
            [
                cone([0, 98, 88], [0, 64, 112], 6.5, 9),
                *_both_sides(lambda s: ellipsoid([s * 10, 60, 98], [7, 6, 9])),
            ],
            7.0,
        ),
        cone([-15, 36, 88], [15, 36, 88], 5.5, 5.5),
        cone([-13, 28, 87], [13, 28, 87], 6, 6),
        *_both_sides(lambda s: ellipsoid([s * 76, 84, -6], [8, 30, 18])),
    ]
    eyes = _both_sides(lambda s: ellipsoid([s * 31, 88, 80], [13.5, 13.5, 13.5]))
    return blend([blend([carve(skull, sockets, 9.0), *features], 8.0), *eyes], 1.0)


def hair(style: str) -> Field:
    """Return the hair of one of `HAIR_STYLES` but `none`, on the head of `head`."""
    cap = ellipsoid([0, 124, -10], [82, 92, 102])
    face = ellipsoid([0, 62, 96], [57, 92, 80])
    if style == "short":
        return carve(cap, blend([face, ellipsoid([0, 0, 96], [200, 104, 156])], 8.0), 8.0)
    if style == "side":
        tuft = ellipsoid([18, 196, 40], [62, 26, 58])
        return carve(blend([cap, tuft], 20.0), blend([face, ellipsoid([0, 0, 96], [200, 104, 156])], 8.0), 8.0)
    if style == "bun":
        return blend([hair("short"), ellipsoid([0, 214, -46], [38, 34, 38])], 8.0)
    if style == "curly":
        big = ellipsoid([0, 124, -22], [112, 112, 112])
        return carve(
            _curled(big),
            blend([ellipsoid([0, 56, 104], [62, 98, 90]), ellipsoid([0, -44, 30], [90, 70, 200])], 8.0),
            8.0,
        )
    length = 30.0 if style == "bob" else -90.0
    curtain = [cone([s * 62, 110, -20], [s * 70, length, -18], 30, 22) for s in (-1, 1)]
    back = ellipsoid([0, 60 + length / 2, -44], [78, 100 - length / 2, 56])
    return carve(blend([cap, back, *curtain], 24.0), face, 8.0)
