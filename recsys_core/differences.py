"""Two measurements of the same users side by side: what changed, for whom, and for which groups.

In: two `Measured` of one Analytics. Out: frames with paired differences (b - a) and 95% bootstrap intervals over users.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys_core.analytics import NO_INTERVAL, Measured
from recsys_core.errors import UserError, unknown
from recsys_core.evaluate import SMALLEST_SEGMENT
from recsys_core.metrics import METRICS

Floats = NDArray[np.float64]
ROUNDING = 1e-9  # a change within this is none: the same list, summed in another order, may differ in its last digits
PERSISTENCE = 0.9  # of rank-biased overlap: the first ten ranks hold 86% of its weight (Webber et al. 2010, section 5)


@dataclass(frozen=True)
class Overlap:
    """How far the lists moved. By user (n,): `rbo` rank-biased overlap, 0-1, 1 = the same list; `new` share of b's items that are
    not in a's; `changed` bool, in items or order. `share_changed`: of users."""

    rbo: Floats
    new: Floats
    changed: NDArray[np.bool_]

    @property
    def share_changed(self) -> float:
        return float(self.changed.mean())

    @property
    def mean_rbo(self) -> float:
        """Over users with a list; NaN if there is none."""
        return float(np.nanmean(self.rbo)) if not np.isnan(self.rbo).all() else float("nan")

    @property
    def mean_kept(self) -> float:
        """Mean share of b's items that are in a's too; NaN if there is no list."""
        return 1 - float(np.nanmean(self.new)) if not np.isnan(self.new).all() else float("nan")


def change(a: Measured, b: Measured) -> pd.DataFrame:
    """Paired differences: metric, a, b (means), mean (of b - a), low, high, n, note. Raises UserError for other users."""
    _same_users(a, b)
    names = [name for name in a.per_user if name in b.per_user]
    table = np.stack([b.per_user[name] - a.per_user[name] for name in names], axis=1)
    found: dict[str, Any] = {n: {**i._asdict(), "note": ""} for n, i in zip(names, a.source.draws.intervals(table), strict=True)}
    nothing = {"low": np.nan, "high": np.nan, "n": len(a.items), "note": NO_INTERVAL}
    found |= {name: {"mean": b.totals[name] - a.totals[name], **nothing} for name in a.totals if name in b.totals}
    rows = [{"metric": name, "a": a.mean(name), "b": b.mean(name), **found[name]} for name in METRICS if name in found]
    return pd.DataFrame(rows)


def verdicts(changes: pd.DataFrame) -> list[str]:
    """What each row of `change` comes to: "better" or "worse" in the direction of its metric, "unclear" if the interval holds
    zero, "same", "neither" where no end is better, "unknown" where nothing is defined. Without an interval the sign decides."""
    return [_verdict(*row) for row in zip(*(changes[c] for c in ("metric", "mean", "low", "high")), strict=True)]


def _verdict(metric: str, mean: float, low: float, high: float) -> str:
    if np.isnan(mean):
        return "unknown"
    low, high = (mean, mean) if np.isnan(low) else (low, high)
    if max(abs(low), abs(high)) < ROUNDING:
        return "same"
    if (direction := METRICS[metric].direction) == "neither":
        return "neither"
    if low <= 0 <= high:
        return "unclear"
    return "better" if (mean > 0) == (direction == "higher") else "worse"


def overlap(a: Measured, b: Measured) -> Overlap:
    """How far the lists of two measurements of the same users and k are apart."""
    _same_users(a, b)
    if a.k != b.k:
        raise UserError(f"lists of {a.k} and of {b.k} items cannot be compared; measure both with one k")
    shared = ((b.items[:, :, None] == a.items[:, None]) & (b.items >= 0)[:, :, None]).any(axis=2).sum(axis=1)
    length = (b.items >= 0).sum(axis=1)
    new = 1 - shared / np.where(length > 0, length, np.nan)
    return Overlap(rank_biased_overlap(a.items, b.items), new, (a.items != b.items).any(axis=1))


