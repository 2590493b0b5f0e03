"""Rendered whole bodies: joints that are exact in space and in the picture, and what a clip depends on."""

from dataclasses import replace

import numpy as np
import pytest

SIZE = 72


@pytest.fixture(scope="module")
def body_clips():
    from gatescope.loaders.rendered import bodies as body_clips

    return body_clips


@pytest.fixture(scope="module")
def small(body_clips):
    """Forty clips, as small as they may be."""
    return list(body_clips.BodyClips("train", 40, 8, num_frames=4))


def with_depth(clips, index):
    """Clip `index` once more, with its depth."""
    from rendered_people.person import random_person
    from rendered_people.whole_body_render import render_body

    streams = [clips._stream(purpose, index) for purpose in (0, 2, 3)]
    return render_body(
        random_person(streams[0]), clips.motion(index), streams[1:], size=clips.size, modalities=("depth",)
    )


@pytest.fixture(scope="module")
def seen(body_clips):
    """Images with depth of a few people in clean light."""
    from rendered_people import whole_body_render

    original = whole_body_render.random_scene

    def clean(*arguments):
        return replace(original(*arguments), read_noise=0.0, shot_noise=0.0, flicker=0.0, brightness=0.25)

    clips = body_clips.BodyClips("test", 12, SIZE, seed=2, num_frames=3, fps=4.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(whole_body_render, "random_scene", clean)
        return [with_depth(clips, index) for index in range(12)]


@pytest.fixture(scope="module")
def long_walk(body_clips):
    from rendered_people.gaits import gait

    return gait(np.random.default_rng(0), num_frames=240, fps=60.0)


@pytest.mark.slow
def test_a_clip_has_frames_and_the_truth_of_its_joints(body_clips):
    clips = body_clips.BodyClips("valid", 3, 16, seed=1)
    clip = clips[1]
    assert clip.frames.shape == (10, 16, 16, 3) and clip.fps == 12.5 and len(clips) == 3
    assert clip.joints_2d.shape == (10, 17, 2) and clip.joints_3d.shape == (10, 17, 3)
    assert (clip.label, clip.depth, clip.flow, clip.hand_mask) == (None, None, None, None)
    assert "gait" in clip.source and "valid clip 1" in clip.source
    assert np.array_equal(clip.frames, clips[-2].frames)
    with pytest.raises(IndexError, match="clip 3 of 3"):
        clips[3]


@pytest.mark.slow
def test_the_picture_s_joints_are_those_in_space_projected(small):
    for clip in small:
        # One focal length for both axes and all frames, whatever it is.
        rays, places = clip.joints_3d[..., :2] / clip.joints_3d[..., 2:], clip.joints_2d - 4.0
        focal_px = (rays * places).sum() / (rays * rays).sum()
        np.testing.assert_allclose(focal_px * rays, places, atol=1e-4)


def test_the_camera_sees_the_motion_s_own_bones(body_clips, small):
    from rendered_people.skeleton import PARENTS

    clips = body_clips.BodyClips("train", 40, 8, num_frames=4)
    for index in range(0, 40, 8):
        ours, theirs = small[index].joints_3d, clips.motion(index).joints
        distances = [np.linalg.norm(j[:, :, None] - j[:, None], axis=-1) for j in (ours, theirs)]
        np.testing.assert_allclose(*distances, atol=0.05)
        # Right-handed: the same corner of three bones has the same volume, and not its mirror image's.
        corners = [np.linalg.det((j - j[:, PARENTS])[:, [1, 7, 9]].astype(float)) for j in (ours, theirs)]
        np.testing.assert_allclose(*corners, rtol=1e-3, atol=50)


def test_the_pelvis_stays_in_the_middle_and_all_of_the_body_in_the_picture(small):
    places = np.stack([clip.joints_2d for clip in small]) / 8
    depths = np.stack([clip.joints_3d[..., 2] for clip in small])
    np.testing.assert_allclose(places[:, :, 0], 0.5, atol=1e-5)
    assert places.min() > 0.03 and places.max() < 0.97
    assert np.ptp(places[..., 1], axis=-1).min() > 0.5  # fills it from head to foot
    assert depths[:, :, 0].min() > 3500 and depths[:, :, 0].max() < 5300
    assert np.abs(depths - depths[:, :, :1]).max() < 1200


def test_people_turn_their_front_to_the_camera_within_a_known_angle(body_clips, small):
    from rendered_people.skeleton import JOINT_NAMES
    from rendered_people.whole_body_render import MOST_YAW

    hips = [JOINT_NAMES.index(f"{side} hip") for side in ("left", "right")]
    shoulders = [JOINT_NAMES.index(f"{side} shoulder") for side in ("left", "right")]
    yaws = []
    for clip in small:
        joints = clip.joints_3d[2].astype(float)
        assert joints[10, 1] < joints[0, 1] < joints[3, 1]  # y points down: head above pelvis above ankle
        across = joints[hips[0]] - joints[hips[1]] + joints[shoulders[0]] - joints[shoulders[1]]
        yaws.append(np.arctan2(across[2], across[0]))  # 0 where the left is right in the picture
    yaws = np.array(yaws)
    assert np.abs(yaws).max() < MOST_YAW + 0.05
    assert yaws.min() < -0.8 and yaws.max() > 0.8


def test_a_motion_that_reaches_far_is_still_seen_whole(body_clips, long_walk):
    giant = replace(long_walk, joints=3 * long_walk.joints)
    clip = body_clips.BodyClips("train", 1, 8, motions=[giant], num_frames=3)[0]
    assert clip.joints_2d.min() > 0 and clip.joints_2d.max() < 8


def at_joints(images):
    """Pixel columns and rows of every joint, (time, 17) each."""
    places = np.floor(images.joints_2d).astype(int)
    return places[..., 0], places[..., 1]


def test_every_joint_lies_on_the_body_and_behind_its_surface(seen):
    on_body, depth_inside = [], []
    for images in seen:
        columns, rows = at_joints(images)
        surface = images.depth[np.arange(3)[:, None], rows, columns]
        inside = images.joints_3d[..., 2] - surface
        on_body.append(surface < images.depth.max())
        depth_inside.append(inside)
    on_body, depth_inside = np.stack(on_body), np.stack(depth_inside)
    # The thinnest parts, wrists and ankles, are two pixels wide.
    assert on_body.mean() > 0.99 and depth_inside[on_body].min() > -40
    assert np.median(depth_inside[on_body]) < 130


def test_the_suit_shows_left_and_right_where_they_are(seen):
    from rendered_people.skeleton import JOINT_NAMES

    wanted = {"spine": 2, "right elbow": 0, "right knee": 0, "left elbow": 1, "left knee": 1}
    for name, channel in wanted.items():
        number, found = JOINT_NAMES.index(name), []
        for images in seen:
            columns, rows = (index[:, number] for index in at_joints(images))
            time = np.arange(3)
            # Only where this joint, and nothing in front of it, is seen.
            free = images.joints_3d[:, number, 2] - images.depth[time, rows, columns] < (160 if channel == 2 else 90)
            found += list(images.frames[time, rows, columns].argmax(-1)[free] == channel)
        assert len(found) > 10 and np.mean(found) > 0.95


def test_a_clip_depends_on_its_own_numbers_alone(body_clips):
    def clip(split="train", num_clips=5, size=16, seed=0, index=3, **more):
        return body_clips.BodyClips(split, num_clips, size, seed, num_frames=2, **more)[index]

    first = clip()
    for same in (clip(), clip(num_clips=50), clip(motions=None)):
        assert np.array_equal(first.frames, same.frames) and np.array_equal(first.joints_3d, same.joints_3d)
    for other in (clip(split="valid"), clip(seed=1), clip(index=4), clip(fps=10.0)):
        assert not np.allclose(first.joints_3d[1], other.joints_3d[1], atol=1)
    larger = clip(size=24)
    np.testing.assert_array_equal(first.joints_3d, larger.joints_3d)
    np.testing.assert_allclose(first.joints_2d / 16, larger.joints_2d / 24, atol=1e-5)


def test_nobody_is_in_two_splits(body_clips, monkeypatch):
    from rendered_people import person as people

    cast = []
    original = people.random_person
    monkeypatch.setattr(people, "random_person", lambda rng: cast.append(original(rng)) or cast[-1])
    for split in ("train", "valid", "test"):
        list(body_clips.BodyClips(split, 4, 8, num_frames=1))
    assert len({person.build for person in cast}) == 12


def test_given_motions_are_shown_in_parts_at_the_asked_rate(body_clips, long_walk):
    slow = long_walk.resampled(12.5)
    other = replace(long_walk, joints=long_walk.joints[:120] * 1.1, source="another")
    clips = body_clips.BodyClips("train", 30, 8, motions=[long_walk, other], num_frames=5)
    starts = []
    for index in range(30):
        shown = clips.motion(index)
        whole = slow.joints if "another" not in shown.source else other.resampled(12.5).joints
        places = [k for k in range(len(whole) - 4) if np.array_equal(whole[k : k + 5], shown.joints)]
        assert len(places) == 1 and f"from {places[0] / 12.5:.2f} s" in shown.source
        starts.append(shown.source)
    assert len(set(starts)) > 15 and {"another" in source for source in starts} == {True, False}
    assert np.array_equal(
        clips[3].frames, body_clips.BodyClips("train", 9, 8, motions=clips.motions, num_frames=5)[3].frames
    )


def test_a_motion_too_short_for_a_clip_is_refused_with_its_name(body_clips, long_walk):
    short = replace(long_walk, joints=long_walk.joints[:40], source="short.bvh")
    body_clips.BodyClips("train", 1, 8, motions=[short], num_frames=9)
    with pytest.raises(ValueError, match=r"clips of 10 frames at 12.5 .* short.bvh has 9: leave it out"):
        body_clips.BodyClips("train", 1, 8, motions=[long_walk, short])
    with pytest.raises(ValueError, match="at least one BodyMotion"):
        body_clips.BodyClips("train", 1, 8, motions=[])


@pytest.mark.parametrize(
    "wrong", [{"split": "tests"}, {"num_clips": -1}, {"size": 7}, {"seed": -1}, {"num_frames": 0}, {"fps": 0.0}]
)
def test_wrong_arguments_are_refused(body_clips, wrong):
    with pytest.raises(ValueError, match=r"must be one of|needed num_clips|fps must be"):
        body_clips.BodyClips(**{"split": "train"} | wrong)


def test_recorded_people_are_drawn_where_their_joints_are(body_clips, shared):
    from gatescope.loaders.mocap import read_bvh

    motion = read_bvh(shared / "realdata" / "cmu_bvh" / "131_01.bvh").body()
    clips = body_clips.BodyClips("train", 8, SIZE, motions=[motion], num_frames=3)
    on_body = []
    for index in range(8):
        images = with_depth(clips, index)
        columns, rows = at_joints(images)
        on_body.append(images.depth[np.arange(3)[:, None], rows, columns] < images.depth.max())
    assert np.mean(on_body) > 0.97
