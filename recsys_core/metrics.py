"""Ranking metrics, their intervals and their tests, from arrays alone; nothing here knows what a recommender is.

A metric is a function whose parameters are named as in INPUTS, registered in METRICS by `@metric`. It returns a vector,
one value a user, or one number for the whole catalogue; NaN means "not defined here", never zero.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

Floats = NDArray[np.float64]
Direction = Literal["higher", "lower", "neither"]
Function = TypeVar("Function", bound=Callable[..., Any])

INPUTS = {
    "hits": "bool (n_users, k): is the item at this rank relevant; a shorter list is padded with False",
    "n_relevant": "int (n_users,): all relevant items of the user, in the list or not; 0 makes the result NaN",
    "ranks": "float (n,): 1-based full-catalogue ranks of all relevant items, user after user; pass mid-ranks for ties",
    "rank_rows": "int (n,): the user (row) of each of `ranks`",
    "n_candidates": "int (n_users,): how many items were ranked for the user",
    "lists": "int (n_users, k): item at each rank, no item twice; a shorter list is padded with -1",
    "n_items": "int: size of the whole catalogue",
    "counts": "int (n_items,): how many training users have met the item",
    "n_users": "int: training users, which need not be the rows of `lists`",
    "history": "csr_array (n_users, n_items): stored entries are the user's past items",
    "vectors": "float (n_items, d): content vectors; a zero or NaN row means the item has none",
    "attributes": "0/1 (n_items, n_attributes): genres or the like; a zero row means the item has none",
}


@dataclass(frozen=True)
class Metric:
    """One registered metric. `needs` are names of INPUTS; `low` and `high` bound its values (inf: no bound)."""

    name: str
    label: str
    about: str
    formula: str
    low: float
    high: float
    direction: Direction  # of what is better
    source: str
    needs: tuple[str, ...]
    per_user: bool  # False: one number for all lists together
    function: Callable[..., Any]

    def __call__(self, inputs: Mapping[str, Any]) -> Floats:
        """(n_users,) or (); takes what it needs out of `inputs`."""
        return np.asarray(self.function(**{name: inputs[name] for name in self.needs}), dtype=np.float64)


METRICS: dict[str, Metric] = {}


def metric(
    label: str,
    formula: str,
    source: str,
    *,
    low: float = 0.0,
    high: float = 1.0,
    direction: Direction = "higher",
    per_user: bool = True,
) -> Callable[[Function], Function]:
    """Register a function as a metric; these facts are also appended to its docstring, so they stand in one place."""

    def register(function: Function) -> Function:
        name, about = function.__name__, inspect.cleandoc(function.__doc__ or "")
        needs = tuple(inspect.signature(function).parameters)
        facts = (name, label, about, formula, low, high, direction, source, needs, per_user, function)
        METRICS[name] = Metric(*facts)
        better = "neither end is better" if direction == "neither" else f"{direction} is better"
        function.__doc__ = f"{about}\n\n{formula}\nRange {low:g} to {high:g}, {better}. {source}."
        return function

    return register


def available(inputs: Mapping[str, Any]) -> list[Metric]:
    """The metrics that can be computed from what is there, in the order of METRICS."""
    return [m for m in METRICS.values() if inputs.keys() >= set(m.needs)]


# Accuracy: how high do the relevant items stand?


@metric(
    "NDCG",
    "sum_r hit_r / log2(r + 1), divided by the same for min(k, n_relevant) hits in front",
    "Järvelin & Kekäläinen 2002, with the discount log2(r + 1) of Burges et al. 2005",
)
def ndcg(hits: NDArray[np.bool_], n_relevant: NDArray[Any]) -> Floats:
    """Hits weighted by how high they stand, against the best list possible (binary gain)."""
    discount = 1 / np.log2(np.arange(2, hits.shape[1] + 2))
    ideal = np.concatenate([[0], np.cumsum(discount)])[np.minimum(n_relevant, hits.shape[1])]
    return _ratio(hits @ discount, ideal)


@metric("Precision", "hits / k", "Herlocker et al. 2004")
def precision(hits: NDArray[np.bool_], n_relevant: NDArray[Any]) -> Floats:
    """Share of the k ranks that hold a relevant item; an empty rank is a miss."""
    return _ratio(hits.sum(axis=1), np.where(n_relevant > 0, hits.shape[1], 0))


@metric("Recall", "hits / n_relevant", "Herlocker et al. 2004")
def recall(hits: NDArray[np.bool_], n_relevant: NDArray[Any]) -> Floats:
    """Share of the user's relevant items that are in the list; at most k / n_relevant."""
    return _ratio(hits.sum(axis=1), n_relevant)


