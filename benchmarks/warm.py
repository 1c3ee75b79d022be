"""Warm accuracy on MovieLens-100K: the hybrid at its defaults beside tuned peers, what text adds, and its calibration.

    python benchmarks/warm.py --split random --seeds 0 1 2 3 4
    python benchmarks/warm.py --split leave-last --seeds 0 1 2

Convention: a like is a rating of 4 or more; likes are kept first and then split; candidates are all items but the user's known
likes; every model is tuned on validation, refitted on train + valid and judged on test by NDCG@10. Seeds change the split
(leave-last: only the order of ties). Peers get 12 settings each. Titles, years and genres are the only text. LensKit needs
`.venv-peers` (benchmarks/metric_agreement.py makes it); without it the result says so. Writes results/warm_<split>.json.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from _common import (
    ALS,
    BPR,
    EASE,
    ML_100K,
    POPULAR,
    ROOT,
    Floats,
    Parts,
    arguments,
    by_user,
    difference,
    folder_of_runs,
    hits_ndcg,
    judged,
    mean,
    result_file,
    settings_facts,
    split_of,
    trained,
    without,
)

from recsys_core.config import Settings, load_settings
from recsys_core.data import Dataset, Histories
from recsys_core.readers import load_dataset

TEXT = {"bert", "cold"}
PEERS = (EASE, ALS, BPR, POPULAR)


def lenskit(parts: Parts) -> tuple[dict[str, Floats], dict[str, Any]]:
    """Test NDCG by user of LensKit's models and facts, or no models and the reason."""
    python = ROOT / ".venv-peers" / "bin" / "python"
    if not python.exists():
        return {}, {"LensKit": {"skipped": "no .venv-peers; benchmarks/metric_agreement.py makes it"}}
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "parts.npz", Path(folder) / "lists.npz"
        pairs = {n: _pairs(h) for n, h in (("train", parts.train), ("known", parts.known), ("valid", parts.valid))}
        np.savez(source, n_items=parts.known.n_items, **pairs)
        command = [str(python), str(Path(__file__).with_name("_lenskit.py")), str(source), str(target)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return {}, {"LensKit": {"skipped": (done.stderr.strip().splitlines() or ["failed"])[-1]}}
        found = np.load(target)
        facts = json.loads(str(found["facts"]))
        models = {}
        for name in facts:
            lists = np.full((len(parts.known), found[name].shape[1]), -1)
            lists[found["users"]] = found[name]
            models[name] = hits_ndcg(lists, parts.test)
        return models, facts


def _pairs(histories: Histories) -> Floats:
    return np.stack([histories.rows, histories.items], axis=1)


def peers_of(
    parts: Parts, dataset: Dataset, settings: Settings, runs: Path, *, everything: bool
) -> tuple[dict[str, Floats], dict[str, Any]]:
    """NDCG by user of each peer, and facts; kept beside the runs, since the package's code does not change them."""
    grids = [(p.name, p.grid) for p in PEERS]
    key = hashlib.sha256(f"{dataset.fingerprint} {grids} {Path(__file__).with_name('_lenskit.py').read_text()}".encode())
    kept = runs / f"peers-{settings.split}-{settings.seed}-{everything}-{key.hexdigest()[:12]}.npz"
    if not kept.exists():
        models, facts = {}, {}
        for peer in PEERS if everything else PEERS[:1]:
            models[peer.name], facts[peer.name] = peer.tuned(parts, settings.seed)
            print(f"  {peer.name}: {np.nanmean(models[peer.name]):.4f} {facts[peer.name]}", flush=True)
        if everything:
            more, facts["LensKit"] = lenskit(parts)
            models |= more
        np.savez(kept, facts=json.dumps(facts), **models)
    found = np.load(kept)
    return {n: found[n] for n in found.files if n != "facts"}, json.loads(str(found["facts"]))


def one_seed(dataset: Dataset, settings: Settings, runs: Path, peers: bool) -> tuple[dict[str, Floats], dict[str, Any]]:
    """NDCG by user of every model, and facts of this seed."""
    parts = Parts.of(dataset, split_of(dataset, settings))
    models, told = peers_of(parts, dataset, settings, runs, everything=peers)
    facts: dict[str, Any] = {"seed": settings.seed, "peers": told}
    run, seconds = trained(dataset, settings, runs)
    report = judged(run)
    names = [c.rsplit(":", 1)[0] for c in report.per_user.columns if c.endswith(":ndcg")]
    models |= {n: by_user(report, n, dataset) for n in names}
    if set(run.model.names) & TEXT:
        models["without text"] = without(run, TEXT)
    facts |= {
        "train_seconds": round(seconds, 1),
        "valid": run.metrics["valid"],
        "weights": dict(zip(run.model.names, run.model.blend.weights, strict=True)),
        "calibration": {k: v for k, v in report.calibration.items() if k != "table"},
        "chosen": {n: run.settings.scorers[n] for n in ("ease", "factors", "next_item") if n in run.settings.scorers},
    }
    return models, facts


def summary(found: list[dict[str, Floats]], seeds: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over seeds, paired differences of the hybrid to every other model, and calibration."""
    names = [n for n in found[0] if all(n in f for f in found)]
    values = {n: [f[n] for f in found] for n in names}
    ranked = sorted(names, key=lambda n: -mean(values[n]))
    return {
        "ndcg@10": {n: mean(values[n]) for n in ranked},
        "hybrid_minus": {n: difference(values["hybrid"], values[n]) for n in ranked if n != "hybrid"},
        "ece": float(np.mean([s["calibration"]["ece"] for s in seeds])),
        "brier": float(np.mean([s["calibration"]["brier"] for s in seeds])),
        "brier_of_base_rate": float(np.mean([s["calibration"]["brier_of_base_rate"] for s in seeds])),
    }


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--split", choices=("random", "leave-last"), default="random")
    parser.add_argument("--seeds", type=int, nargs="+")
    parser.add_argument("--no-peers", action="store_true", help="only the hybrid and EASE")
    args = parser.parse_args()
    started = time.perf_counter()
    dataset = load_dataset(ML_100K)
    given = [*args.assignments, "hide=liked"]
    found, facts, settings = [], [], None
    with folder_of_runs(args.runs) as runs:
        for seed in args.seeds or (range(5) if args.split == "random" else range(3)):
            settings = load_settings(None, given, split=args.split, seed=seed)
            models, told = one_seed(dataset, settings, runs, not args.no_peers)
            found.append(models)
            facts.append(told)
            content = {"settings": settings_facts(settings), **summary(found, facts), "seeds": facts}
            result_file(f"warm_{args.split.replace('-', '_')}", dataset, started, content)
            print(f"seed {seed}: hybrid {np.nanmean(models['hybrid']):.4f}, EASE {np.nanmean(models['EASE']):.4f}", flush=True)
    table = summary(found, facts)
    for name, value in table["ndcg@10"].items():
        d = table["hybrid_minus"].get(name)
        gap = "" if d is None else f"{d['mean']:+.4f} [{d['by_user'][0]:+.4f}, {d['by_user'][1]:+.4f}]"
        print(f"{name:22} {value:.4f}  {gap}")
    print(f"ECE {table['ece']:.4f}, Brier {table['brier']:.4f} (base rate {table['brier_of_base_rate']:.4f})")


if __name__ == "__main__":
    main()
