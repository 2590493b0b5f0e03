"""Roles in a recurrent cell: which values are its gates, candidate and states, at every step of a trace."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from gatescope.recordings.cell_forms import (
    CANDIDATES,
    NEAR,
    Blend,
    Sum,
    ancestors,
    is_gate,
    is_gated,
    same,
    through_norms,
)
from gatescope.recordings.tracing import Operation, Trace, Value, source_of

Forms = Mapping[Operation, Sum | Blend]


@dataclass(frozen=True)
class Step:
    """The operation that gives a state, and the one that gave the state before it, if any did."""

    operation: Operation
    earlier: Operation | None


@dataclass(frozen=True)
class Cell:
    """A recurrent cell at work: its kind, the values of every role, one a step, and what is to be known of them."""

    kind: str  # LSTM, coupled LSTM, GRU, minimal gated, RNN
    module: str
    roles: Mapping[str, Sequence[Value]]
    sure: bool = True
    notes: tuple[str, ...] = ()


def _state_factor(form: Sum | Blend) -> Iterator[Value]:
    """Yield what may be the old state in a sum or blend."""
    if isinstance(form, Blend):
        yield form.one
        yield form.other
        return
    for product in form.products:
        yield from product.factors


def chains_of(forms: Forms, types: Mapping[str, str]) -> list[list[Step]]:
    """Return the sequences of operations of which each takes the last one's result as its old state, by module.

    `types` names the type of each module. The state of a GRU may go through modules of one type in turn, as through
    those for rows and for columns; each of them is then a sequence of its own.
    """
    before: dict[Operation, Operation] = {}
    for operation, form in forms.items():
        for value in _state_factor(form):
            earlier = through_norms(value).operation
            if earlier not in forms or earlier.kind != operation.kind:
                continue
            in_turn = isinstance(form, Blend) and types.get(earlier.module) == types.get(operation.module)
            if earlier.module == operation.module or in_turn:
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
        by_module: dict[str, list[Step]] = {}
        for operation in chain:
            by_module.setdefault(operation.module, []).append(Step(operation, before.get(operation)))
        chains += [own for own in by_module.values() if len(own) > 1]
    return chains


def cell_of(steps: Sequence[Step], forms: Forms) -> Cell | str:
    """Return the cell whose state these steps add up, or in words why it is none that is known."""
    chain, earlier = [step.operation for step in steps], steps[1].earlier
    where, form = chain[0].module, forms[chain[1]]
    if any(type(forms[each]) is not type(form) for each in chain):
        return f"{where or 'the model'}: a state whose steps are computed in different ways"
    notes: list[str] = []
    if isinstance(form, Sum):
        slots = _slots(form, earlier)
        if slots is None:
            return f"{where or 'the model'}: a state that adds up without a gate on the old one ({chain[1].kind})"
        kind, roles = "LSTM", {"c": [Value(each) for each in chain]}
        for role, (product, factor) in slots.items():
            roles[role] = [forms[each].products[product].factors[factor] for each in chain]
        if "i" not in slots:
            notes.append("no input gate was found")
    elif not is_gated(form.gate):
        return f"{where or 'the model'}: a state that is blended by what is no gate"
    else:
        keeps = through_norms(form.one).operation is earlier
        kind, roles = _blended(steps, keeps, forms)
        notes.append(f"{'f' if 'c' in roles else 'z'} = 1 {'keeps the old state' if keeps else 'takes the new state'}")
    if "c" in roles:
        outputs = [_output(each, forms, [values[k] for values in roles.values()]) for k, each in enumerate(chain)]
        if all(outputs):
            roles["o"], roles["h"] = ([each[k] for each in outputs] for k in (0, 1))
        elif isinstance(form, Sum):
            notes.append("no output gate was found: the cell state is what the layer gives")
    if first := _before(chain[0], forms):
        notes.append("the first time step is computed in another way: the names begin at the second")
    sure = not first and all(is_gate(value) for role in "ifozr" for value in roles.get(role, ()))
    return Cell(kind, where, roles, sure, tuple(notes))


def _before(head: Operation, forms: Forms) -> bool:
    """Tell whether the state before the first of a chain was itself computed from products, as i o g without f is."""
    states = [through_norms(value).operation for value in _state_factor(forms[head])]
    return any(each is not None and each.kind == "mul" and each.module == head.module for each in states if each)


def _slots(form: Sum, earlier: Operation) -> dict[str, tuple[int, int]] | None:
    """Return which factor of which product is f, i and g, given the operation before; None without f."""
    slots: dict[str, tuple[int, int]] = {}
    for number, product in enumerate(form.products):
        olds = [k for k in (0, 1) if through_norms(product.factors[k]).operation is earlier]
        if olds and is_gated(product.factors[1 - olds[0]]):
            slots["f"] = number, 1 - olds[0]
    if "f" not in slots:
        return None
    others = [number for number in range(len(form.products)) if number != slots["f"][0]]
    gates = [(n, k) for n in others for k in (0, 1) if is_gated(form.products[n].factors[k])]
    if len(others) == 1 and len(gates) == 1:
        slots["i"] = gates[0]
        slots["g"] = gates[0][0], 1 - gates[0][1]
    return slots


def _blended(steps: Sequence[Step], keeps: bool, forms: Forms) -> tuple[str, dict[str, list[Value]]]:
    """Return the kind of a cell that blends, and its roles: an LSTM whose gates are coupled, or a GRU."""
    chain = [step.operation for step in steps]
    gate = [forms[each].gate for each in chain]
    new = [forms[each].other if keeps else forms[each].one for each in chain]
    if _output(chain[1], forms, [gate[1], new[1]], activated=True):
        complement = [forms[each].complement for each in chain]
        f, i = (gate, complement) if keeps else (complement, gate)
        roles = {"f": f, "i": i, "g": new, "c": [Value(each) for each in chain]}
        return "coupled LSTM", {role: values for role, values in roles.items() if None not in values}
    roles = {"z": gate, "n": new, "h": [Value(each) for each in chain]}
    resets = [step.earlier and _reset(new[k], step.earlier) for k, step in enumerate(steps)]
    if resets[1] is None or same(resets[1], gate[1]):
        return "minimal gated", roles
    if resets[0] is None:
        # The old state of the first step is no operation: its reset gate is at the same place of the code.
        resets[0] = _same_place(resets[1], chain[1], chain[0], new[0])
    return ("GRU", roles | {"r": resets}) if all(resets) else ("GRU", roles)


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
    state: Operation, forms: Forms, taken: Sequence[Value], *, activated: bool = False
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


def activations_of(trace: Trace, gated: set[str]) -> Iterator[list[Operation]]:
    """Yield the steps of plain RNNs: act(W x + U h_before), with the same weights at every step, where no cell is."""
    places: dict[tuple, list[Operation]] = {}
    for each in trace.operations:
        if each.kind in ("tanh", "relu", "sigmoid", "hardtanh") and each.module not in gated:
            single = trace.calls[each.module] == 1
            places.setdefault((each.module, each.kind, None if single else each.number), []).append(each)
    for own in places.values():
        every = frozenset(own)
        nearest = [_linear_sources(one, every) for one in own]
        for apart in range(1, min(9, len(own))):
            pairs = [(own[k - apart], nearest[k], nearest[k - apart][1]) for k in range(apart, len(own))]
            if all(last in found and weights and weights == before for last, (found, weights), before in pairs):
                yield from (own[start::apart] for start in range(apart) if len(own[start::apart]) > 1)
                break


def _linear_sources(activation: Operation, every: frozenset[Operation]) -> tuple[set[Operation], set[str]]:
    """Return those of `every` from which an activation's argument is computed, and the parameters used on the way.

    Nothing where two values are multiplied on the way: then it is no sum of weighted values.
    """
    found: set[Operation] = set()
    weights: set[str] = set()
    for value in activation.inputs:
        for each in ancestors(value, until=every):
            if each in every:
                found.add(each)
                continue
            if each.kind in ("mul", "addcmul", "lerp", "div") and sum(v.operation is not None for v in each.inputs) > 1:
                return set(), set()
            weights |= {v.parameter for v in each.inputs if v.parameter}
    return found, weights
