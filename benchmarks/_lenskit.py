"""LensKit's ItemKNN and ImplicitMF, tuned as the other peers; runs in an environment of its own.

    PYTHON_OF_PEERS benchmarks/_lenskit.py parts.npz lists.npz

parts.npz holds pairs (user, item) of train, known and valid and n_items; lists.npz gets each model's test lists and facts.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")
os.environ.setdefault("LK_LOG_LEVEL", "error")
warnings.filterwarnings("ignore")

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

K = 10
GRIDS: dict[str, list[dict[str, Any]]] = {
    "LensKit ItemKNN": [{"max_nbrs": n, "min_sim": s} for n in (40, 80, 160, 320) for s in (0.05, 0.1, 0.2)],
    "LensKit ImplicitMF": [
        {"embedding_size": d, "weight": w, "regularization": r} for d in (32, 64) for w in (2.0, 3.0) for r in (15.0, 20.0, 30.0)
    ],
}


def lists(name: str, setting: dict[str, Any], pairs: Any, users: Any, n_items: int) -> Any:
    """(n_users, K) best items that the user's pairs do not hold; -1 behind the end. Fits on the pairs."""
    from lenskit.als import ImplicitMFScorer
    from lenskit.data import ItemList, RecQuery, from_interactions_df
    from lenskit.knn import ItemKNNScorer

    frame = pd.DataFrame(pairs, columns=["user_id", "item_id"])
    data = from_interactions_df(frame)
    scorer = ItemKNNScorer(feedback="implicit", **setting) if "KNN" in name else ImplicitMFScorer(**setting)
    scorer.train(data)
    catalogue = ItemList(item_ids=np.arange(n_items))
    past = {u: g.to_numpy() for u, g in frame.groupby("user_id")["item_id"]}
    found = np.full((len(users), K), -1)
    for row, user in enumerate(users):
        mine = past.get(user)
        if mine is None:
            continue
        scored = scorer(RecQuery(user_id=user, user_items=ItemList(item_ids=mine)), catalogue)
        values = np.asarray(scored.scores(), dtype=float)
        values[mine] = np.nan
        order = np.argsort(-np.where(np.isnan(values), -np.inf, values), kind="stable")[:K]
        found[row] = np.where(np.isnan(values[order]), -1, order)
    return found


def quality(found: Any, users: Any, pairs: Any) -> float:
    """Mean NDCG@K of lists against pairs."""
    truth = {u: set(g) for u, g in pd.DataFrame(pairs, columns=["u", "i"]).groupby("u")["i"]}
    gain = 1 / np.log2(np.arange(K) + 2)
    values = []
    for user, row in zip(users, found, strict=True):
        if wanted := truth.get(user):
            values.append(sum(g for g, i in zip(gain, row, strict=True) if i in wanted) / gain[: len(wanted)].sum())
    return float(np.mean(values))


def main(source: str, target: str) -> None:
    given = np.load(source)
    train, known, valid, n_items = (given[n] for n in ("train", "known", "valid", "n_items"))
    out: dict[str, Any] = {}
    facts: dict[str, Any] = {}
    users = np.unique(np.concatenate([train[:, 0], known[:, 0]]))
    for name, settings in GRIDS.items():
        started = time.perf_counter()
        found = [quality(lists(name, s, train, users, int(n_items)), users, valid) for s in settings]
        best = settings[int(np.argmax(found))]
        out[name] = lists(name, best, known, users, int(n_items))
        seconds = round(time.perf_counter() - started, 2)
        facts[name] = {"setting": best, "valid": max(found), "tried": len(found), "seconds": seconds}
    np.savez(target, users=users, facts=json.dumps(facts), **out)


if __name__ == "__main__":
    main(*sys.argv[1:])
