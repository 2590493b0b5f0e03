"""HookPoint: an identity with a name, at which a quantity of the model can be read and replaced."""

from typing import Any

import torch
from torch import Tensor, nn


class HookPoint(nn.Module):
    """Identity whose value can be recorded and overridden.

    The point's name is its place in the network, without the word `hooks`: `layer1.f`. Each of `replacements` takes the
    value and returns the next; `readers` then receive the final one; the `begin` of either is called before every
    forward pass. `gatescope.recordings` adds and removes both.
    """

    def __init__(self, time_axis: int | None = None, *, backward: bool = False, meaning: str = ""):
        super().__init__()
        self.meaning = meaning  # which of the quantities that pictures know; else the point's name says it
        self.backward = backward  # the last time step passes first
        self.time_axis = time_axis  # of the value that passes; None where the point is passed once per time step
        self.replacements: list[Any] = []
        self.readers: list[Any] = []
        self.graphs: list[object] = []  # recordings that differentiate by this value

    def __getstate__(self) -> dict[str, Any]:
        # A copy belongs to another network, which nobody records.
        return {**self.__dict__, "replacements": [], "readers": [], "graphs": []}

    def begin(self) -> None:
        """Announce a new forward pass to replacements and readers."""
        for held in (*self.replacements, *self.readers):
            held.begin()

    def check(self) -> None:
        """Raise ValueError if what passed is not one value a time step; here it always is."""

    def forward(self, value: Tensor) -> Tensor:
        """Return the value, or its replacement."""
        for replace in self.replacements:
            value = replace(value)
        if self.graphs and not value.requires_grad:
            value = value.detach().requires_grad_()
        for read in self.readers:
            read(value)
        return value


def refuse_tracing() -> None:
    """Raise RuntimeError inside torch.jit.trace, also that of torch.onnx.export(dynamo=False)."""
    if torch.jit.is_tracing():
        raise RuntimeError(
            "torch.jit.trace would keep this clip's choices and number of steps and be wrong of others without a word: "
            "use torch.export.export, for ONNX torch.onnx.export(..., dynamo=True) inside torch.no_grad(), with "
            "dynamic_shapes"
        )
