"""Forecaster: recurrent layers that encode a clip, and layers that forecast its next steps (Shi et al. 2015)."""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gatescope.models.rnn import LSTM, PeepholeConvLSTM


class Forecaster(nn.Module):
    """Two stacks of recurrent layers of the same sizes: the second starts in the last states of the first.

    The second stack's first layer has no input term. The `readout` gets the hidden states of that stack's last layer,
    or with `reads_all` the hidden states of all its layers, concatenated.
    """

    def __init__(
        self, encoder: Sequence[nn.Module], forecaster: Sequence[nn.Module], readout: nn.Module, *, reads_all: bool
    ):
        super().__init__()
        self.encoder, self.forecaster = nn.ModuleList(encoder), nn.ModuleList(forecaster)
        self.readout, self.reads_all = readout, reads_all

    def forward(
        self, x: Float[Tensor, "batch time in *space"], num_steps: int
    ) -> Float[Tensor, "batch steps in *space"]:
        """Return a forecast of the `num_steps` steps after `x`."""
        states = []
        for layer in self.encoder:
            x, state = layer(x, return_state=True)
            states.append(state)
        x = x.new_empty(x.shape[0], num_steps, 0, *x.shape[3:])
        hidden = []
        for layer, state in zip(self.forecaster, states, strict=True):
            x = layer(x, state)
            hidden.append(x)
        seen = torch.cat(hidden, 2) if self.reads_all else x
        return self.readout(seen.flatten(0, 1)).unflatten(0, seen.shape[:2])


def lstm_forecaster(in_features: int, hidden_features: Sequence[int]) -> Forecaster:
    """Make a Forecaster of vectors, read from its top layer; that of Shi et al. 2015 is (4096, [2048, 2048])."""
    encoder, forecaster = (
        [LSTM(*sizes) for sizes in pairwise([num_in, *hidden_features])] for num_in in (in_features, 0)
    )
    return Forecaster(encoder, forecaster, nn.Linear(hidden_features[-1], in_features), reads_all=False)


def convlstm_forecaster(
    in_channels: int, hidden_channels: Sequence[int], input_kernel: int, state_kernel: int
) -> Forecaster:
    """Make a Forecaster of maps with peepholes, read from all its layers by a 1 x 1 convolution.

    (5)-5-128, 5-64, 5-64 of Shi et al. 2015 is (16, [128, 64, 64], 5, 5), (9)-1-128, 1-128 is (16, [128, 128], 9, 1).
    """
    layer = partial(PeepholeConvLSTM, input_kernel=input_kernel, state_kernel=state_kernel, peepholes=True)
    encoder, forecaster = (
        [layer(*sizes) for sizes in pairwise([num_in, *hidden_channels])] for num_in in (in_channels, 0)
    )
    return Forecaster(encoder, forecaster, nn.Conv2d(sum(hidden_channels), in_channels, 1), reads_all=True)
