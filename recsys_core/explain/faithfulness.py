"""Which explainer tells the truth? Take out what it credits most, and see whether the recommendation falls.

In: a run. Out: a Scoreboard of every explainer on each sampled user's first recommendation, floors beside it. Deletion and
insertion as in LXR (Barkan et al. 2024), with fixed numbers of past items as in FidelityMetrics4XRec (SIGIR 2025).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys_core import metrics
from recsys_core.errors import UserError, unknown
from recsys_core.explain import answer, explainers, questions
from recsys_core.explain._ranks import ranks_in, scores
from recsys_core.explain.game import Budget
from recsys_core.explain.subject import Subject
from recsys_core.hybrid import sigmoid
from recsys_core.limits import check_seed
from recsys_core.recommend import recommend
from recsys_core.text import forget
from recsys_core.whole import seal, sha256, unseal, writing

if TYPE_CHECKING:
    from recsys_core.run import Run

Floats = NDArray[np.float64]
Lists = Callable[[NDArray[np.bool_]], NDArray[np.float32]]
DEPTHS = (1, 5, 10)  # lists in which an item is looked for, beside the one asked for
FILES = {"history": "faithfulness", "words": "faithfulness_words"}  # .parquet and .json, by question

MEASURES = ("del", "ins", "pos", "neg", "cndcg", "stability", "evaluations", "seconds")
HIGHER = ("ins", "neg", "stability")  # the others are better when lower
COSTS = ("stability", "evaluations", "seconds")  # those that do not depend on how many are taken out

# The gate. Figures are compared as shares of the way from random credit (0) to the best method (1), since how far a score falls
# depends on the data. Ranks are shown but not judged: with few past items taken out they may not move at all.
JUDGED = ("exact", "shap")  # those that a reader is shown by default
BETTER = {"del": -1, "ins": 1}  # figures looked at, with `most` past items; +1 = higher is better
EPSILON = 0.05  # so much exact may lose to the best: if the model is additive it is the optimum of both, up to ties and rounding
LEAST_USERS = 10  # with fewer a bootstrap knows no chance: three users that agree look certain
FAR = 0.25  # least distance to a floor; on films it is twice that to popularity, and a constant or noise cannot have it


class Figure(NamedTuple):
    """k: length of the list, ke: past items taken out or left in; 0 = does not apply."""

    metric: str
    k: int = 0
    ke: int = 0


@dataclass(frozen=True)
class Scoreboard:
    """Args:
    rows: one row a figure: method, metric, k, ke, mean, low, high, n; k and ke are missing where they do not apply. Metrics, all
        with the seen-filter of the whole history, so that what is taken out does not become a candidate:
        pos: is the item still in the top k without the ke most credited past items (0-1, lower is better);
        neg: the same without the ke least credited (0-1, higher is better);
        del: probability without the ke most credited, divided by the probability shown (>= 0, lower is better);
        ins: probability with only the ke most credited, divided by the probability shown (>= 0, higher is better; above 1 where
            the others speak against the item);
        cndcg: 1 / log2(1 + rank) without the ke most credited (0-1, lower is better);
        stability: Spearman correlation of the contributions under different seeds (-1 to 1, higher is better);
        evaluations, seconds, cpu_seconds: of one explanation, its closed form included.
    agreement: Spearman correlation between the contributions of two methods: a, b, mean, low, high, n.
    gaps: how much better than a floor a method is in del and ins with `most` past items, paired by user: method, floor, metric,
        mean, low, high, n; above 0 = better.
    settings: how it was made.

    Intervals are 95% bootstrap intervals over users. Ratios are of probabilities and not of log-odds: log-odds change their sign.
    """

    rows: pd.DataFrame
    agreement: pd.DataFrame
    gaps: pd.DataFrame
    settings: dict[str, Any]

    @property
    def methods(self) -> list[str]:
        return list(dict.fromkeys(self.rows["method"]))

    @property
    def aside(self) -> dict[str, str]:
        """Methods that could not be judged, and why: the first user whose question they cannot meet."""
        return dict(self.settings.get("aside", {}))

    def mean(self, method: str, metric: str, k: int = 0, ke: int = 0) -> float:
        return float(self._row(method, metric, k, ke)["mean"])

    def interval(self, method: str, metric: str, k: int = 0, ke: int = 0) -> tuple[float, float]:
        row = self._row(method, metric, k, ke)
        return float(row["low"]), float(row["high"])

    def _row(self, method: str, metric: str, k: int, ke: int) -> pd.Series[Any]:
        r = self.rows
        found = r[(r.method == method) & (r.metric == metric) & (r.k.fillna(0) == k) & (r.ke.fillna(0) == ke)]
        if len(found) != 1:
            raise KeyError(f"no figure {metric} of {method} at k={k}, ke={ke}")
        return found.iloc[0]

    def measure(self, metric: str, ke: int) -> pd.DataFrame:
        """One figure of every method, best first: method, mean, low, high, n; KeyError if the board has it not.

        `ke`: past items (words) taken out or left in; of no meaning for stability, evaluations and seconds.
        """
        at = (self.settings["k"] if metric in ("pos", "neg") else 0, 0 if metric in COSTS else ke)
        rows = [self._row(method, metric, *at)[["method", "mean", "low", "high", "n"]] for method in self.methods]
        table = pd.DataFrame(rows).astype({"mean": float, "low": float, "high": float, "n": int})
        return table.sort_values("mean", ascending=metric not in HIGHER, kind="stable").reset_index(drop=True)

    def matrix(self) -> pd.DataFrame:
        """(methods, methods) agreement, symmetric: means of `agreement`, 1 with itself, NaN where there is none."""
        names = self.methods
        full = pd.DataFrame(np.eye(len(names)), index=names, columns=names)
        for a, b, mean in self.agreement[["a", "b", "mean"]].itertuples(index=False):
            full.loc[a, b] = full.loc[b, a] = mean
        return full

    def table(self) -> pd.DataFrame:
        """One row a method, what a reader looks at first; seconds as milliseconds."""
        k, most = self.settings["k"], self.settings["most"]
        steps = sorted({1, (most + 1) // 2, most})
        columns = {f"pos@{k} -{e}": ("pos", k, e, 1) for e in steps}
        columns |= {f"neg@{k} -{most}": ("neg", k, most, 1)}
        columns |= {f"{m} {sign}{most}": (m, 0, most, 1) for m, sign in (("del", "-"), ("ins", "+"), ("cndcg", "-"))}
        columns |= {"stability": ("stability", 0, 0, 1), "evaluations": ("evaluations", 0, 0, 1)}
        columns |= {"ms": ("seconds", 0, 0, 1000), "cpu ms": ("cpu_seconds", 0, 0, 1000)}
        found = {name: [self.mean(m, *at) * unit for m in self.methods] for name, (*at, unit) in columns.items()}
        return pd.DataFrame(found, index=pd.Index(self.methods, name="method"))

    def text(self) -> str:
        """For a terminal: the table, how far the methods agree, and the verdict."""
        s = self.settings
        head = f"{s['users']} users, first recommendations; -n: without the n most (neg: least) credited, +n: with these alone"
        marks = "lower is better: pos, del, cndcg; higher: neg, ins, stability"
        pairs = self.agreement.pivot_table(index="a", columns="b", values="mean", sort=False).rename_axis(
            index=None, columns=None
        )
        agreement = f"agreement (Spearman):\n{pairs.to_string(float_format='%.2f', na_rep='')}\n\n" if len(pairs) else ""
        table = self.table().to_string(float_format="%.3f")
        judged = f"no verdict: {lacks}" if (lacks := _lacking(self)) else verdict(self).text()
        aside = "".join(f"not judged: {name}, {reason}\n" for name, reason in self.aside.items())
        return f"\n{head}\n{marks}\n\n{table}\n\n{aside}{agreement}{judged}"

    def save(self, run: Run) -> None:
        """Write faithfulness.parquet and faithfulness.json into the run, each whole; `load` refuses one of each of two boards."""
        table, facts = _files(run, self.settings["question"])
        pairs = {"agreement": _records(self.agreement), "gaps": _records(self.gaps)}
        with writing(facts) as told, writing(table) as rows:
            self.rows.to_parquet(rows, index=False)
            found = {"settings": self.settings, **pairs, "sha256": sha256(rows)}
            told.write_text(seal(found, indent=1, ensure_ascii=False, allow_nan=False), encoding="utf-8")


def _files(run: Run, question: str) -> tuple[Path, Path]:
    if question not in FILES:
        raise unknown("question of a scoreboard", question, FILES)
    return run.path / f"{FILES[question]}.parquet", run.path / f"{FILES[question]}.json"


def load(run: Run, question: str = "history") -> Scoreboard:
    """What `Scoreboard.save` wrote. Raises UserError if there is none, or half of one."""
    table, facts = _files(run, question)
    try:
        told = unseal(facts, "make the scoreboard again")
        if told["sha256"] != sha256(table):
            raise UserError(f"{table}: does not belong to {facts.name}; make the scoreboard again")
        agreement, gaps = _frame(told["agreement"], ("a", "b")), _frame(told["gaps"], ("method", "floor", "metric"))
        found = Scoreboard(pd.read_parquet(table), agreement, gaps, told["settings"])
    except FileNotFoundError as error:
        make = f"whyrec explain --run {run.path} --scoreboard --question {question}"
        raise UserError(f"{error.filename}: no scoreboard yet; make one with: {make}") from None
    except UserError:
        raise
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise UserError(f"{facts}: damaged; make the scoreboard again") from None
    return found


def _frame(records: list[dict[str, Any]], keys: tuple[str, ...]) -> pd.DataFrame:
    table = pd.DataFrame(records, columns=[*keys, *metrics.Interval._fields])
    return table.astype({"mean": float, "low": float, "high": float, "n": int})


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as plain values, NaN as None."""
    return [{str(k): None if v != v else v for k, v in row.items()} for row in table.to_dict("records")]


