"""What must hold of every committed notebook."""

import ast
import json
import re
import tomllib
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from gatescope.atlas.notebook_parameters import ParameterError, check_values, read_parameters

REPOSITORY = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
MAX_BYTES = 2_000_000
MAX_BYTES_TOGETHER = 17_000_000
MAX_LINES = 20  # of a code cell
MACHINE = re.compile(r"(?<![\w.])/(home|root|tmp|Users|opt|usr|var|mnt|private)/|site-packages|\b[A-Z]:\\")
PICTURES = {"image/png", "image/jpeg"}  # what GitHub shows, and a notebook that is not trusted
ADDRESS = re.compile(r"\bat 0x[0-9a-f]{6,}")


def faults_of(node):
    """One sentence for each rule that a notebook breaks."""
    code = [cell for cell in node.cells if cell.cell_type == "code"]
    return [
        *_faults_of_metadata(node),
        *_faults_of_parameters(node),
        *_faults_of_source(node, code),
        *_faults_of_outputs(node, code),
    ]


def _faults_of_metadata(node):
    kernel = node.metadata.get("kernelspec", {})
    if not (kernel.get("name") and kernel.get("language")):
        yield "the metadata has no kernelspec with name and language"
    if set(node.metadata) - {"kernelspec", "language_info"}:
        yield f"the metadata holds {sorted(set(node.metadata) - {'kernelspec', 'language_info'})}"
    for number, cell in enumerate(node.cells, 1):
        for key in {"papermill", "execution", "collapsed", "scrolled"} & set(cell.metadata):
            yield f"cell {number} holds {key} in its metadata"


def _faults_of_parameters(node):
    if len(node.cells) < 2 or "parameters" not in node.cells[1].metadata.get("tags", []):
        yield "the second cell is not tagged `parameters`"
    try:
        read_parameters(node)
    except ParameterError as error:
        yield str(error)
    else:
        cell = next(cell for cell in node.cells if "parameters" in cell.metadata.get("tags", []))
        for line in cell.source.splitlines():
            if line.strip() and "#" not in line:
                yield f"no unit or meaning beside `{line}`"
    if any("injected-parameters" in cell.metadata.get("tags", []) for cell in node.cells):
        yield "it was run with other parameters; `make figures` puts it back"


def _faults_of_source(node, code):
    first = node.cells[0]
    if first.cell_type != "markdown" or not first.source.startswith("# ") or "?" not in first.source:
        yield "the first cell is not a title with a question"
    _, _, ending = "\n".join(cell.source for cell in node.cells if cell.cell_type == "markdown").rpartition("\n## ")
    for part in ("Answer\n", "**What this does not show:**", "**Three things to try"):
        if part not in ending:
            yield f"its last section lacks {part.strip()}"
    if not code or code[-1].source.strip() != "finish_notebook()":
        yield "the last code cell is not finish_notebook()"
    for number, cell in enumerate(node.cells, 1):
        if cell.cell_type != "code":
            continue
        if len(cell.source.splitlines()) > MAX_LINES:
            yield f"cell {number} has {len(cell.source.splitlines())} lines, more than {MAX_LINES}"
        plain = re.sub(r"^\s*[%!].*$", "pass", cell.source, flags=re.MULTILINE)
        if any(isinstance(statement, ast.ClassDef) for statement in ast.walk(ast.parse(plain))):
            yield f"cell {number} defines a class"


def _faults_of_outputs(node, code):
    if [cell.execution_count for cell in code] != list(range(1, len(code) + 1)):
        yield "its code cells were not run once each, in order"
    outputs = [(number, output) for number, cell in enumerate(code, 1) for output in cell.outputs]
    for number, output in outputs:
        data = output.get("data", {})
        if output.output_type == "error" or output.get("name") == "stderr":
            yield f"code cell {number} ended in an error or a warning"
        if "application/vnd.jupyter.widget-view+json" in data:
            yield f"code cell {number} shows a widget whose state is not kept"
        for kind in PICTURES & set(data):
            if not output.metadata.get(kind, {}).get("alt"):
                yield f"code cell {number} shows a picture without an alternative text"
        text = json.dumps([output.get("text"), [data[kind] for kind in data if kind not in PICTURES]])
        if MACHINE.search(text) or ADDRESS.search(text):
            yield f"code cell {number} shows a path or an address of the machine it ran on"
    for number, cell in enumerate(node.cells, 1):
        if MACHINE.search(cell.source):
            yield f"cell {number} names a path of one machine"
    if not any(PICTURES & set(output.get("data", {})) for _, output in outputs):
        yield "it shows no picture where scripts do not run"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_committed_notebook_keeps_the_rules(path):
    assert faults_of(nbformat.read(path, as_version=4)) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_committed_notebook_is_small(path):
    assert path.stat().st_size <= MAX_BYTES


def test_the_notebooks_together_are_small():
    assert sum(path.stat().st_size for path in NOTEBOOKS) <= MAX_BYTES_TOGETHER


def test_no_two_notebooks_share_a_number():
    numbers = [path.stem.split("_")[0] for path in NOTEBOOKS]
    assert len(set(numbers)) == len(numbers)
    assert all(re.fullmatch(r"\d\d_[a-z0-9_]+", path.stem) for path in NOTEBOOKS)


