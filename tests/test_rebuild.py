"""A notebook reaches the tree whole or not at all: real kernels, really killed."""

import errno
import json
import os
import re
import shutil
import subprocess
import sys

import nbformat
import papermill
import pytest
from nbformat.v4 import new_code_cell

from gatescope.atlas.freshness import is_current
from gatescope.atlas.notebook_cells import RebuildError, read_source
from gatescope.atlas.notebook_parameters import ParameterError
from gatescope.atlas.rebuild import rebuild
from gatescope.atlas.strict_kernel import FAILURES
from gatescope.files import sha256_of
from throwaway import DRAW, FINISH, content_of, write_notebook


def manifest_of(tree):
    return json.loads((tree / "figures" / "manifest.json").read_text())["figures"]


@pytest.fixture
def tree(tmp_path):
    """A tree in which notebook 07 was once rebuilt."""
    figures = tmp_path / "figures"
    figures.mkdir()
    (figures / "07-old.png").write_text("old picture")
    old = {"notebook": "07_line", "files": {"07-old.png": "?"}, "numbers": {}}
    (figures / "manifest.json").write_text(json.dumps({"figures": {"07-old": old}}))
    return tmp_path


@pytest.mark.slow
def test_a_good_run_leaves_notebook_figures_and_manifest(tree):
    path = write_notebook(tree, "07_line", DRAW, "print(os.environ['OMP_NUM_THREADS'])", FINISH)
    assert not is_current(path, {})
    rebuild(path)
    figures = {"figures/07-line.png", "figures/07-line.svg", "figures/manifest.json"}
    assert set(content_of(tree)) == {"notebooks/07_line.ipynb"} | figures
    assert [entry.name for entry in (tree / "build").iterdir() if entry.is_dir()] == ["rebuilt"]
    figure = manifest_of(tree)["07-line"]
    assert figure["notebook"] == "07_line"
    assert figure["parameters"] == {"height": 1.0, "clip": ""}
    assert figure["numbers"] == {"steps": {"value": 2, "kind": "exact"}}
    assert len(figure["code"]) == 64
    node = nbformat.read(path, as_version=4)
    assert [cell.execution_count for cell in node.cells if cell.cell_type == "code"] == [1, 2, 3, 4, 5]
    assert node.cells[4].outputs[0].text == "1\n"
    assert "image/png" in node.cells[3].outputs[0].data
    assert is_current(path, {})


@pytest.mark.slow
def test_a_second_run_leaves_the_same_bytes_and_a_parameter_goes_as_it_came(tree):
    path = write_notebook(tree, "07_line", DRAW, "print(height)", FINISH)
    rebuild(path)
    first = content_of(tree)
    rebuild(path)
    assert content_of(tree) == first
    rebuild(path, {"height": 2})
    assert manifest_of(tree)["07-line"]["parameters"]["height"] == 2.0
    node = nbformat.read(path, as_version=4)
    assert node.cells[2].id == "injected-parameters"
    assert node.cells[5].outputs[0].text == "2.0\n"
    assert is_current(path, {"height": 2.0})
    assert not is_current(path, {})
    rebuild(path)
    assert content_of(tree) == first