def rank_biased_overlap(a: NDArray[Any], b: NDArray[Any], p: float = PERSISTENCE) -> Floats:
    """(n,) likeness of two rankings (n, k), -1 behind the end: 1 = the same, 0 = no item in common, NaN = two empty lists.

    RBO_ext of Webber, Moffat & Zobel 2010, eq. 30: X_l / l * p^l + (1 - p) / p * sum_(d <= l) X_d / d * p^d, X_d how many items
    the first d ranks share, extrapolated from the l ranks seen. Of lists of different length the longer is cut.
    """
    k = a.shape[1]
    length = np.minimum((a >= 0).sum(axis=1), (b >= 0).sum(axis=1))
    longest = np.maximum((a >= 0).sum(axis=1), (b >= 0).sum(axis=1))
    row, i, j = np.nonzero((a[:, :, None] == b[:, None]) & (a >= 0)[:, :, None])
    depth = np.maximum(i, j)  # the first depth, from 0, that holds the item in both
    shared = np.bincount(row * k + depth, minlength=len(a) * k).reshape(len(a), k).cumsum(axis=1)
    d = np.arange(1, k + 1)
    agreement = np.where(d <= length[:, None], shared / d, 0)
    last = np.take_along_axis(agreement, np.maximum(length - 1, 0)[:, None], axis=1)[:, 0]
    value = last * p**length + (1 - p) / p * (agreement * p**d).sum(axis=1)
    return np.where(longest > 0, value, np.nan)


def movers(a: Measured, b: Measured, *, metric: str = "ndcg", n: int = 10) -> pd.DataFrame:
    """The n users who gain most and the n who lose most: user_id, before, after, change, rbo, new.

    Gain is in the direction that is better, or upwards where neither is; users without a change or with an undefined one are not
    shown. Most gained first.
    """
    if metric not in a.per_user or metric not in b.per_user:
        raise unknown("metric of users", metric, a.per_user)
    moved = overlap(a, b)
    before, after = a.per_user[metric], b.per_user[metric]
    gain = (after - before) * (-1 if METRICS[metric].direction == "lower" else 1)
    order = np.argsort(-np.where(np.isnan(gain), 0, gain), kind="stable")
    rows = np.concatenate([[r for r in order if gain[r] > 0][:n], [r for r in order if gain[r] < 0][-n:]]).astype(np.int64)
    columns = {"before": before, "after": after, "change": after - before, "rbo": moved.rbo, "new": moved.new}
    return pd.DataFrame({"user_id": a.source.user_ids[rows], **{name: values[rows] for name, values in columns.items()}})


def gains(moved: pd.DataFrame, metric: str) -> NDArray[np.bool_]:
    """(rows,) which rows of `movers` are of users who gain."""
    return np.asarray(moved["change"] * (-1 if METRICS[metric].direction == "lower" else 1) > 0)


def segments(measured: Measured, by: str) -> pd.DataFrame:
    """Means by group of users: segment, metric, mean, low, high, n, note.

    Args:
        by: "activity" (thirds by number of past likes), "popularity_affinity" (thirds by how popular these are; after the niche,
            diverse and blockbuster groups of Abdollahpouri et al. 2019) or a column of the user table.

    A figure of fewer than 10 users with a defined value is suppressed: NaN, and `note` says so. Raises UserError for an
    unknown `by`.
    """
    groups = measured.source.groups
    if by not in groups:
        raise unknown("segment", by, groups)
    labels, names = groups[by], list(measured.per_user)
    table = np.stack([measured.per_user[name] for name in names], axis=1)
    rows = []
    for label in dict.fromkeys(sorted(labels)):
        users = np.flatnonzero(labels == label)
        for name, found in zip(names, measured.source.draws.intervals(table, users), strict=True):
            row = {"segment": label, "metric": name, **found._asdict(), "note": ""}
            if found.n < SMALLEST_SEGMENT:
                row |= {"mean": np.nan, "low": np.nan, "high": np.nan, "note": f"suppressed: fewer than {SMALLEST_SEGMENT} users"}
            rows.append(row)
    return pd.DataFrame(rows)


def _same_users(a: Measured, b: Measured) -> None:
    if not np.array_equal(a.source.user_ids, b.source.user_ids):
        raise UserError("the two measurements are of different users; measure both on one run's candidates")
