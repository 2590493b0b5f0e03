"""The whole body's surface: closed, symmetric, and with its joints where they are said to be."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation


@pytest.fixture(scope="module")
def whole_body():
    from rendered_people import whole_body

    return whole_body


@pytest.fixture(scope="module")
def adult():
    """A person of the reference build."""
    from rendered_people.body import Build
    from rendered_people.person import random_person

    return replace(random_person(np.random.default_rng(0)), build=Build())


@pytest.fixture(scope="module")
def odd_poses(whole_body):
    """Skeletons of no human proportions in poses that no one can take."""
    rng = np.random.default_rng(3)
    return whole_body.REST * rng.uniform(0.6, 1.5, (20, 17, 1)) + rng.normal(0, 60, (20, 17, 3))


def moved(transforms, bone, point):
    return transforms[:, bone, :, :3] @ point + transforms[:, bone, :, 3]


def ends(whole_body, bone):
    from rendered_people.skeleton import JOINT_NAMES

    return [JOINT_NAMES.index(name) for name in whole_body._SPANS[bone]]


def test_every_bone_reaches_from_its_joint_to_the_next(whole_body, adult, odd_poses):
    transforms = whole_body.transforms(odd_poses, adult)
    for number, bone in enumerate(whole_body.BONES):
        for end in ends(whole_body, bone):
            place = moved(transforms.astype(float), number, whole_body.REST[end])
            np.testing.assert_allclose(place, odd_poses[:, end], atol=0.01)


def test_the_modelling_pose_stays_as_it_is(whole_body, adult):
    transforms = whole_body.transforms(whole_body.REST[None], adult)[0]
    np.testing.assert_allclose(transforms, np.tile(np.eye(3, 4), (12, 1, 1)), atol=1e-4)


def test_a_turned_person_is_the_same_person_turned(whole_body, adult, odd_poses):
    turn, shift = Rotation.random(rng=np.random.default_rng(1)).as_matrix(), np.array([300.0, -20.0, 50.0])
    before = whole_body.transforms(odd_poses, adult).astype(float)
    after = whole_body.transforms(odd_poses @ turn.T + shift, adult)
    wanted = turn @ before + np.pad(shift[:, None], ((0, 0), (3, 0)))
    np.testing.assert_allclose(after, wanted, atol=0.01)


def test_the_mirror_image_of_a_pose_is_posed_as_the_mirror_image(whole_body, adult, odd_poses):
    from rendered_people.skeleton import JOINT_NAMES

    def other(name):
        return name.replace("right", "LEFT").replace("left", "right").replace("LEFT", "left")

    mirror = np.diag([-1.0, 1.0, 1.0])
    swapped = odd_poses[:, [JOINT_NAMES.index(other(name)) for name in JOINT_NAMES]] @ mirror
    before, after = (whole_body.transforms(poses, adult) for poses in (odd_poses, swapped))
    for number, bone in enumerate(whole_body.BONES):
        partner = whole_body.BONES.index(other(bone))
        wanted = mirror @ before[:, partner] @ np.diag([-1.0, 1.0, 1.0, 1.0])
        np.testing.assert_allclose(after[:, number], wanted, atol=0.01)


def test_no_bone_is_turned_inside_out_in_a_walk(whole_body, adult):
    from rendered_people.gaits import gait

    for seed in range(20):
        joints = gait(np.random.default_rng(seed), num_frames=4, fps=5.0).joints
        linear = whole_body.transforms(joints, adult)[..., :3].astype(float)
        stretch = np.linalg.svd(linear, compute_uv=False)
        assert (np.linalg.det(linear) > 0).all() and stretch.min() > 0.7 and stretch.max() < 1.4


def test_the_turn_is_the_shortest_and_opposite_bones_harm_nobody(whole_body):
    rng = np.random.default_rng(0)
    a, b = (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True) for vectors in rng.normal(size=(2, 50, 3)))
    for first, second, turn in zip(a, b, whole_body._shortest_turn(a, b), strict=True):
        # The same by Rodrigues' formula, about the axis at right angles to both.
        axis = np.cross(first, second) / np.linalg.norm(np.cross(first, second))
        angle = np.arccos(np.clip(first @ second, -1, 1))
        np.testing.assert_allclose(turn, Rotation.from_rotvec(angle * axis).as_matrix(), atol=1e-9)
    assert np.isfinite(whole_body._shortest_turn(a, -a)).all()


@pytest.mark.parametrize("hair_style", ["none", "long"])
def test_the_surface_has_no_hole(whole_body, hair_style):
    body = whole_body.suit_and_head(True, hair_style, 0)
    edges = Counter(tuple(sorted((int(t[k]), int(t[k - 1])))) for t in body.triangles for k in range(3))
    assert set(edges.values()) == {2}
    assert (body.triangles.max() + 1, len(np.unique(body.parts))) == (len(body.vertices), 2 + (hair_style != "none"))
    np.testing.assert_allclose(body.weights.sum(1), 1, atol=1e-5)
    assert (body.bones < len(whole_body.BONES)).all()


def test_the_suit_shows_which_side_is_which(whole_body):
    from rendered_people.skeleton import JOINT_NAMES, LEFT, RIGHT

    front, back = whole_body.suit_texture(np.random.default_rng(0))
    assert np.array_equal(front, back)
    left, bottom, width, height = whole_body.SUIT_BOX
    for number in range(1, len(JOINT_NAMES)):
        if JOINT_NAMES[number] in ("neck", "head") or JOINT_NAMES[number].endswith(("hip", "shoulder")):
            continue  # under skin and hair, or on a seam
        x, y = whole_body.REST[number, :2]
        size = len(front)
        colour = front[int((bottom + height - y) / height * size), int((x - left) / width * size)]
        assert colour.argmax() == (0 if number in RIGHT else 1 if number in LEFT else 2)
