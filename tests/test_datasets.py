"""Every layout gives the right clip with the right label, or says where and why it cannot."""

import os
import pickle
import shutil
from functools import partial

import av
import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from clip_files import some_frames, write_depth, write_isogd, write_jester, write_jpegs, write_video
from gatescope.loaders import JESTER_LABELS, ClipTensors, IsoGDClips, JesterClips, VideoClips, read_clip
from gatescope.loaders.errors import (
    ClipAccessError,
    ClipError,
    DamagedClipError,
    ListError,
    MissingClipError,
    OversizedClipError,
)
from gatescope.loaders.flow import with_flow
from gatescope.loaders.packing import pack

FORMS = [
    ("mkv", "libx264"),
    ("mp4", "libx264"),
    ("avi", "mpeg4"),
    ("avi", "mjpeg"),
    ("avi", "rawvideo"),
    ("webm", "libvpx-vp9"),
    ("mkv", "ffv1"),
    ("gif", "gif"),
]


@pytest.mark.parametrize(("suffix", "codec"), FORMS)
def test_video_in_every_form_gives_its_frames(tmp_path, suffix, codec):
    frames = some_frames(12)
    clip = read_clip(write_video(tmp_path / f"clip.{suffix}", frames, codec))
    assert clip.frames.shape == frames.shape and clip.frames.dtype == np.uint8
    assert abs(clip.fps - 10) < 0.1 and clip.source == str(tmp_path / f"clip.{suffix}")
    tolerance = 20 if codec == "gif" else 6  # gif has 256 colours
    assert np.abs(clip.frames.astype(int) - frames).mean() < tolerance


@pytest.mark.parametrize(("suffix", "codec"), FORMS)
def test_one_frame_video_works(tmp_path, suffix, codec):
    assert len(read_clip(write_video(tmp_path / f"clip.{suffix}", some_frames(1), codec)).frames) == 1


@pytest.mark.slow
@pytest.mark.parametrize(("suffix", "codec"), FORMS)
def test_video_cut_anywhere_is_noticed(tmp_path, suffix, codec):
    path = write_video(tmp_path / f"clip.{suffix}", some_frames(12), codec)
    whole = path.read_bytes()
    expected = read_clip(path).frames
    for part in np.linspace(0, 1, 30, endpoint=False):
        path.write_bytes(whole[: int(part * len(whole))])
        try:
            clip = read_clip(path)
        except DamagedClipError:
            continue
        # Only an index or a tag behind the last frame was lost.
        assert part > 0.7 and np.array_equal(clip.frames, expected)


def test_phone_video_is_turned_upright(tmp_path):
    frames = some_frames(3)
    path = write_video(tmp_path / "clip.mp4", frames)
    content = bytearray(path.read_bytes())
    # The track header's matrix for a quarter turn clockwise, in 16.16 and 2.30 fixed point.
    matrix = content.index(b"tkhd") + 4 + 40
    one, quarter = 1 << 16, [0, 1 << 16, 0, -(1 << 16), 0, 0, 48 << 16, 0, 1 << 30]
    assert int.from_bytes(content[matrix : matrix + 4], "big") == one
    content[matrix : matrix + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in quarter)
    path.write_bytes(content)
    clip = read_clip(path)
    assert clip.frames.shape == (3, 64, 48, 3)
    assert np.abs(clip.frames.astype(int) - np.rot90(frames, -1, axes=(1, 2))).mean() < 6


def test_folder_is_ordered_by_number_and_ignores_what_is_no_frame(tmp_path):
    frames = some_frames(11)
    folder = tmp_path / "frames"
    folder.mkdir()
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"frame{number}.png")
    (folder / "notes.txt").write_text("no frame")
    (folder / "._frame3.png").write_text("no frame either")
    clip = read_clip(folder)
    assert np.array_equal(clip.frames, frames) and clip.fps == 12.0


