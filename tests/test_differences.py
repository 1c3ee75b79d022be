"""Paired changes, overlap of lists, movers and segments: by hand, by loop, and turned round."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from worlds import store_world

from recsys_core.analytics import Analytics, Measured, measure
from recsys_core.differences import PERSISTENCE, change, movers, overlap, rank_biased_overlap, segments, verdicts
from recsys_core.errors import UserError

K = 5


@pytest.fixture(scope="module")
def known() -> Analytics:
    return Analytics.build(**store_world(4))


@pytest.fixture(scope="module")
def pair(known: Analytics) -> tuple[Measured, Measured]:
    return measure(known, k=K), measure(known, {"a": 2.0, "b": -0.5}, k=K, reranker="mmr", strength=0.3)


def test_change_is_paired(pair: tuple[Measured, Measured]) -> None:
    a, b = pair
    table = change(a, b).set_index("metric")
    for name, values in b.per_user.items():
        assert table.loc[name, "mean"] == pytest.approx(np.nanmean(values - a.per_user[name]))
        assert table.loc[name, "low"] <= table.loc[name, "mean"] <= table.loc[name, "high"]
    assert table.loc["coverage", "mean"] == b.totals["coverage"] - a.totals["coverage"]
    assert np.isnan(table.loc["coverage", "low"])
    back = change(b, a).set_index("metric")
    np.testing.assert_allclose(back["mean"], -table["mean"])
    np.testing.assert_allclose(back["low"], -table["high"], atol=1e-6)
    nothing = change(a, a).drop(columns=["metric", "note", "a", "b", "n"]).fillna(0)
    assert (nothing == 0).all(axis=None)


def test_pairing_is_tighter_than_two_intervals() -> None:
    """A change that is 0.01 for everybody is seen, though users differ far more."""
    known = Analytics.build(**store_world(4))
    a = measure(known, k=K)
    values = a.per_user["ndcg"]
    b = Measured(known, a.blend, K, "", 0.0, a.items, a.hits, {**a.per_user, "ndcg": values + 0.01}, a.totals)
    row = change(a, b).set_index("metric").loc["ndcg"]
    assert (row["low"], row["high"]) == pytest.approx((0.01, 0.01), abs=1e-6)
    alone = a.frame().set_index("metric").loc["ndcg"]
    assert alone["high"] - alone["low"] > 0.05


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([0, 1], [0, 1], 1),
        ([0, 1], [2, 3], 0),
        # agreement 0 at depth 1, 2/2 at depth 2
        ([0, 1], [1, 0], 1 * 0.9**2 + 0.1 / 0.9 * (0 * 0.9 + 1 * 0.9**2)),
        # 1 at depth 1, 1/2 at depth 2
        ([0, 1], [0, 2], 1 / 2 * 0.9**2 + 0.1 / 0.9 * (1 * 0.9 + 1 / 2 * 0.9**2)),
        ([0, -1], [0, -1], 1),
        ([0, -1], [-1, -1], 0),
        ([-1, -1], [-1, -1], np.nan),
    ],
)
def test_rank_biased_overlap_by_hand(a: list[int], b: list[int], expected: float) -> None:
    assert rank_biased_overlap(np.array([a]), np.array([b]))[0] == pytest.approx(expected, nan_ok=True)


def test_rank_biased_overlap_as_a_loop() -> None:
    rng = np.random.default_rng(0)
    a, b = (np.array([rng.permutation(12)[:8] for _ in range(50)]) for _ in range(2))
    p = PERSISTENCE
    for x, y, got in zip(a.tolist(), b.tolist(), rank_biased_overlap(a, b), strict=True):
        agreement = [len(set(x[:d]) & set(y[:d])) / d for d in range(1, 9)]
        assert got == pytest.approx(agreement[-1] * p**8 + (1 - p) / p * sum(v * p ** (d + 1) for d, v in enumerate(agreement)))
    assert (rank_biased_overlap(a, b) == rank_biased_overlap(b, a)).all()
    assert not np.allclose(rank_biased_overlap(a, b), rank_biased_overlap(a, b[:, ::-1]))  # order counts


def test_overlap_as_a_loop(pair: tuple[Measured, Measured]) -> None:
    a, b = pair
    found = overlap(a, b)
    for user, (x, y) in enumerate(zip(a.items.tolist(), b.items.tolist(), strict=True)):
        new, there = {i for i in y if i >= 0} - set(x), [i for i in y if i >= 0]
        assert found.new[user] == pytest.approx(len(new) / len(there) if there else np.nan, nan_ok=True)
        assert found.changed[user] == (x != y)
    assert 0 < found.share_changed <= 1
    assert overlap(a, a).share_changed == 0


def test_movers_are_the_ends(pair: tuple[Measured, Measured]) -> None:
    a, b = pair
    table = movers(a, b, n=3)
    gain = b.per_user["ndcg"] - a.per_user["ndcg"]
    ordered = np.sort(gain[~np.isnan(gain)])
    assert table["change"].tolist() == pytest.approx([*ordered[::-1][:3], *ordered[:3][::-1]])
    assert (table["after"] - table["before"]).tolist() == pytest.approx(table["change"].tolist())
    places = {user: n for n, user in enumerate(a.source.user_ids)}
    assert [gain[places[u]] for u in table["user_id"]] == pytest.approx(table["change"].tolist())
    assert len(movers(a, a)) == 0
    lower = movers(a, b, metric="calibration_kl", n=3)["change"]
    assert lower.iloc[0] < 0 < lower.iloc[-1]  # a smaller divergence is a gain
    assert movers(a, b, n=1000)["user_id"].is_unique


def test_segments_add_up(known: Analytics) -> None:
    found = measure(known, k=K)
    for by in ("activity", "popularity_affinity", "age", "side"):
        table = segments(found, by)
        novelty = table[table.metric == "novelty"]
        assert novelty["n"].sum() == (~np.isnan(found.per_user["novelty"])).sum()
        for row in table.itertuples():
            values = found.per_user[row.metric][known.groups[by] == row.segment]
            assert row.n == (~np.isnan(values)).sum()
            if row.n >= 10:
                assert row.mean == pytest.approx(np.nanmean(values))
                assert row.low <= row.mean + 1e-9
                assert row.mean <= row.high + 1e-9
                assert row.note == ""


def test_small_segments_are_suppressed(known: Analytics) -> None:
    """The world has 8 users of side "few"; nothing is told of them but how many they are."""
    table = segments(measure(known, k=K), "side").set_index(["segment", "metric"])
    few = table.loc["few"]
    assert few[["mean", "low", "high"]].isna().all(axis=None)
    assert (few["note"] == "suppressed: fewer than 10 users").all()
    assert table.loc[("many", "novelty"), "note"] == ""


def test_what_cannot_be_compared_is_refused(pair: tuple[Measured, Measured], known: Analytics) -> None:
    a, _ = pair
    other = measure(Analytics.build(**store_world(5)), k=K)
    with pytest.raises(UserError, match="different users"):
        change(a, other)
    with pytest.raises(UserError, match="one k"):
        overlap(a, measure(known, k=K + 1))
    with pytest.raises(UserError, match="unknown segment 'colour'"):
        segments(a, "colour")
    with pytest.raises(UserError, match="unknown metric of users 'coverage'"):
        movers(a, a, metric="coverage")


@pytest.mark.parametrize(
    ("metric", "change", "verdict"),
    [
        ("ndcg", (0.1, 0.05, 0.2), "better"),
        ("gini", (0.1, np.nan, np.nan), "worse"),
        ("ndcg", (0.1, -0.05, 0.2), "unclear"),
        ("ndcg", (0.0, 0.0, 0.0), "same"),
        ("novelty", (-5e-17, -1e-16, -9e-18), "same"),  # one list, summed in another order
        ("novelty", (-5e-6, -1e-5, -9e-7), "worse"),
        ("popularity_lift", (0.1, 0.05, 0.2), "neither"),
        ("ndcg", (np.nan, np.nan, np.nan), "unknown"),
    ],
)
def test_verdicts(metric: str, change: tuple[float, float, float], verdict: str) -> None:
    assert verdicts(pd.DataFrame([(metric, *change)], columns=["metric", "mean", "low", "high"])) == [verdict]
