"""The front holds what nothing beats, and all of it; the best point keeps its constraint."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from worlds import store_world

from recsys_core.analytics import Analytics, measure
from recsys_core.errors import UserError
from recsys_core.tradeoffs import Point, best_under, front, mixes, pareto, strengths

K = 5


@pytest.fixture(scope="module")
def known() -> Analytics:
    return Analytics.build(**store_world(6, n=80, n_items=60, m=40))


@pytest.fixture(scope="module")
def table(known: Analytics) -> pd.DataFrame:
    return pareto(known, [Point(), *strengths("mmr"), *mixes(known, 10)], k=K)


def assert_front(x: Any, y: Any, on: Any) -> None:
    """Non-dominated and complete, by comparing every pair."""
    for i in range(len(x)):
        beaten = ((x >= x[i]) & (y >= y[i]) & ((x > x[i]) | (y > y[i]))).any() or np.isnan(x[i] + y[i])
        assert on[i] == (not beaten)


@pytest.mark.parametrize("seed", range(20))
def test_front_is_non_dominated_and_complete(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 8, (2, 30)).astype(float) if seed % 2 else rng.random((2, 30))  # with equal points, and without
    x[rng.random(30) < 0.1] = np.nan
    assert_front(x, y, front(x, y))


def test_wrong_fronts_are_rejected() -> None:
    x, y = np.array([1.0, 2, 2, 0]), np.array([3.0, 1, 2, 0])
    right = front(x, y)
    for n in range(4):
        wrong = right.copy()
        wrong[n] = not wrong[n]
        with pytest.raises(AssertionError):
            assert_front(x, y, wrong)


def test_front_of_little() -> None:
    assert front([], []).tolist() == []
    assert front([np.nan], [1]).tolist() == [False]
    assert front([1, 1], [2, 2]).tolist() == [True, True]


def test_table_has_each_point(known: Analytics, table: pd.DataFrame) -> None:
    assert len(table) == 1 + 11 + 11
    assert_front(table["ndcg"].to_numpy(), table["attribute_diversity"].to_numpy(), table["front"].to_numpy())
    assert 0 < table["front"].sum() < len(table)
    row = table.iloc[5]
    again = measure(known, k=K, reranker=row["reranker"], strength=row["strength"])
    assert (row["ndcg"], row["coverage"]) == (again.mean("ndcg"), again.mean("coverage"))
    mixed = table.iloc[-1][["weight_a", "weight_b", "weight_c"]]
    assert mixed.sum() == pytest.approx(sum(known.blend.weights))
    assert (mixed >= 0).all()


def test_lower_is_better_where_it_is(known: Analytics) -> None:
    table = pareto(known, strengths("calibration"), k=K, x="ndcg", y="calibration_kl")
    assert_front(table["ndcg"].to_numpy(), -table["calibration_kl"].to_numpy(), table["front"].to_numpy())


@pytest.mark.parametrize("loss", [0.0, 0.02, 0.1, 1.0])
def test_best_under_keeps_the_constraint(table: pd.DataFrame, loss: float) -> None:
    found = best_under(table, loss=loss)
    allowed = table[table["ndcg"] >= (1 - loss) * table["ndcg"].iloc[0] - 1e-12]
    assert found["attribute_diversity"] == allowed["attribute_diversity"].max()
    assert found["ndcg"] >= (1 - loss) * table["ndcg"].iloc[0] - 1e-12


def test_more_loss_is_never_worse(table: pd.DataFrame) -> None:
    found = [best_under(table, loss=loss)["attribute_diversity"] for loss in (0, 0.05, 0.2, 1)]
    assert found == sorted(found)


def test_best_under_by_hand() -> None:
    table = pd.DataFrame({"ndcg": [0.5, 0.49, 0.45, 0.2], "attribute_diversity": [0.1, 0.2, 0.3, np.nan]})
    assert [best_under(table, loss=loss).name for loss in (0, 0.02, 0.1, 1)] == [0, 1, 2, 2]
    assert best_under(table, loss=0, than=0.49).name == 1


def test_diversity_without_attributes_is_by_text() -> None:
    parts = store_world(6)
    known = Analytics.build(**{**parts, "blocks": {"vectors": parts["blocks"]["vectors"]}})
    table = pareto(known, strengths("mmr", n=3), k=K)
    assert_front(table["ndcg"].to_numpy(), table["intra_list_diversity"].to_numpy(), table["front"].to_numpy())


def test_errors_say_the_fix(known: Analytics, table: pd.DataFrame) -> None:
    with pytest.raises(UserError, match="unknown metric 'beauty'"):
        pareto(known, [Point()], k=K, y="beauty")
    with pytest.raises(UserError, match="'popularity_lift' has no better end"):
        pareto(known, [Point()], k=K, y="popularity_lift")
    with pytest.raises(UserError, match="at least one"):
        pareto(known, [], k=K)
    with pytest.raises(UserError, match="loss must be a share"):
        best_under(table, loss=2)
    with pytest.raises(UserError, match=r"no point keeps ndcg within 2% of 0\.9900"):
        best_under(table, than=0.99)
