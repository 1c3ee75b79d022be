"""Counterfactuals against brute force over all subsets of short histories, and every claim scored again."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache, lru_cache
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from worlds import random_world

from recsys_core.data import Catalog, Dataset, Histories
from recsys_core.errors import UserError
from recsys_core.explain import _addition, _removal
from recsys_core.explain._ranks import leads_in, rank_of, scores
from recsys_core.explain.counterfactual import Counterfactual, add_history, remove_history, remove_words
from recsys_core.explain.game import Budget
from recsys_core.explain.subject import Subject
from recsys_core.hybrid import Blend, Hybrid, constants
from recsys_core.ranking import hide, top_k
from recsys_core.recommend import recommend
from recsys_core.scorers import scorer_class
from recsys_core.scorers.base import Scorer, Scores, TextReader

LINEAR = ("popularity", "item_knn", "ease", "factors")
CURVED = ("popularity", "ease", "user_knn")
SEEDS = range(12)


@lru_cache(maxsize=32)
def world(seed: int, names: tuple[str, ...] = LINEAR) -> tuple[Hybrid, Dataset]:
    data = random_world(seed)
    rng = np.random.default_rng(seed)
    components = {n: scorer_class(n)().fit(data, rng) for n in names}
    mu, sigma = constants(components, data.histories())
    weights = tuple(float(w) for w in rng.uniform(0.05, 1.5, len(names)))
    cold = np.arange(len(data.items)) == len(data.items) - 1
    return Hybrid(components, Blend(names, mu, sigma, weights, bias=-2.0), cold), data


def subjects(seed: int, place: int, names: tuple[str, ...] = LINEAR, n_users: int = 6, most: int = 9) -> list[Subject]:
    """The items at a place of the lists of some users, whose histories are cut to their latest `most` likes."""
    model, data = world(seed, names)
    out = []
    for user in range(n_users):
        history = data.histories()[[user]]
        history = replace(history.keep(history.ages < most), sizes=None)
        (items,) = recommend(model, history, data.met()[[user]], k=place).items
        out.append(Subject(model, history, data.met()[[user]], int(items[-1]), data.catalog, data.items))
    return [s for s in out if s.item >= 0 and len(s.history.items)]


@cache
def coalitions(n: int) -> NDArray[np.bool_]:
    """(2^n, n) who stays; fewest removed first."""
    masks = (np.arange(2**n)[:, None] >> np.arange(n) & 1).astype(bool)
    return masks[np.argsort(-masks.sum(axis=1), kind="stable")]


def listed_ranks(subject: Subject, rows: Histories) -> NDArray[np.int64]:
    """Ranks read off whole lists, one call of `recommend`; 0 = not in it."""
    lists = recommend(subject.model, rows, subject.hidden[np.zeros(len(rows), int)], k=rows.n_items).items
    there = lists == subject.item
    return np.where(there.any(axis=1), there.argmax(axis=1) + 1, 0)


def least_removed(subject: Subject, k: int) -> int:
    """By brute force: the size of the smallest removal after which the item is below rank k; 0 if there is none."""
    masks = coalitions(len(subject.history.items))
    fell = masks[listed_ranks(subject, subject.masked(masks)) > k]
    return int((~fell).sum(axis=1).min(initial=99)) % 99


def positions(subject: Subject, result: Counterfactual) -> list[int]:
    return [list(subject.items.ids[subject.history.items]).index(p) for p in result.players]


def assert_holds(subject: Subject, result: Counterfactual, k: int) -> None:
    """What a removal claims is what lists say."""
    mask = np.ones((1, len(subject.history.items)), bool)
    mask[0, positions(subject, result)] = False
    assert result.verified
    assert listed_ranks(subject, subject.masked(mask))[0] == result.rank_after > k >= result.rank_before
    assert listed_ranks(subject, subject.history)[0] == result.rank_before
    old, new = (set(recommend(subject.model, h, subject.hidden, k=k).items[0]) for h in (subject.history, subject.masked(mask)))
    assert set(subject.items.codes(result.rivals)) == new - old
    assert len(result.players) >= result.bound


def assert_smallest(remove: Callable[[Subject, int], Counterfactual], place: int, k: int, *, always: bool) -> float:
    """Over many worlds: found where there is a set; minimal where it says so (or always); the share of those labelled so."""
    labelled = []
    for seed in SEEDS:
        for subject in subjects(seed, place):
            result, least = remove(subject, k), least_removed(subject, k)
            assert result.found == (least > 0), result
            if result.found:
                assert_holds(subject, result, k)
                labelled.append(result.minimal)
                if always or result.minimal:
                    assert len(result.players) == least, result
    return float(np.mean(labelled))


def by_own_shares(subject: Subject, k: int) -> Counterfactual:
    """A wrong way: remove what adds most to the item's own logit until it falls, whatever the rivals lose."""
    result = remove_history(subject, k)
    order = np.argsort(-subject.shares.history(subject.blend)[0][:, 0])
    for m in range(1, len(order) + 1):
        mask = np.ones((1, len(order)), bool)
        mask[0, order[:m]] = False
        if result.found and (rank := int(rank_of(subject, mask)[0])) > k:
            ids = tuple(subject.items.ids[subject.history.items[order[:m]]])
            lists = [recommend(subject.model, h, subject.hidden, k=k).items[0] for h in (subject.history, subject.masked(mask))]
            rivals = tuple(subject.items.ids[i] for i in set(lists[1]) - set(lists[0]))
            return replace(result, players=ids, rank_after=rank, rivals=rivals)
    return result


