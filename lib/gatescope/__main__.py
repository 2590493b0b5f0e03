"""The command line of gatescope: from looking over clips to training, rebuilding notebooks and a site."""

import argparse
import io
import json
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from gatescope.paths import MANIFEST, ROOT

# Each command imports what it needs: torch and Jupyter take seconds, and --help needs neither.


def main(arguments: list[str] | None = None) -> int:
    """Run a command; return its exit status, 0 only if it succeeded."""
    parser = argparse.ArgumentParser(prog="gatescope", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("doctor", help="say what is installed, found and fast here, and what to type next")
    command = commands.add_parser("rebuild", help="run one notebook; replace it and its figures if the run succeeds")
    command.add_argument("notebook", type=Path)
    set_one = {"action": "append", "nargs": 2, "default": [], "metavar": ("NAME", "VALUE")}
    command.add_argument("-p", dest="given", help="set a parameter of the notebook", **set_one)
    commands.add_parser("compare", help="compare the figures, their numbers and texts with the last commit's")
    command = commands.add_parser("verify", help="rebuild everything in a clean clone of the last commit, and compare")
    command.add_argument("notebooks", nargs="*", metavar="NOTEBOOK", help="by name, as 02_one_step; default all")
    command.add_argument("--cores", type=int, default=2, help="notebooks at once; default 2")
    command = commands.add_parser("site", help="write every notebook as a web page that works offline")
    command.add_argument("--out", type=Path, default=ROOT / "build" / "site", metavar="FOLDER")
    command = commands.add_parser("check", help="look over a folder of recordings: can it be trained on, in what time")
    command.add_argument("root", type=Path, help="Jester, IsoGD, a folder of videos or of classes, or a table of paths")
    command.add_argument("--all", action="store_true", help="look at every clip, not at a sample")
    outside = {"action": "store_true", "help": "take clips that lists and links name outside the folder"}
    command.add_argument("--outside", **outside)
    command = commands.add_parser("pack", help="write many small files of frames into few large ones")
    command.add_argument("root", type=Path, help="Jester, or IsoGD's decoded frames")
    command.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="a new folder, or one to go on with")
    command.add_argument("--outside", **outside)
    command = commands.add_parser("train", help="train a network from a description, or resume where it stopped")
    command.add_argument("description", type=Path, help="TOML file with the tables clips, network and training")
    choice = command.add_mutually_exclusive_group(required=True)
    choice.add_argument("--cell", help="cell of a gesture network: convlstm, a, b, c, d, or one of STUDY_CELLS")
    choice.add_argument("--variant", help="of poses or neurons: a name in the description's table variants")
    command.add_argument("--seed", type=int, default=0, help="of weights, order of clips and other draws; default 0")
    command.add_argument("--transform", help="train and validate on changed clips: shuffled, single or reversed")
    command.add_argument("--modality", help="rgb, depth or flow of a recorded set; default the description's")
    command.add_argument("--start", type=Path, metavar="CHECKPOINT", help="start from these weights with a new head")
    command.add_argument("--root", metavar="FOLDER", help="where the recorded set lies, if not where it is described")
    command.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder of the training")
    command.add_argument("--workers", type=int, default=0, help="processes that load clips for a GPU; default 0")
    command = commands.add_parser("clips", help="render the clips of a description, or look for its recorded set")
    command.add_argument("description", type=Path, help="TOML file as for train")
    command.add_argument("--processes", type=int, default=1, help="that render at once; default 1")
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
    command = commands.add_parser("hands", help="obtain the two networks that find hands in recordings, 8 MB")
    what = "fetch: download them once, with their licence; measure: their error on rendered people, an hour"
    command.add_argument("action", choices=["fetch", "measure"], help=what)
    command.add_argument(
        "source", type=Path, nargs="?", help="a wheel or folder that holds them: nothing is downloaded"
    )
    asked = parser.parse_args(arguments)
    runs = {"doctor": _doctor, "check": _check, "pack": _pack, "hands": _hands, "site": _site}
    runs |= {"rebuild": _rebuild, "compare": _compare, "verify": _verify}
    runs |= {"clips": _clips, "train": _train, "score": _score, "adapt": _adapt, "fine-tune": _fine_tune}
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file's name may hold bytes that are no text
    try:
        failure = runs[asked.command](asked)
        _flush()
    except KeyboardInterrupt:
        failure = "stopped"
    except OSError as error:
        # Whoever read what was printed may have left.
        failure = "" if isinstance(error, BrokenPipeError) else str(error)
        with suppress(OSError):
            _flush()
        if sys.stdout is sys.__stdout__:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if failure:
        print(failure, file=sys.stderr)
    return 0 if failure is None else 1


