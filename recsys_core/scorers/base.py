"""What a scorer owes, and how any scorer is saved: config.json + arrays.safetensors, never a pickle.

A scorer is a pure function of histories. Learned arrays are attributes whose names end in `_`; they are all that is saved.
"""

from __future__ import annotations

import dataclasses
import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse

from recsys_core.data import Dataset, Histories

Scores = NDArray[np.float32]  # (n_rows, n_items); NaN = cannot score


@dataclasses.dataclass(frozen=True)
class NoConfig:
    """For scorers without settings."""


class Scorer(ABC):
    """One component. Subclasses are named `Model`, one a file, with a frozen dataclass `Config`.

    A constructor stores, `fit` learns and forgets what an earlier fit learned, `score` never changes anything.
    """

    Config: ClassVar[type[Any]] = NoConfig
    reads_text: ClassVar[bool] = False  # whether permuting item texts may change its scores
    search: ClassVar[dict[str, tuple[Any, ...]]] = {}  # settings to try on validation data, one key after the other
    only_scoring: ClassVar[tuple[str, ...]] = ("decay",)  # keys that `fit` does not read, so trying them needs no new fit

    def __init__(self, config: Any = None) -> None:
        self.config = self.Config() if config is None else config

    @abstractmethod
    def fit(self, dataset: Dataset, rng: np.random.Generator) -> Self:
        """Learn from the liked interactions (and texts, attributes) of `dataset`."""

    @abstractmethod
    def score(self, histories: Histories, items: NDArray[np.int64] | None = None) -> Scores:
        """Scores of `items` (default all) for each history row, (n_rows, len(items)) float32, higher is better, NaN = cannot."""

    def learned(self) -> dict[str, Any]:
        """Arrays and sparse matrices that `fit` left, by attribute name."""
        return {k: v for k, v in vars(self).items() if k.endswith("_") and not k.startswith("_")}

    def save(self, folder: Path) -> None:
        """Write config.json and arrays.safetensors into an existing or new folder."""
        from safetensors.numpy import save_file

        folder.mkdir(parents=True, exist_ok=True)
        flat: dict[str, NDArray[Any]] = {}
        for name, value in self.learned().items():
            if isinstance(value, csr_array):
                parts = {"data": value.data, "indices": value.indices, "indptr": value.indptr, "shape": np.array(value.shape)}
                flat.update({f"{name}.{part}": np.ascontiguousarray(array) for part, array in parts.items()})
            else:
                flat[name] = np.ascontiguousarray(value)
        save_file(flat, folder / "arrays.safetensors")
        config = json.dumps(dataclasses.asdict(self.config), indent=1, sort_keys=True)
        (folder / "config.json").write_text(config + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read back what `save` wrote; scores are equal to the bit."""
        from safetensors.numpy import load_file

        settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        scorer = cls(cls.Config(**{k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}))
        flat = load_file(folder / "arrays.safetensors")
        for name in {n.partition(".")[0] for n in flat}:
            if name in flat:
                setattr(scorer, name, flat[name])
            else:
                parts = {p: flat[f"{name}.{p}"] for p in ("data", "indices", "indptr", "shape")}
                matrix = csr_array((parts["data"], parts["indices"], parts["indptr"]), shape=tuple(parts["shape"]))
                setattr(scorer, name, matrix)
        return scorer


class LinearScorer(Scorer):
    """A scorer that is linear in the history row: score(h) = prior + sum_j x_j * weights[j].

    So each past item's contribution is x_j * weights[j, i], exactly (its Shapley value against the empty history).
    `fit` leaves `weights_` (n_items, n_items), dense or CSR, and `prior_` (n_items,), NaN where an item cannot be scored.
    """

    weights_: NDArray[np.float32] | csr_array
    prior_: NDArray[np.float32]

    @property
    def decay(self) -> float | None:
        """Recency of the history in events: an event of age a counts exp(-a / decay); None: all count alike."""
        value = getattr(self.config, "decay", None)
        return None if not value else float(value)

    def score(self, histories: Histories, items: NDArray[np.int64] | None = None) -> Scores:
        weights = self.weights_ if items is None else self.weights_[:, items]
        prior = self.prior_ if items is None else self.prior_[items]
        product = histories.csr(self.decay) @ weights
        dense = product.toarray() if issparse(product) else product
        return np.asarray(dense + prior, dtype=np.float32)

    def contributions(self, history: Histories, items: NDArray[np.int64]) -> NDArray[np.float32]:
        """Of one history row: (n_past, len(items)), what each past item adds to each score."""
        if len(history) != 1:
            raise ValueError("contributions are of one history row")
        block = self.weights_[history.items][:, items]
        dense = block.toarray() if issparse(block) else block
        return np.asarray(history.csr(self.decay).data[:, None] * dense, dtype=np.float32)


def gram(histories: Histories, decay: float | None = None) -> NDArray[np.float64]:
    """X' X, (n_items, n_items), accumulated over user blocks so that no users x items matrix is dense at once."""
    x = histories.csr(decay).astype(np.float64)
    if histories.n_items <= 4096 or x.nnz < 2_000_000:
        product: NDArray[np.float64] = (x.T @ x).toarray()
        return product
    total = np.zeros((histories.n_items, histories.n_items))
    for start in range(0, len(histories), 4096):  # 4096 rows x 20,000 items: 650 MB, and BLAS is faster than sparse here
        block = x[start : start + 4096].toarray()
        total += block.T @ block
    return total
