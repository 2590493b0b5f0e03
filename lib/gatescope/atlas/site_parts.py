"""Parts of a notebook that the site shows a second time, as they are: its answer, its findings, its first viewer."""

import nbformat

ANSWER, LIMITS = "## Answer", "**What this does not show"
FINDINGS = "findings"  # tag of the cell with what the whole atlas found


def viewer(node: nbformat.NotebookNode) -> str | None:
    """Return the first output with a script of its own, a scrubber, as HTML; None where all outputs are still."""
    outputs = (output for cell in node.cells for output in cell.get("outputs", []))
    found = (output.get("data", {}).get("text/html", "") for output in outputs)
    return next((html for html in found if "<script" in html), None)


def findings(node: nbformat.NotebookNode) -> str | None:
    """Return the Markdown of the cell with the findings; None in a notebook that has no such cell."""
    return next((cell.source for cell in node.cells if FINDINGS in cell.metadata.get("tags", [])), None)


def answer(node: nbformat.NotebookNode) -> str | None:
    """Return a notebook's answer as Markdown: texts and outputs below its last heading, up to what it does not show.

    None in the notebook with the findings, which are its answer, and where there is no answer.
    """
    starts = [place for place, cell in enumerate(node.cells) if ANSWER in cell.source and cell.cell_type == "markdown"]
    if findings(node) or not starts:
        return None
    parts = []
    for place, cell in enumerate(node.cells[starts[-1] :]):
        if cell.cell_type == "markdown":
            text, limits, _ = (cell.source if place else cell.source.partition(ANSWER)[2]).partition(LIMITS)
            parts.append(text.strip())
            if limits:
                break
        else:
            parts += [
                output.data["text/markdown"] for output in cell.outputs if "text/markdown" in output.get("data", {})
            ]
    return "\n\n".join(part for part in parts if part) or None
