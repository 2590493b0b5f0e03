"""gatescope check: what it tells of a folder, the command it gives, and when it says no."""

import re
import shlex
import shutil

import pytest

from clip_files import some_frames, write_isogd, write_jester, write_jpegs, write_video
from gatescope.__main__ import main
from gatescope.models import GestureNetwork, NetworkConfig

NAMES = ("Swiping Up", "Thumb Up", "Stop Sign")


@pytest.fixture(autouse=True)
def a_small_description(tmp_path, monkeypatch):
    """The described network at a size of tests; the paper's takes seconds for a step."""
    described = tmp_path / "trainings"
    described.mkdir()
    for name in ("jester", "isogd"):
        text = f'[clips]\nset = "{name}"\nroot = "nowhere"\n[network]\nwidth = 0.03125\nsize = 16\n'
        (described / f"{name}.toml").write_text(text + "[training]\nepochs = 2\nbatch_size = 2\n")
    monkeypatch.setattr("gatescope.trainings.outlook.TRAININGS", described)
    network = GestureNetwork(NetworkConfig.small("a", num_classes=2, size=16, width=1 / 32))
    network.save(tmp_path / "checkpoints" / "a-0" / "network.safetensors")
    monkeypatch.setattr("gatescope.trainings.outlook.CHECKPOINTS", tmp_path / "checkpoints")


@pytest.fixture
def jester(tmp_path):
    root = write_jester(tmp_path / "of mine", labels=NAMES, num_clips=7)
    (root / "jester-v1-validation.csv").write_text("2;Thumb Up\n5;Thumb Up\n")
    return root


def told(capsys, root, *more):
    status = main(["check", str(root), *more])
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    return status, printed.out, printed.err


def test_a_good_set_is_described_and_the_command_to_train_on_it_given(jester, tmp_path, capsys):
    (jester / "20bn-jester-v1" / "3" / "00004.jpg").unlink()
    shutil.rmtree(jester / "20bn-jester-v1" / "7")
    status, out, err = told(capsys, jester)
    assert (status, err) == (0, "")
    assert "frames in 20bn-jester-v1/<id>/: 6 clips for train; 3 of 3 classes, 2 clips each" in out
    assert "2 clips for valid; 1 of 3 classes" in out
    assert "left out: 1\n" in out and "7: is missing, though line 7" in out
    assert "folders looked into: 8 of 8" in out and "frames a clip: 5 to 6" in out
    assert "1 of 6 frames are missing, the first is 4" in out
    assert "clips decoded: 8 of 8" in out and "64 px wide, 48 px high" in out
    assert re.search(r"time: about \d+ (seconds|minutes); ", out)
    assert re.search(r"memory: about [\d.]+ (kB|MB) for batches of 2", out) and re.search(
        "disk: the clips take about", out
    )
    (command,) = re.findall("^next: (.*)", out, re.MULTILINE)
    assert re.match(r"\S*gatescope train ", command)
    # It is a command that works, and clips packed meanwhile are the same clips.
    words = shlex.split(command)[1:]
    words[1] = str(tmp_path / "trainings" / "jester.toml")
    words[words.index("--out") + 1] = str(tmp_path / "run")
    assert main(words) == 0
    assert main(["pack", str(jester), "--out", str(tmp_path / "packed")]) == 0
    assert "8 clips packed, 1 left out;" in capsys.readouterr().out
    words[words.index("--root") + 1] = str(tmp_path / "packed")
    assert main(words) == 0
    status, packed, _ = told(capsys, tmp_path / "packed")
    assert status == 0 and "packed: 6 clips for train" in packed and "left out: 1\n" in packed


def unlabelled(root):
    (root / "jester-v1-validation.csv").write_text("id;label\n2;Thumb Up\n5;Thump Up\n")


SPOILT = {
    "no list for validation": (lambda root: (root / "jester-v1-validation.csv").unlink(), "no clip for valid"),
    "no frames at all": (lambda root: shutil.rmtree(root / "20bn-jester-v1"), "no clip for train"),
    "one class": (lambda root: (root / "jester-v1-train.csv").write_text("1;Swiping Up\n"), "clips of 1 class"),
    "an unknown label": (unlabelled, "'Thump Up' is no label while no clip has"),
    "a damaged frame": (
        lambda root: (root / "20bn-jester-v1" / "4" / "00002.jpg").write_bytes(b""),
        "stops at a clip that is unreadable",
    ),
    "a folder without frames": (
        lambda root: [path.unlink() for path in (root / "20bn-jester-v1" / "6").iterdir()],
        "no usable frames",
    ),
}


