"""The scale of items that nobody has met: their lists hold as much of them as users would like of them, if they are new."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from worlds import WORDS, dataset_of

from recsys_core.config import Settings, load_settings
from recsys_core.data import Catalog, Dataset, Histories
from recsys_core.errors import UserError
from recsys_core.hybrid import Blend, Hybrid, sigmoid
from recsys_core.learn import fit_cold
from recsys_core.ranking import hide, top_k
from recsys_core.rehearsal import Shown, shown
from recsys_core.run import Run
from recsys_core.splits import TEST
from recsys_core.train import train

SETTINGS = Settings(components=("ease", "cold"), control=False, tune=False, scorers={"cold": {"title": 0.0, "text": 0.0}})
N_USERS = 300


@dataclass(frozen=True)
class World:
    """Two groups of users and kinds of items; the first n_new items, as liked as the others, nobody could meet yet."""

    dataset: Dataset
    new_likes: NDArray[np.bool_]  # (n_users, n_items)


def world_of(n_new: int, n_items: int = 150) -> World:
    rng = np.random.default_rng(0)
    item = np.arange(n_items)
    own_kind = (np.arange(N_USERS)[:, None] % 2) == (item % 2)
    likes = rng.random((N_USERS, n_items)) < np.where(own_kind, rng.uniform(0.1, 0.7, n_items), 0.01)
    users, items = np.nonzero(likes & (item >= n_new))
    data = dataset_of(
        list(zip(users.tolist(), items.tolist(), strict=True)),
        N_USERS,
        n_items,
        times=rng.permutation(len(users)).tolist(),
        texts=[WORDS[i % 2] for i in item],
    )
    table = data.catalog.frame.assign(kind=[(("robots", "love")[i % 2],) for i in item])
    return World(replace(data, catalog=Catalog(table)), likes & (item < n_new))


@pytest.fixture(scope="module")
def world() -> World:
    return world_of(n_new=9)


@pytest.fixture(scope="module")
def run(world: World, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(world.dataset, replace(SETTINGS, unmet="new"), tmp_path_factory.mktemp("runs") / "new")


def as_left(run: Run) -> Hybrid:
    """The model as it would be with `unmet = "left"`."""
    scale = {k: tuple(v) if isinstance(v, list) else v for k, v in run.metrics["unmet"]["as_left"].items()}
    return replace(run.model, blend=replace(run.model.blend, **scale))


def places(run: Run, model: Hybrid, world: World) -> dict[str, float]:
    """Of the ten best: the share of new items, the mean probability that they show and the share that is liked. And the share of
    new items among all likes that are still to come."""
    scores = hide(model.score(run.histories), run.hidden)
    lists = top_k(scores, 10)
    new = model.cold[lists]
    to_come = int((run.dataset.liked & run.split.rows(TEST)).sum())
    return {
        "places": float(new.mean()),
        "likes": float(world.new_likes.sum() / (world.new_likes.sum() + to_come)),
        "said": float(sigmoid(np.take_along_axis(scores, lists, axis=1))[new].mean()),
        "true": float(np.take_along_axis(world.new_likes, lists, axis=1)[new].mean()),
    }


def test_new_items_get_the_places_that_their_likes_ask_for(run: Run, world: World) -> None:
    def lists_hold_their_share(model: Hybrid) -> bool:
        found = places(run, model, world)
        return abs(found["places"] - found["likes"]) < 0.12 and 0.7 < found["said"] / found["true"] < 1.1

    assert lists_hold_their_share(run.model)
    assert not lists_hold_their_share(as_left(run))  # as many likes to come as of a warm item: a fraction of them
    flooded = replace(run.model, blend=replace(run.model.blend, cold_shift=run.model.blend.cold_shift + 3))
    assert not lists_hold_their_share(flooded)


def test_the_order_of_warm_items_stays(run: Run) -> None:
    warm = np.flatnonzero(~run.model.cold)
    new, left = (m.score(run.histories, warm) for m in (run.model, as_left(run)))
    np.testing.assert_array_equal(new, left)
    cold = np.flatnonzero(run.model.cold)
    assert not np.array_equal(*(m.score(run.histories, cold) for m in (run.model, as_left(run))))


def test_new_items_are_taken_for_new_where_the_split_or_the_user_says_so(world: World, tmp_path: Path) -> None:
    """Nothing but its design tells an item that nobody could meet from one that nobody wanted."""
    splits = ("random", "time", "cold-items")
    found = {split: train(world.dataset, replace(SETTINGS, split=split), tmp_path / split) for split in splits}
    assert [r.metrics["unmet"]["new"] for r in found.values()] == [False, False, True]
    for split in ("random", "time"):
        assert found[split].model.blend == as_left(found[split]).blend
        forced = train(world.dataset, replace(SETTINGS, split=split, unmet="new"), tmp_path / f"{split} new")
        assert forced.model.blend.cold_shift > found[split].model.blend.cold_shift + 1
    kept = train(world.dataset, replace(SETTINGS, split="cold-items", unmet="left"), tmp_path / "left")
    assert kept.model.blend == as_left(found["cold-items"]).blend


def test_what_judges_are_shown() -> None:
    """One judge, players 4, 5, 6 of 8 items; 4 was liked in training, 6 met and not liked, 5 is liked later."""
    z = np.array([[[3.0], [2.0], [1.0]]], np.float32)
    out = np.array([4, 5, 6])
    known, hidden, later = (Histories.of([row], 8) for row in ([0, 4], [0, 4, 6], [5]))

    def of(n: int, new: bool) -> list[tuple[int, bool]]:
        s = shown(z, out, known, hidden, later, n, new)
        return list(zip(s.item.tolist(), s.hit.tolist(), strict=True))

    assert of(3, new=False) == [(1, True)]  # what was met cannot be shown again
    assert of(3, new=True) == [(0, True), (1, True), (2, False)]  # all of it is still to come
    assert of(1, new=True) == [(0, True)]


def test_only_what_scores_new_items_alone_is_weighed_anew() -> None:
    rng = np.random.default_rng(1)
    z = rng.normal(size=(40_000, 3)).astype(np.float32)
    z[:, 2] = np.nan  # it cannot score them
    hit = rng.random(len(z)) < sigmoid(0.5 * z[:, 0] + 0.8 * z[:, 1] - 1)
    pairs = Shown(z, hit, rng.integers(0, 100, len(z)))
    names, zero, one = ("bert", "cold", "ease"), (0.0,) * 3, (1.0,) * 3
    found = fit_cold(pairs, Blend(names, zero, one, (0.5, 1.0, 2.0), bias=-3.0), 1)
    assert found.weights == pytest.approx((0.5, 0.8, 2.0), abs=0.05)
    assert (found.weights[0], found.weights[2]) == (0.5, 2.0)
    assert found.bias + found.cold_shift == pytest.approx(-1, abs=0.05)
    assert set(found.cold_factors) == {1.0}
    alone = fit_cold(pairs, Blend(names, zero, one, (0.5, 1.0, 2.0), bias=-3.0), None)
    assert alone.weights == (0.5, 1.0, 2.0)


def test_the_doubt_is_about_items_not_pairs() -> None:
    rng = np.random.default_rng(0)
    blend = Blend(("cold",), (0.0,), (1.0,), (1.0,), bias=-2.0)
    item = np.repeat(np.arange(40), 50)
    z = rng.normal(size=(len(item), 1)).astype(np.float32)
    hit = rng.random(len(item)) < sigmoid(z[:, 0] - 1 + rng.normal(size=40)[item])
    pairs = Shown(z, hit, item)

    def doubt(pairs: Shown) -> float:
        return fit_cold(pairs, blend, 0).cold_shift - fit_cold(pairs, blend, 0, doubt=1.0).cold_shift

    def twice(pairs: Shown, more: int) -> Shown:
        z, hit = (np.concatenate([a, a]) for a in (pairs.z, pairs.hit))
        return Shown(z, hit, np.concatenate([pairs.item, pairs.item + more]))

    assert doubt(pairs) == pytest.approx(1 / 40**0.5, rel=0.4)  # of a mean of 40 items with a spread of 1 log-odds
    assert doubt(twice(pairs, 0)) == pytest.approx(doubt(pairs), rel=1e-3)  # more judges of the same items say nothing new
    assert doubt(twice(pairs, 40)) == pytest.approx(doubt(pairs) / 2**0.5, rel=1e-3)
    assert doubt(replace(pairs, item=rng.permutation(item))) < doubt(pairs) / 2  # the like rate is not the item's: no such doubt


def test_the_setting_is_checked_and_told(run: Run) -> None:
    with pytest.raises(UserError, match=r"unknown unmet 'lft'.*Did you mean 'left'"):
        load_settings(None, ["unmet=lft"])
    told = run.metrics["unmet"]
    card = (run.path / "card.md").read_text()
    assert told["new"]
    assert f"{told['items']:,} items, taken for new" in card
