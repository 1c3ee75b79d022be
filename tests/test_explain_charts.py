"""Charts of explanations: their numbers are those of their tables, walks end where they should, and nothing in them is markup."""

from __future__ import annotations

import html
import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from conftest import HOSTILE

from dashboard import explain_charts as charts
from dashboard.charts import COLOURS
from recsys_core.explain.game import Explanation

TEXT = "Fargo (1996). <b>Crime</b> & \"snow\" 'cold'"
PLACES = ("0-5", "7-11", "17-22", "30-34")
BAD = (*HOSTILE, "</script><script>alert(1)</script>", "\"' onmouseover='alert(1)", "&lt;b&gt;", "")


def told(
    values: list[float], *, base: float = -1.0, gap: float = 0.0, error: list[float] | None = None, **about: object
) -> Explanation:
    labels = about.pop("labels", tuple(f"item {n}" for n in range(len(values))))
    output = base + float(np.nansum(values)) + gap
    sampled = None if error is None else np.array(error)
    about = {"question": "history", "method": "exact", "players": labels, "labels": labels, "user": "u", "item": "i"} | about
    return Explanation(contributions=np.array(values, float), base=base, output=output, standard_error=sampled, **about)


def words(values: list[float]) -> Explanation:
    return told(values, question="words", players=PLACES[: len(values)], labels=tuple(f"w{n}" for n in range(len(values))))


