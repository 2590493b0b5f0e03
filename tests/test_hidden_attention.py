"""What steps have left in the cell state against loops, the recorded state, autograd and ablation."""

import numpy as np
import pytest
import torch

from gatescope.measures.hidden_attention import hidden_attention, left_by_steps, lost_without_steps
from gatescope.models import STUDY_CELLS, RecurrentLayer
from gatescope.recordings import intervene, record

LINEAR = [name for name, cell in STUDY_CELLS.items() if cell.is_linear]


def recorded(cell, num_steps=5):
    torch.manual_seed(0)
    layer, x = RecurrentLayer(cell, 3, 4).double(), torch.randn(2, num_steps, 3, 5, 6, dtype=torch.float64)
    with torch.no_grad(), record(layer, "f", "i", "g", "c") as recording:
        layer(x)
    return layer, x, dict(recording)


def slow(f, i, g, clip, channel, row, column, last):
    """What every step has left in one value of one step's cell state, by the definition."""
    at = [values[clip, :, channel] if values.ndim == 3 else values[clip, :, channel, row, column] for values in (f, i)]
    left = []
    for step in range(last + 1):
        value = float(at[1][step]) * float(g[clip, step, channel, row, column])
        for later in range(step + 1, last + 1):
            value *= float(at[0][later])
        left.append(value)
    return left


@pytest.mark.parametrize("cell", ["a", "convlstm", "a_of_x", "min_conv", "gru"])
def test_what_steps_left_is_the_product_of_gates_and_adds_up_to_the_state(cell):
    _, _, q = recorded(cell)
    left = left_by_steps(q["f"], q["i"], q["g"])
    torch.testing.assert_close(left.sum(1), q["c"][:, -1])
    for where in ((0, 0, 0, 0), (1, 3, 4, 5), (1, 2, 3, 0)):
        clip, channel, row, column = where
        expected = slow(q["f"], q["i"], q["g"], *where, 4)
        np.testing.assert_allclose(left[clip, :, channel, row, column], expected, rtol=1e-12)


@pytest.mark.parametrize("cell", LINEAR)
def test_in_a_linear_cell_it_is_the_effect_of_the_step(cell):
    layer, x, q = recorded(cell)
    left = left_by_steps(q["f"], q["i"], q["g"])
    torch.testing.assert_close(lost_without_steps(layer, x), left)
    with record(layer, "g", gradients=True) as recording:
        _, (_, last) = layer(x, None, True)
        # Each channel and position is by itself, so that the gradient of the sum is that of each.
        slope = recording.gradient("g", last.sum())
    torch.testing.assert_close(slope * q["g"], left)


@pytest.mark.parametrize("cell", ["a", "convlstm", "gru"])
def test_in_other_cells_a_step_does_more_than_its_gates_say(cell):
    layer, x, q = recorded(cell)
    lost, without = lost_without_steps(layer, x), q["g"].clone()
    without[:, 0] = 0
    with torch.no_grad(), intervene(layer, {"g": without}), record(layer, "c") as changed:
        layer(x)
    torch.testing.assert_close(lost[:, 0], q["c"][:, -1] - changed["c"][:, -1])
    assert (lost - left_by_steps(q["f"], q["i"], q["g"])).abs()[:, 0].max() > 1e-4
    # After the last step nothing can return.
    torch.testing.assert_close(
        lost[:, -1], (q["i"] if q["i"].ndim == 5 else q["i"][..., None, None])[:, -1] * q["g"][:, -1]
    )


def test_shares_are_those_of_every_step_and_sum_to_one():
    _, _, q = recorded("min_conv", 3)
    found = hidden_attention(q["f"], q["i"], q["g"])
    torch.testing.assert_close(found.sum(2), torch.ones(2, 3, dtype=torch.float64))
    for clip in range(2):
        for last in range(3):
            shares = []
            for channel, row, column in np.ndindex(4, 5, 6):
                left = np.abs(slow(q["f"], q["i"], q["g"], clip, channel, row, column, last))
                shares.append(np.concatenate([left / left.sum(), np.zeros(2 - last)]))
            np.testing.assert_allclose(found[clip, last], np.mean(shares, axis=0), rtol=1e-12)


def test_a_closed_forget_gate_leaves_nothing_of_the_past():
    g = torch.ones(1, 3, 2, 2, 2)
    gates = torch.ones(1, 3, 2)
    closed = gates.clone()
    closed[:, 2] = 0
    assert hidden_attention(closed, gates, g)[0].tolist() == [[1, 0, 0], [0.5, 0.5, 0], [0, 0, 1]]
    assert hidden_attention(gates, gates * 0, g).isnan().tril().any()
