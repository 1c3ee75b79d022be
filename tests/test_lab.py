"""The Blend lab without a browser: its figures are those of the core, and a point that is applied reaches sliders and URL."""

from __future__ import annotations

import html
import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pandas as pd
import pytest
from conftest import HOSTILE, ran
from streamlit.testing.v1 import AppTest
from test_dashboard import slider, table, texts

from dashboard import lab_charts, lab_tables, presets, strings
from dashboard.presets import Preset
from recsys_core import browse, differences, tradeoffs
from recsys_core.analytics import Analytics, Measured, measure
from recsys_core.metrics import METRICS
from recsys_core.run import Run


@pytest.fixture
def lab(open_app, tiny_run: Run):
    """The lab on the tiny run, without presets."""

    def open_(run: Run = tiny_run, **url: str) -> AppTest:
        presets_file(run).unlink(missing_ok=True)
        app = open_app(run.path.parent, **url)
        app.switch_page("app_pages/lab.py")
        return ran(app)

    return open_


def presets_file(run: Run) -> Path:
    return run.path.parent.parent / f"{run.path.parent.name}.presets.json"


def press(app: AppTest, key: str) -> AppTest:
    next(b for b in app.button if b.label == strings.plain(key)).click()
    return ran(app)


def asked(app: AppTest, name: str) -> str:
    """A parameter of the URL."""
    found = app.query_params[name]
    return found if isinstance(found, str) else found[0]


def values(app: AppTest) -> dict[str, str]:
    return {label: value for label, value, _ in drawn(app)}


def drawn(app: AppTest) -> list[tuple[str, str, str]]:
    """Label, value and change of each tile, as the browser gets them."""
    page = next(h.value for h in app.html if 'class="wr-tiles"' in h.value)
    found = []
    for tile in page.split('<div class="tile"')[1:]:
        told = dict(re.findall(r'<span class="(label|value|delta)[^"]*">([^<]*)</span>', tile))
        found.append((html.unescape(told["label"]), told["value"], told.get("delta", "").lstrip("\u2191\u2193 ")))
    return found


def expected(found: Measured, k: int) -> dict[str, str]:
    names = [name for name in lab_tables.TILES if name in found.per_user or name in found.totals]
    return {lab_tables.label(name, k): lab_tables.number(found.mean(name)) for name in names}


def test_figures_are_those_of_the_core(lab, tiny_run: Run) -> None:
    app, known = lab(k="5"), Analytics.of(tiny_run)
    learned = measure(known, k=5)
    assert {**values(app), **expected(learned, 5)} == values(app)
    high = browse.weight_range(tiny_run.model.blend)[1]
    slider(app, "popularity").set_value(high)
    slider(app, "ease").set_value(0.0)
    app.selectbox(key="reranker").set_value("mmr")
    ran(app).slider(key="strength").set_value(0.5)
    ran(app)
    found = measure(known, {"popularity": high, "ease": 0.0}, k=5, reranker="mmr", strength=0.5)
    assert expected(found, 5) != expected(learned, 5)
    assert {**values(app), **expected(found, 5)} == values(app)
    changes = differences.change(learned, found)
    twin = table(app, "formula")
    np.testing.assert_allclose(twin[["learned", "now", "change", "low", "high"]], changes[["a", "b", "mean", "low", "high"]])
    assert [delta for label, _, delta in drawn(app) if label == "NDCG@5"] == [lab_tables.signed(changes["mean"].iloc[0])]
    assert asked(app, "reranker") == "mmr"
    moved = differences.overlap(learned, found)
    assert f"{moved.share_changed:.0%} of {len(found.items)} lists change" in texts(app)


def test_movers_are_those_of_the_core_and_link_to_the_user(lab, tiny_run: Run) -> None:
    weights = {"popularity": browse.weight_range(tiny_run.model.blend)[1], "ease": 0.0}
    app = lab(k="3", weights=",".join(f"{n}={v:g}" for n, v in weights.items()))
    known = Analytics.of(tiny_run)
    movers = differences.movers(measure(known, k=3), measure(known, weights, k=3))
    shown = pd.concat([d.value for d in app.dataframe if "open" in d.value.columns])
    assert len(movers)
    assert sorted(shown["user_id"]) == sorted(movers["user_id"])
    for user, link in zip(shown["user_id"], shown["open"], strict=True):
        told = parse_qs(urlsplit(link).query)
        assert (told["user"], told["run"], told["k"]) == ([user], ["tiny"], ["3"])
        assert "popularity=" in told["weights"][0]


