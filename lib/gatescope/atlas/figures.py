"""Figures saved by a notebook: the same numbers give the same bytes, and a record holds both.

Files go to the folder `figures` below the working folder. A strict rebuild (`gatescope.atlas.rebuild`) runs the
notebook in a folder of its own and moves them into the tree; by hand they stay beside the notebook, where git
ignores them.
"""

import base64
import io
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import matplotlib
from IPython.display import display
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from PIL import Image

from gatescope.atlas.manifest import Number
from gatescope.files import atomic_write, sha256_of
from gatescope.paths import FINISHED, RUN_FIGURES
from gatescope.pictures.moving import moving_html

# Neither the date nor the version of matplotlib, which would change the bytes.
METADATA = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}
SCREEN_DPI = 96  # a browser's pixels to the inch
MAX_BYTES = 2_000_000  # of one file in the repository


@dataclass(frozen=True)
class SavedFigure:
    """A saved figure; as the last line of a cell it shows itself, with its alternative text."""

    png: Path
    alt: str
    width_px: int  # on the screen
    photos: bool  # shown as JPEG
    moving: Path | None = None  # the same as an animated WebP

    def _ipython_display_(self) -> None:
        """Show the picture and its alternative text below it, which few screen readers get from the picture alone."""
        data, metadata = self._repr_mimebundle_()
        display(data, metadata=metadata, raw=True)
        display({"text/markdown": f"*{self.alt}*", "text/plain": self.alt}, raw=True)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict, dict]:
        kind = "image/jpeg" if self.photos else "image/png"
        still = _shown(self.png, self.photos)
        data = {kind: base64.b64encode(still).decode(), "text/plain": self.alt}
        if self.moving:
            data["text/html"] = moving_html(self.moving.read_bytes(), still, kind, self.alt, self.width_px)
        return data, {kind: {"alt": self.alt, "width": self.width_px}}


def save_figure(
    fig: Figure,
    name: str,
    *,
    alt: str,
    data: str,
    seed: int | None = None,
    weights: Iterable[Path] = (),
    numbers: Mapping[str, Number] | None = None,
    photos: bool = False,
    moving: bytes = b"",
) -> SavedFigure:
    """Save a figure as `figures/<name>.png` and `.svg`, with a record of what it shows, and close it.

    `name` is the notebook's number and a few words, "05-forget-gate"; `alt` describes the picture; `data` names
    the data set, split and clip; `numbers` are those a reader takes away, as `exact(27)`, `computed(0.31)`,
    `trained(0.84)` or `measured(12.5)`, all from `gatescope.atlas.manifest`. A figure of `photos` has no `.svg`, and
    the notebook shows it as JPEG: film strips as PNG would outgrow the 2 MB of a committed notebook. `moving` is the
    same as an animated WebP, from `gatescope.pictures.moving`, which pages then show.

    Raises ValueError for another form of name, an empty `alt` and a file above 2 MB.
    """
    if not re.fullmatch(r"\d\d(-[a-z0-9]+)+", name):
        raise ValueError(f"a figure is named by its notebook's number and words, 05-forget-gate; got {name!r}")
    if not alt.strip():
        raise ValueError(f"{name} needs an alternative text that says what is seen")
    with matplotlib.rc_context({"svg.hashsalt": "gatescope"}):
        formats = ("png",) if photos else tuple(METADATA)
        files = [_save(fig, RUN_FIGURES / f"{name}.{format}", METADATA[format]) for format in formats]
    if moving:
        files.append(_keep(moving, RUN_FIGURES / f"{name}.webp"))
    record = {
        "alt": alt,
        "data": data,
        "seed": seed,
        # A checkpoint's file has the same name in every folder, and no folder above that is the same everywhere.
        "weights": {"/".join(Path(path).parts[-2:]): sha256_of(Path(path)) for path in weights},
        "numbers": {label: asdict(number) for label, number in (numbers or {}).items()},
        "files": {path.name: sha256_of(path) for path in files},
    }
    _write_json(RUN_FIGURES / f"{name}.json", record)
    # Jupyter would show an open figure a second time, at the end of the cell.
    plt.close(fig)
    return SavedFigure(files[0], alt, round(fig.get_figwidth() * SCREEN_DPI), photos, files[-1] if moving else None)


def finish_notebook() -> None:
    """Record that the notebook came to its end; a rebuild is refused without this call in the last code cell."""
    paths = [path for path in RUN_FIGURES.glob("*.json") if path.name != FINISHED]
    _write_json(RUN_FIGURES / FINISHED, {path.stem: json.loads(path.read_text("utf-8")) for path in paths})


def _shown(png: Path, photo: bool) -> bytes:
    """A JPEG of a photo; else 256 colours: a third of the bytes, and no visible difference in lines, tiles and maps."""
    buffer = io.BytesIO()
    with Image.open(png) as image:
        if photo:
            image.convert("RGB").save(buffer, "JPEG", quality=82)
        else:
            image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _save(fig: Figure, path: Path, metadata: dict[str, None]) -> Path:
    buffer = io.BytesIO()
    fig.savefig(buffer, format=path.suffix[1:], metadata=metadata)
    return _keep(buffer.getvalue(), path)


def _keep(content: bytes, path: Path) -> Path:
    if len(content) > MAX_BYTES:
        raise ValueError(
            f"{path.name} has {len(content) / 1e6:.1f} MB, more than {MAX_BYTES / 1e6:.0f}: draw it smaller"
        )
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)
    return path


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content), "utf-8")
