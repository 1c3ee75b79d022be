"""Do our metrics agree with RecTools and LensKit, user by user, on one random fixture? Writes results/metric_agreement.json.

    python benchmarks/metric_agreement.py

The peers need other versions of numpy and pandas than we do, so they live in an environment of their own, `.venv-peers`, which
this command makes. Where a peer defines a metric otherwise, our numbers are converted to its definition and the row says how.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array

ROOT = Path(__file__).resolve().parents[1]
PEERS = {"rectools": "0.19.0", "lenskit": "2025.8.1"}
ALONGSIDE = ["torch==2.13.0", "pyarrow==20.0.0"]  # LensKit imports both; RecTools holds numpy under 2, later pyarrow wants 2
K, N_USERS, N_ITEMS, SEED = 10, 300, 400, 7
TOLERANCE = 1e-9

OPTIONS = {  # where a peer can be asked for our definition
    ("rectools", "ndcg"): "divide_by_achievable=True; its default ideal has k hits, however few there are to find",
    ("rectools", "coverage"): "normalize=True",
    ("rectools", "intra_list_diversity"): "a cosine distance calculator; it ships Hamming",
    ("rectools", "popularity_lift"): "from two AvgRecPopularity, of the lists and of the histories",
    ("lenskit", "ndcg"): "weight=LogRankWeight(offset=1); its default, as the 2002 paper, does not discount rank 2",
}
NOT_COMPARED = {
    "rectools": {
        "serendipity": "another definition: popularity-rank difference * relevance",
        "auc": "PartialAUC and PAP are cut at k; ours ranks the whole catalogue (checked against scikit-learn in the tests)",
        "gini, personalisation, long_tail_share, calibration_kl": "absent",
    },
    "lenskit": {
        "novelty, diversity, coverage": f"absent in {PEERS['lenskit']}",
        "personalisation, popularity_lift, long_tail_share, calibration_kl, serendipity, auc": "absent",
    },
}


def fixture() -> dict[str, Any]:
    """Random lists (1 to K long), truth (1 to 30 items), training history (popularity falls with the id) and vectors."""
    rng = np.random.default_rng(SEED)
    lists = np.array([rng.permutation(N_ITEMS // 4)[:K] for _ in range(N_USERS)])
    lists[np.arange(K) >= rng.integers(1, K + 1, N_USERS)[:, None]] = -1
    truth = np.zeros((N_USERS, N_ITEMS), bool)
    for row in truth:
        row[rng.permutation(N_ITEMS // 2)[: rng.integers(1, 31)]] = True
    history = rng.random((N_USERS, N_ITEMS)) < 0.3 / np.sqrt(np.arange(1, N_ITEMS + 1))
    history[np.arange(N_ITEMS) % N_USERS, np.arange(N_ITEMS)] = True  # every item and every user has an event
    return {"lists": lists, "truth": truth, "history": history, "vectors": rng.normal(size=(N_ITEMS, 16))}


def peer_values(f: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """{peer: {metric: one value a user, or one number}}, or {peer: {"error": why}}; runs in the peers' environment."""
    found: dict[str, dict[str, Any]] = {}
    for name, values in (("rectools", rectools_values), ("lenskit", lenskit_values)):
        try:
            found[name] = {m: np.asarray(v, dtype=float).tolist() for m, v in values(f).items()}
        except ImportError as error:
            found[name] = {"error": str(error)}
    return found


def rectools_values(f: dict[str, Any]) -> dict[str, Any]:
    import pandas as pd
    from rectools import metrics as r
    from rectools.metrics.distances import PairwiseDistanceCalculator

    unit = f["vectors"] / np.linalg.norm(f["vectors"], axis=1, keepdims=True)

    class Cosine(PairwiseDistanceCalculator):  # type: ignore[misc]
        def _get_distances_for_item_pairs(self, items_0: Any, items_1: Any) -> Any:
            return 1 - (unit[items_0.astype(int)] * unit[items_1.astype(int)]).sum(axis=1)

    def table(rows: Any, items: Any) -> Any:
        frame = pd.DataFrame({"user_id": rows, "item_id": items})
        return frame.assign(rank=frame.groupby("user_id").cumcount() + 1)

    filled = f["lists"] >= 0
    reco = table(np.nonzero(filled)[0], f["lists"][filled])
    truth, past = table(*np.nonzero(f["truth"])), table(*np.nonzero(f["history"]))
    users = np.arange(len(filled))
    with_truth = {
        "ndcg": r.NDCG(K, divide_by_achievable=True),
        "precision": r.Precision(K),
        "recall": r.Recall(K),
        "mrr": r.MRR(K),
        "hit_rate": r.HitRate(K),
        "average_precision": r.MAP(K),
    }
    popularity = [r.AvgRecPopularity(len(past)).calc_per_user(t, past).loc[users] for t in (reco, past)]
    return {
        **{name: metric.calc_per_user(reco, truth).loc[users] for name, metric in with_truth.items()},
        "novelty": r.MeanInvUserFreq(K).calc_per_user(reco, past).loc[users],
        "intra_list_diversity": r.IntraListDiversity(K, distance_calculator=Cosine()).calc_per_user(reco).loc[users],
        "coverage": r.CatalogCoverage(K, normalize=True).calc(reco, np.arange(N_ITEMS)),
        "popularity_lift": popularity[0] / popularity[1] - 1,
    }


