"""A rehearsal of new items: some liked ones are taken out and play cold, and their likes say what a cold score is worth.

In: what judges know, scorers fitted without the players. Out: shown pairs for `learn.fit_cold`.
"""

from __future__ import annotations

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
        hit: (n,) whether the judge likes the player.
        item: (n,) which player.
    """

    z: Scores
    hit: NDArray[np.bool_]
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


def shown(z: Scores, out: NDArray[np.int64], known: Histories, hidden: Histories, later: Histories, n: int, new: bool) -> Shown:
    """What judges are shown of the players, their n best by the sum of z.

    Of a warm item most likes are in the histories, and only what is left of them, the likes of the validation part, can come true
    in a list. Of a new item all are left. So if players stand for `new` items, those that a judge has met (`hidden`) are shown as
    well, and `known` likes are hits; else players are as warm items are.

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

    score = np.where(marked(hidden) & (not new), -np.inf, np.nansum(z, axis=2))
    best = top_k(score.astype(np.float32), n)
    row, rank = np.nonzero(best >= 0)
    item = best[row, rank]
    return Shown(z[row, item], (marked(known) | marked(later))[row, item], item)
