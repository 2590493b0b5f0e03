"""Results of a finished training: read them with their checksums, copy them into the repository."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int64

from gatescope.files import atomic_write
from gatescope.formats import facts
from gatescope.models.cards import read_weights
from gatescope.paths import CHECKPOINTS
from gatescope.trainings.evaluation import Predictions, load_predictions
from gatescope.trainings.tasks import PREDICTIONS, Epoch, Row

MAX_BYTES = 2_000_000  # of the weights of one checkpoint in the repository


@dataclass(frozen=True, kw_only=True)
class Finished:
    """Card, rows and predictions of a finished training; `GestureNetwork.load` reads its weights."""

    card: dict[str, Any]
    rows: list[Row]
    predictions: dict[str, Predictions]  # on the validation clips (`clips`) and under each control


def read_card(folder: str | Path, *, weights: bool = True) -> dict[str, Any]:
    """Read the card of the finished training in `folder` and verify its files, the weights only if `weights`.

    Raises OSError if there is none, ValueError if it or a file is damaged or was changed.
    """
    folder = Path(folder)
    path = folder / "network.json"
    card = read_weights(folder / "network.safetensors")[1] if weights else facts.read_card(path)
    facts.needed(card, "config", "data", "training", "clips", "metrics", "files", path=path)
    facts.check_files(folder, card, path)
    return card


def read_rows(folder: str | Path, row: type[Epoch] = Row) -> list[Epoch]:
    """Read the rows of the finished training in `folder`; raises ValueError if they are not rows of that type."""
    path = Path(folder) / "rows.json"
    try:
        return [row(**values) for values in facts.read_json(path)]
    except TypeError as error:
        raise ValueError(f"{path} holds no rows of a training: {error}") from None


def read_results(folder: str | Path, *, weights: bool = False) -> Finished:
    """Read the finished training in `folder`; verifies its weights, and needs them, only if `weights`.

    Raises as `read_card` does.
    """
    card = read_card(folder, weights=weights)
    return Finished(card=card, rows=read_rows(folder), predictions=load_predictions(Path(folder) / PREDICTIONS))


@dataclass(frozen=True, kw_only=True, eq=False)
class Seeds:
    """Results of trainings that differ only in their seed, on the same validation clips."""

    curves: Float[np.ndarray, "seeds epochs 2"]  # accuracy on validation and on training clips
    scores: dict[str, Float[np.ndarray, "seeds 3"]]  # by control, or `clips`: accuracy and its interval
    right: Bool[np.ndarray, "seeds clips"]  # true where the prediction is right
    confusion: Int64[np.ndarray, "classes classes"]  # summed over seeds


def of_seeds(trainings: Sequence[Finished]) -> Seeds:
    """Collect the results of several trainings; raises ValueError for none, or for different validation clips."""
    labels = [found.predictions["clips"].labels for found in trainings]
    if not labels or any(not np.array_equal(labels[0], other) for other in labels):
        raise ValueError(f"needed trainings validated on the same clips, at least one; got {len(labels)}")
    scores = {}
    for name in trainings[0].predictions:
        tops = [found.predictions[name].accuracy() for found in trainings]
        scores[name] = np.array([(top.value, *top.interval) for top in tops])
    return Seeds(
        curves=np.array([[(row.valid_accuracy, row.accuracy) for row in found.rows] for found in trainings]),
        scores=scores,
        right=np.stack([found.predictions["clips"].ranks == 0 for found in trainings]),
        confusion=sum(found.predictions["clips"].confusion() for found in trainings),
    )


def keep_run(folder: str | Path, where: Path = CHECKPOINTS, *, weights: bool = True) -> Path:
    """Copy the finished training in `folder`, with or without its weights, to the same name in `where`; return it.

    Raises OSError if there is none, ValueError if it is damaged or its weights exceed MAX_BYTES.
    """
    folder = Path(folder)
    kept = Path(where) / os.path.basename(os.path.realpath(folder))  # also of "." and ".."
    card = read_card(folder)
    size = (folder / "network.safetensors").stat().st_size
    if size > MAX_BYTES:
        most = f"{MAX_BYTES / 1e6:.0f} MB a checkpoint"
        raise ValueError(f"{folder} has weights of {size / 1e6:.1f} MB; the repository takes {most}")
    # The card last: it marks a finished training.
    for name in (*["network.safetensors"] * weights, *card["files"], "network.json"):
        with atomic_write(kept / name) as temporary:
            shutil.copyfile(folder / name, temporary)
    return kept
