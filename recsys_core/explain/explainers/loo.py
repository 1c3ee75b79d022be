"""Leave one out: what the value loses when one player goes. Not efficient: the gap says what the players do only together."""

from __future__ import annotations

import numpy as np

from recsys_core.explain.game import Credit, Meter


def explain(meter: Meter, rng: np.random.Generator) -> Credit:
    """phi_j = v(all) - v(all without j): p + 2 evaluations. Where the budget is less, neighbours go in groups, and a group's
    loss is shared equally."""
    groups = min(meter.n, max(meter.budget.evaluations - 2, 1))
    group = np.arange(meter.n) * groups // meter.n  # (p,) which one each player is in
    stays = np.concatenate([np.ones((1, meter.n), bool), group != np.arange(groups)[:, None]])
    values = meter(stays)
    loss = (values[0] - values[1:]) / np.bincount(group)
    short = f"{meter.n} players need {meter.n + 2} evaluations, the budget is {meter.budget.evaluations}"
    spared = f"{short}: groups of neighbours were left out, and a group's loss is shared equally"
    return Credit(loss[group], meter.empty(), notes=(spared,) if groups < meter.n else ())
