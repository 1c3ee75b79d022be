"""Every kind of broken table, by every command that reads one: a right result, or one line that names the file and the fix.

Nothing is half-written, and memory stays bounded."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from broken import KINDS, READ, Kind

from recsys_core import cli
from recsys_core.readers import load_dataset
from recsys_core.run import Run

LIGHT = [name for name, kind in KINDS.items() if not kind.heavy]
HEAVY = [name for name, kind in KINDS.items() if kind.heavy]
SLOW_COMMANDS = ("test", "update")  # on a table that is read
MOST_MB = 1_500  # that refusing any of them may take in all; importing pandas and Arrow takes some 250
COMMANDS: Mapping[str, Callable[[Path, Path, Path], list[str]]] = {  # (run, table, where to write) -> the words of the command
    "history": lambda run, table, out: ["recommend", f"--run={run}", f"--history={table}", f"--out={out}.csv"],
    "test": lambda run, table, out: ["evaluate", f"--run={run}", f"--test={table}", "--k=3"],
    "pairs": lambda run, table, out: ["explain", f"--run={run}", f"--pairs={table}", f"--out={out}.csv"],
    "external": lambda run, table, out: [
        *("explain", f"--run={run}", "--user=u01", "--item=h2", "--question=components", f"--external=x={table}", "--json"),
    ],
    "update": lambda run, table, out: ["update", f"--run={run}", f"--interactions={table}", f"--out={out}"],
}


def tree(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Mode, size and time of all that is in a folder."""
    found = {str(p.relative_to(folder)): p.lstat() for p in folder.rglob("*")}
    return {name: (s.st_mode, s.st_size, s.st_mtime_ns) for name, s in found.items() if not name.startswith("cache")}


def outcome(words: list[str], table: Path, folder: Path, capfd: pytest.CaptureFixture[str]) -> str:
    """Run a command; "" if it did its work, else what it said. Fails on anything but work done or one line that helps."""
    before = tree(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        code = cli.main(words)
    out, err = capfd.readouterr()
    if code == 0:
        assert err == ""
        return ""
    assert code == 2
    assert out == "" or words[0] == "evaluate"
    assert err.startswith("whyrec: ")
    assert err.count("\n") == 1
    assert err[:-1].isprintable()
    assert len(err) < 2_000
    assert str(table)[:500] in err  # the file,
    assert "; " in err  # and the fix
    assert tree(folder) == before
    return err


@pytest.mark.parametrize("name", LIGHT)
def test_prepare_reads_or_refuses(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    prepared(KINDS[name], tmp_path, capfd)


def prepared(kind: Kind, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    table, out = kind.make(tmp_path / "in"), tmp_path / "out"
    told = outcome(["prepare", f"--interactions={table}", f"--out={out}"], table, tmp_path, capfd)
    assert bool(told) == (kind.ends != READ), told
    assert kind.says in told
    assert not list(tmp_path.glob(".*"))
    if not told:
        load_dataset(out)  # what was read is whole


@pytest.fixture(scope="module")
def base(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A copy of the tiny run, to be judged and updated."""
    return Run.load(Path(shutil.copytree(tiny_run.path, tmp_path_factory.mktemp("broken") / "tiny")))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_reads_or_refuses(
    command: str, base: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Run, "load", lambda path: base)  # once for all of them: it is not what is tried
    kinds = {n: k for n, k in KINDS.items() if not k.heavy and (k.always or command not in SLOW_COMMANDS)}
    commanded(command, kinds, base, tmp_path, capfd)


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_meets_every_kind(command: str, base: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    commanded(command, KINDS, base, tmp_path, capfd)


def commanded(command: str, kinds: Mapping[str, Kind], base: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for n, (name, kind) in enumerate(kinds.items()):
        (folder := tmp_path / str(n)).mkdir()
        table = kind.make(folder)
        told = outcome(COMMANDS[command](base.path, table, folder / "out"), table, tmp_path, capfd)
        assert not kind.always or (told and kind.says in told), name
        shutil.rmtree(folder)
