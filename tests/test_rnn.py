"""RNN, LSTM and PeepholeConvLSTM against explicit loops, torch's own, each other, and at their edges."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from gatescope.models import LSTM, RNN, PeepholeConvLSTM
from gatescope.recordings import hook_points, intervene, record
from slow_lstm import slow_convlstm, slow_lstm, slow_rnn

EXACT = {"rtol": 0, "atol": 1e-12}


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def randomised(layer):
    """The layer in float64, every weight, bias and peephole random."""
    layer = layer.double()
    for parameter in layer.parameters():
        parameter.data = torch.randn_like(parameter) * 0.6
    return layer


def random_maps(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def check_against(expected, layer, x, state):
    """Every recorded quantity, the output and the last state of one sequence; `expected` as a slow twin returns it."""
    batched = tuple(part[None] for part in state) if isinstance(state, tuple) else state[None]
    with torch.no_grad(), record(layer) as recording:
        hidden, last = layer(x[None], batched, return_state=True)
    assert set(recording) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(recording[name][0], values, rtol=1e-10, atol=1e-12, err_msg=name)
    np.testing.assert_allclose(hidden[0], expected["h"], rtol=1e-10, atol=1e-12)
    for name, part in zip("hc", last if isinstance(last, tuple) else (last,), strict=False):
        np.testing.assert_allclose(part[0], expected[name][-1], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("activation", ["tanh", "identity"])
@pytest.mark.parametrize("num_steps", [1, 4])
def test_an_rnn_is_its_equations(num_steps, activation):
    layer = randomised(RNN(3, 5, activation=activation))
    x, h = random_maps(num_steps, 3), random_maps(5)
    slow = slow_rnn(layer.state_dict(), x, h.numpy(), {"tanh": math.tanh, "identity": float}[activation])
    check_against(slow, layer, x, h)


@pytest.mark.parametrize("peepholes", [True, False])
@pytest.mark.parametrize(("num_steps", "num_in"), [(1, 3), (4, 3), (3, 0)])
def test_an_lstm_is_its_equations(num_steps, num_in, peepholes):
    layer = randomised(LSTM(num_in, 5, peepholes=peepholes))
    x, h, c = random_maps(num_steps, num_in), random_maps(5), random_maps(5)
    check_against(slow_lstm(layer.state_dict(), x, h.numpy(), c.numpy()), layer, x, (h, c))


@pytest.mark.parametrize("circular", [False, True])
@pytest.mark.parametrize("peepholes", [False, True])
@pytest.mark.parametrize(("kernels", "num_in"), [((3, 3), 2), ((5, 1), 2), ((1, 3), 0)])
def test_a_convlstm_is_its_equations(kernels, num_in, peepholes, circular):
    height, width = 4, 3
    layer = randomised(PeepholeConvLSTM(num_in, 3, *kernels, peepholes=peepholes, circular=circular))
    x, h, c = random_maps(2, num_in, height, width), random_maps(3, height, width), random_maps(3, height, width)
    check_against(slow_convlstm(layer.state_dict(), x, h.numpy(), c.numpy(), circular), layer, x, (h, c))


def test_without_peepholes_an_lstm_is_torchs():
    theirs = nn.LSTM(4, 6, batch_first=True, dtype=torch.float64)
    layer = randomised(LSTM(4, 6, peepholes=False))
    with torch.no_grad():
        theirs.weight_ih_l0.copy_(layer.input_to_state.weight)
        theirs.weight_hh_l0.copy_(layer.state_to_state.weight)
        theirs.bias_ih_l0.copy_(layer.input_to_state.bias)
        theirs.bias_hh_l0.zero_()
    x, h, c = random_maps(3, 9, 4), random_maps(3, 6), random_maps(3, 6)
    expected, (last_h, last_c) = theirs(x, (h[None], c[None]))
    found, (own_h, own_c) = layer(x, (h, c), return_state=True)
    torch.testing.assert_close(found, expected, **EXACT)
    torch.testing.assert_close(own_h, last_h[0], **EXACT)
    torch.testing.assert_close(own_c, last_c[0], **EXACT)


def test_an_rnn_is_torchs():
    theirs = nn.RNN(4, 6, batch_first=True, dtype=torch.float64)
    layer = randomised(RNN(4, 6))
    with torch.no_grad():
        theirs.weight_ih_l0.copy_(layer.input_to_state.weight)
        theirs.weight_hh_l0.copy_(layer.state_to_state.weight)
        theirs.bias_ih_l0.copy_(layer.input_to_state.bias)
        theirs.bias_hh_l0.zero_()
    x = random_maps(3, 9, 4)
    torch.testing.assert_close(layer(x), theirs(x)[0], **EXACT)


@pytest.mark.parametrize(("input_kernel", "state_kernel"), [(1, 1), (3, 5), (5, 3)])
def test_on_one_position_a_convlstm_is_an_lstm_of_the_centre_taps(input_kernel, state_kernel):
    layer = randomised(PeepholeConvLSTM(3, 4, input_kernel, state_kernel, peepholes=True))
    vectors = LSTM(3, 4).double()
    with torch.no_grad():
        for part in ("input_to_state", "state_to_state"):
            kernel = getattr(layer, part).weight
            centre = kernel.shape[2] // 2
            getattr(vectors, part).weight.copy_(kernel[:, :, centre, centre])
        vectors.input_to_state.bias.copy_(layer.input_to_state.bias)
        vectors.peepholes.copy_(layer.peepholes[:, :, 0, 0])
    x, h, c = random_maps(2, 5, 3), random_maps(2, 4), random_maps(2, 4)
    expected, (last_h, last_c) = vectors(x, (h, c), return_state=True)
    found, (own_h, own_c) = layer(x[..., None, None], (h[..., None, None], c[..., None, None]), return_state=True)
    torch.testing.assert_close(found[..., 0, 0], expected, **EXACT)
    torch.testing.assert_close(own_h[..., 0, 0], last_h, **EXACT)
    torch.testing.assert_close(own_c[..., 0, 0], last_c, **EXACT)


def shift_error(layer, x, shifts=(2, 1)):
    """How far a layer's answer to a shifted clip is from its shifted answer."""
    with torch.no_grad():
        return (layer(x.roll(shifts, (-2, -1))) - layer(x).roll(shifts, (-2, -1))).abs().max().item()


