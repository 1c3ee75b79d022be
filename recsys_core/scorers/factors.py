"""Matrix factorisation: users and items as short vectors; a new history is folded in, so nobody needs an id.

In: likes, and the histories they are in. Out: item vectors V, and how a history becomes a vector u; score = u . V_i.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, csr_matrix
from scipy.sparse.linalg import svds
from threadpoolctl import threadpool_limits

from recsys_core.data import Dataset, Histories
from recsys_core.errors import UserError, unknown
from recsys_core.scorers.base import Scorer, Scores, low_rank, most_liked, one_row, weighed

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.float64]
MOST_FOLDED = 20_000  # users that the matrix of the linear fold-in is learned from: plenty for dim^2 numbers


@dataclass(frozen=True)
class FactorsConfig:
    """Args:
    dim: length of the vectors.
    loss: "mse" (squared error on 0/1 over all pairs) or "bce" (logistic; solver "torch" only).
    solver: "als" (exact alternating steps), "torch" (gradients), or "implicit" (the ALS of that library; extra `als`).
    unobserved: what any pair weighs as a 0, against 1 for a like as a 1.
    reg: L2 on each vector, times (its likes + unobserved * all it could have): the scaling of Rendle et al. 2021, eq. 8.
    sweeps: of "als" and "implicit". steps, batch_size, lr: of "torch".
    fold_in: "linear": u = sum_j x_j V_j M with one matrix M for all, so that every past item's share of a score is exact; or
        "exact": u minimises the training loss of this history with V fixed. They rank alike on MovieLens-100K.
    decay: recency of the history in events when scoring, 0 = off.
    """

    dim: int = 64
    loss: str = "mse"
    solver: str = "als"
    unobserved: float = 0.2
    reg: float = 0.02
    sweeps: int = 4
    steps: int = 150
    batch_size: int = 256
    lr: float = 0.05
    fold_in: str = "linear"
    decay: float = 0.0

    def __post_init__(self) -> None:
        if self.fold_in not in ("linear", "exact"):
            raise unknown("factors fold_in", self.fold_in, ("linear", "exact"))


class Model(Scorer):
    """Implicit-feedback matrix factorisation (Hu, Koren & Volinsky 2008) with the settings that matter (Rendle et al. 2021)."""

    Config = FactorsConfig
    search: ClassVar[dict[str, tuple[Any, ...]]] = {
        "reg": (0.01, 0.02, 0.05),
        "unobserved": (0.1, 0.2, 0.4),
        "decay": (0.0, 5.0, 20.0),
    }
    item_vectors_: NDArray[np.float32]  # (n_items, dim); NaN rows = never liked in training
    metric_: NDArray[np.float32]  # (dim, dim) M of the linear fold-in

    @property
    def linear(self) -> bool:
        return bool(self.config.fold_in == "linear")

    def fit(self, dataset: Dataset, rng: np.random.Generator) -> Self:
        solvers: dict[str, Callable[..., Floats]] = {"als": _by_als, "torch": _by_gradient, "implicit": _by_implicit}
        if self.config.solver not in solvers:
            raise unknown("solver", self.config.solver, solvers)
        if self.config.loss not in _FOLD_IN:
            raise unknown("loss", self.config.loss, _FOLD_IN)
        if self.config.loss == "bce" and self.config.solver != "torch":
            raise UserError("factors: loss 'bce' needs solver = 'torch'")
        histories = dataset.histories()
        return self._take(histories, lambda: solvers[self.config.solver](self.config, histories.targets, rng))

    @property
    def renewal(self) -> str:
        return "warm start"

    def renew(self, dataset: Dataset, rng: np.random.Generator, epochs: int) -> Self:
        """As many sweeps (of solver "torch": rounds through all users) from the present vectors, an item's first likes from 0."""
        config, histories = self.config, dataset.histories()
        start = np.nan_to_num(self.item_vectors_).astype(np.float64)
        model = type(self)(config)
        if config.solver != "torch":
            return model._take(histories, lambda: _sweeps(config, histories.targets.csr(), start, epochs))
        steps = epochs * -(-int((histories.targets.lengths > 0).sum()) // config.batch_size)
        return model._take(histories, lambda: _by_gradient(replace(config, steps=steps), histories.targets, rng, start))

    def _take(self, histories: Histories, solve: Callable[[], Floats]) -> Self:
        """The solved vectors of the liked items, and the fold-in that fits them."""
        liked, _ = most_liked(histories, histories.n_items)
        self.item_vectors_ = np.full((histories.n_items, self.config.dim), np.nan, np.float32)
        with threadpool_limits(1, "blas"):  # the systems are small: a second thread costs more than it brings
            self.item_vectors_[liked] = solve()[liked]
        some = histories[np.flatnonzero(histories.targets.lengths)[:MOST_FOLDED]]
        self.metric_ = np.linalg.lstsq(self._sums(some), self._minimisers(some), rcond=None)[0].astype(np.float32)
        return self

    def _sums(self, histories: Histories) -> NDArray[np.float32]:
        """(n_rows, dim) sum_j x_j V_j, x as any linear scorer weighs a row."""
        return np.asarray(weighed(histories, self.config.decay) @ np.nan_to_num(self.item_vectors_), np.float32)

    def _minimisers(self, histories: Histories) -> NDArray[np.float32]:
        """(n_rows, dim) vectors that minimise the loss of the likes in these rows with the item vectors fixed; else zero."""
        known = np.nan_to_num(self.item_vectors_).astype(np.float64)
        with threadpool_limits(1, "blas"):
            return _FOLD_IN[self.config.loss](self.config, known, histories.targets.csr(self.config.decay)).astype(np.float32)

    def fold_in(self, histories: Histories) -> NDArray[np.float32]:
        """(n_rows, dim) the vectors of these rows; zero for an empty row.

        M of the linear fold-in maps sum_j x_j V_j, over all that the history holds, to the minimisers of the loss of its likes,
        by least squares over the training users.
        """
        return self._sums(histories) @ self.metric_ if self.linear else self._minimisers(histories)

    def score(self, histories: Histories, items: NDArray[np.int64] | None = None) -> Scores:
        vectors = self.item_vectors_ if items is None else self.item_vectors_[items]
        if not self.linear:
            return np.asarray(self.fold_in(histories) @ vectors.T, dtype=np.float32)
        known = np.nan_to_num(self.item_vectors_)
        scores = low_rank(weighed(histories, self.config.decay), known @ self.metric_, known, items)
        return np.where(np.isnan(vectors[:, 0]), np.nan, scores).astype(np.float32)

    def prior(self, items: NDArray[np.int64]) -> NDArray[np.float32]:
        return np.asarray(0 * self.item_vectors_[items, 0], np.float32)

    def contributions(self, history: Histories, items: NDArray[np.int64]) -> NDArray[np.float32]:
        """Of one history row under the linear fold-in: (n_past, len(items)), x_j V_j M . V_i, 0 of an item to itself; NaN for
        items never liked."""
        past = np.nan_to_num(self.item_vectors_[one_row(history).items])
        weight = weighed(history, self.config.decay).data[:, None] * (history.items[:, None] != items)
        return np.asarray(weight * (past @ self.metric_ @ self.item_vectors_[items].T), np.float32)


def _fold_in_mse(config: FactorsConfig, v: Floats, x: csr_array) -> Floats:
    """Per row: (a V'V + sum_j x_j v_j v_j' + reg (n + a N) I) u = sum_j x_j v_j, a = unobserved, N = rows of V."""
    shared = config.unobserved * v.T @ v
    out = np.zeros((x.shape[0], v.shape[1]))
    eye = np.eye(v.shape[1])
    for start in range(0, x.shape[0], 512):
        rows = [r for r in range(start, min(start + 512, x.shape[0])) if x.indptr[r] < x.indptr[r + 1]]
        if not rows:
            continue
        left, right = np.empty((len(rows), *shared.shape)), np.empty((len(rows), len(shared)))
        for n, r in enumerate(rows):
            mine = slice(x.indptr[r], x.indptr[r + 1])
            near, weight = v[x.indices[mine]], x.data[mine].astype(np.float64)
            left[n] = shared + (near.T * weight) @ near + config.reg * (weight.sum() + config.unobserved * len(v)) * eye
            right[n] = weight @ near
        out[rows] = np.linalg.solve(left, right[:, :, None])[:, :, 0]
    return out


def _fold_in_bce(config: FactorsConfig, v: Floats, x: csr_array, steps: int = 6) -> Floats:
    """Newton steps on the row's logistic loss, which is strictly convex in u."""
    out = np.zeros((x.shape[0], v.shape[1]))
    outer = (v[:, :, None] * v[:, None, :]).reshape(len(v), -1)  # (n_items, dim * dim)
    for start in range(0, x.shape[0], 256):
        rows = slice(start, start + 256)
        likes = x[rows].toarray().astype(np.float64)  # (batch, n_items)
        ridge = 2 * config.reg * (likes.sum(axis=1) + config.unobserved * len(v))
        u = np.zeros((len(likes), v.shape[1]))
        for _ in range(steps):
            p = 1 / (1 + np.exp(-np.clip(u @ v.T, -30, 30)))
            slope = ((likes + config.unobserved) * p - likes) @ v + ridge[:, None] * u
            curve = ((likes + config.unobserved) * p * (1 - p)) @ outer
            left = curve.reshape(len(u), v.shape[1], -1) + ridge[:, None, None] * np.eye(v.shape[1])
            u -= np.linalg.solve(left, slope[:, :, None])[:, :, 0]
        out[rows] = np.where(likes.any(axis=1, keepdims=True), u, 0)
    return out


def _by_als(config: FactorsConfig, histories: Histories, rng: np.random.Generator) -> Floats:
    """Alternating exact solutions from a truncated SVD: it needs few sweeps, and never collapses as small random starts can."""
    x = histories.csr()
    return _sweeps(config, x, _svd_start(x, config.dim), config.sweeps)


def _sweeps(config: FactorsConfig, x: csr_array, v: Floats, n: int) -> Floats:
    """`n` times the users' exact solutions for the item vectors v (n_items, dim), and the items' for those."""
    by_item = csr_array(x.T)
    for _ in range(n):
        v = _fold_in_mse(config, _fold_in_mse(config, v, x), by_item)
    return v


def _svd_start(x: csr_array, dim: int) -> Floats:
    """(n_items, dim) right singular vectors times the root of their singular values; zero columns beyond the rank."""
    v = np.zeros((x.shape[1], dim))
    found = min(dim, min(x.shape) - 1)
    if found > 0 and x.nnz:
        _, s, vt = svds(x.astype(np.float64), found, random_state=0)
        v[:, :found] = vt.T * np.sqrt(np.maximum(s, 0)) / np.sqrt(s.mean())
    return v


def _by_implicit(config: FactorsConfig, histories: Histories, rng: np.random.Generator) -> Floats:
    try:
        from implicit.als import AlternatingLeastSquares
    except ImportError as error:
        raise UserError("solver 'implicit' needs that library: pip install 'whyrec[als]', or use solver = 'als'") from error
    model = AlternatingLeastSquares(
        factors=config.dim,
        alpha=1 / config.unobserved,
        regularization=config.reg * histories.lengths.mean() / config.unobserved,
        iterations=config.sweeps,
        num_threads=1,  # one thread: the same bytes for the same seed
        random_state=int(rng.integers(2**31)),
    )
    model.fit(csr_matrix(histories.csr()), show_progress=False)
    return np.array(model.item_factors, dtype=np.float64)


def _by_gradient(config: FactorsConfig, histories: Histories, rng: np.random.Generator, start: Floats | None = None) -> Floats:
    """Adam on the item vectors alone: each step folds a batch of users in, exactly, and then moves the items.

    The users' vectors are the minimisers given V, so this is the gradient of the loss after folding in (variable projection,
    Golub & Pereyra 1973): training sees users as serving does, and its length need not grow with their number.
    A step sees the batch's full rows, so unobserved pairs need no sampling.
    """
    import torch

    if start is None:
        start = _svd_start(histories.csr(), config.dim) + rng.normal(0, 0.01, (histories.n_items, config.dim))
    items = torch.nn.Parameter(torch.from_numpy(start.astype(np.float32)))
    optimiser = torch.optim.Adam([items], lr=config.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, config.steps)
    likes = np.bincount(histories.items, minlength=histories.n_items)
    users = np.flatnonzero(histories.lengths > 0)
    ridge = torch.from_numpy((config.reg * (likes + config.unobserved * len(users))).astype(np.float32))
    for batch in _batches(users, config, rng):
        x = histories[batch].csr()
        folded = _FOLD_IN[config.loss](config, items.detach().numpy().astype(np.float64), x)
        loss = _loss(config, torch.from_numpy(folded.astype(np.float32)), items, torch.from_numpy(x.toarray()))
        loss = loss + len(batch) / len(users) * (ridge * (items**2).sum(dim=1)).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return items.detach().numpy().astype(np.float64)


def _batches(users: NDArray[np.int64], config: FactorsConfig, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """`steps` batches, going through all users in a new random order each time round."""
    size = min(config.batch_size, len(users))
    waiting = np.zeros(0, np.int64)
    for _ in range(config.steps if size else 0):
        if len(waiting) < size:
            waiting = np.concatenate([waiting, rng.permutation(users)])
        yield waiting[:size]
        waiting = waiting[size:]


def _loss(config: FactorsConfig, u: torch.Tensor, items: torch.Tensor, x: torch.Tensor) -> Any:
    """Likes as ones, every pair also as a zero of weight `unobserved`; x (batch, n_items)."""
    import torch

    logit = u @ items.T
    if config.loss == "bce":
        softplus = torch.nn.functional.softplus
        return (x * softplus(-logit) + config.unobserved * softplus(logit)).sum()
    return (x * (logit - 1) ** 2 + config.unobserved * logit**2).sum()


_FOLD_IN = {"mse": _fold_in_mse, "bce": _fold_in_bce}
