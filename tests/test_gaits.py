"""Procedural gaits: bones that keep their length, feet on the ground, and a right side that is the right one."""

import numpy as np
import pytest

SEEDS = range(40)
FPS, NUM_FRAMES = 25.0, 30


@pytest.fixture(scope="module")
def gaits():
    from rendered_people import gaits

    return gaits


@pytest.fixture(scope="module")
def walks(gaits):
    """Forty walks with swinging arms."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gaits, "RAISED", 0.0)
        return [gaits.gait(np.random.default_rng(seed), num_frames=NUM_FRAMES, fps=FPS) for seed in SEEDS]


def joint(motion, name):
    from rendered_people.skeleton import JOINT_NAMES

    return motion.joints[:, JOINT_NAMES.index(name)].astype(float)


def walking_axes(motion):
    """Left, up and forward at each frame but the ends, from the path on the ground alone."""
    step = joint(motion, "pelvis")[2:] - joint(motion, "pelvis")[:-2]
    forward = step * [1, 0, 1] / np.linalg.norm(step * [1, 0, 1], axis=-1, keepdims=True)
    up = np.broadcast_to([0.0, 1.0, 0.0], forward.shape)
    return np.cross(up, forward), up, forward


def ahead(motion, name, of):
    """How far a joint is in front of another, at each frame but the ends, mm."""
    return ((joint(motion, name) - joint(motion, of))[1:-1] * walking_axes(motion)[2]).sum(-1)


def test_every_bone_keeps_its_length_in_an_adult_s_proportions(gaits):
    from rendered_people.skeleton import JOINT_NAMES, PARENTS

    adult = dict.fromkeys(JOINT_NAMES, 0.0) | {
        "spine": 233, "thorax": 257, "neck": 121, "head": 115,
        **{f"{side} {name}": length for side in ("right", "left") for name, length in {
            "hip": 132, "knee": 443, "ankle": 454, "shoulder": 151, "elbow": 279, "wrist": 252}.items()},
    }  # fmt: skip
    sizes = []
    for seed in SEEDS:
        joints = gaits.gait(np.random.default_rng(seed), num_frames=10, fps=12.5).joints.astype(float)
        ratios = []
        for number, name in enumerate(JOINT_NAMES[1:], start=1):
            bone = np.linalg.norm(joints[:, number] - joints[:, PARENTS[number]], axis=-1)
            ratios.append(bone / adult[name])
        np.testing.assert_allclose(ratios, ratios[0][0], rtol=1e-4)
        sizes.append(ratios[0][0])
    assert 0.85 < min(sizes) < 0.96 and 1.04 < max(sizes) < 1.15


def test_the_lower_foot_stands_on_the_ground(walks):
    for motion in walks:
        ankles = np.minimum(joint(motion, "right ankle")[:, 1], joint(motion, "left ankle")[:, 1])
        np.testing.assert_allclose(ankles, ankles[0], atol=0.01)
        assert 60 < ankles[0] < 100


def test_people_walk_forward_with_their_left_on_the_left(walks):
    for motion in walks:
        left, up, forward = walking_axes(motion)
        across = (joint(motion, "left shoulder") - joint(motion, "right shoulder"))[1:-1]
        assert ((across * left).sum(-1) > 200).all()
        assert ((joint(motion, "neck") - joint(motion, "pelvis"))[1:-1] * up > 0).sum(-1).all()
        facing = np.stack([np.sin(motion.yaw), np.zeros(NUM_FRAMES), np.cos(motion.yaw)], axis=-1)
        assert ((facing[1:-1] * forward).sum(-1) > 0.9).all()


def test_knees_bend_backwards_and_elbows_forwards(walks):
    for motion in walks:
        for side in ("right", "left"):
            thigh = ahead(motion, f"{side} knee", f"{side} hip") / 443
            shin = ahead(motion, f"{side} ankle", f"{side} knee") / 454
            assert (shin < thigh + 0.03).all()
            # Seen from the shoulder the hand is in front of where a straight arm would have it.
            upper = ahead(motion, f"{side} elbow", f"{side} shoulder") / 279
            fore = ahead(motion, f"{side} wrist", f"{side} elbow") / 252
            assert (fore > upper - 0.03).all()


def test_an_arm_swings_against_its_own_leg(walks):
    for side, other in (("right", "left"), ("left", "right")):
        for motion in walks:
            leg = ahead(motion, f"{side} knee", f"{other} knee")
            arm = ahead(motion, f"{side} elbow", f"{other} elbow")
            assert np.corrcoef(leg, arm)[0, 1] < -0.7


def test_some_arms_are_raised(gaits, walks):
    def raised(motions):
        return np.mean(
            [joint(m, f"{s} wrist")[0, 1] > joint(m, "neck")[0, 1] for m in motions for s in ("right", "left")]
        )

    some = [gaits.gait(np.random.default_rng(seed), num_frames=2, fps=FPS) for seed in range(200)]
    assert raised(walks) == 0 and 0.05 < raised(some) < gaits.RAISED


def test_a_gait_is_a_function_of_its_random_numbers(gaits):
    first, again, other = (gaits.gait(np.random.default_rng(seed), num_frames=3, fps=FPS) for seed in (1, 1, 2))
    assert np.array_equal(first.joints, again.joints) and first.source == again.source
    assert not np.allclose(first.joints[0], other.joints[0], atol=10)


def test_the_frame_rate_chooses_the_moments_of_one_walk(gaits):
    slow = gaits.gait(np.random.default_rng(5), num_frames=5, fps=10.0)
    fast = gaits.gait(np.random.default_rng(5), num_frames=9, fps=20.0)
    poses = [motion.joints - motion.joints[:, :1] for motion in (slow, fast)]
    np.testing.assert_allclose(poses[0], poses[1][::2], atol=0.01)


def test_one_frame_is_a_gait_and_none_is_not(gaits):
    assert gaits.gait(np.random.default_rng(0), num_frames=1, fps=FPS).joints.shape == (1, 17, 3)
    for wrong in ({"num_frames": 0, "fps": FPS}, {"num_frames": 3, "fps": 0.0}, {"num_frames": 3, "fps": float("nan")}):
        with pytest.raises(ValueError, match="at least one frame and a positive frame rate"):
            gaits.gait(np.random.default_rng(0), **wrong)
