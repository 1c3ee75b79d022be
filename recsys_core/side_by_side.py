"""Two runs side by side: settings, stored metrics, paired differences by user, weights, and how far their lists are apart.

In: two Runs. Out: frames, b against a. Uses the reports that evaluation stored; the test set is never opened here.
"""

from __future__ import annotations

import math
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys_core import metrics
from recsys_core.differences import rank_biased_overlap
from recsys_core.errors import UserError
from recsys_core.overview import Judged
from recsys_core.recommend import recommend
from recsys_core.run import Run
from recsys_core.splits import TEST

BLOCK = 32  # users between two looks at the clock
ACCURACY = tuple(m.name for m in metrics.METRICS.values() if set(m.needs) == {"hits", "n_relevant"})


@dataclass(frozen=True)
class Churn:
    """Top-k lists of the same users under two runs. `users`: one row each: user_id, rbo (rank-biased overlap, 0-1, 1 = the same
    list, NaN = two empty ones), kept (share of b's items that are in a's), changed; least alike
    first. `asked`: users meant to be looked at."""

    users: pd.DataFrame
    k: int
    asked: int

    @property
    def n(self) -> int:
        return len(self.users)

    @property
    def mean_rbo(self) -> float:
        return float(self.users["rbo"].mean())

    @property
    def mean_kept(self) -> float:
        return float(self.users["kept"].mean())

    @property
    def share_changed(self) -> float:
        return float(self.users["changed"].mean()) if len(self.users) else math.nan


def settings(a: Run, b: Run) -> pd.DataFrame:
    """Settings that differ, by dotted key: key, a, b as TOML has them; of components that both have."""
    left, right = (_flat(tomllib.loads((r.path / "config.toml").read_text(encoding="utf-8"))) for r in (a, b))
    shared = set(a.settings.components) & set(b.settings.components)
    keys = [key for key in [*left, *(k for k in right if k not in left)] if left.get(key) != right.get(key)]
    keys = [key for key in keys if "." not in key or key.partition(".")[0] in shared]
    return pd.DataFrame([{"key": k, "a": left.get(k, ""), "b": right.get(k, "")} for k in keys], columns=["key", "a", "b"])


def _flat(table: dict[str, Any], above: str = "") -> dict[str, str]:
    out: dict[str, str] = {}
    for key, value in table.items():
        name = f"{above}{key}".removeprefix("scorers.")
        out |= _flat(value, f"{name}.") if isinstance(value, dict) else {name: _shown(value)}
    return out


def _shown(value: Any) -> str:
    return (
        ", ".join(map(str, value)) if isinstance(value, list) else str(value).lower() if isinstance(value, bool) else str(value)
    )


def weights(a: Run, b: Run) -> pd.DataFrame:
    """Learned weights, log-odds per standard deviation: component, a, b; NaN where a run has no such component."""
    left, right = (dict(zip(r.model.blend.names, r.model.blend.weights, strict=True)) for r in (a, b))
    names = [*left, *(n for n in right if n not in left)]
    columns = {"a": [left.get(n, math.nan) for n in names], "b": [right.get(n, math.nan) for n in names]}
    return pd.DataFrame({"component": names, **columns})


def same_data(a: Run, b: Run) -> bool:
    return bool(a.manifest["fingerprint"] == b.manifest["fingerprint"])


def obstacle(a: Run, b: Run, left: Judged | None, right: Judged | None) -> str:
    """Why two stored reports cannot be paired by user: "data", "report", "split", "hide", "k" or "users"; "" if they can."""
    if not same_data(a, b):
        return "data"
    if left is None or right is None:
        return "report"
    if not np.array_equal(a.split.part == TEST, b.split.part == TEST):
        return "split"
    if left.convention.get("hidden") != right.convention.get("hidden"):
        return "hide"
    if left.k != right.k:
        return "k"
    return "" if set(left.per_user["user_id"]) == set(right.per_user["user_id"]) else "users"


def beside(left: Judged, right: Judged) -> pd.DataFrame:
    """Metrics of both hybrids over all users: metric, a, a_low, a_high, a_n, b, b_low, b_high, b_n; what both reports have."""
    rows = [
        told.rows[(told.rows["model"] == "hybrid") & (told.rows["segment"] == "all")].set_index("metric")[
            ["mean", "low", "high", "n"]
        ]
        for told in (left, right)
    ]
    names = [name for name in metrics.METRICS if all(name in r.index for r in rows)]
    found = {f"{side}{tail}": r.loc[names, column].to_numpy(float)
             for side, r in zip("ab", rows, strict=True)
             for column, tail in (("mean", ""), ("low", "_low"), ("high", "_high"), ("n", "_n"))}  # fmt: skip
    return pd.DataFrame({"metric": names, **found})


def paired(left: Judged, right: Judged, seed: int = 0) -> pd.DataFrame:
    """b minus a of the hybrids, user by user: metric, mean, low, high, n, p, p_holm (over all metrics).

    Call it only where `obstacle` finds none; users are matched by id.
    """
    tables = [told.per_user.set_index("user_id") for told in (left, right)]
    names = [n for n in metrics.METRICS if all(f"hybrid:{n}" in t.columns for t in tables)]
    rows = []
    for name in names:
        a, b = (t[f"hybrid:{name}"].to_numpy(np.float64) for t in (tables[0], tables[1].loc[tables[0].index]))
        rows.append({"metric": name, **metrics.paired_difference(b, a, np.random.default_rng(seed))._asdict()})
    table = pd.DataFrame(rows, columns=["metric", *metrics.Difference._fields])
    return table.assign(p_holm=metrics.holm(table["p"]))


def churn(
    a: Run,
    b: Run,
    *,
    k: int,
    users: int,
    seconds: float = math.inf,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, most: None,
) -> Churn:
    """Lists of a random sample of users under both final models, each hiding by its own convention; stops when time is up.

    Raises:
        UserError: the runs are of different data, so that users and items are not the same.
    """
    if not same_data(a, b):
        raise UserError(f"{b.path} was trained on other data than {a.path}; lists can be compared on one data set only")
    some = np.flatnonzero((a.histories.lengths > 0) & (b.histories.lengths > 0))
    picked = np.random.default_rng(seed).permutation(some)[:users]
    found: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    ends, done = time.monotonic() + seconds, 0
    while done < len(picked) and (not found or time.monotonic() < ends):
        codes = picked[done : done + BLOCK]
        left, right = (recommend(r.model, r.histories[codes], r.hidden[codes], k=k).items for r in (a, b))
        found.append((left, right))
        done += len(codes)
        progress(done, len(picked))
    lists = [np.concatenate(side) for side in zip(*found, strict=True)] if found else [np.empty((0, k), np.int64)] * 2
    return Churn(_alike(a.dataset.users.ids[picked[:done]], lists[0], lists[1]), k, len(picked))


def _alike(ids: NDArray[Any], left: NDArray[np.int64], right: NDArray[np.int64]) -> pd.DataFrame:
    there = right >= 0
    shared = ((right[:, :, None] == left[:, None]).any(axis=2) & there).sum(axis=1)
    length = there.sum(axis=1)
    kept = shared / np.where(length > 0, length, np.nan)
    facts = {"user_id": ids, "rbo": rank_biased_overlap(left, right), "kept": kept, "changed": (left != right).any(axis=1)}
    return pd.DataFrame(facts).sort_values("rbo", kind="stable").reset_index(drop=True)
