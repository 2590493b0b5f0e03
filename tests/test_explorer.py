import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from traitlets import TraitError

from clip_files import write_video
from gatescope.explorer.answers import Exploration, Question
from gatescope.explorer.explanations import explain
from gatescope.explorer.live_scrubber import LiveScrubber
from gatescope.explorer.reading import read_dropped, waited_for
from gatescope.explorer.request_thread import Report, RequestThread
from gatescope.explorer.upload import MAX_BYTES, Upload, printable
from gatescope.loaders import Clip, ClipError, read_clip, to_batch, with_hands
from gatescope.loaders.hands import has_networks
from gatescope.measures.sample import rendered
from gatescope.models import GestureNetwork, NetworkConfig
from gatescope.pictures import explore
from gatescope.pictures.packing import Group, pack, quantise
from gatescope.recordings import intervene, record
from gatescope.recordings.attribution import grad_cam, integrated_gradients, still

NAMES = ["Swiping Left", "Swiping Right", "Rolling Hand Forward"]
FACTS = {"size": 32, "difficulty": 0.0, "classes": [0, 1, 12]}
QUIET = Report(lambda words: None, lambda: True)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Where networks of each cell lie, with cards as trainings leave them."""
    folder = tmp_path_factory.mktemp("checkpoints")

    def save(name, cell, **settings):
        config = NetworkConfig.small(cell, num_classes=3, **{"width": 1 / 32, "size": 32, **settings})
        with torch.random.fork_rng():
            torch.manual_seed(0)
            network = GestureNetwork(config)
        network.eval().save(folder / f"{name}.safetensors", data={"names": NAMES, "clips": FACTS}, seed=1)
        return str(folder / f"{name}.safetensors")

    return {
        "a": save("a", "a"),
        "b": save("b", "b"),
        "convlstm": save("convlstm", "convlstm"),
        "larger": save("larger", "a", size=48),
    }


@pytest.fixture(scope="module")
def exploration(saved):
    return Exploration(list(saved.values()))


@pytest.fixture
def asked(saved):
    return Question(checkpoint=saved["convlstm"], gesture="Swiping Right")


@pytest.fixture
def explorer(saved, tmp_path):
    explorer = explore([saved["a"], saved["b"]])
    explorer.exploration._cache = tmp_path
    yield explorer
    explorer.work.cancel()
    explorer.box.close_all()


def settled(explorer):
    """What it says when its thread has nothing left to do."""
    explorer.work._pool.submit(lambda: None).result(60)
    return explorer.picture.says


def video(path, num_frames=20, codec="libx264"):
    """A video of a square that moves."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=12)
        stream.width = stream.height = 64
        for number in range(num_frames):
            frame = np.zeros((64, 64, 3), np.uint8)
            frame[20:40, 2 * number : 2 * number + 20] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        container.mux(stream.encode())
    return path


@pytest.mark.slow
def test_the_answer_is_what_the_network_records_of_the_clip_asked_for(exploration, asked):
    answer = exploration.answer(asked, QUIET)
    network = exploration.network(asked.checkpoint)
    assert answer.clip.name == "Swiping Right" and "synthetic" in answer.packed.header["title"]
    with record(network, "layer1.*") as recording, torch.no_grad():
        network(to_batch(answer.clip, **network.config.input))
    (group,) = answer.groups
    assert set(group.maps) == set(recording)
    for name, maps in group.maps.items():
        np.testing.assert_allclose(maps, recording[name][0], atol=1e-6)
    others = [exploration.answer(replace(asked, number=number), QUIET).clip for number in (1, 2)]
    assert [other.name for other in others] == ["Swiping Right"] * 2
    assert len({clip.frames.tobytes() for clip in (answer.clip, *others)}) == 3


