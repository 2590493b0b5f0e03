"""The explorer in JupyterLab, as a reader works it: controls, changes, files of one's own, channels on request."""

import base64
import re
import time

import pytest
from lab import AXE, NO_AXE, RUN, Lab
from playwright.sync_api import Locator, expect
from samples import HOSTILE
from viewer import Viewer

pytestmark = pytest.mark.browser

OPEN = "from gatescope.pictures import explore\nexplore(('a-0', 'b-0'))"
BIG = """
import numpy as np
from gatescope.loaders import Clip
from gatescope.explorer.live_scrubber import LiveScrubber
from gatescope.pictures.packing import Group, pack

rng = np.random.default_rng(0)
names = [f"layer1.{point}" for point in "hciofg"]
maps = {name: rng.random((32, 256, 28, 28), dtype=np.float32) for name in names}
group = Group("layer 1", maps, orders={"activation sum": maps["layer1.h"].sum((0, 2, 3))})
clip = Clip(frames=np.zeros((32, 56, 56, 3), np.uint8), fps=12.0, source="noise")
big = LiveScrubber(on_files=print, on_cancel=print, on_frame=print)
big.show([group], pack([group], clip, num_channels=2))
big
"""
WATCH = """
heard = []
big.observe(lambda change: heard.append(change["name"]), ["step", "channel", "pins"])
big.step, big.channel, big.pins = 5, 17, [(0.25, 0.5), (0.75, 0.5)]
"""
TELL = "print(big.step, big.channel, big.pins, sorted(set(heard)))"
DROP = """(el, files) => {
    const data = new DataTransfer();
    const bytes = text => Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
    for (const [name, text] of files) data.items.add(new File([bytes(text)], name));
    const event = type => new DragEvent(type, {bubbles: true, cancelable: true, dataTransfer: data});
    for (const type of ['dragover', 'drop']) el.querySelector('.gatescope-desk').dispatchEvent(event(type));
}"""


class Explorer:
    """The explorer of the open notebook."""

    def __init__(self, lab: Lab):
        self.box = lab.notebook.locator(".gatescope-explorer")
        expect(self.box.locator(".gatescope-scrubber[data-ready]")).to_be_visible(timeout=120_000)
        self.words = self.box.locator(".gatescope-desk .going").get_by_role("status")

    def choose(self, name: str, option: str) -> None:
        self.box.get_by_role("combobox", name=name, exact=True).select_option(label=option)

    def says(self, words: str, timeout_s: float = 60) -> None:
        expect(self.words).to_contain_text(words, timeout=1000 * timeout_s)

    def channel_of(self, group: str | re.Pattern) -> Locator:
        return self.box.get_by_role("combobox", name=group)

    def groups(self) -> Locator:
        return self.box.locator("section.group h3")

    def drop(self, *files: tuple[str, bytes]) -> None:
        named = [[name, base64.b64encode(content).decode()] for name, content in files]
        self.box.evaluate(DROP, named)


@pytest.fixture
def explorer(lab, jupyter) -> Explorer:
    lab.open(jupyter.write("explorer.ipynb", OPEN, "'a cell that x would cut'"))
    lab.run_all()
    return Explorer(lab)


@pytest.mark.slow
def test_a_change_shows_states_and_scores_before_and_after(explorer, lab):
    expect(explorer.groups()).to_have_text(["a-0 layer 1"])
    explorer.says("a-0 answers")
    explorer.channel_of("channel of a-0 layer 1").select_option("7")
    explorer.choose("replace", "forget gate f")
    explorer.says("forget gate f replaced by time mean")
    explorer.choose("by", "constant")
    explorer.says("forget gate f replaced by constant")
    expect(explorer.groups()).to_have_text(
        ["a-0 scores before and after", *(f"a-0 layer 1, {when}" for when in ("before", "after", "after − before"))]
    )
    # The channel that was looked at is looked at still, before and after.
    for when in ("before", "after"):
        expect(explorer.channel_of(re.compile(f"^channel of a-0 layer 1, {when}$"))).to_have_value("7")
    explorer.channel_of(re.compile("^channel of a-0 layer 1, before")).select_option("9")
    expect(explorer.channel_of(re.compile("^channel of a-0 layer 1, after$"))).to_have_value("9")
    # A letter typed at one of its controls is no shortcut of the notebook's.
    explorer.box.get_by_role("combobox", name="gesture", exact=True).focus()
    for key in ("x", "a", "Enter"):
        lab.page.keyboard.press(key)
    expect(lab.cells).to_have_count(2)


@pytest.mark.slow
def test_a_score_is_explained_in_a_panel_and_long_work_ends_when_told(explorer):
    explorer.choose("explain by", "Grad-CAM")
    explorer.box.get_by_role("button", name="Explain", exact=True).click()
    expect(explorer.groups()).to_have_text(["a-0 layer 1", "explained"], timeout=60_000)
    explorer.choose("explain by", "integrated gradients")
    explorer.box.get_by_role("button", name="Explain", exact=True).click()
    explorer.says("integrated gradients of a-0")
    expect(explorer.box.get_by_role("progressbar", name="work under way")).to_be_visible()
    explorer.box.get_by_role("button", name="Cancel").click()
    explorer.says("Cancelled")
    explorer.choose("layer", "layer 2")
    expect(explorer.groups()).to_have_text(["a-0 layer 2"], timeout=60_000)


