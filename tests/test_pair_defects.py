"""What makes a pair recommender stop, or run and mean nothing: a guard for each, and beside it a thing that the guard catches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from encoders import tiny_bert
from sklearn.metrics import roc_auc_score
from test_bert import fitted as fitted_towers
from test_bert import two_tastes
from test_cross_encoder import SMALL, fitted

from recsys_core.data import Catalog, Dataset, Histories, Interactions, Vocabulary
from recsys_core.pair_checks import check_cut, check_loss, check_score
from recsys_core.scorers import cross_encoder
from recsys_core.scorers.cross_encoder import CrossEncoderConfig, Model, Pairs, make_pairs

ROBOTS, ROMANCE = "robot space alien", "love kiss wedding"
Score = Callable[[str, str], float]  # of a history text and an item text


def is_item_blind(score: Score) -> bool:
    return all(abs(score(past, ROBOTS) - score(past, ROMANCE)) < 1e-6 for past in (ROBOTS, ROMANCE))


def is_history_blind(score: Score) -> bool:
    return all(abs(score(ROBOTS, item) - score(ROMANCE, item)) < 1e-6 for item in (ROBOTS, ROMANCE))


@pytest.fixture(scope="module")
def model(tiny: str) -> Model:
    return fitted(tiny, epochs=12, patience=12, max_pairs=600)


def pair_score(model: Model) -> Score:
    return lambda past, item: model.logits([past], [item]).item()


def overlap(a: Pairs, b: Pairs) -> set[tuple[Any, ...]]:
    keys = [{(*p.histories[[n]].items.tolist(), "->", int(p.item[n])) for n in range(len(p))} for p in (a, b)]
    return keys[0] & keys[1]


def spied(monkeypatch: pytest.MonkeyPatch, change: Callable[[Pairs], Pairs] = lambda pairs: pairs) -> list[Pairs]:
    """The pairs that a fit makes: train, then dev."""
    made: list[Pairs] = []

    def make(*args: Any) -> Pairs:
        made.append(change(make_pairs(*args)))
        return made[-1]

    monkeypatch.setattr(cross_encoder, "make_pairs", make)
    return made


# ---- what the score depends on


def test_the_score_follows_the_item(model: Model) -> None:
    score = pair_score(model)
    assert not is_item_blind(score)
    assert is_item_blind(lambda past, _: score(past, ""))


def test_the_score_follows_the_history(model: Model) -> None:
    score = pair_score(model)
    assert not is_history_blind(score)
    assert is_history_blind(lambda _, item: score("", item))


def test_towers_follow_item_and_history(tiny: str) -> None:
    towers = fitted_towers(two_tastes(), tiny, tune="head", epochs=3)
    past = {ROBOTS: Histories.of([[0, 2]], 24), ROMANCE: Histories.of([[1, 3]], 24)}

    def score(history: str, item: str) -> float:
        return float(towers.score_texts(past[history], [item])[0, 0])

    assert not is_item_blind(score)
    assert not is_history_blind(score)


def test_every_check_of_a_pair_model_passes(model: Model) -> None:
    texts = two_tastes().catalog.texts
    table = check_score(lambda past, item: model.logits(list(past), list(item)).detach().numpy(), texts[:2], texts[2:4])
    assert table["passed"].all(), table.to_string()
    blind = check_score(lambda past, item: model.logits(list(past), [""] * len(item)).detach().numpy(), texts[:2], texts[2:4])
    assert "follows the item" in set(blind.loc[~blind["passed"], "check"])


def test_user_and_item_lists_need_not_be_of_one_length(model: Model) -> None:
    assert model.score(Histories.of([[0], [1], [2, 4]], 24)).shape == (3, 24)


# ---- where the labels come from


def test_labels_are_likes_and_both_kinds_occur(monkeypatch: pytest.MonkeyPatch, tiny: str) -> None:
    for pairs in (made := spied(monkeypatch), fitted(tiny))[0]:
        assert set(pairs.label.tolist()) == {0.0, 1.0}
        topic = np.array([pairs.histories[[n]].items[0] % 2 for n in range(len(pairs))])
        assert (pairs.item[pairs.label == 1] % 2 == topic[pairs.label == 1]).all()
    assert len(made) == 2


def test_labels_do_not_come_from_the_texts() -> None:
    likes, config = two_tastes().histories(), CrossEncoderConfig()
    first, second = (make_pairs(likes, np.ones(24, bool), config, np.random.default_rng(0)) for _ in range(2))
    np.testing.assert_array_equal(first.label, second.label)
    alike = np.ones(len(first))  # the "similarity" of a pair of one-element vectors
    assert len(np.unique(first.label)) > len(np.unique(alike))


def test_permuted_labels_teach_nothing(model: Model, monkeypatch: pytest.MonkeyPatch, tiny: str) -> None:
    order = np.random.default_rng(7)
    spied(monkeypatch, lambda pairs: Pairs(pairs.histories, pairs.item, order.permutation(pairs.label)))
    permuted = fitted(tiny, epochs=6, patience=6, max_pairs=600)
    assert abs(np.mean([epoch["value"] for epoch in permuted.history]) - 0.5) < 0.15
    assert max(epoch["value"] for epoch in model.history) > 0.7


def test_auc_wants_binary_labels(model: Model) -> None:
    pairs = make_pairs(two_tastes().histories(), np.ones(24, bool), model.config, np.random.default_rng(0))
    assert 0 <= model.dev_auc(pairs) <= 1
    assert np.isnan(model.dev_auc(pairs[np.flatnonzero(pairs.label)]))
    with pytest.raises(ValueError, match="continuous"):
        roc_auc_score([0.2, 0.7, 0.9], [0, 1, 1])


def test_no_training_pair_is_a_dev_pair_and_none_is_tested(monkeypatch: pytest.MonkeyPatch, tiny: str) -> None:
    item = np.arange(60, dtype=np.int32)  # user u likes items 3u, 3u + 1, 3u + 2 and nobody else does
    events = Interactions(item // 3, item, np.ones(60, np.float32), item.astype(np.int64))
    catalog = Catalog(pd.DataFrame({"title": "x", "text": ["love", "robot"] * 30}))
    dataset = Dataset("own", Vocabulary.of(range(20)), Vocabulary.of(range(60)), events, catalog)
    tested = item % 3 == 2
    made = spied(monkeypatch)
    Model(CrossEncoderConfig(encoder=tiny, **SMALL)).fit(dataset.subset(~tested), np.random.default_rng(0))
    train, dev = made
    users = [set((p.item[p.label == 1] // 3).tolist()) for p in made]
    assert not users[0] & users[1]
    assert not overlap(train, dev)
    assert overlap(train, train)
    assert not set(item[tested]) & {int(n) for p in made for n in p.item[p.label == 1]}


# ---- loss and score


def test_loss_and_score_are_on_one_scale(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    still = tiny_bert(tmp_path / "still", dropout=0.0)
    train = spied(monkeypatch)
    still_model = fitted(still, lr=0.0, max_pairs=42, batch_size=16)  # 42 = 16 + 16 + 10: the short batch counts less
    logit = still_model.score_pairs(train[0].histories, train[0].item).astype(float)
    p, y = 1 / (1 + np.exp(-logit)), train[0].label
    assert still_model.history[0]["loss"] == pytest.approx(-(y * np.log(p) + (1 - y) * np.log(1 - p)).mean(), rel=1e-4)
    assert still_model.history[0]["loss"] != pytest.approx(((logit - y) ** 2).mean(), rel=1e-2)


def test_the_loss_that_is_trained_is_that_of_the_score(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    texts, loss = two_tastes().catalog.texts, Model.loss
    trained: list[tuple[bool, float, int]] = []  # of each batch: is it what gradients are taken of, the loss, the pairs

    def spy(*a: Any) -> Any:
        out = loss(*a)
        trained.append((out.requires_grad, out.item(), len(a[3])))
        return out

    monkeypatch.setattr(Model, "loss", spy)
    again = fitted(model.config.encoder, max_pairs=42, epochs=1)
    learned, losses, pairs = zip(*trained, strict=True)
    assert all(learned)
    assert again.history[0]["loss"] == pytest.approx(np.average(losses, weights=pairs))

    def told(model: Model) -> Callable[[Any, Any, Any], float]:
        return lambda pasts, items, labels: loss(model, list(pasts), list(items), labels).item()

    def shown(pasts: Any, items: Any) -> Any:
        return model.logits(list(pasts), list(items)).detach().numpy()

    def squared(pasts: Any, items: Any, labels: Any) -> float:  # what transformers trains a head of one label with
        batch = model._tokenizer(list(pasts), list(items), return_tensors="pt", padding=True)
        return model._net(**batch, labels=torch.tensor(labels)).loss.item()

    assert check_loss(shown, told(model), texts[:2], texts[2:4])["passed"].all()
    assert not check_loss(shown, squared, texts[:2], texts[2:4])["passed"].any()
    assert not check_loss(lambda *pair: 1 / (1 + np.exp(-shown(*pair))), told(model), texts[:2], texts[2:4])["passed"].any()


def test_scores_are_logits_one_for_each_pair(model: Model) -> None:
    assert model.logits([ROBOTS, ROBOTS, ""], [ROBOTS, ROMANCE, ROBOTS]).shape == (3,)
    assert model.score_pairs(Histories.of([[0], [1]], 24), np.array([2, 2])).shape == (2,)


# ---- what the network reads


def test_the_newest_history_survives_truncation(model: Model) -> None:
    histories = Histories.of([[1] * 30 + [0]], 24)  # thirty romances, then a robot
    (past,) = model.history_texts(histories)
    newest = two_tastes().catalog.texts[0]
    assert past.startswith(newest)
    read = model._tokenizer([past], ["night"], truncation="only_first", max_length=12)["input_ids"][0]
    assert "robot" in model._tokenizer.decode(read)
    reverse = "; ".join(past.split("; ")[::-1])
    cut = model._tokenizer([reverse], ["night"], truncation="only_first", max_length=12)["input_ids"][0]
    assert "robot" not in model._tokenizer.decode(cut)


def test_an_item_text_longer_than_a_pair_leaves_room_for_the_history(model: Model) -> None:
    other = Model(CrossEncoderConfig(encoder=model.config.encoder, max_length=16, device="cpu"))
    vars(other).update({k: v for k, v in vars(model).items() if k != "config"})
    texts = [*two_tastes().catalog.texts[:23], "love " * 100]
    other.texts_ = np.frombuffer(cross_encoder.json.dumps(texts).encode(), np.uint8)
    scores = other.score_pairs(Histories.of([[0], [1]], 24), np.array([23, 23]))
    assert np.isfinite(scores).all()
    assert scores[0] != scores[1]


def test_two_items_that_begin_alike_are_found_where_the_cut_makes_them_one(model: Model) -> None:
    short = Model(CrossEncoderConfig(encoder=model.config.encoder, max_length=16, device="cpu"))
    vars(short).update({k: v for k, v in vars(model).items() if k != "config"})
    opening = "love kiss wedding " * 4
    late, early = ([f"{opening} robot", f"{opening} alien"], [f"robot {opening}", f"alien {opening}"])
    scores = []
    for texts in (late, early):
        cut = short.cut(texts)
        scores.append(short._score_texts(["space night"] * 2, cut))
        assert check_cut(short.cut, texts)["passed"].all() == (len(set(cut)) == 2)
    assert scores[0][0] == scores[0][1]  # two items, one score
    assert scores[1][0] != scores[1][1]
    assert not check_cut(short.cut, late)["passed"].any()
    assert check_cut(short.cut, early)["passed"].all()
    assert check_cut(model.cut, late)["passed"].all()  # more tokens help too


def test_padding_does_not_change_a_score(model: Model) -> None:
    histories, items = Histories.of([[0], [1, 3, 5, 7, 9], []], 24), np.array([2, 4, 6])
    together = model.score_pairs(histories, items)
    alone = [model.score_pairs(histories[[n]], items[[n]])[0] for n in range(3)]
    np.testing.assert_allclose(together, alone, atol=1e-5)
    batch = model._tokenizer(["love", "love " * 9], ["red", "red"], padding=True, return_tensors="pt")
    single = model.logits(["love"], ["red"]).item()
    assert model._net(**batch).logits[0].item() == pytest.approx(single, abs=1e-5)
    del batch["attention_mask"]
    assert model._net(**batch).logits[0].item() != pytest.approx(single, abs=1e-5)


def test_batch_and_network_move_to_a_device_together(tiny: str) -> None:
    import torch

    moved = fitted(tiny)
    devices = []

    class Spy(torch.nn.Module):
        device = torch.device("meta")

        def forward(self, **batch: Any) -> Any:
            devices.extend(tensor.device.type for tensor in batch.values())
            return type("Output", (), {"logits": torch.zeros(1, 1)})

    Spy.config = moved._net.config
    moved._net = Spy()
    moved.logits(["love"], ["red"])
    assert set(devices) == {"meta"}


# ---- scoring


def test_dropout_is_off_and_no_graph_is_kept_in_scoring(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    histories, items = Histories.of([[0, 2], [1, 3]], 24), np.array([4, 4])
    kept = []
    logits = Model.logits
    monkeypatch.setattr(Model, "logits", lambda *a: (out := logits(*a), kept.append(out.requires_grad))[0])
    first = model.score_pairs(histories, items)
    assert model.score_pairs(histories, items).tobytes() == first.tobytes()
    assert kept == [False, False]
    model._net.train()  # what a forgotten eval() would do
    with torch.random.fork_rng():
        assert model.score_pairs(histories, items).tobytes() != first.tobytes()
    model._net.eval()


def test_a_list_comes_out_and_hides_what_the_user_has(model: Model) -> None:
    histories = two_tastes().histories()
    scores = model.score(histories)
    top = np.argsort(np.where(np.isnan(scores), np.inf, -scores), axis=1)[:, :5]
    assert np.isfinite(np.take_along_axis(scores, top, 1)).all()
    for user, row in enumerate(top):
        assert len(set(row)) == 5
        assert not set(row) & set(histories[[user]].items)


def test_the_trained_weights_are_what_is_saved(model: Model, tiny: str, tmp_path: Path) -> None:
    histories = two_tastes().histories()
    model.save(tmp_path)
    again = Model.load(tmp_path)
    np.testing.assert_array_equal(again.score(histories), model.score(histories))
    assert again._texts() == two_tastes().catalog.texts
    again._folder, again._net = Path(tiny), None  # the weights it began with
    assert not np.allclose(again.score(histories), model.score(histories), equal_nan=True)
