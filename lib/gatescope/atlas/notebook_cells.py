"""Cells of a notebook: those its author wrote, the check that they ran, and the traces that a run leaves in them."""

from pathlib import Path

import nbformat

from gatescope.files import read_bytes

INJECTED = "injected-parameters"  # papermill's tag for the cell it puts in
_MOST_BYTES = 1 << 26
WIDGET = "application/vnd.jupyter.widget-view+json"


class RebuildError(RuntimeError):
    """Raised where a notebook did not come to its end; the tree is unchanged."""


def read_notebook(path: Path) -> nbformat.NotebookNode:
    """Return the notebook in a file, in format 4.

    Raises RebuildError for a file of anything else, FileNotFoundError where there is no file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is no file; needed a notebook, .ipynb")
    try:
        node = nbformat.reads(read_bytes(path, _MOST_BYTES).decode(), as_version=4)
        nbformat.validate(node)
    # Not JSON, JSON of something else, or a notebook that breaks its own schema: nbformat raises whatever it meets.
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise RebuildError(f"{path.name} is no notebook of format 4: {reason}") from error
    return nbformat.from_dict(node)


def own_cells(node: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """Return the cells that the author wrote: all but the one that papermill puts in."""
    return [cell for cell in node.cells if INJECTED not in cell.metadata.get("tags", [])]


def read_source(notebook: Path) -> nbformat.NotebookNode:
    """Return a notebook as its author wrote it, without outputs and the cell that papermill puts in.

    Raises RebuildError where it has no cell ids or does not name its kernel, and as `read_notebook` does.
    """
    node = read_notebook(notebook)
    if (node.nbformat, node.nbformat_minor) < (4, 5):
        raise RebuildError(f"{notebook.name} has no cell ids: save it in notebook format 4.5 or later")
    kernel = node.metadata.get("kernelspec", {})
    if not (kernel.get("name") and kernel.get("language")):
        raise RebuildError(f"{notebook.name} needs `kernelspec` with name and language in its metadata")
    node.cells = own_cells(node)
    for cell in node.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return without_traces(node)


def check_every_cell_ran(notebook: nbformat.NotebookNode) -> None:
    """Raise RebuildError unless its code cells ran once each, in order and without an error."""
    count = 0
    for number, cell in enumerate(notebook.cells, 1):
        if cell.cell_type != "code" or not cell.source.strip():
            continue
        count += 1
        if cell.execution_count != count:
            raise RebuildError(f"cell {number} did not run in its turn: its count is {cell.execution_count}")
        if any(output.output_type == "error" for output in cell.outputs):
            raise RebuildError(f"cell {number} ended in an error")


def without_traces(node: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return the notebook without times, paths, versions and the state of widgets, which change from run to run."""
    for key in node.metadata.keys() - {"kernelspec", "language_info"}:
        del node.metadata[key]
    node.metadata.get("language_info", {}).pop("version", None)
    for cell in node.cells:
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        if INJECTED in cell.metadata.get("tags", []):
            cell.id = INJECTED
        for output in cell.get("outputs", []):
            # A widget without its state shows an error message; the output beside it is shown instead.
            output.get("data", {}).pop(WIDGET, None)
            output.get("metadata", {}).pop("execution", None)
    return node
