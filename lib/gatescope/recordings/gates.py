"""find_gates: gates, candidates and states of recurrent cells in any model, by the flow of data in one forward pass."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from gatescope.recordings.cell_forms import (
    CANDIDATES,
    GATES,
    NEAR,
    Blend,
    Sum,
    ancestors,
    form_of,
    is_gate,
    is_gate_like,
    same,
    through_norms,
)
from gatescope.recordings.names import Point
from gatescope.recordings.tracing import Operation, Trace, Value, source_of, traced

ROLES = {
    "i": "input gate",
    "f": "forget gate",
    "o": "output gate",
    "g": "candidate",
    "c": "cell state",
    "r": "reset gate",
    "z": "update gate",
    "n": "candidate",
    "h": "hidden state",
}


@dataclass(frozen=True)
class Layer:
    """What was found of one recurrent layer."""

    name: str
    kind: str  # LSTM, coupled LSTM, GRU, minimal gated, RNN
    where: str  # the module that its state is computed in
    roles: Mapping[str, str]  # role to the name of its point
    sure: bool
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Gates(Mapping):
    """Names of the gates and states that were found, `layer1.f`, with the names of their points; shows as a table."""

    layers: tuple[Layer, ...]
    unplaced: tuple[str, ...] = ()
    _points: Mapping[str, str] = field(init=False, repr=False)

    def __post_init__(self):
        named = {f"{layer.name}.{role}": where for layer in self.layers for role, where in layer.roles.items()}
        object.__setattr__(self, "_points", named)

    def __getitem__(self, name: str) -> str:
        return self._points[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._points)

    def __len__(self) -> int:
        return len(self._points)

    def __str__(self) -> str:
        lines = []
        for layer in self.layers:
            lines.append(f"{layer.name}: {layer.kind} in {layer.where or 'the model'}, {_sure(layer)}")
            lines += [f"  {layer.name}.{role}  {ROLES[role]}: {where}" for role, where in layer.roles.items()]
            lines += [f"  note: {note}" for note in layer.notes]
        lines += [f"not placed: {each}" for each in self.unplaced]
        return "\n".join(lines) or "no recurrent cell was recognised"

    def _repr_markdown_(self) -> str:
        lines = ["| name | what it is | where it passes | cell | how sure |", "|---|---|---|---|---|"]
        for layer in self.layers:
            for role, where in layer.roles.items():
                lines.append(f"| {layer.name}.{role} | {ROLES[role]} | `{where}` | {layer.kind} | {_sure(layer)} |")
        notes = [f"{layer.name}: {note}" for layer in self.layers for note in layer.notes]
        notes += [f"not placed: {each}" for each in self.unplaced]
        return "\n".join([*lines, *(f"\n{note}" for note in notes)])


def _sure(layer: Layer) -> str:
    return "sure" if layer.sure else "likely"


def find_gates(model: nn.Module, x: Any) -> Gates:
    """Return the gates, candidates and states of the recurrent cells in a model, found in one forward pass.

    `x` is the argument of the model, or a tuple of all of them, of two time steps or more. A cell is recognised by what
    is computed from what: c = f o c_before + i o g and h = o o tanh(c) is an LSTM's, z o h_before + (1 - z) o n a GRU's,
    act(W x + U h_before) an RNN's, whatever the variables are called and however gates are computed together. What fits
    no role is named in `unplaced` and not guessed. The mapping is what `record`, `watch` and `intervene` take.

    Raises ValueError for a model whose forward pass Python does not see: compiled, or TorchScript.
    """
    trace = traced(model, x)
    forms = {each: form for each in trace.operations if (form := form_of(each)) is not None}
    found, unplaced = [], []
    for chain in _chains(forms):
        layer, problem = _layer(chain, forms, trace)
        if layer is not None:
            found.append((chain[0].place, layer))
        if problem:
            unplaced.append(problem)
    gated = {layer[1].where for layer in found}
    plain = [(chain[0].place, _rnn(chain, trace)) for chain in _activations(trace, gated)]
    found += [(place, layer) for place, layer in plain if layer is not None]
    fused = sorted({f"{each.module or 'the model'} ({each.kind})" for each in trace.operations if each.kind in _FUSED})
    unplaced += [f"{each} hides its steps in one kernel: take unrolled(layer)" for each in fused]
    used = [Point.named(where) for _, layer in found for where in layer.roles.values()]
    unplaced += _without_role(trace, used)
    layers = [layer for _, layer in sorted(found, key=lambda each: each[0])]
    named = [Layer(f"layer{k}", *list(vars(layer).values())[1:]) for k, layer in enumerate(layers, 1)]
    return Gates(tuple(named), tuple(unplaced))


_FUSED = ("lstm", "gru", "rnn_tanh", "rnn_relu", "lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell")


def _without_role(trace: Trace, used: Sequence[Point]) -> Iterator[str]:
    """Yield the gates that no role was found for, as sentences."""
    taken = {(point.module, point.operation) for point in used}
    numbers = {
        (p.module, p.operation, n) for p in used for n in range(p.numbers.start, p.numbers.stop or p.numbers.start)
    }
    left: dict[str, list[str]] = {}
    for each in trace.operations:
        single = trace.calls[each.module] == 1
        if each.kind not in GATES or (single and (each.module, each.kind) in taken):
            continue
        if (each.module, each.kind, each.number) not in numbers and trace.calls[each.module] > 1:
            name = f"{each.module}:{each.kind}.{each.number}"
            left.setdefault(each.module, [])
            left[each.module] += [] if name in left[each.module] else [name]
    for names in left.values():
        yield f"{', '.join(names)}: {'gates that fit' if len(names) > 1 else 'a gate that fits'} no role"


def _state_factor(form: Sum | Blend) -> Iterator[Value]:
    """Yield what may be the old state in a sum or blend."""
    if isinstance(form, Blend):
        yield form.one
        yield form.other
        return
    for product in form.products:
        yield from product.factors


def _chains(forms: Mapping[Operation, Sum | Blend]) -> list[list[Operation]]:
    """Return the sequences of operations of which each takes the last one's result as its old state."""
    before: dict[Operation, Operation] = {}
    for operation, form in forms.items():
        for value in _state_factor(form):
            earlier = through_norms(value).operation
            if earlier in forms and earlier.module == operation.module and earlier.kind == operation.kind:
                before[operation] = earlier
                break
    following: dict[Operation, list[Operation]] = {}
    for operation, earlier in before.items():
        following.setdefault(earlier, []).append(operation)
    chains = []
    for head in (operation for operation in forms if operation in following and operation not in before):
        chain = [head]
        while chain[-1] in following:
            chain.append(following[chain[-1]][0])
        chains.append(chain)
    return chains


