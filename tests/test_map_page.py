"""The page Catalogue map: says why there is none, and shows what the core finds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from conftest import QUICK, TINY, ran
from streamlit.testing.v1 import AppTest
from test_dashboard import slider

from dashboard import state_map, strings
from recsys_core import beside, browse, catalogue_map
from recsys_core.beside import Features, Reranking
from recsys_core.readers import load_dataset
from recsys_core.run import Run
from recsys_core.train import train


@pytest.fixture(scope="module")
def text_run(tiny: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    settings = replace(QUICK, components=("ease", "bert"), scorers={"bert": {"encoder": tiny, "tune": "head", "epochs": 3}})
    return train(load_dataset(TINY), settings, tmp_path_factory.mktemp("map") / "text")


def test_a_run_without_texts_says_how_to_get_a_map(open_app, tiny_run: Run) -> None:
    app = open_app(tiny_run.path.parent, "map")
    assert "bert" in app.info[0].value
    assert "whyrec train" in app.code[0].value
    assert not [b for b in app.button if b.label == "Draw the map"]


def coloured(app: AppTest) -> list[str]:
    """The group of each dot."""
    return next(d.value for d in app.dataframe if "mark" in d.value.columns)["group"].tolist()


def test_the_map_and_neighbours_are_the_cores(open_app, text_run: Run) -> None:
    item = str(text_run.dataset.items.ids[0])
    app = open_app(Path(text_run.path).parent, "map", item=item)
    found = catalogue_map.by_text(text_run, 0)
    assert list(app.dataframe[0].value["item_id"]) == list(text_run.dataset.items.ids[found.items])
    next(b for b in app.button if b.label == "Draw the map").click()
    ran(app)
    nearest = strings.t("map.near.text", n=len(found.items), of=len(text_run.dataset.items))
    assert nearest in [c.value for c in app.caption]
    assert coloured(app)[0] == catalogue_map.first_values(text_run.dataset.catalog, app.selectbox(key="map by").value)[0]
    app.selectbox(key="map by").set_value("decade")
    assert coloured(ran(app)) == catalogue_map.labels_by(text_run.dataset.catalog, "decade").tolist()
    made = catalogue_map.draw(text_run)
    assert any(f"{made.trust:.3f}" in c.value for c in app.caption)
    assert any(f"**{len(made.items)} items**" in m.value for m in app.markdown)
    again = catalogue_map.draw(text_run)
    assert (made.xy == again.xy).all()
    assert (made.cluster == again.cluster).all()


@pytest.mark.parametrize("most", [17, 18])
def test_a_map_of_a_sample_says_so(open_app, text_run: Run, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    draw = catalogue_map.draw
    monkeypatch.setattr(catalogue_map, "draw", lambda run, seed: draw(run, seed, most))
    state_map._drawn.clear()
    app = open_app(Path(text_run.path).parent, "map")
    next(b for b in app.button if b.label == "Draw the map").click()
    told = [c.value for c in ran(app).caption]
    state_map._drawn.clear()
    assert any(f"; {most} of 18 items with a text" in text for text in told)
    assert (strings.t("map.sample") in told) == (most < 18)


def test_the_list_on_the_map_follows_the_weights(open_app, text_run: Run) -> None:
    app = open_app(Path(text_run.path).parent, "map", k="3")
    next(b for b in app.button if b.label == "Draw the map").click()
    ran(app)

    def listed() -> set[str]:
        view = next(d.value for d in app.dataframe if "mark" in d.value.columns)
        said = [strings.plain(f"map.mark.{mark}") for mark in ("list", "chosen")]
        return set(view[view["mark"].isin(said)]["item_id"])

    user, high = app.session_state["user"], browse.weight_range(text_run.model.blend)[1]
    slider(app, "ease").set_value(0.0)
    slider(app, "bert").set_value(high)
    ran(app)
    person = browse.person(text_run, user)
    blend = text_run.model.blend.with_weights({"ease": 0.0, "bert": high})
    assert set(browse.user_list(text_run, person, blend, k=3).frame["item_id"]) <= listed()
    assert "weights" in app.query_params


def test_the_list_on_the_map_is_the_reranked_one(open_app, text_run: Run) -> None:
    features, blend = Features.of(text_run), text_run.model.blend
    how = Reranking(features, "dpp", 0.9)

    def top(user: str, how: Reranking | None) -> set[str]:
        return set(beside.top(text_run, browse.person(text_run, user), blend, k=3, how=how)) - {"h1"}

    user = next(user for user in text_run.dataset.users.ids if top(user, how) != top(user, None))

    def marked(**url: str) -> set[str]:
        app = open_app(Path(text_run.path).parent, "map", user=user, k="3", item="h1", **url)
        next(b for b in app.button if b.label == "Draw the map").click()
        view = next(d.value for d in ran(app).dataframe if "mark" in d.value.columns)
        said = strings.plain("rerank.map", label="DPP", strength=0.9)
        assert any(said in m.value for m in app.markdown) == bool(url)
        return set(view[view["mark"] == strings.plain("map.mark.list")]["item_id"]) - {"h1"}

    assert marked(reranker="dpp", strength="0.9") == top(user, how)
    assert marked() == top(user, None)
