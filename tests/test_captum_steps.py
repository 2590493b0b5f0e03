"""captum's layer methods on one time step of a recurrent model: what they cannot do by themselves."""

import pytest
import torch
from captum.attr import LayerActivation, LayerConductance, LayerGradCam, LayerIntegratedGradients
from torch import nn

import foreign_cells as cells
from gatescope.models import GestureNetwork, NetworkConfig, unrolled
from gatescope.recordings import find_gates, opened, record
from gatescope.recordings.attribution import grad_cam


def clip(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def test_every_step_of_a_cell_and_not_the_last_alone():
    torch.manual_seed(0)
    model, x = cells.Stack(cells.FusedLSTM).eval(), clip(2, 4, 3, 8, 8)
    # A module that is called once a step has one output for captum, that of its last call.
    (last,) = LayerActivation(model, model.cells[0]).attribute(x)[:1]
    model.cells[0].kept.clear()
    model(x)
    kept = model.cells[0].kept
    assert torch.equal(last, kept["h"][-1])
    for step in range(4):
        name = f"cells.0:sigmoid.1#{step}"
        with opened(model, [name]) as points:
            values = LayerActivation(model, points[name]).attribute(x)
        assert torch.equal(values, kept["f"][step])


def test_grad_cam_of_a_step_is_ours():
    torch.manual_seed(0)
    model, x = cells.Stack(cells.FusedLSTM).eval(), clip(2, 4, 3, 8, 8)
    gates = find_gates(model, x)
    ours = grad_cam(model, x, torch.tensor([1, 1]), "layer2.c", gates)
    for step in range(4):
        name = f"{gates['layer2.c'].removesuffix('#:')}#{step}"
        with opened(model, [name]) as points:
            theirs = LayerGradCam(model, points[name]).attribute(x, target=1, relu_attributions=True)
        torch.testing.assert_close(ours[:, step], theirs[:, 0])


class Reader(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(5, 7, batch_first=True), nn.Linear(7, 3)

    def forward(self, x):
        return self.head(self.lstm(x)[0][:, -1])


@pytest.mark.parametrize("method", [LayerIntegratedGradients, LayerConductance])
def test_a_fused_lstm_whose_output_is_a_tuple(method):
    # captum's issues 815, 875, 1220 and 1528: the layer itself gives a tuple of tuples, which these methods refuse.
    torch.manual_seed(0)
    model, x = Reader().eval(), clip(2, 4, 5)
    own = unrolled(model)
    with opened(own, ["lstm.layer1.h#3"]) as points:
        values = method(own, points["lstm.layer1.h#3"]).attribute(x, target=0, n_steps=64)
    assert values.shape == (2, 7)
    # All passes through the last state, to which the head is linear: the sum is the difference of the scores.
    expected = (model(x) - model(torch.zeros_like(x)))[:, 0]
    torch.testing.assert_close(values.sum(1), expected, atol=2e-3, rtol=0)


def test_a_step_of_our_own_networks():
    torch.manual_seed(0)
    network = GestureNetwork(NetworkConfig.small("convlstm", num_classes=3)).eval()
    x = clip(1, 3, 8, 32, 32)
    with torch.no_grad(), record(network, "layer1.f") as recording:
        network(x)
    with opened(network, ["layer1.f#2"]) as points:
        values = LayerActivation(network, points["layer1.f#2"]).attribute(x)
    assert torch.equal(values, recording["layer1.f"][:, 2])
