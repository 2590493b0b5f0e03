"""What the explorer can put in a quantity's place, and how it can explain a score: by name, for one clip."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gatescope.loaders.clip import over_steps
from gatescope.models import GestureNetwork
from gatescope.pictures.quantities import Quantity, describe, place_of
from gatescope.recordings.attribution import conductance, grad_cam, integrated_gradients, still
from gatescope.recordings.replacements import Change, attention_replacements, replacements

TOGETHER = "all gates"
GATES = "ifo"
BETWEEN_0_AND_1 = ("shared map", "shifted")  # replacements that need a gate: they cut off what leaves it
ON_THE_WAY = ("x_pooled", "h_pooled", "z")  # what gates and attention are made of: neither shown nor replaced

ATTRIBUTIONS = {
    "Grad-CAM": Quantity("", "", "Where the layer's hidden state speaks for the class; never negative."),
    "integrated gradients": Quantity(
        "", "logits", "What each pixel adds to the class's score, a step's frames together, against a still scene."
    ),
    "conductance": Quantity(
        "", "logits", "What passes to the class's score by the layer's hidden state, against a still scene."
    ),
}


def called(point: str, recording: Mapping[str, Tensor]) -> str:
    """A recorded quantity, or all gates, in words."""
    return point if point == TOGETHER else describe(point, recording[point].shape[2]).title


def offered(
    recording: Mapping[str, Float[Tensor, "1 step channel *space"]], hand: Bool[np.ndarray, "time height width"] | None
) -> dict[str, dict[str, dict[str, Change]]]:
    """For every recorded quantity and for all gates together, what can be put there, as `intervene` takes it.

    Each is for one pass over the clip that was recorded. An attention map can also look at the `hand`, where it is
    known, or everywhere alike.
    """
    found: dict[str, dict[str, dict[str, Change]]] = {}
    for name, values in recording.items():
        point = name.rpartition(".")[2]
        if point.startswith("attention"):
            mask = None if hand is None else over_steps(hand[None].astype(np.float32), _shape(values))
            changes = attention_replacements(values, mask, peak=values.shape[2] > 1)
        elif point in ON_THE_WAY:
            continue
        else:
            changes = replacements(values)
            changes = {by: each for by, each in changes.items() if point in GATES or by not in BETWEEN_0_AND_1}
        found[name] = {by: {name: change} for by, change in changes.items()}
    # Made anew: a shuffle is for one pass.
    gates = {name: replacements(values) for name, values in recording.items() if name.rpartition(".")[2] in [*GATES]}
    shared = [by for by in next(iter(gates.values()), {}) if all(by in each for each in gates.values())]
    if len(gates) > 1:
        found[TOGETHER] = {by: {name: each[by] for name, each in gates.items()} for by in shared}
    return dict(sorted(found.items(), key=lambda item: -1 if item[0] == TOGETHER else place_of(item[0])))


def explain(
    network: GestureNetwork,
    x: Float[Tensor, "1 channel time height width"],
    label: int | None,
    method: str,
    layer: str,
    heard: Callable[[int], None],
) -> tuple[int, Float[np.ndarray, "step rows columns"]]:
    """The class explained, that of `label` or else the network's answer, and by one of ATTRIBUTIONS a map a step.

    `heard` is told before every pass through the recurrent layers how many there were; what it raises ends the work.
    """
    with _each_pass(network, heard):
        with torch.no_grad():
            features = network.encode(x)
            number = int(network.score(features).argmax()) if label is None else label
        classes = torch.tensor([number])
        if method == "Grad-CAM":
            maps = grad_cam(network, x, classes, f"{layer}.h")
        elif method == "conductance":
            with torch.no_grad():
                reference = network.encode(still(x))
            maps = conductance(network, features, reference, classes, [f"{layer}.h"])[f"{layer}.h"].sum(2)
        else:
            values = integrated_gradients(network, x, still(x), classes).values.sum(1)
            maps = values.unflatten(1, (features.shape[1], -1)).sum(2)
    return number, maps[0].detach().numpy()


@contextmanager
def _each_pass(network: GestureNetwork, heard: Callable[[int], None]) -> Iterator[None]:
    passes = 0

    def count(*_: object) -> None:
        nonlocal passes
        heard(passes)
        passes += 1

    handle = network.layer1.register_forward_pre_hook(count)
    try:
        yield
    finally:
        handle.remove()


def _shape(values: Tensor) -> tuple[int, int, int]:
    return values.shape[1], values.shape[3], values.shape[4]
