"""What the benchmarks share: peers tuned like us, judging of any scores, intervals over seeds, trained runs, result files."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

import recsys_core
from recsys_core import learn, metrics
from recsys_core.config import Settings
from recsys_core.data import Dataset, Histories
from recsys_core.evaluate import Report, evaluate
from recsys_core.hybrid import Hybrid
from recsys_core.ranking import hide, top_k
from recsys_core.run import Run, commit, version_of
from recsys_core.scorers.base import gram
from recsys_core.scorers.ease import closed_form
from recsys_core.splits import TEST, TRAIN, VALID, Split, make_split
from recsys_core.train import train

Floats = NDArray[Any]
ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
ML_100K = ROOT / "data" / "ml-100k"
K = 10


def megabytes(pid: int) -> float:
    """Memory that a process holds (Linux)."""
    return int(Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1].split()[0]) / 1024


def result_file(name: str, dataset: Dataset, started: float, content: Mapping[str, Any]) -> None:
    """Write results/<name>.json: what was run, on what, and the figures. Called after each seed, so a stopped run leaves some."""
    facts = {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "git": commit(),
        "code": source_hash(),
        "versions": {"python": platform.python_version()}
        | {n: version_of(n) for n in ("whyrec", "numpy", "scipy", "torch", "transformers", "implicit")},
        "cpus": os.cpu_count(),
        "wall_seconds": round(time.perf_counter() - started, 1),
        "data": {k: v for k, v in dataset.summary().items() if k != "attributes"} | {"fingerprint": dataset.fingerprint},
    }
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps({**facts, **content}, indent=1, ensure_ascii=False, default=_plain)
    (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)


def source_hash() -> str:
    """sha256 over the package's sources, for a checkout whose files differ from its commit."""
    h, package = hashlib.sha256(), Path(recsys_core.__file__).parent
    for path in sorted(package.rglob("*.py")):
        h.update(path.relative_to(package).as_posix().encode() + path.read_bytes())
    return h.hexdigest()[:16]


def arguments(doc: str | None, **more: Any) -> argparse.ArgumentParser:
    """A parser with the options that all benchmarks have."""
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0], **more)
    parser.add_argument("--runs", type=Path, help="keep trained runs here and use those that lie there")
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", dest="assignments", help="settings")
    return parser


@contextmanager
def folder_of_runs(given: Path | None) -> Iterator[Path]:
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        yield given
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def split_of(dataset: Dataset, settings: Settings) -> Split:
    """The split that `train` makes of these settings."""
    rng = np.random.default_rng([settings.seed, zlib.crc32(b"split")])
    return make_split(dataset, settings.split, rng)


def trained(dataset: Dataset, settings: Settings, runs: Path) -> tuple[Run, float]:
    """Train, or take the run of the same data, settings and code that lies in `runs`; and the seconds that training took."""
    key = hashlib.sha256(f"{dataset.fingerprint} {settings} {source_hash()}".encode()).hexdigest()[:12]
    path = runs / f"{dataset.name}-{settings.split}-{settings.seed}-{key}"
    run = Run.load(path) if path.exists() else train(dataset, settings, path, say=lambda line: print(f"  {line}", flush=True))
    return run, float(run.manifest["seconds"]["total"])


def judged(run: Run) -> Report:
    return evaluate(run, k=K)


def ndcg(scores: Floats, hidden: Histories, truth: Histories, k: int = K) -> Floats:
    """(n_rows,) NDCG@k of a score matrix, NaN where a row has no truth."""
    lists = top_k(hide(np.asarray(scores, np.float32), hidden), k)
    return hits_ndcg(lists, truth)


def hits_ndcg(lists: NDArray[np.int64], truth: Histories) -> Floats:
    liked = truth.csr().toarray() > 0
    hits = np.take_along_axis(liked, np.maximum(lists, 0), axis=1) & (lists >= 0)
    return np.asarray(metrics.ndcg(hits, truth.lengths))


@dataclass(frozen=True)
class Parts:
    """One split: histories of train, of train + valid (`known`), and the likes of valid and test."""

    train: Histories
    known: Histories
    valid: Histories
    test: Histories

    @classmethod
    def of(cls, dataset: Dataset, split: Split) -> Parts:
        rows = ((TRAIN,), (TRAIN, VALID), (VALID,), (TEST,))
        return cls(*(dataset.subset(split.rows(*r)).likes() for r in rows))


@dataclass(frozen=True)
class Peer:
    """A model to compare with: `scores(histories, seed, **setting)` fits on the likes and scores every user, item."""

    name: str
    grid: tuple[dict[str, Any], ...]
    scores: Callable[..., Floats]

    def tuned(self, parts: Parts, seed: int) -> tuple[Floats, dict[str, Any]]:
        """Test NDCG of each user, after the best setting on validation was fitted again on train + valid; and facts."""
        started = time.perf_counter()
        found = [float(np.nanmean(ndcg(self.scores(parts.train, seed, **s), parts.train, parts.valid))) for s in self.grid]
        best = self.grid[int(np.argmax(found))]
        result = ndcg(self.scores(parts.known, seed, **best), parts.known, parts.test)
        seconds = time.perf_counter() - started
        return result, {"setting": best, "valid": max(found), "tried": len(found), "seconds": round(seconds, 2)}


