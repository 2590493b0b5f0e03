"""A bar where somebody looks, one line where nobody does."""

import os
import sys

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from throwaway import KERNELSPEC

MAKE_ROWS = """
from gatescope.trainings.progress_bar import show_progress
from gatescope.trainings.tasks import Row
rows = [
    Row(epoch=n, step=n, rate=0.1, loss=1 / n, accuracy=0.5, valid_loss=None, valid_accuracy=n / 10, seconds=60.0,
        precision="32-true", device="cpu")
    for n in (1, 2, 3)
]
"""


@pytest.fixture
def progress():
    names = {}
    exec(MAKE_ROWS, names)
    return names["show_progress"], names["rows"]


def test_where_nobody_looks_one_line_stands_at_the_end(progress, capsys):
    show_progress, rows = progress
    seen = []
    for row in show_progress(rows, 4, "a-0"):
        seen.append(row)
        assert capsys.readouterr() == ("", "")
    assert seen == rows
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert err.startswith("a-0:  75%")
    assert "epoch 3 of 4, 03:00, 01:00 left, loss 0.333, valid 30.0%" in err


def test_no_row_is_said_too(progress, capsys):
    assert list(progress[0]([], 4, "a-0")) == []
    assert capsys.readouterr().err == "a-0: no epoch\n"


def test_in_a_terminal_the_bar_moves_in_its_line_and_fits_it(progress, monkeypatch):
    show_progress, rows = progress
    monkeypatch.setenv("COLUMNS", "80")
    leader, follower = os.openpty()
    with os.fdopen(leader, "rb", buffering=0) as terminal, os.fdopen(follower, "w") as err:
        monkeypatch.setattr(sys, "stderr", err)
        assert list(show_progress(rows, 3, "a-0")) == rows
        err.flush()
        shown = b""
        while not shown.endswith(b"\r\n"):
            shown += terminal.read(4096)
        shown = shown.decode()
    lines = shown.rstrip().split("\r")[1:]
    assert [f"epoch {n} of 3" in line for n, line in enumerate(lines, start=1)] == [True] * 3
    assert "02:00 left, loss 1.000, valid 10.0%" in lines[0]
    assert max(map(len, lines)) < 80
    assert shown.endswith("\r\n")


@pytest.mark.slow
def test_in_a_notebook_the_bar_is_replaced_in_place():
    cells = [new_code_cell(MAKE_ROWS), new_code_cell("for row in show_progress(rows, 3, 'a-0'): pass")]
    notebook = new_notebook(cells=cells, metadata={"kernelspec": KERNELSPEC})
    NotebookClient(notebook, timeout=120).execute()
    nbformat.validate(notebook)
    (output,) = notebook.cells[1].outputs
    assert output.output_type == "display_data"
    assert output.data["text/plain"].startswith("a-0: 100%")
    assert "epoch 3 of 3" in output.data["text/plain"]
