"""The whole way by keyboard alone, in a real Chromium: no pointer touches the page, and where the focus is can be seen."""

from __future__ import annotations

import re

import pytest
from served import CELLS, Visit, tab_to

from dashboard.strings import plain, t

POINTED = "addEventListener('pointerdown', () => { window.pointed = true }, true)"
BUTTONS = "[class*='st-key-acts-'] button"
pytestmark = pytest.mark.browser


def press(here: Visit, *keys: str) -> None:
    for key in keys:
        here.page.keyboard.press(key)


def read(markdown: str) -> str:
    """As it is on the page, without the marks of Markdown."""
    return re.sub(r"[*`]", "", markdown)


def cells(here: Visit) -> list[str]:
    here.settled()
    here.page.wait_for_timeout(700)  # the canvas is drawn
    return here.page.locator(CELLS).all_text_contents()


def held(here: Visit) -> str:
    """What the field with the focus holds."""
    return str(here.page.evaluate("document.activeElement.value"))


def seen(here: Visit) -> bool:
    """Whether what has the focus looks other than without it."""
    where = here.page.evaluate_handle("document.activeElement").as_element()
    box = where.bounding_box()
    clip = {"x": box["x"] - 8, "y": box["y"] - 8, "width": box["width"] + 16, "height": box["height"] + 16}
    here.page.wait_for_timeout(300)  # it fades in
    focused = here.page.screenshot(clip=clip)
    where.evaluate("e => e.blur()")
    here.page.wait_for_timeout(300)
    blurred = here.page.screenshot(clip=clip)
    where.evaluate("e => e.focus()")
    return focused != blurred


def choose(here: Visit, picker: str, *keys: str) -> str:
    """Another entry of a picker; returns its label."""
    tab_to(here, f".st-key-{picker} input", most=100)
    before = held(here)
    press(here, *keys, "Enter")
    here.settled()
    assert held(here) != before
    return held(here)


def take_out(here: Visit) -> None:
    """A past item is taken out of the history on What-if, and put back."""
    start = here.page.get_by_text(plain("whatif.edits.none"))
    start.wait_for()
    before = cells(here)
    label = choose(here, "whatif-past", "ArrowDown", "ArrowDown")
    tab_to(here, ".st-key-whatif-remove-whatif-past button", most=2)
    assert seen(here)
    press(here, "Enter")
    here.page.get_by_text(read(t("whatif.edits", add=0, drop=1, renew=0, double=0))).wait_for()
    after = cells(here)
    assert plain("beside.come") in after
    assert plain("beside.come") not in before
    assert label.partition(" · ")[0].removeprefix(plain("whatif.mark.low")) in after  # among what was taken out
    assert here.page.evaluate("document.activeElement.innerText") == plain("whatif.do.remove")  # the focus stays
    tab_to(here, ".st-key-whatif-undo button", "Shift+Tab")
    press(here, "Enter")
    start.wait_for()
    assert cells(here) == before


def like(here: Visit) -> None:
    """The second item of the list is liked on User, and that is undone."""
    here.settled()
    before = here.rows()
    label = choose(here, "listed-item", "ArrowDown")
    assert label.startswith("#2 ")
    title = label.split(" · ")[1]
    assert any(title in row for row in before)
    tab_to(here, ".st-key-like-chosen button", most=3)
    assert seen(here)
    press(here, "Enter")
    here.page.get_by_text(read(t("react.count.one", like=1, dislike=0))).wait_for()
    after = here.changed_from(before)
    assert not any(title in row for row in after)
    assert here.page.evaluate("document.activeElement.innerText").endswith(plain("react.like.do"))
    tab_to(here, ".st-key-undo-all button", "Shift+Tab")
    press(here, "Enter")
    assert here.changed_from(after) == before
    assert here.page.get_by_text(plain("react.undo"), exact=True).count() == 0


def test_from_the_first_page_through_explain_and_what_if_to_a_like(visit) -> None:
    here = visit()
    here.context.add_init_script(POINTED)  # the link to Explain loads the page anew
    here.page.evaluate(POINTED)
    tab_to(here, "input[aria-label='Find a user']")
    here.page.keyboard.type("u13")
    press(here, "Enter")
    here.page.get_by_role("heading", name="What would user u13 get").wait_for()
    here.settled()
    tab_to(here, ".wr-bars .name a")
    title = here.page.evaluate("document.activeElement.innerText")
    assert seen(here)
    press(here, "Enter")
    here.page.get_by_role("heading", name=f"Why was {title} recommended to user u13?").wait_for()
    here.settled()
    tab_to(here, "[data-testid=stSidebarNav] a[href*='/whatif']")
    assert seen(here)
    press(here, "Enter")
    take_out(here)
    tab_to(here, "[data-testid=stSidebarNav] a", "Shift+Tab")
    while here.page.evaluate("document.activeElement.innerText").split()[-1] != plain("page.user"):
        press(here, "Shift+Tab")
    press(here, "Enter")
    here.page.get_by_role("heading", name="What would user u13 get").wait_for()
    like(here)
    assert not here.page.evaluate("window.pointed")


def test_the_stops_come_in_the_order_of_the_page(visit) -> None:
    """Navigation, user and weights; then past, list, what can be done with its items, and the bars."""
    here = visit("/?user=u13")
    wanted = [
        "[data-testid=stSidebarNav] a",
        "input[aria-label='Find a user']",
        ".st-key-weight-popularity input",
        ".st-key-history-filter input",
        ".st-key-beside-kind input",
        ".st-key-listed-item input",
        ".st-key-why-chosen button",
        ".st-key-like-chosen button",
        ".st-key-dislike-chosen button",
        ".wr-bars .name a",
    ]
    for selector in wanted:
        tab_to(here, selector, most=40)


def test_without_the_pickers_there_is_no_such_way(visit) -> None:
    here = visit("/whatif?user=u13")
    here.page.add_style_tag(content=f"{BUTTONS} {{visibility: hidden}}")
    with pytest.raises(AssertionError, match="did not lead to"):
        take_out(here)
    tab_to(here, "[data-testid=stSidebarNav] a", most=100)
    assert seen(here)
    here.page.add_style_tag(content="* {outline: 0 !important; box-shadow: none !important; background: none !important}")
    assert not seen(here)
    here.page.evaluate(POINTED)
    here.page.mouse.click(1, 1)
    assert here.page.evaluate("window.pointed")  # a pointer would be noticed
