"""The dashboard without a browser: what it shows is what the core computes, and nothing that comes in is trusted."""

from __future__ import annotations

import csv
import io
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import APP, HOSTILE, TINY, ran
from streamlit.testing.v1 import AppTest

from dashboard import charts, strings, tables
from recsys_core import browse
from recsys_core.config import Settings
from recsys_core.hybrid import Blend
from recsys_core.readers import load_dataset
from recsys_core.recommend import recommend_users
from recsys_core.run import Run
from recsys_core.train import train


def table(app: AppTest, column: str) -> pd.DataFrame:
    """The table that has a column."""
    return next(d.value for d in app.dataframe if column in d.value.columns)


def slider(app: AppTest, name: str):
    return next(s for s in app.sidebar.slider if s.label.split()[0] == name)


def shown_titles(app: AppTest) -> list[str]:
    return list(table(app, "bar")["title"])


def titles(run: Run, frame: pd.DataFrame) -> list[str]:
    return list(run.dataset.catalog.titles[run.dataset.items.codes(frame["item_id"])])


def filter_by(app: AppTest, words: str) -> None:
    next(i for i in app.main.text_input if i.label == strings.plain("history.filter")).set_value(words)
    ran(app)


def texts(app: AppTest) -> str:
    return "\n".join(str(e.value) for kind in ("title", "markdown", "caption", "info", "error", "code") for e in app.get(kind))


# The numbers.


def test_what_is_folded_is_not_made_until_it_is_opened(open_app, tiny_run: Run) -> None:
    app = open_app(tiny_run.path.parent, unfold=False, user="u01", k="5")
    closed = [d.value.columns for d in app.dataframe]
    assert not any("base" in columns for columns in closed)
    app.session_state["folded parts"] = True
    assert len(ran(app).dataframe) == len(closed) + 1
    assert len(table(app, "base")) == 5


def test_list_is_that_of_the_core(open_app, tiny_run: Run) -> None:
    app = open_app(tiny_run.path.parent, user="u01", k="5")
    expected = recommend_users(tiny_run, ["u01"], k=5)
    assert shown_titles(app) == titles(tiny_run, expected)
    np.testing.assert_allclose(table(app, "bar")["percent"], 100 * expected["probability"], rtol=1e-6)
    twin = table(app, "base")
    for name in tiny_run.model.names:
        np.testing.assert_allclose(twin[f"part_{name}"], expected[f"part_{name}"], rtol=1e-5, atol=1e-6)
    parts = twin[[f"part_{n}" for n in tiny_run.model.names]].sum(axis=1)
    np.testing.assert_allclose(twin["base"] + parts, twin["logit"], atol=1e-5)
    assert app.title[0].value == "What would user `u01` get, and how sure are we?"


def test_slider_changes_the_list_and_reset_restores_it(open_app, tiny_run: Run) -> None:
    app = open_app(tiny_run.path.parent, user="u01", k="10")
    before, high = table(app, "bar"), browse.weight_range(tiny_run.model.blend)[1]
    slider(app, "popularity").set_value(high)
    slider(app, "ease").set_value(0.0)
    slider(app, "item_knn").set_value(0.0)
    ran(app)
    expected = recommend_users(tiny_run, ["u01"], k=10, weights={"popularity": high, "ease": 0, "item_knn": 0})
    assert shown_titles(app) == titles(tiny_run, expected)
    assert not table(app, "bar").equals(before)
    assert "You moved the weights" in texts(app)
    assert "no longer" not in texts(app)
    next(b for b in app.sidebar.button if b.label == strings.plain("blend.reset")).click()
    pd.testing.assert_frame_equal(table(ran(app), "bar"), before)


