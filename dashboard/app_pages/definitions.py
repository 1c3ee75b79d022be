"""What does every name mean? Metrics, components, questions, explainers, re-rankers, conventions: out of the registries."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import streamlit as st

from dashboard import light, shared
from dashboard.lab_tables import bound
from dashboard.strings import TEXT, language, plain, t
from recsys_core import definitions

SECTIONS: dict[str, Callable[[], pd.DataFrame]] = {
    "metrics": definitions.metrics,
    "components": definitions.components,
    "questions": definitions.asked,
    "explainers": definitions.methods,
    "rerankers": definitions.rerankers,
    "conventions": definitions.conventions,
}

# How the words of each section begin in the table of strings, which has them in every language.
KINDS = {
    "metrics": "metric",
    "components": "component",
    "questions": "question",
    "explainers": "explainer",
    "rerankers": "reranker",
    "conventions": "convention",
}
SAID = ("label", "about", "formula", "source", "more")  # columns that are said in every language


def page() -> None:
    st.title(t("define.title"), anchor=False)
    query = st.text_input(plain("define.search"), placeholder=plain("define.hint"), key="define query")
    found = {name: search(name, make(), query) for name, make in SECTIONS.items()}
    n = sum(len(table) for table in found.values())
    st.markdown(t("define.says", n=n) if n else t("define.nothing", query=query))
    for name, table in found.items():
        if len(table):
            section(name, table)


def search(name: str, known: pd.DataFrame, query: str) -> pd.DataFrame:
    """Rows of a section as they are shown that hold the query, in the reader's words or in those of the registry."""
    view = worded(name, known)
    both = definitions.search(view.join(known.reset_index(drop=True).add_prefix("own ")), query)
    return view.loc[both.index]


def section(name: str, view: pd.DataFrame) -> None:
    st.subheader(plain(f"define.{name}"), anchor=False)
    st.caption(t(f"define.{name}.about"))
    view = view[[c for c in view.columns if (view[c] != "").any()]]
    st.html(light.words(view, {c: plain(f"define.column.{c}") for c in view.columns}))
    shared.download(view, f"definitions-{name}", f"define {name}")


def worded(name: str, found: pd.DataFrame) -> pd.DataFrame:
    """Names, ranges, directions, yes or no, and all that is said, in the reader's words."""
    view = found.copy()
    if "low" in view:
        ranges = [
            plain("define.range", low=bound(low), high=bound(high)) for low, high in zip(view["low"], view["high"], strict=True)
        ]
        view = view.drop(columns=["low", "high"]).assign(range=ranges)
    for column in SAID:
        if column in view:
            view[column] = [own(name, one, column, text) for one, text in zip(view["name"], view[column], strict=True)]
    if name == "conventions":
        view["name"] = [own(name, one, "label", one) for one in view["name"]]
    if "direction" in view:
        view["direction"] = [plain(f"define.direction.{d}") for d in view["direction"]]
    for column in ("per_user", "reads_text"):
        if column in view:
            view[column] = [plain("define.yes" if v else "define.no") for v in view[column]]
    return view.reset_index(drop=True)


def own(section: str, name: str, part: str, text: str) -> str:
    """What the table of strings says of a part of a name; of what is not in it, as of a model from outside, its own words."""
    key = f"{KINDS[section]}.{name}" if part == "label" else f"{KINDS[section]}.{name}.{part}"
    return plain(key) if key in TEXT[language()] else text


page()
