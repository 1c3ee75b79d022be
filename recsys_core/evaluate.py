"""Run + split -> Report: full-ranking metrics with bootstrap intervals, paired differences, controls, calibration.

Models compared: the hybrid, each component alone, the hybrid without each component (weights learned anew on validation),
and the hybrid whose text readers saw shuffled texts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys_core import metrics, show
from recsys_core.card import convention
from recsys_core.data import Histories, Interactions
from recsys_core.errors import UserError, unknown
from recsys_core.hybrid import Blend, joined, load_blend, sigmoid
from recsys_core.limits import check_k
from recsys_core.opened import TABLES, count_opening, stored, times_opened
from recsys_core.overview import judged
from recsys_core.ranking import hide, marked, top_k
from recsys_core.run import Run
from recsys_core.scorers import scorer_class
from recsys_core.scorers.base import Scorer, Scores
from recsys_core.splits import TEST
from recsys_core.whole import sha256, writing

SHOWN = ("ndcg", "recall", "mrr", "coverage", "novelty")  # metrics of a table; `rows` has all
SMALLEST_SEGMENT = 10  # users; smaller groups are counted but not scored
ACTIVITY = ("low", "middle", "high")  # thirds of users by the number of known likes
SHORT_LIST_AUC = "short_list_auc"  # name of the figure in the rows


@dataclass(frozen=True)
class Lists:
    """One model's lists for the judged users: `items` (n, k), -1 behind the end; `hits` (n, k) bool."""

    items: NDArray[np.int64]
    hits: NDArray[np.bool_]


@dataclass(frozen=True)
class ShortLists:
    """A component's short-lists for the judged users, each (n, M), most promising item first: scores, NaN = none; test likes."""

    scores: Scores
    liked: NDArray[np.bool_]

    @property
    def by_user(self) -> NDArray[np.float64]:
        """(n,) ROC-AUC of the scores, test likes against the other short-listed items; NaN where one of the two is missing."""
        return roc_auc(self.scores, self.liked)

    def facts(self) -> dict[str, Any]:
        """auc of all pairs at once; mean over users, of the scores and of the order in which the short-list was found."""
        there = np.isfinite(self.scores)
        order = np.where(there, -np.arange(self.scores.shape[1], dtype=np.float32), np.nan)
        figures = {
            "auc": roc_auc(self.scores.reshape(1, -1), self.liked.reshape(1, -1))[0],
            "auc_by_user": _mean(self.by_user),
            "auc_by_user_of_the_order_found": _mean(roc_auc(order, self.liked)),
        }
        told: dict[str, Any] = {name: None if np.isnan(value) else float(value) for name, value in figures.items()}
        counts = (there.sum(), (self.liked & there).sum(), np.isfinite(self.by_user).sum())
        return told | {name: int(n) for name, n in zip(("pairs", "likes", "users"), counts, strict=True)}


