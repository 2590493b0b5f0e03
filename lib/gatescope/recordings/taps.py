"""Taps: hook points that the values of any model are led through while a block lasts."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from gatescope.recordings.names import Point
from gatescope.recordings.passes import Pass
from gatescope.recordings.tap import Tap


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
    passing = Pass(model, by_module)
    with ExitStack() as cleanup:
        cleanup.callback(passing.close)
        for module in watched:
            cleanup.enter_context(module.register_forward_pre_hook(_Hook(passing.enter)))
            cleanup.enter_context(module.register_forward_hook(_Hook(passing.leave), always_call=True))
        yield taps


class _Hook:
    """A hook of this model alone: a copy of the model, or what is saved of it, has one that does nothing."""

    def __init__(self, call: Callable):
        self.call = call

    def __call__(self, *given: Any) -> Any:
        return self.call(*given)

    def __deepcopy__(self, memo: dict) -> Callable:
        return _nothing

    def __reduce__(self) -> tuple:
        return _no_hook, ()


def _nothing(*_: Any) -> None:
    """Stand where a hook was."""


def _no_hook() -> Callable:
    return _nothing


@contextmanager
def as_found(model: nn.Module) -> Iterator[None]:
    """Have a model in eval mode within the block; then modes, buffers and torch's random numbers are as they were.

    A kernel of several steps without dropout keeps its mode: cuDNN has no gradient of it in eval mode.
    """
    modes, buffers = {module: module.training for module in model.modules()}, []
    for module in modes:
        for name, buffer in module._buffers.items():
            if buffer is not None and not is_lazy(buffer) and not buffer.is_inference():
                buffers.append((module, name, buffer, buffer._version, buffer.clone()))
    devices = {each.device for each in model.parameters() if each.device.type == "cuda"}
    with ExitStack() as cleanup:
        cleanup.enter_context(torch.random.fork_rng(devices))
        for module, training in modes.items():
            cleanup.callback(setattr, module, "training", training)
            module.training = training and isinstance(module, nn.RNNBase) and not module.dropout
        try:
            yield
        finally:
            for module, name, buffer, version, before in buffers:
                module._buffers[name] = buffer
                if buffer._version != version:
                    with torch.no_grad():
                        buffer.copy_(before)


def arguments_of(x: Any) -> tuple:
    """Return a model's arguments, `x` or a tuple of all; of tensors copies, which a model may write to."""
    given = x if type(x) is tuple else (x,)  # a packed sequence is a tuple too
    return tuple(each.clone() if isinstance(each, Tensor) else each for each in given)


def check_module(network: object) -> None:
    """Raise TypeError unless this is a torch module."""
    if not isinstance(network, nn.Module):
        raise TypeError(f"a torch module is needed, a model or a layer; got {type(network).__name__}")


def check_visible(model: nn.Module) -> None:
    """Raise ValueError for a model of which Python does not see the forward pass; the message says what to do.

    Raises TypeError for what is no model.
    """
    check_module(model)
    for name, module in model.named_modules():
        where = f"{name} of the model" if name else "the model"
        if isinstance(module, torch.jit.ScriptModule):
            raise ValueError(f"{where} is TorchScript, whose operations Python does not see: take the module before it")
        if hasattr(module, "_orig_mod"):
            raise ValueError(f"{where} is compiled, and its operations fused: take the module itself, `._orig_mod`")
        if isinstance(module, nn.DataParallel) and len(module.device_ids) > 1:
            raise ValueError(f"{where} runs as copies on several devices: take the module itself, `.module`")