@pytest.mark.parametrize("peepholes", [False, True])
def test_a_circular_convlstm_follows_a_shift(peepholes):
    layer = randomised(PeepholeConvLSTM(2, 3, 3, 5, peepholes=peepholes, circular=True))
    # Not 0: a convolution sums in another order at another place.
    assert shift_error(layer, random_maps(2, 4, 2, 6, 5)) < 1e-14


def test_zeros_around_the_map_break_the_shift():
    layer = randomised(PeepholeConvLSTM(2, 3, 3, 3))
    assert shift_error(layer, random_maps(1, 3, 2, 6, 5)) > 1e-2


class OnPixels(nn.Module):
    """An LSTM with a unit for every pixel, so that its answer is a map too."""

    def __init__(self, height, width):
        super().__init__()
        self.lstm = randomised(LSTM(height * width, height * width))

    def forward(self, x):
        return self.lstm(x.flatten(2)).unflatten(2, x.shape[2:])


def test_an_lstm_of_pixels_does_not_follow_a_shift():
    assert shift_error(OnPixels(6, 5), random_maps(1, 3, 1, 6, 5)) > 1e-2


def test_an_lstm_does_not_know_the_order_of_its_inputs():
    layer, permuted = randomised(LSTM(7, 4)), LSTM(7, 4).double()
    order = torch.randperm(7)
    permuted.load_state_dict(layer.state_dict())
    with torch.no_grad():
        permuted.input_to_state.weight.copy_(layer.input_to_state.weight[:, order])
    x = random_maps(2, 5, 7)
    torch.testing.assert_close(permuted(x[..., order]), layer(x), **EXACT)
    assert (layer(x[..., order]) - layer(x)).abs().max() > 1e-2


LAYERS = {
    "rnn": lambda: RNN(3, 4),
    "lstm": lambda: LSTM(3, 4),
    "lstm without peepholes": lambda: LSTM(3, 4, peepholes=False),
    "convlstm": lambda: PeepholeConvLSTM(3, 4, 3, 5),
    "convlstm with peepholes": lambda: PeepholeConvLSTM(3, 4, 5, 3, peepholes=True),
    "circular convlstm with peepholes": lambda: PeepholeConvLSTM(3, 4, 3, 3, peepholes=True, circular=True),
}


