"""Split interactions into train, valid and test; a Split is one label for each interaction.

Likes are split; dislikes follow by the same rule, so that no part knows what a user met later.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys_core.data import Dataset, Interactions, rank_in_group
from recsys_core.errors import UserError, unknown

TRAIN, VALID, TEST, UNUSED = 0, 1, 2, 3
KINDS = ("random", "leave-last", "time", "cold-items")


@dataclass(frozen=True)
class Split:
    """`part` (n_interactions,) int8: 0 train, 1 valid, 2 test, 3 unused; `timed`: nobody trains on what comes after a test."""

    part: NDArray[np.int8]
    how: str
    timed: bool = False

    def rows(self, *parts: int) -> NDArray[np.bool_]:
        """(n_interactions,) mask of the named parts."""
        return np.isin(self.part, parts)

    def counts(self, dataset: Dataset) -> dict[str, int]:
        """Likes in each part."""
        names = ("train", "valid", "test", "unused")
        return {n: int((dataset.liked & (self.part == i)).sum()) for i, n in enumerate(names)}


def make_split(dataset: Dataset, how: str, rng: np.random.Generator) -> Split:
    """A split by its name, checked: parts are not empty and nothing in training is later than what is tested."""
    makers = {"random": per_user_random, "leave-last": leave_last, "time": by_time, "cold-items": cold_items}
    if how not in makers:
        raise unknown("split", how, makers)
    split = makers[how](dataset, rng)
    check(dataset, split)
    return split


def per_user_random(dataset: Dataset, rng: np.random.Generator, *, valid: float = 0.1, test: float = 0.1) -> Split:
    """Of each user's likes (3 at least) a random share, at least one each, goes to valid and to test.

    Dislikes are split by the same shares. Leaks the future by construction: use `leave_last` or `by_time` to judge order.
    """
    key = rng.permutation(len(dataset.interactions))
    part = np.full(len(key), TRAIN, np.int8)
    for liked in (True, False):
        rows = np.flatnonzero(dataset.liked == liked)
        rank, size = _rank_in_user(dataset, rows, key[rows])
        n_test, n_valid = (np.rint(size * share).astype(int) for share in (test, valid))
        if liked:
            n_test, n_valid = (np.where(size >= 3, np.maximum(n, 1), 0) for n in (n_test, n_valid))
        part[rows[rank < n_test]] = TEST
        part[rows[(rank >= n_test) & (rank < n_test + n_valid)]] = VALID
    return Split(part, "random")


def leave_last(dataset: Dataset, rng: np.random.Generator) -> Split:
    """Each user's last like (3 likes at least) is tested, the one before it validates; later dislikes leave training too.

    Equal times are ordered by a seeded permutation, never by item id.
    """
    time = _time(dataset, "leave-last")
    key = rng.permutation(len(time))
    order = np.lexsort((key, time, dataset.interactions.user))
    user, liked = dataset.interactions.user[order], dataset.liked[order]
    position = np.arange(len(order))
    n_users = len(dataset.users)
    counts = np.bincount(user[liked], minlength=n_users)
    starts = np.concatenate([[0], np.cumsum(counts)])[:-1]
    liked_at = position[liked]
    enough = counts >= 3
    never = np.full(n_users, len(order))
    last, second = never.copy(), never.copy()
    last[enough] = liked_at[starts[enough] + counts[enough] - 1]
    second[enough] = liked_at[starts[enough] + counts[enough] - 2]
    part = np.full(len(order), TRAIN, np.int8)
    part[order[position >= second[user]]] = VALID
    part[order[position >= last[user]]] = TEST
    return Split(part, "leave-last", timed=True)


def by_time(dataset: Dataset, rng: np.random.Generator | None = None, *, valid: float = 0.1, test: float = 0.1) -> Split:
    """One cut in time for all users: the last share of the likes is tested, the share before it validates."""
    time = _time(dataset, "time")
    t_valid, t_test = np.quantile(time[dataset.liked], [1 - valid - test, 1 - test])
    return between(dataset, int(t_valid), int(t_test), None)


def between(dataset: Dataset, t_valid: int, t_test: int, t_end: int | None) -> Split:
    """Train before `t_valid`, valid before `t_test`, test before `t_end` (exclusive, same unit as the data's time)."""
    time = _time(dataset, "time")
    part = np.where(time < t_valid, TRAIN, np.where(time < t_test, VALID, TEST)).astype(np.int8)
    if t_end is not None:
        part[time >= t_end] = UNUSED
    return Split(part, "time", timed=True)


def rolling(dataset: Dataset, windows: int, *, share: float = 0.1) -> list[Split]:
    """Several time splits, oldest first; window n tests one `share` of the likes, the next window the share after it."""
    time = _time(dataset, "time")
    edges = np.quantile(time[dataset.liked], [1 - share * (windows + 1 - n) for n in range(windows + 2)])
    edges = edges.astype(np.int64)
    return [between(dataset, int(edges[n]), int(edges[n + 1]), int(edges[n + 2]) + (n + 1 == windows)) for n in range(windows)]


def cold_items(dataset: Dataset, rng: np.random.Generator, *, share: float = 0.1) -> Split:
    """A random share of all items is taken out of training altogether and tested.

    Of what is left, each user's random tenth of the likes validates, as in `per_user_random`.
    """
    out = np.zeros(len(dataset.items), bool)
    out[rng.permutation(len(out))[: max(1, round(len(out) * share))]] = True
    cold = out[dataset.interactions.item]
    inner = per_user_random(dataset.subset(~cold), rng, test=0.0)
    part = np.full(len(cold), TEST, np.int8)
    part[~cold] = np.where(inner.part == TEST, TRAIN, inner.part)
    return Split(part, "cold-items")


def given_test(dataset: Dataset, test: Interactions, rng: np.random.Generator) -> tuple[Dataset, Split]:
    """Judge on events that the user brings; they leave training if they are in the data too.

    Of the rest, each user's random tenth of the likes validates, as in `per_user_random`.
    """
    n_items = len(dataset.items)
    pair, tested = (e.user.astype(np.int64) * n_items + e.item for e in (dataset.interactions, test))
    rest = dataset.subset(~np.isin(pair, tested))
    joined = replace(rest, interactions=rest.interactions.joined(test))
    inner = per_user_random(rest, rng, test=0.0)
    part = np.where(inner.part == TEST, TRAIN, inner.part)
    split = Split(np.concatenate([part, np.full(len(test), TEST)]).astype(np.int8), "given")
    check(joined, split)
    return joined, split


def check(dataset: Dataset, split: Split) -> None:
    """Raise UserError if a part holds no like, or (timed splits) if a user's training event is later than a test event."""
    for name, n in split.counts(dataset).items():
        if n == 0 and name != "unused":
            raise UserError(f"split {split.how!r} leaves no likes in {name}; use more data or another split")
    if not split.timed:
        return
    time, user = _time(dataset, split.how), dataset.interactions.user
    latest = np.full(len(dataset.users), np.iinfo(np.int64).min)
    train, test = split.part == TRAIN, np.isin(split.part, (VALID, TEST))
    np.maximum.at(latest, user[train], time[train])
    bad = np.flatnonzero(test & (time < latest[user]))
    if len(bad):
        raise UserError(f"split {split.how!r}: user {dataset.users.ids[user[bad[0]]]} has a training event after a tested one")


def _time(dataset: Dataset, how: str) -> NDArray[np.int64]:
    if dataset.interactions.time is None:
        raise UserError(
            f"split {how!r} needs a time column; the data has none. Map one (--map time=COLUMN) or use --split random"
        )
    return dataset.interactions.time


def _rank_in_user(dataset: Dataset, rows: NDArray[Any], key: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """For each of `rows`: its rank by `key` among the user's rows, and how many rows the user has."""
    user = dataset.interactions.user[rows]
    return rank_in_group(user, key), np.bincount(user, minlength=len(dataset.users))[user]
