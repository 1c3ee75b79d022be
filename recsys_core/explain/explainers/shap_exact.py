"""The shap package's exact Shapley values: all coalitions, in Gray-code order."""

from __future__ import annotations

import numpy as np

from recsys_core.explain.explainers import _shap
from recsys_core.explain.explainers.exact import MOST
from recsys_core.explain.game import Credit, Game, Meter


def unable(game: Game) -> str:
    return f"{len(game.players)} players are too many to enumerate ({MOST} at most)" if len(game.players) > MOST else ""


def explain(meter: Meter, rng: np.random.Generator) -> Credit:
    import shap

    explainer = shap.explainers.Exact(meter, _shap.absent_zero(meter.n))
    return Credit(*_shap.run(explainer, meter.n, max_evals=2**meter.n))
