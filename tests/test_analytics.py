"""Metrics of all users at once equal the plain way of computing them: lists, values, intervals, and what training measured."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest
from worlds import store_world

from recsys_core import learn, metrics
from recsys_core.analytics import NO_INTERVAL, POOL, Analytics, Measured, measure
from recsys_core.errors import UserError
from recsys_core.hybrid import Blend
from recsys_core.ranking import top_k
from recsys_core.rerank import RERANKERS
from recsys_core.resampling import Draws
from recsys_core.run import Run

K = 5
WEIGHTS = {"a": -0.3, "c": 2.0}
PLACES = {"": 0.0, **dict.fromkeys(RERANKERS, 0.6)}  # re-ranker: strength


@pytest.fixture(params=[False, True], ids=["distinct", "ties"])
def parts(request: pytest.FixtureRequest) -> dict[str, Any]:
    return store_world(1, ties=request.param)


def dense(parts: dict[str, Any], blend: Blend) -> Any:
    """The store's logits as a table over the whole catalogue, -inf elsewhere."""
    store, table = parts["store"], np.full((len(parts["store"]), parts["early"].n_items), -np.inf, np.float32)
    row, column = np.nonzero(store.items >= 0)
    table[row, store.items[row, column]] = store.logit(blend)[row, column]
    return table


def plain(parts: dict[str, Any], found: Measured) -> dict[str, Any]:
    """Every metric from its own function and nothing prepared."""
    store, early = parts["store"], parts["early"]
    truth = [{int(i) for i, r in zip(*row, strict=True) if r} for row in zip(store.items, store.relevant, strict=True)]
    hits = np.array([[i in t for i in row] for row, t in zip(found.items.tolist(), truth, strict=True)])
    inputs = {"lists": found.items, "hits": hits, "n_relevant": store.n_relevant, "n_items": early.n_items, "n_users": len(early)}
    counts = np.bincount(early.items, minlength=early.n_items)
    inputs |= {"counts": counts, "history": early[store.users].csr(), **parts["blocks"]}
    return {m.name: m(inputs) for m in metrics.available(inputs)}


# Lists and values


@pytest.mark.parametrize("weights", [{}, WEIGHTS, {"a": 0.0, "b": 0.0, "c": 0.0}])
@pytest.mark.parametrize("k", [1, K, 30])
def test_lists_are_those_of_top_k(parts: dict[str, Any], weights: dict[str, float], k: int) -> None:
    """Over the whole catalogue, cold items, missing scores and ties included (a weight of 0 ties nearly everything)."""
    found = measure(Analytics.build(**parts), weights, k=k)
    np.testing.assert_array_equal(found.items, top_k(dense(parts, parts["blend"].with_weights(weights)), k))


def test_logit_is_that_of_the_store(parts: dict[str, Any]) -> None:
    known, blend = Analytics.build(**parts), parts["blend"].with_weights(WEIGHTS)
    logit = known.logit(blend)
    row, column = np.nonzero(known.items >= 0)
    np.testing.assert_allclose(logit[row, column], dense(parts, blend)[row, known.items[row, column]], atol=1e-5)
    assert np.isneginf(logit[known.items < 0]).all()


@pytest.mark.parametrize("reranker", PLACES)
@pytest.mark.parametrize("k", [K, 12])
def test_every_metric_is_that_of_its_own_function(parts: dict[str, Any], reranker: str, k: int) -> None:
    found = measure(Analytics.build(**parts), WEIGHTS, k=k, reranker=reranker, strength=PLACES[reranker])
    expected = plain(parts, found)
    assert {*found.per_user, *found.totals} == set(metrics.METRICS) - {"auc"}
    for name, value in expected.items():
        np.testing.assert_allclose(found.per_user.get(name, found.totals.get(name)), value, atol=1e-6, err_msg=name)
    assert np.isnan(found.per_user["serendipity"]).any()  # the world has users of whom it is not defined
    assert np.nanmax(found.per_user["serendipity"]) > 0
    frame = found.frame().set_index("metric")
    for name, value in expected.items():
        assert frame.loc[name, "mean"] == pytest.approx(np.nanmean(value), abs=1e-6)
        assert found.mean(name) == pytest.approx(np.nanmean(value), abs=1e-6)


