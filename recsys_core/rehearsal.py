"""A rehearsal of new items: some liked ones are taken out and play cold, and their likes say what a cold score is worth.

In: what judges know, scorers fitted without the players. Out: shown pairs for `learn.fit_cold`, and the share of unmet items
that are new.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys_core.data import Dataset, Histories
from recsys_core.ranking import top_k
from recsys_core.scorers.base import Scorer, Scores


@dataclass(frozen=True)
class Shown:
    """Pairs of a judge and a player, one row each in every field.

    Args:
        z: (n, n_components) standardised scores, NaN = cannot score.
        hit, weight: (n,) whether the judge likes the player, and what the pair counts, 0-1.
        item: (n,) which player.
    """

    z: Scores
    hit: NDArray[np.bool_]
    weight: NDArray[np.float64]
    item: NDArray[np.int64]


def players(early: Dataset, rng: np.random.Generator) -> NDArray[np.int64]:
    """A random tenth of the liked items."""
    liked = np.unique(early.interactions.item[early.liked])
    return np.sort(rng.permutation(liked)[: max(1, len(liked) // 10)])


def raw_scores(
    histories: Histories, names: tuple[str, ...], rehearsal: Mapping[str, Scorer], out: NDArray[np.int64]
) -> NDArray[np.float32]:
    """(n_judges, n_out, n_components) of the players `out`; NaN but for components fitted without them."""
    histories = histories.keep(~np.isin(histories.items, out))
    unknown = np.full((len(histories), len(out)), np.nan, np.float32)
    return np.stack([rehearsal[n].score(histories, out) if n in rehearsal else unknown for n in names], axis=-1)


def share_new(early: NDArray[np.bool_], late: NDArray[np.bool_], held_out: float) -> float:
    """Of the items that nobody has met, the share that is new rather than passed over, 0-1.

    To hold events out leaves some items with none, unpopular ones, and the validation part shows how many: those that have their
    first event there. The test part, if it is like it, hides `held_out` times as many (Good and Toulmin 1956, to first order).
    Only what exceeds that by two standard errors of a count counts as new.

    Args:
        early, late: (n_items,) true for items without an event in the training part, and in training and validation part.
        held_out: likes of the test part for each of the validation part.
    """
    hidden = float((early & ~late).sum()) * held_out
    return max(0.0, 1 - (hidden + 2 * math.sqrt(hidden + 1)) / max(int(late.sum()), 1))


def shown(z: Scores, out: NDArray[np.int64], known: Histories, hidden: Histories, later: Histories, n: int, new: float) -> Shown:
    """What judges are shown of the players, their n best by the sum of z.

    Of a warm item most likes are in the histories, and only what is left of them, the likes of the validation part, can come true
    in a list. Of a new item all are left. So what a judge has met of the players (`hidden`) is shown as well, `known` likes as
    hits, and weighs `new`: with 0 players are as warm items are, with 1 all their likes are still to come.

    Args:
        z: (n_judges, n_out, n_components) standardised scores.
        known, hidden, later: likes and all that lists hide of what is known, and likes of the validation part; a row a judge.
    """
    place = np.full(known.n_items, -1)
    place[out] = np.arange(len(out))

    def marked(rows: Histories) -> NDArray[np.bool_]:
        flags, seen = np.zeros(z.shape[:2], bool), place[rows.items] >= 0
        flags[rows.rows[seen], place[rows.items[seen]]] = True
        return flags

    weight = np.where(marked(hidden), new, 1.0)
    score = np.where(weight > 0, np.nansum(z, axis=2), -np.inf)
    best = top_k(score.astype(np.float32), len(out))
    weight = np.where(best >= 0, np.take_along_axis(weight, np.maximum(best, 0), axis=1), 0)
    row, rank = np.nonzero((weight > 0) & (np.cumsum(weight, axis=1) <= n))
    item = best[row, rank]
    return Shown(z[row, item], (marked(known) | marked(later))[row, item], weight[row, rank], item)
