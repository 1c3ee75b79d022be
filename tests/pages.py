"""Pages of the repository carried out as a reader would: their commands and Python, in order, in a folder with what they name.

The data is that of data/tiny under the file names, columns and ids that the pages use for what a reader is to bring.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import itertools
import json
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from unittest import mock

import pandas as pd
import pytest

from recsys_core import cli_dashboard
from recsys_core.cli import main

ROOT = Path(__file__).parents[1]
TINY = ROOT / "data" / "tiny"

# First words of commands that are not carried out here, and why.
LEFT_OUT = {
    "whyrec fetch": "downloads; tests/test_fetch.py stands in for the network",
    "source": "enters an environment",
    "make": "installs; that its targets exist is checked by test_docs.py",
    "python3 -m venv": "makes an environment",
    "python -m pip": "installs",
    "python -m pytest": "runs these tests",
    "pre-commit": "installs a hook of git",
    "bash .ci/run": "runs all checks",
}
WRITES = ("--out", "--html", "--export")  # options that name a file or folder which is there afterwards
# What training takes in the pages' settings: the parts that they name, a BERT of a dozen words and no search.
QUICK = ("components=popularity,ease,bert", "tune=false", "control=false", "bert.epochs=1")
FEW = ("--users", "2")  # of a scoreboard, unless a page is carried out to the letter


def blocks(page: str) -> Iterator[tuple[str, str]]:
    """(language, text) of the page's fenced blocks of bash and Python, in order."""
    for found in re.finditer(r"^( *)```(bash|python)\n(.*?)^\1```", page, flags=re.M | re.S):
        yield found[2], re.sub(rf"^{found[1]}", "", found[3], flags=re.M)


def words_of(block: str) -> Iterator[list[str]]:
    """The words of each command, comments dropped, continued lines joined, VARIABLE=value and `> FILE` taken off."""
    for line in block.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while words and re.fullmatch(r"\w+=.*", words[0]):
            words = words[1:]
        words = words[: words.index(">")] if ">" in words else words
        if words:
            yield [words[0].removeprefix(".venv/bin/"), *words[1:]]


def carry_out(page: str, encoder: str, monkeypatch: pytest.MonkeyPatch, *, few: Sequence[str] = FEW) -> list[str]:
    """Run the page in the working directory. Returns the commands that ran; AssertionError names what did not do as told."""
    served: list[Path] = []

    def serve(
        folder: Path, run: Path | None, args: argparse.Namespace
    ) -> None:  # in place of the server, which does not come back
        served.append(folder)
        print(f"serves {folder}")

    monkeypatch.setattr(cli_dashboard, "serve", serve)
    ran, names = [], {"__name__": "page"}
    for language, text in blocks(page):
        if language == "python":
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile(text, "page", "exec"), names)
            ran.append("python")
            continue
        for words in words_of(text):
            if not any(shlex.join(words).startswith(start) for start in LEFT_OUT):
                one_command([*words, *(few if "--scoreboard" in words else ())], encoder, served)
                ran.append(shlex.join(words))
    return ran


def one_command(words: list[str], encoder: str, served: list[Path]) -> None:
    line = shlex.join(words)
    assert words[0] in ("whyrec", "cat"), f"{line}: neither run nor in LEFT_OUT"
    if words[0] == "cat":
        assert all(Path(name).is_file() for name in words[1:]), f"{line}: no such file"
        return
    quick = words[1] == "train" and "configs/quick.toml" not in words
    extra = ["--set", *QUICK, f"bert.encoder={encoder}"] if quick else []
    served.clear()
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main([words[1], *extra, *words[2:]])  # what the page sets comes later and counts
        except SystemExit as error:
            code = error.code
    assert code == 0, f"{line}: {code}, {err.getvalue()}"
    assert out.getvalue().strip(), f"{line}: says nothing"
    assert bool(served) == (words[1] in ("dashboard", "demo")), f"{line}: serves {served}"
    for flag, name in itertools.pairwise(words):
        assert flag not in WRITES or Path(name).exists(), f"{line}: {name} is not there"
    if "--json" in words:
        json.loads(out.getvalue())


# The reader's folder.

USERS = ("1", "2", "196")
ITEMS = ("50", "100", "242")


def renamed(ids: pd.Series, wanted: Sequence[str]) -> pd.Series:
    """The first ids become the wanted ones, the others numbers from 1001."""
    known = sorted(set(ids))
    return ids.map(dict(zip(known, [*wanted, *(str(1001 + n) for n in range(len(known)))], strict=False)))


def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Interactions and items of data/tiny with the ids that the pages ask about."""
    events, items = pd.read_csv(TINY / "interactions.csv", dtype=str), pd.read_csv(TINY / "items.csv", dtype=str)
    events["item_id"], items["item_id"] = renamed(events["item_id"], ITEMS), renamed(items["item_id"], ITEMS)
    return events.assign(user_id=renamed(events["user_id"], USERS)), items


def furnish(folder: Path) -> None:
    """Everything that pages take for granted, but for runs."""
    events, items = tables()
    for place in ("data/tiny", "data/ml-100k"):
        shutil.copytree(TINY, folder / place)
    events.to_csv(folder / "data/ml-100k/interactions.csv", index=False)
    items.to_csv(folder / "data/ml-100k/items.csv", index=False)
    (folder / "data/ml-100k/users.csv").unlink()
    events.rename(columns={"user_id": "uid", "item_id": "movie"}).to_csv(folder / "ratings.csv", index=False)
    items.rename(columns={"item_id": "movie"}).to_csv(folder / "items.csv", index=False)
    liked = events[events["rating"].astype(float) >= 4]
    new = liked.groupby("user_id").head(1).head(6)
    later = str(events["time"].astype(int).max() + 86_400)
    new.assign(item_id=new["item_id"].to_numpy()[::-1], time=later).to_csv(folder / "new.csv", index=False)
    liked[["user_id", "item_id"]].head(3).to_csv(folder / "pairs.csv", index=False)
    liked[["item_id"]].drop_duplicates().head(4).to_csv(folder / "history.csv", index=False)
    events[["user_id"]].drop_duplicates().rename(columns={"user_id": "uid"}).assign(gender="F").to_csv(
        folder / "users.csv", index=False
    )
    shutil.copytree(ROOT / "configs", folder / "configs")


def benchmark(name: str) -> ModuleType:
    """A script of benchmarks/, imported, as it finds its neighbours there when it is run."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    with mock.patch.object(sys, "path", [str(ROOT / "benchmarks"), *sys.path]):
        spec.loader.exec_module(module)
    return module
