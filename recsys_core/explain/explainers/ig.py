"""Integrated gradients: the slopes along the straight way from nobody to everybody (Sundararajan et al. 2017, eq. 1)."""

from __future__ import annotations

import numpy as np

from recsys_core.explain.game import Credit, Game, Meter

STEPS = 20
CHECKS = 20  # coalitions at most that tell how well the slopes add up


def unable(game: Game) -> str:
    return "" if game.slopes is not None else "it needs gradients, which only the BERT text path gives"


def explain(meter: Meter, rng: np.random.Generator) -> Credit:
    """phi_j = integral of dv/dm_j over m = alpha * 1, by Gauss-Legendre points; a step counts as three evaluations.

    The gap is what the integral misses. What the budget leaves goes into random coalitions, for the R2.
    """
    assert meter.game.slopes is not None
    steps = int(np.clip((meter.budget.evaluations - 2) // 3, 1, STEPS))
    points, weights = np.polynomial.legendre.leggauss(steps)
    levels = np.repeat((points[:, None] + 1) / 2, meter.n, axis=1)  # (steps, p)
    meter.spent += 3 * steps
    phi = (weights / 2) @ meter.game.slopes(levels)
    left = int(np.clip(meter.budget.evaluations - 2 - 3 * steps, 0, CHECKS))
    meter(rng.random((left, meter.n)) < 0.5)
    return Credit(phi, meter.empty(), notes=(f"{steps} gradient steps",))
