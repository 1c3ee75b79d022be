"""The dashboard as a person meets it: a real server, a real Chromium. Screenshots go to test-artifacts/."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import pytest
from served import TOO_WIDE

from recsys_core.explain.answer import explain
from recsys_core.recommend import recommend_users
from recsys_core.run import Run

WHY = (224, 52 + 35)  # pixels from the corner of the list to the button in its second row
pytestmark = pytest.mark.browser


def test_search_move_a_slider_and_share_the_link(visit) -> None:
    here = visit()
    search = here.page.get_by_role("textbox", name="Find a user")
    search.fill("u13")
    search.press("Enter")
    here.page.get_by_role("heading", name="What would user u13 get").wait_for()
    before = here.changed_from([])
    thumb = here.page.locator(".st-key-weight-popularity input[type=range]")
    thumb.focus()
    for _ in range(3):
        thumb.press("ArrowRight")
    after = here.changed_from(before)
    here.page.get_by_text("You moved the weights").wait_for()
    here.page.wait_for_function("location.search.includes('weights=')")
    here.settled()
    after = here.rows()
    here.shot("moved")
    there = visit(here.page.url)
    assert there.rows() == after
    assert there.page.url == here.page.url
    here.page.get_by_role("button", name="Reset to learned").click()
    here.page.wait_for_function("!location.search.includes('weights=')")
    assert here.changed_from(after) == before


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 1024])
def test_fits_the_window(visit, scheme: str, width: int) -> None:
    here = visit("/?user=u01", width=width, scheme=scheme)
    here.shot(f"user-{width}-{scheme}")
    assert here.page.evaluate(TOO_WIDE) == []


def test_markup_in_the_data_stays_text(visit) -> None:
    here = visit("/?run=hostile&user=" + urllib.request.quote("**x** [a](javascript:1) `b`"))
    here.page.on("dialog", lambda d: here.errors.append(d.message))
    here.page.get_by_role("heading", name="What would user **x** [a](javascript:1) `b` get").wait_for()
    assert any("<script>alert(1)" in row or "**x** [a]" in row for row in here.rows())
    assert here.page.locator("a[href^='javascript']").count() == 0
    assert here.page.locator("[data-testid=stMain] script, [data-testid=stMain] a[href*='example.com']").count() == 0
    here.shot("hostile")


def test_a_link_to_nowhere_is_told(visit) -> None:
    here = visit("/?run=none&user=none&k=no&weights=no")
    for text in ("names run none", "asks for a list of no", "weights could not all be used"):
        here.page.get_by_text(text).first.wait_for()


def test_from_the_list_to_why(visit, tiny_run: Run) -> None:
    here = visit("/?user=u01&k=5")
    listed = list(recommend_users(tiny_run, ["u01"], k=5)["item_id"])
    table = here.page.locator("[data-testid=stDataFrame]").nth(1)
    table.locator("canvas").first.wait_for()
    here.page.wait_for_timeout(700)  # the canvas is drawn
    box = table.bounding_box()
    here.page.mouse.click(box["x"] + WHY[0], box["y"] + WHY[1])
    expected = explain(tiny_run, "u01", listed[1])
    here.page.get_by_role("heading", name=f"Why was {expected.title} recommended to user u01?").wait_for()
    here.settled()
    assert f"/explain?run=tiny&user=u01&item={listed[1]}&k=5" in here.page.url
    here.page.get_by_text(expected.sentence, exact=True).wait_for()
    assert here.page.locator("[data-testid=stPlotlyChart] .main-svg").count() >= 3
    here.shot("explain")
    thumb = here.page.locator(".st-key-weight-item_knn input[type=range], .st-key-weight-item-knn input[type=range]")
    thumb.focus()
    thumb.press("ArrowRight")
    here.page.wait_for_function("location.search.includes('weights=')")
    here.settled()
    there = visit(here.page.url)  # a copied link: page, user, item, weights and K
    assert there.page.url == here.page.url
    figures = "[data-testid=stMetricValue]"
    assert there.page.locator(figures).all_text_contents() == here.page.locator(figures).all_text_contents()
    here.page.get_by_role("link", name="User").click()
    here.page.get_by_text("You moved the weights").wait_for()
    here.page.wait_for_function("location.pathname == '/' && location.search.includes('weights=')")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 1024])
def test_explain_fits_the_window(visit, scheme: str, width: int) -> None:
    here = visit("/explain?user=u01", width=width, height=2400, scheme=scheme)
    here.page.get_by_role("button", name="Find the smallest changes").click()
    here.page.get_by_text("To leave the top 10").wait_for()
    here.settled()
    here.shot(f"explain-{width}-{scheme}")
    assert here.page.evaluate(TOO_WIDE) == []


def test_the_report_opens_from_its_file(visit, tmp_path: Path) -> None:
    here = visit("/explain?user=u01&run=hostile")
    with here.page.expect_download() as told:
        here.page.get_by_role("button", name="Download report").click()
    told.value.save_as(tmp_path / "why.html")
    text = (tmp_path / "why.html").read_text("utf-8")
    assert "<script>alert" not in text
    assert "Component by past item" in text
