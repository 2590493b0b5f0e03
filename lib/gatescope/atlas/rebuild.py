"""Run one notebook strictly: its files reach the tree only when every cell ran and every figure is there.

A run of TREE/notebooks/NAME.ipynb writes the notebook itself, its figures to TREE/figures/ and their entries to the
manifest there; TREE/build/ holds temporary files.
"""

import itertools
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
import nbformat
import papermill
from filelock import FileLock
from jupyter_client.manager import AsyncKernelManager

from gatescope.atlas.freshness import inputs_digest, mark_rebuilt
from gatescope.atlas.manifest import load_manifest, manifest_text
from gatescope.atlas.notebook_cells import RebuildError, check_every_cell_ran, read_source, without_traces
from gatescope.atlas.notebook_parameters import Value, check_values, read_parameters
from gatescope.atlas.publish import publish, recover
from gatescope.atlas.run_folder import folder_of_a_run
from gatescope.atlas.strict_kernel import FAILURES
from gatescope.atlas.strict_kernel import NAME as WATCH
from gatescope.files import code_digest, sha256_of
from gatescope.paths import FINISHED, RUN_FIGURES

# The bits of a sum depend on the number of threads, the order of a set on the seed of its hash.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
# A reader's own settings and start-up files are no part of a notebook.
DEFAULTS = {"MATPLOTLIBRC": str(Path(matplotlib.get_data_path(), "matplotlibrc")), "PYTHONSTARTUP": ""}
PINNED = ONE_THREAD | {"PYTHONHASHSEED": "0"} | DEFAULTS
# The kernel's own settings; a command after ! that fails is an error.
KERNEL = [
    "--log-level=CRITICAL",
    f"--IPKernelApp.extra_extensions={WATCH}",
    "--InteractiveShell.system_raise_on_error=True",
]
CELL_TIMEOUT_S = 1800
MESSAGE_TIMEOUT_S = 120
STARTS = 3  # tries to start a kernel: two that start at once can pick the same port


class PinnedKernelManager(AsyncKernelManager):
    """A kernel manager that pins threads and the hash seed, which decide the bits of a result, and settings."""

    async def _async_start_kernel(self, **options: Any) -> None:
        # Without a home to write to, matplotlib warns: here, where it then names another folder for the kernel too.
        matplotlib.get_configdir(), matplotlib.get_cachedir()
        own = {"IPYTHONDIR": os.path.abspath(".ipython")}  # in the run's own folder
        await super()._async_start_kernel(env={**os.environ, **PINNED, **own}, **options)

    start_kernel = _async_start_kernel


def rebuild(notebook: Path, given: Mapping[str, object] | None = None) -> dict[str, Any]:
    """Run a notebook with the `given` parameters, and return its new entries of the manifest.

    Raises ParameterError for a parameter the notebook does not have, RebuildError for a run that failed and OSError
    for a disk that did; after any of them the tree is unchanged.
    """
    notebook = Path(os.path.realpath(notebook))
    tree = notebook.parent.parent
    if notebook.parent.name != "notebooks":
        raise RebuildError(
            f"needed a notebook in a folder named notebooks, beside which its figures are written; got {notebook}"
        )
    build = tree / "build"
    with _lock(build):
        recover(build / "undo")
    before = sha256_of(notebook)
    source = read_source(notebook)
    parameters = read_parameters(source)
    given = check_values(parameters, given or {})
    values = {name: parameter.default for name, parameter in parameters.items()} | given
    inputs = inputs_digest(notebook, given)
    with folder_of_a_run(build, f"{notebook.stem}-") as stage:
        executed = _execute(source, given, stage)
        check_every_cell_ran(executed)
        _check_nothing_else_failed(executed, stage / FAILURES)
        made_by = {"notebook": notebook.stem, "parameters": values, "code": code_digest()}
        entries = {name: entry | made_by for name, entry in _collect(stage, notebook.stem).items()}
        nbformat.write(without_traces(executed), stage / notebook.name)
        with _lock(build):
            if sha256_of(notebook) != before:
                raise RebuildError(f"{notebook.name} was changed while it ran; nothing was written")
            publish(_moves(tree, notebook, stage, entries), build / "undo")
            mark_rebuilt(notebook, inputs)
    return entries


