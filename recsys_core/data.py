"""Typed tables: Vocabulary, Interactions, Histories, Catalog, Dataset.

Files come in through `recsys_core.readers`; what leaves here is checked once and trusted inside.
External ids are strings; internal ids are positions in a Vocabulary.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from recsys_core import show
from recsys_core.errors import UserError, unknown

SCHEMA = 1  # of a prepared data folder
SHOWN = 5  # items in a notebook


@dataclass(frozen=True)
class Vocabulary:
    """External ids; the internal id of `ids[n]` is n.

    >>> Vocabulary.of(["a", "b"]).codes(["b"])
    array([1])
    """

    ids: NDArray[np.object_]  # (n,) str, unique

    @classmethod
    def of(cls, ids: Iterable[object]) -> Vocabulary:
        """Ids as text, in this order. Raises UserError if one comes twice."""
        return cls(np.array([str(i) for i in ids], dtype=object))

    def __post_init__(self) -> None:
        if pd.isna(self.ids).any() or not pd.Index(self.ids).is_unique:
            raise UserError("ids must be unique and not empty")

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def _index(self) -> pd.Index[Any]:
        return pd.Index(self.ids)

    def find(self, ids: Iterable[object]) -> NDArray[np.int64]:
        """Internal ids, shape as `ids`; -1 where unknown (use `codes` unless you handle that)."""
        return np.asarray(self._index.get_indexer(pd.Index([str(i) for i in ids], dtype=object)), dtype=np.int64)

    def codes(self, ids: Iterable[object], kind: str = "id") -> NDArray[np.int64]:
        """Internal ids. Raises UserError on the first id that is not here, naming the nearest one."""
        ids = [str(i) for i in ids]
        codes = self.find(ids)
        if (codes < 0).any():
            raise unknown(kind, ids[int(np.argmax(codes < 0))], self.ids)
        return codes


@dataclass(frozen=True)
class Interactions:
    """Events as parallel arrays in internal ids.

    Args:
        user, item: (n,) int32.
        value: (n,) float32, a rating or a count; 1 for plain implicit data.
        time: (n,) int64 seconds since epoch, or any number that grows with time; None if unknown.
    """

    user: NDArray[np.int32]
    item: NDArray[np.int32]
    value: NDArray[np.float32]
    time: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        n = len(self.user)
        if not len(self.item) == len(self.value) == n or (self.time is not None and len(self.time) != n):
            raise ValueError("user, item, value and time must have one length")
        if n and (self.user.min() < 0 or self.item.min() < 0 or not np.isfinite(self.value).all()):
            raise ValueError("ids must be >= 0 and values finite")

    def __len__(self) -> int:
        return len(self.user)

    def __getitem__(self, rows: NDArray[Any]) -> Interactions:
        time = None if self.time is None else self.time[rows]
        return Interactions(self.user[rows], self.item[rows], self.value[rows], time)

    def joined(self, other: Interactions) -> Interactions:
        """These events and then the others; time is kept only if both have it."""
        time = None if self.time is None or other.time is None else np.concatenate([self.time, other.time])
        user, item = np.concatenate([self.user, other.user]), np.concatenate([self.item, other.item])
        return Interactions(user, item, np.concatenate([self.value, other.value]), time)


@dataclass(frozen=True)
class Histories:
    """What scorers read: for each row the past interactions, as CSR arrays of a declared width.

    Args:
        indptr: (n_rows + 1,) int64.
        items: (nnz,) int32 internal item ids.
        values: (nnz,) float32, how much the event counts (1 = a plain like); finite.
        ages: (nnz,) float32, 0 = the row's latest event, 1 = the one before; ties share their mean rank.
            Ages and sizes stay as they are when items are taken out (`keep`), so a score that is linear in the row stays so.
        n_items: width of the catalogue.
        sizes: (n_rows,) float32, the sum of the row's values before any event was taken out; None: the sum of those it has now.
        liked: (nnz,) bool, whether the event is a like; None: all are.
    """

    indptr: NDArray[np.int64]
    items: NDArray[np.int32]
    values: NDArray[np.float32]
    ages: NDArray[np.float32]
    n_items: int
    sizes: NDArray[np.float32] | None = None
    liked: NDArray[np.bool_] | None = None

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]], n_items: int) -> Histories:
        """From lists of internal item ids, oldest first.

        >>> Histories.of([[2, 0], []], n_items=3).csr().toarray()
        array([[1., 0., 1.],
               [0., 0., 0.]], dtype=float32)
        """
        indptr = np.concatenate([[0], np.cumsum([len(r) for r in rows])]).astype(np.int64)
        items = np.array([i for r in rows for i in r], dtype=np.int32)
        ages = np.array([a for r in rows for a in range(len(r) - 1, -1, -1)], dtype=np.float32)
        return cls(indptr, items, np.ones(len(items), np.float32), ages, n_items)

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @property
    def shape(self) -> tuple[int, int]:
        """(n_rows, n_items)."""
        return len(self), self.n_items

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """(n_rows,) past items of each row."""
        return np.diff(self.indptr)

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """(nnz,) row of each entry."""
        return np.repeat(np.arange(len(self)), self.lengths)

    @cached_property
    def full_sizes(self) -> NDArray[np.float32]:
        """(n_rows,) `sizes`, or the present sums of values."""
        if self.sizes is not None:
            return self.sizes
        return np.bincount(self.rows, self.values, minlength=len(self)).astype(np.float32)

    @cached_property
    def likes(self) -> Histories:
        """The same rows with only the likes; ages and sizes stay as they were."""
        return self if self.liked is None else replace(self.keep(self.liked), liked=None)

    @cached_property
    def targets(self) -> Histories:
        """The likes, each as 1, whatever it counts in the history: what a scorer is to find."""
        plain = bool((self.likes.values == 1).all())
        return self.likes if plain else replace(self.likes, values=np.ones(len(self.likes.items), np.float32))

    def csr(self, decay: float = 0.0, size_power: float = 0.0) -> csr_array:
        """(n_rows, n_items) float32: value * exp(-age / decay) / size^size_power; decay 0 = all ages count alike."""
        data = self.values * np.exp(-self.ages / decay) if decay else self.values
        if size_power:
            data = data / self.full_sizes[self.rows] ** size_power
        return csr_array((data.astype(np.float32), self.items, self.indptr), shape=self.shape)

    def __getitem__(self, rows: slice | NDArray[Any] | Sequence[int]) -> Histories:
        rows = np.arange(len(self))[rows]
        lengths = self.lengths[rows]
        starts = self.indptr[:-1][rows]
        indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        take = np.repeat(starts - indptr[:-1], lengths) + np.arange(indptr[-1])
        sizes = None if self.sizes is None else self.sizes[rows]
        liked = None if self.liked is None else self.liked[take]
        return Histories(indptr, self.items[take], self.values[take], self.ages[take], self.n_items, sizes, liked)

    def keep(self, mask: NDArray[np.bool_]) -> Histories:
        """The same rows with only the entries where `mask` (nnz,) is true; ages and sizes stay as they were."""
        lengths = np.bincount(self.rows[mask], minlength=len(self))
        indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        liked = None if self.liked is None else self.liked[mask]
        return Histories(indptr, self.items[mask], self.values[mask], self.ages[mask], self.n_items, self.full_sizes, liked)

    def blocks(self, size: int = 1024) -> Iterable[tuple[slice, Histories]]:
        """Consecutive row blocks, so that nothing of size users x items is ever held."""
        for start in range(0, len(self), size):
            rows = slice(start, min(start + size, len(self)))
            yield rows, self[rows]


@dataclass(frozen=True)
class Catalog:
    """One row an item: `title`, `text` (what BERT reads; "" if none) and attribute columns of tuples of str."""

    frame: pd.DataFrame  # (n_items,) columns title, text, <attribute>...; RangeIndex = internal id

    def __post_init__(self) -> None:
        missing = {"title", "text"} - set(self.frame.columns)
        if missing:
            raise ValueError(f"catalog lacks {sorted(missing)}")

    @classmethod
    def of_titles(cls, titles: Iterable[str]) -> Catalog:
        """A catalogue of which only titles are known; they are the texts too."""
        names = [str(t) for t in titles]
        return cls(pd.DataFrame({"title": names, "text": names}))

    def __len__(self) -> int:
        return len(self.frame)

    @cached_property
    def titles(self) -> NDArray[np.object_]:
        """(n_items,) str, read-only."""
        out = np.array(self.frame["title"], dtype=object)
        out.flags.writeable = False
        return out

    @property
    def texts(self) -> list[str]:
        """(n_items) what BERT reads of each item; "" where there is nothing. For one item, `text` is quicker."""
        return [str(t) for t in self.frame["text"]]

    def text(self, item: int) -> str:
        """What BERT reads of one item."""
        return str(self.frame["text"].iloc[item])

    @property
    def attributes(self) -> list[str]:
        """Names of the columns that are attributes."""
        return [c for c in self.frame.columns if c not in ("title", "text", "image")]

    def indicator(self, attribute: str) -> csr_array:
        """(n_items, n_values) float32, 1 where the item has the value; values in the order of their names."""
        values = self.frame[attribute].tolist()
        names = {v: n for n, v in enumerate(sorted({v for row in values for v in row}))}
        rows = [i for i, row in enumerate(values) for v in set(row)]
        columns = [names[v] for row in values for v in set(row)]
        return csr_array((np.ones(len(rows), np.float32), (rows, columns)), shape=(len(values), len(names)))

    @property
    def topic(self) -> str | None:
        """The attribute with the most values an item (genres, tags), or None if there is no attribute."""
        return max(self.attributes, key=lambda a: self.indicator(a).nnz, default=None)

    def topics(self) -> csr_array | None:
        """The indicator of `topic`, or None if there is no attribute."""
        return None if self.topic is None else self.indicator(self.topic)


@dataclass(frozen=True)
class Dataset:
    """Interactions, catalog and users, in internal ids, with the vocabularies that lead back outside.

    Args:
        threshold: a value at or above it is a like (positive); None: every interaction is one (implicit data).
        notes: one sentence for each thing that was dropped or merged while reading, with its count.
        learn_from: "met": histories hold all that a user has met, each event counting by its value; "liked": likes only, each 1.
    """

    name: str
    users: Vocabulary
    items: Vocabulary
    interactions: Interactions
    catalog: Catalog
    user_table: pd.DataFrame = field(default_factory=pd.DataFrame)  # (n_users,) attribute columns, or empty
    threshold: float | None = None
    notes: tuple[str, ...] = ()
    learn_from: str = "met"

    def __post_init__(self) -> None:
        events = self.interactions
        if len(events) and (events.user.max() >= len(self.users) or events.item.max() >= len(self.items)):
            raise ValueError("an interaction points outside the vocabularies")
        if len(self.catalog) != len(self.items):
            raise ValueError(f"catalog has {len(self.catalog)} rows for {len(self.items)} items")
        if len(self.user_table.columns) and len(self.user_table) != len(self.users):
            raise ValueError(f"user table has {len(self.user_table)} rows for {len(self.users)} users")

    @cached_property
    def liked(self) -> NDArray[np.bool_]:
        """(n_interactions,) true where the interaction is positive."""
        value = self.interactions.value
        return np.ones(len(value), bool) if self.threshold is None else value >= self.threshold

    @cached_property
    def unmet(self) -> NDArray[np.bool_]:
        """(n_items,) true for items without a single interaction, liked or not: new, as far as these data know."""
        return np.asarray(np.bincount(self.interactions.item, minlength=len(self.items)) == 0)

    def subset(self, rows: NDArray[Any]) -> Dataset:
        """The same users and items with only some of the interactions (mask or positions)."""
        return replace(self, interactions=self.interactions[rows])

    @cached_property
    def strengths(self) -> NDArray[np.float32]:
        """(n_interactions,) how much each counts in a history, 1 = as a like does on average.

        The ridit of its value (Bross 1958, How to use ridit analysis): the share of interactions with a lower value and half of
        those with the same one, over the mean of this among likes. So on any scale the worst rating counts next to nothing, what
        just missed being a like about half, and the best one more than a like at the threshold. Without a threshold values may be
        counts of any kind, and all count 1.
        """
        value = self.interactions.value
        if self.threshold is None or not self.liked.any():
            return np.ones(len(value), np.float32)
        _, level, count = np.unique(value, return_inverse=True, return_counts=True)
        ridit = (np.cumsum(count) - count / 2)[level]
        return np.asarray(ridit / ridit[self.liked].mean(), np.float32)

    def histories(self) -> Histories:
        """What scorers read, one row a user, (n_users, n_items): see `learn_from`. Built once, so treat it as frozen."""
        return self._histories

    @cached_property
    def _histories(self) -> Histories:
        if self.threshold is None or self.learn_from == "liked":
            return self.likes()
        return histories_of(self.interactions, len(self.users), len(self.items), self.strengths, self.liked)

    def likes(self) -> Histories:
        """Likes alone, (n_users, n_items), values 1: what is to be recommended, and judged by. Built once, as `histories`."""
        return self._likes

    @cached_property
    def _likes(self) -> Histories:
        return histories_of(self.interactions[self.liked], len(self.users), len(self.items))

    def met(self) -> Histories:
        """Everything a user has met, liked or not; what a list hides by default. Built once, as `histories`."""
        return self._met

    @cached_property
    def _met(self) -> Histories:
        return histories_of(self.interactions, len(self.users), len(self.items))

    def hidden(self, hide: str) -> Histories:
        """What lists leave out, if they hide all that was "met", or only what was "liked"."""
        return self.met() if hide == "met" else self.likes()

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over ids, events, texts, attributes and the threshold."""
        h = hashlib.sha256(repr((SCHEMA, self.threshold)).encode())
        for vocabulary in (self.users, self.items):
            h.update("\x00".join(vocabulary.ids).encode())
        e = self.interactions
        for array in (e.user, e.item, e.value, *(() if e.time is None else (e.time,))):
            h.update(np.ascontiguousarray(array).tobytes())
        for table in (self.catalog.frame, self.user_table):
            for name in table.columns:
                h.update(json.dumps([name, table[name].tolist()], default=str).encode())
        return h.hexdigest()

    def summary(self) -> dict[str, Any]:
        """Counts an analyst asks for first; `sparsity` is the share of empty user-item pairs, 0-1."""
        n_users, n_items, n = len(self.users), len(self.items), len(self.interactions)
        return {
            "name": self.name,
            "users": n_users,
            "items": n_items,
            "interactions": n,
            "likes": int(self.liked.sum()),
            "threshold": self.threshold,
            "sparsity": 1 - n / (n_users * n_items) if n_users * n_items else float("nan"),
            "items_with_text": sum(bool(t.strip()) for t in self.catalog.texts),
            "attributes": self.catalog.attributes,
        }

    def _repr_html_(self) -> str:
        """Counts, what reading dropped, and the first items, for notebooks; all text escaped."""
        told = self.summary()
        counts = {key.replace("_", " "): told[key] for key in ("users", "items", "interactions", "likes", "items_with_text")}
        liked = "every interaction" if self.threshold is None else f"a value of {self.threshold:g} or more"
        head, texts = self.catalog.frame.iloc[:SHOWN], [show.cut(t, 80) for t in self.catalog.texts[:SHOWN]]
        more = [[", ".join(map(str, values)) for values in head[name]] for name in told["attributes"]]
        likes = np.bincount(self.interactions.item[self.liked], minlength=len(self.items)).tolist()
        rows = zip(self.items.ids, head["title"], *more, texts, likes, strict=False)  # as many as the head has
        return show.page(
            f"Dataset {self.name}",
            show.facts(counts | {"empty pairs": f"{told['sparsity']:.1%}", "a like is": liked}),
            show.folded("what reading left out or merged", self.notes),
            show.table(("item", "title", *told["attributes"], "text", "likes"), rows),
        )

    def save(self, folder: Path) -> None:
        """Write a prepared folder: three Parquet tables and dataset.json. `load_prepared` reads it back unchanged."""
        folder.mkdir(parents=True, exist_ok=True)
        e = self.interactions
        events = {"user": e.user, "item": e.item, "value": e.value, **({} if e.time is None else {"time": e.time})}
        pd.DataFrame(events).to_parquet(folder / "interactions.parquet", index=False)
        self.catalog.frame.assign(item_id=self.items.ids).to_parquet(folder / "items.parquet", index=False)
        self.user_table.assign(user_id=self.users.ids).to_parquet(folder / "users.parquet", index=False)
        facts = {"schema": SCHEMA, "name": self.name, "threshold": self.threshold, "notes": self.notes}
        text = json.dumps({**facts, "fingerprint": self.fingerprint}, indent=1, ensure_ascii=False)
        (folder / "dataset.json").write_text(text + "\n", encoding="utf-8")


