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
    contents = "\n".join(f"- [`{room}`](#{room.replace('.', '')}): {_first_line(room)}" for room in rooms)
    opening = "# Reference\n\nThe library's packages, with the names that each offers and the modules in it."
    return "\n\n".join([opening, contents, *(part for room in rooms for part in _room(room))])


def _room(room: str) -> list[str]:
    parts = [f"## {room}", _prose(_tree(room))]
    for name in _names(room):
        parts += [f"### `{name}`", *_entry(*_definition(room, name))]
    lines = [f"- `{module.rpartition('.')[2]}`: {_first_line(module)}" for module in _modules(room)]
    return [*parts, "### Modules", "\n".join(lines)] if lines else parts


def _entry(module: str, node: ast.stmt) -> list[str]:
    """The definition and the docstring of a public name, and of the methods of a class."""
    if not isinstance(node, ast.FunctionDef | ast.ClassDef):
        lines = _lines(module, node, node.end_lineno)
        return [_code(lines if len(lines) <= LONGEST_VALUE else [*lines[:LONGEST_VALUE], "    ..."])]
    lines = _lines(module, node, node.body[0].lineno - 1)
    if isinstance(node, ast.FunctionDef):
        return [_code(lines), _prose(node)]
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign):  # a field; its comment tells the unit
            lines += _lines(module, statement, statement.end_lineno)
        elif isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
            lines += ["", *_lines(module, statement, statement.body[0].lineno - 1)]
    parts = [_code(lines), _prose(node)]
    for name, (home, method) in _methods(module, node).items():
        parts += [f"#### `{node.name}.{name}`", *_entry(home, method)]
    return parts


def _methods(module: str, node: ast.ClassDef) -> dict[str, tuple[str, ast.stmt]]:
    """The public methods of a class and of its bases in the library, each with the module it stands in."""
    bases = [_definition(module, base.id) for base in node.bases if isinstance(base, ast.Name)]
    inherited = [_methods(*base) for base in bases if base and isinstance(base[1], ast.ClassDef)]
    own = [each for each in node.body if isinstance(each, ast.FunctionDef) and not each.name.startswith("_")]
    return {name: at for each in inherited for name, at in each.items()} | {each.name: (module, each) for each in own}


def _definition(module: str, name: str) -> tuple[str, ast.stmt] | None:
    """The module and the statement that define a name, which `module` may only pass on; None outside the library."""
    for home in imported(f"from {module} import {name}"):
        if statement := _binding(home, name):
            return home, statement
        for node in _tree(home).body:
            for alias in node.names if isinstance(node, ast.ImportFrom) else []:
                if name in (alias.asname, alias.name):
                    return _definition(node.module, alias.name)
    return None


def _binding(module: str, name: str) -> ast.stmt | None:
    """The statement at a module's top that defines a class, a function or a constant of this name."""
    for node in _tree(module).body:
        targets = [*getattr(node, "targets", []), getattr(node, "target", None)]
        if name in [getattr(node, "name", ""), *(getattr(target, "id", "") for target in targets)]:
            return node
    return None


def _names(module: str) -> list[str]:
    """The names in `__all__`, which is a list or made from the dictionary `_HOMES`."""
    found = _binding(module, "__all__")
    if found and not isinstance(found.value, ast.List):
        found = _binding(module, "_HOMES")
    return list(ast.literal_eval(found.value)) if found else []


def _modules(package: str) -> list[str]:
    path = module_file(package)
    stems = {each.stem for each in path.parent.iterdir()} if path.name == "__init__.py" else set()
    return [name for name in (f"{package}.{stem}" for stem in sorted(stems) if stem[0] != "_") if module_file(name)]


@cache
def _source(module: str) -> str:
    return module_file(module).read_text()


@cache
def _tree(module: str) -> ast.Module:
    return ast.parse(_source(module))


def _lines(module: str, node: ast.stmt, last: int) -> list[str]:
    first = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])
    return _source(module).splitlines()[first - 1 : last]


def _code(lines: list[str]) -> str:
    return f"```python\n{textwrap.dedent(chr(10).join(lines))}\n```"


def _prose(node: ast.Module | ast.ClassDef | ast.FunctionDef) -> str:
    """A docstring as Markdown, its sections (Args, Raises) as lists."""
    text = re.sub(r"^(\w+):\n(?= {4}\w)", r"\1:\n\n", ast.get_docstring(node) or "", flags=re.MULTILINE)
    return re.sub(r"^ {4}(\w[\w, ]*): ", r"- `\1`: ", text, flags=re.MULTILINE)


def _first_line(module: str) -> str:
    return (ast.get_docstring(_tree(module)) or "").partition("\n")[0]
