"""Whom lists serve and what they hide: where the places go, whose taste is kept, and which groups fare worse.

In: a `Measured`, and the catalogue as a `Mass`. Out: frames of shares, bins, and means by group with intervals. Everything here
follows a moved weight within milliseconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from recsys_core.analytics import Analytics, Measured
from recsys_core.data import Catalog
from recsys_core.errors import unknown
from recsys_core.metrics import METRICS
from recsys_core.tradeoffs import DIVERSITY

Floats = NDArray[np.float64]
SMALLEST = 20  # users of a group with a defined value; a figure of fewer would move with every one of them
MOST_VALUES = 20  # of a column of the user table that is shown as groups
COLD = 5  # training likes; users with fewer are nearly new
KNOWN = "known"  # the group by number of training likes: "new" or "known"
FAME = "fame"  # not an attribute: items by how often they were liked in training
NOTHING = ""  # stands for an item without a value
ORDER = ("low", "middle", "high", "niche", "mixed", "popular", "new", "known")  # of groups that have one
METRICS_OF_GROUPS = ("ndcg", "recall", *DIVERSITY, "popularity_lift", "calibration_kl")


# The long tail


def long_tail(measured: Measured) -> pd.DataFrame:
    """Lorenz curves over the whole catalogue: catalogue, likes, exposure, cumulative shares from (0, 0, 0) to (1, 1, 1).

    Items are sorted by training likes, the least liked first; equally liked ones make one straight piece, so that no order
    among them is made up. `likes`: share of the training likes that the items hold; `exposure`: of the places in all lists. After
    Lorenz 1905; the second is a concentration curve (Kakwani 1977), since its items are sorted by something else.
    """
    counts = np.asarray(measured.source.inputs["counts"], np.float64)
    shown = np.bincount(measured.items[measured.items >= 0], minlength=len(counts)).astype(np.float64)
    size, likes = _curve(counts, counts)
    _, exposure = _curve(shown, counts)
    return pd.DataFrame({"catalogue": size, "likes": likes, "exposure": exposure})


def _curve(values: Floats, by: Floats) -> tuple[Floats, Floats]:
    """Cumulative shares of items and of `values`, items sorted upwards by `by`, one point for all that are equal."""
    _, place = np.unique(by, return_inverse=True)
    n, total = np.bincount(place), np.bincount(place, values)
    shares = [np.concatenate([[0.0], np.cumsum(part) / whole]) for part, whole in ((n, n.sum()), (total, total.sum() or np.nan))]
    return shares[0], shares[1]


def concentration(values: ArrayLike, by: ArrayLike | None = None) -> float:
    """1 - twice the area under the Lorenz curve of `values`, items sorted by `by`: 0 = even, towards 1 = all with the last.

    Without `by` that is the Gini coefficient; with it the concentration index (Kakwani 1977, -1 to 1): how far what is
    large in `by` holds what there is of `values`. NaN where there is nothing to share.

    >>> concentration([1, 1, 1]), concentration([0, 0, 3]), concentration([0, 0, 3], [3, 2, 1])
    (0.0, 0.6666666666666666, -0.6666666666666667)
    """
    x = np.asarray(values, np.float64)
    size, share = _curve(x, x if by is None else np.asarray(by, np.float64))
    return float(1 - (np.diff(size) * (share[1:] + share[:-1])).sum())


@dataclass(frozen=True)
class Tail:
    """The long tail in five figures: shares of likes and of places that the most liked `part` of the catalogue holds, the
    Gini of the likes and of the exposure, and the concentration of exposure on what is liked."""

    part: float
    likes: float
    exposure: float
    gini_likes: float
    gini_exposure: float
    concentration: float


def tail(measured: Measured, curve: pd.DataFrame, part: float = 0.1) -> Tail:
    """Of `long_tail`; a share inside a straight piece is read off that piece."""
    counts = measured.source.inputs["counts"]
    shown = np.bincount(measured.items[measured.items >= 0], minlength=len(counts))
    held = [1 - float(np.interp(1 - part, curve["catalogue"], curve[name])) for name in ("likes", "exposure")]
    return Tail(part, held[0], held[1], concentration(counts), concentration(shown), concentration(shown, counts))


# What lists are made of


@dataclass(frozen=True)
class Mass:
    """An attribute of the items: `share` (n_items, values), rows sum to 1: each of g values gets 1/g (Steck 2018)."""

    name: str
    values: tuple[str, ...]
    share: csr_array

    @classmethod
    def of(cls, catalog: Catalog, attribute: str) -> Mass:
        """Of an attribute of the catalogue; items without a value are of the value "". Raises UserError for an unknown one."""
        if attribute not in catalog.attributes:
            raise unknown("attribute", attribute, catalog.attributes)
        found = catalog.indicator(attribute)
        n = np.asarray(found.sum(axis=1)).ravel()
        names = sorted({str(v) for row in catalog.frame[attribute] for v in row})
        bare = np.flatnonzero(n == 0)
        some = found.tocoo()
        rows, columns = np.concatenate([some.row, bare]), np.concatenate([some.col, np.full(len(bare), len(names))])
        data = 1 / np.maximum(n, 1)[rows]
        values = (*names, NOTHING) if len(bare) else tuple(names)
        return cls(attribute, values, csr_array((data, (rows, columns)), shape=(len(catalog), len(values))))

    @classmethod
    def fame(cls, counts: ArrayLike) -> Mass:
        """Items by their training likes: "head", the fewest that hold 80% of the likes and all liked as often as its last;
        "tail", the others; "cold", those that nobody has liked."""
        n = np.asarray(counts)
        ordered = np.sort(n)[::-1]
        held = np.cumsum(ordered)
        least = ordered[np.searchsorted(held, 0.8 * held[-1])] if len(n) and held[-1] else 1
        kind = np.where(n == 0, 2, np.where(n >= least, 0, 1))
        rows = np.arange(len(n))
        return cls(FAME, ("head", "tail", "cold"), csr_array((np.ones(len(n)), (rows, kind)), shape=(len(n), 3)))


def exposure(measured: Measured, mass: Mass) -> pd.DataFrame:
    """Shares of each value: value, catalogue, histories, lists, ratio (lists / histories, NaN if no history has it), n (items
    with the value). Each column of shares sums to 1; the most in histories first."""
    source = measured.source
    shown = np.bincount(measured.items[measured.items >= 0], minlength=len(source.inputs["counts"]))
    past = np.bincount(source.inputs["history"].indices, minlength=len(shown))
    parts = {"catalogue": np.ones(len(shown)), "histories": past.astype(np.float64), "lists": shown.astype(np.float64)}
    shares = {name: _shares(weight @ mass.share) for name, weight in parts.items()}
    ratio = np.divide(shares["lists"], shares["histories"], out=np.full(len(mass.values), np.nan), where=shares["histories"] > 0)
    n = np.bincount(mass.share.tocoo().col, minlength=len(mass.values))
    frame = pd.DataFrame({"value": mass.values, **shares, "ratio": ratio, "n": n})
    return frame.sort_values("histories", ascending=False, kind="stable", ignore_index=True)


def mixes(measured: Measured, mass: Mass, users: NDArray[np.int64] | None = None) -> pd.DataFrame:
    """Steck's p and q of each value, mean over users: value, history, lists; the most in histories first.

    Args:
        users: rows of the store; None: all. Users without a past item or without a list with a value are left out.
    """
    rows = np.arange(len(measured.items)) if users is None else np.asarray(users)
    inside = csr_array(mass.share[:, [n for n, v in enumerate(mass.values) if v != NOTHING]])
    past = (measured.source.inputs["history"][rows] > 0).astype(np.float64) @ inside
    lists = _members(measured.items[rows], len(measured.source.inputs["counts"])) @ inside
    p, q = (_rows_to_one(m.toarray()) for m in (past, lists))
    known = ~(np.isnan(p).any(axis=1) | np.isnan(q).any(axis=1))
    means = [m[known].mean(axis=0) if known.any() else np.full(m.shape[1], np.nan) for m in (p, q)]
    frame = pd.DataFrame({"value": [v for v in mass.values if v != NOTHING], "history": means[0], "lists": means[1]})
    return frame.sort_values("history", ascending=False, kind="stable", ignore_index=True)


def least_served(measured: Measured, metric: str = "calibration_kl", n: int = 10) -> pd.DataFrame:
    """The n users for whom a metric is worst: row (in the store), user_id, value. Nothing if the run has no such metric."""
    values = measured.per_user.get(metric, np.full(len(measured.items), np.nan))
    key = values if METRICS[metric].direction != "lower" else -values
    order = np.argsort(np.where(np.isnan(key), np.inf, key), kind="stable")[: min(n, int((~np.isnan(values)).sum()))]
    return pd.DataFrame({"row": order, "user_id": measured.source.user_ids[order], "value": values[order]})


@dataclass(frozen=True)
class More:
    """Popularity lift over users: `share` of them whose list is more popular than their history, mean, median, and n."""

    share: float
    mean: float
    median: float
    n: int


def more_popular(measured: Measured) -> More:
    """Of the users for whom it is defined; NaN if of nobody."""
    values = measured.per_user["popularity_lift"]
    known = values[~np.isnan(values)]
    if not len(known):
        return More(math.nan, math.nan, math.nan, 0)
    return More(float((known > 0).mean()), float(known.mean()), float(np.median(known)), len(known))


def histogram(values: Floats, bins: int = 30, top: float = 0.99) -> pd.DataFrame:
    """Users by a metric: low, high, n. The last bin holds all above the quantile `top`: few shall not squeeze the rest."""
    known = values[~np.isnan(values)]
    if not len(known):
        return pd.DataFrame({"low": [], "high": [], "n": []})
    end = float(np.quantile(known, top))
    n, edges = np.histogram(np.minimum(known, end), bins=bins)
    return pd.DataFrame({"low": edges[:-1], "high": edges[1:], "n": n})


def _shares(total: Floats) -> Floats:
    return np.asarray(total / (total.sum() or np.nan))


def _rows_to_one(rows: Floats) -> Floats:
    total = rows.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(rows, total, out=np.full(rows.shape, np.nan), where=total > 0))


def _members(lists: NDArray[np.int64], n_items: int) -> csr_array:
    filled = lists >= 0
    indptr = np.concatenate([[0], np.cumsum(filled.sum(axis=1))])
    return csr_array((np.ones(indptr[-1]), lists[filled], indptr), shape=(len(lists), n_items))


# Groups of users


def groupings(source: Analytics) -> dict[str, NDArray[np.object_]]:
    """By name a label of each user: those of the Analytics, and "known" (fewer than COLD training likes = "new").

    A column of more than MOST_VALUES values is left out, unless those of SMALLEST users or more are at least 2 and at most
    MOST_VALUES: the others are too small to say anything about.
    """
    likes = np.diff(source.inputs["history"].indptr)
    own = {name: labels for name, labels in source.groups.items() if _fits(labels)}
    first = {name: own.pop(name) for name in ("activity", "popularity_affinity") if name in own}
    return first | {KNOWN: np.where(likes < COLD, "new", "known").astype(object)} | own


def _fits(labels: NDArray[np.object_]) -> bool:
    n = np.unique(labels.astype(str), return_counts=True)[1]
    return len(n) <= MOST_VALUES or 2 <= (n >= SMALLEST).sum() <= MOST_VALUES


def shown_metrics(measured: Measured) -> list[str]:
    """Metrics of METRICS_OF_GROUPS that the run allows, with one kind of diversity."""
    diversity = next((name for name in DIVERSITY if name in measured.per_user), None)
    return [m for m in METRICS_OF_GROUPS if m in measured.per_user and (m not in DIVERSITY or m == diversity)]


def segments(measured: Measured, labels: NDArray[np.object_]) -> pd.DataFrame:
    """Means by group: group, users, metric, mean, low, high (95% bootstrap over users), n (users with a defined value), small.

    Where n is under SMALLEST the figures are NaN and `small` is True. Groups in the order of
    ORDER, then of their labels.
    """
    names, rows = shown_metrics(measured), []
    if not names:
        return pd.DataFrame(columns=["group", "users", "metric", "mean", "low", "high", "n", "small"])
    table = np.stack([measured.per_user[name] for name in names], axis=1)
    for group in sorted(set(labels.tolist()), key=_place):
        users = np.flatnonzero(labels == group)
        for name, found in zip(names, measured.source.draws.intervals(table, users), strict=True):
            small = found.n < SMALLEST
            figures = found._asdict() | ({"mean": np.nan, "low": np.nan, "high": np.nan} if small else {})
            rows.append({"group": group, "users": len(users), "metric": name, **figures, "small": small})
    return pd.DataFrame(rows)


def _place(group: str) -> tuple[int, str]:
    return (ORDER.index(group) if group in ORDER else len(ORDER)), group


@dataclass(frozen=True)
class Gap:
    """The groups with the best and the worst mean and the difference; for a metric of which no end is better, the highest and
    the lowest. `low`, `high`: interval for the difference, best - worst; `pairs`: how many pairs of groups it allows for."""

    metric: str
    best: str
    worst: str
    mean: float
    low: float
    high: float
    pairs: int

    @property
    def shown(self) -> bool:
        """Does the interval leave out 0?"""
        return not (math.isnan(self.low) or self.low <= 0 <= self.high)


def gap(measured: Measured, labels: NDArray[np.object_], metric: str, level: float = 0.95) -> Gap | None:
    """The largest gap between groups of SMALLEST users or more; None with fewer than two of them.

    The groups are of different users, so nothing is paired: the interval is that of a difference of two independent bootstrap
    means, by its Cornish-Fisher expansion as in `metrics.bootstrap_interval`. The two were picked because they lie furthest
    apart, so the level is Bonferroni's over all pairs of groups.
    """
    values, groups = measured.per_user[metric], {}
    for label in sorted(set(labels.tolist())):
        known = values[(labels == label) & ~np.isnan(values)]
        if len(known) >= SMALLEST:
            groups[label] = known
    if len(groups) < 2:
        return None
    means = {label: float(known.mean()) for label, known in groups.items()}
    high, low = max(means, key=lambda g: means[g]), min(means, key=lambda g: means[g])
    if high == low:  # all the same
        high, low = list(means)[:2]
    best, worst = (low, high) if METRICS[metric].direction == "lower" else (high, low)
    pairs = len(groups) * (len(groups) - 1) // 2
    bounds = _difference(groups[best], groups[worst], 1 - (1 - level) / pairs)
    return Gap(metric, best, worst, means[best] - means[worst], *bounds, pairs)


def _difference(a: Floats, b: Floats, level: float) -> tuple[float, float]:
    """Interval of mean(a) - mean(b), a and b independent: d + se (z + skew (z^2 - 1) / 6)."""
    d = float(a.mean() - b.mean())
    se = math.sqrt(a.var() / len(a) + b.var() / len(b))
    if not se:
        return d, d
    third = float(((a - a.mean()) ** 3).mean() / len(a) ** 2 - ((b - b.mean()) ** 3).mean() / len(b) ** 2)
    z, skew = NormalDist().inv_cdf(0.5 + level / 2), third / se**3
    low, high = (d + se * (side * z + skew * (z * z - 1) / 6) for side in (-1, 1))
    return low, high
