"""points: what can be named in a model, with shapes and numbers of passes."""

import torch
from torch import nn

from foreign_cells import FusedLSTM, LoopGRU, Stack
from gatescope.models import RecurrentLayer
from gatescope.recordings import points, record


def test_outputs_and_operations_with_shapes_and_passes():
    model = Stack(FusedLSTM, 2).eval()
    found = {row.name: row for row in points(model, torch.randn(2, 5, 3, 8, 8))}
    assert found["cells.0.conv"].shapes == ((2, 16, 8, 8),) and found["cells.0.conv"].passes == 5
    assert found["cells.1[0]"].passes == 5 and found["head"].passes == 1
    assert found["cells.0:sigmoid.1"].shapes == ((2, 4, 8, 8),)
    assert "in parts" in found["cells.0:split.0"].note


def test_every_name_in_the_table_can_be_recorded():
    model, x = Stack(FusedLSTM, 1).eval(), torch.randn(2, 5, 3, 8, 8)
    rows = [row for row in points(model, x) if "in parts" not in row.note]
    assert len(rows) > 20
    names = {row.name: with_calls(row.name) for row in rows if row.passes == 5}
    with torch.no_grad(), record(model, names) as recording:
        model(x)
    for row in rows:
        if row.passes == 5:
            assert recording[row.name].shape == (row.shapes[0][0], 5, *row.shapes[0][1:])


def with_calls(name):
    """Return a name with all calls: `cells.0#:[1]`."""
    head, bracket, rest = name.partition("[")
    return f"{head}#:{bracket}{rest}"


def test_a_loop_in_one_forward_pass_stands_in_one_row():
    found = points(LoopGRU().eval(), torch.randn(1, 9, 3, 8, 8))
    row = next(row for row in found if row.name.startswith(":mul"))
    assert row.name == ":mul.0::1" and row.passes == 27 and "take every third" in row.note


def test_hook_points_stand_first():
    found = points(RecurrentLayer("a", 3, 4), torch.randn(2, 5, 3, 8, 8))
    assert [row.name for row in found][:3] == ["x_pooled", "h_pooled", "i"]
    assert found[2].shapes == ((2, 4),) and found[2].passes == 5


def test_it_shows_as_a_table():
    found = points(nn.Sequential(nn.Linear(3, 4), nn.Tanh()), torch.randn(2, 3))
    assert "| `0` | 2 x 4 | once |" in found._repr_markdown_()
    assert "1:tanh.0" in repr(found.containing("tanh")) and len(found.containing("tanh")) == 1
    assert len(found[:1]) == 1
