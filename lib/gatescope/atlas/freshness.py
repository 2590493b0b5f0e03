"""A mark of each notebook's last good run: what it was made from and what it left, told by content."""

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import nbformat

from gatescope.atlas.manifest import load_manifest
from gatescope.atlas.notebook_cells import own_cells
from gatescope.atlas.notebook_parameters import Value
from gatescope.dependencies import digest_of, training_digest
from gatescope.files import atomic_write, code_digest, sha256_of, sha256_of_files

RUNNER = ("gatescope.atlas.rebuild", "gatescope.atlas.figures")  # code that runs a notebook, whatever it imports
DATA = ("trainings", "checkpoints", "poses", "neurons", "evidence")  # folders of descriptions, weights and results


def inputs_digest(notebook: Path, given: Mapping[str, Value]) -> str:
    """Return a hash of all that decides what a notebook shows.

    This is its cells and parameters, the code behind them, the lock, and the descriptions of trainings, weights and
    results that its tree holds.
    """
    written = own_cells(nbformat.read(notebook, as_version=nbformat.NO_CONVERT))
    cells = [[cell.cell_type, cell.source, cell.metadata.get("tags", [])] for cell in written]
    # A parameter may name a file, and the file change under its name.
    paths = {name: Path(value) for name, value in given.items() if isinstance(value, str)}
    named = {name: sha256_of(path) for name, path in paths.items() if path.is_file()}
    code = _code_behind("\n".join(source for kind, source, _ in cells if kind == "code"))
    return _digest([cells, dict(given), named, code, _data_digest(notebook.parent.parent)])


def mark_rebuilt(notebook: Path, inputs: str) -> None:
    """Write the mark of a good run whose inputs had this digest."""
    with atomic_write(mark_of(notebook)) as temporary:
        temporary.write_text(json.dumps({"inputs": inputs, "outputs": _outputs_digest(notebook)}), "utf-8")


def is_current(notebook: Path, given: Mapping[str, Value]) -> bool:
    """Return True where the tree holds what this notebook, its parameters and their inputs make now."""
    mark = mark_of(notebook)
    now = {"inputs": inputs_digest(notebook, given), "outputs": _outputs_digest(notebook)}
    return mark.exists() and json.loads(mark.read_text("utf-8")) == now


def is_stale(folder: Path, description: Path) -> bool:
    """Return True where `folder` holds a training of other code or another description than now, finished or not.

    A training whose cards cannot be read is stale.
    """
    now = {**tomllib.loads(description.read_text("utf-8")), "code": training_digest()}
    for card in [*folder.glob("network.json"), *folder.glob("epoch-*.json")]:
        try:
            content = json.loads(card.read_text("utf-8"))
            data = content["data"] if card.stem == "network" else content["training"]["data"]
            if {name: data[name] for name in now} != now:
                return True
        except (ValueError, LookupError, TypeError):
            return True
    return False


def mark_of(notebook: Path) -> Path:
    """Return the path of the mark that a good run of this notebook leaves."""
    return notebook.parent.parent / "build" / "rebuilt" / f"{notebook.stem}.json"


def _code_behind(source: str) -> str:
    plain = re.sub(r"^\s*[%!].*$", "pass", source, flags=re.MULTILINE)
    try:
        return digest_of(RUNNER, plain)
    except (SyntaxError, LookupError):  # the run will say so; until then any change of the library may mend it
        return code_digest()


def _data_digest(tree: Path) -> str:
    paths = [tree / "requirements.lock", *(path for folder in DATA for path in (tree / "data" / folder).rglob("*"))]
    return _hash_of_data(tree, tuple((path, path.stat().st_mtime_ns) for path in sorted(paths) if path.is_file()))


@lru_cache(maxsize=1)  # the same 30 MB for every notebook
def _hash_of_data(tree: Path, paths_and_times: tuple[tuple[Path, int], ...]) -> str:
    return sha256_of_files([path for path, _ in paths_and_times], tree)


def _outputs_digest(notebook: Path) -> str:
    figures = notebook.parent.parent / "figures"
    manifest = load_manifest(figures / "manifest.json")
    entries = {name: entry for name, entry in manifest.items() if entry["notebook"] == notebook.stem}
    files = [figures / name for entry in entries.values() for name in entry["files"]]
    present = [path for path in [notebook, *files] if path.exists()]
    return _digest([entries, sha256_of_files(present, notebook.parent.parent)])


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
