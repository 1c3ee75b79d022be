"""What BERT thinks is alike: the catalogue on a plane, and the neighbours of an item by text and by what people liked.

In: a run whose components keep text vectors. Out: a `Map` of at most MOST items, and neighbours over the whole catalogue.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse

from recsys_core.data import Catalog
from recsys_core.errors import UserError
from recsys_core.evaluate import terciles, text_vectors
from recsys_core.run import Run
from recsys_core.scorers.base import LinearScorer
from recsys_core.text import unit

MOST = 5_000  # points: t-SNE takes minutes beyond, and dots hide each other
FEWEST = 5  # items with a text; fewer make no picture
WIDE = 50  # principal components that t-SNE reads (van der Maaten & Hinton 2008, section 4.2, take 30)
NEAR = 10  # neighbours, in lists and in trustworthiness
CLUSTERS = 7  # as many as there are colours to tell apart
MOST_LABELS = 200  # values that make strata; rarer ones go together, so that there are far fewer strata than points
YEAR, DECADE = "year", "decade"  # an attribute, and what its values are told by: years are too many for colours
COLLABORATIVE = ("ease", "item_knn")  # whose neighbours stand for what people like together: the first that the run has


@dataclass(frozen=True)
class Map:
    """Items on a plane.

    Args:
        items: (n,) internal ids, ascending; xy: (n, 2) float32.
        of: how many items have a text vector, on the map or not.
        method: "t-SNE", or "PCA" where there are too few items for it.
        trust: trustworthiness at `near` neighbours, 0-1, 1 = whoever is near on the map is near in the text vectors
            (Venna & Kaski 2001); NaN for under 4 items.
        cluster: (n,) k-means cluster of each item, the largest is 0; `names`: the most typical value of each, "" if none.
    """

    items: NDArray[np.int64]
    xy: NDArray[np.float32]
    of: int
    method: str
    trust: float
    near: int
    cluster: NDArray[np.int64]
    names: tuple[str, ...]


def draw(run: Run, seed: int = 0, most: int = MOST) -> Map:
    """The map of a run; the same for the same seed. Seconds, or minutes for thousands of items.

    Unit text vectors, their first WIDE principal components, then t-SNE (van der Maaten & Hinton 2008) from the first two.

    Raises:
        UserError: the run keeps no text vectors, or of fewer than FEWEST items.
    """
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA
    from sklearn.manifold import trustworthiness

    vectors = known_vectors(run)
    has = np.flatnonzero(np.abs(vectors).sum(axis=1) > 0)
    if len(has) < FEWEST:
        raise UserError(f"text: only {len(has)} items have one, a map needs {FEWEST}; give the catalogue a text column")
    catalog = run.dataset.catalog
    first = first_values(catalog, catalog.topic)
    items = has[sample(run.fame[has], first[has], most, np.random.default_rng(seed))]
    x = unit(vectors[items]).astype(np.float64)
    narrow = PCA(min(WIDE, *x.shape), random_state=seed).fit_transform(x)
    method, xy = _plane(narrow, seed)
    near = min(NEAR, (len(items) - 1) // 2)
    fitted = KMeans(min(CLUSTERS, len(items) // 2), random_state=seed, n_init=4).fit_predict(narrow)
    order = np.argsort(-np.bincount(fitted), kind="stable")
    cluster = np.argsort(order)[fitted]
    trust = float(trustworthiness(x, xy, n_neighbors=near))
    return Map(items, xy.astype(np.float32), len(has), method, trust, near, cluster, typical(catalog, items, cluster))


def _plane(narrow: NDArray[np.float64], seed: int) -> tuple[str, NDArray[np.float64]]:
    """(n, 2): t-SNE with perplexity 30 or a third of the items; of fewer than 3 * FEWEST items the first two components."""
    n = len(narrow)
    if n < 3 * FEWEST or not narrow[:, 0].std():
        return "PCA", np.column_stack([narrow, np.zeros((n, 2))])[:, :2]
    from sklearn.manifold import TSNE

    settings = {"perplexity": min(30.0, (n - 1) / 3), "init": "pca" if narrow.shape[1] > 1 else "random", "random_state": seed}
    return "t-SNE", TSNE(2, **settings).fit_transform(narrow)


def known_vectors(run: Run) -> NDArray[np.float32]:
    """(n_items, d) BERT vectors of the run's items, 0 without a text. Raises UserError if no component keeps any."""
    vectors = text_vectors(run)
    if vectors is None:
        raise UserError(f"components: none of {', '.join(run.model.names)} keeps text vectors; train with bert among them")
    return vectors


