"""Counterfactual clips: only what was to change changes, by as much as was asked, and truth stays exact."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

pytestmark = pytest.mark.slow  # rendering with shapes checked takes seconds

SIZE, SHIFT = 56, (6, -4)
KINDS = ("none", "view shifted", "hand shifted", "frozen", "removed", "distractor")


@pytest.fixture(scope="module")
def clips():
    from gatescope.loaders import SyntheticGestures

    return SyntheticGestures("valid", 27, SIZE, difficulty=0.1)


@pytest.fixture(scope="module")
def index(clips):
    return next(i for i in range(27) if clips.label(i) == 0)  # a swipe


@pytest.fixture(scope="module")
def shown(clips, index):
    """The swipe under every change, by its kind."""
    from gatescope.loaders.rendered import counterfactuals
    from rendered_people import Change

    changes = [Change(kind, SHIFT if "shifted" in kind else (0, 0)) for kind in KINDS]
    return SimpleNamespace(**dict(zip(map(attribute, KINDS), counterfactuals(clips, index, changes), strict=True)))


def attribute(kind: str) -> str:
    return kind.replace(" ", "_")


def moved(pictures: np.ndarray, shift: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The parts of unmoved and moved pictures (time, y, x, ...) that should be equal."""
    right, down = shift
    size = pictures.shape[1]
    inside = [slice(max(0, each), size + min(0, each)) for each in (down, right)]
    before = [slice(max(0, -each), size + min(0, -each)) for each in (down, right)]
    return (slice(None), *before), (slice(None), *inside)


def test_no_change_is_the_same_clip_to_the_byte(clips, index, shown):
    clip = clips.clip(index)
    for name in ("frames", "hand_mask", "depth", "flow", "joints_2d", "joints_3d"):
        np.testing.assert_array_equal(getattr(shown.none.clip, name), getattr(clip, name))
    assert (shown.none.clip.label, shown.none.clip.name, shown.none.clip.fps) == (clip.label, clip.name, clip.fps)


@pytest.mark.parametrize("kind", KINDS)
def test_regions_agree_with_the_hand_mask(shown, kind):
    one = getattr(shown, attribute(kind))
    np.testing.assert_array_equal(one.region("hand"), one.clip.hand_mask)
    assert one.region("distractor").any() == (kind == "distractor")
    everything = one.region("wall", "hand", "arm", "trunk", "head", "passer-by", "distractor")
    assert everything.all() and one.region("trunk").any() and one.region("head").any()


def test_unknown_regions_and_kinds_are_refused(shown):
    from rendered_people import Change

    with pytest.raises(LookupError, match="foot.*wall, hand"):
        shown.none.region("foot")
    with pytest.raises(ValueError, match="'melted'"):
        Change("melted")
    for kind in ("none", "frozen", "removed"):
        with pytest.raises(ValueError, match="is not shifted; got"):
            Change(kind, SHIFT)


