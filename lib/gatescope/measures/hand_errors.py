"""The error of measured hands against the exact ones of rendered people, a row for each frame."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Int16, UInt8

from gatescope.files import atomic_write, code_digest, sha256_of
from gatescope.formats.arrays import read_arrays
from gatescope.formats.facts import check_files, needed, read_card, write_card
from gatescope.loaders import Clip, SyntheticGestures, over_steps
from gatescope.loaders.hands.masks import hand_mask
from gatescope.loaders.hands.measured import MeasuredHands
from gatescope.loaders.hands.measuring import measure_hands
from gatescope.loaders.hands.networks import made_by
from gatescope.loaders.hands.regions import NUM_JOINTS
from gatescope.measures.gate_variance import explained_by
from gatescope.measures.localisation import area, energy, peaks
from gatescope.paths import EVIDENCE, HANDS

KEPT = EVIDENCE / "hands"
ROWS, CARD, RECORDED = "rows.npz", "card.json", "recorded.json"
SIZE = 224  # px
CLIPS_EACH = 54  # at each difficulty: two of each gesture
DIFFICULTIES = (0.1, 0.5, 0.9)
GRID = 16  # positions along a side of the networks' maps


@dataclass(frozen=True, eq=False)
class HandErrors:
    """Rows of frames: what was shown, and what was measured of it. NaN where there is nothing to compare."""

    clip: Int16[np.ndarray, " rows"]
    person: Int16[np.ndarray, " rows"]
    label: Int16[np.ndarray, " rows"]  # place in JESTER_LABELS
    difficulty: Float32[np.ndarray, " rows"]
    tone: Float32[np.ndarray, " rows"]  # of the performer's skin, see `typology_angle`
    side: Float32[np.ndarray, " rows"]  # root of the hand's visible pixels, px; 0 where it is not in view
    speed: Float32[np.ndarray, " rows"]  # median over the hand, px per frame; NaN in the last frame
    found: Bool[np.ndarray, " rows"]  # a measured mask touches the true one
    elsewhere: Bool[np.ndarray, " rows"]  # a hand is measured that does not
    filled: Bool[np.ndarray, " rows"]  # across a gap
    overlap: Float32[np.ndarray, " rows"]  # intersection over union of the masks
    joints: Float32[np.ndarray, " rows"]  # mean distance of the 21 joints, px, of the nearest hand
    energy: Float32[np.ndarray, " rows"]  # of the change from the frame before, on the true mask
    area: Float32[np.ndarray, " rows"]  # of the true mask
    pointing: Float32[np.ndarray, " rows"]  # share of the change's highest of GRID x GRID positions on the true mask
    explained: Float32[np.ndarray, " rows"]  # share of its variance over them that the true mask explains
    measured_energy: Float32[np.ndarray, " rows"]
    measured_area: Float32[np.ndarray, " rows"]
    measured_pointing: Float32[np.ndarray, " rows"]
    measured_explained: Float32[np.ndarray, " rows"]
    mask: UInt8[np.ndarray, "rows bytes"]  # the measured mask, packed; see `mask_of`

    def mask_of(self, row: int, size: int) -> Bool[np.ndarray, "size size"]:
        """Return the measured mask of a row; `size` is the clips' (px)."""
        return np.unpackbits(self.mask[row], count=size * size).reshape(size, size).astype(bool)


_DTYPES = {"mask": np.uint8, "clip": np.int16, "person": np.int16, "label": np.int16}
_DTYPES |= {"found": np.bool_, "elsewhere": np.bool_, "filled": np.bool_}
_COLUMNS = {field.name: _DTYPES.get(field.name, np.float32) for field in fields(HandErrors)}


def typology_angle(skin: Float[np.ndarray, "3"]) -> float:
    """Return the individual typology angle of a colour (sRGB 0-1), degrees: arctan((L* - 50) / b*), after Chardon 1991.

    Above 55 very light, 41 light, 28 intermediate, 10 tan, -30 brown, below that dark.
    """
    from skimage.color import rgb2lab  # takes 0.3 s

    lightness, _, yellow = rgb2lab(np.asarray(skin, np.float64).reshape(1, 1, 3)).ravel()
    return float(np.degrees(np.arctan2(lightness - 50, yellow)))


