"""Trace: every operation of one forward pass, in which module it ran, and from which values it was computed."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from gatescope.recordings.passes import operation_of
from gatescope.recordings.taps import arguments_of, as_found, check_visible

# Operations that give the same numbers at other places, or some of them.
PASSING = {
    *("getitem", "chunk", "split", "tensor_split", "split_with_sizes", "unbind", "narrow", "select"),
    *(
        "view",
        "view_as",
        "reshape",
        "reshape_as",
        "permute",
        "transpose",
        "movedim",
        "flatten",
        "unflatten",
        "squeeze",
        "unsqueeze",
    ),
    *("contiguous", "clone", "detach", "expand", "expand_as", "to", "type", "type_as", "float", "half", "double"),
    *("dropout", "dropout1d", "dropout2d", "dropout3d", "feature_dropout", "identity", "mT", "T"),
}


@dataclass(eq=False)
class Operation:
    """One operation of a forward pass."""

    place: int  # in the order of the pass
    module: str  # in whose forward it ran
    call: int  # of that module in this pass, from 0
    kind: str
    number: int  # among those of its kind in this call
    inputs: list["Value"]  # its tensor arguments
    constants: list[Any]  # its other arguments, by place
    given: list[Any]  # all of its arguments by place: a Value or a constant
    shape: tuple[int, ...] | None = None  # of its result, None for several
    low: float = float("nan")  # least and greatest number of its result
    high: float = float("nan")
    users: list["Operation"] = field(default_factory=list)


@dataclass(frozen=True)
class Value:
    """A result of an operation: it itself, or one of several; or a parameter; or what came from outside, neither."""

    operation: Operation | None
    keys: tuple[int | str, ...] = ()
    parameter: str = ""


OUTSIDE = Value(None)
NESTED = 12  # lists and dictionaries within each other that are looked into: one may hold itself


@dataclass
class Trace:
    """All operations of one forward pass in their order, and the outputs of the modules."""

    operations: list[Operation]
    outputs: list[tuple[str, int, Any]]  # module, call, shapes of what it returned
    kinds: Mapping[tuple[str, int], Counter]  # of operations, by module and call
    calls: Counter  # by module
    types: Mapping[str, str]  # of the modules, by name


@torch.no_grad()
def traced(model: nn.Module, x: Any) -> Trace:
    """Run a model once in eval mode, leave it `as_found`, and return its Trace. `x` is as for `arguments_of`.

    Raises ValueError for a model whose forward pass Python does not see.
    """
    check_visible(model)
    names = {module: name for name, module in model.named_modules()}
    tracer = _Tracer(names)
    with ExitStack() as cleanup:
        cleanup.enter_context(as_found(model))
        for module in names:
            cleanup.enter_context(module.register_forward_pre_hook(tracer.enter))
            cleanup.enter_context(module.register_forward_hook(tracer.leave, always_call=True))
        arguments = arguments_of(x)
        with tracer:
            model(*arguments)
    types = {name: type(module).__qualname__ for module, name in names.items()}
    return Trace(tracer.operations, tracer.outputs, tracer.kinds, tracer.calls, types)


class _Tracer(TorchFunctionMode):
    def __init__(self, names: Mapping[nn.Module, str]):
        super().__init__()
        self.names = names
        self.operations: list[Operation] = []
        self.outputs: list[tuple[str, int, Any]] = []
        self.kinds: dict[tuple[str, int], Counter] = {}
        self.calls: Counter = Counter()
        self.running: list[tuple[str, int]] = []
        self.values: dict[int, tuple[Tensor, Value]] = {}  # the tensors too, so that no other takes their id
        for module, name in names.items():
            for own, tensor in module.named_parameters(recurse=False):
                self.values[id(tensor)] = tensor, Value(None, parameter=f"{name}.{own}")

    def enter(self, module: nn.Module, _: Any) -> None:
        name = self.names[module]
        self.running.append((name, self.calls[name]))
        self.kinds[self.running[-1]] = Counter()
        self.calls[name] += 1

    def leave(self, module: nn.Module, _: Any, output: Any) -> None:
        where = self.running.pop()
        if output is not None:
            self.outputs.append((*where, shapes_of(output)))

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        inplace = func is Tensor.__setitem__
        if not self.running or not (inplace or next(_tensors(result), None) is not None):
            return result
        given = [self._value(each) for each in (*args, *(kwargs or {}).values())]
        kind = operation_of(func)
        where = self.running[-1]
        number = self.kinds[where][kind]
        self.kinds[where][kind] += 1
        inputs = [each for value in given for each in _flat(value)]
        constants = [value for value in given if not isinstance(value, Value | list)]
        operation = Operation(len(self.operations), *where, kind, number, inputs, constants, given)
        for value in inputs:
            if value.operation is not None:
                value.operation.users.append(operation)
        self.operations.append(operation)
        target = args[0] if inplace else result
        for keys, tensor in _tensors(target):
            self.values[id(tensor)] = tensor, Value(operation, keys)
            if not keys:
                operation.shape = tuple(tensor.shape)
                if (
                    tensor.is_floating_point()
                    and tensor.numel()
                    and tensor.layout is torch.strided
                    and not tensor.is_meta
                ):
                    # Within vmap no value is known.
                    with torch._C.DisableTorchFunction(), suppress(RuntimeError):
                        operation.low, operation.high = float(tensor.min()), float(tensor.max())
        return result

    def _value(self, given: Any) -> Any:
        if isinstance(given, Tensor):
            held = self.values.get(id(given))
            return held[1] if held is not None else OUTSIDE
        if isinstance(given, list | tuple) and any(isinstance(each, Tensor) for each in given):
            return [self._value(each) for each in given]
        return given


def _flat(value: Any) -> Iterable[Value]:
    if isinstance(value, Value):
        yield value
    elif isinstance(value, list):
        for each in value:
            yield from _flat(each)


def _tensors(value: Any, keys: tuple = ()) -> Iterable[tuple[tuple, Tensor]]:
    if isinstance(value, Tensor):
        yield keys, value
    elif len(keys) > NESTED:
        return
    elif isinstance(value, list | tuple):
        for place, each in enumerate(value):
            yield from _tensors(each, (*keys, place))
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from _tensors(each, (*keys, key))


def shapes_of(value: Any) -> dict[tuple, tuple[int, ...]]:
    """Return the shape of every tensor in a value, by the keys that lead to it."""
    return {keys: tuple(tensor.shape) for keys, tensor in _tensors(value)}


def source_of(value: Value) -> Value:
    """Return the value whose numbers these are, before views, parts and casts of it were taken."""
    while value.operation is not None and value.operation.kind in PASSING and value.operation.inputs:
        value = _put_in(value) or value.operation.inputs[0]
    return value


def _put_in(value: Value) -> Value | None:
    """Return what was put in where a value takes it out again, as one layer's state from a stack of all; else None.

    That is from `stack`, from a tensor with parts assigned, or from `cat` cut in as many equal parts.
    """
    taking, holder = value.operation, value.operation.inputs[0].operation
    rest = taking.given[1:]
    if holder is None:
        return None
    if holder.kind == "cat" and taking.kind == "chunk" and value.keys:
        equal = len({each.operation and each.operation.shape for each in holder.inputs}) == 1
        fits = [len(holder.inputs), *holder.given[1:]] == rest
        return holder.inputs[value.keys[0]] if equal and fits else None
    place = rest[0] if taking.kind == "getitem" else value.keys[0] if taking.kind == "unbind" and not rest else None
    if not isinstance(place, int):
        return None
    while holder.kind == "setitem" and isinstance(holder.given[1], int):
        if holder.given[1] == place:
            return holder.given[2] if isinstance(holder.given[2], Value) else None
        if place < 0 or holder.given[1] < 0:  # may be the same place, counted from the end
            return None
        holder = holder.inputs[0].operation
        if holder is None:
            return None
    along_first = holder.kind == "stack" and not any(holder.given[1:])
    return holder.inputs[place] if along_first and len(holder.inputs) > place else None
