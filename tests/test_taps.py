"""record and intervene on models without hook points: the same values, nothing left behind, nothing mixed."""

import copy

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from foreign_cells import FusedLSTM, HiddenInPlace, Kept, LoopGRU, Stack, TorchGRU, Twice, conv
from gatescope.recordings import intervene, record

CLIP = (2, 5, 3, 8, 8)


def made(model, *settings):
    torch.manual_seed(0)
    return model(*settings).eval()


def clip(shape=CLIP, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def hooks_of(model):
    return sum(len(each._forward_hooks) + len(each._forward_pre_hooks) for each in model.modules())


def kept(cell, name):
    return torch.stack(cell.kept[name], 1)


def test_recorded_values_are_those_of_the_loop_to_the_bit():
    model, x = made(Stack, FusedLSTM), clip()
    names = {
        "i": "cells.1:sigmoid.0",
        "f": "cells.1:sigmoid.1",
        "g": "cells.1:tanh.0",
        "c": "cells.1[1]",
        "h": "cells.1[0]",
    }
    with torch.no_grad(), record(model, names, "cells.0.conv[:, 4:8]") as recording:
        given = model(x)
    with torch.no_grad(), record(model, names, "*") as recording:
        assert torch.equal(model(x), given)
    for cell in model.cells:
        cell.kept.clear()
    with torch.no_grad():
        assert torch.equal(model(x), given)
    for name in names:
        assert torch.equal(recording[name], kept(model.cells[1], name))
    assert hooks_of(model) == 0


def test_a_slice_of_a_fused_convolution_is_the_sum_before_the_gate():
    model = made(Stack, FusedLSTM, 1)
    with torch.no_grad(), record(model, "cells.0.conv[:, 4:8]") as recording:
        model(clip())
    assert torch.equal(recording["cells.0.conv[:, 4:8]"].sigmoid(), kept(model.cells[0], "f"))


def test_only_what_is_asked_for_is_kept():
    model = made(Stack, FusedLSTM, 1)
    with record(model, "cells.0:sigmoid.1") as recording:
        model(clip())
    assert list(recording) == ["cells.0:sigmoid.1"]


def test_operations_in_a_loop_within_one_pass_are_taken_by_a_step():
    model = made(LoopGRU)
    names = [":sigmoid.0::1[:, 0:4]", ":tanh.0::1", ":add.0::1", ":mul.1::3"]
    with torch.no_grad(), record(model, *names) as recording:
        model(clip())
    for name, own in zip(names, ("z", "n", "h"), strict=False):
        assert torch.equal(recording[name], kept(model, own))
    with record(model, ":sigmoid.0") as recording:
        model(clip())
    with pytest.raises(ValueError, match="passed once, with the shape .2, 8, 8, 8.: name its axis of time"):
        recording[":sigmoid.0"]


def test_an_intervention_is_what_the_model_goes_on_with():
    model, x = made(Stack, FusedLSTM), clip()
    with torch.no_grad():
        before = model(x)
        with intervene(model, {"cells.0:sigmoid.1": torch.zeros_like}), record(model, "cells.0[1]") as recording:
            model(x)
        model.cells[0].kept.clear()
        model(x)
        without = model.cells[0].kept
        # Without a forget gate the first cell state is i o g at every step; at the first step nothing else changed.
        assert torch.equal(recording["cells.0[1]"][:, 0], without["i"][0] * without["g"][0])
        assert not torch.equal(recording["cells.0[1]"][:, 1], without["c"][1])
        assert torch.equal(model(x), before)


def test_a_tensor_replaces_step_by_step_and_a_part_alone():
    model, x = made(Stack, FusedLSTM, 1), clip()
    with torch.no_grad(), record(model, "cells.0:sigmoid.1") as recording:
        given = model(x)
    own = recording["cells.0:sigmoid.1"]
    with torch.no_grad(), intervene(model, {"cells.0:sigmoid.1": own}):
        assert torch.equal(model(x), given)
    with (
        torch.no_grad(),
        intervene(model, {"cells.0.conv[:, 4:8]": lambda z: z + 0.5}),
        record(model, "cells.0.conv") as after,
    ):
        model(x)
    with torch.no_grad(), record(model, "cells.0.conv") as before:
        model(x)
    moved = (after["cells.0.conv"] - before["cells.0.conv"])[:, 0]
    torch.testing.assert_close(moved[:, 4:8], torch.full_like(moved[:, 4:8], 0.5))
    assert not moved[:, :4].any() and not moved[:, 8:].any()


def test_an_in_place_operation_is_replaced_where_it_worked():
    model, x = made(Stack, TorchGRU, 1), clip()
    with torch.no_grad(), intervene(model, {"cells.0:sigmoid.1": torch.ones_like}):
        model(x)
    # z = 1 keeps the old state, which was zero.
    assert not torch.stack(model.cells[0].kept["h"]).any()


class InPlaceAlone(nn.Module):
    def forward(self, x):
        for t in range(x.shape[1]):
            x[:, t].sigmoid_()
        return x


def test_an_in_place_operation_whose_result_nobody_takes():
    model = InPlaceAlone()
    with torch.no_grad(), intervene(model, {":sigmoid.0::1": torch.zeros_like}):
        assert not model(torch.randn(2, 3)).any()


def test_one_cell_for_two_layers_is_not_mixed():
    model = made(Twice)
    with record(model, "cell:sigmoid.1") as recording:
        model(clip())
    with pytest.raises(ValueError, match="passed 10 times, which are no single sequence"):
        recording["cell:sigmoid.1"]
    with torch.no_grad(), record(model, "cell:sigmoid.1#1::2", "cell:sigmoid.1#:") as recording:
        model.cell.kept.clear()
        model(clip())
    assert torch.equal(recording["cell:sigmoid.1#1::2"], torch.stack(model.cell.kept["f"][1::2], 1))
    assert recording["cell:sigmoid.1#:"].shape[1] == 10


class Both(nn.Module):
    """One cell forward in time, and then backward."""

    def __init__(self):
        super().__init__()
        self.cell = TorchGRU(3, 3)

    def forward(self, x):
        last = []
        for order in (range(x.shape[1]), reversed(range(x.shape[1]))):
            h = torch.zeros_like(x[:, 0])
            for t in order:
                h = self.cell(x[:, t], h)
            last.append(h)
        return torch.cat(last, 1).mean((2, 3))


class Frames(nn.Module):
    """A network for each frame by itself, for two sizes."""

    def __init__(self):
        super().__init__()
        self.net = conv(3, 2)

    def forward(self, x):
        small = x[..., ::2, ::2]
        return sum(self.net(each[:, t]).mean((2, 3)) for each in (x, small) for t in range(x.shape[1]))


def test_two_directions_and_two_sizes_are_told():
    model = made(Both)
    with record(model, "cell") as recording:
        model(clip())
    with pytest.raises(ValueError, match="no single sequence: 0 to 4; 5 to 9. Take the calls of one, as cell#0::2"):
        recording["cell"]
    with record(model, "cell#0:5") as recording:
        model(clip())
    assert recording["cell#0:5"].shape[1] == 5
    model = made(Frames)
    with record(model, "net") as recording:
        model(clip())
    with pytest.raises(ValueError, match="passed 10 times with the shapes .2, 2, 8, 8., .2, 2, 4, 4."):
        recording["net"]
    with record(model, "net#0:5") as recording:
        model(clip())
    assert recording["net#0:5"].shape == (2, 5, 2, 8, 8)


class Once(nn.Module):
    """A network for all frames at once, then a fused layer."""

    def __init__(self):
        super().__init__()
        self.net, self.lstm = nn.Conv3d(3, 2, 3, padding=1), nn.LSTM(2, 4, batch_first=True)

    def forward(self, x):
        maps = self.net(x.transpose(1, 2))
        return self.lstm(maps.mean((3, 4)).transpose(1, 2))[0][:, -1]


def test_a_value_that_passes_once_says_where_its_time_is():
    model = made(Once)
    with torch.no_grad(), record(model, "net", "net@2", "lstm[0]@1", "lstm[1][0]@0") as recording:
        model(clip())
    assert recording["net@2"].shape == (2, 5, 2, 8, 8) and recording["lstm[0]@1"].shape == (2, 5, 4)
    with pytest.raises(ValueError, match="name its axis of time, as net@1"):
        recording["net"]
    with torch.no_grad(), intervene(model, {"net@2": lambda step: step * 0}), record(model, "net@2") as recording:
        model(clip())
    assert not recording["net@2"].any()


def test_a_tuple_must_be_named_by_its_parts():
    model = made(Once)
    with record(model, "lstm"), pytest.raises(TypeError, match="lstm is a tuple of 2 and no tensor"):
        model(clip())
    assert hooks_of(model) == 0
    with record(model, "lstm[2]"), pytest.raises(LookupError, match="has no part .2."):
        model(clip())


def test_gradients_are_those_of_finite_differences():
    model, x = made(Stack, FusedLSTM).double(), clip().double()
    name = "cells.0:sigmoid.1"
    with record(model, name, gradients=True) as recording:
        score = model(x)[:, 1].sum()
    found = recording.gradient(name, score)
    for t, place in ((0, (0, 1, 2, 3)), (3, (1, 2, 5, 5))):
        scores = []
        for change in (1e-5, -1e-5):
            steps = recording[name].clone()
            steps[place[0], t, *place[1:]] += change
            # Steps after t must be free to react: replaced at t alone.
            asked = iter(range(x.shape[1]))

            def at_step(value, steps=steps, asked=asked, t=t):
                return steps[:, t] if next(asked) == t else value

            with torch.no_grad(), intervene(model, {name: at_step}):
                scores.append(float(model(x)[:, 1].sum()))
        assert float(found[place[0], t, *place[1:]]) == pytest.approx(
            (scores[0] - scores[1]) / 2e-5, rel=1e-5, abs=1e-9
        )


class Failing(Kept):
    def __init__(self):
        super().__init__()
        self.cell = FusedLSTM(3, 4)

    def forward(self, x):
        zeros = torch.zeros(2, 4, 8, 8)
        self.cell(x[:, 0], (zeros, zeros))
        raise RuntimeError("in the middle")


def test_nothing_is_left_after_an_exception():
    model = made(Failing)
    with pytest.raises(RuntimeError, match="in the middle"), record(model, "cell:sigmoid.0"):
        model(clip())
    assert hooks_of(model) == 0
    assert torch.sigmoid(torch.zeros(1)) == 0.5
    assert torch.overrides._get_current_function_mode_stack() == []


def test_nested_blocks_and_two_models_at_once():
    first, second, x = made(Stack, FusedLSTM), made(LoopGRU), clip()
    with torch.no_grad(), record(first, "cells.0:sigmoid.0") as outer, record(second, ":tanh.0::1") as other:
        with record(first, "cells.1:tanh.0") as inner:
            first(x)
        second(x)
    assert torch.equal(outer["cells.0:sigmoid.0"], kept(first.cells[0], "i"))
    assert torch.equal(inner["cells.1:tanh.0"], kept(first.cells[1], "g"))
    assert torch.equal(other[":tanh.0::1"], kept(second, "n"))


def test_a_second_pass_replaces_the_first():
    model = made(Stack, FusedLSTM, 1)
    with torch.no_grad(), record(model, "cells.0:sigmoid.0") as recording:
        model(clip())
        model(clip((1, 3, 3, 8, 8)))
    assert recording["cells.0:sigmoid.0"].shape == (1, 3, 4, 8, 8)


def test_a_submodule_that_runs_by_itself_counts_as_one_pass():
    model = made(Stack, FusedLSTM, 1)
    zeros, x = torch.zeros(2, 4, 8, 8), clip()
    with torch.no_grad(), record(model, "cells.0:sigmoid.1") as recording:
        model(clip(seed=2))
        state = zeros, zeros
        for t in range(3):
            state = model.cells[0](x[:, t], state)
    assert recording["cells.0:sigmoid.1"].shape[1] == 3


class Checkpointed(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = TorchGRU(3, 3)

    def forward(self, x):
        h = torch.zeros_like(x[:, 0])
        for t in range(x.shape[1]):
            h = checkpoint(self.cell, x[:, t], h, use_reentrant=False)
        return h.mean()


def test_a_checkpoint_that_computes_again_does_not_record_again():
    model, x = made(Checkpointed), clip().requires_grad_()
    calls = []
    model.cell.register_forward_pre_hook(lambda *_: calls.append(len(calls)))
    with record(model, "cell:sigmoid.1") as recording:
        model(x).backward()
    assert len(calls) == 10
    assert torch.equal(recording["cell:sigmoid.1"], torch.stack(model.cell.kept["z"][:5], 1))


def test_half_precision_and_data_parallel_work():
    model = made(Stack, FusedLSTM, 1).bfloat16()
    with torch.no_grad(), record(model, "cells.0:sigmoid.1") as recording:
        model(clip().bfloat16())
    assert recording["cells.0:sigmoid.1"].dtype == torch.bfloat16
    parallel = nn.DataParallel(made(Stack, FusedLSTM, 1))
    with torch.no_grad(), record(parallel, "module.cells.0:sigmoid.1") as recording:
        parallel(clip())
    assert recording["module.cells.0:sigmoid.1"].shape == (2, 5, 4, 8, 8)


def test_what_python_does_not_see_is_refused():
    model = made(Stack, FusedLSTM, 1)
    compiled = torch.compile(model, backend="eager")
    says = "the model is compiled.*take the module itself, `._orig_mod`"
    with pytest.raises(ValueError, match=says), record(compiled, "cells.0.conv"):
        pass
    with pytest.warns(DeprecationWarning):
        scripted = torch.jit.trace(nn.Conv2d(3, 3, 1), torch.zeros(1, 3, 2, 2))
    with pytest.raises(ValueError, match="0 of the model is TorchScript"), record(nn.Sequential(scripted), "0"):
        pass


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("cells.7.conv", "Nor is it a value"),
        ("cells.0.conv2", "cells.0.conv2"),
        ("a b", "a name is MODULE"),
        ("z", "'z'"),
    ],
)
def test_a_wrong_name_is_refused(name, says):
    with pytest.raises(LookupError, match=says), record(made(Stack, FusedLSTM, 1), name):
        pass


