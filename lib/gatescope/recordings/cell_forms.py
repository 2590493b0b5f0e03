"""Forms of recurrent cells in a trace: gates, sums of gated values, blends of an old state with a new one."""

from collections.abc import Iterator
from dataclasses import dataclass

from gatescope.recordings.tracing import Operation, Value, source_of

GATES = ("sigmoid", "hardsigmoid", "softmax")
CLAMPS = ("clamp", "clip", "hardtanh", "clamp_min", "clamp_max", "relu6")
CANDIDATES = ("tanh", "hardtanh", "relu", "leaky_relu", "elu", "softsign", "silu", "gelu", "sigmoid", "clamp", "sin")
NORMS = ("layer_norm", "group_norm", "batch_norm", "instance_norm", "rms_norm")
LINEAR = ("conv1d", "conv2d", "conv3d", "linear", "matmul", "mm", "bmm", "addmm", "baddbmm", "einsum", "cat")
NEAR = 12  # operations within which what belongs to a step is looked for


@dataclass(frozen=True)
class Product:
    """A term of a sum: a product of two values."""

    factors: tuple[Value, Value]
    operation: Operation | None = None  # None where it is part of another, as of `addcmul`


@dataclass(frozen=True)
class Sum:
    """gate o value + gate o value, with other terms or without."""

    products: tuple[Product, ...]

    @property
    def terms(self) -> tuple[Operation, ...]:
        """The multiplications, where they are operations of their own."""
        return tuple(each.operation for each in self.products if each.operation is not None)


@dataclass(frozen=True)
class Blend:
    """gate o one + (1 - gate) o other."""

    gate: Value
    one: Value
    other: Value
    complement: Value | None = None  # 1 - gate, where it is computed
    terms: tuple[Operation, ...] = ()  # the multiplications, where they are operations of their own


def is_gate(value: Value) -> bool:
    """Tell whether a value is the result of a sigmoid of some kind, or one minus it."""
    value = source_of(value)
    operation = value.operation
    if operation is None:
        return False
    if operation.kind in GATES:
        return True
    if operation.kind in CLAMPS:
        return operation.low >= 0 and operation.high <= 1 and {0.0, 1.0} <= _numbers(operation)
    inner = complemented(value)
    return inner is not None and is_gate(inner)


def is_gate_like(value: Value) -> bool:
    """Tell whether a value lies between 0 and 1 and is computed from gates alone, as f / (f + i) is."""
    operation = source_of(value).operation
    if operation is None or operation.kind not in ("mul", "div", "add", "exp", "sqrt"):
        return False
    if not (operation.low >= 0 and operation.high <= 1):
        return False
    return all(is_gate(each) or is_gate_like(each) or _all_gates(each) for each in operation.inputs)


def _all_gates(value: Value) -> bool:
    operation = source_of(value).operation
    return operation is not None and operation.kind in ("add", "mul") and all(map(is_gate, operation.inputs))


def complemented(value: Value) -> Value | None:
    """Return z where a value is 1 - z, else None."""
    operation = source_of(value).operation
    if operation is None:
        return None
    if operation.kind == "rsub" and 1 in operation.constants:
        return operation.inputs[0]
    if operation.kind == "sub" and operation.given:
        first = operation.given[0]
        if first in (1, 1.0) and operation.inputs:
            return operation.inputs[0]
        ones = (
            isinstance(first, Value) and first.operation is not None and first.operation.kind in ("ones_like", "ones")
        )
        if ones and len(operation.inputs) == 2:
            return operation.inputs[1]
    if operation.kind == "add" and 1 in operation.constants:
        inner = source_of(operation.inputs[0]).operation
        if inner is not None and inner.kind == "neg":
            return inner.inputs[0]
    return None


