"""Every page in a real Chromium: it opens, fits, speaks Chinese, keeps markup as text; what is done on one is seen on another."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlsplit

import pytest
from conftest import TINY
from served import CELLS, PATIENCE, TOO_WIDE, Visit, tab_to

from dashboard import style, uploads
from dashboard.app import SCREENS
from dashboard.strings import TEXT, plain
from recsys_core.browse import weight_range
from recsys_core.run import Run

PATHS = {screen.name: "" if screen.first else screen.name for screen in SCREENS}
FIELDS = re.compile(r"/(Selectbox|Multiselect|NumberInput|Checkbox)\.\w+\.js")
REMOVE = (210, 52)  # pixels from the corner of the edited history to the button in its first row
NAMELESS = """() => [...document.querySelectorAll("button, input, a, [data-testid=stPlotlyChart]")].filter(e => {
  const said = e.cloneNode(true);
  said.querySelectorAll("[aria-hidden=true], svg").forEach(icon => icon.remove());
  const text = e.dataset.testid === "stPlotlyChart" ? "" : said.textContent.trim();
  return e.offsetParent && e.type !== "file" && !(e.ariaLabel || text || e.labels?.length || e.getAttribute("aria-labelledby"));
}).map(e => e.outerHTML.slice(0, 900))"""
pytestmark = pytest.mark.browser


def opens(here: Visit, name: str) -> str:
    """The page is there: its address, its title and no exception. Returns the title."""
    here.page.wait_for_function("path => location.pathname === '/' + path", arg=PATHS[name])
    here.settled()
    assert here.page.locator("[data-testid=stException]").count() == 0, name
    title = here.page.locator("[data-testid=stMain] h1").first.inner_text().strip()
    assert title, name
    return title


def turn(here: Visit, name: str, language: str = "en") -> str:
    """By its link in the navigation, once the page before has made way."""
    before = here.page.locator("[data-testid=stMain] h1").first.inner_text()
    nav = here.page.locator("[data-testid=stSidebarNav]")
    nav.get_by_role("link", name=TEXT[language][f"page.{name}"], exact=True).click()
    here.page.wait_for_function("old => document.querySelector('[data-testid=stMain] h1')?.innerText !== old", arg=before)
    return opens(here, name)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_opens_by_its_link_and_fits(visit, scheme: str) -> None:
    here = visit("/?user=u01", scheme=scheme)
    titles, wide = {}, {}
    for name in [*PATHS][::-1]:  # not from the page that is open
        titles[name] = turn(here, name)
        for width in (1024, 1280):
            here.page.set_viewport_size({"width": width, "height": 1300})
            here.shot(f"page-{name}-{width}-{scheme}")
            wide[name, width] = here.page.evaluate(TOO_WIDE)
    assert not any(wide.values()), wide
    assert len(set(titles.values())) == len(SCREENS)


def test_every_page_opens_by_its_address(visit) -> None:
    for name, path in PATHS.items():
        here = visit(f"/{path}?user=u01")
        opens(here, name)
        here.context.close()


def test_every_page_speaks_chinese(visit) -> None:
    here = visit("/?user=u02&language=zh")
    for name in [*PATHS][::-1]:
        title = turn(here, name, "zh")
        assert re.search("[\u4e00-\u9fff]", title), (name, title)


def test_streamlits_own_words_are_chinese_too(visit) -> None:
    """They come from the browser's side, so that a style sheet says them."""
    page = visit("/data?language=zh").page
    after = "e => [getComputedStyle(e, '::after').content, getComputedStyle(e).fontSize]"
    found = [page.locator(style.NATIVE[key]).first.evaluate(after) for key in ("upload", "limit")]
    facts = {"most": uploads.UPLOAD_MB, "types": "CSV, TSV, TXT, Parquet"}
    said = [TEXT["zh"][f"native.{key}"].format(**facts) for key in ("upload", "limit")]
    assert [content for content, _ in found] == [f'"{one}"' for one in said]
    assert {size for _, size in found} == {"0px"}
    assert visit("/data").page.locator(style.NATIVE["upload"]).first.evaluate(after)[0] == "none"


def test_the_language_is_switched_and_the_rest_stays(visit) -> None:
    here = visit("/?user=u02")
    thumb = here.page.locator(".st-key-weight-popularity input[type=range]")
    before = thumb.input_value()
    thumb.focus()
    thumb.press("ArrowRight")
    here.page.wait_for_function("location.search.includes('weights=')")
    here.settled()
    moved = thumb.input_value()
    assert moved != before
    here.page.get_by_role("radio", name="中文").or_(here.page.get_by_role("button", name="中文")).first.click()
    here.page.wait_for_function("/[\u4e00-\u9fff]/.test(document.querySelector('[data-testid=stMain] h1').innerText)")
    here.settled()
    assert "u02" in here.page.locator("[data-testid=stMain] h1").inner_text()
    assert thumb.input_value() == moved
    assert "user=u02" in here.page.url
    assert "weights=" in here.page.url


