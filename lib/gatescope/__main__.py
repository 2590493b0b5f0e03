"""The command line of gatescope: from looking over clips to training, rebuilding notebooks and a site."""

import argparse
import sys

from gatescope.atlas import commands as of_notebooks
from gatescope.trainings import commands as of_trainings


def main(arguments: list[str] | None = None) -> int:
    """Run a command; return its exit status, 0 only if it succeeded."""
    parser = argparse.ArgumentParser(prog="gatescope", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    of_notebooks.add_commands(commands)
    of_trainings.add_commands(commands)
    asked = parser.parse_args(arguments)
    if failure := asked.run(asked):
        print(failure, file=sys.stderr)
    return 1 if failure else 0


if __name__ == "__main__":
    sys.exit(main())
