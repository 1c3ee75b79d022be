"""Feedback in one file: nothing is lost with many writers, an undo is a row, what is forgotten is gone; figures by hand."""

from __future__ import annotations

import csv
import io
import multiprocessing
import os
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import HOSTILE

from dashboard.tables import safe_csv
from recsys_core import browse, feedback
from recsys_core.cli import main
from recsys_core.data import Histories
from recsys_core.errors import UserError
from recsys_core.explain import answer
from recsys_core.explain.answer import explain
from recsys_core.feedback import Verdict
from recsys_core.run import Run

ONE = Verdict("a", "u01", "i1", "wrong", "no", "Title", ("history by exact",), {"ease": 0.5}, 3, 0.25)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.feedback.sqlite"


def write(path: Path, who: int) -> None:
    for n in range(50):
        if n % 2:
            feedback.record(path, replace(ONE, user=f"p{who}", item=str(n)))
        else:
            feedback.react(path, data="d", run="a", user=f"p{who}", item=str(n), reaction="like")


def test_round_trip_of_a_verdict(path: Path) -> None:
    number = feedback.record(path, ONE)
    (row,) = feedback.verdicts(path).to_dict("records")
    told = {"id": number, "run": "a", "user_id": "u01", "item_id": "i1", "verdict": "wrong", "note": "no", "title": "Title"}
    told |= {"shown": '["history by exact"]', "weights": '{"ease": 0.5}', "rank": 3, "probability": 0.25, "author": ""}
    assert {**row, **told} == row
    assert row["time"].endswith("+00:00")
    assert abs((pd.Timestamp.now("UTC") - pd.Timestamp(row["time"])).total_seconds()) < 60


def test_four_processes_lose_nothing(path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=write, args=(path, who)) for who in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(240)
    assert [writer.exitcode for writer in writers] == [0] * 4
    for table in ("verdict", "reaction"):
        found = feedback.rows(path, table)
        assert found["id"].tolist() == list(range(1, 101))
        assert found.groupby("user_id").size().to_dict() == {f"p{who}": 25 for who in range(4)}
    with sqlite3.connect(path) as base:
        assert base.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


def test_reading_makes_no_file(path: Path) -> None:
    assert feedback.verdicts(path).empty
    assert feedback.reactions(path, "u", data="d") == {}
    assert feedback.export(path).empty
    assert feedback.forget(path, "u") == {"verdict": 0, "reaction": 0}
    assert not list(path.parent.iterdir())


@pytest.mark.parametrize("note", [*HOSTILE, "'; DROP TABLE verdict; --", "é 中文 \x00 end", "=HYPERLINK", "x" * feedback.LONGEST])
def test_any_text_is_kept_as_it_is(path: Path, note: str) -> None:
    feedback.record(path, replace(ONE, note=note, user=note, item=note))
    assert feedback.verdicts(path, user_id=note)["note"].tolist() == [note]
    assert feedback.verdicts(path, user_id="x' OR '1'='1").empty


def test_what_cannot_be_kept_is_told(path: Path) -> None:
    with pytest.raises(UserError, match=r"note has 2,001 letters"):
        feedback.record(path, replace(ONE, note="x" * (feedback.LONGEST + 1)))
    with pytest.raises(UserError, match="unknown verdict 'good'"):
        feedback.record(path, replace(ONE, verdict="good"))
    with pytest.raises(UserError, match="unknown reaction 'love'"):
        feedback.react(path, data="d", run="a", user="u", item="i", reaction="love")
    assert not path.exists()


def test_withdraw_is_a_row_and_the_last_word_of_an_author_counts(path: Path) -> None:
    first, second = feedback.record(path, ONE), feedback.record(path, ONE)
    feedback.withdraw(path, first)
    assert feedback.verdicts(path)["id"].tolist() == [second]
    assert feedback.rows(path, "verdict")["verdict"].tolist() == ["wrong", "wrong", "withdrawn"]
    for number in (99, 3):
        with pytest.raises(UserError, match="none of this number"):
            feedback.withdraw(path, number)
    ann = replace(ONE, author="ann")
    mine = [feedback.record(path, ann), feedback.record(path, replace(ann, verdict="sense"))]
    assert feedback.verdicts(path)["id"].tolist() == [mine[1], second]
    with pytest.raises(UserError):
        feedback.withdraw(path, mine[1])  # nobody's, not Ann's
    feedback.withdraw(path, mine[1], "ann")
    assert feedback.verdicts(path)["id"].tolist() == [mine[0], second]