def test_a_change_is_shown_beside_the_network_as_it_is(exploration, asked):
    asked = replace(asked, point="layer1.f", replacement="space mean")
    answer = exploration.answer(asked, QUIET)
    chart, before, after, change = answer.groups
    assert before.orders == after.orders == change.orders and before.link == after.link == change.link
    network = exploration.network(asked.checkpoint)
    x = to_batch(answer.clip, **network.config.input)

    def flat(gate):
        return gate.mean((2, 3), keepdim=True).expand_as(gate)

    with intervene(network, {"layer1.f": flat}), record(network, "layer1.*") as recording, torch.no_grad():
        logits = network(x)[0]
    np.testing.assert_allclose(after.maps["layer1.c"], recording["layer1.c"][0], atol=1e-6)
    assert not np.allclose(before.maps["layer1.c"], after.maps["layer1.c"])
    assert "forget gate f replaced by space mean: " in answer.words
    assert f"{NAMES[int(logits.argmax())]} {logits.softmax(0).max():.0%}" in answer.words


@pytest.mark.slow
@pytest.mark.usefixtures("shapes_unchecked")
@pytest.mark.parametrize("layer", ["layer1", "layer2"])
def test_whatever_is_offered_can_be_asked(exploration, saved, layer):
    for cell in ("convlstm", "a", "b"):
        asked = Question(checkpoint=saved[cell], gesture="Swiping Left", layer=layer)
        offered = exploration.answer(asked, QUIET).offered
        assert "all gates" in offered and f"{layer}.h" in offered
        for point, (_, replacements) in offered.items():
            for replacement in replacements:
                answer = exploration.answer(replace(asked, point=point, replacement=replacement), QUIET)
                assert len(answer.groups) >= 2, (cell, point, replacement)


def test_attention_can_be_put_on_the_hand_where_it_is_known(exploration, saved):
    asked = Question(saved["b"], gesture="Swiping Left", point="layer1.attention", replacement="hand")
    _, _, after, _ = exploration.answer(asked, QUIET).groups
    np.testing.assert_allclose(after.maps["layer1.attention"].sum((1, 2, 3)), 1, rtol=1e-5)


@pytest.mark.slow
def test_a_change_that_one_of_two_networks_has_no_place_for_is_left_out(exploration, saved):
    asked = Question(saved["a"], saved["b"], gesture="Swiping Left", point="layer1.attention", replacement="uniform")
    answer = exploration.answer(asked, QUIET)
    assert "layer1.attention" not in answer.offered and "layer1.f" in answer.offered
    assert "replaced" not in answer.words.split(saved["b"])[0]


def test_a_network_stands_beside_its_untrained_twin_and_not_beside_one_of_other_input(exploration, saved):
    asked = Question(saved["a"], f"{saved['a']}, untrained", gesture="Swiping Left")
    answer = exploration.answer(asked, QUIET)
    assert [group.title for group in answer.groups] == [f"{saved['a']} layer 1", f"{saved['a']}, untrained layer 1"]
    with pytest.raises(ValueError, match="differ in input"):
        exploration.answer(replace(asked, beside=saved["larger"]), QUIET)


def test_an_untrained_twin_has_the_seed_of_the_training_and_norms_that_know_rendered_clips(exploration, saved):
    trained, twin = (exploration.network(f"{saved['a']}{ending}") for ending in ("", ", untrained"))
    with torch.random.fork_rng():
        torch.manual_seed(1)
        assert torch.equal(twin.head.weight, GestureNetwork(trained.config).head.weight)
    x = torch.cat([to_batch(clip, **trained.config.input) for clip in rendered(trained, 3)])
    with torch.no_grad():
        np.testing.assert_allclose(twin.res3d.stem_norm.running_mean, twin.res3d.stem(x).mean((0, 2, 3, 4)), rtol=1e-4)


@pytest.mark.slow
def test_what_explains_an_answer_is_shown_with_it_until_the_clip_is_another(exploration, asked):
    exploration.explain(asked, "Grad-CAM", 2, QUIET)
    *_, explained = exploration.answer(replace(asked, point="layer1.f", replacement="constant"), QUIET).groups
    ((title, maps),) = explained.maps.items()
    assert title.startswith("Grad-CAM for Rolling Hand Forward")
    network = exploration.network(asked.checkpoint)
    x = to_batch(exploration.answer(asked, QUIET).clip, **network.config.input)
    np.testing.assert_allclose(maps[:, 0], grad_cam(network, x, torch.tensor([2]), "layer1.h")[0], atol=1e-7)
    assert len(exploration.answer(replace(asked, number=1), QUIET).groups) == 1


