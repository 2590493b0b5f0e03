"""Pictures and arrays as people have them: their names give the one order there is, their content the rest."""

import numpy as np
import pytest
import torch
from PIL import Image

from clip_files import some_frames, write_jpegs
from gatescope.loaders import VideoClips, read_clip
from gatescope.loaders.datasets import recorded
from gatescope.loaders.errors import ClipError, DamagedClipError
from gatescope.loaders.frame_order import numbered, order_note

UUID = "3f2504e0-4f89-11d3-9a0c-0305e82c330{:x}"
NAMES = {
    "the number first": ["00002_cam1", "00010_cam1", "00011_cam1"],
    "the number between": ["img_0002_160x120", "img_0010_160x120", "img_0100_160x120"],
    "of how many": ["frame_004_of_014", "frame_005_of_014", "frame_013_of_014"],
    "copied": ["003 (1)", "004 (1)", "010 (1)"],
    "downloaded": ["clip (1)", "clip (2)", "clip (10)"],
    "seconds": ["3.25", "3.50", "4.00", "10.25"],
    "a day's time": ["2021-06-05 12-59-58", "2021-06-05 12-59-59", "2021-06-05 13-00-00"],
    "a time with thousandths": ["20210605_125959_980", "20210605_130000_020", "20210605_130000_060"],
    "ISO 8601": ["2021-06-05T12h59m59", "2021-06-05T13h00m00", "2021-06-06T00h00m01"],
    "since 1970": ["1622890000.900000", "1622890001.000000", "1622890001.100000"],
    "an identifier for all": [f"{UUID.format(1)}_{number}" for number in (1, 2, 10)],
    "an identifier for each": [f"{number}_{UUID.format(15 - number)}" for number in (1, 2, 10)],
    "a short identifier for each": ["1_xk3q", "2_9ab7c", "10_0d"],
    "another word for each": ["open 1", "close 2", "wave 10"],
    "one camera after the other": ["cam1_0001", "cam1_0002", "cam2_0003", "cam2_0004"],
    "numbers alone": ["2", "010", "11"],
}
TWO_ORDERS = {
    "two cameras": ["cam1_0001", "cam1_0002", "cam2_0001", "cam2_0002"],
    "two numbers that go apart": ["frame1_score9", "frame2_score7", "frame3_score8"],
    "counts or fractions": ["3.5", "3.25", "3.75"],
    "counts or fractions beyond the point": ["3.5", "3.25", "4.0"],
    "numbers at both ends": ["1 red 3", "2 blue 2", "3 green 1"],
    "the same number": ["3", "003", "4"],
    "a copy beside": ["003", "003 (1)", "004"],
    "no number": ["first", "second", "third"],
    "identifiers alone": [UUID.format(number) for number in (1, 2, 3)],
}


