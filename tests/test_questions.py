"""Closed forms against the model itself: what an explanation says of a coalition is what the model scores for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from worlds import random_world

from recsys_core import scorers
from recsys_core.data import Catalog, Dataset
from recsys_core.errors import UserError
from recsys_core.explain import explainers, questions
from recsys_core.explain.explainers import attribute
from recsys_core.explain.game import Budget
from recsys_core.explain.subject import Subject, shares
from recsys_core.explain.tree import PRIOR, TEXT_ASIDE, tree
from recsys_core.hybrid import Blend, Hybrid, constants
from recsys_core.text import Encoder, forget

LINEAR = ("popularity", "item_knn", "ease", "factors", "next_item", "bert", "cold")


def world() -> Dataset:
    data = random_world()
    kinds = [("even" if i % 2 == 0 else "odd", *(["third"] if i % 3 == 0 else [])) for i in range(len(data.items))]
    years = [(str(1985 + i),) for i in range(len(data.items))]
    return replace(data, catalog=Catalog(data.catalog.frame.assign(kind=pd.Series(kinds), year=pd.Series(years))))


def hybrid(data: Dataset, names: tuple[str, ...], tiny: str) -> Hybrid:
    given: dict[str, dict[str, Any]] = {
        "factors": {"dim": 8},
        "bert": {"encoder": tiny, "dim": 8, "epochs": 3},
        "cold": {"encoder": tiny},
    }
    fitted = {}
    for name in names:
        cls = scorers.scorer_class(name)
        fitted[name] = cls(cls.Config(**given.get(name, {}))).fit(data, np.random.default_rng(0))
    mu, sigma = constants(fitted, data.histories())
    weights = tuple(0.3 + 0.1 * n for n in range(len(names)))
    more = tuple(3.0 * (name == "popularity") for name in names)  # histories here are short
    blend = Blend(names, mu, sigma, weights, bias=-1.5, cold_shift=-0.5, newcomers=more, half=10.0, damp=0.7)
    return Hybrid(fitted, blend, data.unmet)


def subject(data: Dataset, model: Hybrid, user: int, item: int) -> Subject:
    fame = np.bincount(data.likes().items, minlength=len(data.items)).astype(float)
    return Subject(model, data.histories()[[user]], data.met()[[user]], item, data.catalog, data.items, fame)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return world()


@pytest.fixture(scope="module")
def model(data: Dataset, tiny: str) -> Hybrid:
    return hybrid(data, LINEAR, tiny)


def pairs(data: Dataset, n: int) -> list[tuple[int, int]]:
    rng = np.random.default_rng(1)
    return [(int(rng.integers(len(data.users))), int(rng.integers(len(data.items)))) for _ in range(n)]


def test_leaves_and_base_are_the_logit_shown_for_200_pairs(data: Dataset, model: Hybrid) -> None:
    for user, item in pairs(data, 200):
        about = subject(data, model, user, item)
        shown = float(model.score(data.histories()[[user]], np.array([item]))[0, 0])
        for question in ("components", "history", "attributes"):
            e = attribute(questions.ask(question, about), "exact")
            assert abs(e.base + e.contributions.sum() - shown) < 1e-6, (question, user, item)
        leaves = tree(about)
        assert abs(leaves.base + leaves.frame["contribution"].sum() - shown) < 1e-6


def test_leaves_down_to_words_are_the_logit_shown_for_200_pairs(data: Dataset, model: Hybrid) -> None:
    """Component -> past item -> word: all leaves and the base, against what the model scores."""
    for user, item in pairs(data, 200):
        leaves = tree(subject(data, model, user, item), words=True, budget=Budget(20))
        shown = float(model.score(data.histories()[[user]], np.array([item]))[0, 0])
        assert abs(leaves.base + leaves.frame["contribution"].sum() - shown) < 1e-6
        assert (leaves.frame["word"] != "").any()


def test_every_level_of_the_tree_reconciles_down_to_words(data: Dataset, model: Hybrid) -> None:
    for user, item in [*pairs(data, 8), (3, len(data.items) - 1)]:  # the last item is cold
        about = subject(data, model, user, item)
        bars, words = tree(about), tree(about, words=True)
        assert abs(words.gap) < 1e-9
        assert words.evaluations > 0
        assert bars.evaluations == 0
        a, b = (t.players().set_index(["component", "player"])["contribution"] for t in (bars, words))
        pd.testing.assert_series_equal(a, b, atol=1e-9, check_exact=False)
        parts = attribute(questions.ask("components", about), "exact")
        by_name = dict(zip(parts.players, parts.contributions, strict=True))
        for name, value in zip(words.components()["component"], words.components()["contribution"], strict=True):
            assert abs(by_name[name] - value) < 1e-9
        assert {PRIOR} <= set(bars.frame["player"])
        assert TEXT_ASIDE in set(words.frame["word"])


def test_a_long_text_is_split_by_sampled_orders_and_still_reconciles(data: Dataset, model: Hybrid) -> None:
    text = "robot space alien night love kiss wedding day red blue robot space"
    about = replace(subject(data, model, 3, 4), catalog=Catalog(data.catalog.frame.assign(text=text)))
    found = tree(about, words=True, budget=Budget(50))
    assert abs(found.gap) < 1e-9
    assert 20 < found.evaluations <= 50


def test_a_tree_with_a_lost_leaf_is_noticed(data: Dataset, model: Hybrid) -> None:
    found = tree(subject(data, model, 3, 4))
    assert abs(replace(found, frame=found.frame.iloc[1:]).gap) > 1e-6


@pytest.mark.parametrize("names", [LINEAR, ("ease", "user_knn"), ("popularity", "user_knn", "bert")])
def test_a_coalition_of_past_items_is_worth_what_the_model_scores(names: tuple[str, ...], data: Dataset, tiny: str) -> None:
    model = hybrid(data, names, tiny)
    rng = np.random.default_rng(2)
    for user, item in pairs(data, 5):
        about = subject(data, model, user, item)
        masks = rng.random((6, len(about.history.items))) < 0.5
        masks[0] = True
        game = questions.ask("history", about)
        rows = about.masked(masks)
        np.testing.assert_allclose(game.value(masks), model.score(rows, np.array([item]))[:, 0], atol=2e-5)
        assert (game.additive is None) == ("user_knn" in names)
        if game.additive is not None:
            np.testing.assert_allclose(game.value(masks) - game.value(0 * masks), masks @ game.additive, atol=1e-9)


def test_what_is_not_linear_is_sampled_and_says_how_well(data: Dataset, tiny: str) -> None:
    about = subject(data, hybrid(data, ("ease", "user_knn"), tiny), 5, 9)
    game = questions.ask("history", about)
    e = attribute(game, "", Budget(400))
    assert len(about.history.items) <= 12 or e.method == "shap"
    sampled = attribute(game, "shap_permutation", Budget(400))
    assert abs(sampled.gap) < 1e-6
    assert sampled.standard_error is not None
    assert sampled.standard_error.max() > 0


def test_sliders_cost_no_model_call(data: Dataset, model: Hybrid, monkeypatch: pytest.MonkeyPatch) -> None:
    """Moved weights give the exact answer of the moved model without a single call of a scorer."""
    about = subject(data, model, 3, 4)
    assert about.shares.linear.all()
    moved = model.blend.with_weights({"ease": 2.0, "bert": 0.0})
    expected = float(replace(model, blend=moved).score(about.history, np.array([4]))[0, 0])
    calls = 0

    def count(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1

    for scorer in model.components.values():
        for name in ("score", "contributions", "prior"):
            monkeypatch.setattr(type(scorer), name, count)
    after = about.with_blend(moved)
    for question in ("components", "history", "attributes"):
        e = attribute(questions.ask(question, after), "exact")
        assert abs(e.base + e.contributions.sum() - expected) < 1e-6
    assert calls == 0


def test_no_text_is_read_for_history_and_components(data: Dataset, model: Hybrid, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("BERT was called")

    monkeypatch.setattr(Encoder, "encode", fail)
    found = shares(model, data.histories()[[3]], np.arange(10))
    assert found.history(model.blend)[0].shape == (len(data.histories()[[3]].items), 10)
    forget()  # what other tests have read
    with pytest.raises(AssertionError, match="BERT was called"):  # words do read it
        attribute(questions.ask("words", subject(data, model, 3, 4)), "loo")


def test_masked_past_items_do_not_become_candidates(data: Dataset, model: Hybrid) -> None:
    about = subject(data, model, 3, 4)
    assert (about.hidden.items == data.met()[[3]].items).all()
    masks = np.zeros((1, len(about.history.items)), bool)
    assert about.masked(masks).full_sizes[0] == pytest.approx(about.history.values.sum())  # the row's size stays
    assert len(about.masked(masks).items) == 0


@pytest.mark.parametrize("item", [4, -1])
def test_words_are_worth_what_the_reader_gives_the_other_text(item: int, data: Dataset, model: Hybrid) -> None:
    """A cold item whose text is another's has the score of that text; a full coalition is the logit itself."""
    item %= len(data.items)
    about = subject(data, model, 3, item)
    game = questions.ask("words", about)
    p = len(game.players)
    assert [game.sequence[n].startswith(game.labels[n].split(" (")[0]) for n in range(1, p)] == [True] * (p - 1)
    assert game.value(np.ones((1, p), bool))[0] == about.logit
    bert = model.components["bert"]
    c = model.names.index("bert")
    raw = bert.rewritten(about.history, item, [data.catalog.texts[item], data.catalog.texts[7]], ["", ""]).sum(axis=0)  # type: ignore[attr-defined]
    assert abs(raw[0] - bert.score(about.history, np.array([item]))[0, 0]) < 1e-5
    if item == len(data.items) - 1:
        assert abs(raw[1] - bert.score_texts(about.history, [data.catalog.texts[7]])[0, 0]) < 1e-5  # type: ignore[attr-defined]
    masks = np.ones((1, p), bool)
    masks[0, -1] = False
    lost = about.logit - game.value(masks)[0]
    assert abs(attribute(game, "loo").contributions[-1] - lost) < 1e-5  # batches round differently
    assert c < len(about.weights)


