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

from recsys_core.data import Catalog, Dataset, Histories

Scores = NDArray[np.float32]  # (n_rows, n_items); NaN = cannot score
NEGLIGIBLE = 1e-3  # nearness of two events of one user that is taken as none


@dataclasses.dataclass(frozen=True)
class NoConfig:
    """For scorers without settings."""


class Scorer(ABC):
    """One component. Subclasses are named `Model`, one a file, with a frozen dataclass `Config`.

    A constructor stores, `fit` learns and forgets what an earlier fit learned, `score` never changes anything.
    """

    Config: ClassVar[type[Any]] = NoConfig
    reads_text: ClassVar[bool] = False  # whether permuting item texts may change its scores
    reads_history: ClassVar[bool] = True  # whether it says nothing of somebody of whom nothing is known
    search: ClassVar[dict[str, tuple[Any, ...]]] = {}  # settings to try on validation data, one key after the other
    only_scoring: ClassVar[tuple[str, ...]] = ("decay",)  # keys that `fit` does not read, so trying them needs no new fit
    fits_once: ClassVar[bool] = False  # too costly to fit again when validation likes become known: `extend` takes them in

    def __init__(self, config: Any = None) -> None:
        self.config = self.Config() if config is None else config

    @classmethod
    def choose(cls, config: Any, dataset: Dataset, given: set[str], rng: np.random.Generator) -> Any:
        """Settings that the training data alone can choose, before any fit; keys in `given` were set by hand and stay."""
        return config

    @abstractmethod
    def fit(self, dataset: Dataset, rng: np.random.Generator) -> Self:
        """Learn from the liked interactions (and texts, attributes) of `dataset`."""

    @abstractmethod
    def score(self, histories: Histories, items: NDArray[np.int64] | None = None) -> Scores:
        """Scores of `items` (default all) for each history row, (n_rows, len(items)) float32, higher is better, NaN = cannot."""

    def extend(self, dataset: Dataset, rng: np.random.Generator) -> Self:
        """A scorer of the same settings that knows more data, this one unchanged; those that `fits_once` keep what was costly."""
        return type(self)(self.config).fit(dataset, rng)

    @property
    def renewal(self) -> str:
        """What `renew` does, in words."""
        return "kept; what finds its short-lists fitted anew" if self.fits_once else "fitted anew, exact"

    def renew(self, dataset: Dataset, rng: np.random.Generator, epochs: int) -> Self:
        """A scorer of the same settings that knows the enlarged `dataset`, this one unchanged.

        In closed form that is a new fit, so exact; what learns in steps goes on from its arrays for `epochs` of them.
        """
        return self.extend(dataset, rng)

    def shortlist(self, histories: Histories, hidden: Histories) -> NDArray[np.int64] | None:
        """The only items of each row that are scored, (n_rows, M), most promising first, -1 behind the end; None: no limit."""
        return None

    def score_beyond(self, histories: Histories, hidden: Histories, items: NDArray[np.int64] | None = None) -> Scores:
        """`score` for lists that leave `hidden` (same rows) out, so that no place of a short-list goes to what is never shown."""
        return self.score(histories, items)

    def pinned(self, items: NDArray[np.int64]) -> Self:
        """This scorer with `items` as the short-list of every row: their scores stay defined while past items are masked."""
        return self

    def grown(self, dataset: Dataset, new: Catalog) -> Self | None:
        """This scorer for a catalogue with the items of `new` behind those of `dataset`, on which it was fitted; of the new ones
        only what is written about them is known. None: it cannot score what nobody has met."""
        return None

    @property
    def linear(self) -> bool:
        """Whether a score is `prior` plus one of `contributions` for each past item, exactly."""
        return False

    def prior(self, items: NDArray[np.int64]) -> NDArray[np.float32]:
        """(len(items),) scores of an emptied history, NaN = cannot; linear scorers only."""
        raise NotImplementedError(f"{type(self).__module__} is not linear in the history")

    def contributions(self, history: Histories, items: NDArray[np.int64]) -> NDArray[np.float32]:
        """Of one history row: (n_past, len(items)), what each past item adds to each score; linear scorers only.

        A row's size and ages stay as they are, so this is also each past item's Shapley value against the emptied history.
        """
        raise NotImplementedError(f"{type(self).__module__} is not linear in the history")

    def learned(self) -> dict[str, Any]:
        """Arrays and sparse matrices that `fit` left, by attribute name."""
        return {k: v for k, v in vars(self).items() if k.endswith("_") and not k.startswith("_")}

    def save(self, folder: Path) -> None:
        """Write config.json and arrays.safetensors into an existing or new folder."""
        from safetensors import SafetensorError
        from safetensors.numpy import save_file

        folder.mkdir(parents=True, exist_ok=True)
        flat: dict[str, NDArray[Any]] = {}
        for name, value in self.learned().items():
            if isinstance(value, csr_array):
                parts = {"data": value.data, "indices": value.indices, "indptr": value.indptr, "shape": np.array(value.shape)}
                flat.update({f"{name}.{part}": np.ascontiguousarray(array) for part, array in parts.items()})
            else:
                flat[name] = np.ascontiguousarray(value)
        file = folder / "arrays.safetensors"
        file.touch()
        mode = file.stat().st_mode
        try:
            save_file(flat, file)
        except SafetensorError as error:
            raise OSError(f"{file}: {error}") from None
        file.chmod(mode)  # safetensors lets nobody but us read it; a run is for all who may read its folder
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
                matrix.check_format(full_check=True)  # an index beyond the end would be read from foreign memory
                setattr(scorer, name, matrix)
        return scorer


