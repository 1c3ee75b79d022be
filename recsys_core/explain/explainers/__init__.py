"""Explainers: one file each, found by name. Each has `explain(meter, rng) -> Credit` and, where it cannot meet every game,
`unable(game) -> str` with the reason, "" if it can."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from recsys_core import registry
from recsys_core.errors import UserError
from recsys_core.explain.game import Budget, Credit, Explanation, Floats, Game, Masks, Meter
from recsys_core.limits import check_seed

FLOORS = ("random", "popularity")  # they do not look at the model; the others are held against them


def names() -> list[str]:
    """Every explainer that `method` can name."""
    return registry.names(__name__)


def unable(method: str, game: Game) -> str:
    """Why this explainer cannot meet this game; "" if it can. Raises UserError for an unknown method."""
    module = registry.get(__name__, method, "explainer")
    return str(module.unable(game)) if hasattr(module, "unable") else ""


def best(game: Game, budget: Budget | None = None) -> str:
    """Exact where it is closed form, or where the budget pays for all coalitions; else sampled Shapley values."""
    closed, most = game.additive is not None, (budget or Budget()).evaluations
    return "exact" if closed or (not unable("exact", game) and 2 ** len(game.players) <= most) else "shap"


def attribute(
    game: Game,
    method: str = "",
    budget: Budget | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Explanation:
    """Share the game's value out by a method (default: `best`). The same seed gives the same numbers, unless time is limited.

    Raises:
        UserError: unknown method, or one that cannot meet this game; OutOfTime: the seconds did not suffice.
    """
    budget = budget or Budget()
    method = method or best(game, budget)
    check_seed(seed)
    module = registry.get(__name__, method, "explainer")
    if reason := unable(method, game):
        raise UserError(f"{method} cannot explain {game.question} here: {reason}")
    meter = Meter(game, budget, progress)
    if len(game.players) <= 1:
        credit = _alone(meter)
    else:
        credit = module.explain(meter, np.random.default_rng(seed))
    output = meter.full() if game.additive is None else float(game.value(np.ones((1, meter.n), bool))[0])
    fidelity = credit.fidelity if credit.fidelity is not None else r2(credit, *meter.evaluated())
    return Explanation(
        question=game.question,
        method=method,
        players=game.players,
        labels=game.labels,
        contributions=credit.contributions,
        base=credit.base,
        output=output,
        standard_error=credit.standard_error,
        fidelity=fidelity,
        evaluations=meter.evaluations,
        seconds=meter.seconds,
        seed=seed,
        budget=budget.evaluations,
        notes=credit.notes,
    )


def _alone(meter: Meter) -> Credit:
    """No player or one: nothing to share, whatever the method."""
    base = meter.empty()
    return Credit(np.full(meter.n, meter.full() - base), base, np.zeros(meter.n), 1.0)


def r2(credit: Credit, masks: Masks, values: Floats) -> float:
    """R2 of base + sum over the present on these coalitions; NaN for fewer than three or all of one value."""
    spread = float(((values - values.mean()) ** 2).sum()) if len(values) > 2 else 0.0
    if spread <= 1e-18:
        return float("nan")
    miss = values - credit.base - masks @ credit.contributions
    return 1 - float((miss**2).sum()) / spread


def named(explanation: Explanation, **about: Any) -> Explanation:
    """The same explanation with user, item, title or sentence filled in."""
    return replace(explanation, **about)