def test_apply_the_best_sets_sliders_reranker_and_url(lab, tiny_run: Run) -> None:
    app = press(lab(k="5"), "pareto.draw")
    known = Analytics.of(tiny_run)
    high = browse.weight_range(tiny_run.model.blend)[1]
    sweep = tradeoffs.pareto(known, tradeoffs.sweep(known, high), k=5)
    assert len(table(app, "front")) == len(sweep)
    app.number_input(key="loss").set_value(20.0)
    best = tradeoffs.best_under(sweep, loss=0.2)
    assert best.name != 0
    press(ran(app), "best.apply")
    for name in tiny_run.model.names:
        assert slider(app, name).value == pytest.approx(best[f"weight_{name}"])
    assert app.selectbox(key="reranker").value == best["reranker"]
    assert values(app)["NDCG@5"] == lab_tables.number(best["ndcg"])
    if best["reranker"]:
        assert asked(app, "strength") == f"{best['strength']:g}"
    else:
        assert "weights" in app.query_params
    press(app, "blend.reset")
    assert "weights" not in app.query_params


def test_apply_a_point_that_was_chosen(lab, tiny_run: Run) -> None:
    app, known = lab(k="5"), Analytics.of(tiny_run)
    sweep = tradeoffs.pareto(known, tradeoffs.sweep(known, browse.weight_range(tiny_run.model.blend)[1]), k=5)
    mixed = sweep[sweep["reranker"] == ""].index[3]
    app.session_state["point"] = int(mixed)  # as a click in the chart does
    press(press(app, "pareto.draw"), "pareto.apply")
    assert values(app)["NDCG@5"] == lab_tables.number(sweep["ndcg"].iloc[mixed])
    weights = dict(piece.split("=") for piece in asked(app, "weights").split(","))
    assert weights
    for name, value in weights.items():
        assert float(value) == pytest.approx(sweep[f"weight_{name}"].iloc[mixed], rel=1e-4)


def test_settings_outlive_the_page(lab, tiny_run: Run) -> None:
    app = lab(k="7", weights="ease=0.25", reranker="dpp", strength="0.4")
    assert (app.selectbox(key="reranker").value, app.slider(key="strength").value) == ("dpp", 0.4)
    app.switch_page("app_pages/user.py")
    ran(app)
    assert (app.selectbox(key="reranker").value, app.slider(key="strength").value) == ("dpp", 0.4)
    assert slider(app, "ease").value == 0.25
    app.switch_page("app_pages/lab.py")
    ran(app)
    assert (app.selectbox(key="reranker").value, app.slider(key="strength").value) == ("dpp", 0.4)
    assert (slider(app, "ease").value, app.number_input(key="k").value) == (0.25, 7)


@pytest.mark.parametrize(("name", "value"), [("reranker", "<b>"), ("strength", "nan"), ("strength", "9"), ("strength", "x")])
def test_hostile_links_fall_back(lab, name: str, value: str) -> None:
    app = lab(**{"reranker": "mmr", name: value})
    plain = lab()
    assert values(plain)
    assert app.slider(key="strength").value == 0.3
    if name == "reranker":
        assert values(app) == values(plain)


# Presets.


@pytest.mark.parametrize("name", HOSTILE)
def test_presets_round_trip(lab, tiny_run: Run, name: str) -> None:
    app = lab(weights="ease=0.25", reranker="mmr", strength="0.4")
    app.text_input(key="preset_name").set_value(name)
    press(app, "preset.save")
    weights = dict(zip(tiny_run.model.names, tiny_run.model.blend.weights, strict=True)) | {"ease": 0.25}
    assert presets.load(presets_file(tiny_run)) == {name: Preset(weights, "mmr", 0.4)}
    before = values(app)
    app.selectbox(key="reranker").set_value("")
    press(app, "blend.reset")
    assert values(app) != before
    assert app.selectbox(key="preset").options == [name]
    press(app, "preset.apply")
    assert values(app) == before
    assert asked(app, "reranker") == "mmr"
    press(app, "preset.delete")
    assert presets.load(presets_file(tiny_run)) == {}
    assert strings.t("preset.none") in texts(app)


def test_a_preset_of_another_run_says_what_it_cannot_set(lab, tiny_run: Run) -> None:
    app = lab()
    presets.save(presets_file(tiny_run), "far", Preset({"ease": 1e6, "no_such": 1.0, "item_knn": 0.125}, "no_such_reranker", 0.5))
    press(ran(app), "preset.apply")
    assert "Not everything could be set (`ease, no_such, no_such_reranker`)" in texts(app)
    assert slider(app, "item_knn").value == 0.125
    assert app.selectbox(key="reranker").value == ""
    app.text_input(key="preset_name").set_value("  ")
    assert "preset name is empty" in texts(press(app, "preset.save"))


