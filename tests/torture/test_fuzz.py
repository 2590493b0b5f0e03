"""Spoilt files: every reader takes them, or refuses them with an error that it documents, in time and in memory."""

import os
import shutil

import pytest
from attacks import Input, Worker
from hypothesis import HealthCheck, Phase, given, settings
from readers import READERS
from spoiling import spoil, spoilt

ALL_CASES = 20_000  # over all readers, of `make torture`
FEW_CASES = 8  # of each reader, of `make test`
MOST_FAULTS = 5  # then no further case is tried: a hang takes a minute
OTHERS = {"empty": b"", "zeros": bytes(1 << 20), "text": "é\n".encode() * 1000}  # files of another kind
OUR_OWN = {"array", "packing", "manifest"}  # files that tests or the library write and nobody names
# Without a database: a run depends on no other. Nothing is shrunk: a case is four operations at most.
FIXED = {"deadline": None, "database": None, "phases": [Phase.generate], "suppress_health_check": list(HealthCheck)}


# What once went wrong: a file of a reader, and what spoils it.
NOTEBOOK, PAGE = "notebooks/07_line.ipynb", "notebooks/00_first.ipynb"
FOUND = {
    "IsoGD": [("train_list.txt", [("word", 7181, "9" * 5000)])],
    "IsoGD as frames": [("train_depth_list.txt", [("repeat", 1, 1, 1000)])],
    "weights and card": [("network.json", [("inside", place, place, 2)]) for place in (17, 29248351)],
    "results": [("network.json", [("inside", 0, 0, 0)])],
    "answers": [("card.json", [("inside", 0, 0, 0)]), ("card.json", [("inside", 1564, 40, 7)])],
    "rebuild": [
        (NOTEBOOK, [("cut", 0)]),
        (NOTEBOOK, [("byte", 40, 0xFF)]),
        (NOTEBOOK, [("inside", 454, 827, 1)]),
        (NOTEBOOK, [("bit", 26, 2)]),
    ],
    "site": [
        (PAGE, [("cut", 0)]),
        (PAGE, [("byte", 40, 0xFF)]),
        (PAGE, [("inside", 1, 7981, 1)]),
        (PAGE, [("remove", 3353820, 1)]),
        (PAGE, [("inside", 21293421, 3, 0), ("inside", 583, 291, 7)]),
    ],
}


@pytest.fixture(scope="module")
def worker():
    worker = Worker()
    yield worker
    worker.close()


def attack(worker, name, folder, num_cases, derandomize):
    """Every kind of fault, with the first case of it; first of files of another kind."""
    reader = READERS[name]
    valid = Input(worker, name, reader.spoilt, folder / "input")
    first = {}
    for kind, data in OTHERS.items():
        if fault := valid.fault_of(min(valid.files), data, reader.promises):
            first[kind] = f"{kind}: {fault}"

    @settings(max_examples=num_cases, derandomize=derandomize, **FIXED)
    @given(spoilt(valid.files))
    def case(spoiling):
        if len(first) < MOST_FAULTS:
            file, operations = spoiling
            fault = valid.fault_of(file, spoil(file, valid.files[file], operations), reader.promises)
            if fault:
                kind = fault.partition(": ")[0]
                first.setdefault(kind, f"{kind}, of {file} after {operations}: {fault}")

    case()
    return list(first.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", FOUND)
def test_what_once_went_wrong_is_read_or_refused(worker, tmp_path, name):
    valid = Input(worker, name, READERS[name].spoilt, tmp_path / "input")
    for file, operations in FOUND[name]:
        spoilt_file = spoil(file, valid.files[file], operations)
        assert not valid.fault_of(file, spoilt_file, READERS[name].promises), operations


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_a_few_spoilt_files_are_read_or_refused(worker, tmp_path, name):
    assert not attack(worker, name, tmp_path, FEW_CASES, derandomize=True)


@pytest.mark.torture
@pytest.mark.parametrize("name", READERS)
def test_twenty_thousand_spoilt_files_are_read_or_refused(worker, tmp_path, name):
    assert not attack(worker, name, tmp_path, -(-ALL_CASES // len(READERS)), derandomize=False)


@pytest.mark.torture
@pytest.mark.parametrize("kind", ["pipe", "folder", "link in a circle", "endless"])
@pytest.mark.parametrize("name", sorted(READERS.keys() - OUR_OWN))
def test_what_is_no_file_is_refused(worker, tmp_path, name, kind):
    valid = Input(worker, name, READERS[name].spoilt, tmp_path / "input")
    path = valid.folder / min(valid.files)
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero" if kind == "endless" else path.name)
    assert not worker.read(name, valid.folder).get("fault")
    shutil.rmtree(valid.folder)
