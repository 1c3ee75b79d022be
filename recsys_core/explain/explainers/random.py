"""The floor: random credit. An explainer that is no better than this explains nothing."""

from __future__ import annotations

import numpy as np

from recsys_core.explain.game import Credit, Meter


def explain(meter: Meter, rng: np.random.Generator) -> Credit:
    """A random share of the whole for each player, positive and summing up, in an order that means nothing."""
    base = meter.empty()
    return Credit((meter.full() - base) * rng.dirichlet(np.ones(meter.n)), base)
