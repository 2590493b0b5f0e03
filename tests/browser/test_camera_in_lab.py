"""The camera in JupyterLab: a real video before it, recorded, sent to the kernel and shown; and what forbids it."""

import json
import re

import av
import chromium
import pytest
from lab import Lab
from playwright.sync_api import Browser, Page, Playwright, expect
from test_explorer_in_lab import Explorer

pytestmark = pytest.mark.browser

WATCHED = """
import sys
asked = []
def hear(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto", "subprocess.Popen", "os.system"):
        asked.append((event, arguments[1:]))
sys.addaudithook(hear)
from gatescope.pictures import explore
shown = explore(('a-0',))
shown"""
TELL = """
import os, tempfile
left = [name for name in os.listdir(tempfile.gettempdir()) if name.startswith("clip-")]
original = shown.answer.original
print("asked", asked, "left", left, "frames", len(original.frames), original.frames.shape[1:])"""


@pytest.fixture(scope="module")
def clip(shared, tmp_path_factory):
    """A recorded gesture, as JPEG pictures one after another."""
    path = tmp_path_factory.mktemp("camera") / "gesture.mjpeg"
    with av.open(shared / "realdata/intel_asl/asl_gestures/no.mkv") as read, av.open(path, "w", "mjpeg") as written:
        stream = written.add_stream("mjpeg", rate=30)
        stream.width, stream.height, stream.pix_fmt = 640, 480, "yuvj420p"
        for frame in read.decode(video=0):
            written.mux(stream.encode(frame.reformat(format="yuvj420p")))
        written.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def browser(playwright, clip):
    """One with a camera, which sees the gesture again and again."""
    browser = chromium.launch(
        playwright, "--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={clip}"
    )
    yield browser
    browser.close()


@pytest.mark.slow
def test_a_gesture_is_recorded_and_treated_as_a_dropped_video(page, lab, jupyter, asked):
    page.context.grant_permissions(["camera"])
    lab.open(jupyter.write("camera.ipynb", WATCHED, TELL))
    lab.command("notebook:run-cell")
    explorer = Explorer(lab)
    page.wait_for_timeout(500)
    page.screenshot(path="/tmp/hD_0.png")
    camera = explorer.box.get_by_role("group", name="your camera")
    camera.get_by_role("button", name="Record a gesture").click()
    page.wait_for_timeout(2000)
    page.screenshot(path="/tmp/hD_1.png")
    expect(camera.get_by_role("button", name="Stop")).to_be_visible()
    page.wait_for_timeout(1500)
    page.screenshot(path="/tmp/hD_2.png")
    expect(camera.get_by_role("button", name="Keep")).to_be_visible()
    import time
    start = time.perf_counter()
    expect(explorer.box.locator(".scrubber .title")).to_contain_text("gesture 1.webm", timeout=60_000)
    print("states after", time.perf_counter() - start)
    expect(explorer.box.locator(".scrubber .title")).to_contain_text("measured hand", timeout=60_000)
    print("hands after", time.perf_counter() - start)
    explorer.says("knows only")
    page.screenshot(path="/tmp/hD_3.png")
    print(explorer.words.inner_text())
    lab.cells.nth(1).locator(".jp-InputPrompt").click()
    lab.command("notebook:run-cell")
    expect(lab.cells.nth(1)).to_contain_text("frames")
    print(lab.cells.nth(1).inner_text())
