import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image


def clip_of(num_frames=8, size=16):
    from gatescope.loaders import Clip

    frames = np.random.default_rng(0).integers(0, 256, (num_frames, size, size, 3), dtype=np.uint8)
    return Clip(frames=frames, fps=12.0, source="noise")


@pytest.fixture
def scrubber():
    from gatescope.pictures import Scrubber

    return Scrubber


@pytest.fixture
def watched():
    """What a small network made of one clip."""
    from gatescope.models import GestureNetwork, NetworkConfig
    from gatescope.recordings import watch

    def make(cell, *patterns):
        torch.manual_seed(0)
        network = GestureNetwork(NetworkConfig.small(cell, num_classes=5, size=32, num_frames=8)).eval()
        return watch(network, torch.randn(1, 3, 8, 32, 32), *(patterns or ["layer1.*"]))

    return make


def header_in(page):
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', page, re.S)[1])


@pytest.mark.parametrize("cell", ["convlstm", "a", "b", "c", "d"])
def test_every_quantity_recorded_of_every_cell_is_a_panel_or_a_strip(scrubber, watched, cell):
    seen = watched(cell)
    rec = seen.recording
    shown = scrubber(seen, clip_of())
    groups = shown.packed.header["groups"]
    names = [each["name"] for group in groups for each in (*group["panels"], *group["strips"])]
    assert sorted(names) == sorted(rec)
    maps = {name for name in rec if rec[name].ndim == 5}
    assert {each["name"] for group in groups for each in group["panels"]} == maps


def test_panels_that_share_a_choice_of_channel_have_as_many(scrubber, watched):
    shown = scrubber(watched("b", "layer1.*", "features"), clip_of())
    for group in shown.groups:
        assert len({maps.shape[1] for maps in group.maps.values() if maps.shape[1] > 1}) == 1


def test_channels_are_ordered_by_sum_variance_and_gradient_of_the_hidden_state(scrubber, watched):
    seen = watched("convlstm")
    shown = scrubber(seen, clip_of())
    orders = dict(shown.packed.header["groups"][0]["orders"])
    h = seen.recording["layer1.h"][0]
    worth = (h * seen.gradients["layer1.h"][0]).sum((0, 2, 3))
    assert orders["activation sum"] == h.sum((0, 2, 3)).argsort(descending=True).tolist()
    assert next(iter(orders)) == "all maps' change"
    assert orders["variance"] == h.var((0, 2, 3)).argsort(descending=True).tolist()
    assert orders["class gradient"] == worth.argsort(descending=True).tolist()


def test_variants_stand_side_by_side_with_their_own_scores(scrubber, watched):
    groups = scrubber({cell: watched(cell) for cell in ("convlstm", "a")}, clip_of()).packed.header["groups"]
    assert [group["title"] for group in groups] == ["convlstm layer 1", "a layer 1"]
    assert all(group["scores"] for group in groups)


def test_maps_beside_a_recording_need_no_channel(scrubber, watched):
    seen = watched("a").recording
    change = np.random.default_rng(0).random((4, 9, 9))
    group = scrubber(seen, clip_of(), maps={"change": change}).packed.header["groups"][-1]
    assert [panel["name"] for panel in group["panels"]] == ["change"]
    assert group["numChannels"] == 1


def test_a_layers_own_recording_has_bare_names(scrubber):
    from gatescope.models import RecurrentLayer
    from gatescope.recordings import record

    layer = RecurrentLayer("convlstm", in_channels=3, hidden_channels=4, kernel_size=3)
    with record(layer) as rec, torch.no_grad():
        layer(torch.randn(1, 4, 3, 8, 8))
    (group,) = scrubber(rec, clip_of()).packed.header["groups"]
    assert [panel["name"] for panel in group["panels"]] == list("ifogch")


def test_the_stages_of_a_pose_machine_have_groups_of_their_own(scrubber):
    from gatescope.models.pose import RPSM, RPSMConfig
    from gatescope.recordings import record

    network = RPSM(RPSMConfig.small(num_stages=2, size=16)).eval()
    with torch.inference_mode(), record(network, "trunk", "stage?.features", "stage2.lstm.f") as rec:
        network(torch.randn(1, 4, 3, 16, 16))
    groups = scrubber(rec, clip_of(4)).packed.header["groups"]
    assert [group["title"] for group in groups] == ["recorded", "stage 1", "stage 2", "stage 2, lstm"]
    titles = [each["title"] for group in groups for each in (*group["panels"], *group["strips"])]
    assert titles == ["trunk's maps F", "2-D features P", "2-D features P", "forget gate f"]


def test_one_step_one_channel_and_one_frame_are_enough(scrubber):
    shown = scrubber({"h": torch.randn(1, 1, 1, 1, 1)}, clip_of(1))
    assert shown.packed.header["steps"] == 1
    assert Image.open(io.BytesIO(shown.still)).width > 100


