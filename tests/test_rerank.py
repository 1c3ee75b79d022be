"""Laws every registered re-ranker keeps, agreement with brute force, and broken re-rankers that the laws reject."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

from recsys_core import metrics
from recsys_core.errors import UserError
from recsys_core.ranking import top_k, turns
from recsys_core.rerank import ALPHA, INPUTS, RERANKERS, Bonus, Reranker, get, plain_order

ROWS, M, K, D = 7, 15, 5, 6
World = tuple[Any, dict[str, Any]]


def world(seed: int) -> World:
    """Scores with hidden (-inf) and unknown (NaN) ones, a row with fewer than K to show, all INPUTS, items with no attribute."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(ROWS, M))
    scores[rng.random((ROWS, M)) < 0.2] = -np.inf
    scores[rng.random((ROWS, M)) < 0.1] = np.nan
    scores[0, 3:] = -np.inf
    vectors = rng.normal(size=(ROWS, M, D))
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    has = rng.random((ROWS, M, D)) < 0.4
    target = rng.dirichlet(np.ones(D), ROWS)
    target[1] = 0  # no history
    mass = has / np.maximum(has.sum(axis=2, keepdims=True), 1)
    return scores, {"vectors": vectors, "popularity": rng.random((ROWS, M)), "mass": mass, "target": target}


def moved(features: dict[str, Any], order: Any) -> dict[str, Any]:
    return {name: value if name == "target" else value[:, order] for name, value in features.items()}


# The laws


def assert_lists(r: Reranker, w: World) -> None:
    """k columns, none twice, none hidden, and as many as there are."""
    scores, features = w
    order = r(scores, features, k=K, strength=0.7)
    assert order.shape == (ROWS, K)
    for row, there in zip(order, np.isfinite(scores), strict=True):
        shown = row[row >= 0]
        assert len(set(shown)) == len(shown) == min(K, there.sum())
        assert there[shown].all()
        assert (row[len(shown) :] == -1).all()


def assert_strength_0_is_plain(r: Reranker, w: World) -> None:
    scores, features = w
    for table in (scores, np.round(scores), np.zeros_like(scores)):  # ties too
        np.testing.assert_array_equal(r(table, features, k=K, strength=0), plain_order(table, K))


def assert_candidates_permute(r: Reranker, w: World) -> None:
    """No candidate is preferred for its place: the same items come out whatever order they go in."""
    scores, features = w
    order = np.random.default_rng(1).permutation(M)
    found = r(scores[:, order], moved(features, order), k=K, strength=0.6)
    np.testing.assert_array_equal(np.where(found < 0, -1, order[found]), r(scores, features, k=K, strength=0.6))


def assert_rows_alone(r: Reranker, w: World) -> None:
    """A row's list does not depend on the other rows; features may be given for one row or for all."""
    scores, features = w
    together = r(scores, features, k=K, strength=0.5)
    for row in range(ROWS):
        alone = {name: value[row] for name, value in features.items()}
        np.testing.assert_array_equal(r(scores[row], alone, k=K, strength=0.5)[0], together[row])


def assert_same_again(r: Reranker, w: World) -> None:
    scores, features = w
    before = {name: value.copy() for name, value in features.items()}
    first = r(scores, features, k=K, strength=1)
    np.testing.assert_array_equal(first, r(scores.copy(), features, k=K, strength=1))
    for name, value in before.items():
        np.testing.assert_array_equal(value, features[name])


def assert_shorter_is_the_beginning(r: Reranker, w: World) -> None:
    scores, features = w
    np.testing.assert_array_equal(r(scores, features, k=2, strength=0.4), r(scores, features, k=K, strength=0.4)[:, :2])


def assert_scale_of_scores_is_free(r: Reranker, w: World) -> None:
    scores, features = w
    expected = r(scores, features, k=K, strength=0.4)
    np.testing.assert_array_equal(r(4 * scores - 8, features, k=K, strength=0.4), expected)


Law = Callable[[Reranker, World], None]
LAWS = [value for name, value in list(globals().items()) if name.startswith("assert_")]


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("name", RERANKERS)
def test_law(name: str, law: Law) -> None:
    for seed in range(3):
        law(RERANKERS[name], world(seed))


