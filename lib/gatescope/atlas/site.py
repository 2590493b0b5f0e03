"""Pages for a browser, of every executed notebook: they work offline, and interactive outputs stay interactive.

The site mirrors the tree: notebooks/NAME.ipynb becomes notebooks/NAME.html, and so does each Markdown file that a
page leads to; beside them stand index.html, reference.html and the files that the pages load.
"""

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import nbformat
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from nbconvert.exporters import TemplateExporter
from nbconvert.filters import DataTypeFilter, Highlight2HTML
from nbconvert.filters.markdown_mistune import MarkdownWithMath
from plotly.offline import get_plotlyjs
from pygments.formatters import HtmlFormatter

from gatescope.atlas.notebook_cells import RebuildError, check_every_cell_ran, read_notebook
from gatescope.atlas.site_folder import SiteError, check_folder, replace_site
from gatescope.atlas.site_markdown import VIEWER, Heading, PageRenderer, file_of
from gatescope.atlas.site_outputs import PLOTLY_MIME, SHOWN, join_captions, outputs_of, thumbnail
from gatescope.atlas.site_parts import answer, findings, viewer
from gatescope.atlas.site_reference import reference
from gatescope.atlas.site_viewers import drop_other_html, policy
from gatescope.files import read_bytes

TEMPLATES = Path(__file__).parent / "site_template"
STYLE, SCRIPT, PLOTLY = "gatescope.css", "gatescope.js", "plotly.min.js"  # in a site, beside its pages
LIGHT, DARK = "default", "github-dark"  # pygments' colours: with a contrast of 4.5 and more on ours
MARKDOWN_LINK = re.compile(r"\]\(([^()#\s]+\.md)[)#]")
FORMULAS = (r"\\(", r"\\[", r"\begin{")  # what opens a formula beside dollars
MOST_LOOKS = 10**8  # characters that are looked at for their ends
MOST_BYTES = 1 << 24  # of a Markdown file
LIVE = '<div class="live">'


@dataclass(frozen=True)
class Opening:
    """What the site's first page opens with, and so does the notebook that it is from."""

    viewer: Markup
    findings: Markup

    @property
    def short(self) -> list[str]:
        """What each finding says in bold."""
        return [
            Markup(each).striptags() for each in re.findall(r"<li><strong>(.*?)</strong>", self.findings, re.DOTALL)
        ]


@dataclass(frozen=True)
class Page:
    """A notebook or a Markdown file as a page of the site."""

    path: str  # in the site
    title: str
    question: Markup  # empty for a Markdown file
    head: Markup  # title and question
    answer: Markup  # empty where the page has none to repeat
    body: Markup  # what comes after the question
    headings: tuple[Heading, ...]  # of its sections
    thumbnail: tuple[bytes, str] | None  # a JPEG, and what it shows
    live: bool  # has a viewer
    code: bool  # has code that is folded
    opening: "Opening | None"  # what the site's first page takes from it
    plotly: bool  # needs the library

    @property
    def root(self) -> str:
        """Relative path from the page to the site's folder."""
        return "../" * self.path.count("/")

    @property
    def thumbnail_path(self) -> str:
        """Path of its thumbnail in the site."""
        return self.path.removesuffix(".html") + ".jpg"

    @property
    def content(self) -> str:
        """All of it that came from its source."""
        return "".join([self.head, self.answer, self.body, *([self.opening.viewer] if self.opening else [])])


def write_site(tree: Path, out: Path) -> tuple[list[str], list[str]]:
    """Write a site of all notebooks in TREE/notebooks, the Markdown files they link to and the library's reference.

    Returns the paths of its pages in `out`, and a sentence for each notebook with HTML that the site does not embed. An
    older site in `out` is replaced once the new one is complete, and other files there stay.
    Raises SiteError for a notebook that was not run to its end or breaks a rule that pages need, and for a folder
    `out` that holds anything but a site, or one that was edited.
    """
    tree, out = (Path(os.path.realpath(path)) for path in (tree, out))
    check_folder(out)
    sources = {**_sources(tree), tree / "reference.md": _as_notebook(reference())}
    links = {path: path.relative_to(tree).with_suffix(".html").as_posix() for path in sources}
    left_out = {path.name: cells for path, node in sources.items() if (cells := drop_other_html(node))}
    live = {path for path, node in sources.items() if viewer(node)}
    pages = [_page(tree, path, node, links, live) for path, node in sources.items()]
    try:
        files = _files(pages)
    except UnicodeEncodeError as error:
        near = error.object[max(error.start - 40, 0) : error.end]
        raise SiteError(f"a page holds what is no character, in its text or in a file's name: {near!r}") from error
    replace_site(out, files)
    said = "which is no viewer of this version of the library, was left out"
    notes = [f"{name}: HTML of cell {', '.join(map(str, cells))}, {said}" for name, cells in left_out.items()]
    return [page.path for page in pages], notes


