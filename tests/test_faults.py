"""Faults: a kill at any moment, a full disk, a folder that cannot be written to, a clock that goes back, a flipped byte."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import QUICK
from faults import CASES, REPORT, TINY, kill, leftovers, make_world, moments, refused, start, undisturbed
from worlds import random_world

from recsys_core import feedback, opened, text
from recsys_core import update as updating
from recsys_core.cli import main
from recsys_core.data import Histories, histories_of
from recsys_core.errors import UserError, of_the_disk
from recsys_core.explain import faithfulness
from recsys_core.explain.answer import explain
from recsys_core.readers import load_dataset
from recsys_core.run import Run, find_runs
from recsys_core.train import train
from recsys_core.whole import about, unseal, writing
from recsys_core.workshop import workshop


@pytest.fixture(scope="module")
def world(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Never written to; `copy` is."""
    return make_world(tmp_path_factory.mktemp("world"), tiny_run)


@pytest.fixture
def copy(world: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(world, tmp_path / "copy"))


# Kills.


def struck(name: str, world: Path, folder: Path, n: int) -> None:
    case = CASES[name]
    good, seconds = undisturbed(case, world, folder)
    for after in moments(np.random.default_rng(), seconds, n):
        kill(case, Path(shutil.copytree(world, folder / "now")), good, after)
        shutil.rmtree(folder / "now")


@pytest.mark.parametrize(("name", "n"), [("train", 2), ("update", 2), ("recommend", 1), ("feedback --export", 1)])
def test_what_is_killed_is_whole_or_not_there(name: str, n: int, world: Path, tmp_path: Path) -> None:
    struck(name, world, tmp_path, n)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_fifty_kills(name: str, world: Path, tmp_path: Path) -> None:
    struck(name, world, tmp_path, 50)