@metric("MRR", "1 / rank of the first hit, 0 without one", "Voorhees 1999")
def mrr(hits: NDArray[np.bool_], n_relevant: NDArray[Any]) -> Floats:
    """Reciprocal rank of the first relevant item."""
    return _ratio(hits.any(axis=1) / (hits.argmax(axis=1) + 1), n_relevant > 0)


@metric("Hit rate", "1 if hits > 0, else 0", "Deshpande & Karypis 2004")
def hit_rate(hits: NDArray[np.bool_], n_relevant: NDArray[Any]) -> Floats:
    """Does the list hold any relevant item?"""
    return _ratio(hits.any(axis=1), n_relevant > 0)


@metric("MAP", "sum_r hit_r * precision at r, divided by min(k, n_relevant)", "Buckley & Voorhees 2000, cut at k")
def average_precision(hits: NDArray[np.bool_], n_relevant: NDArray[Any]) -> Floats:
    """Mean of the precision at each hit; the divisor min(k, n_relevant) lets a perfect list reach 1 (others use n_relevant)."""
    at = np.cumsum(hits, axis=1) / np.arange(1, hits.shape[1] + 1)
    return _ratio((at * hits).sum(axis=1), np.minimum(n_relevant, hits.shape[1]))


@metric("AUC", "1 - (sum of ranks - R (R + 1) / 2) / (R (N - R)), R relevant of N ranked", "Hanley & McNeil 1982")
def auc(ranks: NDArray[Any], rank_rows: NDArray[Any], n_candidates: NDArray[Any]) -> Floats:
    """Chance that a relevant item stands above an irrelevant one, over the full ranking; mid-ranks count a tie as half."""
    n_relevant = np.bincount(rank_rows, minlength=len(n_candidates))
    above = np.bincount(rank_rows, weights=ranks, minlength=len(n_candidates)) - n_relevant * (n_relevant + 1) / 2
    return 1 - _ratio(above, n_relevant * (np.asarray(n_candidates) - n_relevant))


# Beyond accuracy: what do the lists do to users and to the catalogue?


@metric("Coverage", "items in any list / n_items", "Herlocker et al. 2004", per_user=False)
def coverage(lists: NDArray[Any], n_items: int) -> float:
    """Share of the whole catalogue that is shown to anybody."""
    return float((_exposure(lists, n_items) > 0).mean())


@metric(
    "Gini",
    "sum_i (2 i - n - 1) x_i / (n sum x), exposures x sorted upwards",
    "Fleder & Hosanagar 2009",
    direction="lower",
    per_user=False,
)
def gini(lists: NDArray[Any], n_items: int) -> float:
    """Inequality of exposure over the whole catalogue, never-shown items included: 0 = all items equally often."""
    x = np.sort(_exposure(lists, n_items))
    weight = 2 * np.arange(1, n_items + 1) - n_items - 1
    return float(_ratio(weight @ x, n_items * x.sum()))


@metric("Novelty", "mean of -log2((counts + 1) / (n_users + 1)), bits", "Zhou et al. 2010, add-one", high=math.inf)
def novelty(lists: NDArray[Any], counts: NDArray[Any], n_users: int) -> Floats:
    """Mean self-information: how surprising it would be that a random user has met the item."""
    return _mean(_members(lists, len(counts)), -np.log2((counts + 1) / (n_users + 1)))


@metric("Diversity (content)", "1 - mean cosine over pairs of the list", "Ziegler et al. 2005", high=2.0)
def intra_list_diversity(lists: NDArray[Any], vectors: NDArray[Any]) -> Floats:
    """How unlike each other the items of a list are; items without a vector are left out, NaN under two items.

    Evidently divides the sum over pairs by the list's length: this times (length - 1) / 2.
    """
    unit, known = _unit(vectors)
    members = _members(lists, len(vectors))
    n = members @ known.astype(float)
    square = np.zeros(len(lists))  # |sum of unit vectors|^2 = n + 2 * sum of pairwise cosines
    for rows in _blocks(len(lists), unit.shape[1]):
        square[rows] = ((members[rows] @ unit) ** 2).sum(axis=1)
    return 1 - _ratio(square - n, n * (n - 1))


