"""The report: one file, no network, nothing from the data is markup, small, written whole; a real Chromium draws it offline."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import HOSTILE
from plotly.offline import get_plotlyjs
from served import ARTIFACTS, PATIENCE
from test_explain_charts import BAD, LEAVES, TEXT, Cells, told, words

from dashboard import explain_charts, report
from recsys_core.errors import UserError
from recsys_core.explain.answer import explain
from recsys_core.explain.game import Explanation
from recsys_core.run import Run

FACTS = {"Run": "a", "Data fingerprint": "f" * 64, "Versions": {"python": "3.11", "whyrec": "0.1"}, "Date": "2026-01-02"}
TITLE = "Why was Fargo recommended to user u?"


class Page(HTMLParser):
    """Tags, attributes and the data blocks of a page, as a browser's parser would see them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.scripts: list[tuple[str, str]] = []
        self._type: str | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self._type = dict(attrs).get("type", "text/javascript") if tag == "script" else None
        if tag == "script":
            self.scripts.append((self._type, ""))

    def handle_endtag(self, tag: str) -> None:
        self._type = None

    def handle_data(self, data: str) -> None:
        if self._type:
            self.scripts[-1] = (self._type, self.scripts[-1][1] + data)

    @property
    def figures(self) -> list[dict]:
        return [json.loads(text) for kind, text in self.scripts if kind == "application/json"]

    @property
    def policy(self) -> str:
        return next(
            value for tag, name, value in self.attributes if tag == "meta" and name == "content" and "default-src" in value
        )


def explained(labels: tuple[str, ...] = ("ease", "bert", "a")) -> list[Explanation]:
    e = told([1.0, -0.25, 0.5], labels=labels, question="components", title=labels[0])
    return [e, replace(e, question="history", standard_error=np.array([0.1, 0.05, 0.01])), replace(e, question="attributes")]


def loads(page: Page) -> list[str]:
    """What the page would fetch or run of its own accord or at a click."""
    reaching = {"src", "href", "srcset", "action", "data", "poster", "formaction", "background", "ping"}
    bad = [f"{tag} {name}={value}" for tag, name, value in page.attributes if name in reaching or name.startswith("on")]
    bad += [tag for tag in page.tags if tag in ("iframe", "object", "embed", "link", "base", "img", "form", "svg")]
    return bad + [text for kind, text in page.scripts if kind == "text/javascript" and text != report.JS]


# One file that needs nothing else.


def test_page_fetches_nothing_and_may_fetch_nothing() -> None:
    text = report.report_html(explained(), title=TITLE, facts=FACTS)
    page = Page(text)
    assert not loads(page)
    assert "default-src 'none'" in page.policy
    assert "http" not in page.policy
    without_library = re.sub(r'<script type="text/plain".*?</script>', "", text, flags=re.S)
    assert "://" not in without_library
    assert "@import" not in text
    assert "url(" not in text
    assert text.index("Content-Security-Policy") < text.index("<style") < text.index("<script")


@pytest.mark.parametrize("bad", ['<img src="x">', "<script>1</script>", '<a href="//x">', "<p onclick='x'>", "<link rel=x>"])
def test_what_would_fetch_is_found(bad: str) -> None:
    assert loads(Page(bad))


def test_library_is_there_once_and_is_the_one_allowed() -> None:
    page = Page(report.report_html(explained(), title=TITLE, facts=FACTS))
    (library,) = [text for kind, text in page.scripts if kind == "text/plain"]
    code = gzip.decompress(base64.b64decode(library))
    assert code.decode() == get_plotlyjs()
    allowed = re.findall(r"'sha256-([^']+)'", page.policy)
    assert allowed == [base64.b64encode(hashlib.sha256(c).digest()).decode() for c in (report.JS.encode(), code)]
    assert "'unsafe-inline'" not in page.policy.split("script-src")[1]


def test_page_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    many = [told(list(np.linspace(1, -1, 3_000)), question=q) for q in ("history", "attributes", "components")]
    extra = [("Long", "caption", pd.DataFrame({"a": ["x" * 5000] * 5000}))]
    page = report.report_html(many, title=TITLE, facts=FACTS, text="word " * 10**6, extra=extra)
    assert len(page.encode()) < report.MOST == 5_000_000
    monkeypatch.setattr(report, "MOST", 1_900_000)
    with pytest.raises(UserError, match="fewer explanations"):
        report.report_html(many, title=TITLE, facts=FACTS)


def test_no_chart_no_library() -> None:
    page = Page(report.report_html([], title=TITLE, facts={}))
    assert "script" not in page.tags
    assert "script-src 'none'" in page.policy
    assert "footer" not in page.tags
    empty = Page(report.report_html([told([])], title=TITLE, facts=FACTS))
    assert "script" not in empty.tags


