"""What is installed, held against what pyproject.toml and the lock ask for, by the standard library alone."""

import re
from functools import cache
from importlib import import_module, metadata

from gatescope.formats.facts import read_toml
from gatescope.paths import ROOT


def off_lock() -> list[str]:
    """Return what is not installed at the version of requirements.lock, with both versions."""
    found = {name: _version(name) for name in pins()}
    # A build, +cpu, is not part of what is pinned.
    return [
        f"{name} {found[name] or 'missing'} ({pin})" for name, pin in pins().items() if found[name].split("+")[0] != pin
    ]


def wrong_with(name: str, least: str | None) -> str:
    """Return what is wrong with an installed package; nothing where nothing is."""
    if not (found := _version(name)):
        return "is missing"
    if least and _numbers(found) < _numbers(least):
        return f"is {found}, {least} or later is needed"
    for module in _compiled(name):
        try:
            import_module(module)
        # A library that does not load raises anything.
        except Exception as error:
            return f"{found} is broken: {said(error)}"
    return ""


def _compiled(name: str) -> set[str]:
    """The top modules of a package that hold compiled code: what may be there and not load."""
    parts = [path.parts for path in metadata.files(name) or () if path.suffix in {".so", ".pyd", ".dylib"}]
    return {first for first, *rest in parts if rest and first.isidentifier() and not first.endswith("libs")}


def _version(name: str) -> str:
    try:
        return metadata.version(name) or ""
    except metadata.PackageNotFoundError:
        return ""


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version.split("+")[0])[:3]))


def project_table() -> dict:
    """Return the table `project` of pyproject.toml."""
    return read_toml(ROOT / "pyproject.toml")["project"]


@cache
def pins() -> dict[str, str]:
    """Return the versions in requirements.lock by the packages' plain names."""
    lock = (ROOT / "requirements.lock").read_text("utf-8")
    return {plain_name(name): pin for name, pin in re.findall(r"^([\w.-]+)==(.+)$", lock, re.MULTILINE)}


def plain_name(name: str) -> str:
    """Return a package's name as PyPI compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def said(error: Exception) -> str:
    """Return an error in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