def test_a_link_opens_the_same_view(open_app, tiny_run: Run) -> None:
    app = open_app(tiny_run.path.parent, user="u03", k="7")
    high = browse.weight_range(tiny_run.model.blend)[1]
    slider(app, "item_knn").set_value(high)
    ran(app)
    again = open_app(tiny_run.path.parent, run="tiny", user="u03", k="7", weights=f"item_knn={high:g}")
    pd.testing.assert_frame_equal(table(again, "bar"), table(app, "bar"))
    assert f"--users u03 --k 7 --weights item_knn={high:g} " in texts(again)


def test_two_runs_can_be_switched(open_app, tiny_run: Run, tmp_path: Path) -> None:
    for name in ("a", "b"):
        shutil.copytree(tiny_run.path, tmp_path / name)
    app = open_app(tmp_path, run="a", user="u02")
    app.sidebar.selectbox(key="run").set_value("b")
    ran(app)
    assert app.sidebar.selectbox(key="user").value == "u02"
    assert "/b --users u02" in texts(app)


# People.


@pytest.mark.parametrize(
    ("query", "first", "said"),
    [("u07", "u07", "One user"), ("gender=m", "u03", "users match"), ("nobody", "u01", "No user matches `nobody`")],
)
def test_search(open_app, tiny_run: Run, query: str, first: str, said: str) -> None:
    app = open_app(tiny_run.path.parent, user="u01")
    app.sidebar.text_input(key="query").set_value(query)
    ran(app)
    assert app.sidebar.selectbox(key="user").value == first
    assert said in texts(app)


def test_search_words_must_all_match_and_exact_ids_come_first(tiny_run: Run) -> None:
    assert list(browse.search_users(tiny_run, "u1 F", limit=99).frame["user_id"]) == ["u12", "u13", "u14", "u18", "u19"]
    found = browse.search_users(tiny_run, "U", limit=2)
    assert (len(found.frame), found.total) == (2, 24)


def test_surprise_picks_a_user_and_clears_the_search(open_app, tiny_run: Run) -> None:
    app = open_app(tiny_run.path.parent, user="u01")
    app.sidebar.text_input(key="query").set_value("u07")
    ran(app)
    next(b for b in app.sidebar.button if b.label == strings.plain("user.surprise")).click()
    ran(app)
    assert app.sidebar.text_input(key="query").value == ""
    assert app.sidebar.selectbox(key="user").value in tiny_run.dataset.users.ids


def test_history_is_filtered_and_sorted(open_app, tiny_run: Run) -> None:
    app = open_app(tiny_run.path.parent, user="u01")
    past, _ = browse.history(tiny_run, "u01")
    assert list(table(app, "liked")["title"]) == list(past["title"])
    assert past["when"].is_monotonic_decreasing
    filter_by(app, past["title"].iloc[0].upper())
    assert list(table(app, "liked")["title"]) == [past["title"].iloc[0]]
    filter_by(app, "no such thing")
    assert "No past item matches `no such thing`" in texts(app)


def test_history_counts_what_is_withheld(tiny_run: Run) -> None:
    for user in ("u01", "u13"):
        past, withheld = browse.history(tiny_run, user)
        code = tiny_run.dataset.users.codes([user])[0]
        assert len(past) + withheld == (tiny_run.dataset.interactions.user == code).sum()


def test_user_without_a_past(open_app, hostile_run: Run) -> None:
    app = open_app(hostile_run.path.parent, user="empty")
    assert "Nothing is known of this user's past" in texts(app)
    assert len(table(app, "bar")) == 10


# What cannot be used.


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("run", "../../etc", "which is not here"),
        ("user", "<script>", "who is not in this run"),
        ("k", "-3", "whole number"),
        ("k", "1e9", "whole number"),
        ("k", "²", "whole number"),
        ("weights", "ease=nan", "could not all be used"),
        ("weights", "ease=1e99,no=1,=,ease", "could not all be used"),
    ],
)
def test_hostile_links_fall_back(open_app, tiny_run: Run, name: str, value: str, said: str) -> None:
    app = open_app(tiny_run.path.parent, **{name: value})
    assert said in " ".join(i.value for i in app.info)
    plain = open_app(tiny_run.path.parent)
    pd.testing.assert_frame_equal(table(app, "bar"), table(plain, "bar"))
    app.sidebar.number_input(key="k").set_value(3)
    assert not ran(app).info  # a choice ends the note


