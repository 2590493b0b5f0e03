"""The exported site: what its pages hold, where they lead, and what it refuses to be made of."""

import hashlib
import json
import os
import re
import signal
from base64 import b64decode, b64encode
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_output

from gatescope.files import sha256_of
from gatescope.pictures.elements import element_html
from gatescope.pictures.moving import moving_html
from public_names import public_names
from site_trees import executed, hostile_notebook, picture, plotly, write_tree

REPOSITORY = Path(__file__).resolve().parent.parent
VIEWER = element_html("scrubber", {"title": "</script> é"}, "eJwDAAAAAAE=", b"still", "A <clip>")
OTHER = VIEWER.replace("class ScrubberElement", "run(); class ScrubberElement")  # as another version would make it


def small_tree(folder):
    return write_tree(
        folder,
        **{
            "00_first": executed(
                "# 00 · First\n\n**Does $a < b$ hold?**\n\n[The end](02_last.ipynb#the-end), [data](../data/README.md)",
                picture('Noise & <b> "quoted"'),
                [
                    new_output("stream", text="<script>alert(1)</script>\n"),
                    new_output("display_data", {"text/markdown": "*No caption*"}),
                ],
            ),
            "01_live": executed(
                "# 01 · Live\n\n**Does it move?**", [plotly("</script><b>Gates")], picture("More noise")
            ),
            "02_last": executed(
                "# 02 · `Last`\n\n**Is it over?**\n\n## The end\n\n## The end\n\n$$f_t = \\exp x / \\max y$$",
                [new_output("execute_result", {"text/html": VIEWER, "text/plain": "viewer"})],
                [new_output("display_data", {"text/markdown": "| $|x|$ | $\\tanh C_t$ |\n|---|---|\n| 1 | 2 |"})],
                picture("Last noise", caption=False),
            ),
        },
    )


@pytest.fixture(scope="module")
def write_site():
    """With a short reference: the library's own takes a second for every site."""
    from gatescope.atlas.site import write_site

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gatescope.atlas.site.reference", lambda: "# Reference\n\n## `Clip`")
        yield write_site


@pytest.fixture(scope="module")
def refused():
    from gatescope.atlas.site import SiteError

    return SiteError


@pytest.fixture(scope="module")
def site(write_site, tmp_path_factory):
    """The folder of a small site."""
    folder = tmp_path_factory.mktemp("small")
    write_site(small_tree(folder / "tree"), folder / "site")
    return folder / "site"


@pytest.fixture(scope="module")
def committed(write_site, tmp_path_factory):
    """The folder of the site of this repository."""
    from gatescope.atlas.site_reference import reference

    folder = tmp_path_factory.mktemp("committed") / "site"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gatescope.atlas.site.reference", reference)
        write_site(REPOSITORY, folder)
    return folder


@pytest.fixture(scope="module", params=["site", "committed"])
def pages(request):
    """A site's pages by their path."""
    folder = request.getfixturevalue(request.param)
    return {path: read(path) for path in sorted(folder.rglob("*.html"))}


def source(path):
    """What is written in a page, without the bytes of its pictures: they take long to search."""
    return re.sub('base64,[^"]+', "base64,", path.read_text())


def read(path):
    return BeautifulSoup(source(path), "html.parser")


@pytest.mark.slow
def test_the_site_holds_every_notebook_and_what_they_lead_to(site):
    found = {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()}
    notebooks = {"notebooks/00_first", "notebooks/01_live", "notebooks/02_last"}
    assert found == {
        *(f"{name}.{kind}" for name in notebooks for kind in ("html", "jpg")),
        *(
            "index.html",
            "README.html",
            "data/README.html",
            "reference.html",
            "gatescope.css",
            "gatescope.js",
            "plotly.min.js",
            "gatescope-site.json",
        ),
    }


@pytest.mark.slow
def test_every_notebook_of_the_repository_has_a_page_and_a_card(committed):
    names = [path.stem for path in sorted((REPOSITORY / "notebooks").glob("*.ipynb"))]
    assert [path.stem for path in sorted((committed / "notebooks").glob("*.html"))] == names
    cards = read(committed / "index.html").select(".cards li")
    assert [card.a["href"] for card in cards] == [f"notebooks/{name}.html" for name in names]
    assert all(card.img["alt"] and card.p.text.endswith("?") for card in cards)