@pytest.mark.parametrize("what", SPOILT)
def test_what_cannot_be_trained_on_is_said_with_the_reason(jester, capsys, what):
    spoil, reason = SPOILT[what]
    spoil(jester)
    status, out, err = told(capsys, jester, "--all")
    assert status == 1 and err.startswith("It cannot be trained on as it is:") and reason in err
    assert "next:" not in out


def test_ones_own_videos_are_checked_for_fine_tuning(tmp_path, capsys):
    for name in ("wave", "clap"):
        for number in range(2):
            (tmp_path / "own" / name).mkdir(parents=True, exist_ok=True)
            write_video(tmp_path / "own" / name / f"{number}.mkv", some_frames(4))
    status, out, _ = told(capsys, tmp_path / "own")
    assert status == 0 and "a folder of clips, 2 classes: 4 clips; 2 of 2 classes, 2 clips each" in out
    assert re.search(f"next: .*gatescope fine-tune .* {tmp_path}/own --out", out)
    (tmp_path / "own" / "wave" / "1.mkv").unlink()
    status, _, err = told(capsys, tmp_path / "own")
    assert status == 1 and "a single clip" in err
    for kind in ("flat", "nothing"):
        (tmp_path / kind).mkdir()
    write_jpegs(tmp_path / "flat" / "1", some_frames(3))
    status, out, err = told(capsys, tmp_path / "flat")
    assert status == 1 and "1 clips have no label" in err and "clips decoded: 1 of 1" in out
    for place in ("nothing", "nowhere"):
        status, _, err = told(capsys, tmp_path / place)
        assert status == 1 and place in err


LATIN = "1;Café\n2;Thumb Up\n3;Café\n".encode("latin-1")
LISTS = {
    "labels of another encoding": ("jester-v1-labels.csv", "Café\nThumb Up\n".encode("latin-1")),
    "a list of another encoding": ("jester-v1-train.csv", LATIN),
    "one class": ("jester-v1-train.csv", b"1;Swiping Up\n4;Swiping Up\n"),
    "no labels in a list": ("jester-v1-train.csv", b"1\n2\n"),
    "a class that is no text": ("caf\udce9", None),
    "a class of two lines": ("a\nb", None),
    "a table of another encoding": (
        "own.csv",
        "0.mkv,café\n1.mkv,café\n2.mkv,a\n3.mkv,a\n4.mkv,b\n5.mkv,b\n".encode("latin-1"),
    ),
    "a table with a missing clip": ("own.csv", b"0.mkv,a\n1.mkv,a\n2.mkv,b\n3.mkv,b\n9.mkv,b\n"),
}


@pytest.mark.parametrize("what", LISTS)
def test_what_check_refuses_a_training_refuses_too_before_it_begins(jester, tmp_path, capsys, what):
    name, content = LISTS[what]
    root, out = jester, tmp_path / "run"
    command = ["train", tmp_path / "trainings" / "jester.toml", "--cell", "a", "--root"]
    if content is None or name == "own.csv":
        command = ["fine-tune", tmp_path / "checkpoints" / "a-0" / "network.safetensors"]
        clips = [tmp_path / "own" / f"{number}.mkv" for number in range(6)]
        clips = clips if content else [tmp_path / "own" / each / f"{k}.mkv" for each in (name, "b") for k in range(2)]
        root = tmp_path / "own" / (name if content else "")
        for path in clips:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_video(path, some_frames(4))
    if content:
        (tmp_path / ("own" if name == "own.csv" else "of mine") / name).write_bytes(content)
    status, _, err = told(capsys, root)
    assert status == 1 and err.startswith("It cannot be trained on as it is:")
    assert main([str(each) for each in [*command, root, "--out", out]]) == 1
    assert not out.exists() and len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.slow
def test_isogds_videos_are_checked_too(tmp_path, capsys):
    for split in ("train", "valid"):
        write_isogd(tmp_path / "isogd", split=split)
    status, out, _ = told(capsys, tmp_path / "isogd")
    assert status == 0 and "IsoGD, videos listed in train_list.txt: 3 clips for train; 3 of 249 classes" in out
    assert "folders looked into" not in out and "isogd.toml" in out
