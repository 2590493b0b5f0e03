"""The command line: gatescope train, score, adapt, fine-tune, rebuild, compare, site."""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from gatescope.paths import MANIFEST, ROOT

# Each command imports what it needs: torch and Jupyter take seconds, and --help needs neither.


def main(arguments: list[str] | None = None) -> int:
    """Run a command; return its exit status, 0 only if it succeeded."""
    parser = argparse.ArgumentParser(prog="gatescope", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("rebuild", help="run one notebook; replace it and its figures if the run succeeds")
    command.add_argument("notebook", type=Path)
    set_one = {"action": "append", "nargs": 2, "default": [], "metavar": ("NAME", "VALUE")}
    command.add_argument("-p", dest="given", help="set a parameter of the notebook", **set_one)
    commands.add_parser("compare", help="compare the figures, their numbers and texts with the last commit's")
    command = commands.add_parser("site", help="write every notebook as a web page that works offline")
    command.add_argument("--out", type=Path, default=ROOT / "build" / "site", metavar="FOLDER")
    command = commands.add_parser("train", help="train a network from a description, or resume where it stopped")
    command.add_argument("description", type=Path, help="TOML file with the tables clips, network and training")
    choice = command.add_mutually_exclusive_group(required=True)
    choice.add_argument("--cell", help="cell of a gesture network: convlstm, a, b, c, d, or one of STUDY_CELLS")
    choice.add_argument("--variant", help="of poses or neurons: a name in the description's table variants")
    command.add_argument("--seed", type=int, default=0, help="of weights, order of clips and other draws; default 0")
    command.add_argument("--transform", help="train and validate on changed clips: shuffled, single or reversed")
    command.add_argument("--start", type=Path, metavar="CHECKPOINT", help="start from these weights with a new head")
    command.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder of the training")
    command.add_argument("--workers", type=int, default=0, help="processes that load clips for a GPU; default 0")
    command = commands.add_parser("score", help="keep a trained network's answers on people held out, once")
    command.add_argument("weights", type=Path, help="network.safetensors of a training on rendered gestures")
    command.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder of the answers")
    command = commands.add_parser("adapt", help="remove a trained network's parts one by one, train the rest further")
    command.add_argument("weights", type=Path, help="network.safetensors of a training on rendered gestures")
    command.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder of the answers")
    command = commands.add_parser("fine-tune", help="train a checkpoint further on your own clips")
    command.add_argument("checkpoint", type=Path, help="weights that network.save wrote: .safetensors")
    command.add_argument("clips", type=Path, help="folder with one sub-folder of clips per class")
    command.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder of the training")
    command.add_argument("--epochs", type=int, help="passes over the clips; default 20")
    command.add_argument("--rate", type=float, help="highest learning rate; default 0.001")
    asked = parser.parse_args(arguments)
    runs = {"rebuild": _rebuild, "compare": _compare, "site": _site}
    runs |= {"train": _train, "score": _score, "adapt": _adapt, "fine-tune": _fine_tune}
    if failure := runs[asked.command](asked):
        print(failure, file=sys.stderr)
    return 1 if failure else 0


# Each command returns None, or the reason why it failed.


def _rebuild(asked: argparse.Namespace) -> str | None:
    # jsonschema's grammar of international addresses takes a second to parse. No notebook holds one, and without the
    # grammar jsonschema skips that check.
    sys.modules["rfc3987_syntax"] = None
    from gatescope.atlas.notebook_cells import read_notebook
    from gatescope.atlas.notebook_parameters import parse_values, read_parameters
    from gatescope.atlas.rebuild import RebuildError, rebuild

    try:
        known = read_parameters(read_notebook(asked.notebook))
        entries = rebuild(asked.notebook, parse_values(known, dict(asked.given)))
    except (RebuildError, ValueError, OSError) as error:
        return f"{asked.notebook.name}: {error}\nThe tree is as it was."
    print(f"{asked.notebook.name}: {len(entries)} figures")


def _compare(asked: argparse.Namespace) -> str | None:
    import subprocess

    from gatescope.atlas.figure_files import compare_files
    from gatescope.atlas.manifest import compare, load_manifest, read_manifest

    def committed(name: str) -> bytes | None:
        command = ["git", "show", f"HEAD:./{name}"]
        shown = subprocess.run(command, cwd=MANIFEST.parent, capture_output=True, check=False)
        return None if shown.returncode else shown.stdout

    if (text := committed(MANIFEST.name)) is None:
        return f"no committed {MANIFEST.relative_to(ROOT).as_posix()} to compare with"
    try:
        rebuilt = load_manifest(MANIFEST)
        departures = compare(read_manifest(text.decode()), rebuilt)
    except ValueError as error:
        return f"{MANIFEST}: {error}"
    if departures := departures + compare_files(rebuilt, MANIFEST.parent, committed):
        return "\n".join(departures)
    print("every number, file and text agrees with the committed manifest's")


def _site(asked: argparse.Namespace) -> str | None:
    from gatescope.atlas.site import SiteError, write_site

    try:
        pages, notes = write_site(ROOT, asked.out)
    except (SiteError, OSError) as error:
        return f"{error}\nNo site was written; an older one is as it was."
    print(*notes, f"{asked.out / 'index.html'}: {len(pages)} pages", sep="\n")


def _train(asked: argparse.Namespace) -> str | None:
    import tomllib

    from tqdm import tqdm

    from gatescope.loaders import CachedClips
    from gatescope.trainings.descriptions import described_run
    from gatescope.trainings.features import FrozenFeatures
    from gatescope.trainings.runs import run

    try:
        description = tomllib.loads(asked.description.read_text("utf-8"))
        named = {name: getattr(asked, name) for name in ("cell", "variant", "seed", "transform", "start")}
        training = described_run(description, **named)
    except (OSError, ValueError, LookupError, TypeError) as error:
        return f"{asked.description}: {error}"
    for tensors in (training.train_clips, training.valid_clips):
        for doing, cached in (("rendering", getattr(tensors, "clips", None)), ("encoding", tensors)):
            if isinstance(cached, CachedClips | FrozenFeatures):
                with tqdm(total=len(cached), desc=doing, disable=None) as bar:
                    for count in cached.fill():
                        bar.update(count - bar.n)
    return _follow(run(training, asked.out, num_workers=asked.workers), training.config.epochs, asked.out)


def _score(asked: argparse.Namespace) -> str | None:
    from gatescope.trainings.evidence import score_held_out

    try:
        score_held_out(asked.weights, asked.out)
    except (OSError, ValueError, FloatingPointError) as error:
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
    except (OSError, ValueError, FloatingPointError) as error:
        return f"{asked.out}: {error}"
    _print_answers(asked.out)


def _fine_tune(asked: argparse.Namespace) -> str | None:
    from dataclasses import replace

    from gatescope.trainings.runs import FINE_TUNING, fine_tune

    given = {name: value for name in ("epochs", "rate") if (value := getattr(asked, name)) is not None}
    try:
        config = replace(FINE_TUNING, **given)
    except ValueError as error:
        return str(error)
    return _follow(fine_tune(asked.checkpoint, asked.clips, asked.out, config), config.epochs, asked.out)


def _follow(rows: Iterator, num_epochs: int, folder: Path) -> str | None:
    """Train to the end with a progress bar, and print the metrics."""
    from gatescope.trainings.evaluation import load_predictions
    from gatescope.trainings.progress_bar import show_progress
    from gatescope.trainings.results import read_card
    from gatescope.trainings.tasks import PREDICTIONS

    try:
        for _ in show_progress(rows, num_epochs, folder.name):
            pass
    except (OSError, ValueError, RuntimeError, FloatingPointError) as error:
        return f"{folder}: {error}"
    if (folder / PREDICTIONS).exists():
        for name, found in load_predictions(folder / PREDICTIONS).items():
            print(f"{name:>9}  top-1 {found.accuracy()}  top-5 {found.accuracy(5)}")
    else:
        print(json.dumps(read_card(folder)["metrics"], indent=1))


if __name__ == "__main__":
    sys.exit(main())