def test_sixteen_bit_depth_becomes_millimetres_and_grey(tmp_path):
    raw = np.random.default_rng(0).integers(1, 9000, (4, 20, 30))
    raw[:, 0] = 0
    folder = write_depth(tmp_path / "depth", raw, step=10)
    clip = read_clip(folder, depth_unit_mm=0.125)
    assert clip.depth.dtype == np.float32 and np.array_equal(clip.depth, raw * np.float32(0.125))
    assert np.array_equal(clip.frames[..., 0] == 0, raw == 0)
    assert np.array_equal(clip.frames[..., 0], clip.frames[..., 2])
    with pytest.raises(ClipError, match="give depth_unit_mm"):
        read_clip(folder)
    with pytest.raises(ClipError, match="leave it out"):
        read_clip(write_jpegs(tmp_path / "colour", some_frames(2)), depth_unit_mm=1.0)
    with pytest.raises(ClipError, match="leave it out"):
        read_clip(write_video(tmp_path / "clip.mkv", some_frames(2)), depth_unit_mm=1.0)


def test_arrays_are_clips_too():
    frames = some_frames(3)
    assert np.array_equal(read_clip(frames).frames, frames)
    assert np.array_equal(read_clip(frames[..., 0]).frames[..., 2], frames[..., 0])
    assert read_clip(np.full((2, 4, 4), 800, np.uint16), depth_unit_mm=1.0).depth[0, 0, 0] == 800


