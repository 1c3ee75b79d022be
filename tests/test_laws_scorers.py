"""Laws every scorer keeps; a new file in scorers/ arrives here already tested."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from worlds import checkerboard, random_world

from recsys_core import scorers
from recsys_core.data import Catalog, Dataset, Histories, Interactions
from recsys_core.ranking import hide, top_k
from recsys_core.scorers.base import Scorer

# small, quick settings for scorers whose defaults are made for real data
SETTINGS: dict[str, dict[str, Any]] = {
    "factors": {"dim": 8},
    "bert": {"epochs": 4, "dim": 8},
    "cross_encoder": {"epochs": 1, "max_pairs": 60, "batch_size": 8},
}
ANSWERS_CHECKERBOARD = [n for n in scorers.names() if n not in ("popularity", "cross_encoder", "cold")]


@pytest.fixture(params=scorers.names())
def make(request: pytest.FixtureRequest, tiny: str) -> Callable[[], Scorer]:
    cls = scorers.scorer_class(request.param)
    settings = dict(SETTINGS.get(request.param, {}))
    if "encoder" in cls.Config.__dataclass_fields__:
        settings["encoder"] = tiny
    return lambda: cls(cls.Config(**settings))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def assert_same(a: np.ndarray, b: np.ndarray, tolerance: float = 0) -> None:
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def test_scores_are_float32_of_the_asked_shape_finite_or_nan(make: Callable[[], Scorer]) -> None:
    data = random_world()
    scores = make().fit(data, rng()).score(data.histories())
    assert scores.dtype == np.float32
    assert scores.shape == (len(data.users), len(data.items))
    assert not np.isinf(scores).any()
    assert np.isfinite(scores).any()


def test_some_items_are_the_same_as_a_slice_of_all(make: Callable[[], Scorer]) -> None:
    data = random_world()
    scorer = make().fit(data, rng())
    some = np.array([5, 0, 17])
    assert_same(scorer.score(data.histories(), some), scorer.score(data.histories())[:, some], 1e-5)


def test_one_row_scores_as_it_does_in_a_batch(make: Callable[[], Scorer]) -> None:
    data = random_world()
    scorer = make().fit(data, rng())
    h = data.histories()
    assert_same(scorer.score(h)[7:8], scorer.score(h[[7]]), 1e-5)


def test_scoring_changes_neither_the_histories_nor_the_scorer(make: Callable[[], Scorer]) -> None:
    data = random_world()
    scorer = make().fit(data, rng())
    h = data.histories()
    before = [a.copy() for a in (h.indptr, h.items, h.values, h.ages)]
    first = scorer.score(h)
    assert all((a == b).all() for a, b in zip(before, (h.indptr, h.items, h.values, h.ages), strict=True))
    assert_same(first, scorer.score(h))


def test_an_empty_history_has_a_score(make: Callable[[], Scorer]) -> None:
    data = random_world()
    scores = make().fit(data, rng()).score(Histories.of([[]], len(data.items)))
    assert scores.shape == (1, len(data.items))
    assert not np.isinf(scores).any()


def test_same_seed_same_bytes(make: Callable[[], Scorer]) -> None:
    data = random_world()
    a, b = (make().fit(data, rng()).score(data.histories()) for _ in range(2))
    assert a.tobytes() == b.tobytes()


def test_a_second_fit_forgets_the_first(make: Callable[[], Scorer]) -> None:
    first, second = random_world(1), random_world(2)
    refitted = make().fit(first, rng()).fit(second, rng())
    assert_same(refitted.score(second.histories()), make().fit(second, rng()).score(second.histories()))


def test_what_is_saved_scores_the_same(make: Callable[[], Scorer], tmp_path: Path) -> None:
    data = random_world()
    scorer = make().fit(data, rng())
    scorer.save(tmp_path / "s")
    again = type(scorer).load(tmp_path / "s")
    assert again.config == scorer.config
    assert_same(again.score(data.histories()), scorer.score(data.histories()))
    assert not list(tmp_path.rglob("*.pkl"))
    assert not list(tmp_path.rglob("*.bin"))


def test_item_numbers_mean_nothing(make: Callable[[], Scorer]) -> None:
    """Permuting the items permutes the scores (for scorers that draw no random numbers)."""
    scorer = make()
    if scorer.__class__.__module__.rpartition(".")[2] in ("factors", "bert", "cross_encoder"):
        pytest.skip("starts from random numbers, one for each item")
    data = random_world()
    order = rng(3).permutation(len(data.items))  # new number n is old number order[n]
    new = np.argsort(order)
    e = data.interactions
    events = Interactions(e.user, new[e.item].astype(np.int32), e.value, e.time)
    catalog = Catalog(data.catalog.frame.iloc[order].reset_index(drop=True))
    moved = Dataset(data.name, data.users, data.items.of(data.items.ids[order]), events, catalog, threshold=4)
    a, b = (make().fit(d, rng()).score(d.histories()) for d in (data, moved))
    assert_same(b, a[:, order], 2e-3)


def test_an_item_nobody_met_is_nan_unless_its_text_is_read(make: Callable[[], Scorer]) -> None:
    data = random_world()
    scorer = make().fit(data, rng())
    last = scorer.score(data.histories())[:, -1]
    short = scorer.shortlist(data.histories(), data.histories()) is not None  # what nobody has met is on no short-list
    assert (np.isfinite(last) if type(scorer).reads_text and not short else np.isnan(last)).all()


@pytest.mark.parametrize("name", ANSWERS_CHECKERBOARD)
def test_checkerboard_has_the_withheld_item_on_top(name: str, tiny: str) -> None:
    data = checkerboard()
    cls = scorers.scorer_class(name)
    settings = {"factors": {"dim": 8}, "bert": {"encoder": tiny, "dim": 8}}.get(name, {})
    scorer = cls(cls.Config(**settings)).fit(data, rng())
    h = data.histories()
    best = top_k(hide(scorer.score(h), h), 1)[:, 0]
    assert (best == np.arange(len(h))).all()


def test_popularity_fails_the_checkerboard() -> None:
    """The control: a scorer that ignores the history cannot find everybody's own item."""
    data = checkerboard()
    h = data.histories()
    scores = scorers.scorer_class("popularity")().fit(data, rng()).score(h)
    assert (top_k(hide(scores, h), 1)[:, 0] == np.arange(len(h))).mean() < 0.2