@pytest.mark.slow
def test_a_readers_surroundings_do_not_reach_a_notebook(tree, tmp_path_factory):
    """No home to write to, settings of its own, another locale and umask: the same bytes, readable by the owner."""
    path = write_notebook(tree, "07_line", DRAW, "print('é →', 'spoilt' in globals())", FINISH)
    rebuild(path)
    before = content_of(tree)
    assert b"\xc3\xa9 \xe2\x86\x92 False" in before["notebooks/07_line.ipynb"]
    own = tmp_path_factory.mktemp("own")
    (own / "matplotlibrc").write_text("font.size: 30\nlines.linewidth: 9\n")
    for name in ("profile_default/startup/00.py", "pythonstartup.py"):
        (own / name).parent.mkdir(parents=True, exist_ok=True)
        (own / name).write_text("spoilt = True")
    env = {name: value for name, value in os.environ.items() if not name.startswith("XDG") and name != "MPLCONFIGDIR"}
    env |= {"HOME": "/dev/null/home", "MATPLOTLIBRC": str(own / "matplotlibrc"), "IPYTHONDIR": str(own)}
    env |= {
        "PYTHONSTARTUP": str(own / "pythonstartup.py"),
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "LC_ALL": "C",
    }
    command = [sys.executable, "-m", "gatescope", "rebuild", str(path)]
    run = subprocess.run(command, env=env, umask=0o077, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert path.read_text("utf-8") == before["notebooks/07_line.ipynb"].decode()
    assert content_of(tree) == before
    assert {(tree / name).stat().st_mode & 0o777 for name in before if "07-line" in name} == {0o600}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        (["1 / 0", FINISH], "cell 5 failed.*ZeroDivisionError"),
        (["os.kill(os.getpid(), signal.SIGKILL)", FINISH], "cell 5 failed: Kernel died"),
        ([FINISH, "os._exit(0)"], "cell 6 failed: Kernel died"),
        (["raise SystemExit(0)", FINISH], "cell 5 ended in an error"),
        (["time.sleep(60)", FINISH], "cell 5 failed.*timed out"),
        (["open('/dev/full', 'w').write('x' * 100_000)", FINISH], "No space left on device"),
        ([], "without finish_notebook"),
        ([FINISH, DRAW.replace("-line", "-late")], "after finish_notebook"),
        (["Path('figures/odd.png').write_text('')", FINISH], "not saved by save_figure.*odd.png"),
        ([DRAW.replace("NAME", "08"), FINISH], "08-line must be named 07-"),
    ],
)
def test_a_run_that_fails_leaves_the_tree_as_it_was(tree, cells, reason, monkeypatch):
    path = write_notebook(tree, "07_line", DRAW, *cells)
    before = content_of(tree)
    monkeypatch.setattr("gatescope.atlas.rebuild.CELL_TIMEOUT_S", 10)
    with pytest.raises(RebuildError, match=f"(?s){reason}"):
        rebuild(path)
    assert content_of(tree) == before
    assert not is_current(path, {})


ASIDE = [
    "import asyncio, threading\nfrom concurrent.futures import ThreadPoolExecutor\ndef fail(): 1 / 0",
    "thread = threading.Thread(target=fail)\nthread.start()",
    "thread.join()",
    "job = ThreadPoolExecutor(1).submit(fail)",
    "async def die(): fail()\ntasks = [asyncio.create_task(die())]\nawait asyncio.sleep(0.01)",
    "asyncio.create_task(die())\nawait asyncio.sleep(0.01)",
    "asyncio.get_running_loop().call_soon(fail)\nawait asyncio.sleep(0.01)",
    "class Dying:\n    def __del__(self): fail()\nDying();",
    "waiting = asyncio.create_task(asyncio.sleep(60)), asyncio.create_task(die())\ndel waiting",
    "threading.Thread(target=lambda: (time.sleep(0.5), 1 / 0)).start()",
]


@pytest.mark.slow
def test_what_fails_beside_the_cells_is_refused_with_its_cell(tree):
    path = write_notebook(
        tree, "07_line", DRAW, *ASIDE, "async def wait(): pass", "late = asyncio.create_task(wait())", FINISH
    )
    before = content_of(tree)
    with pytest.raises(RebuildError) as refused:
        rebuild(path)
    assert content_of(tree) == before
    cells = [int(cell) for cell in re.findall(r"^cell (\d+): ", str(refused.value), re.MULTILINE)]
    # fail() and die() stand in the cells 5 and 9.
    assert set(cells) >= {5, 9, 12, 14}
    for words in ("thread", "Future", "Task", "in callback", "__del__"):
        assert re.search(f"{words}.* ended in ZeroDivisionError", str(refused.value)), words


