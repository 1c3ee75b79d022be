"""Faithful explainers pass the gate and broken ones do not; figures of a case that can be worked out by hand."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from worlds import checkerboard, dataset_of, random_world

from recsys_core.config import Settings
from recsys_core.data import Histories
from recsys_core.errors import UserError
from recsys_core.explain.explainers import exact, shap
from recsys_core.explain.faithfulness import (
    EPSILON,
    FAR,
    Figure,
    Scoreboard,
    correlations,
    fidelity,
    load,
    passed,
    scoreboard,
    verdict,
)
from recsys_core.explain.game import Budget, Credit, Meter
from recsys_core.explain.subject import Subject
from recsys_core.hybrid import Blend, Hybrid
from recsys_core.run import Run
from recsys_core.scorers.base import LinearScorer
from recsys_core.train import train
from recsys_core.whole import seal, unseal

CHEAP = ("exact", "shap", "loo", "popularity", "random")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two taste groups, and a hybrid that is linear in its history."""
    settings = Settings(components=("item_knn", "ease"), control=False)
    return train(random_world(n_items=60, share=0.5), settings, tmp_path_factory.mktemp("faith") / "linear")


@pytest.fixture(scope="module")
def board(run: Run) -> Scoreboard:
    return scoreboard(run, users=40, most=3)


# The gate.


def test_cheap_gate_holds(run: Run) -> None:
    """What the broken ones below differ from."""
    assert verdict(scoreboard(run, users=40, most=3, methods=CHEAP, seeds=1)).passed


def test_gate_holds(board: Scoreboard) -> None:
    told = verdict(board)
    assert told.passed, told.text()
    assert {"exact", "shap", "shap_permutation", "lime", "loo", "popularity", "random"} == set(board.methods)
    assert len(told.checks) == 2 * (1 + 2 * 2)  # del and ins: exact beside the best; two methods beside two floors


def reversed_(method: Callable[[Meter, np.random.Generator], Credit]) -> Callable[[Meter, np.random.Generator], Credit]:
    def explain(meter: Meter, rng: np.random.Generator) -> Credit:
        credit = method(meter, rng)
        return replace(credit, contributions=-credit.contributions)

    return explain


def constant(method: Callable[[Meter, np.random.Generator], Credit]) -> Callable[[Meter, np.random.Generator], Credit]:
    return lambda meter, rng: Credit(np.full(meter.n, 0.1), 0.0)


@pytest.mark.parametrize("broken", [reversed_, constant])
@pytest.mark.parametrize("module", [exact, shap], ids=["exact", "shap"])
def test_broken_explainers_fail_the_gate(run: Run, monkeypatch: pytest.MonkeyPatch, module: object, broken: object) -> None:
    name = module.__name__.rpartition(".")[2]  # type: ignore[attr-defined]
    monkeypatch.setattr(module, "explain", broken(module.explain))  # type: ignore[attr-defined, operator]
    told = verdict(scoreboard(run, users=40, most=3, methods=CHEAP, seeds=1))
    assert not told.passed
    assert all(name in says for says, good in told.checks if not good)


def test_reversed_is_worse_than_random(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact, "explain", reversed_(exact.explain))
    board = scoreboard(run, users=40, most=3, methods=CHEAP, seeds=1)
    assert board.mean("exact", "del", ke=3) > board.mean("random", "del", ke=3)
    assert board.mean("exact", "ins", ke=3) < board.mean("random", "ins", ke=3)