def _layer(
    chain: Sequence[Operation], forms: Mapping[Operation, Sum | Blend], trace: Trace
) -> tuple[Layer | None, str]:
    """Return the layer whose state a chain adds up, or None, and what of it could not be placed."""
    where = chain[0].module
    form, earlier = forms[chain[1]], chain[0]
    if any(type(forms[each]) is not type(form) for each in chain):
        return None, f"{where or 'the model'}: a state whose steps are computed in different ways"
    roles: dict[str, list[Value]] = {"c": [Value(each) for each in chain]}
    notes: list[str] = []
    if isinstance(form, Sum):
        kind = "LSTM"
        slots = _slots(form, earlier)
        if slots is None:
            return None, f"{where or 'the model'}: a state that adds up without a gate on the old one ({chain[1].kind})"
        for role, (product, factor) in slots.items():
            roles[role] = [forms[each].products[product].factors[factor] for each in chain]
        if "i" not in slots:
            notes.append("no input gate was found")
    else:
        keeps = through_norms(form.one).operation is earlier
        if not _gated(form.gate):
            return None, f"{where or 'the model'}: a state that is blended by what is no gate"
        gate = [forms[each].gate for each in chain]
        new = [forms[each].other if keeps else forms[each].one for each in chain]
        kind, roles = _blended(chain, gate, new, keeps, forms)
        notes.append(f"{'f' if 'c' in roles else 'z'} = 1 {'keeps the old state' if keeps else 'takes the new one'}")
    if "c" in roles:
        outputs = [_output(each, forms, [values[k] for values in roles.values()]) for k, each in enumerate(chain)]
        if all(outputs):
            roles["o"], roles["h"] = ([each[k] for each in outputs] for k in (0, 1))
        elif isinstance(form, Sum):
            notes.append("no output gate was found: the cell state is what the layer gives")
    named = {role: _name(values, trace) for role, values in roles.items()}
    lost = [ROLES[role] for role, name in named.items() if name is None]
    notes += [f"the {each} has no name of its own at every step" for each in lost]
    order = [role for role in ("r", "z", "i", "f", "o", "g", "n", "c", "h") if named.get(role)]
    sure = all(is_gate(value) for role in "ifozr" for value in roles.get(role, ()))
    return Layer("", kind, where, {role: named[role] for role in order}, sure, tuple(notes)), ""


