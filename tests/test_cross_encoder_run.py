"""A run with the pair model: what it costs to judge, that it is the same again, and what its report says of the short-lists."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from worlds import random_world

from recsys_core.config import Settings
from recsys_core.data import Dataset
from recsys_core.evaluate import Report, evaluate, roc_auc
from recsys_core.ranking import hide, top_k
from recsys_core.run import Run
from recsys_core.scorers import cross_encoder
from recsys_core.splits import TEST
from recsys_core.train import train

JUDGES, LONG, PAIRS, EPOCHS = 15, 6, 80, 2


def settings(tiny: str, **more: Any) -> Settings:
    pairs = {"lr": 3e-3, "max_pairs": PAIRS, "epochs": EPOCHS, "batch_size": 16, "candidates": LONG, "judges": JUDGES}
    scorers = {"cross_encoder": {"encoder": tiny, **pairs, **more}, "bert": {"encoder": tiny, "epochs": 2, "dim": 8}}
    return Settings(components=("popularity", "ease", "bert", "cross_encoder"), device="cpu", scorers=scorers)


def world() -> Dataset:
    return random_world(n_users=120)


def counted(tiny: str, out: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Run, int]:
    """A trained run, and how many pairs the network has scored for it."""
    asked: list[int] = []
    fresh = cross_encoder.Model._score_texts
    with monkeypatch.context() as m:
        m.setattr(
            cross_encoder.Model, "_score_texts", lambda s, pasts, items: (asked.append(len(items)), fresh(s, pasts, items))[1]
        )
        m.setattr(cross_encoder, "_scores", {})
        return train(world(), settings(tiny), out), sum(asked)


@pytest.fixture(scope="module")
def trained(tiny: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, int]:
    with pytest.MonkeyPatch.context() as m:
        m.setenv("WHYREC_CACHE", str(tmp_path_factory.mktemp("cache")))
        return counted(tiny, tmp_path_factory.mktemp("runs") / "a", m)


@pytest.fixture(scope="module")
def report(trained: tuple[Run, int]) -> Report:
    report = evaluate(trained[0], k=10)
    report.save(trained[0])
    return report


def test_a_pair_is_scored_once_and_few_users_judge(trained: tuple[Run, int]) -> None:
    run, scored = trained
    dev = PAIRS // 4 * EPOCHS
    assert JUDGES * LONG <= scored <= JUDGES * LONG + dev  # the control, too, asks for the same pairs
    assert len(run.candidates) == run.metrics["valid"]["users"] == JUDGES
    judges = run.metrics["valid"]["judges"]
    assert judges["cross_encoder"] == JUDGES < judges["ease"]
    assert f"| {JUDGES} |" in (run.path / "card.md").read_text()


def test_the_network_is_trained_once_and_its_epochs_are_kept(trained: tuple[Run, int]) -> None:
    lines = [line for line in trained[0].epochs if line["component"] == "cross_encoder"]
    assert [set(line) for line in lines] == [{"component", "epoch", "loss", "metric", "value"}] * EPOCHS
    assert {line["metric"] for line in lines} == {"auc"}


def test_same_seed_same_bytes(trained: tuple[Run, int], tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    again, _ = counted(tiny, tmp_path / "b", monkeypatch)
    assert again.manifest["files"] == trained[0].manifest["files"]
    assert "history.jsonl" in again.manifest["files"]


def test_a_loaded_run_scores_the_same(trained: tuple[Run, int], monkeypatch: pytest.MonkeyPatch) -> None:
    run = trained[0]
    scores = []
    for again in (run, Run.load(run.path)):
        monkeypatch.setattr(cross_encoder, "_scores", {})
        scores.append(again.model.z(run.histories, hidden=run.hidden))
    assert scores[0].tobytes() == scores[1].tobytes()
    c = run.model.names.index("cross_encoder")
    assert (np.isfinite(scores[0][:, :, c]).sum(axis=1) <= LONG).all()
    assert np.isnan(scores[0][run.hidden.rows, run.hidden.items, c]).all()


def test_short_lists_are_what_a_linear_model_of_the_known_likes_finds(trained: tuple[Run, int]) -> None:
    run = trained[0]
    found = run.model.components["cross_encoder"].shortlist(run.histories, run.hidden)
    assert found is not None
    ease, popular = (top_k(hide(run.model.components[n].score(run.histories), run.hidden), LONG) for n in ("ease", "popularity"))
    shared = [np.mean([len(set(a) & set(b)) for a, b in zip(found, other, strict=True)]) for other in (ease, popular)]
    assert shared[0] > shared[1] + 0.5


def test_the_report_has_the_auc_on_short_lists(trained: tuple[Run, int], report: Report) -> None:
    run = trained[0]
    scorer = run.model.components["cross_encoder"]
    truth = run.dataset.subset(run.split.rows(TEST)).likes()
    users = np.flatnonzero(truth.lengths)
    scores = scorer.score_beyond(run.histories[users], run.hidden[users])
    there, liked = np.isfinite(scores), truth[users].csr().toarray() > 0
    facts = json.loads((run.path / "report.json").read_text())["short_lists"]["cross_encoder"]
    assert facts["auc"] == pytest.approx(roc_auc_score(liked[there], scores[there]), abs=1e-4)
    assert facts["pairs"] == there.sum()
    assert facts["likes"] == (liked & there).sum()
    rows = report.rows.set_index(["model", "metric"])
    assert rows.loc[("cross_encoder", "short_list_auc"), "mean"] == pytest.approx(facts["auc_by_user"])
    assert np.isfinite(rows.loc[("cross_encoder", "ndcg"), "mean"])  # full ranking: what has no score is behind
    assert "cross_encoder on its short-lists" in report.text()
    assert set(report.short_lists) == {"cross_encoder"}


def test_auc_counts_ties_half_and_needs_both_kinds() -> None:
    nan = np.nan
    scores = np.array([[3, 1, 2, nan], [1, 1, nan, nan], [1, 2, 3, 4], [nan] * 4], np.float32)
    liked = np.array([[0, 1, 0, 1], [1, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]], bool)
    np.testing.assert_array_equal(roc_auc(scores, liked), [0.0, 0.5, nan, nan])
