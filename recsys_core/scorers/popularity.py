"""Popularity: how often an item was liked, recent likes counting more. Ignores the history.

In: liked interactions. Out: log(1 + sum over likes of 2^(-age / half_life)).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from recsys_core.data import Dataset, Histories
from recsys_core.scorers.base import Scorer, Scores, one_row


@dataclass(frozen=True)
class PopularityConfig:
    """`half_life`: as a share of all likes (0.05: the latest 5% count at least half); 0 counts all likes alike."""

    half_life: float = 0.0


class Model(Scorer):
    """Most popular items (recent popularity with a half-life; Ji et al. 2020, arXiv:2005.13829)."""

    Config = PopularityConfig
    reads_history = False
    search: ClassVar[dict[str, tuple[Any, ...]]] = {"half_life": (0.0, 0.02, 0.05, 0.2)}
    prior_: NDArray[np.float32]  # (n_items,)

    def fit(self, dataset: Dataset, rng: np.random.Generator) -> Self:
        events = dataset.interactions[dataset.liked]
        weight = np.ones(len(events))
        if self.config.half_life and events.time is not None and len(events):
            later = len(events) - np.searchsorted(np.sort(events.time), events.time, side="right")  # likes after this one
            weight = 0.5 ** (later / (self.config.half_life * len(events)))
        counts = np.bincount(events.item, weights=weight, minlength=len(dataset.items))
        self.prior_ = np.where(dataset.unmet, np.nan, np.log1p(counts)).astype(np.float32)  # new is not unpopular
        return self

    def score(self, histories: Histories, items: NDArray[np.int64] | None = None) -> Scores:
        prior = self.prior_ if items is None else self.prior_[items]
        return np.broadcast_to(prior, (len(histories), len(prior))).copy()

    @property
    def linear(self) -> bool:
        return True

    def prior(self, items: NDArray[np.int64]) -> NDArray[np.float32]:
        return self.prior_[items]

    def contributions(self, history: Histories, items: NDArray[np.int64]) -> NDArray[np.float32]:
        """(n_past, len(items)) zeros: no past item matters; NaN where there is no score."""
        return np.zeros((len(one_row(history).items), 1), np.float32) * self.prior_[items]
