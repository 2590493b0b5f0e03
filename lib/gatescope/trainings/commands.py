"""Commands on clips and trainings: check, pack, train, clips, score, adapt, fine-tune and hands."""

import argparse
import json
import os
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import Any

from gatescope.files import atomic_write
from gatescope.formats.arguments import number, processes, seed, workers
from gatescope.paths import ROOT_FILE

# Each command imports what it needs: torch and Jupyter take seconds, and --help needs neither. It returns None, or the
# reason why it failed.


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add these commands with their arguments; `run` of the arguments is the function that follows them."""
    command = commands.add_parser("check", help="look over a folder of recordings: can it be trained on, in what time")
    command.set_defaults(run=_check)
    command.add_argument("root", type=Path, help="Jester, IsoGD, a folder of videos or of classes, or a table of paths")
    command.add_argument("--all", action="store_true", help="look at every clip, not at a sample")
    outside = {"action": "store_true", "help": "take clips that lists and links name outside the folder"}
    command.add_argument("--outside", **outside)
    command = commands.add_parser("pack", help="write many small files of frames into few large ones")
    command.set_defaults(run=_pack)
    command.add_argument("root", type=Path, help="Jester, or IsoGD's decoded frames")
    command.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="a new folder, or one to go on with")
    command.add_argument("--outside", **outside)
    command = commands.add_parser("train", help="train a network from a description, or resume where it stopped")
    command.set_defaults(run=_train)
    command.add_argument("description", type=Path, help="TOML file with the tables clips, network and training")
    choice = command.add_mutually_exclusive_group(required=True)
    choice.add_argument("--cell", help="cell of a gesture network: convlstm, a, b, c, d, or one of STUDY_CELLS")
    choice.add_argument("--variant", help="of poses or neurons: a name in the description's table variants")
    command.add_argument("--seed", type=seed, default=0, help="of weights, order of clips and other draws; default 0")
    command.add_argument("--transform", help="train and validate on changed clips: shuffled, single or reversed")
    command.add_argument("--modality", help="rgb, depth or flow of a recorded set; default the description's")
    command.add_argument("--start", type=Path, metavar="CHECKPOINT", help="start from these weights with a new head")
    command.add_argument("--root", metavar="FOLDER", help="where the recorded set lies, if not where it is described")
    command.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder of the training")
    command.add_argument("--workers", type=workers, default=0, help="processes that load clips for a GPU; default 0")
    command = commands.add_parser("clips", help="render the clips of a description, or look for its recorded set")
    command.set_defaults(run=_clips)
    command.add_argument("description", type=Path, help="TOML file as for train")
    command.add_argument("--processes", type=processes, default=1, help="that render at once; default 1")
    command = commands.add_parser("score", help="keep a trained network's answers on people held out, once")
    command.set_defaults(run=_score)
    command.add_argument("weights", type=Path, help="network.safetensors of a training on rendered gestures")
    command.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder of the answers")
    command = commands.add_parser("adapt", help="remove a trained network's parts one by one, train the rest further")
    command.set_defaults(run=_adapt)
    command.add_argument("weights", type=Path, help="network.safetensors of a training on rendered gestures")
    command.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder of the answers")
    command = commands.add_parser("fine-tune", help="train a checkpoint further on your own clips")
    command.set_defaults(run=_fine_tune)
    command.add_argument("checkpoint", type=Path, help="weights that network.save wrote: .safetensors")
    command.add_argument("clips", type=Path, help="folder with one sub-folder of clips per class")
    command.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder of the training")
    command.add_argument("--epochs", type=number(int, 1, 1_000_000), help="passes over the clips; default 20")
    command.add_argument("--rate", type=number(float, 1e-12, 1e3), help="highest learning rate; default 0.001")
    command = commands.add_parser("hands", help="obtain the two networks that find hands in recordings, 8 MB")
    command.set_defaults(run=_hands)
    what = (
        "fetch: download them once, with their licence; measure: their error on rendered people, a quarter of an hour"
    )
    command.add_argument("action", choices=["fetch", "measure"], help=what)
    command.add_argument(
        "source", type=Path, nargs="?", help="a wheel or folder that holds them: nothing is downloaded"
    )
    command.add_argument("--clips", type=Path, metavar="FOLDER", help="measure these recordings instead, without truth")


def _check(asked: argparse.Namespace) -> str | None:
    from gatescope.trainings.checking import check

    try:
        report = check(asked.root, every=asked.all, outside=asked.outside)
    except (OSError, ValueError) as error:
        return f"{asked.root}: {error}"
    print(*report.lines, sep="\n", flush=True)
    if report.obstacles:
        return "\n  ".join(["It cannot be trained on as it is:", *report.obstacles])


def _pack(asked: argparse.Namespace) -> str | None:
    from tqdm import tqdm

    from gatescope.loaders.packed import Pack
    from gatescope.loaders.packing import pack

    try:
        with tqdm(desc="packing", unit=" clips", disable=None) as bar:
            for done, bar.total in pack(asked.root, asked.out, outside=asked.outside):
                bar.update(done - bar.n)
        packed = Pack(asked.out)
    except (OSError, ValueError, RuntimeError) as error:
        return f"{asked.out}: {error}"
    left_out = sum(map(len, packed.left_out.values()))
    print(f"{asked.out}: {len(packed):,} clips packed, {left_out:,} left out; gatescope check {asked.out} tells more")


def _clips(asked: argparse.Namespace) -> str | None:
    from gatescope.formats.facts import read_toml
    from gatescope.trainings.descriptions import check_tables, described_run

    try:
        description = read_toml(asked.description)
        check_tables(description)
        # The cell decides nothing about its clips.
        named = [{"variant": name} for name in description.get("variants", ())] or [{"cell": "a"}]
        for each in named:
            _fill(described_run(description, **each, seed=0), asked.processes)
    except (OSError, ValueError, LookupError, TypeError, MemoryError, RuntimeError) as error:
        return f"{asked.description}: {_said(error)}"


def _said(error: Exception) -> str:
    """Return what is wrong in words: Python's and torch's own errors of types and of memory tell nobody what to do."""
    if isinstance(error, TypeError):
        return f"a field is missing, unknown or of another type than is needed: {error}"
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        return "its network or its clips take more memory than there is; make them smaller, or take fewer at once"
    if isinstance(error, BrokenExecutor):
        return "a process that rendered was killed, perhaps for want of memory; what is done stays: take fewer"
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def _fill(training: Any, processes: int) -> None:
    """Render or encode a training's clips that are not in the cache yet."""
    from tqdm import tqdm

    from gatescope.loaders import CachedClips
    from gatescope.trainings.features import FrozenFeatures
    from gatescope.trainings.processes import is_first

    for tensors in (training.train_clips, training.valid_clips):
        cached = getattr(tensors, "clips", None)
        doings = [("rendering", cached.fill(processes), cached)] if isinstance(cached, CachedClips) else []
        doings += [("encoding", tensors.fill(), tensors)] if isinstance(tensors, FrozenFeatures) else []
        for doing, counts, filled in doings:
            with tqdm(total=len(filled), desc=doing, disable=None if is_first() else True) as bar:
                for count in counts:
                    bar.update(count - bar.n)