def test_an_empty_mapping_and_a_model_without_points():
    with pytest.raises(LookupError, match="the mapping names nothing"), record(made(Stack, FusedLSTM, 1), {}):
        pass
    with pytest.raises(LookupError, match="no hook point matches"), record(made(Stack, FusedLSTM, 1)):
        pass


def test_a_copy_of_a_model_under_record_records_nothing():
    model = made(Stack, FusedLSTM, 1)
    with record(model, "cells.0:sigmoid.0") as recording:
        model(clip())
        other = copy.deepcopy(model.cells[0].conv)
        other(torch.zeros(1, 7, 8, 8))
    assert recording["cells.0:sigmoid.0"].shape[1] == 5


def test_other_peoples_values_and_hook_points_in_one_recording():
    from gatescope.models import RecurrentLayer

    model = made(lambda: nn.Sequential(RecurrentLayer("a", 3, 4), RecurrentLayer("convlstm", 4, 4)))
    with torch.no_grad(), record(model, "0.f", "1.*", "0@1") as recording:
        given = model(clip())
    assert torch.equal(recording["1.h"], given) and recording["0.f"].shape == (2, 5, 4)
    assert recording["0@1"].shape == (2, 5, 4, 8, 8)


def test_a_view_changed_in_place_is_still_a_sequence():
    model = made(Stack, HiddenInPlace, 1)
    with torch.no_grad(), record(model, "cells.0#:[1]") as recording:
        model(clip())
    assert recording["cells.0#:[1]"].shape == (2, 5, 4, 8, 8)