@pytest.mark.slow
def test_a_video_that_is_dropped_is_looked_at_and_a_broken_one_named(explorer, shared, lab):
    video = (shared / "realdata/intel_asl/asl_gestures/no.mkv").read_bytes()
    start = time.perf_counter()
    explorer.drop(("my hand.mkv", video))
    expect(explorer.box.locator(".scrubber .title")).to_contain_text("my hand.mkv", timeout=60_000)
    print(f"a dropped H.264 clip of {len(video) / 1e3:.0f} kB after {time.perf_counter() - start:.2f} s")
    expect(explorer.box.get_by_role("combobox", name="clips", exact=True)).to_have_value("my own")
    explorer.drop(("broken.mp4", video[:5000]))
    explorer.says("broken.mp4")
    explorer.says("the video is cut off")
    explorer.drop((HOSTILE, b"no video"))
    explorer.says("does not decode")
    explorer.drop(("large.mp4", bytes(3_000_000)))
    explorer.says("large.mp4")
    assert not lab.page.evaluate("() => window.ran")


@pytest.mark.slow
def test_a_button_shows_a_finding_and_similar_clips_are_opened(lab, jupyter):
    lab.open(jupyter.write("finding.ipynb", OPEN.replace("b-0", "convlstm-0")))
    lab.run_all()
    explorer = Explorer(lab)
    explorer.box.get_by_role("button", name="Average all gates of both layers over space").click()
    explorer.says("Of 54 validation clips convlstm-0 answers", 120)
    whens = ("before", "after", "after − before")
    titles = [f"convlstm-0 layer {layer}, {when}" for layer in (1, 2) for when in whens]
    expect(explorer.groups()).to_have_text(["convlstm-0 scores before and after", *titles])
    names = explorer.box.locator(".curve .classes bdi").all_inner_texts()
    assert [name.rpartition(", ")[2] for name in names] == ["before", "after"] * 3
    # A colour bar means the same before and after.
    bars = [
        explorer.box.locator(f"section.group[data-group='{title}'] [data-name='layer1.f'] .ends")
        for title in titles[:2]
    ]
    assert bars[0].inner_text() == bars[1].inner_text()
    explorer.box.get_by_role("button", name="All clips like this").click()
    explorer.says("correlates most", 120)
    link = explorer.box.get_by_role("button", name=re.compile("^Open, r = ")).first
    gesture = (link.get_attribute("title") or "").removeprefix("open ").partition(",")[0]
    link.click()
    expect(explorer.box.locator(".scrubber .title")).to_contain_text(gesture, timeout=60_000)


@pytest.mark.slow
def test_a_saved_notebook_without_its_kernel_shows_the_film_strip(explorer, lab):
    strip = lab.notebook.locator(".jp-OutputArea-child .jp-RenderedImage img")
    expect(strip).to_have_count(1)
    expect(strip).to_be_hidden()
    lab.save()
    lab.wait_for(lambda: "widget-view" in lab.path.read_text(), "the saved widget")
    lab.choose_no_kernel()
    lab.load(lab.path)
    expect(strip).to_be_visible()
    expect(lab.notebook.get_by_text("model not found")).to_have_count(1)
    expect(lab.notebook.get_by_text("model not found")).to_be_hidden()
    expect(strip).to_be_visible()


@pytest.mark.skipif(not AXE.exists(), reason=NO_AXE)
@pytest.mark.slow
def test_axe_finds_nothing_serious_in_what_cells_show(lab, jupyter):
    lab.open(jupyter.write("axe.ipynb", RUN, OPEN))
    lab.run_all()
    Explorer(lab)
    lab.page.evaluate(AXE.read_text())
    found = lab.page.evaluate("axe.run('.jp-Notebook .jp-OutputArea-output')")
    assert {"aria-valid-attr", "label", "color-contrast"} <= {each["id"] for each in found["passes"]}
    serious = [each for each in found["violations"] if each["impact"] in ("serious", "critical")]
    assert [(each["help"], [node["html"] for node in each["nodes"]]) for each in serious] == []


@pytest.mark.slow
def test_a_channel_of_many_comes_at_once(lab, jupyter):
    lab.open(jupyter.write("big.ipynb", BIG))
    lab.run_all()
    viewer = Viewer(lab.notebook)
    took = []
    for channel in (100, 200, 3, 255, 17):
        start = time.perf_counter()
        viewer.host.get_by_role("combobox", name="channel of layer 1", exact=True).select_option(str(channel))
        shown = viewer.panel("layer1.h").locator(".stack")
        expect(shown).to_have_attribute("aria-label", re.compile(f"channel {channel},"))
        took.append(1000 * (time.perf_counter() - start))
    print(
        f"a channel of 256 with 6 maps of 32 x 28 x 28 after {sorted(took)[2]:.0f} ms (median), {max(took):.0f} at most"
    )


@pytest.mark.slow
def test_python_sets_reads_and_hears_step_channel_and_pins(lab, jupyter):
    def run(place: int) -> None:
        lab.cells.nth(place).locator(".jp-InputPrompt").click()
        lab.command("notebook:run-cell")

    lab.open(jupyter.write("traits.ipynb", BIG, WATCH, TELL))
    run(0)
    viewer = Viewer(lab.notebook)
    expect(viewer.host.locator(".places li")).to_have_count(1)
    run(1)
    expect(viewer.slider).to_have_value("5")
    channel = viewer.host.get_by_role("combobox", name="channel of layer 1", exact=True)
    expect(channel).to_have_value("17")
    expect(viewer.host.locator(".places li")).to_have_text([re.compile("row 28, column 14"), re.compile("column 42")])
    viewer.drag(to=9)
    channel.select_option("100")
    viewer.button("remove pin 1").click()
    lab.page.wait_for_timeout(1000)  # until the page has told Python
    run(2)
    expect(lab.cells.nth(2)).to_contain_text("9 100 [[0.75, 0.5]] ['channel', 'pins', 'step']")
