"""The exported site as a reader opens it, from a disk and from a server: nothing asks another host for anything."""

import functools
import re
import shutil
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import nbformat
import pytest
from lab import AXE, NO_AXE
from nbformat.v4 import new_output
from playwright.sync_api import Page, expect
from viewer import Viewer

from site_trees import executed, hostile_notebook

REPOSITORY = Path(__file__).resolve().parent.parent.parent
pytestmark = [pytest.mark.browser, pytest.mark.slow]

WIDTHS_PX = 1280, 800, 360
HOSTILE = "98_hostile"  # a notebook that tries to run scripts and to ask another host


@pytest.fixture
def page(page):
    page.set_default_navigation_timeout(120_000)  # ms: pages have megabytes, and machines are busy
    return page


@pytest.fixture(scope="module")
def site(scrubber, tmp_path_factory) -> Path:
    """The site of this repository's notebooks and of two more: a scrubber, and a hostile one."""
    from gatescope.atlas.site import write_site

    tree = tmp_path_factory.mktemp("tree")
    for name in ("notebooks", "figures", "data"):
        wanted = ("*.ipynb", "*.md", "00-*.webp")
        for path in (path for pattern in wanted for path in (REPOSITORY / name).rglob(pattern)):
            target = tree / path.relative_to(REPOSITORY)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    shutil.copyfile(REPOSITORY / "README.md", tree / "README.md")
    shown = new_output("display_data", {"text/html": scrubber.html()})
    extra = {
        HOSTILE: hostile_notebook(),
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


def unpacked(page: Page) -> None:
    """Wait until each viewer has its height."""
    expect(page.locator(":is(.gatescope-scrubber, .gatescope-stepper):not([data-ready])")).to_have_count(0)


def test_no_page_fails_or_is_wider_than_the_window_and_folded_code_takes_little_of_it(page, site, address):
    for path in sorted(site.rglob("*.html")):
        if path.stem != HOSTILE:
            page.goto(f"{address}/{path.relative_to(site).as_posix()}")
            unpacked(page)
            for width in WIDTHS_PX:
                page.set_viewport_size({"width": width, "height": 900})
                beyond = page.evaluate("document.documentElement.scrollWidth - innerWidth")
                assert beyond <= 0, f"{path.name} at {width} px"
            page.set_viewport_size({"width": 1280, "height": 900})
            whole = page.evaluate("document.documentElement.scrollHeight")
            page.add_style_tag(content=".code { display: none; }")
            assert 1 - page.evaluate("document.documentElement.scrollHeight") / whole < 0.03, path.name


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
    expect(figure.locator(".hovertext")).to_contain_text("ConvLSTM")


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
    cards = page.locator(".cards").get_by_role("listitem")
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


@pytest.fixture
def attacked(browser):
    """A page that may fail, and what it asked another host for; what the page itself refuses does not come so far."""
    with browser.new_context() as context:
        asked = []
        context.route("https://example.org/**", lambda route: (asked.append(route.request.url), route.abort()))
        page = context.new_page()
        page.set_default_timeout(60_000)
        yield page, asked


def test_nothing_that_a_notebook_holds_runs_asks_another_host_or_moves_the_page(attacked, address):
    page, asked = attacked
    page.goto(f"{address}/notebooks/{HOSTILE}.html")
    expect(page.get_by_text("the end of it")).to_be_visible()
    for link in page.locator("main a, main math *").all():
        link.click(force=True, no_wait_after=True)
    page.wait_for_timeout(500)
    assert page.evaluate("window.attacked") is None
    assert page.url.partition("#")[0] == f"{address}/notebooks/{HOSTILE}.html"
    assert asked == []


# What would run, or ask, if a page held it after all.
MARKUP = [
    "<script>window.attacked = 1</script>",
    "<img src=x onerror='window.attacked = 1'>",
    "<iframe srcdoc='<script>parent.attacked = 1</script>'></iframe>",
    "<a id=it href='javascript:window.attacked = 1'>it</a>",
    "<base href='https://example.org/'><a id=it href='#x'>it</a>",
    "<form action='https://example.org/'><button id=it>it</button></form>",
    "<img src='https://example.org/spy.png'>",
    "<link rel=stylesheet href='https://example.org/spy.css'>",
    "<style>body { background: url(https://example.org/spy.png) }</style>",
    "<object data='https://example.org/spy.svg'></object><video src='https://example.org/spy.mp4'></video>",
]


def test_a_page_lets_no_markup_run_a_script_or_ask_another_host(attacked, site, address):
    """Were one to come past everything else: the browser is told to let nothing of it happen."""
    page, asked = attacked
    path = site / "notebooks" / "03_five_cells.html"
    for number, markup in enumerate(MARKUP):
        spoilt = path.with_name(f"spoilt-{number}.html")
        spoilt.write_text(path.read_text("utf-8").replace("</main>", f"{markup}</main>"), "utf-8")
        page.goto(f"{address}/notebooks/{spoilt.name}")
        if page.locator("#it").count():
            page.locator("#it").click(force=True, no_wait_after=True)
        page.wait_for_timeout(200)
        assert page.evaluate("window.attacked") is None, markup
        spoilt.unlink()
    assert asked == []


def test_a_switch_unfolds_all_code_and_is_remembered(page, address):
    page.goto(f"{address}/notebooks/02_one_step.html")
    folded = page.locator("details.code:not([open])")
    assert folded.count() > 5
    page.get_by_role("switch", name="Show code").check()
    expect(folded).to_have_count(0)
    page.goto(f"{address}/notebooks/03_five_cells.html")
    expect(page.get_by_role("switch", name="Show code")).to_be_checked()
    expect(folded).to_have_count(0)
    page.get_by_role("switch", name="Show code").uncheck()
    expect(page.locator("details.code[open]")).to_have_count(0)


MOVED = """(patience) => new Promise((moved, failed) => {
  const seen = new Set();
  setTimeout(failed, patience, new Error("the viewer stands still"));
  const look = () => {
    const at = document.querySelector("[data-plays] .gatescope-scrubber")?.handle?.step;
    if (seen.add(at ?? -1).size > 3) moved();
    else setTimeout(look, 20);
  };
  look();
})"""


@pytest.mark.parametrize("path", ["index.html", "notebooks/00_start_here.html"])
def test_the_first_viewer_plays_by_itself_within_ten_seconds_and_stops_when_asked(page, address, path):
    page.set_viewport_size({"width": 400, "height": 800})
    page.goto(f"{address}/{path}", wait_until="commit")
    page.evaluate(MOVED, 10_000)  # not wait_for_function, which evaluates a text: the page lets nobody do so
    pause = page.locator("[data-plays]").get_by_role("button", name="Pause")
    pause.click()
    expect(page.locator("[data-plays]").get_by_role("button", name="Play", exact=True)).to_be_visible()


def test_a_step_that_the_reader_chooses_stays(page, address):
    page.goto(f"{address}/index.html")
    page.evaluate(MOVED, 10_000)
    box = page.locator("[data-plays] .film").bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.9, box["y"] + box["height"] / 2)
    slider = page.locator("[data-plays]").get_by_role("slider", name="time step")
    expect(slider).to_have_value("7")
    page.wait_for_timeout(1000)
    expect(slider).to_have_value("7")
    expect(page.locator("[data-plays]").get_by_role("button", name="Play", exact=True)).to_be_visible()


