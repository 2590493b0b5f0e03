"""Ask networks that know rendered people about recordings of people, and keep what they say beside this file.

    python data/evidence/transfer/measure.py CLIPS data/checkpoints/*/network.safetensors

CLIPS is a folder of videos, with a sub-folder for each person or without; neither labels nor pictures are kept. Where the
networks that find hands are there (`gatescope hands fetch`), the clips are also cropped to the hands.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from gatescope.files import atomic_write, code_digest, sha256_of
from gatescope.formats.facts import write_card
from gatescope.loaders import CachedClips, Clip, SyntheticGestures, to_batch
from gatescope.loaders.datasets import recorded
from gatescope.loaders.hands import has_networks
from gatescope.loaders.hands.measuring import measure_hands
from gatescope.loaders.hands.regions import MIDDLE, WRIST
from gatescope.measures.distance import distances, mean_features
from gatescope.models import GestureNetwork
from gatescope.paths import CACHE, EVIDENCE
from gatescope.recordings import encode_all
from gatescope.recordings.scoring import score_all

OUT = EVIDENCE / "transfer"
NUM_TEST = 324  # rendered clips of the test people at each difficulty: as many of each class, of 12 and of 27
NUM_TRAINING = 3  # of each class, to measure distances to
DIFFICULTIES = (0.0, 0.5, 1.0)

Joints = Float32[np.ndarray, "time hands 21 2"]


@dataclass(frozen=True, eq=False)
class Recording:
    """A recorded clip, whose person it shows, and where its hands are (px; NaN where none is found)."""

    clip: Clip
    person: int
    joints: Joints | None


def open_recordings(clips: Path) -> list[Recording]:
    """Read the clips of a folder, and measure their hands if the networks are there.

    Without a sub-folder for each person every clip is taken for one of a person of its own.
    """
    found = []
    for number, clip in enumerate(recorded(clips.absolute())):
        joints = measure_hands(clip.frames, clip.fps).joints if has_networks() else None
        person = number if clip.label is None else clip.label
        found.append(Recording(replace(clip, label=None), person, joints))
    return found


def lengths_of_palms(joints: Joints) -> Float32[np.ndarray, "time hands"]:
    """Return the distances from wrist to middle finger's first joint, px."""
    return np.linalg.norm(joints[:, :, MIDDLE] - joints[:, :, WRIST], axis=-1)


def cropped(recording: Recording, palms: float) -> Clip:
    """Return the clip cropped to the square in which its median palm is as long as `palms` of the side.

    The square is wide enough for all places at which hands are found, and its centre is theirs, as far as the frame
    allows. Without a hand the clip is as it was.
    """
    clip, joints = recording.clip, recording.joints
    if joints is None or not np.isfinite(joints).any():
        return clip
    low, high = np.nanmin(joints, (0, 1, 2)), np.nanmax(joints, (0, 1, 2))
    side = max(float(np.nanmedian(lengths_of_palms(joints))) / palms, *(high - low))
    height, width = clip.frames.shape[1:3]
    side = round(min(side, height, width))
    left, top = np.clip((low + high) / 2 - side / 2, 0, (width - side, height - side)).round().astype(int)
    return replace(clip, frames=clip.frames[:, top : top + side, left : left + side], source_size=None)


def measure(network: GestureNetwork, recordings: list[Recording], num_test: int, cache: Path) -> dict[str, np.ndarray]:
    """Return what a network says of recordings and of rendered test people, as arrays by name.

    `predicted/CONDITION` and `reversed/CONDITION` are the classes of each clip and of its frames in reverse order,
    `sure/CONDITION` the highest probability, `away/CONDITION` the distance to the training clips. The conditions are
    `recorded`, `cropped` and `rendered DIFFICULTY`; the latter have `labels` and `people` as well.
    """
    facts = {name: value for name, value in network.card["data"]["clips"].items() if not name.startswith("num_")}
    names = network.card["data"]["names"]
    learnt = CachedClips(SyntheticGestures("train", NUM_TRAINING * len(names), **facts, modalities=()), cache)
    training = mean_features(encode_all(network, as_input(network, learnt)))
    found = {"recorded/people": np.array([each.person for each in recordings], np.int16)}
    shown = {"recorded": as_input(network, (each.clip for each in recordings))}
    if all(each.joints is not None for each in recordings):
        joints = np.concatenate([learnt[index].joints_2d[:, None, :21] for index in range(len(learnt))])
        palms = float(np.median(lengths_of_palms(joints))) / facts["size"]
        shown["cropped"] = as_input(network, (cropped(each, palms) for each in recordings))
    for difficulty in DIFFICULTIES:
        clips = SyntheticGestures("test", num_test, **facts | {"difficulty": difficulty}, modalities=())
        found["rendered/labels"] = np.array([clips.label(index) for index in range(num_test)], np.uint8)
        found["rendered/people"] = np.array([clips.performer(index) for index in range(num_test)], np.int16)
        shown[f"rendered {difficulty:g}"] = as_input(network, CachedClips(clips, cache))
    for condition, x in shown.items():
        features = encode_all(network, x)
        scores = torch.from_numpy(score_all(network, features)).softmax(1)
        backwards = score_all(network, encode_all(network, x.flip(2)))
        found[f"predicted/{condition}"] = scores.argmax(1).numpy().astype(np.uint8)
        found[f"reversed/{condition}"] = backwards.argmax(1).astype(np.uint8)
        found[f"sure/{condition}"] = scores.amax(1).numpy().astype(np.float16)
        found[f"away/{condition}"] = distances(mean_features(features), training).astype(np.float16)
    return found


def as_input(network: GestureNetwork, clips: Any) -> Tensor:
    """Return clips as the network takes them."""
    return torch.cat([to_batch(clip, **network.config.input) for clip in clips])


def keep(weights: Path, recordings: list[Recording], out: Path, num_test: int = NUM_TEST, cache: Path = CACHE) -> Path:
    """Write what a network says, and its card last, to the folder named as the training and the folder above it."""
    network = GestureNetwork.load(weights)
    folder = out / weights.absolute().parent.parent.name / weights.absolute().parent.name
    found = measure(network, recordings, num_test, cache)
    with atomic_write(folder / "answers.npz") as temporary:
        np.savez_compressed(temporary, **found)
    facts = {
        "weights_sha256": network.card["weights_sha256"],
        "trained": {name: network.card[name] for name in ("config", "data", "seed", "training")},
        "recordings": [Path(each.clip.source).name for each in recordings],
        "hands_found": [
            None if each.joints is None else float(np.isfinite(each.joints[:, :, 0, 0]).any(1).mean())
            for each in recordings
        ],
        "code": code_digest(),
        "files": {"answers.npz": sha256_of(folder / "answers.npz")},
    }
    write_card(folder / "card.json", facts)
    return folder


def main(arguments: list[str]) -> Iterator[Path]:
    """Measure each of the networks; yield its folder."""
    if len(arguments) < 2:
        raise SystemExit(__doc__)
    clips, *weights = map(Path, arguments)
    recordings = open_recordings(clips)
    for each in weights:
        yield keep(each, recordings, OUT)


if __name__ == "__main__":
    for folder in main(sys.argv[1:]):
        print(folder, flush=True)
