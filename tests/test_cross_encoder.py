"""The pair model learns a taste from texts, scores a short-list only, and keeps within its budget."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_bert import two_tastes, with_texts

from recsys_core.data import Histories
from recsys_core.errors import UserError
from recsys_core.scorers.cross_encoder import CrossEncoderConfig, Model, make_pairs

SMALL = {"lr": 3e-3, "epochs": 1, "max_pairs": 32, "batch_size": 16, "candidates": 6, "device": "cpu"}


def fitted(encoder: str, seed: int = 0, **settings: Any) -> Model:
    return Model(CrossEncoderConfig(encoder=encoder, **{**SMALL, **settings})).fit(two_tastes(), np.random.default_rng(seed))


@pytest.fixture(scope="module")
def model(tiny: str) -> Model:
    return fitted(tiny, epochs=12, patience=12, max_pairs=600)


def test_it_learns_whose_taste_a_text_meets(model: Model) -> None:
    losses, values = ([epoch[k] for epoch in model.history] for k in ("loss", "value"))
    assert losses[-1] < losses[0]
    assert max(values) > 0.7
    assert {epoch["metric"] for epoch in model.history} == {"auc"}
    histories = two_tastes().histories()
    users = np.arange(len(histories))
    own, other = (model.score_pairs(histories, 22 + (users + n) % 2) for n in (0, 1))  # the two items nobody has met
    assert (own > other).mean() > 0.8


def test_only_the_short_list_has_scores_and_none_is_of_the_history(model: Model) -> None:
    histories = two_tastes().histories()
    scores = model.score(histories)
    assert scores.dtype == np.float32
    assert (np.isfinite(scores).sum(axis=1) == 6).all()
    assert np.isnan(scores[histories.rows, histories.items]).all()
    some = np.array([7, 3, 0])
    np.testing.assert_allclose(model.score(histories, some), scores[:, some], atol=1e-5)


def test_another_short_list_can_be_set(model: Model) -> None:
    other = Model(model.config)
    vars(other).update(vars(model))
    other.shortlist = lambda histories: np.tile([5, 0, -1], (len(histories), 1))
    scores = other.score(Histories.of([[2], [4]], 24))
    np.testing.assert_array_equal(np.flatnonzero(np.isfinite(scores[0])), [0, 5])


def test_a_short_catalogue_gives_a_short_list(model: Model) -> None:
    chosen = model.popular(Histories.of([list(range(22)), []], 24))
    assert sorted(chosen[0].tolist()) == [-1, -1, -1, -1, 22, 23]
    assert (np.diff(model.popularity_[chosen[1]]) <= 0).all()


def test_pairs_hold_likes_after_their_past_and_negatives_outside_it() -> None:
    likes = Histories.of([[0, 1, 2], [3, 4]], 8)
    usable = np.array([1, 1, 1, 1, 1, 1, 1, 0], bool)
    pairs = make_pairs(likes, usable, CrossEncoderConfig(negatives=2), np.random.default_rng(0))
    found = {}
    for n in range(len(pairs)):
        past = tuple(pairs.histories[[n]].items.tolist())
        found.setdefault((past, int(pairs.item[n])), []).append(pairs.label[n])
        row = {0, 1, 2} if 0 in past else {3, 4}
        assert (pairs.item[n] in row) == bool(pairs.label[n])
        assert pairs.item[n] != 7
    assert sorted(k for k, v in found.items() if v == [1.0]) == [((0,), 1), ((0, 1), 2), ((3,), 4)]
    assert len(make_pairs(likes, usable, CrossEncoderConfig(max_pairs=2), np.random.default_rng(0))) <= 2


def test_same_seed_same_scores_and_torch_is_left_as_it_was(tiny: str) -> None:
    import torch

    torch.manual_seed(1)
    state = torch.get_rng_state()
    histories = two_tastes().histories()
    first = fitted(tiny).score(histories)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert fitted(tiny).score(histories).tobytes() == first.tobytes()
    assert fitted(tiny, seed=1).score(histories).tobytes() != first.tobytes()


def test_a_time_budget_stops_training(tiny: str) -> None:
    assert len(fitted(tiny, epochs=50, patience=50, max_seconds=1e-6).history) == 1


def test_save_and_load_keep_the_scores(model: Model, tmp_path: Path) -> None:
    histories = two_tastes().histories()
    model.save(tmp_path / "a")
    again = Model.load(tmp_path / "a")
    again.save(tmp_path / "b")  # before its weights were ever used
    for folder in ("a", "b"):
        assert Model.load(tmp_path / folder).score(histories).tobytes() == model.score(histories).tobytes()
    assert not list(tmp_path.rglob("*.bin"))


def test_items_without_text_are_nan(tiny: str) -> None:
    world = with_texts(two_tastes(), ["", *two_tastes().catalog.texts[1:]])
    blind = Model(CrossEncoderConfig(encoder=tiny, **{**SMALL, "candidates": 24})).fit(world, np.random.default_rng(0))
    scores = blind.score(Histories.of([[1, 3], [0]], 24))
    assert np.isnan(scores[:, 0]).all()
    assert np.isfinite(scores[0, 4:]).all()


def test_more_tokens_than_the_network_has_are_cut(tiny: str) -> None:
    long = with_texts(two_tastes(), ["love robot " * 60] * 24)
    model = Model(CrossEncoderConfig(encoder=tiny, **{**SMALL, "max_length": 500})).fit(long, np.random.default_rng(0))
    assert np.isfinite(model.score(long.histories())).any()


def test_nothing_to_learn_from_is_said(tiny: str) -> None:
    with pytest.raises(UserError, match="nothing to learn"):
        Model(CrossEncoderConfig(encoder=tiny, **SMALL)).fit(with_texts(two_tastes(), [""] * 24), np.random.default_rng(0))
