"""What if a history were different: edits to what a user met and liked, and what the model then gives. Nothing is trained.

In: a run, a user (or nobody), `Edits` in external ids, and the likes and dislikes that count before them (`feedback.usable`).
Out: a history row as the data would have made it, and the Person that `browse` lists. A score of the edited history is that of
somebody who really has it: ages and the row's size are counted anew, where an explanation, which masks past items, leaves them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys_core import browse, feedback, rerank
from recsys_core.beside import Features, Reranking, top
from recsys_core.browse import Person
from recsys_core.data import Histories, amended
from recsys_core.hybrid import Blend
from recsys_core.run import Run

DOUBLE = 2.0  # what a doubled like counts, where a like of the data counts 1
WEIGHED = 12  # edits whose effect is told, the latest ones; each costs one scored history
POPULAR = 10  # a short-list is chosen among so many times as many of the most liked items
VARIETY = 0.5  # strength of MMR on a short-list: likes and likeness count alike
Reactions = tuple[tuple[str, ...], tuple[str, ...]]  # likes and dislikes that count before any edit, in external ids
NONE: Reactions = ((), ())


@dataclass(frozen=True)
class Edits:
    """Changes to a history, in external ids; none of them is known to be good until `edited` has looked it up.

    Args:
        add: liked now, the latest last; drop: taken out. What is in both was there before and is liked anew, as the latest.
        double: items of the history that count twice.
    """

    add: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    double: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.add or self.drop or self.double)

    def has(self, item: str, own: Collection[str]) -> bool:
        """Whether the item is in the edited history; `own`: what was there before."""
        return item in self.add or (item in own and item not in self.drop)

    def remove(self, item: str, own: Collection[str]) -> Edits:
        return Edits(_less(self.add, item), _with(self.drop, item) if item in own else self.drop, _less(self.double, item))

    def like(self, item: str, own: Collection[str]) -> Edits:
        """A like more; what was taken out before comes back to its own place, and what is there stays."""
        if self.has(item, own):
            return self
        return replace(self, drop=_less(self.drop, item)) if item in own else replace(self, add=_with(self.add, item))

    def renew(self, item: str, own: Collection[str]) -> Edits:
        """As if it were liked just now: the latest of all."""
        drop = _with(self.drop, item) if item in own else self.drop
        return replace(self, add=(*_less(self.add, item), item), drop=drop)

    def twice(self, item: str) -> Edits:
        """Counts two likes; asked again it counts one."""
        return replace(self, double=_less(self.double, item) if item in self.double else _with(self.double, item))

    @property
    def single(self) -> list[tuple[str, str]]:
        """Each change as (kind, item): "drop", "add", "renew" (dropped and added) or "double"."""
        again = set(self.add) & set(self.drop)
        kinds = [("drop", i) for i in self.drop if i not in again]
        return kinds + [("renew" if i in again else "add", i) for i in self.add] + [("double", i) for i in self.double]

    def without(self, kind: str, item: str) -> Edits:
        """All but one of `single`; an item that is then not added counts no longer twice."""
        if kind == "double":
            return replace(self, double=_less(self.double, item))
        add = self.add if kind == "drop" else _less(self.add, item)
        drop = self.drop if kind == "add" else _less(self.drop, item)
        return Edits(add, drop, _less(self.double, item) if kind == "add" else self.double)


def _less(items: tuple[str, ...], item: str) -> tuple[str, ...]:
    return tuple(i for i in items if i != item)


def _with(items: tuple[str, ...], item: str) -> tuple[str, ...]:
    return items if item in items else (*items, item)


def checked(run: Run, user: str, edits: Edits, reacted: Reactions = NONE) -> tuple[Edits, list[str]]:
    """Edits as far as they make sense for this user ("": somebody new), and the ids of those that do not."""
    own, out = set(past(run, user, reacted)), Edits()
    bad: list[str] = []
    known = run.dataset.items.find
    for item in edits.drop:
        out, bad = (out.remove(item, own), bad) if item in own else (out, [*bad, item])
    for item in edits.add:
        if not len(item) or known([item])[0] < 0 or (item in own and item not in out.drop):
            bad.append(item)
        else:
            out = replace(out, add=_with(out.add, item))
    for item in edits.double:
        out, bad = (replace(out, double=_with(out.double, item)), bad) if out.has(item, own) else (out, [*bad, item])
    return out, bad


def start(run: Run, user: str, reacted: Reactions = NONE, hide_as: str | None = None) -> tuple[Histories, Histories]:
    """The history row before any edit, and what its list hides: the run's own, or what the user's reactions made of them, as
    `feedback.reacted` has it; empty for "" (somebody new), who has none. `hide_as` as in `browse.person`.

    Raises UserError for an unknown user or item."""
    if not user:
        nobody = Histories.of([[]], len(run.dataset.items))
        return nobody, nobody
    return feedback.rows_after(run, user, *reacted, hide_as)


def past(run: Run, user: str, reacted: Reactions = NONE) -> list[str]:
    """External ids of a user's history before any edit, oldest first; nothing for "" (somebody new)."""
    row, _ = start(run, user, reacted)
    return [str(i) for i in run.dataset.items.ids[row.items]]


