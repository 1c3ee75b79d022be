"""Explaining is a game: players bring a value about, and an explanation shares the value out among them.

In: a Game (who plays, and the value of any coalition). Out: an Explanation, which carries how far it can be trusted. Nothing here
knows what a recommender is.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys_core import show
from recsys_core.errors import UserError
from recsys_core.limits import MOST_EVALUATIONS

Masks = NDArray[np.bool_]  # (m, p), true = the player is there
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Game:
    """Args:
    question: what was asked, e.g. "history".
    players: ids, unique; labels: what a person reads, one a player.
    value: (m, p) masks -> (m,) values; what is not played for (the seen-filter, a row's size and ages, constants) is frozen.
    additive: (p,) what each player adds, if value = base + the sum over those present, exactly; None if it is not so.
    fame: (p,) how well known each player is, for the popularity floor; None if that means nothing.
    slopes: (m, p) soft masks, 0-1 -> (m, p) partial derivatives of the value there; None without gradients.
    sequence: if players are the words of a text, its pieces in order, one a player, each with what follows it; else ().
    """

    question: str
    players: tuple[str, ...]
    labels: tuple[str, ...]
    value: Callable[[Masks], Floats]
    additive: Floats | None = None
    fame: Floats | None = None
    slopes: Callable[[Floats], Floats] | None = None
    sequence: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.labels) != len(self.players) or len(set(self.players)) != len(self.players):
            raise ValueError("players must be unique and have one label each")


@dataclass(frozen=True)
class Budget:
    """What a sampled explainer may spend.

    Args:
        evaluations: coalitions whose value is asked for; exact closed forms and enumeration do not look at it.
        seconds: None = no limit, and the result depends on the seed alone. With a limit fewer evaluations may be made.
        batch: coalitions handed to the model at once.
    """

    evaluations: int = 100
    seconds: float | None = None
    batch: int = 64

    def __post_init__(self) -> None:
        if self.evaluations < 2 or self.batch < 1 or (self.seconds is not None and not self.seconds > 0):
            raise UserError("a budget needs 2 evaluations or more, batches of 1 or more, and seconds above 0")
        if self.evaluations > MOST_EVALUATIONS:
            raise UserError(f"a budget of {self.evaluations:,} evaluations is more than {MOST_EVALUATIONS:,}; set it lower")


class OutOfTime(UserError):
    """The time budget ended before the method had what it needs."""


class Meter:
    """Asks a game for values in batches, never twice for one coalition, and keeps count.

    `progress` is called with (evaluations so far, budget); what it raises stops the explaining, so a caller can cancel.
    """

    def __init__(self, game: Game, budget: Budget, progress: Callable[[int, int], None] | None = None) -> None:
        self.game, self.budget, self.progress = game, budget, progress
        self.started = time.perf_counter()
        self.spent = 0  # evaluations made past this meter: gradients
        self._known: dict[bytes, float] = {}
        self._masks: list[Masks] = []

    @property
    def n(self) -> int:
        return len(self.game.players)

    @property
    def evaluations(self) -> int:
        return len(self._known) + self.spent

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.started

    @property
    def late(self) -> bool:
        return self.budget.seconds is not None and self.seconds > self.budget.seconds

    def __call__(self, masks: Any) -> Floats:
        """(m, p) of anything that is true or false, or one row of it -> (m,) values. Raises OutOfTime between batches."""
        asked = np.atleast_2d(np.asarray(masks, dtype=bool))
        keys = [row.tobytes() for row in np.packbits(asked, axis=1)] if self.n else [b""] * len(asked)
        fresh = {key: row for key, row in zip(keys, range(len(asked)), strict=True) if key not in self._known}
        rows = list(fresh.values())
        for start in range(0, len(rows), self.budget.batch):
            if self.late:
                fix = "give more seconds or fewer evaluations"
                raise OutOfTime(f"{self.budget.seconds:g} s were over after {self.evaluations} evaluations; {fix}")
            part = asked[rows[start : start + self.budget.batch]]
            values = np.asarray(self.game.value(part), np.float64)
            self._known |= dict(zip([keys[r] for r in rows[start : start + self.budget.batch]], values.tolist(), strict=True))
            self._masks.append(part)
            if self.progress is not None:
                self.progress(self.evaluations, self.budget.evaluations)
        return np.array([self._known[key] for key in keys], np.float64)

    def full(self) -> float:
        return float(self(np.ones((1, self.n), bool))[0])

    def empty(self) -> float:
        return float(self(np.zeros((1, self.n), bool))[0])

    def affordable(self, rng: np.random.Generator) -> int:
        """How many evaluations fit into both budgets: a time limit is turned into a number by timing a few."""
        if self.budget.seconds is None:
            return self.budget.evaluations
        self.full()
        begun, before = time.perf_counter(), self.evaluations
        self(rng.random((min(8, self.budget.evaluations), self.n)) < 0.5)
        each = (time.perf_counter() - begun) / max(self.evaluations - before, 1)
        left = self.budget.seconds - self.seconds
        return int(np.clip(0.8 * left / max(each, 1e-9) + self.evaluations, 2, self.budget.evaluations))

    def evaluated(self) -> tuple[Masks, Floats]:
        """Every coalition asked for, (m, p), and its value (m,)."""
        masks = np.concatenate(self._masks) if self._masks else np.zeros((0, self.n), bool)
        return masks, self(masks)


@dataclass(frozen=True)
class Credit:
    """What an explainer returns: base + contributions (p,) should be the output; what is unknown is None."""

    contributions: Floats
    base: float
    standard_error: Floats | None = None  # (p,) of the contributions, from sampling
    fidelity: float | None = None  # R2 of base + sum on coalitions, <= 1; None: taken on those that were evaluated
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Explanation:
    """Who brought the value about, and how far that can be trusted. Values are log-odds where the game is about a hybrid.

    Args:
        players, labels, contributions, standard_error: one a player; the standard error is None where nothing was sampled
            or one round alone fitted the budget.
        base: the value without any player, as the method says it; output: the value with all.
        fidelity: R2 of base + sum of the present players' contributions over the coalitions that were evaluated, 1 = the value
            is additive in the players and these are their shares; NaN where fewer than three were evaluated.
        evaluations: coalitions whose value was computed; seconds: wall time.
        user, item, title, sentence, rank: filled in by whoever asked; rank 1 = best, 0 = hidden or not scored, -1 = unknown.
        clauses: what the sentence says, one dictionary a clause: its kind, players (ids) and value, the number that backs it.
    """

    question: str
    method: str
    players: tuple[str, ...]
    labels: tuple[str, ...]
    contributions: Floats
    base: float
    output: float
    standard_error: Floats | None = None
    fidelity: float = float("nan")
    evaluations: int = 0
    seconds: float = 0.0
    seed: int = 0
    budget: int = 0
    user: str = ""
    item: str = ""
    title: str = ""
    sentence: str = ""
    clauses: tuple[dict[str, Any], ...] = ()
    rank: int = -1
    cached: bool = False
    notes: tuple[str, ...] = field(default=())

    @property
    def gap(self) -> float:
        """output - base - sum of the contributions; 0 for methods that are efficient."""
        return float(self.output - self.base - self.contributions.sum())

    @property
    def probability(self) -> float:
        """sigmoid(output), 0-1."""
        return float(1 / (1 + np.exp(-np.clip(self.output, -60, 60))))

    def order(self) -> NDArray[np.int64]:
        """Players by contribution, largest first; equal ones in their own order."""
        return np.argsort(-self.contributions, kind="stable")

    def frame(self) -> pd.DataFrame:
        """One row a player, most credited first: player, label, contribution, standard_error (NaN = none), share.

        share: of the sum of |contribution|, 0-1.
        """
        total = np.abs(self.contributions).sum()
        error = np.full(len(self.players), np.nan) if self.standard_error is None else self.standard_error
        table = {
            "player": list(self.players),
            "label": list(self.labels),
            "contribution": self.contributions,
            "standard_error": error,
            "share": np.abs(self.contributions) / (total or 1.0),
        }
        return pd.DataFrame(table).iloc[self.order()].reset_index(drop=True)

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers and lists, NaN as None; `from_dict` reads it back."""
        out: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        for name in ("contributions", "standard_error"):
            out[name] = None if out[name] is None else [_plain(v) for v in out[name]]
        out |= {name: _plain(out[name]) for name in ("base", "output", "fidelity", "seconds")}
        return out | {"gap": _plain(self.gap), "probability": _plain(self.probability)}

    def json(self) -> str:
        """`as_dict` as JSON text."""
        return json.dumps(self.as_dict(), ensure_ascii=False, indent=1)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """What `as_dict` gave; fields that are not known are left out."""
        known = {f.name: values[f.name] for f in fields(cls) if f.name in values}
        for name in ("players", "labels", "notes", "clauses"):
            known[name] = tuple(known.get(name, ()))
        for name in ("contributions", "standard_error"):
            known[name] = None if known[name] is None else np.array([_number(v) for v in known[name]], np.float64)
        return cls(**known | {name: _number(known[name]) for name in ("base", "output", "fidelity", "seconds")})

    def _repr_html_(self) -> str:
        """A table with bars, for notebooks: no script, no server, all text escaped."""
        return as_html(self)


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def as_html(explanation: Explanation, most: int = 20) -> str:
    """The `most` largest contributions either way as rows with bars; the rest in one row, so the sum still reads off."""
    e, frame = explanation, explanation.frame()
    large = frame["contribution"].abs().nlargest(most).index
    shown, rest = frame[frame.index.isin(large)], frame[~frame.index.isin(large)]
    widest = float(frame["contribution"].abs().max()) if len(frame) else 0.0
    rows = [("base", show.signed(e.base), "")]
    for name, value in zip(shown["label"], shown["contribution"].astype(float), strict=True):
        rows.append((str(name), show.signed(value), show.bar(value, widest)))
    if len(rest):  # no bar: that of many players at once would dwarf theirs
        rows.append((f"{len(rest)} others", show.signed(float(rest["contribution"].sum())), ""))
    trust = [f"gap {e.gap:+.1e}", f"{e.evaluations} evaluations", f"{e.seconds:.2f} s"]
    trust[1:1] = [f"R² {e.fidelity:.2f}"] if np.isfinite(e.fidelity) else []
    head = f"{e.title or e.item or e.question}: {e.output:+.3f} log-odds, probability {e.probability:.1%}"
    return show.page(head, e.sentence, show.small(f"{e.question}, {e.method}: " + ", ".join(trust)), show.table((), rows))


def unique_labels(names: Sequence[str]) -> tuple[str, ...]:
    """The names, with " (2)", " (3)" behind those that came before."""
    seen: dict[str, int] = {}
    out = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        out.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return tuple(out)
