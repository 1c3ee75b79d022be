"""Many explanations in one table: a user's whole list, or any pairs. In: a run and external ids. Out: a frame, one row a player.

Where the answer is closed form all items of a user share one pass over their history.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd

from recsys_core.explain.answer import answer, subject_of
from recsys_core.explain.game import Budget
from recsys_core.explain.subject import shares
from recsys_core.recommend import recommend

if TYPE_CHECKING:
    from recsys_core.run import Run

COLUMNS = ["user_id", "item_id", "question", "method", "player", "label", "contribution", "base", "output", "gap"]


def explain_pairs(
    run: Run,
    pairs: Sequence[tuple[str, str]],
    *,
    question: str = "history",
    method: str = "",
    budget: Budget | None = None,
    seed: int = 0,
    weights: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """COLUMNS, one row a player of each (user, item) pair, most credited first; users in the order in which they first come.

    Raises UserError as `explain` does, for the first pair that cannot be explained.
    """
    by_user: dict[str, list[str]] = {}
    for user, item in pairs:
        by_user.setdefault(user, []).append(item)
    tables = []
    for user, items in by_user.items():
        (row,), codes = run.dataset.users.codes([user], "user"), run.dataset.items.codes(items, "item")
        first = subject_of(run, run.histories[[row]], run.hidden[[row]], int(codes[0]), weights)
        together = shares(first.model, first.history, codes, first.hidden)
        for n, item in enumerate(items):
            about = replace(first, item=int(codes[n])).with_shares(together.of(n))
            found = answer(run, about, question, method, budget or Budget(), seed)
            tables.append(
                found.frame().assign(
                    user_id=user,
                    item_id=item,
                    question=question,
                    method=found.method,
                    base=found.base,
                    output=found.output,
                    gap=found.gap,
                )
            )
    return pd.concat(tables, ignore_index=True)[COLUMNS] if tables else pd.DataFrame(columns=COLUMNS)


def explain_list(run: Run, user: str, *, k: int, weights: Mapping[str, float] | None = None, **how: object) -> pd.DataFrame:
    """`explain_pairs` of a user's top k under these weights, best first."""
    (row,) = run.dataset.users.codes([user], "user")
    model = run.model.with_weights(weights or {})
    items = recommend(model, run.histories[[row]], run.hidden[[row]], k=k).items[0]
    pairs = [(user, str(run.dataset.items.ids[i])) for i in items if i >= 0]
    return explain_pairs(run, pairs, weights=weights, **how)  # type: ignore[arg-type]