@pytest.mark.parametrize("name", RERANKERS)
def test_strength_does_something(name: str) -> None:
    scores, features = world(0)
    assert (RERANKERS[name](scores, features, k=K, strength=1) != plain_order(scores, K)).any()


@pytest.mark.parametrize("name", RERANKERS)
def test_registry_says_what_it_needs(name: str) -> None:
    r = RERANKERS[name]
    assert set(r.needs) <= set(INPUTS)
    assert r.label
    assert r.about
    assert r.formula in str(r.function.__doc__)
    assert any(c.isdigit() for c in r.source)
    assert "strength" in r.formula


# Negative control: a broken re-ranker is rejected by the very law that should see it


def by_place(popularity: Any) -> Bonus:
    while True:
        yield np.broadcast_to(np.arange(popularity.shape[1]) * 1.0, popularity.shape)


def first_row_for_all(popularity: Any) -> Bonus:
    while True:
        yield np.broadcast_to(-popularity[:1], popularity.shape)


def eats_its_input(target: Any, popularity: Any) -> Bonus:
    while True:
        yield -popularity
        target *= 0.5


class Wrong(Reranker):
    """Shows the row's last columns, hidden or not, at every strength."""

    def __call__(self, scores: Any, features: Any, *, k: int, strength: float) -> Any:
        return np.tile(np.arange(M)[-k:], (len(np.atleast_2d(scores)), 1))


def broken(function: Callable[..., Bonus], *needs: str) -> Reranker:
    return replace(RERANKERS["popularity_penalty"], function=function, needs=needs)


PLACE = broken(by_place, "popularity")
LAST = Wrong("last", "", "", "", "", (), by_place)


@pytest.mark.parametrize(
    ("r", "law"),
    [
        (LAST, assert_lists),
        (LAST, assert_strength_0_is_plain),
        (LAST, assert_shorter_is_the_beginning),
        (broken(first_row_for_all, "popularity"), assert_rows_alone),
        (broken(eats_its_input, "target", "popularity"), assert_same_again),
        (LAST, assert_candidates_permute),
    ],
)
def test_broken_reranker_is_rejected(r: Reranker, law: Law) -> None:
    law(RERANKERS["popularity_penalty"], world(0))
    with pytest.raises((AssertionError, ValueError)):
        law(r, world(0))


# By hand, and against brute force


def test_mmr_by_hand() -> None:
    """Relevance 1, 3/4, 0; items 0 and 1 are the same. Second place at strength 1/2: 3/8 - 1/2 against 0 - 0."""
    vectors = np.array([[1.0, 0], [1, 0], [0, 1]])
    assert get("mmr")([4.0, 3, 0], {"vectors": vectors}, k=3, strength=0.5).tolist() == [[0, 2, 1]]
    # 1/4: (3/4) (3/4) - 1/4 against 0
    assert get("mmr")([4.0, 3, 0], {"vectors": vectors}, k=3, strength=0.25).tolist() == [[0, 1, 2]]


def relevance(scores: Any) -> Any:
    there = scores[np.isfinite(scores)]
    low = there.min(initial=np.inf)
    return (scores - low) / (there.max(initial=low) - low)


def greedy(scores: Any, strength: float, value: Callable[[list[int]], float]) -> list[int]:
    """The list that grows by whichever item makes (1 - strength) * sum of relevance + strength * value(list) highest."""
    chosen: list[int] = []
    rel = relevance(scores)
    for _ in range(min(K, np.isfinite(scores).sum())):
        gains = {
            i: (1 - strength) * rel[i] + strength * (value([*chosen, i]) - (value(chosen) if chosen else 0.0))
            for i in plain_order(scores[None], M)[0].tolist()  # so the better score is first of equal gains
            if i >= 0 and i not in chosen
        }
        chosen.append(max(gains, key=lambda i: round(gains[i], 9)))
    return chosen + [-1] * (K - len(chosen))


def minus_kl(features: dict[str, Any], row: int) -> Callable[[list[int]], float]:
    """Steck's divergence as a loop, turned round; 0 for a row without a history."""
    share = features["target"][row]
    mass = features["mass"][row]

    def value(items: list[int]) -> float:
        if not share.any():
            return 0.0
        total = mass[items].sum(axis=0)
        q = total / total.sum() if total.any() else np.zeros(D)
        return -sum(p * math.log(p / ((1 - ALPHA) * b + ALPHA * p)) for p, b in zip(share, q, strict=True) if p > 0)

    return value


