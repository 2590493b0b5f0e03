"""Roles in a recurrent cell: which values are its gates, candidate and states, at every step of a trace."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from gatescope.recordings.cell_forms import (
    CANDIDATES,
    LINEAR,
    NEAR,
    Sum,
    ancestors,
    is_gate,
    is_gated,
    same,
    through_norms,
)
from gatescope.recordings.chains import Forms, Step, state_factors
from gatescope.recordings.tracing import Operation, Value, source_of


@dataclass(frozen=True)
class Cell:
    """A recurrent cell at work: its kind, the values of every role, one a step, and what is to be known of them."""

    kind: str  # LSTM, coupled LSTM, GRU, minimal gated, RNN
    module: str
    roles: Mapping[str, Sequence[Value]]
    sure: bool = True
    notes: tuple[str, ...] = ()


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
        if len(form.products) < 2:
            return f"{where or 'the model'}: a state to which something is added without a gate ({chain[1].kind})"
        product, factor = slots["f"]
        old = forms[chain[0]].products[product].factors[1 - factor]
        kind, roles = "LSTM", {"c": [Value(each) for each in chain]}
        for role, (product, factor) in slots.items():
            roles[role] = [forms[each].products[product].factors[factor] for each in chain]
        if "i" not in slots:
            notes.append("no input gate was found")
    elif not is_gated(form.gate):
        return f"{where or 'the model'}: a state that is blended by what is no gate"
    else:
        keeps = through_norms(form.one).operation is earlier
        old = forms[chain[0]].one if keeps else forms[chain[0]].other
        kind, roles = _blended(steps, keeps, forms)
        notes.append(f"{'f' if 'c' in roles else 'z'} = 1 {'keeps the old state' if keeps else 'takes the new state'}")
    if "c" in roles:
        outputs = _outputs(chain, forms, roles, recurs=False)
        if outputs:
            roles["o"], roles["h"] = ([each[k] for each in outputs] for k in (0, 1))
        elif isinstance(form, Sum):
            notes.append("no output gate was found: the cell state is what the layer gives")
    before = through_norms(old).operation
    first = before is not None and before.kind == "mul" and before.module == where and steps[0].earlier is None
    if first:
        notes.append("the first time step is computed in another way: the names begin at the second")
    if normed := _reads_norm(steps, forms):
        notes.append(
            f"the next step reads the {'cell' if 'c' in roles else 'hidden'} state after a norm; this is before"
        )
    sure = not (first or normed) and all(is_gate(value) for role in "ifozr" for value in roles.get(role, ()))
    return Cell(kind, where, roles, sure, tuple(notes))


def _reads_norm(steps: Sequence[Step], forms: Forms) -> bool:
    """Tell whether a norm stands between a state and its use as the old one."""
    state = steps[1].earlier
    reads = [each for each in state_factors(forms[steps[1].operation]) if through_norms(each).operation is state]
    return any(source_of(value).operation is not state for value in reads)


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
    if len(others) == 1 and len(gates) == 1 and not _has_gate(form.products[gates[0][0]].factors[1 - gates[0][1]]):
        slots["i"] = gates[0]
        slots["g"] = gates[0][0], 1 - gates[0][1]
    return slots


def _has_gate(value: Value) -> bool:
    """Tell whether a value is itself a product with a gate: then which of them lets in is not known."""
    operation = source_of(value).operation
    return operation is not None and operation.kind == "mul" and any(map(is_gated, operation.inputs))


def _blended(steps: Sequence[Step], keeps: bool, forms: Forms) -> tuple[str, dict[str, list[Value]]]:
    """Return the kind of a cell that blends, and its roles: an LSTM whose gates are coupled, or a GRU."""
    chain = [step.operation for step in steps]
    gate = [forms[each].gate for each in chain]
    new = [forms[each].other if keeps else forms[each].one for each in chain]
    if _outputs(chain, forms, {"z": gate, "n": new}, recurs=True):
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
    """Return the gate that multiplies the old state, or a linear map of it alone, in what a candidate is made of."""
    for operation in ancestors(new, until=frozenset({earlier})):
        if operation.kind != "mul" or len(operation.inputs) != 2:
            continue
        for gate, old in (operation.inputs, operation.inputs[::-1]):
            if is_gate(gate) and _of_alone(old, earlier):
                return gate
    return None


def _of_alone(value: Value, state: Operation) -> bool:
    """Tell whether a value is a state, or a linear map of nothing but it."""
    for _ in range(NEAR):
        operation = through_norms(value).operation
        if operation is state:
            return True
        if operation is None or operation.kind not in LINEAR:
            return False
        given = [each for each in operation.inputs if each.operation is not None]
        if len(given) != 1:
            return False
        value = given[0]
    return False


def _same_place(value: Value, its: Operation, at: Operation, new: Value) -> Value | None:
    """Return what stands at one step where `value` stands at another: before the states `at` and `its`."""
    like = value.operation
    for operation in ancestors(new):
        alike = (operation.module, operation.kind) == (like.module, like.kind)
        offset = operation.number - like.number, operation.call - like.call
        if alike and offset in ((at.number - its.number, 0), (0, at.call - its.call)):
            return Value(operation, value.keys)
    return None


def _outputs(
    chain: Sequence[Operation], forms: Forms, roles: Mapping[str, Sequence[Value]], *, recurs: bool
) -> list[tuple[Value, Value]] | None:
    """Return the output gate and the hidden state of every step: gate o act(... state ...), in the state's module.

    Of several the one from which the next state is computed most directly. Without `recurs` it may be one from which
    none is, the first; with `recurs` it must have an activation and take part in the next state.
    """
    cells = {operation for each, form in forms.items() for operation in (each, *form.terms)}
    offered = [
        _products_on(state, cells, [values[k] for values in roles.values()], activated=recurs)
        for k, state in enumerate(chain)
    ]
    places = []
    for state, following, hits in zip(chain, chain[1:], offered, strict=False):
        until = frozenset({state, *(product for product, _ in hits)})
        near = set(ancestors(Value(following), until=until))
        places.append(next((k for k, (product, _) in enumerate(hits) if product in near), None))
    if recurs and None in places:
        return None
    place = 0 if None in places else places[0]
    if any(len(hits) <= place for hits in offered) or len(set(places)) > 1:
        return None
    return [(hits[place][1], Value(hits[place][0])) for hits in offered]


def _products_on(
    state: Operation, cells: Set[Operation], taken: Sequence[Value], *, activated: bool
) -> list[tuple[Operation, Value]]:
    """Return the products of a gate and something computed from a state, in its module and in order, with the gate.

    What is computed from `cells`, the operations of all cells, is another step's.
    """
    seen, active, edge, hits = {state}, set(), [state], []
    for _ in range(NEAR):
        after = []
        for operation in edge:
            for user in operation.users:
                if user in seen or user in cells:
                    continue
                seen.add(user)
                if user.kind in CANDIDATES or operation in active:
                    active.add(user)
                after.append(user)
        edge = after
    for product in sorted(seen, key=lambda each: each.place):
        if product.kind != "mul" or len(product.inputs) != 2 or product.module != state.module:
            continue
        for gate, other in (product.inputs, product.inputs[::-1]):
            inner = source_of(other).operation
            known = any(same(gate, each) for each in taken)
            if is_gate(gate) and not known and (inner in active or (inner is state and not activated)):
                hits.append((product, gate))
                break
    return hits
