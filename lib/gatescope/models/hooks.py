"""HookPoint: an identity with a name, at which a quantity of the model can be read and replaced."""

from collections.abc import Callable

from torch import Tensor, nn


class HookPoint(nn.Module):
    """Passes its value on; what is named here can be recorded and intervened upon.

    The point's name is its place in the network, without the word `hooks`: `layer1.f`. `replacements` see the value
    in order and return the one that is used; `readers` then see what is used. Both are put there, and taken away,
    by `gatescope.recordings`.
    """

    def __init__(self, time_axis: int | None = None):
        super().__init__()
        self.time_axis = time_axis  # of the value that passes; None where the point is passed once per time step
        self.replacements: list[Callable[[Tensor], Tensor]] = []
        self.readers: list[Callable[[Tensor], None]] = []
        self.graphs: list[object] = []  # who wants to derive by this value

    @property
    def active(self) -> bool:
        """Whether somebody reads or replaces the value."""
        return bool(self.replacements or self.readers)

    @property
    def in_graph(self) -> bool:
        """Whether autograd must see the value itself: it is replaced, or its gradient is wanted."""
        return bool(self.replacements or self.graphs)

    def forward(self, value: Tensor) -> Tensor:
        """The value, or what replaced it."""
        for replace in self.replacements:
            value = replace(value)
        if self.graphs and not value.requires_grad:
            value = value.detach().requires_grad_()
        for read in self.readers:
            read(value)
        return value
