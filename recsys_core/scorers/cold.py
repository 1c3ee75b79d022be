"""Items that nobody has met yet: their texts and attributes are mapped to the columns of a collaborative model.

In: histories and the likes in them, BERT vectors, attributes. Out: for an item that nobody met score(h) = sum_j x_j (M_j . a_i),
a_i its features and M_j a learned row for each past item; NaN for items that have some, which other components judge better.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from recsys_core.data import Catalog, Dataset, Histories
from recsys_core.features import Floats, attribute_blocks, centre, new_attributes, scaled, text_blocks
from recsys_core.metrics import ndcg
from recsys_core.ranking import marked, top_k
from recsys_core.scorers.base import Scorer, Scores, TextReader, gram, most_liked, one_row
from recsys_core.scorers.ease import inverse_of, zero_diagonal
from recsys_core.text import encode_briefly, mask_words, unit

CONSTANT = 3.0  # the constant feature: large, so that the intercept is hardly shrunk
JUDGES = 2000  # users that choose settings
LEAST_GAIN = 0.003  # in NDCG, for a setting to be changed: smaller gains on three folds are noise


@dataclass(frozen=True)
class ColdConfig:
    """Args:
    title, text: weights of the BERT vectors of the bare title and of the whole text; 0 = unused.
    attributes, numbers: weights of each attribute of named values, and of each that is a number.
    profile: what a past item adds for likeness of contents, against one unit of collaborative weight.
    reg: L2 of the map from features to columns.
    ease_reg: L2 of the collaborative model that is mapped to.
    max_items: the most liked items that the map is learned from.
    encoder: "minilm", a local folder, or a name on the model hub.
    device: cuda, mps or cpu; that of the run unless set here.
    """

    title: float = 1.0
    text: float = 0.3
    attributes: float = 0.3
    numbers: float = 1.0
    profile: float = 0.1
    reg: float = 10.0
    ease_reg: float = 300.0
    max_items: int = 8_000
    encoder: str = "minilm"
    device: str = "auto"


GRID: dict[str, tuple[float, ...]] = {
    "text": (0.0, 0.3, 1.0),
    "title": (0.5, 1.0, 2.0),
    "attributes": (0.1, 0.3, 1.0),
    "numbers": (0.3, 1.0, 3.0),
    "reg": (3.0, 10.0, 30.0),
    "profile": (0.0, 0.1, 0.3),
}


class Model(Scorer, TextReader):
    """Attribute-to-feature mapping (Gantner et al. 2010) onto the columns of EASE (Steck 2019), by ridge regression."""

    Config = ColdConfig
    reads_text: ClassVar[bool] = True
    map_: NDArray[np.float32]  # (n_items, n_features): row j is what a past item j asks of the features; 0 for cold items
    features_: NDArray[np.float32]  # (n_items, n_features)
    cold_: NDArray[np.bool_]  # (n_items,)
    shifts_: NDArray[np.float32]  # (2, d) means of title and text vectors, by which new texts become features; NaN = not read

    @classmethod
    def choose(cls, config: ColdConfig, dataset: Dataset, given: set[str], rng: np.random.Generator) -> ColdConfig:
        """Coordinate search over GRID: tenths of the liked items play cold, judged by NDCG@10 among themselves."""
        data = _Materials.of(dataset, config)
        if len(data.warm) < 30:
            return config
        folds = list(_rehearsals(data, rng))
        best = np.mean([_judge(config, fold) for fold in folds])
        for key, values in GRID.items():
            for value in values if key not in given else ():
                change: dict[str, Any] = {key: value}
                trial = replace(config, **change)
                found = np.mean([_judge(trial, fold) for fold in folds]) if trial != config else best
                if found > best + LEAST_GAIN:
                    best, config = found, trial
        return config

    def fit(self, dataset: Dataset, rng: np.random.Generator) -> Self:
        data = _Materials.of(dataset, self.config)
        features = _features(self.config, data.blocks(data.warm))
        self.map_ = np.zeros(features.shape, np.float32)
        weights = zero_diagonal(data.inverse, data.inverse @ data.found)
        self.map_[data.warm] = _map(self.config, weights, features[data.warm])
        self.features_ = features.astype(np.float32)
        self.cold_ = dataset.unmet
        used = {n: b for n, b in data.texts.items() if _roots(self.config, np.array([n]))[0] > 0}
        self.shifts_ = np.full((2, next((b.shape[1] for b in used.values()), 0)), np.nan, np.float32)
        for name, block in used.items():
            self.shifts_[("title", "text").index(name)] = centre(block, data.warm)
        return self

    def score(self, histories: Histories, items: NDArray[np.int64] | None = None) -> Scores:
        chosen = np.arange(len(self.cold_)) if items is None else items
        out = np.full((len(histories), len(chosen)), np.nan, np.float32)
        cold = self.cold_[chosen]
        out[:, cold] = (histories.csr() @ self.map_) @ self.features_[chosen[cold]].T
        return out

    @property
    def linear(self) -> bool:
        return True

    def prior(self, items: NDArray[np.int64]) -> NDArray[np.float32]:
        return np.where(self.cold_[items], np.float32(0), np.float32(np.nan))

    def contributions(self, history: Histories, items: NDArray[np.int64]) -> NDArray[np.float32]:
        """Of one history row: (n_past, len(items)), what each past item adds to each score; NaN for items that were met."""
        out = np.full((len(one_row(history).items), len(items)), np.nan, np.float32)
        cold = self.cold_[items]
        if cold.any():
            out[:, cold] = history.values[:, None] * (self.map_[history.items] @ self.features_[items[cold]].T)
        return out

    def _read(self, titles: list[str], texts: list[str]) -> dict[str, Floats]:
        """Weighted blocks of any titles and texts, those that are read."""
        blocks = {}
        for name, shift, words in zip(("title", "text"), self.shifts_, (titles, texts), strict=True):
            if len(shift) and not np.isnan(shift).any():
                vectors = encode_briefly(words, self.config.encoder, device=self.config.device)
                blocks[name] = _roots(self.config, np.array([name]))[0] * unit(np.nan_to_num(vectors - shift))
        return blocks

    def grown(self, dataset: Dataset, new: Catalog) -> Self:
        """Title, text and attributes are read; an attribute value that no two items of the catalogue have says nothing."""
        warm, _ = most_liked(dataset.likes(), self.config.max_items)
        told = new_attributes(dataset.catalog, new, warm) | {"constant": np.full((len(new), 1), CONSTANT)}
        blocks = self._read([str(t) for t in new.titles], new.texts) | _weighted(self.config, told)
        features = np.concatenate(list(blocks.values()), axis=1)
        model = copy.copy(self)
        model.features_ = np.concatenate([self.features_, features.astype(np.float32)])
        model.map_ = np.concatenate([self.map_, np.zeros((len(new), self.map_.shape[1]), np.float32)])
        model.cold_ = np.concatenate([self.cold_, np.ones(len(new), bool)])
        return model

    def masks_for(self, words: list[str]) -> list[str]:
        return mask_words(self.config.encoder, words)

    def rewritten(self, history: Histories, item: int, texts: list[str], titles: list[str]) -> NDArray[np.float64]:
        """Title and text are read anew, attributes stay; an unread text changes nothing."""
        features = np.repeat(self.features_[[item]], len(texts), axis=0)
        read = np.concatenate([np.zeros((len(texts), 0)), *self._read(titles, texts).values()], axis=1)
        features[:, : read.shape[1]] = read
        shares = one_row(history).values[:, None] * (self.map_[history.items] @ features.T)
        return np.concatenate([np.zeros((1, len(texts))), shares]).astype(np.float64)


@dataclass(frozen=True)
class _Materials:
    """Raw blocks of all items, the warm items, the histories they are in, and what the model of them is made of: the inverse of
    F'F + ease_reg and F'X, F what histories hold of warm items and X the likes."""

    texts: dict[str, Floats]
    attributes: partial[dict[str, Floats]]
    warm: NDArray[np.int64]
    histories: Histories
    inverse: Floats  # (n_warm, n_warm)
    found: Floats  # (n_warm, n_warm)

    @classmethod
    def of(cls, dataset: Dataset, config: ColdConfig) -> _Materials:
        histories = dataset.histories()
        warm, _ = most_liked(histories, config.max_items)
        g, found = gram(histories, warm), gram(histories, warm, histories.targets)
        g[np.diag_indices_from(g)] += config.ease_reg
        read = config.title > 0 or config.text > 0
        texts = text_blocks(dataset.catalog, config.encoder, config.device) if read else {}
        told = partial(attribute_blocks, dataset.catalog)
        return cls(texts, told, warm, histories, inverse_of(g), found)

    def blocks(self, fitted_on: NDArray[np.int64]) -> dict[str, Floats]:
        """Every block, centred and scaled on `fitted_on`."""
        texts = {n: scaled(b, fitted_on, unit_rows=True) for n, b in self.texts.items()}
        told = {n: scaled(b, fitted_on, unit_rows=False) for n, b in self.attributes(fitted_on).items()}
        return texts | told | {"constant": np.full((self.histories.n_items, 1), CONSTANT)}


@dataclass(frozen=True)
class _Rehearsal:
    """Some warm items play cold. Blocks are side by side, before weighting: `names` says which column is of which block."""

    names: NDArray[np.str_]  # (n_features,)
    normal: Floats  # (n_features, n_features): A'A of the items that stay
    asked: Floats  # (n_judges, n_features): what each judge's history asks of the features, X B A
    own: Floats  # (n_judges, n_features): the history's own features, X A
    players: Floats  # (n_out, n_features)
    liked: NDArray[np.bool_]  # (n_judges, n_out)


def _rehearsals(data: _Materials, rng: np.random.Generator, folds: int = 3) -> Iterator[_Rehearsal]:
    order = rng.permutation(len(data.warm))
    size = max(10, len(data.warm) // 10)
    judges = np.sort(rng.permutation(np.flatnonzero(data.histories.likes.lengths > 0))[:JUDGES])
    past, likes = (h.csr()[:, data.warm] for h in (data.histories[judges], data.histories[judges].likes))
    for n in range(min(folds, len(order) // size)):
        out, keep = np.sort(order[n * size : (n + 1) * size]), np.sort(np.delete(order, np.s_[n * size : (n + 1) * size]))
        liked = likes[:, out].toarray() > 0
        rows = np.flatnonzero(liked.any(axis=1))
        blocks = data.blocks(data.warm[keep])
        a = np.concatenate(list(blocks.values()), axis=1)
        known = a[data.warm[keep]]
        x, inverse = past[rows][:, keep], _without(data.inverse, keep, out)
        asked = (x @ zero_diagonal(inverse, inverse @ data.found[np.ix_(keep, keep)])) @ known
        names = np.repeat(list(blocks), [b.shape[1] for b in blocks.values()])
        yield _Rehearsal(names, known.T @ known, asked, x @ known, a[data.warm[out]], liked[rows])


def _judge(config: ColdConfig, fold: _Rehearsal) -> float:
    """NDCG@10 of the players among themselves under these settings."""
    root = _roots(config, fold.names)
    used = root > 0
    root = root[used]
    normal = root[:, None] * fold.normal[np.ix_(used, used)] * root + config.reg * np.eye(len(root))
    coefficients = root[:, None] * np.linalg.solve(normal, root[:, None] * fold.players[:, used].T)
    lists = top_k(((fold.asked + config.profile * fold.own)[:, used] @ coefficients).astype(np.float32), 10)
    return float(ndcg(marked(lists, fold.liked), fold.liked.sum(axis=1)).mean())


def _roots(config: ColdConfig, names: NDArray[np.str_]) -> Floats:
    """The root of each feature's weight; the constant has its own size and weight 1."""
    weights = {"title": config.title, "text": config.text, "constant": 1.0}
    kinds = {"=": config.attributes, "#": config.numbers}
    return np.sqrt([weights[n] if n in weights else kinds[n[0]] for n in names])


def _features(config: ColdConfig, blocks: dict[str, Floats]) -> Floats:
    """(n_items, n_features) with their weights; unused blocks are left out."""
    return np.concatenate(list(_weighted(config, blocks).values()), axis=1)


def _weighted(config: ColdConfig, blocks: dict[str, Floats]) -> dict[str, Floats]:
    return {n: r * b for n, b in blocks.items() if (r := _roots(config, np.array([n]))[0]) > 0}


def _map(config: ColdConfig, columns: Floats, a: Floats) -> Floats:
    """(n_warm, n_features): (B + profile I) A (A'A + reg)^-1."""
    return np.asarray(np.linalg.solve(a.T @ a + config.reg * np.eye(a.shape[1]), (columns @ a + config.profile * a).T).T)


def _without(inverse: Floats, keep: NDArray[np.int64], out: NDArray[np.int64]) -> Floats:
    """The inverse of the Gram matrix of `keep` alone, from the inverse of all (Schur complement): no second inversion."""
    across = inverse[np.ix_(keep, out)]
    return np.asarray(inverse[np.ix_(keep, keep)] - across @ np.linalg.solve(inverse[np.ix_(out, out)], across.T))
