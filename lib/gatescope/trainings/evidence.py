"""Evidence: the answers of trained networks on clips held out for them, kept without their weights."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int16, UInt8

from gatescope.files import LOCK, atomic_write, code_digest, held, sha256_of
from gatescope.formats.arrays import read_arrays
from gatescope.formats.facts import check_files, needed, read_card, write_card
from gatescope.loaders import CachedClips, ClipTensors
from gatescope.measures.estimates import Estimate, estimate
from gatescope.measures.sample import is_rendered_only, rendered
from gatescope.models import GestureNetwork
from gatescope.paths import CACHE
from gatescope.trainings.evaluation import evaluate

ANSWERS, CARD = "answers.npz", "card.json"
NUM_CLIPS = 1200  # of the 60 test people, twenty each on average


@dataclass(frozen=True, eq=False)
class Answers:
    """Predicted class of every clip under one condition or several, with its true class and its performer.

    Raises ValueError unless all are whole numbers, one for each clip.
    """

    labels: UInt8[np.ndarray, " clips"]
    people: Int16[np.ndarray, " clips"]
    predicted: Mapping[str, UInt8[np.ndarray, " clips"]]  # by condition

    def __post_init__(self):
        for name, array in {"labels": self.labels, "people": self.people, **self.predicted}.items():
            if array.shape != (len(self.labels),) or array.dtype.kind not in "iu":
                shapes = f"{array.shape} {array.dtype} for {len(self.labels)} clips"
                raise ValueError(f"{name} must be whole numbers, one for each clip; got {shapes}")

    def right(self, condition: str) -> Bool[np.ndarray, " clips"]:
        """Return which clips are predicted right; raises LookupError for a condition that is not there."""
        if condition not in self.predicted:
            raise LookupError(f"no condition {condition!r}; there are {', '.join(self.predicted)}")
        return self.predicted[condition] == self.labels


def keep_answers(folder: str | Path, answers: Answers, **facts: Any) -> dict[str, Any]:
    """Write the answers to `folder` and their card last; return the card: `facts`, the code's hash and the file's."""
    folder = Path(folder)
    arrays = {f"predicted/{name}": found for name, found in answers.predicted.items()}
    with atomic_write(folder / ANSWERS) as temporary:
        np.savez_compressed(temporary, labels=answers.labels, people=answers.people, **arrays)
    return write_card(folder / CARD, {**facts, "code": code_digest(), "files": {ANSWERS: sha256_of(folder / ANSWERS)}})


def read_answers(folder: str | Path) -> tuple[Answers, dict[str, Any]]:
    """Read the answers in `folder` and their card.

    Raises OSError if there are none, ValueError if the file is not the one that the card was written for, or
    the card was changed.
    """
    folder = Path(folder)
    if not (folder / CARD).exists():
        raise FileNotFoundError(f"{folder} holds no answers; `make sweep` makes those of data/evidence/sweep.toml")
    card = read_card(folder / CARD)
    check_files(folder, card, folder / CARD)
    arrays = read_arrays(folder / ANSWERS)
    people = needed(arrays, "labels", "people", path=folder / ANSWERS)
    kept = "predicted/"
    predicted = {name.removeprefix(kept): array for name, array in arrays.items() if name.startswith(kept)}
    return Answers(**people, predicted=predicted), card


def seeds_right(
    root: Path, condition: str, cells: Iterable[str]
) -> tuple[dict[str, Bool[np.ndarray, "_ clips"]], Int16[np.ndarray, " clips"]]:
    """Return which clips the trainings kept in `root` get right, by cell a row for each seed, and the clips' people.

    A training's folder is named by its cell and seed, a-0. A cell without any is left out.

    Raises ValueError where trainings answered clips of other labels or people, and as `read_answers` and
    `Answers.right` do.
    """
    right, people, labels = {}, np.zeros(0, np.int16), None
    for cell in cells:
        found = [read_answers(path.parent)[0] for path in sorted(root.glob(f"{cell}-[0-9]*/{CARD}"))]
        for each in found:
            labels, people = (each.labels, each.people) if labels is None else (labels, people)
            if not (np.array_equal(labels, each.labels) and np.array_equal(people, each.people)):
                raise ValueError(f"the trainings of {cell} in {root} answered other clips than those before them")
        if found:
            right[cell] = np.stack([each.right(condition) for each in found])
    return right, people


def used_and_needed(root: Path, cell: str, part: str) -> tuple[Estimate, Estimate] | None:
    """Return the change of accuracy without a part, in points: at once, and after the rest was trained further.

    The first, what the networks use, is relative to the undisturbed networks; the second, what is needed, to networks
    trained further as long with nothing removed. Both are differences within each network, over seeds and people, of
    the conditions `undisturbed`, `PART, before`, `nothing, adapted` and `PART, adapted`. None if no training of the
    cell is kept in `root`; raises as `seeds_right` does.
    """
    right = []
    for condition in ("undisturbed", f"{part}, before", "nothing, adapted", f"{part}, adapted"):
        found, people = seeds_right(root, condition, [cell])
        if not found:
            return None
        right.append(100.0 * found[cell])
    undisturbed, at_once, control, adapted = right
    return estimate(at_once - undisturbed, people=people), estimate(adapted - control, people=people)


def held_out(network: GestureNetwork, num_clips: int, cache: Path = CACHE) -> CachedClips:
    """Return rendered clips of the test people, whom no training or choice has seen, as the card describes the others.

    Raises ValueError for a network whose card describes no rendered clips.
    """
    if not is_rendered_only(network):
        raise ValueError("held-out people are rendered: the network's card must describe rendered gestures")
    return CachedClips(rendered(network, num_clips, "test", ()), folder=cache)


def score_held_out(weights: Path, folder: Path, num_clips: int = NUM_CLIPS, cache: Path = CACHE) -> Answers:
    """Return the answers of a trained network on the test people, computed once and kept in `folder`.

    The conditions are `undisturbed` and `no memory`, every step from an empty state. Raises ValueError if `folder`
    holds the answers of other weights or to other clips (a test set is for one look), or files of others; RuntimeError
    if another process works there.
    """
    network = GestureNetwork.load(weights)
    facts = {"weights_sha256": network.card["weights_sha256"], "num_clips": num_clips}
    if (folder / CARD).exists():
        answers, card = read_answers(folder)
        if other := [name for name, value in facts.items() if card.get(name) != value]:
            raise ValueError(f"{folder} holds answers with another {other[0]}; the test people are scored once")
        return answers
    clips = held_out(network, num_clips, cache)
    with held(folder, (ANSWERS,)):
        people = np.array([clips.clips.performer(index) for index in range(num_clips)], np.int16)
        inputs = ClipTensors(clips, **network.config.input)
        without = GestureNetwork.load(weights, replace(network.config, memory=False))
        found = {name: evaluate(each, inputs) for name, each in (("undisturbed", network), ("no memory", without))}
        predicted = {name: each.logits.argmax(1).astype(np.uint8) for name, each in found.items()}
        answers = Answers(found["undisturbed"].labels.astype(np.uint8), people, predicted)
        trained = needed(network.card, "config", "data", "seed", "training", path=weights)
        keep_answers(folder, answers, **facts, trained=trained)
    (folder / LOCK).unlink(missing_ok=True)  # the card says that it is finished
    return answers