def test_what_a_profile_sets_are_parameters_of_its_notebooks():
    profiles = tomllib.loads((REPOSITORY / "profiles.toml").read_text())
    given = [pair for notebooks in profiles.values() for pair in notebooks.items() if pair[0] != "trainings"]
    assert given
    for name, values in given:
        check_values(read_parameters(nbformat.read(REPOSITORY / "notebooks" / f"{name}.ipynb", as_version=4)), values)


def good_notebook():
    """A small notebook that keeps every rule."""
    picture = new_output(
        "execute_result",
        {"image/png": "iVBORw0KGgo=", "text/plain": "a gate closes"},
        metadata={"image/png": {"alt": "a gate closes"}},
        execution_count=2,
    )
    cells = [
        new_markdown_cell("# Gates\n\n**Which gate closes?**"),
        new_code_cell("size: int = 56  # px", metadata={"tags": ["parameters"]}),
        new_code_cell("%matplotlib inline\nsave_figure(fig)", outputs=[picture]),
        new_code_cell("finish_notebook()"),
        new_markdown_cell("## Answer\n\n**What this does not show:** all.\n\n**Three things to try:** one, two."),
    ]
    for count, cell in enumerate(cells[1:4], 1):
        cell.execution_count = count
    return new_notebook(
        cells=cells,
        metadata={"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}},
    )


def test_a_good_notebook_has_no_faults():
    assert faults_of(good_notebook()) == []


def _stream(text, name="stdout"):
    return lambda node: node.cells[2].outputs.append(new_output("stream", text=text, name=name))


@pytest.mark.parametrize(
    ("fault", "spoil"),
    [
        ("kernelspec", lambda node: node.metadata.pop("kernelspec")),
        ("widgets", lambda node: node.metadata.update(widgets={})),
        ("papermill in its metadata", lambda node: node.cells[2].metadata.update(papermill={})),
        ("execution in its metadata", lambda node: node.cells[2].metadata.update(execution={})),
        ("second cell", lambda node: node.cells.insert(1, new_markdown_cell("wait"))),
        ("a type is one of", lambda node: node.cells[1].update(source="clip: str | None = None  # a file")),
        ("unit or meaning", lambda node: node.cells[1].update(source="size: int = 56")),
        ("other parameters", lambda node: node.cells[3].metadata.update(tags=["injected-parameters"])),
        ("question", lambda node: node.cells[0].update(source="# Gates")),
        ("lacks Answer", lambda node: node.cells[4].update(source=node.cells[4].source.replace("## Answer", "## End"))),
        ("lacks .*not show", lambda node: node.cells[4].update(source="## Answer\n\n**Three things to try:** one.")),
        ("lacks .*to try", lambda node: node.cells[4].update(source="## Answer\n\n**What this does not show:** all.")),
        ("finish_notebook", lambda node: node.cells[3].update(source="print()")),
        ("21 lines", lambda node: node.cells[2].update(source="x = 1\n" * 21)),
        ("defines a class", lambda node: node.cells[2].update(source="if True:\n    class A:\n        pass")),
        ("in order", lambda node: node.cells[3].update(execution_count=5)),
        ("in order", lambda node: node.cells[3].update(execution_count=None)),
        ("an error or a warning", _stream("careful", "stderr")),
        ("an error or a warning", lambda node: node.cells[2].outputs.append(new_output("error"))),
        (
            "widget",
            lambda node: node.cells[2].outputs[0].data.update({"application/vnd.jupyter.widget-view+json": {}}),
        ),
        ("alternative text", lambda node: node.cells[2].outputs[0].metadata.clear()),
        ("path or an address", _stream("read /home/me/hand.mkv")),
        ("path or an address", _stream("<Figure at 0x7f0012345678>")),
        ("path of one machine", lambda node: node.cells[2].update(source="x = '/tmp/hand.mkv'")),
        ("no picture", lambda node: node.cells[2].update(outputs=[])),
    ],
)
def test_each_rule_sees_its_fault(fault, spoil):
    node = good_notebook()
    spoil(node)
    faults = faults_of(node)
    assert len(faults) >= 1
    assert any(re.search(fault, found) for found in faults), faults


@pytest.mark.parametrize("page", ["README.md", "notebooks/00_start_here.ipynb"])
def test_every_notebook_stands_in_the_tables_with_its_question(page):
    """Its first cell asks in bold what the tables ask."""
    text = (REPOSITORY / page).read_text()
    for path in NOTEBOOKS:
        first = nbformat.read(path, as_version=4).cells[0].source
        question = re.search(r"\*\*(.+?\?)\*\*", first, re.DOTALL).group(1).replace("\n", " ")
        assert re.search(rf"\[{path.stem}\]\([^)]*{path.name}\) \| {re.escape(question)}", text), path.stem


@pytest.mark.parametrize("path", [REPOSITORY / "README.md", *NOTEBOOKS], ids=lambda path: path.stem)
def test_every_link_leads_somewhere(path):
    if path.suffix == ".md":
        text = path.read_text()
    else:
        cells = nbformat.read(path, as_version=4).cells
        text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
    assert links
    assert [link for link in links if not (path.parent / link).exists()] == []
