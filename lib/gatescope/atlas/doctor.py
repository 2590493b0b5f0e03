"""What is installed here, what is found and how fast it is: one line for each fact, and what to type next.

It runs where packages are missing or broken, and so imports none but the standard library's at its top.
"""

import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from gatescope.atlas.installed import off_lock, pins, plain_name, project_table, said, wrong_with
from gatescope.paths import CACHE, DATA, FIGURES, MANIFEST, NOTEBOOKS, ROOT

OK, NOTE, FAULT = "ok", "note", "FAULT"
PIP = f"{sys.executable} -m pip install"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")  # as tests/browser looks for them
LEAST_DISK = 2e9  # bytes: clips, trainings and figures of `make figures`
LEAST_MEMORY = 4e9  # bytes
# Of a data set: its folder below data/, and what must lie in it.
DATA_SETS = {
    "Jester": ("jester", "*.csv"),
    "IsoGD": ("isogd", "*_list.txt"),
    "Human3.6M": ("human36m", "poses.npz"),
    "motion capture": ("mocap", "**/*.bvh"),
}
# The convolution of a ConvLSTM at the paper's size: from its state to all four gates.
CHANNELS, SIDE = 256, 28
GFLOP = 2 * (3 * 3 * CHANNELS) * (4 * CHANNELS) * SIDE**2 / 1e9


@dataclass(frozen=True)
class Fact:
    """One line of the report."""

    mark: str  # OK, NOTE: worth knowing, FAULT: something will not work
    text: str
    then: str = ""  # what to type

    def __str__(self) -> str:
        return f"{self.mark:<6}{self.text}"


def report() -> Iterator[Fact]:
    """Yield every fact, as it is found."""
    for check in (python, packages, browser, folders, machine, convolution, data_sets, notebooks):
        try:
            yield from check()
        # Whatever a missing or a broken package raises when it is used.
        except Exception as error:
            yield Fact(FAULT, f"{check.__name__}: could not be looked at, {said(error)}")


def next_step(facts: list[Fact]) -> str:
    """Return what to type next: against the first fault, else after the first note that says it."""
    for mark in (FAULT, NOTE):
        if steps := [fact.then for fact in facts if fact.mark == mark and fact.then]:
            return steps[0]
    return "make lab"


def python() -> Iterator[Fact]:
    """Yield Python's version and where it is."""
    least = project_table()["requires-python"].removeprefix(">=")
    what = f"Python {platform.python_version()} at {sys.executable}"
    if sys.version_info < tuple(map(int, least.split("."))):
        yield Fact(
            FAULT, f"{what}: {least} or later is needed", f"make figures PYTHON=python{least} VENV=.venv-{least}"
        )
    else:
        yield Fact(OK, what)


def packages() -> Iterator[Fact]:
    """Yield what pyproject.toml asks for and is missing, too old or broken, and what differs from the lock."""
    project, pinned = project_table(), pins()
    faults, asked = 0, {line: FAULT for line in project["dependencies"]}
    asked |= {line: NOTE for line in project["optional-dependencies"]["dev"]}  # `make test` alone needs them
    for line, mark in asked.items():
        name, least = re.fullmatch(r"([\w.-]+)(?:>=([\d.]+))?", line).groups()
        if wrong := wrong_with(name, least):
            faults += 1
            anew = f"--force-reinstall --no-deps {name}=={pinned[plain_name(name)]}"
            yield Fact(mark, f"{name} {wrong}", f"{PIP} {anew if 'broken' in wrong else '-r requirements.lock'}")
    if not faults:
        yield Fact(OK, f"all {len(asked)} packages that gatescope and its tests ask for, the compiled ones imported")
    others = off_lock()
    if others:
        shown = ", ".join(others[:5]) + (", ..." if len(others) > 5 else "")
        text = f"{len(others)} of {len(pinned)} packages are not those of requirements.lock: {shown}"
        yield Fact(NOTE, text, f"{PIP} -r requirements.lock")
    else:
        yield Fact(OK, f"all {len(pinned)} packages of requirements.lock, at its versions")


def browser() -> Iterator[Fact]:
    """Yield the browser that browser tests would start."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found:
        yield Fact(OK, f"browser for make browser-test: {found}")
    else:
        yield Fact(NOTE, f"no {', '.join(BROWSERS[:-1])} or {BROWSERS[-1]} on the path: make browser-test needs one")


def folders() -> Iterator[Fact]:
    """Yield whether folders that libraries write to can be written, the cache's size and what is free."""
    home = Path(os.path.expanduser("~"))
    for what, folder, mark, then in (
        ("home folder", home, NOTE, f"export HOME={ROOT / 'build' / 'home'}; mkdir -p $HOME"),
        ("temporary folder", Path(tempfile.gettempdir()), FAULT, "export TMPDIR=FOLDER"),
        ("repository", ROOT, FAULT, f"ls -ld {ROOT}"),
    ):
        try:
            with tempfile.TemporaryFile(dir=folder):
                yield Fact(OK, f"{what} {folder} can be written")
        except OSError as error:
            why = "; matplotlib and numba keep their caches there" if folder is home else ""
            yield Fact(mark, f"{what} {folder} cannot be written ({error.strerror}){why}", then)
    size = sum(path.stat().st_size for path in CACHE.rglob("*") if path.is_file())
    free = shutil.disk_usage(ROOT).free
    text = f"data/cache holds {size / 1e9:.1f} GB; {free / 1e9:.1f} GB of disk are free"
    if free < LEAST_DISK:
        yield Fact(FAULT, f"{text}, {LEAST_DISK / 1e9:.0f} are needed", "rm -r data/cache  # it can be computed again")
    else:
        yield Fact(OK, text)


