"""Training: whole or nothing, resumable, repeatable; nothing is tuned on test."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from worlds import random_world

from recsys_core import learn, metrics
from recsys_core.candidates import Candidates
from recsys_core.config import Settings, dump_settings, load_settings
from recsys_core.data import Catalog, Histories, Interactions
from recsys_core.errors import UserError
from recsys_core.evaluate import compare, evaluate, models_of
from recsys_core.opened import times_opened
from recsys_core.ranking import marked, top_k
from recsys_core.recommend import recommend
from recsys_core.run import SCHEMA, Run, find_runs
from recsys_core.splits import TEST
from recsys_core.train import shuffle_texts, train
from recsys_core.whole import seal, unseal

QUICK = Settings(components=("popularity", "item_knn", "ease"), control=False)
NO_TEXT = {"cold": {"title": 0.0, "text": 0.0}}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(random_world(), QUICK, tmp_path_factory.mktemp("runs") / "a")


def artefacts(path: Path) -> dict[str, str]:
    return Run.load(path).manifest["files"]


def test_a_run_holds_what_it_promises(run: Run) -> None:
    assert not list(run.path.parent.glob(".*"))  # no workshop is left
    for name in ("config.toml", "manifest.json", "metrics.json", "card.md", "history.jsonl", "data/dataset.json", "split.npy"):
        assert (run.path / name).is_file()
    assert find_runs(run.path.parent) == [run.path]
    assert not [p for p in run.path.rglob("*") if p.suffix in (".pkl", ".pickle", ".pt", ".bin")]
    assert load_settings(run.path / "config.toml", []) == run.settings


def test_card_numbers_are_those_of_the_metrics_file(run: Run) -> None:
    card = (run.path / "card.md").read_text()
    assert f"| hybrid | {run.metrics['valid']['hybrid']:.4f} |" in card
    assert f"{run.metrics['split']['test']:,} test" in card


def test_same_seed_same_bytes_and_another_seed_differs(run: Run, tmp_path: Path, tiny: str) -> None:
    settings = replace(QUICK, components=("ease", "bert"), scorers={"bert": {"encoder": tiny, "epochs": 4, "dim": 8}})
    first, second = (train(random_world(), settings, tmp_path / name) for name in "ab")
    assert [line["epoch"] for line in first.epochs] == [1, 2, 3, 4]
    files = {p.relative_to(first.path).as_posix() for p in first.path.rglob("*") if p.is_file()}
    assert {n for n in files if (first.path / n).read_bytes() != (second.path / n).read_bytes()} == {"manifest.json"}
    other = train(random_world(), Settings(components=QUICK.components, control=False, seed=1), tmp_path / "c")
    assert other.manifest["files"]["split.npy"] != run.manifest["files"]["split.npy"]


def test_the_model_never_saw_a_test_like(run: Run) -> None:
    tested = run.dataset.interactions[run.split.rows(TEST)]
    known = run.histories.csr()
    assert not known[tested.user, tested.item].any()


def test_an_existing_run_is_not_overwritten(run: Run) -> None:
    with pytest.raises(UserError, match="exists; choose another --out"):
        train(random_world(), QUICK, run.path)


def test_nothing_to_resume_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing to resume"):
        train(random_world(), QUICK, tmp_path / "x", resume=True)


CHILD = """
import sys, time
from pathlib import Path
from worlds import random_world
from recsys_core.config import Settings
from recsys_core.train import train
def say(line):
    print(line, flush=True)
    time.sleep(0.4)
