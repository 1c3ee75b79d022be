"""Item neighbours: a past item votes for the items most often liked by the same users.

In: liked interactions. Out: sparse item-item weights, so that score(h) = sum_j x_j * similarity[j, i].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack

from recsys_core.data import Dataset
from recsys_core.scorers.base import LinearScorer, most_liked


@dataclass(frozen=True)
class ItemKnnConfig:
    """Args:
    neighbours: the most similar items that are kept for each item.
    shrink: added to the norms by which the number of common users is divided; damps similarities that rest on few users.
    power: of the popularities that a similarity is divided by; 0.5 is the cosine, less favours popular items, more rare ones.
    decay: recency of the history in events when scoring, 0 = off.
    """

    neighbours: int = 100
    shrink: float = 10.0
    power: float = 0.5
    decay: float = 0.0


class Model(LinearScorer):
    """Item-based kNN with shrunk cosine (Sarwar et al. 2001; shrinkage after Bell & Koren 2007)."""

    Config = ItemKnnConfig
    search: ClassVar[dict[str, tuple[Any, ...]]] = {"power": (0.35, 0.5), "neighbours": (50, 100, 200), "decay": (0.0, 5.0, 20.0)}

    def fit(self, dataset: Dataset, rng: np.random.Generator) -> Self:
        histories = dataset.likes()
        kept, _ = most_liked(histories, histories.n_items)
        x = histories.csr().astype(np.float64).tocsc()[:, kept]
        norm = np.asarray(x.sum(axis=0)) ** self.config.power
        blocks = []
        for start in range(0, len(kept), 2048):
            rows = slice(start, min(start + 2048, len(kept)))
            similarity = (x[:, rows].T @ x).toarray() / (np.outer(norm[rows], norm) + self.config.shrink)
            similarity[np.arange(rows.stop - start), np.arange(start, rows.stop)] = 0
            blocks.append(_keep_largest(similarity, self.config.neighbours))
        # each item's own neighbours vote for it: row j, column i holds the weight of past item j for candidate i
        self.weights_ = csr_array(vstack(blocks).T)
        self.kept_, self.n_items_ = kept, np.array([histories.n_items])
        return self


def _keep_largest(block: NDArray[np.float64], k: int) -> csr_array:
    k = min(k, block.shape[1])
    columns = np.argpartition(-block, k - 1, axis=1)[:, :k]
    rows = np.repeat(np.arange(len(block)), k)
    values = np.take_along_axis(block, columns, axis=1).ravel().astype(np.float32)
    matrix = csr_array((values, (rows, columns.ravel())), shape=block.shape)
    matrix.eliminate_zeros()
    return matrix
