"""Removal and adaptation of a trained network: answers without a part at once, and after further training."""

import shutil
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import nn
from torch.utils.data import Dataset

from gatescope.files import LOCK, code_digest, held
from gatescope.formats.facts import needed
from gatescope.loaders import CachedClips
from gatescope.measures.sample import rendered
from gatescope.models import GestureNetwork
from gatescope.paths import CACHE
from gatescope.trainings.evaluation import evaluate
from gatescope.trainings.evidence import ANSWERS, CARD, Answers, held_out, keep_answers, read_answers
from gatescope.trainings.features import FrozenFeatures
from gatescope.trainings.recipes import TrainConfig
from gatescope.trainings.removals import Remainder, parts_of
from gatescope.trainings.train import fit

ADAPTATION = TrainConfig(epochs=3)
NUM_TRAIN, NUM_TEST = 1200, 1200  # clips
NUM_FOR_CONSTANTS = 128  # training clips over which a constant gate is a mean at first
UNDISTURBED = "undisturbed"
SCRATCH = ("parts", "features")  # folders of what is not finished


def adapt(
    weights: str | Path,
    folder: str | Path,
    *,
    num_train: int = NUM_TRAIN,
    num_test: int = NUM_TEST,
    cache: Path = CACHE,
) -> Iterator[str]:
    """Yield each part of a trained network once its answers without it are there; in the end `folder` keeps them all.

    Every part is removed from a copy (`Remainder`). Res3D stays as it is, and the rest is trained further by
    ADAPTATION on the first `num_train` training clips, in an order that is the same for all parts. The answers are
    those to `num_test` clips of people that no training has seen, under the conditions `undisturbed`,
    `nothing, adapted`, and `PART, before` and `PART, adapted` of each part. A run that was cut off goes on with the
    part at which it was; a finished one is only read. Example:

        for part in adapt("build/runs/rows/a-0/network.safetensors", "data/evidence/adapted/a-0"):
            print(part)
        answers, card = read_answers("data/evidence/adapted/a-0")
        print(answers.right("memory, adapted").mean() - answers.right("nothing, adapted").mean())

    Raises FileNotFoundError without the weights; ValueError if the network's card describes no rendered clips, or
    `folder` holds answers of other weights, to other clips or after another adaptation, or files of others;
    RuntimeError if another process works there.
    """
    folder, network = Path(folder), GestureNetwork.load(weights)
    config = replace(ADAPTATION, **needed(network.card, "seed", path=weights))
    facts = {
        "weights_sha256": network.card["weights_sha256"],
        "num_train": num_train,
        "num_test": num_test,
        "adaptation": asdict(config),
    }
    if (folder / CARD).exists():
        _known(folder, facts)
        yield from parts_of(network)
        return
    test = held_out(network, num_test, cache)
    with held(folder, (ANSWERS, *SCRATCH)):
        trained = needed(network.card, "config", "data", "seed", "training", "metrics", path=weights)
        train = CachedClips(rendered(network, num_train, "train", ()), folder=cache)
        learnt, asked = (FrozenFeatures(network, clips, pool=1, folder=folder / "features") for clips in (train, test))
        labels = np.array([test.label(index) for index in range(num_test)], np.uint8)
        people = np.array([test.clips.performer(index) for index in range(num_test)], np.int16)
        predicted: dict[str, np.ndarray] = {}
        for part in parts_of(network):
            kept = folder / "parts" / part.replace(" ", "-")
            if (kept / CARD).exists() and read_answers(kept)[1]["code"] != code_digest():
                shutil.rmtree(kept)  # of other code than the rest would be
            if not (kept / CARD).exists():
                # The card last, so that a part is there as a whole or not at all.
                found = answers_without(part, network, learnt, asked, config)
                keep_answers(kept, Answers(labels, people, found), **facts)
            predicted |= _known(kept, facts).predicted
            yield part
        keep_answers(folder, Answers(labels, people, predicted), **facts, trained=trained)
        for scratch in SCRATCH:
            shutil.rmtree(folder / scratch, ignore_errors=True)
    (folder / LOCK).unlink(missing_ok=True)  # the card says that it is finished


def answers_without(
    part: str, network: GestureNetwork, learnt: Dataset, asked: Dataset, config: TrainConfig
) -> dict[str, UInt8[np.ndarray, " clips"]]:
    """Return the class that a network without `part` gives each clip of `asked`, at once and adapted on `learnt`.

    Both sets hold features of clips (channel, step, rows, columns) from the network's Res3D, and labels. The conditions
    are `PART, before`, of `nothing` `undisturbed`, and `PART, adapted`. Raises as `Remainder` does.
    """
    sample = torch.stack([learnt[index][0] for index in range(min(NUM_FOR_CONSTANTS, len(learnt)))])
    reduced = Remainder(network, part, sample)
    at_once, adapted = UNDISTURBED if part == "nothing" else f"{part}, before", f"{part}, adapted"
    found = {at_once: predicted_classes(reduced, asked)}
    for _ in fit(reduced, learnt, None, config):
        pass
    return found | {adapted: predicted_classes(reduced, asked)}


def predicted_classes(network: nn.Module, clips: Dataset) -> UInt8[np.ndarray, " clips"]:
    """Return the class to which a network gives the highest score, of each clip."""
    return evaluate(network, clips).logits.argmax(1).astype(np.uint8)


def _known(folder: Path, facts: dict[str, Any]) -> Answers:
    answers, card = read_answers(folder)
    if other := [name for name, value in facts.items() if card.get(name) != value]:
        raise ValueError(f"{folder} holds answers with another {other[0]}; take another folder")
    return answers