def scoreboard(
    run: Run,
    *,
    question: str = "history",
    users: int = 100,
    k: int = 5,
    most: int = 5,
    methods: Sequence[str] | None = None,
    budget: Budget | None = None,
    seeds: int = 3,
    seed: int = 0,
    say: Callable[[str], None] = lambda line: None,
    progress: Callable[[int, int], None] = lambda done, most: None,
) -> Scoreboard:
    """Judge explainers on the question `history` or `words` of a random sample of users.

    Args:
        question: "history": past items are taken out; "words": words of the item's text are masked.
        users: so many at most, of those with a recommendation and more than `most` past items (words).
        k: the list whose figures the table shows; those of DEPTHS are there too.
        most: past items (words) taken out at most; figures are for 1, 2, ..., most.
        methods: default: every explainer that can meet the game of every sampled user.
        budget: of a sampled explainer (default: 100 evaluations).
        seeds: repetitions with other seeds, for the stability (NaN with one); the first is judged on the other figures.
        say: told how far it is, now and then.
        progress: told (users done, users) after each; what it raises ends the work.

    Raises:
        UserError: a number below 1, nobody with such a history, or a method that is unknown or cannot meet a game.
    """
    _files(run, question)
    for name, value in (("users", users), ("k", k), ("most", most), ("seeds", seeds)):
        if value < 1:
            raise UserError(f"{name} must be 1 or more, not {value}")
    check_seed(seed)
    rng = np.random.default_rng(seed)
    subjects = _sample(run, question, users, most, rng)
    aside = {} if methods else _aside(question, subjects)
    able = list(dict.fromkeys(methods or [name for name in explainers.names() if name not in aside]))
    depths, limit = sorted({*DEPTHS, k}), budget or Budget()
    _explained(
        question, subjects[0], able, limit, [0]
    )  # what a package does when it is first used is not the cost of an explanation
    found: list[dict[str, dict[Figure, float]]] = []
    pairs: list[Floats] = []
    for n, about in enumerate(subjects):
        turns = [int(s) for s in rng.integers(2**31, size=seeds)]  # own seeds a user, so that users are independent
        told, credit = _explained(question, about, able, limit, turns)
        listed = _lists(question, about)
        judged = fidelity(about, credit[:, 0], rng.random((credit.shape[2],)), ks=depths, most=most, listed=listed)
        pairs.append(correlations(credit))
        for m, name in enumerate(able):
            told[name] |= {figure: float(values[m]) for figure, values in judged.items()}
            told[name][Figure("stability")] = float(pairs[-1][m, m])
        found.append(told)
        progress(n + 1, len(subjects))
        if (n + 1) % 25 == 0 or n + 1 == len(subjects):
            say(f"explained {n + 1} of {len(subjects)} users with {len(able)} methods")
    settings = {"question": question, "users": len(subjects), "k": k, "most": most, "seeds": seeds, "seed": seed}
    told_of = (_rows(found, able, seed), _agreement(pairs, able, seed), _gaps(found, able, most, seed))
    return Scoreboard(*told_of, settings | {"budget": asdict(limit), "aside": aside})


