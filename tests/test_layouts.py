"""Data sets as they are handed round: one set of clips in every layout, and lists that are no lists."""

import os
import shutil

import numpy as np
import pytest

from clip_files import some_frames, write_isogd, write_jester, write_jpegs, write_video
from gatescope.loaders import IsoGDClips, JesterClips, VideoClips
from gatescope.loaders.datasets import parts_at, recorded
from gatescope.loaders.errors import ClipError, ListError, MissingClipError

NAMES = ("Swiping Up", "Thumb Up", "Stop Sign")
IN_ORDER = [("Swiping Up", 3), ("Thumb Up", 20), ("Stop Sign", 23)] * 2  # among Jester's 27


def rows(root):
    return [line.split(";") for line in (root / "jester-v1-train.csv").read_text().splitlines()]


def labels_away(root):
    (root / "jester-v1-labels.csv").unlink()


def as_kaggle(root):
    labels_away(root)
    lines = [f'{id},{label},6,9,"(100, 176)",{id}.jpg' for id, label in rows(root)]
    (root / "Train.csv").write_text("video_id,label,frames,label_id,shape,format\n" + "\n".join(lines) + "\n")
    (root / "jester-v1-train.csv").unlink()
    (root / "20bn-jester-v1").rename(root / "Train")
    # Other clips of the same numbers, for another split.
    write_jpegs(root / "Validation" / "1", some_frames(2))


def with_header(root):
    labels_away(root)
    text = "".join(f"{id}; {label}\n" for id, label in rows(root))
    (root / "jester-v1-train.csv").write_text("id; label\n" + text)


def with_commas_and_quotes(root):
    labels_away(root)
    (root / "jester-v1-train.csv").write_text("".join(f'"{id}", "{label}"\r\n' for id, label in rows(root)))


def with_tabs(root):
    labels_away(root)
    (root / "jester-v1-train.csv").write_text("".join(f"{id}\t{label}\n" for id, label in rows(root)), "utf-16")


def nested(root):
    labels_away(root)
    (root / "20bn-jester-v1").rename(root / "inner")
    (root / "20bn-jester-v1").mkdir()
    (root / "inner").rename(root / "20bn-jester-v1" / "20bn-jester-v1")


def flat(root):
    labels_away(root)
    for folder in (root / "20bn-jester-v1").iterdir():
        folder.rename(root / folder.name)
    (root / "20bn-jester-v1").rmdir()


def in_folders_of_other_names(root):
    labels_away(root)
    (root / "labels").mkdir()
    (root / "jester-v1-train.csv").rename(root / "labels" / "train.csv")
    (root / "20bn-jester-v1").rename(root / "frames_100px")


def one_folder_down(root):
    labels_away(root)
    (root / "download").mkdir()
    for path in (root / "jester-v1-train.csv", root / "20bn-jester-v1"):
        path.rename(root / "download" / path.name)


def from_zero(root):
    labels_away(root)
    for folder in (root / "20bn-jester-v1").iterdir():
        for number in range(1, 7):
            (folder / f"{number:05d}.jpg").rename(folder / f"{number - 1:05d}.jpg")


JESTERS = [as_kaggle, with_header, with_commas_and_quotes, with_tabs, nested, flat, one_folder_down]


@pytest.mark.parametrize("change", [*JESTERS, in_folders_of_other_names, from_zero], ids=lambda change: change.__name__)
def test_jester_gives_the_same_clips_however_it_is_handed_round(tmp_path, change):
    root = write_jester(tmp_path, labels=NAMES)
    expected = [clip.frames for clip in JesterClips(root)]
    change(root)
    clips = JesterClips(root)
    assert clips.layout.startswith("Jester, listed in ") and clips.skipped == []
    assert [(clip.name, clip.label) for clip in clips] == IN_ORDER
    assert all(np.array_equal(clip.frames, frames) for clip, frames in zip(clips, expected, strict=True))
    assert set(parts_at(root)) == {"train"} and len(recorded(root)) == 6


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("0;wave\n1;clap\n2;point\n", [0, 1, 2]),
        ("id,label\n3,wave\n1,clap\n2,point\n", [2, 0, 1]),
        ('"point",0\n"wave",1\n"clap",2\n', [1, 2, 0]),
        ("wave\r\npoint\r\nclap", [0, 2, 1]),
    ],
)
def test_labels_may_carry_their_index(tmp_path, text, labels):
    (write_jester(tmp_path) / "jester-v1-labels.csv").write_text(text)
    assert [entry.label for entry in JesterClips(tmp_path).entries] == labels * 2