def test_missing_and_strange_paths_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.mkv: is missing"):
        read_clip(tmp_path / "nowhere.mkv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingClipError, match="holds no frame"):
        read_clip(tmp_path / "empty")
    (tmp_path / "clip.txt").write_text("text")
    with pytest.raises(DamagedClipError, match="does not decode"):
        read_clip(tmp_path / "clip.txt")
    os.mkfifo(tmp_path / "pipe.mkv")
    with pytest.raises(MissingClipError, match="neither a file nor a folder"):
        read_clip(tmp_path / "pipe.mkv")
    (tmp_path / "list.mkv").write_text("#EXTM3U\n#EXTINF:1,\n/etc/hostname\n")
    with pytest.raises(DamagedClipError):
        read_clip(tmp_path / "list.mkv")


def test_folder_whose_frames_do_not_belong_together_is_refused(tmp_path):
    folder = write_jpegs(tmp_path / "frames", some_frames(3))
    Image.fromarray(some_frames(1, 30, 30)[0]).save(folder / "00004.jpg")
    with pytest.raises(DamagedClipError, match="00004.jpg: is"):
        read_clip(folder)
    (folder / "00004.jpg").rename(folder / "3.jpg")
    with pytest.raises(DamagedClipError, match="same number"):
        read_clip(folder)
    (folder / "3.jpg").rename(folder / "last.jpg")
    with pytest.raises(DamagedClipError, match="no number"):
        read_clip(folder)


def test_truncated_picture_is_named(tmp_path):
    folder = write_jpegs(tmp_path / "frames", some_frames(3))
    file = folder / "00002.jpg"
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(DamagedClipError, match="00002.jpg"):
        read_clip(folder)


@pytest.mark.parametrize("side", [5_000, 12_000, 60_000])
def test_huge_picture_is_refused_before_it_is_decoded(tmp_path, side):
    folder = tmp_path / "frames"
    folder.mkdir()
    content = bytearray()
    Image.new("L", (8, 8)).save(folder / "1.jpg")
    content += (folder / "1.jpg").read_bytes()
    sizes = content.index(b"\xff\xc0") + 5
    content[sizes : sizes + 4] = side.to_bytes(2, "big") * 2
    (folder / "1.jpg").write_bytes(content)
    with pytest.raises(OversizedClipError, match="1.jpg"):
        read_clip(folder)


def test_folder_of_too_many_pixels_is_refused(tmp_path, monkeypatch):
    folder = write_jpegs(tmp_path / "frames", some_frames(3))
    monkeypatch.setattr("gatescope.loaders.limits.FITTED_BYTES", 20_000)
    with pytest.raises(OversizedClipError, match="3 frames"):
        read_clip(folder)
    with pytest.raises(OversizedClipError, match="64 x 48"):
        read_clip(write_video(tmp_path / "clip.mkv", some_frames(3)))


def test_folder_without_access_is_said_so(tmp_path, monkeypatch):
    folder = write_jpegs(tmp_path / "frames", some_frames(3))
    closed = PermissionError(13, "Permission denied")

    def refuse(*_args, **_kwargs):
        raise closed

    # In place of chmod, which does not stop a superuser.
    monkeypatch.setattr("pathlib.Path.iterdir", refuse)
    with pytest.raises(ClipAccessError, match="may not be read"):
        read_clip(folder)
    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(PermissionError, match="may not be listed"):
        VideoClips([folder])
    clips = VideoClips([folder], strict=False)
    assert len(clips) == 0 and "may not be listed" in clips.skipped[0][1]


def test_jester_layout_gives_frames_labels_and_names(tmp_path):
    clips = JesterClips(write_jester(tmp_path))
    assert len(clips) == 6 and clips.labels == ("wave", "clap", "point") and clips.skipped == []
    for i, clip in enumerate(clips):
        assert (clip.label, clip.name, clip.fps) == (i % 3, clips.labels[i % 3], 12.0)
        assert clip.frames.shape == (6, 48, 64, 3)
        assert np.abs(clip.frames.astype(int) - some_frames(6, seed=i + 1)).mean() < 6
    assert np.array_equal(clips[-1].frames, clips[5].frames)
    with pytest.raises(IndexError):
        clips[6]


def test_jester_labels_serve_only_where_the_root_has_none(tmp_path):
    write_jester(tmp_path, labels=("Swiping Up", "Thumb Up", "Stop Sign"), split="validation")
    assert [clip.label for clip in JesterClips(tmp_path, "valid")][:3] == [0, 1, 2]
    (tmp_path / "jester-v1-labels.csv").unlink()
    assert [clip.label for clip in JesterClips(tmp_path, "valid")][:3] == [3, 20, 23]
    assert len(JESTER_LABELS) == len(set(JESTER_LABELS)) == 27


def test_jester_test_split_has_no_labels(tmp_path):
    write_jester(tmp_path)
    (tmp_path / "jester-v1-test.csv").write_text("2\n1\n")
    clips = JesterClips(tmp_path, "test")
    assert [clip.label for clip in clips] == [None, None] and clips[0].source.endswith("2")
    (tmp_path / "jester-v1-test.csv").write_text("2\n1;wave\n")
    with pytest.raises(ListError, match="line 2: must be 'id'"):
        JesterClips(tmp_path, "test")


def test_absent_data_set_names_the_way_to_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="data/jester/README.md"):
        JesterClips(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="data/isogd/README.md"):
        IsoGDClips(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="split must be one of train, valid, test; got 'verification'"):
        JesterClips(tmp_path, "verification")
    with pytest.raises(ValueError, match="modality must be one of"):
        IsoGDClips(tmp_path, modality="RGB")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("2,clap", "must be 'id;label name'"),
        ("x;clap", "must be 'id;label name'"),
        ("../1;clap", "must be 'id;label name'"),
        ("2", "must be 'id;label name'"),
        ("2;cl\x01ap", "no text"),
        ("2;clapp", "none of the 3 labels"),
        ("1;clap", "also in line 1"),
    ],
)
def test_bad_jester_line_is_named_or_skipped_and_reported(tmp_path, line, reason):
    path = write_jester(tmp_path) / "jester-v1-train.csv"
    lines = path.read_text().splitlines()
    lines[1] = line
    path.write_text("\n".join(lines))
    with pytest.raises(ListError, match=f"jester-v1-train.csv, line 2: .*{reason}"):
        JesterClips(tmp_path)
    clips = JesterClips(tmp_path, strict=False)
    assert len(clips) == (4 if line == "1;clap" else 5)
    assert clips.skipped[0][0] == f"{path}, line 2" and reason in clips.skipped[0][1]
    assert [(int(entry.path.name) - 1) % 3 for entry in clips.entries] == [clip.label for clip in clips]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("wave\n\npoint\n", "line 2: must be a label's name"),
        ("wave\nwave\npoint\n", "line 2: 'wave' is there twice"),
        ("", "names no label"),
        ("wave*clap\npoint\n", "no label's index can be trusted"),
        ("wave\nclan\npoint\n", "no label's index can be trusted"),
        ("wave\ncl\xff\npoint\n", "line 2: must be a label's name"),
    ],
)
def test_damaged_labels_file_is_never_believed(tmp_path, content, reason):
    (write_jester(tmp_path) / "jester-v1-labels.csv").write_bytes(content.encode("latin-1"))
    with pytest.raises(ListError):
        JesterClips(tmp_path)
    with pytest.raises(ListError, match=reason):
        JesterClips(tmp_path, strict=False)


