"""The exported site as a reader opens it, from a disk and from a server: nothing asks another host for anything."""

import functools
import shutil
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_output
from playwright.sync_api import expect
from viewer import Viewer

from site_trees import executed

REPOSITORY = Path(__file__).resolve().parent.parent.parent
pytestmark = [pytest.mark.browser, pytest.mark.slow]

WIDTHS_PX = 1280, 800, 360
SPY = "98_spy"  # a notebook whose output asks another host


@pytest.fixture
def page(page):
    page.set_default_navigation_timeout(120_000)  # ms: pages have megabytes, and machines are busy
    return page


@pytest.fixture(scope="module")
def site(scrubber, tmp_path_factory) -> Path:
    """The site of this repository's notebooks and of two more: a scrubber, and one that asks another host."""
    from gatescope.atlas.site import write_site

    tree = tmp_path_factory.mktemp("tree")
    for name in ("notebooks", "figures", "data"):
        wanted = ("*.ipynb", "*.md", "00-people.png")
        for path in (path for pattern in wanted for path in (REPOSITORY / name).rglob(pattern)):
            target = tree / path.relative_to(REPOSITORY)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    shutil.copyfile(REPOSITORY / "README.md", tree / "README.md")
    shown = new_output("display_data", {"text/html": scrubber.html()})
    spying = new_output("display_data", {"text/html": '<img alt="" src="https://example.org/spy.png">'})
    extra = {
        SPY: executed("# 98 · Spy\n\n**Who asks?**", [spying]),
        "99_scrubber": executed("# 99 · Scrubber\n\n**Does it move?**", [shown], [shown]),
    }
    for name, node in extra.items():
        nbformat.write(node, tree / "notebooks" / f"{name}.ipynb")
    write_site(tree, tree / "site")
    return tree / "site"


@pytest.fixture(scope="module", params=["file", "http"])
def address(request, site):
    """Where the site stands, from a disk or from a server."""
    if request.param == "file":
        yield site.as_uri()
        return
    handler = functools.partial(SimpleHTTPRequestHandler, directory=site)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_no_page_fails_or_is_wider_than_the_window(page, site, address):
    for path in sorted(site.rglob("*.html")):
        if path.stem != SPY:
            page.goto(f"{address}/{path.relative_to(site).as_posix()}")
            for width in WIDTHS_PX:
                page.set_viewport_size({"width": width, "height": 900})
                beyond = page.evaluate("document.documentElement.scrollWidth - innerWidth")
                assert beyond <= 0, f"{path.name} at {width} px"


def test_a_formula_is_drawn(page, address):
    page.goto(f"{address}/notebooks/02_one_step.html")
    formulas = page.locator("math")
    assert formulas.count() > 10
    for formula in formulas.all():
        box = formula.bounding_box()
        assert box["width"] > 4
        assert box["height"] > 4


def test_a_plotly_figure_is_drawn_and_answers_the_pointer(page, address):
    page.goto(f"{address}/notebooks/07_spatial_or_channel.html")
    figure = page.locator("figure.plotly").first
    figure.scroll_into_view_if_needed()
    point = figure.locator(".points path").first
    expect(point).to_be_attached(timeout=20_000)
    point.hover(force=True)
    expect(figure.locator(".hovertext")).to_contain_text("channel")


def test_two_scrubbers_of_a_page_move_by_themselves(page, address):
    page.goto(f"{address}/notebooks/99_scrubber.html")
    first = Viewer(page)
    first.drag(to=5)
    second = Viewer(page, 1)
    second.press("End", "ArrowLeft")
    assert (first.step, second.step) == (5, 14)
    assert not first.beyond()


def test_from_the_index_to_a_notebook_and_on(page, site, address):
    page.goto(f"{address}/index.html")
    cards = page.get_by_role("listitem")
    assert cards.count() == len(list((site / "notebooks").glob("*.html")))
    pictures = cards.get_by_role("img")
    assert pictures.evaluate_all("all => all.every(one => one.naturalWidth == 480 && one.alt)")
    cards.nth(1).get_by_role("img").click(force=True)  # a card is a link as a whole
    expect(page.get_by_role("heading", level=1)).to_contain_text("01")
    page.get_by_role("navigation", name="Notebooks").get_by_role("link").last.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("02")


def test_the_keyboard_can_skip_the_navigation(page, address):
    page.goto(f"{address}/notebooks/02_one_step.html")
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the text")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()


def test_an_output_that_asks_another_host_is_not_let(browser, address):
    with browser.new_context() as context:
        page = context.new_page()
        page.add_init_script(
            "addEventListener('securitypolicyviolation', event => { window.blocked = event.blockedURI })"
        )
        asked = []
        page.on("requestfinished", lambda request: asked.append(request.url))
        page.goto(f"{address}/notebooks/{SPY}.html")
        page.wait_for_function("window.blocked")
        assert page.evaluate("window.blocked").startswith("https://example.org")
        assert [url for url in asked if "example.org" in url] == []
