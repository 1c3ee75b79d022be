"""Types: what they check, and that a history keeps order, ages and values."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from worlds import dataset_of, random_world

from recsys_core.data import Histories, Interactions, Vocabulary, amended, histories_of, load_prepared
from recsys_core.errors import UserError


def test_vocabulary_leads_both_ways_and_names_the_nearest_id() -> None:
    vocabulary = Vocabulary.of(["10", "20", "abc"])
    assert vocabulary.codes(["abc", 10]).tolist() == [2, 0]
    with pytest.raises(UserError, match=r"unknown item 'abd'.*Did you mean 'abc'\?"):
        vocabulary.codes(["abd"], "item")
    with pytest.raises(UserError, match="unique"):
        Vocabulary.of(["a", "a"])


def test_interactions_refuse_what_cannot_be() -> None:
    one = np.zeros(1, np.int32)
    with pytest.raises(ValueError, match="one length"):
        Interactions(one, np.zeros(2, np.int32), np.ones(1, np.float32))
    with pytest.raises(ValueError, match="finite"):
        Interactions(one, one, np.array([np.nan], np.float32))


def test_ages_count_from_the_latest_and_ties_share_their_mean_rank() -> None:
    events = Interactions(
        np.array([0, 0, 0, 0, 1], np.int32),
        np.array([5, 1, 2, 3, 4], np.int32),
        np.ones(5, np.float32),
        np.array([30, 10, 20, 20, 7], np.int64),
    )
    h = histories_of(events, 3, 6)
    first = dict(zip(h[[0]].items.tolist(), h[[0]].ages.tolist(), strict=True))
    assert first == {1: 3.0, 2: (1 + 2) / 2, 3: (1 + 2) / 2, 5: 0.0}
    assert h.lengths.tolist() == [4, 1, 0]
    assert h.csr(decay=2.0)[0, 1] == pytest.approx(np.exp(-3 / 2))


def test_rows_and_masks_keep_what_they_should() -> None:
    h = Histories.of([[0, 1, 2], [], [3, 1]], n_items=4)
    assert h[[2, 0]].csr().toarray().tolist() == [[0, 1, 0, 1], [1, 1, 1, 0]]
    kept = h.keep(h.items != 2)
    assert kept.csr().toarray().tolist() == [[1, 1, 0, 0], [0, 0, 0, 0], [0, 1, 0, 1]]
    assert kept.ages.tolist() == [2, 1, 1, 0]  # unchanged by what was taken out
    assert np.concatenate([b.items for _, b in h.blocks(2)]).tolist() == h.items.tolist()


def test_prepared_data_comes_back_unchanged_and_tampering_is_found(tmp_path) -> None:
    data = random_world()
    data.save(tmp_path / "d")
    again = load_prepared(tmp_path / "d")
    assert again.fingerprint == data.fingerprint
    assert again.interactions.time.tolist() == data.interactions.time.tolist()
    facts = json.loads((tmp_path / "d" / "dataset.json").read_text())
    (tmp_path / "d" / "dataset.json").write_text(json.dumps({**facts, "threshold": 3}))
    with pytest.raises(UserError, match="fingerprint"):
        load_prepared(tmp_path / "d")
    (tmp_path / "d" / "dataset.json").write_text(json.dumps({**facts, "schema": 99}))
    with pytest.raises(UserError, match="schema 99"):
        load_prepared(tmp_path / "d")


def test_fingerprint_sees_every_part() -> None:
    data = dataset_of([(0, 0), (1, 1)], 2, 2)
    others = [
        dataset_of([(0, 0), (1, 0)], 2, 2),
        dataset_of([(0, 0), (1, 1)], 2, 2, values=[1, 2]),
        dataset_of([(0, 0), (1, 1)], 2, 2, times=[0, 5]),
        dataset_of([(0, 0), (1, 1)], 2, 2, texts=["a", "b"]),
        dataset_of([(0, 0), (1, 1)], 2, 2, threshold=1),
    ]
    assert len({d.fingerprint for d in (data, *others)}) == 6


def test_a_history_counts_each_event_by_the_rank_of_its_rating() -> None:
    events = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
    data = dataset_of(events, 2, 4, values=[1, 3, 5, 4, 4], times=[1, 2, 3, 1, 2], threshold=4)
    # of five ratings: 1 alone is lowest, then 3, then the two 4s, then 5; below each, and half of its equals
    ridit = {1: 0.5 / 5, 3: 1.5 / 5, 4: 3 / 5, 5: 4.5 / 5}
    mean = (ridit[4] + ridit[4] + ridit[5]) / 3  # of the likes
    rows = data.histories()
    assert rows.items.tolist() == [0, 1, 2, 0, 1]
    assert rows.values.tolist() == pytest.approx([ridit[r] / mean for r in (1, 3, 5, 4, 4)])
    assert rows.liked is not None
    assert rows.liked.tolist() == [False, False, True, True, True]
    assert rows.full_sizes.tolist() == pytest.approx([(ridit[1] + ridit[3] + ridit[5]) / mean, 2 * ridit[4] / mean])
    assert rows.likes.items.tolist() == [2, 0, 1]
    assert rows.likes.full_sizes.tolist() == pytest.approx(rows.full_sizes.tolist())  # as when any event is taken out
    assert (rows.targets.values == 1).all()
    assert (rows[[1]].liked == [True, True]).all()
    assert data.likes().items.tolist() == [2, 0, 1]
    assert data.likes().ages.tolist() == [0, 1, 0]


def test_without_ratings_or_when_told_so_a_history_is_its_likes() -> None:
    events, values = [(0, 0), (0, 1), (1, 1)], [1, 5, 5]
    rated = dataset_of(events, 2, 2, values=values, threshold=4)
    for data in (replace(rated, learn_from="liked"), replace(rated, threshold=None)):
        rows = data.histories()
        assert rows.liked is None
        assert rows is data.likes()
        assert (rows.values == 1).all()
    assert len(rated.histories().items) == 3
    assert rated.subset(rated.liked).histories().values.tolist() == [1, 1]  # one rating only: it says nothing


def test_a_like_takes_the_place_of_what_the_row_has_of_the_item() -> None:
    data = dataset_of([(0, 0), (0, 1)], 1, 3, values=[1, 5], times=[1, 2], threshold=4)
    made = amended(data.histories(), [], [0, 2], timed=True)
    assert made.items.tolist() == [1, 0, 2]
    assert made.liked is not None
    assert made.liked.all()
    assert made.values[1:].tolist() == [1, 1]
