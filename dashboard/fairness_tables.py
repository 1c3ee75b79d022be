"""Frames of `recsys_core.fairness` to words and tables. No statistics, no streamlit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from dashboard.lab_tables import MINUS
from dashboard.strings import code, joined, plain, t
from recsys_core.fairness import KNOWN, NOTHING, SMALLEST, Gap
from recsys_core.metrics import METRICS

OURS = ("activity", "popularity_affinity", KNOWN)  # groupings whose labels are ours, not the data's


def values(names: Iterable[str]) -> list[str]:
    """Values of an attribute as shown; "" is none."""
    return [plain("fair.no_value") if name == NOTHING else str(name) for name in names]


def grouping(name: str) -> str:
    return plain(f"fair.by.{name}") if name in OURS else name


def group(by: str, label: str) -> str:
    return plain(f"fair.group.{label}") if by in OURS else str(label)


def people(worst: pd.DataFrame, mine: int | None, user: str, values: Any) -> tuple[dict[str, list[int] | None], dict[str, str]]:
    """Whose mix can be looked at: rows of the store by option (None = all), and words by option."""
    rows: dict[str, list[int] | None] = {"everyone": None}
    labels = {"everyone": plain("fair.mix.everyone")}
    if mine is not None:
        rows["this"] = [mine]
        labels["this"] = plain("fair.mix.this", user=user, value=_figure(values[mine]))
    for row, name, value in zip(worst["row"], worst["user_id"], worst["value"], strict=True):
        rows[f"row {row}"] = [int(row)]
        labels[f"row {row}"] = plain("fair.mix.worst", user=name, value=_figure(value))
    return rows, labels


def mix_words(mix: pd.DataFrame, topic: str, kl: float) -> str:
    """The values whose share grows and shrinks most from history to list, as Markdown."""
    change = mix["lists"] - mix["history"]
    facts: dict[str, object] = {}
    for key, at in (("up", change.idxmax()), ("down", change.idxmin())):
        row = mix.loc[at]
        facts |= {key: str(row["value"]), f"{key}_from": row["history"], f"{key}_to": row["lists"]}
    return t("fair.mix.says", topic=topic, kl=kl, **facts)


def exposure_words(shares: pd.DataFrame, names: list[str]) -> str:
    """The most and the least amplified value among those with a share in histories that can be seen, as Markdown."""
    seen = shares[shares["histories"] >= 0.01]
    if len(seen) < 2:
        return t("fair.exposure.plain", value=names[0], share=float(shares["lists"].iloc[0]))
    up, down = seen["ratio"].idxmax(), seen["ratio"].idxmin()
    facts = {"up": names[up], "up_ratio": seen["ratio"][up], "down": names[down], "down_ratio": seen["ratio"][down]}
    return t("fair.exposure.says", **facts)


def gap_words(gap: Gap | None, rows: pd.DataFrame, by: str, metric: str) -> str:
    """Whether the groups differ, as Markdown: names of groups may come from the data."""
    small = [(group(by, g), int(n)) for g, n in zip(rows["group"][rows["small"]], rows["n"][rows["small"]], strict=True)]
    said = []
    if gap is None:
        said.append(t("fair.gap.none", smallest=SMALLEST))
    else:
        direction = "ends" if METRICS[gap.metric].direction == "neither" else "best"
        figures = {key: signed(value, gap.metric) for key, value in (("mean", gap.mean), ("low", gap.low), ("high", gap.high))}
        names = {"best": code(group(by, gap.best)), "worst": code(group(by, gap.worst))}
        verdict = "shown" if gap.shown else "chance"
        said.append(plain(f"fair.gap.{direction}.{verdict}", metric=metric, **names, **figures))
    if small:
        listed = ", ".join(f"{code(name)} ({n})" for name, n in small[:12])
        key = "fair.gap.small" if len(small) <= 12 else "fair.gap.small.more"
        said.append(plain(key, names=listed, more=len(small) - 12, smallest=SMALLEST))
    return joined(*said)


def groups_view(table: pd.DataFrame, by: str, names: Mapping[str, str]) -> pd.DataFrame:
    """One row a group: its name, users, and each metric as "mean (low to high)", or in words that it is too small to say."""
    found: list[dict[str, object]] = []
    for label, rows in table.groupby("group", sort=False):
        figures = {names[r["metric"]]: _cell(r) for r in rows.to_dict("records")}
        head = {plain("fair.group"): group(by, str(label)), plain("fair.users"): int(rows["users"].iloc[0])}
        found.append(head | figures)
    return pd.DataFrame(found)


def _cell(row: Mapping[Any, Any]) -> str:
    if row["small"]:
        return plain("fair.small", n=row["n"])
    mean, low, high = (number(row[c], row["metric"]) for c in ("mean", "low", "high"))
    return plain("fair.cell", mean=mean, low=low, high=high)


def number(value: float, metric: str) -> str:
    """A figure of a metric: popularity lift in percent, the others to three places."""
    return (f"{value:+.0%}" if metric == "popularity_lift" else f"{value:.3f}").replace("-", MINUS)


def signed(value: float, metric: str) -> str:
    return (f"{value:+.0%}" if metric == "popularity_lift" else f"{value:+.3f}").replace("-", MINUS)


def _figure(value: float) -> str:
    return f"{value:.2f}" if value == value else plain("missing")