def test_a_recording_of_several_clips_is_refused(scrubber):
    with pytest.raises(ValueError, match=r"recorded of 2: take one"):
        scrubber({"h": torch.randn(2, 4, 3, 5, 5)}, clip_of())


@pytest.mark.slow
def test_what_would_outgrow_a_notebook_keeps_fewer_channels(scrubber):
    rng = torch.Generator().manual_seed(0)
    rec = {f"layer1.{name}": torch.randn(1, 16, 64, 28, 28, generator=rng) for name in "ifogch"}
    shown = scrubber(rec, clip_of(16), num_channels=64)
    kept = len(shown.packed.header["groups"][0]["channels"])
    assert 8 <= kept < 64
    data, _ = shown._repr_mimebundle_()
    assert sum(len(each) for each in data.values()) < 1_500_000


def test_an_output_holds_a_page_and_a_film_strip_of_every_map(scrubber, watched):
    shown = scrubber(watched("convlstm"), clip_of(), title="A clip, synthetic")
    data, metadata = shown._repr_mimebundle_()
    assert set(data) == {"text/html", "image/png", "text/plain"}
    assert data["image/png"] in data["text/html"]  # what stays where scripts are taken out
    with Image.open(io.BytesIO(shown.still)) as picture:
        assert picture.height > 6 * 50
    assert "A clip, synthetic" in metadata["image/png"]["alt"]


def test_hostile_names_do_not_leave_the_text_they_are_in(scrubber, watched):
    hostile = "</script><script>alert(1)</script>\" onload='x' \u202eabc"
    clip = clip_of()
    page = scrubber(watched("a"), clip, classes=[hostile] * 5, title=hostile).html()
    assert "<script>alert" not in page
    found = header_in(page)
    assert found["title"] == hostile
    assert set(found["groups"][0]["scores"]["names"]) == {hostile}


def test_a_page_needs_no_other_file_and_no_host(scrubber, watched, tmp_path):
    scrubber(watched("d"), clip_of(), title="<b>").to_html(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert "<title>&lt;b&gt;</title>" in page
    assert not re.search(r"https?://", page)
    assert set(re.findall(r'\bsrc="(.{5})', page)) == {"data:"}


@pytest.mark.slow
def test_the_same_recording_makes_the_same_page(scrubber, watched):
    assert scrubber(watched("c"), clip_of()).html() == scrubber(watched("c"), clip_of()).html()


@pytest.mark.slow
def test_a_scrubber_of_a_network_and_a_clip_is_what_one_makes_by_hand(scrubber):
    from gatescope.loaders import read_clip, to_batch
    from gatescope.loaders.clip import as_seen
    from gatescope.models import GestureNetwork, NetworkConfig
    from gatescope.recordings import watch

    torch.manual_seed(0)
    network = GestureNetwork(NetworkConfig.small("convlstm", num_classes=5, size=32, num_frames=8)).eval()
    network.card = {"data": {"names": list("abcde")}}
    clip = read_clip(np.random.default_rng(0).integers(0, 256, (11, 40, 48, 3), dtype=np.uint8))
    watched = watch(network, to_batch(clip, **network.config.input), "layer1.*")
    wanted = scrubber(watched, as_seen(clip, 8, 32), classes=list("abcde"), num_channels=3)
    made = scrubber.of(network, clip, "layer1.*", num_channels=3)
    assert made.html() == wanted.html()
    assert scrubber.of(network, clip, "layer1.h", classes=[*"vwxyz"]).classes == [*"vwxyz"]
    with torch.inference_mode():
        assert scrubber.of(network, clip, "layer1.h").html()
    with pytest.raises(ValueError, match=r"call network\.eval\(\)"):
        scrubber.of(network.train(), clip)


@pytest.mark.slow
def test_the_example_in_the_readme_writes_a_page(tmp_path, monkeypatch):
    root = Path(__file__).resolve().parent.parent
    examples = re.findall(r"```python\n(.*?)```", (root / "README.md").read_text(), re.S)
    (example,) = [text for text in examples if "Scrubber.of" in text]
    assert example.count("import ") <= 3
    frames = np.random.default_rng(0).integers(0, 256, (20, 56, 72, 3), dtype=np.uint8)
    (tmp_path / "hand.mkv").mkdir()  # a folder of frames, by the name of the reader's video
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(tmp_path / "hand.mkv" / f"{number:03}.png")
    (tmp_path / "data").symlink_to(root / "data")
    monkeypatch.chdir(tmp_path)
    exec(example, {})
    header = header_in((tmp_path / "hand.html").read_text())
    assert [group["title"] for group in header["groups"]] == ["layer 1"]
    names = header["groups"][0]["scores"]["names"]
    assert len(names) == 6 and not any(name.startswith("class ") for name in names)


@pytest.mark.slow
def test_the_example_for_a_network_of_ones_own_is_five_lines(monkeypatch):
    from foreign_cells import FusedLSTM, Stack

    readme = (Path(__file__).resolve().parent.parent / "README.md").read_text()
    (example,) = [text for text in re.findall(r"```python\n(.*?)```", readme, re.S) if "find_gates" in text]
    lines = [line for line in example.splitlines() if line]
    assert len(lines) <= 5
    lines[-1] = "shown = " + lines[-1]
    names = {"model": Stack(FusedLSTM).eval(), "x": torch.randn(1, 4, 3, 8, 8), "clip": clip_of(8)}
    exec("\n".join(lines), names)
    assert titles_of(names["shown"])["layer2.f"] == "forget gate f"


def titles_of(shown):
    panels = [panel for group in shown.packed.header["groups"] for panel in (*group["panels"], *group["strips"])]
    return {panel["name"]: panel["title"] for panel in panels}


MEANT = {f"layer1.{point}": point for point in "ihc"}


def test_a_layer_opens_on_a_channel_whose_gates_change_and_not_on_the_largest(scrubber):
    rng = np.random.default_rng(0)
    h, i = rng.random((1, 4, 3, 5, 5)), np.full((1, 4, 3, 5, 5), 0.5)
    h[:, :, 0] += 5  # the largest, with a gate that is always open
    i[:, :, 0], i[:, :, 2] = 1.0, rng.random((4, 5, 5))
    ranked = dict(scrubber({"layer1.h": h, "layer1.i": i}, meanings=MEANT).packed.header["groups"][0]["orders"])
    assert (ranked["all maps' change"][0], ranked["activation sum"][0]) == (2, 0)


def test_a_clip_without_a_hand_opens_where_something_is_to_be_seen(scrubber):
    frames = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3)).astype(np.uint8)
    frames[1:3] = frames[0]  # still
    frames[3] = 128  # a board
    frames[5] = frames[4]
    shown = scrubber({"layer1.h": np.zeros((1, 6, 1, 4, 4))}, replace(clip_of(6), frames=frames))
    assert shown.packed.header["opens"] == 4
    # A board that leaves a rim shows in the frame, and in no map.
    maps = np.random.default_rng(1).random((1, 6, 1, 4, 4))
    maps[:, 3] = 0.5
    frames[3, 0] = np.random.default_rng(2).integers(0, 256, (8, 3))
    shown = scrubber({"layer1.h": maps}, replace(clip_of(6), frames=frames))
    assert shown.packed.header["opens"] == 4


