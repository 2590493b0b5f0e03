"""Recording and overriding of the values at a network's hook points, for as long as a block lasts."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gatescope.models.hooks import HookPoint
from gatescope.recordings.opening import Names, meanings_of, opened

Steps = Float[Tensor, "batch time channel *space"]
Replacement = Callable[[Tensor], Tensor]


class _Reader:
    """Values that have passed one hook point since the forward pass began."""

    def __init__(self, point: HookPoint, gradients: bool):
        self.point, self.time_axis, self.gradients = point, point.time_axis, gradients
        self.begin()

    def begin(self) -> None:
        self.passed: list[Tensor] = []
        self.stacked: Tensor | None = None

    def __call__(self, value: Tensor) -> None:
        if self.time_axis is not None:
            self.begin()
        self.passed.append(value if self.gradients else value.detach())

    def with_time(self, values: Sequence[Tensor]) -> Steps:
        if self.time_axis is not None:
            return values[0].movedim(self.time_axis, 1)
        return torch.stack(values[::-1] if self.point.backward else values, 1)


class Recording(Mapping):
    """Values at the chosen hook points in the last forward pass, by name, always with a time axis.

    A value is (batch, time, channel, height, width), or (batch, time, channel) for a pooled gate. It is stacked when it
    is read for the first time. Under an intervention it is the replaced value. `meanings` says what a value is, where
    the model or `find_gates` knows: `f`, a forget gate.
    """

    def __init__(self, readers: Mapping[str, _Reader], meanings: Mapping[str, str]):
        self._readers, self.meanings = readers, meanings

    def __getitem__(self, name: str) -> Steps:
        reader = self._filled(name)
        if reader.stacked is None:
            reader.stacked = reader.with_time([value.detach() for value in reader.passed])
        return reader.stacked

    def __contains__(self, name: object) -> bool:
        return name in self._readers

    def __iter__(self) -> Iterator[str]:
        return iter(self._readers)

    def __len__(self) -> int:
        return len(self._readers)

    def gradient(self, name: str, score: Float[Tensor, ""]) -> Steps:
        """Return the gradient of `score` with respect to `name` at every step, zero where it has no effect.

        It includes the effect through later steps. For a score per clip take the sum over the batch: in eval mode no
        clip acts on another's score.

        Raises LookupError if `name` was not recorded, ValueError if the recording was made without `gradients` or
        `score` does not come from its last pass.
        """
        reader = self._filled(name)
        if not reader.gradients:
            raise ValueError("gradients need record(..., gradients=True) and a forward pass inside it")
        if not (score.requires_grad and reader.passed[0].requires_grad):
            raise ValueError("the score has no graph: make it from a forward pass in the block, without no_grad")
        found = torch.autograd.grad(score, reader.passed, retain_graph=True, allow_unused=True)
        if all(gradient is None for gradient in found):
            # The score may not depend on this quantity. If it depends on no other either, it is of another pass.
            every = [value for each in self._readers.values() for value in each.passed]
            others = torch.autograd.grad(score, every, retain_graph=True, allow_unused=True)
            if all(gradient is None for gradient in others):
                raise ValueError("the score depends on no recorded value: make it from the last forward pass")
        pairs = zip(found, reader.passed, strict=True)
        return reader.with_time([torch.zeros_like(at) if gradient is None else gradient for gradient, at in pairs])

    def _filled(self, name: str) -> _Reader:
        if name not in self._readers:
            raise LookupError(f"{name} was not recorded; this recording holds {', '.join(self)}")
        if not self._readers[name].passed:
            raise LookupError(f"nothing has passed {name}: run the network inside the record block")
        self._readers[name].point.check()
        return self._readers[name]


@contextmanager
def record(network: nn.Module, *patterns: str | Names, gradients: bool = False) -> Iterator[Recording]:
    """Yield a Recording of the values that match `patterns` (`layer1.*`, `*.c`; without any, all hook points).

    It fills while the network runs in the block, and stays readable afterwards; the network's output is bit-identical.
    A second forward pass replaces the first in the recording; values read before stay as they are. A layer that runs
    alone replaces its own values only. With `gradients`, values keep their graph and `Recording.gradient` gives a
    score's derivative with respect to them.

    In a network without hook points, values have the names of `Point`: `cells.0.conv`, `cells.0:sigmoid.1`. Other
    names for them, such as those of `find_gates`, come as a mapping; alone it stands for all that it names.

    Raises LookupError if a pattern matches nothing; it lists what exists. Reading raises ValueError where a value's
    passes are not known to be the time steps of one sequence.
    """
    with ExitStack() as cleanup:
        points = cleanup.enter_context(opened(network, patterns))
        readers = {name: _Reader(point, gradients) for name, point in points.items()}
        for name, point in points.items():
            _add(cleanup, point.readers, readers[name])
            if gradients:
                _add(cleanup, point.graphs, readers[name])
        yield Recording(readers, meanings_of(points, patterns))


@contextmanager
def intervene(
    network: nn.Module, changes: Mapping[str, Replacement | Steps], names: Names | None = None
) -> Iterator[None]:
    """Override the values at the named hook points while the block lasts; the network continues with the new ones.

    A change is a function from one time step's value, (batch, channel, height, width) or (batch, channel), to its
    replacement; or a tensor with a time axis, such as another recording's, whose step t replaces step t. Names may be
    patterns, and `names` says what they stand for, as a mapping does in `record`. An inner block receives the values
    that an outer one has replaced.

    Raises LookupError if a name matches no hook point; it lists those that exist. Raises ValueError if a replacement
    has another shape than the value that it replaces, TypeError for a change that is neither function nor tensor.
    """
    if not isinstance(changes, Mapping):
        raise TypeError(f"changes are given by name, as {{'layer1.f': change}}; got {type(changes).__name__}")
    for name, change in changes.items():
        if not callable(change) and not (isinstance(change, Tensor) and change.ndim > 1):
            needed = "a function, or a tensor (batch, time, ...) such as another recording's"
            raise TypeError(f"what replaces {name} must be {needed}; got {type(change).__name__}: {str(change)[:80]}")
    with ExitStack() as cleanup:
        for pattern, change in changes.items():
            points = cleanup.enter_context(opened(network, [pattern, *([names] if names else [])]))
            for name, point in points.items():
                _add(cleanup, point.replacements, _Replacement(name, change, point))
        yield


class _Replacement:
    """A change at one hook point, with the number of the time step within the forward pass."""

    def __init__(self, name: str, change: Replacement | Steps, point: HookPoint):
        self.name, self.change = name, change
        self.time_axis, self.backward = point.time_axis, point.backward
        self.step = 0

    def begin(self) -> None:
        self.step = 0

    def __call__(self, value: Tensor) -> Tensor:
        if self.time_axis is None:
            return self._replace(value)
        self.step = 0
        return torch.stack([self._replace(step) for step in value.unbind(self.time_axis)], self.time_axis)

    def _replace(self, value: Tensor) -> Tensor:
        if callable(self.change):
            replaced = self.change(value)
        elif self.step < self.change.shape[1]:
            replaced = self.change[:, -1 - self.step if self.backward else self.step].to(value)
        else:
            raise ValueError(f"the replacement of {self.name} has {self.change.shape[1]} steps; the clip has more")
        self.step += 1
        if not isinstance(replaced, Tensor) or replaced.shape != value.shape:
            got = tuple(replaced.shape) if isinstance(replaced, Tensor) else repr(replaced)
            raise ValueError(f"what replaces {self.name} must be a tensor of {tuple(value.shape)}; got {got}")
        return replaced


def _add(cleanup: ExitStack, held: list, item: object) -> None:
    held.append(item)
    cleanup.callback(held.remove, item)
