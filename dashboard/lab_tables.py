"""Frames of the core to what the Blend lab shows of them: tiles, twins, settings in words. No statistics, no streamlit."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from dashboard.strings import code, plain
from recsys_core.analytics import NO_INTERVAL
from recsys_core.differences import verdicts
from recsys_core.metrics import METRICS

TILES = (
    "ndcg",
    "recall",
    "coverage",
    "attribute_diversity",
    "novelty",
    "personalisation",
    "gini",
    "popularity_lift",
    "long_tail_share",
    "calibration_kl",
)
AT_K = ("ndcg", "recall")
MINUS = "\u2212"  # what st.metric takes for a minus, and is as wide as a plus
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Tile:
    """Words of one tile. `colour` (green, red, gray) and `arrow` (up, down, off) of the change; `about` tells whether it is good;
    `lines` what the metric is: words, formula, range, and what else there is to know."""

    label: str
    value: str
    delta: str
    colour: str
    arrow: str
    about: str
    lines: tuple[str, ...]


def tiles(changes: pd.DataFrame, k: int, names: Sequence[str] = TILES) -> list[Tile]:
    """A tile for each metric named, from `differences.change`; one that the run has not says so."""
    rows = {row["metric"]: row | {"verdict": v} for row, v in zip(changes.to_dict("records"), verdicts(changes), strict=True)}
    return [_tile(rows[name], k) if name in rows else _missing(name, k) for name in names]


def _tile(row: Row, k: int) -> Tile:
    name, verdict = row["metric"], row["verdict"]
    if math.isnan(row["b"]):
        return _missing(name, k)
    said = plain(f"verdict.{verdict}")
    if verdict == "same":
        about = plain("tile.same")
    elif math.isnan(row["low"]):
        about = plain("tile.plain", verdict=said)
    else:
        about = plain("tile.interval", verdict=said, low=signed(row["low"]), high=signed(row["high"]))
    colour = {"better": "green", "worse": "red"}.get(verdict, "gray")
    delta = signed(row["mean"])
    arrow = "off" if float(delta.replace(MINUS, "-")) == 0 else "up" if row["mean"] > 0 else "down"
    return Tile(label(name, k), number(row["b"]), delta, colour, arrow, about, explained(name, row["note"]))


def _missing(name: str, k: int) -> Tile:
    return Tile(label(name, k), plain("missing"), "", "gray", "off", "", (plain("tile.missing"), *explained(name)[1:]))


def label(metric: str, k: int) -> str:
    return f"{named(metric)}@{k}" if metric in AT_K else named(metric)


def named(metric: str) -> str:
    return plain(f"metric.{metric}")


def formula(metric: str) -> str:
    return plain(f"metric.{metric}.formula")


def source(metric: str) -> str:
    return plain(f"metric.{metric}.source")


def reranker(name: str) -> str:
    return plain(f"reranker.{name}")


def reranking(name: str, strength: float) -> dict[str, Any]:
    """What texts on a re-ranked list say of how: label, strength, and about, the first sentence of what it is."""
    about = re.split(r"(?<=\.)\s|(?<=。)", plain(f"reranker.{name}.about"), maxsplit=1)[0]
    return {"label": reranker(name), "strength": strength, "about": about}


def explained(metric: str, note: str = "") -> tuple[str, ...]:
    """What a metric is, out of the registry: words, formula, then range, direction and source, and a note if there is one."""
    m = METRICS[metric]
    facts = {"low": bound(m.low), "high": bound(m.high), "source": source(metric), "direction": plain(f"tile.{m.direction}")}
    lines = (plain(f"metric.{metric}.about"), formula(metric), plain("tile.range", **facts))
    told = plain("tile.no_interval") if note == NO_INTERVAL else f"{note[:1].upper()}{note[1:]}."
    return (*lines, told) if note else lines


def bound(value: float) -> str:
    return plain("tile.unbounded") if math.isinf(value) else f"{value:g}".replace("-", MINUS)


def number(value: float) -> str:
    """Three places below ten, two above: no more than an interval over users carries."""
    return (f"{value:.3f}" if abs(value) < 10 else f"{value:.2f}").replace("-", MINUS)


def signed(value: float) -> str:
    text = f"{value:+.3f}" if abs(value) < 10 else f"{value:+.2f}"
    return "0.000" if text in ("+0.000", "-0.000") else text.replace("-", MINUS)


def metrics_view(changes: pd.DataFrame) -> pd.DataFrame:
    """The twin of the tiles, all metrics: metric, learned, now, change, low, high, verdict, n, formula, range, source."""
    known = [METRICS[name] for name in changes["metric"]]
    facts = {
        "metric": [named(m.name) for m in known],
        "learned": changes["a"],
        "now": changes["b"],
        "change": changes["mean"],
        "low": changes["low"],
        "high": changes["high"],
        "verdict": [plain(f"verdict.{v}") for v in verdicts(changes)],
        "n": changes["n"],
        "formula": [formula(m.name) for m in known],
        "range": [plain("define.range", low=bound(m.low), high=bound(m.high)) for m in known],
        "source": [source(m.name) for m in known],
    }
    return pd.DataFrame(facts)


def weights_of(point: Row) -> dict[str, float]:
    """Weights by component of a row of the sweep."""
    return {str(name).removeprefix("weight_"): float(v) for name, v in point.items() if str(name).startswith("weight_")}


def setting(point: Row, first: Row) -> str:
    """What a point of the sweep sets, in words; `first` is the learned one."""
    if point["reranker"]:
        return plain("setting.rerank", reranker=reranker(point["reranker"]), strength=point["strength"])
    weights = weights_of(point)
    if weights == weights_of(first):
        return plain("setting.learned")
    return plain("setting.mix", weights=", ".join(f"{name} {value:.2f}" for name, value in weights.items() if round(value, 2)))


def settings(sweep: pd.DataFrame) -> list[str]:
    rows = sweep.to_dict("records")
    return [setting(row, rows[0]) for row in rows]


def points_view(sweep: pd.DataFrame, words: Sequence[str], x: str, y: str) -> pd.DataFrame:
    """The twin of the chart: setting, x, y, front; the front first, then by x downwards."""
    facts = {"setting": words, x: sweep[x], y: sweep[y], "front": sweep["front"]}
    return pd.DataFrame(facts).sort_values(["front", x], ascending=False, kind="stable")


def options(sweep: pd.DataFrame, words: Sequence[str], x: str, y: str, chosen: int | None) -> dict[int, str]:
    """Points to choose from, in words, by row: the front from the best x on, and the chosen one."""
    front = sweep[sweep["front"]].sort_values(x, ascending=False).index.tolist()
    rows = front + [chosen for _ in (1,) if chosen is not None and chosen not in front and 0 <= chosen < len(sweep)]
    values = {"x_value": sweep[x].tolist(), "y_value": sweep[y].tolist()}
    return {int(r): plain("pareto.option", setting=words[r], **{name: v[r] for name, v in values.items()}) for r in rows}


def best_words(best: Row, first: Row, metric: str) -> str:
    """The best point under a constraint in a sentence, as Markdown."""
    values = {"value": best[metric], "was": first[metric], "ndcg": best["ndcg"], "loss": best["ndcg"] / first["ndcg"] - 1}
    return plain("best.says", setting=spoken(best, first), metric=named(metric), **values)


def spoken(point: Row, first: Row) -> str:
    """`setting` as Markdown: names of components may come from outside."""
    words = setting(point, first)
    return words if point["reranker"] else code(words)
