"""Metrics of all users at once under any blend and re-ranking, from a run's candidate store; milliseconds a blend.

In: an `Analytics`, made once a run, and weights. Out: `Measured`: lists, every metric of `metrics.METRICS` that the run allows,
user by user, and intervals. The lists are those of validation time: models fitted on the training part, judged by likes of the
validation part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys_core import metrics, rerank
from recsys_core.candidates import Candidates
from recsys_core.data import Histories
from recsys_core.errors import UserError
from recsys_core.evaluate import terciles, text_vectors
from recsys_core.hybrid import Blend
from recsys_core.limits import check_k
from recsys_core.ranking import turns
from recsys_core.rerank import plain_order
from recsys_core.resampling import Draws
from recsys_core.run import Run
from recsys_core.scorers.base import Scores
from recsys_core.splits import TRAIN

Floats = NDArray[np.float64]
POOL = 5  # a re-ranker chooses among the POOL * k best; what stands lower is never lifted, however high the strength
ROWS = 128  # users re-ranked at a time, so that their vectors stay in the cache
NO_INTERVAL = (
    "no interval: a bootstrap draw leaves out a third of the lists, and of a union or a concentration that is another figure"
)


@dataclass(frozen=True)
class Analytics:
    """What does not depend on the weights, once a run. Make one with `of`; arrays must be treated as frozen.

    Args:
        blend: the learned one.
        user_ids: (n,) external ids of the store's users.
        items: (n, m) internal ids in the order in which `ranking.top_k` breaks ties, -1 behind the end.
        relevant: (n, m) bool, liked in the validation part.
        surprise: (n, m) 1 - highest cosine to a past item, of relevant candidates; 0 elsewhere; a row of NaN for a user without
            a serendipity. None without vectors.
        z: (components, n * m) standardised scores, those missing as 0.
        cold, dead: positions in n * m of cold items, and of what cannot be scored.
        inputs: `metrics.INPUTS` that do not depend on the lists; counts and histories are those of the training part.
        groups: by name a label of each user (n,), for `segments`.
        seed: of the bootstrap.
    """

    blend: Blend
    user_ids: NDArray[np.object_]
    items: NDArray[np.int64]
    relevant: NDArray[np.bool_]
    surprise: NDArray[np.float32] | None
    z: Scores
    cold: NDArray[np.int64]
    dead: NDArray[np.int64]
    inputs: Mapping[str, Any]
    groups: Mapping[str, NDArray[np.object_]]
    seed: int = 0

    @classmethod
    def of(cls, run: Run) -> Analytics:
        """From a run's store, its data and, if a component keeps them, its text vectors."""
        early = run.dataset.subset(run.split.rows(TRAIN)).likes()
        topics, vectors = run.dataset.catalog.topics(), text_vectors(run)
        blocks = {"attributes": None if topics is None else topics.toarray(), "vectors": vectors}
        store = run.candidates
        table = run.dataset.user_table.iloc[store.users] if len(run.dataset.user_table.columns) else pd.DataFrame()
        return cls.build(store, run.model.blend, early, run.dataset.users.ids, blocks, table, run.settings.seed)

    @classmethod
    def build(
        cls,
        store: Candidates,
        blend: Blend,
        early: Histories,
        user_ids: NDArray[Any],
        blocks: Mapping[str, NDArray[Any] | None],
        table: pd.DataFrame | None = None,
        seed: int = 0,
    ) -> Analytics:
        """From parts: `early` (n_users, n_items) are the training likes of all users, with `user_ids`; `blocks` may hold
        "attributes" and "vectors" (n_items, d); `table` has a row for each user of the store."""
        n, m, _ = store.z.shape
        items = np.array(store.items)
        turn = turns(early.n_items)
        order = np.argsort(np.where(items < 0, early.n_items, turn[items]), axis=1, kind="stable")
        items = np.take_along_axis(items, order, axis=1)
        relevant, cold = (np.take_along_axis(flags, order, axis=1) & (items >= 0) for flags in (store.relevant, store.cold))
        z = np.moveaxis(np.take_along_axis(store.z, order[:, :, None], axis=1), 2, 0).reshape(-1, n * m)
        counts = np.bincount(early.items, minlength=early.n_items)
        history = early[store.users]
        inputs: dict[str, Any] = {"n_relevant": np.array(store.n_relevant), "n_items": early.n_items, "n_users": len(early)}
        inputs |= {"counts": counts, "history": history.csr(), **{k: v for k, v in blocks.items() if v is not None}}
        return cls(
            blend=blend,
            user_ids=np.asarray(user_ids, dtype=object)[store.users],
            items=items,
            relevant=relevant,
            surprise=_surprise(items, relevant, inputs) if "vectors" in inputs else None,
            z=np.ascontiguousarray(np.nan_to_num(z, nan=0.0), dtype=np.float32),
            cold=np.flatnonzero(cold),
            dead=np.flatnonzero((items.ravel() < 0) | np.isnan(z).all(axis=0)),
            inputs=inputs,
            groups=_groups(history, counts, pd.DataFrame() if table is None else table),
            seed=seed,
        )

    def __len__(self) -> int:
        return len(self.items)

    @property
    def rerankers(self) -> list[str]:
        """Names of the re-rankers for which the run has what they need."""
        return usable_rerankers(self.inputs)

    @cached_property
    def draws(self) -> Draws:
        return Draws(len(self), self.seed)

    def blend_of(self, weights: Blend | Mapping[str, float] | None) -> Blend:
        """A blend, or the learned one with some weights replaced. Raises UserError for unknown components."""
        if not isinstance(weights, Blend):
            return self.blend.with_weights(weights or {})
        if weights.names != self.blend.names:
            raise UserError(f"the blend has components {', '.join(weights.names)}; the run's are {', '.join(self.blend.names)}")
        return weights

    def logit(self, blend: Blend) -> Scores:
        """(n, m), -inf where nothing can be scored: that of `Candidates.logit`, columns as in `items`, to rounding."""
        warm, cold = blend.weights_at(np.array([False, True]))
        base = blend.base(np.array([False, True]))
        total = warm @ self.z + base[0]
        total[self.cold] = cold @ self.z[:, self.cold] + base[1]
        total[self.dead] = -np.inf
        return np.asarray(total, dtype=np.float32).reshape(self.items.shape)

    def features(self, name: str, rows: slice, items: NDArray[np.int64], by: str) -> dict[str, Any]:
        """What a re-ranker needs to know of the candidates `items` (rows, p)."""
        made: dict[str, Any] = {"target": self._target[rows]}
        tables = {"popularity": "popularity", "mass": "mass", "vectors": by}
        for need in (n for n in rerank.get(name).needs if n in tables):
            if tables[need] not in self._of_items:
                lacks = "attributes" if need == "mass" else by
                raise UserError(f"re-ranker {name!r} needs {lacks} of the items, and this run has none; choose another")
            made[need] = self._of_items[tables[need]][np.maximum(items, 0)]
        return made

    @cached_property
    def _of_items(self) -> dict[str, NDArray[np.float32]]:
        """Features of the whole catalogue: popularity (n_items,), mass and unit vectors (n_items, d)."""
        return item_features(self.inputs)

    @cached_property
    def _target(self) -> Floats:
        """(n, attributes) shares of the attributes in each history; zero where there is none."""
        if "attributes" not in self.inputs:
            return np.zeros((len(self), 0))
        return attribute_shares(self.inputs["history"], self._of_items["mass"])

    def columns(self, blend: Blend, k: int, reranker: str, strength: float, by: str) -> NDArray[np.int64]:
        """(n, k) columns of `items` that the lists show, best first; -1 behind the end."""
        logit = self.logit(blend)
        if not reranker:
            return plain_order(logit, k)
        pool = plain_order(logit, POOL * k)
        chosen = np.empty((len(self), k), np.int64)
        for start in range(0, len(self), ROWS):
            rows = slice(start, start + ROWS)
            at = np.maximum(pool[rows], 0)
            scores = np.where(pool[rows] < 0, -np.inf, np.take_along_axis(logit[rows], at, axis=1))
            features = self.features(reranker, rows, np.take_along_axis(self.items[rows], at, axis=1), by)
            picked = rerank.get(reranker)(scores, features, k=k, strength=strength)
            chosen[rows] = np.where(picked < 0, -1, np.take_along_axis(at, np.maximum(picked, 0), axis=1))
        return chosen


