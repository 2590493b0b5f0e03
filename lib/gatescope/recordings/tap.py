"""Tap: a hook point outside a model, to which a named value of it is led."""

from torch import Tensor

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
        self.through_buffer = False  # what a value was computed from may be known for another part of a buffer only
        self.num_calls = self.num_operations = 0  # of the module, and of the kind in its last call

    def forward(self, value: Tensor) -> Tensor:
        """Return the value or its replacement. What is read is a copy, since a model may go on in place."""
        for replace in self.replacements:
            value = replace(value)
        if not self.readers:
            return value
        kept = value.clone()
        if self.graphs:
            kept = kept if kept.requires_grad else kept.detach().requires_grad_()
            value = kept.clone()
        for read in self.readers:
            read(kept)
        return value

    def check(self) -> None:
        """Raise ValueError if the values of the last pass are not known to be the time steps of one sequence."""
        count, name = len(self.shapes), str(self.point)
        for asked, found in ((self.point.calls_of, self.num_calls), (self.point.numbers_of, self.num_operations)):
            if count and asked not in (None, found):
                raise ValueError(f"{name} is of a pass with {asked}, and this one had {found}: find its gates anew")
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
        if count > 1 and not any(before is not None for before in self.before):
            raise ValueError(
                f"{name} passed {count} times, none computed from another: if these are the time steps in order, "
                f"take {_with(name, '#:')}; of two streams take the calls of one, as {_with(name, '#0:8')}"
            )
        if count > 1 and self.through_buffer:
            raise ValueError(
                f"{name} passed {count} times, and its states stand in a buffer that is written to in parts, so that "
                f"their order is not seen: take {_with(name, '#:')} if these are the time steps in order"
            )
        if count > 1 and not all(follows):
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
