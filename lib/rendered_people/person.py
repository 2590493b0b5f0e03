"""Person: the proportions, skin and hair of one performer."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from rendered_people.body import Build
from rendered_people.shapes import HAIR_STYLES

# Anchors of human skin from light to dark, and of hair, sRGB 0-255.
SKIN_TONES = np.array(
    [
        [245, 214, 194],
        [232, 188, 156],
        [214, 164, 126],
        [180, 126, 88],
        [134, 88, 60],
        [92, 58, 42],
        [62, 40, 31],
    ]
)
HAIR_COLOURS = np.array(
    [[22, 18, 17], [48, 32, 24], [86, 56, 36], [128, 84, 48], [176, 136, 84], [140, 62, 34], [150, 146, 142]]
)


@dataclass(frozen=True, kw_only=True)
class Person:
    """One person: all that stays the same in every clip; clothes change."""

    build: Build
    female: bool
    skin: Float32[np.ndarray, "3"]  # sRGB 0-1
    hair: Float32[np.ndarray, "3"]  # sRGB 0-1
    hair_style: str
    beard: float  # 0 none - 1 full
    thick_brows: bool
    iris: Float32[np.ndarray, "3"]  # sRGB 0-1
    lips: float  # redness 0-1


def random_person(rng: np.random.Generator) -> Person:
    """Draw one person from the population."""
    female = bool(rng.random() < 0.5)

    def ratio(spread: float, mean: float = 1.0) -> float:
        return float(mean * np.exp(spread * np.clip(rng.normal(), -2, 2)))

    size = 0.94 if female else 1.02
    build = Build(
        stature=ratio(0.03, size),
        shoulder_width=ratio(0.04, 0.95 if female else 1.03),
        girth=ratio(0.09),
        arm_length=ratio(0.025),
        arm_thickness=ratio(0.1, 0.9 if female else 1.04),
        hand_size=ratio(0.035, 0.93 if female else 1.02),
        finger_length=ratio(0.03),
        finger_thickness=ratio(0.06, 0.93 if female else 1.03),
        head_size=ratio(0.025, 0.97 if female else 1.0),
        head_width=ratio(0.04),
        neck_length=ratio(0.08),
    )
    tone = rng.uniform(0, len(SKIN_TONES) - 1)
    skin = np.array([np.interp(tone, range(len(SKIN_TONES)), SKIN_TONES[:, k]) for k in range(3)])
    skin = skin * rng.uniform(0.95, 1.05) * (1 + rng.normal(0, 0.012, 3))
    colour_odds = np.array([0.3, 0.22, 0.16, 0.1, 0.1, 0.06, 0.06]) * np.exp(
        -tone * np.array([0, 0.3, 0.7, 0.9, 1.2, 1.2, 0.2])
    )
    styles = {
        True: (0.02, 0.1, 0.08, 0.28, 0.28, 0.14, 0.1),
        False: (0.2, 0.42, 0.26, 0.03, 0.02, 0.01, 0.06),
    }
    iris = HAIR_COLOURS[rng.integers(1, 4)] if rng.random() < 0.75 else np.array([92, 124, 140])
    return Person(
        build=build,
        female=female,
        skin=np.clip(skin / 255, 0, 1).astype(np.float32),
        hair=np.clip(
            HAIR_COLOURS[rng.choice(7, p=colour_odds / colour_odds.sum())] / 255 * rng.uniform(0.85, 1.15),
            0,
            1,
        ).astype(np.float32),
        hair_style=HAIR_STYLES[rng.choice(7, p=np.array(styles[female]) / sum(styles[female]))],
        beard=float(0 if female or rng.random() < 0.55 else rng.uniform(0.25, 0.95)),
        thick_brows=bool(rng.random() < (0.2 if female else 0.7)),
        iris=(iris / 255).astype(np.float32),
        lips=float(rng.uniform(0.25, 0.9) if female else rng.uniform(0.05, 0.3)),
    )
