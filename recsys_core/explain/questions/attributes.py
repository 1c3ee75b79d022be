"""What about the item brings the score? Players are its attribute values, each with the past items that share it.

A past item that shares several values gives each of them an equal part of itself, so an absent value takes that part out of the
history; past items that share none play as one, "nothing shared". So credit says through which common ground a score comes; it
does not say that the model read the attribute.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from recsys_core.data import Catalog
from recsys_core.errors import UserError
from recsys_core.explain.game import Floats, Game
from recsys_core.explain.questions import history
from recsys_core.explain.subject import Subject

NOTHING = "nothing shared"


def ask(subject: Subject) -> Game:
    """Value = the logit if only these attribute values let past items speak. Raises UserError for an item without attributes."""
    names, shared = common_ground(subject.catalog, subject.item, subject.history.items)
    if not names:
        raise UserError(f"item {subject.items.ids[subject.item]} has no attributes; ask about history or words instead")
    players = (*names, NOTHING)
    each, rest = subject.shares.history(subject.blend)
    curved = any(not scorer.linear for _, _, scorer in subject.active)

    def value(masks: NDArray[np.bool_]) -> Floats:
        kept = masks @ shared.T  # (m, n_past) what is left of each past item
        if not curved:
            return np.asarray(rest[0] + kept @ each[:, 0], np.float64)
        return _weighted(subject, kept)

    return Game("attributes", players, players, value, additive=None if curved else shared.T @ each[:, 0])


@dataclass(frozen=True)
class Ground:
    """What an item shares with a history; see `common_ground` for names and shared.

    Args:
        common: name -> whether most items have the value, so that it says nothing about this one; looked up once.
    """

    names: tuple[str, ...]
    shared: Floats
    common: Callable[[str], bool]

    @classmethod
    def of(cls, subject: Subject) -> Ground:
        names, shared = common_ground(subject.catalog, subject.item, subject.history.items)
        return cls(names, shared, cache(partial(common_to_all, subject.catalog)))


def common_ground(catalog: Catalog, item: int, past: NDArray[np.int32]) -> tuple[tuple[str, ...], Floats]:
    """Names of the item's values, e.g. "genres: Crime", and (n_past, values + 1) what part of each past item is through each of
    them; the last column is for past items that share none. Rows sum to 1."""
    names: list[str] = []
    columns: list[NDArray[np.bool_]] = []
    for attribute in catalog.attributes:
        values = catalog.frame[attribute].to_numpy()
        mine = dict.fromkeys(_named(v) for v in values[item])
        theirs = [{_named(v) for v in values[j]} for j in past]
        names += [f"{attribute}: {v}" for v in mine]
        columns += [np.array([v in row for row in theirs], bool) for v in mine]
    shares = np.stack([*columns, np.zeros(len(past), bool)], axis=1).astype(np.float64)
    shares[:, -1] = shares.sum(axis=1) == 0
    return tuple(names), shares / shares.sum(axis=1, keepdims=True)


def common_to_all(catalog: Catalog, name: str, most: float = 0.5) -> bool:
    """Whether more than `most` of the items have the value, "attribute: value"."""
    attribute, _, value = name.partition(": ")
    spelled = {value, *(f"{value[:3]}{n}" for n in range(10))}  # a decade is any of its years
    spelled = {v for v in spelled if _named(v) == value}
    return sum(not spelled.isdisjoint(row) for row in catalog.frame[attribute]) > most * len(catalog)


def _named(value: object) -> str:
    """A year as its decade, so that 1994 and 1996 are common ground; anything else as it is."""
    text = str(value)
    return f"{text[:3]}0s" if len(text) == 4 and text.isdigit() and 1000 <= int(text) < 2200 else text


def _weighted(subject: Subject, kept: Floats) -> Floats:
    """Logits of histories whose past items count only in part, (m, n_past) in 0-1."""
    out = []
    for row in kept:
        values = (subject.history.values * row).astype(np.float32)
        part = replace(subject.history, values=values, sizes=subject.history.full_sizes).keep(row > 0)
        out.append(history.value(replace(subject, history=part), np.ones((1, len(part.items)), bool))[0])
    return np.array(out)
