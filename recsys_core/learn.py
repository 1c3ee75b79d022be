"""Learn the blend on a candidate store: weights that rank well, then one slope and bias that make it a probability.

In: Candidates (standardised scores, validation likes). Out: weights, and a calibrated Blend.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from recsys_core.candidates import Candidates
from recsys_core.hybrid import Blend, sigmoid
from recsys_core.metrics import ndcg
from recsys_core.rehearsal import Shown
from recsys_core.scorers.base import Scores

STEPS = (0.3, 0.1)  # of the coordinate search, as shares of all weight
LEAST_GAIN = 2e-4  # in NDCG: smaller moves follow the noise of the validation users
ROUNDS = 2  # at each step size
BAGS = 8  # searches whose mean is taken
ENOUGH = 5000  # users: a single search on so many is hardly moved by who was drawn
ALONE = "cold"  # the component that scores cold items only: there may be none of them yet, and some later
NEWCOMERS = 0.01  # share of the weight that popularity has at least: enough to order what is else equal, for who has no history
DEPTH = 3  # the search looks at the first 3k places: more hits where a user has few (compared in benchmarks/learners.py)


def fit_blend(store: Candidates, start: Blend, k: int, held_out: float = 0.0) -> Blend:
    """Weights of the components that score warm items, as `rank_weights` has them, then calibrated on the recommended top k.

    Components that score nothing but cold items keep the weight of `start`, those that score nothing at all have none; `held_out`
    as in `calibrate`.
    """
    warm, usable = _warm(store)
    if not len(usable):
        return start
    idle = ~np.isfinite(store.z[store.items >= 0]).any(axis=0) & (np.array(start.names) != ALONE)
    weights = np.where(idle, 0.0, start.weights)
    weights[usable] = rank_weights(warm.keep(usable), DEPTH * k)
    return recalibrated(with_newcomers(replace(start, weights=tuple(weights.tolist()))), store, k, held_out)


def recalibrated(blend: Blend, store: Candidates, k: int, held_out: float = 0.0) -> Blend:
    """`calibrate` of the components that score warm items; the others keep their weight."""
    warm, usable = _warm(store)
    if not len(usable):
        return blend
    learned, weights = calibrate(blend.only(usable), warm.keep(usable), k, held_out), np.array(blend.weights)
    weights[usable] = learned.weights
    return replace(blend, weights=tuple(weights.tolist()), bias=learned.bias)


def _warm(store: Candidates) -> tuple[Candidates, NDArray[np.int64]]:
    """The store without cold items, and the components that score any of it."""
    warm = store.warm()
    return warm, np.flatnonzero(np.isfinite(warm.z[warm.items >= 0]).any(axis=0))  # behind a row's end z is 0, not a score


def rank_weights(store: Candidates, k: int) -> NDArray[np.float64]:
    """Weights (n_components,) >= 0 that sum to 1: half from a search for what ranks the judged users best, half from a logistic
    fit of their likes.

    Each follows the luck of the validation users in its own way, and their mean ranks other users better than either
    (benchmarks/learners.py).
    """
    there = store.items >= 0
    slopes, _ = _logistic(np.nan_to_num(store.z)[there].astype(np.float64), store.relevant[there])
    searched = search_weights(store, k)
    return (searched + slopes / slopes.sum()) / 2 if slopes.sum() > 0 else searched


def with_newcomers(blend: Blend, least: float = NEWCOMERS) -> Blend:
    """The blend in which popularity has at least this share of all weight: who has no history yet is judged by it alone."""
    weights, total = dict(zip(blend.names, blend.weights, strict=True)), sum(blend.weights)
    if weights.get("popularity", np.inf) >= least * total:
        return blend
    return blend.with_weights({"popularity": least * total})


def search_weights(store: Candidates, k: int, bags: int = BAGS) -> NDArray[np.float64]:
    """Non-negative weights (n_components,) that sum to 1 and rank the store's users well: the mean over searches on users drawn
    with replacement, for one search on a few hundred users ends where their luck has it (bagging, Breiman 1996).

    `bags`: searches; 1, or more than ENOUGH users that can be judged: one, on the users as they are.
    """
    z, n, users = np.nan_to_num(store.z, nan=0.0), store.z.shape[2], int((store.n_relevant > 0).sum())
    known: dict[bytes, NDArray[np.float64]] = {}

    def each(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """(users,) NDCG, kept: the searches begin alike and ask much the same."""
        key = weights.astype(np.float32).tobytes()
        if key not in known:
            known[key] = ndcg_of(np.where(store.items < 0, -np.inf, z @ weights.astype(np.float32)), store, k)
        return known[key]

    if not users:
        return np.full(n, 1 / n)
    whole = np.full(users, 1 / users)
    rng = np.random.default_rng(0)
    draws = [rng.multinomial(users, whole) / users for _ in range(bags)] if bags > 1 and users <= ENOUGH else [whole]
    found = [_climb(lambda weights, draw=draw: float(each(weights) @ draw), n) for draw in draws]  # type: ignore[misc]
    return np.asarray(np.mean(found, axis=0))


def _climb(quality: Callable[[NDArray[np.float64]], float], n: int) -> NDArray[np.float64]:
    """Coordinate search over weights (n,) that sum to 1, from equal weights on."""
    weights = np.full(n, 1 / n)
    best = quality(weights)
    for step in STEPS:
        for _ in range(ROUNDS):
            before = best
            for c, change in itertools.product(range(len(weights)), (step, -step)):
                trial = weights.copy()
                trial[c] = max(0.0, trial[c] + change)
                if trial[c] == weights[c] or not trial.any():
                    continue
                trial /= trial.sum()
                if (found := quality(trial)) > best + LEAST_GAIN:
                    weights, best = trial, found
            if best == before:
                break
    return weights


def fit_cold(shown: Shown, blend: Blend, free: int | None, doubt: float = 0.0) -> Blend:
    """The scale of cold items: the weight of what scores them alone, and a shift, so that a probability means what it does for
    warm ones.

    Args:
        shown: pairs of a user and an item that plays cold.
        free: component that scores cold items alone: its weight is learned here.
        doubt: by how many standard errors the shift is lowered: cold items get what the rehearsal shows beyond doubt.

    Non-negative logistic regression. Every other component keeps the weight that it has for warm items, which thousands of items
    have taught: the hundred or so that play cold do not tell its weight apart from the luck of the draw. Without a pair nothing
    is learned: cold items are then on the scale of warm ones.
    """
    if not len(shown.hit):
        return blend
    x, weights = np.nan_to_num(shown.z).astype(np.float64), np.array(blend.weights)
    open_to = [free] if free is not None and np.isfinite(shown.z[:, free]).any() else []
    weights[open_to] = 0
    weights[open_to], bias = _logistic(x[:, open_to], shown.hit, given=x @ weights)
    shift = bias - blend.bias - doubt * _error_by_item(sigmoid(x @ weights + bias), shown)
    return replace(blend, weights=tuple(weights.tolist()), cold_factors=(1.0,) * len(weights), cold_shift=shift)


def _error_by_item(p: NDArray[np.float64], shown: Shown) -> float:
    """Standard error of a logistic fit's bias, its slopes fixed; pairs of one item are one observation (Liang and Zeger 1986)."""
    missed = np.bincount(shown.item, shown.hit - p)
    return float(np.linalg.norm(missed)) / max(float((p * (1 - p)).sum()), 1e-9)


