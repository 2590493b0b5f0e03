"""Attributions add up, name every step, and agree with slow ways to the same numbers."""

from functools import cache
from itertools import pairwise, product

import numpy as np
import pytest
import torch
from captum.attr import DeepLift, InputXGradient, IntegratedGradients, LayerConductance, LayerGradCam
from captum.metrics import infidelity
from matplotlib.figure import Figure
from torch.nn.modules.batchnorm import _BatchNorm

from gatescope.atlas.pictures import attribution_curves as pictures
from gatescope.measures.faithfulness import TOP_DOWN, area_under, randomised, rank_correlation, removal, remove_tubes
from gatescope.models import GestureNetwork, NetworkConfig, untrained
from gatescope.recordings import intervene, record
from gatescope.recordings.attribution import at_pixels, chosen, conductance, grad_cam, integrated_gradients, still

CELLS = ["convlstm", "a", "b", "c", "d"]


@cache
def make(cell="a"):
    """A small network with random weights whose scores depend on its clips, and smoothly on its features."""
    torch.manual_seed(3)
    network = GestureNetwork(NetworkConfig.small(cell, num_classes=3, width=1 / 32, size=32)).double()
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.momentum = 1.0  # one batch makes the norms fit; without, each block lets less through
    for block in network.mobilenet.blocks.values():
        block.activation = torch.tanh  # sums over few steps of a path with kinks are no proof of anything
    network.train()(3 * clips())
    return network.eval().requires_grad_(False)


def clips():
    return torch.randn(2, 3, 4, 32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture(scope="module")
def x():
    return clips()


CLASSES = torch.tensor([2, 0])


def score_of(network, x, classes=CLASSES):
    with torch.no_grad():
        return chosen(network(x), classes)


class Nudge:
    """A change of one number, or of one channel, of what passes a point at one step."""

    def __init__(self, step, place, by):
        self.left, self.place, self.by = step, place, by

    def __call__(self, value):
        self.left -= 1
        if self.left == -1:
            value = value.clone()
            value[self.place] += self.by
        return value


def slope(network, x, clip, point, step, place, small=1e-6):
    """By how much a clip's score rises with what passes a point, by a small change to either side."""
    moved = []
    for by in (small, -small):
        with intervene(network, {point: Nudge(step, (clip, *place), by)}):
            moved.append(float(score_of(network, x)[clip]))
    return (moved[0] - moved[1]) / (2 * small)


@pytest.mark.slow
@pytest.mark.parametrize("cell", CELLS)
def test_recorded_gradients_are_what_small_changes_do(cell, x, shapes_unchecked):
    network = make(cell)
    points = ["features", "layer1.f", "layer1.c", "layer2.i", "layer2.h", "top"]
    with record(network, *points, gradients=True) as recording:
        score = chosen(network(x), CLASSES).sum()
    for point in points:
        gradient = recording.gradient(point, score)[1]
        for step in range(len(gradient)):
            # The strongest of every step: there is something to see. (The first step has nothing to forget.)
            place = np.unravel_index(int(gradient[step].abs().argmax()), gradient[step].shape)
            expected = float(gradient[(step, *place)])
            assert (expected != 0) == ((point, step) != ("layer1.f", 0)), (point, step)
            assert slope(network, x, 1, point, step, place) == pytest.approx(expected, rel=1e-4, abs=1e-9), (
                point,
                step,
            )


@pytest.mark.slow
@pytest.mark.parametrize(("cell", "point"), [("convlstm", "layer1.h"), ("c", "layer1.i")])
def test_grad_cam_is_what_small_changes_of_whole_channels_say(cell, point, x, shapes_unchecked):
    network = make(cell)
    maps = grad_cam(network, x, CLASSES, point)
    with record(network, point) as recording:
        network(x)
    values = recording[point][0]
    assert maps.shape == (2, len(values), *values.shape[2:])
    for step, value in enumerate(values):
        # The mean gradient is the slope for a change of the whole channel over its number of positions.
        weights = [slope(network, x, 0, point, step, (k,)) / value[0].numel() for k in range(len(value))]
        for row, column in product(range(value.shape[1]), range(value.shape[2])):
            total = sum(weight * float(value[k, row, column]) for k, weight in enumerate(weights))
            assert float(maps[0, step, row, column]) == pytest.approx(max(total, 0), rel=1e-3, abs=1e-9)
    assert maps.max() > 0


def test_captum_alone_returns_the_last_step_of_grad_cam(x):
    network = make("convlstm")
    alone = LayerGradCam(network, network.layer2.hooks["h"])
    found = alone.attribute(x.clone().requires_grad_(), target=CLASSES, relu_attributions=True)
    ours = grad_cam(network, x, CLASSES)
    assert found.shape == (2, 1, 8, 8) and ours.shape == (2, 2, 8, 8)
    torch.testing.assert_close(found[:, 0].detach(), ours[:, -1])


def test_grad_cam_of_what_has_no_place_is_refused(x):
    with pytest.raises(ValueError, match=r"layer1.f has the shape \(2, 2, 8\), a value per channel"):
        grad_cam(make("a"), x, CLASSES, "layer1.f")
    with pytest.raises(LookupError, match="no hook point"):
        grad_cam(make("a"), x, CLASSES, "layer3.h")


def test_one_frame_of_one_clip_has_one_map(x):
    assert grad_cam(make("d"), x[:1, :, :1], CLASSES[:1]).shape == (1, 1, 8, 8)


@pytest.fixture(scope="module")
def ends(x):
    """Features of clips, others not far from them, by a network, and the difference of their scores."""

    def of(network):
        with torch.no_grad():
            features = network.encode(x)
            reference = features + 0.05 * (network.encode(still(x)) - features)
            rise = chosen(network.score(features) - network.score(reference), CLASSES)
        return features, reference, rise

    return of


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cell", "cut"),
    [
        ("convlstm", "layer1.[ifog]"),
        ("convlstm", "layer2.[ifog]"),
        ("a", "layer2.h"),
        ("b", "layer1.[ifog]"),
        ("c", "layer1.[ifog]"),
        ("d", "layer1.h"),
    ],
)
def test_a_cut_holds_the_whole_difference_and_a_gate_alone_does_not(cell, cut, ends):
    network = make(cell)
    features, reference, rise = ends(network)
    found = conductance(network, features, reference, CLASSES, [cut], 4)
    total = sum(values.flatten(1).sum(1) for values in found.values())
    torch.testing.assert_close(total, rise, rtol=0.01, atol=0.01 * float(rise.abs().max()))
    alone = conductance(network, features, reference, CLASSES, ["layer1.f"], 2)["layer1.f"]
    assert alone.shape[:3] == (2, 2, 8)
    assert not alone[:, 0].any()  # nothing to forget
    assert not torch.allclose(alone.flatten(1).sum(1), rise, rtol=0.1)