def _sample(run: Run, question: str, users: int, most: int, rng: np.random.Generator) -> list[Subject]:
    """Users whose first recommendation is a game of more than `most` players."""
    enough = np.flatnonzero(run.histories.lengths > (most if question == "history" else 0))
    found: list[Subject] = []
    for user in rng.permutation(enough):
        if len(found) == users:
            break
        history, hidden = run.histories[[user]], run.hidden[[user]]
        item = int(recommend(run.model, history, hidden, k=1).items[0, 0])
        about = answer.subject_of(run, history, hidden, item)
        found += [about] if item >= 0 and _players(question, about) > most else []
    if not found:
        things = "past items" if question == "history" else "words that a component reads"
        raise UserError(f"most = {most}: no user with {most + 1} or more {things} has a recommendation; take a smaller one")
    return found


def _players(question: str, about: Subject) -> int:
    try:
        return len(questions.ask(question, about).players)
    except UserError:  # no words, or nobody reads them
        return 0


def _aside(question: str, subjects: Sequence[Subject]) -> dict[str, str]:
    """Explainers that cannot meet every subject's game, and why not: all are judged on the same users."""
    games = [questions.ask(question, about) for about in subjects]
    first = {n: next(filter(None, (explainers.unable(n, game) for game in games)), "") for n in explainers.names()}
    return {name: reason for name, reason in first.items() if reason}


