"""Tables and runs with random bytes changed, and any table that can be written: an equal result, or a UserError in one line.

A few examples, the same every time; WHYREC_FUZZ=2000 tries that many new ones of each.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from broken import columns
from conftest import TINY
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_readers import FORMATS

from recsys_core.data import Dataset
from recsys_core.errors import UserError
from recsys_core.intake import guess, peek
from recsys_core.readers import load_dataset
from recsys_core.readers.table import read_tables
from recsys_core.recommend import recommend_users
from recsys_core.run import Run
from recsys_core.whole import seal, unseal

LONG = int(os.environ.get("WHYREC_FUZZ", "0"))


def bounded(examples: int) -> settings:
    shared = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]  # each example writes its files anew
    return settings(
        max_examples=LONG or examples, derandomize=not LONG, database=None, deadline=None, suppress_health_check=shared
    )


def check_line(told: BaseException) -> None:
    assert str(told)
    assert str(told).isprintable()
    assert len(str(told)) < 2_000


# Any table.

IDS = st.text(st.characters(exclude_categories=("Cs",)), max_size=6) | st.sampled_from(
    ["1", "01", "1.0", "NA", "nan", "=1", '"', "a,b", "'"]
)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False, width=32) | st.integers(-5, 5).map(float)
ENCODINGS, ENDINGS = ("utf-8", "utf-8-sig", "utf-16"), ("\n", "\r\n", "\r")
EVENTS = st.lists(st.tuples(IDS, IDS, NUMBERS, st.integers(-(10**6), 10**6)), min_size=1, max_size=8)
Event = tuple[str, str, float, int]


def written(path: Path, rows: list[Event], delimiter: str, encoding: str, ending: str) -> Path:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL, lineterminator=ending)
    writer.writerow(("user_id", "item_id", "value", "time"))
    writer.writerows((user, item, repr(value), time) for user, item, value, time in rows)
    path.write_bytes(text.getvalue().encode(encoding))
    return path


def rows_of(data: Dataset) -> set[Event]:
    e = data.interactions
    assert e.time is not None
    ids = zip(data.users.ids[e.user].tolist(), data.items.ids[e.item].tolist(), strict=True)
    return {(user, item, value, time) for (user, item), value, time in zip(ids, e.value.tolist(), e.time.tolist(), strict=True)}


def plain(rows: list[Event]) -> bool:
    """Must such rows be read? Ids neither empty nor with what breaks lines, and no pair twice."""
    ids = [i for row in rows for i in row[:2]]
    pairs = {(row[0].strip(), row[1].strip()) for row in rows}
    return all(i.strip() and i.isprintable() for i in ids) and len(pairs) == len(rows)


@bounded(60)
@given(EVENTS, st.sampled_from(",;|\t"), st.sampled_from(ENCODINGS), st.sampled_from(ENDINGS))
def test_a_table_reads_back_or_is_refused(tmp_path: Path, rows: list[Event], delimiter: str, encoding: str, ending: str) -> None:
    path = written(tmp_path / "e.csv", rows, delimiter, encoding, ending)
    try:
        found = rows_of(read_tables(path, delimiter=delimiter, encoding=encoding))
    except UserError as told:
        check_line(told)
        found = set()
    assert found == {(user.strip(), item.strip(), value, time) for user, item, value, time in rows} or not (found or plain(rows))


def test_a_table_that_reads_back_otherwise_is_seen(tmp_path: Path) -> None:  # the check above can fail
    path = written(tmp_path / "e.csv", [("u", "i", 1.0, 5)], ",", "utf-8", "\n")
    assert rows_of(read_tables(path)) == {("u", "i", 1.0, 5)} != {("u", "i", 1.0, 6)}
    assert plain([("u", "i", 1.0, 5)])
    assert not plain([("u", "\n", 1.0, 5)])


# Changed bytes.

EDITS = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.sampled_from(("set", "insert", "cut")), st.binary(min_size=1, max_size=3)),
    min_size=1,
    max_size=4,
)
Edit = tuple[float, str, bytes]


def edited(data: bytes, edits: list[Edit]) -> bytes:
    """The data with bytes overwritten, put in or (from there to the end, for `cut` of a zero byte) taken out."""
    for place, how, new in edits:
        at = int(place * (len(data) + 1))
        rest = data[at + len(new) :] if how != "insert" else data[at:]
        data = data[:at] + (b"" if how == "cut" else new) + (rest if how != "cut" or new[0] else b"")
    return data


@cache
def original(kind: str) -> tuple[tuple[str, bytes], ...]:
    """The files of a good data set of each format, and of a Parquet file."""
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "set"
        if kind == "parquet":
            folder.mkdir()
            pq.write_table(pa.table(columns()), folder / "events.parquet")
        elif kind == "table":
            shutil.copytree(TINY, folder)
        else:
            FORMATS[kind](folder)
        return tuple((p.name, p.read_bytes()) for p in sorted(folder.iterdir()) if p.suffix != ".md")


def read(kind: str, folder: Path) -> Dataset:
    return read_tables(folder / "events.parquet") if kind == "parquet" else load_dataset(folder)


def laid_out(kind: str, folder: Path, which: int = 0, edits: list[Edit] | None = None) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    files = original(kind)
    for n, (name, data) in enumerate(files):
        (folder / name).write_bytes(edited(data, edits) if edits and n == which % len(files) else data)
    return folder


@pytest.mark.parametrize("kind", [*FORMATS, "parquet"])
def test_a_data_set_with_changed_bytes(kind: str, tmp_path: Path) -> None:
    whole = read(kind, laid_out(kind, tmp_path / "set")).fingerprint

    @bounded(30)
    @given(st.integers(0, 3), EDITS)
    def try_it(which: int, edits: list[Edit]) -> None:
        folder = laid_out(kind, tmp_path / "set", which, edits)
        try:
            data = read(kind, folder)
        except UserError as told:
            check_line(told)
            return
        assert kind != "prepared" or data.fingerprint == whole  # what has a checksum is equal; elsewhere a 4 may become a 5
        data.save(tmp_path / "saved")
        assert load_dataset(tmp_path / "saved").fingerprint == data.fingerprint

    try_it()


@bounded(30)
@given(st.integers(0, 2), EDITS, st.sampled_from(["interactions", "items", "users"]))
def test_the_look_at_a_file_with_changed_bytes(tmp_path: Path, which: int, edits: list[Edit], kind: str) -> None:
    files = dict(original("table"))
    path = tmp_path / "x.csv"
    path.write_bytes(edited(files[f"{kind}.csv"], edits))
    try:
        guess({"interactions": peek(path), "items": peek(TINY / "items.csv")})
    except UserError as told:
        check_line(told)


def lists(run: Run) -> str:
    assert run.settings.k > 0
    assert len(run.split.part) == len(run.dataset.interactions)
    return recommend_users(run, None, k=3).to_csv()


@pytest.fixture(scope="module")
def run_copy(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(tiny_run.path, tmp_path_factory.mktemp("fuzz") / "tiny"))


def test_a_run_with_changed_bytes(run_copy: Path, tiny_run: Run) -> None:
    names, expected = sorted(["manifest.json", *tiny_run.manifest["files"]]), lists(tiny_run)

    @bounded(60)
    @given(st.sampled_from(names) | st.just("manifest.json"), EDITS)
    def try_it(name: str, edits: list[Edit]) -> None:
        whole = (run_copy / name).read_bytes()
        try:
            (run_copy / name).write_bytes(edited(whole, edits))
            same = Run.load(run_copy)
            assert (run_copy / name).read_bytes() == whole or (name == "manifest.json" and lists(same) == expected)
        except UserError as told:
            check_line(told)
        finally:
            (run_copy / name).write_bytes(whole)

    try_it()


def test_a_run_with_changed_bytes_whose_checksums_agree(run_copy: Path, tiny_run: Run) -> None:
    """As if somebody had made it: what is read must still be a run that gives lists, or be refused in one line."""
    names, manifest = sorted(tiny_run.manifest["files"]), run_copy / "manifest.json"
    signed = manifest.read_bytes()

    @bounded(60)
    @given(st.sampled_from(names), EDITS)
    def try_it(name: str, edits: list[Edit]) -> None:
        whole = (run_copy / name).read_bytes()
        try:
            (run_copy / name).write_bytes(edited(whole, edits))
            resigned(run_copy, name)
            with np.errstate(all="ignore"):  # numbers may be absurd
                lists(Run.load(run_copy))
        except UserError as told:
            check_line(told)
        finally:
            (run_copy / name).write_bytes(whole)
            manifest.write_bytes(signed)

    try_it()


def resigned(run: Path, name: str) -> None:
    """The manifest agrees with the file again, and with itself."""
    facts = unseal(run / "manifest.json", "")
    digest = hashlib.sha256((run / name).read_bytes()).hexdigest()
    (run / "manifest.json").write_text(seal(facts | {"files": facts["files"] | {name: digest}}, indent=1))


def test_signing_anew_gets_past_the_checksums(run_copy: Path, tiny_run: Run) -> None:  # else the test above tries nothing
    card = run_copy / "card.md"
    whole, signed = card.read_bytes(), (run_copy / "manifest.json").read_bytes()
    try:
        card.write_bytes(whole + b"more")
        with pytest.raises(UserError, match="checksum differs"):
            Run.load(run_copy)
        resigned(run_copy, "card.md")
        assert lists(Run.load(run_copy)) == lists(tiny_run)
    finally:
        card.write_bytes(whole)
        (run_copy / "manifest.json").write_bytes(signed)


MANIFESTS: dict[str, Callable[[dict], object]] = {
    "a list": lambda m: [m],
    "null": lambda m: None,
    "no files": lambda m: {k: v for k, v in m.items() if k != "files"},
    "files as a list": lambda m: m | {"files": list(m["files"])},
    "no checksum of the split": lambda m: m | {"files": {k: v for k, v in m["files"].items() if k != "split.npy"}},
    "a file outside": lambda m: m | {"files": m["files"] | {"../../secret": "0"}},
    "an absolute path": lambda m: m | {"files": m["files"] | {"/etc/passwd": "0"}},
    "a folder": lambda m: m | {"files": m["files"] | {"data": "0"}},
    "versions as text": lambda m: m | {"versions": "1"},
}


@pytest.mark.parametrize("case", [*MANIFESTS, "nested without end", "a folder in its place", "noise"])
def test_a_manifest_of_another_kind(case: str, tiny_run: Run, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_run.path, tmp_path / "run"))
    manifest = folder / "manifest.json"
    assert lists(Run.load(folder)) == lists(tiny_run)
    if case == "a folder in its place":
        manifest.unlink()
        manifest.mkdir()
    elif case in MANIFESTS:
        manifest.write_text(json.dumps(MANIFESTS[case](json.loads(manifest.read_text()))))
    else:
        manifest.write_bytes(b"[" * 100_000 if case.startswith("nested") else bytes(range(256)))
    with pytest.raises(UserError) as error:
        Run.load(folder)
    check_line(error.value)