def lenskit_values(f: dict[str, Any]) -> dict[str, Any]:
    from lenskit.data import ItemList
    from lenskit.metrics import NDCG, Hit, ListGini, Precision, Recall, RecipRank
    from lenskit.metrics.ranking import AveragePrecision, LogRankWeight

    lists = [ItemList(item_ids=row[row >= 0], ordered=True) for row in f["lists"]]
    truth = [ItemList(item_ids=np.flatnonzero(row)) for row in f["truth"]]
    per_user = {
        "ndcg": NDCG(K, weight=LogRankWeight(offset=1)),
        "precision": Precision(K),
        "recall": Recall(K),
        "mrr": RecipRank(K),
        "hit_rate": Hit(K),
        "average_precision": AveragePrecision(K),
    }
    gini = ListGini(K, items=N_ITEMS)
    return {
        **{n: [m.measure_list(a, b) for a, b in zip(lists, truth, strict=True)] for n, m in per_user.items()},
        "gini": gini.global_aggregate([gini.compute_list_data(a, b) for a, b in zip(lists, truth, strict=True)]),
    }


def our_values(f: dict[str, Any]) -> tuple[dict[str, Any], dict[tuple[str, str], tuple[str, Any]]]:
    """Our values by metric, and {(peer, metric): (what was converted, values in the peer's definition)}."""
    from recsys_core.metrics import available, novelty

    lists, counts, n_relevant = f["lists"], f["history"].sum(axis=0), f["truth"].sum(axis=1)
    hits = np.take_along_axis(f["truth"], np.maximum(lists, 0), axis=1) & (lists >= 0)
    inputs = {
        "hits": hits,
        "n_relevant": n_relevant,
        "lists": lists,
        "n_items": N_ITEMS,
        "counts": counts,
        "n_users": N_USERS,
        "history": csr_array(f["history"]),
        "vectors": f["vectors"],
    }
    ours = {m.name: m(inputs) for m in available(inputs)}
    length, possible = (lists >= 0).sum(axis=1), np.minimum(n_relevant, K)
    precision, recall, ap, ild = (ours[n] for n in ("precision", "recall", "average_precision", "intra_list_diversity"))
    converted = {
        ("rectools", "average_precision"): ("divided by n_relevant, not min(k, n_relevant)", ap * possible / n_relevant),
        ("rectools", "novelty"): ("without add-one: -log2(counts / n_users)", novelty(lists, counts - 1, N_USERS - 1)),
        ("rectools", "intra_list_diversity"): ("a list of one item is 0, not NaN", np.nan_to_num(ild)),
        ("lenskit", "precision"): ("divided by the list's length, not k", precision * K / length),
        ("lenskit", "recall"): ("divided by min(k, n_relevant), not n_relevant", recall * n_relevant / possible),
        ("lenskit", "average_precision"): (
            "divided by min(list length, n_relevant), not min(k, n_relevant)",
            ap * possible / np.minimum(length, n_relevant),
        ),
    }
    return ours, converted


def compare(
    ours: dict[str, Any], converted: dict[tuple[str, str], tuple[str, Any]], peers: dict[str, Any]
) -> list[dict[str, Any]]:
    """A row for each peer and metric; differences are the largest over users."""
    rows = []
    for peer, values in peers.items():
        for name, listed in values.items():
            theirs = np.array(listed)
            how, same = converted.get((peer, name), (None, ours[name]))
            gap, rest = (float(np.nanmax(np.abs(v - theirs))) for v in (ours[name], same))
            undefined = int((np.isnan(same) != np.isnan(theirs)).sum())
            rows.append(
                {
                    "metric": name,
                    "peer": peer,
                    "ours": float(np.nanmean(ours[name])),
                    "theirs": float(np.nanmean(theirs)),
                    "difference": gap,
                    "option": OPTIONS.get((peer, name)),
                    "conversion": how,
                    "ours_converted": None if how is None else float(np.nanmean(same)),
                    "difference_converted": None if how is None else rest,
                    "agreed": rest <= TOLERANCE and undefined == 0,
                }
            )
    return rows


def install(python: Path) -> dict[str, str]:
    """Install each peer at its version; {peer: last line of the error} of those that cannot be."""
    failed = {}
    if not python.exists():
        venv.create(python.parents[1], with_pip=True)
    for peer, version in PEERS.items():
        command = [str(python), "-m", "pip", "install", "-q", f"{peer}=={version}", *ALONGSIDE]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        if done.returncode:
            failed[peer] = done.stderr.strip().splitlines()[-1]
    return failed


def main() -> None:
    python = ROOT / ".venv-peers" / "bin" / "python"
    failed = install(python)
    f = fixture()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fixture.npz"
        np.savez(path, **f)
        command = [str(python), __file__, str(path)]
        peers = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=600).stdout)
    failed |= {peer: values["error"] for peer, values in peers.items() if "error" in values}
    peers = {peer: values for peer, values in peers.items() if peer not in failed}
    rows = compare(*our_values(f), peers)
    facts = {"users": N_USERS, "items": N_ITEMS, "k": K, "seed": SEED, "tolerance": TOLERANCE}
    result = {"fixture": facts, "peers": PEERS, "not_available": failed, "rows": rows, "not_compared": NOT_COMPARED}
    target = ROOT / "benchmarks" / "results" / "metric_agreement.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for row in rows:
        verdict, how = "agrees" if row["agreed"] else "DIFFERS", row["conversion"] or row["option"] or ""
        print(f"{row['peer']:9} {row['metric']:21} {row['ours']:9.5f} {row['theirs']:9.5f}  {verdict}  {how}")
    print(f"written: {target.relative_to(ROOT)}; not available: {failed or 'none'}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(peer_values(dict(np.load(sys.argv[1])))))
    else:
        main()
