"""Who may import whom, and how long a module may grow."""

import ast
from pathlib import Path

import pytest

LIBRARY = Path(__file__).resolve().parent.parent / "lib" / "gatescope"
MODULES = {".".join(path.relative_to(LIBRARY).with_suffix("").parts): path for path in sorted(LIBRARY.rglob("*.py"))}
LONGEST = 350  # lines

# What every layer may use: files, names, records, facts.
GROUND = {"files", "paths", "manifest", "parameters", "means", "skeleton", "pose_errors", "specialisation"}
MAY_IMPORT = {
    "loaders": set(),
    "models": set(),
    "recordings": {"models"},
    "pictures": {"recordings"},
    # The explorer opens clips and networks as the study does, by the same names; nothing below knows of it.
    **dict.fromkeys(
        [f"pictures.{name}" for name in ("explorer", "exploration", "explaining", "live", "incoming")],
        {"recordings", "loaders", "models", "study"},
    ),
    "recipes": {"evaluation"},
    "evaluation": set(),
    "checkpoints": {"models"},
    "train": {"loaders", "models", "recipes", "evaluation", "checkpoints"},
    "progress": {"train"},
    "results": {"models", "evaluation", "train"},
    "study": {"loaders", "models", "recordings"},
    "pose_task": {"loaders", "models", "train", "recipes"},
    "features": {"loaders", "models"},
    "neuron_task": {"loaders", "models", "train", "recipes", "udl"},
    "descriptions": {"loaders", "models", "recipes", "features", "pose_task", "neuron_task"},
    "runs": {"loaders", "models", "train", "recipes", "evaluation", "checkpoints", "results"},
    "udl": set(),
    "freshness": set(),
    "publish": set(),
    "rebuild": {"freshness", "publish"},
    "site": {"rebuild", "site_markdown"},
    "site_markdown": set(),
}


def layer_of(module):
    return module.split(".")[0]


def imported_layers(module, path):
    """The package's layers that a module imports, at its top or in a function."""
    package = ["gatescope", *module.split(".")][:-1]
    layers = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = ".".join(package[: len(package) + 1 - node.level]) + "." if node.level else ""
            base = f"{above}{node.module or ''}".rstrip(".")
            names = [f"{base}.{alias.name}" for alias in node.names] if base == "gatescope" else [base]
        layers |= {name.split(".")[1] for name in names if name.startswith("gatescope.")}
    return layers - {layer_of(module)}


@pytest.mark.parametrize("module", [name for name in MODULES if name not in {"__init__", "__main__"}])
def test_a_module_imports_only_what_its_layer_may(module):
    allowed = MAY_IMPORT.get(module, MAY_IMPORT.get(layer_of(module)))
    ground = layer_of(module) in GROUND
    assert ground or allowed is not None, f"{module} has no place among the layers"
    allowed = GROUND | (allowed or set())
    assert imported_layers(module, MODULES[module]) <= allowed


def test_nothing_points_back():
    """No layer reaches itself by way of another."""
    reached = {layer: set(allowed) for layer, allowed in MAY_IMPORT.items()}
    for _ in reached:
        for layer, below in reached.items():
            reached[layer] = below | set().union(*(reached.get(name, set()) for name in below))
    assert [layer for layer, below in reached.items() if layer in below] == []


@pytest.mark.parametrize("module", MODULES)
def test_a_module_is_still_one_thing(module):
    length = len(MODULES[module].read_text().splitlines())
    assert length <= LONGEST


def test_the_rules_see_every_way_to_import(tmp_path):
    source = tmp_path / "plots.py"
    source.write_text(
        "import gatescope.models.rnn\nfrom gatescope import train\nfrom gatescope.loaders.clip import Clip\n"
        "from ..recordings import record\nfrom . import scrubber\n"
        "def f():\n    from gatescope.trainings.udl import fit\n"
    )
    assert imported_layers("pictures.plots", source) == {"models", "train", "loaders", "recordings", "udl"}