def test_net_reactions(path: Path) -> None:
    told = [("a", "like"), ("b", "dislike"), ("a", "click"), ("c", "like"), ("b", "undo"), ("a", "dislike"), ("d", "click")]
    for item, reaction in told:
        feedback.react(path, data="d", run="r", user="u", item=item, reaction=reaction)
    feedback.react(path, data="other", run="r", user="u", item="z", reaction="like")
    net = feedback.reactions(path, "u", data="d")
    assert list(net.items()) == [("c", "like"), ("a", "dislike")]
    assert len(feedback.rows(path, "reaction")) == len(told) + 1


# Files that are not ours.


def foreign(path: Path) -> None:
    with sqlite3.connect(path) as base:
        base.execute("CREATE TABLE verdict (id)")


def newer(path: Path) -> None:
    feedback.record(path, ONE)
    with sqlite3.connect(path) as base:
        base.execute(f"PRAGMA user_version = {feedback.SCHEMA + 1}")


def torn(path: Path) -> None:
    for _ in range(200):
        feedback.record(path, replace(ONE, note="n" * 200))
    with sqlite3.connect(path) as base:
        base.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * 8192 + whole[12288:])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda p: p.write_bytes(b"not a database, but long enough to look at" * 99), "damaged or not a feedback file"),
        (foreign, "another program"),
        (newer, "schema 2, this version reads 1"),
        (torn, "damaged"),
        (Path.mkdir, "not a plain file"),
        (os.mkfifo, "not a plain file"),  # SQLite waited for ever
    ],
)
def test_a_spoiled_file_is_one_line(path: Path, spoil, said: str) -> None:
    spoil(path)
    for use in (feedback.verdicts, lambda p: [feedback.record(p, ONE) for _ in range(2)] and feedback.verdicts(p)):
        with pytest.raises(UserError, match=said) as told:
            use(path)
        assert str(path) in str(told.value)
        assert "\n" not in str(told.value)


def test_an_empty_file_becomes_ours(path: Path) -> None:
    path.touch()
    assert feedback.verdicts(path).empty
    assert feedback.record(path, ONE) == 1


# Counting.


def said(*rows: tuple[str, str, str]) -> pd.DataFrame:
    """(item, verdict, author)"""
    facts = [{"id": n, "run": "r", "user_id": "u", "item_id": i, "verdict": v, "author": a} for n, (i, v, a) in enumerate(rows)]
    return pd.DataFrame(facts)


def test_agreement_by_hand() -> None:
    found = said(
        *[("1", "sense", ""), ("1", "sense", ""), ("1", "wrong", "")],  # 1 of 3 comparisons agrees
        *[("2", "sense", ""), ("2", "sense", "")],  # 1 of 1
        ("3", "wrong", ""),  # nobody to agree with
    )
    agreed = feedback.agreement(found)
    assert (agreed.n_pairs, agreed.n_comparisons) == (2, 4)
    assert agreed.share == pytest.approx((1 + 1) / 4)
    mean, chance = (1 / 3 + 1) / 2, (4 / 5) ** 2 + (1 / 5) ** 2
    assert agreed.fleiss == pytest.approx((mean - chance) / (1 - chance))
    assert np.isnan(agreed.cohen)


def test_cohen_by_hand_needs_two_names() -> None:
    rows = [("1", "sense", "wrong"), ("2", "sense", "sense"), ("3", "wrong", "wrong"), ("4", "sense", "sense")]
    both = [(i, v, who) for i, a, b in rows for v, who in ((a, "ann"), (b, "bob"))]
    agreed = feedback.agreement(said(*both, ("5", "wrong", "ann")))
    chance = (3 / 4) * (2 / 4) + (1 / 4) * (2 / 4)
    assert agreed.cohen == pytest.approx((3 / 4 - chance) / (1 - chance))
    assert agreed.n_cohen == 4
    assert np.isnan(feedback.agreement(said(*both, ("5", "wrong", "eve"))).cohen)


def test_undefined_is_not_zero() -> None:
    same = feedback.agreement(said(("1", "sense", "ann"), ("1", "sense", "bob")))
    assert same.share == 1
    assert np.isnan(same.fleiss)
    assert np.isnan(same.cohen)
    none = feedback.agreement(said(("1", "sense", "")))
    assert none.n_pairs == 0
    assert np.isnan(none.share)


