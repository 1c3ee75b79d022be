"""What to add to a history so that an item reaches the top k: likes that bring it up, each as the newest event.

In: a Subject and k. Out: additions and the ranks they lead to, scored for real. What is added has been met: it leaves the list.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from recsys_core.data import Histories
from recsys_core.explain import _ranks
from recsys_core.explain._ranks import Floats, Ints, additive, leads_in, ranks_in, trimmed
from recsys_core.explain.subject import Subject, shares
from recsys_core.ranking import top_k
from recsys_core.scorers.base import Scores

MOST_TRIED = 64  # additions that are scored for real in one step; the others are estimated to lead to no better rank
FEW = 8  # of them for their lead, whatever their rank
NEAR = 100  # best items of a list, k at least, against which additions are estimated
SURE = 1e-4  # log-odds; less than this may be rounding
MOST_CELLS = 4_000_000  # of shares held at once: 32 MB


@dataclass(frozen=True)
class Step:
    """Additions of one more item that were scored, best first.

    Args:
        items: (m,) internal ids; ranks: (m,) of the asked item; logits: (m,) its scores; leads: (m,) as in `leads_in`.
        settled: whether it is proven that an item that is not in `items` cannot bring it into the top k.
    """

    items: Ints
    ranks: Ints
    logits: Floats
    leads: Floats
    settled: bool


def extended(history: Histories, sets: NDArray[np.int64], *, met: bool = True) -> Histories:
    """(m, t) items added to one history row, the last one newest, as real likes would be: m rows, older ages and larger sizes.

    `met` False: rows made old and large in that way, without what is added. Without times all ages are 0, and stay so.
    """
    m, t = sets.shape
    n = len(history.items)
    timed = n < 2 or bool(history.ages.any())
    old = [np.tile(a, (m, 1)) for a in (history.items, history.values, history.ages + np.float32(t * timed))]
    ages = np.arange(t - 1, -1, -1, dtype=np.float32) * timed
    new = [sets.astype(np.int32), np.ones((m, t), np.float32), np.tile(ages, (m, 1))]
    joined = [np.concatenate([a, b], axis=1) if met else a for a, b in zip(old, new, strict=True)]
    indptr = np.arange(m + 1, dtype=np.int64) * (n + t * met)
    items, values, when = (a.ravel() for a in joined)
    sizes = np.repeat(history.full_sizes + np.float32(t), m)
    return Histories(indptr, items.astype(np.int32), values.astype(np.float32), when.astype(np.float32), history.n_items, sizes)


def scored(subject: Subject, sets: NDArray[np.int64], *, met: bool = True) -> Scores:
    """Logits (m, n_items) after (m, t) additions, -inf where an item is no candidate: added ones are none."""
    out = _ranks.scored(subject.model, extended(subject.history, sets, met=met), subject.hidden)
    if met:
        np.put_along_axis(out, sets, -np.inf, axis=1)
    return out


def step(subject: Subject, added: tuple[int, ...], k: int) -> Step:
    """One more item after those `added`: all are estimated, the most promising ones scored for real."""
    before = replace(subject, history=extended(subject.history, np.array([added], np.int64).reshape(1, -1)))
    pool = np.setdiff1d(np.arange(len(subject.items)), [*before.history.items, subject.item])
    ranks, leads = _estimated(before, pool, added, k)
    best, nearest = np.lexsort((-leads, ranks)), np.argsort(-leads, kind="stable")  # the lead is what the next step builds on
    order = np.array(list(dict.fromkeys([*best[: MOST_TRIED - FEW], *nearest[:FEW], *best]))[:MOST_TRIED], np.int64)
    hopeful = int((ranks <= k).sum())
    sets = np.array([(*added, j) for j in pool[order]], np.int64).reshape(len(order), -1)
    listed = scored(subject, sets)
    found, ahead = ranks_in(listed, subject.item), leads_in(listed, subject.item, k)
    best = np.lexsort((-ahead, np.where(found == 0, len(subject.items) + 1, found)))
    settled = len(pool) <= MOST_TRIED or (additive(subject.model) and hopeful <= MOST_TRIED - FEW)
    logits = listed[:, subject.item].astype(np.float64)
    return Step(pool[order][best], found[best], logits[best], ahead[best], settled)


def _estimated(before: Subject, pool: Ints, added: tuple[int, ...], k: int) -> tuple[Ints, Floats]:
    """Of each item in the pool: the rank and lead that adding it leads to, among the items that are near the top without it.

    Closed forms, exact for components that are linear; of others, what they gave before. No rank is below the estimate of an
    additive model: only some rivals are looked at.
    """
    item = before.item
    aged = scored(before, np.zeros((1, 1), np.int64), met=False)
    aged[0, list(added)] = -np.inf
    near = top_k(aged, min(max(NEAR, 2 * k), aged.shape[1]))[0]
    near = near[(near >= 0) & (near != item)]
    model, asked = trimmed(before.model, linear=True), np.r_[item, near]
    base, size = aged[0, asked].astype(np.float64), before.history.full_sizes + np.float32(1)
    block = max(MOST_CELLS // (len(asked) * max(len(model.names), 1)), 1)
    ranks, leads = np.ones(len(pool), np.int64), np.zeros(len(pool))
    for at in range(0, len(pool) if model.names else 0, block):
        part = pool[at : at + block]
        ones, n = np.ones(len(part), np.float32), len(part)
        row = Histories(np.array([0, n]), part.astype(np.int32), ones, 0 * ones, before.history.n_items, size)
        each, _ = shares(model, row, asked).history(model.blend)
        logits = base + each  # (n, 1 + near): as if each were the one that is added
        others = np.where(part[:, None] == near, -np.inf, logits[:, 1:])
        ranks[at : at + block] = 1 + (others > logits[:, :1] + SURE).sum(axis=1)
        bar = np.sort(others, axis=1)[:, -k] if others.shape[1] >= k else -np.inf
        leads[at : at + block] = logits[:, 0] - bar
    return ranks, leads
