"""Two towers over text vectors and item ids, and how they are trained.

Item tower: V_i = z_i W + e_i, bias b_i = c . V_i + a_i. User tower: u(h) = sum_j x_j U_j / sqrt(|h|), U_j = z_j B + f_j.
z is the whitened text vector; e, f and a belong to the item and are 0 where it has no likes, so that its text alone is scored.
Loss: a random part of each history is shown, the whole is to be found (multinomial likelihood, Liang et al. 2018).
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from recsys_core.data import Histories, rank_in_group
from recsys_core.metrics import ndcg
from recsys_core.text import Encoder, write_whole

if TYPE_CHECKING:
    import torch

    from recsys_core.scorers.bert import BertConfig

Arrays = dict[str, NDArray[Any]]
SMOOTH = 5  # epochs whose validation NDCG is averaged: the best of many noisy values is often an early epoch
log = logging.getLogger(__name__)


def whitened(p: Any, e: Any) -> Any:
    """Text vectors e (n, d) -> z (n, d); `p` holds the arrays by name, of NumPy or of torch."""
    return (e - p["shift_"]) @ p["whiten_"]


def towers(p: Any, z: Any) -> tuple[Any, Any, Any]:
    """z (n, d) -> user parts U (n, dim), item vectors V (n, dim), biases b (n,); by the texts alone if `p` holds no ids."""
    parts, items = z @ p["user_weight_"], z @ p["item_weight_"]
    if "item_ids_" not in p:
        return parts, items, items @ p["centre_"]
    items = items + p["item_ids_"]
    return parts + p["user_ids_"], items, items @ p["centre_"] + p["bias_ids_"]


def whitening(vectors: NDArray[np.float32], most: int) -> Arrays:
    """Centre text vectors (n, d) and keep the `most` principal axes, all of one variance, so that z has mean square length 1."""
    shift = vectors.mean(0, dtype=np.float64)
    values, axes = np.linalg.eigh(np.cov((vectors - shift).T, bias=True))
    kept = np.flatnonzero(values > 1e-9 * max(float(values.max()), 1e-9))[::-1][:most]
    whiten = axes[:, kept] / np.sqrt(values[kept] * max(len(kept), 1))
    return {"shift_": shift.astype(np.float32), "whiten_": whiten.astype(np.float32)}


def recent(histories: Histories, most: int) -> NDArray[np.bool_]:
    """(nnz,) true for each row's `most` latest entries (0: all), by their ages, which do not change when others are taken out."""
    return histories.ages < most if most else np.ones(len(histories.items), bool)


def latest_of_each(histories: Histories) -> NDArray[np.bool_]:
    """(nnz,) true for one entry of each item of a row, the latest: an item met again is no new target."""
    order = np.lexsort((histories.ages, histories.items, histories.rows))
    row, item = histories.rows[order], histories.items[order]
    mask = np.zeros(len(order), bool)
    mask[order] = np.r_[True, (row[1:] != row[:-1]) | (item[1:] != item[:-1])][: len(order)]
    return mask


def profiles(histories: Histories, parts: NDArray[np.float32], decay: float) -> NDArray[np.float32]:
    """User vectors (n_rows, dim): sum_j x_j U_j / sqrt(size), the row's size staying as it was when items are taken out.

    The sum of s unrelated vectors is sqrt(s) long, so long and short histories score on one scale and agreement still adds up.
    """
    return np.asarray(histories.csr(decay, size_power=0.5) @ parts, np.float32)


