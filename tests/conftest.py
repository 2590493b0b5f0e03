"""The shape checker goes in before the package is imported; real clips are used where they are found."""

import sys
from functools import cache
from pathlib import Path

import pytest
from jaxtyping import _decorator, config, install_import_hook
from jaxtyping._import_hook import _JaxtypingLoader

sys.modules["rfc3987_syntax"] = None  # as in gatescope.atlas.commands: a second to import, for nothing

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGES = [REPOSITORY / "lib" / name for name in ("gatescope", "rendered_people")]


def leaf_modules() -> list[str]:
    """Every module of both packages that is not itself a package, by its dotted name.

    Without what numba compiles, which reads the functions themselves and cannot see through a wrapper.
    """
    paths = [path for top in PACKAGES for path in top.rglob("*.py") if path.name not in {"__init__.py", "__main__.py"}]
    plain = [path for path in paths if "numba.njit(" not in path.read_text()]
    return sorted(".".join(path.relative_to(REPOSITORY / "lib").with_suffix("").parts) for path in plain)


def execute(loader, module):
    exec(loader.source_to_code(loader.get_data(loader.path), loader.path), module.__dict__)


# The hook's own way looks for bytecode that it made, also of torch and all else that a module imports, and where it
# finds none compiles 1,600 files: six seconds for every process that runs tests.
_JaxtypingLoader.exec_module = execute


def once(make):
    """`make`, whose results are kept where what it was given can be told apart."""
    kept = cache(make)

    def made(*given, **named):
        try:
            return kept(*given, **named)
        except TypeError:  # a default value that has no hash
            return make(*given, **named)

    return made


# A function inside another is decorated whenever the outer one runs. The two empty functions that check what it gets
# and gives depend on its signature alone; to write and compile them each time took up to a third of a test's time.
for name in ("_make_fn_with_signature", "_apply_typechecker"):
    setattr(_decorator, name, once(getattr(_decorator, name)))


# Leaf modules by name: the hook takes all that lies below a name, so a package would bring the compiled ones back.
install_import_hook(leaf_modules(), "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")


def pytest_collection_modifyitems(items):
    """Run slow tests first: a process that ends with one leaves the others idle."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture
def shapes_unchecked():
    """For a test that calls many thousand times what others call too: the checks take twice the time of the calls."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real clips and reference numbers, where there is one."""
    folder = REPOSITORY.parent / "shared"
    if not folder.is_dir():
        pytest.skip("no folder `shared` with real clips beside the repository")
    return folder
