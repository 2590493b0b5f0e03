"""A mark of each notebook's last good run: what it was made from and what it left, told by content."""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import nbformat

from gatescope.atlas.manifest import load_manifest
from gatescope.atlas.notebook_cells import own_cells
from gatescope.atlas.notebook_parameters import Value
from gatescope.dependencies import digest_of, training_digest
from gatescope.files import atomic_write, code_digest, files_in, sha256_of_files
from gatescope.formats.facts import read_json, read_toml
from gatescope.paths import ROOT_FILE

RUNNER = ("gatescope.atlas.rebuild", "gatescope.atlas.figures")  # code that runs a notebook, whatever it imports
DATA = ("trainings", "checkpoints", "poses", "neurons", "evidence")  # folders of descriptions, weights and results


def inputs_digest(notebook: Path, given: Mapping[str, Value], data: str | None = None) -> str:
    """Return a hash of all that decides what a notebook shows.

    This is its cells and parameters, the files and folders that these name, the code behind them, the lock, and the
    descriptions of trainings, weights and results that its tree holds; the lists of the recorded set of the training
    that it names; and of a reader's clips, whether hands can be found in them. `data` is the `data_digest` of its
    tree, where the caller has it.
    """
    tree = notebook.parent.parent
    written = own_cells(nbformat.read(notebook, as_version=nbformat.NO_CONVERT))
    cells = [[cell.cell_type, cell.source, cell.metadata.get("tags", [])] for cell in written]
    texts = [text for value in given.values() for text in (value if isinstance(value, list) else [value])]
    named = {text: _contents(tree, text) for text in texts if isinstance(text, str)}
    if any(named.values()):
        from gatescope.loaders.hands.networks import has_networks  # torch takes seconds, as in `_listed`

        named["hands"] = has_networks()  # a reader's clips have theirs measured from then on
    if listed := _lists_behind(tree, given.get("training")):
        named["lists"] = listed
    code = _code_behind("\n".join(source for kind, source, _ in cells if kind == "code"))
    return _digest([cells, dict(given), named, code, data or data_digest(tree)])


def mark_rebuilt(notebook: Path, inputs: str) -> None:
    """Write the mark of a good run whose inputs had this digest."""
    with atomic_write(mark_of(notebook)) as temporary:
        temporary.write_text(json.dumps({"inputs": inputs, "outputs": _outputs_digest(notebook)}), "utf-8")


def is_current(notebook: Path, given: Mapping[str, Value], data: str | None = None) -> bool:
    """Return True where the tree holds what this notebook, its parameters and their inputs make now.

    `data` is as for `inputs_digest`.
    """
    mark = mark_of(notebook)
    now = {"inputs": inputs_digest(notebook, given, data), "outputs": _outputs_digest(notebook)}
    try:
        return read_json(mark) == now
    except (OSError, ValueError):
        return False


def is_stale(folder: Path, description: Path, modality: str | None = None) -> bool:
    """Return True where `folder` holds a training of other code or another description than now, finished or not.

    So is one on a recorded set whose lists name other clips or labels now, and one whose cards cannot be read. Where
    the set lies decides nothing: its lists are looked up where the training found them. With `modality` it is one on
    that modality of the description's set.
    """
    now = {**read_toml(description), "code": training_digest()}
    if modality is not None:
        from gatescope.trainings.descriptions import with_modality  # as in `_listed`

        with suppress(LookupError):  # a word that is none, of a name that somebody chose
            now = with_modality(now, modality)
    if isinstance(now.get("clips"), dict) and (own := folder / ROOT_FILE).is_file():
        now["clips"] = {**now["clips"], "root": os.fsdecode(own.read_bytes())}
    if listed := _listed(now):
        now["listed_sha256"] = listed
    if isinstance(clips := now.get("clips"), dict):
        now["clips"] = {name: value for name, value in clips.items() if name != "root"}
    for card in [*folder.glob("network.json"), *folder.glob("epoch-*.json")]:
        try:
            content = read_json(card)
            data = content["data"] if card.stem == "network" else content["training"]["data"]
            if {name: data[name] for name in now} != now:
                return True
        except (OSError, ValueError, LookupError, TypeError):
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


def _contents(tree: Path, text: str) -> str | None:
    """Return a hash of the file or folder that a parameter names, None if it names none that can be read.

    The file may change under its name, and so may a frame in a folder, a clip that a table lists, and the card of
    weights.
    """
    try:
        named = Path(os.path.abspath(tree / Path(text).expanduser()))
        path = Path(os.path.realpath(named))
        # An empty name stands for no clip, and a tree does not depend on all of itself.
        if tree.resolve().is_relative_to(path):
            return None
        others = [each for each in _read_with(named) if each.exists()]
        return _digest([_hash_of(each, _with_times(files_in(each))) for each in (path, *others)])
    except (OSError, ValueError, RuntimeError):
        return None


def _read_with(path: Path) -> list[Path]:
    """Return what is read together with a file: the clips of a table, or the card of weights."""
    if path.suffix == ".safetensors":
        return [path.with_suffix(".json")]
    if path.suffix.lower() not in (".csv", ".tsv", ".txt"):
        return []
    from gatescope.loaders.folders import find_clips  # as in `_listed`

    try:
        listed = [entry.path for _, entry in find_clips(path, strict=False)[0]]
    except (OSError, ValueError):
        return []  # a text of another kind
    return [each for each in listed if each.resolve().is_relative_to(path.parent.resolve())]  # no others are read


def _lists_behind(tree: Path, training: Value | None) -> str | None:
    try:
        return _listed(read_toml(tree / "data" / "trainings" / f"{training}.toml"), tree) if training else None
    except (OSError, ValueError):
        return None  # the run will say so


def _listed(description: Mapping[str, Any], tree: Path = Path()) -> str | None:
    """Return a hash of the lists of a description's recorded set, if it names one that is here."""
    clips = description.get("clips")
    if not isinstance(clips, dict) or not isinstance(clips.get("root"), str):
        return None
    from gatescope.trainings.recorded_sets import described_lists  # torch takes seconds, and few look here

    return described_lists({**clips, "root": tree / clips["root"]})


def data_digest(tree: Path) -> str:
    """Return a hash of the lock, the descriptions of trainings, and the weights and results that a tree holds."""
    folders = [tree / "data" / folder for folder in DATA]
    files = [path for folder in folders if folder.is_dir() for path in files_in(folder)]
    lock = [path for path in [tree / "requirements.lock"] if path.is_file()]
    return _hash_of(tree, _with_times([*lock, *files]))


def _with_times(paths: list[Path]) -> tuple[tuple[Path, int, int], ...]:
    return tuple((path, about.st_mtime_ns, about.st_size) for path in paths for about in [path.stat()])


@lru_cache(maxsize=8)  # the same data and clips for every notebook
def _hash_of(root: Path, files: tuple[tuple[Path, int, int], ...]) -> str:
    return sha256_of_files([path for path, *_ in files], root)


def _outputs_digest(notebook: Path) -> str:
    figures = notebook.parent.parent / "figures"
    manifest = load_manifest(figures / "manifest.json")
    entries = {name: entry for name, entry in manifest.items() if entry["notebook"] == notebook.stem}
    files = [figures / name for entry in entries.values() for name in entry["files"]]
    present = [path for path in [notebook, *files] if path.exists()]
    return _digest([entries, sha256_of_files(present, notebook.parent.parent)])


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
