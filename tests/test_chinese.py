"""Page by page in Chinese: no English word is left but names, and whatever is registered has Chinese words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import rendered
import stations
from conftest import ran

from dashboard import strings
from recsys_core import definitions, scorers
from recsys_core.explain import explainers, questions
from recsys_core.metrics import METRICS
from recsys_core.rerank import RERANKERS
from recsys_core.run import Run

# Names that are the same in every language: of this program, of measures and methods, of formats and symbols.
NAMES = """Whyrec English BERT EASE SHAP LIME MMR DPP Shapley Owen Partition Permutation Gram Sentence-BERT t-SNE arXiv
NDCG MRR MAP AUC KL ECE POS NEG DEL INS CNDCG pos neg del ins cndcg Spearman Holm Bonferroni Evidently
CSV TSV HTML Markdown JSON Parquet ID MB CPU logit Logit lambda theta shap lime
log2 log exp min max sum det n_relevant n_items n_users hit_r sum_r sum_i reg"""
WAYS = (
    r"--[a-z][a-z-]*|\bwhyrec \w+",  # commands and their options
    r"[a-z_]+ = (?:'[^']*'|\([^)]*\)|[\w.+-]+)|\bcold-items|\bage=24",  # settings with their values
    r"(?:[A-Z][\w-]+(?:\u3001| \u4e0e ))*[A-Z][\w-]+ (?:\u7b49\u4eba|(?:\u7b49 )?\d{4})(?: \(APLT\))?",  # citations
    r"\uff08(?:relevant|histories|candidates|ties|users|fit)\uff09",  # keys of a card behind their Chinese words
)


def data_of(run: Run) -> set[str]:
    """Titles, texts and their words, attributes, ids, and names of runs."""
    catalog, people = run.dataset.catalog.frame, run.dataset.user_table
    cells = [v for table in (catalog, people) for c in table for v in table[c]]
    found = {str(v) for cell in cells for v in (cell if isinstance(cell, list | tuple) else [cell])}
    words = {word for text in found for word in re.findall(r"[\w'-]+", text)}
    ids = {*map(str, run.dataset.users.ids), *map(str, run.dataset.items.ids)}
    return found | words | ids | {*catalog, *people, run.dataset.name, *(path.name for path in run.path.parent.iterdir())}


def known(run: Run) -> re.Pattern[str]:
    registered = [*scorers.names(), *explainers.names(), *questions.names(), *METRICS, *RERANKERS]
    names = sorted({*NAMES.split(), *registered, *data_of(run)} - {""}, key=len, reverse=True)
    return re.compile("|".join([*WAYS, *(rf"(?<![A-Za-z]){re.escape(name)}(?![A-Za-z])" for name in names)]))


@pytest.mark.parametrize("name", stations.STATIONS)
def test_no_english_is_left_but_names(come, whole_run: Run, name: str) -> None:
    names = known(whole_run)
    said = {(kind, text[:200]): rendered.words(text, names) for kind, text in rendered.said(come(name))}
    assert len(said) > 10
    assert {where: left for where, left in said.items() if left} == {}


def test_english_is_found() -> None:
    names = re.compile("|".join([*WAYS, r"\bease\b"]))
    good = (
        "ease \u7684\u5206\u91cf",
        "Steck 2018",
        "Zhou \u7b49 2010",
        "Webber\u3001Moffat \u4e0e Zobel 2010",
        "decay = 0.0",
        "--hide",
    )
    assert [rendered.words(text, names) for text in good] == [[]] * len(good)
    assert rendered.words("the easel, 5 of 7", names) == ["the", "easel", "of"]
    figure = {
        "layout": {"xaxis": {"title": {"text": "share of items"}}, "annotations": [{"text": "<b>here</b>"}]},
        "data": [{"x": [1], "y": ["base"], "hovertemplate": "%{x} users<extra></extra>", "name": "learned"}, {"name": "now"}],
    }
    assert {*["share", "of", "items", "here", "base", "users", "learned", "now"]} == {
        word for text in rendered.of_figure(figure) for word in rendered.words(text, names)
    }


KINDS = {
    "component": scorers.names,
    "question": questions.names,
    "explainer": explainers.names,
    "convention": lambda: list(definitions.conventions()["name"]),
    "metric": lambda: list(METRICS),
    "reranker": lambda: list(RERANKERS),
}


def without_words(kind: str, names: list[str], table: dict[str, str]) -> list[str]:
    """What to add to the table of strings, a line for each name that says nothing in Chinese."""
    file = "names" if kind in ("metric", "reranker") else "registered"
    keys = [f"{kind}.{name}.about" for name in names]
    lacking = [key for key in keys if not re.search("[\u4e00-\u9fff]", table.get(key, ""))]
    return [f'add "{key}": "..." in Chinese to ZH in dashboard/strings/{file}.py' for key in lacking]


@pytest.mark.parametrize("kind", KINDS)
def test_all_that_is_registered_has_chinese_words(kind: str) -> None:
    names = KINDS[kind]()
    assert names
    assert without_words(kind, names, strings.TEXT["zh"]) == []


def test_a_new_scorer_without_words_is_told_what_to_add() -> None:
    (line,) = without_words("component", ["ease", "brand_new"], strings.TEXT["zh"])
    assert "component.brand_new.about" in line
    assert "strings/registered.py" in line


def test_definitions_are_found_by_chinese_and_by_their_own_words(open_app, tmp_path: Path) -> None:
    app = open_app(tmp_path, "definitions", language="zh")

    def found(query: str) -> set[str]:
        app.text_input(key="define query").set_value(query)
        return {name for table in ran(app).html for name in re.findall('<th scope="row">([^<]*)<', table.value)}

    assert found("\u68af\u5ea6") == {"ig"}
    assert "ig" in found("Integrated gradients")
    assert found("Shapley \u95ed\u5f0f\u89e3") == {"exact"}


def test_a_component_from_outside_speaks_for_itself(open_app, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = definitions.components().iloc[[0]].assign(name="theirs", about="A model that somebody brought.", source="Theirs 2026.")
    monkeypatch.setattr(definitions, "components", lambda: row)
    app = open_app(tmp_path, "definitions", language="zh")
    assert any("A model that somebody brought." in table.value for table in app.html)


@pytest.mark.parametrize("name", stations.STATIONS)
def test_no_gap_is_left_between_chinese_sentences(come, name: str) -> None:
    said = {text for _, text in rendered.said(come(name))}
    assert {text for text in said if re.search("(?<![*`])[\u3002\uff1b\uff0c] (?=[\u4e00-\u9fff])", text)} == set()
