"""Rebuild everything in a clean clone of the last commit, and compare what comes out with what that commit holds."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gatescope.atlas.freshness import mark_of
from gatescope.atlas.installed import off_lock
from gatescope.atlas.manifest import load_manifest, read_manifest
from gatescope.atlas.run_folder import folder_of_a_run
from gatescope.files import atomic_write

VERIFIED = "figures/verified.json"  # the record of the last run that was whole and found no departure
NOT_COMPARED = "measured"  # kind of numbers
# What a git hook or a reader's shell may set, so that git looks into another repository than that of its folder.
ELSEWHERE = {f"GIT_{name}" for name in ("DIR", "WORK_TREE", "INDEX_FILE", "COMMON_DIR", "OBJECT_DIRECTORY")}
QUIET = ["--quiet", "rules", "progress", "host", "reason"]


class VerifyError(RuntimeError):
    """Raised where nothing could be verified, with the reason."""


@dataclass(frozen=True)
class Row:
    """What became of one notebook."""

    figures: int
    numbers: int  # that were compared
    departures: list[str]  # empty where all agrees
    files: int  # the notebook and its figures
    same_files: int  # of these, to the byte, which another processor need not give
    seconds: int


@dataclass(frozen=True)
class Verified:
    """What became of all notebooks asked for."""

    commit: str
    python: str
    torch: str
    seconds: int
    rows: dict[str, Row]  # by notebook
    others: list[str]  # departures that are no notebook's

    @property
    def departures(self) -> list[str]:
        """Every departure from the commit."""
        return [*self.others, *(line for row in self.rows.values() for line in row.departures)]


def verify(tree: Path, cores: int = 2, notebooks: Collection[str] = ()) -> Verified:
    """Rebuild the notebooks, by default all, in a clone of the tree's last commit below TREE/build, and compare them.

    Trainings and clips are made anew as well: the clone has no cache. It runs in this environment, which must hold what
    the lock pins. The record of a whole run without a departure is kept in TREE/figures/verified.json.

    Raises VerifyError without a commit, such a notebook or the environment; OSError for a disk that failed.
    """
    if others := [line for line in off_lock() if not line.startswith("torch ")]:
        raise VerifyError(f"this environment is not the lock's: {', '.join(others)}; `make .venv/installed` mends it")
    (tree / "build").mkdir(exist_ok=True)
    start = time.monotonic()
    with folder_of_a_run(tree / "build", "verify-") as folder:
        clone = folder / "clone"
        _git(tree, "clone", "--quiet", str(tree), str(clone))
        known = sorted(path.stem for path in (clone / "notebooks").glob("[0-9]*.ipynb"))
        if unknown := set(notebooks) - set(known):
            raise VerifyError(f"no notebook {', '.join(sorted(unknown))} in the last commit; it has {', '.join(known)}")
        asked = [name for name in known if name in notebooks or not notebooks]
        targets = [f"build/rebuilt/{name}.json" for name in asked]
        _run(clone, "snakemake", "--cores", str(cores), *QUIET, "--nolock", "--keep-going", *targets)
        compared = _run(clone, "gatescope", "compare", stderr=subprocess.STDOUT, stdout=subprocess.PIPE)
        lines = compared.stdout.splitlines() if compared.returncode else []
        rows, others = _rows(clone, asked, lines)
        if compared.returncode and not lines:
            others = [f"gatescope compare ended with {compared.returncode} and without a word"]
        found = Verified(
            commit=_git(clone, "rev-parse", "HEAD").strip(),
            python=".".join(map(str, sys.version_info[:3])),
            torch=version("torch"),
            seconds=round(time.monotonic() - start),
            rows=rows,
            others=others,
        )
    if asked == known and not found.departures:
        keep(found, tree)
    return found


def keep(found: Verified, tree: Path) -> None:
    """Write the record that README's table is made from."""
    with atomic_write(tree / VERIFIED) as temporary:
        temporary.write_text(json.dumps(asdict(found), indent=1) + "\n", "utf-8")


