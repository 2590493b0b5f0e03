"""The names that packages are imported for, read without importing them."""

import ast
from pathlib import Path

LIBRARY = Path(__file__).resolve().parent.parent / "lib"


def public_names() -> dict[str, list[str]]:
    """What `__all__` of each package lists, by the package's name."""
    found = {}
    for path in sorted(LIBRARY.rglob("__init__.py")):
        assigned = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.Assign)]
        values = {node.targets[0].id: node.value for node in assigned}
        if "__all__" in values:
            listed = values["__all__"] if isinstance(values["__all__"], ast.List) else values["_HOMES"]
            found[".".join(path.parent.relative_to(LIBRARY).parts)] = list(ast.literal_eval(listed))
    return found
