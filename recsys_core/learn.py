"""Learn the blend on a candidate store: weights that rank well, then one slope and bias that make it a probability.

In: Candidates (standardised scores, validation likes). Out: weights, and a calibrated Blend.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from recsys_core.candidates import Candidates
from recsys_core.hybrid import Blend
from recsys_core.metrics import ndcg
from recsys_core.scorers.base import Scores

STEPS = (0.5, 0.25, 0.1, 0.05)  # of the coordinate search, relative to the largest weight


def fit_blend(store: Candidates, start: Blend, k: int) -> Blend:
    """Weights by NDCG@k coordinate search from the best single component, then calibrated on the recommended top k."""
    weights = search_weights(store, k)
    return calibrate(replace(start, weights=tuple(float(w) for w in weights)), store, k)


def search_weights(store: Candidates, k: int) -> NDArray[np.float64]:
    """Non-negative weights (n_components,), largest 1, that maximise the mean NDCG@k of the store's users."""
    z = np.nan_to_num(store.z, nan=0.0)

    def quality(weights: NDArray[np.float64]) -> float:
        logit = np.where(store.items < 0, -np.inf, z @ weights.astype(np.float32))
        return float(ndcg_of(logit, store, k).mean())

    eye = np.eye(z.shape[2])
    weights = max(eye, key=quality)
    best = quality(weights)
    for step in STEPS:
        improved = True
        while improved:
            improved = False
            for move in (*(step * eye), *(-step * eye)):
                trial = np.maximum(weights + move, 0)
                if trial.any() and (score := quality(trial)) > best + 1e-6:
                    weights, best, improved = trial, score, True
    return np.asarray(weights / weights.max())


def calibrate(blend: Blend, store: Candidates, k: int) -> Blend:
    """Scale weights and set the bias so that sigmoid(logit) is the like rate of what is shown (Platt 1999).

    Fitted on each user's top k of the store, hits against misses; the slope is positive, so no ranking changes.
    """
    logit = store.logit(replace(blend, bias=0.0))
    k = min(k, logit.shape[1])
    top = np.argpartition(-logit, k - 1, axis=1)[:, :k]
    shown = np.take_along_axis(logit, top, axis=1)
    hit = np.take_along_axis(store.relevant, top, axis=1)[np.isfinite(shown)]
    slope, bias = _platt(shown[np.isfinite(shown)].astype(np.float64), hit)
    return replace(blend, weights=tuple(slope * w for w in blend.weights), bias=bias, cold_shift=slope * blend.cold_shift)


def _platt(x: NDArray[np.float64], hit: NDArray[np.bool_], steps: int = 50) -> tuple[float, float]:
    """Newton steps for slope and bias of a logistic fit, targets smoothed as Platt does; slope at least 1e-3."""
    n_hit = hit.sum()
    target = np.where(hit, (n_hit + 1) / (n_hit + 2), 1 / (len(hit) - n_hit + 2))
    columns = np.stack([x, np.ones_like(x)], axis=1)
    theta = np.array([0.0, np.log((n_hit + 1) / (len(hit) - n_hit + 1))])
    for _ in range(steps):
        p = 1 / (1 + np.exp(-np.clip(columns @ theta, -30, 30)))
        curve = (columns * (p * (1 - p))[:, None]).T @ columns + 1e-9 * np.eye(2)
        change = np.linalg.solve(curve, columns.T @ (target - p))
        theta = theta + change
        if np.abs(change).max() < 1e-10:
            break
    return max(float(theta[0]), 1e-3), float(theta[1])


def ndcg_of(logit: Scores, store: Candidates, k: int) -> NDArray[np.float64]:
    """NDCG@k of each user with a relevant item; the store holds no hidden item."""
    k = min(k, logit.shape[1])
    top = np.argpartition(-logit, k - 1, axis=1)[:, :k]
    order = np.argsort(-np.take_along_axis(logit, top, axis=1), axis=1, kind="stable")
    hits = np.take_along_axis(store.relevant, np.take_along_axis(top, order, axis=1), axis=1)
    judged = store.n_relevant > 0
    return np.asarray(ndcg(hits[judged], store.n_relevant[judged]))