def test_the_strip_has_the_limits_on_which_the_scrubber_opens(scrubber, monkeypatch):
    seen = {}
    monkeypatch.setattr(
        "gatescope.pictures.scrubber.film", lambda fig, frames, rows, limits: seen.update(rows=rows, limits=limits)
    )
    values = {"layer1.i": np.full((1, 4, 1, 2, 2), 0.4), "layer1.c": np.linspace(-1, 3, 16).reshape(1, 4, 1, 2, 2)}
    assert scrubber(values, clip_of(8), meanings=MEANT).still.startswith(b"\x89PNG")
    assert list(seen["limits"].values()) == [(0, 1), (-3, 3)]  # in the order of a step


def test_other_peoples_gates_have_their_own_titles_and_not_those_of_letters(scrubber):
    from foreign_cells import LoopGRU
    from gatescope.recordings import find_gates, record, watch

    model, x = LoopGRU().eval(), torch.randn(1, 4, 3, 8, 8)
    gates = find_gates(model, x)
    shown = scrubber(watch(model, x, gates), clip_of(8))
    expected = {"r": "reset gate r", "z": "update gate z", "n": "candidate n", "h": "hidden state h"}
    assert titles_of(shown) == {f"layer1.{role}": title for role, title in expected.items()}
    assert shown.packed.header["groups"][0]["orders"][3][0] == "class gradient"
    # Known by nobody: a dictionary of tensors, or an operation.
    plain = {"z": torch.rand(1, 4, 3, 8, 8), "layer1.i": torch.rand(1, 4, 3)}
    assert titles_of(scrubber(plain, clip_of(8))) == {"z": "z", "layer1.i": "layer1.i"}
    with torch.no_grad(), record(model, ":tanh.0::1") as recording:
        model(x)
    assert titles_of(scrubber(recording, clip_of(8))) == {":tanh.0::1": ":tanh.0::1"}
    assert titles_of(scrubber(plain, clip_of(8), meanings={"z": "update"}))["z"] == "update gate z"


