"""Which files of the library decide a result: those that its modules import, directly or through others."""

import ast
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from gatescope.files import PACKAGES, library_files, sha256_of_files
from gatescope.paths import LIBRARY

TRAINING = ("gatescope.trainings.runs", "gatescope.trainings.descriptions")


def files_behind(modules: Iterable[str]) -> list[Path]:
    """The files that these modules run through: their own, and of all they import from the library, sorted.

    A name that a package's `__init__` only passes on leads to the module it comes from, so that a picture does not
    depend on every other picture. A package taken whole brings all its modules. Style sheets, scripts and templates
    count with the package they lie in.

    Raises LookupError for a module that the library does not have.
    """
    found: set[Path] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        path = _file(name)
        if path is None:
            raise LookupError(f"the library has no module {name}; it has the packages {', '.join(PACKAGES)}")
        if path in found:
            continue
        found.add(path)
        waiting += imported(path.read_text(), name if path.name == "__init__.py" else name.rpartition(".")[0])
    beside = {path.parent for path in found}
    return sorted(found | {path for path in library_files() if path.suffix != ".py" and _owner(path) in beside})


def digest_of(modules: Iterable[str]) -> str:
    """A hash of the code that these modules run through; it outlives a change of any other file."""
    return sha256_of_files(files_behind(modules), LIBRARY)


def training_digest() -> str:
    """A hash of the code that decides how a training ends."""
    return digest_of(TRAINING)


@lru_cache(maxsize=1000)
def imported(source: str, package: str = "") -> tuple[str, ...]:
    """The library's modules that `source`, a module in `package` or a cell, imports anywhere, each by its full name."""
    names: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            for alias in node.names:
                names += _home(base, alias.name) if base.split(".")[0] in PACKAGES else []
    return tuple(dict.fromkeys(name for name in names if name.split(".")[0] in PACKAGES))


def _home(package: str, name: str) -> list[str]:
    """Where a name that is imported from `package` is defined: one module, or all of a package that does not say."""
    path = _file(package)
    if path is None or path.name != "__init__.py":
        return [package]
    if _file(f"{package}.{name}"):
        return [f"{package}.{name}"]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and name in [alias.asname or alias.name for alias in node.names]:
            return _home(node.module, name)
    inside = [each for each in path.parent.rglob("*.py") if each != path]
    return [package, *(".".join(each.relative_to(LIBRARY).with_suffix("").parts) for each in inside)]


def _file(name: str) -> Path | None:
    """The file of a module or of a package's `__init__`; None for any other name."""
    path = LIBRARY.joinpath(*name.split("."))
    found = [each for each in (path.with_suffix(".py"), path / "__init__.py") if each.is_file()]
    return found[0] if found else None


def _owner(path: Path) -> Path:
    """The folder of the package whose modules read this file, which may lie deeper."""
    folder = path.parent
    while not (folder / "__init__.py").exists():
        folder = folder.parent
    return folder
