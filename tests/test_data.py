"""Types: what they check, and that a history keeps order, ages and values."""

from __future__ import annotations

import json

import numpy as np
import pytest
from worlds import dataset_of, random_world

from recsys_core.data import Histories, Interactions, Vocabulary, histories_of, load_prepared
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
