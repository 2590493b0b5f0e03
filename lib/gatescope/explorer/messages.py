"""Messages of a page to the kernel: their form, which is checked before anything in them is used."""

from collections.abc import Sequence
from typing import Any

NOT_KNOWN = "the page sent what this kernel does not know: reload the page, and run the cell again"
_TYPES = {"id": object, "drop": object, "name": str, "class": str, "first": bool, "files": list}
_TYPES |= dict.fromkeys(("number", "group", "channel", "place", "size"), int)
# What each message has, and how many buffers come with it.
_MESSAGES = {
    "channel": (("id", "number", "group", "channel"), 0),
    "files": (("id", "drop", "files"), 0),
    "piece": (("id", "drop", "place"), 1),
    "class": (("id", "class"), 0),
    "lost": (("name",), 0),
    "here": (("id",), 0),
    "frame": (("id", "first"), 1),
    "cancel": ((), 0),
}


def is_known(message: Any, buffers: Sequence[Any]) -> bool:
    """Return whether a message has all that one of its kind needs, each of its type, and no number below 0."""
    kind = message.get("what") if isinstance(message, dict) else None
    if not isinstance(kind, str) or kind not in _MESSAGES:
        return False
    names, num_buffers = _MESSAGES[kind]
    if "class" in message:  # of files that are kept as examples
        names = (*names, "class")
    if len(buffers) != num_buffers or not _has(message, names):
        return False
    return kind != "files" or all(_has(file, ("name", "size")) for file in message["files"])


def _has(values: Any, names: Sequence[str]) -> bool:
    return isinstance(values, dict) and all(name in values and _fits(values[name], _TYPES[name]) for name in names)


def _fits(value: Any, kind: type) -> bool:
    # Not isinstance alone, which takes a truth value for a number.
    return type(value) is int and value >= 0 if kind is int else isinstance(value, kind)
