"""Is `whyrec update` worth it, and does what comes in matter? MovieLens-100K, its latest 5% of training events brought in later.

    python benchmarks/update.py --seeds 0 1 2

A tenth of the likes is tested (as `--split random` draws them); of the other events the latest 5% are new. NDCG@10 on the test
likes of users with new events, by five ways: the run that does not know these, the same run shown them (histories, no fitting),
updated with them, updated with the same events with their items shuffled, trained anew with them. All hide the same items. Then
seconds of each way, and EASE three ways: fitted anew, its Gram matrix corrected by rows, its inverse corrected (Woodbury).
Writes results/update.json.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from _common import ML_100K, Floats, K, arguments, difference, folder_of_runs, mean, ndcg, result_file, scores_of, split_of

from recsys_core.config import Settings, load_settings
from recsys_core.data import Dataset, Histories, Interactions
from recsys_core.readers import load_dataset
from recsys_core.run import Run
from recsys_core.scorers.base import gram
from recsys_core.splits import TEST
from recsys_core.train import train
from recsys_core.update import EPOCHS, Incoming, Merged, merge, renew

SHARE, TRIED = 0.05, (1, 3, 10)
ARMS = ("before", "shown", "updated", "shuffled", "shuffled model", "trained anew")


def parts(dataset: Dataset, settings: Settings) -> tuple[Dataset, Interactions, Interactions]:
    """The data of before, the events that come in, and those that are tested."""
    tested = split_of(dataset, settings).rows(TEST)
    rows = np.flatnonzero(~tested)
    when = dataset.interactions.time
    assert when is not None
    late = rows[np.argsort(when[rows], kind="stable")[-int(SHARE * len(rows)) :]]
    early = ~tested
    early[late] = False
    return dataset.subset(early), dataset.interactions[late], dataset.interactions[tested]


def incoming(run: Run, events: Interactions) -> Incoming:
    return Incoming(events, run.dataset.users, {"rows": len(events)}, ())


def shuffled(events: Interactions, n_items: int, seed: int) -> Interactions:
    """The same users, values and times with each other's items; a pair that comes twice is taken once."""
    item = np.random.default_rng(seed).permutation(events.item)
    _, once = np.unique(events.user.astype(np.int64) * n_items + item, return_index=True)
    return replace(events, item=item)[np.sort(once)]


def known(merged: Merged) -> Dataset:
    return merged.dataset.subset(merged.known)


def seconds(work: Callable[[], Any]) -> tuple[Any, float]:
    """What it makes, and CPU seconds."""
    before = time.process_time()
    made = work()
    return made, time.process_time() - before


def one(dataset: Dataset, settings: Settings, runs: Path) -> tuple[dict[str, Floats], dict[str, Any]]:
    """NDCG of each user under each arm, NaN for users without new events or test likes; and facts."""
    early, new, tested = parts(dataset, settings)
    path = runs / f"update-{settings.seed}"
    run = train(early, settings, path / "early", test=tested)
    anew, cost = seconds(
        lambda: train(replace(early, interactions=early.interactions.joined(new)), settings, path / "all", test=tested)
    )
    real = merge(run, incoming(run, new))
    fake = merge(run, incoming(run, shuffled(new, len(dataset.items), settings.seed)))
    (model, _), update_cost = seconds(lambda: renew(run.model, known(real), settings))
    wrong, _ = renew(run.model, known(fake), settings)
    rows = {"real": known(real).histories(), "fake": known(fake).histories(), "old": run.histories}
    hidden = replace(early, interactions=known(real).interactions.joined(known(fake).interactions)).met()
    truth = run.dataset.subset(run.split.rows(TEST)).likes()
    touched = np.isin(np.arange(len(dataset.users)), new.user)

    def found(model: Any, histories: Histories) -> Floats:
        return np.where(touched, ndcg(scores_of(model, histories), hidden, truth), np.nan)

    pairs = ((run.model, "old"), (run.model, "real"), (model, "real"), (wrong, "fake"), (wrong, "real"), (anew.model, "real"))
    arms = {name: found(m, rows[h]) for name, (m, h) in zip(ARMS, pairs, strict=True)}
    steps = {n: float(np.nanmean(found(renew(run.model, known(real), settings, n)[0], rows["real"]))) for n in TRIED}
    facts = {"new events": len(new), "users with new events": int(touched.sum()), "shuffled, usable": fake.counts["added"]}
    facts |= {"train anew, CPU s": cost, "update, CPU s": update_cost, "ratio": update_cost / cost, "ndcg by epochs": steps}
    return arms, facts | {"old users among them": int((touched & (run.histories.lengths > 0)).sum())}


def ease_ways(old: Histories, now: Histories, reg: float = 200.0) -> dict[str, Any]:
    """CPU seconds of (G + reg I)^-1 of plain EASE by three ways as a share of fitting anew, best of three; and how far apart."""
    a, b = (h.csr().astype(np.float64) for h in (old, now))
    moved = np.flatnonzero(np.diff(a.indptr) != np.diff(b.indptr))
    u, signs = np.concatenate([b[moved].toarray(), a[moved].toarray()]), np.repeat([1.0, -1.0], len(moved))
    g = gram(old)
    p = np.linalg.inv(g + reg * np.eye(len(g)))

    def by_rows() -> Floats:
        return np.linalg.inv(g + (u.T * signs) @ u + reg * np.eye(len(g)))

    def woodbury() -> Floats:
        left = u @ p
        return p - left.T @ np.linalg.solve(np.diag(signs) + left @ u.T, left)

    def anew() -> Floats:
        return np.linalg.inv(gram(now) + reg * np.eye(len(g)))

    ways = {"anew": anew, "rows": by_rows, "woodbury": woodbury}
    best = {name: min(seconds(way)[1] for _ in range(3)) for name, way in ways.items()}
    exact = anew()
    apart = {name: float(np.abs(way() - exact).max() / np.abs(exact).max()) for name, way in ways.items()}
    share = {name: s / best["anew"] for name, s in best.items()}
    return {"items": len(g), "rank": len(u), "CPU s anew": best["anew"], "share of anew": share, "relative difference": apart}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    started, dataset = time.perf_counter(), load_dataset(ML_100K)
    arms: dict[str, list[Floats]] = {name: [] for name in ARMS}
    facts: list[dict[str, Any]] = []
    with folder_of_runs(options.runs) as runs:
        for seed in options.seeds:
            settings = replace(load_settings(None, options.assignments), seed=seed, control=False)
            found, told = one(dataset, settings, runs)
            facts.append(told)
            for name, values in found.items():
                arms[name].append(values)
            early, new, _ = parts(dataset, settings)
            late = replace(early, interactions=early.interactions.joined(new)).histories()
            content = {
                "k": K,
                "epochs": EPOCHS,
                "seeds": options.seeds[: len(facts)],
                "ndcg": {name: mean(values) for name, values in arms.items()},
                "updated minus": {n: difference(arms["updated"], v) for n, v in arms.items() if n != "updated"},
                "runs": facts,
                "ease": ease_ways(early.histories(), late),
            }
            result_file("update", dataset, started, content)


if __name__ == "__main__":
    main()
