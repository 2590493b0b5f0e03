"""record and intervene: read and replace the values at a network's hook points for as long as a block lasts."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from fnmatch import fnmatchcase

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gatescope.models.hooks import HookPoint

Steps = Float[Tensor, "batch time channel *space"]
Replacement = Callable[[Tensor], Tensor]


def hook_points(network: nn.Module) -> dict[str, HookPoint]:
    """Return the hook points of a layer or network by their names: `f` in a layer, `layer1.f` in a network."""
    return {
        name.replace("hooks.", ""): module for name, module in network.named_modules() if isinstance(module, HookPoint)
    }


class Recording(Mapping):
    """Values at the chosen hook points in the last forward pass, by name, always with a time axis.

    A value is (batch, time, channel, height, width), or (batch, time, channel) for a pooled gate. It is stacked when it
    is asked for first. Under an intervention it is the replaced value.
    """

    def __init__(self, points: Mapping[str, HookPoint], gradients: bool):
        self._points = dict(points)
        self._gradients = gradients
        self._passed: dict[str, list[Tensor]] = {name: [] for name in points}
        self._stacked: dict[str, Tensor] = {}

    def __getitem__(self, name: str) -> Steps:
        if name not in self._stacked:
            self._stacked[name] = self._with_time(name, [value.detach() for value in self._steps(name)])
        return self._stacked[name]

    def __contains__(self, name: object) -> bool:
        return name in self._points

    def __iter__(self) -> Iterator[str]:
        return iter(self._points)

    def __len__(self) -> int:
        return len(self._points)

    def gradient(self, name: str, score: Float[Tensor, ""]) -> Steps:
        """Return the gradient of `score` by `name` at every step, zero where the score does not depend on it.

        It includes the effect through later steps. For a score per clip take the sum over the batch: in eval mode no
        clip acts on another's score.

        Raises:
            LookupError: if `name` was not recorded.
            ValueError: if the recording was made without `gradients`, or `score` does not come from its last pass.
        """
        if not self._gradients:
            raise ValueError("gradients need record(..., gradients=True) and a forward pass inside it")
        steps = self._steps(name)
        if not (score.requires_grad and steps[0].requires_grad):
            raise ValueError("the score has no graph: make it from a forward pass in the block, without no_grad")
        found = torch.autograd.grad(score, steps, retain_graph=True, allow_unused=True)
        if all(gradient is None for gradient in found):
            # The score may not depend on this quantity. If it depends on no other either, it is of another pass.
            every = [value for passed in self._passed.values() for value in passed]
            others = torch.autograd.grad(score, every, retain_graph=True, allow_unused=True)
            if all(gradient is None for gradient in others):
                raise ValueError("the score has nothing of what was recorded last: make it from the last forward pass")
        pairs = zip(found, steps, strict=True)
        return self._with_time(name, [torch.zeros_like(at) if gradient is None else gradient for gradient, at in pairs])

    def _steps(self, name: str) -> list[Tensor]:
        if name not in self._points:
            raise LookupError(f"{name} was not recorded; this recording holds {', '.join(self._points)}")
        if not self._passed[name]:
            raise LookupError(f"nothing has passed {name}: run the network inside the record block")
        return self._passed[name]

    def _with_time(self, name: str, values: list[Tensor]) -> Steps:
        axis = self._points[name].time_axis
        return torch.stack(values, dim=1) if axis is None else values[0].movedim(axis, 1)

    def _start(self, name: str) -> None:
        self._passed[name].clear()
        self._stacked.pop(name, None)

    def _take(self, name: str, value: Tensor) -> None:
        if self._points[name].time_axis is not None:
            self._start(name)
        self._passed[name].append(value if self._gradients else value.detach())


@contextmanager
def record(network: nn.Module, *patterns: str, gradients: bool = False) -> Iterator[Recording]:
    """Yield a Recording of the hook points that match `patterns` (`layer1.*`, `*.c`; all of them without any).

    It fills while the network runs in the block, and stays readable afterwards; the network's output is bit-identical.
    A second forward pass replaces the first in the recording; values read before stay as they are. A layer that runs
    alone replaces its own values only. With `gradients`, values keep their graph and `Recording.gradient` gives a
    score's derivative with respect to them.

    Raises:
        LookupError: if a pattern matches no hook point; it lists those that exist.
    """
    points = _matching(network, patterns or ("*",))
    recording = Recording(points, gradients)
    with ExitStack() as cleanup:
        for name, point in points.items():
            cleanup.enter_context(_among(point.readers, _Reader(recording, name)))
            if gradients:
                cleanup.enter_context(_among(point.graphs, recording))
        for owner in _owners(network, points):
            cleanup.enter_context(owner.register_forward_pre_hook(_begin))
        yield recording


@contextmanager
def intervene(network: nn.Module, changes: Mapping[str, Replacement | Steps]) -> Iterator[None]:
    """Override the values at the named hook points while the block lasts; the network continues with the new ones.

    A change is a function from one time step's value, (batch, channel, height, width) or (batch, channel), to its
    replacement; or a tensor with a time axis, such as another recording's, whose step t replaces step t. Names may be
    patterns. An inner block receives the values that an outer one has replaced.

    Raises:
        LookupError: if a name matches no hook point; it lists those that exist.
        ValueError: if a replacement has another shape than what it replaces.
    """
    with ExitStack() as cleanup:
        for pattern, change in changes.items():
            points = _matching(network, [pattern])
            for name, point in points.items():
                replacement = _Replacement(name, change, point.time_axis)
                cleanup.enter_context(_among(point.replacements, replacement))
            for owner in _owners(network, points):
                cleanup.enter_context(owner.register_forward_pre_hook(_begin))
        yield


class _Reader:
    """A recording's end at one hook point."""

    def __init__(self, recording: Recording, name: str):
        self.recording, self.name = recording, name

    def begin(self) -> None:
        self.recording._start(self.name)

    def __call__(self, value: Tensor) -> None:
        self.recording._take(self.name, value)


