"""Metrics against hand-worked fractions, ranx and scikit-learn; intervals and tests against simulation."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numba
import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.stats import rankdata
from sklearn.metrics import brier_score_loss, roc_auc_score

from recsys_core import metrics as m

HITS = np.array([[True, False, True], [False, False, False], [False, True, False]])  # k = 3
N_RELEVANT = np.array([2, 0, 5])
nan = math.nan


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (m.precision, [2 / 3, nan, 1 / 3]),
        (m.recall, [2 / 2, nan, 1 / 5]),
        (m.mrr, [1 / 1, nan, 1 / 2]),
        (m.hit_rate, [1, nan, 1]),
        (m.average_precision, [1 / 2 * (1 / 1 + 2 / 3), nan, 1 / 3 * (1 / 2)]),
        (m.ndcg, [(1 + 1 / 2) / (1 + 1 / math.log2(3)), nan, 1 / math.log2(3) / (1 + 1 / math.log2(3) + 1 / 2)]),
    ],
)
def test_accuracy_by_hand(metric: Callable[..., Any], expected: list[float]) -> None:
    np.testing.assert_allclose(metric(HITS, N_RELEVANT), expected, atol=1e-15)


def test_auc_by_hand() -> None:
    # of 5 items: relevant at 1 and 4 (pairs won 3 and 1, of 2 * 3); nothing relevant; all relevant; tied with one other for 1.5
    ranks, rows = np.array([1, 4, 1, 2, 3, 4, 5, 1.5]), np.array([0, 0, 2, 2, 2, 2, 2, 3])
    np.testing.assert_allclose(m.auc(ranks, rows, np.full(4, 5)), [(3 + 1) / 6, nan, nan, (1 / 2 + 3) / 4])


LISTS = np.array([[0, 1], [0, 2], [1, -1]])
COUNTS = np.array([7, 1, 0, 0])  # of 7 training users
PAST = csr_array(np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]))
GENRES = np.array([[1, 0], [1, 1], [0, 1], [0, 0]])


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        (m.coverage(LISTS, 4), 3 / 4),
        # exposures 0, 1, 2, 2: weights -3, -1, 1, 3
        (m.gini(LISTS, 4), (-3 * 0 - 1 * 1 + 1 * 2 + 3 * 2) / (4 * 5)),
        (m.novelty(LISTS, COUNTS, 7), [1 / 2 * (0 + 2), 1 / 2 * (0 + 3), 2]),  # bits of 8/8, 2/8, 1/8
        (m.attribute_diversity(LISTS, GENRES), [1 - 1 / math.sqrt(2), 1 - 0, nan]),
        # shared with the two others: {0}, {1}; {0}, {}; {1}, {} of a list of one
        (m.personalisation(LISTS, 4), [1 - 1 / 2 * (1 / 2 + 1 / 2), 1 - 1 / 2 * (1 / 2 + 0), 1 - 1 / 2 * (1 / 1 + 0)]),
        (m.popularity_lift(LISTS, COUNTS, PAST), [(7 + 1) / 2 / 7 - 1, (7 + 0) / 2 / 1 - 1, nan]),
        (m.long_tail_share(LISTS, COUNTS), [1 / 2, 1 / 2, 1 / 1]),  # item 0 alone holds 7/8
        (
            m.calibration_kl(LISTS, PAST, GENRES),
            [
                math.log(1 / (0.99 * 3 / 4 + 0.01)),  # p = (1, 0), q = (3/4, 1/4)
                0,  # p = (1/2, 1/2) = q
                nan,
            ],
        ),
        # hits: item 1 (cosine 1/sqrt 2 to item 0); item 2 (1/sqrt 2 to item 1); no history
        (
            m.serendipity(LISTS, np.array([[0, 1], [0, 1], [1, 0]], bool), np.array([1, 1, 1]), PAST, GENRES),
            [(1 - 1 / math.sqrt(2)) / 2, (1 - 1 / math.sqrt(2)) / 2, nan],
        ),
    ],
)
def test_beyond_accuracy_by_hand(got: Any, expected: Any) -> None:
    np.testing.assert_allclose(got, expected, atol=1e-12)


def test_nothing_shown() -> None:
    empty = np.full((2, 3), -1)
    assert m.coverage(empty, 4) == 0
    assert math.isnan(m.gini(empty, 4))
    assert np.isnan(m.personalisation(empty, 4)).all()
    assert np.isnan(m.personalisation(np.array([[0, 1]]), 4)).all()  # one user has no others


def test_long_tail_does_not_split_equal_items() -> None:
    lists, counts = np.array([[0], [1], [2]]), np.array([4, 4, 2])  # 80% needs both items of 4
    np.testing.assert_array_equal(m.long_tail_share(lists, counts), [0, 0, 1])
    np.testing.assert_array_equal(m.long_tail_share(lists, np.array([5, 5, 5])), [0, 0, 0])


def test_blocks_do_not_change_results(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    lists = np.array([rng.permutation(30)[:6] for _ in range(50)])
    vectors, genres = rng.normal(size=(30, 4)), (rng.random((30, 5)) < 0.4).astype(float)
    history, values = csr_array(rng.random((50, 30)) < 0.2), rng.random(80)

    def everything() -> list[Any]:
        draw = np.random.default_rng(1)
        kl, ild = m.calibration_kl(lists, history, genres), m.intra_list_diversity(lists, vectors)
        return [kl, ild, m.bootstrap_interval(values, draw)]

    whole = everything()
    monkeypatch.setattr(m, "_blocks", lambda n, width: (slice(i, min(i + 7, n)) for i in range(0, n, 7)))
    for a, b in zip(whole[:2], everything()[:2], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-14)
    np.testing.assert_allclose(whole[2], everything()[2], atol=1e-14)


# Agreement with other libraries


@pytest.fixture(scope="module")
def ranx() -> ModuleType:
    """ranx's metrics as plain Python: compiling them takes minutes, a thousand lists take a second."""
    before, numba.config.DISABLE_JIT = numba.config.DISABLE_JIT, True
    try:
        import ranx.metrics
    finally:
        numba.config.DISABLE_JIT = before
    return ranx.metrics


