"""The camera in JupyterLab: a real video before it, recorded, sent to the kernel and shown; and what forbids it."""

from urllib.parse import urlsplit

import chromium
import pytest
from lab import Lab
from playwright.sync_api import Locator, Page, expect
from samples import camera_file, camera_options
from test_explorer_in_lab import Explorer

pytestmark = pytest.mark.browser

# Whatever Python's own code connects to or starts; the kernel's sockets to its server are there before.
WATCHED = """\
import os, pathlib, sys, tempfile
import matplotlib.font_manager  # where nobody did before, it asks a program for the machine's fonts
tempfile.tempdir, asked = tempfile.mkdtemp(), []
events = {"socket.connect", "socket.getaddrinfo", "socket.sendto", "subprocess.Popen", "os.system", "os.posix_spawn"}
sys.addaudithook(lambda event, given: asked.append(event) if event in events else None)
from gatescope.pictures import explore
shown = explore(('a-0',))
shown.own.folder = pathlib.Path("own")
shown"""
TELL = """\
frames = shown.answer.original.frames
print("asked", asked, "left", [name for name in os.listdir(tempfile.tempdir) if "torch" not in name])
print("loaded", [name for name in ("lightning_fabric", "torch._dynamo") if name in sys.modules])
print(len(frames), "frames of", frames.shape[1:], "hand", shown.answer.clip.hand_source)"""
# Beside the widget: a kernel that answers everything or nothing, and every stream that a camera gave.
PAGE = """<!DOCTYPE html><meta charset="utf-8"><body><script type="module">
import widget from "./widget.js";
window.sent = [];
window.streams = [];
const heard = [];
const model = {
  get: (name) => (name === "says" ? { words: "", busy: false } : {}),
  on: (name, listener) => name === "msg:custom" && heard.push(listener),
  off() {},
  send: ({ id, what, files, class: name }) => {
    if (files) sent.push(name ? `${name}: ${files[0].name}` : files[0].name);
    if (ANSWERS) setTimeout(() => heard.forEach((listener) => listener({ id }, [new DataView(new ArrayBuffer(1))])));
  },
};
const open = navigator.mediaDevices?.getUserMedia.bind(navigator.mediaDevices);
if (open) navigator.mediaDevices.getUserMedia = async (asked) => (streams.push(await open(asked)), streams.at(-1));
window.end = widget.render({ model, el: document.body.appendChild(document.createElement("div")) });
</script>"""


@pytest.fixture(scope="module")
def browser(playwright, shared, tmp_path_factory):
    """One whose camera sees a recorded gesture."""
    from gatescope.loaders import read_clip

    frames = read_clip(shared / "realdata/intel_asl/asl_gestures/no.mkv").frames
    path = camera_file(frames, tmp_path_factory.mktemp("camera") / "gesture.mjpeg")
    browser = chromium.launch(playwright, *camera_options(path))
    yield browser
    browser.close()


@pytest.fixture
def lab(page, jupyter) -> Lab:
    """In a window of the browser with the camera."""
    return Lab(page, jupyter)


def camera_of(place: Page | Locator) -> Locator:
    return place.get_by_role("group", name="your camera")


def open_at(page: Page, address: str, answers: bool = False) -> Locator:
    """The widget on a page at any address, which no machine but this test answers."""
    from gatescope.explorer.live_scrubber import LiveScrubber

    host = urlsplit(address).hostname
    files = {
        "/widget.js": ("text/javascript", LiveScrubber._esm),
        "/": ("text/html", PAGE.replace("ANSWERS", str(answers).lower())),
    }

    def answer(route):
        kind, body = files.get(urlsplit(route.request.url).path, files["/"])
        route.fulfill(status=200, content_type=f"{kind}; charset=utf-8", body=body)

    page.route(lambda url: urlsplit(url).hostname == host, answer)
    page.goto(address)
    return camera_of(page)


