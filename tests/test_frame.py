"""The frame of the dashboard: who is in the picker, what lists leave out, and the link."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import HOSTILE, QUICK, TINY, ran
from streamlit.testing.v1 import AppTest
from test_dashboard import shown_titles, table, texts, titles

from dashboard import strings
from recsys_core import browse, cases
from recsys_core.cli import main
from recsys_core.explain.answer import explain_subject, subject
from recsys_core.readers import load_dataset
from recsys_core.recommend import recommend_users
from recsys_core.run import Run
from recsys_core.train import train


@pytest.fixture(scope="module")
def implicit(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """data/tiny, in which every event is a like."""
    data = load_dataset(TINY)
    liked = replace(data.interactions, value=np.ones(len(data.interactions), np.float32))
    return train(replace(data, interactions=liked, threshold=None), QUICK, tmp_path_factory.mktemp("implicit") / "implicit")


def one_user(run: Run) -> str:
    """Who has met something without liking it."""
    return str(run.dataset.users.ids[int((run.known.met().lengths - run.histories.lengths).argmax())])


def disliked(run: Run, user: str) -> np.ndarray:
    """Items that a user has met and not liked."""
    codes = run.dataset.users.codes([user])
    return np.setdiff1d(run.known.met()[codes].items, run.likes[codes].items)


def choose(app: AppTest, key: str, value: object) -> AppTest:
    app.sidebar.selectbox(key=key).set_value(value)
    return ran(app)


def picked(app: AppTest) -> list[str]:
    """What the picker offers, as it is shown."""
    return list(app.sidebar.selectbox(key="user").options)


# Hard cases and groups.


@pytest.mark.parametrize("case", ["unsure", "coldest"])
def test_hard_cases(open_app, tiny_run: Run, case: str) -> None:
    app = choose(open_app(tiny_run.path.parent, user="u05"), "case", case)
    expected = cases.find(tiny_run, "", case=case, limit=100).frame
    assert app.sidebar.selectbox(key="user").value == expected["user_id"].iloc[0]
    assert [option.split(" ")[0] for option in picked(app)] == list(expected["user_id"])
    if case == "unsure":
        assert picked(app)[0].endswith(f"· {expected['case'].iloc[0]:.0%}")
    assert strings.plain(f"case.{case}") in texts(app)


def test_polarised_is_offered_only_for_ratings(open_app, tiny_run: Run, implicit: Run) -> None:
    label = strings.plain("case.polarised")
    assert label not in open_app(implicit.path.parent).sidebar.selectbox(key="case").options
    app = open_app(tiny_run.path.parent)
    assert label in app.sidebar.selectbox(key="case").options
    choose(app, "case", "polarised")
    assert app.sidebar.selectbox(key="user").value == cases.find(tiny_run, "", case="polarised", limit=1).frame["user_id"][0]


def test_group_narrows_the_matches(open_app, tiny_run: Run) -> None:
    app = choose(open_app(tiny_run.path.parent, user="u02"), "group", ("activity", "low"))
    expected = cases.find(tiny_run, "", group=("activity", "low"), limit=100)
    assert 0 < expected.total < len(tiny_run.dataset.users)
    assert [option.split(" ")[0] for option in picked(app)] == list(expected.frame["user_id"])
    assert f"{expected.total} users match" in texts(app)
    app.switch_page("app_pages/lab.py")
    ran(app)
    app.switch_page("app_pages/user.py")
    assert ran(app).sidebar.selectbox(key="group").value == ("activity", "low")
    next(b for b in app.sidebar.button if b.label == strings.plain("user.surprise")).click()
    assert len(picked(ran(app))) == len(tiny_run.dataset.users)


def test_nobody_matches(open_app, tiny_run: Run) -> None:
    app = choose(open_app(tiny_run.path.parent, user="u01"), "group", ("gender", "M"))
    app.sidebar.text_input(key="query").set_value("gender=f")
    ran(app)
    assert strings.plain("find.none") in texts(app)


def test_groups_of_hostile_data_are_plain(open_app, hostile_run: Run) -> None:
    app = open_app(hostile_run.path.parent)
    odd = next(one for one in cases.groups(hostile_run) if one[1] == "<b>none</b>")
    choose(app, "group", odd)
    assert app.sidebar.selectbox(key="user").value == "empty"
    assert "<b>none</b>`" in texts(app)  # inside a code span


# What lists leave out.


@pytest.mark.parametrize("hide", ["met", "liked"])
def test_hidden_as_chosen(open_app, tiny_run: Run, hide: str) -> None:
    user = one_user(tiny_run)
    app = open_app(tiny_run.path.parent, user=user, hide=hide)
    expected = recommend_users(tiny_run, [user], k=10, hide_as=hide)
    assert shown_titles(app) == titles(tiny_run, expected)
    np.testing.assert_allclose(table(app, "bar")["percent"], 100 * expected["probability"], rtol=1e-6)
    assert ("--hide liked" in texts(app)) == (hide == "liked")
    assert ("hide" in app.query_params) == (hide == "liked")
    assert (strings.plain("list.rehidden.liked") in texts(app)) == (hide == "liked")


def test_switch_moves_the_list_and_the_lab_says_it_does_not_follow(open_app, tiny_run: Run) -> None:
    user = one_user(tiny_run)
    app = open_app(tiny_run.path.parent, user=user)
    before = shown_titles(app)
    app.sidebar.button_group(key="hide").set_value("liked")
    ran(app)
    again = tiny_run.dataset.catalog.titles[disliked(tiny_run, user)]
    assert not set(again) & set(before)
    assert set(again) & set(shown_titles(app))
    app.switch_page("app_pages/lab.py")
    said = strings.t("list.not_rehidden", own=strings.plain("hide.met"), chosen=strings.plain("hide.liked"))
    assert said in texts(ran(app))
    app.switch_page("app_pages/fairness.py")
    assert said in texts(ran(app))
    app.switch_page("app_pages/user.py")
    assert ran(app).sidebar.button_group(key="hide").value == "liked"


def test_explain_follows(open_app, tiny_run: Run) -> None:
    user = one_user(tiny_run)
    item = str(tiny_run.dataset.items.ids[disliked(tiny_run, user)[0]])
    hidden = open_app(tiny_run.path.parent, "explain", user=user, item=item)
    assert strings.plain("why.title.hidden", item="x", user="y").split("? ")[1] in hidden.title[0].value
    app = open_app(tiny_run.path.parent, "explain", user=user, item=item, hide="liked")
    expected = explain_subject(tiny_run, subject(tiny_run, user, item, hide_as="liked"), user=user)
    assert expected.rank > 0
    assert next(m.value for m in app.metric if m.label == strings.plain("why.rank")) == f"#{expected.rank}"
    assert expected.sentence in [e.value for e in app.text]
    assert "--hide liked" in texts(app)


@pytest.mark.parametrize("value", ["none", "MET", "", HOSTILE[0]])
def test_hostile_hide_falls_back(open_app, tiny_run: Run, value: str) -> None:
    app = open_app(tiny_run.path.parent, hide=value)
    assert "leave out" in " ".join(i.value for i in app.info)
    assert app.sidebar.button_group(key="hide").value == tiny_run.settings.hide
    assert "hide" not in app.query_params


def test_nothing_to_choose_where_all_was_liked(open_app, implicit: Run) -> None:
    app = open_app(implicit.path.parent, hide="liked")
    assert not [b for b in app.sidebar.button_group if b.key == "hide"]
    assert "this run cannot do" in " ".join(i.value for i in app.info)


def test_command_line_hides_too(tiny_run: Run, tmp_path: Path) -> None:
    user = one_user(tiny_run)
    out = tmp_path / "topk.csv"
    for hide in ("met", "liked"):
        command = ["recommend", "--run", str(tiny_run.path), "--users", user, "--hide", hide, "--out", str(out)]
        assert main(command) == 0
        expected = recommend_users(tiny_run, [user], k=10, hide_as=hide)
        assert list(pd.read_csv(out)["item_id"]) == list(expected["item_id"])
    (code,) = tiny_run.dataset.users.codes([user])
    assert set(expected["item_id"]) & set(tiny_run.dataset.items.ids[tiny_run.known.met()[[code]].items])
    assert main(["explain", "--run", str(tiny_run.path), "--user", user, "--top", "--hide", "liked"]) == 2


def test_person_hides_as_told(tiny_run: Run) -> None:
    user = one_user(tiny_run)
    for hide in ("met", "liked"):
        person = browse.person(tiny_run, user, hide_as=hide)
        (code,) = tiny_run.dataset.users.codes([user])
        assert (person.learned_rank[tiny_run.hidden_by(hide)[[code]].items] == 0).all()
    assert browse.person(tiny_run, user).hidden.items.tolist() == tiny_run.hidden[[code]].items.tolist()


@pytest.mark.parametrize("page", ["definitions", "data", "overview"])
def test_choices_outlive_pages_that_do_not_show_them(open_app, tiny_run: Run, tmp_path: Path, page: str) -> None:
    for name in ("a", "b"):
        shutil.copytree(tiny_run.path, tmp_path / name)
    for run in ("a", "b"):  # one of them is not the first that is shown
        app = open_app(tmp_path, run=run, user="u02", k="7", weights="ease=0.25", hide="liked", reranker="mmr", strength="0.4")
        before = dict(app.query_params)
        assert len(before) == 7
        app.switch_page(f"app_pages/{page}.py")
        ran(app)
        app.switch_page("app_pages/user.py")
        assert dict(ran(app).query_params) == before


# The link.


def test_link_holds_the_choices(open_app, tiny_run: Run) -> None:
    user = one_user(tiny_run)
    app = open_app(tiny_run.path.parent, user=user, k="7", hide="liked", language="zh")
    shown = next(e.value for e in app.code if "user=" in e.value)
    assert shown.endswith(f"?run=tiny&user={user}&k=7&hide=liked&language=zh")