class TextReader(ABC):
    """A scorer that reads item texts, and says what it would give an item whose text read otherwise."""

    can_slope = False  # whether `text_slopes` is there

    @abstractmethod
    def masks_for(self, words: list[str]) -> list[str]:
        """What stands in for each word when it is absent: as many mask tokens as the word has tokens."""

    @abstractmethod
    def rewritten(self, history: Histories, item: int, texts: list[str], titles: list[str]) -> NDArray[np.float64]:
        """Scores of `item` for one history row if its text and title read so, (1 + n_past, n_texts): in the first row what
        does not depend on past items, then one share for each past item; (1, n_texts) if it is not linear in them."""

    def text_slopes(
        self, history: Histories, text: str, spans: list[tuple[int, int]], levels: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """(m, n_spans) derivatives of the score by soft masks (m, n_spans) of the words: 1 = as written, 0 = mask tokens."""
        raise NotImplementedError


class LinearScorer(Scorer):
    """A scorer that is linear in the history row: score(h) = sum_j x_j * weights[j].

    So each past item's contribution is x_j * weights[j, i], exactly (its Shapley value against the empty history, the row's
    size and ages staying as they are). x_j = value * exp(-age / decay), or without decay value / sqrt(size), so that long
    histories do not get larger scores and one weight in a blend fits all users.

    `fit` leaves `kept_` (n_kept,), the items it knows, ascending; `weights_` (n_kept, n_kept) among them, dense or CSR; and
    `n_items_`, the width of the catalogue. Other items are NaN: so a large catalogue costs n_kept^2, not n_items^2.
    """

    weights_: NDArray[np.float32] | csr_array
    kept_: NDArray[np.int64]
    n_items_: NDArray[np.int64]  # (1,)

    @property
    def linear(self) -> bool:
        return True

    def rows(self, histories: Histories) -> csr_array:
        """x, (n_rows, n_kept): the history rows as this scorer weighs them."""
        return weighed(histories, getattr(self.config, "decay", 0.0))[:, self.kept_]

    def score(self, histories: Histories, items: NDArray[np.int64] | None = None) -> Scores:
        place = None if items is None else self.place[items]
        columns = self.kept_ if place is None else place >= 0
        weights = self.weights_ if place is None else self.weights_[:, place[place >= 0]]  # all items: no copy of the matrix
        product = self.rows(histories) @ weights
        out = np.full((len(histories), int(self.n_items_[0]) if items is None else len(items)), np.nan, np.float32)
        out[:, columns] = product.toarray() if issparse(product) else product
        return out

    @property
    def place(self) -> NDArray[np.int64]:
        """(n_items,) position of each item among the kept ones, -1 if it is not."""
        place = np.full(int(self.n_items_[0]), -1)
        place[self.kept_] = np.arange(len(self.kept_))
        return place

    def prior(self, items: NDArray[np.int64]) -> NDArray[np.float32]:
        return np.where(self.place[items] >= 0, np.float32(0), np.float32(np.nan))

    def contributions(self, history: Histories, items: NDArray[np.int64]) -> NDArray[np.float32]:
        """Of one history row: (n_past, len(items)), what each past item adds to each score; NaN for items it cannot score."""
        past, asked = self.place[one_row(history).items], self.place[items]
        x = np.where(past >= 0, weighed(history, getattr(self.config, "decay", 0.0)).data, 0)
        rows, columns, weights = np.maximum(past, 0), np.maximum(asked, 0), self.weights_
        dense = weights[np.ix_(rows, columns)] if isinstance(weights, np.ndarray) else weights[rows][:, columns].toarray()
        return np.where(asked >= 0, x[:, None] * dense, np.nan).astype(np.float32)


def weighed(histories: Histories, decay: float) -> csr_array:
    """x, (n_rows, n_items): value * exp(-age / decay), or without decay value / sqrt(size)."""
    return histories.csr(decay, size_power=0.0 if decay else 0.5)


def low_rank(x: csr_array, past: NDArray[Any], vectors: NDArray[Any], items: NDArray[np.int64] | None) -> NDArray[np.float64]:
    """Scores (n_rows, len(items)) sum_j x_j past_j . vectors_i over all past items j but i itself: that an item was met says
    nothing for it. x (n_rows, n_items), past and vectors (n_items, dim), no NaN. In double precision, which costs little at this
    rank, so that scores are what their shares add up to."""
    past, vectors = past.astype(np.float64), vectors.astype(np.float64)
    scores = (x.astype(np.float64) @ past) @ (vectors if items is None else vectors[items]).T
    own = np.einsum("id,id->i", past, vectors)
    rows = np.repeat(np.arange(x.shape[0]), np.diff(x.indptr))
    place = np.arange(x.shape[1]) if items is None else np.full(x.shape[1], -1)
    if items is not None:
        place[items] = np.arange(len(items))
    asked = place[x.indices] >= 0
    scores[rows[asked], place[x.indices[asked]]] -= x.data[asked] * own[x.indices[asked]]
    return np.asarray(scores, np.float64)


def one_row(history: Histories) -> Histories:
    """The history itself; raises ValueError if it has not exactly one row."""
    if len(history) != 1:
        raise ValueError("contributions are of one history row")
    return history


def most_liked(histories: Histories, most: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The liked items, at most so many and the most liked ones, ascending; and each item's place among them, -1 if out."""
    counts = np.bincount(histories.likes.items, minlength=histories.n_items)
    kept = np.sort(np.argsort(-counts, kind="stable")[: min(most, int((counts > 0).sum()))])
    place = np.full(histories.n_items, -1)
    place[kept] = np.arange(len(kept))
    return kept, place


def gram(histories: Histories, items: NDArray[np.int64] | None = None, targets: Histories | None = None) -> NDArray[np.float64]:
    """F'F of what histories hold, or F'X with `targets` X, (n, n) for the chosen items (default all), built in blocks of columns
    so that F stays sparse."""
    sides = [
        (h.csr() if items is None else h.csr()[:, items]).astype(np.float64).tocsc() for h in (histories, targets or histories)
    ]
    out = np.empty((sides[0].shape[1], sides[1].shape[1]))
    for start in range(0, len(out), 2048):
        columns = slice(start, start + 2048)
        out[columns] = (sides[0][:, columns].T @ sides[1]).toarray()
    return out


def proximity_grams(
    histories: Histories, reach: float, place: NDArray[np.int64], n: int, *, forward: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Like F'F and F'X, F what histories hold and X the likes in them, but two events of one user count
    exp(-|age_i - age_j| / reach); (n, n) each, the first positive semi-definite but for terms below NEGLIGIBLE.

    Item i is row and column `place[i]`; -1 leaves it out. `forward`: of F'X only from the earlier event (row) to the later like,
    ties half, without the diagonal.
    """
    chosen = np.lexsort((-histories.ages, histories.rows))  # oldest first
    chosen = chosen[place[histories.items[chosen]] >= 0]
    at, row, age = place[histories.items[chosen]], histories.rows[chosen], histories.ages[chosen].astype(np.float64)
    value = histories.values[chosen].astype(np.float64)
    like = np.ones(len(at), bool) if histories.liked is None else histories.liked[chosen]
    both, found = np.zeros(n * n), np.zeros(n * n)
    np.add.at(both, at * n + at, value * value / 2)
    if not forward:
        np.add.at(found, at * n + at, value * like)
    first = np.arange(len(at))
    for lag in range(1, len(at)):
        first = first[first + lag < len(at)]
        then = first + lag
        apart = age[first] - age[then]
        near = (row[first] == row[then]) & (apart <= -reach * np.log(NEGLIGIBLE))
        first, then, apart = first[near], then[near], apart[near]
        if not len(first):
            break
        weight = np.exp(-apart / reach)
        np.add.at(both, at[first] * n + at[then], weight * value[first] * value[then])
        if forward:
            weight[apart == 0] /= 2
        for past, wanted, onward in ((first, then, True), (then, first, False)):
            counts = np.flatnonzero(like[wanted] & (onward or not forward or apart == 0))
            past, wanted = past[counts], wanted[counts]
            np.add.at(found, at[past] * n + at[wanted], weight[counts] * value[past])
    half = both.reshape(n, n)
    return half + half.T, found.reshape(n, n)
