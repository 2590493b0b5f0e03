"""Small notebooks to run and throw away."""

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

KERNELSPEC = {"name": "python3", "language": "python", "display_name": "Python 3 (ipykernel)"}
PARAMETERS = "height: float = 1.0  # of the line\nclip: str = ''  # a file"
IMPORTS = """
import os, signal, sys, time
from pathlib import Path
from matplotlib.figure import Figure
from gatescope.atlas.manifest import exact, measured
from gatescope.atlas.figures import finish_notebook, save_figure
"""
DRAW = """
fig = Figure(figsize=(1, 1))
fig.subplots().plot([0, height])
save_figure(fig, "NAME-line", alt="a line", data="none", seed=0, numbers={"steps": exact(2)})
"""
FINISH = "finish_notebook()"


def write_notebook(tree, name, *cells, kernelspec=KERNELSPEC):
    """A notebook of a question, parameters, imports and the given cells."""
    cells = [cell.replace("NAME", name.split("_")[0]) for cell in cells]
    node = new_notebook(
        cells=[
            new_markdown_cell("**What is this?**", id="question"),
            new_code_cell(PARAMETERS, id="parameters", metadata={"tags": ["parameters"]}),
            new_code_cell(IMPORTS, id="imports"),
            *[new_code_cell(source, id=f"cell-{index}") for index, source in enumerate(cells)],
        ],
        metadata={"kernelspec": kernelspec},
    )
    path = tree / "notebooks" / f"{name}.ipynb"
    path.parent.mkdir(exist_ok=True)
    nbformat.write(node, path)
    return path


def content_of(tree):
    """Every file of a tree with its bytes, except what a run leaves on its way."""
    return {
        path.relative_to(tree).as_posix(): path.read_bytes()
        for path in tree.rglob("*")
        if path.is_file() and path.relative_to(tree).parts[0] not in {"build", ".snakemake"}
    }