def test_the_cold_reader_gives_another_text_and_title_its_features(data: Dataset, model: Hybrid) -> None:
    item, cold = len(data.items) - 1, model.components["cold"]
    about = subject(data, model, 3, item)
    text, title = data.catalog.texts[item], str(data.catalog.titles[item])
    same = cold.rewritten(about.history, item, [text, "robot love"], [title, title]).sum(axis=0)  # type: ignore[attr-defined]
    assert abs(same[0] - cold.score(about.history, np.array([item]))[0, 0]) < 1e-5
    assert abs(same[1] - same[0]) > 1e-6


def test_integrated_gradients_are_complete_and_see_the_words(data: Dataset, model: Hybrid) -> None:
    about = subject(data, model, 3, 4)
    game = questions.ask("words", about)
    e = attribute(game, "ig", Budget(60))
    exact = attribute(game, "exact")
    assert abs(e.gap) < 0.02 * np.abs(exact.contributions).sum() + 1e-6
    assert np.corrcoef(e.contributions, exact.contributions)[0, 1] > 0.7
    assert game.slopes is not None
    p = len(game.players)
    near = np.full((1, p), 1.0)
    step = near.copy()
    step[0, 1] -= 1e-2
    both = np.concatenate([near, step])
    middle = game.slopes(both).mean(axis=0)
    assert np.isfinite(middle).all()