@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
def test_frames_stand_in_the_one_order_that_their_names_give(tmp_path, names):
    frames = some_frames(len(names))
    for name, frame in sorted(zip(names, frames, strict=True), key=lambda pair: hash(pair[0])):
        Image.fromarray(frame).save(tmp_path / f"{name}.png")
    clip = read_clip(tmp_path)
    assert np.array_equal(clip.frames, frames)
    part = read_clip(tmp_path, num_frames=2)
    assert np.array_equal(part.frames, frames[[0, len(names) // 2]]) and part.fps == pytest.approx(24 / len(names))


@pytest.mark.parametrize("names", TWO_ORDERS.values(), ids=TWO_ORDERS)
def test_names_that_give_two_orders_or_none_are_refused(tmp_path, names):
    for name in names:
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
    with pytest.raises(DamagedClipError, match="more than one order|same number|no number"):
        read_clip(tmp_path)


def test_the_order_is_said_where_the_last_number_does_not_give_it(tmp_path):
    paths = [tmp_path / f"{number:05d}_cam1.png" for number in (3, 1, 2)]
    frames = numbered(paths)
    assert list(frames) == [1, 2, 3] and "00001_cam1.png ... 00003_cam1.png" in order_note(frames)
    assert order_note(numbered([tmp_path / f"cam1_{number}.png" for number in (3, 1, 2)])) is None
    assert order_note(numbered([tmp_path / "4.png"])) is None
    times = [tmp_path / f"12_30_{second}.png" for second in (58, 59)] + [tmp_path / "12_31_00.png"]
    assert list(numbered(times)) == [1, 2, 3] and order_note(numbered(times))
    for path in paths:
        Image.new("RGB", (8, 8)).save(path)
    assert read_clip(tmp_path).notes == (order_note(frames),)


@pytest.mark.parametrize("suffix", ["bmp", "webp", "tif", "tiff", "png", "jpg", "jpeg", "PNG"])
def test_frames_of_every_format_are_read_whatever_they_are_called(tmp_path, suffix):
    frames = some_frames(3)
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(tmp_path / f"{number}.{suffix}")
    assert np.abs(read_clip(tmp_path).frames.astype(int) - frames).mean() < 6
    for file in list(tmp_path.iterdir()):
        file.rename(file.with_suffix(".png"))
    assert np.abs(read_clip(tmp_path).frames.astype(int) - frames).mean() < 6


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "1", "PA", "YCbCr"])
def test_pictures_of_every_kind_become_colour(tmp_path, mode):
    suffix = "jpg" if mode in ("CMYK", "YCbCr") else "tif" if mode == "PA" else "png"
    picture = Image.fromarray(some_frames(1)[0])
    picture = (picture.convert("LA") if mode == "PA" else picture).convert(mode)
    picture.save(tmp_path / f"1.{suffix}")
    assert read_clip(tmp_path).frames.shape == (1, 48, 64, 3)


def test_depth_in_tiff_is_read_and_floats_are_refused(tmp_path):
    depth = np.arange(2 * 12 * 16, dtype=np.uint16).reshape(2, 12, 16) * 100
    for number, frame in enumerate(depth):
        Image.fromarray(frame).save(tmp_path / f"{number}.tif")
    assert np.array_equal(read_clip(tmp_path, depth_unit_mm=0.5).depth, depth * np.float32(0.5))
    with pytest.raises(ClipError, match="leave size out"):
        read_clip(tmp_path, depth_unit_mm=0.5, size=8)
    Image.fromarray(depth[0].astype(np.float32)).save(tmp_path / "0.tif")
    with pytest.raises(DamagedClipError, match="holds floats"):
        read_clip(tmp_path, depth_unit_mm=0.5)
    Image.fromarray(depth[0].astype(np.int32) - 1).save(tmp_path / "0.tif")
    with pytest.raises(DamagedClipError, match="0 to 65535; got -1"):
        read_clip(tmp_path, depth_unit_mm=0.5)


# How a viewer turns what is stored, by the EXIF specification.
TURNS = {
    1: lambda frames: frames,
    2: lambda frames: frames[:, :, ::-1],
    3: lambda frames: frames[:, ::-1, ::-1],
    4: lambda frames: frames[:, ::-1],
    5: lambda frames: frames.swapaxes(1, 2),
    6: lambda frames: frames.swapaxes(1, 2)[:, :, ::-1],
    7: lambda frames: frames.swapaxes(1, 2)[:, ::-1, ::-1],
    8: lambda frames: frames.swapaxes(1, 2)[:, ::-1],
}


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", TURNS)
def test_photos_are_turned_and_mirrored_as_they_say(tmp_path, orientation, suffix):
    frames, exif = some_frames(2, 96, 128), Image.Exif()
    exif[0x0112] = orientation
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(tmp_path / f"{number}.{suffix}", exif=exif)
    clip, expected = read_clip(tmp_path), TURNS[orientation](frames)
    assert clip.frames.shape == expected.shape and np.abs(clip.frames.astype(int) - expected).mean() < 6
    small = read_clip(tmp_path, size=24)
    assert small.source_size == expected.shape[1:3] and clip.source_size is None
    assert np.abs(small.frames.astype(int) - expected[:, 1::4, 1::4]).mean() < 8


def test_a_phones_photos_stand_upright(shared):
    folder = shared / "cases" / "exif_orientation_6"
    clip = read_clip(folder)
    stored = np.stack([np.asarray(Image.open(file)) for file in sorted(folder.iterdir())])
    assert np.array_equal(clip.frames, TURNS[6](stored))


def test_pictures_too_large_together_are_scaled_to_fit(tmp_path, monkeypatch):
    folder = write_jpegs(tmp_path / "frames", some_frames(4, 288, 384))
    whole = read_clip(folder).frames
    monkeypatch.setattr("gatescope.loaders.limits.FITTED_BYTES", 4 * 144 * 192 * 3)
    clip = read_clip(folder)
    assert clip.frames.shape == (4, 144, 192, 3) and clip.source_size == (288, 384)
    assert np.abs(clip.frames - whole.reshape(4, 144, 2, 192, 2, 3).mean((2, 4))).mean() < 3
    assert np.array_equal(read_clip(folder, num_frames=1).frames, whole[:1])


def test_what_decodes_of_a_folder_is_read_if_asked_to_and_reported(tmp_path):
    frames = some_frames(6)
    folder = write_jpegs(tmp_path / "frames", frames)
    whole = read_clip(folder).frames
    (folder / "00001.jpg").write_bytes(b"no picture")
    with pytest.raises(DamagedClipError, match=r"00001\.jpg: the picture does not decode"):
        read_clip(folder)
    clip = read_clip(folder, strict=False)
    assert np.array_equal(clip.frames, whole[1:]) and "1 of 6 frames" in clip.notes[0] and "00001.jpg" in clip.notes[0]
    for file in folder.iterdir():
        file.write_bytes(b"no picture")
    with pytest.raises(DamagedClipError, match="none of 6"):
        read_clip(folder, strict=False)


FRAMES = some_frames(5)
IN_MEMORY = {
    "an array": FRAMES,
    "with alpha": np.concatenate([FRAMES, np.zeros_like(FRAMES[..., :1])], axis=-1),
    "channels first": np.moveaxis(FRAMES, 3, 1),
    "a tensor": torch.from_numpy(FRAMES),
    "a tensor, channels first": torch.from_numpy(FRAMES).permute(0, 3, 1, 2),
    "a list of arrays": list(FRAMES),
    "a tuple of tensors": tuple(torch.from_numpy(FRAMES)),
    "a list of pictures": [Image.fromarray(frame) for frame in FRAMES],
    "a list, channels first": list(np.moveaxis(FRAMES, 3, 1)),
}


@pytest.mark.parametrize("frames", IN_MEMORY.values(), ids=IN_MEMORY)
def test_frames_in_memory_and_in_npy_files_are_clips(tmp_path, frames):
    assert np.array_equal(read_clip(frames).frames, FRAMES)
    np.save(tmp_path / "clip.npy", np.stack([np.asarray(frame) for frame in frames]))
    clip = read_clip((tmp_path / "clip.npy").rename(tmp_path / "clip.mp4"))
    assert np.array_equal(clip.frames, FRAMES) and clip.source == str(tmp_path / "clip.mp4")


@pytest.mark.parametrize("frames", [FRAMES[..., 0], FRAMES[..., :1], FRAMES[:, None, :, :, 0]])
def test_grey_frames_in_memory_become_three_channels(frames):
    assert np.array_equal(read_clip(frames).frames, np.repeat(FRAMES[..., :1], 3, axis=-1))


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (FRAMES / 255, "uint8; got .* float64: convert values of 0 to 1 by"),
        (torch.zeros(4, 3, 8, 8, dtype=torch.bfloat16), "uint8; got .* float32"),
        (FRAMES.astype(np.int64), r"uint16 \(T, H, W\) for depth; got .* int64"),
        (np.zeros((4, 8, 8, 2), np.uint8), r"give uint8 .*; got \(4, 8, 8, 2\)"),
        (np.zeros(4, np.uint8), r"got \(4,\)"),
        ([], "got none"),
        (["a.jpg", "b.jpg"], "VideoClips takes paths"),
        ([FRAMES[0], FRAMES[0, :8]], "one shape and type"),
        ("https://example.org/clip.mp4", "curl --location --output clip.mp4 'https://example.org/clip.mp4'"),
        ("rtsp://camera/stream", "is an address, no path"),
        (np.ma.masked_array(FRAMES, FRAMES > 9), r"frames are masked.*\.filled\(0\)"),
        ([np.ma.masked_array(frame, frame > 9) for frame in FRAMES], "frames are masked"),
        (np.array(None), "got .* object"),
        (np.uint8(1), r"got \(\) uint8"),
        ([[[1, 2], [3]]], "one is none"),
        ([None], "got .* object"),
        (torch.zeros(4, 8, 8, 3, dtype=torch.uint8, device="meta"), "must be a plain one"),
        (torch.zeros(4, 8, 8, 3, dtype=torch.complex64).conj(), "must be a plain one"),
        (torch.zeros(4, 8, 8, 3, dtype=torch.bool), "got .* bool"),
        *(
            (each, f"or a list of pictures; got {type(each).__name__}")
            for each in (
                5,
                None,
                1.5,
                b"clip.mkv",
                bytearray(4),
                memoryview(b"a"),
                {1},
                {"a": 1},
                iter(FRAMES),
                object(),
                int,
            )
        ),
    ],
)
@pytest.mark.usefixtures("shapes_unchecked")
def test_what_is_no_clip_is_refused_in_one_sentence(frames, message):
    with pytest.raises(ValueError, match=message):
        read_clip(frames)