@pytest.mark.slow
def test_what_fails_and_is_asked_for_is_the_notebooks_own_affair(tree):
    handled = [
        ASIDE[0],
        "job = ThreadPoolExecutor(1).submit(fail)\nassert job.exception()",
        "async def die(): fail()\ntask = asyncio.create_task(die())\nawait asyncio.sleep(0.01)",
        "try:\n    await task\nexcept ZeroDivisionError:\n    pass",
        "threading.Thread(target=sys.exit).start()",
        "!false || echo handled",
        "found = !echo found\nassert found == ['found']",
    ]
    rebuild(write_notebook(tree, "07_line", DRAW, *handled, FINISH))


@pytest.mark.slow
def test_a_command_that_fails_is_refused_with_its_cell(tree):
    with pytest.raises(RebuildError, match="(?s)cell 5 failed.*CalledProcessError.*exit status"):
        rebuild(write_notebook(tree, "07_line", DRAW, "!false", FINISH))


@pytest.mark.parametrize(
    "content",
    [
        *("", "{", "[]", "null", "1", "{}", '{"cells": []}', "é".encode("latin-1"), b"\xff\xfe", "[" * 100_000),
        '{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{"cell_type": "code"}]}',
        '{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": 3}',
        '{"nbformat": 9, "nbformat_minor": 0, "metadata": {}, "cells": []}',
        '{"nbformat": 3, "nbformat_minor": 0, "metadata": {}, "worksheets": 1}',
        '{"nbformat": "4", "nbformat_minor": [], "metadata": {}, "cells": []}',
    ],
)
def test_what_is_no_notebook_is_refused_in_words(tmp_path, content, capsys):
    from gatescope.__main__ import main
    from gatescope.atlas.site import SiteError, write_site

    path = tmp_path / "notebooks" / "07_line.ipynb"
    path.parent.mkdir()
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    assert main(["rebuild", str(path)]) == 1
    assert re.match(r"07_line\.ipynb: .+\nThe tree is as it was", capsys.readouterr().err)
    with pytest.raises(SiteError, match=r"07_line\.ipynb"):
        write_site(tmp_path, tmp_path / "site")


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: None], ids=["folder", "pipe", "nothing"])
def test_what_is_no_file_is_refused_in_words(tmp_path, make, capsys):
    from gatescope.__main__ import main

    path = tmp_path / "notebooks" / "07_line.ipynb"
    path.parent.mkdir()
    make(path)
    assert main(["rebuild", str(path)]) == 1
    assert "07_line.ipynb is no file; needed a notebook" in capsys.readouterr().err


@pytest.mark.slow
def test_a_figure_of_another_notebook_is_not_overwritten(tree):
    path = write_notebook(tree, "07_other", DRAW.replace("-line", "-old"), FINISH)
    before = content_of(tree)
    with pytest.raises(RebuildError, match="07-old is 07_line's already"):
        rebuild(path)
    assert content_of(tree) == before


def test_a_notebook_that_cannot_run_as_asked_is_refused_before_its_kernel_starts(tree, monkeypatch):
    monkeypatch.setattr(papermill, "execute_notebook", lambda *_, **__: pytest.fail("it ran"))
    path = write_notebook(tree, "07_line", FINISH)
    before = content_of(tree)
    with pytest.raises(ParameterError, match="no parameter hieght; this notebook has height, clip"):
        rebuild(path, {"hieght": 2.0})
    with pytest.raises(ParameterError, match="height must be a float"):
        rebuild(path, {"height": "tall"})
    assert content_of(tree) == before
    path = write_notebook(tree, "07_line", FINISH, kernelspec={"name": "python3", "display_name": "Python 3"})
    with pytest.raises(RebuildError, match="kernelspec"):
        rebuild(path)
    assert not any(folder.name != "rebuilt" for folder in (tree / "build").iterdir() if folder.is_dir())
    alone = path.rename(tree / path.name)
    with pytest.raises(RebuildError, match="needed a notebook in a folder named notebooks"):
        rebuild(alone)
    assert not (tree.parent / "build").exists()


