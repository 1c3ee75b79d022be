"""EASE: the best linear model of "what else is liked by who likes this", in closed form.

In: liked interactions (and item attributes as extra rows). Out: dense item-item weights B with zero diagonal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from recsys_core.data import Dataset
from recsys_core.scorers.base import LinearScorer, gram


@dataclass(frozen=True)
class EaseConfig:
    """`reg`: L2 on B; `decay`: recency of the history in events, 0 = off; `max_items`: the most liked items that get a column.

    12,000 columns need about 2.5 GB while fitting and 0.6 GB after; items beyond are NaN here and left to other components.
    """

    reg: float = 200.0
    decay: float = 0.0
    max_items: int = 12_000


class Model(LinearScorer):
    """Embarrassingly shallow autoencoder (Steck 2019, arXiv:1905.03375, eq. 8)."""

    Config = EaseConfig
    search: ClassVar[dict[str, tuple[Any, ...]]] = {"reg": (100.0, 200.0, 400.0), "decay": (0.0, 5.0, 20.0)}

    def fit(self, dataset: Dataset, rng: np.random.Generator) -> Self:
        g = gram(dataset.histories())
        counts = np.diag(g)
        self.weights_ = closed_form(g, self.config.reg)
        self.prior_ = np.where(counts > 0, 0.0, np.nan).astype(np.float32)
        return self


def closed_form(g: NDArray[np.float64], reg: float) -> NDArray[np.float32]:
    """B = I - P diag(1/P), P = (G + reg I)^-1, zero diagonal."""
    g = g.copy()
    g[np.diag_indices_from(g)] += reg
    p = np.linalg.inv(g)
    b = -p / np.diag(p)
    b[np.diag_indices_from(b)] = 0
    return b.astype(np.float32)