def test_what_was_found_stands_on_the_first_screen_beside_the_viewer(page, site):
    page.goto((site / "index.html").as_uri())
    found = page.locator(".opening li")
    assert found.count() == 3
    for each in [*found.all(), page.locator("[data-plays] .film").first]:
        expect(each).to_be_in_viewport()


def test_nothing_plays_by_itself_for_a_reader_who_wants_little_motion(page, address):
    page.emulate_media(reduced_motion="reduce")
    page.goto(f"{address}/index.html")
    page.locator("[data-plays] [data-ready]").wait_for()
    page.wait_for_timeout(500)
    timeline = "document.querySelector('[data-plays] .gatescope-scrubber').handle.timeline"
    assert page.evaluate(f"{timeline}.playing === null")


@pytest.mark.parametrize("width", [1280, 360])
def test_a_term_says_its_meaning_to_pointer_and_keyboard(page, address, width):
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{address}/notebooks/06_attention_maps.html")
    terms = page.locator(".answer .term")
    for term in terms.all():
        meaning = term.get_by_role("tooltip")
        expect(meaning).to_be_hidden()
        term.hover()
        expect(meaning).to_be_visible()
        box = meaning.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width
    page.mouse.move(0, 0)
    first = terms.first
    first.focus()
    expect(first.get_by_role("tooltip")).to_be_visible()
    page.keyboard.press("Escape")
    expect(first.get_by_role("tooltip")).to_be_hidden()


