"""The stepper on a page: a term is chosen, a pixel pointed at, and the numbers told are those computed."""

import numpy as np
import pytest
import torch
from playwright.sync_api import expect

pytestmark = pytest.mark.browser
SIZE = 6


@pytest.fixture(scope="module", params=["convlstm", "a"])
def stepper(request):
    from gatescope.loaders import Clip
    from gatescope.models import RecurrentLayer
    from gatescope.pictures import Stepper

    torch.manual_seed(0)
    layer = RecurrentLayer(request.param, 3, 4)
    frames = np.random.default_rng(0).integers(0, 255, (8, 24, 24, 3), dtype=np.uint8)
    clip = Clip(frames=frames, fps=12.0, source="a drawing")
    return Stepper(layer, torch.randn(1, 4, 3, SIZE, SIZE), clip, step=1, title="one step")


@pytest.fixture
def shown(page, stepper, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(f'<!DOCTYPE html><meta charset="utf-8"><body>{stepper.html()}')
    page.goto(path.as_uri())
    expect(page.get_by_role("button", name="Next step")).to_be_visible()
    return page


def point_at(page, row, column):
    box = page.get_by_role("img", name="the chosen term").bounding_box()
    page.mouse.move(box["x"] + (column + 0.5) * box["width"] / SIZE, box["y"] + (row + 0.5) * box["height"] / SIZE)


def number(value):
    text = f"{value:.3f}"
    return "0.000" if float(text) == 0 else text.replace("-", "−")


@pytest.mark.parametrize("name", ["i", "g", "c", "h", "x_g", "kept"])
def test_the_number_under_the_pointer(shown, stepper, name):
    shown.locator(f"[data-term={name}]").first.click()
    point_at(shown, 2, 4)
    values = stepper.terms[name][1]
    value = values[0, 0] if values.size == 1 else values[2, 4]
    told = shown.locator(".told")
    expect(told).to_contain_text("one number for all positions" if values.size == 1 else "row 3 of 6, column 5 of 6")
    assert number(value) in told.locator("p").nth(-2).inner_text()
    expect(told).to_contain_text("Each number is rounded by itself")
    if name == "x_g":
        cells = [float(text.replace("−", "-")) for text in shown.locator(".window td").all_inner_texts()]
        assert cells == pytest.approx(stepper.taps["x_g"][1, :, 2, 4].tolist(), abs=0.0006)


def test_steps_and_keys(shown, stepper):
    shown.locator("[data-term=c]").first.click()
    shown.get_by_role("button", name="Next step").click()
    expect(shown.get_by_text("step 3 of 4, frames 5 to 6")).to_be_visible()
    point_at(shown, 3, 3)
    shown.mouse.down()
    shown.mouse.up()
    shown.mouse.move(1, 1)  # what was pressed stays
    shown.get_by_role("img", name="the chosen term").focus()
    shown.keyboard.press("ArrowUp")
    shown.keyboard.press("ArrowRight")
    told = shown.locator(".told")
    expect(told).to_contain_text("row 3 of 6, column 5 of 6")
    assert told.locator("p").nth(-2).inner_text().endswith(number(stepper.terms["c"][2, 2, 4]))
    for _ in range(2):
        shown.get_by_role("button", name="Next step").click()
    expect(shown.get_by_text("step 1 of 4")).to_be_visible()
    shown.keyboard.press("ArrowRight")
    expect(shown.get_by_text("step 2 of 4")).to_be_visible()
    shown.keyboard.press("Home")
    shown.locator("[data-term=c_before]").click()
    expect(told).to_contain_text("Before the first step the state is zero.")
