"""HookPoint: an identity with a name, at which a quantity of the model can be read and replaced."""

from typing import Any

from torch import Tensor, nn


class HookPoint(nn.Module):
    """Passes its value on; what is named here can be recorded and intervened upon.

    The point's name is its place in the network, without the word `hooks`: `layer1.f`. `replacements` see the value
    in order and return the one that is used; `readers` then see what is used; the `begin` of either is called before
    every forward pass. Both are put there, and taken away, by `gatescope.recordings`.
    """

    def __init__(self, time_axis: int | None = None):
        super().__init__()
        self.time_axis = time_axis  # of the value that passes; None where the point is passed once per time step
        self.replacements: list[Any] = []
        self.readers: list[Any] = []
        self.graphs: list[object] = []  # who wants to derive by this value

    def __getstate__(self) -> dict[str, Any]:
        # A copy belongs to another network, of which those who listen to this one know nothing.
        return {**self.__dict__, "replacements": [], "readers": [], "graphs": []}

    @property
    def active(self) -> bool:
        """Whether somebody reads or replaces the value."""
        return bool(self.replacements or self.readers)

    def begin(self) -> None:
        """Tell those who replace and read that a new forward pass begins."""
        for held in (*self.replacements, *self.readers):
            held.begin()

    def forward(self, value: Tensor) -> Tensor:
        """The value, or what replaced it."""
        for replace in self.replacements:
            value = replace(value)
        if self.graphs and not value.requires_grad:
            value = value.detach().requires_grad_()
        for read in self.readers:
            read(value)
        return value
