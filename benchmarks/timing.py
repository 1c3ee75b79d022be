"""What things cost on MovieLens-100K at default settings: commands from outside, components from inside.

    python benchmarks/timing.py

Wall and CPU seconds and peak memory of `whyrec --help`, `train`, `evaluate` and `recommend --users all`; seconds to fit each
component on train + valid and to make everybody's top 10 with it (the best of three). Times depend on what else the machine does;
`load` is its load average before each command. Writes results/timing.json.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _common import ML_100K, arguments, folder_of_runs, result_file, split_of

from recsys_core import scorers
from recsys_core.config import load_settings
from recsys_core.data import Dataset
from recsys_core.ranking import hide, top_k
from recsys_core.readers import load_dataset
from recsys_core.splits import TRAIN, VALID

COMPONENTS = ("popularity", "ease", "factors", "next_item", "item_knn", "user_knn", "cold", "bert")


# A process of its own starts the command: the kernel counts what a big parent holds when it forks as the child's peak memory.
LAUNCHER = """
import json, os, sys, time
started = time.perf_counter()
command = [sys.executable, "-c", "import sys; from recsys_core.cli import main; sys.exit(main())", *sys.argv[1:]]
quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
_, status, used = os.wait4(os.posix_spawn(sys.executable, command, os.environ, file_actions=quiet), 0)
wall, cpu = time.perf_counter() - started, used.ru_utime + used.ru_stime
print(json.dumps({"wall_seconds": round(wall, 2), "cpu_seconds": round(cpu, 2), "peak_memory_mb": used.ru_maxrss // 1024}))
sys.exit(bool(status))
"""


def command(arguments: Sequence[str]) -> dict[str, Any]:
    """Run `whyrec` and ask the kernel what it used."""
    load = os.getloadavg()[0]
    done = subprocess.run([sys.executable, "-c", LAUNCHER, *arguments], stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found | {"load": round(load, 1)}


def commands(folder: Path, assignments: Sequence[str]) -> dict[str, Any]:
    run, table = folder / "timed", folder / "lists.csv"
    settings = ["--set", *assignments] if assignments else []
    return {
        "help": command(["--help"]),
        "train": command(["train", "--data", str(ML_100K), "--out", str(run), *settings]),
        "evaluate": command(["evaluate", "--run", str(run)]),
        "recommend --users all": command(["recommend", "--run", str(run), "--users", "all", "--out", str(table)]),
    }


def component(name: str, known: Dataset) -> dict[str, Any]:
    """Seconds to fit and to recommend for all users."""
    cls = scorers.scorer_class(name)
    once = name == "bert"  # it trains in epochs
    fitted, fit = best_of(1 if once else 3, lambda: cls().fit(known, np.random.default_rng(0)))
    histories = known.histories()

    def everybody() -> None:
        for rows, block in histories.blocks(256):
            top_k(hide(fitted.score(block), histories[rows]), 10)

    return {"fit_seconds": fit, "recommend_all_seconds": best_of(3, everybody)[1]}


def best_of(times: int, work: Callable[[], Any]) -> tuple[Any, float]:
    seconds, result = [], None
    for _ in range(times):
        started = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - started)
    return result, round(min(seconds), 3)


def main() -> None:
    args = arguments(__doc__).parse_args()
    started = time.perf_counter()
    dataset = load_dataset(ML_100K)
    content: dict[str, Any] = {"components": {}}
    known = dataset.subset(split_of(dataset, load_settings(None, [])).rows(TRAIN, VALID))
    for name in COMPONENTS:
        content["components"][name] = component(name, known)
        print(name, content["components"][name], flush=True)
    with folder_of_runs(args.runs) as folder:
        content["commands"] = commands(folder, args.assignments)
    result_file("timing", dataset, started, content)
    for name, row in content["commands"].items():
        print(name, row)


if __name__ == "__main__":
    main()
