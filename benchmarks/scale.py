"""Does a large set train and serve in bounded memory? Generated: taste groups, a long tail, texts that tell the group.

    python benchmarks/scale.py --users 100000 --items 20000 --interactions 10000000

Writes benchmarks/results/scale.json: seconds of each step, peak memory, and how many users a second are served.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from recsys_core.config import Settings
from recsys_core.data import Catalog, Dataset, Interactions, Vocabulary
from recsys_core.recommend import recommend
from recsys_core.train import train

GROUPS = 50


def generate(n_users: int, n_items: int, n: int, rng: np.random.Generator) -> Dataset:
    """n distinct events or a few less; three in four fall into the user's taste group, items by a power law."""
    group_of_item, group_of_user = rng.integers(0, GROUPS, n_items), rng.integers(0, GROUPS, n_users)
    by_group = [np.flatnonzero(group_of_item == g) for g in range(GROUPS)]
    user = rng.choice(n_users, int(1.25 * n), p=(activity := rng.lognormal(0, 0.8, n_users)) / activity.sum()).astype(np.int64)
    popular = np.minimum((n_items * rng.random(len(user)) ** 3).astype(np.int64), n_items - 1)
    own = np.zeros(len(user), np.int64)
    for g, members in enumerate(by_group):
        mine = group_of_user[user] == g
        own[mine] = members[(len(members) * rng.random(int(mine.sum())) ** 2).astype(np.int64)]
    item = np.where(rng.random(len(user)) < 0.75, own, popular)
    pair = rng.permutation(np.unique(user * n_items + item))[:n]
    time_ = rng.integers(1_500_000_000, 1_600_000_000, len(pair))
    events = Interactions(
        (pair // n_items).astype(np.int32), (pair % n_items).astype(np.int32), np.ones(len(pair), np.float32), time_
    )
    texts = [f"Item {i} of kind {g}" for i, g in enumerate(group_of_item)]
    catalog = Catalog(pd.DataFrame({"title": texts, "text": texts}))
    users, items = Vocabulary.of(range(n_users)), Vocabulary.of(range(n_items))
    return Dataset("generated", users, items, events, catalog)


def peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--interactions", type=int, default=10_000_000)
    parser.add_argument("--serve", type=int, default=10_000, help="users to make lists for")
    args = parser.parse_args()
    seconds: dict[str, float] = {}
    started = time.perf_counter()
    data = generate(args.users, args.items, args.interactions, np.random.default_rng(0))
    seconds["generate"] = time.perf_counter() - started
    lines: list[str] = []

    def say(line: str) -> None:
        lines.append(f"{time.perf_counter() - started:.0f} s, peak {peak_gb():.1f} GB: {line}")
        print(lines[-1], flush=True)

    with tempfile.TemporaryDirectory() as folder:
        run = train(data, Settings(control=False), Path(folder) / "scale", say=say)
        seconds["train"] = run.manifest["seconds"]["total"]
        begun = time.perf_counter()
        rows = np.arange(min(args.serve, args.users))
        recommend(run.model, run.histories[rows], run.hidden[rows], k=10)
        seconds["serve"] = time.perf_counter() - begun
        valid = run.metrics["valid"]
    facts = {
        "users": args.users,
        "items": args.items,
        "interactions": len(data.interactions),
        "seconds": seconds,
        "served_users_a_second": len(rows) / seconds["serve"],
        "peak_gb": peak_gb(),
        "valid": valid,
        "log": lines,
    }
    out = Path(__file__).parent / "results" / "scale.json"
    out.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