@pytest.mark.slow
def test_the_reference_has_every_public_name_with_its_signature_and_its_docstring(committed):
    assert read(committed / "index.html").select_one("a[href='reference.html']")
    page = read(committed / "reference.html").main
    parts = re.split(r"(?=<h[23] )", str(page))
    for package, names in public_names().items():
        if package.count(".") < 2:
            assert page.find("h2", string=package)
            for name in names:
                assert page.find("h3", string=name).find_next(["div", "h3"])["class"] == ["highlight"], name
    (clip,) = (BeautifulSoup(part, "html.parser") for part in parts if part.startswith('<h3 id="clip"'))
    assert "class Clip:" in clip.pre.text and "    depth:" in clip.pre.text and "mm" in clip.pre.text
    assert len(clip.select("h4")) == len(clip.select("h4 + .highlight + p"))  # methods, each with a docstring
    assert page.find(id="gesturenetworkload").find_next("pre").text.startswith("@classmethod\ndef load(")


@pytest.mark.slow
def test_a_docstring_shows_its_sections_as_lists(committed):
    (errors,) = read(committed / "reference.html").find("h3", string="fit").find_next_siblings("ul")[:1]
    assert errors.li.code.text == "ValueError"


@pytest.mark.slow
def test_no_page_loads_anything_from_another_host(pages):
    for path, page in pages.items():
        loaded = [
            tag.get(attribute)
            for tag in page.select("script, link, img, iframe, video, audio, source, object, embed")
            for attribute in ("src", "href", "data", "srcset")
            if tag.get(attribute)
        ]
        assert [
            each[:80] for each in loaded if urlsplit(each).scheme not in {"", "data"} or each.startswith("//")
        ] == []
        assert all((path.parent / each).is_file() for each in loaded if not each.startswith("data:"))


@pytest.mark.slow
def test_the_browser_is_told_to_run_only_the_sites_scripts_and_to_ask_no_other_host(pages):
    for path, page in pages.items():
        policy = page.find("meta", {"http-equiv": "Content-Security-Policy"})["content"]
        rules = {name: values for name, *values in (rule.split() for rule in policy.split("; "))}
        for name in ("default-src", "connect-src", "form-action", "base-uri"):
            assert rules[name] == ["'none'"]
        assert "http" not in policy and "*" not in policy
        assert all(rule.startswith(("'nonce-", "'sha256-")) for rule in rules["script-src"])
        for tag, script in re.findall("<script([^>]*)>(.*?)</script>", path.read_text("utf-8"), re.DOTALL):
            digest = b64encode(hashlib.sha256(script.encode()).digest()).decode()
            names = {f"'sha256-{digest}'", *(f"'nonce-{nonce}'" for nonce in re.findall('nonce="([^"]+)"', tag))}
            assert re.search('type="(application/json|text/plain)"', tag) or names & set(rules["script-src"])


@pytest.mark.slow
def test_no_link_is_dead(pages):
    ids = {path: {tag["id"] for tag in page.select("[id]")} for path, page in pages.items()}
    for path, page in pages.items():
        for link in page.select("a[href]"):
            url = urlsplit(link["href"])
            if url.scheme not in {"http", "https", "mailto"}:
                target = (path.parent / url.path).resolve() if url.path else path
                assert target in pages, f"{path.name} leads to {link['href']}"
                assert not url.fragment or url.fragment in ids[target], f"{path.name} leads to {link['href']}"


@pytest.mark.slow
def test_a_page_has_one_title_a_language_and_ids_of_its_own(pages):
    for path, page in pages.items():
        assert page.html["lang"] == "en"
        assert page.title.text.strip()
        assert len(page.select("h1")) == 1, path.name
        ids = [tag["id"] for tag in page.select("[id]")]
        assert len(ids) == len(set(ids))
        assert page.select_one("a.skip")["href"] == "#page"