def test_linear_scorers_are_the_emptied_history_and_the_sum_of_past_items(make: Callable[[], Scorer]) -> None:
    data = random_world()
    scorer = make()
    settings = [{"decay": 0.0}, {"decay": 3.0}] if "decay" in scorer.Config.__dataclass_fields__ else [{}]
    items = np.arange(len(data.items))
    row = data.histories()[[4]]
    everything, nothing = np.ones(len(row.items), bool), np.zeros(len(row.items), bool)
    half = np.arange(len(row.items)) % 2 == 0
    for setting in settings:
        scorer.config = replace(scorer.config, **setting)
        scorer.fit(data, rng())
        if not scorer.linear:
            with pytest.raises(NotImplementedError):
                scorer.contributions(row, items)
            with pytest.raises(NotImplementedError):
                scorer.prior(items)
            continue
        given = scorer.contributions(row, items)
        assert given.shape == (len(row.items), len(items))
        for kept in (everything, nothing, half):  # masked rows too: no past item's share depends on the others
            summed = scorer.prior(items) + given[kept].sum(axis=0)
            assert_same(summed, scorer.score(row.keep(kept))[0], 1e-5)


def test_that_an_item_was_met_says_nothing_for_it(make: Callable[[], Scorer]) -> None:
    """Lists may show again what was met and not liked; its own event must not lift it."""
    data = random_world()
    scorer = make().fit(data, rng())
    if not scorer.linear:
        return
    row = data.histories()[[4]]
    given = scorer.contributions(row, row.items.astype(np.int64))
    assert (np.nan_to_num(np.diag(given)) == 0).all()
    for n, item in enumerate(row.items[:3]):
        others = row.keep(np.arange(len(row.items)) != n)
        assert_same(scorer.score(row, np.array([item])), scorer.score(others, np.array([item])), 1e-5)


def test_scorers_that_normalise_are_not_called_linear() -> None:
    """The control: user_knn divides by the length of what is left, so shares of the whole do not add up on a part."""
    data = random_world()
    scorer = scorers.scorer_class("user_knn")().fit(data, rng())
    row = data.histories()[[4]]
    alone = [scorer.score(row.keep(np.arange(len(row.items)) == n))[0] for n in range(len(row.items))]
    assert not scorer.linear
    assert not np.allclose(np.nan_to_num(np.sum(alone, axis=0)), np.nan_to_num(scorer.score(row)[0]), atol=1e-3)


@pytest.mark.parametrize("name", ["ease", "item_knn", "user_knn", "factors"])
def test_recency_lets_the_latest_event_weigh_more(name: str) -> None:
    data = random_world()
    cls = scorers.scorer_class(name)
    scorer = cls(cls.Config(decay=1.0)).fit(data, rng())
    a, b = (scorer.score(Histories.of([row], len(data.items))) for row in ([0, 1, 2], [2, 1, 0]))
    assert not np.allclose(np.nan_to_num(a), np.nan_to_num(b))
    plain = cls(cls.Config(decay=0.0)).fit(data, rng())
    a, b = (plain.score(Histories.of([row], len(data.items))) for row in ([0, 1, 2], [2, 1, 0]))
    assert_same(np.nan_to_num(a), np.nan_to_num(b), 1e-5)
