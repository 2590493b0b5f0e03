"""Pictures of what a pose machine does: what is drawn is what was given."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from rendered_people.skeleton import JOINT_NAMES


@pytest.fixture
def ax():
    return Figure().add_subplot()


@pytest.fixture(scope="module")
def pictures():
    from gatescope.atlas.pictures.pose_machine import errors_and_costs as pose_results

    return pose_results


@pytest.mark.parametrize(
    ("hidden", "spans"),
    [
        ([0, 0, 0], []),
        ([1, 1, 1], [(0.5, 3.5)]),
        ([1, 0, 1], [(0.5, 1.5), (2.5, 3.5)]),
        ([0, 1, 1], [(1.5, 3.5)]),
        ([1], [(0.5, 1.5)]),
    ],
)
def test_each_run_of_hidden_frames_has_one_shade(pictures, ax, hidden, spans):
    shades = pictures.shade_hidden(ax, np.array(hidden, bool))
    assert [(shade.get_x(), shade.get_x() + shade.get_width()) for shade in shades] == spans


def test_courses_begin_at_frame_1_with_the_truth_behind(pictures, ax):
    truth, looks = np.array([1.0, 2.0, 3.0]), {"LSTM": {"color": "red"}}
    pictures.joint_courses(ax, truth, {"LSTM": truth + 1}, looks, np.array([False, True, False]))
    behind, guess = ax.get_lines()
    assert behind.get_label() == "truth" and behind.get_ydata().tolist() == [1, 2, 3]
    assert guess.get_xdata().tolist() == [1, 2, 3] and guess.get_ydata().tolist() == [2, 3, 4]
    assert guess.get_color() == "red" and len(ax.patches) == 1


def test_joints_stand_from_the_worst_without_the_pelvis(pictures, ax):
    errors = np.stack([np.arange(17.0), np.arange(17.0) * 2])
    shown = pictures.joint_map(ax, errors, ["stage 1", "stage 2"])
    assert [label.get_text() for label in ax.get_yticklabels()] == list(JOINT_NAMES[:0:-1])
    np.testing.assert_array_equal(shown.get_array(), errors[:, :0:-1].T)
    assert shown.get_clim() == (0, 32)
    assert [text.get_text() for text in ax.texts[:3]] == ["16", "32", "15"]


def test_exact_zeros_of_influence_are_left_white_and_no_small_value_is(pictures, ax):
    shown = pictures.influence_map(ax, np.array([[4.0, 0.0], [1e-9, 2.0]]))
    drawn = np.ma.filled(shown.get_array(), np.nan)
    assert np.isnan(drawn).tolist() == [[False, True], [False, False]]
    assert drawn[0, 0] == 1 and drawn[1, 1] == 0.5 and drawn[1, 0] == pytest.approx(1e-4)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1", "2"]


def test_counts_stand_one_after_another_with_their_sum(pictures, ax):
    counts = {"stage 1": {"convolutions": 3_000_000, "LSTM": 1_000_000}, "stage 2": {"LSTM": 2_000_000}}
    drawn = pictures.stacked_counts(ax, counts, {"convolutions": "red", "LSTM": "blue"})
    bars = [each for each in drawn if hasattr(each, "get_width")]
    assert [(bar.get_x(), bar.get_width()) for bar in bars] == [(0, 3), (3, 1), (0, 2)]
    assert [text.get_text() for text in ax.texts] == [" 4,000,000", " 2,000,000"]
