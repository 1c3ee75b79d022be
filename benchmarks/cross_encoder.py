"""Does reading history and item together help? The pair model on MovieLens-100K with a budget that a CPU can pay.

    python benchmarks/cross_encoder.py

One random split (seed 0), convention of `warm.py`. Loss and dev AUC of each epoch; ROC-AUC of test likes against the other items
of the short-lists, beside that of the order in which the short-lists were found; NDCG@10 of the hybrid beside itself without the
pair model, its weights learned anew on the same judges, and beside a hybrid trained at the defaults, which all users judge.
Writes results/cross_encoder.json.
"""

from __future__ import annotations

import time
from typing import Any

from _common import (
    ML_100K,
    Floats,
    arguments,
    by_user,
    difference,
    folder_of_runs,
    judged,
    mean,
    result_file,
    settings_facts,
    trained,
)

from recsys_core.config import Settings, load_settings
from recsys_core.readers import load_dataset

NAME = "cross_encoder"
WITHOUT, DEFAULTS = "hybrid without it", "hybrid at the defaults"


def main() -> None:
    args = arguments(__doc__).parse_args()
    started = time.perf_counter()
    dataset = load_dataset(ML_100K)
    plain = load_settings(None, ["hide=liked"], split="random", seed=0)
    components = ",".join((*Settings().components, NAME))
    settings = load_settings(None, [f"components={components}", "hide=liked", *args.assignments], split="random", seed=0)
    with folder_of_runs(args.runs) as runs:
        run, seconds = trained(dataset, settings, runs)
        begun = time.perf_counter()
        report = judged(run)
        evaluated = time.perf_counter() - begun
        other, other_seconds = trained(dataset, plain, runs)
        values: dict[str, Floats] = {
            "hybrid": by_user(report, "hybrid", dataset),
            WITHOUT: by_user(report, f"without {NAME}", dataset),
            DEFAULTS: by_user(judged(other), "hybrid", dataset),
            f"{NAME} alone": by_user(report, NAME, dataset),
            "ease alone": by_user(report, "ease", dataset),
        }
        content: dict[str, Any] = {
            "settings": settings_facts(run.settings),
            "epochs": [{k: v for k, v in line.items() if k != "component"} for line in run.epochs if line["component"] == NAME],
            "test_on_short_lists": report.short_lists[NAME],
            "valid": run.metrics["valid"],
            "weights": dict(zip(run.model.names, run.model.blend.weights, strict=True)),
            "ndcg@10": {name: mean([v]) for name, v in values.items()},
            "hybrid_minus": {n: difference([values["hybrid"]], [v]) for n, v in values.items() if n != "hybrid"},
            "calibration": {k: report.calibration[k] for k in ("ece", "brier", "brier_of_base_rate")},
            "seconds": {
                "train": seconds,
                "of_it": run.manifest["seconds"][NAME],
                "evaluate": evaluated,
                "train defaults": other_seconds,
            },
        }
    result_file(NAME, dataset, started, content)
    for epoch in content["epochs"]:
        print(epoch)
    print(content["test_on_short_lists"], content["seconds"])
    for name, value in content["ndcg@10"].items():
        d = content["hybrid_minus"].get(name)
        print(
            f"{name:24} {value:.4f}  "
            + ("" if d is None else f"{d['mean']:+.4f} [{d['by_user'][0]:+.4f}, {d['by_user'][1]:+.4f}]")
        )


if __name__ == "__main__":
    main()
