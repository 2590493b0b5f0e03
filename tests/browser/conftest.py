"""A real chromium, a page that may ask nobody but this machine, and a real JupyterLab."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import chromium
import pytest
from lab import Lab, Server
from playwright.sync_api import Browser, Page, Playwright, expect, sync_playwright
from samples import known, make_clip, make_recording
from xdist.scheduler import LoadScopeScheduling

PATIENCE_MS = 60_000  # for what a page does on a machine that is busy with other things
WINDOW = {"width": 1280, "height": 900}


# Their tests share nothing that takes long to make.
ALONE = tuple(f"test_{name}.py" for name in ("everyone", "explorable", "exported_page"))


class Together(LoadScopeScheduling):
    """Tests in JupyterLab run in one process, as do those of a file; some wherever there is time.

    xdist's own groups do nothing under pytest 9.2, whose tests keep their names.
    """

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return nodeid if path.endswith(ALONE) else "lab" if path.endswith("lab.py") else path


def pytest_xdist_make_scheduler(config, log) -> Together:
    return Together(config, log)


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    if chromium.find() is None:
        pytest.skip(chromium.MISSING)
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="session")
def browser(playwright) -> Iterator[Browser]:
    browser = chromium.launch(playwright)
    yield browser
    browser.close()


def open_page(browser: Browser, asked: list[str], failed: list[str]) -> Page:
    """A page without a past, which tells every URL that it asks for, also of a socket, and what fails on it."""
    context = browser.new_context(viewport=WINDOW)
    context.on("request", lambda request: asked.append(request.url))
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.on("websocket", lambda socket: asked.append(socket.url))
    page.on("pageerror", lambda error: failed.append(error.stack or error.message))
    page.on("console", lambda said: failed.append(f"{said.text} {said.location}") if said.type == "error" else None)
    return page


def check(asked: list[str], failed: list[str]) -> None:
    """No script failed on a page, and it asked no other machine for anything."""
    elsewhere = [url for url in asked if urlsplit(url).hostname not in {None, "localhost", "127.0.0.1"}]
    assert not elsewhere, f"asked other machines: {elsewhere}"
    # JupyterLab's own scripts complain, of a kernel or a widget's model that went away for one.
    theirs = "/static/lab/", "/lab/extensions/@jupyter-widgets/"
    ours = [error for error in failed if not any(where in error for where in theirs)]
    assert not ours, f"errors on the page: {ours}"


@pytest.fixture
def asked() -> list[str]:
    """Every URL that the page asked for, in order."""
    return []


@pytest.fixture
def page(browser, asked) -> Iterator[Page]:
    """A page without a past, which is checked afterwards."""
    failed: list[str] = []
    page = open_page(browser, asked, failed)
    yield page
    page.context.close()
    check(asked, failed)


@pytest.fixture(scope="session")
def jupyter(tmp_path_factory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("jupyter")) as server:
        yield server


@pytest.fixture(scope="session")
def windows() -> list[tuple[Lab, list[str], list[str]]]:
    """The open window of JupyterLab, if there is one, with what it asked for and what failed in it."""
    return []


@pytest.fixture
def lab(request, browser, jupyter, windows) -> Iterator[Lab]:
    """A window without an open notebook: that of the test before, if it passed. To load Lab takes four seconds."""
    if not windows:
        asked, failed = [], []
        windows.append((Lab(open_page(browser, asked, failed), jupyter), asked, failed))
    lab, asked, failed = windows[0]
    asked.clear()
    failed.clear()
    before = request.session.testsfailed
    lab.page.set_viewport_size(WINDOW)
    lab.page.emulate_media(color_scheme="null")
    yield lab
    if request.session.testsfailed > before:
        windows.clear()
        lab.page.context.close()
    else:
        lab.close_all()
    jupyter.end_kernels()
    check(asked, failed)


@pytest.fixture(scope="session")
def recording():
    return make_recording()


@pytest.fixture(scope="session")
def clip():
    return make_clip()


@pytest.fixture(scope="session")
def scrubber(recording, clip):
    from gatescope.pictures import Scrubber

    return Scrubber(recording, clip, meanings=known(recording))


@pytest.fixture(scope="session")
def exported(scrubber, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "scrubber.html"
    scrubber.to_html(path)
    return path