def test_no_runs(open_app, tmp_path: Path) -> None:
    app = open_app(tmp_path)
    assert "whyrec train" in texts(app)
    assert str(tmp_path) in texts(app)
    assert "whyrec dashboard --runs" in texts(open_app(None))


def test_damaged_run_says_what_to_do(open_app, tiny_run: Run, tmp_path: Path) -> None:
    shutil.copytree(tiny_run.path, tmp_path / "bad")
    (tmp_path / "bad" / "blend" / "blend.json").write_text("{}")
    app = open_app(tmp_path)
    assert app.error
    assert "train the run again" in texts(app)


def test_titles_and_ids_show_as_plain_text(open_app, hostile_run: Run) -> None:
    app = open_app(hostile_run.path.parent, user=HOSTILE[1])
    assert any(HOSTILE[0] in title for title in shown_titles(app))  # a table cell, which is text
    assert app.title[0].value == "What would user `` **x** [a](javascript:1) `b` `` get, and how sure are we?"
    for element in app.get("markdown") + app.get("caption") + app.get("info"):
        assert not element.allow_html
        assert "<script" not in element.value


@pytest.mark.parametrize("text", [*HOSTILE, "", "`", "``", "a`b``c", "x\n\n# y"])
def test_code_span_cannot_be_left(text: str) -> None:
    span = strings.code(text)
    fence = span[: len(span) - len(span.lstrip("`"))]
    inner = span[len(fence) : -len(fence)]
    assert span.endswith(fence)
    assert "\n" not in inner
    assert fence not in [run for run in inner.split() if set(run) == {"`"}] + [inner]
    assert " ".join(text.split()) == inner.strip() or not text


def test_csv_cannot_start_a_formula() -> None:
    frame = pd.DataFrame(
        {"title": ["=1+1", "+a", "-b", "@c", " =d", "\t=e", "ok"], "=n": [-1.5, *[2.0] * 6], "tags": [("=x", "y")] * 7}
    )
    rows = list(csv.reader(io.StringIO(tables.safe_csv(frame))))
    assert rows[0] == ["title", "'=n", "tags"]
    assert [r[0] for r in rows[1:]] == ["'=1+1", "'+a", "'-b", "'@c", "' =d", "'\t=e", "ok"]
    assert rows[1][1:] == ["-1.5", "'=x|y"]  # a number stays one


def test_no_page_lets_html_in() -> None:
    for file in APP.parent.rglob("*.py"):
        text = file.read_text("utf-8")
        assert "unsafe_allow_html" not in text
        # Style sheets of our own, words of a text, which `highlighted` escapes (tests/test_explain_charts.py tries it), and
        # what `light` draws, which escapes all that is put into it (tests/test_light.py).
        allowed = ('st.html(f"<style>{style.', "st.html(charts.highlighted(", "st.html(light.")
        assert text.count("st.html(") == sum(text.count(one) for one in allowed), file


# Lists, charts.


def test_missing_parts_are_not_available_and_not_zero(hostile_run: Run) -> None:
    person = browse.person(hostile_run, str(hostile_run.dataset.users.ids[-2]))
    z = person.z.copy()
    z[:, :, 0] = np.nan
    blank = browse.Person(person.user, z, person.hidden, person.learned_rank, 0, person.row)
    found = browse.user_list(hostile_run, blank, hostile_run.model.blend, k=4)
    assert found.n_missing == found.frame.filter(like="part_").isna().sum().sum() >= 4
    assert found.frame["part_popularity"].isna().all()
    figure = charts.parts_chart(found.frame, axis="x", total="logit", missing="not available")
    assert list(figure.data[0].customdata) == ["not available"] * 4
    assert tables.parts_view(found.frame)["part_popularity"].isna().all()