def test_a_header_above_labels_is_none_of_them(tmp_path):
    (write_jester(tmp_path) / "jester-v1-labels.csv").write_text("Label\nwave\nclap\npoint\n")
    with pytest.raises(ListError, match="line 1: is 'Label', a header by its look"):
        JesterClips(tmp_path, strict=False)


@pytest.mark.parametrize(
    "text", ["0;wave\n2;clap\n3;point\n", "0;wave\n1;clap\n1;point\n", "4;wave\n5;clap\n6;point\n"]
)
def test_labels_with_gaps_in_their_indices_are_not_believed(tmp_path, text):
    (write_jester(tmp_path) / "jester-v1-labels.csv").write_text(text)
    with pytest.raises(ListError, match="indices are not 0, 1, 2"):
        JesterClips(tmp_path, strict=False)


def test_jester_test_list_may_have_labels_or_empty_ones(tmp_path):
    write_jester(tmp_path)
    (tmp_path / "jester-v1-test.csv").write_text("id;label\n2;clap\n1;\n")
    assert [clip.label for clip in JesterClips(tmp_path, "test")] == [1, None]
    for empty in ("3;", "3"):
        (tmp_path / "jester-v1-train.csv").write_text(f"1;wave\n2;clap\n{empty}\n")
        with pytest.raises(ListError, match="line 3: must be 'id;label name'"):
            JesterClips(tmp_path)


@pytest.mark.parametrize("split", ["val", "valid", "validation", "Validation", "dev"])
def test_a_split_has_its_usual_names(tmp_path, split):
    write_jester(tmp_path, split="validation")
    assert len(JesterClips(tmp_path, split)) == 6 and JesterClips(tmp_path, split).split == "valid"


def test_two_folders_that_may_both_be_meant_are_named(tmp_path):
    in_folders_of_other_names(write_jester(tmp_path, labels=NAMES))
    shutil.copytree(tmp_path / "frames_100px", tmp_path / "frames_240px")
    with pytest.raises(ListError, match="frames_100px and .*frames_240px both hold its clips"):
        JesterClips(tmp_path)


def test_a_frame_before_the_first_is_not_taken_for_one(tmp_path):
    root = write_jester(tmp_path)
    (root / "20bn-jester-v1" / "1" / "00001.jpg").rename(root / "20bn-jester-v1" / "1" / "00000.jpg")
    with pytest.raises(MissingClipError, match="1 of 7 frames are missing, the first is 1"):
        JesterClips(tmp_path)[0]


def isogd_list(root, change):
    path = root / "train_list.txt"
    path.write_bytes(change(path.read_text()).encode())


ISOGDS = {
    "tabs and CRLF": lambda root: isogd_list(root, lambda text: text.replace(" ", "\t").replace("\n", "\r\n")),
    "backslashes": lambda root: isogd_list(root, lambda text: text.replace("/", "\\")),
    "one folder down": lambda root: down(root, "IsoGD_phase_1"),
    "two folders down": lambda root: down(root, "IsoGD_phase_1/IsoGD_phase_1"),
    "lists apart": lambda root: down(root, "IsoGD_labels", "train_list.txt"),
    "clips apart": lambda root: down(root, "IsoGD_phase_1", "train"),
    "without _list": lambda root: (root / "train_list.txt").rename(root / "train.txt"),
}


def down(root, below, *names):
    moved = [root / name for name in names] or list(root.iterdir())
    (root / below).mkdir(parents=True)
    for path in moved:
        path.rename(root / below / path.name)


@pytest.mark.parametrize("layout", ISOGDS)
def test_isogd_gives_the_same_clips_however_it_is_handed_round(tmp_path, layout):
    ISOGDS[layout](write_isogd(tmp_path))
    clips = IsoGDClips(tmp_path, "train")
    assert [entry.label for entry in clips.entries] == [0, 1, 2] and clips.skipped == []
    assert np.abs(clips[2].frames.astype(int) - some_frames(6, seed=3)).mean() < 6
    assert set(parts_at(tmp_path)) == {"train"}