def test_same_input_same_bytes() -> None:
    pages = {report.report_html(explained(), title=TITLE, facts=FACTS) for _ in range(2)}
    assert len(pages) == 1


# What it says.


def sections(page: str) -> list[str]:
    return re.findall(r"<section>.*?</section>", page, flags=re.S)


def test_sections_say_numbers_and_how_far_to_trust_them() -> None:
    both = [*explained(), replace(words([0.4, -0.2]), fidelity=0.97, evaluations=1234, seconds=3.5, seed=7, notes=("cut short",))]
    page = report.report_html(both, title=TITLE, facts=FACTS, sentence="Because of ease.", text=TEXT, notes=("Not tested.",))
    first, history, _, last = sections(page)
    assert "Which component of the blend brings the score?" in first
    assert "Most for it: ease, +1.00 log-odds. Most against it: bert, -0.25 log-odds." in first
    assert "-1.00 (base) +1.25 (3 contributions) = 0.25 (logit)." in first
    assert "closed form" in first
    assert "standard error at most 0.10" in history
    for said in ("R² 0.97", "1,234 evaluations", "3.50 s", "seed 7", "cut short", "<mark"):
        assert said in last
    for said in (TITLE, "56%", "0.25", "Because of ease.", "Not tested.", "f" * 64, "python 3.11, whyrec 0.1", "2026-01-02"):
        assert said in page


def test_gap_is_told() -> None:
    (section,) = sections(report.report_html([told([0.5, 0.25], gap=-0.125, method="lime")], title=TITLE, facts={}))
    assert "-1.00 (base) +0.75 (2 contributions) -0.12 (gap) = -0.38 (logit)." in section
    assert "gap -1.2e-01" in section
    assert "not shared out (gap)" in section


def test_missing_contribution_is_not_zero() -> None:
    (section,) = sections(report.report_html([told([0.5, float("nan")])], title=TITLE, facts={}))
    assert Cells(section).rows[3][1] == "not available"
    assert "nan" not in section.lower()


@pytest.mark.parametrize("question", ["components", "history", "attributes", "words", "new"])
@pytest.mark.parametrize("values", [[], [0.3], [0.0, 0.0], [0.3, -0.5, 0.1]])
def test_charts_and_tables_of_the_page_agree(question: str, values: list[float]) -> None:
    e = replace(words(values) if question == "words" else told(values), question=question)
    text = report.report_html([e], title=TITLE, facts=FACTS, text=TEXT)
    (section,) = sections(text)
    rows = {r[0]: r[1] for r in Cells(section).rows[1:]}
    assert rows.pop("logit") == f"{e.output:.{explain_charts.digits(e)}f}"
    rows.pop("base")
    figures = Page(text).figures
    assert len(figures) == bool(values)
    for figure in figures:
        (bar,) = (t for t in figure["data"] if t["type"] == "bar")
        labels = [re.sub("<[^>]*>|■", "", t).strip() for t in figure["layout"]["yaxis"]["ticktext"]]
        drawn = {labels[y]: f"{x:+.{explain_charts.digits(e)}f}" for y, x in zip(bar["y"], bar["x"], strict=True)}
        assert drawn == rows
        assert sum(bar["x"]) == pytest.approx(e.output - e.base)


def test_real_explanations_fit(tiny_run: Run) -> None:
    found = [explain(tiny_run, "u01", "h1", question=q) for q in ("components", "history", "attributes")]
    text = report.report_html(found, title=TITLE, facts=FACTS)
    for e, figure in zip(found, Page(text).figures, strict=True):
        assert sum(sum(t["x"]) for t in figure["data"] if t["type"] == "bar") == pytest.approx(e.output - e.base, abs=1e-6)


def test_further_sections() -> None:
    removed = pd.DataFrame({"removed": ["A, B"], "rank": [4], "probability": [0.31], "verified": [True]})
    extra = [
        ("What would change it", "Each was scored again.", removed),
        ("Tree", "Adds up.", LEAVES),
        ("Why not", "-", removed.head(0)),
    ]
    text = report.report_html([], title=TITLE, facts={}, extra=extra)
    change, tree, none = sections(text)
    assert Cells(change).rows[1] == ["A, B", "4", "31%", "yes"]
    assert "Each was scored again." in change
    assert "<details open>" in tree
    assert len(Page(text).figures) == 1
    assert "Nothing was found." in none


def test_one_subject_a_report() -> None:
    with pytest.raises(ValueError, match="one user and one item"):
        report.report_html([told([1.0]), told([1.0], user="v")], title=TITLE, facts={})


# Nothing from the data is markup.


