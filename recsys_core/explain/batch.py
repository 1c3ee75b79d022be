"""Many explanations at once: a user's whole list, or any pairs. In: a run and external ids. Out: a frame, one row a player; or a
sentence for each item.

Where the answer is closed form all items of a user share one pass over their history.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from recsys_core.browse import Person
from recsys_core.explain.answer import answer, subject_of
from recsys_core.explain.game import Budget
from recsys_core.explain.pair import REMEMBERED, Pair
from recsys_core.explain.questions.attributes import Ground
from recsys_core.explain.sentence import sentence
from recsys_core.explain.subject import shares
from recsys_core.hybrid import Blend
from recsys_core.recommend import recommend
from recsys_core.scorers.base import Scores

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


def sentences(run: Run, person: Person, blend: Blend, items: Sequence[str], language: str = "en") -> list[str]:
    """For each item why it stands where it does in a person's list, as `pair.why` says it of one.

    All items share one pass over the history, and one scored history for each past item that a sentence takes away. Raises
    UserError for an item or user that is unknown, and for an unknown language.
    """
    if not items:
        return []
    (row,), codes = run.dataset.users.codes([person.user], "user"), run.dataset.items.codes(items, "item")
    first = subject_of(run, run.histories[[row]], person.hidden, int(codes[0]))
    together = shares(first.model, first.history, codes, first.hidden)

    @lru_cache(maxsize=REMEMBERED)
    def without(mask: bytes) -> Scores:
        return first.model.z(first.masked(np.frombuffer(mask, bool)[None]), hidden=first.hidden)

    told = []
    for n, code in enumerate(codes):
        about = replace(first, item=int(code)).with_shares(together.of(n))
        pair = Pair(about, person, Ground.of(about), without)
        told.append(sentence(about.with_blend(blend), None, language, ranks=partial(pair.ranks, blend), ground=pair.ground).text)
    return told