def form_of(operation: Operation) -> Sum | Blend | None:
    """Return what an operation adds up: a Blend, a Sum of two or more terms of which one has a gate, or None."""
    if operation.kind == "lerp" and len(operation.inputs) == 3:
        old, new, weight = operation.inputs
        return Blend(weight, new, old)
    if operation.kind in ("add", "sub", "addcmul") and (found := _drawn_near(operation)):
        return found
    if operation.kind not in ("add", "addcmul"):
        return None
    products = tuple(term for term in _terms(operation) if isinstance(term, Product))
    gated = [each for each in products if any(is_gated(factor) for factor in each.factors)]
    if len(products) == 2:
        for mine, its in ((a, b) for a in (0, 1) for b in (0, 1)):
            gate, other = products[0].factors[mine], products[1].factors[its]
            terms = tuple(each.operation for each in products if each.operation is not None)
            left, right = products[0].factors[1 - mine], products[1].factors[1 - its]
            if same(complemented(gate), other):
                return Blend(other, right, left, gate, terms)
            if same(complemented(other), gate):
                return Blend(gate, left, right, other, terms)
    return Sum(products) if gated else None


def _drawn_near(operation: Operation) -> Blend | None:
    """Return the Blend of p + z o (q - p), p - z o (p - q) or `addcmul` of these, else None."""
    if operation.kind == "addcmul" and len(operation.inputs) == 3:
        pairs = [(operation.inputs[0], Product((operation.inputs[1], operation.inputs[2])))]
    elif len(operation.inputs) == 2:
        first, second = operation.inputs
        pairs = [(first, _product(second))] + [(second, _product(first))] * (operation.kind == "add")
    else:
        return None
    for kept, product in pairs:
        for gate, step in (product.factors, product.factors[::-1]) if product else ():
            moved = source_of(step).operation
            if moved is None or moved.kind != "sub" or len(moved.inputs) != 2 or not is_gated(gate):
                continue
            left, right = moved.inputs
            if operation.kind == "sub":
                left, right = right, left
            if same(right, kept):
                return Blend(gate, left, kept, terms=() if product.operation is None else (product.operation,))
    return None


def is_gated(value: Value) -> bool:
    """Tell whether a value is a gate, or computed from gates alone."""
    return is_gate(value) or is_gate_like(value)


def _terms(operation: Operation) -> Iterator[Product | Value]:
    if operation.kind == "addcmul":
        first, *factors = operation.inputs
        yield _product(first) or first
        yield Product(tuple(factors))
        return
    for value in operation.inputs:
        inner = source_of(value).operation
        if (product := _product(value)) is not None:
            yield product
        elif inner is not None and inner.kind == "add" and len(inner.users) == 1:
            yield from _terms(inner)
        else:
            yield value


def _product(value: Value) -> Product | None:
    operation = source_of(value).operation
    if operation is None or operation.kind != "mul" or len(operation.inputs) != 2:
        return None
    return Product(tuple(operation.inputs), operation)


def same(first: Value | None, second: Value | None) -> bool:
    """Tell whether two values have the same numbers from the same operation."""
    if first is None or second is None:
        return False
    return first == second or (first.operation is not None and _origin(first) == _origin(second))


def _origin(value: Value) -> tuple[Operation | None, tuple]:
    """Return the operation at which a value and its copies begin, with the parts that were taken of it."""
    parts: list = [value.keys]
    while (operation := value.operation) is not None and operation.kind in ("contiguous", "clone", "to", "detach"):
        value = operation.inputs[0]
        parts = [value.keys]
    return value.operation, tuple(parts)


def _numbers(operation: Operation) -> set[float]:
    if operation.kind == "relu6":
        return {0.0, 6.0}
    return {float(each) for each in operation.constants if isinstance(each, int | float)}


def through_norms(value: Value) -> Value:
    """Return the value before views, parts and norms of it were taken."""
    value = source_of(value)
    while value.operation is not None and value.operation.kind in NORMS:
        value = source_of(value.operation.inputs[0])
    return value


def ancestors(value: Value, *, until: frozenset[Operation] = frozenset(), near: int = NEAR) -> Iterator[Operation]:
    """Yield the operations that a value was computed from, nearest first; not beyond those of `until`."""
    seen: set[Operation] = set()
    edge = [value]
    for _ in range(near):
        following = []
        for each in edge:
            operation = each.operation
            if operation is None or operation in seen:
                continue
            seen.add(operation)
            yield operation
            if operation not in until:
                following += operation.inputs
        edge = following
