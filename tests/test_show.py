"""What notebooks show of a run, its data, lists and report: right figures, and nothing in it that was not put there by us."""

from __future__ import annotations

import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import HOSTILE
from hypothesis import given
from hypothesis import strategies as st

from recsys_core import show
from recsys_core.errors import UserError
from recsys_core.evaluate import Report, evaluate
from recsys_core.explain.answer import explain
from recsys_core.opened import count_opening, times_opened
from recsys_core.recommend import list_of, lists_of, recommend, recommend_users
from recsys_core.run import Run

OURS = {"div", "b", "small", "span", "table", "thead", "tbody", "tr", "th", "td", "details", "summary", "ul", "li"}


class Read(HTMLParser):
    """Tags and their attributes, and the cells of tables as text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.words = ""
        self.rows: list[list[str]] = []
        self.inside = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.rows += [[]] * (tag == "tr")
        if tag == "td":
            self.rows[-1] = [*self.rows[-1], ""]
        self.inside = tag == "td" or (self.inside and tag != "th")

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag != "td"

    def handle_data(self, data: str) -> None:
        self.words += data
        if self.inside:
            self.rows[-1][-1] += data


def strange(page: str) -> list[str]:
    """Tags and attributes that are none of ours, and addresses that a browser would fetch or run."""
    read = Read(page)
    return sorted(read.tags - OURS) + sorted(read.attributes - {"style", "title"}) + ["url("] * ("url(" in page)


def shown(run: Run) -> dict[str, Any]:
    user = str(run.dataset.users.ids[int(np.argmax(run.histories.lengths))])
    lists = lists_of(run, [user, *map(str, run.dataset.users.ids[:4])], k=5)
    why = explain(run, user, str(recommend_users(run, [user], k=1)["item_id"][0]))
    return {"run": run, "data": run.dataset, "lists": lists, "report": evaluate(run, k=5, segments=["activity"]), "why": why}


@pytest.fixture(scope="module")
def of_hostile(hostile_run: Run) -> dict[str, Any]:
    return shown(hostile_run)


@pytest.mark.parametrize("name", ["run", "data", "lists", "report", "why"])
def test_hostile_text_stays_text(name: str, of_hostile: dict[str, Any]) -> None:
    page = of_hostile[name]._repr_html_()
    assert not strange(page)
    assert {"run": "<i>h</i>", "data": HOSTILE[0], "lists": HOSTILE[0], "report": "hybrid", "why": "["}[name] in Read(page).words


@pytest.mark.parametrize(
    "bad", [HOSTILE[0], "<img src=x>", '<div onclick="f()">', '<a href="javascript:f()">', "<style>", "url(x)"]
)
def test_unescaped_text_is_found(bad: str, of_hostile: dict[str, Any]) -> None:
    assert strange(of_hostile["data"]._repr_html_().replace("</table>", bad + "</table>"))


@given(
    st.lists(st.tuples(st.text(st.characters(exclude_characters="\r\0", exclude_categories=["Cs"])), st.integers()), min_size=1)
)
def test_cells_come_back_as_they_went_in(rows: list[tuple[str, int]]) -> None:
    page = show.page(rows[0][0], rows[0][0], show.small(rows[0][0]), show.table(["<b>"], rows))
    assert not {*strange(page)} - {"url("}
    assert Read(page).rows[1:] == [[text, f"{number:,}"] for text, number in rows]


def test_run_shows_the_stored_leaderboard(tiny_run: Run, tmp_path: Path) -> None:
    page = Read(tiny_run._repr_html_())
    valid = tiny_run.metrics["valid"]
    table = {row[0]: row[1:] for row in page.rows[1:]}
    assert {"hybrid", *tiny_run.model.names} == set(table)
    assert table["hybrid"][0] == f"{valid['hybrid']:.4f}"
    assert [table[n][2] for n in tiny_run.model.names] == [f"{w:+.4f}" for w in tiny_run.model.blend.weights]
    assert "flatters" in page.words
    shutil.copytree(tiny_run.path, tmp_path / "run")
    run = Run.load(tmp_path / "run")
    report = evaluate(run, k=5)
    report.save(run)
    judged = Read(run._repr_html_())
    assert f"{report.mean('hybrid', 'ndcg'):.4f} [" in {row[0]: row[1] for row in judged.rows[1:]}["hybrid"]
    assert "opened so far: 1" in judged.words
    (run.path / "report.json").write_text("{", "utf-8")
    assert "damaged" in Read(run._repr_html_()).words  # a notebook goes on, and says what is wrong


def test_lists_show_every_place_and_its_parts(tiny_run: Run) -> None:
    users = [str(u) for u in tiny_run.dataset.users.ids[:3]]
    lists = lists_of(tiny_run, users, k=4)
    frame, page = lists.frame(), Read(lists._repr_html_())
    titles = dict(zip(tiny_run.dataset.items.ids, tiny_run.dataset.catalog.titles, strict=True))
    told = [[r.user_id, str(r.rank), r.item_id, titles[r.item_id], f"{r.probability:.1%}"] for r in frame.itertuples()]
    assert [row[:5] for row in page.rows[1:]] == told
    assert len(told) == 12
    part = frame[f"part_{lists.names[0]}"][0]
    assert f'title="{lists.names[0]} {part:+.2f}"' in lists._repr_html_()


def test_lists_of_nobody_known(tiny_run: Run) -> None:
    ids = [str(i) for i in tiny_run.dataset.items.ids[:2]]
    assert list_of(tiny_run, ids, k=3).frame()["user_id"].tolist() == ["history"] * 3
    bare = recommend(tiny_run.model, tiny_run.histories[[0]], tiny_run.hidden[[0]], k=2)  # neither ids nor titles are known
    assert bare.frame()["item_id"].tolist() == bare.items[0].tolist()
    assert "0" in Read(bare._repr_html_()).rows[1]
    with pytest.raises(UserError, match="k must be 1 or more"):
        lists_of(tiny_run, ids[:0] or None, k=0)


def test_long_lists_are_cut_and_say_so(tiny_run: Run) -> None:
    lists = lists_of(tiny_run, None, k=5)
    page = Read(lists._repr_html_())
    assert len(lists.frame()) > 100
    assert len(page.rows) == 101
    assert f"{len(lists.frame()) - 100:,} more rows" in page.words


def test_report_shows_intervals_by_segment(tiny_run: Run) -> None:
    report = evaluate(tiny_run, k=5, segments=["activity"])
    page = report._repr_html_()
    ndcg = report.rows[report.rows["metric"] == "ndcg"]
    assert ndcg["low"].isna().any()  # a group too small to be judged
    assert "nan" not in page
    for row in ndcg.dropna().itertuples():
        assert f"[{row.low:.4f}, {row.high:.4f}]" in page
    assert "activity=low" in page
    assert page.count("coverage@5") == 1  # of all lists together; segments have none, and no empty column
    assert report._remarks()[0] in Read(page).words


def test_a_stored_report_is_the_one_that_was_made(tiny_run: Run, tmp_path: Path) -> None:
    shutil.copytree(tiny_run.path, tmp_path / "run")
    run = Run.load(tmp_path / "run")
    with pytest.raises(UserError, match="not judged yet; run: whyrec evaluate --run"):
        Report.load(run)
    made = evaluate(run, k=5, segments=["activity"])
    made.save(run)
    again = Report.load(run)
    assert again.k == 5
    assert again._repr_html_() == made._repr_html_()
    assert again.text() == made.text()
    pd.testing.assert_frame_equal(again.rows, made.rows)
    pd.testing.assert_frame_equal(again.differences, made.differences)
    pd.testing.assert_frame_equal(again.per_user, made.per_user)
    pd.testing.assert_frame_equal(again.calibration["table"], made.calibration["table"])
    assert times_opened(run) == 1
    evaluate(run, k=3).save(run)
    assert Report.load(run)._repr_html_() != made._repr_html_()
    (run.path / "report.json").unlink()
    count_opening(run)  # as `whyrec compare` does
    with pytest.raises(UserError, match="cannot be read"):
        Report.load(run)


def test_bars_keep_to_one_scale() -> None:
    narrow, wide = show.stacks([[1.0, -1.0], [2.0, float("nan")]], ["ease", "bert"])
    assert "width:53.3px" in narrow  # one third of 160: the rows span from -1 to 2
    assert "width:106.7px" in wide
    assert "width:160.0px" in show.bar(-3.0, 3.0)
    assert "width:0.0px" in show.bar(float("nan"), 3.0)
    assert show.interval(0.5, 0.4, 0.6).striptags() == "0.5000 [0.4000, 0.6000]"
    assert show.interval(0.5, None, None) == "0.5000"  # type: ignore[arg-type]


def test_a_data_set_shows_its_notes(tiny_run: Run) -> None:
    page = replace(tiny_run.dataset, notes=("two rows <merged>",))._repr_html_()
    assert "two rows &lt;merged&gt;" in page
    assert len(Read(page).rows) == 6  # a head, and five items
