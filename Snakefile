"""From clips to trainings, notebooks with their figures, and the site: what to make, and how much of it at once.

Dates tell nothing in a fresh clone, so what is stale is told by content: a mark in build/rebuilt that no longer
fits what its notebook is made from, or what it left, is removed here, and Snakemake makes what is missing. Of what else
decides a result, one digest stands in a file of build/inputs, which is written only where it has changed.

A notebook with the parameters `training` and `runs` comes after the trainings these name, one to a core: of the
description data/trainings/TRAINING.toml, in the folders build/runs/TRAINING/RUN; a RUN is a cell (of poses and neurons a
variant) and a seed, a-0, with a control of its frames between them if there is one, a-shuffled-0, or a modality of a
recorded set, a-depth-0. The clips of a description are rendered, or its recorded set looked for, before the first of its
trainings. The rule `trainings` makes those that the profile's table `trainings` lists: cells, seeds and modalities by
description.

The same file runs on a laptop and, with profiles/slurm, on a cluster, where each job reads it again: only the process
that was called by hand removes and writes anything here.
"""

import hashlib
import os
import shlex
import shutil
import sys
from pathlib import Path

sys.modules["rfc3987_syntax"] = None  # as in gatescope.atlas.commands: a second to import, for nothing
from gatescope.atlas.freshness import data_digest, is_current, is_stale, mark_of
from gatescope.atlas.notebook_cells import read_notebook
from gatescope.atlas.notebook_parameters import check_values, read_parameters
from gatescope.dependencies import training_digest
from gatescope.files import atomic_write, code_digest, sha256_of, sha256_of_files
from gatescope.formats.facts import read_toml

CONTROLS = ("shuffled", "single", "reversed")
NOTEBOOKS = {path.stem: path.resolve() for path in sorted(Path("notebooks").glob("[0-9]*.ipynb"))}
KNOWN = {name: read_parameters(read_notebook(path)) for name, path in NOTEBOOKS.items()}
PROFILES = read_toml("profiles.toml")
PROFILE = str(config.get("profile") or os.environ.get("GATESCOPE_PROFILE") or "ci")
GRID = PROFILES.get(PROFILE, {}).get("trainings", {})
ASKED = {name: str(value) for name, value in config.items() if name != "profile"}
if clip := os.environ.get("GATESCOPE_CLIP"):
    ASKED["clip"] = os.path.realpath(clip)

if (cores := workflow.resource_settings.cores) is not None and cores < 1:  # with none, Snakemake waits for ever
    raise ValueError(f"CORES must be 1 or more; got {cores}")
if PROFILE not in PROFILES:
    raise LookupError(f"no profile {PROFILE}; there are {', '.join(PROFILES)}")
for name in ASKED:
    if not any(name in known for known in KNOWN.values()):
        raise LookupError(f"no notebook has a parameter {name}")


def as_input(name, *parts):
    """A file with one digest of all that decides a result, newer than the result only if another digest stood there."""
    path, digest = Path("build/inputs", name), hashlib.sha256("\n".join(parts).encode()).hexdigest()
    if workflow.is_main_process and not (path.exists() and path.read_text("utf-8") == digest):
        with atomic_write(path) as temporary:
            temporary.write_text(digest)
    return path


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


def description_of(training):
    return Path(f"data/trainings/{training}.toml")


def parts_of(run):
    """The cell or variant of a run, its control or modality if it has one, and its seed."""
    name, *changed, seed = run.split("-")
    return name, changed, seed


def start_of(wildcards):
    """The network that a training starts from: that of its cell and seed, where the profile names a training."""
    start = GRID.get(wildcards.training, {}).get("start")
    name, _, seed = parts_of(wildcards.run)
    return [f"build/runs/{start}/{name}-{seed}/network.json"] if start else []


