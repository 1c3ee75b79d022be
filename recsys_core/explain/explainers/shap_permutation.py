"""Sampled Shapley values: the shap package's antithetic permutations (Strumbelj & Kononenko 2014; Mitchell et al. 2022)."""

from __future__ import annotations

import numpy as np

from recsys_core.explain.explainers import _shap
from recsys_core.explain.game import Credit, Meter


def explain(meter: Meter, rng: np.random.Generator) -> Credit:
    return _shap.permutations(meter, rng)
