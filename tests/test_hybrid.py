"""The blend: parts add up, weights act as they should, missing is zero and shown as missing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from worlds import random_world

from recsys_core.data import Histories
from recsys_core.errors import UserError
from recsys_core.hybrid import Blend, Hybrid, constants, sigmoid
from recsys_core.ranking import hide, top_k
from recsys_core.recommend import recommend
from recsys_core.scorers import scorer_class

NAMES = ("popularity", "item_knn", "ease")


@pytest.fixture(scope="module")
def model() -> Hybrid:
    data = random_world()
    components = {n: scorer_class(n)().fit(data, np.random.default_rng(0)) for n in NAMES}
    mu, sigma = constants(components, data.histories())
    cold = np.arange(len(data.items)) == len(data.items) - 1
    return Hybrid(
        components, Blend(NAMES, mu, sigma, (0.2, 0.5, 1.0), bias=-2.0, cold_factors=(0.5, 0.5, 0.5), cold_shift=-1.0), cold
    )


@pytest.fixture(scope="module")
def histories() -> Histories:
    return random_world().histories()


def test_parts_and_base_add_up_to_the_score(model: Hybrid, histories: Histories) -> None:
    total = model.base() + np.nansum(model.parts(histories).astype(np.float64), axis=2)
    known = ~model.cold
    np.testing.assert_allclose(total[:, known], model.score(histories)[:, known], atol=1e-5)


def test_standardised_scores_have_mean_0_and_deviation_1(model: Hybrid, histories: Histories) -> None:
    z = model.z(histories)
    for c in range(len(NAMES)):
        known = z[:, :, c][np.isfinite(z[:, :, c])]
        assert known.mean() == pytest.approx(0, abs=1e-4)
        assert known.std() == pytest.approx(1, abs=1e-3)


def test_of_a_short_history_what_reads_none_counts_for_more_and_all_for_less(model: Hybrid, histories: Histories) -> None:
    blend = replace(model.blend, newcomers=(8.0, 0.0, 0.0), half=2.0, damp=3.0)
    sizes = np.array([0.0, 2.0, 2000.0], np.float32)
    np.testing.assert_allclose(blend.trust(sizes), [[9 / 4, 1 / 4, 1 / 4], [5 / 2.5, 1 / 2.5, 1 / 2.5], [1, 1, 1]], rtol=1e-4)
    np.testing.assert_array_equal(model.blend.trust(sizes), np.ones((3, 3)))
    short = replace(model, blend=blend)
    z, plain = short.z(histories), model.z(histories)
    np.testing.assert_allclose(z, plain * blend.trust(histories.full_sizes)[:, None, :], rtol=1e-5)
    total = short.base() + np.nansum(short.parts(histories).astype(np.float64), axis=2)
    np.testing.assert_allclose(total[:, ~model.cold], short.score(histories)[:, ~model.cold], atol=1e-5)
    half = histories.keep(np.arange(len(histories.items)) % 2 == 0)  # masked: the size stays, and with it what a part counts
    np.testing.assert_array_equal(blend.trust(half.full_sizes), blend.trust(histories.full_sizes))
    assert blend.only(np.array([2, 0])).newcomers == (0.0, 8.0)


def test_what_a_component_cannot_score_is_nan_in_parts_and_zero_in_the_score(model: Hybrid) -> None:
    z = np.array([[[np.nan, 1.0, np.nan]]], np.float32)
    cold = np.array([False])
    assert np.isnan(model.blend.parts(z, cold)[0, 0]).tolist() == [True, False, True]
    assert model.blend.logit(z, cold)[0, 0] == pytest.approx(-2 + 0.5)


def test_what_no_component_can_score_has_no_score_and_is_not_listed(model: Hybrid, histories: Histories) -> None:
    assert np.isnan(model.score(histories)[:, -1]).all()
    assert (recommend(model, histories, histories, k=40).items != len(model.cold) - 1).all()


def test_cold_items_have_factors_of_their_own(model: Hybrid) -> None:
    z = np.ones((1, 2, 3), np.float32)
    logit = model.blend.logit(z, np.array([False, True]))[0]
    assert logit.tolist() == pytest.approx([-2 + 0.2 + 0.5 + 1.0, -2 - 1 + 0.5 * (0.2 + 0.5 + 1.0)])


def test_a_component_of_weight_zero_changes_nothing(model: Hybrid, histories: Histories) -> None:
    muted = model.with_weights({"item_knn": 0.0})
    rest = np.array([0, 2])
    smaller = Hybrid({n: model.components[n] for n in ("popularity", "ease")}, muted.blend.only(rest), model.cold)
    np.testing.assert_allclose(muted.score(histories), smaller.score(histories), atol=1e-5)


def test_more_weight_moves_each_item_in_the_direction_of_its_z(model: Hybrid, histories: Histories) -> None:
    change = model.with_weights({"ease": 2.0}).score(histories) - model.score(histories)
    z = np.nan_to_num(model.z(histories)[:, :, 2])
    change = np.nan_to_num(change)
    assert (np.sign(np.round(change, 4)) == np.sign(np.round(z * np.where(model.cold, 0.5, 1), 4))).all()


def test_a_hybrid_comes_back_from_disk_the_same(model: Hybrid, histories: Histories, tmp_path: Path) -> None:
    model.save(tmp_path)
    np.testing.assert_array_equal(Hybrid.load(tmp_path).score(histories), model.score(histories))


@pytest.mark.parametrize(("weights", "fix"), [({"eese": 1.0}, "Did you mean 'ease'"), ({"ease": float("nan")}, "finite")])
def test_bad_weights_say_what_is_wrong(model: Hybrid, weights: dict[str, float], fix: str) -> None:
    with pytest.raises(UserError, match=fix):
        model.with_weights(weights)


def test_lists_are_sorted_hold_nothing_hidden_and_no_item_twice(model: Hybrid, histories: Histories) -> None:
    lists = recommend(model, histories, histories, k=7)
    for row in range(len(histories)):
        items = lists.items[row][lists.items[row] >= 0]
        assert not set(items) & set(histories[[row]].items)
        assert len(set(items)) == len(items)
        assert (np.diff(lists.logit[row][: len(items)]) <= 1e-6).all()
    np.testing.assert_allclose(lists.base + np.nansum(lists.parts, axis=2), lists.logit, atol=1e-6)
    np.testing.assert_allclose(lists.probability, sigmoid(lists.logit))


def test_lists_are_short_when_little_is_left(model: Hybrid) -> None:
    n = len(model.cold)
    all_but_two = Histories.of([list(range(2, n))], n)
    lists = recommend(model, all_but_two, all_but_two, k=5)
    assert set(lists.items[0].tolist()) == {0, 1, -1}
    frame = lists.frame(np.array(["x"]), np.array([str(i) for i in range(n)]))
    assert frame["rank"].tolist() == [1, 2]
    assert list(frame.columns) == ["user_id", "item_id", "rank", "score", "probability", *(f"part_{c}" for c in NAMES)]
    with pytest.raises(UserError, match="k must be 1"):
        recommend(model, all_but_two, all_but_two, k=0)


def test_top_k_equals_a_full_sort_also_with_ties() -> None:
    rng = np.random.default_rng(5)
    order = np.random.default_rng(0).permutation(50)
    place = np.argsort(order)
    for scores in (rng.normal(size=(40, 50)), rng.integers(0, 4, (40, 50)).astype(float)):
        expected = np.array([sorted(range(50), key=lambda i: (-row[i], place[i]))[:9] for row in scores])
        np.testing.assert_array_equal(top_k(scores.astype(np.float32), 9), expected)


def test_ties_do_not_favour_low_item_numbers() -> None:
    assert top_k(np.zeros((1, 1000), np.float32), 100).mean() > 400


def test_what_cannot_be_scored_is_not_listed() -> None:
    scores = hide(np.array([[np.nan, 1.0, 2.0]], np.float32), Histories.of([[2]], 3))
    assert top_k(scores, 3).tolist() == [[1, -1, -1]]


def test_other_warm_weights_leave_the_scale_of_cold_items() -> None:
    """A blend learned without a component, or on shuffled texts, scores cold items on the learned scale."""
    from recsys_core.learn import like_cold

    names = ("ease", "bert", "cold")
    zero, one = (0.0,) * 3, (1.0,) * 3
    learned = Blend(names, zero, one, (0.4, 0.2, 0.9), bias=-4.0, cold_factors=(0.0, 0.5, 1.0), cold_shift=0.5)
    other = Blend(names, zero, one, (0.1, 0.8, 0.02), bias=-2.0, cold_factors=(0.0, 0.5, 1.0), cold_shift=0.5)
    z = np.random.default_rng(0).normal(size=(1, 5, 3)).astype(np.float32)
    z[..., 0] = np.nan
    cold = np.ones(5, bool)
    fixed = like_cold(other, learned)
    np.testing.assert_allclose(fixed.logit(z, cold), learned.logit(z, cold), atol=1e-6)
    assert not np.allclose(other.logit(z, cold), learned.logit(z, cold), atol=0.1)  # as it was: cold items flood the lists
    assert fixed.weights[:2] == other.weights[:2]
    rest = like_cold(other.only(np.array([1, 2])), learned)
    np.testing.assert_allclose(rest.logit(z[..., 1:], cold), learned.logit(z, cold), atol=1e-6)


def test_padding_behind_a_row_is_no_score_of_a_component() -> None:
    """A component that scores cold items alone keeps its weight when warm weights are learned."""
    from recsys_core.candidates import Candidates
    from recsys_core.learn import fit_blend

    rng = np.random.default_rng(0)
    items = np.tile(np.arange(8), (30, 1))
    items[:, 6:] = -1  # short rows
    z = rng.normal(size=(30, 8, 2)).astype(np.float32)
    z[:, :, 1] = np.nan
    z[:, 6:] = 0  # what stands behind a row's end
    relevant = (z[:, :, 0] > 0.8) & (items >= 0)
    store = Candidates(np.arange(30), items, z, relevant, np.zeros_like(relevant), relevant.sum(axis=1), np.zeros_like(relevant))
    start = Blend(("ease", "cold"), (0.0, 0.0), (1.0, 1.0), (1.0, 0.7))
    assert fit_blend(store, start, 3).weights[1] == 0.7