@dataclass(frozen=True)
class Report:
    """Args:
    rows: one row a figure: model, metric, k, segment, mean, low, high, n.
    differences: hybrid minus each other model in NDCG, paired by user: model, mean, low, high, n, p, p_holm.
    per_user: one row a judged user: user_id, then `<model>:<metric>`.
    calibration: reliability of the hybrid's probabilities over its recommended top k.
    short_lists: by component that scores a short-list only, how well it tells test likes from the other items on it.
    """

    rows: pd.DataFrame
    differences: pd.DataFrame
    per_user: pd.DataFrame
    calibration: dict[str, Any]
    convention: dict[str, str]
    short_lists: dict[str, dict[str, Any]] = field(default_factory=dict)

    def save(self, run: Run) -> None:
        """Write report.parquet, per_user.parquet and report.json into the run, and count that its test set was opened.

        Each is whole, and report.json, the last, says which two tables are its own.
        """
        times_opened(run)  # a report that is damaged is told of, not replaced
        with writing(run.path / TABLES[0]) as rows, writing(run.path / TABLES[1]) as users:
            self.rows.to_parquet(rows, index=False)
            self.per_user.to_parquet(users, index=False)
            files = {name: sha256(fresh) for name, fresh in zip(TABLES, (rows, users), strict=True)}
        facts = {"convention": self.convention, "differences": self.differences.to_dict("records")}
        table = {**self.calibration, "table": self.calibration["table"].to_dict("records")}
        count_opening(run, {**facts, "calibration": table, "short_lists": self.short_lists, "files": files})

    @classmethod
    def load(cls, run: Run) -> Self:
        """What `save` wrote last; the test set stays closed. Raises UserError if there is none or a file of it is damaged."""
        told = judged(run)
        if told is None:
            raise UserError(f"{run.path}: not judged yet; run: whyrec evaluate --run {run.path}")
        facts = stored(run)
        calibration = facts["calibration"] | {"table": pd.DataFrame(facts["calibration"]["table"])}
        gaps, short = pd.DataFrame(facts["differences"]), facts.get("short_lists", {})
        return cls(told.rows, gaps, told.per_user, calibration, told.convention, short)

    @property
    def k(self) -> int:
        return int(self.rows["k"].iloc[0])

    def text(self) -> str:
        """Tables for a terminal: accuracy with intervals, paired differences, calibration."""
        chosen = self.rows[self.rows.metric.isin(SHOWN)]
        wide = chosen.pivot_table(index=["segment", "model"], columns="metric", values="mean", sort=False)
        ndcg = self.rows[self.rows.metric == "ndcg"].set_index(["segment", "model"])
        wide.insert(1, "low", ndcg["low"])
        wide.insert(2, "high", ndcg["high"])
        gaps = self.differences.rename(columns={"model": "hybrid minus"}).to_string(index=False, float_format="%.4f")
        return "\n".join(["", wide.to_string(float_format="%.4f"), "", gaps, "", *self._remarks()])

    def _remarks(self) -> list[str]:
        """One line on the probabilities, and one on each short-list."""
        c = self.calibration
        brier = f"Brier {c['brier']:.4f} (base rate {c['brier_of_base_rate']:.4f})"
        told = f"probabilities of the recommended: ECE {c['ece']:.4f}, {brier}"
        return [told, *(_told(name, facts) for name, facts in self.short_lists.items())]

    def _repr_html_(self) -> str:
        """A table a segment: a row a model, means with intervals; then paired differences. For notebooks; all text escaped."""
        rows = self.rows[self.rows["metric"].isin(SHOWN)]
        parts = []
        for segment, group in rows.groupby("segment", sort=False):
            names = [m for m in SHOWN if m in set(group["metric"])]
            found = {(r.model, r.metric): show.interval(r.mean, r.low, r.high) for r in group.itertuples()}
            body = [(m, *(found.get((m, name), "") for name in names)) for m in dict.fromkeys(group["model"])]
            says = show.small(f"{segment}: {int(group['n'].max()):,} users")
            parts += [says, show.table(("model", *(f"{n}@{int(group['k'].iloc[0])}" for n in names)), body)]
        if len(self.differences):
            gaps = [(d.model, show.interval(d.mean, d.low, d.high), d.p_holm) for d in self.differences.itertuples()]
            says = show.small("NDCG of the hybrid minus that of each model, paired by user; p after Holm's correction")
            parts += [says, show.table(("hybrid minus", "difference", "p"), gaps)]
        how = show.folded("how to read these figures", (f"{key}: {text}" for key, text in self.convention.items()))
        return show.page("Report on the test set", *parts, *map(show.small, self._remarks()), how)

    def mean(self, model: str, metric: str) -> float:
        rows = self.rows[(self.rows.model == model) & (self.rows.metric == metric) & (self.rows.segment == "all")]
        return float(rows["mean"].iloc[0])