@pytest.mark.slow
def test_a_gesture_is_recorded_and_treated_as_a_dropped_video(page, lab, jupyter, asked):
    from gatescope.loaders.hands import has_networks

    page.context.grant_permissions(["camera"])
    lab.open(jupyter.write("camera.ipynb", WATCHED, TELL))
    lab.command("notebook:run-cell")
    explorer = Explorer(lab)
    camera = camera_of(explorer.box)
    camera.get_by_role("button", name="Record a gesture").focus()
    page.keyboard.press("Enter")
    expect(camera.get_by_role("button", name="Stop")).to_be_focused()
    page.wait_for_timeout(1500)  # of a gesture
    page.keyboard.press("Enter")
    expect(camera.get_by_role("button", name="Again")).to_be_focused()
    title = explorer.box.locator(".scrubber .title")
    expect(title).to_contain_text("gesture 1.", timeout=60_000)
    if has_networks():
        expect(title).to_contain_text("measured hand")
    explorer.says("Measured hand: outlined" if has_networks() else "hands fetch")
    for name, said in (("../wave", "needs a plain name"), ("wave", "Kept as an example of wave")):
        camera.get_by_role("textbox", name="an example of").fill(name)
        camera.get_by_role("button", name="Add").click()
        explorer.says(said)
    expect(explorer.box).to_contain_text("Your gestures: wave 1")
    assert [path.name for path in lab.server.folder.glob("own/*/*.*")] == ["001.webm"]
    explorer.choose("replace", "forget gate f")
    explorer.says("forget gate f replaced by")
    camera.get_by_role("button", name="Keep").click()
    expect(camera.locator("video")).to_be_hidden()
    camera.get_by_role("button", name="Watch live").click()
    expect(camera.locator(".latency")).to_contain_text("the last 16 frames")
    expect(camera.locator(".score")).to_have_count(3)
    expect(camera.locator(".maps canvas")).not_to_have_count(0)
    camera.get_by_role("button", name="Stop").click()
    expect(camera.locator(".seen")).to_be_hidden()
    # Nobody but the notebook's server was asked, by the page or by the kernel, and no file is left.
    lab.cells.nth(1).locator(".jp-InputPrompt").click()
    lab.command("notebook:run-cell")
    expect(lab.cells.nth(1)).to_contain_text("asked [] left []")
    expect(lab.cells.nth(1)).to_contain_text("loaded []")  # over a second, for who trains nothing
    expect(lab.cells.nth(1)).to_contain_text(f"(480, 640, 3) hand {'measured' if has_networks() else 'none'}")
    server = urlsplit(jupyter.url).netloc
    assert {urlsplit(url).netloc for url in asked if not url.startswith(("blob:", "data:"))} == {server}
    # A kernel that is gone is told, before a camera is opened.
    jupyter.ask(f"kernels/{lab.sessions()[0]['kernel']['id']}", "DELETE")
    camera.get_by_role("button", name="Record a gesture").click()
    expect(camera.get_by_role("status")).to_contain_text("Python does not answer")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://notebooks.example/", "only for a secure page"),
        ("https://abc-colab.googleusercontent.com/", "Colab computes on another machine"),
        ("https://abc.vscode-cdn.net/", "VS Code gives its notebooks no camera"),
        ("http://localhost/", "Python does not answer"),
    ],
)
def test_where_nothing_can_be_recorded_one_sentence_says_why(browser, address, said):
    page = browser.new_page()
    page.clock.install()
    camera = open_at(page, address)
    camera.get_by_role("button", name="Record a gesture").click()
    page.clock.fast_forward(5000)  # ms, for which a kernel is waited for
    expect(camera.get_by_role("status")).to_contain_text(said)
    assert camera.get_by_role("status").inner_text().endswith(".")
    # It can be tried again.
    expect(camera.get_by_role("button", name="Record a gesture")).to_be_focused()
    page.close()


@pytest.mark.parametrize(("device", "said"), [(True, "refused the camera"), (False, "finds no camera")])
def test_a_camera_that_is_refused_or_missing_is_told(playwright, browser, device, said):
    other = browser if device else chromium.launch(playwright)
    page = other.new_page()  # which nobody granted a camera
    camera = open_at(page, "http://localhost/", answers=True)
    camera.get_by_role("button", name="Record a gesture").click()
    expect(camera.get_by_role("status")).to_contain_text(said)
    (page if device else other).close()


@pytest.mark.slow
def test_a_recording_is_given_once_and_the_camera_ends_with_it_with_cancel_and_with_the_view(page):
    page.context.grant_permissions(["camera"])
    camera = open_at(page, "http://localhost/", answers=True)

    def begin(name):
        camera.get_by_role("button", name=name).click()

    def states():
        return page.evaluate("() => streams.map((stream) => stream.getTracks()[0].readyState)")

    begin("Record a gesture")
    begin("Stop")
    expect(camera.get_by_role("link", name="Save it")).to_have_attribute("download", "gesture 1.webm")
    assert states() == ["ended"] and page.evaluate("() => sent") == ["gesture 1.webm"]
    begin("Again")
    expect(camera.get_by_role("status")).to_have_text("3")
    begin("Cancel")
    expect(camera.get_by_role("button", name="Record a gesture")).to_be_visible()
    assert states() == ["ended"] * 2
    # Examples of a class come in a row, which one camera records.
    begin("Record 5")
    expect(camera.get_by_role("status")).to_have_text("Write the name of the class first.")
    expect(camera.get_by_role("textbox", name="an example of")).to_be_focused()
    page.keyboard.type("wave")
    page.keyboard.press("Enter")
    for place in range(1, 6):
        begin("Now")
        expect(camera.get_by_role("status")).to_contain_text(f"{place} of 5: recording")
        begin("Stop")
    expect(camera.get_by_role("status")).to_contain_text("5 examples of wave are recorded")
    expect(camera.get_by_role("textbox", name="an example of")).to_be_focused()
    assert states() == ["ended"] * 3
    given = ["gesture 1.webm", *(f"wave: gesture {number}.webm" for number in range(2, 7))]
    assert page.evaluate("() => sent") == given
    begin("Record a gesture")
    expect(camera.get_by_role("status")).to_have_text("2")
    page.evaluate("() => end()")
    page.wait_for_function("() => streams.at(-1).getTracks()[0].readyState === 'ended'")
    assert page.evaluate("() => sent") == given