@pytest.mark.slow
def test_every_picture_says_what_it_shows(pages):
    for page in pages.values():
        assert [str(image)[:80] for image in page.select("img") if not image.get("alt")] == []


@pytest.mark.slow
def test_no_formula_is_left_as_tex(pages):
    for path in pages:
        said = re.sub(r"<(pre|code|script)\b.*?</\1>", "", source(path), flags=re.DOTALL)
        assert re.findall(r".{0,40}[\\$].{0,40}", said) == [], path.name


def test_a_formula_shows_without_a_script(site):
    formulas = [str(formula) for formula in read(site / "notebooks" / "02_last.html").select("math")]
    assert 'display="block"' in formulas[0]
    assert "<mi>exp</mi><mspace" in formulas[0]  # else "exp x" would read "expx"
    assert any("<mi>tanh</mi>" in formula for formula in formulas)


def test_a_caption_like_the_alternative_text_is_not_read_out_twice(site):
    figure = read(site / "notebooks" / "00_first.html").figure
    assert figure.img["alt"] == 'Noise & <b> "quoted"'
    assert figure.img["width"] == "150"
    assert figure.figcaption.text == figure.img["alt"]
    assert figure.figcaption["aria-hidden"] == "true"
    assert read(site / "notebooks" / "02_last.html").figure.figcaption is None


def test_what_a_viewer_put_into_its_output_passes_unchanged_and_once(site):
    assert (site / "notebooks" / "02_last.html").read_text().count(VIEWER) == 1


def test_only_a_page_with_a_plotly_figure_loads_the_library(site):
    loading = [path.name for path in site.rglob("*.html") if "plotly.min.js" in path.read_text()]
    assert loading == ["01_live.html"]
    figure = read(site / "notebooks" / "01_live.html").select_one("figure.plotly")
    assert figure["aria-label"] == "Gates"
    assert figure.script.string.count("</") == 0


def test_each_notebook_leads_to_the_ones_beside_it(site):
    def beside(name):
        links = read(site / "notebooks" / f"{name}.html").select("footer a")
        return {link["rel"][0]: link["href"].rsplit("/")[-1] for link in links}

    assert beside("00_first") == {"next": "01_live.html"}
    assert beside("01_live") == {"prev": "00_first.html", "next": "02_last.html"}
    assert beside("02_last") == {"prev": "01_live.html"}


def test_a_link_to_what_the_site_does_not_hold_is_plain_text(site):
    page = read(site / "README.html")
    assert "Licence" in page.text
    assert "LICENSE" not in str(page)
    assert read(site / "data" / "README.html").main.a["href"] == "../README.html#set-up-first"


def test_what_was_printed_shows_as_text(site):
    page = read(site / "notebooks" / "00_first.html")
    assert "<script>alert(1)</script>" in page.select_one(".printed").text
    assert page.select("script:not([src])") == []


def test_text_below_no_picture_is_no_caption(site):
    assert read(site / "notebooks" / "00_first.html").select_one(".said").text.strip() == "No caption"


def test_a_hostile_title_shows_as_text(write_site, tmp_path):
    title = "00 <script>alert(1)</script> \"'</title>"
    tree = write_tree(tmp_path / "tree", **{"00_a": executed(f"# {title}\n\n**<img src=x onerror=alert(1)>?**")})
    write_site(tree, tmp_path / "site")
    for path in (tmp_path / "site" / "index.html", tmp_path / "site" / "notebooks" / "00_a.html"):
        page = read(path)
        assert page.select("script:not([src]), img") == []
        assert title in page.text
    assert read(path).title.text.startswith(title)


@pytest.mark.slow
def test_a_thumbnail_is_small(committed, site):
    sizes = {path.name: path.stat().st_size for folder in (committed, site) for path in folder.rglob("*.jpg")}
    assert max(sizes.values()) <= 30_000


@pytest.mark.slow
def test_the_same_notebooks_give_the_same_bytes(write_site, site, tmp_path):
    write_site(small_tree(tmp_path / "tree"), tmp_path / "again")
    for path in (path for path in site.rglob("*") if path.is_file()):
        name = path.relative_to(site)
        assert path.read_bytes() == (tmp_path / "again" / name).read_bytes(), name


