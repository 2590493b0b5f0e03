"""Networks from clips to logits or poses, with every quantity named: cells, layers, whole networks."""

from gatescope.models.cells import CELLS, STUDY_CELLS, Cell
from gatescope.models.checkpoints import by_cell, checkpoint, checkpoint_names, class_names, open_networks, untrained
from gatescope.models.conventions import MEANS
from gatescope.models.dsts import DSTS, DSTSConfig, SpecialisedNetwork
from gatescope.models.keras_weights import load_keras_weights
from gatescope.models.network import GestureNetwork, NetworkConfig
from gatescope.models.pose import RPSM, RPSMConfig
from gatescope.models.recurrent import RecurrentLayer
from gatescope.models.rnn import LSTM, RNN, PeepholeConvLSTM
from gatescope.models.unrolled import unrolled

__all__ = [
    "CELLS",
    "DSTS",
    "LSTM",
    "MEANS",
    "RNN",
    "RPSM",
    "RPSMConfig",
    "STUDY_CELLS",
    "Cell",
    "DSTSConfig",
    "GestureNetwork",
    "NetworkConfig",
    "PeepholeConvLSTM",
    "RecurrentLayer",
    "SpecialisedNetwork",
    "by_cell",
    "checkpoint",
    "checkpoint_names",
    "class_names",
    "load_keras_weights",
    "open_networks",
    "unrolled",
    "untrained",
]
