import json

import numpy as np
import pytest
from matplotlib import pyplot as plt

from gatescope.atlas.pictures import spatial_or_channel as pictures
from gatescope.measures.estimates import Estimate
from gatescope.measures.gate_kinds import ROWS
from gatescope.measures.gate_variance import PARTS
from gatescope.pictures import variance_parts


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def fig():
    with plt.style.context("gatescope.pictures.style"):
        made = plt.figure(figsize=(6, 4))
        yield made
        plt.close(made)


def texts(ax):
    return [text.get_text() for text in ax.texts]


def test_each_ridge_stands_on_its_line_and_is_as_high_as_its_largest_bin(fig):
    ax = fig.subplots()
    counts = np.array([[0, 4, 2, 0], [0, 6, 0, 0]])
    drawn = pictures.ridges(ax, {"A": (counts, counts[:1]), "B": (counts[:1], counts)}, {"A": "red", "B": "blue"})
    assert [label.get_text() for label in ax.get_yticklabels()] == ["B", "A"]
    values, edges, baseline = drawn[2].get_data()  # A, trained, the upper one
    assert values == pytest.approx([1, 1.85, 1.17, 1])
    assert (edges == [0, 0.25, 0.5, 0.75, 1]).all()
    assert baseline == 1


def test_channels_stand_in_the_order_asked_for(fig):
    ax = fig.subplots()
    channels = np.array([[0.8, 0.7, 0.9, 0.0], [0.2, 0.1, 0.6, 0.5]])
    bars, dots = pictures.channel_spread(ax, channels, np.array([1, 0]), "red")
    assert dots.get_ydata() == pytest.approx([0.2, 0.8])
    assert bars.get_segments()[0][:, 1] == pytest.approx([0.1, 0.6])


@pytest.mark.slow
def test_hovering_tells_the_interval_of_the_replacement_that_is_chosen():
    found = {("A", "i", "space mean"): (-2.0, -3.0, -1.0), ("A", "all", "space mean"): (-9.0, -12.0, -6.0)}
    found |= {("A", "i", "constant"): (1.0, 0.0, 2.0), ("B", "i", "constant"): (0.5, 0.25, 0.75)}
    made = pictures.hover_replacements(
        found, ["i", "all"], ["space mean", "constant"], {"A": "red", "B": "blue"}, "points"
    )
    assert [(trace.name, trace.visible) for trace in made.data] == [("A", True), ("A", False), ("B", False)]
    assert made.data[0].customdata == (["i", -3.0, -1.0], ["all", -12.0, -6.0])
    assert made.data[0].error_x.array == (1.0, 3.0) and made.data[0].y[1] - made.data[0].y[0] == 1
    constant = made.layout.updatemenus[0].buttons[1]
    assert constant.label == "constant" and constant.args[0]["visible"] == [False, True, True]
    assert made.layout.xaxis.range == (-12.0, 2.0)
    assert "uid" not in json.dumps(made.to_plotly_json(), default=str)


def test_bars_of_parts_reach_from_0_to_1_and_stand_apart(fig):
    ax = fig.subplots()
    one = dict(zip(PARTS, (0.5, 0.1, 0.1, 0.1, 0.2), strict=True))
    bars = variance_parts.stacked_parts(ax, {"i": [one, one], "f": [one]}, {"i": [one]})
    patches = [bar[0] for bar in bars]
    assert len(patches) == 4 * len(PARTS)
    by_place = {}
    for patch in patches:
        by_place.setdefault(round(patch.get_x(), 6), []).append(patch)
    assert len(by_place) == 4
    for stack in by_place.values():
        assert stack[0].get_y() == 0
        assert stack[-1].get_y() + stack[-1].get_height() == pytest.approx(1)
    places = sorted((stack[0].get_x(), stack[0].get_x() + stack[0].get_width()) for stack in by_place.values())
    assert all(left[1] < right[0] for left, right in zip(places, places[1:], strict=False))
    assert {patch.get_facecolor()[3] for patch in patches} == {1.0, 0.35}


def test_a_gate_without_variance_leaves_its_place_empty(fig):
    ax = fig.subplots()
    bars = variance_parts.stacked_parts(ax, {"i": [dict.fromkeys(PARTS, float("nan"))]}, {})
    assert all(np.isnan(bar[0].get_height()) for bar in bars)


def test_replacements_have_a_row_each_and_only_the_cells_that_have_what_is_taken(fig):
    found = {("A", "i", "space mean"): (5, 4, 6), ("A", "all", "space mean"): (1, 0, 2)}
    found |= {("A", "all", "constant"): (3, 0, 4), ("B", "all", "constant"): (2, 1, 3)}
    ax = fig.subplots()
    pictures.replacement_rows(ax, ["space mean", "constant"], found, {"A": {"color": "red"}, "B": {"color": "blue"}})
    values = {bars.get_label(): bars[0].get_xdata().tolist() for bars in ax.containers}
    assert values == {"A": [1, 3], "B": [2]}
    assert [label.get_text() for label in ax.get_yticklabels()] == ["space mean", "constant"]


def test_changes_of_classes_have_limits_that_do_not_depend_on_them(fig, rng):
    ax = fig.subplots()
    shown = pictures.change_by_class(ax, rng.normal(size=(3, 2)), ["a", "b", "c"], ["i", "f"], 100.0)
    assert shown.get_clim() == (-100, 100)


@pytest.mark.slow
def test_hovering_tells_the_change_of_a_class():
    made = pictures.hover_by_class(np.array([[-50.0, 0.0], [3.04, 100.0]]), ["left", "right"], ["i", "all"], 100.0)
    (tiles,) = made.data
    assert list(tiles.z) == [[-50, 0], [3, 100]] and (tiles.zmin, tiles.zmax) == (-100, 100)
    assert list(tiles.x) == ["i", "all"] and list(tiles.y) == ["left", "right"]


def test_rows_stand_where_their_kinds_say_and_those_untrained_say_so(fig):
    accuracies = {"conv_pooled_attention": (80, 70, 90), "attention_conv_conv": (50, 40, 60)}
    axes = pictures.dots_of_rows(fig, accuracies)
    assert [ax.get_title(loc="left") for ax in axes] == [f"f: {kind}" for kind in ("conv", "pooled", "attention")]
    assert [label.get_text() for label in axes[0].get_yticklabels()][2] == "conv, attention"
    mean, *lines = axes[1].lines
    assert mean.get_xdata() == [65, 65]
    assert list(lines[4].get_xdata()) == [70, 90] and lines[5].get_xydata().tolist() == [[80, 2]]
    assert axes[0].lines[1 + 2 * 6 + 1].get_xydata().tolist() == [[50, 6]]
    assert sum(texts(ax).count(" not trained") for ax in axes) == len(ROWS) - 2


def test_effects_of_kinds_have_both_their_intervals(fig):
    effects = {(gate, kind): Estimate(1, 0.25, 20) for gate in "ifo" for kind in ("conv", "pooled", "attention")}
    axes = pictures.kind_effects(fig, effects, 2.0)
    together, alone, value = (line.get_xdata() for line in axes[2].lines[1:4])
    # t with 20 degrees of freedom: 3.107 for two-sided 0.05 / 9, 2.086 for 0.05.
    assert np.ravel(together) == pytest.approx([1 - 0.25 * 3.107, 1 + 0.25 * 3.107], abs=1e-3)
    assert np.ravel(alone) == pytest.approx([1 - 0.25 * 2.086, 1 + 0.25 * 2.086], abs=1e-3)
    assert np.ravel(value).tolist() == [1]
    assert [ax.get_title(loc="left") for ax in axes] == ["i", "f", "o"]
