"""Elements of a page: HTML that holds its data, code and a still picture, and needs no other file."""

import base64
import hashlib
import html
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SCRIPTS = {  # of each kind, one module together
    "scrubber": (
        *("page.js", "drawing.js", "scrubber.js", "timeline.js", "groups.js"),
        *("panels.js", "pins.js", "channels.js", "output.js"),
    ),
    "stepper": ("page.js",),
}
KINDS = {"scrubber": ("scrubber.css", "element.js"), "stepper": ("stepper.css", "stepper.js")}  # looks and class


def looks(kind: str) -> str:
    """Return the CSS of a kind of element."""
    return "\n".join((HERE / name).read_text("utf-8") for name in ("page.css", KINDS[kind][0]))


def script(kind: str) -> str:
    """Return the ES module that a kind of element needs, without the element itself."""
    return "\n".join((HERE / name).read_text("utf-8") for name in SCRIPTS[kind])


def element_html(kind: str, header: Mapping[str, Any], deflated: str, still: bytes, alt: str) -> str:
    """Return an element of a kind in KINDS with its header and data, as `Packed` has them.

    Where scripts are removed the picture `still`, a PNG, remains.
    """
    css, core, element = looks(kind), script(kind), (HERE / KINDS[kind][1]).read_text("utf-8")
    name = f"gatescope-{kind}-{hashlib.sha256((css + core + element).encode()).hexdigest()[:8]}"
    picture = base64.b64encode(still).decode()
    told = json.dumps(header).replace("<", "\\u003c")  # it must not end the script it stands in
    return (
        f'<{name} class="gatescope-{kind}">'
        f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{picture}" style="max-width:100%">'
        f'<script type="application/json">{told}</script>'
        f'<script type="text/plain" data-what="css">{css}</script>'
        f'<script type="text/plain">{deflated}</script></{name}>\n'
        f'<script type="module">\n{core}\nconst ELEMENT = "{name}";\n{element}</script>'
    )


def bundle(markup: str, still: bytes, alt: str) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """Return an output of a cell with its metadata: HTML, a PNG for viewers without scripts, and words."""
    data = {"text/html": markup, "image/png": base64.b64encode(still).decode(), "text/plain": alt}
    return data, {"image/png": {"alt": alt}}
