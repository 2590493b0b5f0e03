"""The experiment on gesture pairs: networks with memory and without, and what those without win back by adaptation."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset

from gatescope.formats.arguments import number, parse, seed
from gatescope.formats.facts import read_toml
from gatescope.loaders import CachedClips, ClipTensors, GesturePairs
from gatescope.loaders.limits import MAX_FRAMES
from gatescope.models import GestureNetwork
from gatescope.models.config import REACHES
from gatescope.paths import CACHE, EVIDENCE, RUNS, TRAININGS
from gatescope.trainings.adaptation import UNDISTURBED, answers_without, predicted_classes
from gatescope.trainings.descriptions import described_run
from gatescope.trainings.evidence import Answers, keep_answers
from gatescope.trainings.recipes import TrainConfig
from gatescope.trainings.removals import parts_of
from gatescope.trainings.runs import run

NUM_TEST = 600  # clips of the 60 people of the test split, ten each on average
PARTS = ("memory", "space", "H from gates")  # removed one at a time, where a network has them
ADAPTATION = {"epochs": 3, "rate": 2e-3}  # fields of TrainConfig, of what follows a frozen Res3D
_BATCH_SIZE = 32


def setting(
    description: Mapping[str, Any], *, reach: int, num_frames: int, memory: bool = True
) -> dict[str, dict[str, Any]]:
    """Return the description with these values in its table `network`."""
    changed = {"reach": reach, "num_frames": num_frames, "memory": memory}
    return {**description, "network": {**description["network"], **changed}}


def run_name(cell: str, seed: int, *, reach: int, num_frames: int, memory: bool = True) -> str:
    """Return the folder of a run, below data/evidence/memory and build/runs/memory: its setting, its cell and seed."""
    return f"reach{reach}-frames{num_frames}{'' if memory else '-without'}/{cell}-{seed}"


def held_out_pairs(description: Mapping[str, Any], num_clips: int = NUM_TEST, cache: Path = CACHE) -> CachedClips:
    """Return clips as the description's, of the test split's people, whom no training and no choice of ours saw."""
    clips = {
        name: value for name, value in description["clips"].items() if name not in ("set", "num_train", "num_valid")
    }
    return CachedClips(GesturePairs("test", num_clips, **clips, modalities=()), folder=cache)


def encoded(network: GestureNetwork, clips: Dataset) -> TensorDataset:
    """Return the features of each clip from the network's Res3D (channel, step, rows, columns), and its label."""
    with torch.inference_mode():
        found = [(network.encode(x).transpose(1, 2), labels) for x, labels in DataLoader(clips, _BATCH_SIZE)]
    # Out of inference mode, in which no gradient passes.
    features, labels = (torch.cat(each).clone() for each in zip(*found, strict=True))
    return TensorDataset(features, labels)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train a network on gesture pairs, examine it on the test split's people, and keep the answers with a card."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--cell", required=True)
    parser.add_argument("--seed", type=seed, default=0)
    parser.add_argument(
        "--reach", type=int, choices=REACHES, required=True, help="frames that a step of the features sees"
    )
    parser.add_argument("--frames", type=number(int, 1, MAX_FRAMES), required=True, help="frames of a clip")
    parser.add_argument("--without", action="store_true", help="train it without memory")
    parser.add_argument("--out", type=Path, default=EVIDENCE / "memory")
    asked = parse(parser, arguments)
    chosen = {"reach": asked.reach, "num_frames": asked.frames, "memory": not asked.without}
    name = run_name(asked.cell, asked.seed, **chosen)
    if (asked.out / name / "card.json").exists():
        return
    torch.set_num_threads(1)
    described = read_toml(TRAININGS / "pairs.toml")
    training = described_run(setting(described, **chosen), cell=asked.cell, seed=asked.seed)
    folder = RUNS / "memory" / name
    rows = list(run(training, folder))
    network = GestureNetwork.load(folder / "network.safetensors")
    clips = held_out_pairs(described)
    test = ClipTensors(clips, **network.config.input)
    if asked.without:
        answers = {UNDISTURBED: predicted_classes(network, test)}
    else:
        parts = [part for part in PARTS if part in parts_of(network)]
        train = ClipTensors(training.train_clips.clips, **network.config.input)
        features = encoded(network, train), encoded(network, test)
        config = TrainConfig(**ADAPTATION, seed=asked.seed)
        answers = {}
        for part in ("nothing", *parts):
            answers |= answers_without(part, network, *features, config)
    keep_answers(
        asked.out / name,
        Answers(
            labels=np.array([clips.label(index) for index in range(len(clips))], np.uint8),
            people=np.array([clips.clips.performer(index) for index in range(len(clips))], np.int16),
            predicted=answers,
        ),
        description=described,
        cell=asked.cell,
        seed=asked.seed,
        **chosen,
        parts=[] if asked.without else parts,
        adaptation=ADAPTATION,
        valid_accuracy=rows[-1].valid_accuracy,
        seconds=round(sum(row.seconds for row in rows)),
    )


if __name__ == "__main__":
    main()
