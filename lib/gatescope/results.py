"""What a finished training left: read with its checksums, and copied to where the repository keeps it."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gatescope.evaluation import Predictions, load_predictions
from gatescope.files import atomic_write, sha256_of
from gatescope.models.cards import read_weights
from gatescope.paths import CHECKPOINTS
from gatescope.train import Row

MAX_BYTES = 2_000_000  # of the weights of one checkpoint in the repository


@dataclass(frozen=True, kw_only=True)
class Finished:
    """What a finished training left, but for its weights: those `GestureNetwork.load` reads."""

    card: dict[str, Any]
    rows: list[Row]
    predictions: dict[str, Predictions]  # on the validation clips as they are, and changed by each control


def read_run(folder: str | Path) -> Finished:
    """The finished training in `folder`; raises FileNotFoundError if there is none, ValueError if it is damaged."""
    folder = Path(folder)
    _, card = read_weights(folder / "network.safetensors")
    for name, digest in card["files"].items():
        if sha256_of(folder / name) != digest:
            raise ValueError(f"{folder / name} is damaged; remove {folder} to train anew")
    rows = [Row(**row) for row in json.loads((folder / "rows.json").read_text())]
    return Finished(card=card, rows=rows, predictions=load_predictions(folder / "predictions.npz"))


def keep_run(folder: str | Path, where: Path = CHECKPOINTS) -> Path:
    """Copy the finished training in `folder` into a folder of the same name in `where`, which comes back.

    Raises:
        FileNotFoundError, ValueError: if there is none, it is damaged, or its weights are too large for the repository.
    """
    folder, kept = Path(folder), Path(where) / Path(folder).name
    read_run(folder)
    size = (folder / "network.safetensors").stat().st_size
    if size > MAX_BYTES:
        most = f"{MAX_BYTES / 1e6:.0f} MB a checkpoint"
        raise ValueError(f"{folder} has weights of {size / 1e6:.1f} MB; the repository takes {most}")
    # The card last: without it the rest counts for nothing.
    for name in ("network.safetensors", "rows.json", "predictions.npz", "network.json"):
        with atomic_write(kept / name) as temporary:
            shutil.copyfile(folder / name, temporary)
    return kept
