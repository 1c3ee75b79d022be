"""What is in a run and whether its hybrid is worth it: the report that evaluation stored, training curves, facts of the data.

In: a Run. Out: small frames with means, 95% intervals and n. Reads what is stored; the test set is never opened here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys_core import scorers
from recsys_core.browse import EPOCHS
from recsys_core.errors import UserError
from recsys_core.opened import stored

if TYPE_CHECKING:
    from recsys_core.run import Run

COLUMNS = {
    "report.parquet": ("model", "metric", "k", "segment", "mean", "low", "high", "n"),
    "report.json": ("model", "mean", "low", "high", "n", "p_holm"),
}
SHUFFLED = "shuffled texts"  # name of the control in a report
TOP = (0.01, 0.05, 0.1, 0.2)  # shares of the catalogue whose share of the interactions is told
ALPHA = 0.05  # of a corrected p value
POINTS = 200  # of the curve of concentration, at most


@dataclass(frozen=True)
class Judged:
    """What `whyrec evaluate` stored. `rows` and `differences` as in `evaluate.Report`, `per_user` one row a judged user;
    `opened`: how often the test set was opened; `convention`: how to read the figures."""

    rows: pd.DataFrame
    differences: pd.DataFrame
    per_user: pd.DataFrame
    opened: int
    convention: dict[str, str]

    @property
    def k(self) -> int:
        return int(self.rows["k"].iloc[0])


@dataclass(frozen=True)
class Lift:
    """Hybrid minus `model` in NDCG, paired by user, with a 95% interval.

    `verdict`: "better", "worse" or "unclear" (zero is in the interval)."""

    model: str
    mean: float
    low: float
    high: float
    n: int

    @property
    def verdict(self) -> str:
        if not (self.low > 0 or self.high < 0):  # also where there is no interval
            return "unclear"
        return "better" if self.low > 0 else "worse"


@dataclass(frozen=True)
class DataFacts:
    """Of all interactions. `top`: share of the catalogue, share of the interactions; `curve` the same for every item;
    `unmet`: items without an interaction; `first`, `last`: times, NaN if there are none; `clock`: whether these are seconds
    since 1970; `tied`: share of interactions at the same time as another of the same user, NaN without times; `values`: value, n
    (the 20 most frequent)."""

    top: pd.DataFrame
    curve: pd.DataFrame
    unmet: int
    first: float
    last: float
    clock: bool
    tied: float
    values: pd.DataFrame


def judged(run: Run) -> Judged | None:
    """The stored report, None if the run was never evaluated. Raises UserError if its files are damaged or of another version."""
    files = [run.path / name for name in ("report.parquet", "per_user.parquet", "report.json")]
    if not any(f.exists() for f in files):
        return None
    try:
        facts = stored(run)
        rows, per_user = pd.read_parquet(files[0]), pd.read_parquet(files[1])
        gaps = pd.DataFrame(facts["differences"], columns=list(COLUMNS["report.json"])).astype({"mean": float})
        rows = rows[list(COLUMNS["report.parquet"])].astype({"mean": float, "low": float, "high": float})
        told = Judged(rows, gaps, per_user, int(facts["test_opened"]), {str(k): str(v) for k, v in facts["convention"].items()})
        if not len(board(told)) or "user_id" not in per_user:
            raise ValueError("no NDCG of the hybrid")
    except UserError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        again = f"whyrec evaluate --run {run.path}"
        raise UserError(
            f"{run.path}: the stored report cannot be read ({type(error).__name__}); make it again with: {again}"
        ) from None
    return told


def board(told: Judged, metric: str = "ndcg") -> pd.DataFrame:
    """The hybrid and each component alone: model, mean, low, high, n; best first. Empty if the hybrid has no such figure."""
    rows = told.rows[(told.rows["metric"] == metric) & (told.rows["segment"] == "all")]
    alone = rows[~rows["model"].str.startswith("without ") & (rows["model"] != SHUFFLED)]
    if "hybrid" not in set(alone["model"]):
        return alone.iloc[:0][["model", "mean", "low", "high", "n"]]
    ranked = alone.sort_values("mean", ascending=False, kind="stable")[["model", "mean", "low", "high", "n"]]
    return ranked.reset_index(drop=True)


def valid_board(run: Run) -> pd.DataFrame:
    """The same of validation, without intervals: figures that chose the settings, and so flatter."""
    valid = run.metrics["valid"]
    found = {"hybrid": valid["hybrid"], **valid["components"]}
    judges = valid.get("judges", {})
    n = [int(judges.get(name, valid["users"])) for name in found]
    facts = {"model": list(found), "mean": [float(v) for v in found.values()], "low": math.nan, "high": math.nan, "n": n}
    return pd.DataFrame(facts).sort_values("mean", ascending=False, kind="stable").reset_index(drop=True)


def lift(told: Judged, model: str) -> Lift | None:
    """Hybrid minus a model; None if the report has no such pair."""
    rows = told.differences[told.differences["model"] == model]
    if rows.empty:
        return None
    row = rows.iloc[0]
    mean, low, high = (float(row[c]) if pd.notna(row[c]) else math.nan for c in ("mean", "low", "high"))
    return Lift(model, mean, low, high, int(row["n"]))


def over_best(told: Judged) -> Lift | None:
    """Over the component that is best alone on the same users; None if there is none."""
    alone = board(told)
    alone = alone[alone["model"] != "hybrid"]
    return None if alone.empty else lift(told, str(alone["model"].iloc[0]))


def reader(run: Run) -> str | None:
    """The component whose merit is that it reads texts: `bert`, else the first that does; None if none does."""
    found = [n for n in run.settings.components if scorers.scorer_class(n).reads_text]
    return "bert" if "bert" in found else next(iter(found), None)


def without(told: Judged) -> pd.DataFrame:
    """What each component adds: hybrid minus the hybrid without it (weights learned anew).

    model, mean, low, high, n, p_holm (corrected for all that the report compares); most first."""
    rows = told.differences[told.differences["model"].str.startswith("without ")]
    named = rows.assign(model=rows["model"].str.removeprefix("without "))[list(COLUMNS["report.json"])]
    return named.sort_values("mean", ascending=False, kind="stable").reset_index(drop=True)


def needed(table: pd.DataFrame) -> list[str]:
    """Components of `without` whose gain is shown: above zero with its interval, and after Holm's correction (p < 0.05)."""
    return [str(m) for m in table[(table["low"] > 0) & (table["p_holm"] < ALPHA)]["model"]]