OPENING = "# 00 · First\n\n**Why?**\n\nA lead."
FINDINGS = "## What was found\n\n- **It holds.** See [01](01_live.ipynb)."


@pytest.fixture(scope="module")
def story(write_site, tmp_path_factory):
    """The folder of a site whose first notebook has a viewer and findings; the second explains and answers."""
    folder = tmp_path_factory.mktemp("story")
    shown = [new_output("execute_result", {"text/html": VIEWER, "text/plain": "viewer"})]
    said = [new_output("execute_result", {"text/markdown": "E/A is **3**.", "text/plain": "text"})]
    first = executed(OPENING, shown, FINDINGS, "## Answer\n\nNo.\n\n**What this does not show:** all.")
    first.cells[2].metadata["tags"] = ["findings"]
    text = (
        "Gates, a gate; **a cell state**, a [hidden state](00_first.ipynb).\n\n> logits\n\n`step`\n\n## Next\n\nA gate."
    )
    rest = [
        "| page |\n|---|\n| [00](00_first.ipynb) |",
        "## Limits",
        "## Answer\n\nOf (a).",
        said,
        "**What this does not show:** it.",
    ]
    write_site(
        write_tree(
            folder / "tree",
            **{"00_first": first, "01_live": executed("# 01 · Live\n\n**Does it?**\n\nA lead.", text, shown, *rest)},
        ),
        folder / "site",
    )
    return folder / "site"


def test_the_first_page_opens_with_the_viewer_and_the_findings_of_the_notebook_that_has_them(story):
    index = story / "index.html"
    assert index.read_text().count(VIEWER) == 1
    page = read(index)
    assert page.select_one("[data-plays] .gatescope-scrubber")
    assert page.select_one(".findings li").text == "It holds. See 01."
    assert page.select_one(".findings a")["href"] == "notebooks/01_live.html"


def test_the_notebook_with_the_findings_plays_its_viewer_right_below_its_question(story):
    path = story / "notebooks" / "00_first.html"
    assert path.read_text().count(VIEWER) == 1
    question, lead = (read(path).main.find(string=text).find_parent("p") for text in ("Why?", "A lead."))
    assert question.find_next(attrs={"data-plays": True}).find_next("p") == lead
    assert not read(path).select_one(".answer")


def test_an_interactive_page_is_marked_in_every_list(story, site):
    assert [bool(card.select_one(".mark")) for card in read(story / "index.html").select(".cards li")] == [True, True]
    assert [bool(card.select_one(".mark")) for card in read(site / "index.html").select(".cards li")] == [
        False,
        False,
        True,
    ]
    page = read(story / "notebooks" / "01_live.html")
    assert page.select_one("td .mark").text == "interactive"
    assert page.select_one(".to-viewer a")["href"] == "#viewer"
    assert page.select_one("#viewer .gatescope-scrubber")


def test_an_answer_stands_at_the_top_as_its_output_says_it(story):
    page = read(story / "notebooks" / "01_live.html")
    box = page.main.find(string="Does it?").find_next("aside")
    said = " ".join(box.text.split())
    assert "E/A" in said and "is 3." in said and "it." not in said
    assert box.select_one("a")["href"] == "#answer"
    assert box.find_next("p", string="A lead.")


def test_a_term_is_explained_once_in_a_section_and_in_prose_only(story, committed):
    page = read(story / "notebooks" / "01_live.html")
    prose = [term for term in page.select(".term") if not term.find_parent("aside")]
    assert [term.find(string=True) for term in prose] == ["Gates", "gate", "(a)", "E/A"]
    for term in page.select(".term"):
        assert term["tabindex"] == "0"
        assert page.find(id=term["aria-describedby"]) == term.select_one("[role=tooltip]")
    assert read(committed / "README.html").select(".term") == []


def test_code_is_folded_and_unfolds_without_a_script(site):
    for cell in read(site / "notebooks" / "00_first.html").select("details.code"):
        assert "open" not in cell.attrs
        assert cell.summary and cell.select_one(".highlight").text.startswith("show(")


