"""What is drawn as HTML: every number is there, nothing of the data is markup, and bars are as long as their numbers."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard import light
from dashboard.lab_tables import Tile

HOSTILE = "<script>alert(1)</script>\" onmouseover='x' & [a](javascript:1)"
WORDS = {"axis": "log-odds", "total": "logit", "missing": "not available", "alt": "the list"}
LENGTH = re.compile(r"left:([-\d.]+)%;width:([\d.]+)%")


class Read(HTMLParser):
    """Tags with their attributes, and the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def frame(rows: list[list[float]], title: str = "Fargo") -> pd.DataFrame:
    parts = {f"part_{name}": [row[n] for row in rows] for n, name in enumerate(("ease", "bert", "mine"))}
    facts = {"rank": range(1, len(rows) + 1), "title": [title] * len(rows), "item_id": [f"i{n}" for n in range(len(rows))]}
    return pd.DataFrame(facts | {"logit": [float(np.nansum(row)) for row in rows]} | parts)


def test_bars_are_as_long_as_their_parts_and_stack_to_either_side() -> None:
    read = Read(light.bars(frame([[2.0, -1.0, np.nan]]), **WORDS))
    found = [LENGTH.search(a["style"] or "") for tag, a in read.tags if tag == "i" and "width" in (a.get("style") or "")]
    (right, wide), (left, narrow) = [(float(m[1]), float(m[2])) for m in found if m]
    assert wide == pytest.approx(2 * narrow, abs=0.02)
    assert left + narrow == pytest.approx(right, abs=0.02)  # both begin at the zero line
    assert {a.get("title") for tag, a in read.tags if tag == "i"} >= {"ease +2.00", "bert \u22121.00"}
    assert any(a.get("title") == "ease +2.00, bert \u22121.00, mine not available" for _, a in read.tags)
    assert "1.00" in read.text


@given(st.lists(st.lists(st.floats(-50, 50) | st.just(np.nan), min_size=3, max_size=3), max_size=6))
def test_no_bar_leaves_the_scale(rows: list[list[float]]) -> None:
    page = light.bars(frame(rows), **WORDS)
    for start, length in LENGTH.findall(page):
        assert -0.02 <= float(start) <= 100.02
        assert float(start) + float(length) <= 100.02
    assert page.count('class="row"') == len(rows)


@given(st.floats(-1e4, 0), st.floats(0, 1e4))
def test_scale_is_round_and_holds_both_ends_and_zero(low: float, high: float) -> None:
    ticks = light.scale(low, high)
    assert ticks[0] <= low + 1e-6
    assert ticks[-1] >= high - 1e-6
    assert 0 in ticks
    assert 2 <= len(ticks) <= light.TICKS + 3
    assert len({f"{tick:.6g}" for tick in ticks}) == len(ticks)


def test_nothing_of_the_data_is_markup() -> None:
    shown = frame([[1.0, 1.0, 1.0]], HOSTILE).rename(columns={"part_mine": f"part_{HOSTILE}"})
    read = Read(light.bars(shown, links={"i0": f"./explain?item={HOSTILE}"}, asks=lambda title: f"Why {title}?", **WORDS))
    tile = Tile(HOSTILE, HOSTILE, "+1", "green", "up", HOSTILE, (HOSTILE, HOSTILE, HOSTILE))
    for page in (read, Read(light.tiles([tile]))):
        assert {tag for tag, _ in page.tags} <= {"a", "b", "code", "div", "em", "i", "p", "s", "span", "u"}
        assert {name for _, attributes in page.tags for name in attributes} <= {
            "aria-hidden", "aria-label", "class", "href", "role", "style", "tabindex", "target", "title",
        }  # fmt: skip
        assert HOSTILE in page.text
    (link,) = [a for tag, a in read.tags if tag == "a"]
    assert link["href"] == f"./explain?item={HOSTILE}"
    assert link["title"] == f"Why {HOSTILE}?"
    assert len(Read(light.bars(frame([[1.0, 1.0, 1.0]], "x" * 10_000), **WORDS)).text) < 1000


def test_tiles_say_what_they_measure_and_how_it_changed() -> None:
    tile = Tile("NDCG@10", "0.250", "+0.010", "green", "up", "better", ("Words.", "a / b", "Range 0 to 1."))
    read = Read(light.tiles([tile, Tile("Gini", "not available", "", "gray", "off", "", ())]))
    assert "NDCG@10" in read.text
    assert "\u2191 +0.010" in read.text
    assert [a["tabindex"] for tag, a in read.tags if a.get("role") == "listitem"] == ["0", "0"]  # for those without a pointer
    assert read.text.index("Words.") < read.text.index("a / b") < read.text.index("Range 0 to 1.")


def test_what_stands_between_backticks_is_code_and_escaped() -> None:
    frame = pd.DataFrame({"name": ["a"], "about": ["as `<b>` and <i>"], "more": ["one ` alone"]})
    made = light.words(frame, {"name": "n", "about": "a", "more": "m"})
    assert "as <code>&lt;b&gt;</code> and &lt;i&gt;" in made
    assert "one ` alone" in made
