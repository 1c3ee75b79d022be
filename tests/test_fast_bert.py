"""The quick forward pass: the plain model's vectors, taken where it can be and nowhere else, never for weights of yesterday."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
import torch
from encoders import WORDS, tiny_bert
from test_text import needs_minilm

from recsys_core import fast_bert
from recsys_core.fast_bert import FastBert, Product
from recsys_core.text import Encoder, mask_words

RNG = np.random.default_rng(0)
TEXTS = [" ".join(RNG.choice(WORDS, size)) for size in (1, 7, 7, 3, 7, 1, 20, 300, 3)]  # one length many times, one too long
needs_onednn = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")


def plain(encoder: Encoder, texts: list[str]) -> np.ndarray:
    """As transformers' own forward pass has it, one text at a time."""
    with torch.inference_mode():
        return np.concatenate([encoder.embed([t]).numpy() for t in texts])


def assert_same(encoder: Encoder, texts: list[str]) -> None:
    np.testing.assert_allclose(encoder.encode(texts), plain(encoder, texts), atol=1e-5, rtol=0)


def refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the plain pass raises."""

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("the plain pass was taken")

    monkeypatch.setattr(Encoder, "embed", fail)


@needs_onednn
@pytest.mark.parametrize("layers", [1, 3])
def test_the_quick_pass_is_the_plain_one(layers: int, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = Encoder.load(tiny_bert(tmp_path / "bert", layers=layers), "cpu")
    assert_same(encoder, TEXTS)
    refuse(monkeypatch)
    assert np.isfinite(encoder.encode(TEXTS)).all()  # and it is taken


@needs_onednn
@needs_minilm
def test_masked_words_of_one_text_have_the_plain_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = Encoder.load("minilm", "cpu")
    words = ["An", "unforgettable", "heist", "film", "with", "two", "brothers", "and", "a", "stolen", "violin"]
    masks = mask_words("minilm", words)
    kept = RNG.random((40, len(words))) < 0.5
    texts = [" ".join(w if there else m for w, m, there in zip(words, masks, row, strict=True)) for row in kept]
    assert_same(encoder, [*texts, "Short.", "一部关于爱情的电影"])
    refuse(monkeypatch)
    encoder.encode(texts)


@needs_onednn
def test_what_depends_on_token_and_place_alone_is_computed_once(tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = Encoder.load(tiny, "cpu")
    rows: list[int] = []
    product = Product.__call__

    def spy(self: Product, x: Any, then: str = "none") -> Any:
        rows.append(len(x))
        return product(self, x, then)

    encoder.encode(["robot"])  # packs, and tries what was packed
    monkeypatch.setattr(Product, "__call__", spy)
    encoder.encode(["robot love", "robot kiss", "alien love", "robot love"])
    tokens, pairs = 4 * 4, 1 + 2 + 2 + 1  # [CLS], robot or alien, love or kiss, [SEP]
    assert rows[:2] == [pairs, tokens]


def test_another_model_and_another_torch_are_read_plainly(tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import BertConfig, BertModel, RobertaConfig, RobertaModel

    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 30}
    assert FastBert.of(RobertaModel(RobertaConfig(**sizes)).eval()) is None
    assert FastBert.of(BertModel(BertConfig(**sizes, hidden_act="relu")).eval()) is None
    assert FastBert.of(BertModel(BertConfig(**sizes)).eval().double()) is None
    encoder = Encoder.load(tiny, "cpu")
    encoder.model.train()
    assert encoder._fast_bert() is None  # dropout
    encoder.model.eval()
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    encoder = Encoder.load(tiny, "cpu")
    assert encoder._fast_bert() is None
    assert_same(encoder, TEXTS)


@needs_onednn
def test_a_quick_pass_that_would_be_wrong_is_told_and_not_used(
    tiny: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Product, "plus", lambda self, x, residual: self(x))  # without the residual
    encoder = Encoder.load(tiny, "cpu")
    with caplog.at_level(logging.WARNING):
        assert_same(encoder, TEXTS)
    assert "the quick one differs" in caplog.text
    monkeypatch.setattr(fast_bert.Layer, "of", lambda layer: layer.no_such_name)  # as another transformers might have it
    assert_same(Encoder.load(tiny, "cpu"), TEXTS)


@needs_onednn
@pytest.mark.parametrize("fused", [False, True])
def test_trained_weights_are_packed_anew(tiny: str, fused: bool) -> None:
    encoder = Encoder.load(tiny, "cpu")
    before = encoder.encode(TEXTS)
    optimiser = torch.optim.AdamW(encoder.model.parameters(), lr=0.05, fused=fused)
    encoder.embed(["robot love"]).square().sum().backward()
    optimiser.step()
    assert np.abs(encoder.encode(TEXTS) - before).max() > 1e-2
    assert_same(encoder, TEXTS)
