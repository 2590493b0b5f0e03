"""The scrubber, explored: pins and their curves, all channels, the film as timeline, and what one takes away."""

import csv
import io
import itertools

import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import expect
from samples import CHANNELS, NAMES, SIZE, STEPS, known, make_clip, make_recording
from viewer import PIXELS, Viewer, number

pytestmark = [pytest.mark.browser, pytest.mark.slow]

INK = """(host, [name, what]) => {
    const figure = host.shadowRoot.querySelector(`figure[data-name="${name}"]`);
    const canvas = figure.querySelector(what);
    const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    let hash = 0;
    for (const value of data) hash = (31 * hash + value) | 0;
    return hash;
}"""


@pytest.fixture
def viewer(page, exported) -> Viewer:
    page.goto(exported.as_uri())
    return Viewer(page)


@pytest.fixture(scope="session")
def variants(tmp_path_factory):
    """A page of two variants with scores, whose second has a gate of one value a channel."""
    from gatescope.pictures import Scrubber
    from gatescope.recordings import Watched

    one, other = make_recording(), make_recording(seed=1)
    other["layer1.f"] = torch.rand(1, STEPS, CHANNELS, generator=torch.Generator().manual_seed(0))
    scores = torch.linspace(-2, 2, STEPS)[:, None] * torch.tensor([[1.0, -1.0]])
    watched = {"(one)": Watched(one, scores), "(other)": Watched(other, scores)}
    path = tmp_path_factory.mktemp("variants") / "variants.html"
    Scrubber(watched, make_clip(), meanings=known(one), classes=("Swiping", "Pushing")).to_html(path)
    return path


def click(viewer: Viewer, name: str, row: int, column: int) -> None:
    viewer.point_at(name, row, column)
    viewer.page.mouse.down()
    viewer.page.mouse.up()
    viewer.page.mouse.move(2, 2)
    viewer.drawn()


def places(viewer: Viewer) -> list[str]:
    return viewer.host.locator(".places li span:not(.badge)").all_inner_texts()


def pinned_values(viewer: Viewer, name: str) -> list[float]:
    words = viewer.panel(name).locator("output.value span:not(.here)").all_inner_texts()
    return [number(each.partition(": ")[2]) for each in words]


def ink(viewer: Viewer, name: str, what: str) -> int:
    """A number that differs where the pixels of a canvas do."""
    viewer.bring(viewer.panel(name))
    return viewer.host.evaluate(INK, [name, what])


def downloaded(viewer: Viewer, name: str) -> tuple[str, bytes]:
    with viewer.page.expect_download() as download:
        viewer.button(name).click()
    return download.value.suggested_filename, download.value.path().read_bytes()


def test_it_opens_where_most_of_the_hand_is_in_view_with_the_hand_pinned(page, recording, tmp_path):
    from gatescope.pictures import Scrubber

    hand = np.zeros((STEPS, 56, 56), bool)
    hand[9, 10:21, 30:41] = hand[4, 10:12, 10:12] = True
    Scrubber(recording, make_clip(hand_mask=hand), meanings=known(recording)).to_html(tmp_path / "page.html")
    page.goto((tmp_path / "page.html").as_uri())
    viewer = Viewer(page)
    assert viewer.step == 9
    assert places(viewer) == ["row 15, column 35"]


def test_a_click_pins_a_place_in_every_panel_and_another_removes_it(viewer, recording):
    viewer.choose("channel", "3")
    viewer.drag(to=6)
    before = {name: (ink(viewer, name, ".marks"), ink(viewer, name, ".chart canvas")) for name in NAMES}
    frame = ink(viewer, "frame", ".marks")
    click(viewer, "layer1.f", row=20, column=9)
    assert places(viewer)[1] == "row 41, column 19"  # of the frame, which has twice as many
    assert ink(viewer, "frame", ".marks") != frame
    for name in NAMES:
        marks, curves = before[name]
        assert ink(viewer, name, ".marks") != marks, name
        assert ink(viewer, name, ".chart canvas") != curves, name
        plane = recording[name][0, :, 3].numpy()
        near = pytest.approx(float(plane[6, 20, 9]), abs=float(np.ptp(plane)) * (0.5 / 255 + 0.0005))
        assert pinned_values(viewer, name)[1] == near, name
    click(viewer, "layer1.h", row=20, column=9)
    assert len(places(viewer)) == 1
    assert ink(viewer, "layer1.h", ".chart canvas") == before["layer1.h"][1]