def evaluate(
    run: Run, *, k: int, hide_as: str | None = None, test: Interactions | None = None, segments: Sequence[str] = ()
) -> Report:
    """Judge a run on its test likes (or on `test`, whose pairs must not be known to the run).

    Args:
        k: length of the lists.
        hide_as: "met" or "liked"; None takes the run's own convention.
        segments: columns of the user table, or "activity" (terciles of the number of known likes).

    Raises:
        UserError: k that no list can have, an unknown segment, or no judged user.
    """
    check_k(k)
    truth = run.dataset.subset(run.split.rows(TEST)).likes() if test is None else _truth(run, test)
    users = np.flatnonzero(truth.lengths > 0)
    if len(users) == 0:
        raise UserError("no user has a relevant test item; nothing can be judged")
    groups = {name: segment(run, name)[users] for name in segments}
    hidden = run.hidden_by(hide_as)
    lists, probability, short = _all_lists(run, users, hidden, truth, k)
    rng = np.random.default_rng(run.settings.seed)
    per_user = _per_user(run, lists, truth, users).assign(**{f"{n}:{SHORT_LIST_AUC}": s.by_user for n, s in short.items()})
    rows = [*_rows(per_user, k, "all", rng), *_totals(lists, len(run.dataset.items), k, len(users))]
    for name, labels in groups.items():
        for value in sorted(set(labels)):
            rows += _rows(per_user[labels == value], k, f"{name}={value}", rng)
    told = convention(replace(run.settings, hide=hide_as or run.settings.hide), run.dataset.threshold)
    calibrated = _calibration(lists["hybrid"], probability)
    told_of = {name: found.facts() for name, found in short.items()}
    return Report(pd.DataFrame(rows), _differences(per_user, rng), per_user, calibrated, told, told_of)


