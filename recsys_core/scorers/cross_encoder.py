"""BERT reads a history and an item together and says how likely the item is liked (pair classification, Devlin et al. 2019).

Labels are interactions: a user's like against items drawn from outside the user's history. It is costly, so only a short-list of
each row has scores, which a linear model of its own finds (EASE); the others are NaN. score = logit; sigmoid(score) is the
probability that the loss trained, among such pairs.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import re
import threading
import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from recsys_core.data import Dataset, Histories, rank_in_group
from recsys_core.errors import UserError
from recsys_core.ranking import hide, top_k
from recsys_core.scorers._towers import deterministic
from recsys_core.scorers.base import Scorer, Scores, TextReader
from recsys_core.scorers.ease import Model as Ease
from recsys_core.text import load_tokenizer, locate, mask_words, pick_device, quiet

if TYPE_CHECKING:
    import torch

TIE = 1e-6  # what the most popular item has more than one nobody likes: it orders the short-list of an empty history
REMEMBERED = 100_000  # scores of pairs that are kept, the latest ones
_scores: dict[tuple[bytes, str, str], float] = {}  # by network, history text and item text, all that a score depends on
_lock = threading.Lock()


@dataclasses.dataclass(frozen=True)
class CrossEncoderConfig:
    """Settings of the network, its training pairs and the short-list."""

    encoder: str = "minilm"  # or a local folder, or a name on the model hub
    layers: int = 3  # upper layers that are trained; with more than the encoder has also its embeddings
    epochs: int = 2  # at most
    patience: int = 1  # epochs without a better dev AUC
    lr: float = 2e-5  # Devlin et al. 2019
    weight_decay: float = 0.01  # of AdamW
    batch_size: int = 32  # pairs
    negatives: int = 1  # items drawn for each like
    max_pairs: int = 2000  # likes and negatives of all users together; a quarter as many choose the epoch
    max_seconds: float = 0.0  # stops training there; 0: no limit, so that a seed decides the result
    max_history: int = 10  # latest items whose texts are read
    max_length: int = 64  # tokens of a pair
    candidates: int = 20  # items of a row that are scored
    judges: int = 300  # users that judge and calibrate a run with this component; each costs as many pairs as `candidates`
    device: str = "auto"  # cuda, mps or cpu; that of the run unless set here


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Training examples: row n of `histories`, the item `item[n]`, and whether the user liked it, `label[n]` 0 or 1."""

    histories: Histories
    item: NDArray[np.int64]
    label: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.item)

    def __getitem__(self, rows: NDArray[Any]) -> Pairs:
        return Pairs(self.histories[rows], self.item[rows], self.label[rows])


