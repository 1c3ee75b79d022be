"""Re-rankers: scores and what is known of the candidates in, a new order of each row out; nothing here knows a recommender.

All pick greedily, at each rank the candidate with the most (1 - strength) * relevance + strength * bonus. A re-ranker is the
bonus: a generator whose parameters are named as in INPUTS, registered in RERANKERS by `@reranker`. It yields (rows, m) and is
sent the columns (rows,) that were picked.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recsys_core.errors import UserError, unknown

Floats = NDArray[Any]
Bonus = Generator[Floats, NDArray[np.int64], None]

ALPHA = 0.01  # Steck's smoothing, that of the metric: keeps the divergence finite where a list lacks an attribute
FLOOR = 1e-6  # of a candidate's share that is not spanned by the picked ones: what float32 similarities can tell from none

INPUTS = {
    "vectors": "float (rows, m, d): rows of length 1, so that products are cosines; a zero row is like nothing else",
    "popularity": "float (rows, m): 0-1",
    "mass": "float (rows, m, attributes): an item with g attributes has 1/g of each; a zero row means it has none",
    "target": "float (rows, attributes): shares of the attributes in the history; a zero or NaN row means there is none",
}
AXES = {"vectors": 3, "popularity": 2, "mass": 3, "target": 2}  # one less where all rows share the feature


@dataclass(frozen=True)
class Reranker:
    """One registered re-ranker; `needs` are names of INPUTS."""

    name: str
    label: str
    about: str
    formula: str
    source: str
    needs: tuple[str, ...]
    function: Callable[..., Bonus]

    def __call__(self, scores: ArrayLike, features: Mapping[str, Any], *, k: int, strength: float) -> NDArray[np.int64]:
        """(rows, k) columns of `scores`, best first; -1 where a row has no more.

        Args:
            scores: (m,) or (rows, m), higher is better; -inf or NaN = hidden, never picked. The relevance is these scaled to 0-1
                in each row, so that a strength means much the same to every user.
            features: INPUTS by name, those it needs; without the first axis where all rows share them.
            strength: 0-1; at 0 the order is `plain_order`.

        Raises UserError for a k, strength or feature that is not there.
        """
        if k < 1:
            raise UserError(f"k must be 1 or more, not {k}")
        if not 0 <= strength <= 1:
            raise UserError(f"re-rank strength must be from 0 to 1, not {strength}")
        if missing := [name for name in self.needs if name not in features]:
            raise UserError(f"re-ranker {self.name!r} needs {missing[0]} of the items, and there are none; choose another")
        table = np.atleast_2d(np.asarray(scores))
        order = plain_order(table, table.shape[1])  # column 0 is now the best, so the first of equal gains has the better score
        given = {name: _in_order(features[name], name, order) for name in self.needs}
        ranked = _scaled(np.take_along_axis(table, np.maximum(order, 0), axis=1), order >= 0)
        picked = _greedy(ranked, self.function(**given), k, strength)
        return np.where(picked < 0, -1, np.take_along_axis(order, np.maximum(picked, 0), axis=1))


RERANKERS: dict[str, Reranker] = {}


def reranker(label: str, formula: str, source: str) -> Callable[[Callable[..., Bonus]], Callable[..., Bonus]]:
    """Register a bonus as a re-ranker; these facts are also appended to its docstring, so they stand in one place."""

    def register(function: Callable[..., Bonus]) -> Callable[..., Bonus]:
        name, about = function.__name__, inspect.cleandoc(function.__doc__ or "")
        RERANKERS[name] = Reranker(name, label, about, formula, source, tuple(inspect.signature(function).parameters), function)
        function.__doc__ = f"{about}\n\n{formula}\n{source}."
        return function

    return register


def get(name: str) -> Reranker:
    """The re-ranker of a name. Raises UserError with the known names."""
    if name not in RERANKERS:
        raise unknown("re-ranker", name, RERANKERS)
    return RERANKERS[name]


def plain_order(scores: Floats, k: int) -> NDArray[np.int64]:
    """(rows, k) columns of the k largest scores (rows, m), best first; -1 where only -inf or NaN is left.

    Of equal scores the earlier column is first: who calls puts the columns in the order in which ties shall fall.
    """
    if np.isnan(scores).any():
        scores = np.where(np.isnan(scores), -np.inf, scores)
    m = scores.shape[1]
    kept = min(k, m)
    edge = np.partition(scores, m - kept, axis=1)[:, m - kept, None]
    best = scores >= edge
    tied = best.sum(axis=1) > kept
    columns = np.empty((len(scores), kept), np.int64)
    columns[~tied] = np.nonzero(best[~tied])[1].reshape(-1, kept)
    columns[tied] = np.argsort(-scores[tied], axis=1, kind="stable")[:, :kept]
    values = np.take_along_axis(scores, columns, axis=1)
    ranks = np.argsort(-values, axis=1, kind="stable")
    columns = np.where(np.isneginf(values), -1, columns)
    return np.pad(np.take_along_axis(columns, ranks, axis=1), ((0, 0), (0, k - kept)), constant_values=-1)


# The bonuses


@reranker(
    "MMR",
    "(1 - strength) * relevance - strength * max cosine to an item already in the list",
    "Carbonell & Goldstein 1998, lambda = 1 - strength",
)
def mmr(vectors: Floats) -> Bonus:
    """Maximal marginal relevance: no item that is much like one above it."""
    rows = np.arange(len(vectors))
    nearest = np.full(vectors.shape[:2], -np.inf, vectors.dtype)
    bonus = np.zeros_like(nearest)
    while True:
        picked = yield bonus
        nearest = np.maximum(nearest, _products(vectors, vectors[rows, picked]))
        bonus = -nearest


@reranker(
    "Calibration",
    f"(1 - strength) * sum of relevance - strength * KL(p || {1 - ALPHA:g} q + {ALPHA:g} p); p, q = attributes of history, list",
    "Steck 2018, eq. 5-7, greedy, lambda = strength",
)
def calibration(mass: Floats, target: Floats) -> Bonus:
    """The attributes of a list in the shares they have in the history; a row without a history keeps its order."""
    rows, p = np.arange(len(mass)), np.nan_to_num(target).astype(mass.dtype)
    tiny = np.finfo(mass.dtype).tiny
    own = (p * np.log(np.maximum(p, tiny))).sum(axis=1, keepdims=True)
    has: NDArray[np.bool_] = _products(mass, np.ones_like(p)) > 0  # a product is many times as fast as looking for any
    whole = p.sum(axis=1, keepdims=True)
    reached = np.empty_like(mass)
    total, n = np.zeros_like(p), np.zeros((len(p), 1), mass.dtype)  # mass of the picked, and how many have any
    while True:
        # KL with one item more: sum p log p - sum p log(mass of all + ALPHA (n + 1) p / (1 - ALPHA)) - log((1 - ALPHA) / (n + 1))
        np.add(mass, (total + ALPHA / (1 - ALPHA) * (n + 1) * p + tiny)[:, None], out=reached)
        more = _products(np.log(reached, out=reached), p) + whole * np.log((1 - ALPHA) / (n + 1))
        mixed = (1 - ALPHA) * total / np.maximum(n, 1) + ALPHA * p  # of an item without attributes: as the list is
        same = (p * np.log(np.maximum(mixed, tiny))).sum(axis=1, keepdims=True)
        picked = yield np.where(has, more, same) - own
        total = total + mass[rows, picked]
        n = n + has[rows, picked, None]


@reranker(
    "Popularity penalty",
    "(1 - strength) * relevance - strength * popularity",
    "linear mix as in Abdollahpouri, Burke & Mobasher 2019; with popularity log(count + 1) / log(n_users + 1), the complement of "
    "the self-information of Zhou et al. 2010 scaled to 0-1",
)
def popularity_penalty(popularity: Floats) -> Bonus:
    """Less of what everybody knows."""
    while True:
        yield -popularity


@reranker(
    "DPP",
    "(1 - strength) * sum of relevance + strength * log det of the list's cosines",
    "Chen, Zhang & Zhou 2018, fast greedy MAP (algorithm 1), theta = 1 - strength",
)
def dpp(vectors: Floats) -> Bonus:
    """Determinantal point process: a list that spans a large volume. What the picked ones span already gains log(1e-6) and is
    ordered by relevance, where Chen et al. would stop."""
    rows = np.arange(len(vectors))
    residual = np.ones(vectors.shape[:2])  # squared part of each vector outside the span of the picked ones
    basis: list[Floats] = []  # the rows of the Cholesky factor, each (rows, m)
    while True:
        picked = yield np.log(np.maximum(residual, FLOOR))
        left = residual[rows, picked]
        outside = _products(vectors, vectors[rows, picked]).astype(np.float64)
        outside[rows, picked] = 1  # of an item without a vector too
        for e in basis:
            outside -= e * e[rows, picked, None]
        basis.append(np.where(left > FLOOR, 1 / np.sqrt(np.maximum(left, FLOOR)), 0)[:, None] * outside)
        residual = residual - basis[-1] ** 2


# Helpers


def _greedy(relevance: Floats, bonuses: Bonus, k: int, strength: float) -> NDArray[np.int64]:
    """(rows, k) picked columns of `relevance` (rows, m), where -inf cannot be picked; -1 where a row has no more."""
    rows = np.arange(len(relevance))
    n_there = np.isfinite(relevance).sum(axis=1)
    open_, gain_of_relevance = np.isfinite(relevance), (1 - strength) * np.where(np.isfinite(relevance), relevance, 0)
    picked = np.full((len(relevance), k), -1)
    bonus = next(bonuses)
    for rank in range(min(k, relevance.shape[1])):
        best = np.where(open_, gain_of_relevance + strength * bonus, -np.inf).argmax(axis=1)
        picked[:, rank] = np.where(rank < n_there, best, -1)
        open_[rows, best] = False
        if rank + 1 < k:
            bonus = bonuses.send(best)
    return picked


def _scaled(scores: Floats, there: NDArray[np.bool_]) -> Floats:
    """Scores to 0-1 in each row, -inf where nothing is; equal scores are all 0."""
    low = np.where(there, scores, np.inf).min(axis=1, initial=np.inf, keepdims=True)
    high = np.where(there, scores, -np.inf).max(axis=1, initial=-np.inf, keepdims=True)
    spread = np.where(high > low, high - low, 1)
    return np.where(there, (np.where(there, scores, 0) - np.where(there, low, 0)) / spread, -np.inf)


def _in_order(feature: Any, name: str, order: NDArray[np.int64]) -> Floats:
    """A feature for every row, its candidates in the order given."""
    value = np.asarray(feature)
    value = value[None] if value.ndim < AXES[name] else value
    value = np.broadcast_to(value, (len(order), *value.shape[1:]))
    if name == "target":
        return value
    at = np.maximum(order, 0)
    if (at == np.arange(at.shape[1])).all():  # in order already; text vectors are large
        return value
    return np.take_along_axis(value, at.reshape(*at.shape, *[1] * (value.ndim - 2)), axis=1)


def _products(table: Floats, vectors: Floats) -> Floats:
    """(rows, m) of table (rows, m, d) times vectors (rows, d)."""
    return np.asarray((table @ vectors[:, :, None])[:, :, 0])
