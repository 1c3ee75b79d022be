"""One set of bootstrap draws of users, shared by many figures: values of users in, intervals out (Efron 1979).

Shared draws make an interval one row of a matrix product, so that a whole page of figures costs milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from recsys_core.metrics import EXACT, Interval, bootstrap_interval

Floats = NDArray[np.float64]
TAIL = 0.025  # on either side of a 95% interval


@dataclass(frozen=True)
class Draws:
    """`n` bootstrap samples of `n_users` users; above 5,000 users `metrics.bootstrap_interval`, which then draws nothing."""

    n_users: int
    seed: int
    n: int = 2000

    @cached_property
    def weights(self) -> NDArray[np.float32]:
        """(n, n_users): how often each user is drawn."""
        rng = np.random.default_rng(self.seed)
        weights = np.empty((self.n, self.n_users), np.float32)
        for draw in weights:
            draw[:] = np.bincount(rng.integers(0, self.n_users, self.n_users), minlength=self.n_users)
        return weights

    def intervals(self, table: Floats, users: NDArray[np.int64] | None = None) -> list[Interval]:
        """Mean and 95% interval of each column of `table` (n_users, q), or of the rows `users` of it; NaN values are left out."""
        rows = np.arange(self.n_users) if users is None else users
        table = table[rows]
        if self.n_users > EXACT:
            return [bootstrap_interval(column, np.random.default_rng(self.seed)) for column in table.T]
        known = ~np.isnan(table)
        count = known.sum(axis=0)
        mean = np.where(known, table, 0).sum(axis=0) / np.where(count, count, np.nan)
        deviation = np.where(known, table - mean, 0).astype(np.float32)  # about the mean, so that equal values stay equal
        weights = self.weights if users is None else self.weights[:, rows]
        drawn = weights @ np.concatenate([deviation, known], axis=1, dtype=np.float32)
        deviation, n_drawn = np.split(drawn, 2, axis=1)
        spread = deviation / np.where(n_drawn > 0, n_drawn, np.nan)  # a draw without a known value says nothing
        low, high = mean + np.array([_quantile(column) for column in spread.T]).reshape(-1, 2).T
        few = count < 2
        bounds = (np.where(few, np.nan, low), np.where(few, np.nan, high))
        return [Interval(float(a), float(b), float(c), int(n)) for a, b, c, n in zip(mean, *bounds, count, strict=True)]


def _quantile(values: NDArray[np.float32]) -> Floats:
    values = values[~np.isnan(values)]
    return np.quantile(values, [TAIL, 1 - TAIL]).astype(np.float64) if len(values) else np.full(2, np.nan)
