"""Reviews, the review on Explain and reactions on User without a browser: what is saved is what is shown, and text stays text."""

from __future__ import annotations

import csv
import io
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from conftest import HOSTILE, ran
from streamlit.testing.v1 import AppTest
from test_dashboard import shown_titles, table, texts

from dashboard import review_report, strings, tables
from recsys_core import browse, feedback
from recsys_core.feedback import Verdict
from recsys_core.run import Run


@pytest.fixture
def runs(tiny_run: Run, tmp_path: Path) -> Path:
    shutil.copytree(tiny_run.path.parent, tmp_path / "runs")
    return tmp_path / "runs"


def press(app: AppTest, key: str) -> AppTest:
    app.button(key=key).click()
    return ran(app)


def first(run: Run, user: str) -> str:
    return str(browse.user_list(run, browse.person(run, user), run.model.blend, k=1).frame["item_id"][0])


def said(path: Path, **facts: object) -> int:
    return feedback.record(path, Verdict(**{"run": "tiny", "user": "u01", "item": "i01", "verdict": "sense"} | facts))


# A review on the page Explain.


def review(app: AppTest, verdict: str, note: str) -> AppTest:
    control = next(b for b in app.get("button_group") if b.label == strings.plain("review.verdict"))
    control.set_value(verdict)
    app = ran(app)
    next(a for a in app.text_area if a.label == strings.plain("review.note")).set_value(note)
    return press(ran(app), "review save")


def test_save_and_withdraw(open_app, runs: Path) -> None:
    run, path = Run.load(runs / "tiny"), feedback.file_of(runs)
    item = first(run, "u01")
    app = open_app(runs, "explain", user="u01", item=item)
    assert strings.plain("review.none") in texts(app)
    assert app.button(key="review save").disabled
    app = review(app, "wrong", HOSTILE[0])
    (row,) = feedback.verdicts(path).to_dict("records")
    assert (row["run"], row["user_id"], row["item_id"], row["verdict"]) == ("tiny", "u01", item, "wrong")
    assert (row["note"], row["rank"], row["author"]) == (HOSTILE[0], 1, "")
    assert "history by exact" in row["shown"]
    found = browse.user_list(run, browse.person(run, "u01"), run.model.blend, k=1).frame
    assert row["probability"] == pytest.approx(found["probability"][0])
    assert table(app, "note")["note"].tolist() == [HOSTILE[0]]
    assert [s.value for s in app.success] == [strings.plain("review.saved")]
    assert strings.plain("review.none") in texts(press(app, "review withdraw"))
    assert feedback.verdicts(path).empty
    assert len(feedback.rows(path, "verdict")) == 2


def test_a_spoiled_file_is_told_on_every_page(open_app, runs: Path) -> None:
    feedback.file_of(runs).write_bytes(b"not a database at all" * 99)
    for page in ("user", "explain", "reviews"):
        assert "not a feedback file" in texts(open_app(runs, page, user="u01"))


# The page Reviews.


def test_no_verdict_yet_and_the_queue_of_the_core(open_app, runs: Path) -> None:
    app, run = open_app(runs, "reviews"), Run.load(runs / "tiny")
    assert strings.t("reviews.empty") in texts(app)
    queue = feedback.queue(run, feedback.verdicts(feedback.file_of(runs)), 10)
    assert table(app, "open")[["user_id", "item_id"]].to_dict() == queue[["user_id", "item_id"]].to_dict()
    assert not feedback.file_of(runs).exists()  # looking makes no file


def test_counts_filters_and_agreement(open_app, runs: Path) -> None:
    path = feedback.file_of(runs)
    rows = [("sense", "ann", "good"), ("wrong", "bob", "BAD one"), ("sense", "", "")]
    for verdict, author, note in rows:
        said(path, verdict=verdict, author=author, note=note, title=HOSTILE[1])
    said(path, run="gone", user="x", item="y", verdict="confusing")
    app = open_app(runs, "reviews")
    values = {m.label: m.value for m in app.metric}
    share, low, high, n = feedback.sense(feedback.verdicts(path))
    assert (values["Verdicts"], n) == ("4", 4)
    assert values[strings.plain("reviews.sense")] == f"{share:.0%} ({low:.0%} to {high:.0%})"
    assert f"{1 / 3:.0%} of 3 comparisons" in texts(app)
    app.selectbox(key="reviews author").set_value("bob")
    assert table(ran(app), "note")["note"].tolist() == ["BAD one"]
    app.selectbox(key="reviews author").set_value("")
    app.text_input(key="reviews text").set_value("bad")
    assert table(ran(app), "note")["note"].tolist() == ["BAD one"]
    app.text_input(key="reviews text").set_value("nothing like it")
    assert strings.t("reviews.nothing") in texts(ran(app))
    app.text_input(key="reviews text").set_value("")
    app.selectbox(key="reviews verdict").set_value("confusing")
    assert table(ran(app), "note")["run"].tolist() == ["gone"]


FILTERS = {"of": "gone", "verdict": "wrong", "by": "bob", "find": "BAD"}


def asked(app: AppTest) -> dict[str, str]:
    """The filters that the URL holds."""
    found = {name: app.query_params[name] for name in FILTERS if name in app.query_params}
    return {name: value if isinstance(value, str) else value[0] for name, value in found.items()}