def unscored(subject: Subject, k: int) -> Counterfactual:
    """A wrong way: the set without one of its items, said to do it all the same."""
    result = remove_history(subject, k)
    return replace(result, players=result.players[1:])


def test_the_least_that_costs_the_first_place_is_found_always() -> None:
    assert assert_smallest(remove_history, 1, 1, always=True) == 1.0


@pytest.mark.parametrize("place", [1, 2, 3])
def test_what_is_called_minimal_is(place: int) -> None:
    assert assert_smallest(remove_history, place, 3, always=False) > 0.95


@pytest.mark.parametrize("wrong", [by_own_shares, unscored])
def test_wrong_ways_are_rejected_by_the_same_check(wrong: Callable[[Subject, int], Counterfactual]) -> None:
    for k in (1, 3):
        with pytest.raises(AssertionError):
            assert_smallest(wrong, 1, k, always=True)


@pytest.mark.parametrize("k", [1, 3])
def test_the_bound_is_one_and_the_integer_program_agrees_with_brute_force(k: int) -> None:
    agree = []
    for seed in SEEDS:
        for subject in subjects(seed, 1):
            field = _removal.rivals(subject, scores(subject)[0], k)
            least, n = least_removed(subject, k) or 99, len(subject.history.items)
            assert field.bound(k) <= least
            found, settled = _removal.fewer(field, n, k)
            assert settled
            size = len(found) if found is not None else 99
            assert size <= least  # less only where it is a tie: rivals that may be ahead count as ahead
            assert size == least or (np.sort(field.gaps - field.pull[list(found or ())].sum(axis=0))[k - 1] > -1e-5)
            agree.append(size == least)
    assert np.mean(agree) > 0.9


def test_without_branch_and_bound_labels_stay_true(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_removal, "fewer", lambda *_: (None, False))
    labelled = []
    for subject in (s for seed in SEEDS for s in subjects(seed, 1)):
        if (result := remove_history(subject, 3)).found:
            assert_holds(subject, result, 3)
            labelled.append(result.minimal)
            assert not result.minimal or len(result.players) == least_removed(subject, 3)
    assert 0.2 < np.mean(labelled) < 1  # some are only heuristic then
    monkeypatch.setattr(_removal, "fewer", lambda *_: (None, True))  # a program that says "none smaller" untruly
    with pytest.raises(AssertionError):
        assert_smallest(remove_history, 1, 3, always=False)


