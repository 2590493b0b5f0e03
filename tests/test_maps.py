"""Pictures of maps over time: frames and maps lie below one another, and colours mean the same at every step."""

import numpy as np
import pytest
from matplotlib.figure import Figure


@pytest.fixture
def maps():
    from gatescope.pictures import maps

    return maps


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_limits_of_signed_maps_lie_as_far_to_either_side(maps):
    assert maps.limits_of(np.array([[-3.0, 1.0]])) == (-3.0, 3.0)
    assert maps.limits_of(np.array([[0.5, 2.0]])) == (0.0, 2.0)
    assert maps.limits_of(np.zeros((2, 2))) == (0.0, 1.0)


def test_each_step_shows_its_last_frame(maps):
    frames = np.arange(16)
    assert maps.frames_of_steps(frames, 8).tolist() == [1, 3, 5, 7, 9, 11, 13, 15]
    assert maps.frames_of_steps(frames, 1).tolist() == [15]


def test_every_step_has_the_same_limits_and_lies_below_its_frame(maps, rng):
    size = 12
    ax = Figure().add_subplot()
    drawn = maps.map_strip(ax, rng.random((3, 5, 7)), size, (0.0, 2.0), "(a)")
    assert {image.get_clim() for image in drawn} == {(0.0, 2.0)}
    frames = np.zeros((3, size, size, 3), np.uint8)
    above = Figure().add_subplot()
    maps.film_strip(above, frames)
    assert ax.get_xlim() == above.get_xlim() and ax.get_ylim() == above.get_ylim()
    lefts = [image.get_extent()[0] for image in drawn]
    assert lefts == [-0.5 + step * (size + maps.GAP_PX) for step in range(3)]


def test_signed_limits_take_a_diverging_map(maps, rng):
    signed, positive = (
        maps.map_strip(Figure().add_subplot(), rng.random((1, 2, 2)), 4, limits)[0].get_cmap().name
        for limits in ((-1.0, 1.0), (0.0, 1.0))
    )
    assert (signed, positive) == ("RdBu_r", "viridis")


def test_the_hand_is_outlined_on_its_own_step_only(maps):
    hand = np.zeros((3, 8, 8), bool)
    hand[1, 2:5, 3:6] = True
    frames, rows = np.zeros((3, 8, 8, 3), np.uint8), {"h": np.ones((3, 2, 2))}
    (border,) = maps.strips(Figure(), frames, rows, hand)[1].collections
    points = np.concatenate([path.vertices for path in border.get_paths()])
    left = 8 + maps.GAP_PX
    assert points.min(0).tolist() == [left + 2.5, 1.5] and points.max(0).tolist() == [left + 5.5, 4.5]
    assert not maps.strips(Figure(), frames, rows, np.zeros((3, 8, 8), bool))[1].collections


def test_strips_stand_below_the_frames_with_a_bar_each(maps, rng):
    frames = np.zeros((2, 6, 6, 3), np.uint8)
    rows = {"h": rng.standard_normal((2, 3, 3)), "A": rng.random((2, 6, 6))}
    fig = Figure(layout="constrained")
    top, h, attention = maps.strips(
        fig, frames, rows, np.ones((2, 6, 6), bool), {"A": (0.0, 1.0)}, {"h": ["ch. 4", "ch. 7"]}
    )
    fig.draw_without_rendering()
    for ax in (h, attention):
        assert ax.get_position().intervalx == pytest.approx(top.get_position().intervalx)
    bars = [ax for ax in fig.axes if ax not in (top, h, attention) and ax.axison]
    assert [tuple(bar.get_ylim()) for bar in bars] == [maps.limits_of(rows["h"]), (0.0, 1.0)]
    assert [text.get_text() for text in h.texts] == ["ch. 4", "ch. 7"] and not attention.texts
    assert h.get_ylabel() == "h" and h.images[0].get_clim() == maps.limits_of(rows["h"])
    assert attention.images[0].get_clim() == (0.0, 1.0)
    assert np.array_equal(attention.images[1].get_array(), rows["A"][1])


def test_a_films_names_fit_beside_it_at_a_size_to_read(maps, rng):
    title = "(c) layer 1\nattention of the input gate in place of it, channel 14"
    fig = Figure(figsize=(8.3, 1.7), dpi=80, layout="none")
    film, row = maps.film(fig, np.zeros((8, 4, 4, 3), np.uint8), {title: rng.random((8, 4, 4))})
    assert row.yaxis.label.get_fontsize() >= 9
    fig.draw_without_rendering()
    box = row.yaxis.label.get_window_extent()
    place = row.get_window_extent()
    assert box.x0 >= 0 and box.x1 <= place.x0
    assert place.y0 <= box.y0 and box.y1 <= place.y1
