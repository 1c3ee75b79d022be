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
from recsys_core.explain._ranks import ranks_in, scores
from recsys_core.explain.answer import answer, subject_of, told
from recsys_core.explain.explainers import named
from recsys_core.explain.game import Budget, Explanation
from recsys_core.explain.pair import REMEMBERED, Pair
from recsys_core.explain.questions.attributes import Ground
from recsys_core.explain.sentence import sentence
from recsys_core.explain.subject import shares
from recsys_core.hybrid import Blend
from recsys_core.recommend import recommend
from recsys_core.scorers.base import Scores

if TYPE_CHECKING:
    from recsys_core.run import Run

PAIR = ("user_id", "item_id", "rank", "question", "method")
PLAYER = ("player", "label", "contribution", "standard_error")
TRUST = ("base", "output", "gap", "fidelity", "evaluations", "seed")
COLUMNS = [*PAIR, *PLAYER, *TRUST, "sentence"]


def explain_pairs(
    run: Run,
    pairs: Sequence[tuple[str, str]],
    *,
    question: str = "history",
    method: str = "",
    budget: Budget | None = None,
    seed: int = 0,
    weights: Mapping[str, float] | None = None,
    language: str = "",
) -> pd.DataFrame:
    """COLUMNS, one row a player of each (user, item) pair, most credited first; users in the order in which they first come.

    A pair without players (a user without likes) has one row, player "" and contribution 0. What a method does not give
    (standard_error, fidelity) is NaN.

    Args:
        language: of a sentence for each pair, on each of its rows; "": none are made, which is several times faster.

    Raises UserError as `explain` does, for the first pair that cannot be explained.
    """
    by_user: dict[str, list[str]] = {}
    for user, item in pairs:
        by_user.setdefault(user, []).append(item)
    tables = []
    for user, items in by_user.items():
        (row,), codes = run.dataset.users.codes([user], "user"), run.dataset.items.codes(items, "item")
        first = subject_of(run, run.histories[[row]], run.hidden[[row]], int(codes[0]), weights)
        together, listed = shares(first.model, first.history, codes, first.hidden), scores(first)
        for n, item in enumerate(items):
            about = replace(first, item=int(codes[n])).with_shares(together.of(n))
            found = answer(run, about, question, method, budget or Budget(), seed)
            if language:
                found = told(about, found, user, language)
            else:
                found = named(found, user=user, item=item, rank=int(ranks_in(listed, about.item)[0]))
            tables.append(_rows(found))
    return pd.concat(tables, ignore_index=True)[COLUMNS] if tables else pd.DataFrame(columns=COLUMNS)


def _rows(found: Explanation) -> pd.DataFrame:
    """One row a player, or one for nobody."""
    table = found.frame()
    if not len(table):
        table = pd.DataFrame({"player": [""], "label": [""], "contribution": [0.0], "standard_error": [np.nan]})
    facts = {name: getattr(found, name) for name in (*PAIR[2:], *TRUST, "sentence")}
    return table.assign(user_id=found.user, item_id=found.item, **facts)


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

    lines = []
    for n, code in enumerate(codes):
        about = replace(first, item=int(code)).with_shares(together.of(n))
        pair = Pair(about, person, Ground.of(about), without)
        lines.append(sentence(about.with_blend(blend), None, language, ranks=partial(pair.ranks, blend), ground=pair.ground).text)
    return lines