def like_cold(blend: Blend, learned: Blend) -> Blend:
    """The blend with the scale that `learned` has for cold items: the same log-odds a component and the same base for them.

    `blend` has some of the components of `learned`, perhaps with other weights, bias or constants of warm items. A component that
    has weight 0 there has none for cold items either. ALONE scores cold items only, so its weight itself is carried over.
    """
    if not learned.cold_factors:
        return blend
    at = [learned.names.index(n) for n in blend.names]
    slopes = np.array(learned.weights)[at] * np.array(learned.cold_factors)[at]
    weights = np.where(np.array(blend.names) == ALONE, slopes, blend.weights)
    factors = np.divide(slopes, weights, out=np.zeros_like(slopes), where=weights > 0)
    shift = learned.bias + learned.cold_shift - blend.bias
    return replace(blend, weights=tuple(weights.tolist()), cold_factors=tuple(factors.tolist()), cold_shift=shift)


def calibrate(blend: Blend, store: Candidates, k: int, held_out: float = 0.0) -> Blend:
    """Scale weights and set the bias so that sigmoid(logit) is the like rate of what final lists show (Platt 1999).

    Fitted on each user's top k of the store, hits against misses; the slope is positive, so no ranking changes. Two things make
    validation look worse than the lists it stands for. Items met in the validation part and not liked, which final lists hide:
    these pairs are left out. And likes that are held out for the test, which stand among the misses: of those nothing is known
    but their number, `held_out` for each validation like. Where a pair is a validation like with probability q, it is a test like
    with held_out q, as one is like the other. Final lists hide validation likes, and of what these leave over, 1 - q, the share
    held_out q / (1 - q) is liked; the second fit is of that.
    """
    logit = store.logit(replace(blend, bias=0.0))
    k = min(k, logit.shape[1])
    top = np.argpartition(-logit, k - 1, axis=1)[:, :k]
    shown = np.take_along_axis(logit, top, axis=1)
    judged = np.isfinite(shown) & ~np.take_along_axis(store.met_later, top, axis=1)
    hit = np.take_along_axis(store.relevant, top, axis=1)[judged]
    if not len(hit):  # nobody's list has anything that was judged
        return blend
    x = shown[judged].astype(np.float64)[:, None]
    slopes, bias = _logistic(x, hit)
    if held_out:
        q = sigmoid(x @ slopes + bias)
        slopes, bias = _logistic(x, np.minimum(held_out * q / (1 - q), 1.0), 1 - q)
    slope = max(float(slopes[0]), 1e-3)  # above 0, or the ranking would be lost
    return replace(blend, weights=tuple(slope * w for w in blend.weights), bias=bias)