@pytest.mark.usefixtures("shapes_unchecked")
@pytest.mark.parametrize("value", ["8", 2.5, float("nan"), 0, -3, b"8"])
def test_what_is_no_number_of_frames_or_pixels_or_millimetres_is_refused_in_one_sentence(tmp_path, value):
    folder = write_jpegs(tmp_path / "frames", FRAMES)
    for asked in ({"num_frames": value}, {"size": value}):
        with pytest.raises(ValueError, match="must be whole numbers, 1 or more; got"):
            read_clip(folder, **asked)
    if value != 2.5:
        with pytest.raises(ClipError, match="the millimetres per unit .* got"):
            read_clip(np.ones((2, 8, 8), np.uint16), value)


@pytest.mark.usefixtures("shapes_unchecked")
@pytest.mark.parametrize("paths", [5, None, b"clip.mkv", [5], [None], [b"clip.mkv"], iter(["clip.mkv"])])
def test_what_is_no_path_is_no_video_in_one_sentence(paths):
    with pytest.raises(ValueError, match="takes a path, or a list of paths; got"):
        VideoClips(paths)


@pytest.mark.parametrize("opened", [read_clip, VideoClips, recorded])
def test_an_empty_path_is_not_the_working_folder(opened):
    with pytest.raises(ValueError, match="the path is empty; name"):
        opened("")