def roc_auc(scores: Scores, liked: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(n,) chance that a liked item of the row has a higher score than another, a tie being half; entries with NaN do not count.

    >>> roc_auc(np.array([[3, 1, 2, np.nan], [1, 1, 1, 1]], np.float32), np.array([[1, 0, 1, 1], [0, 0, 0, 0]], bool))
    array([ 1., nan])
    """
    from scipy.stats import rankdata  # half a second to import, and no page of a list needs it

    there = np.isfinite(scores)
    ranks = rankdata(np.where(there, -scores, np.inf), axis=1)
    row, place = np.nonzero(there & liked)
    return metrics.auc(ranks[row, place], row, there.sum(axis=1))


def _mean(values: NDArray[np.float64]) -> float:
    return float(np.mean(values[np.isfinite(values)])) if np.isfinite(values).any() else float("nan")


def _told(name: str, facts: Mapping[str, Any]) -> str:
    auc, mine, order = (
        "undefined" if facts[key] is None else f"{facts[key]:.4f}"
        for key in ("auc", "auc_by_user", "auc_by_user_of_the_order_found")
    )
    return (
        f"{name} on its short-lists ({facts['likes']:,} test likes of {facts['pairs']:,} items): test ROC-AUC {auc}; "
        f"mean over {facts['users']:,} users {mine}, of the order they were found in {order}"
    )


def compare(runs: Sequence[Run], *, k: int) -> pd.DataFrame:
    """Paired NDCG@k differences of each run's hybrid to the first run's: model, mean, low, high, n, p, p_holm.

    Users are matched by id; `test_opened` is how often each run's test set has been opened, this time counted. Raises UserError
    unless all runs judge the same test likes of the same data.
    """
    check_k(k)
    first = runs[0]
    for run in runs:
        times_opened(run)  # a count that cannot be read is told before any is raised
    reports = []
    for run in runs:
        if run.manifest["fingerprint"] != first.manifest["fingerprint"]:
            raise UserError(f"{run.path} was trained on other data than {first.path}; runs can be compared on one data set only")
        if run.settings.hide != first.settings.hide or not np.array_equal(run.split.part == TEST, first.split.part == TEST):
            raise UserError(f"{run.path} judges other test likes than {first.path}; train both with one --split and --seed")
        reports.append(evaluate(run, k=k).per_user.set_index("user_id")["hybrid:ndcg"])
        count_opening(run)
    rng = np.random.default_rng(first.settings.seed)
    base = reports[0]
    rows = []
    for run, ndcg in zip(runs, reports, strict=True):
        difference = metrics.paired_difference(ndcg, base.loc[ndcg.index], rng)
        rows.append({"run": str(run.path), "ndcg": float(ndcg.mean()), **difference._asdict(), "test_opened": times_opened(run)})
    table = pd.DataFrame(rows)
    return table.assign(p_holm=metrics.holm(table["p"]), against=str(first.path))


def models_of(run: Run) -> dict[str, tuple[dict[str, Scorer], Blend]]:
    """Every compared model but the single components: name -> (scorers, blend)."""
    components = dict(run.model.components)
    models = {"hybrid": (components, run.model.blend)}
    for name in components:
        if (run.path / "without" / name).exists():
            blend, _ = load_blend(run.path / "without" / name)
            models[f"without {name}"] = ({n: components[n] for n in blend.names}, blend)
    if (run.path / "control").exists():
        folder = run.path / "control"
        blend, _ = load_blend(folder / "blend")
        shuffled = {p.name: scorer_class(p.name).load(p) for p in sorted((folder / "scorers").iterdir())}
        models["shuffled texts"] = ({n: shuffled.get(n, components[n]) for n in blend.names}, blend)
    return models


def _all_lists(
    run: Run, users: NDArray[np.int64], hidden: Histories, truth: Histories, k: int
) -> tuple[dict[str, Lists], NDArray[np.float64], dict[str, ShortLists]]:
    """Block by block: lists of every model; the hybrid's probabilities (n, k), NaN behind the end of a list; short-lists."""
    models = models_of(run)
    histories, hidden, truth = run.histories[users], hidden[users], truth[users]
    found: dict[str, list[NDArray[np.int64]]] = {}
    probabilities = []
    short: dict[str, list[tuple[Scores, NDArray[np.bool_]]]] = {}
    for rows, block in histories.blocks(256):
        known: dict[int, Scores] = {}
        for name, (scorers, blend) in models.items():
            raw = joined([_once(known, s, block, hidden[rows]) for s in scorers.values()], scorers, block)
            logit = hide(blend.logit(blend.standardise(raw, block.full_sizes), run.model.cold), hidden[rows])
            items = top_k(logit, k)
            found.setdefault(name, []).append(items)
            if name == "hybrid":
                shown = np.take_along_axis(logit, np.maximum(items, 0), axis=1)
                probabilities.append(np.where(items < 0, np.nan, sigmoid(shown)))
        for name, scorer in run.model.components.items():
            raw = _once(known, scorer, block, hidden[rows])
            found.setdefault(name, []).append(top_k(hide(raw, hidden[rows]), k))
            if (chosen := scorer.shortlist(block, hidden[rows])) is not None:
                shown = np.take_along_axis(raw, np.maximum(chosen, 0), axis=1)
                liked = marked(chosen, truth[rows].csr().toarray() > 0)
                short.setdefault(name, []).append((np.where(chosen < 0, np.nan, shown), liked))
    lists = {n: _judge(np.concatenate(parts), truth) for n, parts in found.items()}
    ranked = {n: ShortLists(*(np.concatenate(p) for p in zip(*parts, strict=True))) for n, parts in short.items()}
    return lists, np.concatenate(probabilities), ranked


def _once(known: dict[int, Scores], scorer: Scorer, block: Histories, hidden: Histories) -> Scores:
    """A scorer's raw scores of one block, computed once for all the models that share it."""
    if id(scorer) not in known:
        known[id(scorer)] = scorer.score_beyond(block, hidden)
    return known[id(scorer)]


def _judge(items: NDArray[np.int64], truth: Histories) -> Lists:
    hits = np.zeros(items.shape, bool)
    for rows, block in truth.blocks(1024):
        hits[rows] = marked(items[rows], block.csr().toarray() > 0)
    return Lists(items, hits)


def _truth(run: Run, test: Interactions) -> Histories:
    """Liked events of a test file; a pair that the run already knows is refused."""
    data = run.dataset
    known = run.known.interactions
    n_items = len(data.items)
    overlap = np.isin(test.user.astype(np.int64) * n_items + test.item, known.user.astype(np.int64) * n_items + known.item)
    if overlap.any():
        row = int(np.argmax(overlap))
        user, item = data.users.ids[test.user[row]], data.items.ids[test.item[row]]
        raise UserError(f"test events: {int(overlap.sum())} pairs were trained on (first: user {user}, item {item}); remove them")
    return replace(data, interactions=test).likes()


def terciles(values: NDArray[Any], of: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(n,) 0, 1 or 2: which third of `values[of]` each value falls in; equal values share the lower."""
    return np.searchsorted(np.quantile(values[of], [1 / 3, 2 / 3]), values, side="left").astype(np.int64)


def segment(run: Run, name: str) -> NDArray[np.object_]:
    """(n_users,) label of each user: a column of the user table, or "activity" (ACTIVITY, thirds by known likes)."""
    if name == "activity":
        n = run.likes.lengths
        return np.array(ACTIVITY, dtype=object)[terciles(n, n > 0)]
    if name not in run.dataset.user_table.columns:
        raise unknown("segment", name, ["activity", *run.dataset.user_table.columns])
    return run.dataset.user_table[name].astype(str).to_numpy(dtype=object)


def _per_user(run: Run, lists: Mapping[str, Lists], truth: Histories, users: NDArray[np.int64]) -> pd.DataFrame:
    """Accuracy of every model; for the hybrid and the single components also what goes beyond accuracy."""
    n_relevant = truth.lengths[users]
    shared: dict[str, Any] = {
        "n_relevant": n_relevant,
        "n_items": len(run.dataset.items),
        "n_users": len(run.dataset.users),
        "counts": np.bincount(run.likes.items, minlength=len(run.dataset.items)),
        "history": run.likes[users].csr(),
    }
    topics, vectors = run.dataset.catalog.topics(), text_vectors(run)
    shared |= {} if topics is None else {"attributes": topics.toarray()}
    shared |= {} if vectors is None else {"vectors": vectors}
    columns: dict[str, Any] = {"user_id": run.dataset.users.ids[users]}
    for model, found in lists.items():
        inputs: dict[str, Any] = {"hits": found.hits, "n_relevant": n_relevant}
        if model == "hybrid" or model in run.model.components:
            inputs |= {**shared, "lists": found.items}
        columns |= {f"{model}:{m.name}": m(inputs) for m in metrics.available(inputs) if m.per_user}
    return pd.DataFrame(columns)


def text_vectors(run: Run) -> NDArray[np.float32] | None:
    """BERT vectors of the items, if a component of the run keeps them; zero where an item has no text."""
    found = (getattr(s, "text_vectors_", None) for s in run.model.components.values())
    vectors = next((v for v in found if v is not None), None)
    return None if vectors is None else np.nan_to_num(vectors)


def _rows(per_user: pd.DataFrame, k: int, segment: str, rng: np.random.Generator) -> list[dict[str, Any]]:
    rows = []
    for column in per_user.columns[1:]:
        model, metric = column.rsplit(":", 1)
        row = {"model": model, "metric": metric, "k": k, "segment": segment, "mean": None, "low": None, "high": None}
        if len(per_user) >= SMALLEST_SEGMENT or segment == "all":
            interval = metrics.bootstrap_interval(per_user[column].to_numpy(), rng)
            row |= {"mean": interval.mean, "low": interval.low, "high": interval.high}
        rows.append(row | {"n": len(per_user)})
    return rows


def _totals(lists: Mapping[str, Lists], n_items: int, k: int, n: int) -> list[dict[str, Any]]:
    """Figures of all lists together, which have no per-user values and so no interval."""
    rows = []
    for model, found in lists.items():
        inputs = {"lists": found.items, "n_items": n_items}
        figures = {m.name: float(m(inputs)) for m in metrics.available(inputs) if not m.per_user}
        shared = {"model": model, "k": k, "segment": "all", "low": None, "high": None, "n": n}
        rows += [{**shared, "metric": name, "mean": value} for name, value in figures.items()]
    return rows


def _differences(per_user: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    models = [c.rsplit(":", 1)[0] for c in per_user.columns if c.endswith(":ndcg") and c != "hybrid:ndcg"]
    rows = [
        {"model": m, **metrics.paired_difference(per_user["hybrid:ndcg"], per_user[f"{m}:ndcg"], rng)._asdict()} for m in models
    ]
    table = pd.DataFrame(rows)
    return table.assign(p_holm=metrics.holm(table["p"])) if len(table) else table


def _calibration(found: Lists, probability: NDArray[np.float64]) -> dict[str, Any]:
    shown = ~np.isnan(probability)
    result = metrics.reliability(probability[shown], found.hits[shown])
    rate = _mean(found.hits[shown].astype(np.float64))
    return {"ece": result.ece, "brier": result.brier, "brier_of_base_rate": rate * (1 - rate), "base_rate": rate,
            "table": result.table}  # fmt: skip
