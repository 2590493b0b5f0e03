"""Videos as they come: what a player shows is what is read, and no more than is asked for is kept."""

import io
import os
import subprocess
import sys
from ast import literal_eval
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from clip_files import some_frames, write_video
from gatescope.loaders import Clip, as_seen, read_clip, sample_frames, to_batch
from gatescope.loaders.errors import DamagedClipError, OversizedClipError
from gatescope.loaders.video import read_video_frames

# Suffix, codec, container, and the pixel format where it is not yuv420p.
CONTAINERS = [
    ("m4v", "mpeg4", "mp4", None),
    ("3gp", "libx264", "3gp", None),
    ("wmv", "wmv2", "asf", None),
    ("flv", "flv", "flv", None),
    ("ts", "libx264", "mpegts", None),
    ("mpg", "mpeg2video", "mpeg", None),
    ("ogv", "libvpx", "ogg", None),
    ("apng", "apng", "apng", "rgb24"),
    ("mov", "mjpeg", "mov", "yuvj420p"),
    ("mxf", "mpeg2video", "mxf", None),
    ("mkv", "libx265", "matroska", None),
    ("h264", "libx264", "h264", None),
    ("webp", "libwebp_anim", "webp", None),
]
# The top left quarter is red, the top right green, the bottom blue.
CORNERS = {"red": (220, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 220)}


def write(path, frames, codec="libx264", container=None, pix_fmt=None, times=None, options=None, rate=25):
    """A video; `times` are the frames' presentation times in thousandths."""
    with av.open(str(path), "w", format=container, options=options or {}) as file:
        stream = file.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], pix_fmt or "yuv420p"
        if times is not None:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for number, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.pts = number if times is None else times[number]
            file.mux(stream.encode(picture))
        file.mux(stream.encode())
    return path


def error_of(clip, frames):
    assert clip.frames.shape == frames.shape
    return np.abs(clip.frames.astype(int) - frames).mean()


@pytest.mark.parametrize(("suffix", "codec", "container", "pix_fmt"), CONTAINERS)
def test_the_content_decides_the_container_not_the_name(tmp_path, suffix, codec, container, pix_fmt):
    frames = some_frames(12)
    path = write(tmp_path / f"clip.{suffix}", frames, codec, container, pix_fmt)
    clip = read_clip(path)
    assert error_of(clip, frames) < 6 and clip.fps == pytest.approx(25) and clip.times_s is None
    for wrong in ("clip.mp4", "clip.gif", "clip"):
        other = path.rename(tmp_path / wrong)
        assert np.array_equal(read_clip(other).frames, clip.frames)
        path = other


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXTINF:1,\nclip.mp4\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile clip.mp4\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5000 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period/></MPD>',
        '<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"/>',
    ],
)
def test_what_leads_to_other_files_is_no_video(tmp_path, text):
    write(tmp_path / "clip.mp4", some_frames(3))
    for suffix in ("mp4", "m3u8", "txt"):
        (tmp_path / f"list.{suffix}").write_text(text)
        with pytest.raises(DamagedClipError, match="does not decode"):
            read_clip(tmp_path / f"list.{suffix}")


def test_a_picture_is_no_clip(tmp_path):
    for suffix in ("jpg", "png", "webp", "bmp", "tif"):
        Image.fromarray(some_frames(1)[0]).save(tmp_path / f"one.{suffix}")
        with pytest.raises(DamagedClipError, match="folder"):
            read_clip(tmp_path / f"one.{suffix}")


@pytest.mark.parametrize(
    ("name", "num_frames", "fps"),
    [
        ("trimmed_with_edit_list.mp4", 38, 30),
        ("xvid_b_frames.avi", 107, 30),
        ("variable_rate_mpeg4.avi", 63, 62 / 3.6),
        ("variable_rate.mp4", 63, 18),
        ("written_to_a_pipe.webm", 109, 30),
        ("recorded_in_a_browser.webm", 109, 30),
        ("animated.webp", 36, 10),
    ],
)
def test_counts_and_durations_that_disagree_are_no_damage(shared, name, num_frames, fps):
    clip = read_clip(shared / "cases" / name)
    assert len(clip.frames) == num_frames and clip.fps == pytest.approx(fps) and clip.notes == ()


