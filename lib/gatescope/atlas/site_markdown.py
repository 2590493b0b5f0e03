"""Markdown of the site: formulas as MathML, headings with anchors, links that stay inside."""

import base64
import html
import mimetypes
import os
import re
from collections.abc import Collection, Mapping
from itertools import chain, count
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote
from xml.etree.ElementTree import tostring

from latex2mathml.converter import convert_to_element
from markupsafe import Markup
from nbconvert.filters.markdown_mistune import IPythonRenderer

from gatescope.atlas.site_terms import Marks
from gatescope.files import read_bytes

# TeX leaves a thin space between a function's name and what stands beside it; MathML has none around identifiers.
SPACE = '<mspace width="0.17em"></mspace>'
BEFORE_FUNCTION = re.compile(r"(</mi>|</mn>|</msub>)(?=<mi>[a-z]{2,}</mi>)")
AFTER_FUNCTION = re.compile(r"(<mi>[a-z]{2,}</mi>)(?=<m(?:i|n|sub|over)\b)")
# Where no term is explained: what is a link or a name already, and what others wrote.
PLAIN = {"heading", "link", "strong", "table", "block_quote"}
VIEWER = "viewer"  # the anchor of a page's first interactive output
INTERACTIVE = '<span class="mark">interactive</span>'
ELSEWHERE = {"http", "https", "mailto"}  # the schemes of links that lead out of the site
_MOST_BYTES = 1 << 24  # of a picture
PICTURES = {"image/png", "image/jpeg", "image/gif", "image/webp"}
DECORATION = {"href", "class", "style", "id"}  # of a formula: links, looks and names are the page's


class Heading(NamedTuple):
    """A heading of a page."""

    level: int
    anchor: str
    text: str


class PageRenderer(IPythonRenderer):
    """A renderer for the Markdown of one page's cells and outputs.

    HTML in it shows as text, since the name of a file may be anything. `links` has, for each file of the `tree` that
    the site holds, the path of its page in the site; a link to any other file becomes plain text, a picture that is not
    in the tree its alternative text. A table marks links to the files `live`, whose pages are interactive. In
    notebooks, terms are explained. `page` is where the text will stand in the site, unless that is the page of its
    source.
    """

    def __init__(
        self,
        tree: Path,
        source: Path,
        links: Mapping[Path, str],
        live: Collection[Path] = (),
        page: str | None = None,
    ):
        super().__init__(escape=True, allow_harmful_protocols=False)
        self.headings: list[Heading] = []  # as they were rendered
        self._tree, self._source, self._links, self._live = tree, source, links, live
        self._page = links[source] if page is None else page
        self._taken = {"page", VIEWER}  # the templates'
        self._marks = Marks() if source.suffix == ".ipynb" else None
        self._within: list[str] = []  # types of the tokens around the one that is rendered

    def render_token(self, token: dict[str, Any], state: Any) -> str:
        """Render a token and keep in mind what stands around it."""
        self._within.append(token["type"])
        try:
            return super().render_token(token, state)
        finally:
            self._within.pop()

    def text(self, text: str) -> str:
        """Render plain text; terms with their meaning."""
        if self._marks is None or PLAIN.intersection(self._within):
            return super().text(text)
        return self._marks.mark(text)

    def new_section(self) -> None:
        """Explain every term once more from here on."""
        if self._marks:
            self._marks.new_section()

    def heading(self, text: str, level: int, **attrs: object) -> str:
        """Render a heading with the id that GitHub gives it, for which links in a README are written."""
        words = re.sub(r"[^\w\- ]", "", Markup(text).striptags().lower()).replace(" ", "-")
        numbered = chain([words], (f"{words}-{number}" for number in count(1)))
        anchor = next(each for each in numbered if each not in self._taken)
        self._taken.add(anchor)
        self.headings.append(Heading(level, anchor, Markup(text).striptags()))
        self.new_section()
        return f'<h{level} id="{anchor}">{text}</h{level}>\n'

    def link(self, text: str, url: str, title: str | None = None) -> str:
        """Render a link to the page of a file, or to another host; else only its text."""
        if url.partition(":")[0].lower() in ELSEWHERE:
            return super().link(text, url, title)
        name, _, anchor = unquote(url).partition("#")
        target = file_of(self._tree, self._source, name) if name else self._source
        if target not in self._links:
            return text
        page = os.path.relpath(self._links[target], os.path.dirname(self._page) or ".") if name else ""
        mark = f" {INTERACTIVE}" if target in self._live and "table" in self._within else ""
        return super().link(text, page + (f"#{anchor.lower()}" if anchor else ""), title) + mark

    def image(self, text: str, url: str, title: str | None = None) -> str:
        """Render an image with its bytes in the page; only its alternative text where it is no file of the tree."""
        file = file_of(self._tree, self._source, unquote(url))
        kind = file and mimetypes.guess_type(file.name)[0]
        if kind not in PICTURES:
            return text
        return super().image(
            text, f"data:{kind};base64,{base64.b64encode(read_bytes(file, _MOST_BYTES)).decode()}", title
        )

    def block_mermaidjs(self, code: str) -> str:
        """Render a diagram as its code: nothing here draws it."""
        return self.block_code(code)

    def table(self, text: str) -> str:
        """Render a table in a box that scrolls, so that a wide one does not widen the page; no head is empty."""
        text = re.sub(r"<th([^>]*)></th>", r"<td\1></td>", text)
        return f'<div class="wide"><table>\n{text}</table></div>\n'

    def inline_math(self, body: str) -> str:
        """Render a formula in a line, as MathML."""
        return _mathml(body, "inline")

    def block_math(self, body: str) -> str:
        """Render a formula by itself, as MathML."""
        return _mathml(body, "block")

    def latex_environment(self, name: str, body: str) -> str:
        """Render an environment by itself, as MathML."""
        return _mathml(rf"\begin{{{name}}}{body}\end{{{name}}}", "block")


def file_of(tree: Path, source: Path, name: str) -> Path | None:
    """Return the file of the tree that `source` calls by a relative name; None for any other name."""
    try:
        file = Path(os.path.realpath(source.parent / name))
        return file if file.is_relative_to(tree) and file.is_file() else None
    except (OSError, ValueError):  # no name that a file can have
        return None


def _mathml(latex: str, display: str) -> str:
    """MathML of a formula, without links; raises ValueError for one that the converter cannot read."""
    cannot = f"the site cannot show the formula {latex.strip()[:200]!r}: use other commands"
    try:
        math = convert_to_element(latex.strip(), display=display)
    except Exception as error:  # the converter has a dozen kinds of its own
        raise ValueError(cannot) from error
    for element in math.iter():
        # The converter's characters are references, which it means to stand in HTML as they are.
        element.text = html.unescape(element.text or "")
        for name in DECORATION.intersection(element.attrib):
            del element.attrib[name]
    found = tostring(math, "unicode")
    if "\\" in found:  # a command that it does not know
        raise ValueError(cannot)
    return AFTER_FUNCTION.sub(rf"\1{SPACE}", BEFORE_FUNCTION.sub(rf"\1{SPACE}", found))
