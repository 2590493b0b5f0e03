"""Gradients through time against autograd by hand, closed forms, and bounds."""

import copy
import math

import pytest
import torch

from gatescope.measures.gradients_through_time import by_lag, cell_path, gradient_norms, weight_gradients
from gatescope.models import LSTM, RNN, PeepholeConvLSTM, RecurrentLayer
from gatescope.models.rnn import chrono_forget_bias
from gatescope.recordings import intervene, record

STEPS = 20


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def doubled(layer, scale=0.6):
    layer = layer.double()
    for parameter in layer.parameters():
        parameter.data = scale * torch.randn_like(parameter)
    return layer


def maps(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def recorded(layer, x, *names):
    """A recording with its graph, and a score of the last hidden state."""
    with record(layer, *names, gradients=True) as recording:
        h = layer(x)[:, -1]
    return recording, (h * torch.linspace(-1, 2, h[0].numel(), dtype=h.dtype).view(h.shape[1:])).sum()


def unrolled(layer, x, score_of):
    """The gradient of each step's own copy of every weight, by running a copy of the layer for each step."""
    copies = [copy.deepcopy(layer) for _ in range(x.shape[1])]
    state = None
    for t, own in enumerate(copies):
        h, state = own(x[:, t : t + 1], state, return_state=True)
    score = score_of(h[:, -1])
    names = [name for name, _ in layer.named_parameters()]
    found = [torch.autograd.grad(score, list(own.parameters()), retain_graph=True, allow_unused=True) for own in copies]
    return {name: [each[place] for each in found] for place, name in enumerate(names)}


@pytest.mark.parametrize(
    "make",
    [lambda: RNN(3, 4), lambda: LSTM(3, 4), lambda: PeepholeConvLSTM(3, 4, 3, 3, peepholes=True)],
    ids=["rnn", "lstm", "convlstm"],
)
def test_the_gradients_of_all_copies_add_up_to_the_shared_one(make):
    layer = doubled(make())
    x = maps(2, 6, 3, *((4, 5) if isinstance(layer, PeepholeConvLSTM) else ()))
    copies = unrolled(layer, x, torch.sum)
    layer(x)[:, -1].sum().backward()
    for name, parameter in layer.named_parameters():
        total = sum(gradient for gradient in copies[name] if gradient is not None)
        torch.testing.assert_close(total, parameter.grad, rtol=1e-13, atol=1e-13, msg=name)


def test_the_gradient_of_each_copy_of_w_is_delta_times_the_state_before():
    layer, x = doubled(RNN(3, 5)), maps(1, 7, 3)
    weights = torch.linspace(-1, 2, 5, dtype=torch.float64)
    recording, score = recorded(layer, x)
    found = weight_gradients(recording, score)[0]
    expected = torch.stack(unrolled(layer, x, lambda h: (h * weights).sum())["state_to_state.weight"])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-14)
    assert not found[0].any()

    delta, h = recording.gradient("net", score)[0], recording["h"][0]
    norms = torch.linalg.matrix_norm(found)
    torch.testing.assert_close(norms[1:], delta[1:].norm(dim=1) * h[:-1].norm(dim=1), rtol=1e-13, atol=0)
    singular = torch.linalg.svdvals(found[1:])
    assert (singular[:, 1] < 1e-14 * singular[:, 0]).all()
    assert torch.linalg.matrix_norm(found.sum(0)) < norms.sum()


def test_deltas_follow_the_recursion_and_stay_within_their_bound():
    layer, x = doubled(RNN(3, 5)), maps(1, 9, 3)
    recording, score = recorded(layer, x)
    delta, h = recording.gradient("net", score)[0], recording["h"][0]
    W = layer.state_to_state.weight.detach()
    for k in range(1, 9):
        torch.testing.assert_close(delta[k - 1], (1 - h[k - 1] ** 2) * (W.T @ delta[k]), rtol=1e-12, atol=1e-14)
    steepest = (1 - h**2).max()
    bounds = (torch.linalg.matrix_norm(W, 2) * steepest) ** torch.arange(8, -1, -1) * delta[-1].norm()
    assert (delta.norm(dim=1) <= bounds * (1 + 1e-12)).all()


def end_by_start(layer, x, num_hidden, pick):
    """The derivative of what `pick` takes of the last state by what it takes of the first."""

    def end(start):
        zero = torch.zeros(1, num_hidden, dtype=torch.float64)
        state = start[None] if pick is None else (zero, start[None])
        _, last = layer(x, state, return_state=True)
        return (last if pick is None else last[pick])[0]

    return torch.autograd.functional.jacobian(end, 0.1 * maps(num_hidden))


@pytest.mark.parametrize("radius", [0.5, 0.9, 1.0, 1.3])
def test_a_linear_rnn_hands_on_the_radius_to_the_power_of_the_steps(radius):
    layer = RNN(2, 6, activation="identity").double()
    torch.nn.init.orthogonal_(layer.state_to_state.weight, gain=radius)
    jacobian = end_by_start(layer, maps(1, STEPS, 2), 6, None)
    assert torch.linalg.matrix_norm(jacobian, 2).item() == pytest.approx(radius**STEPS, rel=1e-12)