def _train(asked: argparse.Namespace) -> str | None:
    from gatescope.formats.facts import read_toml
    from gatescope.trainings.descriptions import check_tables, described_run, with_modality
    from gatescope.trainings.runs import run

    try:
        description = read_toml(asked.description)
        check_tables(description)
        if asked.root is not None:
            description["clips"]["root"] = asked.root
        if asked.modality is not None:
            description = with_modality(description, asked.modality)
        named = {name: getattr(asked, name) for name in ("cell", "variant", "seed", "transform", "start")}
        training = described_run(description, **named)
        _fill(training, processes=1)
    except (OSError, ValueError, LookupError, TypeError, MemoryError, RuntimeError) as error:
        return f"{asked.description}: {_said(error)}"
    rows = run(training, asked.out, num_workers=asked.workers)
    if asked.root is not None:
        rows = _with_root(rows, asked.out, asked.root)
    return _follow(rows, training.config.epochs, asked.out)


def _with_root(rows: Iterator, folder: Path, root: str) -> Iterator:
    """Keep where a training's set lies, once its first row says that the folder is its own."""
    from gatescope.trainings.processes import is_first

    for row in rows:
        if row.epoch == 1 and is_first():
            with atomic_write(folder / ROOT_FILE) as temporary:
                temporary.write_bytes(os.fsencode(os.path.realpath(root)))
        yield row


