"""Hand-worked values of single scorers."""

from __future__ import annotations

import numpy as np
import pytest
from worlds import dataset_of, random_world

from recsys_core.data import Histories
from recsys_core.scorers import ease, factors, item_knn, popularity, user_knn
from recsys_core.scorers.base import gram


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_popularity_by_hand() -> None:
    data = dataset_of([(0, 0), (1, 0), (2, 0), (0, 1)], 3, 3)
    scores = popularity.Model().fit(data, rng()).score(Histories.of([[]], 3))
    np.testing.assert_allclose(scores[0, :2], np.log1p([3, 1]), rtol=1e-6)


def test_recent_popularity_by_hand() -> None:
    data = dataset_of([(0, 0), (1, 1)], 2, 2, times=[1, 2])
    model = popularity.Model(popularity.PopularityConfig(half_life=0.5)).fit(data, rng())  # one event halves
    np.testing.assert_allclose(model.prior_, np.log1p([1 / 2, 1]), rtol=1e-6)


def test_item_knn_by_hand() -> None:
    data = dataset_of([(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)], 3, 2)
    model = item_knn.Model(item_knn.ItemKnnConfig(shrink=1.0)).fit(data, rng())
    scores = model.score(Histories.of([[0]], 2))
    assert scores[0].tolist() == pytest.approx([0, 2 / (np.sqrt(3 * 2) + 1)])


def test_user_knn_by_hand() -> None:
    data = dataset_of([(0, 0), (0, 1), (1, 0), (1, 2), (1, 3)], 2, 4)
    scores = user_knn.Model().fit(data, rng()).score(Histories.of([[0, 1]], 4))
    assert scores[0].tolist() == pytest.approx([1 + 1 / np.sqrt(6), 1, 1 / np.sqrt(6), 1 / np.sqrt(6)])


def test_ease_is_the_constrained_least_squares_solution() -> None:
    """Column i solves ridge regression of item i on all the others (Steck 2019, eq. 4)."""
    data = random_world()
    x = data.histories().csr().toarray().astype(float)[:, :12]
    b = ease.closed_form(x.T @ x, reg=3.0)
    for i in range(12):
        rest = np.delete(np.arange(12), i)
        expected = np.linalg.solve(x[:, rest].T @ x[:, rest] + 3.0 * np.eye(11), x[:, rest].T @ x[:, i])
        np.testing.assert_allclose(b[rest, i], expected, atol=1e-5)
    assert (np.diag(b) == 0).all()


def test_gram_is_the_same_in_blocks() -> None:
    h = random_world().histories()
    x = h.csr().toarray()
    np.testing.assert_allclose(gram(h), x.T @ x)


@pytest.mark.parametrize("loss", ["mse", "bce"])
def test_fold_in_minimises_the_loss_it_says(loss: str) -> None:
    data = random_world()
    config = factors.FactorsConfig(dim=4, steps=20, loss=loss, weight_decay=2.0, positive_weight=5.0)
    model = factors.Model(config).fit(data, rng())
    row = data.histories()[[3]]
    v = np.nan_to_num(model.item_vectors_).astype(float)
    x = row.csr().toarray()[0]

    def objective(u: np.ndarray) -> float:
        logit = v @ u
        weight = np.where(x > 0, 5.0, 1.0)
        error = (logit - x) ** 2 if loss == "mse" else np.logaddexp(0, logit) - x * logit
        return float(weight @ error + 2.0 * (u @ u))

    u = model.fold_in(row)[0].astype(float)
    best = objective(u)
    assert all(objective(u + step) >= best - 1e-6 for step in 0.05 * np.random.default_rng(1).normal(size=(50, 4)))


def test_als_of_the_implicit_library_is_a_choice() -> None:
    pytest.importorskip("implicit", reason="extra als is not installed")
    data = random_world()
    config = factors.FactorsConfig(dim=8, solver="als", weight_decay=1.0)
    scores = factors.Model(config).fit(data, rng()).score(data.histories())
    even = np.nanmean(scores[::2, :-1:2]) - np.nanmean(scores[::2, 1:-1:2])
    assert even > 0.05