def curves(run: Run) -> pd.DataFrame:
    """Training by epochs: component, epoch, loss, metric, value, seconds; empty if nothing trains in epochs."""
    columns = ["component", "epoch", "loss", "metric", "value", "seconds"]
    try:
        return pd.DataFrame(run.epochs).reindex(columns=columns)
    except (OSError, ValueError, TypeError, AttributeError):
        raise UserError(f"{run.path}/history.jsonl: cannot be read; train the run again") from None


def data_facts(run: Run) -> DataFacts:
    """Concentration, span, ties and values of all interactions of the run's data."""
    events = run.dataset.interactions
    counts = -np.sort(-np.bincount(events.item, minlength=len(run.dataset.items)))
    values, n = np.unique(events.value, return_counts=True)
    most = np.sort(np.argsort(-n, kind="stable")[:20])
    first, last, tied = math.nan, math.nan, math.nan
    if events.time is not None and len(events):
        first, last, tied = float(events.time.min()), float(events.time.max()), _tied(events.user, events.time)
    return DataFacts(
        top=concentration(counts, np.array(TOP)),
        curve=concentration(counts, np.linspace(0, 1, min(POINTS, len(counts)) + 1)),
        unmet=int((counts == 0).sum()),
        first=first,
        last=last,
        clock=EPOCHS[0] <= first and last <= EPOCHS[1],
        tied=tied,
        values=pd.DataFrame({"value": values[most], "n": n[most]}),
    )


def concentration(counts: NDArray[Any], shares: NDArray[np.float64]) -> pd.DataFrame:
    """What share of all interactions the most met items have: items (share of the catalogue), n_items (rounded up), interactions.

    >>> concentration(np.array([6, 3, 1, 0]), np.array([0.25, 0.5])).values.tolist()
    [[0.25, 1.0, 0.6], [0.5, 2.0, 0.9]]
    """
    sums = np.concatenate([[0], np.cumsum(-np.sort(-counts))])
    n = np.ceil(np.round(shares * len(counts), 9)).astype(np.int64)
    return pd.DataFrame({"items": shares, "n_items": n, "interactions": sums[n] / max(sums[-1], 1)})


def _tied(user: NDArray[Any], time: NDArray[Any]) -> float:
    order = np.lexsort((time, user))
    u, t = user[order], time[order]
    same = (u[1:] == u[:-1]) & (t[1:] == t[:-1])
    return float((np.concatenate([[False], same]) | np.concatenate([same, [False]])).mean())