def test_a_rebuild_takes_back_one_that_was_killed_while_it_wrote(tree):
    path = write_notebook(tree, "07_line", FINISH)
    before = content_of(tree)
    undo = tree / "build" / "undo"
    undo.mkdir(parents=True)
    path.rename(undo / "0")
    path.write_text("new")
    step = {
        "target": "../../notebooks/07_line.ipynb",
        "half": f"../../notebooks/.07_line.ipynb.{'1' * 32}",
        "kept": "0",
    }
    (undo / "list.json").write_text(json.dumps([step | {"new": sha256_of(path)}]))
    with pytest.raises(ParameterError, match="hieght"):
        rebuild(path, {"hieght": 2.0})
    assert content_of(tree) == before


@pytest.mark.slow
def test_a_disk_that_fills_up_while_writing_leaves_the_tree_as_it_was(tree, monkeypatch):
    path = write_notebook(tree, "07_line", DRAW, FINISH)
    before = content_of(tree)

    def copyfile(source, target):
        if source.name == "07_line.ipynb" and "undo" not in str(target):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(source, target)

    real = shutil.copyfile
    monkeypatch.setattr(shutil, "copyfile", copyfile)
    with pytest.raises(OSError, match="No space left"):
        rebuild(path)
    assert content_of(tree) == before