def test_models_that_are_not_additive_are_scored() -> None:
    for evaluations in (1000, 30):
        for subject in (s for seed in range(3) for s in subjects(seed, 1, CURVED, most=8)):
            for k in (1, 3):
                result, least = remove_history(subject, k, evaluations=evaluations), least_removed(subject, k)
                assert result.evaluations <= 2 * evaluations + 100
                if result.found:
                    assert_holds(subject, result, k)
                    assert len(result.players) == least if result.minimal else len(result.players) >= least
                if evaluations == 1000:  # all 2^8 subsets are within it
                    assert result.found == (least > 0)
                    assert not result.found or result.minimal


def test_ranks_agree_with_lists_ties_and_hidden_items_included() -> None:
    model, data = world(0)
    tied = model.with_weights({"item_knn": 0.0, "ease": 0.0, "factors": 0.0})  # popularity alone: many ties
    for subject in subjects(0, 2):
        masks = coalitions(len(subject.history.items))[:50]
        for about in (subject, replace(subject, model=tied)):
            for item in range(0, len(data.items), 3):
                other = replace(about, item=item)
                expected = listed_ranks(other, other.masked(masks))
                assert (rank_of(other, masks) == expected).all()
                assert rank_of(other)[0] == expected[0]
                leads = leads_in(scores(other, masks), item, 3)
                assert (expected == 0).all() or ((leads < 0) == (expected > 3)).all()


def test_a_removed_item_never_takes_the_place() -> None:
    for seed in SEEDS:
        for subject in subjects(seed, 1):
            assert not set(subject.items.codes(remove_history(subject, 3).rivals)) & set(subject.history.items)
    for item in subject.history.items:
        everyone = coalitions(len(subject.history.items))
        assert not rank_of(replace(subject, item=int(item)), everyone).any()


def test_none_is_found_where_popularity_carries_it_alone() -> None:
    subject = subjects(0, 1)[0]
    alone = subject.model.with_weights({"item_knn": 0.0, "ease": 0.0, "factors": 0.0})
    top = int(recommend(alone, subject.history, subject.hidden, k=1).items[0, 0])
    result = remove_history(replace(subject, model=alone, item=top), 1)
    assert not result.found
    assert not result.verified
    assert result.players == ()
    assert result.rank_after == 1
    assert "do not suffice" in result.reason
    empty = replace(subject, model=alone, item=top, history=Histories.of([[]], subject.history.n_items))
    assert remove_history(empty, 1).reason == "the history is empty"
    assert "no more than 99" in remove_history(subject, 99).reason


def test_what_cannot_be_asked_says_why() -> None:
    subject = subjects(0, 4)[0]
    with pytest.raises(UserError, match=r"rank 4, not within the top 3"):
        remove_history(subject, 3)
    with pytest.raises(UserError, match="k must be 1 or more"):
        remove_history(subject, 0)
    with pytest.raises(UserError, match="hidden"):
        remove_history(replace(subject, item=int(subject.history.items[0])), 3)
    with pytest.raises(UserError, match="no component can score"):
        remove_history(replace(subject, item=len(subject.items) - 1), 3)
    with pytest.raises(UserError, match="in the top 5 already"):
        add_history(subject, 5)
    with pytest.raises(UserError, match="most must be"):
        add_history(subject, 1, most=0)


def test_results_are_plain_json_and_tables() -> None:
    result = remove_history(subjects(0, 1)[0], 3)
    assert json.loads(json.dumps(result.as_dict(), allow_nan=False))["players"] == list(result.players)
    assert result.frame()["player"].tolist() == list(result.players)
    assert result.labels == tuple(f"Item {p[1:]}" for p in result.players)


# Additions.


def liked_too(subject: Subject, added: tuple[int, ...]) -> NDArray[np.int64]:
    """The list after real likes, built from item ids by hand: newest last."""
    h = subject.history
    order = np.argsort(-h.ages, kind="stable")
    later = Histories(
        np.array([0, len(order) + len(added)]),
        np.r_[h.items[order], added].astype(np.int32),
        np.r_[h.values[order], np.ones(len(added))].astype(np.float32),
        np.r_[h.ages[order] + len(added), np.arange(len(added))[::-1]].astype(np.float32),
        h.n_items,
    )
    hidden = hide(subject.model.score(later), subject.hidden)
    hidden[0, list(added)] = -np.inf
    return top_k(hidden, h.n_items)[0]