def ease_scores(histories: Histories, seed: int, *, reg: float) -> Floats:
    return np.asarray(histories.csr() @ closed_form(gram(histories), reg))


def popular_scores(histories: Histories, seed: int) -> Floats:
    counts = np.bincount(histories.items, minlength=histories.n_items).astype(np.float32)
    return np.broadcast_to(counts, histories.shape)


def als_scores(histories: Histories, seed: int, **setting: Any) -> Floats:
    from implicit.als import AlternatingLeastSquares

    model = AlternatingLeastSquares(**setting, random_state=seed, use_gpu=False, num_threads=1)
    model.fit(csr_matrix(histories.csr()), show_progress=False)
    return np.asarray(model.user_factors @ model.item_factors.T)


def bpr_scores(histories: Histories, seed: int, **setting: Any) -> Floats:
    from implicit.bpr import BayesianPersonalizedRanking

    model = BayesianPersonalizedRanking(**setting, random_state=seed, use_gpu=False, num_threads=1)
    model.fit(csr_matrix(histories.csr()), show_progress=False)
    return np.asarray(model.user_factors @ model.item_factors.T)


def grid(**values: Sequence[Any]) -> tuple[dict[str, Any], ...]:
    """Every combination.

    >>> grid(a=(1, 2), b=(3,))
    ({'a': 1, 'b': 3}, {'a': 2, 'b': 3})
    """
    rows: list[dict[str, Any]] = [{}]
    for name, options in values.items():
        rows = [row | {name: v} for row in rows for v in options]
    return tuple(rows)


EASE = Peer("EASE", grid(reg=(25, 50, 75, 100, 150, 200, 300, 400, 600, 800, 1100, 1600)), ease_scores)
POPULAR = Peer("most popular", ({},), popular_scores)
ALS = Peer("implicit ALS", grid(factors=(32, 64, 96), regularization=(12.0, 18.0, 24.0, 30.0), alpha=(2.0,)), als_scores)
BPR = Peer(
    "implicit BPR",
    grid(factors=(32,), learning_rate=(0.001, 0.002, 0.004), regularization=(0.003, 0.01), iterations=(100, 300)),
    bpr_scores,
)


def difference(a: Sequence[Floats], b: Sequence[Floats], *, n: int = 2000) -> dict[str, Any]:
    """Mean of a - b over (seed, user) pairs with 95% bootstrap intervals: of the pairs as if independent, and of users with all
    their pairs (the same user in several seeds is not new evidence). Each of `a` and `b`: one array (n_users,) a seed, NaN = not
    judged."""
    d = np.stack([np.asarray(x) - np.asarray(y) for x, y in zip(a, b, strict=True)])  # (seeds, users)
    pairs = metrics.bootstrap_interval(d.ravel(), np.random.default_rng(0))
    judged_in = (~np.isnan(d)).sum(axis=0)
    total, count = np.nansum(d, axis=0)[judged_in > 0], judged_in[judged_in > 0]
    rng = np.random.default_rng(0)
    draws = rng.integers(0, len(total), (n, len(total)))
    low, high = np.quantile(total[draws].sum(axis=1) / count[draws].sum(axis=1), [0.025, 0.975])
    return {
        "mean": pairs.mean,
        "naive": [pairs.low, pairs.high],
        "by_user": [float(low), float(high)],
        "seeds": np.nanmean(d, axis=1).tolist(),
        "pairs": pairs.n,
        "users": len(total),
    }


def by_user(report: Report, model: str, dataset: Dataset) -> Floats:
    """(n_users,) NDCG of a model of a report, NaN where a user was not judged."""
    out = np.full(len(dataset.users), np.nan)
    out[dataset.users.codes(report.per_user["user_id"], "user")] = report.per_user[f"{model}:ndcg"]
    return out


def without(run: Run, names: set[str]) -> Floats:
    """(n_users,) test NDCG of the run's hybrid without some components, weights learned anew on its validation candidates."""
    blend = run.model.blend
    rest = np.array([n for n, name in enumerate(blend.names) if name not in names])
    learned = learn.fit_blend(run.candidates.keep(rest), blend.only(rest), K).with_constants(blend.only(rest))
    model = Hybrid({n: run.model.components[n] for n in learned.names}, learned, run.model.cold)
    truth = run.dataset.subset(run.split.rows(TEST)).likes()
    return ndcg(scores_of(model, run.histories), run.hidden, truth)


def scores_of(model: Any, histories: Histories) -> Floats:
    """(n_rows, n_items) scores, block by block."""
    return np.concatenate([model.score(block) for _, block in histories.blocks(256)])


def mean(values: Sequence[Floats]) -> float:
    """Mean over seeds of the mean over users."""
    return float(np.mean([np.nanmean(v) for v in values]))


def settings_facts(settings: Settings) -> dict[str, Any]:
    return {k: v for k, v in asdict(settings).items() if k != "seed"}
