"""The page What-if and the second list on the page User, without a browser: their figures are those of the core."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import HOSTILE, TINY, ran, reblended
from streamlit.testing.v1 import AppTest
from test_dashboard import slider, table, texts

from dashboard import beside as view
from dashboard import state_beside, state_whatif, strings, tables
from dashboard.state_beside import Wanted
from recsys_core import browse, feedback, new_item, whatif
from recsys_core.beside import Features, Ranked, ranked, reranked, side_by_side
from recsys_core.config import Settings
from recsys_core.explain import pair
from recsys_core.new_item import Crowd
from recsys_core.readers import load_dataset
from recsys_core.run import Run
from recsys_core.train import train
from recsys_core.whatif import Edits


@pytest.fixture
def page(open_app, tiny_run: Run):
    """The page, opened by its link: what the URL asks for is read when the session first comes to it."""

    def open_(run: Run = tiny_run, **url: str) -> AppTest:
        app = open_app(run.path.parent)
        app.switch_page("app_pages/whatif.py")
        for name, value in url.items():
            app.query_params[name] = value
        if "user" in url:
            app.session_state["user"] = url["user"]
        return ran(app)

    return open_


def asked(app: AppTest, name: str) -> str:
    if name not in app.query_params:
        return ""
    found = app.query_params[name]
    return found if isinstance(found, str) else found[0]


def lists(app: AppTest) -> list[pd.DataFrame]:
    """The two lists."""
    return [d.value for d in app.dataframe if {"move", "percent"} <= set(d.value.columns) and "bar" not in d.value.columns]


def assert_shows(app: AppTest, first: Ranked, second: Ranked) -> None:
    found = side_by_side(first, second)
    for shown, frame, later in zip(lists(app), (found.first, found.second), (False, True), strict=True):
        assert shown["title"].tolist() == frame["title"].tolist()
        np.testing.assert_allclose(shown["percent"], 100 * frame["probability"], rtol=1e-6)
        assert shown["move"].tolist() == tables.beside_view(frame, later)["move"].tolist()
    assert view.says(found, len(found.first)) in texts(app)


def own(run: Run, user: str = "u01") -> list[str]:
    return whatif.past(run, user)


def unmet(run: Run, user: str = "u01") -> list[str]:
    (code,) = run.dataset.users.codes([user])
    return [str(i) for n, i in enumerate(run.dataset.items.ids) if n not in run.hidden[[code]].items]


def test_before_and_after_are_those_of_the_core(page, tiny_run: Run) -> None:
    new, old = unmet(tiny_run)[0], own(tiny_run)[0]
    app = page(user="u01", add=new, drop=old)
    edits, blend = Edits(add=(new,), drop=(old,)), tiny_run.model.blend
    people = browse.person(tiny_run, "u01"), whatif.person(tiny_run, "u01", edits)
    assert_shows(app, *(ranked(tiny_run, who, blend, k=10) for who in people))
    assert (asked(app, "add"), asked(app, "drop"), asked(app, "twice")) == (new, old, "")
    slider(app, "popularity").set_value(browse.weight_range(blend)[1])
    slider(app, "ease").set_value(0.0)
    moved = blend.with_weights({"popularity": browse.weight_range(blend)[1], "ease": 0.0})
    assert_shows(ran(app), *(ranked(tiny_run, who, moved, k=10) for who in people))
    owed = table(app, "owed")
    assert owed["owed"].tolist() == whatif.owed(tiny_run, whatif.effects(tiny_run, "u01", edits), people[1], moved, k=10)


def press(app: AppTest, key: str) -> AppTest:
    app.button(key=key).click()
    return ran(app)


def test_search_adds_and_undo_takes_one_step_back(page, tiny_run: Run) -> None:
    app, titles = page(user="u01"), dict(zip(tiny_run.dataset.items.ids, tiny_run.dataset.catalog.titles, strict=True))
    assert app.button(key="whatif undo").disabled
    steps = unmet(tiny_run)[:2]
    for n, item in enumerate(steps):
        app.text_input(key="whatif query").set_value(titles[item])
        ran(app).selectbox(key="whatif match").set_value(item)
        assert asked(ran(app), "add") == ",".join(steps[: n + 1])
        assert app.text_input(key="whatif query").value == ""
    mark = strings.plain("whatif.mark.add")
    assert table(app, "remove")["title"].tolist()[:2] == [mark + titles[i] for i in steps[::-1]]
    assert asked(press(app, "whatif reset"), "add") == ""
    assert asked(press(app, "whatif undo"), "add") == ",".join(steps)
    assert asked(press(app, "whatif undo"), "add") == steps[0]
    assert asked(press(app, "whatif undo"), "add") == ""
    assert app.button(key="whatif undo").disabled
    assert strings.t("whatif.start") in texts(app)


def test_edits_outlive_the_page_and_belong_to_their_user(page, tiny_run: Run) -> None:
    old = own(tiny_run)[0]
    app = page(user="u01", drop=old)
    app.sidebar.selectbox(key="user").set_value("u02")
    assert asked(ran(app), "drop") == ""
    app.sidebar.selectbox(key="user").set_value("u01")
    assert asked(ran(app), "drop") == old
    app.switch_page("app_pages/user.py")
    assert asked(ran(app), "drop") == ""
    app.switch_page("app_pages/whatif.py")
    assert asked(ran(app), "drop") == old


def test_a_click_edits_the_item_of_its_row(tiny_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    likes = own(tiny_run)
    session: dict[str, object] = {"user": "u01", "whatif view": "history"}
    monkeypatch.setattr(state_whatif.st, "session_state", session)
    monkeypatch.setattr(state_whatif, "current_run", lambda: tiny_run)
    monkeypatch.setenv("WHYREC_RUNS", str(tiny_run.path.parent))
    ids = tuple(likes)

    def click(what: str, row: int) -> Edits:
        session[what] = {"row": row, "label": "x"}
        state_whatif.clicked(what, ids)
        return state_whatif.edits(tiny_run)

    assert click(state_whatif.REMOVE, 1) == Edits(drop=(ids[1],))
    assert click(state_whatif.RENEW, 0) == Edits(add=(ids[0],), drop=(ids[1], ids[0]))
    assert click(state_whatif.DOUBLE, 0).double == (ids[0],)
    assert click(state_whatif.BACK, 1) == Edits(add=(ids[0],), drop=(ids[0],), double=(ids[0],))
    assert click(state_whatif.BACK, 99) == state_whatif.edits(tiny_run)
    assert state_whatif.steps(tiny_run) == 4
    state_whatif.undone()
    assert state_whatif.edits(tiny_run).drop == (ids[1], ids[0])


def test_reactions_count_before_any_edit(page, tiny_run: Run, tmp_path: Path) -> None:
    shutil.copytree(tiny_run.path, tmp_path / "runs" / "tiny")
    run, item = Run.load(tmp_path / "runs" / "tiny"), unmet(tiny_run)[0]
    said = {"data": run.dataset.name, "run": "tiny", "user": "u01", "reaction": "like"}
    feedback.react(feedback.file_of(tmp_path / "runs"), item=item, **said)
    reacted, drop = ((item,), ()), own(run)[-1]
    app = page(run, user="u01", drop=drop)
    before, after = (whatif.person(run, "u01", edits, None, reacted) for edits in (Edits(), Edits(drop=(drop,))))
    blend, k = run.model.blend, app.session_state["k"]
    assert_shows(app, ranked(run, before, blend, k=k), ranked(run, after, blend, k=k))
    assert strings.t("react.count.one", n=1, like=1, dislike=0) in texts(app)
    assert strings.t("whatif.past", n=len(own(run)) + 1, user="u01") in texts(app)
    app.button(key="undo all").click()
    assert strings.t("whatif.past", n=len(own(run)), user="u01") in texts(ran(app))
    with pytest.raises(AssertionError):
        assert_shows(app, ranked(run, before, blend, k=k), ranked(run, after, blend, k=k))


def test_somebody_new(page, tiny_run: Run) -> None:
    app = page(view="new")
    assert strings.t("whatif.new.start") in texts(app)
    assert not lists(app)
    first = whatif.starters(tiny_run, Features.of(tiny_run), state_whatif.STARTERS)["title"].tolist()
    assert table(app, "like")["title"].tolist() == first
    app = page(view="new", add="h2,s1")
    people = (whatif.person(tiny_run, "", edits) for edits in (Edits(), Edits(add=("h2", "s1"))))
    assert_shows(app, *(ranked(tiny_run, who, tiny_run.model.blend, k=10) for who in people))
    assert "**2** of 5 picks" in texts(app)


def test_what_weights_count_of_a_short_history_is_told(page, tiny_run: Run, tmp_path: Path) -> None:
    assert "Short histories" not in texts(page(user="u01"))
    more = tuple(9.0 * (name == "popularity") for name in tiny_run.model.names)
    copy = Run.load(Path(shutil.copytree(tiny_run.path, tmp_path / "runs" / "short")))
    run = reblended(copy, newcomers=more, half=2.0, damp=3.0)
    app = page(run, view="new", add="h2,s1")
    told = strings.t("parts.short", n=2, name="popularity", times=5.5 / 2.5, rest=1 / 2.5)
    assert told in texts(app)
    people = (whatif.person(run, "", edits) for edits in (Edits(), Edits(add=("h2", "s1"))))
    assert_shows(app, *(ranked(run, who, run.model.blend, k=10) for who in people))
    app = page(run, user="u01", drop=",".join(own(run)[1:]))
    times, _, rest = run.model.blend.trust(whatif.person(run, "u01", Edits(drop=tuple(own(run)[1:]))).row.full_sizes)[0]
    assert strings.t("parts.short", n=1, name="popularity", times=times, rest=rest) in texts(app)


def test_an_emptied_history_is_that_of_anybody_new(page, tiny_run: Run) -> None:
    app = page(user="u01", drop=",".join(own(tiny_run)))
    assert strings.t("whatif.empty") in texts(app)
    assert len(lists(app)[1])


@pytest.mark.parametrize(
    "url",
    [
        {"add": "<script>,**x**,%2C", "drop": "nope"},
        {"add": "," * 3000 + "h1" * 2000},
        {"view": "<b>"},
        {"view": "new", "drop": "h1", "twice": "h2"},
    ],
)
def test_hostile_links_fall_back_with_a_note(page, url: dict[str, str]) -> None:
    app = page(user="u01", **url)
    assert "The link's edits could not all be used" in texts(app)
    assert not {"add", "drop", "twice"} & set(app.query_params)


def test_ids_with_commas_survive_the_link() -> None:
    ids = ("a,b", "50%", "%2C", "c")
    assert state_whatif._ids(state_whatif._text(ids)) == ids


def test_hostile_run_shows_text_only(page, open_app, hostile_run: Run) -> None:
    app = page(hostile_run, user=HOSTILE[0], drop=own(hostile_run, HOSTILE[0])[0], add=unmet(hostile_run, HOSTILE[0])[0])
    assert len(lists(app)) == 2
    user = open_app(hostile_run.path.parent, user=HOSTILE[0], beside=f"user:{HOSTILE[1]}")
    user.toggle(key="in words").set_value(True)
    assert len(lists(ran(user))) == 2
    for one in (app, user, page(hostile_run, user="empty"), page(hostile_run, view="new", add="h2")):
        for element in one.get("markdown") + one.get("caption") + one.get("info"):
            assert not getattr(element, "allow_html", False)
            outside = re.sub(r"(?<!`)(`+)(?!`).+?(?<!`)\1(?!`)", "", element.value)  # code spans show what is in them as it is
            assert not [bad for bad in ("<script", "[a](", "HYPERLINK", "bug_report") if bad in outside]


# The new item.


@pytest.fixture(scope="module")
def text_run(tiny: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run whose weights let `cold` speak, which on so few likes training would not."""
    settings = Settings(components=("ease", "cold"), control=False, scorers={"cold": {"encoder": tiny}})
    run = train(load_dataset(TINY), settings, tmp_path_factory.mktemp("text") / "text")
    return reblended(run, weights=(0.5, 0.9), cold_factors=(1.0, 0.8))