def test_markup_in_the_data_stays_text_on_every_page(visit) -> None:
    here = visit("/?run=hostile")
    here.page.on("dialog", lambda d: here.errors.append(d.message))
    for name in [*PATHS][::-1]:
        turn(here, name)
        main = here.page.locator("[data-testid=stMain]")
        assert main.locator("script, a[href^='javascript'], a[href*='example.com']").count() == 0, name


def test_a_verdict_is_seen_among_the_reviews(visit) -> None:
    here = visit("/explain?user=u03")
    note = "seen in a browser"
    here.page.get_by_role("textbox", name=plain("review.note")).fill(note)
    here.page.get_by_role("textbox", name=plain("review.note")).press("Control+Enter")
    here.settled()
    choice = plain("review.confusing")
    here.page.get_by_role("radio", name=choice).or_(here.page.get_by_role("button", name=choice)).first.click()
    here.page.locator(".st-key-review-save button:enabled").click()
    here.page.get_by_text(plain("review.saved")).wait_for()
    turn(here, "reviews")
    here.page.locator(CELLS, has_text=note).first.wait_for(state="attached")


def test_a_like_is_removed_and_undone(visit) -> None:
    here = visit("/whatif?user=u01")
    table = here.page.locator("[data-testid=stDataFrame]").first
    table.locator("canvas").first.wait_for()
    here.page.wait_for_timeout(700)  # the canvas is drawn
    start = here.page.get_by_text(plain("whatif.edits.none"))
    start.wait_for()
    before = here.page.locator(CELLS).all_text_contents()
    assert before
    assert plain("beside.come") not in before
    box = table.bounding_box()
    here.page.mouse.click(box["x"] + REMOVE[0], box["y"] + REMOVE[1])
    here.page.get_by_role("button", name=plain("whatif.undo", n=1)).wait_for()
    here.page.get_by_text(plain("whatif.gone"), exact=True).wait_for()
    here.settled()
    assert start.count() == 0
    here.shot("whatif-removed")
    assert plain("beside.come") in here.page.locator(CELLS).all_text_contents()
    here.page.get_by_role("button", name=plain("whatif.undo", n=1)).click()
    start.wait_for()
    here.settled()
    here.page.wait_for_timeout(700)
    assert here.page.locator(CELLS).all_text_contents() == before


LATE = {
    "/?user=u02&k=7&weights=popularity%3D0.2&hide=liked": "NumberInput|ButtonGroup",
    "/?user=u02&k=7&weights=popularity%3D0.2&reranker=mmr&strength=0.65": "Slider|Selectbox",
    "/lab?user=u02&k=7&weights=popularity%3D0.2&reranker=mmr&strength=0.65": "Slider|Selectbox",
    "/whatif?user=u02&k=7&weights=popularity%3D0.2&view=new": "Slider|ButtonGroup",
}


@pytest.mark.parametrize("link", LATE)
def test_what_a_link_says_is_not_lost_over_a_slow_line(link: str, visit, tiny_run: Run) -> None:
    """What draws some of the widgets comes late; meanwhile another one, drawn already, is moved."""
    from playwright.sync_api import expect

    here = visit("/definitions")
    page, home, late, slow = (
        here.page,
        here.page.url.removesuffix("/definitions"),
        re.compile(rf"/({LATE[link]})\.[\w-]+\.js"),
        [],
    )
    weight = page.locator(".st-key-weight-popularity input[type=range]")
    number = page.locator("[data-testid=stSidebar] [data-testid=stNumberInput] input")
    page.route(late, lambda request: slow.append(request))
    page.goto(home + link)
    here.idle()
    if "NumberInput" in LATE[link]:
        weight.press("ArrowRight")
        moved = {"weights": f"popularity={0.2 + weight_range(tiny_run.model.blend)[2]:g}"}
    else:
        number.fill("8")
        number.press("Enter")
        moved = {"k": "8"}
    expected = dict(parse_qsl(link.partition("?")[2])) | {"run": "tiny"} | moved
    page.wait_for_url(lambda url: dict(parse_qsl(urlsplit(url).query)) == expected)
    here.idle()
    assert slow
    for request in slow:
        request.continue_()
    page.unroute(late)
    expect(number).to_have_value(expected["k"], timeout=PATIENCE)
    expect(weight).to_have_value(expected["weights"].partition("=")[2], timeout=PATIENCE)
    if "hide" in expected:
        expect(page.get_by_role("radio", name=plain("hide.liked"))).to_be_checked()
    if "reranker" in expected:
        expect(page.get_by_role("combobox", name=plain("rerank")).first).to_have_value(re.compile("MMR"))
        expect(page.locator("[data-testid=stSidebar] input[type=range]").last).to_have_value("0.65")
    here.idle()
    assert dict(parse_qsl(urlsplit(page.url).query)) == expected


