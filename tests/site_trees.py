"""A tree of small notebooks and Markdown files, as the site is made of."""

import base64
import io
from pathlib import Path

import nbformat
import numpy as np
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

PLOTLY = "application/vnd.plotly.v1+json"
KERNEL = {"name": "python3", "language": "python", "display_name": "Python 3"}


def picture(alt, *, caption=True):
    """What `save_figure` leaves in a notebook."""
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (100, 300, 3), np.uint8)  # nothing makes a larger JPEG
    Image.fromarray(noise).save(buffer, "PNG")
    data = {"image/png": base64.b64encode(buffer.getvalue()).decode(), "text/plain": alt}
    outputs = [new_output("display_data", data, metadata={"image/png": {"alt": alt, "width": 150}})]
    if caption:
        outputs.append(new_output("display_data", {"text/markdown": f"*{alt}*", "text/plain": alt}))
    return outputs


def plotly(name):
    figure = {"data": [{"type": "scatter", "y": [1, 3, 2]}], "layout": {"title": {"text": name}}}
    return new_output("display_data", {PLOTLY: figure})


def executed(*cells):
    """A notebook whose cells ran in order; text is a Markdown cell, a list of outputs a code cell."""
    made, count = [], 0
    for cell in cells:
        if isinstance(cell, str):
            made.append(new_markdown_cell(cell))
        else:
            count += 1
            made.append(new_code_cell(f"show({count})", outputs=cell, execution_count=count))
    for number, cell in enumerate(made):
        cell.id = f"cell-{number}"
    return new_notebook(cells=made, metadata={"kernelspec": KERNEL})


def write_tree(folder: Path, **notebooks) -> Path:
    """A tree with these notebooks, a README and a file beside it that no page can show."""
    (folder / "notebooks").mkdir(parents=True)
    for name, node in notebooks.items():
        nbformat.write(node, folder / "notebooks" / f"{name}.ipynb")
    (folder / "data").mkdir()
    (folder / "data" / "README.md").write_text("# Data\n\nBack to the [setup](../README.md#set-up-first).\n")
    (folder / "README.md").write_text("# Read me\n\n## Set up first!\n\n[Licence](LICENSE)\n")
    (folder / "LICENSE").write_text("MIT")
    return folder
