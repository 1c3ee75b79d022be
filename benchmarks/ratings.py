"""What are low ratings worth? MovieLens-100K: histories of likes alone, of all that was rated, and a control.

    python benchmarks/ratings.py --seeds 0 1 2 3 4 --splits random leave-last

Three runs of the components that read no text, on one split: `learn_from=liked`, `learn_from=met`, and `met` where every event
below a like is dealt to a film that this user has not rated, so that only its rating and its moment are left. Likes are
the same in all three, and so is what is tested: NDCG@10 of test likes among all but the known likes (`hide=liked`). So what
was rated low stays a candidate, and no scorer lets an item's own event speak for or against it. Differences are paired by user.
Writes results/ratings.json.
"""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
from _common import ML_100K, Floats, arguments, by_user, difference, folder_of_runs, judged, mean, result_file, trained

from recsys_core.config import load_settings
from recsys_core.data import Dataset
from recsys_core.readers import load_dataset

ARMS = ("likes alone", "all ratings", "low ratings dealt to other films")
COMPONENTS = "components=popularity,ease,factors,next_item"


def dealt(dataset: Dataset, rng: np.random.Generator) -> Dataset:
    """The same events, but those below a like go to films that their user has not rated, drawn by their number of low ratings."""
    events, low = dataset.interactions, np.flatnonzero(~dataset.liked)
    often = np.bincount(events.item[low], minlength=len(dataset.items)) + 1e-3
    item = events.item.copy()
    for user in np.unique(events.user[low]):
        mine = low[events.user[low] == user]
        chance = often.copy()
        chance[events.item[events.user == user]] = 0
        item[mine] = rng.choice(len(often), len(mine), replace=False, p=chance / chance.sum())
    return replace(dataset, interactions=replace(events, item=item))


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--splits", nargs="+", default=["random", "leave-last"])
    args = parser.parse_args()
    started, dataset, content = time.perf_counter(), load_dataset(ML_100K), {}
    with folder_of_runs(args.runs) as runs:
        for split in args.splits:
            found: dict[str, list[Floats]] = {}
            for seed in args.seeds:
                control = dealt(dataset, np.random.default_rng([seed, 2]))
                for arm, data in zip(ARMS, (dataset, dataset, control), strict=True):
                    how = "learn_from=liked" if arm == ARMS[0] else "learn_from=met"
                    given = [COMPONENTS, "control=false", "hide=liked", how, *args.assignments]
                    report = judged(trained(data, load_settings(None, given, split=split, seed=seed), runs)[0])
                    for model in ("hybrid", "ease"):
                        found.setdefault(f"{model}, {arm}", []).append(by_user(report, model, dataset))
                print(split, seed, {n: round(float(np.nanmean(v[-1])), 4) for n, v in found.items()}, flush=True)
                content[split] = {
                    "seeds": args.seeds[: len(found[f"hybrid, {ARMS[0]}"])],
                    "ndcg@10": {n: mean(v) for n, v in found.items()},
                    "all ratings minus": {
                        f"{model}, {arm}": difference(found[f"{model}, {ARMS[1]}"], found[f"{model}, {arm}"])
                        for model in ("hybrid", "ease")
                        for arm in (ARMS[0], ARMS[2])
                    },
                }
                result_file("ratings", dataset, started, content)
    for split, facts in content.items():
        for name, d in facts["all ratings minus"].items():
            print(f"{split:10} all ratings - {name:45} {d['mean']:+.4f} {np.round(d['by_user'], 4)}")


if __name__ == "__main__":
    main()
