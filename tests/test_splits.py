"""Splits: shares, no future in training, ties not decided by ids, and a check that can fail."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from worlds import dataset_of, random_world

from recsys_core import splits
from recsys_core.data import Interactions
from recsys_core.errors import UserError
from recsys_core.splits import TEST, TRAIN, VALID, Split


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_random_split_takes_a_tenth_of_each_users_likes_at_least_one() -> None:
    data = dataset_of([(0, i) for i in range(20)] + [(1, i) for i in range(5)] + [(2, 0), (2, 1)], 3, 20)
    split = splits.make_split(data, "random", rng())
    user = data.interactions.user
    assert [int((split.part[user == u] == TEST).sum()) for u in range(3)] == [2, 1, 0]
    assert [int((split.part[user == u] == VALID).sum()) for u in range(3)] == [2, 1, 0]


def test_leave_last_tests_the_latest_like_and_keeps_later_dislikes_out() -> None:
    data = dataset_of([(0, i) for i in range(6)], 1, 6, values=[5, 1, 5, 5, 1, 1], times=[1, 2, 3, 4, 5, 6], threshold=4)
    split = splits.leave_last(dataset_of([(0, i) for i in range(6)], 1, 6, values=[5, 1, 5, 5, 1, 1], threshold=4), rng())
    assert split.part.tolist() == [TRAIN, TRAIN, VALID, TEST, TEST, TEST]
    splits.check(data, split)


@pytest.mark.parametrize("how", ["leave-last", "time"])
def test_nothing_in_training_is_later_than_what_is_tested(how: str) -> None:
    data = random_world()
    split = splits.make_split(data, how, rng())
    time, user = data.interactions.time, data.interactions.user
    for u in np.unique(user[split.part == TEST]):
        mine = user == u
        if (mine & (split.part == TRAIN)).any():
            assert time[mine & (split.part == TRAIN)].max() <= time[mine & (split.part == TEST)].min()


def test_the_future_check_can_fail() -> None:
    data = dataset_of([(0, 0), (0, 1), (0, 2)], 1, 3, times=[3, 2, 1])
    wrong = Split(np.array([TRAIN, VALID, TEST], np.int8), "time", timed=True)
    with pytest.raises(UserError, match="training event after a tested one"):
        splits.check(data, wrong)


def test_ties_in_time_are_not_ordered_by_item_id() -> None:
    """Low ids are old and popular items: a tie broken by id would test only the obscure ones."""
    data = dataset_of([(u, i) for u in range(300) for i in range(4)], 300, 4, times=[7] * 1200)
    split = splits.leave_last(data, rng())
    tested = np.bincount(data.interactions.item[split.part == TEST], minlength=4)
    assert tested.min() > 40  # 75 expected


def test_cold_items_have_no_training_event_at_all() -> None:
    data = random_world()
    split = splits.make_split(data, "cold-items", rng())
    item = data.interactions.item
    assert not set(item[split.part == TEST]) & set(item[split.part != TEST])
    assert split.counts(data)["valid"] > 0


def test_rolling_windows_move_forward_and_do_not_overlap() -> None:
    data = dataset_of([(u, i) for u in range(10) for i in range(20)], 10, 20)
    windows = splits.rolling(data, 3)
    tests = [data.interactions.time[w.part == TEST] for w in windows]
    assert all(len(t) for t in tests)
    assert all(a.max() < b.min() for a, b in itertools.pairwise(tests))
    for window in windows:
        splits.check(data, window)
        assert data.interactions.time[window.part == TRAIN].max() < data.interactions.time[window.part == VALID].min()


def test_a_given_test_leaves_training() -> None:
    data = random_world()
    some = data.interactions[np.flatnonzero(data.liked)[:20]]
    joined, split = splits.given_test(data, some, rng())
    n_items = len(data.items)
    pair = joined.interactions.user.astype(int) * n_items + joined.interactions.item
    assert len(joined.interactions) == len(data.interactions)
    assert not set(pair[split.part == TEST]) & set(pair[split.part != TEST])
    assert int((split.part == TEST).sum()) == 20


def test_data_without_times_says_what_to_do() -> None:
    data = random_world()
    events = Interactions(data.interactions.user, data.interactions.item, data.interactions.value)
    timeless = data.__class__(data.name, data.users, data.items, events, data.catalog, threshold=4)
    with pytest.raises(UserError, match="--split random"):
        splits.make_split(timeless, "leave-last", rng())
    with pytest.raises(UserError, match=r"unknown split 'rnd'.*Did you mean 'random'"):
        splits.make_split(data, "rnd", rng())


def test_same_seed_same_split() -> None:
    data = random_world()
    for how in splits.KINDS:
        a, b = (splits.make_split(data, how, rng()).part for _ in range(2))
        assert (a == b).all()
