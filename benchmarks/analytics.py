"""What do the metrics of all users cost after a weight has moved, on MovieLens-100K and on generated stores of growing size?

CPU milliseconds (best and median of repeats) of `measure`, alone and with each re-ranker, and of its table of intervals.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from _common import ML_100K, K, arguments, folder_of_runs, np, result_file, trained

from recsys_core import learn
from recsys_core.analytics import Analytics, measure
from recsys_core.candidates import Candidates
from recsys_core.config import Settings
from recsys_core.data import Histories
from recsys_core.differences import change
from recsys_core.hybrid import Blend
from recsys_core.readers import load_dataset
from recsys_core.rerank import RERANKERS

REPEATS = 7
USERS = (1510, 3020, 6040)  # of the generated stores
WIDTH, N_ITEMS, PAST, N_TOPICS, DIM = 500, 3706, 95, 18, 384  # candidates, and the shape of MovieLens-1M with likes of 4 and 5


def milliseconds(call: Callable[[], Any]) -> dict[str, float]:
    call()
    taken = []
    for _ in range(REPEATS):
        started = time.process_time()
        call()
        taken.append(1000 * (time.process_time() - started))
    return {"best": round(min(taken), 1), "median": round(float(np.median(taken)), 1)}


def costs(known: Analytics, names: list[str]) -> dict[str, Any]:
    """Moving one weight, with each re-ranker at half strength, and the tables with intervals of the metrics of users."""
    learned = measure(known, k=K)
    weight = {known.blend.names[0]: 0.3}
    found: dict[str, Any] = {"users": len(known), "candidates": known.items.shape[1]}
    found["all metrics"] = milliseconds(lambda: measure(known, weight, k=K))
    for name in names:
        found[f"all metrics, {name}"] = milliseconds(lambda name=name: measure(known, weight, k=K, reranker=name, strength=0.5))
    moved = measure(known, weight, k=K)
    return found | {"intervals": milliseconds(moved.frame), "paired changes": milliseconds(lambda: change(learned, moved))}


def generated(n: int, seed: int = 0) -> Analytics:
    """A store of n users with `WIDTH` candidates of 6 components, popular items met and listed more often."""
    rng = np.random.default_rng(seed)
    chance = 1 / np.arange(10, N_ITEMS + 10)
    chance /= chance.sum()
    rows = [np.sort(rng.choice(N_ITEMS, WIDTH + PAST, replace=False, p=chance)) for _ in range(n)]
    mixed = [rng.permutation(row) for row in rows]
    items = np.sort(np.stack([row[:WIDTH] for row in mixed]), axis=1)
    relevant = rng.random(items.shape) < 0.02
    store = Candidates(
        users=np.arange(n),
        items=items,
        z=rng.normal(size=(*items.shape, 6)).astype(np.float32),
        relevant=relevant,
        met_later=np.zeros(items.shape, bool),
        n_relevant=relevant.sum(axis=1),
        cold=rng.random(N_ITEMS)[items] < 0.05,
    )
    early = Histories.of([row[WIDTH:].tolist() for row in mixed], N_ITEMS)
    names = tuple("abcdef")
    blend = Blend(names, (0.0,) * 6, (1.0,) * 6, (0.3, 0.4, 0.1, 0.2, 0.1, 0.3), cold_factors=(0.5,) * 6)
    topics = (rng.random((N_ITEMS, N_TOPICS)) < 0.1).astype(float)
    blocks = {"attributes": topics, "vectors": rng.normal(size=(N_ITEMS, DIM)).astype(np.float32)}
    return Analytics.build(store, blend, early, np.arange(n).astype(str), blocks)


def main() -> None:
    parser = arguments(__doc__)
    options = parser.parse_args()
    started = time.perf_counter()
    dataset = load_dataset(ML_100K)
    content: dict[str, Any] = {"k": K, "repeats": REPEATS, "unit": "CPU ms"}
    with folder_of_runs(options.runs) as runs:
        run, _ = trained(dataset, replace(Settings(), control=False, tune=False), runs)
        before = time.process_time()
        known = Analytics.of(run)
        content["prepare once, s"] = round(time.process_time() - before, 2)
        ours, store = measure(known, k=K).mean("ndcg"), run.candidates
        content["ndcg"] = {"measured": ours, "of learn": float(learn.ndcg_of(store.logit(run.model.blend), store, K).mean())}
        content["ml-100k"] = costs(known, list(RERANKERS))
    content["generated"] = [costs(generated(n), list(RERANKERS)) for n in USERS]
    content["seconds a user grow by"] = {
        name: round(
            content["generated"][-1][name]["best"] / USERS[-1] / (content["generated"][0][name]["best"] / USERS[0]), 2
        )  # 1 = linear
        for name in content["generated"][0]
        if name not in ("users", "candidates")
    }
    result_file("analytics", dataset, started, content)


if __name__ == "__main__":
    main()
