"""Pictures of specialised neurons: what is drawn is what was given."""

import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgba
from matplotlib.figure import Figure


@pytest.fixture
def ax():
    return Figure().add_subplot()


@pytest.fixture(scope="module")
def neurons():
    from gatescope.atlas.pictures.specialised_neurons import neurons

    return neurons


@pytest.fixture(scope="module")
def routing():
    from gatescope.atlas.pictures.specialised_neurons import routing

    return routing


@pytest.fixture(scope="module")
def decisions():
    from gatescope.atlas.pictures.specialised_neurons import gate_decisions as decisions

    return decisions


@pytest.fixture(scope="module")
def learning():
    from gatescope.atlas.pictures.specialised_neurons import learning

    return learning


def names_of(labels):
    return [label.get_text() for label in labels]


def test_rows_of_a_class_matrix_sum_to_one_and_families_stand_together(neurons, ax):
    counts = np.array([[3, 1], [0, 0], [0, 5]])
    shown = neurons.class_by_neuron(ax, counts, ["x up", "y up", "x down"], ["x", "y", "x"])
    assert np.asarray(shown.get_array()).tolist() == [[0.75, 0.25], [0, 1], [0, 0]]
    assert names_of(ax.get_yticklabels()) == ["x up", "x down", "y up"]
    assert names_of(ax.get_xticklabels()) == ["1", "2"]
    assert {text.get_text(): text.get_position()[1] for text in ax.texts} == {"75": 0, "25": 0, "100": 1}
    assert [line.get_ydata()[0] for line in ax.get_lines()] == [1.5]


def test_families_are_named_beside_the_middle_of_their_rows(neurons, ax):
    families = ["x", "y", "x", "x"]
    neurons.class_by_neuron(ax, np.ones((4, 2), int), [*"abcd"], families)
    names = neurons.name_families(ax, families)
    assert [(name.get_text(), name.get_position()[1]) for name in names] == [("x", 1), ("y", 3)]
    assert all(name.get_position()[0] > 1.5 for name in names)


def test_a_table_has_its_numbers_in_percent_and_none_for_what_is_unknown(neurons, ax):
    neurons.percent_table(ax, np.array([[0.0, 1.0], [np.nan, 0.634]]), ["a", "b"], ["own", "1"])
    assert names_of(ax.texts) == ["0", "100", "63"]
    assert names_of(ax.get_yticklabels()) == ["a", "b"] and names_of(ax.get_xticklabels()) == ["own", "1"]


def test_gates_stand_in_one_order_for_all_neurons_with_their_numbers(neurons, ax):
    shown = neurons.gate_map(ax, np.array([[0.9, 0.2, 0.4], [0.7, 0.1, 0.6]]))
    assert names_of(ax.get_xticklabels()) == ["1", "2", "0"]
    assert np.asarray(shown.get_array()).tolist() == [[0.2, 0.4, 0.9], [0.1, 0.6, 0.7]]
    assert names_of(ax.get_yticklabels()) == ["neuron 1", "neuron 2"]


def test_a_gate_has_one_of_two_colours_the_paler_the_less_sure(neurons):
    spatial, nearly, hardly, temporal = (neurons.GATE_COLOURS(p) for p in (0.0, 0.49, 0.51, 1.0))
    assert (to_hex(spatial), to_hex(temporal)) == (neurons.SPATIAL.lower(), neurons.TEMPORAL.lower())
    assert nearly[2] > nearly[0] + 0.05 and hardly[0] > hardly[2] + 0.05
    assert min(nearly[:3]) > 0.8 and min(hardly[:3]) > 0.8


def test_both_parts_of_a_neurons_channels_fill_its_bar(neurons, ax):
    temporal, other, spatial, rest = neurons.fraction_bars(ax, np.array([0.25, 1.0]))
    assert [bar.get_width() for bar in (temporal, other, spatial, rest)] == [0.25, 1, 0.75, 0]
    assert spatial.get_x() == 0.25 and names_of(ax.texts) == ["0.25", "1.00"]


def test_neurons_stand_by_what_they_serve_and_a_seeds_weighted_means_are_joined(neurons, ax):
    shares = np.array([[0.0, np.nan], [1.0, 0.2]])
    drawn = neurons.fraction_by_service(ax, shares, np.array([[0.1, 0.9], [0.8, 0.5]]), np.array([[40, 0], [10, 30]]))
    half = neurons.ASIDE / 2
    first_still, first_moving, still, moving, line = drawn  # seed 0 serves no temporal clip: nothing is joined
    np.testing.assert_allclose(first_still.get_offsets(), [[-half, 0.1]])
    assert not len(first_moving.get_offsets())
    np.testing.assert_allclose(still.get_offsets(), [[half, 0.5]])
    np.testing.assert_allclose(moving.get_offsets(), [[1 + half, 0.8]])
    np.testing.assert_allclose(line.get_xydata(), [[half, 0.5], [1 + half, 0.8]])
    assert still.get_sizes() == 3 * moving.get_sizes() and first_still.get_sizes() == 4 * moving.get_sizes()
    assert ax.get_ylim() == (0, 1)


