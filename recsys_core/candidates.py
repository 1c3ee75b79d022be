"""The candidate store: for every user the union of each component's best items, with z-scores and relevance flags.

It makes weights cheap to learn and to move: a new blend for all users is one tensor-vector product over it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys_core.data import Histories
from recsys_core.hybrid import Blend, raw_scores
from recsys_core.ranking import hide, marked, top_k
from recsys_core.scorers.base import Scorer, Scores

PER_COMPONENT = 100  # best items of each component: ten times the usual list, so that live weights have room to move


@dataclass(frozen=True)
class Candidates:
    """Args:
    users: (n,) internal user ids.
    items: (n, m) internal item ids, -1 behind the end.
    z: (n, m, components) standardised scores, NaN = cannot score.
    relevant: (n, m) bool, liked in the part of the data that judges.
    met_later: (n, m) bool, met but not liked in that part; what the final lists will hide if they hide all that was met.
    n_relevant: (n,) how many such likes the user has, among the candidates or not.
    cold: (n, m) bool, items that nobody has met in training.
    """

    users: NDArray[np.int64]
    items: NDArray[np.int64]
    z: Scores
    relevant: NDArray[np.bool_]
    met_later: NDArray[np.bool_]
    n_relevant: NDArray[np.int64]
    cold: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.users)

    def __getitem__(self, rows: NDArray[Any]) -> Candidates:
        """The same store with some of its users, by row."""
        return Candidates(**{name: getattr(self, name)[rows] for name in self.__dataclass_fields__})

    def logit(self, blend: Blend) -> Scores:
        """(n, m) under a blend; -inf behind the end."""
        logit = blend.logit(self.z, self.cold)
        return np.where((self.items < 0) | np.isnan(logit), -np.inf, logit).astype(np.float32)

    def warm(self) -> Candidates:
        """The same store without cold items."""
        z = np.where(self.cold[:, :, None], np.nan, self.z)
        return replace(self, items=np.where(self.cold, -1, self.items), z=z, relevant=self.relevant & ~self.cold)

    def scaled(self, trust: Scores) -> Candidates:
        """The same store with each row's z times `trust` (n, components)."""
        return replace(self, z=self.z * trust[:, None, :])

    def keep(self, components: NDArray[np.int64]) -> Candidates:
        """The same store seen through some of its components."""
        return replace(self, z=self.z[:, :, components])

    def save(self, folder: Path) -> None:
        """One .npy file an array, which `load` maps into memory."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in self.__dataclass_fields__:
            np.save(folder / f"{name}.npy", getattr(self, name), allow_pickle=False)

    @classmethod
    def load(cls, folder: Path) -> Candidates:
        """Memory-mapped, read-only."""
        arrays = {n: np.load(folder / f"{n}.npy", mmap_mode="r", allow_pickle=False) for n in cls.__dataclass_fields__}
        return cls(**arrays)


def gather(
    components: Mapping[str, Scorer],
    blend: Blend,
    users: NDArray[np.int64],
    histories: Histories,
    hidden: Histories,
    truth: Histories,
    met_later: Histories,
    cold: NDArray[np.bool_],
    *,
    per_component: int = PER_COMPONENT,
) -> Candidates:
    """Build the store for `users`; histories, hidden, truth and met_later have one row for each of them."""
    blocks: list[tuple[NDArray[Any], ...]] = []
    for rows, block in histories.blocks(256):
        z = blend.standardise(raw_scores(components, block, hidden=hidden[rows]), block.full_sizes)
        best = [top_k(hide(z[:, :, c], hidden[rows]), per_component) for c in range(len(components))]
        items = _unique_rows(np.concatenate(best, axis=1))
        at = np.maximum(items, 0)
        flags = [marked(items, h[rows].csr().toarray() > 0) for h in (truth, met_later)]
        blocks.append((items, np.take_along_axis(z, at[:, :, None], axis=1), *flags, cold[at]))
    width = max(b[0].shape[1] for b in blocks)
    items, z, relevant, later, is_cold = (
        np.concatenate([_widen(block[n], width, fill) for block in blocks]) for n, fill in enumerate((-1, 0, False, False, False))
    )
    return Candidates(users, items, z, relevant, later, truth.lengths, is_cold)


def _unique_rows(items: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each row's distinct non-negative numbers, ascending, then -1; as wide as the longest row needs."""
    ordered = np.sort(items, axis=1)
    first = np.ones_like(ordered, dtype=bool)
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    top = np.iinfo(np.int64).max
    compact = np.sort(np.where(first & (ordered >= 0), ordered, top), axis=1)
    width = max(1, int((compact < top).sum(axis=1).max(initial=1)))
    return np.where(compact[:, :width] == top, -1, compact[:, :width])


def _widen(array: NDArray[Any], width: int, fill: int) -> NDArray[Any]:
    pad = [(0, 0), (0, width - array.shape[1]), *[(0, 0)] * (array.ndim - 2)]
    return np.pad(array, pad, constant_values=fill)
