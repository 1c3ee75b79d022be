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
from recsys_core.explain._ranks import BLOCK, ranks_in
from recsys_core.explain.answer import answer, subject_of, told
from recsys_core.explain.explainers import named
from recsys_core.explain.game import Budget, Explanation
from recsys_core.explain.pair import REMEMBERED, Pair
from recsys_core.explain.questions.attributes import Ground
from recsys_core.explain.sentence import sentence
from recsys_core.explain.subject import shares
from recsys_core.hybrid import Blend
from recsys_core.ranking import hide
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
    answers: list[Explanation] = []
    places = _ranks(run, by_user, weights)
    for user, items in by_user.items():
        (row,), codes = run.dataset.users.codes([user], "user"), run.dataset.items.codes(items, "item")
        first = subject_of(run, run.histories[[row]], run.hidden[[row]], int(codes[0]), weights)
        together = shares(first.model, first.history, codes, first.hidden)
        for n, item in enumerate(items):
            about = replace(first, item=int(codes[n])).with_shares(together.of(n))
            found = answer(run, about, question, method, budget or Budget(), seed)
            if language:
                found = told(about, found, user, language)
            else:
                found = named(found, user=user, item=item, rank=places[user][n])
            answers.append(found)
    return _table(answers)


def _ranks(run: Run, asked: Mapping[str, Sequence[str]], weights: Mapping[str, float] | None) -> dict[str, list[int]]:
    """Each user's items' ranks, 0 = no candidate; many users are scored at once."""
    model, users, found = run.model.with_weights(weights or {}), list(asked), dict[str, list[int]]()
    rows = run.dataset.users.codes(users, "user")
    for at in range(0, len(rows), BLOCK):
        some = rows[at : at + BLOCK]
        listed = hide(model.score(run.histories[some], hidden=run.hidden[some]), run.hidden[some])
        for n, user in enumerate(users[at : at + BLOCK]):
            codes = run.dataset.items.codes(asked[user], "item")
            found[user] = [int(ranks_in(listed[[n]], int(code))[0]) for code in codes]
    return found


def _table(answers: Sequence[Explanation]) -> pd.DataFrame:
    """One row a player, or one for nobody."""
    if not answers:
        return pd.DataFrame(columns=COLUMNS)
    nobody = pd.DataFrame({"player": [""], "label": [""], "contribution": [0.0], "standard_error": [np.nan]})
    players = [e.frame() if e.players else nobody for e in answers]
    names = ("user", "item", *PAIR[2:], *TRUST, "sentence")
    facts = pd.DataFrame([[getattr(e, name) for name in names] for e in answers], columns=[*PAIR, *TRUST, "sentence"])
    of_each = np.repeat(np.arange(len(answers)), [len(p) for p in players])
    return pd.concat([facts.iloc[of_each].reset_index(drop=True), pd.concat(players, ignore_index=True)], axis=1)[COLUMNS]


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
