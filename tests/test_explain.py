"""`whyrec explain` and the calls behind it, on the tiny run: one pair, a list, pairs, the cache, and bad input in one line."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsys_core.cli import main
from recsys_core.errors import UserError
from recsys_core.explain import explainers
from recsys_core.explain.answer import explain, explain_subject, subject
from recsys_core.explain.batch import COLUMNS, explain_list, explain_pairs
from recsys_core.explain.foreign import TableRow, beside
from recsys_core.explain.game import Budget
from recsys_core.recommend import recommend_users
from recsys_core.run import Run


@pytest.fixture
def pair(tiny_run: Run) -> tuple[str, str]:
    """A user with a past, and the first item of this user's list."""
    user = str(tiny_run.dataset.users.ids[int(np.argmax(tiny_run.histories.lengths))])
    return user, str(recommend_users(tiny_run, [user], k=1)["item_id"][0])


def told(*words: str) -> list[str]:
    return ["explain", *words]


def test_json_has_the_promised_keys_and_adds_up(tiny_run: Run, pair: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    user, item = pair
    assert main(told("--run", str(tiny_run.path), "--user", user, "--item", item, "--json")) == 0
    found = json.loads(capsys.readouterr().out)
    promised = "user item question method players contributions base output probability gap fidelity evaluations seconds sentence"
    assert set(promised.split()) <= set(found)
    shown = recommend_users(tiny_run, [user], k=1).iloc[0]
    assert abs(found["base"] + sum(found["contributions"]) - shown["score"]) < 1e-6
    assert abs(found["probability"] - shown["probability"]) < 1e-6
    assert (found["user"], found["item"], found["rank"], found["method"]) == (user, item, 1, "exact")
    assert found["sentence"].startswith("Because you liked")


def test_text_names_the_players_and_how_far_to_trust(
    tiny_run: Run, pair: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    user, item = pair
    base = ("--run", str(tiny_run.path), "--user", user, "--item", item)
    assert main(told(*base, "--question", "components", "--method", "lime", "--language", "zh")) == 0
    out = capsys.readouterr().out
    assert "ease" in out
    assert "components by lime: gap" in out
    assert "R2" in out
    assert "rank 1" in out
    assert "因为您喜欢过" in out


def test_weights_move_the_answer(tiny_run: Run, pair: tuple[str, str]) -> None:
    plain, moved = explain(tiny_run, *pair), explain(tiny_run, *pair, weights={"ease": 0.0, "item_knn": 0.0})
    assert np.abs(plain.contributions).sum() > 0.01
    assert np.allclose(moved.contributions, 0)
    shown = recommend_users(tiny_run, [pair[0]], k=50, weights={"ease": 0.0, "item_knn": 0.0}).set_index("item_id")
    assert abs(moved.output - shown.loc[pair[1], "score"]) < 1e-6


def test_a_list_and_pairs_are_the_single_explanations(tiny_run: Run, pair: tuple[str, str], tmp_path: Path) -> None:
    user, _ = pair
    table = explain_list(tiny_run, user, k=3)
    listed = recommend_users(tiny_run, [user], k=3)
    assert list(table.columns) == COLUMNS
    assert list(dict.fromkeys(table["item_id"])) == listed["item_id"].tolist()
    for item, rows in table.groupby("item_id", sort=False):
        one = explain(tiny_run, user, str(item))
        np.testing.assert_allclose(rows["contribution"], one.frame()["contribution"], atol=1e-9)
        assert abs(rows["base"].iloc[0] + rows["contribution"].sum() - one.output) < 1e-6
    pairs = tmp_path / "pairs.csv"
    listed[["user_id", "item_id"]].to_csv(pairs, index=False)
    out = tmp_path / "why.parquet"
    assert main(told("--run", str(tiny_run.path), "--pairs", str(pairs), "--out", str(out))) == 0
    pd.testing.assert_frame_equal(pd.read_parquet(out), table)
    pd.concat([listed, listed])[["user_id", "item_id"]].to_csv(pairs, index=False)  # a pair that comes twice is answered once
    assert main(told("--run", str(tiny_run.path), "--pairs", str(pairs), "--out", str(out))) == 0
    pd.testing.assert_frame_equal(pd.read_parquet(out), table)


def test_a_batch_says_how_far_to_trust_and_speaks_if_asked(tiny_run: Run, pair: tuple[str, str], tmp_path: Path) -> None:
    user, item = pair
    rows = explain_pairs(tiny_run, [pair], method="lime", budget=Budget(40), seed=3, language="zh")
    one = explain(tiny_run, *pair, method="lime", budget=Budget(40), seed=3, language="zh")
    for name in ("rank", "fidelity", "evaluations", "seed", "sentence", "gap"):
        assert set(rows[name]) == {getattr(one, name)}, name
    sampled = explain_pairs(tiny_run, [pair], question="components", method="shap", budget=Budget(200))
    assert (sampled["standard_error"] >= 0).all()
    assert set(sampled["sentence"]) == {""}
    out = tmp_path / "why.csv"
    assert main(told("--run", str(tiny_run.path), "--user", user, "--top", "--language", "en", "--out", str(out))) == 0
    assert explain(tiny_run, user, item).sentence in set(pd.read_csv(out)["sentence"])


def test_a_printed_list_is_short_and_speaks_first(
    tiny_run: Run, pair: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    user, item = pair
    assert main(told("--run", str(tiny_run.path), "--user", user, "--top", "--k", "2", "--language", "en")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{user}, {item}: {explain(tiny_run, user, item).sentence}"
    assert lines[2].split() == ["user_id", "item_id", "rank", "label", "contribution", "base", "output"]


def test_a_pair_without_players_keeps_its_row(tiny_run: Run, pair: tuple[str, str]) -> None:
    """A user whose likes are all gone: the list is the popular one, and a table must not lose the pair."""
    user, item = pair
    (row,) = tiny_run.dataset.users.codes([user])
    bare, past = Run.load(tiny_run.path), tiny_run.histories
    vars(bare)["histories"] = past.keep(np.repeat(np.arange(len(past)) != row, past.lengths))
    (only,) = explain_pairs(bare, [(user, item)], language="en").to_dict("records")
    assert (only["user_id"], only["item_id"], only["player"], only["contribution"]) == (user, item, "", 0.0)
    assert only["base"] == only["output"]
    assert only["sentence"]


def test_the_numbers_behind_the_sentence_are_in_the_json(
    tiny_run: Run, pair: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(told("--run", str(tiny_run.path), "--user", pair[0], "--item", pair[1], "--json")) == 0
    found = json.loads(capsys.readouterr().out)
    first = found["clauses"][0]
    assert first["kind"] == "history"
    assert f"{first['value']:.0%}" in found["sentence"]
    assert set(first["players"]) <= set(found["players"])
    share = {p: max(c, 0) for p, c in zip(found["players"], found["contributions"], strict=True)}
    assert abs(first["value"] - sum(share[p] for p in first["players"]) / sum(share.values())) < 1e-9


@pytest.mark.parametrize("question", ["components", "history", "attributes"])
def test_every_question_in_a_batch(question: str, tiny_run: Run, pair: tuple[str, str]) -> None:
    table = explain_pairs(tiny_run, [pair], question=question, method="shap")
    assert (table["gap"].abs() < 1e-6).all()


def test_what_was_sampled_is_kept_and_read_back(
    tiny_run: Run, pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = explain(tiny_run, *pair, method="lime", budget=Budget(50))
    again = explain(tiny_run, *pair, method="lime", budget=Budget(50))
    assert (first.cached, again.cached) == (False, True)
    assert (first.contributions == again.contributions).all()
    assert first.seconds == again.seconds
    changes = [{"budget": Budget(60)}, {"seed": 1, "budget": Budget(50)}, {"weights": {"ease": 0.3}, "budget": Budget(50)}]
    for change in changes:
        assert not explain(tiny_run, *pair, method="lime", **change).cached  # type: ignore[arg-type]
    assert not explain(tiny_run, *pair, method="lime", budget=Budget(50), refresh=True).cached
    for _ in range(2):  # what a time limit may have cut is not kept
        assert not explain(tiny_run, *pair, method="lime", budget=Budget(70, seconds=9)).cached
    files = [file for file in (tmp_path / "cache" / "explanations").rglob("*") if file.is_file()]
    assert files
    for file in files:
        file.write_text("{", encoding="utf-8")
    assert not explain(tiny_run, *pair, method="lime", budget=Budget(50)).cached  # a damaged file is made again


def test_models_that_are_brought_are_never_taken_for_each_other(tiny_run: Run, pair: tuple[str, str], tmp_path: Path) -> None:
    """Two tables of one score for the item: under one key the second would be told what was found of the first."""
    about = subject(tiny_run, *pair)
    for name in ("one", "two"):
        scorer = TableRow(np.arange(len(tiny_run.dataset.items), dtype=np.float32))
        model = beside(tiny_run.model, name, scorer, tiny_run.histories, 0.5)
        told = explain_subject(tiny_run, replace(about, model=model), question="components", method="shap")
        assert name in told.players
        assert not told.cached
    assert not (tmp_path / "cache" / "explanations").exists()


def test_no_sentence_is_made_of_a_floor(tiny_run: Run, pair: tuple[str, str]) -> None:
    exact = explain(tiny_run, *pair).sentence
    for floor in explainers.FLOORS:
        assert explain(tiny_run, *pair, method=floor).sentence == exact


def test_closed_forms_need_no_cache(tiny_run: Run, pair: tuple[str, str], tmp_path: Path) -> None:
    explain(tiny_run, *pair)
    assert not (tmp_path / "cache" / "explanations").exists()


def test_a_table_of_scores_is_one_more_component(
    tiny_run: Run, pair: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    user, item = pair
    other = next(i for i in tiny_run.dataset.items.ids if i != item)
    table = tmp_path / "mine.csv"
    table.write_text(f"user_id,item_id,score\n{user},{item},3\n{user},{other},1\n", encoding="utf-8")
    base = ("--run", str(tiny_run.path), "--user", user, "--item", item, "--question", "components", "--json")
    assert main(told(*base, "--external", f"mine={table}", "--weights", "mine=0.5")) == 0
    found = json.loads(capsys.readouterr().out)
    parts = dict(zip(found["players"], found["contributions"], strict=True))
    assert abs(parts["mine"] - 0.5 * (3 - 2) / 1) < 1e-6  # mean 2, deviation 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--item", "ITEM"], "--item needs --user"),
        (["--user", "USER"], "give one of --item, --top, --pairs FILE or --scoreboard"),
        (["--user", "USER", "--item", "ITEM", "--top"], "give one of"),
        (["--user", "nobody", "--item", "ITEM"], "unknown user 'nobody'"),
        (["--user", "USER", "--item", "nothing"], "unknown item 'nothing'"),
        (["--user", "USER", "--item", "ITEM", "--question", "histry"], "Did you mean 'history'"),
        (["--user", "USER", "--item", "ITEM", "--method", "shapp"], "unknown explainer 'shapp'"),
        (["--user", "USER", "--item", "ITEM", "--method", "ig"], "ig cannot explain history"),
        (["--user", "USER", "--item", "ITEM", "--question", "words"], "reads the text of item"),
        (["--user", "USER", "--item", "ITEM", "--budget", "1"], "2 evaluations or more"),
        (["--user", "USER", "--item", "ITEM", "--weights", "ease=x"], "not a number"),
        (["--user", "USER", "--item", "ITEM", "--language", "fr"], "unknown language 'fr'"),
        (["--user", "USER", "--item", "ITEM", "--external", "mine"], "write it NAME=FILE"),
        (["--user", "USER", "--item", "ITEM", "--external", "mine=none.csv"], "none.csv"),
        (["--user", "USER", "--item", "ITEM", "--out", "x.csv"], "--out is for --top, --pairs"),
        (["--user", "USER", "--top", "--html", "x.html"], "--html is for --item; leave it out with --top"),
        (["--user", "USER", "--top", "--what-if"], "--what-if is for --item"),
        (["--user", "USER", "--top", "--users", "3"], "--users is for --scoreboard"),
        (["--user", "USER", "--top", "--out", "x.csv", "--json"], "--out and --json are two ways"),
        (["--user", "USER", "--top", "--out", "x.txt"], "must end in .csv or .parquet"),
        (["--user", "USER", "--top", "--language", "fr"], "unknown language 'fr'"),
        (["--user", "USER", "--item", "ITEM", "--html", "x.html", "--json"], "--html and --json are two ways"),
        (["--user", "USER", "--item", "ITEM", "--k", "3"], "add --what-if"),
        (["--user", "USER", "--item", "ITEM", "--budget", "1000001"], "more than 1,000,000"),
        (["--scoreboard", "--method", "shap"], "--method is for --item, --top, --pairs; leave it out"),
        (["--scoreboard", "--user", "USER"], "--user is for --item, --top; leave it out"),
        (["--pairs", "none.csv", "--user", "USER"], "--user is for --item, --top; leave it out"),
        (["--pairs", "none.csv"], "none.csv"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    words: list[str], says: str, tiny_run: Run, pair: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    filled = [dict(zip(("USER", "ITEM"), pair, strict=True)).get(w, w) for w in words]
    assert main(told("--run", str(tiny_run.path), *filled)) == 2
    err = capsys.readouterr().err
    assert says in err
    assert len(err.strip().splitlines()) == 1


def test_what_nobody_can_score_is_said(tiny_run: Run, pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    about = subject(tiny_run, *pair)
    for scorer in tiny_run.model.components.values():
        monkeypatch.setattr(type(scorer), "prior", lambda self, items: np.full(len(items), np.nan, np.float32))
    with pytest.raises(UserError, match="no component can score item"):
        explain(tiny_run, *pair)
    assert about.item >= 0


def test_hostile_titles_stay_text(hostile_run: Run) -> None:
    user = str(hostile_run.dataset.users.ids[int(np.argmax(hostile_run.histories.lengths))])
    item = str(recommend_users(hostile_run, [user], k=1)["item_id"][0])
    page = explain(hostile_run, user, item)._repr_html_()
    assert "<script" not in page.lower()


def test_what_if_and_a_report_that_opens_offline(
    tiny_run: Run, pair: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    user, item = pair
    base = ("--run", str(tiny_run.path), "--user", user, "--k", "2", "--what-if")
    assert main(told(*base, "--item", item)) == 0
    assert "to leave the top 2: " in capsys.readouterr().out
    last = str(recommend_users(tiny_run, [user], k=99)["item_id"].iloc[-1])
    assert main(told(*base, "--item", last, "--json")) == 0
    lacking = json.loads(capsys.readouterr().out)["what_if"]["why not"]
    assert lacking["state"] == "below"
    assert "candidates are better" in lacking["told"]
    met = str(tiny_run.dataset.items.ids[tiny_run.hidden[tiny_run.dataset.users.codes([user])].items[0]])
    assert main(told(*base, "--item", met)) == 0
    assert "it has been met" in capsys.readouterr().out
    page = tmp_path / "why.html"
    assert main(told(*base, "--item", item, "--html", str(page))) == 0
    text = page.read_text(encoding="utf-8")
    assert "Why is" in text
    assert len(text.encode()) < 5_000_000
    assert "http://" not in text.split("<script")[0]


def test_the_scoreboard_is_kept_in_the_run(tiny_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from recsys_core.explain.faithfulness import load

    run = Run.load(Path(shutil.copytree(tiny_run.path, tmp_path / "judged")))
    assert main(told("--run", str(run.path), "--scoreboard", "--users", "8", "--budget", "40")) == 0
    out = capsys.readouterr().out
    assert "exact" in out
    assert "verdict" in out
    assert set(load(run).methods) >= {"exact", "random", "popularity", "lime"}