def test_a_page_with_sections_has_contents(story, site):
    links = read(story / "notebooks" / "01_live.html").select(".contents a")
    assert [(link["href"], link.text) for link in links] == [
        ("#next", "Next"),
        ("#limits", "Limits"),
        ("#answer", "Answer"),
    ]
    assert not read(site / "notebooks" / "00_first.html").select_one(".contents")


def not_run(node):
    node.cells[1].execution_count = None


def failed(node):
    node.cells[1].outputs.append(new_output("error", ename="ValueError", evalue="no", traceback=[]))


def without_alt(node):
    del node.cells[1].outputs[0].metadata["image/png"]


def without_question(node):
    node.cells[0].source = "# 00 · First"


def unknown_command(node):
    node.cells[0].source += "\n\n$\\nosuchcommand x$"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (not_run, r"notebooks/00_a\.ipynb: cell 2 did not run .*`gatescope rebuild notebooks/00_a\.ipynb`"),
        (failed, r"notebooks/00_a\.ipynb: cell 2 ended in an error.*`gatescope rebuild notebooks/00_a\.ipynb`"),
        (without_alt, r"00_a\.ipynb: a picture of code cell 1 has no alternative text"),
        (without_question, r"00_a\.ipynb needs a title .* and its question in bold"),
        (unknown_command, r"00_a\.ipynb: .*'\\\\nosuchcommand x'"),
    ],
)
def test_a_notebook_that_cannot_be_shown_leaves_the_old_site(write_site, refused, tmp_path, spoil, said):
    out = tmp_path / "site"
    write_site(small_tree(tmp_path / "before"), out)
    node = executed("# 00 · First\n\n**Why?**", picture("noise"))
    spoil(node)
    with pytest.raises(refused, match=said):
        write_site(write_tree(tmp_path / "tree", **{"00_a": node}), out)
    assert (out / "notebooks" / "02_last.html").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["before", "site", "tree"]


def content_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def sites(write_site, tmp_path_factory):
    """Two trees that share no notebook, and the sites of both."""
    folder = tmp_path_factory.mktemp("sites")
    trees = {
        "old": small_tree(folder / "old"),
        "new": write_tree(folder / "new", **{"03_a": executed("# 03 · A\n\n**Why?**")}),
    }
    for name, tree in trees.items():
        write_site(tree, folder / f"{name} site")
    return trees, {name: content_of(folder / f"{name} site") for name in trees}


def test_a_new_site_takes_the_place_of_the_old_one_and_files_of_others_stay(write_site, sites, tmp_path):
    trees, content = sites
    out = tmp_path / "site"
    (out / ".git").mkdir(parents=True)
    others = {".git/HEAD": b"ref", "CNAME": b"example.org", ".nojekyll": b""}
    for name, each in others.items():
        (out / name).write_bytes(each)
    write_site(trees["old"], out)
    assert content_of(out) == content["old"] | others
    others["notebooks/mine.txt"] = b"mine"
    (out / "notebooks" / "mine.txt").write_bytes(b"mine")
    write_site(trees["new"], out)
    assert content_of(out) == content["new"] | others
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_a_site_without_the_pages_of_a_folder_leaves_no_empty_folder(write_site, sites, tmp_path):
    trees, _ = sites
    write_site(trees["old"], tmp_path / "site")
    tree = write_tree(tmp_path / "tree", **{"03_a": executed("# 03 · A\n\n**Why?**")})
    (tree / "README.md").write_text("# Alone")
    write_site(tree, tmp_path / "site")
    assert not (tmp_path / "site" / "data").exists()


def edited(out):
    (out / "index.html").write_text("mine")


def foreign(out):
    (out / "notebooks" / "03_a.html").write_text("mine")


def led_out(out):
    (out / "notebooks").rename(out.parent / "elsewhere")
    (out / "notebooks").symlink_to(out.parent / "elsewhere")


def a_folder(out):
    (out / "notebooks" / "03_a.html").mkdir()


def no_list(out):
    (out / "gatescope-site.json").write_text("[1")