@pytest.mark.parametrize("half", ["topk.csv", "new.csv"])
def test_the_check_of_kills_can_fail(half: str, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A half table under its own name, and a table that was there before and is lost."""

    class Dead:
        exitcode = -9

        def join(self, seconds: float = 0) -> None:
            (now / half).write_text("user_id,it")

        kill = join

    now = Path(shutil.copytree(world, tmp_path / "now"))
    monkeypatch.setattr("faults.start", lambda words: Dead())
    with pytest.raises(AssertionError, match="half" if half == "topk.csv" else "no business"):
        kill(CASES["recommend"], now, world, 0)


# Writing.


def test_writing_is_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a[1]" / "t.csv"
    with writing(path) as fresh:
        fresh.write_text("one")
    with pytest.raises(TypeError), writing(path) as fresh:
        fresh.write_text(2)  # type: ignore[arg-type]
    assert path.read_text() == "one"
    (path.parent / ".t.csv.0123abcd.part").write_text("of a killed process")
    with writing(path) as one, writing(path) as two:  # the second must not sweep away what the first is writing
        one.write_text("three")
        two.write_text("four")
    assert path.read_text() == "three"
    assert [p.name for p in path.parent.iterdir()] == ["t.csv"]
    assert path.stat().st_mode == (tmp_path / "a[1]" / "t.csv").stat().st_mode & ~0o111


# The disk.


@contextmanager
def disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of its own, of so many bytes."""
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("mounting is not permitted here; the disk cannot be made full")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def one_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert main(words) == 2, words
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def ballast(place: Path, free: int) -> None:
    (place / "ballast").write_bytes(b"x" * (shutil.disk_usage(place).free - free))


@pytest.mark.parametrize(
    ("name", "free"), [("train", 20_480), ("update", 40_960), ("recommend", 4096), ("explain --html", 65_536), ("evaluate", 8192)]
)
def test_a_full_disk_is_one_line(name: str, free: int, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with disk(tmp_path / "small", "8m") as place:
        copy, case = Path(shutil.copytree(world, place / "w")), CASES[name]
        before = {p: p.read_bytes() for p in copy.rglob("*") if p.is_file()}
        ballast(place, free)
        told = one_line(case.words(copy), capsys)
        assert "No space left on device; free some space" in told
        assert str(copy) in told
        assert before == {p: p.read_bytes() for p in before}
        assert not [p for p in copy.rglob("*.part")]
        assert not [p for p in copy.glob("runs/.*/run")]
        (place / "ballast").unlink()
        again = case.words(copy) + (["--resume"] if name == "train" and leftovers(copy) else [])
        assert main(again) == 0
        assert not leftovers(copy)


def test_a_disk_that_cannot_be_written_to_is_one_line(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with disk(tmp_path / "fixed", "8m") as place:
        copy = Path(shutil.copytree(world, place / "w"))
        (place / "cache").mkdir()
        subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        for name in ("train", "recommend", "explain --top", "evaluate"):
            assert "Read-only file system; name another place" in one_line(CASES[name].words(copy), capsys)
        assert "cannot be used now" in one_line(CASES["forget"].words(copy), capsys)
        words = CASES["recommend"].words(copy)
        assert main([*words[:-1], str(tmp_path / "topk.csv")]) == 0  # what is there can be read
        monkeypatch.setenv("WHYREC_CACHE", str(place / "cache"))
        text._write_cache(place / "cache" / "text.safetensors", {b"key": np.zeros(2, np.float32)})  # no error
        found = explain(Run.load(copy / "runs" / "a"), "u01", "h1", method="loo")
        assert not found.cached  # a cache that cannot be kept costs time, no answer
        assert not [*(place / "cache").iterdir()]


def test_other_errors_of_the_system_rise() -> None:
    assert of_the_disk(FileNotFoundError(2, "No such file", "x")) is None
    assert "No space" in str(of_the_disk(OSError("4096 requested and 0 written")))
    full = OSError("4096 requested and 0 written")
    about(full, Path("a/b.npy"))
    assert str(of_the_disk(full)).startswith("a/b.npy: No space left on device; free some space")
    assert "No space" in str(of_the_disk(OSError("x: I/O error: No space left on device (os error 28)")))


# The clock.


def reacted(path: Path, monkeypatch: pytest.MonkeyPatch, clock: list[str]) -> None:
    """Likes of h1, h2, h3 in this order, under a clock."""
    ticks = iter(clock)
    monkeypatch.setattr(feedback, "_now", lambda: next(ticks))
    for item in ("h1", "h2", "h3"):
        feedback.react(path, data="tiny", run="a", user="u01", item=item, reaction="like")


BACK = ["2026-05-01T10:00:02.000+00:00", "2026-05-01T10:00:00.000+00:00", "2026-05-01T10:00:01.000+00:00"]


def test_feedback_keeps_its_order_when_the_clock_goes_back(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, run = copy / "f.sqlite", Run.load(copy / "runs" / "a")
    reacted(path, monkeypatch, BACK)
    assert list(feedback.reactions(path, "u01", data="tiny")) == ["h1", "h2", "h3"]
    log = feedback.rows(path, "reaction").rename(columns={"user_id": "user", "item_id": "item"})
    events = updating.from_feedback(run, log[["user", "item", "reaction", "time"]]).events
    assert events.time is not None
    assert (np.diff(events.time[np.argsort(run.dataset.items.find(["h1", "h2", "h3"]))]) > 0).all()
    raw = replace(events, time=updating._seconds(log["time"]))

    def order(e) -> list[str]:
        row: Histories = histories_of(e, len(run.dataset.users), len(run.dataset.items))[run.dataset.users.codes(["u01"], "user")]
        return run.dataset.items.ids[row.items].tolist()

    assert order(events) == ["h1", "h2", "h3"]
    assert order(raw) == ["h2", "h3", "h1"]  # by the clock alone
    ahead = pd.Series([5, 6, 6, 9]).to_numpy()
    assert updating._forward(ahead).tolist() == [5, 6, 6, 9]  # a clock that went on is believed


def test_verdicts_are_in_the_order_they_were_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(BACK)
    monkeypatch.setattr(feedback, "_now", lambda: next(ticks))
    for verdict in ("wrong", "confusing", "sense"):
        feedback.record(tmp_path / "f", feedback.Verdict("a", "u01", "h1", verdict, author="ada"))
    assert feedback.verdicts(tmp_path / "f")["verdict"].tolist() == ["sense"]


def test_a_run_of_a_clock_that_went_back_is_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = train(load_dataset(TINY), QUICK, tmp_path / "a")
    monkeypatch.setattr("time.gmtime", lambda: __import__("datetime").datetime(1999, 1, 1).timetuple())
    second = train(load_dataset(TINY), QUICK, tmp_path / "b")
    assert second.manifest["created"].startswith("1999")
    assert second.manifest["files"] == first.manifest["files"]
    assert {p.name for p in find_runs(tmp_path)} == {"a", "b"}


# Two at once.


def test_two_trainings_at_once_make_one_run(copy: Path) -> None:
    case = CASES["train"]
    both = [start(case.words(copy)) for _ in range(2)]
    for process in both:
        process.join(120)
    assert sorted(p.exitcode for p in both if p.exitcode is not None) == [0, 2]
    assert Run.load(copy / "runs" / "b").metrics
    assert not leftovers(copy)


def test_who_comes_while_the_other_ends_is_told(tmp_path: Path) -> None:
    """The run was made between the first look and the lock."""
    data, out = random_world(), tmp_path / "a"
    out.mkdir()
    with pytest.raises(UserError, match="a exists; choose another"), workshop(out, data, QUICK, resume=False):
        pass
    assert not leftovers(tmp_path)
    out.rmdir()
    with workshop(out, data, QUICK, resume=False) as folder:
        with pytest.raises(UserError, match="being trained by another process"), workshop(out, data, QUICK, resume=False):
            pass
        assert folder.is_dir()
    assert not folder.exists()


def test_who_opened_a_lock_that_is_removed_tries_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    plain, seen = fcntl.flock, []

    def late(lock, how: int) -> None:
        plain(lock, how)
        if how & fcntl.LOCK_NB and not seen and lock.name.endswith("lock"):
            seen.append(lock.name)
            Path(lock.name).unlink()  # as the one who held it does at its end

    monkeypatch.setattr(fcntl, "flock", late)
    with workshop(tmp_path / "a", random_world(), QUICK, resume=False) as folder:
        assert (folder / "lock").exists()
    assert seen


# Bytes.


@pytest.fixture(scope="module")
def judged(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with everything that may lie in one."""
    run = Run.load(Path(shutil.copytree(world / "runs" / "a", tmp_path_factory.mktemp("flip") / "a")))
    faithfulness.scoreboard(run, users=4, most=2, methods=["exact", "loo"], seeds=1).save(run)
    return run.path


def read_all(path: Path) -> None:
    """Everything that reads a run's files."""
    run = Run.load(path)
    opened.stored(run)
    faithfulness.load(run)


def flip(path: Path, at: int, bit: int) -> None:
    data = bytearray(path.read_bytes() or b"\0")  # an empty file has no byte to flip: it gets one
    data[at] ^= bit
    path.write_bytes(data)


def test_a_flipped_byte_in_any_file_of_a_run_is_named(judged: Path, tmp_path: Path) -> None:
    path, rng = Path(shutil.copytree(judged, tmp_path / "a")), np.random.default_rng()
    read_all(path)  # untouched, it is read
    files = [p for p in path.rglob("*") if p.is_file()]
    assert {p.name for p in files} >= {"manifest.json", "report.json", "per_user.parquet", "faithfulness.parquet", "card.md"}
    for file in files:
        whole_bytes = file.read_bytes()
        n = len(whole_bytes)
        for at in {0, n - 1, *rng.integers(0, n, 3).tolist()} if n else [-1]:
            flip(file, at, 1 << int(rng.integers(0, 8)))
            told = refused(lambda: read_all(path))
            assert str(file) in told
            assert "; " in told  # what to do
            file.write_bytes(whole_bytes)
    read_all(path)


@pytest.mark.parametrize("name", ["manifest.json", "report.json", "faithfulness.json"])
def test_every_byte_of_a_sealed_file_counts(judged: Path, tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    data = (judged / name).read_bytes()
    file.write_bytes(data)
    assert unseal(file, "")
    for at in range(0, len(data), len(data) // 150):
        flip(file, at, 1 << (at % 8))
        refused(lambda: unseal(file, "fix"))
        file.write_bytes(data)


def test_what_has_no_seal_is_of_an_earlier_version(judged: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(judged, tmp_path / "a"))
    for name in ("manifest.json", "report.json", "faithfulness.json"):
        facts = unseal(path / name, "")
        (path / name).write_text(json.dumps(facts))
    read_all(path)
    assert unseal(path / "report.json", "") == unseal(judged / "report.json", "")


@pytest.mark.parametrize("name", ["scorers/ease/arrays.safetensors", "data/items.parquet", "manifest.json", "split.npy"])
def test_every_command_tells_of_a_flipped_byte(
    copy: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("recsys_core.cli_dashboard.serve", lambda *args: pytest.fail("it was opened"))
    flip(copy / "runs" / "a" / name, 100, 4)
    before = {p: p.read_bytes() for p in copy.rglob("*") if p.is_file()}
    dashboard = ["dashboard", "--run", str(copy / "runs" / "a")]
    named = [CASES[n].words(copy) for n in ("evaluate", "recommend", "explain --top", "update")]
    for words in (*named, dashboard):
        assert f"runs/a/{name}: " in one_line(words, capsys)
    assert before == {p: p.read_bytes() for p in copy.rglob("*") if p.is_file()}


def test_a_flipped_report_is_told_before_it_is_replaced(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words, report = CASES["evaluate"].words(copy), copy / REPORT[0]
    flip(report, report.read_bytes().index(b'"test_opened": 1') + 15, 1)
    assert "report.json: changed since it was written" in one_line(words, capsys)
    report.unlink()
    assert main(words) == 0
    flip(copy / REPORT[1], 200, 1)
    assert "report.parquet: changed" in refused(lambda: opened.stored(Run.load(copy / "runs" / "a")))
    assert main(words) == 0  # the tables alone can be made again
    opened.stored(Run.load(copy / "runs" / "a"))


def test_a_flipped_byte_in_a_cache_is_made_again(tiny_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("WHYREC_CACHE", str(cache))
    first, stored = explain(tiny_run, "u01", "h1", method="loo"), cache / "text.safetensors"
    assert explain(tiny_run, "u01", "h1", method="loo").cached
    text._write_cache(stored, {b"key": np.arange(3, dtype=np.float32)})
    assert text._read_cache(stored)
    for file in (p for p in cache.rglob("*") if p.is_file()):
        flip(file, file.stat().st_size - 9, 1)
    again = explain(tiny_run, "u01", "h1", method="loo")
    assert not again.cached
    np.testing.assert_array_equal(again.contributions, first.contributions)
    assert text._read_cache(stored) == {}


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"schema": 1, "fingerprint": "x"}', '{"schema": 1, "files": {}}', "\x00", "9"]
)
def test_a_manifest_of_anything_else_is_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    assert "manifest.json: " in refused(lambda: Run.load(tmp_path))


@pytest.mark.parametrize("schema", [0, 2])
def test_prepared_data_of_another_version_say_so(tmp_path: Path, schema: int) -> None:
    load_dataset(TINY).save(tmp_path / "d")
    facts = json.loads((tmp_path / "d" / "dataset.json").read_text())
    (tmp_path / "d" / "dataset.json").write_text(json.dumps(facts | {"schema": schema}))
    told = refused(lambda: load_dataset(tmp_path / "d"))
    assert f"dataset.json: schema {schema}, this version reads 1" in told
    assert "prepare it again" in told