@dataclass(frozen=True)
class Measured:
    """What all users get under one blend and re-ranking, and what that is worth.

    Args:
        items: (n, k) internal ids, -1 behind the end; hits: (n, k) bool.
        per_user: (n,) values by name of metric, NaN = not defined for the user.
        totals: figures of all lists together.
    """

    source: Analytics = field(repr=False)
    blend: Blend
    k: int
    reranker: str
    strength: float
    items: NDArray[np.int64]
    hits: NDArray[np.bool_]
    per_user: Mapping[str, Floats]
    totals: Mapping[str, float]

    def mean(self, metric: str) -> float:
        """Of the users where it is defined, or the total."""
        if metric in self.totals:
            return self.totals[metric]
        values = self.per_user[metric]
        known = values[~np.isnan(values)]
        return float(known.mean()) if len(known) else float("nan")

    def frame(self) -> pd.DataFrame:
        """One row a metric: metric, mean, low, high (95% bootstrap over users), n, note. Formulas are in `metrics.METRICS`."""
        names = list(self.per_user)
        table = np.stack([self.per_user[name] for name in names], axis=1)
        found: dict[str, Any] = {
            n: {**i._asdict(), "note": ""} for n, i in zip(names, self.source.draws.intervals(table), strict=True)
        }
        nothing = {"low": np.nan, "high": np.nan, "n": len(self.items), "note": NO_INTERVAL}
        found |= {name: {"mean": value, **nothing} for name, value in self.totals.items()}
        return pd.DataFrame([{"metric": name, **found[name]} for name in metrics.METRICS if name in found])


