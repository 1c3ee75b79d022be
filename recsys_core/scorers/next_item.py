"""What comes next: past items vote for what people went on to like soon after them.

In: histories with their order, and the likes in them. Out: dense item-item weights W, asymmetric: "after j comes i".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from recsys_core.data import Dataset
from recsys_core.scorers.base import LinearScorer, most_liked, proximity_grams


@dataclass(frozen=True)
class NextItemConfig:
    """Args:
    reach: how far "soon after" goes, in events: a like n events later counts exp(-n / reach).
    reg: L2 on W.
    decay: recency of the history in events when scoring, 0 = off.
    max_items: the most liked items that get a column, as in ease.
    """

    reach: float = 5.0
    reg: float = 100.0
    decay: float = 5.0
    max_items: int = 8_000


class Model(LinearScorer):
    """Ridge regression of the next likes on the ones before, W = (G + reg I)^-1 C.

    G_ij = sum_u f_i f_j exp(-|r_i - r_j| / reach), f what events count, and C_ij = sum_u f_i exp(...) over the pairs where i came
    before the like of j, half of it where they tie;
    a linear model of sequences in the manner of SLIST (Choi et al. 2021, arXiv:2103.16104). NaN everywhere without times.
    """

    Config = NextItemConfig
    search: ClassVar[dict[str, tuple[Any, ...]]] = {"decay": (2.0, 5.0, 20.0)}

    def fit(self, dataset: Dataset, rng: np.random.Generator) -> Self:
        histories = dataset.histories()
        timed = dataset.interactions.time is not None
        kept, place = most_liked(histories, self.config.max_items if timed else 0)
        g, c = proximity_grams(histories, self.config.reach, place, len(kept), forward=True)
        g[np.diag_indices_from(g)] += self.config.reg
        c[np.diag_indices_from(c)] = 0
        self.weights_ = np.linalg.solve(g, c).astype(np.float32)
        self.weights_[np.diag_indices_from(self.weights_)] = 0  # nothing comes after itself
        self.kept_, self.n_items_ = kept, np.array([histories.n_items])
        return self
