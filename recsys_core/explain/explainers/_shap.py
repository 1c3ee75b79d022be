"""The shap package on a Game: its inputs are masks, so what "absent" means stays with the game."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
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

    A pair costs 2 p + 1 evaluations; where the budget is less, groups of neighbours are played instead. Standard errors are
    between pairs, None if there was one.
    """
    import shap

    cost = 2 * meter.n + 1
    if cost > meter.budget.evaluations:
        credit = owen(meter, rng, neighbours(meter.n))
        short = f"{meter.n} players need {cost} evaluations, the budget is {meter.budget.evaluations}"
        instead = "groups of neighbours were played, and opened where they matter most"
        return replace(credit, notes=(f"{short}: {instead}", *credit.notes))
    rounds: list[Floats] = []
    base = meter.empty()
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


def owen(meter: Meter, rng: np.random.Generator, tree: Any) -> Credit:
    """Owen values (shap's Partition explainer) over a tree of players, (p - 1, 4) as scipy's linkages are.

    Groups are opened where they matter most, until the budget ends; a group that stays closed shares its credit equally. Base +
    contributions = output at any budget.
    """
    import shap

    evaluations = meter.affordable(rng)
    masker = shap.maskers.Partition(np.zeros((1, meter.n)), clustering=tree)
    explainer = shap.explainers.Partition(meter, masker)
    values, base = run(explainer, meter.n, max_evals=max(evaluations, 4), batch_size=meter.budget.batch)
    cut = evaluations < meter.budget.evaluations
    return Credit(values, base, notes=(f"the time budget left {evaluations} evaluations",) if cut else ())


def neighbours(p: int) -> Floats:
    """The balanced binary tree over players in their order, (p - 1, 4): two branches, their distance (here: players), players."""
    rows: list[tuple[int, int, int, int]] = []

    def joined(first: int, end: int) -> int:
        if end - first == 1:
            return first
        middle = (first + end) // 2
        rows.append((joined(first, middle), joined(middle, end), end - first, end - first))
        return p + len(rows) - 1

    joined(0, p)
    return np.array(rows, np.float64)
