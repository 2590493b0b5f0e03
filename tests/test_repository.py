"""The files that a repository's page is expected to have: they parse, and agree with what they repeat."""

import ast
import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from licences import HEAD, rows

REPOSITORY = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
LOCK = dict(re.findall(r"^([\w.-]+)==(.+)$", (REPOSITORY / "requirements.lock").read_text(), re.MULTILINE))
YAML = [*REPOSITORY.glob(".github/**/*.yml"), *REPOSITORY.glob("*.yml"), *REPOSITORY.glob(".*.yaml")]


def read(path):
    return yaml.safe_load((REPOSITORY / path).read_text())


def steps_of(workflow):
    return [step for job in read(f".github/workflows/{workflow}.yml")["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("path", YAML, ids=lambda path: path.name)
def test_every_yaml_file_parses(path):
    assert isinstance(read(path), dict)


def test_workflows_call_what_one_calls_by_hand_on_the_oldest_python():
    oldest = PROJECT["requires-python"].removeprefix(">=")
    for workflow, command in (("ci", ".ci/run"), ("pages", "make site")):
        steps = steps_of(workflow)
        assert command in [step.get("run") for step in steps]
        assert [step["with"]["python-version"] for step in steps if "setup-python" in step.get("uses", "")] == [oldest]
    assert (REPOSITORY / ".ci/run").stat().st_mode & 0o100
    (uploaded,) = [step["with"]["path"] for step in steps_of("pages") if "upload" in step.get("uses", "")]
    assert f"--out {uploaded}" in (REPOSITORY / "Makefile").read_text()


def test_every_pin_is_audited_each_week_and_has_its_hashes_but_torch():
    (audit,) = [step["run"] for step in steps_of("audit") if "run" in step]
    assert "pip-audit" in audit and "--strict" in audit and audit.endswith("--requirement requirements.lock")
    hashed = re.findall(
        r"^([\w.-]+)==(\S+)((?: \\\n    --hash=sha256:[0-9a-f]{64})+)$",
        (REPOSITORY / "requirements.hashes").read_text("utf-8"),
        re.MULTILINE,
    )
    plain = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in LOCK.items()}
    assert {name: version for name, version, _ in hashed} == {name: plain[name] for name in plain if name != "torch"}


def test_the_licences_are_those_that_the_packages_state():
    kept = (REPOSITORY / "LICENCES.md").read_text("utf-8")
    assert kept.startswith(HEAD)
    found = kept.removeprefix(HEAD).splitlines()
    assert [tuple(row.split(" | ")[:2]) for row in found] == [(f"| {name}", pin) for name, pin in LOCK.items()]
    assert not set(rows()) - set(found), "make lock writes LICENCES.md"


def test_pre_commit_runs_the_ruff_of_the_lock():
    (hooks,) = read(".pre-commit-config.yaml")["repos"]
    assert hooks["rev"] == f"v{LOCK['ruff']}"


def test_the_dev_container_makes_what_the_makefile_makes():
    container = json.loads((REPOSITORY / ".devcontainer/devcontainer.json").read_text())
    oldest = PROJECT["requires-python"].removeprefix(">=")
    assert f":{oldest}-" in container["image"]
    assert container["postCreateCommand"].endswith("make .venv/installed")


def test_binder_and_conda_take_the_lock():
    conda = read("environment.yml")["dependencies"]
    assert conda[-1] == {"pip": ["-r requirements.lock", "-e ."]}
    wanted = (REPOSITORY / "binder/requirements.txt").read_text()
    (lock,) = re.findall(r"^-r (.+)$", wanted, re.MULTILINE)
    assert (REPOSITORY / "binder" / lock).resolve() == REPOSITORY / "requirements.lock"
    assert (REPOSITORY / "binder/runtime.txt").read_text().strip() == f"python-{conda[0].removeprefix('python=')}"


def test_the_citation_says_what_the_project_says():
    citation = read("CITATION.cff")
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert (citation["version"], citation["license"]) == (PROJECT["version"], PROJECT["license"])
    assert f"## {PROJECT['version']} - " in (REPOSITORY / "CHANGELOG.md").read_text()


def test_contributing_names_every_room_and_only_files_that_exist():
    text = (REPOSITORY / "CONTRIBUTING.md").read_text()
    library = REPOSITORY / "lib/gatescope"
    rooms = {path.parent.name for path in library.glob("*/__init__.py")}
    rows = dict(re.findall(r"^\| `(\w+)` \|.*\|(.*)\|$", text, re.MULTILINE))
    assert set(rows) == rooms
    for room, files in rows.items():
        for name in re.findall(r"`([\w.]+\.py)`", files):
            assert (library / room / name).is_file(), f"{room}/{name}"
    for path in re.findall(r"`((?:lib|tests|data|notebooks)/[\w./]+)`", text.replace("NN_words", "00_start_here")):
        assert (REPOSITORY / path).exists(), path
    for path in library.glob("[a-z]*.py"):
        assert f"`{path.name}`" in text


def text_without_encoding(path):
    """Lines that read or write text in whatever encoding the machine has."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        given = {word.arg for word in node.keywords}
        values = [each.value if isinstance(each, ast.Constant) else "" for each in node.args]
        opens = name in {"open", "fdopen"} and not any(re.fullmatch("[rwax+]*b[rwax+]*", str(each)) for each in values)
        reads = name == "read_text" and not values
        writes = name == "write_text" and len(values) < 2
        prints = name in {"run", "Popen", "check_output"} and given & {"text", "universal_newlines"}
        if (opens or reads or writes or prints) and "encoding" not in given:
            yield node.lineno, ast.unparse(node)


# Not text, or not a file: pictures, members of an archive, video, the methods of our own that have this name.
NO_TEXT = ("Image.open", "archive.open", "av.open", "os.open")


def test_text_is_read_and_written_in_an_encoding_that_is_named():
    paths = sorted(REPOSITORY.glob("lib/**/*.py"))
    assert len(paths) > 100
    found = [(path.name, *each) for path in paths for each in text_without_encoding(path)]
    assert [each for each in found if not each[2].startswith(NO_TEXT)] == []


def test_a_missing_encoding_is_noticed_in_every_way_to_write_it(tmp_path):
    calls = ["open(p)", "open(p, 'w')", "p.open()", "p.read_text()", "p.write_text(x)", "run(['a'], text=True)"]
    named = ["open(p, 'rb')", "p.open('ab')", "p.read_text('utf-8')", "p.write_text(x, 'utf-8')", "p.read_bytes()"]
    path = tmp_path / "module.py"
    path.write_text("\n".join([*calls, *named, "open(p, encoding='utf-8')"]))
    assert [line for line, _ in text_without_encoding(path)] == [1, 2, 3, 4, 5, 6]


def test_git_changes_no_byte_of_what_is_compared_to_the_byte(tmp_path):
    shutil.copy(REPOSITORY / ".gitattributes", tmp_path)
    (tmp_path / "a.svg").write_bytes(b"<svg>\n</svg>\n")
    git = ["git", "-C", str(tmp_path), "-c", "core.autocrlf=true", "-c", "user.name=a", "-c", "user.email=a@b.c"]
    for words in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "a"], ["rm", "--quiet", "a.svg"]):
        subprocess.run([*git, *words], check=True)
    subprocess.run([*git, "checkout", "--quiet", "HEAD", "a.svg"], check=True)
    assert (tmp_path / "a.svg").read_bytes() == b"<svg>\n</svg>\n"
