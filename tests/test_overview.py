"""Overview, Compare, Faithfulness, Definitions: figures are those of the core; what is missing or broken is said."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import HOSTILE, ran
from streamlit.testing.v1 import AppTest
from test_dashboard import texts as page_texts

from dashboard import faithfulness_charts, overview_charts, strings
from dashboard.lab_tables import number, signed
from recsys_core import definitions, differences, evaluate, opened, overview, registry, side_by_side
from recsys_core.errors import UserError
from recsys_core.explain import faithfulness
from recsys_core.metrics import METRICS, paired_difference
from recsys_core.run import Run

Runs = dict[str, Run]
PAGES = ("overview", "compare", "faithfulness", "definitions")


@pytest.fixture(scope="module")
def judged_runs(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Two copies of the tiny run, tested and with a scoreboard; `b` has another blend of lists by a report of its own numbers."""
    folder, found = tmp_path_factory.mktemp("judged"), {}
    for name in ("a", "b"):
        shutil.copytree(tiny_run.path, folder / name)
        found[name] = Run.load(folder / name)
        report = evaluate.evaluate(found[name], k=5)
        if name == "b":
            table = report.per_user
            table["hybrid:ndcg"] = (table["hybrid:ndcg"] + 0.1 * (table.index % 3 == 0)).clip(upper=1)
        report.save(found[name])
    faithfulness.scoreboard(found["a"], users=12, most=2, seeds=2).save(found["a"])
    return found


@pytest.fixture
def copy(judged_runs: Runs, tmp_path: Path) -> Run:
    """The tested run alone in a folder that may be written to."""
    shutil.copytree(judged_runs["a"].path, tmp_path / "runs" / "a")
    return Run.load(tmp_path / "runs" / "a")


def texts(app: AppTest) -> str:
    boxes = [e.value for kind in ("warning", "error", "info", "success", "subheader") for e in app.get(kind)]
    return "\n".join([page_texts(app), *boxes])


def tiles(app: AppTest) -> dict[str, str]:
    return {m.label: m.value for m in app.metric}


def cells(app: AppTest) -> str:
    return " ".join([*(d.value.to_csv() for d in app.dataframe), *(h.value for h in app.html if "wr-words" in h.value)])


# Overview.


def test_overview_has_the_figures_of_the_report(open_app, judged_runs: Runs) -> None:
    run = judged_runs["a"]
    app = open_app(run.path.parent, "overview", run="a")
    rows = pd.read_parquet(run.path / "report.parquet")
    ndcg = rows[(rows["metric"] == "ndcg") & (rows["segment"] == "all")].set_index("model")["mean"]
    alone = ndcg[list(run.model.names)]
    gaps = {d["model"]: d["mean"] for d in json.loads((run.path / "report.json").read_text())["differences"]}
    shown = tiles(app)
    assert shown["Hybrid NDCG@5"] == number(ndcg["hybrid"])
    assert shown["Lift over best"] == signed(gaps[alone.idxmax()])
    data = run.dataset
    assert (shown["Users"], shown["Interactions"]) == (f"{len(data.users):,}", f"{len(data.interactions):,}")
    assert shown["Cold-item NDCG"] == "\u2014"  # its split judges no cold items
    board = next(d.value for d in app.dataframe if "model" in d.value and "hybrid" in set(d.value["model"]))
    np.testing.assert_allclose(board.set_index("model")["mean"], ndcg[["hybrid", *run.model.names]].reindex(board["model"]))
    assert list(board["mean"]) == sorted(board["mean"], reverse=True)
    assert "opened once" in texts(app)


