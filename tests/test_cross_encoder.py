"""The pair model learns a taste from texts, scores a short-list only, and keeps within its budget."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_bert import two_tastes, with_texts

from recsys_core.data import Histories
from recsys_core.errors import UserError
from recsys_core.scorers import cross_encoder
from recsys_core.scorers.cross_encoder import CrossEncoderConfig, Model, make_pairs
from recsys_core.scorers.popularity import Model as Popularity

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


def own_topic(model: Model) -> float:
    """Share of each user's taste (u % 2) among the first four items of the short-list, 0-1."""
    histories = two_tastes().histories()
    return float((model.shortlist(histories, histories)[:, :4] % 2 == np.arange(len(histories))[:, None] % 2).mean())


def test_the_short_list_follows_the_history_and_not_popularity(model: Model) -> None:
    assert own_topic(model) > 0.95
    popular = copy.copy(model)
    popular._finder = Popularity().fit(two_tastes(), np.random.default_rng(0))
    assert own_topic(popular) < 0.7


def test_hidden_items_take_no_place_of_the_short_list(model: Model) -> None:
    one = two_tastes().histories()[[0]]
    first = model.shortlist(one, one)[0]
    hidden = Histories.of([[*one.items, *first[:3]]], 24)
    assert not set(model.shortlist(one, hidden)[0]) & set(hidden.items)
    np.testing.assert_array_equal(model.shortlist(one, hidden)[0, :3], first[3:])
    assert np.isfinite(model.score_beyond(one, hidden)).sum() == 6
    assert np.isfinite(model.score(one)[0, first]).all()


def test_a_short_catalogue_gives_a_short_list_and_an_empty_history_the_popular_items(model: Model) -> None:
    few, none = model.shortlist(*[Histories.of([list(range(20)), []], 24)] * 2)
    assert sorted(few.tolist()) == [-1, -1, -1, -1, 20, 21]  # nobody has met 22 and 23
    assert (np.diff(model.popularity_[none]) <= 0).all()
    assert model.popularity_[none[0]] == model.popularity_.max()


def test_scores_stay_defined_while_past_items_are_masked(model: Model) -> None:
    row = two_tastes().histories()[[0]]
    items = model.shortlist(row, row)[0, -2:]
    masked = [row.keep(np.arange(len(row.items)) != n) for n in range(len(row.items))] + [row.keep(row.items < 0)]
    assert all(np.isfinite(model.pinned(items).score(m, items)).all() for m in masked)
    np.testing.assert_array_equal(model.pinned(items).score(row, items), model.score(row, items))
    assert not all(np.isfinite(model.score(m, items)).all() for m in masked)  # other items take their places


def test_a_pair_is_scored_once_and_not_too_many_are_remembered(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    fresh = Model._score_texts
    monkeypatch.setattr(
        Model, "_score_texts", lambda self, pasts, items: (asked.append(len(items)), fresh(self, pasts, items))[1]
    )
    monkeypatch.setattr(cross_encoder, "_scores", {})
    histories = two_tastes().histories()
    first = model.score(histories)
    assert model.score(histories[:5]).tobytes() == first[:5].tobytes()
    assert model.extend(two_tastes(), np.random.default_rng(0)).score(histories).tobytes() == first.tobytes()
    assert asked == [6 * len(histories)]
    monkeypatch.setattr(cross_encoder, "REMEMBERED", 10)
    model.score(two_tastes(seed=1).histories())
    assert len(cross_encoder._scores) == 10


def test_only_upper_layers_are_trained(tiny: str) -> None:
    import torch

    start = Model(CrossEncoderConfig(device="cpu"))
    with torch.random.fork_rng(devices=[]):
        start._open(Path(tiny), "cpu")
    before = start._net.state_dict()
    for layers, parts in ((0, set()), (1, {"1"}), (3, {"0", "1", "embeddings"})):
        after = fitted(tiny, layers=layers)._net.state_dict()
        moved = {name for name, p in after.items() if "classifier" not in name and not torch.equal(p, before[name])}
        assert {
            "embeddings" if "embeddings" in name else name.split("layer.")[1][0] for name in moved if "pooler" not in name
        } == parts


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
    assert np.isfinite(scores[0, 4:22]).all()


def test_more_tokens_than_the_network_has_are_cut(tiny: str) -> None:
    long = with_texts(two_tastes(), ["love robot " * 60] * 24)
    model = Model(CrossEncoderConfig(encoder=tiny, **{**SMALL, "max_length": 500})).fit(long, np.random.default_rng(0))
    assert np.isfinite(model.score(long.histories())).any()


def test_nothing_to_learn_from_is_said(tiny: str) -> None:
    with pytest.raises(UserError, match="nothing to learn"):
        Model(CrossEncoderConfig(encoder=tiny, **SMALL)).fit(with_texts(two_tastes(), [""] * 24), np.random.default_rng(0))
