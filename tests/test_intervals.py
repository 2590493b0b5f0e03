"""Pictures of values with their spread: what is drawn is what was given."""

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

LOOKS = {"A": {"color": "red"}, "B": {"color": "blue", "marker": "s"}}
UNKNOWN = (np.nan,) * 3


@pytest.fixture
def ax():
    return Figure().add_subplot()


@pytest.fixture(scope="module")
def intervals():
    from gatescope.pictures import intervals

    return intervals


def test_rows_stand_from_the_top_each_value_on_its_interval(intervals, ax):
    found = {"x": {"A": (1, 0, 2), "B": (2, 1, 4)}, "y": {}, "z": {"A": (3, 3, 3)}}
    intervals.interval_rows(ax, found, LOOKS)
    a, b = (bars.lines[0] for bars in ax.containers)
    assert a.get_xdata().tolist() == [1, 3] and b.get_xdata().tolist() == [2]
    assert [round(y) for y in a.get_ydata()] == [0, 2]
    assert 0.2 < b.get_ydata()[0] - a.get_ydata()[0] < 0.5
    assert (a.get_color(), b.get_color(), b.get_marker()) == ("red", "blue", "s")
    (reach,) = ax.containers[1].lines[2]
    assert reach.get_segments()[0][:, 0].tolist() == [1, 4]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["x", "y", "z"]
    assert ax.get_ylim() == (2.5, -0.5)
    assert ax.get_legend_handles_labels()[1] == ["A", "B"]


def test_what_stands_alone_in_its_row_stands_in_its_middle(intervals, ax):
    intervals.interval_rows(ax, {"x": {"A": (1, 0, 2), "B": (1, 0, 2)}, "y": {"B": (1, 0, 2)}}, LOOKS)
    assert ax.containers[1].lines[0].get_ydata()[1] == 1


def test_what_is_not_a_number_leaves_its_row_empty_and_no_name_in_the_legend(intervals, ax):
    intervals.interval_rows(ax, {"x": {"A": UNKNOWN, "B": UNKNOWN}, "y": {"A": (0.5, 0.4, 0.6), "B": UNKNOWN}}, LOOKS)
    (bars,) = ax.containers
    assert bars.lines[0].get_xdata().tolist() == [0.5] and bars.lines[0].get_ydata().tolist() == [1]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["x", "y"]
    assert ax.get_legend_handles_labels()[1] == ["A"]


def test_rows_of_which_nothing_is_known_are_named(intervals, ax):
    assert intervals.interval_rows(ax, {"x": {"A": UNKNOWN}}, LOOKS) == []
    assert [label.get_text() for label in ax.get_yticklabels()] == ["x"]


def test_a_name_without_looks_is_an_error_and_not_left_out(intervals, ax):
    with pytest.raises(KeyError, match="C"):
        intervals.interval_rows(ax, {"x": {"C": (1, 0, 2)}}, LOOKS)


def test_a_band_reaches_from_end_to_end_in_the_colour_of_its_line(intervals, ax):
    line, band = intervals.band(ax, [1, 2], [(0.5, 0.25, 0.75), (0.5, 0.5, 1.0)], color="red")
    assert line.get_xdata().tolist() == [1, 2] and line.get_ydata().tolist() == [0.5, 0.5]
    corners = band.get_paths()[0].vertices
    assert corners[:, 1].min() == 0.25 and corners[:, 1].max() == 1.0
    assert to_hex(band.get_facecolor()[0]) == to_hex("red")


def test_a_mean_is_of_what_is_known_with_each_curve_beside_it(intervals, ax):
    curves = np.array([[1.0, 3, np.nan], [3, np.nan, np.nan]])
    mean, *each = intervals.mean_and_each(ax, [1, 2, 3], curves, color="red", linestyle=":")
    np.testing.assert_array_equal(mean.get_ydata(), [2, 3, np.nan])
    np.testing.assert_array_equal([line.get_ydata() for line in each], curves)
    assert {(line.get_color(), line.get_linestyle()) for line in ax.get_lines()} == {("red", ":")}
    assert len(intervals.mean_and_each(ax, [1], np.ones((1, 1)))) == 1


def test_names_stand_at_the_ends_of_their_lines_in_order_and_apart(intervals, ax):
    curves = {"low": [5, 1.0], "high": [0, 9.0], "also high": [0, 8.9], "gone": [4.0, np.nan]}
    lines = {name: ax.plot([1, 2], own, color=f"C{k}")[0] for k, (name, own) in enumerate(curves.items())}
    ax.set_ylim(0, 10)
    names = {text.get_text(): text for text in intervals.label_ends(ax, lines, apart=0.1)}
    heights = {name: text.get_position()[1] for name, text in names.items()}
    assert heights["low"] == pytest.approx(0.1) and heights["gone"] == pytest.approx(0.4)
    assert heights["high"] - heights["also high"] == pytest.approx(0.1)
    assert heights["high"] + heights["also high"] == pytest.approx(0.9 + 0.89)
    assert all(names[name].get_color() == line.get_color() for name, line in lines.items())
    assert tuple(names["gone"].xy) == (1, 4)


def test_one_legend_of_several_panels_shows_all_colours_of_a_kind(intervals):
    axes = Figure().subplots(1, 2)
    for ax, colour in zip(axes, ("red", "blue"), strict=True):
        ax.plot([0, 1], color=colour, label="trained")
        ax.plot([1, 0], color="grey", label="untrained")
        ax.stairs([1, 2], color=colour, label="outline")
        ax.errorbar(1, 1, xerr=1, color=colour, label="interval")
    legend = intervals.legend_of_panels(axes)
    assert axes[0].get_legend() is None and axes[1].get_legend() is legend
    assert [text.get_text() for text in legend.get_texts()] == ["trained", "untrained", "outline", "interval"]
    drawn = [to_hex(line.get_color()) for line in legend.findobj(Line2D) if line.get_linestyle() == "-"]
    assert drawn.count(to_hex("grey")) == 1
    assert drawn.count(to_hex("red")) == drawn.count(to_hex("blue")) == 3  # trained, outline and interval