def fill(app: AppTest, title: str, text: str, attributes: str) -> AppTest:
    for value, key in zip((title, text, attributes), state_whatif.FIELDS.values(), strict=True):
        (app.text_input if key.endswith("title") else app.text_area)(key=key).set_value(value)
    next(b for b in app.button if b.label == strings.plain("whatif.item.ask")).click()
    return ran(app)


def test_a_new_item_gets_the_audience_of_the_core(page, text_run: Run) -> None:
    app = page(text_run, view="item")
    assert strings.t("whatif.item.start") in texts(app)
    app = fill(app, "The Robot", "A robot in space", "genre: sci-fi")
    item = new_item.write(text_run.dataset.catalog, "The Robot", "A robot in space", "genre: sci-fi")
    found = new_item.audience(text_run, Crowd.of(text_run), new_item.arrive(text_run, item), text_run.model.blend)
    expected, shown = found.frame(20), table(app, "place")
    assert shown["user_id"].tolist() == expected["user_id"].tolist()
    assert shown["place"].tolist() == expected["place"].tolist()
    np.testing.assert_allclose(shown["percent"], 100 * expected["probability"], rtol=1e-6)
    assert f"in the top 10 of **{found.share(10):.1%}** of 24 users" in texts(app)
    assert asked(app, "view") == "item"
    alone = strings.plain("rerank.item", label="DPP")
    assert alone not in texts(app)
    app.selectbox(key="reranker").set_value("dpp")
    assert alone in texts(ran(app))
    assert table(app, "place")["place"].tolist() == expected["place"].tolist()
    slider(app, "cold").set_value(0.0)
    assert strings.t("whatif.item.flat") in texts(ran(app))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (("", "", "genre: Crime"), "title and text are empty"),
        (("x", "", "colour: red"), "unknown attribute"),
        (("", "robot", "genre: Ballet"), "One word says little"),
        (("<script>", "**x** " * 1500, ""), "would be in the top"),
    ],
)
def test_what_is_written_is_checked(page, text_run: Run, fields: tuple[str, str, str], said: str) -> None:
    app = fill(page(text_run, view="item"), *fields)
    assert said in texts(app)
    assert "<script" not in texts(app).replace("`<script>`", "")