def test_a_metric_computed_otherwise_is_seen(parts: dict[str, Any]) -> None:
    """Negative control: surprises of the wrong users, or popularity counted elsewhere, do not pass for the metric."""
    known = Analytics.build(**parts)
    assert known.surprise is not None
    for wrong in (replace(known, surprise=known.surprise[::-1]), replace(known, inputs={**known.inputs, "n_users": 99})):
        found = measure(wrong, k=K)
        expected = plain(parts, found)
        assert not all(np.allclose(found.per_user[n], expected[n], atol=1e-6, equal_nan=True) for n in found.per_user)


def test_learned_blend_has_the_ndcg_of_training(tiny_run: Run) -> None:
    """To the last bit: the same likes, the same discount, and lists that differ only where scores are equal."""
    found = measure(tiny_run, k=tiny_run.settings.k)
    store = tiny_run.candidates
    expected = learn.ndcg_of(store.logit(tiny_run.model.blend), store, tiny_run.settings.k)
    ours = found.per_user["ndcg"]
    assert np.nanmean(ours) == pytest.approx(tiny_run.metrics["valid"]["hybrid"], abs=1e-3)
    np.testing.assert_allclose(ours[store.n_relevant > 0], expected, atol=1e-6)
    assert len(found.items) == len(store)


def test_without_attributes_and_vectors(parts: dict[str, Any]) -> None:
    found = measure(Analytics.build(**{**parts, "blocks": {"attributes": None}}), k=K)
    missing = {"serendipity", "intra_list_diversity", "attribute_diversity", "calibration_kl", "auc"}
    assert {*found.per_user, *found.totals} == set(metrics.METRICS) - missing


def test_evidently_diversity_is_ours_times_half_of_k_minus_1(parts: dict[str, Any]) -> None:
    """Evidently: sum of distances over pairs, divided by k. For full lists whose items all have a vector."""
    found = measure(Analytics.build(**parts), k=K)
    vectors = parts["blocks"]["vectors"]
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    full = [u for u, row in enumerate(found.items) if (row >= 0).all() and 28 not in row]
    assert full
    for user in full:
        evidently = sum(1 - unit[i] @ unit[j] for i, j in combinations(found.items[user], 2)) / K
        assert found.per_user["intra_list_diversity"][user] * (K - 1) / 2 == pytest.approx(evidently)


# Re-ranking


@pytest.mark.parametrize("name", RERANKERS)
def test_strength_0_leaves_the_lists(parts: dict[str, Any], name: str) -> None:
    known = Analytics.build(**parts)
    np.testing.assert_array_equal(measure(known, k=K, reranker=name).items, measure(known, k=K).items)


@pytest.mark.parametrize(
    ("name", "metric", "sign"),
    [
        ("mmr", "attribute_diversity", 1),
        ("dpp", "attribute_diversity", 1),
        ("calibration", "calibration_kl", -1),
        ("popularity_penalty", "novelty", 1),
    ],
)
def test_reranker_gives_what_it_promises(name: str, metric: str, sign: int) -> None:
    known = Analytics.build(**store_world(2, n=80, n_items=60, m=40))
    plain_lists, moved = measure(known, k=4), measure(known, k=4, reranker=name, strength=0.9)
    assert sign * (moved.mean(metric) - plain_lists.mean(metric)) > 0.05
    assert moved.mean("ndcg") != plain_lists.mean("ndcg")


def test_likeness_by_text() -> None:
    known = Analytics.build(**store_world(2, n=80, n_items=60, m=40))
    by_text = measure(known, k=4, reranker="mmr", strength=0.9, by="text")
    assert by_text.mean("intra_list_diversity") > measure(known, k=4, reranker="mmr", strength=0.9).mean("intra_list_diversity")


def test_pool_is_of_the_best() -> None:
    known = Analytics.build(**store_world(2, n=80, n_items=60, m=40))
    best = measure(known, k=POOL * 4).items
    for row, pool in zip(measure(known, k=4, reranker="dpp", strength=1).items, best, strict=True):
        assert set(row) <= set(pool)


def test_row_blocks_do_not_change_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    known = Analytics.build(**store_world(3))
    whole = {name: measure(known, k=K, reranker=name, strength=0.5).items for name in RERANKERS}
    monkeypatch.setattr("recsys_core.analytics.ROWS", 7)
    for name, items in whole.items():
        np.testing.assert_array_equal(measure(known, k=K, reranker=name, strength=0.5).items, items)


# Intervals