@pytest.mark.slow
def test_conductance_of_whole_sequences_is_captums(ends):
    """Where a module returns all steps at once, captum has all of them, and each only by its way out of the layer."""
    network = make("convlstm")
    features, reference, _ = ends(network)
    captum = LayerConductance(network.score, network.layer1)
    expected = captum.attribute(features.clone().requires_grad_(), baselines=reference, target=CLASSES, n_steps=40)
    found = conductance(network, features, reference, CLASSES, ["layer1.h"], 8)["layer1.h"]
    torch.testing.assert_close(found, expected.detach(), rtol=0, atol=0.02 * float(found.abs().max()))


def test_conductance_of_the_top_is_known_in_closed_form(ends):
    network = make("b")
    features, reference, _ = ends(network)
    tops = []
    for given in (features, reference):
        with torch.no_grad(), record(network, "top") as recording:
            network.score(given)
        tops.append(recording["top"])
    found = conductance(network, features, reference, CLASSES, ["top"], 3)["top"]
    weights = network.head.weight[CLASSES][:, None, :, None, None]
    places = tops[0].shape[1] * tops[0].shape[3] * tops[0].shape[4]
    torch.testing.assert_close(found, (tops[0] - tops[1]) * weights / places)


def test_captum_alone_returns_one_step_of_a_gates_conductance(ends):
    network = make("convlstm")
    features, reference, _ = ends(network)
    captum = LayerConductance(network.score, network.layer1.hooks["f"])
    found = captum.attribute(features.clone().requires_grad_(), baselines=reference, target=CLASSES, n_steps=4)
    assert found.shape == (2, 8, 8, 8)
    assert conductance(network, features, reference, CLASSES, ["layer1.f"], 4)["layer1.f"].shape == (2, 2, 8, 8, 8)


@pytest.mark.slow
def test_integrated_gradients_add_up_and_agree_with_many_steps(x):
    network, clip = make("convlstm"), 3 * x[:1]
    found = integrated_gradients(network, clip, still(clip), CLASSES[:1], tolerance=0.02)
    rise = score_of(network, clip, CLASSES[:1]) - score_of(network, still(clip), CLASSES[:1])
    error = (found.values.flatten(1).sum(1) - rise).abs() / rise.abs().clamp_min(1)
    torch.testing.assert_close(found.errors.double(), error, rtol=1e-3, atol=1e-6)
    assert error <= 0.02 and found.gradients >= 16
    many = IntegratedGradients(network).attribute(clip, still(clip), target=CLASSES[:1], n_steps=48)
    assert torch.corrcoef(torch.stack([found.values.flatten(), many.flatten()]))[0, 1] > 0.9


