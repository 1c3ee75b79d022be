"""Every kind of broken table, by every command that reads one: a right result, or one line that names the file and the fix.

Nothing is half-written, and memory stays bounded."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import broken
import pytest
from broken import KINDS, READ, Kind
from conftest import TINY

from recsys_core import cli, readers
from recsys_core.readers import load_dataset
from recsys_core.run import Run

Said = pytest.CaptureFixture[str]
LIGHT = [name for name, kind in KINDS.items() if not kind.heavy]
HEAVY = [name for name, kind in KINDS.items() if kind.heavy]
EVENTS = f"--interactions={TINY / 'interactions.csv'}"
TRAIN = ("train", f"--data={TINY}", "--set", "components=popularity", "control=false")
HUGE = (
    "a million columns and a row",
    "a field of ten million characters",
    "a text file of a terabyte",
    "Parquet: a text of a million characters in every row",
)
MOST_MB = 400  # of one process that refuses them; importing pandas and Arrow takes more than half of it
COMMANDS: Mapping[str, Callable[[Path, Path, Path], list[str]]] = {  # (run, table, where to write) -> the words of the command
    "history": lambda run, table, out: ["recommend", f"--run={run}", f"--history={table}", f"--out={out}.csv"],
    "test": lambda run, table, out: ["evaluate", f"--run={run}", f"--test={table}", "--k=3"],
    "pairs": lambda run, table, out: ["explain", f"--run={run}", f"--pairs={table}", f"--out={out}.csv"],
    "external": lambda run, table, out: [
        *("explain", f"--run={run}", "--user=u01", "--item=h2", "--question=components", f"--external=x={table}", "--json"),
    ],
    "update": lambda run, table, out: ["update", f"--run={run}", f"--interactions={table}", f"--out={out}"],
    "items": lambda run, table, out: [
        *("prepare", EVENTS, f"--items={table}", "--map=items.title=user_id", "--unknown-items=keep", f"--out={out}"),
    ],
    "users": lambda run, table, out: ["prepare", EVENTS, f"--users={table}", "--map=users.user_id=item_id", f"--out={out}"],
    "train": lambda run, table, out: [*TRAIN, f"--test={table}", f"--out={out}"],
}
NOT_TABLES: Mapping[str, Callable[[Path, Path, Path], list[str]]] = {  # (runs, file, where to write); no kind is what they read
    "login": lambda runs, file, out: ["dashboard", f"--runs={runs}", f"--login={file}"],
    "feedback": lambda runs, file, out: ["feedback", f"--runs={runs}", f"--export={out}.csv"],
    "forget": lambda runs, file, out: ["forget", f"--runs={runs}", "--user=u01"],
    "update": lambda runs, file, out: ["update", f"--run={runs / 'tiny'}", "--feedback", f"--out={out}"],
}


def tree(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Mode, size and time of all that is in a folder."""
    found = {str(p.relative_to(folder)): p.lstat() for p in folder.rglob("*")}
    return {name: (s.st_mode, s.st_size, s.st_mtime_ns) for name, s in found.items() if not name.startswith("cache")}