def _sources(tree: Path) -> dict[Path, nbformat.NotebookNode]:
    """The notebooks in order, and after them the Markdown files that they lead to, each as a notebook of one cell."""
    sources = {}
    for path in sorted((tree / "notebooks").glob("*.ipynb")):
        if not (real := Path(os.path.realpath(path))).is_relative_to(tree):
            raise SiteError(f"{path} leads out of the tree, to {real}: copy it, or remove it")
        try:
            node = read_notebook(path)
            check_every_cell_ran(node)
        except RebuildError as error:
            name = path.relative_to(tree).as_posix()
            raise SiteError(f"{name}: {error}; `gatescope rebuild {name}` runs it") from error
        sources[path] = node
    if not sources:
        raise SiteError(f"{tree / 'notebooks'} holds no notebook")
    found = list(sources)
    for path in found:  # grows as links are found
        if path.suffix == ".md":
            sources[path] = _as_notebook(_text_of(path))
        text = "\n".join(cell.source for cell in sources[path].cells if cell.cell_type == "markdown")
        targets = dict.fromkeys(file_of(tree, path, link) for link in MARKDOWN_LINK.findall(text))
        found += [each for each in targets if each and each not in found]
    return sources


def _text_of(path: Path) -> str:
    try:
        return read_bytes(path, MOST_BYTES).decode()
    except ValueError as error:
        raise SiteError(f"{path.name} is no text of UTF-8: {error}") from error


def _as_notebook(markdown: str) -> nbformat.NotebookNode:
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(markdown)])


def _page(
    tree: Path, path: Path, node: nbformat.NotebookNode, links: Mapping[Path, str], live: Collection[Path]
) -> Page:
    join_captions(path, node)
    renderer = PageRenderer(tree, path, links, live)

    def markdown(text: str) -> str:
        # The parser looks from each of these for its end.
        if sum(map(text.count, FORMULAS)) * len(text) > MOST_LOOKS:
            raise ValueError(f"too many of {', '.join(FORMULAS)} in a text of {len(text)} characters; divide it")
        return MarkdownWithMath(renderer).render(text)

    filters = {
        "markdown2html": markdown,
        "highlight_code": Highlight2HTML("ipython3"),
        "filter_data_type": DataTypeFilter(display_data_priority=SHOWN),
    }
    template = {"template_name": "base", "template_file": "cells.html.j2", "extra_template_paths": [str(TEMPLATES)]}
    exporter = TemplateExporter(**template, filters=filters)
    found = findings(node)
    try:
        body, _ = exporter.from_notebook_node(node)
        renderer.new_section()
        short = markdown(answer(node) or "")
        opening = found and MarkdownWithMath(PageRenderer(tree, path, links, live, "index.html")).render(found)
    except ValueError as error:
        raise SiteError(f"{path.name}: {error}") from error
    title = re.search(r"<h1[^>]*>(.*?)</h1>", body, re.DOTALL)
    question = re.search(r"<strong>((?:(?!</strong>).)+\?)</strong>", body, re.DOTALL)
    notebook = path.suffix == ".ipynb"
    if not title or (notebook and not question):
        raise SiteError(f"{path.name} needs a title (# ...)" + ", and its question in bold" * notebook)
    live_html = f"{LIVE}\n{viewer(node)}\n</div>"  # the template's
    above, end, below = body[question.end() :].partition("</p>") if notebook else ("", "", body)
    return Page(
        path=links[path],
        title=Markup(title[1]).striptags(),
        question=Markup(question[1] if notebook else ""),
        answer=Markup(short),
        head=Markup(body[: question.end()] + above + end if notebook else ""),
        # An opening has its viewer at the top.
        body=Markup(below.replace(live_html, "" if opening else live_html.replace(">", f' id="{VIEWER}">', 1), 1)),
        headings=tuple(each for each in renderer.headings if each.level == 2),
        thumbnail=thumbnail(path, node),
        live=path in live,
        code=any(cell.cell_type == "code" for cell in node.cells),
        opening=Opening(Markup(viewer(node) or ""), Markup(opening)) if opening else None,
        plotly=any(PLOTLY_MIME in output.get("data", {}) for output in outputs_of(node)),
    )


def _files(pages: list[Page]) -> dict[str, bytes]:
    """The site's files by their names."""
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined)
    template = environment.get_template("page.html.j2")
    notebooks = [page for page in pages if page.question]
    beside = dict(zip(notebooks, zip([None, *notebooks], [*notebooks[1:], None], strict=False), strict=True))
    files = {}
    for page in pages:
        previous, following = beside.get(page, (None, None))
        allowed = policy(page.content)
        files[page.path] = template.render(page=page, previous=previous, following=following, **allowed)
        if page.thumbnail:
            files[page.thumbnail_path] = page.thumbnail[0]
    readme = next((page for page in pages if page.path == "README.html"), None)
    opening = next((page.opening for page in pages if page.opening), None)
    allowed = policy("".join(page.content for page in notebooks))
    index = environment.get_template("contents.html.j2")
    files["index.html"] = index.render(notebooks=notebooks, readme=readme, opening=opening, **allowed)
    if any(page.plotly for page in pages):
        files[PLOTLY] = get_plotlyjs()
    files[SCRIPT] = (TEMPLATES / "site.js").read_text("utf-8")
    files[STYLE] = _code_colours() + (TEMPLATES / "site.css").read_text("utf-8")
    return {name: each.encode() if isinstance(each, str) else each for name, each in files.items()}


def _code_colours() -> str:
    """Pygments' two styles, each in its own media query: the dark style leaves out classes that the light one sets."""
    media = {LIGHT: "print, (prefers-color-scheme: light)", DARK: "screen and (prefers-color-scheme: dark)"}
    rules = {style: HtmlFormatter(style=style).get_style_defs(".highlight") for style in media}
    return "".join(f"@media {when} {{\n{rules[style]}\n}}\n" for style, when in media.items())
