"""find_gates: gates, candidates and states of recurrent cells in any model, by the flow of data in one pass."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from gatescope.recordings.cell_forms import GATES, form_of
from gatescope.recordings.cell_roles import Cell, cell_of
from gatescope.recordings.chains import activations_of, chains_of
from gatescope.recordings.names import Point
from gatescope.recordings.tracing import Trace, Value, source_of, traced

# What pictures call a role; what is an LSTM's alone has the role's own name.
MEANINGS = {"z": "update", "n": "new", "h": "hidden"}
ROLES = {
    "r": "reset gate",
    "z": "update gate",
    "i": "input gate",
    "f": "forget gate",
    "o": "output gate",
    "g": "candidate",
    "n": "candidate",
    "c": "cell state",
    "h": "hidden state",
}
FUSED = ("lstm", "gru", "rnn_tanh", "rnn_relu", "lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell")


@dataclass(frozen=True)
class Layer:
    """What was found of one recurrent layer."""

    name: str
    kind: str  # LSTM, coupled LSTM, GRU, minimal gated, RNN
    module: str  # in whose forward pass the state is computed
    points: Mapping[str, str]  # role, and the name of its point
    sure: bool  # that every gate is a sigmoid of some kind
    notes: tuple[str, ...] = ()


class Gates(Mapping[str, str]):
    """Gates and states that were found: `layer1.f`, with the name of its point. Shows as a table."""

    def __init__(self, layers: Sequence[Layer], unplaced: Sequence[str] = ()):
        self.layers, self.unplaced = tuple(layers), tuple(unplaced)
        self._points = {f"{layer.name}.{role}": where for layer in layers for role, where in layer.points.items()}
        self.meanings = {name: MEANINGS.get(name.rpartition(".")[2], name.rpartition(".")[2]) for name in self._points}

    def __getitem__(self, name: str) -> str:
        return self._points[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._points)

    def __len__(self) -> int:
        return len(self._points)

    def __repr__(self) -> str:
        lines = []
        for layer in self.layers:
            lines.append(f"{layer.name}: {layer.kind} in {layer.module or 'the model'}, {_sure(layer)}")
            lines += [f"  {layer.name}.{role}  {ROLES[role]}: {where}" for role, where in layer.points.items()]
            lines += [f"  {note}" for note in layer.notes]
        lines += [f"not placed: {each}" for each in self.unplaced]
        return "\n".join(lines) or "no recurrent cell was recognised"

    def _repr_markdown_(self) -> str:
        lines = ["| name | what it is | where it passes | cell | how sure |", "|---|---|---|---|---|"]
        for layer in self.layers:
            for role, where in layer.points.items():
                lines.append(f"| {layer.name}.{role} | {ROLES[role]} | `{where}` | {layer.kind} | {_sure(layer)} |")
        notes = [f"{layer.name}: {note}" for layer in self.layers for note in layer.notes]
        notes += [f"Not placed: {each}" for each in self.unplaced]
        return "\n".join([*lines, *(f"\n{note}" for note in notes)])


def _sure(layer: Layer) -> str:
    return "sure" if layer.sure else "likely"


def find_gates(model: nn.Module, x: Any) -> Gates:
    """Return the gates, candidates and states of the recurrent cells in a model, found in one forward pass.

    `x` is the argument of the model, or a tuple of all of them, of two time steps or more. A cell is recognised by what
    is computed from what: c = f o c_before + i o g and h = o o tanh(c) are an LSTM's, z o h_before + (1 - z) o n a
    GRU's, act(W x + U h_before) an RNN's, whatever the variables are called and however gates are computed together.
    What fits no role is named in `unplaced` and not guessed. `record`, `watch` and `intervene` take the result.

    Example:
        gates = find_gates(model, clip)
        with record(model, gates) as recording:
            model(clip)
        recording["layer1.f"]

    Raises ValueError for a model whose forward pass Python does not see: compiled, or TorchScript.
    """
    trace = traced(model, x)
    layers, own = _with_hook_points(model, trace)
    forms = {each: form for each in trace.operations if each.module not in own and (form := form_of(each)) is not None}
    unplaced: list[str] = []
    for steps in chains_of(forms, trace.types):
        cell = cell_of(steps, forms)
        if isinstance(cell, Cell):
            layers.append((steps[0].operation.place, _layer(cell, trace)))
        else:
            unplaced.append(cell)
    gated = own | {layer.module for _, layer in layers}
    for chain in activations_of(trace, gated):
        cell = Cell("RNN", chain[0].module, {"h": [Value(each) for each in chain]})
        layers.append((chain[0].place, _layer(cell, trace)))
    in_order = [layer for _, layer in sorted(layers, key=lambda each: each[0])]
    named = [replace(layer, name=f"layer{number}") for number, layer in enumerate(in_order, 1)]
    return Gates(named, [*unplaced, *_hidden(trace), *_without_role(trace, named, own)])


def _with_hook_points(model: nn.Module, trace: Trace) -> tuple[list[tuple[int, Layer]], set[str]]:
    """Return the layers that name their gates themselves, with their places in the pass, and all modules that do."""
    layers, own = [], set()
    for module, part in model.named_modules():
        if not hasattr(part, "hooks"):
            continue
        own.add(module)
        if roles := getattr(part, "roles", ()):
            place = next((each.place for each in trace.operations if each.module == module), 0)
            points = {role: f"{module}.{role}" if module else role for role in ROLES if role in roles}
            kind = getattr(part, "kind", "with hook points").partition("_")[0]  # RNN_TANH is an RNN
            layers.append((place, Layer("", kind, module, points, True)))
    return layers, own


def _layer(cell: Cell, trace: Trace) -> Layer:
    """Return the layer of a cell, its values by the names of their points."""
    points = {role: _name(values, trace) for role, values in cell.roles.items()}
    lost = tuple(f"the {ROLES[role]} has no single name at all steps" for role, name in points.items() if not name)
    named = {role: points[role] for role in ROLES if points.get(role)}
    return Layer("", cell.kind, cell.module, named, cell.sure, cell.notes + lost)


def _name(values: Sequence[Value], trace: Trace) -> str | None:
    """Return the name of the point at which a value passes at every step, or None if no single point does."""
    values = [_at_activation(each) for each in values]
    if any(each.operation is None for each in values):
        return None
    first, keys = values[0].operation, values[0].keys
    where = {(each.operation.module, each.operation.kind, each.keys) for each in values}
    if len(where) > 1:
        return None
    numbers, calls = [each.operation.number for each in values], [each.operation.call for each in values]
    if len(set(numbers)) == 1:
        count = trace.calls[first.module]
        part = _progression(calls, count)
        single = slice(numbers[0], numbers[0] + 1)
        fixed = count if part and _is_of_this_length(part) else None
        return str(Point(first.module, first.kind, single, part, keys, calls_of=fixed)) if part else None
    if len(set(calls)) == 1:
        count = trace.kinds[first.module, calls[0]][first.kind]
        part = _progression(numbers, count)
        call = slice(None) if trace.calls[first.module] == 1 else slice(calls[0], calls[0] + 1)
        every = slice(numbers[0], part.stop, part.step or 1) if part else None
        fixed = count if part and _is_of_this_length(part) else None
        return str(Point(first.module, first.kind, every, call, keys, numbers_of=fixed)) if part else None
    return None


def _is_of_this_length(part: slice) -> bool:
    """Tell whether a slice takes the steps of a clip of one length only: it ends early, or begins after others."""
    return part.stop is not None or (part.start or 0) >= (part.step or 1)


def _at_activation(value: Value) -> Value:
    """Return the activation of which a value is a mere copy, or the value itself where it is a part."""
    source = source_of(value)
    if value.operation is None or source.operation is None or value.keys or source.keys:
        return value
    return source if source.operation.shape == value.operation.shape else value


def _progression(numbers: Sequence[int], count: int) -> slice | None:
    """Return the slice of 0 ... count - 1 that takes these numbers, open at its end if it may be; None if none does."""
    step = numbers[1] - numbers[0]
    if step < 1 or list(numbers) != list(range(numbers[0], numbers[-1] + 1, step)):
        return None
    stop = None if numbers[-1] + step >= count else numbers[-1] + 1
    return slice(numbers[0] or None, stop, step if step > 1 else None)


def _hidden(trace: Trace) -> list[str]:
    """Return which kernels hide time steps or gates, as sentences."""
    fused = dict.fromkeys((each.module, each.kind) for each in trace.operations if each.kind in FUSED)
    return [
        f"{module or 'the model'} hides its gates in one kernel ({kind}): take `unrolled`" for module, kind in fused
    ]


def _without_role(trace: Trace, layers: Sequence[Layer], own: set[str]) -> list[str]:
    """Return the gates for which no role was found, as a sentence for each module."""
    used = [Point.named(where) for layer in layers if layer.module not in own for where in layer.points.values()]
    parts = {(point.module, point.operation) for point in used if point.numbers.stop != point.numbers.start + 1}
    single = {(point.module, point.operation, point.numbers.start) for point in used}
    # A gate that was cut from a larger one has the cut's name.
    cut = own | {point.module for point in used if point.operation not in GATES and point.keys}
    left: dict[str, dict[str, None]] = {}
    for each in trace.operations:
        where = (each.module, each.kind)
        if each.kind in GATES and where not in parts and (*where, each.number) not in single and each.module not in cut:
            left.setdefault(each.module, {})[f"{each.module}:{each.kind}.{each.number}"] = None
    return [f"{', '.join(list(names)[:8])}: no role was found" for names in left.values()]
