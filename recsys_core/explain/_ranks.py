"""Places in a list: of one item among all candidates, for one history or for many masked ones at once.

In: a Subject and masks of its past items. Out: ranks that agree with `recommend`, ties included. What a list hides is frozen, so
a past item that is masked does not become a candidate.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from recsys_core.data import Histories
from recsys_core.errors import UserError
from recsys_core.explain.subject import Subject
from recsys_core.hybrid import Hybrid
from recsys_core.limits import check_k
from recsys_core.ranking import hide, top_k
from recsys_core.scorers.base import Scores

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Masks = NDArray[np.bool_]  # (m, n_past), true = the past item stays
BLOCK = 256  # histories scored at once


@lru_cache(maxsize=8)
def turns(n_items: int) -> Ints:
    """(n_items,) whose turn it is among equals, 0 = first: read off the list that `top_k` makes when all are equal."""
    out = np.empty(n_items, np.int64)
    out[top_k(np.zeros((1, n_items), np.float32), n_items)[0]] = np.arange(n_items)
    out.flags.writeable = False
    return out


def scores(subject: Subject, masks: Masks | None = None) -> Scores:
    """Logits (m, n_items), -inf where an item is no candidate; without masks one row, of the whole history."""
    return scored(subject.model, subject.history if masks is None else subject.masked(masks), subject.hidden)


def scored(model: Hybrid, rows: Histories, hidden: Histories) -> Scores:
    """Logits of any rows under one row of `hidden`, -inf where an item is no candidate."""
    frozen = hidden[np.zeros(len(rows), np.int64)]
    return hide(model.score(rows, hidden=frozen), frozen)


def ranks_in(listed: Scores, item: int) -> Ints:
    """(m,) rank of the item in each row of scores (m, n_items), 1 = best; 0 where it is no candidate (-inf)."""
    own, turn = listed[:, [item]], turns(listed.shape[1])
    above = (listed > own).sum(axis=1) + ((listed == own) & (turn < turn[item])).sum(axis=1)
    return np.where(np.isneginf(own[:, 0]), 0, 1 + above).astype(np.int64)


def rank_of(subject: Subject, masks: Masks | None = None) -> Ints:
    """(m,) rank of the item with what each mask leaves of the history, 1 = best, 0 = no candidate; without masks (1,)."""
    if masks is None:
        return ranks_in(scores(subject), subject.item)
    blocks = [ranks_in(scores(subject, masks[at : at + BLOCK]), subject.item) for at in range(0, len(masks), BLOCK)]
    return np.concatenate([np.zeros(0, np.int64), *blocks])


def leads_in(listed: Scores, item: int, k: int) -> Floats:
    """(m,) log-odds by which the item is ahead of the k-th best other candidate; below 0 if and only if it is not in the top k.

    +inf where there are fewer than k others. A tie that the item loses counts as the smallest number below 0.
    """
    others = listed.copy()
    others[:, item] = -np.inf
    n = others.shape[1]
    bar = np.partition(others, n - k, axis=1)[:, n - k] if k <= n else np.full(len(others), -np.inf, np.float32)
    bar = bar.astype(np.float64)
    lead = np.where(np.isneginf(bar), np.inf, listed[:, item] - np.where(np.isneginf(bar), 0, bar))
    return np.where((lead == 0) & (ranks_in(listed, item) > k), -np.finfo(np.float64).tiny, lead)


class Trial:
    """Scores masked histories for real and keeps count: masks (m, n_past) -> leads (m,) as in `leads_in`, below 0 = it fell."""

    def __init__(self, subject: Subject, k: int) -> None:
        self.subject, self.k, self.evaluations = subject, k, 0
        self._last: tuple[Masks, Scores] | None = None

    def __call__(self, masks: Masks) -> Floats:
        self.evaluations += len(masks)
        leads = [np.zeros(0)]
        for at in range(0, len(masks), BLOCK):
            self._last = masks[at : at + BLOCK], scores(self.subject, masks[at : at + BLOCK])
            leads.append(leads_in(self._last[1], self.subject.item, self.k))
        return np.concatenate(leads)

    def scores(self, mask: Masks) -> Scores:
        """(1, n_items) of one mask (1, n_past), which may have been scored just now."""
        if self._last is not None and (same := (self._last[0] == mask).all(axis=1)).any():
            return self._last[1][[same.argmax()]]
        self.evaluations += 1
        return scores(self.subject, mask)


def place(subject: Subject, listed: Scores, k: int) -> int:
    """The item's rank in its list, (1, n_items) of scores. Raises UserError if k < 1, or if it is hidden or cannot be scored."""
    name = subject.items.ids[subject.item]
    check_k(k)
    if subject.item in subject.hidden.items:
        raise UserError(f"item {name} is hidden from this list: it has been met; choose an item that has not")
    (rank,) = ranks_in(listed, subject.item)
    if not rank:
        raise UserError(f"no component can score item {name}; choose an item that can be scored")
    return int(rank)


def trimmed(model: Hybrid, *, linear: bool = False) -> Hybrid:
    """The same logits from only the components that have a weight (what has none decides at most who is a candidate).

    `linear`: of these, only those that are linear in the history."""
    scorers = list(model.components.values())
    used = np.array([c for c in np.flatnonzero(model.blend.weights) if scorers[c].linear or not linear], np.int64)
    return Hybrid({model.names[c]: scorers[c] for c in used}, model.blend.only(used), model.cold)


def additive(model: Hybrid) -> bool:
    """Whether every component with a weight is linear in the history, so that each past item has a share of every logit."""
    return all(scorer.linear for scorer in trimmed(model).components.values())