@pytest.mark.parametrize("bad", [*filter(None, BAD), "</title></style></noscript></section>", "<!--", "]]>", "\u2028\u2029\x00"])
def test_markup_stays_text(bad: str) -> None:
    clean = Page(everything("fine", "fine"))
    page = Page(everything(bad, bad))
    assert page.tags == clean.tags
    assert not loads(page)
    assert [len(f["data"]) for f in page.figures] == [len(f["data"]) for f in clean.figures]


def test_markup_that_is_let_through_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "escaped", str)
    monkeypatch.setattr(report.html, "escape", str)
    broken = Page(everything(HOSTILE[0], HOSTILE[0]))
    assert broken.tags != Page(everything("fine", "fine")).tags
    assert loads(broken)


def test_script_end_in_a_figure_would_be_found() -> None:
    assert Page('<script type="application/json">"</script><img src=x>"</script>').tags == ["script", "img"]


def everything(bad: str, text: str) -> str:
    """A page with `bad` wherever a word can be."""
    found = [replace(e, user=bad, item=bad, title=bad, method=bad, notes=(bad,)) for e in explained((bad, f"{bad}2", f"{bad}3"))]
    asked = replace(found[0], question=bad)
    spoken = replace(found[0], question="words", players=("0-1", "1-2", "2-3"))
    extra = [(bad, bad, pd.DataFrame({bad: [bad]})), (bad, bad, LEAVES.assign(level1=bad, level2=bad, level3=bad))]
    facts = {bad: bad, "versions": {bad: bad}}
    return report.report_html(
        [*found, asked, spoken], title=bad, facts=facts, sentence=bad, text="abc " + text, notes=(bad,), extra=extra
    )


# Written whole.


def test_written_whole_and_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "new" / "report.html"
    report.write_report(file, explained(), title="one \ud800", facts=FACTS)
    assert "<h1>one ?</h1>" in file.read_text("utf-8")
    report.write_report(file, explained(), title="two", facts=FACTS)
    before = file.read_text("utf-8")
    assert "<h1>two</h1>" in before

    def full(self: Path, data: bytes) -> int:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="disk full"):
        report.write_report(file, explained(), title="three", facts=FACTS)
    assert file.read_text("utf-8") == before
    assert list(file.parent.iterdir()) == [file]


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a folder"):
        report.write_report(tmp_path, [], title=TITLE, facts={})


# A real browser.


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (400, "dark")])
def test_opens_offline_and_draws_every_chart(browser, tmp_path: Path, width: int, scheme: str) -> None:
    found = [*explained((BAD[4], "<i>bert</i>", "=HYPERLINK(1)")), replace(words([0.4, -0.2]), user="u", item="i")]
    found = [replace(e, title=HOSTILE[0]) for e in found]
    file = report.write_report(tmp_path / "r.html", found, title=BAD[4], facts=FACTS, text=TEXT, extra=[("Tree", "", LEAVES)])
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    context.set_offline(True)
    page, errors, asked = context.new_page(), [], []
    page.on("console", lambda m: errors.append(m.text))
    page.on("pageerror", lambda e: errors.append(str(e)))
    page.on("dialog", lambda d: errors.append(d.message))
    page.on("request", lambda r: asked.append(r.url))
    page.goto(file.as_uri())
    page.locator("html[data-drawn='5']").wait_for(timeout=PATIENCE)
    bars = [page.locator(".chart").nth(n).locator(".main-svg .bars .point path").count() for n in range(5)]
    assert bars == [3, 3, 3, 2, 5 + 1]
    assert page.locator(".chart .bars path[d]:not([d=''])").count() >= sum(bars)
    assert "</script><script>alert(1)" in page.locator(".chart").first.text_content()
    assert page.locator("details[open], #drawing").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    ARTIFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTIFACTS / f"report-{width}-{scheme}.png", full_page=True)
    context.close()
    assert errors == []
    assert asked == [file.as_uri()]


@pytest.mark.browser
def test_without_script_the_tables_stand_open(browser, tmp_path: Path) -> None:
    file = report.write_report(tmp_path / "r.html", explained(), title=TITLE, facts=FACTS)
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(file.as_uri())
    assert page.locator("details[open] table:visible").count() == 3
    assert page.get_by_text("takes JavaScript").is_visible()
    assert html.unescape(page.locator("h1").inner_text()) == TITLE
    context.close()


@pytest.mark.browser
def test_a_changed_library_does_not_run(browser, tmp_path: Path) -> None:
    text = report.report_html(explained(), title=TITLE, facts=FACTS)
    evil = base64.b64encode(gzip.compress(b"document.title = 'taken'")).decode()
    file = tmp_path / "evil.html"
    file.write_text(text.replace(report._library(), evil), encoding="utf-8")
    context = browser.new_context()
    page = context.new_page()
    page.goto(file.as_uri())
    page.get_by_text("could not draw the charts").wait_for()
    assert page.title() == TITLE
    assert page.locator("details[open]").count() == 3
    context.close()
