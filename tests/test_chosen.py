"""Pickers below tables, without a browser: they hold the rows, and their buttons do what the buttons in the rows do."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from conftest import HOSTILE, ran
from streamlit.testing.v1 import AppTest
from test_dashboard import table, texts

from dashboard import state_explain, state_reactions, state_review, state_whatif, strings
from recsys_core import feedback
from recsys_core.run import Run
from recsys_core.whatif import Edits


@pytest.fixture
def runs(tiny_run: Run, tmp_path: Path) -> Path:
    """A folder whose feedback may be written."""
    shutil.copytree(tiny_run.path, tmp_path / "runs" / "tiny")
    return tmp_path / "runs"


def press(app: AppTest, key: str) -> AppTest:
    app.button(key=key).click()
    return ran(app)


def picker(app: AppTest, key: str) -> list[str]:
    return list(app.selectbox(key=key).options)


def opened(open_app, folder: Path, page: str) -> AppTest:
    """Another page than the first."""
    app = open_app(folder)
    app.switch_page(f"app_pages/{page}.py")
    app.session_state["user"] = "u01"
    return ran(app)


def test_the_list_is_there_by_name_and_an_item_liked_and_disliked(open_app, runs: Path) -> None:
    run, path = Run.load(runs / "tiny"), feedback.file_of(runs)
    app = open_app(runs, user="u01", k="5")
    view = table(app, "bar")
    titles = [label.split(" · ")[1] for label in picker(app, state_reactions.LISTED)]
    assert titles == view["title"].tolist()
    item = str(run.dataset.items.ids[run.dataset.catalog.titles.tolist().index(titles[2])])
    app.selectbox(key=state_reactions.LISTED).set_value(item)
    app = press(ran(app), "like chosen")
    assert feedback.reactions(path, "u01", data=run.dataset.name) == {item: "like"}
    now = table(app, "bar")["title"].tolist()
    assert titles[2] not in now
    assert [label.split(" · ")[1] for label in picker(app, state_reactions.LISTED)] == now
    assert app.selectbox(key=state_reactions.LISTED).value == item_of(run, now[0])  # the chosen one is gone
    app = press(app, "dislike chosen")
    assert feedback.reactions(path, "u01", data=run.dataset.name) == {item: "like", item_of(run, now[0]): "dislike"}
    assert table(press(app, "undo all"), "bar")["title"].tolist() == titles


def item_of(run: Run, title: str) -> str:
    return str(run.dataset.items.ids[run.dataset.catalog.titles.tolist().index(title)])


def test_why_of_the_chosen_item(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session: dict[str, object] = {state_reactions.LISTED: "h2"}
    recorded: list[tuple[str, str]] = []
    monkeypatch.setattr(state_explain.st, "session_state", session)
    monkeypatch.setattr(state_explain, "current_run", lambda: Run.load(runs / "tiny"))
    monkeypatch.setattr(state_explain.state_reactions, "react", lambda *told: recorded.append(told))
    state_explain.why_chosen()
    assert recorded == [("click", "h2")]
    assert (session["why"], state_explain.why_asked()) == ("h2", "h2")
    session[state_reactions.LISTED] = None
    state_explain.why_chosen()
    state_reactions.chosen("like")
    assert len(recorded) == 1


def test_who_may_only_read_can_ask_why(open_app, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHYREC_READ_ONLY", "1")
    keys = {button.key for button in open_app(runs, user="u01").button}
    assert "why chosen" in keys
    assert not {"like chosen", "dislike chosen"} & keys


def test_a_past_item_is_taken_out_made_the_latest_and_doubled_by_name(open_app, runs: Path) -> None:
    app, run = opened(open_app, runs, "whatif"), Run.load(runs / "tiny")
    past, where = state_whatif.PAST, f" {state_whatif.PAST}"
    first, second, *_ = [label.split(" · ")[-1] for label in picker(app, past)]

    def edits() -> Edits:
        return app.session_state["whatif edits"][run.path.name, "u01"][-1]

    app.selectbox(key=past).set_value(second)
    app = press(ran(app), state_whatif.DOUBLE + where)
    assert edits() == Edits(double=(second,))
    assert app.button(key=state_whatif.DOUBLE + where).label == strings.plain("whatif.do.double.not")
    app = press(app, state_whatif.DOUBLE + where)
    assert edits() == Edits()
    app = press(app, state_whatif.RENEW + where)
    assert edits() == Edits(add=(second,), drop=(second,))
    app = press(press(app, "whatif undo"), state_whatif.REMOVE + where)
    assert edits() == Edits(drop=(second,))
    assert second not in [label.split(" · ")[-1] for label in picker(app, past)]
    assert app.selectbox(key=past).value == first
    assert [label.split(" · ")[-1] for label in picker(app, state_whatif.GONE)] == [second]
    app = press(app, f"{state_whatif.BACK} {state_whatif.GONE}")
    assert edits() == Edits()
    app.text_input(key="whatif filter").set_value("nothing is called so")
    assert past not in {box.key for box in ran(app).selectbox}  # no row, no picker


def test_somebody_new_likes_by_name(open_app, runs: Path) -> None:
    app = opened(open_app, runs, "whatif")
    app.session_state["whatif view"] = "new"
    app = ran(app)
    label = picker(app, state_whatif.STARTER)[0]
    app = press(app, f"{state_whatif.LIKE} {state_whatif.STARTER}")
    assert picker(app, state_whatif.PAST) == [strings.plain("whatif.mark.add") + label]
    assert label not in picker(app, state_whatif.STARTER)


def test_a_row_of_reviews_is_opened_by_name(open_app, runs: Path) -> None:
    item = str(Run.load(runs / "tiny").dataset.items.ids[0])
    for user in ("u01", "u02"):
        told = {"run": "tiny", "user": user, "item": item, "verdict": "wrong", "title": HOSTILE[1]}
        feedback.record(feedback.file_of(runs), feedback.Verdict(**told))
    app = open_app(runs, "reviews")
    assert len(picker(app, state_review.PICKED["verdicts"])) == 2
    app.selectbox(key=state_review.PICKED["verdicts"]).set_value(("tiny", "u01", item))
    app = press(ran(app), "open verdicts")
    assert (app.session_state["user"], app.session_state["why"]) == ("u01", item)
    assert "u01" in texts(app)


def test_titles_in_pickers_are_plain_text(open_app, hostile_run: Run) -> None:
    options = picker(open_app(hostile_run.path.parent), state_reactions.LISTED)
    assert any(bad in option for option in options for bad in HOSTILE)