def assert_lifts(subject: Subject, k: int, *, add: Callable[..., Counterfactual] = add_history) -> bool:
    result = add(subject, k, most=3)
    pool = np.setdiff1d(np.arange(len(subject.items)), [*subject.history.items, subject.item])
    ranks = {int(j): int(np.flatnonzero(liked_too(subject, (int(j),)) == subject.item)[0]) + 1 for j in pool}
    for other in result.alternatives:
        assert ranks[subject.items.codes([other.item])[0]] == other.rank
    assert result.alternatives[0].rank == min(ranks.values())
    assert (min(ranks.values()) <= k) == (result.found and len(result.players) == 1)
    if result.found:
        added = tuple(int(i) for i in subject.items.codes(result.players))
        assert list(liked_too(subject, added)).index(subject.item) + 1 == result.rank_after <= k
        if result.minimal and len(added) == 2:
            assert min(ranks.values()) > k
    return result.found


@pytest.mark.parametrize("names", [LINEAR, CURVED], ids=["linear", "curved"])
def test_additions_are_real_likes_and_the_best_single_one_is_found(names: tuple[str, ...]) -> None:
    found = [assert_lifts(s, k) for seed in range(4) for s in subjects(seed, 12, names) for k in (1, 5)]
    assert any(found)
    assert not all(found)


def test_a_wrong_addition_is_rejected() -> None:
    def lazy(subject: Subject, k: int, *, most: int) -> Counterfactual:
        result = add_history(subject, k, most=most)
        return replace(result, alternatives=result.alternatives[1:])

    found = ((s, add_history(s, 5, most=3).alternatives) for s in subjects(0, 12))
    about = next(s for s, (first, second, *_) in found if first.rank < second.rank)
    with pytest.raises(AssertionError):
        assert_lifts(about, 5, add=lazy)


