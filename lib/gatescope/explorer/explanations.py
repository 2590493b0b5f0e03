"""Replacements of a quantity and explanations of a score that the explorer offers, by name, for one clip."""

from collections.abc import Callable, Mapping
from itertools import count

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gatescope.loaders.clip import over_steps
from gatescope.models import GestureNetwork
from gatescope.pictures.quantities import Quantity, describe, place_of
from gatescope.recordings.replacements import attention_replacements, replacements
from gatescope.recordings.scoring import Change

TOGETHER = "all gates"
GATES = "ifo"
FOR_GATES = ("shared map", "shifted", "shifted in time")  # replacements that clip values to 0 ... 1
BASELINE = ", compared with a still scene."
ATTRIBUTIONS = {
    "Grad-CAM": Quantity("", "", "Positions where the layer's hidden state raises the class's score; never negative."),
    "integrated gradients": Quantity("", "logits", "Contribution of a step's pixels to the class's score" + BASELINE),
    "conductance": Quantity("", "logits", "Contribution of the layer's hidden state to the class's score" + BASELINE),
}


def title_of(point: str, recording: Mapping[str, Tensor]) -> str:
    """Return the title of a recorded quantity with its layer where there are several, or of gates together."""
    layers = {name.rpartition(".")[0] for name in recording}
    if point == TOGETHER:
        return f"{TOGETHER} of both layers" if len(layers) > 1 else TOGETHER
    if point in GATES:
        return f"{describe(point, 1).title} of both layers"
    title = describe(point, recording[point].shape[2]).title
    return f"{title}, {point.partition('.')[0].replace('layer', 'layer ')}" if len(layers) > 1 else title


def offered(
    recording: Mapping[str, Float[Tensor, "1 step channel *space"]], hand: Bool[np.ndarray, "time height width"] | None
) -> dict[str, dict[str, dict[str, Change]]]:
    """Return the replacements of every recorded quantity and of gates together, as `intervene` takes them.

    Each serves one pass over the recorded clip. An attention map can also be uniform, or on the `hand` where known.
    """
    found: dict[str, dict[str, dict[str, Change]]] = {}
    for name, values in recording.items():
        point = name.rpartition(".")[2]
        if point.startswith("attention"):
            shape = values.shape[1], *values.shape[3:]
            mask = None if hand is None else over_steps(hand[None].astype(np.float32), shape)
            changes = attention_replacements(values, mask, peak=values.shape[2] > 1)
        else:
            changes = {by: each for by, each in replacements(values).items() if point in GATES or by not in FOR_GATES}
        found[name] = {by: {name: change} for by, change in changes.items()}
    gates = [name for name in recording if name.rpartition(".")[2] in [*GATES]]
    kinds = {kind: [name for name in gates if name.endswith(f".{kind}")] for kind in GATES}
    for what, names in {TOGETHER: gates, **kinds}.items():
        if len(names) > 1:
            # Made again: a shuffle serves one pass.
            own = {name: replacements(recording[name]) for name in names}
            shared = [by for by in own[names[0]] if all(by in each for each in own.values())]
            found[what] = {by: {name: each[by] for name, each in own.items()} for by in shared}
    return dict(sorted(found.items(), key=_place))


def _place(item: tuple[str, object]) -> tuple[bool, bool, str, int]:
    """Sort all gates first, then a kind of gate in both layers, then each layer's quantities."""
    point, _ = item
    return point != TOGETHER, point not in GATES, point.rpartition(".")[0], place_of(point)


def explain(
    network: GestureNetwork,
    x: Float[Tensor, "1 channel time height width"],
    label: int | None,
    method: str,
    layer: str,
    heard: Callable[[int], None],
) -> tuple[int, Float[np.ndarray, "step rows columns"]]:
    """Return the explained class (`label`, else the network's answer) and a map per step, by one of ATTRIBUTIONS.

    Before each pass through the recurrent layers `heard` gets the number of passes so far, and may raise to stop.
    """
    from gatescope.recordings.attribution import conductance, grad_cam, integrated_gradients, still  # loads captum

    passes = count()
    with network.layer1.register_forward_pre_hook(lambda *_: heard(next(passes))):
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
            maps = values.unflatten(1, (features.shape[1], -1)).sum(2)  # a sum: maps add up to the change of the score
    return number, maps[0].detach().numpy()