class Cells(HTMLParser):
    """Rows of cells of a table; tags that are not of a table are kept as offences."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: set[str] = set()
        self.inside = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self.inside = True

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.rows[-1][-1] += data


def numbers(figure: go.Figure) -> dict[str, float]:
    """Length of each bar, by its label."""
    (bar,) = (t for t in figure.data if t.type == "bar")
    ticks = [html.unescape(re.sub("<[^>]*>|■", "", t)).strip() for t in figure.layout.yaxis.ticktext]
    return {ticks[y]: x for y, x in zip(bar.y, bar.x, strict=True)}


def shown(figure: go.Figure) -> list[str]:
    """The signed numbers in the chart, top to bottom."""
    texts = [
        (y, t.strip())
        for trace in figure.data
        if trace.type == "scatter" and trace.mode == "text"
        for y, t in zip(trace.y, trace.text, strict=True)
    ]
    return [text for _, text in sorted(texts)]


def reconciles(figure: go.Figure, explanation: Explanation) -> bool:
    """Each bar begins where the last one ended, the first at the base, and the last ends at the output."""
    (bar,) = (t for t in figure.data if t.type == "bar")
    at = explanation.base
    for start, step in zip(bar.base, bar.x, strict=True):
        if abs(start - at) > 1e-9:
            return False
        at = start + step
    return abs(at - explanation.output) < 1e-6


# Numbers.


@pytest.mark.parametrize("gap", [0.0, 0.25, -0.4])
@pytest.mark.parametrize("n", [0, 1, 2, 13, 14, 40])
def test_waterfall_walks_from_base_to_output(n: int, gap: float) -> None:
    e = told([(-1) ** k * (1 + k) / 10 for k in range(n)], gap=gap)
    figure = charts.waterfall(e)
    assert reconciles(figure, e)
    assert not reconciles(figure, replace(e, output=e.output + 0.01))
    assert not reconciles(figure, replace(e, base=e.base + 0.01))
    marks = next(t for t in figure.data if t.type == "scatter" and t.mode == "markers+text")
    assert list(marks.x) == pytest.approx([e.base, e.output])
    assert len(numbers(figure)) == min(n, 13) + bool(gap)  # 12 and "others", or the 13th itself, which takes no more room


def test_waterfall_takes_the_largest_first() -> None:
    e = told([0.1, -0.5, 0.3, 0.01, -0.02, 0.03])
    assert numbers(charts.waterfall(e, most=3)) == pytest.approx(
        {"item 1": -0.5, "item 2": 0.3, "item 0": 0.1, "3 others": 0.01 - 0.02 + 0.03}
    )


@pytest.mark.parametrize("draw", [charts.waterfall, charts.bars])
@pytest.mark.parametrize("values", [[0.2, -0.7, 0.05], [], [1.5], [0.0, 0.0], [0.0004, -0.0123], [0.5, math.nan, -0.1]])
def test_chart_and_table_have_the_same_numbers(draw, values: list[float]) -> None:
    e = told(values, gap=0.125)
    rows = {row[0]: row[1] for row in Cells(charts.table(e)).rows[1:]}
    figure = draw(e)
    labels = [html.unescape(t).strip() for t in figure.layout.yaxis.ticktext if "<b>" not in t]
    assert {label: rows[label] for label in labels} == dict(zip(labels, shown(figure), strict=True))
    assert set(rows) - set(labels) == {"base", "logit"}
    assert rows["logit"] == f"{e.output:.{charts.digits(e)}f}"
    drawn = numbers(figure)
    assert sum(drawn.values()) == pytest.approx(e.output - e.base)


def test_others_are_what_is_left_of_the_table() -> None:
    e = told([1 / (k + 1) for k in range(30)])
    drawn = numbers(charts.bars(e))
    assert drawn["15 others"] == pytest.approx(sum(1 / (k + 1) for k in range(15, 30)))
    assert len(Cells(charts.table(e)).rows) == 1 + 30 + 2
    short = Cells(charts.table(e, most=10)).rows
    assert short[-2][:2] == ["20 others", f"{sum(1 / (k + 1) for k in range(10, 30)):+.2f}"]


def test_bars_are_sorted_and_sides_differ_by_sign_and_colour() -> None:
    figure = charts.bars(told([-0.2, 0.4, 0.1, -0.3], error=[0.01, 0.02, 0.0001, 0.04]))
    assert list(numbers(figure)) == ["item 1", "item 2", "item 0", "item 3"]
    assert list(figure.data[0].marker.color) == [charts.UP, charts.UP, charts.DOWN, charts.DOWN]
    assert shown(figure) == ["+0.400", "+0.100", "-0.200", "-0.300"]
    assert list(figure.data[0].error_x.array) == [0.02, 0.0001, 0.01, 0.04]
    assert "+0.400 ± 0.020" in figure.data[0].customdata[0]
    assert "± &lt;0.001" in figure.data[0].customdata[1]
    assert [row[3] for row in Cells(charts.table(told([0.4, 0.1], error=[0.02, 0.0001]))).rows] == [
        "Std. error",
        "",
        "0.020",
        "<0.001",
        "",
    ]


def test_no_whiskers_where_nothing_was_sampled() -> None:
    assert charts.bars(told([0.4])).data[0].error_x.array is None
    assert Cells(charts.table(told([0.4]))).rows[0] == ["What", "Log-odds", "Share"]


def contrast(one: str, other: str) -> float:
    """WCAG 2.1 contrast of two colours, 1-21."""
    parts = [[int(c[n : n + 2], 16) / 255 for n in (1, 3, 5)] for c in (one, other)]
    light = [
        np.dot([v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in p], [0.2126, 0.7152, 0.0722]) for p in parts
    ]
    return (max(light) + 0.05) / (min(light) + 0.05)


@pytest.mark.parametrize("page", ["#FFFFFF", "#12151B"])
def test_colours_show_on_light_and_on_dark(page: str) -> None:
    assert min(contrast(charts.UP, page), contrast(charts.DOWN, page)) >= 3
    assert contrast("#B2182B", "#12151B") < 3  # the darker red of the same scale would not


def test_components_keep_their_colour() -> None:
    figure = charts.waterfall(told([0.5, 0.2], question="components", labels=("ease", "bert")))
    assert [name for name, c in COLOURS.items() for t in figure.layout.yaxis.ticktext if c in t] == ["ease", "bert"]
    assert not any("■" in t for t in charts.waterfall(told([0.5], labels=("ease",))).layout.yaxis.ticktext)


def test_ticks_are_round_and_few() -> None:
    assert charts._ticks(-4.6, -2) == [-4.5, -4.0, -3.5, -3.0, -2.5, -2.0]
    for low, high in ((0, 1e-7), (-5, 900), (-0.031, 0.021)):
        ticks = charts._ticks(low, high)
        assert 2 <= len(ticks) <= 6
        assert all(low - 1e-12 <= t <= high + 1e-12 for t in ticks)


@pytest.mark.parametrize(("chance", "said"), [(0.62, "62%"), (0.0891, "8.9%"), (0.999, "99.9%"), (0.0, "0%"), (1.0, "100%")])
def test_percent(chance: float, said: str) -> None:
    assert charts.percent(chance) == said


# The tree.

LEAVES = pd.DataFrame(
    [
        ("bert", "A", "robot", 0.3),
        ("bert", "A", "space", -0.1),
        ("bert", "B", "kiss", -0.5),
        ("ease", "A", None, 0.9),
        ("ease", None, None, 0.2),
    ],
    columns=["level1", "level2", "level3", "contribution"],
)


def test_tree_adds_up() -> None:
    branch = charts.branches(LEAVES)
    assert branch["label"].tolist() == ["ease", "A", "not through the history", "bert", "B", "A"]
    assert branch["contribution"].tolist() == pytest.approx([1.1, 0.9, 0.2, -0.3, -0.5, 0.2])
    assert branch["words"].tolist() == ["", "", "", "", "kiss -0.500", "robot +0.300, space -0.100"]
    figure = charts.tree(LEAVES)
    (bar,) = (t for t in figure.data if t.type == "bar")
    assert list(bar.x) == pytest.approx(branch["contribution"].tolist())
    assert [w > 0.5 for w in bar.width] == [True, False, False, True, False, False]
    rows = Cells(charts.table(LEAVES)).rows[1:]
    assert [r[0] for r in rows] == branch["label"].tolist()
    assert [r[1] for r in rows] == shown(figure)


def test_tree_cuts_long_branches_and_keeps_their_sum() -> None:
    many = pd.DataFrame(
        {"level1": "ease", "level2": [f"i{n}" for n in range(9)], "level3": "", "contribution": np.arange(1.0, 10)}
    )
    branch = charts.branches(many, most=3)
    assert branch["label"].tolist() == ["ease", "i8", "i7", "i6", "6 others"]
    assert branch["contribution"].tolist() == [45, 9, 8, 7, 21]
    assert branch["share"].tolist() == pytest.approx([1, 9 / 45, 8 / 45, 7 / 45, 21 / 45])
    rest = pd.concat([many, many.head(1).assign(level2=None, contribution=-3.0)])
    assert charts.branches(rest, most=3)["label"].tolist() == [
        *branch["label"],
        "not through the history",
    ]  # no past item, so no other
    charts.tree(many.head(0))  # nothing to draw is no error


# Words.


def marks(page: str) -> list[tuple[str, str, str]]:
    return re.findall(r'<mark style="([^"]*)" title="([^"]*)">(.*?)</mark>', page)


def test_words_are_shaded_in_place() -> None:
    page = charts.highlighted(words([0.4, -0.2, 0.0, 0.1]), TEXT)
    assert [(title, html.unescape(word)) for _, title, word in marks(page)] == [
        ("+0.400 log-odds", "Fargo"), ("-0.200 log-odds", "1996"), ("+0.000 log-odds", "Crime"), ("+0.100 log-odds", "snow"),
    ]  # fmt: skip
    styles = [style for style, _, _ in marks(page)]
    assert ["solid" in s for s in styles] == [True, False, False, True]
    assert ["wavy" in s for s in styles] == [False, True, False, False]
    assert all("color:inherit" in s for s in styles)
    text = re.sub("<[^>]*>", "", page.split("</p>")[0])
    assert html.unescape(text) == TEXT
    assert "raises the score" in page
    assert "the deepest shade is 0.400 log-odds" in page


def test_words_in_any_order_and_none() -> None:
    e = words([0.4, -0.2])
    turned = replace(e, players=e.players[::-1], labels=e.labels[::-1], contributions=e.contributions[::-1])
    assert charts.highlighted(turned, TEXT) == charts.highlighted(e, TEXT)
    assert "&lt;b&gt;" in charts.highlighted(words([]), TEXT)


@pytest.mark.parametrize("players", [("a", "b"), ("0-5", "3-7"), ("0-5", "90-95"), ("5-0", "7-9"), ("0-5-7", "8-9")])
def test_players_that_are_no_places_are_refused(players: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="place"):
        charts.highlighted(replace(words([0.4, -0.2]), players=players), TEXT)


# Markup.


@pytest.mark.parametrize("bad", BAD)
def test_no_label_is_markup(bad: str) -> None:
    e = told([0.5, -0.25, 0.1], labels=(bad, f"{bad} (2)", "b"), error=[0.1, 0.1, 0.1])
    leaves = LEAVES.assign(level1=bad, level2=f"{bad}2", level3=bad)
    assert Cells(charts.table(e)).tags == Cells(charts.table(leaves)).tags == {"table", "thead", "tbody", "tr", "th", "td"}
    assert [r[0] for r in Cells(charts.table(e)).rows[2:4]] == [" ".join(bad.split()), f"{bad} (2)".strip()]
    frame = pd.DataFrame({bad or "x": [bad], "tags": [("<i>", bad)]})
    assert Cells(charts.table(frame)).tags == {"table", "thead", "tbody", "tr", "th", "td"}
    for figure in (charts.waterfall(e), charts.bars(e), charts.tree(leaves)):
        (bar,) = (t for t in figure.data if t.type == "bar")
        texts = [*figure.layout.yaxis.ticktext, *bar.customdata, *(a.text for a in figure.layout.annotations)]
        texts += [a["text"] for a in figure.layout.meta["narrow"]["annotations"]]
        assert set(re.findall(r"<(/?\w+)", " ".join(texts))) <= {"b", "/b", "br", "span", "/span"}
        assert bar.hovertemplate == "%{customdata}<extra></extra>"


def test_markup_in_the_text_stays_text() -> None:
    text = " ".join(BAD)
    e = replace(words([0.4, -0.2]), players=("0-8", f"{len(text) - 9}-{len(text) - 5}"))
    assert Cells(charts.highlighted(e, text)).tags == {"div", "p", "mark", "span"}


def test_labels_that_look_alike_keep_their_rows() -> None:
    same = "A title that is longer than the room that a chart has for it"
    figure = charts.bars(told([0.3, 0.2], labels=(f"{same} one", f"{same} two")))
    assert list(figure.data[0].y) == [0, 1]
    assert list(figure.data[0].x) == [0.3, 0.2]


def test_any_frame_as_a_table() -> None:
    frame = pd.DataFrame(
        {"item": ["A", None], "probability": [0.623, math.nan], "rank": [3, 4], "verified": [True, False], "loss": [0.5, 1.0]}
    )
    rows = Cells(charts.table(frame)).rows
    assert rows == [[*frame.columns], ["A", "62%", "3", "yes", "0.500"], ["not available", "not available", "4", "no", "1.000"]]
    assert Cells(charts.table(pd.concat([frame] * 300), most=10)).rows[-1][0] == "590 more rows"
