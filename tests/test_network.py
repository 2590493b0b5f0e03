"""The network around the cells: its config, its axes, its scores over time."""

import json
import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from gatescope.loaders import SyntheticGestures, to_batch
from gatescope.models import CELLS, STUDY_CELLS, Cell, GestureNetwork, NetworkConfig
from gatescope.recordings import hook_points, record

MIXED = Cell(i="conv", f="pooled", o="attention", candidate="separable")


def small_network(cell="a", *, seed=0, **settings):
    """A narrow network with random running statistics, in its evaluation mode."""
    torch.manual_seed(seed)
    settings = {"num_classes": 5, "width": 1 / 16, **settings}
    network = GestureNetwork(NetworkConfig.small(cell, **settings))
    with torch.no_grad():
        for name, buffer in network.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_()
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 2)
    return network.eval()


def some_clips(batch=2, time=6, height=24, width=24, channels=3, seed=0):
    return 50 * torch.randn(batch, channels, time, height, width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("cell", "second"), [("convlstm", "convlstm"), ("a", "a"), ("b", "a"), ("c", "a"), ("d", "a"), (MIXED, "a")]
)
def test_only_the_first_layer_is_the_cell_under_study(cell, second):
    for preset in (NetworkConfig.paper, NetworkConfig.small):
        assert preset(cell, num_classes=3).cells == (cell, second)
    network = GestureNetwork(NetworkConfig.small(cell, num_classes=3))
    assert network.layer1.cell == (CELLS[cell] if isinstance(cell, str) else cell)
    assert network.layer2.cell == CELLS[second]


def test_any_pair_of_cells_can_be_set():
    config = NetworkConfig(cells=("d", MIXED), num_classes=3, width=1 / 16)
    network = GestureNetwork(config)
    assert (network.layer1.cell, network.layer2.cell) == (CELLS["d"], MIXED)
    assert network(some_clips(1)).shape == (1, 3)


def seen_frames(network, num_frames, step):
    """The frames of a clip on which the features at a step depend."""
    clips = some_clips(1, num_frames).requires_grad_()
    network.encode(clips)[:, step].square().sum().backward()
    return clips.grad.abs().amax((0, 1, 3, 4)).nonzero().flatten().tolist()


@pytest.mark.parametrize("conventions", ["paper", "authors"])
@pytest.mark.parametrize(("reach", "to_either_side"), [(1, 0), (5, 2), (41, 20)])
def test_features_see_as_many_frames_as_their_reach(reach, to_either_side, conventions):
    network = small_network(reach=reach, conventions=conventions)
    step = 11
    # TensorFlow's padding of an even number of frames puts block 3's kernels one frame later.
    middle = 2 * step + (conventions == "authors" and reach == 41)
    assert seen_frames(network, 44, step) == list(range(middle - to_either_side, middle + to_either_side + 1))


def test_at_a_reach_of_one_every_other_frame_is_seen_by_no_step():
    network = small_network(reach=1)
    assert [seen_frames(network, 6, step) for step in range(3)] == [[0], [2], [4]]