def test_arrays_vectors_and_tokens_are_shown_too(scrubber):
    values = {
        "maps": np.random.default_rng(0).random((1, 4, 3, 5, 6)),
        "vector": np.random.default_rng(1).random((1, 4, 7)),
        "tokens": torch.rand(1, 4, 30, 2),
    }
    shown = scrubber(values, clip_of(8), grid=(5, 6))
    panels = {panel["name"]: panel for group in shown.packed.header["groups"] for panel in group["panels"]}
    assert (panels["tokens"]["rows"], panels["tokens"]["columns"]) == (5, 6)
    assert set(titles_of(shown)) == {"maps", "vector", "tokens"}
    groups = {name: maps for group in shown.groups for name, maps in group.maps.items()}
    np.testing.assert_allclose(groups["tokens"][2, 1].ravel(), values["tokens"][0, 2, :, 1].numpy())
    with pytest.raises(ValueError, match=r"tokens has the shape \(1, 4, 30, 2\).*with a grid=.rows, columns."):
        scrubber({"tokens": values["tokens"]}, clip_of(8), grid=(4, 6))


def test_a_unrolled_layer_of_torch_is_shown_in_three_lines(scrubber):
    from gatescope.models import unrolled
    from gatescope.recordings import watch

    layer = unrolled(torch.nn.GRU(3, 5, batch_first=True))
    shown = scrubber(watch(layer, torch.randn(1, 4, 3), "layer1.*"))
    assert titles_of(shown)["layer1.z"] == "update gate z"
    # A sequence of features has no frames.
    assert shown.packed.header["frames"] == [] and "frames" not in shown.alt
    assert Image.open(io.BytesIO(shown.still)).height > 200


def test_maps_without_frames(scrubber, watched):
    seen = watched("convlstm", "layer1.[fh]")
    shown = scrubber(seen)
    header = shown.packed.header
    assert (header["frames"], header["hand"], header["framesPerStep"]) == ([], None, 1)
    assert (header["height"], header["width"]) == seen.recording["layer1.h"].shape[-2:]
    with_frames = scrubber(seen, clip_of())
    assert Image.open(io.BytesIO(shown.still)).height < Image.open(io.BytesIO(with_frames.still)).height


def test_it_opens_at_the_step_with_most_of_the_hand_or_of_the_change(scrubber):
    from dataclasses import replace

    clip = clip_of(8, 16)
    hand = np.zeros((8, 16, 16), bool)
    hand[4, :3, :3] = hand[5, :9, :9] = True  # frames 4 and 5 are step 2
    h = torch.zeros(1, 4, 2, 5, 5)
    assert scrubber({"h": h}, replace(clip, hand_mask=hand)).packed.header["opens"] == 2
    still = np.zeros((8, 16, 16, 3), np.uint8)
    still[6:] = 200
    assert scrubber({"h": h}, replace(clip, frames=still)).packed.header["opens"] == 3
    h[0, 1:] = 1  # changes between the first step and the second
    assert scrubber({"h": h}).packed.header["opens"] == 1
    assert scrubber({"v": torch.zeros(1, 4, 2)}).packed.header["opens"] == 0


def test_gates_have_limits_of_their_own_unless_values_lie_beyond(scrubber):
    maps = {name: torch.rand(1, 4, 2, 5, 5) for name in "ifgh"} | {"o": torch.rand(1, 4, 2)}
    maps["f"][0, 0, 0, 0, 0] = 1.5
    (group,) = scrubber(maps, clip_of(8), meanings={name: name for name in maps}).packed.header["groups"]
    ranges = {each["name"]: each["range"] for each in (*group["panels"], *group["strips"])}
    assert ranges == {"i": [0, 1], "o": [0, 1], "f": None, "g": None, "h": None}


def test_the_code_of_a_page_is_one_module_whose_files_say_what_they_do(scrubber):
    from gatescope.pictures.elements import HERE, SCRIPTS

    for name in {name for names in SCRIPTS.values() for name in names}:
        first, *lines = (HERE / name).read_text().splitlines()
        assert first.startswith("// ") and first.endswith(".") and len(lines) < 500


def test_the_live_scrubbers_pins_are_places_in_a_picture():
    from traitlets import TraitError

    from gatescope.explorer.live_scrubber import LiveScrubber

    live = LiveScrubber(on_files=print, on_cancel=print, on_frame=print)
    assert (live.step, live.channel, live.pins) == (None, None, None)
    live.pins = [(0.25, 1)]
    assert live.pins == [[0.25, 1.0]]
    for wrong in ([(0.5, 1.5)], [(0.5,)], [(0, 0)] * 7, [("0", "1")], ["01"], [5], [None], [(float("nan"), 0)]):
        with pytest.raises(TraitError):
            live.pins = wrong
    with pytest.raises(TraitError):
        live.step = -1
