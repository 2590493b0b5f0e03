"""A clip is checked, sampled, cropped, resized and made a batch, as the authors' code does it."""

import json
import math
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from gatescope.loaders import ClipTensors
from gatescope.loaders.clip import (
    Clip,
    crop_and_resize,
    crop_corner,
    depth_to_grey,
    flow_to_picture,
    sample_frames,
    to_batch,
)
from gatescope.models.conventions import MEANS

INPUT = {"num_frames": 8, "size": 16, "mean": MEANS["jester", "rgb"], "modality": "rgb"}


def some_frames(num_frames=10, height=20, width=30, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (num_frames, height, width, 3), dtype=np.uint8)


def make_clip(seed=0, **parts):
    return Clip(**{"frames": some_frames(seed=seed), "fps": 12.0, "source": "test", "label": seed, **parts})


def sampled_by_hand(num_frames, length, draws):
    """The indices, one after the other; `draws` is None at test time."""
    scale = math.floor(num_frames / length)
    indices = []
    for k in range(length):
        if scale == 0:
            indices.append(k if k < num_frames else num_frames - 1)
            continue
        place = num_frames / length * k
        if draws is not None and scale >= 2:
            place += scale / 2 * (draws[k] - 0.5)
        if k == 0 and place < 0:
            place = 0
        if k == length - 1 and place > num_frames - 1:
            place = num_frames - 1
        indices.append(math.floor(place))
    return indices


def test_sampling_gives_the_authors_frames_in_every_case(shared):
    cases = json.loads((shared / "reference" / "frame_sampling.json").read_text())["cases"]
    assert len(cases) == 352
    for case in cases:
        num_frames = case["frame_count"] - ("flow" in case["function"])
        rng = np.random.RandomState(case["seed"]) if case["train"] else None
        indices = sample_frames(num_frames, case["length"], train=case["train"], rng=rng)
        assert [index + 1 for index in indices] == case["file_numbers"], case


@pytest.mark.parametrize("train", [False, True])
def test_sampling_agrees_with_the_arithmetic_done_by_hand(train):
    for num_frames in range(1, 90):
        for length in (1, 7, 16, 32):
            draws = np.random.RandomState(num_frames).random_sample(length) if train else None
            rng = np.random.RandomState(num_frames) if train else None
            indices = sample_frames(num_frames, length, train=train, rng=rng)
            assert indices == sampled_by_hand(num_frames, length, draws)
            assert len(indices) == length and min(indices) >= 0 and max(indices) < num_frames


def test_sampling_a_forty_frame_clip_at_test_time():
    assert sample_frames(num_frames=40, length=16) == [
        0,
        2,
        5,
        7,
        10,
        12,
        15,
        17,
        20,
        22,
        25,
        27,
        30,
        32,
        35,
        37,
    ]


def test_sampling_refuses_what_has_no_answer():
    with pytest.raises(ValueError, match="at least 1; got 0"):
        sample_frames(0, 16)
    with pytest.raises(ValueError, match="RandomState"):
        sample_frames(40, 16, train=True)


def test_crops_stand_where_the_authors_put_them(shared):
    crops = json.loads((shared / "reference" / "frame_sampling.json").read_text())["crops"]
    for case in crops:
        u = random.Random(case["seed"]).random() if case["train"] else None
        assert crop_corner(*case["image_hw"], u) == (case["top"], case["left"]), case


