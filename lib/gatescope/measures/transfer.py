"""What networks say of recordings whose gestures nobody labelled: how far answers agree above chance."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from gatescope.formats.arrays import read_arrays
from gatescope.formats.facts import check_files, read_card
from rendered_people.gestures import PROGRAMS

Classes = Int[np.ndarray, " clips"]


def read_said(folder: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return what a network said, by name, and its card, as data/evidence/transfer/measure.py left them in `folder`.

    Raises FileNotFoundError if there is nothing, ValueError if the file is not the one that the card was written for.
    """
    if not (folder / "card.json").exists():
        raise FileNotFoundError(f"{folder} holds no answers; data/evidence/transfer/measure.py makes them")
    card = read_card(folder / "card.json")
    check_files(folder, card, folder / "card.json")
    arrays = read_arrays(folder / "answers.npz")
    return {name: array.astype(float if array.dtype.kind == "f" else int) for name, array in arrays.items()}, card


def above_chance(one: Classes, other: Classes) -> Float[np.ndarray, " clips"]:
    """Return for each clip whether two answers are the same, less how often one is the same as the other's elsewhere.

    The mean is 0 for answers that do not depend on the clip, whatever the classes' shares: of networks that always say
    one class, too. At most it is 1 less the part of pairs of clips with the same answer.

    Raises ValueError for fewer than two clips.
    """
    if len(one) < 2:
        raise ValueError(f"chance is told from other clips; needed two clips or more, got {len(one)}")
    same = one[:, None] == other
    elsewhere = (same.sum(0) + same.sum(1) - 2 * same.diagonal()) / (2 * (len(one) - 1))
    return same.diagonal() - elsewhere


def played_backwards(names: Sequence[str]) -> Classes:
    """Return for each class the place of the one that its gesture becomes in reverse order: for most others itself.

    Swiping left becomes swiping right; shaking a hand stays that. Raises ValueError if the other one is not in `names`.
    """
    named = {entry: name for name, entry in PROGRAMS.items()}
    turned = {name: named.get((program, not back), name) for name, (program, back) in PROGRAMS.items()}
    return np.array([list(names).index(turned[name]) for name in names])


def farther(said: Mapping[str, np.ndarray], condition: str, than: str) -> Float[np.ndarray, " clips"]:
    """Return for each clip the part of the clips of another condition that lie nearer to the training clips."""
    return (said[f"away/{than}"] < said[f"away/{condition}"][:, None]).mean(1)
