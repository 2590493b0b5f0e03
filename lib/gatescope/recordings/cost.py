"""What a module costs: parameters, multiply-adds, time, memory."""

import time
import weakref
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.flop_counter import FlopCounterMode

from gatescope.models import RecurrentLayer

# "Mult-Adds" of Zhang et al. 2018, Table 1, for one step of 256 channels on 28 x 28 positions. They are the parameters
# times the positions, as if the pooled gates were computed at every position; `count_multiply_adds` is what runs.
PUBLISHED_MULTIPLY_ADDS = {"convlstm": 3700e6, "a": 415e6, "b": 522e6, "c": 472e6, "d": 472e6}


def count_parameters(module: nn.Module, biases: bool = False) -> int:
    """The number of trained values; without biases it is Eqs. 7, 16, 20 and 24 for the cells of the paper."""
    return sum(
        parameter.numel()
        for name, parameter in module.named_parameters()
        if biases or name.rpartition(".")[2] != "bias"
    )


def count_multiply_adds(module: nn.Module, *inputs: Any) -> int:
    """The multiply-adds of the convolutions and matrix products in `module(*inputs)`, all time steps together.

    Counted by running the module on tensors without values, so that it takes no time at any size. A recurrent layer
    that is given no state leaves out what a zero state would add to its first step; here it counts like the others.
    """
    weights = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    with ExitStack() as cleanup:
        for layer in module.modules():
            if isinstance(layer, RecurrentLayer):
                cleanup.enter_context(layer.register_forward_pre_hook(_with_state))
        fake = cleanup.enter_context(FakeTensorMode())
        weights, inputs = tree_map_only(Tensor, fake.from_tensor, (weights, inputs))
        cleanup.enter_context(torch.no_grad())
        counter = cleanup.enter_context(FlopCounterMode(display=False))
        torch.func.functional_call(module, weights, inputs)
    return counter.get_total_flops() // 2  # a multiplication and an addition each


def measure_time(call: Callable[[], Any], num_runs: int = 15) -> tuple[float, float, float]:
    """Lower quartile, median and upper quartile of the seconds that a call takes, after one that is not counted."""
    call()
    durations = []
    for _ in range(num_runs):
        start = time.perf_counter()
        call()
        durations.append(time.perf_counter() - start)
    return tuple(np.quantile(durations, (0.25, 0.5, 0.75)).tolist())


def measure_memory(call: Callable[[], Any]) -> int:
    """The most bytes that tensors made during a call hold at once.

    What is there before does not count, nor do the buffers that an operator needs within itself.
    """
    with _Allocations() as allocations:
        call()
    return allocations.peak


def _with_state(layer: RecurrentLayer, inputs: tuple) -> tuple | None:
    x, *rest = inputs
    if rest and rest[0] is not None:
        return None
    zero = x.new_zeros(len(x), layer.hidden_channels, *x.shape[3:])
    return (x, (zero, zero), *rest[1:])


class _Allocations(TorchDispatchMode):
    """Follows the memory of every tensor that an operator returns until nobody holds it any more."""

    def __init__(self):
        super().__init__()
        self.sizes: dict[int, int] = {}  # bytes of each storage alive; 0 of those that were there before
        self.held = self.peak = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self._follow((args, kwargs), new=False)
        result = function(*args, **(kwargs or {}))
        self._follow(result, new=True)
        self.peak = max(self.peak, self.held)
        return result

    def _follow(self, values: Any, *, new: bool) -> None:
        for tensor in tree_leaves(values):
            if not isinstance(tensor, Tensor):
                continue
            storage = tensor.untyped_storage()
            key = storage._cdata  # one for all tensors that share it
            if key not in self.sizes:
                self.sizes[key] = storage.nbytes() if new else 0
                self.held += self.sizes[key]
                weakref.finalize(storage, self._forget, key)

    def _forget(self, key: int) -> None:
        self.held -= self.sizes.pop(key)
