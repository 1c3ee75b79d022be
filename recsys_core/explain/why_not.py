"""Why is an item not in the list, and what is the least that would bring it in?

In: a Subject and k. Out: a WhyNot: whether it may be listed at all, what holds it down by component, the nearest change of one
weight, and the additions or the one removal that lift it. Logits are linear in a weight, so ranks change at crossings only.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from recsys_core.errors import UserError
from recsys_core.explain import counterfactual
from recsys_core.explain._ranks import Floats, Ints, Trial, place, ranks_in, scored, scores, turns
from recsys_core.explain._removal import as_masks
from recsys_core.explain.counterfactual import Counterfactual, Outcome, plain, result, strings
from recsys_core.explain.subject import Subject
from recsys_core.limits import check_k
from recsys_core.ranking import top_k
from recsys_core.scorers.base import Scores

BASE = "base"  # what a logit is where all parts are zero; cold items have one of their own
ROOM = 2e-5  # log-odds past a crossing, so that the rounding of float32 scores does not undo it
TINY = float(np.finfo(np.float64).tiny)
MOST_CHECKED = 5  # crossings of a weight, each way, that are scored until one holds


@dataclass(frozen=True)
class WeightChange:
    """One weight moved, and the rank that the item then has.

    Args:
        before, after: log-odds per standard deviation; after is just past a crossing.
        relative: |after - before| / the sum of all |weights|.
        minimal: whether no smaller change of any single weight does it; verified: whether it was scored anew and holds.
    """

    component: str
    before: float
    after: float
    relative: float
    rank: int
    minimal: bool
    verified: bool


@dataclass(frozen=True)
class WhyNot:
    """Why an item is not among the k best. Ids are external; logits and parts are log-odds; ranks count from 1 = best.

    Args:
        state: "below" (others are better), "hidden" (it has been met) or "unscored" (no component can score it).
        reason: the same as one line; missing: components that cannot score it.
        rank: among all candidates; 0 if it is none. shown_rank: what it would be if it were not hidden, 0 if unscored.
        logit, edge_logit: of the item, and of the k-th of the list (NaN if there is none); edge, edge_title: that one.
        components: names, after "base"; own, edge_parts, top_parts: (1 + c,) parts of the item, of the k-th, and the mean of the
            k best; NaN = not available, and counts as 0.
        weight: the nearest change of one weight that lifts it into the top k; additions: what to like; removal: the one past item
            without which it is in. None where there is none, or it is hidden or unscored.
    """

    item: str
    title: str
    k: int
    state: str
    reason: str
    missing: tuple[str, ...]
    rank: int
    shown_rank: int
    candidates: int
    logit: float
    edge: str
    edge_title: str
    edge_logit: float
    components: tuple[str, ...]
    own: tuple[float, ...]
    edge_parts: tuple[float, ...]
    top_parts: tuple[float, ...]
    weight: WeightChange | None = None
    additions: Counterfactual | None = None
    removal: Counterfactual | None = None
    seconds: float = 0.0

    def frame(self) -> pd.DataFrame:
        """One row a component, what holds the item down first: component, own, edge, top, to_edge, to_top (own minus theirs)."""
        return side_by_side(self.components, (self.own, self.edge_parts, self.top_parts))

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers, strings and lists; NaN as None."""
        return {name: plain(value) for name, value in asdict(self).items()}