def test_share_of_sense_by_hand() -> None:
    share, low, high, n = feedback.sense(said(("1", "sense", ""), ("2", "sense", ""), ("3", "sense", ""), ("4", "wrong", "")))
    z, p = 1.959963984540054, 3 / 4
    middle, half = (p + z**2 / 8) / (1 + z**2 / 4), z / (1 + z**2 / 4) * (p * (1 - p) / 4 + z**2 / (4 * 16)) ** 0.5
    assert (share, n) == (p, 4)
    assert (low, high) == pytest.approx((middle - half, middle + half))


# What a reaction does.


def test_applied_by_hand() -> None:
    row, hidden = Histories.of([[2, 0, 5]], 8), Histories.of([[0, 2, 5, 6]], 8)  # oldest first; 6 was met
    made, gone = feedback.applied(row, hidden, [7, 0], [2, 3], timed=True)
    assert made.items.tolist() == [0, 5, 7]  # 2 is disliked; 0 was liked already; 7 is the latest
    assert made.ages.tolist() == [2, 1, 0]
    assert made.full_sizes.tolist() == [3]
    assert gone.items.tolist() == [0, 2, 3, 5, 6, 7]
    same, _ = feedback.applied(row, hidden, [], [], timed=True)
    assert (same.items.tolist(), same.ages.tolist()) == (row.items.tolist(), row.ages.tolist())


def test_a_list_after_likes_is_that_of_the_longer_history(tiny_run: Run) -> None:
    user = "u01"
    (code,) = tiny_run.dataset.users.codes([user], "user")
    plain = browse.user_list(tiny_run, browse.person(tiny_run, user), tiny_run.model.blend, k=5)
    likes, bad = list(plain.frame["item_id"][[1, 3]]), plain.frame["item_id"][0]
    person = feedback.reacted(tiny_run, user, likes, [bad])
    found = browse.user_list(tiny_run, person, tiny_run.model.blend, k=5).frame
    assert not set(found["item_id"]) & {*likes, bad}
    past = tiny_run.histories[[code]]
    order = np.argsort(-past.ages, kind="stable")
    longer = Histories(  # by hand: what the row held, and the likes as its latest events
        np.array([0, len(past.items) + 2]),
        np.r_[past.items[order], tiny_run.dataset.items.codes(likes)].astype(np.int32),
        np.r_[past.values[order], 1, 1].astype(np.float32),
        np.r_[past.ages[order] + 2, 1, 0].astype(np.float32),
        past.n_items,
    )
    scores = tiny_run.model.score(longer)[0]
    scores[[*tiny_run.hidden[[code]].items, *tiny_run.dataset.items.codes([*likes, bad])]] = -np.inf
    best = np.argsort(-scores, kind="stable")[:5]
    assert found["item_id"].tolist() == tiny_run.dataset.items.ids[best].tolist()
    np.testing.assert_allclose(found["logit"], scores[best], atol=1e-4)
    known = str(tiny_run.dataset.items.ids[past.items[0]])
    assert known not in tiny_run.dataset.items.ids[feedback.reacted(tiny_run, user, [], [known]).row.items]


def test_queue_is_seeded_and_leaves_out_what_is_done(tiny_run: Run, path: Path) -> None:
    first = feedback.queue(tiny_run, feedback.verdicts(path), 4)
    pd.testing.assert_frame_equal(first, feedback.queue(tiny_run, feedback.verdicts(path), 4))
    assert (first["rank"] == 1).all()
    assert first["user_id"].is_unique
    done = first.iloc[1]
    feedback.record(path, replace(ONE, run="tiny", user=done["user_id"], item=done["item_id"]))
    after = feedback.queue(tiny_run, feedback.verdicts(path, run="tiny"), 4)
    assert after["user_id"].tolist()[:3] == first["user_id"].drop(1).tolist()
    everything = feedback.queue(tiny_run, feedback.verdicts(path, run="tiny"), 10_000)
    assert len(everything) == int((tiny_run.histories.lengths > 0).sum()) - 1


# Forgetting and the command line.


@pytest.fixture
def runs(tiny_run: Run, tmp_path: Path) -> Path:
    shutil.copytree(tiny_run.path.parent, tmp_path / "runs")
    return tmp_path / "runs"


def bytes_of(folder: Path) -> bytes:
    return b"".join(p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file())