def test_isogd_lists_of_the_first_phase_have_no_labels_until_others_have(tmp_path):
    text = (write_isogd(tmp_path, split="valid") / "valid_list.txt").read_text()
    bare = "".join(" ".join(line.split()[:2]) + "\n" for line in text.splitlines())
    (tmp_path / "valid_list.txt").write_text(bare)
    assert [entry.label for entry in IsoGDClips(tmp_path, "valid").entries] == [None] * 3
    (tmp_path / "IsoGD_labels").mkdir()
    (tmp_path / "IsoGD_labels" / "valid.txt").write_text(text)
    clips = IsoGDClips(tmp_path, "valid")
    assert [entry.label for entry in clips.entries] == [0, 1, 2] and "IsoGD_labels/valid.txt" in clips.layout
    # One line that lost its label is no list without labels.
    (tmp_path / "IsoGD_labels" / "valid.txt").write_text(text.replace(" 3\n", "\n"))
    with pytest.raises(ListError, match="line|has no label though"):
        IsoGDClips(tmp_path, "valid")
    clips = IsoGDClips(tmp_path, "valid", strict=False)
    assert len(clips) == 2 and "has no label" in clips.skipped[0][1]


def test_isogd_frames_may_be_numbered_from_zero(tmp_path):
    folder = write_jpegs(tmp_path / "valid_image" / "M_00001", some_frames(6), digits=6)
    (tmp_path / "valid_rgb_list.txt").write_text("valid_image/M_00001 6 4\n")
    expected = IsoGDClips(tmp_path)[0].frames
    for number in range(1, 7):
        (folder / f"{number:06d}.jpg").rename(folder / f"{number - 1:06d}.jpg")
    assert np.array_equal(IsoGDClips(tmp_path)[0].frames, expected)
    (folder / "000003.jpg").unlink()
    with pytest.raises(MissingClipError, match="1 of 6 frames are missing, the first is 3"):
        IsoGDClips(tmp_path)[0]


@pytest.mark.parametrize("name", ["{}/elsewhere/1", "../elsewhere/1", "link/1", "valid/1"])
def test_what_a_list_names_lies_below_its_root_unless_the_reader_says_otherwise(tmp_path, name):
    elsewhere, root = write_jpegs(tmp_path / "elsewhere" / "1", some_frames(2)).parent, tmp_path / "root"
    (root / "valid").mkdir(parents=True)
    (root / "link").symlink_to(elsewhere)
    (root / "valid" / "1").symlink_to(elsewhere / "1")
    (root / "valid_rgb_list.txt").write_text(f"{name.format(tmp_path)} 2 0\n")
    with pytest.raises(ListError, match="outside=True"):
        IsoGDClips(root)
    clips = IsoGDClips(root, strict=False)
    assert len(clips) == 0 and len(clips.skipped) == 1
    assert len(IsoGDClips(root, outside=True)[0].frames) == 2


def test_frames_behind_links_lie_below_the_root_too(tmp_path):
    root, elsewhere = write_jester(tmp_path / "root"), write_jpegs(tmp_path / "elsewhere", some_frames(1))
    frame = root / "20bn-jester-v1" / "2" / "00003.jpg"
    frame.unlink()
    frame.symlink_to(elsewhere / "00001.jpg")
    with pytest.raises(ListError, match="00003.jpg: leads to a file outside"):
        JesterClips(root)[1]
    assert len(JesterClips(root, outside=True)[1].frames) == 6
    # A root that is itself a link, or links within it, are a reader's way to lay out disks.
    (tmp_path / "link").symlink_to(root)
    (root / "20bn-jester-v1").rename(root / "disk2")
    (root / "20bn-jester-v1").symlink_to(root / "disk2")
    assert len(JesterClips(tmp_path / "link")) == 6