def test_agrees_with_ranx(ranx: ModuleType) -> None:
    """1,000 lists, short ones too. ranx scores an empty truth 0 (we: NaN) and divides AP by n_relevant (we: at most k)."""
    rng, k, n_items = np.random.default_rng(0), 10, 50
    ranked = [rng.permutation(n_items)[: rng.integers(1, k + 1)] for _ in range(1000)]
    truth = [np.sort(rng.permutation(n_items)[: rng.integers(1, 25)]) for _ in range(1000)]
    hits = np.zeros((1000, k), bool)
    for user, (items, relevant) in enumerate(zip(ranked, truth, strict=True)):
        hits[user, : len(items)] = np.isin(items, relevant)
    n_relevant = np.array([len(t) for t in truth])
    qrels = [np.column_stack([t, np.ones(len(t), int)]) for t in truth]  # item, relevance
    run = [np.column_stack([items, np.arange(len(items), 0, -1)]) for items in ranked]  # item, score
    pairs = [
        (m.ndcg, ranx.ndcg, 1),
        (m.precision, ranx.precision, 1),
        (m.recall, ranx.recall, 1),
        (m.mrr, ranx.reciprocal_rank, 1),
        (m.hit_rate, ranx.hit_rate, 1),
        (m.average_precision, ranx.average_precision, np.minimum(n_relevant, k) / n_relevant),
    ]
    for ours, theirs, convert in pairs:
        np.testing.assert_allclose(ours(hits, n_relevant) * convert, theirs(qrels, run, k), atol=1e-9, err_msg=ours.__name__)


def test_auc_agrees_with_sklearn() -> None:
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 12, (100, 40))  # many ties
    relevant = rng.random((100, 40)) < 0.2
    rows, items = np.nonzero(relevant)
    ranks = rankdata(-scores, axis=1)[rows, items]  # mid-ranks, 1 = best
    expected = [roc_auc_score(y, s) if 0 < y.sum() < 40 else nan for y, s in zip(relevant, scores, strict=True)]
    np.testing.assert_allclose(m.auc(ranks, rows, np.full(100, 40)), expected, atol=1e-12)


def test_brier_agrees_with_sklearn() -> None:
    rng = np.random.default_rng(0)
    p = rng.random(500)
    y = rng.random(500) < p
    assert m.reliability(p, y).brier == pytest.approx(brier_score_loss(y, p), abs=1e-12)


# Intervals and tests


def test_interval_leaves_out_nan_and_counts() -> None:
    rng = np.random.default_rng(0)
    got = m.bootstrap_interval([1, nan, 2, 3, nan], rng)
    assert (got.mean, got.n) == (2, 3)
    assert 1 <= got.low < 2 < got.high <= 3
    assert m.bootstrap_interval([1, 1, 1], rng) == (1, 1, 1, 3)
    np.testing.assert_equal(m.bootstrap_interval([5.0, nan], rng), (5, nan, nan, 1))
    np.testing.assert_equal(m.bootstrap_interval([nan], rng), (nan, nan, nan, 0))
    assert m.bootstrap_interval(np.ones(m.EXACT + 1), rng) == (1, 1, 1, m.EXACT + 1)


