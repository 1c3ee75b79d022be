"""Matrix factorisation: users and items as short vectors; a new history is folded in, so nobody needs an id.

In: liked interactions. Out: item vectors V; a history's vector u minimises the training loss with V fixed; score = u . V_i.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from recsys_core.data import Dataset, Histories
from recsys_core.errors import UserError, unknown
from recsys_core.scorers.base import Scorer, Scores

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class FactorsConfig:
    """Args:
    dim: length of the vectors.
    loss: "mse" (squared error on 0/1 over all pairs, likes weighing more) or "bce" (logistic); for solver "torch".
    solver: "torch", or "als" (alternating least squares of the implicit library; extra `als`).
    positive_weight: what a like weighs against an unobserved pair.
    weight_decay: L2 on the vectors, in the units of the summed loss of one user.
    decay: recency of the history in events, 0 = off.
    """

    dim: int = 32
    loss: str = "mse"
    solver: str = "torch"
    positive_weight: float = 10.0
    weight_decay: float = 10.0
    epochs: int = 30
    lr: float = 0.05
    batch_size: int = 256
    decay: float = 0.0


class Model(Scorer):
    """Implicit-feedback matrix factorisation (Hu, Koren & Volinsky 2008, eq. 3 and 4) trained by gradient or by ALS."""

    Config = FactorsConfig
    item_vectors_: NDArray[np.float32]  # (n_items, dim); NaN rows = never liked in training

    @classmethod
    def grid(cls, config: FactorsConfig) -> list[FactorsConfig]:
        return [config, *(replace(config, dim=d, weight_decay=w) for d, w in ((32, 30.0), (64, 30.0)))]

    def fit(self, dataset: Dataset, rng: np.random.Generator) -> Self:
        solvers: dict[str, Callable[..., NDArray[np.float32]]] = {"torch": _by_gradient, "als": _by_als}
        if self.config.solver not in solvers:
            raise unknown("solver", self.config.solver, solvers)
        if self.config.loss not in ("mse", "bce"):
            raise unknown("loss", self.config.loss, ("mse", "bce"))
        histories = dataset.histories()
        vectors = solvers[self.config.solver](self.config, histories, rng)
        never = np.bincount(histories.items, minlength=histories.n_items) == 0
        vectors[never] = np.nan
        self.item_vectors_ = vectors
        return self

    def fold_in(self, histories: Histories) -> NDArray[np.float32]:
        """(n_rows, dim) vectors that minimise the loss of these rows with the item vectors fixed; zero for an empty row."""
        known = np.nan_to_num(self.item_vectors_).astype(np.float64)
        return (
            _fold_in_bce(self.config, known, histories)
            if self.config.loss == "bce"
            else _fold_in_mse(self.config, known, histories)
        )

    def score(self, histories: Histories, items: NDArray[np.int64] | None = None) -> Scores:
        vectors = self.item_vectors_ if items is None else self.item_vectors_[items]
        return np.asarray(self.fold_in(histories) @ vectors.T, dtype=np.float32)


def _fold_in_mse(config: FactorsConfig, v: NDArray[np.float64], histories: Histories) -> NDArray[np.float32]:
    """Per row: (V'V + sum_j (c_j - 1) v_j v_j' + reg I) u = sum_j c_j v_j, with c_j = positive_weight * the event's weight."""
    shared = v.T @ v + config.weight_decay * np.eye(v.shape[1])
    out = np.zeros((len(histories), v.shape[1]), np.float32)
    for rows, block in histories.blocks(512):
        x = block.csr(config.decay or None)
        right = config.positive_weight * (x @ v)
        pairs = x.copy()
        pairs.data = np.maximum(config.positive_weight * x.data - 1, 0)
        outer = (v[:, :, None] * v[:, None, :]).reshape(len(v), -1)  # (n_items, dim * dim)
        left = shared + (pairs @ outer).reshape(len(block), v.shape[1], -1)
        out[rows] = np.linalg.solve(left, right[:, :, None])[:, :, 0]
    return out


def _fold_in_bce(config: FactorsConfig, v: NDArray[np.float64], histories: Histories, steps: int = 6) -> NDArray[np.float32]:
    """Newton steps on the row's logistic loss, which is strictly convex in u."""
    out = np.zeros((len(histories), v.shape[1]), np.float32)
    outer = (v[:, :, None] * v[:, None, :]).reshape(len(v), -1)
    eye = 2 * config.weight_decay * np.eye(v.shape[1])
    for rows, block in histories.blocks(256):
        x = block.csr(config.decay or None).toarray()
        weight = np.where(x > 0, config.positive_weight * x, 1.0)
        u = np.zeros((len(block), v.shape[1]))
        for _ in range(steps if v.any() else 0):
            p = 1 / (1 + np.exp(-np.clip(u @ v.T, -30, 30)))
            slope = (weight * (p - (x > 0))) @ v + 2 * config.weight_decay * u
            curve = ((weight * p * (1 - p)) @ outer).reshape(len(block), v.shape[1], -1) + eye
            u -= np.linalg.solve(curve, slope[:, :, None])[:, :, 0]
        out[rows] = np.where((x > 0).any(axis=1, keepdims=True), u, 0)
    return out


def _by_als(config: FactorsConfig, histories: Histories, rng: np.random.Generator) -> NDArray[np.float32]:
    try:
        from implicit.als import AlternatingLeastSquares
    except ImportError as error:
        raise UserError("solver 'als' needs the implicit library: pip install 'whyrec[als]', or use solver = 'torch'") from error
    with threadpool_limits(1, "blas"):  # the library's own advice: it threads over users itself
        model = AlternatingLeastSquares(
            factors=config.dim,
            regularization=config.weight_decay,
            alpha=config.positive_weight,
            iterations=15,  # its default; more does not help on ml-100k
            num_threads=1,  # one thread: the same bytes for the same seed
            random_state=int(rng.integers(2**31)),
        )
        model.fit(csr_matrix(histories.csr()), show_progress=False)
    return np.array(model.item_factors, dtype=np.float32)


def _by_gradient(config: FactorsConfig, histories: Histories, rng: np.random.Generator) -> NDArray[np.float32]:
    """Adam over user batches; each step sees the batch's full rows, so unobserved pairs need no sampling."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**63)))
        users = torch.nn.Parameter(0.1 * torch.randn(len(histories), config.dim))
        items = torch.nn.Parameter(0.1 * torch.randn(histories.n_items, config.dim))
        optimiser = torch.optim.Adam([users, items], lr=config.lr)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, config.epochs)
        for _ in range(config.epochs):
            for rows in np.array_split(rng.permutation(len(histories)), max(1, len(histories) // config.batch_size)):
                loss = _loss(config, users[torch.from_numpy(rows)], items, histories[rows], share=len(rows) / len(histories))
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            schedule.step()
    return items.detach().numpy().copy()


def _loss(config: FactorsConfig, u: torch.Tensor, items: torch.Tensor, block: Histories, share: float) -> Any:
    import torch

    x = torch.from_numpy(block.csr().toarray())  # (batch, n_items)
    weight = 1 + (config.positive_weight - 1) * (x > 0)
    logit = u @ items.T
    if config.loss == "bce":
        fit = torch.nn.functional.binary_cross_entropy_with_logits(logit, (x > 0).float(), weight, reduction="sum")
    else:
        fit = (weight * (logit - (x > 0).float()) ** 2).sum()
    return fit + config.weight_decay * ((u**2).sum() + share * (items**2).sum())
