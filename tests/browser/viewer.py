"""A scrubber on a page, worked by its roles and names as a reader works it."""

import re

import numpy as np
from playwright.sync_api import Locator, Page, expect

PIXELS = """canvas => [canvas.height, canvas.width,
    Array.from(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data)]"""

# Every element of a viewer that shows words of its own, with the contrast to what lies behind (WCAG 2.2, 1.4.3).
CONTRASTS = """host => {
    const context = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true});
    const rgba = colour => {
        context.clearRect(0, 0, 1, 1);
        context.fillStyle = colour;
        context.fillRect(0, 0, 1, 1);
        return [...context.getImageData(0, 0, 1, 1).data];
    };
    const linear = v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    const luminance = ([r, g, b]) =>
        0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
    const behind = one => {
        for (; one; one = one.assignedSlot ?? one.parentElement ?? one.getRootNode().host) {
            const colour = rgba(getComputedStyle(one).backgroundColor);
            if (colour[3] > 250) return colour;
        }
        return matchMedia('(prefers-color-scheme: dark)').matches ? [18, 18, 18, 255] : [255, 255, 255, 255];
    };
    return [...host.shadowRoot.querySelectorAll('*')]
        .filter(one => one.checkVisibility({opacityProperty: true, visibilityProperty: true}) && !one.disabled
            && !['STYLE', 'SCRIPT', 'OPTION', 'CANVAS'].includes(one.tagName)
            && (one.tagName === 'SELECT' || [...one.childNodes].some(each => each.nodeType === 3 && each.data.trim())))
        .map(one => {
            const [light, dark] = [rgba(getComputedStyle(one).color), behind(one)].map(luminance).sort((a, b) => b - a);
            return [one.textContent.trim().slice(0, 40), (light + 0.05) / (dark + 0.05), luminance(behind(one))];
        });
}"""
# Elements with something in their computed style that takes time.
MOVING = """host => [...host.shadowRoot.querySelectorAll('*')].filter(one => {
    const {transitionDuration, animationDuration} = getComputedStyle(one);
    return `${transitionDuration},${animationDuration}`.split(',').some(time => parseFloat(time) > 0);
}).map(one => one.outerHTML.slice(0, 200))"""
# Elements that hold `words` in which a mark that turns the direction would turn what comes after them too.
TURNING = """(host, words) => {
    const found = [...host.shadowRoot.querySelectorAll('*')]
        .filter(one => [...one.childNodes].some(each => each.nodeType === 3 && each.data.includes(words)));
    if (!found.length) throw new Error(`${words} is nowhere`);
    return found.filter(one => {
        if (getComputedStyle(one).unicodeBidi.includes('isolate')) return false;
        let block = one;
        while (getComputedStyle(block).display === 'inline') block = block.parentElement;
        return block.textContent.trim() !== one.textContent.trim();  // a mark ends with its block
    }).map(one => one.outerHTML);
}"""
BEYOND = """host => {
    const edge = Math.min(innerWidth, host.getBoundingClientRect().right) + 1;
    return [...host.shadowRoot.querySelectorAll('*')].filter(one => one.getBoundingClientRect().right > edge)
        .map(one => one.outerHTML.slice(0, 200));
}"""