def test_nothing_is_found_where_all_credit_is_random(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (exact, shap):
        monkeypatch.setattr(module, "explain", lambda meter, rng: Credit(rng.random(meter.n), 0.0))
    assert not verdict(scoreboard(run, users=40, most=3, methods=("exact", "shap", "popularity", "random"), seeds=1)).passed


def test_verdict_needs_floors(run: Run) -> None:
    board = scoreboard(run, users=12, most=3, methods=("exact", "random"), seeds=1)
    with pytest.raises(UserError, match=r"no verdict: .* random and popularity"):
        verdict(board)
    assert "no verdict" in board.text()


def test_a_few_users_are_no_evidence(run: Run) -> None:
    """Three users that agree have an interval without width: no verdict, however well it looks."""
    board = scoreboard(run, users=3, most=3, methods=CHEAP, seeds=1)
    assert passed(board) is None
    assert "3 users are too few" in board.text()
    with pytest.raises(UserError, match="judge 10 or more"):
        verdict(board)


def test_who_could_not_be_judged_is_told_with_the_reason(run: Run, board: Scoreboard, tmp_path: Path) -> None:
    assert board.aside.keys() == {"shap_exact", "shap_partition", "ig"}
    assert "too many to enumerate" in board.aside["shap_exact"]
    for name, reason in board.aside.items():
        assert f"not judged: {name}, {reason}" in board.text()
    assert scoreboard(run, users=10, most=3, methods=("exact", "random"), seeds=1).aside == {}  # nobody else was asked


def test_verdict_follows_its_thresholds(board: Scoreboard) -> None:
    """Figures moved just to one side of a threshold and to the other."""
    most = board.settings["most"]
    best, floor = board.mean("exact", "del", ke=most), board.mean("random", "del", ke=most)

    def moved(share: float) -> Scoreboard:
        at = (board.rows.method == "exact") & (board.rows.metric == "del") & (board.rows.ke == most)
        return replace(board, rows=board.rows.assign(mean=board.rows["mean"].mask(at, best + share * (floor - best))))

    assert verdict(moved(0.9 * EPSILON)).passed
    assert not verdict(moved(1.1 * EPSILON)).passed
    near = board.gaps.assign(mean=board.gaps["mean"].mask(board.gaps.method == "shap", 0.9 * FAR * (floor - best)))
    assert not verdict(replace(board, gaps=near)).passed
    assert not verdict(replace(board, gaps=board.gaps.assign(low=-0.01))).passed  # it may be by chance


# Worked out by hand.


class Toy(LinearScorer):
    """score = sum over past items of weights[j, i] / sqrt(size)."""

    def __init__(self, weights: np.ndarray) -> None:
        super().__init__()
        self.weights_ = weights.astype(np.float32)
        self.kept_, self.n_items_ = np.arange(len(weights)), np.array([len(weights)])

    def fit(self, dataset: object, rng: object) -> Toy:  # type: ignore[override]
        return self


def hand_made() -> Subject:
    """Past items 0-5; item 6 has 6 log-odds, all through past item 0; rivals 7-11 have 1-5, a sixth through each past item. The
    bias is -6. Each past item would lead the list if it were not hidden."""
    weights = np.zeros((12, 12))
    weights[0, 6] = 6
    weights[:6, 7:] = np.arange(1, 6) / 6
    weights[:6, :6] = 100
    model = Hybrid({"toy": Toy(weights * np.sqrt(6))}, Blend(("toy",), (0.0,), (1.0,), (1.0,), -6.0), np.zeros(12, bool))
    history = Histories.of([list(range(6))], 12)
    world = dataset_of([(0, 0)], 1, 12)
    return Subject(model, history, history, 6, world.catalog, world.items)


RIGHT, WRONG = np.eye(6)[0], np.eye(6)[5]  # all credit to past item 0, or to 5
KEYS = np.random.default_rng(0).random(6)


def sigmoid(x: float) -> float:
    return float(1 / (1 + np.exp(-x)))


@pytest.mark.parametrize("ke", [1, 2, 5])
def test_figures_by_hand(ke: int) -> None:
    found = fidelity(hand_made(), np.stack([RIGHT, WRONG]), KEYS, ks=(1, 5, 10), most=5)
    right, wrong = ({f: float(v[m]) for f, v in found.items()} for m in (0, 1))
    # Without past item 0 the item is behind its five rivals; with it alone it has all it had.
    assert [right[Figure("pos", k, ke)] for k in (1, 5, 10)] == [0, 0, 1]
    assert [right[Figure("neg", k, ke)] for k in (1, 5, 10)] == [1, 1, 1]
    assert right[Figure("del", 0, ke)] == pytest.approx(sigmoid(-6) / sigmoid(0), rel=1e-5)
    assert right[Figure("ins", 0, ke)] == pytest.approx(sigmoid(0) / sigmoid(0), rel=1e-5)
    assert right[Figure("cndcg", 0, ke)] == pytest.approx(1 / np.log2(1 + 6))
    if ke == 1:  # past item 5 does nothing for the item; among the others a tie decides
        assert [wrong[Figure("pos", k, ke)] for k in (1, 5, 10)] == [1, 1, 1]
        assert wrong[Figure("del", 0, ke)] == pytest.approx(1, rel=1e-5)
        assert wrong[Figure("ins", 0, ke)] == pytest.approx(sigmoid(-6) / sigmoid(0), rel=1e-5)
        assert wrong[Figure("cndcg", 0, ke)] == pytest.approx(1 / np.log2(1 + 1))


def test_seen_filter_is_frozen() -> None:
    about = hand_made()
    rank_6 = fidelity(about, RIGHT[None], KEYS, ks=(1,), most=1)[Figure("cndcg", 0, 1)]
    assert rank_6 == pytest.approx(1 / np.log2(1 + 6))
    thawed = replace(about, hidden=about.history.keep(np.arange(6) != 0))  # what is taken out comes back as a candidate
    rank_7 = fidelity(thawed, RIGHT[None], KEYS, ks=(1,), most=1)[Figure("cndcg", 0, 1)]
    assert rank_7 == pytest.approx(1 / np.log2(1 + 7))


@pytest.mark.parametrize("credit", [np.full(6, 0.5), 0.5 + 1e-14 * np.arange(6)], ids=["equal", "equal up to rounding"])
def test_ties_are_broken_at_random(credit: np.ndarray) -> None:
    draws = np.random.default_rng(0).random((300, 6))
    without = [fidelity(hand_made(), credit[None], keys, ks=(1,), most=1)[Figure("pos", 1, 1)][0] for keys in draws]
    hits = len(draws) - sum(without)  # past item 0 taken out
    assert abs(hits - 300 / 6) < 4 * np.sqrt(300 * 1 / 6 * 5 / 6)


def test_correlations_by_hand() -> None:
    credit = np.array([[[1, 2, 3], [1, 3, 2]], [[3, 2, 1], [3, 2, 1]], [[5, 5, 5], [5, 5, 5]]], float)
    found = correlations(credit)
    assert found[0, 0] == pytest.approx(1 - 6 * (0 + 1 + 1) / (3 * (9 - 1)))  # 1 - 6 sum d^2 / (n (n^2 - 1))
    assert found[1, 1] == pytest.approx(1)
    assert found[0, 1] == pytest.approx((-1 + 1 - 6 * (4 + 1 + 1) / (3 * (9 - 1))) / 2)
    assert np.isnan(found[2]).all()  # equal credit has no order
    assert np.isnan(np.diag(correlations(credit[:, :1]))).all()  # one seed says nothing of stability


# The scoreboard.


def test_rows(board: Scoreboard) -> None:
    assert list(board.rows.columns) == ["method", "metric", "k", "ke", "mean", "low", "high", "n"]
    for method in board.methods:
        rows = board.rows[board.rows.method == method]
        assert (rows.metric == "pos").sum() == (rows.metric == "neg").sum() == 3 * 3  # k = 1, 5, 10; ke = 1, 2, 3
        assert set(rows.metric) == {"pos", "neg", "del", "ins", "cndcg", "stability", "evaluations", "seconds", "cpu_seconds"}
    sure = board.rows.dropna(subset=["mean"])
    assert len(sure) == len(board.rows)
    assert ((sure.low <= sure["mean"] + 1e-12) & (sure["mean"] <= sure.high + 1e-12)).all()
    assert (sure.n == board.settings["users"]).all()
    assert board.text().count("\n") > len(board.methods)


def test_stability_agreement_and_cost(board: Scoreboard) -> None:
    assert board.mean("exact", "stability") == pytest.approx(1)
    assert abs(board.mean("random", "stability")) < 0.2
    assert board.mean("random", "stability") < board.mean("lime", "stability") < 1
    pairs = board.agreement.set_index(["a", "b"])["mean"]
    assert pairs["exact", "shap"] == pytest.approx(1, abs=1e-3)
    assert abs(pairs["exact", "random"]) < 0.2
    assert len(pairs) == len(board.methods) * (len(board.methods) - 1) / 2
    assert board.mean("exact", "evaluations") == 0
    assert board.mean("lime", "evaluations") > 50
    assert board.mean("lime", "seconds") > board.mean("exact", "seconds") > 0


def timeless(board: Scoreboard) -> pd.DataFrame:
    return board.rows[~board.rows.metric.isin(["seconds", "cpu_seconds"])].reset_index(drop=True)


def test_same_seed_same_figures(run: Run) -> None:
    first, again, other = (scoreboard(run, users=10, most=3, seeds=2, seed=seed) for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(timeless(again), timeless(first), check_exact=True)
    for name in ("agreement", "gaps"):
        pd.testing.assert_frame_equal(getattr(again, name), getattr(first, name), check_exact=True)
    assert not np.array_equal(timeless(other)["mean"], timeless(first)["mean"])


def test_save_and_load(run: Run, board: Scoreboard) -> None:
    for name in ("faithfulness.json", "faithfulness.parquet"):
        (run.path / name).unlink(missing_ok=True)
    with pytest.raises(UserError, match="no scoreboard yet"):
        load(run)
    board.save(run)
    found = load(run)
    for name in ("rows", "agreement", "gaps"):
        pd.testing.assert_frame_equal(getattr(found, name), getattr(board, name), check_exact=True)
    assert found.settings == board.settings
    assert not list(run.path.glob("*.part"))
    Run.load(run.path)  # the run is whole with it
    facts = unseal(run.path / "faithfulness.json", "")
    (run.path / "faithfulness.json").write_text(seal(facts | {"sha256": "0"}), "utf-8")
    with pytest.raises(UserError, match="does not belong to"):
        load(run)


def test_an_undefined_figure_survives_saving(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact, "explain", constant(exact.explain))
    board = scoreboard(run, users=5, most=3, methods=CHEAP, seeds=1)
    assert board.agreement["mean"].isna().any()
    board.save(run)
    pd.testing.assert_frame_equal(load(run).agreement, board.agreement, check_exact=True)


def test_save_leaves_the_old_pair_if_it_is_stopped(run: Run, board: Scoreboard, monkeypatch: pytest.MonkeyPatch) -> None:
    board.save(run)
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        scoreboard(run, users=5, most=3, methods=CHEAP, seeds=1).save(run)
    assert load(run).settings == board.settings
    assert not list(run.path.glob("*.part"))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"users": 0}, "users must be 1 or more"),
        ({"k": 0}, "k must be 1 or more"),
        ({"most": 0}, "most must be 1 or more"),
        ({"seeds": 0}, "seeds must be 1 or more"),
        ({"most": 1000}, "most = 1000: no user with 1001 or more past items"),
        ({"methods": ["exac"]}, "exact"),
        ({"methods": ["ig"]}, "ig cannot explain history here"),
    ],
)
def test_bad_input(run: Run, wrong: dict[str, object], says: str) -> None:
    with pytest.raises(UserError, match=says):
        scoreboard(run, **wrong)  # type: ignore[arg-type]


