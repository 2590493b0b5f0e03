"""A scrubber alone on an exported page, opened as a file: no server, no kernel, no network."""

import numpy as np
import pytest
from playwright.sync_api import expect
from samples import NAMES, SIZE, STEPS, coloured
from viewer import Viewer

pytestmark = pytest.mark.browser


@pytest.fixture
def viewer(page, exported) -> Viewer:
    page.goto(exported.as_uri())
    viewer = Viewer(page)
    viewer.choose("show", "one channel")
    return viewer


@pytest.mark.slow
@pytest.mark.parametrize("colours", ["viridis", "magma"])
def test_a_drag_shows_the_values_of_its_step_in_matplotlibs_colours(viewer, recording, colours):
    viewer.choose("channel", "3")
    viewer.choose("colours", colours)
    before = viewer.colours("layer1.f")
    viewer.drag(to=11)
    assert (viewer.colours("layer1.f") != before).any()
    for name in NAMES:
        assert np.abs(viewer.colours(name) - coloured(recording[name][0, :, 3], 11, colours)).max() <= 1, name


@pytest.mark.slow
def test_every_panel_says_the_recorded_value_under_the_pointer(viewer, recording):
    viewer.choose("channel", "2")
    for step, row, column in ((0, 0, 0), (5, 3, 21), (15, SIZE - 1, SIZE - 1)):
        viewer.drag(to=step)
        viewer.point_at("layer1.i", row, column)
        for name in NAMES:
            plane = recording[name][0, :, 2].numpy()
            # Half of one of 255 steps, and what is lost by writing it to a thousandth of the range.
            near = pytest.approx(float(plane[step, row, column]), abs=float(np.ptp(plane)) * (0.5 / 255 + 0.0005))
            assert viewer.value(name) == near, name


@pytest.mark.slow
def test_keys_step_and_go_to_the_ends(viewer):
    for key, step in (("ArrowRight", 1), (".", 2), ("ArrowLeft", 1), (",", 0), (",", 0), ("End", STEPS - 1)):
        viewer.press(key)
        assert viewer.step == step, key
    viewer.press("ArrowRight")
    assert viewer.step == STEPS - 1
    viewer.press("Home")
    assert viewer.step == 0


@pytest.mark.slow
@pytest.mark.parametrize("key", [" ", "k"])
def test_a_key_plays_and_pauses(viewer, key):
    viewer.press(key)
    expect(viewer.button("Pause")).to_be_visible()
    expect(viewer.slider).not_to_have_value("0")
    viewer.press(key)
    expect(viewer.button("Play")).to_be_visible()
    step = viewer.step
    viewer.page.wait_for_timeout(500)
    assert viewer.step == step


@pytest.mark.slow
def test_keys_step_after_a_button_was_pressed_and_what_plays_stops_there(viewer):
    viewer.button("Play").click()
    viewer.page.keyboard.press("End")
    expect(viewer.button("Play")).to_be_visible()
    expect(viewer.slider).to_have_value(str(STEPS - 1))
    viewer.page.keyboard.press("ArrowLeft")
    expect(viewer.slider).to_have_value(str(STEPS - 2))


@pytest.mark.slow
def test_what_is_shown_is_said_beside_the_slider_once_and_not_while_playing(viewer):
    readout = viewer.host.locator("output.readout")
    viewer.press("ArrowRight")
    expect(readout).to_contain_text("2 of 16")
    expect(readout).to_have_attribute("aria-live", "polite")
    viewer.button("Play").click()
    expect(readout).to_have_attribute("aria-live", "off")
    viewer.button("Pause").click()
    expect(readout).to_have_attribute("aria-live", "polite")


@pytest.mark.slow
def test_the_page_asks_for_nothing_but_itself(viewer, asked, exported):
    viewer.drag(to=8)
    assert [url for url in asked if not url.startswith(("data:", "blob:"))] == [exported.as_uri()]


@pytest.mark.slow
def test_positions_are_blended_only_where_the_reader_asks_for_it(viewer):
    def blended():
        canvas = viewer.host.locator("canvas.map").first
        return canvas.evaluate("canvas => getComputedStyle(canvas).imageRendering") != "pixelated"

    for name, option in (("colours", "magma"), ("limits", "this step only"), ("show", "mean of channels")):
        viewer.choose(name, option)
        assert not blended(), name
    viewer.host.get_by_role("checkbox", name="smooth").check()
    assert blended()