class Viewer:
    """The `index`-th scrubber within `scope`, drawn and in the middle of the window."""

    def __init__(self, scope: Page | Locator, index: int = 0):
        self.host = scope.locator(".gatescope-scrubber").nth(index)
        self.page = self.host.page
        self.slider = self.host.get_by_role("slider", name="time step")
        expect(self.slider).to_be_visible(timeout=60_000)
        self.centre()

    def centre(self) -> None:
        """Bring the slider where no toolbar covers it."""
        self.slider.evaluate("slider => slider.scrollIntoView({block: 'center'})")

    @property
    def step(self) -> int:
        """0-based; the slider follows the pictures by a frame, in a drag by 50 ms at most."""
        self.page.wait_for_timeout(100)
        return int(self.slider.input_value())

    def button(self, name: str) -> Locator:
        return self.host.get_by_role("button", name=name)

    def choose(self, name: str, words: str) -> None:
        """Of the first list of that name, the option that begins with `words`."""
        box = self.host.get_by_role("combobox", name=name).first
        box.select_option(
            label=next(each for each in box.locator("option").all_inner_texts() if each.startswith(words))
        )
        self.drawn()

    def panel(self, name: str) -> Locator:
        return self.host.locator(f'figure[data-name="{name}"]').first

    def colours(self, name: str) -> np.ndarray:
        """RGB of a panel's map, (rows, columns, 3)."""
        self.bring(self.panel(name))
        rows, columns, data = self.panel(name).locator("canvas.map").evaluate(PIXELS)
        rgba = np.array(data).reshape(rows, columns, 4)
        assert (rgba[..., 3] == 255).all(), f"{name} is not wholly drawn"
        return rgba[..., :3]

    def limits(self, name: str) -> tuple[float, float]:
        """Low and high end of a panel's colour bar, as it is written there."""
        low, high = (number(self.panel(name).locator(end).inner_text()) for end in (".low", ".high"))
        return low, high

    def place(self, step: int) -> tuple[float, float]:
        """Where the slider's thumb is at a step, in px of the window."""
        box = self.slider.bounding_box()
        last, thumb = int(self.slider.get_attribute("max")), 16
        return box["x"] + thumb / 2 + (box["width"] - thumb) * step / last, box["y"] + box["height"] / 2

    def drag(self, to: int) -> None:
        """The thumb, with the mouse, from where it is."""
        self.centre()
        self.page.mouse.move(*self.place(self.step))
        self.page.mouse.down()
        self.page.mouse.move(*self.place(to), steps=5)
        self.page.mouse.up()
        expect(self.slider).to_have_value(str(to))
        self.drawn()

    def bring(self, picture: Locator) -> None:
        """Scroll a picture into the window, where alone it is drawn."""
        picture.scroll_into_view_if_needed()
        self.drawn()

    def drawn(self) -> None:
        """Wait until what was asked for is on the screen."""
        self.page.evaluate("async () => { for (const _ of Array(3)) await new Promise(requestAnimationFrame); }")

    def press(self, *keys: str) -> None:
        """With the slider focused."""
        self.slider.focus()
        for key in keys:
            self.page.keyboard.press(key)
        self.drawn()

    def point_at(self, name: str, row: int, column: int) -> None:
        """The mouse at the middle of a cell of a map, or of a pixel of the frame."""
        canvas = self.panel(name).locator("canvas.frame, canvas.map").last
        canvas.scroll_into_view_if_needed()
        box = canvas.bounding_box()
        rows, columns = (int(canvas.get_attribute(side)) for side in ("height", "width"))
        self.page.mouse.move(
            box["x"] + box["width"] * (column + 0.5) / columns, box["y"] + box["height"] * (row + 0.5) / rows
        )
        self.drawn()

    def value(self, name: str) -> float:
        """What the panel says of the cell under the pointer."""
        return number(self.panel(name).locator("output.value").inner_text())

    def faint_texts(self) -> list[tuple[str, float]]:
        """Words whose contrast to what lies behind them is below 4.5."""
        return [(text, contrast) for text, contrast, _ in self.host.evaluate(CONTRASTS) if contrast < 4.5]

    def is_dark(self) -> bool:
        """Whether what lies behind the words is, for most of them."""
        return float(np.median([behind for _, _, behind in self.host.evaluate(CONTRASTS)])) < 0.2

    def moving(self) -> list[str]:
        """Elements that change over time by themselves."""
        return self.host.evaluate(MOVING)

    def turning(self, words: str) -> list[str]:
        """Elements with these words in which a mark for the direction would act on what comes after."""
        return self.host.evaluate(TURNING, words)

    def beyond(self) -> list[str]:
        """Elements that reach beyond the viewer's or the window's right edge."""
        return self.host.evaluate(BEYOND)


def number(text: str) -> float:
    """The first number in a text, which may have a true minus sign."""
    found = re.search(r"[-\u2212]?\d+(\.\d+)?([e\u00d7]\S+)?", text)
    assert found, f"no number in {text!r}"
    return float(found[0].replace("\u2212", "-"))