@pytest.mark.parametrize("kind", ["hand shifted", "frozen", "removed", "distractor"])
def test_what_the_arm_does_not_touch_keeps_its_bytes(shown, kind):
    """All random draws are the same, the noise among them, and the camera's exposure; only shadows reach further."""
    before, after = shown.none, getattr(shown, attribute(kind))
    arm = np.any([each.region("hand", "arm", "distractor") for each in (before, after)], axis=0)
    near = np.stack([cv2.dilate(mask.astype(np.uint8), np.ones((5, 5))) for mask in arm]) > 0  # blur, soft edges
    same = (before.clip.frames == after.clip.frames).all(-1)
    wall = before.region("wall") & after.region("wall") & ~near
    # The rest is wall beside the shoulder, whose skin follows the arm.
    assert wall.sum() > 0.2 * wall.size and same[wall].mean() > 0.995
    assert same[~near].mean() > 0.9 and not same[arm].all()
    np.testing.assert_array_equal(before.clip.depth[wall], after.clip.depth[wall])
    rest = same[:, : SIZE // 8, -SIZE // 8 :]  # a corner where nobody is
    assert rest.all() and np.ptp(before.clip.frames[:, : SIZE // 8, -SIZE // 8 :], axis=0).max() > 0  # noise


def test_a_shifted_view_is_the_same_picture_elsewhere(shown):
    before, after = moved(shown.none.clip.frames, SHIFT)
    one, other = shown.none.clip, shown.view_shifted.clip
    np.testing.assert_allclose(other.joints_2d - one.joints_2d, np.broadcast_to(SHIFT, one.joints_2d.shape), atol=1e-3)
    np.testing.assert_array_equal(other.joints_3d, one.joints_3d)
    assert (other.hand_mask[after] == one.hand_mask[before]).mean() > 0.999  # an edge may fall on the other side
    same = other.hand_mask[after][:-1] & one.hand_mask[before][:-1]
    np.testing.assert_allclose(other.flow[after][same], one.flow[before][same], atol=1e-3)
    difference = np.abs(other.frames[after].astype(float) - one.frames[before])
    assert difference.mean() < 2.5  # grey levels: the sensor's noise stays where it was


def test_a_shifted_hand_is_seen_where_it_was_asked_for(shown):
    way = shown.hand_shifted.clip.joints_2d - shown.none.clip.joints_2d
    np.testing.assert_allclose(way[:, 0], np.broadcast_to(SHIFT, way[:, 0].shape), atol=0.05)  # the wrist
    np.testing.assert_allclose(way[:, 22:], 0, atol=1e-3)  # all that is no arm: shoulders, neck, head
    depth = [each.clip.joints_3d[:, 0, 2] for each in (shown.none, shown.hand_shifted)]
    np.testing.assert_allclose(*depth, atol=0.5)


def test_a_frozen_hand_stays_while_the_rest_moves(shown):
    joints = shown.frozen.clip.joints_3d
    assert np.ptp(joints[:, :21], axis=0).max() < 0.01  # mm
    middle = len(joints) // 2
    np.testing.assert_allclose(joints[middle], shown.none.clip.joints_3d[middle], atol=0.01)
    np.testing.assert_array_equal(joints[:, 22:], shown.none.clip.joints_3d[:, 22:])
    assert np.ptp(shown.none.clip.joints_3d[:, 0], axis=0).max() > 100
    assert (
        np.abs(shown.frozen.clip.flow[shown.frozen.clip.hand_mask[:-1]]).max() < 0.05
    )  # px; skin at the wrist follows the forearm
    assert not (shown.frozen.moving & shown.frozen.region("hand")).any()


def test_a_removed_hand_is_out_of_view(shown):
    assert not shown.removed.clip.hand_mask.any()
    np.testing.assert_array_equal(shown.removed.clip.joints_3d[:, 22:], shown.none.clip.joints_3d[:, 22:])


def test_the_distractor_goes_where_the_hand_went(shown):
    hand, thing = shown.none.region("hand"), shown.distractor.region("distractor")
    np.testing.assert_array_equal(shown.distractor.clip.joints_3d, shown.frozen.clip.joints_3d)

    def centres(masks):
        return np.array([np.argwhere(mask).mean(0) if mask.sum() > 20 else [np.nan] * 2 for mask in masks])

    apart = np.linalg.norm(centres(hand) - centres(thing), axis=1)
    assert np.nanmax(apart) < 8 and (~np.isnan(apart)).sum() >= 4  # px; the hand covers part of it in the middle
    assert shown.distractor.moving[thing].mean() > 0.6


def test_a_distractor_beside_its_path_is_moved_by_the_shift(clips, index, shown):
    from gatescope.loaders.rendered import counterfactuals
    from rendered_people import Change

    (aside,) = counterfactuals(clips, index, [Change("distractor", SHIFT)])
    before, after = moved(aside.regions, SHIFT)
    on_path, beside = (each.region("distractor") for each in (shown.distractor, aside))
    alone = on_path[before] | beside[after]
    agree = (on_path[before] & beside[after]).sum() / alone.sum()
    assert agree > 0.6  # the still hand covers other parts of it
    np.testing.assert_array_equal(aside.clip.joints_3d, shown.distractor.clip.joints_3d)


@pytest.mark.parametrize("kind", ["view shifted", "hand shifted", "frozen", "distractor"])
def test_flow_leads_to_the_next_frame(shown, kind):
    """Frame t + 1 looked up at the end of frame t's flow is frame t; what is covered meanwhile is left out by depth."""
    clip = getattr(shown, attribute(kind)).clip
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)
    found, unmoved = [], []
    for t in range(len(clip.flow)):
        at = (x + clip.flow[t, ..., 0], y + clip.flow[t, ..., 1])
        there = cv2.remap(clip.frames[t + 1], *at, cv2.INTER_LINEAR, borderValue=(0, 0, 0)).astype(float)
        depth = cv2.remap(clip.depth[t + 1], *at, cv2.INTER_LINEAR)
        inside = (at[0] > 1) & (at[0] < SIZE - 2) & (at[1] > 1) & (at[1] < SIZE - 2)
        known = inside & (np.abs(depth - clip.depth[t]) < 60) & (np.hypot(*np.moveaxis(clip.flow[t], -1, 0)) > 1)
        found.append(np.abs(there - clip.frames[t]).mean(-1)[known])
        unmoved.append(np.abs(clip.frames[t + 1].astype(float) - clip.frames[t]).mean(-1)[known])
    moving, still = np.concatenate(found), np.concatenate(unmoved)
    if kind != "frozen":  # where next to nothing moves by a pixel
        assert len(moving) > 200 and moving.mean() < 0.65 * still.mean()


def test_changes_together_are_the_changes_alone(clips, index, shown):
    from gatescope.loaders.rendered import counterfactuals
    from rendered_people import Change

    (alone,) = counterfactuals(clips, index, [Change("distractor")])
    np.testing.assert_array_equal(alone.clip.frames, shown.distractor.clip.frames)
    assert alone.clip.source.endswith("distractor")
