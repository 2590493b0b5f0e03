"""Pictures of skeletons: every bone stands where its joints are, in its colour, before the truth."""

import json
from itertools import combinations

import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from rendered_people.skeleton import JOINT_NAMES, LEFT, PARENTS, RIGHT

# Machado, Oliveira and Fernandes 2009, "A physiologically-based model for simulation of color vision deficiency":
# deuteranopia, severity 1, on linear RGB.
DEUTERANOPIA = np.array(
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
)
XYZ_OF_RGB = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def lab(rgb, deuteranope=False):
    """CIELAB of an sRGB colour, 0 to 1, as it is or as a deuteranope sees it."""
    rgb = np.array(rgb)
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    if deuteranope:
        linear = (DEUTERANOPIA @ linear).clip(0, 1)
    ratio = XYZ_OF_RGB @ linear / XYZ_OF_RGB.sum(1)
    x, y, z = np.where(ratio > 216 / 24389, np.cbrt(ratio), (24389 / 27 * ratio + 16) / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.fixture(scope="module")
def skeletons():
    from gatescope.atlas.pictures.pose_machine import skeletons

    return skeletons


@pytest.fixture(scope="module")
def turning():
    from gatescope.atlas.pictures.pose_machine import turning_skeleton as turning

    return turning


@pytest.fixture(scope="module")
def poses():
    """Smooth random motion, the pelvis at 0."""
    steps = np.random.default_rng(0).normal(size=(4, 17, 3)).cumsum(0)
    return 100 * (steps - steps[:, :1])


def bones_of(line):
    """The pairs of points that a line joins between the places where the pen is lifted."""
    points = np.stack([line.get_xdata(), line.get_ydata()], 1).reshape(-1, 3, 2)
    assert np.isnan(points[:, 2]).all()
    return points[:, :2]


def test_every_joint_but_the_pelvis_hangs_on_one_bone_of_one_part(skeletons):
    assert sorted(joint for part in skeletons.PARTS.values() for joint in part) == list(range(1, 17))
    assert skeletons.PARTS["right limbs"] == RIGHT and skeletons.PARTS["left limbs"] == LEFT


@pytest.mark.parametrize(("view", "axes"), [("from the camera", (0, 1)), ("from its right", (2, 1))])
def test_bones_join_joints_to_their_parents_in_every_view(skeletons, poses, view, axes):
    lines = skeletons.skeleton(Figure().add_subplot(), poses[0], view, across=10.0)
    for line, (part, joints) in zip(lines, skeletons.PARTS.items(), strict=True):
        assert line.get_color() == skeletons.COLOURS[part]
        for (start, end), joint in zip(bones_of(line), joints, strict=True):
            assert start == pytest.approx(poses[0, PARENTS[joint]][list(axes)] + (10, 0))
            assert end == pytest.approx(poses[0, joint][list(axes)] + (10, 0))


def test_up_is_up_and_the_right_is_the_cameras(skeletons):
    """A head above and a right hand to the left, as of somebody who faces the camera."""
    pose = np.zeros((17, 3))
    pose[JOINT_NAMES.index("head"), 1], pose[JOINT_NAMES.index("right wrist"), 0] = -600.0, -400.0
    ax = Figure().add_subplot()
    skeletons.skeleton(ax, pose, "from the camera")
    skeletons.frame_to(ax, pose, "from the camera")
    ax.apply_aspect()
    pelvis, head, wrist = (ax.transData.transform(point) for point in ((0, 0), (0, -600), (-400, 0)))
    assert head[1] > pelvis[1] and wrist[0] < pelvis[0]
    assert head[1] - pelvis[1] == pytest.approx(1.5 * (pelvis[0] - wrist[0]))  # a mm is as long across


@pytest.mark.parametrize("seen", ["by all cones", "by a deuteranope"])
def test_limbs_differ_from_each_other_the_truth_and_what_is_behind_for_every_reader(skeletons, seen):
    """CIELAB, where a difference of 2 is just visible: thin lines need many times as much."""
    colours = [*skeletons.COLOURS.values(), skeletons.TRUTH]
    lines = [lab(to_rgb(colour), deuteranope=seen == "by a deuteranope") for colour in colours]
    apart = [np.linalg.norm(one - other) for one, other in combinations(lines, 2)]
    assert min(apart) > 35
    for behind in ("white", skeletons.SHADE):
        place = lab(to_rgb(behind), deuteranope=seen == "by a deuteranope")
        assert min(np.linalg.norm(line - place) for line in lines[:-1]) > 50


def test_the_simulation_makes_green_and_grey_alike_and_leaves_grey_as_it_is():
    green, grey = to_rgb("#009E73"), to_rgb("#b0b0b0")
    assert np.linalg.norm(lab(green) - lab(grey)) > 45
    assert np.linalg.norm(lab(green, deuteranope=True) - lab(grey, deuteranope=True)) < 20
    assert lab(grey, deuteranope=True) == pytest.approx(lab(grey), abs=0.1)


def test_an_unknown_view_is_an_error(skeletons, poses):
    with pytest.raises(KeyError, match="back"):
        skeletons.skeleton(Figure().add_subplot(), poses[0], "back")


def test_predictions_stand_before_the_grey_truth_at_one_scale(skeletons, poses):
    axes = skeletons.against_truth(Figure(), poses[0], {"stage 1": poses[1], "stage 2": 3 * poses[2]})
    assert [ax.get_title() for ax in axes] == ["stage 1", "stage 2", "", ""]
    for ax in axes:
        colours = [line.get_color() for line in ax.get_lines()[:6]]
        assert colours == [skeletons.TRUTH] * 3 + list(skeletons.COLOURS.values())
    assert axes[0].get_xlim() == axes[1].get_xlim() and axes[2].get_ylim() == axes[3].get_ylim()
    drawn = bones_of(axes[1].get_lines()[3])
    assert drawn[0, 1] == pytest.approx(3 * poses[2][1, :2])


@pytest.mark.slow
def test_over_time_each_pose_stands_below_its_frame_and_hidden_ones_are_shaded(skeletons, poses):
    frames = np.zeros((4, 6, 6, 3), np.uint8)
    hidden = np.array([False, True, False, False])
    film, front, side = skeletons.over_time(Figure(), frames, poses, {"stage 3": poses + 5}, hidden=hidden)
    assert film.get_xlim() == front.get_xlim() == side.get_xlim()
    step = film.get_xlim()[1] / 4
    for t, image in enumerate(film.images):
        assert t * step <= image.get_extent()[0] and image.get_extent()[1] <= (t + 1) * step
        (truth, _, _, guess, _, _) = front.get_lines()[6 * t : 6 * t + 6]
        assert bones_of(truth)[0, 0] == pytest.approx(((t + 0.5) * step, 0))  # the pelvis
        assert bones_of(guess)[0, 0] == pytest.approx(((t + 0.5) * step + 5, 5))
    (shade,) = front.patches
    assert shade.get_x() == pytest.approx(step) and shade.get_width() == pytest.approx(step)
    assert to_hex(shade.get_facecolor()) == skeletons.SHADE
    assert "from its right" in side.get_ylabel()


@pytest.fixture(scope="module")
def turned(turning, poses):
    maps = {"stage 1": np.random.default_rng(1).random((4, 2, 2)), "nothing": np.zeros((4, 2, 2))}
    frames = np.random.default_rng(2).integers(0, 255, (4, 8, 8, 3), dtype=np.uint8)
    predicted = {"stage 1": poses + np.eye(17, 3)[:, [2, 0, 1]] * 40, "stage 2": poses}
    return turning.turning_skeleton(
        poses, predicted, frames=frames, maps=maps, times=["0 s", "1 s", "2 s", "3 s"], title="a walk"
    )


def of_skeletons(figure, mode="markers"):
    return [trace for trace in figure.data if trace.type == "scatter3d" and trace.mode == mode]


@pytest.mark.slow
def test_it_turns_what_is_given_with_up_up_and_away_behind(turning, turned, poses):
    joints = next(trace for trace in of_skeletons(turned) if trace.name == "stage 2")
    assert joints.x == tuple(poses[0, :, 0].round().astype(int))
    assert joints.y == tuple(poses[0, :, 2].round().astype(int))
    assert joints.z == tuple(-poses[0, :, 1].round().astype(int))


def test_time_moves_all_but_the_cameras_axes(turned, poses):
    assert [frame.name for frame in turned.frames] == ["0 s", "1 s", "2 s", "3 s"]
    assert [step.args[0] for step in turned.layout.sliders[0].steps] == [("0 s",), ("1 s",), ("2 s",), ("3 s",)]
    for frame in turned.frames:
        assert frame.traces == tuple(range(len(turned.data) - 1))
        assert [trace.type for trace in frame.data] == [trace.type for trace in turned.data[:-1]]
    assert turned.data[-1].name == "the camera's axes"
    last = turned.frames[3].data[-1]
    assert last.x == tuple(poses[3, :, 0].round().astype(int))
    assert turned.frames[2].data[0].source.startswith("data:image/jpeg;base64,")


def test_joints_say_how_far_off_they_are(turned):
    joints = {trace.name: trace for trace in of_skeletons(turned)}
    assert joints["stage 1"].customdata[:4] == (40, 40, 40, 0) and set(joints["stage 2"].customdata) == {0}
    assert tuple(joints["stage 1"].text) == JOINT_NAMES


def test_a_name_in_the_legend_stands_for_all_of_its_skeleton(turned):
    groups = {}
    for trace in [*of_skeletons(turned, "lines"), *of_skeletons(turned)]:
        groups.setdefault(trace.legendgroup, []).append(trace)
    assert list(groups) == ["truth", "stage 1", "stage 2"]
    for name, traces in groups.items():
        assert [trace.showlegend for trace in traces] == [False, False, False, None]
        assert {trace.visible for trace in traces} == {"legendonly" if name == "stage 1" else True}


def test_maps_keep_their_limits_over_time_and_an_empty_one_is_no_error(turned):
    heatmaps = [trace for trace in turned.data if trace.type == "heatmap"]
    assert heatmaps[0].zmin == 0 and 0.9 < heatmaps[0].zmax < 1
    assert heatmaps[1].zmax == 1


def test_it_is_small_and_the_same_every_time(turned):
    text = turned.to_json()
    assert len(text) < 40_000
    assert "uid" not in json.dumps(turned.to_plotly_json(), default=str)
    assert "NaN" not in text


def test_every_view_has_its_button_without_perspective(turning, turned):
    assert [button.label for button in turned.layout.updatemenus[1].buttons] == list(turning.EYES)
    cameras = [button.args[0]["scene.camera"] for button in turned.layout.updatemenus[1].buttons]
    assert {camera["projection"]["type"] for camera in cameras} == {"orthographic"}
    ratio, scene = turned.layout.scene.aspectratio, turned.layout.scene
    spans = {axis: np.ptp(scene[f"{axis}axis"].range) for axis in "xyz"}
    assert len({round(ratio[axis] / spans[axis], 5) for axis in "xyz"}) == 1  # a mm is as long in every direction
