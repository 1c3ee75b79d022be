"""EASE: the best linear model of "what else is liked by who has this in their history", in closed form.

In: histories (each past item as much as its rating says), the likes in them, their order, and item attributes as extra rows.
Out: dense item-item weights B with zero diagonal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dpotrf, dpotri

from recsys_core.data import Dataset
from recsys_core.features import attribute_blocks
from recsys_core.scorers.base import LinearScorer, gram, most_liked, proximity_grams

SIDE_VALUES = 1000  # of one attribute; rare ones help here, and cost no more than memory


@dataclass(frozen=True)
class EaseConfig:
    """Args:
    reg: L2 on B.
    proximity: share of the Gram matrix in which two likes count more the nearer they were in the user's order; 0 = plain EASE.
    reach: of that nearness, in events: two likes n events apart count exp(-n / reach).
    side: weight of the item attributes, stacked under the interactions as extra rows (values weighted by rarity); 0 = off.
    decay: recency of the history in events when scoring, 0 = off.
    max_items: the most liked items that get a column. A Gram matrix of 8,000 is 0.5 GB, and fitting holds a few of that size.
        The others are NaN here and left to other components.
    """

    reg: float = 100.0
    proximity: float = 0.5
    reach: float = 5.0
    side: float = 0.0
    decay: float = 0.0
    max_items: int = 8_000


class Model(LinearScorer):
    """Embarrassingly shallow autoencoder (Steck 2019, arXiv:1905.03375, eq. 8), with a Gram matrix that knows the order of likes.

    Side information as extra rows: Jeunen, van Balen & Goethals 2020 (Add-EASE). A history holds all that was rated, a target
    only likes: the regression of one on the other has the same closed form.
    """

    Config = EaseConfig
    search: ClassVar[dict[str, tuple[Any, ...]]] = {
        "proximity": (0.0, 0.5),
        "reg": (50.0, 100.0, 200.0, 400.0),
        "side": (0.0, 10.0, 30.0),
        "decay": (0.0, 5.0, 20.0),
    }

    def fit(self, dataset: Dataset, rng: np.random.Generator) -> Self:
        histories, config = dataset.histories(), self.config
        kept, place = most_liked(histories, config.max_items)
        g, c = gram(histories, kept), gram(histories, kept, histories.targets)
        if config.proximity and dataset.interactions.time is not None:
            near = proximity_grams(histories, config.reach, place, len(kept))
            g, c = ((1 - config.proximity) * whole + config.proximity * part for whole, part in zip((g, c), near, strict=True))
        if config.side:
            rows = side_rows(dataset, kept)
            alike = config.side * (rows @ rows.T)
            g, c = g + alike, c + alike
        self.weights_, self.kept_, self.n_items_ = closed_form(g, config.reg, c), kept, np.array([histories.n_items])
        return self


def closed_form(g: NDArray[np.float64], reg: float, c: NDArray[np.float64] | None = None) -> NDArray[np.float32]:
    """B (n, n) float32: columns b_i that minimise |x_i - F b|^2 + reg |b|^2 with b_ii = 0, of g = F'F, c = F'X; None: X = F."""
    g = g.copy()
    g[np.diag_indices_from(g)] += reg
    inverse = inverse_of(g)
    # With X = F the ridge is I - reg P, of which P falls out with the diagonal. Single precision is quicker, and B has no more.
    free = np.eye(len(g)) if c is None else inverse.astype(np.float32) @ c.astype(np.float32)
    return zero_diagonal(inverse, free).astype(np.float32)


def inverse_of(g: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of a symmetric positive definite matrix (n, n), by Cholesky: half the work of a general inverse."""
    factor, failed = dpotrf(g)
    inverse, failed = (factor, failed) if failed else dpotri(factor)
    if failed:  # not definite, as rounding may have it
        return np.asarray(np.linalg.inv(g), np.float64)
    inverse = np.triu(inverse)
    return np.asarray(inverse + np.triu(inverse, 1).T, np.float64)


def zero_diagonal(inverse: NDArray[Any], free: NDArray[Any]) -> NDArray[np.float64]:
    """The ridge solutions `free` = P F'X held to a zero diagonal: free - P diag(free) / diag(P) (Lagrange, as in Steck 2019)."""
    b = free - inverse * (np.diag(free) / np.diag(inverse))
    b[np.diag_indices_from(b)] = 0
    return np.asarray(b, np.float64)


def side_rows(dataset: Dataset, kept: NDArray[np.int64]) -> NDArray[np.float64]:
    """(n_kept, n_values) attribute values, each weighted by log(n_items / n_with_it) and items of length 1 on average."""
    blocks = [b[kept] for b in attribute_blocks(dataset.catalog, kept, SIDE_VALUES).values()]
    if not blocks:
        return np.zeros((len(kept), 1))
    rows = np.concatenate(blocks, axis=1)
    rows *= np.log(len(rows) / np.maximum(rows.sum(axis=0), 1.0)).clip(min=0)
    return np.asarray(rows / max(np.linalg.norm(rows, axis=1).mean(), 1e-9))
