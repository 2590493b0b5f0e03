"""Removals of one part from a trained network's recurrent layers, after which the rest can be trained further."""

import copy
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gatescope.models import GestureNetwork
from gatescope.models.recurrent import RecurrentLayer
from gatescope.recordings import intervene, record
from gatescope.recordings.replacements import space_mean, time_mean

Features = Float[Tensor, "batch channel step rows columns"]  # as FrozenFeatures gives them
Maps = Float[Tensor, "batch step _ rows columns"]

PARTS = ("nothing", "space", "time course", "space and time course", "memory", "H from gates", "H", "all but C")
LAYERS = ("layer1", "layer2")


class Remainder(nn.Module):
    r"""A copy of a trained network behind Res3D, without one part of both recurrent layers; logits from features.

    With $\langle\cdot\rangle$ a mean over positions or the clip's steps, and $A_t$ of input attention taken with the
    gates, the parts are

    `nothing`: the control

    `space`: $i_t \to \langle i_t \rangle_{space}$, and so every gate that is a map; $A_t$ becomes $1 / HW$

    `time course`: $i_t \to \langle i_t \rangle_{time}$, from a pass of the layer before the one with it; the gradient
    goes through both

    `space and time course`: $i_t \to$ one constant per channel, a parameter that starts at the gate's mean over
    `features`, clips, steps and positions; $A_t$ becomes $1 / HW$

    `memory`: $H_{t-1} = C_{t-1} = 0$ at every step

    `H from gates`: the weights $W_h$ of gates and attention are zero and stay so

    `H`: those of the candidate as well; $C$ stays

    `all but C`: `space and time course` and `H` together

    What is removed stays away in training. Raises LookupError for another part, ValueError for one that `parts_of`
    does not list.

    Example:
        reduced = Remainder(network, "space", features)
        list(fit(reduced, train, None, TrainConfig(epochs=3)))  # train: FrozenFeatures(network, clips, pool=1)
    """

    def __init__(self, network: GestureNetwork, part: str, features: Features):
        super().__init__()
        if part not in PARTS:
            raise LookupError(f"no part {part!r}; there are {', '.join(PARTS)}")
        if part not in (known := parts_of(network)):
            raise ValueError(f"this network has no {part} to remove; it has {', '.join(known)}")
        self.network = copy.deepcopy(network)
        del self.network.res3d  # features come from it; here it would only be copied and moved
        maps = features.transpose(1, 2)
        with torch.no_grad():
            for name in LAYERS:
                layer = getattr(self.network, name)
                following = layer(maps)
                setattr(self.network, name, _without(layer, part, maps))
                maps = following

    def forward(self, x: Features) -> Float[Tensor, "batch classes"]:
        """Return the logits of clips from their features."""
        return self.network.score(x.transpose(1, 2))


def parts_of(network: GestureNetwork) -> tuple[str, ...]:
    """Return those of PARTS that the network has: one with pooled gates alone has no space, for example."""
    layers = [getattr(network, name) for name in LAYERS]
    absent = {
        "space": not any(map(_maps_of, layers)),
        "memory": not any(layer.memory for layer in layers),
        "H from gates": not any(_of_state(layer, candidate=False) for layer in layers),
        "H": not any(_of_state(layer, candidate=True) for layer in layers),
    }
    absent["all but C"] = absent["H"]  # then it is nothing but the constants
    return tuple(part for part in PARTS if not absent.get(part, False))


def _without(layer: RecurrentLayer, part: str, maps: Maps) -> nn.Module:
    if part == "memory":
        layer.memory = False
    if part in ("H from gates", "H", "all but C"):
        for of_state in _of_state(layer, candidate=part != "H from gates"):
            for weight in of_state.parameters():
                weight.data.zero_()
                weight.requires_grad_(False)
    if part in ("space and time course", "all but C"):
        return _ConstantGates(layer, maps)
    wrapper = {"space": _SpaceMeans, "time course": _TimeMeans}.get(part)
    return layer if wrapper is None else wrapper(layer)


def _maps_of(layer: RecurrentLayer) -> list[str]:
    """Return the hook points of a layer's gates that are maps, and of its attention on X."""
    return ["attention"] * layer.cell.input_attention + [
        name for name, kind in layer.cell.gates.items() if kind != "pooled"
    ]


def _gates_of(layer: RecurrentLayer) -> list[str]:
    return ["attention"] * layer.cell.input_attention + list(layer.cell.gates)


def _of_state(layer: RecurrentLayer, *, candidate: bool) -> list[nn.Module]:
    """Return W_h of gates and attention, and of the candidate if asked for, where they see the state."""
    parts = [*layer.gates.values(), *[layer.attention] * layer.cell.input_attention, *[layer.candidate] * candidate]
    return [part.state_to_state for part in parts if part.state_to_state is not None]


class _SpaceMeans(nn.Module):
    def __init__(self, layer: RecurrentLayer):
        super().__init__()
        self.layer = layer

    def forward(self, x: Maps) -> Maps:
        with intervene(self.layer, dict.fromkeys(_maps_of(self.layer), space_mean)):
            return self.layer(x)


class _TimeMeans(nn.Module):
    def __init__(self, layer: RecurrentLayer):
        super().__init__()
        self.layer = layer

    def forward(self, x: Maps) -> Maps:
        passed: dict[str, list[Tensor]] = {name: [] for name in _gates_of(self.layer)}
        # Not by `record`, which gives values without their graph.
        with intervene(self.layer, {name: _keeping(values) for name, values in passed.items()}):
            self.layer(x)
        with intervene(self.layer, {name: time_mean(torch.stack(values, 1)) for name, values in passed.items()}):
            return self.layer(x)


def _keeping(values: list[Tensor]) -> Callable[[Tensor], Tensor]:
    def keep(value: Tensor) -> Tensor:
        values.append(value)
        return value

    return keep


class _ConstantGates(nn.Module):
    """A layer whose gates are one trained constant per channel, and whose attention on X is uniform."""

    def __init__(self, layer: RecurrentLayer, maps: Maps):
        super().__init__()
        self.layer = layer
        with record(layer, *layer.cell.gates) as recording:
            layer(maps)
        levels = {name: values.transpose(0, 2).flatten(1).mean(1) for name, values in recording.items()}
        self.logits = nn.ParameterDict({name: nn.Parameter(level.logit(eps=1e-4)) for name, level in levels.items()})

    def forward(self, x: Maps) -> Maps:
        changes = {name: self._held(logits) for name, logits in self.logits.items()}
        if self.layer.cell.input_attention:
            changes["attention"] = space_mean
        with intervene(self.layer, changes):
            return self.layer(x)

    @staticmethod
    def _held(logits: Tensor) -> Callable[[Tensor], Tensor]:
        level = logits.sigmoid()
        return lambda gate: level.view(1, -1, *[1] * (gate.ndim - 2)).expand_as(gate)
