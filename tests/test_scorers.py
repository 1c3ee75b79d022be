"""Hand-worked values of single scorers."""

from __future__ import annotations

import numpy as np
import pytest
from worlds import dataset_of, random_world

from recsys_core.data import Histories
from recsys_core.scorers import ease, factors, item_knn, popularity, user_knn
from recsys_core.scorers.base import NEGLIGIBLE, gram, most_liked, proximity_grams


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
    scores = model.score(Histories.of([[0]], 2))  # one past item, so its size is 1
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


def test_ease_finds_likes_from_all_that_was_rated() -> None:
    """The same with histories F on the one side and likes X on the other."""
    data = random_world()
    h = data.histories()
    f, x = (m.csr().toarray().astype(float)[:, :12] for m in (h, h.targets))
    b = ease.closed_form(f.T @ f, 3.0, f.T @ x)
    for i in range(12):
        rest = np.delete(np.arange(12), i)
        expected = np.linalg.solve(f[:, rest].T @ f[:, rest] + 3.0 * np.eye(11), f[:, rest].T @ x[:, i])
        np.testing.assert_allclose(b[rest, i], expected, atol=1e-5)
    assert (np.diag(b) == 0).all()
    model = ease.Model(ease.EaseConfig(proximity=0.0, reg=3.0)).fit(data, rng())
    whole = ease.closed_form(gram(h, model.kept_), 3.0, gram(h, model.kept_, h.targets))
    np.testing.assert_allclose(model.weights_, whole, atol=1e-5)


@pytest.mark.parametrize("forward", [False, True])
def test_nearness_of_two_events_by_hand(forward: bool) -> None:
    h = random_world().histories()
    kept, place = most_liked(h, 30)
    n, reach = len(kept), 2.0
    both, found = np.zeros((n, n)), np.zeros((n, n))
    for row in range(len(h)):
        one = h[[row]]
        for a, i in enumerate(one.items):
            for b, j in enumerate(one.items):
                if min(place[i], place[j]) < 0:
                    continue
                near = np.exp(-abs(one.ages[a] - one.ages[b]) / reach)
                both[place[i], place[j]] += near * one.values[a] * one.values[b]
                counts = 1.0 if not forward else float(np.heaviside(one.ages[a] - one.ages[b], 0.5)) * (a != b)
                found[place[i], place[j]] += counts * near * one.values[a] * one.liked[b]
    given = proximity_grams(h, reach, place, n, forward=forward)
    np.testing.assert_allclose(given[0], both, atol=80 * NEGLIGIBLE)
    np.testing.assert_allclose(given[1], found, atol=80 * NEGLIGIBLE)
    assert not np.allclose(given[1], given[1].T)  # likes on one side alone, so it has a direction


def test_gram_is_the_same_in_blocks() -> None:
    h = random_world().histories()
    f, x = h.csr().toarray().astype(float), h.targets.csr().toarray().astype(float)
    np.testing.assert_allclose(gram(h), f.T @ f)
    np.testing.assert_allclose(gram(h, targets=h.targets), f.T @ x)


@pytest.mark.parametrize("loss", ["mse", "bce"])
def test_fold_in_minimises_the_loss_it_says(loss: str) -> None:
    data = random_world()
    config = factors.FactorsConfig(dim=4, steps=20, loss=loss, reg=0.05, unobserved=0.3, solver="torch", fold_in="exact")
    model = factors.Model(config).fit(data, rng())
    row = data.histories()[[3]]
    v = np.nan_to_num(model.item_vectors_).astype(float)
    x = row.targets.csr().toarray()[0]

    def objective(u: np.ndarray) -> float:
        s = v @ u
        fit = x @ (s - 1) ** 2 + 0.3 * (s**2).sum() if loss == "mse" else x @ np.logaddexp(0, -s) + 0.3 * np.logaddexp(0, s).sum()
        return float(fit + 0.05 * (x.sum() + 0.3 * len(v)) * (u @ u))

    u = model.fold_in(row)[0].astype(float)
    best = objective(u)
    assert all(objective(u + step) >= best - 1e-6 for step in 0.05 * np.random.default_rng(1).normal(size=(50, 4)))


def test_linear_fold_in_is_near_the_exact_one() -> None:
    """Its vectors are those of the least squares, so no other matrix comes nearer to the minimisers."""
    data = random_world()
    model = factors.Model(factors.FactorsConfig(dim=4)).fit(data, rng())
    likes = data.histories()
    exact = factors.Model(factors.FactorsConfig(dim=4, fold_in="exact"))
    exact.item_vectors_, exact.metric_ = model.item_vectors_, model.metric_
    goal = exact.fold_in(likes)
    miss = float(((model.fold_in(likes) - goal) ** 2).sum())
    assert miss < 0.1 * float((goal**2).sum())
    for step in 0.05 * np.random.default_rng(1).normal(size=(20, 4, 4)):
        model.metric_ = (exact.metric_ + step).astype(np.float32)
        assert float(((model.fold_in(likes) - goal) ** 2).sum()) > miss


def test_als_of_the_implicit_library_is_a_choice() -> None:
    pytest.importorskip("implicit", reason="extra als is not installed")
    data = random_world()
    config = factors.FactorsConfig(dim=8, solver="implicit", reg=0.1)
    scores = factors.Model(config).fit(data, rng()).score(data.histories())
    even = np.nanmean(scores[::2, :-1:2]) - np.nanmean(scores[::2, 1:-1:2])
    assert even > 0.05