def _explained(
    question: str, about: Subject, methods: Sequence[str], budget: Budget, seeds: Sequence[int]
) -> tuple[dict[str, dict[Figure, float]], Floats]:
    """What one explanation by each method costs, with the first seed, and contributions (methods, seeds, p)."""
    told: dict[str, dict[Figure, float]] = {}
    credit = []
    for name in methods:
        forget()
        each, wall, cpu = [], time.perf_counter(), time.process_time()
        for seed in seeds:
            game = questions.ask(question, replace(about))  # a copy: nothing that an earlier method computed is there
            found = explainers.attribute(game, name, budget, seed)
            each.append(found.contributions)
            if name not in told:
                spent = (found.evaluations, time.perf_counter() - wall, time.process_time() - cpu)
                names = ("evaluations", "seconds", "cpu_seconds")
                told[name] = {Figure(n): float(v) for n, v in zip(names, spent, strict=True)}
        credit.append(each)
    return told, np.array(credit, np.float64)


def _lists(question: str, about: Subject) -> Lists:
    """Scores (m, n_items) of whole lists when only the players of each mask are there, -inf where an item is no candidate."""
    if question == "history":
        return lambda masks: scores(about, masks)
    game, shown = questions.ask(question, about), scores(about)

    def listed(masks: NDArray[np.bool_]) -> NDArray[np.float32]:
        out = np.repeat(shown, len(masks), axis=0)  # other items keep their texts
        out[:, about.item] = game.value(masks)
        return out

    return listed


