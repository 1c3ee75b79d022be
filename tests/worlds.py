"""Small worlds whose right answers are known without running the code."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from recsys_core.candidates import Candidates
from recsys_core.data import Catalog, Dataset, Histories, Interactions, Vocabulary
from recsys_core.hybrid import Blend

WORDS = {0: "robot space alien night", 1: "love kiss wedding day"}  # words that the test encoder knows


def dataset_of(
    events: list[tuple[int, int]],
    n_users: int,
    n_items: int,
    *,
    values: list[float] | None = None,
    times: list[int] | None = None,
    texts: list[str] | None = None,
    threshold: float | None = None,
) -> Dataset:
    """A Dataset from (user, item) pairs; ids are u0.., i0.., titles "Item 0"..."""
    user, item = (np.array([e[n] for e in events], dtype=np.int32) for n in (0, 1))
    value = np.ones(len(events), np.float32) if values is None else np.array(values, np.float32)
    time = np.arange(len(events), dtype=np.int64) if times is None else np.array(times, np.int64)
    table = pd.DataFrame({"title": [f"Item {n}" for n in range(n_items)], "text": texts or [f"Item {n}" for n in range(n_items)]})
    return Dataset(
        name="world",
        users=Vocabulary.of(f"u{n}" for n in range(n_users)),
        items=Vocabulary.of(f"i{n}" for n in range(n_items)),
        interactions=Interactions(user, item, value, time),
        catalog=Catalog(table),
        threshold=threshold,
    )


def checkerboard(n: int = 50) -> Dataset:
    """Even users like even items and odd users odd ones, except that user u has not met item u: so item u is the answer.

    (After the test world of the implicit library.) Texts speak of the two groups too.
    """
    events = [(u, i) for u in range(n) for i in range(n) if u % 2 == i % 2 and u != i]
    order = np.random.default_rng(0).permutation(len(events))
    texts = [f"Item {i}. {WORDS[i % 2]}" for i in range(n)]
    return dataset_of([events[e] for e in order], n, n, texts=texts)


def random_world(seed: int = 0, n_users: int = 80, n_items: int = 40, share: float = 0.25) -> Dataset:
    """Two taste groups with noise, ratings 1-5 (threshold 4), texts that tell the group; item n_items-1 is never met."""
    rng = np.random.default_rng(seed)
    affinity = np.where((np.arange(n_users)[:, None] % 2) == (np.arange(n_items)[None, :] % 2), 0.85, 0.15)
    met = rng.random((n_users, n_items)) < share * 2 * affinity
    met[:, -1] = False
    users, items = np.nonzero(met)
    liked = rng.random(len(users)) < affinity[users, items]
    values = np.where(liked, rng.integers(4, 6, len(users)), rng.integers(1, 4, len(users)))
    times = rng.integers(1_000_000, 1_000_500, len(users))  # many ties, as in real data
    texts = [f"Item {i}. {WORDS[i % 2]}" for i in range(n_items)]
    events = list(zip(users.tolist(), items.tolist(), strict=True))
    return dataset_of(events, n_users, n_items, values=values.tolist(), times=times.tolist(), texts=texts, threshold=4)


def store_world(seed: int = 0, n: int = 40, n_items: int = 30, m: int = 20, ties: bool = False) -> dict[str, Any]:
    """Parts of an `Analytics` over `n` of n + 5 users: cold items, short rows, missing scores, users without likes or past.

    Item n_items-1 has no attributes and item n_items-2 no vector. With `ties` scores are whole numbers.
    """
    rng = np.random.default_rng(seed)
    items = np.sort(np.stack([rng.permutation(n_items)[:m] for _ in range(n)]), axis=1)
    items[:: n // 4, m // 2 :] = -1  # some short rows, down to fewer than a list
    items[0, 3:] = -1
    z = rng.normal(size=(n, m, 3)).astype(np.float32)
    z = np.round(z) if ties else z
    z[rng.random((n, m, 3)) < 0.1] = np.nan
    relevant = (rng.random((n, m)) < 0.2) & (items >= 0)
    relevant[1] = False
    cold = rng.random(n_items) < 0.2
    n_relevant = relevant.sum(axis=1) + rng.integers(0, 3, n)
    n_relevant[1] = 0
    store = Candidates(
        users=np.sort(rng.permutation(n + 5)[:n]),
        items=items,
        z=z,
        relevant=relevant,
        met_later=np.zeros((n, m), bool),
        n_relevant=n_relevant,
        cold=cold[np.maximum(items, 0)],
    )
    blend = Blend(("a", "b", "c"), (0,) * 3, (1,) * 3, (0.5, 1.0, 0.25), -1.0, cold_factors=(1.0, 0.5, 2.0), cold_shift=0.25)
    past = [[] if u in store.users[2:4] else rng.permutation(n_items)[: rng.integers(1, 8)].tolist() for u in range(n + 5)]
    attributes, vectors = (rng.random((n_items, 4)) < 0.4).astype(float), rng.normal(size=(n_items, 5))
    attributes[-1], vectors[-2] = 0, 0
    table = pd.DataFrame({"side": np.where(np.arange(n) < 8, "few", "many"), "age": np.arange(n)})
    return {
        "store": store,
        "blend": blend,
        "early": Histories.of(past, n_items),
        "user_ids": np.array([f"u{u}" for u in range(n + 5)], dtype=object),
        "blocks": {"attributes": attributes, "vectors": vectors},
        "table": table,
    }