class ActsInPlace(nn.Module):
    """What a convolution returns is changed in place, and so is the state."""

    def __init__(self):
        super().__init__()
        self.conv, self.act = conv(3, 4), nn.ReLU(inplace=True)

    def forward(self, x):
        h = torch.zeros(len(x), 4, *x.shape[-2:])
        for t in range(x.shape[1]):
            h = h * 0.5 + self.act(self.conv(x[:, t]))
        return h.mean((2, 3))


def test_what_is_changed_in_place_afterwards_is_recorded_as_it_passed():
    model, x = made(ActsInPlace), clip()
    with torch.no_grad(), record(model, "conv#:") as recording:
        given = model(x)
    with torch.no_grad():
        assert torch.equal(model(x), given)
        assert torch.equal(recording["conv#:"][:, 2], model.conv(x[:, 2]))
    assert recording["conv#:"].min() < 0
    for weight in model.parameters():
        weight.requires_grad_(False)
    with record(model, "conv#:", gradients=True) as recording:
        score = model(x)[:, 0].sum()
    gradient = recording.gradient("conv#:", score)[:, -1, 0]
    expected = (recording["conv#:"][:, -1, 0] > 0).float() / 64
    torch.testing.assert_close(gradient, expected)


def test_the_gradient_of_a_part_is_the_part_of_the_gradient():
    model = made(Stack, FusedLSTM)
    with record(model, "cells.0.conv", "cells.0.conv[:, 4:8]", gradients=True) as recording:
        score = model(clip())[:, 0].sum()
    part = recording.gradient("cells.0.conv[:, 4:8]", score)
    assert part.abs().sum() > 0
    torch.testing.assert_close(part, recording.gradient("cells.0.conv", score)[:, :, 4:8])


