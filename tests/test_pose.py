"""The pose machine: its printed sizes, its wiring, what it may see of time, what it learns."""

import copy
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from gatescope.files import sha256_of
from gatescope.measures.pose_errors import mpjpe
from gatescope.measures.pose_influence import influence
from gatescope.models import RPSM, GestureNetwork, NetworkConfig, RPSMConfig
from gatescope.models.pose_config import TRUNKS, VARIANTS
from gatescope.recordings import count_parameters, hook_points, intervene, record
from slow_poses import slow_stage, slow_trunk

TINY = {
    "size": 15,
    "trunk": (3, "pool", 4),
    "feature_channels": 3,
    "adaption_channels": 2,
    "adapted_features": 5,
    "hidden_features": 4,
}


def tiny_network(*, seed=0, **settings):
    """A network of a few weights, all of them random, in float64; with biases that keep its ReLUs alive."""
    torch.manual_seed(seed)
    network = RPSM(RPSMConfig.small(**{**TINY, **settings})).double()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                parameter.uniform_(0, 0.4)
    network.set_scale(some_poses(20))
    return network.eval()


def some_clips(batch=2, time=3, size=15, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, time, 3, size, size, generator=generator, dtype=torch.float64) - 0.5


def some_poses(*shape, seed=0):
    poses = 300 * torch.randn(*shape, 17, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return poses - poses[..., :1, :]


def on_meta(config):
    """A network without memory, to be counted."""
    with torch.device("meta"):
        return RPSM(config)


def sizes(*modules):
    return tuple(count_parameters(module, biases=True) for module in modules)


# Sizes


@pytest.mark.parametrize(
    ("variant", "stages", "first"),
    [("table", 86_017_689, 28_434_995), ("torch", 85_231_257, 28_172_851), ("caffe", 68_716_185, 22_667_827)],
)
def test_the_variants_have_the_counted_parameters(variant, stages, first):
    network = on_meta(RPSMConfig.paper(variant))
    found = sizes(*network.stages)
    assert sum(found) == stages
    # A later stage has the maps of the one before, 128 more channels in, and 51 more numbers into each gate.
    assert found == (first, *[first + 9 * 128 * 128 + 4 * 51 * 1024] * 2)
    assert sizes(network) == (stages + 7_340_992,)


def test_the_parts_of_the_table_have_the_counted_parameters():
    first, second, _ = on_meta(RPSMConfig.paper()).stages
    assert sizes(first.pose_2d, second.pose_2d) == (295_168, 442_624)
    convolutions, fc_1 = second.adaption[:4], second.adaption[5]
    assert sizes(convolutions, fc_1) == (819_456, 18_875_392)
    assert sizes(first.lstm, second.lstm) == (8_392_704, 8_601_600)
    assert sizes(first.to_pose) == (52_275,)
    assert sizes(first, second) == (28_434_995, 28_791_347)


@pytest.mark.parametrize(("trunk", "count"), [("notes", 7_340_992), ("cpm", 9_110_720)])
def test_the_trunks_have_the_counted_parameters(trunk, count):
    assert sizes(on_meta(RPSMConfig.paper(trunk=trunk)).trunk) == (count,)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_papers_network_has_the_papers_maps(variant):
    network = on_meta(RPSMConfig.paper(variant))
    with torch.no_grad(), record(network) as recording:
        values = network(torch.zeros(1, 2, 3, 368, 368, device="meta"))
    assert values.shape == (1, 3, 2, 51)
    assert recording["trunk"].shape == recording["stage3.features"].shape == (1, 2, 128, 46, 46)
    assert recording["stage2.adapted"].shape == recording["stage2.lstm.h"].shape == (1, 2, 1024)
    side = {"table": 12, "torch": 12, "caffe": 10}[variant]
    assert network.config.adapted_side == side
    assert network.stage1.adaption[-2].in_features == 128 * side**2


def test_a_feedback_that_is_cut_has_no_weights():
    full, no_3d, no_2d, neither = (
        sum(sizes(*on_meta(RPSMConfig.paper(feedback_2d=maps, feedback_3d=poses)).stages))
        for maps in (True, False)
        for poses in (True, False)
    )
    assert full - no_2d == 2 * 9 * 128 * 128
    assert full - no_3d == 2 * 4 * 51 * 1024
    assert neither == 3 * 28_434_995


@pytest.mark.parametrize("preset", [RPSMConfig.paper, RPSMConfig.small])
def test_the_twin_without_memory_has_as_many_parameters(preset):
    lstm, twin = on_meta(preset()), on_meta(preset(recurrent=False))
    assert sizes(twin)[0] - sizes(lstm)[0] == 3 * lstm.config.hidden_features
    assert sizes(twin.stage2.frame_mlp)[0] == pytest.approx(sizes(lstm.stage2.lstm)[0], rel=0.01)


def test_shared_stages_have_the_weights_of_one():
    (stage,) = sizes(on_meta(RPSMConfig.paper()).stage2)
    assert sizes(on_meta(RPSMConfig.paper(shared_stages=True))) == (7_340_992 + stage,)
    alone = RPSMConfig.paper(shared_stages=True, num_stages=1)
    assert sizes(on_meta(alone).stage1) == (28_434_995,)


# Equations


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"variant": "torch"},
        {"variant": "caffe"},
        {"recurrent": False, "size": 16},
        {"feedback_2d": False, "trunk": (2, 4, "pool")},
        {"feedback_3d": False, "size": 14},
    ],
    ids=str,
)
def test_every_stage_is_its_equations(settings):
    network, x = tiny_network(num_stages=2, **settings), some_clips(1, 2, settings.get("size", 15))
    config = network.config
    with torch.no_grad(), record(network) as recording:
        values = network(x)[0].numpy()
    kernels = [(m.weight.detach().numpy(), m.bias.detach().numpy()) for m in network.trunk if hasattr(m, "weight")]
    maps = np.stack([slow_trunk(kernels, config.trunk_layers, frame) for frame in x[0].numpy()])
    np.testing.assert_allclose(recording["trunk"][0], maps, rtol=1e-12, atol=1e-14)
    features = poses = None
    for number, stage in enumerate(network.stages, 1):
        features, adapted, poses = slow_stage(
            stage.state_dict(),
            VARIANTS[config.variant],
            maps,
            features if config.feedback_2d else None,
            poses if config.feedback_3d else None,
        )
        np.testing.assert_allclose(recording[f"stage{number}.features"][0], features, rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(recording[f"stage{number}.adapted"][0], adapted, rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(values[number - 1], poses, rtol=1e-11, atol=1e-13)


# Time


@pytest.mark.parametrize("recurrent", [True, False])
def test_no_pose_sees_what_comes_later(recurrent):
    network, x = tiny_network(recurrent=recurrent), some_clips(2, 5)
    with torch.no_grad():
        values = network(x)
        for t in range(5):
            other = x.clone()
            other[:, t] = some_clips(2, 1, seed=1)[:, 0]
            same = (network(other) == values).all(-1).all(1).all(0)
            changed = (network(other) != values).any(-1).all(1).all(0)
            assert same[:t].all() and changed[t]
            assert changed[t:].all() if recurrent else same[t + 1 :].all()


@pytest.mark.slow
@pytest.mark.parametrize("recurrent", [True, False])
def test_influence_is_the_jacobian_frame_by_frame(recurrent):
    network, x = tiny_network(recurrent=recurrent), some_clips(1, 4)
    found = influence(network, x)
    jacobian = torch.autograd.functional.jacobian(lambda x: network.poses(x)[0, -1], x)
    slow = torch.tensor([[jacobian[t, :, :, 0, s].square().sum().sqrt() for s in range(4)] for t in range(4)])
    torch.testing.assert_close(found, slow.double(), rtol=1e-6, atol=0)
    rows, columns = torch.meshgrid(torch.arange(4), torch.arange(4), indexing="ij")
    acts = rows >= columns if recurrent else rows == columns
    assert ((found > 0) == acts).all()
    assert all(parameter.grad is None for parameter in network.parameters())


def test_one_frame_alone_is_what_a_network_without_state_makes_of_it():
    """With zeros before it a frame's cell state is i g: neither the forget gate nor what multiplies the state acts."""
    network, x = tiny_network(num_stages=2), some_clips(3, 1)
    values = network(x)
    pose = None
    with torch.no_grad(), record(network, "*.adapted") as recording:
        network(x)
    for number, stage in enumerate(network.stages):
        given = recording[f"stage{number + 1}.adapted"]
        given = given if pose is None else torch.cat([given, pose], 2)
        i, f, g, o = stage.lstm.input_to_state(given).chunk(4, 2)
        pose = stage.to_pose(o.sigmoid() * (i.sigmoid() * g.tanh()).tanh())
        torch.testing.assert_close(values[:, number], pose, rtol=1e-12, atol=1e-14)
    values.square().sum().backward()
    for stage in network.stages:
        for name in ("weight", "bias"):
            i, f, g, o = getattr(stage.lstm.input_to_state, name).grad.chunk(4)
            assert (f == 0).all() and all((part != 0).any() for part in (i, g, o))
        assert (stage.lstm.state_to_state.weight.grad == 0).all()


def test_a_clip_in_pieces_forgets_where_it_is_cut():
    network, x = tiny_network(), some_clips(1, 4)
    with torch.no_grad():
        whole, pieces = network(x), network(x.transpose(0, 1)).transpose(0, 2)
    torch.testing.assert_close(pieces[:, :, 0], whole[:, :, 0], rtol=1e-12, atol=1e-14)
    assert (pieces - whole).abs().amax((0, 1, 3))[1:].min() > 1e-4


# Wiring


@torch.no_grad()
def without(network, number, *, maps=False, poses=False):
    """Set to zero what a stage multiplies the maps or poses of the one before with."""
    stage = getattr(network, f"stage{number}")
    if maps:
        stage.pose_2d[0].weight[:, network.config.trunk_channels :] = 0
    if poses:
        stage.lstm.input_to_state.weight[:, -51:] = 0
    return network


@pytest.mark.parametrize("number", [2, 3])
@pytest.mark.parametrize(("maps", "poses"), [(True, True), (True, False), (False, True)])
def test_a_stage_knows_the_one_before_by_its_maps_and_poses_alone(number, maps, poses):
    network, x = without(tiny_network(), number, maps=maps, poses=poses), some_clips()
    before = f"stage{number - 1}"
    changes = {f"{before}.features": lambda value: value + 1, f"{before}.pose": lambda value: value - 1}
    with torch.no_grad():
        values = network(x)[:, number - 1]
        for name, cut in zip(changes, (maps, poses), strict=True):
            with intervene(network, {name: changes[name]}):
                other = network(x)[:, number - 1]
            # A change of a stage's maps changes its poses as well.
            reached = not cut or (name.endswith("features") and not poses)
            assert (other != values).any() == reached


@pytest.mark.parametrize(
    ("settings", "by_maps", "by_poses"),
    [
        ({}, True, True),
        ({"feedback_2d": False}, False, True),
        ({"feedback_3d": False}, True, False),
        ({"feedback_2d": False, "feedback_3d": False}, False, False),
        ({"detached_feedback": True}, False, False),
    ],
    ids=str,
)
def test_the_last_stages_loss_reaches_the_first_through_each_path(settings, by_maps, by_poses):
    network, x = tiny_network(deep_supervision=False, **settings), some_clips()
    with record(network, "stage1.*", "trunk", gradients=True) as recording:
        loss = network.loss(network(x), some_poses(2, 3, seed=1))
    # Only the poses come behind the LSTM; the maps come before it, and go into the poses as well.
    assert (recording.gradient("trunk", loss) != 0).any()
    for name, reached in (("pose", by_poses), ("lstm.c", by_poses), ("features", by_maps or by_poses)):
        assert (recording.gradient(f"stage1.{name}", loss) != 0).any() == reached, name
    loss.backward()
    reached = {name for name, weight in network.stage1.named_parameters() if (weight.grad != 0).any()}
    parts = {name.partition(".")[0] for name in reached}
    wanted = {"pose_2d"} if by_maps else set()
    assert parts == (wanted | {"pose_2d", "adaption", "lstm", "to_pose"} if by_poses else wanted)


def test_no_feedback_is_a_feedback_multiplied_by_zero():
    full, x = tiny_network(), some_clips()
    for number in (2, 3):
        without(full, number, maps=True, poses=True)
    cut = tiny_network(feedback_2d=False, feedback_3d=False)
    wanted = {name: weight.shape for name, weight in cut.state_dict().items()}
    state = full.state_dict()
    for name, shape in wanted.items():
        state[name] = state[name][tuple(slice(side) for side in shape)]
    cut.load_state_dict(state)
    torch.testing.assert_close(cut(x), full(x), rtol=1e-12, atol=1e-14)


def test_detached_feedback_changes_no_pose():
    x = some_clips()
    with torch.no_grad():
        assert torch.equal(tiny_network()(x), tiny_network(detached_feedback=True)(x))


def test_shared_stages_are_the_same_stage_again():
    network, x = tiny_network(shared_stages=True), some_clips()
    with torch.no_grad(), record(network) as recording:
        network(x)
    apart = tiny_network(num_stages=2)
    weights = network.stage1.state_dict()
    apart.stage2.load_state_dict(weights)
    with torch.no_grad(), record(apart, "stage2.pose") as again:
        for number in (2, 3):
            changes = {
                "trunk": lambda _: recording["trunk"],
                "stage1.features": lambda _, before=number - 1: recording[f"stage{before}.features"],
                "stage1.pose": lambda _, before=number - 1: recording[f"stage{before}.pose"],
            }
            with intervene(apart, {name: recorded(change) for name, change in changes.items()}):
                apart(x)
            torch.testing.assert_close(again["stage2.pose"], recording[f"stage{number}.pose"], rtol=1e-12, atol=1e-14)
    zeros = {"features": torch.zeros(2, 3, 3, 7, 7).double(), "pose": torch.zeros(2, 3, 51).double()}
    with torch.no_grad():
        first = apart.stage2(recording["trunk"], **zeros)[1]
    torch.testing.assert_close(first, recording["stage1.pose"], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("copied", [lambda network: network, copy.deepcopy])
def test_shared_stages_learn_as_one_and_are_kept_once(copied, tmp_path):
    network = copied(tiny_network(shared_stages=True))
    assert not [name for name in network.state_dict() if name.startswith(("stage2", "stage3"))]
    other = tiny_network(shared_stages=True, seed=1)
    other.load_state_dict(network.state_dict())
    with torch.no_grad():
        other.stage3.to_pose.weight.mul_(2)
        assert torch.equal(other.stage1.to_pose.weight, 2 * network.stage2.to_pose.weight)
    network.save(tmp_path / "network.safetensors")
    back, x = RPSM.load(tmp_path / "network.safetensors"), some_clips()
    assert torch.equal(back(x), network(x)) and sizes(back) == sizes(network)


def test_a_frozen_trunk_learns_nothing():
    network = tiny_network(freeze_trunk=True)
    network.loss(network(some_clips()), some_poses(2, 3)).backward()
    assert all(weight.grad is None for weight in network.trunk.parameters())
    assert all(weight.grad is not None for stage in network.stages for weight in stage.parameters())


# Losses and scales


def slow_loss(values, target, loss, scale, stages):
    batch, _, time, _ = values.shape
    total = 0.0
    for k in stages:
        for n in range(batch):
            for t in range(time):
                difference = [float(values[n, k, t, m] - target[n, t, m]) for m in range(51)]
                if loss == "mse":
                    of_pose = sum(d * d for d in difference) / 51
                elif loss == "l1":
                    of_pose = sum(abs(d) for d in difference)
                else:
                    in_mm = [d * float(s) for d, s in zip(difference, scale.flatten(), strict=True)]
                    of_pose = sum(math.hypot(*in_mm[3 * j : 3 * j + 3]) for j in range(17)) / 17
                total += of_pose / (batch * time)
    return total


@pytest.mark.parametrize("loss", ["mse", "l1", "mpjpe"])
@pytest.mark.parametrize(("deep_supervision", "stages"), [(True, (0, 1, 2)), (False, (2,))])
def test_losses_are_their_equations(loss, deep_supervision, stages):
    network = tiny_network(loss=loss, deep_supervision=deep_supervision)
    values, poses = torch.randn(2, 3, 4, 51).double(), some_poses(2, 4, seed=1)
    slow = slow_loss(values, network.normalise(poses), loss, network.pose_scale, stages)
    assert float(network.loss(values, poses)) == pytest.approx(slow, rel=1e-12)


def test_the_loss_mpjpe_is_the_measure():
    network = tiny_network(loss="mpjpe", deep_supervision=False)
    predicted, truth = some_poses(2, 1, 4), some_poses(2, 4, seed=1)
    loss = network.loss(network.normalise(predicted), truth)
    assert float(loss) == pytest.approx(float(mpjpe(predicted[:, -1], truth).mean()), rel=1e-9)


def test_a_pose_that_is_right_has_no_loss_and_a_gradient_of_zero():
    for loss in ("mse", "l1", "mpjpe"):
        network, poses = tiny_network(loss=loss), some_poses(2, 4)
        values = network.normalise(poses)[:, None].expand(-1, 3, -1, -1).clone().requires_grad_()
        found = network.loss(values, poses)
        (gradient,) = torch.autograd.grad(found, values)
        assert float(found.detach()) == 0 and (gradient == 0).all()


@pytest.mark.parametrize("scale", ["standard", "minmax"])
def test_a_scale_goes_there_and_back(scale):
    network, poses = tiny_network(scale=scale), some_poses(40, 3, seed=2) + 50
    poses -= poses[..., :1, :].clone()
    network.set_scale(poses)
    values = network.normalise(poses)
    torch.testing.assert_close(network.denormalise(values), poses, rtol=1e-12, atol=1e-9)
    assert (values[..., :3] == 0).all()
    moving = values.flatten(0, 1)[:, 3:]
    if scale == "minmax":
        torch.testing.assert_close(moving.amin(0), torch.zeros(48).double())
        torch.testing.assert_close(moving.amax(0), torch.ones(48).double())
    else:
        torch.testing.assert_close(moving.mean(0), torch.zeros(48).double(), rtol=0, atol=1e-12)
        torch.testing.assert_close(moving.std(0, correction=0), torch.ones(48).double())
    assert (network.pose_scale[0] == 1e-4).all()
    x = some_clips()
    expected = network.denormalise(network(x))
    assert expected.shape == (2, 3, 3, 17, 3)
    assert torch.equal(network.poses(x), expected)


@pytest.mark.parametrize("scale", ["standard", "minmax"])
def test_what_never_moves_is_divided_by_a_millimetre(scale):
    network, pose = tiny_network(scale=scale), some_poses()
    network.set_scale(pose.numpy().astype(np.float32))
    assert (network.pose_scale[1:] == 1).all()
    assert network.normalise(pose).abs().max() < 1e-3


def test_a_scale_of_other_than_poses_from_the_pelvis_is_refused():
    network, poses = tiny_network(), some_poses(4)
    poses[1, 3] = np.nan
    for wrong in (poses[:0], poses, some_poses(4) + 1):
        with pytest.raises(ValueError, match="at least one finite pose, all relative to the pelvis; got [04], [01] of"):
            network.set_scale(wrong)


@pytest.mark.slow
@pytest.mark.parametrize("recurrent", [True, False])
def test_one_clip_is_learnt_by_heart(shapes_unchecked, recurrent):
    torch.manual_seed(0)
    network = RPSM(RPSMConfig.small(size=16, recurrent=recurrent))
    x, poses = some_clips(1, 5, 16).float(), some_poses(1, 5).float()
    network.set_scale(poses)
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(100):
        optimizer.zero_grad()
        network.loss(network(x), poses).backward()
        optimizer.step()
    with torch.no_grad():
        assert mpjpe(network.poses(x), poses[:, None]).max() < 5


# Hook points


def recorded(change):
    """A replacement that needs no look at what it replaces, step by step."""
    steps = None

    def replace(_):
        nonlocal steps
        steps = iter(change(None).unbind(1)) if steps is None else steps
        return next(steps)

    return replace


def test_every_quantity_of_every_stage_has_its_name():
    names = [f"stage{k}.{q}" for k in (1, 2, 3) for q in ("features", "adapted", "pose")]
    gates = [f"stage{k}.lstm.{q}" for k in (1, 2, 3) for q in "ifgoch"]
    assert set(hook_points(tiny_network())) == {"trunk", *names, *gates}
    assert set(hook_points(tiny_network(recurrent=False))) == {"trunk", *names}


@pytest.mark.parametrize("shared", [False, True])
def test_recordings_hold_what_passed_and_change_nothing(shared):
    network, x = tiny_network(shared_stages=shared), some_clips()
    with torch.no_grad():
        plain = network(x)
        with record(network) as recording:
            assert torch.equal(network(x), plain)
    assert recording["trunk"].shape == (2, 3, 4, 7, 7) and recording["stage2.features"].shape == (2, 3, 3, 7, 7)
    assert recording["stage2.adapted"].shape == (2, 3, 5) and recording["stage2.lstm.c"].shape == (2, 3, 4)
    for number in (1, 2, 3):
        assert torch.equal(recording[f"stage{number}.pose"], plain[:, number - 1])
    c, o = recording["stage3.lstm.c"], recording["stage3.lstm.o"]
    torch.testing.assert_close(network.stage3.to_pose(o * c.tanh()), plain[:, 2], rtol=1e-12, atol=1e-14)


def test_a_forget_gate_that_is_held_shut_leaves_frames_to_themselves():
    network, x = tiny_network(num_stages=1), some_clips(1, 4)
    shut = {"stage1.lstm.f": torch.zeros_like, "stage1.lstm.h": lambda h: h}
    with torch.no_grad():
        network.stage1.lstm.state_to_state.weight.zero_()
        alone = network(x.transpose(0, 1)).transpose(0, 2)
        assert (network(x) - alone).abs().max() > 1e-4
        with intervene(network, shut):
            torch.testing.assert_close(network(x), alone, rtol=1e-12, atol=1e-14)


def test_a_pose_that_is_replaced_is_what_the_next_stage_gets():
    network, x = tiny_network(num_stages=2), some_clips()
    with torch.no_grad(), intervene(network, {"stage1.pose": torch.zeros_like}):
        values = network(x)
        assert (values[:, 0] == 0).all()
        without(network, 2, poses=True)
        torch.testing.assert_close(network(x)[:, 1], values[:, 1], rtol=1e-12, atol=1e-14)


# Edges


def test_a_clip_gives_alike_alone_and_in_a_batch():
    network, x = tiny_network(), some_clips(3)
    with torch.no_grad():
        torch.testing.assert_close(network(x)[1:2], network(x[1:2]), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("size", [33, 48, 61, 64])
def test_any_size_is_taken(variant, size):
    network = RPSM(RPSMConfig.small(size=size, variant=variant))
    with torch.no_grad():
        assert network(some_clips(1, 1, size).float()).isfinite().all()


@pytest.mark.parametrize(("variant", "least"), [("table", 1), ("torch", 1), ("caffe", 7)])
def test_frames_too_small_for_the_variant_are_refused(variant, least):
    settings = {**TINY, "trunk": (3, "pool", 4), "variant": variant}
    assert RPSM(RPSMConfig.small(**{**settings, "size": 2 * least}))(
        torch.zeros(1, 1, 3, 2 * least, 2 * least)
    ).shape == (1, 3, 1, 51)
    with pytest.raises(ValueError, match=f"frames of {2 * least - 1} px leave no map behind"):
        RPSMConfig.small(**{**settings, "size": 2 * least - 1})


def test_what_is_not_a_number_spreads_to_later_frames_of_its_clip_alone():
    network, x = tiny_network(), some_clips(3, 4)
    x[1, 2, 0, 3, 3] = np.nan
    with torch.no_grad():
        finite = network(x).isfinite()
    assert finite[[0, 2]].all() and finite[1, :, :2].all()
    assert not finite[1, :, 2:].any()


@pytest.mark.parametrize(
    "x",
    [
        torch.zeros(1, 3, 4, 15, 15),
        torch.zeros(1, 4, 3, 16, 15),
        torch.zeros(0, 4, 3, 15, 15),
        torch.zeros(1, 0, 3, 15, 15),
        torch.zeros(1, 4, 1, 15, 15),
    ],
    ids=lambda x: str(tuple(x.shape)),
)
def test_clips_of_another_shape_are_refused_with_it(x):
    with pytest.raises(ValueError, match=r"must be \(batch, time, 3, 15, 15\) floats.*got \(\d, \d, \d, 1\d, 15\)"):
        tiny_network()(x.double())


def test_float32_and_bfloat16_stay_with_float64():
    network, x = tiny_network(), some_clips()
    with torch.no_grad():
        double = network(x)
        network.float()
        single = network(x.float())
        with torch.autocast("cpu", torch.bfloat16):
            half = network(x.float())
    scale = double.abs().max()
    assert (single - double).abs().max() < 1e-5 * scale
    assert (half - double).abs().max() < 3e-2 * scale


def test_convolutions_keep_channels_innermost_from_end_to_end():
    network, layouts = tiny_network(), []
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(lambda _, args, y: layouts.append((args[0], y)))
    with torch.no_grad():
        network(some_clips())
    assert len(layouts) == 2 + 3 * 4
    tensors = [tensor for pair in layouts for tensor in pair if min(tensor.shape[2:]) > 1]
    assert all(tensor.is_contiguous(memory_format=torch.channels_last) for tensor in tensors)


# Configs and files


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"variant": "theano"}, LookupError, "no variant 'theano'; there are table, torch, caffe"),
        ({"trunk": "vgg"}, LookupError, "no trunk 'vgg'; there are notes, cpm, small, or write its layers"),
        ({"loss": "l2"}, LookupError, "no loss 'l2'; there are mse, l1, mpjpe"),
        ({"scale": "unit"}, LookupError, "no scale 'unit'; there are standard, minmax"),
        ({"trunk": ()}, ValueError, "a trunk needs layers"),
        ({"trunk": ("pool", 3)}, ValueError, "of which the first is a convolution; got"),
        ({"trunk": (3, 0)}, ValueError, r"(?s)trunk\..*greater than or equal to 1 .*input_value=0"),
        ({"trunk": (3, "relu")}, ValueError, r"(?s)trunk\..*\'pool\' .*input_value=\'relu\'"),
        ({"num_stages": 0}, ValueError, r"(?s)num_stages\n.*greater than or equal to 1 .*input_value=0"),
        ({"hidden_features": -1}, ValueError, r"(?s)hidden_features\n.*greater than or equal to 1 .*input_value=-1"),
        ({"size": 3}, ValueError, "frames of 3 px leave no map behind the trunk and variant 'table'"),
    ],
)
def test_what_no_network_can_have_is_refused(changes, error, says):
    config = RPSMConfig.small()
    with pytest.raises(error, match=says):
        replace(config, **changes)


