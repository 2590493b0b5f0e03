"""JSON and TOML from files of any origin, and cards: JSON files that hold a digest of their own facts."""

import hashlib
import json
import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gatescope.files import atomic_write, is_plain_name, read_bytes, sha256_of

DIGEST = "facts_sha256"  # in a card, of all its other facts
_MOST_BYTES = 1 << 24


def read_json(path: str | Path) -> Any:
    """Read a JSON file whose numbers are finite and whose integers have 64 bits.

    Raises OSError without such a file, ValueError for any other content.
    """
    try:
        hooks = {"parse_int": _whole, "parse_float": _finite, "parse_constant": _finite}
        return json.loads(read_bytes(path, _MOST_BYTES).decode(), **hooks)
    except RecursionError:
        raise ValueError(f"{path} is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"{path} is not readable as JSON: {error}") from None


def read_toml(path: str | Path) -> dict[str, Any]:
    """Read a TOML file; raises OSError without one, ValueError for any other content."""
    try:
        return tomllib.loads(read_bytes(path, _MOST_BYTES).decode())
    except RecursionError:
        raise ValueError(f"{path} is nested too deeply") from None


def write_card(path: str | Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Write facts and their digest; return what was written, in JSON's types.

    Raises ValueError or TypeError, and writes nothing, if a fact cannot stand in JSON.
    """
    card = with_digest(facts)
    text = json.dumps(card, indent=1, ensure_ascii=False) + "\n"
    with atomic_write(Path(path)) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return card


def with_digest(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts in JSON's types with their digest; raises as `write_card` does."""
    text = json.dumps({name: value for name, value in facts.items() if name != DIGEST}, allow_nan=False)
    facts = json.loads(text)
    json.dumps(facts, ensure_ascii=False).encode()  # no text that UTF-8 lacks
    return {**facts, DIGEST: _digest(facts)}


def read_card(path: str | Path) -> dict[str, Any]:
    """Read the card that `write_card` wrote, and check that its facts are those it was written with.

    The digest finds what was changed, by a slip or by a hand; it does not tell who wrote the card.

    Raises OSError without a card, ValueError if it is none, has no digest, or says other than what was written.
    """
    card = _facts_by_name(path)
    facts = {name: value for name, value in card.items() if name != DIGEST}
    if DIGEST not in card:
        raise ValueError(
            f"{path} has no {DIGEST}, so nothing shows that its facts are as they were written: make it anew or, if "
            f"you trust it, write it with gatescope.formats.facts.seal({str(path)!r})"
        )
    try:
        found = _digest(facts)
    except RecursionError:
        raise ValueError(f"{path} is nested too deeply") from None
    if found != card[DIGEST]:
        raise ValueError(
            f"{path} was changed after it was written: its facts have the SHA-256 {found}, its {DIGEST} says "
            f"{str(card[DIGEST])[:64]}; restore it or make it anew"
        )
    return card


def seal(path: str | Path) -> dict[str, Any]:
    """Give the card at `path` the digest of the facts that it has now, and return it."""
    return write_card(path, _facts_by_name(path))


def needed(card: Mapping[str, Any], *names: str, path: str | Path) -> dict[str, Any]:
    """Return these facts of the card at `path`; raises ValueError if one is missing."""
    if missing := [name for name in names if name not in card]:
        raise ValueError(f"{path} lacks {' and '.join(missing)}, which is needed here; it has {', '.join(card)}")
    return {name: card[name] for name in names}


def check_files(folder: Path, card: Mapping[str, Any], path: Path) -> None:
    """Raise ValueError unless the files beside a card are those that it was written for, OSError without one."""
    files = needed(card, "files", path=path)["files"]
    if not isinstance(files, dict) or not all(map(is_plain_name, files)):
        raise ValueError(f"{path} must list the SHA-256 of files beside it by their names; it has {str(files)[:200]}")
    for name, digest in files.items():
        if sha256_of(folder / name) != digest:
            raise ValueError(f"{folder / name} is damaged; remove {folder} to make it anew")


def _facts_by_name(path: str | Path) -> dict[str, Any]:
    facts = read_json(path)
    if not isinstance(facts, dict):
        raise ValueError(f"{path} is no card: needed facts by their names, got {str(facts)[:40]!r}")
    return facts


def _digest(facts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _whole(text: str) -> int:
    if len(text) > 20 or not -(1 << 63) <= int(text) < 1 << 63:
        raise ValueError(f"{text[:24]} is no integer of 64 bits")
    return int(text)


def _finite(text: str) -> float:
    if not math.isfinite(float(text)):
        raise ValueError(f"{text[:24]} is no finite number")
    return float(text)