def test_what_a_replacement_computes_counts_nowhere():
    model, seen = made(Stack, FusedLSTM), []

    def look(value):
        seen.append(value.clone())
        return value

    changes = {"cells.0:sigmoid.1": look, "cells.0.conv": lambda z: z + 0 * torch.sigmoid(z)}
    with torch.no_grad(), record(model, "cells.0:sigmoid.1") as recording, intervene(model, changes):
        model(clip())
    assert torch.equal(torch.stack(seen, 1), kept(model.cells[0], "f"))
    assert torch.equal(recording["cells.0:sigmoid.1"], kept(model.cells[0], "f"))


class Interrupted(nn.Module):
    stop = 3

    def forward(self, x):
        y = x[:, 0] * 0
        for t in range(x.shape[1]):
            if t == self.stop:
                raise KeyboardInterrupt
            y = torch.sigmoid(x[:, t] + y)
        return y


def test_an_interrupt_leaves_nothing_and_the_next_pass_is_whole():
    model = Interrupted()
    with record(model, ":sigmoid.0::1") as recording:
        with pytest.raises(KeyboardInterrupt):
            model(clip())
        model.stop = 9
        model(clip())
        model(clip())
    assert recording[":sigmoid.0::1"].shape[1] == 5
    model.stop = 3
    with pytest.raises(KeyboardInterrupt), intervene(model, {":sigmoid.0::1": torch.zeros_like}):
        model(clip())
    assert torch.overrides._get_current_function_mode_stack() == [] and torch.sigmoid(torch.zeros(1)) == 0.5