s = Settings(components=("popularity", "item_knn", "ease"), control=False)
train(random_world(), s, Path(sys.argv[1]), say=say, resume=len(sys.argv) > 2)
"""


@pytest.mark.parametrize("after", ["popularity", "ease", "weights"])
def test_killed_training_leaves_no_run_and_resumes_to_the_same_bytes(run: Run, tmp_path: Path, after: str) -> None:
    out = tmp_path / "k"
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(out)], stdout=subprocess.PIPE, text=True, env=env)
    assert child.stdout is not None
    for line in child.stdout:
        if line.startswith(after):
            break
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not out.exists()
    assert find_runs(tmp_path) == []
    with pytest.raises(UserError, match="nothing to resume"):
        train(random_world(seed=9), QUICK, out, resume=True)  # other data
    lines: list[str] = []
    train(random_world(), QUICK, out, resume=True, say=lines.append)
    assert artefacts(out) == artefacts(run.path)


def test_two_trainings_into_one_run_are_refused(tmp_path: Path) -> None:
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path / "k")], stdout=subprocess.PIPE, text=True, env=env)
    assert child.stdout is not None
    child.stdout.readline()
    with pytest.raises(UserError, match="being trained by another process"):
        train(random_world(), QUICK, tmp_path / "k")
    child.kill()
    child.wait()


def test_a_changed_missing_or_newer_run_is_refused_by_name(tmp_path: Path) -> None:
    path = train(random_world(), QUICK, tmp_path / "a").path
    blend = path / "blend" / "blend.json"
    whole = blend.read_text()
    blend.write_text(whole.replace("0", "1", 1))
    with pytest.raises(UserError, match=r"blend\.json: changed"):
        Run.load(path)
    blend.unlink()
    with pytest.raises(UserError, match=r"blend\.json: missing"):
        Run.load(path)
    blend.write_text(whole)
    manifest = path / "manifest.json"
    written = manifest.read_text()
    for schema, fix in ((99, "a newer one"), (0, "train the run again")):
        manifest.write_text(seal(unseal(manifest, "") | {"schema": schema}))
        with pytest.raises(UserError, match=rf"a/manifest\.json: run schema {schema}, this version reads {SCHEMA}; .*{fix}"):
            Run.load(path)
    manifest.write_text(written)
    Run.load(path)
    with pytest.raises(UserError, match="no such folder"):
        Run.load(tmp_path / "none")


def test_weights_are_found_that_beat_the_best_component(run: Run) -> None:
    store = run.candidates
    best = max(learn.ndcg_of(np.nan_to_num(store.z[:, :, c], nan=-9), store, 10).mean() for c in range(3))
    assert learn.ndcg_of(store.logit(run.model.blend), store, 10).mean() >= best - 1e-9


def noisy_store(seed: int, users: int = 60, m: int = 40) -> Candidates:
    """Two components see a third of what makes a like, each through noise of its own; four see nothing."""
    rng = np.random.default_rng(seed)
    signal = rng.normal(size=(users, m, 1))
    z = np.concatenate([signal + 1.5 * rng.normal(size=(users, m, 2)), rng.normal(size=(users, m, 4))], axis=2)
    relevant = rng.random((users, m)) < 1 / (1 + np.exp(3 - 1.5 * signal[:, :, 0]))
    items, none = np.tile(np.arange(m), (users, 1)), np.zeros((users, m), bool)
    return Candidates(np.arange(users), items, z.astype(np.float32), relevant, none, relevant.sum(axis=1), none)


def test_weights_of_few_users_are_nearer_the_truth_than_one_search() -> None:
    """The truth: half and half, nothing for noise. On shuffled likes there is none, and no component is held for it."""
    truth, gain, lost = np.array([0.5, 0.5, 0, 0, 0, 0]), [], []
    for seed in range(6):
        store = noisy_store(seed)
        ours, one = learn.rank_weights(store, 30), learn.search_weights(store, 30, bags=1)
        assert (ours >= 0).all()
        assert ours.sum() == pytest.approx(1)
        assert (learn.rank_weights(store, 30) == ours).all()  # the same data, the same weights
        gain.append(np.abs(one - truth).sum() - np.abs(ours - truth).sum())
        likes = np.random.default_rng(seed).permuted(store.relevant, axis=1)
        lost.append(learn.rank_weights(replace(store, relevant=likes), 30)[:2].sum())
    assert np.mean(gain) > 0.05
    assert np.mean(lost) < 0.6


def test_nobody_to_judge_gives_equal_weights() -> None:
    store = noisy_store(0)
    silent = replace(store, relevant=np.zeros_like(store.relevant), n_relevant=np.zeros_like(store.n_relevant))
    assert learn.rank_weights(silent, 30).tolist() == [1 / 6] * 6


def test_calibration_keeps_the_ranking_and_meets_the_hit_rate() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=5000)
    hit = rng.random(5000) < 1 / (1 + np.exp(-(2 * x - 1)))
    slope, bias = learn._logistic(x[:, None], hit)
    assert slope[0] == pytest.approx(2, abs=0.2)
    assert bias == pytest.approx(-1, abs=0.1)
    far, _ = learn._logistic(1000 * x[:, None] ** 3, hit)  # heavy tails and a large scale: no overshoot
    assert 0 < far[0] < 1
    assert learn._logistic(-x[:, None], hit)[0][0] >= 0  # never turns a ranking round


def test_shuffled_texts_are_the_same_texts_elsewhere() -> None:
    data = random_world()
    shuffled = shuffle_texts(data, QUICK)
    assert sorted(shuffled.catalog.texts) == sorted(data.catalog.texts)
    assert shuffled.catalog.texts != data.catalog.texts


def test_report_counts_openings_and_pairs_users(run: Run, tmp_path: Path) -> None:
    path = train(random_world(), QUICK, tmp_path / "a").path
    opened = Run.load(path)
    assert times_opened(opened) == 0
    for n in (1, 2):
        report = evaluate(opened, k=10, segments=["activity"])
        report.save(opened)
        assert times_opened(opened) == n
    models = set(report.rows.model)
    assert models == {"hybrid", *QUICK.components, *(f"without {c}" for c in QUICK.components)}
    assert set(report.rows.columns) >= {"model", "metric", "k", "segment", "mean", "low", "high", "n"}
    hybrid, popular = (report.per_user[f"{m}:ndcg"] for m in ("hybrid", "popularity"))
    gap = report.differences.set_index("model").loc["popularity", "mean"]
    assert gap == pytest.approx((hybrid - popular).mean())
    assert report.mean("hybrid", "ndcg") > report.mean("popularity", "ndcg")
    assert {s.partition("=")[0] for s in report.rows.segment} == {"all", "activity"}
    with pytest.raises(UserError, match="unknown segment 'gnder'"):
        evaluate(opened, k=10, segments=["gnder"])


def test_hiding_only_likes_is_another_and_lower_figure(run: Run) -> None:
    """The convention moves the score more than any model does, so a report must say it."""
    met, liked = (evaluate(run, k=10, hide_as=h) for h in ("met", "liked"))
    assert met.mean("hybrid", "ndcg") > liked.mean("hybrid", "ndcg")
    assert met.convention["hidden"] != liked.convention["hidden"]


def test_a_test_file_with_known_pairs_is_refused(run: Run) -> None:
    e = run.known.interactions
    with pytest.raises(UserError, match="were trained on"):
        evaluate(run, k=5, test=Interactions(e.user[:1], e.item[:1], e.value[:1], None))


def test_runs_of_one_test_set_are_compared_and_others_refused(run: Run, tmp_path: Path) -> None:
    small = train(random_world(), Settings(components=("popularity",), control=False), tmp_path / "p")
    before = times_opened(run)
    table = compare([run, small], k=10)
    assert table["test_opened"].tolist() == [before + 1, 1] == [times_opened(r) for r in (run, small)]
    assert table["mean"].iloc[0] == 0
    assert table["mean"].iloc[1] < 0
    other = train(random_world(), Settings(components=("popularity",), control=False, seed=3), tmp_path / "q")
    with pytest.raises(UserError, match="judges other test likes"):
        compare([run, other], k=10)
    evaluate(small, k=10).save(small)
    compare([small, small], k=10)
    facts = json.loads((small.path / "report.json").read_text())
    assert facts["test_opened"] == 4  # once compared, evaluated, and compared with itself
    assert facts["calibration"]["table"]  # what the evaluation wrote is still there
    assert times_opened(other) == 0


def test_models_without_a_component_have_weights_of_their_own(run: Run) -> None:
    models = models_of(run)
    assert models["without ease"][1].names == ("popularity", "item_knn")


def test_settings_say_what_is_wrong() -> None:
    for assignment, fix in [
        ("componets=ease", "Did you mean 'components'"),
        ("ease.rg=3", "Did you mean 'reg'"),
        ("components=eas", "Did you mean 'ease'"),
        ("ease.reg=big", "must be float"),
        ("k", "write key=value"),
        ("split=rnd", "unknown split 'rnd'"),
        ("k=0", "must be 1 or more"),
    ]:
        with pytest.raises(UserError, match=fix):
            load_settings(None, [assignment]).scorer_config("ease")


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[1] / "configs").glob("*.toml")), ids=lambda p: p.stem)
def test_shipped_configs_load_and_the_default_is_the_default(path: Path) -> None:
    settings = load_settings(path, [])
    for name in settings.components:
        settings.scorer_config(name)
    assert (settings == Settings()) == (path.stem == "default")


def test_the_device_reaches_the_scorers_that_have_one() -> None:
    settings = Settings(device="cpu", scorers={"cold": {"device": "auto"}})
    assert settings.scorer_config("bert").device == "cpu"
    assert settings.scorer_config("cold").device == "auto"


def test_what_is_set_by_hand_stays(tmp_path: Path) -> None:
    settings = Settings(components=("ease",), control=False, scorers={"ease": {"reg": 7.0}})
    path = train(random_world(), settings, tmp_path / "a").path
    assert Run.load(path).settings.scorer_config("ease").reg == 7.0
    assert "reg = 7.0" in dump_settings(Run.load(path).settings)


def test_somebody_without_a_history_gets_what_is_most_popular(tiny_run: Run) -> None:
    """And nothing that nobody has met; what reads histories is not available, and the list adds up."""
    nothing = Histories.of([[]], len(tiny_run.dataset.items))
    found = recommend(tiny_run.model, nothing, nothing, k=5)
    fame = tiny_run.model.components["popularity"].score(nothing)[0]
    assert found.items[0].tolist() == top_k(np.nan_to_num(fame[None], nan=-np.inf), 5)[0].tolist()
    assert not tiny_run.model.cold[found.items[0]].any()
    reads = [n for n, name in enumerate(tiny_run.model.names) if name != "popularity"]
    assert np.isnan(found.parts[0][:, reads]).all()
    np.testing.assert_allclose(found.base[0] + np.nansum(found.parts[0], axis=1), found.logit[0], atol=1e-6)
    known = recommend(tiny_run.model, tiny_run.histories[[0]], tiny_run.hidden[[0]], k=5)
    assert np.isfinite(known.parts[0]).any(axis=0).all()


def test_a_report_judges_the_lists_that_are_served(tmp_path: Path) -> None:
    """Those of somebody without a history as well, which would begin with the item that nobody has met."""
    world = random_world()
    kinds = [(("robots", "love")[i % 2],) for i in range(len(world.items))]
    world = replace(world, catalog=Catalog(world.catalog.frame.assign(kind=kinds)))
    tested = (world.interactions.user == 0) | (np.arange(len(world.interactions)) % 7 == 0)
    settings = Settings(components=("popularity", "ease", "cold"), control=False, cold_boost=5.0, scorers=NO_TEXT)
    found = train(world.subset(~tested), settings, tmp_path / "a", test=world.interactions[tested])
    users = np.flatnonzero(found.dataset.subset(found.split.rows(TEST)).likes().lengths)
    assert not found.histories.lengths[users[0]]
    assert found.model.cold.any()
    served = recommend(found.model, found.histories[users], found.hidden[users], k=10).items
    truth = found.dataset.subset(found.split.rows(TEST)).likes()[users]
    ndcg = metrics.ndcg(marked(served, truth.csr().toarray() > 0), truth.lengths)
    np.testing.assert_allclose(evaluate(found, k=10).per_user["hybrid:ndcg"], ndcg)
