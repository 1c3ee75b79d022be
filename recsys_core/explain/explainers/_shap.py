"""The shap package on a Game: its inputs are masks, so what "absent" means stays with the game."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from recsys_core.explain.game import Credit, Floats, Meter, OutOfTime


@contextmanager
def _quiet() -> Iterator[None]:
    """shap draws from NumPy's global generator and logs to its own logger; both are put back."""
    state, logger = np.random.get_state(), logging.getLogger("shap")  # noqa: NPY002
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
        np.random.set_state(state)  # noqa: NPY002


def absent_zero(n: int) -> Any:
    """shap's masker over rows of zeros and ones with one background row of zeros: a masked input is the mask."""
    import shap

    return shap.maskers.Independent(np.zeros((1, n)))


def run(explainer: Any, n: int, seed: int = 0, **how: Any) -> tuple[Floats, float]:
    """Explain the row of ones: (p,) values and the base value."""
    with _quiet():
        np.random.seed(seed)  # noqa: NPY002 (shap draws from it)
        found = explainer(np.ones((1, n)), silent=True, **how)
    return np.asarray(found.values[0], np.float64), float(np.ravel(found.base_values)[0])


def permutations(meter: Meter, rng: np.random.Generator) -> Credit:
    """Antithetic permutations (shap's Permutation explainer), pair by pair until a budget ends.

    A pair costs 2 p + 1 evaluations; at least one is made. Standard errors are between pairs, None if there was one.
    """
    import shap

    rounds: list[Floats] = []
    cost, base = 2 * meter.n + 1, meter.empty()
    while not rounds or ((len(rounds) + 1) * cost <= meter.budget.evaluations and not meter.late):
        with _quiet():
            explainer = shap.explainers.Permutation(meter, absent_zero(meter.n))
        try:
            values, base = run(explainer, meter.n, int(rng.integers(2**31)), max_evals=cost)
        except OutOfTime:
            if not rounds:
                raise
            break
        rounds.append(values)
    each = np.array(rounds)
    error = each.std(axis=0, ddof=1) / np.sqrt(len(each)) if len(each) > 1 else None
    return Credit(each.mean(axis=0), base, error)
