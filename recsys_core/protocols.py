"""How the way of judging moves a figure: which items are candidates, what is hidden, who wins a tie, what training knew.

In: a fitted scorer, what is known and what is tested. Out: `Ranks`, the place of each tested like, from which a figure follows.
For reading other people's figures and for teaching; reports of a run come from `evaluate`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from recsys_core.data import Dataset, Histories
from recsys_core.errors import UserError, unknown
from recsys_core.ranking import hide, turns
from recsys_core.scorers.base import Scores
from recsys_core.splits import TEST, TRAIN, VALID, Split

HIDES = ("met", "liked", "nothing")
TIES = ("fixed", "number", "best", "worst")


class Scores2D(Protocol):
    """A component, a hybrid, or anything that scores histories."""

    def score(self, histories: Histories, items: NDArray[np.int64] | None = None) -> Scores: ...


@dataclass(frozen=True)
class Ranks:
    """Where each tested like stands.

    Args:
        users: (n_users,) internal ids of those who are judged.
        row: (n,) place in `users`; rank: (n,) from 1 = best, inf = no candidate.
        ahead: (n,) better candidates that were not liked in the test, inf = no candidate.
        others: (n_users,) candidates that were not liked in the test.
    """

    users: NDArray[np.int64]
    row: NDArray[np.int64]
    rank: NDArray[np.float64]
    ahead: NDArray[np.float64]
    others: NDArray[np.int64]

    def ndcg(self, k: int) -> NDArray[np.float64]:
        """(n_users,) NDCG@k of the full ranking, 0-1; the same as `metrics.ndcg` of the lists."""
        relevant = np.bincount(self.row)  # every user has one
        ideal = np.concatenate([[0], np.cumsum(_gain(np.arange(1, k + 1), k))])[np.minimum(relevant, k)]
        return np.asarray(np.bincount(self.row, _gain(self.rank, k)) / ideal, np.float64)

    def sampled_ndcg(self, k: int, negatives: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """(n_users,) mean over a user's likes of NDCG@k where each stands alone among so many random items that were not liked.

        The habit of He et al. 2017 (NCF); Krichene & Rendle 2020 show that it can put models into another order. How many of the
        drawn items are better is hypergeometric, so nothing is scored again.
        """
        drawn = np.minimum(negatives, self.others)[self.row]
        found = np.isfinite(self.rank)
        better = np.where(found, self.ahead, 0).astype(np.int64)
        rank = 1.0 + rng.hypergeometric(better, self.others[self.row] - better, drawn)
        gain = _gain(np.where(found, rank, np.inf), k)
        total, count = np.bincount(self.row, gain), np.bincount(self.row)
        return np.asarray(total / count, np.float64)


def ranks(
    model: Scores2D,
    known: Dataset,
    tested: Dataset,
    *,
    hide_as: str = "met",
    ties: str = "fixed",
    among: NDArray[np.bool_] | None = None,
) -> Ranks:
    """The place of each like of `tested` in the full ranking of a model that knows `known`.

    Args:
        hide_as: what is no candidate: all that was "met", what was "liked", or "nothing".
        ties: who is first among equal scores: "fixed", one random permutation of the items, as everywhere here; "number", the
            lower item number; "best", the tested like (what `score > mine` counts); "worst", the others (`score >= mine`).
        among: (n_items,) the only candidates; None: all. A user is judged on tested likes that are among them.

    Raises:
        UserError: an unknown way, or nobody has such a like.
    """
    for name, value, names in (("hide_as", hide_as, HIDES), ("ties", ties, TIES)):
        if value not in names:
            raise unknown(name, value, names)
    truth = tested.likes()
    truth = truth if among is None else truth.keep(among[truth.items])
    users = np.flatnonzero(truth.lengths > 0)
    if not len(users):
        raise UserError("no user has a tested like among the candidates; nothing can be judged")
    histories = known.histories()
    nothing = histories.keep(np.zeros(len(histories.items), bool))
    hidden = {"met": known.met, "liked": known.likes}.get(hide_as, lambda: nothing)()
    parts = []
    beyond = getattr(
        model, "score_beyond", lambda rows, hidden: model.score(rows)
    )  # who makes short-lists must know what is hidden
    for rows, block in histories[users].blocks(256):
        scores = hide(beyond(block, hidden[users[rows]]), hidden[users[rows]])
        if among is not None:
            scores[:, ~among] = -np.inf
        parts.append(_block(scores, truth[users[rows]], ties, rows.start))
    return Ranks(users, *(np.concatenate(column) for column in zip(*parts, strict=True)))


class Future(NamedTuple):
    """What the models of a split know of the time after a test, each a mean over tested likes, 0-1.

    `own`: share of tested likes whose user has a known event after them; `all`: share of everybody's known events after them.
    """

    own: float
    all: float


def future(dataset: Dataset, split: Split) -> Future:
    """How much of the future a split lets models see (Ji et al. 2023); training and validation part are known. Needs times."""
    time, user = dataset.interactions.time, dataset.interactions.user
    if time is None:
        raise UserError("the data has no time column, so nothing tells what is the future")
    known, tested = split.rows(TRAIN, VALID), split.rows(TEST) & dataset.liked
    latest = np.full(len(dataset.users), np.iinfo(np.int64).min)
    np.maximum.at(latest, user[known], time[known])
    before = np.searchsorted(np.sort(time[known]), time[tested], side="right")
    return Future(float((latest[user[tested]] > time[tested]).mean()), float(1 - (before / known.sum()).mean()))


def _gain(rank: NDArray[np.float64] | NDArray[np.int64], k: int) -> NDArray[np.float64]:
    return np.where(rank <= k, 1 / np.log2(1.0 + rank), 0.0)


def _block(
    scores: Scores, truth: Histories, ties: str, first: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """row, rank, ahead (one a tested like) and others (one a row) of some rows; hidden items have -inf."""
    n_items = scores.shape[1]
    liked = truth.csr().toarray() > 0
    keys = {"fixed": turns(n_items), "number": np.arange(n_items), "best": ~liked, "worst": liked}[ties]
    order = np.lexsort((np.broadcast_to(keys, scores.shape), -scores), axis=1)
    place = np.empty_like(order)
    np.put_along_axis(place, order, np.broadcast_to(np.arange(n_items), scores.shape), axis=1)
    passed = np.cumsum(np.take_along_axis(~liked, order, axis=1), axis=1)  # of items up to each place, how many were not liked
    row, item = truth.rows, truth.items
    at = place[row, item]
    shown = np.isfinite(scores[row, item])
    rank, ahead = (np.where(shown, values, np.inf) for values in (at + 1.0, passed[row, at].astype(float)))
    return row + first, rank, ahead, (np.isfinite(scores) & ~liked).sum(axis=1)