@pytest.mark.parametrize("strength", [0.2, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_brute_force(seed: int, strength: float) -> None:
    scores, features = world(seed)
    for row in range(ROWS):
        v = features["vectors"][row]

        def nearest(items: list[int], v: Any = v) -> float:
            """minus the sum over the list of each item's highest cosine to those before it"""
            return -sum(max(float(v[i] @ v[j]) for j in items[:at]) for at, i in enumerate(items) if at)

        def volume(items: list[int], v: Any = v) -> float:
            return float(np.linalg.slogdet(v[items] @ v[items].T)[1])

        there = np.where(np.isnan(scores[row]), -np.inf, scores[row])
        for name, value in (("mmr", nearest), ("dpp", volume), ("calibration", minus_kl(features, row))):
            found = get(name)(scores, features, k=K, strength=strength)[row].tolist()
            assert found == (greedy(there, strength, value) if np.isfinite(there).any() else [-1] * K), name


def test_alpha_and_divergence_are_those_of_the_metric() -> None:
    """A list picked at strength 1 in one step has the least `calibration_kl` of all lists of one item."""
    assert ALPHA == metrics.ALPHA
    rng = np.random.default_rng(0)
    genres = (rng.random((12, 4)) < 0.5).astype(float)
    genres[:, 0] = np.where(genres.any(axis=1), genres[:, 0], 1)
    history = csr_array((rng.random((5, 12)) < 0.5).astype(float))
    assert history.sum(axis=1).all()
    mass = genres / genres.sum(axis=1, keepdims=True)
    p = history @ mass
    target = p / p.sum(axis=1, keepdims=True)
    found = get("calibration")(rng.random((5, 12)), {"mass": mass, "target": target}, k=1, strength=1)
    every = np.stack([metrics.calibration_kl(np.full((5, 1), i), history, genres) for i in range(12)], axis=1)
    np.testing.assert_allclose(np.take_along_axis(every, found, axis=1)[:, 0], every.min(axis=1), atol=1e-12)


def test_dpp_goes_on_past_the_rank() -> None:
    """Four copies of one item and another: the other comes second, then the copies by score."""
    vectors = np.array([[1.0, 0], [1, 0], [1, 0], [1, 0], [0, 1]])
    assert get("dpp")([5.0, 4, 3, 2, 1], {"vectors": vectors}, k=5, strength=0.5).tolist() == [[0, 4, 1, 2, 3]]


def test_float32_features_are_enough() -> None:
    scores, features = world(0)
    for name, r in RERANKERS.items():
        single = {n: v.astype(np.float32) for n, v in features.items()}
        expected = r(scores, features, k=K, strength=0.5)
        np.testing.assert_array_equal(r(scores.astype(np.float32), single, k=K, strength=0.5), expected, err_msg=name)


def test_plain_order_is_that_of_top_k() -> None:
    """With the columns in the order in which `top_k` breaks ties, and with all kinds of ties."""
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 4, (50, 20)).astype(np.float32)
    scores[rng.random((50, 20)) < 0.3] = -np.inf
    columns = np.argsort(turns(20))
    for k in (1, 5, 20, 25):
        found = plain_order(scores[:, columns], k)
        np.testing.assert_array_equal(np.where(found < 0, -1, columns[found]), top_k(scores, k))
    assert plain_order(np.array([[1.0, 2, 2, 1]]), 3).tolist() == [[1, 2, 0]]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: get("mrr"), "unknown re-ranker 'mrr'; known: .*mmr"),
        (lambda: get("mmr")([1.0], {"vectors": np.ones((1, 1))}, k=0, strength=0), "k must be 1 or more"),
        (lambda: get("mmr")([1.0], {"vectors": np.ones((1, 1))}, k=1, strength=1.1), "strength must be from 0 to 1"),
        (lambda: get("mmr")([1.0], {"vectors": np.ones((1, 1))}, k=1, strength=math.nan), "strength must be from 0 to 1"),
        (lambda: get("mmr")([1.0], {}, k=1, strength=0), "needs vectors"),
    ],
)
def test_errors_say_the_fix(call: Callable[[], Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        call()
