"""find_gates: every cell style by the flow of data, equal to what the cells keep themselves, and refusals."""

import pytest
import torch
from torch import nn

import foreign_cells as cells
from gatescope.models import GestureNetwork, NetworkConfig
from gatescope.recordings import find_gates, intervene, record
from gatescope.recordings.replacements import space_mean

LSTM = ("i", "f", "o", "g", "c", "h")
STYLES = {
    "fused": (lambda: cells.Stack(cells.FusedLSTM), "LSTM", LSTM),
    "peephole": (lambda: cells.Stack(cells.PeepholeLSTM), "LSTM", LSTM),
    "PredRNN": (cells.PredRNN, "LSTM", LSTM),
    "stacked states": (lambda: cells.Together("stacked"), "LSTM", LSTM),
    "assigned states": (lambda: cells.Together("assigned"), "LSTM", LSTM),
    "concatenated states": (lambda: cells.Together("concatenated"), "LSTM", LSTM),
    "hard sigmoid": (lambda: cells.Stack(cells.KerasLSTM), "LSTM", LSTM),
    "coupled": (lambda: cells.Stack(cells.CoupledLSTM), "coupled LSTM", LSTM),
    "attentive": (lambda: cells.Stack(cells.AttentiveLSTM), "LSTM", LSTM),
    "minimal LSTM": (lambda: cells.Stack(cells.MinimalLSTM), "LSTM", ("i", "f", "g", "c")),
    "GRU": (lambda: cells.Stack(cells.TorchGRU), "GRU", ("r", "z", "n", "h")),
    "minimal gated": (lambda: cells.Stack(cells.MinimalGated), "minimal gated", ("z", "n", "h")),
    "minimal GRU": (lambda: cells.Stack(cells.MinimalGRU), "minimal gated", ("z", "n", "h")),
    "RNN": (lambda: cells.Stack(cells.PlainRNN), "RNN", ("h",)),
}


def made(model):
    torch.manual_seed(0)
    return model().eval()


