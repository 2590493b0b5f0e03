"""What the hook points of recurrent layers, pose machines and specialised neurons hold, in words for captions."""

from typing import NamedTuple


class Quantity(NamedTuple):
    """A quantity that a recording names: how it is called, what its values say of 1, and what it does."""

    title: str
    unit: str
    help: str


# In the order in which a step makes them; equation numbers are those of Zhang et al. 2018.
QUANTITIES = {
    "trunk": Quantity("trunk's maps F", "", "What the trunk makes of a frame: every stage sees them."),
    "features": Quantity("features X", "", "What the 3-D convolutions make of the frames: the layer's input."),
    "adapted": Quantity("adapted features a", "", "What a stage makes of its maps: the LSTM's input."),
    "z": Quantity("scores Z", "", "What attention is made of: the score of every position (Eqs. 17, 21)."),
    "attention": Quantity(
        "input attention A", "weight", "Weight of every position of the input; all sum to 1 (Eq. 18)."
    ),
    "x_attended": Quantity("attended input X̃", "", "The input times its attention (Eq. 19)."),
    "x_pooled": Quantity("pooled input", "", "The input's mean over space, one value a channel (Eq. 9)."),
    "h_pooled": Quantity("pooled hidden state", "", "The last hidden state's mean over space (Eq. 9)."),
    "i": Quantity("input gate i", "part let in", "How much of the candidate enters the cell state, 0 to 1."),
    "f": Quantity("forget gate f", "part kept", "How much of the old cell state stays, 0 to 1."),
    "o": Quantity("output gate o", "part shown", "How much of the cell state is shown as hidden state, 0 to 1."),
    "g": Quantity("candidate g", "", "Between −1 and 1, what may enter the cell state."),
    "c": Quantity("cell state c", "", "The layer's memory: f times what was, plus i times the candidate."),
    "h": Quantity("hidden state h", "", "Between −1 and 1, what the layer shows of its memory: o times tanh c."),
    "pose": Quantity("pose S", "", "The 51 coordinates a stage gives, on the scale that is learnt."),
    "x_s": Quantity("X_S, to space", "", "What of the maps a neuron's gates hand to its spatial operator."),
    "x_t": Quantity("X_T, to time", "", "What of the maps a neuron's gates hand to its temporal operator."),
    "z_s": Quantity("Z_S, of space", "", "What a neuron's spatial operator makes of its part, frame by frame."),
    "z_t": Quantity("Z_T, of time", "", "What a neuron's temporal operator makes of its part, place by place."),
}

# The same hook point where it has a map for every channel: another scale, so another name.
GATE_ATTENTION = Quantity("gate attention A", "weight", "Weight of every position, 1 at each channel's peak (Eq. 22).")
# And where it is of a pose machine's stage.
STAGE_FEATURES = Quantity("2-D features P", "", "What a stage's 2-D pose module makes of a frame, and hands on.")


def describe(name: str, num_channels: int) -> Quantity:
    """The quantity of a hook point's name, `layer1.f`, `f`, `attention_i`; any other name stands for itself."""
    point, gate = _parts(name)
    if point not in QUANTITIES:
        return Quantity(name, "", "")
    found = GATE_ATTENTION if point == "attention" and num_channels > 1 else QUANTITIES[point]
    found = STAGE_FEATURES if point == "features" and name.startswith("stage") else found
    return found._replace(title=f"{found.title} of {gate}") if gate else found


def place_of(name: str) -> int:
    """Where a quantity comes in a step; what is none comes after all."""
    point, _ = _parts(name)
    return list(QUANTITIES).index(point) if point in QUANTITIES else len(QUANTITIES)


def _parts(name: str) -> tuple[str, str]:
    """The hook point in a name, and the gate that it is of where a cell has one for each: `attention_i`."""
    point = name.rpartition(".")[2]
    point, _, gate = point.rpartition("_") if point[-2:] in ("_i", "_f", "_o") else (point, "", "")
    return point, gate