def test_interval_covers_the_truth() -> None:
    """About 95% of intervals hold the true mean: of 400, 4 standard errors are 4%."""
    rng = np.random.default_rng(0)
    draws = [m.bootstrap_interval(rng.beta(0.5, 1.5, 200), rng, n=400) for _ in range(400)]
    covered = np.mean([i.low <= 0.5 / 2 <= i.high for i in draws])
    assert 0.91 <= covered <= 0.99


@pytest.mark.parametrize("make", [lambda r, n: r.random(n), lambda r, n: r.random(n) < 0.002, lambda r, n: r.pareto(4, n)])
def test_expansion_has_the_quantiles_of_the_bootstrap(monkeypatch: pytest.MonkeyPatch, make: Callable[..., Any]) -> None:
    rng = np.random.default_rng(0)
    values = make(rng, 6000)
    expanded = m.bootstrap_interval(values, rng)
    monkeypatch.setattr(m, "EXACT", 10_000)
    drawn = m.bootstrap_interval(values, rng, n=10_000)
    np.testing.assert_allclose(expanded, drawn, atol=0.08 * (drawn.high - drawn.mean))


def test_paired_difference_by_hand() -> None:
    """Three equal differences: 2 of the 8 flips are as extreme, so p is near 2/8; with none p is 1."""
    rng = np.random.default_rng(0)
    got = m.paired_difference([3, 3, 3, nan, 1], [2, 2, 2, 0, nan], rng)
    assert (got.mean, got.low, got.high, got.n) == (1, 1, 1, 3)
    assert got.p == pytest.approx(2 / 8, abs=0.02)
    assert m.paired_difference([1, 2], [1, 2], rng).p == 1
    assert math.isnan(m.paired_difference([nan], [1], rng).p)


def test_paired_test_rarely_sees_what_is_not_there() -> None:
    """With no difference p < .05 comes in about 5%, within 3.5 standard errors of 400; a real one is found."""
    rng = np.random.default_rng(0)
    p = [m.paired_difference(*rng.exponential(size=(2, 30)), rng, n=500).p for _ in range(400)]
    assert 0.012 <= np.mean(np.array(p) < 0.05) <= 0.09
    base = rng.random(200)
    assert m.paired_difference(base + rng.normal(0.1, 0.2, 200), base, rng).p < 0.001


def test_paired_normal_has_the_p_of_the_flips(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(0.02, 1, 6000)
    normal = m.paired_difference(a, np.zeros(6000), rng).p
    monkeypatch.setattr(m, "EXACT", 10_000)
    assert normal == pytest.approx(m.paired_difference(a, np.zeros(6000), rng).p, abs=0.02)


def test_holm_by_hand() -> None:
    np.testing.assert_allclose(m.holm([0.01, nan, 0.04, 0.03]), [3 * 0.01, nan, 2 * 0.03, 2 * 0.03])
    np.testing.assert_allclose(m.holm([0.5, 0.9]), [1, 1])
    assert len(m.holm([])) == 0


def test_reliability_by_hand() -> None:
    got = m.reliability([0.1, 0.3, 0.7, 0.9], [0, 1, 1, 1], bins=2)
    np.testing.assert_allclose(got.table, [[0.2, 1 / 2, 2], [0.8, 1, 2]])
    assert got.ece == pytest.approx(1 / 2 * (1 / 2 - 0.2) + 1 / 2 * (1 - 0.8))
    assert got.brier == pytest.approx(1 / 4 * (0.1**2 + 0.7**2 + 0.3**2 + 0.1**2))


def test_reliability_of_equal_and_of_no_probabilities() -> None:
    one = m.reliability(np.full(10, 0.3), [1] * 3 + [0] * 7)
    assert (len(one.table), one.table["n"].sum()) == (1, 10)
    assert one.ece == pytest.approx(0)
    nothing = m.reliability([nan], [1])
    assert len(nothing.table) == 0
    assert math.isnan(nothing.ece)


def test_reliability_bins_are_of_equal_mass() -> None:
    rng = np.random.default_rng(0)
    p = rng.beta(1, 20, 1000)
    y = rng.random(1000) < p
    got, order = m.reliability(p, y), rng.permutation(1000)
    assert got.table["n"].tolist() == [100] * 10
    assert got.ece < 0.03  # honest probabilities
    assert m.reliability(p[order], y[order]).ece == pytest.approx(got.ece)
    assert m.reliability(p, rng.random(1000) < 0.5).ece > 0.3  # and dishonest ones
