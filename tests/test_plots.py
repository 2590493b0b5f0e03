"""Pictures of clips: what is drawn is what was given."""

import numpy as np
import pytest
from matplotlib.figure import Figure


@pytest.fixture
def ax():
    return Figure().add_subplot()


@pytest.fixture(scope="module")
def plots():
    from gatescope.pictures import plots

    return plots


def test_a_film_strip_holds_every_frame_in_order(plots, ax):
    frames = np.stack([np.full((4, 6, 3), 10 * t, np.uint8) for t in range(5)])
    image = plots.film_strip(ax, frames, "a clip")[0].get_array()
    assert image.shape == (4, 5 * 6 + 4 * plots.GAP_PX, 3)
    for t in range(5):
        assert (image[:, t * (6 + plots.GAP_PX) : t * (6 + plots.GAP_PX) + 6] == 10 * t).all()


def test_picked_frames_run_from_first_to_last(plots):
    frames = np.arange(11)[:, None]
    assert plots.pick_frames(frames, 3).ravel().tolist() == [0, 5, 10]
    assert plots.pick_frames(frames, 1).ravel().tolist() == [0]


def test_the_outline_encloses_the_mask_and_an_empty_mask_has_none(plots, ax):
    mask = np.zeros((9, 9), bool)
    assert plots.outline(ax, mask) == []
    mask[3:6, 2:7] = True
    (border,) = plots.outline(ax, mask)
    points = np.concatenate([path.vertices for path in border.get_paths()])
    assert points.min(0).tolist() == [1.5, 2.5] and points.max(0).tolist() == [6.5, 5.5]


def test_flow_is_white_at_rest_and_its_hue_turns_with_its_direction(plots):
    at_rest, right, down, fast = plots.flow_colours(np.array([[0.0, 0], [4, 0], [0, 4], [400, 0]]), fastest=4.0)
    assert at_rest.tolist() == [1, 1, 1]
    assert right.argmax() == 0 and right[1] == right[2] == 0
    assert down[0] > down[2] and down[1] > down[2]
    assert fast.tolist() == right.tolist()


@pytest.mark.slow
def test_depth_without_a_reading_is_left_blank(plots):
    depth = np.repeat([[[0.0, 900.0], [1500.0, 0.0]]], 2, axis=0)
    mask, joints = np.ones((2, 2, 2), bool), np.full((2, 2, 2), 3.0)
    parts = {"frames": np.zeros((2, 2, 2, 3), np.uint8), "depth": depth, "hand_mask": mask, "joints_2d": joints}
    axes = plots.modalities(Figure(), np.array([0]), [[0, 1]], **parts, flow=np.zeros((1, 2, 2, 2)), fps=8.0)
    (shown,) = axes[2].images
    assert shown.get_array().mask.tolist() == [[True, False], [False, True]]
    assert shown.get_clim() == tuple(np.percentile(depth, (0.5, 99.5)))
    assert axes[8].get_xlim() == (-0.5, 1.5) and axes[8].get_ylim() == (1.5, -0.5)  # joints outside are cut off


def test_the_sampling_diagram_marks_what_was_sampled(plots, ax):
    drawn = plots.sampling_diagram(ax, 8, [0, 2, 4], [[0, 3, 4], [1, 2, 5]])
    lines = [artist for artist in drawn if hasattr(artist, "get_xdata") and artist.get_marker() != "None"]
    assert [list(line.get_xdata()) for line in lines] == [[0, 2, 4], [0, 3, 4], [1, 2, 5]]


def test_the_thick_line_is_the_median_of_the_thin_ones(plots, ax):
    values = np.array([[0.0, 1, 2], [4, 5, 9], [2, 2, 2]])
    times = np.array([[0.0, 1, 2], [0, 1, 2], [0, 1, 2]])
    *thin, thick = plots.paths_over_time(ax, times, values, "black", "three clips")
    assert [list(line.get_ydata()) for line in thin] == values.tolist()
    assert set(thick.get_ydata()) == {2.0} and thick.get_label() == "three clips"
    *_, thick = plots.paths_over_time(ax, times + [[0], [0], [1]], values, "black", "one of them late")
    assert thick.get_ydata()[0] == 2.0 and thick.get_xdata()[-1] == 2.0


def test_the_spread_map_shows_multiples_of_the_even_share(plots, ax):
    shown = plots.spread_map(ax, np.array([[0.0, 0.6], [0.2, 0.0]]))
    np.testing.assert_allclose(shown.get_array(), [[0, 3], [1, 0]])


def test_all_modalities_of_a_clip_without_a_hand_or_motion_can_be_drawn(plots):
    fig, still = Figure(), np.zeros((3, 8, 8))
    axes = plots.modalities(
        fig,
        np.array([0, 1]),
        [[0, 1]],
        frames=np.zeros((3, 8, 8, 3), np.uint8),
        depth=still + 900,
        hand_mask=still > 0,
        flow=np.zeros((2, 8, 8, 2)),
        joints_2d=np.zeros((3, 2, 2)),
        fps=5.0,
    )
    fig.draw_without_rendering()
    assert len(axes) == 15


def test_the_spread_of_a_gate_is_where_its_positions_lie_and_of_one_value_nowhere(plots, ax):
    gate = np.stack([np.linspace(0, 1, 101).reshape(1, 101), np.full((1, 101), 0.25)])
    bars, dots, ring = plots.gate_spread(ax, gate, "black", chosen=0)
    np.testing.assert_allclose([segment[:, 1] for segment in bars.get_segments()], [[0.05, 0.95], [0.25, 0.25]])
    np.testing.assert_allclose(dots.get_ydata(), [0.5, 0.25])
    np.testing.assert_allclose([ring.get_xdata()[0], ring.get_ydata()[0]], [0, 0.5])
    assert ax.get_ylim() == (0, 1)


def test_a_table_of_tiles_reads_from_the_top_left(plots, ax):
    rows = {"one": [("a", "(1)", "red"), ("b", "", "blue")], "two": [("c", "(2)", "red"), ("d", "", "blue")]}
    tiles = plots.tile_table(ax, ["left", "right"], rows)
    assert [tile.get_xy() for tile in tiles] == [(0, 0), (1, 0), (0, 1), (1, 1)]
    assert [text.get_text() for text in ax.texts if text.get_text()] == ["a", "(1)", "b", "c", "(2)", "d"]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["left", "right"]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["one", "two"]
    assert ax.yaxis_inverted()