def test_two_additions_are_minimal_only_where_singles_are_ruled_out(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [r for s in SEEDS for u in subjects(s, 12) if len((r := add_history(u, 2)).players) == 2]
    assert pairs
    assert any(r.minimal for r in pairs)
    monkeypatch.setattr(_addition, "MOST_TRIED", 1)
    monkeypatch.setattr(_addition, "additive", lambda model: False)
    again = [add_history(u, 2) for s in SEEDS for u in subjects(s, 12)]
    assert not any(r.minimal for r in again if len(r.players) == 2)


def test_extended_histories_are_older_and_larger() -> None:
    h = Histories.of([[3, 1]], 5)
    two = _addition.extended(h, np.array([[0, 4], [2, 0]]))
    assert two[[0]].items.tolist() == [3, 1, 0, 4]
    assert two[[1]].ages.tolist() == [3, 2, 1, 0]
    assert two.full_sizes.tolist() == [4, 4]
    aged = _addition.extended(h, np.array([[0]]), met=False)
    assert (aged.items.tolist(), aged.ages.tolist(), aged.full_sizes.tolist()) == ([3, 1], [2, 1], [3])
    untimed = _addition.extended(replace(h, ages=np.zeros(2, np.float32)), np.array([[0]]))
    assert not untimed.ages.any()


# Words.


class Reader(Scorer, TextReader):
    """score = the sum of what its words are worth; "very good" together are worth more."""

    def __init__(self, texts: list[str]) -> None:
        super().__init__()
        self.texts, self.read = texts, 0
        self.worth = {"very": 0.1, "good": 0.3, "dull": -0.5, "fine": 0.5, "nice": 0.4, "awful": -9.0}

    def of(self, text: str) -> float:
        words = text.split()
        return sum(self.worth.get(w, 0) for w in words) + 0.3 * ("very" in words and "good" in words)

    def fit(self, dataset: Dataset, rng: np.random.Generator) -> Reader:
        return self

    def score(self, histories: Histories, items: NDArray[np.int64] | None = None) -> Scores:
        prior = self.prior(np.arange(len(self.texts)) if items is None else items)
        return np.broadcast_to(prior, (len(histories), len(prior))).copy()

    linear = True  # type: ignore[assignment]

    def prior(self, items: NDArray[np.int64]) -> NDArray[np.float32]:
        return np.array([self.of(self.texts[i]) for i in items], np.float32)

    def contributions(self, history: Histories, items: NDArray[np.int64]) -> NDArray[np.float32]:
        return np.zeros((len(history.items), len(items)), np.float32)

    def masks_for(self, words: list[str]) -> list[str]:
        return ["_" for _ in words]

    def rewritten(self, history: Histories, item: int, texts: list[str], titles: list[str]) -> NDArray[np.float64]:
        self.read += len(texts)
        return np.array([[self.of(t) for t in texts]])


def texts_subject(texts: list[str], item: int = 0) -> Subject:
    data: Any = random_world(0, n_items=len(texts) + 1)
    catalog = Catalog(data.catalog.frame.assign(text=[*texts, "awful"]))
    model = Hybrid(
        {"reader": Reader([*texts, "awful"])}, Blend(("reader",), (0.0,), (1.0,), (2.0,)), np.zeros(len(texts) + 1, bool)
    )
    empty = Histories.of([[]], len(texts) + 1)
    return Subject(model, empty, empty, item, catalog, data.items)


def least_words(subject: Subject, k: int) -> int:
    """By brute force over all subsets of words."""
    reader: Any = subject.model.components["reader"]
    words = reader.texts[subject.item].split()
    others = sorted((reader.of(t) for n, t in enumerate(reader.texts) if n != subject.item), reverse=True)
    sizes = [
        m
        for m in range(1, len(words) + 1)
        for gone in combinations(range(len(words)), m)
        if reader.of(" ".join(w for n, w in enumerate(words) if n not in gone)) < others[k - 1] - 1e-9
    ]
    return min(sizes, default=0)


@pytest.mark.parametrize(
    ("text", "rival", "least"),
    [
        ("a very good film", 0.5, 1),  # without "good", or without "very", the pair is gone
        ("very good fine nice film", 0.65, 2),  # 1.6: two of good, fine and very
        ("dull very good fine nice film", 0.05, 2),
        ("film of films", -0.1, 0),
    ],
)
def test_fewest_words(text: str, rival: float, least: int) -> None:
    subject = texts_subject([text, "rival"])
    reader: Any = subject.model.components["reader"]
    reader.worth["rival"] = rival
    assert least_words(subject, 1) == least
    result = remove_words(subject, 1, Budget(200))
    assert len(result.players) == least
    assert result.found == (least > 0) == result.verified == result.minimal
    assert result.rank_after == 1 + (least > 0)
    assert result.rivals == (("i1",) if least else ())
    text_of = dict(zip(result.players, result.labels, strict=True))
    assert all(text[int(p.split("-")[0]) :].startswith(w.split(" (")[0]) for p, w in text_of.items())


def test_words_within_a_budget() -> None:
    text = " ".join(["fine", "nice", "good"] + [f"w{n}" for n in range(30)])
    subject = texts_subject([text, "good"])
    reader: Any = subject.model.components["reader"]
    result = remove_words(subject, 1, Budget(40))
    assert reader.read <= 3 * 40 + 20
    assert len(result.players) == least_words_of_three(reader, text)
    assert result.found
    assert not remove_words(subject, 1, Budget(20)).minimal  # not even all single words were read
    nothing = remove_words(texts_subject([" ".join(f"w{n}" for n in range(30)), "dull"]), 1, Budget(40))
    assert not nothing.found
    assert "with all words masked its rank is 1" in nothing.reason


def least_words_of_three(reader: Reader, text: str) -> int:
    """fine, nice, good: 1.2 against 0.3; without fine and nice both have 0.3, so all three must go or the tie decides."""
    first, second = np.argsort(top_k(np.zeros((1, 3), np.float32), 3)[0])[:2]
    return 2 if second < first else 3
