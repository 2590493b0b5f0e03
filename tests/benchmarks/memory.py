"""Peak memory of a call, from every tensor that its operators return."""

import weakref
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def measure_memory(call: Callable[[], Any]) -> int:
    """Return the most bytes that tensors created during a call hold at once.

    Tensors that existed before do not count, nor do buffers within an operator.
    """
    with _Allocations() as allocations:
        call()
    return allocations.peak


class _Allocations(TorchDispatchMode):
    """Follow the memory of every tensor that an operator returns until it is released."""

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
