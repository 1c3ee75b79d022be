"""One user and one item as a page shows them: where the item stands under any blend, a sentence, and the exact answers.

In: a run and external ids. Out: a Pair, for which the model is asked once, and of it a Why for each blend, for which it is asked
no more (a sentence's "without" asks once for each past item that it names).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys_core.browse import Person
from recsys_core.errors import UserError
from recsys_core.explain import answer, explainers, questions
from recsys_core.explain._ranks import rank_of, ranks_in
from recsys_core.explain.counterfactual import Counterfactual, remove_history
from recsys_core.explain.explainers import FLOORS, attribute
from recsys_core.explain.faithfulness import correlations
from recsys_core.explain.game import Explanation, Floats, Game, unique_labels
from recsys_core.explain.questions.attributes import NOTHING, Ground
from recsys_core.explain.questions.words import outline
from recsys_core.explain.sentence import sentence
from recsys_core.explain.subject import Subject
from recsys_core.explain.why_not import BASE, parts_beside, side_by_side
from recsys_core.hybrid import Blend
from recsys_core.ranking import hide, top_k
from recsys_core.scorers.base import Scores

if TYPE_CHECKING:
    from recsys_core.run import Run

REMEMBERED = 16  # masked histories whose scores a pair keeps
FIRST = ("exact", "shap", "lime", "loo", "ig")  # the order in which a picker has them; the others follow
AGAIN = ("shap_partition", "shap_permutation", "shap_exact")  # what shap or exact do already


@dataclass(frozen=True)
class Pair:
    """A user and an item, under no blend in particular; to be treated as frozen.

    Args:
        subject: under the learned blend, its closed forms computed; person: scores of all items.
        ground: what the item shares with the history.
        without: mask of past items, as bytes -> (1, n_items, c) z-scores of that history; the last few are remembered.
    """

    subject: Subject
    person: Person
    ground: Ground
    without: Callable[[bytes], Scores]

    @property
    def item(self) -> str:
        return str(self.subject.items.ids[self.subject.item])

    @property
    def title(self) -> str:
        return str(self.subject.catalog.titles[self.subject.item])

    def listed(self, blend: Blend, mask: NDArray[np.bool_] | None = None) -> Scores:
        """(1, n_items) logits under a blend, -inf where an item is no candidate; with a mask, of what that leaves."""
        z = self.person.z if mask is None else self.without(np.asarray(mask, bool).tobytes())
        return hide(blend.logit(z, self.subject.model.cold), self.person.hidden)

    def ranks(self, blend: Blend, masks: NDArray[np.bool_]) -> list[int]:
        """The item's places among all candidates with what each mask leaves of the history, 1 = best, 0 = it is none."""
        rows = [self.listed(blend, None if mask.all() else mask) for mask in masks]
        return [int(ranks_in(row, self.subject.item)[0]) for row in rows]


def pair(run: Run, person: Person, item: str) -> Pair:
    """Lists hide what those of the person do. Raises UserError for an unknown item."""
    (code,) = run.dataset.items.codes([item], "item")
    about = answer.subject_of(run, person.row, person.hidden, int(code))
    _ = about.shares

    def without(mask: bytes) -> Scores:
        row = about.masked(np.frombuffer(mask, bool)[None])
        return about.model.z(row, hidden=about.hidden)

    return Pair(about, person, Ground.of(about), lru_cache(maxsize=REMEMBERED)(without))


@dataclass(frozen=True)
class Why:
    """What there is to say of a pair under one blend. Logits and parts are log-odds; ranks count from 1 = best, 0 = no candidate.

    Args:
        about: the subject under this blend.
        state: "listed" (among the k best), "below" (others are better), "hidden" (it has been met) or "unscored".
        rank, learned_rank: places under this blend and the learned one; shown_rank: what the place would be were it not hidden.
        candidates: items that are ranked.
        sentence: "" if unscored.
        components, history, attributes: exact; None if unscored, and attributes also where the item has none.
        missing: components that cannot score the item; whole: those that are not linear in the history, which the shares of past
            items and attributes leave in the base.
        edge, edge_rank: title and place of the k-th of the list ("" and 0 if it is empty).
        beside: one row a component, what holds the item down first: component, own, edge, top, to_edge, to_top, as
            `WhyNot.frame`; empty if listed or unscored.
    """

    about: Subject
    state: str
    rank: int
    learned_rank: int
    shown_rank: int
    candidates: int
    sentence: str
    components: Explanation | None
    history: Explanation | None
    attributes: Explanation | None
    missing: tuple[str, ...]
    whole: tuple[str, ...]
    edge: str
    edge_rank: int
    beside: pd.DataFrame

    @property
    def item(self) -> str:
        return str(self.about.items.ids[self.about.item])

    @property
    def title(self) -> str:
        return str(self.about.catalog.titles[self.about.item])

    @property
    def held(self) -> tuple[str, float] | None:
        """The component that puts the item furthest behind the k-th, and by how much (log-odds, below 0); None if none does."""
        if self.beside.empty or self.beside["to_edge"].iloc[0] >= 0:
            return None
        return str(self.beside["component"].iloc[0]), float(self.beside["to_edge"].iloc[0])


