"""Broken settings, and broken tables of items and users: one line, and nothing is written; what is odd but whole is kept."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import broken
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from broken import KINDS
from conftest import TINY
from test_broken import LIGHT, Said, folder_in, outcome, tree

from dashboard import uploads
from recsys_core import intake, limits, train
from recsys_core.cli import main as cli_main
from recsys_core.config import load_settings
from recsys_core.data import load_prepared
from recsys_core.errors import UserError, one_line
from recsys_core.readers import load_dataset
from recsys_core.readers._catalog import clean, split_year
from recsys_core.readers.table import read_tables, settings
from recsys_core.run import Run
from recsys_core.scorers import scorer_class
from recsys_core.train import Fitted

# --config.

CONFIGS: Mapping[str, tuple[bytes, str]] = {
    "no TOML": (b"k 3", "not valid TOML"),
    "binary": (bytes(range(256)), "not valid TOML"),
    "UTF-16": ("k = 3".encode("utf-16"), "not valid TOML"),
    "a key twice": (b"k = 1\nk = 2", "not valid TOML"),
    "nested without end": (b"k = " + b"[" * 100_000, "nested too deeply"),
    "JSON": (b'{"k": 3}', "JSON"),
    "unknown key": (b"kk = 3", "Did you mean 'k'?"),
    "text for a number": (b"k = 'x'", "config.k must be int"),
    "yes for a number": (b"k = true", "config.k must be int"),
    "a date": (b"k = 2020-01-01", "config.k must be int"),
    "a list of no end": (b"k = 10000000000000000000000000", "too large a number"),
    "a list too long": (b"k = 1000000", "more than 10,000"),
    "a seed below zero": (b"seed = -1", "seed = -1 is negative"),
    "not a number": (b"cold_boost = nan", "must be a finite number"),
    "more than any float": (b"cold_boost = 1" + b"0" * 400, "too large a number"),
    "scorers as a number": (b"scorers = 3", "config.scorers must be dict"),
    "a scorer as a number": (b"[scorers]\nease = 3", "scorers.ease must be a table of settings"),
    "a setting below zero": (b"[scorers.ease]\nreg = -5", "scorers.ease.reg must not be negative"),
    "a setting without end": (b"[scorers.ease]\nreg = inf", "scorers.ease.reg must be a finite number"),
    "a wrong setting": (b"[scorers.ease]\nregg = 5", "Did you mean 'reg'?"),
    "a component twice": (b"components = ['ease', 'ease']", "names a scorer twice"),
    "components of all sorts": (b"components = [1, [2]]", "unknown scorer '1'"),
    "a device": (b"device = '\\u202ex'", "unknown device"),
}
PLACES: Mapping[str, tuple[Callable[[Path], object], str]] = {
    "a folder": (Path.mkdir, "a folder"),
    "a pipe": (os.mkfifo, "not a plain file"),
    "a link to nothing": (lambda path: path.symlink_to("nowhere"), "a link"),
    "a link to a device": (lambda path: path.symlink_to("/dev/zero"), "not a plain file"),
    "a terabyte": (lambda path: broken.sparse(path.name, 1 << 40, b"k = 3")(path.parent), "GiB"),
}


@pytest.mark.parametrize("case", [*CONFIGS, *PLACES])
def test_a_config_that_cannot_be_used(case: str, tmp_path: Path, capfd: Said) -> None:
    path, says = tmp_path / "c.toml", (CONFIGS.get(case) or PLACES[case])[1]
    path.write_bytes(CONFIGS[case][0]) if case in CONFIGS else PLACES[case][0](path)
    told = outcome(["train", f"--data={TINY}", f"--out={tmp_path / 'run'}", f"--config={path}"], path, tmp_path, capfd, fix="")
    assert says in told


def test_a_config_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_bytes(b"\xef\xbb\xbfk = 3\n[scorers.ease]\nreg = 5\n")
    found = load_settings(tmp_path / "c.toml", ["ease.reg=7"], seed=4)
    assert (found.k, found.scorers["ease"]["reg"], found.seed) == (3, 7, 4)


# A folder for --data, and its dataset.toml.


@pytest.mark.parametrize("name", [n for n in LIGHT if KINDS[n].always])
def test_train_refuses_such_a_folder(name: str, tmp_path: Path, capfd: Said) -> None:
    folder = folder_in(tmp_path, "data")
    table = KINDS[name].make(folder)
    if not table.is_relative_to(folder) or not os.path.lexists(table):
        pytest.skip("not in a folder")
    table.rename(folder / f"interactions{'.csv' if table.suffix == '.csv' else '.parquet'}")
    told = outcome(["train", f"--data={folder}", f"--out={tmp_path / 'run'}"], folder, tmp_path, capfd)
    assert KINDS[name].says in told or "no known data set here" in told


TOMLS = {
    "mapping as a number": ("mapping = 3", "mapping: must be a table of texts"),
    "mapping to a number": ("mapping = {user_id = 3}", "mapping: must be a table of texts"),
    "text as a text": ("text = 'plot'", "text: must be a list of texts"),
    "threshold as a text": ("threshold = '4'", "threshold: must be a number"),
    "threshold as yes": ("threshold = true", "threshold: must be a number"),
    "encoding as a number": ("encoding = 8", "encoding: must be a text"),
    "nested without end": ("text = " + "[" * 50_000, "mend"),
    "latin-1": ("name = 'caf\xe9'", "mend"),
    "an encoding that is none": ("encoding = 'base64'", "unknown encoding"),
    "an encoding that never works": ("encoding = 'undefined'", "save the file as UTF-8"),
    "half characters": ("encoding = 'unicode_escape'", "save the file as UTF-8"),
    "a quote as delimiter": ("delimiter = '\"'", "cannot separate columns"),
    "a line break as delimiter": ('delimiter = "\\n"', "cannot separate columns"),
}


@pytest.mark.parametrize("case", TOMLS)
def test_a_dataset_toml_that_cannot_be_used(case: str, tmp_path: Path) -> None:
    text, says = TOMLS[case]
    (tmp_path / "interactions.csv").write_text(broken.good(r"u09,\ud800,5,1704800009,1"))
    assert len(load_dataset(tmp_path).interactions) == 5
    (tmp_path / "dataset.toml").write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=re.escape(says)) as error:
        load_dataset(tmp_path)
    assert str(error.value).isprintable()


def test_the_page_refuses_such_settings_too(tmp_path: Path) -> None:
    (tmp_path / "dataset.toml").write_text("mapping = 3")
    with pytest.raises(UserError, match="mapping: must be"):
        intake.with_settings(intake.Plan(), tmp_path)
    (tmp_path / "dataset.toml").write_text("mapping = {user_id = 'uid'}\nthreshold = 4")
    assert settings(tmp_path / "dataset.toml") == {"mapping": {"user_id": "uid"}, "threshold": 4}


# Items and users.

TEXTS = {
    "comments never closed": '"' + "<!--" * 100_000 + '"',
    "scripts never closed": '"' + "<script " * 60_000 + '"',
    "tags never closed": '"' + "<a" * 300_000 + '"',
    "brackets": '"' + "[" * 50_000 + "]" * 50_000 + '"',
    "signs": '"[' + "-" * 500_000 + '1]"',
    "a number of 6,000 digits": '"[' + "9" * 6_000 + ']"',
    "a list that Python warns of": "\"['\\d', 1 is 1]\"",
    "half a character": "\"['\\ud800']\"",
    "references to no character": "&#xD800; &#0; &#1114112; <b",
    "blanks without end": '"x' + " " * 100_000 + '(1995"',
    "formulas": "=cmd|'/c calc'!A1",
    "reversed writing": f"x{broken.RTL}y",
}
COLUMNS: Mapping[str, Any] = {
    "structs": [{"a": 1}, {"a": None}],
    "maps": pa.array([[("k", 1)], []], pa.map_(pa.string(), pa.int64())),
    "bytes": [b"\xff", b"\0"],
    "lists of lists": [[["a"], ["b"]], [[]]],
    "nothing": pa.nulls(2),
    "dates in the year 20000": pa.array([568971820800000] * 2, pa.timestamp("ms")),
    "the last day": pa.array([2**31 - 1] * 2, pa.date32()),
    "spans": pa.array([2**62] * 2, pa.duration("s")),
    "infinity": [float("inf"), float("nan")],
    "lists with holes": [["a", None], None],
}


def read_back(tmp_path: Path, **files: Path) -> None:
    (tmp_path / "e.csv").write_text("user_id,item_id\nu,a\nv,b\n")
    data = read_tables(tmp_path / "e.csv", **files)
    data.save(tmp_path / "out")
    assert load_prepared(tmp_path / "out").fingerprint == data.fingerprint


@pytest.mark.parametrize("case", TEXTS)
@pytest.mark.parametrize("column", ["title", "plot", "tags"])
def test_odd_texts_are_read_in_time(case: str, column: str, tmp_path: Path) -> None:
    cells = {"title": "x", "plot": "y", "tags": "z"} | {column: TEXTS[case]}
    (tmp_path / "i.csv").write_text(f"item_id,title,plot,tags\na,{','.join(cells.values())}\nb,y,,\n")
    read_back(tmp_path, items=tmp_path / "i.csv")


@pytest.mark.parametrize("case", COLUMNS)
@pytest.mark.parametrize("kind", ["items", "users"])
def test_odd_columns_of_parquet_are_read_and_kept(case: str, kind: str, tmp_path: Path) -> None:
    ids = {"item_id": ["a", "b"], "title": ["x", "y"]} if kind == "items" else {"user_id": ["u", "v"]}
    pq.write_table(pa.table(ids | {"more": COLUMNS[case]}), tmp_path / "x.parquet")
    read_back(tmp_path, **{kind: tmp_path / "x.parquet"})


def test_html_is_cleaned_as_before() -> None:
    cell = "<p>One</p><!-- a --> two <script>x()</script><STYLE>.a{}</style> three <!-- open <b>four</b>"
    assert clean(cell) == "One two three <!-- open four"
    assert split_year("Seven (a.k.a. Se7en) (1995)") == ("Seven (a.k.a. Se7en)", "1995")
    assert split_year("1984 (1956, UK) ") == ("1984", "1956")
    assert split_year("Heat (95)") == ("Heat (95)", "")


def test_as_many_columns_as_are_allowed(tmp_path: Path) -> None:
    wide = ",".join(f"c{n}" for n in range(limits.COLUMNS - 2))
    ones = ",1" * (limits.COLUMNS - 2)
    (tmp_path / "i.csv").write_text(f"item_id,title,{wide}\na,x{ones}\nb,y{ones}\n")
    read_back(tmp_path, items=tmp_path / "i.csv")
    (tmp_path / "i.csv").write_text(f"item_id,title,more,{wide}\na,x,2{ones}\nb,y,2{ones}\n")
    with pytest.raises(UserError, match="more than 2,000"):
        read_tables(tmp_path / "e.csv", tmp_path / "i.csv")


def test_each_limit_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    csv, parquet = broken.put("e.csv", broken.good())(tmp_path), broken.parquet()(tmp_path)
    few = {"ROWS": (3, "4 rows"), "COLUMNS": (4, "5 columns"), "LETTERS": (2, "a cell of"), "FILE_BYTES": (50, "GiB")}
    for name, (most, said) in (few | {"VALUES": (9, "20 values")}).items():
        for path in (csv, parquet) if name != "VALUES" else (parquet,):
            read_tables(path)
            monkeypatch.setattr(limits, name, most)
            with pytest.raises(UserError, match=said):
                read_tables(path)
            monkeypatch.undo()


def test_the_page_of_data_tells_the_limits() -> None:
    page = " ".join((TINY.parent / "README.md").read_text("utf-8").split())
    counts = (limits.ROWS, limits.COLUMNS, limits.LETTERS, limits.ID_LETTERS)
    for value in (f"{limits.FILE_BYTES >> 30} GiB", *(f"{n:,}" for n in counts)):
        assert value in page, value
    assert f"{limits.UPLOAD_MB} MB" in page
    assert f"{limits.COLUMNS + 1:,}" not in page


# The page Data.


@pytest.mark.parametrize("place", intake.KINDS)
def test_the_core_of_the_page_reads_or_refuses(place: str, tmp_path: Path) -> None:
    read = 0
    others = {} if place == "interactions" else {"interactions": TINY / "interactions.csv"}
    for n, name in enumerate(LIGHT):
        folder = folder_in(tmp_path, str(n))
        table = KINDS[name].make(folder)
        before = tree(folder)
        try:
            files = others | {place: table}
            plan = intake.guess({kind: intake.peek(path) for kind, path in files.items()})
            plan = replace(plan, unknown_items="keep" if place == "items" else "error")
            intake.facts(intake.read(files, plan, "mine"))
        except UserError as told:
            said = str(told)
        else:
            said = ""
        assert said or not KINDS[name].always or name in MENDED, name
        assert not said or any(str(path)[:500] in said for path in (table, *others.values())), name
        read += not said
        assert said.isprintable()
        assert "\n" not in said
        assert tree(folder) == before
    assert read >= (0 if place == "users" else 20)  # a user comes twice in all of them


@pytest.mark.parametrize(("encoding", "says"), [("utf-16", "not utf-16"), ("latin-1", "looks like UTF-8, not latin-1")])
def test_files_of_two_encodings_are_told_apart(encoding: str, says: str, tmp_path: Path) -> None:
    """There is one encoding for all of them; before, the other file was read as if it were in it, or was said to have no rows."""
    files = {"interactions": tmp_path / "e.csv", "items": tmp_path / "i.csv"}
    files["interactions"].write_text("user_id,item_id\nJos\xe9,caf\xe9\n", encoding="utf-8")
    files["items"].write_text("item_id,title\ncaf\xe9,Caf\xe9\n", encoding=encoding)

    def brought() -> list[str]:
        plan = intake.guess({kind: intake.peek(path) for kind, path in files.items()})
        return intake.read(files, plan, "mine").items.ids.tolist()

    with pytest.raises(UserError, match=says) as told:
        brought()
    assert str(files["interactions"]) in str(told.value)
    files["interactions"].write_text("user_id,item_id\nJos\xe9,caf\xe9\n", encoding=encoding)
    assert brought() == ["caf\xe9"]


MENDED = ("a wrong delimiter", "latin-1", "UTF-16", "a surrogate in UTF-8")  # by the look at the first rows


@pytest.mark.parametrize("name", ["a pipe", "a link to nothing", "a link to itself", "a folder"])
def test_a_folder_on_the_server_that_holds_such_a_thing(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("WHYREC_DATA", str(tmp_path / "data"))
    made = KINDS[name].make(folder_in(tmp_path / "data", "set"))
    if name == "a folder":
        assert uploads.tables(uploads.folder("set")) == []
        return
    with pytest.raises(UserError, match="name one below data/"):
        uploads.folder("set")
    made.unlink()
    assert uploads.folder("set") == tmp_path / "data" / "set"


# The message itself.


def test_a_message_is_one_line_whatever_it_quotes() -> None:
    told = str(UserError(f"a\nb\x1b[31m{broken.RTL}\u2028\ud800 caf\xe9 \u4e2d"))
    assert told == "a\\nb\\x1b[31m\\u202e\\u2028\\ud800 caf\xe9 \u4e2d"
    assert one_line("plain; mend it") == "plain; mend it"
    long = one_line("file: " + "x" * 10_000 + "; mend it")
    assert len(long) < 1_300
    assert long.startswith("file: ")
    assert long.endswith("; mend it")


def test_a_damaged_report_is_told(tiny_run: Run, tmp_path: Path, capfd: Said) -> None:
    run = Path(shutil.copytree(tiny_run.path, tmp_path / "run"))
    for text in ("{", "[]", '{"test_opened": "x"}', "[" * 100_000):
        (run / "report.json").write_text(text)
        assert "the count of openings" in outcome(["evaluate", f"--run={run}"], run / "report.json", tmp_path, capfd)


def test_where_nothing_can_be_written(tmp_path: Path, capfd: Said) -> None:
    table = broken.put("e.csv", broken.good())(tmp_path)
    (tmp_path / "file").touch()
    outcome(["prepare", f"--interactions={table}", f"--out={tmp_path / 'file' / 'out'}"], tmp_path / "file", tmp_path, capfd)
    outcome(["prepare", f"--interactions={table}", f"--out={tmp_path / ('x' * 300)}"], tmp_path / ("x" * 300), tmp_path, capfd)


# Sizes, and what an interrupted training leaves.

SIZES = {
    "one user, one item": [(0, 0)],
    "one user": [(0, i) for i in range(20)],
    "one item": [(u, 0) for u in range(20)],
    "two by two": [(u, i) for u in range(2) for i in range(2)],
    "nobody shares an item": [(u, u) for u in range(10)],
    "one long history": [(0, i) for i in range(30)] + [(u, u) for u in range(1, 10)],
}


@pytest.mark.parametrize("case", SIZES)
def test_the_smallest_data_are_trained_on_or_refused(case: str, tiny: str, tmp_path: Path, capfd: Said) -> None:
    rows = [f"u{u},i{i},{5 if (u + i) % 4 else 3},{1_700_000_000 + u + i}" for u, i in SIZES[case]]
    folder = folder_in(tmp_path, "data")
    (folder / "interactions.csv").write_text("\n".join(["user_id,item_id,rating,time", *rows]) + "\n")
    (folder / "items.csv").write_text("item_id,title,genres\n" + "".join(f"i{i},T{i},A|B\n" for i in {i for _, i in SIZES[case]}))
    (folder / "dataset.toml").write_text("threshold = 4\n")
    chosen = ["--set", "components=popularity,ease,cold,factors", f"cold.encoder={tiny}", "control=false"]
    words = ["train", f"--data={folder}", f"--out={tmp_path / 'run'}", *chosen]
    told = outcome(words, tmp_path, tmp_path, capfd, names=False)
    assert told or outcome(["evaluate", f"--run={tmp_path / 'run'}"], tmp_path, tmp_path, capfd, names=False) is not None
    assert not list(tmp_path.glob(".*"))


def test_nothing_is_left_where_there_is_nothing_to_resume(tmp_path: Path, capfd: Said) -> None:
    words = ["train", f"--data={TINY}", f"--out={tmp_path / 'run'}", "--resume"]
    assert "nothing to resume" in outcome(words, tmp_path / "run", tmp_path, capfd)
    (folder_in(tmp_path, ".run.partial") / "key.json").write_text("{")
    assert cli_main(words) == 2
    assert "nothing to resume" in capfd.readouterr().err


@pytest.mark.parametrize("file", ["facts.json", "scorer/config.json", "scorer/arrays.safetensors"])
def test_a_damaged_stage_is_told(file: str, tmp_path: Path) -> None:
    scorer = scorer_class("popularity")()
    done = Fitted(scorer.fit(load_dataset(TINY), np.random.default_rng(0)), {"ndcg": 1.0})
    assert train._stage(tmp_path / "popularity", lambda: done).facts == {"ndcg": 1.0}
    (tmp_path / "popularity" / file).write_text("{")
    with pytest.raises(UserError, match="this kept stage is damaged"):
        train._stage(tmp_path / "popularity", lambda: done)