def test_a_list_that_does_not_add_up_is_refused(tiny_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = Blend.parts
    monkeypatch.setattr(Blend, "parts", lambda *a: parts(*a) + np.float32(0.01))
    with pytest.raises(ArithmeticError, match="miss the logit"):
        browse.user_list(tiny_run, browse.person(tiny_run, "u01"), tiny_run.model.blend, k=3)


def test_cold_items_carry_their_tag(open_app, tiny: str, tmp_path: Path) -> None:
    settings = Settings(components=("ease", "cold"), control=False, scorers={"cold": {"encoder": tiny}})
    run = train(load_dataset(TINY), settings, tmp_path / "cold")
    view = table(open_app(tmp_path, user="u01", k="18"), "bar")
    cold = run.dataset.catalog.titles[run.model.cold]
    listed = view[view["title"].isin(cold)]
    assert len(listed)
    assert all(tags[0] == "new item, met by nobody yet" for tags in listed["tags"])
    assert not any("new item, met by nobody yet" in tags for tags in view[~view["title"].isin(cold)]["tags"])


def test_new_left_and_moves_agree(tiny_run: Run) -> None:
    person = browse.person(tiny_run, "u01")
    blend = tiny_run.model.blend.with_weights({"popularity": 9, "ease": 0, "item_knn": 0})
    found = browse.user_list(tiny_run, person, blend, k=4)
    learned = browse.user_list(tiny_run, person, tiny_run.model.blend, k=4)
    assert not learned.frame["new"].any()
    assert learned.left.empty
    assert (learned.frame["rank"] == learned.frame["learned_rank"]).all()
    assert set(found.left["item_id"]) == set(learned.frame["item_id"]) - set(found.frame["item_id"])
    assert found.frame["new"].sum() == len(found.left)
    assert [tables.move(1, 4, False), tables.move(4, 1, False), tables.move(2, 2, False), tables.move(3, 14, True)] == [
        "up 3", "down 3", "same", "new, was #14",
    ]  # fmt: skip


def test_chart_stacks_to_either_side_and_reads_no_markup() -> None:
    frame = pd.DataFrame(
        {
            "rank": [1],
            "title": ["<a href='x'>t</a>"],
            "logit": [0.5],
            "part_ease": [2.0],
            "part_bert": [-1.0],
            "part_mine": [np.nan],
        }
    )
    figure = charts.parts_chart(frame, axis="x", total="logit", missing="not available")
    assert [list(bar.x) for bar in figure.data[:3]] == [[2.0], [-1.0], [0.0]]
    assert figure.layout.barmode == "relative"
    assert "<" not in figure.data[0].y[0]
    assert figure.data[0].marker.color == charts.COLOURS["ease"]
    assert charts.bar_images(frame)[0].startswith("data:image/svg+xml;base64,")


def test_every_scorer_has_a_colour_of_its_own() -> None:
    from recsys_core import scorers

    given = charts.colours(scorers.names())
    assert len(set(given.values())) == len(given)


SECTIONS = ("metrics", "components", "questions", "explainers", "rerankers", "conventions")  # of the page Definitions


def test_strings_are_all_used() -> None:
    code = "".join(file.read_text("utf-8") for file in APP.parent.rglob("*.py") if file.parent.name != "strings")
    written = tuple(re.findall(r"""\bf["']([a-z_]+\.(?:[a-z_]+\.)*)\{""", code))  # f"case.{name}": keys that are put together
    registered = ("component.", "question.", "explainer.", "convention.", "reranker.")
    built = (
        *registered,
        "user.many",
        "user.none",
        "user.one",
        "user.option",
        "verdict.",
        "tile.",
        "column.",
        "movers.",
        *written,
    )
    assert not [key for key in strings.TEXT["en"] if f'"{key}"' not in code and not key.startswith(built)]
