"""Two towers: the closed forms hold, the texts and the ids are what is learned from, a kill costs nothing."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from encoders import tiny_bert

from recsys_core.data import Catalog, Dataset, Histories, Interactions, Vocabulary
from recsys_core.errors import UserError
from recsys_core.scorers import _towers
from recsys_core.scorers.bert import BertConfig, Model

TOPICS = (("robot", "space", "alien"), ("love", "kiss", "wedding"))
SMALL = {"dim": 8, "epochs": 12, "batch_users": 16, "device": "cpu"}


def two_tastes(n_users: int = 40, n_items: int = 24, likes: int = 6, seed: int = 0) -> Dataset:
    """User u likes items of topic u % 2 only; item i has topic i % 2, as its text says. Nobody has met the last two."""
    rng = np.random.default_rng(seed)
    colours = ("red", "blue", "night", "day")
    texts = [f"{TOPICS[i % 2][i // 2 % 3]} {TOPICS[i % 2][i // 6 % 3]} {colours[i % 4]}" for i in range(n_items)]
    item = [2 * rng.choice(n_items // 2 - 1, likes, replace=False) + u % 2 for u in range(n_users)]
    items = np.concatenate(item).astype(np.int32)
    events = Interactions(
        np.repeat(np.arange(n_users), likes).astype(np.int32),
        items,
        np.ones(len(items), np.float32),
        np.tile(np.arange(likes), n_users).astype(np.int64),
    )
    frame = pd.DataFrame({"title": texts, "text": texts})
    return Dataset("tastes", Vocabulary.of(range(n_users)), Vocabulary.of(range(n_items)), events, Catalog(frame))


def with_texts(dataset: Dataset, texts: list[str]) -> Dataset:
    return dataclasses.replace(dataset, catalog=Catalog(dataset.catalog.frame.assign(text=texts)))


def fitted(dataset: Dataset, encoder: str, seed: int = 0, **settings: Any) -> Model:
    return Model(BertConfig(encoder=encoder, **{**SMALL, **settings})).fit(dataset, np.random.default_rng(seed))


def arrays(model: Model) -> dict[str, bytes]:
    return {name: np.asarray(value).tobytes() for name, value in model.learned().items()}


@pytest.fixture(scope="module")
def model(tiny: str, tmp_path_factory: pytest.TempPathFactory) -> Model:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WHYREC_CACHE", str(tmp_path_factory.mktemp("cache")))
        return fitted(two_tastes(), tiny, tune="head", decay=5.0, max_history=4)


def trainer(*, ids: bool = True) -> _towers.Trainer:
    """Texts are random numbers here; items 22 and 23 have no likes."""
    vectors = np.random.default_rng(0).normal(size=(24, 16)).astype(np.float32)
    histories = two_tastes().histories()
    return _towers.Trainer(BertConfig(**SMALL, ids=ids), histories, vectors, np.ones(24, bool), np.random.default_rng(1))


@pytest.mark.parametrize("ids", [True, False])
@pytest.mark.parametrize("loss", ["softmax", "in_batch"])
def test_unmet_items_go_to_those_whose_taste_their_text_meets(tiny: str, loss: str, ids: bool) -> None:
    dataset = two_tastes()
    model = fitted(dataset, tiny, tune="head", epochs=40, patience=40, loss=loss, ids=ids)
    gap = np.diff(model.score(dataset.histories())[:, -2:], axis=1)[:, 0]  # romance minus robots, both unmet
    right = np.where(np.arange(len(gap)) % 2, gap > 0, gap < 0)
    assert right.mean() > 0.9
    assert model.history[-1]["loss"] < model.history[0]["loss"]
    assert set(model.history[0]) == {"epoch", "loss", "metric", "value"}


def test_items_without_likes_are_their_texts_alone_and_no_negatives() -> None:
    import torch

    trained = trainer()
    heads = trained.arrays()
    trained.run()
    met = np.arange(24) < 22
    for name in ("user_ids_", "item_ids_", "bias_ids_"):
        assert (trained.arrays()[name][~met] == 0).all()
        assert (trained.arrays()[name][met] != heads[name][met]).all()
    loss = trained.loss(trained.seen[:4], trained.bank)
    (gradient,) = torch.autograd.grad(loss, trained.heads["item_ids_"])
    assert (gradient[22:] == 0).all()
    assert (gradient[:22] != 0).any(1).all()
    assert not {"user_ids_", "item_ids_", "bias_ids_"} & set(trainer(ids=False).arrays())


def test_ids_tell_items_of_one_text_apart(tiny: str) -> None:
    same = with_texts(two_tastes(), ["love", "robot"] * 12)
    apart = {ids: fitted(same, tiny, tune="head", epochs=3, ids=ids).item_vectors_ for ids in (True, False)}
    np.testing.assert_allclose(apart[False][0], apart[False][2], atol=1e-6)
    assert not np.allclose(apart[True][0], apart[True][2], atol=1e-3)


def test_the_loss_is_the_multinomial_likelihood_of_a_history_of_which_a_part_was_shown() -> None:
    import torch

    trained = trainer()
    state = trained.generator.get_state()
    batch = trained.seen[:2]
    loss = trained.loss(batch, trained.bank).item()
    shown = torch.rand(len(batch.items), generator=trained.generator.set_state(state)).numpy() >= 0.5
    parts, items, bias = _towers.towers(trained.arrays(), trained.bank.numpy())
    rows = []
    for n in range(2):
        at = batch.rows == n
        seen = batch.items[at & shown]
        logits = (parts[seen].sum(0) / math.sqrt(max(len(seen), 1)) @ items.T + bias)[:22]
        rows.append(-(logits[batch.items[at]] - np.log(np.exp(logits).sum())).sum())
    assert loss == pytest.approx(np.mean(rows), rel=1e-5)


def test_score_is_the_stated_formula(model: Model) -> None:
    history = Histories.of([[0, 2, 4, 6, 8]], 24)
    latest, weights = [2, 4, 6, 8], np.exp(-np.array([3, 2, 1, 0]) / 5)
    parts = weights[:, None] * model.history_vectors_[latest] @ model.item_vectors_.T / math.sqrt(4)  # (4, 24)
    parts[range(4), latest] = 0  # that an item was met says nothing for it
    np.testing.assert_allclose(model.score(history)[0], parts.sum(0) + model.bias_, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.score(Histories.of([[]], 24))[0], model.bias_)


def test_batch_is_single_and_items_are_columns(model: Model) -> None:
    histories = two_tastes().histories()
    scores = model.score(histories)
    np.testing.assert_allclose(scores[3:4], model.score(histories[[3]]), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(scores[:, [5, 1]], model.score(histories, np.array([5, 1])), rtol=1e-5, atol=1e-6)


def test_contributions_are_shapley_values(model: Model) -> None:
    history = Histories.of([[0, 3, 4, 6, 8]], 24)  # item 0 is older than max_history
    items = np.array([1, 10])
    given = model.contributions(history, items)
    np.testing.assert_allclose(given.sum(0), model.score(history, items)[0] - model.bias_[items], atol=1e-5)
    assert (given[0] == 0).all()

    def value(members: tuple[int, ...]) -> np.ndarray:
        return model.score(history.keep(np.isin(np.arange(5), members)), items)[0].astype(float)

    players = (1, 2, 3, 4)
    for player in players:
        others = [p for p in players if p != player]
        total = np.zeros(2)
        for size in range(4):
            for members in itertools.combinations(others, size):
                weight = math.factorial(size) * math.factorial(3 - size) / math.factorial(4)
                total += weight * (value((*members, player)) - value(members))
        np.testing.assert_allclose(given[player], total, atol=1e-5)
    with pytest.raises(ValueError, match="one history row"):
        model.contributions(two_tastes().histories(), items)


def test_new_texts_are_scored_as_items_without_likes_are(model: Model, tiny: str) -> None:
    dataset = two_tastes()
    histories, texts = dataset.histories(), [*dataset.catalog.texts[20:], ""]
    scores = model.score_texts(histories, texts)
    np.testing.assert_allclose(scores[:, 2:4], model.score(histories, np.arange(22, 24)), rtol=1e-4, atol=1e-4)
    assert not np.allclose(scores[:, :2], model.score(histories, np.arange(20, 22)), atol=1e-2)  # their likes count too
    assert np.isnan(scores[:, 4]).all()
    textual = fitted(dataset, tiny, tune="head", ids=False)
    expected, own = textual.score(histories, np.arange(20, 24)), histories.csr().toarray()[:, 20:24] > 0
    found = textual.score_texts(histories, texts)[:, :4]
    np.testing.assert_allclose(found[~own], expected[~own], rtol=1e-4, atol=1e-4)
    assert (found[own] != expected[own]).all()  # of an item's own past nothing is known to a text


def test_items_without_text_are_nan_and_count_for_nobody(tiny: str, caplog: pytest.LogCaptureFixture) -> None:
    dataset = two_tastes()
    with caplog.at_level(logging.WARNING):
        model = fitted(with_texts(dataset, ["", *dataset.catalog.texts[1:]]), tiny, tune="head", epochs=2)
    assert "1 of 24 items have no text" in caplog.text
    scores = model.score(Histories.of([[2, 4], [2, 0, 4]], 24))
    assert np.isnan(scores[:, 0]).all()
    assert np.isfinite(scores[:, 1:]).all()
    without_bias = (scores - model.bias_)[:, 1:]
    np.testing.assert_allclose(without_bias[0] * np.sqrt(2), without_bias[1] * np.sqrt(3), atol=1e-4)


@pytest.mark.parametrize("texts", ["", "love"])
def test_a_world_with_nothing_to_learn_still_scores(tiny: str, texts: str) -> None:
    dataset = two_tastes()
    empty = dataclasses.replace(dataset, interactions=dataset.interactions[np.arange(1)])
    for world in (with_texts(dataset, [texts] * 24), empty):
        scores = fitted(world, tiny, tune="head", epochs=1).score(dataset.histories())
        assert scores.shape == (40, 24)
        assert np.isnan(scores).all() == (world is not empty and not texts)


def test_shuffled_texts_change_scores(tiny: str) -> None:
    dataset = two_tastes()
    other = with_texts(dataset, dataset.catalog.texts[::-1])
    for tune in ("frozen", "head"):
        a, b = (fitted(d, tiny, tune=tune, epochs=2).score(d.histories()) for d in (dataset, other))
        assert not np.allclose(a, b, atol=1e-3)


@pytest.mark.parametrize("tune", ["frozen", "head", "top", "full"])
def test_save_and_load_keep_every_byte_and_the_encoder(tiny: str, tmp_path: Path, tune: str) -> None:
    dataset = two_tastes()
    model = fitted(dataset, tiny, tune=tune, epochs=3, warmup=1, batch_texts=8, lr_encoder=1e-3)
    model.save(tmp_path / "a")
    again = Model.load(tmp_path / "a")
    again.save(tmp_path / "b")
    for other in (again, Model.load(tmp_path / "b")):
        assert arrays(other) == arrays(model)
        assert other.score(dataset.histories()).tobytes() == model.score(dataset.histories()).tobytes()
        np.testing.assert_allclose(other.embed_texts(["alien"]), model.embed_texts(["alien"]), atol=1e-6)
    assert (tmp_path / "a" / "encoder").is_dir() == (tune in ("top", "full"))
    assert not list(tmp_path.rglob("*.pkl")) + list(tmp_path.rglob("*.bin"))


def test_tuning_moves_the_layers_it_names_and_no_other(tiny: str, tmp_path: Path) -> None:
    deep = tiny_bert(tmp_path / "deep", layers=3)
    frozen = fitted(two_tastes(), deep, tune="frozen").text_vectors_
    moved = {}
    for tune in ("head", "top", "full"):
        model = fitted(two_tastes(), deep, tune=tune, epochs=2, warmup=0, batch_texts=8, lr_encoder=1e-3)
        moved[tune] = not np.allclose(model.text_vectors_, frozen, atol=1e-4)
        if model._encoder is not None:
            wanted = {n for n, p in model._encoder.model.named_parameters() if p.requires_grad}
            assert any("layer.0." in n for n in wanted) == (tune == "full")
            assert any("embeddings" in n for n in wanted) == (tune == "full")
            assert any("layer.2." in n for n in wanted)
            np.testing.assert_allclose(model.text_vectors_, model.embed_texts(two_tastes().catalog.texts), atol=1e-6)
    assert moved == {"head": False, "top": True, "full": True}


@pytest.mark.parametrize("tune", ["head", "top"])
def test_same_seed_same_bytes_and_torch_is_left_as_it_was(tiny: str, tune: str) -> None:
    import torch

    settings = {"tune": tune, "epochs": 3, "warmup": 1, "batch_texts": 8}
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = arrays(fitted(two_tastes(), tiny, **settings))
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.are_deterministic_algorithms_enabled()
    torch.manual_seed(2)
    assert arrays(fitted(two_tastes(), tiny, **settings)) == first
    assert arrays(fitted(two_tastes(), tiny, seed=1, **settings)) != first


@pytest.mark.parametrize("tune", ["head", "top"])
def test_training_goes_on_after_a_kill_with_the_same_result(
    tiny: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tune: str,
) -> None:
    config = BertConfig(encoder=tiny, **{**SMALL, "epochs": 5}, tune=tune, warmup=1, batch_texts=8)
    whole = Model(config).fit(two_tastes(), np.random.default_rng(0))
    one_epoch = _towers.Trainer._one_epoch

    def killed(trainer: _towers.Trainer) -> None:
        if trainer.epoch == 2:
            raise KeyboardInterrupt
        one_epoch(trainer)

    stopped = Model(config)
    stopped.checkpoint = tmp_path / "bert.safetensors"
    monkeypatch.setattr(_towers.Trainer, "_one_epoch", killed)
    with pytest.raises(KeyboardInterrupt):
        stopped.fit(two_tastes(), np.random.default_rng(0))
    epochs: list[int] = []
    monkeypatch.setattr(_towers.Trainer, "_one_epoch", lambda t: (one_epoch(t), epochs.append(t.epoch))[0])
    stopped.fit(two_tastes(), np.random.default_rng(0))
    assert epochs == [3, 4, 5]
    assert arrays(stopped) == arrays(whole)
    assert [h["loss"] for h in stopped.history] == [h["loss"] for h in whole.history]
    stopped.fit(two_tastes(), np.random.default_rng(1))  # another seed: the file is not its own
    assert epochs == [3, 4, 5, 1, 2, 3, 4, 5]


def test_refit_forgets(tiny: str) -> None:
    again = fitted(two_tastes(), tiny, tune="head", epochs=2)
    again.config = BertConfig(encoder=tiny, tune="frozen")
    again.fit(two_tastes(seed=3), np.random.default_rng(0))
    assert arrays(again) == arrays(fitted(two_tastes(seed=3), tiny, tune="frozen"))
    assert again.history == []


def test_an_item_met_again_is_no_new_target() -> None:
    histories = Histories.of([[1, 0, 1], [2, 2]], 3)
    np.testing.assert_array_equal(_towers.latest_of_each(histories), [False, True, True, False, True])
    np.testing.assert_array_equal(_towers.recent(histories, 1), [False, False, True, False, True])


def test_wrong_settings_say_the_fix() -> None:
    with pytest.raises(UserError, match="Did you mean 'head'"):
        BertConfig(tune="heads")
    with pytest.raises(UserError, match="in_batch"):
        BertConfig(loss="bpr")
    with pytest.raises(UserError, match="below 1"):
        BertConfig(history_dropout=1.0)


def test_whitened_vectors_are_principal_axes_of_one_variance_and_of_length_one() -> None:
    raw = np.random.default_rng(0).normal(size=(200, 5)) @ np.diag([9, 3, 1, 1, 0.1]) + 7
    for most, kept in ((2, 2), (9, 5)):
        z = _towers.whitened(_towers.whitening(raw.astype(np.float32), most), raw)
        np.testing.assert_allclose(z.mean(0), 0, atol=1e-4)
        np.testing.assert_allclose(np.cov(z.T, bias=True), np.eye(kept) / kept, atol=1e-3)
    assert abs(np.corrcoef(z[:, 0], raw[:, 0])[0, 1]) > 0.9
    assert _towers.whitening(np.ones((4, 3), np.float32), 2)["whiten_"].shape == (3, 0)


def test_one_like_of_every_third_user_is_held_out() -> None:
    likes = two_tastes().histories()
    kept, held = _towers.hold_out(likes, np.random.default_rng(0), 2000)
    assert held.lengths.max() == 1
    assert held.lengths.sum() == 13
    assert (kept.lengths + held.lengths == likes.lengths).all()
    assert len(_towers.hold_out(likes, np.random.default_rng(0), 5)[1].items) == 5


def test_the_epoch_is_chosen_by_a_smoothed_value(monkeypatch: pytest.MonkeyPatch) -> None:
    values = iter([0.1, 0.9, 0.5, 0.5, 0.5, 0.5, 0.5, 0.2, 0.1, 0.1, 0.1, 0.1])
    monkeypatch.setattr(_towers.Trainer, "validate", lambda _: next(values))
    trained = trainer()
    passes: list[bytes] = []
    one_epoch = _towers.Trainer._one_epoch
    monkeypatch.setattr(
        _towers.Trainer, "_one_epoch", lambda t: (one_epoch(t), passes.append(t.arrays()["centre_"].tobytes()))[0]
    )
    trained.run()
    assert passes.index(trained.arrays()["centre_"].tobytes()) == 5  # of the five values up to it, one is 0.9 and none is 0.1
