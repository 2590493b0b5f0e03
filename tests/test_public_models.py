"""find_gates on recurrent models of public packages, where these are installed."""

import pytest
import torch
from torch import nn

from gatescope.models import unrolled
from gatescope.recordings import find_gates, record


def check(model, x, roles):
    """Record all that was found; the output stays as it is to the bit."""
    model = model.eval()
    gates = find_gates(model, x)
    assert set(gates) == set(roles)
    given = x if isinstance(x, tuple) else (x,)
    with torch.no_grad():
        plain = model(*given)
        with record(model, gates) as recording:
            again = model(*given)
    first, second = (each[0] if isinstance(each, tuple) else each for each in (plain, again))
    assert torch.equal(first, second)
    return recording


class Flow(nn.Module):
    def __init__(self, raft):
        super().__init__()
        self.raft = raft

    def forward(self, first, second):
        return self.raft(first, second, num_flow_updates=3)[-1]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "layers"), [("raft_small", 1), ("raft_large", 2)])
def test_the_update_block_of_raft(name, layers):
    flow = pytest.importorskip(
        "torchvision.models.optical_flow", reason="torchvision, of which RAFT is, is not installed"
    )
    torch.manual_seed(0)
    x = torch.rand(1, 3, 128, 128), torch.rand(1, 3, 128, 128)
    recording = check(
        Flow(getattr(flow, name)(weights=None)), x, [f"layer{n}.{r}" for n in range(1, layers + 1) for r in "rznh"]
    )
    z, n, h = (recording[f"layer1.{role}"] for role in "znh")
    if layers == 1:
        torch.testing.assert_close(h[:, 1], (1 - z[:, 1]) * h[:, 0] + z[:, 1] * n[:, 1])


def test_the_lstm_beside_a_closed_form_continuous_time_cell():
    torch_cells = pytest.importorskip("ncps.torch", reason="ncps, neural circuit policies, is not installed")
    torch.manual_seed(0)
    model = torch_cells.CfC(6, 8, batch_first=True, mixed_memory=True)
    recording = check(model, torch.rand(2, 5, 6), [f"layer1.{role}" for role in "ifogch"])
    i, f, g, c = (recording[f"layer1.{role}"] for role in "ifgc")
    torch.testing.assert_close(c[:, 1], f[:, 1] * c[:, 0] + i[:, 1] * g[:, 1])


def test_a_closed_form_continuous_time_cell_is_none_that_is_known():
    torch_cells = pytest.importorskip("ncps.torch", reason="ncps, neural circuit policies, is not installed")
    torch.manual_seed(0)
    found = find_gates(torch_cells.CfC(6, 8, batch_first=True).eval(), torch.rand(2, 5, 6))
    assert not found.layers and found.unplaced == ("rnn_cell.sigmoid:sigmoid.0: no role was found",)


@pytest.mark.slow
def test_a_network_of_many_fused_layers_is_unrolled_at_once():
    sequencer = pytest.importorskip("timm.models.sequencer", reason="timm, with LSTMs over images, is not installed")
    torch.manual_seed(0)
    model, x = sequencer.sequencer2d_s(num_classes=3).eval(), torch.rand(1, 3, 224, 224)
    assert not find_gates(model, x)
    own = unrolled(model)
    with torch.no_grad():
        torch.testing.assert_close(own(x), model(x), atol=1e-4, rtol=1e-4)
    gates = find_gates(own, x)
    assert len(gates.layers) == 2 * 2 * sum((4, 3, 8, 3))  # rows and columns, forward and backward
    assert not gates.unplaced


FOUND = {
    "LSTM": ("ATR", "JANET", "MCLSTM", "MultiplicativeLSTM", "PeepholeLSTM", "RAN", "ResLSTM", "WMCLSTM"),
    "GRU": ("MUT1", "MUT2", "MUT3"),
    "minimal gated": (
        "BR",
        "DSGU",
        "LEM",
        "LiGRU",
        "LightRU",
        "MGU",
        "MinimalRNN",
        "NBR",
        "SGU",
        "TLSTM",
        "TRNN",
        "UGRNN",
    ),
    "RNN": ("IndRNN",),
    None: (
        *("AntisymmetricRNN", "CFN", "FastGRNN", "GatedAntisymmetricRNN", "MiRU1", "MiRU2", "NAS", "OriginalLSTM"),
        *("SCRN", "SGRN", "STAR", "UnICORNN", "coRNN", "tauGRU"),
    ),
}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in FOUND.items() for name in names])
def test_cells_of_torchrecurrent_keep_the_equation_of_their_kind_or_are_refused(kind, name):
    published = pytest.importorskip("torchrecurrent", reason="torchrecurrent, with forty cells, is not installed")
    torch.manual_seed(0)
    model = getattr(published, name)(5, 6).eval()
    for weight in model.parameters():
        nn.init.normal_(weight, std=0.5)
    x = torch.randn(7, 2, 5)
    gates = find_gates(model, x)
    assert {layer.kind for layer in gates.layers} == ({kind} if kind else set())
    if not kind:
        return
    recording = check(model, x, gates)
    for layer in gates.layers:
        values = {role: recording[f"{layer.name}.{role}"] for role in layer.points}
        if kind == "LSTM":
            i, f, g, c = (values[role][:, 1:] for role in "ifgc")
            torch.testing.assert_close(c, f * values["c"][:, :-1] + i * g)
        elif kind != "RNN":
            z, n, h = (values[role][:, 1:] for role in "znh")
            takes = any(note == "z = 1 takes the new state" for note in layer.notes)
            old = values["h"][:, :-1]
            torch.testing.assert_close(h, z * n + (1 - z) * old if takes else z * old + (1 - z) * n)
