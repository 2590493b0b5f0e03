"""Trainings kept in a folder: start, resume or read one; fine-tune on your own clips."""

import copy
import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import torch

from gatescope.files import atomic_write, check_own, sha256_of, sha256_of_contents, temporary_of
from gatescope.loaders import ClipTensors, VideoClips, read_clip
from gatescope.loaders.folders import find_clips
from gatescope.models import GestureNetwork
from gatescope.trainings.processes import is_first
from gatescope.trainings.recipes import TrainConfig
from gatescope.trainings.results import read_card, read_rows
from gatescope.trainings.saved_states import first_difference, remove_states
from gatescope.trainings.tasks import Epoch
from gatescope.trainings.train import Training, describe, fit

FINE_TUNING = TrainConfig(epochs=20, batch_size=8, rate=1e-3)
HELD_OUT = 5  # every fifth of a class's clips is for validation


def run(training: Training, folder: str | Path, *, num_workers: int = 0) -> Iterator[Epoch]:
    """Yield the rows of the training in `folder`: at once if it is finished, else as it starts or resumes.

    Weights are drawn from the config's seed, or copied from `training.start` if that is a network. A finished
    training leaves `network.safetensors` and its card `network.json` (with `training.data` and the metrics),
    `rows.json`, and the files of its task: of a classification `predictions.npz`, the final predictions on the
    validation clips by the names `clips`, `shuffled`, `single` and `reversed`. Example:

        description = read_toml("data/trainings/ci.toml")
        rows = list(run(described_run(description, cell="a", seed=0), "runs/a-0"))
        network = GestureNetwork.load("runs/a-0/network.safetensors")
        print(load_predictions(Path("runs/a-0/predictions.npz"))["clips"].accuracy())

    Raises ValueError if `folder` holds another training, a finished one that is damaged, or files of others that would
    be replaced; RuntimeError and FloatingPointError as `fit` does.
    """
    folder = Path(folder)
    training = _begun(training)
    task, data, facts = training.task, training.data, describe(training)
    if (folder / "network.json").exists():
        card = read_card(folder)
        saved = {"config": card["training"], "network": card["config"], "data": card["data"], "clips": card["clips"]}
        if difference := first_difference(facts, saved):
            raise ValueError(f"{folder} holds another training, finished: {difference}; take another folder")
        yield from read_rows(folder, task.row)
        return
    names = (task.results, "rows.json", "network.safetensors", "network.json")
    check_own(folder, names)
    rows = []
    clips = training.train_clips, training.valid_clips
    for row in fit(training.start, *clips, training.config, folder, data=data, task=task, num_workers=num_workers):
        rows.append(row)
        yield row
    if not is_first():
        return
    metrics = task.conclude(training.start, training.valid_clips, folder / task.results, num_workers)
    with atomic_write(folder / "rows.json") as temporary:
        temporary.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")
    # The card last: it marks a finished training.
    training.start.save(
        folder / "network.safetensors",
        data=data,
        seed=training.config.seed,
        metrics=metrics,
        training=facts["config"],
        clips=facts["clips"],
        files={name: sha256_of(folder / name) for name in (task.results, "rows.json")},
    )
    remove_states(folder)
    # Temporary files of a killed writer.
    for path in folder.iterdir():
        if re.fullmatch(temporary_of("|".join(map(re.escape, names))), path.name):
            path.unlink(missing_ok=True)


def _begun(training: Training) -> Training:
    """Return the training with the network to train as its start, and with the origin of its weights in `data`."""
    if isinstance(training.start, GestureNetwork):
        network = copy.deepcopy(training.start)
        state = b"".join(tensor.cpu().numpy().tobytes() for tensor in network.state_dict().values())
        origin = {"weights_sha256": hashlib.sha256(state).hexdigest()}
    else:
        with torch.random.fork_rng():
            torch.manual_seed(training.config.seed)
            network = training.task.begin(training.start, training.train_clips)
        origin = {"seed": training.config.seed}
    return replace(training, start=network, data={**(training.data or {}), "start": origin})


