"""Owen values of words: the shap package's Partition explainer with the clustering of its text masker (Owen 1977)."""

from __future__ import annotations

from typing import Any

import numpy as np

from recsys_core.explain.explainers import _shap
from recsys_core.explain.game import Credit, Game, Meter


def unable(game: Game) -> str:
    return "" if game.sequence else "its players are not a text; use shap_permutation"


def explain(meter: Meter, rng: np.random.Generator) -> Credit:
    """Groups of neighbouring words are opened where they matter most, until the budget ends; a group that stays closed shares
    its credit equally. Base + contributions = output at any budget."""
    import shap

    evaluations = meter.affordable(rng)
    masker = shap.maskers.Partition(np.zeros((1, meter.n)), clustering=_clusters(meter.game))
    explainer = shap.explainers.Partition(meter, masker)
    values, base = _shap.run(explainer, meter.n, max_evals=max(evaluations, 4), batch_size=meter.budget.batch)
    cut = evaluations < meter.budget.evaluations
    return Credit(values, base, notes=(f"the time budget left {evaluations} evaluations",) if cut else ())


def _clusters(game: Game) -> Any:
    """shap's tree of neighbouring words, (p - 1, 4); the tokens of its text masker are the players."""
    import shap

    text = "".join(game.sequence)
    ends = np.cumsum([len(piece) for piece in game.sequence]).tolist()

    def tokens(given: str, **_: Any) -> dict[str, Any]:
        spans = list(zip([0, *ends[:-1]], ends, strict=True)) if given == text else [(0, len(given))] if given else []
        return {"input_ids": list(range(len(spans))), "offset_mapping": spans}

    return shap.maskers.Text(tokens, mask_token="...").clustering(text)
