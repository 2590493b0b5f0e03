"""The manifest: the origin of each figure, the numbers it shows, and their tolerances in a rebuild."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gatescope.files import is_plain_name, read_bytes

_MOST_BYTES = 1 << 24

# Of each kind of number, as math.isclose takes them; 1e-9 more for trained ones, so that 0.85 and 0.75 agree too.
TOLERANCES = {
    "exact": {"rel_tol": 0.0},
    # From given weights, on another processor; the second of float32's sums of parts near 1, whose rest is near 0.
    "computed": {"rel_tol": 1e-4, "abs_tol": 1e-6},
    "trained": {"rel_tol": 0.0, "abs_tol": 0.10 + 1e-9},  # ten percentage points
    "measured": {"abs_tol": math.inf},
}
SAME_FIELDS = ("notebook", "parameters", "seed", "data", "weights")
IN_WORDS = re.compile(r"[-−+]?\d+(?:[.,]\d+)*(?:e[-+]?\d+)?")  # a number in an alternative text


@dataclass(frozen=True)
class Number:
    """A number that a figure shows; its kind says how close a rebuild must come."""

    value: float
    kind: str

    def __post_init__(self) -> None:
        if self.kind not in TOLERANCES:
            raise ValueError(f"a number's kind is one of {', '.join(TOLERANCES)}; got {self.kind!r}")
        if not math.isfinite(self.value):
            raise ValueError(f"a number shown must be finite; got {self.value}")
        if self.kind == "trained" and not 0 <= self.value <= 1:
            raise ValueError(f"a trained number is a fraction between 0 and 1; got {self.value}")

    def agrees(self, other: "Number") -> bool:
        """Return True where `other` is of the same kind and within its tolerance."""
        return self.kind == other.kind and math.isclose(self.value, other.value, **TOLERANCES[self.kind])


def exact(value: Any) -> Number:
    """Make a number that is the same everywhere: a count, a size."""
    return Number(int(value) if float(value).is_integer() else float(value), "exact")


def computed(value: Any) -> Number:
    """Make a number computed without training: the same to 1e-4 of its size."""
    return Number(float(value), "computed")


def trained(value: Any) -> Number:
    """Make a final accuracy, as a fraction: the same within ten percentage points."""
    return Number(float(value), "trained")


def measured(value: Any) -> Number:
    """Make a number that is recorded and never compared: a time, an error, a rank near a tie."""
    return Number(float(value), "measured")


def read_manifest(text: str) -> dict[str, dict[str, Any]]:
    """Return the figures of a manifest's text by name; raises ValueError for any other text."""
    try:
        figures = json.loads(text)["figures"]
        names = [name for entry in figures.values() for name in entry["files"]]
        for entry in figures.values():
            if not all(
                isinstance(each, str) for each in [*entry["files"].values(), entry["notebook"], entry.get("alt", "")]
            ):
                raise TypeError("its texts must be texts")
            for number in entry["numbers"].values():
                Number(**number)
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(f"not a manifest of figures ({error!r:.200}); `make figures` writes it anew") from None
    if outside := [name for name in names if not is_plain_name(name)]:
        raise ValueError(f"a manifest names files beside it; this one has {outside[0]!r}")
    return figures


def load_manifest(path: Path) -> dict[str, dict[str, Any]]:
    """Return the figures of a manifest file by name; empty where there is no file yet.

    Raises ValueError for anything else, OSError for what is no file.
    """
    return read_manifest(read_bytes(path, _MOST_BYTES).decode()) if path.exists() else {}


def manifest_text(figures: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a manifest as it is stored: sorted, so that the same figures give the same bytes."""
    return json.dumps({"figures": figures}, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def compare(committed: Mapping[str, Mapping], rebuilt: Mapping[str, Mapping]) -> list[str]:
    """Return one sentence for each way the rebuilt figures depart from the committed ones.

    Alternative texts must have the same words; numbers in them may depart as the figures' own do.
    """
    departures = []
    for name in sorted(set(committed) | set(rebuilt)):
        if name not in rebuilt:
            departures.append(f"{name}: the figure was not rebuilt")
        elif name not in committed:
            departures.append(f"{name}: the figure is new; commit what `make figures` leaves")
        else:
            departures += [f"{name}: {what}" for what in _compare_figure(committed[name], rebuilt[name])]
    return departures


def _compare_figure(committed: Mapping, rebuilt: Mapping) -> list[str]:
    changed = [field for field in SAME_FIELDS if committed.get(field) != rebuilt.get(field)]
    departures = [f"{field} was {committed.get(field)!r}, is {rebuilt.get(field)!r}" for field in changed]
    if set(committed["files"]) != set(rebuilt["files"]):
        departures.append(f"files were {sorted(committed['files'])}, are {sorted(rebuilt['files'])}")
    said = [IN_WORDS.sub("#", entry.get("alt", "")) for entry in (committed, rebuilt)]
    if said[0] != said[1]:
        departures.append(f"the alternative text was {committed.get('alt')!r}, is {rebuilt.get('alt')!r}")
    before, after = committed["numbers"], rebuilt["numbers"]
    for number in sorted(set(before) | set(after)):
        if number not in after or number not in before:
            departures.append(f"the number {number!r} is {'new' if number in after else 'missing'}")
            continue
        was, now = Number(**before[number]), Number(**after[number])
        if not was.agrees(now):
            departures.append(f"{number!r} was {was.value:g} ({was.kind}), is {now.value:g} ({now.kind})")
    return departures
