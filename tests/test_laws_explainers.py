"""Laws every explainer keeps; a new file in explain/explainers/ arrives here already tested. Broken ones must be rejected."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations, permutations

import numpy as np
import pytest

from recsys_core.errors import UserError
from recsys_core.explain import explainers
from recsys_core.explain.explainers import attribute
from recsys_core.explain.game import Budget, Explanation, Floats, Game, Masks, OutOfTime

Explain = Callable[[Game], Explanation]
FLOORS = ("random", "popularity")
SHAPLEY = ("exact", "shap", "shap_permutation", "shap_exact")  # of the games here; shap_partition gives Owen values
EFFICIENT = (*SHAPLEY, "shap_partition", *FLOORS)
MEANING = [n for n in explainers.names() if n not in FLOORS]
ROOMY = Budget(1500)


def game(
    value: Callable[[Floats], Floats], p: int, *, words: bool = False, additive: Floats | None = None, slopes: bool = False
) -> Game:
    """A game of p players whose value takes masks as numbers."""
    names = tuple(f"player{j}" for j in range(p))

    def numeric(levels: Floats) -> Floats:
        steps = 1e-5 * np.eye(p)
        return np.stack([(value(levels + s) - value(levels - s)) / 2e-5 for s in steps], axis=1)

    return Game(
        "test",
        names,
        names,
        lambda masks: value(masks.astype(float)),
        additive,
        fame=np.arange(1.0, p + 1),
        slopes=numeric if slopes else None,
        sequence=tuple(f"{n} " for n in names) if words else (),
    )


def linear(p: int = 6, *, closed: bool = False, words: bool = False) -> tuple[Game, Floats]:
    weights = np.random.default_rng(3).normal(size=p)
    return game(lambda m: 2 + m @ weights, p, additive=weights if closed else None, words=words, slopes=True), weights


def curved(p: int = 6, words: bool = False) -> Game:
    """Pairs and threes matter; players 0 and 1 are alike, player 5 does nothing."""
    return game(lambda m: m[:, 0] * m[:, 1] + m[:, 2] * m[:, 3] * m[:, 4] - 0.5 * m[:, 2], p, words=words, slopes=True)


def gloves(masks: Floats) -> Floats:
    """One left glove (player 0), two right ones: a pair is worth 1. Shapley: 4/6, 1/6, 1/6 (Shubik's example)."""
    return np.minimum(masks[:, 0], masks[:, 1] + masks[:, 2])


def airport(masks: Floats) -> Floats:
    """The runway is paid for the largest plane there: costs 1, 2, 4. Shapley: 1/3, 1/3 + 1/2, 1/3 + 1/2 + 2."""
    return (masks * [1, 2, 4]).max(axis=1)


def brute(game: Game) -> Floats:
    """Shapley values as the mean over all orders of joining."""
    p = len(game.players)
    phi = np.zeros(p)
    orders = list(permutations(range(p)))
    for order in orders:
        masks = np.zeros((p + 1, p), bool)
        for place, player in enumerate(order):
            masks[place + 1 :, player] = True
        phi[list(order)] += np.diff(game.value(masks))
    return phi / len(orders)


def by_coalitions(game: Game) -> Floats:
    """The same from the definition: over every coalition without a player, its chance times what the player adds."""
    p = len(game.players)
    phi = np.zeros(p)
    for j in range(p):
        others = [i for i in range(p) if i != j]
        for size in range(p):
            sets = list(combinations(others, size))
            masks = np.zeros((len(sets), p), bool)
            for row, members in zip(masks, sets, strict=True):
                row[list(members)] = True
            joined = masks.copy()
            joined[:, j] = True
            phi[j] += (game.value(joined) - game.value(masks)).mean() / p
    return phi


def by(method: str, budget: Budget = ROOMY, seed: int = 0) -> Explain:
    return lambda game: attribute(game, method, budget, seed)


def meets(method: str, game: Game) -> bool:
    return not explainers.unable(method, game)


def assert_efficient(explain: Explain) -> None:
    for each in (curved(), curved(words=True), linear()[0]):
        e = explain(each)
        assert abs(e.gap) < 1e-9
        assert abs(e.base + e.contributions.sum() - each.value(np.ones((1, len(each.players)), bool))[0]) < 1e-9


def assert_dummy_gets_nothing(explain: Explain, tolerance: float) -> None:
    assert abs(explain(curved()).contributions[5]) <= tolerance


def assert_alike_get_the_same(explain: Explain, tolerance: float) -> None:
    e = explain(curved())
    assert abs(e.contributions[0] - e.contributions[1]) <= tolerance
    assert e.contributions[0] > 0.2  # and not for nothing


def assert_linear_game_is_read_off(explain: Explain, tolerance: float) -> None:
    for closed in (False, True):
        each, weights = linear(closed=closed)
        np.testing.assert_allclose(explain(each).contributions, weights, atol=tolerance)


def assert_known_games(explain: Explain) -> None:
    np.testing.assert_allclose(explain(game(gloves, 3)).contributions, [4 / 6, 1 / 6, 1 / 6], atol=1e-9)
    np.testing.assert_allclose(explain(game(airport, 3)).contributions, [1 / 3, 1 / 3 + 1 / 2, 1 / 3 + 1 / 2 + 2], atol=1e-9)


def loose(method: str) -> float:
    return 0.12 if method == "lime" else 1e-6 if method == "ig" else 1e-9  # ridge shrinks and samples; slopes are numeric here


@pytest.mark.parametrize("method", EFFICIENT)
def test_base_and_contributions_make_the_output(method: str) -> None:
    explain = by(method)

    def where_it_can(game: Game) -> Explanation:
        return explain(game) if meets(method, game) else by("exact")(game)

    assert_efficient(where_it_can)


@pytest.mark.parametrize("method", [n for n in MEANING if n != "shap_partition"])
def test_dummies_and_twins(method: str) -> None:
    assert_dummy_gets_nothing(by(method), loose(method))
    assert_alike_get_the_same(by(method), max(loose(method), 0.15 if method == "shap_permutation" or method == "shap" else 0))


@pytest.mark.parametrize("method", [n for n in MEANING if n != "shap_partition"])
def test_linear_games(method: str) -> None:
    assert_linear_game_is_read_off(by(method), loose(method))


def test_partition_reads_linear_games_off() -> None:
    each, weights = linear(words=True)
    np.testing.assert_allclose(by("shap_partition")(each).contributions, weights, atol=1e-9)
    np.testing.assert_allclose(by("shap")(each).contributions, weights, atol=1e-9)


@pytest.mark.parametrize("method", ["exact", "shap_exact"])
def test_known_games(method: str) -> None:
    assert_known_games(by(method))


@pytest.mark.parametrize("p", range(2, 11))
def test_exact_is_brute_force_and_the_shap_package(p: int) -> None:
    table = np.random.default_rng(p).normal(size=2**p)
    each = game(lambda m: table[(m @ 2 ** np.arange(p)).astype(int)], p)
    exact = by("exact")(each).contributions
    np.testing.assert_allclose(exact, by_coalitions(each), atol=1e-9)
    if p < 8:  # 8! orders and more take too long
        np.testing.assert_allclose(exact, brute(each), atol=1e-9)
    np.testing.assert_allclose(exact, by("shap_exact")(each).contributions, atol=1e-6)


def test_sampled_values_are_within_their_standard_errors() -> None:
    e = by("shap_permutation", Budget(4000))(curved())
    assert e.standard_error is not None
    assert (np.abs(e.contributions - brute(curved())) <= 5 * e.standard_error + 1e-9).all()
    assert e.standard_error.max() < 0.1
    assert by("shap_permutation", Budget(2 * 6 + 1))(curved()).standard_error is None  # one pair tells no spread


def broken(change: Callable[[Explanation], Floats]) -> Explain:
    """The exact explainer, spoilt."""

    def explain(game: Game) -> Explanation:
        e = by("exact")(game)
        return replace(e, contributions=change(e))

    return explain


def test_a_broken_explainer_is_rejected_by_the_same_laws() -> None:
    lost = broken(lambda e: e.contributions * np.r_[0, np.ones(len(e.players) - 1)])
    turned = broken(lambda e: np.roll(e.contributions, 1))
    even = broken(lambda e: np.full(len(e.players), e.contributions.mean()))
    for law, explain in (
        (assert_efficient, lost),
        (assert_known_games, turned),
        (lambda f: assert_linear_game_is_read_off(f, loose("lime")), turned),
        (lambda f: assert_dummy_gets_nothing(f, loose("lime")), even),
        (lambda f: assert_alike_get_the_same(f, 0.15), lost),
        (assert_known_games, even),
    ):
        with pytest.raises(AssertionError):
            law(explain)


@pytest.mark.parametrize("method", FLOORS)
def test_floors_do_not_pass_for_explanations(method: str) -> None:
    with pytest.raises(AssertionError):
        assert_linear_game_is_read_off(by(method), loose("lime"))


@pytest.mark.parametrize("method", explainers.names())
def test_same_seed_same_numbers(method: str) -> None:
    each = curved(words=method == "shap_partition")
    a, b = (by(method, Budget(40), seed=4)(each) for _ in range(2))
    assert (a.contributions == b.contributions).all()
    assert a.evaluations == b.evaluations


@pytest.mark.parametrize("method", explainers.names())
@pytest.mark.parametrize("p", [0, 1])
def test_nobody_or_one_player(method: str, p: int) -> None:
    each = game(lambda m: 1 + 2 * m.sum(axis=1), p, words=True, slopes=True)
    if not meets(method, each):
        pytest.skip("cannot meet a game without players")
    e = by(method, Budget(2))(each)
    assert e.output == 1 + 2 * p
    assert e.contributions.tolist() == [2.0] * p
    assert e.gap == 0


SAMPLED = [n for n in explainers.names() if n not in ("exact", "shap_exact")]


@pytest.mark.parametrize("p", [20, 50, 300])
@pytest.mark.parametrize("method", SAMPLED)
def test_budgets_are_kept(method: str, p: int) -> None:
    """Coalitions asked for, also where one round (2 p + 1 for a pair of permutations, p + 2 to leave each out) takes more."""
    asked = 0
    slope = np.random.default_rng(0).normal(size=p) / p

    def value(masks: Floats) -> Floats:
        nonlocal asked
        asked += len(masks)
        return np.tanh(1 + masks @ slope)

    each = replace(game(value, p, words=method == "shap_partition"), slopes=lambda levels: np.ones(levels.shape))
    e = by(method, Budget(60))(each)
    gradients = asked < e.evaluations  # they count too
    assert e.evaluations == asked + 3 * 19 * gradients
    assert e.evaluations <= 60
    assert gradients == (method == "ig")
    short = {"shap": 2 * p + 1, "shap_permutation": 2 * p + 1, "loo": p + 2, "lime": p + 1}.get(method, 0) > 60
    assert short == any(f"{p} players" in note for note in e.notes)


@pytest.mark.parametrize("method", ["shap", "shap_permutation", "loo"])
def test_what_the_budget_leaves_together_still_points_the_right_way(method: str) -> None:
    """300 players and 60 evaluations: four neighbours bring nearly all, and are found; credit shuffled among players is not."""
    heavy = np.where((np.arange(300) >= 150) & (np.arange(300) < 154), 1.0, 0.001)
    e = by(method, Budget(60))(game(lambda m: m @ heavy, 300))
    assert abs(e.gap) < 1e-9
    share = e.contributions[150:154].sum() / e.contributions.sum()
    assert share > 0.15
    assert np.random.default_rng(0).permutation(e.contributions)[150:154].sum() / e.contributions.sum() < 0.05


def test_best_is_exact_only_where_the_budget_pays_for_it() -> None:
    assert explainers.best(linear(closed=True)[0], Budget(2)) == "exact"
    assert explainers.best(curved(), Budget(64)) == "exact"
    assert explainers.best(curved(), Budget(63)) == "shap"
    assert attribute(curved(), "", Budget(63)).evaluations <= 63
    assert explainers.best(game(lambda m: m.prod(axis=1), 20), Budget(10**6)) == "shap"


def test_time_budget_ends_the_work_and_says_so() -> None:
    def slow(masks: Masks) -> Floats:
        import time

        time.sleep(0.02 * len(masks))
        return masks.sum(axis=1).astype(float)

    each = Game("slow", tuple("abcdefgh"), tuple("abcdefgh"), slow, sequence=tuple("abcdefgh"))
    with pytest.raises(OutOfTime, match="give more seconds"):
        attribute(each, "loo", Budget(100, seconds=0.05, batch=2))
    e = attribute(each, "lime", Budget(1000, seconds=0.5))
    assert 2 <= e.evaluations < 200
    assert "time budget" in e.notes[0]


def test_progress_may_cancel() -> None:
    class Stop(Exception):
        pass

    def progress(done: int, most: int) -> None:
        if done >= 4:
            raise Stop

    with pytest.raises(Stop):
        attribute(curved(), "loo", Budget(100, batch=2), progress=progress)


@pytest.mark.parametrize("method", ["exact", "loo", "shap_exact"])
def test_the_order_of_players_does_not_matter(method: str) -> None:
    order = np.random.default_rng(0).permutation(6)
    plain = curved()
    other = game(lambda m: plain.value(m[:, np.argsort(order)] > 0.5), 6)  # player j there is player order[j] here
    np.testing.assert_allclose(by(method)(other).contributions, by(method)(plain).contributions[order], atol=1e-12)


def test_unknown_and_unable_methods_say_what_to_do() -> None:
    with pytest.raises(UserError, match=r"unknown explainer 'shapp'.*Did you mean 'shap'"):
        attribute(curved(), "shapp")
    with pytest.raises(UserError, match="use shap_permutation"):
        attribute(curved(), "shap_partition")
    with pytest.raises(UserError, match="20 players"):
        attribute(game(lambda m: m.prod(axis=1), 20), "exact")
    with pytest.raises(UserError, match="2 evaluations or more"):
        Budget(1)


def test_the_global_generator_is_left_alone() -> None:
    np.random.seed(1)  # noqa: NPY002
    first = np.random.random()  # noqa: NPY002
    np.random.seed(1)  # noqa: NPY002
    for method in explainers.names():
        if meets(method, curved()):
            by(method, Budget(30))(curved())
    assert np.random.random() == first  # noqa: NPY002


def test_explanations_survive_json_and_escape_html() -> None:
    each = Game("history", ("<a>", "b"), ("<script>", "b"), lambda m: m @ np.array([1.0, -2.0]), additive=np.array([1.0, -2.0]))
    e = replace(attribute(each, "exact"), title="<b>", sentence="<i>why</i>")
    again = Explanation.from_dict(e.as_dict())
    assert again.as_dict() == e.as_dict()
    assert "<script>" not in e._repr_html_()
    assert "&lt;script&gt;" in e._repr_html_()
    assert e.frame()["share"].tolist() == [1 / 3, 2 / 3]
    assert e.frame()["label"].tolist() == ["<script>", "b"]