def sized(layer, batch, time):
    space = (5, 6) if isinstance(layer, PeepholeConvLSTM) else ()
    return random_maps(batch, time, 3, *space)


@pytest.fixture(params=LAYERS.values(), ids=LAYERS)
def layer(request):
    return randomised(request.param())


def test_a_sequence_in_two_pieces_gives_what_the_whole_gives(layer):
    x = sized(layer, 2, 5)
    whole, end = layer(x, return_state=True)
    first, between = layer(x[:, :2], return_state=True)
    second, end_in_pieces = layer(x[:, 2:], between, return_state=True)
    torch.testing.assert_close(torch.cat([first, second], 1), whole, **EXACT)
    torch.testing.assert_close(end_in_pieces, end, **EXACT)


def test_one_sequence_does_not_change_with_the_others_of_its_batch(layer):
    x = sized(layer, 3, 4)
    torch.testing.assert_close(layer(x[1:2]), layer(x)[1:2], **EXACT)


def test_the_past_does_not_depend_on_the_future(layer):
    x = sized(layer, 1, 5)
    changed = x.clone()
    changed[:, 3:] += 1
    assert torch.equal(layer(changed)[:, :3], layer(x)[:, :3])
    assert not torch.equal(layer(changed)[:, 3], layer(x)[:, 3])


def test_recording_changes_nothing_and_an_intervention_is_gone_on_with(layer):
    x = sized(layer, 2, 3)
    expected = layer(x)
    with record(layer) as recording:
        assert torch.equal(layer(x), expected)
    assert set(recording) == set(hook_points(layer))
    torch.testing.assert_close(recording["h"], expected.detach(), rtol=0, atol=0)
    with intervene(layer, {"h": torch.zeros_like}):
        assert not layer(x).any()
    assert torch.equal(layer(x), expected)


def test_held_gates_keep_the_cell_state():
    layer = randomised(LSTM(3, 4))
    x, h, c = random_maps(2, 6, 3), random_maps(2, 4), random_maps(2, 4)
    with intervene(layer, {"f": torch.ones_like, "i": torch.zeros_like}):
        _, (_, last) = layer(x, (h, c), return_state=True)
    assert torch.equal(last, c)


def test_what_does_not_fit_is_said(layer):
    x = sized(layer, 2, 3)
    with pytest.raises(ValueError, match="x must be"):
        layer(x[:, :0])
    with pytest.raises(ValueError, match="x must be"):
        layer(x[:0])
    with pytest.raises(ValueError, match="x must be"):
        layer(x[:, :, :2])
    _, state = layer(x, return_state=True)
    of_one = tuple(part[:1] for part in state) if isinstance(state, tuple) else state[:1]
    with pytest.raises(ValueError, match="state h must be"):
        layer(x, of_one)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: LSTM(3, 0), ValueError, "at least one hidden unit"),
        (lambda: RNN(-1, 3), ValueError, "no negative input"),
        (lambda: RNN(3, 3, activation="relu"), LookupError, "tanh, identity"),
        (lambda: PeepholeConvLSTM(3, 4, 2, 3), ValueError, "odd kernels"),
        (lambda: PeepholeConvLSTM(3, 4, 3, -1), ValueError, "odd kernels"),
    ],
)
def test_a_layer_that_cannot_be_is_refused(make, error, words):
    with pytest.raises(error, match=words):
        make()


@pytest.mark.parametrize("make", [LSTM, lambda *sizes, **options: PeepholeConvLSTM(*sizes, 3, 3, **options)])
def test_the_forget_bias_is_set_once_and_alone(make):
    layer = make(3, 4, forget_bias=2.5)
    parts = layer.input_to_state.bias.detach().chunk(4)
    assert parts[1].eq(2.5).all()
    assert not torch.stack([parts[0], *parts[2:]]).any()
    assert [name for name, _ in layer.named_parameters() if "bias" in name] == ["input_to_state.bias"]


def test_weights_start_within_their_bound_and_reach_it():
    for layer in (RNN(8, 16), LSTM(8, 16)):
        for name, parameter in layer.named_parameters():
            if "bias" not in name:
                assert 0.2 < parameter.abs().max() <= 0.25