@pytest.mark.slow
@pytest.mark.parametrize(("method", "size"), [("conductance", 8), ("integrated gradients", 32)])
def test_every_explanation_has_a_map_for_each_step_and_can_be_left(exploration, asked, method, size):
    said = []
    exploration.explain(asked, method, None, Report(said.append, lambda: True))
    *_, explained = exploration.answer(asked, QUIET).groups
    (maps,) = explained.maps.values()
    assert maps.shape == (8, 1, size, size) and np.isfinite(maps).all() and maps.any()
    passes = [words for words in said if "passes" in words]
    assert len(passes) > 3
    wanted = iter([True] * (len(said) - 2))
    worker = RequestThread(lambda words: None, pytest.fail)
    report = Report(lambda words: None, lambda: next(wanted, False))
    worker.ask(lambda _: exploration.explain(asked, method, None, report)).result(60)
    assert next(wanted, None) is None
    # Nothing listens to the network any more.
    assert not exploration.network(asked.checkpoint).layer1._forward_pre_hooks


@pytest.mark.slow
def test_integrated_gradients_of_a_step_are_the_sum_over_its_frames(exploration, asked):
    network = exploration.network(asked.checkpoint)
    x = to_batch(exploration.answer(asked, QUIET).clip, **network.config.input)
    number, maps = explain(network, x, 2, "integrated gradients", "layer1", lambda passes: None)
    added = integrated_gradients(network, x, still(x), torch.tensor([2])).values[0].sum(0).numpy()  # frame, row, column
    assert number == 2 and len(added) == 2 * len(maps)
    np.testing.assert_allclose(maps, added[0::2] + added[1::2], rtol=1e-4, atol=1e-9)
    # Only a sum keeps what makes them complete: together they are the change of the score.
    assert maps.sum() == pytest.approx(added.sum(), rel=1e-3)


def test_of_several_requests_the_newest_is_answered():
    done, said, failed = [], [], []
    worker = RequestThread(said.append, failed.append)
    begun, go_on = threading.Event(), threading.Event()

    def slow(report):
        begun.set()
        go_on.wait(60)
        report("slow work goes on")
        done.append("slow")

    first = worker.ask(slow)
    begun.wait(60)
    for name in ("second", "third"):
        last = worker.ask(lambda report, name=name: done.append(name))
    go_on.set()
    first.result(60), last.result(60)
    assert done == ["third"] and said == [] and failed == []


def test_cancelled_work_ends_at_its_next_report_and_nobody_hears_of_its_errors():
    failed = []
    worker = RequestThread(lambda words: None, failed.append)
    begun, go_on = threading.Event(), threading.Event()

    def slow(report):
        begun.set()
        go_on.wait(60)
        raise ValueError("nobody asks any more")

    running = worker.ask(slow)
    begun.wait(60)
    worker.cancel()
    go_on.set()
    running.result(60)
    assert failed == []
    worker.ask(lambda report: 1 / 0).result(60)
    assert isinstance(failed[0], ZeroDivisionError)


@pytest.mark.slow
def test_controls_ask_and_the_picture_answers(explorer, saved):
    first = explorer.picture.picture["number"]
    explorer.controls.gesture.value = "Rolling Hand Forward"
    assert " answers " in settled(explorer)["words"]
    assert explorer.answer.clip.name == "Rolling Hand Forward"
    explorer.controls.point.value = "layer1.f"
    settled(explorer)
    assert "replaced by" in explorer.picture.says["words"]
    assert explorer.controls.replacement.value in explorer.controls.replacement.options
    # The other layer has another forget gate: nothing is replaced.
    explorer.controls.layer.value = "layer2"
    settled(explorer)
    assert explorer.controls.point.value == "" and "replaced" not in explorer.picture.says["words"]
    assert explorer.picture.picture["number"] > first
    with pytest.raises(TraitError):
        explorer.controls.checkpoint.value = "another"


