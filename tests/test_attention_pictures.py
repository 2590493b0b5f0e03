"""Pictures of what attention does: what is drawn is what was given."""

import numpy as np
import pytest
from matplotlib.figure import Figure


@pytest.fixture
def fig():
    return Figure(layout="constrained")


@pytest.fixture(scope="module")
def attention():
    from gatescope.atlas.pictures import attention_maps as attention

    return attention


def test_the_grid_has_a_row_for_each_cell_and_one_axis_for_each_measure(attention, fig):
    found = {
        cell: {
            "E/A": {"attention": (1 + at, 0.9 + at, 1.2 + at), "even": (1.0, 1.0, 1.0)},
            "pointing": {"attention": (0.1, 0.0, 0.2), "even": (0.05, 0.05, 0.05)},
        }
        for at, cell in enumerate(("(b)", "(c)"))
    }
    axes = attention.interval_grid(fig, found, {"(b)": {"attention": "#009E73"}}, {"E/A": 1.0})
    assert len(axes) == 4
    assert axes[0].get_xlim() == axes[2].get_xlim() != axes[1].get_xlim()
    assert [ax.get_title(loc="left") or ax.get_title() for ax in axes] == ["(b)", "", "(c)", ""]
    assert axes[2].get_xlabel() == "E/A" and axes[3].get_xlabel() == "pointing"
    marks = [bars.lines[0] for ax in axes for bars in ax.containers]
    assert [list(mark.get_xdata())[0] for mark in marks] == [1, 1, 0.1, 0.05, 2, 1, 0.1, 0.05]
    assert [list(mark.get_ydata())[0] for mark in marks[:2]] == [0, 1]
    assert [mark.get_color() for mark in marks[:2]] == ["#009E73", attention.OTHERS]
    assert len(axes[0].get_lines()) == len(axes[1].get_lines()) + 1


def test_a_measure_has_a_panel_for_each_group_on_one_axis(attention, fig):
    found = {"(b)": {"attention": (2.0, 1.0, 3.0), "even": (1.0, 1.0, 1.0)}, "(c)": {"attention": (9.0, 8.0, 10.0)}}
    found["(c)"]["even"] = (1.0, 1.0, 1.0)
    axes = attention.interval_panels(fig, found, {"(b)": {"attention": "#009E73"}}, 1.0)
    assert [ax.get_title() or ax.get_title(loc="left") for ax in axes] == ["(b)", "(c)"]
    assert axes[0].get_xlim() == axes[1].get_xlim()
    marks = [bars.lines[0] for ax in axes for bars in ax.containers]
    assert [list(mark.get_xdata())[0] for mark in marks] == [2, 1, 9, 1]
    assert [mark.get_color() for mark in marks] == ["#009E73", *[attention.OTHERS] * 3]


def test_panels_share_their_axes_and_name_each_curve_once_at_its_end(attention, fig):
    curves = {"x": {"(b)": np.full((1, 3), 0.1)}, "g": {"(a)": np.full((2, 3), 10.0), "(b)": np.full((3, 3), 1.0)}}
    first, second = attention.step_panels(fig, curves, {"(a)": {"color": "red"}, "(b)": {"color": "blue"}}, log=True)
    assert first.get_ylim() == second.get_ylim() and second.get_yscale() == "log"
    assert {text.get_text(): text.get_color() for text in second.texts} == {"(a)": "red", "(b)": "blue"}
    assert not first.texts and {line.get_color() for line in first.get_lines()} == {"blue"}


def test_every_seed_has_its_mark_in_its_parts_row(attention, fig):
    ax = fig.add_subplot()
    values = {"(a)": {"gates": np.array([1.0, 2]), "head": np.array([4.0, 5])}, "(b)": {"gates": np.array([0.1])}}
    values["(b)"]["head"] = np.array([8.0])
    first, second = attention.part_dots(ax, values, {"(a)": {"marker": "o"}, "(b)": {"marker": "s"}})
    assert list(first.get_xdata()) == [1, 2, 4, 5] and list(second.get_xdata()) == [0.1, 8]
    assert list(first.get_ydata().round()) == [0, 0, 1, 1] and list(second.get_ydata().round()) == [0, 1]
    assert first.get_ydata()[0] < second.get_ydata()[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["gates", "head"] and ax.get_xscale() == "log"
