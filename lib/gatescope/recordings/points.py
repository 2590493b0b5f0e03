"""points: a table of the values in a model that can be named, from one forward pass."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from gatescope.recordings.names import Point
from gatescope.recordings.opening import hook_points
from gatescope.recordings.tracing import Trace, traced

MOST = 6  # numbers of one kind in one forward pass that are listed one by one


@dataclass(frozen=True)
class Row:
    """A value that can be named."""

    name: str
    shapes: tuple[tuple[int, ...], ...]  # those with which it passes
    passes: int  # in one forward pass of the model
    note: str = ""


class Points(Sequence[Row]):
    """Values that can be named in a model; shows as a table."""

    def __init__(self, rows: Sequence[Row]):
        self.rows = tuple(rows)

    def __getitem__(self, place: Any) -> Any:
        return Points(self.rows[place]) if isinstance(place, slice) else self.rows[place]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def containing(self, text: str) -> "Points":
        """Return the rows whose name contains `text`."""
        return Points([row for row in self.rows if text in row.name])

    def __repr__(self) -> str:
        width = max((len(row.name) for row in self.rows), default=0)
        return "\n".join(f"{row.name:{width}}  {_shapes(row)}  {_times(row)}{_note(row)}" for row in self.rows)

    def _repr_markdown_(self) -> str:
        lines = ["| name | shape | passes |", "|---|---|---|"]
        lines += [f"| `{row.name}` | {_shapes(row)} | {_times(row)}{_note(row)} |" for row in self.rows]
        return "\n".join(lines)


def _shapes(row: Row) -> str:
    shown = [" x ".join(map(str, shape)) or "one number" for shape in row.shapes[:3]]
    return " or ".join(shown) + (" or others" if len(row.shapes) > 3 else "")


def _times(row: Row) -> str:
    return "once" if row.passes == 1 else f"{row.passes} times"


def _note(row: Row) -> str:
    return f"; {row.note}" if row.note else ""


def points(model: nn.Module, x: Any) -> Points:
    """Return the values in a model that `record` and `intervene` can name, with shapes and numbers of passes.

    `x` is the argument of the model, or a tuple of all of them; the model runs once, in eval mode. Hook points stand
    first, then what submodules return (tuples and dicts by place and key), then operations inside forward passes. What
    passes once for a whole clip needs its axis of time, `name@1`; what passes several times is a sequence of steps if
    each is computed from the last, and else needs its calls, `name#0::2`.

    Raises ValueError for a model whose forward pass Python does not see: compiled, or TorchScript.
    """
    trace = traced(model, x)
    hooks = hook_points(model)
    inside = tuple(name for name, module in model.named_modules() if any(module is point for point in hooks.values()))
    passed = {where: found[()] for where, _, found in trace.outputs if where in inside}
    rows = [
        Row(name, (passed[where],), trace.calls[where], "a hook point")
        for name, where in zip(hooks, inside, strict=True)
        if where in passed
    ]
    shapes: dict[str, dict[tuple[int, ...], None]] = {}
    passes: dict[str, int] = {}
    for module, _, found in trace.outputs:
        for keys, shape in found.items() if module not in inside else ():
            name = str(Point(module, keys=keys))
            shapes.setdefault(name, {})[shape] = None
            passes[name] = passes.get(name, 0) + 1
    rows += [Row(name, tuple(shapes[name]), passes[name]) for name in shapes if name]
    return Points([*rows, *_operations(trace)])


def _operations(trace: Trace) -> Iterator[Row]:
    """Yield a row for each operation of a module; many of a kind in one forward pass stand together."""
    found: dict[tuple[str, str], dict[int, list]] = {}
    for each in trace.operations:
        if each.shape is not None or each.kind in ("chunk", "split", "unbind", "tensor_split"):
            found.setdefault((each.module, each.kind), {}).setdefault(each.number, []).append(each)
    for (module, kind), numbers in found.items():
        if len(numbers) > MOST and trace.calls[module] == 1:
            shapes = tuple(dict.fromkeys(each.shape for own in numbers.values() for each in own if each.shape))
            note = f"numbers 0 to {max(numbers)}; of a loop over steps take every third as `{module}:{kind}.0::3`"
            yield Row(f"{module}:{kind}.0::1", shapes, len(numbers), note)
            continue
        for number, own in sorted(numbers.items()):
            shapes = tuple(dict.fromkeys(each.shape for each in own if each.shape))
            note = "" if own[0].shape is not None else f"in parts, as `{module}:{kind}.{number}[0]`"
            yield Row(f"{module}:{kind}.{number}", shapes, len(own), note)
