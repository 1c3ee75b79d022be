"""A floor that looks sensible: credit in proportion to how well known a player is, whatever the model does."""

from __future__ import annotations

import numpy as np

from recsys_core.explain.game import Credit, Game, Meter


def unable(game: Game) -> str:
    return "" if game.fame is not None else "its players have no popularity"


def explain(meter: Meter, rng: np.random.Generator) -> Credit:
    assert meter.game.fame is not None
    base, fame = meter.empty(), np.maximum(meter.game.fame, 0) + 1e-9
    return Credit((meter.full() - base) * fame / fame.sum(), base)
