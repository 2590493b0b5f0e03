"""Forecasters: the parameters that Shi et al. 2015 print, and what they compute, against their layers one by one."""

import pytest
import torch

from gatescope.models.forecaster import convlstm_forecaster, lstm_forecaster
from gatescope.recordings import count_parameters, hook_points

PRINTED = {  # (input kernel)-state kernel-hidden channels, over 16 channels: 4 x 4 patches of 64 x 64 px
    "(5)-5-256": (([256], 5, 5), 13_524_496),
    "(5)-5-128, 5-128": (([128, 128], 5, 5), 10_042_896),
    "(5)-5-128, 5-64, 5-64": (([128, 64, 64], 5, 5), 7_585_296),
    "(9)-1-128, 1-128": (([128, 128], 9, 1), 11_550_224),
    "(9)-1-128, 1-64, 1-64": (([128, 64, 64], 9, 1), 8_830_480),
}


@pytest.mark.parametrize(("sizes", "parameters"), PRINTED.values(), ids=PRINTED)
def test_convlstms_have_the_parameters_their_paper_prints(sizes, parameters):
    with torch.device("meta"):
        network = convlstm_forecaster(16, *sizes)
    assert count_parameters(network, biases=True) == parameters


def test_the_fc_lstm_has_the_parameters_that_paper_prints():
    with torch.device("meta"):
        network = lstm_forecaster(16 * 16 * 16, [2048, 2048])
    assert count_parameters(network, biases=True) == 142_667_776


def random_weights(network):
    torch.manual_seed(0)
    for parameter in network.double().parameters():
        parameter.data = 0.5 * torch.randn_like(parameter)
    return network


def test_a_forecaster_of_maps_goes_on_from_every_layers_last_state():
    network = random_weights(convlstm_forecaster(2, [3, 4], 5, 3))
    x = torch.randn(2, 3, 2, 5, 6, dtype=torch.float64)
    below, first = network.encoder[0](x, return_state=True)
    _, second = network.encoder[1](below, return_state=True)
    lower = network.forecaster[0](x.new_zeros(2, 4, 0, 5, 6), first)
    upper = network.forecaster[1](lower, second)
    both = torch.cat([lower, upper], 2)
    expected = torch.stack([network.readout(both[:, t]) for t in range(4)], 1)
    torch.testing.assert_close(network(x, 4), expected, rtol=0, atol=1e-12)
    assert network(x[:1, :1], 1).shape == (1, 1, 2, 5, 6)


def test_a_forecaster_of_vectors_is_read_from_its_top():
    network = random_weights(lstm_forecaster(3, [4, 5]))
    x = torch.randn(2, 3, 3, dtype=torch.float64)
    below, first = network.encoder[0](x, return_state=True)
    _, second = network.encoder[1](below, return_state=True)
    upper = network.forecaster[1](network.forecaster[0](x.new_zeros(2, 4, 0), first), second)
    expected = torch.stack([network.readout(upper[:, t]) for t in range(4)], 1)
    torch.testing.assert_close(network(x, 4), expected, rtol=0, atol=1e-12)


def test_every_layer_has_its_hook_points():
    names = set(hook_points(lstm_forecaster(3, [4, 5])))
    assert names == {
        f"{stack}.{k}.{name}" for stack in ("encoder", "forecaster") for k in range(2) for name in "ifgcoh"
    }