def test_missing_clip_is_found_when_the_list_is_read(tmp_path):
    write_jester(tmp_path)
    (tmp_path / "20bn-jester-v1" / "4").rename(tmp_path / "moved")
    with pytest.raises(MissingClipError, match="4: is missing, though line 4"):
        JesterClips(tmp_path)
    clips = JesterClips(tmp_path, strict=False)
    assert len(clips) == 5 and clips.skipped[0][0].endswith("4")
    assert [clip.label for clip in clips] == [0, 1, 2, 1, 2]


def test_gap_in_the_frames_is_an_error_or_reported(tmp_path):
    write_jester(tmp_path)
    (tmp_path / "20bn-jester-v1" / "2" / "00003.jpg").unlink()
    with pytest.raises(MissingClipError, match="1 of 6 frames are missing, the first is 3"):
        JesterClips(tmp_path)[1]
    clips = JesterClips(tmp_path, strict=False)
    assert len(clips[1].frames) == 5 and len(clips[1].frames) == 5
    assert len(clips.skipped) == 1 and "the first is 3" in clips.skipped[0][1]


def test_damaged_clip_is_passed_over_and_check_drops_it(tmp_path):
    write_jester(tmp_path)
    (tmp_path / "20bn-jester-v1" / "3" / "00002.jpg").write_bytes(b"no picture")
    with pytest.raises(DamagedClipError, match="00002.jpg"):
        JesterClips(tmp_path).check()
    clips = JesterClips(tmp_path, strict=False)
    assert [clip.label for clip in clips] == [0, 1, 0, 1, 2] and len(clips) == 6
    with pytest.raises(DamagedClipError, match="00002.jpg"):
        clips[2]
    report = clips.check()
    assert len(clips) == 5 and clips[2].label == 0
    assert report == clips.skipped and len(report) == 1 and report[0][0].endswith("00002.jpg")


@pytest.mark.slow
def test_isogd_as_distributed(tmp_path):
    write_isogd(tmp_path)
    colour, grey = IsoGDClips(tmp_path, "train"), IsoGDClips(tmp_path, "train", "depth")
    assert [clip.label for clip in colour] == [clip.label for clip in grey] == [0, 1, 2]
    assert colour[1].frames.shape == (6, 48, 64, 3) and colour[1].source.endswith("M_00002.avi")
    assert grey[1].source.endswith("K_00002.avi") and np.ptp(grey[1].frames, axis=-1).max() <= 8
    tensors = ClipTensors(grey, num_frames=4, size=24, mean=(127, 127, 127), modality="depth")
    assert tensors[2][0].shape == (3, 4, 24, 24) and tensors[2][1] == 2


def test_isogd_flow_is_computed_and_cached(tmp_path, monkeypatch):
    write_isogd(tmp_path / "data", num_clips=1)
    monkeypatch.setattr("gatescope.loaders.isogd.with_flow", partial(with_flow, folder=tmp_path / "cache"))
    clip = IsoGDClips(tmp_path / "data", "train", "flow")[0]
    assert clip.flow.shape == (5, 48, 64, 2) and clip.label == 0
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_isogd_test_list_carries_no_labels(tmp_path):
    write_isogd(tmp_path, split="test")
    path = tmp_path / "test_list.txt"
    path.write_text(path.read_text().replace(" 1\n", " 0\n").replace(" 2\n", "\n"))
    assert [clip.label for clip in IsoGDClips(tmp_path, "test")] == [None, None, 2]


