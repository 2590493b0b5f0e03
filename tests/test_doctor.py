"""The doctor tells what is missing or broken, line by line, in surroundings that are."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from clip_files import write_isogd, write_jester
from gatescope.atlas.doctor import FAULT, NOTE, OK, Fact, convolution, data_sets, next_step, notebooks

REPOSITORY = Path(__file__).resolve().parent.parent


def doctor(*flags, path=(), **env):
    """Exit status, lines and what stands on the error output, of a process of its own."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (*path, REPOSITORY / "lib"))), **env}
    command = [sys.executable, *flags, "-m", "gatescope", "doctor"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, cwd=REPOSITORY)
    return done.returncode, done.stdout.splitlines(), done.stderr


def line_of(lines, words):
    (found,) = [line for line in lines if re.search(words, line)]
    return found


def test_with_no_package_at_all_every_one_is_a_line_and_none_a_traceback():
    status, lines, errors = doctor("-S")
    assert status == 1 and "Traceback" not in errors
    for name in ("torch", "numpy", "jupyterlab", "pydantic"):
        assert line_of(lines, rf" {name} is missing") == f"FAULT {name} is missing"
    assert line_of(lines, "pytest is missing").startswith("note ")
    assert lines[-1] == f"next  {sys.executable} -m pip install -r requirements.lock"
    assert line_of(lines, "GB of disk are free") and line_of(lines, "cores").startswith("ok ")


@pytest.mark.slow
def test_what_is_broken_too_old_or_not_writable_is_told(tmp_path):
    shadow = tmp_path / "shadow"
    (shadow / "numpy-1.26.4.dist-info").mkdir(parents=True)
    (shadow / "numpy-1.26.4.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 1.26.4\n")
    (shadow / "torch.py").write_text("raise OSError('libc10.so: cannot open shared object file')\n")
    (tmp_path / "home").write_text("a file, in which nobody can write another, not even root")
    status, lines, errors = doctor(path=[shadow], HOME=str(tmp_path / "home"), PATH=str(tmp_path))
    assert status == 1 and "Traceback" not in errors
    assert line_of(lines, "^FAULT numpy is 1.26.4, 2 or later is needed")
    assert line_of(lines, r"^FAULT torch \S+ is broken: OSError: libc10.so: cannot open")
    assert line_of(lines, "^FAULT convolution: could not be looked at, OSError")
    assert line_of(lines, "^note  home folder .* cannot be written .*; matplotlib and numba")
    assert line_of(lines, "^note  no chromium, chromium-browser or google-chrome on the path")
    assert line_of(lines, "of requirements.lock: .*numpy 1.26.4")
    assert line_of(lines, "^ok    all [0-9]+ files of figures are as")


def facts_of(data):
    return {fact.text.partition(":")[0]: fact for fact in data_sets(data)}


def test_data_sets_are_found_where_their_pages_place_them_and_their_first_clip_is_read(tmp_path):
    found = facts_of(tmp_path)
    assert {fact.mark for fact in found.values()} == {OK}
    assert "not here" in found["Jester"].text and "nothing to get" in found["rendered people"].text
    write_jester(tmp_path / "jester", split="validation")
    write_isogd(tmp_path / "isogd", split="valid")
    found = facts_of(tmp_path)
    assert found["Jester"] == Fact(OK, "Jester: 6 clips for validation, 0 left out; the first has 6 frames")
    assert found["IsoGD"].mark == OK and "left out; the first has" in found["IsoGD"].text
    for frame in (tmp_path / "jester").glob("20bn-jester-v1/1/*.jpg"):
        frame.write_bytes(frame.read_bytes()[:40])
    found = facts_of(tmp_path)["Jester"]
    assert found.mark == FAULT and "found in data/jester, but" in found.text and found.then


def test_a_data_set_of_which_no_clip_is_there_is_a_fault(tmp_path):
    (tmp_path / "jester").mkdir()
    (tmp_path / "jester" / "jester-v1-validation.csv").write_text("1;Swiping Left\n")
    found = facts_of(tmp_path)["Jester"]
    assert found.mark == FAULT and "no clip of its list is usable" in found.text and "is missing" in found.text


def test_a_real_convolution_is_timed():
    (fact,) = [fact for fact in convolution() if "GFLOP/s" in fact.text]
    milliseconds, rate = map(float, re.search(r"([\d.e+]+) ms, (\d+) GFLOP/s", fact.text).groups())
    assert milliseconds * rate == pytest.approx(3700, rel=0.1)  # 1024 x 256 x 9 x 28 x 28 multiplications and additions


def test_a_changed_figure_is_told(tmp_path, monkeypatch):
    (tmp_path / "manifest.json").write_text(
        '{"figures": {"00-a": {"notebook": "00", "numbers": {}, "files": {"00-a.png": "0"}}}}'
    )
    monkeypatch.setattr("gatescope.atlas.doctor.MANIFEST", tmp_path / "manifest.json")
    monkeypatch.setattr("gatescope.atlas.doctor.FIGURES", tmp_path)
    monkeypatch.setattr("gatescope.atlas.doctor.NOTEBOOKS", tmp_path)
    first = next(notebooks())
    assert (first.mark, first.then) == (NOTE, "make figures") and "00-a.png" in first.text


def test_what_to_type_next_goes_against_the_first_fault():
    fine, odd, bad = Fact(OK, "a"), Fact(NOTE, "b", "make figures"), Fact(FAULT, "c", "mend it")
    assert next_step([fine]) == "make lab"
    assert next_step([fine, odd]) == "make figures"
    assert next_step([odd, bad, fine]) == "mend it"