def rank_in_group(group: NDArray[Any], key: NDArray[Any]) -> NDArray[np.int64]:
    """(n,) position of each entry among those of its `group` (n,) small integers, sorted by `key` (n,).

    >>> rank_in_group(np.array([1, 0, 1]), np.array([9, 5, 2]))
    array([1, 0, 0])
    """
    order = np.lexsort((key, group))
    starts = np.concatenate([[0], np.cumsum(np.bincount(group))])[:-1] if len(group) else np.zeros(0, np.int64)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order)) - starts[group[order]]
    return rank


def histories_of(
    events: Interactions,
    n_users: int,
    n_items: int,
    values: NDArray[np.float32] | None = None,
    liked: NDArray[np.bool_] | None = None,
) -> Histories:
    """Group events by user, oldest first; equal times share their mean rank, so that no id decides an order.

    `values` (n,) what each counts, None: 1; `liked` (n,) as in Histories.
    """
    time = np.zeros(len(events), np.int64) if events.time is None else events.time
    order = np.lexsort((events.item, time, events.user))
    user, item = events.user[order], events.item[order]
    indptr = np.concatenate([[0], np.cumsum(np.bincount(user, minlength=n_users))]).astype(np.int64)
    if events.time is None:
        ages = np.zeros(len(events), np.float32)
    else:
        ages = _mean_ages(user, time[order], indptr)
    values = np.ones(len(events), np.float32) if values is None else values[order]
    return Histories(indptr, item.astype(np.int32), values, ages, n_items, liked=None if liked is None else liked[order])