def test_a_stream_that_begins_inside_a_group_of_pictures_is_read_from_its_first_key_frame_on(tmp_path):
    """As a player does; the frames before it lean on what was cut away."""
    frames = some_frames(30)
    for codec, suffix in (("libx264", "mkv"), ("libx265", "mkv"), ("mpeg4", "avi")):
        whole, cut = tmp_path / f"whole.{suffix}", tmp_path / f"cut.{suffix}"
        with av.open(str(whole), "w") as file:
            stream = file.add_stream(codec, rate=25, options={"x265-params": "log-level=none:keyint=10", "g": "10"})
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for frame in frames:
                file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            file.mux(stream.encode())
        with av.open(str(whole)) as source, av.open(str(cut), "w") as file:
            stream = file.add_stream_from_template(source.streams.video[0])
            for number, packet in enumerate(source.demux(video=0)):
                if number >= 4 and packet.dts is not None:
                    packet.stream = stream
                    file.mux(packet)
        clip = read_clip(cut)
        assert np.array_equal(clip.frames, read_clip(whole).frames[-len(clip.frames) :]), codec
        assert len(clip.frames) == 20, codec


def test_a_transport_stream_cut_out_of_a_longer_one_is_read(tmp_path):
    frames = some_frames(60, 96, 128)
    path = tmp_path / "clip.ts"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25, options={"g": "10", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for frame in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(stream.encode())
    whole, content = read_clip(path).frames, path.read_bytes()
    path.write_bytes(content[len(content) // 3 // 188 * 188 :])
    clip = read_clip(path)
    assert 20 < len(clip.frames) < 60 and np.array_equal(clip.frames, whole[-len(clip.frames) :])


def test_a_live_stream_cut_inside_a_block_is_damaged_and_read_if_asked_to(tmp_path):
    """As a browser's recorder writes: a segment and clusters without a length."""
    path, frames = tmp_path / "live.webm", some_frames(40)
    stream = io.BytesIO()
    stream.seekable = lambda: False
    with av.open(stream, "w", format="webm", options={"live": "1", "cluster_time_limit": "400"}) as file:
        out = file.add_stream("libvpx", rate=25)
        out.width, out.height, out.pix_fmt = 64, 48, "yuv420p"
        for frame in frames:
            file.mux(out.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(out.encode())
    path.write_bytes(stream.getvalue())
    whole = read_clip(path)
    assert len(whole.frames) == 40 and whole.notes == ()
    path.write_bytes(stream.getvalue()[: len(stream.getvalue()) * 6 // 10])
    with pytest.raises(DamagedClipError, match="cut off: it promises"):
        read_clip(path)
    part = read_clip(path, strict=False)
    assert 10 < len(part.frames) < 40 and np.array_equal(part.frames, whole.frames[: len(part.frames)])
    assert part.notes[0].startswith("damaged") and "cut off" in part.notes[0]


@pytest.mark.parametrize("suffix", ["flv", "wmv", "ogv", "apng", "webp"])
def test_missing_bytes_are_noticed_in_every_container_that_states_its_blocks(tmp_path, suffix):
    form = next(form for form in CONTAINERS if form[0] == suffix)
    path = write(tmp_path / f"clip.{suffix}", some_frames(12), *form[1:])
    whole, content = read_clip(path).frames, path.read_bytes()
    for part in (0.35, 0.7, 0.85):
        path.write_bytes(content[: int(part * len(content))])
        with pytest.raises(DamagedClipError):
            read_clip(path)
    assert len(whole) == 12


def test_what_decodes_of_a_damaged_video_is_read_if_asked_to_and_reported(tmp_path):
    path = write(tmp_path / "clip.avi", some_frames(40), "mjpeg", pix_fmt="yuvj420p")
    whole, content = read_clip(path).frames, bytearray(path.read_bytes())
    start = len(content) // 2
    content[start : start + 600] = bytes(600)
    path.write_bytes(content)
    with pytest.raises(DamagedClipError):
        read_clip(path)
    clip = read_clip(path, strict=False)
    assert 30 < len(clip.frames) < 40 and np.array_equal(clip.frames[:10], whole[:10])
    assert "damaged" in clip.notes[0]
    path.write_bytes(b"no video at all, but some text that is long enough")
    with pytest.raises(DamagedClipError, match="does not decode"):
        read_clip(path, strict=False)


def gif_of(num_frames, end=b";", small=False):
    """A GIF whose later images, and the first if `small`, cover a part of the screen, as gifsicle writes them."""

    def block(left, width):
        return b"!\xf9\x04\x04\x0a\0\0\0," + b"".join(n.to_bytes(2, "little") for n in (left, 0, width, 8)) + b"\0"

    images = [Image.new("P", (4 if small or number else 8, 8), number % 4) for number in range(num_frames)]
    content = b"GIF89a" + b"\x08\0\x08\0\xf1\0\0" + bytes(range(12))
    for number, image in enumerate(images):
        buffer = io.BytesIO()
        image.save(buffer, "GIF")
        data = buffer.getvalue()
        start = data.index(b",\0\0\0\0") + 10
        content += block(number % 4 if image.width == 4 else 0, image.width) + data[start:-1]
    return content + end


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("end", [b";", b"", b"\0\0\0\0", b";behind"])
def test_gif_without_its_last_byte_or_with_a_small_first_image_is_whole(tmp_path, small, end):
    path = tmp_path / "clip.gif"
    path.write_bytes(gif_of(6, end, small))
    assert read_clip(path).frames.shape == (6, 8, 8, 3)
    path.write_bytes(gif_of(6, b"", small)[:-3])
    with pytest.raises(DamagedClipError, match="last block"):
        read_clip(path)


# By matrix: whether right goes right, down goes down, and whether the two change places.
MATRICES = {
    "as stored": (1, 0, 0, 1),
    "mirrored": (-1, 0, 0, 1),
    "upside down": (1, 0, 0, -1),
    "half a turn": (-1, 0, 0, -1),
    "quarter turn": (0, 1, -1, 0),
    "quarter turn back": (0, -1, 1, 0),
    "transposed": (0, 1, 1, 0),
    "transposed and turned": (0, -1, -1, 0),
}


def corners(num_frames=4):
    frames = np.empty((num_frames, 48, 64, 3), np.uint8)
    frames[:] = CORNERS["blue"]
    frames[:, :24, :32], frames[:, :24, 32:] = CORNERS["red"], CORNERS["green"]
    return frames


def with_matrix(path, matrix):
    """An MP4 whose track header says so; places are by ISO 14496-12, 8.3.2, numbers in 16.16 and 2.30."""
    content = bytearray(write(path, corners()).read_bytes())
    place, (a, b, c, d), one = content.index(b"tkhd") + 44, matrix, 1 << 16
    x, y = 64 * (a < 0) + 48 * (c < 0), 48 * (d < 0) + 64 * (b < 0)
    values = [a * one, b * one, 0, c * one, d * one, 0, x * one, y * one, 1 << 30]
    content[place : place + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in values)
    path.write_bytes(content)
    return path


def sent(frames, matrix):
    """Frames whose every pixel is put where the matrix sends it."""
    a, b, c, d = matrix
    rows, columns = np.mgrid[0 : frames.shape[1], 0 : frames.shape[2]]
    across, down = a * columns + c * rows, b * columns + d * rows
    across, down = across - across.min(), down - down.min()
    shown = np.empty((len(frames), down.max() + 1, across.max() + 1, 3), np.uint8)
    shown[:, down, across] = frames[:, rows, columns]
    return shown


@pytest.mark.parametrize("matrix", MATRICES.values(), ids=MATRICES)
def test_video_is_turned_and_mirrored_as_it_says(tmp_path, matrix):
    path = with_matrix(tmp_path / "clip.mp4", matrix)
    expected = sent(corners(), matrix)
    assert error_of(read_clip(path), expected) < 3
    assert np.abs(read_video_frames(path, [1, 2], 25).astype(int) - expected[:2]).mean() < 3
    small = read_clip(path, size=24)
    assert small.source_size == expected.shape[1:3] and small.frames.shape[1:3] == tuple(
        n // 2 for n in small.source_size
    )
    assert np.abs(small.frames.astype(int) - expected[:, ::2, ::2]).mean() < 6


def test_a_phones_mirrored_clip_is_shown_as_a_player_shows_it(shared):
    """Chromium shows it so: the recording beside it, mirrored, then turned by a quarter clockwise."""
    clip = read_clip(shared / "cases" / "mirrored_and_turned.mp4", num_frames=4)
    stored = read_clip(shared / "realdata" / "intel_asl" / "asl_gestures" / "book.mkv", num_frames=4).frames
    assert error_of(clip, np.rot90(stored[:, :, ::-1], 3, axes=(1, 2))) < 3


CLOCKS = {
    "a phone in the dark": [33 * k for k in range(20)] + [660 + 100 * k for k in range(20)],
    "a frame held for long": [40 * k for k in range(20)] + [2000 + 40 * k for k in range(20)],
    "jitter": [40 * k + 200 * (k // 7) for k in range(40)],
}


@pytest.mark.parametrize("container", ["mp4", "mkv", "webm"])
@pytest.mark.parametrize("clock", CLOCKS.values(), ids=CLOCKS)
def test_where_the_rate_varies_the_frame_on_the_screen_is_taken(tmp_path, clock, container):
    codec = "libvpx-vp9" if container == "webm" else "libx264"
    path = write(tmp_path / f"clip.{container}", some_frames(40), codec, times=clock)
    clip, times = read_clip(path), np.array(clock) / 1000
    np.testing.assert_allclose(clip.seconds, times, atol=0.0011)
    end = times[-1] * 40 / 39
    expected = [max(k for k in range(40) if times[k] <= end * step / 16 + 1e-6) for step in range(16)]
    seen = as_seen(clip, 16, 48)
    assert np.array_equal(seen.frames, as_seen(Clip(frames=clip.frames[expected], fps=1.0, source=""), 16, 48).frames)
    assert seen.times_s is None and seen.fps == pytest.approx(clip.fps * 16 / 40)
    part = read_clip(path, num_frames=16)
    assert np.array_equal(part.frames, clip.frames[expected]) and part.times_s is None
    settings = {"num_frames": 16, "size": 24, "mean": (0, 0, 0)}
    assert np.array_equal(to_batch(part, **settings), to_batch(clip, **settings))


@pytest.mark.parametrize(("container", "rate"), [("mp4", 24), ("mkv", 30), ("mkv", 120), ("flv", 60), ("gif", 30)])
def test_a_constant_rate_that_a_container_rounds_is_sampled_by_number(tmp_path, container, rate):
    codec = {"gif": "gif", "flv": "flv"}.get(container, "libx264")
    path = write_video(tmp_path / f"clip.{container}", some_frames(40), codec, fps=rate)
    clip = read_clip(path)
    assert clip.times_s is None and clip.fps == pytest.approx(rate, rel=0.03)
    np.testing.assert_allclose(clip.seconds, np.arange(40) / clip.fps)
    assert np.array_equal(read_clip(path, num_frames=16).frames, clip.frames[sample_frames(40, 16)])


def test_sampling_by_time_is_sampling_by_number_at_a_constant_rate():
    for num_frames in range(1, 60):
        for train in (False, True):
            rng = [np.random.RandomState(num_frames) if train else None for _ in range(2)]
            by_number = sample_frames(num_frames, 16, train=train, rng=rng[0])
            times = np.arange(num_frames) / 30
            assert sample_frames(num_frames, 16, train=train, rng=rng[1], times_s=times) == by_number
    with pytest.raises(ValueError, match="one time for each of 4 frames; got 3"):
        sample_frames(4, 2, times_s=np.zeros(3))


@pytest.mark.parametrize("times_s", [[0.0, 0.2, 0.1], [0.0, np.nan, 1.0]])
def test_times_that_do_not_fit_are_refused(times_s):
    with pytest.raises(ValueError, match="times_s"):
        Clip(frames=np.zeros((3, 4, 4, 3), np.uint8), fps=10.0, source="", times_s=np.array(times_s))


def test_only_what_is_asked_for_is_kept_at_the_size_that_is_asked_for(tmp_path):
    frames = some_frames(40, 96, 128)
    path = write(tmp_path / "clip.mp4", frames)
    clip = read_clip(path)
    assert clip.source_size is None and np.array_equal(read_clip(path, size=96).frames, clip.frames)
    assert np.array_equal(read_clip(path, size=500).frames, clip.frames)  # never enlarged
    small = read_clip(path, num_frames=8, size=24)
    assert small.frames.shape == (8, 24, 32, 3) and small.source_size == (96, 128)
    assert small.fps == pytest.approx(25 * 8 / 40)
    expected = clip.frames[sample_frames(40, 8)].reshape(8, 24, 4, 32, 4, 3).mean((2, 4))
    assert np.abs(small.frames - expected).mean() < 3
    assert len(read_clip(path, num_frames=50).frames) == 40
    for wrong in ({"num_frames": 0}, {"size": -1}):
        with pytest.raises(ValueError, match="1 or more"):
            read_clip(path, **wrong)


def test_too_many_pixels_are_scaled_to_fit_and_too_many_frames_refused(tmp_path, monkeypatch):
    path = write(tmp_path / "clip.mp4", some_frames(10, 288, 384))
    monkeypatch.setattr("gatescope.loaders.limits.FITTED_BYTES", 10 * 144 * 192 * 3)
    clip = read_clip(path)
    assert clip.frames.shape == (10, 144, 192, 3) and clip.source_size == (288, 384)
    assert read_clip(path, num_frames=2).frames.shape[1:3] == (288, 384)
    monkeypatch.setattr("gatescope.loaders.limits.FITTED_BYTES", 10 * 100 * 133 * 3)
    with pytest.raises(OversizedClipError, match=r"read_clip\(path, num_frames=16, size=112\)"):
        read_clip(path)
    assert read_clip(path, size=48).frames.shape == (10, 48, 64, 3)
    pictures = [Image.fromarray(frame) for frame in some_frames(10, 288, 384)]
    pictures[0].save(tmp_path / "clip.webp", save_all=True, append_images=pictures[1:])
    with monkeypatch.context() as within:
        within.setattr("gatescope.loaders.limits.MAX_DECODED", 9 * 288 * 384)
        for moving in (path, tmp_path / "clip.webp"):
            with pytest.raises(OversizedClipError, match="more than 9 frames of 384 x 288"):
                read_clip(moving, num_frames=2, size=48)
    monkeypatch.setattr("gatescope.loaders.limits.MAX_FRAMES", 9)
    with pytest.raises(OversizedClipError, match="more than 9 frames"):
        read_clip(path, num_frames=2)


@pytest.mark.parametrize(("suffix", "codec"), [("avi", "mjpeg"), ("mkv", "mjpeg"), ("mp4", "libx264"), ("gif", "gif")])
def test_a_file_that_would_take_minutes_to_count_is_refused_unread(tmp_path, suffix, codec):
    path = write_video(tmp_path / f"clip.{suffix}", some_frames(3), codec)
    os.truncate(path, 2 << 30)  # behind its frames nothing, which takes no room on the disk
    with pytest.raises(OversizedClipError, match=rf"clip.{suffix}: exceeds 1536 MiB; cut it"):
        read_clip(path)


PEAK = """
import resource, sys
from gatescope.loaders import ClipError, read_clip
for path in sys.argv[1:]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        came = read_clip(path, size=112).frames.shape
    except ClipError as error:
        came = type(error).__name__
    print((came, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before))
"""


def test_the_peak_is_bounded_whatever_a_file_declares(tmp_path):
    """Decoded, an image of the first takes 17 MB, all 200 MB; the second has more frames than are allowed; the third
    is a folder of pictures of 1.2 GB."""
    first, second, third = tmp_path / "big.gif", tmp_path / "long.gif", tmp_path / "pictures"
    Image.new("P", (2048, 2048)).save(
        first, save_all=True, append_images=[Image.new("P", (2048, 2048), k) for k in range(1, 12)]
    )
    content = gif_of(4)
    start, end = content.index(b"!\xf9"), len(content) - 1
    second.write_bytes(content[:start] + content[start:end] * 10_000 + b";")
    third.mkdir()
    Image.new("I;16", (4096, 4096)).save(third / "0.png")
    for number in range(1, 60):
        (third / f"{number}.png").hardlink_to(third / "0.png")
    command = [sys.executable, "-c", PEAK, str(first), str(second), str(third)]
    library = Path(__file__).resolve().parents[1] / "lib"
    done = subprocess.run(command, env={"PYTHONPATH": str(library)}, capture_output=True, text=True, check=True)
    came, kilobytes = zip(*map(literal_eval, done.stdout.splitlines()), strict=True)
    assert came == ((12, 112, 112, 3), "OversizedClipError", "ClipError")
    assert max(kilobytes) < 120_000, kilobytes