def test_a_model_that_is_not_linear_is_judged_by_shap(tmp_path: Path) -> None:
    """No closed form and too many past items to enumerate: exact is not there, and shap is held to the floors alone."""
    curved = train(checkerboard(40), Settings(components=("user_knn",), control=False), tmp_path / "curved")
    board = scoreboard(curved, users=20, most=3, seeds=2)
    assert "exact" not in board.methods
    assert board.mean("shap", "evaluations") > 20
    assert all("exact" not in says for says, _ in verdict(board).checks)


# Words.


@pytest.fixture(scope="module")
def reading(tmp_path_factory: pytest.TempPathFactory, tiny: str) -> Run:
    """A hybrid of which most reads texts."""
    bert = {"encoder": tiny, "dim": 8, "epochs": 3, "ids": False}
    settings = Settings(components=("popularity", "bert"), control=False, scorers={"bert": bert})
    return train(random_world(n_items=60, share=0.5), settings, tmp_path_factory.mktemp("faith") / "words")


def test_explainers_of_words_are_judged_by_masking_words(reading: Run) -> None:
    board = scoreboard(reading, question="words", users=10, most=2, seeds=2, budget=Budget(20))
    assert {"exact", "shap_partition", "lime", "loo", "ig", "random"} <= set(board.methods)
    assert "popularity" not in board.methods
    assert board.mean("exact", "del", 0, 2) < board.mean("random", "del", 0, 2)
    assert "random" in verdict(board).text()
    board.save(reading)
    assert load(reading, "words").settings["question"] == "words"
    with pytest.raises(UserError, match="no scoreboard yet; make one with: whyrec explain"):
        load(reading)
    with pytest.raises(UserError, match="unknown question of a scoreboard 'attributes'"):
        scoreboard(reading, question="attributes")


def test_masking_the_credited_word_by_hand(reading: Run) -> None:
    """del of one word is the probability of the text without it, as the words game has it, over the one shown."""
    from recsys_core.explain import questions
    from recsys_core.explain.faithfulness import _lists, _sample
    from recsys_core.hybrid import sigmoid

    about = _sample(reading, "words", 1, 2, np.random.default_rng(0))[0]
    game = questions.ask("words", about)
    p = len(game.players)
    credit = np.eye(p)[[1]]  # all to the second word
    found = fidelity(about, credit, np.zeros(p), ks=(1,), most=1, listed=_lists("words", about))
    without = np.ones((1, p), bool)
    without[0, 1] = False
    expected = sigmoid(game.value(without))[0] / sigmoid(about.logit)
    assert abs(found[Figure("del", 0, 1)][0] - expected) < 1e-4