def test_overview_without_a_report_shows_validation_and_the_command(open_app, tiny_run: Run) -> None:
    app = open_app(tiny_run.path.parent, "overview")
    assert "they flatter" in texts(app)
    assert any("whyrec evaluate --run" in c.value for c in app.code)
    board = next(d.value for d in app.dataframe if "model" in d.value)
    valid = tiny_run.metrics["valid"]
    assert board.set_index("model")["mean"].to_dict() == {"hybrid": valid["hybrid"], **valid["components"]}
    assert "Lift over best" not in tiles(app)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("report.json", b"{"),
        ("report.json", b"[]"),
        ("report.json", b'{"differences": [], "test_opened": "x", "convention": {}}'),
        ("report.parquet", b"no parquet"),
        ("per_user.parquet", b""),
        ("report.json", None),
    ],
)
def test_a_broken_report_is_told_without_a_traceback(open_app, copy: Run, name: str, content: bytes | None) -> None:
    path = copy.path / name
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match="whyrec evaluate"):
        overview.judged(copy)
    app = open_app(copy.path.parent, "overview")
    assert strings.t("overview.broken") in texts(app)
    assert "they flatter" in texts(app)
    app.switch_page("app_pages/user.py")
    ran(app)


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_pages_show_hostile_names_as_text(open_app, hostile_run: Run, page: str, language: str) -> None:
    app = open_app(hostile_run.path.parent, page)
    app.session_state["language"] = language
    prefix = {"definitions": "define", "faithfulness": "faith"}.get(page, page)
    said = strings.TEXT[language][f"{prefix}.title"].format(a=strings.code("hostile"))
    assert ran(app).title[0].value == said
    for element in app.get("markdown") + app.get("caption"):
        assert not element.allow_html
    for element in (e for kind in ("markdown", "caption", "info", "warning") for e in app.get(kind)):
        assert not any(bad in element.value.replace(strings.code(bad), "") for bad in HOSTILE)


def test_words_are_there_in_both_languages() -> None:
    for page in PAGES:
        module = __import__(f"dashboard.strings.{page}", fromlist=["EN"])
        assert module.EN.keys() == module.ZH.keys()


def test_lift_says_no_gain_where_zero_is_in_the_interval() -> None:
    intervals = [(0.01, 0.2), (-0.2, -0.01), (-0.01, 0.2), (0.0, 0.0), (math.nan, math.nan)]
    verdicts = [overview.Lift("x", 0.1, *ends, 9).verdict for ends in intervals]
    assert verdicts == ["better", "worse", "unclear", "unclear", "unclear"]


def test_what_is_needed_is_corrected_for_many() -> None:
    table = pd.DataFrame({"model": ["a", "b", "c"], "low": [0.1, 0.1, -0.1], "p_holm": [0.01, 0.2, 0.01]})
    assert overview.needed(table) == ["a"]


def test_concentration_by_hand() -> None:
    found = overview.concentration(np.array([0, 1, 3, 6]), np.array([0.0, 0.25, 0.3, 1.0]))
    assert found["n_items"].tolist() == [0, 1, 2, 4]
    assert found["interactions"].tolist() == [0, 6 / 10, 9 / 10, 1]


def test_data_facts_of_the_tiny_run(tiny_run: Run) -> None:
    found, events = overview.data_facts(tiny_run), tiny_run.dataset.interactions
    assert found.values["n"].sum() == len(events)
    assert events.time is not None
    pairs = pd.DataFrame({"user": events.user, "time": events.time})
    assert found.tied == pytest.approx(pairs.duplicated(keep=False).mean())
    assert (found.first, found.last) == (events.time.min(), events.time.max())


# Compare.


def test_compare_pairs_stored_figures_and_opens_no_test_set(open_app, judged_runs: Runs) -> None:
    a, b = judged_runs.values()
    app = open_app(a.path.parent, "compare", run="a")
    assert app.selectbox(key="with").value == "b"
    left, right = (pd.read_parquet(r.path / "per_user.parquet").set_index("user_id")["hybrid:ndcg"] for r in (a, b))
    found = paired_difference(right.loc[left.index], left, np.random.default_rng(0))
    assert found.mean > 0
    said = f"Difference {signed(found.mean)}, 95% interval {signed(found.low)} to {signed(found.high)}; p = {found.p:.3f}"
    assert said in texts(app)
    assert "All settings are the same" in texts(app)
    next(x for x in app.button if x.label == strings.plain("compare.lists.go")).click()
    ran(app)
    assert "0% of" in texts(app)  # the models are the same
    assert [opened.times_opened(r) for r in (a, b)] == [1, 1]


def test_compare_verdicts_follow_the_direction() -> None:
    columns = {"metric": ["ndcg", "gini"], "mean": [0.1, 0.1], "low": [0.05, 0.05], "high": [0.2, 0.2]}
    assert differences.verdicts(pd.DataFrame(columns)) == ["better", "worse"]


def test_compare_link(open_app, judged_runs: Runs) -> None:
    folder = judged_runs["a"].path.parent
    app = open_app(folder, "compare", run="b")
    assert app.selectbox(key="with").value == "a"
    found = app.query_params["with"]
    assert (found if isinstance(found, str) else found[0]) == "a"