@metric("Diversity (attributes)", "1 - mean cosine over pairs of the list, 0/1 attribute vectors", "Ziegler et al. 2005")
def attribute_diversity(lists: NDArray[Any], attributes: NDArray[Any]) -> Floats:
    """As `intra_list_diversity`, for genres or the like: 1 = no two items share an attribute."""
    return intra_list_diversity(lists, attributes)


@metric("Personalisation", "1 - mean over other users of shared items / own list length", "Zhou et al. 2010, per user")
def personalisation(lists: NDArray[Any], n_items: int) -> Floats:
    """How little of a user's list the other users get; from item counts, not from pairs of users.

    One user's value depends on all lists, so an interval over users takes the others as given.
    """
    others = int((lists >= 0).any(axis=1).sum()) - 1
    shown = _mean(_members(lists, n_items), _exposure(lists, n_items).astype(float))
    return 1 - _ratio(shown - 1, np.full(len(lists), others))


@metric(
    "Popularity lift",
    "mean counts in the list / mean counts in the history - 1",
    "Abdollahpouri et al. 2019",
    low=-1.0,
    high=math.inf,
    direction="neither",
)
def popularity_lift(lists: NDArray[Any], counts: NDArray[Any], history: csr_array) -> Floats:
    """Are the list's items more popular (above 0) or less (below 0) than what the user chose alone?"""
    return _ratio(_mean(_members(lists, len(counts)), counts), _mean(_pattern(history), counts)) - 1


@metric("Long-tail share", "tail items in the list / list length", "Abdollahpouri et al. 2017 (APLT)")
def long_tail_share(lists: NDArray[Any], counts: NDArray[Any]) -> Floats:
    """Share of items outside the head: the fewest items that hold 80% of the interactions, and all as popular as its last."""
    ordered = np.sort(counts)[::-1]
    held = np.cumsum(ordered)
    smallest = ordered[np.searchsorted(held, 0.8 * held[-1])]  # count of the head's least popular item
    return _mean(_members(lists, len(counts)), (counts < smallest).astype(float))


ALPHA = 0.01  # Steck's smoothing: keeps the divergence finite where the list lacks an attribute of the history


@metric(
    "Miscalibration",
    f"KL(p || {1 - ALPHA:g} q + {ALPHA:g} p) in nats; p, q = attribute mix of history and list",
    "Steck 2018, eq. 5-6",
    high=-math.log(ALPHA),
    direction="lower",
)
def calibration_kl(lists: NDArray[Any], history: csr_array, attributes: NDArray[Any]) -> Floats:
    """How far the list's attribute mix is from the history's; an item with g attributes gives each 1/g of its mass."""
    per_item = attributes.sum(axis=1, keepdims=True)
    mass = attributes / np.maximum(per_item, 1)  # (n_items, n_attributes)
    members, past = _members(lists, len(attributes)), _pattern(history)
    result = np.full(len(lists), np.nan)
    for rows in _blocks(len(lists), attributes.shape[1]):
        p, q = (_ratio(m, m.sum(axis=1, keepdims=True)) for m in (past[rows] @ mass, members[rows] @ mass))
        mixed = (1 - ALPHA) * q + ALPHA * p
        terms = p * np.log(np.where(p > 0, p, 1) / np.where(p > 0, mixed, 1))  # 0 log 0 = 0
        result[rows] = np.where(np.isnan(mixed).any(axis=1), np.nan, terms.sum(axis=1))
    return result


