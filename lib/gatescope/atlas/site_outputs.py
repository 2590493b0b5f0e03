"""Outputs of a notebook as the site shows them: pictures with their captions and thumbnails, figures of plotly."""

import base64
import io
import warnings
from pathlib import Path

import nbformat
from PIL import Image, ImageOps

from gatescope.atlas.site_folder import SiteError

PLOTLY_MIME = "application/vnd.plotly.v1+json"
# Kinds of output that the template shows, the preferred first; an output of no such kind gets the last.
SHOWN = [PLOTLY_MIME, "text/html", "text/markdown", "image/png", "image/jpeg", "text/plain"]
PICTURES = ("image/png", "image/jpeg")
THUMBNAIL_PX = (480, 270)
THUMBNAIL_BYTES = 30_000


def outputs_of(node: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """Return all outputs of a notebook."""
    return [output for cell in node.cells for output in cell.get("outputs", [])]


def join_captions(path: Path, node: nbformat.NotebookNode) -> None:
    """Mark each picture with its caption, where the Markdown output below repeats its alternative text.

    Raises SiteError for a picture without an alternative text, and for a figure of plotly that is none.
    """
    for number, cell in enumerate((cell for cell in node.cells if cell.cell_type == "code"), 1):
        kept, alt = [], None
        for output in cell.outputs:
            data = output.get("data", {})
            if alt and "text/markdown" in data and data.get("text/plain") == alt:
                kept[-1].metadata.caption = True
                continue
            kept.append(output)
            if data and not data.keys() & set(SHOWN):
                data["text/plain"] = f"({', '.join(data)}, which this page does not show)"
            kind = next((kind for kind in SHOWN if kind in data), None)
            alt = _alt(output, kind) if kind in PICTURES else None
            if kind == PLOTLY_MIME and not _is_figure(data[kind]):
                raise SiteError(f"{path.name}: what code cell {number} gives as a figure of plotly is none")
            if kind in PICTURES and not alt:
                raise SiteError(f"{path.name}: a picture of code cell {number} has no alternative text")
        cell.outputs = kept


def thumbnail(path: Path, node: nbformat.NotebookNode) -> tuple[bytes, str] | None:
    """Return a thumbnail of the first picture with an alternative text, and that text; None where there is none.

    It may be the still picture of a viewer. Raises SiteError for one that does not decode.
    """
    pictures = ((output, kind) for output in outputs_of(node) for kind in PICTURES if kind in output.get("data", {}))
    described = ((output.data[kind], _alt(output, kind)) for output, kind in pictures)
    picture, alt = next((each for each in described if each[1]), (None, None))
    if picture is None:
        return None
    try:
        with warnings.catch_warnings():
            # As Pillow says from 89 million pixels on.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(base64.b64decode(picture)), formats=("PNG", "JPEG"))
        with image:
            small = ImageOps.pad(image.convert("RGB"), THUMBNAIL_PX, color="white")
    # As Pillow raises them.
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise SiteError(f"{path.name}: a picture among its outputs cannot be read: {error}") from error
    for quality in range(85, 0, -5):
        buffer = io.BytesIO()
        small.save(buffer, "JPEG", quality=quality)
        if buffer.tell() <= THUMBNAIL_BYTES:
            break
    return buffer.getvalue(), alt


def _alt(output: nbformat.NotebookNode, kind: str) -> str | None:
    about = output.metadata.get(kind)
    alt = about.get("alt") if isinstance(about, dict) else None
    return alt if isinstance(alt, str) else None


def _is_figure(content: object) -> bool:
    """Whether it has the parts that a page uses."""
    layout = content.get("layout") if isinstance(content, dict) else None
    title = layout.get("title", {}) if isinstance(layout, dict) else None
    return isinstance(title, dict) and isinstance(title.get("text", ""), str)
