import numpy as np
import pytest
import torch

from gatescope.explorer.own_gestures import OwnGestures, add_clip, num_clips
from gatescope.loaders import ClipError, read_clip
from gatescope.loaders.layouts import SPLITS
from gatescope.models import GestureNetwork, NetworkConfig
from gatescope.pictures import explore


def video(path, across):
    """A square that moves across, or down."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx", rate=12)
        stream.width = stream.height = 64
        for number in range(20):
            frame = np.zeros((64, 64, 3), np.uint8)
            place = slice(2 * number, 2 * number + 20)
            frame[(slice(20, 40), place) if across else (place, slice(20, 40))] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "a.safetensors"
    config = NetworkConfig.small("a", num_classes=3, width=1 / 32, size=32)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = GestureNetwork(config)
    network.eval().save(path, data={"names": ["one", "two", "three"]}, seed=1)
    return str(path)


@pytest.fixture
def recorded(tmp_path):
    """A folder of two classes with three clips each."""
    for name, across in (("left", True), ("down", False)):
        clip = video(tmp_path / f"{name}.webm", across)
        for _ in range(3):
            add_clip(clip, name, tmp_path / "own")
    return tmp_path / "own"


def ended(own):
    """What it says once its thread has nothing left to do."""
    own.work._pool.submit(lambda: None).result(120)
    return own.words.value


BAD = ["", " ", ".", "..", "../up", "a/b", "/tmp/x", "a\\b", ".hidden", "nul\0", "line\nbreak", "\u202egnp", "x" * 61]


@pytest.mark.parametrize("name", [*BAD, *(alias.upper() for aliases in SPLITS.values() for alias in aliases)])
def test_a_name_that_no_class_can_have_is_refused_and_nothing_written(tmp_path, name):
    clip = tmp_path / "clip.webm"
    clip.write_bytes(b"a clip")
    with pytest.raises(ClipError, match="another"):
        add_clip(clip, name, tmp_path / "in" / "own")
    assert [path.name for path in tmp_path.rglob("*")] == ["clip.webm"]


def test_clips_of_a_class_are_numbered_and_never_replaced(tmp_path):
    clip, own = tmp_path / "gesture 1.WEBM", tmp_path / "own"
    clip.write_bytes(b"a clip")
    assert num_clips(own) == {}
    composed, apart = "caf\u00e9", "cafe\u0301"
    paths = [add_clip(clip, name, own) for name in (composed, f" {apart} ", composed)]
    assert [path.relative_to(own).as_posix() for path in paths] == [f"{composed}/00{k}.webm" for k in (1, 2, 3)]
    paths[1].unlink()
    assert add_clip(clip, composed, own).name == "004.webm"
    (own / "empty").mkdir()
    assert num_clips(own) == {composed: 3, "empty": 0}


@pytest.mark.slow
def test_a_training_ends_in_a_network_of_these_classes_or_leaves_nothing(weights, recorded, tmp_path):
    opened = []
    own = OwnGestures(lambda: weights, opened.append, recorded, tmp_path / "runs")
    assert own.listed.value == "Your gestures: down 3, left 3" and not own.train.disabled
    own.words.observe(lambda change: own.cancel.click() if "s left" in change["new"] else None, "value")
    own.train.click()
    assert ended(own) == "The training is cancelled." and not own.train.disabled
    assert opened == [] and list((tmp_path / "runs").iterdir()) == []
    own.words.unobserve_all()
    own.train.click()
    assert ended(own).startswith("Trained: ")
    network = GestureNetwork.load(opened[0])
    assert network.card["data"]["names"] == ["down", "left"] and network.config.num_classes == 2
    assert network.card["metrics"]["clips"]["clips"] == 2
    # A broken clip is named, and the training can be begun again without it.
    (recorded / "left" / "004.webm").write_bytes(b"no video")
    own.train.click()
    assert "004.webm" in ended(own) and not own.train.disabled
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["1"]


def test_an_example_is_kept_and_a_network_that_knows_it_is_opened(weights, recorded, tmp_path):
    explorer = explore([weights])
    explorer.own.folder = recorded
    clip = (recorded / "left" / "001.webm").read_bytes()

    def give(name):
        explorer.picture._hear(
            None,
            {"what": "files", "drop": 1, "files": [{"name": "g.webm", "size": len(clip)}], "class": name, "id": "1"},
            [],
        )
        explorer.picture._hear(None, {"what": "piece", "drop": 1, "place": 0, "id": "2"}, [memoryview(clip)])

    give("up")
    assert explorer.own.listed.value == "Your gestures: down 3, left 3, up 1" and explorer.own.train.disabled
    assert (recorded / "up" / "001.webm").read_bytes() == clip and len(read_clip(recorded / "up" / "001.webm").frames)
    give("../up")
    assert explorer.picture.says["wrong"] and "plain name" in explorer.picture.says["words"]
    explorer.own.undo.click()
    assert explorer.own.listed.value == "Your gestures: down 3, left 3" and not (recorded / "up").exists()
    assert explorer.own.undo.layout.display == "none"  # what was there before is not for one click to delete
    explorer.picture.say("")
    explorer.picture._hear(None, {"what": "class", "class": "../up", "id": "3"}, [])
    assert explorer.picture.says["wrong"] and "plain name" in explorer.picture.says["words"]
    config = NetworkConfig.small("a", num_classes=2, width=1 / 32, size=32)
    trained = tmp_path / "trained.safetensors"
    GestureNetwork(config).eval().save(trained, data={"names": ["down", "left"]}, seed=1)
    explorer._open(str(trained))
    explorer.work._pool.submit(lambda: None).result(60)
    assert explorer.controls.checkpoint.value == str(trained)
    assert explorer.answer.predicted[0] in ("down", "left") and not explorer.picture.says["wrong"]
    explorer.box.close_all()
