"""One plain sentence from the numbers, without a language model: who speaks for an item, through what, and what a loss would do.

In: a Subject and how its history is credited. Out: text whose every clause carries the number behind it; what it says would
happen without a past item was scored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys_core.errors import unknown
from recsys_core.explain._ranks import rank_of
from recsys_core.explain.game import Explanation, Floats
from recsys_core.explain.questions.attributes import Ground
from recsys_core.explain.subject import Subject
from recsys_core.scorers.base import Scorer

LEAST = 0.1  # share of the positive credit that a second past item, or an attribute, needs to be named

WORDS = {
    "en": {
        "and": " and ",
        "quoted": "{}",
        "history": "Because you liked {names} ({value:.0%} of what your history adds)",
        "past": "Because of {names} in your history ({value:.0%} of what it adds)",
        "attribute": "{value:.0%} of it comes through {names}, which it shares with items of your history",
        "apart": "{names} adds {value:+.2f} log-odds that belong to no past item",
        "component": "Mostly through {names} ({value:+.2f} log-odds); nothing in your history speaks for it",
        "against": "Your history speaks against it ({value:+.2f} log-odds in all), {names} most",
        "nothing": "Nothing speaks for it: nothing adds to its base of {value:+.2f} log-odds",
        "without": "without {names} it would be rank {value:.0f} instead of {before}",
        "yet": "yet without {names} it would be rank {value:.0f} instead of {before}",
        "still": "without {names} it would still be rank {value:.0f}",
        "join": "; ",
        "end": ".",
    },
    "zh": {
        "and": "和",
        "quoted": "《{}》",
        "history": "因为您喜欢过{names}（占您的历史所加分数的 {value:.0%}）",
        "past": "因为您的历史中有{names}（占历史所加分数的 {value:.0%}）",
        "attribute": "其中 {value:.0%} 来自与您历史中的条目共有的 {names}",
        "apart": "{names} 另加 {value:+.2f} 对数几率，不归于任何历史条目",
        "component": "主要来自 {names}（{value:+.2f} 对数几率）；您的历史中没有条目支持它",
        "against": "您的历史总体上不支持它（合计 {value:+.2f} 对数几率），其中{names}影响最大",
        "nothing": "没有任何因素支持它：没有因素使它高于基准 {value:+.2f} 对数几率",
        "without": "如果没有{names}，它的排名会从第 {before} 名变为第 {value:.0f} 名",
        "yet": "不过如果没有{names}，它的排名会从第 {before} 名变为第 {value:.0f} 名",
        "still": "即使没有{names}，它仍排第 {value:.0f} 名",
        "join": "；",
        "end": "。",
    },
}


@dataclass(frozen=True)
class Clause:
    """Args:
    kind: "history" (past items that were liked), "past" (of which one was not), "against", "attribute", "apart", "component",
        "nothing", "without" or "still".
    players: ids of what is named: past items, "attribute: value", a component.
    value: the number said: a share 0-1, log-odds, or a rank; before: the rank now, where a loss is told.
    """

    kind: str
    players: tuple[str, ...]
    value: float
    before: int = 0


@dataclass(frozen=True)
class Sentence:
    text: str
    clauses: tuple[Clause, ...]

    @property
    def rank(self) -> int:
        """The item's rank that a clause tells, 0 = no clause tells it."""
        return next((c.before for c in self.clauses if c.before), 0)


def languages() -> list[str]:
    return list(WORDS)


Ranks = Callable[[NDArray[np.bool_]], Sequence[int]]  # masks (m, n_past) of past items -> the item's ranks, 0 = no candidate


def sentence(
    subject: Subject,
    credit: Explanation | None = None,
    language: str = "en",
    *,
    ranks: Ranks | None = None,
    ground: Ground | None = None,
) -> Sentence:
    """Tell why the subject's item stands where it does.

    Args:
        credit: an explanation of its history; None: the closed form, of the components that have one.
        ranks, ground: what is looked up, for who keeps it while weights move; None: scored and read anew.

    Raises UserError for an unknown language.
    """
    if language not in WORDS:
        raise unknown("language", language, WORDS)
    shares = subject.shares.history(subject.blend)[0][:, 0] if credit is None else credit.contributions
    found = clauses(subject, shares, ranks, ground, closed=credit is None)
    past = subject.history.items
    titles = dict(zip(map(str, subject.items.ids[past]), map(str, subject.catalog.titles[past]), strict=True))
    return Sentence(tell(found, titles, language), tuple(found))