@pytest.mark.parametrize(("forget_bias", "known"), [(0.0, 9.54e-7), (1.0, 1.90e-3), (3.0, 0.378)])
def test_an_lstm_without_weights_hands_on_its_forget_gate_to_the_power_of_the_steps(forget_bias, known):
    layer = LSTM(2, 3, peepholes=False, forget_bias=forget_bias).double()
    for name, parameter in layer.named_parameters():
        if "weight" in name:
            parameter.data.zero_()
    jacobian = end_by_start(layer, maps(1, STEPS, 2), 3, 1)
    expected = 1 / (1 + math.exp(-forget_bias)) ** STEPS
    torch.testing.assert_close(jacobian, expected * torch.eye(3, dtype=torch.float64), rtol=1e-12, atol=0)
    assert expected == pytest.approx(known, rel=2e-3)


@pytest.mark.parametrize("longest", [2, 10, 1000])
def test_the_chrono_bias_keeps_a_bit_less_than_one_part_in_e(longest):
    f = torch.sigmoid(torch.tensor(chrono_forget_bias(longest), dtype=torch.float64)).item()
    assert f == pytest.approx(1 - 1 / longest, rel=1e-12)
    assert f**longest == pytest.approx(math.exp(-1), abs=0.6 / longest)
    with pytest.raises(ValueError, match="2 steps"):
        chrono_forget_bias(1)


PATHS = {
    "lstm": lambda: LSTM(3, 4),
    "lstm without peepholes": lambda: LSTM(3, 4, peepholes=False),
    "convlstm": lambda: PeepholeConvLSTM(3, 4, 3, 3, peepholes=True),
}


@pytest.mark.parametrize("make", PATHS.values(), ids=PATHS)
def test_the_cell_path_is_what_autograd_finds_with_hidden_states_held_fixed(make):
    layer = doubled(make())
    x = maps(2, 5, 3, *((3, 2) if isinstance(layer, PeepholeConvLSTM) else ()))
    with record(layer, "c", gradients=True) as recording, intervene(layer, {"h": torch.Tensor.detach}):
        _, (_, last) = layer(x, return_state=True)
    # Each unit's last value depends on its own past alone, so that one sum gives the derivative of each.
    found = recording.gradient("c", last.sum())
    factors = cell_path(layer, x)
    expected = torch.stack([factors[:, t:].prod(1) for t in range(1, 6)], 1)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


def test_with_peepholes_the_cell_path_is_not_the_forget_gate():
    layer, x = doubled(LSTM(3, 4)), maps(1, 5, 3)
    with record(layer, "f") as recording:
        layer(x)
    assert (cell_path(layer, x) - recording["f"]).abs().max() > 1e-2


def test_gradient_norms_are_of_both_states_and_every_later_step():
    layer, x = doubled(LSTM(3, 4)), maps(3, 6, 3)
    recording, score = recorded(layer, x)
    norms = gradient_norms(recording, score, "c", "h")
    weights = torch.linspace(-1, 2, 4, dtype=torch.float64)
    for t in range(6):
        _, (h, c) = layer(x[:, : t + 1], return_state=True)
        c = c.detach().requires_grad_()
        # The step's own c acts through its h too.
        with record(layer, "o") as gates:
            layer(x)
        own_h = gates["o"][:, t] * c.tanh()
        end = own_h if t == 5 else layer(x[:, t + 1 :], (own_h, c))[:, -1]
        by_c, by_h = torch.autograd.grad((end * weights).sum(), [c, own_h])
        by_c = by_c + peephole_share(layer, by_h, c, gates["o"][:, t])
        expected = (by_c.square().sum(1) + by_h.square().sum(1)).sqrt()
        torch.testing.assert_close(norms[:, t], expected, rtol=1e-10, atol=1e-14)
        torch.testing.assert_close(own_h.detach(), h.detach(), rtol=1e-12, atol=1e-14)


def peephole_share(layer, by_h, c, o):
    """What c acts upon through its own step's output gate, which sees it by a peephole."""
    return (by_h * c.tanh() * o * (1 - o) * layer.peepholes[2]).detach()


def test_norms_of_maps_are_over_channels_and_positions():
    layer = RecurrentLayer("convlstm", 3, 4)
    recording, score = recorded(layer, torch.randn(2, 3, 3, 5, 4), "c", "h")
    norms = gradient_norms(recording, score, "h")
    assert norms.shape == (2, 3)
    torch.testing.assert_close(norms, recording.gradient("h", score).flatten(2).norm(dim=2))


def test_by_lag_counts_from_the_last_step():
    found = by_lag(torch.tensor([[1.0, 2.0, 4.0], [3.0, 0.0, 0.0]]))
    torch.testing.assert_close(found[0], torch.tensor([1.0, 0.5, 0.25]))
    assert found[1].isnan().all()


def test_one_step_has_nothing_before_it():
    layer, x = doubled(RNN(3, 5)), maps(1, 1, 3)
    recording, score = recorded(layer, x)
    assert weight_gradients(recording, score).shape == (1, 1, 5, 5)
    assert not weight_gradients(recording, score).any()
    assert by_lag(gradient_norms(recording, score, "h")).tolist() == [[1.0]]
