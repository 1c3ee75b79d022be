"""Many blends or strengths at once: which of them no other beats in both of two metrics, and the best one under a constraint.

In: an Analytics and points. Out: a frame with a row a point, its metrics and whether it is on the front (Pareto 1896).
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from recsys_core.analytics import Analytics, Measured, measure
from recsys_core.errors import UserError, unknown
from recsys_core.metrics import METRICS
from recsys_core.run import Run

SAME = 1e-9  # means that differ by less are equal
DIVERSITY = ("attribute_diversity", "intra_list_diversity")  # what "diversity" means: the first that the run has


@dataclass(frozen=True)
class Point:
    """Weights that replace learned ones, by component, and a re-ranking; the default is what was learned."""

    weights: Mapping[str, float] = field(default_factory=dict)
    reranker: str = ""
    strength: float = 0.0


def strengths(reranker: str, weights: Mapping[str, float] | None = None, n: int = 11) -> list[Point]:
    """`n` points from strength 0 to 1."""
    return [Point(weights or {}, reranker, float(s)) for s in np.linspace(0, 1, n)]


def mixes(source: Analytics, n: int, seed: int = 0) -> list[Point]:
    """The learned weights and `n` random ones of the same sum, uniform on the simplex (Dirichlet with all parameters 1)."""
    blend = source.blend
    total = sum(abs(w) for w in blend.weights) or 1.0
    draws = np.random.default_rng(seed).dirichlet(np.ones(len(blend.names)), n) * total
    return [Point(), *(Point(dict(zip(blend.names, row.tolist(), strict=True))) for row in draws)]


def sweep(source: Analytics, most: float, n: int = 40, n_strengths: int = 10, seed: int = 0) -> list[Point]:
    """A tour of what can be set: the learned weights first, `n` mixes and `n` half-way to them, every re-ranker the run can use.

    Args:
        most: no weight gets larger; a mix that has a larger one is scaled down as a whole.
        n_strengths: of each re-ranker, on the learned weights; evenly from above 0 to 1.
    """
    learned = np.asarray(source.blend.weights)
    draws = [np.array(list(p.weights.values())) for p in mixes(source, n, seed)[1:]]
    tours = [*draws, *((draw + learned) / 2 for draw in draws)]
    scaled = [draw * min(1.0, most / (np.abs(draw).max() or 1.0)) for draw in tours]
    made = [Point(dict(zip(source.blend.names, draw.tolist(), strict=True))) for draw in scaled]
    return [Point(), *made, *(p for name in source.rerankers for p in strengths(name, n=n_strengths + 1)[1:])]


def diversity(table: Container[str]) -> str | None:
    """The metric that "diversity" means among those named, or None."""
    return next((name for name in DIVERSITY if name in table), None)


def pareto(
    source: Analytics | Run, points: Iterable[Point], *, k: int, x: str = "ndcg", y: str = "diversity", by: str = ""
) -> pd.DataFrame:
    """Measure every point and flag the front of x and y.

    Returns:
        One row a point, in order: reranker, strength, `weight_<component>`, the mean of every metric, front (bool).

    Raises UserError for an unknown metric, one of which neither end is better, or no points.
    """
    known = source if isinstance(source, Analytics) else Analytics.of(source)
    rows = []
    for point in points:
        found = measure(known, point.weights, k=k, reranker=point.reranker, strength=point.strength, by=by)
        rows.append(_row(found))
    if not rows:
        raise UserError("there is no point to measure; give at least one")
    table = pd.DataFrame(rows)
    first, second = (_upwards(table, name) for name in (x, y))
    return table.assign(front=front(first, second))


def front(x: ArrayLike, y: ArrayLike) -> NDArray[np.bool_]:
    """(n,) which points no other beats: none is at least as high in both and higher in one. A point with NaN is not on it.

    >>> front([1, 2, 2, 0], [3, 1, 2, 0]).tolist()
    [True, False, True, False]
    """
    x, y = (np.asarray(v, dtype=np.float64) for v in (x, y))
    known = np.flatnonzero(~(np.isnan(x) | np.isnan(y)))
    order = known[np.lexsort((-y[known], -x[known]))]  # x downwards, then y
    highest = np.concatenate([[-np.inf], np.maximum.accumulate(y[order])[:-1]]) if len(order) else y[order]  # y of those before
    on = np.zeros(len(x), bool)
    on[order] = y[order] > highest
    twins = np.zeros(len(x), bool)  # equal to a point of the front
    if on.any():
        twins[known] = (np.stack([x[known], y[known]], 1)[:, None] == np.stack([x[on], y[on]], 1)[None]).all(2).any(1)
    return on | twins


def beaten(table: pd.DataFrame, point: Mapping[str, float]) -> bool:
    """Is there a row of `table` that is at least as good in every metric of `point`, and better in one?"""
    ours = {name: _sign(name) * value for name, value in point.items()}
    level, above = np.ones(len(table), bool), np.zeros(len(table), bool)
    for name, value in ours.items():
        theirs = _upwards(table, name).to_numpy()
        level &= theirs >= value - SAME
        above |= theirs > value + SAME
    return bool((level & above).any())


def best_under(
    table: pd.DataFrame, *, best: str = "diversity", keep: str = "ndcg", loss: float = 0.02, than: float | None = None
) -> pd.Series[Any]:
    """The point with the most of `best` that loses at most a share `loss` (0.02 = 2%) of `keep`.

    Args:
        table: what `pareto` gave.
        than: the value of `keep` to compare with; None: that of the first point, by habit the learned weights.

    Means are compared, not intervals: look at `differences.change` before you trust a small step. Raises UserError if no point
    keeps that much, or for metrics that are not there.
    """
    if not 0 <= loss <= 1:
        raise UserError(f"loss must be a share from 0 to 1, not {loss}")
    kept, wanted = _upwards(table, keep), _upwards(table, best)
    start = float(kept.iloc[0]) if than is None else _sign(keep) * than
    allowed = kept >= start - loss * abs(start)
    if not (allowed & wanted.notna()).any():
        raise UserError(f"no point keeps {keep} within {loss:.0%} of {abs(start):.4f}; allow a larger loss or try other points")
    return table.iloc[int(np.nanargmax(wanted.where(allowed).to_numpy()))]


def _row(found: Measured) -> dict[str, Any]:
    weights = {f"weight_{n}": w for n, w in zip(found.blend.names, found.blend.weights, strict=True)}
    means = {name: found.mean(name) for name in METRICS if name in found.per_user or name in found.totals}
    return {"reranker": found.reranker, "strength": found.strength, **weights, **means}


def _upwards(table: pd.DataFrame, metric: str) -> pd.Series[float]:
    """The column of a metric, so that higher is better."""
    name = diversity(table) or DIVERSITY[0] if metric == "diversity" else metric
    if name not in METRICS or name not in table:
        raise unknown("metric", metric, ["diversity", *(n for n in METRICS if n in table)])
    return table[name] * _sign(name)


def _sign(metric: str) -> int:
    direction = METRICS[metric].direction if metric in METRICS else "higher"
    if direction == "neither":
        raise UserError(f"metric {metric!r} has no better end; choose one that has")
    return 1 if direction == "higher" else -1