NO_LISTS = {
    "one line of 1 GB": lambda path: path.touch() or os.truncate(path, 1 << 30),
    "a label of 5,000 digits": lambda path: path.write_text(f"train/001/M_1.avi train/001/K_1.avi {'9' * 5000}\n"),
    "a count of 5,000 digits": lambda path: path.write_text(f"train/001 {'9' * 5000} 3\n"),
    "a name of 5,000 letters": lambda path: path.write_text(f"1;{'x' * 5000}\n"),
    "an open quote": lambda path: path.write_text('1;"wave\n2;clap\n'),
    "nothing": lambda path: path.write_text(""),
    "blank lines": lambda path: path.write_text("\n\r\n \t\n"),
    "other bytes": lambda path: path.write_bytes(bytes(range(256)) * 40),
    "a folder": lambda path: (path / "inner").mkdir(parents=True),
    "a pipe": lambda path: os.mkfifo(path),
}


@pytest.mark.parametrize("what", NO_LISTS)
@pytest.mark.parametrize("name", ["jester-v1-train.csv", "train_rgb_list.txt", "train_list.txt", "clips.csv"])
def test_a_list_that_is_none_is_refused_at_once(tmp_path, name, what):
    path = tmp_path / name
    NO_LISTS[what](path)
    opened = {"jester-v1-train.csv": JesterClips, "clips.csv": lambda root: VideoClips(root / name)}
    with pytest.raises((ClipError, ValueError), match=r"\.(csv|txt)|is missing") as caught:
        opened.get(name, lambda root: IsoGDClips(root, "train"))(tmp_path)
    assert len(str(caught.value)) < 20_000


