"""Elements of a page: HTML that holds its data, code and a still picture, and needs no other file."""

import base64
import hashlib
import html
import json
from pathlib import Path

from gatescope.pictures.packing import Packed

HERE = Path(__file__).parent
SCRIPTS = {  # one module together
    "scrubber": (
        *("page.js", "drawing.js", "scrubber.js", "timeline.js", "groups.js"),
        *("panels.js", "pins.js", "channels.js", "output.js"),
    ),
    "stepper": ("page.js",),
}
LOOKS = {"scrubber": ("page.css", "scrubber.css"), "stepper": ("page.css", "stepper.css")}


def looks(kind: str) -> str:
    """Return the CSS of a kind of element, scrubber or stepper."""
    return "\n".join((HERE / name).read_text() for name in LOOKS[kind])


def script(kind: str) -> str:
    """Return the ES module that a kind of element needs, without the element itself."""
    return "\n".join((HERE / name).read_text() for name in SCRIPTS[kind])


def element_html(kind: str, own: str, packed: Packed, still: bytes, alt: str) -> str:
    """Return an element of a kind, scrubber or stepper; the file `own` holds its class.

    Where scripts are removed the picture `still`, a PNG, remains.
    """
    css, core, element = looks(kind), script(kind), (HERE / own).read_text()
    name = f"gatescope-{kind}-{hashlib.sha256((css + core + element).encode()).hexdigest()[:8]}"
    picture = base64.b64encode(still).decode()
    header = json.dumps(packed.header).replace("<", "\\u003c")  # it must not end the script it stands in
    return (
        f'<{name} class="gatescope-{kind}">'
        f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{picture}" style="max-width:100%">'
        f'<script type="application/json">{header}</script>'
        f'<script type="text/plain" data-what="css">{css}</script>'
        f'<script type="text/plain">{packed.deflated()}</script></{name}>\n'
        f'<script type="module">\n{core}\nconst ELEMENT = "{name}";\n{element}</script>'
    )


def bundle(markup: str, still: bytes, alt: str) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """Return an output of a cell with its metadata: HTML, a PNG for viewers without scripts, and words."""
    data = {"text/html": markup, "image/png": base64.b64encode(still).decode(), "text/plain": alt}
    return data, {"image/png": {"alt": alt}}
