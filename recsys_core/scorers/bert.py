"""Two-tower recommender on BERT text vectors and item ids; cold items and new texts are scored by their text alone.

score(h, i) = u(h) . V_i + b_i with u(h) = sum_j x_j U_j / sqrt(|h|): see `_towers` for the towers and their training.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import logging
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from recsys_core.data import Catalog, Dataset, Histories
from recsys_core.errors import UserError, unknown
from recsys_core.scorers._towers import Arrays, Trainer, profiles, recent, towers, whitened
from recsys_core.scorers.base import Scorer, Scores, TextReader, low_rank, one_row
from recsys_core.text import Encoder, encode_briefly, encode_cached, mask_words, pick_device, unit, word_slopes

TUNE = ("auto", "frozen", "head", "top", "full")
log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class BertConfig:
    """Settings; the defaults were chosen on validation likes of MovieLens-100K."""

    encoder: str = "minilm"  # or a local folder, or a name on the model hub
    tune: str = "auto"  # frozen: cosine; head: towers; top: and 2 layers; full: and all layers; auto: head, full on a GPU
    loss: str = "softmax"  # over the catalogue; in_batch for catalogues too large for that
    ids: bool = True  # whether items with likes have vectors of their own beside their texts; False: texts only
    dim: int = 64  # length of the vectors that are matched
    axes: int = 32  # principal axes of the text vectors that are read
    epochs: int = 25  # at most
    patience: int = 10  # epochs without a better NDCG@10 of the likes held out
    held_out: int = 2000  # one like of a third of the users, and of so many at most, chooses the epoch; 0: the last is taken
    warmup: int = 10  # epochs of the heads alone before the encoder is trained along
    lr: float = 5e-3  # of item vectors and biases
    lr_text: float = 3e-3  # of the maps from text vectors
    lr_encoder: float = 2e-5  # of the top layer; 0.9 times that for each layer below
    l2_ids: float = 0.01  # penalty on the sum of squares, beside the loss of one user
    l2_text: float = 0.003  # the same of those maps
    history_dropout: float = 0.5  # of past items while training
    batch_users: int = 256  # in a step
    epoch_users: int = 10_000  # random users an epoch goes through at most
    batch_texts: int = 128  # texts encoded anew in a step while the encoder is trained
    max_history: int = 0  # latest items that count; 0: all
    max_length: int = 128  # tokens of an item text, as `cold` reads, so that each is encoded once
    decay: float = 0.0  # an event of age a counts exp(-a / decay); 0: all count alike
    device: str = "auto"  # cuda, mps or cpu; that of the run unless set here

    def __post_init__(self) -> None:
        if self.tune not in TUNE:
            raise unknown("bert tune", self.tune, TUNE)
        if self.loss not in ("softmax", "in_batch"):
            raise unknown("bert loss", self.loss, ("softmax", "in_batch"))
        if not 0 <= self.history_dropout < 1:
            raise UserError(f"bert history_dropout = {self.history_dropout}: must be at least 0 and below 1")


class Model(Scorer, TextReader):
    """Vectors of texts by Sentence-BERT (Reimers & Gurevych 2019), in two towers of histories and of items.

    Learned: text_vectors_ (n_items, d) of the encoder, bias_ (n_items,): NaN without text; history_vectors_ U, item_vectors_ V
    (n_items, dim): 0 without text; and the heads that make V and the bias of an item without likes from any text vector.

    After `fit`, `history` holds one dict an epoch. Set `checkpoint` to a file to go on after a kill, with the same result.
    """

    Config = BertConfig
    reads_text = True
    text_vectors_: NDArray[np.float32]
    history_vectors_: NDArray[np.float32]
    item_vectors_: NDArray[np.float32]
    bias_: NDArray[np.float32]
    shift_: NDArray[np.float32]

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self.checkpoint: Path | None = None
        self.history: list[dict[str, Any]] = []
        self._encoder: Encoder | None = None
        self._tuned: Path | None = None  # folder of a fine-tuned encoder that is not yet loaded

    def fit(self, dataset: Dataset, rng: np.random.Generator) -> Self:
        c = self.config
        for name in self.learned():
            delattr(self, name)
        self.history, self._encoder, self._tuned = [], None, None
        texts = dataset.catalog.texts
        vectors = encode_cached(texts, c.encoder, device=c.device, max_length=c.max_length)
        has_text = ~np.asarray(np.isnan(vectors).any(axis=1))
        if not has_text.all():
            log.warning("bert: %s of %s items have no text; their scores are NaN", f"{(~has_text).sum():,}", f"{len(texts):,}")
        histories = dataset.histories()
        histories = histories.keep(has_text[histories.items])
        tune = self._tune()
        if tune != "frozen" and not (histories.likes.lengths >= 2).any():
            log.warning("bert: no user likes two items with text; texts are compared by their cosine, nothing is learned")
            tune = "frozen"
        if tune == "frozen":
            shift = vectors[has_text].mean(0) if has_text.any() else np.zeros(vectors.shape[1])
            self._store(vectors, {"shift_": np.asarray(shift, np.float32)})
        else:
            self._train(tune, histories, vectors, has_text, texts, rng, dataset.fingerprint)
        return self

    def _tune(self) -> str:
        if self.config.tune != "auto":
            return str(self.config.tune)
        return "full" if pick_device(self.config.device) == "cuda" else "head"

    def _train(
        self,
        tune: str,
        histories: Histories,
        vectors: NDArray[np.float32],
        has_text: NDArray[np.bool_],
        texts: list[str],
        rng: np.random.Generator,
        fingerprint: str,
    ) -> None:
        c = self.config
        encoder = None if tune == "head" else Encoder.load(c.encoder, c.device)
        layers = 0 if encoder is None else 2 if tune == "top" else encoder.model.config.num_hidden_layers + 1
        key = hashlib.sha256(f"{c} {tune} {fingerprint} {rng.bit_generator.state}".encode()).hexdigest()
        trainer = Trainer(c, histories, np.nan_to_num(vectors), has_text, rng, encoder, texts, layers)
        trainer.run(self.checkpoint, key)
        self.history, self._encoder = trainer.history, encoder
        if encoder is not None:
            vectors = encoder.encode(texts, max_length=c.max_length)
        self._store(vectors, trainer.arrays())

    @property
    def renewal(self) -> str:
        return "warm start of the towers, the encoder kept" if "whiten_" in vars(self) else "kept: it learned nothing from likes"

    def renew(self, dataset: Dataset, rng: np.random.Generator, epochs: int) -> Self:
        """The towers go on for so many epochs, the last being taken: all likes are trained on, none is left to choose by."""
        model, vectors = copy.copy(self), np.nan_to_num(self.text_vectors_)
        has_text = ~np.asarray(np.isnan(self.text_vectors_).any(axis=1))
        histories = dataset.histories()
        histories = histories.keep(has_text[histories.items])
        if "whiten_" not in vars(self) or not (histories.likes.lengths >= 2).any():
            return model
        config = dataclasses.replace(self.config, epochs=epochs, held_out=0)
        trainer = Trainer(config, histories, vectors, has_text, rng)
        trainer.start_from(self._heads(np.bincount(histories.likes.items, minlength=len(vectors)) > 0), vectors)
        trainer.run()
        model.history = trainer.history
        model._store(self.text_vectors_, trainer.arrays())
        return model

    def _heads(self, liked: NDArray[np.bool_]) -> Arrays:
        """The towers' arrays; what an item has of its own is what its text does not say, 0 if it is not `liked` (n_items,)."""
        names = ("shift_", "whiten_", "user_weight_", "item_weight_", "centre_")
        heads: Arrays = {name: vars(self)[name] for name in names}
        if self.config.ids:
            parts, items, _ = _towers(heads, np.nan_to_num(self.text_vectors_))
            own = {
                "user_ids_": self.history_vectors_ - parts,
                "item_ids_": self.item_vectors_ - items,
                "bias_ids_": self.bias_ - self.item_vectors_ @ heads["centre_"],
            }
            heads |= {name: np.nan_to_num(value) * liked.reshape(-1, *[1] * (value.ndim - 1)) for name, value in own.items()}
        return heads

    def _store(self, vectors: NDArray[np.float32], heads: Arrays) -> None:
        self.text_vectors_ = vectors
        self.history_vectors_, self.item_vectors_, bias = _towers(heads, np.nan_to_num(vectors))
        vars(self).update({k: v for k, v in heads.items() if not k.endswith("_ids_")})  # U, V and bias_ hold what ids learned
        missing = np.isnan(vectors).any(axis=1)
        self.history_vectors_[missing] = self.item_vectors_[missing] = 0
        self.bias_ = np.where(missing, np.nan, bias).astype(np.float32)

    def score(self, histories: Histories, items: NDArray[np.int64] | None = None) -> Scores:
        x = self._counted(histories).csr(self.config.decay, size_power=0.5)
        scores = low_rank(x, self.history_vectors_, self.item_vectors_, items)
        return np.asarray(scores + (self.bias_ if items is None else self.bias_[items]), np.float32)

    def user_vectors(self, histories: Histories) -> NDArray[np.float32]:
        """u(h), (n_rows, dim); past items without text do not count."""
        return profiles(self._counted(histories), self.history_vectors_, self.config.decay)

    def _counted(self, histories: Histories) -> Histories:
        """The events that count, and how many there may be at most as the size of each row."""
        counted = histories.keep(self._counts(histories))
        most = self.config.max_history
        return dataclasses.replace(counted, sizes=np.minimum(counted.full_sizes, most)) if most else counted

    def _counts(self, histories: Histories) -> NDArray[np.bool_]:
        return recent(histories, self.config.max_history) & ~np.isnan(self.bias_[histories.items])

    @property
    def linear(self) -> bool:
        return True

    def prior(self, items: NDArray[np.int64]) -> NDArray[np.float32]:
        return self.bias_[items]

    def contributions(self, history: Histories, items: NDArray[np.int64]) -> NDArray[np.float32]:
        """Of one history row: (n_past, len(items)), x_j U_j . V_i / sqrt(size); their sum is score - bias_.

        Past items that do not count (no text, older than max_history) have 0, and so has an item to itself.
        """
        weight = self._past_weights(one_row(history)) * (history.items[:, None] != items)
        return np.asarray(weight * (self.history_vectors_[history.items] @ self.item_vectors_[items].T), np.float32)

    def _past_weights(self, history: Histories) -> NDArray[np.float32]:
        """(n_past, 1) x_j of one history row; 0 for past items that do not count."""
        weight = np.zeros((len(history.items), 1), np.float32)
        weight[self._counts(history), 0] = self._counted(history).csr(self.config.decay, size_power=0.5).data
        return weight

    def embed_texts(self, texts: list[str]) -> NDArray[np.float32]:
        """Text vectors (n, d) of any texts, from the encoder as it was tuned; NaN for an empty one."""
        c = self.config
        if self._encoder is None and self._tuned is None:
            return encode_cached(texts, c.encoder, device=c.device, max_length=c.max_length)
        return self._load_encoder().encode(texts, max_length=c.max_length)

    def _load_encoder(self) -> Encoder:
        if self._encoder is None:
            self._encoder = Encoder.load(str(self._tuned), self.config.device)
        return self._encoder

    def score_texts(self, histories: Histories, texts: list[str]) -> NDArray[np.float32]:
        """Scores (n_rows, n_texts), as `score` gives them to items without likes, of any texts; NaN for an empty one."""
        vectors = self.embed_texts(texts)
        _, items, bias = _towers(vars(self), np.nan_to_num(vectors))
        bias = np.where(np.isnan(vectors).any(axis=1), np.nan, bias)
        return np.asarray(self.user_vectors(histories) @ items.T + bias, np.float32)

    @property
    def _name(self) -> str:
        """Of the encoder as it was tuned: a folder, if it was."""
        return str(self.config.encoder if self._tuned is None else self._tuned)

    def masks_for(self, words: list[str]) -> list[str]:
        return mask_words(self._name, words)

    def rewritten(self, history: Histories, item: int, texts: list[str], titles: list[str]) -> NDArray[np.float64]:
        """As `score` gives them to this item: what its id has learned stays, what its text says is new."""
        vectors = self._briefly(texts)
        _, (own, *new), (own_bias, *bias) = _towers(vars(self), np.concatenate([self.text_vectors_[[item]], vectors]))
        items = self.item_vectors_[item] + (np.array(new) - own)  # (n_texts, dim)
        weight = self._past_weights(one_row(history)) * (history.items[:, None] != item)
        shares = weight * (self.history_vectors_[history.items] @ items.T)
        return np.concatenate([[self.bias_[item] + (np.array(bias) - own_bias)], shares]).astype(np.float64)

    def _briefly(self, texts: list[str]) -> NDArray[np.float32]:
        """(n, d) vectors of texts that are asked once."""
        if self._encoder is not None:
            return self._encoder.encode(texts, max_length=self.config.max_length)
        return encode_briefly(texts, self._name, device=self.config.device, max_length=self.config.max_length)

    def grown(self, dataset: Dataset, new: Catalog) -> Self:
        """As `score_texts` gives them to the new items."""
        vectors = self._briefly(new.texts)
        missing = np.asarray(np.isnan(vectors).any(axis=1))
        parts, items, bias = _towers(vars(self), np.nan_to_num(vectors))
        parts, items = (np.where(missing[:, None], 0, made) for made in (parts, items))
        more = {
            "text_vectors_": vectors,
            "history_vectors_": parts,
            "item_vectors_": items,
            "bias_": np.where(missing, np.nan, bias),
        }
        model = copy.copy(self)
        vars(model).update({k: np.concatenate([getattr(self, k), v]).astype(np.float32) for k, v in more.items()})
        return model

    @property
    def can_slope(self) -> bool:  # type: ignore[override]
        return "whiten_" in vars(self)  # the plain cosine divides by a length: no constant direction

    def text_slopes(
        self, history: Histories, text: str, spans: list[tuple[int, int]], levels: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        heads = vars(self)
        direction = heads["whiten_"] @ heads["item_weight_"] @ (self.user_vectors(history)[0] + heads["centre_"])
        return word_slopes(self._name, self.config.device, text, spans, levels, direction, self.config.max_length)

    def save(self, folder: Path) -> None:
        """As any scorer; a fine-tuned encoder goes into folder/encoder."""
        super().save(folder)
        if self._encoder is not None or self._tuned is not None:
            self._load_encoder().save(folder / "encoder")

    @classmethod
    def load(cls, folder: Path) -> Self:
        model = super().load(folder)
        if (folder / "encoder").is_dir():
            model._tuned = folder / "encoder"
        return model


def _towers(heads: Arrays, vectors: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Text vectors (n, d), no NaN -> U (n, dim), V (n, dim), b (n,)."""
    if "whiten_" in heads:
        return towers(heads, whitened(heads, vectors))
    z = unit(vectors - heads["shift_"])
    return z, z.copy(), np.zeros(len(z), np.float32)