def hold_out(histories: Histories, rng: np.random.Generator, most: int) -> tuple[Histories, Histories]:
    """(kept, held): of a random third of the rows with 3 likes at least, at most `most`, one random like is held out."""
    rows = rng.permutation(np.flatnonzero(histories.likes.lengths >= 3))
    rows = rows[: min(most, len(rows) // 3)]
    turn = rng.random(len(histories.items)) + (0.0 if histories.liked is None else ~histories.liked)  # likes first
    held = np.isin(histories.rows, rows) & (rank_in_group(histories.rows, turn) == 0)
    return tuple(replace(histories.keep(mask), sizes=None) for mask in (~held, held))  # type: ignore[return-value]


class Trainer:
    """Fits the heads, and the encoder's upper layers when there is one, to likes; keeps the weights of the best epoch.

    Args:
        histories: rows whose items all have text; their likes are to be found.
        vectors: (n_items, d) float32; `has_text` (n_items,) says which rows mean anything.
        encoder: None, or the encoder to train along, with the `texts` (n_items,) it reads.
    """

    def __init__(
        self,
        config: BertConfig,
        histories: Histories,
        vectors: NDArray[np.float32],
        has_text: NDArray[np.bool_],
        rng: np.random.Generator,
        encoder: Encoder | None = None,
        texts: list[str] | None = None,
        layers: int = 0,
    ) -> None:
        import torch

        self.config, self.encoder, self.texts, self.has_text = config, encoder, texts or [], has_text
        self.seen, self.held = hold_out(
            histories.keep(recent(histories, config.max_history) & latest_of_each(histories)), rng, config.held_out
        )
        self.device = encoder.device if encoder else "cpu"  # the heads are small: a CPU is as fast
        self.generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        self.heads = {k: torch.tensor(v, device=self.device) for k, v in whitening(vectors[has_text], config.axes).items()}
        self.bank: torch.Tensor = whitened(self.heads, torch.tensor(vectors, device=self.device))  # z of every item
        counts = np.bincount(self.seen.likes.items, minlength=histories.n_items)
        self.heads |= self._new_heads(self.bank.shape[1], counts)
        groups = self._groups(layers)
        self.trained = {name: p for group in groups for name, p in zip(group["names"], group["params"], strict=True)}
        self.optimizer = torch.optim.Adam([{k: v for k, v in g.items() if k != "names"} for g in groups])
        self.log_share = torch.tensor(np.log((counts + 1) / (counts + 1).sum()), dtype=torch.float32, device=self.device)
        self.blank = torch.tensor(np.where(counts, 0, -np.inf), dtype=torch.float32, device=self.device)
        self.epoch, self.stale, self.best = 0, 0, -np.inf
        self.history: list[dict[str, Any]] = []
        self.kept: dict[str, torch.Tensor] = {}

    def _new_heads(self, d: int, counts: NDArray[np.int64]) -> dict[str, torch.Tensor]:
        import torch

        dim, n = self.config.dim, len(counts)
        met = torch.tensor(counts > 0)[:, None]
        heads = {name: self._normal(d, dim) / max(d, 1) ** 0.5 for name in ("user_weight_", "item_weight_")}
        heads["centre_"] = torch.zeros(dim)
        if self.config.ids:
            heads |= {name: self._normal(n, dim) * met for name in ("user_ids_", "item_ids_")}
            heads["bias_ids_"] = torch.tensor(np.log1p(counts), dtype=torch.float32)
        return {name: p.to(self.device).requires_grad_() for name, p in heads.items()}

    def _normal(self, *shape: int) -> torch.Tensor:
        import torch

        return torch.randn(shape, generator=self.generator) * 0.01

    def _groups(self, layers: int) -> list[dict[str, Any]]:
        """Optimiser groups: heads, and the encoder's last `layers` layers, lower ones slower (Howard & Ruder 2018)."""
        c = self.config
        rates = {"user_weight_": (c.lr_text, c.l2_text), "item_weight_": (c.lr_text, c.l2_text), "centre_": (c.lr, 0.0)}
        rates |= {"user_ids_": (c.lr, c.l2_ids), "item_ids_": (c.lr, c.l2_ids), "bias_ids_": (c.lr, 0.0)}
        groups: list[dict[str, Any]] = [
            {"names": [name], "params": [p], "lr": rates[name][0], "weight_decay": 2 * rates[name][1]}
            for name, p in self.heads.items()
            if name in rates
        ]
        if self.encoder is None:
            return groups
        depth = self.encoder.model.config.num_hidden_layers
        for name, p in self.encoder.model.named_parameters():
            found = re.search(r"layer\.(\d+)\.", name)
            height = int(found[1]) + 1 if found else 0
            p.requires_grad_(height > depth - layers and "pooler" not in name)
            if p.requires_grad:
                groups.append({"names": [f"encoder.{name}"], "params": [p], "lr": c.lr_encoder * 0.9 ** (depth - height)})
        return groups

    def start_from(self, heads: Arrays, vectors: NDArray[np.float32]) -> None:
        """Go on from trained heads, by name, which read the text vectors (n_items, d) along the axes they were trained on."""
        for name, value in heads.items():
            self.heads[name].data.copy_(self.bank.new_tensor(value))
        self.bank = whitened(self.heads, self.bank.new_tensor(vectors))

    def run(self, checkpoint: Path | None = None, key: str = "") -> None:
        """Train until the validation NDCG@10 stops rising or the epochs are over, then take back the best epoch's weights.

        With a `checkpoint` file every epoch is saved; a file of the same `key` is gone on from, with the same result.
        """
        from tqdm import tqdm

        if checkpoint is not None and checkpoint.is_file():
            self._resume(checkpoint, key)
        with deterministic(), tqdm(total=self.config.epochs, initial=self.epoch, desc="bert", unit="epoch", disable=None) as bar:
            while self.epoch < self.config.epochs and self.stale <= self.config.patience:
                self._one_epoch()
                bar.update()
                if checkpoint is not None:
                    self._save(checkpoint, key)
        for name, value in self.kept.items():
            (self.bank if name == "bank" else self.trained[name]).data.copy_(value)

    @property
    def tuning(self) -> bool:
        """Whether the encoder is trained in this epoch; the heads go first (Kumar et al. 2022)."""
        return self.encoder is not None and self.epoch > self.config.warmup

    def _one_epoch(self) -> None:
        self.epoch += 1
        loss = self._pass()
        if self.tuning and self.encoder:
            vectors = np.nan_to_num(self.encoder.encode(self.texts, max_length=self.config.max_length))
            self.bank = whitened(self.heads, self.bank.new_tensor(vectors))
        value = self.validate()
        smooth = float(np.mean([*(h["value"] for h in self.history[1 - SMOOTH :]), value]))
        if not smooth <= self.best:  # higher, or NaN where nothing is held out
            self.best, self.stale = smooth, 0
            self.kept = {name: p.detach().clone() for name, p in {**self.trained, "bank": self.bank}.items()}
        else:
            self.stale += 1
        self.history.append({"epoch": self.epoch, "loss": loss, "metric": "ndcg@10", "value": value})

    def _pass(self) -> float:
        """One pass over users with two likes or more (at most `epoch_users`), in four steps at least; the mean loss."""
        import torch

        users = np.flatnonzero(self.seen.likes.lengths >= 2)
        users = users[torch.randperm(len(users), generator=self.generator).numpy()][: self.config.epoch_users]
        total, size = 0.0, min(self.config.batch_users, -(-len(users) // 4))
        for start in range(0, len(users), size):
            rows = users[start : start + size]
            loss = self.loss(self.seen[rows], self._texts_with_gradients())
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_([p for name, p in self.trained.items() if name.startswith("encoder.")], 1.0)
            self.optimizer.step()
            total += loss.item() * len(rows)
        return total / len(users)

    def _texts_with_gradients(self) -> torch.Tensor:
        """z of every item (n_items, d); a random batch fresh from the encoder, the others from memory (Wang et al. 2020)."""
        import torch

        if not self.tuning or self.encoder is None:
            return self.bank
        known = torch.from_numpy(np.flatnonzero(self.has_text))
        chosen = known[torch.randperm(len(known), generator=self.generator)[: self.config.batch_texts]]
        fresh = self.encoder.embed([self.texts[n] for n in chosen], self.config.max_length)
        vectors: torch.Tensor = self.bank.index_copy(0, chosen.to(self.device), whitened(self.heads, fresh))
        self.bank = vectors.detach()
        return vectors

    def loss(self, batch: Histories, vectors: torch.Tensor) -> torch.Tensor:
        """Mean over rows of the loss of the likes given the events shown."""
        import torch

        c = self.config
        row, item = torch.from_numpy(batch.rows), torch.from_numpy(batch.items.astype(np.int64))
        liked = torch.from_numpy(np.ones(len(batch.items), bool) if batch.liked is None else batch.liked)
        draw = torch.rand(len(item), generator=self.generator)
        shown = draw >= c.history_dropout
        weight = torch.from_numpy(batch.csr(c.decay).data)
        parts, items, bias = towers(self.heads, vectors)
        place = torch.stack([row[shown], item[shown]])
        inputs = torch.sparse_coo_tensor(place, weight[shown], batch.shape, check_invariants=False).to(self.device)
        sizes = torch.bincount(row[shown], torch.from_numpy(batch.values)[shown], minlength=len(batch)).to(self.device)
        sizes = torch.where(sizes > 0, sizes, 1.0)
        users = torch.sparse.mm(inputs.coalesce(), parts) / sizes.sqrt()[:, None]
        if c.loss == "softmax":
            chances = (users @ items.T + bias + self.blank).log_softmax(1)
            loss: torch.Tensor = -chances[row[liked].to(self.device), item[liked].to(self.device)].sum() / len(batch)
            return loss
        open_ = liked & ~shown
        pick = np.lexsort((torch.where(open_, draw, -1.0).numpy(), batch.rows))[batch.indptr[1:] - 1]  # each row's highest draw
        pick = pick[open_.numpy()[pick]]
        return self._in_batch(users, items, bias, row[liked], item[liked], row[pick], item[pick])

    def _in_batch(self, users: Any, items: Any, bias: Any, row: Any, item: Any, rows: Any, chosen: Any) -> torch.Tensor:
        """One hidden like, `chosen`, of each of `rows` against the other rows', corrected for their popularity (Yi et al. 2019);
        `row` and `item`: all likes."""
        import torch

        n_items = len(items)
        liked = torch.isin(rows[:, None] * n_items + chosen, row * n_items + item)  # a liked item is no negative
        liked &= ~torch.eye(len(rows), dtype=torch.bool)
        chosen = chosen.to(self.device)
        logits = users[rows.to(self.device)] @ items[chosen].T + bias[chosen] - self.log_share[chosen]
        logits = logits.masked_fill(liked.to(self.device), -torch.inf)
        loss: torch.Tensor = -logits.log_softmax(1).diagonal().sum() / max(len(rows), 1)
        return loss

    def validate(self) -> float:
        """NDCG@10 over the held-out likes, full ranking; NaN where none is held out."""
        users = np.flatnonzero(self.held.lengths)
        if not len(users):
            return float("nan")
        parts, items, bias = towers(self.arrays(), self.bank.cpu().numpy())
        bias = np.where(self.has_text, bias, -np.inf)
        blocks = np.array_split(users, len(users) // 500 + 1)
        values = [self._ndcg(self.seen[u], self.held[u], parts, items, bias) for u in blocks]
        return float(np.concatenate(values).mean())

    def _ndcg(self, seen: Histories, held: Histories, parts: Any, items: Any, bias: Any) -> NDArray[np.float64]:
        scores = profiles(seen, parts, self.config.decay) @ items.T + bias
        scores[seen.rows, seen.items] = -np.inf
        k = min(10, scores.shape[1])
        top = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        top = np.take_along_axis(top, np.argsort(-np.take_along_axis(scores, top, 1), axis=1, kind="stable"), 1)
        return ndcg(np.take_along_axis(held.csr().toarray() > 0, top, 1), held.lengths)

    def arrays(self) -> Arrays:
        """The heads by attribute name."""
        return {name: p.detach().cpu().numpy().copy() for name, p in self.heads.items()}

    def _save(self, file: Path, key: str) -> None:
        state = {f"trained.{n}": p for n, p in self.trained.items()} | {f"kept.{n}": p for n, p in self.kept.items()}
        for name, p in self.trained.items():
            state |= {f"adam.{name}.{k}": v for k, v in self.optimizer.state.get(p, {}).items()}
        state |= {"bank": self.bank, "generator": self.generator.get_state()}
        facts = {"key": key, "epoch": self.epoch, "stale": self.stale, "best": self.best, "history": self.history}
        write_whole(file, {n: t.detach().cpu().numpy() for n, t in state.items()}, {"facts": json.dumps(facts)})

    def _resume(self, file: Path, key: str) -> None:
        from safetensors import safe_open

        with safe_open(file, "pt") as stored:
            facts = json.loads((stored.metadata() or {}).get("facts", "{}"))
            if facts.get("key") != key:
                log.warning("checkpoint %s belongs to other data or settings; training starts anew", file)
                return
            state = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 (not a dict)
        for name, p in self.trained.items():
            p.data.copy_(state[f"trained.{name}"])
            slots = {k: state[f"adam.{name}.{k}"] for k in ("step", "exp_avg", "exp_avg_sq") if f"adam.{name}.{k}" in state}
            if slots:
                self.optimizer.state[p] = {k: v if k == "step" else v.to(self.device) for k, v in slots.items()}
        self.kept = {n.removeprefix("kept."): t.to(self.device) for n, t in state.items() if n.startswith("kept.")}
        self.bank = state["bank"].to(self.device)
        self.generator.set_state(state["generator"])
        self.epoch, self.stale, self.best, self.history = facts["epoch"], facts["stale"], facts["best"], facts["history"]


@contextmanager
def deterministic() -> Iterator[None]:
    """The same seed gives the same bytes on a CPU; torch's own setting is left as it was."""
    import torch

    mode = torch.get_deterministic_debug_mode()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(mode)
