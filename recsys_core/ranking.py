"""From scores to lists: what is hidden, and the k best of each row."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recsys_core.data import Histories


def hide(scores: NDArray[np.float32], hidden: Histories) -> NDArray[np.float32]:
    """A copy of (n_rows, n_items) scores with the entries of `hidden`, and whatever cannot be scored, at -inf."""
    out = np.where(np.isnan(scores), -np.inf, scores).astype(np.float32)
    out[hidden.rows, hidden.items] = -np.inf
    return out


def turns(n_items: int) -> NDArray[np.int64]:
    """(n_items,) place of each item in the fixed random permutation that orders equal scores; the lower place comes first."""
    turn = np.empty(n_items, np.int64)
    turn[np.random.default_rng(0).permutation(n_items)] = np.arange(n_items)
    return turn


def top_k(scores: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Column numbers of each row's k largest scores, best first, (n_rows, k); -1 where only -inf is left.

    Equal scores are ordered by one fixed random permutation of the items, never by their number.
    """
    n_rows, n_items = scores.shape
    turn = turns(n_items)
    order = np.argsort(turn)
    kept = min(k, n_items)
    best = np.argpartition(scores, n_items - kept, axis=1)[:, n_items - kept :]
    values = np.take_along_axis(scores, best, axis=1)
    edge = values.min(axis=1, initial=np.inf)[:, None]
    for row in np.flatnonzero(((scores >= edge).sum(axis=1) > kept) & np.isfinite(edge[:, 0])):
        best[row] = order[np.argsort(-scores[row, order], kind="stable")[:kept]]  # a tie at the edge: the permutation decides
    values = np.take_along_axis(scores, best, axis=1)
    rows = np.repeat(np.arange(n_rows), kept)
    ranked = np.lexsort((turn[best].ravel(), -values.ravel(), rows)).reshape(n_rows, kept)
    items = np.where(np.isneginf(values), -1, best).ravel()[ranked]
    return np.pad(items, ((0, 0), (0, k - kept)), constant_values=-1)


def marked(items: NDArray[np.int64], flags: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which listed items have their flag up: items (n_rows, k) with -1 behind the end, flags (n_rows, n_items); False at -1."""
    return np.take_along_axis(flags, np.maximum(items, 0), axis=1) & (items >= 0)
