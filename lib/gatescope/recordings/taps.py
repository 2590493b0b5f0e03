"""Taps: hook points that the values of any model are sent through while a block lasts."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any
from weakref import ref

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.module_tracker import ModuleTracker

from gatescope.models.hooks import HookPoint
from gatescope.recordings.names import Point


class Tap(HookPoint):
    """A hook point outside the model, to which the values at `point` are led."""

    def __init__(self, point: Point):
        super().__init__(point.time_axis)
        self.point = point
        self.begin()

    def begin(self) -> None:
        """Announce a new forward pass."""
        super().begin()
        self.shapes: list[tuple[int, ...]] = []
        self.before: list[int | None] = []  # for each value, the latest earlier one that it was computed from

    def check(self) -> None:
        """Raise ValueError if the values of the last pass are not known to be the time steps of one sequence."""
        count, name = len(self.shapes), str(self.point)
        if not count or (self.point.calls is not None and len(set(self.shapes)) == 1):
            return
        if len(set(self.shapes)) > 1:
            some = ", ".join(map(str, dict.fromkeys(self.shapes)))
            raise ValueError(f"{name} passed {count} times with the shapes {some}: take calls of one, as {name}#0:8")
        if self.time_axis is not None and count > 1:
            raise ValueError(
                f"{name} has an axis of time and passed {count} times: take one call, as {_with(name, '#0')}"
            )
        if self.time_axis is None and count == 1:
            raise ValueError(
                f"{name} passed once, with the shape {self.shapes[0]}: name its axis of time, as {name}@1; of one time "
                f"step alone take {_with(name, '#:')}"
            )
        follows = [before == number - 1 for number, before in enumerate(self.before) if number]
        if count > 1 and not all(follows) and any(before is not None for before in self.before):
            raise ValueError(
                f"{name} passed {count} times, which are no single sequence: {_sequences(self.before)}. Take the calls "
                f"of one, as {_with(name, '#0::2')}, or all in the order in which they came, {_with(name, '#:')}"
            )


def _with(name: str, calls: str) -> str:
    """Return a name with calls, which stand before brackets."""
    head, bracket, rest = name.partition("[")
    return f"{head}{calls}{bracket}{rest}"


def _sequences(before: list[int | None]) -> str:
    """Return in words which values follow which."""
    chains: list[list[int]] = []
    for number, last in enumerate(before):
        chain = next((each for each in chains if last is not None and each[-1] == last), None)
        if chain is None:
            chains.append([number])
        else:
            chain.append(number)
    told = [
        f"{chain[0]} to {chain[-1]}" if chain == [*range(chain[0], chain[-1] + 1)] else _few(chain) for chain in chains
    ]
    return "; ".join(told[:4]) + ("; ..." if len(told) > 4 else "")


def _few(chain: list[int]) -> str:
    return ", ".join(map(str, chain[:4])) + (", ..." if len(chain) > 4 else "")


@contextmanager
def tapped(model: nn.Module, points: Mapping[str, Point]) -> Iterator[dict[str, Tap]]:
    """Lead the values at `points` through a Tap each, by the same names, for as long as the block lasts.

    What the model computes stays as it is unless a tap replaces a value, and nothing is left on it afterwards. A
    forward pass of the model begins all taps anew; submodules that run outside one count together as one pass.

    Raises LookupError for a module that is not there, ValueError for a model whose forward pass Python does not see.
    """
    check_visible(model)
    modules = dict(model.named_modules(remove_duplicate=False))
    for name, point in points.items():
        if point.module not in modules:
            raise LookupError(f"no module {point.module!r} for {name}; there are {', '.join(filter(None, modules))}")
    taps = {name: Tap(point) for name, point in points.items()}
    by_module: dict[nn.Module, list[Tap]] = {}
    for tap in taps.values():
        by_module.setdefault(modules[tap.point.module], []).append(tap)
    watched = {model, *by_module}
    for module, own in by_module.items():
        if any(tap.point.operation for tap in own):
            watched.update(module.modules())  # whose operations are not the module's own
    passing = _Pass(model, by_module)
    with ExitStack() as cleanup:
        for module in watched:
            cleanup.enter_context(module.register_forward_pre_hook(passing.enter, with_kwargs=False))
            cleanup.enter_context(module.register_forward_hook(passing.leave, always_call=True))
        yield taps


def check_visible(model: nn.Module) -> None:
    """Raise ValueError for a model of which Python does not see the forward pass; the message says what to do."""
    for name, module in model.named_modules():
        where = f"{name} of the model" if name else "the model"
        if isinstance(module, torch.jit.ScriptModule):
            raise ValueError(f"{where} is TorchScript, whose operations Python does not see: take the module before it")
        if hasattr(module, "_orig_mod"):
            raise ValueError(f"{where} is compiled, and its operations fused: take the module itself, `._orig_mod`")
        if isinstance(module, nn.DataParallel) and len(module.device_ids) > 1:
            raise ValueError(f"{where} runs as copies on several devices: take the module itself, `.module`")


class _Pass(TorchFunctionMode):
    """One forward pass after the other: which module runs, and which value was computed from which."""

    def __init__(self, model: nn.Module, taps: Mapping[nn.Module, Iterable[Tap]]):
        super().__init__()
        self.model = model
        self.outputs = {module: [tap for tap in own if not tap.point.operation] for module, own in taps.items()}
        self.operations: dict[nn.Module, dict[str, list[Tap]]] = {}
        for module, own in taps.items():
            for tap in own:
                if tap.point.operation:
                    self.operations.setdefault(module, {}).setdefault(tap.point.operation, []).append(tap)
        self.taps = [tap for own in taps.values() for tap in own]
        self.bit = {tap: number for number, tap in enumerate(self.taps)}
        self.follows = any(tap.point.calls is None and tap.time_axis is None for tap in self.taps)
        self.tracker = ModuleTracker()
        self.running: list[tuple[nn.Module, Counter]] = []
        self.paused = self.within = self.repeated = False
        self.begin()

    def begin(self) -> None:
        self.calls: Counter = Counter()
        self.marks: dict[int, tuple[ref, int]] = {}
        for tap in self.taps:
            tap.begin()

    def enter(self, module: nn.Module, _: Any) -> None:
        if not self.running:
            self.repeated = self.tracker.is_bw  # a checkpoint computes again what has passed
            if not self.repeated and (module is self.model or self.within):
                self.begin()
            self.within = module is self.model
            self.__enter__()
        self.running.append((module, Counter()))
        self._follow()

    def leave(self, module: nn.Module, _: Any, output: Any) -> Any:
        try:
            changed = output
            if output is not None and not self.repeated:
                for tap in self.outputs.get(module, ()):
                    if _chosen(self.calls[module], tap.point.calls):
                        changed = self._through(tap, changed)
            return None if changed is output else changed
        finally:
            self.running.pop()
            self.calls[module] += 1
            if self.running:
                self._follow()
            else:
                self.__exit__(None, None, None)

    def _follow(self) -> None:
        """Look for the operations of the module that runs now."""
        module, self.counts = self.running[-1]
        self.wanted = None if self.repeated else self.operations.get(module)

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        result = func(*args, **kwargs) if kwargs else func(*args)
        if self.paused:
            return result
        if self.marks:
            self._mark(func, args, kwargs, result)
        if self.wanted is None:
            return result
        kind = operation_of(func)
        if (taps := self.wanted.get(kind)) is None:
            return result
        number, changed = self.counts[kind], result
        self.counts[kind] += 1
        call = self.calls[self.running[-1][0]]
        for tap in taps:
            if _chosen(number, tap.point.numbers) and _chosen(call, tap.point.calls):
                changed = self._through(tap, changed)
        if changed is not result and result is (args[0] if args else None):
            # What holds the tensor on which an in-place operation worked must see the new values.
            return result.copy_(changed)
        return changed

    def _through(self, tap: Tap, value: Any) -> Any:
        part = tap.point.part_of(value)
        self.paused = True
        try:
            passed = tap(part)
        finally:
            self.paused = False
        changed = value if passed is part else tap.point.with_part(value, passed)
        if self.follows:
            mask = self._mask_of(value)
            tap.before.append(self._latest(tap, mask))
            self._set(changed, mask | 1 << (len(tap.shapes) * len(self.taps) + self.bit[tap]))
        tap.shapes.append(tuple(part.shape))
        return changed

    def _latest(self, tap: Tap, mask: int) -> int | None:
        while mask:
            highest = mask.bit_length() - 1
            if highest % len(self.taps) == self.bit[tap]:
                return highest // len(self.taps)
            mask ^= 1 << highest
        return None

    def _mark(self, func: Callable, args: tuple, kwargs: Any, result: Any) -> None:
        mask = self._mask_of(args)
        if kwargs:
            mask |= self._mask_of(tuple(kwargs.values()))
        if mask:
            self._set(args[0] if func is _SET_ITEM else result, mask)

    def _mask_of(self, value: Any) -> int:
        if isinstance(value, Tensor):
            held = self.marks.get(id(value))
            return held[1] if held is not None and held[0]() is value else 0
        mask = 0
        for each in _inside(value):
            if isinstance(each, Tensor):
                held = self.marks.get(id(each))
                if held is not None and held[0]() is each:
                    mask |= held[1]
            elif isinstance(each, list | tuple | dict):
                mask |= self._mask_of(each)
        return mask

    def _set(self, value: Any, mask: int) -> None:
        if isinstance(value, Tensor):
            self.marks[id(value)] = ref(value), mask
        else:
            for each in _inside(value):
                self._set(each, mask)


_SET_ITEM = Tensor.__setitem__


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, list | tuple):
        return value
    return value.values() if isinstance(value, Mapping) else ()


def _chosen(number: int, part: slice | None) -> bool:
    if part is None:
        return True
    start, step = part.start or 0, part.step or 1
    return number >= start and (part.stop is None or number < part.stop) and (number - start) % step == 0


# Operators and in-place methods, by the function they are.
_SAME = {"truediv": "div", "iadd": "add", "radd": "add", "imul": "mul", "rmul": "mul", "isub": "sub", "itruediv": "div"}
_SAME |= {"rtruediv": "rdiv", "multiply": "mul", "subtract": "sub", "divide": "div", "true_divide": "div", "pow": "pow"}


@cache
def operation_of(func: Callable) -> str:
    """Return the name of an operation: `sigmoid` for torch.sigmoid, Tensor.sigmoid and Tensor.sigmoid_ alike."""
    name = getattr(func, "__name__", type(func).__name__)
    if name.startswith("__") and name.endswith("__"):
        name = name.strip("_")
    name = name.rstrip("_")
    return _SAME.get(name, name)
