"""Passes: a model's forward pass under the eyes of a mode that leads named values through taps."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any
from weakref import ref

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.module_tracker import ModuleTracker

from gatescope.recordings.tap import Tap


class Pass(TorchFunctionMode):
    """One forward pass after the other: which module runs, and which value was computed from which."""

    paused = 0  # of all passes, while a value is in a tap: what replacements compute is no part of any model

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
        self.by_module = taps
        self.within = {tap: module for module, own in taps.items() for tap in own}
        self.bit = {tap: number for number, tap in enumerate(self.taps)}
        self.follows = any(tap.point.calls is None and tap.time_axis is None for tap in self.taps)
        self.tracker = ModuleTracker()
        self.running: list[tuple[nn.Module, Counter]] = []
        self.repeated = self.entered = False
        self.begun: set[Tap] = set()  # since the model itself ran
        self.calls: Counter = Counter()
        self.marks: dict[int, tuple[ref, int]] = {}

    def begin(self, module: nn.Module) -> None:
        """Begin the taps of a module that runs by itself, once until the model runs; of the model always all."""
        whole = module is self.model
        parts = set(module.modules())
        for tap in self.taps:
            if whole or (self.within[tap] in parts and tap not in self.begun):
                tap.begin()
                self.begun.add(tap)
                self.calls[self.within[tap]] = 0
        if whole:
            self.calls.clear()
            self.marks.clear()
            self.begun.clear()

    def close(self) -> None:
        """Leave the mode of a pass that was cut off, as by an interrupt."""
        self.running.clear()
        if self.entered:
            self.entered = False
            self.__exit__(None, None, None)

    def enter(self, module: nn.Module, _: Any) -> None:
        """Take note that a module begins; the outermost begins a pass."""
        if module is self.model:
            self.close()  # what still runs of this model was cut off
        if not self.running:
            self.repeated = self.tracker.is_bw  # a checkpoint computes again what has passed
            if self.repeated and any(tap.replacements for tap in self.taps):
                raise RuntimeError(
                    "an intervention is not repeated where torch.utils.checkpoint computes again: take it out"
                )
            if not self.repeated:
                self.begin(module)
            self.__enter__()
            self.entered = True
        self.running.append((module, Counter()))
        self._follow()

    def leave(self, module: nn.Module, _: Any, output: Any) -> Any:
        """Lead a module's output through its taps; return it if it was replaced."""
        try:
            changed = output
            if output is not None and not self.repeated:
                for tap in self.outputs.get(module, ()):
                    if _chosen(self.calls[module], tap.point.calls):
                        changed = self._through(tap, changed)
            return None if changed is output else changed
        finally:
            counts = self.running.pop()[1] if self.running else Counter()
            if not self.repeated:
                self.calls[module] += 1
                for tap in self.by_module.get(module, ()):
                    tap.num_calls, tap.num_operations = self.calls[module], counts[tap.point.operation]
            if self.running:
                self._follow()
            else:
                self.close()

    def _follow(self) -> None:
        """Look for the operations of the module that runs now."""
        module, self.counts = self.running[-1]
        self.wanted = None if self.repeated else self.operations.get(module)

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        result = func(*args, **kwargs) if kwargs else func(*args)
        if self.marks:
            self._mark(func, args, kwargs, result)
        if Pass.paused or self.wanted is None:
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
        places = (args[0] if args else None, kwargs.get("out") if kwargs else None)
        if changed is not result and any(result is each for each in places):
            # What holds the tensor on which an in-place operation worked must see the new values.
            return result.copy_(changed)
        return changed

    def _through(self, tap: Tap, value: Any) -> Any:
        part = tap.point.part_of(value)
        Pass.paused += 1
        try:
            passed = tap(part)
            changed = value if passed is part else tap.point.with_part(value, passed)
        finally:
            Pass.paused -= 1
        if self.follows:
            mask = self._mask_of(value)
            tap.before.append(self._latest(tap, mask >> 1))
            tap.through_buffer |= bool(mask & _BUFFER)
            self._set(changed, mask & ~_BUFFER | 2 << (len(tap.shapes) * len(self.taps) + self.bit[tap]))
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
            written = args[0] if func is _SET_ITEM else result
            if func is _SET_ITEM:
                mask |= self._mask_of(written) | (0 if Pass.paused else _BUFFER)
            self._set(written, mask)
            # A view that was written to in place changes what it is a view of.
            if args and written is args[0] and isinstance(written, Tensor) and written._base is not None:
                self._set(written._base, mask | self._mask_of(written._base) | _BUFFER)

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
_BUFFER = 1  # bit of a mark: it may be of another part of a tensor that is written to in parts


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
_SAME |= {"rtruediv": "rdiv", "multiply": "mul", "subtract": "sub", "divide": "div", "true_divide": "div"}


@cache
def operation_of(func: Callable) -> str:
    """Return the name of an operation: `sigmoid` for torch.sigmoid, Tensor.sigmoid and Tensor.sigmoid_ alike."""
    name = getattr(func, "__name__", type(func).__name__)
    if name.startswith("__") and name.endswith("__"):
        name = name.strip("_")
    name = name.rstrip("_")
    return _SAME.get(name, name)
