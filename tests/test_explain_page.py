"""The page Explain without a browser: its numbers are the core's, and nothing that comes in is trusted."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import HOSTILE, ran
from streamlit.testing.v1 import AppTest
from test_dashboard import slider, texts
from worlds import random_world

from dashboard import report, state, state_explain, strings, tables
from dashboard.explain_charts import digits
from recsys_core import browse, feedback
from recsys_core.config import Settings
from recsys_core.data import Histories
from recsys_core.explain import told
from recsys_core.explain.answer import explain, subject
from recsys_core.explain.counterfactual import remove_history
from recsys_core.explain.faithfulness import scoreboard
from recsys_core.explain.game import Budget
from recsys_core.explain.pair import by_past
from recsys_core.explain.why_not import why_not
from recsys_core.recommend import recommend_users
from recsys_core.run import Run
from recsys_core.scorers import bert
from recsys_core.train import train


def plain_texts(app: AppTest) -> list[str]:
    return [e.value for e in app.get("text")]


def figures(app: AppTest) -> dict[str, str]:
    return {m.label: m.value for m in app.metric}


def frames(app: AppTest, *columns: str) -> list[pd.DataFrame]:
    return [d.value for d in app.dataframe if set(columns) <= set(d.value.columns)]


def press(app: AppTest, label: str) -> AppTest:
    next(b for b in app.button if b.label == strings.plain(label)).click()
    return ran(app)


def listed(run: Run, user: str, **weights: float) -> list[str]:
    return list(recommend_users(run, [user], k=99, weights=weights)["item_id"])


def title_of(run: Run, item: str) -> str:
    return str(run.dataset.catalog.titles[run.dataset.items.codes([item])[0]])


def test_a_listed_item_is_explained_as_by_the_core(open_app, tiny_run: Run) -> None:
    item = listed(tiny_run, "u01")[1]
    app, expected = open_app(tiny_run.path.parent, "explain", user="u01", item=item, k="5"), explain(tiny_run, "u01", item)
    assert app.title[0].value == f"Why was `{title_of(tiny_run, item)}` recommended to user `u01`?"
    assert expected.sentence in plain_texts(app)
    shown = figures(app)
    assert (shown["Logit"], shown["Place now"], shown["Place as learned"]) == (f"{expected.output:.2f}", "#2", "#2")
    assert shown["Probability"] == f"{expected.probability:.0%}"
    twins = {len(f): f for f in frames(app, "label", "contribution", "percent")}
    for question in ("components", "history", "attributes"):
        found = explain(tiny_run, "u01", item, question=question)
        twin = twins[len(found.players) + 2]  # base and logit are rows too
        given = twin.set_index("label")["contribution"]
        assert set(given.index) == {"base", "logit", *found.labels}
        np.testing.assert_allclose([given[label] for label in found.labels], found.contributions, atol=1e-9)
        assert (given["base"], given["logit"]) == pytest.approx((found.base, found.output), abs=1e-9)


def test_sliders_move_the_answer(open_app, tiny_run: Run) -> None:
    item = listed(tiny_run, "u01")[0]
    app = open_app(tiny_run.path.parent, "explain", user="u01", item=item, k="5")
    before, high = figures(app), browse.weight_range(tiny_run.model.blend)[1]
    slider(app, "popularity").set_value(high)
    slider(app, "item_knn").set_value(0.1)
    ran(app)
    expected = explain(tiny_run, "u01", item, weights={"popularity": high, "item_knn": 0.1})
    assert figures(app) != before
    assert figures(app)["Logit"] == f"{expected.output:.2f}"
    assert figures(app)["Place now"] == f"#{expected.rank}"
    assert figures(app)["Place as learned"] == "#1"
    assert expected.sentence in plain_texts(app)


def test_weights_survive_a_change_of_page(open_app, tiny_run: Run) -> None:
    app, high = open_app(tiny_run.path.parent, user="u01"), browse.weight_range(tiny_run.model.blend)[1]
    slider(app, "item_knn").set_value(high)
    app.sidebar.number_input(key="k").set_value(7)
    ran(app)
    app.switch_page("app_pages/explain.py")
    ran(app)
    assert slider(app, "item_knn").value == high
    assert app.sidebar.number_input(key="k").value == 7
    assert f"--weights item_knn={high:g}" in texts(app)
    app.switch_page("app_pages/user.py")
    assert slider(ran(app), "item_knn").value == high


def test_a_link_opens_the_same_view(open_app, tiny_run: Run) -> None:
    high = browse.weight_range(tiny_run.model.blend)[1]
    blend = tiny_run.model.blend.with_weights({"item_knn": high})
    item = listed(tiny_run, "u03")[6]
    link = state.link(state.Choice(tiny_run, browse.person(tiny_run, "u03"), 7, blend), item)
    assert link == {"run": "tiny", "user": "u03", "item": item, "k": "7", "weights": f"item_knn={high:g}"}
    app = open_app(tiny_run.path.parent, "explain", **link)
    expected = explain(tiny_run, "u03", item, weights={"item_knn": high})
    assert title_of(tiny_run, item) in app.title[0].value
    assert "user `u03`" in app.title[0].value
    assert figures(app)["Logit"] == f"{expected.output:.2f}"
    assert app.sidebar.number_input(key="k").value == 7
    other = open_app(tiny_run.path.parent, "explain", **(link | {"weights": ""}))
    assert figures(other) != figures(app)


@pytest.mark.parametrize("item", ["nope", "<script>", "../../etc", "", "\N{SUPERSCRIPT TWO}"])
def test_an_unknown_item_falls_back_with_a_note(open_app, tiny_run: Run, item: str) -> None:
    app = open_app(tiny_run.path.parent, "explain", user="u01", item=item)
    assert "which is not in this run" in " ".join(i.value for i in app.info)
    assert app.selectbox(key="item").value == listed(tiny_run, "u01")[0]
    app.selectbox(key="item").set_value(listed(tiny_run, "u01")[2])
    assert not ran(app).info  # a choice ends the note
    assert title_of(tiny_run, listed(tiny_run, "u01")[2]) in app.title[0].value


def test_without_a_choice_the_first_of_the_list(open_app, tiny_run: Run) -> None:
    app = open_app(tiny_run.path.parent, "explain", user="u01")
    assert app.selectbox(key="item").value == listed(tiny_run, "u01")[0]
    app.sidebar.selectbox(key="user").set_value("u09")
    assert ran(app).selectbox(key="item").value == listed(tiny_run, "u09")[0]
    chosen = listed(tiny_run, "u09")[3]
    app.selectbox(key="item").set_value(chosen)
    ran(app)
    app.sidebar.selectbox(key="user").set_value("u01")
    assert ran(app).selectbox(key="item").value == chosen  # who chose an item keeps it


def test_search_finds_any_item(open_app, tiny_run: Run) -> None:
    app = open_app(tiny_run.path.parent, "explain", user="u01")
    app.text_input(key="item query").set_value("lisbon")
    assert "Lisbon Switch" in ran(app).title[0].value
    app.text_input(key="item query").set_value("no such thing")
    assert "No item matches `no such thing`" in texts(ran(app))
    assert "Lisbon Switch" in app.title[0].value


def test_why_not_of_an_item_further_down(open_app, tiny_run: Run) -> None:
    item = listed(tiny_run, "u01")[-1]
    app = open_app(tiny_run.path.parent, "explain", user="u01", item=item, k="3")
    expected = why_not(subject(tiny_run, "u01", item), 3)
    assert app.title[0].value == f"Why is `{title_of(tiny_run, item)}` not in the top 3 of user `u01`?"
    assert f"{expected.rank - 1} candidates are better" in texts(app)
    assert expected.edge_title in texts(app)
    pd.testing.assert_frame_equal(frames(app, "to_edge")[0], expected.frame())
    press(app, "why.ask.changes")
    assert told.why_not(expected) in plain_texts(app)
    assert expected.additions is not None
    assert list(frames(app, "item_id", "rank")[0]["rank"]) == [a.rank for a in expected.additions.alternatives]


def test_why_not_of_an_item_that_was_met(open_app, tiny_run: Run) -> None:
    item = str(browse.history(tiny_run, "u01")[0]["item_id"].iloc[0])
    app = open_app(tiny_run.path.parent, "explain", user="u01", item=item)
    assert "It has been met already" in app.title[0].value
    assert f"its place would be **#{why_not(subject(tiny_run, 'u01', item), 10).shown_rank}**" in texts(app)
    assert figures(app)["Place now"] == "none"
    assert not [b for b in app.button if b.label == strings.plain("why.ask.changes")]


def test_an_item_that_nothing_scores(open_app, tmp_path: Path) -> None:
    run = train(random_world(), Settings(components=("item_knn", "ease"), control=False, hide="met"), tmp_path / "unscored")
    app = open_app(tmp_path, "explain", user="u1", item="i39")
    assert "Nothing can score it" in app.title[0].value
    assert "train a run with one" in texts(app)
    assert not app.metric
    app = open_app(tmp_path, "explain", user="u1", item=listed(run, "u1")[0])
    assert strings.plain("why.attributes.none") in texts(app)


def test_what_would_change_it(open_app, tiny_run: Run) -> None:
    item = listed(tiny_run, "u01")[0]
    app = press(open_app(tiny_run.path.parent, "explain", user="u01", item=item, k="3"), "why.ask.changes")
    about = subject(tiny_run, "u01", item)
    for k in (3, 1):
        assert told.counterfactual(remove_history(about, k)) in plain_texts(app)
    found = remove_history(about, 3)
    assert frames(app, "alone", "together")[0]["together"].iloc[-1] == found.rank_after
    slider(app, "item_knn").set_value(0.1)
    ran(app)
    assert not frames(app, "alone", "together")  # other weights are another question


def test_bars_of_one_component(open_app, tiny_run: Run) -> None:
    item = listed(tiny_run, "u01")[0]
    app = open_app(tiny_run.path.parent, "explain", user="u01", item=item)
    assert "part of" not in texts(app)
    app.button_group(key="past of").set_value("item_knn")
    ran(app)
    expected = by_past(subject(tiny_run, "u01", item), "item_knn")
    assert f"= {expected.output:.{digits(expected)}f} (part of item_knn)" in texts(app)


def test_another_method_stands_beside_exact(open_app, tiny_run: Run) -> None:
    item = listed(tiny_run, "u01")[0]
    app = open_app(tiny_run.path.parent, "explain", user="u01", item=item)
    assert "exact" not in app.selectbox(key="method history").options
    app.selectbox(key="method history").set_value("lime")
    app.number_input(key="budget history").set_value(50)
    ran(app)
    press(app, "why.ask.method")
    expected = explain(tiny_run, "u01", item, method="lime", budget=Budget(50))
    table = frames(app, "first", "second")[0]
    np.testing.assert_allclose(sorted(table["second"]), sorted(expected.contributions), atol=1e-9)
    np.testing.assert_allclose(sorted(table["first"]), sorted(explain(tiny_run, "u01", item).contributions), atol=1e-9)
    assert "Rank agreement with exact" in texts(app)
    assert f"{expected.evaluations} evaluations" in texts(app)


def test_words_are_read_on_demand(open_app, tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(components=("ease", "bert"), control=False, scorers={"bert": {"encoder": tiny, "dim": 8, "epochs": 2}})
    run = train(random_world(), settings, tmp_path / "reads")
    item = listed(run, "u1")[0]

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a text was read")

    with monkeypatch.context() as patched:
        patched.setattr(bert, "encode_briefly", refuse)
        patched.setattr(bert, "mask_words", refuse)
        app = open_app(tmp_path, "explain", user="u1", item=item)
    assert not marked(app)
    assert set(app.selectbox(key="method words").options) == {"exact", "shap", "lime", "loo", "ig"}
    press(app, "why.ask.words")
    expected = explain(run, "u1", item, question="words")
    (text,) = marked(app)
    assert all(f">{label}</mark>" in text for label in expected.labels)
    twin = next(f for f in frames(app, "percent") if set(expected.labels) <= set(f["label"])).set_index("label")
    np.testing.assert_allclose([twin["contribution"][label] for label in expected.labels], expected.contributions, atol=1e-9)


def marked(app: AppTest) -> list[str]:
    """Texts with shaded words."""
    return [body for e in app.get("html") if "<mark" in (body := str(e.proto.body))]


def test_no_text_is_told(open_app, tiny_run: Run) -> None:
    app = open_app(tiny_run.path.parent, "explain", user="u01")
    assert strings.t("why.words.none") in texts(app)
    assert "reads the text" in texts(app)


def test_trust_shows_the_scoreboard_or_how_to_make_one(open_app, tiny_run: Run, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_run.path, tmp_path / "judged")
    app = open_app(tmp_path, "explain", user="u01")
    assert "--scoreboard" in texts(app)
    assert list(frames(app, "gap", "kept")[0]["method"]) == ["exact"] * 3
    run = Run.load(folder)
    board = scoreboard(run, users=5, most=2, seeds=2, methods=["exact", "loo", "random", "popularity"])
    board.save(run)
    app = open_app(tmp_path, "explain", user="u01")
    shown = frames(app, "stays", "del", "ins")[0]
    assert list(shown["method"]) == ["exact", "loo", "random", "popularity"]
    assert list(shown["del"]) == [board.mean(m, "del", 0, 2) for m in shown["method"]]
    (folder / "faithfulness.json").write_text("{}")
    assert "--scoreboard" in texts(open_app(tmp_path, "explain", user="u01"))  # damaged: make it anew


def test_nothing_liked(open_app, hostile_run: Run) -> None:
    app = open_app(hostile_run.path.parent, "explain", user="empty")
    assert strings.plain("why.past.none") in texts(app)


def test_an_empty_list_asks_for_an_item(open_app, tiny_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(tiny_run.path, tmp_path / "full")
    n_users, n_items = len(tiny_run.dataset.users), len(tiny_run.dataset.items)
    everything = Histories.of([range(n_items)] * n_users, n_items)
    monkeypatch.setattr(Run, "hidden", property(lambda run: everything))
    app = open_app(tmp_path, "explain", user="u01")
    assert app.title[0].value == strings.plain("why.title.none")
    assert strings.plain("why.none") in texts(app)
    app.text_input(key="item query").set_value("lisbon")
    assert "It has been met already" in ran(app).title[0].value


def test_titles_and_ids_show_as_plain_text(open_app, hostile_run: Run) -> None:
    for item in listed(hostile_run, HOSTILE[1])[:4]:
        app = open_app(hostile_run.path.parent, "explain", user=HOSTILE[1], item=item, k="4")
        assert app.title[0].value.endswith("recommended to user `` **x** [a](javascript:1) `b` ``?")
        press(app, "why.ask.changes")
        title = title_of(hostile_run, item)
        for element in app.get("markdown") + app.get("caption") + app.get("info") + app.get("title"):
            assert "<script" not in without_code(element.value)
            assert title not in without_code(element.value)
        assert not any(element.allow_html for element in app.get("markdown") + app.get("caption"))
        assert not any("alert" in str(e.proto.body) for e in app.get("html"))


def without_code(text: str) -> str:
    """Markdown without its code spans, in which nothing is markup."""
    return re.sub(r"(`+).*?(?<!`)\1(?!`)", "", text)


def test_without_code_leaves_the_rest() -> None:
    assert without_code("a `<b>` `` c`d `` e <f>") == "a   e <f>"


def test_the_report_holds_what_was_asked(open_app, tiny_run: Run) -> None:
    item = listed(tiny_run, "u01")[0]
    app = press(open_app(tiny_run.path.parent, "explain", user="u01", item=item, k="3"), "why.ask.changes")
    assert [b for b in app.get("download_button") if b.proto.label == strings.plain("why.download")]
    about = subject(tiny_run, "u01", item)
    changes = {"to leave it": (told.counterfactual(remove_history(about, 3)), remove_history(about, 3).frame())}
    page = report.report_html(**report.of_pair(tiny_run, about, [explain(tiny_run, "u01", item)], changes))
    for text in (
        f"Why is {title_of(tiny_run, item)} number 1 for user u01?",
        "To leave it",
        strings.plain("report.tree"),
        tiny_run.manifest["fingerprint"][:16],
    ):
        assert text in page
    assert explain(tiny_run, "u01", item).sentence in page


def test_a_click_on_why_chooses_the_item(tiny_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    session: dict[str, object] = {state_explain.WHY_CLICK: {"row": 1, "label": "Why?"}}
    monkeypatch.setattr(state_explain.st, "session_state", session)
    monkeypatch.setattr(state_explain, "current_run", lambda: tiny_run)
    recorded: list[tuple[str, str]] = []
    monkeypatch.setattr(state_explain.state_reactions, "react", lambda *told: recorded.append(told))
    state_explain.why_clicked(("h1", "h2"))
    assert recorded == [("click", "h2")]
    assert (session["why"], session["why for"]) == ("h2", "")
    assert (state_explain.why_asked(), state_explain.why_asked()) == ("h2", None)
    session[state_explain.WHY_CLICK] = {"row": 9, "label": "Why?"}
    state_explain.why_clicked(("h1", "h2"))
    assert session["why"] == "h2"
    assert state_explain.why_asked() is None


def test_an_answer_is_about_the_history_as_it_is(tiny_run: Run) -> None:
    items = [str(i) for i in tiny_run.dataset.items.ids]

    def about(likes: list[str], hide: str | None = None) -> object:
        person = feedback.reacted(tiny_run, "u01", likes, [], hide)
        return state_explain.about(state.Choice(tiny_run, person, 7, tiny_run.model.blend), items[0])

    met = browse.person(tiny_run, "u01").hidden.items
    new = next(item for code, item in enumerate(items) if code not in met)
    assert about([]) == about([])
    assert len({about([]), about([new]), about([], "liked")}) == 3


def test_places_in_words() -> None:
    assert (tables.place(0), tables.place(1234)) == ("none", "#1,234")
