"""A re-ranker on the pages about one person's list: what is shown is the core's re-ranked list, and it says so."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import HOSTILE, QUICK, TINY, ran
from streamlit.testing.v1 import AppTest
from test_dashboard import shown_titles, slider, table, texts
from test_explain_page import figures, title_of
from test_whatif_page import assert_shows, lists, own, unmet

from dashboard import lab_tables, runs, state, state_lab, strings, tables
from recsys_core import browse, whatif
from recsys_core.beside import Features, Reranking, ranked
from recsys_core.browse import UserList
from recsys_core.cli import main
from recsys_core.data import Catalog
from recsys_core.explain import pair
from recsys_core.readers import load_dataset
from recsys_core.rerank import RERANKERS
from recsys_core.run import Run
from recsys_core.train import train
from recsys_core.whatif import Edits

K = 5


@pytest.fixture(scope="module")
def features(tiny_run: Run) -> Features:
    return Features.of(tiny_run)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """data/tiny without attributes, and no component that reads texts: one re-ranker needs neither."""
    data = load_dataset(TINY)
    catalog = Catalog(data.catalog.frame.drop(columns=list(data.catalog.attributes)))
    return train(replace(data, catalog=catalog), QUICK, tmp_path_factory.mktemp("bare") / "bare")


def both(run: Run, features: Features, user: str, name: str, strength: float, k: int = K) -> tuple[list[str], list[str]]:
    """Ids by score alone, and re-ranked."""
    person, blend = browse.person(run, user), run.model.blend
    found = ranked(run, person, blend, k=k, how=Reranking(features, name, strength))
    return list(ranked(run, person, blend, k=k).order), list(found.frame["item_id"])


def said(name: str, strength: float, key: str, **values: object) -> str:
    return strings.plain(key, **lab_tables.reranking(name, strength), **values)


def pairs(run: Run, features: Features, strength: float) -> Iterator[tuple[str, str, list[str], list[str]]]:
    for user in run.dataset.users.ids:
        for name in features.rerankers:
            yield user, name, *both(run, features, user, name, strength)


def asked(app: AppTest, name: str) -> str:
    found = app.query_params.get(name, "")
    return found if isinstance(found, str) else found[0]


@pytest.mark.parametrize("name", RERANKERS)
def test_the_command_line_writes_the_same_lists(name: str, tiny_run: Run, features: Features, tmp_path: Path) -> None:
    out = tmp_path / "topk.csv"
    argv = ["recommend", "--run", str(tiny_run.path), "--users", "all", "--k", str(K), "--rerank", f"{name}=0.8"]
    assert main([*argv, "--out", str(out)]) == 0
    table = pd.read_csv(out, dtype=str)
    for user, found in table.groupby("user_id"):
        assert list(found["item_id"]) == both(tiny_run, features, str(user), name, 0.8)[1]
        assert list(found["rank"].astype(int)) == list(range(1, len(found) + 1))
    plain = browse.user_list(tiny_run, browse.person(tiny_run, "u01"), tiny_run.model.blend, k=5 * K).frame
    score = dict(zip(plain["item_id"], plain["logit"], strict=True))
    mine = table[table["user_id"] == "u01"]
    np.testing.assert_allclose(mine["score"].astype(float), [score[item] for item in mine["item_id"]], atol=1e-5)


def test_the_command_line_reranks_a_history_from_a_file(tiny_run: Run, features: Features, tmp_path: Path) -> None:
    out = tmp_path / "topk.csv"
    past = [str(i) for i in tiny_run.dataset.items.ids[:2]]
    (tmp_path / "h.csv").write_text("item_id\n" + "\n".join(past) + "\n")
    argv = ["recommend", "--run", str(tiny_run.path), "--history", str(tmp_path / "h.csv"), "--k", "3", "--out", str(out)]
    assert main(argv) == 0
    plain = pd.read_csv(out, dtype={"item_id": str})
    assert main([*argv, "--rerank", "mmr=0"]) == 0
    assert list(pd.read_csv(out, dtype={"item_id": str})["item_id"]) == list(plain["item_id"])
    assert main([*argv, "--rerank", "mmr=1"]) == 0
    found = pd.read_csv(out, dtype={"item_id": str})
    assert len(found) == 3
    assert not set(found["item_id"]) & set(past)


@pytest.mark.parametrize(
    ("text", "told"),
    [("mmr", "write name=value"), ("mmr=high", "not a number"), ("mmr=2", "from 0 to 1"), ("mrr=0.5", "Did you mean 'mmr'")],
)
def test_a_reranker_that_cannot_be_used_is_refused(
    text: str, told: str, tiny_run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["recommend", "--run", str(tiny_run.path), "--users", "u01", "--rerank", text]) == 2
    line = capsys.readouterr().err
    assert told in line
    assert line.count("\n") == 1


# User.


@pytest.mark.parametrize("name", RERANKERS)
def test_the_list_is_that_of_the_core(open_app, tiny_run: Run, features: Features, name: str) -> None:
    able = [(user, score, listed) for user, other, score, listed in pairs(tiny_run, features, 1.0) if other == name]
    user, score, listed = max(able, key=lambda found: (len({*found[2]} - {*found[1][:K]}), found[2] != found[1][:K]))
    assert listed != score[:K], "nothing to see"
    app = open_app(tiny_run.path.parent, user=user, k=str(K), reranker=name, strength="1")
    shown = table(app, "bar")
    assert shown_titles(app) == [title_of(tiny_run, item) for item in listed]
    assert list(shown["rank"]) == list(range(1, K + 1))
    places = [score.index(item) + 1 for item in listed]
    assert list(shown["move"]) == [tables.move(n, was, was > K) for n, was in enumerate(places, 1)]
    new, moved = sum(was > K for was in places), sum(was <= K and was != n for n, was in enumerate(places, 1))
    assert (new > 0) == (name != "calibration")  # which here only swaps items of one kind
    assert said(name, 1.0, "rerank.new" if new else "rerank.moved", new=new, n=K, k=K, moved=moved) in texts(app)
    for told in ("rerank.parts", "rerank.sure"):
        assert strings.t(told) in texts(app)
    gone = [item for item in score[:K] if item not in listed]
    left = [d.value for d in app.dataframe if list(d.value.columns) == ["item_id", "title", "learned_rank", "rank"]]
    assert [list(frame["item_id"]) for frame in left] == ([gone] if new else [])
    assert [n for frame in left for n in frame["rank"]] == [score.index(item) + 1 for item in gone]
    twin = table(app, "base")
    np.testing.assert_allclose(
        twin["base"] + twin[[f"part_{n}" for n in tiny_run.model.names]].sum(axis=1), twin["logit"], atol=1e-5
    )
    assert f"--users {user} --k {K} --rerank {name}=1 --out" in texts(app)


@pytest.mark.parametrize("key", ["moved", "same"])
def test_what_it_did_not_do_is_said(open_app, tiny_run: Run, features: Features, key: str) -> None:
    user, name, score, listed = next(
        found
        for found in pairs(tiny_run, features, 0.3)
        if set(found[3]) == set(found[2][:K]) and (found[3] == found[2][:K]) == (key == "same")
    )
    moved = sum(a != b for a, b in zip(listed, score, strict=False))
    app = open_app(tiny_run.path.parent, user=user, k=str(K), reranker=name, strength="0.3")
    assert said(name, 0.3, f"rerank.{key}", n=K, moved=moved) in texts(app)


def test_what_leaves_and_where_it_was_is_told(tiny_run: Run, features: Features) -> None:
    person, blend = browse.person(tiny_run, "u01"), tiny_run.model.blend
    items = np.array([3, 0, 7])
    found: UserList = browse.user_list(tiny_run, person, blend, k=3, items=items)
    order = list(browse.order(tiny_run, person, blend))
    places = {item: n for n, item in enumerate(order, 1)}
    listed = list(tiny_run.dataset.items.ids[items])
    assert list(found.frame["item_id"]) == listed
    assert list(found.frame["score_rank"]) == [places.get(item, 0) for item in listed]
    assert list(found.left["item_id"]) == [item for item in order[:3] if item not in listed]
    assert list(found.left["rank"]) == [places[item] for item in found.left["item_id"]]
    plain = browse.user_list(tiny_run, person, blend, k=3)
    assert list(plain.frame["score_rank"]) == [1, 2, 3]


def test_the_file_says_both_places_and_how(open_app, tiny_run: Run, features: Features, monkeypatch: pytest.MonkeyPatch) -> None:
    from dashboard import shared

    files: dict[str, pd.DataFrame] = {}
    monkeypatch.setattr(shared, "download", lambda view, name, key, *a, **b: files.update({name: view}))
    open_app(tiny_run.path.parent, user="u01", k=str(K), reranker="mmr", strength="0.7")
    score, listed = both(tiny_run, features, "u01", "mmr", 0.7)
    frame = files["tiny-u01-mmr-0.7"]
    assert list(frame["item_id"]) == listed
    assert list(frame["score_rank"]) == [score.index(item) + 1 for item in listed]


def test_sliders_move_the_reranked_list(open_app, tiny_run: Run, features: Features) -> None:
    app = open_app(tiny_run.path.parent, user="u01", k=str(K))
    plain = shown_titles(app)
    assert app.slider(key="strength").disabled
    app.selectbox(key="reranker").set_value("dpp")
    assert not ran(app).slider(key="strength").disabled
    app.slider(key="strength").set_value(0.9)
    ran(app)
    assert (asked(app, "reranker"), asked(app, "strength")) == ("dpp", "0.9")
    listed = both(tiny_run, features, "u01", "dpp", 0.9)[1]
    assert shown_titles(app) == [title_of(tiny_run, item) for item in listed] != plain
    high = browse.weight_range(tiny_run.model.blend)[1]
    slider(app, "popularity").set_value(high)
    ran(app)
    blend = tiny_run.model.blend.with_weights({"popularity": high})
    how = Reranking(features, "dpp", 0.9)
    moved = ranked(tiny_run, browse.person(tiny_run, "u01"), blend, k=K, how=how).frame
    assert shown_titles(app) == list(moved["title"])
    assert strings.t("rerank.weights") in texts(app)
    app.button[[b.label for b in app.button].index(strings.plain("blend.reset"))].click()
    app.slider(key="strength").set_value(0.0)
    assert shown_titles(ran(app)) == plain
    assert not app.slider(key="strength").disabled, "a strength of 0 can be left again"
    assert asked(app, "reranker") == ""


# The link.


def test_a_link_from_the_lab_keeps_it(open_app, tiny_run: Run, features: Features) -> None:
    app = open_app(tiny_run.path.parent, "lab", user="u01", k=str(K), reranker="mmr", strength="0.6")
    person = browse.person(tiny_run, "u01")
    now = state.Choice(tiny_run, person, K, tiny_run.model.blend, "mmr", 0.6, "met")
    url = dict(piece.split("=") for piece in state_lab.user_link(now, "u03").removeprefix("./?").split("&"))
    assert {name: asked(app, name) for name in ("reranker", "strength", "k")} == {
        n: url[n] for n in ("reranker", "strength", "k")
    }
    user = open_app(tiny_run.path.parent, **url)
    assert shown_titles(user) == [title_of(tiny_run, i) for i in both(tiny_run, features, "u03", "mmr", 0.6)[1]]


PAGES = ("user", "explain", "whatif", "map", "fairness", "lab")


@pytest.mark.parametrize("through", ["overview", "definitions", "compare", *PAGES])
def test_it_outlives_every_page(open_app, tiny_run: Run, features: Features, through: str) -> None:
    app = open_app(tiny_run.path.parent, user="u02", k=str(K))
    app.selectbox(key="reranker").set_value("dpp")
    ran(app).slider(key="strength").set_value(0.85)
    ran(app)
    app.switch_page(f"app_pages/{through}.py")
    ran(app)
    if through in PAGES:
        assert (app.selectbox(key="reranker").value, app.slider(key="strength").value) == ("dpp", 0.85)
        assert (asked(app, "reranker"), asked(app, "strength")) == ("dpp", "0.85")
    app.switch_page("app_pages/user.py")
    ran(app)
    assert (asked(app, "reranker"), asked(app, "strength")) == ("dpp", "0.85")
    assert shown_titles(app) == [title_of(tiny_run, i) for i in both(tiny_run, features, "u02", "dpp", 0.85)[1]]


@pytest.mark.parametrize("page", ["", "explain", "whatif", "map"])
@pytest.mark.parametrize("url", [{"reranker": HOSTILE[0], "strength": "0.5"}, {"reranker": "mmr", "strength": "nan"}])
def test_hostile_values_fall_back_with_a_note(open_app, tiny_run: Run, page: str, url: dict[str, str]) -> None:
    app = open_app(tiny_run.path.parent, page, user="u01", k=str(K), **url)
    value = f"{url['reranker']} {url['strength']}"
    assert strings.t("note.reranker", value=value, used=state.STRENGTH) in [i.value for i in app.info]
    good = url["reranker"] in RERANKERS
    assert app.selectbox(key="reranker").value == (url["reranker"] if good else "")
    assert asked(app, "strength") == (f"{state.STRENGTH:g}" if good else "")


# What a run cannot feed.


def test_only_what_the_run_can_feed_is_offered(open_app, bare: Run, tiny_run: Run) -> None:
    assert runs.features(bare).rerankers == ["popularity_penalty"]
    for page in ("", "explain", "whatif", "map", "lab", "fairness"):
        app = open_app(bare.path.parent, page)
        labels = [strings.plain("rerank.none"), strings.plain("reranker.popularity_penalty")]
        assert list(app.selectbox(key="reranker").options) == labels
    app = open_app(tiny_run.path.parent)
    assert len(app.selectbox(key="reranker").options) == 1 + len(RERANKERS)


@pytest.mark.parametrize("page", ["", "explain", "whatif", "lab", "overview"])
def test_a_link_asks_for_what_the_run_cannot_feed(open_app, bare: Run, page: str) -> None:
    app = open_app(bare.path.parent, page, user="u01", k=str(K), reranker="mmr", strength="0.5")
    told = strings.t("note.reranker.unfed", name=strings.plain("reranker.mmr"), run="bare")
    assert told in [i.value for i in app.info]
    assert asked(app, "reranker") == ""


def test_another_run_cannot_feed_it(open_app, bare: Run, tiny_run: Run, tmp_path: Path) -> None:
    for run in (bare, tiny_run):
        shutil.copytree(run.path, tmp_path / run.path.name)
    app = open_app(tmp_path, run="tiny", user="u01", reranker="mmr", strength="0.5")
    assert app.selectbox(key="reranker").value == "mmr"
    app.sidebar.selectbox(key="run").set_value("bare")
    told = strings.t("note.reranker.unfed", name=strings.plain("reranker.mmr"), run="bare")
    assert told in [i.value for i in ran(app).info]
    assert app.selectbox(key="reranker").value == ""


# Explain.


def explained(open_app, run: Run, user: str, item: str, name: str) -> tuple[AppTest, pair.Why]:
    app = open_app(run.path.parent, "explain", user=user, item=item, k=str(K), reranker=name, strength="0.7")
    return app, pair.why(pair.pair(run, browse.person(run, user), item), run.model.blend, K)


@pytest.mark.parametrize("case", ["in", "same", "out", "lifted", "nowhere"])
def test_explain_says_both_places(open_app, tiny_run: Run, features: Features, case: str) -> None:
    wanted = {
        "in": lambda place, rank: 0 < place != rank <= K,
        "same": lambda place, rank: place == rank,
        "out": lambda place, rank: not place and rank <= K,
        "lifted": lambda place, rank: place and rank > K,
        "nowhere": lambda place, rank: not place and rank > K,
    }[case]
    user, name, item, place, rank = next(
        (user, name, item, place, rank)
        for user, name, score, listed in pairs(tiny_run, features, 0.7)
        for rank, item in enumerate(score, 1)
        for place in [listed.index(item) + 1 if item in listed else 0]
        if wanted(place, rank)
    )
    app, why = explained(open_app, tiny_run, user, item, name)
    assert why.rank == rank
    key = {"in": "in", "same": "same", "lifted": "in"}.get(case, "out")
    assert said(name, 0.7, f"rerank.why.{key}", place=place, rank=rank, k=K) in texts(app)
    asks = "listed" if place else "below"
    assert app.title[0].value == strings.t(f"why.title.{asks}", item=title_of(tiny_run, item), user=user, k=K)
    shown = figures(app)
    assert shown[strings.plain("rerank.why.place")] == tables.place(place)
    assert shown[strings.plain("rerank.why.rank")] == f"#{rank}"
    assert strings.plain("why.rank") not in shown
    assert shown["Logit"] == f"{why.components.output:.2f}"
    assert strings.t("rerank.why.changes") in texts(app)
    if place:
        label = strings.plain("why.item.listed", rank=place, title=title_of(tiny_run, item), item_id=item)
        assert label in app.selectbox(key="item").options


def test_explain_is_silent_where_there_is_no_place(open_app, tiny_run: Run) -> None:
    hidden = own(tiny_run, "u01")[0]
    app, _ = explained(open_app, tiny_run, "u01", hidden, "mmr")
    assert strings.plain("rerank.why.place") not in figures(app)
    plain = open_app(tiny_run.path.parent, "explain", user="u01", k=str(K))
    assert strings.plain("why.rank") in figures(plain)
    assert strings.t("rerank.why.changes") not in texts(plain)


def test_the_report_says_it_too(open_app, tiny_run: Run, features: Features, monkeypatch: pytest.MonkeyPatch) -> None:
    from dashboard import report

    reports: list[list[str]] = []
    monkeypatch.setattr(report, "report_html", lambda *a, notes, **b: reports.append(notes) or "")
    import streamlit as st

    kept = st.download_button
    monkeypatch.setattr(st, "download_button", lambda label, data, *a, **b: (data(), kept(label, "x", *a, **b))[1])
    score, listed = both(tiny_run, features, "u01", "mmr", 0.7)
    explained(open_app, tiny_run, "u01", listed[0], "mmr")
    key = "same" if listed[0] == score[0] else "in"
    facts = {"place": 1, "rank": score.index(listed[0]) + 1, "k": K}
    assert said("mmr", 0.7, f"rerank.why.{key}", **facts).replace("**", "") in reports[-1]


# What-if.


def edited(open_app, run: Run, **url: str) -> AppTest:
    app = open_app(run.path.parent, user="u01", k=str(K), reranker="mmr", strength="0.7")
    app.switch_page("app_pages/whatif.py")
    for name, value in url.items():
        app.query_params[name] = value
    return ran(app)


@pytest.mark.parametrize("user", ["u01", ""])
def test_before_and_after_are_reranked_alike(open_app, tiny_run: Run, features: Features, user: str) -> None:
    new = unmet(tiny_run)[0]
    edits = Edits(add=(new,), drop=(own(tiny_run)[0],)) if user else Edits(add=(new, unmet(tiny_run)[3]))
    url = {"add": ",".join(edits.add)} | ({"drop": edits.drop[0]} if user else {"view": "new"})
    app, how, blend = edited(open_app, tiny_run, **url), Reranking(features, "mmr", 0.7), tiny_run.model.blend
    people = [whatif.person(tiny_run, user, one) for one in (Edits(), edits)]
    assert_shows(app, *(ranked(tiny_run, who, blend, k=K, how=how) for who in people))
    assert lists(app)[1]["title"].tolist() != ranked(tiny_run, people[1], blend, k=K).frame["title"].tolist(), "nothing to see"
    assert said("mmr", 0.7, "rerank.both") in texts(app)
    effects = whatif.effects(tiny_run, user, edits)
    expected = [
        len(
            set(ranked(tiny_run, people[1], blend, k=K, how=how).order)
            - set(ranked(tiny_run, e.without, blend, k=K, how=how).order)
        )
        for e in effects
    ]
    assert table(app, "owed")["owed"].tolist() == expected


@pytest.mark.parametrize("user", ["u01", ""])
def test_the_history_that_calibrates_is_the_edited_one(tiny_run: Run, features: Features, user: str) -> None:
    seen: list[set[str]] = []

    class Spy(Features):
        def needed(self, name: str, items: np.ndarray, history: Any) -> dict[str, Any]:
            seen.append(set(tiny_run.dataset.items.ids[history.indices]))
            return super().needed(name, items, history)

    new, drop = tuple(unmet(tiny_run)[:2]), tuple(own(tiny_run)[:1]) if user else ()
    who = whatif.person(tiny_run, user, Edits(add=new, drop=drop))
    ranked(tiny_run, who, tiny_run.model.blend, k=K, how=Reranking(Spy(features.of_items), "calibration", 0.5))
    (code,) = tiny_run.dataset.users.find([user or "u01"])
    likes = set(tiny_run.dataset.items.ids[tiny_run.likes[[code]].items]) if user else set()
    assert seen == [(likes - set(drop)) | set(new)]


# Beside.


def test_second_lists_beside_a_reranked_one(open_app, tiny_run: Run, features: Features) -> None:
    how, blend = Reranking(features, "dpp", 0.8), tiny_run.model.blend
    people = {user: browse.person(tiny_run, user) for user in ("u01", "u03")}
    first = ranked(tiny_run, people["u01"], blend, k=K, how=how)
    link = {"user": "u01", "k": str(K), "reranker": "dpp", "strength": "0.8"}
    app = open_app(tiny_run.path.parent, **link, beside="learned")
    assert_shows(app, first, ranked(tiny_run, people["u01"], blend, k=K))
    assert said("dpp", 0.8, "rerank.beside.first") in texts(app)
    assert strings.t("beside.about.learned") not in texts(app)
    alone = strings.plain("rerank.beside.alone", head=strings.t("beside.second.learned", name=""))
    assert alone in texts(app)
    assert strings.plain("rerank.beside.kind") in app.selectbox(key="beside kind").options
    app = open_app(tiny_run.path.parent, **link, beside="user:u03")
    assert_shows(app, first, ranked(tiny_run, people["u03"], blend, k=K, how=how))
    app = open_app(tiny_run.path.parent, **link, beside="rerank:popularity_penalty:0.9")
    other = Reranking(features, "popularity_penalty", 0.9)
    assert_shows(app, first, ranked(tiny_run, people["u01"], blend, k=K, how=other))


# Words.


def test_it_speaks_chinese(open_app, tiny_run: Run) -> None:
    app = open_app(tiny_run.path.parent, user="u01", k=str(K), reranker="dpp", strength="0.7", language="zh")
    assert "重排了此列表" in texts(app) or "没有改变按得分的列表" in texts(app)
    with strings.speaking("zh"):
        about = str(lab_tables.reranking("dpp", 0.7)["about"])
        assert strings.plain("reranker.dpp.about").startswith(about)
        assert about.count("。") == 1


def test_what_a_reranker_is_takes_one_sentence() -> None:
    for name in RERANKERS:
        about = str(lab_tables.reranking(name, 0.3)["about"])
        assert about.endswith(".")
        assert RERANKERS[name].about.replace("\n", " ").startswith(about.replace("\n", " "))
    assert lab_tables.reranking("dpp", 0.3)["about"] == "Determinantal point process: a list that spans a large volume."


def test_both_languages_say_the_same_things() -> None:
    import string

    from dashboard.strings import rerank

    def fields(text: str) -> set[str]:
        return {name for _, name, _, _ in string.Formatter().parse(text) if name}

    assert set(rerank.EN) == set(rerank.ZH)
    assert not [key for key in rerank.EN if fields(rerank.EN[key]) != fields(rerank.ZH[key])]


def test_markup_in_the_data_stays_text(open_app, hostile_run: Run) -> None:
    for page in ("", "explain", "whatif"):
        app = open_app(hostile_run.path.parent, page, user=HOSTILE[0], reranker="mmr", strength="0.7")
        for element in app.get("markdown") + app.get("caption") + app.get("info"):
            assert not getattr(element, "allow_html", False)
