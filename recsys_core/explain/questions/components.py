"""Which component of the blend brings the score? Players are the components; value = base + the parts of those present."""

from __future__ import annotations

import numpy as np

from recsys_core.explain.game import Game
from recsys_core.explain.subject import Subject


def ask(subject: Subject) -> Game:
    """Components that cannot score the item (NaN) do not play: they count as z = 0, the population mean."""
    there = np.flatnonzero(~subject.shares.missing[0])
    names = tuple(subject.model.names[c] for c in there)
    parts = subject.parts[there]
    return Game("components", names, names, lambda masks: subject.base + masks @ parts, additive=parts)