def test_a_run_without_text_says_what_to_do(page, tiny_run: Run) -> None:
    app = page(tiny_run, view="item")
    assert strings.t("whatif.item.blind") in texts(app)
    assert "--set components=" in texts(app)


def test_the_example_fills_the_form(page, text_run: Run) -> None:
    app = page(text_run, view="item")
    next(b for b in app.button if b.label == strings.plain("whatif.item.example")).click()
    ran(app)
    row = text_run.dataset.catalog.frame.iloc[int(text_run.fame.argmax())]
    assert app.text_area(key=state_whatif.FIELDS["text"]).value == row["text"]
    assert state_whatif.FIELDS["attributes"] in {a.key for a in app.text_area}


# The page User.


def test_beside_the_learned_blend_and_another_user(open_app, tiny_run: Run) -> None:
    high, blend = browse.weight_range(tiny_run.model.blend)[1], tiny_run.model.blend
    moved = blend.with_weights({"popularity": high, "ease": 0.0})
    person = browse.person(tiny_run, "u01")
    app = open_app(tiny_run.path.parent, user="u01", k="5", weights=f"popularity={high:g},ease=0", beside="learned")
    assert_shows(app, ranked(tiny_run, person, moved, k=5), ranked(tiny_run, person, blend, k=5))
    app.selectbox(key="beside kind").set_value("user")
    assert strings.t("beside.user.ask") in texts(ran(app))
    app.text_input(key="beside user").set_value("u03")
    other = ranked(tiny_run, browse.person(tiny_run, "u03"), moved, k=5)
    assert_shows(ran(app), ranked(tiny_run, person, moved, k=5), other)
    assert asked(app, "beside") == "user:u03"
    app.text_input(key="beside user").set_value("<b>")
    assert strings.t("beside.user.none", name="<b>") in texts(ran(app))
    app.selectbox(key="beside kind").set_value("none")
    assert asked(ran(app), "beside") == ""
    assert "bar" in table(app, "bar").columns