def test_compare_with_one_run_says_what_to_do(open_app, tiny_run: Run) -> None:
    app = open_app(tiny_run.path.parent, "compare")
    assert "only one run" in texts(app)
    (command,) = [c.value for c in app.code if "whyrec train" in c.value]
    least = min(zip(tiny_run.model.blend.weights, tiny_run.model.names, strict=True), key=lambda pair: abs(pair[0]))[1]
    assert f"without-{least}" in command


@pytest.mark.parametrize("name", ["manifest.json", "report.json", "config.toml"])
def test_compare_with_a_broken_run(open_app, judged_runs: Runs, tmp_path: Path, name: str) -> None:
    for run in judged_runs.values():
        shutil.copytree(run.path, tmp_path / "runs" / run.path.name)
    (tmp_path / "runs" / "b" / name).write_text("{")
    app = open_app(tmp_path / "runs", "compare", run="a")
    said = strings.t("compare.broken", name="b") if name == "report.json" else strings.t("compare.failed")
    assert said in texts(app)


def test_what_stands_in_the_way_of_pairing(judged_runs: Runs, hostile_run: Run) -> None:
    a, b = judged_runs.values()
    left, right = overview.judged(a), overview.judged(b)
    assert left is not None
    assert right is not None
    assert side_by_side.obstacle(a, b, left, right) == ""
    assert side_by_side.obstacle(a, b, left, None) == "report"
    assert side_by_side.obstacle(a, hostile_run, left, left) == "data"
    other = overview.Judged(right.rows.assign(k=7), right.differences, right.per_user, 1, right.convention)
    assert side_by_side.obstacle(a, b, left, other) == "k"
    other = overview.Judged(right.rows, right.differences, right.per_user.iloc[1:], 1, right.convention)
    assert side_by_side.obstacle(a, b, left, other) == "users"
    other = overview.Judged(right.rows, right.differences, right.per_user, 1, {"hidden": "nothing"})
    assert side_by_side.obstacle(a, b, left, other) == "hide"
    with pytest.raises(UserError, match="other data"):
        side_by_side.churn(a, hostile_run, k=3, users=2)


