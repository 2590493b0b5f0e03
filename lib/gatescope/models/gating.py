"""Gates of a RecurrentLayer: their starting weights, and their values from the sums that enter their activations.

`layer` is the RecurrentLayer, whose equations the numbers are; `num_steps` counts the steps that lie behind each other
in the first axis, after which a value passes its hook point one by one.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gatescope.models.cells import CELLS, ConvPart, PooledPart, full, peak_at_one


@torch.no_grad()
def initialise(layer: nn.Module) -> None:
    """Set a layer's biases, and its gates' kernels where its conventions say how they start."""
    for name, parameter in layer.named_parameters():
        if name.endswith("bias"):
            parameter.zero_()
    if not layer.conventions.constant_gate_kernels:
        return
    # The released (a) divides its input kernels by the filters, (b) to (d) by the input's channels.
    fan_in = layer.hidden_channels if layer.cell == CELLS["a"] else layer.in_channels
    for gate in layer.gates.values():
        if isinstance(gate, PooledPart):
            gate.input_to_state.weight.fill_(1 / fan_in)
            if gate.state_to_state is not None:
                gate.state_to_state.weight.fill_(1 / layer.hidden_channels)
    if isinstance(layer.gates["f"], ConvPart):
        layer.gates["f"].input_to_state.bias.fill_(1)


def new_values(layer: nn.Module, total: Tensor, num_steps: int = 1) -> Tensor:
    """Return G from the sum that enters its activation."""
    total = full(total)
    return passed(layer, "g", total if layer.cell.minimal else layer.tanh(total), num_steps)  # (4) (13) (M1)


def gates_from(layer: nn.Module, totals: dict[str, Tensor], num_steps: int = 1) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return i, f and o from the sums that enter their activations; o is None where there is none."""
    if layer.cell.minimal:
        # The quotient as written is 0 / 0 in float32 where both sums are below -104.
        log_odds = F.logsigmoid(full(totals["f"])) - F.logsigmoid(full(totals["i"]))
        i, f = (_named(layer, name, (s * log_odds).sigmoid(), num_steps) for name, s in (("i", -1), ("f", 1)))  # (M1)
    elif layer.cell.i is None:
        f = gate(layer, "f", totals["f"], num_steps)
        i = _named(layer, "i", 1 - (f[:, :, 0, 0] if layer.cell.f == "pooled" else f), num_steps)  # (M2)
    else:
        i, f = (gate(layer, name, totals[name], num_steps) for name in "if")
    return i, f, None if layer.cell.o is None else gate(layer, "o", totals["o"], num_steps)


def gate(layer: nn.Module, name: str, total: Tensor, num_steps: int = 1) -> Tensor:
    """Return a gate from the sum that enters its activation: a map, or values with height and width 1."""
    kind, total = total.dtype, full(total)
    if layer.cell.gates[name] == "attention":
        ending = layer.cell.attentions[name]
        z = passed(layer, f"z{ending}", full(layer.gates[name].score(layer.tanh(total).to(kind))), num_steps)  # (21)
        attention = passed(layer, f"attention{ending}", peak_at_one(z), num_steps)  # (22)
        return passed(layer, name, attention, num_steps)  # (23)
    return _named(layer, name, layer.conventions.gate_activation(total), num_steps)  # (1) (2) (3), (10) (11) (12)


def _named(layer: nn.Module, name: str, gate: Tensor, num_steps: int) -> Tensor:
    """Return a gate that has passed its hook point; values with height and width 1 where it is pooled."""
    gate = passed(layer, name, gate, num_steps)
    return gate[:, :, None, None] if gate.ndim == 2 else gate


def passed(layer: nn.Module, name: str, value: Tensor, num_steps: int) -> Tensor:
    """Return what has passed a hook point, step by step where something reads or replaces it."""
    point = layer.hooks[name]
    if num_steps == 1:
        return point(value)
    used = point.replacements or point.readers or point._forward_hooks or point._forward_pre_hooks
    return torch.cat([point(step) for step in value.chunk(num_steps)]) if used else value