def _execute(source: nbformat.NotebookNode, given: Mapping[str, Value], stage: Path) -> nbformat.NotebookNode:
    started: list[int] = []
    for start in itertools.count(1):
        try:
            return papermill.execute_notebook(
                source,
                None,
                parameters=dict(given),
                cwd=stage,
                progress_bar=False,
                # Written once, at the end, by `rebuild`.
                request_save_on_cell_execute=False,
                execution_timeout=CELL_TIMEOUT_S,
                iopub_timeout=MESSAGE_TIMEOUT_S,
                kernel_manager_class=PinnedKernelManager,
                coalesce_streams=True,
                extra_arguments=[*KERNEL],
                store_widget_state=False,
                on_cell_start=lambda cell, cell_index: started.append(cell_index),
            )
        # Papermill passes on whatever nbclient, the kernel's channels and the cells raise.
        except Exception as error:
            if started or start == STARTS:
                where = f"cell {started[-1] + 1}" if started else "the kernel's start"
                raise RebuildError(f"{where} failed: {str(error).strip() or type(error).__name__}") from error


def _check_nothing_else_failed(executed: nbformat.NotebookNode, failures: Path) -> None:
    if not failures.exists():
        raise RebuildError(f"its kernel did not load {WATCH}: install this library where the kernel finds it")
    numbers = {cell.get("execution_count"): number for number, cell in enumerate(executed.cells, 1)}
    found = [json.loads(line) for line in failures.read_text("utf-8").splitlines()]
    if found:
        raise RebuildError("\n".join(f"cell {numbers.get(count, '?')}: {what}" for count, what in found))


def _collect(stage: Path, stem: str) -> dict[str, dict[str, Any]]:
    folder = stage / RUN_FIGURES
    if not (folder / FINISHED).exists():
        raise RebuildError("the notebook ended without finish_notebook() in its last cell")
    entries = json.loads((folder / FINISHED).read_text("utf-8"))
    recorded = {name: digest for entry in entries.values() for name, digest in entry["files"].items()}
    found = {path.name: sha256_of(path) for path in folder.iterdir() if path.suffix != ".json"}
    if recorded != found:
        odd = sorted(name for name in recorded | found if recorded.get(name) != found.get(name))
        raise RebuildError(f"changed after finish_notebook(), or not saved by save_figure(): {', '.join(odd)}")
    prefix = f"{stem.split('_')[0]}-"
    for name in entries:
        if not name.startswith(prefix):
            raise RebuildError(f"figure {name} must be named {prefix}..., after its notebook {stem}")
    return entries


def _moves(tree: Path, notebook: Path, stage: Path, entries: dict[str, dict]) -> dict[Path, Path | None]:
    figures = tree / "figures"
    manifest = load_manifest(figures / "manifest.json")
    old = {name: entry for name, entry in manifest.items() if entry["notebook"] == notebook.stem}
    moves: dict[Path, Path | None] = {figures / name: None for entry in old.values() for name in entry["files"]}
    moves |= {figures / name: stage / RUN_FIGURES / name for entry in entries.values() for name in entry["files"]}
    others = {name: entry for name, entry in manifest.items() if name not in old}
    for name in others.keys() & entries.keys():
        raise RebuildError(f"figure {name} is {others[name]['notebook']}'s already")
    (stage / "manifest.json").write_text(manifest_text(others | entries), "utf-8")
    # The manifest last: until it is written, its hashes show that the figures do not belong to it.
    return moves | {notebook: stage / notebook.name, figures / "manifest.json": stage / "manifest.json"}


def _lock(build: Path) -> FileLock:
    build.mkdir(exist_ok=True)
    return FileLock(build / "tree.lock")
