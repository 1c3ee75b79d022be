"""Two lists side by side: of two blends, runs, users or histories, or one re-ranked. In: what `browse` makes. Out: plain frames.

Items are told apart by their external ids, so that lists of two runs can be laid beside each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys_core import browse, rerank
from recsys_core.analytics import POOL, attribute_shares, item_features, usable_rerankers
from recsys_core.browse import Person, UserList
from recsys_core.data import Histories
from recsys_core.differences import rank_biased_overlap
from recsys_core.errors import UserError
from recsys_core.evaluate import text_vectors
from recsys_core.hybrid import Blend
from recsys_core.ranking import hide, top_k
from recsys_core.recommend import Recommendations
from recsys_core.run import Run


@dataclass(frozen=True)
class Ranked:
    """A list: `frame` as `browse.UserList.frame`; `order`, external ids of all that have a place, best first."""

    frame: pd.DataFrame
    order: NDArray[np.object_]


@dataclass(frozen=True)
class Beside:
    """Two lists of at most k items and how far they are apart.

    Args:
        first, second: their frames, each with `other`, the item's place in the other ranking (0 = it has none there), and `both`,
            whether the other list shows it too.
        n_new, n_left: items of the second list alone, and of the first alone; n_moved: those of both, at another place.
        overlap: share of the second list's items that the first shows too, 0-1; rbo: rank-biased overlap, 0-1, 1 = the same list.
            Both are NaN where there is no list.
    """

    first: pd.DataFrame
    second: pd.DataFrame
    n_new: int
    n_left: int
    n_moved: int
    overlap: float
    rbo: float

    @property
    def same(self) -> bool:
        """The same items in the same order."""
        return not (self.n_new or self.n_left or self.n_moved)


def side_by_side(first: Ranked, second: Ranked) -> Beside:
    """Two lists, which should be asked for with one k."""
    a, b = _placed(first, second), _placed(second, first)
    both = a[a["both"]]
    return Beside(
        first=a,
        second=b,
        n_new=int((~b["both"]).sum()),
        n_left=int((~a["both"]).sum()),
        n_moved=int((_place_in(second.frame, both) != both["rank"]).sum()),
        overlap=float(b["both"].mean()) if len(b) else float("nan"),
        rbo=_rbo(list(a["item_id"]), list(b["item_id"])),
    )


def _placed(one: Ranked, other: Ranked) -> pd.DataFrame:
    ids = pd.Index(one.frame["item_id"], dtype=object)
    places = pd.Index(other.order, dtype=object).get_indexer(ids) + 1
    return one.frame.assign(other=places, both=ids.isin(other.frame["item_id"]))


def _place_in(frame: pd.DataFrame, rows: pd.DataFrame) -> NDArray[np.int64]:
    return np.asarray(frame.set_index("item_id")["rank"].reindex(rows["item_id"]), np.int64)


def _rbo(a: list[str], b: list[str]) -> float:
    codes = {item: n for n, item in enumerate(dict.fromkeys([*a, *b]))}
    k = max(len(a), len(b), 1)
    x, y = (np.array([[codes[i] for i in ids] + [-1] * (k - len(ids))], np.int64) for ids in (a, b))
    return float(rank_biased_overlap(x, y)[0])


# Re-ranked


@dataclass(frozen=True)
class Features:
    """What re-rankers know of a run's catalogue, as `analytics.item_features`, of all likes that the model knows."""

    of_items: Mapping[str, NDArray[np.float32]]

    @classmethod
    def of(cls, run: Run) -> Features:
        topics, vectors = run.dataset.catalog.topics(), text_vectors(run)
        inputs: dict[str, Any] = {"counts": run.fame, "n_users": len(run.dataset.users)}
        inputs |= {} if topics is None else {"attributes": topics.toarray()}
        inputs |= {} if vectors is None else {"vectors": vectors}
        return cls(item_features(inputs))

    @property
    def rerankers(self) -> list[str]:
        """Names of those for which the run has what they need."""
        return usable_rerankers({{"text": "vectors"}.get(name, name) for name in self.of_items})  # type: ignore[arg-type]

    def needed(self, name: str, items: NDArray[np.int64], history: Any) -> dict[str, Any]:
        """Inputs of a re-ranker for candidates `items` (m,) and a sparse history (1, n_items). Likeness is by attributes where
        there are any, else by text. Raises UserError for what the run lacks."""
        if name not in self.rerankers:
            raise UserError(f"re-ranker {name!r} needs attributes or text vectors of the items, and this run has none")
        tables = {
            "popularity": "popularity",
            "mass": "mass",
            "vectors": "attributes" if "attributes" in self.of_items else "text",
        }
        needs = rerank.get(name).needs
        made: dict[str, Any] = {need: self.of_items[tables[need]][items] for need in needs if need in tables}
        return made | ({"target": attribute_shares(history, self.of_items["mass"])[0]} if "target" in needs else {})


