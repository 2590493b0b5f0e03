"""unrolled: the outputs, states and gradients of torch's fused layers, and gates that are ordinary points."""

from itertools import product

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence

from gatescope.models import unrolled
from gatescope.recordings import find_gates, intervene, record

KINDS = [(nn.LSTM, {}), (nn.LSTM, {"proj_size": 3}), (nn.GRU, {}), (nn.RNN, {}), (nn.RNN, {"nonlinearity": "relu"})]
BOUND = {torch.float32: 1e-6, torch.float64: 1e-12}


def inputs(dtype, batch_first):
    def some(*shape):
        return torch.randn(shape, dtype=dtype)

    yield "batch", some(4, 6, 5)
    yield "one sequence", some(6, 5)
    if not batch_first:
        yield "one step", some(1, 2, 5)
    yield "packed", pack_sequence([some(length, 5) for length in (6, 4, 1)])
    yield "packed, unsorted", pack_sequence([some(length, 5) for length in (2, 5, 3)], enforce_sorted=False)


def flat(result):
    output, states = result
    output = output.data if isinstance(output, PackedSequence) else output
    return [output, *(states if isinstance(states, tuple) else (states,))]


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize(("kind", "settings"), KINDS)
@pytest.mark.parametrize("dtype", BOUND)
def test_outputs_states_and_gradients_are_the_fused_layers(kind, settings, dtype):
    torch.manual_seed(0)
    for layers, both, first, bias in product((1, 2), (False, True), (False, True), (True, False)):
        layer = kind(5, 7, layers, bidirectional=both, batch_first=first, bias=bias, **settings).to(dtype)
        own = unrolled(layer)
        assert [id(each) for each in own.parameters()] == [id(each) for each in layer.parameters()]
        assert own.state_dict().keys() == layer.state_dict().keys()
        for name, x in inputs(dtype, first):
            expected, found = layer(x), own(x)
            if isinstance(x, PackedSequence):
                for each, other in zip(found[0][1:], expected[0][1:], strict=True):
                    assert each is other or torch.equal(each, other)
            pairs = list(zip(flat(found), flat(expected), strict=True))
            for each, other in pairs:
                assert each.shape == other.shape
                assert (each - other).abs().max() < BOUND[dtype], name
            scores = [sum(pair[side].square().sum() for pair in pairs) for side in (0, 1)]
            gradients = [torch.autograd.grad(score, list(layer.parameters())) for score in scores]
            for each, other in zip(*gradients, strict=True):
                assert (each - other).abs().max() <= BOUND[dtype] * max(1.0, float(other.abs().max())), name


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_states_that_are_given_are_where_it_begins(kind):
    torch.manual_seed(0)
    layer = kind(5, 7, 2, bidirectional=True)
    x, h = torch.randn(3, 2, 5), torch.randn(4, 2, 7)
    given = (h, torch.randn(4, 2, 7)) if kind is nn.LSTM else h
    for each, other in zip(flat(unrolled(layer)(x, given)), flat(layer(x, given)), strict=True):
        torch.testing.assert_close(each, other, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    "cell", [nn.LSTMCell, nn.GRUCell, nn.RNNCell, lambda *sizes: nn.RNNCell(*sizes, nonlinearity="relu")]
)
def test_cells_are_one_step(cell):
    torch.manual_seed(0)
    fused = cell(5, 7)
    own = unrolled(fused)
    for x in (torch.randn(3, 5), torch.randn(5)):
        state = None
        other = None
        for _ in range(3):
            state, other = fused(x, state), own(x, other)
            pairs = zip(state, other, strict=True) if isinstance(state, tuple) else [(state, other)]
            for each, its in pairs:
                torch.testing.assert_close(each, its, atol=1e-6, rtol=0)


class Reader(nn.Module):
    def __init__(self):
        super().__init__()
        self.cnn, self.lstm, self.head = nn.Linear(6, 5), nn.LSTM(5, 7, 2, batch_first=True), nn.Linear(7, 3)

    def forward(self, x):
        return self.head(self.lstm(self.cnn(x))[0][:, -1])