def why_not(subject: Subject, k: int, *, most: int = 5, evaluations: int = 1000) -> WhyNot:
    """Why the item is not among the k best of its list, and what would bring it there.

    Args:
        most: items to add at most; 0: additions are not looked for.
        evaluations: masked histories that are scored for a removal, at most.

    Raises UserError if k < 1, or if the item is among the k best.
    """
    started, now, item = time.perf_counter(), scores(subject), subject.item
    check_k(k)
    (rank,) = ranks_in(now, item)
    name = str(subject.items.ids[item])
    if 0 < rank <= k:
        shorter = f"choose k below {rank}, or ask remove_history" if rank > 1 else "ask remove_history what would take it out"
        raise UserError(f"item {name} is in the list, at rank {rank}; {shorter}")
    shown = now.copy()
    z = subject.model.z(subject.history)[0]  # (n_items, c)
    shown[0, item] = np.nan_to_num(subject.model.score(subject.history)[0, item], nan=-np.inf)
    missing = np.isnan(z[item])
    state = "unscored" if missing.all() else "hidden" if not rank else "below"
    best = top_k(now, k)[0]
    parts = parts_beside(subject, z, best)
    edge = int(best[-1])
    (shown_rank,) = ranks_in(shown, item)
    below = state == "below"
    return WhyNot(
        item=name,
        title=str(subject.catalog.titles[item]),
        k=k,
        state=state,
        reason=_reason(state, int(rank), int(shown_rank)),
        missing=tuple(n for n, m in zip(subject.model.names, missing, strict=True) if m),
        rank=int(rank),
        shown_rank=int(shown_rank),
        candidates=int(np.isfinite(now).sum()),
        logit=float(shown[0, item]) if state != "unscored" else float("nan"),
        edge=str(subject.items.ids[edge]) if edge >= 0 else "",
        edge_title=str(subject.catalog.titles[edge]) if edge >= 0 else "",
        edge_logit=float(now[0, edge]) if edge >= 0 else float("nan"),
        components=(BASE, *subject.model.names),
        own=parts[0],
        edge_parts=parts[1],
        top_parts=parts[2],
        weight=nearest_weight(subject, k) if below else None,
        additions=counterfactual.add_history(subject, k, most=most) if below and most else None,
        removal=lifting_removal(subject, k, evaluations=evaluations) if below else None,
        seconds=time.perf_counter() - started,
    )


def _reason(state: str, rank: int, shown: int) -> str:
    if state == "unscored":
        return "no component can score it"
    if state == "hidden":
        return f"it has been met, so the list hides it; else its rank would be {shown}"
    return f"{rank - 1} candidates are better"


def side_by_side(components: Sequence[str], rows: Sequence[Sequence[float]]) -> pd.DataFrame:
    """The table of `WhyNot.frame`, from the item's parts, those of the k-th and the mean of the k best."""
    own, edge, top = (np.array(p, np.float64) for p in rows)
    behind = np.nan_to_num(own) - np.nan_to_num(edge)
    table = {
        "component": list(components),
        "own": own,
        "edge": edge,
        "top": top,
        "to_edge": behind,
        "to_top": np.nan_to_num(own) - np.nan_to_num(top),
    }
    return pd.DataFrame(table).iloc[np.argsort(behind, kind="stable")].reset_index(drop=True)


def parts_beside(subject: Subject, z: Scores, best: Ints) -> list[tuple[float, ...]]:
    """Base and parts of the item, of the k-th best and of the mean over the k best; NaN where none of these can be scored."""
    blend, cold = subject.blend, subject.model.cold
    listed = best[best >= 0]
    rows = []
    for some in ([subject.item], best[-1:][best[-1:] >= 0], listed):
        parts = blend.parts(z[some], cold[some]).astype(np.float64)
        known = np.isfinite(parts)
        mean = np.where(known.any(axis=0), np.nan_to_num(parts).sum(axis=0) / max(len(some), 1), np.nan)
        base = blend.base(cold[some]).astype(np.float64).mean() if len(some) else np.nan
        rows.append((float(base), *mean.tolist()))
    return rows