def machine() -> Iterator[Fact]:
    """Yield memory and cores."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    mark = OK if memory >= LEAST_MEMORY else NOTE
    yield Fact(mark, f"{memory / 2**30:.1f} GiB of memory, {cores} cores; make figures CORES={cores} uses all of them")


def convolution() -> Iterator[Fact]:
    """Yield which device torch computes on, and how fast the convolution of a ConvLSTM runs there."""
    torch = import_module("torch")
    if torch.cuda.is_available():
        device, shown = "cuda", f"GPU {torch.cuda.get_device_name()}, used by trainings"
    elif torch.backends.mps.is_available():
        device, shown = "mps", "GPU of this Mac, used by trainings"
    else:
        device, shown = "cpu", f"no GPU is used; {torch.get_num_threads()} threads"
    x = torch.ones(1, CHANNELS, SIDE, SIDE, device=device)
    weight = torch.ones(4 * CHANNELS, CHANNELS, 3, 3, device=device)
    times = []
    with torch.no_grad():
        for _ in range(9):
            start = time.perf_counter()
            # One value is fetched: a GPU answers before it has computed.
            torch.nn.functional.conv2d(x, weight, padding=1)[0, 0, 0, 0].item()
            times.append(time.perf_counter() - start)
    seconds = statistics.median(times[2:])
    size = f"{CHANNELS} to {4 * CHANNELS} maps of {SIDE} x {SIDE}"
    yield Fact(OK, f"{shown}; a convolution of {size}: {seconds * 1e3:.3g} ms, {GFLOP / seconds:.0f} GFLOP/s")
    if device == "cpu" and shutil.which("nvidia-smi"):
        listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, encoding="utf-8", check=False)
        if listed.returncode == 0 and listed.stdout.strip():
            text = f"torch {torch.__version__} does not use {listed.stdout.splitlines()[0]}"
            yield Fact(NOTE, text, f"{PIP} --force-reinstall torch")


def data_sets(data: Path = DATA) -> Iterator[Fact]:
    """Yield which data sets lie below `data`, and whether the first clip of each can be read."""
    yield Fact(OK, "rendered people: nothing to get")
    for name, (folder, pattern) in DATA_SETS.items():
        if not any((data / folder).glob(pattern)):
            yield Fact(OK, f"{name}: not here; data/README.md says how to obtain it")
            continue
        try:
            yield Fact(OK, f"{name}: {_first_clip(name, data / folder)}")
        except (OSError, ValueError, LookupError) as error:
            yield Fact(FAULT, f"{name}: found in data/{folder}, but {said(error)}", f"less data/{folder}/README.md")


def notebooks() -> Iterator[Fact]:
    """Yield whether the figures are the manifest's, and which notebooks were run here as they stand."""
    from gatescope.atlas.freshness import is_current, mark_of
    from gatescope.atlas.manifest import load_manifest
    from gatescope.files import sha256_of

    recorded = {name: digest for each in load_manifest(MANIFEST).values() for name, digest in each["files"].items()}
    paths = {name: FIGURES / name for name in recorded}
    odd = [name for name, path in paths.items() if not path.is_file() or sha256_of(path) != recorded[name]]
    if odd:
        yield Fact(
            NOTE, f"{len(odd)} of {len(recorded)} files of figures are not as recorded: {odd[0]}", "make figures"
        )
    else:
        yield Fact(OK, f"all {len(recorded)} files of figures are as figures/manifest.json records them")
    every = sorted(NOTEBOOKS.glob("[0-9]*.ipynb"))
    run = [path for path in every if mark_of(path).exists()]
    old = [path.stem for path in run if not is_current(path, {})]
    if not run:
        yield Fact(OK, f"none of {len(every)} notebooks was run here; they hold the outputs they came with")
    elif old:
        yield Fact(
            NOTE, f"{len(old)} of {len(every)} notebooks changed since they ran: {', '.join(old)}", "make figures"
        )
    else:
        yield Fact(OK, f"{len(run)} of {len(every)} notebooks were run here, and nothing behind them has changed since")


def _first_clip(name: str, folder: Path) -> str:
    from gatescope.loaders import Human36M, read_bvh
    from gatescope.loaders.datasets import recorded

    if name == "motion capture":
        paths = sorted(folder.glob("**/*.bvh"))
        return f"{len(paths)} BVH files, the first of {len(read_bvh(paths[0]).joints)} frames"
    clips = Human36M(folder, "test") if name == "Human3.6M" else recorded(folder)
    if not len(clips):
        where, why = clips.skipped[0]
        raise ValueError(f"no clip of its list is usable: {where}: {why}")
    return (
        f"{len(clips)} clips for validation, {len(clips.skipped)} left out; the first has {len(clips[0].frames)} frames"
    )
