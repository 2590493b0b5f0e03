"""Trainings kept in a folder: done, gone on with, or begun; fine-tuning on clips of one's own."""

import copy
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn
from torch.utils.data import Dataset

from gatescope.files import atomic_write, sha256_of
from gatescope.loaders import ClipTensors, VideoClips
from gatescope.models import DSTSConfig, GestureNetwork, NetworkConfig, RPSMConfig
from gatescope.trainings.evaluation import CONTROLS, Predictions, evaluate, save_predictions
from gatescope.trainings.recipes import TrainConfig
from gatescope.trainings.results import read_card, read_rows
from gatescope.trainings.saved_states import first_difference, remove_states
from gatescope.trainings.train import Classification, Epoch, Row, Task, describe, fit

FINE_TUNING = TrainConfig(epochs=20, batch_size=8, rate=1e-3)
HELD_OUT = 5  # of a class's own clips, every fifth is for validation


@runtime_checkable
class WholeTask(Task, Protocol):
    """A task from the first weights to what is kept of the last."""

    def begin(self, config: Any, train_clips: Dataset) -> nn.Module:
        """A network of `config` as a training finds it, drawn from torch's random numbers."""

    def conclude(
        self, network: nn.Module, valid_clips: Dataset, folder: Path, num_workers: int
    ) -> tuple[dict[str, Any], list[str]]:
        """What a card says of the trained network in numbers, and the files that hold more of it in `folder`."""


class Recognition(Classification):
    """The classes of gestures, judged also on clips that a control has changed."""

    def begin(self, config: NetworkConfig, train_clips: Dataset) -> GestureNetwork:
        """A network of `config`, drawn from torch's random numbers."""
        return GestureNetwork(config)

    def conclude(
        self, network: nn.Module, valid_clips: Dataset, folder: Path, num_workers: int
    ) -> tuple[dict[str, Any], list[str]]:
        """The accuracies under every control; the predictions they are counted from stay in `predictions.npz`."""
        predictions = {
            name or "clips": evaluate(network, valid_clips, transform=name, num_workers=num_workers)
            for name in (None, *CONTROLS)
        }
        save_predictions(folder / "predictions.npz", predictions)
        return {name: _metrics(found) for name, found in predictions.items()}, ["predictions.npz"]


RECOGNITION = Recognition()


def run(
    start: NetworkConfig | RPSMConfig | DSTSConfig | GestureNetwork,
    train_clips: Dataset,
    valid_clips: Dataset,
    config: TrainConfig,
    folder: str | Path,
    *,
    data: dict[str, Any],
    task: WholeTask = RECOGNITION,
    num_workers: int = 0,
) -> Iterator[Epoch]:
    """The rows of the training in `folder`: all at once if it is finished, else as it goes on from where it stopped.

    It begins with weights drawn from the config's seed, or with a network's own. What a finished one leaves:
    `network.safetensors` and its card `network.json` (with `data`, which says in JSON what the clips are, and the
    accuracies), `rows.json`, and `predictions.npz`, the final predictions on the validation clips under the names
    `clips`, `shuffled`, `single` and `reversed`; of another `task` what that concludes with. Example:

        description = tomllib.loads(Path("data/trainings/ci.toml").read_text())
        rows = list(run(**described_run(description, cell="a", seed=0), folder="runs/a-0"))
        network = GestureNetwork.load("runs/a-0/network.safetensors")
        print(load_predictions(Path("runs/a-0/predictions.npz"))["clips"].accuracy())

    Raises:
        ValueError: if `folder` holds another training, or a finished one that is damaged.
        RuntimeError, FloatingPointError: as `fit` does.
    """
    folder = Path(folder)
    weights = folder / "network.safetensors"
    if isinstance(start, GestureNetwork):
        network = copy.deepcopy(start)
        state = b"".join(tensor.cpu().numpy().tobytes() for tensor in network.state_dict().values())
        origin = {"weights_sha256": hashlib.sha256(state).hexdigest()}
    else:
        with torch.random.fork_rng():
            torch.manual_seed(config.seed)
            network, origin = task.begin(start, train_clips), {"seed": config.seed}
    data = {**data, "start": origin}
    training = describe(network, train_clips, valid_clips, config, data)
    if weights.with_suffix(".json").exists():
        yield from _finished(folder, training, task)
        return
    rows = []
    for row in fit(network, train_clips, valid_clips, config, folder, data=data, task=task, num_workers=num_workers):
        rows.append(row)
        yield row
    metrics, files = task.conclude(network, valid_clips, folder, num_workers)
    with atomic_write(folder / "rows.json") as temporary:
        temporary.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    # Last: a folder with a card is a training that is finished.
    network.save(
        weights,
        data=data,
        seed=config.seed,
        metrics=metrics,
        training=training["config"],
        clips=training["clips"],
        files={name: sha256_of(folder / name) for name in (*files, "rows.json")},
    )
    remove_states(folder)