@pytest.mark.slow
def test_one_button_shows_the_clip_on_which_a_change_of_all_gates_costs_most(saved, tmp_path):
    explorer = explore([saved["a"], saved["convlstm"]])
    explorer.exploration._cache = tmp_path
    controls = explorer.controls
    controls.presets["Average all gates of both layers over space"].click()
    words = settled(explorer)["words"]
    # The cell with gates that are maps, whichever was chosen.
    assert controls.checkpoint.value == saved["convlstm"] and words.startswith("Of 6 validation clips")
    assert "all gates of both layers replaced by space mean: " in words
    library = explorer.exploration.library(saved["convlstm"], QUIET)
    found = library.finding([f"layer{layer}.{gate}" for layer in (1, 2) for gate in "ifo"], "space mean", QUIET)
    np.testing.assert_array_equal(explorer.answer.clip.frames, library.sample.clips[found.index].frames)
    titles = [group.title.partition(".safetensors ")[2] for group in explorer.answer.groups]
    layers = [f"layer {layer}, {when}" for layer in (1, 2) for when in ("before", "after", "after − before")]
    assert titles == ["scores before and after", *layers]
    controls.undo.click()
    assert "replaced" not in settled(explorer)["words"] and controls.layer.value == "layer?"
    # One kind of gate in both layers, and one gate of one layer.
    offered = dict((point, words) for words, point in controls.point.options)
    assert offered["f"] == "forget gate f of both layers" and offered["layer2.f"] == "forget gate f, layer 2"
    controls.point.value = "f"
    settled(explorer)
    changed = {name for group in explorer.answer.groups if "after − before" in group.title for name in group.maps}
    assert {"layer1.f", "layer2.f"} < changed


@pytest.mark.slow
def test_the_class_to_explain_is_the_answer_from_the_start(explorer):
    predicted = explorer.answer.predicted[0]
    assert explorer.controls.label.options[0] == (f"{predicted}, the answer", None)
    assert explorer.controls.label.value is None and predicted in NAMES


@pytest.mark.slow
def test_clips_with_a_similar_course_are_shown_and_opened(explorer):
    controls = explorer.controls
    controls.first.value, controls.last.value, explorer.picture.channel = 2, 7, 3
    controls.find.click()
    assert "steps 2 to 7" in settled(explorer)["words"]
    courses = explorer.answer.courses["layer1.h"][1][:, 3]
    wanted = explorer.exploration.library(controls.checkpoint.value, QUIET).alike("layer1.h", 3, courses, (1, 6))
    others = [(place, r) for place, r in wanted if place != wanted[0][0]]
    assert wanted[0][1] == pytest.approx(1) and len(explorer.found.children) == len(others)
    heading, picture, lines, link = explorer.found.children[0].children
    assert bytes(picture.value).startswith(b"\xff\xd8") and "<polyline" in lines.value
    assert link.description == f"Open, r = {others[0][1]:.2f}"
    link.click()
    settled(explorer)
    sample = explorer.exploration.library(controls.checkpoint.value, QUIET).sample
    np.testing.assert_array_equal(explorer.answer.clip.frames, sample.clips[others[0][0]].frames)
    assert controls.gesture.value in heading.value
    # They belong to the clip that was shown: another one of the reader's choice ends them.
    controls.number.value = 5
    settled(explorer)
    assert not explorer.found.children
    controls.first.value, controls.last.value = 2, 3
    controls.find.click()
    assert "at least 3 steps; got 2" in settled(explorer)["words"]


