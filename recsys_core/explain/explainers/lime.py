"""LIME: a ridge regression on random coalitions near the whole (Ribeiro et al. 2016), by the lime package."""

from __future__ import annotations

from typing import Any

import numpy as np

from recsys_core.explain.game import Credit, Meter


def explain(meter: Meter, rng: np.random.Generator) -> Credit:
    """Words by LimeTextExplainer, other players by LimeTabularExplainer; all coalitions are asked for in one batch.

    Not efficient: the gap is the output less the surrogate's prediction. Fidelity is the surrogate's own weighted R2.
    """
    n = meter.affordable(rng)
    contributions, base, fidelity = (_words if meter.game.sequence else _table)(meter, n, int(rng.integers(2**31)))
    notes = [f"the time budget left {n} samples"] if n < meter.budget.evaluations else []
    notes += [f"{n} samples do not tell {meter.n} players apart, and the R2 says little"] if n <= meter.n else []
    return Credit(contributions, base, fidelity=fidelity, notes=tuple(notes))


def _words(meter: Meter, n: int, seed: int) -> tuple[Any, float, float]:
    """Every player is a word of its own (its number), so a word that occurs twice is two players."""
    from lime.lime_text import LimeTextExplainer

    text = " ".join(f"w{j}" for j in range(meter.n))

    def values(texts: list[str]) -> Any:
        masks = np.array([[w != "w_" for w in t.split(" ")] for t in texts])
        return np.stack([-(v := meter(masks)), v], axis=1)

    explainer = LimeTextExplainer(bow=False, mask_string="w_", split_expression=r" ", random_state=seed)
    found = explainer.explain_instance(text, values, labels=(1,), num_features=meter.n, num_samples=n)
    return _unpack(found, meter.n)


def _table(meter: Meter, n: int, seed: int) -> tuple[Any, float, float]:
    from lime.lime_tabular import LimeTabularExplainer

    rows = np.repeat([[0.0], [1.0]], meter.n, axis=1)  # a player is there or not, evenly
    explainer = LimeTabularExplainer(
        rows, mode="regression", categorical_features=list(range(meter.n)), discretize_continuous=False, random_state=seed
    )
    found = explainer.explain_instance(np.ones(meter.n), meter, num_features=meter.n, num_samples=n)
    return _unpack(found, meter.n)


def _unpack(found: Any, n: int) -> tuple[Any, float, float]:
    contributions = np.zeros(n)
    for player, weight in found.local_exp[1]:
        contributions[player] = weight
    score = found.score[1] if isinstance(found.score, dict) else found.score
    return contributions, float(found.intercept[1]), float(score)