def test_beside_the_list_diversified(open_app, tiny_run: Run) -> None:
    app = open_app(tiny_run.path.parent, user="u01", k="5", beside="rerank:mmr:0.6")
    person, blend, features = browse.person(tiny_run, "u01"), tiny_run.model.blend, Features.of(tiny_run)
    first = ranked(tiny_run, person, blend, k=5)
    assert_shows(app, first, reranked(tiny_run, person, blend, features, k=5, reranker="mmr", strength=0.6))
    app.selectbox(key="beside reranker").set_value("dpp")
    ran(app).slider(key="beside strength").set_value(0.9)
    assert_shows(ran(app), first, reranked(tiny_run, person, blend, features, k=5, reranker="dpp", strength=0.9))
    assert asked(app, "beside") == "rerank:dpp:0.9"
    app.switch_page("app_pages/lab.py")
    assert asked(ran(app), "beside") == ""
    app.switch_page("app_pages/user.py")
    assert asked(ran(app), "beside") == "rerank:dpp:0.9"


def test_beside_another_run(open_app, tiny_run: Run, tmp_path: Path) -> None:
    for name in ("a", "b"):
        shutil.copytree(tiny_run.path, tmp_path / name)
    app = open_app(tmp_path, run="a", user="u02", k="4", beside="run:b", weights="ease=0")
    person, blend = browse.person(tiny_run, "u02"), tiny_run.model.blend
    assert_shows(app, *(ranked(tiny_run, person, b, k=4) for b in (blend.with_weights({"ease": 0.0}), blend)))
    (tmp_path / "b" / "blend" / "blend.json").write_text("{}")
    os.utime(tmp_path / "b" / "manifest.json")  # as a new training would
    again = open_app(tmp_path, run="a", user="u02", beside="run:b")
    assert not lists(again)
    assert "cannot be made" in texts(again)