@pytest.mark.slow
def test_integrated_gradients_of_nothing_are_nothing(x):
    found = integrated_gradients(make(), x[:1], x[:1], CLASSES[:1])
    assert not found.values.any() and found.errors < 1e-12 and found.gradients.tolist() == [16]


@pytest.mark.slow
def test_refinement_that_may_not_go_on_tells_its_error(x, monkeypatch):
    monkeypatch.setattr("gatescope.recordings.attribution.MAX_PIECES", 16)
    found = integrated_gradients(make(), 3 * x[:1], still(x[:1]), CLASSES[:1], tolerance=0.0)
    assert found.gradients.tolist() == [16] and found.errors > 0


def test_deep_lift_finds_no_module_to_give_a_rule_to(x):
    """Activations here are functions, not modules: what captum calls DeepLift is gradient times input."""
    network = make("convlstm")
    given = x.clone().requires_grad_()
    with pytest.warns(UserWarning, match="Setting forward, backward hooks"):
        found = DeepLift(network).attribute(given, torch.zeros_like(x), target=CLASSES)
    torch.testing.assert_close(found, InputXGradient(network).attribute(given, target=CLASSES))


def test_a_still_clip_has_one_picture(x):
    found = still(x)
    assert found.shape == x.shape and torch.equal(found[:, :, 0], found[:, :, -1])
    torch.testing.assert_close(found.mean(2), x.mean(2))


def test_maps_reach_pixels_of_any_size():
    maps = torch.arange(8.0).view(1, 2, 2, 2)
    found = at_pixels(maps, torch.zeros(1, 3, 4, 6, 5))
    assert found.shape == (1, 4, 6, 5)
    assert found[0, :2].unique().tolist() == [0, 1, 2, 3] and found[0, 2, 0, 0] == 4


def test_removal_goes_from_the_clip_to_its_reference_and_insertion_back(x):
    network, reference = make(), still(x)
    with torch.no_grad():
        start, end = (chosen(network(clips).softmax(1), CLASSES).numpy() for clips in (x, reference))
    priority = torch.rand(2, 3, 4, 4)
    away = removal(network, x, reference, at_pixels(priority, x), (0.0, 0.3, 1.0), CLASSES)
    back = removal(network, x, reference, at_pixels(priority, x), (0.0, 0.3, 1.0), CLASSES, insert=True)
    np.testing.assert_allclose(away[:, [0, 2]], np.stack([start, end], 1), rtol=1e-6)
    np.testing.assert_allclose(back[:, [0, 2]], np.stack([end, start], 1), rtol=1e-6)
    # The last part inserted is the first removed, seen from the other end.
    again = removal(network, reference, x, at_pixels(priority, x), (0.3,), CLASSES)
    np.testing.assert_allclose(back[:, 1], again[:, 0], rtol=1e-6)


def test_whole_frames_go_in_their_order(x):
    network, reference = make(), still(x)
    priority = torch.tensor([[0.0, 5, 1, 4], [9, 0, 0, 8]])
    found = removal(network, x, reference, priority[:, :, None, None], (0.5,), CLASSES)
    without = x.clone()
    without[0, :, [1, 3]] = reference[0, :, [1, 3]]
    without[1, :, [0, 3]] = reference[1, :, [0, 3]]
    with torch.no_grad():
        expected = chosen(network(without).softmax(1), CLASSES)
    np.testing.assert_allclose(found[:, 0], expected.numpy(), rtol=1e-6)


def test_equals_are_removed_in_no_order_of_place(x):
    """Or a mask would be removed from the first frame on."""
    network, reference = make(), still(x)
    first = torch.zeros(2, 4, 32, 32)
    first[:, :2] = 1
    curves = [removal(network, x, reference, order, (0.5,), CLASSES) for order in (first, torch.ones_like(first))]
    assert np.abs(curves[0] - curves[1]).max() > 1e-6


def test_the_area_under_a_line_is_its_mean_height():
    parts = [0.0, 0.1, 0.5, 1.0]
    assert area_under(np.array([[0.0, 0.1, 0.5, 1.0], [1, 1, 1, 1]]), parts) == pytest.approx([0.5, 1])


