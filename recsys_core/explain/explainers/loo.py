"""Leave one out: what the value loses when one player goes. Not efficient: the gap says what the players do only together."""

from __future__ import annotations

import numpy as np

from recsys_core.explain.game import Credit, Meter


def explain(meter: Meter, rng: np.random.Generator) -> Credit:
    """phi_j = v(all) - v(all without j); p + 2 evaluations, whatever the budget."""
    everyone = np.ones((1, meter.n), bool)
    masks = np.concatenate([everyone, ~np.eye(meter.n, dtype=bool)])
    values = meter(masks)
    return Credit(values[0] - values[1:], meter.empty())