@pytest.mark.slow
def test_a_recorded_clip_stands_beside_what_the_network_gets_and_how_far_it_is_from_the_training(explorer, tmp_path):
    assert explorer.original.layout.display == "none"
    explorer.controls.path.value = str(video(tmp_path / "good.mp4"))
    explorer.controls.kind.value = "path"
    words = settled(explorer)["words"]
    assert "knows only 3 rendered gestures" in words and "nearest of 9 training clips" in words
    assert "of 6 validation clips" in words
    assert ("Measured hand: none was found" if has_networks() else "hands fetch") in words
    shown = explorer.original.value
    assert "64 × 64 px, 20 frames in 1.7 s" in shown and "16 frames of 32 × 32 px" in shown
    assert shown.count("data:image/webp;base64,") == 2 and shown.count("prefers-reduced-motion") == 2
    explorer.controls.kind.value = "rendered"
    assert "knows only" not in settled(explorer)["words"] and explorer.original.value == ""


@pytest.mark.slow
@pytest.mark.skipif(not has_networks(), reason="the hand networks are not in data/hands: `gatescope hands fetch`")
def test_states_are_shown_before_the_hand_which_is_then_outlined_and_offered(saved, shared, tmp_path):
    explorer = explore([saved["b"]])
    explorer.exploration._cache = tmp_path
    shown = []
    explorer.picture.observe(lambda change: shown.append(change["new"]["header"]), "picture")
    explorer.controls.path.value = str(shared / "realdata/intel_asl/asl_gestures/no.mkv")
    explorer.controls.kind.value = "path"
    words = settled(explorer)["words"]
    assert [header["hand"] is None for header in shown] == [True, False]
    assert [header["title"].endswith("measured hand") for header in shown] == [False, True]
    assert explorer.answer.clip.hand_source == "measured" and "Measured hand: outlined in" in words
    # From now on it is known.
    explorer.controls.point.value = "layer1.attention"
    explorer.controls.replacement.value = "hand"
    settled(explorer)
    assert all(header["hand"] is not None for header in shown[2:]) and "replaced by hand" in explorer.answer.words
    assert not list(tmp_path.rglob("*.npz"))
    explorer.box.close_all()


@pytest.mark.slow
def test_a_depth_clip_gets_a_control_for_its_unit(explorer, tmp_path):
    from PIL import Image

    unit = explorer.controls.depth_unit_mm
    assert unit.layout.display == "none"
    for number in range(12):
        depth = np.full((40, 40), 2000, np.uint16)
        depth[10:20, number : number + 10] = 1000
        Image.fromarray(depth).save(tmp_path / f"{number}.png")
    explorer.controls.path.value = str(tmp_path)
    explorer.controls.kind.value = "path"
    assert not settled(explorer)["wrong"] and unit.layout.display is None
    assert "depth from 1,000 to 2,000 mm" in explorer.original.value
    unit.value = 0.125
    settled(explorer)
    assert explorer.answer.original.depth.max() == 250 and "depth from 125 to 250 mm" in explorer.original.value
    explorer.controls.kind.value = "rendered"
    settled(explorer)
    assert unit.layout.display == "none"


def test_nobody_waits_for_a_decoder_after_cancel():
    failed, going = [], threading.Event()
    worker = RequestThread(lambda words: going.set(), failed.append)
    end = threading.Event()
    decoding = worker.ask(lambda report: waited_for(lambda: end.wait(60), report))
    assert going.wait(60)
    worker.cancel()
    decoding.result(10)
    assert not end.is_set() and failed == []
    end.set()
    assert waited_for(lambda: 3, QUIET) == 3
    with pytest.raises(ZeroDivisionError):
        waited_for(lambda: 1 / 0, QUIET)


@pytest.mark.slow
def test_errors_are_said_in_words(explorer, tmp_path):
    explorer.controls.kind.value = "path"
    assert "Write the path" in settled(explorer)["words"]
    explorer.controls.path.value = str(tmp_path / "nowhere")
    says = settled(explorer)
    assert says["wrong"] and not says["busy"] and "does not exist; name a video" in says["words"]
    (tmp_path / "broken.mp4").write_bytes(b"no video" * 100)
    explorer.controls.path.value = str(tmp_path / "broken.mp4")
    assert "broken.mp4: the video does not decode" in settled(explorer)["words"]
    video(tmp_path / "good.mp4")
    explorer.controls.path.value = str(tmp_path / "good.mp4")
    assert not settled(explorer)["wrong"]
    assert explorer.controls.number.max == 0 and explorer.controls.gesture.layout.display == "none"