class _Replacement:
    """A change at one hook point, with the number of the time step within the forward pass."""

    def __init__(self, name: str, change: Replacement | Steps, time_axis: int | None):
        self.name, self.change, self.time_axis = name, change, time_axis
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
            replaced = self.change[:, self.step].to(value)
        else:
            raise ValueError(f"the replacement of {self.name} has {self.change.shape[1]} steps; the clip has more")
        self.step += 1
        if not isinstance(replaced, Tensor) or replaced.shape != value.shape:
            got = tuple(replaced.shape) if isinstance(replaced, Tensor) else repr(replaced)
            raise ValueError(f"what replaces {self.name} must be a tensor of {tuple(value.shape)}; got {got}")
        return replaced


def _matching(network: nn.Module, patterns: Collection[str]) -> dict[str, HookPoint]:
    points = hook_points(network)
    chosen = {}
    for pattern in patterns:
        found = {name: point for name, point in points.items() if fnmatchcase(name, pattern)}
        if not found:
            raise LookupError(f"no hook point matches {pattern!r}; there are {', '.join(points) or 'none'}")
        chosen |= found
    return chosen


def _begin(module: nn.Module, _: tuple) -> None:
    """Start the module's points anew before a forward pass. It refers to no recording, so a copied network has none."""
    for point in module.hooks.values():
        point.begin()


def _owners(network: nn.Module, points: Mapping[str, HookPoint]) -> list[nn.Module]:
    """Return the modules that hold one of `points` among their `hooks`: their forward passes go through it."""
    chosen = set(points.values())
    return [module for module in network.modules() if chosen.intersection(getattr(module, "hooks", {}).values())]


@contextmanager
def _among(collection: list, item: object) -> Iterator[None]:
    collection.append(item)
    try:
        yield
    finally:
        # By identity: nested blocks may hold an equal item.
        del collection[next(place for place, held in enumerate(collection) if held is item)]