def _slots(form: Sum, earlier: Operation) -> dict[str, tuple[int, int]] | None:
    """Return which factor of which product is f, i and g, given the operation before; None without f."""
    slots: dict[str, tuple[int, int]] = {}
    for number, product in enumerate(form.products):
        olds = [k for k in (0, 1) if through_norms(product.factors[k]).operation is earlier]
        if olds and _gated(product.factors[1 - olds[0]]):
            slots["f"] = number, 1 - olds[0]
    if "f" not in slots:
        return None
    others = [number for number in range(len(form.products)) if number != slots["f"][0]]
    gates = [(n, k) for n in others for k in (0, 1) if _gated(form.products[n].factors[k])]
    if len(others) == 1 and len(gates) == 1:
        slots["i"] = gates[0]
        slots["g"] = gates[0][0], 1 - gates[0][1]
    return slots


def _gated(value: Value) -> bool:
    return is_gate(value) or is_gate_like(value)


def _blended(
    chain: Sequence[Operation],
    gate: list[Value],
    new: list[Value],
    keeps: bool,
    forms: Mapping[Operation, Sum | Blend],
) -> tuple[str, dict[str, list[Value]]]:
    """Return the kind of a cell that blends, and its roles: an LSTM whose gates are coupled, or a GRU."""
    if _output(chain[1], forms, [gate[1], new[1]], activated=True):
        complement = [forms[each].complement for each in chain]
        f, i = (gate, complement) if keeps else (complement, gate)
        roles = {"f": f, "i": i, "g": new, "c": [Value(each) for each in chain]}
        return "coupled LSTM", {role: values for role, values in roles.items() if None not in values}
    roles = {"z": gate, "n": new, "h": [Value(each) for each in chain]}
    resets = [None, *(_reset(new[k], chain[k - 1]) for k in range(1, len(chain)))]
    if resets[1] is None or same(resets[1], gate[1]):
        return "minimal gated", roles
    # At the first step the old state is no operation of the chain: the reset gate is at the same place of the code.
    first = _same_place(resets[1], chain[1], chain[0], new[0])
    return ("GRU", roles | {"r": [first, *resets[1:]]}) if first is not None else ("GRU", roles)


def _reset(new: Value, earlier: Operation) -> Value | None:
    """Return the gate that multiplies the old state, or its convolution, within what a candidate is computed from."""
    for operation in ancestors(new, until=frozenset({earlier})):
        if operation.kind != "mul" or len(operation.inputs) != 2:
            continue
        for gate, old in (operation.inputs, operation.inputs[::-1]):
            if is_gate(gate) and earlier in ancestors(old, until=frozenset({earlier})):
                return gate
    return None


def _same_place(value: Value, its: Operation, at: Operation, new: Value) -> Value | None:
    """Return what stands at one step where `value` stands at another: before the states `at` and `its`."""
    like = value.operation
    for operation in ancestors(new):
        alike = (operation.module, operation.kind) == (like.module, like.kind)
        offset = operation.number - like.number, operation.call - like.call
        if alike and offset in ((at.number - its.number, 0), (0, at.call - its.call)):
            return Value(operation, value.keys)
    return None


