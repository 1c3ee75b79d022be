"""Which past items to take away so that rivals overtake an item, where the model is additive in its history.

In: one share for each past item in each logit. Out: small sets, and a bound that no set can go below. For one rival the shortest
prefix of the past items, sorted by what they add to the lead over it, is the smallest set (an exchange argument, as in PRINCE,
Ghazimatin et al. 2020); over all rivals the least of these is the smallest set that costs the first place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys_core.explain._ranks import Floats, Ints, trimmed, turns
from recsys_core.explain.subject import Subject, shares
from recsys_core.scorers.base import Scores

MOST_CELLS = 4_000_000  # of shares held at once: 32 MB
MOST_RIVALS = 512  # that are looked at closely
MOST_NODES, MOST_SECONDS = 100, 5.0  # of one search by branch and bound; nearly all end within a few nodes
OPTIMAL, INFEASIBLE = 0, 2  # what scipy's milp says


@dataclass(frozen=True)
class Rivals:
    """The candidates that are nearest to overtaking one item, nearest first, with `slack` for rounding: scores are float32.

    Args:
        items: (r,) internal ids; gaps: (r,) log-odds by which the item is ahead of each, below 0 = behind.
        pull: (n_past, r) what each past item adds to that lead; own: (n_past,) what it adds to the item's logit.
        slack: (r,) log-odds within which a lead may be rounding.
        sizes: (r,) least number of past items without which the rival may be ahead; n_past + 1: there are none such.
        beyond: no candidate that is left out here has a size below this.
    """

    items: Ints
    gaps: Floats
    pull: Floats
    own: Floats
    slack: Floats
    sizes: Ints
    beyond: int

    def bound(self, k: int) -> int:
        """No set smaller than this can put k rivals ahead: each of them needs its own size, and the k least are taken."""
        least = np.sort(self.sizes)
        return min(int(least[k - 1]) if k <= len(least) else self.beyond, self.beyond)

    def ahead(self, removed: NDArray[np.bool_], slack: float = 1.0) -> Ints:
        """(m, n_past) -> (m,) how many rivals are ahead for sure (slack 1), or may be (slack -1), without these past items."""
        return np.asarray((self.gaps - removed @ self.pull < -slack * self.slack).sum(axis=1), np.int64)


def rivals(subject: Subject, listed: Scores, k: int) -> Rivals:
    """Everybody who may overtake, from the item's scores (n_items,) over the whole history, -inf where no candidate."""
    model, n_past = trimmed(subject.model), len(subject.history.items)
    candidates = np.setdiff1d(np.flatnonzero(np.isfinite(listed)), [subject.item])
    mine, rest = shares(model, subject.history, np.array([subject.item])).history(model.blend)
    first, level = turns(len(listed)), listed[candidates] == listed[subject.item]
    below = np.where(level, first[candidates] > first[subject.item], listed[candidates] < listed[subject.item])
    own, total = mine[:, 0], float(rest[0] + mine.sum())
    off = abs(total - float(listed[subject.item]))
    size = max(MOST_CELLS // (max(n_past, 1) * max(len(model.names), 1)), 1)
    kept: list[tuple[NDArray[np.generic], ...]] = []
    beyond = n_past + 1
    for start in range(0, len(candidates), size):
        items = candidates[start : start + size]
        each, rest = shares(model, subject.history, items).history(model.blend)
        theirs = rest + each.sum(axis=0)
        slack = np.full(len(items), 1e-6 + 4 * (off + np.abs(theirs - listed[items]).max()))
        pull = own[:, None] - each
        stuck = below[start : start + size] & (np.abs(pull).max(axis=0, initial=0) < 1e-12)  # even where it is level
        gaps = np.where(stuck, np.inf, total - theirs)
        least = _least(pull, gaps - slack)
        chosen = np.argsort(least, kind="stable")[: max(MOST_RIVALS, 4 * k)]
        beyond = min(beyond, int(np.delete(least, chosen).min(initial=n_past + 1)))
        chosen = chosen[least[chosen] <= n_past]
        kept.append((items[chosen], gaps[chosen], pull[:, chosen], slack[chosen]))
    items, gaps, pull, slack = (np.concatenate(c, axis=-1) for c in zip(*kept, strict=True)) if kept else _nobody(n_past)
    sizes = _sizes(pull, gaps - slack)
    order = np.lexsort((gaps, sizes))
    return Rivals(items[order], gaps[order], pull[:, order], own, slack[order], sizes[order], beyond)


def _nobody(n_past: int) -> tuple[Ints, Floats, Floats, Floats]:
    return np.zeros(0, np.int64), np.zeros(0), np.zeros((n_past, 0)), np.zeros(0)


def _least(pull: Floats, needed: Floats) -> Ints:
    """A quick bound below `_sizes`: the largest pull, as often as it takes; n_past + 1 where all of them do not suffice."""
    most = np.maximum(pull.max(axis=0, initial=0), 1e-12)
    steps = np.ceil(np.clip(needed / most * (1 - 1e-9), 0, len(pull) + 1))
    return np.where(np.maximum(pull, 0).sum(axis=0) < needed, len(pull) + 1, steps).astype(np.int64)


def _sizes(pull: Floats, needed: Floats) -> Ints:
    """(r,) the shortest prefix, largest pull first, that sums to what is needed; n_past + 1 where none does."""
    steps = np.cumsum(np.maximum(-np.sort(-pull.T, axis=1), 0), axis=1)  # (r, n_past)
    return np.where(needed <= 0, 0, 1 + (steps < needed[:, None]).sum(axis=1)).astype(np.int64)


def likely(field: Rivals, k: int) -> list[tuple[int, ...]]:
    """Sets of past items without which k rivals are ahead, smallest first; found by orders and greedily, then thinned out."""
    found = {s for order in _orders(field, k) if (s := _prefix(field, order, k)) is not None}
    best = min((len(s) for s in found), default=len(field.own) + 1)
    if k > 1 and best > field.bound(k) and (greedy := _greedy(field, k, best)) is not None:
        found.add(greedy)
    best = min((len(s) for s in found), default=0)
    found |= {_thinned(field, s, k) for s in found if len(s) <= best + 3}
    return sorted(found, key=lambda s: (len(s), _kth_gap(field, s, k)))


def _orders(field: Rivals, k: int) -> list[Ints]:
    """Past items by what they add to the lead over each near rival, over the k nearest together, and to the item itself."""
    near = field.pull[:, : max(k + 24, 32)].T
    return list(np.argsort(-np.concatenate([near, field.pull[:, :k].mean(axis=1)[None], field.own[None]]), axis=1, kind="stable"))


def _prefix(field: Rivals, order: Ints, k: int) -> tuple[int, ...] | None:
    """The shortest prefix of the order without which k rivals are ahead for sure."""
    gaps = field.gaps - np.cumsum(field.pull[order], axis=0)  # (n_past, r)
    enough = (gaps < -field.slack).sum(axis=1) >= k
    return tuple(sorted(order[: int(enough.argmax()) + 1].tolist())) if enough.any() else None


def _greedy(field: Rivals, k: int, best: int) -> tuple[int, ...] | None:
    """Take away, one after the other, what brings the k nearest rivals together nearest to overtaking; only if below `best`."""
    gaps, left = field.gaps + 2 * field.slack, np.ones(len(field.own), bool)
    for _ in range(best - 1):
        short = np.maximum(gaps - field.pull, 0)  # (n_past, r) what each rival would still lack
        cost = np.partition(short, k - 1, axis=1)[:, :k].sum(axis=1)
        chosen = int(np.argmin(np.where(left, cost, np.inf)))
        left[chosen], gaps = False, gaps - field.pull[chosen]
        if cost[chosen] == 0:
            return tuple(np.flatnonzero(~left).tolist())
    return None


def _thinned(field: Rivals, found: tuple[int, ...], k: int) -> tuple[int, ...]:
    """The set without those that it can do without, one after the other."""
    while len(found) > 1:
        smaller = [found[:n] + found[n + 1 :] for n in range(len(found))]
        enough = field.ahead(as_masks(smaller, len(field.own))) >= k
        if not enough.any():
            break
        found = min((s for s, e in zip(smaller, enough, strict=True) if e), key=lambda s: _kth_gap(field, s, k))
    return found


def _kth_gap(field: Rivals, found: tuple[int, ...], k: int) -> float:
    return float(np.partition(field.gaps - field.pull[list(found)].sum(axis=0), k - 1)[k - 1])


def as_masks(sets: list[tuple[int, ...]], n: int) -> NDArray[np.bool_]:
    """(m, n) true where the set has the position."""
    out = np.zeros((len(sets), n), bool)
    for row, found in zip(out, sets, strict=True):
        row[list(found)] = True
    return out


def fewer(field: Rivals, size: int, k: int) -> tuple[tuple[int, ...] | None, bool]:
    """The smallest set of at most `size` past items without which k rivals may be ahead, and whether that is settled.

    An integer program: x_j, past item j goes; y_r, rival r is ahead, so sum_j pull_jr x_j >= its gap; at least k of y; fewest x.
    (None, True): there is no such set, by branch and bound over all of them. Not settled: the search was cut off, or candidates
    that were left out could matter.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp  # as long to import as numpy, and no first page needs it

    near = field.sizes <= size  # a rival that needs more is not ahead, whatever the set
    pull, needed = field.pull[:, near], (field.gaps - field.slack)[near]
    n, r = pull.shape
    if field.beyond <= size:
        return None, False
    if r < k or size < 1:
        return None, True
    least = np.sort(np.minimum(pull, 0), axis=0)[:size].sum(axis=0)  # the lowest that sum_j pull x_j can be
    rows = [
        [pull.T, -np.diag(np.maximum(needed - least, 0))],
        [np.zeros((1, n)), np.ones((1, r))],
        [np.ones((1, n)), np.zeros((1, r))],
    ]
    low = np.r_[np.where(needed > least, least, -np.inf), k, 0]
    found = milp(
        np.r_[np.ones(n), np.zeros(r)],
        constraints=LinearConstraint(np.block(rows), low, np.r_[np.full(r + 1, np.inf), size]),
        integrality=np.ones(n + r),
        bounds=Bounds(0, 1),
        options={"node_limit": MOST_NODES, "time_limit": MOST_SECONDS},
    )
    if found.x is None:
        return None, found.status == INFEASIBLE
    return tuple(np.flatnonzero(found.x[:n] > 0.5).tolist()), found.status == OPTIMAL