def test_data_are_uploaded_checked_and_trained(visit) -> None:
    from playwright.sync_api import expect

    here = visit("/data")
    page = here.page
    files, slow = page.locator("[data-testid=stFileUploader] input[type=file]"), []
    page.route(FIELDS, lambda request: slow.append(request))  # what draws the fields comes late, as over a slow line
    files.nth(0).set_input_files(TINY / "interactions.csv")
    page.get_by_text(plain("data.columns.says")).wait_for()
    here.settled()
    files.nth(1).set_input_files(TINY / "items.csv")
    page.get_by_role("tab", name=plain("data.items.tab")).wait_for()
    here.settled()
    assert slow
    for request in slow:
        request.continue_()
    page.unroute(FIELDS)
    for name, column in (("item_id", "item_id"), ("value", "rating"), ("time", "time")):
        shown = page.get_by_role("combobox", name=plain(f"data.field.{name}")).first
        expect(shown).to_have_value(column)  # as guessed, not the first of the list
    here.settled()
    page.get_by_role("button", name=plain("data.check.do")).click()
    page.get_by_text(plain("data.train"), exact=True).first.wait_for()
    name = page.get_by_role("textbox", name=plain("data.name"))
    name.fill("brought")
    name.press("Enter")
    here.settled()
    page.get_by_role("button", name=plain("data.train.do"), exact=True).click()
    page.get_by_role("button", name=plain("data.open")).click(timeout=PATIENCE)
    opens(here, "overview")
    assert "run=brought" in page.url


def test_by_keyboard_alone(visit) -> None:
    here = visit()
    tab_to(here, "input[aria-label='Find a user']")
    here.page.keyboard.type("u13")
    here.page.keyboard.press("Enter")
    here.page.get_by_role("heading", name="What would user u13 get").wait_for()
    here.settled()
    tab_to(here, ".st-key-weight-popularity input[type=range]")
    here.page.keyboard.press("ArrowRight")
    here.page.wait_for_function("location.search.includes('weights=')")
    here.settled()
    tab_to(here, "[data-testid=stSidebarNav] a[href*='/lab']", "Shift+Tab")
    here.page.keyboard.press("Enter")
    opens(here, "lab")
    assert "weights=" in here.page.url


def test_what_can_be_used_has_a_name_for_those_who_hear_it(visit) -> None:
    here = visit("/?user=u01")
    for name in [*PATHS][::-1]:
        turn(here, name)
        assert (name, here.page.evaluate(NAMELESS)) == (name, [])
    turn(here, "explain")
    here.settled()
    for selector in ("[data-testid=stPlotlyChart]", "[data-testid=stSelectbox] input"):
        here.page.locator(selector).first.evaluate(
            "e => { for (const name of ['aria-label', 'aria-labelledby', 'id']) e.removeAttribute(name) }"
        )
    assert len(here.page.evaluate(NAMELESS)) == 2  # what loses its name is found


def test_back_turns_pages_and_the_address_says_what_is_shown(visit) -> None:
    here = visit("/?run=tiny&user=u01&k=10")
    search = here.page.get_by_role("textbox", name="Find a user")
    search.fill("u13")
    search.press("Enter")
    here.page.get_by_role("heading", name="What would user u13 get").wait_for()
    here.page.wait_for_function("location.search.includes('user=u13')")
    turn(here, "lab")
    turn(here, "compare")
    for name in ("lab", "user"):
        for _ in range(2):  # a page that adds to the address takes one step more
            here.page.go_back()
            here.page.wait_for_timeout(1000)
            here.settled()
            if urlsplit(here.page.url).path == f"/{PATHS[name]}":
                break
        opens(here, name)
    here.page.get_by_role("heading", name="What would user u13 get").wait_for()  # the choice stays
    here.page.wait_for_function("location.search.includes('user=u13')")
    here.page.go_back()  # a choice on the page: it is not undone, and the address does not say that it were
    here.page.wait_for_timeout(1000)
    here.settled()
    here.page.wait_for_function("location.search.includes('user=u13')")
    here.page.get_by_role("heading", name="What would user u13 get").wait_for()
    here.page.reload()
    here.settled()
    here.page.get_by_role("heading", name="What would user u13 get").wait_for()