def _score(asked: argparse.Namespace) -> str | None:
    from gatescope.trainings.evidence import score_held_out

    try:
        score_held_out(asked.weights, asked.out)
    except (OSError, ValueError, RuntimeError, FloatingPointError) as error:
        return f"{asked.out}: {error}"
    _print_answers(asked.out)


def _print_answers(folder: Path) -> None:
    from gatescope.trainings.evidence import read_answers

    answers, _ = read_answers(folder)
    for condition in answers.predicted:
        print(f"{condition}: {answers.right(condition).mean():.1%}")


def _adapt(asked: argparse.Namespace) -> str | None:
    from gatescope.trainings.adaptation import adapt

    try:
        for part in adapt(asked.weights, asked.out):
            print(part, flush=True)
    except (OSError, ValueError, RuntimeError, FloatingPointError) as error:
        return f"{asked.out}: {error}"
    _print_answers(asked.out)


def _fine_tune(asked: argparse.Namespace) -> str | None:
    from dataclasses import replace

    from gatescope.trainings.runs import FINE_TUNING, fine_tune

    given = {name: value for name in ("epochs", "rate") if (value := getattr(asked, name)) is not None}
    config = replace(FINE_TUNING, **given)
    return _follow(fine_tune(asked.checkpoint, asked.clips, asked.out, config), config.epochs, asked.out)


def _follow(rows: Iterator, num_epochs: int, folder: Path) -> str | None:
    """Train to the end with a progress bar, and print the metrics."""
    from gatescope.trainings.evaluation import load_predictions
    from gatescope.trainings.processes import is_first
    from gatescope.trainings.progress_bar import show_progress
    from gatescope.trainings.results import read_card
    from gatescope.trainings.tasks import PREDICTIONS

    try:
        for _ in show_progress(rows, num_epochs, folder.name) if is_first() else rows:
            pass
    except (OSError, ValueError, RuntimeError, FloatingPointError, MemoryError) as error:
        return f"{folder}: {_said(error)}"
    if not is_first():
        return None
    if (folder / PREDICTIONS).exists():
        for name, found in load_predictions(folder / PREDICTIONS).items():
            print(f"{name:>9}  top-1 {found.accuracy()}  top-5 {found.accuracy(5)}")
    else:
        print(json.dumps(read_card(folder)["metrics"], indent=1))


def _hands(asked: argparse.Namespace) -> str | None:
    from gatescope.loaders.hands.networks import NO_RUNTIME, fetch_networks, has_networks

    if other := {"measure": asked.source, "fetch": asked.clips}[asked.action]:
        return f"hands {asked.action} takes no {other}; see gatescope hands --help"
    try:
        if asked.action == "measure":
            return _measure_hands(asked.clips and asked.clips.absolute())
        paths = fetch_networks(asked.source)
    except (OSError, ValueError) as error:
        return str(error)
    print(f"{paths[0].parent}: {', '.join(path.name for path in paths)}, with licence and notice")
    return None if has_networks() else NO_RUNTIME


def _measure_hands(clips: Path | None) -> None:
    from tqdm import tqdm

    from gatescope.loaders.datasets import recorded
    from gatescope.measures import hand_errors as errors
    from gatescope.paths import named

    if clips is None:
        total = errors.CLIPS_EACH * len(errors.DIFFICULTIES)
        rows = list(tqdm(errors.measure_errors(), total=total, desc="measuring", disable=None))
        facts = {"size": errors.SIZE, "clips_each": errors.CLIPS_EACH, "difficulties": errors.DIFFICULTIES}
        errors.keep_errors(rows, **facts)
    else:
        found = recorded(clips)
        rows = dict(tqdm(errors.measure_recordings(found), total=len(found), desc="measuring", disable=None))
        errors.keep_recordings(rows, named(clips))
    print(errors.KEPT)
