"""Which past items bring the score? Players are the items of the history; absent ones are taken out, its size and ages stay."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recsys_core.explain.game import Floats, Game, unique_labels
from recsys_core.explain.subject import Subject


def ask(subject: Subject) -> Game:
    """Exact where every component with a weight is linear in the history; else the others are scored for each coalition."""
    past = subject.history.items
    additive = not _curved(subject)
    each, _ = subject.shares.history(subject.blend)
    return Game(
        question="history",
        players=unique_labels([str(i) for i in subject.items.ids[past]]),
        labels=unique_labels([str(t) for t in subject.catalog.titles[past]]),
        value=lambda masks: value(subject, masks),
        additive=each[:, 0] if additive else None,
        fame=None if subject.fame is None else subject.fame[past],
    )


def value(subject: Subject, masks: NDArray[np.bool_]) -> Floats:
    """(m, n_past) masks -> (m,) logits of the item; the seen-filter plays no part in it."""
    each, rest = subject.shares.history(subject.blend)
    out = rest[0] + masks @ each[:, 0]
    curved, item = _curved(subject), np.array([subject.item])
    if curved:
        rows = subject.masked(masks)
        for c in curved:
            scorer = list(subject.model.components.values())[c]
            raw = scorer.pinned(item).score(rows, item)[:, 0].astype(np.float64)  # scored under any mask, short-list or not
            z = (raw - subject.blend.mu[c]) * subject.scale[c]
            out += subject.weights[c] * (np.nan_to_num(z) - subject.shares.z[0, c])  # its whole z is in `rest`
    return np.asarray(out, np.float64)


def _curved(subject: Subject) -> list[int]:
    return [c for c, _, scorer in subject.active if not scorer.linear]