def test_a_finger_opens_a_meaning(browser, address):
    with browser.new_context(has_touch=True, viewport={"width": 400, "height": 800}) as context:
        page = context.new_page()
        page.goto(f"{address}/notebooks/06_attention_maps.html")
        term = page.locator(".answer .term").first
        term.tap()
        expect(term.get_by_role("tooltip")).to_be_visible()


def test_contents_stand_beside_the_text_and_fold_up_on_a_phone(page, address):
    page.goto(f"{address}/notebooks/05_states_over_time.html")
    links = page.get_by_role("navigation", name="On this page").get_by_role("link")
    links.last.click()
    expect(page.get_by_role("heading", name="Answer")).to_be_in_viewport()
    expect(links.first).to_be_in_viewport()
    page.set_viewport_size({"width": 400, "height": 800})
    expect(links.first).to_be_hidden()


def test_paper_shows_film_strips_and_no_code(page, site):
    for name in ("00_start_here", "02_one_step", "05_states_over_time"):
        page.goto((site / "notebooks" / f"{name}.html").as_uri())
        viewers = page.locator(".live :is(.gatescope-scrubber, .gatescope-stepper)")
        page.locator(".live [data-ready]").first.wait_for()
        expect(page.locator(".still")).to_have_count(viewers.count())
        page.emulate_media(media="print")
        assert all(box.is_visible() for box in page.locator(".still").all())
        assert not any(box.is_visible() for box in [*viewers.all(), *page.locator("details.code").all()])
        page.set_viewport_size({"width": 1587, "height": 1122})  # A3 on its side
        assert page.locator("main").bounding_box()["width"] > 900
        page.emulate_media(media="screen")
        assert not any(box.is_visible() for box in page.locator(".still").all())
    page.goto((site / "notebooks" / "07_spatial_or_channel.html").as_uri())
    switch = page.locator(".gatescope-switch")
    switch.locator("[data-ready]").first.wait_for()
    page.emulate_media(media="print")
    expect(switch.locator(".still:visible")).to_have_count(1)
    expect(switch.get_by_text("All gates of both layers replaced by")).to_be_visible()


def test_without_scripts_code_unfolds_and_film_strips_stand(browser, address):
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(f"{address}/notebooks/00_start_here.html")
        expect(page.locator(".live img").first).to_be_visible()
        expect(page.locator(".unfold")).to_be_hidden()
        # Nothing is said to move that stands still.
        assert not re.search(r"\b(drag|click)", page.locator("main").inner_text(), re.IGNORECASE)
        code = page.locator("details.code").first
        code.locator("summary").click()
        expect(code.locator("pre")).to_be_visible()


@pytest.mark.skipif(not AXE.exists(), reason=NO_AXE)
def test_axe_finds_nothing_serious(browser, site):
    with browser.new_context(reduced_motion="reduce") as context:
        names = "05_states_over_time", "06_attention_maps", "12_pose_machine"
        for path in ("index", "README", "notebooks/00_start_here", *(f"notebooks/{name}" for name in names)):
            page = context.new_page()
            page.goto((site / f"{path}.html").as_uri())
            unpacked(page)
            page.evaluate(AXE.read_text())
            for colours in ("light", "dark"):
                page.emulate_media(color_scheme=colours)
                # Places of what passes are not told: that takes half of the time.
                found = page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
                serious = [each["help"] for each in found if each["impact"] in ("serious", "critical")]
                assert serious == [], (path, colours)
            page.close()