def test_attributes_are_the_common_ground(data: Dataset, model: Hybrid) -> None:
    about = subject(data, model, 3, 6)  # an even item, a third one, of 1991
    game = questions.ask("attributes", about)
    assert game.players == ("kind: even", "kind: third", "year: 1990s", "nothing shared")
    each, _ = about.shares.history(about.blend)
    alike = {j: {*data.catalog.frame["kind"][j], f"{str(1985 + j)[:3]}0s"} for j in about.history.items}
    shared = {j: kinds & {"even", "third", "1990s"} for j, kinds in alike.items()}
    by_hand = sum(each[n, 0] / len(shared[j]) for n, j in enumerate(about.history.items) if "even" in shared[j])
    e = attribute(game, "exact")
    assert abs(e.contributions[0] - by_hand) < 1e-9
    alone = sum(each[n, 0] for n, j in enumerate(about.history.items) if not shared[j])
    assert abs(e.contributions[3] - alone) < 1e-9


def test_attributes_of_a_model_that_is_not_linear(data: Dataset, tiny: str) -> None:
    about = subject(data, hybrid(data, ("ease", "user_knn"), tiny), 5, 9)
    e = attribute(questions.ask("attributes", about), "exact")
    assert abs(e.output - about.logit) < 1e-5
    assert abs(e.gap) < 1e-9