def test_a_path_is_given_from_the_start_or_refused(saved, tmp_path):
    video(tmp_path / "good.mp4")
    explorer = explore([saved["a"]], str(tmp_path / "good.mp4"))
    assert "good.mp4" in explorer.answer.clip.source and "synthetic" not in explorer.answer.packed.header["title"]
    with pytest.raises(FileNotFoundError, match="does not exist"):
        explore([saved["a"]], str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="neither a .safetensors file"):
        explore(["nowhere-0"])


@pytest.mark.slow
def test_where_no_widget_lives_there_is_a_film_strip(explorer):
    data, metadata = explorer._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data
    assert data["image/png"].startswith("iVBOR") and "hidden state h" in metadata["image/png"]["alt"]


@pytest.mark.slow
def test_a_notebook_keeps_the_film_strip_in_an_output_without_the_widget(explorer, monkeypatch):
    shown = []
    monkeypatch.setattr("gatescope.explorer.explorer.display", lambda data, **_: shown.append(data))
    explorer._ipython_display_()
    style, strip, widget = shown
    assert "gatescope-outputs" in style["text/html"]
    assert set(strip) == {"image/png", "text/plain"}
    assert "application/vnd.jupyter.widget-view+json" in widget and "image/png" not in widget


def messages_of(picture, monkeypatch):
    """What a picture answers to a page's messages."""
    sent = []
    monkeypatch.setattr(picture, "send", lambda content, buffers=None: sent.append((content, buffers)))

    def hear(content, *buffers):
        sent.clear()
        picture._hear(picture, content, [memoryview(each) for each in buffers])
        return list(sent)

    return hear


@pytest.mark.slow
def test_a_dropped_video_is_looked_at_and_removed(explorer, tmp_path, monkeypatch):
    content = video(tmp_path / "mine.mp4").read_bytes()
    hear = messages_of(explorer.picture, monkeypatch)
    files = [{"name": "mine.mp4", "size": len(content)}]
    assert hear({"what": "files", "drop": 7, "id": 1, "files": files}) == [({"id": 1}, [b"1"])]
    folder = explorer.picture._upload[1].files[0].parent
    half = len(content) // 2
    assert hear({"what": "piece", "drop": 7, "id": 2, "place": 0}, content[:half]) == [({"id": 2}, [b"1"])]
    assert (folder / "mine.mp4").read_bytes() == content[:half]
    assert hear({"what": "piece", "drop": 7, "id": 3, "place": 0}, content[half:]) == [({"id": 3}, [b"1"])]
    assert " answers " in settled(explorer)["words"]
    assert explorer.controls.kind.value == "own" and "mine.mp4" in explorer.answer.clip.source
    assert not folder.exists()
    explorer.controls.kind.value = "rendered"
    settled(explorer)
    explorer.controls.kind.value = "own"
    settled(explorer)
    assert "mine.mp4" in explorer.answer.clip.source


@pytest.fixture(scope="module")
def dropped_on(saved, tmp_path_factory):
    """An explorer for several clips, which encodes its training clips once."""
    explorer = explore([saved["a"]])
    explorer.exploration._cache = tmp_path_factory.mktemp("cache")
    yield explorer
    explorer.box.close_all()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["no hand", "black", "one frame", "4K", "portrait", "three hands"])