def clauses(
    subject: Subject,
    shares: Floats,
    ranks: Ranks | None = None,
    ground: Ground | None = None,
    *,
    closed: bool = True,
) -> list[Clause]:
    """What there is to say, with its numbers; `shares` (n_past,) credit of past items, `closed`: of linear components alone."""
    positive = np.maximum(shares, 0)
    total = float(positive.sum())
    if total <= 0:
        return [_by_component(subject)]
    ids = subject.items.ids[subject.history.items]
    if shares.sum() < 0:
        named = [int(np.argmin(shares))]
        out = [Clause("against", (str(ids[named[0]]),), float(shares.sum()))]
    else:
        order = np.argsort(-positive, kind="stable")[:2]
        named = [int(j) for n, j in enumerate(order) if n == 0 or positive[j] >= LEAST * total]
        liked = subject.history.liked is None or bool(subject.history.liked[named].all())
        kind = "history" if liked else "past"
        out = [Clause(kind, tuple(str(ids[j]) for j in named), float(positive[named].sum() / total))]
        out += _by_attribute(ground or Ground.of(subject), shares, total)
    out += _apart(subject, closed, abs(float(shares.sum() if out[0].kind == "against" else positive[named].sum())))
    masks = np.ones((2, len(shares)), bool)
    masks[1, named[0]] = False
    before, after = rank_of(subject, masks).tolist() if ranks is None else ranks(masks)
    if before:
        out.append(Clause("still" if after == before else "without", (str(ids[named[0]]),), after, before))
    return out


def _apart(subject: Subject, closed: bool, told: float) -> list[Clause]:
    """The component whose part belongs to no past item, if it outweighs the log-odds `told` of those that are named.

    A linear one is meant if it tells items apart by itself; else it only found nothing in the history.
    """
    past, found = subject.shares.past[:, 0], []
    for c, name, scorer in subject.active:
        apart = not past[:, c].any() and _own_view(scorer, subject) if scorer.linear else closed
        if apart and abs(subject.parts[c]) > told:
            found.append(Clause("apart", (name,), float(subject.parts[c])))
    return sorted(found, key=lambda clause: -abs(clause.value))[:1]


def _own_view(scorer: Scorer, subject: Subject) -> bool:
    prior = scorer.prior(np.arange(len(subject.items)))
    return bool(np.nanmax(prior) > np.nanmin(prior))


def _by_component(subject: Subject) -> Clause:
    parts = subject.parts
    best = int(np.argmax(parts)) if len(parts) else -1
    if best < 0 or parts[best] <= 0:
        return Clause("nothing", (), subject.base)
    return Clause("component", (subject.model.names[best],), float(parts[best]))


def _by_attribute(ground: Ground, shares: Floats, total: float) -> list[Clause]:
    """The attribute value with the largest credit, if it is worth naming; past items that speak against it count too.

    What most items have (the decade of nearly all films) says nothing about this one, and is not named.
    """
    if not ground.names:
        return []
    credit = (ground.shared.T @ shares)[:-1] / total  # the last column shares nothing
    for best in np.argsort(-credit, kind="stable"):
        if credit[best] < LEAST:
            break
        if credit[best] <= 1 and not ground.common(ground.names[best]):
            return [Clause("attribute", (ground.names[best],), float(credit[best]))]
    return []


def tell(found: list[Clause], titles: dict[str, str], language: str) -> str:
    """The clauses in words; ids of past items become titles.

    A loss that moves the rank the other way, as those near it in the list lose more, is told with a "yet".
    """
    words = WORDS[language]
    told = []
    for clause in found:
        is_item = clause.kind in ("history", "past", "against", "without", "still")
        names = [words["quoted"].format(titles[p]) if is_item else p for p in clause.players]
        facts = {"names": words["and"].join(names), "value": clause.value, "before": clause.before}
        contrary = clause.kind == "without" and (clause.value > clause.before) == (found[0].kind == "against")
        told.append(words["yet" if contrary else clause.kind].format(**facts))
    return words["join"].join(told) + words["end"]
