"""An item that is not in the data: who would get it, and why. In: a run and what is written about the item. Out: an `Arrival`,
which is the run's model for a catalogue with the item behind its end, and of it the `Audience` under any blend.

Nobody has met the item, so only components that read text or attributes score it, with the blend's factors for cold items.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys_core.data import Catalog, Dataset, Histories, Vocabulary
from recsys_core.errors import UserError, unknown
from recsys_core.explain.subject import Subject
from recsys_core.hybrid import Blend, Hybrid, sigmoid
from recsys_core.ranking import hide
from recsys_core.run import Run
from recsys_core.scorers.base import Scorer, Scores

MOST_TEXT = 10_000  # characters of a pasted text
MOST_SCORES = 30_000_000  # float32 that a Crowd holds: 120 MB
FEWEST = 200  # users of a Crowd, however large the catalogue


@dataclass(frozen=True)
class NewItem:
    """What is written about an item; `text` is what BERT reads."""

    title: str
    text: str
    attributes: Mapping[str, tuple[str, ...]]

    @property
    def name(self) -> str:
        """The title, or the beginning of the text."""
        return self.title or " ".join(self.text.split())[:60]


def write(catalog: Catalog, title: str, text: str, attributes: str = "") -> NewItem:
    """From three fields of a form; without a text the title is the text.

    Args:
        attributes: one a line, `genre: Drama, War`; names and values as in the catalogue, case and a plural s aside.

    Raises:
        UserError: nothing is written, the text is longer than MOST_TEXT, or an attribute cannot be read; it names the fix.
    """
    half = ("utf-8", "replace")  # half characters, which UTF-8 cannot write, become question marks
    title, text, attributes = (s.encode(*half).decode() for s in (title, text, attributes))
    title, text = " ".join(title.split()), text.strip()
    if not title and not text:
        raise UserError("title and text are empty: write at least one of them")
    if len(title) + len(text) > MOST_TEXT:
        raise UserError(f"title and text have {len(title) + len(text):,} characters; shorten them to {MOST_TEXT:,}")
    return NewItem(title, text or title, read_attributes(catalog, attributes))


def read_attributes(catalog: Catalog, text: str) -> dict[str, tuple[str, ...]]:
    """`name: value, value` lines to attributes, names and known values as the catalogue spells them. Raises UserError."""
    found: dict[str, tuple[str, ...]] = {}
    names = {_plain(name): name for name in catalog.attributes}
    for line in filter(None, (line.strip() for line in text.splitlines())):
        name, colon, rest = line.partition(":")
        if not colon or not rest.strip():
            raise UserError(f"attributes, line {line[:60]!r}: write name: value, value")
        if _plain(name) not in names:
            raise unknown("attribute", name.strip()[:60], catalog.attributes)
        column = names[_plain(name)]
        spelled = {str(v).casefold(): str(v) for row in catalog.frame[column] for v in row}
        values = (v.strip() for v in rest.split(","))
        found[column] = tuple(dict.fromkeys(spelled.get(v.casefold(), v) for v in values if v))
    return found


def _plain(name: str) -> str:
    return name.strip().casefold().removesuffix("s")


def never_seen(catalog: Catalog, item: NewItem) -> list[str]:
    """The item's attribute values that no item of the catalogue has, as "name: value"; a number says something all the same."""
    seen = {name: {str(v) for row in catalog.frame[name] for v in row} for name in item.attributes}
    return [f"{name}: {v}" for name, values in item.attributes.items() for v in values if v not in seen[name]]


def readers(run: Run) -> list[str]:
    """Components of a run that can score an item nobody has met."""
    return [name for name, scorer in run.model.components.items() if type(scorer).grown is not Scorer.grown]


