"""The command line: gatescope rebuild, gatescope compare."""

import argparse
import subprocess
import sys
from pathlib import Path

import nbformat

from gatescope.manifest import compare, load_manifest, read_manifest
from gatescope.parameters import ParameterError, parse_values, read_parameters
from gatescope.paths import MANIFEST, ROOT


def main(arguments: list[str] | None = None) -> int:
    """The exit status: 0 only when what was asked for is done."""
    parser = argparse.ArgumentParser(prog="gatescope", description=__doc__)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("rebuild", help="run one notebook; its files reach the tree only if all is well")
    command.add_argument("notebook", type=Path)
    command.add_argument(
        "-p",
        dest="given",
        action="append",
        nargs=2,
        default=[],
        metavar=("NAME", "VALUE"),
        help="set a parameter",
    )
    command.set_defaults(run=_rebuild)
    command = commands.add_parser("compare", help="hold the figures' numbers against the last commit's")
    command.set_defaults(run=_compare)
    asked = parser.parse_args(arguments)
    return asked.run(asked)


def _rebuild(asked: argparse.Namespace) -> int:
    # Here, so that the other commands need not wait for Jupyter.
    from gatescope.rebuild import RebuildError, rebuild

    try:
        known = read_parameters(nbformat.read(asked.notebook, as_version=nbformat.NO_CONVERT))
        entries = rebuild(asked.notebook, parse_values(known, dict(asked.given)))
    except (RebuildError, ParameterError, OSError) as error:
        print(f"{asked.notebook.name}: {error}\nThe tree is as it was.", file=sys.stderr)
        return 1
    print(f"{asked.notebook.name}: {len(entries)} figures")
    return 0


def _compare(asked: argparse.Namespace) -> int:
    name = MANIFEST.relative_to(ROOT).as_posix()
    committed = subprocess.run(
        ["git", "-C", str(ROOT), "show", f"HEAD:{name}"], capture_output=True, text=True, check=False
    )
    if committed.returncode:
        print(f"no committed {name} to compare with: {committed.stderr.strip()}", file=sys.stderr)
        return 1
    departures = compare(read_manifest(committed.stdout), load_manifest(MANIFEST))
    for departure in departures:
        print(departure, file=sys.stderr)
    if not departures:
        print("every number agrees with the committed manifest's")
    return 1 if departures else 0


if __name__ == "__main__":
    sys.exit(main())