def test_the_mean_of_several_neurons_is_weighted_by_their_clips(neurons, ax):
    shares, fractions, served = np.array([[0.0, 0.0, 1.0]]), np.array([[0.0, 1.0, 0.5]]), np.array([[10, 30, 5]])
    *_, line = neurons.fraction_by_service(ax, shares, fractions, served)
    assert line.get_ydata() == pytest.approx([0.75, 0.5])


def test_pulses_are_drawn_less_their_clips_mean_and_the_server_has_the_dot(routing, ax):
    pulses = np.array([[1.0, 3.0], [10.0, 4.0], [0.0, 0.0]])
    shown, dots = routing.pulse_matrix(ax, pulses, np.array([1, 0, 1]))
    assert np.asarray(shown.get_array()).tolist() == [[-1, 3, 0], [1, -3, 0]]
    assert dots.get_xdata().tolist() == [0, 1, 2] and dots.get_ydata().tolist() == [1, 0, 1]
    low, high = shown.get_clim()
    assert low == -high and 2 < high <= 3


@pytest.mark.parametrize("num_neurons", [1, 3])
def test_pulses_that_are_all_alike_still_have_colours(routing, ax, num_neurons):
    shown, _ = routing.pulse_matrix(ax, np.ones((4, num_neurons)), np.zeros(4, int))
    assert shown.get_clim() == (-1, 1)


def test_the_margin_is_between_the_two_likeliest(routing, ax):
    (dots,) = routing.softmax_margins(ax, np.log([[0.2, 0.7, 0.1], [0.4, 0.2, 0.4]]))
    np.testing.assert_allclose(dots.get_ydata(), [0.5, 0], atol=1e-12)


def test_one_neuron_wins_by_all(routing, ax):
    (dots,) = routing.softmax_margins(ax, np.array([[5.0], [-2.0]]))
    assert dots.get_ydata().tolist() == [1, 1]


def test_groups_are_named_in_their_middle_and_parted_by_lines(routing, ax):
    lines = routing.mark_groups(ax, ["x", "x", "x", "y"])
    assert [line.get_xdata()[0] for line in lines] == [2.5]
    assert ax.get_xticks().tolist() == [1, 3] and names_of(ax.get_xticklabels()) == ["x", "y"]


def test_a_plane_keeps_the_distances_of_features_that_lie_in_one(routing, ax):
    rng = np.random.default_rng(0)
    flat = rng.normal(size=(9, 2)) * (3, 1)
    turned = flat @ np.linalg.qr(rng.normal(size=(5, 5)))[0][:2] + 7.0
    (marks,) = routing.principal_plane(ax, turned, np.zeros(9, int), {"all": "red"})
    drawn = np.asarray(marks.get_offsets())
    np.testing.assert_allclose(
        np.linalg.norm(drawn[:, None] - drawn, axis=-1), np.linalg.norm(flat[:, None] - flat, axis=-1), atol=1e-12
    )
    shares = np.linalg.eigvalsh(np.cov(flat.T))[::-1]
    assert ax.get_xlabel() == f"first direction, {100 * shares[0] / shares.sum():.0f} % of the variance"


def test_groups_of_a_plane_have_their_own_clips_and_colours(routing, ax):
    features = np.random.default_rng(1).normal(size=(6, 3))
    looks = {"a": "red", "none": "green", "b": "blue"}
    first, second = routing.principal_plane(ax, features, np.array([0, 2, 0, 2, 2, 0]), looks)
    assert (len(first.get_offsets()), len(second.get_offsets())) == (3, 3)
    assert (first.get_label(), second.get_label()) == ("a", "b")
    assert first.get_facecolor()[0][:3].tolist() == list(to_rgba("red")[:3])


def extents(routing, ax, stages, colours):
    """Every ribbon's colour and its height at both ends, and every node's height."""
    ribbons, nodes = [], []
    for patch in routing.flow(ax, stages, colours):
        if hasattr(patch, "get_height"):
            nodes.append((round(patch.get_x() + patch.get_width() / 2), patch.get_y(), patch.get_height()))
        else:
            corners = patch.get_path().vertices
            ribbons.append((to_hex(patch.get_facecolor()), corners[0], corners[3], corners[7] - corners[0]))
    return ribbons, nodes


