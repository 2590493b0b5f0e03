"""The command line of gatescope: from looking over clips to training, rebuilding notebooks and a site."""

import argparse
import io
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from gatescope.atlas import commands as of_notebooks
from gatescope.formats.arguments import parse
from gatescope.trainings import commands as of_trainings

NOWHERE = "the working folder was removed, or moved out of reach; change to one that is there, with cd"


def main(arguments: list[str] | None = None) -> int:
    """Run a command; return its exit status, 0 only if it succeeded."""
    parser = argparse.ArgumentParser(prog="gatescope", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, parser_class=_Command)
    of_notebooks.add_commands(commands)
    of_trainings.add_commands(commands)
    asked = parse(parser, arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file's name may hold bytes that are no text
    os.environ.pop("MPLBACKEND", None)  # no command opens a window, and matplotlib refuses a name that it does not know
    try:
        failure = asked.run(asked) if _is_somewhere() else NOWHERE
        _flush()
    except KeyboardInterrupt:
        failure = "stopped"
    except OSError as error:
        # Whoever read what was printed may have left.
        failure = "" if isinstance(error, BrokenPipeError) else str(error)
        with suppress(OSError):
            _flush()
        if sys.stdout is sys.__stdout__:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if failure:
        print(failure, file=sys.stderr)
    return 0 if failure is None else 1


def _is_somewhere() -> bool:
    """Whether the working folder is there: torch's libraries end a process that has none."""
    try:
        return bool(os.getcwd())
    except FileNotFoundError:
        return False


class _Command(argparse.ArgumentParser):
    def __init__(self, **settings: Any):
        super().__init__(**settings)
        self.register("type", Path, _path)


def _path(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("a path is needed; got an empty one, which would be the working folder")
    if "\0" in text:
        raise argparse.ArgumentTypeError("no path holds a NUL character; this one does")
    return Path(text)


def _flush() -> None:
    if sys.stdout is not None:
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