def test_a_clip_of_any_kind_is_answered_and_its_hands_are_measured(kind, dropped_on, shared, tmp_path):
    explorer, shows_hand = dropped_on, kind not in ("no hand", "black")
    signer = read_clip(shared / "realdata/intel_asl/asl_gestures/no.mkv").frames[24:28]
    frames = {
        "no hand": lambda: signer[:, :120, :160],
        "black": lambda: np.zeros_like(signer),
        "one frame": lambda: signer[:1],
        "4K": lambda: signer[:1].repeat(6, 1).repeat(6, 2),
        "portrait": lambda: signer[:, :, 120:440],
        "three hands": lambda: np.concatenate([signer[:, :, 80:360]] * 3, axis=2),
    }[kind]()
    path = write_video(tmp_path / "clip.mkv", frames, "mjpeg", fps=15)
    upload = Upload([{"name": "clip.mkv", "size": path.stat().st_size}])
    upload.take(0, path.read_bytes())
    explorer._take(upload)
    says, answer = settled(explorer), explorer.answer
    assert not says["wrong"] and " answers " in says["words"]
    assert answer.original.frames.shape == frames.shape and answer.clip.frames.shape == (16, 32, 32, 3)
    if not has_networks():  # only the hands need them
        assert "hands fetch" in says["words"]
        return
    # Two hands at most are followed: of three in a row these are not in the middle, which the network gets.
    what = "found in 100% of the frames, beside" if kind == "three hands" else "outlined in 100%"
    assert f"Measured hand: {what if shows_hand else 'none was found'}" in says["words"]
    assert (answer.clip.hand_mask is not None) == (shows_hand and kind != "three hands")
    found = with_hands(read_clip(path), cache=tmp_path / "hands")
    assert found.hand_mask.shape == frames.shape[:3] and found.hand_mask.any() == shows_hand
    assert found.hands.found.shape == (len(frames), 2) and found.hands.found.any() == shows_hand


def test_a_broken_file_is_named_as_the_reader_knows_it(explorer, tmp_path, monkeypatch):
    content = video(tmp_path / "mine.mp4").read_bytes()[:-200]
    hear = messages_of(explorer.picture, monkeypatch)
    hear({"what": "files", "drop": 7, "id": 1, "files": [{"name": "cut <b>.mp4", "size": len(content)}]})
    folder = explorer.picture._upload[1].files[0].parent
    hear({"what": "piece", "drop": 7, "id": 2, "place": 0}, content)
    words = settled(explorer)["words"]
    assert "cut <b>.mp4" in words and str(folder) not in words and explorer.picture.says["wrong"]
    assert not folder.exists()


def test_a_drop_that_is_cancelled_leaves_nothing(explorer, monkeypatch):
    hear = messages_of(explorer.picture, monkeypatch)
    hear({"what": "files", "drop": 7, "id": 1, "files": [{"name": "mine.mp4", "size": 10}]})
    folder = explorer.picture._upload[1].files[0].parent
    hear({"what": "cancel"})
    assert not folder.exists() and "Cancelled" in explorer.picture.says["words"]
    assert hear({"what": "piece", "drop": 7, "id": 2, "place": 0}, b"late") == [({"id": 2}, [b""])]
    hear({"what": "files", "drop": 8, "id": 2, "files": [{"name": "other.mp4", "size": 4}]})
    assert hear({"what": "piece", "drop": 7, "id": 2, "place": 0}, b"late") == [({"id": 2}, [b""])]
    hear({"what": "lost", "name": "a folder"})
    assert "cannot read \u2068a folder\u2069" in explorer.picture.says["words"]
    hear({"what": "files", "drop": 9, "id": 3, "files": [{"name": "huge.mp4", "size": MAX_BYTES + 1}]})
    assert "200 MB" in explorer.picture.says["words"]


def test_several_pictures_are_one_clip(tmp_path):
    from PIL import Image

    files = [tmp_path / f"frame {number}.png" for number in range(12)]
    for number, file in enumerate(files):
        Image.fromarray(np.full((8, 8, 3), number, np.uint8)).save(file)
    clip = read_dropped(files)
    assert clip.frames[:, 0, 0, 0].tolist() == list(range(12)) and clip.source == "12 pictures"
    files[5].write_bytes(b"no picture")
    with pytest.raises(ClipError, match="frame 5.png.*does not decode"):
        read_dropped(files)
    with pytest.raises(ClipError, match="2 files arrived: drop one video"):
        read_dropped([video(tmp_path / "one.mp4"), video(tmp_path / "two.mp4")])
    (tmp_path / "notes.txt").write_text("no clip")
    with pytest.raises(ClipError, match="notes.txt.*does not decode"):
        read_dropped([tmp_path / "notes.txt"])