def decoded_isogd(root, count=6, label=248):
    write_jpegs(root / "valid_image" / "M_00001", some_frames(6), digits=6)
    (root / "valid_rgb_list.txt").write_text(f"valid_image/M_00001/ {count} {label}\n")
    return root


def test_isogd_decoded_frames(tmp_path):
    (clip,) = IsoGDClips(decoded_isogd(tmp_path))
    assert clip.frames.shape == (6, 48, 64, 3) and clip.label == 248
    path = tmp_path / "valid_rgb_list.txt"
    path.write_text(f"{tmp_path}/valid_image/M_00001 6 0\n")
    assert IsoGDClips(tmp_path)[0].label == 0


@pytest.mark.parametrize(
    ("count", "error", "reason"),
    [
        (7, MissingClipError, "1 of 7 frames are missing, the first is 7"),
        (5, DamagedClipError, "outside 1 to 5"),
    ],
)
def test_isogd_frame_count_must_be_the_lists(tmp_path, count, error, reason):
    clips = IsoGDClips(decoded_isogd(tmp_path, count))
    with pytest.raises(error, match=reason):
        clips[0]
    clips = IsoGDClips(tmp_path, strict=False)
    assert len(clips[0].frames) == min(count, 6) and reason in clips.skipped[0][1]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("train/001/M_00001.avi train/001/K_00001.avi 0", "label must be 1 to 249"),
        ("train/001/M_00001.avi train/001/K_00001.avi 250", "label must be 1 to 249"),
        ("train/001/M_00001.avi train/001/K_00001.avi", "label must be 1 to 249"),
        ("train/001/M_00001.avi train/001/K_00002.avi 3", "one folder and one n"),
        ("train/001/M_00001.avi 3", "one folder and one n"),
        ("../001/M_00001.avi ../001/K_00001.avi 3", "leads out"),
    ],
)
def test_bad_isogd_line_is_named(tmp_path, line, reason):
    (write_isogd(tmp_path, num_clips=1) / "train_list.txt").write_text(line)
    with pytest.raises(ListError, match=f"train_list.txt, line 1: .*{reason}"):
        IsoGDClips(tmp_path, "train")
    clips = IsoGDClips(tmp_path, "train", strict=False)
    assert len(clips) == 0 and reason in clips.skipped[0][1]


@pytest.mark.parametrize("label", [249, -1])
def test_decoded_label_out_of_range_is_named(tmp_path, label):
    with pytest.raises(ListError, match="line 1"):
        IsoGDClips(decoded_isogd(tmp_path, label=label))


def test_videos_with_their_labels(tmp_path):
    paths = [write_video(tmp_path / f"{i}.mkv", some_frames(4 + i)) for i in range(3)]
    clips = VideoClips(paths, labels=[5, 0, 5])
    assert [(len(clip.frames), clip.label) for clip in clips] == [(4, 5), (5, 0), (6, 5)]
    assert [clip.label for clip in VideoClips(paths)] == [None] * 3
    with pytest.raises(ValueError, match="got 1 for 3 paths"):
        VideoClips(paths, labels=[1])
    with pytest.raises(ValueError, match="0-based"):
        VideoClips(paths, labels=[1, -1, 0])
    with pytest.raises(MissingClipError):
        VideoClips([*paths, tmp_path / "3.mkv"])
    clips = VideoClips([tmp_path / "3.mkv", *paths], labels=[9, 5, 0, 5], strict=False)
    assert [clip.label for clip in clips] == [5, 0, 5] and len(clips.skipped) == 1


