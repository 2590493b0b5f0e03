"""What a notebook's last good run was made from and left, by content, and whether both still stand."""

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat

from gatescope.atlas.manifest import load_manifest
from gatescope.atlas.notebook_parameters import Value
from gatescope.dependencies import digest_of, imported, training_digest
from gatescope.files import atomic_write, sha256_of, sha256_of_files

RUNNER = ("gatescope.atlas.rebuild", "gatescope.atlas.figures")  # what runs a notebook, whatever it imports
INJECTED = "injected-parameters"  # papermill's tag for the cell it puts in


def data_files(notebook: Path) -> list[Path]:
    """The lock, the descriptions of trainings and the weights that a notebook's tree holds."""
    tree = notebook.parent.parent
    found = [tree / "requirements.lock"]
    for folder in ("trainings", "checkpoints", "poses", "neurons"):
        found += (tree / "data" / folder).rglob("*")
    return sorted(path for path in found if path.is_file())


def inputs_digest(notebook: Path, given: Mapping[str, Value]) -> str:
    """A hash of all that decides what a notebook shows.

    Its cells and parameters, the code behind them, the lock, descriptions of trainings and weights.
    """
    node = nbformat.read(notebook, as_version=nbformat.NO_CONVERT)
    cells = [
        [cell.cell_type, cell.source, cell.metadata.get("tags", [])]
        for cell in node.cells
        if INJECTED not in cell.metadata.get("tags", [])
    ]
    # A parameter may name a file, and the file change under its name.
    named = {
        name: sha256_of(Path(value))
        for name, value in given.items()
        if isinstance(value, str) and Path(value).is_file()
    }
    data = sha256_of_files(data_files(notebook), notebook.parent.parent)
    source = "\n".join(
        re.sub(r"^\s*[%!].*$", "pass", cell, flags=re.MULTILINE) for kind, cell, _ in cells if kind == "code"
    )
    code = digest_of([*RUNNER, *imported(source)])
    return _digest([cells, dict(given), named, code, data])


def mark_rebuilt(notebook: Path, inputs: str) -> None:
    """Leave the mark of a good run, made from `inputs`."""
    with atomic_write(mark_of(notebook)) as temporary:
        temporary.write_text(json.dumps({"inputs": inputs, "outputs": _outputs_digest(notebook)}))


def is_current(notebook: Path, given: Mapping[str, Value]) -> bool:
    """Whether the tree holds what this notebook makes, with these parameters, of what now decides it."""
    mark = mark_of(notebook)
    now = {"inputs": inputs_digest(notebook, given), "outputs": _outputs_digest(notebook)}
    return mark.exists() and json.loads(mark.read_text()) == now


def is_stale(folder: Path, description: Path) -> bool:
    """Whether `folder` holds a training, finished or not, of other code or another description than now.

    One whose cards cannot be read counts as such.
    """
    now = {**tomllib.loads(description.read_text()), "code": training_digest()}
    for card in [*folder.glob("network.json"), *folder.glob("epoch-*.json")]:
        try:
            content = json.loads(card.read_text())
            data = content["data"] if card.stem == "network" else content["training"]["data"]
            if {name: data[name] for name in now} != now:
                return True
        except (ValueError, LookupError, TypeError):
            return True
    return False


def mark_of(notebook: Path) -> Path:
    """Where a good run of this notebook leaves its mark."""
    return notebook.parent.parent / "build" / "rebuilt" / f"{notebook.stem}.json"


def _outputs_digest(notebook: Path) -> str:
    figures = notebook.parent.parent / "figures"
    manifest = load_manifest(figures / "manifest.json")
    entries = {name: entry for name, entry in manifest.items() if entry["notebook"] == notebook.stem}
    files = [figures / name for entry in entries.values() for name in entry["files"]]
    present = [path for path in [notebook, *files] if path.exists()]
    return _digest([entries, sha256_of_files(present, notebook.parent.parent)])


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
