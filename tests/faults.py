"""Commands on a small world that are killed at any moment: what the tests of faults and benchmarks/faults.py share.

Each kill is one SIGKILL to a process of its own, forked from a server that has everything imported, so that the moments fall
into the work and not into the start of Python.
"""

from __future__ import annotations

import contextlib
import hashlib
import multiprocessing
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from recsys_core import evaluate, feedback, opened
from recsys_core.cli import main
from recsys_core.errors import UserError
from recsys_core.readers import load_dataset
from recsys_core.run import Run

TINY = Path(__file__).parents[1] / "data" / "tiny"
CONTEXT = multiprocessing.get_context("forkserver")
LEFT = (".part", ".writing", ".partial")  # how what is not finished is called


@dataclass(frozen=True)
class Case:
    """A command in a world (a folder); `output` is all that it may change, `whole` is whether that is what an undisturbed
    command makes, given the output of one; `resumes`: --resume goes on."""

    words: Callable[[Path], list[str]]
    output: tuple[str, ...]
    whole: Callable[[Path, Path], bool]
    resumes: bool = False


def same_run(path: Path, good: Path) -> bool:
    return Run.load(path).manifest["files"] == Run.load(good).manifest["files"]


def same_bytes(path: Path, good: Path) -> bool:
    return path.read_bytes() == good.read_bytes()


def whole_page(path: Path, good: Path) -> bool:
    return path.read_text("utf-8").endswith("</html>\n") and abs(path.stat().st_size - good.stat().st_size) < 1000


def whole_report(path: Path, good: Path) -> bool:
    """False for tables of two evaluations, which is told when they are read."""
    try:
        opened.stored(Run.load(path.parent))
    except UserError:
        return False
    return same_bytes(path.with_name("report.parquet"), good.with_name("report.parquet"))


def forgotten(path: Path, good: Path) -> bool:
    return b"u01" not in b"".join(p.read_bytes() for p in path.parent.glob(f"{path.name}*"))


TRAIN = ["--set", "components=popularity,item_knn,ease", "control=false"]
REPORT = ("runs/a/report.json", "runs/a/report.parquet", "runs/a/per_user.parquet")
CASES = {
    "train": Case(lambda w: ["train", "--data", str(TINY), "--out", f"{w}/runs/b", *TRAIN], ("runs/b",), same_run, resumes=True),
    "update": Case(
        lambda w: ["update", "--run", f"{w}/runs/a", "--interactions", f"{w}/new.csv", "--out", f"{w}/runs/c"],
        ("runs/c",),
        same_run,
    ),
    "recommend": Case(
        lambda w: ["recommend", "--run", f"{w}/runs/a", "--users", "all", "--out", f"{w}/topk.csv"], ("topk.csv",), same_bytes
    ),
    "explain --top": Case(
        lambda w: ["explain", "--run", f"{w}/runs/a", "--user", "u01", "--top", "--out", f"{w}/why.parquet"],
        ("why.parquet",),
        same_bytes,
    ),
    "explain --html": Case(
        lambda w: ["explain", "--run", f"{w}/runs/a", "--user", "u01", "--item", "h1", "--html", f"{w}/why.html"],
        ("why.html",),
        whole_page,
    ),
    "evaluate": Case(lambda w: ["evaluate", "--run", f"{w}/runs/a", "--k", "5"], REPORT, whole_report),
    "feedback --export": Case(
        lambda w: ["feedback", "--runs", f"{w}/runs", "--export", f"{w}/feedback.csv"], ("feedback.csv",), same_bytes
    ),
    "forget": Case(
        lambda w: ["forget", "--runs", f"{w}/runs", "--user", "u01"],
        ("runs.feedback.sqlite", "runs.feedback.sqlite-wal", "runs.feedback.sqlite-shm"),
        forgotten,
    ),
}


def make_world(folder: Path, run: Run) -> Path:
    """A run that was evaluated, feedback, new events, and an older file under each name that a command writes."""
    shutil.copytree(run.path, folder / "runs" / "a")
    copy = Run.load(folder / "runs" / "a")
    evaluate.evaluate(copy, k=5).save(copy)
    path = feedback.file_of(folder / "runs")
    for n in range(20):
        said = feedback.Verdict("a", f"u{n % 2 + 1:02}", "h1", "sense", note=f"note {n}")
        feedback.record(path, said)
        feedback.react(path, data=copy.dataset.name, run="a", user=said.user, item="h2", reaction="like")
    data = load_dataset(TINY)
    rows = [(user, item, 5, 1_720_000_000) for user in data.users.ids[:4] for item in data.items.ids[:3]]
    pd.DataFrame(rows, columns=["user_id", "item_id", "rating", "time"]).to_csv(folder / "new.csv", index=False)
    for name in ("topk.csv", "why.parquet", "why.html", "feedback.csv"):
        (folder / name).write_text("of an earlier day\n")
    return folder