def list_that_leads_out(out):
    (out / "gatescope-site.json").write_text(json.dumps({"files": {"../elsewhere": sha256_of(out / "index.html")}}))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (edited, r"in the way .*: index\.html"),
        (foreign, r"in the way .*: notebooks/03_a\.html"),
        (led_out, r"in the way .*: notebooks/03_a\.html"),
        (a_folder, r"in the way .*: notebooks/03_a\.html"),
        (no_list, "no list of a site's files"),
        (list_that_leads_out, "no list of a site's files"),
    ],
)
def test_what_a_site_did_not_write_is_not_replaced(write_site, refused, sites, tmp_path, spoil, said):
    trees, _ = sites
    out = tmp_path / "site"
    write_site(trees["old"], out)
    spoil(out)
    before = content_of(tmp_path)
    with pytest.raises(refused, match=said):
        write_site(trees["new"], out)
    assert content_of(tmp_path) == before


def test_a_page_that_was_edited_and_has_no_successor_stays(write_site, sites, tmp_path):
    trees, content = sites
    write_site(trees["old"], tmp_path / "site")
    (tmp_path / "site" / "notebooks" / "00_first.html").write_text("mine")
    write_site(trees["new"], tmp_path / "site")
    assert content_of(tmp_path / "site") == content["new"] | {"notebooks/00_first.html": b"mine"}


@pytest.mark.parametrize("fatal", [1, 4, 8, 11, 13])
def test_after_a_kill_the_next_run_completes_the_site_and_keeps_files_of_others(write_site, sites, tmp_path, fatal):
    """A real kill, at the given one of the moments at which a file gets its name."""
    import gatescope.atlas.publish as publishing
    import gatescope.files as files

    trees, content = sites
    out = tmp_path / "site"
    (out / ".git").mkdir(parents=True)
    (out / ".git" / "HEAD").write_text("ref")
    write_site(trees["old"], out)
    child = os.fork()
    if not child:
        counted = iter(range(1, 1000))
        put = files.put_in_place

        def killed(temporary, path):
            put(temporary, path)
            if next(counted) == fatal:
                os.kill(os.getpid(), signal.SIGKILL)

        files.put_in_place = publishing.put_in_place = killed
        write_site(trees["new"], out)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    write_site(trees["new"], out)
    assert content_of(out) == content["new"] | {".git/HEAD": b"ref"}


def test_a_folder_with_other_things_in_it_is_left_alone(write_site, refused, tmp_path):
    tree = small_tree(tmp_path / "tree")
    before = content_of(tree)
    with pytest.raises(refused, match="something else than a site"):
        write_site(tree, tree)
    assert content_of(tree) == before


def test_no_text_or_output_of_a_hostile_notebook_is_live(write_site, tmp_path):
    _, notes = write_site(write_tree(tmp_path / "tree", **{"98_hostile": hostile_notebook()}), tmp_path / "site")
    for name in ("index.html", "notebooks/98_hostile.html"):
        page = read(tmp_path / "site" / name)
        assert [
            tag
            for tag in page.select("script:not([src])")
            if "attacked" in tag.text and tag["type"] != "application/json"
        ] == []
        assert page.select("iframe, object, embed, base, form, main link, main style, main meta") == []
        links = [urlsplit(tag["href"]) for tag in page.select("a[href]")]
        assert {link.scheme for link in links} <= {""}
        for tag in page.main.find_all(True):
            assert not [name for name in tag.attrs if name.startswith("on")]
            assert not {"href", "style", "class", "id"} & set(tag.attrs) or not tag.find_parent("math")
        assert [tag["src"] for tag in page.select("main img")] == []
    said = page.main.text
    assert said.count("<script>window.attacked = 1</script>") >= 5
    assert said.count("(HTML, which this page does not embed)") == 4
    assert notes == [
        "98_hostile.ipynb: HTML of cell 2, which is no viewer of this version of the library, was left out"
    ]