def measure(
    source: Analytics | Run,
    blend: Blend | Mapping[str, float] | None = None,
    *,
    k: int,
    reranker: str = "",
    strength: float = 0.0,
    by: str = "",
) -> Measured:
    """Lists of all users of the store and their metrics.

    Args:
        source: an Analytics; of a Run one is made, which takes far longer than the measuring.
        blend: a blend, or weights by component that replace learned ones; None: as learned.
        k: length of the lists.
        reranker: a name in `rerank.RERANKERS`, or "" for none; it chooses among the 5 k best candidates.
        strength: of the re-ranker, 0-1; 0 leaves the lists as they are.
        by: what MMR and DPP take for likeness, "attributes" or "text"; "": attributes if there are any.

    Raises:
        UserError: k below 1, an unknown component or re-ranker, a strength outside 0-1, or a feature that the run lacks.
    """
    known = source if isinstance(source, Analytics) else Analytics.of(source)
    check_k(k)
    if by not in ("", "attributes", "text"):
        raise UserError(f"likeness must be by 'attributes' or 'text', not {by!r}")
    chosen = known.blend_of(blend)
    by = by or ("attributes" if "attributes" in known.inputs else "text")
    columns = known.columns(chosen, k, reranker, strength, by)
    at = np.maximum(columns, 0)
    items = np.where(columns < 0, -1, np.take_along_axis(known.items, at, axis=1))
    hits = np.take_along_axis(known.relevant, at, axis=1) & (columns >= 0)
    inputs = {**known.inputs, "lists": items, "hits": hits}
    values = {m.name: _value(m, inputs, known, at, hits) for m in metrics.available(inputs)}
    per_user = {name: value for name, value in values.items() if metrics.METRICS[name].per_user}
    totals = {name: float(value) for name, value in values.items() if name not in per_user}
    return Measured(known, chosen, k, reranker, strength, items, hits, per_user, totals)


def _value(
    metric: metrics.Metric, inputs: Mapping[str, Any], known: Analytics, at: NDArray[np.int64], hits: NDArray[np.bool_]
) -> Floats:
    """A metric of the lists; that of serendipity from the surprises, which were found once, by the metric itself."""
    if metric.name != "serendipity" or known.surprise is None:
        return metric(inputs)
    return np.asarray((np.take_along_axis(known.surprise, at, axis=1) * hits).sum(axis=1, dtype=np.float64) / hits.shape[1])


