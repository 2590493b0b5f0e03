"""Which notebooks to run, with which parameters, how many at once; each run is gatescope.atlas.rebuild's.

Dates tell nothing in a fresh clone, so what is stale is told by content: a mark in build/rebuilt that no longer
fits what its notebook is made from, or what it left, is removed here, and Snakemake makes what is missing.

A notebook with the parameters `training` and `runs` comes after the trainings these name, one to a core: of the
description data/trainings/TRAINING.toml, in the folders build/runs/TRAINING/RUN; a RUN is a cell (of poses and neurons a
variant) and a seed, a-0, with a control of its frames between them if there is one, a-shuffled-0.
"""

import os
import shlex
import shutil
import sys
import tomllib
from pathlib import Path

sys.modules["rfc3987_syntax"] = None  # as in gatescope.__main__: a second to import, for nothing
from gatescope.atlas.freshness import is_current, is_stale, mark_of
from gatescope.atlas.notebook_cells import read_notebook
from gatescope.atlas.notebook_parameters import check_values, read_parameters

NOTEBOOKS = {path.stem: path.resolve() for path in sorted(Path("notebooks").glob("[0-9]*.ipynb"))}
KNOWN = {name: read_parameters(read_notebook(path)) for name, path in NOTEBOOKS.items()}
PROFILES = tomllib.loads(Path("profiles.toml").read_text("utf-8"))
PROFILE = str(config.get("profile") or os.environ.get("GATESCOPE_PROFILE") or "ci")
ASKED = {name: str(value) for name, value in config.items() if name != "profile"}
if clip := os.environ.get("GATESCOPE_CLIP"):
    ASKED["clip"] = os.path.realpath(clip)

if PROFILE not in PROFILES:
    raise LookupError(f"no profile {PROFILE}; there are {', '.join(PROFILES)}")
for name in ASKED:
    if not any(name in known for known in KNOWN.values()):
        raise LookupError(f"no notebook has a parameter {name}")


def parameters_of(notebook):
    known = KNOWN[notebook]
    asked = {name: known[name].parse(text) for name, text in ASKED.items() if name in known}
    return check_values(known, PROFILES[PROFILE].get(notebook, {}) | asked)


def command_of(wildcards):
    words = [sys.executable, "-m", "gatescope", "rebuild", str(NOTEBOOKS[wildcards.notebook])]
    for name, value in parameters_of(wildcards.notebook).items():
        words += ["-p", name, value if isinstance(value, str) else repr(value)]
    return shlex.join(words)


def trainings_of(notebook):
    """The folders of the trainings that a notebook shows."""
    values = {name: parameter.default for name, parameter in KNOWN[notebook].items()} | parameters_of(notebook)
    if not {"training", "runs"} <= set(values):
        return []
    return [Path("build/runs", values["training"], run) for run in values["runs"]]


def train_command_of(wildcards):
    name, *transform, seed = wildcards.run.split("-")
    description = Path(f"data/trainings/{wildcards.training}.toml")
    named = "--variant" if "variants" in tomllib.loads(description.read_text("utf-8")) else "--cell"
    words = [sys.executable, "-m", "gatescope", "train", str(description), named, name, "--seed", seed]
    words += ["--transform", *transform] if transform else []
    return shlex.join([*words, "--out", f"build/runs/{wildcards.training}/{wildcards.run}"])


for notebook, path in NOTEBOOKS.items():
    if not is_current(path, parameters_of(notebook)):
        mark_of(path).unlink(missing_ok=True)
    for folder in trainings_of(notebook):
        # What took hours is not removed for a changed line, but refused by whoever asks for it.
        if PROFILE == "ci" and is_stale(folder, Path(f"data/trainings/{folder.parent.name}.toml")):
            shutil.rmtree(folder)


rule all:
    input:
        expand("build/rebuilt/{notebook}.json", notebook=NOTEBOOKS),


rule rebuild:
    input:
        # What else decides a notebook is in the digest that its mark was held against above: a scheduler that is given
        # hundreds of files looks at each of them every second.
        ancient(lambda wildcards: [f"{folder}/network.json" for folder in trainings_of(wildcards.notebook)]),
    output:
        "build/rebuilt/{notebook}.json",
    params:
        command=command_of,
    threads: 1  # gatescope.atlas.rebuild pins the kernel's libraries to one as well
    shell:
        "{params.command}"


rule train:
    output:
        # Written last; without it the same command goes on after the last whole epoch.
        "build/runs/{training}/{run}/network.json",
    params:
        command=train_command_of,
    threads: 1  # Snakemake tells the libraries; the bits of a training depend on it
    priority: 1  # before what is quick
    shell:
        "NUMBA_NUM_THREADS=1 {params.command}"


def sweep():
    """The cards that data/evidence/sweep.toml asks for and that are not there."""
    asked = tomllib.loads(Path("data/evidence/sweep.toml").read_text("utf-8"))
    settings = asked.pop("memory")
    sets = asked | {f"memory/{setting}": cells for setting, cells in settings.items()}
    cards = [
        Path("data/evidence", name, f"{cell}-{seed}", "card.json")
        for name, cells in sets.items()
        for cell, num_seeds in cells.items()
        for seed in range(num_seeds)
    ]
    return [card for card in cards if not card.exists()]


def evidence_command(action):
    """Return what writes the answers of a network of the description `rows`."""
    return lambda wildcards, output: shlex.join(
        [sys.executable, "-m", "gatescope", action, f"build/runs/rows/{wildcards.run}/network.safetensors"]
        + ["--out", str(Path(output[0]).parent)]
    )


def pairs_command_of(wildcards):
    words = [sys.executable, "-m", "gatescope.trainings.memory_need", "--cell", wildcards.cell]
    words += ["--seed", wildcards.seed, "--reach", wildcards.reach, "--frames", wildcards.frames]
    return shlex.join(words + ["--without"] * bool(wildcards.without))


# Evidence is made on demand, `make sweep`; no notebook waits for it. Cards are written last: what was stopped goes on.
rule sweep:
    input:
        lambda wildcards: sweep(),


rule score:
    input:
        "build/runs/rows/{run}/network.json",
    output:
        "data/evidence/{kind,seeds|cells}/{run}/card.json",
    params:
        command=evidence_command("score"),
    threads: 1
    shell:
        "NUMBA_NUM_THREADS=1 {params.command}"


rule adapt:
    input:
        "build/runs/rows/{run}/network.json",
    output:
        "data/evidence/adapted/{run}/card.json",
    params:
        command=evidence_command("adapt"),
    threads: 1
    shell:
        "NUMBA_NUM_THREADS=1 {params.command}"


rule pairs:
    output:
        "data/evidence/memory/reach{reach}-frames{frames,[0-9]+}{without,(-without)?}/{cell}-{seed}/card.json",
    params:
        command=pairs_command_of,
    threads: 1
    shell:
        "NUMBA_NUM_THREADS=1 {params.command}"