@metric(
    "Serendipity",
    "sum_r hit_r * (1 - max cosine to a past item) / k",
    "relevant and unlike the history; after Ge et al. 2010",
    high=2.0,
)
def serendipity(
    lists: NDArray[Any], hits: NDArray[np.bool_], n_relevant: NDArray[Any], history: csr_array, vectors: NDArray[Any]
) -> Floats:
    """Relevant items that are unlike everything in the history (one of several definitions; not comparable across libraries).

    A hit without a vector counts 0; a user without relevant items, or without a past item that has a vector, is NaN.
    """
    unit, known = _unit(vectors)
    result = np.full(len(lists), np.nan)
    for user in np.flatnonzero(n_relevant > 0):
        past = history.indices[history.indptr[user] : history.indptr[user + 1]]
        past, found = past[known[past]], lists[user][hits[user]]
        found = found[known[found]]
        if len(past):
            nearest = (unit[found] @ unit[past].T).max(axis=1)  # (n_found,)
            result[user] = (1 - nearest).sum() / lists.shape[1]
    return result


# Intervals and tests

EXACT = 5_000  # values up to which we resample; above it the same distribution by its expansion


class Interval(NamedTuple):
    """Mean and interval of the n values that are not NaN; `low` and `high` are NaN under two values."""

    mean: float
    low: float
    high: float
    n: int


class Difference(NamedTuple):
    """Mean of a - b with its interval over the n users where both are defined, and the two-sided p that it is 0."""

    mean: float
    low: float
    high: float
    n: int
    p: float

    def told(self, what: str) -> str:
        """One line: the difference with its interval, and whether it is shown.

        >>> Difference(0.01, -0.01, 0.03, 90, 0.4).told("a - b")
        'a - b: +0.0100 [-0.0100, +0.0300], n = 90: no difference is shown (zero is in the interval)'
        """
        figures = f"{what}: {self.mean:+.4f} [{self.low:+.4f}, {self.high:+.4f}], n = {self.n:,}"
        if self.low > 0 or self.high < 0:
            return f"{figures}: {'better' if self.low > 0 else 'worse'}, zero is outside the interval"
        return f"{figures}: no difference is shown (zero is in the interval)"


def bootstrap_interval(values: ArrayLike, rng: np.random.Generator, level: float = 0.95, n: int = 2000) -> Interval:
    """Percentile bootstrap of the mean over users (Efron 1979); NaN values are left out and show in `n`.

    Above 5,000 values the bootstrap's quantiles come from their Cornish-Fisher expansion, mean + se (z + skew (z^2 - 1) / 6),
    with skew that of the mean: no draws, the same quantiles to order 1/n, also for rare hits, where a plain normal is wrong.
    """
    x = np.ravel(np.asarray(values, dtype=np.float64))
    x = x[~np.isnan(x)]
    if len(x) < 2:
        return Interval(float(x[0]) if len(x) else math.nan, math.nan, math.nan, len(x))
    mean, tail = float(x.mean()), (1 - level) / 2
    if len(x) > EXACT:
        z, se = NormalDist().inv_cdf(1 - tail), float(x.std()) / math.sqrt(len(x))
        skew = float(((x - mean) ** 3).mean()) / (len(x) ** 2 * se**3) if se else 0.0
        low, high = (mean + se * (side * z + skew * (z * z - 1) / 6) for side in (-1, 1))
    else:
        means = np.empty(n)
        for rows in _blocks(n, len(x)):
            means[rows] = x[rng.integers(0, len(x), (rows.stop - rows.start, len(x)))].mean(axis=1)
        low, high = (float(q) for q in np.quantile(means, [tail, 1 - tail]))
    return Interval(mean, low, high, len(x))


def paired_difference(a: ArrayLike, b: ArrayLike, rng: np.random.Generator, level: float = 0.95, n: int = 10_000) -> Difference:
    """Compare two models user by user: interval of the mean of a - b, and a sign-flip permutation test (Fisher 1935).

    p = (1 + draws at least as extreme) / (1 + n), so it is never 0. Users without a difference cannot flip; above 5,000 users
    that can, the flips' sum is taken as normal.
    """
    d = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    d = d[~np.isnan(d)]
    mean, low, high, size = bootstrap_interval(d, rng, level)
    d = d[d != 0]
    total = abs(d.sum())
    if not size or not len(d):
        p = 1.0 if size else math.nan
    elif len(d) > EXACT:
        p = math.erfc(total / math.sqrt(2 * (d @ d)))
    else:
        extreme = 0
        for rows in _blocks(n, len(d)):
            flips = rng.integers(0, 2, (rows.stop - rows.start, len(d)), dtype=np.int8)
            extreme += int(
                (np.abs(2 * (flips @ d) - d.sum()) >= total * (1 - 1e-9)).sum()
            )  # a rounding error is not less extreme
        p = (1 + extreme) / (1 + n)
    return Difference(mean, low, high, size, p)


