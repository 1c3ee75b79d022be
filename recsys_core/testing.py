"""The contract that a model must keep to be explained, as checks anyone can run on their own object.

    from recsys_core.testing import check_model
    check_model(my_model, n_items=1000)

Each check raises AssertionError with one line that says what is wrong and what the contract wants.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from recsys_core.data import Histories

Check = Callable[[Any, Histories], None]
TOLERANCE = 1e-4  # of a score's largest size: float32 sums in other orders


def check_model(model: Any, n_items: int, histories: Histories | None = None, seed: int = 0) -> list[str]:
    """Run every check on `model.score(histories, items=None)`; returns the names of the checks passed.

    Args:
        histories: rows to try; default: a dozen random ones, an empty one among them.
    """
    rows = _some_rows(n_items, seed) if histories is None else histories
    passed = []
    for check in checks():
        check(model, rows)
        passed.append(check.__name__)
    return passed


def checks() -> Iterator[Check]:
    """All checks, for a test runner that wants one test each."""
    yield from (shape_and_values, some_items, single_rows, nothing_changes, empty_history, masking, linear_claims)


def _some_rows(n_items: int, seed: int) -> Histories:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, min(12, n_items) + 1, 12)
    return Histories.of([*(rng.permutation(n_items)[:size].tolist() for size in sizes), []], n_items)


def _same(a: Any, b: Any, says: str) -> None:
    a, b = np.asarray(a, float), np.asarray(b, float)
    most = TOLERANCE * max(float(np.nanmax(np.abs(a), initial=0.0)), 1.0)
    assert a.shape == b.shape, says
    assert np.allclose(a, b, rtol=0, atol=most, equal_nan=True), says


def shape_and_values(model: Any, rows: Histories) -> None:
    scores = np.asarray(model.score(rows))
    wants = f"(n_rows, n_items) = {rows.shape}"
    assert scores.shape == rows.shape, f"score(histories) has shape {scores.shape}; the contract wants {wants}"
    assert np.issubdtype(scores.dtype, np.floating), f"scores are {scores.dtype}; the contract wants floating point numbers"
    assert not np.isinf(scores).any(), "a score is infinite; the contract wants finite numbers, or NaN for 'cannot score'"
    assert np.isfinite(scores).any(), "every score is NaN; the model scores nothing"


def some_items(model: Any, rows: Histories) -> None:
    chosen = np.arange(rows.n_items)[::-1][: max(1, rows.n_items // 2)]
    _same(model.score(rows, chosen), np.asarray(model.score(rows))[:, chosen], "score(h, items) is not score(h)[:, items]")


def single_rows(model: Any, rows: Histories) -> None:
    whole = np.asarray(model.score(rows))
    for n in range(min(len(rows), 5)):
        _same(model.score(rows[[n]]), whole[[n]], f"row {n} alone scores otherwise than in a batch; rows must not see each other")


def nothing_changes(model: Any, rows: Histories) -> None:
    before = [a.tobytes() for a in (rows.indptr, rows.items, rows.values, rows.ages)]
    first = np.array(model.score(rows))
    _same(model.score(rows), first, "scoring twice gives two answers; score must be a pure function of the histories")
    after = [a.tobytes() for a in (rows.indptr, rows.items, rows.values, rows.ages)]
    assert before == after, "score changed the histories it was given"


def empty_history(model: Any, rows: Histories) -> None:
    nobody = Histories.of([[]], rows.n_items)
    scores = np.asarray(model.score(nobody))
    assert scores.shape == (1, rows.n_items), "an empty history must score too: it is the base of every explanation"


def masking(model: Any, rows: Histories) -> None:
    """Explanations ask for rows with past items taken out (`Histories.keep`)."""
    half = np.arange(len(rows.items)) % 2 == 0
    scores = np.asarray(model.score(rows.keep(half)))
    assert scores.shape == rows.shape, "a history with items taken out (Histories.keep) must score too"
    assert not np.isinf(scores).any(), "a history with items taken out scores infinite"


def linear_claims(model: Any, rows: Histories) -> None:
    """Only of models that offer `prior` and `contributions`: they must be true of masked rows as well."""
    if not (hasattr(model, "prior") and hasattr(model, "contributions")) or getattr(model, "linear", True) is False:
        return
    items = np.arange(rows.n_items)
    row = rows[[int(np.argmax(rows.lengths))]]
    given = np.asarray(model.contributions(row, items), float)
    wants = (len(row.items), rows.n_items)
    assert given.shape == wants, f"contributions has shape {given.shape}; the contract wants (n_past, n_items) = {wants}"
    for kept in (np.ones(len(row.items), bool), np.arange(len(row.items)) % 2 == 0):
        summed = np.asarray(model.prior(items), float) + given[kept].sum(axis=0)
        says = (
            "prior + the sum of contributions is not the score (of masked histories too, whose size and ages stay as they were)"
        )
        _same(summed, np.asarray(model.score(row.keep(kept)))[0], says)
