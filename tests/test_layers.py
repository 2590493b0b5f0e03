"""Which room may import which, and how long a module may grow."""

import ast
from pathlib import Path

import pytest

PACKAGES = Path(__file__).resolve().parent.parent / "lib"
LIBRARY = PACKAGES / "gatescope"
MODULES = {
    ".".join(path.relative_to(PACKAGES).with_suffix("").parts): path
    for package in ("gatescope", "rendered_people")
    for path in sorted((PACKAGES / package).rglob("*.py"))
}
LONGEST = 350  # lines
MOST_ROOMS, MOST_LOOSE = 11, 5

# From the ground up: a room imports from rows above its own, and of the names in its own row from none.
FLOORS = (
    ("rendered_people",),
    ("paths",),
    ("files",),
    ("formats",),
    ("dependencies",),
    ("loaders", "models"),
    ("recordings",),
    ("measures",),
    ("pictures", "trainings"),
    ("explorer", "atlas"),
    ("train", "udl"),  # public names of what stands in trainings
    ("__main__",),
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def room_of(module):
    """The room of a module by its dotted name: what stands below `gatescope`, or the renderer."""
    package, *rest = module.split(".")
    return package if package == "rendered_people" else rest[0]


def imported_rooms(module, path):
    """The rooms that a module imports from, at its top or in a function; not its own."""
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = ".".join(package[: len(package) + 1 - node.level]) + "." if node.level else ""
            base = f"{above}{node.module or ''}".rstrip(".")
            names = [f"{base}.{alias.name}" for alias in node.names] if base == "gatescope" else [base]
        rooms |= {room_of(name) for name in names if name.startswith(("gatescope.", "rendered_people"))}
    return rooms - {room_of(module)}


@pytest.mark.parametrize("module", [name for name in MODULES if name != "gatescope.__init__"])
def test_a_module_imports_only_from_below(module):
    own = FLOOR_OF.get(room_of(module))
    assert own is not None, f"{module} stands in no room of FLOORS"
    for room in imported_rooms(module, MODULES[module]):
        assert FLOOR_OF[room] < own, f"{module} imports from {room}"


def test_the_house_can_be_drawn():
    rooms = [path for path in LIBRARY.iterdir() if (path / "__init__.py").exists()]
    loose = [path for path in LIBRARY.glob("*.py") if not path.stem.startswith("__")]
    assert len(rooms) <= MOST_ROOMS
    assert len(loose) <= MOST_LOOSE


@pytest.mark.parametrize("module", MODULES)
def test_a_module_is_still_one_thing(module):
    length = len(MODULES[module].read_text().splitlines())
    assert length <= LONGEST


def test_the_rules_see_every_way_to_import(tmp_path):
    source = tmp_path / "plots.py"
    source.write_text(
        "import gatescope.models.rnn\nfrom gatescope import trainings\nfrom gatescope.loaders.clip import Clip\n"
        "from ..recordings import record\nfrom . import scrubber\nfrom rendered_people import body\n"
        "def f():\n    from gatescope.udl import fit\n"
    )
    assert imported_rooms("gatescope.pictures.plots", source) == {
        *("models", "trainings", "loaders", "recordings", "udl", "rendered_people")
    }