def recorded_sets(root, shared):
    """Clips of every kind that a training reads, of more and of fewer frames than it takes."""
    write_jester(root / "jester", num_clips=2)
    list(pack(root / "jester", root / "packed"))
    write_isogd(root / "isogd")
    decoded = root / "decoded"
    write_jpegs(decoded / "train" / "1_rgb", some_frames(11, 64, 48))
    (decoded / "train_rgb_list.txt").write_text("train/1_rgb 11 3\n")
    shutil.copytree(decoded / "train" / "1_rgb", root / "pictures")
    Image.fromarray(some_frames(1)[0]).save(
        root / "moving.webp", save_all=True, append_images=[*map(Image.fromarray, some_frames(7)[1:])], lossless=True
    )
    real = [shared / "cases" / name for name in ("variable_rate_mpeg4.avi", "xvid_b_frames.avi")]
    videos = [write_video(root / "own.mkv", some_frames(13)), *real]
    return [
        JesterClips(root / "jester"),
        JesterClips(root / "packed"),
        IsoGDClips(decoded, "train"),
        IsoGDClips(root / "isogd", "train", "flow"),
        IsoGDClips(root / "isogd", "train", "depth"),
        VideoClips([root / "pictures", root / "moving.webp", *videos], labels=range(2 + len(videos)), strict=False),
    ]


@pytest.mark.parametrize(
    ("fitted_bytes", "num_frames", "train"), [(1 << 28, 5, True), (1 << 28, 30, False), (5 * 40 * 30 * 3, 5, True)]
)
def test_reading_only_the_frames_that_are_taken_changes_no_bit(
    tmp_path, shared, monkeypatch, fitted_bytes, num_frames, train
):
    """Also where frames are scaled because all of them would not fit."""
    monkeypatch.setattr("gatescope.loaders.isogd.with_flow", partial(with_flow, folder=tmp_path / "cache"))
    monkeypatch.setattr("gatescope.loaders.limits.FITTED_BYTES", fitted_bytes)
    monkeypatch.setattr("gatescope.loaders.limits._SMALLEST_SIDE", 1)
    for clips in recorded_sets(tmp_path, shared):
        whole = list(clips)
        input = {"num_frames": num_frames, "size": 24, "mean": (9, 9, 9), "clip_mean": 0.5}
        input["modality"] = getattr(clips, "modality", "rgb")
        taken, expected = (ClipTensors(each, **input, train=train, seed=2) for each in (clips, whole))
        for index in range(len(clips)):
            assert torch.equal(taken[index][0], expected[index][0]), (clips.layout, whole[index].source)


def test_of_a_folder_no_other_frame_is_opened(tmp_path):
    root = write_jester(tmp_path / "jester", num_clips=1)
    frames = root / "20bn-jester-v1" / "1"
    (tmp_path / "table.csv").write_text("jester/20bn-jester-v1/1,0\n")
    every = [JesterClips(root), VideoClips(tmp_path / "table.csv")]
    before = [ClipTensors(clips, num_frames=2, size=24, mean=(0, 0, 0))[0][0] for clips in every]
    for number in (2, 3, 5, 6):  # of six the first and the fourth are taken
        (frames / f"{number:05d}.jpg").write_bytes(b"")
    for clips, x in zip(every, before, strict=True):
        assert torch.equal(ClipTensors(clips, num_frames=2, size=24, mean=(0, 0, 0))[0][0], x)
        with pytest.raises(DamagedClipError, match="00002.jpg"):
            clips[0]


def video_tensors(folder):
    paths = [write_video(folder / f"{i}.mkv", some_frames(6, seed=i)) for i in range(5)]
    clips = VideoClips(paths, labels=range(5))
    return ClipTensors(clips, num_frames=4, size=24, mean=(0, 0, 0), train=True, seed=1)


@pytest.mark.slow
def test_workers_read_what_the_main_process_reads(tmp_path):
    """The main process decodes first, so that a decoder it kept would cross into the workers."""
    dataset = video_tensors(tmp_path)
    expected = [dataset[i] for i in range(5)]
    loader = DataLoader(dataset, batch_size=None, num_workers=2, timeout=30)
    for (x, label), (expected_x, expected_label) in zip(loader, expected, strict=True):
        assert torch.equal(x, expected_x) and label == expected_label


def test_dataset_can_be_sent_to_a_process_that_starts_afresh(tmp_path):
    dataset = video_tensors(tmp_path)
    restored = pickle.loads(pickle.dumps(dataset))
    assert all(torch.equal(restored[i][0], dataset[i][0]) for i in range(5))