def _logistic(
    x: NDArray[np.float64],
    hit: NDArray[np.bool_] | NDArray[np.float64],
    weight: NDArray[np.float64] | float = 1.0,
    given: NDArray[np.float64] | float = 0.0,
) -> tuple[NDArray[np.float64], float]:
    """Slopes (n_features,) >= 0 and bias of a logistic fit with Platt's smoothed targets; features of any scale.

    `hit`: 0 or 1, or a rate between; `given`: a part of each logit (n,) that is not fitted.
    """
    weight = np.broadcast_to(weight, len(hit)) / len(hit)
    n_hit = float(hit.sum())
    low, high = 1 / (len(hit) - n_hit + 2), (n_hit + 1) / (n_hit + 2)
    target = low + (high - low) * hit
    mean, spread = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-9)
    columns = np.column_stack([(x - mean) / spread, np.ones(len(x))])

    def loss(theta: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        logit = given + columns @ theta
        p = sigmoid(logit)
        return float(weight @ (np.logaddexp(0, logit) - target * logit)), columns.T @ (weight * (p - target))

    start = np.zeros(columns.shape[1])
    start[-1] = np.log((n_hit + 1) / (len(hit) - n_hit + 1))
    bounds = [(0, None)] * x.shape[1] + [(None, None)]
    found = minimize(
        loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-14, "gtol": 1e-9, "maxiter": 500}
    ).x
    slopes = found[:-1] / spread
    return slopes, float(found[-1] - slopes @ mean)


def ndcg_of(logit: Scores, store: Candidates, k: int) -> NDArray[np.float64]:
    """NDCG@k of each user with a relevant item; the store holds no hidden item."""
    k = min(k, logit.shape[1])
    top = np.argpartition(-logit, k - 1, axis=1)[:, :k]
    order = np.argsort(-np.take_along_axis(logit, top, axis=1), axis=1, kind="stable")
    hits = np.take_along_axis(store.relevant, np.take_along_axis(top, order, axis=1), axis=1)
    judged = store.n_relevant > 0
    return np.asarray(ndcg(hits[judged], store.n_relevant[judged]))