def sample(popularity: ArrayLike, labels: NDArray[np.object_], most: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """At most `most` positions, ascending, drawn in proportion from strata: third by popularity and label; none is left out.

    Labels beyond the MOST_LABELS commonest are one label. All positions if there are no more than `most`.

    Raises:
        UserError: `most` is less than the number of strata.
    """
    fame = np.asarray(popularity, np.float64)
    if len(fame) <= most:
        return np.arange(len(fame))
    strata = strata_of(fame, labels)
    n = np.bincount(strata)
    if len(n) > most:
        raise UserError(f"most: {most} points cannot show {len(n)} strata; allow {len(n)} or more")
    wanted = n * most / len(fame)
    take = np.maximum(np.floor(wanted), 1).astype(np.int64)
    while take.sum() > most:  # the one point of rare strata is taken from those that have most
        take[np.argmax(take)] -= 1
    for stratum in np.argsort(take - wanted, kind="stable")[: most - take.sum()]:  # largest remainders first
        take[stratum] = min(take[stratum] + 1, n[stratum])
    chosen = [rng.choice(np.flatnonzero(strata == s), size, replace=False) for s, size in enumerate(take)]
    return np.sort(np.concatenate(chosen))


def strata_of(popularity: NDArray[np.float64], labels: NDArray[np.object_]) -> NDArray[np.int64]:
    """(n,) number of each item's stratum: third by popularity, and label."""
    known = set(pd.Series(labels).value_counts().index[:MOST_LABELS])
    third = terciles(popularity, np.ones(len(popularity), bool))
    pairs = pd.Series([(int(t), label if label in known else None) for t, label in zip(third, labels, strict=True)])
    return np.asarray(pd.factorize(pairs)[0], np.int64)


def first_values(catalog: Catalog, attribute: str | None) -> NDArray[np.object_]:
    """(n_items,) the first value of each item, "" where it has none."""
    found = np.full(len(catalog), "", dtype=object)
    if attribute is not None:
        found[:] = [str(values[0]) if len(values) else "" for values in catalog.frame[attribute]]
    return found


def colourings(catalog: Catalog) -> list[str]:
    """What items can be told apart by: the topic first, then the other attributes, and DECADE in place of YEAR."""
    names = [name for name in (catalog.topic, *catalog.attributes) if name is not None]
    return list(dict.fromkeys(DECADE if name == YEAR and DECADE not in names else name for name in names))


def labels_by(catalog: Catalog, by: str) -> NDArray[np.object_]:
    """(n_items,) the label of each item under one of `colourings`: its first value; of a year in four digits "1990s"; else ""."""
    if by in catalog.attributes:
        return first_values(catalog, by)
    years = [re.fullmatch(r"([0-9]{3})[0-9]", year) for year in first_values(catalog, YEAR)]
    return np.array([f"{year[1]}0s" if year else "" for year in years], dtype=object)


def coloured(labels: NDArray[np.object_], most: int = CLUSTERS, *, sort: bool = False) -> tuple[NDArray[np.int64], list[str]]:
    """Of each item its place among the `most` commonest labels, `most` for all others and for "", and these labels: the commonest
    first, or in their own order."""
    counts = pd.Series(labels[labels != ""], dtype=object).value_counts()
    top = sorted(counts.index, key=lambda v: (-counts[v], v))[:most]
    top = sorted(top) if sort else top
    places = {label: n for n, label in enumerate(top)}
    return np.array([places.get(label, most) for label in labels], np.int64), top


def typical(catalog: Catalog, items: NDArray[np.int64], cluster: NDArray[np.int64]) -> tuple[str, ...]:
    """The value of the catalogue's topic that sets each cluster apart: the largest p log(p / q), p its share of the items in the
    cluster and q of all on the map, a cluster's pull on its Kullback-Leibler divergence. "" without attributes."""
    n = int(cluster.max()) + 1 if len(cluster) else 0
    if catalog.topic is None:
        return ("",) * n
    values = sorted({str(v) for row in catalog.frame[catalog.topic] for v in row})
    has = catalog.indicator(catalog.topic)[items].toarray()
    every = has.mean(axis=0)
    found = []
    for c in range(n):
        share = has[cluster == c].mean(axis=0)
        pull = share * np.log(np.where(share > 0, share, 1) / np.where(every > 0, every, 1))
        found.append(values[int(pull.argmax())] if len(pull) and pull.max() > 0 else "")
    return tuple(found)


# Neighbours


@dataclass(frozen=True)
class Neighbours:
    """An item's nearest, best first. `by`: "text" (cosine), "ease" (weight of the item in another's score), "item_knn"
    (shrunk cosine), or "" if nothing can tell; `items` and `values` are empty where nothing is known of the item."""

    by: str
    items: NDArray[np.int64]
    values: NDArray[np.float64]


def by_text(run: Run, item: int, n: int = NEAR) -> Neighbours:
    """The n items with the highest cosine of BERT vectors, over the whole catalogue."""
    vectors = text_vectors(run)
    if vectors is None:
        return Neighbours("", *_nothing())
    unit_vectors = unit(vectors).astype(np.float64)
    if not np.abs(unit_vectors[item]).sum():
        return Neighbours("text", *_nothing())
    cosine = np.nan_to_num(unit_vectors @ unit_vectors[item])
    cosine[np.abs(unit_vectors).sum(axis=1) == 0] = -np.inf
    return Neighbours("text", *_best(cosine, item, n))


def by_likes(run: Run, item: int, n: int = NEAR) -> Neighbours:
    """The n items to whose score a like of this item adds most, under EASE or else item_knn; only those above 0."""
    name = next((name for name in COLLABORATIVE if name in run.model.components), "")
    if not name:
        return Neighbours("", *_nothing())
    scorer = run.model.components[name]
    assert isinstance(scorer, LinearScorer)
    at = int(scorer.place[item])
    if at < 0:
        return Neighbours(name, *_nothing())
    row = scorer.weights_[[at]]
    weights = np.full(len(run.dataset.items), -np.inf)
    weights[scorer.kept_] = (row.toarray() if issparse(row) else row).ravel()
    weights[weights <= 0] = -np.inf
    return Neighbours(name, *_best(weights, item, n))


def shared(a: Neighbours, b: Neighbours) -> NDArray[np.int64]:
    """Items in both lists, in the order of the first."""
    return a.items[np.isin(a.items, b.items)]


def _best(values: NDArray[np.float64], item: int, n: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    values = values.copy()
    values[item] = -np.inf
    order = np.argsort(-values, kind="stable")[:n]
    order = order[np.isfinite(values[order])]
    return order, values[order]


def _nothing() -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    return np.empty(0, np.int64), np.empty(0)