def fidelity(
    about: Subject, credit: Floats, keys: Floats, *, ks: Sequence[int], most: int, listed: Lists | None = None
) -> dict[Figure, Floats]:
    """pos, neg, del, ins and cndcg of several explanations of one subject, (m,) values each; one call of the model for all.

    Args:
        credit: (m, p) contributions of the past items.
        keys: (p,) random numbers that order past items of equal credit, so that their place in the history does not.
        ks, most: lengths of lists; players to take out at most, below p.
        listed: scores of whole lists under masks of the players; default: past items are taken out.
    """
    m, p = credit.shape
    place = np.argsort(np.lexsort((np.broadcast_to(keys, (m, p)), -levels(credit)), axis=1), axis=1)  # 0 = most credited
    steps = np.arange(1, most + 1)[:, None, None]
    masks = np.stack([place >= steps, place < p - steps, place < steps])  # (3, most, m, p): del, neg, ins
    asked, where = np.unique(np.concatenate([np.ones((1, p), bool), masks.reshape(-1, p)]), axis=0, return_inverse=True)
    table = (listed or _lists("history", about))(asked)
    rank = ranks_in(table, about.item).astype(np.float64)[where]
    rank[rank == 0] = np.inf  # no candidate any more
    logit = table[where, about.item]
    probability = np.where(np.isneginf(logit), np.nan, sigmoid(logit))  # NaN where nothing can score the item any more
    without, less, _ = rank[1:].reshape(3, most, m)
    deleted, _, inserted = (probability[1:] / probability[0]).reshape(3, most, m)
    out: dict[Figure, Floats] = {}
    for e in range(most):
        out |= {Figure("pos", k, e + 1): (without[e] <= k).astype(float) for k in ks}
        out |= {Figure("neg", k, e + 1): (less[e] <= k).astype(float) for k in ks}
        out |= {Figure("del", 0, e + 1): deleted[e], Figure("ins", 0, e + 1): inserted[e]}
        out[Figure("cndcg", 0, e + 1)] = 1 / np.log2(1 + without[e])
    return out


def levels(credit: Floats) -> Floats:
    """Contributions (..., p) in units of the largest, rounded, so that what differs by rounding errors is equal."""
    largest = np.abs(credit).max(axis=-1, keepdims=True, initial=0)
    return np.asarray(np.round(credit / np.where(largest > 0, largest, 1), 9), np.float64)


def correlations(credit: Floats) -> Floats:
    """Spearman correlations of contributions (m, s, p), (m, m): between two methods the mean over pairs of their s seeds, and for
    one method over pairs of different seeds. NaN where there is no pair, or all contributions of a method are equal."""
    from scipy.stats import rankdata  # half a second to import, and no page of a list needs it

    m, s, p = credit.shape
    turn = rankdata(levels(credit).reshape(m * s, p), axis=1)
    turn -= turn.mean(axis=1, keepdims=True)
    size = np.sqrt((turn**2).sum(axis=1, keepdims=True))
    turn = turn / np.where(size > 0, size, np.nan)
    each: Floats = (turn @ turn.T).reshape(m, s, m, s)
    own = np.arange(m)
    out = each.mean(axis=(1, 3))
    out[own, own] = (np.einsum("isit->i", each) - np.einsum("isis->i", each)) / (s * (s - 1)) if s > 1 else np.nan
    return np.asarray(out, np.float64)


def _rows(found: Sequence[dict[str, dict[Figure, float]]], methods: Sequence[str], seed: int) -> pd.DataFrame:
    rows = [
        {"method": name, **figure._asdict()} | _interval([told[name][figure] for told in found], seed)
        for name in methods
        for figure in found[0][name]
    ]
    table = pd.DataFrame(rows)
    sizes = {name: table[name].astype("Int64").where(table[name] > 0) for name in ("k", "ke")}
    return table.assign(**sizes)