def test_pins_have_numbers_are_removed_by_button_and_their_number_is_free_again(viewer):
    for row in (2, 6, 10):
        click(viewer, "layer1.c", row, column=4)
    numbers = viewer.host.locator(".places .badge")
    assert numbers.all_inner_texts() == ["1", "2", "3", "4"]
    viewer.button("remove pin 2").click()
    assert numbers.all_inner_texts() == ["1", "3", "4"]
    click(viewer, "layer1.c", row=14, column=4)
    assert sorted(numbers.all_inner_texts()) == ["1", "2", "3", "4"]
    stack = viewer.panel("layer1.c").locator(".stack")
    for column in (10, 14, 18):
        viewer.point_at("layer1.c", 2, column)
        before = stack.bounding_box()["y"]
        viewer.page.mouse.down()
        viewer.page.mouse.up()
        viewer.drawn()
        assert stack.bounding_box()["y"] == pytest.approx(before, abs=1), f"the map moved under the pointer at {column}"
    viewer.page.mouse.move(2, 2)
    viewer.drawn()
    assert numbers.count() == 6
    expect(viewer.host.locator("output.words")).to_contain_text("remove one")
    # All six values are whole.
    for part in viewer.panel("layer1.c").locator("output.value span:not(.here)").all():
        assert part.evaluate("one => one.textContent && one.scrollWidth <= one.clientWidth")