def test_crop_corner_by_hand():
    for height, width in [(240, 320), (320, 240), (101, 176), (5, 5)]:
        side = min(height, width)
        assert crop_corner(height, width) == ((height - side) // 2, (width - side) // 2)
        assert crop_corner(height, width, 0.0) == (0, 0)
        assert crop_corner(height, width, 0.75) == (int((height - side) * 0.75), int((width - side) * 0.75))


@pytest.mark.parametrize("size", ["240x320", "100x176"])
def test_preprocessing_reproduces_the_reference_exactly(shared, size):
    arrays = np.load(shared / "reference" / "preprocess.npz")
    frames = arrays[f"image_{size}"][None]
    assert crop_corner(*frames.shape[1:3]) == tuple(arrays[f"top_left_{size}"])
    assert np.array_equal(crop_and_resize(frames, 112)[0], arrays[f"resized_uint8_{size}"])
    clip = Clip(frames=frames, fps=12.0, source="reference")
    batch = to_batch(clip, num_frames=1, size=112, mean=MEANS["isogd", "rgb"])
    assert np.array_equal(batch[0, :, 0].permute(1, 2, 0).numpy(), arrays[f"iso_rgb_{size}"])


def test_frames_of_the_right_size_stay_as_pillow_would_leave_them():
    frames = some_frames(2)[:, :16, :16]
    expected = [Image.fromarray(frame).resize((16, 16), Image.Resampling.BILINEAR) for frame in frames]
    assert np.array_equal(crop_and_resize(frames, 16, u=0.7), np.stack(expected))


def test_means_are_those_of_the_reference(shared):
    means = json.loads((shared / "reference" / "frame_sampling.json").read_text())["preprocess"]["mean"]
    assert {f"{data.replace('gd', '')}_{kind}": list(mean) for (data, kind), mean in MEANS.items()} == means


def test_batch_equals_the_steps_done_one_frame_at_a_time():
    clip = make_clip()
    batch = to_batch(clip, **INPUT)
    assert batch.shape == (1, 3, 8, 16, 16) and batch.dtype == torch.float32 and batch.is_contiguous()
    for step, index in enumerate(sample_frames(10, 8)):
        picture = Image.fromarray(clip.frames[index, :, 5:25]).resize((16, 16), Image.Resampling.BILINEAR)
        for channel, mean in enumerate(INPUT["mean"]):
            expected = np.asarray(picture)[..., channel].astype(np.float32) - np.float32(mean)
            assert np.array_equal(batch[0, channel, step].numpy(), expected)


def test_clip_mean_takes_its_part_of_what_stands_still_away():
    """Twin in plain loops; a clip that stands still keeps the rest of itself, one that moves all its motion."""
    clip = make_clip()
    plain, less = to_batch(clip, **INPUT)[0].double(), to_batch(clip, **INPUT, clip_mean=0.75)[0]
    for channel in range(3):
        for row in range(16):
            for column in range(16):
                values = plain[channel, :, row, column].tolist()
                expected = [value - 0.75 * sum(values) / len(values) for value in values]
                np.testing.assert_allclose(less[channel, :, row, column], expected, atol=1e-3)
    still = make_clip(frames=some_frames(1))
    torch.testing.assert_close(to_batch(still, **INPUT, clip_mean=0.75), 0.25 * to_batch(still, **INPUT))
    torch.testing.assert_close(less.diff(dim=1).double(), plain.diff(dim=1), atol=1e-3, rtol=0)
    assert torch.equal(to_batch(clip, **INPUT, clip_mean=0.0), to_batch(clip, **INPUT))
    for part in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="clip_mean must be a fraction, 0 to 1"):
            to_batch(clip, **INPUT, clip_mean=part)


def test_one_frame_clip_keeps_its_time_axis():
    batch = to_batch(make_clip(frames=some_frames(1)), **INPUT)
    assert batch.shape == (1, 3, 8, 16, 16)
    assert torch.equal(batch[:, :, 0], batch[:, :, 7])


def test_depth_is_bright_when_near_and_black_when_unknown():
    depth = np.linspace(500, 1500, 400, dtype=np.float32).reshape(1, 20, 20)
    depth[0, 0, 0] = 0
    grey = depth_to_grey(depth)
    assert grey[0, 0, 0] == 0 and grey[0, 0, 5] > 250 and grey[0, -1, -1] == 1
    assert np.all(np.diff(grey.ravel()[1:].astype(int)) <= 0)
    assert not depth_to_grey(np.zeros((2, 4, 4), np.float32)).any()
    assert np.all(depth_to_grey(np.full((1, 4, 4), 700, np.float32)) > 0)