def _agreement(pairs: Sequence[Floats], methods: Sequence[str], seed: int) -> pd.DataFrame:
    each = np.array(pairs)  # (users, m, m)
    two = [(a, b) for a in range(len(methods)) for b in range(a + 1, len(methods))]
    return _frame([{"a": methods[a], "b": methods[b]} | _interval(each[:, a, b], seed) for a, b in two], ("a", "b"))


def _gaps(found: Sequence[dict[str, dict[Figure, float]]], methods: Sequence[str], most: int, seed: int) -> pd.DataFrame:
    rows = []
    for metric, sign in BETTER.items():
        values = {name: sign * np.array([told[name][Figure(metric, 0, most)] for told in found]) for name in methods}
        for floor in (name for name in explainers.FLOORS if name in methods):
            rows += [
                {"method": name, "floor": floor, "metric": metric} | _interval(values[name] - values[floor], seed)
                for name in methods
                if name != floor
            ]
    return _frame(rows, ("method", "floor", "metric"))


def _interval(values: Any, seed: int) -> dict[str, float]:
    """The same draws of users for every figure, so that figures can be compared."""
    return metrics.bootstrap_interval(values, np.random.default_rng(seed))._asdict()


@dataclass(frozen=True)
class Verdict:
    """checks: what was asked and answered, one sentence each, and whether the answer is good."""

    checks: tuple[tuple[str, bool], ...]

    @property
    def passed(self) -> bool:
        return all(good for _, good in self.checks)

    def text(self) -> str:
        lines = [f"{'yes' if good else 'NO '}  {says}" for says, good in self.checks]
        return "\n".join([f"verdict: {'faithful' if self.passed else 'NOT FAITHFUL'}", *lines])


def _floors(board: Scoreboard) -> tuple[str, ...]:
    return explainers.FLOORS if board.settings["question"] == "history" else explainers.FLOORS[:1]  # words have no popularity


def _lacking(board: Scoreboard) -> str:
    """What a verdict needs and this board has not; "" if nothing."""
    if board.settings["users"] < LEAST_USERS:
        return f"{board.settings['users']} users are too few to rule out chance; judge {LEAST_USERS} or more"
    if set(_floors(board)) <= set(board.methods) and any(name in board.methods for name in JUDGED):
        return ""
    return f"it needs exact or shap, and {' and '.join(_floors(board))}; here are {', '.join(board.methods)}"


def passed(board: Scoreboard) -> bool | None:
    """What `verdict` says, in a word; None if the board lacks what it needs."""
    return None if _lacking(board) else verdict(board).passed


def verdict(board: Scoreboard) -> Verdict:
    """Is exact within EPSILON of the best, and are exact and shap FAR from random and popularity, beyond chance (95%, paired)?

    Exact need not beat the others: on a model that is linear in its history a well sampled explainer finds the same. Where exact
    cannot be had, shap alone is judged. Raises UserError if the floors, or both of exact and shap, are not on the board, or fewer
    than LEAST_USERS users.
    """
    if lacks := _lacking(board):
        raise UserError(f"no verdict: {lacks}")
    checks: list[tuple[str, bool]] = []
    for metric, sign in BETTER.items():
        values = {name: sign * board.mean(name, metric, 0, board.settings["most"]) for name in board.methods}
        best = max(values, key=lambda name: values[name])
        way = values[best] - values["random"]
        if not way > 0:
            checks.append((f"{metric}: no method is better than random credit", False))
            continue
        if "exact" in values:
            loss = (values[best] - values["exact"]) / way
            checks.append(
                (f"{metric}: exact loses {loss:.1%} of the way to the best, {best} (at most {EPSILON:.0%})", loss <= EPSILON)
            )
        gaps = board.gaps[(board.gaps.metric == metric) & board.gaps.method.isin(JUDGED)]
        for gap in gaps.to_dict("records"):
            share = gap["mean"] / way
            says = f"{metric}: {gap['method']} is {share:.1%} of the way better than {gap['floor']}"
            checks.append((f"{says} (at least {FAR:.0%}, and not by chance)", bool(share >= FAR and gap["low"] > 0)))
    return Verdict(tuple(checks))