def test_filters_come_from_the_link_and_go_into_it(open_app, runs: Path) -> None:
    path = feedback.file_of(runs)
    said(path, note="other")
    said(path, run="gone", verdict="wrong", author="bob", note="BAD one")
    app = open_app(runs)
    app.switch_page("app_pages/reviews.py")
    for name, value in FILTERS.items():
        app.query_params[name] = value
    assert table(ran(app), "note")["note"].tolist() == ["BAD one"]
    assert asked(ran(app)) == FILTERS
    app.selectbox(key="reviews author").set_value("")
    assert asked(ran(app)) == {name: value for name, value in FILTERS.items() if name != "by"}
    app.switch_page("app_pages/definitions.py")
    ran(app).switch_page("app_pages/reviews.py")  # filters outlive the page
    assert app.run().selectbox(key="reviews verdict").value == "wrong"
    feedback.withdraw(path, 2, "bob")  # the only verdict of that run
    assert asked(ran(app)) == {"verdict": "wrong", "find": "BAD"}


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("value", [HOSTILE[0], "x" * 9_999])
def test_hostile_filters_fall_back_with_a_note(open_app, runs: Path, name: str, value: str) -> None:
    said(feedback.file_of(runs), note="one")
    app = open_app(runs)
    app.switch_page("app_pages/reviews.py")
    app.query_params[name] = value
    app = ran(app)
    if name == "find" and len(value) < 1_000:  # any text may be sought
        assert strings.t("reviews.nothing") in texts(app)
        return
    assert strings.t("reviews.note", value=value[:40]) in texts(app)
    assert table(app, "note")["note"].tolist() == ["one"]
    assert not asked(app)
    app.selectbox(key="reviews verdict").set_value("sense")
    assert "could not all be used" not in texts(ran(app))


def test_export_cannot_start_a_formula(runs: Path) -> None:
    cells = ["=HYPERLINK(1)", "+1", "-1", "@x", "\tx", "\r=1", "a\r=1"]
    for cell in cells:
        said(feedback.file_of(runs), note=cell, author=cell, user=cell)
    text = tables.safe_csv(feedback.verdicts(feedback.file_of(runs)))
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [r["note"] for r in reversed(rows)] == [*(f"'{c}" for c in cells[:-1]), cells[-1]]
    bare = re.sub(r'"(?:[^"]|"")*"', '""', text)  # what a reader that splits at every carriage return would see
    assert all(not cell.startswith(tables.FORMULA) for line in re.split(r"\r\n|\r|\n", bare) for cell in line.split(","))


def test_report_escapes_all_and_stays_small(runs: Path) -> None:
    path = feedback.file_of(runs)
    for n, bad in enumerate(HOSTILE):
        said(path, note=bad, title=bad, user=bad, author=bad + str(n), run=bad)
    found = feedback.verdicts(path)
    page = review_report.report_html(found, {"<b>": "<i>"})
    assert "<script" not in page
    assert "<i>" not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 5
    assert "src=" not in page
    long = pd.concat([found.assign(note="<" * feedback.LONGEST)] * 400, ignore_index=True)
    cut = review_report.report_html(long, {})
    assert 1_000_000 < len(cut.encode()) < 5_000_000
    assert re.search(r"(\d+) of 1,600 verdicts", cut)


# Reactions.


def test_a_like_changes_the_list_for_all_and_can_be_undone(open_app, runs: Path) -> None:
    run, path = Run.load(runs / "tiny"), feedback.file_of(runs)
    before = shown_titles(open_app(runs, user="u01", k="5"))
    likes = browse.user_list(run, browse.person(run, "u01"), run.model.blend, k=2).frame["item_id"]
    for item, reaction in zip(likes, ("like", "dislike"), strict=True):
        feedback.react(path, data=run.dataset.name, run="tiny", user="u01", item=item, reaction=reaction)
    app = open_app(runs, user="u01", k="5")  # another session
    person = feedback.reacted(run, "u01", [likes[0]], [likes[1]])
    expected = browse.user_list(run, person, run.model.blend, k=5).frame
    assert shown_titles(app) == expected["title"].tolist()
    assert not set(shown_titles(app)) & set(before[:2])
    assert strings.t("react.count", n=2, like=1, dislike=1) in texts(app)
    app = press(app, f"undo {likes[1]}")
    assert feedback.reactions(path, "u01", data=run.dataset.name) == {likes[0]: "like"}
    app = press(app, "undo all")
    assert shown_titles(app) == before
    assert strings.t("react.says") not in texts(app)
    assert len(feedback.rows(path, "reaction")) == 4


def test_explain_reads_the_same_history(open_app, runs: Path) -> None:
    run, path = Run.load(runs / "tiny"), feedback.file_of(runs)
    item = first(run, "u01")
    feedback.react(path, data=run.dataset.name, run="tiny", user="u01", item=item, reaction="like")
    person = feedback.reacted(run, "u01", [item], [])
    found = browse.user_list(run, person, run.model.blend, k=1).frame
    app = open_app(runs, "explain", user="u01", item=str(found["item_id"][0]))
    values = {m.label: m.value for m in app.metric}
    assert values[strings.plain("why.rank")] == "#1"
    assert values[strings.plain("why.logit")] == f"{found['logit'][0]:.2f}"


def test_read_only_saves_nothing(open_app, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHYREC_READ_ONLY", "1")
    app = open_app(runs, "explain", user="u01")
    assert app.button(key="review save").disabled
    assert strings.t("read_only") in texts(app)
    app = open_app(runs, user="u01")
    assert strings.t("react.read_only") in texts(app)
    assert "like" not in table(app, "bar").columns
    app = open_app(runs, "lab")
    app.text_input(key="preset_name").set_value("mine")
    save = next(b for b in ran(app).button if b.label == strings.plain("preset.save"))
    assert save.disabled
    assert [p.name for p in runs.parent.glob("runs.*")] == []
