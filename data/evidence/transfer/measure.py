"""Ask networks that know rendered people about recordings of people, and keep what they say.

    python data/evidence/transfer/measure.py CLIPS OUT 108 data/checkpoints/*/network.safetensors

CLIPS is a folder of videos, with a sub-folder for each person or without; OUT receives a folder for each network, with
neither labels nor pictures. The number is that of rendered clips of the test people at each difficulty. Recordings are
shown whole and cropped, the hand then as large as in the rendered ones; `gatescope hands fetch` obtains what finds it.
"""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from gatescope.files import atomic_write, code_digest, sha256_of
from gatescope.formats.facts import write_card
from gatescope.loaders import CachedClips, Clip, SyntheticGestures, to_batch
from gatescope.loaders.datasets import recorded
from gatescope.loaders.hands.measuring import measure_hands
from gatescope.loaders.hands.regions import MIDDLE, NUM_JOINTS, WRIST
from gatescope.measures.distance import distances, mean_features
from gatescope.models import GestureNetwork
from gatescope.paths import CACHE
from gatescope.recordings import encode_all
from gatescope.recordings.scoring import score_all

NUM_TRAINING = 3  # of each class, to measure distances to
DIFFICULTIES = (0.0, 0.5, 1.0)

Joints = Float32[np.ndarray, "time hands 21 2"]


def open_recordings(clips: Path) -> list[tuple[Clip, Joints]]:
    """Read the clips of a folder, a label numbering the person, and measure their hands.

    Without a sub-folder for each person every clip is taken for one of a person of its own. Raises HandNetworksError
    without the networks that find hands.
    """
    found = []
    for number, clip in enumerate(recorded(clips.absolute())):
        person = number if clip.label is None else clip.label
        found.append((replace(clip, label=person), measure_hands(clip.frames, clip.fps).joints))
    return found


class Framing(NamedTuple):
    """How large a clip shows a hand, and where: medians over frames, in sides of the picture."""

    palm: float  # from the wrist to the middle finger's first joint
    place: Float[np.ndarray, "2"]  # x, y of the joints' mean


def framing(joints: Joints, size: float) -> Framing:
    """Return how frames of `size` px show a hand while it is up, above the middle of its way; NaN without a hand.

    Of two hands in a frame it is the higher one.
    """
    higher = np.nan_to_num(joints[..., 1].mean(2), nan=np.inf).argmin(1)
    hand = joints[np.arange(len(joints)), higher]
    palms = np.linalg.norm(hand[:, MIDDLE] - hand[:, WRIST], axis=-1)
    if not np.isfinite(palms).any():
        return Framing(np.nan, np.full(2, np.nan))
    centres = hand.mean(1)
    up = centres[:, 1] <= (np.nanmin(centres[:, 1]) + np.nanmax(centres[:, 1])) / 2
    return Framing(float(np.median(palms[up])) / size, np.median(centres[up], 0) / size)


def cropped(clip: Clip, joints: Joints, wanted: Framing) -> Clip:
    """Return the clip cropped to a square that shows its hand as large as wanted and, as far as it reaches, as placed.

    Without a hand the clip is as it was.
    """
    found = framing(joints, 1)
    if np.isnan(found.palm):
        return clip
    height, width = clip.frames.shape[1:3]
    side = round(min(found.palm / wanted.palm, height, width))
    left, top = np.clip(found.place - side * wanted.place, 0, (width - side, height - side)).round().astype(int)
    return replace(clip, frames=clip.frames[:, top : top + side, left : left + side], source_size=None)


def measure(
    network: GestureNetwork, recordings: list[tuple[Clip, Joints]], num_test: int, cache: Path
) -> dict[str, np.ndarray]:
    """Return what a network says of recordings and of rendered test people, as arrays by name.

    `predicted/CONDITION` and `reversed/CONDITION` are the classes of each clip and of its frames in reverse order,
    `sure/CONDITION` the highest probability, `away/CONDITION` the distance to the training clips. The conditions are
    `recorded`, `cropped` and `rendered DIFFICULTY`; the latter have `labels` and `people` as well.
    """
    facts = {name: value for name, value in network.card["data"]["clips"].items() if not name.startswith("num_")}
    names = network.card["data"]["names"]
    learnt = CachedClips(SyntheticGestures("train", NUM_TRAINING * len(names), **facts, modalities=()), cache)
    training = mean_features(encode_all(network, as_input(network, learnt)))
    rendered = np.concatenate([learnt[index].joints_2d[:, None, :NUM_JOINTS] for index in range(len(learnt))])
    centres = rendered.mean((1, 2))
    inside = ((centres > 0) & (centres < facts["size"])).all(1)
    wanted = framing(rendered[inside], facts["size"])
    shown = {
        "recorded": as_input(network, (clip for clip, _ in recordings)),
        "cropped": as_input(network, (cropped(*each, wanted) for each in recordings)),
    }
    found = {"recorded/people": np.array([clip.label for clip, _ in recordings], np.int16)}
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


def keep(weights: Path, recordings: list[tuple[Clip, Joints]], out: Path, num_test: int, cache: Path = CACHE) -> Path:
    """Write what a network says, and its card last, to the folder named as the training and the folder above it."""
    network = GestureNetwork.load(weights)
    folder = out / weights.absolute().parent.parent.name / weights.absolute().parent.name
    found = measure(network, recordings, num_test, cache)
    with atomic_write(folder / "answers.npz") as temporary:
        np.savez_compressed(temporary, **found)
    facts = {
        "weights_sha256": network.card["weights_sha256"],
        "trained": {name: network.card[name] for name in ("config", "data", "seed", "training")},
        "recordings": [Path(clip.source).name for clip, _ in recordings],
        "people": [clip.name for clip, _ in recordings],
        "hands": [float(np.isfinite(joints[:, :, 0, 0]).any(1).mean()) for _, joints in recordings],
        "code": code_digest(),
        "files": {"answers.npz": sha256_of(folder / "answers.npz")},
    }
    write_card(folder / "card.json", facts)
    return folder


def main(arguments: list[str]) -> Iterator[Path]:
    """Measure each of the networks; yield its folder."""
    if len(arguments) < 4 or not arguments[2].isdecimal():
        raise SystemExit(__doc__)
    clips, out, num_test, *weights = arguments
    recordings = open_recordings(Path(clips))
    for each in weights:
        yield keep(Path(each), recordings, Path(out), int(num_test))


if __name__ == "__main__":
    for folder in main(sys.argv[1:]):
        print(folder, flush=True)