def _output(
    state: Operation, forms: Mapping[Operation, Sum | Blend], taken: Sequence[Value], *, activated: bool = False
) -> tuple[Value, Value] | None:
    """Return the output gate and the hidden state: the first gate o act(... state ...) after a state was computed."""
    terms = {term for form in forms.values() for term in form.terms}
    seen, edge, hits = {state}, [state], []
    for _ in range(NEAR):
        following = []
        for operation in edge:
            for user in operation.users:
                if user in seen or user in forms or user in terms:
                    continue
                seen.add(user)
                if user.kind == "mul" and len(user.inputs) == 2:
                    for gate, other in (user.inputs, user.inputs[::-1]):
                        inner = source_of(other).operation
                        if not is_gate(gate) or any(same(gate, each) for each in taken) or inner not in seen:
                            continue
                        direct = inner is not None and inner.kind in CANDIDATES
                        if direct or (not activated and inner is state):
                            hits.append((user.place, gate, Value(user)))
                    if any(hit[0] == user.place for hit in hits):
                        continue
                following.append(user)
        edge = following
    return min(hits, key=lambda hit: hit[0])[1:] if hits else None


def _activations(trace: Trace, gated: set[str]) -> Iterator[list[Operation]]:
    """Yield the steps of plain RNNs: act(W x + U h_before), where no gated cell is."""
    places: dict[tuple, list[Operation]] = {}
    for each in trace.operations:
        if each.kind in ("tanh", "relu", "sigmoid", "hardtanh") and each.module not in gated:
            single = trace.calls[each.module] == 1
            places.setdefault((each.module, each.kind, None if single else each.number), []).append(each)
    for own in places.values():
        every = frozenset(own)
        nearest = [_linear_sources(one, every) for one in own]
        for apart in range(1, min(9, len(own))):
            if all(own[k - apart] in nearest[k] for k in range(apart, len(own))):
                yield from (own[start::apart] for start in range(apart) if len(own[start::apart]) > 1)
                break


def _linear_sources(activation: Operation, every: frozenset[Operation]) -> set[Operation]:
    """Return those of `every` from which an activation's argument is computed, if no two values are multiplied."""
    found: set[Operation] = set()
    for value in activation.inputs:
        for each in ancestors(value, until=every):
            if each in every:
                found.add(each)
            elif (
                each.kind in ("mul", "addcmul", "lerp", "div") and sum(v.operation is not None for v in each.inputs) > 1
            ):
                return set()
    return found


def _rnn(chain: Sequence[Operation], trace: Trace) -> Layer | None:
    name = _name([Value(each) for each in chain], trace)
    return name and Layer("", "RNN", chain[0].module, {"h": name}, True)


def _name(values: Sequence[Value], trace: Trace) -> str | None:
    """Return the name of the point at which a value passes at every step, or None if no single point does."""
    values = [_at_activation(each) for each in values]
    if any(each is None or each.operation is None for each in values):
        return None
    first = values[0].operation
    if any(
        (v.operation.module, v.operation.kind, v.keys) != (first.module, first.kind, values[0].keys) for v in values
    ):
        return None
    numbers, calls = [v.operation.number for v in values], [v.operation.call for v in values]
    if len(set(numbers)) == 1:
        part = _progression(calls, trace.calls[first.module])
        single = slice(numbers[0], numbers[0] + 1)
        return part and str(Point(first.module, first.kind, single, part, values[0].keys))
    if len(set(calls)) == 1:
        part = _progression(numbers, trace.kinds[first.module, calls[0]][first.kind])
        call = slice(None) if trace.calls[first.module] == 1 else slice(calls[0], calls[0] + 1)
        numbers = part and slice(part.start or 0, part.stop, part.step)
        return part and str(Point(first.module, first.kind, numbers, call, values[0].keys))
    return None


def _at_activation(value: Value | None) -> Value | None:
    """Return the activation that a value is a mere copy of, or the value itself where it is a part."""
    if value is None or value.operation is None:
        return value
    source = source_of(value)
    whole = source.operation is not None and not source.keys and source.operation.shape == value.operation.shape
    return source if whole and not value.keys else value


def _progression(numbers: Sequence[int], count: int) -> slice | None:
    """Return the slice of 0 ... count - 1 that takes these numbers; open at its end if it may be."""
    step = numbers[1] - numbers[0]
    if step < 1 or list(numbers) != list(range(numbers[0], numbers[-1] + 1, step)):
        return None
    stop = None if numbers[-1] + step >= count else numbers[-1] + 1
    return slice(numbers[0] or None, stop, step if step > 1 else None)