@dataclass(frozen=True)
class Reranking:
    """How lists are re-ranked: by name, at a strength of 0-1, with what is known of the items."""

    features: Features
    reranker: str
    strength: float
    pool: ClassVar[int] = POOL  # of how many lists' length it chooses

    def lists(self, deep: Recommendations, likes: Histories, *, k: int) -> Recommendations:
        """The k best of each row re-ranked, as `picked` does for one person: `deep` holds the pool * k best, and `likes` (same
        rows) are what a list is calibrated to. Raises UserError as `picked`."""
        columns = np.full((len(deep.items), k), -1)
        for row, items in enumerate(deep.items):
            n = int((items >= 0).sum())
            found = self.columns(deep.logit[row, :n], items[:n], likes[[row]], k=k)
            columns[row, : len(found)] = found
        return deep.picked(columns)

    def columns(self, scores: NDArray[np.float32], pool: NDArray[np.int64], likes: Histories, *, k: int) -> NDArray[np.int64]:
        """Which of the `pool` (m,) with `scores` (m,) are picked, best first, at most k; `likes`: one row."""
        known = rerank.get(self.reranker)
        given = self.features.needed(self.reranker, pool, likes.csr())
        found = known(scores[None], given, k=k, strength=self.strength)[0] if len(pool) else np.zeros(0, np.int64)
        return np.asarray(found[found >= 0], np.int64)


def user_list(run: Run, person: Person, blend: Blend, *, k: int, how: Reranking | None) -> UserList:
    """The person's top K, re-ranked if `how` says so. Raises UserError as `picked`."""
    return browse.user_list(run, person, blend, k=k, items=None if how is None else picked(run, person, blend, k=k, how=how))


def ranked(run: Run, person: Person, blend: Blend, *, k: int, how: Reranking | None = None) -> Ranked:
    """The same as one of two lists. Where it is re-ranked, what was not picked has no place. Raises UserError as `picked`."""
    frame = user_list(run, person, blend, k=k, how=how).frame
    return Ranked(frame, browse.order(run, person, blend) if how is None else frame["item_id"].to_numpy(dtype=object))


def reranked(run: Run, person: Person, blend: Blend, features: Features, *, k: int, reranker: str, strength: float) -> Ranked:
    """The person's list re-ranked. Raises UserError as `picked`."""
    return ranked(run, person, blend, k=k, how=Reranking(features, reranker, strength))


def top(run: Run, person: Person, blend: Blend, *, k: int, how: Reranking | None) -> NDArray[np.object_]:
    """External ids of the list alone, best first."""
    if how is None:
        return browse.order(run, person, blend)[:k]
    return run.dataset.items.ids[picked(run, person, blend, k=k, how=how)]


def picked(run: Run, person: Person, blend: Blend, *, k: int, how: Reranking) -> NDArray[np.int64]:
    """Internal ids of the person's list re-ranked, best first: among the POOL * k best candidates, as `analytics.measure` does
    for all. Raises UserError for an unknown re-ranker, one that the run cannot feed, or a strength outside 0-1."""
    scores = hide(blend.logit(person.z, run.model.cold), person.hidden)
    pool = top_k(scores, POOL * k)[0]
    pool = pool[pool >= 0]
    return np.asarray(pool[how.columns(scores[0, pool], pool, person.row.likes, k=k)], np.int64)