@pytest.mark.parametrize("cell", ["convlstm", "a", "b", "c", "d"])
def test_without_memory_a_2d_network_cannot_tell_the_order_of_halves(cell):
    clips = some_clips(2, 8)
    exchanged = clips.roll(4, 2)

    def of_all_steps(network, x):
        with torch.no_grad():
            return network(x), network.layer2(network.layer1(network.encode(x))).mean(1)

    network = small_network(cell, reach=1, memory=False)
    for one, other in zip(of_all_steps(network, clips), of_all_steps(network, exchanged), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    for settings in ({"reach": 1}, {"memory": False}):
        (_, one), (_, other) = (of_all_steps(small_network(cell, **settings), x) for x in (clips, exchanged))
        assert (one - other).abs().max() > 1e-3 * one.abs().max()


def test_cards_from_before_a_field_mean_the_paper_s_network():
    config = NetworkConfig.small("a", num_classes=5)
    values = config.to_json()
    older = {name: value for name, value in values.items() if name not in ("reach", "memory")}
    assert NetworkConfig.from_json(older) == config and (config.reach, config.memory) == (41, True)
    assert NetworkConfig.from_json({**values, "reach": 5}).reach == 5
    with pytest.raises(ValueError, match="reach"):
        NetworkConfig.small("a", num_classes=5, reach=3)


@pytest.mark.slow
def test_the_papers_network_has_the_papers_maps():
    config = NetworkConfig.paper("c", num_classes=249)
    network = GestureNetwork(config).eval()
    with torch.no_grad(), record(network) as recording:
        logits = network(torch.zeros(1, 3, 2, config.size, config.size))
    assert logits.shape == (1, 249)
    assert recording["features"].shape == (1, 1, 256, 28, 28)
    assert recording["layer1.h"].shape == recording["layer2.h"].shape == (1, 1, 256, 28, 28)
    assert recording["top"].shape == (1, 1, 1024, 4, 4)


def test_the_small_network_has_an_eighth_of_the_channels():
    network = GestureNetwork(NetworkConfig.small("a", num_classes=27))
    assert [len(network.res3d.units[name].conv_a.weight) for name in ("2a", "3a", "4a")] == [8, 16, 32]
    assert network.layer1.hidden_channels == network.layer2.hidden_channels == 32
    assert network.head.weight.shape == (27, 128)


@pytest.mark.parametrize(("width", "filters"), [(1 / 8, (8, 16, 32)), (0.1, (6, 13, 26)), (1e-9, (1, 1, 1))])
def test_a_width_rounds_every_number_of_channels_and_leaves_one_at_least(width, filters):
    network = GestureNetwork(NetworkConfig.small("a", num_classes=3, width=width))
    assert tuple(len(network.res3d.units[name].conv_a.weight) for name in ("2a", "3a", "4a")) == filters
    assert network.layer1.hidden_channels == filters[2]


# Keras' defaults for the authors, torch's for the paper, which names none; torch's momentum is 1 less Keras'.
@pytest.mark.parametrize(("conventions", "eps", "momentum"), [("paper", 1e-5, 0.1), ("authors", 1e-3, 0.01)])
def test_every_batch_norm_is_the_conventions(conventions, eps, momentum):
    network = GestureNetwork(NetworkConfig.small("a", num_classes=3, conventions=conventions))
    norms = [module for module in network.modules() if hasattr(module, "running_var")]
    assert len(norms) == 1 + 12 + 3 + 9  # the stem's, two a unit, a projection's in three, one a block of the top
    assert {(norm.eps, norm.momentum) for norm in norms} == {(eps, momentum)}


@pytest.mark.parametrize(("conventions", "limit"), [("paper", math.inf), ("authors", 6)])
def test_only_the_authors_top_ends_at_six(conventions, limit):
    network = small_network(conventions=conventions)
    network.mobilenet.blocks["3b"].norm.bias.data.fill_(100)
    with torch.no_grad(), record(network, "top") as recording:
        network(some_clips())
    assert (recording["top"].amax() > 6) == (limit > 6) and recording["top"].amax() <= limit


@pytest.mark.parametrize("conventions", ["paper", "authors"])
@pytest.mark.parametrize("stem_stride", [2, 3])
@pytest.mark.parametrize(("time", "height", "width"), [(1, 16, 16), (5, 23, 17), (6, 30, 44), (2, 1, 1)])
def test_any_number_of_frames_and_any_size_is_taken(conventions, stem_stride, time, height, width):
    network = small_network("d", conventions=conventions, stem_stride=stem_stride)
    with torch.no_grad(), record(network, "features", "top") as recording:
        scores = network.scores_over_time(some_clips(1, time, height, width))
    steps = math.ceil(time / 2)
    rows, columns = (math.ceil(math.ceil(side / stem_stride) / 2) for side in (height, width))
    assert recording["features"].shape == (1, steps, 16, rows, columns)
    assert recording["top"].shape == (1, steps, 64, math.ceil(rows / 8), math.ceil(columns / 8))
    assert scores.shape == (1, steps, 5) and scores.isfinite().all()


def test_features_are_res3ds_with_time_before_channels():
    network, x = small_network(), some_clips()
    with torch.no_grad(), record(network, "features") as recording:
        network(x)
        features = network.res3d(x)
    for clip in range(2):
        for step in range(3):
            assert torch.equal(recording["features"][clip, step], features[clip, :, step])


@pytest.mark.parametrize(("conventions", "back", "ahead"), [("paper", 20, 20), ("authors", 19, 21)])
def test_a_step_sees_as_many_frames_around_it_as_is_said(conventions, back, ahead):
    network = small_network(conventions=conventions).double()
    clip = some_clips(1, time=64, height=8, width=8).double().requires_grad_()
    (gradient,) = torch.autograd.grad(network.res3d(clip)[:, :, 16].sum(), clip)
    seen = gradient.abs().amax((0, 1, 3, 4)).nonzero()
    assert (seen.min(), seen.max()) == (32 - back, 32 + ahead)


@pytest.mark.slow
def test_a_clip_scores_alike_alone_and_in_a_batch():
    network, x = small_network("b").double(), some_clips(3).double()
    with torch.no_grad():
        torch.testing.assert_close(network(x)[1:2], network(x[1:2]), rtol=1e-10, atol=1e-12)


def test_time_steps_are_scored_by_the_mean_of_those_so_far():
    network, x = small_network("c").double(), some_clips(time=8).double()
    with torch.no_grad(), record(network, "top") as recording:
        scores, logits = network.scores_over_time(x), network(x)
        for step in range(4):
            maps = recording["top"][:, : step + 1]
            pooled = torch.stack([maps[:, :, channel].mean((1, 2, 3)) for channel in range(64)], dim=1)
            expected = pooled @ network.head.weight.T + network.head.bias
            torch.testing.assert_close(scores[:, step], expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(scores[:, -1], logits, rtol=1e-10, atol=1e-12)


def test_the_layers_points_keep_their_names_and_the_networks_join_them():
    names = list(hook_points(small_network("b")))
    assert {"features", "top", "layer1.attention", "layer1.x_attended", "layer2.f"} <= set(names)
    assert {name.partition(".")[0] for name in names} == {"features", "top", "layer1", "layer2"}


def test_no_module_changes_what_another_gave():
    network, kept = small_network("b").train(), []
    hooks = [
        module.register_forward_hook(lambda _, args, y: kept.append((y, y.detach().clone())))
        for module in network.modules()
    ]
    network(some_clips()).sum().backward()
    for hook in hooks:
        hook.remove()
    assert len(kept) > 60 and all(torch.equal(now, then) for now, then in kept)


@pytest.mark.parametrize("cell", CELLS)
def test_float32_and_bfloat16_stay_with_float64(cell):
    network, x = small_network(cell), some_clips()
    with torch.no_grad():
        single = network(x)
        with torch.autocast("cpu", torch.bfloat16):
            half = network(x)
        double = network.double()(x.double())
    scale = double.abs().max()
    assert (single - double).abs().max() < 1e-5 * scale
    assert (half - double).abs().max() < 2e-2 * scale


@pytest.mark.slow
def test_the_gradients_of_float32_and_bfloat16_stay_with_float64():
    network, x, labels = small_network("a"), some_clips(4), torch.tensor([0, 1, 2, 3])

    def gradients(**autocast):
        network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, **autocast):
            logits = network(x.to(network.head.weight))
        F.cross_entropy(logits.to(network.head.weight), labels).backward()
        return torch.cat([parameter.grad.double().flatten() for parameter in network.parameters()])

    single, half = gradients(enabled=False), gradients()
    network.double()
    double = gradients(enabled=False)
    assert (single - double).norm() < 1e-5 * double.norm()
    assert (half - double).norm() < 2e-2 * double.norm()


def test_convolutions_keep_channels_innermost_from_end_to_end():
    network, layouts = small_network(), {}
    for name in ("res3d.units.2a.conv_a", "res3d.units.4b.conv_b", "mobilenet.blocks.1a.conv", "mobilenet.blocks.3b"):
        module = network.get_submodule(name)
        module.register_forward_hook(lambda _, args, y, name=name: layouts.__setitem__(name, (args[0], y)))
    with torch.no_grad():
        network(some_clips())
    formats = {5: torch.channels_last_3d, 4: torch.channels_last}
    assert len(layouts) == 4
    for tensors in layouts.values():
        assert all(tensor.is_contiguous(memory_format=formats[tensor.ndim]) for tensor in tensors)
    weights = [parameter for parameter in network.res3d.parameters() if parameter.ndim == 5]
    assert all(weight.is_contiguous(memory_format=torch.channels_last_3d) for weight in weights)


def test_clips_with_time_before_channels_are_refused_with_their_shape():
    with pytest.raises(ValueError, match=r"\(batch, 3, time, height, width\).*got \(2, 6, 3, 16, 16\)"):
        small_network()(torch.zeros(2, 6, 3, 16, 16))


def test_a_config_goes_through_json_and_back():
    for cell in (*CELLS, *STUDY_CELLS, MIXED):
        config = NetworkConfig.small(cell, num_classes=12, conventions="authors", clip_mean=0.75, mean=(1, 2.5, 3))
        back = NetworkConfig.from_json(json.loads(json.dumps(config.to_json())))
        assert back == config and hash(back) == hash(config)


def test_a_config_of_other_fields_is_refused_by_name():
    values = NetworkConfig.small("a", num_classes=2).to_json()
    del values["size"]
    with pytest.raises(ValueError, match=r"lacks \['size'\].*has \['depth'\]"):
        NetworkConfig.from_json({**values, "depth": 3})


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"cells": ("a", "e")}, LookupError, "no cell 'e'; there are convlstm, a"),
        ({"conventions": "ours"}, LookupError, "no conventions 'ours'; there are paper, authors"),
        ({"num_classes": 0}, ValueError, r"(?s)num_classes\n.*greater than or equal to 1 .*input_value=0"),
        ({"stem_stride": 0}, ValueError, r"(?s)stem_stride\n.*greater than or equal to 1 .*input_value=0"),
        ({"width": 0.0}, ValueError, r"(?s)width\n.*greater than 0 .*input_value=0.0"),
        ({"width": float("nan")}, ValueError, r"(?s)width\n.*finite number .*input_value=nan"),
        ({"width": float("inf")}, ValueError, r"(?s)width\n.*finite number .*input_value=inf"),
        ({"in_channels": 1}, ValueError, "mean needs a value for each of 1 channels"),
        ({"clip_mean": 1.5}, ValueError, r"(?s)clip_mean\n.*less than or equal to 1 .*input_value=1.5"),
    ],
)
def test_what_no_network_can_have_is_refused(changes, error, says):
    config = NetworkConfig.small("a", num_classes=2)
    with pytest.raises(error, match=says):
        replace(config, **changes)


