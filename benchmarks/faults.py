"""What is left when a command is killed? SIGKILL at random moments of every command that writes, on data/tiny.

    python benchmarks/faults.py

After each kill: the command's output is what was there before or whole, nothing else has changed, and a second run (with --resume
where training had begun) makes what an undisturbed one makes and leaves nothing half-written. Of `evaluate`, which writes three
files, and `forget`, a third state is allowed that reading tells of by name. Anything else ends the script with an error.
Writes results/faults.json: of each command the kills, how many of them found it at work, and what they left.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from _common import ROOT, result_file

sys.path.insert(0, str(ROOT / "tests"))
from faults import CASES, TINY, kill, make_world, moments, undisturbed

from recsys_core.config import Settings
from recsys_core.readers import load_dataset
from recsys_core.train import train

MOMENTS = 50  # of each command


def tally(name: str, world: Path, folder: Path, rng: np.random.Generator) -> dict[str, Any]:
    case = CASES[name]
    good, seconds = undisturbed(case, world, folder)
    counts: Counter[str] = Counter()
    for after in moments(rng, seconds, MOMENTS):
        copy = Path(shutil.copytree(world, folder / "now"))
        found = kill(case, copy, good, after)
        counts.update([f"{found['found']}", *(k for k in ("killed", "resumed") if found[k])])
        shutil.rmtree(copy)
    keys = ("killed", "before", "whole", "told", "resumed")
    return {"kills": MOMENTS, "seconds": round(seconds, 2), **{key: counts[key] for key in keys}}


def main() -> None:
    argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0]).parse_args()
    rng, found, started = np.random.default_rng(0), {}, time.perf_counter()
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        settings = Settings(components=("popularity", "item_knn", "ease"), control=False)
        run = train(load_dataset(TINY), settings, folder / "first")
        world = make_world(folder / "world", run)
        for name in CASES:
            (folder / name).mkdir()
            found[name] = tally(name, world, folder / name, rng)
            print(name, found[name], flush=True)
            result_file("faults", run.dataset, started, {"commands": found})


if __name__ == "__main__":
    main()