def test_tubes_lie_inside_and_an_exact_attribution_has_no_infidelity(x):
    perturb = remove_tubes((2, 5, 7))
    tube, without = perturb(x, still(x))
    assert tube.sum((1, 2, 3, 4)).tolist() == [3 * 2 * 5 * 7] * 2
    assert torch.equal(without[tube == 0], x[tube == 0]) and torch.equal(without[tube == 1], still(x)[tube == 1])
    weights = torch.randn_like(x[:1])

    def linear(clips):
        return (clips * weights).flatten(1).sum(1)

    exact = weights * (x - still(x))
    for attributions, wrong in ((exact, False), (exact.flip(2), True)):
        found = infidelity(linear, perturb, x, attributions, baselines=still(x), n_perturb_samples=4)
        assert (found > 1e-12).all() == wrong


def test_randomisation_goes_from_the_head_down_and_leaves_the_network_alone(x):
    network = make()
    before = score_of(network, x)
    stages = list(randomised(network, x))
    assert [name for name, _ in stages] == list(TOP_DOWN)
    for done, (_, spoilt) in enumerate(stages, 1):
        for number, name in enumerate(TOP_DOWN):
            pairs = zip(spoilt.get_submodule(name).parameters(), network.get_submodule(name).parameters(), strict=True)
            assert any(not torch.equal(*pair) for pair in pairs) == (number < done)
    assert torch.equal(score_of(network, x), before)


def test_random_parts_let_signals_through_as_an_untrained_network_does(x):
    torch.manual_seed(5)
    network = GestureNetwork(make().config).eval().requires_grad_(False)
    clips = 3 * x.float()
    stages = dict(randomised(network, clips, seed=7))
    torch.testing.assert_close(stages["res3d"](clips), untrained(network.config, 7, clips)(clips))
    assert (stages["res3d"](clips).std(0) > 1e-3).any()
    assert torch.equal(stages["layer1"].encode(clips), network.encode(clips))
    momenta = {module.momentum for module in stages["res3d"].modules() if isinstance(module, _BatchNorm)}
    assert None not in momenta and not any(module.training for module in stages["res3d"].modules())


def test_a_path_may_begin_with_fewer_pieces(x):
    network, clip = make(), x[:1]
    found = integrated_gradients(network, clip, still(clip), CLASSES[:1], tolerance=1.0, num_pieces=3)
    assert found.gradients.tolist() == [3]
    captum, ends, total = IntegratedGradients(network), torch.linspace(0, 1, 4).double() ** 1.7, 0
    for low, high in pairwise(ends):
        start, end = (still(clip) + at * (clip - still(clip)) for at in (low, high))
        total = total + captum.attribute(end, start, target=int(CLASSES[0]), n_steps=1)
    torch.testing.assert_close(found.values, total)


def test_rank_correlation_minds_only_the_order():
    maps = np.random.default_rng(0).random((3, 2, 4))
    others = np.stack([np.exp(maps[0]), -maps[1], np.ones((2, 4))])
    np.testing.assert_allclose(rank_correlation(maps, others), [1, -1, np.nan])


def test_bars_stack_to_either_side_of_nothing_and_rings_are_their_sums():
    ax = Figure().subplots()
    pictures.share_bars(ax, {"i": np.array([2.0, -1]), "f": np.array([1.0, -2]), "g": np.array([-4.0, 5])})
    ends = [(bar.get_y(), bar.get_y() + bar.get_height()) for bar in ax.patches]
    assert ends == [(0, 2), (0, -1), (2, 3), (-1, -3), (0, -4), (0, 5)]
    rings = next(line for line in ax.lines if line.get_label() == "sum")
    assert rings.get_xdata().tolist() == [1, 2] and rings.get_ydata().tolist() == [-1, 2]


def test_curves_are_drawn_with_their_mean_and_a_line_for_each_of_several_networks():
    ax = Figure().subplots()
    curves = {"map": np.array([[[1.0, 0.5], [0.5, 0.1]], [[0.9, 0.6], [0.4, 0.0]]]), "random": np.ones((1, 2, 2))}
    pictures.removal_curves(ax, (0.0, 0.4), curves, {"map": "red", "random": "grey"})
    assert len(ax.lines) == 2 + 1 + 1
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [0.7, 0.3])
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0", "40"]


def test_a_stage_without_ranks_leaves_a_gap():
    ax = Figure().subplots()
    found = [(1.0, 1.0, 1.0), (0.2, 0.1, 0.3), (np.nan,) * 3]
    pictures.spoilt_curves(ax, ["trained", "head", "all"], {"map": found}, {"map": "red"})
    np.testing.assert_array_equal(ax.lines[1].get_ydata(), [1, 0.2, np.nan])
    assert ax.collections[0].get_paths()[0].vertices[:, 1].max() == 1


def test_what_captum_leaves_out_covers_all_pictures_but_the_last():
    ax = Figure().subplots()
    cover, _ = pictures.not_returned(ax, 7, 66, 64, "not returned")
    assert cover.get_paths()[0].get_extents().x1 == 7 * 66 - 2
