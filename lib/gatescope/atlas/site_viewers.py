"""Which HTML of a notebook's outputs the site embeds: the viewers that this version of the library makes, no other."""

import base64
import hashlib
import re
from functools import cache

import nbformat

from gatescope.pictures.elements import KINDS, element_html, looks
from gatescope.pictures.moving import moving_html

SCRIPT = re.compile(r'<script type="module">(.*?)</script>', re.DOTALL)
# Examples of data that stand nowhere else in a viewer, and what may stand in their place.
_WORDS, _STILL, _HEADER, _DATA = "WORDS-OF-IT", b"THE-STILL-OF-IT", "HEADER-OF-IT", "DATA-OF-IT"
_MOVING, _WIDTH = b"THE-FILM-OF-IT.", 987654321
EXAMPLES = {
    re.escape(_WORDS): '[^<>"]*',
    re.escape(base64.b64encode(_STILL).decode()): "[A-Za-z0-9+/=]*",
    re.escape(f'{{"{_HEADER}": 0}}'): "[^<]*",
    re.escape(_DATA): "[A-Za-z0-9+/=]*",
    re.escape(base64.b64encode(_MOVING).decode()): "[A-Za-z0-9+/=]*",
    str(_WIDTH): "[0-9]+",
}
# Several viewers of which one is shown, by buttons: what is left of it without the viewers.
ATTRIBUTES = r'(?: (?:class|style|type|data-[a-z-]+)="[^<>"]*"| (?:id|name)="gatescope-[\w-]+"| checked)*'
BUTTON = rf"<label{ATTRIBUTES}><input{ATTRIBUTES}>[^<>]*</label>"
RULES = r"<style>(?:[^<{}@\\]*\{ display: (?:none|block); \})*</style>"
SWITCH = re.compile(
    rf"<section{ATTRIBUTES}>{RULES}<fieldset{ATTRIBUTES}><legend{ATTRIBUTES}>[^<>]*</legend>(?:{BUTTON})*</fieldset>"
    rf"(?:<div{ATTRIBUTES}>\n?</div>)*</section>"
)


def drop_other_html(node: nbformat.NotebookNode) -> list[int]:
    """Take HTML that the library did not make out of a notebook's outputs; return the numbers of their cells.

    An output of HTML alone then says so; any other shows as what else it has, a viewer of another version of the
    library as its still picture.
    """
    cells = []
    for number, cell in enumerate(node.cells, 1):
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "text/html" in data and not _is_viewer(data["text/html"]):
                del data["text/html"]
                if data.setdefault("text/plain", "(HTML, which this page does not embed)"):
                    cells.append(number)
        if "outputs" in cell:  # the explorer's looks, for JupyterLab, are nothing to show
            cell.outputs = [each for each in cell.outputs if any(each.get("data", each).values())]
    return list(dict.fromkeys(cells))


def policy(content: str) -> dict[str, str]:
    """Return a Content-Security-Policy for a page with this content, and the `nonce` of the scripts that it may load.

    Only those run, and the viewers' own; nothing is asked of another host, whatever the content holds. A page opened
    from a disk means by 'self' nothing: hence file. The nonce is a hash of the content, which cannot hold it.
    """
    nonce = hashlib.sha256(content.encode()).hexdigest()[:32]
    hashes = [hashlib.sha256(script.encode()).digest() for script in map(_script, KINDS) if script in content]
    scripts = [f"'nonce-{nonce}'", *(f"'sha256-{base64.b64encode(each).decode()}'" for each in hashes)]
    rules = (
        f"default-src 'none'; script-src {' '.join(scripts)}; style-src 'self' file: 'unsafe-inline'; "
        "img-src 'self' file: data: blob:; connect-src 'none'; form-action 'none'; base-uri 'none'"
    )
    return {"policy": rules, "nonce": nonce}


def _is_viewer(html: str) -> bool:
    if "\0" in html:
        return False
    rest, count = _grammar().subn("", _shortened(html))
    return count > 0 and (not rest.strip() or SWITCH.fullmatch(rest) is not None)


@cache
def _grammar() -> re.Pattern[str]:
    """What the library makes of any data that hold no markup."""
    parts = [re.escape(_shortened(_made(kind))) for kind in KINDS]
    parts += [re.escape(moving_html(_MOVING, _STILL, kind, _WORDS, _WIDTH)) for kind in ("image/png", "image/jpeg")]
    for example, anything in EXAMPLES.items():
        parts = [part.replace(example, anything, 1) for part in parts]
    return re.compile("|".join(parts))


def _shortened(html: str) -> str:
    """HTML with a mark in place of each long text that is the library's own, letter by letter."""
    for place, text in enumerate(_own_texts()):
        html = html.replace(text, f"\0{place}\0")
    return html


@cache
def _own_texts() -> tuple[str, ...]:
    return (*map(looks, KINDS), *map(_script, KINDS))


@cache
def _script(kind: str) -> str:
    return SCRIPT.search(_made(kind))[1]


def _made(kind: str) -> str:
    return element_html(kind, {_HEADER: 0}, _DATA, _STILL, _WORDS)
