"""Names of values in any model: a submodule's output or an operation inside a forward pass, and parts of either."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

Key = int | str | tuple  # a place in a tuple, a key of a dict, or what a tensor is indexed with

_FORM = re.compile(
    r"(?P<module>[^:#\[\]@\s]*)"
    r"(?::(?P<operation>[A-Za-z_]\w*)\.(?P<number>\d+)(?P<more>:\d*(?::\d*)?)?(?:/(?P<numbers_of>\d+))?)?"
    r"(?:#(?P<calls>\d*:?\d*(?::\d*)?)(?:/(?P<calls_of>\d+))?)?"
    r"(?P<keys>(?:\[[^\]]*\])*)"
    r"(?:@(?P<time_axis>-?\d+))?"
)
HOW = (
    "a name is MODULE or MODULE:OPERATION.NUMBER, as `cells.0.conv` and `cells.0:sigmoid.1` are, with a part in "
    "brackets (`rnn[0]`, `conv[:, 0:64]`), calls behind # (`cell#0::2`), and the axis of time behind @ (`cnn@1`)"
)


@dataclass(frozen=True)
class Point:
    """Where a value passes in a model: `str(point)` is its name, `Point.named(name)` reads it.

    `cells.0.conv`: the output of a submodule, the model's own without a name. `cells.0:sigmoid.1`: the second sigmoid
    in the forward pass of that module itself, operations of its submodules not counted. `rnn:sigmoid.1::3`: every third
    from there on, as in a loop over steps within one forward pass.

    `#0::2` takes some of the module's calls in a forward pass of the model, as a slice; `#:` takes all, each a time
    step in this order; `#0:4/8` is of a pass with eight calls and refuses another. `[0]`, `[h]` and `[:, 0:64]` take a
    place of a tuple, a key of a dict, a part of a tensor. `@1` names the axis of time in a value that passes once for
    all steps.
    """

    module: str
    operation: str | None = None
    numbers: slice | None = None  # of the operation within the module's forward pass
    calls: slice | None = None
    keys: tuple[Key, ...] = ()
    time_axis: int | None = None
    numbers_of: int | None = None  # operations of the kind in a forward pass of the module, where it must be so many
    calls_of: int | None = None  # of the module in a forward pass of the model, where it must be so many

    @classmethod
    def named(cls, name: str) -> "Point":
        """Read a name. Raises ValueError if it has another form."""
        found = _FORM.fullmatch(name)
        if not found:
            raise ValueError(f"{name!r} is no name of a value: {HOW}")
        numbers = None
        if found["operation"]:
            first = int(found["number"])
            numbers = _slice(f"{first}{found['more']}") if found["more"] else slice(first, first + 1)
        calls = found["calls"]
        if calls is not None:
            if not calls:
                raise ValueError(f"{name!r} has no calls behind #: {HOW}")
            calls = _slice(calls) if ":" in calls else slice(int(calls), int(calls) + 1 or None)
        keys = tuple(_key(text) for text in re.findall(r"\[([^\]]*)\]", found["keys"]))
        others = [None if found[each] is None else int(found[each]) for each in ("time_axis", "numbers_of", "calls_of")]
        return cls(found["module"], found["operation"], numbers, calls, keys, *others)

    def __str__(self) -> str:
        text = self.module
        if self.operation:
            single = self.numbers.step is None and self.numbers.stop == self.numbers.start + 1
            text += f":{self.operation}.{self.numbers.start if single else _text(self.numbers)}"
            text += "" if self.numbers_of is None else f"/{self.numbers_of}"
        if self.calls is not None:
            text += f"#{_text(self.calls)}" + ("" if self.calls_of is None else f"/{self.calls_of}")
        text += "".join(f"[{_key_text(key)}]" for key in self.keys)
        return text if self.time_axis is None else f"{text}@{self.time_axis}"

    def part_of(self, value: Any) -> Tensor:
        """Return the part of a value that `keys` name. Raises LookupError if there is none, TypeError for no tensor."""
        for key in self.keys:
            try:
                value = value[key]
            except (LookupError, TypeError) as error:
                raise LookupError(f"{self}: {_shape_of(value)} has no part [{_key_text(key)}]") from error
        if not isinstance(value, Tensor):
            raise TypeError(f"{self} is {_shape_of(value)} and no tensor: name a part of it, as {self}[0]")
        return value

    def with_part(self, value: Any, part: Tensor) -> Any:
        """Return a copy of a value with another part."""
        return _put(value, self.keys, part)

    def at(self, module: str) -> "Point":
        """Return the same point of another module."""
        return replace(self, module=module)


def _put(value: Any, keys: tuple[Key, ...], part: Tensor) -> Any:
    if not keys:
        return part
    key, rest = keys[0], keys[1:]
    inner = _put(value[key], rest, part)
    if isinstance(value, Tensor):
        value = value.clone()
        value[key] = inner
        return value
    if isinstance(value, Mapping):
        return type(value)({**value, key: inner})
    changed = [*value]
    changed[key] = inner
    return type(value)(*changed) if hasattr(value, "_fields") else type(value)(changed)


def _slice(text: str) -> slice:
    return slice(*(int(part) if part else None for part in text.split(":")))


def _text(part: slice) -> str:
    start, stop, step = ("" if each is None else each for each in (part.start, part.stop, part.step))
    return f"{start}:{stop}" + (f":{step}" if part.step is not None else "")


def _key(text: str) -> Key:
    if re.fullmatch(r"-?\d+", text):
        return int(text)
    if re.fullmatch(r"[-\d:, .]+", text):
        parts = [part.strip() for part in text.split(",")]
        return tuple(... if part == "..." else _slice(part) if ":" in part else int(part) for part in parts)
    return text.strip("\"'")


def _key_text(key: Key) -> str:
    if not isinstance(key, tuple):
        return str(key)
    return ", ".join("..." if part is ... else _text(part) if isinstance(part, slice) else str(part) for part in key)


def _shape_of(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of {tuple(value.shape)}"
    if isinstance(value, Mapping):
        return f"a dict of {', '.join(map(str, value)) or 'nothing'}"
    if isinstance(value, list | tuple):
        return f"a {type(value).__name__} of {len(value)}"
    return f"a {type(value).__name__}"
