"""SHAP as fits the game (Lundberg & Lee 2017): Partition for words, Permutation for players without an order."""

from __future__ import annotations

import numpy as np

from recsys_core.explain.explainers import shap_partition, shap_permutation
from recsys_core.explain.game import Credit, Meter


def explain(meter: Meter, rng: np.random.Generator) -> Credit:
    return shap_partition.explain(meter, rng) if meter.game.sequence else shap_permutation.explain(meter, rng)