@pytest.mark.parametrize("trunk", [*TRUNKS, (5, "pool", 6)])
def test_a_config_goes_through_json_and_back(trunk):
    config = RPSMConfig.paper(trunk=trunk, shared_stages=True, loss="l1")
    back = RPSMConfig.from_json(json.loads(json.dumps(config.to_json())))
    assert back == config and hash(back) == hash(config)
    values = config.to_json()
    del values["size"]
    with pytest.raises(ValueError, match=r"lacks \['size'\] and has \['depth'\] besides"):
        RPSMConfig.from_json({**values, "depth": 3})


@pytest.mark.parametrize("settings", [{}, {"recurrent": False}, {"variant": "torch", "scale": "minmax"}], ids=str)
def test_a_network_comes_back_as_it_was(tmp_path, settings):
    path, network, x = tmp_path / "network.safetensors", tiny_network(**settings), some_clips()
    card = network.save(path, data="rendered gaits", seed=3, metrics={"mpjpe_mm": 58.5})
    back = RPSM.load(path)
    assert back.config == network.config and not back.training
    assert torch.equal(back.poses(x), network.poses(x))
    assert back.card == card == json.loads(path.with_suffix(".json").read_text())
    assert (card["data"], card["seed"], card["metrics"]) == ("rendered gaits", 3, {"mpjpe_mm": 58.5})
    assert card["weights_sha256"] == sha256_of(path)
    assert RPSM.load(path).pose_scale.dtype == torch.float64


def test_files_of_something_else_are_refused(tmp_path):
    path = tmp_path / "network.safetensors"
    with pytest.raises(FileNotFoundError, match="the weights, is missing"):
        RPSM.load(path)
    GestureNetwork(NetworkConfig.small("a", num_classes=2, width=1 / 32)).save(path)
    with pytest.raises(ValueError, match="no config of such a network"):
        RPSM.load(path)
    network = tiny_network()
    with pytest.raises(ValueError, match="the card has config of its own"):
        network.save(path, config={})
    network.config = replace(network.config, hidden_features=9)
    network.save(path)
    with pytest.raises(ValueError, match=r"stage1.lstm.input_to_state.weight is \(16, 5\) in the file, \(36, 5\)"):
        RPSM.load(path)