@pytest.mark.parametrize(
    "asks", ["<b>", "run:nope", "run:", "user:nobody", "rerank:mmr", "rerank:mmr:nan", "rerank:no:0.3", "x:y"]
)
def test_a_hostile_beside_falls_back(open_app, tiny_run: Run, asks: str) -> None:
    app = open_app(tiny_run.path.parent, user="u01", beside=asks)
    assert strings.t("beside.note", value=asks) in texts(app)
    assert asked(app, "beside") == ""
    assert not lists(app)
    app.selectbox(key="beside kind").set_value("learned")
    assert strings.t("beside.note", value=asks) not in texts(ran(app))


def test_reading_and_writing_are_one() -> None:
    for wanted in (Wanted(), Wanted("learned"), Wanted("run", "a:b"), Wanted("user", "u,1"), Wanted("rerank", "dpp", 0.25)):
        assert state_beside.read(wanted.text()) == wanted


def test_a_list_in_words_is_that_of_the_page_explain(open_app, tiny_run: Run) -> None:
    app = open_app(tiny_run.path.parent, user="u01", k="3", weights="ease=0.25")
    assert not app.get("text")
    app.toggle(key="in words").set_value(True)
    ran(app)
    person, blend = browse.person(tiny_run, "u01"), tiny_run.model.blend.with_weights({"ease": 0.25})
    items = ranked(tiny_run, person, blend, k=3).frame["item_id"]
    told = [pair.why(pair.pair(tiny_run, person, item), blend, 3).sentence for item in items]
    assert [e.value for e in app.get("text")] == told
    assert len(set(told)) == 3


def test_both_languages_say_the_same_things() -> None:
    import string

    from dashboard.strings import beside, whatif

    def fields(text: str) -> set[str]:
        return {name for _, name, _, _ in string.Formatter().parse(text) if name}

    for module in (beside, whatif):
        assert set(module.EN) == set(module.ZH)
        assert not [key for key in module.EN if fields(module.EN[key]) != fields(module.ZH[key])]


def test_a_row_has_room_for_its_title() -> None:
    assert tables.row_for(["Up", "Jaws"], 134) == tables.ROW
    assert tables.row_for(["Up", "Lock, Stock and Two Smoking Barrels"], 134) == tables.TALL
    assert tables.row_for(["\u9738\u738b\u522b\u59ec" * 2], 134) == tables.ROW
    assert tables.row_for(["\u9738\u738b\u522b\u59ec" * 3], 134) == tables.TALL
    assert tables.row_for([], 134) == tables.ROW
    frame = tables.Frame({"title": ["x"] * 3})
    assert tables.height(frame, 2, tables.TALL) == tables.ROW + 2 * tables.TALL