def nearest_weight(subject: Subject, k: int) -> WeightChange | None:
    """The smallest change of one weight that brings the item into the top k; None if no weight alone can do that.

    A weight stays at 0 or above, unless it is below already. Raises UserError as `place`.
    """
    now = scores(subject)
    if place(subject, now, k) <= k:
        raise UserError(f"item {subject.items.ids[subject.item]} is in the top {k} already; choose another item or a smaller k")
    others = np.setdiff1d(np.flatnonzero(np.isfinite(now[0])), [subject.item])
    z = np.nan_to_num(subject.model.z(subject.history)[0].astype(np.float64))  # (n_items, c)
    weights = np.array(subject.blend.weights)
    unit = subject.blend.with_weights(dict.fromkeys(subject.model.names, 1.0)).weights_at(subject.model.cold)
    slopes = z * unit  # d logit / d weight
    gaps = (now[0, others] - now[0, subject.item]).astype(np.float64)
    first = turns(len(subject.items))
    gaps = np.where(gaps == 0, np.where(first[others] < first[subject.item], TINY, -TINY), gaps)  # whose turn it is
    tries = [
        (abs(change), c, change)
        for c in range(len(weights))
        for change in _changes(gaps, slopes[others, c] - slopes[subject.item, c], weights[c], k)
    ]
    for n, (_, c, change) in enumerate(sorted(tries)):
        name, after = subject.model.names[c], float(weights[c] + change)
        listed = scored(subject.model.with_weights({name: after}), subject.history, subject.hidden)
        (rank,) = ranks_in(listed, subject.item)
        if rank <= k:
            return WeightChange(name, float(weights[c]), after, abs(change) / np.abs(weights).sum(), int(rank), n == 0, True)
    return None


def _changes(gaps: Floats, slopes: Floats, weight: float, k: int) -> list[float]:
    """Changes of one weight, the nearest each way first, after which at most k - 1 rivals are ahead.

    gaps: (r,) log-odds by which each rival is ahead; slopes: (r,) how the gap grows with the weight. A rival crosses where
    gap + slope * change = 0, so how many are ahead is constant between crossings: each such interval is looked at once.
    """
    out = []
    for sign in (1.0, -1.0):
        end = np.inf if sign > 0 else weight if weight >= 0 else np.inf
        with np.errstate(divide="ignore", invalid="ignore"):
            at = np.where(sign * slopes * gaps < 0, -gaps / (sign * slopes), np.inf)  # (r,) steps that way to each crossing
        crossing = (at <= end) & np.isfinite(at)
        order = np.flatnonzero(crossing)[np.argsort(at[crossing], kind="stable")]
        ahead = int((gaps > 0).sum()) + np.cumsum(np.where(gaps[order] > 0, -1, 1))
        low, high = at[order], np.append(at[order][1:], end)[: len(order)]  # the interval after each crossing
        good = np.flatnonzero((ahead <= k - 1) & (high > low))[:MOST_CHECKED]
        room = np.minimum(ROOM * np.maximum(1, 1 / np.abs(slopes[order[good]])), (high - low)[good] / 2)
        out += (sign * (low[good] + room)).tolist()
    return out


def lifting_removal(subject: Subject, k: int, *, evaluations: int = 1000) -> Counterfactual | None:
    """The one past item without which the item is in the top k (of several the one that lifts it most); None if there is none.

    All are scored for real, or as many as `evaluations` allows, those first that count most against the item.
    """
    started, now, n = time.perf_counter(), scores(subject), len(subject.history.items)
    own = subject.shares.history(subject.blend)[0][:, 0]
    tried = np.argsort(own, kind="stable")[:evaluations]
    if not len(tried):
        return None
    trial = Trial(subject, k)
    leads = trial(~as_masks([(int(j),) for j in tried], n))
    if leads.max() < 0:
        return None
    (chosen,) = removed = (int(tried[int(leads.argmax())]),)
    after = trial.scores(~as_masks([removed], n))
    past = subject.history.items[chosen]
    return result(
        "lifting_removal",
        subject,
        k,
        now,
        after,
        Outcome(removed, True, "one is the least there is", 1),
        players=strings([subject.items.ids[past]]),
        labels=strings([subject.catalog.titles[past]]),
        effects=(float(now[0, subject.item] - after[0, subject.item]),),
        evaluations=trial.evaluations + 1,
        seconds=time.perf_counter() - started,
    )
