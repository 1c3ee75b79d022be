"""How should the blend's weights be learned? Two-fold cross-fit over the validation users of trained runs; test is not touched.

    python benchmarks/learners.py --runs FOLDER

FOLDER holds run directories (`benchmarks/warm.py --runs FOLDER` leaves them). Weights are learned on half of the validation
users and judged on the other half by NDCG@10. Writes benchmarks/results/learners.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recsys_core import learn
from recsys_core.candidates import Candidates
from recsys_core.run import Run, find_runs

K, HALVINGS = 10, 4
Weights = NDArray[np.float64]


def some(store: Candidates, rows: NDArray[np.int64]) -> Candidates:
    """The store of some of its users."""
    return replace(store, **{f: getattr(store, f)[rows] for f in store.__dataclass_fields__})


def ndcg(store: Candidates, weights: Weights) -> float:
    logit = np.where(store.items < 0, -np.inf, np.nan_to_num(store.z) @ weights.astype(np.float32))
    return float(learn.ndcg_of(logit, store, K).mean())


def equal(store: Candidates) -> Weights:
    return np.full(store.z.shape[2], 1 / store.z.shape[2])


def logistic(store: Candidates) -> Weights:
    """Slopes of a pointwise logistic fit over all candidates."""
    there = store.items >= 0
    slopes, _ = learn._logistic(np.nan_to_num(store.z)[there].astype(np.float64), store.relevant[there])
    return slopes / max(slopes.sum(), 1e-9)


def greedy(store: Candidates, steps: int = 20) -> Weights:
    """Ensemble selection with replacement (Caruana et al. 2004)."""
    counts, path = np.zeros(store.z.shape[2]), []
    for _ in range(steps):
        counts = max((counts + one for one in np.eye(len(counts))), key=lambda w: ndcg(store, w))
        path.append(counts)
    return max(path, key=lambda w: ndcg(store, w)) / steps


NOW = "one search, NDCG@30"  # what the others are held against
LEARNERS: dict[str, Callable[[Candidates], Weights]] = {
    "equal weights": equal,
    "logistic loss": logistic,
    "greedy selection": greedy,
    **{f"one search, NDCG@{depth}": (lambda s, d=depth: learn.search_weights(s, d, 1)) for depth in (10, 20, 30, 50)},
    **{f"{bags} searches, NDCG@30": (lambda s, b=bags: learn.search_weights(s, 30, b)) for bags in (8, 24)},
    "as trained: mean of 8 searches, NDCG@30, and logistic loss": lambda s: learn.rank_weights(s, 30),
}


def cross_fit(run: Run, seed: int) -> dict[str, float]:
    """NDCG@10 of each learner on the half it did not see, and of the best single component."""
    names = np.array([n for n, name in enumerate(run.model.names) if name != "cold"])
    store = run.candidates.warm().keep(names)
    store = some(replace(store, z=np.array(store.z)), np.flatnonzero(store.n_relevant > 0))
    half = np.random.default_rng(seed).permutation(len(store)) % 2
    halves = [some(store, np.flatnonzero(half == n)) for n in (0, 1)]
    found = {n: float(np.mean([ndcg(halves[1 - i], fit(halves[i])) for i in (0, 1)])) for n, fit in LEARNERS.items()}
    return found | {"best component": max(ndcg(store, one) for one in np.eye(len(names)))}


def gain(differences: list[float]) -> dict[str, float]:
    """Mean over halvings of all runs, and its standard error (halvings of one run share users: it is a little too small)."""
    return {"mean": float(np.mean(differences)), "error": float(np.std(differences, ddof=1) / np.sqrt(len(differences)))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, required=True)
    rows: dict[str, list[dict[str, float]]] = {}
    for path in sorted(find_runs(parser.parse_args().runs)):
        run = Run.load(path)
        rows.setdefault(f"{run.dataset.name} {run.settings.split}", []).extend(cross_fit(run, seed) for seed in range(HALVINGS))
    means = {task: {n: float(np.mean([f[n] for f in found])) for n in found[0]} for task, found in rows.items()}
    gains = {task: {n: gain([f[n] - f[NOW] for f in found]) for n in found[0] if n != NOW} for task, found in rows.items()}
    counts = {task: len(found) // HALVINGS for task, found in rows.items()}
    out = Path(__file__).parent / "results" / "learners.json"
    facts = {"runs": counts, "halvings of each": HALVINGS, "ndcg@10 on the other half": means, f"minus {NOW}": gains}
    out.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    print(out.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
