"""Opening of named values of any model: its own hook points, or taps where it has none."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from fnmatch import fnmatchcase

from torch import nn

from gatescope.models.hooks import HookPoint
from gatescope.recordings.names import Point
from gatescope.recordings.tap import Tap
from gatescope.recordings.taps import check_module, tapped

Names = Mapping[str, str]  # what a value is called here, and its name as `Point` reads it or that of a hook point


def hook_points(network: nn.Module) -> dict[str, HookPoint]:
    """Return the hook points of a layer or network by their names: `f` in a layer, `layer1.f` in a network."""
    modules = network.named_modules()
    return {name.replace("hooks.", ""): module for name, module in modules if isinstance(module, HookPoint)}


@contextmanager
def opened(network: nn.Module, patterns: Iterable[str | Names]) -> Iterator[dict[str, HookPoint]]:
    """Yield the hook points that match `patterns`, by name; taps among them exist for as long as the block lasts.

    A pattern matches names that mappings among `patterns` give, then hook points; else it is read as a `Point`.
    Mappings alone stand for all that they name, and nothing at all for all hook points. A hook point that is yielded
    is a layer to captum; as one layer has one output there, it takes the name of one step, as `cell:sigmoid.1#3` is.

    Raises LookupError if a pattern matches nothing, TypeError for what is no module or no pattern, and as `tapped`
    does.
    """
    patterns = list(patterns)
    check_module(network)
    if odd := [each for each in patterns if not isinstance(each, str | Mapping)]:
        reason = "points are named by texts, one argument each, or by what find_gates returns"
        raise TypeError(f"{reason}; got {type(odd[0]).__name__}: {str(odd[0])[:80]}")
    own = hook_points(network)
    given = {name: where for each in patterns if not isinstance(each, str) for name, where in each.items()}
    if not given and any(not isinstance(each, str) for each in patterns):
        raise LookupError("the mapping names nothing; points(model, x) lists what can be named")
    asked = [each for each in patterns if isinstance(each, str)] or list(given) or ["*"]
    chosen: dict[str, HookPoint | Point] = {}
    for pattern in asked:
        chosen |= _matching(pattern, given, own, network)
    with ExitStack() as cleanup:
        foreign = {name: point for name, point in chosen.items() if isinstance(point, Point)}
        taps = cleanup.enter_context(tapped(network, foreign)) if foreign else {}
        _announce_passes(cleanup, network, {point for point in chosen.values() if isinstance(point, HookPoint)})
        yield {name: taps.get(name, point) for name, point in chosen.items()}


def meanings_of(points: Mapping[str, HookPoint], patterns: Iterable[str | Names]) -> dict[str, str]:
    """Return what is known of the values at opened points: by the model's own hook points, or by what named them."""
    found = {
        name: point.meaning or name.rpartition(".")[2] for name, point in points.items() if not isinstance(point, Tap)
    }
    for each in patterns:
        found |= {name: meaning for name, meaning in getattr(each, "meanings", {}).items() if name in points}
    return found


def _matching(
    pattern: str, given: Names, own: Mapping[str, HookPoint], network: nn.Module
) -> dict[str, HookPoint | Point]:
    if found := {name: given[name] for name in given if name == pattern} or {
        name: where for name, where in given.items() if fnmatchcase(name, pattern)
    }:
        return {name: own.get(where) or Point.named(where) for name, where in found.items()}
    if found := {name: point for name, point in own.items() if fnmatchcase(name, pattern)}:
        return found
    known = ", ".join([*given, *own]) or "none"
    try:
        point = Point.named(pattern)
        if point.module in own:  # some of its calls, as `layer1.f#3`
            point = point.at(next(path for path, module in network.named_modules() if module is own[point.module]))
        network.get_submodule(point.module)
    except (ValueError, AttributeError) as error:
        raise LookupError(
            f"no hook point matches {pattern!r}; there are {known}. Nor is it a value: {error}"
        ) from error
    return {pattern: point}


def _announce_passes(cleanup: ExitStack, network: nn.Module, points: set[HookPoint]) -> None:
    """Call `begin` before every forward pass of the modules that hold one of `points` among their `hooks`."""
    for module in network.modules() if points else ():
        if points.intersection(getattr(module, "hooks", {}).values()):
            cleanup.enter_context(module.register_forward_pre_hook(_begin))


def _begin(module: nn.Module, _: tuple) -> None:
    """Start the module's points anew before a forward pass. It refers to no recording, so a copied network has none."""
    for point in module.hooks.values():
        point.begin()