def _surprise(items: NDArray[np.int64], relevant: NDArray[np.bool_], inputs: Mapping[str, Any]) -> NDArray[np.float32]:
    """What each relevant candidate gives to serendipity: that of a list of it alone."""
    metric = metrics.METRICS["serendipity"]
    user, column = np.nonzero(relevant)
    some = np.ones(len(user), np.int64)
    alone = {
        "lists": items[user, column][:, None],
        "hits": some[:, None] > 0,
        "n_relevant": some,
        "history": inputs["history"][user],
    }
    surprise = np.zeros(items.shape, np.float32)
    surprise[user, column] = metric({**inputs, **alone})
    nothing = np.full((len(items), 1), -1)  # an empty list has no surprise, or none that is defined
    return np.asarray(surprise + metric({**inputs, "lists": nothing, "hits": nothing > 0})[:, None], dtype=np.float32)


def usable_rerankers(inputs: Mapping[str, Any]) -> list[str]:
    """Names of the re-rankers that need no more than there is: `inputs` may hold "attributes" and "vectors" of the items."""
    lacks = set() if "attributes" in inputs else {"mass"} if "vectors" in inputs else {"mass", "vectors"}
    return [name for name, known in rerank.RERANKERS.items() if not lacks & set(known.needs)]


def item_features(inputs: Mapping[str, Any]) -> dict[str, NDArray[np.float32]]:
    """What re-rankers know of the catalogue: popularity (n_items,), mass and unit vectors "attributes" and "text" (n_items, d),
    as far as there are any; of `inputs` as in `metrics.INPUTS`: counts, n_users, attributes, vectors."""
    made = {"popularity": np.log(inputs["counts"] + 1) / np.log(inputs["n_users"] + 1)}
    if "attributes" in inputs:
        attributes = np.asarray(inputs["attributes"], np.float64)
        made |= {"mass": attributes / np.maximum(attributes.sum(axis=1, keepdims=True), 1), "attributes": _unit(attributes)}
    if "vectors" in inputs:
        made["text"] = _unit(inputs["vectors"])
    return {name: value.astype(np.float32) for name, value in made.items()}


def attribute_shares(history: Any, mass: NDArray[np.float32]) -> Floats:
    """(n, attributes) shares of the attributes in each row of a sparse history (n, n_items); zero where there is none."""
    total = (history > 0).astype(np.float64) @ mass.astype(np.float64)
    return np.asarray(total / np.maximum(total.sum(axis=1, keepdims=True), 1e-12))


def _unit(rows: NDArray[Any]) -> Floats:
    """Rows to length 1; zero where a row is zero or unknown."""
    rows = np.nan_to_num(np.asarray(rows, np.float64))
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))


def _groups(history: Histories, counts: NDArray[np.int64], table: pd.DataFrame) -> dict[str, NDArray[np.object_]]:
    """Labels of the users: thirds by number of likes, thirds by the likes' mean popularity, and the columns of the user table."""
    n = history.lengths
    popularity = np.bincount(history.rows, counts[history.items], minlength=len(history)) / np.maximum(n, 1)
    thirds = {"activity": (n, ["low", "middle", "high"]), "popularity_affinity": (popularity, ["niche", "mixed", "popular"])}
    some = n > 0 if n.any() else n >= 0
    groups = {k: np.array(names, dtype=object)[terciles(v, some)] for k, (v, names) in thirds.items()}
    return groups | {str(name): _labels(table[name]) for name in table.columns if name not in groups}


def _labels(column: pd.Series[Any]) -> NDArray[np.object_]:
    """Values as text; numbers of many values as thirds, each named by its lowest and highest."""
    if not pd.api.types.is_numeric_dtype(column) or column.nunique() <= 10:
        return column.astype(str).to_numpy(dtype=object)
    values = column.to_numpy(np.float64)
    known = ~np.isnan(values)
    third = terciles(values, known)
    names = np.full(len(values), "nan", dtype=object)
    for t in range(3):
        inside = values[known & (third == t)]
        names[known & (third == t)] = f"{inside.min():g}-{inside.max():g}" if len(inside) else ""
    return names
