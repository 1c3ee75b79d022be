"""User neighbours: the people whose likes overlap most with this history vote with their likes.

In: liked interactions, kept as the sparse matrix of neighbours. Out: sum over the nearest users of cosine^power * their likes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recsys_core.data import Dataset, Histories
from recsys_core.scorers.base import Scorer, Scores


@dataclass(frozen=True)
class UserKnnConfig:
    """Args:
    neighbours: the most similar users, who vote.
    power: of their similarity; above 1 the nearest ones count more.
    decay: recency of the history in events, 0 = off.
    """

    neighbours: int = 100
    power: float = 1.0
    decay: float = 0.0


class Model(Scorer):
    """User-based kNN on binary likes (Herlocker et al. 1999). Not linear in the history: the cosine divides by its length."""

    Config = UserKnnConfig
    search: ClassVar[dict[str, tuple[Any, ...]]] = {"neighbours": (50, 100, 200), "power": (1.0, 2.0), "decay": (0.0, 5.0, 20.0)}
    likes_: csr_array  # (n_training_users, n_items)
    known_: NDArray[np.bool_]  # (n_items,) liked by anyone

    def fit(self, dataset: Dataset, rng: np.random.Generator) -> Self:
        likes = dataset.likes().csr()
        self.likes_ = likes[likes.sum(axis=1) > 0]
        self.known_ = np.asarray(likes.sum(axis=0) > 0)
        return self

    def score(self, histories: Histories, items: NDArray[np.int64] | None = None) -> Scores:
        votes = (self.likes_ if items is None else self.likes_[:, items]).T.tocsr()  # (len(items), n_training_users)
        known = self.known_ if items is None else self.known_[items]
        unit = _unit_rows(self.likes_)
        out = np.empty((len(histories), votes.shape[0]), np.float32)
        for rows, block in histories.blocks(256):  # a block is dense, as sparse times dense costs half of sparse times sparse
            cosine = unit @ _unit_rows(block.targets.csr(self.config.decay)).T.toarray()  # (n_training_users, rows)
            out[rows] = (votes @ _nearest(cosine, self.config.neighbours, self.config.power)).T
        out[:, ~known] = np.nan
        return out


def _unit_rows(matrix: csr_array) -> csr_array:
    """Rows divided by their length; empty rows stay empty."""
    length = np.sqrt(matrix.multiply(matrix).sum(axis=1))
    scaled = matrix.copy()
    scaled.data = matrix.data / np.repeat(np.maximum(length, 1e-12), np.diff(matrix.indptr)).astype(np.float32)
    return scaled


def _nearest(cosine: NDArray[np.float32], k: int, power: float) -> NDArray[np.float32]:
    """Each column's k largest similarities (ties at the edge are all kept), raised to `power`; the others are zero."""
    n = len(cosine)
    if k < n:
        edge = np.partition(cosine.T, n - k, axis=1)[:, n - k]
        cosine = np.where(cosine >= edge, cosine, 0)
    return cosine if power == 1 else np.asarray(cosine**power)
