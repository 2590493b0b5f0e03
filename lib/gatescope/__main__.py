"""The command line: gatescope train, fine-tune, rebuild, compare, site."""

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
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser(
        "rebuild", help="run one notebook; replace it and its figures only if the run succeeds"
    )
    command.add_argument("notebook", type=Path)
    set_one = {"action": "append", "nargs": 2, "default": [], "metavar": ("NAME", "VALUE")}
    command.add_argument("-p", dest="given", help="set a parameter of the notebook", **set_one)
    command.set_defaults(run=_rebuild)
    command = commands.add_parser("compare", help="compare the figures' numbers with the last commit's")
    command.set_defaults(run=_compare)
    command = commands.add_parser("site", help="write every notebook as a web page that works offline")
    command.add_argument("--out", type=Path, default=ROOT / "build" / "site", metavar="FOLDER")
    command.set_defaults(run=_site)
    command = commands.add_parser("train", help="train a network from a description, or resume where it stopped")
    command.add_argument("description", type=Path, help="TOML file with the tables clips, network and training")
    choice = command.add_mutually_exclusive_group(required=True)
    choice.add_argument(
        "--cell", help="recurrent cell of a gesture network: convlstm, a, b, c, d, or one of STUDY_CELLS"
    )
    choice.add_argument("--variant", help="of poses or neurons: a name in the description's table variants")
    command.add_argument(
        "--seed", type=int, default=0, help="of weights, order of clips and all other draws; default 0"
    )
    command.add_argument("--transform", help="train and validate on changed clips: shuffled, single or reversed")
    command.add_argument("--start", type=Path, metavar="CHECKPOINT", help="start from these weights with a new head")
    command.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder of the training")
    command.add_argument("--workers", type=int, default=0, help="processes that load clips for a GPU; default 0")
    command.set_defaults(run=_train)
    command = commands.add_parser("fine-tune", help="train a checkpoint further on your own clips")
    command.add_argument("checkpoint", type=Path, help="weights that network.save wrote: .safetensors")
    command.add_argument("clips", type=Path, help="folder with one sub-folder of clips per class")
    command.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder of the training")
    command.add_argument("--epochs", type=int, help="passes over the clips; default 20")
    command.add_argument("--rate", type=float, help="highest learning rate; default 0.001")
    command.set_defaults(run=_fine_tune)
    asked = parser.parse_args(arguments)
    return asked.run(asked)


def _rebuild(asked: argparse.Namespace) -> int:
    # jsonschema's grammar of international addresses takes a second to parse. No notebook holds one, and without the
    # grammar jsonschema skips that check.
    sys.modules["rfc3987_syntax"] = None
    import nbformat

    from gatescope.atlas.notebook_parameters import ParameterError, parse_values, read_parameters
    from gatescope.atlas.rebuild import RebuildError, rebuild

    try:
        known = read_parameters(nbformat.read(asked.notebook, as_version=nbformat.NO_CONVERT))
        entries = rebuild(asked.notebook, parse_values(known, dict(asked.given)))
    except (RebuildError, ParameterError, OSError) as error:
        print(f"{asked.notebook.name}: {error}\nThe tree is as it was.", file=sys.stderr)
        return 1
    print(f"{asked.notebook.name}: {len(entries)} figures")
    return 0


def _compare(asked: argparse.Namespace) -> int:
    import subprocess

    from gatescope.atlas.manifest import compare, load_manifest, read_manifest

    name = MANIFEST.relative_to(ROOT).as_posix()
    committed = subprocess.run(
        ["git", "-C", str(ROOT), "show", f"HEAD:{name}"], capture_output=True, text=True, check=False
    )
    if committed.returncode:
        print(f"no committed {name} to compare with: {committed.stderr.strip()}", file=sys.stderr)
        return 1
    departures = compare(read_manifest(committed.stdout), load_manifest(MANIFEST))
    for departure in departures:
        print(departure, file=sys.stderr)
    if not departures:
        print("every number agrees with the committed manifest's")
    return 1 if departures else 0


def _site(asked: argparse.Namespace) -> int:
    from gatescope.atlas.site import SiteError, write_site

    try:
        pages = write_site(ROOT, asked.out)
    except (SiteError, OSError) as error:
        print(f"{error}\nNo site was written; an older one is as it was.", file=sys.stderr)
        return 1
    print(f"{asked.out / 'index.html'}: {len(pages)} pages")
    return 0


def _train(asked: argparse.Namespace) -> int:
    import tomllib

    from tqdm import tqdm

    from gatescope.loaders import CachedClips
    from gatescope.trainings.descriptions import described_run
    from gatescope.trainings.features import FrozenFeatures
    from gatescope.trainings.runs import run

    try:
        description = tomllib.loads(asked.description.read_text())
        named = {name: getattr(asked, name) for name in ("cell", "variant", "seed", "transform", "start")}
        training = described_run(description, **named)
    except (OSError, ValueError, LookupError, TypeError) as error:
        print(f"{asked.description}: {error}", file=sys.stderr)
        return 1
    for tensors in (training.train_clips, training.valid_clips):
        for doing, cached in (("rendering", getattr(tensors, "clips", None)), ("encoding", tensors)):
            if isinstance(cached, CachedClips | FrozenFeatures):
                with tqdm(total=len(cached), desc=doing, disable=None) as bar:
                    for count in cached.fill():
                        bar.update(count - bar.n)
    return _follow(run(training, asked.out, num_workers=asked.workers), training.config.epochs, asked.out)


def _fine_tune(asked: argparse.Namespace) -> int:
    from dataclasses import replace

    from gatescope.trainings.runs import FINE_TUNING, fine_tune

    given = {name: value for name in ("epochs", "rate") if (value := getattr(asked, name)) is not None}
    try:
        config = replace(FINE_TUNING, **given)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    return _follow(fine_tune(asked.checkpoint, asked.clips, asked.out, config), config.epochs, asked.out)


def _follow(rows: Iterator, num_epochs: int, folder: Path) -> int:
    """Train to the end with a progress bar, and print the metrics; 1 with the reason if it fails."""
    from gatescope.trainings.evaluation import load_predictions
    from gatescope.trainings.progress import show_progress
    from gatescope.trainings.results import read_card
    from gatescope.trainings.tasks import PREDICTIONS

    try:
        for _ in show_progress(rows, num_epochs, folder.name):
            pass
    except (OSError, ValueError, RuntimeError, FloatingPointError) as error:
        print(f"{folder}: {error}", file=sys.stderr)
        return 1
    if not (folder / PREDICTIONS).exists():
        print(json.dumps(read_card(folder)["metrics"], indent=1))
        return 0
    for name, found in load_predictions(folder / PREDICTIONS).items():
        print(f"{name:>9}  top-1 {found.accuracy()}  top-5 {found.accuracy(5)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