@pytest.mark.parametrize("value", [3.0, True, "3"])
def test_only_a_whole_number_is_one(value):
    for name in ("num_classes", "in_channels", "stem_stride", "num_frames", "size"):
        with pytest.raises(ValueError, match=rf"(?s){name}\n.*valid integer .*input_value={value!r}"):
            NetworkConfig(**{"cells": ("a", "a"), "num_classes": 3, name: value})


def test_a_field_that_the_config_has_not_is_refused():
    with pytest.raises(ValueError, match=r"depth\n.*[Uu]nexpected"):
        NetworkConfig.small("a", num_classes=3, depth=3)
    values = NetworkConfig.small(MIXED, num_classes=2).to_json()
    values["cells"][0]["depth"] = 3
    with pytest.raises(ValueError, match=r"Cell\.depth\n.*[Uu]nexpected"):
        NetworkConfig.from_json(values)


@pytest.mark.slow
def test_the_input_is_what_to_batch_asks_for():
    clip = SyntheticGestures("valid", num_clips=1, size=32, num_frames=6)[0]
    network = small_network(num_frames=4, size=20, clip_mean=0.5)
    batch = to_batch(clip, **network.config.input)
    assert batch.shape == (1, 3, 4, 20, 20)
    assert network(batch).shape == (1, 5)


