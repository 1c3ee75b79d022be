"""Components of the hybrid, one file each; a scorer's name is its file's name."""

from __future__ import annotations

from recsys_core import registry
from recsys_core.scorers.base import Scorer


def names() -> list[str]:
    """Every scorer that can be named in a config."""
    return registry.names(__name__)


def scorer_class(name: str) -> type[Scorer]:
    """The class `Model` of `recsys_core/scorers/<name>.py`."""
    model: type[Scorer] = registry.get(__name__, name, "scorer").Model
    return model
