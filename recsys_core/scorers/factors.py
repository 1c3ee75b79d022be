"""Matrix factorisation: users and items as short vectors; a new history is folded in, so nobody needs an id.

In: liked interactions. Out: item vectors V; a history's vector u minimises the training loss with V fixed; score = u . V_i.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

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
    weight_decay: L2 on the vectors, in the units of the summed loss.
    steps: gradient steps of `batch_size` users each.
    decay: recency of the history in events, 0 = off.
    """

    dim: int = 32
    loss: str = "mse"
    solver: str = "torch"
    positive_weight: float = 10.0
    weight_decay: float = 10.0
    steps: int = 150
    lr: float = 0.05
    batch_size: int = 256
    decay: float = 0.0


class Model(Scorer):
    """Implicit-feedback matrix factorisation (Hu, Koren & Volinsky 2008, eq. 3 and 4) trained by gradient or by ALS."""

    Config = FactorsConfig
    search: ClassVar[dict[str, tuple[Any, ...]]] = {"weight_decay": (10.0, 30.0), "dim": (32, 64), "decay": (0.0, 5.0, 20.0)}
    item_vectors_: NDArray[np.float32]  # (n_items, dim); NaN rows = never liked in training

    def fit(self, dataset: Dataset, rng: np.random.Generator) -> Self:
        solvers: dict[str, Callable[..., NDArray[np.float32]]] = {"torch": _by_gradient, "als": _by_als}
        if self.config.solver not in solvers:
            raise unknown("solver", self.config.solver, solvers)
        if self.config.loss not in _FOLD_IN:
            raise unknown("loss", self.config.loss, _FOLD_IN)
        histories = dataset.histories()
        vectors = solvers[self.config.solver](self.config, histories, rng)
        never = np.bincount(histories.items, minlength=histories.n_items) == 0
        vectors[never] = np.nan
        self.item_vectors_ = vectors
        return self

    def fold_in(self, histories: Histories) -> NDArray[np.float32]:
        """(n_rows, dim) vectors that minimise the loss of these rows with the item vectors fixed; zero for an empty row."""
        known = np.nan_to_num(self.item_vectors_).astype(np.float64)
        return _FOLD_IN[self.config.loss](self.config, known, histories)

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
    """Adam on the item vectors alone: each step folds a batch of users in, exactly, and then moves the items.

    The users' vectors are the minimisers given V, so this is the gradient of the loss after folding in (variable projection,
    Golub & Pereyra 1973): training sees users as serving does, and its length need not grow with their number.
    A step sees the batch's full rows, so unobserved pairs need no sampling.
    """
    import torch

    items = torch.nn.Parameter(torch.from_numpy(rng.normal(0, 0.1, (histories.n_items, config.dim)).astype(np.float32)))
    optimiser = torch.optim.Adam([items], lr=config.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, config.steps)
    users = np.flatnonzero(histories.lengths > 0)
    for batch in _batches(users, config, rng):
        block = histories[batch]
        folded = _FOLD_IN[config.loss](config, items.detach().numpy().astype(np.float64), block)
        loss = _loss(config, torch.from_numpy(folded), items, block, share=len(batch) / len(users))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return items.detach().numpy().copy()


def _batches(users: NDArray[np.int64], config: FactorsConfig, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """`steps` batches, going through all users in a new random order each time round."""
    size = min(config.batch_size, len(users))
    waiting = np.zeros(0, np.int64)
    for _ in range(config.steps if size else 0):
        if len(waiting) < size:
            waiting = np.concatenate([waiting, rng.permutation(users)])
        yield waiting[:size]
        waiting = waiting[size:]


def _loss(config: FactorsConfig, u: torch.Tensor, items: torch.Tensor, block: Histories, share: float) -> Any:
    import torch

    x = torch.from_numpy(block.csr(config.decay or None).toarray())  # (batch, n_items)
    weight = torch.where(x > 0, (config.positive_weight * x).clamp(min=1), 1.0)
    logit = u @ items.T
    if config.loss == "bce":
        fit = torch.nn.functional.binary_cross_entropy_with_logits(logit, (x > 0).float(), weight, reduction="sum")
    else:
        fit = (weight * (logit - (x > 0).float()) ** 2).sum()
    return fit + config.weight_decay * share * (items**2).sum()


_FOLD_IN = {"mse": _fold_in_mse, "bce": _fold_in_bce}
