"""Errors of poses against loops and against another way to the same similarity; limbs of given lengths."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from gatescope.measures.pose_errors import aligned, joint_errors, mpjpe, pa_mpjpe


def some_poses(*shape, seed=0, dtype=np.float64):
    return (300 * np.random.default_rng(seed).normal(size=(*shape, 17, 3))).astype(dtype)


def squares(predicted, truth):
    """The sum of squared distances of each pose, each moved to its mean."""
    difference = (predicted - predicted.mean(-2, keepdims=True)) - (truth - truth.mean(-2, keepdims=True))
    return np.square(difference).sum((-2, -1))


def similar(poses, seed=0):
    """Every pose turned, scaled and moved by a similarity of its own."""
    rng = np.random.default_rng(seed)
    shape = poses.shape[:-2]
    rotations = Rotation.random(math.prod(shape), rng).as_matrix().reshape(*shape, 3, 3)
    return rng.uniform(0.3, 3, (*shape, 1, 1)) * (poses @ rotations) + 500 * rng.normal(size=(*shape, 1, 3))


def slow_joint_errors(predicted, truth):
    errors = []
    for joint in range(17):
        total = 0.0
        for axis in range(3):
            at = predicted[joint, axis] - predicted[0, axis]
            wanted = truth[joint, axis] - truth[0, axis]
            total += (at - wanted) ** 2
        errors.append(math.sqrt(total))
    return errors


def slow_pa_mpjpe(predicted, truth):
    """By Horn's quaternion, the eigenvector of a 4 x 4 matrix, which can be no mirror image."""
    p_mean = [sum(predicted[joint, axis] for joint in range(17)) / 17 for axis in range(3)]
    g_mean = [sum(truth[joint, axis] for joint in range(17)) / 17 for axis in range(3)]
    s = np.zeros((3, 3))
    size = 0.0
    for joint in range(17):
        for a in range(3):
            size += (predicted[joint, a] - p_mean[a]) ** 2
            for b in range(3):
                s[a, b] += (predicted[joint, a] - p_mean[a]) * (truth[joint, b] - g_mean[b])
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = s
    n = np.array(
        [
            [xx + yy + zz, yz - zy, zx - xz, xy - yx],
            [yz - zy, xx - yy - zz, xy + yx, zx + xz],
            [zx - xz, xy + yx, yy - xx - zz, yz + zy],
            [xy - yx, zx + xz, yz + zy, zz - xx - yy],
        ]
    )
    values, vectors = np.linalg.eigh(n)
    w, x, y, z = vectors[:, -1]
    turn = np.array(
        [
            [w * w + x * x - y * y - z * z, 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), w * w - x * x + y * y - z * z, 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), w * w - x * x - y * y + z * z],
        ]
    )
    total = 0.0
    for joint in range(17):
        placed = values[-1] / size * (turn @ (predicted[joint] - p_mean)) + g_mean
        total += math.sqrt(sum((placed[axis] - truth[joint, axis]) ** 2 for axis in range(3)))
    return total / 17


def test_joint_errors_are_distances_from_the_own_pelvis():
    predicted, truth = some_poses(2, 3), some_poses(2, 3, seed=1)
    errors = joint_errors(predicted, truth)
    assert errors.shape == (2, 3, 17) and (errors[..., 0] == 0).all()
    for clip in range(2):
        for frame in range(3):
            slow = slow_joint_errors(predicted[clip, frame], truth[clip, frame])
            np.testing.assert_allclose(errors[clip, frame], slow, rtol=1e-12)
            np.testing.assert_allclose(mpjpe(predicted, truth)[clip, frame], sum(slow) / 17, rtol=1e-12)


def test_tensors_give_what_arrays_give():
    predicted, truth = some_poses(2, 3), some_poses(2, 3, seed=1)
    found = mpjpe(torch.from_numpy(predicted), torch.from_numpy(truth))
    assert isinstance(found, torch.Tensor)
    np.testing.assert_allclose(found.numpy(), mpjpe(predicted, truth), rtol=1e-12)


def test_the_same_pose_has_no_error_wherever_it_stands():
    poses = some_poses(4, 5)
    assert (mpjpe(poses, poses) == 0).all()
    moved = poses + 1000 * np.random.default_rng(1).normal(size=(4, 5, 1, 3))
    np.testing.assert_allclose(mpjpe(moved, some_poses(4, 5, seed=2)), mpjpe(poses, some_poses(4, 5, seed=2)))


