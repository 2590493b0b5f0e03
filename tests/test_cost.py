"""Parameters and multiply-adds against counts by hand, and the benchmarks' measured memory of calls that are known."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.memory import measure_memory
from gatescope.models import CELLS, STUDY_CELLS, GestureNetwork, NetworkConfig, RecurrentLayer
from gatescope.models.cells import Cell
from gatescope.recordings import PUBLISHED_MULTIPLY_ADDS, count_multiply_adds, count_parameters

POSITIONS = 28 * 28


def paper_layer(cell):
    return RecurrentLayer(cell, 256, 256)


@pytest.mark.parametrize(
    ("cell", "count"), [("convlstm", 4_718_592), ("a", 528_896), ("b", 666_880), ("c", 601_344), ("d", 601_344)]
)
def test_parameters_are_those_of_the_paper(cell, count):
    assert count_parameters(paper_layer(cell)) == count


@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_parameters_follow_the_closed_forms_at_other_sizes(kernel_size):
    c_in, c_out, k2 = 7, 4, kernel_size**2
    a = (k2 + 4 * c_out) * (c_in + c_out)
    closed_forms = {
        "convlstm": k2 * (c_in + c_out) * c_out * 4,  # (7)
        "a": a,  # (16)
        "b": a + k2 * (c_in + 2 * c_out) + (c_in + c_out) * c_out,  # (20)
        "c": a + k2 * (c_in + 2 * c_out) + (c_in + c_out) * c_out + c_out**2,  # (24), which has C_in = C_out gates
        "d": a + k2 * (c_in + 2 * c_out) + (c_in + c_out) * c_out + c_out**2,
    }
    pooled_gate = (c_in + c_out) * c_out  # which (c) and (d) have one less of
    for cell, count in closed_forms.items():
        count -= pooled_gate if cell in "cd" else 0
        assert count_parameters(RecurrentLayer(cell, c_in, c_out, kernel_size)) == count


def test_biases_count_only_where_asked():
    module = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5))
    assert count_parameters(module) == 15 + 5
    assert count_parameters(module, biases=True) == 15 + 5 + 5 + 5


def test_a_parameter_used_twice_counts_once():
    module = nn.ModuleList([nn.Linear(3, 5, bias=False)] * 2)
    assert count_parameters(module) == 15


def test_a_step_of_variant_a_costs_a_quarter_of_what_is_printed():
    count = count_multiply_adds(paper_layer("a"), torch.empty(1, 1, 256, 28, 28))
    assert count == 9 * 512 * POSITIONS + 512 * 256 * POSITIONS + 3 * 256 * 512
    assert round(count / 1e6, 1) == 106.8
    assert PUBLISHED_MULTIPLY_ADDS["a"] / count == pytest.approx(3.89, abs=0.01)


@pytest.mark.parametrize("cell", CELLS)
def test_printed_multiply_adds_are_parameters_times_positions(cell):
    assert PUBLISHED_MULTIPLY_ADDS[cell] == pytest.approx(count_parameters(paper_layer(cell)) * POSITIONS, abs=1e6)


def by_hand(cell, kernel_size, c_in, c_out, positions):
    """Multiply-adds of one step of one clip."""
    k2 = kernel_size**2
    dense = k2 * (c_in + c_out) * c_out * positions
    separable = (k2 * (c_in + c_out) + (c_in + c_out) * c_out) * positions
    score = (k2 * c_out + c_out * c_out) * positions
    of_gate = {"conv": dense, "separable": separable, "pooled": (c_in + c_out) * c_out, "attention": separable + score}
    total = sum(of_gate[kind] for kind in cell.gates.values())
    total += dense if cell.candidate == "conv" else separable
    return total + (separable + k2 * c_out * positions if cell.input_attention else 0)


@pytest.mark.slow
@pytest.mark.parametrize("kernel_size", [1, 3, 5])
@pytest.mark.parametrize(
    "cell",
    [
        *CELLS.values(),
        Cell("conv", "pooled", "attention", "separable", input_attention=True),
        STUDY_CELLS["separable"],
        STUDY_CELLS["gru"],
    ],
)
def test_multiply_adds_are_those_counted_by_hand(cell, kernel_size):
    layer = RecurrentLayer(cell, 7, 4, kernel_size)
    batch, num_steps, height, width = 2, 3, 5, 9
    x = torch.randn(batch, num_steps, 7, height, width)
    expected = batch * num_steps * by_hand(cell, kernel_size, 7, 4, height * width)
    assert count_multiply_adds(layer, x) == expected
    state = (torch.randn(2, 4, height, width), torch.randn(2, 4, height, width))
    assert count_multiply_adds(layer, x, state) == expected
    with FlopCounterMode(display=False) as counter:  # of what really runs
        layer(x, state)
    assert counter.get_total_flops() == 2 * expected


K2, CHANNELS = 9, 256
DENSE, SEPARABLE, POOLED = K2 * CHANNELS**2, K2 * CHANNELS + CHANNELS**2, CHANNELS**2  # weights of one path, X or H


@pytest.mark.parametrize(
    ("cell", "spatial", "pooled"),
    [
        ("separable", 8 * SEPARABLE, 0),
        ("a_gates_of_x", 2 * SEPARABLE, 3 * POOLED),
        ("a_of_x", SEPARABLE, 3 * POOLED),
        ("convlstm_of_x", 4 * DENSE, 0),
        ("min_conv", 3 * DENSE, 0),
        ("min_separable", 3 * SEPARABLE, 0),
        ("gru", 6 * DENSE, 0),
    ],
)
def test_other_cells_have_a_path_for_each_part_that_sees_it(cell, spatial, pooled):
    layer = paper_layer(cell)
    assert count_parameters(layer) == spatial + pooled
    assert count_multiply_adds(layer, torch.empty(1, 2, 256, 28, 28)) == 2 * (spatial * POSITIONS + pooled)


def test_grouped_and_strided_convolutions_count_what_they_compute():
    module = nn.Conv2d(6, 8, 3, stride=2, padding=1, groups=2)
    assert count_multiply_adds(module, torch.empty(1, 6, 9, 7)) == 9 * (6 // 2) * 8 * (5 * 4)


@pytest.mark.slow
def test_counting_runs_nothing_and_leaves_nothing():
    network = GestureNetwork(NetworkConfig.small("b", num_classes=3))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    clip = torch.randn(1, 3, 4, 32, 32)
    count = count_multiply_adds(network, clip)
    assert count_multiply_adds(network, torch.randn(2, 3, 4, 32, 32)) == 2 * count
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not network.layer1._forward_pre_hooks and not network.layer2._forward_pre_hooks
    assert all(parameter.grad is None for parameter in network.parameters())
    assert network.eval()(clip).shape == (1, 3)


def test_memory_is_what_is_held_at_once():
    kept = torch.zeros(1000)

    def call():
        first = kept + 1  # 4000 bytes
        second = first[:10].reshape(2, 5) * 2  # 40 bytes; the view costs nothing
        del first
        kept.add_(1)  # in place: nothing
        return (second.sum() + kept.double()).sum()  # two results of 8000 bytes at once, a sum of 4

    assert measure_memory(call) == 40 + 4 + 8000 + 8000
    assert measure_memory(lambda: kept.view(10, 100).t()) == 0


def test_memory_holds_what_the_backward_pass_needs():
    x = torch.zeros(1000, requires_grad=True)

    def forward():
        return x.exp().exp().exp().sum()

    with torch.no_grad():
        without = measure_memory(forward)
    assert without == 2 * 4000
    assert measure_memory(forward) == 3 * 4000 + 4
    assert measure_memory(lambda: forward().backward()) > 3 * 4000 + 4