def fine_tune(
    checkpoint: str | Path,
    clips: str | Path,
    folder: str | Path,
    config: TrainConfig = FINE_TUNING,
    *,
    num_workers: int = 0,
) -> Iterator[Row]:
    """The rows of a training that begins with a checkpoint's weights and goes on with clips of one's own.

    `clips` is a folder with one sub-folder per class, and in each the class's clips: video files, or folders of
    frames. The head is made anew for these classes, in the order of their names; every fifth clip of a class is held
    out for validation, so where people are few, they are the same in both. What is left in `folder` is what `run`
    leaves, as here:

        rows = list(fine_tune("data/checkpoints/a-0/network.safetensors", "my_folder", "runs/mine"))
        network = GestureNetwork.load("runs/mine/network.safetensors")
        network.card["data"]["names"][int(network(to_batch(read_clip("new.mp4"), **network.config.input)).argmax())]

    Raises:
        FileNotFoundError: if the checkpoint or the folder is missing.
        ValueError: if either cannot be used; a clip's error names its file.
        RuntimeError, FloatingPointError: as `fit` does.
    """
    before = GestureNetwork.load(checkpoint)
    names, train, valid = labelled_clips(Path(clips))
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        network = before.with_classes(len(names))
    listed = [path.relative_to(clips).as_posix() for path, _ in train + valid]
    data = {
        "source": "clips of one's own",
        "names": names,
        "listed_sha256": hashlib.sha256("\n".join(listed).encode()).hexdigest(),
        "before": {"weights_sha256": before.card["weights_sha256"], "data": before.card["data"]},
    }
    tensors = {
        split: ClipTensors(VideoClips(*zip(*chosen, strict=True)), **network.config.input, **settings)
        for split, chosen, settings in (
            ("train_clips", train, {"train": True, "seed": config.seed}),
            ("valid_clips", valid, {}),
        )
    }
    yield from run(network, **tensors, config=config, folder=folder, data=data, num_workers=num_workers)


def labelled_clips(folder: Path) -> tuple[list[str], list[tuple[Path, int]], list[tuple[Path, int]]]:
    """The classes' names, and (path, label) of the clips to train on and of those held out.

    Raises ValueError unless there are two classes or more, with two clips or more in each.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is no folder; it must hold one sub-folder of clips per class")
    classes = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if len(classes) < 2:
        raise ValueError(
            f"{folder} must hold a sub-folder of clips for each of two classes or more; got {len(classes)}"
        )
    train, valid = [], []
    for label, kind in enumerate(classes):
        paths = sorted(path for path in kind.iterdir() if not path.name.startswith("."))
        if len(paths) < 2:
            raise ValueError(f"{kind} holds {len(paths)} clips; a class needs one to train on and one to validate on")
        for place, path in enumerate(paths):
            (train if place % HELD_OUT else valid).append((path, label))
    return [path.name for path in classes], train, valid


def _finished(folder: Path, training: Mapping[str, Any], task: Task) -> list[Epoch]:
    """The rows of a finished training, checked; raises ValueError if it is another's, or damaged."""
    card = read_card(folder)
    saved = {"config": card["training"], "network": card["config"], "data": card["data"], "clips": card["clips"]}
    if difference := first_difference(training, saved):
        raise ValueError(f"{folder} holds another training, finished: {difference}; take another folder")
    return read_rows(folder, task.row)


def _metrics(found: Predictions) -> dict[str, Any]:
    top1, top5 = found.accuracy(), found.accuracy(k=5)
    return {"top1": top1.value, "top1_interval_95": top1.interval, "top5": top5.value, "clips": top1.total}
