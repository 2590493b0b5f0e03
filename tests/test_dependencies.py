"""Which files decide a result, told from imports."""

import subprocess
import sys

import pytest

from gatescope.dependencies import TRAINING, digest_of, files_behind, imported, training_digest
from gatescope.files import library_files
from gatescope.paths import LIBRARY
from public_names import public_names

MODULES = [path for path in library_files() if path.suffix == ".py" and path.stem != "__init__"]


def names_behind(*modules):
    return {path.relative_to(LIBRARY).as_posix() for path in files_behind(modules)}


@pytest.mark.slow
def test_a_training_is_decided_by_all_the_code_it_runs_through():
    """What an interpreter loads for a training, but for what only the packages' own pages bring in."""
    code = f"import sys, {', '.join(TRAINING)}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    own = {name for name in loaded if name.split(".")[0] in {"gatescope", "rendered_people"}}
    found = names_behind(*TRAINING)
    known = {path.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for path in found}
    packages = {name for name in own if (LIBRARY / name.replace(".", "/")).is_dir()}
    passed_on = {
        name
        for package in packages
        for name in imported((LIBRARY / package.replace(".", "/") / "__init__.py").read_text(), package)
    }
    behind = names_behind(*passed_on) | {"gatescope/__init__.py"}
    assert {f"{name.replace('.', '/')}.py" for name in own - packages - known} <= behind
    for name in ("rendered_people/raster.py", "gatescope/models/recurrent.py", "gatescope/trainings/train.py"):
        assert name in found


def test_pictures_and_pages_do_not_decide_a_training():
    found = names_behind(*TRAINING)
    assert not [name for name in found if name.startswith(("gatescope/pictures", "gatescope/atlas", "gatescope/exp"))]


def test_clips_are_decided_by_the_renderer_and_by_what_a_clip_is():
    found = names_behind("gatescope.loaders.rendered.gestures")
    assert {"rendered_people/gestures.py", "rendered_people/textures.py", "gatescope/loaders/clip.py"} <= found
    assert not [name for name in found if name.startswith("gatescope/models")]
    assert "rendered_people/whole_body.py" not in found


def test_a_name_that_a_package_passes_on_leads_to_its_own_module():
    assert imported("from gatescope.loaders import read_clip") == ["gatescope.loaders.reading"]
    assert imported("def f():\n    from gatescope.loaders import clip") == ["gatescope.loaders.clip"]
    assert imported("import numpy\nimport gatescope.loaders.flow as flow") == ["gatescope.loaders.flow"]


def test_relative_imports_and_renamed_ones_are_followed():
    assert imported("from .clip import Clip as C", "gatescope.loaders") == ["gatescope.loaders.clip"]
    assert imported("from ..models import cells", "gatescope.loaders") == ["gatescope.models.cells"]
    assert imported("from . import clip as c", "gatescope.loaders") == ["gatescope.loaders.clip"]


def test_a_name_that_is_loaded_when_asked_for_leads_to_its_own_module():
    assert imported("from gatescope.pictures import Scrubber") == ["gatescope.pictures.scrubber"]
    assert imported("from gatescope.pictures import explore") == ["gatescope.explorer.explorer"]
    assert {"gatescope/pictures/scrubber.py", "gatescope/explorer/explorer.js"} <= names_behind("gatescope.pictures")
    homes = "_HOMES = {'Clip': 'clip', 'RNN': 'gatescope.models.rnn'}"
    assert imported(homes, "gatescope.loaders") == ["gatescope.loaders.clip", "gatescope.models.rnn"]


@pytest.mark.parametrize(("package", "names"), public_names().items())
def test_every_public_name_leads_to_a_module_that_is_not_a_package(package, names):
    """A way to pass names on that `imported` cannot read would leave their modules out."""
    for name in names:
        (module,) = imported(f"from {package} import {name}")
        assert (LIBRARY / f"{module.replace('.', '/')}.py").is_file(), name


def test_scripts_style_sheets_and_templates_count_where_code_names_them():
    assert "gatescope/pictures/scrubber.js" in names_behind("gatescope.pictures.scrubber")
    assert "gatescope/pictures/scrubber.js" in names_behind("gatescope.explorer.live_scrubber")
    assert "gatescope/atlas/site_template/site.css" in names_behind("gatescope.atlas.site")
    for module in ("gatescope.pictures.intervals", "gatescope.atlas.rebuild", "gatescope.models.recurrent"):
        assert not [name for name in names_behind(module) if not name.endswith(".py")]
    style = files_behind([], "plt.style.use('gatescope.pictures.style')")
    assert style == [LIBRARY / "gatescope/pictures/style.mplstyle"]


def test_every_file_that_is_no_module_is_named_by_some_code():
    named = names_behind(*(".".join(path.relative_to(LIBRARY).with_suffix("").parts) for path in MODULES))
    assert {path.relative_to(LIBRARY).as_posix() for path in library_files() if path.suffix != ".py"} <= named


def test_a_hash_changes_with_a_file_it_covers_and_with_no_other(tmp_path, monkeypatch):
    for name, text in {
        "gatescope/__init__.py": "",
        "gatescope/one.py": "from gatescope.two import f",
        "gatescope/two.py": "f = 1",
        "gatescope/three.py": "",
        "rendered_people/__init__.py": "",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr("gatescope.dependencies.LIBRARY", tmp_path)
    monkeypatch.setattr("gatescope.files.LIBRARY", tmp_path)
    before = digest_of(["gatescope.one"])
    (tmp_path / "gatescope/three.py").write_text("g = 2")
    assert digest_of(["gatescope.one"]) == before
    (tmp_path / "gatescope/two.py").write_text("f = 2")
    assert digest_of(["gatescope.one"]) != before


def test_a_module_that_is_not_there_is_named():
    with pytest.raises(LookupError, match="no module gatescope.nowhere"):
        files_behind(["gatescope.nowhere"])


def test_the_hash_of_a_training_is_that_of_its_code():
    assert training_digest() == digest_of(TRAINING)