def test_frame_has_intervals_where_there_are_any(parts: dict[str, Any]) -> None:
    frame = measure(Analytics.build(**parts), k=K).frame()
    total = frame[frame.metric.isin(["coverage", "gini"])]
    assert total["low"].isna().all()
    assert (total["note"] == NO_INTERVAL).all()
    rest = frame.drop(total.index)
    assert ((rest["low"] <= rest["mean"]) & (rest["mean"] <= rest["high"])).all()
    assert (rest["note"] == "").all()
    assert (frame.metric.tolist()) == [n for n in metrics.METRICS if n in set(frame.metric)]
    assert frame.set_index("metric").loc["ndcg", "n"] == (parts["store"].n_relevant > 0).sum()


def test_coverage_of_drawn_users_is_another_figure(parts: dict[str, Any]) -> None:
    """Why coverage has no interval: of 200 bootstrap draws not one covers as much as the lists of all users."""
    found = measure(Analytics.build(**store_world(0, n=60, n_items=300, m=20)), k=K)
    rng = np.random.default_rng(0)
    drawn = [metrics.coverage(found.items[rng.integers(0, 60, 60)], 300) for _ in range(200)]
    assert max(drawn) < found.totals["coverage"]


def test_shared_draws_are_a_bootstrap() -> None:
    rng = np.random.default_rng(0)
    table = np.stack([rng.random(300), rng.random(300) < 0.1, np.full(300, 0.3), np.full(300, np.nan)], axis=1)
    table[:50, 0] = np.nan
    table[:299, 3] = np.nan
    table[299, 3] = 7
    found = Draws(300, 0).intervals(table)
    for column, got in zip(table.T[:2], found[:2], strict=True):
        alone = metrics.bootstrap_interval(column, np.random.default_rng(1))
        assert (got.n, got.mean) == (alone.n, pytest.approx(alone.mean))
        np.testing.assert_allclose([got.low, got.high], [alone.low, alone.high], atol=0.2 * (alone.high - alone.low))
    np.testing.assert_allclose(found[2], (0.3, 0.3, 0.3, 300), atol=1e-12)
    np.testing.assert_equal(tuple(found[3]), (7, math.nan, math.nan, 1))
    np.testing.assert_allclose(Draws(300, 0).intervals(table[:, :1])[0], found[0], atol=1e-6)  # the same draws again
    some = Draws(300, 0).intervals(table, np.arange(100, 200))[0]
    assert some.mean == pytest.approx(table[100:200, 0].mean())
    assert some.high - some.low > found[0].high - found[0].low


def test_draws_of_many_users_take_the_expansion() -> None:
    values = np.random.default_rng(0).random((metrics.EXACT + 1, 1))
    draws = Draws(len(values), 3)
    assert draws.intervals(values)[0] == metrics.bootstrap_interval(values, np.random.default_rng(3))
    assert "weights" not in vars(draws)


# Groups and errors


def test_groups_are_thirds_and_columns(parts: dict[str, Any]) -> None:
    known = Analytics.build(**parts)
    assert set(known.groups) == {"activity", "popularity_affinity", "side", "age"}
    lengths = parts["early"][parts["store"].users].lengths
    low, high = (lengths[known.groups["activity"] == label] for label in ("low", "high"))
    assert low.max() < high.min()
    assert pd.Series(known.groups["age"]).value_counts().between(13, 14).all()
    assert known.groups["age"][0] == "0-13"
    assert known.groups["side"].tolist() == parts["table"]["side"].tolist()


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda a: measure(a, k=0), "k must be 1 or more"),
        (lambda a: measure(a, {"d": 1.0}, k=1), "unknown component 'd'"),
        (lambda a: measure(a, replace(a.blend, names=("a", "b", "d")), k=1), "the run's are a, b, c"),
        (lambda a: measure(a, k=1, reranker="mrr"), "unknown re-ranker 'mrr'"),
        (lambda a: measure(a, k=1, reranker="popularity_penalty", strength=2), "strength must be from 0 to 1"),
        (lambda a: measure(a, k=1, by="colour"), "by 'attributes' or 'text'"),
        (lambda a: measure(a, k=1, reranker="calibration", strength=1), "needs attributes"),
        (lambda a: measure(a, k=1, reranker="dpp", strength=1), "needs text"),
    ],
)
def test_errors_say_the_fix(call: Callable[[Analytics], Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        call(Analytics.build(**{**store_world(), "blocks": {}}))