def test_a_hundredth_of_the_readings_at_either_end_of_a_clip_has_no_grey_of_its_own():
    """Readings of 1 to 1001 mm over two frames, and pixels without one: the percentiles are 11 and 991 mm."""
    readings = np.arange(1, 1002)
    depth = np.zeros((2, 24, 24), np.float32)
    depth.reshape(-1)[:1001] = np.random.default_rng(0).permutation(readings)
    grey = depth_to_grey(depth)
    wanted = np.round(1 + 254 * (991 - np.clip(readings, 11, 991)) / 980)
    shown = dict(zip(depth[depth > 0].tolist(), grey[depth > 0].tolist(), strict=True))
    assert shown == dict(zip(readings.tolist(), wanted.tolist(), strict=True))
    assert (shown[11], shown[13], shown[990], shown[991]) == (255, 254, 1, 1) and not grey[depth == 0].any()


def test_flow_picture_is_128_at_rest_and_full_at_an_eighth_of_the_short_side():
    flow = np.zeros((1, 16, 32, 2), np.float32)
    flow[0, 0, 0], flow[0, 0, 1], flow[0, 0, 2] = (2, 0), (0, -2), (50, -50)
    picture = flow_to_picture(flow)
    assert picture[0, 5, 5].tolist() == [128, 128, 128]
    assert picture[0, 0, 0].tolist() == [255, 128, 255]
    assert picture[0, 0, 1].tolist() == [128, 1, 255]
    assert picture[0, 0, 2].tolist() == [255, 1, 255]


def test_every_modality_makes_three_channels():
    depth = np.random.default_rng(0).uniform(400, 900, (10, 20, 30)).astype(np.float32)
    flow = np.zeros((9, 20, 30, 2), np.float32)
    clip = make_clip(depth=depth, flow=flow)
    for modality in ("rgb", "depth", "flow"):
        batch = to_batch(clip, **{**INPUT, "modality": modality, "mean": MEANS["isogd", modality]})
        assert batch.shape == (1, 3, 8, 16, 16)
    assert torch.all(batch == 0)  # no motion is the mean


def test_missing_modality_is_refused():
    with pytest.raises(ValueError, match="no depth and its frames are in colour"):
        to_batch(make_clip(), **{**INPUT, "modality": "depth"})
    with pytest.raises(ValueError, match="with_flow"):
        to_batch(make_clip(), **{**INPUT, "modality": "flow"})
    with pytest.raises(ValueError, match="one of rgb, depth, flow; got 'RGB'"):
        to_batch(make_clip(), **{**INPUT, "modality": "RGB"})


def test_grey_pictures_of_depth_are_taken_as_they_are():
    grey = np.repeat(some_frames()[..., :1], 3, axis=-1)
    batch = to_batch(make_clip(frames=grey), **{**INPUT, "modality": "depth"})
    assert torch.equal(batch, to_batch(make_clip(frames=grey), **INPUT))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"frames": some_frames(0)}, "at least one frame"),
        ({"frames": some_frames().astype(np.float32)}, "uint8"),
        ({"frames": some_frames()[..., :2]}, r"\(10, 20, 30, 2\)"),
        ({"fps": 0.0}, "fps"),
        ({"fps": math.nan}, "fps"),
        ({"label": -1}, "label"),
        ({"depth": np.zeros((9, 20, 30), np.float32)}, r"depth must be .*\(10, 20, 30\) float32"),
        ({"depth": np.zeros((10, 20, 30))}, "float64"),
        ({"hand_mask": np.zeros((10, 20, 30), np.uint8)}, "hand_mask"),
        ({"flow": np.zeros((10, 20, 30, 2), np.float32)}, r"flow must be .*\(9, 20, 30, 2\)"),
        ({"joints_2d": np.zeros((10, 21, 3), np.float32)}, "joints_2d"),
        (
            {"joints_2d": np.zeros((10, 21, 2), np.float32), "joints_3d": np.zeros((10, 20, 3), np.float32)},
            "joints_3d",
        ),
    ],
)
def test_clip_whose_parts_do_not_fit_is_refused(parts, message):
    # The check alone: the shape checker, which only tests install, would speak before it.
    fields = {**vars(make_clip()), **parts}
    with pytest.raises(ValueError, match=message):
        Clip.__post_init__(SimpleNamespace(**fields))