def test_the_keyboard_pins_a_place_and_moves_it_cell_by_cell(viewer):
    stack = viewer.panel("layer1.f").locator(".stack")
    stack.focus()
    step = viewer.step
    for key in ("Shift+ArrowRight", "Shift+ArrowDown", "Enter"):
        viewer.page.keyboard.press(key)
    viewer.drawn()
    assert viewer.step == step
    first, second = (
        tuple(int(word.strip(",")) for word in place.split() if word.strip(",").isdigit()) for place in places(viewer)
    )
    assert (second[0] // 2, second[1] // 2) == (first[0] // 2 + 1, first[1] // 2 + 1)
    viewer.page.keyboard.press("Enter")
    assert len(places(viewer)) == 1
    viewer.page.keyboard.press("ArrowRight")
    expect(viewer.slider).to_have_value(str(step + 1))  # it follows the pictures by a frame


def test_the_steps_at_which_the_hand_covers_the_place_are_shaded(viewer):
    viewer.button("remove pin 1").click()
    click(viewer, "frame", row=26, column=21)  # the hand walks over it from step 6 to 11
    rows, columns, data = viewer.panel("layer1.f").locator(".chart canvas").first.evaluate(PIXELS)
    alpha = np.array(data).reshape(rows, columns, 4)[..., 3]
    left, right = 46, columns - 6  # INSET of drawing.js
    middle = [round(left + (step + 0.5) * (right - left) / STEPS) for step in range(STEPS)]
    shaded = [step for step, x in enumerate(middle) if np.median(alpha[8 : rows - 16, x]) > 20]
    assert shaded == list(range(5, 11))


def test_the_curve_of_the_place_under_the_pointer_shows_while_it_is_there(viewer):
    viewer.page.mouse.move(2, 2)
    viewer.drawn()
    before = ink(viewer, "layer1.o", ".chart canvas")
    viewer.point_at("layer1.f", 3, 20)
    hovered = ink(viewer, "layer1.o", ".chart canvas")
    viewer.point_at("layer1.f", 24, 2)
    assert len({before, hovered, ink(viewer, "layer1.o", ".chart canvas")}) == 3
    viewer.page.mouse.down()
    viewer.point_at("layer1.f", 12, 12)
    viewer.page.mouse.up()
    assert len(places(viewer)) == 1  # what was dragged was not clicked
    viewer.page.mouse.move(2, 2)
    viewer.drawn()
    assert ink(viewer, "layer1.o", ".chart canvas") == before


def test_a_tap_pins_and_the_film_answers_a_finger(browser, exported):
    with browser.new_context(viewport={"width": 400, "height": 800}, has_touch=True) as context:
        page = context.new_page()
        page.goto(exported.as_uri())
        viewer = Viewer(page)
        stack = viewer.panel("layer1.h").locator(".stack")
        stack.scroll_into_view_if_needed()
        box = stack.bounding_box()
        page.touchscreen.tap(box["x"] + 20, box["y"] + box["height"] / 2)
        expect(viewer.host.locator(".places li")).to_have_count(2)
        viewer.centre()
        page.touchscreen.tap(*viewer.place(11))
        expect(viewer.slider).to_have_value("11")


def test_the_frame_stands_once_in_its_own_pixels(page, variants):
    page.goto(variants.as_uri())
    viewer = Viewer(page)
    frames = viewer.host.locator('figure[data-name="frame"]')
    assert frames.count() == 1
    canvas = frames.locator("canvas.frame")
    assert canvas.evaluate("one => [one.width, one.height, getComputedStyle(one).imageRendering]") == [
        56,
        56,
        "pixelated",
    ]
    assert "56 × 56 px" in frames.inner_text()


def test_smooth_blends_positions_and_never_channels(page, variants):
    page.goto(variants.as_uri())
    viewer = Viewer(page)
    viewer.host.get_by_role("checkbox", name="smooth").check()
    for place, wanted in ((".panel .map", "auto"), (".strip .map", "pixelated"), (".tiles canvas", "pixelated")):
        canvas = viewer.host.locator(place).first
        assert canvas.evaluate("one => getComputedStyle(one).imageRendering") == wanted, place


def test_gates_of_one_value_a_channel_span_0_to_1_too(page, variants):
    page.goto(variants.as_uri())
    strip = Viewer(page).host.locator("figure.strip").first
    assert [strip.locator(end).inner_text() for end in (".low", ".high")] == ["0", "1"]


def test_all_channels_stand_in_the_chosen_order_and_one_is_chosen_by_click_or_key(viewer, recording):
    tiles = viewer.host.get_by_role("listbox", name="channels of hidden state h, layer 1").get_by_role("option")
    viewer.choose("ordered by", "activation sum")
    sums = recording["layer1.h"][0].sum((0, 2, 3)).argsort(descending=True).tolist()
    assert [int(each) for each in tiles.all_inner_texts()] == sums
    tiles.nth(5).click()
    viewer.drawn()
    channels = viewer.host.get_by_role("combobox", name="channel of layer 1")
    assert int(channels.input_value()) == sums[5]
    expect(tiles.nth(5)).to_have_attribute("aria-selected", "true")
    viewer.page.keyboard.press("ArrowLeft")
    assert int(channels.input_value()) == sums[4]
    viewer.choose("ordered by", "variance")
    variances = recording["layer1.h"][0].var((0, 2, 3)).argsort(descending=True).tolist()
    assert [int(each) for each in tiles.all_inner_texts()] == variances


def test_a_tile_has_the_levels_of_its_channel(viewer):
    viewer.choose("all channels of", "forget gate f")
    tiles = viewer.host.get_by_role("listbox", name="channels of forget gate f, layer 1").get_by_role("option")
    rows, columns, data = viewer.host.locator(".tiles canvas").evaluate(PIXELS)
    atlas = np.array(data).reshape(rows, columns, 4)[..., :3]
    across = (columns + 1) // (SIZE + 1)
    for place in (0, 5):
        tiles.nth(place).click()
        viewer.drawn()
        top, left = (SIZE + 1) * (place // across), (SIZE + 1) * (place % across)
        assert (atlas[top : top + SIZE, left : left + SIZE] == viewer.colours("layer1.f")).all()


def test_a_click_on_a_frame_of_the_film_goes_there(viewer):
    for step in (12, 0, STEPS - 1):
        viewer.page.mouse.click(*viewer.place(step))
        expect(viewer.slider).to_have_value(str(step))
    expect(viewer.host.locator("output.readout")).to_have_text("step 16 of 16, frame 16, 1.33 s")
    box = viewer.host.locator(".film").bounding_box()
    viewer.page.mouse.click(box["x"] + 2, box["y"] + 5)  # left of the thumb's way
    expect(viewer.slider).to_have_value("0")


def test_speeds_are_parts_of_the_clips_own(viewer):
    assert viewer.host.get_by_role("combobox", name="speed").locator("option").all_inner_texts() == [
        "real",
        "half",
        "quarter",
    ]
    # The page's own clock counts: on a machine that is busy with other things, a second's wait is longer.
    wait = "async button => { button.click(); await new Promise(done => setTimeout(done, 1000)); button.click(); }"
    for speed, rate in (("real", 12), ("quarter", 3)):
        viewer.choose("speed", speed)
        viewer.press("Home")
        start = viewer.page.evaluate("performance.now()")
        viewer.button("Play").evaluate(wait)
        elapsed_s = (viewer.page.evaluate("performance.now()") - start) / 1000
        assert rate / 3 <= viewer.step <= rate * elapsed_s + 1
        expect(viewer.button("Play")).to_be_visible()


def test_play_and_the_film_stay_in_view_while_a_tall_scrubber_scrolls(page, variants):
    page.set_viewport_size({"width": 700, "height": 500})
    page.goto(variants.as_uri())
    viewer = Viewer(page)
    viewer.host.locator("figure.curve").last.scroll_into_view_if_needed()
    page.wait_for_timeout(100)
    expect(viewer.button("Play")).to_be_in_viewport()
    assert viewer.button("Play").bounding_box()["y"] >= 0
    page.mouse.click(*viewer.place(5))
    expect(viewer.slider).to_have_value("5")


@pytest.mark.parametrize(("width", "beside"), [(1800, True), (1000, False)])
def test_groups_stand_side_by_side_where_there_is_room_and_panels_grow(page, variants, width, beside):
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(variants.as_uri())
    viewer = Viewer(page)
    tops = [group.bounding_box()["y"] for group in viewer.host.locator("section.group").all()]
    assert (tops[0] == tops[1]) == beside
    stack = viewer.panel("layer1.f").locator(".stack")
    small = stack.bounding_box()["width"]
    viewer.button("enlarge forget gate f").first.click()
    assert stack.bounding_box()["width"] > 2 * small
    assert not viewer.beyond()
    viewer.button("enlarge forget gate f").first.click()
    assert stack.bounding_box()["width"] == small


def test_keys_and_units_are_behind_one_button(viewer):
    ask = viewer.button("keys and units")
    words = viewer.host.get_by_text("How much of the old cell state stays, 0 to 1.")
    expect(words).to_be_hidden()
    ask.click()
    expect(words).to_be_visible()
    expect(viewer.host.get_by_text("play and pause")).to_be_visible()
    expect(ask).to_have_attribute("aria-expanded", "true")
    ask.click()
    expect(words).to_be_hidden()
    viewer.slider.focus()
    viewer.page.keyboard.press("?")
    expect(words).to_be_visible()
    viewer.button("enlarge forget gate f").click()
    large = viewer.host.locator("figure.large")
    box, bar = large.bounding_box(), viewer.host.locator(".timeline").bounding_box()
    assert box["y"] >= bar["y"] + bar["height"] and box["y"] + box["height"] <= 900, "an enlarged map fits the window"
    viewer.page.keyboard.press("Escape")
    expect(words).to_be_hidden()
    expect(large).to_have_count(0)


@pytest.mark.parametrize("far", [0.0372, 1234.5, 3e-6, 8e7])
def test_numbers_beside_an_axis_are_whole(page, tmp_path, far):
    from gatescope.pictures import Scrubber

    maps = {"a map": np.linspace(-far, far, STEPS * 16).reshape(STEPS, 4, 4)}
    Scrubber(make_recording(names=NAMES[:1]), make_clip(), maps=maps).to_html(tmp_path / "axes.html")
    page.goto((tmp_path / "axes.html").as_uri())
    viewer = Viewer(page)
    viewer.bring(viewer.panel("a map"))
    rows, columns, data = viewer.panel("a map").locator(".chart canvas").first.evaluate(PIXELS)
    alpha = np.array(data).reshape(rows, columns, 4)[..., 3]
    assert alpha[:, 4:40].any()
    assert not alpha[:, 0].any()


def test_values_at_pins_are_saved_as_lines(viewer, recording, clip):
    viewer.choose("channel", "2")
    click(viewer, "layer1.f", row=20, column=9)
    name, content = downloaded(viewer, "CSV of pins")
    assert name.endswith(".csv")
    head, *lines = content.decode().splitlines()
    assert head == "clip,pin,frame_row,frame_column,group,quantity,shown,map_row,map_column,step,seconds,hand,value"
    assert len(lines) == 2 * len(NAMES) * STEPS
    found = {}
    for line in csv.reader(lines):
        named, pin, *inside, _, quantity, shown, row, column, step, seconds, hand, value = line
        assert named == "Swiping, a drawing"
        assert f"row {inside[0]}, column {inside[1]}" == places(viewer)[int(pin) - 1]
        assert shown == "channel 2"
        assert float(seconds) == pytest.approx(int(step) / 12, abs=1e-4)
        if pin == "2":
            assert (row, column) == ("20", "9")
            assert int(hand) == clip.hand_mask[int(step) - 1, 41, 19]
            found[quantity, int(step)] = float(value)
    for name, step in itertools.product(NAMES, (1, 9, STEPS)):
        plane = recording[name][0, :, 2].numpy()
        assert found[name, step] == pytest.approx(float(plane[step - 1, 20, 9]), abs=float(np.ptp(plane)) / 500)


def test_all_values_that_are_kept_are_saved_for_numpy(page, variants):
    page.goto(variants.as_uri())
    name, content = downloaded(Viewer(page), "npz")
    assert name.endswith(".npz")
    one, other = make_recording(), make_recording(seed=1)
    gate = torch.rand(1, STEPS, CHANNELS, generator=torch.Generator().manual_seed(0))
    with np.load(io.BytesIO(content)) as kept:
        groups = sorted({each.partition("/")[0] for each in kept.files})
        assert groups == ["(one) layer 1", "(other) layer 1"]
        for group, recording in zip(groups, (one, other), strict=True):
            channels = kept[f"{group}/channels"]
            values = kept[f"{group}/layer1.h"]
            assert values.shape == (STEPS, len(channels), SIZE, SIZE)
            np.testing.assert_allclose(values, recording["layer1.h"][0][:, channels].numpy(), atol=0.01)
        np.testing.assert_allclose(kept["(other) layer 1/layer1.f"], gate[0].numpy(), atol=0.003)
        np.testing.assert_allclose(kept["(one) layer 1/scores"].sum(1), 1, atol=1e-5)


def test_all_steps_are_saved_as_a_moving_picture(viewer):
    viewer.drag(to=3)
    name, content = downloaded(viewer, "WebP of all steps")
    assert name.endswith(".webp")
    with Image.open(io.BytesIO(content)) as picture:
        assert picture.n_frames == STEPS
        frames = []
        for step in range(STEPS):
            picture.seek(step)
            frames.append(np.asarray(picture.convert("RGB")).astype(int))
            assert picture.info["duration"] == round(1000 / 12)
    assert all((one != other).any() for one, other in itertools.pairwise(frames))
    assert viewer.step == 3


def test_the_saved_picture_has_a_legend_above_the_panels(viewer):
    _, content = downloaded(viewer, "Save PNG")
    with Image.open(io.BytesIO(content)) as picture:
        pixels = np.asarray(picture.convert("L")).astype(int)
    legend = pixels[: 2 * 60]
    assert (legend < 128).sum() > 500  # words
    assert viewer.button("Play").is_visible()


def test_a_link_restores_step_channel_pins_and_limits(viewer, browser):
    viewer.drag(to=7)
    viewer.choose("ordered by", "variance")
    viewer.choose("channel", "5")
    viewer.choose("limits", "this step only")
    click(viewer, "layer1.f", row=20, column=9)
    viewer.button("enlarge cell state c").click()
    viewer.button("Link").click()
    expect(viewer.host.locator("output.words")).to_contain_text("link")
    address, kept = viewer.page.url, places(viewer)
    assert "#scrubber=1&step=8" in address
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(address)
        other = Viewer(page)
        expect(other.slider).to_have_value("7")
        assert places(other) == kept
        assert other.host.get_by_role("combobox", name="channel of layer 1").input_value() == "5"
        assert other.host.get_by_role("combobox", name="ordered by").input_value() == "variance"
        assert other.host.get_by_role("combobox", name="limits").input_value() == "step"
        assert other.host.locator("figure.large").get_attribute("data-name") == "layer1.c"
        other.drawn()
        assert (other.colours("layer1.h") == viewer.colours("layer1.h")).all()


def test_a_link_that_fits_nothing_does_no_harm(page, exported):
    page.goto(f"{exported.as_uri()}#scrubber=1&step=999&pins=9,9 a&channels=77&orders=none&limits=none&shown=none")
    viewer = Viewer(page)
    assert viewer.step == STEPS - 1
    assert places(viewer) == []
    assert viewer.host.get_by_role("combobox", name="limits").input_value() == "natural"
