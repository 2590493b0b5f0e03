"""Equations as pictures: each stands for the value that it was given, in the colours of its quantity."""

import numpy as np
import pytest
from matplotlib.figure import Figure


@pytest.fixture(scope="module")
def equations():
    from gatescope.pictures import equations

    return equations


def step(rng, pooled):
    """The quantities of one made-up step of 3 channels."""
    maps = {name: rng.normal(size=(3, 5, 4)) for name in ("x", "h_before", "c_before", "x_g", "h_g")}
    shape = (3, 1, 1) if pooled else (3, 5, 4)
    for name in "ifo":
        maps |= {f"x_{name}": rng.normal(size=shape), f"h_{name}": rng.normal(size=shape)}
        maps[name] = 1 / (1 + np.exp(-maps[f"x_{name}"] - maps[f"h_{name}"]))
    maps["g"] = np.tanh(maps["x_g"] + maps["h_g"])
    maps["c"] = maps["f"] * maps["c_before"] + maps["i"] * maps["g"]
    maps["h"] = maps["o"] * np.tanh(maps["c"])
    return maps


@pytest.mark.parametrize("pooled", [False, True])
def test_every_row_of_a_step_is_a_true_equation(equations, pooled):
    frame = np.zeros((8, 8, 3), np.uint8)
    _, first, second, third, fourth = equations.step_equations(step(np.random.default_rng(0), pooled), 1, frame)
    sigma = {"i": first[:3], "f": first[3:], "o": second[:3]}
    for gate, given, own in sigma.values():
        np.testing.assert_allclose(gate.value, 1 / (1 + np.exp(-given.value - own.value)))
    candidate, given, own = second[3:]
    np.testing.assert_allclose(candidate.value, np.tanh(given.value + own.value))
    c, f, before, i, g = third
    np.testing.assert_allclose(c.value, f.value * before.value + i.value * g.value)
    again, kept, written, h, o, squashed = fourth
    np.testing.assert_allclose(again.value, kept.value + written.value)
    np.testing.assert_allclose(h.value, o.value * squashed.value)
    assert {c.scale, before.scale, kept.scale, written.scale} == {c.scale}
    numbers = "".join(term.after for row in (first, second, third, fourth) for term in row)
    for number in range(10, 16) if pooled else range(1, 7):
        assert f"({number})" in numbers


@pytest.mark.slow
@pytest.mark.parametrize("pooled", [False, True])
def test_a_step_is_drawn_with_one_colour_bar_for_each_scale(equations, pooled):
    fig = Figure()
    rows = equations.step_equations(step(np.random.default_rng(0), pooled), 2, np.zeros((8, 8, 3), np.uint8))
    axes = equations.picture_equations(fig, rows)
    fig.draw_without_rendering()
    assert len(axes) == 5 * 6
    scales = {term.scale for row in rows for term in row} - {None}
    bars = [ax for ax in fig.axes if ax not in axes]
    assert sorted(ax.get_xlabel() for ax in bars) == sorted(scale.label for scale in scales)
    assert sum(bool(ax.images) for ax in axes) == sum(map(len, rows))


def test_a_gate_of_one_value_is_a_tile_with_its_number(equations):
    ax = Figure().add_subplot()
    shown = equations.picture(ax, np.array([[-0.314]]), equations.Scale.signed("Z", np.array([2.0, -5.0])))
    assert shown.get_clim() == (-5, 5)
    assert [text.get_text() for text in ax.texts] == ["\N{MINUS SIGN}0.31"]
    ax = Figure().add_subplot()
    assert equations.picture(ax, np.eye(2), equations.Scale.gate("gates")).get_clim() == (0, 1)
    assert not ax.texts


@pytest.mark.parametrize(("value", "colour"), [(0.05, "white"), (0.95, "black")])
def test_the_number_on_a_tile_stands_out(equations, value, colour):
    ax = Figure().add_subplot()
    equations.picture(ax, np.array([[value]]), equations.Scale.gate("gates"))
    assert ax.texts[0].get_color() == colour


def test_a_quantity_that_is_nowhere_but_zero_has_a_scale(equations):
    scale = equations.Scale.signed("C", np.zeros((2, 2)))
    assert scale.low < 0 < scale.high


def test_the_strongest_channels_come_first_whatever_their_sign(equations):
    maps = np.array([1.0, -3.0, 0.5, 2.0])[:, None, None] * np.ones((4, 2, 2))
    assert equations.strongest(maps, 3) == [1, 3, 0]
    assert equations.strongest(maps, 9) == [1, 3, 0, 2]


def test_a_table_leaves_out_what_a_row_does_not_have(equations):
    gates, maps = equations.Scale.gate("gates"), equations.Scale.signed("C", np.ones(1))
    rows = {
        "one": [None, equations.Term("$f$", np.zeros((2, 2)), gates), equations.Term("$C$", np.ones((2, 2)), maps)],
        "two": [equations.Term("$i$", np.ones((1, 1)), gates), None, equations.Term("$C$", np.ones((2, 2)), maps)],
    }
    fig = Figure()
    axes = equations.picture_table(fig, rows)
    fig.draw_without_rendering()
    assert [bool(ax.images) for ax in axes] == [False, True, True, True, False, True]
    assert [ax.get_title() for ax in axes] == ["$i$", "$f$", "$C$", "", "", ""]
    assert [ax.get_ylabel() for ax in axes[::3]] == ["one", "two"]
    wide, narrow = (ax for ax in fig.axes if ax not in axes)
    assert (wide.get_xlabel(), narrow.get_xlabel()) == ("gates", "C")
    assert wide.get_position().width > 1.9 * narrow.get_position().width
