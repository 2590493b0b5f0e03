"""Chains: the states of recurrent cells in a trace, each computed from the last with the same weights."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from gatescope.recordings.cell_forms import NORMS, Blend, Sum, ancestors, through_norms
from gatescope.recordings.tracing import PASSING, Operation, Trace, Value

Forms = Mapping[Operation, Sum | Blend]


@dataclass(frozen=True)
class Step:
    """The operation that gives a state, and the one that gave the state before it, if any did."""

    operation: Operation
    earlier: Operation | None


def state_factors(form: Sum | Blend) -> Iterator[Value]:
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
        for value in state_factors(form):
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
        steps = [Step(operation, before.get(operation)) for operation in chain]
        chains += [own for own in _with_equal_weights(steps) if len(own) > 1]
    return chains


def _with_equal_weights(steps: Sequence[Step]) -> list[list[Step]]:
    """Return the steps of one module with the same weights each, in their order: others are layers, not time steps.

    The state before the first step may have been computed with weights of its own.
    """
    own = [_weights(step) for step in steps]
    if steps[0].earlier is None:
        # Not equal: the first state has no gates before it, and may come from weights of its own.
        like = max(own[1:], key=lambda weights: len(weights & own[0]))
        own[0] = like if like & own[0] or not like else own[0]
    found: dict[tuple[str, frozenset[str]], list[Step]] = {}
    for step, weights in zip(steps, own, strict=True):
        found.setdefault((step.operation.module, weights), []).append(step)
    return list(found.values())


def _weights(step: Step) -> frozenset[str]:
    """Return the parameters with which a state is computed from the one before it."""
    until = frozenset() if step.earlier is None else frozenset({step.earlier})
    near = ancestors(Value(step.operation), until=until)
    return frozenset(value.parameter for each in near if each not in until for value in each.inputs if value.parameter)


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
            good = all(last in found and weights and weights == before for last, (found, weights), before in pairs)
            if good and all(_is_read_linearly(last, _home(last, trace)) for last, _, _ in pairs):
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


def _home(activation: Operation, trace: Trace) -> str:
    """Return the module whose step an activation is part of: the one around it where it is a module of its own."""
    alone = trace.kinds[activation.module, activation.call].total() == 1
    return activation.module.rpartition(".")[0] if alone else activation.module


SUMS = ("add", "sub", "mul", "lerp", "where", "addcmul", "div")


def _is_read_linearly(activation: Operation, home: str) -> bool:
    """Tell whether nothing but linear maps takes an activation further within its home: then it is the state itself.

    A sum with the old state, a share of it or a choice makes another state of it.
    """
    edge, seen = [activation], {activation}
    while edge:
        following = []
        for user in (user for operation in edge for user in operation.users if user not in seen):
            seen.add(user)
            if user.kind in PASSING or user.kind in NORMS:
                following.append(user)
            elif user.kind in SUMS and user.module == home:
                return False
        edge = following
    return True
