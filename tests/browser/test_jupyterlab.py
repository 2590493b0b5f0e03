"""The scrubber in JupyterLab: run, saved, without a kernel, untrusted, seen twice, three on a page, in the dark."""

import numpy as np
import pytest
from lab import RUN
from playwright.sync_api import expect
from samples import NAMES, coloured
from viewer import Viewer

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="session")
def output(scrubber) -> dict[str, str]:
    """What a cell that shows the scrubber holds when it was run."""
    return scrubber._repr_mimebundle_()[0]


def shows(viewer: Viewer, recording, step: int, channel: int) -> bool:
    """Whether every map has the recorded values of a step and channel."""
    return all(
        np.abs(viewer.colours(name) - coloured(recording[name][0, :, channel], step, "viridis")).max() <= 1
        for name in NAMES
    )


def test_run_all_then_drag_save_and_reload_without_a_kernel(lab, jupyter, recording):
    lab.open(jupyter.write("run.ipynb", RUN))
    lab.run_all()
    viewer = Viewer(lab.page)
    viewer.choose("channel", "4")
    viewer.drag(to=6)
    assert shows(viewer, recording, step=6, channel=4)
    viewer.button("Play").click()
    expect(viewer.slider).not_to_have_value("6")
    viewer.button("Pause").click()
    lab.save()
    lab.choose_no_kernel()
    viewer.drag(to=2)
    assert shows(viewer, recording, step=2, channel=4)

    lab.load(lab.path)
    lab.choose_no_kernel()
    viewer = Viewer(lab.page)
    viewer.choose("channel", "5")
    viewer.drag(to=13)
    assert shows(viewer, recording, step=13, channel=5)


def test_keys_for_a_control_are_not_keys_for_the_notebook(lab, jupyter, output):
    lab.open(jupyter.write("keys.ipynb", output, "1 + 1"))
    viewer = Viewer(lab.page)
    lab.page.mouse.click(*viewer.place(viewer.step))
    controls = viewer.host.locator("input, select, button").all()
    assert len(controls) > 10
    for control in controls:
        control.focus()
        for key in ("x", "a", "b", "d", "d", "z", "m", "y", "c", "v", "Shift+J", "ArrowDown", "ArrowUp"):
            lab.page.keyboard.press(key)
        assert lab.sources() == ["scrubber", "1 + 1"], control.evaluate("control => control.outerHTML")

    lab.cells.nth(1).locator(".jp-InputPrompt").click()
    lab.page.keyboard.press("a")
    expect(lab.cells).to_have_count(3)  # so the keys would have done it


def test_arrows_move_the_step_and_leave_the_notebook_where_it_is(lab, jupyter, output):
    lab.open(jupyter.write("arrows.ipynb", "1 + 1", output, "2 + 2"))
    viewer = Viewer(lab.page)
    lab.cells.nth(1).locator(".jp-InputPrompt").click()
    viewer.press("ArrowRight", "ArrowDown", "ArrowUp", "ArrowRight", "ArrowRight")
    assert viewer.step == 3
    expect(lab.cells.nth(1)).to_contain_class("jp-mod-active")


def test_an_untrusted_notebook_shows_the_film_strip_and_runs_nothing(lab, jupyter, output):
    hostile = output | {"text/html": output["text/html"] + "<script>window.ran = 1</script>"}
    lab.open(jupyter.write("untrusted.ipynb", hostile, trusted=False))
    still = lab.notebook.locator(".jp-OutputArea-output img")
    expect(still).to_be_visible()
    assert still.evaluate("img => img.complete && img.naturalWidth > 200 && img.getBoundingClientRect().height > 50")
    assert "frames" in still.get_attribute("alt")
    assert lab.page.evaluate("() => window.ran") is None
    assert lab.page.locator("canvas").count() == 0
    assert "const" not in lab.notebook.locator(".jp-OutputArea-output").inner_text()  # no script as text either


def test_trusting_a_notebook_brings_its_scrubber_to_life(lab, jupyter, output, recording):
    lab.open(jupyter.write("trust.ipynb", output, trusted=False))
    lab.trust()
    viewer = Viewer(lab.page)
    viewer.choose("channel", "1")
    viewer.drag(to=4)
    assert shows(viewer, recording, step=4, channel=1)


def test_a_second_view_of_an_output_has_steps_of_its_own(lab, jupyter, output):
    lab.open(jupyter.write("second.ipynb", output))
    first = Viewer(lab.notebook)
    first.drag(to=3)
    lab.cells.nth(0).locator(".jp-InputPrompt").click()
    second = Viewer(lab.second_view())
    assert second.step == 0
    second.drag(to=9)
    assert (first.step, second.step) == (3, 9)
    assert (first.colours("layer1.h") != second.colours("layer1.h")).any()
    first.drag(to=9)
    assert (first.colours("layer1.h") == second.colours("layer1.h")).all()


def test_three_scrubbers_in_one_notebook_share_nothing(lab, jupyter, output):
    lab.open(jupyter.write("three.ipynb", output, output, output))
    steps = (2, 14, 7)
    for index, step in enumerate(steps):
        Viewer(lab.notebook, index).drag(to=step)
    Viewer(lab.notebook, 1).choose("channel", "3")
    Viewer(lab.notebook, 1).choose("show", "max")
    Viewer(lab.notebook, 2).button("Play").click()
    first, second, third = (Viewer(lab.notebook, index) for index in range(3))
    expect(third.slider).not_to_have_value("7")
    assert (first.step, second.step) == (2, 14)
    expect(first.button("Play")).to_be_visible()
    kept = first.host.get_by_role("combobox", name="channel of").input_value()
    third.button("Pause").click()
    third.drag(to=2)
    assert third.host.get_by_role("combobox", name="channel of").input_value() == kept != "3"
    assert (first.colours("layer1.c") == third.colours("layer1.c")).all()


def test_it_follows_jupyterlabs_theme_and_not_the_systems(lab, jupyter, output):
    lab.page.emulate_media(color_scheme="light")
    lab.open(jupyter.write("theme.ipynb", output))
    viewer = Viewer(lab.page)
    for theme in ("Dark", "Light"):
        lab.theme(f"JupyterLab {theme}")
        viewer.point_at(NAMES[0], 3, 3)
        assert viewer.is_dark() == (theme == "Dark")
        assert viewer.faint_texts() == [], theme


def test_in_a_window_of_800_px_nothing_reaches_beyond_its_output(lab, jupyter, output):
    lab.page.set_viewport_size({"width": 800, "height": 900})
    lab.open(jupyter.write("narrow.ipynb", output))
    viewer = Viewer(lab.page)
    assert viewer.beyond() == []
    assert lab.notebook.locator(".jp-OutputArea-output").first.evaluate("one => one.scrollWidth <= one.clientWidth")


def test_play_and_the_film_stay_in_view_in_an_output_that_does_not_scroll(lab, jupyter, output):
    lab.page.set_viewport_size({"width": 1000, "height": 600})
    lab.open(jupyter.write("tall.ipynb", output, "1 + 1"))
    viewer = Viewer(lab.page)
    viewer.host.locator(".tiles").scroll_into_view_if_needed()
    lab.page.wait_for_timeout(300)
    expect(viewer.button("Play")).to_be_in_viewport()
    lab.page.mouse.click(*viewer.place(6))
    expect(viewer.slider).to_have_value("6")