def _flush() -> None:
    if sys.stdout is not None:
        sys.stdout.flush()


# Each command returns None, or the reason why it failed.


def _doctor(asked: argparse.Namespace) -> str | None:
    from gatescope.atlas.doctor import FAULT, next_step, report

    facts = []
    for fact in report():
        facts.append(fact)
        print(fact, flush=True)
    print(f"next  {next_step(facts)}")
    if faults := sum(fact.mark == FAULT for fact in facts):
        return f"{faults} of {len(facts)} lines tell of a fault"


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


def _verify(asked: argparse.Namespace) -> str | None:
    from gatescope.atlas.verify import VerifyError, table, uncommitted, verify

    try:
        if changed := uncommitted(ROOT):
            print(f"the last commit is verified, without {len(changed)} files changed since: {changed[0]}", flush=True)
        found = verify(ROOT, asked.cores, asked.notebooks)
    except (VerifyError, OSError) as error:
        return f"{error}\nNothing was verified."
    print(table(found))
    return "\n".join(found.departures) or None


def _site(asked: argparse.Namespace) -> str | None:
    from gatescope.atlas.site import SiteError, write_site

    try:
        pages, notes = write_site(ROOT, asked.out)
    except (SiteError, OSError) as error:
        return f"{error}\nNo site was written; an older one is as it was."
    print(*notes, f"{asked.out / 'index.html'}: {len(pages)} pages", sep="\n")


def _hands(asked: argparse.Namespace) -> str | None:
    from gatescope.loaders.hands import HandNetworksError, fetch_networks

    try:
        if asked.action == "measure":
            return _measure_hands()
        paths = fetch_networks(asked.source)
    except (HandNetworksError, OSError) as error:
        return str(error)
    print(f"{paths[0].parent}: {', '.join(path.name for path in paths)}, with licence and notice")


def _measure_hands() -> None:
    from tqdm import tqdm

    from gatescope.measures.hand_errors import CLIPS_EACH, DIFFICULTIES, KEPT, SIZE, keep_errors, measure_errors

    rows = list(tqdm(measure_errors(), total=CLIPS_EACH * len(DIFFICULTIES), desc="measuring", disable=None))
    keep_errors(rows, size=SIZE, clips_each=CLIPS_EACH, difficulties=DIFFICULTIES)
    print(KEPT)


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
    from gatescope.trainings.descriptions import described_run

    try:
        description = read_toml(asked.description)
        # The cell decides nothing about its clips.
        named = [{"variant": name} for name in description.get("variants", ())] or [{"cell": "a"}]
        for each in named:
            _fill(described_run(description, **each, seed=0), asked.processes)
    except (OSError, ValueError, LookupError, TypeError) as error:
        return f"{asked.description}: {error}"


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
    from gatescope.trainings.descriptions import described_run, with_modality
    from gatescope.trainings.runs import run

    try:
        description = read_toml(asked.description)
        if asked.root is not None:
            description["clips"]["root"] = asked.root
        if asked.modality is not None:
            description = with_modality(description, asked.modality)
        named = {name: getattr(asked, name) for name in ("cell", "variant", "seed", "transform", "start")}
        training = described_run(description, **named)
    except (OSError, ValueError, LookupError, TypeError) as error:
        return f"{asked.description}: {error}"
    _fill(training, processes=1)
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
    from gatescope.trainings.processes import is_first
    from gatescope.trainings.progress_bar import show_progress
    from gatescope.trainings.results import read_card
    from gatescope.trainings.tasks import PREDICTIONS

    try:
        for _ in show_progress(rows, num_epochs, folder.name) if is_first() else rows:
            pass
    except (OSError, ValueError, RuntimeError, FloatingPointError) as error:
        return f"{folder}: {error}"
    if not is_first():
        return None
    if (folder / PREDICTIONS).exists():
        for name, found in load_predictions(folder / PREDICTIONS).items():
            print(f"{name:>9}  top-1 {found.accuracy()}  top-5 {found.accuracy(5)}")
    else:
        print(json.dumps(read_card(folder)["metrics"], indent=1))


if __name__ == "__main__":
    sys.exit(main())