def test_an_array_with_a_mask_that_hides_nothing_is_a_clip():
    assert np.array_equal(read_clip(np.ma.masked_array(FRAMES, FRAMES < 0)).frames, FRAMES)


def test_an_npy_file_is_no_way_in(tmp_path):
    path = tmp_path / "clip.npy"
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DamagedClipError, match="no array that can be read"):
        read_clip(path)
    np.save(path, FRAMES)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"(5, 48, 64, 3)", b"(5000000, 6,3)"))
    with pytest.raises(DamagedClipError, match="no array that can be read"):
        read_clip(path)
    for length in (7, 40, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(DamagedClipError):
            read_clip(path)
    path.write_bytes(content)
    with pytest.raises(ValueError, match="as_seen"):
        read_clip(path, num_frames=2)


def test_the_home_folder_has_its_short_name(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write_jpegs(tmp_path / "frames", FRAMES)
    assert read_clip("~/frames").frames.shape == FRAMES.shape


@pytest.mark.parametrize("tags", [b"", b"\xff\xff" + 3000 * b"\x00\x01\x03\x00\x01\x00\x00\x00\x01\x00\x00\x00"])
def test_a_picture_whose_tags_cannot_be_read_is_shown_as_it_is(tmp_path, tags):
    exif = b"Exif\0\0II*\0\x08\0\0\0" + tags
    for number, frame in enumerate(some_frames(2)):
        Image.fromarray(frame).save(tmp_path / f"{number}.jpg", exif=exif)
    assert read_clip(tmp_path).frames.shape == some_frames(2).shape
