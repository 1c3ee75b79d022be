"""Why an item is not in a list: parts add up, weights are the nearest on a grid, and every claim is scored again."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from test_counterfactual import LINEAR, SEEDS, listed_ranks, subjects

from recsys_core.data import Histories
from recsys_core.errors import UserError
from recsys_core.explain._ranks import rank_of
from recsys_core.explain.subject import Subject
from recsys_core.explain.why_not import BASE, WeightChange, WhyNot, lifting_removal, nearest_weight, why_not
from recsys_core.ranking import hide, top_k
from recsys_core.recommend import recommend

STEP = 0.01  # of the grid of weights


def rank_with(subject: Subject, name: str, weight: float) -> int:
    return int(listed_ranks(replace(subject, model=subject.model.with_weights({name: weight})), subject.history)[0])


def nearest_on_grid(subject: Subject, k: int, reach: float = 4.0) -> float:
    """The least |change| of one weight on a fine grid that lifts the item into the top k; inf if none within reach."""
    least, now = np.inf, subject.model.score(subject.history)
    changes = np.concatenate([np.arange(STEP, reach, STEP), -np.arange(STEP, reach, STEP)])
    for c, weight in enumerate(subject.blend.weights):
        tries = changes[weight + changes >= 0]
        slope = np.nan_to_num(subject.model.z(subject.history)[:, :, c])
        listed = now + tries[:, None].astype(np.float32) * slope
        tops = top_k(hide(listed, subject.hidden[np.zeros(len(tries), int)]), k)
        least = min(least, np.abs(tries[(tops == subject.item).any(axis=1)]).min(initial=np.inf))
    return float(least)


def assert_nearest(subject: Subject, found: WeightChange | None, k: int) -> None:
    grid = nearest_on_grid(subject, k)
    if found is None:
        assert np.isinf(grid)
        return
    change = abs(found.after - found.before)
    assert found.after >= 0
    assert rank_with(subject, found.component, found.after) == found.rank <= k
    assert found.relative == pytest.approx(change / sum(abs(w) for w in subject.blend.weights))
    assert change <= grid + 1e-9  # nothing on the grid is nearer
    assert found.verified
    if found.minimal and change > 2 * STEP:  # and nearer than the crossing it is not there
        short = found.before + (found.after - found.before) * (1 - STEP / change)
        assert rank_with(subject, found.component, short) > k


@pytest.mark.parametrize("seed", range(3))
def test_the_weight_is_the_nearest(seed: int) -> None:
    cases = [(s, nearest_weight(s, k), k) for place in (4, 8) for s in subjects(seed, place, n_users=3) for k in (1, 3)]
    for subject, found, k in cases:
        assert_nearest(subject, found, k)
    assert any(found for _, found, _ in cases)


def test_a_weight_that_is_not_the_nearest_or_does_not_lift_is_rejected() -> None:
    subject, found = next((s, w) for seed in SEEDS for s in subjects(seed, 4) if (w := nearest_weight(s, 3)))
    farther = replace(found, after=found.before + 1.5 * (found.after - found.before) + np.sign(found.after - found.before) * STEP)
    short = replace(found, after=found.before)
    for wrong in (farther, short, None):
        with pytest.raises(AssertionError):
            assert_nearest(subject, wrong, 3)


def test_negative_weights_may_become_more_so() -> None:
    for subject in (s for seed in SEEDS for s in subjects(seed, 6)):
        model = subject.model.with_weights({"ease": -0.5})
        turned = replace(subject, model=model)
        if rank_of(turned)[0] > 3 and (found := nearest_weight(turned, 3)):
            assert rank_with(turned, found.component, found.after) <= 3
            assert found.after >= 0 or found.component == "ease"


def assert_adds_up(about: WhyNot, subject: Subject) -> None:
    """Base and parts are the logits of the item, the k-th item and the mean of the k best."""
    lists = recommend(subject.model, subject.history, subject.hidden, k=about.k)
    np.testing.assert_allclose(np.nansum(about.own), about.logit, atol=1e-5)
    np.testing.assert_allclose(np.nansum(about.edge_parts), about.edge_logit, atol=1e-5)
    np.testing.assert_allclose(np.nansum(about.top_parts), lists.logit[0].mean(), atol=1e-5)
    assert about.edge == subject.items.ids[lists.items[0, -1]]
    assert about.edge_logit == lists.logit[0, -1]
    frame = about.frame()
    assert frame["to_edge"].is_monotonic_increasing
    assert frame["to_edge"].sum() == pytest.approx(about.logit - about.edge_logit, abs=1e-5)
    assert frame["to_top"].sum() == pytest.approx(about.logit - lists.logit[0].mean(), abs=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_differences_add_up_and_claims_hold(seed: int) -> None:
    for subject in subjects(seed, 8, n_users=4):
        about = why_not(subject, 5)
        assert_adds_up(about, subject)
        assert (about.state, about.rank) == ("below", 8)
        assert about.shown_rank == about.rank == listed_ranks(subject, subject.history)[0]
        assert about.components == (BASE, *LINEAR)
        assert about.additions is not None
        if about.additions.found:
            assert about.additions.rank_after <= 5
        with pytest.raises(AssertionError):
            assert_adds_up(replace(about, own=(0.5 + about.own[0], *about.own[1:])), subject)


def test_the_removal_is_the_one_that_lifts_most() -> None:
    seen = 0
    for subject in (s for seed in SEEDS for s in subjects(seed, 6)):
        n = len(subject.history.items)
        ranks = listed_ranks(subject, subject.masked(~np.eye(n, dtype=bool)))
        found = lifting_removal(subject, 5)
        assert (found is not None) == bool((ranks <= 5).any())
        if found is not None:
            (chosen,) = subject.items.codes(found.players)
            assert ranks[list(subject.history.items).index(chosen)] == found.rank_after <= 5
            assert found.verified
            assert found.minimal
            assert found.rivals
            seen += 1
    assert seen


def test_hidden_items_say_so_and_which_rank_they_would_have() -> None:
    subject = subjects(0, 8)[0]
    met = int(subject.history.items[0])
    about = why_not(replace(subject, item=met), 5)
    others = np.flatnonzero(subject.hidden.items != met)
    free = replace(
        subject, item=met, hidden=replace(subject.hidden, indptr=np.array([0, len(others)]), items=subject.hidden.items[others])
    )
    assert (about.state, about.rank, about.weight, about.additions) == ("hidden", 0, None, None)
    assert about.shown_rank == listed_ranks(free, free.history)[0]
    assert "has been met" in about.reason


def test_items_without_scores_say_which_components_cannot() -> None:
    subject = subjects(0, 8)[0]
    about = why_not(replace(subject, item=len(subject.items) - 1), 5)
    assert (about.state, about.missing, about.rank, about.shown_rank) == ("unscored", LINEAR, 0, 0)
    assert np.isnan(about.logit)
    assert json.loads(json.dumps(about.as_dict(), allow_nan=False))["logit"] is None


def test_what_is_in_the_list_is_not_asked_about() -> None:
    subject = subjects(0, 2)[0]
    with pytest.raises(UserError, match="at rank 2"):
        why_not(subject, 5)
    with pytest.raises(UserError, match="choose k below 2"):
        why_not(subject, 5)
    with pytest.raises(UserError, match="at rank 1; ask remove_history what would take it out"):  # there is no k below
        why_not(subjects(0, 1)[0], 5)
    with pytest.raises(UserError, match="k must be"):
        why_not(subject, 0)
    with pytest.raises(UserError, match="top 2 already"):
        nearest_weight(subject, 2)


def test_an_empty_history_and_a_short_catalogue_have_answers() -> None:
    subject = subjects(0, 8)[0]
    empty = replace(subject, history=Histories.of([[]], subject.history.n_items))
    item = int(recommend(empty.model, empty.history, empty.hidden, k=9).items[0, -1])
    about = why_not(replace(empty, item=item), 5)
    assert about.removal is None
    assert about.rank == 9
    assert json.loads(json.dumps(about.as_dict(), allow_nan=False))["rank"] == 9
    everything = why_not(replace(subject, item=int(subject.history.items[0])), 99)
    assert everything.edge == ""
    assert np.isnan(everything.edge_logit)
