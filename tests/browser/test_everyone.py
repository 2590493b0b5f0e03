"""The scrubber for whoever reads: by ear, in the dark, on a narrow window, with hostile labels, as a picture."""

import functools
import io
import re
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import expect
from samples import CHANNELS, HOSTILE, NAMES, STEPS, coloured, known, make_clip, make_recording
from viewer import Viewer

pytestmark = [pytest.mark.browser, pytest.mark.slow]

CONTROLS = {
    ("slider", "time step"),
    ("button", "Play"),
    ("button", "Save PNG"),
    ("button", "CSV of pins"),
    ("button", "keys and units"),
    ("button", "remove pin 1"),
    ("button", "enlarge forget gate f"),
    ("combobox", "speed"),
    ("combobox", "show"),
    ("combobox", "colours"),
    ("combobox", "limits"),
    ("slider", "opacity over frame"),
    ("checkbox", "hand outline"),
    ("checkbox", "smooth"),
}


@pytest.fixture
def viewer(page, exported) -> Viewer:
    page.goto(exported.as_uri())
    return Viewer(page)


def spoken(viewer: Viewer) -> list[dict[str, str]]:
    """What the browser tells a screen reader of everything that takes the keyboard: its role, name and value."""
    tree = viewer.page.context.new_cdp_session(viewer.page).send("Accessibility.getFullAXTree")
    nodes = []
    for node in tree["nodes"]:
        properties = {each["name"]: each["value"].get("value") for each in node.get("properties", [])}
        if properties.get("focusable") and node["role"]["value"] not in {"RootWebArea", "option", "MenuListOption"}:
            value = node.get("value", {}).get("value", "")
            nodes.append({"role": node["role"]["value"], "name": node["name"]["value"], "value": str(value)})
    return nodes


def test_a_screen_reader_hears_name_role_and_value_of_every_control(viewer):
    viewer.press("End")
    heard = spoken(viewer)
    assert all(each["name"] for each in heard), heard
    assert {(each["role"], each["name"]) for each in heard} >= CONTROLS
    # The attribute: chromium 156 no longer passes it on through the protocol that `spoken` asks.
    assert "16 of 16" in viewer.slider.get_attribute("aria-valuetext")
    assert {"channel of layer 1", "ordered by"} <= {each["name"].split(",")[0] for each in heard}


def test_every_picture_says_what_it_is_and_of_which_step(viewer):
    viewer.choose("channel", "5")
    viewer.press("End")
    pictures = re.findall(r'- img "(.*)"', viewer.host.aria_snapshot())
    assert len(pictures) == len(NAMES) + 1
    assert all(words.endswith("step 16 of 16") for words in pictures)
    assert "forget gate f, channel 5, step 16 of 16" in pictures


def test_tab_reaches_every_control_in_the_order_on_the_page(viewer):
    names = 'input, select, button, [tabindex="0"]'
    every = f"[...host.shadowRoot.querySelectorAll('{names}')]"
    viewer.host.locator(names).first.focus()
    reached = []
    for _ in range(viewer.host.locator(names).count()):
        reached.append(viewer.host.evaluate(f"host => {every}.indexOf(host.shadowRoot.activeElement)"))
        viewer.page.keyboard.press("Tab")
    assert reached == list(range(len(reached)))


def test_with_reduced_motion_nothing_moves_but_what_the_reader_plays(page, exported):
    page.emulate_media(reduced_motion="reduce")
    page.goto(exported.as_uri())
    viewer = Viewer(page)
    page.wait_for_timeout(700)
    assert viewer.step == 0
    assert viewer.moving() == []
    viewer.button("Play").click()
    expect(viewer.slider).not_to_have_value("0")


def test_every_text_can_be_read_in_either_theme(page, exported):
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.goto(exported.as_uri())
        viewer = Viewer(page)
        viewer.point_at(NAMES[0], 3, 3)
        assert viewer.faint_texts() == [], scheme
        assert viewer.is_dark() == (scheme == "dark")


@pytest.mark.parametrize("width", [1280, 800, 400])
def test_nothing_reaches_beyond_the_window(page, exported, width):
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(exported.as_uri())
    viewer = Viewer(page)
    assert viewer.beyond() == []
    assert page.evaluate("() => document.scrollingElement.scrollWidth <= innerWidth")


@pytest.fixture
def hostile(page, tmp_path) -> Viewer:
    """A scrubber whose every label is meant to break the page."""
    from gatescope.pictures import Scrubber
    from gatescope.recordings import Watched

    recording = make_recording(steps=4)
    path = tmp_path / "hostile.html"
    Scrubber(
        {
            HOSTILE: Watched(recording | {HOSTILE: recording["layer1.f"]}, torch.zeros(4, 2)),
            "(a)": Watched(recording),
        },
        make_clip(name=HOSTILE, source=f"/clips/{HOSTILE}.mp4"),
        maps={HOSTILE: np.zeros((4, 5, 5))},
        meanings=known(recording),
        classes=(HOSTILE, "Swiping"),
        title=HOSTILE,
    ).to_html(path)
    page.goto(path.as_uri())
    return Viewer(page)


def test_hostile_labels_show_as_text(hostile, page):
    hostile.press("End")
    assert page.evaluate("() => window.ran") is None
    assert page.title() == HOSTILE
    assert page.locator("img[src=x]").count() == 0
    for place in (".title", "section.group h3", "figcaption", ".classes li"):
        assert any(HOSTILE in text for text in hostile.host.locator(place).all_inner_texts()), place


def test_a_label_that_turns_the_direction_turns_only_itself(hostile):
    assert hostile.turning(HOSTILE) == []


