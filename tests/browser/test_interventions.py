"""Interventions computed beforehand, on a page without a kernel."""

import pytest
import torch
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    from gatescope.explorer.precomputed import Interventions
    from gatescope.measures.sample import rendered
    from gatescope.models import GestureNetwork, NetworkConfig

    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = GestureNetwork(NetworkConfig.small("convlstm", num_classes=27, width=1 / 32, size=32)).eval()
    made = Interventions(network, rendered(network, 1).clip(0), title="a clip")
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(f'<!DOCTYPE html><html lang="en"><meta charset="utf-8"><body>{made.html()}</body></html>')
    return path


def test_a_page_switches_between_interventions_also_by_the_keyboard(page, written):
    page.goto(written.as_uri())
    shown = page.locator(".gatescope-scrubber[data-ready]:visible")
    expect(shown).to_have_count(1)
    expect(shown.locator(".title")).to_have_text("a clip: space mean")
    shown.get_by_role("slider", name="time step").press("End")
    channel = shown.get_by_role("combobox", name="channel of layer 1, before")
    channel.select_option(channel.locator("option").nth(2).inner_text())
    kept = channel.input_value()
    page.get_by_role("radio", name="shifted").check()
    expect(shown.locator(".title")).to_have_text("a clip: shifted")
    expect(shown.get_by_role("slider", name="time step")).to_have_value("7")
    expect(shown.get_by_role("combobox", name="channel of layer 1, after", exact=True)).to_have_value(kept)
    page.keyboard.press("ArrowRight")
    expect(shown.locator(".title")).to_have_text("a clip: time mean")
    expect(shown).to_have_count(1)
    # What was hidden while it was made is drawn when it is seen.
    stack = shown.locator("[data-name='layer1.h'] .stack").first
    assert stack.bounding_box()["width"] > 50
    assert len(set(stack.locator(".map").evaluate("c => [...c.getContext('2d').getImageData(0, 0, 8, 8).data]"))) > 5


def test_without_scripts_the_buttons_switch_between_film_strips(browser, written):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(written.as_uri())
    expect(page.locator("img[alt*='over 8 steps']:visible")).to_have_count(1)
    page.get_by_role("radio", name="time mean").check()
    expect(page.locator("img[alt^='a clip: time mean']")).to_be_visible()
    context.close()
