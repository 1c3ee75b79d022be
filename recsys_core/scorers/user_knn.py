"""User neighbours: the people whose likes overlap most with this history vote with their likes.

In: liked interactions, kept as the sparse matrix of neighbours. Out: sum over the nearest users of cosine^power * their likes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recsys_core.data import Dataset, Histories
from recsys_core.scorers.base import Scorer, Scores


@dataclass(frozen=True)
class UserKnnConfig:
    """`neighbours` that vote; `power` > 1 trusts the nearest ones more; `decay`: recency of the history in events, 0 = off."""

    neighbours: int = 100
    power: float = 1.0
    decay: float = 0.0


class Model(Scorer):
    """User-based kNN on binary likes (Herlocker et al. 1999). Not linear in the history: the cosine divides by its length."""

    Config = UserKnnConfig
    likes_: csr_array  # (n_training_users, n_items)
    known_: NDArray[np.bool_]  # (n_items,) liked by anyone

    @classmethod
    def grid(cls, config: UserKnnConfig) -> list[UserKnnConfig]:
        return [config, *(replace(config, neighbours=n, power=p) for n in (50, 200) for p in (1.0, 2.0))]

    def fit(self, dataset: Dataset, rng: np.random.Generator) -> Self:
        likes = dataset.histories().csr()
        self.likes_ = likes[likes.sum(axis=1) > 0]
        self.known_ = np.asarray(likes.sum(axis=0) > 0)
        return self

    def score(self, histories: Histories, items: NDArray[np.int64] | None = None) -> Scores:
        votes_for = self.likes_ if items is None else self.likes_[:, items]
        known = self.known_ if items is None else self.known_[items]
        norms = np.sqrt(self.likes_.sum(axis=1))  # (n_training_users,)
        out = np.empty((len(histories), votes_for.shape[1]), np.float32)
        for rows, block in histories.blocks(1024):
            h = block.csr(self.config.decay or None)
            length = np.sqrt(h.multiply(h).sum(axis=1))
            cosine = (h @ self.likes_.T).toarray() / np.maximum(np.outer(length, norms), 1e-9)
            out[rows] = _nearest(cosine, self.config.neighbours, self.config.power) @ votes_for
        out[:, ~known] = np.nan
        return out


def _nearest(cosine: NDArray[np.float32], k: int, power: float) -> NDArray[np.float32]:
    """Zero all but each row's k largest similarities (ties at the edge are all kept), raised to `power`."""
    if k < cosine.shape[1]:
        edge = -np.partition(-cosine, k - 1, axis=1)[:, k - 1 : k]
        cosine = np.where(cosine >= edge, cosine, 0)
    return np.asarray(cosine**power, dtype=np.float32)
