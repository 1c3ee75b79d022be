"""Calibration on validation lists stands for the lists that are served, which hide validation likes and hold the test's."""

from __future__ import annotations

import numpy as np
import pytest

from recsys_core import learn
from recsys_core.candidates import Candidates
from recsys_core.hybrid import Blend, sigmoid

N, K = 4000, 10


def world(held_out: float) -> tuple[Candidates, np.ndarray, np.ndarray]:
    """Validation lists, where a pair is a validation like at a rate that depends on z, and a test like at `held_out` times it;
    of what validation likes leave over z, and whether it is liked in the test."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(N, K, 1)).astype(np.float32)
    q = sigmoid(0.8 * z[:, :, 0] - 2.6)
    u = rng.random((N, K))
    valid, test = u < q, (q <= u) & (u < q + held_out * q)
    none = np.zeros((N, K), bool)
    items = np.tile(np.arange(K), (N, 1))
    return Candidates(np.arange(N), items, z, valid, none, valid.sum(axis=1), none), z[~valid][:, 0], test[~valid]


@pytest.mark.parametrize("held_out", [0.5, 1.0, 2.0])
def test_probabilities_are_right_of_lists_without_validation_likes(held_out: float) -> None:
    store, z, liked = world(held_out)
    blend = learn.calibrate(Blend(("a",), (0.0,), (1.0,), (1.0,)), store, K, held_out)
    p = sigmoid(blend.bias + blend.weights[0] * z.astype(np.float64))
    assert p.mean() == pytest.approx(liked.mean(), abs=0.01)
    for low, high in ((-3, -1), (-1, 0), (0, 1), (1, 3)):
        bin_ = (z >= low) & (z < high)
        assert p[bin_].mean() == pytest.approx(liked[bin_].mean(), abs=0.03), (low, high)


def test_without_a_test_part_the_rate_is_that_of_validation() -> None:
    store, _, _ = world(0.0)
    blend = learn.calibrate(Blend(("a",), (0.0,), (1.0,), (1.0,)), store, K)
    p = sigmoid(blend.bias + blend.weights[0] * store.z[:, :, 0].astype(np.float64))
    assert p.mean() == pytest.approx(store.relevant.mean(), abs=0.005)


def test_calibration_changes_no_ranking() -> None:
    store, _, _ = world(1.0)
    against = store.__class__(**{**vars(store), "relevant": store.z[:, :, 0] < 0})  # likes are what scores low
    for judged in (store, against):
        blend = learn.calibrate(Blend(("a",), (0.0,), (1.0,), (1.0,)), judged, K, 1.0)
        assert blend.weights[0] > 0


def test_a_component_that_scores_nothing_has_no_weight() -> None:
    store, _, _ = world(1.0)
    idle = np.full_like(store.z, np.nan)
    wide = store.__class__(**{**vars(store), "z": np.concatenate([store.z, idle, idle], axis=2)})
    start = Blend(("ease", "next_item", "cold"), (0.0,) * 3, (1.0,) * 3, (1.0,) * 3)
    weights = learn.fit_blend(wide, start, K).weights
    assert weights[0] > 0
    assert weights[1:] == (0.0, 1.0)  # items that nobody has met may come later


@pytest.mark.parametrize("weight", [0.0, 0.4])
def test_popularity_keeps_some_weight_for_who_has_no_history(weight: float) -> None:
    blend = Blend(("popularity", "ease"), (0.0,) * 2, (1.0,) * 2, (weight, 2.0))
    given = learn.with_newcomers(blend)
    assert given.weights == (max(weight, 0.02), 2.0)
    alone = Blend(("ease",), (0.0,), (1.0,), (2.0,))
    assert learn.with_newcomers(alone) == alone
