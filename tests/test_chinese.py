"""Page by page in Chinese: no English word is left but names, and whatever is registered has Chinese words."""

from __future__ import annotations

import re

import pytest
import rendered
import stations
from streamlit.testing.v1 import AppTest

from recsys_core import scorers
from recsys_core.explain import explainers, questions
from recsys_core.metrics import METRICS
from recsys_core.rerank import RERANKERS
from recsys_core.run import Run

SEEN: dict[str, AppTest] = {}
# Names that are the same in every language: of this program, of measures and methods, of formats.
NAMES = """Whyrec English BERT EASE SHAP LIME MMR DPP Shapley Owen Partition Permutation Gram Sentence-BERT t-SNE arXiv
NDCG MRR MAP AUC KL ECE POS NEG DEL INS CNDCG pos neg del ins cndcg Spearman Holm Evidently
CSV TSV HTML Markdown JSON Parquet ID MB logit Logit lambda theta shap lime hybrid""".split()
FORMULA = "log2 log exp min max sum det n_relevant n_items n_users hit_r sum_r sum_i reg".split()
WAYS = (
    r"--[a-z][a-z-]*",  # options of commands
    r"age=24|\(APLT\)|Bonferroni",  # an example; a citation's own name for its measure
    r"\b(?:whyrec \w+|control = true|cold-items|leave-last|hide = \w+|split = [\w-]+)",
    r"(?:[A-Z][\w-]+(?:、| 与 ))*[A-Z][\w-]+ (?:等人|(?:等 )?\d{4})",  # citations
    r"[a-z_]+ = (?:'[^']*'|\([^)]*\)|[\w.+-]+)",  # settings with their defaults
)
# Cells of the page Definitions that are keys of what stands beside them in Chinese.
KEYS = "relevant histories candidates ties users fit".split()


@pytest.fixture(scope="session")
def whole_run(tiny: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return stations.make(tiny, tmp_path_factory.mktemp("whole"))


@pytest.fixture
def come(open_app, whole_run: Run):
    return lambda name: SEEN[name] if name in SEEN else SEEN.setdefault(name, stations.come(open_app, whole_run, name))


def data_of(run: Run) -> set[str]:
    """Titles, texts and their words, attributes and ids."""
    catalog, people = run.dataset.catalog.frame, run.dataset.user_table
    cells = [v for table in (catalog, people) for c in table for v in table[c]]
    found = {str(v) for cell in cells for v in (cell if isinstance(cell, list | tuple) else [cell])}
    words = {w for text in found for w in re.findall(r"[\w'-]+", text)}
    return found | words | {*catalog, *people, *map(str, run.dataset.users.ids), *map(str, run.dataset.items.ids)}


def known(run: Run) -> re.Pattern[str]:
    registered = [*scorers.names(), *explainers.names(), *questions.names(), *METRICS, *RERANKERS]
    names = sorted({run.dataset.name, *(f"（{key}）" for key in KEYS), *NAMES, *FORMULA, *registered, *data_of(run), *(p.name for p in run.path.parent.iterdir())} - {""}, key=len)
    whole = [rf"(?<![A-Za-z]){re.escape(name)}(?![A-Za-z])" for name in reversed(names)]
    return re.compile("|".join([*WAYS, *whole]))


@pytest.mark.parametrize("name", stations.STATIONS)
def test_no_english(come, whole_run: Run, name: str) -> None:
    names, found = known(whole_run), {}
    for kind, text in rendered.said(come(name)):
        if left := rendered.words(text, names):
            found.setdefault((kind, text[:400]), left)
    for (kind, text), left in found.items():
        print("@@", name, "|", kind, "|", " ".join(left)[:200], "|", text)
    assert not found


@pytest.mark.parametrize("name", stations.STATIONS)
def test_every_chart_is_said_captioned_and_told_as_a_table(come, name: str) -> None:
    app = come(name)
    for place in rendered.charts(app.main):
        print("##", name, place.chart.key, place.lacks(), rendered.colours(place.chart))
    assert not any(place.lacks() for place in rendered.charts(app.main))
