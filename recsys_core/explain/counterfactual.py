"""What would have to be otherwise? The fewest past items or words without which an item falls out of a list, and the fewest
additions to the history that bring it in.

In: a Subject and k. Out: a Counterfactual, found by closed forms where the model is additive, then scored for real. What a list
hides stays hidden. Sets are called minimal only where every smaller one is ruled out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
import pandas as pd

from recsys_core.errors import UserError
from recsys_core.explain import _addition, _removal, questions
from recsys_core.explain._ranks import Floats, Masks, Trial, additive, leads_in, place, ranks_in, scores
from recsys_core.explain._removal import as_masks
from recsys_core.explain.explainers import attribute
from recsys_core.explain.game import Budget, Meter
from recsys_core.explain.subject import Subject
from recsys_core.ranking import top_k
from recsys_core.scorers.base import Scores

Set = tuple[int, ...]
Lead = Callable[[Masks], Floats]  # (m, n) who stays -> (m,) log-odds ahead of the k-th best other; below 0: out of the top k
MOST_CHECKED = 8  # sets that are scored for real in one go
ALTERNATIVES = 5


@dataclass(frozen=True)
class Alternative:
    """One item that could be added, and the rank that the asked item then has."""

    item: str
    title: str
    rank: int
    logit: float


@dataclass(frozen=True)
class Counterfactual:
    """What to take away or add, and what then happens. Ids are external; logits are log-odds; ranks count from 1 = best.

    Args:
        question: "remove_history", "remove_words", "add_history" or "lifting_removal"; k: the length of the list it is about.
        players, labels: what is taken away or added (item ids and titles; of words their place in the text "a-b" and the word).
        effects: what each of them alone changes in the item's logit.
        found: whether this does it; else rank_after and logit_after tell how far it gets, with what `reason` says.
        minimal: whether it is proven that no smaller set does it; False: found by a heuristic, a smaller one may exist.
        verified: whether the claim was scored anew by the model (or, for words, the text read anew) and holds.
        rivals, rival_titles: who comes into the top k when the item falls out of it, or leaves it when the item comes in.
        alternatives: other single additions, best first.
        bound: no set smaller than this does it.
        evaluations: histories scored or texts read; seconds: wall time.
    """

    question: str
    item: str
    title: str
    k: int
    rank_before: int
    logit_before: float
    rank_after: int
    logit_after: float
    found: bool
    minimal: bool
    verified: bool
    reason: str
    players: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    effects: tuple[float, ...] = ()
    rivals: tuple[str, ...] = ()
    rival_titles: tuple[str, ...] = ()
    alternatives: tuple[Alternative, ...] = ()
    bound: int = 0
    evaluations: int = 0
    seconds: float = 0.0

    def frame(self) -> pd.DataFrame:
        """One row a player: player, label, effect (log-odds in the item's logit)."""
        return pd.DataFrame({"player": self.players, "label": self.labels, "effect": self.effects})

    def others(self) -> pd.DataFrame:
        """One row an alternative: item_id, title, rank, score (logit)."""
        rows = [(a.item, a.title, a.rank, a.logit) for a in self.alternatives]
        return pd.DataFrame(rows, columns=["item_id", "title", "rank", "score"])

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers, strings and lists; NaN as None."""
        return {name: plain(value) for name, value in asdict(self).items()}


def plain(value: Any) -> Any:
    """Dictionaries and sequences of plain JSON values; a number that is not finite becomes None."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


@dataclass(frozen=True)
class Outcome:
    """A set of positions, or none; how it was found and what is known of smaller ones."""

    removed: Set | None
    minimal: bool
    reason: str
    bound: int
    farthest: Set = ()  # what got farthest, if nothing does it

    @property
    def reached(self) -> Set:
        return self.farthest if self.removed is None else self.removed


def remove_history(subject: Subject, k: int, *, evaluations: int = 1000) -> Counterfactual:
    """The fewest past items without which the item is no longer among the k best.

    Of an additive model: closed forms; exact for k = 1, and for k > 1 where the bound is met or branch and bound settles it. Of
    another: small sets one by one, then greedily by leaving one out, within `evaluations` masked histories that are scored.

    Raises UserError if k < 1, or if the item is hidden, cannot be scored or is not among the k best.
    """
    started, now = time.perf_counter(), scores(subject)
    _listed(subject, now, k)
    trial, n = Trial(subject, k), len(subject.history.items)
    if n == 0:
        outcome = Outcome(None, True, "the history is empty", 1)
    elif int(np.isfinite(now).sum()) <= k:
        outcome = Outcome(None, True, f"there are no more than {k} candidates, so every one is in the list", n + 1)
    elif additive(subject.model):
        outcome = _by_shares(subject, now, k, trial)
    else:
        outcome = smallest(trial, n, lambda: [subject.shares.history(subject.blend)[0][:, 0]], evaluations, "past items")
    after = trial.scores(~as_masks([outcome.reached], n)) if n else now
    chosen = subject.history.items[list(outcome.removed or ())]
    return result(
        "remove_history",
        subject,
        k,
        now,
        after,
        outcome,
        players=strings(subject.items.ids[chosen]),
        labels=strings(subject.catalog.titles[chosen]),
        effects=_effects(subject, outcome.removed or ()),
        evaluations=trial.evaluations + 1,
        seconds=time.perf_counter() - started,
    )


def strings(values: Any) -> tuple[str, ...]:
    return tuple(str(v) for v in values)


def result(question: str, subject: Subject, k: int, now: Scores, after: Scores, outcome: Outcome, **more: Any) -> Counterfactual:
    """From scores (1, n_items) before and after; found only if they bear it out."""
    item, falls = subject.item, question in ("remove_history", "remove_words")
    (before,), (then,) = ranks_in(now, item), ranks_in(after, item)
    found = bool(outcome.removed is not None and (then > k) == falls)
    old, new = (top_k(now, k)[0], top_k(after, k)[0]) if falls else (top_k(after, k)[0], top_k(now, k)[0])
    rivals = [i for i in new if i >= 0 and i not in old and i != item] if found else []
    return Counterfactual(
        question=question,
        item=str(subject.items.ids[item]),
        title=str(subject.catalog.titles[item]),
        k=k,
        rank_before=int(before),
        logit_before=float(now[0, item]),
        rank_after=int(then),
        logit_after=float(after[0, item]),
        found=found,
        minimal=outcome.minimal and found,
        verified=found,
        reason=outcome.reason,
        bound=outcome.bound,
        rivals=strings(subject.items.ids[rivals]),
        rival_titles=strings(subject.catalog.titles[rivals]),
        **more,
    )


def _listed(subject: Subject, listed: Scores, k: int) -> None:
    rank = place(subject, listed, k)
    if rank > k:
        name = subject.items.ids[subject.item]
        raise UserError(f"item {name} has rank {rank}, not within the top {k}; choose k of {rank} or more, or ask why_not")


def _by_shares(subject: Subject, now: Scores, k: int, trial: Trial) -> Outcome:
    field, n = _removal.rivals(subject, now[0], k), len(subject.history.items)
    everything = tuple(range(n))
    bound = field.bound(k)
    nothing = f"no past item carries it: for {k} rivals to be ahead the shares of the past items do not suffice"
    if bound > n:
        return Outcome(None, True, nothing, n + 1, everything)
    sets = _removal.likely(field, k)
    best = len(sets[0]) if sets else n + 1
    how = "no rival can overtake with fewer"
    if best > bound:
        smaller, settled = _removal.fewer(field, best - 1, k)
        sets = [*([smaller] if smaller is not None else []), *sets]
        if settled:
            bound, how = len(smaller) if smaller is not None else best, "all smaller sets are ruled out by branch and bound"
    if not sets:
        return Outcome(None, bound > n, nothing if bound > n else "no set was found", bound, everything)
    tried = sets[:MOST_CHECKED]
    fell = trial(~as_masks(tried, n)) < 0
    if not fell.any():
        return Outcome(None, False, f"none of the {len(tried)} likeliest sets does it when scored", bound, everything)
    removed = tried[int(fell.argmax())]
    minimal = len(removed) == bound
    return Outcome(removed, minimal, how if minimal else f"heuristic: at least {bound} must go", bound)


def _effects(subject: Subject, removed: Set) -> tuple[float, ...]:
    """What each past item alone adds to the item's logit: its share, or what leaving it out costs."""
    if not removed:
        return ()
    game, n = questions.ask("history", subject), len(subject.history.items)
    if game.additive is not None:
        return tuple(game.additive[list(removed)].tolist())
    values = game.value(np.concatenate([np.ones((1, n), bool), ~as_masks([(j,) for j in removed], n)]))
    return tuple((values[0] - values[1:]).tolist())


def smallest(lead: Lead, n: int, credits: Callable[[], list[Floats]], budget: int, things: str) -> Outcome:
    """A small set of n things without which a lead falls below 0, by evaluating; no closed form is needed.

    All sets of one, of two and so on while they fit into the budget; then prefixes by credit (leaving one out, and what `credits`
    gives, asked for only then), thinned out as long as a second budget lasts.
    """
    spent, bound, lowest, orders = 0, 1, (np.inf, tuple(range(n))), []
    while bound <= n and spent + comb(n, bound) <= budget:
        sets = list(combinations(range(n), bound))
        leads = lead(~as_masks(sets, n))
        spent += len(sets)
        lowest = min(lowest, (float(leads.min()), sets[int(leads.argmin())]))
        tried = "one is the least there is" if bound == 1 else f"all sets of fewer {things} were tried"
        if lowest[0] < 0:
            return Outcome(lowest[1], True, tried, bound)
        orders += [-leads] if bound == 1 else []
        bound += 1
    if bound > n:
        return Outcome(None, True, f"all sets of {things} were tried and none does it", bound, lowest[1])
    best: Set | None = None
    for credit in [*orders, *credits()]:
        found, least = _prefix(lead, credit, bound, n if best is None else len(best) - 1)
        best, lowest = found or best, min(lowest, least)
    if best is None:
        return Outcome(None, False, f"no set of {things} that was tried does it", bound, lowest[1])
    best = _thinned(lead, best, n, budget)
    minimal = len(best) == bound
    return Outcome(best, minimal, tried if minimal and bound > 1 else f"heuristic: at least {bound} must go", bound)


def _prefix(lead: Lead, credit: Floats, least: int, most: int) -> tuple[Set | None, tuple[float, Set]]:
    """The shortest prefix of `least` to `most` things, most credited first, that does it; and the lowest lead met, with its set.

    Lengths grow by a third until one does it; then all between that and the one before are tried."""
    order, n = np.argsort(-credit, kind="stable"), len(credit)
    lengths = sorted({min(max(round(1.33**e), least), most) for e in range(30)}) if least <= most else []

    def leads(lengths: Sequence[int]) -> list[tuple[float, Set]]:
        sets = [tuple(sorted(order[:m].tolist())) for m in lengths]
        return list(zip(lead(~as_masks(sets, n)).tolist(), sets, strict=True)) if sets else []

    lowest: tuple[float, Set] = (np.inf, ())
    for last, length in zip([least - 1, *lengths], lengths, strict=False):
        lowest = min(lowest, *leads([length]))
        if lowest[0] < 0:
            fell = [pair for pair in leads(range(last + 1, length)) if pair[0] < 0]
            return (fell[0] if fell else lowest)[1], lowest
    return None, lowest


def _thinned(lead: Lead, found: Set, n: int, budget: int) -> Set:
    """Give back, one by one, what the set can do without, as long as the budget lasts."""
    while len(found) > 1 and (budget := budget - len(found)) >= 0:
        smaller = [found[:m] + found[m + 1 :] for m in range(len(found))]
        leads = lead(~as_masks(smaller, n))
        if leads.min() >= 0:
            break
        found = smaller[int(leads.argmin())]
    return found


def remove_words(subject: Subject, k: int, budget: Budget | None = None, *, seed: int = 0) -> Counterfactual:
    """The fewest words of the item's text without which it is no longer among the k best; only its own score changes.

    All single words (pairs too, if they fit into the budget) are read; else prefixes by SHAP's credit at that budget, thinned.

    Raises UserError if k < 1; if the item is hidden, cannot be scored or is not among the k best; or if its text plays no part.
    """
    started, now, budget = time.perf_counter(), scores(subject), budget or Budget()
    _listed(subject, now, k)
    game = questions.ask("words", subject)
    meter, n = Meter(game, budget), len(game.players)

    def listed(values: Floats) -> Scores:
        out = np.repeat(now, len(values), axis=0)
        out[:, subject.item] = values
        return out

    def credits() -> list[Floats]:
        return [attribute(replace(game, value=meter), "shap", budget, seed).contributions]

    if int(np.isfinite(now).sum()) <= k:
        outcome = Outcome(None, True, f"there are no more than {k} candidates, so every one is in the list", n + 1)
    else:
        outcome = smallest(lambda m: leads_in(listed(meter(m)), subject.item, k), n, credits, budget.evaluations, "words")
        nothing = ranks_in(listed(meter(np.zeros((1, n), bool))), subject.item)[0]
        why = f"{outcome.reason}; with all words masked its rank is {nothing}"
        outcome = replace(outcome, reason=why) if outcome.removed is None else outcome
    masks = ~as_masks([outcome.reached], n)
    fresh = game.value(np.concatenate([masks, ~as_masks([(j,) for j in outcome.removed or ()], n)]))  # read anew, not remembered
    return result(
        "remove_words",
        subject,
        k,
        now,
        listed(fresh[:1]),
        outcome,
        players=tuple(game.players[j] for j in outcome.removed or ()),
        labels=tuple(game.labels[j] for j in outcome.removed or ()),
        effects=tuple((subject.logit - fresh[1:]).tolist()),
        evaluations=meter.evaluations + len(fresh),
        seconds=time.perf_counter() - started,
    )


def add_history(subject: Subject, k: int, *, most: int = 5) -> Counterfactual:
    """What the person could like so that the item comes among the k best: the fewest items, at most `most`, each a newest event.

    One item: minimal. Two: minimal if every single one is ruled out. More: added greedily. What is added has been met, so it
    leaves the list. `alternatives` are the best single additions, whether or not one suffices.

    Raises UserError if k or most < 1, or if the item is hidden, cannot be scored or is among the k best already.
    """
    started, now = time.perf_counter(), scores(subject)
    _unlisted(subject, now, k)
    if most < 1:
        raise UserError(f"most must be 1 or more, not {most}")
    steps: list[_addition.Step] = []
    added: Set = ()
    while len(added) < most and (not steps or steps[-1].leads.max() < 0):
        steps.append(_addition.step(subject, added, k))
        if not len(steps[-1].items):
            break
        added = (*added, int(steps[-1].items[steps[-1].leads.argmax()]))
    sets = np.array([added], np.int64)
    after = _addition.scored(subject, sets) if added else now
    done = bool(added) and bool(ranks_in(after, subject.item)[0] <= k)
    bound = 2 if steps[0].settled and (steps[0].ranks > k).all() else 1
    minimal = done and len(added) == bound
    how = ("one is the least there is", "no single item does it")[bound - 1] if minimal else "heuristic: added greedily"
    reason = how if done else f"no set of up to {most} additions that was tried does it"
    alone = _addition.scored(subject, sets.T)[:, subject.item] if added else np.zeros(0)
    return result(
        "add_history",
        subject,
        k,
        now,
        after,
        Outcome(added if done else None, minimal, reason, bound),
        players=strings(subject.items.ids[list(added)]) if done else (),
        labels=strings(subject.catalog.titles[list(added)]) if done else (),
        effects=tuple((alone - now[0, subject.item]).tolist()) if done else (),
        alternatives=tuple(_alternative(subject, steps[0], n) for n in range(min(ALTERNATIVES, len(steps[0].items)))),
        evaluations=1 + sum(len(s.items) for s in steps) + len(after) + len(alone),
        seconds=time.perf_counter() - started,
    )


def _unlisted(subject: Subject, listed: Scores, k: int) -> None:
    rank = place(subject, listed, k)
    if rank <= k:
        name = subject.items.ids[subject.item]
        raise UserError(f"item {name} is in the top {k} already, at rank {rank}; choose another item, or ask remove_history")


def _alternative(subject: Subject, step: _addition.Step, n: int) -> Alternative:
    i = step.items[n]
    return Alternative(str(subject.items.ids[i]), str(subject.catalog.titles[i]), int(step.ranks[n]), float(step.logits[n]))