def test_ribbons_carry_the_clips_from_node_to_node(routing, ax):
    family, neuron = np.array([0, 0, 0, 1]), np.array([0, 0, 2, 2])
    ribbons, nodes = extents(
        routing, ax, {"family": (family, ["x", "y"]), "layer 1": (neuron, ["n1", "n2", "n3"])}, ["#ff0000", "#0000ff"]
    )
    assert [(colour, height[1]) for colour, _, _, height in ribbons] == [
        ("#ff0000", 0.5),
        ("#ff0000", 0.25),
        ("#0000ff", 0.25),
    ]
    assert [(x, height) for x, _, height in nodes] == [(0, 0.75), (0, 0.25), (1, 0.5), (1, 0.5)]
    assert names_of(ax.texts) == ["x, 75%", "y, 25%", "family", "n1, 50%", "n3, 50%", "layer 1"]


def test_ribbons_fill_their_nodes_without_overlap(routing, ax):
    rng = np.random.default_rng(2)
    stages = {name: (rng.integers(0, 3, 50), ["1", "2", "3"]) for name in "abc"}
    ribbons, nodes = extents(routing, ax, stages, ["red", "green", "blue"])
    for stage in range(3):
        boxes = [(y, y + height) for x, y, height in nodes if x == stage]
        for side, shift in ((1, 0.03), (2, -0.03)):
            ends = sorted(
                (at[side][1], at[side][1] + at[3][1]) for at in ribbons if abs(at[side][0] - stage - shift) < 0.01
            )
            if ends:
                assert sum(high - low for low, high in ends) == pytest.approx(1)
                assert all(low >= before - 1e-9 for (_, before), (low, _) in zip(ends, ends[1:], strict=False))
                assert all(any(y - 1e-9 <= low and high <= top + 1e-9 for y, top in boxes) for low, high in ends)


def test_a_draw_lies_where_its_shares_weigh_the_corners(decisions, ax):
    draws = np.array([[1, 0, 0], [0.2, 0.6, 0.2], [0, 0.1, 0.9]])
    drawn = decisions.simplex(ax, draws, ["red", "green", "blue"], np.array([0.5, 0.25, 0.25]))
    marks = [np.asarray(each.get_offsets()) for each in drawn if hasattr(each, "get_offsets")]
    np.testing.assert_allclose(np.concatenate(marks), draws @ decisions.CORNERS)
    assert names_of(ax.texts) == ["0.33\n(0.50)", "0.33\n(0.25)", "0.33\n(0.25)"]


def test_bits_are_parts_of_all_draws(decisions, ax):
    alpha = np.array([0.0, 0.05, 0.5, 1.0])
    *bars, line = decisions.bit_histogram(ax, alpha, np.array([0.0, 0, 0, 1]), 0.3, "red")
    heights = [bar.get_height() for bar in bars]
    assert heights[:10] == [0.5, 0, 0, 0, 0, 0.25, 0, 0, 0, 0.25]
    assert heights[10:] == [0.75, 0.25] and list(line.get_ydata()) == [0.3, 0.3]


def test_ends_have_a_panel_a_quantity_with_every_seed_and_the_mean_of_the_last_epoch(learning):
    fig = Figure()
    joint, udl = np.array([[0.0, 0.2], [0.0, 0.6]]), np.array([[0.0, 0.5]])
    axes = learning.ends(
        fig, {name: {"joint": joint, "UDL": udl} for name in ("NMI", "|g|")}, {"joint": "red", "UDL": "blue"}
    )
    assert [ax.get_title("left") or ax.get_title() for ax in axes] == ["NMI", "|g|"]
    seeds, mean, one, _ = axes[1].get_lines()
    assert seeds.get_xdata().tolist() == [0.2, 0.6] and mean.get_xdata() == pytest.approx([0.4])
    assert one.get_xdata().tolist() == [0.5] and set(one.get_ydata()) == {1}
    assert [label.get_text() for label in axes[0].get_yticklabels()] == ["joint, 2 seeds", "UDL, 1 seed"]


def test_steps_go_from_point_to_point_over_the_loss(learning, ax):
    steps = {"1": ((0.0, 0.0), (0.0, 0.5)), "2": ((0.0, 0.5), (1.0, 0.5))}
    looks = {"1": {"color": "red"}, "2": {"color": "blue"}}
    contours, *drawn = learning.steps_on_plane(ax, lambda u, d: u + d, steps, looks, ((-1, 2), (-1, 1)))
    arrows = [(each.xyann, each.xy) for each in drawn if getattr(each, "arrow_patch", None)]
    assert arrows == list(steps.values())
    for level, lines in zip(contours.levels, contours.allsegs, strict=True):
        for line in lines:
            np.testing.assert_allclose(line.sum(1), level, atol=1e-9)
    assert ax.get_xlim() == (-1, 2) and ax.get_ylim() == (-1, 1)


@pytest.mark.parametrize(("name", "title"), [("dsts.layer1.x_s", "X_S, to space"), ("dsts.layer2.z_t", "Z_T, of time")])
def test_what_passes_a_neuron_has_a_name_for_readers(name, title):
    from gatescope.pictures.quantities import describe

    assert describe(name, 16).title == title
