"""The names that packages are imported for, read without importing them."""

import ast
from pathlib import Path

LIBRARY = Path(__file__).resolve().parent.parent / "lib"


def public_names() -> dict[str, list[str]]:
    """What `__all__` of each package lists, by the package's name."""
    found = {}
    for path in sorted(LIBRARY.rglob("__init__.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Assign) and node.targets[0].id == "__all__":
                found[".".join(path.parent.relative_to(LIBRARY).parts)] = ast.literal_eval(node.value)
    return found