def test_clip_with_all_parts_is_accepted():
    make_clip(
        depth=np.zeros((10, 20, 30), np.float32),
        hand_mask=np.zeros((10, 20, 30), bool),
        flow=np.zeros((9, 20, 30, 2), np.float32),
        joints_2d=np.zeros((10, 21, 2), np.float32),
        joints_3d=np.zeros((10, 21, 3), np.float32),
    )


def training_set(num_clips=6):
    clips = [make_clip(seed=seed, frames=some_frames(40, seed=seed)) for seed in range(num_clips)]
    return ClipTensors(clips, **INPUT, train=True, seed=3)


def test_training_examples_depend_on_seed_epoch_and_index_alone():
    first, second = training_set(), training_set()
    assert torch.equal(first[4][0], second[4][0]) and torch.equal(first[-2][0], first[4][0])
    alone = ClipTensors([first.clips[0]] * 5, **INPUT, train=True, seed=3)
    assert not torch.equal(alone[0][0], alone[4][0])
    first.set_epoch(1)
    assert not torch.equal(first[4][0], second[4][0])
    first.set_epoch(0)
    assert torch.equal(first[4][0], second[4][0])
    assert first[4][1] == 4


def test_training_example_is_the_jittered_sample_and_one_crop_for_all_frames():
    dataset = training_set(1)
    rng = np.random.RandomState(np.random.SeedSequence([3, 0, 0]).generate_state(4))
    indices = sample_frames(40, 8, train=True, rng=rng)
    left = int((30 - 20) * rng.random_sample())
    frames = dataset.clips[0].frames[indices][:, :, left : left + 20]
    expected = to_batch(make_clip(frames=frames), **INPUT)
    assert torch.equal(dataset[0][0], expected[0])
    # The mean picture is that of the frames taken, after the crop.
    less = ClipTensors(dataset.clips, **INPUT, clip_mean=0.5, train=True, seed=3)
    assert torch.equal(less[0][0], to_batch(make_clip(frames=frames), **INPUT, clip_mean=0.5)[0])


@pytest.mark.parametrize("num_workers", [1, 2])
def test_workers_give_what_no_worker_gives_epoch_after_epoch(num_workers):
    dataset = training_set()
    with_workers = DataLoader(dataset, batch_size=2, num_workers=num_workers, persistent_workers=True)
    without = DataLoader(training_set(), batch_size=2)
    for epoch in range(3):
        dataset.set_epoch(epoch)
        without.dataset.set_epoch(epoch)
        for (x, labels), (expected, expected_labels) in zip(with_workers, without, strict=True):
            assert torch.equal(x, expected) and torch.equal(labels, expected_labels)


def test_clip_without_label_is_no_training_example():
    with pytest.raises(ValueError, match="no label"):
        ClipTensors([make_clip(label=None)], **INPUT)[0]
    with pytest.raises(IndexError, match="outside the 1 clips"):
        ClipTensors([make_clip()], **INPUT)[1]


def test_a_truth_value_is_no_number(tmp_path):
    from gatescope.loaders import VideoClips, read_bvh, read_clip

    frames = np.zeros((2, 8, 8, 3), np.uint8)
    for wrong in ({"fps": True}, {"fps": 10**400}, {"fps": 12.0, "label": True}):
        with pytest.raises(ValueError, match=f"{list(wrong)[-1]} must be"):
            Clip(frames=frames, source="made", **wrong)
    with pytest.raises(ValueError, match="give depth_unit_mm"):
        read_clip(np.zeros((2, 8, 8), np.uint16), True)
    with pytest.raises(ValueError, match="labels must be"):
        VideoClips(["a.mkv", "b.mkv"], [True, False])
    with pytest.raises(ValueError, match="unit_mm must be"):
        read_bvh(tmp_path / "walk.bvh", unit_mm=True)


def test_times_that_do_not_ascend_and_masks_are_refused():
    for times in ([3.0, 2, 1, 0], [0, 1, 2, math.nan]):
        with pytest.raises(ValueError, match="times_s must ascend"):
            sample_frames(4, 2, times_s=np.array(times))
    frames = np.ma.array(np.zeros((2, 8, 8, 3), np.uint8), mask=True)
    with pytest.raises(TypeError, match="frames is masked"):
        Clip(frames=frames, fps=12.0, source="made")