def load_verified(path: Path) -> Verified:
    """Return the record that `verify` kept."""
    content = json.loads(path.read_text("utf-8"))
    return Verified(**content | {"rows": {name: Row(**row) for name, row in content["rows"].items()}})


def table(found: Verified) -> str:
    """Return the table that README shows, in Markdown."""
    lines = [
        f"Commit {found.commit[:10]}, Python {found.python}, torch {found.torch}: {found.seconds / 60:.0f} minutes.",
        "",
        "| notebook | figures | numbers compared | agree | files the same to the byte | seconds |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in found.rows.items():
        agree = f"{len(row.departures)} departures" if row.departures else "all"
        same = f"{row.same_files} of {row.files}"
        lines.append(f"| {name} | {row.figures} | {row.numbers} | {agree} | {same} | {row.seconds} |")
    return "\n".join(lines)


def uncommitted(tree: Path) -> list[str]:
    """Return the files of a tree that are not as its last commit has them."""
    return [line[3:] for line in _git(tree, "status", "--porcelain").splitlines()]


def _rows(clone: Path, notebooks: Sequence[str], lines: Sequence[str]) -> tuple[dict[str, Row], list[str]]:
    """Each notebook's row, and the departures that belong to none."""
    committed = read_manifest(_git(clone, "show", "HEAD:figures/manifest.json"))
    rebuilt = load_manifest(clone / "figures" / "manifest.json")
    # A line begins with the name of its figure.
    owner = {figure: entry["notebook"] for figure, entry in (committed | rebuilt).items()}
    owners = [owner.get(line.partition(":")[0]) for line in lines]
    changed = set(uncommitted(clone))
    rows = {}
    for name in notebooks:
        entries = [entry for entry in rebuilt.values() if entry["notebook"] == name]
        files = [f"notebooks/{name}.ipynb", *(f"figures/{file}" for entry in entries for file in entry["files"])]
        ran = mark_of(clone / "notebooks" / f"{name}.ipynb").exists()
        rows[name] = Row(
            figures=len(entries),
            numbers=sum(each["kind"] != NOT_COMPARED for entry in entries for each in entry["numbers"].values()),
            departures=[line for line, whose in zip(lines, owners, strict=True) if whose == name]
            + ([] if ran else [f"{name}: the notebook did not come to its end"]),
            files=len(files),
            same_files=len(set(files) - changed) if ran else 0,
            seconds=_seconds(clone / "build" / "times" / f"{name}.tsv"),
        )
    return rows, [line for line, whose in zip(lines, owners, strict=True) if whose not in rows]


def _seconds(times: Path) -> int:
    """The seconds in what Snakemake's `benchmark` left: a row of names and one of values, the first in seconds."""
    return round(float(times.read_text("utf-8").splitlines()[1].split("\t")[0])) if times.exists() else 0


def _run(clone: Path, module: str, *words: str, **how: Any) -> subprocess.CompletedProcess:
    """Run a module in the clone, on the clone's library."""
    env: Mapping[str, str] = {name: value for name, value in os.environ.items() if name != "GATESCOPE_CLIP"}
    command = [sys.executable, "-m", module, *words]
    env = {**env, "PYTHONPATH": str(clone / "lib")}
    return subprocess.run(command, cwd=clone, env=env, encoding="utf-8", check=False, **how)


def git(tree: Path, *words: str) -> bytes:
    """Return what git prints in a tree, whatever repository a hook or a shell of the reader's names beside it.

    Raises VerifyError where git is missing or refuses, in its own words.
    """
    env = {name: value for name, value in os.environ.items() if name not in ELSEWHERE}
    try:
        done = subprocess.run(["git", *words], cwd=tree, env=env, capture_output=True, check=False)
    except FileNotFoundError as error:
        raise VerifyError("git is not on the path: install it; what was committed is read by it") from error
    if done.returncode:
        raise VerifyError(f"git {words[0]} failed in {tree}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def _git(tree: Path, *words: str) -> str:
    return git(tree, *words).decode()
