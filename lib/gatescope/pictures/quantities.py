"""Captions for the hook points of recurrent layers, pose machines and specialised neurons."""

from typing import NamedTuple


class Quantity(NamedTuple):
    """A recorded quantity: its title, the unit of its values, and one sentence on its role."""

    title: str
    unit: str
    help: str


# In the order in which a step computes them; equation numbers are those of Zhang et al. 2018.
QUANTITIES = {
    "trunk": Quantity("trunk's maps F", "", "The trunk's output for a frame, the input of every stage."),
    "features": Quantity("features X", "", "Output of the 3-D convolutions, the layer's input."),
    "adapted": Quantity("adapted features a", "", "A stage's maps after adaptation: the LSTM's input."),
    "z": Quantity("scores Z", "", "Score of every position, from which attention is computed (Eqs. 17, 21)."),
    "attention": Quantity(
        "input attention A", "weight", "Weight of every position of the input; all sum to 1 (Eq. 18)."
    ),
    "x_attended": Quantity("attended input X̃", "", "The input times its attention (Eq. 19)."),
    "x_pooled": Quantity("pooled input", "", "The input's mean over space, one value a channel (Eq. 9)."),
    "h_pooled": Quantity("pooled hidden state", "", "The last hidden state's mean over space (Eq. 9)."),
    "r": Quantity("reset gate r", "part seen", "How much of the last hidden state the candidate sees, 0 to 1 (GRU)."),
    "i": Quantity("input gate i", "part let in", "How much of the candidate enters the cell state, 0 to 1."),
    "f": Quantity("forget gate f", "part kept", "How much of the old cell state stays, 0 to 1."),
    "o": Quantity("output gate o", "part shown", "How much of the cell state is shown as hidden state, 0 to 1."),
    "update": Quantity("update gate z", "part", "How much of the hidden state is made anew, or kept, 0 to 1 (GRU)."),
    "new": Quantity("candidate n", "", "Values that the hidden state may take (GRU)."),
    "g": Quantity("candidate g", "", "Values from −1 to 1 that may enter the cell state."),
    "c": Quantity("cell state c", "", "The layer's memory: f times the old state plus i times the candidate."),
    "h": Quantity("hidden state h", "", "The layer's output, from −1 to 1: o times tanh c."),
    "hidden": Quantity("hidden state h", "", "The layer's output, which the next time step sees."),
    "pose": Quantity("pose S", "", "The 51 coordinates that a stage predicts, on the scale of training."),
    "x_s": Quantity("X_S, to space", "", "Part of the maps that a neuron's gates send to its spatial operator."),
    "x_t": Quantity("X_T, to time", "", "Part of the maps that a neuron's gates send to its temporal operator."),
    "z_s": Quantity("Z_S, of space", "", "Output of a neuron's spatial operator, frame by frame."),
    "z_t": Quantity("Z_T, of time", "", "Output of a neuron's temporal operator, position by position."),
}

# The same hook point where each channel has its own map: another scale, so another name.
GATE_ATTENTION = Quantity("gate attention A", "weight", "Weight of every position, 1 at each channel's peak (Eq. 22).")
# The hook point `features` in a stage of a pose machine.
STAGE_FEATURES = Quantity("2-D features P", "", "Output of a stage's 2-D pose module for a frame.")


def describe(name: str, num_channels: int, meaning: str | None = None) -> Quantity:
    """Return the quantity that a value is: by its `meaning`, or of a hook point by its name.

    `layer1.f`, `f` and `attention_i` are names of hook points; any other name is its own title.
    """
    point, gate = _parts(name if meaning is None else meaning)
    if point not in QUANTITIES:
        return Quantity(name, "", "")
    found = GATE_ATTENTION if point == "attention" and num_channels > 1 else QUANTITIES[point]
    found = STAGE_FEATURES if point == "features" and name.startswith("stage") else found
    return found._replace(title=f"{found.title} of {gate}") if gate else found


def place_of(name: str, meaning: str | None = None) -> int:
    """Return a quantity's place in a step; unknown names come last."""
    point, _ = _parts(name if meaning is None else meaning)
    return list(QUANTITIES).index(point) if point in QUANTITIES else len(QUANTITIES)


def _parts(name: str) -> tuple[str, str]:
    """Split a name into its hook point and, as in `attention_i`, the gate it belongs to."""
    point = name.rpartition(".")[2]
    point, _, gate = point.rpartition("_") if point[-2:] in ("_i", "_f", "_o", "_r") else (point, "", "")
    return point, gate
