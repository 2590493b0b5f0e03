"""A real chromium, a page that may ask nobody but this machine, and a real JupyterLab."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import chromium
import pytest
from lab import Lab, Server
from playwright.sync_api import Browser, Page, Playwright, expect, sync_playwright
from samples import known, make_clip, make_recording

PATIENCE_MS = 60_000  # for what a page does on a machine that is busy with other things


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


@pytest.fixture
def asked() -> list[str]:
    """Every URL that the page asked for, also of a socket, in order."""
    return []


@pytest.fixture
def page(browser, asked) -> Iterator[Page]:
    """A page without a past. Afterwards: no script failed on it, and it asked no other machine for anything."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.on("request", lambda request: asked.append(request.url))
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.on("websocket", lambda socket: asked.append(socket.url))
    failed: list[str] = []
    page.on("pageerror", lambda error: failed.append(error.stack or error.message))
    page.on("console", lambda said: failed.append(f"{said.text} {said.location}") if said.type == "error" else None)
    yield page
    context.close()
    elsewhere = [url for url in asked if urlsplit(url).hostname not in {None, "localhost", "127.0.0.1"}]
    assert not elsewhere, f"asked other machines: {elsewhere}"
    # JupyterLab's own scripts complain, of a kernel or a widget's model that went away for one.
    theirs = "/static/lab/", "/lab/extensions/@jupyter-widgets/"
    ours = [error for error in failed if not any(where in error for where in theirs)]
    assert not ours, f"errors on the page: {ours}"


@pytest.fixture(scope="session")
def jupyter(tmp_path_factory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("jupyter")) as server:
        yield server


@pytest.fixture
def lab(page, jupyter) -> Lab:
    return Lab(page, jupyter)


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