def why(found: Pair, blend: Blend, k: int, language: str = "en") -> Why:
    """Where the item stands, and why, its sentence in this language. No component is asked, but for a sentence's "without"."""
    about, listed, item = found.subject.with_blend(blend), found.listed(blend), found.subject.item
    rank = int(ranks_in(listed, item)[0])
    unscored = bool(about.shares.missing.all())
    state = "unscored" if unscored else "hidden" if not rank else "listed" if rank <= k else "below"
    shown = listed.copy()
    shown[0, item] = np.nan_to_num(blend.logit(found.person.z[:, [item]], about.model.cold[[item]])[0, 0], nan=-np.inf)
    best = top_k(listed, k)[0]
    best = best[best >= 0]
    lacking = state in ("below", "hidden") and len(best)
    parts = parts_beside(about, found.person.z[0], best) if lacking else [(), (), ()]
    return Why(
        about=about,
        state=state,
        rank=rank,
        learned_rank=int(found.person.learned_rank[item]),
        shown_rank=int(ranks_in(shown, item)[0]),
        candidates=int(np.isfinite(listed).sum()),
        sentence="" if unscored else sentence(about, None, language, ranks=partial(found.ranks, blend), ground=found.ground).text,
        components=None if unscored else attribute(questions.ask("components", about), "exact"),
        history=None if unscored else by_past(about),
        attributes=None if unscored else by_attribute(about, found.ground),
        missing=tuple(n for n, m in zip(about.model.names, about.shares.missing[0], strict=True) if m),
        whole=tuple(name for _, name, scorer in about.active if not scorer.linear),
        edge=str(about.catalog.titles[best[-1]]) if len(best) else "",
        edge_rank=len(best),
        beside=side_by_side((BASE, *about.model.names) if lacking else (), parts),
    )


def by_past(about: Subject, component: str = "") -> Explanation:
    """Shares of the past items in the logit, or in one component's part: closed form, at no cost.

    The base is what remains with all of them taken out; components that are not linear in the history are wholly in it. Raises
    UserError for a component that has none.
    """
    if not component:
        each, rest = about.shares.history(about.blend)
        return _exact("history", about, each[:, 0], float(rest[0]))
    able = splittable(about)
    if component not in able:
        raise UserError(f"component {component} has no shares of past items here; choose one of {', '.join(able) or 'none'}")
    c = about.model.names.index(component)
    weight = float(about.weights[c])
    return _exact("history", about, weight * about.shares.past[:, 0, c], weight * float(about.shares.prior[0, c]))


def splittable(about: Subject) -> list[str]:
    """Components in which past items have shares that are not all zero, whatever their weight."""
    return [name for c, name in enumerate(about.model.names) if about.shares.past[:, 0, c].any()]


def by_attribute(about: Subject, ground: Ground) -> Explanation | None:
    """The same shares by what the past items have in common with the item; None if the item has no attributes."""
    if not ground.names:
        return None
    each, rest = about.shares.history(about.blend)
    return _exact("attributes", about, ground.shared.T @ each[:, 0], float(rest[0]), (*ground.names, NOTHING))


def _exact(question: str, about: Subject, shares: Floats, base: float, players: tuple[str, ...] | None = None) -> Explanation:
    """An Explanation of shares that are known; the players are the past items, or those given."""
    past = about.history.items
    ids, titles = (unique_labels([str(v) for v in names[past]]) for names in (about.items.ids, about.catalog.titles))
    game = Game(question, players or ids, players or titles, lambda masks: base + masks @ shares, additive=shares)
    return attribute(game, "exact")


def methods(about: Subject, question: str) -> dict[str, str]:
    """Explainers by name that a reader may ask, and of each why it cannot meet the question ("" if it can); nothing is loaded.

    Raises UserError if the question has no players here.
    """
    game = outline(about) if question == "words" else questions.ask(question, about)
    left_out = {*AGAIN, *(FLOORS if question == "words" else ())}
    names = [*FIRST, *(n for n in explainers.names() if n not in FIRST)]
    return {name: explainers.unable(name, game) for name in names if name not in left_out}


def agreement(a: Explanation, b: Explanation) -> float:
    """Spearman correlation of two methods' contributions to the same players, -1 to 1; NaN if either has them all equal."""
    return float(correlations(np.stack([a.contributions, b.contributions])[:, None])[0, 1])


def compared(a: Explanation, b: Explanation) -> pd.DataFrame:
    """One row a player, most credited by `a` first: label, first, second, difference (second less first)."""
    table = {"label": list(a.labels), "first": a.contributions, "second": b.contributions}
    frame = pd.DataFrame(table).assign(difference=b.contributions - a.contributions)
    return frame.iloc[a.order()].reset_index(drop=True)


def removals(about: Subject, k: int) -> list[Counterfactual]:
    """What to take away so that a listed item leaves the top k, and, if it stands higher, so that it loses its own place.

    Raises UserError as `remove_history`.
    """
    found = [remove_history(about, k)]
    place = found[0].rank_before
    return [*found, remove_history(about, place)] if place < k else found


def steps(about: Subject, found: Counterfactual) -> pd.DataFrame:
    """Of each past item that is taken away: label, effect (log-odds it adds), and the ranks without it alone and without it and
    those above it, scored anew."""
    order = np.argsort(-np.array(found.effects), kind="stable")
    at = [list(about.items.ids[about.history.items]).index(found.players[j]) for j in order]
    n = len(at)
    masks = np.ones((2 * n, len(about.history.items)), bool)
    for row, j in enumerate(at):
        masks[row, j] = False
        masks[n + row :, j] = False
    ranks = rank_of(about, masks) if n else np.zeros(0, np.int64)
    table = {"label": [found.labels[j] for j in order], "effect": [found.effects[j] for j in order]}
    return pd.DataFrame(table | {"alone": ranks[:n], "together": ranks[n:]})