def amended(row: Histories, drop: ArrayLike, add: ArrayLike, *, timed: bool) -> Histories:
    """One row without the items `drop` and with likes of `add` (internal ids) as its latest events, in the order given.

    Ages and the row's size are counted anew, as if the data had been so; what stays keeps its value, what is added counts 1, and
    takes the place of what the row has of that item.
    """
    new = np.asarray(add, np.int64)
    kept = ~np.isin(row.items, np.concatenate([np.asarray(drop, np.int64), new]))
    items = np.concatenate([row.items[kept], new]).astype(np.int32)
    moments = np.concatenate([np.rint(-2 * row.ages[kept]), np.arange(1, len(new) + 1)]).astype(np.int64)  # ages are halves
    values = np.concatenate([row.values[kept], np.ones(len(new), np.float32)])
    liked = None if row.liked is None else np.concatenate([row.liked[kept], np.ones(len(new), bool)])
    events = Interactions(np.zeros(len(items), np.int32), items, values, moments if timed else None)
    return histories_of(events, 1, row.n_items, values, liked)


def _mean_ages(user: NDArray[Any], time: NDArray[Any], indptr: NDArray[np.int64]) -> NDArray[np.float32]:
    """Age ranks of events sorted by (user, time); a run of one user and one time gets the mean of its ranks."""
    n = len(user)
    if n == 0:
        return np.zeros(0, np.float32)
    starts = np.flatnonzero(np.r_[True, (user[1:] != user[:-1]) | (time[1:] != time[:-1])])
    sizes = np.diff(np.r_[starts, n])
    middle = starts + (sizes - 1) / 2  # mean position of each run
    last = indptr[user[starts].astype(np.int64) + 1] - 1  # position of the user's latest event
    return np.repeat(last - middle, sizes).astype(np.float32)


