"""Newcomers: what is a list worth to somebody of whom little is known, and do its probabilities come true?

    python benchmarks/newcomers.py --seeds 0 1 2 3 4 [--shared DATA]

Test users are shown with the latest 0, 1, 2, 3, 5, 10 or 20 events of their history left, and with all of it; NDCG@10 on their
test likes, all that they have met hidden. Beside the hybrid: itself without what it learned for newcomers (t = 1), popularity
alone, and a control: the hybrid whose popularity is dealt to the wrong items. MovieLens-100K, and with --shared Last.fm artists
and Amazon office products at one seed. Differences are paired by user. Writes results/newcomers.json.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from _common import ML_100K, Floats, K, arguments, difference, folder_of_runs, hits_ndcg, mean, result_file, trained
from other_data import amazon, lastfm

from recsys_core.config import Settings, load_settings
from recsys_core.data import Dataset, Histories
from recsys_core.hybrid import Hybrid
from recsys_core.newcomers import latest
from recsys_core.ranking import marked
from recsys_core.readers import load_dataset
from recsys_core.recommend import recommend
from recsys_core.run import Run
from recsys_core.scorers.base import Scorer, Scores
from recsys_core.splits import TEST

LEFT = (0, 1, 2, 3, 5, 10, 20, None)  # events; None: all


class Dealt(Scorer):
    """The scores of `inner` dealt to the wrong items, out of those that it can score."""

    reads_history = False

    def __init__(self, inner: Scorer) -> None:
        super().__init__(inner.config)
        self.inner = inner

    def fit(self, dataset: Dataset, rng: np.random.Generator) -> Dealt:
        raise NotImplementedError("it has what `inner` has learned")

    def score(self, histories: Histories, items: Any = None) -> Scores:
        scores = self.inner.score(histories)
        known = np.flatnonzero(np.isfinite(scores[0]))
        out = scores.copy()
        out[:, known] = scores[:, np.random.default_rng(0).permutation(known)]
        return out if items is None else out[:, items]


def arms(run: Run) -> dict[str, Hybrid]:
    model = run.model
    plain = replace(model, blend=replace(model.blend, newcomers=(), damp=0.0))
    popular = model.blend.only(np.array([model.names.index("popularity")]))
    alone = Hybrid({"popularity": model.components["popularity"]}, replace(popular, weights=(1.0,)), model.cold)
    dealt = Dealt(model.components["popularity"])
    wrong = replace(model, components={**model.components, "popularity": dealt})
    return {"hybrid": model, "t = 1": plain, "popularity alone": alone, "popularity dealt to wrong items": wrong}


def left(histories: Histories, n: int | None) -> Histories:
    if n is None:
        return histories
    return latest(histories, n) if n else Histories.of([[]] * len(histories), histories.n_items)


def one(run: Run) -> tuple[dict[int | None, dict[str, Floats]], dict[int | None, tuple[float, float]]]:
    """By events left: NDCG of each user and arm, NaN where a user has no test like or no more events than that; and of the
    hybrid's lists the mean probability and the share that is liked."""
    truth = run.dataset.subset(run.split.rows(TEST)).likes()
    found: dict[int | None, dict[str, Floats]] = {}
    chance: dict[int | None, tuple[float, float]] = {}
    for n in LEFT:
        users = np.flatnonzero((truth.lengths > 0) & (run.histories.lengths > (n or 0)))
        shown, hidden, likes = left(run.histories[users], n), run.hidden[users], truth[users]
        found[n] = {}
        for name, model in arms(run).items():
            lists = recommend(model, shown, hidden, k=K)
            values = np.full(len(truth), np.nan)
            values[users] = hits_ndcg(lists.items, likes)
            found[n][name] = values
            if name == "hybrid":
                there = lists.items >= 0
                liked = marked(lists.items, likes.csr().toarray() > 0)
                chance[n] = float(lists.probability[there].mean()), float(liked[there].mean())
    return found, chance


def told(dataset: Dataset, settings: list[Settings], runs: Path) -> dict[str, Any]:
    """Of all seeds together, by events left."""
    each = [trained(dataset, s, runs)[0] for s in settings]
    found = [one(run) for run in each]
    out: dict[str, Any] = {"data": dataset.summary(), "learned": [run.metrics["newcomers"] for run in each], "events": {}}
    for n in LEFT:
        values = {name: [by[n][name] for by, _ in found] for name in found[0][0][n]}
        events = out["events"]["all" if n is None else n] = {
            "ndcg": {name: mean(v) for name, v in values.items()},
            "hybrid minus": {name: difference(values["hybrid"], v) for name, v in values.items() if name != "hybrid"},
            "probability": float(np.mean([chance[n][0] for _, chance in found])),
            "liked": float(np.mean([chance[n][1] for _, chance in found])),
        }
        print(dataset.name, n, {k: round(v, 4) for k, v in events["ndcg"].items()}, flush=True)
    return out


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--shared", type=Path, help="folder of the other data sets")
    options = parser.parse_args()
    started, dataset = time.perf_counter(), load_dataset(ML_100K)
    given = ["control=false", *options.assignments]
    with folder_of_runs(options.runs) as runs:
        found = {"ml-100k": told(dataset, [load_settings(None, given, seed=seed) for seed in options.seeds], runs)}
        if options.shared is not None:
            for read, split in ((lastfm, "random"), (amazon, "leave-last")):
                other = read(options.shared, 5)
                found[other.name] = told(other, [load_settings(None, given, split=split)], runs)
        result_file("newcomers", dataset, started, {"k": K, "seeds": options.seeds, "sets": found})


if __name__ == "__main__":
    main()