class _Blind(Scorer):
    """A scorer for a catalogue with `new` items behind its end, which it cannot score; of the others it scores as before."""

    def __init__(self, inner: Scorer, n_items: int, new: int) -> None:
        super().__init__(inner.config)
        self.inner, self.n_items, self.new = inner, n_items, new

    def fit(self, dataset: Dataset, rng: np.random.Generator) -> _Blind:
        raise NotImplementedError("it is made of a fitted scorer")

    def _narrow(self, histories: Histories) -> Histories:
        """The rows without the new items, their sizes as they are."""
        return replace(histories.keep(histories.items < self.n_items), n_items=self.n_items)

    def score(self, histories: Histories, items: NDArray[np.int64] | None = None) -> Scores:
        return self.score_beyond(histories, histories, items)

    def score_beyond(self, histories: Histories, hidden: Histories, items: NDArray[np.int64] | None = None) -> Scores:
        asked = np.arange(self.n_items + self.new) if items is None else items
        old = asked < self.n_items
        out = np.full((len(histories), len(asked)), np.nan, np.float32)
        if old.any():
            rows = self._narrow(histories), self._narrow(hidden)
            out[:, old] = self.inner.score_beyond(*rows, None if items is None else asked[old])
        return out

    @property
    def linear(self) -> bool:
        return self.inner.linear

    def prior(self, items: NDArray[np.int64]) -> NDArray[np.float32]:
        out = np.full(len(items), np.nan, np.float32)
        out[items < self.n_items] = self.inner.prior(items[items < self.n_items])
        return out

    def contributions(self, history: Histories, items: NDArray[np.int64]) -> NDArray[np.float32]:
        old, past = items < self.n_items, history.items < self.n_items
        out = np.full((len(history.items), len(items)), np.nan, np.float32)
        out[:, old] = 0
        out[np.ix_(past, old)] = self.inner.contributions(self._narrow(history), items[old])
        return out


@dataclass(frozen=True)
class Arrival:
    """A new item and the run's model with it behind the catalogue's end, where its internal id is `code`."""

    item: NewItem
    model: Hybrid
    catalog: Catalog
    items: Vocabulary
    fame: NDArray[np.float64]

    @property
    def code(self) -> int:
        return len(self.items) - 1

    def subject(self, run: Run, user: str, blend: Blend) -> Subject:
        """The item for one user, for any question about why. Raises UserError for an unknown user."""
        codes = run.dataset.users.codes([user], "user")
        history, hidden = (replace(rows[codes], n_items=len(self.items)) for rows in (run.histories, run.hidden))
        return Subject(replace(self.model, blend=blend), history, hidden, self.code, self.catalog, self.items, self.fame)


def arrive(run: Run, item: NewItem) -> Arrival:
    """Raises UserError if the run has no component that reads what is written about an item, or none that can read this."""
    if not readers(run):
        raise UserError("this run has no component that scores new items; train one with bert or cold among its components")
    old = run.dataset.catalog
    row = {"title": item.title, "text": item.text} | {name: item.attributes.get(name, ()) for name in old.attributes}
    new = Catalog(pd.DataFrame({name: pd.Series([value], dtype=object) for name, value in row.items()}))
    catalog = Catalog(pd.concat([old.frame, new.frame.assign(title=item.name)], ignore_index=True))
    n = len(run.dataset.items)
    components: dict[str, Scorer] = {}
    for name, scorer in run.model.components.items():
        components[name] = scorer.grown(run.known, new) or _Blind(scorer, n, 1)
    name = next(name for name in ("new", *(f"new-{i}" for i in range(n + 1))) if run.dataset.items.find([name])[0] < 0)
    model = Hybrid(components, run.model.blend, np.append(run.model.cold, True))
    return Arrival(item, model, catalog, Vocabulary.of([*run.dataset.items.ids, name]), np.append(run.fame, 0.0))