def make_pairs(likes: Histories, usable: NDArray[np.bool_], config: CrossEncoderConfig, rng: np.random.Generator) -> Pairs:
    """Likes with what the same row liked before (or at the same time); for each of them `negatives` items that the row has not.

    Positives and negatives are `usable` items (those with text). At most `max_pairs` in all, a random choice.
    """
    takes, items, labels = [], [], []
    for target in rng.permutation(np.flatnonzero(usable[likes.items]))[: max(config.max_pairs // (1 + config.negatives), 1)]:
        row = np.arange(*likes.indptr[likes.rows[target] + np.arange(2)])
        past = row[(likes.ages[row] >= likes.ages[target]) & (likes.items[row] != likes.items[target])]
        pool = np.setdiff1d(np.flatnonzero(usable), likes.items[row])
        if len(past) and len(pool):
            drawn = rng.choice(pool, min(config.negatives, len(pool)), replace=False)
            takes += [past] * (1 + len(drawn))
            items += [likes.items[target], *drawn]
            labels += [1.0] + [0.0] * len(drawn)
    take = np.concatenate([*takes, np.zeros(0, np.int64)]).astype(np.int64)
    indptr = np.concatenate([[0], np.cumsum([len(t) for t in takes])]).astype(np.int64)
    histories = Histories(indptr, likes.items[take], likes.values[take], likes.ages[take], likes.n_items)
    return Pairs(histories, np.array(items, np.int64), np.array(labels, np.float32))


class Model(Scorer, TextReader):
    """Pair classification by BERT (Devlin et al. 2019).

    Learned: popularity_ (n_items,) likes, texts_ (the item texts, UTF-8 JSON); the network, saved in folder/encoder; and the
    model that finds short-lists, saved in folder/finder. After `fit`, `history` holds one dict an epoch.

    The network is trained once; when more likes become known, `extend` fits the finder on them.
    """

    Config = CrossEncoderConfig
    reads_text = True
    fits_once = True
    popularity_: NDArray[np.float32]
    texts_: NDArray[np.uint8]

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self.history: list[dict[str, Any]] = []
        self._net: Any = None
        self._tokenizer: Any = None
        self._folder: Path | None = None  # of weights that are not yet loaded
        self._digest = b""  # of the weights and of how pairs are cut
        self._finder = Ease()
        self._pinned: NDArray[np.int64] | None = None

    def fit(self, dataset: Dataset, rng: np.random.Generator) -> Self:
        import torch

        likes = dataset.likes()
        self.history = []
        self._find(dataset, likes, rng)
        self.texts_ = np.frombuffer(json.dumps([t.strip() for t in dataset.catalog.texts]).encode(), np.uint8).copy()
        users = rng.permutation(np.flatnonzero(likes.lengths >= 2))
        n_dev = max(1, len(users) // 10)
        usable = np.array([bool(t) for t in self._texts()])
        few = dataclasses.replace(self.config, max_pairs=self.config.max_pairs // 4)
        train = make_pairs(likes[users[n_dev:]], usable, self.config, rng)
        dev = make_pairs(likes[users[:n_dev]], usable, few, rng)
        if not len(train):
            raise UserError("cross_encoder: no two users like two items with text each; there is nothing to learn from")
        device = pick_device(self.config.device)
        forked = [torch.cuda.current_device()] if device.startswith("cuda") else []
        with torch.random.fork_rng(devices=forked), deterministic():
            torch.manual_seed(int(rng.integers(2**62)))
            self._open(locate(self.config.encoder), device)
            self._train(train, dev, rng)
        return self

    def _find(self, dataset: Dataset, likes: Histories, rng: np.random.Generator) -> None:
        self.popularity_ = np.bincount(likes.items, minlength=likes.n_items).astype(np.float32)
        self._finder = Ease().fit(dataset, rng)

    def extend(self, dataset: Dataset, rng: np.random.Generator) -> Self:
        """The same network with short-lists that know the dataset's likes too."""
        model = copy.copy(self)
        model._find(dataset, dataset.likes(), rng)
        return model

    def _open(self, folder: Path, device: str) -> None:
        import torch
        from transformers import AutoModelForSequenceClassification

        with quiet():
            how = {"use_safetensors": True, "trust_remote_code": False, "dtype": torch.float32, "ignore_mismatched_sizes": True}
            net = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1, **how)  # nosec B615
        self._net, self._tokenizer, self._folder = net.to(device).eval(), load_tokenizer(folder), None
        self._digest = self._hash()

    def _hash(self) -> bytes:
        h = hashlib.sha256(str(self.tokens).encode())
        for name, p in self._net.state_dict().items():
            h.update(name.encode() + p.detach().cpu().numpy().tobytes())
        return h.digest()

    def _train(self, train: Pairs, dev: Pairs, rng: np.random.Generator) -> None:
        import torch

        c, start = self.config, time.monotonic()
        self._freeze()
        trained = [p for p in self._net.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=c.lr, weight_decay=c.weight_decay)
        best, kept, stale = -np.inf, None, 0
        for epoch in range(1, c.epochs + 1):
            loss = self._one_epoch(train[rng.permutation(len(train))], optimizer, start)
            value = self.dev_auc(dev)
            self.history.append({"epoch": epoch, "loss": loss, "metric": "auc", "value": value})
            if not value <= best:  # higher, or NaN where there is no dev pair
                best, stale, kept = value, 0, {k: v.detach().clone() for k, v in self._net.state_dict().items()}
            else:
                stale += 1
            if stale > c.patience or self._late(start):
                break
        self._net.load_state_dict(kept)
        self._digest = self._hash()

    def _freeze(self) -> None:
        """Only the upper `layers` and the head are trained: lower ones say what words mean, and cost as much."""
        depth = int(getattr(self._net.config, "num_hidden_layers", 0))
        for name, p in self._net.named_parameters():
            found = re.search(r"layer\.(\d+)\.", name)
            height = int(found[1]) + 1 if found else 0 if "embeddings" in name else depth + 1
            p.requires_grad_(height > depth - self.config.layers)

    def _late(self, start: float) -> bool:
        return 0 < float(self.config.max_seconds) < time.monotonic() - start

    def _one_epoch(self, pairs: Pairs, optimizer: torch.optim.Optimizer, start: float) -> float:
        """Mean loss a pair over one pass in the given order (less where the time is over)."""
        import torch

        total, seen = 0.0, 0
        self._net.train()
        for first in range(0, len(pairs), self.config.batch_size):
            batch = pairs[np.arange(first, min(first + self.config.batch_size, len(pairs)))]
            loss = self.loss(self.history_texts(batch.histories), self._item_texts(batch.item), batch.label)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(self._net.parameters(), 1.0)
            optimizer.step()
            total, seen = total + loss.item() * len(batch), seen + len(batch)
            if self._late(start):
                break
        self._net.eval()
        return total / seen

    def dev_auc(self, pairs: Pairs) -> float:
        """ROC-AUC of the scores against the 0/1 labels; NaN where one of the two is missing."""
        from sklearn.metrics import roc_auc_score

        if len(np.unique(pairs.label)) < 2:
            return float("nan")
        return float(roc_auc_score(pairs.label, self.score_pairs(pairs.histories, pairs.item)))

    @property
    def tokens(self) -> int:
        """Length of a pair: what the settings want, as far as the network has positions."""
        return min(int(self.config.max_length), int(getattr(self._net.config, "max_position_embeddings", self.config.max_length)))

    def logits(self, histories: list[str], items: list[str]) -> torch.Tensor:
        """(n,) on the network's device; padded to the longest pair. The history is cut at its end, where its oldest items are."""
        device = self._net.device
        batch = self._tokenizer(
            histories, items, truncation="only_first", max_length=self.tokens, padding=True, return_tensors="pt"
        )
        logits: torch.Tensor = self._net(**batch.to(device)).logits[:, 0]
        return logits

    def loss(self, histories: list[str], items: list[str], labels: NDArray[np.float32]) -> torch.Tensor:
        """(): what training makes small, the mean cross-entropy of the labels (0 or 1) under sigmoid(logit)."""
        import torch

        logits = self.logits(histories, items)
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, torch.tensor(labels, device=logits.device))

    def _texts(self) -> list[str]:
        texts: list[str] = json.loads(self.texts_.tobytes().decode())
        return texts

    def history_texts(self, histories: Histories) -> list[str]:
        """Per row the texts of its latest `max_history` items, newest first, so that truncation takes the oldest."""
        histories = histories.likes
        texts, rank = self._texts(), rank_in_group(histories.rows, histories.ages)
        rows: list[list[str]] = [[] for _ in range(len(histories))]
        for n in np.lexsort((histories.ages, histories.rows)):
            if rank[n] < self.config.max_history:
                rows[histories.rows[n]].append(texts[histories.items[n]])
        return ["; ".join(filter(None, row)) for row in rows]

    def _item_texts(self, items: NDArray[np.int64]) -> list[str]:
        texts = self._texts()
        return self.cut([texts[n] for n in items])

    def cut(self, chosen: list[str]) -> list[str]:
        """What is read of item texts: they are cut to half a pair, so that the history always has the other half."""
        half = self.tokens // 2
        spans = self._tokenizer(chosen, truncation=True, max_length=half, add_special_tokens=False, return_offsets_mapping=True)[
            "offset_mapping"
        ]
        return [text[: span[-1][1] if span else 0] for text, span in zip(chosen, spans, strict=True)]

    def score_pairs(self, histories: Histories, items: NDArray[np.int64]) -> NDArray[np.float32]:
        """Score of `items[n]` for history row n, (n,) float32; NaN for an item without text."""
        self._ready()
        return self._score_texts(self.history_texts(histories), self._item_texts(items))

    def _score_texts(self, pasts: list[str], candidates: list[str]) -> NDArray[np.float32]:
        """(n,) scores of pairs of texts, NaN where the second is empty."""
        import torch

        out = np.full(len(candidates), np.nan, np.float32)
        order = [n for n in np.argsort([-len(p) - len(c) for p, c in zip(pasts, candidates, strict=True)]) if candidates[n]]
        with torch.inference_mode():
            for first in range(0, len(order), self.config.batch_size):
                rows = order[first : first + self.config.batch_size]
                out[rows] = self.logits([pasts[n] for n in rows], [candidates[n] for n in rows]).cpu().numpy()
        return out

    def score(self, histories: Histories, items: NDArray[np.int64] | None = None) -> Scores:
        """Logits of each row's short-list, NaN elsewhere."""
        return self.score_beyond(histories, histories, items)

    def score_beyond(self, histories: Histories, hidden: Histories, items: NDArray[np.int64] | None = None) -> Scores:
        self._ready()
        chosen = self.shortlist(histories, hidden)
        row, place = np.nonzero((chosen >= 0) & (True if items is None else np.isin(chosen, items)))
        pasts = self.history_texts(histories)
        out = np.full(histories.shape, np.nan, np.float32)
        out[row, chosen[row, place]] = self._remembered([pasts[n] for n in row], chosen[row, place])
        return out if items is None else out[:, items]

    def _remembered(self, pasts: list[str], items: NDArray[np.int64]) -> NDArray[np.float32]:
        """Scores of pairs, of which only those are computed that nobody has asked for lately."""
        texts = self._texts()
        keys = [(self._digest, past, texts[n]) for past, n in zip(pasts, items, strict=True)]
        with _lock:
            known = {key: _scores[key] for key in keys if key in _scores}
        new = np.array([n for n, key in enumerate(keys) if key not in known], np.int64)
        if len(new):
            fresh = self._score_texts([pasts[n] for n in new], self._item_texts(items[new])).tolist()
            known |= zip((keys[n] for n in new), fresh, strict=True)
            with _lock:
                _scores.update({keys[n]: known[keys[n]] for n in new})
                for key in list(islice(_scores, max(len(_scores) - REMEMBERED, 0))):
                    del _scores[key]
        return np.array([known[key] for key in keys], np.float32)

    def shortlist(self, histories: Histories, hidden: Histories) -> NDArray[np.int64]:
        """The `candidates` items with text that the finder likes best and that are not hidden; popularity decides ties."""
        if self._pinned is not None:
            return np.tile(self._pinned, (len(histories), 1))
        found = self._finder.score(histories) + TIE * self.popularity_ / max(float(self.popularity_.max()), 1.0)
        found[:, [not text for text in self._texts()]] = np.nan
        return top_k(hide(found, hidden), self.config.candidates)

    def pinned(self, items: NDArray[np.int64]) -> Self:
        model = copy.copy(self)
        model._pinned = items
        return model

    def masks_for(self, words: list[str]) -> list[str]:
        return mask_words(str(self.config.encoder), words)

    def rewritten(self, history: Histories, item: int, texts: list[str], titles: list[str]) -> NDArray[np.float64]:
        """(1, n_texts): it reads history and item together, so past items have no shares of their own."""
        self._ready()
        pasts = self.history_texts(history) * len(texts)
        return self._score_texts(pasts, self.cut(texts))[None].astype(np.float64)

    def _ready(self) -> None:
        if self._net is None and self._folder is not None:
            self._open(self._folder, pick_device(self.config.device))

    def save(self, folder: Path) -> None:
        """As any scorer; the network and its tokenizer go into folder/encoder, what finds short-lists into folder/finder."""
        self._ready()
        super().save(folder)
        self._finder.save(folder / "finder")
        with quiet():
            self._net.save_pretrained(folder / "encoder")
        self._tokenizer.save_pretrained(folder / "encoder")

    @classmethod
    def load(cls, folder: Path) -> Self:
        model = super().load(folder)
        model._folder, model._finder = folder / "encoder", Ease.load(folder / "finder")
        return model