def errors_of(clip: Clip, hands: MeasuredHands) -> dict[str, np.ndarray]:
    """Return the columns of `HandErrors` that one rendered clip and the hands measured in it give.

    The clip's hand has its exact mask, joints and flow; the mask of each measured hand is made here.
    """
    time = len(clip.frames)
    masks = np.zeros((*hands.found.shape, *clip.frames.shape[1:3]), bool)
    for t, place in np.argwhere(hands.found):
        masks[t, place] = hand_mask(clip.frames[t], [hands.joints[t, place]])
    true, union = clip.hand_mask, masks.any(1)
    visible = true.any((1, 2))
    touches = (masks & true[:, None]).any((2, 3))
    shared, both = (true & union).sum((1, 2)), (true | union).sum((1, 2))
    distance = np.linalg.norm(hands.joints - clip.joints_2d[:, None, :NUM_JOINTS], axis=-1).mean(-1)
    distance = np.where(touches, distance, np.inf).min(1)
    speed = np.full(time, np.nan)
    for t in np.flatnonzero(visible[:-1]):
        speed[t] = np.median(np.hypot(*clip.flow[t][true[t]].T))
    change = np.abs(np.diff(clip.frames.astype(np.float32), axis=0, prepend=clip.frames[:1])).mean(-1)
    change[0] = np.nan if time == 1 else change[1]
    return {
        "side": np.sqrt(true.sum((1, 2))),
        "speed": speed,
        "found": touches.any(1),
        "elsewhere": (hands.found & masks.any((2, 3)) & ~touches).any(1),
        "filled": (hands.filled & touches).any(1),
        "overlap": np.where(visible & union.any((1, 2)), shared / np.maximum(both, 1), np.nan),
        "joints": np.where(np.isfinite(distance), distance, np.nan),
        **_of_change(change, true),
        **{f"measured_{name}": values for name, values in _of_change(change, union).items()},
        "mask": np.packbits(union.reshape(time, -1), axis=1),
    }


def _of_change(
    change: Float32[np.ndarray, "time height width"], mask: Bool[np.ndarray, "time height width"]
) -> dict[str, Float[np.ndarray, " time"]]:
    """Return the atlas's measures of a map and a mask, a value a frame; NaN where either is empty."""
    coarse, covered = (
        over_steps(values[None].astype(np.float32), (len(mask), GRID, GRID))[0] for values in (change, mask)
    )
    return {
        "energy": energy(change, mask),
        "area": area(mask),
        "pointing": energy(peaks(coarse), covered),
        "explained": explained_by(coarse[:, None, None], covered[:, None]),
    }


def measure_errors(
    num_clips: int = CLIPS_EACH, size: int = SIZE, difficulties: tuple[float, ...] = DIFFICULTIES, folder: Path = HANDS
) -> Iterator[HandErrors]:
    """Measure hands on rendered test people; yield the rows of a clip after each.

    Raises HandNetworksError if `folder` lacks the networks.
    """
    number = 0
    for difficulty in difficulties:
        clips = SyntheticGestures("test", num_clips, size, difficulty=difficulty, modalities=("hand_mask", "flow"))
        for index in range(num_clips):
            clip = clips[index]
            columns = errors_of(clip, measure_hands(clip.frames, clip.fps, folder))
            facts = {"clip": number, "person": clips.performer(index), "label": clip.label, "difficulty": difficulty}
            facts["tone"] = typology_angle(clips.person(index).skin)
            columns |= {name: np.full(len(clip.frames), value) for name, value in facts.items()}
            yield HandErrors(**{name: columns[name].astype(dtype) for name, dtype in _COLUMNS.items()})
            number += 1


def keep_errors(rows: list[HandErrors], folder: Path = KEPT, **facts: Any) -> None:
    """Write the rows of all clips to `folder`, and their card last: `facts`, what measured them, the code's hash."""
    columns = {name: np.concatenate([getattr(each, name) for each in rows]) for name in _COLUMNS}
    with atomic_write(folder / ROWS) as temporary:
        np.savez_compressed(temporary, **columns)
    files = {ROWS: sha256_of(folder / ROWS)}
    write_card(folder / CARD, {**facts, **made_by(), "code": code_digest(), "files": files})


def read_errors(folder: Path = KEPT) -> tuple[HandErrors, dict[str, Any]]:
    """Read the rows in `folder` and their card.

    Raises FileNotFoundError if there are none, ValueError if the file is not the one that the card was written for.
    """
    if not (folder / CARD).exists():
        raise FileNotFoundError(f"{folder} holds no measured errors; `gatescope hands measure` makes them")
    card = read_card(folder / CARD)
    check_files(folder, card, folder / CARD)
    columns = read_arrays(folder / ROWS)
    return HandErrors(**needed(columns, *_COLUMNS, path=folder / ROWS)), card


def measure_recordings(clips: Iterable[Clip], folder: Path = HANDS) -> Iterator[tuple[str, dict[str, Any]]]:
    """Measure hands in recordings; yield each clip's name and what can be said without the truth: `steadiness`.

    Raises HandNetworksError if `folder` lacks the networks.
    """
    for clip in clips:
        found = measure_hands(clip.frames, clip.fps, folder).steadiness
        height, width = clip.frames.shape[1:3]
        facts = {"frames": len(clip.frames), "fps": clip.fps, "size": [width, height]}
        known = {name: value if np.isfinite(value) else None for name, value in found.items()}
        yield clip.name or Path(clip.source).stem, facts | known


def keep_recordings(found: dict[str, dict[str, Any]], of: str, folder: Path = KEPT) -> None:
    """Write what `measure_recordings` found to `folder`: the clips' names and these numbers, nothing of the clips.

    `of` says where the clips are from.
    """
    write_card(folder / RECORDED, {"of": of, "clips": found, **made_by(), "code": code_digest()})