def test_what_cannot_be_asked_is_said_in_one_line(data: Dataset, tiny: str) -> None:
    about = subject(data, hybrid(data, ("ease",), tiny), 3, 4)
    with pytest.raises(UserError, match="no component with a weight reads the text of item i4"):
        questions.ask("words", about)
    bare = replace(about, catalog=Catalog(data.catalog.frame[["title", "text"]]))
    with pytest.raises(UserError, match="item i4 has no attributes"):
        questions.ask("attributes", bare)
    with pytest.raises(UserError, match="unknown question 'word'"):
        questions.ask("word", about)
    silent = replace(subject(data, hybrid(data, ("bert",), tiny), 3, 4), catalog=Catalog(data.catalog.frame.assign(text="...")))
    with pytest.raises(UserError, match="item i4 has no words"):
        questions.ask("words", silent)


def test_a_component_that_cannot_score_does_not_play(data: Dataset, model: Hybrid) -> None:
    about = subject(data, model, 3, 4)  # a warm item: the cold component says nothing
    assert "cold" not in questions.ask("components", about).players
    assert "cold" in questions.ask("components", subject(data, model, 3, len(data.items) - 1)).players


def test_an_empty_history_has_an_explanation_without_players(data: Dataset, model: Hybrid) -> None:
    about = subject(data, model, 3, 4)
    empty = replace(about, history=about.history.keep(np.zeros(len(about.history.items), bool)))
    e = attribute(questions.ask("history", empty), explainers.best(questions.ask("history", empty)))
    assert e.contributions.size == 0
    assert e.gap == 0


@pytest.mark.parametrize("question", questions.names())
@pytest.mark.parametrize("method", explainers.names())
def test_any_explainer_meets_any_question_it_can_answer(question: str, method: str, data: Dataset, model: Hybrid) -> None:
    about = subject(data, model, 3, 6)
    game = questions.ask(question, about)
    reason = explainers.unable(method, game)
    if reason:
        with pytest.raises(UserError, match=f"{method} cannot explain {question} here"):
            attribute(game, method)
        return
    e = attribute(game, method, Budget(60))
    assert e.contributions.shape == (len(game.players),)
    assert np.isfinite(e.contributions).all()
    assert abs(e.output - about.logit) < 1e-9
    assert abs(e.base + e.contributions.sum() + e.gap - e.output) < 1e-12
    assert not np.isnan(e.fidelity) or method in ("random", "popularity")


def test_the_pair_model_is_explained_by_sampling_words_and_history(data: Dataset, tiny: str) -> None:
    """It scores a short-list only; under masks the explained item keeps its score."""
    settings = {"epochs": 1, "max_pairs": 60, "batch_size": 8, "encoder": tiny, "candidates": 5}
    cls = scorers.scorer_class("cross_encoder")
    pair_model = cls(cls.Config(**settings)).fit(data, np.random.default_rng(0))
    ease = scorers.scorer_class("ease")().fit(data, np.random.default_rng(0))
    both = {"ease": ease, "cross_encoder": pair_model}
    mu, sigma = constants(both, data.histories())
    blend = Hybrid(both, Blend(tuple(both), mu, sigma, (0.5, 0.5), bias=-1.0), data.unmet)
    about = subject(data, blend, 3, 0)
    item = int(pair_model.shortlist(about.history, about.hidden)[0, 0])  # type: ignore[index]
    about = replace(about, item=item)
    shown = float(blend.score(about.history, np.array([item]), about.hidden)[0, 0])
    assert abs(about.logit - shown) < 1e-5
    game = questions.ask("history", about)
    assert game.additive is None
    e = attribute(game, "shap_permutation", Budget(60))
    assert abs(e.output - shown) < 1e-5
    assert abs(e.gap) < 1e-6
    assert np.abs(e.contributions - about.shares.history(blend.blend)[0][:, 0]).max() > 1e-4  # more than ease alone
    words = attribute(questions.ask("words", about), "exact")
    assert abs(words.gap) < 1e-9
    assert np.abs(words.contributions).max() > 1e-5
