"""Top-K lists from a model and histories; frozen results with `.frame()`.

In: anything with `score` (a Hybrid has `parts` too), histories, what to hide. Out: Recommendations in internal ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys_core import show
from recsys_core.data import Histories
from recsys_core.hybrid import Hybrid, sigmoid
from recsys_core.limits import check_k
from recsys_core.ranking import hide, top_k
from recsys_core.scorers.base import Scores

if TYPE_CHECKING:
    from recsys_core.run import Run

SHOWN = 100  # rows of a notebook's table


@dataclass(frozen=True)
class Recommendations:
    """Lists of n rows: `items` (n, k) with -1 behind the end of a short list, `logit` and `probability` (n, k),
    `parts` (n, k, components) with NaN = not available, `base` (n, k): base + parts = logit.

    What a person reads, where it is known: `users` (n,) and `item_ids`, `titles` (n_items,)."""

    items: NDArray[np.int64]
    logit: NDArray[np.float32]
    probability: NDArray[np.float64]
    parts: Scores
    base: NDArray[np.float32]
    names: tuple[str, ...]
    users: NDArray[Any] | None = None
    item_ids: NDArray[Any] | None = None
    titles: NDArray[Any] | None = None

    def frame(self, users: NDArray[Any] | None = None, item_ids: NDArray[Any] | None = None) -> pd.DataFrame:
        """One row a recommendation: user_id, item_id, rank (from 1), score (logit), probability, `part_<component>`.

        Ids default to those that the lists know, and where they know none to positions."""
        row, rank = np.nonzero(self.items >= 0)
        item = self.items[row, rank]
        users, item_ids = self.users if users is None else users, self.item_ids if item_ids is None else item_ids
        table = {
            "user_id": row if users is None else np.asarray(users, dtype=object)[row],
            "item_id": item if item_ids is None else item_ids[item],
            "rank": rank + 1,
            "score": self.logit[row, rank],
            "probability": self.probability[row, rank],
        }
        return pd.DataFrame(table | {f"part_{n}": self.parts[row, rank, c] for c, n in enumerate(self.names)})

    def picked(self, columns: NDArray[np.int64]) -> Recommendations:
        """The same rows with some of their places, `columns` (n, k) in the order given, -1 behind the end."""
        at, none = np.maximum(columns, 0), columns < 0
        items = np.where(none, -1, np.take_along_axis(self.items, at, axis=1))
        floats = (self.logit, self.probability, self.base)
        logit, probability, base = (np.where(none, np.nan, np.take_along_axis(table, at, axis=1)) for table in floats)
        parts = np.where(none[:, :, None], np.nan, np.take_along_axis(self.parts, at[:, :, None], axis=1))
        return replace(self, items=items, logit=logit, probability=probability, base=base, parts=parts)

    def _repr_html_(self) -> str:
        """A row a recommendation, its parts as a bar, for notebooks; no script, all text escaped."""
        frame, titles = self.frame(), self.titles
        item = self.items[self.items >= 0]
        cut = frame.iloc[:SHOWN]
        bars = show.stacks(cut[[f"part_{n}" for n in self.names]].to_numpy(float).tolist(), self.names)
        named = cut["item_id"] if titles is None else [titles[i] for i in item[:SHOWN]]
        rows = [
            (str(user), int(rank), str(code), str(title), f"{p:.1%}", strip)
            for user, rank, code, title, p, strip in zip(
                cut["user_id"], cut["rank"], cut["item_id"], named, cut["probability"], bars, strict=True
            )
        ]
        more = f"{len(frame) - len(cut):,} more rows: .frame() has them all" if len(frame) > len(cut) else ""
        table = show.table(("user", "rank", "item", "title", "probability", "parts of the log-odds"), rows)
        return show.page(f"Recommendations, top {self.items.shape[1]}", show.legend(self.names), table, more)


def recommend(model: Hybrid, histories: Histories, hidden: Histories, *, k: int) -> Recommendations:
    """The k best items of each row that are not in `hidden` (same rows). Raises UserError if k < 1."""
    check_k(k)
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


def lists_of(
    run: Run,
    users: Iterable[str] | None,
    *,
    k: int = 10,
    weights: Mapping[str, float] | None = None,
    hide_as: str | None = None,
    model: Hybrid | None = None,
) -> Recommendations:
    """Lists for external user ids of a run (None: all), with their names; a notebook shows them as a table.

    Args:
        weights: by component, in place of learned ones.
        hide_as: what lists leave out, "met" or "liked"; None takes the run's own convention.
        model: another one on the same items, such as `foreign.beside` makes; None: the run's own.

    Raises UserError for an unknown user or component, or a k below 1.
    """
    codes = np.arange(len(run.dataset.users)) if users is None else run.dataset.users.codes(users, "user")
    chosen = (model or run.model).with_weights(weights or {})
    lists = recommend(chosen, run.histories[codes], run.hidden_by(hide_as)[codes], k=k)
    return _named(lists, run, run.dataset.users.ids[codes])


def list_of(run: Run, items: Iterable[str], *, k: int = 10, weights: Mapping[str, float] | None = None) -> Recommendations:
    """The same for one history of external item ids (oldest first), of a person who need not be in the data."""
    row = row_of(run, items)
    lists = recommend(run.model.with_weights(weights or {}), row, row, k=k)
    return _named(lists, run, np.array(["history"], dtype=object))


def row_of(run: Run, items: Iterable[str]) -> Histories:
    """One history of external item ids, oldest first, all of them likes."""
    return Histories.of([list(run.dataset.items.codes(items, "item"))], len(run.dataset.items))


def _named(lists: Recommendations, run: Run, users: NDArray[Any]) -> Recommendations:
    return replace(lists, users=users, item_ids=run.dataset.items.ids, titles=run.dataset.catalog.titles)


def recommend_users(
    run: Run, users: list[str] | None, *, k: int, weights: dict[str, float] | None = None, hide_as: str | None = None
) -> pd.DataFrame:
    """`lists_of` as a frame."""
    return lists_of(run, users, k=k, weights=weights, hide_as=hide_as).frame()
