"""Whom to look at: users in the order in which a model finds them hard, and the groups that they fall into.

In: a Run. Out: a number a user (NaN = does not apply) and a Found in the order of it; a group is a column of the user table, or
the third by activity.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys_core.browse import Found, matching_users, user_frame
from recsys_core.errors import unknown
from recsys_core.evaluate import ACTIVITY, segment
from recsys_core.hybrid import sigmoid
from recsys_core.ranking import hide
from recsys_core.run import Run

Values = NDArray[np.float64]
RATINGS = 5  # that a spread needs: of two ratings, one high and one low, it says nothing
MOST_VALUES = 25  # of a column that makes groups; MovieLens has 21 occupations
MOST_READ = 100  # users asked about where a component reads short-lists with a network, seconds each


@dataclass(frozen=True)
class Case:
    """An order of users: `values` gives (n_users,), NaN where it does not apply; `largest`: whether the largest come first."""

    values: Callable[[Run], Values]
    largest: bool = False


def unsure(run: Run) -> Values:
    """Probability of the first recommendation, 0-1, under the learned blend and what the run's lists hide.

    NaN for who has liked nothing (unless nobody has): all of them get one list. Where a component scores short-lists only, which
    is costly, MOST_READ users evenly over the data are asked.
    """
    lengths = run.histories.lengths
    users = np.flatnonzero(lengths) if lengths.any() else np.arange(len(lengths))
    if _reads(run) and len(users) > MOST_READ:
        users = users[np.linspace(0, len(users) - 1, MOST_READ).astype(np.int64)]
    found = np.full(len(lengths), np.nan)
    histories, hidden, model = run.histories[users], run.hidden[users], run.model
    for rows, block in histories.blocks(256):
        logit = hide(model.blend.logit(model.z(block, hidden=hidden[rows]), model.cold), hidden[rows])
        best = logit.max(axis=1)
        found[users[rows]] = np.where(np.isfinite(best), sigmoid(best), np.nan)
    return found


def _reads(run: Run) -> bool:
    """Does a component score short-lists only?"""
    return any(scorer.shortlist(run.histories[[0]], run.hidden[[0]]) is not None for scorer in run.model.components.values())


def coldest(run: Run) -> Values:
    """Likes that the model knows."""
    return run.likes.lengths.astype(np.float64)


def polarised(run: Run) -> Values:
    """Standard deviation of the known ratings; NaN for who has fewer than RATINGS, and for everybody if nothing is rated: data
    without a threshold of liking, or with one value."""
    known, n = run.known.interactions, len(run.dataset.users)
    if run.dataset.threshold is None:
        return np.full(n, np.nan)
    values = known.value.astype(np.float64)
    if not len(values) or (values == values[0]).all():
        return np.full(n, np.nan)
    count = np.bincount(known.user, minlength=n)
    few = count < RATINGS
    mean = np.bincount(known.user, values, minlength=n) / np.maximum(count, 1)
    square = np.bincount(known.user, (values - mean[known.user]) ** 2, minlength=n)
    return np.where(few, np.nan, np.sqrt(square / np.maximum(count, 1)))


CASES = {"unsure": Case(unsure), "coldest": Case(coldest), "polarised": Case(polarised, largest=True)}


def kinds(run: Run) -> list[str]:
    """Cases that this run's data can have; no user is scored for it."""
    return [name for name in CASES if name != "polarised" or np.isfinite(polarised(run)).any()]


def groups(run: Run) -> list[tuple[str, str]]:
    """(name, value) of every group with somebody in it: thirds by activity from low to high, then columns with 2 to MOST_VALUES
    values in the order of the alphabet."""
    labels = segment(run, "activity")
    found = [("activity", value) for value in ACTIVITY if (labels == value).any()]
    for name in run.dataset.user_table.columns.drop(["user_id", "likes"], errors="ignore"):
        values = sorted(set(_labels(run, str(name))))
        if name != "activity" and 2 <= len(values) <= MOST_VALUES:
            found += [(str(name), value) for value in values]
    return found


def _labels(run: Run, name: str) -> list[str]:
    return [str(v) for v in segment(run, name)]


def find(
    run: Run, query: str, *, case: str = "", values: Values | None = None, group: tuple[str, str] | None = None, limit: int
) -> Found:
    """Users that match the query as `browse.search_users` does, of a group, hardest first.

    Args:
        case: a key of CASES; "" = in the order of the search. Who has no value is left out.
        values: those of the case, for who keeps them; None: computed.
        group: one of `groups`; None = everybody.

    Returns: `frame` has a column `case` with the values if there is a case. Raises UserError for an unknown case or group.
    """
    if case and case not in CASES:
        raise unknown("case", case, CASES)
    users = matching_users(run, query)
    if group is not None:
        labels = np.array(_labels(run, group[0]), dtype=object)
        users = users[labels[users] == group[1]]
    table = user_frame(run)
    if case:
        values = CASES[case].values(run) if values is None else values
        users = users[np.isfinite(values[users])]
        users = users[np.argsort(-values[users] if CASES[case].largest else values[users], kind="stable")]
        table = table.assign(case=values)
    frame: pd.DataFrame = table.iloc[users[:limit]].reset_index(drop=True)
    return Found(frame, len(users))
