"""A sentence says only what numbers say: every clause is checked against scores computed another way."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from test_questions import hybrid, subject, world

from recsys_core.data import Catalog, Dataset
from recsys_core.errors import UserError
from recsys_core.explain import questions
from recsys_core.explain.explainers import attribute
from recsys_core.explain.questions.attributes import common_to_all
from recsys_core.explain.sentence import Clause, Sentence, languages, sentence, tell
from recsys_core.explain.subject import Subject
from recsys_core.hybrid import Hybrid
from recsys_core.recommend import recommend


@pytest.fixture(scope="module")
def data() -> Dataset:
    return world()


@pytest.fixture(scope="module")
def model(data: Dataset, tiny: str) -> Hybrid:
    return hybrid(data, ("popularity", "item_knn", "ease"), tiny)


def place(about: Subject, without: str = "") -> int:
    """Rank in the list that `recommend` makes, with one past item taken out; 0 = not in it."""
    kept = about.items.ids[about.history.items] != without
    rows = recommend(about.model, about.history.keep(kept), about.hidden, k=len(about.items)).items[0]
    at = np.flatnonzero(rows == about.item)
    return int(at[0]) + 1 if len(at) else 0


def untrue(told: Sentence, about: Subject) -> list[Clause]:
    """Clauses that do not hold when everything is computed anew."""
    history = attribute(questions.ask("history", about), "exact")
    credit = dict(zip(history.players, history.contributions, strict=True))
    total = sum(v for v in credit.values() if v > 0)
    liked = set(about.items.ids[about.history.likes.items])
    wrong = []
    for c in told.clauses:
        if c.kind in ("history", "past"):
            all_liked = set(c.players) <= liked
            holds = (c.kind == "history") == all_liked and abs(sum(credit[p] for p in c.players) / total - c.value) < 1e-9
        elif c.kind == "against":
            worst = min(credit, key=lambda p: credit[p])
            holds = c.players == (worst,) and abs(sum(credit.values()) - c.value) < 1e-9 and c.value < 0
        elif c.kind == "attribute":
            found = attribute(questions.ask("attributes", about), "exact")
            holds = abs(dict(zip(found.players, found.contributions, strict=True))[c.players[0]] / total - c.value) < 1e-9
        elif c.kind == "apart":
            parts = attribute(questions.ask("components", about), "exact")
            told_of = credit_said(told, credit)
            holds = abs(dict(zip(parts.players, parts.contributions, strict=True))[c.players[0]] - c.value) < 1e-9
            holds = holds and abs(c.value) > told_of
        elif c.kind in ("without", "still"):
            holds = (place(about), place(about, c.players[0])) == (c.before, c.value)
        else:
            holds = max(credit.values(), default=0) <= 0
        wrong += [] if holds else [c]
    return wrong


def credit_said(told: Sentence, credit: dict[str, float]) -> float:
    """Log-odds of the past items that the first clause tells of."""
    first = told.clauses[0]
    return abs(first.value) if first.kind == "against" else sum(credit[p] for p in first.players)


def says_what_is_apart(told: Sentence, about: Subject) -> bool:
    """Popularity is the one component here that reads no history: named where it outweighs the past items, and only there."""
    history = attribute(questions.ask("history", about), "exact")
    part = float(about.parts[about.model.names.index("popularity")])
    outweighs = abs(part) > credit_said(told, dict(zip(history.players, history.contributions, strict=True)))
    return outweighs == any(c.kind == "apart" for c in told.clauses)


def subjects(data: Dataset, model: Hybrid) -> list[Subject]:
    rng = np.random.default_rng(0)
    return [subject(data, model, int(rng.integers(len(data.users))), int(rng.integers(len(data.items)))) for _ in range(200)]


def test_every_clause_holds_when_scored_again(data: Dataset, model: Hybrid) -> None:
    kinds = set()
    for about in subjects(data, model):
        told = sentence(about)
        assert told.clauses
        assert not untrue(told, about), told.text
        assert told.clauses[0].kind in ("component", "nothing") or says_what_is_apart(told, about)
        kinds |= {c.kind for c in told.clauses}
    assert {"history", "against", "attribute", "apart", "without", "still"} <= kinds


def test_a_false_clause_is_noticed(data: Dataset, model: Hybrid) -> None:
    about = next(s for s in subjects(data, model) if len(sentence(s).clauses) == 3)
    told = sentence(about)
    for n, clause in enumerate(told.clauses):
        off = [*told.clauses]
        off[n] = replace(clause, value=clause.value + 0.5)
        assert untrue(Sentence("", tuple(off)), about)


def test_numbers_in_the_text_are_those_of_the_clauses(data: Dataset, model: Hybrid) -> None:
    about = next(s for s in subjects(data, model) if {c.kind for c in sentence(s).clauses} >= {"history", "without"})
    for language in languages():
        told = sentence(about, language=language)
        assert f"{told.clauses[0].value:.0%}" in told.text
        last = told.clauses[-1]
        assert str(int(last.value)) in told.text
        assert str(last.before) in told.text
        for p in last.players:
            assert str(about.catalog.titles[about.items.codes([p])[0]]) in told.text


def test_words_are_fixed() -> None:
    clauses = [
        Clause("history", ("1", "2"), 0.62),
        Clause("attribute", ("genres: Crime",), 0.21),
        Clause("without", ("1",), 7, before=2),
    ]
    titles = {"1": "Heat", "2": "Fargo"}
    assert tell(clauses, titles, "en") == (
        "Because you liked Heat and Fargo (62% of what your history adds); 21% of it comes through genres: Crime, "
        "which it shares with items of your history; without Heat it would be rank 7 instead of 2."
    )
    assert tell(clauses, titles, "zh") == (
        "因为您喜欢过《Heat》和《Fargo》（占您的历史所加分数的 62%）；其中 21% 来自与您历史中的条目共有的 genres: Crime；"
        "如果没有《Heat》，它的排名会从第 2 名变为第 7 名。"
    )
    assert tell([Clause("against", ("1",), -0.25)], titles, "en") == (
        "Your history speaks against it (-0.25 log-odds in all), Heat most."
    )
    without = Clause("without", ("1",), 2, before=7)  # others lose more
    assert tell([clauses[0], without], titles, "en").endswith("; yet without Heat it would be rank 2 instead of 7.")
    assert "；不过如果没有《Heat》" in tell([clauses[0], without], titles, "zh")
    against = Clause("against", ("1",), -0.25)
    assert tell([against, without], titles, "en").endswith("; without Heat it would be rank 2 instead of 7.")
    assert tell([against, clauses[2]], titles, "en").endswith("; yet without Heat it would be rank 7 instead of 2.")
    assert "rank 3" in tell([Clause("still", ("1",), 3, before=3)], titles, "en")


def test_nobody_speaks_for_it(data: Dataset, model: Hybrid) -> None:
    about = subject(data, model, 3, 4)
    empty = replace(about, history=about.history.keep(np.zeros(len(about.history.items), bool)))
    (clause,) = sentence(empty).clauses
    assert clause.kind in ("component", "nothing")
    assert "nothing in your history speaks for it" in sentence(empty).text or "Nothing speaks for it" in sentence(empty).text


def test_what_most_items_have_is_not_named(data: Dataset, model: Hybrid) -> None:
    common = data.catalog.frame.assign(kind=[("film",)] * len(data.items), year=[()] * len(data.items))
    for about in subjects(data, model)[:20]:
        other = replace(about, catalog=type(data.catalog)(common))
        assert all(c.kind != "attribute" for c in sentence(other).clauses)


def test_an_unknown_language_is_named(data: Dataset, model: Hybrid) -> None:
    with pytest.raises(UserError, match=r"unknown language 'fr'; known: en, zh"):
        sentence(subject(data, model, 3, 4), language="fr")


def test_common_is_what_more_than_half_of_the_items_have() -> None:
    frame = pd.DataFrame({"title": list("abcd"), "text": "", "year": [("1994",), ("1999", "1990"), ("1990s",), ("2001",)],
                          "genres": [("Crime",), (), ("Crime", "Drama"), ("War",)]})  # fmt: skip
    catalog = Catalog(frame)
    assert common_to_all(catalog, "year: 1990s")
    assert not any(common_to_all(catalog, name) for name in ("year: 1994", "year: 2000s", "genres: Crime", "genres: Noir"))
    assert common_to_all(catalog, "genres: Crime", most=0.4)
