"""Short histories: popularity counts for more where users gain by it, and nowhere else; probabilities come true."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from worlds import random_world

from recsys_core.candidates import Candidates
from recsys_core.config import Settings
from recsys_core.data import Histories
from recsys_core.hybrid import Blend, sigmoid
from recsys_core.newcomers import LENGTHS, Cut, fit, latest
from recsys_core.ranking import top_k
from recsys_core.recommend import recommend
from recsys_core.run import Run
from recsys_core.train import train

USERS, ITEMS, K = 400, 60, 5
NAMES, OPEN = ("popularity", "ease"), np.array([True, False])
BLEND = Blend(NAMES, (0.0, 0.0), (1.0, 1.0), (0.05, 1.0), bias=-2.0)


def cuts(seed: int = 0, *, fame: float = 1.0) -> tuple[Cut, list[Cut]]:
    """Likes follow fame and taste; of n events `ease` sees taste through noise that falls with n. The first is of 100 events."""
    rng = np.random.default_rng(seed)
    known, taste = np.broadcast_to(rng.normal(size=ITEMS), (USERS, ITEMS)), rng.normal(size=(USERS, ITEMS))
    liked = rng.random((USERS, ITEMS)) < sigmoid(fame * known + taste - 2)
    none, items = np.zeros((USERS, ITEMS), bool), np.tile(np.arange(ITEMS), (USERS, 1))

    def cut(n: int, events: int) -> Cut:
        read = taste + 5 / n * rng.normal(size=(USERS, ITEMS))
        z = np.stack([known, read / read.std()], axis=2).astype(np.float32)
        shown = Candidates(np.arange(USERS), items, z, liked, none, liked.sum(axis=1), none)
        return Cut.of(events, shown, np.full(USERS, n, np.float32), BLEND, OPEN)

    return cut(100, 0), [cut(n, n) for n in LENGTHS]


def test_popularity_counts_for_more_where_it_is_the_safer_guess() -> None:
    whole, short = cuts()
    facts = fit(whole, short, BLEND.bias, K)
    assert facts["more"] > 10
    for n in LENGTHS[:3]:
        before, after = facts["ndcg"][str(n)]
        assert after > before + 0.01
    lost = whole.ndcg(0.0, 1.0, K) - whole.ndcg(facts["more"], facts["half"], K)
    assert lost.mean() < 2 * lost.std() / USERS**0.5 + 1e-9


@pytest.mark.parametrize("fame", [0.0, -1.0])
def test_where_it_is_not_it_does_not(fame: float) -> None:
    whole, short = cuts(fame=fame)
    facts = fit(whole, short, BLEND.bias, K)
    assert facts["more"] == 0
    assert all(before == after for before, after in facts["ndcg"].values())


def test_probabilities_of_short_histories_come_true() -> None:
    """Undamped they would be those of somebody who is known."""
    whole, short = cuts()
    facts = fit(whole, short, BLEND.bias, K)
    off = np.mean([abs(told - true) for told, true in facts["chance"].values()])
    undamped = [cut.top(facts["more"], facts["half"], K) for cut in short]
    before = np.mean([abs(sigmoid(BLEND.bias + score).mean() - liked.mean()) for score, _, liked in undamped])
    assert facts["damp"] > 0
    assert off < 0.5 * before


def test_nothing_short_to_learn_from_changes_nothing() -> None:
    assert fit(cuts()[0], [], BLEND.bias, K) == {}


def test_the_latest_events_are_left() -> None:
    rows = Histories.of([[3, 1, 2], [0], []], 4)
    short = latest(rows, 2)
    assert (short.items.tolist(), short.lengths.tolist(), short.full_sizes.tolist()) == ([1, 2, 0], [2, 1, 0], [2, 1, 0])
    one_time = replace(rows, ages=np.zeros_like(rows.ages))
    assert latest(one_time, 1).lengths.tolist() == [1, 1, 0]


def test_a_run_tells_what_it_learned_for_newcomers(tmp_path: Path) -> None:
    run = train(random_world(), Settings(components=("popularity", "ease"), control=False, tune=False), tmp_path / "run")
    told = run.metrics["newcomers"]
    assert set(told["ndcg"]) == {str(n) for n in LENGTHS}
    blend = Run.load(run.path).model.blend
    assert (blend.newcomers, blend.half, blend.damp) == ((told["more"], 0.0), told["half"], told["damp"])
    card = (run.path / "card.md").read_text()
    assert "## Short histories" in card
    popular, others = zip(*told["counts"].values(), strict=True)
    np.testing.assert_allclose(blend.trust(np.array([0, *LENGTHS], np.float32)), np.stack([popular, others], axis=1), rtol=1e-5)
    assert "of 0, 1, 2, 4, 8 events" in card
    assert f"1: {told['ndcg']['1'][0]:.4f} -> {told['ndcg']['1'][1]:.4f}" in card
    nothing = Histories.of([[]], len(run.dataset.items))
    found = recommend(run.model, nothing, nothing, k=5)
    fame = run.model.components["popularity"].score(nothing)
    assert found.items.tolist() == top_k(np.nan_to_num(fame, nan=-np.inf), 5).tolist()
    store = run.candidates  # what live weights move: parts that add up to the same logits as a list's
    sizes = run.histories.full_sizes[store.users]
    assert np.isfinite(store.logit(blend)[store.items >= 0]).all()
    assert (sizes > 0).all()