def holm(p_values: ArrayLike) -> Floats:
    """p values adjusted for having made several tests (Holm 1979); NaN is no test and stays NaN.

    >>> holm([0.01, 0.04, 0.03])
    array([0.03, 0.06, 0.06])
    """
    p = np.array(p_values, dtype=np.float64)
    order = np.argsort(p)[: (~np.isnan(p)).sum()]  # NaN sorts last
    p[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)))
    return p


@dataclass(frozen=True)
class Reliability:
    """Does a stated probability come true? `table`: probability, outcome (both means, 0-1) and n of each bin."""

    table: pd.DataFrame
    ece: float  # expected calibration error: mean over events of |probability - outcome| of their bin; 0-1, lower is better
    brier: float  # mean of (probability - outcome)^2; 0-1, lower is better


def reliability(probability: ArrayLike, outcome: ArrayLike, bins: int = 10) -> Reliability:
    """Bins of equal mass (Nguyen & O'Connor 2015), ECE (Naeini et al. 2015) and Brier score (1950).

    Equal probabilities share a bin, so there may be fewer bins, and of unequal mass.
    """
    p, y = np.asarray(probability, dtype=np.float64), np.asarray(outcome, dtype=np.float64)
    known = ~(np.isnan(p) | np.isnan(y))
    p, y = p[known], y[known]
    if not len(p):
        return Reliability(pd.DataFrame({"probability": [], "outcome": [], "n": []}), math.nan, math.nan)
    inner = np.quantile(p, np.arange(1, bins) / bins, method="higher")
    _, place = np.unique(np.searchsorted(inner, p, side="right"), return_inverse=True)
    n = np.bincount(place)
    mean_p, mean_y = np.bincount(place, p) / n, np.bincount(place, y) / n
    table = pd.DataFrame({"probability": mean_p, "outcome": mean_y, "n": n})
    return Reliability(table, float(n @ np.abs(mean_p - mean_y) / len(p)), float(((p - y) ** 2).mean()))


# Helpers


def _ratio(a: ArrayLike, b: ArrayLike) -> Floats:
    """a / b, NaN where b is 0 or less or unknown."""
    a, b = np.broadcast_arrays(np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64))
    result: Floats = np.full(a.shape, np.nan)
    np.divide(a, b, out=result, where=b > 0)
    return result


def _blocks(n: int, width: int) -> Iterator[slice]:
    """Slices over n rows of `width` numbers, about 4 million numbers (32 MB) each, so that memory does not grow with n."""
    step = max(1, 2**22 // max(1, width))
    return (slice(start, min(start + step, n)) for start in range(0, n, step))


def _exposure(lists: NDArray[Any], n_items: int) -> NDArray[np.int64]:
    return np.bincount(lists[lists >= 0], minlength=n_items)


def _members(lists: NDArray[Any], n_items: int) -> csr_array:
    """Lists as a 0/1 matrix (n_users, n_items)."""
    filled = lists >= 0
    indptr = np.concatenate([[0], np.cumsum(filled.sum(axis=1))])
    return csr_array((np.ones(indptr[-1]), lists[filled], indptr), shape=(len(lists), n_items))


def _pattern(matrix: csr_array) -> csr_array:
    """The stored entries as ones."""
    return csr_array((np.ones(len(matrix.indices)), matrix.indices, matrix.indptr), shape=matrix.shape)


def _mean(members: csr_array, per_item: NDArray[Any]) -> Floats:
    """(n_users,) mean of an item's value over each row's items, NaN over none."""
    return _ratio(members @ per_item, np.diff(members.indptr))


def _unit(vectors: NDArray[Any]) -> tuple[Floats, NDArray[np.bool_]]:
    """Rows scaled to length 1 (zero where there is no vector), and which rows have one."""
    v = np.asarray(vectors, dtype=np.float64)
    norm = np.linalg.norm(v, axis=1)
    known = norm > 0  # False for NaN
    return np.where(known[:, None], v, 0) / np.where(known, norm, 1)[:, None], known