# Data that nobody would wish for.


def test_hostile_run_shows_text_only(lab, hostile_run: Run) -> None:
    app = press(lab(hostile_run, weights="popularity=0.9,ease=0"), "pareto.draw")
    assert values(app)
    for element in app.get("markdown") + app.get("caption") + app.get("info"):
        assert not element.allow_html
        assert "<script" not in element.value
    for link in (link for d in app.dataframe if "open" in d.value.columns for link in d.value["open"]):
        assert link.startswith("./?run=hostile&user=")
        assert not set(link) & set("<>[]*` ")


# Words and charts.


def row(metric: str, mean: float, low: float = np.nan, high: float = np.nan) -> dict[str, object]:
    return {"metric": metric, "a": 0.5, "b": 0.5 + mean, "mean": mean, "low": low, "high": high, "n": 9, "note": ""}


@pytest.mark.parametrize(
    ("made", "verdict", "colour", "arrow"),
    [
        (row("ndcg", 0.1, 0.05, 0.2), "better", "green", "up"),
        (row("ndcg", -0.1, -0.2, -0.05), "worse", "red", "down"),
        (row("ndcg", 0.1, -0.05, 0.2), "unclear", "gray", "up"),
        (row("ndcg", 0.0001, 0.00005, 0.0002), "better", "green", "off"),
        (row("calibration_kl", 0.1, 0.05, 0.2), "worse", "red", "up"),
        (row("calibration_kl", -0.1, -0.2, -0.05), "better", "green", "down"),
        (row("popularity_lift", 0.1, 0.05, 0.2), "neither", "gray", "up"),
        (row("gini", 0.1), "worse", "red", "up"),
        (row("coverage", 0.1), "better", "green", "up"),
        (row("coverage", 0.0), "same", "gray", "off"),
    ],
)
def test_a_tile_says_whether_a_change_is_good(made: dict[str, object], verdict: str, colour: str, arrow: str) -> None:
    changes = pd.DataFrame([made])
    assert differences.verdicts(changes) == [verdict]
    tile = next(t for t in lab_tables.tiles(changes, 10) if t.delta)
    assert (tile.colour, tile.arrow) == (colour, arrow)
    assert METRICS[str(made["metric"])].formula in " ".join(tile.lines)
    assert METRICS[str(made["metric"])].source in " ".join(tile.lines)


def test_what_is_not_defined_is_said() -> None:
    changes = pd.DataFrame([row("ndcg", np.nan)])
    assert differences.verdicts(changes) == ["unknown"]
    tiles = lab_tables.tiles(changes, 10)
    assert {t.value for t in tiles} == {"not available"}
    assert len(tiles) == len(lab_tables.TILES)


def test_chart_marks_the_front_and_reads_no_markup() -> None:
    facts = {
        "reranker": ["", "", "mmr"],
        "strength": [0, 0, 0.5],
        "ndcg": [0.2, 0.3, 0.1],
        "attribute_diversity": [0.5, 0.4, 0.45],
    }
    sweep = pd.DataFrame(facts | {"weight_<b>": [1, 2, 1], "front": [True, True, False]})
    settings = lab_tables.settings(sweep)
    assert settings == ["learned weights", "<b> 2.00", "MMR at 0.50"]
    words = {key: f"<i>{key}" for key in ("x", "y", "front", "mix", "rerank", "learned", "chosen", "here")}
    figure = lab_charts.pareto_chart(
        sweep, "ndcg", "attribute_diversity", here=(0.2, 0.4), chosen=1, settings=settings, words=words
    )
    line, mixes, reranked, learned, chosen, here = figure.data
    assert (list(line.x), list(line.y)) == ([0.2, 0.3], [0.5, 0.4])
    assert [c[0] for c in mixes.customdata] + [c[0] for c in reranked.customdata] == [0, 1, 2]
    assert [list(m.x) + list(m.y) for m in (learned, chosen, here)] == [[0.2, 0.5], [0.3, 0.4], [0.2, 0.4]]
    assert mixes.customdata[1][1] == html.escape("<b> 2.00")
    assert "<i>" not in figure.to_json()
    words_of = lab_tables.options(sweep, settings, "ndcg", "attribute_diversity", 2)
    assert list(words_of) == [1, 0, 2]
    assert "`<b> 2.00`" in lab_tables.best_words(sweep.iloc[1].to_dict(), sweep.iloc[0].to_dict(), "ndcg")