def snapshot(world: Path, case: Case) -> dict[str, str]:
    """Digest of every file that the command must leave as it is; what SQLite has beside its file to read it holds nothing."""
    nothing = ("-shm", "-wal")
    names = {p.relative_to(world).as_posix(): p for p in world.rglob("*") if p.is_file()}
    names = {n: p for n, p in names.items() if not n.endswith(nothing) or (n.endswith("-wal") and p.stat().st_size)}
    mine = {n: p for n, p in names.items() if not n.startswith(case.output) and not unfinished(n)}
    return {n: hashlib.sha256(p.read_bytes()).hexdigest() for n, p in mine.items()}


def unfinished(name: str) -> bool:
    return any(part.startswith(".") and part.endswith(LEFT) for part in Path(name).parts)


def leftovers(world: Path) -> list[str]:
    return sorted(p.name for p in world.rglob(".*") if unfinished(p.name))


def start(words: list[str]) -> multiprocessing.process.BaseProcess:
    CONTEXT.set_forkserver_preload([f"recsys_core.{m}" for m in ("cli", "train", "update", "explain.answer", "explain.batch")])
    process = CONTEXT.Process(target=_run, args=(words,), daemon=True)
    process.start()
    return process


def _run(words: list[str]) -> None:
    with Path(os.devnull).open("w") as nothing, contextlib.redirect_stdout(nothing), contextlib.redirect_stderr(nothing):
        code = main(words)
    sys.exit(code)


def undisturbed(case: Case, world: Path, folder: Path) -> tuple[Path, float]:
    """A world of its own in which the command has run to its end, and the seconds that took."""
    for name in ("warm", "good"):  # the first pays for imports of the server
        copy = Path(shutil.copytree(world, folder / name))
        started = time.perf_counter()
        process = start(case.words(copy))
        process.join(300)
        assert process.exitcode == 0, (case.words(copy), process.exitcode)
    return copy, time.perf_counter() - started


def kill(case: Case, world: Path, good: Path, after: float) -> dict[str, object]:
    """Kill the command after so many seconds, look, run it again, look again. AssertionError if anything is half or lost."""
    before, old = snapshot(world, case), _output(world, case)
    process = start(case.words(world))
    process.join(after)
    process.kill()
    process.join()
    assert snapshot(world, case) == before, "a file that the command has no business with has changed"
    found = _state(case, world, good, old)
    again = case.words(world)
    key = world / "runs" / ".b.partial" / "key.json"
    if found != "whole" or not case.output[0].startswith("runs/"):
        again += ["--resume"] if case.resumes and key.exists() else []
        second = start(again)
        second.join(300)
        assert second.exitcode == 0, (again, second.exitcode)
        assert case.whole(world / case.output[0], good / case.output[0]), "the second run made something else"
        assert not leftovers(world), leftovers(world)
    assert snapshot(world, case) == before
    return {"killed": process.exitcode != 0, "found": found, "resumed": "--resume" in again}


def _output(world: Path, case: Case) -> dict[str, bytes]:
    paths = [p for name in case.output for p in ((world / name).rglob("*") if (world / name).is_dir() else [world / name])]
    return {p.relative_to(world).as_posix(): p.read_bytes() for p in paths if p.is_file()}


def _state(case: Case, world: Path, good: Path, old: dict[str, bytes]) -> str:
    """ "before", "whole", or "told": tables of two evaluations, which reading refuses by name; anything else is an error."""
    now, path = _output(world, case), world / case.output[0]
    if now == old:
        return "before"
    if path.exists() and case.whole(path, good / case.output[0]):
        return "whole"
    if case.output == REPORT:
        refused(lambda: opened.stored(Run.load(world / "runs" / "a")))
        return "told"
    if case.whole is forgotten:  # not all of it yet, and none of the others' is lost
        assert (feedback.verdicts(path)["user_id"] == "u02").sum() == 10
        return "told"
    raise AssertionError(f"half: {sorted(now)}")


def refused(read: Callable[[], object]) -> str:
    """The one line that reading refuses with."""
    try:
        read()
    except UserError as error:
        told = str(error)
    else:
        raise AssertionError("what has changed was read as if it were whole")
    assert "\n" not in told
    return told


def moments(rng: np.random.Generator, seconds: float, n: int) -> Iterator[float]:
    """n random moments of a command that takes so long; a few come after its end."""
    yield from rng.uniform(0, 1.1 * seconds, n).tolist()
