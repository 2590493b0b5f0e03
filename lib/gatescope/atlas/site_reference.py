"""A reference of the library's public names as Markdown, read from the source: signatures and docstrings."""

import ast
import re
import textwrap
from functools import cache

from gatescope.dependencies import imported, module_file
from gatescope.files import PACKAGES

LONGEST_VALUE = 12  # lines of a constant that are shown


def reference() -> str:
    """Return a page of Markdown: each package's docstring, its public names and its modules."""
    rooms = [name for top in PACKAGES for name in [top, *_modules(top)] if _modules(name) or _names(name)]
    parts = ["# Reference"]
    for room in rooms:
        parts += [f"## {room}", _prose(_parsed(room)[0])]
        for name in _names(room):
            parts += [f"### `{name}`", *_entry(*_definition(room, name))]
        said = {module: _prose(_parsed(module)[0]).partition("\n")[0] for module in _modules(room)}
        links = {name: f"[`{name}`](#{name.replace('.', '')})" if name in rooms else f"`{name}`" for name in said}
        parts += ["### Modules", "\n".join(f"- {links[name]}: {said[name]}" for name in said)] if said else []
    return "\n\n".join(parts)


def _entry(module: str, node: ast.stmt) -> list[str]:
    """The definition and the docstring of a public name, and of the methods of a class."""
    if not isinstance(node, ast.FunctionDef | ast.ClassDef):
        lines = _lines(module, node, node.end_lineno)
        return [_code(lines if len(lines) <= LONGEST_VALUE else [*lines[:LONGEST_VALUE], "    ..."])]
    lines = _lines(module, node, node.body[0].lineno - 1)
    for statement in node.body if isinstance(node, ast.ClassDef) else []:
        if isinstance(statement, ast.AnnAssign):  # a field; its comment tells the unit
            lines += _lines(module, statement, statement.end_lineno)
        elif isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
            lines += ["", *_lines(module, statement, statement.body[0].lineno - 1)]
    parts = [_code(lines), _prose(node)]
    if isinstance(node, ast.ClassDef):
        homes = _imports(module) | dict.fromkeys(_top(module), module)
        bases = [name for name in map(ast.unparse, node.bases) if homes.get(name, "").split(".")[0] in PACKAGES]
        owners = [*(_definition(module, base) for base in bases), (module, node)]
        functions = [(home, each) for home, owner in owners for each in owner.body if isinstance(each, ast.FunctionDef)]
        for name, found in {each.name: (home, each) for home, each in functions if each.name[0] != "_"}.items():
            parts += [f"#### `{node.name}.{name}`", *_entry(*found)]
    return parts


def _definition(module: str, name: str) -> tuple[str, ast.stmt]:
    """The module and the statement that define a name, which `module` may only pass on."""
    (home,) = imported(f"from {module} import {name}")
    if name in _top(home):
        return home, _top(home)[name]
    return _definition(_imports(home)[name], name)


def _imports(module: str) -> dict[str, str]:
    """The module that each name is imported from."""
    nodes = [node for node in _parsed(module)[0].body if isinstance(node, ast.ImportFrom)]
    return {alias.name: node.module for node in nodes for alias in node.names}


def _names(module: str) -> list[str]:
    """The names in `__all__`, which is a list or made from the dictionary `_HOMES`."""
    top = _top(module)
    listed = top["__all__"].value if "__all__" in top else ast.List([])
    return list(ast.literal_eval(listed if isinstance(listed, ast.List) else top["_HOMES"].value))


def _modules(package: str) -> list[str]:
    path = module_file(package)
    stems = {each.stem for each in path.parent.iterdir()} if path.name == "__init__.py" else set()
    return [name for name in (f"{package}.{stem}" for stem in sorted(stems) if stem[0] != "_") if module_file(name)]


@cache
def _top(module: str) -> dict[str, ast.stmt]:
    """The statements at a module's top that define classes, functions and constants, by name."""
    found = {}
    for node in _parsed(module)[0].body:
        for target in [node, *getattr(node, "targets", []), getattr(node, "target", None)]:
            found[getattr(target, "name", getattr(target, "id", ""))] = node
    return found


@cache
def _parsed(module: str) -> tuple[ast.Module, list[str]]:
    source = module_file(module).read_text("utf-8")
    return ast.parse(source), source.splitlines()


def _lines(module: str, node: ast.stmt, last: int) -> list[str]:
    first = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])
    return _parsed(module)[1][first - 1 : last]


def _code(lines: list[str]) -> str:
    return f"```python\n{textwrap.dedent(chr(10).join(lines))}\n```"


def _prose(node: ast.Module | ast.ClassDef | ast.FunctionDef) -> str:
    """A docstring as Markdown, its sections (Args, Raises) as lists."""
    text = re.sub(r"^(\w+):\n(?= {4}\w)", r"\1:\n\n", ast.get_docstring(node) or "", flags=re.MULTILINE)
    return re.sub(r"^ {4}(\w[\w, ]*): ", r"- `\1`: ", text, flags=re.MULTILINE)