@pytest.mark.slow
def test_a_disk_that_is_full_leaves_the_tree_as_it_was(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mount.returncode:
        pytest.skip("a disk of 256 kB can be mounted only by root")
    try:
        path = write_notebook(disk, "07_line", DRAW, "print(('x' * 80 + '\\n') * 2500)", FINISH)
        before = content_of(disk)
        done = subprocess.run(
            [sys.executable, "-m", "gatescope", "rebuild", str(path)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        assert "No space left on device" in done.stderr
        assert content_of(disk) == before
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.slow
def test_a_notebook_edited_while_it_runs_keeps_the_edit(tree):
    path = write_notebook(tree, "07_line", "Path(clip).open('a').write('\\n')", FINISH)
    before = content_of(tree)
    with pytest.raises(RebuildError, match="was changed while it ran"):
        rebuild(path, {"clip": str(path)})
    before["notebooks/07_line.ipynb"] += b"\n"
    assert content_of(tree) == before


@pytest.mark.slow
def test_two_rebuilds_at_once_lose_no_entry(tree):
    paths = [write_notebook(tree, name, DRAW, FINISH) for name in ("07_line", "08_line")]
    runs = [
        subprocess.Popen([sys.executable, "-m", "gatescope", "rebuild", str(path), "-p", "height", "3"])
        for path in paths
    ]
    assert [run.wait() for run in runs] == [0, 0]
    assert sorted(manifest_of(tree)) == ["07-line", "08-line"]
    assert all(is_current(path, {"height": 3.0}) for path in paths)


@pytest.mark.slow
def test_the_command_says_why_and_exits_with_an_error(tree):
    path = write_notebook(tree, "07_line", "1 / 0", FINISH)
    before = content_of(tree)
    for arguments, reason in ([], "ZeroDivisionError"), (["-p", "hieght", "2"], "no parameter hieght"):
        command = [sys.executable, "-m", "gatescope", "rebuild", str(path), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert reason in done.stderr
        assert "The tree is as it was." in done.stderr
    assert content_of(tree) == before


def test_a_kernel_that_does_not_start_is_tried_again_and_one_that_did_is_not(tree, monkeypatch):
    path = write_notebook(tree, "07_line", FINISH)
    tries = []

    def execute_notebook(*_, on_cell_start, **__):
        tries.append(1)
        if starts:
            on_cell_start(cell=None, cell_index=0)
        raise RuntimeError("Kernel died before replying to kernel_info")

    monkeypatch.setattr(papermill, "execute_notebook", execute_notebook)
    starts = False
    with pytest.raises(RebuildError, match="the kernel's start failed: Kernel died"):
        rebuild(path)
    assert len(tries) == 3
    starts = True
    with pytest.raises(RebuildError, match="cell 1 failed: Kernel died"):
        rebuild(path)
    assert len(tries) == 4


def test_what_changes_from_run_to_run_is_not_kept(tree, monkeypatch):
    """Times, paths and widget state as papermill and ipywidgets leave them."""
    path = write_notebook(tree, "07_line", "slider", FINISH)
    node = nbformat.read(path, as_version=4)
    node.metadata["papermill"] = {"duration": 1.5, "input_path": "/home/me/07_line.ipynb"}
    node.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {}}
    node.metadata["language_info"] = {"name": "python", "version": "3.11.7"}
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": "0"}, "text/plain": "IntSlider()"}

    def execute_notebook(source, *_, cwd, **__):
        executed = nbformat.from_dict(source | {"metadata": node.metadata})
        code = [cell for cell in executed.cells if cell.cell_type == "code"]
        for count, cell in enumerate(code, 1):
            cell.execution_count = count
            cell.metadata |= {"papermill": {"start_time": "now"}, "execution": {"iopub.execute_input": "now"}}
        code[2].outputs = [nbformat.v4.new_output("display_data", view)]
        (cwd / "figures").mkdir()
        (cwd / "figures" / "finished.json").write_text("{}")
        (cwd / FAILURES).touch()  # as the kernel that this stands for
        return executed

    monkeypatch.setattr(papermill, "execute_notebook", execute_notebook)
    rebuild(path)
    kept = path.read_text()
    for changing in ("papermill", "now", "/home/me", "widget", "3.11.7"):
        assert changing not in kept
    assert "IntSlider()" in kept


def test_what_a_notebook_is_made_from_tells_whether_it_is_current(tree, monkeypatch):
    def execute_notebook(source, *_, cwd, **__):
        executed = nbformat.from_dict(source)
        for count, cell in enumerate((cell for cell in executed.cells if cell.cell_type == "code"), 1):
            cell.execution_count = count
        (cwd / "figures").mkdir()
        (cwd / "figures" / "finished.json").write_text("{}")
        (cwd / FAILURES).touch()  # as the kernel that this stands for
        return executed

    monkeypatch.setattr(papermill, "execute_notebook", execute_notebook)
    clip = tree / "hand.mkv"
    lock = tree / "requirements.lock"
    weights = tree / "data" / "checkpoints" / "tiny.safetensors"
    weights.parent.mkdir(parents=True)
    for file in (clip, lock, weights):
        file.write_text("before")
    path = write_notebook(tree, "07_line", FINISH)
    given = {"clip": str(clip)}
    rebuild(path, given)
    assert is_current(path, given)
    assert not is_current(path, {})
    for file in (clip, lock, weights):
        file.write_text("after")
        assert not is_current(path, given)
        file.write_text("before")
        assert is_current(path, given)
    # Dates tell nothing.
    path.touch()
    assert is_current(path, given)
    executed = path.read_bytes()
    path.write_bytes(executed.replace(b"What is this?", b"What is that?"))
    assert not is_current(path, given)
    path.write_bytes(executed.replace(b'"execution_count": 1', b'"execution_count": 9'))
    assert not is_current(path, given)


def test_the_source_of_an_executed_notebook_is_what_its_author_wrote(tree):
    path = write_notebook(tree, "07_line", FINISH)
    author = read_source(path)
    node = nbformat.read(path, as_version=4)
    node.cells.insert(2, new_code_cell("height = 2", metadata={"tags": ["injected-parameters"]}))
    node.cells[-1].execution_count = 3
    node.cells[-1].outputs = [nbformat.v4.new_output("stream", text="done")]
    nbformat.write(node, path)
    assert read_source(path) == author
