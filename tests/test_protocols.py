"""Ways of judging: the full ranking is that of reports; ties, samples and the future as worked by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from recsys_core.data import Catalog, Dataset, Histories, Interactions, Vocabulary
from recsys_core.errors import UserError
from recsys_core.evaluate import evaluate
from recsys_core.protocols import Ranks, future, ranks
from recsys_core.run import Run
from recsys_core.splits import TEST, by_time, leave_last, make_split, per_user_random


class Fixed:
    """The same scores for everybody."""

    def __init__(self, scores: list[float]) -> None:
        self.scores = np.array(scores, np.float32)

    def score(self, histories: Histories, items: Any = None) -> Any:
        return np.tile(self.scores, (len(histories), 1))


def data(pairs: list[tuple[int, int]], n_items: int, times: list[int] | None = None) -> Dataset:
    user, item = np.array(pairs, np.int32).reshape(-1, 2).T
    time = None if times is None else np.array(times, np.int64)
    events = Interactions(user.copy(), item.copy(), np.ones(len(user), np.float32), time)
    return Dataset(
        "made", Vocabulary.of(range(2)), Vocabulary.of(range(n_items)), events, Catalog.of_titles("abcdefgh"[:n_items])
    )


def test_full_ranking_is_that_of_reports(tiny_run: Run) -> None:
    tested = tiny_run.dataset.subset(tiny_run.split.rows(TEST))
    mine = ranks(tiny_run.model, tiny_run.known, tested).ndcg(10)
    told = evaluate(tiny_run, k=10).per_user["hybrid:ndcg"]
    np.testing.assert_allclose(mine, told)
    assert not np.allclose(ranks(tiny_run.model, tiny_run.known, tested, hide_as="nothing").ndcg(10), told)


@pytest.mark.parametrize(("ties", "rank"), [("best", 2), ("worst", 4), ("number", 3)])
def test_who_wins_a_tie(ties: str, rank: int) -> None:
    found = ranks(Fixed([1, 3, 1, 1, 0]), data([(0, 4)], 5), data([(0, 2)], 5), ties=ties)
    assert found.rank.tolist() == [rank]
    assert found.ndcg(10) == pytest.approx([1 / np.log2(1 + rank)])
    assert found.others.tolist() == [3]  # items 0, 1, 3; 4 is known


def test_two_tied_likes_do_not_share_a_place() -> None:
    found = ranks(Fixed([1, 1, 1, 1]), data([(0, 3)], 4), data([(0, 0), (0, 2)], 4), ties="best")
    assert sorted(found.rank) == [1, 2]
    assert found.ndcg(10).tolist() == [1.0]


def test_the_fixed_permutation_favours_no_number() -> None:
    known, model = data([(0, 0)], 8), Fixed([0.0] * 8)
    found = [ranks(model, known, data([(0, n)], 8)).rank[0] for n in range(1, 8)]
    assert sorted(found) == list(range(1, 8))
    assert found != sorted(found)


def test_what_cannot_be_scored_or_is_hidden_has_no_rank() -> None:
    model, tested = Fixed([np.nan, 2, 1]), data([(0, 0), (0, 1)], 3)
    found = ranks(model, data([(0, 2)], 3), tested)
    assert sorted(found.rank) == [1, np.inf]
    assert sorted(ranks(model, data([(0, 1)], 3), tested).rank) == [np.inf, np.inf]
    assert sorted(ranks(model, data([(0, 1)], 3), tested, hide_as="nothing").rank) == [1, np.inf]


class ShortLists(Fixed):
    """Must know what is hidden to choose what it scores, as `cross_encoder` does."""

    def score_beyond(self, histories: Histories, hidden: Histories) -> Any:
        self.told = hidden.items.tolist()
        return self.score(histories)


def test_short_lists_are_told_what_is_hidden() -> None:
    known = replace(data([(0, 0), (0, 1)], 4), threshold=2)
    known = replace(known, interactions=replace(known.interactions, value=np.array([5, 1], np.float32)))
    told = {}
    for hide_as in ("met", "liked", "nothing"):
        ranks(model := ShortLists([4, 3, 2, 1]), known, data([(0, 3)], 4), hide_as=hide_as)
        told[hide_as] = model.told
    assert told == {"met": [0, 1], "liked": [0], "nothing": []}


def test_candidates_may_be_few() -> None:
    among = np.array([True, False, True, False])
    found = ranks(Fixed([1, 4, 3, 2]), data([(1, 1)], 4), data([(0, 0), (1, 3)], 4), among=among)
    assert found.users.tolist() == [0]
    assert found.rank.tolist() == [2]
    with pytest.raises(UserError, match="nothing can be judged"):
        ranks(Fixed([1, 4, 3, 2]), data([(0, 1)], 4), data([(0, 3)], 4), among=among)


def test_a_sample_of_all_is_the_full_ranking_and_a_small_one_flatters() -> None:
    scores = np.arange(8.0)[::-1].tolist()
    found = ranks(Fixed(scores), data([(0, 0)], 8), data([(0, 4)], 8))  # items 1, 2, 3 are better: rank 4
    rng = np.random.default_rng(0)
    assert found.sampled_ndcg(10, 100, rng) == pytest.approx(found.ndcg(10))
    assert found.ndcg(10) == pytest.approx([1 / np.log2(5)])
    alone = np.mean([found.sampled_ndcg(10, 1, rng)[0] for _ in range(2000)])  # 3 of 6 others are better
    assert alone == pytest.approx(1 / 2 * 1 + 1 / 2 / np.log2(3), abs=0.02)


def test_better_likes_are_no_negatives() -> None:
    found = ranks(Fixed([3, 2, 1, 0]), data([(1, 0)], 4), data([(0, 0), (0, 1), (0, 2)], 4))
    assert found.ahead.tolist() == [0, 0, 0]
    assert found.sampled_ndcg(10, 5, np.random.default_rng(0)).tolist() == [1.0]


def test_unknown_ways_are_told() -> None:
    one = data([(0, 0)], 2)
    with pytest.raises(UserError, match="ties"):
        ranks(Fixed([0, 0]), one, data([(0, 1)], 2), ties="bets")
    with pytest.raises(UserError, match="hide_as"):
        ranks(Fixed([0, 0]), one, data([(0, 1)], 2), hide_as="seen")


def test_future_worked_by_hand() -> None:
    events = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    dataset = data(events, 3, times=[1, 2, 3, 4, 5, 6])
    rng = np.random.default_rng(0)
    last = future(dataset, leave_last(dataset, rng))  # tested at 3 and 6; known at 1, 2, 4, 5
    assert last.own == 0
    assert last.all == pytest.approx((2 / 4 + 0) / 2)
    cut = future(dataset, by_time(dataset, valid=0.2, test=0.2))
    assert (cut.own, cut.all) == (0, 0)
    random = [future(dataset, per_user_random(dataset, np.random.default_rng(n))) for n in range(9)]
    assert max(f.own for f in random) > 0


def test_future_needs_times(tiny_run: Run) -> None:
    assert future(tiny_run.dataset, tiny_run.split).own > 0  # the random split leaks
    bare = data([(0, 0), (0, 1), (0, 2)], 3)
    with pytest.raises(UserError, match="no time column"):
        future(bare, make_split(bare, "random", np.random.default_rng(0)))


def test_ranks_hold_one_row_a_judged_user(tiny_run: Run) -> None:
    tested = tiny_run.dataset.subset(tiny_run.split.rows(TEST))
    found = ranks(tiny_run.model, tiny_run.known, tested)
    assert isinstance(found, Ranks)
    assert len(found.rank) == tested.liked.sum()
    assert pd.Series(found.row).nunique() == len(found.users)