@pytest.mark.parametrize("measure", [mpjpe, pa_mpjpe])
def test_every_stage_is_measured_by_the_one_truth(measure):
    stages, truth = some_poses(2, 3, 4), some_poses(2, 4, seed=1)
    errors = measure(stages, truth[:, None])
    assert errors.shape == (2, 3, 4)
    for stage in range(3):
        np.testing.assert_array_equal(errors[:, stage], measure(stages[:, stage], truth))


def test_the_best_similarity_is_horns():
    predicted, truth = some_poses(20), some_poses(20, seed=1)
    truth[:10] = 0.5 * truth[:10] + similar(predicted)[:10]  # also poses that are much alike
    slow = [slow_pa_mpjpe(p, g) for p, g in zip(predicted, truth, strict=True)]
    np.testing.assert_allclose(pa_mpjpe(predicted, truth), slow, rtol=1e-9)
    assert pa_mpjpe(predicted[0], truth[0]).shape == ()


def test_a_similar_pose_has_no_error_once_it_is_aligned():
    truth = some_poses(6, 5)
    assert mpjpe(similar(truth), truth).min() > 10
    assert pa_mpjpe(similar(truth), truth).max() < 1e-6
    assert pa_mpjpe(truth, truth).max() < 1e-6


@pytest.mark.parametrize("axis", range(3))
def test_a_mirror_image_is_no_similarity(axis):
    truth = some_poses(20)
    mirrored = truth * np.where(np.arange(3) == axis, -1, 1)
    assert pa_mpjpe(mirrored, truth).min() > 50
    assert pa_mpjpe(similar(mirrored), truth).min() > 50


def test_in_a_plane_a_mirror_image_is_a_turn():
    truth = some_poses(5) * [1, 1, 0]
    assert pa_mpjpe(truth * [-1, 1, 1], truth).max() < 1e-6


def test_no_pose_is_further_away_in_squares_than_before_and_none_near_the_best_is_nearer():
    predicted, truth = some_poses(100), some_poses(100, seed=1)
    truth[50:] = predicted[50:] + 0.1 * truth[50:]
    best = aligned(predicted, truth)
    assert (squares(best, truth) <= squares(predicted, truth) * (1 + 1e-12)).all()
    assert squares(best, truth)[:50].max() < 0.99 * squares(predicted, truth)[:50].max()
    around = best - best.mean(-2, keepdims=True)
    for seed in range(5):
        turn = Rotation.from_rotvec(1e-2 * np.random.default_rng(seed).normal(size=3)).as_matrix()
        for other in (around @ turn, 1.01 * around, 0.99 * around):
            assert (squares(other, truth) > squares(best, truth)).all()


def test_poses_that_fix_no_similarity_still_have_an_error():
    truth = some_poses(1)[0]
    spread = np.linalg.norm(truth - truth.mean(0), axis=-1).mean()
    np.testing.assert_allclose(pa_mpjpe(np.full((17, 3), 7.0), truth), spread)  # in one point
    assert pa_mpjpe(truth, np.full((17, 3), 7.0)) < 1e-9
    line = np.arange(17.0)[:, None] * [1, 2, 3]
    assert pa_mpjpe(line, -line[:, [2, 0, 1]]) < 1e-9
    assert pa_mpjpe(line, truth) < spread


def test_a_pose_that_is_not_finite_leaves_the_others_alone():
    predicted, truth = some_poses(4), some_poses(4, seed=1)
    expected = pa_mpjpe(predicted, truth)
    predicted[1, 5, 0], truth[2, 3, 1] = np.nan, np.inf
    for measure in (mpjpe, pa_mpjpe):
        np.testing.assert_array_equal(np.isfinite(measure(predicted, truth)), [True, False, False, True])
    np.testing.assert_array_equal(pa_mpjpe(predicted, truth)[[0, 3]], expected[[0, 3]])


def test_no_pose_has_no_error_and_single_precision_stays():
    predicted, truth = some_poses(3, dtype=np.float32), some_poses(3, seed=1, dtype=np.float32)
    for measure in (mpjpe, pa_mpjpe):
        assert measure(predicted, truth).dtype == np.float32
        assert measure(predicted[:0], truth[:0]).shape == (0,)
        np.testing.assert_allclose(
            measure(predicted, truth), measure(predicted.astype(float), truth.astype(float)), rtol=1e-5
        )