def clip(steps=4, seed=1):
    return torch.randn((2, steps, 3, 8, 8), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("style", STYLES)
def test_gates_of_every_style_are_what_the_cell_keeps(style):
    model, kind, roles = STYLES[style]
    model = made(model)
    gates = find_gates(model, clip())
    assert [layer.kind for layer in gates.layers] == [kind, kind]
    assert set(gates) == {f"layer{n}.{role}" for n in (1, 2) for role in roles}
    # Another clip, longer than the one they were found in.
    longer = clip(7, seed=2)
    for cell in model.cells:
        cell.kept.clear()
    with torch.no_grad(), record(model, gates) as recording:
        model(longer)
    for number, cell in enumerate(model.cells, 1):
        for role in roles:
            assert torch.equal(recording[f"layer{number}.{role}"], torch.stack(cell.kept[role], 1)), (number, role)


def test_a_loop_in_the_forward_pass_itself():
    model = made(cells.LoopGRU)
    gates = find_gates(model, clip())
    assert gates.layers[0].kind == "GRU" and gates.layers[0].notes == ("z = 1 takes the new state",)
    model.kept.clear()
    with torch.no_grad(), record(model, gates) as recording:
        model(clip(6))
    for role in "rznh":
        assert torch.equal(recording[f"layer1.{role}"], torch.stack(model.kept[role], 1))


def test_one_cell_for_two_layers_is_two_layers():
    model = made(cells.Twice)
    gates = find_gates(model, clip())
    assert [layer.name for layer in gates.layers] == ["layer1", "layer2"]
    model.cell.kept.clear()
    with torch.no_grad(), record(model, gates) as recording:
        model(clip(5))
    for start in (0, 1):
        for role in LSTM:
            expected = torch.stack(model.cell.kept[role][start::2], 1)
            assert torch.equal(recording[f"layer{start + 1}.{role}"], expected)


class InTurn(nn.Module):
    """A state that two cells change at every step, one after the other, as in RAFT's update block."""

    def __init__(self):
        super().__init__()
        self.rows, self.columns = cells.TorchGRU(3, 4), cells.TorchGRU(3, 4)

    def forward(self, x):
        h = torch.zeros(len(x), 4, *x.shape[-2:])
        for t in range(x.shape[1]):
            h = self.columns(x[:, t], self.rows(x[:, t], h))
        return h.mean((2, 3))


def test_a_state_that_two_cells_change_in_turn():
    model = made(InTurn)
    gates = find_gates(model, clip())
    assert [(layer.kind, layer.module) for layer in gates.layers] == [("GRU", "rows"), ("GRU", "columns")]
    for cell in (model.rows, model.columns):
        cell.kept.clear()
    with torch.no_grad(), record(model, gates) as recording:
        model(clip(6))
    for layer, cell in (("layer1", model.rows), ("layer2", model.columns)):
        for role in "rznh":
            assert torch.equal(recording[f"{layer}.{role}"], torch.stack(cell.kept[role], 1)), (layer, role)


def test_how_sure_it_is():
    assert all(layer.sure for layer in find_gates(made(STYLES["fused"][0]), clip()).layers)
    found = find_gates(made(STYLES["minimal LSTM"][0]), clip())
    assert not any(layer.sure for layer in found.layers)
    assert "no output gate was found: the cell state is what the layer gives" in found.layers[0].notes


def test_what_fits_no_role_keeps_its_name():
    found = find_gates(made(cells.PredRNN), clip())
    # The gates of the memory between the layers.
    assert found.unplaced == tuple(f"cells.{n}:sigmoid.2, cells.{n}:sigmoid.3: no role was found" for n in (0, 1))


def test_a_cell_that_hides_its_gates_is_refused_and_not_guessed():
    found = find_gates(made(lambda: cells.Stack(cells.HiddenInPlace)), clip())
    assert not found and not found.layers
    assert found.unplaced[0] == "cells.0:sigmoid.0: no role was found"
    model = made(lambda: nn.LSTM(4, 5, batch_first=True))
    assert find_gates(model, torch.randn(2, 4, 4)).unplaced == (
        "the model hides its gates in one kernel (lstm): take `unrolled`",
    )


class Residual(nn.Module):
    """Not recurrent: two convolutions with a sum, a gate on channels, one block twice."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.excite = cells.conv(3, 3), cells.conv(3, 3), nn.Linear(3, 3)

    def forward(self, x):
        for _ in range(2):
            inner = torch.relu(self.first(x))
            inner = torch.relu(self.second(inner) + x)
            x = x + torch.sigmoid(self.excite(inner.mean((2, 3))))[..., None, None] * inner
        return x


def test_a_feedforward_network_has_no_gates():
    found = find_gates(made(Residual), torch.randn(2, 3, 8, 8))
    assert not found.layers


class WithoutFirst(nn.Module):
    """The first step has no old state, and is computed in another way."""

    def __init__(self):
        super().__init__()
        self.conv = cells.conv(3, 16)

    def forward(self, x):
        c = None
        for t in range(x.shape[1]):
            i, f, o, g = self.conv(x[:, t]).chunk(4, 1)
            new = i.sigmoid() * g.tanh()
            c = new if c is None else f.sigmoid() * c + new
            h = o.sigmoid() * c.tanh()
        return h


def test_a_first_step_of_another_kind_is_told():
    (layer,) = find_gates(made(WithoutFirst), clip()).layers
    assert not layer.sure
    assert "the first time step is computed in another way: the names begin at the second" in layer.notes


def test_one_step_shows_no_recurrence():
    assert not find_gates(made(STYLES["fused"][0]), clip(1)).layers


def test_the_model_stays_as_it_is():
    model = made(lambda: nn.Sequential(nn.BatchNorm3d(5), cells.Stack(cells.FusedLSTM, 1))).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    rng = torch.get_rng_state()
    find_gates(model, clip(5))
    assert model.training and model[0].training and torch.equal(rng, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert sum(len(each._forward_hooks) + len(each._forward_pre_hooks) for each in model.modules()) == 0


def test_names_serve_interventions_too():
    model, x = made(STYLES["fused"][0]), clip()
    gates = find_gates(model, x)
    with torch.no_grad():
        given = model(x)
        with intervene(model, {"layer*.f": space_mean}, gates), record(model, "layer1.f", gates) as recording:
            after = model(x)
    flat = recording["layer1.f"]
    torch.testing.assert_close(flat, flat.mean((-2, -1), keepdim=True).expand_as(flat))
    assert not torch.equal(given, after)


def test_it_shows_as_a_table():
    gates = find_gates(made(STYLES["fused"][0]), clip())
    assert "layer2.f  forget gate: cells.1:sigmoid.1#:" in repr(gates)
    assert "| layer1.c | cell state | `cells.0:add.0#:` | LSTM | sure |" in gates._repr_markdown_()
    assert gates["layer1.f"] == "cells.0:sigmoid.1#:" and len(gates) == 12


@pytest.mark.parametrize("cell", ["convlstm", "a"])
def test_our_own_networks_keep_their_hook_points(cell):
    network = made(lambda: GestureNetwork(NetworkConfig.small(cell, num_classes=3)))
    found = find_gates(network, torch.randn(1, 3, 16, network.config.size, network.config.size))
    assert found["layer1.f"] == "layer1.f" and found["layer2.h"] == "layer2.h"
    x = torch.randn(1, 3, 16, network.config.size, network.config.size)
    with torch.no_grad(), record(network, found) as recording:
        network(x)
    assert recording["layer1.f"].shape[1] == 8


def test_conductance_of_found_gates_adds_up_and_grad_cam_has_a_map_for_each_step():
    from gatescope.recordings.attribution import conductance, grad_cam

    model, x = made(STYLES["fused"][0]), clip()
    gates, classes = find_gates(model, x), torch.tensor([0, 2])
    found = conductance(model, x, torch.zeros_like(x), classes, ["layer1.h"], 64, gates)
    with torch.no_grad():
        rise = (model(x) - model(torch.zeros_like(x))).gather(1, classes[:, None])[:, 0]
    torch.testing.assert_close(found["layer1.h"].flatten(1).sum(1), rise, rtol=2e-3, atol=1e-5)
    maps = grad_cam(model, x, classes, "layer2.h", gates)
    assert maps.shape == (2, 4, 8, 8) and maps.min() >= 0
    # The last step's gradient is of the head alone: its weight times the mean over positions and steps.
    with record(model, "layer2.h", gates, gradients=True) as recording:
        score = model(x).gather(1, classes[:, None]).sum()
    gradient = recording.gradient("layer2.h", score)[:, -1]
    expected = model.head.weight[classes] / (4 * 64)
    torch.testing.assert_close(gradient.mean((2, 3)), expected, rtol=1e-4, atol=1e-8)


class LayerByLayer(nn.Module):
    """One cell for two layers, one layer after the other."""

    def __init__(self):
        super().__init__()
        self.cell = cells.FusedLSTM(3, 3)

    def forward(self, x):
        for _ in range(2):
            zeros = torch.zeros_like(x[:, 0])
            state, outputs = (zeros, zeros), []
            for t in range(x.shape[1]):
                state = self.cell(x[:, t], state)
                outputs.append(state[0])
            x = torch.stack(outputs, 1)
        return x.mean((1, 3, 4))


def test_names_that_hold_for_one_length_refuse_another():
    model = made(LayerByLayer)
    gates = find_gates(model, clip(4))
    assert gates["layer1.f"] == "cell:sigmoid.1#:4/8" and gates["layer2.f"] == "cell:sigmoid.1#4:/8"
    model.cell.kept.clear()
    with torch.no_grad(), record(model, gates) as recording:
        model(clip(4))
    assert torch.equal(recording["layer2.f"], torch.stack(model.cell.kept["f"][4:], 1))
    with torch.no_grad(), record(model, gates) as recording:
        model(clip(7))
    with pytest.raises(ValueError, match="is of a pass with 8, and this one had 14: find its gates anew"):
        recording["layer2.f"]


class Excited(cells.Kept):
    """A GRU or LSTM with another gate nearby, of the kind `where` says."""

    states = 1

    def __init__(self, where, inputs, hidden):
        super().__init__()
        self.where, self.states = where, 2 if where in ("output", "input") else 1
        self.conv, self.new = cells.conv(inputs + hidden, 4 * hidden), cells.conv(inputs + hidden, hidden)
        self.excite = nn.Linear(hidden, hidden)

    def forward(self, x, state):
        h, c = state if self.states == 2 else (state, None)
        first, second, third, fourth = self.conv(torch.cat([x, h], 1)).chunk(4, 1)
        one, two, three = torch.sigmoid(first), torch.sigmoid(second), torch.sigmoid(third)
        if self.states == 2:
            g = torch.tanh(fourth)
            extra = torch.sigmoid(self.excite(g.mean((2, 3))))[..., None, None]
            c = two * c + (one * g * extra if self.where == "input" else one * g)
            t = torch.tanh(c)
            h = three * (extra * t if self.where == "output" else t)
            self.keep(i=one, f=two, o=three, c=c, h=h)
            return h, c
        both = self.new(torch.cat([x, one * h], 1))
        extra = torch.sigmoid(self.excite(both.mean((2, 3))))[..., None, None]
        n = torch.tanh(extra * both if self.where == "candidate" else both)
        h = (1 - two) * h + two * n
        if self.where == "after":
            self.after = torch.relu(h) * torch.sigmoid(self.excite(h.mean((2, 3))))[..., None, None]
        self.keep(r=one, z=two, n=n, h=h)
        return h


@pytest.mark.parametrize("where", ["after", "candidate", "output", "input"])
def test_another_gate_nearby_is_not_taken_for_one_of_the_cell(where):
    model = made(lambda: cells.Stack(lambda *sizes: Excited(where, *sizes), 1))
    gates = find_gates(model, clip())
    assert [layer.kind for layer in gates.layers] == ["LSTM" if where in ("output", "input") else "GRU"]
    assert ("layer1.i" in gates) == (where == "output")  # of two gates on one candidate none is said to be it
    model.cells[0].kept.clear()
    with torch.no_grad(), record(model, gates) as recording:
        model(clip(6))
    known = model.cells[0].kept
    named = {name.partition(".")[2] for name in gates} - {"g"}
    assert named >= ({"f", "o", "c", "h"} if where in ("output", "input") else {"r", "z", "n", "h"})
    for role in named:
        assert torch.equal(recording[f"layer1.{role}"], torch.stack(known[role], 1)), role


class Leaky(cells.PlainRNN):
    def __init__(self, how, inputs, hidden):
        super().__init__(inputs, hidden)
        self.how, self.act = how, nn.Tanh() if how == "leaky, by a module" else torch.tanh

    def forward(self, x, h):
        n = self.act(self.of_x(x) + self.of_h(h))
        if self.how.startswith("leaky"):
            return 0.9 * h + 0.1 * n
        return h + n if self.how == "residual" else torch.where(n > 0, n, h)


@pytest.mark.parametrize("how", ["leaky", "leaky, by a module", "residual", "skipping"])
def test_an_activation_that_is_not_the_state_is_not_called_so(how):
    found = find_gates(made(lambda: cells.Stack(lambda *sizes: Leaky(how, *sizes), 1)), clip())
    assert not found.layers


class Normed(cells.Kept):
    """The state is normalised before the next step reads it."""

    states = 2

    def __init__(self, inputs, hidden):
        super().__init__()
        self.conv, self.norm = cells.conv(inputs + hidden, 4 * hidden), nn.LayerNorm([hidden, 8, 8])

    def forward(self, x, state):
        h, c = state
        i, f, o, g = self.conv(torch.cat([x, h], 1)).chunk(4, 1)
        c = self.norm(f.sigmoid() * c + i.sigmoid() * g.tanh())
        return o.sigmoid() * c.tanh(), c


def test_a_state_that_is_read_after_a_norm_is_told():
    (layer,) = find_gates(made(lambda: cells.Stack(Normed, 1)), clip()).layers
    assert not layer.sure and "the next step reads the cell state after a norm; this is before" in layer.notes


class Highway(nn.Module):
    """Feedforward: layers with weights of their own, blended by gates."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 6)
        self.gates, self.news = (nn.ModuleList(nn.Linear(6, 6) for _ in range(4)) for _ in range(2))

    def forward(self, x):
        x = self.first(x)
        for gate, new in zip(self.gates, self.news, strict=True):
            g = torch.sigmoid(gate(x))
            x = g * torch.relu(new(x)) + (1 - g) * x
        return x


class RecurrentHighway(nn.Module):
    """Two blends at every time step, each with its own weights."""

    def __init__(self):
        super().__init__()
        self.gates, self.news = (nn.ModuleList(nn.Linear(6, 6) for _ in range(2)) for _ in range(2))

    def forward(self, x):
        h = torch.zeros(len(x), 6)
        for t in range(x.shape[1]):
            h = h + 0 * x[:, t]
            for gate, new in zip(self.gates, self.news, strict=True):
                g = torch.sigmoid(gate(h + x[:, t]))
                h = g * torch.tanh(new(h)) + (1 - g) * h
        return h


def test_depth_is_not_taken_for_time():
    assert not find_gates(made(Highway), torch.randn(2, 3)).layers
    # Two blends a step are two layers or none, never one of ten steps.
    model, x = made(RecurrentHighway), torch.randn(2, 5, 6)
    found = find_gates(model, x)
    for name in found:
        with torch.no_grad(), record(model, name, found) as recording:
            model(x)
        assert recording[name].shape[1] == 5
