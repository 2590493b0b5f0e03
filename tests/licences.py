"""The licences of what the lock pins, as the packages themselves state them; `make lock` writes LICENCES.md by it."""

import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
HEAD = """# Licences of the packages that `make` installs

Written by `make lock` from what each package states of itself. None is part of this repository, whose own licence is
[LICENSE](LICENSE).

| package | version | licence |
|---|---|---|
"""


def licence_of(name: str) -> str:
    """Return what a package says: its expression, its short name of a licence, or its classifiers."""
    said = metadata.metadata(name)
    short = (said["License"] or "").strip().replace("UNKNOWN", "")
    if said["License-Expression"] or (short and "\n" not in short and len(short) < 60):
        return said["License-Expression"] or short
    classes = [
        each.rpartition(" :: ")[2] for each in said.get_all("Classifier") or () if each.startswith("License :: ")
    ]
    return ", ".join(classes) or "see its files"


def rows() -> Iterator[str]:
    """Yield a row for each pin that is installed at its version; torch of any build."""
    lock = (REPOSITORY / "requirements.lock").read_text("utf-8")
    for name, pin in re.findall(r"^([\w.-]+)==(.+)$", lock, re.MULTILINE):
        try:
            found = metadata.version(name).partition("+")[0]
        except metadata.PackageNotFoundError:
            continue
        if found == pin:
            yield f"| {name} | {pin} | {licence_of(name)} |"


if __name__ == "__main__":
    print(HEAD + "\n".join(rows()))