def test_sound_beside_the_picture_does_no_harm(tmp_path):
    """The sound of a recording often ends later than its picture, which is no sign of a cut."""
    path = tmp_path / "clip.mkv"
    with av.open(str(path), "w") as container:
        picture, sound = container.add_stream("libx264", rate=10), container.add_stream("pcm_s16le", rate=8000)
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        for frame in some_frames(10):
            container.mux(picture.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(picture.encode())
        for t in range(15):
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
            samples.sample_rate, samples.pts = 8000, 800 * t
            container.mux(sound.encode(samples))
    assert len(read_clip(path).frames) == 10
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    with pytest.raises(DamagedClipError, match="cut off"):
        read_clip(path)


def test_error_keeps_its_kind_and_place_on_the_way_from_a_worker(tmp_path):
    (tmp_path / "clip.mkv").write_bytes(b"no video")
    dataset = ClipTensors(VideoClips([tmp_path / "clip.mkv"], labels=[0]), num_frames=4, size=24, mean=(0, 0, 0))
    with pytest.raises(DamagedClipError, match=r"clip\.mkv"):
        list(DataLoader(dataset, num_workers=1, timeout=30))
    error = pickle.loads(pickle.dumps(ListError("reason", path=tmp_path, line=3)))
    assert (str(error), error.path, error.line) == (f"{tmp_path}, line 3: reason", tmp_path, 3)


@pytest.mark.parametrize(
    "some", [slice(0, 2), pytest.param(slice(2, 20), marks=pytest.mark.slow)], ids=["first 2", "other 18"]
)
def test_real_videos_and_their_jester_copy_agree(shared, some):
    root = shared / "realdata" / "intel_asl"
    copies = JesterClips(root / "jester_layout")
    paths = [root / "asl_gestures" / f"{copies.labels[entry.label]}.mkv" for entry in copies.entries]
    clips = VideoClips(paths, labels=[entry.label for entry in copies.entries])
    assert len(clips) == len(copies) == 20 and len({entry.label for entry in copies.entries}) == 20
    for i in range(20)[some]:
        clip, copy = clips[i], copies[i]
        assert clip.label == copy.label and copy.name in clip.source and clip.fps == 30
        for k, frame in enumerate(copy.frames):
            picture = Image.fromarray(clip.frames[round(2.5 * k)]).resize((133, 100), Image.Resampling.BILINEAR)
            assert np.abs(np.asarray(picture).astype(int) - frame).mean() <= 4, (clip.source, k)


@pytest.mark.slow
def test_real_depth_frames_give_millimetres(shared):
    folders = sorted((shared / "realdata" / "ladaondris_depth" / "datasets" / "custom").glob("2021*"))
    for folder, num_frames in zip(folders, (8, 11), strict=True):
        clip = read_clip(folder, depth_unit_mm=0.125)
        assert clip.depth.shape == clip.frames.shape[:3] == (num_frames, 480, 640)
        numbers = sorted(int(file.stem) for file in folder.glob("*.png"))
        for frame, number in zip(clip.depth, numbers, strict=True):
            raw = np.asarray(Image.open(folder / f"{number}.png")).astype(np.float64)
            assert np.array_equal(frame, raw * 0.125)
        assert 100 < np.median(clip.depth[clip.depth > 0]) < 3000


def test_nothing_is_relabelled_by_rounding_and_one_path_is_no_list(tmp_path):
    with pytest.raises(TypeError):
        VideoClips([tmp_path / "a.mkv"], labels=[1.9])
    with pytest.raises(ValueError, match="put it in a list"):
        VideoClips(str(tmp_path / "a.mkv"))


def test_one_colour_picture_is_no_clip():
    with pytest.raises(ValueError, match="reads as one colour frame"):
        read_clip(np.zeros((48, 64, 3), np.uint8))


def test_a_name_too_long_for_the_disk_is_a_clip_error(tmp_path):
    with pytest.raises(ClipError, match="check the path"):
        read_clip(tmp_path / ("x" * 5000 + ".mkv"))
