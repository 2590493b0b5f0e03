"""render_sequence: gestures made one after another, each from rest to rest, as one clip."""

from collections.abc import Collection, Sequence
from copy import deepcopy
from dataclasses import fields, replace

import numpy as np

from rendered_people.body import Performance
from rendered_people.drawing import Images
from rendered_people.gestures import perform
from rendered_people.person import Person
from rendered_people.render import render, shutter_times
from rendered_people.scene import random_scene

GESTURE_S = (2.2, 2.8)  # of one gesture, shortest and longest: too short for a second stroke
PAUSE_S = 0.3  # of rest, at least, before and after each gesture
_AROUND_S = 1.2  # longer than a rise or a fall, of which a single gesture's clip may cut off much
_STIRRED_MM = 30.0  # from its resting place; drift and tremor are below 10


def render_sequence(
    person: Person,
    labels: Sequence[int],
    motions: Sequence[np.random.Generator],
    rngs: Sequence[np.random.Generator],
    *,
    size: int,
    num_frames: int,
    difficulty: float,
    modalities: Collection[str],
) -> tuple[Images, float]:
    """Render a person making gestures one after another; return the images and their frames per second.

    Each gesture takes its equal part of the frames and is played in its own time, in the middle of its part. The hand
    rests on the lap, below the picture, before, between and after, for `PAUSE_S` or more: what is seen where one part
    ends tells little of the gesture. Nobody walks past, whose way would show where a part belongs.

    Args:
        person: who performs, for example of `random_person`.
        labels: the gestures' places in `JESTER_LABELS`.
        motions: a generator for each gesture's movement.
        rngs: two generators, for the scene, and for clothes with sensor noise.
        size: side of the square images, px.
        num_frames: of the clip; a multiple of the number of gestures.
        difficulty: 0 a clean studio to 1 a dim, crowded room and a poor camera.
        modalities: which of `hand_mask`, `depth` and `flow` are rendered.
    """
    place, paint = rngs
    scene = replace(random_scene(place, difficulty), passer_by=None)
    num_each = num_frames // len(labels)
    durations = [motion.uniform(*GESTURE_S) for motion in motions]
    takes = list(zip(labels, durations, motions, strict=True))
    spans = [_seen_span(*take) for take in takes]
    part_s = max(end - start for start, end in spans) + 2 * PAUSE_S
    offsets = (np.arange(num_each) + 0.5) * part_s / num_each - part_s / 2
    parts, times = [], []
    for (label, duration_s, motion), span in zip(takes, spans, strict=True):
        times.append(shutter_times(np.mean(span) + offsets, scene.shutter_s, place))
        parts.append(perform(label, times[-1], duration_s, motion))
    order = [slice(num_each), slice(num_each, None)]  # every frame's own time, then all exposures
    joined = {
        field.name: np.concatenate([getattr(part, field.name)[which] for which in order for part in parts])
        for field in fields(Performance)
    }
    images = render(person, scene, Performance(**joined), np.concatenate(times), size, paint, modalities)
    return images, num_each / part_s


def _seen_span(label: int, duration_s: float, motion: np.random.Generator) -> tuple[float, float]:
    """Return when the hand leaves its resting place and when it is back, s; `motion` stays as it was."""
    times = np.arange(-_AROUND_S, duration_s + _AROUND_S, 0.02)
    wrist = perform(label, times, duration_s, deepcopy(motion)).wrist
    away = [np.linalg.norm(wrist - wrist[rest], axis=1) > _STIRRED_MM for rest in (0, -1)]
    return float(times[away[0].argmax()]), float(times[-1 - away[1][::-1].argmax()])
