"""What every name means: metrics, components, questions, explainers, re-rankers and conventions, read out of the registries.

In: nothing. Out: frames of words; whatever is registered is there, nothing is listed by hand.
"""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

import pandas as pd

from recsys_core import registry, scorers, splits
from recsys_core.card import HIDES, convention
from recsys_core.config import Settings
from recsys_core.explain import explainers, questions
from recsys_core.metrics import METRICS
from recsys_core.rerank import RERANKERS


def metrics() -> pd.DataFrame:
    """name, label, about, formula, low, high, direction, per_user, source."""
    columns = ["name", "label", "about", "formula", "low", "high", "direction", "per_user", "source"]
    return pd.DataFrame([{c: getattr(m, c) for c in columns} for m in METRICS.values()], columns=columns)


def components() -> pd.DataFrame:
    """name, about (first line of the file), source (first line of its model), reads_text, settings (names with defaults)."""
    rows = []
    for name in scorers.names():
        model = scorers.scorer_class(name)
        module = inspect.getmodule(model)
        told = {"name": name, "about": _first(module), "source": _first(model), "reads_text": model.reads_text}
        rows.append(told | {"settings": _settings(model.Config)})
    return pd.DataFrame(rows)


def asked() -> pd.DataFrame:
    """Questions: name, about, more (the rest of the docstring)."""
    return _modules(questions.__name__, questions.names())


def methods() -> pd.DataFrame:
    """Explainers: name, about, more."""
    return _modules(explainers.__name__, explainers.names())


def rerankers() -> pd.DataFrame:
    """name, label, about, formula, source."""
    columns = ["name", "label", "about", "formula", "source"]
    return pd.DataFrame([{c: getattr(r, c) for c in columns} for r in RERANKERS.values()], columns=columns)


def conventions() -> pd.DataFrame:
    """How figures are to be read: name, about. What a run may set (split, hide) has one row a choice."""
    told = convention(Settings(), None)
    made = {
        "random": splits.per_user_random,
        "leave-last": splits.leave_last,
        "time": splits.by_time,
        "cold-items": splits.cold_items,
    }
    rows = [("relevant", "value >= the threshold of the data; every interaction where the data has none")]
    rows += [(f"hide = {name}", about) for name, about in HIDES.items()]
    rows += [(f"split = {name}", _first(made[name])) for name in splits.KINDS]
    rows += [(name, about) for name, about in told.items() if name not in ("relevant", "hidden")]
    return pd.DataFrame(rows, columns=["name", "about"])


def search(table: pd.DataFrame, query: str) -> pd.DataFrame:
    """Rows that hold every word of the query somewhere, case ignored; all of them for an empty query."""
    words = query.casefold().split()
    texts = table.astype(str).agg(" ".join, axis=1).str.casefold()
    return table[[all(w in text for w in words) for text in texts]]


def _modules(package: str, names: list[str]) -> pd.DataFrame:
    rows = []
    for name in names:
        first, _, rest = (inspect.getdoc(registry.get(package, name, "module")) or "").partition("\n\n")
        rows.append({"name": name, "about": " ".join(first.split()), "more": " ".join(rest.split())})
    return pd.DataFrame(rows, columns=["name", "about", "more"])


def _first(thing: Any) -> str:
    """First paragraph of a docstring, on one line."""
    return " ".join((inspect.getdoc(thing) or "").partition("\n\n")[0].split())


def _settings(config: type[Any]) -> str:
    return ", ".join(f"{f.name} = {f.default!r}" for f in dataclasses.fields(config))
