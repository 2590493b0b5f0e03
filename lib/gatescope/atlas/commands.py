"""Commands on notebooks and on what they made: doctor, rebuild, compare, verify and site."""

import argparse
import sys
from pathlib import Path

from gatescope.formats.arguments import processes
from gatescope.paths import MANIFEST, ROOT

# Each command imports what it needs: torch and Jupyter take seconds, and --help needs neither. It returns None, or the
# reason why it failed.


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add these commands with their arguments; `run` of the arguments is the function that follows them."""
    command = commands.add_parser("doctor", help="say what is installed, found and fast here, and what to type next")
    command.set_defaults(run=_doctor)
    command = commands.add_parser("rebuild", help="run one notebook; replace it and its figures if the run succeeds")
    command.set_defaults(run=_rebuild)
    command.add_argument("notebook", type=Path)
    set_one = {"action": "append", "nargs": 2, "default": [], "metavar": ("NAME", "VALUE")}
    command.add_argument("-p", dest="given", help="set a parameter of the notebook", **set_one)
    command = commands.add_parser("compare", help="compare the figures, their numbers and texts with the last commit's")
    command.set_defaults(run=_compare)
    command = commands.add_parser("verify", help="rebuild everything in a clean clone of the last commit, and compare")
    command.set_defaults(run=_verify)
    command.add_argument("notebooks", nargs="*", metavar="NOTEBOOK", help="by name, as 02_one_step; default all")
    command.add_argument("--cores", type=processes, default=2, help="notebooks at once; default 2")
    command = commands.add_parser("site", help="write every notebook as a web page that works offline")
    command.set_defaults(run=_site)
    command.add_argument("--out", type=Path, default=ROOT / "build" / "site", metavar="FOLDER")


def _doctor(asked: argparse.Namespace) -> str | None:
    from gatescope.atlas.doctor import FAULT, next_step, report

    facts = []
    for fact in report():
        facts.append(fact)
        print(fact, flush=True)
    print(f"next  {next_step(facts)}")
    if faults := sum(fact.mark == FAULT for fact in facts):
        return f"{faults} of {len(facts)} lines tell of a fault"


def _rebuild(asked: argparse.Namespace) -> str | None:
    # jsonschema's grammar of international addresses takes a second to parse. No notebook holds one, and without the
    # grammar jsonschema skips that check.
    sys.modules["rfc3987_syntax"] = None
    from gatescope.atlas.notebook_cells import read_notebook
    from gatescope.atlas.notebook_parameters import parse_values, read_parameters
    from gatescope.atlas.rebuild import RebuildError, rebuild

    try:
        known = read_parameters(read_notebook(asked.notebook))
        entries = rebuild(asked.notebook, parse_values(known, dict(asked.given)))
    except (RebuildError, ValueError, OSError) as error:
        return f"{asked.notebook.name}: {error}\nThe tree is as it was."
    print(f"{asked.notebook.name}: {len(entries)} figures")


def _compare(asked: argparse.Namespace) -> str | None:
    from gatescope.atlas.figure_files import compare_files
    from gatescope.atlas.manifest import compare, load_manifest, read_manifest
    from gatescope.atlas.verify import VerifyError, git

    def committed(name: str) -> bytes | None:
        try:
            return git(MANIFEST.parent, "show", f"HEAD:./{name}")
        except VerifyError:
            return None

    try:
        git(MANIFEST.parent, "rev-parse", "--git-dir")
    except VerifyError as error:
        return str(error)
    if (text := committed(MANIFEST.name)) is None:
        return f"no committed {MANIFEST.relative_to(ROOT).as_posix()} to compare with"
    try:
        rebuilt = load_manifest(MANIFEST)
        departures = compare(read_manifest(text.decode()), rebuilt)
    except ValueError as error:
        return f"{MANIFEST}: {error}"
    if departures := departures + compare_files(rebuilt, MANIFEST.parent, committed):
        return "\n".join(departures)
    print("every number, file and text agrees with the committed manifest's")


def _verify(asked: argparse.Namespace) -> str | None:
    from gatescope.atlas.verify import VerifyError, table, uncommitted, verify

    try:
        if changed := uncommitted(ROOT):
            print(f"the last commit is verified, without {len(changed)} files changed since: {changed[0]}", flush=True)
        found = verify(ROOT, asked.cores, asked.notebooks)
    except (VerifyError, OSError) as error:
        return f"{error}\nNothing was verified."
    print(table(found))
    return "\n".join(found.departures) or None


def _site(asked: argparse.Namespace) -> str | None:
    from gatescope.atlas.site import SiteError, write_site

    try:
        pages, notes = write_site(ROOT, asked.out)
    except (SiteError, OSError) as error:
        return f"{error}\nNo site was written; an older one is as it was."
    print(*notes, f"{asked.out / 'index.html'}: {len(pages)} pages", sep="\n")
