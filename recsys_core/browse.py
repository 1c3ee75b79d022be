"""What a page needs of one run and one user: find people, their past, their list under any weights, with parts.

In: a Run, external user ids, a Blend. Out: plain frames in external ids; every list is checked to add up before it leaves.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys_core import pictures
from recsys_core.data import Dataset, Histories
from recsys_core.hybrid import Blend, sigmoid
from recsys_core.opened import stored
from recsys_core.ranking import hide, top_k
from recsys_core.scorers.base import Scores

if TYPE_CHECKING:
    from recsys_core.run import Run

TOLERANCE = 1e-5  # log-odds; float32 sums of a dozen parts stay below it
EPOCHS = (1e8, 5e9)  # times in this range are taken as seconds since 1970 (years 1973 to 2128)


@dataclass(frozen=True)
class Headline:
    """NDCG@k of the hybrid, 0-1, higher is better: `part` is "test" with a 95% interval, or "valid" without one (NaN)."""

    part: str
    k: int
    mean: float
    low: float
    high: float
    n: int

    @property
    def half(self) -> float:
        """Half the width of the interval."""
        return (self.high - self.low) / 2


@dataclass(frozen=True)
class Found:
    """Users or items that match a search: `frame` has user_id, likes and the attributes, or item_id and title; at most `limit`
    rows of `total`."""

    frame: pd.DataFrame
    total: int


@dataclass(frozen=True)
class Person:
    """One user as the model sees them, computed once; any blend is cheap from here.

    Args:
        z: (1, n_items, components) standardised scores, NaN = cannot score; read-only.
        hidden: one row, what the list leaves out.
        learned_rank: (n_items,) place under the learned blend, 1 = best, 0 = not a candidate.
        n_past: items in the history.
        row: the history, one row.
    """

    user: str
    z: Scores
    hidden: Histories
    learned_rank: NDArray[np.int64]
    n_past: int
    row: Histories


@dataclass(frozen=True)
class UserList:
    """A top-K list and what the weights did to it.

    Args:
        frame: one row an item, best first: rank in this list, score_rank (its place by score alone, the same where nothing is
            re-ranked), learned_rank, item_id, title, year, tags, logit, probability, base, cold, new (not in the learned top K),
            `part_<component>` (NaN = not available).
        left: rows of the learned top K, or where a list is re-ranked of the top K by score, that are in this list no more:
            item_id, title, learned_rank, rank (by score).
        n_candidates, n_hidden: items ranked, and items left out.
        gap: largest |base + parts - logit| of the list.
        lead: component with the largest mean part, and in how many items it is the largest; None if no part is above zero.
        lead_mean, mean_above: mean of its part, and of all parts together, log-odds above the base.
        n_missing: parts that are not available.
    """

    frame: pd.DataFrame
    left: pd.DataFrame
    n_candidates: int
    n_hidden: int
    gap: float
    lead: str | None
    n_lead: int
    lead_mean: float
    mean_above: float
    n_missing: int


def run_facts(path: Path) -> dict[str, str]:
    """Name, data set and day of a run, for a picker; "" where the files do not say."""
    facts = {"name": path.name, "data": "", "date": ""}
    try:
        facts["date"] = str(_json(path / "manifest.json").get("created", ""))[:10]
        facts["data"] = str(_json(path / "metrics.json")["data"]["name"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass  # opening the run tells what is wrong with it
    return facts


def headline(run: Run) -> Headline:
    """The test figure if the run has been evaluated and its report can be read, else the validation figure."""
    try:
        stored(run)
        rows = pd.read_parquet(run.path / "report.parquet")
        row = rows[(rows["model"] == "hybrid") & (rows["metric"] == "ndcg") & (rows["segment"] == "all")].iloc[0]
        return Headline("test", int(row["k"]), float(row["mean"]), float(row["low"]), float(row["high"]), int(row["n"]))
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        pass  # not evaluated, or damaged: the page Overview tells which
    valid = run.metrics["valid"]
    return Headline("valid", int(valid["k"]), float(valid["hybrid"]), math.nan, math.nan, int(valid["users"]))


def calibration(run: Run) -> tuple[float, int] | None:
    """(expected calibration error, number of recommendations judged) on the test set; None if not evaluated."""
    try:
        facts = stored(run)["calibration"]
        return float(facts["ece"]), int(sum(row["n"] for row in facts["table"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def search_users(run: Run, query: str, *, limit: int) -> Found:
    """Users that match every word: an id or its beginning, an attribute's value, or `attribute=value`; case is ignored.

    An exact id comes first, then ids that begin with the query, then the others in the order of the data.
    """
    order = matching_users(run, query)
    return Found(user_frame(run).iloc[order[:limit]].reset_index(drop=True), len(order))


def matching_users(run: Run, query: str) -> NDArray[np.int64]:
    """All of them, as internal ids, in that order."""
    table = user_frame(run)
    match = np.ones(len(table), bool)
    for word in query.casefold().split():
        match &= _matches(table, word)
    ids = table["user_id"].str.casefold()
    whole = query.strip().casefold()
    match |= (ids == whole).to_numpy()  # an id with a space in it
    near = np.where(ids == whole, 0, np.where(ids.str.startswith(whole), 1, 2))
    return np.flatnonzero(match)[np.argsort(near[match], kind="stable")]


def search_items(run: Run, query: str, *, limit: int) -> Found:
    """Items whose id or title holds every word, case ignored; nothing for an empty query. `frame` has item_id and title.

    An exact id comes first, then titles that begin with the query, then the others in the order of the data.
    """
    words, whole = query.casefold().split(), " ".join(query.casefold().split())
    ids, titles = run.dataset.items.ids.astype(str), run.dataset.catalog.titles.astype(str)
    if not words:
        return Found(pd.DataFrame({"item_id": ids[:0], "title": titles[:0]}), 0)
    folded = [" ".join(title.casefold().split()) for title in titles]
    near = [
        0 if i.casefold() == whole else 1 if t.startswith(whole) else 2 if all(w in t or w == i.casefold() for w in words) else 3
        for i, t in zip(ids, folded, strict=True)
    ]
    order = np.argsort(near, kind="stable")[: sum(n < 3 for n in near)]
    return Found(pd.DataFrame({"item_id": ids[order[:limit]], "title": titles[order[:limit]]}), len(order))


def user_frame(run: Run) -> pd.DataFrame:
    """One row a user: user_id, likes that the model knows, and the attributes."""
    attributes = run.dataset.user_table.reset_index(drop=True).drop(columns=["user_id", "likes"], errors="ignore")
    facts = pd.DataFrame({"user_id": run.dataset.users.ids, "likes": run.likes.lengths})
    return pd.concat([facts.astype({"user_id": "object"}), attributes], axis=1)


def _matches(table: pd.DataFrame, word: str) -> NDArray[np.bool_]:
    name, equals, value = word.partition("=")
    columns = {c.casefold(): c for c in table.columns}
    if equals and name in columns:
        return np.asarray(_folded(table[columns[name]]) == value)
    hit = _folded(table["user_id"]).str.startswith(word).to_numpy()
    for column in table.columns.drop(["user_id", "likes"]):
        hit = hit | (_folded(table[column]) == word).to_numpy()
    return np.asarray(hit)


def _folded(column: pd.Series[Any]) -> pd.Series[Any]:
    return column.astype(str).str.casefold()


def surprise(run: Run, rng: np.random.Generator) -> str:
    """A random user who has liked something, or any user if nobody has."""
    some = np.flatnonzero(run.histories.lengths)
    return str(run.dataset.users.ids[rng.choice(some if len(some) else np.arange(len(run.dataset.users)))])


def profile(run: Run, user: str) -> dict[str, str]:
    """Attributes of a user by name; empty if the data has none."""
    (code,) = run.dataset.users.codes([user], "user")
    table = run.dataset.user_table
    return {str(c): str(table[c].iloc[code]) for c in table.columns if not pd.isna(table[c].iloc[code])}


def history(run: Run, user: str) -> tuple[pd.DataFrame, int]:
    """What the model may know of a user, latest first, and how many more events are withheld for the test.

    Columns: item_id, title, year, tags, value, liked, when (a timestamp, a number, or missing).
    """
    (code,) = run.dataset.users.codes([user], "user")
    known = run.known.interactions
    rows = np.flatnonzero(known.user == code)
    events = known[rows]
    when = pd.Series([None] * len(rows)) if events.time is None else pd.Series(_moments(events.time))
    facts = {"value": events.value, "liked": run.known.liked[rows], "when": when}
    frame = pd.concat([items_of(run.dataset, events.item.astype(np.int64)), pd.DataFrame(facts)], axis=1)
    order = np.arange(len(rows)) if events.time is None else np.argsort(-events.time, kind="stable")
    withheld = int((run.dataset.interactions.user == code).sum()) - len(rows)
    return frame.iloc[order].reset_index(drop=True), withheld


def _moments(time: NDArray[np.int64]) -> Any:
    is_clock = len(time) > 0 and EPOCHS[0] <= time.min() and time.max() <= EPOCHS[1]
    return pd.to_datetime(time, unit="s") if is_clock else time


def items_of(dataset: Dataset, codes: NDArray[np.int64]) -> pd.DataFrame:
    """item_id, title, year ("" if none) and tags (tuple of str) of items."""
    table = dataset.catalog.frame
    columns = [c for c in dataset.catalog.attributes if c != "year"]
    tagged = "genres" if "genres" in columns else next(iter(columns), None)
    years = [_words(v) for v in table["year"].iloc[codes]] if "year" in table else [()] * len(codes)
    tags = [()] * len(codes) if tagged is None else [_words(v) for v in table[tagged].iloc[codes]]
    return pd.DataFrame(
        {
            "item_id": dataset.items.ids[codes],
            "title": dataset.catalog.titles[codes],
            "year": [" ".join(y) for y in years],
            "tags": pd.Series(tags, dtype=object),
        }
    )


def pictures_of(dataset: Dataset) -> dict[str, str]:
    """Addresses of pictures that a page may show, by item id; items without one are not there. What a file says is checked anew,
    as the run may come from somebody else."""
    table = dataset.catalog.frame
    cells = table["image"].tolist() if "image" in table else []
    found = zip(map(str, dataset.items.ids), map(pictures.address, cells), strict=False)
    return {item: address for item, address in found if address}


def _words(value: object) -> tuple[str, ...]:
    return tuple(str(v) for v in value) if isinstance(value, tuple | list) else (str(value),)


def person(run: Run, user: str, *, hide_as: str | None = None) -> Person:
    """Score every item for a user once, under all components.

    Args:
        hide_as: what lists leave out, "met" or "liked"; None takes the run's own convention.

    Raises UserError if the user is unknown.
    """
    codes = run.dataset.users.codes([user], "user")
    return person_of(run, user, run.histories[codes], run.hidden_by(hide_as)[codes])


def person_of(run: Run, user: str, row: Histories, hidden: Histories) -> Person:
    """The same for any history row, of somebody who need not be in the data; `hidden`: what the list leaves out."""
    z = run.model.z(row, hidden=hidden)
    ranks = _ranks(_order(run, z, hidden, run.model.blend), z.shape[1])
    for array in (z, ranks):
        array.flags.writeable = False
    return Person(user, z, hidden, ranks, int(row.lengths[0]), row)


def _order(run: Run, z: Scores, hidden: Histories, blend: Blend) -> NDArray[np.int64]:
    """All candidates, best first."""
    scores = hide(blend.logit(z, run.model.cold), hidden)
    items: NDArray[np.int64] = top_k(scores, scores.shape[1])[0]
    return np.asarray(items[items >= 0], np.int64)


def _ranks(order: NDArray[np.int64], n_items: int) -> NDArray[np.int64]:
    ranks = np.zeros(n_items, np.int64)
    ranks[order] = np.arange(1, len(order) + 1)
    return ranks


def order(run: Run, person: Person, blend: Blend) -> NDArray[np.object_]:
    """External ids of all candidates under a blend, best first."""
    return run.dataset.items.ids[_order(run, person.z, person.hidden, blend)]


def user_list(run: Run, person: Person, blend: Blend, *, k: int, items: NDArray[np.int64] | None = None) -> UserList:
    """The person's top K under a blend, beside their learned list; or these `items` (internal ids) in the order given, beside
    the top K by score.

    Raises:
        ArithmeticError: base and parts do not add up to a logit (a broken component).
    """
    order = _order(run, person.z, person.hidden, blend)
    ranks = _ranks(order, len(run.model.cold))
    was, items = (person.learned_rank, order[:k]) if items is None else (ranks, items)
    cold = run.model.cold[items]
    parts = blend.parts(person.z[:, items], cold)[0].astype(np.float64)  # (k, components)
    base = blend.base(cold).astype(np.float64)
    logit = blend.logit(person.z[:, items], cold)[0].astype(np.float64)
    gap = float(np.abs(base + np.nansum(parts, axis=1) - logit).max(initial=0.0))
    if not gap <= TOLERANCE:
        raise ArithmeticError(f"base and parts miss the logit by {gap:.2g} for user {person.user!r}")
    facts = {
        "rank": np.arange(1, len(items) + 1),
        "score_rank": ranks[items],
        "learned_rank": person.learned_rank[items],
        "logit": logit,
        "probability": sigmoid(logit),
        "base": base,
        "cold": cold,
        "new": person.learned_rank[items] > k,
    } | {f"part_{name}": parts[:, c] for c, name in enumerate(blend.names)}
    frame = pd.concat([items_of(run.dataset, items), pd.DataFrame(facts)], axis=1)
    gone = np.setdiff1d(np.flatnonzero((was >= 1) & (was <= k)), items)
    left = _left(run, person, ranks, gone[np.argsort(was[gone])])
    return UserList(frame, left, len(order), len(person.hidden.items), gap, *_lead(parts, blend.names))


def _left(run: Run, person: Person, ranks: NDArray[np.int64], gone: NDArray[np.int64]) -> pd.DataFrame:
    places = pd.DataFrame({"learned_rank": person.learned_rank[gone], "rank": ranks[gone]})
    return pd.concat([items_of(run.dataset, gone)[["item_id", "title"]], places], axis=1)


def _lead(parts: NDArray[np.float64], names: tuple[str, ...]) -> tuple[str | None, int, float, float, int]:
    known = np.nan_to_num(parts, nan=0.0)
    n_missing = int(np.isnan(parts).sum())
    if not known.size or known.mean(axis=0).max() <= 0:
        return None, 0, 0.0, float(known.sum(axis=1).mean()) if known.size else 0.0, n_missing
    lead = int(known.mean(axis=0).argmax())
    n_lead = int((known.argmax(axis=1) == lead).sum())
    return names[lead], n_lead, float(known[:, lead].mean()), float(known.sum(axis=1).mean()), n_missing


def weight_range(blend: Blend) -> tuple[float, float, float]:
    """(low, high, step) that suits all weights of a blend: 0 to a round number at least twice the largest; 50 steps.

    >>> weight_range(Blend(("a", "b"), (0, 0), (1, 1), (0.23, 0.0)))
    (0.0, 0.5, 0.01)
    """
    largest = max((abs(w) for w in blend.weights), default=0.0) or 0.5
    unit = 10.0 ** math.floor(math.log10(2 * largest))
    high = next(unit * m for m in (1, 2, 5, 10) if unit * m >= 2 * largest * (1 - 1e-9))
    return (-high if min(blend.weights, default=0.0) < 0 else 0.0), high, round(high / 50, 12)


def weight_shares(blend: Blend) -> dict[str, float]:
    """Each component's |weight| as a share of the total, 0-1; all 0 if every weight is."""
    total = sum(abs(w) for w in blend.weights)
    return {n: abs(w) / total if total else 0.0 for n, w in zip(blend.names, blend.weights, strict=True)}