def test_another_channel_is_another_picture_and_back_again(viewer):
    viewer.choose("show", "one channel")
    viewer.choose("channel", "0")
    first = viewer.colours("layer1.f")
    viewer.choose("channel", "5")
    assert (viewer.colours("layer1.f") != first).mean() > 0.5
    viewer.choose("channel", "0")
    assert (viewer.colours("layer1.f") == first).all()


@pytest.mark.parametrize(("show", "reduce"), [("mean", "mean"), ("max", "amax")])
def test_all_channels_in_one_picture(viewer, recording, show, reduce):
    viewer.choose("show", show)
    viewer.drag(to=7)
    for name in NAMES:
        plane = getattr(recording[name][0], reduce)(1)
        assert np.abs(viewer.colours(name) - coloured(plane, 7, "viridis")).max() <= 1, name


def test_colours_span_the_channel_the_quantity_or_the_step_and_the_bar_says_which(viewer, recording):
    viewer.choose("channel", "1")
    whole, panel = recording["layer1.f"][0], viewer.panel("layer1.f")
    for limits, of_step in (
        ("gates 0 to 1", lambda t: torch.tensor([0.0, 1.0])),
        ("channel", lambda t: whole[:, 1]),
        ("quantity", lambda t: whole),
        ("this step", lambda t: whole[t, 1]),
    ):
        viewer.choose("limits", limits)
        for step in (0, 9):
            viewer.drag(to=step)
            shown = of_step(step)
            # A level of the channel, and the digits of the bar.
            assert viewer.limits("layer1.f") == pytest.approx((float(shown.min()), float(shown.max())), abs=0.01)
            assert ("this step" in panel.inner_text()) == (limits == "this step")


def test_gates_of_one_value_a_channel_and_scores_are_read_and_dragged_too(page, tmp_path):
    from gatescope.pictures import Scrubber
    from gatescope.recordings import Watched

    gate = torch.rand(1, STEPS, CHANNELS, generator=torch.Generator().manual_seed(0))
    scores = torch.linspace(-2, 2, STEPS)[:, None] * torch.tensor([[1.0, -1.0]])
    watched = Watched(make_recording() | {"layer1.f": gate}, scores)
    named = {"classes": ("Swiping", "Pushing"), "meanings": known(watched.recording)}
    Scrubber(watched, make_clip(), **named).to_html(tmp_path / "gates.html")
    page.goto((tmp_path / "gates.html").as_uri())
    viewer = Viewer(page)
    for kind, step in (("strip", 12), ("curve", 3)):
        picture = viewer.host.locator(f"figure.{kind} .stack")
        picture.scroll_into_view_if_needed()
        box = picture.bounding_box()
        at = [
            (box["x"] + box["width"] * (t + 0.5) / STEPS, box["y"] + box["height"] * 5.5 / CHANNELS) for t in (0, step)
        ]
        page.mouse.move(*at[0])
        page.mouse.down()
        page.mouse.move(*at[1], steps=4)
        page.mouse.up()
        expect(viewer.slider).to_have_value(str(step))
    swiping = viewer.host.locator(".classes li", has_text="Swiping").locator("output")
    assert float(swiping.inner_text()) == pytest.approx(float(scores[3].softmax(0)[0]), abs=0.006)
    viewer.point_at("layer1.f", row=5, column=9)
    assert viewer.value("layer1.f") == pytest.approx(float(gate[0, 9, 5]), abs=0.5 / 255 + 0.001)


def colours_of(picture: np.ndarray) -> set[tuple[int, ...]]:
    return set(map(tuple, np.unique(picture.reshape(-1, 3), axis=0).tolist()))


def test_the_saved_picture_holds_every_map(viewer):
    viewer.press("End")
    with viewer.page.expect_download() as download:
        viewer.button("Save PNG").click()
    assert download.value.suggested_filename.endswith(".png")
    picture = np.asarray(Image.open(io.BytesIO(download.value.path().read_bytes())).convert("RGB"))
    saved = colours_of(picture)
    for name in NAMES:
        shown = colours_of(viewer.colours(name))
        # The line around the hand covers a few.
        assert len(shown & saved) > 0.95 * len(shown), name


def test_an_exported_page_works_from_a_server_too(page, exported, asked):
    (exported.parent / "favicon.ico").touch()  # chromium asks for it
    handler = functools.partial(SimpleHTTPRequestHandler, directory=exported.parent)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/{exported.name}"
        page.goto(url)
        viewer = Viewer(page)
        before = viewer.colours("layer1.h")
        viewer.drag(to=9)
        assert (viewer.colours("layer1.h") != before).any()
        server.shutdown()
    assert [each for each in asked if not each.startswith(("data:", "blob:"))] == [url]


def test_a_sequence_of_features_has_no_frames(page, tmp_path):
    from gatescope.pictures import Scrubber

    vectors = {"f": torch.rand(1, STEPS, CHANNELS, generator=torch.Generator().manual_seed(0))}
    Scrubber(make_recording() | vectors, meanings=known(make_recording()) | {"f": "f"}).to_html(
        tmp_path / "features.html"
    )
    page.goto((tmp_path / "features.html").as_uri())
    viewer = Viewer(page)
    viewer.host.locator("figure.strip .stack").first.wait_for()
    assert viewer.host.locator("canvas.map").count() > 0
    assert viewer.host.get_by_text("opacity over frame").count() == 0
    viewer.host.locator("input[type=range]").first.fill("3")
    expect(viewer.host.locator(".readout").first).to_have_text(f"step 4 of {STEPS}")
