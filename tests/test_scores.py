"""Pictures of how well networks do: what is drawn is what was given."""

import numpy as np
import pytest
from matplotlib.figure import Figure

COLOURS = {"(a)": "#ff0000", "(b)": "#0000ff"}


@pytest.fixture
def fig():
    return Figure(layout="constrained")


@pytest.fixture(scope="module")
def scores():
    from gatescope.pictures import scores

    return scores


def test_a_learning_curve_is_the_mean_over_seeds_and_a_band_around_it(scores, fig):
    line, band = scores.learning_curve(fig.add_subplot(), np.array([[0.2, 0.6], [0.4, 0.8]]), color="red")
    assert line.get_xdata().tolist() == [1, 2]
    assert line.get_ydata() == pytest.approx([0.3, 0.7])
    heights = band.get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == pytest.approx((0.2, 0.8))


def test_the_band_of_one_seed_has_no_height(scores, fig):
    _, band = scores.learning_curve(fig.add_subplot(), np.array([[0.2, 0.6]]))
    assert set(band.get_paths()[0].vertices[:, 1]) == {0.2, 0.6}


def test_curves_of_validation_are_solid_and_named_at_their_ends_those_of_training_dotted(scores, fig):
    curves = {name: value + np.zeros((1, 3, 2)) for name, value in (("(a)", 0.5), ("(b)", 0.7))}
    curves["(a)"][..., 1] = 0.9
    ax = fig.add_subplot()
    scores.learning_curves(ax, curves, COLOURS)
    drawn = {(line.get_color(), line.get_linestyle()): line.get_ydata()[0] for line in ax.get_lines()}
    assert drawn[("#ff0000", "-")] == 0.5 and drawn[("#ff0000", ":")] == 0.9 and drawn[("#0000ff", "-")] == 0.7
    assert {text.get_text(): text.get_color() for text in ax.texts} == COLOURS
    assert ax.get_ylim() == (0, 1)


def test_each_seed_has_its_marker_and_interval_at_its_name(scores, fig):
    ax = fig.add_subplot()
    found = {
        "(a)": {"clips": np.array([[0.5, 0.4, 0.7]]), "shuffled": np.array([[0.3, 0.2, 0.35]])},
        "(b)": {"clips": np.array([[0.6, 0.5, 0.7], [0.8, 0.7, 0.9]])},
    }
    scores.accuracy_chart(ax, found, COLOURS, chance=0.1)
    drawn = [(c.lines[0], c.lines[2][0].get_segments()) for c in ax.containers]
    points = [
        (points.get_color(), np.round(points.get_xdata()).tolist(), points.get_ydata().tolist()) for points, _ in drawn
    ]
    assert points == [
        ("#ff0000", [0], [0.5]),
        ("#0000ff", [1, 1], [0.6, 0.8]),
        ("#ff0000", [0], [0.3]),
        ("#0000ff", [], []),
    ]
    ends = [segment[:, 1].tolist() for _, segments in drawn for segment in segments]
    assert ends == [pytest.approx(pair) for pair in ([0.4, 0.7], [0.5, 0.7], [0.7, 0.9], [0.2, 0.35])]
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == ["clips", "shuffled", "chance"]


def test_a_confusion_shows_parts_of_each_row_and_a_class_without_clips_does_not_fail(scores, fig):
    ax = fig.add_subplot()
    shown = scores.confusion(ax, np.array([[3, 1, 0], [0, 5, 5], [0, 0, 0]]), ["left", "right", "none"])
    np.testing.assert_allclose(shown.get_array(), [[0.75, 0.25, 0], [0, 0.5, 0.5], [0, 0, 0]])
    assert shown.get_clim() == (0, 1)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["left", "right", "none"]


def test_a_confusion_tells_large_parts_in_percent(scores, fig):
    ax = fig.add_subplot()
    scores.confusion(ax, np.array([[96, 4], [25, 75]]), ["left", "right"])
    assert [text.get_text() for text in ax.texts] == ["96", "25", "75"]


@pytest.mark.slow
def test_the_reader_chooses_whose_confusion_is_drawn():
    from gatescope.atlas.pictures.confusions import hover_confusions

    counts = {"(a)": np.array([[4, 0], [0, 4]]), "(b)": np.array([[0, 4], [0, 4]])}
    made = hover_confusions(counts, ["left", "right"], "Confusions")
    assert [trace.visible for trace in made.data] == [True, False, False]
    assert list(made.data[0].z) == [[0.5, 0.5], [0, 1]] and list(made.data[2].z) == [[0, 1], [0, 1]]
    assert list(made.data[0].customdata) == [[4, 4], [0, 8]]
    buttons = made.layout.updatemenus[0].buttons
    assert [button.label for button in buttons] == ["all together", "(a)", "(b)"]
    assert buttons[2].args[0]["visible"] == [False, False, True]
