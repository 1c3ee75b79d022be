"""Other people's models are checked by the contract and then explained like ours; models that break it are named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from worlds import random_world

from recsys_core import scorers, testing
from recsys_core.data import Histories
from recsys_core.errors import UserError
from recsys_core.explain import questions
from recsys_core.explain.explainers import attribute
from recsys_core.explain.foreign import Foreign, alone, beside, described, table_row
from recsys_core.explain.game import Budget
from recsys_core.explain.subject import Subject
from recsys_core.hybrid import Blend, Hybrid, constants
from recsys_core.testing import check_model

N = 40


class Neighbours:
    """Linear in the history: the mean similarity to it; prior and contributions are not told."""

    def __init__(self) -> None:
        self.near = np.random.default_rng(0).normal(size=(N, N))

    def score(self, histories: Histories, items: Any = None) -> Any:
        sums = histories.csr(size_power=1.0) @ self.near
        return sums if items is None else sums[:, items]


class Loudest(Neighbours):
    """Not linear: the best single reason counts."""

    def score(self, histories: Histories, items: Any = None) -> Any:
        out = np.zeros(histories.shape)
        for n, row in enumerate(np.split(histories.items, histories.indptr[1:-1])):
            out[n] = self.near[row].max(axis=0, initial=0)
        return out if items is None else out[:, items]


class Told(Neighbours):
    def prior(self, items: Any) -> Any:
        return np.zeros(len(items))

    def contributions(self, history: Histories, items: Any) -> Any:
        return history.csr(size_power=1.0).data[:, None] * self.near[np.ix_(history.items, items)]


BROKEN: dict[str, tuple[type, str]] = {}


def breaks(says: str) -> Any:
    def mark(cls: type) -> type:
        BROKEN[cls.__name__] = (cls, says)
        return cls

    return mark


@breaks("shape")
class OneColumnShort(Neighbours):
    def score(self, histories: Histories, items: Any = None) -> Any:
        return super().score(histories, items)[:, :-1]


@breaks("floating point")
class Whole(Neighbours):
    def score(self, histories: Histories, items: Any = None) -> Any:
        return super().score(histories, items).astype(int)


@breaks("infinite")
class Endless(Neighbours):
    def score(self, histories: Histories, items: Any = None) -> Any:
        return super().score(histories, items) / 0.0


@breaks("is not score")
class SortsItems(Neighbours):
    def score(self, histories: Histories, items: Any = None) -> Any:
        return super().score(histories, items if items is None else np.sort(items))


@breaks("alone scores otherwise")
class LooksAround(Neighbours):
    def score(self, histories: Histories, items: Any = None) -> Any:
        scores = super().score(histories, items)
        return scores - scores.mean(axis=0)


@breaks("two answers")
class Moody(Neighbours):
    calls = 0

    def score(self, histories: Histories, items: Any = None) -> Any:
        self.calls += 1
        return super().score(histories, items) + (self.calls > 10)


@breaks("changed the histories")
class Meddles(Neighbours):
    def score(self, histories: Histories, items: Any = None) -> Any:
        scores = super().score(histories, items)
        histories.ages[:] += 1
        return scores


@breaks("empty history must score")
class NeedsAPast(Neighbours):
    def score(self, histories: Histories, items: Any = None) -> Any:
        if len(histories) == 1 and not len(histories.items):
            return np.zeros((0, N))
        return super().score(histories, items)


@breaks("taken out")
class ForgetsMasks(Neighbours):
    def score(self, histories: Histories, items: Any = None) -> Any:
        scores = super().score(histories, items)
        return scores if histories.sizes is None else scores[:-1]


@breaks("sum of contributions is not the score")
class Lies(Told):
    def contributions(self, history: Histories, items: Any) -> Any:
        return 2 * super().contributions(history, items)


@pytest.mark.parametrize("model", [Neighbours, Loudest, Told])
def test_sound_models_pass(model: type) -> None:
    assert len(check_model(model(), N)) == len(list(testing.checks()))


@pytest.mark.parametrize("name", BROKEN)
def test_broken_models_are_told_what_the_contract_wants(name: str) -> None:
    cls, says = BROKEN[name]
    with pytest.raises(AssertionError, match=says), np.errstate(all="ignore"):
        check_model(cls(), N)


@pytest.mark.parametrize("name", [n for n in scorers.names() if n not in ("bert", "cold", "cross_encoder")])
def test_our_own_scorers_keep_the_contract(name: str) -> None:
    data = random_world()
    scorer = scorers.scorer_class(name)().fit(data, np.random.default_rng(0))
    check_model(scorer, len(data.items), data.histories()[np.arange(20)])


def subject(hybrid: Hybrid) -> Subject:
    data = random_world()
    return Subject(hybrid, data.histories()[[5]], data.met()[[5]], 9, data.catalog, data.items)


def test_a_foreign_model_is_explained_as_far_as_it_allows() -> None:
    told, silent, loud = (subject(alone(cls(), N)) for cls in (Told, Neighbours, Loudest))
    exact = attribute(questions.ask("history", told), "exact")
    assert exact.evaluations == 0
    assert abs(exact.output - float(Told().score(told.history)[0, 9])) < 1e-6
    sampled = attribute(questions.ask("history", silent), "shap_permutation")
    np.testing.assert_allclose(sampled.contributions, exact.contributions, atol=1e-6)
    rough = attribute(questions.ask("history", loud), "shap_permutation", Budget(300))
    assert abs(rough.gap) < 1e-6
    assert rough.standard_error is not None
    assert described(told.model) == {"model": "exact"}
    assert described(loud.model) == {"model": "sampled"}


def hybrid_of_ease() -> tuple[Hybrid, Histories]:
    data = random_world()
    ease = {"ease": scorers.scorer_class("ease")().fit(data, np.random.default_rng(0))}
    mu, sigma = constants(ease, data.histories())
    return Hybrid(ease, Blend(("ease",), mu, sigma, (1.0,), bias=-1.0), data.unmet), data.histories()


def test_a_table_of_scores_becomes_a_component() -> None:
    hybrid, histories = hybrid_of_ease()
    data = random_world()
    table = pd.DataFrame({"user_id": ["u5"] * 3, "item_id": ["i1", "i9", "i4"], "score": [1.0, 3.0, 2.0]})
    joined = beside(hybrid, "mine", table_row(table, data, "u5"), histories, weight=0.5)
    about = subject(joined)
    parts = attribute(questions.ask("components", about), "exact")
    z = (3.0 - (1 + 3 + 2) / 3) / np.std([1, 3, 2])
    assert abs(dict(zip(parts.players, parts.contributions, strict=True))["mine"] - 0.5 * z) < 1e-6
    past = attribute(questions.ask("history", about), "exact")
    alone_ = attribute(questions.ask("history", subject(hybrid)), "exact")
    np.testing.assert_allclose(past.contributions, alone_.contributions, atol=1e-9)  # the table credits no past item
    assert abs(past.output - joined.score(about.history)[0, 9]) < 1e-6
    other = Subject(joined, about.history, about.hidden, 11, about.catalog, about.items)
    assert "mine" not in questions.ask("components", other).players  # not in the table: not available


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"user_id": "u6"}, "no row for user u5"),
        ({"item_id": "i999"}, "unknown item 'i999'"),
        ({"score": "high"}, "row 0, column score: 'high' is not a finite number"),
        ({"score": float("inf")}, "row 0, column score"),
    ],
)
def test_bad_tables_are_named_in_one_line(change: dict[str, Any], says: str) -> None:
    table = pd.DataFrame([{"user_id": "u5", "item_id": "i1", "score": 1.0} | change])
    with pytest.raises(UserError, match=says):
        table_row(table, random_world(), "u5")


def test_other_faults_of_tables() -> None:
    data = random_world()
    with pytest.raises(UserError, match="lacks score"):
        table_row(pd.DataFrame({"user_id": ["u5"], "item_id": ["i1"]}), data, "u5")
    twice = pd.DataFrame({"user_id": ["u5", "u5"], "item_id": ["i1", "i1"], "score": [1.0, 2.0]})
    with pytest.raises(UserError, match="names an item twice"):
        table_row(twice, data, "u5")
    hybrid, histories = hybrid_of_ease()
    with pytest.raises(UserError, match="has a component 'ease' already"):
        beside(hybrid, "ease", Foreign(Neighbours()), histories, 1.0)
    with pytest.raises(UserError, match="not trained here"):
        Foreign(Neighbours()).fit(data, np.random.default_rng(0))