def video(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_video(path, some_frames(3, seed=seed))


def test_a_folder_of_videos_is_its_clips(tmp_path):
    for name in ("b.mp4", "a.mkv"):
        video(tmp_path / name)
    write_jpegs(tmp_path / "c", some_frames(4))
    (tmp_path / "README.txt").write_text("what was filmed")
    (tmp_path / ".a.mkv").write_text("half a download")
    clips = VideoClips(str(tmp_path))
    assert [entry.file for entry in clips.entries] == ["a.mkv", "b.mp4", "c"] and clips.labels == ()
    assert [(len(clip.frames), clip.label) for clip in clips] == [(3, None), (3, None), (4, None)]
    assert len(recorded(tmp_path)) == 3 and len(VideoClips(tmp_path / "c")) == 1


@pytest.mark.parametrize("form", ["{part}/{name}/{clip}", "{name}/{part}/{clip}"])
def test_a_folder_for_each_class_gives_labels_in_every_split_alike(tmp_path, form):
    for part, names in (("train", ("wave", "clap", "zoom")), ("test", ("zoom", "wave"))):
        for name in names:
            video(tmp_path / form.format(part=part, name=name, clip="1.mkv"))
            write_jpegs(tmp_path / form.format(part=part, name=name, clip="two"), some_frames(2))
    train, test = (VideoClips(tmp_path, split=split) for split in ("train", "test"))
    assert train.labels == test.labels == ("clap", "wave", "zoom")
    assert [(clip.name, clip.label) for clip in train] == [(n, i) for i, n in enumerate(train.labels) for _ in range(2)]
    assert [clip.label for clip in test] == [1, 1, 2, 2]
    assert set(parts_at(tmp_path)) == {"train", "test"}
    with pytest.raises(ValueError, match="has the splits train, test; name one"):
        VideoClips(tmp_path)
    with pytest.raises(ListError, match="has no split valid"):
        VideoClips(tmp_path, split="val")


def test_a_folder_for_each_class_without_splits(tmp_path):
    for name in ("wave", "clap"):
        video(tmp_path / name / "1.mkv")
    clips = VideoClips(tmp_path)
    assert [(entry.name, entry.label) for entry in clips.entries] == [("clap", 0), ("wave", 1)]
    video(tmp_path / "3.mkv")
    with pytest.raises(ListError, match="3.mkv, beside folders of clips"):
        VideoClips(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingClipError, match="holds no clip"):
        VideoClips(tmp_path / "empty")


TABLES = {
    "plain": "a.mkv,wave\nb/c.mkv,clap\n",
    "a header": "path,label\na.mkv,wave\nb/c.mkv,clap\n",
    "columns in another order": "label;length;file\nwave;3;a.mkv\nclap;3;b\\c.mkv\n",
    "quotes": '"a.mkv", "wave"\n"b/c.mkv", "clap"\n',
}


@pytest.mark.parametrize("form", TABLES)
def test_a_table_of_paths_and_labels(tmp_path, form):
    video(tmp_path / "a.mkv"), video(tmp_path / "b" / "c.mkv")
    (tmp_path / "clips.csv").write_text(TABLES[form])
    clips = VideoClips(tmp_path / "clips.csv")
    assert clips.labels == ("clap", "wave")
    assert [(clip.name, clip.label) for clip in clips] == [("wave", 1), ("clap", 0)]
    assert [clip.name for clip in recorded(tmp_path / "clips.csv")] == ["wave", "clap"]


def test_a_table_may_have_numbers_splits_or_paths_alone(tmp_path):
    video(tmp_path / "a.mkv"), video(tmp_path / "b.mkv")
    path = tmp_path / "clips.csv"
    path.write_text("a.mkv,4\nb.mkv,0\n")
    assert [(clip.name, clip.label) for clip in VideoClips(path)] == [(None, 4), (None, 0)]
    path.write_text("path,label,split\na.mkv,wave,train\nb.mkv,clap,val\n")
    assert [(clip.name, clip.label) for clip in VideoClips(path, split="valid")] == [("clap", 0)]
    path.write_text("a.mkv\nb.mkv\n")
    assert [clip.label for clip in VideoClips(path)] == [None, None]
    for bad in ("a.mkv,wave\nb.mkv,\n", "a.mkv,wave\nb.mkv\n", "path,label,split\na.mkv,wave,spring\n"):
        path.write_text(bad)
        with pytest.raises(ListError, match="clips.csv, line 2"):
            VideoClips(path)
    path.write_text(f"{tmp_path.parent}/x.mkv,1\n")
    with pytest.raises(ListError, match="outside=True"):
        VideoClips(path)


def test_labels_by_name_are_numbered_in_the_order_of_the_names(tmp_path):
    paths = [video(tmp_path / f"{i}.mkv") for i in range(3)]
    clips = VideoClips(paths, ["wave", "clap", "wave"])
    assert clips.labels == ("clap", "wave") and [(clip.name, clip.label) for clip in clips][:2] == [
        ("wave", 1),
        ("clap", 0),
    ]
    with pytest.raises(ValueError, match="all names, or all"):
        VideoClips(paths, ["wave", 1, 2])


AMBIGUOUS = {
    "numbers with a point": ("path,label\na.mkv,10.0\nb.mkv,2.0\n", "line 2: labels are names, or whole numbers"),
    "numbers with a sign": ("a.mkv,0\nb.mkv,-1\n", "line 2: labels are names, or whole numbers"),
    "digits of another script": ("a.mkv,0\nb.mkv,１２\n", "line 2: labels are names, or whole numbers"),
    "an underscore": ("a.mkv,1_000\nb.mkv,2\n", "line 1: labels are names, or whole numbers"),
    "two normal forms": ("a.mkv,\u00e9\nb.mkv,e\u0301\n", "two classes look the same"),
    "two spaces": ("a.mkv,swipe  left\nb.mkv,swipe left\n", "two classes look the same"),
    "a column twice": ("path,label,label\na.mkv,x,y\nb.mkv,y,x\n", "line 1: has two columns label"),
    "two tables in one": ("path,label\na.mkv,x\npath,label\nb.mkv,y\n", "line 3: is a header below other lines"),
    "one clip by two paths": ("a.mkv,x\nb.mkv,y\nfolder/../a.mkv,y\n", "line 3: names .* also in line 1"),
}


@pytest.mark.parametrize("kind", AMBIGUOUS)
def test_a_table_that_can_be_read_in_two_ways_is_not_read(tmp_path, kind):
    text, says = AMBIGUOUS[kind]
    (tmp_path / "folder").mkdir()
    for name in ("a.mkv", "b.mkv"):
        (tmp_path / name).touch()
    (tmp_path / "clips.csv").write_text(text, "utf-8")
    with pytest.raises(ListError, match=says):
        VideoClips(tmp_path / "clips.csv")
