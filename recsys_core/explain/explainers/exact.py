"""Shapley values without sampling: the closed form of an additive game, else enumeration of all coalitions (Shapley 1953)."""

from __future__ import annotations

from math import factorial

import numpy as np

from recsys_core.explain.game import Credit, Floats, Game, Masks, Meter

MOST = 12  # players: 4,096 coalitions


def unable(game: Game) -> str:
    many = game.additive is None and len(game.players) > MOST
    return f"{len(game.players)} players and no closed form (enumeration takes {MOST} at most); use shap" if many else ""


def explain(meter: Meter, rng: np.random.Generator) -> Credit:
    """phi_j = sum over S without j of |S|! (p - |S| - 1)! / p! (v(S + j) - v(S)). Neither seed nor budget matters."""
    if meter.game.additive is not None:
        base = float(meter.game.value(np.zeros((1, meter.n), bool))[0])
        return Credit(np.array(meter.game.additive, np.float64), base, fidelity=1.0)
    values = meter(coalitions(meter.n))
    return Credit(shapley(values, meter.n), float(values[0]))


def coalitions(p: int) -> Masks:
    """(2^p, p) all of them; player j is in coalition n if bit j of n is set."""
    return np.asarray((np.arange(2**p)[:, None] >> np.arange(p)) & 1 == 1, bool)


def shapley(values: Floats, p: int) -> Floats:
    """Values of all coalitions (2^p, ...) -> (p, ...), for each of the trailing outputs."""
    masks = coalitions(p)
    sizes = masks.sum(axis=1)
    weight = np.array([factorial(s) * factorial(p - s - 1) / factorial(p) for s in range(p)])
    phi = np.zeros((p, *values.shape[1:]))
    for j in range(p):
        without = np.flatnonzero(~masks[:, j])
        phi[j] = np.tensordot(weight[sizes[without]], values[without | (1 << j)] - values[without], axes=1)
    return phi
