"""Every page of the dashboard in the states that have words or charts of their own: a name, and how to come there."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from conftest import QUICK, TINY, ran, reblended
from streamlit.testing.v1 import AppTest

from dashboard import state_whatif, strings
from recsys_core import browse, evaluate
from recsys_core.explain import faithfulness
from recsys_core.readers import load_dataset
from recsys_core.recommend import recommend_users
from recsys_core.run import Run
from recsys_core.train import train

Open = Callable[..., AppTest]
SEEN: dict[str, AppTest] = {}  # stations that were come to
COMPONENTS = ("popularity", "item_knn", "ease", "user_knn", "bert", "cold")


def make(encoder: str, folder: Path) -> Run:
    """A run with texts, tested and with a scoreboard, beside a second one and one that cannot be opened."""
    given = {"encoder": encoder}
    settings = replace(QUICK, components=COMPONENTS, scorers={"bert": given | {"tune": "head", "epochs": 2}, "cold": given})
    run = train(load_dataset(TINY), settings, folder / "a")
    run = reblended(run, weights=(0.2, 0.3, 0.5, 0.3, 0.4, 0.6))
    shutil.copytree(run.path, folder / "b")
    evaluate.evaluate(run, k=5).save(run)
    other = Run.load(folder / "b")
    report = evaluate.evaluate(other, k=5)
    table = report.per_user
    table["hybrid:ndcg"] = (table["hybrid:ndcg"] + 0.1 * (table.index % 3 == 0)).clip(upper=1)
    report.save(other)
    faithfulness.scoreboard(run, users=12, most=2, seeds=2).save(run)
    (folder / "broken").mkdir()
    (folder / "broken" / "manifest.json").write_text("{}", encoding="utf-8")
    return run


def press(app: AppTest, key: str) -> AppTest:
    label = strings.TEXT["zh"][key]
    next(b for b in app.button if b.label == label).click()
    return ran(app)


def place(run: Run, rank: int) -> str:
    return str(recommend_users(run, ["u01"], k=99)["item_id"].iloc[rank - 1])


def met(run: Run) -> str:
    return str(run.dataset.items.ids[run.hidden[run.dataset.users.codes(["u01"])].items[0]])


def moved(run: Run) -> str:
    return f"ease={browse.weight_range(run.model.blend)[1]:g},popularity=0,bert=0"


def changes(app: AppTest) -> AppTest:
    return press(app, "why.ask.changes")


def methods(app: AppTest) -> AppTest:
    return press(press(app, "why.ask.words"), "why.ask.method")


def whatif(app: AppTest, view: str) -> AppTest:
    app.segmented_control(key="whatif view").set_value(view)
    return ran(app)


def new_item(app: AppTest) -> AppTest:
    whatif(app, "item")
    given = ("机器人", "robot 在太空", "genre: Drama")
    for value, key in zip(given, state_whatif.FIELDS.values(), strict=True):
        (app.text_input if key.endswith("title") else app.text_area)(key=key).set_value(value)
    return press(app, "whatif.item.ask")


def beside(name: str) -> Callable[[AppTest], AppTest]:
    def then(app: AppTest) -> AppTest:
        app.selectbox(key="with").set_value(name)
        return ran(app)

    return then


def churn(app: AppTest) -> AppTest:
    return press(beside("b")(app), "compare.lists.go")


def best(app: AppTest) -> AppTest:
    return press(app, "pareto.draw")


def drawn(app: AppTest) -> AppTest:
    return press(app, "map.draw")


# Name: page, what the URL asks for (a function of the run where it must know it), and what is done there.
STATIONS: dict[str, tuple[str, Callable[[Run], dict[str, str]], Callable[[AppTest], AppTest]]] = {
    "overview": ("overview", lambda run: {}, ran),
    "user": ("user", lambda run: {"user": "u01"}, ran),
    "user, weights moved": ("user", lambda run: {"user": "u01", "weights": moved(run)}, ran),
    "user, beside the learned": ("user", lambda run: {"user": "u01", "weights": moved(run), "beside": "learned"}, ran),
    "user, beside another run": ("user", lambda run: {"user": "u01", "beside": "run:b"}, ran),
    "user, beside another user": ("user", lambda run: {"user": "u01", "beside": "user:u03"}, ran),
    "user, beside a re-ranked list": ("user", lambda run: {"user": "u01", "beside": "rerank:mmr:0.6"}, ran),
    "explain": ("explain", lambda run: {"user": "u01", "item": place(run, 1), "k": "3"}, changes),
    "user, re-ranked": ("user", lambda run: {"user": "u01", "reranker": "mmr", "strength": "0.5"}, ran),
    "explain, re-ranked": ("explain", lambda run: {"user": "u01", "reranker": "mmr", "strength": "0.5", "k": "3"}, changes),
    "explain, methods": ("explain", lambda run: {"user": "u01", "item": place(run, 1)}, methods),
    "explain, below": ("explain", lambda run: {"user": "u01", "item": place(run, 7), "k": "3"}, changes),
    "explain, hidden": ("explain", lambda run: {"user": "u01", "item": met(run)}, ran),
    "lab": ("lab", lambda run: {"weights": moved(run)}, best),
    "lab, re-ranked": ("lab", lambda run: {"reranker": "mmr", "strength": "0.5"}, ran),
    "fairness": ("fairness", lambda run: {"user": "u01"}, ran),
    "whatif": ("whatif", lambda run: {"user": "u01"}, ran),
    "whatif, a new item": ("whatif", lambda run: {"user": "u01"}, new_item),
    "map": ("map", lambda run: {"user": "u01"}, drawn),
    "compare": ("compare", lambda run: {}, churn),
    "compare, broken": ("compare", lambda run: {}, beside("broken")),
    "faithfulness": ("faithfulness", lambda run: {}, ran),
    "reviews": ("reviews", lambda run: {}, ran),
    "data": ("data", lambda run: {}, ran),
    "definitions": ("definitions", lambda run: {}, ran),
}

# How many charts there are at least; elsewhere none.
CHARTS = {
    "overview": 5,
    "user": 1,
    "user, weights moved": 1,
    "user, re-ranked": 1,
    "explain, re-ranked": 3,
    "explain": 3,
    "explain, methods": 6,
    "explain, below": 3,
    "lab": 1,
    "fairness": 4,
    "whatif, a new item": 3,
    "map": 1,
    "compare": 3,
    "faithfulness": 2,
}


def come(open_: Open, run: Run, name: str) -> AppTest:
    page, asks, then = STATIONS[name]
    return then(open_(run.path.parent, page, language="zh", run="a", **asks(run)))
