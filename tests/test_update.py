"""Updating a run: exact where it can be, no look at what judges, the old run untouched, whole or nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from worlds import dataset_of, random_world

from recsys_core import update as core
from recsys_core.cli import main
from recsys_core.config import Settings
from recsys_core.data import Dataset, Histories, Interactions, Vocabulary
from recsys_core.errors import UserError
from recsys_core.run import Run, checksums, find_runs
from recsys_core.scorers import scorer_class
from recsys_core.splits import TEST, TRAIN, UNUSED, VALID, Split
from recsys_core.train import train

CLOSED = ("popularity", "item_knn", "ease", "next_item", "user_knn", "cold")
LATE = 2_000_000  # after every event of `random_world`


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory, tiny: str) -> Run:
    quick: dict[str, dict[str, Any]] = {
        "bert": {"encoder": tiny, "dim": 8, "epochs": 4},
        "cold": {"encoder": tiny, "device": "cpu"},
        "factors": {"dim": 8},
        "popularity": {"half_life": 0.2},
    }
    settings = Settings(components=(*CLOSED, "factors", "bert"), control=False, tune=False, scorers=quick)
    return train(random_world(), settings, tmp_path_factory.mktemp("update") / "a")


def table_of(run: Run) -> pd.DataFrame:
    """New events: a new user, known users on new pairs, item 39 that nobody has met; and one pair of each awkward kind."""
    data, e = run.dataset, run.dataset.interactions
    rows = [("fresh", f"i{n}", 5, LATE + n) for n in (0, 2, 4)] + [("u0", "i39", 5, LATE), ("u2", "i39", 4, LATE)]
    met = {(u, i) for u, i in zip(e.user.tolist(), e.item.tolist(), strict=True)}
    for user in (1, 3, 5, 7):
        rows += [(f"u{user}", f"i{i}", 4, LATE + i) for i in range(40) if (user, i) not in met and i % 2][:3]
    first = {part: int(np.flatnonzero(run.split.part == part)[0]) for part in (TRAIN, VALID, TEST)}
    for row, when in ((first[TRAIN], LATE), (first[VALID], 0), (first[TEST], LATE)):
        user, item = data.users.ids[e.user[row]], data.items.ids[e.item[row]]
        rows.append((user, item, 1 if e.value[row] > 2 else 5, when))
    rows.append(("fresh", "i0", 4, LATE + 99))  # again: the latest wins
    return pd.DataFrame(rows, columns=["uid", "item_id", "stars", "time"])


@pytest.fixture(scope="module")
def made(old: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    file = tmp_path_factory.mktemp("new") / "new.csv"
    table_of(old).to_csv(file, index=False)
    return core.update(old, core.from_file(old, file, {"user_id": "uid", "value": "stars"}), old.path.parent / "b")


def enlarged(run: Run) -> Dataset:
    """What the updated model may know, put together another way: row by row, by ids."""
    data, e = run.dataset, run.dataset.interactions
    known = np.isin(run.split.part, (TRAIN, VALID))
    held = {(int(u), int(i)) for u, i in zip(e.user[~known], e.item[~known], strict=True)}
    events = {(int(e.user[n]), int(e.item[n])): (float(e.value[n]), int(e.time[n])) for n in np.flatnonzero(known)}
    users = [*data.users.ids, "fresh"]
    for row in table_of(run).itertuples():
        pair = (users.index(row.uid), list(data.items.ids).index(row.item_id))
        if pair not in held and row.time >= events.get(pair, (0, -1))[1]:
            events[pair] = (float(row.stars), row.time)
    u, i = (np.array([p[n] for p in events], np.int32) for n in (0, 1))
    v, t = np.array([v for v, _ in events.values()], np.float32), np.array([t for _, t in events.values()])
    return replace(data, users=Vocabulary.of(users), interactions=Interactions(u, i, v, t))


@pytest.mark.parametrize("name", CLOSED)
def test_closed_forms_are_what_a_full_refit_gives(old: Run, made: Run, name: str) -> None:
    data = enlarged(old)
    fitted = scorer_class(name)(old.model.components[name].config).fit(data, np.random.default_rng(0))
    histories = data.histories()
    expected, found = fitted.score(histories), made.model.components[name].score(histories)
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-12)
    before = old.model.components[name].score(histories)
    assert not np.allclose(before, expected, rtol=1e-4, equal_nan=True)  # the new events matter


def test_what_came_in_is_counted_and_lies_where_it_should(old: Run, made: Run) -> None:
    facts, table = made.manifest["update"], table_of(old)
    events = facts["events"]
    assert events["rows"] == len(table) == events["added"] + 4  # but the two old pairs, the tested one and the repeated one
    counted = {k: events[k] for k in ("changed", "older", "left_out", "repeated", "same", "new_users")}
    assert counted == {"changed": 1, "older": 1, "left_out": 1, "repeated": 1, "same": 0, "new_users": 1}
    pd.testing.assert_frame_equal(part(made, TEST), part(old, TEST))
    pd.testing.assert_frame_equal(part(made, VALID), part(old, VALID))
    assert len(part(made, TRAIN)) == len(part(old, TRAIN)) + events["added"]
    fresh = made.dataset.users.codes(["fresh"])[0]
    mine = made.dataset.interactions[made.dataset.interactions.user == fresh]
    assert dict(zip(mine.item.tolist(), mine.value.tolist(), strict=True)) == {0: 4.0, 2: 5.0, 4: 5.0}
    assert made.dataset.fingerprint != old.dataset.fingerprint == facts["parent_fingerprint"]
    assert facts["parent"] == "a"
    assert len(facts["sources"][0]["sha256"]) == 64
    assert set(made.manifest["seconds"]) == {"total", *old.settings.components}
    assert "1 left out" in (made.path / "card.md").read_text(encoding="utf-8")
    assert old.model.cold[39]
    assert not made.model.cold[39]
    assert made.model.blend == old.model.blend
    assert made.candidates.z.tobytes() == old.candidates.z.tobytes()


def part(run: Run, label: int) -> pd.DataFrame:
    e = run.dataset.interactions[run.split.rows(label)]
    return pd.DataFrame({"user": run.dataset.users.ids[e.user], "item": run.dataset.items.ids[e.item], "value": e.value})


def test_the_same_seed_gives_the_same_bytes_and_the_old_run_stays(
    old: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "new.csv"
    table_of(old).to_csv(file, index=False)
    incoming = core.from_file(old, file, {"user_id": "uid", "value": "stars"})
    files = []
    for name in ("b", "c"):
        monkeypatch.setenv("WHYREC_CACHE", str(tmp_path / f"cache {name}"))  # each reads its texts anew
        files.append(core.update(old, incoming, tmp_path / name).manifest["files"])
    assert files[0] == files[1]
    assert checksums(old.path) == old.manifest["files"]
    with pytest.raises(UserError, match="exists"):
        core.update(old, incoming, tmp_path / "b")
    with pytest.raises(UserError, match="--epochs 0"):
        core.update(old, incoming, tmp_path / "d", epochs=0)
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


KILLED = """
import os, signal, sys
from pathlib import Path
from recsys_core import update as core
from recsys_core.run import Run
core.churn = lambda *a: os.kill(os.getpid(), signal.SIGKILL)  # when the components are fitted and nothing is written
run = Run.load(Path(sys.argv[1]))
core.update(run, core.from_file(run, Path(sys.argv[2]), {"user_id": "uid", "value": "stars"}), Path(sys.argv[3]))
"""


def test_a_kill_leaves_no_half_run(tiny_run: Run, tmp_path: Path) -> None:
    file, out = tmp_path / "new.csv", tmp_path / "b"
    ids = [("new", item, 5, LATE + n) for n, item in enumerate(tiny_run.dataset.items.ids[:4])]
    pd.DataFrame(ids, columns=["uid", "item_id", "stars", "time"]).to_csv(file, index=False)
    done = subprocess.run([sys.executable, "-c", KILLED, str(tiny_run.path), str(file), str(out)], env=os.environ, check=False)
    assert done.returncode == -signal.SIGKILL
    assert not out.exists()
    assert find_runs(tmp_path) == []
    incoming = core.from_file(tiny_run, file, {"user_id": "uid", "value": "stars"})
    assert core.update(tiny_run, incoming, out).manifest["update"]["events"]["added"] == 4
    assert find_runs(tmp_path) == [out]


def test_judging_sees_nothing_of_what_it_asks_for(old: Run, made: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "new.csv"
    table_of(old).to_csv(file, index=False)
    merged = core.merge(old, core.from_file(old, file, {"user_id": "uid", "value": "stars"}))
    out = core.held_back(merged)
    e = merged.dataset.interactions[out]
    names = dict(zip(merged.dataset.users.ids[e.user], merged.dataset.items.ids[e.item], strict=True))
    assert names["fresh"] == "i0"  # the last of three by its latest time
    assert set(names) == {"fresh", "u1", "u3", "u5", "u7"}  # u0 and u2 bring one like each
    seen: list[Dataset] = []
    renew = core.renew
    monkeypatch.setattr(core, "renew", lambda model, data, *rest: seen.append(data) or renew(model, data, *rest))
    found = core.judge(old, merged)
    assert len(seen) == 1
    pairs = {*zip(seen[0].interactions.user.tolist(), seen[0].interactions.item.tolist(), strict=True)}
    tested = merged.dataset.interactions[merged.split.rows(TEST)]
    for hidden in (e, tested):
        assert not pairs & {*zip(hidden.user.tolist(), hidden.item.tolist(), strict=True)}
    assert len(pairs) == int(merged.known.sum()) - 5
    assert found["users"] == 5
    by = found["ndcg"]
    assert by["after - before"]["mean"] == pytest.approx(by["after"] - by["before"])
    assert found == made.metrics["update"]["judged"]


def test_held_out_and_set_aside_pairs_by_hand() -> None:
    data = dataset_of([(0, 0), (0, 1), (0, 2), (1, 3)], 2, 5, times=[10, 20, 30, 40])
    run = world_run(data, [TRAIN, TEST, UNUSED, VALID])
    events = Interactions(
        *(np.array(c, np.int32) for c in ([0, 0, 0, 1, 1], [0, 1, 2, 3, 4])), np.ones(5, np.float32), np.full(5, 50)
    )
    merged = core.merge(run, core.Incoming(events, data.users, {"rows": 5}, ()))
    assert {k: merged.counts[k] for k in ("added", "same", "left_out")} == {"added": 1, "same": 2, "left_out": 2}
    assert merged.split.part.tolist() == [TRAIN, TEST, UNUSED, VALID, TRAIN]
    assert merged.dataset.interactions.time.tolist() == [10, 20, 30, 40, 50]
    assert core._after_the_test(merged) == 0  # user 1 has no test
    late = Interactions(np.zeros(1, np.int32), np.full(1, 4, np.int32), np.ones(1, np.float32), np.full(1, 50))
    assert core._after_the_test(core.merge(run, core.Incoming(late, data.users, {"rows": 1}, ()))) == 1
    with pytest.raises(UserError, match="nothing to bring in"):
        core.merge(run, core.Incoming(events[:4], data.users, {"rows": 4}, ()))


def world_run(data: Dataset, labels: list[int]) -> Run:
    run = Run(Path("none"), {})
    vars(run).update(dataset=data, split=Split(np.array(labels, np.int8), "leave-last", timed=True))
    return run


def test_places_and_latest_by_hand() -> None:
    assert core._places(np.array([7, 3, 7]), np.array([3, 7, 5, 9])).tolist() == [1, 2, -1, -1]
    assert core._places(np.zeros(0, np.int64), np.array([3])).tolist() == [-1]
    e = Interactions(np.zeros(4, np.int32), np.array([1, 1, 2, 1], np.int32), np.ones(4, np.float32), np.array([5, 9, 1, 9]))
    assert core._latest(e, 3).tolist() == [2, 3]
    assert core.next_name(Path("x/a")) == Path("x/a-2")
    assert core.next_name(Path("x/a-2")) == Path("x/a-3")


def test_factors_go_on_where_they_were(old: Run) -> None:
    """On the same data n sweeps and then m are n + m sweeps."""
    data, cls = random_world(), scorer_class("factors")
    fits = [cls(cls.Config(dim=8, sweeps=n)).fit(data, np.random.default_rng(0)) for n in (2, 5)]
    bytes_before = fits[0].item_vectors_.tobytes()
    on = fits[0].renew(data, np.random.default_rng(0), 3)
    histories = data.histories()
    np.testing.assert_allclose(on.score(histories), fits[1].score(histories), rtol=1e-3, atol=1e-4)
    assert np.nanmax(np.abs(fits[0].score(histories) - fits[1].score(histories))) > 1e-2
    assert fits[0].item_vectors_.tobytes() == bytes_before
    torch = cls(cls.Config(dim=8, solver="torch", steps=5)).fit(data, np.random.default_rng(0))
    assert np.isfinite(torch.renew(data, np.random.default_rng(0), 1).score(histories)[:, :-1]).all()


def test_bert_takes_its_towers_back_and_learns_on(old: Run, made: Run) -> None:
    model: Any = old.model.components["bert"]
    liked = np.bincount(old.histories.items, minlength=40) > 0
    heads = model._heads(liked)
    z = (model.text_vectors_ - heads["shift_"]) @ heads["whiten_"]
    items = z @ heads["item_weight_"] + heads["item_ids_"]
    np.testing.assert_allclose(items[liked], model.item_vectors_[liked], atol=1e-5)
    np.testing.assert_allclose((items @ heads["centre_"] + heads["bias_ids_"])[liked], model.bias_[liked], atol=1e-5)
    assert not heads["item_ids_"][39].any()  # nobody had liked it: its text alone
    after: Any = made.model.components["bert"]
    assert after.text_vectors_.tobytes() == model.text_vectors_.tobytes()
    assert np.abs(after.item_vectors_ - model.item_vectors_).max() > 1e-3
    frozen: Any = scorer_class("bert")(replace(model.config, tune="frozen")).fit(old.known, np.random.default_rng(0))
    assert frozen.renewal.startswith("kept")
    assert frozen.renew(made.known, np.random.default_rng(0), 3).item_vectors_.tobytes() == frozen.item_vectors_.tobytes()


def test_an_updated_run_can_be_updated(made: Run, tmp_path: Path) -> None:
    file = tmp_path / "more.csv"
    file.write_text(f"user_id,item_id,value,time\nfresh,i6,5,{LATE + 200}\n")
    third = core.update(made, core.from_file(made, file), tmp_path / "c")
    assert third.manifest["update"]["generation"] == 2
    assert third.manifest["update"]["judged"] == {"users": 0}
    assert "not judged" in (third.path / "card.md").read_text(encoding="utf-8")
    assert third.histories.lengths[-1] == 4


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("user_id,item_id,value,time\nu0,i0,4,1\nu1,x9,4,1\nu1,x8,4,1\n", ("row 3, item_id", "'x9', 'x8'", "train anew")),
        ("user_id,item_id,time\nu0,i0,1\n", ("no column 'value'", "--map value=COLUMN")),
        ("user_id,item_id,value\nu0,i0,4\n", ("no column 'time'", "--map time=COLUMN")),
        ("user_id,item_id,value,time\nu0,i0,much,1\n", ("row 2, value", "'much'")),
        ("user_id,item_id,value,time\nu0,,4,1\n", ("row 2, item_id", "empty")),
        ("uid,item_id,value,time\nu0,i0,4,1\n", ("user_id", "uid")),
    ],
)
def test_bad_files_are_told_in_one_line(
    old: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, words: Any
) -> None:
    file, out = tmp_path / "bad.csv", tmp_path / "x"
    file.write_text(text)
    assert main(["update", "--run", str(old.path), "--interactions", str(file), "--out", str(out)]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    for word in ("bad.csv", *words):
        assert word in line
    assert not list(tmp_path.glob("*x*"))


def said(rows: list[tuple[str, str, str, str]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["user", "item", "reaction", "time"])


def test_reactions_become_events_by_hand() -> None:
    data = dataset_of([(0, 0), (0, 1), (1, 2)], 2, 4, values=[5, 2, 1], threshold=4)
    run = world_run(data, [TRAIN] * 3)
    clock = [f"2024-01-01T00:00:0{n}+00:00" for n in range(1, 5)]
    told = [("u0", "i2", "like"), ("u0", "i2", "dislike"), ("z", "i3", "like"), ("u1", "gone", "like")]
    frame = said([(*row, when) for row, when in zip(told, clock, strict=True)])
    found = core.from_feedback(run, frame)
    assert list(found.users.ids) == ["u0", "u1", "z"]
    assert found.events.value.tolist() == [2, 4]  # 2: the highest known value below the threshold
    assert found.events.time.tolist() == [1704067202, 1704067203]
    assert found.counts == {"rows": 4, "repeated": 1, "other_items": 1, "unusable": 0}
    plain = world_run(replace(data, threshold=None), [TRAIN] * 3)
    implicit = core.from_feedback(plain, frame)
    assert implicit.counts == {"rows": 4, "repeated": 0, "other_items": 1, "unusable": 1}
    assert implicit.events.value.tolist() == [1, 1]
    file = core.Incoming(
        Interactions(*(np.array([0], np.int32),) * 2, np.ones(1, np.float32), np.array([9])), data.users, {"rows": 1}, ()
    )
    both = file.then(found, 4)
    assert len(both.events) == 3
    assert both.counts["rows"] == 5


def test_the_command_takes_file_and_feedback(
    tiny_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = str(tiny_run.path)
    reacted = said([("u01", "s9", "dislike", "1"), ("visitor", "h1", "like", "2"), ("visitor", "h2", "like", "3")])
    monkeypatch.setattr(core, "feedback_events", lambda *a: reacted if a == (tiny_run.path.parent, "tiny") else None)
    (tmp_path / "new.csv").write_text("user_id,item_id,rating,time\nguest,h3,5,1704000000\n")
    argv = ["--run", run, "--interactions", str(tmp_path / "new.csv"), "--feedback", "--out", str(tmp_path / "b")]
    assert main(["update", *argv, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["events"]["rows"] == 4
    assert found["events"]["new_users"] == 2
    assert [s["file"] for s in found["sources"]] == ["new.csv", "feedback"]
    assert main(["recommend", "--run", str(tmp_path / "b"), "--users", "visitor", "--k", "2"]) == 0
    capsys.readouterr()
    assert main(["update", "--run", run]) == 2
    assert "--interactions FILE, --feedback or both" in capsys.readouterr().err
    assert main(["update", "--run", run, "--feedback", "--map", "value=x"]) == 2
    assert main(["update", *argv[:4], "--out", str(tmp_path / "c")]) == 0
    text = capsys.readouterr().out
    assert "1 rows came in: 1 new events (1 likes), 1 new users" in text
    assert "ease: fitted anew, exact" in text


def test_the_last_word_counts_and_no_feedback_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    steps = [("a", "like"), ("a", "dislike"), ("b", "like"), ("b", "undo"), ("c", "like"), ("c", "click")]
    table = pd.DataFrame([("u", item, reaction, str(n)) for n, (item, reaction) in enumerate(steps)])
    log = table.set_axis(["user_id", "item_id", "reaction", "time"], axis=1)

    class Kept:
        @staticmethod
        def file_of(runs: Path) -> Path:
            return runs / "kept.sqlite"

        @staticmethod
        def rows(path: Path, name: str, **where: str) -> pd.DataFrame:
            return log if (name, where) == ("reaction", {"data": "films"}) else log[:0]

    monkeypatch.setattr(core.importlib, "import_module", lambda name: Kept)
    with pytest.raises(UserError, match="not there; nobody has liked"):
        core.feedback_events(tmp_path, "films")
    (tmp_path / "kept.sqlite").touch()
    found = core.feedback_events(tmp_path, "films")
    assert found.to_numpy().tolist() == [["u", "a", "dislike", "1"], ["u", "c", "like", "4"]]
    run = world_run(dataset_of([(0, 0)], 1, 2), [TRAIN])
    empty = core.from_feedback(run, core.feedback_events(tmp_path, "other"))
    with pytest.raises(UserError, match="nothing to bring in: 0 rows"):
        core.merge(run, empty)


def test_lists_of_no_users_are_empty(tiny_run: Run) -> None:
    nobody = Histories.of([], len(tiny_run.dataset.items))
    assert core.lists(tiny_run.model, nobody, nobody, 3).shape == (0, 3)
