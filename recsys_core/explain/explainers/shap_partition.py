"""Owen values of words: the shap package's Partition explainer with the clustering of its text masker (Owen 1977)."""

from __future__ import annotations

from typing import Any

import numpy as np

from recsys_core.explain.explainers import _shap
from recsys_core.explain.game import Credit, Game, Meter


def unable(game: Game) -> str:
    return "" if game.sequence else "its players are not a text; use shap_permutation"


def explain(meter: Meter, rng: np.random.Generator) -> Credit:
    return _shap.owen(meter, rng, _clusters(meter.game))


def _clusters(game: Game) -> Any:
    """shap's tree of neighbouring words, (p - 1, 4); the tokens of its text masker are the players."""
    import shap

    text = "".join(game.sequence)
    ends = np.cumsum([len(piece) for piece in game.sequence]).tolist()

    def tokens(given: str, **_: Any) -> dict[str, Any]:
        spans = list(zip([0, *ends[:-1]], ends, strict=True)) if given == text else [(0, len(given))] if given else []
        return {"input_ids": list(range(len(spans))), "offset_mapping": spans}

    return shap.maskers.Text(tokens, mask_token="...").clustering(text)