def test_forget_leaves_no_byte(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("WHYREC_CACHE", str(cache))
    run, path = Run.load(runs / "tiny"), feedback.file_of(runs)
    for user, mark in (("u01", "token-of-one"), ("u02", "token-of-two")):
        for n in range(40):
            feedback.record(path, replace(ONE, run="tiny", user=user, note=f"{mark} {n}"))
        item = str(browse.user_list(run, browse.person(run, user), run.model.blend, k=1).frame["item_id"][0])
        feedback.react(path, data=run.dataset.name, run="tiny", user=user, item=item, reaction="like")
        explain(run, user, item, method="shap")
        person = feedback.reacted(run, user, [item], [])
        about = answer.subject_of(run, person.row, person.hidden, 0)
        answer.explain_subject(run, about, user=user, method="shap")
    held = [p for p in tmp_path.glob("runs.feedback*")]
    assert all(mark in b"".join(p.read_bytes() for p in held) for mark in (b"token-of-one", b"token-of-two", b"u01"))
    before = {p: p.read_bytes() for p in cache.rglob("*.json")}
    (cache / "explanations" / "of-an-earlier-version.json").write_text("{}")
    assert len(before) == 4
    assert main(["forget", "--runs", str(runs), "--user", "u01"]) == 0
    assert "user u01: removed 40 verdicts, 1 reactions, 3 kept explanations" in capsys.readouterr().out
    left = b"".join(p.read_bytes() for p in tmp_path.glob("runs.feedback*"))
    assert b"token-of-one" not in left
    assert b"u01" not in left
    assert b"token-of-two" in left
    assert len([*cache.rglob("*.json")]) == 2
    gone = [text for file, text in before.items() if not file.exists()]
    assert all(text not in bytes_of(cache) for text in gone)
    assert len(feedback.verdicts(path, user_id="u02")) == 40
    assert main(["forget", "--runs", str(runs), "--user", "u01"]) == 0
    assert "removed 0 verdicts, 0 reactions, 0 kept" in capsys.readouterr().out


def test_a_damaged_run_does_not_keep_anybody(runs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys) -> None:
    monkeypatch.setenv("WHYREC_CACHE", str(tmp_path / "cache"))
    path, item = feedback.file_of(runs), str(Run.load(runs / "tiny").dataset.items.ids[0])
    feedback.record(path, replace(ONE, run="tiny", user="u01"))
    explain(Run.load(runs / "tiny"), "u01", item, method="loo")
    shutil.copytree(runs / "tiny", runs / "a-broken-one")
    (runs / "a-broken-one" / "manifest.json").write_text("{")
    assert main(["forget", "--runs", str(runs), "--user", "u01"]) == 2
    told = capsys.readouterr()
    assert "removed 1 verdicts, 0 reactions, 1 kept explanations" in told.out
    assert "a-broken-one" in told.err
    assert len(told.err.splitlines()) == 1
    assert not len(feedback.verdicts(path, user_id="u01"))


def test_forget_takes_effect_while_somebody_reads(path: Path) -> None:
    feedback.record(path, replace(ONE, note="secret-note"))
    reader = sqlite3.connect(path, isolation_level=None)
    assert reader.execute("SELECT COUNT(*) FROM verdict").fetchone() == (1,)  # open, with no transaction
    assert feedback.forget(path, "u01") == {"verdict": 1, "reaction": 0}
    assert b"secret-note" not in b"".join(p.read_bytes() for p in path.parent.iterdir())
    reader.close()


def test_command_counts_and_exports(runs: Path, tmp_path: Path, capsys) -> None:
    path = feedback.file_of(runs)
    cells = ["=HYPERLINK(1)", "+1", "-1", "@x", "\tx", "\rx", 'fine, "quoted"\nline']
    for note in cells:
        feedback.record(path, replace(ONE, user=note, note=note, title=note))
    feedback.react(path, data="d", run="a", user="u", item="i", reaction="like")
    assert main(["feedback", "--runs", str(runs), "--export", str(tmp_path / "f.csv")]) == 0
    out = capsys.readouterr().out
    assert f"a: 0 sense, 0 confusing, {len(cells)} wrong" in out
    assert "reactions: 1 like, 0 dislike, 0 click, 0 undo" in out
    with (tmp_path / "f.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(cells) + 1
    assert [r["note"] for r in rows[:-1]] == [f"'{c}" for c in cells[:-1]] + cells[-1:]
    assert not [
        c for row in rows for name in ("user_id", "title", "note") for c in [row[name]] if c[:1] in set("=+-@\t\r") - {""}
    ]
    assert main(["feedback", "--runs", str(runs), "--export", str(tmp_path / "f.txt")]) == 2
    assert "must end in .csv" in capsys.readouterr().err


def test_empty_export_is_a_header(path: Path) -> None:
    assert next(csv.reader(io.StringIO(safe_csv(feedback.export(path)))))[0] == "kind"