def edited(
    run: Run, user: str, edits: Edits, hide_as: str | None = None, reacted: Reactions = NONE
) -> tuple[Histories, Histories]:
    """The history row after the edits, and what its list hides: what was hidden and what was added, without what was dropped.

    Ages are ranks of time, as `Dataset.histories` has them: what was added is later than all the rest, in the order given.
    Without edits these are the rows of `start`. Raises UserError for an unknown user or item.
    """
    row, hidden = start(run, user, reacted, hide_as)
    if not edits:
        return row, hidden
    add, drop, double = (run.dataset.items.codes(ids, "item") for ids in (edits.add, edits.drop, edits.double))
    made = amended(row, drop, add, timed=run.known.interactions.time is not None)
    twice = np.where(np.isin(made.items, double), DOUBLE * made.values, made.values).astype(np.float32)
    made = replace(made, values=twice, sizes=made.full_sizes)
    gone = np.union1d(np.setdiff1d(hidden.items, drop), made.items)
    return made, Histories.of([gone.tolist()], row.n_items)


def person(run: Run, user: str, edits: Edits, hide_as: str | None = None, reacted: Reactions = NONE) -> Person:
    """The user after the edits, as the model sees them: folded in, with no training. "" is somebody new."""
    return browse.person_of(run, user, *edited(run, user, edits, hide_as, reacted))


def history(run: Run, user: str, edits: Edits, reacted: Reactions = NONE) -> pd.DataFrame:
    """The edited history, latest first: item_id, title, year, tags, own (there before any edit, at its own
    place), liked, double."""
    row, _ = edited(run, user, edits, reacted=reacted)
    order = np.arange(len(row.items))[::-1] if run.known.interactions.time is None else np.argsort(row.ages, kind="stable")
    frame = browse.items_of(run.dataset, row.items[order].astype(np.int64))
    liked = np.ones(len(order), bool) if row.liked is None else row.liked[order]
    return frame.assign(own=~frame["item_id"].isin(edits.add), liked=liked, double=frame["item_id"].isin(edits.double))


@dataclass(frozen=True)
class Effect:
    """One edit and the history without it: kind and item as `Edits.single`, title, and the person had it not been made."""

    kind: str
    item: str
    title: str
    without: Person


def effects(run: Run, user: str, edits: Edits, hide_as: str | None = None, reacted: Reactions = NONE) -> list[Effect]:
    """Of each edit (the WEIGHED latest) what everything but it makes; for `owed`."""
    singles = edits.single[-WEIGHED:]
    titles = run.dataset.catalog.titles[run.dataset.items.codes([item for _, item in singles], "item")]
    return [
        Effect(kind, item, str(title), person(run, user, edits.without(kind, item), hide_as, reacted))
        for (kind, item), title in zip(singles, titles, strict=True)
    ]


def owed(run: Run, found: list[Effect], after: Person, blend: Blend, *, k: int, how: Reranking | None = None) -> list[int]:
    """How many items of the list after all edits, re-ranked if `how` says so, would not be in it without each one."""
    listed = set(top(run, after, blend, k=k, how=how))
    return [len(listed - set(top(run, one.without, blend, k=k, how=how))) for one in found]


def starters(run: Run, features: Features, n: int) -> pd.DataFrame:
    """n items to begin with: liked by many and of different kinds; columns item_id, title, year, tags, likes.

    MMR at half strength on log(1 + likes), among the most liked; likeness by attributes or text as far as there are any.
    """
    pool = np.argsort(-run.fame, kind="stable")[: POPULAR * n]
    pool = pool[run.fame[pool] > 0]
    scores = np.log1p(run.fame[pool])[None]
    if "mmr" in features.rerankers and len(pool):
        picked = rerank.get("mmr")(scores, features.needed("mmr", pool, None), k=n, strength=VARIETY)[0]
    else:
        picked = np.arange(min(n, len(pool)))
    chosen: NDArray[np.int64] = pool[picked[picked >= 0]]
    return browse.items_of(run.dataset, chosen).assign(likes=run.fame[chosen].astype(np.int64))