def test_churn_stops_in_time_and_tells_how_far(judged_runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = judged_runs.values()
    monkeypatch.setattr(side_by_side, "BLOCK", 4)
    told: list[tuple[int, int]] = []
    found = side_by_side.churn(a, b, k=3, users=9, seconds=0, progress=lambda done, most: told.append((done, most)))
    assert (found.n, found.asked, told) == (4, 9, [(4, 9)])
    whole = side_by_side.churn(a, b, k=3, users=9)
    assert (whole.n, whole.share_changed, whole.mean_rbo, whole.mean_kept) == (9, 0, pytest.approx(1), 1)


def test_alike_by_hand() -> None:
    found = side_by_side._alike(np.array(["x", "y"]), np.array([[1, 2], [1, 2]]), np.array([[1, 2], [3, -1]]))
    assert found["user_id"].tolist() == ["y", "x"]
    assert found["kept"].tolist() == [0 / 1, 2 / 2]
    assert found["changed"].tolist() == [True, False]


# Faithfulness.


def test_faithfulness_has_the_figures_of_the_scoreboard(open_app, judged_runs: Runs) -> None:
    app = open_app(judged_runs["a"].path.parent, "faithfulness", run="a")
    board = faithfulness.load(judged_runs["a"])
    shown = next(d.value for d in app.dataframe if list(d.value.columns[:2]) == ["method", "mean"])
    assert {m: v for m, v in zip(shown["method"], shown["mean"], strict=True)} == pytest.approx(
        {m: board.mean(m, "del", 0, 2) for m in board.methods}
    )
    assert list(shown["mean"]) == sorted(shown["mean"])
    app.selectbox(key="board measure").set_value("ins")
    app.slider(key="board taken").set_value(1)
    ran(app)
    shown = next(d.value for d in app.dataframe if list(d.value.columns[:2]) == ["method", "mean"])
    best = shown.iloc[0]
    assert best["mean"] == pytest.approx(max(board.mean(m, "ins", 0, 1) for m in board.methods))
    good, of = (sum(g for _, g in faithfulness.verdict(board).checks), len(faithfulness.verdict(board).checks))
    said = f"All {of} checks" if good == of else f"{good} of {of} checks"
    assert said in texts(app)
    found = app.query_params["measure"]
    assert (found if isinstance(found, str) else found[0]) == "ins"


def test_matrix_is_symmetric_and_the_measure_of_cost_ignores_how_many(judged_runs: Runs) -> None:
    board = faithfulness.load(judged_runs["a"])
    matrix = board.matrix().to_numpy()
    np.testing.assert_array_equal(matrix, matrix.T)
    assert board.measure("seconds", 2).equals(board.measure("seconds", 1))
    assert set(board.measure("pos", 1)["method"]) == set(board.methods)


def test_no_scoreboard_can_be_made_in_the_page(open_app, copy: Run) -> None:
    for file in copy.path.glob("faithfulness*"):
        file.unlink()
    app = open_app(copy.path.parent, "faithfulness")
    assert any("whyrec explain --run" in c.value and "--scoreboard" in c.value for c in app.code)
    next(b for b in app.button if b.label == strings.plain("faith.make", users=25)).click()
    ran(app)
    assert faithfulness.load(copy).settings["users"] <= 25
    assert strings.plain("faith.table") in texts(app)


@pytest.mark.parametrize("content", ["{", "[]", '{"sha256": ""}'])
def test_a_broken_scoreboard_is_told(open_app, copy: Run, content: str) -> None:
    (copy.path / "faithfulness.json").write_text(content)
    app = open_app(copy.path.parent, "faithfulness")
    assert strings.t("faith.broken") in texts(app)


# Definitions.


def test_definitions_need_no_run_and_hold_all_that_is_registered(open_app, tmp_path: Path) -> None:
    app = open_app(tmp_path, "definitions")
    shown = cells(app)
    known = [*METRICS, *definitions.rerankers()["name"]]
    known += [
        n for package in ("scorers", "explain.explainers", "explain.questions") for n in registry.names(f"recsys_core.{package}")
    ]
    assert not [name for name in known if name not in shown]
    app.text_input(key="define query").set_value("ndcg Burges")
    assert "ndcg" in cells(ran(app))
    assert "gini" not in cells(app)
    app.text_input(key="define query").set_value("no such <b>word</b>")
    assert strings.t("define.nothing", query="no such <b>word</b>") in texts(ran(app))


def test_every_definition_says_something() -> None:
    for table in (definitions.metrics, definitions.components, definitions.asked, definitions.methods, definitions.conventions):
        assert (table()["about"].str.len() > 10).all()


# The frame, and charts.


def test_overview_stands_first_but_the_user_page_opens(open_app, tiny_run: Run) -> None:
    app = open_app(tiny_run.path.parent, user="u02")
    assert "u02" in app.title[0].value


def test_charts_read_no_markup() -> None:
    bad = "<b>x</b>"
    frame = pd.DataFrame({"label": [bad, "y"], "mean": [0.1, 0.2], "low": [0.0, math.nan], "high": [0.2, math.nan], "n": [3, 3]})
    figure = overview_charts.whiskers(frame, axis=bad, paint={})
    assert [t.mode for t in figure.data] == ["lines", "markers"]  # one has no interval
    pairs = pd.DataFrame({"component": [bad], "a": [1.0], "b": [math.nan]})
    matrix = pd.DataFrame([[1.0, math.nan], [math.nan, 1.0]], index=[bad, "y"], columns=[bad, "y"])
    epochs = pd.DataFrame({"component": [bad], "epoch": [1], "loss": [2.0], "value": [0.1]})
    made = [
        figure,
        overview_charts.pairs_chart(pairs, names=(bad, "b"), axis=bad),
        overview_charts.curves_chart(epochs, "loss", x="e", y=bad),
        faithfulness_charts.agreement_chart(matrix),
    ]
    assert all("<b>" not in f.to_json() and "\\u003cb\\u003e" not in f.to_json() for f in made)


def test_a_link_to_an_unknown_measure_is_told_when_the_page_opens(open_app, tiny_run: Run) -> None:
    app = open_app(tiny_run.path.parent)
    app.switch_page("app_pages/faithfulness.py")
    app.query_params["measure"] = "nonsense"
    said = strings.t("faith.note", name="measure", value="nonsense", used=next(iter(faithfulness.MEASURES)))
    assert said in [note.value for note in ran(app).info]  # at once, not when it is drawn again
    app.button_group(key="board question").set_value("words")
    assert said not in [note.value for note in ran(app).info]
