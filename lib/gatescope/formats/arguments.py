"""Numbers of a command line: what each may be, all looked at before anything is done."""

import re
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class _Fault:
    reason: str


def number(kind: type[int] | type[float], least: float, most: float) -> Callable[[str], int | float | _Fault]:
    """Return a `type` for argparse: a number of this kind within both bounds; `parse` refuses any other."""
    needed = f"must be a {'whole ' if kind is int else ''}number from {least:,} to {most:,}"

    def read(text: str) -> int | float | _Fault:
        try:
            # Python would also take 1_0 and the digits of other scripts.
            value = kind(text if re.fullmatch(r"[-+.\w]+", text, re.ASCII) and "_" not in text else "")
        except ValueError:
            return _Fault(f"{needed}; got {text[:40]!r}")
        return value if least <= value <= most else _Fault(f"{needed}; got {text[:40]}")

    return read


MOST_PROCESSES = 1024
workers = number(int, 0, MOST_PROCESSES)
processes = number(int, 1, MOST_PROCESSES)
seed = number(int, 0, (1 << 63) - 1)  # as torch's


def parse(parser: ArgumentParser, arguments: Sequence[str] | None) -> Namespace:
    """Return the arguments; or end the program as argparse does, in one sentence on every number out of its bounds."""
    asked = parser.parse_args(arguments)
    faults = [f"--{name} {value.reason}" for name, value in vars(asked).items() if isinstance(value, _Fault)]
    if faults:
        parser.error("; ".join(faults))
    return asked
