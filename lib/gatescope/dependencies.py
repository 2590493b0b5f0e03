"""Files of the library that decide a result: those that its code imports, directly or through others."""

import ast
import os
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

from gatescope.files import PACKAGES, library_files, sha256_of_files
from gatescope.paths import LIBRARY

TRAINING = ("gatescope.trainings.runs", "gatescope.trainings.descriptions")


def digest_of(modules: Iterable[str], source: str = "") -> str:
    """Return a hash of the code that these modules and `source` run through; no other file of the library changes it.

    Raises LookupError and SyntaxError as `files_behind` does.
    """
    return _digest_of(tuple(modules), source, _state(library_files()))


@lru_cache(maxsize=100)  # one for all trainings
def _digest_of(modules: tuple[str, ...], source: str, state: str) -> str:
    return sha256_of_files(_files_behind(modules, source, state), LIBRARY)


def training_digest() -> str:
    """Return a hash of the code that decides how a training ends."""
    return digest_of(TRAINING)


def files_behind(modules: Iterable[str], source: str = "") -> list[Path]:
    """Return the files that these modules, and a text of Python `source`, run through, sorted.

    These are the modules' own files and those of all they import from the library, at their top or in a function. A
    name that a package's `__init__` passes on leads to the module that defines it, past the `__init__` itself: one
    picture does not depend on every other. A style sheet, script or template counts where its name, or that of its
    folder, stands in the code.

    Raises LookupError for a module that the library does not have, SyntaxError for a source that is not Python.
    """
    return _files_behind(modules, source, _state(library_files()))


def _files_behind(modules: Iterable[str], source: str, state: str) -> list[Path]:
    texts: dict[Path, str] = {}
    waiting = [*modules, *imported(source)]
    while waiting:
        name = waiting.pop()
        path = module_file(name)
        if path is None:
            raise LookupError(f"the library has no module {name}; it has the packages {', '.join(PACKAGES)}")
        if path not in texts:
            texts[path] = path.read_text("utf-8")
            package = name if path.name == "__init__.py" else name.rpartition(".")[0]
            waiting += _imported_in(texts[path], package, state)
    beside = {path for text in [source, *texts.values()] for path in _named_in(text, state)}
    return sorted([*texts, *beside])


def imported(source: str, package: str = "") -> list[str]:
    """Return the library's modules that `source`, a module in `package` or a cell, imports, by their full names."""
    own = [(module, name) for module, name, _ in _imports(source, package) if module.split(".")[0] in PACKAGES]
    modules = [_home(module, name) for module, name in own]
    return list(dict.fromkeys(module for module in modules if module.split(".")[0] in PACKAGES))


@lru_cache(maxsize=1000)  # what one notebook runs through, most others do
def _imported_in(source: str, package: str, state: str) -> list[str]:
    """Return what `imported` does, once for each state of the library's files."""
    return imported(source, package)


@lru_cache(maxsize=1000)
def _named_in(source: str, state: str) -> list[Path]:
    """Return the library's files beside its code that a text names, once for each state of the library."""
    return [path for path, names in _beside(state) if any(name in source for name in names)]


@lru_cache(maxsize=2)
def _beside(state: str) -> list[tuple[Path, tuple[str, str]]]:
    return [(path, _names(path)) for path in library_files() if path.suffix != ".py"]


def _state(library: Iterable[Path]) -> str:
    """Return a text that changes whenever a file of the library does."""
    return "".join(f"{path} {about.st_mtime_ns} {about.st_size}\n" for path in library for about in [path.stat()])


@lru_cache(maxsize=1000)
def _imports(source: str, package: str) -> list[tuple[str, str, str]]:
    """Every import as a module, the name taken from it, and the name it gets here; both empty for a whole module.

    A package that loads names when they are first asked for keeps a dictionary `_HOMES` from names to modules; its
    entries count as imports.
    """
    found = []
    for node in _statements(ast.parse(source)):
        match node:
            case ast.Import(names):
                found += [(alias.name, "", "") for alias in names]
            case ast.ImportFrom(module, names, level):
                above = package.split(".")[: len(package.split(".")) + 1 - level] if level else []
                base = ".".join([*above, *([module] if module else [])])
                found += [(base, alias.name, alias.asname or alias.name) for alias in names]
            case ast.Assign([ast.Name("_HOMES")], ast.Dict() as homes):
                for name, module in ast.literal_eval(homes).items():
                    found.append((module if module_file(module) else f"{package}.{module}", name, name))
    return found


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the statements below a node, also within others, past their expressions, which import nothing."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt | ast.ExceptHandler | ast.match_case):
            yield child
            yield from _statements(child)


def _home(module: str, name: str) -> str:
    """The module that defines what `from module import name` brings, which a package may only pass on."""
    path = module_file(module)
    if not name or path is None or path.name != "__init__.py":
        return module
    if module_file(f"{module}.{name}"):
        return f"{module}.{name}"
    for base, original, bound in _imports(path.read_text("utf-8"), module):
        if bound == name:
            return _home(base, original)
    return module


def module_file(name: str) -> Path | None:
    """Return the file of a module or of a package's `__init__`; None for any other name."""
    path = os.path.join(LIBRARY, *name.split("."))  # asked for thousands of times, for which a Path is slow
    found = (each for each in (f"{path}.py", os.path.join(path, "__init__.py")) if os.path.isfile(each))
    return next(map(Path, found), None)


def _names(path: Path) -> tuple[str, str]:
    """The names under which code asks for a file that is no module, or for its folder: beside itself, and dotted."""
    while not (path.parent / "__init__.py").exists():
        path = path.parent
    return path.name, ".".join(path.relative_to(LIBRARY).with_suffix("").parts)