def load_prepared(folder: Path) -> Dataset:
    """Read what `Dataset.save` wrote. Raises UserError if it is of another schema or was changed."""
    facts = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    if facts.get("schema") != SCHEMA:
        raise UserError(f"{folder}/dataset.json: schema {facts.get('schema')}, this version reads {SCHEMA}; prepare it again")
    events, items, users = (pd.read_parquet(folder / f"{n}.parquet") for n in ("interactions", "items", "users"))
    time = events["time"].to_numpy(np.int64) if "time" in events else None
    interactions = Interactions(
        events["user"].to_numpy(np.int32), events["item"].to_numpy(np.int32), events["value"].to_numpy(np.float32), time
    )
    table = items.drop(columns="item_id")
    lists = {name: pd.Series([tuple(v) for v in table[name]], dtype=object) for name in Catalog(table).attributes}
    table = pd.DataFrame({name: lists.get(name, table[name]) for name in table.columns}, index=table.index)
    people, things = Vocabulary.of(users["user_id"]), Vocabulary.of(items["item_id"])
    told: dict[str, Any] = {"user_table": users.drop(columns="user_id"), "threshold": facts["threshold"]}
    dataset = Dataset(facts["name"], people, things, interactions, Catalog(table), notes=tuple(facts["notes"]), **told)
    if dataset.fingerprint != facts["fingerprint"]:
        raise UserError(f"{folder}: the tables do not match the fingerprint in dataset.json; prepare it again")
    return dataset