def test_a_viewer_of_another_version_shows_as_its_still_picture(write_site, tmp_path):
    (shown, _) = picture("still of a clip")
    shown.data["text/html"] = OTHER
    tree = write_tree(tmp_path / "tree", **{"00_a": executed("# 00 · A\n\n**Why?**", [shown])})
    write_site(tree, tmp_path / "site")
    page = read(tmp_path / "site" / "notebooks" / "00_a.html")
    assert page.select_one("main img")["alt"] == "still of a clip"
    assert page.select(".gatescope-scrubber, script:not([src])") == []


@pytest.mark.parametrize(
    "html",
    [
        VIEWER + "<script>run()</script>",
        "<img src=x onerror=run()>" + VIEWER,
        VIEWER.replace('style="max-width:100%"', 'style="max-width:100%" onerror="run()"'),
        VIEWER.replace("eJwDAAAAAAE=", "</script><script>run()</script>"),
        VIEWER.replace('alt="A', 'alt="" onerror="run()" title="A'),
        VIEWER.replace("Canvas", "Red"),
        "\0" + "2\0",
        f'<section id="page"><style></style><fieldset><legend></legend></fieldset><div>{VIEWER}</div></section>',
        f'<section id="gatescope-switch-1"><style>* {{ background: url(x) }}</style>{VIEWER}</section>',
        f"<div>{VIEWER}</div>",
        moving_html(b"film", b"still", "image/jpeg", "a hand", 640).replace("<img ", "<img onload='run()' "),
        moving_html(b"film", b"still", "image/svg+xml", "a hand", 640),
        OTHER,
    ],
)
def test_html_that_is_a_viewer_and_more_is_no_viewer(html):
    from gatescope.atlas.site_viewers import drop_other_html

    node = executed("text", [new_output("display_data", {"text/html": html, "text/plain": "words"})])
    assert drop_other_html(node) == [2]
    assert node.cells[1].outputs[0].data == {"text/plain": "words"}


def test_every_viewer_of_the_library_is_one():
    from gatescope.atlas.site_viewers import drop_other_html

    stepper = element_html("stepper", {"title": "<b>"}, "", b"", '"')
    film = moving_html(b"film", b"still", "image/jpeg", 'a "hand"', 640)
    for html in (VIEWER, stepper, VIEWER + "\n" + stepper, film):
        node = executed("text", [new_output("display_data", {"text/html": html, "text/plain": "words"})])
        assert drop_other_html(node) == []
    for path in (REPOSITORY / "notebooks").glob("*.ipynb"):
        assert drop_other_html(nbformat.read(path, as_version=4)) == [], f"gatescope rebuild notebooks/{path.name}"


def test_a_picture_or_a_notebook_outside_the_tree_is_not_embedded(write_site, refused, tmp_path):
    (shown, _) = picture("secret")
    secret = tmp_path / "secret.png"
    secret.write_bytes(b64decode(shown.data["image/png"]))
    names = ("../../secret.png", str(secret), "..%2f..%2fsecret.png", "linked.png", "x" * 5000, "%00.png", ".")
    text = "\n\n".join(f"![words]({name})" for name in (*names, "inside.png"))
    tree = write_tree(
        tmp_path / "tree", **{"00_a": executed(f"# 00 · A\n\n**Why?**\n\n{text}\n\n[a]({'x' * 5000}.md)")}
    )
    (tree / "notebooks" / "linked.png").symlink_to(secret)
    (tree / "notebooks" / "inside.png").write_bytes(secret.read_bytes())
    write_site(tree, tmp_path / "site")
    assert len(read(tmp_path / "site" / "notebooks" / "00_a.html").select("main img")) == 1
    nbformat.write(executed("# 01 · B\n\n**Why?**"), tmp_path / "01_b.ipynb")
    (tree / "notebooks" / "01_b.ipynb").symlink_to(tmp_path / "01_b.ipynb")
    with pytest.raises(refused, match="leads out of the tree"):
        write_site(tree, tmp_path / "site")


def test_the_command_says_what_it_wrote_and_why_it_did_not(tmp_path, capsys):
    from gatescope.__main__ import main

    assert main(["site", "--out", str(REPOSITORY / "notebooks")]) == 1
    said = capsys.readouterr().err
    assert re.search("notebooks holds something else than a site", said)
    assert "No site was written" in said