def test_gates_within_a_model_are_recorded_and_replaced():
    torch.manual_seed(0)
    model, x = Reader().eval(), torch.randn(2, 4, 6)
    given = model(x)
    model.lstm = unrolled(model.lstm)
    with torch.no_grad(), record(model, "lstm.layer*.*", "cnn@1") as recording:
        torch.testing.assert_close(model(x), given, atol=1e-6, rtol=0)
    assert {name.rpartition(".")[2] for name in recording} == {*"ifogch", "cnn@1"}
    i, f, g, c = (recording[f"lstm.layer1.{name}"] for name in "ifgc")
    torch.testing.assert_close(c[:, 2], f[:, 2] * c[:, 1] + i[:, 2] * g[:, 2])
    with (
        torch.no_grad(),
        intervene(model, {"lstm.layer1.f": torch.zeros_like}),
        record(model, "lstm.layer1.*") as after,
    ):
        model(x)
    torch.testing.assert_close(after["lstm.layer1.c"], after["lstm.layer1.i"] * after["lstm.layer1.g"])
    assert set(find_gates(model, x)) >= {f"layer{n}.{name}" for n in (1, 2) for name in "ifogch"}


def test_the_backward_direction_stands_in_the_order_of_the_frames():
    torch.manual_seed(0)
    layer = nn.GRU(5, 7, bidirectional=True, batch_first=True)
    own, x = unrolled(layer), torch.randn(2, 4, 5)
    with torch.no_grad(), record(own, "*.h") as recording:
        output, _ = own(x)
    torch.testing.assert_close(recording["layer1.h"], output[..., :7])
    torch.testing.assert_close(recording["layer1_reverse.h"], output[..., 7:])
    with torch.no_grad(), record(own, "*.z") as gates:
        own(x)
    with torch.no_grad(), intervene(own, {"layer1_reverse.z": gates["layer1_reverse.z"]}):
        torch.testing.assert_close(own(x)[0], output)


def test_training_moves_both():
    torch.manual_seed(0)
    layer = nn.LSTM(5, 7)
    own = unrolled(layer)
    before = layer.weight_hh_l0.detach().clone()
    optimizer = torch.optim.SGD(own.parameters(), 0.1)
    own(torch.randn(3, 2, 5))[0].square().sum().backward()
    optimizer.step()
    assert not torch.equal(layer.weight_hh_l0, before)


def test_another_module_is_refused():
    with pytest.raises(TypeError, match="got Linear, which has none"):
        unrolled(nn.Linear(2, 2))


class Both(nn.Module):
    """A layer that stands at two places, and a cell in a list; with a buffer, and a weight used twice."""

    def __init__(self):
        super().__init__()
        self.first = self.again = nn.GRU(4, 4, batch_first=True)
        self.cells = nn.ModuleList([nn.LSTMCell(4, 3)])
        self.norm, self.head = nn.BatchNorm1d(3), nn.Linear(3, 2)

    def forward(self, x):
        x = self.again(self.first(x)[0])[0]
        state = None
        for t in range(x.shape[1]):
            state = self.cells[0](x[:, t], state)
        return self.head(self.norm(state[0]))


def test_of_a_model_all_layers_are_unrolled_in_a_copy_with_its_parameters():
    torch.manual_seed(0)
    model, x = Both().eval(), torch.randn(2, 5, 4)
    own = unrolled(model)
    assert isinstance(model.first, nn.GRU) and own.first is own.again and type(own) is Both
    assert not own.training and own.norm.running_mean is model.norm.running_mean
    assert {id(p) for p in own.parameters()} == {id(p) for p in model.parameters()}
    torch.testing.assert_close(own(x), model(x), atol=1e-6, rtol=0)
    for each in (model, own):
        each(x).sum().backward()
    gates = find_gates(own, x)
    assert {"layer1.r", "layer2.i", "layer2.o"} <= set(gates)
    with torch.no_grad():
        model.head.bias += 1
    torch.testing.assert_close(own(x), model(x), atol=1e-6, rtol=0)