def test_another_head_leaves_the_rest_as_it_was():
    network = small_network("c")
    network.card = {"data": "what this one was trained on"}
    other = network.eval().with_classes(9)
    assert not any(module.training for module in other.modules())
    assert other.card is None
    assert other.config == replace(network.config, num_classes=9) and other.head.weight.shape == (9, 64)
    before, after = network.state_dict(), other.state_dict()
    rest = [name for name in before if not name.startswith("head")]
    assert all(torch.equal(before[name], after[name]) for name in rest)
    shared = {tensor.data_ptr() for tensor in before.values()} & {tensor.data_ptr() for tensor in after.values()}
    assert not shared


def test_functional_derivatives_agree_with_autograd():
    """For torch.func the quick tanh must keep what it saves apart from what it computes."""
    from gatescope.models import RecurrentLayer

    torch.manual_seed(0)
    layer, x = RecurrentLayer("a", 3, 4), torch.randn(2, 3, 3, 5, 5)
    weights = dict(layer.named_parameters())

    def loss(weights):
        return torch.func.functional_call(layer, weights, (x,)).square().sum()

    expected = torch.autograd.grad(loss(weights), list(weights.values()))
    for (name, found), gradient in zip(torch.func.grad(loss)(weights).items(), expected, strict=True):
        torch.testing.assert_close(found, gradient, rtol=1e-5, atol=1e-7, msg=name)


def test_a_card_from_before_attention_could_be_rescaled_is_still_read():
    values = NetworkConfig.small(STUDY_CELLS["b_rescaled"], num_classes=2).to_json()
    assert NetworkConfig.from_json(values).cells[0].rescaled
    del values["cells"][0]["rescaled"]
    assert NetworkConfig.from_json(values).cells[0] == CELLS["b"]
