"""Other people's models: an object with `score(histories, items=None)`, or a table of scores, explained as far as it allows.

In: the object, or rows user_id, item_id, score. Out: a Hybrid (alone, or beside the components that are there), which every
question, counterfactual and chart takes. `recsys_core.testing` checks the object first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys_core.data import Dataset, Histories
from recsys_core.errors import UserError
from recsys_core.hybrid import Blend, Hybrid, constants
from recsys_core.scorers.base import Scorer, Scores


class Scores2D(Protocol):
    """What a foreign model owes."""

    def score(self, histories: Histories, items: NDArray[np.int64] | None = None) -> NDArray[Any]:
        """(n_rows, len(items)) scores of `items` (default all), higher is better, NaN = cannot; a pure function of the rows."""


class Foreign(Scorer):
    """An outside model as a component. If it has `prior(items)` and `contributions(history, items)`, as `LinearScorer` does,
    explanations of the history are exact; else they are sampled from its scores."""

    def __init__(self, model: Scores2D) -> None:
        super().__init__()
        self.model = model

    def fit(self, dataset: Dataset, rng: np.random.Generator) -> Self:
        raise UserError("an outside model is not trained here")

    def score(self, histories: Histories, items: NDArray[np.int64] | None = None) -> Scores:
        return np.asarray(self.model.score(histories, items), np.float32)

    @property
    def linear(self) -> bool:
        return hasattr(self.model, "contributions") and hasattr(self.model, "prior")

    def prior(self, items: NDArray[np.int64]) -> NDArray[np.float32]:
        return np.asarray(getattr(self.model, "prior")(items), np.float32)  # noqa: B009 (optional in the protocol)

    def contributions(self, history: Histories, items: NDArray[np.int64]) -> NDArray[np.float32]:
        return np.asarray(getattr(self.model, "contributions")(history, items), np.float32)  # noqa: B009


class TableRow(Scorer):
    """One user's row of a table of scores: it ignores the history, so no past item gets credit; NaN where it has none."""

    reads_history = False

    def __init__(self, scores: NDArray[np.float32]) -> None:
        super().__init__()
        self.scores_ = scores  # (n_items,)

    def fit(self, dataset: Dataset, rng: np.random.Generator) -> Self:
        raise UserError("a table of scores is not trained here")

    def score(self, histories: Histories, items: NDArray[np.int64] | None = None) -> Scores:
        row = self.scores_ if items is None else self.scores_[items]
        return np.broadcast_to(row, (len(histories), len(row))).copy()

    @property
    def linear(self) -> bool:
        return True

    def prior(self, items: NDArray[np.int64]) -> NDArray[np.float32]:
        return self.scores_[items]

    def contributions(self, history: Histories, items: NDArray[np.int64]) -> NDArray[np.float32]:
        return np.zeros((len(history.items), 1), np.float32) * self.scores_[items]


def alone(model: Scores2D, n_items: int, name: str = "model") -> Hybrid:
    """A hybrid of the outside model alone, weight 1, its scores as they are: what is explained is the score itself."""
    return Hybrid({name: Foreign(model)}, Blend((name,), (0.0,), (1.0,), (1.0,)), np.zeros(n_items, bool))


def beside(hybrid: Hybrid, name: str, scorer: Scorer, histories: Histories, weight: float) -> Hybrid:
    """The hybrid with one more component, standardised on `histories` like the others; its weight is log-odds per deviation.

    Raises UserError if the name is taken.
    """
    if name in hybrid.names:
        raise UserError(f"the run has a component {name!r} already; give the table another name")
    (mu,), (sigma,) = constants({name: scorer}, histories)
    b = hybrid.blend
    blend = replace(
        b,
        names=(*b.names, name),
        mu=(*b.mu, mu),
        sigma=(*b.sigma, sigma),
        weights=(*b.weights, weight),
        cold_factors=(*b.cold_factors, 1.0) if b.cold_factors else (),
        newcomers=(*b.newcomers, b.damp) if b.newcomers else (),  # t = 1: the score is as sure as it is
    )
    return Hybrid({**hybrid.components, name: scorer}, blend, hybrid.cold)


def table_row(table: pd.DataFrame, dataset: Dataset, user: str) -> TableRow:
    """The scores that a table (user_id, item_id, score) has for one user.

    Raises UserError naming the column, row or id that is wrong.
    """
    missing = [c for c in ("user_id", "item_id", "score") if c not in table]
    if missing:
        raise UserError(f"a table of scores needs the columns user_id, item_id and score; it lacks {', '.join(missing)}")
    mine = table[table["user_id"].astype(str) == user]
    if mine.empty:
        raise UserError(f"the table of scores has no row for user {user}; add the scores of this user")
    codes = dataset.items.codes(mine["item_id"], "item")
    values = pd.to_numeric(mine["score"], errors="coerce").to_numpy(np.float32)
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        row = mine.index[bad[0]]
        raise UserError(f"row {row}, column score: {mine['score'].loc[row]!r} is not a finite number")
    if len(np.unique(codes)) < len(codes):
        raise UserError(f"the table of scores names an item twice for user {user}; keep one row of each pair")
    scores = np.full(len(dataset.items), np.nan, np.float32)
    scores[codes] = values
    return TableRow(scores)


def described(hybrid: Hybrid) -> Mapping[str, str]:
    """What each component allows: "exact" shares of past items, or "sampled" ones."""
    return {name: "exact" if scorer.linear else "sampled" for name, scorer in hybrid.components.items()}