@dataclass(frozen=True)
class Crowd:
    """Users among whose candidates a new item is ranked, and their z-scores of the catalogue; made once a run.

    Args:
        users: (n,) internal ids: all, or a random choice where all would not fit into memory; of `n_all`.
        z: (n, n_items, components); hidden: (n rows).
    """

    users: NDArray[np.int64]
    n_all: int
    z: Scores
    hidden: Histories

    @classmethod
    def of(cls, run: Run, most: int = MOST_SCORES) -> Crowd:
        n_all, each = len(run.histories), len(run.dataset.items) * len(run.model.names)
        n = min(n_all, max(FEWEST, most // each))
        rng = np.random.default_rng(run.settings.seed)
        users = np.arange(n_all) if n == n_all else np.sort(rng.choice(n_all, n, replace=False))
        hidden = run.hidden[users]
        z = np.empty((n, len(run.dataset.items), len(run.model.names)), np.float32)
        for rows, block in run.histories[users].blocks(256):
            z[rows] = run.model.z(block, hidden=hidden[rows])
        return cls(users, n_all, z, hidden)

    def __len__(self) -> int:
        return len(self.users)


@dataclass(frozen=True)
class Audience:
    """Where the item would stand for each user of a Crowd under one blend.

    Args:
        user_ids: (n,) external ids; logit (n,) and probability 0-1 (n,); base: logit of a new item whose parts are all zero.
        parts: (n, components), NaN = cannot score it; rank: (n,) among all candidates and the item itself, 1 = best, an equal
            score does not come before it; candidates: (n,) how many are ranked.
    """

    user_ids: NDArray[np.object_]
    logit: NDArray[np.float64]
    probability: NDArray[np.float64]
    parts: NDArray[np.float64]
    base: float
    rank: NDArray[np.int64]
    candidates: NDArray[np.int64]
    names: tuple[str, ...]

    def share(self, k: int) -> float:
        """Of the users, those in whose top k it would be, 0-1."""
        return float((self.rank <= k).mean()) if len(self.rank) else float("nan")

    @cached_property
    def best(self) -> NDArray[np.int64]:
        """Positions of the users, who would get it soonest first; at one rank the more probable first."""
        return np.lexsort((-self.logit, self.rank))

    @property
    def differs(self) -> bool:
        """Whether the model would tell users apart by it: not if no component with a weight reads it."""
        return bool(len(self.logit) and np.ptp(self.logit) > 0)

    def frame(self, n: int) -> pd.DataFrame:
        """The first n of `best`: user_id, place (the rank), candidates, logit, probability, base, `part_<component>`."""
        at = self.best[:n]
        facts: dict[str, Any] = {
            "user_id": self.user_ids[at],
            "place": self.rank[at],
            "candidates": self.candidates[at],
            "logit": self.logit[at],
            "probability": self.probability[at],
            "base": self.base,
        }
        return pd.DataFrame(facts | {f"part_{name}": self.parts[at, c] for c, name in enumerate(self.names)})


def audience(run: Run, crowd: Crowd, arrival: Arrival, blend: Blend) -> Audience:
    """Rank the new item among every user's candidates. Raises UserError if no component can score it."""
    wide = len(arrival.items)
    rows, hidden = (replace(h, n_items=wide) for h in (run.histories[crowd.users], crowd.hidden))
    z = arrival.model.z(rows, np.array([arrival.code]), hidden)
    cold = np.array([True])
    logit = blend.logit(z, cold)[:, 0]
    if np.isnan(logit).any():
        raise UserError("no component can read what is written here; write a text")
    listed = hide(blend.logit(crowd.z, run.model.cold), crowd.hidden)
    return Audience(
        user_ids=run.dataset.users.ids[crowd.users],
        logit=logit.astype(np.float64),
        probability=sigmoid(logit),
        parts=blend.parts(z, cold)[:, 0].astype(np.float64),
        base=float(blend.base(cold)[0]),
        rank=1 + (listed > logit[:, None]).sum(axis=1),
        candidates=1 + np.isfinite(listed).sum(axis=1),
        names=blend.names,
    )
