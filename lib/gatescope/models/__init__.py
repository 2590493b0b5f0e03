"""From a batch to logits, every quantity named: cells, backbone, network."""

from gatescope.models.cells import CELLS, STUDY_CELLS, Cell
from gatescope.models.dsts import DSTS, DSTSConfig, SpecialisedNetwork
from gatescope.models.keras_weights import load_keras_weights
from gatescope.models.network import GestureNetwork, NetworkConfig
from gatescope.models.pose import RPSM, RPSMConfig, pose_loss
from gatescope.models.recurrent import RecurrentLayer
from gatescope.models.rnn import LSTM, RNN, PeepholeConvLSTM

__all__ = [
    "CELLS",
    "DSTS",
    "LSTM",
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
    "load_keras_weights",
    "pose_loss",
]