def fine_tune(
    checkpoint: str | Path,
    clips: str | Path,
    folder: str | Path,
    config: TrainConfig = FINE_TUNING,
    *,
    scale: int | None = None,
) -> Iterator[Epoch]:
    """Yield the rows of a training on your own clips that starts from a checkpoint's weights.

    `clips` is a folder with one sub-folder per class, which holds the class's clips: video files, or folders of
    frames; or a table of paths and labels. The head is new, its classes in the order of their names. Where there are
    splits (`VideoClips`), it trains on train and validates on valid, or else on test. Otherwise every fifth clip of a
    class is held out for validation: with few performers, the same people are in both parts. `folder` receives what
    `run` leaves:

        rows = list(fine_tune("data/checkpoints/a-0/network.safetensors", "my_folder", "runs/mine"))
        network = GestureNetwork.load("runs/mine/network.safetensors")
        network.card["data"]["names"][int(network(to_batch(read_clip("new.mp4"), **network.config.input)).argmax())]

    With `scale`, each clip is read once, at a short side of that many sides of what the network gets, and stays in
    memory; otherwise whenever it is needed, at its own size.

    Raises FileNotFoundError if the checkpoint or the folder is missing, ValueError if either cannot be used (a clip's
    error names its file), RuntimeError and FloatingPointError as `fit` does.
    """
    before = GestureNetwork.load(checkpoint)
    if Path(clips).is_dir() and Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(clips)):
        raise ValueError(f"{folder} lies in the clips' folder {clips}, where it would be a class; name another folder")
    names, train, valid = labelled_clips(Path(clips))
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        network = before.with_classes(len(names))
    place = Path(os.path.realpath(folder))
    if inside := [path for path, _ in train + valid if place.is_relative_to(os.path.realpath(path))]:
        raise ValueError(f"{folder} lies in the clip {inside[0]}, which would change by it; name another folder")
    base = clips if Path(clips).is_dir() else Path(clips).parent
    # What a clip holds counts and what it is called, by a table that may have changed, and not its name alone.
    held = [
        [path.relative_to(base).as_posix(), names[label], sha256_of_contents(path)] for path, label in train + valid
    ]
    data = {
        "source": "clips of one's own",
        "names": names,
        "clips_sha256": hashlib.sha256(json.dumps(held).encode()).hexdigest(),
        "before": {"weights_sha256": before.card["weights_sha256"], "data": before.card.get("data")},
    }
    if scale is None:
        train_clips, valid_clips = (VideoClips(*zip(*chosen, strict=True)) for chosen in (train, valid))
    else:
        size = data["read_at_px"] = scale * network.config.size
        train_clips, valid_clips = (
            [replace(read_clip(path, size=size), label=label, name=names[label]) for path, label in chosen]
            for chosen in (train, valid)
        )
    training = Training(
        start=network,
        train_clips=ClipTensors(train_clips, **network.config.input, train=True, seed=config.seed),
        valid_clips=ClipTensors(valid_clips, **network.config.input),
        config=config,
        data=data,
    )
    yield from run(training, folder)


def labelled_clips(folder: Path) -> tuple[list[str], list[tuple[Path, int]], list[tuple[Path, int]]]:
    """Return the classes' names, and (path, label) of the training clips and of the held-out ones.

    Raises FileNotFoundError without the folder, ValueError unless it has two classes or more of two clips or more.
    """
    if not folder.exists():
        raise FileNotFoundError(f"{folder} does not exist; name a folder with one sub-folder of clips per class")
    splits = {split for split, _ in find_clips(folder)[0]}
    opened = {split: VideoClips(folder, split=split) for split in splits}
    names = list(next(iter(opened.values())).labels)
    if len(names) < 2:
        raise ValueError(f"{folder} must hold a sub-folder of clips for two classes or more; got {len(names)}")
    held_out = "valid" if "valid" in splits else "test"
    parts = {split: [(entry.path, entry.label) for entry in clips.entries] for split, clips in opened.items()}
    if None in parts:
        parts = {"train": [], held_out: []}
        for label, name in enumerate(names):
            of_class = [entry.path for entry in opened[None].entries if entry.label == label]
            if len(of_class) < 2:
                raise ValueError(f"{name} has {len(of_class)} clips; a class needs one to train on, one to validate on")
            for place, path in enumerate(of_class):
                parts["train" if place % HELD_OUT else held_out].append((path, label))
    if missing := [split for split in ("train", held_out) if not parts.get(split)]:
        raise ValueError(f"{folder} has no clips for {missing[0]}; it has those for {', '.join(splits)}")
    return names, parts["train"], parts[held_out]
