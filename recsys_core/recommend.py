"""Top-K lists from a model and histories; frozen results with `.frame()`.

In: anything with `score` (a Hybrid has `parts` too), histories, what to hide. Out: Recommendations in internal ids.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys_core.data import Histories
from recsys_core.errors import UserError
from recsys_core.hybrid import Hybrid, sigmoid
from recsys_core.ranking import hide, top_k
from recsys_core.scorers.base import Scores

if TYPE_CHECKING:
    from recsys_core.run import Run


@dataclass(frozen=True)
class Recommendations:
    """Lists of n rows: `items` (n, k) with -1 behind the end of a short list, `logit` and `probability` (n, k),
    `parts` (n, k, components) with NaN = not available, `base` (n, k): base + parts = logit."""

    items: NDArray[np.int64]
    logit: NDArray[np.float32]
    probability: NDArray[np.float64]
    parts: Scores
    base: NDArray[np.float32]
    names: tuple[str, ...]

    def frame(self, users: NDArray[Any], item_ids: NDArray[Any]) -> pd.DataFrame:
        """One row a recommendation: user_id, item_id, rank (from 1), score (logit), probability, `part_<component>`."""
        row, rank = np.nonzero(self.items >= 0)
        item = self.items[row, rank]
        table = {
            "user_id": np.asarray(users, dtype=object)[row],
            "item_id": item_ids[item],
            "rank": rank + 1,
            "score": self.logit[row, rank],
            "probability": self.probability[row, rank],
        }
        return pd.DataFrame(table | {f"part_{n}": self.parts[row, rank, c] for c, n in enumerate(self.names)})


def recommend(model: Hybrid, histories: Histories, hidden: Histories, *, k: int) -> Recommendations:
    """The k best items of each row that are not in `hidden` (same rows). Raises UserError if k < 1."""
    if k < 1:
        raise UserError(f"k must be 1 or more, not {k}")
    blocks = []
    for rows, block in histories.blocks(256):
        z = model.z(block, hidden=hidden[rows])
        logit = model.blend.logit(z, model.cold)
        items = top_k(hide(logit, hidden[rows]), k)
        blocks.append((items, *_gather(model, z, logit, items)))
    items, logits, parts, base = (np.concatenate(column) for column in zip(*blocks, strict=True))
    return Recommendations(items, logits, sigmoid(logits), parts, base, model.names)


def _gather(model: Hybrid, z: Scores, logit: Scores, items: NDArray[np.int64]) -> tuple[Scores, Scores, NDArray[np.float32]]:
    """Logits, parts and bases of the listed items; NaN behind the end of a short list."""
    at = np.maximum(items, 0)
    cold, absent = model.cold[at], items < 0
    logits = np.where(absent, np.nan, np.take_along_axis(logit, at, axis=1)).astype(np.float32)
    parts = model.blend.parts(np.take_along_axis(z, at[:, :, None], axis=1), cold)
    return logits, np.where(absent[:, :, None], np.nan, parts).astype(np.float32), model.blend.base(cold)


def recommend_users(
    run: Run, users: list[str] | None, *, k: int, weights: dict[str, float] | None = None, hide_as: str | None = None
) -> pd.DataFrame:
    """Lists for external user ids of a run (None: all), as a frame.

    Args:
        hide_as: what lists leave out, "met" or "liked"; None takes the run's own convention.
    """
    codes = np.arange(len(run.dataset.users)) if users is None else run.dataset.users.codes(users, "user")
    model = run.model.with_weights(weights or {})
    lists = recommend(model, run.histories[codes], run.hidden_by(hide_as)[codes], k=k)
    return lists.frame(run.dataset.users.ids[codes], run.dataset.items.ids)


def recommend_history(run: Run, items: list[str], *, k: int, weights: dict[str, float] | None = None) -> pd.DataFrame:
    """The list for a history of external item ids (oldest first), of a person who need not be in the data."""
    row = Histories.of([list(run.dataset.items.codes(items, "item"))], len(run.dataset.items))
    lists = recommend(run.model.with_weights(weights or {}), row, row, k=k)
    return lists.frame(np.array(["history"], dtype=object), run.dataset.items.ids)
