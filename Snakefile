"""Which notebooks to run, with which parameters, how many at once; each run is gatescope.rebuild's.

Dates tell nothing in a fresh clone, so what is stale is told by content: a mark in build/rebuilt that no longer
fits what its notebook is made from, or what it left, is removed here, and Snakemake makes what is missing.
"""

import shlex
import sys
import tomllib
from pathlib import Path

sys.modules["rfc3987_syntax"] = None  # as in gatescope.__main__: a second to import, for nothing
import nbformat

from gatescope.freshness import inputs_of, is_current, mark_of
from gatescope.parameters import check_values, read_parameters

NOTEBOOKS = {path.stem: path.resolve() for path in sorted(Path("notebooks").glob("[0-9]*.ipynb"))}
KNOWN = {name: read_parameters(nbformat.read(path, as_version=4)) for name, path in NOTEBOOKS.items()}
PROFILES = tomllib.loads(Path("profiles.toml").read_text())
PROFILE = config.get("profile", "ci")
ASKED = {name: str(value) for name, value in config.items() if name != "profile"}

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


for notebook, path in NOTEBOOKS.items():
    if not is_current(path, parameters_of(notebook)):
        mark_of(path).unlink(missing_ok=True)


rule all:
    input:
        expand("build/rebuilt/{notebook}.json", notebook=NOTEBOOKS),


rule rebuild:
    input:
        # Also the notebook itself, which its own run writes anew: none of them is compared by date.
        ancient(lambda wildcards: [str(path) for path in inputs_of(NOTEBOOKS[wildcards.notebook])]),
    output:
        "build/rebuilt/{notebook}.json",
    params:
        command=command_of,
    threads: 1  # gatescope.rebuild pins the kernel's libraries to one as well
    shell:
        "{params.command}"