def outcome(words: list[str], table: Path, folder: Path, capfd: Said, fix: str = "; ", names: bool = True) -> str:
    """Run a command; "" if it did its work, else what it said. Fails on anything but work done or one line that helps."""
    before = tree(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        code = cli.main(words)
    out, err = capfd.readouterr()
    if code == 0:
        assert err == ""
        return ""
    assert code == 2
    assert out == "" or words[0] in ("evaluate", "train")
    assert err.startswith("whyrec: ")
    assert err.count("\n") == 1
    assert err[:-1].isprintable()
    assert len(err) < 2_000
    assert not names or str(table)[:500] in err  # the file,
    assert fix in err  # and the fix
    assert tree(folder) == before
    return err


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """The light kinds, each in a folder of its own."""
    place = tmp_path_factory.mktemp("kinds")
    return {name: KINDS[name].make(folder_in(place, str(n))) for n, name in enumerate(LIGHT)}


def folder_in(place: Path, name: str) -> Path:
    (place / name).mkdir()
    return place / name


@pytest.fixture
def parser_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """One parser for all commands of a test: to build it takes longer than to refuse a file."""
    parser = cli.build_parser()
    monkeypatch.setattr(cli, "build_parser", lambda: parser)


@pytest.mark.usefixtures("parser_kept")
@pytest.mark.parametrize("name", LIGHT)
def test_prepare_reads_or_refuses(name: str, made: Mapping[str, Path], tmp_path: Path, capfd: Said) -> None:
    prepared(KINDS[name], made[name], tmp_path, capfd)


def prepared(kind: Kind, table: Path, folder: Path, capfd: Said) -> None:
    told = outcome(["prepare", f"--interactions={table}", f"--out={folder / 'out'}"], table, folder, capfd)
    assert bool(told) == (kind.ends != READ), told
    assert kind.says in told
    assert not list(folder.glob(".*"))
    if not told:
        load_dataset(folder / "out")  # what was read is whole


@pytest.fixture(scope="module")
def base(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A copy of the tiny run, to be judged and updated."""
    return Run.load(Path(shutil.copytree(tiny_run.path, tmp_path_factory.mktemp("broken") / "tiny")))


@pytest.mark.usefixtures("parser_kept")
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_reads_or_refuses(
    command: str, made: Mapping[str, Path], base: Run, tmp_path: Path, capfd: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Run, "load", lambda path: base)  # once for all of them: it is not what is tried
    data = load_dataset(TINY)
    monkeypatch.setattr(readers, "load_dataset", lambda folder: data)
    for name, table in made.items():
        commanded(command, KINDS[name], table, base, tmp_path, capfd)


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_meets_the_heavy_kinds(command: str, base: Run, tmp_path: Path, capfd: Said) -> None:
    for n, name in enumerate(HEAVY):
        folder = folder_in(tmp_path, str(n))
        commanded(command, KINDS[name], KINDS[name].make(folder), base, folder, capfd)
        shutil.rmtree(folder)


def commanded(command: str, kind: Kind, table: Path, base: Run, folder: Path, capfd: Said) -> None:
    told = outcome(COMMANDS[command](base.path, table, folder / "out"), table, folder, capfd)
    assert not kind.always or (told and kind.says in told), kind
    if not told and command in ("items", "users"):
        load_dataset(folder / "out")
    elif not told and command in ("train", "update"):
        Run.load(folder / "out")
    shutil.rmtree(folder / "out", ignore_errors=True)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_good_table_does_its_work(command: str, base: Run, tmp_path: Path, capfd: Said) -> None:  # else all would be refused
    (tmp_path / "good.csv").write_text(broken.good())
    assert outcome(COMMANDS[command](base.path, tmp_path / "good.csv", tmp_path / "out"), Path(), tmp_path, capfd) == ""


@pytest.mark.usefixtures("parser_kept")
@pytest.mark.parametrize("command", NOT_TABLES)
def test_what_is_no_table_is_none_of_the_kinds(
    command: str, tiny_run: Run, tmp_path: Path, capfd: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A login's settings, and what people said: a file beside the runs, so the kind is given its name."""
    monkeypatch.setattr(Run, "load", lambda path: tiny_run)
    runs, said = folder_in(tmp_path, "runs"), tmp_path / "runs.feedback.sqlite"
    for n, name in enumerate(LIGHT):
        file = KINDS[name].make(folder_in(tmp_path, str(n)))
        if command != "login":
            if not os.path.exists(file) or not file.is_relative_to(tmp_path) or not file.stat().st_size:
                continue  # nothing there, or nothing in it: what people said begins so
            file = file.rename(said)
        assert outcome(NOT_TABLES[command](runs, file, tmp_path / "out"), file, tmp_path, capfd), name
        if command != "login":
            shutil.rmtree(file) if file.is_dir() else file.unlink()


def misbehave(how: str, table: Path) -> int:
    """What a command must never do, on its way to exit code 2."""
    if how == "raises":
        raise KeyError("user_id")
    if how == "leaves a file":
        table.with_name(".out.writing").touch()
    if how == "changes the table":
        table.write_text("x")
    lines = {
        "says nothing": "",
        "two lines": f"whyrec: {table}: no;\n  y\n",
        "no file": "whyrec: wrong; mend it\n",
        "no fix": f"whyrec: {table}: no\n",
    }
    print(lines.get(how, f"whyrec: {table}: wrong; mend it\n"), end="", file=sys.stderr)
    return 0 if how == "warns" else 1 if how == "another code" else 2


FAULTS = (
    "raises",
    "leaves a file",
    "changes the table",
    "says nothing",
    "two lines",
    "no file",
    "no fix",
    "warns",
    "another code",
)


@pytest.mark.parametrize("how", ["nothing wrong", *FAULTS])
def test_the_check_can_fail(how: str, tmp_path: Path, capfd: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    table = broken.put("events.csv", "a,b\n")(tmp_path)
    monkeypatch.setattr(cli, "main", lambda words: misbehave(how, table))
    if how == "nothing wrong":
        assert outcome(["prepare"], table, tmp_path, capfd)
        return
    with pytest.raises((AssertionError, KeyError)):
        outcome(["prepare"], table, tmp_path, capfd)


# Memory.

PROBE = """
import re, sys
from recsys_core.cli import main
for words in sys.argv[1:]:
    code, status = main(words.split("\\n")), open("/proc/self/status").read()
    print(code, int(re.search(r"VmHWM:\\s*(\\d+) kB", status)[1]) // 1024)
"""  # not ru_maxrss, which a process inherits from the one that started it


def peak(*commands: list[str]) -> list[tuple[int, int]]:
    """Exit code of each command, and the most memory in MB that one process has taken for all up to it."""
    words = ["\n".join(command) for command in commands]
    done = subprocess.run([sys.executable, "-c", PROBE, *words], capture_output=True, text=True, check=True)
    return [(int(code), int(mb)) for code, mb in (line.split() for line in done.stdout.splitlines() if line[0] in "02")]


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_memory_stays_bounded(tmp_path: Path) -> None:
    many_columns, long, terabyte, bomb = (KINDS[n].make(folder_in(tmp_path, n)) for n in HUGE)
    words = [
        ["prepare", f"--interactions={table}", f"--out={tmp_path / 'out'}"] for table in (many_columns, long, terabyte, bomb)
    ]
    found = peak(*words)
    assert [code for code, _ in found] == [2, 2, 2, 2]
    assert found[-1][1] < MOST_MB


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
@pytest.mark.parametrize("name", [*HEAVY, "a ZIP bomb"])
def test_memory_stays_bounded_for_each(name: str, tmp_path: Path) -> None:
    table = KINDS[name].make(folder_in(tmp_path, "in"))
    ((code, mb),) = peak(["prepare", f"--interactions={table}", f"--out={tmp_path / 'out'}"])
    assert (code, mb < MOST_MB) == (2, True), mb


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_memory_is_measured(tmp_path: Path) -> None:  # a table that is read in full takes what the check above would not allow
    table = broken.put("events.csv", "user_id,item_id\n" + "u01,h1\n" * 4_000_000)(tmp_path)
    ((_, mb),) = peak(["prepare", f"--interactions={table}", "--duplicates=last", f"--out={tmp_path / 'out'}"])
    assert mb > MOST_MB