def before_training(wildcards):
    """The clips and the start of a training that is to be made: what took hours is not made again for newer ones.

    Nor are they `ancient`: Snakemake overlooks what is missing behind an ancient file that is about to be made.
    """
    made = Path(f"build/runs/{wildcards.training}/{wildcards.run}/network.json").exists()
    return [] if made else [f"build/clips/{wildcards.training}", *start_of(wildcards)]


def train_command_of(wildcards, resources):
    name, changed, seed = parts_of(wildcards.run)
    description = description_of(wildcards.training)
    named = "--variant" if "variants" in read_toml(description) else "--cell"
    words = [sys.executable, "-m", "gatescope", "train", str(description), named, name, "--seed", seed]
    for word in changed:
        words += ["--transform" if word in CONTROLS else "--modality", word]
    for start in start_of(wildcards):
        words += ["--start", str(Path(start).with_suffix(".safetensors"))]
    words += ["--workers", str(resources.workers)] if resources.get("workers") else []
    return shlex.join([*words, "--out", f"build/runs/{wildcards.training}/{wildcards.run}"])


def grid():
    """The networks that the profile's table `trainings` asks for."""
    runs = [
        (training, [cell, *([modality] if modality != "rgb" else []), str(seed)])
        for training, asked in GRID.items()
        for cell in asked["cells"]
        for modality in asked.get("modalities", ["rgb"])
        for seed in range(asked["seeds"])
    ]
    return [f"build/runs/{training}/{'-'.join(words)}/network.json" for training, words in runs]


held = data_digest(Path.cwd()) if workflow.is_main_process else None
for notebook, path in NOTEBOOKS.items() if workflow.is_main_process else ():
    if not is_current(path, parameters_of(notebook), held):
        mark_of(path).unlink(missing_ok=True)
    for folder in trainings_of(notebook):
        # What took hours is not removed for a changed line, but refused by whoever asks for it.
        modality = next((word for word in folder.name.split("-")[1:-1] if word not in CONTROLS), None)
        if PROFILE == "ci" and is_stale(folder, description_of(folder.parent.name), modality):
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
    benchmark:
        "build/times/{notebook}.tsv"
    params:
        command=command_of,
    threads: 1  # gatescope.atlas.rebuild pins the kernel's libraries to one as well
    shell:
        "{params.command}"


rule clips:
    input:
        lambda wildcards: as_input(
            f"clips/{wildcards.training}", sha256_of(description_of(wildcards.training)), training_digest()
        ),
    output:
        touch("build/clips/{training}"),
    params:
        command=lambda wildcards: shlex.join(
            [sys.executable, "-m", "gatescope", "clips", str(description_of(wildcards.training))]
        ),
    threads: 1  # more would wait until so many are free at once; a cluster's profile gives it a whole machine
    priority: 2  # before the trainings that wait for it
    shell:
        "OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 {params.command} --processes {threads}"


rule train:
    input:
        before_training,
    output:
        # Written last; without it the same command goes on after the last whole epoch.
        "build/runs/{training}/{run}/network.json",
    params:
        command=train_command_of,
    threads: 1  # Snakemake tells the libraries; the bits of a training depend on it
    priority: 1  # before what is quick
    shell:
        "NUMBA_NUM_THREADS=1 {params.command}"


def texts():
    """The Markdown files that the site's pages may lead to."""
    return [path for pattern in ("*.md", "data/*.md", "data/*/*.md", "lib/*/*.md") for path in Path().glob(pattern)]


rule trainings:
    input:
        lambda wildcards: grid(),


rule site:
    input:
        rules.all.input,
        lambda wildcards: as_input("site", code_digest(), sha256_of_files(texts(), Path())),
    output:
        "build/site/index.html",
    params:
        command=shlex.join([sys.executable, "-m", "gatescope", "site", "--out", "build/site"]),
    shell:
        "{params.command}"


def sweep():
    """The cards that data/evidence/sweep.toml asks for and that are not there."""
    asked = read_toml("data/evidence/sweep.toml")
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