def test_streams_that_do_not_depend_on_each_other_are_asked_for():
    net = made(Frames)
    with torch.no_grad(), record(net, "net#0:5", "net#:") as recording:
        net(clip((2, 5, 3, 8, 8)))
    assert recording["net#0:5"].shape[1] == 5
    model = made(ActsInPlace)
    with torch.no_grad(), record(model, "conv") as recording:
        model(clip())
    with pytest.raises(ValueError, match="passed 5 times, none computed from another: if these are the time steps"):
        recording["conv"]


class Buffered(nn.Module):
    """One cell for two layers, whose states stand in a buffer and are written through views."""

    def __init__(self):
        super().__init__()
        self.cell = TorchGRU(3, 3)

    def forward(self, x):
        states = torch.zeros(2, len(x), 3, *x.shape[-2:])
        for t in range(x.shape[1]):
            given = x[:, t]
            for layer in range(2):
                states[layer].copy_(self.cell(given, states[layer].clone()))
                given = states[layer].clone()
        return states[1].mean((2, 3))


def test_states_in_a_buffer_are_followed_through_views():
    model = made(Buffered)
    with torch.no_grad(), record(model, "cell") as recording:
        model(clip())
    with pytest.raises(ValueError, match="its states stand in a buffer that is written to in parts"):
        recording["cell"]


def test_an_intervention_where_a_checkpoint_computes_again_is_refused():
    model = made(Checkpointed)
    says, halved = "not repeated where torch.utils.checkpoint computes again", {"cell:tanh.0": lambda n: n * 0.5}
    with pytest.raises(RuntimeError, match=says), intervene(model, halved):
        model(clip().requires_grad_()).backward()
    assert torch.overrides._get_current_function_mode_stack() == []


def test_a_submodule_that_runs_by_itself_leaves_the_others():
    model, x = made(Stack, FusedLSTM), clip()
    with torch.no_grad(), record(model, "cells.0:sigmoid.1#:", "cells.1:sigmoid.1#:") as recording:
        model(x)
        zeros = torch.zeros(2, 4, 8, 8)
        model.cells[0](x[:, 0], (zeros, zeros))
    assert recording["cells.0:sigmoid.1#:"].shape[1] == 1 and recording["cells.1:sigmoid.1#:"].shape[1] == 5


def test_a_copy_made_in_a_block_has_no_hooks_that_do_anything(tmp_path):
    model = made(Stack, FusedLSTM, 1)
    with torch.no_grad(), record(model, "cells.0:sigmoid.0") as recording:
        model(clip())
        other = copy.deepcopy(model)
        other(clip((1, 2, 3, 8, 8)))
        torch.save(model, tmp_path / "model.pt")
    assert recording["cells.0:sigmoid.0"].shape == (2, 5, 4, 8, 8)
    torch.load(tmp_path / "model.pt", weights_only=False)(clip())


def test_a_result_that_is_written_to_out_is_replaced_there():
    class Out(nn.Module):
        def forward(self, x):
            result = torch.empty_like(x)
            torch.sigmoid(x, out=result)
            return result

    model = Out()
    with torch.no_grad(), intervene(model, {":sigmoid.0": torch.zeros_like}):
        assert not model(torch.randn(2, 3)).any()


def test_names_of_a_mapping_are_no_patterns_and_modules_may_have_any_name():
    model = nn.Sequential()
    model.add_module("layer-1", nn.Tanh())
    with record(model, {"f[0]": "layer-1#:", "f0": "layer-1:tanh.0#:"}) as recording:
        model(torch.rand(2, 3))
    assert list(recording) == ["f[0]", "f0"] and torch.equal(recording["f[0]"], recording["f0"])