def test_one_picture_that_moves_is_a_clip(tmp_path):
    from PIL import Image

    frames = [Image.new("RGB", (8, 8), (60 * number, 0, 0)) for number in range(4)]
    for name in ("clip.webp", "clip.png", "clip.gif"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], duration=50)
        clip = read_dropped([tmp_path / name])
        assert len(clip.frames) == 4 and clip.source == name


@pytest.mark.parametrize("name", ["../../outside.mp4", "/outside.mp4", "..\\..\\outside.mp4", "C:\\outside.mp4"])
def test_a_name_leads_nowhere_else(name):
    upload = Upload([{"name": name, "size": 3}])
    upload.take(0, b"abc")
    (file,) = upload.files
    assert file.name == "outside.mp4" and file.read_bytes() == b"abc" and upload.missing == 0
    with pytest.raises(ClipError, match="more bytes"):
        upload.take(0, b"d")
    upload.remove()
    assert not file.parent.exists()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "no file arrived"),
        ([{"name": "..", "size": 1}], "not allowed"),
        ([{"name": "a\0b.mp4", "size": 1}], "not allowed"),
        ([{"name": "x" * 300, "size": 1}], "200 bytes"),
        ([{"name": "a.png", "size": 1}, {"name": "b/a.png", "size": 1}], "two files have the same name"),
    ],
)
def test_files_that_cannot_be_taken_are_refused(files, message):
    with pytest.raises(ClipError, match=message):
        Upload(files)


def test_a_name_from_outside_is_one_line_that_ends_its_own_direction():
    assert printable("<b>my hand</b>\n\u202e4pm.\x07") == "\u2068<b>my hand</b>  4pm. \u2069"


@pytest.fixture(scope="module")
def big():
    """A group of 256 channels with 6 maps: 38 MB in 8 bits."""
    rng = np.random.default_rng(0)
    maps = {f"layer1.{point}": rng.random((32, 256, 28, 28), dtype=np.float32) for point in "ifogch"}
    return Group("layer 1", maps, orders={"activation sum": np.arange(256.0)})


@pytest.mark.slow
def test_one_channel_of_a_large_recording_comes_at_once(big, exploration, asked, monkeypatch):
    clip = exploration.answer(asked, QUIET).clip
    frames = np.repeat(clip.frames, 2, axis=0)
    packed = pack([big], Clip(frames=frames, fps=12.0, source="noise"), num_channels=1)
    assert len(packed.data) < 1_500_000
    picture = LiveScrubber(on_files=print, on_cancel=print, on_frame=print)
    picture.show([big], packed)
    hear = messages_of(picture, monkeypatch)
    number, took = picture.picture["number"], []
    for channel in (200, 3, 17):
        start = time.perf_counter()
        (answer,) = hear({"what": "channel", "id": channel, "number": number, "group": 0, "channel": channel})
        took.append(time.perf_counter() - start)
    assert min(took) < 0.1
    content, (reply,) = answer
    assert content == {"id": 17}
    # In the order of the panels, as the page takes them.
    place = 0
    for panel in packed.header["groups"][0]["panels"]:
        levels, low, high = quantise(big.maps[panel["name"]][:, 17])
        assert np.frombuffer(reply, "<f4", 2, place) == pytest.approx([low, high])
        assert reply[place + 8 : place + 8 + levels.size] == levels.tobytes()
        place += 8 + levels.size
    assert place == len(reply)
    picture.show([big], packed)
    assert hear({"what": "channel", "id": 1, "number": number, "group": 0, "channel": 3}) == []
